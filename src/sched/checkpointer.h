/* sched/checkpointer.h: keeps write-ahead logs short. One thread for all databases of a server.
 *
 * SQLite would let the session whose commit makes the WAL too long do the checkpoint; here that session goes on, and the
 * work is done in slices by a thread of its own:
 *
 *     commit ──note: SLICE frames not copied yet──► due ──► copy into the database file, beside readers and writers
 *                                                             │ the WAL is RESTART frames long and all but copied
 *                                                             ▼
 *                                  the write slot, as the next in its queue ──► copy the rest, begin the WAL anew
 *
 * Beginning anew needs a moment in which nobody reads from the old log. New readers do not, once everything is copied; old
 * ones are waited for, holding the slot, for a few milliseconds at first and for longer the longer the log has grown; and
 * left alone for much longer when that was in vain, so that one long read does not stop all writers. The log is bounded by
 * what is written during the longest read.
 *
 * Threads: sched_checkpointer_new() and _free() by one; the rest any. */
#ifndef SQ_SCHED_CHECKPOINTER_H
#define SQ_SCHED_CHECKPOINTER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"

struct engine_registry;
struct sched;
struct sched_checkpointer;
struct sched_database;

/* A database's place in the checkpointer's list; embedded in the scheduler's record of it. */
struct sched_checkpoint {
    struct sq_list links; /* guarded by the checkpointer's mutex */
    int64_t not_before_us;
    /* In the list: saves the mutex. Relaxed: a commit that finds it set a moment too long is followed by the next one's
     * note, or by the checkpointer's own look at what is left. */
    atomic_bool is_due;
};
void sched_checkpoint_init(struct sched_checkpoint *checkpoint);

/* It also closes databases of `registry` that nobody uses any more. */
SQ_MUST_USE sq_status sched_checkpointer_new(struct sched *sched, struct engine_registry *registry,
                                             struct sq_error *err, struct sched_checkpointer **ret_checkpointer);
/* Waits for what runs. NULL is allowed. */
void sched_checkpointer_free(struct sched_checkpointer *checkpointer);

/* For tests: how many frames are not copied when it is time to, and how long the log is when it is to begin anew. */
void sched_checkpointer_set_frames(struct sched_checkpointer *checkpointer, uint32_t slice, uint32_t restart);

/* After a commit: has the database checkpointed if it is time. The caller holds references; the checkpointer takes its
 * own. Cheap. */
void sched_checkpointer_note(struct sched_checkpointer *checkpointer, struct sched_database *database);

#endif
