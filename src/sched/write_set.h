/* sched/write_set.h: the write slots that one connection's writes need: of its own database and of those it has attached.
 *
 * A statement may write any of them, so a session with attached databases takes all their slots before it writes, always in
 * the same order (of their addresses): two sessions that have attached each other's databases wait for each other, never in
 * a circle.
 *
 * Threads: one connection's set is used by one thread at a time. */
#ifndef SQ_SCHED_WRITE_SET_H
#define SQ_SCHED_WRITE_SET_H

#include "base/status.h"
#include "sched/scheduler_internal.h"

/* An attached database. */
struct write_place {
    struct sched_database *database;
    char *alias;
    struct slot_ticket ticket;
};

struct write_set {
    struct sched_database *own;
    struct slot_ticket ticket;  /* of `own` */
    struct write_place *others; /* in order of the databases' addresses */
    size_t other_count;
};

/* `own` outlives the set. */
void write_set_init(struct write_set *set, struct sched_database *own, struct sq_waker *waker);

/* While no slot is taken or asked for. Takes its own references to the database; without memory nothing has changed. */
SQ_MUST_USE sq_status write_set_add(struct write_set *set, struct sched *sched, struct engine_database *engine,
                                    const char *alias, struct sq_error *err);
/* `engine` NULL: whichever database is attached under that name. */
void write_set_remove(struct write_set *set, struct sched *sched, const struct engine_database *engine,
                      const char *alias);
void write_set_clear(struct write_set *set, struct sched *sched);

/* As sched_slot_take(), _release() and _watch(), for all of them: held when all are. */
bool write_set_take(struct write_set *set);
void write_set_release(struct write_set *set);
bool write_set_watch(struct write_set *set);
/* As sched_slot_is_servers(), for any of them. */
bool write_set_is_servers(struct write_set *set);

#endif
