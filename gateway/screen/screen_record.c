/*
 * screen_record - how clients and times look in log lines, and what the evidence says of the tests.
 *
 * Before: screen_client.c and screen_engine.c; after: the log, and policy or receive by screen_peer.c. Bytes
 * of a client are escaped before they reach a line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "screen/screen_private.h"

enum { SLOT_BITS = 22 };

const char *
screen_record_address(const struct net_addr *addr, char out[SCREEN_ADDRESS_TEXT])
{
    char text[NET_ADDR_TEXT_MAX];

    net_addr_format(addr, text);
    (void)snprintf(out, SCREEN_ADDRESS_TEXT, "[%s]:%u", text, (unsigned)addr->port);
    return out;
}

const char *
screen_record_since(int64_t started_us, char out[16])
{
    int64_t us = clock_monotonic_us() - started_us;
    int64_t hundredths = us > 0 ? us / 10000 : 0;

    if (hundredths >= 1000) {
        (void)snprintf(out, 16, "%lld", (long long)(hundredths / 100 % 10000000));
    } else if (hundredths >= 100) {
        (void)snprintf(out, 16, "%d.%d", (int)(hundredths / 100), (int)(hundredths / 10 % 10));
    } else {
        (void)snprintf(out, 16, hundredths == 0 ? "0" : "0.%02d", (int)hundredths);
    }
    return out;
}

void
screen_record_escape(struct bytes text, char *out, size_t size)
{
    static const char PLAIN[] = "\r\n\t\\", NAMES[] = "rnt\\";
    size_t n = 0;

    for (size_t i = 0; i < text.n && n + 5 <= size; i++) {
        const char *special = text.p[i] != '\0' ? strchr(PLAIN, text.p[i]) : NULL;

        if (special != NULL) {
            out[n++] = '\\';
            out[n++] = NAMES[special - PLAIN];
        } else if (text.p[i] >= 0x20 && text.p[i] < 0x7f) {
            out[n++] = (char)text.p[i];
        } else {
            n += (size_t)snprintf(out + n, size - n, "\\%03o", (unsigned)text.p[i]);
        }
    }
    out[n] = '\0';
}

void
screen_record_ident(struct screen *screen, char out[QUEUE_ID_MAX])
{
    queue_id_make(out, clock_wall_us(),
                  (screen->next_id++ << SLOT_BITS) | ((unsigned)getpid() & ((1U << SLOT_BITS) - 1)));
}

static void
add_pregreet(const struct screen_client *client, struct evidence *evidence)
{
    char early[4 * SCREEN_PREGREET_MAX + 1];
    const char *result = (client->failed & SCREEN_PREGREET) != 0   ? "fail"
                         : (client->passed & SCREEN_PREGREET) != 0 ? "pass"
                                                                   : "skip";

    screen_record_escape(bytes_of(client->early, client->early_n), early, sizeof(early));
    evidence_add(evidence, EV_SCREEN, BYTES_LIT("pregreet"), (struct bytes){0}, bytes_str(result),
                 bytes_str(early), 0);
}

static void
add_rank(const struct screen_client *client, struct evidence *evidence)
{
    char detail[64];

    screen_score_record(client, evidence);
    (void)snprintf(detail, sizeof(detail), "rank %d", (int)client->rank);
    evidence_add(evidence, EV_SCREEN, BYTES_LIT("dnsbl"), (struct bytes){0},
                 bytes_str((client->failed & SCREEN_DNSBL) != 0 ? "fail" : "pass"), bytes_str(detail),
                 client->rank);
}

void
screen_record_tests(const struct screen_client *client, struct evidence *evidence)
{
    static const char *const ACCESS[] = {"skip", "pass", "fail"};
    char address[SCREEN_ADDRESS_TEXT];

    evidence_add(evidence, EV_CONNECT, bytes_str(screen_record_address(&client->client, address)),
                 (struct bytes){0}, (struct bytes){0}, bytes_str(client->port->service), client->client.port);
    evidence_add(evidence, EV_SCREEN, BYTES_LIT("access"), (struct bytes){0},
                 bytes_str(ACCESS[client->access]), (struct bytes){0}, 0);
    if (client->access == SCREEN_PERMIT) {
        return;
    }
    if (client->known) {
        evidence_add(evidence, EV_SCREEN, BYTES_LIT("allowlist"), (struct bytes){0}, BYTES_LIT("pass"),
                     client->wanted == 0 ? BYTES_LIT("all tests") : BYTES_LIT("some tests"), 0);
    }
    if ((client->wanted & SCREEN_PREGREET) != 0) {
        add_pregreet(client, evidence);
    }
    if ((client->wanted & SCREEN_DNSBL) != 0) {
        add_rank(client, evidence);
    }
}
