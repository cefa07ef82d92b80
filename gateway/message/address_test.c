/*
 * address_test - tables of host names, literals, addresses as they leave the program, and header fields.
 */
#include "message/address.h"

#include <stdio.h>
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

#define LABEL63 "abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz"

static const struct {
    const char *name;
    bool valid;
} HOSTNAMES[] = {
    {"mail.example.com", true},
    {"localhost", true},
    {"a_b.example", true},
    {"xn--caf-dma.example", true},
    {"caf\xc3\xa9.example", true},
    {"1.2.3.4x", true},
    {"example.com.", true},
    {LABEL63 ".example", true},
    {LABEL63 "z.example", false},
    {"", false},
    {".", false},
    {"..", false},
    {".example.com", false},
    {"a..b", false},
    {"-a.example", false},
    {"a-.example", false},
    {"a.example-", false},
    {"192.0.2.1", false},
    {"12345", false},
    {"a b", false},
    {"a@b", false},
    {"[192.0.2.1]", false},
    {"a/b", false},
    {"a:25", false},
};

static const struct {
    const char *name;
    bool valid;
} LITERALS[] = {
    {"[192.0.2.1]", true},     {"[IPv6:2001:db8::1]", true},
    {"[ipv6:::1]", true},      {"192.0.2.1", false},
    {"[192.0.2.256]", false},  {"[2001:db8::1]", false},
    {"[IPv6:1.2.3.4]", false}, {"[]", false},
    {"[192.0.2.1", false},     {"[192.0.2.1]x", false},
    {"[IPv6:]", false},        {"[mail.example]", false},
};

