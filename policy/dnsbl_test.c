/*
 * dnsbl_test - zones, filters and weights as the configuration writes them; what counts as listed.
 */
#include "policy/dnsbl.h"

#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(cond)                                           \
    do {                                                      \
        if (!(cond)) {                                        \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                       \
        }                                                     \
    } while (0)

static const struct {
    const char *text;
    bool ok;
    const char *zone;
    int weight;
    uint8_t ip[4];
    bool listed;
} CASES[] = {
    {"zen.example", true, "zen.example", 1, {127, 0, 0, 2}, true},
    {"zen.example", true, "zen.example", 1, {10, 0, 0, 2}, false},        /* not an answer of a list */
    {"zen.example", true, "zen.example", 1, {127, 255, 255, 254}, false}, /* "you ask too much" */
    {"zen.example=127.0.0.2", true, "zen.example", 1, {127, 0, 0, 3}, false},
    {"zen.example=127.0.0.2", true, "zen.example", 1, {127, 0, 0, 2}, true},
    {"zen.example=127.0.0.[2..4]", true, "zen.example", 1, {127, 0, 0, 4}, true},
    {"zen.example=127.0.0.[2..4]", true, "zen.example", 1, {127, 0, 0, 5}, false},
    {"zen.example=127.0.0.[2..4;9]*2", true, "zen.example", 2, {127, 0, 0, 9}, true},
    {"list.dnswl.example=127.[0..255].[0..255].0*-3", true, "list.dnswl.example", -3, {127, 9, 8, 0}, true},
    {"list.dnswl.example=127.[0..255].[0..255].0*-3", true, "list.dnswl.example", -3, {127, 9, 8, 1}, false},
    {"zen.example=127.0.0", false, "", 0, {0}, false},
    {"zen.example=127.0.0.256", false, "", 0, {0}, false},
    {"zen.example=127.0.0.[4..2]", false, "", 0, {0}, false},
    {"zen.example=127.0.0.[2..4", false, "", 0, {0}, false},
    {"zen.example=127.0.0.2.1", false, "", 0, {0}, false},
    {"zen.example*x", false, "", 0, {0}, false},
    {"=127.0.0.2", false, "", 0, {0}, false},
    {"", false, "", 0, {0}, false},
};

/* The entries that no list has (RFC 5782 sections 2.1 and 5). */
static void
test_control(void)
{
    static const struct {
        const char *client, *name; /* client NULL: a list of names */
    } CONTROLS[] = {
        {"203.0.113.9", "1.0.0.127.zen.example"},
        {"2001:db8::9", "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.zen.example"},
        {NULL, "invalid.zen.example"},
    };
    char name[DNS_NAME_MAX + 80], little[16];

    for (size_t i = 0; i < sizeof(CONTROLS) / sizeof(CONTROLS[0]); i++) {
        struct net_addr client = {0};

        CHECK(CONTROLS[i].client == NULL || net_addr_parse(bytes_str(CONTROLS[i].client), &client) == 0);
        const struct net_addr *like = CONTROLS[i].client == NULL ? NULL : &client;
        CHECK(dnsbl_control_name("zen.example", like, name, sizeof(name)) == 0);
        CHECK(strcmp(name, CONTROLS[i].name) == 0);
        CHECK(dnsbl_control_name("zen.example", like, little, sizeof(little)) != 0);
    }
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct dnsbl_site site;
        int r = dnsbl_site_parse(bytes_str(CASES[i].text), &site);

        CHECK((r == 0) == CASES[i].ok);
        if (r == 0 && CASES[i].ok) {
            CHECK(strcmp(site.zone, CASES[i].zone) == 0);
            CHECK(site.weight == CASES[i].weight);
            CHECK(dnsbl_site_matches(&site, CASES[i].ip) == CASES[i].listed);
        }
    }
    test_control();
    return failures != 0;
}
