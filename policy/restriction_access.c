/*
 * restriction_access - check_*_access: the subject is looked up in a table, the answer acts (access(5)).
 *
 * Before: restriction.c; after: the effects (HOLD, FILTER, PREPEND ...) that receive applies to the message,
 * or a refusal. A table that cannot answer refuses with 451 4.3.5, as Postfix does; it never counts as "not
 * found". A right-hand side that is no action is a list of restrictions, compiled on the spot without tables.
 */
#include "policy/restriction_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

static void
log_effect(const struct restriction_run *run, enum restriction_subject subject, const char *action,
           const char *what, struct bytes text)
{
    struct buf line;

    buf_init(&line, 2 * RESTRICTION_TEXT_MAX);
    restriction_append_subject(run, subject, &line);
    (void)buf_printf(&line, ": %s ", restriction_subject_class(subject));
    if (text.n > 0) {
        (void)buf_append_printable(&line, text, RESTRICTION_TEXT_MAX / 2, true);
    } else {
        (void)buf_printf(&line, "triggers %s action", what);
    }
    if (run->facts->log != NULL) {
        run->facts->log(run->facts->log_context, action, bytes_buf(&line));
    }
    buf_free(&line);
}

/* "5.7.1 text" in front of a text replaces the default status. */
static struct bytes
take_status(struct bytes text, char dsn[12])
{
    size_t i = 0, dots = 0;

    while (i < text.n && (text.p[i] == '.' || (text.p[i] >= '0' && text.p[i] <= '9')) && i < 11) {
        dots += text.p[i++] == '.';
    }
    if (dots != 2 || i < 5 || text.p[1] != '.' || (i < text.n && text.p[i] != ' ') ||
        memchr("245", text.p[0], 3) == NULL) {
        return text;
    }
    memcpy(dsn, text.p, i);
    dsn[i] = '\0';
    return bytes_trim(bytes_sub(text, i, text.n));
}

static enum restriction_step
refuse_with(struct restriction_run *run, enum restriction_subject subject, int code, const char *status,
            const char *fallback, struct bytes text, bool pend)
{
    char dsn[12], reason[RESTRICTION_TEXT_MAX];

    (void)snprintf(dsn, sizeof(dsn), "%s", status);
    text = take_status(text, dsn);
    (void)snprintf(reason, sizeof(reason), "%.*s", BYTES_FMT(text.n > 0 ? text : bytes_str(fallback)));
    return pend ? restriction_defer_if_permit(run, subject, code, dsn, reason)
                : restriction_refuse(run, subject, code, dsn, reason);
}

static enum restriction_step
add_prepend(struct restriction_run *run, struct bytes text)
{
    struct buf *out = &run->effects->prepend;

    if (text.n > 0 && (buf_append_bytes(out, text) != 0 || buf_append_str(out, "\r\n") != 0)) {
        return restriction_refuse(run, SUBJECT_CLIENT, 451, "4.3.5", "Server configuration error");
    }
    return STEP_DUNNO;
}

static enum restriction_step
set_target(struct buf *out, struct bytes text)
{
    buf_clear(out);
    (void)buf_append_bytes(out, text);
    return STEP_DUNNO;
}

enum effect {
    EFFECT_OK,
    EFFECT_DUNNO,
    EFFECT_REJECT,
    EFFECT_DEFER,
    EFFECT_DEFER_IF_PERMIT,
    EFFECT_DEFER_IF_REJECT,
    EFFECT_WARN,
    EFFECT_INFO,
    EFFECT_HOLD,
    EFFECT_DISCARD,
    EFFECT_FILTER,
    EFFECT_REDIRECT,
    EFFECT_PREPEND,
    EFFECT_BCC
};

