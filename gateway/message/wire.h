/*
 * wire - the typed messages between roles: what each is, and its byte form.
 *
 * wire.c holds IPC_RULES, the one table of who may send what to whom in which phase. A payload that does not
 * decode completely is GW_ERR_SYNTAX and means: cut the peer off.
 */
#ifndef MESSAGE_WIRE_H
#define MESSAGE_WIRE_H

#include "base/ipc.h"
#include "message/envelope.h"

enum wire_type {
    /* 1, 2: DNS_IPC_QUERY, DNS_IPC_ANSWER (base/dns.h): any role -> resolver */

    WIRE_HANDOVER = 10, /* screen -> receive: +1 fd; struct wire_handover */

    WIRE_SUBMIT = 20, /* receive, policy, ctl, deliver -> queue: envelope, +1 sealed memfd with the content */
    WIRE_SUBMITTED = 21, /* queue -> them: struct wire_status; 0 only after the commit */

    /* queue <-> relay, deliver: the worker connects, says WORKER once, then gets jobs one at a time */
    WIRE_WORKER = 30, /* worker -> queue: struct wire_worker */
    WIRE_JOB = 31,    /* queue -> worker: struct wire_job, +1 memfd with the content */
    WIRE_RESULT = 32, /* worker -> queue: struct wire_result; the worker is idle after it */

    WIRE_SCAN = 40,   /* receive -> scan: struct wire_scan, +1 sealed memfd */
    WIRE_REPORT = 41, /* scan -> receive: struct scan_report (scanners/scanner.h) */

    WIRE_GREYLIST = 50,        /* receive -> policy: struct wire_triplet */
    WIRE_GREYLIST_ANSWER = 51, /* policy -> receive: struct wire_greylist_answer */
    WIRE_ALLOW_ASK = 52,       /* screen -> policy: client address and test names; struct wire_allow */
    WIRE_ALLOW_ANSWER = 53,    /* policy -> screen: expiry per test; struct wire_allow */
    WIRE_ALLOW_SET = 54,       /* screen, receive -> policy: remember that tests were passed; no answer */
    WIRE_EVIDENCE = 55, /* screen, receive, queue, relay, deliver -> policy: one evidence record; no answer */
    WIRE_NOTICE = 56,   /* any role -> policy: struct wire_notice; no answer; grouped into postmaster mail */
    WIRE_QUARANTINE = 57,  /* receive -> policy: envelope and report, +1 memfd */
    WIRE_QUARANTINED = 58, /* policy -> receive: struct wire_status, detail = quarantine id */

    WIRE_CTL_ASK = 70,  /* ctl -> queue, policy: command words packed as u16 count and strings */
    WIRE_CTL_LINE = 71, /* queue, policy -> ctl: a piece of text output */
    WIRE_CTL_FILE = 72, /* queue, policy -> ctl: a content, +1 fd */
    WIRE_CTL_END = 73,  /* queue, policy -> ctl: struct wire_status; detail is the error text */
};

/* Phases of a worker connection. */
enum { WIRE_PHASE_IDLE = 2, WIRE_PHASE_BUSY = 4 };

enum { WIRE_DETAIL_MAX = 4096 };

struct wire_status {
    int32_t code;                 /* 0 or enum gw_error */
    char detail[WIRE_DETAIL_MAX]; /* for the log, not for the client */
};
int wire_status_pack(struct buf *buf, const struct wire_status *status);
int wire_status_unpack(struct bytes payload, struct wire_status *status_r);

/* What screen learned before handing over. */
struct wire_handover {
    struct net_addr client, server;
    char service[64]; /* the row of master.cf with type "pass" and program smtpd */
    int32_t dnsbl_score;
    uint32_t tests_passed;  /* bits: enum screen_test */
    uint32_t tests_pending; /* deep tests to run in the session: pipelining, non-SMTP, bare newline */
    bool teaser_sent;       /* "220-..." went out: the greeting continues the multi-line reply */
    struct bytes evidence;  /* packed events of the screen, prepended to the session's */
};
enum screen_test {
    SCREEN_PREGREET = 1,
    SCREEN_DNSBL = 2,
    SCREEN_PIPELINING = 4,
    SCREEN_NONSMTP = 8,
    SCREEN_BARELF = 16,
    SCREEN_TESTS_COUNT = 5
};
int wire_handover_pack(struct buf *buf, const struct wire_handover *handover);
int wire_handover_unpack(struct bytes payload,
                         struct wire_handover *handover_r); /* evidence: view into payload */

