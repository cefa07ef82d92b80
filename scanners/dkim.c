/*
 * dkim - verifies DKIM signatures with libopendkim; keys come from our own resolver.
 *
 * Before: pipeline.c; after: policy/verdict.c reads one result per signature (or a single "none"). Keys are
 * fetched in the prescreen, before the library asks, so that a DNS failure is a temperror of that signature
 * and never "no key". At most DKIM_SIGNATURES_MAX signatures are looked at, weak ones (rsa-sha1, under 1024
 * bits) count as "policy", and a signature over a part of the body (l=) is not a pass: text can be added
 * behind it.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/types.h>

#include <opendkim/dkim.h>

#include "base/clock.h"
#include "base/dns.h"
#include "base/error.h"
#include "scanners/scanner.h"

enum {
    DKIM_SIGNATURES_MAX = 8,
    DKIM_KEY_BITS_MIN = 1024,
    DKIM_KEY_TEXT_MAX = 4096,
};

extern const struct scanner SCANNER_DKIM_ROW;

/* One signature as found by the prescreen. */
struct signature {
    DKIM_SIGINFO *info;
    char key[DKIM_KEY_TEXT_MAX]; /* the TXT record */
    enum { KEY_FOUND, KEY_ABSENT, KEY_UNREACHABLE, KEY_REFUSED } state;
    const char *why;
};

struct verification {
    const struct scan_input *input;
    struct signature signatures[DKIM_SIGNATURES_MAX];
    size_t count;
    size_t unreadable; /* signatures that are none */
};

static void
fetch_key(const struct verification *v, struct signature *signature)
{
    char name[DNS_NAME_MAX + 1];
    struct dns_answer *answer = NULL;
    const char *domain = (const char *)dkim_sig_getdomain(signature->info);
    const char *selector = (const char *)dkim_sig_getselector(signature->info);

    signature->state = KEY_ABSENT;
    signature->why = "no key for signature";
    if (domain == NULL || selector == NULL ||
        snprintf(name, sizeof(name), "%s._domainkey.%s", selector, domain) >= (int)sizeof(name)) {
        return;
    }
    int r = dns_query(v->input->dns, name, DNS_TXT, v->input->deadline_ms, &answer);
    if (r == GW_ERR_SYNTAX) {
        return;
    }
    if (r != 0 || answer->status == DNS_TEMPFAIL) {
        signature->state = KEY_UNREACHABLE;
        signature->why = "key unavailable";
    } else if (answer->status == DNS_FOUND && answer->record_count == 1 &&
               answer->records[0].data.n < sizeof(signature->key)) {
        memcpy(signature->key, answer->records[0].data.p, answer->records[0].data.n);
        signature->state = KEY_FOUND;
        signature->why = NULL;
    }
    dns_answer_free(&answer);
}

/* Called by the library at the end of the header, before it asks for any key. */
static DKIM_CBSTAT
prescreen(DKIM *dkim, DKIM_SIGINFO **infos, int count)
{
    struct verification *v = dkim_get_user_context(dkim);

    for (int i = 0; i < count; i++) {
        dkim_alg_t algorithm = DKIM_SIGN_UNKNOWN;

        if (v->count >= DKIM_SIGNATURES_MAX) {
            dkim_sig_ignore(infos[i]);
            continue;
        }
        struct signature *signature = &v->signatures[v->count++];
        signature->info = infos[i];
        (void)dkim_sig_getsignalg(infos[i], &algorithm);
        if (algorithm == DKIM_SIGN_RSASHA1) {
            signature->state = KEY_REFUSED;
            signature->why = "rsa-sha1 is not accepted (RFC 8301)";
        } else {
            fetch_key(v, signature);
        }
        if (signature->state == KEY_UNREACHABLE || signature->state == KEY_REFUSED) {
            dkim_sig_ignore(infos[i]);
        }
    }
    return DKIM_CBSTAT_CONTINUE;
}

