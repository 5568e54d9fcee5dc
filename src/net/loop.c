/* net/loop.c: the event loop.
 *
 * Invariants: (1) `timers` is a binary heap by due_us, and every timer knows its index; (2) a watch that is unwatched
 * while a batch of events is handled is struck out of that batch; (3) the mailbox's list is only touched under its
 * mutex; `wake_fd` is written only when the loop may be asleep; (4) between two callbacks all of the loop's state is in the
 * struct, so that another thread can go on where this one was (pool.h). */
#include "net/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop_internal.h"

enum { NET_EVENTS_MAX = 256, NET_TIMERS_MIN = 64, NET_SOON_MAX = 32, NET_FIRST_MAX = 64 };

struct net_loop {
    int epoll_fd;
    int wake_fd;
    _Atomic(pthread_t) owner;
    atomic_bool is_owned;
    atomic_bool is_stopping; /* relaxed: it carries no other data, and a turn later is soon enough */

    struct net_loop_job job;
    struct net_pool *pool; /* NULL: nobody takes this loop over */

    struct epoll_event events[NET_EVENTS_MAX];
    int event_count;        /* of the batch that is being handled */
    int event_next;         /* the first one that has not been handled */
    atomic_int events_left; /* behind the one that is being handled; relaxed, for the monitor */

    struct net_timer **timers;
    size_t timer_count;
    size_t timer_capacity;
    int64_t fired_us; /* timers have fired up to this time; those set to an earlier one are for the next turn */
    _Atomic(int64_t) next_due_us; /* of the first timer, INT64_MAX: none; relaxed, for the monitor */

    pthread_mutex_t mailbox_mutex;
    struct sq_list mailbox;
    struct sq_list turn;   /* where this turn's tasks end; itself no task */
    int soon_left;         /* how many more tasks may join this turn */
    struct sq_list first;  /* tasks that come before everything else */
    int first_left;        /* how many more may in this turn */
    atomic_bool has_first; /* relaxed: the list is looked at under the mutex */
    bool is_asleep;        /* guarded by the mutex: somebody must write wake_fd */
};

static sq_status loop_open(struct net_loop *loop, struct sq_error *err)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return sq_fail_errno(err, errno, "cannot make an event loop");
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return sq_fail_errno(err, errno, "cannot make an event loop's mailbox");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0)
        return sq_fail_errno(err, errno, "cannot watch an event loop's mailbox");
    return SQ_OK;
}

SQ_DEFINE_FREEP(struct net_loop, net_loop_free)

sq_status net_loop_new(struct sq_error *err, struct net_loop **ret_loop)
{
    SQ_CLEANUP(net_loop_freep) struct net_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for an event loop");
    loop->epoll_fd = -1;
    loop->wake_fd = -1;
    pthread_mutex_init(&loop->mailbox_mutex, NULL);
    sq_list_init(&loop->mailbox);
    sq_list_init(&loop->turn);
    sq_list_init(&loop->first);
    loop->first_left = NET_FIRST_MAX;
    atomic_store_explicit(&loop->next_due_us, INT64_MAX, memory_order_relaxed);
    SQ_TRY(loop_open(loop, err));
    *ret_loop = SQ_STEAL(loop);
    return SQ_OK;
}

void net_loop_free(struct net_loop *loop)
{
    if (loop == NULL)
        return;
    sq_assert(loop->timer_count == 0 && sq_list_is_empty(&loop->mailbox) && !sq_list_is_linked(&loop->turn));
    sq_assert(sq_list_is_empty(&loop->first));
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_mutex_destroy(&loop->mailbox_mutex);
    free(loop->timers);
    free(loop);
}

void net_loop_assert_owner(const struct net_loop *loop)
{
    /* Relaxed: the owner itself wrote both; another thread is wrong whatever it reads. */
    sq_assert(!atomic_load_explicit(&loop->is_owned, memory_order_relaxed) ||
              pthread_equal(atomic_load_explicit(&loop->owner, memory_order_relaxed), pthread_self()));
}

/* --- Being handed off --------------------------------------------------------------------------------------------- */

/* The loop that this thread was running has been given to another one, during the callback that runs now. */
static _Thread_local bool has_lost_loop;

void net_loop_lose(void)
{
    has_lost_loop = true;
}

