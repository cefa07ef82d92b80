/*
 * screen_settings - see the header. Before: screen_service.c at start; after: screen_client.c for every
 * connection.
 *
 * Anything that is not understood ends the start with a reason: a screen that guesses would let through or
 * turn away what the operator did not mean.
 */
#include "screen/screen_settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "message/wire.h"

enum { STRESS_GREET_S = 2, STRESS_COMMAND_S = 10 };

static const struct {
    const char *word;
    enum screen_action action;
} ACTIONS[] = {{"ignore", SCREEN_IGNORE}, {"enforce", SCREEN_ENFORCE}, {"drop", SCREEN_DROP}};

static const struct {
    const char *word;
    enum screen_access access;
} ACCESS_WORDS[] = {{"permit", SCREEN_PERMIT}, {"reject", SCREEN_REJECT}, {"dunno", SCREEN_DUNNO}};

static int
read_action(const struct config *view, enum param param, enum screen_action *action_r, struct buf *error)
{
    const char *text = config_str(view, param);

    for (size_t i = 0; i < sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
        if (strcmp(text, ACTIONS[i].word) == 0) {
            *action_r = ACTIONS[i].action;
            return 0;
        }
    }
    (void)buf_printf(error, "%s = %s: the value must be ignore, enforce or drop", PARAMS[param].name, text);
    return GW_ERR_CONFIG;
}

static bool
find_access_word(struct bytes word, enum screen_access *access_r)
{
    for (size_t i = 0; i < sizeof(ACCESS_WORDS) / sizeof(ACCESS_WORDS[0]); i++) {
        if (bytes_equal_nocase(word, bytes_str(ACCESS_WORDS[i].word))) {
            *access_r = ACCESS_WORDS[i].access;
            return true;
        }
    }
    return false;
}

static int
open_access(struct screen_settings *settings, struct buf *error)
{
    struct bytes rest = bytes_str(config_str(settings->view, P_postscreen_access_list)), word;

    while (bytes_next_token(&rest, ", \t\r\n", &word)) {
        if (settings->access_count >= SCREEN_ACCESS_MAX) {
            (void)buf_append_str(error, "postscreen_access_list: too many entries");
            return GW_ERR_CONFIG;
        }
        size_t at = settings->access_count++;
        if (bytes_equal_nocase(word, BYTES_LIT("permit_mynetworks"))) {
            settings->access[at].kind = ACCESS_MYNETWORKS;
        } else if (find_access_word(word, &settings->access[at].word)) {
            settings->access[at].kind = ACCESS_WORD;
        } else if (bytes_index(word, ':') > 0) {
            settings->access[at].kind = ACCESS_TABLE;
            int r = table_open(settings->view, word, TABLE_FOLD, &settings->access[at].table, error);
            if (r != 0) {
                return r;
            }
        } else {
            (void)buf_printf(
                error,
                "postscreen_access_list: %.*s is neither permit_mynetworks, permit, reject, dunno "
                "nor a type:table",
                BYTES_FMT(word));
            return GW_ERR_CONFIG;
        }
    }
    return match_list_open(settings->view, config_str(settings->view, P_mynetworks), MATCH_ADDRESSES,
                           &settings->mynetworks, error);
}

/* The name clients get to read instead of the zone's, which may hold a customer's key. */
static int
find_shown(struct table *map, struct screen_zone *zone)
{
    struct table_hit hit = {0};
    int r = GW_ERR_NOTFOUND;

    buf_init(&hit.value, TABLE_VALUE_MAX);
    if (map != NULL) {
        r = table_find(map, bytes_str(zone->name), &hit);
    }
    if (r == 0) {
        zone->shown = bytes_dup_str(bytes_buf(&hit.value));
    } else if (r == GW_ERR_NOTFOUND) {
        zone->shown = strdup(zone->name);
    }
    buf_free(&hit.value);
    return zone->shown != NULL ? 0 : r == 0 || r == GW_ERR_NOTFOUND ? GW_ERR_NOMEM : r;
}

