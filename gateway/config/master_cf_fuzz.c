/*
 * master_cf_fuzz - any master.cf: rows, columns, -o pairs, views; and any bytes as the packed form.
 *
 * An input that begins with 'P' is tried as a packed configuration, which a role gets from master: it must be
 * refused or taken, never more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 16384, OUTPUT_MAX = 1 << 24 };

static void
try_packed(struct bytes packed)
{
    struct config *config = NULL;

    (void)config_unpack(packed, &config);
    config_free(&config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char directory[] = "/tmp/master_cf_fuzz.XXXXXX", link[64], target[64];
    struct config *config;
    struct buf why;
    int fd;

    if (size > INPUT_MAX) {
        return 0;
    }
    if (size > 0 && data[0] == 'P') {
        try_packed(bytes_of(data + 1, size - 1));
    }
    fd = memfd_create("master.cf", MFD_CLOEXEC);
    if (fd == -1 || write(fd, data, size) != (ssize_t)size || mkdtemp(directory) == NULL) {
        (void)close(fd);
        return 0;
    }
    (void)snprintf(link, sizeof(link), "%s/master.cf", directory);
    (void)snprintf(target, sizeof(target), "/proc/self/fd/%d", fd);
    config = config_alloc(directory);
    buf_init(&why, OUTPUT_MAX);
    if (config != NULL && symlink(target, link) == 0 && config_read_master(config, &why) == 0 &&
        config_compute_defaults(config) == 0 && config_evaluate(config, "main.cf", &why) == 0 &&
        config_make_views(config, &why) == 0) {
        for (size_t i = 0; i < config_service_count(config); i++) {
            if (config_view(config, i) == NULL || config_service(config, i)->program == NULL) {
                abort();
            }
        }
    }
    config_free(&config);
    buf_free(&why);
    (void)unlink(link);
    (void)rmdir(directory);
    (void)close(fd);
    return 0;
}
