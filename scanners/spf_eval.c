/*
 * spf_eval - check_host() (RFC 7208 section 4): finds the record, walks its terms, keeps the limits.
 *
 * Before: spf.c; asks DNS through the request. One struct spf_state lives for a whole check, so that
 * the limits hold over includes and redirects together.
 */
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "scanners/spf.h"

struct spf_state {
    const struct spf_request *request;
    struct spf_outcome *outcome;
    struct spf_macros macros; /* of the check_host() under way */
    unsigned lookups, voids, depth;
    bool name_asked;
    struct bytes validated; /* %{p} */
};

/* The result of one term: matched, not matched, or an error that ends everything. */
enum term_result { TERM_NO_MATCH, TERM_MATCH, TERM_TEMPERROR, TERM_PERMERROR };

static enum auth_result check_host(struct spf_state *state, struct bytes domain, bool with_explanation);

static void
set_problem(struct spf_state *state, const char *what, const char *name)
{
    if (state->outcome->problem.n == 0) {
        state->outcome->problem = bytes_str(arena_printf(state->request->arena, "%s%s%s", what,
                                                         name != NULL ? ": " : "", name != NULL ? name : ""));
    }
}

static bool
is_name(struct bytes name)
{
    size_t label = 0;

    if (name.n > 0 && name.p[name.n - 1] == '.') {
        name.n--;
    }
    if (name.n == 0 || name.n > SPF_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i <= name.n; i++) {
        if (i == name.n || name.p[i] == '.') {
            if (label == 0 || label > 63) {
                return false;
            }
            label = 0;
        } else {
            label++;
        }
    }
    return bytes_index(name, '\0') < 0;
}

/* Asks DNS. A name that cannot be one counts as absent. NULL answer: absent or unreachable, by *temp_r. */
static struct dns_answer *
ask(struct spf_state *state, struct bytes name, enum dns_type type, bool *temp_r)
{
    char text[SPF_NAME_MAX + 2];
    struct dns_answer *answer = NULL;

    *temp_r = false;
    if (!is_name(name)) {
        return NULL;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    int r = state->request->lookup(state->request->lookup_context, text, type, &answer);
    if (r == GW_ERR_SYNTAX) {
        return NULL;
    }
    if (r != 0 || answer->status == DNS_TEMPFAIL) {
        dns_answer_free(&answer);
        set_problem(state, "DNS cannot answer", text);
        *temp_r = true;
        return NULL;
    }
    if (answer->status != DNS_FOUND) {
        dns_answer_free(&answer);
    }
    return answer;
}

/* For names that decide nothing by being out of reach (ptr, %{p}, exp): trouble leaves no problem behind. */
static struct dns_answer *
ask_aside(struct spf_state *state, struct bytes name, enum dns_type type)
{
    struct bytes problem = state->outcome->problem;
    bool temp;
    struct dns_answer *answer = ask(state, name, type, &temp);

    state->outcome->problem = problem;
    return answer;
}

/* Counts a term that asks DNS. False over the limit. */
static bool
count_lookup(struct spf_state *state)
{
    if (++state->lookups > SPF_LOOKUPS_MAX) {
        set_problem(state, "more than 10 terms with DNS lookups", NULL);
        return false;
    }
    return true;
}

static bool
count_void(struct spf_state *state)
{
    if (++state->voids > SPF_VOID_MAX) {
        set_problem(state, "more than 2 lookups found nothing", NULL);
        return false;
    }
    return true;
}

static enum dns_type
address_type(const struct spf_state *state)
{
    return state->request->client->family == AF_INET6 ? DNS_AAAA : DNS_A;
}

static struct net_addr
record_address(const struct dns_record *record)
{
    struct net_addr addr = {.family = record->data.n == 16 ? AF_INET6 : AF_INET};

    memcpy(addr.ip, record->data.p, record->data.n > 16 ? 16 : record->data.n);
    return addr;
}

static bool
has_client(const struct spf_state *state, const struct dns_answer *answer, uint8_t bits4, uint8_t bits6)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        struct net_prefix prefix = {.base = record_address(&answer->records[i])};

        prefix.bits = prefix.base.family == AF_INET6 ? bits6 : bits4;
        net_addr_mask(&prefix.base, prefix.bits);
        if (net_prefix_has(&prefix, state->request->client)) {
            return true;
        }
    }
    return false;
}

