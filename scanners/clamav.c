/*
 * clamav - ClamAV through libclamav, inside the process.
 *
 * Before: pipeline.c; the engine is loaded once in the loader and shared by its workers through fork. libclamav answers
 * "clean" when it could not unpack (no temporary directory, no memory), so its error messages are watched during every
 * scan, and each thread scans a canary inside a zip at its start and every minute: without it, "not scanned". Limits
 * that were reached are reported as such (clamav_limit_action).
 */
#include <clamav.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "scanners/clamav_canary.h"
#include "scanners/scanner.h"

enum { CANARY_EVERY_MS = 60000 };

extern const struct scanner SCANNER_CLAMAV_ROW;

struct clamav {
    struct cl_engine *engine;
    unsigned signatures;
};

struct clamav_thread {
    int64_t canary_due_ms;
    bool trusted; /* the last canary was found */
    struct bytes canary;
};

/* What libclamav complained about during one scan. */
struct trouble {
    bool serious;
    char text[256];
};

static void
note_message(enum cl_msg severity, const char *full, const char *text, void *context)
{
    static const char *const SERIOUS[] = {"emporary", "llocate", "emory", "o space", "ermission"};
    struct trouble *trouble = context;

    (void)full;
    if (trouble == NULL || severity == CL_MSG_INFO_VERBOSE) {
        return;
    }
    for (size_t i = 0; i < sizeof(SERIOUS) / sizeof(SERIOUS[0]); i++) {
        if (strstr(text, SERIOUS[i]) != NULL && !trouble->serious) {
            trouble->serious = true;
            (void)snprintf(trouble->text, sizeof(trouble->text), "%s", text);
            trouble->text[strcspn(trouble->text, "\r\n")] = '\0';
        }
    }
}

/* Whether the directory holds anything that libclamav would load. */
static bool
has_database(const char *directory)
{
    static const char *const SUFFIXES[] = {".cvd", ".cld", ".ndb", ".hdb", ".hsb", ".mdb", ".db", ".ldb"};
    DIR *dir = directory[0] != '\0' ? opendir(directory) : NULL;
    struct dirent *entry;
    bool found = false;

    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');

        for (size_t i = 0; dot != NULL && i < sizeof(SUFFIXES) / sizeof(SUFFIXES[0]); i++) {
            found = found || strcmp(dot, SUFFIXES[i]) == 0;
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return found;
}

static const char *
choose_database(const struct config *config)
{
    const char *main_directory = config_str(config, P_clamav_database_directory);
    const char *fallback = config_str(config, P_clamav_fallback_database_directory);

    if (has_database(main_directory)) {
        return main_directory;
    }
    if (has_database(fallback)) {
        log_warning("scan", "clamav: %s holds no signatures; using the small set in %s, which finds test files only",
                    main_directory, fallback);
        return fallback;
    }
    return NULL;
}

/* The canary's signature, in a file of its own beside the real ones. */
static int
load_canary_signature(struct cl_engine *engine)
{
    char path[] = "/tmp/estafeta-canary-XXXXXX.ndb";
    const char *directory = getenv("TMPDIR");
    char place[4096];
    unsigned count = 0;
    int r = GW_ERR_SYS;

    (void)snprintf(place, sizeof(place), "%s/%s", directory != NULL ? directory : "/tmp", path + 5);
    int fd = mkstemps(place, 4);
    if (fd == -1) {
        return r;
    }
    struct buf line;
    buf_init(&line, 4096);
    if (clamav_canary_signature(&line) == 0 && write(fd, line.p, line.n) == (ssize_t)line.n &&
        cl_load(place, engine, &count, CL_DB_STDOPT) == CL_SUCCESS && count == 1) {
        r = 0;
    }
    buf_free(&line);
    (void)close(fd);
    (void)unlink(place);
    return r;
}

static int
set_limits(const struct config *config, struct cl_engine *engine)
{
    const struct {
        enum cl_engine_field field;
        long long value;
    } settings[] = {
        {CL_ENGINE_MAX_SCANSIZE, config_int(config, P_clamav_max_scansize)},
        {CL_ENGINE_MAX_FILESIZE, config_int(config, P_clamav_max_filesize)},
        {CL_ENGINE_MAX_RECURSION, config_int(config, P_clamav_max_recursion)},
        {CL_ENGINE_MAX_FILES, config_int(config, P_clamav_max_files)},
        {CL_ENGINE_MAX_SCANTIME, config_int(config, P_clamav_max_scantime) * 1000},
        {CL_ENGINE_DISABLE_CACHE, 0},
    };

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (cl_engine_set_num(engine, settings[i].field, settings[i].value) != CL_SUCCESS) {
            return GW_ERR_CONFIG;
        }
    }
    const char *directory = getenv("TMPDIR");
    return directory == NULL || cl_engine_set_str(engine, CL_ENGINE_TMPDIR, directory) == CL_SUCCESS ? 0
                                                                                                       : GW_ERR_CONFIG;
}

