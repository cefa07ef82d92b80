/*
 * relay_settings - see the header. Before: relay_service.c at start; after: every file of this folder reads
 * it.
 *
 * The LMTP client has parameters of its own (lmtp_...), so each row below names both. A security level that
 * this program cannot give (DANE only, fingerprints) refuses delivery instead of giving less than was asked
 * for.
 */
#include "relay/relay_settings.h"

#include <ifaddrs.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/tls.h"

static const struct {
    size_t offset;
    enum param param[2]; /* smtp, lmtp */
} TIMES[] = {
    {offsetof(struct relay_settings, connect_ms), {P_smtp_connect_timeout, P_lmtp_connect_timeout}},
    {offsetof(struct relay_settings, helo_ms), {P_smtp_helo_timeout, P_lmtp_lhlo_timeout}},
    {offsetof(struct relay_settings, starttls_ms), {P_smtp_starttls_timeout, P_lmtp_starttls_timeout}},
    {offsetof(struct relay_settings, xforward_ms), {P_smtp_xforward_timeout, P_lmtp_xforward_timeout}},
    {offsetof(struct relay_settings, mail_ms), {P_smtp_mail_timeout, P_lmtp_mail_timeout}},
    {offsetof(struct relay_settings, rcpt_ms), {P_smtp_rcpt_timeout, P_lmtp_rcpt_timeout}},
    {offsetof(struct relay_settings, data_init_ms), {P_smtp_data_init_timeout, P_lmtp_data_init_timeout}},
    {offsetof(struct relay_settings, data_xfer_ms), {P_smtp_data_xfer_timeout, P_lmtp_data_xfer_timeout}},
    {offsetof(struct relay_settings, data_done_ms), {P_smtp_data_done_timeout, P_lmtp_data_done_timeout}},
    {offsetof(struct relay_settings, rset_ms), {P_smtp_rset_timeout, P_lmtp_rset_timeout}},
    {offsetof(struct relay_settings, quit_ms), {P_smtp_quit_timeout, P_lmtp_quit_timeout}},
    {offsetof(struct relay_settings, cache_idle_ms),
     {P_smtp_connection_cache_time_limit, P_lmtp_connection_cache_time_limit}},
    {offsetof(struct relay_settings, reuse_ms),
     {P_smtp_connection_reuse_time_limit, P_lmtp_connection_reuse_time_limit}},
};

static const struct {
    size_t offset;
    enum param param[2];
} NUMBERS[] = {
    {offsetof(struct relay_settings, reuse_count),
     {P_smtp_connection_reuse_count_limit, P_lmtp_connection_reuse_count_limit}},
    {offsetof(struct relay_settings, session_limit), {P_smtp_mx_session_limit, P_lmtp_mx_session_limit}},
};

static const struct {
    size_t offset;
    enum param param[2];
} SWITCHES[] = {
    {offsetof(struct relay_settings, skip_5xx_greeting),
     {P_smtp_skip_5xx_greeting, P_lmtp_skip_5xx_greeting}},
    {offsetof(struct relay_settings, send_xforward),
     {P_smtp_send_xforward_command, P_lmtp_send_xforward_command}},
    {offsetof(struct relay_settings, note_starttls_offer),
     {P_smtp_tls_note_starttls_offer, P_lmtp_tls_note_starttls_offer}},
};

static const struct {
    const char *word;
    enum relay_tls_level level;
} LEVELS[] = {
    {"none", RELAY_TLS_NONE},
    {"may", RELAY_TLS_MAY},
    {"encrypt", RELAY_TLS_ENCRYPT},
    {"verify", RELAY_TLS_VERIFY},
    {"secure", RELAY_TLS_VERIFY},
    {"dane", RELAY_TLS_MAY}, /* as Postfix where no DNSSEC answer can be had */
};

static const struct {
    const char *grade;
    enum param list;
} GRADES[] = {
    {"high", P_tls_high_cipherlist},
    {"medium", P_tls_medium_cipherlist},
    {"low", P_tls_low_cipherlist},
    {"export", P_tls_export_cipherlist},
};

/* lmtp_connect_timeout = 0 means the system's own limit, which is about this. */
enum { CONNECT_MS_DEFAULT = 130000 };

