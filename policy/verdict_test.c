/*
 * verdict_test - every status of every scanner with every word of its parameter; what is missing or not
 * scanned is never accepted; the heaviest proposal wins whatever the order; the fields on top of the message.
 */
#include "policy/verdict.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ipc.h"

static int failures;
static const char *doing = "";

#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #cond, doing); \
            failures++;                                                                  \
        }                                                                                \
    } while (0)

static char directory[] = "/tmp/estafeta-verdict-XXXXXX";
static struct envelope *envelope;

static void
write_file(const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs(text, file) == EOF || fclose(file) != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
}

/* A configuration with these lines in main.cf. */
static struct config *
configure(const char *settings)
{
    struct config *config = NULL;
    struct buf text, why;

    buf_init(&text, 65536);
    buf_init(&why, 65536);
    (void)buf_printf(&text,
                     "compatibility_level = 3.7\nmyhostname = gw.example.test\nmydomain = example.test\n"
                     "mydestination =\ncontent_filter = scan:\nqueue_directory = %s\ndata_directory = %s\n%s",
                     directory, directory, settings);
    write_file("main.cf", buf_str(&text));
    write_file("master.cf", "127.0.0.1:2525 inet n - n - - smtpd\n");
    if (config_load(directory, &config, &why) != 0) {
        (void)fprintf(stderr, "%s\n", buf_str(&why));
        exit(2);
    }
    buf_free(&text);
    buf_free(&why);
    return config;
}

static enum verdict_action
decide(const struct config *config, const struct scan_report *report)
{
    struct verdict verdict;
    enum verdict_action action = VERDICT_TEMPFAIL;

    CHECK(verdict_decide(config, envelope, report, &verdict) == 0);
    action = verdict.action;
    /* The reply belongs to the action, and a refusal says why in the log. */
    CHECK(verdict.code / 100 == (action == VERDICT_REJECT ? 5 : action == VERDICT_TEMPFAIL ? 4 : 2));
    CHECK(verdict.dsn[0] == (char)('0' + verdict.code / 100));
    CHECK(verdict.text[0] != '\0');
    CHECK((verdict.reason[0] != '\0') == (action != VERDICT_ACCEPT));
    CHECK(verdict.notify_policy == (action == VERDICT_REJECT || action == VERDICT_QUARANTINE));
    verdict_free(&verdict);
    return action;
}

