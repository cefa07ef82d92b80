/*
 * screen_client - one client from its connection to the decision: access list, temporary allowlist, tests,
 * verdict.
 *
 * Before: screen_service.c (accept). After: screen_peer.c hands it to receive, or screen_engine.c tells it
 * why not, or it is told and closed at once. The access list answers at once; the allowlist is asked before
 * any test, so that a known client costs one question and no DNS. Blocklists and the pregreet wait run side
 * by side. When policy or resolver are not there, the tests that remain decide; mail never waits for them
 * longer than their time limits.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "screen/screen_private.h"

enum {
    ASK_MS = 1000, /* the allowlist answers within this, or the client counts as unknown */
    LEFTOVER_MAX =
        4096, /* bytes read away before closing, lest the kernel resets and our last words are lost */
    STRESS_HIGH_PERCENT = 70,
    STRESS_LOW_PERCENT = 50,
};

static void serve(void *context, uint32_t events);
static void fire(void *context);
static void conclude_when_done(struct screen_client *client);

/* One row per reason to refuse, the strongest first. */
static const struct {
    const char *drop, *enforce;
} DENIED = {"521 5.3.2 Service currently unavailable", "550 5.3.2 Service currently unavailable"},
  PREGREET = {"521 5.5.1 Protocol error", "550 5.5.1 Protocol error"};

bool
screen_client_say_bytes(struct screen_client *client, struct bytes text)
{
    return send(client->fd, text.p, text.n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)text.n;
}

bool
screen_client_say(struct screen_client *client, const char *format, ...)
{
    char text[SCREEN_REPLY_MAX * 2];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return n > 0 && (size_t)n < sizeof(text) && screen_client_say_bytes(client, bytes_of(text, (size_t)n));
}

struct screen_client *
screen_client_find(struct screen *screen, uint64_t id)
{
    struct screen_client *client = screen->clients[id % SCREEN_CLIENT_BUCKETS];

    while (client != NULL && client->id != id) {
        client = client->next;
    }
    return client;
}

static void
update_stress(struct screen_client *client)
{
    struct screen *screen = client->port->screen;
    size_t limit = client->port->settings->pre_queue_limit;

    if (!screen->stressed && screen->client_count * 100 > limit * STRESS_HIGH_PERCENT) {
        screen->stressed = true;
        log_info("postscreen", "entering STRESS mode with %zu connections", screen->client_count);
    } else if (screen->stressed && screen->client_count * 100 < limit * STRESS_LOW_PERCENT) {
        screen->stressed = false;
        log_info("postscreen", "leaving STRESS mode with %zu connections", screen->client_count);
    }
}

/* Takes the client out of everything and frees it. */
static void
release(struct screen_client *client)
{
    struct screen *screen = client->port->screen;
    struct screen_client **at = &screen->clients[client->id % SCREEN_CLIENT_BUCKETS];

    while (*at != client) {
        at = &(*at)->next; /* every client is in its bucket from accept on */
    }
    *at = client->next;
    screen_score_stop(client);
    screen_engine_free(client);
    loop_watch_remove(screen->loop, &client->watch);
    loop_timer_cancel(screen->loop, &client->timer);
    screen_counts_remove(screen, &client->client);
    screen->client_count--;
    update_stress(client);
    (void)close(client->fd);
    free(client);
    if (screen->draining && screen->client_count == 0) {
        loop_stop(screen->loop);
    }
}

void
screen_client_close(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT], leftover[LEFTOVER_MAX];

    log_info("postscreen", "DISCONNECT %s", screen_record_address(&client->client, address));
    (void)recv(client->fd, leftover, sizeof(leftover), MSG_DONTWAIT);
    release(client);
}

/* Refuses at once; the evidence of what was tested so far goes with it. */
static void
drop(struct screen_client *client, const char *reply)
{
    struct screen *screen = client->port->screen;
    struct evidence evidence = {0};
    char ident[QUEUE_ID_MAX];

    screen_record_ident(screen, ident);
    if (evidence_begin(&evidence, ident, "screen") == 0) {
        screen_record_tests(client, &evidence);
        evidence_add(&evidence, EV_COMMAND, BYTES_LIT("CONNECT"), (struct bytes){0},
                     bytes_sub(bytes_str(reply), 0, 3), bytes_str(reply), strtol(reply, NULL, 10));
        screen_peer_evidence(screen, &evidence);
    }
    evidence_free(&evidence);
    (void)screen_client_say(client, "%s\r\n", reply);
    screen_client_close(client);
}

