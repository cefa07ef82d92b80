/*
 * clamav - ClamAV through libclamav, inside the process.
 *
 * Before: pipeline.c; below: clamav_engine.c, loaded once and shared by all workers through fork. "Clean" is
 * believed only as long as the canary in a zip is found: each thread looks for it before its first message,
 * every minute, and after every failure. Without it, "not scanned". Limits that were reached are told as such
 * (clamav_limit_action).
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "scanners/clamav_canary.h"
#include "scanners/clamav_engine.h"
#include "scanners/scanner.h"

enum { CANARY_EVERY_MS = 60000, CANARY_MAX = 4096, CANARY_ARENA = 65536 };

extern const struct scanner SCANNER_CLAMAV_ROW;

struct clamav_thread {
    int64_t canary_due_ms;
    bool trusted; /* the last canary was found */
    struct buf canary;
};

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    struct clamav_engine *engine = NULL;
    int r = clamav_engine_new(config, &engine, error_r);

    *shared_r = engine;
    return r;
}

static void
unload(void **shared)
{
    struct clamav_engine *engine = *shared;

    clamav_engine_free(&engine);
    *shared = NULL;
}

static bool
has_new_data(const struct config *config, void *shared)
{
    return clamav_engine_has_changed(config, shared);
}

/* Finds our own signature inside a deflated zip member: the proof that unpacking works right now. */
static bool
check_canary(const struct clamav_engine *engine, struct clamav_thread *thread, struct arena *arena)
{
    struct bytes found, why;
    bool before = thread->trusted;

    thread->canary_due_ms = clock_monotonic_ms() + CANARY_EVERY_MS;
    thread->trusted = clamav_engine_scan(engine, bytes_buf(&thread->canary), arena, &found, &why) == 0 &&
                      bytes_find(found, bytes_str(CLAMAV_CANARY_NAME)) >= 0;
    if (!thread->trusted) {
        thread->canary_due_ms = 0; /* look again with the next message */
        log_warning("scan", "clamav: the canary was not found%s%.*s; mail counts as not scanned",
                    why.n > 0 ? ": " : "", BYTES_FMT(why));
    } else if (!before) {
        log_info("scan", "clamav: the canary is found again");
    }
    return thread->trusted;
}

static int
start_thread(const struct config *config, void *shared, void **thread_r)
{
    struct clamav_thread *thread = calloc(1, sizeof(*thread));
    int r = GW_ERR_NOMEM;

    (void)config;
    (void)shared;
    *thread_r = NULL;
    if (thread == NULL) {
        return r;
    }
    buf_init(&thread->canary, CANARY_MAX);
    if ((r = clamav_canary_zip(&thread->canary)) != 0) {
        buf_free(&thread->canary);
        free(thread);
        return r;
    }
    thread->trusted = true; /* so that the first success is not news */
    *thread_r = thread;
    return 0;
}

static void
stop_thread(void **thread_p)
{
    struct clamav_thread *thread = *thread_p;

    buf_free(&thread->canary);
    free(thread);
    *thread_p = NULL;
}

static int
load_data(const struct config *config, void *shared, struct buf *error_r)
{
    struct arena *arena = arena_new(CANARY_ARENA);
    void *thread = NULL;
    int r = arena == NULL ? GW_ERR_NOMEM : clamav_engine_load(config, shared, error_r);

    if (r == 0 && (r = start_thread(config, shared, &thread)) == 0) {
        if (!check_canary(shared, thread, arena)) {
            (void)buf_append_str(error_r,
                                 "clamav: the canary in a zip was not found; is scan_temporary_directory "
                                 "writable and not full?");
            r = GW_ERR_CONFIG;
        }
        stop_thread(&thread);
    }
    arena_free(&arena);
    return r;
}

static int
start_worker(void *shared)
{
    return clamav_engine_use_temporary(shared);
}

/* "Heuristics.Limits.Exceeded.MaxFiles" is no virus: it says that not everything was looked at. */
static void
judge_limit(const struct scan_input *input, struct scan_result *result)
{
    const char *action = config_str(input->config, P_clamav_limit_action);

    result->detail = result->found;
    if (strcmp(action, "virus") == 0) {
        result->status = SCAN_FOUND;
        return;
    }
    result->found = (struct bytes){0};
    result->status = strcmp(action, "clean") == 0 ? SCAN_CLEAN : SCAN_TEMPFAIL;
}

static int
scan(void *shared, void *thread_state, const struct scan_input *input, struct scan_report *report)
{
    struct clamav_thread *thread = thread_state;
    struct scan_result *result = scan_report_add(report, SCANNER_CLAMAV);
    struct bytes why;

    if (result == NULL) {
        return GW_ERR_LIMIT;
    }
    if ((int64_t)input->content.n > config_int(input->config, P_scan_size_limit)) {
        result->status = SCAN_SKIPPED;
        result->detail = BYTES_LIT("larger than scan_size_limit");
        return 0;
    }
    if (clock_monotonic_ms() >= thread->canary_due_ms && !check_canary(shared, thread, input->arena)) {
        result->detail = BYTES_LIT("the canary was not found");
        return 0; /* "not scanned" stands */
    }
    int r = clamav_engine_scan(shared, input->content, input->arena, &result->found, &why);
    if (r != 0) {
        result->detail = why.n > 0 ? why : bytes_str(gw_strerror(r));
        thread->canary_due_ms = 0;
    } else if (result->found.n == 0) {
        result->status = SCAN_CLEAN;
    } else if (bytes_find(result->found, BYTES_LIT("Heuristics.Limits.Exceeded")) >= 0) {
        judge_limit(input, result);
    } else {
        result->status = SCAN_FOUND;
    }
    return 0;
}

const struct scanner SCANNER_CLAMAV_ROW = {
    .id = SCANNER_CLAMAV,
    .name = "clamav",
    .load = load,
    .unload = unload,
    .load_data = load_data,
    .has_new_data = has_new_data,
    .worker_start = start_worker,
    .thread_start = start_thread,
    .thread_stop = stop_thread,
    .scan = scan,
};