static int
add_site(struct screen_settings *settings, struct bytes word, struct table *map, struct buf *error)
{
    struct screen_site *site = &settings->sites[settings->site_count];
    int r = settings->site_count < SCREEN_SITES_MAX ? dnsbl_site_parse(word, &site->site) : GW_ERR_LIMIT;

    if (r != 0) {
        (void)buf_printf(error, "postscreen_dnsbl_sites: %.*s: %s; write zone[=d.d.d.d][*weight]",
                         BYTES_FMT(word), gw_strerror(r));
        return GW_ERR_CONFIG;
    }
    settings->site_count++;
    while (site->zone < settings->zone_count &&
           strcasecmp(settings->zones[site->zone].name, site->site.zone) != 0) {
        site->zone++;
    }
    if (site->zone < settings->zone_count) {
        return 0;
    }
    struct screen_zone *zone = &settings->zones[settings->zone_count++];
    zone->name = site->site.zone;
    if ((r = find_shown(map, zone)) != 0) {
        (void)buf_printf(error, "postscreen_dnsbl_reply_map: %s: %s", zone->name, gw_strerror(r));
    }
    return r;
}

static int
open_sites(struct screen_settings *settings, struct buf *error)
{
    struct bytes rest = bytes_str(config_str(settings->view, P_postscreen_dnsbl_sites)), word;
    struct bytes map_name = bytes_trim(bytes_str(config_str(settings->view, P_postscreen_dnsbl_reply_map)));
    struct table *map = NULL;
    int r = 0;

    settings->sites = calloc(SCREEN_SITES_MAX, sizeof(*settings->sites));
    settings->zones = calloc(SCREEN_SITES_MAX, sizeof(*settings->zones));
    if (settings->sites == NULL || settings->zones == NULL) {
        return GW_ERR_NOMEM;
    }
    if (map_name.n > 0) {
        r = table_open(settings->view, map_name, TABLE_FOLD, &map, error);
    }
    while (r == 0 && bytes_next_token(&rest, ", \t\r\n", &word)) {
        r = add_site(settings, word, map, error);
    }
    table_free(&map);
    return r;
}

/* Under stress an operator's own value stays; the default becomes Postfix's stress value. */
static int64_t
stress_ms(const struct config *view, enum param param, int64_t stress_s)
{
    int64_t value_s = config_int(view, param);

    return 1000 * (config_is_set(view, param) || value_s < stress_s ? value_s : stress_s);
}

static size_t
read_count(const struct config *view, enum param param)
{
    int64_t value = config_int(view, param);

    return value > 0 ? (size_t)value : 0;
}

static void
read_numbers(struct screen_settings *settings)
{
    const struct config *view = settings->view;

    settings->myhostname = config_str(view, P_myhostname);
    settings->banner = config_str(view, P_smtpd_banner);
    settings->teaser = config_str(view, P_postscreen_greet_banner);
    settings->respectful = config_bool(view, P_respectful_logging);
    settings->helo_required = config_bool(view, P_postscreen_helo_required);
    settings->disable_vrfy = config_bool(view, P_postscreen_disable_vrfy_command);
    settings->client_limit = read_count(view, P_postscreen_client_connection_count_limit);
    settings->pre_queue_limit = read_count(view, P_postscreen_pre_queue_limit);
    settings->post_queue_limit = read_count(view, P_postscreen_post_queue_limit);
    settings->command_limit = (unsigned)read_count(view, P_postscreen_command_count_limit);
    settings->line_limit = read_count(view, P_line_length_limit);
    settings->command_ms = 1000 * config_int(view, P_postscreen_command_time_limit);
    settings->command_stress_ms = stress_ms(view, P_postscreen_command_time_limit, STRESS_COMMAND_S);
    settings->greet_ms = 1000 * config_int(view, P_postscreen_greet_wait);
    settings->greet_stress_ms = stress_ms(view, P_postscreen_greet_wait, STRESS_GREET_S);
    settings->greet_ttl_s = config_int(view, P_postscreen_greet_ttl);
    settings->pregreet = settings->greet_ms > 0;
    settings->threshold = (int)config_int(view, P_postscreen_dnsbl_threshold);
    settings->allow_threshold = (int)config_int(view, P_postscreen_dnsbl_allowlist_threshold);
    settings->dnsbl_control = config_bool(view, P_dnsbl_control);
    settings->dnsbl_ms = 1000 * config_int(view, P_postscreen_dnsbl_timeout);
    settings->dnsbl_min_ttl_s = config_int(view, P_postscreen_dnsbl_min_ttl);
    settings->dnsbl_max_ttl_s = config_int(view, P_postscreen_dnsbl_max_ttl);
    settings->deep_tests = (config_bool(view, P_postscreen_pipelining_enable) ? SCREEN_PIPELINING : 0U) |
                           (config_bool(view, P_postscreen_non_smtp_command_enable) ? SCREEN_NONSMTP : 0U) |
                           (config_bool(view, P_postscreen_bare_newline_enable) ? SCREEN_BARELF : 0U);
}

