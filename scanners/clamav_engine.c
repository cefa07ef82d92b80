/*
 * clamav_engine - see the header. Before: clamav.c; below: libclamav.
 *
 * libclamav answers "clean" when it could not unpack (no temporary directory, no memory), so its messages are
 * watched during every scan: one about such trouble turns the answer into an error. The name of a signature
 * belongs to the engine, so it is copied.
 */
#include "scanners/clamav_engine.h"

#include <clamav.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "scanners/clamav_canary.h"

enum { PATH_BYTES_MAX = 4096, TROUBLE_MAX = 256, SIGNATURE_LINE_MAX = 4096, MAIL_OVERHEAD = 65536 };

struct clamav_engine {
    struct cl_engine *engine;
    char *directory; /* where the signatures are */
    struct cl_stat seen;
    bool has_seen;
    unsigned signatures;
    struct cl_scan_options options;
};

/* What libclamav complains about while somebody watches. */
struct trouble {
    bool all; /* every error is serious */
    bool serious;
    char text[TROUBLE_MAX]; /* the first that was serious */
};

/* Of this thread. The callback's own context would do, but the worst message, that a scan's temporary
 * directory cannot be made, comes before libclamav has set it; and then it answers "clean". */
static _Thread_local struct trouble *watching;

static void
note_message(enum cl_msg severity, const char *full, const char *text, void *context)
{
    static const char *const SERIOUS[] = {"emporary",  "llocate",      "emory",        "o space",
                                          "ermission", "can't create", "Can't create", "can't write"};
    bool serious;

    (void)full;
    (void)context;
    if (watching == NULL || severity == CL_MSG_INFO_VERBOSE || watching->serious) {
        return;
    }
    serious = watching->all && severity == CL_MSG_ERROR;
    for (size_t i = 0; i < sizeof(SERIOUS) / sizeof(SERIOUS[0]) && !serious; i++) {
        serious = strstr(text, SERIOUS[i]) != NULL;
    }
    if (serious) {
        watching->serious = true;
        (void)snprintf(watching->text, sizeof(watching->text), "%s", text);
        watching->text[strcspn(watching->text, "\r\n")] = '\0';
    }
}

/* Whether the directory holds anything that libclamav would load. */
static bool
has_database(const char *directory)
{
    static const char *const SUFFIXES[] = {".cvd", ".cld", ".ndb", ".hdb", ".hsb",
                                           ".mdb", ".msb", ".db",  ".ldb", ".cud"};
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

    return has_database(main_directory) ? main_directory : has_database(fallback) ? fallback : NULL;
}

/* Remembers the directory and what it holds now. */
static int
watch_directory(struct clamav_engine *engine, const char *directory)
{
    char *copy = strdup(directory);

    if (copy == NULL) {
        return GW_ERR_NOMEM;
    }
    free(engine->directory);
    engine->directory = copy;
    if (engine->has_seen) {
        (void)cl_statfree(&engine->seen);
    }
    engine->seen = (struct cl_stat){0};
    engine->has_seen = cl_statinidir(directory, &engine->seen) == CL_SUCCESS;
    return engine->has_seen ? 0 : GW_ERR_SYS;
}

int
clamav_engine_new(const struct config *config, struct clamav_engine **engine_r, struct buf *error_r)
{
    struct clamav_engine *engine = calloc(1, sizeof(*engine));
    const char *directory = choose_database(config);
    int r = GW_ERR_NOMEM;

    *engine_r = NULL;
    if (engine == NULL) {
        return r;
    }
    if (cl_init(CL_INIT_DEFAULT) != CL_SUCCESS ||
        (directory != NULL ? watch_directory(engine, directory) != 0
                           : (engine->directory = strdup("")) == NULL)) {
        (void)buf_append_str(error_r, "clamav: libclamav could not be initialised");
    } else {
        if (directory != NULL && strcmp(directory, config_str(config, P_clamav_database_directory)) != 0) {
            log_warning(
                "scan",
                "clamav: %s holds no signatures; using the small set in %s, which finds test files only",
                config_str(config, P_clamav_database_directory), directory);
        }
        *engine_r = engine;
        engine = NULL; /* transferred */
        r = 0;
    }
    clamav_engine_free(&engine);
    return r;
}

void
clamav_engine_free(struct clamav_engine **engine)
{
    if (*engine == NULL) {
        return;
    }
    if ((*engine)->engine != NULL) {
        (void)cl_engine_free((*engine)->engine);
    }
    if ((*engine)->has_seen) {
        (void)cl_statfree(&(*engine)->seen);
    }
    free((*engine)->directory);
    free(*engine);
    *engine = NULL;
}

bool
clamav_engine_has_changed(const struct config *config, struct clamav_engine *engine)
{
    const char *directory = choose_database(config);

    if (directory == NULL) {
        return false; /* being replaced, or gone: what is loaded serves on */
    }
    if (strcmp(directory, engine->directory) == 0 && cl_statchkdir(&engine->seen) != 1) {
        return false;
    }
    return watch_directory(engine, directory) == 0;
}

/* The canary's signature, in a file of its own beside the real ones. */
static int
load_canary_signature(struct cl_engine *engine)
{
    const char *directory = getenv("TMPDIR");
    char path[PATH_BYTES_MAX];
    unsigned count = 0;
    struct buf line;
    int r = GW_ERR_SYS;

    (void)snprintf(path, sizeof(path), "%s/estafeta-canary-XXXXXX.ndb",
                   directory != NULL ? directory : "/tmp");
    int fd = mkostemps(path, 4, O_CLOEXEC);
    if (fd == -1) {
        return r;
    }
    buf_init(&line, SIGNATURE_LINE_MAX);
    if (clamav_canary_signature(&line) == 0 && write(fd, line.p, line.n) == (ssize_t)line.n &&
        cl_load(path, engine, &count, CL_DB_STDOPT) == CL_SUCCESS && count == 1) {
        r = 0;
    }
    buf_free(&line);
    (void)close(fd);
    (void)unlink(path);
    return r;
}

