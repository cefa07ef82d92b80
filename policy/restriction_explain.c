/*
 * restriction_explain - see the header. Before: ctl_doctor; after: the table of restriction_words.c.
 *
 * Words that ask the world are those with a zone or a server as argument, and those of restriction_dns.c.
 * They can only refuse what the rest permits, but for permit_dnswl_client, permit_mx_backup and a policy
 * service's OK, which are left out too: a proof must not hang on them.
 */
#include "policy/restriction_explain.h"

#include <string.h>

#include "policy/restriction_internal.h"

static enum restriction_step
say_nothing(struct restriction_run *run, const struct restriction_item *item)
{
    (void)run;
    (void)item;
    return STEP_DUNNO;
}

static const struct restriction_word SILENT = {"silent",     say_nothing, ARGUMENT_NONE,
                                               SUBJECT_LIST, WORD_PLAIN,  NULL};

/* As restriction.c takes words: separated by blanks and commas, a group in braces is one. */
static bool
next_word(struct bytes *rest, struct bytes *word_r)
{
    static const char SEPARATORS[] = ", \t\r\n";
    size_t i = 0, depth = 0;

    while (rest->n > 0 && memchr(SEPARATORS, rest->p[0], sizeof(SEPARATORS) - 1) != NULL) {
        *rest = bytes_sub(*rest, 1, rest->n);
    }
    for (; i < rest->n; i++) {
        depth += rest->p[i] == '{';
        depth -= rest->p[i] == '}' && depth > 0;
        if (depth == 0 && memchr(SEPARATORS, rest->p[i], sizeof(SEPARATORS) - 1) != NULL) {
            break;
        }
    }
    *word_r = bytes_sub(*rest, 0, i);
    *rest = bytes_sub(*rest, i, rest->n);
    if (word_r->n >= 2 && word_r->p[0] == '{' && word_r->p[word_r->n - 1] == '}') {
        *word_r = bytes_trim(bytes_sub(*word_r, 1, word_r->n - 2));
    }
    return word_r->n > 0;
}

static bool
is_class(const struct config *view, struct bytes name)
{
    struct bytes rest = bytes_str(config_str(view, P_smtpd_restriction_classes)), word;

    while (next_word(&rest, &word)) {
        if (bytes_equal(word, name)) {
            return true;
        }
    }
    return false;
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

static void
explain(const struct restriction_word *word, struct restriction_explained *explained)
{
    explained->word = word->name;
    explained->advice = word->advice;
    explained->is_table = word->argument == ARGUMENT_TABLE;
    explained->is_zone = word->argument == ARGUMENT_ZONE;
    explained->ends_list =
        (word->kind & WORD_TERMINAL) != 0 || word->check == restriction_check_relay_domains;
    explained->stops_relay = (word->kind & WORD_STOPS_RELAY) != 0;
}

void
restriction_explain(const struct config *view, const char *list, restriction_explain_visitor *visit,
                    void *context)
{
    struct bytes rest = bytes_str(list), name;

    while (next_word(&rest, &name)) {
        struct restriction_explained explained = {.name = name, .is_class = is_class(view, name)};
        const struct restriction_word *word = explained.is_class ? NULL : find_word(name);

        if (word != NULL) {
            explain(word, &explained);
            if (word->argument != ARGUMENT_NONE) {
                (void)next_word(&rest, &explained.argument);
            }
        } else if (!explained.is_class && bytes_index(name, ':') > 0) {
            explain(find_word(BYTES_LIT("check_table_access")), &explained);
            explained.argument = name;
        }
        if (!visit(context, &explained)) {
            return;
        }
    }
}

static bool
asks_the_world(const struct restriction_word *word)
{
    static restriction_check *const ASKING[] = {
        restriction_unknown_client, restriction_unknown_reverse_client, restriction_unknown_forward_client,
        restriction_unknown_helo,   restriction_unknown_domain,         restriction_maps_rbl,
        restriction_mx_backup,      restriction_greylist_word,          restriction_sleep,
    };

    for (size_t i = 0; i < sizeof(ASKING) / sizeof(ASKING[0]); i++) {
        if (word->check == ASKING[i]) {
            return true;
        }
    }
    /* reject_unverified_* and check_*_{a,mx,ns}_access, by whatever function */
    return word->argument == ARGUMENT_ZONE || word->argument == ARGUMENT_SERVICE ||
           strstr(word->name, "_unverified_") != NULL || strstr(word->name, "_mx_access") != NULL ||
           strstr(word->name, "_ns_access") != NULL || strstr(word->name, "_a_access") != NULL;
}

static void
blind(struct restriction_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].word != NULL && asks_the_world(list->items[i].word)) {
            list->items[i].word = &SILENT;
        }
    }
}

void
restriction_set_blind(struct restriction_set *set)
{
    for (size_t i = 0; i < STAGE_COUNT; i++) {
        blind(&set->lists[i]);
    }
    for (size_t i = 0; i < set->class_count; i++) {
        blind(&set->classes[i].list);
    }
}
