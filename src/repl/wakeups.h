/* repl/wakeups.h: one who waits for many things and wants to know which of them have news. Each thing has a waker of its own; a call of it, from any thread, puts
 * the thing into a list and calls the waker of the one who waits.
 *
 * Threads: wakers from any; the rest from the owner's. A leaf lock: called under the locks of logs and stores. */
#ifndef SQ_REPL_WAKEUPS_H
#define SQ_REPL_WAKEUPS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/waker.h"

struct repl_wakeups {
    pthread_mutex_t mutex;
    struct sq_list woken; /* of struct repl_wakeup */
    struct sq_waker *owner;
};

struct repl_wakeup {
    struct sq_waker waker; /* what is handed out */
    struct sq_list links;
    struct repl_wakeups *wakeups;
};

/* `owner` may be called under the same locks as the wakers, and outlives the wakeups. */
void repl_wakeups_init(struct repl_wakeups *wakeups, struct sq_waker *owner);
void repl_wakeups_done(struct repl_wakeups *wakeups); /* all were withdrawn */
/* The one that was woken first and was not taken yet; NULL: none. */
struct repl_wakeup *repl_wakeups_take(struct repl_wakeups *wakeups);
bool repl_wakeups_is_empty(struct repl_wakeups *wakeups);

void repl_wakeup_init(struct repl_wakeup *wakeup, struct repl_wakeups *wakeups);
/* Nobody will call its waker any more: it is not taken any more either. */
void repl_wakeup_withdraw(struct repl_wakeup *wakeup);

#endif