static enum relay_tls_level
choose_level(const struct config *view, bool lmtp)
{
    const char *word = config_str(view, lmtp ? P_lmtp_tls_security_level : P_smtp_tls_security_level);

    if (word[0] == '\0') {
        bool enforce = config_bool(view, lmtp ? P_lmtp_enforce_tls : P_smtp_enforce_tls);
        bool use = config_bool(view, lmtp ? P_lmtp_use_tls : P_smtp_use_tls);

        return enforce ? RELAY_TLS_VERIFY : use ? RELAY_TLS_MAY : RELAY_TLS_NONE;
    }
    for (size_t i = 0; i < sizeof(LEVELS) / sizeof(LEVELS[0]); i++) {
        if (strcmp(word, LEVELS[i].word) == 0) {
            return LEVELS[i].level;
        }
    }
    return RELAY_TLS_REFUSED;
}

static const char *
choose_ciphers(const struct config *view, const char *grade)
{
    for (size_t i = 0; i < sizeof(GRADES) / sizeof(GRADES[0]); i++) {
        if (strcmp(grade, GRADES[i].grade) == 0) {
            const char *list = config_str(view, GRADES[i].list);

            return list[0] != '\0' ? list : NULL;
        }
    }
    return NULL;
}

static void
make_tls(struct relay_settings *settings, const struct config *view)
{
    bool lmtp = settings->lmtp;
    bool must = settings->tls_level > RELAY_TLS_MAY;
    enum param grade = must ? (lmtp ? P_lmtp_tls_mandatory_ciphers : P_smtp_tls_mandatory_ciphers)
                            : (lmtp ? P_lmtp_tls_ciphers : P_smtp_tls_ciphers);
    enum param protocols = must ? (lmtp ? P_lmtp_tls_mandatory_protocols : P_smtp_tls_mandatory_protocols)
                                : (lmtp ? P_lmtp_tls_protocols : P_smtp_tls_protocols);
    struct tls_options options = {
        .cert_file = config_str(view, lmtp ? P_lmtp_tls_cert_file : P_smtp_tls_cert_file),
        .key_file = config_str(view, lmtp ? P_lmtp_tls_key_file : P_smtp_tls_key_file),
        .ca_file = config_str(view, lmtp ? P_lmtp_tls_CAfile : P_smtp_tls_CAfile),
        .ca_path = config_str(view, lmtp ? P_lmtp_tls_CApath : P_smtp_tls_CApath),
        .protocols = config_str(view, protocols),
        .ciphers = choose_ciphers(view, config_str(view, grade)),
        .verify = TLS_VERIFY_ASK, /* the handshake goes on; the level decides afterwards what it is worth */
        .opportunistic = !must,
    };
    const char *cache =
        config_str(view, lmtp ? P_lmtp_tls_session_cache_database : P_smtp_tls_session_cache_database);

    /* The cache is in memory, whatever type and file the guides name. */
    if (cache[0] != '\0') {
        options.session_s =
            config_int(view, lmtp ? P_lmtp_tls_session_cache_timeout : P_smtp_tls_session_cache_timeout);
    }
    if (settings->tls_level == RELAY_TLS_NONE || settings->tls_level == RELAY_TLS_REFUSED) {
        return;
    }
    (void)tls_check_random_source(config_str(view, P_tls_random_source));
    if (tls_context_new(&options, &settings->tls) != 0) {
        log_warning(settings->program, "TLS is not available for transport %s", settings->transport);
    }
}

static void
find_own_addresses(struct relay_address_rules *rules)
{
    struct ifaddrs *list = NULL;

    if (getifaddrs(&list) == -1) {
        return;
    }
    for (const struct ifaddrs *at = list; at != NULL && rules->own_count < RELAY_OWN_ADDRESSES_MAX;
         at = at->ifa_next) {
        struct net_addr *addr = &rules->own_addresses[rules->own_count];

        if (at->ifa_addr == NULL ||
            (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6)) {
            continue;
        }
        net_addr_from_sockaddr(at->ifa_addr, addr);
        rules->own_count++;
    }
    freeifaddrs(list);
}

static void
read_bind_address(const char *text, uint8_t family, struct net_addr *addr)
{
    if (text[0] != '\0' && (net_addr_parse(bytes_str(text), addr) != 0 || addr->family != family)) {
        log_warning("smtp", "bad bind address \"%s\": not used", text);
        *addr = (struct net_addr){0};
    }
}

