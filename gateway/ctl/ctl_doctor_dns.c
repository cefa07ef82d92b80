/*
 * ctl_doctor_dns - the few questions of `check --doctor --probe`, asked without a running gateway.
 *
 * Before: ctl_doctor_network.c; after: libunbound, with the servers of dns_servers as the resolver role has
 * them. Nothing asks unless --probe was given. What is not answered in PROBE_MS is unknown, and no finding
 * comes of it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unbound.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/ipc.h"
#include "ctl/ctl_doctor_private.h"

enum { PROBE_MS = 5000, SERVERS_MAX = 8, CLASS_IN = 1, RDATA_MAX = 512, LABEL_FLAGS = 0xc0 };
enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_MX = 15, TYPE_AAAA = 28 };

struct doctor_dns {
    struct ub_ctx *unbound;
};

/* Networks and names of examples are asked about like others, as the resolver role does (resolver_service.c).
 */
static const char SETTINGS[] = "server:\n"
                               "  local-zone: \"test.\" nodefault\n"
                               "  local-zone: \"invalid.\" nodefault\n"
                               "  local-zone: \"127.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"2.0.192.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"100.51.198.in-addr.arpa.\" nodefault\n"
                               "  local-zone: \"113.0.203.in-addr.arpa.\" nodefault\n"
                               "  unblock-lan-zones: yes\n"
                               "  insecure-lan-zones: yes\n"
                               "  do-not-query-localhost: no\n";

/* libunbound takes these settings only from a file. */
static void
apply_settings(struct ub_ctx *unbound)
{
    char path[64];
    int fd = ipc_sealed_memfd("unbound", bytes_str(SETTINGS));

    if (fd != -1) {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        (void)ub_ctx_config(unbound, path);
        (void)close(fd);
    }
}

/* "127.0.0.1:5353" to "127.0.0.1@5353". */
static bool
add_server(struct ub_ctx *unbound, struct bytes word)
{
    char text[128], address[NET_ADDR_TEXT_MAX];
    struct net_addr addr;
    uint64_t port = 53;
    struct bytes host = word;
    ptrdiff_t bracket = bytes_index(word, ']'), colon = bytes_rindex(word, ':');

    if (bracket > 0) {
        host = bytes_sub(word, 1, (size_t)bracket - 1);
        colon = (size_t)bracket + 1 < word.n ? bracket + 1 : -1;
    } else if (colon > 0 && bytes_index(word, ':') == colon) {
        host = bytes_sub(word, 0, (size_t)colon);
    } else {
        colon = -1;
    }
    if ((colon > 0 && bytes_to_u64(bytes_sub(word, (size_t)colon + 1, word.n), &port) != 0) || port == 0 ||
        port > UINT16_MAX || net_addr_parse(host, &addr) != 0) {
        return false;
    }
    net_addr_format(&addr, address);
    (void)snprintf(text, sizeof(text), "%s@%u", address, (unsigned)port);
    return ub_ctx_set_fwd(unbound, text) == 0;
}

struct doctor_dns *
doctor_dns_new(const struct config *config)
{
    struct doctor_dns *dns = calloc(1, sizeof(*dns));
    struct bytes rest = bytes_str(config_str(config, P_dns_servers)), word;
    size_t count = 0;

    if (dns == NULL || (dns->unbound = ub_ctx_create()) == NULL) {
        free(dns);
        return NULL;
    }
    (void)ub_ctx_async(dns->unbound, 1);
    apply_settings(dns->unbound);
    while (count < SERVERS_MAX && bytes_next_token(&rest, ", \t", &word)) {
        count += add_server(dns->unbound, word);
    }
    if (count == 0) {
        (void)ub_ctx_resolvconf(dns->unbound, NULL);
    }
    return dns;
}

void
doctor_dns_free(struct doctor_dns **dns)
{
    if (*dns != NULL) {
        ub_ctx_delete((*dns)->unbound);
        free(*dns);
        *dns = NULL;
    }
}

struct waiting {
    struct ub_result *result;
    bool done;
};

static void
take_result(void *context, int error, struct ub_result *result)
{
    struct waiting *waiting = context;

    waiting->done = true;
    waiting->result = error == 0 ? result : NULL;
    if (error != 0) {
        ub_resolve_free(result);
    }
}

/* A name of an answer: labels, uncompressed as libunbound gives them. */
static void
put_name(struct bytes data, char out[256])
{
    size_t at = 0, n = 0;

    while (at < data.n && data.p[at] != 0 && (data.p[at] & LABEL_FLAGS) == 0) {
        size_t length = data.p[at++];

        if (at + length > data.n || n + length + 2 > 256) {
            break;
        }
        if (n > 0) {
            out[n++] = '.';
        }
        memcpy(out + n, data.p + at, length);
        n += length;
        at += length;
    }
    out[n] = '\0';
    ascii_lower((uint8_t *)out, n);
}

static void
put_record(int type, struct bytes data, char out[256])
{
    struct net_addr addr = {0};

    if (type == TYPE_A && data.n == 4) {
        addr.family = AF_INET;
        memcpy(addr.ip, data.p, 4);
        net_addr_format(&addr, out);
    } else if (type == TYPE_AAAA && data.n == 16) {
        addr.family = AF_INET6;
        memcpy(addr.ip, data.p, 16);
        net_addr_format(&addr, out);
    } else if (type == TYPE_MX && data.n > 2) {
        put_name(bytes_sub(data, 2, data.n), out);
    } else if (type == TYPE_PTR) {
        put_name(data, out);
    }
}

static void
take_answer(const struct ub_result *result, int type, const char *name, struct doctor_dns_answer *answer_r)
{
    if (result->rcode != 0 && !result->nxdomain) {
        return;
    }
    answer_r->status = result->havedata ? DOCTOR_DNS_FOUND : DOCTOR_DNS_NOTHING;
    answer_r->by_alias =
        result->canonname != NULL && result->havedata && strcasecmp(result->canonname, name) != 0;
    for (size_t i = 0; result->havedata && result->data[i] != NULL && answer_r->count < 16; i++) {
        put_record(type, bytes_of(result->data[i], (size_t)result->len[i]),
                   answer_r->text[answer_r->count++]);
    }
}

void
doctor_dns_ask(struct doctor_dns *dns, const char *name, int type, struct doctor_dns_answer *answer_r)
{
    int64_t deadline_ms = clock_monotonic_ms() + PROBE_MS;
    struct waiting waiting = {0};
    int id;

    *answer_r = (struct doctor_dns_answer){.status = DOCTOR_DNS_UNKNOWN};
    if (dns == NULL ||
        ub_resolve_async(dns->unbound, name, type, CLASS_IN, &waiting, take_result, &id) != 0) {
        return;
    }
    while (!waiting.done && clock_monotonic_ms() < deadline_ms) {
        struct pollfd fd = {.fd = ub_fd(dns->unbound), .events = POLLIN};

        if (poll(&fd, 1, (int)(deadline_ms - clock_monotonic_ms())) > 0) {
            (void)ub_process(dns->unbound);
        }
    }
    if (!waiting.done) {
        (void)ub_cancel(dns->unbound, id);
        return;
    }
    if (waiting.result != NULL) {
        take_answer(waiting.result, type, name, answer_r);
        ub_resolve_free(waiting.result);
    }
}
