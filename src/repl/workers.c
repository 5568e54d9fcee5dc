/* repl/workers.c: threads that run jobs in the order in which they were posted. Invariants: (1) a job is in one list at most, and in
 * none while it runs; (2) there is a thread that waits, or as many as there may be. */
#include "repl/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

struct repl_workers {
    pthread_mutex_t mutex;
    pthread_cond_t work_cond;
    pthread_cond_t end_cond; /* a job has run */
    struct sq_list queued;
    struct sq_list later;
    pthread_t *threads;
    size_t thread_count;
    size_t thread_count_max;
    size_t waiting_count;
    bool is_stopping;
};

static struct repl_job *job_of(struct sq_list *links)
{
    return SQ_CONTAINER_OF(links, struct repl_job, links);
}

/* Under the mutex, as all that follow: those whose time has come are queued. Returns when the next one's comes; 0: never. */
static int64_t queue_due(struct repl_workers *workers)
{
    int64_t now_us = sq_clock_now_us();
    int64_t next_us = 0;
    SQ_LIST_FOREACH (links, &workers->later) {
        struct repl_job *job = job_of(links);
        if (job->at_us <= now_us) {
            sq_list_remove(&job->links);
            sq_list_push_back(&workers->queued, &job->links);
        } else if (next_us == 0 || job->at_us < next_us) {
            next_us = job->at_us;
        }
    }
    return next_us;
}

static struct repl_job *wait_for_job(struct repl_workers *workers)
{
    for (;;) {
        int64_t next_us = queue_due(workers);
        struct sq_list *links = sq_list_pop_front(&workers->queued);
        if (links != NULL)
            return job_of(links);
        if (workers->is_stopping)
            return NULL;
        workers->waiting_count++;
        if (next_us == 0) {
            pthread_cond_wait(&workers->work_cond, &workers->mutex);
        } else {
            struct timespec until = {.tv_sec = next_us / SQ_US_PER_S, .tv_nsec = next_us % SQ_US_PER_S * 1000};
            pthread_cond_timedwait(&workers->work_cond, &workers->mutex, &until);
        }
        workers->waiting_count--;
    }
}

static void put(struct repl_job *job, int64_t at_us)
{
    job->at_us = at_us;
    sq_list_push_back(at_us == 0 ? &job->workers->queued : &job->workers->later, &job->links);
}

static void *run(void *context)
{
    struct repl_workers *workers = context;
    struct repl_job *job;
    pthread_mutex_lock(&workers->mutex);
    while ((job = wait_for_job(workers)) != NULL) {
        job->is_running = true;
        job->is_posted = false;
        pthread_mutex_unlock(&workers->mutex);
        job->run_cb(job);
        pthread_mutex_lock(&workers->mutex);
        job->is_running = false;
        if (job->is_posted && !job->is_ended)
            put(job, job->at_us);
        pthread_cond_broadcast(&workers->end_cond);
    }
    pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

static bool start_thread(struct repl_workers *workers)
{
    if (workers->thread_count == workers->thread_count_max ||
        pthread_create(&workers->threads[workers->thread_count], NULL, run, workers) != 0)
        return false;
    workers->thread_count++;
    return true;
}

sq_status repl_workers_new(size_t thread_count_max, struct sq_error *err, struct repl_workers **ret_workers)
{
    sq_assert(thread_count_max > 0);
    struct repl_workers *workers = calloc(1, sizeof(*workers));
    pthread_t *threads = calloc(thread_count_max, sizeof(threads[0]));
    if (workers == NULL || threads == NULL) {
        free(workers);
        free(threads);
        return sq_fail(err, SQ_NOMEM, "out of memory for replication");
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&workers->work_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&workers->end_cond, NULL);
    pthread_mutex_init(&workers->mutex, NULL);
    sq_list_init(&workers->queued);
    sq_list_init(&workers->later);
    workers->threads = threads;
    workers->thread_count_max = thread_count_max;
    pthread_mutex_lock(&workers->mutex);
    bool has_one = start_thread(workers);
    pthread_mutex_unlock(&workers->mutex);
    if (!has_one) {
        repl_workers_free(workers);
        return sq_fail(err, SQ_LIMIT, "no thread for replication");
    }
    *ret_workers = workers;
    return SQ_OK;
}

void repl_workers_free(struct repl_workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->mutex);
    sq_assert(sq_list_is_empty(&workers->queued) && sq_list_is_empty(&workers->later));
    workers->is_stopping = true;
    pthread_cond_broadcast(&workers->work_cond);
    pthread_mutex_unlock(&workers->mutex);
    for (size_t i = 0; i < workers->thread_count; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_mutex_destroy(&workers->mutex);
    pthread_cond_destroy(&workers->work_cond);
    pthread_cond_destroy(&workers->end_cond);
    free(workers->threads);
    free(workers);
}

void repl_job_init(struct repl_job *job, struct repl_workers *workers, void (*run_cb)(struct repl_job *job))
{
    *job = (struct repl_job){.workers = workers, .run_cb = run_cb};
    sq_list_init(&job->links);
}

void repl_job_post_at(struct repl_job *job, int64_t at_us)
{
    struct repl_workers *workers = job->workers;
    pthread_mutex_lock(&workers->mutex);
    if (job->is_ended) {
        /* It has been told that it is over. */
    } else if (job->is_running) {
        job->at_us = job->is_posted && job->at_us < at_us ? job->at_us : at_us;
        job->is_posted = true;
    } else if (!sq_list_is_linked(&job->links) || at_us < job->at_us) {
        sq_list_remove(&job->links);
        put(job, at_us);
        if (at_us == 0 && workers->waiting_count == 0 && !start_thread(workers) &&
            workers->thread_count < workers->thread_count_max)
            sq_log(SQ_LOG_WARNING, "repl", "no further thread", "threads=%zu", workers->thread_count);
        pthread_cond_signal(&workers->work_cond);
    }
    pthread_mutex_unlock(&workers->mutex);
}

void repl_job_post(struct repl_job *job)
{
    repl_job_post_at(job, 0);
}

void repl_job_end(struct repl_job *job)
{
    struct repl_workers *workers = job->workers;
    pthread_mutex_lock(&workers->mutex);
    job->is_ended = true;
    sq_list_remove(&job->links);
    while (job->is_running)
        pthread_cond_wait(&workers->end_cond, &workers->mutex);
    pthread_mutex_unlock(&workers->mutex);
}
