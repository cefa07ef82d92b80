/*
 * main_cf - see the header. Before: config_load(); after: config.c keeps the values.
 */
#include "config/main_cf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "config/config.h"

enum { FILE_MAX_BYTES = 256 * 1024 * 1024, READ_PIECE = 65536, STRAY_SHOWN = 30 };

static int
read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = 0;

    if (fd == -1) {
        return GW_ERR_SYS;
    }
    for (;;) {
        if ((r = buf_reserve(out, READ_PIECE)) != 0) {
            break;
        }
        ssize_t n = read(fd, out->p + out->n, READ_PIECE);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            out->n += (size_t)n;
        } else if (errno != EINTR) {
            r = GW_ERR_SYS;
            break;
        }
    }
    (void)close(fd);
    return r;
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* bytes_trim() with the blanks of isspace(3), which is what Postfix goes by. */
static struct bytes
trim(struct bytes line)
{
    while (line.n > 0 && is_blank(line.p[line.n - 1])) {
        line.n--;
    }
    while (line.n > 0 && is_blank(line.p[0])) {
        line = bytes_sub(line, 1, line.n);
    }
    return line;
}

static bool
is_comment_or_empty(struct bytes line)
{
    struct bytes text = trim(line);

    return text.n == 0 || text.p[0] == '#';
}

bool
config_line_is_stray(struct bytes line)
{
    return line.n > 0 && is_blank(line.p[0]);
}

struct reader {
    const char *path;
    bool raw;
    config_line_visitor *visit;
    void *context;
};

/* One logical line; the first of a file may begin with blanks and continue nothing. */
static int
visit_line(const struct reader *reader, struct bytes line, int number)
{
    if (!reader->raw && config_line_is_stray(line)) {
        log_warning("config", "%s: logical line must not start with whitespace: \"%.*s%s\"", reader->path,
                    line.n > STRAY_SHOWN ? STRAY_SHOWN : (int)line.n, (const char *)line.p,
                    line.n > STRAY_SHOWN ? "..." : "");
        return 0;
    }
    return reader->visit(reader->context, reader->raw ? line : trim(line), number);
}

static int
visit_logical_lines(const struct reader *reader, struct bytes rest)
{
    struct buf logical;
    struct bytes line;
    int number = 0, first = 0, r = 0;

    buf_init(&logical, CONFIG_LINE_MAX);
    while (r == 0 && bytes_next_line(&rest, &line)) {
        bool continues = line.n > 0 && is_blank(line.p[0]);

        number++;
        if (is_comment_or_empty(line)) {
            continue;
        }
        if (!continues && first > 0) {
            r = visit_line(reader, bytes_buf(&logical), first);
            buf_clear(&logical);
            first = 0;
        }
        if (first == 0) {
            first = number;
        } else if (reader->raw) {
            r = r == 0 ? buf_append_byte(&logical, '\n') : r;
        }
        r = r == 0 ? buf_append_bytes(&logical, line) : r; /* with its blanks, as Postfix joins lines */
    }
    if (r == 0 && first > 0) {
        r = visit_line(reader, bytes_buf(&logical), first);
    }
    buf_free(&logical);
    return r;
}

static int
read_lines(const struct reader *reader, struct buf *why_r)
{
    const char *path = reader->path;
    struct buf content;
    int r;

    buf_init(&content, FILE_MAX_BYTES);
    r = read_file(path, &content);
    if (r != 0) {
        (void)buf_printf(why_r, "%s: cannot be read: %s; create it or name another directory with -c\n", path,
                         r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
    } else {
        r = visit_logical_lines(reader, bytes_buf(&content));
        if (r == GW_ERR_LIMIT) {
            (void)buf_printf(why_r, "%s: a line is longer than %d bytes\n", path, CONFIG_LINE_MAX);
        }
    }
    buf_free(&content);
    return r;
}

int
config_read_lines(const char *path, config_line_visitor *visit, void *context, struct buf *why_r)
{
    struct reader reader = {.path = path, .visit = visit, .context = context};

    return read_lines(&reader, why_r);
}

int
config_read_lines_raw(const char *path, config_line_visitor *visit, void *context, struct buf *why_r)
{
    struct reader reader = {.path = path, .raw = true, .visit = visit, .context = context};

    return read_lines(&reader, why_r);
}

int
config_split_setting(struct bytes line, struct bytes *name_r, struct bytes *value_r)
{
    ptrdiff_t equals = bytes_index(line, '=');

    if (equals <= 0) {
        return GW_ERR_SYNTAX;
    }
    *name_r = trim(bytes_sub(line, 0, (size_t)equals));
    *value_r = trim(bytes_sub(line, (size_t)equals + 1, line.n));
    for (size_t i = 0; i < name_r->n; i++) {
        if (is_blank(name_r->p[i])) {
            return GW_ERR_SYNTAX;
        }
    }
    return name_r->n == 0 ? GW_ERR_SYNTAX : 0;
}
