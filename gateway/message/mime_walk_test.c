/*
 * mime_walk_test - trees of parts, honest and hostile, and the names of attachments in every form.
 */
#include "message/mime_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/ipc.h"

static int failures;

#define CHECK(cond, text)                                                     \
    do {                                                                      \
        if (!(cond)) {                                                        \
            (void)printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, text); \
            failures++;                                                       \
        }                                                                     \
    } while (0)

/* Each part as depth, type ("-" for none), "*" for a nested message, and its body with line ends as "/". */
static int
note_part(void *context, const struct mime_part *part)
{
    struct buf *out = context;
    struct bytes type = part->type.n > 0 ? part->type : BYTES_LIT("-");

    (void)buf_printf(out, "%u %.*s%s", part->depth, BYTES_FMT(type), part->nested_message ? "*" : "");
    if (part->is_multipart) {
        return buf_append_str(out, "|");
    }
    (void)buf_append_byte(out, ' ');
    for (size_t i = 0; i < part->body.n; i++) {
        if (part->body.p[i] != '\r') {
            (void)buf_append_byte(out, part->body.p[i] == '\n' ? '/' : part->body.p[i]);
        }
    }
    return buf_append_str(out, "|");
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

static const struct {
    const char *message, *parts;
} WALKS[] = {
    {"Subject: x\r\n\r\nhola\r\n", "0 - hola/|"},
    {"", "0 - |"},
    {"\r\nbody", "0 - body|"},
    {"Subject: x", "0 - |"},
    {"Content-Type: text/plain; charset=utf-8\r\n\r\nhola", "0 text/plain hola|"},
    {"content-type : TEXT/Plain\r\n\r\nhola", "0 TEXT/Plain hola|"},
    {MIXED "--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\n",
     "0 multipart/mixed|1 - one/|1 text/html two/|"},
    {MIXED "preamble\r\n--b\r\n\r\none\r\n--b--\r\nepilogue\r\n",
     "0 multipart/mixed|1 - preamble/|1 - one/|1 - epilogue/|"},
    {MIXED "--b\r\n\r\nnever closed\r\n", "0 multipart/mixed|1 - never closed/|"},
    {MIXED "--b  \t\r\n\r\none\r\n--b--  \r\n", "0 multipart/mixed|1 - one/|"},
    {MIXED "--bc\r\n--b\r\n\r\none\r\n--b--", "0 multipart/mixed|1 - --bc/|1 - one/|"},
    {MIXED "no boundary line at all\r\n", "0 multipart/mixed|1 - no boundary line at all/|"},
    {"Content-Type: multipart/mixed\r\n\r\n--b\r\nx", "0 multipart/mixed --b/x|"},
    {"Content-Type: multipart/mixed;\r\n\tboundary=\"a b\"\r\n\r\n--a b\r\n\r\none\r\n--a b--\r\n",
     "0 multipart/mixed|1 - one/|"},
    {"Content-Type: multipart/mixed; x=\"; boundary=no\"; BOUNDARY=\"b\"\r\n\r\n--b\r\n\r\none\r\n--b--\r\n",
     "0 multipart/mixed|1 - one/|"},
    {"Content-Type: (comment) multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n",
     "0 multipart/mixed|1 - one/|"},
    {"Content-Type: multipart/mixed; boundary*1=d; boundary*0=c\r\n\r\n--cd\r\n\r\none\r\n--cd--\r\n",
     "0 multipart/mixed|1 - --cd//one/--cd--/|1 - one/|"},
    {"Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c--\r\n",
     "0 multipart/mixed|1 - --c//one/--c--/|1 - one/|"},
    {"Content-Type: text/plain\r\nContent-Type: multipart/mixed; "
     "boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n",
     "0 text/plain|1 - one/|"},
    {"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html\r\n\r\nhola",
     "0 message/rfc822 Subject: in/Content-Type: text/html//hola|1 text/html* hola|"},
    {MIXED
     "--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n--c\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
     "0 multipart/mixed|1 multipart/x|2 - one/|1 - two/|"},
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n", "0 multipart/mixed|1 - one/|"},
};

/* The names found, each behind a "|". */
static const struct {
    const char *header, *names;
} NAMES[] = {
    {"Content-Disposition: attachment; filename=a.exe\r\n", "|a.exe"},
    {"Content-Type: application/x; name=\"a b.exe\"\r\n", "|a b.exe"},
    {"content-type: application/x; NAME=a.exe ; x=y\r\n", "|a.exe |a.exe"},
    {"Content-Type: x/y; name=a.txt\r\nContent-Disposition: inline; filename=b.exe\r\n", "|a.txt|b.exe"},
    {"Content-Disposition: inline; filename=a.txt\r\nContent-Disposition: inline; filename=b.exe\r\n",
     "|a.txt|b.exe"},
    {"Content-Disposition: inline; filename=a.txt; filename=b.exe\r\n", "|a.txt|b.exe"},
    {"Content-Disposition: inline;\r\n filename=\"a\r\n .exe\"\r\n", "|a .exe"},
    {"Content-Disposition: inline; filename=\"a\\\"b.exe\"\r\n", "|a\"b.exe"},
    {"Content-Disposition: inline; filename=\"a;b.exe\"\r\n", "|a;b.exe"},
    {"Content-Disposition: inline; filename=\"a.txt\".exe\r\n", "|a.txt|a.txt.exe"},
    {"Content-Disposition: inline; filename*=utf-8'en'a%2Eexe\r\n", "|utf-8'en'a%2Eexe|a.exe"},
    {"Content-Disposition: inline; filename*0=a.; filename*1=exe\r\n", "|a.exe"},
    {"Content-Disposition: inline; filename*1=exe; filename*0=a.\r\n", "|exea.|a.exe"},
    {"Content-Disposition: inline; filename*10=e; filename*9=x; filename*8=.e\r\n", "|ex.e|.exe"},
    {"Content-Disposition: inline; filename*0*=utf-8''a%2E; filename*1*=e%78e\r\n", "|a.exe"},
    {"Content-Disposition: inline; filename*0=b; name*0=c; filename*1=d\r\n", "|c|bd"},
    {"Content-Disposition: inline; filename=\"=?utf-8?B?YS5leGU=?=\"\r\n", "|=?utf-8?B?YS5leGU=?=|a.exe"},
    {"Content-Disposition: inline; filename=\"=?utf-8?Q?a=2Ee?= =?utf-8?q?xe?=\"\r\n",
     "|=?utf-8?Q?a=2Ee?= =?utf-8?q?xe?=|a.exe"},
    {"Content-Disposition: inline; filename=\"x =?utf-8?Q?a_b?= y\"\r\n", "|x =?utf-8?Q?a_b?= y|x a b y"},
    {"Content-Disposition: inline; filename=\"=?broken\"\r\n", "|=?broken"},
    {"Content-Disposition: inline; filename=\r\n", ""},
    {"Content-Disposition: inline; filename\r\n", ""},
    {"Content-Disposition: inline; filenames=a.exe\r\n", ""},
    {"X-Other: x; filename=a.exe\r\n", ""},
};

static void
test_walks(void)
{
    for (size_t i = 0; i < sizeof(WALKS) / sizeof(WALKS[0]); i++) {
        size_t n = strlen(WALKS[i].message);
        uint8_t *copy = malloc(n > 0 ? n : 1); /* nothing may be read behind its end */
        struct buf out;

        if (copy == NULL) {
            exit(2);
        }
        memcpy(copy, WALKS[i].message, n);
        buf_init(&out, 65536);
        CHECK(mime_walk(bytes_of(copy, n), 10, note_part, &out) == 0, WALKS[i].message);
        CHECK(strcmp(buf_str(&out), WALKS[i].parts) == 0, buf_str(&out));
        buf_free(&out);
        free(copy);
    }
}

static int
count_part(void *context, const struct mime_part *part)
{
    size_t *deepest = context;

    deepest[0]++;
    deepest[1] = part->depth > deepest[1] ? part->depth : deepest[1];
    return 0;
}

static int
stop_at_third(void *context, const struct mime_part *part)
{
    size_t *count = context;

    (void)part;
    return ++*count == 3 ? 7 : 0;
}

static void
test_limits(void)
{
    size_t seen[2] = {0}, count = 0;
    struct buf message;

    buf_init(&message, 16 * 1024 * 1024);
    for (int i = 0; i < 150; i++) {
        (void)buf_printf(&message, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    }
    CHECK(mime_walk(bytes_buf(&message), 100, count_part, seen) == GW_ERR_LIMIT, "150 levels");
    CHECK(seen[1] == 100 && seen[0] == 101, "100 of 150 levels");
    CHECK(mime_walk(bytes_buf(&message), 1000, count_part, seen) == GW_ERR_LIMIT, "own limit of depth");
    buf_clear(&message);
    (void)buf_append_str(&message, MIXED);
    for (int i = 0; i < MIME_PARTS_MAX + 10; i++) {
        (void)buf_append_str(&message, "--b\r\n\r\nx\r\n");
    }
    seen[0] = 0;
    CHECK(mime_walk(bytes_buf(&message), 100, count_part, seen) == GW_ERR_LIMIT, "too many parts");
    CHECK(seen[0] == MIME_PARTS_MAX, "too many parts");
    CHECK(mime_walk(bytes_buf(&message), 100, stop_at_third, &count) == 7 && count == 3, "stopped");
    buf_clear(&message);
    (void)buf_append_str(&message, "Content-Type: multipart/mixed");
    for (int i = 0; i < 5; i++) {
        (void)buf_printf(&message, "; boundary=b%d", i);
    }
    (void)buf_append_str(&message, "\r\n\r\nx\r\n");
    CHECK(mime_walk(bytes_buf(&message), 100, count_part, seen) == GW_ERR_LIMIT, "too many boundaries");
    buf_clear(&message);
    (void)buf_append_str(&message, "Content-Type: multipart/mixed; boundary=");
    for (int i = 0; i <= MIME_BOUNDARY_MAX; i++) {
        (void)buf_append_byte(&message, 'b');
    }
    (void)buf_append_str(&message, "\r\n\r\nx\r\n");
    CHECK(mime_walk(bytes_buf(&message), 100, count_part, seen) == GW_ERR_LIMIT, "over-long boundary");
    buf_free(&message);
}

/* Several boundaries at each level, every part inside several readings: the work stays bounded. */
static void
test_work(void)
{
    size_t seen[2] = {0};
    struct buf message;

    buf_init(&message, 16 * 1024 * 1024);
    for (int i = 0; i < 60; i++) {
        (void)buf_printf(&message, "Content-Type: multipart/mixed; boundary=a%d; boundary=b%d\r\n\r\n", i, i);
        (void)buf_printf(&message, "--a%d\r\n--b%d\r\n", i, i);
    }
    while (message.n < 1000000) {
        (void)buf_append_str(&message, "--\r\n");
    }
    CHECK(mime_walk(bytes_buf(&message), 100, count_part, seen) == GW_ERR_LIMIT, "bounded work");
    CHECK(seen[0] <= MIME_PARTS_MAX, "bounded work");
    buf_free(&message);
}

static void
test_names(void)
{
    struct arena *arena = arena_new(1024 * 1024);
    struct bytes names[MIME_NAMES_MAX];
    struct buf out;
    bool complete;

    if (arena == NULL) {
        exit(2);
    }
    buf_init(&out, 1024 * 1024);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        struct mime_part part = {.header = bytes_str(NAMES[i].header)};
        size_t count = mime_part_names(arena, &part, names, &complete);

        buf_clear(&out);
        for (size_t k = 0; k < count; k++) {
            (void)buf_printf(&out, "|%.*s", BYTES_FMT(names[k]));
        }
        CHECK(complete, NAMES[i].header);
        CHECK(strcmp(buf_str(&out), NAMES[i].names) == 0, buf_str(&out));
    }
    buf_clear(&out);
    (void)buf_append_str(&out, "Content-Disposition: inline");
    for (int i = 0; i <= MIME_NAMES_MAX; i++) {
        (void)buf_printf(&out, "; filename=a%d", i);
    }
    struct mime_part part = {.header = bytes_buf(&out)};
    CHECK(mime_part_names(arena, &part, names, &complete) == MIME_NAMES_MAX && !complete, "more names");
    buf_clear(&out);
    (void)buf_append_str(&out, "Content-Disposition: inline");
    for (int i = 0; i <= 100; i++) {
        (void)buf_printf(&out, "; filename*%d=a", i);
    }
    part.header = bytes_buf(&out);
    (void)mime_part_names(arena, &part, names, &complete);
    CHECK(!complete, "more pieces");
    buf_free(&out);
    arena_free(&arena);
}

static void
test_fields(void)
{
    struct bytes rest = BYTES_LIT("From a line\r\nSubject: one\r\n two\r\n\tthree\nTo:x\r\n\r\n");
    struct bytes field, name, value;

    CHECK(mime_next_field(&rest, &field, &name, &value) && bytes_equal(field, BYTES_LIT("From a line")), "1");
    CHECK(bytes_equal(name, field) && value.n == 0, "no colon");
    CHECK(mime_next_field(&rest, &field, &name, &value) && bytes_equal(name, BYTES_LIT("Subject")), "2");
    CHECK(bytes_equal(value, BYTES_LIT(" one\r\n two\r\n\tthree")), "folded");
    CHECK(mime_next_field(&rest, &field, &name, &value) && bytes_equal(value, BYTES_LIT("x")), "3");
    CHECK(mime_next_field(&rest, &field, &name, &value) && field.n == 0, "the empty line");
    CHECK(!mime_next_field(&rest, &field, &name, &value), "the end");
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0, "links the table of messages, which base needs and message holds");
    test_walks();
    test_limits();
    test_work();
    test_names();
    test_fields();
    return failures != 0;
}