/* One scanner with one finding, judged by one word of one parameter. */
static const struct {
    const char *pipeline, *setting;
    enum scanner_id scanner;
    enum scan_status status;
    enum verdict_action action;
} CASES[] = {
    /* what could not be looked at */
    {"clamav", "", SCANNER_CLAMAV, SCAN_NOT_SCANNED, VERDICT_TEMPFAIL},
    {"clamav", "", SCANNER_CLAMAV, SCAN_TEMPFAIL, VERDICT_TEMPFAIL},
    {"clamav", "scan_failure_action = tempfail\n", SCANNER_CLAMAV, SCAN_NOT_SCANNED, VERDICT_TEMPFAIL},
    {"clamav", "scan_failure_action = hold\n", SCANNER_CLAMAV, SCAN_NOT_SCANNED, VERDICT_HOLD},
    {"clamav", "scan_failure_action = hold\n", SCANNER_CLAMAV, SCAN_TEMPFAIL, VERDICT_HOLD},
    {"clamav", "scan_failure_action = accept\n", SCANNER_CLAMAV, SCAN_NOT_SCANNED, VERDICT_ACCEPT},
    {"clamav", "virus_action = tag\n", SCANNER_CLAMAV, SCAN_NOT_SCANNED, VERDICT_TEMPFAIL},
    {"spf", "spf_action = none\n", SCANNER_SPF, SCAN_NOT_SCANNED, VERDICT_TEMPFAIL},
    {"dkim", "dkim_action = none\n", SCANNER_DKIM, SCAN_TEMPFAIL, VERDICT_TEMPFAIL},
    {"spamassassin", "spam_reject_level =\n", SCANNER_SPAMASSASSIN, SCAN_NOT_SCANNED, VERDICT_TEMPFAIL},
    {"banned", "banned_action = tag\n", SCANNER_BANNED, SCAN_TEMPFAIL, VERDICT_TEMPFAIL},
    {"header", "", SCANNER_HEADER_REGEXP, SCAN_NOT_SCANNED, VERDICT_TEMPFAIL},
    {"body", "", SCANNER_BODY_REGEXP, SCAN_TEMPFAIL, VERDICT_TEMPFAIL},
    /* a result of another scanner does not stand for the one that is missing */
    {"clamav", "", SCANNER_SPF, SCAN_CLEAN, VERDICT_TEMPFAIL},
    {"clamav spf", "", SCANNER_SPF, SCAN_CLEAN, VERDICT_TEMPFAIL},
    {"spf", "", SCANNER_SPF, SCAN_CLEAN, VERDICT_ACCEPT},
    {"spf", "", SCANNER_SPF, SCAN_SKIPPED, VERDICT_ACCEPT},
    {"clamav", "", SCANNER_CLAMAV, SCAN_CLEAN, VERDICT_ACCEPT},
    {"clamav", "", SCANNER_CLAMAV, SCAN_SKIPPED, VERDICT_ACCEPT},
    /* findings */
    {"clamav", "", SCANNER_CLAMAV, SCAN_FOUND, VERDICT_REJECT},
    {"clamav", "virus_action = reject\n", SCANNER_CLAMAV, SCAN_FOUND, VERDICT_REJECT},
    {"clamav", "virus_action = quarantine\n", SCANNER_CLAMAV, SCAN_FOUND, VERDICT_QUARANTINE},
    {"clamav", "virus_action = discard\n", SCANNER_CLAMAV, SCAN_FOUND, VERDICT_DISCARD},
    {"clamav", "virus_action = tag\n", SCANNER_CLAMAV, SCAN_FOUND, VERDICT_ACCEPT},
    {"banned", "", SCANNER_BANNED, SCAN_FOUND, VERDICT_REJECT},
    {"banned", "banned_action = quarantine\n", SCANNER_BANNED, SCAN_FOUND, VERDICT_QUARANTINE},
    {"banned", "banned_action = discard\n", SCANNER_BANNED, SCAN_FOUND, VERDICT_DISCARD},
    {"banned", "banned_action = tag\n", SCANNER_BANNED, SCAN_FOUND, VERDICT_ACCEPT},
    {"spf", "", SCANNER_SPF, SCAN_FOUND, VERDICT_REJECT},
    {"spf", "spf_action = tag\n", SCANNER_SPF, SCAN_FOUND, VERDICT_ACCEPT},
    {"spf", "spf_action = none\n", SCANNER_SPF, SCAN_FOUND, VERDICT_ACCEPT},
    {"dkim", "", SCANNER_DKIM, SCAN_FOUND, VERDICT_ACCEPT},
    {"dkim", "dkim_action = reject\n", SCANNER_DKIM, SCAN_FOUND, VERDICT_REJECT},
    {"dkim", "dkim_action = none\n", SCANNER_DKIM, SCAN_FOUND, VERDICT_ACCEPT},
};

static void
test_table(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct scan_report report = {.count = 0};
        char settings[256], name[64];

        (void)snprintf(settings, sizeof(settings), "scan_pipeline = %s\n%s", CASES[i].pipeline,
                       CASES[i].setting);
        (void)snprintf(name, sizeof(name), "row %zu: %s", i, CASES[i].pipeline);
        doing = name;
        struct config *config = configure(settings);
        struct scan_result *result = scan_report_add(&report, CASES[i].scanner);
        result->status = CASES[i].status;
        result->found = BYTES_LIT("Thing");
        CHECK(decide(config, &report) == CASES[i].action);
        config_free(&config);
    }
}

