/* sched/writer.h: one who writes to a database beside the services: a replica's applier. It waits for the write slot like any other, and tells the
 * checkpointer what it has written.
 *
 * Lifetime: engine database > writer. Threads: one at a time. */
#ifndef SQ_SCHED_WRITER_H
#define SQ_SCHED_WRITER_H

#include <stdbool.h>

#include "base/status.h"
#include "base/waker.h"

struct engine_database;
struct sched;
struct sched_writer;

/* The caller keeps a reference of `database` for as long as there is the writer. */
SQ_MUST_USE sq_status sched_writer_new(struct sched *sched, struct engine_database *database, struct sq_waker *waker,
                                       struct sq_error *err, struct sched_writer **ret_writer);
void sched_writer_free(struct sched_writer *writer); /* NULL is allowed */

/* True: has the slot. False: the waker will be called; ask again then. */
bool sched_writer_take(struct sched_writer *writer);
/* Gives the slot back, or does not wait any more. */
void sched_writer_release(struct sched_writer *writer);
/* After a commit: has the WAL copied if it is time. */
void sched_writer_note(struct sched_writer *writer);

#endif
