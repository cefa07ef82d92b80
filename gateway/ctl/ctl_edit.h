/*
 * ctl_edit - changing main.cf while keeping its comments, order and form. Private to ctl_postconf.c.
 */
#ifndef CTL_CTL_EDIT_H
#define CTL_CTL_EDIT_H

#include "base/bytes.h"

enum ctl_edit_kind { CTL_EDIT_SET, CTL_EDIT_REMOVE, CTL_EDIT_COMMENT };

enum { CTL_EDIT_NAMES_MAX = 1000 };

/* words: "name=value" for CTL_EDIT_SET, else names. The file is replaced whole or not at all. 0,
 * GW_ERR_SYNTAX (a word), GW_ERR_SYS, with the reason in why_r. */
int ctl_edit_main_cf(const char *path, enum ctl_edit_kind kind, char *const *words, size_t count,
                     struct buf *why_r);

#endif
