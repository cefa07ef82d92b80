/*
 * ctl_postmap_private - what the files of postmap share: the options of one run.
 */
#ifndef CTL_CTL_POSTMAP_PRIVATE_H
#define CTL_CTL_POSTMAP_PRIVATE_H

#include "base/bytes.h"
#include "config/config.h"

enum { POSTMAP_FAILED = 1, POSTMAP_NAME_BYTES = 4096 };

struct postmap {
    const char *program;   /* postmap, postalias, newaliases */
    bool is_alias;         /* "name: value" lines */
    struct config *config; /* NULL: none was found; everything has a default then */
    const char *query, *remove;
    bool list, add, replace, quiet, exact_case;
    bool default_mode;         /* -p: not the mode of the source */
    bool is_content;           /* -F: values are names of files, stored is what is in them */
    bool body, header, mime;   /* -b -h -m: standard input is a message */
    bool no_utf8, always_utf8; /* -u -U */
    bool checks_utf8;          /* of keys and values, by the options and smtputf8_enable */
};

void postmap_tell(const struct postmap *job, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool postmap_is_utf8(struct bytes text);
void postmap_put(struct bytes text); /* to standard output */
/* Standard input or a file to its end. GW_ERR_SYS with errno, GW_ERR_LIMIT. */
int postmap_read(int fd, struct buf *out);

/* ctl_postmap_build.c: the table from its source, or (-i) from standard input on top of what is there; -d;
 * -s. Exit codes. */
int postmap_build(struct postmap *job, const char *type, const char *name);
int postmap_remove(struct postmap *job, const char *type, const char *name, bool *found);
int postmap_list(struct postmap *job, const char *type, const char *name);

/* ctl_postmap_query.c: -q over the tables in order. The exit code. */
int postmap_query(struct postmap *job, char *const *tables, size_t count);
/* "type:name" with the default type when there is none. */
bool postmap_split(const struct postmap *job, const char *word, char type[POSTMAP_NAME_BYTES],
                   const char **name_r);

/* ctl_postmap_message.c: calls for each key of a message in its order. A callback's error ends it. */
typedef int postmap_visitor(void *context, struct bytes key);
int postmap_visit_message(const struct postmap *job, struct bytes message, postmap_visitor *visit,
                          void *context);

#endif
