/*
 * ctl_postconf_param - parameters and their values: main.cf as it is written, the names that have a meaning,
 * expansion, and what postconf prints of them.
 *
 * Before: ctl_postconf.c with the options, ctl_postconf_master.c with the rows whose services bring
 * parameters of their own; after: standard output.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config_mend.h"
#include "config/expand.h"
#include "config/main_cf.h"
#include "ctl/ctl_postconf_private.h"

enum { PATH_BYTES = 4096, INDEX_SLOTS = 16384, NAME_BYTES = 512, NEST_MAX = 100 };

/* What each transport has, and the default of it. */
static const struct {
    const char *suffix, *fallback;
} TRANSPORT[] = {
    {"_delivery_slot_cost", "$default_delivery_slot_cost"},
    {"_delivery_slot_discount", "$default_delivery_slot_discount"},
    {"_delivery_slot_loan", "$default_delivery_slot_loan"},
    {"_destination_concurrency_failed_cohort_limit", "$default_destination_concurrency_failed_cohort_limit"},
    {"_destination_concurrency_limit", "$default_destination_concurrency_limit"},
    {"_destination_concurrency_negative_feedback", "$default_destination_concurrency_negative_feedback"},
    {"_destination_concurrency_positive_feedback", "$default_destination_concurrency_positive_feedback"},
    {"_destination_rate_delay", "$default_destination_rate_delay"},
    {"_destination_recipient_limit", "$default_destination_recipient_limit"},
    {"_extra_recipient_limit", "$default_extra_recipient_limit"},
    {"_initial_destination_concurrency", "$initial_destination_concurrency"},
    {"_minimum_delivery_slots", "$default_minimum_delivery_slots"},
    {"_recipient_limit", "$default_recipient_limit"},
    {"_recipient_refill_delay", "$default_recipient_refill_delay"},
    {"_recipient_refill_limit", "$default_recipient_refill_limit"},
    {"_transport_rate_delay", "$default_transport_rate_delay"},
};

static int
take_setting(void *context, const struct config_setting *setting)
{
    struct postconf *pc = context;

    if (setting->bad != NULL && config_line_is_stray(setting->line)) {
        struct bytes line = bytes_sub(setting->line, 0, 30);

        postconf_warn("%s/main.cf: %s: \"%.*s%s\"", pc->directory, setting->bad, BYTES_FMT(line),
                      setting->line.n > line.n ? "..." : "");
        return 0;
    }
    if (setting->bad != NULL) {
        postconf_fatal("%s/main.cf, line %d: %s: \"%.*s\"", pc->directory, setting->number, setting->bad,
                       BYTES_FMT(setting->line));
    }
    const char *earlier = postconf_settings_find(&pc->main, setting->name);
    if (earlier != NULL && !bytes_equal(bytes_str(earlier), setting->value)) {
        postconf_warn("%s/main.cf, line %d: overriding earlier entry: %.*s=%s", pc->directory,
                      setting->number, BYTES_FMT(setting->name), earlier);
    }
    if (setting->written.n > 0) {
        postconf_warn("%s/main.cf, line %d: unused parameter: %.*s; taken as %.*s", pc->directory,
                      setting->number, BYTES_FMT(setting->written), BYTES_FMT(setting->name));
    }
    if (setting->comment_cut) {
        postconf_warn("%s/main.cf, line %d: #comment after other text is not allowed: %.*s", pc->directory,
                      setting->number, BYTES_FMT(setting->line));
    }
    if (setting->blank_cut) {
        postconf_warn("%s/main.cf, line %d: blank between $ and a name: %.*s", pc->directory, setting->number,
                      BYTES_FMT(setting->line));
    }
    postconf_settings_put(pc->arena, config_is_read_only(setting->name) ? &pc->read_only : &pc->main,
                          setting->name, setting->value);
    return 0;
}

void
postconf_read_main(struct postconf *pc)
{
    char path[PATH_BYTES];
    struct buf why;

    buf_init(&why, CONFIG_LINE_MAX);
    (void)snprintf(path, sizeof(path), "%s/main.cf", pc->directory);
    if (access(path, R_OK) != 0) {
        postconf_fatal("open %s: %m", path);
    }
    if (config_read_settings(path, take_setting, pc, &why) != 0) {
        postconf_fatal("%s", buf_str(&why));
    }
    postconf_settings_put(pc->arena, &pc->main, BYTES_LIT("config_directory"), bytes_str(pc->directory));
    buf_free(&why);
}

static uint32_t
hash_name(struct bytes name)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < name.n; i++) {
        hash = (hash ^ name.p[i]) * 16777619u;
    }
    return hash;
}

