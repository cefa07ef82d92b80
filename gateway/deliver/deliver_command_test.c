/*
 * deliver_command_test - what a program gets, and what its end means for the mail.
 *
 * Shows of contract.tsv: DMN13 FIL6.
 */
#include "deliver/deliver_command.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

static int failures;
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                \
        }                                                              \
    } while (0)

static const struct {
    const char *script;
    enum delivery_status status;
    const char *dsn;
    const char *text; /* part of it */
} CASES[] = {
    {"cat >/dev/null", DELIVERY_SENT, "2.0.0", "delivered via x service"},
    {"echo stored", DELIVERY_SENT, "2.0.0", "delivered via x service (stored)"},
    {"exit 75", DELIVERY_DEFERRED, "4.3.0", "temporary failure"},
    {"exit 71", DELIVERY_DEFERRED, "4.3.0", "system resource problem"},
    {"exit 67", DELIVERY_BOUNCED, "5.1.1", "user unknown"},
    {"exit 69", DELIVERY_BOUNCED, "5.3.0", "service unavailable"},
    {"exit 78", DELIVERY_BOUNCED, "5.3.5", "configuration"},
    {"exit 1", DELIVERY_BOUNCED, "5.3.0", "Command died with status 1: \"/bin/sh\""},
    {"echo broken >&2; exit 1", DELIVERY_BOUNCED, "5.3.0", "Command output: broken"},
    {"echo 4.2.2 mailbox full; exit 1", DELIVERY_DEFERRED, "4.2.2", "mailbox full"},
    {"echo 5.2.2 over quota; exit 75", DELIVERY_BOUNCED, "5.2.2", "over quota"},
    {"kill -9 $$", DELIVERY_DEFERRED, "4.3.0", "signal 9"},
    {"test \"$(cat | tr '\\n' '|')\" = 'Return-Path: <s@x.test>|A: b||text|'", DELIVERY_SENT, "2.0.0",
     "delivered"},
    {"test -z \"$HOME$USER$LD_PRELOAD\" && test \"$PATH\" = /bin:/usr/bin", DELIVERY_SENT, "2.0.0",
     "delivered"},
    {"test \"$(pwd)\" = /", DELIVERY_SENT, "2.0.0", "delivered"},
    {"ls -l /proc/self/fd | grep -q memfd:secret && exit 1; exit 0", DELIVERY_SENT, "2.0.0", "delivered"},
    {"yes | head -c 1000000", DELIVERY_SENT, "2.0.0", "delivered"},
};

static void
run(char *const *argv, const char *script, int64_t limit_ms, struct deliver_outcome *outcome)
{
    static char *const ENVIRONMENT[] = {"PATH=/bin:/usr/bin", NULL};
    static const char CONTENT[] = "A: b\r\n\r\ntext\r\n";
    struct deliver_owner owner = {.uid = geteuid(), .gid = getegid()};
    struct deliver_message message = {
        .content_fd = memfd_create("content", MFD_CLOEXEC),
        .size = sizeof(CONTENT) - 1,
        .sender = BYTES_LIT("s@x.test"),
        .form = DELIVER_RETURN_PATH,
    };
    char *shell[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script,
                     NULL};
    struct deliver_command command = {
        .argv = argv != NULL ? argv : shell,
        .environment = ENVIRONMENT,
        .owner = &owner,
        .message = &message,
        .limit_ms = limit_ms,
        .sent_text = "delivered via x service",
    };

    CHECK(write(message.content_fd, CONTENT, sizeof(CONTENT) - 1) == (ssize_t)sizeof(CONTENT) - 1);
    deliver_command_run(&command, outcome);
    (void)close(message.content_fd);
}

int
main(void)
{
    struct deliver_outcome outcome;
    int secret = memfd_create("secret", 0); /* not close-on-exec: the program must not get it all the same */

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        memset(&outcome, 0, sizeof(outcome));
        run(NULL, CASES[i].script, 20000, &outcome);
        if (outcome.status != CASES[i].status || strcmp(outcome.dsn, CASES[i].dsn) != 0 ||
            strstr(outcome.text, CASES[i].text) == NULL) {
            fprintf(stderr, "\"%s\": %d %s \"%s\"\n", CASES[i].script, (int)outcome.status, outcome.dsn,
                    outcome.text);
            failures++;
        }
    }
    char *missing[] = {(char *)(uintptr_t) "/no/such/program", NULL};
    run(missing, NULL, 20000, &outcome);
    CHECK(outcome.status == DELIVERY_DEFERRED);
    int64_t start_ms = clock_monotonic_ms();
    run(NULL, "sleep 60", 300, &outcome);
    CHECK(strstr(outcome.text, "time limit exceeded") != NULL && clock_monotonic_ms() - start_ms < 10000);
    (void)close(secret);
    return failures != 0;
}