static const struct {
    const char *word;
    enum effect effect;
} EFFECTS[] = {
    {"OK", EFFECT_OK},
    {"RELAY", EFFECT_OK},
    {"DUNNO", EFFECT_DUNNO},
    {"REJECT", EFFECT_REJECT},
    {"DEFER", EFFECT_DEFER},
    {"DEFER_IF_PERMIT", EFFECT_DEFER_IF_PERMIT},
    {"WARN", EFFECT_WARN},
    {"INFO", EFFECT_INFO},
    {"DEFER_IF_REJECT", EFFECT_DEFER_IF_REJECT},
    {"HOLD", EFFECT_HOLD},
    {"DISCARD", EFFECT_DISCARD},
    {"FILTER", EFFECT_FILTER},
    {"REDIRECT", EFFECT_REDIRECT},
    {"PREPEND", EFFECT_PREPEND},
    {"BCC", EFFECT_BCC},
};

static enum restriction_step
apply_effect(struct restriction_run *run, enum restriction_subject subject, enum effect effect,
             struct bytes text)
{
    struct restriction_effects *effects = run->effects;
    char pended[RESTRICTION_TEXT_MAX];

    switch (effect) {
    case EFFECT_OK:
        return STEP_PERMIT;
    case EFFECT_DUNNO:
        return STEP_DUNNO;
    case EFFECT_REJECT:
        return refuse_with(run, subject, (int)config_int(run->view, P_access_map_reject_code), "5.7.1",
                           "Access denied", text, false);
    case EFFECT_DEFER:
        return refuse_with(run, subject, (int)config_int(run->view, P_access_map_defer_code), "4.7.1",
                           "Access denied", text, false);
    case EFFECT_DEFER_IF_PERMIT:
        return refuse_with(run, subject, 450, "4.7.1", "Service unavailable", text, true);
    case EFFECT_DEFER_IF_REJECT:
        (void)snprintf(pended, sizeof(pended), "<%.*s>: %s rejected: %.*s",
                       BYTES_FMT(restriction_subject_value(run, subject)), restriction_subject_class(subject),
                       BYTES_FMT(text.n > 0 ? text : BYTES_LIT("Service unavailable")));
        restriction_pend(run, false, 450, "4.7.1", pended);
        return STEP_DUNNO;
    case EFFECT_WARN:
        log_effect(run, subject, "warn", "WARN", text);
        return STEP_DUNNO;
    case EFFECT_INFO:
        log_effect(run, subject, "info", "INFO", text);
        return STEP_DUNNO;
    case EFFECT_HOLD:
        log_effect(run, subject, "hold", "HOLD", text);
        effects->hold = effects->hold || !run->warn_only;
        return STEP_DUNNO;
    case EFFECT_DISCARD:
        log_effect(run, subject, "discard", "DISCARD", text);
        effects->discard = effects->discard || !run->warn_only;
        return STEP_DUNNO;
    case EFFECT_FILTER:
        log_effect(run, subject, "filter", "FILTER", text);
        return run->warn_only ? STEP_DUNNO : set_target(&effects->filter, text);
    case EFFECT_REDIRECT:
        log_effect(run, subject, "redirect", "REDIRECT", text);
        return run->warn_only ? STEP_DUNNO : set_target(&effects->redirect, text);
    case EFFECT_PREPEND:
        log_effect(run, subject, "prepend", "PREPEND", text);
        return run->warn_only ? STEP_DUNNO : add_prepend(run, text);
    case EFFECT_BCC:
        log_effect(run, subject, "bcc", "BCC", text);
        if (!run->warn_only && text.n > 0 && buf_append_bytes(&effects->bcc, text) == 0) {
            (void)buf_append_byte(&effects->bcc, '\0');
        }
        return STEP_DUNNO;
    }
    return restriction_refuse(run, subject, 451, "4.3.5", "Server configuration error");
}

/* "reject_unauth_destination, permit", or the name of a restriction class, on the right-hand side. */
static enum restriction_step
run_words(struct restriction_run *run, enum restriction_subject subject, const char *table,
          struct bytes words)
{
    struct restriction_list list;
    struct buf why;
    enum restriction_step step;

    buf_init(&why, RESTRICTION_TEXT_MAX);
    if (restriction_compile(run->set, table, words, false, &list, &why) != 0) {
        log_warning("smtpd", "%s", buf_str(&why));
        step = restriction_refuse(run, subject, 451, "4.3.5", "Server configuration error");
    } else {
        step = restriction_run_list(run, &list);
        restriction_list_clear(&list);
    }
    buf_free(&why);
    return step;
}

