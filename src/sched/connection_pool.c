/* sched/connection_pool.c: one list of waiting connections, the newest first, and a thread that closes the oldest.
 *
 * The list is short (idle_max, some hundreds), and a search finds what it looks for at its front: the last connection that
 * was given back is the one whose memory is warm.
 *
 * The thread is started with the first connection that waits, so that a pool that is never used costs nothing. Memory of
 * closed connections lies in small pieces between that of others; when many have gone the thread gives it back to the
 * system (malloc_trim), which sqld's own threads should not spend their time with.
 *
 * Invariants, under the mutex: (1) `waiting` holds `waiting_count` <= idle_max entries, by the time they were given back;
 * (2) `closing_count` entries are in nobody's list while a thread closes them. */
#include "sched/connection_pool.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "engine/connection.h"
#include "engine/database.h"
#include "metrics/metrics.h"

enum {
    POOL_TRIM_CLOSED = 64,            /* so many closed connections are worth a trim */
    POOL_TRIM_PAUSE_US = SQ_US_PER_S, /* but it looks at all free memory: not too often */
};

struct pool_entry {
    struct sq_list links;
    struct engine_connection *connection;
    struct engine_database *database; /* a reference */
    int64_t since_us;
};

struct connection_pool {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct sq_list waiting;
    size_t waiting_count;
    size_t closing_count;
    size_t idle_max;
    int64_t idle_us;
    pthread_t thread;
    bool has_thread;
    int64_t trim_after_us; /* the thread's own */
    bool is_stopping;
    /* Relaxed, all of them: numbers to go by, they guard nothing. */
    atomic_size_t taken_count;  /* connections that sessions hold */
    atomic_size_t taken_max;    /* a copy of idle_max */
    atomic_size_t closed_count; /* since the last trim */
};

struct connection_pool *connection_pool_new(void)
{
    struct connection_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    sq_list_init(&pool->waiting);
    return pool;
}

static void close_connection(struct connection_pool *pool, struct engine_connection *connection)
{
    engine_connection_free(connection);
    metrics_gauge_add(METRICS_DATABASE_CONNECTIONS, -1);
    if (atomic_fetch_add_explicit(&pool->closed_count, 1, memory_order_relaxed) + 1 != POOL_TRIM_CLOSED)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
}

static struct pool_entry *entry_of(struct sq_list *links)
{
    return SQ_CONTAINER_OF(links, struct pool_entry, links);
}

/* Takes entries off the end of the list, as long as they are too many or too old, or all of the database `name`; under
 * the mutex. They are for close_entries(). */
static void pick(struct connection_pool *pool, int64_t before_us, const char *name, struct sq_list *ret_picked)
{
    struct sq_list *links = pool->waiting.previous;
    while (links != &pool->waiting) {
        struct pool_entry *entry = entry_of(links);
        links = links->previous;
        bool is_it = name != NULL ? strcmp(engine_database_name(entry->database), name) == 0
                                  : entry->since_us <= before_us || pool->waiting_count > pool->idle_max;
        if (!is_it && name == NULL)
            return;
        if (!is_it)
            continue;
        sq_list_remove(&entry->links);
        sq_list_push_back(ret_picked, &entry->links);
        pool->waiting_count--;
        pool->closing_count++;
    }
}

