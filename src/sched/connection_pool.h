/* sched/connection_pool.h: SQLite connections that wait, opened and as good as new, for a session that needs one.
 *
 * A session takes its connection with its first statement, and gives it back when it ends or has been idle for a while.
 * What comes back is kept only if nobody can tell it from a new one (engine_connection_renew()); else it is closed.
 * So clients that connect, ask one thing and go cost no opening of files, and idle ones no memory.
 *
 *     open ──take──► with a session ──give──► WAITING ──take──► with another session
 *                          │                     └──idle_us, too many, forget──► closed
 *                          └──give, not as new──► closed
 *
 * A waiting connection holds a reference of its database; who wants to drop that calls connection_pool_forget().
 *
 * Threads: any, for everything but _new and _free. Opening and closing happen on the calling thread, or on the pool's own,
 * which closes what has waited too long; never under the mutex. */
#ifndef SQ_SCHED_CONNECTION_POOL_H
#define SQ_SCHED_CONNECTION_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct connection_pool;
struct engine_connection;
struct engine_connection_options;
struct engine_database;

/* A pool that keeps nothing until it is configured. NULL: no memory. */
struct connection_pool *connection_pool_new(void) SQ_MUST_USE;
/* Closes what waits; all others must have been given back. NULL is allowed. */
void connection_pool_free(struct connection_pool *pool);

/* At most `idle_max` connections wait, for `idle_us` microseconds at most; 0: none. */
void connection_pool_configure(struct connection_pool *pool, size_t idle_max, int64_t idle_us);

/* A connection to `database` that is as new: one that waits, or one that is opened. */
SQ_MUST_USE sq_status connection_pool_take(struct connection_pool *pool, struct engine_database *database,
                                           const struct engine_connection_options *options, struct sq_error *err,
                                           struct engine_connection **ret_connection);
/* Takes a connection to `database` back. All its statements have been freed. */
void connection_pool_give(struct connection_pool *pool, struct engine_database *database,
                          struct engine_connection *connection);
/* Closes those that wait for the database `name`; they are closed when this returns. */
void connection_pool_forget(struct connection_pool *pool, const char *name);

/* Whether sessions hold more than idle_max connections. A glance, without the mutex. */
bool connection_pool_is_crowded(const struct connection_pool *pool);

#endif