/* The slot of a name, or the free one where it belongs. */
static size_t
find_slot(const struct postconf *pc, struct bytes name)
{
    size_t slot = hash_name(name) % INDEX_SLOTS;

    while (pc->index[slot] != 0 && !bytes_equal(name, bytes_str(pc->params[pc->index[slot] - 1].name))) {
        slot = (slot + 1) % INDEX_SLOTS;
    }
    return slot;
}

struct postconf_param *
postconf_find_param(const struct postconf *pc, struct bytes name)
{
    size_t slot = find_slot(pc, name);

    return pc->index[slot] != 0 ? &pc->params[pc->index[slot] - 1] : NULL;
}

void
postconf_add_param(struct postconf *pc, const char *name, unsigned class, const char *fallback)
{
    size_t slot = find_slot(pc, bytes_str(name));

    if (pc->index[slot] != 0) {
        return;
    }
    if (pc->param_count + 1 >= INDEX_SLOTS / 2) {
        postconf_fatal("too many parameters");
    }
    pc->params = postconf_grow(pc->arena, pc->params, &pc->param_room, pc->param_count, sizeof(*pc->params));
    pc->params[pc->param_count] = (struct postconf_param){.name = name, .class = class, .fallback = fallback};
    pc->index[slot] = (uint32_t)++pc->param_count;
}

static void
add_service_param(struct postconf *pc, const char *service, const char *suffix, const char *fallback)
{
    char name[NAME_BYTES];
    int n = snprintf(name, sizeof(name), "%s%s", service, suffix);

    if (n < 0 || n >= NAME_BYTES) {
        return;
    }
    /* Some transports of every installation have a default of their own. */
    int index = param_by_name(name);
    postconf_add_param(pc, postconf_copy(pc->arena, bytes_str(name)), CLASS_SERVICE,
                       index >= 0 ? config_default(pc->defaults, (enum param)index) : fallback);
}

static bool
is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(word, *words) == 0) {
            return true;
        }
    }
    return false;
}

void
postconf_register(struct postconf *pc)
{
    static const char *const TRANSPORTS[] = {"error", "lmtp", "local", "pipe", "smtp", "virtual", NULL},
                             *const COMMANDS[] = {"pipe", "spawn", NULL};

    pc->index = arena_alloc(pc->arena, INDEX_SLOTS * sizeof(*pc->index));
    if (pc->index == NULL) {
        postconf_fatal("out of memory");
    }
    for (size_t i = 0; i < pc->rows.count; i++) {
        const struct postconf_row *row = &pc->rows.list[i];

        if (is_one_of(row->field[POSTCONF_COMMAND], COMMANDS)) {
            add_service_param(pc, row->field[0], "_time_limit", "$command_time_limit");
        }
        for (size_t k = 0; k < sizeof(TRANSPORT) / sizeof(TRANSPORT[0]) &&
                           is_one_of(row->field[POSTCONF_COMMAND], TRANSPORTS);
             k++) {
            add_service_param(pc, row->field[0], TRANSPORT[k].suffix, TRANSPORT[k].fallback);
        }
    }
    for (int i = 0; i < PARAM_COUNT; i++) {
        postconf_add_param(pc, PARAMS[i].name, CLASS_BUILTIN, config_default(pc->defaults, (enum param)i));
    }
}

struct expansion {
    struct postconf *pc;
    const struct postconf_settings *own;
    struct buf *why;
    bool set_only; /* defaults do not count */
    unsigned depth;
};

/* The text of a name before expansion; NULL: there is none. */
static const char *
find_source(const struct postconf *pc, struct bytes name, const struct postconf_settings *own, bool set_only)
{
    const char *source = own != NULL ? postconf_settings_find(own, name) : NULL;
    const char *right = config_right_name(name);

    if (right != NULL) {
        name = bytes_str(right);
    }
    if (source == NULL && (pc->show & SHOW_DEFAULTS) == 0) {
        source = postconf_settings_find(&pc->main, name);
    }
    if (source == NULL && !set_only) {
        const struct postconf_param *param = postconf_find_param(pc, name);
        source = param != NULL ? param->fallback : NULL;
    }
    return source;
}

static int
look_up(void *context, struct bytes name, struct buf *out)
{
    struct expansion *x = context;
    const char *source = find_source(x->pc, name, x->own, x->set_only);
    int r = GW_ERR_NOTFOUND;

    if (out == NULL) {
        return source != NULL && source[0] != '\0' ? 0 : GW_ERR_NOTFOUND;
    }
    if (source != NULL) {
        if (x->depth >= NEST_MAX) {
            (void)buf_printf(x->why, "unreasonable macro call nesting: \"%.*s\"", BYTES_FMT(name));
            return GW_ERR_LIMIT;
        }
        x->depth++;
        r = expand_value(bytes_str(source), look_up, x, out, x->why);
        x->depth--;
    }
    return r;
}