static void
blocked_reply(const struct screen_client *client, const char *code, char out[SCREEN_REPLY_MAX])
{
    const struct screen_settings *settings = client->port->settings;
    char address[NET_ADDR_TEXT_MAX];

    net_addr_format(&client->client, address);
    (void)snprintf(out, SCREEN_REPLY_MAX, "%s 5.7.1 Service unavailable; client [%s] blocked using %s", code,
                   address, settings->zones[client->rank_zone].shown);
}

static void
hand_over(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT];
    int r = screen_peer_hand_over(client);

    if (r == 0) {
        release(client);
        return;
    }
    screen_record_address(&client->client, address);
    if (r == GW_ERR_FULL) {
        log_info("postscreen", "NOQUEUE: reject: CONNECT from %s: all server ports busy", address);
        drop(client, "421 4.3.2 All server ports are busy");
    } else {
        log_warning("postscreen", "cannot hand over %s: %s", address, gw_strerror(r));
        drop(client, "421 4.3.2 No system resources");
    }
}

/* Remembers what was passed, unless the client failed something else: then nothing of this session counts. */
static void
remember(struct screen_client *client)
{
    const struct screen_settings *settings = client->port->settings;
    int64_t now_s = clock_wall_s(), ttl_s = client->rank_ttl_s;

    if (client->failed != 0 || client->passed == 0) {
        return;
    }
    if ((client->passed & SCREEN_PREGREET) != 0) {
        client->expires_s[0] = now_s + settings->greet_ttl_s;
    }
    if ((client->passed & SCREEN_DNSBL) != 0) {
        ttl_s = ttl_s < settings->dnsbl_min_ttl_s ? settings->dnsbl_min_ttl_s : ttl_s;
        ttl_s = ttl_s > settings->dnsbl_max_ttl_s ? settings->dnsbl_max_ttl_s : ttl_s;
        client->expires_s[1] = now_s + ttl_s;
    }
    screen_peer_tell_allow(client);
}

static void
pass(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT];

    if (client->failed == 0 && client->access != SCREEN_PERMIT) {
        log_info("postscreen", "PASS %s %s", client->known ? "OLD" : "NEW",
                 screen_record_address(&client->client, address));
    }
    remember(client);
    hand_over(client);
}

/* All tests are over. */
static void
conclude(struct screen_client *client)
{
    const struct screen_settings *settings = client->port->settings;
    char blocked[SCREEN_REPLY_MAX];
    const char *reply = NULL;

    if (client->access == SCREEN_REJECT && settings->deny_action == SCREEN_ENFORCE) {
        reply = DENIED.enforce;
    } else if ((client->failed & SCREEN_PREGREET) != 0 && settings->greet_action == SCREEN_ENFORCE) {
        reply = PREGREET.enforce;
    } else if ((client->failed & SCREEN_DNSBL) != 0 && settings->dnsbl_action == SCREEN_ENFORCE) {
        blocked_reply(client, "550", blocked);
        reply = blocked;
    }
    if (reply == NULL) {
        pass(client);
        return;
    }
    int r = screen_engine_start(client, reply);
    if (r != 0) {
        screen_client_close(client);
        return;
    }
    screen_score_stop(client);
}

static void
conclude_when_done(struct screen_client *client)
{
    bool scored =
        (client->wanted & SCREEN_DNSBL) == 0 || ((client->passed | client->failed) & SCREEN_DNSBL) != 0;

    if (client->state == SCREEN_TESTING && client->greet_over && scored) {
        conclude(client);
    } else if (client->greet_over && client->watch != NULL) {
        loop_watch_change(client->port->screen->loop, client->watch, 0); /* what it says waits for its turn */
    }
}

void
screen_client_scored(struct screen_client *client)
{
    const struct screen_settings *settings = client->port->settings;
    char address[SCREEN_ADDRESS_TEXT], blocked[SCREEN_REPLY_MAX];

    if (client->rank < settings->threshold) {
        client->passed |= SCREEN_DNSBL;
        if (settings->allow_threshold < 0 && client->rank <= settings->allow_threshold) {
            client->wanted &= (uint8_t)~SCREEN_PREGREET; /* vouched for: no waiting */
            client->greet_over = true;
        }
        conclude_when_done(client);
        return;
    }
    client->failed |= SCREEN_DNSBL;
    log_info("postscreen", "DNSBL rank %d for %s", (int)client->rank,
             screen_record_address(&client->client, address));
    if (settings->dnsbl_action == SCREEN_DROP) {
        blocked_reply(client, "521", blocked);
        drop(client, blocked);
        return;
    }
    conclude_when_done(client);
}