int
screen_settings_new(const struct config *config, size_t service_index, struct screen_settings **settings_r,
                    struct buf *error_r)
{
    struct screen_settings *settings = calloc(1, sizeof(*settings));
    int r = GW_ERR_NOMEM;

    *settings_r = NULL;
    if (settings == NULL) {
        return r;
    }
    settings->view = config_view(config, service_index);
    read_numbers(settings);
    if ((r = read_action(settings->view, P_postscreen_denylist_action, &settings->deny_action, error_r)) !=
            0 ||
        (r = read_action(settings->view, P_postscreen_greet_action, &settings->greet_action, error_r)) != 0 ||
        (r = read_action(settings->view, P_postscreen_dnsbl_action, &settings->dnsbl_action, error_r)) != 0 ||
        (r = open_access(settings, error_r)) != 0 || (r = open_sites(settings, error_r)) != 0) {
        goto out;
    }
    if (settings->threshold < 1 || settings->allow_threshold > 0) {
        (void)buf_append_str(error_r, "postscreen_dnsbl_threshold must be at least 1, "
                                      "postscreen_dnsbl_allowlist_threshold at most 0");
        r = GW_ERR_CONFIG;
        goto out;
    }
    *settings_r = settings;
    settings = NULL; /* transferred */
out:
    screen_settings_free(&settings);
    return r;
}

void
screen_settings_free(struct screen_settings **settings)
{
    struct screen_settings *s = *settings;

    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->access_count; i++) {
        table_free(&s->access[i].table);
    }
    for (size_t i = 0; i < s->zone_count; i++) {
        free(s->zones[i].shown);
    }
    match_list_free(&s->mynetworks);
    free(s->sites);
    free(s->zones);
    free(s);
    *settings = NULL;
}

static enum screen_access
ask_table(struct table *table, const struct net_addr *client)
{
    struct table_hit hit = {0};
    enum screen_access access = SCREEN_DUNNO;
    char text[NET_ADDR_TEXT_MAX];

    net_addr_format(client, text);
    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = table_find(table, bytes_str(text), &hit);
    if (r == 0 && !find_access_word(bytes_trim(bytes_buf(&hit.value)), &access)) {
        log_warning("postscreen", "%s: line %u: %s is none of permit, reject, dunno: ignored",
                    table_spec(table), hit.line, buf_str(&hit.value));
    } else if (r != 0 && r != GW_ERR_NOTFOUND) {
        log_warning("postscreen", "%s: %s", table_spec(table), gw_strerror(r));
    }
    buf_free(&hit.value);
    return access;
}

enum screen_access
screen_settings_access(const struct screen_settings *settings, const struct net_addr *client)
{
    enum screen_access access = SCREEN_DUNNO;

    for (size_t i = 0; access == SCREEN_DUNNO && i < settings->access_count; i++) {
        switch (settings->access[i].kind) {
        case ACCESS_MYNETWORKS:
            access =
                match_list_client(settings->mynetworks, NULL, client) == 1 ? SCREEN_PERMIT : SCREEN_DUNNO;
            break;
        case ACCESS_TABLE:
            access = ask_table(settings->access[i].table, client);
            break;
        case ACCESS_WORD:
            access = settings->access[i].word;
            break;
        }
    }
    return access;
}
