/*
 * table_answer_fuzz - any bytes as the answer of a tcp or socketmap server. The first byte chooses the
 * protocol. What is read whole must read the same when it comes in two pieces.
 */
#include <stdlib.h>

#include "base/error.h"
#include "config/table_socketmap.h"
#include "config/table_tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
read_answer(bool tcp, struct bytes come, size_t *used, int *result)
{
    struct table_tcp_answer line = {.result = GW_ERR_INTERNAL};
    struct table_socketmap_answer map = {.result = GW_ERR_INTERNAL};
    int r;

    buf_init(&line.text, 8192);
    r = tcp ? table_tcp_read(come, used, &line) : table_socketmap_read(come, used, &map);
    *result = tcp ? line.result : map.result;
    if (r == 1) {
        bool known = *result == 0 || *result == GW_ERR_NOTFOUND || *result == GW_ERR_TEMP;
        struct bytes value = tcp ? bytes_buf(&line.text) : map.text;

        if (!known || *used == 0 || *used > come.n || (*result == 0 && bytes_index(value, '\0') >= 0)) {
            abort();
        }
    }
    buf_free(&line.text);
    return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used = 0, again = 0;
    int result = 0, other = 0;

    if (size < 2) {
        return 0;
    }
    bool tcp = data[0] % 2 == 0;
    struct bytes come = bytes_of(data + 1, size - 1);
    int r = read_answer(tcp, come, &used, &result);
    int half = read_answer(tcp, bytes_sub(come, 0, come.n / 2), &again, &other);
    if (half == 1 && (r != 1 || used != again || result != other)) {
        abort();
    }
    if (r == 1 && (read_answer(tcp, bytes_sub(come, 0, used), &again, &other) != 1 || other != result)) {
        abort();
    }
    return 0;
}
