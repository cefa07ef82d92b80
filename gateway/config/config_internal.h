/*
 * config_internal - what config.c, config_values.c, config_pack.c and master_cf.c share. Private to config/.
 */
#ifndef CONFIG_CONFIG_INTERNAL_H
#define CONFIG_CONFIG_INTERNAL_H

#include "config/config.h"
#include "config/config_mend.h"

/* A name of main.cf that is not in the table: a user variable, or a per-transport setting. */
struct config_variable {
    char *name, *raw, *value;
    int line;
};

struct config {
    char *directory;
    char *raw[PARAM_COUNT]; /* as written in main.cf or by -o; NULL: not set */
    int line[PARAM_COUNT];
    char *computed[PARAM_COUNT]; /* defaults that depend on the machine; NULL: the table's */
    struct config_variable *variables;
    size_t variable_count;
    struct config_service *services;
    size_t service_count;
    struct config **views;     /* one per service; the config itself when the service has no -o */
    const struct config *base; /* of a view */

    /* made by config_evaluate() */
    char *text[PARAM_COUNT];
    int64_t number[PARAM_COUNT];
};

enum { CONFIG_VARIABLES_MAX = 2000 };

struct config *config_alloc(const char *directory);
/* Sets a raw value by name; a later one replaces it. GW_ERR_NOMEM, GW_ERR_LIMIT. */
int config_set(struct config *config, struct bytes name, struct bytes value, int line);
/* Defaults from the machine: host name, networks. */
int config_compute_defaults(struct config *config);
/* Appends the default of mynetworks for this host, in config_networks.c. GW_ERR_LIMIT, GW_ERR_NOMEM. */
int config_append_networks(const char *style, const char *interfaces, const char *protocols, struct buf *out);
/* Expands and converts every value; where: "main.cf" or "master.cf:12" for messages. GW_ERR_CONFIG with
 * why_r. */
int config_evaluate(struct config *config, const char *where, struct buf *why_r);
/* Makes the views of all services. */
int config_make_views(struct config *config, struct buf *why_r);
/* Reads DIR/master.cf into config->services. */
int config_read_master(struct config *config, struct buf *why_r);
/* Leaves out rows of unknown programs and rows that come again; says so, and what else a program of a row
 * cannot have. */
void config_check_master(struct config *config, const char *path, struct buf *why);
/* "-" in the chroot column means y at level 0. */
void config_default_chroot(struct config *config, const char *path, struct buf *why);
void config_clear_service(struct config_service *service); /* frees what the row holds */
/* Whether an empty value makes no sense: it is taken as not set, with a warning (blank lines of old
 * templates). */
bool config_needs_value(int index);
/* Appends a line for each setting that is accepted but deserves the operator's eye. */
void config_warn(const struct config *config, const char *path, struct buf *why_r);
/* An empty row behind the others; NULL: too many, or no memory. */
struct config_service *config_add_service(struct config *config);

#endif
