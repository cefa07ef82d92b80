/*
 * header_rewrite_test - fields of a header, the addresses in them, and other addresses in their places. What
 * Postfix's cleanup makes of the same fields: test-corpus/suites/rewrite_differential.py.
 */
#include "message/header_rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"

static int failures;

#define CHECK(cond, what)                                                                \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, (what)); \
            failures++;                                                                  \
        }                                                                                \
    } while (0)

/* What a field's value holds: each address @ its place, "!" for what is none. */
static const struct {
    const char *value, *found;
} VALUES[] = {
    {" user", "user@1-5"},
    {" Ana <user@host>, x", "user@host@6-15 x@18-19"},
    {" \"Ruiz, Ana\" <a>", "a@14-15"},
    {" (before) user (behind)", "user@10-14"},
    {" user (in) @ host", "user@host@1-17c"},
    {" <@a,@b:user>", "user@2-12r"},
    {" <@a:user>, y", "user@2-9r y@12-13"},
    {" g: a, b;, c", "a@4-5 b@7-8 c@11-12"},
    {" \"a@b\"", "a@b@1-6q"},
    {" \"a@b\"@host", "a@b@host@1-11"},
    {" a\\@b", "a@b@1-5q"},
    {" x@[IPv6:::1], y", "x@[IPv6:::1]@1-13 y@15-16"},
    {" two words, y", "! y@12-13"},
    {" Name <user@host, y", "! y@18-19"},
    {" <user> trailing, y", "user@2-6 y@18-19"},
    {" <>, , y;", "y@7-8"},
    {" \"no end", "!"},
    {" (no end", "!"},
    {" x@[no end", "!"},
    {"", ""},
    {"\r\n\tuser\r\n", "user@3-7"},
};

static void
test_addresses(void)
{
    for (size_t i = 0; i < sizeof(VALUES) / sizeof(VALUES[0]); i++) {
        struct bytes value = bytes_str(VALUES[i].value);
        struct header_address place;
        struct buf out, found;
        size_t at = 0;
        int r;

        buf_init(&out, 100);
        buf_init(&found, 1000);
        while ((r = header_address_next(value, &at, &place, &out)) != 0) {
            (void)buf_append_str(&found, found.n > 0 ? " " : "");
            if (r == 1) {
                (void)buf_printf(&found, "%s@%zu-%zu%s%s%s", buf_str(&out), place.from, place.to,
                                 place.is_one_name ? "q" : "", place.has_route ? "r" : "",
                                 place.has_comment ? "c" : "");
                CHECK(place.element <= place.from && place.from <= place.to && place.to <= at,
                      VALUES[i].value);
            } else {
                (void)buf_append_byte(&found, '!');
            }
        }
        CHECK(strcmp(buf_str(&found), VALUES[i].found) == 0, buf_str(&found));
        buf_free(&out);
        buf_free(&found);
    }
    struct header_address place;
    struct buf small;
    size_t at = 0;
    buf_init(&small, 3);
    CHECK(header_address_next(BYTES_LIT("user, x"), &at, &place, &small) == GW_ERR_LIMIT && at == 7, "limit");
    buf_free(&small);
}

/* "user" becomes "user@x.test", "long" a long one, "bad" one that cannot be written. */
static int
map(void *context, unsigned kind, const struct header_address *place, struct bytes address, struct buf *out)
{
    unsigned *kinds = context;

    (void)place;
    *kinds |= kind;
    if (bytes_equal(address, BYTES_LIT("long"))) {
        return buf_append_str(out, "a-very-long-name-of-somebody@a-very-long-name-of-a-host.example.test") ==
                       0
                   ? 1
                   : -1;
    }
    if (bytes_equal(address, BYTES_LIT("bad"))) {
        return buf_append_str(out, "a\nb@x.test") == 0 ? 1 : -1;
    }
    if (bytes_equal(address, BYTES_LIT("fail"))) {
        return GW_ERR_TEMP;
    }
    if (bytes_index(address, '@') >= 0) {
        return 0;
    }
    (void)buf_append_bytes(out, address);
    return buf_append_str(out, "@x.test") == 0 ? 1 : GW_ERR_NOMEM;
}

#define LONG "a-very-long-name-of-somebody@a-very-long-name-of-a-host.example.test"