static void
expand_in(struct expansion *x, const char *value, struct buf *out)
{
    struct buf why;

    buf_init(&why, CONFIG_LINE_MAX);
    x->why = &why;
    if (expand_value(bytes_str(value), look_up, x, out, &why) != 0) {
        if (why.n > 0) {
            postconf_warn("%s", buf_str(&why));
        }
        postconf_fatal("macro processing error");
    }
    buf_free(&why);
}

void
postconf_expand(struct postconf *pc, const char *value, const struct postconf_settings *own, struct buf *out)
{
    struct expansion x = {.pc = pc, .own = own};

    expand_in(&x, value, out);
}

void
postconf_expand_set(struct postconf *pc, const char *value, const struct postconf_settings *own,
                    struct buf *out)
{
    struct expansion x = {.pc = pc, .own = own, .set_only = true};

    expand_in(&x, value, out);
}

static void
print_param(struct postconf *pc, const char *name, const char *source)
{
    struct buf expanded;
    int index = param_by_name(name);
    /* Of some the names mean something at run time only. */
    bool is_raw = index >= 0 && PARAMS[index].type == PARAM_RAW;

    buf_init(&expanded, CONFIG_LINE_MAX);
    if ((pc->show & SHOW_EXPANDED) != 0 && !is_raw) {
        postconf_expand(pc, source, NULL, &expanded);
        source = buf_str(&expanded);
    }
    if ((pc->show & HIDE_VALUES) != 0) {
        postconf_print(stdout, pc->show, "%s", name);
    } else if ((pc->show & HIDE_NAMES) != 0) {
        postconf_print(stdout, pc->show, "%s", source);
    } else {
        postconf_print(stdout, pc->show, "%s = %s", name, source);
    }
    buf_free(&expanded);
}

static void
show_param(struct postconf *pc, const struct postconf_param *param)
{
    const char *set =
        (pc->show & SHOW_DEFAULTS) != 0 ? NULL : postconf_settings_find(&pc->main, bytes_str(param->name));

    if (set == NULL && (pc->show & SHOW_SET) == 0) {
        set = param->fallback;
    }
    if (set != NULL) {
        print_param(pc, param->name, set);
    }
}

static int
compare_params(const void *a, const void *b)
{
    return strcmp(((const struct postconf_param *)a)->name, ((const struct postconf_param *)b)->name);
}

void
postconf_show_params(struct postconf *pc, char *const *names)
{
    if (*names == NULL) {
        struct postconf_param *sorted = calloc(pc->param_count, sizeof(*sorted));

        if (sorted == NULL) {
            postconf_fatal("out of memory");
        }
        memcpy(sorted, pc->params, pc->param_count * sizeof(*sorted));
        qsort(sorted, pc->param_count, sizeof(*sorted), compare_params);
        for (size_t i = 0; i < pc->param_count; i++) {
            if ((sorted[i].class & pc->classes) != 0) {
                show_param(pc, &sorted[i]);
            }
        }
        free(sorted);
    }
    for (; *names != NULL; names++) {
        const char *right = config_right_name(bytes_str(*names));
        const struct postconf_param *param =
            postconf_find_param(pc, bytes_str(right != NULL ? right : *names));

        if (param != NULL) {
            show_param(pc, param);
        } else {
            postconf_warn("%s: unknown parameter", *names);
        }
    }
}

static void
flag_read_only(const struct postconf *pc, const char *file, const struct postconf_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        postconf_warn("%s/%s: read-only parameter assignment: %s=%s", pc->directory, file,
                      settings->list[i].name, settings->list[i].value);
    }
}

void
postconf_flag_unused_main(const struct postconf *pc)
{
    flag_read_only(pc, "main.cf", &pc->read_only);
    for (size_t i = 0; i < pc->main.count; i++) {
        const struct postconf_setting *setting = &pc->main.list[i];

        if (postconf_find_param(pc, bytes_str(setting->name)) == NULL) {
            postconf_warn("%s/main.cf: unused parameter: %s=%s", pc->directory, setting->name,
                          setting->value);
        }
    }
}

void
postconf_flag_unused_master(const struct postconf *pc)
{
    for (size_t i = 0; i < pc->rows.count; i++) {
        const struct postconf_settings *own = &pc->rows.list[i].own;

        flag_read_only(pc, "master.cf", &pc->rows.list[i].read_only);
        for (size_t k = 0; k < own->count; k++) {
            if (!own->list[k].used && postconf_find_param(pc, bytes_str(own->list[k].name)) == NULL) {
                postconf_warn("%s/master.cf: unused parameter: %s=%s", pc->directory, own->list[k].name,
                              own->list[k].value);
            }
        }
    }
}