/* No report, an empty one, and each one that lacks just one scanner. */
static void
test_missing(void)
{
    struct config *config = configure("");
    struct scan_report empty = {.count = 0};

    doing = "missing results";
    CHECK(decide(config, NULL) == VERDICT_TEMPFAIL);
    CHECK(decide(config, &empty) == VERDICT_TEMPFAIL);
    for (int missing = 0; missing <= SCANNER_COUNT; missing++) {
        struct scan_report report = {.count = 0};

        for (int id = 0; id < SCANNER_COUNT; id++) {
            if (id != missing) {
                scan_report_add(&report, (enum scanner_id)id)->status = SCAN_CLEAN;
            }
        }
        CHECK(decide(config, &report) == (missing == SCANNER_COUNT ? VERDICT_ACCEPT : VERDICT_TEMPFAIL));
    }
    config_free(&config);
    config = configure("scan_pipeline = clamav nonsense\n");
    struct scan_report clean = {.count = 0};
    scan_report_add(&clean, SCANNER_CLAMAV)->status = SCAN_CLEAN;
    CHECK(decide(config, &clean) == VERDICT_TEMPFAIL);
    config_free(&config);
}

/* The words of header_checks and body_checks. */
static const struct {
    const char *action;
    enum verdict_action verdict;
    int code;
    const char *dsn, *text, *redirect;
    bool is_filter;
} ACTIONS[] = {
    {"REJECT", VERDICT_REJECT, 550, "5.7.1", "message content rejected", "", false},
    {"reject go away", VERDICT_REJECT, 550, "5.7.1", "go away", "", false},
    {"REJECT 5.7.0 go away", VERDICT_REJECT, 550, "5.7.0", "go away", "", false},
    {"REJECT 4.7.0 later", VERDICT_TEMPFAIL, 450, "4.7.0", "later", "", false},
    {"REJECT 5.x", VERDICT_REJECT, 550, "5.7.1", "5.x", "", false},
    {"REJECT a\nb", VERDICT_REJECT, 550, "5.7.1", "a?b", "", false},
    {"DISCARD quietly", VERDICT_DISCARD, 250, "2.0.0", "Ok", "", false},
    {"HOLD", VERDICT_HOLD, 250, "2.0.0", "Ok", "", false},
    {"REDIRECT box@example.test", VERDICT_ACCEPT, 250, "2.0.0", "Ok", "box@example.test", false},
    {"FILTER smtp:[192.0.2.9]:25", VERDICT_ACCEPT, 250, "2.0.0", "Ok", "smtp:[192.0.2.9]:25", true},
    {"PREPEND X-Seen: yes", VERDICT_ACCEPT, 250, "2.0.0", "Ok", "", false},
    {"", VERDICT_ACCEPT, 250, "2.0.0", "Ok", "", false},
};

static void
test_actions(void)
{
    struct config *config = configure("scan_pipeline = header body\n");

    for (size_t i = 0; i < 2 * sizeof(ACTIONS) / sizeof(ACTIONS[0]); i++) {
        size_t row = i / 2;
        struct scan_report report = {.count = 0};
        struct verdict verdict;

        doing = ACTIONS[row].action;
        for (enum scanner_id id = SCANNER_HEADER_REGEXP; id <= SCANNER_BODY_REGEXP; id++) {
            struct scan_result *result = scan_report_add(&report, id);

            result->status = (id == SCANNER_HEADER_REGEXP) == (i % 2 == 0) ? SCAN_FOUND : SCAN_CLEAN;
            result->action = bytes_str(result->status == SCAN_FOUND ? ACTIONS[row].action : "REJECT unseen");
        }
        CHECK(verdict_decide(config, envelope, &report, &verdict) == 0);
        CHECK(verdict.action == ACTIONS[row].verdict && verdict.code == ACTIONS[row].code);
        CHECK(strcmp(verdict.dsn, ACTIONS[row].dsn) == 0 && strcmp(verdict.text, ACTIONS[row].text) == 0);
        CHECK(bytes_equal(verdict.redirect, bytes_str(ACTIONS[row].redirect)));
        CHECK(verdict.redirect_is_filter == ACTIONS[row].is_filter);
        verdict_free(&verdict);
    }
    config_free(&config);
}

