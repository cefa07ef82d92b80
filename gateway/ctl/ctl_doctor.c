/*
 * ctl_doctor - runs every rule over a configuration that loads, and prints what they found.
 *
 * Before: ctl_check.c has loaded it; after: the rules of ctl_doctor_*.c, a table per topic. A rule looks at
 * one thing and calls doctor_tell(); it never fails: what it cannot read it does not judge. Errors are what
 * lets mail through, or loses it, against what the file says; warnings are what most likely is not meant;
 * notes are worth knowing.
 */
#include "ctl/ctl_doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "ctl/ctl_doctor_private.h"
#include "ctl/ctl_json.h"

enum { TEXT_MAX = 2048 };

struct doctor_finding {
    const struct doctor_rule *rule;
    enum doctor_severity severity;
    const char *remedy;
    size_t number; /* in order of telling */
    char *where, *text;
};

static const struct doctor_rule *const TOPICS[] = {
    DOCTOR_NAMES,  DOCTOR_RELAY,  DOCTOR_LISTS,  DOCTOR_TABLES,  DOCTOR_PATTERNS,
    DOCTOR_ROUTES, DOCTOR_MASTER, DOCTOR_LIMITS, DOCTOR_NETWORK, DOCTOR_OUTSIDE,
};
static const char *const SEVERITIES[] = {"note", "warning", "error"};

static bool
is_told(const struct doctor *doctor, const char *where, const char *text)
{
    for (size_t i = 0; i < doctor->finding_count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];

        if (finding->rule == doctor->rule && strcmp(finding->where, where) == 0 &&
            strcmp(finding->text, text) == 0) {
            return true;
        }
    }
    return false;
}

void
doctor_tell(struct doctor *doctor, const char *where, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    where = where != NULL ? where : doctor->directory;
    if (doctor->finding_count >= DOCTOR_FINDINGS_MAX || is_told(doctor, where, text)) {
        return;
    }
    struct doctor_finding finding = {.rule = doctor->rule,
                                     .severity = doctor->severity,
                                     .remedy = doctor->remedy,
                                     .number = doctor->finding_count,
                                     .where = strdup(where),
                                     .text = strdup(text)};
    if (finding.where == NULL || finding.text == NULL) {
        free(finding.where);
        free(finding.text);
        return;
    }
    doctor->findings[doctor->finding_count++] = finding;
}

/* The worst first, then as the files go. */
static int
compare(const void *left, const void *right)
{
    const struct doctor_finding *a = left, *b = right;
    const char *colon_a = strrchr(a->where, ':'), *colon_b = strrchr(b->where, ':');
    size_t n_a = colon_a != NULL ? (size_t)(colon_a - a->where) : strlen(a->where);
    size_t n_b = colon_b != NULL ? (size_t)(colon_b - b->where) : strlen(b->where);
    int order = (int)b->severity - (int)a->severity;

    if (order == 0) {
        order = strncmp(a->where, b->where, n_a > n_b ? n_a : n_b);
        order = n_a == n_b && strncmp(a->where, b->where, n_a) == 0 ? 0 : order;
    }
    if (order == 0 && colon_a != NULL && colon_b != NULL) {
        order = (int)(strtol(colon_a + 1, NULL, 10) - strtol(colon_b + 1, NULL, 10));
    }
    return order != 0 ? order : a->number < b->number ? -1 : 1;
}

static void
run_rules(struct doctor *doctor)
{
    for (size_t i = 0; i < sizeof(TOPICS) / sizeof(TOPICS[0]); i++) {
        for (const struct doctor_rule *rule = TOPICS[i]; rule->id != NULL; rule++) {
            doctor->rule = rule;
            doctor->severity = rule->severity;
            doctor->remedy = rule->remedy;
            if (rule->of_texts || doctor->config != NULL) {
                rule->run(doctor);
            }
        }
    }
}

static void
print_text(const struct doctor *doctor, const size_t counts[3])
{
    for (size_t i = 0; i < doctor->finding_count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];

        (void)printf("%s: %s: %s [%s]\n    remedy: %s\n", finding->where, SEVERITIES[finding->severity],
                     finding->text, finding->rule->id, finding->remedy);
    }
    (void)printf("%zu errors, %zu warnings, %zu notes\n", counts[DOCTOR_ERROR], counts[DOCTOR_WARNING],
                 counts[DOCTOR_NOTE]);
}