struct net_loop_job *net_loop_job(struct net_loop *loop)
{
    return &loop->job;
}

void net_loop_set_pool(struct net_loop *loop, struct net_pool *pool)
{
    loop->pool = pool;
}

struct net_pool *net_loop_pool(struct net_loop *loop)
{
    return loop->pool;
}

bool net_loop_has_work(struct net_loop *loop)
{
    pthread_mutex_lock(&loop->mailbox_mutex);
    bool has_task = loop->mailbox.next != &loop->turn && !sq_list_is_empty(&loop->mailbox);
    bool has_later_task =
        (loop->mailbox.previous != &loop->turn && !sq_list_is_empty(&loop->mailbox)) || !sq_list_is_empty(&loop->first);
    pthread_mutex_unlock(&loop->mailbox_mutex);
    if (has_task || has_later_task || atomic_load_explicit(&loop->events_left, memory_order_relaxed) > 0)
        return true;
    if (atomic_load_explicit(&loop->next_due_us, memory_order_relaxed) <= sq_clock_now_us())
        return true;
    struct pollfd poll_fd = {.fd = loop->epoll_fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) > 0;
}

static void wake(struct net_loop *loop)
{
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof(one));
    /* EAGAIN: the counter is full, so the loop is awake anyway. */
    sq_assert(written == (ssize_t)sizeof(one) || errno == EAGAIN);
}

void net_loop_stop(struct net_loop *loop)
{
    atomic_store_explicit(&loop->is_stopping, true, memory_order_relaxed);
    wake(loop);
}

/* --- Descriptors ------------------------------------------------------------------------------------------------- */

sq_status net_loop_watch(struct net_loop *loop, struct net_watch *watch, struct sq_error *err)
{
    net_loop_assert_owner(loop);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) != 0)
        return sq_fail_errno(err, errno, "cannot watch a socket");
    return SQ_OK;
}

void net_loop_unwatch(struct net_loop *loop, struct net_watch *watch)
{
    net_loop_assert_owner(loop);
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    sq_assert(result == 0);
    for (int i = loop->event_next; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == watch)
            loop->events[i].events = 0;
    }
}

