/*
 * pipeline - the scanners of scan_pipeline, in order, over one message.
 *
 * Before: scan_worker.c with a request and the sealed content; after: its report. Every scanner has at least
 * one result afterwards: one that failed, or ran out of time, leaves "not scanned". Once a rule refused the
 * message or a virus was found the rest is skipped: nothing they say would change what becomes of it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/dns.h"
#include "base/error.h"
#include "scanners/scanner.h"

struct pipeline {
    const struct config *config;
    const struct scanner *steps[SCANNER_COUNT];
    void *shared[SCANNER_COUNT];
    size_t count;
    bool has_no_data;
};

struct pipeline_thread {
    struct pipeline *pipeline;
    void *state[SCANNER_COUNT];
    struct dns_client *dns;
};

static int
add_step(struct pipeline *pipeline, struct bytes name, struct buf *error_r)
{
    const struct scanner *scanner = scanner_by_name(name);

    if (scanner == NULL) {
        (void)buf_printf(error_r,
                         "scan_pipeline: unknown scanner \"%.*s\"; use header, body, banned, clamav, spf, "
                         "dkim, spamassassin",
                         BYTES_FMT(name));
        return GW_ERR_CONFIG;
    }
    for (size_t i = 0; i < pipeline->count; i++) {
        if (pipeline->steps[i] == scanner) {
            (void)buf_printf(error_r, "scan_pipeline: %s is named twice", scanner->name);
            return GW_ERR_CONFIG;
        }
    }
    size_t at = pipeline->count++;
    pipeline->steps[at] = scanner;
    return scanner->load != NULL ? scanner->load(pipeline->config, &pipeline->shared[at], error_r) : 0;
}

int
pipeline_load(const struct config *config, struct pipeline **pipeline_r, struct buf *error_r)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
    const char *names =
        scan_need(config) == SCAN_NEED_RULES ? "header body" : config_str(config, P_scan_pipeline);
    struct bytes rest = bytes_str(names), name;
    int r = pipeline == NULL ? GW_ERR_NOMEM : 0;

    *pipeline_r = NULL;
    if (pipeline != NULL) {
        pipeline->config = config;
    }
    while (r == 0 && bytes_next_token(&rest, ", \t", &name)) {
        r = add_step(pipeline, name, error_r);
    }
    if (r == 0) {
        *pipeline_r = pipeline;
        pipeline = NULL; /* transferred */
    }
    pipeline_free(&pipeline);
    return r;
}

void
pipeline_free(struct pipeline **pipeline)
{
    if (*pipeline == NULL) {
        return;
    }
    for (size_t i = 0; i < (*pipeline)->count; i++) {
        if ((*pipeline)->steps[i]->unload != NULL) {
            (*pipeline)->steps[i]->unload(&(*pipeline)->shared[i]);
        }
    }
    free(*pipeline);
    *pipeline = NULL;
}

int
pipeline_load_data(struct pipeline *pipeline, struct buf *error_r)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < pipeline->count; i++) {
        if (pipeline->steps[i]->load_data != NULL) {
            r = pipeline->steps[i]->load_data(pipeline->config, pipeline->shared[i], error_r);
        }
    }
    return r;
}

bool
pipeline_has_new_data(struct pipeline *pipeline)
{
    bool changed = false;

    for (size_t i = 0; i < pipeline->count; i++) {
        if (pipeline->steps[i]->has_new_data != NULL) {
            changed = pipeline->steps[i]->has_new_data(pipeline->config, pipeline->shared[i]) || changed;
        }
    }
    return changed;
}

void
pipeline_do_without_data(struct pipeline *pipeline)
{
    pipeline->has_no_data = true;
}

int
pipeline_worker_start(struct pipeline *pipeline)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < pipeline->count; i++) {
        if (pipeline->steps[i]->worker_start != NULL) {
            r = pipeline->steps[i]->worker_start(pipeline->shared[i]);
        }
    }
    return r;
}

int
pipeline_thread_start(struct pipeline *pipeline, struct pipeline_thread **thread_r)
{
    struct pipeline_thread *thread = calloc(1, sizeof(*thread));
    int r = GW_ERR_NOMEM;

    *thread_r = NULL;
    if (thread == NULL) {
        return r;
    }
    thread->pipeline = pipeline;
    thread->dns = dns_client_new(ROLE_SCAN);
    r = thread->dns == NULL ? GW_ERR_NOMEM : 0;
    for (size_t i = 0; r == 0 && i < pipeline->count; i++) {
        if (pipeline->steps[i]->thread_start != NULL) {
            r = pipeline->steps[i]->thread_start(pipeline->config, pipeline->shared[i], &thread->state[i]);
        }
    }
    if (r == 0) {
        *thread_r = thread;
        thread = NULL; /* transferred */
    }
    pipeline_thread_stop(&thread);
    return r;
}

