/* repl/wakeups.c: a list and a mutex. */
#include "repl/wakeups.h"

void repl_wakeups_init(struct repl_wakeups *wakeups, struct sq_waker *owner)
{
    sq_assert(owner != NULL);
    pthread_mutex_init(&wakeups->mutex, NULL);
    sq_list_init(&wakeups->woken);
    wakeups->owner = owner;
}

void repl_wakeups_done(struct repl_wakeups *wakeups)
{
    sq_assert(sq_list_is_empty(&wakeups->woken));
    pthread_mutex_destroy(&wakeups->mutex);
}

struct repl_wakeup *repl_wakeups_take(struct repl_wakeups *wakeups)
{
    pthread_mutex_lock(&wakeups->mutex);
    struct sq_list *links = sq_list_pop_front(&wakeups->woken);
    pthread_mutex_unlock(&wakeups->mutex);
    return links != NULL ? SQ_CONTAINER_OF(links, struct repl_wakeup, links) : NULL;
}

bool repl_wakeups_is_empty(struct repl_wakeups *wakeups)
{
    pthread_mutex_lock(&wakeups->mutex);
    bool is_empty = sq_list_is_empty(&wakeups->woken);
    pthread_mutex_unlock(&wakeups->mutex);
    return is_empty;
}

/* The owner's waker is called with the lock: after repl_wakeup_withdraw() of all of them it is not called any more. */
static void wake(struct sq_waker *waker)
{
    struct repl_wakeup *wakeup = SQ_CONTAINER_OF(waker, struct repl_wakeup, waker);
    struct repl_wakeups *wakeups = wakeup->wakeups;
    pthread_mutex_lock(&wakeups->mutex);
    if (!sq_list_is_linked(&wakeup->links)) {
        sq_list_push_back(&wakeups->woken, &wakeup->links);
        sq_waker_wake(wakeups->owner);
    }
    pthread_mutex_unlock(&wakeups->mutex);
}

void repl_wakeup_init(struct repl_wakeup *wakeup, struct repl_wakeups *wakeups)
{
    wakeup->waker = (struct sq_waker){.wake_cb = wake};
    sq_list_init(&wakeup->links);
    wakeup->wakeups = wakeups;
}

void repl_wakeup_withdraw(struct repl_wakeup *wakeup)
{
    pthread_mutex_lock(&wakeup->wakeups->mutex);
    sq_list_remove(&wakeup->links);
    pthread_mutex_unlock(&wakeup->wakeups->mutex);
}
