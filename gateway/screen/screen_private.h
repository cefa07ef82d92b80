/*
 * screen_private - what the files of screen/ share: the process, a client, and who does what with it.
 *
 * screen_service.c accepts; screen_client.c takes a client through access list, allowlist and tests;
 * screen_score.c asks the blocklists; screen_engine.c talks to those that are refused; screen_peer.c holds
 * the connections to policy and receive; screen_record.c writes log lines and evidence.
 */
#ifndef SCREEN_SCREEN_PRIVATE_H
#define SCREEN_SCREEN_PRIVATE_H

#include "base/ipc.h"
#include "base/loop.h"
#include "config/role_start.h"
#include "message/envelope.h"
#include "message/wire.h"
#include "policy/evidence.h"
#include "screen/screen_settings.h"

enum {
    SCREEN_CLIENT_BUCKETS = 16384,
    SCREEN_ADDRESS_TEXT = NET_ADDR_TEXT_MAX + 10, /* "[address]:port" */
    SCREEN_PREGREET_MAX = 100,                    /* bytes shown of what a client said too early */
    SCREEN_REPLY_MAX = 512,
};

struct screen;
struct screen_score;
struct screen_engine;

struct screen_port {
    struct screen *screen;
    struct screen_settings *settings;
    const char *service;
    int listen_fd;
    struct loop_watch *watch;
    struct net_addr bound; /* family 0: any address, ask each connection */
};

/* A connection to another role; opened when it is needed, closed when it breaks. */
struct screen_peer {
    struct screen *screen;
    enum role role;
    struct ipc_channel *channel;
    struct loop_watch *watch;
    size_t backlog; /* handed over but not yet taken by the socket */
};

struct screen_address_count {
    struct screen_address_count *next;
    struct net_addr addr;
    unsigned count;
};

struct screen {
    struct role_start start;
    struct loop *loop;
    struct dns_async *dns;
    struct screen_port ports[ROLE_LISTENERS_MAX];
    size_t port_count;
    struct screen_peer policy, receive;
    char pass_service[64];                                /* the row of type pass */
    struct screen_client *clients[SCREEN_CLIENT_BUCKETS]; /* by id */
    struct screen_address_count *addresses[SCREEN_CLIENT_BUCKETS];
    size_t client_count;
    uint64_t next_id;
    bool stressed;
    bool draining;
    struct loop_watch *control;
    struct loop_timer *accept_pause;
    struct buf out; /* payloads under construction */
};

enum screen_state { SCREEN_NEW, SCREEN_ASKING, SCREEN_TESTING, SCREEN_TALKING };

/* Kept small: tens of thousands of these wait at the same time. */
struct screen_client {
    struct screen_client *next; /* in its bucket */
    struct screen_port *port;
    struct loop_watch *watch;
    struct loop_timer *timer;
    struct screen_score *score;   /* while blocklists are asked, until the tests are over */
    struct screen_engine *engine; /* of a client that is refused */
    uint64_t id;
    int64_t started_us;
    struct net_addr client, server;
    int fd;
    enum screen_state state;
    uint8_t wanted, passed, failed; /* bits of enum screen_test */
    bool known;                     /* the allowlist had something about it */
    bool teaser_sent;
    bool greet_over; /* the pregreet wait has ended, or was not needed */
    enum screen_access access;
    int32_t rank; /* DNSBL score */
    uint32_t rank_ttl_s;
    uint16_t rank_zone;              /* the listing of most weight */
    char early[SCREEN_PREGREET_MAX]; /* what it said too early */
    uint8_t early_n;
    int64_t expires_s[SCREEN_TESTS_COUNT];
};

/* screen_client.c */
void screen_client_accept(struct screen_port *port, int fd, const struct net_addr *peer);
struct screen_client *screen_client_find(struct screen *screen, uint64_t id);
/* The allowlist's answer; NULL: it could not be asked. */
void screen_client_allow(struct screen_client *client, const struct wire_allow *allow);
void screen_client_scored(struct screen_client *client); /* all blocklists have answered or are given up */
/* Everybody who waits for the policy role goes on without it. */
void screen_client_policy_lost(struct screen *screen);
void screen_client_close(struct screen_client *client); /* frees it */
void screen_client_drain(struct screen *screen);
/* Sets the client's one timer. False: out of memory. */
bool screen_client_wait(struct screen_client *client, int64_t ms);
/* Sends a short text without waiting. False: the client is not reading or gone. */
bool screen_client_say(struct screen_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool screen_client_say_bytes(struct screen_client *client, struct bytes text);

/* screen_score.c */
void screen_score_start(struct screen_client *client); /* ends with screen_client_scored(), maybe at once */
void screen_score_stop(struct screen_client *client);  /* forgets what is under way */
void screen_score_record(const struct screen_client *client, struct evidence *evidence);

/* screen_engine.c. reply: what RCPT is answered, without line ending. */
int screen_engine_start(struct screen_client *client, const char *reply);
void screen_engine_free(struct screen_client *client); /* its evidence is sent */
void screen_engine_read(struct screen_client *client);
void screen_engine_expire(struct screen_client *client);

/* screen_peer.c */
void screen_peer_init(struct screen *screen);
int screen_peer_ask_allow(struct screen_client *client); /* GW_ERR_TEMP: there is nobody to ask */
void screen_peer_tell_allow(const struct screen_client *client);
void screen_peer_evidence(struct screen *screen, const struct evidence *evidence);
/* GW_ERR_FULL: receive has enough to do; GW_ERR_TEMP: it is not there. */
int screen_peer_hand_over(const struct screen_client *client);

/* screen_record.c */
const char *screen_record_address(const struct net_addr *addr,
                                  char out[SCREEN_ADDRESS_TEXT]);  /* "[addr]:port" */
const char *screen_record_since(int64_t started_us, char out[16]); /* "0.14" */
/* A peer's bytes with C escapes. */
void screen_record_escape(struct bytes text, char *out, size_t size);
void screen_record_ident(struct screen *screen, char out[QUEUE_ID_MAX]);
/* What the tests of a client gave, as events. */
void screen_record_tests(const struct screen_client *client, struct evidence *evidence);

/* screen_counts.c: connections per address. */
size_t screen_counts_add(struct screen *screen,
                         const struct net_addr *addr); /* with this one; 0: out of memory */
void screen_counts_remove(struct screen *screen, const struct net_addr *addr);

#endif
