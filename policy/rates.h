/*
 * rates - how many sessions a client address has open and how fast it comes: Postfix's anvil, inside receive.
 *
 * Counts live in the memory of the receive process (they need not survive it). A bounded table: when it is
 * full of clients with open sessions, new ones are not counted, never refused for that.
 */
#ifndef POLICY_RATES_H
#define POLICY_RATES_H

#include <stdbool.h>

#include "base/net.h"

struct rates;

/* 0 means no limit, as Postfix defines it for these parameters. */
struct rates_limits {
    int64_t connections;     /* smtpd_client_connection_count_limit */
    int64_t connection_rate; /* per unit */
    int64_t message_rate;
    int64_t recipient_rate;
    int64_t unit_s; /* anvil_rate_time_unit */
};

enum rates_event { RATES_CONNECTION, RATES_MESSAGE, RATES_RECIPIENT, RATES_EVENTS };

struct rates *rates_new(void);
void rates_free(struct rates **rates);
/* False when all limits are off: then none of the calls below is needed. */
bool rates_is_needed(const struct rates_limits *limits);
/* Counts one open session; true when it stays within the count limit. Pair with rates_disconnect() either
 * way. */
bool rates_connect(struct rates *rates, const struct rates_limits *limits, const struct net_addr *client);
void rates_disconnect(struct rates *rates, const struct net_addr *client);
/* Counts one event; true when within the limit of its kind. */
bool rates_count(struct rates *rates, const struct rates_limits *limits, const struct net_addr *client,
                 enum rates_event event);

#endif