/* Two results, in both orders: the heavier action stands, and its reason. */
static void
test_heaviest(void)
{
    static const char *const WORDS[] = {"DUNNO", "HOLD", "QUARANTINE", "DISCARD", "TEMPFAIL", "REJECT"};
    static const enum verdict_action ACTION[] = {VERDICT_ACCEPT,  VERDICT_HOLD,     VERDICT_QUARANTINE,
                                                 VERDICT_DISCARD, VERDICT_TEMPFAIL, VERDICT_REJECT};
    struct config *config = configure("scan_pipeline = header\nvirus_action = quarantine\n");

    doing = "heaviest";
    for (size_t a = 0; a < 6; a++) {
        for (size_t b = 0; b < 6; b++) {
            struct scan_report report = {.count = 0};
            const size_t both[2] = {a, b};

            for (size_t k = 0; k < 2; k++) {
                bool virus = both[k] == 2, failed = both[k] == 4;
                struct scan_result *result =
                    scan_report_add(&report, virus ? SCANNER_CLAMAV : SCANNER_HEADER_REGEXP);

                result->status = failed ? SCAN_TEMPFAIL : SCAN_FOUND;
                result->action = bytes_str(WORDS[both[k]]);
                result->found = bytes_str(WORDS[both[k]]);
                result->detail = bytes_str(WORDS[both[k]]);
            }
            if (a == 2 && b == 2) {
                scan_report_add(&report, SCANNER_HEADER_REGEXP)->status = SCAN_CLEAN;
            }
            struct verdict verdict;
            size_t heavy = a > b ? a : b;
            CHECK(verdict_decide(config, envelope, &report, &verdict) == 0);
            CHECK(verdict.action == ACTION[heavy]);
            CHECK(heavy == 0 || strstr(verdict.reason, WORDS[heavy]) != NULL);
            verdict_free(&verdict);
        }
    }
    config_free(&config);
}

static const struct {
    const char *settings;
    int32_t score;
    enum scan_status status;
    enum verdict_action action;
    const char *header;
} POINTS[] = {
    {"", 14999, SCAN_FOUND, VERDICT_ACCEPT, "X-Spam-Flag: YES\r\nX-Spam-Level: **************\r\n"},
    {"", 15000, SCAN_FOUND, VERDICT_REJECT, "X-Spam-Status: Yes, score=15.0 required=5.0\r\n\ttests=A,B\r\n"},
    /* the level decides, not what spamd thinks of it */
    {"", 15000, SCAN_CLEAN, VERDICT_REJECT, "X-Spam-Status: Yes"},
    {"", -1260, SCAN_CLEAN, VERDICT_ACCEPT, "X-Spam-Status: No, score=-1.3 required=5.0\r\n"},
    {"", -40, SCAN_CLEAN, VERDICT_ACCEPT, "X-Spam-Status: No, score=0.0 required=5.0\r\n"},
    {"spam_reject_level =\n", 1000000, SCAN_FOUND, VERDICT_ACCEPT, "X-Spam-Flag: YES\r\n"},
    {"spam_reject_level =\nspam_quarantine_level = 6.25\n", 6249, SCAN_FOUND, VERDICT_ACCEPT, "X-Spam-Flag"},
    {"spam_reject_level =\nspam_quarantine_level = 6.25\n", 6250, SCAN_FOUND, VERDICT_QUARANTINE,
     "score=6.3"},
    {"spam_quarantine_level = 6\n", 20000, SCAN_FOUND, VERDICT_REJECT, "X-Spam-Flag"},
    {"spam_tag_level = 6.25\n", 6249, SCAN_FOUND, VERDICT_ACCEPT,
     "X-Spam-Status: No, score=6.2 required=6.3"},
    {"spam_tag_level = 6.25\n", 6250, SCAN_FOUND, VERDICT_ACCEPT, "X-Spam-Status: Yes"},
    {"spam_tag_level = -0.5\n", 0, SCAN_CLEAN, VERDICT_ACCEPT, "X-Spam-Status: Yes, score=0.0 required=-0.5"},
    {"spam_tag_level = -1.5\n", -2000, SCAN_CLEAN, VERDICT_ACCEPT,
     "X-Spam-Status: No, score=-2.0 required=-1.5"},
    {"spam_tag_level =\n", 4400, SCAN_CLEAN, VERDICT_ACCEPT, "X-Spam-Status: Yes, score=4.4 required=4.2"},
    {"spam_reject_level = .5\n", 500, SCAN_CLEAN, VERDICT_REJECT, "score=0.5"},
    {"spam_reject_level = 99999999999\n", 999000000, SCAN_FOUND, VERDICT_ACCEPT, "X-Spam-Status: Yes"},
};

