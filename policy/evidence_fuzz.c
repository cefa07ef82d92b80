/* evidence_fuzz - any bytes read as a record: no crash, no read outside, and the reader always ends. */
#include "base/error.h"
#include "policy/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    struct evidence_head head;
    struct evidence_event event;
    volatile uint8_t sink = 0;

    if (evidence_read_head(&rest, &head) != 0) {
        rest = bytes_of(data, size);
    }
    while (evidence_read_event(&rest, &event) == 1) {
        struct bytes texts[] = {event.subject, event.key, event.value, event.detail};

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
            if (texts[i].n > EVIDENCE_TEXT_MAX) {
                __builtin_trap();
            }
            for (size_t k = 0; k < texts[i].n; k++) {
                sink = (uint8_t)(sink ^ texts[i].p[k]);
            }
        }
        sink = (uint8_t)(sink ^ (uint8_t)evidence_kind_name(event.kind)[0]);
    }
    return 0;
}