struct wire_allow {
    struct net_addr client;
    int64_t expires_s[SCREEN_TESTS_COUNT]; /* wall seconds per test bit; 0: not passed */
};
int wire_allow_pack(struct buf *buf, const struct wire_allow *allow);
int wire_allow_unpack(struct bytes payload, struct wire_allow *allow_r);

struct wire_triplet {
    struct net_addr client;
    struct bytes sender, recipient;
    char client_domain[NET_HOST_MAX]; /* SPF-authenticated domain to key on instead of the network; "" for
                                         none */
};
int wire_triplet_pack(struct buf *buf, const struct wire_triplet *triplet);
int wire_triplet_unpack(struct bytes payload, struct wire_triplet *triplet_r);
enum wire_greylist { WIRE_GREYLIST_WAIT, WIRE_GREYLIST_PASS, WIRE_GREYLIST_FIRST_PASS /* after a wait */ };
struct wire_greylist_answer {
    uint8_t pass;    /* enum wire_greylist */
    int64_t wait_s;  /* seconds left */
    int64_t first_s; /* wall time first seen */
};
int wire_greylist_answer_pack(struct buf *buf, const struct wire_greylist_answer *answer);
int wire_greylist_answer_unpack(struct bytes payload, struct wire_greylist_answer *answer_r);

enum notice_class {
    NOTICE_POLICY,
    NOTICE_SOFTWARE,
    NOTICE_RESOURCE,
    NOTICE_PROTOCOL,
    NOTICE_BOUNCE,
    NOTICE_2BOUNCE,
    NOTICE_DELAY,
    NOTICE_ALARM,
    NOTICE_CLASSES
};
struct wire_notice {
    uint8_t class;     /* enum notice_class */
    char key[128];     /* equal events have equal keys: they become one mail with a count */
    struct bytes text; /* what happened: a session transcript or an error, in words */
};
int wire_notice_pack(struct buf *buf, const struct wire_notice *notice);
int wire_notice_unpack(struct bytes payload, struct wire_notice *notice_r);

/* A worker thread of relay or deliver. */
struct wire_worker {
    uint16_t slot; /* thread number */
};
int wire_worker_pack(struct buf *buf, const struct wire_worker *worker);
int wire_worker_unpack(struct bytes payload, struct wire_worker *worker_r);

/* One delivery: some recipients of one message that share transport and next hop. */
struct wire_job {
    char transport[64];          /* service name in master.cf */
    struct bytes nexthop;        /* "[mx.example]:25", "example.com", "" for local */
    struct envelope *envelope;   /* with only the job's recipients; unpack allocates, envelope_free() frees */
    uint16_t *recipient_numbers; /* index of each in the stored envelope; count = envelope->recipient_count */
};
int wire_job_pack(struct buf *buf, const struct wire_job *job);
int wire_job_unpack(struct bytes payload, struct wire_job *job_r);
void wire_job_clear(struct wire_job *job);

enum delivery_status {
    DELIVERY_DEFERRED = 0,
    DELIVERY_SENT,
    DELIVERY_BOUNCED,
    DELIVERY_RELAYED,
    DELIVERY_EXPANDED
};
struct wire_recipient_result {
    uint16_t number;
    uint8_t status;          /* enum delivery_status */
    char dsn[12];            /* "2.0.0" */
    struct bytes reply;      /* what the next hop or the delivery said, for the log and the DSN */
    struct bytes remote_mta; /* "dns; mx.example" host part, or empty */
};
struct wire_result {
    struct wire_recipient_result *recipients;
    size_t count;
    char relay[320];                 /* "mx.example[192.0.2.1]:25", "virtual", "none": for the log line */
    char connected_to[320];          /* next hop whose connection the worker still holds open; "" for none */
    int64_t connect_us, transfer_us; /* for delays=a/b/c/d */
    struct bytes expanded;           /* aliases: packed recipients to add; empty for none */
    uint8_t site_down;               /* the destination could not be reached at all: back off for it */
};
int wire_result_pack(struct buf *buf, const struct wire_result *result);
int wire_result_unpack(struct arena *arena, struct bytes payload, struct wire_result *result_r);

/* What a scan worker needs to know beside the content. */
struct wire_scan {
    struct envelope *envelope; /* sender, recipients, session facts, queue id */
    bool trusted;              /* from mynetworks or authenticated: SPF is skipped */
    int64_t budget_ms;         /* scan_time_limit */
};
int wire_scan_pack(struct buf *buf, const struct wire_scan *scan);
int wire_scan_unpack(struct bytes payload, struct wire_scan *scan_r);

#endif
