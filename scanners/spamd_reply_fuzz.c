/* spamd_reply_fuzz - any bytes as an answer of spamd: complete answers are within what was sent. */
#include <stdlib.h>

#include "scanners/spamd_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spamd_reply reply;

    for (int at_end = 0; at_end < 2; at_end++) {
        int r = spamd_reply_parse(bytes_of(data, size), at_end != 0, &reply);

        if (r > 1 || (r == 0 && at_end != 0) ||
            (r == 1 && reply.symbols.n > 0 &&
             (reply.symbols.p < data || reply.symbols.p + reply.symbols.n > data + size))) {
            abort();
        }
    }
    return 0;
}
