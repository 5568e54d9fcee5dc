/* net/loop.h: an event loop over epoll(7): descriptors, timers, and a mailbox.
 *
 * A loop belongs to the thread that runs it. Everything here is for that thread only, except net_loop_post(),
 * net_loop_cancel() and net_loop_stop(), which are how other threads talk to it. Descriptors are watched edge-triggered:
 * a watcher remembers what it may still read or write, and no system call is spent on changing its mind.
 *
 * In each turn: due timers, then descriptor events, then posted tasks. A task that posts itself again is run in the next
 * turn, after the descriptors: that is how long work gives others a turn. One that hands something on to the next one
 * (net_loop_post_soon()) need not wait for the next turn, and what one place after another uses for a moment can be handed
 * on between two callbacks (net_loop_post_first()). */
#ifndef SQ_NET_LOOP_H
#define SQ_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"

struct net_loop;

enum net_event {
    NET_READABLE = 1, /* also when the peer has closed its side: the next read tells */
    NET_WRITABLE = 2,
    NET_PEER_CLOSED = 4, /* the peer will send no more; what it has sent may still be unread */
    NET_HANGUP = 8,      /* both sides are closed, or the socket is broken */
};

/* A watched descriptor; embedded in its owner. */
struct net_watch {
    int fd;
    void (*event_cb)(struct net_watch *watch, unsigned events /* of enum net_event */);
};

/* A timer; embedded in its owner. Fires once. */
struct net_timer {
    int64_t due_us; /* monotonic */
    size_t heap_index;
    bool is_set;
    void (*fire_cb)(struct net_timer *timer);
};

/* A message in a loop's mailbox; embedded in its owner. Posting one that is already posted does nothing. */
struct net_task {
    struct sq_list links;
    void (*run_cb)(struct net_task *task);
};

SQ_MUST_USE sq_status net_loop_new(struct sq_error *err, struct net_loop **ret_loop);
/* Nothing may be watched, set or posted any more. NULL is allowed. */
void net_loop_free(struct net_loop *loop);

/* Runs until net_loop_stop(), or until the loop is handed to another thread while this one is in a job (pool.h). The
 * calling thread owns the loop meanwhile. */
void net_loop_run(struct net_loop *loop);
/* Any thread. */
void net_loop_stop(struct net_loop *loop);

/* Ends the process if the caller does not own the loop: called at every entry that must be on the loop. */
void net_loop_assert_owner(const struct net_loop *loop);

/* The first events come at once if the descriptor is ready already. */
SQ_MUST_USE sq_status net_loop_watch(struct net_loop *loop, struct net_watch *watch, struct sq_error *err);
/* No event of the watch comes after this call, not even one that epoll has already reported. */
void net_loop_unwatch(struct net_loop *loop, struct net_watch *watch);

void net_timer_init(struct net_timer *timer, void (*fire_cb)(struct net_timer *timer));
/* Sets or moves the timer. Cheap when the time does not change. One that is set while timers fire, to a time that has
 * passed, fires in the next turn: it cannot keep the loop from its descriptors. */
SQ_MUST_USE sq_status net_timer_set(struct net_loop *loop, struct net_timer *timer, int64_t due_us,
                                    struct sq_error *err);
void net_timer_clear(struct net_loop *loop, struct net_timer *timer);

void net_task_init(struct net_task *task, void (*run_cb)(struct net_task *task));
/* Any thread. The task must stay alive until it has run or been cancelled. */
void net_loop_post(struct net_loop *loop, struct net_task *task);
/* The same, for a task that others wait for: it comes in the turn that is going on, if tasks are being run and not too many
 * have come that way. A task must not post itself like this. */
void net_loop_post_soon(struct net_loop *loop, struct net_task *task);
/* The same, for a task that has what many others wait for: it comes next, before the descriptors and tasks that are waiting
 * too, if not too many have come that way in this turn. A task must not post itself like this. */
void net_loop_post_first(struct net_loop *loop, struct net_task *task);
/* Any thread, but the caller makes sure that nobody posts it again: the task is in no mailbox afterwards. */
void net_loop_cancel(struct net_loop *loop, struct net_task *task);

#endif
