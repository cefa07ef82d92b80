/*
 * route_test - classes, canonical form, rewriting, expansion and routes on whole configurations. The routes
 * are those that Postfix 3.7's trivial-rewrite gives for the same main.cf.
 *
 * Shows of contract.tsv: PAR3 PAR4 PAR7 PAR8 PAR12 PAR13 PAR16 PAR43 PAR44 PAR79 TAB16 RTE1 RTE3 RTE9.
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

static char directory[] = "/tmp/route_test.XXXXXX";

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

static struct config *config;

static struct router *
make_router(const char *main_cf)
{
    static const char BASE[] =
        "compatibility_level = 3.6\nmyhostname = gw.ours.test\nmydestination = $myhostname, ours.test\n"
        "inet_interfaces = 192.0.2.1\nlocal_recipient_maps = inline:{ root=x }\n";
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
test_routes(void)
{
    static const struct {
        const char *main_cf, *sender, *recipient, *transport, *nexthop;
    } CASES[] = {
        {"", "a@b", "root@ours.test", "local", "gw.ours.test"},
        {"", "a@b", "root", "local", "gw.ours.test"},
        {"", "a@b", "x@[192.0.2.1]", "local", "gw.ours.test"},
        {"", "a@b", "x@[192.0.2.7]", "smtp", "[192.0.2.7]"},
        {"", "a@b", "x@other.test", "smtp", "other.test"},
        {"relayhost = [mx.test]:26\n", "a@b", "x@other.test", "smtp", "[mx.test]:26"},
        {"relayhost = [mx.test]\n", "a@b", "root@ours.test", "local", "gw.ours.test"},
        {"relay_domains = r.test\n", "a@b", "x@r.test", "relay", "r.test"},
        {"relay_domains = r.test\n", "a@b", "x@sub.r.test", "relay", "sub.r.test"},
        {"relay_domains = r.test\nparent_domain_matches_subdomains =\n", "a@b", "x@sub.r.test", "smtp",
         "sub.r.test"},
        {"relay_domains = r.test\nrelayhost = [mx.test]\n", "a@b", "x@r.test", "relay", "[mx.test]"},
        {"relay_domains = r.test\nrelay_transport = smtp:[in.test]\nrelayhost = mx\n", "a@b", "x@r.test",
         "smtp", "[in.test]"},
        {"virtual_mailbox_domains = v.test\n", "a@b", "x@v.test", "virtual", "v.test"},
        {"virtual_mailbox_domains = v.test\nvirtual_transport = lmtp:unix:/x\n", "a@b", "x@v.test", "lmtp",
         "unix:/x"},
        {"virtual_mailbox_domains = v.test\nrelayhost = [mx.test]\n", "a@b", "x@v.test", "virtual", "v.test"},
        {"virtual_alias_domains = va.test\n", "a@b", "x@va.test", "error",
         "5.1.1 User unknown in virtual alias table"},
        {"default_transport = uucp:gate\n", "a@b", "x@other.test", "uucp", "gate"},
        {"default_transport = smtp\nrelayhost = up.test\n", "a@b", "x@other.test", "smtp", "up.test"},
        {"transport_maps = inline:{ other.test=smtp:[in.test]:25 }\n", "a@b", "x@other.test", "smtp",
         "[in.test]:25"},
        {"transport_maps = inline:{ .other.test=slow: }\nrelayhost = up\n", "a@b", "x@sub.other.test", "slow",
         "sub.other.test"},
        {"transport_maps = inline:{ other.test=: }\nrelayhost = up\n", "a@b", "x@other.test", "smtp", "up"},
        {"transport_maps = inline:{ other.test=:[in.test] }\n", "a@b", "x@other.test", "smtp", "[in.test]"},
        {"transport_maps = inline:{ {other.test = error:5.7.1 no mail for you} }\n", "a@b", "x@other.test",
         "error", "5.7.1 no mail for you"},
        {"transport_maps = inline:{ *=discard: }\n", "a@b", "root@ours.test", "discard", "ours.test"},
        {"transport_maps = inline:{ u@other.test=smtp:[a], other.test=smtp:[b] }\nrecipient_delimiter = +\n",
         "a@b", "u+x@other.test", "smtp", "[a]"},
        {"sender_dependent_relayhost_maps = inline:{ a@b=[own.test], @c=[c.test] }\nrelayhost = up\n", "a@b",
         "x@other.test", "smtp", "[own.test]"},
        {"sender_dependent_relayhost_maps = inline:{ a@b=DUNNO }\nrelayhost = up\n", "a@b", "x@other.test",
         "smtp", "up"},
        {"sender_dependent_relayhost_maps = inline:{ {<>=[null.test]} }\nrelayhost = up\n", "",
         "x@other.test", "smtp", "[null.test]"},
        {"sender_dependent_default_transport_maps = inline:{ @c=slow:[c.test] }\nrelayhost = up\n", "z@c",
         "x@other.test", "slow", "[c.test]"},
        {"relay_domains = inline:{ r.test=x }\n", "a@b", "x@r.test", "relay", "r.test"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        struct route route = {.transport = "?"};
        int r = router == NULL
                    ? GW_ERR_CONFIG
                    : router_route(router, bytes_str(CASES[i].sender), bytes_str(CASES[i].recipient), &route);

        if (r != 0 || strcmp(route.transport, CASES[i].transport) != 0 ||
            strcmp(route.nexthop, CASES[i].nexthop) != 0) {
            (void)fprintf(stderr, "[%s] %s -> %s: %d %s:%s instead of %s:%s\n", CASES[i].main_cf,
                          CASES[i].sender, CASES[i].recipient, r, route.transport, route.nexthop,
                          CASES[i].transport, CASES[i].nexthop);
            failures++;
        }
        free_router(&router);
    }
}

static void
test_canonical_form(void)
{
    static const struct {
        const char *address, *expected; /* NULL: refused */
    } CASES[] = {
        {"user", "user@gw.ours.test"},
        {"User@Other.TEST", "User@Other.TEST"},
        {"user@other.test.", "user@other.test"},
        {"user@", NULL}, /* resolve_null_domain = no */
        {"user@192.0.2.1", NULL},
        {"user@other.test..", NULL},
        {"a b@other.test", "a b@other.test"},
        {"a@b@other.test", "a@b@other.test"},
        {"x@[192.0.2.1]", "x@[192.0.2.1]"},
        {"x@[IPv6:2001:DB8::1]", "x@[IPv6:2001:DB8::1]"},
        {"", NULL},
        {"x@bad..test", NULL},
        {"x@-bad.test", NULL},
        {"x@[300.1.1.1]", NULL},
        {"x@a b", NULL},
    };
    struct router *router = make_router("");

    for (size_t i = 0; router != NULL && i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct buf out;

        buf_init(&out, 1024);
        int r = router_canonical_form(router, bytes_str(CASES[i].address), &out);
        if (CASES[i].expected == NULL ? r == 0 : r != 0 || strcmp(buf_str(&out), CASES[i].expected) != 0) {
            (void)fprintf(stderr, "[%s]: %d %s\n", CASES[i].address, r, buf_str(&out));
            failures++;
        }
        buf_free(&out);
    }
    free_router(&router);
}

