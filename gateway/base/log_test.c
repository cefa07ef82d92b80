/*
 * log_test - the form of a line, and that nobody forges one.
 */
#include "base/log.h"

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

enum { TEXT_MAX = 65536 };

static void
read_log(const char *path, char *text)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, TEXT_MAX - 1);

    text[n > 0 ? n : 0] = '\0';
    (void)close(fd);
}

static bool
is_like(const char *text, const char *pattern)
{
    regex_t regex;

    CHECK(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0);
    bool r = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return r;
}

static size_t
count_lines(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

int
main(void)
{
    char directory[] = "/tmp/log_test.XXXXXX", path[64], moved[64], *text = calloc(1, TEXT_MAX),
         *huge = calloc(1, TEXT_MAX);

    CHECK(mkdtemp(directory) != NULL && text != NULL && huge != NULL);
    (void)snprintf(path, sizeof(path), "%s/log", directory);
    (void)snprintf(moved, sizeof(moved), "%s/log.1", directory);
    struct log_target target = {.syslog_name = "postfix", .file = path, .fd = -1};
    CHECK(log_open(&target) == 0 && log_fd() != -1);

    log_info("smtpd", "connect from %s[%s]", "unknown", "192.0.2.1");
    read_log(path, text);
    CHECK(is_like(text, "^[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [^ .]+ "
                        "postfix/smtpd\\[[0-9]+\\]: connect from unknown\\[192\\.0\\.2\\.1\\]\n$"));

    /* A line break, an escape sequence, a NUL's neighbour: one line, no control byte. */
    log_warning("smtpd", "helo=<%s>", "x\nNov 21 06:00:00 host postfix/smtpd[1]: forged\r\x1b[2J\x7f");
    read_log(path, text);
    CHECK(count_lines(text) == 2 && strstr(text, "warning: helo=<x?Nov") != NULL &&
          strstr(text, "?[2J?>") != NULL);
    CHECK(strchr(text, '\r') == NULL && strchr(text, '\x1b') == NULL && strchr(text, '\x7f') == NULL);

    /* Over-long text is cut, the line still ends. */
    memset(huge, 'h', TEXT_MAX - 1);
    log_info("smtpd", "%s", huge);
    log_info("smtpd", "after");
    read_log(path, text);
    CHECK(count_lines(text) == 4 && is_like(text, "\\]: after\n$"));

    CHECK(rename(path, moved) == 0 && log_reopen() == 0);
    log_info("qmgr", "after rotation");
    read_log(path, text);
    CHECK(count_lines(text) == 1 && strstr(text, "postfix/qmgr[") != NULL);

    for (int i = 0; i < 3; i++) {
        log_warning_once("smtpd", "%s is historical", "check_relay_domains");
        log_warning_once("smtpd", "%s is historical", "reject_maps_rbl");
    }
    read_log(path, text);
    CHECK(count_lines(text) == 3 && is_like(text, "warning: check_relay_domains is") &&
          is_like(text, "warning: reject_maps_rbl is"));

    (void)unlink(path);
    (void)unlink(moved);
    (void)rmdir(directory);
    free(text);
    free(huge);
    return failures != 0;
}