static int
load_engine(const struct config *config, struct clamav *clamav, struct buf *error_r)
{
    const char *directory = choose_database(config);
    int error;

    if (directory == NULL) {
        (void)buf_printf(error_r, "clamav: no signatures in %s; install clamav-freshclam and run freshclam",
                         config_str(config, P_clamav_database_directory));
        return GW_ERR_CONFIG;
    }
    if ((error = cl_init(CL_INIT_DEFAULT)) != CL_SUCCESS || (clamav->engine = cl_engine_new()) == NULL) {
        (void)buf_printf(error_r, "clamav: libclamav could not be initialised: %s", cl_strerror(error));
        return GW_ERR_NOMEM;
    }
    cl_set_clcb_msg(note_message);
    error = cl_load(directory, clamav->engine, &clamav->signatures, CL_DB_STDOPT);
    if (error != CL_SUCCESS) {
        (void)buf_printf(error_r, "clamav: signatures in %s: %s", directory, cl_strerror(error));
        return GW_ERR_CONFIG;
    }
    if (load_canary_signature(clamav->engine) != 0 || set_limits(config, clamav->engine) != 0) {
        (void)buf_append_str(error_r, "clamav: the canary signature or a limit was not accepted");
        return GW_ERR_CONFIG;
    }
    error = cl_engine_compile(clamav->engine);
    if (error != CL_SUCCESS) {
        (void)buf_printf(error_r, "clamav: signatures in %s: %s", directory, cl_strerror(error));
        return GW_ERR_CONFIG;
    }
    log_info("scan", "clamav: %u signatures from %s", clamav->signatures, directory);
    return 0;
}

static void
unload(void **shared)
{
    struct clamav *clamav = *shared;

    if (clamav != NULL) {
        if (clamav->engine != NULL) {
            (void)cl_engine_free(clamav->engine);
        }
        free(clamav);
        *shared = NULL;
    }
}

/* One scan of bytes in memory. 0 with *name_r NULL (clean) or a copy in the arena; GW_ERR_TEMP with trouble. */
static int
scan_bytes(const struct clamav *clamav, struct bytes content, struct arena *arena, struct bytes *found_r,
           struct trouble *trouble)
{
    struct cl_scan_options options = {.general = CL_SCAN_GENERAL_HEURISTICS,
                                      .parse = ~0U,
                                      .heuristic = CL_SCAN_HEURISTIC_EXCEEDS_MAX};
    const char *name = NULL;
    unsigned long scanned = 0;
    cl_fmap_t *map = cl_fmap_open_memory(content.p, content.n);

    *found_r = (struct bytes){0};
    if (map == NULL) {
        (void)snprintf(trouble->text, sizeof(trouble->text), "the content could not be mapped");
        return GW_ERR_TEMP;
    }
    int error = cl_scanmap_callback(map, NULL, &name, &scanned, clamav->engine, &options, trouble);
    cl_fmap_close(map);
    if (error == CL_VIRUS) {
        *found_r = arena_dup(arena, bytes_str(name != NULL ? name : "unnamed"));
        return found_r->p != NULL ? 0 : GW_ERR_NOMEM;
    }
    if (error != CL_CLEAN) {
        (void)snprintf(trouble->text, sizeof(trouble->text), "%s", cl_strerror(error));
        return GW_ERR_TEMP;
    }
    return trouble->serious ? GW_ERR_TEMP : 0;
}

