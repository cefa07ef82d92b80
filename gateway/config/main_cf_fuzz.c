/*
 * main_cf_fuzz - any main.cf: reading, mending, expansion, conversion, warnings, packing. What loads must
 * pack and unpack to the same bytes. The input is read through a memory file, so nothing is written.
 */
#include <stdlib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config_internal.h"
#include "config/config_mend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 16384, OUTPUT_MAX = 1 << 24 };

static int
take_setting(void *context, const struct config_setting *setting)
{
    return setting->bad != NULL ? 0 : config_set(context, setting->name, setting->value, setting->number);
}

static void
pack_and_compare(const struct config *config)
{
    struct buf first, second;
    struct config *copy = NULL;

    buf_init(&first, OUTPUT_MAX);
    buf_init(&second, OUTPUT_MAX);
    if (config_pack(config, &first) != 0 || config_unpack(bytes_buf(&first), &copy) != 0 ||
        config_pack(copy, &second) != 0 || !bytes_equal(bytes_buf(&first), bytes_buf(&second))) {
        abort();
    }
    config_free(&copy);
    buf_free(&first);
    buf_free(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = config_alloc("/conf");
    struct buf why;
    char path[64];
    int fd = memfd_create("main.cf", MFD_CLOEXEC);

    if (size > INPUT_MAX || config == NULL || fd == -1 || write(fd, data, size) != (ssize_t)size) {
        config_free(&config);
        (void)close(fd);
        return 0;
    }
    buf_init(&why, OUTPUT_MAX);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (config_read_settings(path, take_setting, config, &why) == 0 && config_compute_defaults(config) == 0 &&
        config_evaluate(config, "main.cf", &why) == 0 && config_make_views(config, &why) == 0) {
        config_warn(config, "main.cf", &why);
        pack_and_compare(config);
    }
    config_free(&config);
    buf_free(&why);
    (void)close(fd);
    return 0;
}
