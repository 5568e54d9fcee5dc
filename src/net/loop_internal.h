/* net/loop_internal.h: what the pool's monitor sees of a loop. */
#ifndef SQ_NET_LOOP_INTERNAL_H
#define SQ_NET_LOOP_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "net/loop.h"
#include "net/pool.h"

/* The job that the loop's thread is in, and how many there have been. The thread and the monitor take the job out with a
 * compare-and-exchange: whoever gets it decides whether the loop has been handed off. Acquire and release
 * on both sides: what the old thread did to the loop before its job is visible to the monitor, and from there, by the
 * pool's mutex, to the new thread. */
struct net_loop_job {
    _Atomic(struct net_job *) job;
    _Atomic(uint64_t) count; /* relaxed: only compared for being the same */
};

struct net_loop_job *net_loop_job(struct net_loop *loop);

/* Any thread, while the loop's thread is in a job: whether something waits for the loop. */
bool net_loop_has_work(struct net_loop *loop);

/* Whom to wake when a job begins; set before the loop runs. */
void net_loop_set_pool(struct net_loop *loop, struct net_pool *pool);
struct net_pool *net_loop_pool(struct net_loop *loop);

/* Tells net_loop_run() of the calling thread to return: the loop is not its own any more. */
void net_loop_lose(void);

#endif
