/*
 * clock - the two clocks: monotonic for deadlines and measurements, wall for dates that people and stores
 * see.
 *
 * A deadline is an absolute monotonic time in milliseconds; CLOCK_NEVER means none. Tests move the wall clock
 * by clock_shift_wall() (reached through the parameter test_clock_offset), never the machine's.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_wall_us(void); /* microseconds since 1970 */
int64_t clock_wall_s(void);
void clock_shift_wall(int64_t seconds);
/* Milliseconds left until the deadline, 0 when passed, -1 for CLOCK_NEVER: the argument poll(2) wants. */
int clock_left_ms(int64_t deadline_ms);
/* "Sat, 21 Nov 2026 06:01:48 +0000 (UTC)" as in Received and Date (RFC 5322 section 3.3); local time zone. */
void clock_rfc5322(int64_t wall_s, char *out, size_t size);

#endif
