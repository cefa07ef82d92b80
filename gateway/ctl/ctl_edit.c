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
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "config/main_cf.h"

enum { PATH_BYTES = 4096, READ_PIECE = 65536, TRIES = 100 };

struct edit {
    enum ctl_edit_kind kind;
    struct bytes names[CTL_EDIT_NAMES_MAX], values[CTL_EDIT_NAMES_MAX];
    bool done[CTL_EDIT_NAMES_MAX], dropped[CTL_EDIT_NAMES_MAX];
    size_t count;
    const char *path;
    struct buf out, *why;
};

static int
complain(struct edit *edit, const char *what, const char *word)
{
    (void)buf_printf(edit->why, "%s%s%s%s", what, word != NULL ? ": \"" : "", word != NULL ? word : "",
                     word != NULL ? "\"" : "");
    return GW_ERR_SYNTAX;
}

static int
take_word(struct edit *edit, const char *text)
{
    struct bytes word = bytes_trim(bytes_str(text)), *name = &edit->names[edit->count];
    struct bytes *value = &edit->values[edit->count];

    if (bytes_index(word, '\n') >= 0) {
        return complain(edit, "-e, -X, or -# accepts no multi-line input", NULL);
    }
    *name = word;
    if (edit->kind == CTL_EDIT_SET && config_split_setting(word, name, value) != 0) {
        return complain(edit,
                        word.n > 0 && word.p[0] == '=' ? "missing attribute name"
                                                       : "missing '=' after attribute name",
                        text);
    }
    if (name->n == 0 || name->p[0] == '#') {
        return complain(edit, "-X or -# requires non-blank parameter names", NULL);
    }
    /* Of a name that is given twice the last value counts. */
    for (size_t i = 0; i < edit->count; i++) {
        if (!edit->dropped[i] && edit->kind == CTL_EDIT_SET && bytes_equal(*name, edit->names[i])) {
            (void)buf_printf(edit->why, "ignoring earlier request: '%.*s = %.*s'\n", BYTES_FMT(*name),
                             BYTES_FMT(edit->values[i]));
            edit->dropped[i] = true;
        }
    }
    edit->count++;
    return 0;
}

static int
take_words(struct edit *edit, char *const *words, size_t count)
{
    int r = count > CTL_EDIT_NAMES_MAX ? complain(edit, "too many names at once", NULL) : 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        r = take_word(edit, words[i]);
    }
    return r;
}

static int
read_all(int fd, struct buf *out)
{
    ssize_t n = 1;
    int r = 0;

    while (n > 0 && (r = buf_reserve(out, READ_PIECE)) == 0 &&
           (n = read(fd, out->p + out->n, READ_PIECE)) > 0) {
        out->n += (size_t)n;
    }
    return n < 0 ? GW_ERR_SYS : r;
}

/* Another editor may have renamed a new file over the one that was opened before its lock came. */
static int
open_locked(const char *path, struct stat *status)
{
    struct stat now;

    for (int i = 0; i < TRIES; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd == -1) {
            return -1;
        }
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, status) == 0 && stat(path, &now) == 0 &&
            now.st_ino == status->st_ino && now.st_dev == status->st_dev) {
            return fd;
        }
        (void)close(fd);
    }
    errno = EAGAIN;
    return -1;
}

int
ctl_edit_open(const char *path, struct ctl_edit_file *file)
{
    buf_init(&file->content, CTL_EDIT_FILE_MAX);
    file->fd = open_locked(path, &file->status);
    return file->fd == -1 ? GW_ERR_SYS : read_all(file->fd, &file->content);
}

void
ctl_edit_close(struct ctl_edit_file *file)
{
    if (file->fd != -1) {
        (void)close(file->fd);
        file->fd = -1;
    }
    buf_free(&file->content);
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
        if (!edit->dropped[i] && bytes_equal(name, edit->names[i])) {
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
        if (*hit >= 0 && edit->done[*hit]) {
            (void)buf_printf(edit->why, "%s: multiple entries for \"%.*s\"\n", edit->path,
                             BYTES_FMT(edit->names[*hit]));
        }
        if (*hit >= 0) {
            edit->done[*hit] = true;
        }
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

int
ctl_edit_replace(const char *path, const struct ctl_edit_file *file, const struct buf *text)
{
    const struct stat *status = &file->status;
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
    struct ctl_edit_file file = {.fd = -1};
    struct bytes rest, line;
    ptrdiff_t hit = -1;
    int r = GW_ERR_NOMEM;

    if (edit == NULL) {
        return r;
    }
    buf_init(&edit->out, CTL_EDIT_FILE_MAX);
    edit->kind = kind;
    edit->path = path;
    edit->why = why_r;
    if ((r = take_words(edit, words, count)) != 0 || (r = ctl_edit_open(path, &file)) != 0) {
        goto out;
    }
    rest = bytes_buf(&file.content);
    while (r == 0 && bytes_next_line(&rest, &line)) {
        r = edit_line(edit, line, &hit);
    }
    for (size_t i = 0; r == 0 && kind == CTL_EDIT_SET && i < edit->count; i++) {
        if (!edit->done[i] && !edit->dropped[i]) {
            r = append_setting(edit, i);
        }
    }
    r = r == 0 ? ctl_edit_replace(path, &file, &edit->out) : r;
out:
    if (r == GW_ERR_SYS) {
        buf_clear(why_r);
        (void)buf_printf(why_r, "open %s: %s", path, strerror(errno));
    }
    ctl_edit_close(&file);
    buf_free(&edit->out);
    free(edit);
    return r;
}
