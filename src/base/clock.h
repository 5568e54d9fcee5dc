/* base/clock.h: time. Durations and deadlines are microseconds of the monotonic clock; 0 as a deadline means none.
 * Any thread. */
#ifndef SQ_BASE_CLOCK_H
#define SQ_BASE_CLOCK_H

#include <stdint.h>

enum { SQ_US_PER_MS = 1000, SQ_US_PER_S = 1000 * 1000 };

/* Microseconds of CLOCK_MONOTONIC; never 0. */
int64_t sq_clock_now_us(void);

/* The same, as of the kernel's last tick: up to some milliseconds late, and a fraction of the price. Not to be compared with
 * the other. */
int64_t sq_clock_coarse_us(void);

/* Microseconds since 1970-01-01 00:00 UTC, for showing to people; may jump. */
int64_t sq_clock_wall_us(void);

#endif