static void
hang_up(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT], since[16];

    log_info("postscreen", "HANGUP after %s from %s in tests before SMTP handshake",
             screen_record_since(client->started_us, since), screen_record_address(&client->client, address));
    screen_client_close(client);
}

/* Bytes before the greeting was over. They stay in the socket: whoever serves the client next reads them. */
static void
read_early(struct screen_client *client)
{
    char address[SCREEN_ADDRESS_TEXT], since[16], shown[4 * SCREEN_PREGREET_MAX + 1];
    ssize_t n = recv(client->fd, client->early, sizeof(client->early), MSG_PEEK | MSG_DONTWAIT);

    if (n <= 0) {
        hang_up(client);
        return;
    }
    client->early_n = (uint8_t)n;
    client->failed |= SCREEN_PREGREET;
    client->greet_over = true;
    screen_record_escape(bytes_of(client->early, (size_t)n), shown, sizeof(shown));
    log_info("postscreen", "PREGREET %zd after %s from %s: %s", n,
             screen_record_since(client->started_us, since), screen_record_address(&client->client, address),
             shown);
    if (client->port->settings->greet_action == SCREEN_DROP) {
        drop(client, PREGREET.drop);
        return;
    }
    conclude_when_done(client);
}

static void
serve(void *context, uint32_t events)
{
    struct screen_client *client = context;

    if (client->state == SCREEN_TALKING) {
        screen_engine_read(client);
    } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        hang_up(client);
    } else if (!client->greet_over) {
        read_early(client);
    }
}

/* The wait for the allowlist, for the greeting or for a command is over. */
static void
fire(void *context)
{
    struct screen_client *client = context;

    client->timer = NULL;
    switch (client->state) {
    case SCREEN_NEW:
        break;
    case SCREEN_ASKING:
        screen_client_allow(client, NULL);
        break;
    case SCREEN_TESTING:
        if (!client->greet_over && (client->wanted & SCREEN_PREGREET) != 0) {
            client->passed |= SCREEN_PREGREET;
        }
        client->greet_over = true;
        conclude_when_done(client);
        break;
    case SCREEN_TALKING:
        screen_engine_expire(client);
        break;
    }
}

/* Sets the one timer of the client. False: out of memory. */
bool
screen_client_wait(struct screen_client *client, int64_t ms)
{
    struct loop *loop = client->port->screen->loop;
    int64_t deadline_ms = clock_monotonic_ms() + ms;

    if (client->timer != NULL) {
        loop_timer_move(loop, client->timer, deadline_ms);
        return true;
    }
    client->timer = loop_timer_add(loop, deadline_ms, fire, client);
    return client->timer != NULL;
}

/* Begins to wait for what the client does. 0, or an error after which it is gone. */
static int
watch(struct screen_client *client, int64_t wait_ms)
{
    client->state = SCREEN_TESTING;
    client->watch = loop_watch_add(client->port->screen->loop, client->fd, EPOLLIN, serve, client);
    if (client->watch == NULL || !screen_client_wait(client, wait_ms)) {
        drop(client, "421 4.3.2 No system resources");
        return GW_ERR_NOMEM;
    }
    return 0;
}

static void
start_tests(struct screen_client *client)
{
    struct screen *screen = client->port->screen;
    const struct screen_settings *settings = client->port->settings;
    char address[SCREEN_ADDRESS_TEXT];
    bool pregreet = (client->wanted & SCREEN_PREGREET) != 0;
    int64_t greet_ms = screen->stressed ? settings->greet_stress_ms : settings->greet_ms;

    if (screen->client_count > settings->pre_queue_limit) {
        log_info("postscreen", "reject: connect from %s: all screening ports busy",
                 screen_record_address(&client->client, address));
        (void)screen_client_say(client, "421 4.3.2 All screening ports are busy\r\n");
        screen_client_close(client);
        return;
    }
    if (watch(client, pregreet ? greet_ms : settings->dnsbl_ms + ASK_MS) != 0) {
        return;
    }
    client->greet_over = !pregreet;
    if (pregreet && settings->teaser[0] != '\0') {
        client->teaser_sent = screen_client_say(client, "220-%s\r\n", settings->teaser);
        if (!client->teaser_sent) {
            hang_up(client);
            return;
        }
    }
    if ((client->wanted & SCREEN_DNSBL) != 0) {
        screen_score_start(client);
    } else {
        conclude_when_done(client);
    }
}

