/*
 * ctl_import - see the header. Before: estafeta.c; after: ctl_import_repair.c finds what belongs together,
 * ctl_import_text.c shows it, ctl_edit.c writes.
 *
 * Nothing is changed without --write, and never at the start of the gateway: what a broken line was meant to
 * say is for a reader to decide, who sees the diff first.
 */
#include "ctl/ctl_import.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "config/pid_file.h"
#include "ctl/ctl_edit.h"
#include "ctl/ctl_import_private.h"

enum { STATUS_LEFT = 1, STATUS_USAGE = 64, STATUS_NOINPUT = 66, STATUS_CANTCREAT = 73, PATH_ROOM = 4096 };

struct import {
    bool repair, write;
    const char *directory; /* of -c */
    size_t repairs;
    int status;
};

static void
fail(struct import *import, int status, const char *path, const char *why)
{
    (void)fprintf(stderr, "estafeta: fatal: %s: %s\n", path, why);
    import->status = status;
}

static void
finish_text(struct import *import, struct ctl_edit_file *file, const struct import_text *text)
{
    struct buf out;

    if (text->left > 0 && import->status == 0) {
        import->status = STATUS_LEFT;
    }
    import->repairs += text->repairs;
    if (text->repairs == 0) {
        return;
    }
    import_text_diff(text, stdout);
    if (import->write) {
        buf_init(&out, CTL_EDIT_FILE_MAX);
        if (import_text_render(text, &out) != 0 || ctl_edit_replace(text->path, file, &out) != 0) {
            fail(import, STATUS_CANTCREAT, text->path, strerror(errno));
        }
        buf_free(&out);
    }
}

static void
repair_file(struct import *import, const char *path)
{
    struct ctl_edit_file file;
    struct import_text text;

    if (ctl_edit_open(path, &file) != 0) {
        fail(import, STATUS_NOINPUT, path, strerror(errno));
        return;
    }
    if (memchr(file.content.p != NULL ? file.content.p : (const uint8_t *)"", 0, file.content.n) != NULL) {
        ctl_edit_close(&file); /* an indexed table, no text */
        return;
    }
    int r = import_text_new(path, bytes_buf(&file.content), &text);
    r = r == 0 ? import_repair(&text) : r;
    if (r != 0) {
        fail(import, STATUS_NOINPUT, path, gw_strerror(r));
    } else {
        finish_text(import, &file, &text);
    }
    import_text_free(&text);
    ctl_edit_close(&file);
}

static int
is_file_of_interest(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return entry->d_name[0] != '.' && entry->d_name[n - 1] != '~' &&
           (n < 3 || strcmp(entry->d_name + n - 3, ".db") != 0);
}

static void
repair_directory(struct import *import, const char *directory)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_file_of_interest, alphasort);

    if (count == -1) {
        fail(import, STATUS_NOINPUT, directory, strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        char path[PATH_ROOM];
        struct stat status;

        (void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            repair_file(import, path);
        }
        free(entries[i]);
    }
    free(entries);
}

/* --- amavis.conf --- */

/* `my $smtp_port = "10025";` in a file of Perl; 0: it is not there. */
static unsigned
find_port(struct bytes content)
{
    static const char NAME[] = "$smtp_port";
    struct bytes line;

    while (bytes_next_line(&content, &line)) {
        struct bytes text = bytes_trim(line);
        ptrdiff_t name = bytes_find(text, bytes_str(NAME)), equals = bytes_index(text, '=');
        uint64_t port = 0;

        if (text.n == 0 || text.p[0] == '#' || name < 0 || equals < name) {
            continue;
        }
        for (size_t i = (size_t)equals; i < text.n && text.p[i] != ';'; i++) {
            if (text.p[i] >= '0' && text.p[i] <= '9' && port <= UINT16_MAX) {
                port = port * 10 + (uint64_t)(text.p[i] - '0');
            }
        }
        if (port > 0 && port <= UINT16_MAX) {
            return (unsigned)port;
        }
    }
    return 0;
}

