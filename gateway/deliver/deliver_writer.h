/*
 * deliver_writer - a message as mailboxes and programs want it: headers of ours in front, LF line ends,
 * quoting.
 */
#ifndef DELIVER_DELIVER_WRITER_H
#define DELIVER_DELIVER_WRITER_H

#include "deliver/deliver_task.h"

enum deliver_form {
    DELIVER_FROM_LINE = 1,    /* "From sender date" before all */
    DELIVER_RETURN_PATH = 2,  /* Return-Path: <sender> */
    DELIVER_ORIGINAL_TO = 4,  /* X-Original-To: */
    DELIVER_DELIVERED_TO = 8, /* Delivered-To: */
    DELIVER_QUOTE_FROM = 16,  /* ">" before lines that begin with "From " */
    DELIVER_QUOTE_DOT = 32,   /* "." before lines that begin with "." */
    DELIVER_BLANK_LINE = 64,  /* an empty line at the end */
    DELIVER_CRLF = 128,       /* line ends stay CRLF */
};

struct deliver_message {
    int content_fd;
    uint64_t size;
    struct bytes sender, recipient, original;
    unsigned form; /* enum deliver_form */
    char date[32]; /* of the From line; made here, since time zones take locks a child could find held */
};

void deliver_message_fill(struct deliver_message *message, const struct deliver_task *task, size_t index,
                          unsigned form);
/* Writes all of it to fd. 0, or GW_ERR_SYS with errno. No allocation of memory outside its own frame: also
 * called in forked children. */
int deliver_writer_copy(const struct deliver_message *message, int fd);
/* True when a Delivered-To header already names the recipient: the message came round (5.4.6). */
bool deliver_writer_has_loop(const struct deliver_message *message);

#endif
