/*
 * trace_test - the Received field in each of its forms, and what is counted in headers.
 */
#include "message/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ipc.h"

static int failures;

#define CHECK(cond, text)                                                     \
    do {                                                                      \
        if (!(cond)) {                                                        \
            (void)printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, text); \
            failures++;                                                       \
        }                                                                     \
    } while (0)

#define DATE "Sat, 21 Nov 2026 06:01:48 +0000 (UTC)"

static const struct {
    const char *client, *name, *helo, *protocol, *tls, *recipients, *field;
} FIELDS[] = {
    {"192.0.2.1", "mail.example.com", "helo.example", "ESMTP", "", "luis@example.org",
     "Received: from helo.example (mail.example.com [192.0.2.1])\r\n"
     "\tby gw.example (Postfix) with ESMTP id ID1\r\n\tfor <luis@example.org>; " DATE "\r\n"},
    {"192.0.2.1", "unknown", "", "SMTP", "", "a@b c@d",
     "Received: from unknown (unknown [192.0.2.1])\r\n"
     "\tby gw.example (Postfix) with SMTP id ID1; " DATE "\r\n"},
    {"2001:db8::1", "mail.example.com", "[IPv6:2001:db8::1]", "ESMTPS", "TLSv1.3", "a@b",
     "Received: from [IPv6:2001:db8::1] (mail.example.com [IPv6:2001:db8::1])\r\n"
     "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
     "\t(No client certificate requested)\r\n"
     "\tby gw.example (Postfix) with ESMTPS id ID1\r\n\tfor <a@b>; " DATE "\r\n"},
    {"192.0.2.1", "unknown", "evil\r\nX-Injected: yes", "ESMTP", "", "a@b c@d",
     "Received: from evil??X-Injected: yes (unknown [192.0.2.1])\r\n"
     "\tby gw.example (Postfix) with ESMTP id ID1; " DATE "\r\n"},
    {"192.0.2.1", "unknown", "h", "ESMTP", "", "a>b@c",
     "Received: from h (unknown [192.0.2.1])\r\n"
     "\tby gw.example (Postfix) with ESMTP id ID1\r\n\tfor <\"a>b\"@c>; " DATE "\r\n"},
    {"192.0.2.1", "unknown", "h", "ESMTP", "", "a\r\nX-Injected:@c",
     "Received: from h (unknown [192.0.2.1])\r\n"
     "\tby gw.example (Postfix) with ESMTP id ID1; " DATE "\r\n"},
};

static void
test_received(size_t i)
{
    struct envelope *envelope = envelope_new();
    struct bytes rest = bytes_str(FIELDS[i].recipients), recipient;
    struct buf out;

    if (envelope == NULL || net_addr_parse(bytes_str(FIELDS[i].client), &envelope->session.client) != 0) {
        exit(2);
    }
    (void)snprintf(envelope->queue_id, sizeof(envelope->queue_id), "ID1");
    (void)snprintf(envelope->session.name, sizeof(envelope->session.name), "%s", FIELDS[i].name);
    (void)snprintf(envelope->session.helo, sizeof(envelope->session.helo), "%s", FIELDS[i].helo);
    (void)snprintf(envelope->session.protocol, sizeof(envelope->session.protocol), "%s", FIELDS[i].protocol);
    (void)snprintf(envelope->session.tls_protocol, sizeof(envelope->session.tls_protocol), "%s",
                   FIELDS[i].tls);
    (void)snprintf(envelope->session.tls_cipher, sizeof(envelope->session.tls_cipher),
                   "TLS_AES_256_GCM_SHA384");
    envelope->session.tls_bits = 256;
    envelope->arrival_us = 1795240908123456;
    while (bytes_next_token(&rest, " ", &recipient)) {
        CHECK(envelope_add_recipient(envelope, BYTES_LIT("rewritten@x"), recipient, 0, (struct bytes){0}) ==
                  0,
              FIELDS[i].recipients);
    }
    buf_init(&out, 8192);
    CHECK(trace_received(&out, envelope, "gw.example", "Postfix") == 0, FIELDS[i].field);
    CHECK(strcmp(buf_str(&out), FIELDS[i].field) == 0, buf_str(&out));
    buf_free(&out);
    buf_init(&out, 40);
    CHECK(trace_received(&out, envelope, "gw.example", "Postfix") != 0, "limit");
    buf_free(&out);
    envelope_free(&envelope);
}

static const struct {
    const char *content;
    unsigned hops;
    const char *message_id, *body;
} HEADERS[] = {
    {"", 0, "", ""},
    {"\r\nbody", 0, "", "body"},
    {"Received: a\r\n\tb\r\nreceived:c\r\nDelivered-To: x\r\nX-Received: no\r\n\r\nReceived: no\r\n", 3, "",
     "Received: no\r\n"},
    {"Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\nb", 0, "<1@x>", "b"},
    {"message-id:\r\n <folded@x>\r\n\r\nb", 0, "<folded@x>", "b"},
    {"Message-ID:\r\n\r\nb", 0, "", "b"},
    {"Message-ID:", 0, "", ""},
    {"Message-ID:\r\n <never ends", 0, "<never ends", ""},
    {"Subject: x\nReceived: a\n\nb", 1, "", "b"},
    {"Received", 0, "", "Received"},
    {"Received: a\r\nno field\r\nReceived: b\r\n\r\nb", 1, "", "no field\r\nReceived: b\r\n\r\nb"},
    {" Received: a\r\n", 0, "", " Received: a\r\n"},
    {"Received : a\r\nMessage-Id: <1@x>\r\n <2@x>\r\n\r\n", 1, "<1@x>", ""},
};

int
main(void)
{
    struct trace_summary summary;

    CHECK(IPC_RULES[0].type != 0, "links the table of messages, which base needs and message holds");
    (void)setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++) {
        test_received(i);
    }
    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]); i++) {
        struct bytes content = bytes_str(HEADERS[i].content);

        trace_summarize(content, &summary);
        CHECK(summary.hops == HEADERS[i].hops, HEADERS[i].content);
        CHECK(bytes_equal(summary.message_id, bytes_str(HEADERS[i].message_id)), HEADERS[i].content);
        CHECK(bytes_equal(bytes_sub(content, summary.body_offset, content.n), bytes_str(HEADERS[i].body)),
              HEADERS[i].content);
    }
    return failures != 0;
}
