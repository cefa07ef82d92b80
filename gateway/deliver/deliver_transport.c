/*
 * deliver_transport - see the header. Before: deliver_service.c at start; after: the agents.
 *
 * A transport whose tables cannot be opened is an error of the configuration: the role says which and does
 * not start.
 */
#include "deliver/deliver_transport.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const struct deliver_agent AGENTS[] = {
    {"virtual", deliver_virtual_open, deliver_virtual_run},
    {"local", deliver_local_open, deliver_local_run},
    {"pipe", deliver_pipe_open, deliver_pipe_run},
    {"discard", NULL, deliver_discard_run},
    {"error", NULL, deliver_error_run}, /* also the row named retry */
};

const struct deliver_agent *
deliver_transport_agent(const char *program)
{
    for (size_t i = 0; i < sizeof(AGENTS) / sizeof(AGENTS[0]); i++) {
        if (strcmp(program, AGENTS[i].program) == 0) {
            return &AGENTS[i];
        }
    }
    return NULL;
}

int
deliver_transport_new(const struct config *config, size_t service, struct deliver_transport **transport_r,
                      struct buf *why)
{
    const struct config_service *row = config_service(config, service);
    struct deliver_transport *transport = calloc(1, sizeof(*transport));
    int r = GW_ERR_NOMEM;

    *transport_r = NULL;
    if (transport == NULL) {
        goto out;
    }
    transport->name = row->name;
    transport->row = row;
    transport->view = config_view(config, service);
    transport->agent = deliver_transport_agent(row->program);
    if (transport->agent == NULL) {
        r = GW_ERR_CONFIG;
        goto out;
    }
    if (transport->agent->open != NULL && (r = transport->agent->open(config, transport, why)) != 0) {
        goto out;
    }
    *transport_r = transport;
    transport = NULL; /* transferred */
    r = 0;
out:
    deliver_transport_free(&transport);
    return r;
}

void
deliver_transport_free(struct deliver_transport **transport)
{
    struct deliver_transport *t = *transport;

    if (t != NULL) {
        table_list_free(&t->mailboxes);
        table_list_free(&t->uids);
        table_list_free(&t->gids);
        deliver_local_free(&t->local);
        deliver_pipe_free(&t->pipe);
        free(t);
        *transport = NULL;
    }
}
