/*
 * clock - see the header. The shift of the wall clock is process-wide by its nature: it is set once, at
 * start.
 */
#include "base/clock.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_int_fast64_t wall_shift_us;

static int64_t
read_us(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t
clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME) + atomic_load_explicit(&wall_shift_us, memory_order_relaxed);
}

int64_t
clock_wall_s(void)
{
    return clock_wall_us() / 1000000;
}

void
clock_shift_wall(int64_t seconds)
{
    atomic_store(&wall_shift_us, seconds * 1000000);
}

int
clock_left_ms(int64_t deadline_ms)
{
    if (deadline_ms == CLOCK_NEVER) {
        return -1;
    }
    int64_t left = deadline_ms - clock_monotonic_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

void
clock_rfc5322(int64_t wall_s, char *out, size_t size)
{
    static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)wall_s;
    struct tm tm = {0};

    (void)localtime_r(&t, &tm);
    long minutes = tm.tm_gmtoff / 60;
    char sign = minutes < 0 ? '-' : '+';
    if (minutes < 0) {
        minutes = -minutes;
    }
    (void)snprintf(out, size, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld (%s)", DAYS[tm.tm_wday], tm.tm_mday,
                   MONTHS[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, sign, minutes / 60,
                   minutes % 60, tm.tm_zone != NULL ? tm.tm_zone : "UTC");
}