static void
test_points(void)
{
    for (size_t i = 0; i < sizeof(POINTS) / sizeof(POINTS[0]); i++) {
        struct scan_report report = {.count = 0};
        char settings[256];
        struct verdict verdict;

        (void)snprintf(settings, sizeof(settings), "scan_pipeline = spamassassin\n%s", POINTS[i].settings);
        doing = POINTS[i].header;
        struct config *config = configure(settings);
        struct scan_result *result = scan_report_add(&report, SCANNER_SPAMASSASSIN);
        *result = (struct scan_result){.scanner = SCANNER_SPAMASSASSIN,
                                       .status = POINTS[i].status,
                                       .score_milli = POINTS[i].score,
                                       .threshold_milli = 4200,
                                       .found = BYTES_LIT("A,B")};
        CHECK(verdict_decide(config, envelope, &report, &verdict) == 0);
        CHECK(verdict.action == POINTS[i].action);
        CHECK(strstr(buf_str(&verdict.headers), POINTS[i].header) != NULL);
        verdict_free(&verdict);
        config_free(&config);
    }
}

/* One result and the fields it makes; every line ends in CRLF and no field is broken by what was found. */
static const struct {
    const char *pipeline, *settings;
    struct scan_result result;
    const char *headers;
} HEADERS[] = {
    {"clamav",
     "",
     {.scanner = SCANNER_CLAMAV, .status = SCAN_CLEAN},
     "X-Virus-Scanned: ClamAV by Estafeta\r\n"},
    {"clamav",
     "virus_action = tag\n",
     {.scanner = SCANNER_CLAMAV, .status = SCAN_FOUND, .found = BYTES_LIT("Win.Test\r\nX: y")},
     "X-Virus-Status: infected (Win.Test??X: y)\r\n"},
    {"clamav", "", {.scanner = SCANNER_CLAMAV, .status = SCAN_SKIPPED}, ""},
    {"clamav", "scan_failure_action = hold\n", {.scanner = SCANNER_CLAMAV}, ""},
    {"clamav",
     "scan_failure_action = accept\n",
     {.scanner = SCANNER_CLAMAV},
     "X-Estafeta-Unscanned: clamav\r\n"},
    {"spf",
     "",
     {.scanner = SCANNER_SPF, .status = SCAN_CLEAN, .auth = AUTH_PASS, .domain = BYTES_LIT("example.com")},
     "Authentication-Results: gw.example.test;\r\n\tspf=pass smtp.mailfrom=\"ana@example.com\"\r\n"
     "Received-SPF: pass (gw.example.test: example.com)\r\n\tclient-ip=192.0.2.1; "
     "envelope-from=\"ana@example.com\"; helo=mail.example.com;\r\n\tidentity=mailfrom; "
     "receiver=gw.example.test\r\n"},
    /* an explanation is the sending domain's own text: it must not leave the comment */
    {"spf",
     "spf_action = tag\n",
     {.scanner = SCANNER_SPF,
      .status = SCAN_FOUND,
      .auth = AUTH_FAIL,
      .detail = BYTES_LIT("no) client-ip=203.0.113.1; x: (see\\ x)")},
     "Authentication-Results: gw.example.test;\r\n\tspf=fail smtp.mailfrom=\"ana@example.com\"\r\n"
     "Received-SPF: fail (gw.example.test: no_ client-ip=203.0.113.1; x: _see_ x_)\r\n\tclient-ip=192.0.2.1; "
     "envelope-from=\"ana@example.com\"; helo=mail.example.com;\r\n\tidentity=mailfrom; "
     "receiver=gw.example.test\r\n"},
    {"dkim",
     "",
     {.scanner = SCANNER_DKIM,
      .status = SCAN_CLEAN,
      .auth = AUTH_PASS,
      .domain = BYTES_LIT("example.com"),
      .selector = BYTES_LIT("s1")},
     "Authentication-Results: gw.example.test;\r\n\tdkim=pass header.d=example.com header.s=s1\r\n"},
    {"dkim",
     "",
     {.scanner = SCANNER_DKIM,
      .status = SCAN_FOUND,
      .auth = AUTH_FAIL,
      .detail = BYTES_LIT("body \"hash\"\r\nbad"),
      .domain = BYTES_LIT("example.com")},
     "Authentication-Results: gw.example.test;\r\n\tdkim=fail reason=\"body \\\"hash\\\"??bad\" "
     "header.d=example.com header.s=\"\"\r\n"},
    {"dkim",
     "",
     {.scanner = SCANNER_DKIM, .status = SCAN_CLEAN, .auth = AUTH_NONE},
     "Authentication-Results: gw.example.test;\r\n\tdkim=none\r\n"},
    {"header",
     "",
     {.scanner = SCANNER_HEADER_REGEXP, .status = SCAN_FOUND, .action = BYTES_LIT("PREPEND X-Seen: yes")},
     "X-Seen: yes\r\n"},
    /* $1 of a folded field brings its line break along */
    {"header",
     "",
     {.scanner = SCANNER_HEADER_REGEXP,
      .status = SCAN_FOUND,
      .action = BYTES_LIT("PREPEND X-Copy: a\n b\nc\r\n\r\nd")},
     "X-Copy: a\r\n b\r\n c\r\n d\r\n"},
};

