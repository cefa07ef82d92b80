/*
 * relay_address_fuzz - any text as a next hop: parsed or refused, always within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "relay/relay_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int lmtp = 0; lmtp < 2; lmtp++) {
        struct relay_address_rules rules = {.lmtp = lmtp == 1, .use_ipv4 = true, .default_port = 25};
        struct relay_target target;

        if (relay_address_parse(bytes_of(data, size), &rules, &target) == 0 &&
            (target.port == 0 || (target.host[0] == '\0') == (target.path[0] == '\0') ||
             (target.use_mx && (lmtp == 1 || target.literal.family != 0)))) {
            abort();
        }
    }
    return 0;
}
