/*
 * evidence - the ordered record of what was seen and decided about one session and its messages.
 *
 * A record is a header (version, session id, role, start time) and typed events: test, table lookup (table,
 * key, line), DNS answer, scanner result, reply, decision, delivery, each with its time since the start. It
 * is complete enough to run the decision again. Roles append events to a buffer and send the record to the
 * policy role (WIRE_EVIDENCE), which keeps journal.lmdb and answers `estafeta why`. The format is
 * gateway/doc/evidence.md.
 */
#ifndef POLICY_EVIDENCE_H
#define POLICY_EVIDENCE_H

#include "base/bytes.h"
#include "message/session.h"

enum { EVIDENCE_VERSION = 1, EVIDENCE_RECORD_MAX = 65536, EVIDENCE_TEXT_MAX = 1024 };

enum evidence_kind {
    EV_CONNECT = 1, /* subject client[addr]:port, detail service */
    EV_SCREEN,      /* subject test, value pass|fail|skip, detail */
    EV_COMMAND,     /* subject verb, value reply code, detail argument */
    EV_LOOKUP,      /* subject table, key, value result, number line */
    EV_DNS,         /* subject name, key type, value status or data */
    EV_RESTRICTION, /* subject word, value permit|reject|defer|dunno, detail */
    EV_GREYLIST,
    EV_SCAN,     /* subject scanner, value status, detail found; number elapsed us */
    EV_VERDICT,  /* subject action, value reply */
    EV_QUEUE,    /* subject queue id, value sender, detail recipients */
    EV_DELIVERY, /* subject recipient, key relay, value status, detail reply */
    EV_QUARANTINE,
    EV_NOTE,
    EV_KINDS
};

struct evidence {
    struct buf record;
    int64_t started_us; /* monotonic, for the events' offsets */
    uint32_t dropped;   /* events that did not fit: counted, told at the end */
};

/* Starts a new record; one that was begun before must have been freed. ident: the session id
 * (session_facts.ident); role: who writes. */
int evidence_begin(struct evidence *evidence, const char *ident, const char *role);
/* evidence may be NULL. Views are copied and cut at EVIDENCE_TEXT_MAX. Never fails the caller: what does not
 * fit is counted. */
void evidence_add(struct evidence *evidence, enum evidence_kind kind, struct bytes subject, struct bytes key,
                  struct bytes value, struct bytes detail, int64_t number);
void evidence_free(struct evidence *evidence);

struct evidence_event {
    uint8_t kind;
    int64_t offset_us;
    struct bytes subject, key, value, detail;
    int64_t number;
};
struct evidence_head {
    uint8_t version;
    char ident[32];
    char role[16];
    int64_t wall_us;
    uint32_t dropped; /* events that did not fit */
};
/* Reading: head once, then events until 0; views point into *rest. An event stands alone: the events of one
 * record may be appended to another (screen's to the session's). 1 an event, 0 the end, GW_ERR_SYNTAX. */
int evidence_read_head(struct bytes *rest, struct evidence_head *head_r);
int evidence_read_event(struct bytes *rest, struct evidence_event *event_r);
const char *evidence_kind_name(uint8_t kind);

#endif
