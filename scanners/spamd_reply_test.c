/*
 * spamd_reply_test - replies as spamd and rspamd give them, whole and byte by byte; what is no reply.
 */
#include "scanners/spamd_reply.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static int failures;
#define CHECK(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            failures++;                                                      \
        }                                                                    \
    } while (0)

#define OK "SPAMD/1.1 0 EX_OK\r\n"

static const struct {
    const char *text;
    bool is_spam;
    int32_t score, threshold;
    const char *symbols;
} GOOD[] = {
    {OK "Content-length: 5\r\nSpam: True ; 15.0 / 5.0\r\n\r\nA,B,C", true, 15000, 5000, "A,B,C"},
    {OK "Content-length: 7\r\nSpam: True ; 15.0 / 5.0\r\n\r\nA,B,C\r\n", true, 15000, 5000, "A,B,C"},
    {OK "Content-length: 0\r\nSpam: False ; 0.00 / 15.00\r\n\r\n", false, 0, 15000, ""},
    {OK "Spam: Yes ; 1000.0 / 5.0\r\nContent-length: 5\r\n\r\nGTUBE", true, 1000000, 5000, "GTUBE"},
    {"SPAMD/1.5 0 PONG\r\nspam: no ; -2.125 / 4.75\r\ncontent-LENGTH: 1\r\n\r\nX", false, -2125, 4750, "X"},
    {OK "Spam: False ; -0.1 / 5\r\nContent-length: 1\r\n\r\nX", false, -100, 5000, "X"},
    {OK "Spam: False;1.2345/5.\r\nContent-length: 1\r\n\r\nX", false, 1234, 5000, "X"},
};

static const char *const BAD[] = {
    "HTTP/1.1 200 OK\r\n\r\n",
    "SPAMD/1.0 76 Bad header line: x\r\n\r\n",
    "SPAMD/1.1 EX_OK\r\nSpam: True ; 1 / 5\r\nContent-length: 0\r\n\r\n",
    OK "\r\n",
    OK "Content-length: 0\r\n\r\n",
    OK "Spam: True\r\nContent-length: 0\r\n\r\n",
    OK "Spam: True ; nan / 5\r\nContent-length: 0\r\n\r\n",
    OK "Spam: True ; 1,5 / 5\r\nContent-length: 0\r\n\r\n",
    OK "Spam: True ; 1e9 / 5\r\nContent-length: 0\r\n\r\n",
    OK "Spam: True ; 99999999999999999999 / 5\r\nContent-length: 0\r\n\r\n",
    OK "Spam: True ; 1 / \r\nContent-length: 0\r\n\r\n",
    OK "Spam: True ; - / 5\r\nContent-length: 0\r\n\r\n",
};

static void
test_good(void)
{
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        struct bytes text = bytes_str(GOOD[i].text);
        struct spamd_reply reply;

        CHECK(spamd_reply_parse(text, false, &reply) == 1);
        CHECK(reply.is_spam == GOOD[i].is_spam && reply.score_milli == GOOD[i].score);
        CHECK(reply.threshold_milli == GOOD[i].threshold &&
              bytes_equal(reply.symbols, bytes_str(GOOD[i].symbols)));
        for (size_t n = 0; n < text.n; n++) {
            CHECK(spamd_reply_parse(bytes_sub(text, 0, n), false, &reply) == 0);
            CHECK(spamd_reply_parse(bytes_sub(text, 0, n), true, &reply) < 0);
        }
    }
}

static void
test_bad(void)
{
    struct spamd_reply reply;

    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        int before = failures;

        CHECK(spamd_reply_parse(bytes_str(BAD[i]), false, &reply) == GW_ERR_SYNTAX);
        CHECK(spamd_reply_parse(bytes_str(BAD[i]), true, &reply) == GW_ERR_SYNTAX);
        if (failures != before) {
            (void)fprintf(stderr, "case %zu\n", i);
        }
    }
}

/* Without a length the end of the connection is the end; a flood is cut off. */
static void
test_ends(void)
{
    static uint8_t flood[100000];
    struct spamd_reply reply;
    struct bytes open = BYTES_LIT(OK "Spam: True ; 6.0 / 5.0\r\n\r\nA,B");

    CHECK(spamd_reply_parse(open, false, &reply) == 0);
    CHECK(spamd_reply_parse(open, true, &reply) == 1 && bytes_equal(reply.symbols, BYTES_LIT("A,B")));
    CHECK(spamd_reply_parse((struct bytes){0}, true, &reply) == GW_ERR_SYNTAX);
    memset(flood, 'A', sizeof(flood));
    CHECK(spamd_reply_parse(bytes_of(flood, sizeof(flood)), false, &reply) == GW_ERR_LIMIT);
}

int
main(void)
{
    test_good();
    test_bad();
    test_ends();
    return failures != 0;
}