/* A mail that may be received must fit, or it could never be scanned. */
static long long
at_least_mail(const struct config *config, enum param param)
{
    int64_t limit = config_int(config, param), mail = config_int(config, P_message_size_limit);

    return limit > 0 && mail > 0 && limit < mail + MAIL_OVERHEAD ? mail + MAIL_OVERHEAD : limit;
}

static int
set_temporary(struct cl_engine *engine)
{
    const char *directory = getenv("TMPDIR");

    return directory == NULL || cl_engine_set_str(engine, CL_ENGINE_TMPDIR, directory) == CL_SUCCESS
               ? 0
               : GW_ERR_CONFIG;
}

static int
set_limits(const struct config *config, struct cl_engine *engine)
{
    const struct {
        enum cl_engine_field field;
        long long value;
    } settings[] = {
        {CL_ENGINE_MAX_SCANSIZE, at_least_mail(config, P_clamav_max_scansize)},
        {CL_ENGINE_MAX_FILESIZE, at_least_mail(config, P_clamav_max_filesize)},
        {CL_ENGINE_MAX_RECURSION, config_int(config, P_clamav_max_recursion)},
        {CL_ENGINE_MAX_FILES, config_int(config, P_clamav_max_files)},
        {CL_ENGINE_MAX_SCANTIME, config_int(config, P_clamav_max_scantime) * 1000},
    };

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (cl_engine_set_num(engine, settings[i].field, settings[i].value) != CL_SUCCESS) {
            return GW_ERR_CONFIG;
        }
    }
    return set_temporary(engine);
}

int
clamav_engine_use_temporary(struct clamav_engine *engine)
{
    return engine->engine == NULL ? 0 : set_temporary(engine->engine);
}

int
clamav_engine_load(const struct config *config, struct clamav_engine *engine, struct buf *error_r)
{
    struct trouble trouble = {.all = true};
    cl_error_t error;

    if (engine->directory[0] == '\0') {
        (void)buf_printf(error_r, "clamav: no signatures in %s; install clamav-freshclam and run freshclam",
                         config_str(config, P_clamav_database_directory));
        return GW_ERR_CONFIG;
    }
    if ((engine->engine = cl_engine_new()) == NULL) {
        (void)buf_append_str(error_r, "clamav: out of memory");
        return GW_ERR_NOMEM;
    }
    cl_set_clcb_msg(note_message);
    engine->options = (struct cl_scan_options){
        .general = CL_SCAN_GENERAL_HEURISTICS, .parse = ~0U, .heuristic = CL_SCAN_HEURISTIC_EXCEEDS_MAX};
    if (config_bool(config, P_clamav_alert_encrypted)) {
        engine->options.heuristic |= CL_SCAN_HEURISTIC_ENCRYPTED_ARCHIVE | CL_SCAN_HEURISTIC_ENCRYPTED_DOC;
    }
    watching = &trouble;
    error = cl_load(engine->directory, engine->engine, &engine->signatures, CL_DB_STDOPT);
    watching = NULL;
    if (error == CL_SUCCESS &&
        (load_canary_signature(engine->engine) != 0 || set_limits(config, engine->engine) != 0)) {
        (void)buf_append_str(error_r, "clamav: the canary signature or a limit was not accepted; is "
                                      "scan_temporary_directory writable and not full?");
        return GW_ERR_CONFIG;
    }
    error = error == CL_SUCCESS ? cl_engine_compile(engine->engine) : error;
    if (error != CL_SUCCESS) {
        (void)buf_printf(error_r,
                         "clamav: signatures in %s: %s%s%s; repair or remove the file, or run freshclam",
                         engine->directory, cl_strerror(error), trouble.serious ? ": " : "", trouble.text);
        return GW_ERR_CONFIG;
    }
    log_info("scan", "clamav: %u signatures from %s", engine->signatures, engine->directory);
    return 0;
}

static struct bytes
copy_text(struct arena *arena, const char *text)
{
    struct bytes copy = arena_dup(arena, bytes_str(text));

    return copy.p != NULL ? copy : BYTES_LIT("out of memory");
}

int
clamav_engine_scan(const struct clamav_engine *engine, struct bytes content, struct arena *arena,
                   struct bytes *found_r, struct bytes *why_r)
{
    struct cl_scan_options options = engine->options;
    struct trouble trouble = {0};
    const char *name = NULL;
    unsigned long scanned = 0;
    cl_fmap_t *map = cl_fmap_open_memory(content.p, content.n);

    *found_r = *why_r = (struct bytes){0};
    if (map == NULL) {
        *why_r = BYTES_LIT("the content could not be mapped");
        return GW_ERR_TEMP;
    }
    watching = &trouble;
    cl_error_t error = cl_scanmap_callback(map, NULL, &name, &scanned, engine->engine, &options, NULL);
    watching = NULL;
    cl_fmap_close(map);
    if (error == CL_VIRUS) {
        *found_r = arena_dup(arena, bytes_str(name != NULL ? name : "unnamed"));
        return found_r->p != NULL ? 0 : GW_ERR_NOMEM;
    }
    if (error == CL_CLEAN && !trouble.serious) {
        return 0;
    }
    *why_r = copy_text(arena, trouble.serious ? trouble.text : cl_strerror(error));
    return GW_ERR_TEMP;
}