/* written NULL: refused. */
static const struct {
    const char *address, *written;
} QUOTED[] = {
    {"ana@example.com", "ana@example.com"},
    {"", ""},
    {"postmaster", "postmaster"},
    {"a.b+c=d@example.com", "a.b+c=d@example.com"},
    {"a b@example.com", "\"a b\"@example.com"},
    {"a\"b\\c@example.com", "\"a\\\"b\\\\c\"@example.com"},
    {"a@b@example.com", "\"a@b\"@example.com"},
    {".a@example.com", "\".a\"@example.com"},
    {"a.@example.com", "\"a.\"@example.com"},
    {"a..b@example.com", "\"a..b\"@example.com"},
    {"@example.com", "\"\"@example.com"},
    {"x> NOTIFY=NEVER@example.com", "\"x> NOTIFY=NEVER\"@example.com"},
    {"jos\xc3\xa9@example.com", "jos\xc3\xa9@example.com"},
    {"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
    {"a\r\nRCPT TO:<b>@example.com", NULL},
    {"a\nb@example.com", NULL},
    {"a@example.com> SIZE=1", NULL},
    {"a@ex\"ample", NULL},
    {"a@example.com\r\n", NULL},
};

/* addresses: what is found, each followed by a "|"; a final "!" for a syntax error. */
static const struct {
    const char *value, *addresses;
} FIELDS[] = {
    {"ana@example.com", "ana@example.com|"},
    {" Ana Ruiz <ana@example.com>, luis@example.org\r\n", "ana@example.com|luis@example.org|"},
    {"\"Ruiz, Ana\" <ana@example.com>", "ana@example.com|"},
    {"\"quoted <not@this.example>\" <ana@example.com>", "ana@example.com|"},
    {"ana@example.com (Ana, of <x@y>), luis@example.org", "ana@example.com|luis@example.org|"},
    {"ana (one (two) \\) three) @ example.com", "ana@example.com|"},
    {"team: ana@example.com, luis@example.org;, eva@example.net",
     "ana@example.com|luis@example.org|eva@example.net|"},
    {"undisclosed-recipients:;", ""},
    {"<>", ""},
    {"", ""},
    {" , ,, ana@example.com,", "ana@example.com|"},
    {"\"a b\"@example.com", "a b@example.com|"},
    {"<\"a\\\"b\"@example.com>", "a\"b@example.com|"},
    {"<@relay.example,@two.example:ana@example.com>", "ana@example.com|"},
    {"ana@[IPv6:2001:db8::1], luis@[192.0.2.1]", "ana@[IPv6:2001:db8::1]|luis@[192.0.2.1]|"},
    {"Ana <ana@\r\n example.com>", "ana@example.com|"},
    {"\"a\r\n b\"@example.com", "a b@example.com|"},
    {"=?utf-8?q?Jos=C3=A9?= <jose@example.com>", "jose@example.com|"},
    {"ana@example.com, Luis <luis@example.org", "ana@example.com|!"},
    {"\"never closed <ana@example.com>", "!"},
    {"(never closed ana@example.com", "!"},
    {"ana@[192.0.2.1", "!"},
    {"ana@example.com\\", "ana@example.com\\|"},
    {"(a\\", "!"},
};

/* ascii NULL: refused. */
static const struct {
    const char *domain, *ascii;
} DOMAINS[] = {
    {"Mail.EXAMPLE.com", "mail.example.com"},
    {"example.com.", "example.com"},
    {"a_b.example", "a_b.example"},
    {"caf\xc3\xa9.example", "xn--caf-dma.example"},
    {"CAF\xc3\x89.example", "xn--caf-dma.example"},
    {"cafe\xcc\x81.example", "xn--caf-dma.example"}, /* decomposed */
    {"stra\xc3\x9f"
     "e.example",
     "xn--strae-oqa.example"},
    {"\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88", "xn--r8jz45g.xn--zckzah"},
    {"xn--caf-dma.example", "xn--caf-dma.example"},
    {"", NULL},
    {"..", NULL},
    {"192.0.2.1", NULL},
    {"a b.example", NULL},
    {"caf\xe9.example", NULL},              /* Latin-1 */
    {"a\xe2\x80\x8b.example", "a.example"}, /* a blank of no width: UTS 46 drops it */
    {"a\xe2\x80\xae"
     "b.example",
     NULL}, /* right to left */
};

static void
test_domains(void)
{
    char ascii[ADDRESS_HOSTNAME_MAX + 1];
    struct buf long_name;

    for (size_t i = 0; i < sizeof(DOMAINS) / sizeof(DOMAINS[0]); i++) {
        int r = address_domain_to_ascii(bytes_str(DOMAINS[i].domain), ascii);

        CHECK(r == (DOMAINS[i].ascii != NULL ? 0 : GW_ERR_SYNTAX), DOMAINS[i].domain);
        CHECK(strcmp(ascii, DOMAINS[i].ascii != NULL ? DOMAINS[i].ascii : "") == 0, DOMAINS[i].domain);
    }
    buf_init(&long_name, 1024);
    for (int i = 0; i < 20; i++) { /* 240 bytes, more as A-labels */
        (void)buf_append_str(&long_name, "\xc3\xa9\xc3\xa8\xc3\xaa"
                                         "abcde.");
    }
    CHECK(address_domain_to_ascii(bytes_buf(&long_name), ascii) == GW_ERR_SYNTAX && ascii[0] == '\0', "long");
    buf_free(&long_name);
    CHECK(strcmp(address_dns_name("_Dmarc.Example", ascii), "_Dmarc.Example") == 0,
          "ASCII is asked as it is");
    CHECK(strcmp(address_dns_name("caf\xc3\xa9.example", ascii), "xn--caf-dma.example") == 0, "A-labels");
    CHECK(strcmp(address_dns_name("caf\xe9.example", ascii), "caf\xe9.example") == 0, "none to be had");
}

static void
test_names(void)
{
    char long_name[300];

    for (size_t i = 0; i < sizeof(HOSTNAMES) / sizeof(HOSTNAMES[0]); i++) {
        CHECK(address_is_hostname(bytes_str(HOSTNAMES[i].name)) == HOSTNAMES[i].valid, HOSTNAMES[i].name);
    }
    for (size_t i = 0; i < sizeof(LITERALS) / sizeof(LITERALS[0]); i++) {
        CHECK(address_is_literal(bytes_str(LITERALS[i].name)) == LITERALS[i].valid, LITERALS[i].name);
    }
    CHECK(!address_is_hostname(bytes_of("a\0b", 3)), "NUL");
    for (size_t i = 0; i < sizeof(long_name); i++) {
        long_name[i] = i % 2 == 1 ? '.' : 'a';
    }
    CHECK(address_is_hostname(bytes_of(long_name, ADDRESS_HOSTNAME_MAX)), "longest");
    CHECK(!address_is_hostname(bytes_of(long_name, ADDRESS_HOSTNAME_MAX + 2)), "too long");
}

static void
test_split(void)
{
    struct bytes local, domain;

    address_split(BYTES_LIT("a@b@example.com"), &local, &domain);
    CHECK(bytes_equal(local, BYTES_LIT("a@b")) && bytes_equal(domain, BYTES_LIT("example.com")), "two @");
    address_split(BYTES_LIT("postmaster"), &local, &domain);
    CHECK(bytes_equal(local, BYTES_LIT("postmaster")) && domain.n == 0, "no @");
    address_split((struct bytes){0}, &local, &domain);
    CHECK(local.n == 0 && domain.n == 0, "null sender");
}

static void
test_quoted(void)
{
    struct buf out;

    for (size_t i = 0; i < sizeof(QUOTED) / sizeof(QUOTED[0]); i++) {
        buf_init(&out, 4096);
        int r = address_append_quoted(&out, bytes_str(QUOTED[i].address));
        if (QUOTED[i].written == NULL) {
            CHECK(r == GW_ERR_SYNTAX && out.n == 0, QUOTED[i].address);
        } else {
            CHECK(r == 0 && strcmp(buf_str(&out), QUOTED[i].written) == 0, QUOTED[i].address);
        }
        buf_free(&out);
    }
    buf_init(&out, 8);
    CHECK(address_append_quoted(&out, BYTES_LIT("a long one@example.com")) == GW_ERR_LIMIT, "limit");
    CHECK(address_append_quoted(&out, bytes_of("a\0b@x", 5)) == GW_ERR_SYNTAX, "NUL");
    buf_free(&out);
}

static void
test_fields(void)
{
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++) {
        struct bytes rest = bytes_str(FIELDS[i].value);
        struct buf found, address;
        int r;

        buf_init(&found, 4096);
        buf_init(&address, 1024);
        while ((r = address_next_in_header(&rest, &address)) == 1) {
            (void)buf_printf(&found, "%s|", buf_str(&address));
        }
        (void)buf_append_str(&found, r < 0 ? "!" : "");
        CHECK(strcmp(buf_str(&found), FIELDS[i].addresses) == 0, FIELDS[i].value);
        CHECK(rest.n == 0, FIELDS[i].value);
        buf_free(&found);
        buf_free(&address);
    }
    struct bytes rest = BYTES_LIT("ana@example.com");
    struct buf small;
    buf_init(&small, 4);
    CHECK(address_next_in_header(&rest, &small) < 0, "limit");
    buf_free(&small);
}

int
main(void)
{
    CHECK(IPC_RULES[0].type != 0, "links the table of messages, which base needs and message holds");
    test_names();
    test_domains();
    test_split();
    test_quoted();
    test_fields();
    return failures != 0;
}
