/*
 * restriction - see the header: compiles the lists of a service and runs them.
 *
 * Before: receive_port.c compiles, receive_rcpt.c and its sisters run. After: the words (restriction_words.c
 * and the files it names). A list that is not understood refuses the service; a set without any word that
 * stops relaying is refused too. A run starts as 451 and only an explicit outcome changes it.
 */
#include "policy/restriction_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

enum { EFFECTS_MAX = 65536 };

static const struct {
    enum restriction_stage stage;
    enum param param;
} STAGES[] = {
    {STAGE_CLIENT, P_smtpd_client_restrictions},           {STAGE_HELO, P_smtpd_helo_restrictions},
    {STAGE_SENDER, P_smtpd_sender_restrictions},           {STAGE_RELAY, P_smtpd_relay_restrictions},
    {STAGE_RECIPIENT, P_smtpd_recipient_restrictions},     {STAGE_DATA, P_smtpd_data_restrictions},
    {STAGE_END_OF_DATA, P_smtpd_end_of_data_restrictions}, {STAGE_ETRN, P_smtpd_etrn_restrictions},
};

/* What recipients were judged by before there were relay restrictions, for a main.cf of that time (level 0)
 * that names neither list. Postfix 3 does not serve with such a file; the guides print it. */
static const char HISTORICAL_RELAY_LIST[] = "permit_mynetworks, reject_unauth_destination";

static const enum restriction_subject STAGE_SUBJECTS[STAGE_COUNT] = {
    [STAGE_CLIENT] = SUBJECT_CLIENT,           [STAGE_HELO] = SUBJECT_HELO,
    [STAGE_SENDER] = SUBJECT_SENDER,           [STAGE_RELAY] = SUBJECT_RECIPIENT,
    [STAGE_RECIPIENT] = SUBJECT_RECIPIENT,     [STAGE_DATA] = SUBJECT_DATA,
    [STAGE_END_OF_DATA] = SUBJECT_END_OF_DATA, [STAGE_ETRN] = SUBJECT_ETRN,
    [STAGE_VRFY] = SUBJECT_RECIPIENT,
};

/* Words of a list are separated by blanks and commas; a group in braces is one word, without the braces. */
static bool
next_word(struct bytes *rest, struct bytes *word_r)
{
    static const char SEPARATORS[] = ", \t\r\n";
    size_t i = 0, depth = 0;

    while (i < rest->n && memchr(SEPARATORS, rest->p[i], sizeof(SEPARATORS) - 1) != NULL) {
        i++;
    }
    *rest = bytes_sub(*rest, i, rest->n);
    if (rest->n == 0) {
        return false;
    }
    for (i = 0; i < rest->n; i++) {
        uint8_t c = rest->p[i];

        depth += c == '{';
        depth -= c == '}' && depth > 0;
        if (depth == 0 && memchr(SEPARATORS, c, sizeof(SEPARATORS) - 1) != NULL) {
            break;
        }
    }
    *word_r = bytes_sub(*rest, 0, i);
    *rest = bytes_sub(*rest, i, rest->n);
    if (word_r->n >= 2 && word_r->p[0] == '{' && word_r->p[word_r->n - 1] == '}') {
        *word_r = bytes_trim(bytes_sub(*word_r, 1, word_r->n - 2));
    }
    return true;
}

static const struct restriction_word *
find_word(struct bytes name)
{
    for (const struct restriction_word *word = RESTRICTION_WORDS; word->name != NULL; word++) {
        if (bytes_equal_nocase(name, bytes_str(word->name))) {
            return word;
        }
    }
    return NULL;
}

static const struct restriction_list *
find_class(const struct restriction_set *set, struct bytes name)
{
    for (size_t i = 0; i < set->class_count; i++) {
        if (bytes_equal(name, bytes_str(set->classes[i].name))) {
            return &set->classes[i].list;
        }
    }
    return NULL;
}

static int
open_argument(struct restriction_set *set, const char *where, struct restriction_item *item, bool tables,
              struct buf *error_r)
{
    size_t before;
    int r = 0;

