/* sched/slot.h: the write slot of a database: one writer at a time, first come, first served.
 *
 * SQLite lets one connection write at a time and answers the others with SQLITE_BUSY, to be tried again by luck. The slot
 * puts a fair queue in front: a statement that will write takes a ticket, and is woken when it is its turn. Nobody blocks
 * a thread. Readers never come here.
 *
 * A holder that idles may be asked to go: while nobody waits it keeps the slot for as long as it likes, and
 * sched_slot_watch() tells it when somebody comes.
 *
 *     ticket:   IDLE ──take──► HELD ──release──► IDLE
 *                 └──take──► QUEUED ──(the holder releases: wake)──► HELD
 *                                └──release (withdraw)──► IDLE
 *
 * Threads: any; every function takes the slot's mutex, and wakers are called under it. */
#ifndef SQ_SCHED_SLOT_H
#define SQ_SCHED_SLOT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "base/waker.h"

enum slot_ticket_state { SLOT_IDLE, SLOT_QUEUED, SLOT_HELD };

/* One session's place. Belongs to the session; the slot only links it. */
struct slot_ticket {
    struct sq_list links;
    enum slot_ticket_state state; /* guarded by the slot's mutex, as is the next */
    bool is_watching;             /* the holder's: to be woken when somebody queues */
    bool is_servers;              /* sched_slot_take_next(): not a writer's */
    struct sq_waker *waker;
};

struct sched_slot {
    pthread_mutex_t mutex;
    struct slot_ticket *holder;
    struct sq_list queue;
    size_t queue_length;
};

void sched_slot_init(struct sched_slot *slot);
void sched_slot_done(struct sched_slot *slot);

void slot_ticket_init(struct slot_ticket *ticket, struct sq_waker *waker);

/* Asks for the slot, or asks again after a wake. True: held. False: queued; `waker` will be called. */
bool sched_slot_take(struct sched_slot *slot, struct slot_ticket *ticket);
/* The same for the checkpointer, which is next, whoever waits: writers who outnumber it must not keep the log from ever
 * being begun anew. One ticket at a time. */
bool sched_slot_take_next(struct sched_slot *slot, struct slot_ticket *ticket);
/* Gives the slot to the next in the queue, or leaves the queue. Does nothing for an idle ticket. */
void sched_slot_release(struct sched_slot *slot, struct slot_ticket *ticket);
/* For the holder: whether somebody waits for the slot. If not, its waker is called once when somebody comes. */
bool sched_slot_watch(struct sched_slot *slot, struct slot_ticket *ticket);
/* Whether the checkpointer has the slot: who finds it taken has met no other writer. */
bool sched_slot_is_servers(struct sched_slot *slot);
/* For operators. */
size_t sched_slot_queue_length(struct sched_slot *slot);

#endif