/* Finds our own signature inside a deflated zip member: the proof that unpacking works right now. */
static bool
check_canary(const struct clamav *clamav, struct clamav_thread *thread, struct arena *arena)
{
    struct trouble trouble = {0};
    struct bytes found;
    bool before = thread->trusted;

    thread->canary_due_ms = clock_monotonic_ms() + CANARY_EVERY_MS;
    thread->trusted = scan_bytes(clamav, thread->canary, arena, &found, &trouble) == 0 && found.n > 0 &&
                      bytes_find(found, bytes_str(CLAMAV_CANARY_NAME)) >= 0;
    if (!thread->trusted) {
        thread->canary_due_ms = 0; /* look again with the next message */
        log_warning("scan", "clamav: the canary was not found%s%s; mail counts as not scanned",
                    trouble.text[0] != '\0' ? ": " : "", trouble.text);
    } else if (!before) {
        log_info("scan", "clamav: the canary is found");
    }
    return thread->trusted;
}

static int
start_thread(const struct config *config, void *shared, void **thread_r)
{
    struct clamav_thread *thread = calloc(1, sizeof(*thread));
    struct buf zip;

    (void)config;
    (void)shared;
    *thread_r = NULL;
    if (thread == NULL) {
        return GW_ERR_NOMEM;
    }
    buf_init(&zip, 4096);
    int r = clamav_canary_zip(&zip);
    if (r != 0) {
        buf_free(&zip);
        free(thread);
        return r;
    }
    thread->canary = bytes_buf(&zip); /* the thread owns the bytes */
    thread->trusted = true;           /* so that the first success is not news */
    *thread_r = thread;
    return 0;
}

static void
stop_thread(void **thread_p)
{
    struct clamav_thread *thread = *thread_p;

    free((void *)(uintptr_t)thread->canary.p);
    free(thread);
    *thread_p = NULL;
}

static int
load(const struct config *config, void **shared_r, struct buf *error_r)
{
    struct clamav *clamav = calloc(1, sizeof(*clamav));
    struct arena *arena = arena_new(65536);
    void *thread = NULL, *shared = clamav;
    int r = clamav == NULL || arena == NULL ? GW_ERR_NOMEM : load_engine(config, clamav, error_r);

    *shared_r = NULL;
    if (r == 0 && (r = start_thread(config, clamav, &thread)) == 0) {
        if (!check_canary(clamav, thread, arena)) {
            (void)buf_append_str(error_r, "clamav: the canary in a zip was not found; is scan_temporary_directory "
                                          "writable and not full?");
            r = GW_ERR_CONFIG;
        }
        stop_thread(&thread);
    }
    if (r == 0) {
        *shared_r = shared;
        shared = NULL; /* transferred */
    }
    arena_free(&arena);
    unload(&shared);
    return r;
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
    const struct clamav *clamav = shared;
    struct clamav_thread *thread = thread_state;
    struct trouble trouble = {0};
    struct scan_result *result = scan_report_add(report, SCANNER_CLAMAV);

    if (result == NULL) {
        return GW_ERR_LIMIT;
    }
    if (clock_monotonic_ms() >= thread->canary_due_ms && !check_canary(clamav, thread, input->arena)) {
        result->detail = BYTES_LIT("the canary was not found");
        return 0; /* "not scanned" stands */
    }
    int r = scan_bytes(clamav, input->content, input->arena, &result->found, &trouble);
    if (r != 0) {
        result->detail = arena_dup(input->arena, bytes_str(trouble.text[0] != '\0' ? trouble.text : gw_strerror(r)));
        result->status = SCAN_NOT_SCANNED;
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
    .thread_start = start_thread,
    .thread_stop = stop_thread,
    .scan = scan,
};
