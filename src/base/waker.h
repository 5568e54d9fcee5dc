/* base/waker.h: "tell me when I can go on". Whoever waits for something that another thread will give (a write slot, a
 * notification, a cancel request) hands in a waker; the giver calls it once, from any thread.
 *
 * A waker only says "look again": spurious calls are allowed, and the callee must not do work in the caller's thread.
 * The giver calls it while it holds the lock under which the waiter can withdraw, so that a waiter that has withdrawn is
 * never woken afterwards and may be freed. */
#ifndef SQ_BASE_WAKER_H
#define SQ_BASE_WAKER_H

#include <stddef.h>

struct sq_waker {
    void (*wake_cb)(struct sq_waker *waker);
    void (*hurry_cb)(struct sq_waker *waker); /* NULL: the same as wake_cb */
};

static inline void sq_waker_wake(struct sq_waker *waker)
{
    waker->wake_cb(waker);
}

/* The same, when what it is given is needed by others: it should be used, and handed on, before anything else is done. */
static inline void sq_waker_hurry(struct sq_waker *waker)
{
    if (waker->hurry_cb != NULL)
        waker->hurry_cb(waker);
    else
        waker->wake_cb(waker);
}

#endif
