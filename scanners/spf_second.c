/*
 * spf_second - see the header. Before: spf.c, after our own evaluator.
 */
#include "scanners/spf_second.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <spf2/spf.h>
#include <spf2/spf_dns.h>

#include "base/error.h"

struct spf_second {
    SPF_dns_server_t dns; /* first: libspf2 hands it back to the callback */
    SPF_server_t *server;
    const struct spf_request *request; /* under way */
    unsigned queries;
};

static enum dns_type
type_of(ns_type type)
{
    return type == ns_t_a      ? DNS_A
           : type == ns_t_aaaa ? DNS_AAAA
           : type == ns_t_mx   ? DNS_MX
           : type == ns_t_ptr  ? DNS_PTR
                               : DNS_TXT;
}

/* One record into libspf2's form; false when memory is out. */
static bool
put_record(SPF_dns_rr_t *rr, int index, enum dns_type type, const struct dns_record *record)
{
    bool named = type == DNS_MX || type == DNS_PTR;
    const void *p = named ? (const void *)record->name : record->data.p;
    size_t n = named ? (record->name != NULL ? strlen(record->name) : 0) : record->data.n;

    if (SPF_dns_rr_buf_realloc(rr, index, n + 1) != SPF_E_SUCCESS) {
        return false;
    }
    if (n > 0) {
        memcpy(rr->rr[index], p, n);
    }
    if (type != DNS_A && type != DNS_AAAA) {
        ((char *)rr->rr[index])[n] = '\0';
    }
    rr->num_rr = index + 1;
    return true;
}

static SPF_dns_rr_t *
lookup(SPF_dns_server_t *dns, const char *domain, ns_type type, int should_cache)
{
    struct spf_second *second = dns->hook;
    struct dns_answer *answer = NULL;
    SPF_dns_rr_t *rr;

    (void)should_cache;
    if (type == ns_t_spf) {
        return SPF_dns_rr_new_init(dns, domain, type, 0, HOST_NOT_FOUND); /* obsolete since RFC 7208 */
    }
    if (++second->queries > SPF_SECOND_QUERIES_MAX || strlen(domain) > DNS_NAME_MAX) {
        return SPF_dns_rr_new_init(dns, domain, type, 0, TRY_AGAIN);
    }
    int r = second->request->lookup(second->request->lookup_context, domain, type_of(type), &answer);
    if (r != 0 || answer->status == DNS_TEMPFAIL) {
        dns_answer_free(&answer);
        return SPF_dns_rr_new_init(dns, domain, type, 0, r == GW_ERR_SYNTAX ? HOST_NOT_FOUND : TRY_AGAIN);
    }
    rr = SPF_dns_rr_new_init(dns, domain, type, 0,
                             answer->status == DNS_FOUND    ? NETDB_SUCCESS
                             : answer->status == DNS_NODATA ? NO_DATA
                                                            : HOST_NOT_FOUND);
    for (size_t i = 0; rr != NULL && i < answer->record_count && i < DNS_RECORDS_MAX; i++) {
        if (!put_record(rr, (int)i, type_of(type), &answer->records[i])) {
            break;
        }
    }
    dns_answer_free(&answer);
    return rr;
}

struct spf_second *
spf_second_new(void)
{
    struct spf_second *second = calloc(1, sizeof(*second));

    if (second == NULL) {
        return NULL;
    }
    second->dns = (SPF_dns_server_t){.lookup = lookup, .name = "resolver", .hook = second};
    second->server = SPF_server_new_dns(&second->dns, 0);
    if (second->server == NULL) {
        free(second);
        return NULL;
    }
    return second;
}

void
spf_second_free(struct spf_second **second)
{
    if (*second != NULL) {
        SPF_server_free((*second)->server);
        free(*second);
        *second = NULL;
    }
}

static enum auth_result
word_of(SPF_result_t result)
{
    switch (result) {
    case SPF_RESULT_PASS:
        return AUTH_PASS;
    case SPF_RESULT_FAIL:
        return AUTH_FAIL;
    case SPF_RESULT_SOFTFAIL:
        return AUTH_SOFTFAIL;
    case SPF_RESULT_NEUTRAL:
        return AUTH_NEUTRAL;
    case SPF_RESULT_NONE:
        return AUTH_NONE;
    case SPF_RESULT_PERMERROR:
        return AUTH_PERMERROR;
    default:
        return AUTH_TEMPERROR;
    }
}

static enum auth_result
ask(struct spf_second *second, SPF_request_t *question, const char *helo, const char *sender)
{
    SPF_response_t *response = NULL;
    enum auth_result result = AUTH_TEMPERROR;

    if (SPF_request_set_helo_dom(question, helo) != SPF_E_SUCCESS ||
        (sender[0] != '\0' && SPF_request_set_env_from(question, sender) != 0)) {
        return result;
    }
    second->queries = 0;
    (void)SPF_request_query_mailfrom(question, &response);
    if (response != NULL) {
        result = second->queries > SPF_SECOND_QUERIES_MAX ? AUTH_PERMERROR
                                                          : word_of(SPF_response_result(response));
        SPF_response_free(response);
    }
    return result;
}

enum auth_result
spf_second_check(struct spf_second *second, const struct spf_request *request)
{
    enum auth_result result = AUTH_TEMPERROR;
    char *helo = bytes_dup_str(request->helo), *sender = bytes_dup_str(request->sender);
    SPF_request_t *question = SPF_request_new(second->server);
    struct in_addr v4;
    struct in6_addr v6;

    second->request = request;
    if (helo != NULL && sender != NULL && question != NULL) {
        memcpy(&v4, request->client->ip, sizeof(v4));
        memcpy(&v6, request->client->ip, sizeof(v6));
        SPF_errcode_t error = request->client->family == AF_INET6 ? SPF_request_set_ipv6(question, v6)
                                                                  : SPF_request_set_ipv4(question, v4);
        if (error == SPF_E_SUCCESS) {
            result = ask(second, question, helo, sender);
        }
    }
    if (question != NULL) {
        SPF_request_free(question);
    }
    free(helo);
    free(sender);
    second->request = NULL;
    return result;
}