/* Closes what pick() has given; without the mutex. */
static void close_entries(struct connection_pool *pool, struct sq_list *picked)
{
    size_t count = 0;
    struct sq_list *links;
    while ((links = sq_list_pop_front(picked)) != NULL) {
        struct pool_entry *entry = entry_of(links);
        close_connection(pool, entry->connection);
        engine_database_unref(entry->database);
        free(entry);
        count++;
    }
    if (count == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->closing_count -= count;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
}

/* --- The thread ----------------------------------------------------------------------------------------------------- */

static void trim(struct connection_pool *pool)
{
    int64_t now_us = sq_clock_now_us();
    if (atomic_load_explicit(&pool->closed_count, memory_order_relaxed) < POOL_TRIM_CLOSED ||
        now_us < pool->trim_after_us)
        return;
    pool->trim_after_us = now_us + POOL_TRIM_PAUSE_US;
    atomic_store_explicit(&pool->closed_count, 0, memory_order_relaxed);
    malloc_trim(0);
}

/* Until something is due, or has changed; under the mutex. */
static void wait_for_work(struct connection_pool *pool)
{
    int64_t due_us = INT64_MAX;
    if (!sq_list_is_empty(&pool->waiting))
        due_us = entry_of(pool->waiting.previous)->since_us + pool->idle_us;
    if (atomic_load_explicit(&pool->closed_count, memory_order_relaxed) >= POOL_TRIM_CLOSED &&
        pool->trim_after_us < due_us)
        due_us = pool->trim_after_us;
    if (due_us == INT64_MAX) {
        pthread_cond_wait(&pool->changed, &pool->mutex);
        return;
    }
    struct timespec due = {.tv_sec = due_us / SQ_US_PER_S, .tv_nsec = (due_us % SQ_US_PER_S) * 1000};
    pthread_cond_timedwait(&pool->changed, &pool->mutex, &due);
}

static void *run_pool(void *context)
{
    struct connection_pool *pool = context;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->is_stopping) {
        struct sq_list picked;
        sq_list_init(&picked);
        pick(pool, sq_clock_now_us() - pool->idle_us, NULL, &picked);
        pthread_mutex_unlock(&pool->mutex);
        close_entries(pool, &picked);
        trim(pool);
        pthread_mutex_lock(&pool->mutex);
        if (!pool->is_stopping)
            wait_for_work(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Under the mutex. Without the thread nothing may wait: false. */
static bool start_thread(struct connection_pool *pool)
{
    if (pool->has_thread)
        return true;
    int failure = pthread_create(&pool->thread, NULL, run_pool, pool);
    if (failure != 0) {
        sq_log(SQ_LOG_WARNING, "sched", "no thread for idle connections: they are closed", "error=%d", failure);
        return false;
    }
    pthread_setname_np(pool->thread, "sqld-idle");
    pool->has_thread = true;
    return true;
}

/* --- For everybody -------------------------------------------------------------------------------------------------- */

void connection_pool_free(struct connection_pool *pool)
{
    if (pool == NULL)
        return;
    sq_assert(atomic_load_explicit(&pool->taken_count, memory_order_relaxed) == 0);
    pthread_mutex_lock(&pool->mutex);
    pool->is_stopping = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
    if (pool->has_thread)
        pthread_join(pool->thread, NULL);
    struct sq_list picked;
    sq_list_init(&picked);
    pthread_mutex_lock(&pool->mutex);
    pick(pool, INT64_MAX, NULL, &picked);
    pthread_mutex_unlock(&pool->mutex);
    close_entries(pool, &picked);
    sq_assert(pool->waiting_count == 0 && pool->closing_count == 0);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void connection_pool_configure(struct connection_pool *pool, size_t idle_max, int64_t idle_us)
{
    pthread_mutex_lock(&pool->mutex);
    pool->idle_max = idle_us > 0 ? idle_max : 0;
    pool->idle_us = idle_us;
    atomic_store_explicit(&pool->taken_max, pool->idle_max, memory_order_relaxed);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
}

bool connection_pool_is_crowded(const struct connection_pool *pool)
{
    return atomic_load_explicit(&pool->taken_count, memory_order_relaxed) >
           atomic_load_explicit(&pool->taken_max, memory_order_relaxed);
}

/* The newest one that fits; under the mutex. */
static struct pool_entry *find(struct connection_pool *pool, const struct engine_database *database,
                               const struct engine_connection_options *options)
{
    SQ_LIST_FOREACH (links, &pool->waiting) {
        struct pool_entry *entry = entry_of(links);
        if (!engine_connection_fits(entry->connection, database, options))
            continue;
        sq_list_remove(&entry->links);
        pool->waiting_count--;
        return entry;
    }
    return NULL;
}

sq_status connection_pool_take(struct connection_pool *pool, struct engine_database *database,
                               const struct engine_connection_options *options, struct sq_error *err,
                               struct engine_connection **ret_connection)
{
    pthread_mutex_lock(&pool->mutex);
    struct pool_entry *entry = find(pool, database, options);
    pthread_mutex_unlock(&pool->mutex);
    if (entry != NULL) {
        *ret_connection = entry->connection;
        engine_connection_adopt(entry->connection, options);
        engine_database_unref(entry->database);
        free(entry);
        metrics_counter_add(METRICS_DATABASE_CONNECTIONS_REUSED, 1);
    } else {
        SQ_TRY(engine_connection_open(database, options, err, ret_connection));
        metrics_counter_add(METRICS_DATABASE_CONNECTIONS_OPENED, 1);
        metrics_gauge_add(METRICS_DATABASE_CONNECTIONS, 1);
    }
    atomic_fetch_add_explicit(&pool->taken_count, 1, memory_order_relaxed);
    return SQ_OK;
}

void connection_pool_give(struct connection_pool *pool, struct engine_database *database,
                          struct engine_connection *connection)
{
    atomic_fetch_sub_explicit(&pool->taken_count, 1, memory_order_relaxed);
    struct pool_entry *entry = engine_connection_renew(connection) ? malloc(sizeof(*entry)) : NULL;
    if (entry == NULL) {
        close_connection(pool, connection);
        return;
    }
    struct sq_list picked;
    sq_list_init(&picked);
    engine_database_ref(database);
    *entry = (struct pool_entry){.connection = connection, .database = database, .since_us = sq_clock_now_us()};
    sq_list_init(&entry->links);
    pthread_mutex_lock(&pool->mutex);
    sq_list_push_front(&pool->waiting, &entry->links);
    pool->waiting_count++;
    bool wakes = pool->waiting_count == 1;
    if (pool->idle_max == 0 || pool->is_stopping || !start_thread(pool))
        pick(pool, INT64_MAX, NULL, &picked);
    else
        pick(pool, INT64_MIN, NULL, &picked);
    if (wakes)
        pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
    close_entries(pool, &picked);
}

void connection_pool_forget(struct connection_pool *pool, const char *name)
{
    struct sq_list picked;
    sq_list_init(&picked);
    pthread_mutex_lock(&pool->mutex);
    pick(pool, INT64_MIN, name, &picked);
    pthread_mutex_unlock(&pool->mutex);
    close_entries(pool, &picked);
    /* Others may be closing some of them. */
    pthread_mutex_lock(&pool->mutex);
    while (pool->closing_count > 0)
        pthread_cond_wait(&pool->changed, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
