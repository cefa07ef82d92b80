/*
 * smtp_command - one SMTP command line: its verb, its path and its parameters (RFC 5321 section 4.1).
 *
 * Before: the stream gives a line without its ending; after: receive acts on the verb. Views point into the
 * line or into the command's own storage for what had to be decoded. Nothing is refused for being unknown:
 * that is the verb table's business. Postfix's leniency (blanks around, missing angle brackets) holds unless
 * `strict`.
 */
#ifndef MESSAGE_SMTP_COMMAND_H
#define MESSAGE_SMTP_COMMAND_H

#include "base/bytes.h"

enum smtp_verb {
    SMTP_UNKNOWN,
    SMTP_HELO,
    SMTP_EHLO,
    SMTP_STARTTLS,
    SMTP_AUTH,
    SMTP_MAIL,
    SMTP_RCPT,
    SMTP_DATA,
    SMTP_BDAT,
    SMTP_RSET,
    SMTP_NOOP,
    SMTP_VRFY,
    SMTP_EXPN,
    SMTP_ETRN,
    SMTP_HELP,
    SMTP_QUIT,
    SMTP_XCLIENT,
    SMTP_XFORWARD,
    SMTP_VERB_COUNT
};

enum { SMTP_PARAMETERS_MAX = 32, SMTP_PATH_MAX = 1024 };

struct smtp_parameter {
    struct bytes name, value; /* value.p NULL: no "=" */
};

struct smtp_command {
    enum smtp_verb verb;
    struct bytes word;     /* the verb as written */
    struct bytes argument; /* everything behind it, trimmed */
    /* MAIL and RCPT, after smtp_command_path() */
    struct bytes path; /* without <>, source route and quoting that is not needed; empty: the null sender */
    struct smtp_parameter parameters[SMTP_PARAMETERS_MAX]; /* also of XCLIENT, XFORWARD, BDAT */
    size_t parameter_count;
    uint8_t storage[SMTP_PATH_MAX];
};

/* Splits the verb off. GW_ERR_SYNTAX: an empty line, NUL, a control character other than TAB, bytes that are
 * no UTF-8. */
int smtp_command_parse(struct bytes line, struct smtp_command *command_r);
/* Parses the argument of MAIL ("FROM:") or RCPT ("TO:"): path and parameters. GW_ERR_SYNTAX, GW_ERR_LIMIT. */
int smtp_command_path(struct smtp_command *command, struct bytes prefix, bool strict);
/* Parses the argument as NAME=VALUE words. */
int smtp_command_attributes(struct smtp_command *command);

const char *smtp_verb_name(enum smtp_verb verb); /* "MAIL" */
const char *
smtp_verb_log_name(enum smtp_verb verb); /* "mail", "unknown": the counters of the disconnect line */

/* RFC 3461 xtext: "+3D" is "=". GW_ERR_SYNTAX, GW_ERR_LIMIT. */
int xtext_decode(struct bytes text, uint8_t *out, size_t size, size_t *n_r);

#endif