static void
read_address_rules(struct relay_settings *settings, const struct config *view)
{
    struct relay_address_rules *rules = &settings->address;
    bool lmtp = settings->lmtp;
    const char *protocols = config_str(view, P_inet_protocols);
    const char *prefer = config_str(view, lmtp ? P_lmtp_address_preference : P_smtp_address_preference);
    const char *port = lmtp ? "" : config_str(view, P_smtp_tcp_port);
    struct relay_target target;
    char text[64];

    rules->lmtp = lmtp;
    rules->disable_dns = config_bool(view, P_disable_dns_lookups);
    rules->use_ipv4 = strstr(protocols, "ipv4") != NULL || strstr(protocols, "all") != NULL;
    rules->use_ipv6 = strstr(protocols, "ipv6") != NULL || strstr(protocols, "all") != NULL;
    if (!rules->use_ipv6) {
        rules->use_ipv4 = true;
    }
    rules->prefer_family = strcmp(prefer, "ipv4") == 0 ? AF_INET : strcmp(prefer, "ipv6") == 0 ? AF_INET6 : 0;
    rules->randomize = config_bool(view, lmtp ? P_lmtp_randomize_addresses : P_smtp_randomize_addresses);
    rules->address_limit = (size_t)config_int(view, lmtp ? P_lmtp_mx_address_limit : P_smtp_mx_address_limit);
    rules->own_name = config_str(view, P_myhostname);
    rules->fallback = lmtp ? "" : config_str(view, P_smtp_fallback_relay);
    rules->default_port = lmtp ? (uint16_t)config_int(view, P_lmtp_tcp_port) : 25;
    (void)snprintf(text, sizeof(text), "[p]:%s", port);
    if (port[0] != '\0' && relay_address_parse(bytes_str(text), rules, &target) == 0) {
        rules->default_port = target.port;
    }
    find_own_addresses(rules);
    read_bind_address(config_str(view, lmtp ? P_lmtp_bind_address : P_smtp_bind_address), AF_INET,
                      &settings->bind4);
    read_bind_address(config_str(view, lmtp ? P_lmtp_bind_address6 : P_smtp_bind_address6), AF_INET6,
                      &settings->bind6);
}

int
relay_settings_new(const struct config *config, size_t service, struct relay_settings **settings_r)
{
    const struct config_service *row = config_service(config, service);
    const struct config *view = config_view(config, service);
    struct relay_settings *settings = calloc(1, sizeof(*settings));

    *settings_r = NULL;
    if (settings == NULL) {
        return GW_ERR_NOMEM;
    }
    bool lmtp = strcmp(row->program, "lmtp") == 0;

    settings->transport = row->name;
    settings->lmtp = lmtp;
    settings->program = lmtp ? "lmtp" : "smtp";
    for (size_t i = 0; i < sizeof(TIMES) / sizeof(TIMES[0]); i++) {
        *(int64_t *)(void *)((char *)settings + TIMES[i].offset) =
            config_int(view, TIMES[i].param[lmtp]) * 1000;
    }
    for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
        *(int64_t *)(void *)((char *)settings + NUMBERS[i].offset) = config_int(view, NUMBERS[i].param[lmtp]);
    }
    for (size_t i = 0; i < sizeof(SWITCHES) / sizeof(SWITCHES[0]); i++) {
        *(bool *)((char *)settings + SWITCHES[i].offset) = config_bool(view, SWITCHES[i].param[lmtp]);
    }
    if (settings->connect_ms == 0) {
        settings->connect_ms = CONNECT_MS_DEFAULT;
    }
    settings->never_ehlo = !lmtp && config_bool(view, P_smtp_never_send_ehlo);
    settings->helo_name = config_str(view, lmtp ? P_lmtp_lhlo_name : P_smtp_helo_name);
    if (settings->helo_name[0] == '\0') {
        settings->helo_name = config_str(view, P_myhostname);
    }
    settings->tls_loglevel = (int)config_int(view, lmtp ? P_lmtp_tls_loglevel : P_smtp_tls_loglevel);
    settings->tls_level = choose_level(view, lmtp);
    if (settings->tls_level == RELAY_TLS_REFUSED) {
        log_warning(settings->program,
                    "transport %s: TLS security level is not supported: its mail is deferred", row->name);
    }
    read_address_rules(settings, view);
    make_tls(settings, view);
    *settings_r = settings;
    return 0;
}

void
relay_settings_free(struct relay_settings **settings)
{
    if (*settings != NULL) {
        tls_context_free(&(*settings)->tls);
        free(*settings);
        *settings = NULL;
    }
}