static void
test_headers(void)
{
    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]); i++) {
        struct scan_report report = {.results = {HEADERS[i].result}, .count = 1};
        char settings[256];
        struct verdict verdict;

        (void)snprintf(settings, sizeof(settings), "scan_pipeline = %s\n%s", HEADERS[i].pipeline,
                       HEADERS[i].settings);
        doing = HEADERS[i].headers;
        struct config *config = configure(settings);
        CHECK(verdict_decide(config, envelope, &report, &verdict) == 0);
        if (strcmp(buf_str(&verdict.headers), HEADERS[i].headers) != 0) {
            (void)fprintf(stderr, "%s", buf_str(&verdict.headers));
            CHECK(!"headers");
        }
        verdict_free(&verdict);
        config_free(&config);
    }
}

/* The null sender: HELO is what SPF was about. */
static void
test_null_sender(void)
{
    struct config *config = configure("scan_pipeline = spf\n");
    struct scan_report report = {.count = 0};
    struct verdict verdict;

    doing = "null sender";
    CHECK(envelope_set_sender(envelope, (struct bytes){0}) == 0);
    struct scan_result *result = scan_report_add(&report, SCANNER_SPF);
    result->status = SCAN_CLEAN;
    result->auth = AUTH_NEUTRAL;
    CHECK(verdict_decide(config, envelope, &report, &verdict) == 0);
    CHECK(strstr(buf_str(&verdict.headers), "spf=neutral smtp.helo=mail.example.com\r\n") != NULL);
    CHECK(strstr(buf_str(&verdict.headers),
                 "envelope-from=\"\"; helo=mail.example.com;\r\n\tidentity=helo;") != NULL);
    verdict_free(&verdict);
    config_free(&config);
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0); /* links the table of messages, which base needs and message holds */
    envelope = envelope_new();
    if (mkdtemp(directory) == NULL || envelope == NULL ||
        envelope_set_sender(envelope, BYTES_LIT("ana@example.com")) != 0 ||
        net_addr_parse(BYTES_LIT("192.0.2.1"), &envelope->session.client) != 0) {
        return 2;
    }
    (void)snprintf(envelope->session.helo, sizeof(envelope->session.helo), "mail.example.com");
    test_table();
    test_missing();
    test_actions();
    test_heaviest();
    test_points();
    test_headers();
    test_null_sender();
    envelope_free(&envelope);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/master.cf", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    return failures != 0;
}
