/* scanner_fuzz - any bytes as the report of a scan worker: what decodes can be packed and decodes the same
 * again. */
#include "scanners/scanner.h"

#include <stdlib.h>

#include "base/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_MAX = 1024 * 1024, PACKED_MAX = 1024 * 1024 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct scan_report report, again;
    struct buf packed;

    buf_init(&packed, PACKED_MAX);
    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    if (arena != NULL && scan_report_unpack(arena, bytes_of(data, size), &report) == 0) {
        if (report.count > SCAN_RESULTS_MAX || scan_report_pack(&packed, &report) != 0 ||
            scan_report_unpack(arena, bytes_buf(&packed), &again) != 0 || again.count != report.count) {
            abort();
        }
    }
    buf_free(&packed);
    arena_free(&arena);
    return 0;
}
