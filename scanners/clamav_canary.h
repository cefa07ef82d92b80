/*
 * clamav_canary - a harmless marker, its signature, and a zip that holds it: how we know that ClamAV really
 * looks.
 */
#ifndef SCANNERS_CLAMAV_CANARY_H
#define SCANNERS_CLAMAV_CANARY_H

#include "base/bytes.h"

#define CLAMAV_CANARY_NAME "Estafeta.Canary"

/* Appends the line of an .ndb file. */
int clamav_canary_signature(struct buf *out);
/* Appends a zip with one deflated member that holds the marker. */
int clamav_canary_zip(struct buf *out);
/* The same around other content of at most some kilobytes. out must be empty. GW_ERR_LIMIT: larger. */
int clamav_canary_zip_of(struct bytes text, struct buf *out);

#endif