/* The library's own DNS is never used: it takes what the prescreen fetched. */
static DKIM_CBSTAT
give_key(DKIM *dkim, DKIM_SIGINFO *info, u_char *buffer, size_t size)
{
    const struct verification *v = dkim_get_user_context(dkim);

    for (size_t i = 0; i < v->count; i++) {
        if (v->signatures[i].info == info && v->signatures[i].state == KEY_FOUND) {
            int n = snprintf((char *)buffer, size, "%s", v->signatures[i].key);

            return n >= 0 && (size_t)n < size ? DKIM_CBSTAT_CONTINUE : DKIM_CBSTAT_NOTFOUND;
        }
    }
    return DKIM_CBSTAT_NOTFOUND;
}

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    u_int bits = DKIM_KEY_BITS_MIN;
    DKIM_LIB *library = dkim_init(NULL, NULL);

    (void)config;
    *shared_r = NULL;
    if (library == NULL) {
        (void)buf_append_str(error_r, "dkim: libopendkim could not be initialised");
        return GW_ERR_NOMEM;
    }
    (void)dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_MINKEYBITS, &bits, sizeof(bits));
    (void)dkim_set_prescreen(library, prescreen);
    (void)dkim_set_key_lookup(library, give_key);
    *shared_r = library;
    return 0;
}

static void
unload(void **shared)
{
    if (*shared != NULL) {
        dkim_close(*shared);
        *shared = NULL;
    }
}

/* Feeds the header field by field, without line ends, as the library wants it. A field that it cannot read, a
 * signature too, is ignored (RFC 6376 section 6.1): it must not spoil the signatures beside it. */
static DKIM_STAT
feed_header(struct verification *v, DKIM *dkim, struct bytes header)
{
    size_t from = 0;

    while (from < header.n) {
        size_t to = from;

        do {
            ptrdiff_t end = bytes_find(bytes_sub(header, to, header.n), BYTES_LIT("\r\n"));
            to = end < 0 ? header.n : to + (size_t)end + 2;
        } while (to < header.n && (header.p[to] == ' ' || header.p[to] == '\t'));
        struct bytes field = bytes_sub(header, from, to - from);
        from = to;
        while (field.n > 0 && (field.p[field.n - 1] == '\n' || field.p[field.n - 1] == '\r')) {
            field.n--;
        }
        if (field.n == 0) {
            break;
        }
        if (bytes_index(field, ':') <= 0) {
            continue; /* not a field: mbox "From " lines and the like are not signed */
        }
        DKIM_STAT status = dkim_header(dkim, (u_char *)(uintptr_t)field.p, field.n);
        if (status == DKIM_STAT_SYNTAX) {
            v->unreadable += bytes_has_prefix_nocase(field, BYTES_LIT("DKIM-Signature"));
        } else if (status != DKIM_STAT_OK) {
            return status;
        }
    }
    return DKIM_STAT_OK;
}

static DKIM_STAT
feed(struct verification *v, DKIM *dkim)
{
    const struct scan_input *input = v->input;
    struct bytes body = bytes_sub(input->content, input->body_offset, input->content.n);
    bool test_key = false;
    DKIM_STAT status = feed_header(v, dkim, bytes_sub(input->content, 0, input->body_offset));

    if (status == DKIM_STAT_OK) {
        status = dkim_eoh(dkim);
    }
    if (status == DKIM_STAT_OK && body.n > 0) {
        status = dkim_body(dkim, (u_char *)(uintptr_t)body.p, body.n);
    }
    return status == DKIM_STAT_OK ? dkim_eom(dkim, &test_key) : status;
}

static bool
covers_whole_body(DKIM *dkim, DKIM_SIGINFO *info)
{
    ssize_t whole = -1, canonical = -1, stated = -1;

    if (dkim_sig_getcanonlen(dkim, info, &whole, &canonical, &stated) != DKIM_STAT_OK) {
        return true;
    }
    return stated < 0 || whole <= stated;
}