static void handle_event(struct net_loop *loop, const struct epoll_event *event)
{
    uint32_t happened = event->events;
    struct net_watch *watch = event->data.ptr;
    if (watch == NULL) {
        uint64_t count;
        ssize_t got = read(loop->wake_fd, &count, sizeof(count));
        (void)got; /* EAGAIN: somebody else's wake was read with the last one */
        return;
    }
    unsigned events = 0;
    if ((happened & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        events |= NET_READABLE;
    if ((happened & EPOLLOUT) != 0)
        events |= NET_WRITABLE;
    if ((happened & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        events |= NET_PEER_CLOSED;
    if ((happened & (EPOLLHUP | EPOLLERR)) != 0)
        events |= NET_HANGUP;
    if (events != 0)
        watch->event_cb(watch, events);
}

/* Runs what must not wait. False: the loop was lost meanwhile. So for handle_events(), fire_timers() and run_tasks(). */
static bool run_first(struct net_loop *loop)
{
    while (SQ_UNLIKELY(atomic_load_explicit(&loop->has_first, memory_order_relaxed))) {
        pthread_mutex_lock(&loop->mailbox_mutex);
        struct sq_list *links = sq_list_pop_front(&loop->first);
        atomic_store_explicit(&loop->has_first, !sq_list_is_empty(&loop->first), memory_order_relaxed);
        pthread_mutex_unlock(&loop->mailbox_mutex);
        if (links == NULL)
            break; /* cancelled */
        struct net_task *task = SQ_CONTAINER_OF(links, struct net_task, links);
        task->run_cb(task);
        if (has_lost_loop)
            return false;
    }
    return true;
}

static bool handle_events(struct net_loop *loop)
{
    while (loop->event_next < loop->event_count) {
        struct epoll_event event = loop->events[loop->event_next++];
        atomic_store_explicit(&loop->events_left, loop->event_count - loop->event_next, memory_order_relaxed);
        handle_event(loop, &event);
        if (has_lost_loop || !run_first(loop))
            return false;
    }
    loop->event_count = loop->event_next = 0;
    return true;
}

/* --- Timers: a binary heap --------------------------------------------------------------------------------------- */

static void heap_place(struct net_loop *loop, struct net_timer *timer, size_t index)
{
    loop->timers[index] = timer;
    timer->heap_index = index;
    if (index == 0)
        atomic_store_explicit(&loop->next_due_us, timer->due_us, memory_order_relaxed);
}

static void heap_sift_up(struct net_loop *loop, struct net_timer *timer, size_t index)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (loop->timers[parent]->due_us <= timer->due_us)
            break;
        heap_place(loop, loop->timers[parent], index);
        index = parent;
    }
    heap_place(loop, timer, index);
}

static void heap_sift_down(struct net_loop *loop, struct net_timer *timer, size_t index)
{
    for (;;) {
        size_t child = index * 2 + 1;
        if (child >= loop->timer_count)
            break;
        if (child + 1 < loop->timer_count && loop->timers[child + 1]->due_us < loop->timers[child]->due_us)
            child++;
        if (timer->due_us <= loop->timers[child]->due_us)
            break;
        heap_place(loop, loop->timers[child], index);
        index = child;
    }
    heap_place(loop, timer, index);
}

void net_timer_init(struct net_timer *timer, void (*fire_cb)(struct net_timer *timer))
{
    *timer = (struct net_timer){.fire_cb = fire_cb};
}

void net_timer_clear(struct net_loop *loop, struct net_timer *timer)
{
    net_loop_assert_owner(loop);
    if (!timer->is_set)
        return;
    sq_assert(loop->timer_count > 0 && loop->timers[timer->heap_index] == timer);
    timer->is_set = false;
    struct net_timer *last = loop->timers[--loop->timer_count];
    if (loop->timer_count == 0)
        atomic_store_explicit(&loop->next_due_us, INT64_MAX, memory_order_relaxed);
    if (last == timer)
        return;
    size_t index = timer->heap_index;
    heap_sift_up(loop, last, index);
    heap_sift_down(loop, last, last->heap_index);
}

sq_status net_timer_set(struct net_loop *loop, struct net_timer *timer, int64_t due_us, struct sq_error *err)
{
    net_loop_assert_owner(loop);
    if (due_us <= loop->fired_us)
        due_us = loop->fired_us + 1;
    if (timer->is_set && timer->due_us == due_us)
        return SQ_OK;
    net_timer_clear(loop, timer);
    if (loop->timer_count == loop->timer_capacity) {
        size_t capacity = loop->timer_capacity == 0 ? NET_TIMERS_MIN : loop->timer_capacity * 2;
        struct net_timer **timers = realloc(loop->timers, capacity * sizeof(struct net_timer *));
        if (timers == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a timer");
        loop->timers = timers;
        loop->timer_capacity = capacity;
    }
    timer->due_us = due_us;
    timer->is_set = true;
    heap_sift_up(loop, timer, loop->timer_count++);
    return SQ_OK;
}

static bool fire_timers(struct net_loop *loop)
{
    if (loop->timer_count == 0)
        return true;
    loop->fired_us = sq_clock_now_us();
    while (loop->timer_count > 0 && loop->timers[0]->due_us <= loop->fired_us) {
        struct net_timer *timer = loop->timers[0];
        net_timer_clear(loop, timer);
        timer->fire_cb(timer);
        if (has_lost_loop)
            return false;
    }
    return true;
}

/* --- Mailbox ----------------------------------------------------------------------------------------------------- */

void net_task_init(struct net_task *task, void (*run_cb)(struct net_task *task))
{
    sq_list_init(&task->links);
    task->run_cb = run_cb;
}

enum post_when { POST_LATER, POST_SOON, POST_FIRST };

/* Under the mutex: lets the task go before all others, if there is room. */
static bool put_first(struct net_loop *loop, struct net_task *task)
{
    if (loop->first_left == 0)
        return false;
    loop->first_left--;
    sq_list_remove(&task->links); /* it may have been posted already */
    sq_list_push_back(&loop->first, &task->links);
    atomic_store_explicit(&loop->has_first, true, memory_order_relaxed);
    return true;
}

static void post(struct net_loop *loop, struct net_task *task, enum post_when when)
{
    pthread_mutex_lock(&loop->mailbox_mutex);
    bool must_wake = false;
    if (when == POST_FIRST && put_first(loop, task)) {
        must_wake = loop->is_asleep;
        loop->is_asleep = false;
    } else if (!sq_list_is_linked(&task->links)) {
        bool joins_turn = when != POST_LATER && sq_list_is_linked(&loop->turn) && loop->soon_left > 0;
        if (joins_turn)
            loop->soon_left--;
        sq_list_push_back(joins_turn ? &loop->turn : &loop->mailbox, &task->links); /* before it: a ring */
        must_wake = loop->is_asleep;
        loop->is_asleep = false;
    }
    pthread_mutex_unlock(&loop->mailbox_mutex);
    if (must_wake)
        wake(loop);
}

void net_loop_post(struct net_loop *loop, struct net_task *task)
{
    post(loop, task, POST_LATER);
}

void net_loop_post_soon(struct net_loop *loop, struct net_task *task)
{
    post(loop, task, POST_SOON);
}

void net_loop_post_first(struct net_loop *loop, struct net_task *task)
{
    post(loop, task, POST_FIRST);
}

void net_loop_cancel(struct net_loop *loop, struct net_task *task)
{
    pthread_mutex_lock(&loop->mailbox_mutex);
    sq_list_remove(&task->links);
    pthread_mutex_unlock(&loop->mailbox_mutex);
}

/* Runs the tasks that are there now, and those that join them; what else is posted is for the next turn. */
static bool run_tasks(struct net_loop *loop)
{
    pthread_mutex_lock(&loop->mailbox_mutex);
    if (!sq_list_is_linked(&loop->turn)) {
        sq_list_push_back(&loop->mailbox, &loop->turn);
        loop->soon_left = NET_SOON_MAX;
    }
    while (loop->mailbox.next != &loop->turn) {
        struct sq_list *links = sq_list_pop_front(&loop->mailbox);
        pthread_mutex_unlock(&loop->mailbox_mutex);
        struct net_task *task = SQ_CONTAINER_OF(links, struct net_task, links);
        task->run_cb(task);
        if (has_lost_loop || !run_first(loop))
            return false;
        pthread_mutex_lock(&loop->mailbox_mutex);
    }
    sq_list_remove(&loop->turn);
    pthread_mutex_unlock(&loop->mailbox_mutex);
    return true;
}

/* How long to sleep: 0 when there is a task, -1 for ever. */
static int sleep_ms(struct net_loop *loop)
{
    pthread_mutex_lock(&loop->mailbox_mutex);
    bool has_task = !sq_list_is_empty(&loop->mailbox) || !sq_list_is_empty(&loop->first);
    loop->is_asleep = !has_task;
    loop->first_left = NET_FIRST_MAX;
    pthread_mutex_unlock(&loop->mailbox_mutex);
    if (has_task)
        return 0;
    if (loop->timer_count == 0)
        return -1;
    int64_t left_us = loop->timers[0]->due_us - sq_clock_now_us();
    if (left_us <= 0)
        return 0;
    int64_t left_ms = (left_us + SQ_US_PER_MS - 1) / SQ_US_PER_MS;
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}

/* Waits for events; handling them is the caller's. */
static void await_events(struct net_loop *loop)
{
    int count = epoll_wait(loop->epoll_fd, loop->events, NET_EVENTS_MAX, sleep_ms(loop));
    sq_assert(count >= 0 || errno == EINTR);
    loop->event_next = 0;
    loop->event_count = count > 0 ? count : 0;
    pthread_mutex_lock(&loop->mailbox_mutex);
    loop->is_asleep = false;
    pthread_mutex_unlock(&loop->mailbox_mutex);
}

void net_loop_run(struct net_loop *loop)
{
    has_lost_loop = false;
    atomic_store_explicit(&loop->owner, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&loop->is_owned, true, memory_order_relaxed);
    /* What another thread has left in the middle of a turn comes first. */
    bool has_loop = run_first(loop) && handle_events(loop) && run_tasks(loop);
    while (has_loop && !atomic_load_explicit(&loop->is_stopping, memory_order_relaxed)) {
        await_events(loop);
        has_loop = fire_timers(loop) && run_first(loop) && handle_events(loop) && run_tasks(loop);
    }
    if (has_loop)
        atomic_store_explicit(&loop->is_owned, false, memory_order_relaxed);
}
