/* net/pool.c: threads, spares, and the monitor.
 *
 * The monitor looks at each loop every millisecond while any of them works, and sleeps when none does: the first job
 * after that wakes it. A loop that is in the same job at two looks, with events, tasks or timers waiting, is handed off.
 *
 *   thread:  RUNNING a loop ──its job was detached, and ended──► SPARE ──assigned──► RUNNING
 *                                                                  └──too many spares──► gone
 *
 * Invariants: (1) a loop is run by at most one thread: it gets a new one only when the job was taken away from the old
 * one; (2) `job->is_detached` is set between the moment the job is taken away and the start of the new thread, when
 * nobody runs the loop; (3) at most blocked_max() threads are in jobs that wait for somebody outside, whoever detached
 * them. */
#include "net/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/loop_internal.h"

enum {
    POOL_LOOK_NS = 1000 * 1000,
    POOL_IDLE_LOOKS_MAX = 100, /* so many looks without work, then the monitor sleeps */
    POOL_SPARES_MAX = 16,
    POOL_RESERVE_PARTS = 4, /* of the threads that are not for loops, one part is never for jobs that block */
};

struct pool_thread {
    struct sq_list links; /* in `threads` */
    struct sq_list spare; /* in `spares` */
    struct net_pool *pool;
    struct net_loop *loop; /* to run next; NULL: wait */
    pthread_t thread;
    pthread_cond_t wake;
};

struct pool_loop {
    struct net_loop *loop;
    struct net_job *seen_job; /* at the monitor's last look */
    uint64_t seen_count;
};

struct net_pool {
    pthread_mutex_t mutex;
    struct sq_list threads; /* all of them */
    struct sq_list spares;
    size_t thread_count;
    size_t spare_count;
    size_t thread_max;
    size_t blocked_count; /* invariant 3 */
    bool is_stopping;
    pthread_cond_t thread_gone;

    struct pool_loop *loops;
    size_t loop_count;
    pthread_t monitor;
    bool has_monitor;
    pthread_cond_t monitor_wake;
    /* The monitor sleeps. Set under the mutex; looked at by loops without it. Sequentially consistent with the loop's
     * store of its job: either the loop sees the sleeper, or the monitor's last look sees the job. */
    atomic_bool is_monitor_asleep;
    _Atomic(uint64_t) handoff_count; /* relaxed: a statistic */
};

/* --- Threads ------------------------------------------------------------------------------------------------------- */

/* Waits for a loop; NULL: the thread is to end. Called and returns with the mutex held. */
static struct net_loop *await_loop(struct net_pool *pool, struct pool_thread *thread)
{
    if (thread->loop == NULL && pool->spare_count < POOL_SPARES_MAX) {
        sq_list_push_back(&pool->spares, &thread->spare);
        pool->spare_count++;
        while (thread->loop == NULL && !pool->is_stopping)
            pthread_cond_wait(&thread->wake, &pool->mutex);
        if (sq_list_is_linked(&thread->spare)) {
            sq_list_remove(&thread->spare);
            pool->spare_count--;
        }
    }
    struct net_loop *loop = thread->loop;
    thread->loop = NULL;
    return loop;
}