    switch (item->word->argument) {
    case ARGUMENT_TABLE:
        if (!tables) {
            (void)buf_printf(error_r, "%s: %s %s: a table must be named in main.cf, not in a table", where,
                             item->word->name, item->argument);
            return GW_ERR_CONFIG;
        }
        before = error_r->n;
        (void)buf_printf(error_r, "%s: %s: ", where, item->word->name);
        r = table_open(set->view, bytes_str(item->argument), TABLE_FOLD, &item->table, error_r);
        if (r == 0) {
            buf_truncate(error_r, before);
        }
        break;
    case ARGUMENT_ZONE:
        item->site = calloc(1, sizeof(*item->site));
        if (item->site == NULL) {
            return GW_ERR_NOMEM;
        }
        if ((r = dnsbl_site_parse(bytes_str(item->argument), item->site)) != 0) {
            (void)buf_printf(error_r, "%s: %s %s: not a zone or zone=d.d.d.d", where, item->word->name,
                             item->argument);
            r = GW_ERR_CONFIG;
        }
        break;
    default:
        break;
    }
    return r;
}

/* One word and its argument, taken off *rest. */
static int
compile_item(struct restriction_set *set, const char *where, struct bytes name, struct bytes *rest,
             bool tables, struct restriction_item *item, struct buf *error_r)
{
    struct bytes argument = {0};

    item->nested = find_class(set, name);
    if (item->nested != NULL) {
        return 0;
    }
    item->word = find_word(name);
    if (item->word == NULL && bytes_index(name, ':') > 0) {
        /* "hash:/etc/postfix/access" alone is check_<subject of the list>_access. */
        item->word = find_word(BYTES_LIT("check_table_access"));
        argument = name;
    } else if (item->word == NULL) {
        (void)buf_printf(error_r, "%s: unknown restriction \"%.*s\"; correct the word or remove it", where,
                         BYTES_FMT(name));
        return GW_ERR_CONFIG;
    } else if (item->word->argument != ARGUMENT_NONE && !next_word(rest, &argument)) {
        (void)buf_printf(error_r, "%s: %s must be followed by its argument", where, item->word->name);
        return GW_ERR_CONFIG;
    }
    if (item->word->advice != NULL && tables) {
        log_warning_once("smtpd", "%s: restriction %s is historical; %s", where, item->word->name,
                         item->word->advice);
    }
    if (argument.n == 0) {
        return 0;
    }
    item->argument = bytes_dup_str(argument);
    return item->argument == NULL ? GW_ERR_NOMEM : open_argument(set, where, item, tables, error_r);
}

int
restriction_compile(struct restriction_set *set, const char *where, struct bytes text, bool tables,
                    struct restriction_list *list_r, struct buf *error_r)
{
    struct bytes rest = text, name;
    int r = 0;
    bool ended = false;

    *list_r = (struct restriction_list){0};
    while (r == 0 && next_word(&rest, &name)) {
        if (list_r->count >= RESTRICTION_ITEMS_MAX) {
            (void)buf_printf(error_r, "%s: more than %d restrictions", where, RESTRICTION_ITEMS_MAX);
            r = GW_ERR_CONFIG;
            break;
        }
        struct restriction_item *items = realloc(list_r->items, (list_r->count + 1) * sizeof(*items));
        if (items == NULL) {
            r = GW_ERR_NOMEM;
            break;
        }
        list_r->items = items;
        struct restriction_item *item = &items[list_r->count++];
        *item = (struct restriction_item){0};
        if (ended && tables) {
            log_warning_once("smtpd", "%s: restriction \"%.*s\" after \"permit\" or \"reject\" is ignored",
                             where, BYTES_FMT(name));
            ended = false; /* once per list */
        }
        r = compile_item(set, where, name, &rest, tables, item, error_r);
        ended = ended || (item->word != NULL && (item->word->kind & WORD_TERMINAL) != 0);
    }
    if (r != 0) {
        restriction_list_clear(list_r);
    }
    return r;
}