static int
collect(void *context, struct bytes address)
{
    struct buf *out = context;

    return buf_printf(out, "%s%.*s", out->n > 0 ? " " : "", BYTES_FMT(address));
}

static void
test_rewriting(void)
{
    static const struct {
        const char *main_cf, *address, *rewritten, *expanded;
    } CASES[] = {
        {"", "a@b.test", "a@b.test", "a@b.test"},
        {"canonical_maps = inline:{ a@b.test=A.B }\n", "a@b.test", "A.B@gw.ours.test", "A.B@gw.ours.test"},
        {"recipient_canonical_maps = inline:{ @b.test=@c.test }\n", "a@b.test", "a@c.test", "a@c.test"},
        {"sender_canonical_maps = inline:{ @b.test=@c.test }\n", "a@b.test", "a@b.test", "a@b.test"},
        {"recipient_canonical_maps = inline:{ a@b.test=x@y.test }\ncanonical_maps = inline:{ "
         "x@y.test=z@y.test }\n",
         "a@b.test", "z@y.test", "z@y.test"},
        {"virtual_alias_maps = inline:{ {a@b.test = x@y.test, root} }\n", "a@b.test", "a@b.test",
         "x@y.test root@gw.ours.test"},
        {"virtual_alias_maps = inline:{ a@b.test=b@b.test, b@b.test=c@b.test }\n", "a@b.test", "a@b.test",
         "c@b.test"},
        {"virtual_alias_maps = inline:{ {a@b.test = a@b.test, c@b.test} }\n", "a@b.test", "a@b.test",
         "a@b.test c@b.test"},
        {"virtual_alias_maps = inline:{ @b.test=@c.test }\n", "u@b.test", "u@b.test", "u@c.test"},
        {"virtual_alias_maps = inline:{ root=admin@x.test }\n", "root@ours.test", "root@ours.test",
         "admin@x.test"},
        {"virtual_alias_maps = inline:{ root=admin@x.test }\n", "root@b.test", "root@b.test", "root@b.test"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        struct buf rewritten, expanded;

        buf_init(&rewritten, 4096);
        buf_init(&expanded, 4096);
        int r = router == NULL ? GW_ERR_CONFIG
                               : router_rewrite(router, bytes_str(CASES[i].address),
                                                ADDRESS_ENVELOPE_RECIPIENT, &rewritten);
        r = r == 0 ? router_expand(router, bytes_buf(&rewritten), collect, &expanded) : r;
        if (r != 0 || strcmp(buf_str(&rewritten), CASES[i].rewritten) != 0 ||
            strcmp(buf_str(&expanded), CASES[i].expanded) != 0) {
            (void)fprintf(stderr, "[%s] %s: %d %s | %s\n", CASES[i].main_cf, CASES[i].address, r,
                          buf_str(&rewritten), buf_str(&expanded));
            failures++;
        }
        buf_free(&rewritten);
        buf_free(&expanded);
        free_router(&router);
    }
}

/* A table that goes round, or that makes too much, is an error and not an endless loop. */
static void
test_limits(void)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    struct router *router =
        make_router("virtual_alias_maps = inline:{ a@b.test=b@b.test, b@b.test=a@b.test }\n"
                    "virtual_alias_recursion_limit = 10\n");
    CHECK(router != NULL && router_expand(router, BYTES_LIT("a@b.test"), collect, &out) < 0);
    free_router(&router);
    router = make_router("virtual_alias_maps = pcre:{ {/^(.*)@b.test/ x$1@b.test y$1@b.test} }\n"
                         "virtual_alias_expansion_limit = 100\n");
    CHECK(router != NULL && router_expand(router, BYTES_LIT("a@b.test"), collect, &out) < 0);
    free_router(&router);
    buf_free(&out);
}