static void *run_thread(void *context)
{
    struct pool_thread *thread = context;
    struct net_pool *pool = thread->pool;
    pthread_mutex_lock(&pool->mutex);
    struct net_loop *loop;
    while ((loop = await_loop(pool, thread)) != NULL) {
        pthread_mutex_unlock(&pool->mutex);
        net_loop_run(loop);
        pthread_mutex_lock(&pool->mutex);
    }
    sq_list_remove(&thread->links);
    pool->thread_count--;
    pthread_cond_destroy(&thread->wake);
    free(thread);
    pthread_cond_signal(&pool->thread_gone);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* A new thread that runs `loop`. Under the mutex. */
static sq_status start_thread(struct net_pool *pool, struct net_loop *loop, struct sq_error *err)
{
    struct pool_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a thread");
    sq_list_init(&thread->links);
    sq_list_init(&thread->spare);
    thread->pool = pool;
    thread->loop = loop;
    pthread_cond_init(&thread->wake, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failure = pthread_create(&thread->thread, &attributes, run_thread, thread);
    pthread_attr_destroy(&attributes);
    if (failure != 0) {
        pthread_cond_destroy(&thread->wake);
        free(thread);
        return sq_fail_errno(err, failure, "cannot start a worker thread");
    }
    pthread_setname_np(thread->thread, "sqld-worker");
    sq_list_push_back(&pool->threads, &thread->links);
    pool->thread_count++;
    return SQ_OK;
}

/* Gives `loop` to a spare or a new thread; false: there is none. Under the mutex. */
static bool give_loop(struct net_pool *pool, struct net_loop *loop)
{
    struct sq_list *links = sq_list_pop_front(&pool->spares);
    if (links == NULL)
        return start_thread(pool, loop, NULL) == SQ_OK;
    pool->spare_count--;
    struct pool_thread *thread = SQ_CONTAINER_OF(links, struct pool_thread, spare);
    thread->loop = loop;
    pthread_cond_signal(&thread->wake);
    return true;
}

/* --- The monitor --------------------------------------------------------------------------------------------------- */

/* Takes the job away from the loop's thread and gives the loop to another. Under the mutex. */
static void hand_off(struct net_pool *pool, struct pool_loop *look)
{
    bool has_thread = pool->spare_count > 0 || pool->thread_count < pool->thread_max;
    if (!has_thread)
        return;
    struct net_job *expected = look->seen_job;
    if (!atomic_compare_exchange_strong(&net_loop_job(look->loop)->job, &expected, NULL))
        return; /* it ended just now */
    look->seen_job->is_detached = true;
    atomic_fetch_add_explicit(&pool->handoff_count, 1, memory_order_relaxed);
    /* The loop has no thread now. If none can be had, wait for one: nothing else can be done for its connections. */
    while (!give_loop(pool, look->loop)) {
        struct timespec pause = {.tv_nsec = POOL_LOOK_NS};
        pthread_mutex_unlock(&pool->mutex);
        nanosleep(&pause, NULL); /* banned-ok: the monitor's own pace */
        pthread_mutex_lock(&pool->mutex);
    }
}

/* One look at all loops; true: some loop is in a job. Under the mutex. */
static bool look_at_loops(struct net_pool *pool)
{
    bool has_job = false;
    for (size_t i = 0; i < pool->loop_count; i++) {
        struct pool_loop *look = &pool->loops[i];
        struct net_loop_job *now = net_loop_job(look->loop);
        struct net_job *job = atomic_load(&now->job);
        uint64_t count = atomic_load_explicit(&now->count, memory_order_relaxed);
        bool is_same = job != NULL && job == look->seen_job && count == look->seen_count;
        look->seen_job = job;
        look->seen_count = count;
        has_job = has_job || job != NULL;
        if (is_same && net_loop_has_work(look->loop)) {
            hand_off(pool, look);
            look->seen_job = NULL;
        }
    }
    return has_job;
}

static void *run_monitor(void *context)
{
    struct net_pool *pool = context;
    int idle_looks = 0;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->is_stopping) {
        idle_looks = look_at_loops(pool) ? 0 : idle_looks + 1;
        if (idle_looks >= POOL_IDLE_LOOKS_MAX) {
            atomic_store(&pool->is_monitor_asleep, true);
            if (!look_at_loops(pool) && !pool->is_stopping)
                pthread_cond_wait(&pool->monitor_wake, &pool->mutex);
            atomic_store(&pool->is_monitor_asleep, false);
            idle_looks = 0;
        }
        pthread_mutex_unlock(&pool->mutex);
        struct timespec pause = {.tv_nsec = POOL_LOOK_NS};
        nanosleep(&pause, NULL); /* banned-ok: the monitor's own pace */
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void wake_monitor(struct net_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->monitor_wake);
    pthread_mutex_unlock(&pool->mutex);
}

/* --- Jobs ---------------------------------------------------------------------------------------------------------- */

void net_job_enter(struct net_loop *loop, struct net_job *job)
{
    net_loop_assert_owner(loop);
    struct net_loop_job *now = net_loop_job(loop);
    sq_assert(!job->is_detached && atomic_load_explicit(&now->job, memory_order_relaxed) == NULL);
    uint64_t count = atomic_load_explicit(&now->count, memory_order_relaxed);
    atomic_store_explicit(&now->count, count + 1, memory_order_relaxed);
    atomic_store(&now->job, job);
    struct net_pool *pool = net_loop_pool(loop);
    if (SQ_UNLIKELY(pool != NULL && atomic_load(&pool->is_monitor_asleep)))
        wake_monitor(pool);
}

size_t net_pool_blocked_max(const struct net_pool *pool)
{
    size_t others = pool->thread_max - pool->loop_count;
    return others - (others + POOL_RESERVE_PARTS - 1) / POOL_RESERVE_PARTS;
}

/* Takes `job` away from the calling thread's loop, which goes to another thread. Under the mutex. */
static bool detach_own(struct net_pool *pool, struct net_loop *loop, struct net_job *job)
{
    struct net_loop_job *now = net_loop_job(loop);
    struct net_job *expected = job;
    if (!atomic_compare_exchange_strong(&now->job, &expected, NULL))
        return true; /* the monitor was here before */
    if (pool->spare_count == 0 && pool->thread_count >= pool->thread_max) {
        atomic_store(&now->job, job);
        return false;
    }
    job->is_detached = true;
    if (!give_loop(pool, loop)) {
        job->is_detached = false;
        atomic_store(&now->job, job);
        return false;
    }
    atomic_fetch_add_explicit(&pool->handoff_count, 1, memory_order_relaxed);
    return true;
}

bool net_job_block(struct net_loop *loop, struct net_job *job)
{
    struct net_pool *pool = net_loop_pool(loop);
    if (pool == NULL)
        return false;
    pthread_mutex_lock(&pool->mutex);
    bool is_blocked = pool->blocked_count < net_pool_blocked_max(pool) && detach_own(pool, loop, job);
    if (is_blocked)
        pool->blocked_count++;
    pthread_mutex_unlock(&pool->mutex);
    return is_blocked;
}

void net_job_unblock(struct net_loop *loop)
{
    struct net_pool *pool = net_loop_pool(loop);
    pthread_mutex_lock(&pool->mutex);
    sq_assert(pool->blocked_count > 0);
    pool->blocked_count--;
    pthread_mutex_unlock(&pool->mutex);
}

bool net_job_leave(struct net_loop *loop, struct net_job *job)
{
    /* Somebody else may run the loop by now, and be in a job of its own: only this one is taken out. */
    struct net_job *expected = job;
    if (SQ_LIKELY(atomic_compare_exchange_strong(&net_loop_job(loop)->job, &expected, NULL)))
        return true;
    net_loop_lose();
    return false;
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

SQ_DEFINE_FREEP(struct net_pool, net_pool_free)

static sq_status start_pool(struct net_pool *pool, struct sq_error *err)
{
    for (size_t i = 0; i < pool->loop_count; i++) {
        SQ_TRY(net_loop_new(err, &pool->loops[i].loop));
        net_loop_set_pool(pool->loops[i].loop, pool);
        pthread_mutex_lock(&pool->mutex);
        sq_status status = start_thread(pool, pool->loops[i].loop, err);
        pthread_mutex_unlock(&pool->mutex);
        SQ_TRY(status);
    }
    int failure = pthread_create(&pool->monitor, NULL, run_monitor, pool);
    if (failure != 0)
        return sq_fail_errno(err, failure, "cannot start the monitor thread");
    pthread_setname_np(pool->monitor, "sqld-monitor");
    pool->has_monitor = true;
    return SQ_OK;
}

sq_status net_pool_new(size_t loop_count, size_t thread_max, struct sq_error *err, struct net_pool **ret_pool)
{
    sq_assert(loop_count > 0 && thread_max >= loop_count);
    SQ_CLEANUP(net_pool_freep) struct net_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for worker threads");
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->thread_gone, NULL);
    pthread_cond_init(&pool->monitor_wake, NULL);
    sq_list_init(&pool->threads);
    sq_list_init(&pool->spares);
    pool->thread_max = thread_max;
    pool->loops = calloc(loop_count, sizeof(*pool->loops));
    if (pool->loops == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for worker threads");
    pool->loop_count = loop_count;
    SQ_TRY(start_pool(pool, err));
    *ret_pool = SQ_STEAL(pool);
    return SQ_OK;
}

void net_pool_free(struct net_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->is_stopping = true;
    pthread_cond_signal(&pool->monitor_wake);
    pthread_mutex_unlock(&pool->mutex);
    if (pool->has_monitor)
        pthread_join(pool->monitor, NULL);
    for (size_t i = 0; i < pool->loop_count; i++) {
        if (pool->loops[i].loop != NULL)
            net_loop_stop(pool->loops[i].loop);
    }
    pthread_mutex_lock(&pool->mutex);
    SQ_LIST_FOREACH (links, &pool->threads) {
        pthread_cond_signal(&SQ_CONTAINER_OF(links, struct pool_thread, links)->wake);
    }
    while (pool->thread_count > 0)
        pthread_cond_wait(&pool->thread_gone, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->loop_count; i++)
        net_loop_free(pool->loops[i].loop);
    free(pool->loops);
    pthread_cond_destroy(&pool->monitor_wake);
    pthread_cond_destroy(&pool->thread_gone);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

size_t net_pool_loop_count(const struct net_pool *pool)
{
    return pool->loop_count;
}

struct net_loop *net_pool_loop(struct net_pool *pool, size_t index)
{
    sq_assert(index < pool->loop_count);
    return pool->loops[index].loop;
}

uint64_t net_pool_handoff_count(const struct net_pool *pool)
{
    return atomic_load_explicit(&pool->handoff_count, memory_order_relaxed);
}
