/*
 * table_ldap - how keys are escaped in filters and names; for table_ldap.c and its tests.
 */
#ifndef CONFIG_TABLE_LDAP_H
#define CONFIG_TABLE_LDAP_H

#include "base/bytes.h"

/* Both are table_format_quote functions (table_format.h); context is not used. */
int table_ldap_quote_filter(void *context, struct bytes text, struct buf *out);
int table_ldap_quote_dn(void *context, struct bytes text, struct buf *out);

#endif
