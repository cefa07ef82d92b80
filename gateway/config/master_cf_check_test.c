/*
 * master_cf_check_test - what is said about rows of master.cf, and what is left of them.
 *
 * Shows of contract.tsv: MST2 MST8 MST9 MST10 MST11 MSL15 MSL30.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

static char top[] = "/tmp/master_cf_check_test.XXXXXX";

static void
write_file(const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (file != NULL) {
        (void)fputs(text, file);
        CHECK(fclose(file) == 0);
    }
}

static const struct {
    const char *rows;
    size_t kept;
    const char *said; /* NULL: nothing about master.cf */
} CASES[] = {
    {"smtp inet n - n - - smtpd\n", 1, NULL},
    {"lmtpl unix - - n - - lmtpl\nsmtp inet n - n - - smtpd\n", 1,
     ":1: error: service lmtpl: unknown program \"lmtpl\"; did you mean lmtp?; the row is left out"},
    {"uucpl unix - n n - - pipel\n  user=uucpl argv=uux\n", 0, "did you mean pipe?"},
    {"x unix - - n - - something-else\n", 0, "unknown program \"something-else\"; the row is left out"},
    {"qmgr fifo n - n 300 5 qmgr\n", 1,
     ":1: warning: service qmgr: program qmgr must be a single process: maxproc 5 is taken for 1"},
    {"qmgr fifo n - n 300 1 nqmgr\n", 1, "program nqmgr is called qmgr now"},
    {"pickup fifo n - n 60 0 pickup\n", 1, "maxproc 0 is taken for 1"},
    {"tlsmgr fifo - - n 300 - tlsmgr\n", 1, NULL},
    {"cleanup unix n - n - 0 cleanup\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n", 3, NULL},
    {"flush unix n - n 1000? 0 flush\nshowq unix n - n - - showq\n", 2, NULL},
    {"local unix - n y - - local\n", 1, "program local cannot run chrooted"},
    {"virtual unix - - n - - virtual\n", 1, "the unprivileged column is not followed"},
    {"smtp inet n - n - - smtpd oops\n", 1, "unexpected command-line argument \"oops\""},
    {"smtp inet n - n - - smtpd -v -v -D -o { smtpd_banner = a b } -o content_filter=\n", 1, NULL},
    {"smtp unix - - n - - smtp\nsmtp inet n - n - - smtpd\nsmtp unix - - n - 7 smtp\n", 2,
     ":1: warning: service smtp/unix: row at line 3 again; the later one counts"},
    {"smtp unix - - n - $default_process_limit /usr/lib/postfix/smtp\n", 1, NULL},
    {"smtp unix - - - - - smtp\n", 1, NULL},
};

static void
test_cases(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct config *config = NULL;
        struct buf why;

        buf_init(&why, 65536);
        write_file("master.cf", CASES[i].rows);
        CHECK(config_load(top, &config, &why) == 0);
        const char *about = strstr(buf_str(&why), "master.cf:");
        bool ok = config != NULL && config_service_count(config) == CASES[i].kept &&
                  (CASES[i].said == NULL ? about == NULL : strstr(buf_str(&why), CASES[i].said) != NULL);
        if (!ok) {
            fprintf(stderr, "%s%s\n", CASES[i].rows, buf_str(&why));
            failures++;
        }
        for (size_t n = 0; config != NULL && n < config_service_count(config); n++) {
            const struct config_service *row = config_service(config, n);

            CHECK(strchr(row->program, '/') == NULL);
            CHECK(strcmp(row->program, "qmgr") != 0 || row->max_processes == 1);
            CHECK(row->line != 3 || row->max_processes != -1 || strcmp(row->name, "defer") == 0);
        }
        config_free(&config);
        buf_free(&why);
    }
}

/* "-" in the chroot column: y at level 0, n from 1 on. */
static void
test_chroot(void)
{
    static const struct {
        const char *level;
        bool chroot;
    } LEVELS[] = {{"", true},
                  {"compatibility_level = 0\n", true},
                  {"compatibility_level = 1\n", false},
                  {"compatibility_level = 3.6\n", false}};

    write_file("master.cf", "a unix - - - - - smtp\nb unix - - n - - smtp\nc unix - - y - - smtp\n");
    for (size_t i = 0; i < sizeof(LEVELS) / sizeof(LEVELS[0]); i++) {
        struct config *config = NULL;
        struct buf why;

        buf_init(&why, 65536);
        write_file("main.cf", LEVELS[i].level);
        CHECK(config_load(top, &config, &why) == 0);
        if (config != NULL) {
            CHECK(config_service(config, 0)->chroot == LEVELS[i].chroot);
            CHECK(!config_service(config, 1)->chroot && config_service(config, 2)->chroot);
            CHECK((strstr(buf_str(&why), "using backwards-compatible default setting chroot=y: lines 1\n") !=
                   NULL) == LEVELS[i].chroot);
        }
        config_free(&config);
        buf_free(&why);
    }
}

int
main(void)
{
    char command[300];

    CHECK(mkdtemp(top) != NULL);
    write_file("main.cf", "compatibility_level = 3.6\nmyhostname = gw.test\n");
    test_cases();
    test_chroot();
    (void)snprintf(command, sizeof(command), "rm -rf %s", top);
    CHECK(system(command) == 0);
    return failures != 0;
}
