/*
 * screen_score - asks all block and allow lists about one client at once and adds up the weights.
 *
 * Before: screen_client.c; after: screen_client_scored(). Each zone is asked once, whatever number of filters
 * refer to it. A list that does not answer in time counts nothing; an answer outside 127.0.0.0/8 or in
 * 127.255.255.0/24 is a list's error and counts nothing (policy/dnsbl.h). Freed with the tests: clients that
 * are only kept waiting own none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dns.h"
#include "base/error.h"
#include "base/log.h"
#include "screen/screen_private.h"

enum { ASK_NAME_MAX = DNS_NAME_MAX + 80 };

struct ask {
    struct screen_score *score;
    uint64_t handle; /* 0: answered or never asked */
    uint8_t ip[4];   /* the address that counted, else the first */
    uint8_t status;  /* enum dns_status */
    bool listed;
    bool in_control; /* asking for what no list may have (policy/dnsbl.h) */
    int weight;
};

static void take_answer(void *context, struct dns_answer *answer);

struct screen_score {
    struct screen_client *client;
    int64_t deadline_ms;
    size_t pending;
    size_t count;
    struct ask asks[]; /* one per zone */
};

static bool
start_query(struct ask *ask, const char *name)
{
    if (dns_async_query(ask->score->client->port->screen->dns, name, DNS_A, ask->score->deadline_ms,
                        take_answer, ask, &ask->handle) != 0) {
        ask->handle = 0;
        return false;
    }
    ask->score->pending++;
    return true;
}

/* A zone that listed the client: does it list everything? The answer is awaited like the first. */
static void
ask_control(struct ask *ask, size_t zone)
{
    const struct screen_client *client = ask->score->client;
    char name[ASK_NAME_MAX];

    if (client->port->settings->dnsbl_control &&
        dnsbl_control_name(client->port->settings->zones[zone].name, &client->client, name, sizeof(name)) ==
            0) {
        ask->in_control = start_query(ask, name);
    }
}

static void
take_control(struct ask *ask, size_t zone, const struct dns_answer *answer)
{
    const struct screen_settings *settings = ask->score->client->port->settings;
    bool listed = false;

    for (size_t i = 0; answer->status == DNS_FOUND && i < settings->site_count; i++) {
        listed = listed ||
                 (settings->sites[i].zone == zone && dnsbl_site_is_listed(&settings->sites[i].site, answer));
    }
    if (listed) {
        log_warning("postscreen", "%s lists 127.0.0.1 too: it lists everything and is not believed",
                    settings->zones[zone].name);
        ask->listed = false;
        ask->weight = 0;
    }
}

/* Adds what one zone's answer is worth: every site of that zone whose filter matches. */
static void
weigh(struct ask *ask, size_t zone, const struct dns_answer *answer)
{
    const struct screen_settings *settings = ask->score->client->port->settings;

    for (size_t i = 0; i < settings->site_count; i++) {
        const struct screen_site *site = &settings->sites[i];

        if (site->zone == zone && dnsbl_site_is_listed(&site->site, answer)) {
            ask->listed = true;
            ask->weight += site->site.weight;
        }
    }
    if (answer->record_count > 0 && answer->records[0].data.n == 4) {
        memcpy(ask->ip, answer->records[0].data.p, 4);
    }
}

static void
sum_up(struct screen_client *client)
{
    const struct screen_score *score = client->score;
    int most = 0;

    client->rank = 0;
    for (size_t zone = 0; zone < score->count; zone++) {
        client->rank += score->asks[zone].weight;
        if (score->asks[zone].weight > most) {
            most = score->asks[zone].weight;
            client->rank_zone = (uint16_t)zone;
        }
    }
    screen_client_scored(client);
}

/* TTLs bound how long the result is remembered; the smallest counts, and a list that could not be asked makes
 * it nil. */
static void
take_answer(void *context, struct dns_answer *answer)
{
    struct ask *ask = context;
    struct screen_score *score = ask->score;
    struct screen_client *client = score->client;

    size_t zone = (size_t)(ask - score->asks);

    ask->handle = 0;
    score->pending--;
    if (answer != NULL && ask->in_control) {
        take_control(ask, zone, answer);
        dns_answer_free(&answer);
    } else if (answer != NULL) {
        ask->status = (uint8_t)answer->status;
        uint32_t ttl_s = answer->status == DNS_TEMPFAIL ? 0 : answer->ttl;
        client->rank_ttl_s = ttl_s < client->rank_ttl_s ? ttl_s : client->rank_ttl_s;
        if (answer->status == DNS_FOUND) {
            weigh(ask, zone, answer);
        }
        dns_answer_free(&answer);
        if (ask->listed) {
            ask_control(ask, zone);
        }
    }
    if (score->pending == 0) {
        sum_up(client);
    }
}

static void
send_ask(struct ask *ask, const char *zone)
{
    struct screen_client *client = ask->score->client;
    char name[ASK_NAME_MAX];

    if (net_addr_reversed(&client->client, zone, name, sizeof(name)) != 0 || !start_query(ask, name)) {
        client->rank_ttl_s = 0;
    }
}

void
screen_score_start(struct screen_client *client)
{
    const struct screen_settings *settings = client->port->settings;
    size_t count = settings->zone_count;
    struct screen_score *score = calloc(1, sizeof(*score) + count * sizeof(score->asks[0]));

    client->rank_ttl_s = UINT32_MAX;
    if (score == NULL) {
        screen_client_scored(client); /* the lists say nothing */
        return;
    }
    score->client = client;
    score->deadline_ms = clock_monotonic_ms() + settings->dnsbl_ms;
    score->count = count;
    client->score = score;
    for (size_t zone = 0; zone < count; zone++) {
        score->asks[zone].score = score;
        send_ask(&score->asks[zone], settings->zones[zone].name);
    }
    if (score->pending == 0) {
        sum_up(client);
    }
}

void
screen_score_stop(struct screen_client *client)
{
    struct screen_score *score = client->score;

    client->score = NULL;
    for (size_t zone = 0; score != NULL && zone < score->count; zone++) {
        if (score->asks[zone].handle != 0) {
            dns_async_cancel(client->port->screen->dns, score->asks[zone].handle);
        }
    }
    free(score);
}

void
screen_score_record(const struct screen_client *client, struct evidence *evidence)
{
    static const char *const STATUS[] = {[DNS_TEMPFAIL] = "tempfail",
                                         [DNS_FOUND] = "found",
                                         [DNS_NODATA] = "nodata",
                                         [DNS_NXDOMAIN] = "nxdomain"};
    const struct screen_score *score = client->score;
    char name[ASK_NAME_MAX], address[NET_ADDR_TEXT_MAX];

    for (size_t zone = 0; score != NULL && zone < score->count; zone++) {
        const struct ask *ask = &score->asks[zone];
        struct net_addr found = {.family = AF_INET};

        if (net_addr_reversed(&client->client, client->port->settings->zones[zone].name, name,
                              sizeof(name)) != 0) {
            continue;
        }
        memcpy(found.ip, ask->ip, 4);
        net_addr_format(&found, address);
        evidence_add(evidence, EV_DNS, bytes_str(name), BYTES_LIT("A"),
                     bytes_str(ask->status == DNS_FOUND ? address : STATUS[ask->status]),
                     ask->listed ? BYTES_LIT("listed") : (struct bytes){0}, ask->weight);
    }
}