void
restriction_list_clear(struct restriction_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].argument);
        free(list->items[i].site);
        table_free(&list->items[i].table);
    }
    free(list->items);
    *list = (struct restriction_list){0};
}

static bool
stops_relay(const struct restriction_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct restriction_item *item = &list->items[i];

        if ((item->word != NULL && (item->word->kind & WORD_STOPS_RELAY) != 0) ||
            (item->nested != NULL && stops_relay(item->nested))) {
            return true;
        }
    }
    return false;
}

/* smtpd_restriction_classes: each is compiled before the lists, in order, so that later ones may name earlier
 * ones. */
static int
compile_classes(struct restriction_set *set, struct buf *error_r)
{
    struct bytes rest = bytes_str(config_str(set->view, P_smtpd_restriction_classes)), name;
    int r = 0;

    while (r == 0 && next_word(&rest, &name)) {
        if (set->class_count >= RESTRICTION_CLASSES_MAX) {
            (void)buf_printf(error_r, "smtpd_restriction_classes: more than %d classes",
                             RESTRICTION_CLASSES_MAX);
            return GW_ERR_CONFIG;
        }
        struct restriction_class *class = &set->classes[set->class_count];
        class->name = bytes_dup_str(name);
        if (class->name == NULL) {
            return GW_ERR_NOMEM;
        }
        const char *words = config_user(set->view, class->name);
        r = restriction_compile(set, class->name, bytes_str(words != NULL ? words : ""), true, &class->list,
                                error_r);
        set->class_count++;
    }
    return r;
}

static const char *
stage_words(const struct config *view, size_t i)
{
    const char *words = config_str(view, STAGES[i].param);

    return STAGES[i].stage == STAGE_RELAY && words[0] == '\0' &&
                   !config_is_set(view, P_smtpd_relay_restrictions) &&
                   !config_is_set(view, P_smtpd_recipient_restrictions)
               ? HISTORICAL_RELAY_LIST
               : words;
}

int
restriction_set_new(const struct config *view, struct router *router, struct restriction_set **set_r,
                    struct buf *error_r)
{
    struct restriction_set *set = calloc(1, sizeof(*set));
    int r = GW_ERR_NOMEM;

    *set_r = NULL;
    if (set == NULL) {
        return r;
    }
    set->view = view;
    set->router = router;
    if (config_str(view, P_permit_mx_backup_networks)[0] != '\0' &&
        (r = match_list_open(view, config_str(view, P_permit_mx_backup_networks), MATCH_ADDRESSES,
                             &set->backup_networks, error_r)) != 0) {
        goto out;
    }
    if ((r = compile_classes(set, error_r)) != 0) {
        goto out;
    }
    for (size_t i = 0; i < sizeof(STAGES) / sizeof(STAGES[0]); i++) {
        r = restriction_compile(set, PARAMS[STAGES[i].param].name, bytes_str(stage_words(view, i)), true,
                                &set->lists[STAGES[i].stage], error_r);
        if (r != 0) {
            goto out;
        }
    }
    if (!stops_relay(&set->lists[STAGE_RELAY]) && !stops_relay(&set->lists[STAGE_RECIPIENT])) {
        (void)buf_printf(
            error_r,
            "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one "
            "working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, "
            "defer_if_permit or check_relay_domains");
        r = GW_ERR_CONFIG;
        goto out;
    }
    *set_r = set;
    set = NULL; /* transferred */
out:
    restriction_set_free(&set);
    return r;
}

void
restriction_set_free(struct restriction_set **set)
{
    struct restriction_set *s = *set;

    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        restriction_list_clear(&s->lists[i]);
    }
    for (size_t i = 0; i < s->class_count; i++) {
        free(s->classes[i].name);
        restriction_list_clear(&s->classes[i].list);
    }
    match_list_free(&s->backup_networks);
    free(s);
    *set = NULL;
}

enum restriction_subject
restriction_subject_of(const struct restriction_run *run, const struct restriction_item *item)
{
    return item->word->subject == SUBJECT_LIST ? STAGE_SUBJECTS[run->stage] : item->word->subject;
}

