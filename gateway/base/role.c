/*
 * role - see the header. Adding an edge here is widening the trust graph; gateway/doc/privileges.md must say
 * why.
 */
#include "base/role.h"

#include <string.h>

static const char *const NAMES[ROLE_COUNT] = {
    [ROLE_NONE] = "none",         [ROLE_MASTER] = "master", [ROLE_SCREEN] = "screen",
    [ROLE_RECEIVE] = "receive",   [ROLE_SCAN] = "scan",     [ROLE_POLICY] = "policy",
    [ROLE_QUEUE] = "queue",       [ROLE_RELAY] = "relay",   [ROLE_DELIVER] = "deliver",
    [ROLE_RESOLVER] = "resolver", [ROLE_CTL] = "ctl",       [ROLE_SUBMIT] = "submit",
};

const struct role_edge ROLE_EDGES[] = {
    {ROLE_SCREEN, ROLE_RECEIVE},   {ROLE_SCREEN, ROLE_POLICY},   {ROLE_SCREEN, ROLE_RESOLVER},
    {ROLE_RECEIVE, ROLE_RESOLVER}, {ROLE_RECEIVE, ROLE_SCAN},    {ROLE_RECEIVE, ROLE_POLICY},
    {ROLE_RECEIVE, ROLE_QUEUE},    {ROLE_SCAN, ROLE_RESOLVER},   {ROLE_SCAN, ROLE_POLICY},
    {ROLE_POLICY, ROLE_QUEUE},     {ROLE_POLICY, ROLE_RESOLVER}, {ROLE_QUEUE, ROLE_POLICY},
    {ROLE_QUEUE, ROLE_RESOLVER},   {ROLE_RELAY, ROLE_QUEUE},     {ROLE_RELAY, ROLE_RESOLVER},
    {ROLE_RELAY, ROLE_POLICY},     {ROLE_DELIVER, ROLE_QUEUE},   {ROLE_DELIVER, ROLE_POLICY},
    {ROLE_CTL, ROLE_QUEUE},        {ROLE_CTL, ROLE_POLICY},      {ROLE_SUBMIT, ROLE_QUEUE},
    {ROLE_NONE, ROLE_NONE},
};

const char *
role_name(enum role role)
{
    return (unsigned)role < ROLE_COUNT ? NAMES[role] : NAMES[ROLE_NONE];
}

enum role
role_by_name(const char *name)
{
    for (int role = ROLE_NONE + 1; role < ROLE_COUNT; role++) {
        if (strcmp(name, NAMES[role]) == 0) {
            return (enum role)role;
        }
    }
    return ROLE_NONE;
}

bool
role_may_connect(enum role client, enum role server)
{
    for (const struct role_edge *edge = ROLE_EDGES; edge->client != ROLE_NONE; edge++) {
        if (edge->client == client && edge->server == server) {
            return true;
        }
    }
    return false;
}
