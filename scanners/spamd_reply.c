/*
 * spamd_reply - see the header. Before: spamassassin.c.
 */
#include "scanners/spamd_reply.h"

#include <string.h>

#include "base/error.h"

enum { REPLY_MAX = 65536, POINTS_MAX = 1000000 };

/* "-12.5" as thousandths. Takes it off *rest, with the blanks around. */
static int
take_points(struct bytes *rest, int32_t *milli_r)
{
    struct bytes v = bytes_trim(*rest);
    size_t i = 0;
    bool negative = v.n > 0 && v.p[0] == '-';
    int64_t value = 0, unit = 100;

    i += negative;
    size_t digits = i;
    for (; i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && value < POINTS_MAX; i++) {
        value = value * 10 + (v.p[i] - '0');
    }
    if (i == digits || value >= POINTS_MAX) {
        return GW_ERR_SYNTAX;
    }
    value *= 1000;
    if (i < v.n && v.p[i] == '.') {
        for (i++; i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++, unit /= 10) {
            value += (v.p[i] - '0') * unit;
        }
    }
    *milli_r = (int32_t)(negative ? -value : value);
    *rest = bytes_trim(bytes_sub(v, i, v.n));
    return 0;
}

/* "True ; 15.0 / 5.0" */
static int
parse_spam_field(struct bytes value, struct spamd_reply *reply)
{
    struct bytes word;

    if (!bytes_next_token(&value, " ;", &word)) {
        return GW_ERR_SYNTAX;
    }
    reply->is_spam =
        bytes_equal_nocase(word, BYTES_LIT("True")) || bytes_equal_nocase(word, BYTES_LIT("Yes"));
    value = bytes_trim(value);
    if (value.n == 0 || value.p[0] != ';') {
        return GW_ERR_SYNTAX;
    }
    value = bytes_sub(value, 1, value.n);
    if (take_points(&value, &reply->score_milli) != 0 || value.n == 0 || value.p[0] != '/') {
        return GW_ERR_SYNTAX;
    }
    value = bytes_sub(value, 1, value.n);
    return take_points(&value, &reply->threshold_milli);
}

/* "SPAMD/1.1 0 EX_OK" */
static int
parse_status_line(struct bytes line)
{
    struct bytes word;
    uint64_t code;

    if (!bytes_has_prefix_nocase(line, BYTES_LIT("SPAMD/")) || !bytes_next_token(&line, " ", &word) ||
        !bytes_next_token(&line, " ", &word) || bytes_to_u64(word, &code) != 0 || code != 0) {
        return GW_ERR_SYNTAX;
    }
    return 0;
}

int
spamd_reply_parse(struct bytes input, bool at_end, struct spamd_reply *reply_r)
{
    ptrdiff_t end = bytes_find(input, BYTES_LIT("\r\n\r\n"));
    uint64_t length = 0;
    bool has_length = false, has_spam = false;
    struct bytes head, line, body;

    *reply_r = (struct spamd_reply){0};
    if (input.n > REPLY_MAX) {
        return GW_ERR_LIMIT;
    }
    if (end < 0) {
        return at_end ? GW_ERR_SYNTAX : 0;
    }
    head = bytes_sub(input, 0, (size_t)end + 2);
    body = bytes_sub(input, (size_t)end + 4, input.n);
    if (!bytes_next_line(&head, &line) || parse_status_line(line) != 0) {
        return GW_ERR_SYNTAX;
    }
    while (bytes_next_line(&head, &line)) {
        ptrdiff_t colon = bytes_index(line, ':');
        struct bytes name = bytes_sub(line, 0, colon < 0 ? 0 : (size_t)colon);
        struct bytes value = bytes_trim(bytes_sub(line, (size_t)(colon + 1), line.n));

        if (bytes_equal_nocase(name, BYTES_LIT("Content-length"))) {
            has_length = bytes_to_u64(value, &length) == 0 && length <= REPLY_MAX;
        } else if (bytes_equal_nocase(name, BYTES_LIT("Spam"))) {
            has_spam = parse_spam_field(value, reply_r) == 0;
        }
    }
    if (!has_spam) {
        return GW_ERR_SYNTAX;
    }
    if (has_length ? body.n < length : !at_end) {
        return at_end ? GW_ERR_SYNTAX : 0;
    }
    reply_r->symbols = bytes_trim(has_length ? bytes_sub(body, 0, (size_t)length) : body);
    return 1;
}
