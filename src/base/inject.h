/* base/inject.h: places at which a test can have the server killed, stopped, delayed or failed, to see what it makes of that.
 *
 *     SQLD_INJECT=repl.apply.before_commit:kill,wal.log.sync:fail@3
 *
 * Each entry is POINT:ACTION[@COUNT]: at the COUNTth time (1) that the point is reached, and for `sleep` and `fail` at every later
 * time too, unless it says @COUNT! (that time only).
 *
 *     kill      SIGKILL to this process      stop      SIGSTOP: until somebody continues it
 *     sleep-N   N milliseconds, this thread  fail      the call fails with SQ_IO (sq_inject_status() only)
 *
 * Without the variable a point costs the load of one global. Names are room.thing.moment.
 *
 * Threads: sq_inject_start() once, before there are others; the rest any. */
#ifndef SQ_BASE_INJECT_H
#define SQ_BASE_INJECT_H

#include <stdbool.h>

#include "base/status.h"

/* Reads SQLD_INJECT's value (NULL: nothing is injected). SQ_INVALID: it makes no sense. */
SQ_MUST_USE sq_status sq_inject_start(const char *value, struct sq_error *err);

extern bool sq_inject_is_on; /* never changes after sq_inject_start() */
void sq_inject_reached(const char *point);
SQ_MUST_USE sq_status sq_inject_reached_status(const char *point, struct sq_error *err);

static inline void sq_inject(const char *point)
{
    if (SQ_UNLIKELY(sq_inject_is_on))
        sq_inject_reached(point);
}

/* The same where a failure can be passed on. */
SQ_MUST_USE static inline sq_status sq_inject_status(const char *point, struct sq_error *err)
{
    return SQ_UNLIKELY(sq_inject_is_on) ? sq_inject_reached_status(point, err) : SQ_OK;
}

#endif
