/*
 * ctl_ask - see the header. Before: ctl_why.c, ctl_quarantine.c; after: queue_ctl.c, service_ctl.c on the
 * other end.
 */
#include "ctl/ctl_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/pack.h"
#include "config/pid_file.h"

enum { QUESTION_MAX = 1024 * 1024, PATH_SIZE = 4096, WHY_MAX = 65536, QUESTION_ID = 1 };

struct config *
ctl_load_config(int *argc, char **argv)
{
    const char *directory = NULL;
    struct config *config = NULL;
    struct buf why;

    if (pid_file_directory(argc, argv, &directory) != 0) {
        (void)fprintf(stderr, "%s: fatal: -c wants the name of a configuration directory\n", argv[0]);
        return NULL;
    }
    buf_init(&why, WHY_MAX);
    if (config_load(directory, &config, &why) != 0) {
        (void)fprintf(stderr, "%s: fatal: %s\n", argv[0], buf_str(&why));
    }
    buf_free(&why);
    return config;
}

int
ctl_complain(const char *command, int error, const struct wire_status *end)
{
    static const struct {
        int error, status;
        const char *text;
    } KNOWN[] = {
        {GW_ERR_SYS, EX_UNAVAILABLE, "the gateway does not run, or this user may not talk to it"},
        {GW_ERR_EOF, EX_TEMPFAIL, "the gateway closed the connection; try again"},
        {GW_ERR_TIMEOUT, EX_TEMPFAIL, "no answer in time; try again"},
        {GW_ERR_NOTFOUND, 1, "not found"},
    };
    const char *detail = end != NULL && end->detail[0] != '\0' ? end->detail : NULL;

    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++) {
        if (KNOWN[i].error == error) {
            (void)fprintf(stderr, "%s: %s\n", command, detail != NULL ? detail : KNOWN[i].text);
            return KNOWN[i].status;
        }
    }
    (void)fprintf(stderr, "%s: %s\n", command, detail != NULL ? detail : gw_strerror(error));
    return EX_SOFTWARE;
}

static int
connect_to(const struct config *config, enum role server, struct ipc_channel **channel_r)
{
    char path[PATH_SIZE];

    *channel_r = NULL;
    int n = snprintf(path, sizeof(path), "%s/jail/%s", config_str(config, P_queue_directory),
                     role_name(ROLE_CTL));
    if (n < 0 || (size_t)n >= sizeof(path) || chdir(path) == -1) {
        return GW_ERR_SYS;
    }
    return ipc_connect(ROLE_CTL, server, channel_r);
}

static int
read_answer(struct ipc_channel *channel, int64_t wait_ms, ctl_piece *piece, void *context,
            struct wire_status *end_r)
{
    struct ipc_message message;
    int r;

    for (;;) {
        r = ipc_receive(channel, clock_monotonic_ms() + wait_ms, &message);
        if (r == GW_ERR_AGAIN) {
            continue;
        }
        if (r != 0) {
            return r;
        }
        bool is_end = message.type == WIRE_CTL_END;
        if (is_end) {
            r = wire_status_unpack(message.payload, end_r) != 0 ? GW_ERR_PEER : 0;
        } else if (piece != NULL) {
            r = piece(context, &message);
        }
        ipc_message_free(&message);
        if (is_end || r != 0) {
            return r;
        }
    }
}

int
ctl_ask(const struct config *config, enum role server, const char *const *words, size_t count,
        int64_t wait_ms, ctl_piece *piece, void *context, struct wire_status *end_r)
{
    struct ipc_channel *channel = NULL;
    struct buf question;
    int r;

    *end_r = (struct wire_status){.code = GW_ERR_INTERNAL};
    buf_init(&question, QUESTION_MAX);
    if (count > CTL_ASK_WORDS_MAX) {
        r = GW_ERR_LIMIT;
        goto out;
    }
    r = pack_u16(&question, (uint16_t)count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = pack_str(&question, words[i]);
    }
    if (r != 0 || (r = connect_to(config, server, &channel)) != 0) {
        goto out;
    }
    r = ipc_send(channel, WIRE_CTL_ASK, QUESTION_ID, bytes_buf(&question), NULL, 0);
    if (r == 0) {
        r = read_answer(channel, wait_ms, piece, context, end_r);
    }
out:
    ipc_channel_free(&channel);
    buf_free(&question);
    return r;
}
