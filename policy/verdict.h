/*
 * verdict - what is done with a scanned message and what the client is told.
 *
 * Made by receive from the scan report and the configuration (virus_action, spf_action, dkim_action,
 * spam_*_level, scan_failure_action ...). Starts as 451: a report that is missing, incomplete or not
 * understood never becomes an acceptance. What the client reads is generic; `reason` is for the log and the
 * evidence.
 */
#ifndef POLICY_VERDICT_H
#define POLICY_VERDICT_H

#include "scanners/scanner.h"

enum verdict_action {
    VERDICT_TEMPFAIL = 0,
    VERDICT_ACCEPT,
    VERDICT_REJECT,
    VERDICT_QUARANTINE,
    VERDICT_DISCARD,
    VERDICT_HOLD
};

struct verdict {
    enum verdict_action action;
    int code;              /* 250, 451, 550 */
    char dsn[12];          /* "5.7.1" */
    char text[256];        /* after the code and dsn */
    char reason[512];      /* "clamav: Win.Test.EICAR_HDB-1" */
    struct buf headers;    /* to prepend: X-Spam-*, Received-SPF, Authentication-Results; lines end in CRLF */
    struct bytes redirect; /* header_checks REDIRECT or FILTER target; a view into the report */
    bool redirect_is_filter;
    bool notify_policy;
};

/* report NULL: the scan did not happen. The caller frees with verdict_free(). */
int verdict_decide(const struct config *config, const struct envelope *envelope,
                   const struct scan_report *report, struct verdict *verdict_r);
void verdict_free(struct verdict *verdict);
const char *verdict_action_name(enum verdict_action action);

#endif