static const struct {
    const char *header, *rewritten; /* NULL: unchanged */
} HEADERS[] = {
    {"To: user\r\n", "To: user@x.test\r\n"},
    {"To: a@b.test\r\nSubject: user\r\nX-To: user\r\n", NULL},
    {"Subject: 1\r\nTO:user\r\nSubject: 2\r\n", "Subject: 1\r\nTO:user@x.test\r\nSubject: 2\r\n"},
    {"from : Ana (x) <user>,\r\n  a@b.test , \"a b\"\r\nX: 1\r\n",
     "from : Ana (x) <user@x.test>,\r\n  a@b.test , \"a b\"@x.test\r\nX: 1\r\n"},
    {"To: =?utf-8?q?J=C3=B3?= <user>\r\n", "To: =?utf-8?q?J=C3=B3?= <user@x.test>\r\n"},
    {"To: us (comment) . er (2)\r\n", "To: us.er@x.test (comment) (2)\r\n"},
    {"To: user, <@r.test:other>, two words, g: c, d;\r\n",
     "To: user@x.test, <other@x.test>, two words, g: c@x.test, d@x.test;\r\n"},
    {"To: long, long, user\r\n", "To: " LONG ",\r\n\t" LONG ",\r\n\tuser@x.test\r\n"},
    {"To: a@b.test,\r\n long\r\n", "To: a@b.test,\r\n " LONG "\r\n"},
    {"To: bad, user\r\n", "To: bad, user@x.test\r\n"},
    {"Bcc: user\r\nTo: a@b.test\r\nX-Secret: 1\r\n\t2\r\n", "To: a@b.test\r\n"},
    {"Bcc:\r\n user,\r\n other\r\nTo: user\r\n", "To: user@x.test\r\n"},
    {"X-secret: 1", ""},
    {"To: user\nCc: user\n", "To: user@x.test\nCc: user@x.test\n"},
    {"", NULL},
    {"Too-Long: x\r\nTo: "
     "01234567890123456789012345678901234567890123456789012345678901234567890123456789user\r\n",
     NULL},
};

static void
test_headers(void)
{
    unsigned kinds = 0;
    struct header_rules rules = {.map = map,
                                 .context = &kinds,
                                 .drop = HEADER_FIELD_BIT(FIELD_BCC),
                                 .drop_others = "X-Other, X-SECRET",
                                 .field_limit = 80};

    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]); i++) {
        struct bytes header = bytes_str(HEADERS[i].header);
        struct buf out;

        buf_init(&out, 10000);
        int r = header_rewrite(header, &rules, &out);
        CHECK(r == (HEADERS[i].rewritten != NULL), HEADERS[i].header);
        CHECK(strcmp(buf_str(&out), HEADERS[i].rewritten != NULL ? HEADERS[i].rewritten : "") == 0,
              buf_str(&out));
        buf_free(&out);
    }
    CHECK(kinds == (FIELD_HAS_SENDERS | FIELD_HAS_RECIPIENTS), "both kinds were asked for");
    struct buf out;
    buf_init(&out, 10000);
    CHECK(header_rewrite(BYTES_LIT("To: user, fail\r\n"), &rules, &out) == GW_ERR_TEMP, "an error ends it");
    buf_clear(&out);
    rules.map = NULL;
    CHECK(header_rewrite(BYTES_LIT("To: user\r\n"), &rules, &out) == 0 && out.n == 0, "nothing to map");
    buf_free(&out);
    buf_init(&out, 8);
    rules.map = map;
    CHECK(header_rewrite(BYTES_LIT("To: user\r\n"), &rules, &out) == GW_ERR_LIMIT, "no room");
    buf_free(&out);
}

static const struct {
    const char *name;
    enum header_field field;
    unsigned kinds;
} NAMES[] = {
    {"to", FIELD_TO, FIELD_HAS_RECIPIENTS},
    {"MESSAGE-ID", FIELD_MESSAGE_ID, 0},
    {"Reply-To", FIELD_REPLY_TO, FIELD_HAS_SENDERS},
    {"resent-reply-to", FIELD_RESENT_REPLY_TO, FIELD_HAS_RECIPIENTS | FIELD_IS_RESENT},
    {"X-To", FIELD_OTHER, 0},
    {"", FIELD_OTHER, 0},
};

static void
test_fields(void)
{
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        enum header_field field = header_field_known(bytes_str(NAMES[i].name));

        CHECK(field == NAMES[i].field && header_field_kinds(field) == NAMES[i].kinds, NAMES[i].name);
    }
    CHECK(strcmp(header_field_name(FIELD_RESENT_TO), "Resent-To") == 0, "name");
    struct bytes rest = BYTES_LIT("A: 1\r\n\t2\r\nB : 3\nno field\r\nC: 4\r\n"), field, name, value;
    CHECK(header_field_next(&rest, &field, &name, &value) &&
              bytes_equal(field, BYTES_LIT("A: 1\r\n\t2\r\n")) &&
              bytes_equal(value, BYTES_LIT(" 1\r\n\t2\r\n")),
          "folded");
    CHECK(header_field_next(&rest, &field, &name, &value) && bytes_equal(name, BYTES_LIT("B")),
          "blank before the colon");
    CHECK(!header_field_next(&rest, &field, &name, &value) && rest.n == 16, "the end");
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0, "links the table of messages, which base needs and message holds");
    test_fields();
    test_addresses();
    test_headers();
    return failures != 0;
}
