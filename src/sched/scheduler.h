/* sched/scheduler.h: the scheduler: decides when a query runs. It is the innermost service: behind it there is only the
 * engine.
 *
 * Reads run at once. A statement that writes waits for its database's write slot first. A statement that finds a lock of
 * another process (a sqlite3 shell on the same file) is tried again later. In none of these cases is a thread blocked.
 *
 * Lifetime: a scheduler outlives the services it has made. Threads: sched_new/free by one; a service by its connection's. */
#ifndef SQ_SCHED_SCHEDULER_H
#define SQ_SCHED_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "sched/service.h"

struct sched;

/* `registry` outlives the scheduler, whose checkpointer closes databases that are used no more. */
SQ_MUST_USE sq_status sched_new(struct engine_registry *registry, struct sq_error *err, struct sched **ret_sched);
void sched_free(struct sched *sched);

/* The factory of scheduler services; belongs to the scheduler. */
struct service_factory *sched_factory(struct sched *sched);

/* How many SQLite connections idle sessions may keep, and how many more wait, as good as new, for new sessions or for those
 * that come back; and for how long those wait. 0 of them before this is called. May be called again. */
void sched_set_idle_connections(struct sched *sched, size_t idle_max, int64_t idle_us);
/* For tests: sched_checkpointer_set_frames(). */
void sched_set_checkpoint_frames(struct sched *sched, uint32_t slice, uint32_t restart);
/* Whether there are more open than that: idle sessions should give theirs back soon. Cheap. */
bool sched_has_many_connections(const struct sched *sched);
/* Closes the connections to the database `name` that wait for sessions: it is to be dropped or renamed. */
void sched_forget_database(struct sched *sched, const char *name);

/* For operators: how many statements wait for the write slot of the database `name`. */
size_t sched_queue_length(struct sched *sched, const char *name);

#endif
