/*
 * config - the configuration of one generation: every main.cf value with its default, and the rows of
 * master.cf.
 *
 * Immutable once loaded. Values are expanded ($name, ${name?x:y}) and converted when the view is made, so
 * reading one on the path of a message is an array index. Master loads and checks the files, packs the result
 * into a sealed memfd, and every role unpacks the same. A service of master.cf with -o overrides has its own
 * view.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/bytes.h"
#include "config/params.h"

struct config;

enum { CONFIG_LINE_MAX = 1024 * 1024, CONFIG_SERVICES_MAX = 512, CONFIG_EXPAND_DEPTH_MAX = 32 };

struct config_override {
    char *name;
    char *value;
};

/* One row of master.cf (Postfix master(5)). */
struct config_service {
    char *name; /* column 1 as written: "smtp", "127.0.0.1:10026", "scan" */
    char *type; /* inet, unix, fifo, pass */
    bool is_private;
    bool unprivileged;
    bool chroot;
    bool chroot_is_default; /* the column says "-"; only where the file was read */
    int wakeup_s;           /* 0: never */
    int max_processes;      /* -1: default_process_limit; 0: no limit */
    char *program;          /* smtpd, postscreen, smtp, lmtp, local, virtual, pipe, qmgr ... */
    char **arguments;       /* without the -o pairs; NULL-terminated */
    struct config_override *overrides;
    size_t override_count;
    int line; /* in master.cf, for messages */
};

/* Loads DIR/main.cf and DIR/master.cf. On failure *why_r holds "file:line: what, and what to do" lines and
 * nothing is returned. Warnings (unused, historical, misspelt) go to *why_r too when loading succeeds. */
int config_load(const char *directory, struct config **config_r, struct buf *why_r);
void config_free(struct config **config);
/* Appends where a value comes from, for messages: "DIR/main.cf:12", the row of master.cf whose -o set it, or
 * "DIR/main.cf" for a default. */
void config_locate(const struct config *config, enum param param, struct buf *out);

/* For postconf: the defaults on a main.cf that holds nothing but these settings, which decide some of them
 * (myhostname, mydomain, mynetworks_style, inet_interfaces, inet_protocols). Without checks of values; for
 * config_default() only. pairs: name, value, name, value ..., NULL. */
int config_read_defaults(const char *directory, const char *const *pairs, struct config **config_r);
/* A value as it is written (main.cf, or the default), before expansion. */
const char *config_source(const struct config *config, enum param param);
/* The default as it is written; of this machine where it depends on it. */
const char *config_default(const struct config *config, enum param param);
/* The index-th name of main.cf that is no parameter; false behind the last. */
bool config_variable(const struct config *config, size_t index, const char **name_r, const char **source_r);
/* Whether that name serves a purpose: another value refers to it, it is a restriction class or a
 * per-transport setting of a service. */
bool config_variable_is_used(const struct config *config, const char *name);

/* The same configuration as bytes, and back. */
int config_pack(const struct config *config, struct buf *out);
int config_unpack(struct bytes packed, struct config **config_r);

const char *config_directory(const struct config *config);
size_t config_service_count(const struct config *config);
const struct config_service *config_service(const struct config *config, size_t index);
/* The view of one service: main.cf with its -o pairs on top. Owned by config; never NULL. */
const struct config *config_view(const struct config *config, size_t service_index);

/* Expanded values. A parameter of another type than asked for is our bug (panic at start of the tests). */
const char *config_str(const struct config *config, enum param param); /* "" when empty; never NULL */
int64_t config_int(const struct config *config,
                   enum param param); /* also time in seconds, and sizes in bytes */
bool config_bool(const struct config *config, enum param param);
bool config_is_set(const struct config *config, enum param param); /* named in main.cf or by -o */
/* Names that are not in the table: user variables, and per-transport names such as smtp_destination_..._limit
 * of a transport called x ("x_destination_concurrency_limit"). NULL when not set. */
const char *config_user(const struct config *config, const char *name);

#endif
