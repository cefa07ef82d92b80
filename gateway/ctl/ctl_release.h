/*
 * ctl_release - brings a quarantined message back: an SMTP dialogue with the reinjection listener.
 */
#ifndef CTL_RELEASE_H
#define CTL_RELEASE_H

#include "config/config.h"
#include "message/envelope.h"

enum { CTL_RELEASE_TEXT_MAX = 1024 };

/* Where mail that was filtered comes back: the smtpd row of master.cf with an empty content_filter override,
 * on loopback rather than elsewhere. GW_ERR_NOTFOUND. */
int ctl_release_listener(const struct config *config, struct net_addr *addr_r);
/* Sends envelope and content (the memfd's bytes, unchanged). 0: accepted for all recipients. text_r holds the
 * last reply or what went wrong. GW_ERR_DENIED (refused for good), GW_ERR_TEMP, GW_ERR_SYS, GW_ERR_TIMEOUT,
 * GW_ERR_PEER. */
int ctl_release_send(const struct net_addr *addr, const char *helo, const struct envelope *envelope,
                     int content_fd, uint64_t size, char text_r[CTL_RELEASE_TEXT_MAX]);

#endif
