/*
 * table - lookup tables: one interface, one file per type (table_hash.c, table_regexp.c, table_cidr.c ...).
 *
 * A table is opened before the jail and used by many threads. "Not there" (GW_ERR_NOTFOUND) and "cannot tell"
 * (GW_ERR_TEMP) are different answers and stay different up to the SMTP reply: the second is a 451. The
 * result names the line of the source when the type knows it, for the evidence.
 */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include "base/bytes.h"
#include "base/net.h"

struct config;
struct table;

enum { TABLE_NAME_MAX = 1024, TABLE_VALUE_MAX = 100000, TABLE_KEY_MAX = 4096, TABLE_LIST_MAX = 64 };

enum table_flags {
    TABLE_FOLD = 1, /* keys are compared without regard to case (most of Postfix's uses) */
    TABLE_SKIP_BROKEN =
        2, /* a rule that is no rule is left out with a warning; without, the table is refused */
};

struct table_hit {
    struct buf value;  /* what the table gave; expanded for regexp and pcre */
    const char *table; /* "hash:/etc/postfix/access"; owned by the table */
    unsigned line;     /* of the source; 0 when the type does not know */
    size_t unmatched;  /* of an address: length of the extension, delimiter included, that the key was found
                          without */
};

/* spec: "type:name", or "/file/name" in lists. error_r gets the reason in words. GW_ERR_CONFIG,
 * GW_ERR_NOTFOUND (no such file), GW_ERR_SYS. Relative file names are below the configuration's directory. */
int table_open(const struct config *config, struct bytes spec, unsigned flags, struct table **table_r,
               struct buf *error_r);
void table_free(struct table **table);
/* The words that may stand before ":", in alphabetical order; NULL behind the last. */
const char *table_type_name(size_t index);
const char *table_spec(const struct table *table);
/* True for types that match patterns against the whole key (regexp, pcre, cidr ...): no partial-key lookups
 * then. */
bool table_is_pattern(const struct table *table);
/* 0, GW_ERR_NOTFOUND, GW_ERR_TEMP. hit->value must be an initialised buf. Thread-safe. */
int table_find(struct table *table, struct bytes key, struct table_hit *hit);

/* "hash:a, regexp:b": the first table that has the key answers. */
struct table_list;
int table_list_open(const struct config *config, const char *specs, unsigned flags,
                    struct table_list **list_r, struct buf *error_r);
void table_list_free(struct table_list **list);
bool table_list_is_empty(const struct table_list *list);
int table_list_find(struct table_list *list, struct bytes key, struct table_hit *hit);
/* Address lookup as Postfix orders it: user+ext@domain, user@domain, user+ext, user (when the domain is
 * ours),
 * @domain. `is_local_domain` says whether the bare user forms apply. delimiter: recipient_delimiter. */
int table_list_find_address(struct table_list *list, struct bytes address, const char *delimiter,
                            bool is_local_domain, struct table_hit *hit);
/* transport(5): whole address, domain, then .parent domains, then "*". */
int table_list_find_transport(struct table_list *list, struct bytes address, const char *delimiter,
                              struct table_hit *hit);

/* Postfix match lists: mydestination, relay_domains, mynetworks, debug_peer_list: names, .parents, CIDR,
 * !negation, /files, type:tables. */
struct match_list;
enum match_flags {
    MATCH_PARENT = 1 /* a name also matches its subdomains */,
    MATCH_ADDRESSES = 2 /* CIDR members */,
    MATCH_EXACT = 4 /* ".name" is no more than a name that begins with a dot */
};
int match_list_open(const struct config *config, const char *text, unsigned flags, struct match_list **list_r,
                    struct buf *error_r);
void match_list_free(struct match_list **list);
/* 1 matches, 0 does not, GW_ERR_TEMP. */
int match_list_name(struct match_list *list, struct bytes name);
/* name may be NULL: only the address is matched. */
int match_list_client(struct match_list *list, const char *name, const struct net_addr *addr);

/* Where the extension of a local part begins, at one of the delimiters; local.n when there is none. Names of
 * the mail system are never split, owner-list and list-request not at '-' when keep_lists
 * (owner_request_special). */
size_t table_extension(struct bytes local, const char *delimiters, bool keep_lists);
/* owner_request_special of the configuration that the table was opened for. */
bool table_keeps_lists(const struct table *table);

/* For check_*_access and the rest: keys of access(5) in Postfix's order. parents: the parents of a name are
 * looked up as "example.com", not as ".example.com" (parent_domain_matches_subdomains has smtpd_access_maps).
 */
int table_find_domain(struct table *table, struct bytes name, bool parents, struct table_hit *hit);
/* The address, then its networks by octets, or by groups between colons. */
int table_find_client_address(struct table *table, const struct net_addr *addr, struct table_hit *hit);
/* A mail address: user+ext@domain, user@domain, domain and parents, user+ext@, user@. */
int table_find_mail(struct table *table, struct bytes address, const char *delimiter, bool parents,
                    struct table_hit *hit);

#endif
