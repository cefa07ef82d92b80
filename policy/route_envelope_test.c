/*
 * route_envelope_test - what cleanup(8) does to addresses: classes of canonical maps, masquerading,
 * extensions, routed addresses, relocated users, copies. Expected values are those of Postfix 3.7's cleanup
 * for the same main.cf.
 *
 * Shows of contract.tsv: RTE4 RTE5 RTE7.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "policy/route.h"

static int failures;

#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

static char directory[] = "/tmp/route_envelope_test.XXXXXX";
static struct config *config;

static void
write_file(const char *name, const char *a, const char *b)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fprintf(file, "%s%s", a, b) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static struct router *
make_router(const char *main_cf)
{
    static const char BASE[] =
        "compatibility_level = 3.6\nmyhostname = gw.ours.test\nmydestination = $myhostname, ours.test\n"
        "inet_interfaces = 192.0.2.1\nlocal_recipient_maps =\nrecipient_delimiter = +-\n";
    struct router *router = NULL;
    struct buf why;

    buf_init(&why, 65536);
    write_file("main.cf", BASE, main_cf);
    write_file("master.cf", "smtp unix - - n - - smtp\n", "");
    if (config_load(directory, &config, &why) != 0 || router_new(config, &router, &why) != 0) {
        (void)fprintf(stderr, "[%s] %s\n", main_cf, buf_str(&why));
        failures++;
    }
    buf_free(&why);
    return router;
}

static void
free_router(struct router **router)
{
    router_free(router);
    config_free(&config);
}

static void
complain(const char *main_cf, const char *address, int r, const char *got, const char *expected)
{
    if (r != 0 || strcmp(got, expected) != 0) {
        (void)fprintf(stderr, "[%s] %s: %d \"%s\" instead of \"%s\"\n", main_cf, address, r, got, expected);
        failures++;
    }
}

#define S ADDRESS_ENVELOPE_SENDER
#define R ADDRESS_ENVELOPE_RECIPIENT
#define HS ADDRESS_HEADER_SENDER
#define HR ADDRESS_HEADER_RECIPIENT

static void
test_places(void)
{
    static const char MASQUERADE[] = "masquerade_domains = !keep.ours.test ours.test other.test\n"
                                     "masquerade_exceptions = root, admin\n";
    static const struct {
        const char *main_cf;
        enum address_place place;
        const char *address, *expected;
    } CASES[] = {
        {"canonical_maps = inline:{ a@b.test=z@z.test }\n", S, "a@b.test", "z@z.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\n", HR, "a@b.test", "z@z.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\ncanonical_classes = header_sender\n", S, "a@b.test",
         "a@b.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\ncanonical_classes = header_sender\n", HS, "a@b.test",
         "z@z.test"},
        {"sender_canonical_maps = inline:{ a@b.test=z@z.test }\n", S, "a@b.test", "z@z.test"},
        {"sender_canonical_maps = inline:{ a@b.test=z@z.test }\n", HS, "a@b.test", "z@z.test"},
        {"sender_canonical_maps = inline:{ a@b.test=z@z.test }\n", R, "a@b.test", "a@b.test"},
        {"recipient_canonical_maps = inline:{ a@b.test=z@z.test }\n", S, "a@b.test", "a@b.test"},
        {"recipient_canonical_maps = inline:{ a@b.test=z@z.test }\n", HR, "a@b.test", "z@z.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\nreceive_override_options = no_address_mappings\n", S,
         "a@b.test", "a@b.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\n", S, "a+x@b.test", "z+x@z.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\n", S, "a-x@b.test", "z-x@z.test"},
        {"canonical_maps = inline:{ a+x@b.test=z@z.test }\n", S, "a+x@b.test", "z@z.test"},
        {"canonical_maps = inline:{ a@b.test=z@z.test }\npropagate_unmatched_extensions = virtual\n", S,
         "a+x@b.test", "z@z.test"},
        {"canonical_maps = inline:{ a=z@z.test }\n", S, "a+x@ours.test", "z+x@z.test"},
        {"canonical_maps = inline:{ a@b.test=b@b.test, b@b.test=c@c.test, c@c.test=c@c.test }\n", S,
         "a@b.test", "c@c.test"},
        {"canonical_maps = inline:{ {a@b.test = z@z.test, y@y.test} }\n", S, "a@b.test", "z@z.test"},
        {"canonical_maps = inline:{ {a@b.test = \"odd, \\\\name\"@z.test} }\n", S, "a@b.test",
         "odd, \\name@z.test"},
        {"canonical_maps = inline:{ @b.test=z@z.test }\n", S, "a+x@b.test", "z@z.test"},
        {"canonical_maps = inline:{ @b.test=@z.test }\n", S, "a+x@b.test", "a+x@z.test"},
        {MASQUERADE, S, "u@host.ours.test", "u@ours.test"},
        {MASQUERADE, S, "u@a.b.host.other.test", "u@other.test"},
        {MASQUERADE, S, "u@ours.test", "u@ours.test"},
        {MASQUERADE, S, "u@keep.ours.test", "u@keep.ours.test"},
        {MASQUERADE, S, "u@x.keep.ours.test", "u@x.keep.ours.test"},
        {MASQUERADE, S, "u@notours.test", "u@notours.test"},
        {MASQUERADE, S, "root@host.ours.test", "root@host.ours.test"},
        {MASQUERADE, R, "u@host.ours.test", "u@host.ours.test"},
        {MASQUERADE, HR, "u@host.ours.test", "u@ours.test"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        struct buf out;

        buf_init(&out, 4096);
        int r = router == NULL ? GW_ERR_CONFIG
                               : router_rewrite(router, bytes_str(CASES[i].address), CASES[i].place, &out);
        complain(CASES[i].main_cf, CASES[i].address, r, buf_str(&out), CASES[i].expected);
        CHECK(router == NULL || strcmp(CASES[i].address, CASES[i].expected) == 0 ||
              router_rewrites(router, CASES[i].place));
        buf_free(&out);
        free_router(&router);
    }
}

/* The canonical form of addresses without a domain, and where routed addresses lead. */
static void
test_forms(void)
{
    static const struct {
        const char *main_cf, *address, *canonical, *straight;
    } CASES[] = {
        {"", "host!user", "user@host", NULL},
        {"", "a!b!user", "b!user@a", NULL},
        {"", "user%other.test", "user@other.test", NULL},
        {"swap_bangpath = no\n", "host!user", "host!user@gw.ours.test", NULL},
        {"allow_percent_hack = no\n", "user%other.test", "user%other.test@gw.ours.test", NULL},
        {"append_at_myorigin = no\n", "user", "user", NULL},
        {"append_dot_mydomain = yes\n", "user@host", "user@host.ours.test", NULL},
        {"myorigin = example.net\n", "user", "user@example.net", NULL},
        {"append_dot_mydomain = yes\n", "user@host.", "user@host", NULL},
        {"resolve_numeric_domain = yes\n", "user@192.0.2.1", "user@[192.0.2.1]", NULL},
        {"resolve_null_domain = yes\n", "user@", "user@gw.ours.test", NULL},
        {"", "user%other.test@ours.test", "user%other.test@ours.test", "user@other.test"},
        {"", "user%a.test%ours.test@gw.ours.test", NULL, "user@a.test"},
        {"", "other.test!user@ours.test", NULL, "user@other.test"},
        {"", "user@other.test@ours.test", NULL, "user@other.test"},
        {"resolve_dequoted_address = no\n", "user@other.test@ours.test", NULL, "user@other.test@ours.test"},
        {"allow_percent_hack = no\n", "user%other.test@ours.test", NULL, "user%other.test@ours.test"},
        {"", "user%other.test@foreign.test", NULL, "user%other.test@foreign.test"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        struct bytes address = bytes_str(CASES[i].address);
        struct buf out;

        buf_init(&out, 4096);
        if (router != NULL && CASES[i].canonical != NULL) {
            int r = router_canonical_form(router, address, &out);
            complain(CASES[i].main_cf, CASES[i].address, r, buf_str(&out), CASES[i].canonical);
        }
        buf_clear(&out);
        if (router != NULL && CASES[i].straight != NULL) {
            int r = router_unroute(router, address, &out);
            complain(CASES[i].main_cf, CASES[i].address, r, buf_str(&out), CASES[i].straight);
        }
        buf_free(&out);
        free_router(&router);
    }
}

static void
test_returned(void)
{
    static const struct {
        const char *main_cf, *address;
        int r;
        const char *text;
    } CASES[] = {
        {"relocated_maps = inline:{ {old@ours.test = new@new.test} }\n", "old@ours.test", 1,
         "5.1.6 User has moved to new@new.test"},
        {"relocated_maps = inline:{ {old = new@new.test} }\n", "old@ours.test", 1,
         "5.1.6 User has moved to new@new.test"},
        {"relocated_maps = inline:{ {@gone.test = a place far away} }\n", "x@gone.test", 1,
         "5.1.6 User has moved to a place far away"},
        {"relocated_maps = inline:{ {old = new@new.test} }\n", "old@other.test", 0, ""},
        {"relocated_maps = fail:x\n", "old@other.test", GW_ERR_TEMP, ""},
        {"transport_maps = inline:{ {old.test = error:5.1.1 closed} }\n", "x@old.test", 1, "5.1.1 closed"},
        {"transport_maps = inline:{ {old.test = error:closed} }\n", "x@old.test", 1, "closed"},
        {"transport_maps = inline:{ {old.test = smtp:[a]} }\n", "x@old.test", 0, ""},
        {"transport_maps = fail:x\n", "x@old.test", GW_ERR_TEMP, ""},
        {"sender_dependent_default_transport_maps = inline:{ {<> = error:5.7.1 not from nobody} }\n",
         "x@y.test", 1, "5.7.1 not from nobody"},
        {"sender_dependent_default_transport_maps = inline:{ {nobody = error:5.7.1 no} }\n"
         "empty_address_default_transport_maps_lookup_key = nobody\n",
         "x@y.test", 1, "5.7.1 no"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        struct buf text;

        buf_init(&text, 4096);
        int r = router == NULL
                    ? -1
                    : router_is_returned(router, bytes_of(NULL, 0), bytes_str(CASES[i].address), &text);
        complain(CASES[i].main_cf, CASES[i].address, r == CASES[i].r ? 0 : 1, buf_str(&text), CASES[i].text);
        buf_free(&text);
        free_router(&router);
    }
}

static int
collect(void *context, struct bytes address)
{
    struct buf *out = context;

    return buf_printf(out, "%s%.*s", out->n > 0 ? " " : "", BYTES_FMT(address));
}

/* Recipients of one RCPT, then the sender and all recipients of the finished envelope. */
static const struct {
    const char *main_cf, *sender, *recipient, *recipients, *finished;
} ENVELOPES[] = {
    {"", "s@x.test", "a@b.test", "a@b.test", "s@x.test: a@b.test"},
    {"", "s", "a@b.test", "a@b.test", "s@gw.ours.test: a@b.test"},
    {"", "", "a@b.test", "a@b.test", ": a@b.test"},
    {"always_bcc = archive\n", "", "a@b.test", "a@b.test", ": a@b.test archive@gw.ours.test"},
    {"always_bcc = archive@ours.test\nvirtual_alias_maps = inline:{ {archive = x@y.test, z@y.test} }\n",
     "s@x.test", "a@b.test", "a@b.test", "s@x.test: a@b.test x@y.test z@y.test"},
    {"sender_bcc_maps = inline:{ @x.test=watch@y.test }\n", "s@x.test", "a@b.test", "a@b.test",
     "s@x.test: a@b.test watch@y.test"},
    {"sender_bcc_maps = inline:{ @x.test=watch@y.test }\n", "s@z.test", "a@b.test", "a@b.test",
     "s@z.test: a@b.test"},
    {"recipient_bcc_maps = inline:{ a@b.test=watch@y.test }\n", "s@x.test", "a+1@b.test",
     "a+1@b.test watch@y.test", "s@x.test: a+1@b.test watch@y.test"},
    {"recipient_bcc_maps = inline:{ a@b.test=watch@y.test }\nvirtual_alias_maps = inline:{ "
     "a@b.test=c@d.test }\n",
     "s@x.test", "a@b.test", "c@d.test watch@y.test", "s@x.test: c@d.test watch@y.test"},
    {"always_bcc = archive\nrecipient_bcc_maps = inline:{ a@b.test=w@y.test }\nvirtual_alias_maps = "
     "inline:{ a@b.test=c@d.test }\n"
     "sender_canonical_maps = inline:{ s@x.test=t@x.test }\nreceive_override_options = "
     "no_address_mappings\n",
     "s@x.test", "a@b.test", "a@b.test", "s@x.test: a@b.test"},
    {"sender_canonical_maps = inline:{ s@x.test=t@x.test }\n", "s@x.test", "a@b.test", "a@b.test",
     "t@x.test: a@b.test"},
    {"virtual_alias_maps = inline:{ a@b.test=c@d.test }\n", "s@x.test", "a+1@b.test", "c+1@d.test",
     "s@x.test: c+1@d.test"},
    {"", "s@x.test", "user%other.test@ours.test", "user@other.test", "s@x.test: user@other.test"},
    {"", "s@x.test", "@ours.test", "MAILER-DAEMON@ours.test", "s@x.test: MAILER-DAEMON@ours.test"},
    {"empty_address_recipient = nobody\n", "s@x.test", "@ours.test", "nobody@ours.test",
     "s@x.test: nobody@ours.test"},
    {"", "s@x.test", "@foreign.test", "@foreign.test", "s@x.test: @foreign.test"},
    {"virtual_alias_maps = inline:{ {a@b.test = a@b.test, c@d.test} }\n", "s@x.test", "a@b.test",
     "a@b.test c@d.test", "s@x.test: a@b.test c@d.test"},
    {"virtual_alias_maps = inline:{ {list-request@b.test = l@d.test} {a@b.test = c@d.test} }\n", "s@x.test",
     "a-request@b.test", "a-request@b.test", "s@x.test: a-request@b.test"},
    {"owner_request_special = no\nvirtual_alias_maps = inline:{ {a@b.test = c@d.test} }\n", "s@x.test",
     "a-request@b.test", "c-request@d.test", "s@x.test: c-request@d.test"},
    {"always_bcc = x@y.test\nsender_bcc_maps = inline:{ {s@x.test = x@y.test, X@Y.test} }\n", "s@x.test",
     "a@b.test", "a@b.test", "s@x.test: a@b.test x@y.test"},
};

static void
test_envelope(void)
{
    for (size_t i = 0; i < sizeof(ENVELOPES) / sizeof(ENVELOPES[0]); i++) {
        struct router *router = make_router(ENVELOPES[i].main_cf);
        struct envelope *envelope = envelope_new();
        struct bytes rest, word;
        struct buf out, told;
        int r = router == NULL || envelope == NULL ? GW_ERR_NOMEM : 0;

        buf_init(&out, 4096);
        buf_init(&told, 4096);
        r = r == 0 ? router_recipients(router, bytes_str(ENVELOPES[i].recipient), collect, &out) : r;
        complain(ENVELOPES[i].main_cf, ENVELOPES[i].recipient, r, buf_str(&out), ENVELOPES[i].recipients);
        for (rest = bytes_buf(&out); r == 0 && bytes_next_token(&rest, " ", &word);) {
            const struct recipient recipient = {.address = word, .original = word};

            r = router_add_recipient(router, envelope, &recipient);
        }
        r = r == 0 ? envelope_set_sender(envelope, bytes_str(ENVELOPES[i].sender)) : r;
        r = r == 0 ? router_finish_envelope(router, envelope) : r;
        if (r == 0) {
            (void)buf_printf(&told, "%.*s:", BYTES_FMT(envelope->sender));
            for (size_t n = 0; n < envelope->recipient_count; n++) {
                (void)buf_printf(&told, " %.*s", BYTES_FMT(envelope->recipients[n].address));
            }
        }
        complain(ENVELOPES[i].main_cf, ENVELOPES[i].sender, r, buf_str(&told), ENVELOPES[i].finished);
        buf_free(&out);
        buf_free(&told);
        envelope_free(&envelope);
        free_router(&router);
    }
}

/* Aliases without an end: what kind of trouble it is. */
static void
test_endless(void)
{
    static const struct {
        const char *main_cf, *address;
        int r;
    } CASES[] = {
        {"virtual_alias_maps = inline:{ a@b.test=b@b.test, b@b.test=A@b.test }\n", "a@b.test", GW_ERR_EXISTS},
        {"virtual_alias_maps = inline:{ {a@b.test = x@y.test, b@b.test} {b@b.test = c@b.test} {c@b.test = "
         "b@b.test} }\n",
         "a@b.test", GW_ERR_EXISTS},
        {"virtual_alias_maps = inline:{ a@b.test=a+x@b.test }\n", "a@b.test", GW_ERR_LIMIT}, /* ever longer */
        {"virtual_alias_maps = inline:{ a@b.test=b@b.test, b@b.test=c@b.test "
         "}\nvirtual_alias_recursion_limit = 1\n",
         "a@b.test", GW_ERR_LIMIT},
        {"virtual_alias_maps = inline:{ {a@b.test = b@b.test c@b.test} }\nvirtual_alias_expansion_limit = "
         "2\n",
         "a@b.test", GW_ERR_LIMIT},
        {"virtual_alias_maps = inline:{ a@b.test=longer@b.test }\nvirtual_alias_address_length_limit = 10\n",
         "a@b.test", GW_ERR_LIMIT},
        {"virtual_alias_maps = fail:x\n", "a@b.test", GW_ERR_TEMP},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        struct buf out;

        buf_init(&out, 1 << 20);
        int r = router == NULL ? GW_ERR_CONFIG
                               : router_recipients(router, bytes_str(CASES[i].address), collect, &out);
        complain(CASES[i].main_cf, CASES[i].address, r == CASES[i].r ? 0 : r, "", "");
        buf_free(&out);
        free_router(&router);
    }
}

/* What MAIL and RCPT refuse unseen, and who exists although no table says so. */
static void
test_accepted(void)
{
    static const struct {
        const char *main_cf, *address;
        bool accepted;
    } CASES[] = {
        {"", "a@b.test", true},
        {"", "a", true},
        {"", "", true},
        {"", "-a@b.test", false},
        {"allow_min_user = yes\n", "-a@b.test", true},
        {"", "a@", false},
        {"resolve_null_domain = yes\n", "a@", true},
        {"", "a@192.0.2.1", false},
        {"resolve_numeric_domain = yes\n", "a@192.0.2.1", true},
        {"", "a@[192.0.2.1]", true},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);

        complain(CASES[i].main_cf, CASES[i].address,
                 router != NULL && router_accepts(router, bytes_str(CASES[i].address)) == CASES[i].accepted
                     ? 0
                     : 1,
                 "", "");
        free_router(&router);
    }
    struct router *router = make_router("local_recipient_maps = inline:{ user=1 }\n");
    const char *const system[] = {"postmaster@ours.test", "Mailer-Daemon@ours.test",
                                  "double-bounce@ours.test", "user@ours.test"};
    for (size_t i = 0; router != NULL && i < sizeof(system) / sizeof(system[0]); i++) {
        CHECK(router_recipient_exists(router, bytes_str(system[i]), CLASS_LOCAL) == 1);
    }
    CHECK(router != NULL && router_recipient_exists(router, BYTES_LIT("post@ours.test"), CLASS_LOCAL) == 0);
    free_router(&router);
}

static void
test_mistakes(void)
{
    struct router *router = NULL;
    struct buf why;

    buf_init(&why, 65536);
    write_file("main.cf", "myhostname = gw.ours.test\nmasquerade_classes = envelope_senders\n", "");
    CHECK(config_load(directory, &config, &why) == 0 && router_new(config, &router, &why) == GW_ERR_CONFIG);
    CHECK(strstr(buf_str(&why), "masquerade_classes: unknown word \"envelope_senders\"") != NULL);
    buf_free(&why);
    free_router(&router);
    router = make_router("canonical_maps = inline:{ a@b.test=b@b.test, b@b.test=a@b.test }\n");
    struct buf out;
    buf_init(&out, 4096);
    CHECK(router_rewrite(router, BYTES_LIT("a@b.test"), S, &out) == GW_ERR_TEMP);
    buf_free(&out);
    free_router(&router);
    router = make_router("sender_bcc_maps = fail:x\n");
    struct envelope *envelope = envelope_new();
    CHECK(envelope_set_sender(envelope, BYTES_LIT("s@x.test")) == 0 &&
          router_finish_envelope(router, envelope) == GW_ERR_TEMP);
    envelope_free(&envelope);
    free_router(&router);
}

int
main(void)
{
    char path[256];

    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    test_places();
    test_forms();
    test_returned();
    test_envelope();
    test_endless();
    test_accepted();
    test_mistakes();
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/master.cf", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    return failures != 0;
}