static void
test_existence(void)
{
    static const struct {
        const char *main_cf, *address;
        int expected;
    } CASES[] = {
        {"", "root@ours.test", 1},
        {"", "nobody@ours.test", 0},
        {"local_recipient_maps =\n", "nobody@ours.test", 1},
        {"local_recipient_maps = fail:x\n", "nobody@ours.test", GW_ERR_TEMP},
        {"local_recipient_maps = hash:/nonexistent\n", "nobody@ours.test", GW_ERR_TEMP},
        {"virtual_alias_maps = inline:{ info=x@y }\n", "info@ours.test", 1},
        {"relay_domains = r.test\n", "x@r.test", 1},
        {"relay_domains = r.test\nrelay_recipient_maps = inline:{ y@r.test=1 }\n", "x@r.test", 0},
        {"relay_domains = r.test\nrelay_recipient_maps = inline:{ y@r.test=1 }\n", "y@r.test", 1},
        {"relay_domains = r.test\nrelay_recipient_maps = inline:{ @r.test=1 }\n", "y@r.test", 1},
        {"virtual_mailbox_domains = v.test\nvirtual_mailbox_maps = inline:{ y@v.test=y/ }\n", "x@v.test", 0},
        {"virtual_mailbox_domains = v.test\nvirtual_mailbox_maps = inline:{ y@v.test=y/ }\n", "y@v.test", 1},
        {"virtual_mailbox_domains = v.test\nvirtual_mailbox_maps = fail:x\n", "y@v.test", GW_ERR_TEMP},
        {"virtual_alias_domains = va.test\nvirtual_alias_maps = inline:{ y@va.test=z }\n", "y@va.test", 1},
        {"virtual_alias_domains = va.test\nvirtual_alias_maps = inline:{ y@va.test=z }\n", "x@va.test", 0},
        {"", "x@other.test", 1},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct router *router = make_router(CASES[i].main_cf);
        enum address_class class = CLASS_DEFAULT;
        struct bytes address = bytes_str(CASES[i].address);
        struct bytes domain = bytes_sub(address, (size_t)bytes_rindex(address, '@') + 1, address.n);
        int r = router == NULL || router_class(router, domain, &class) != 0
                    ? GW_ERR_CONFIG
                    : router_recipient_exists(router, address, class);

        if (r != CASES[i].expected) {
            (void)fprintf(stderr, "[%s] %s: %d\n", CASES[i].main_cf, CASES[i].address, r);
            failures++;
        }
        free_router(&router);
    }
    struct router *router = make_router("relay_domains = fail:x\n");
    enum address_class class;
    struct route route;
    CHECK(router != NULL && router_class(router, BYTES_LIT("r.test"), &class) == GW_ERR_TEMP);
    CHECK(router != NULL &&
          router_route(router, BYTES_LIT("a@b"), BYTES_LIT("x@r.test"), &route) == GW_ERR_TEMP);
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
    test_routes();
    test_canonical_form();
    test_rewriting();
    test_limits();
    test_existence();
    (void)snprintf(path, sizeof(path), "%s/main.cf", directory);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/master.cf", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    return failures != 0;
}
