/*
 * screen_settings - one postscreen row of master.cf: its parameters read once, its tables and blocklists
 * opened.
 *
 * Made before the jail and never changed afterwards. The screen reads parameters here and nowhere else.
 */
#ifndef SCREEN_SCREEN_SETTINGS_H
#define SCREEN_SCREEN_SETTINGS_H

#include "config/config.h"
#include "config/table.h"
#include "policy/dnsbl.h"

enum { SCREEN_SITES_MAX = 128, SCREEN_ACCESS_MAX = 64 };

enum screen_action { SCREEN_IGNORE, SCREEN_ENFORCE, SCREEN_DROP };
enum screen_access { SCREEN_DUNNO, SCREEN_PERMIT, SCREEN_REJECT };

/* One name that is asked for; several sites (with other filters and weights) may share it. */
struct screen_zone {
    const char *name;
    char *shown; /* what clients read: the zone, or what postscreen_dnsbl_reply_map has for it */
};

struct screen_site {
    struct dnsbl_site site;
    size_t zone;
};

struct screen_settings {
    const struct config *view;
    const char *myhostname;
    const char *banner; /* smtpd_banner */
    const char *teaser; /* postscreen_greet_banner; "" for none */
    bool respectful;    /* ALLOWLISTED, not the words of before */
    bool helo_required, disable_vrfy;

    size_t client_limit; /* connections of one address; 0: none */
    size_t pre_queue_limit, post_queue_limit;
    unsigned command_limit;
    size_t line_limit;
    int64_t command_ms, command_stress_ms;

    enum screen_action deny_action;
    struct {
        enum { ACCESS_WORD, ACCESS_MYNETWORKS, ACCESS_TABLE } kind;
        enum screen_access word;
        struct table *table;
    } access[SCREEN_ACCESS_MAX];
    size_t access_count;
    struct match_list *mynetworks;

    bool pregreet; /* the test is on: there is a wait */
    int64_t greet_ms, greet_stress_ms, greet_ttl_s;
    enum screen_action greet_action;

    struct screen_site *sites;
    struct screen_zone *zones;
    size_t site_count, zone_count;
    int threshold, allow_threshold; /* allow_threshold 0: none */
    enum screen_action dnsbl_action;
    bool dnsbl_control; /* lists that list everything are not believed */
    int64_t dnsbl_ms, dnsbl_min_ttl_s, dnsbl_max_ttl_s;

    uint32_t deep_tests; /* bits of enum screen_test that the session shall run */
};

/* service_index: the row. error_r: what is wrong, in words. GW_ERR_CONFIG, GW_ERR_NOMEM. */
int screen_settings_new(const struct config *config, size_t service_index,
                        struct screen_settings **settings_r, struct buf *error_r);
void screen_settings_free(struct screen_settings **settings);

/* What postscreen_access_list says about a client; a table that cannot tell says nothing, and is logged. */
enum screen_access screen_settings_access(const struct screen_settings *settings,
                                          const struct net_addr *client);

#endif
