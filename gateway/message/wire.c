/*
 * wire - IPC_RULES: who may send what to whom, in which phase, how long and with how many descriptors.
 *
 * The whole trust between roles is this table; the forms are in session.c, wire_queue.c and
 * wire_policy.c. A message that has no row here cannot be sent and is never received. The worker connections
 * of relay and deliver are the only ones with phases: a result counts only while a job is out.
 */
#include "message/wire.h"

#include "base/dns.h"
#include "base/error.h"
#include "base/pack.h"

enum {
    SMALL = 1024,
    TEXT = 8192,
    QUERY_MAX = 1024,
    ANSWER_MAX = DNS_ANSWER_BYTES_MAX + 65536,
    EVIDENCE_MAX = 256 * 1024,
    NOTICE_MAX = 128 * 1024,
    RESULT_MAX = 16 * 1024 * 1024,
    LINES_MAX = 1024 * 1024,
};

#define ANY IPC_PHASE_ANY
#define START IPC_PHASE_START
#define ASKS_DNS(role)                                             \
    {DNS_IPC_QUERY, role, ROLE_RESOLVER, ANY, 0, 0, QUERY_MAX},    \
    {                                                              \
        DNS_IPC_ANSWER, ROLE_RESOLVER, role, ANY, 0, 0, ANSWER_MAX \
    }
#define SUBMITS(role)                                            \
    {WIRE_SUBMIT, role, ROLE_QUEUE, ANY, 0, 1, IPC_PAYLOAD_MAX}, \
    {                                                            \
        WIRE_SUBMITTED, ROLE_QUEUE, role, ANY, 0, 0, TEXT        \
    }
#define WORKS(role)                                                                         \
    {WIRE_WORKER, role, ROLE_QUEUE, START, WIRE_PHASE_IDLE, 0, SMALL},                      \
        {WIRE_JOB, ROLE_QUEUE, role, WIRE_PHASE_IDLE, WIRE_PHASE_BUSY, 1, IPC_PAYLOAD_MAX}, \
    {                                                                                       \
        WIRE_RESULT, role, ROLE_QUEUE, WIRE_PHASE_BUSY, WIRE_PHASE_IDLE, 0, RESULT_MAX      \
    }
#define TELLS(role)                                              \
    {WIRE_EVIDENCE, role, ROLE_POLICY, ANY, 0, 0, EVIDENCE_MAX}, \
    {                                                            \
        WIRE_NOTICE, role, ROLE_POLICY, ANY, 0, 0, NOTICE_MAX    \
    }
#define OPERATES(server)                                         \
    {WIRE_CTL_ASK, ROLE_CTL, server, ANY, 0, 0, LINES_MAX},      \
        {WIRE_CTL_LINE, server, ROLE_CTL, ANY, 0, 0, LINES_MAX}, \
        {WIRE_CTL_FILE, server, ROLE_CTL, ANY, 0, 1, LINES_MAX}, \
    {                                                            \
        WIRE_CTL_END, server, ROLE_CTL, ANY, 0, 0, TEXT          \
    }

const struct ipc_rule IPC_RULES[] = {
    ASKS_DNS(ROLE_SCREEN),
    ASKS_DNS(ROLE_RECEIVE),
    ASKS_DNS(ROLE_SCAN),
    ASKS_DNS(ROLE_POLICY),
    ASKS_DNS(ROLE_QUEUE),
    ASKS_DNS(ROLE_RELAY),

    {WIRE_HANDOVER, ROLE_SCREEN, ROLE_RECEIVE, ANY, 0, 1, EVIDENCE_MAX},

    SUBMITS(ROLE_RECEIVE),
    SUBMITS(ROLE_POLICY),
    SUBMITS(ROLE_SUBMIT),
    SUBMITS(ROLE_DELIVER),
    WORKS(ROLE_RELAY),
    WORKS(ROLE_DELIVER),

    {WIRE_SCAN, ROLE_RECEIVE, ROLE_SCAN, ANY, 0, 1, IPC_PAYLOAD_MAX},
    {WIRE_REPORT, ROLE_SCAN, ROLE_RECEIVE, ANY, 0, 0, EVIDENCE_MAX},

    {WIRE_GREYLIST, ROLE_RECEIVE, ROLE_POLICY, ANY, 0, 0, TEXT},
    {WIRE_GREYLIST_ANSWER, ROLE_POLICY, ROLE_RECEIVE, ANY, 0, 0, SMALL},
    {WIRE_ALLOW_ASK, ROLE_SCREEN, ROLE_POLICY, ANY, 0, 0, SMALL},
    {WIRE_ALLOW_ANSWER, ROLE_POLICY, ROLE_SCREEN, ANY, 0, 0, SMALL},
    {WIRE_ALLOW_SET, ROLE_SCREEN, ROLE_POLICY, ANY, 0, 0, SMALL},
    {WIRE_ALLOW_SET, ROLE_RECEIVE, ROLE_POLICY, ANY, 0, 0, SMALL},
    TELLS(ROLE_SCREEN),
    TELLS(ROLE_RECEIVE),
    TELLS(ROLE_SCAN),
    TELLS(ROLE_QUEUE),
    TELLS(ROLE_RELAY),
    TELLS(ROLE_DELIVER),
    {WIRE_QUARANTINE, ROLE_RECEIVE, ROLE_POLICY, ANY, 0, 1, IPC_PAYLOAD_MAX},
    {WIRE_QUARANTINED, ROLE_POLICY, ROLE_RECEIVE, ANY, 0, 0, TEXT},

    OPERATES(ROLE_QUEUE),
    OPERATES(ROLE_POLICY),
    {0, ROLE_NONE, ROLE_NONE, 0, 0, 0, 0},
};

int
wire_status_pack(struct buf *buf, const struct wire_status *status)
{
    int r = pack_u32(buf, (uint32_t)status->code);

    return r == 0 ? pack_str(buf, status->detail) : r;
}

int
wire_status_unpack(struct bytes payload, struct wire_status *status_r)
{
    struct unpack u;

    unpack_begin(&u, payload);
    status_r->code = (int32_t)unpack_u32(&u);
    unpack_str(&u, status_r->detail, sizeof(status_r->detail));
    return unpack_end(&u);
}