static enum auth_result
judge(DKIM *dkim, struct signature *signature)
{
    int error = dkim_sig_geterror(signature->info);

    if (signature->state == KEY_UNREACHABLE) {
        return AUTH_TEMPERROR;
    }
    if (signature->state == KEY_REFUSED) {
        return AUTH_POLICY;
    }
    if (signature->state == KEY_ABSENT) {
        return AUTH_PERMERROR;
    }
    if (DKIM_SIG_CHECK(signature->info)) {
        if (covers_whole_body(dkim, signature->info)) {
            return AUTH_PASS;
        }
        signature->why = "signature covers only a part of the body (l=)";
        return AUTH_POLICY;
    }
    if (error == DKIM_SIGERROR_OK || error == DKIM_SIGERROR_UNKNOWN || error == DKIM_SIGERROR_BADSIG) {
        signature->why = dkim_sig_getbh(signature->info) == DKIM_SIGBH_MISMATCH ? "body hash did not verify"
                                                                                : "signature did not verify";
        return AUTH_FAIL;
    }
    signature->why = dkim_sig_geterrorstr(error);
    return error == DKIM_SIGERROR_KEYTOOSMALL ? AUTH_POLICY : AUTH_PERMERROR;
}

static int
report_one(struct verification *v, DKIM *dkim, struct signature *signature, struct scan_report *report)
{
    struct arena *arena = v->input->arena;
    struct scan_result *result = scan_report_add(report, SCANNER_DKIM);

    if (result == NULL) {
        return GW_ERR_LIMIT;
    }
    result->auth = (uint8_t)judge(dkim, signature);
    result->status = result->auth == AUTH_FAIL ? SCAN_FOUND : SCAN_CLEAN;
    result->domain = arena_dup(arena, bytes_str((const char *)dkim_sig_getdomain(signature->info)));
    result->selector = arena_dup(arena, bytes_str((const char *)dkim_sig_getselector(signature->info)));
    result->detail = arena_dup(arena, bytes_str(signature->why));
    return 0;
}

static int
report_none(struct scan_report *report, enum auth_result auth, const char *why)
{
    struct scan_result *result = scan_report_add(report, SCANNER_DKIM);

    if (result == NULL) {
        return GW_ERR_LIMIT;
    }
    result->status = SCAN_CLEAN;
    result->auth = (uint8_t)auth;
    result->detail = bytes_str(why);
    return 0;
}

static int
report_all(struct verification *v, DKIM *dkim, DKIM_STAT status, struct scan_report *report)
{
    int r = 0;

    if (status == DKIM_STAT_NORESOURCE || status == DKIM_STAT_INTERNAL) {
        return GW_ERR_NOMEM; /* our trouble: "not scanned" */
    }
    if (status == DKIM_STAT_SYNTAX && v->count == 0) {
        return report_none(report, AUTH_PERMERROR, "the message could not be read");
    }
    if (v->unreadable > 0 && v->count == 0) {
        return report_none(report, AUTH_PERMERROR, "the signature could not be read");
    }
    if (v->count == 0) {
        return report_none(report, AUTH_NONE, "no signature");
    }
    for (size_t i = 0; i < v->count && r == 0; i++) {
        r = report_one(v, dkim, &v->signatures[i], report);
    }
    return r;
}

static int
scan(void *shared, void *thread, const struct scan_input *input, struct scan_report *report)
{
    struct verification *v = calloc(1, sizeof(*v));
    DKIM_STAT status = DKIM_STAT_OK;
    int r = GW_ERR_NOMEM;

    (void)thread;
    if (v == NULL) {
        return r;
    }
    v->input = input;
    DKIM *dkim = dkim_verify(shared, (const u_char *)input->request->envelope->queue_id, NULL, &status);
    if (dkim != NULL) {
        (void)dkim_set_user_context(dkim, v);
        status = feed(v, dkim);
        r = report_all(v, dkim, status, report);
        (void)dkim_free(dkim);
    }
    free(v);
    return r;
}

const struct scanner SCANNER_DKIM_ROW = {
    .id = SCANNER_DKIM, .name = "dkim", .load = load, .unload = unload, .scan = scan};
