/*
 * header_field - the fields of a message's header: where each begins and ends, and what the known ones are
 * for.
 *
 * A header ends at the first line that is neither a field nor the continuation of one; an empty line behind
 * it is not part of it. Names are compared without regard to case.
 */
#ifndef MESSAGE_HEADER_FIELD_H
#define MESSAGE_HEADER_FIELD_H

#include "base/bytes.h"

enum { HEADER_FIELD_NAME_MAX = 255 };

/* Fields that mail servers know (cleanup(8), header_checks(5)). */
enum header_field {
    FIELD_OTHER,
    FIELD_APPARENTLY_TO,
    FIELD_BCC,
    FIELD_CC,
    FIELD_CONTENT_LENGTH,
    FIELD_DATE,
    FIELD_DELIVERED_TO,
    FIELD_DISPOSITION_NOTIFICATION_TO,
    FIELD_ERRORS_TO,
    FIELD_FROM,
    FIELD_MAIL_FOLLOWUP_TO,
    FIELD_MESSAGE_ID,
    FIELD_RECEIVED,
    FIELD_REPLY_TO,
    FIELD_RESENT_BCC,
    FIELD_RESENT_CC,
    FIELD_RESENT_DATE,
    FIELD_RESENT_FROM,
    FIELD_RESENT_MESSAGE_ID,
    FIELD_RESENT_REPLY_TO,
    FIELD_RESENT_SENDER,
    FIELD_RESENT_TO,
    FIELD_RETURN_PATH,
    FIELD_RETURN_RECEIPT_TO,
    FIELD_SENDER,
    FIELD_TO,
    FIELD_COUNT
};

#define HEADER_FIELD_BIT(field) (1u << (field))

enum header_field_kind {
    FIELD_HAS_SENDERS = 1,    /* addresses of who writes or wants answers */
    FIELD_HAS_RECIPIENTS = 2, /* addresses of who is written to */
    FIELD_IS_RESENT = 4,
};

const char *header_field_name(enum header_field field); /* "Message-Id"; "" for FIELD_OTHER */
unsigned header_field_kinds(enum header_field field);   /* bits: enum header_field_kind */
enum header_field header_field_known(struct bytes name);

/* Takes the first field, with its continuation lines and line end, off *rest. False: no field stands there.
 * name_r: what stands before the colon, without blanks. value_r: what stands behind it, folding and line end
 * included. */
bool header_field_next(struct bytes *rest, struct bytes *field_r, struct bytes *name_r,
                       struct bytes *value_r);

#endif
