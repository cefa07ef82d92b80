/*
 * spf - the SPF scanner: asks our evaluator about the sender, and libspf2 for a second opinion.
 *
 * Before: pipeline.c; after: policy/verdict.c (spf_action) and the Received-SPF field. Mail of our own
 * networks and of authenticated users is not checked: they are not supposed to be in anybody's record.
 */
#include "scanners/spf.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "scanners/spf_second.h"

enum { SPF_BUDGET_MS = 20000 }; /* RFC 7208 section 4.6.4: at least 20 seconds */

struct lookup {
    struct dns_client *dns;
    int64_t deadline_ms;
};

static int
ask_resolver(void *context, const char *name, enum dns_type type, struct dns_answer **answer_r)
{
    const struct lookup *lookup = context;

    return dns_query(lookup->dns, name, type, lookup->deadline_ms, answer_r);
}

static int
start_thread(const struct config *config, void *shared, void **thread_r)
{
    (void)config;
    (void)shared;
    *thread_r = spf_second_new();
    return *thread_r == NULL ? GW_ERR_NOMEM : 0;
}

static void
stop_thread(void **thread)
{
    struct spf_second *second = *thread;

    spf_second_free(&second);
    *thread = NULL;
}

/* "<problem>" or the domain owner's explanation: what the log and the evidence say. */
static struct bytes
detail_of(const struct spf_outcome *outcome)
{
    return outcome->problem.n > 0 ? outcome->problem : outcome->explanation;
}

static int
scan(void *shared, void *thread, const struct scan_input *input, struct scan_report *report)
{
    const struct envelope *envelope = input->request->envelope;
    const struct session_facts *session = &envelope->session;
    int64_t budget_ms = clock_monotonic_ms() + SPF_BUDGET_MS;
    struct lookup lookup = {.dns = input->dns,
                            .deadline_ms = budget_ms < input->deadline_ms ? budget_ms : input->deadline_ms};
    struct spf_request request = {.client = &session->client,
                                  .sender = envelope->sender,
                                  .helo = bytes_str(session->helo),
                                  .receiver = config_str(input->config, P_myhostname),
                                  .lookup = ask_resolver,
                                  .lookup_context = &lookup,
                                  .arena = input->arena};
    struct spf_outcome outcome;
    struct scan_result *result = scan_report_add(report, SCANNER_SPF);

    (void)shared;
    if (result == NULL) {
        return GW_ERR_LIMIT;
    }
    if (input->request->trusted) {
        result->status = SCAN_SKIPPED;
        result->detail = BYTES_LIT("client is in mynetworks or authenticated");
        return 0;
    }
    spf_check(&request, &outcome);
    enum auth_result second = spf_second_check(thread, &request);
    result->auth = (uint8_t)outcome.result;
    result->status = outcome.result == AUTH_FAIL ? SCAN_FOUND : SCAN_CLEAN;
    result->domain = arena_dup(input->arena, outcome.domain);
    result->detail = detail_of(&outcome);
    result->found = outcome.explanation;
    if (second != outcome.result) {
        result->second_opinion = bytes_str(auth_result_word(second));
    }
    return 0;
}

const struct scanner SCANNER_SPF_ROW = {
    .id = SCANNER_SPF,
    .name = "spf",
    .thread_start = start_thread,
    .thread_stop = stop_thread,
    .scan = scan,
};