/* The names PTR gives whose addresses hold the client (section 5.5): calls `use` for each until it returns
 * true. */
static bool
walk_validated_names(struct spf_state *state, bool (*use)(void *context, struct bytes name), void *context)
{
    char query[SPF_NAME_MAX + 1];
    bool done = false;

    if (net_addr_reversed(state->request->client,
                          state->request->client->family == AF_INET6 ? "ip6.arpa" : "in-addr.arpa", query,
                          sizeof(query)) != 0) {
        return false;
    }
    struct dns_answer *names = ask_aside(state, bytes_str(query), DNS_PTR);
    for (size_t i = 0; names != NULL && i < names->record_count && i < SPF_NAMES_MAX && !done; i++) {
        struct bytes name = bytes_str(names->records[i].name);
        struct dns_answer *forward = ask_aside(state, name, address_type(state));

        if (forward != NULL && has_client(state, forward, 32, 128)) {
            done = use(context, name);
        }
        dns_answer_free(&forward);
    }
    dns_answer_free(&names);
    return done;
}

static bool
is_at_or_below(struct bytes name, struct bytes domain)
{
    if (domain.n > 0 && domain.p[domain.n - 1] == '.') {
        domain.n--;
    }
    return bytes_has_suffix_nocase(name, domain) &&
           (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

static bool
use_matching(void *context, struct bytes name)
{
    return is_at_or_below(name, *(const struct bytes *)context);
}

struct name_choice {
    struct spf_state *state;
    int rank;
};

/* %{p}: the domain itself is best, then a subdomain of it, then any (section 7.3). */
static bool
choose_name(void *context, struct bytes name)
{
    struct name_choice *choice = context;
    struct bytes domain = choice->state->macros.domain;
    int rank = bytes_equal_nocase(name, domain) ? 3 : is_at_or_below(name, domain) ? 2 : 1;

    if (rank > choice->rank) {
        choice->rank = rank;
        choice->state->validated = arena_dup(choice->state->request->arena, name);
    }
    return rank == 3;
}

static struct bytes
find_validated_name(void *context)
{
    struct spf_state *state = context;
    struct name_choice choice = {.state = state};

    if (!state->name_asked) {
        state->name_asked = true;
        state->validated = BYTES_LIT("unknown");
        (void)walk_validated_names(state, choose_name, &choice);
    }
    return state->validated;
}

/* Expands a domain-spec; an over-long name loses labels from the left (section 7.3). Empty: the current
 * domain. */
static int
expand_domain(struct spf_state *state, struct bytes spec, struct bytes *domain_r)
{
    struct buf out;
    int r;

    if (spec.n == 0) {
        *domain_r = state->macros.domain;
        return 0;
    }
    buf_init(&out, SPF_EXPANDED_MAX);
    if ((r = spf_macro_expand(&state->macros, spec, false, &out)) == 0) {
        struct bytes name = bytes_buf(&out);

        while (name.n > SPF_NAME_MAX) {
            ptrdiff_t dot = bytes_index(name, '.');

            name = bytes_sub(name, dot < 0 ? name.n : (size_t)dot + 1, name.n);
        }
        *domain_r = arena_dup(state->request->arena, name);
    }
    buf_free(&out);
    return r;
}

static enum term_result
match_a(struct spf_state *state, const struct spf_term *term, struct bytes domain)
{
    bool temp;
    struct dns_answer *answer = ask(state, domain, address_type(state), &temp);

    if (answer == NULL) {
        return temp ? TERM_TEMPERROR : count_void(state) ? TERM_NO_MATCH : TERM_PERMERROR;
    }
    bool match = has_client(state, answer, term->bits4, term->bits6);
    dns_answer_free(&answer);
    return match ? TERM_MATCH : TERM_NO_MATCH;
}

static enum term_result
match_mx(struct spf_state *state, const struct spf_term *term, struct bytes domain)
{
    enum term_result result = TERM_NO_MATCH;
    bool temp;
    struct dns_answer *hosts = ask(state, domain, DNS_MX, &temp);

    if (hosts == NULL) {
        return temp ? TERM_TEMPERROR : count_void(state) ? TERM_NO_MATCH : TERM_PERMERROR;
    }
    if (hosts->record_count > SPF_NAMES_MAX) {
        set_problem(state, "more than 10 MX hosts", NULL);
        result = TERM_PERMERROR;
    }
    for (size_t i = 0; i < hosts->record_count && result == TERM_NO_MATCH; i++) {
        struct dns_answer *answer = ask(state, bytes_str(hosts->records[i].name), address_type(state), &temp);

        if (answer == NULL) {
            result = temp ? TERM_TEMPERROR : TERM_NO_MATCH;
        } else if (has_client(state, answer, term->bits4, term->bits6)) {
            result = TERM_MATCH;
        }
        dns_answer_free(&answer);
    }
    dns_answer_free(&hosts);
    return result;
}

static enum term_result
match_exists(struct spf_state *state, struct bytes domain)
{
    bool temp;
    struct dns_answer *answer = ask(state, domain, DNS_A, &temp);

    if (answer == NULL) {
        return temp ? TERM_TEMPERROR : count_void(state) ? TERM_NO_MATCH : TERM_PERMERROR;
    }
    dns_answer_free(&answer);
    return TERM_MATCH;
}

static enum term_result
match_include(struct spf_state *state, struct bytes domain)
{
    switch (check_host(state, domain, false)) {
    case AUTH_PASS:
        return TERM_MATCH;
    case AUTH_FAIL:
    case AUTH_SOFTFAIL:
    case AUTH_NEUTRAL:
        return TERM_NO_MATCH;
    case AUTH_TEMPERROR:
        return TERM_TEMPERROR;
    default:
        set_problem(state, "include without an SPF record", NULL);
        return TERM_PERMERROR;
    }
}

static enum term_result
match_term(struct spf_state *state, const struct spf_term *term)
{
    struct bytes domain;

    if (term->mechanism == SPF_ALL) {
        return TERM_MATCH;
    }
    if (term->mechanism == SPF_IP4 || term->mechanism == SPF_IP6) {
        return net_prefix_has(&term->network, state->request->client) ? TERM_MATCH : TERM_NO_MATCH;
    }
    if (!count_lookup(state) || expand_domain(state, term->domain, &domain) != 0) {
        return TERM_PERMERROR;
    }
    switch (term->mechanism) {
    case SPF_INCLUDE:
        return match_include(state, domain);
    case SPF_A:
        return match_a(state, term, domain);
    case SPF_MX:
        return match_mx(state, term, domain);
    case SPF_PTR:
        return walk_validated_names(state, use_matching, &domain) ? TERM_MATCH : TERM_NO_MATCH;
    case SPF_EXISTS:
        return match_exists(state, domain);
    default:
        return TERM_PERMERROR;
    }
}

/* The domain's SPF record. Results: AUTH_NONE (there is none), AUTH_TEMPERROR, AUTH_PERMERROR (several), or
 * AUTH_PASS with *text_r set. */
static enum auth_result
find_record(struct spf_state *state, struct bytes domain, struct bytes *text_r)
{
    enum auth_result result = AUTH_NONE;
    bool temp;
    struct dns_answer *answer = ask(state, domain, DNS_TXT, &temp);

    if (answer == NULL) {
        return temp ? AUTH_TEMPERROR : AUTH_NONE;
    }
    for (size_t i = 0; i < answer->record_count; i++) {
        if (!spf_record_is_one(answer->records[i].data)) {
            continue;
        }
        if (result == AUTH_PASS) {
            set_problem(state, "more than one SPF record", NULL);
            result = AUTH_PERMERROR;
            break;
        }
        *text_r = arena_dup(state->request->arena, answer->records[i].data);
        result = AUTH_PASS;
    }
    dns_answer_free(&answer);
    return result;
}

/* exp= (section 6.2): trouble of any kind means no explanation. */
static void
explain(struct spf_state *state, struct bytes spec)
{
    struct bytes domain;
    struct buf out;

    if (spec.p == NULL || expand_domain(state, spec, &domain) != 0) {
        return;
    }
    struct dns_answer *answer = ask_aside(state, domain, DNS_TXT);
    if (answer == NULL) {
        return;
    }
    buf_init(&out, SPF_EXPANDED_MAX);
    if (answer->record_count == 1 &&
        spf_macro_expand(&state->macros, answer->records[0].data, true, &out) == 0) {
        bool ascii = true;

        for (size_t i = 0; i < out.n; i++) {
            ascii = ascii && out.p[i] >= 0x20 && out.p[i] < 0x7f;
        }
        if (ascii) {
            state->outcome->explanation = arena_dup(state->request->arena, bytes_buf(&out));
        }
    }
    buf_free(&out);
    dns_answer_free(&answer);
}

static enum auth_result
follow_redirect(struct spf_state *state, struct bytes spec, bool with_explanation)
{
    struct bytes domain;

    if (!count_lookup(state) || expand_domain(state, spec, &domain) != 0) {
        return AUTH_PERMERROR;
    }
    enum auth_result result = check_host(state, domain, with_explanation);
    if (result == AUTH_NONE) {
        set_problem(state, "redirect to a domain without an SPF record", NULL);
        return AUTH_PERMERROR;
    }
    return result;
}

static enum auth_result
evaluate(struct spf_state *state, const struct spf_record *record, bool with_explanation)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct spf_term *term = &record->terms[i];

        switch (match_term(state, term)) {
        case TERM_NO_MATCH:
            continue;
        case TERM_TEMPERROR:
            return AUTH_TEMPERROR;
        case TERM_PERMERROR:
            return AUTH_PERMERROR;
        case TERM_MATCH:
            if (term->qualifier == AUTH_FAIL && with_explanation) {
                explain(state, record->explanation);
            }
            return (enum auth_result)term->qualifier;
        }
    }
    return record->redirect.p != NULL ? follow_redirect(state, record->redirect, with_explanation)
                                      : AUTH_NEUTRAL;
}

