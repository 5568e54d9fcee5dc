/* net/pool.h: worker threads for event loops, and the hand-off.
 *
 * A statement runs inline on its loop's thread, which is the fastest way for short ones. One that runs long or blocks
 * must not keep the loop's other connections waiting, so it takes its thread with it and leaves the loop to another:
 *
 *   thread A   loop ── job begins ──────────(long)────────── job ends: posts itself back, A becomes a spare
 *   monitor            sees A in the same job for a millisecond, with work waiting: gives the loop to B
 *   spare B                        loop ── other connections ── … ── the job's return
 *
 * A *job* is a stretch of work that touches nothing of its loop: net_job_enter(), work, net_job_leave(). While a job is
 * detached its thread touches only the job's own connection; the loop's new thread leaves that connection alone
 * (net_job_is_detached()). Threads grow with blocked statements, not with connections. (The idea is the one behind Go's
 * processor hand-off and tokio's block_in_place.)
 *
 * A job that knows that it will wait for somebody outside (a client) says so first, with net_job_block(): its loop is
 * handed off at once. Not all threads may be waiting like that: some are kept for the monitor, so that clients who never
 * answer cannot take from the others what they need.
 *
 * Threads: net_pool_new() and _free() by one thread; the rest as said. */
#ifndef SQ_NET_POOL_H
#define SQ_NET_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct net_loop;
struct net_pool;

struct net_job {
    bool is_detached; /* written while no thread runs the loop, or by the loop's thread */
};

/* Starts `loop_count` loops, each on a thread, and the monitor. At most `thread_max` threads run at a time, loops
 * included; when they are used up, loops wait for their statements. */
SQ_MUST_USE sq_status net_pool_new(size_t loop_count, size_t thread_max, struct sq_error *err,
                                   struct net_pool **ret_pool);
/* Stops the loops and waits for all threads. No job may run for ever. NULL is allowed. */
void net_pool_free(struct net_pool *pool);

size_t net_pool_loop_count(const struct net_pool *pool);
struct net_loop *net_pool_loop(struct net_pool *pool, size_t index);
/* How often a loop has been handed off: for operators and tests. Any thread. */
uint64_t net_pool_handoff_count(const struct net_pool *pool);

/* On the loop's thread: begins a job. */
void net_job_enter(struct net_loop *loop, struct net_job *job);
/* Ends it. True: the caller still has the loop. False: it has been handed off; the caller touches neither the loop nor
 * anything of it but net_loop_post(), by which the job returns, and goes back to net_loop_run() at once. */
SQ_MUST_USE bool net_job_leave(struct net_loop *loop, struct net_job *job);

/* On the job's thread: it is going to wait for somebody who may never come. True: other threads care for its loop until
 * net_job_unblock(), and the caller touches nothing of it, as after a hand-off. False: too many threads wait like that
 * already, or the loop is in no pool; nothing has changed. The thread may have to wait for a moment: for a mutex. */
SQ_MUST_USE bool net_job_block(struct net_loop *loop, struct net_job *job);
/* It waits no longer. The job stays detached until it is left. */
void net_job_unblock(struct net_loop *loop);
/* How many jobs of the pool may be blocked at a time. */
size_t net_pool_blocked_max(const struct net_pool *pool);

/* On the loop's thread: whether the job is running elsewhere. */
static inline bool net_job_is_detached(const struct net_job *job)
{
    return job->is_detached;
}
/* On the loop's thread: the job has returned by its posted task. */
static inline void net_job_returned(struct net_job *job)
{
    sq_assert(job->is_detached);
    job->is_detached = false;
}

#endif