static bool
has_port(const struct import_text *text, unsigned port)
{
    char number[16];

    (void)snprintf(number, sizeof(number), "%u", port);
    for (size_t i = 0; i < text->old_count; i++) {
        struct bytes rest = text->old[i], name, type;

        if (rest.n == 0 || rest.p[0] == '#' || rest.p[0] == ' ' || rest.p[0] == '\t' ||
            !bytes_next_token(&rest, " \t", &name) || !bytes_next_token(&rest, " \t", &type)) {
            continue;
        }
        ptrdiff_t colon = bytes_rindex(name, ':');
        if (bytes_equal(type, BYTES_LIT("inet")) &&
            bytes_equal(bytes_sub(name, (size_t)(colon + 1), name.n), bytes_str(number))) {
            return true;
        }
    }
    return false;
}

/* The row by which the filter returns mail, at the end of master.cf. */
static void
add_return_port(struct import *import, unsigned port)
{
    struct ctl_edit_file file;
    struct import_text text;
    char path[PATH_ROOM], row[256];
    int r;

    (void)snprintf(path, sizeof(path), "%s/master.cf", import->directory);
    if (ctl_edit_open(path, &file) != 0) {
        fail(import, STATUS_NOINPUT, path, strerror(errno));
        return;
    }
    r = import_text_new(path, bytes_buf(&file.content), &text);
    for (size_t i = 0; i < text.old_count && r == 0; i++) {
        r = import_text_keep(&text, i);
    }
    if (r == 0 && has_port(&text, port)) {
        (void)printf("$smtp_port = %u: master.cf has the port already\n", port);
    } else if (r == 0) {
        (void)snprintf(row, sizeof(row), "localhost:%u inet n - n - - smtpd -o content_filter=", port);
        r = import_text_add(&text, row);
        (void)printf("$smtp_port = %u: mail that the filter returns comes in by localhost:%u, unfiltered\n",
                     port, port);
    }
    if (r != 0) {
        fail(import, STATUS_NOINPUT, path, gw_strerror(r));
    } else {
        finish_text(import, &file, &text);
    }
    import_text_free(&text);
    ctl_edit_close(&file);
}

static void
import_amavis(struct import *import, const char *path)
{
    struct ctl_edit_file file;

    if (ctl_edit_open(path, &file) != 0) {
        fail(import, STATUS_NOINPUT, path, strerror(errno));
        return;
    }
    unsigned port = find_port(bytes_buf(&file.content));
    ctl_edit_close(&file);
    if (port == 0) {
        fail(import, STATUS_NOINPUT, path,
             "nothing to import: it sets no $smtp_port; for broken lines: import --repair");
    } else {
        add_return_port(import, port);
    }
}

int
ctl_import(int argc, char **argv)
{
    struct import import = {0};
    size_t names = 0;

    if (pid_file_directory(&argc, argv, &import.directory) != 0) {
        goto usage;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--repair") == 0) {
            import.repair = true;
        } else if (strcmp(argv[i], "--write") == 0) {
            import.write = true;
        } else if (argv[i][0] == '-') {
            goto usage;
        } else {
            names++;
        }
    }
    if (names == 0) {
        goto usage;
    }
    for (int i = 1; i < argc; i++) {
        struct stat status;

        if (argv[i][0] == '-') {
            continue;
        }
        if (!import.repair) {
            import_amavis(&import, argv[i]);
        } else if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
            repair_directory(&import, argv[i]);
        } else {
            repair_file(&import, argv[i]);
        }
    }
    if (import.repairs > 0 && !import.write) {
        (void)fprintf(stderr, "estafeta: %zu repairs, nothing written; add --write to write them\n",
                      import.repairs);
    }
    return import.status;
usage:
    (void)fprintf(stderr, "estafeta: fatal: usage: estafeta import --repair [--write] FILE|DIR ...\n"
                          "                 estafeta import [-c DIR] [--write] amavis.conf\n");
    return STATUS_USAGE;
}