/* A domain that can have a record: two labels or more, none empty or over-long (section 4.3). */
static bool
is_checkable(struct bytes domain)
{
    struct bytes name = domain;

    if (name.n > 0 && name.p[name.n - 1] == '.') {
        name.n--;
    }
    return is_name(domain) && bytes_index(name, '.') > 0 && name.p[0] != '[';
}

static enum auth_result
check_host(struct spf_state *state, struct bytes domain, bool with_explanation)
{
    struct spf_record record;
    struct bytes text, outer = state->macros.domain;
    const char *problem;
    enum auth_result result;

    if (!is_checkable(domain)) {
        return AUTH_NONE;
    }
    if (++state->depth > SPF_DEPTH_MAX) {
        return AUTH_PERMERROR;
    }
    state->macros.domain = domain;
    result = find_record(state, domain, &text);
    if (result == AUTH_PASS) {
        if (spf_record_parse(state->request->arena, text, &record, &problem) != 0) {
            set_problem(state, problem, NULL);
            result = AUTH_PERMERROR;
        } else {
            result = evaluate(state, &record, with_explanation);
        }
    }
    state->macros.domain = outer;
    state->depth--;
    return result;
}

void
spf_check(const struct spf_request *request, struct spf_outcome *outcome_r)
{
    struct spf_state state = {.request = request, .outcome = outcome_r};
    struct spf_macros *macros = &state.macros;
    ptrdiff_t at = bytes_rindex(request->sender, '@');

    *outcome_r = (struct spf_outcome){.result = AUTH_TEMPERROR};
    *macros = (struct spf_macros){.request = request,
                                  .sender_local = BYTES_LIT("postmaster"),
                                  .sender_domain = request->helo,
                                  .validated_name = find_validated_name,
                                  .validated_context = &state};
    if (request->sender.n > 0) {
        macros->sender_domain = bytes_sub(request->sender, at < 0 ? 0 : (size_t)at + 1, request->sender.n);
        if (at > 0) {
            macros->sender_local = bytes_sub(request->sender, 0, (size_t)at);
        }
    }
    outcome_r->domain = macros->sender_domain;
    outcome_r->result = check_host(&state, macros->sender_domain, true);
    outcome_r->lookups = state.lookups;
}
