/*
 * deliver_transport - see the header. Before: deliver_service.c at start; after: the agents.
 *
 * A transport whose tables cannot be opened is an error of the configuration: the role says which and does
 * not start.
 */
#include "deliver/deliver_transport.h"

#include <stdio.h>
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

int64_t
deliver_transport_time_limit(const struct config *view, const char *service)
{
    static const struct {
        uint8_t letter;
        int64_t seconds;
    } UNITS[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    int64_t unit = 1;
    uint64_t number;
    char name[256];

    (void)snprintf(name, sizeof(name), "%s_time_limit", service);
    struct bytes text = bytes_str(config_user(view, name));
    for (size_t i = 0; text.n > 0 && i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (text.p[text.n - 1] == UNITS[i].letter) {
            unit = UNITS[i].seconds;
            text.n--;
            break;
        }
    }
    if (text.n > 0 && bytes_to_u64(text, &number) == 0 && number > 0 && number < 1000000) {
        return (int64_t)number * unit * 1000;
    }
    return config_int(view, P_command_time_limit) * 1000;
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
