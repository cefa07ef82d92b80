/*
 * config_pack - a configuration as bytes, for the sealed memfd that every role of a generation gets.
 *
 * Raw values travel, and the defaults that depend on the machine, so that a role in its jail evaluates to the
 * same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/pack.h"
#include "config/config_internal.h"

enum { NAME_MAX_BYTES = 4096, ARGUMENTS_MAX = 256 };

static int
pack_values(struct buf *out, char *const *values)
{
    uint32_t count = 0;
    int r;

    for (size_t i = 0; i < PARAM_COUNT; i++) {
        count += values[i] != NULL;
    }
    r = pack_u32(out, count);
    for (size_t i = 0; r == 0 && i < PARAM_COUNT; i++) {
        if (values[i] != NULL && (r = pack_u16(out, (uint16_t)i)) == 0) {
            r = pack_str(out, values[i]);
        }
    }
    return r;
}

/* Lines travel for the messages of roles. */
static int
pack_lines(struct buf *out, const struct config *config)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < PARAM_COUNT; i++) {
        if (config->raw[i] != NULL) {
            r = pack_u32(out, (uint32_t)config->line[i]);
        }
    }
    return r;
}

static int
pack_service(struct buf *out, const struct config_service *service)
{
    uint32_t arguments = 0;
    int r = pack_str(out, service->name);

    while (service->arguments != NULL && service->arguments[arguments] != NULL) {
        arguments++;
    }
    r = r == 0 ? pack_str(out, service->type) : r;
    r = r == 0 ? pack_str(out, service->program) : r;
    r = r == 0
            ? pack_u8(out, (uint8_t)(service->is_private | service->unprivileged << 1 | service->chroot << 2))
            : r;
    r = r == 0 ? pack_u32(out, (uint32_t)service->wakeup_s) : r;
    r = r == 0 ? pack_u32(out, (uint32_t)service->max_processes) : r;
    r = r == 0 ? pack_u32(out, (uint32_t)service->line) : r;
    r = r == 0 ? pack_u32(out, arguments) : r;
    for (uint32_t i = 0; r == 0 && i < arguments; i++) {
        r = pack_str(out, service->arguments[i]);
    }
    r = r == 0 ? pack_u32(out, (uint32_t)service->override_count) : r;
    for (size_t i = 0; r == 0 && i < service->override_count; i++) {
        r = pack_str(out, service->overrides[i].name);
        r = r == 0 ? pack_str(out, service->overrides[i].value) : r;
    }
    return r;
}

int
config_pack(const struct config *config, struct buf *out)
{
    int r = pack_str(out, config->directory);

    r = r == 0 ? pack_values(out, config->raw) : r;
    r = r == 0 ? pack_lines(out, config) : r;
    r = r == 0 ? pack_values(out, config->computed) : r;
    r = r == 0 ? pack_u32(out, (uint32_t)config->variable_count) : r;
    for (size_t i = 0; r == 0 && i < config->variable_count; i++) {
        r = pack_str(out, config->variables[i].name);
        r = r == 0 ? pack_str(out, config->variables[i].raw) : r;
    }
    r = r == 0 ? pack_u32(out, (uint32_t)config->service_count) : r;
    for (size_t i = 0; r == 0 && i < config->service_count; i++) {
        r = pack_service(out, &config->services[i]);
    }
    return r;
}

static char *
take_text(struct unpack *u)
{
    char *text = bytes_dup_str(unpack_bytes(u, CONFIG_LINE_MAX));

    if (text == NULL) {
        u->error = GW_ERR_SYNTAX;
    }
    return text;
}

static void
unpack_values(struct unpack *u, char **values)
{
    uint32_t count = unpack_u32(u);

    for (uint32_t i = 0; i < count && u->error == 0; i++) {
        uint16_t index = unpack_u16(u);

        if (index >= PARAM_COUNT) {
            u->error = GW_ERR_SYNTAX;
            return;
        }
        free(values[index]);
        values[index] = take_text(u);
    }
}

static void
unpack_service(struct unpack *u, struct config_service *service)
{
    service->name = take_text(u);
    service->type = take_text(u);
    service->program = take_text(u);
    uint8_t flags = unpack_u8(u);
    service->is_private = (flags & 1) != 0;
    service->unprivileged = (flags & 2) != 0;
    service->chroot = (flags & 4) != 0;
    service->wakeup_s = (int)unpack_u32(u);
    service->max_processes = (int)unpack_u32(u);
    service->line = (int)unpack_u32(u);
    uint32_t arguments = unpack_u32(u);
    if (arguments > ARGUMENTS_MAX || (service->arguments = calloc(arguments + 1, sizeof(char *))) == NULL) {
        u->error = GW_ERR_SYNTAX;
        return;
    }
    for (uint32_t i = 0; i < arguments && u->error == 0; i++) {
        service->arguments[i] = take_text(u);
    }
    uint32_t overrides = unpack_u32(u);
    if (overrides > CONFIG_VARIABLES_MAX ||
        (service->overrides = calloc(overrides + 1, sizeof(*service->overrides))) == NULL) {
        u->error = GW_ERR_SYNTAX;
        return;
    }
    for (uint32_t i = 0; i < overrides && u->error == 0; i++) {
        service->overrides[i].name = take_text(u);
        service->overrides[i].value = take_text(u);
        service->override_count++;
    }
}

int
config_unpack(struct bytes packed, struct config **config_r)
{
    struct config *config = config_alloc("");
    struct unpack u;
    struct buf why;
    int r = GW_ERR_NOMEM;

    *config_r = NULL;
    buf_init(&why, NAME_MAX_BYTES);
    if (config == NULL) {
        return r;
    }
    unpack_begin(&u, packed);
    free(config->directory);
    config->directory = take_text(&u);
    unpack_values(&u, config->raw);
    for (size_t i = 0; i < PARAM_COUNT && u.error == 0; i++) {
        if (config->raw[i] != NULL) {
            config->line[i] = (int)unpack_u32(&u);
        }
    }
    unpack_values(&u, config->computed);
    uint32_t variables = unpack_u32(&u);
    for (uint32_t i = 0; i < variables && u.error == 0; i++) {
        struct bytes name = unpack_bytes(&u, NAME_MAX_BYTES), value = unpack_bytes(&u, CONFIG_LINE_MAX);

        if (u.error == 0) {
            u.error = config_set(config, name, value, 0);
        }
    }
    uint32_t services = unpack_u32(&u);
    for (uint32_t i = 0; i < services && u.error == 0; i++) {
        struct config_service *service = config_add_service(config);

        if (service == NULL) {
            u.error = GW_ERR_LIMIT;
        } else {
            unpack_service(&u, service);
        }
    }
    r = unpack_end(&u);
    r = r == 0 ? config_evaluate(config, "main.cf", &why) : r;
    r = r == 0 ? config_make_views(config, &why) : r;
    if (r == 0) {
        *config_r = config;
        config = NULL; /* transferred */
    }
    config_free(&config);
    buf_free(&why);
    return r;
}
