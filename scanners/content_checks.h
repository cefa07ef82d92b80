/*
 * content_checks - what header_checks and body_checks share: a hit becomes a result and a log line as
 * cleanup(8) has it.
 */
#ifndef SCANNERS_CONTENT_CHECKS_H
#define SCANNERS_CONTENT_CHECKS_H

#include "config/table.h"
#include "scanners/scanner.h"

/* Looks the line up; a hit is logged, and added to the report unless it is DUNNO, WARN or INFO. 0 to go on; 1
 * when the message is decided (REJECT, DISCARD); GW_ERR_TEMP when the table cannot tell; GW_ERR_FULL when the
 * report cannot hold the hit. what: "header" or "body". */
int content_checks_line(const struct scan_input *input, struct table_list *tables, enum scanner_id scanner,
                        const char *what, struct bytes line, struct scan_report *report);
/* A result that says that everything was looked at and nothing decided, if there is none yet. */
void content_checks_finish(struct scan_report *report, size_t before, enum scanner_id scanner);

#endif
