/*
 * main_cf - see the header. Before: config_load(); after: config.c keeps the values.
 */
#include "config/main_cf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "config/config.h"

enum { FILE_MAX_BYTES = 256 * 1024 * 1024, READ_PIECE = 65536 };

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
is_comment_or_empty(struct bytes line)
{
    struct bytes text = bytes_trim(line);

    return text.n == 0 || text.p[0] == '#';
}

static int
visit_logical_lines(struct bytes rest, config_line_visitor *visit, void *context)
{
    struct buf logical;
    struct bytes line;
    int number = 0, first = 0, r = 0;

    buf_init(&logical, CONFIG_LINE_MAX);
    while (r == 0 && bytes_next_line(&rest, &line)) {
        bool continues = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

        number++;
        if (is_comment_or_empty(line)) {
            continue;
        }
        if (!continues && first > 0) {
            r = visit(context, bytes_trim(bytes_buf(&logical)), first);
            buf_clear(&logical);
            first = 0;
        }
        if (first == 0) {
            first = number;
        }
        r = r == 0 ? buf_append_bytes(&logical, line) : r; /* with its blanks, as Postfix joins lines */
    }
    if (r == 0 && first > 0) {
        r = visit(context, bytes_trim(bytes_buf(&logical)), first);
    }
    buf_free(&logical);
    return r;
}

int
config_read_lines(const char *path, config_line_visitor *visit, void *context, struct buf *why_r)
{
    struct buf content;
    int r;

    buf_init(&content, FILE_MAX_BYTES);
    r = read_file(path, &content);
    if (r != 0) {
        (void)buf_printf(why_r, "%s: cannot be read: %s; create it or name another directory with -c\n", path,
                         r == GW_ERR_SYS ? strerror(errno) : gw_strerror(r));
    } else {
        r = visit_logical_lines(bytes_buf(&content), visit, context);
        if (r == GW_ERR_LIMIT) {
            (void)buf_printf(why_r, "%s: a line is longer than %d bytes\n", path, CONFIG_LINE_MAX);
        }
    }
    buf_free(&content);
    return r;
}

int
config_split_setting(struct bytes line, struct bytes *name_r, struct bytes *value_r)
{
    ptrdiff_t equals = bytes_index(line, '=');

    if (equals <= 0) {
        return GW_ERR_SYNTAX;
    }
    *name_r = bytes_trim(bytes_sub(line, 0, (size_t)equals));
    *value_r = bytes_trim(bytes_sub(line, (size_t)equals + 1, line.n));
    for (size_t i = 0; i < name_r->n; i++) {
        if (name_r->p[i] == ' ' || name_r->p[i] == '\t') {
            return GW_ERR_SYNTAX;
        }
    }
    return name_r->n == 0 ? GW_ERR_SYNTAX : 0;
}
