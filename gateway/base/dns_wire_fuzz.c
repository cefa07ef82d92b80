/* dns_wire_fuzz - any bytes read as a question and as an answer; what is understood must survive writing and
 * reading. */
#include <stdlib.h>

#include "base/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_and_read(const struct dns_answer *answer)
{
    struct dns_answer *again = NULL;
    struct buf buf;

    buf_init(&buf, 1024 * 1024);
    if (dns_wire_put_answer(&buf, answer) != 0 || dns_wire_get_answer(bytes_buf(&buf), &again) != 0 ||
        again->record_count != answer->record_count || again->status != answer->status) {
        abort();
    }
    dns_answer_free(&again);
    buf_free(&buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[DNS_NAME_MAX + 1];
    enum dns_type type;
    uint32_t budget_ms;
    struct dns_answer *answer = NULL;

    (void)dns_wire_get_query(bytes_of(data, size), name, &type, &budget_ms);
    if (dns_wire_get_answer(bytes_of(data, size), &answer) == 0) {
        write_and_read(answer);
    }
    dns_answer_free(&answer);
    return 0;
}
