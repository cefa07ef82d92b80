/*
 * ctl_postconf_private - what the files of postconf share: one run's options, the settings of main.cf, the
 * rows of master.cf, the parameters that have a meaning here.
 *
 * postconf shows files as they are written, also those that the gateway would refuse; so it keeps its own
 * raw form and takes only the defaults from config/. It runs once and exits: what cannot go on is
 * postconf_fatal(), and what it reads lives in one arena.
 */
#ifndef CTL_CTL_POSTCONF_PRIVATE_H
#define CTL_CTL_POSTCONF_PRIVATE_H

#include <stdio.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "config/config.h"

enum postconf_show {
    SHOW_DEFAULTS = 1, /* -d */
    SHOW_SET = 2,      /* -n */
    SHOW_EXPANDED = 4, /* -x */
    HIDE_NAMES = 8,    /* -h */
    HIDE_VALUES = 16,  /* -H */
    FOLD_LINES = 32,   /* -f */
};

enum postconf_class { CLASS_BUILTIN = 1, CLASS_SERVICE = 2, CLASS_USER = 4, CLASS_ALL = 7 };

enum { POSTCONF_FIELDS = 8, POSTCONF_COMMAND = 7, POSTCONF_LINE_LIMIT = 80, POSTCONF_INDENT = 4 };

struct postconf_setting {
    char *name, *value;
    bool used; /* of a row: another of its values refers to it */
};

struct postconf_settings {
    struct postconf_setting *list;
    size_t count, room;
};

/* A row of master.cf. The words behind the fields have their braces off; "-o" and its value are two words. */
struct postconf_row {
    char *field[POSTCONF_FIELDS];
    char **argument;
    size_t argument_count;
    struct postconf_settings own; /* by -o */
    struct postconf_settings read_only;
};

struct postconf_rows {
    struct postconf_row *list;
    size_t count, room;
    bool missing; /* there is no master.cf */
};

struct postconf_param {
    const char *name;
    unsigned class;
    const char *fallback; /* the default, before expansion; NULL: there is none */
};

struct postconf {
    struct arena *arena;
    const char *directory;
    unsigned show;
    unsigned classes;
    struct config *defaults; /* config_default() of this machine and main.cf */
    struct postconf_settings main;
    struct postconf_settings read_only; /* of main.cf: told, and nothing else */
    struct postconf_rows rows;
    struct postconf_param *params;
    size_t param_count, param_room;
    uint32_t *index; /* by hash of the name; 0: free, else number + 1 */
};

void postconf_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void postconf_fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Both never fail: without memory the run ends. */
char *postconf_copy(struct arena *arena, struct bytes text);
void *postconf_grow(struct arena *arena, void *list, size_t *room, size_t count, size_t size);

/* settings: later ones replace earlier ones. */
const char *postconf_settings_find(const struct postconf_settings *settings, struct bytes name);
void postconf_settings_put(struct arena *arena, struct postconf_settings *settings, struct bytes name,
                           struct bytes value);

/* ctl_postconf_print.c: words parted by one blank, in lines of POSTCONF_LINE_LIMIT when folded. */
void postconf_print(FILE *out, unsigned show, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ctl_postconf_param.c */
void postconf_read_main(struct postconf *pc);
void postconf_register(struct postconf *pc);
struct postconf_param *postconf_find_param(const struct postconf *pc, struct bytes name);
/* Unless there is one of that name. */
void postconf_add_param(struct postconf *pc, const char *name, unsigned class, const char *fallback);
/* Appends the expanded value; `own` is the scope of a row, or NULL. */
void postconf_expand(struct postconf *pc, const char *value, const struct postconf_settings *own,
                     struct buf *out);
/* The same where names have no defaults yet. */
void postconf_expand_set(struct postconf *pc, const char *value, const struct postconf_settings *own,
                         struct buf *out);
void postconf_show_params(struct postconf *pc, char *const *names);
void postconf_flag_unused_main(const struct postconf *pc);
void postconf_flag_unused_master(const struct postconf *pc);

/* ctl_postconf_user.c: names of one's own that serve a purpose become parameters. */
void postconf_register_user(struct postconf *pc);

/* ctl_postconf_master.c */
void postconf_read_master(struct postconf *pc, bool required);
/* NULL, or what is wrong with the row. */
const char *postconf_parse_row(struct arena *arena, struct bytes line, struct postconf_row *row);
/* Field, value: fatal when it is none. */
void postconf_check_field(size_t field, const char *value, const char *line);
/* Finds "-o" settings among the words; after a change of the words. */
void postconf_take_options(struct arena *arena, struct postconf_row *row);
void postconf_print_row(struct postconf *pc, FILE *out, unsigned show, const struct postconf_row *row);
void postconf_show_rows(struct postconf *pc, char *const *names);
void postconf_show_fields(struct postconf *pc, char *const *names);
void postconf_show_options(struct postconf *pc, char *const *names);

/* A request "service/type/third": parts that are left out, or "*", match all. */
struct postconf_request {
    const char *text;
    struct bytes part[3];
    size_t parts;
    bool matched;
};
/* False: more than `most` parts. */
bool postconf_request_parse(const char *text, size_t most, struct postconf_request *request);
bool postconf_request_part(const struct postconf_request *request, size_t part, const char *text);
bool postconf_request_row(const struct postconf_request *request, const struct postconf_row *row);
/* The number of a field of master.cf; -1: there is none of that name. */
int postconf_field(struct bytes name);

/* ctl_postconf_edit.c; mode is 'M', 'F' or 'P', how 'e', 'X' or '#'. */
void postconf_edit_master(struct postconf *pc, int mode, int how, char *const *words);

#endif