void
pipeline_thread_stop(struct pipeline_thread **thread)
{
    if (*thread == NULL) {
        return;
    }
    for (size_t i = 0; i < (*thread)->pipeline->count; i++) {
        if ((*thread)->pipeline->steps[i]->thread_stop != NULL && (*thread)->state[i] != NULL) {
            (*thread)->pipeline->steps[i]->thread_stop(&(*thread)->state[i]);
        }
    }
    dns_client_free(&(*thread)->dns);
    free(*thread);
    *thread = NULL;
}

/* First byte behind the empty line that ends the header; the whole length when there is none. */
static size_t
find_body(struct bytes content)
{
    if (bytes_has_prefix_nocase(content, BYTES_LIT("\r\n"))) {
        return 2;
    }
    ptrdiff_t end = bytes_find(content, BYTES_LIT("\r\n\r\n"));
    return end < 0 ? content.n : (size_t)end + 4;
}

/* A result of our own making, for a scanner that did not speak. */
static void
add_plain(struct scan_report *report, const struct scanner *scanner, enum scan_status status,
          const char *detail)
{
    struct scan_result *result = scan_report_add(report, scanner->id);

    if (result != NULL) {
        result->status = status;
        result->detail = bytes_str(detail);
    }
}

static void
run_step(struct pipeline_thread *thread, size_t step, const struct scan_input *input,
         struct scan_report *report)
{
    const struct scanner *scanner = thread->pipeline->steps[step];
    size_t before = report->count;
    int64_t start_us = clock_monotonic_us();
    int r;

    if (clock_left_ms(input->deadline_ms) == 0) {
        add_plain(report, scanner, SCAN_TEMPFAIL, "no time left (scan_time_limit)");
        return;
    }
    if (thread->pipeline->has_no_data && scanner->load_data != NULL) {
        add_plain(report, scanner, SCAN_NOT_SCANNED,
                  "what it looks for could not be loaded; the log has the reason");
        return;
    }
    r = scanner->scan(thread->pipeline->shared[step], thread->state[step], input, report);
    if (r != 0) {
        report->count = before;
        add_plain(report, scanner, SCAN_NOT_SCANNED, gw_strerror(r));
    } else if (report->count == before) {
        add_plain(report, scanner, SCAN_NOT_SCANNED, "no result");
    }
    for (size_t i = before; i < report->count; i++) {
        report->results[i].elapsed_us = clock_monotonic_us() - start_us;
    }
}

static bool
has_word(struct bytes action, const char *word)
{
    struct bytes first;

    return bytes_next_token(&action, " \t", &first) && bytes_equal_nocase(first, bytes_str(word));
}

/* Why no other scanner needs to look; NULL: go on. With virus_action = tag or none the message is passed on,
 * so the others must speak too. */
static const char *
find_decision(const struct config *config, const struct scan_report *report)
{
    const char *on_virus = config_str(config, P_virus_action);
    bool virus_ends =
        strcmp(on_virus, "tag") != 0 && strcmp(on_virus, "none") != 0 && strcmp(on_virus, "accept") != 0;

    for (size_t i = 0; i < report->count; i++) {
        const struct scan_result *result = &report->results[i];

        if (result->status == SCAN_FOUND && result->scanner == SCANNER_CLAMAV && virus_ends) {
            return "a virus was found before";
        }
        if (result->status == SCAN_FOUND &&
            (has_word(result->action, "REJECT") || has_word(result->action, "DISCARD"))) {
            return "a rule decided before";
        }
    }
    return NULL;
}

/* The content, or an empty view. A file shorter than it is said to be would end the worker at the first
 * missing page. */
static struct bytes
map_content(int fd, uint64_t size)
{
    struct stat st;

    if (size == 0 || fstat(fd, &st) == -1 || (uint64_t)st.st_size < size) {
        return (struct bytes){0};
    }
    void *mapped = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    return mapped == MAP_FAILED ? (struct bytes){0} : bytes_of(mapped, (size_t)size);
}

void
pipeline_scan(struct pipeline_thread *thread, const struct wire_scan *request, int content_fd,
              struct arena *arena, struct scan_report *report_r)
{
    const struct pipeline *pipeline = thread->pipeline;
    int64_t start_us = clock_monotonic_us();
    struct scan_input input = {.content = map_content(content_fd, request->envelope->size),
                               .fd = content_fd,
                               .request = request,
                               .config = pipeline->config,
                               .arena = arena,
                               .deadline_ms = clock_monotonic_ms() + request->budget_ms,
                               .dns = thread->dns};

    *report_r = (struct scan_report){0};
    input.body_offset = find_body(input.content);
    for (size_t i = 0; i < pipeline->count; i++) {
        const char *decision = find_decision(pipeline->config, report_r);

        if (input.content.p == NULL) {
            add_plain(report_r, pipeline->steps[i], SCAN_NOT_SCANNED, "the content could not be mapped");
        } else if (decision != NULL) {
            add_plain(report_r, pipeline->steps[i], SCAN_SKIPPED, decision);
        } else {
            run_step(thread, i, &input, report_r);
        }
    }
    report_r->elapsed_us = clock_monotonic_us() - start_us;
    if (input.content.p != NULL) {
        (void)munmap((void *)(uintptr_t)input.content.p, input.content.n);
    }
}
