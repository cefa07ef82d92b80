/*
 * table_files - which indexed files the tables named in a configuration are read from.
 *
 * Text tables (regexp, cidr, texthash ...) are not among them: they are read anew at reload, as Postfix says.
 */
#ifndef CONFIG_TABLE_FILES_H
#define CONFIG_TABLE_FILES_H

#include "config/config.h"

enum { TABLE_FILES_MAX = 1024 };

/* path: of the file, as "/etc/postfix/access.db"; roles: words of the parameter's row ("receive screen"), who
 * reads it. A value other than 0 ends the walk and is returned. */
typedef int table_files_visitor(void *context, const char *path, const char *roles);
/* Every indexed table of main.cf, of -o pairs and of user variables, with each name that its file may have;
 * the same file may come more than once. 0, what visit returned, or GW_ERR_LIMIT after TABLE_FILES_MAX calls.
 */
int table_files_walk(const struct config *config, table_files_visitor *visit, void *context);

#endif
