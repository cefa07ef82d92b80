/*
 * ctl_edit - see the header. Before: postconf -e, -X, -#; after: the next reload reads the file.
 *
 * Every logical line that sets one of the names is replaced, removed or commented out; a name that no line
 * sets is added at the end. The new text goes to a file beside, is synced and renamed over the old one.
 */
#include "ctl/ctl_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/main_cf.h"

enum { FILE_BYTES_MAX = 16 * 1024 * 1024, PATH_BYTES = 4096, READ_PIECE = 65536 };

struct edit {
    enum ctl_edit_kind kind;
    struct bytes names[CTL_EDIT_NAMES_MAX], values[CTL_EDIT_NAMES_MAX];
    bool done[CTL_EDIT_NAMES_MAX];
    size_t count;
    struct buf out;
};

static int
take_words(struct edit *edit, char *const *words, size_t count, struct buf *why_r)
{
    if (count > CTL_EDIT_NAMES_MAX) {
        return GW_ERR_LIMIT;
    }
    for (size_t i = 0; i < count; i++) {
        struct bytes word = bytes_trim(bytes_str(words[i]));

        edit->names[i] = word;
        if (bytes_index(word, '\n') >= 0 ||
            (edit->kind == CTL_EDIT_SET ? config_split_setting(word, &edit->names[i], &edit->values[i]) != 0
                                        : bytes_index(word, '=') >= 0)) {
            (void)buf_printf(why_r, "bad argument \"%s\"; write %s", words[i],
                             edit->kind == CTL_EDIT_SET ? "name=value" : "the names of parameters");
            return GW_ERR_SYNTAX;
        }
        edit->count++;
    }
    return 0;
}

static int
read_all(const char *path, struct buf *out, struct stat *status)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = 0;

    if (fd == -1) {
        return GW_ERR_SYS;
    }
    ssize_t n = fstat(fd, status) == -1 ? -1 : 1;
    while (n > 0 && (r = buf_reserve(out, READ_PIECE)) == 0 &&
           (n = read(fd, out->p + out->n, READ_PIECE)) > 0) {
        out->n += (size_t)n;
    }
    (void)close(fd);
    return n < 0 ? GW_ERR_SYS : r;
}

/* The index of the name that a line sets, or -1. */
static ptrdiff_t
find_name(const struct edit *edit, struct bytes line)
{
    struct bytes name, value;

    if (line.n == 0 || line.p[0] == '#' || config_split_setting(line, &name, &value) != 0) {
        return -1;
    }
    for (size_t i = edit->count; i-- > 0;) {
        if (bytes_equal(name, edit->names[i])) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static int
append_setting(struct edit *edit, size_t index)
{
    edit->done[index] = true;
    return buf_printf(&edit->out, "%.*s = %.*s\n", BYTES_FMT(edit->names[index]),
                      BYTES_FMT(edit->values[index]));
}

/* One physical line; *hit is the name of the logical line it belongs to. */
static int
edit_line(struct edit *edit, struct bytes line, ptrdiff_t *hit)
{
    struct bytes text = bytes_trim(line);
    bool comment = text.n == 0 || text.p[0] == '#';
    bool continues = !comment && (line.p[0] == ' ' || line.p[0] == '\t');
    int r = 0;

    if (!comment && !continues) {
        *hit = find_name(edit, line);
        if (*hit >= 0 && edit->kind == CTL_EDIT_SET) {
            return append_setting(edit, (size_t)*hit);
        }
    }
    if (!comment && *hit >= 0) {
        if (edit->kind != CTL_EDIT_COMMENT) {
            return 0;
        }
        r = buf_append_byte(&edit->out, '#');
    }
    r = r == 0 ? buf_append_bytes(&edit->out, line) : r;
    return r == 0 ? buf_append_byte(&edit->out, '\n') : r;
}

static int
write_all(int fd, struct bytes text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n == -1 && errno != EINTR) {
            return GW_ERR_SYS;
        }
        text = bytes_sub(text, n > 0 ? (size_t)n : 0, text.n);
    }
    return 0;
}

static int
replace_file(const char *path, const struct buf *text, const struct stat *status)
{
    char beside[PATH_BYTES];
    int n = snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
    int fd = n > 0 && n < PATH_BYTES ? mkstemp(beside) : -1;
    int r = GW_ERR_SYS;

    if (fd == -1) {
        return r;
    }
    if (fchmod(fd, status->st_mode & 07777) == 0 &&
        (geteuid() != 0 || fchown(fd, status->st_uid, status->st_gid) == 0) &&
        write_all(fd, bytes_buf(text)) == 0 && fsync(fd) == 0 && rename(beside, path) == 0) {
        r = 0;
    }
    int kept = errno;
    (void)close(fd);
    if (r != 0) {
        (void)unlink(beside);
    }
    errno = kept;
    return r;
}

int
ctl_edit_main_cf(const char *path, enum ctl_edit_kind kind, char *const *words, size_t count,
                 struct buf *why_r)
{
    struct edit *edit = calloc(1, sizeof(*edit));
    struct buf content;
    struct stat status;
    struct bytes rest, line;
    ptrdiff_t hit = -1;
    int r = GW_ERR_NOMEM;

    if (edit == NULL) {
        return r;
    }
    buf_init(&content, FILE_BYTES_MAX);
    buf_init(&edit->out, FILE_BYTES_MAX);
    edit->kind = kind;
    if ((r = take_words(edit, words, count, why_r)) != 0 || (r = read_all(path, &content, &status)) != 0) {
        goto out;
    }
    rest = bytes_buf(&content);
    while (r == 0 && bytes_next_line(&rest, &line)) {
        r = edit_line(edit, line, &hit);
    }
    for (size_t i = 0; r == 0 && kind == CTL_EDIT_SET && i < edit->count; i++) {
        /* Of a name that was given twice the last value counts. */
        bool later = false;

        for (size_t k = i + 1; k < edit->count; k++) {
            later |= bytes_equal(edit->names[i], edit->names[k]);
        }
        if (!edit->done[i] && !later) {
            r = append_setting(edit, i);
        }
    }
    r = r == 0 ? replace_file(path, &edit->out, &status) : r;
out:
    if (r == GW_ERR_SYS) {
        (void)buf_printf(why_r, "%s: %s", path, strerror(errno));
    }
    buf_free(&content);
    buf_free(&edit->out);
    free(edit);
    return r;
}
