/*
 * ctl_postconf_print - lines of postconf's output, its warnings, and the small lists behind it.
 *
 * Before: every file of postconf; after: standard output and standard error.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "config/config.h"
#include "ctl/ctl_postconf_private.h"

enum { FIRST_ROOM = 16 };

static void
tell(const char *level, const char *format, va_list args)
{
    struct buf text;

    buf_init(&text, 2 * CONFIG_LINE_MAX);
    (void)buf_vprintf(&text, format, args);
    for (size_t i = 0; i < text.n; i++) {
        /* Nothing of a file moves a terminal's cursor. */
        text.p[i] = text.p[i] < 0x20 || text.p[i] >= 0x7f ? '?' : text.p[i];
    }
    (void)fflush(stdout);
    (void)fprintf(stderr, "postconf: %s: %s\n", level, buf_str(&text));
    buf_free(&text);
}

void
postconf_warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell("warning", format, args);
    va_end(args);
}

void
postconf_fatal(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell("fatal", format, args);
    va_end(args);
    exit(EXIT_FAILURE);
}

char *
postconf_copy(struct arena *arena, struct bytes text)
{
    char *copy = arena_strdup(arena, text);

    if (copy == NULL) {
        postconf_fatal("out of memory");
    }
    if (text.n > 0 && memchr(text.p, '\0', text.n) != NULL) {
        postconf_fatal("a NUL byte in a file");
    }
    return copy;
}

void *
postconf_grow(struct arena *arena, void *list, size_t *room, size_t count, size_t size)
{
    if (count < *room) {
        return list;
    }
    size_t more = *room == 0 ? FIRST_ROOM : 2 * *room;
    void *grown = arena_alloc(arena, more * size);
    if (grown == NULL) {
        postconf_fatal("out of memory");
    }
    if (count > 0) {
        memcpy(grown, list, count * size);
    }
    *room = more;
    return grown;
}

static struct postconf_setting *
find_setting(const struct postconf_settings *settings, struct bytes name)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (bytes_equal(name, bytes_str(settings->list[i].name))) {
            return &settings->list[i];
        }
    }
    return NULL;
}

const char *
postconf_settings_find(const struct postconf_settings *settings, struct bytes name)
{
    const struct postconf_setting *setting = find_setting(settings, name);

    return setting != NULL ? setting->value : NULL;
}

void
postconf_settings_put(struct arena *arena, struct postconf_settings *settings, struct bytes name,
                      struct bytes value)
{
    struct postconf_setting *setting = find_setting(settings, name);

    if (setting != NULL) {
        setting->value = postconf_copy(arena, value);
        return;
    }
    settings->list =
        postconf_grow(arena, settings->list, &settings->room, settings->count, sizeof(*settings->list));
    settings->list[settings->count++] =
        (struct postconf_setting){.name = postconf_copy(arena, name), .value = postconf_copy(arena, value)};
}

void
postconf_print(FILE *out, unsigned show, const char *format, ...)
{
    struct bytes rest, word;
    struct buf text;
    size_t at = 0;
    va_list args;

    buf_init(&text, 2 * CONFIG_LINE_MAX);
    va_start(args, format);
    int r = buf_vprintf(&text, format, args);
    va_end(args);
    if (r != 0) {
        postconf_fatal("%s", gw_strerror(r));
    }
    rest = bytes_buf(&text);
    while (bytes_next_token(&rest, " \t\r\n", &word)) {
        if (at > 0 && ((show & FOLD_LINES) == 0 || at + word.n < POSTCONF_LINE_LIMIT)) {
            (void)fputc(' ', out);
            at++;
        } else if (at > 0) {
            (void)fprintf(out, "\n%*s", POSTCONF_INDENT, "");
            at = POSTCONF_INDENT;
        }
        (void)fwrite(word.p, 1, word.n, out);
        at += word.n;
    }
    (void)fputc('\n', out);
    buf_free(&text);
}
