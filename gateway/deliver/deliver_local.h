/*
 * deliver_local - what the files of local delivery share: the settings of one row, the delivery under way,
 * and the step of its expansion.
 *
 * A recipient is walked like a tree: alias, .forward and :include: lead to further items, each a step with
 * the rights, the sender and the origin that Postfix gives it (local(8)). The leaves are mailboxes, commands
 * and files, delivered at once, and addresses elsewhere, which are sent on as a new message at the end, when
 * no leaf has to be tried again.
 */
#ifndef DELIVER_DELIVER_LOCAL_H
#define DELIVER_DELIVER_LOCAL_H

#include "base/arena.h"
#include "deliver/deliver_owner.h"
#include "deliver/deliver_transport.h"
#include "policy/route.h"

enum {
    DELIVER_LEVEL_MAX = 100,   /* of aliases inside aliases */
    DELIVER_ITEMS_MAX = 50000, /* items of one recipient's expansion, repetitions included */
    DELIVER_SLOTS_MAX = 64,    /* threads of the role */
    DELIVER_ARENA_MAX = 32 * 1024 * 1024,
};

/* Where an item stands; also bits of allow_mail_to_commands and allow_mail_to_files. */
enum deliver_origin {
    DELIVER_FROM_MAIL = 0,
    DELIVER_FROM_ALIAS = 1,
    DELIVER_FROM_FORWARD = 2,
    DELIVER_FROM_INCLUDE = 4
};

struct deliver_alias_source;
struct deliver_seen;
struct deliver_forwards;
struct reinjection;

struct deliver_local {
    struct table_list *aliases;
    bool aliases_broken; /* could not be opened: local mail waits */
    struct deliver_alias_source *sources;
    size_t source_count;
    struct router *router;            /* NULL: could not be opened, what leads elsewhere waits */
    struct deliver_user default_user; /* default_privs */
    bool default_known;
    unsigned commands_from, files_from; /* enum deliver_origin */
    bool header_command, header_file, header_forward;
    struct reinjection *doors[DELIVER_SLOTS_MAX]; /* each its thread's alone */
};

/* One recipient of a job. */
struct deliver_run {
    const struct deliver_transport *transport;
    const struct deliver_task *task;
    size_t index;
    unsigned slot;
    struct arena *arena;
    struct deliver_seen *seen;
    struct deliver_forwards *forwards;
    struct bytes recipient;         /* for Delivered-To: where the delivery began */
    struct deliver_outcome outcome; /* of all leaves: deferred before bounced before sent */
    bool has_outcome;
    unsigned items;
    struct bytes forward_sender; /* of the addresses being added */
};

struct deliver_step {
    struct bytes address;                        /* whole */
    struct bytes local, user, extension, domain; /* its parts; local, user, extension in lower case */
    bool is_plain;                               /* "\name": no alias, no .forward */
    unsigned level;
    enum deliver_origin origin;
    struct bytes alias;      /* whose expansion this is; empty when none */
    struct bytes list_owner; /* set: other local users get a message of their own */
    struct bytes sender;
    const struct deliver_user *user_rights; /* NULL: default_privs */
};

/* Adds what became of one leaf. */
void deliver_run_settle(struct deliver_run *run, const struct deliver_outcome *leaf);
void deliver_run_say(struct deliver_run *run, enum delivery_status status, const char *dsn,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* deliver_expand.c: an address, and the items of a right-hand side. */
void deliver_expand_recipient(struct deliver_run *run, const struct deliver_step *step);
/* step: whose list this is. Returns the number of items. */
unsigned deliver_expand_list(struct deliver_run *run, const struct deliver_step *step, struct bytes list);
/* The lines of a file: comments and empty lines are skipped. */
unsigned deliver_expand_lines(struct deliver_run *run, const struct deliver_step *step, struct bytes text);
/* False: bad syntax, which was said. address may be without a domain. */
bool deliver_expand_split(struct deliver_run *run, struct bytes address, struct deliver_step *step);

/* deliver_dotforward.c. True: there is one, and it was followed. */
bool deliver_dotforward_run(struct deliver_run *run, const struct deliver_step *step,
                            const struct deliver_user *user);
void deliver_include_run(struct deliver_run *run, const struct deliver_step *step, struct bytes path);

/* deliver_target.c: the leaves here. */
void deliver_target_mailbox(struct deliver_run *run, const struct deliver_step *step,
                            const struct deliver_user *user);
void deliver_target_command(struct deliver_run *run, const struct deliver_step *step, struct bytes command);
void deliver_target_file(struct deliver_run *run, const struct deliver_step *step, struct bytes path);
/* Expands $user, $home ... of text; what the values may not hold becomes "_". GW_ERR_NOTFOUND: text names
 * something that is not there. */
int deliver_target_expand(struct deliver_run *run, const struct deliver_step *step,
                          const struct deliver_user *user, struct bytes text, const char *allowed,
                          struct buf *out);

/* 0, GW_ERR_NOTFOUND, GW_ERR_TEMP. */
int deliver_user_find(struct deliver_run *run, struct bytes name, const struct deliver_user **user_r);

#endif