static void
print_finding(struct ctl_json *json, const struct doctor_finding *finding)
{
    struct bytes where = bytes_str(finding->where);
    ptrdiff_t colon = bytes_rindex(where, ':');
    uint64_t line = 0;

    if (colon < 0 || bytes_to_u64(bytes_sub(where, (size_t)colon + 1, where.n), &line) != 0) {
        colon = (ptrdiff_t)where.n;
    }
    ctl_json_open(json, NULL, '{');
    ctl_json_text(json, "rule", bytes_str(finding->rule->id));
    ctl_json_text(json, "severity", bytes_str(SEVERITIES[finding->severity]));
    ctl_json_text(json, "file", bytes_sub(where, 0, (size_t)colon));
    ctl_json_number(json, "line", (int64_t)line);
    ctl_json_text(json, "title", bytes_str(finding->rule->title));
    ctl_json_text(json, "text", bytes_str(finding->text));
    ctl_json_text(json, "remedy", bytes_str(finding->remedy));
    ctl_json_close(json, '}');
}

static void
print_json(const struct doctor *doctor, const size_t counts[3])
{
    struct ctl_json json;

    ctl_json_begin(&json, stdout);
    ctl_json_open(&json, NULL, '{');
    ctl_json_text(&json, "configuration", bytes_str(doctor->directory));
    ctl_json_number(&json, "errors", (int64_t)counts[DOCTOR_ERROR]);
    ctl_json_number(&json, "warnings", (int64_t)counts[DOCTOR_WARNING]);
    ctl_json_number(&json, "notes", (int64_t)counts[DOCTOR_NOTE]);
    ctl_json_open(&json, "findings", '[');
    for (size_t i = 0; i < doctor->finding_count; i++) {
        print_finding(&json, &doctor->findings[i]);
    }
    ctl_json_close(&json, ']');
    ctl_json_close(&json, '}');
    (void)putchar('\n');
}

int
ctl_doctor(const char *directory, const struct config *config, struct bytes said, struct bytes refused,
           const struct ctl_doctor_options *options)
{
    struct doctor doctor = {.directory = directory,
                            .config = config,
                            .said = said,
                            .refused = refused,
                            .probe = options->probe,
                            .outside = options->outside};
    size_t counts[3] = {0};
    struct buf why;

    buf_init(&why, TEXT_MAX);
    doctor.findings = calloc(DOCTOR_FINDINGS_MAX, sizeof(*doctor.findings));
    if (doctor.findings == NULL || (config != NULL && doctor_find_tables(&doctor) != 0)) {
        (void)fputs("estafeta: fatal: out of memory\n", stderr);
        counts[DOCTOR_ERROR] = 1;
        goto out;
    }
    if (config != NULL) {
        (void)router_new(config, &doctor.router, &why); /* without it the rules about domains are silent */
        doctor.dns = options->probe || options->outside ? doctor_dns_new(config) : NULL;
    }
    run_rules(&doctor);
    qsort(doctor.findings, doctor.finding_count, sizeof(*doctor.findings), compare);
    for (size_t i = 0; i < doctor.finding_count; i++) {
        counts[doctor.findings[i].severity]++;
    }
    (options->json ? print_json : print_text)(&doctor, counts);
out:
    doctor_dns_free(&doctor.dns);
    router_free(&doctor.router);
    doctor_free_tables(&doctor);
    for (size_t i = 0; i < doctor.finding_count; i++) {
        free(doctor.findings[i].where);
        free(doctor.findings[i].text);
    }
    free(doctor.findings);
    buf_free(&why);
    return counts[DOCTOR_ERROR] > 0 ? 1 : 0;
}

void
ctl_doctor_list(void)
{
    for (size_t i = 0; i < sizeof(TOPICS) / sizeof(TOPICS[0]); i++) {
        for (const struct doctor_rule *rule = TOPICS[i]; rule->id != NULL; rule++) {
            (void)printf("%s\t%s\t%s\t%s\n", rule->id, SEVERITIES[rule->severity], rule->rows, rule->title);
        }
    }
}
