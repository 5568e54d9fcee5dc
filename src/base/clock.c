/* base/clock.c: thin over clock_gettime(). */
#include "base/clock.h"

#include <time.h>

#include "base/status.h"

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    int result = clock_gettime(id, &now);
    sq_assert(result == 0);
    return (int64_t)now.tv_sec * SQ_US_PER_S + now.tv_nsec / 1000;
}

int64_t sq_clock_now_us(void)
{
    int64_t now_us = read_us(CLOCK_MONOTONIC);
    return now_us > 0 ? now_us : 1;
}

int64_t sq_clock_coarse_us(void)
{
    int64_t now_us = read_us(CLOCK_MONOTONIC_COARSE);
    return now_us > 0 ? now_us : 1;
}

int64_t sq_clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}
