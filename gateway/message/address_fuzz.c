/*
 * address_fuzz - any bytes as a header field, a host name and an address. What is found in a field holds no
 * line end; what can be written in <> is read back as the same address.
 */
#include "message/address.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/ipc.h"
#include "message/smtp_command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Written and read back: nothing may be lost, added or taken for a parameter. */
static void
check_round_trip(struct bytes address)
{
    struct smtp_command command;
    struct buf line;

    buf_init(&line, 8192);
    if (address.n > 0 && address.n <= SMTP_PATH_MAX && buf_append_str(&line, "RCPT TO:<") == 0 &&
        address_append_quoted(&line, address) == 0) {
        (void)buf_append_str(&line, "> NOTIFY=NEVER");
        if (bytes_index(bytes_buf(&line), '\n') >= 0) {
            abort();
        }
        if (smtp_command_parse(bytes_buf(&line), &command) == 0) { /* else: control characters, no UTF-8 */
            if (smtp_command_path(&command, BYTES_LIT("TO:"), true) != 0 ||
                !bytes_equal(command.path, address) || command.parameter_count != 1) {
                abort();
            }
        }
    }
    buf_free(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size), local, domain;
    struct buf address;
    int r;

    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    buf_init(&address, 1024);
    for (size_t before = rest.n + 1; (r = address_next_in_header(&rest, &address)) == 1; before = rest.n) {
        if (rest.n >= before || address.n == 0 || bytes_index(bytes_buf(&address), '\n') >= 0 ||
            bytes_index(bytes_buf(&address), '\r') >= 0) {
            abort();
        }
        check_round_trip(bytes_buf(&address));
    }
    if (rest.n != 0) {
        abort();
    }
    buf_free(&address);
    check_round_trip(bytes_of(data, size));
    address_split(bytes_of(data, size), &local, &domain);
    char ascii[ADDRESS_HOSTNAME_MAX + 1];
    if (address_domain_to_ascii(domain, ascii) == 0 && !address_is_hostname(bytes_str(ascii))) {
        abort();
    }
    if (address_is_hostname(domain) && address_is_literal(domain)) {
        abort();
    }
    return 0;
}
