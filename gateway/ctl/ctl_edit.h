/*
 * ctl_edit - changing main.cf and master.cf while keeping comments, order, owner and mode. Private to
 * postconf.
 */
#ifndef CTL_CTL_EDIT_H
#define CTL_CTL_EDIT_H

#include <sys/stat.h>

#include "base/bytes.h"

enum ctl_edit_kind { CTL_EDIT_SET, CTL_EDIT_REMOVE, CTL_EDIT_COMMENT };

enum { CTL_EDIT_NAMES_MAX = 1000, CTL_EDIT_FILE_MAX = 16 * 1024 * 1024 };

/* words: "name=value" for CTL_EDIT_SET, else names. The file is replaced whole or not at all. 0,
 * GW_ERR_SYNTAX (a word), GW_ERR_SYS, with the reason in why_r; with 0 it may hold lines of warnings. */
int ctl_edit_main_cf(const char *path, enum ctl_edit_kind kind, char *const *words, size_t count,
                     struct buf *why_r);

/* A file that is being edited: one editor at a time. */
struct ctl_edit_file {
    int fd;
    struct stat status;
    struct buf content;
};
/* Opens, locks and reads. 0, GW_ERR_SYS with errno. */
int ctl_edit_open(const char *path, struct ctl_edit_file *file);
/* The new text is synced beside and renamed over the old one. 0, GW_ERR_SYS with errno. */
int ctl_edit_replace(const char *path, const struct ctl_edit_file *file, const struct buf *text);
void ctl_edit_close(struct ctl_edit_file *file);

#endif
