/* repl/workers.h: a few threads for work that waits for disks: applying, syncing, reading whole databases. Each *job* is run by one of them at a
 * time, and again if it was posted meanwhile.
 *
 *     IDLE ──post──► QUEUED ──► RUNNING ──► IDLE
 *       └──post_at──► LATER ──►──┘  └─(posted meanwhile)─► QUEUED or LATER
 *
 * A job that has much to do does a piece of it and posts itself: others get their turn.
 *
 * Threads: any. */
#ifndef SQ_REPL_WORKERS_H
#define SQ_REPL_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"

struct repl_workers;

/* Embedded in its owner. */
struct repl_job {
    struct sq_list links; /* guarded by the workers' mutex, as is all that follows */
    struct repl_workers *workers;
    void (*run_cb)(struct repl_job *job);
    int64_t at_us; /* LATER, or RUNNING and posted meanwhile: 0: at once */
    bool is_running;
    bool is_posted; /* meanwhile */
    bool is_ended;
};

/* Begins with one thread; others come as jobs wait, up to `thread_count_max`. */
SQ_MUST_USE sq_status repl_workers_new(size_t thread_count_max, struct sq_error *err,
                                       struct repl_workers **ret_workers);
/* All jobs have been ended. NULL is allowed. */
void repl_workers_free(struct repl_workers *workers);

void repl_job_init(struct repl_job *job, struct repl_workers *workers, void (*run_cb)(struct repl_job *job));
/* At once, or not before `at_us` of the monotonic clock: what is earlier counts. Nothing happens after repl_job_end(). Few instructions; any lock may
 * be held. */
void repl_job_post(struct repl_job *job);
void repl_job_post_at(struct repl_job *job, int64_t at_us);
/* It does not run any more when this returns. Not from the job itself. */
void repl_job_end(struct repl_job *job);

#endif
