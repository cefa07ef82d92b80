/*
 * smtp_command_fuzz - any bytes as a command line: views stay inside the line or the command's own storage,
 * and a path holds nothing that a log line or another server would take for a line end.
 */
#include "message/smtp_command.h"

#include <stdlib.h>

#include "base/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_inside(struct bytes v, const void *p, size_t n)
{
    return v.n == 0 || (v.p >= (const uint8_t *)p && v.p + v.n <= (const uint8_t *)p + n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_command command;
    uint8_t decoded[64];
    size_t n;

    if (IPC_RULES[0].type == 0) { /* links the table of messages, which base needs and message holds */
        abort();
    }
    (void)xtext_decode(bytes_of(data, size), decoded, sizeof(decoded), &n);
    if (smtp_command_parse(bytes_of(data, size), &command) != 0) {
        return 0;
    }
    if (!is_inside(command.word, data, size) || !is_inside(command.argument, data, size) ||
        command.word.n == 0) {
        abort();
    }
    for (int turn = 0; turn < 4; turn++) {
        struct bytes prefix = turn & 1 ? BYTES_LIT("TO:") : BYTES_LIT("FROM:");
        int r = smtp_command_path(&command, prefix, turn >= 2);

        if (r == 0 && (!is_inside(command.path, command.storage, sizeof(command.storage)) ||
                       bytes_index(command.path, '\n') >= 0 || bytes_index(command.path, '\0') >= 0)) {
            abort();
        }
        for (size_t i = 0; r == 0 && i < command.parameter_count; i++) {
            if (!is_inside(command.parameters[i].name, data, size) ||
                !is_inside(command.parameters[i].value, data, size) || command.parameters[i].name.n == 0) {
                abort();
            }
        }
    }
    (void)smtp_command_attributes(&command);
    return 0;
}