static void
note(struct restriction_run *run, const struct restriction_item *item, enum restriction_step step)
{
    static const char *const STEPS[] = {"dunno", "permit", "reject"};

    if (step != STEP_DUNNO && run->facts->evidence != NULL) {
        evidence_add(run->facts->evidence, EV_RESTRICTION, bytes_str(item->word->name),
                     bytes_str(item->argument), bytes_str(STEPS[step]),
                     step == STEP_REFUSE ? bytes_buf(&run->answer->text) : (struct bytes){0},
                     step == STEP_REFUSE ? run->answer->code : 0);
    }
}

enum restriction_step
restriction_run_list(struct restriction_run *run, const struct restriction_list *list)
{
    enum restriction_step step = STEP_DUNNO;
    bool inherited = run->warn_only; /* warn_if_reject before a class holds for all of it */

    if (run->depth >= RESTRICTION_DEPTH_MAX) {
        return restriction_refuse(run, STAGE_SUBJECTS[run->stage], 451, "4.3.5",
                                  "Server configuration error");
    }
    run->depth++;
    for (size_t i = 0; i < list->count && step == STEP_DUNNO; i++) {
        const struct restriction_item *item = &list->items[i];
        bool warn_before = run->warn_only;

        if (item->nested != NULL) {
            step = restriction_run_list(run, item->nested);
        } else {
            step = item->word->check(run, item);
            note(run, item, step);
        }
        if (warn_before && !inherited) {
            run->warn_only = false; /* warn_if_reject holds for one word */
        }
    }
    run->depth--;
    return step;
}

static void
apply_pending(struct restriction_answer *answer, const struct restriction_pending *pending)
{
    answer->outcome = RESTRICTION_DEFER;
    answer->code = pending->code;
    (void)snprintf(answer->dsn, sizeof(answer->dsn), "%s", pending->dsn);
    buf_clear(&answer->text);
    (void)buf_append_str(&answer->text, pending->text);
}

void
restriction_answer_init(struct restriction_answer *answer)
{
    *answer = (struct restriction_answer){.outcome = RESTRICTION_DEFER, .code = 451, .dsn = "4.3.0"};
    buf_init(&answer->text, RESTRICTION_TEXT_MAX);
}

int
restriction_run(struct restriction_set *set, enum restriction_stage stage, bool last,
                const struct restriction_facts *facts, struct restriction_effects *effects,
                struct restriction_answer *answer_r)
{
    struct restriction_run run = {.set = set,
                                  .view = set->view,
                                  .stage = stage,
                                  .facts = facts,
                                  .effects = effects,
                                  .answer = answer_r};

    restriction_answer_init(answer_r);
    switch (restriction_run_list(&run, &set->lists[stage])) {
    case STEP_REFUSE:
        if (facts->pending != NULL && facts->pending->if_reject && answer_r->code / 100 == 5) {
            apply_pending(answer_r, facts->pending);
        }
        if (answer_r->code / 100 == 5 && config_bool(set->view, P_soft_bounce)) {
            answer_r->code -= 100;
            answer_r->dsn[0] = '4';
        }
        break;
    case STEP_PERMIT:
    case STEP_DUNNO:
        answer_r->outcome = RESTRICTION_PERMIT;
        if (last && facts->pending != NULL && facts->pending->if_permit) {
            apply_pending(answer_r, facts->pending);
        }
        break;
    }
    return 0;
}

void
restriction_answer_free(struct restriction_answer *answer)
{
    buf_free(&answer->text);
}

void
restriction_effects_init(struct restriction_effects *effects)
{
    *effects = (struct restriction_effects){0};
    buf_init(&effects->filter, EFFECTS_MAX);
    buf_init(&effects->redirect, EFFECTS_MAX);
    buf_init(&effects->prepend, EFFECTS_MAX);
    buf_init(&effects->bcc, EFFECTS_MAX);
}

void
restriction_effects_free(struct restriction_effects *effects)
{
    buf_free(&effects->filter);
    buf_free(&effects->redirect);
    buf_free(&effects->prepend);
    buf_free(&effects->bcc);
    effects->hold = effects->discard = false;
}
