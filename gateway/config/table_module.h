/*
 * table_module - the table types that live in libraries of their own, loaded when first named: sqlite, pgsql,
 * mysql, ldap. Private to config/table*.c.
 */
#ifndef CONFIG_TABLE_MODULE_H
#define CONFIG_TABLE_MODULE_H

struct config;
struct table_driver;

/* The driver of estafeta-table-TYPE.so, or NULL when there is none that fits this program. Loaded once and
 * kept. Call it before the jail, which forbids loading code. config: for shlib_directory, when it is set; may
 * be NULL. */
const struct table_driver *table_module_find(const struct config *config, const char *type);
/* Where it is looked for, in words for a message. */
const char *table_module_directory(void);

#endif
