/*
 * restriction_greylist - asks the policy role whether this triplet has waited long enough.
 *
 * Before: receive_rcpt.c after the recipient lists permitted (greylist = yes or suspicious), or the word
 * check_greylist in a list. After: the policy role, which owns the store. When it cannot be asked, mail
 * passes: greylisting only ever delays, and a delay that never ends would be a loss.
 */
#include "policy/restriction_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "message/wire.h"

enum { GREYLIST_ASK_MS = 5000, TRIPLET_MAX = 8192 };

/* One question; the channel is dropped when it broke, so that the next session connects anew. */
static int
ask_once(struct ipc_channel **policy, const struct wire_triplet *triplet,
         struct wire_greylist_answer *answer_r)
{
    struct ipc_message message = {0};
    struct buf payload;
    int r;

    if (*policy == NULL && (r = ipc_connect(ROLE_RECEIVE, ROLE_POLICY, policy)) != 0) {
        return r;
    }
    buf_init(&payload, TRIPLET_MAX);
    r = wire_triplet_pack(&payload, triplet);
    if (r == 0) {
        r = ipc_call(*policy, WIRE_GREYLIST, bytes_buf(&payload), NULL, 0,
                     clock_monotonic_ms() + GREYLIST_ASK_MS, &message);
    }
    if (r == 0) {
        r = message.type == WIRE_GREYLIST_ANSWER ? wire_greylist_answer_unpack(message.payload, answer_r)
                                                 : GW_ERR_PEER;
        ipc_message_free(&message);
    }
    if (r != 0) {
        ipc_channel_free(policy);
    }
    buf_free(&payload);
    return r;
}

/* What zombies have in common and mail servers have not: no name, or a name and HELO made of the address. */
static bool
is_suspicious(const struct session_facts *session)
{
    char address[NET_ADDR_TEXT_MAX], dashed[NET_ADDR_TEXT_MAX];

    if (session->name_state != CLIENT_NAME_OK) {
        return true;
    }
    net_addr_format(&session->client, address);
    for (size_t i = 0; i < sizeof(dashed); i++) {
        dashed[i] = address[i] == '.' || address[i] == ':' ? '-' : address[i];
        if (address[i] == '\0') {
            break;
        }
    }
    return strstr(session->name, dashed) != NULL || strstr(session->name, address) != NULL ||
           strchr(session->helo, '.') == NULL;
}

static bool
is_wanted(const struct restriction_facts *facts)
{
    const char *mode = config_str(facts->config, P_greylist);

    if (facts->trusted_client || facts->session->sasl_user[0] != '\0') {
        return false;
    }
    return strcmp(mode, "yes") == 0 || (strcmp(mode, "suspicious") == 0 && is_suspicious(facts->session));
}

int
restriction_greylist_ask(struct ipc_channel **policy, const struct wire_triplet *triplet,
                         struct wire_greylist_answer *answer_r)
{
    int r = ask_once(policy, triplet, answer_r);

    return r == 0 ? 0 : ask_once(policy, triplet, answer_r); /* the policy role was restarted */
}

/* True when the triplet must wait; seconds in *wait_r. */
static bool
must_wait(const struct restriction_facts *facts, int64_t *wait_r)
{
    struct wire_triplet triplet = {
        .client = facts->session->client, .sender = facts->sender, .recipient = facts->recipient};
    struct wire_greylist_answer answer = {0};
    int r = restriction_greylist_ask(facts->policy, &triplet, &answer);

    if (r != 0) {
        log_warning("smtpd", "greylist: the policy role cannot be asked (%s); passing", gw_strerror(r));
    }
    if (facts->evidence != NULL) {
        evidence_add(facts->evidence, EV_GREYLIST, facts->sender, facts->recipient,
                     bytes_str(r != 0        ? "cannot ask"
                               : answer.pass ? "pass"
                                             : "wait"),
                     (struct bytes){0}, answer.wait_s);
    }
    *wait_r = answer.wait_s;
    return r == 0 && !answer.pass;
}

enum restriction_step
restriction_greylist_word(struct restriction_run *run, const struct restriction_item *item)
{
    int64_t wait;

    (void)item;
    if (!run->facts->has_recipient || !run->facts->has_sender || run->facts->trusted_client ||
        !must_wait(run->facts, &wait)) {
        return STEP_DUNNO;
    }
    run->answer->greylisted = true;
    return restriction_defer_if_permit(run, SUBJECT_RECIPIENT, 450, "4.2.0", "Greylisted, try again later");
}

int
restriction_greylist(const struct restriction_facts *facts, struct restriction_answer *answer_r)
{
    struct restriction_run run = {
        .view = facts->config, .stage = STAGE_RECIPIENT, .facts = facts, .answer = answer_r};
    int64_t wait;

    restriction_answer_init(answer_r);
    answer_r->outcome = RESTRICTION_PERMIT;
    if (!is_wanted(facts) || !must_wait(facts, &wait)) {
        return 0;
    }
    answer_r->greylisted = true;
    (void)restriction_refuse(&run, SUBJECT_RECIPIENT, 450, "4.2.0", "Greylisted, try again later");
    return 0;
}
