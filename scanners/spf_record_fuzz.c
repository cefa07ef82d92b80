/*
 * spf_record_fuzz - any bytes as the record of every domain, and as the text of an explanation: what is
 * parsed lies within the input, and a check ends within its limits without a pass out of nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"
#include "scanners/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUERIES_MAX = 200, TEXT_MAX = 2 * SPF_RECORD_MAX };

struct world {
    struct bytes text;
    unsigned queries;
};

static void
must(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* Every name has this text; no name has an address, so that mechanisms find nothing. */
static int
look_up(void *context, const char *name, enum dns_type type, struct dns_answer **answer_r)
{
    struct world *world = context;
    struct dns_answer *answer = calloc(1, sizeof(*answer));

    must(answer != NULL && strlen(name) <= SPF_NAME_MAX + 1 && ++world->queries <= QUERIES_MAX);
    answer->status = DNS_NODATA;
    if (type == DNS_TXT) {
        uint8_t *copy = malloc(world->text.n + 1);

        must(copy != NULL && (answer->records = calloc(1, sizeof(*answer->records))) != NULL);
        if (world->text.n > 0) {
            memcpy(copy, world->text.p, world->text.n);
        }
        answer->status = DNS_FOUND;
        answer->record_count = 1;
        answer->records[0].data = bytes_of(copy, world->text.n);
    }
    *answer_r = answer;
    return 0;
}

static bool
is_within(struct bytes inner, struct bytes outer)
{
    return inner.n == 0 || (inner.p >= outer.p && inner.p + inner.n <= outer.p + outer.n);
}

static int
parse(struct arena *arena, struct bytes text)
{
    struct spf_record record;
    const char *problem = NULL;
    int r = spf_record_parse(arena, text, &record, &problem);

    must(r == 0 || problem != NULL);
    for (size_t i = 0; r == 0 && i < record.count; i++) {
        const struct spf_term *term = &record.terms[i];

        must(term->mechanism <= SPF_EXISTS && term->bits4 <= 32 && term->bits6 <= 128);
        must(is_within(term->domain, text) && spf_macro_check(term->domain, false) == 0);
    }
    must(r != 0 || (is_within(record.redirect, text) && is_within(record.explanation, text)));
    return r;
}

static void
check(struct arena *arena, struct bytes text, int parsed, const char *client)
{
    struct world world = {.text = text};
    struct net_addr addr;
    struct spf_outcome outcome;
    struct spf_request request = {.client = &addr,
                                  .sender = BYTES_LIT("a-n.a@mail.example.com"),
                                  .helo = BYTES_LIT("helo.example"),
                                  .receiver = "gw.example",
                                  .lookup = look_up,
                                  .lookup_context = &world,
                                  .arena = arena};

    must(net_addr_parse(bytes_str(client), &addr) == 0);
    spf_check(&request, &outcome);
    must(outcome.result <= AUTH_PERMERROR && outcome.lookups <= SPF_LOOKUPS_MAX + 1);
    if (!spf_record_is_one(text)) {
        must(outcome.result == AUTH_NONE);
    } else if (parsed != 0) {
        must(outcome.result == AUTH_PERMERROR);
    }
    for (size_t i = 0; i < outcome.explanation.n; i++) {
        must(outcome.explanation.p[i] >= 0x20 && outcome.explanation.p[i] < 0x7f);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(64 * 1024 * 1024);
    struct bytes text = bytes_of(data, size < TEXT_MAX ? size : TEXT_MAX);

    must(arena != NULL && IPC_RULES[0].type != 0);
    (void)spf_macro_check(text, true);
    int parsed = parse(arena, text);
    check(arena, text, parsed, "192.0.2.1");
    check(arena, text, parsed, "2001:db8::1");
    arena_free(&arena);
    return 0;
}