void
screen_client_allow(struct screen_client *client, const struct wire_allow *allow)
{
    const struct screen_settings *settings = client->port->settings;
    int64_t now_s = clock_wall_s();
    uint32_t valid = 0;

    client->state = SCREEN_NEW;
    for (size_t i = 0; allow != NULL && i < SCREEN_TESTS_COUNT; i++) {
        client->expires_s[i] = allow->expires_s[i];
        valid |= allow->expires_s[i] > now_s ? 1U << i : 0U;
        client->known = client->known || allow->expires_s[i] != 0;
    }
    client->wanted =
        (uint8_t)((settings->pregreet ? SCREEN_PREGREET : 0) | (settings->zone_count > 0 ? SCREEN_DNSBL : 0));
    client->wanted &= (uint8_t)~valid;
    if (client->wanted == 0 && client->access != SCREEN_REJECT) {
        pass(client);
        return;
    }
    start_tests(client);
}

/* The static list: permit goes through at once, reject is told or kept for the end. True: the client is dealt
 * with. */
static bool
check_access(struct screen_client *client)
{
    const struct screen_settings *settings = client->port->settings;
    char address[SCREEN_ADDRESS_TEXT];

    client->access = screen_settings_access(settings, &client->client);
    screen_record_address(&client->client, address);
    if (client->access == SCREEN_PERMIT) {
        log_info("postscreen", "%sLISTED %s", settings->respectful ? "ALLOW" : "WHITE", address);
        pass(client);
        return true;
    }
    if (client->access == SCREEN_REJECT) {
        log_info("postscreen", "%sLISTED %s", settings->respectful ? "DENY" : "BLACK", address);
        if (settings->deny_action == SCREEN_DROP) {
            drop(client, DENIED.drop);
            return true;
        }
    }
    return false;
}

static void
begin(struct screen_client *client, size_t connections)
{
    const struct screen_settings *settings = client->port->settings;
    char address[SCREEN_ADDRESS_TEXT], server[SCREEN_ADDRESS_TEXT];

    screen_record_address(&client->client, address);
    log_info("postscreen", "CONNECT from %s to %s", address, screen_record_address(&client->server, server));
    if (settings->client_limit > 0 && connections > settings->client_limit) {
        log_info("postscreen", "NOQUEUE: reject: CONNECT from %s: too many connections", address);
        (void)screen_client_say(client, "421 4.7.0 Error: too many connections\r\n");
        screen_client_close(client);
        return;
    }
    update_stress(client);
    if (check_access(client)) {
        return;
    }
    if (client->access == SCREEN_REJECT || screen_peer_ask_allow(client) != 0 ||
        !screen_client_wait(client, ASK_MS)) {
        screen_client_allow(client, NULL);
        return;
    }
    client->state = SCREEN_ASKING;
}

void
screen_client_accept(struct screen_port *port, int fd, const struct net_addr *peer)
{
    struct screen *screen = port->screen;
    struct screen_client *client = calloc(1, sizeof(*client));
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    size_t connections = client != NULL ? screen_counts_add(screen, peer) : 0;

    if (connections == 0) {
        free(client);
        (void)close(fd);
        return;
    }
    client->port = port;
    client->fd = fd;
    client->client = *peer;
    client->server = port->bound;
    if (port->bound.family == 0 && getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        net_addr_from_sockaddr((const struct sockaddr *)&address, &client->server);
    }
    client->started_us = clock_monotonic_us();
    client->id = screen->next_id++;
    client->next = screen->clients[client->id % SCREEN_CLIENT_BUCKETS];
    screen->clients[client->id % SCREEN_CLIENT_BUCKETS] = client;
    screen->client_count++;
    begin(client, connections);
}

/* Calls what for every client in a state. It takes the client out of that state or frees it, and maybe
 * others: so each bucket is looked at from its beginning again. */
static void
for_each(struct screen *screen, enum screen_state state, void (*what)(struct screen_client *client))
{
    uint64_t last = screen->next_id;

    for (size_t i = 0; i < SCREEN_CLIENT_BUCKETS; i++) {
        struct screen_client *client = screen->clients[i];

        while (client != NULL) {
            if (client->state == state && client->id < last) {
                what(client);
                client = screen->clients[i];
            } else {
                client = client->next;
            }
        }
    }
}

static void
go_on_unknown(struct screen_client *client)
{
    screen_client_allow(client, NULL);
}

void
screen_client_policy_lost(struct screen *screen)
{
    for_each(screen, SCREEN_ASKING, go_on_unknown);
}

static void
send_away(struct screen_client *client)
{
    (void)screen_client_say(client, "421 %s Service unavailable - try again later\r\n",
                            client->port->settings->myhostname);
    screen_client_close(client);
}

void
screen_client_drain(struct screen *screen)
{
    screen->draining = true;
    for_each(screen, SCREEN_TALKING, send_away);
    if (screen->client_count == 0) {
        loop_stop(screen->loop);
    }
}