enum restriction_step
restriction_act(struct restriction_run *run, enum restriction_subject subject, const char *table,
                struct bytes action)
{
    struct bytes rest = bytes_trim(action), word;
    uint64_t code;

    if (!bytes_next_token(&rest, " \t", &word)) {
        return STEP_PERMIT; /* Postfix: an empty right-hand side in a table of addresses is "OK" */
    }
    struct bytes text = bytes_trim(rest);
    if (bytes_to_u64(word, &code) == 0) {
        if (word.n != 3 || (word.p[0] != '4' && word.p[0] != '5')) {
            return STEP_PERMIT; /* all-numeric: as OK, for address-based relay authorisation schemes */
        }
        return refuse_with(run, subject, (int)code, word.p[0] == '4' ? "4.7.1" : "5.7.1", "Access denied",
                           text, false);
    }
    for (size_t i = 0; i < sizeof(EFFECTS) / sizeof(EFFECTS[0]); i++) {
        if (bytes_equal_nocase(word, bytes_str(EFFECTS[i].word))) {
            return apply_effect(run, subject, EFFECTS[i].effect, text);
        }
    }
    return run_words(run, subject, table, bytes_trim(action));
}

/* The keys of the subject in Postfix's order: access(5). */
static int
find_subject(struct restriction_run *run, enum restriction_subject subject, struct table *table,
             struct table_hit *hit)
{
    const struct restriction_facts *facts = run->facts;
    const char *delimiter = config_str(run->view, P_recipient_delimiter);
    bool parents =
        strstr(config_str(run->view, P_parent_domain_matches_subdomains), "smtpd_access_maps") != NULL;
    int r = GW_ERR_NOTFOUND;

    switch (subject) {
    case SUBJECT_CLIENT:
    case SUBJECT_REVERSE_CLIENT: {
        const char *name = subject == SUBJECT_CLIENT ? facts->session->name : facts->session->reverse_name;

        r = table_find_domain(table, bytes_str(name), parents, hit);
        if (r == GW_ERR_NOTFOUND && subject == SUBJECT_CLIENT) {
            r = table_find_client_address(table, &facts->session->client, hit);
        }
        return r;
    }
    case SUBJECT_HELO:
        return table_find_domain(table, bytes_str(facts->session->helo), parents, hit);
    case SUBJECT_SENDER:
        if (facts->sender.n == 0) {
            return table_find(table, bytes_str(config_str(run->view, P_smtpd_null_access_lookup_key)), hit);
        }
        return table_find_mail(table, facts->sender, delimiter, parents, hit);
    case SUBJECT_RECIPIENT:
        return table_find_mail(table, facts->recipient, delimiter, parents, hit);
    case SUBJECT_ETRN:
        return table_find_domain(table, facts->recipient, parents, hit);
    default:
        return r;
    }
}

enum restriction_step
restriction_access(struct restriction_run *run, const struct restriction_item *item)
{
    enum restriction_subject subject = restriction_subject_of(run, item);
    struct table_hit hit = {0};
    enum restriction_step step = STEP_DUNNO;

    if (!restriction_subject_known(run, subject)) {
        return STEP_DUNNO;
    }
    buf_init(&hit.value, TABLE_VALUE_MAX);
    int r = find_subject(run, subject, item->table, &hit);
    if (run->facts->evidence != NULL) {
        evidence_add(run->facts->evidence, EV_LOOKUP, bytes_str(table_spec(item->table)),
                     restriction_subject_value(run, subject),
                     r == 0 ? bytes_buf(&hit.value)
                            : bytes_str(r == GW_ERR_NOTFOUND ? "not found" : "cannot tell"),
                     (struct bytes){0}, hit.line);
    }
    if (r == 0) {
        step = restriction_act(run, subject, item->argument, bytes_buf(&hit.value));
    } else if (r != GW_ERR_NOTFOUND) {
        log_warning("smtpd", "%s: table lookup problem", item->argument);
        step = restriction_refuse(run, subject, 451, "4.3.5", "Server configuration error");
    }
    buf_free(&hit.value);
    return step;
}
