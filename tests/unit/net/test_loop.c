/* The event loop: timers, mailbox, descriptors, and stopping. Events are made with pipes and eventfds; nothing here
 * depends on how long anything takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop.h"

enum { TIMERS = 200, THREADS = 3, POSTS = 3000 };

static struct net_loop *loop;
static char journal[512]; /* what happened, a letter each */

static void note(char letter)
{
    size_t length = strlen(journal);
    assert_true(length + 1 < sizeof(journal));
    journal[length] = letter;
    journal[length + 1] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    struct sq_error err;
    journal[0] = '\0';
    assert_int_equal(net_loop_new(&err, &loop), SQ_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    net_loop_free(loop);
    return 0;
}

/* --- Timers -------------------------------------------------------------------------------------------------------- */

struct test_timer {
    struct net_timer timer;
    char letter;
    struct test_timer *other;
};

static void set(struct test_timer *timer, int64_t due_us)
{
    struct sq_error err;
    assert_int_equal(net_timer_set(loop, &timer->timer, due_us, &err), SQ_OK);
}

static void fire_note(struct net_timer *timer)
{
    note(SQ_CONTAINER_OF(timer, struct test_timer, timer)->letter);
}

static void fire_stop(struct net_timer *timer)
{
    fire_note(timer);
    net_loop_stop(loop);
}

static void fire_clear_other(struct net_timer *timer)
{
    fire_note(timer);
    net_timer_clear(loop, &SQ_CONTAINER_OF(timer, struct test_timer, timer)->other->timer);
}

static void fire_set_other(struct net_timer *timer)
{
    fire_note(timer);
    set(SQ_CONTAINER_OF(timer, struct test_timer, timer)->other, 5);
}

static void make(struct test_timer *timer, char letter, void (*fire_cb)(struct net_timer *timer))
{
    net_timer_init(&timer->timer, fire_cb);
    timer->letter = letter;
    timer->other = NULL;
}

static void timers_fire_in_the_order_of_their_times(void **state)
{
    (void)state;
    struct test_timer timers[3], last;
    make(&timers[0], 'c', fire_note);
    make(&timers[1], 'a', fire_note);
    make(&timers[2], 'b', fire_note);
    make(&last, '.', fire_stop);
    set(&last, 40);
    set(&timers[0], 30);
    set(&timers[1], 10);
    set(&timers[2], 20);
    net_loop_run(loop);
    assert_string_equal(journal, "abc.");
    assert_false(timers[0].timer.is_set);
}

static int64_t last_due_us;
static int fired_count;

static void fire_in_order(struct net_timer *timer)
{
    assert_true(timer->due_us >= last_due_us);
    last_due_us = timer->due_us;
    fired_count++;
}

static void many_timers_set_moved_and_cleared_keep_their_order(void **state)
{
    (void)state;
    static struct net_timer timers[TIMERS];
    struct test_timer last;
    struct sq_error err;
    uint32_t random = 1;
    last_due_us = 0;
    fired_count = 0;
    for (size_t i = 0; i < TIMERS; i++)
        net_timer_init(&timers[i], fire_in_order);
    for (int i = 0; i < TIMERS * 20; i++) {
        random = random * 1664525u + 1013904223u;
        struct net_timer *timer = &timers[(random >> 8) % TIMERS];
        if ((random >> 20) % 4 == 0)
            net_timer_clear(loop, timer);
        else
            assert_int_equal(net_timer_set(loop, timer, 1 + (int64_t)(random % 1000), &err), SQ_OK);
    }
    int set_count = 0;
    for (size_t i = 0; i < TIMERS; i++)
        set_count += timers[i].is_set;
    assert_true(set_count > TIMERS / 2 && set_count < TIMERS);
    make(&last, '.', fire_stop);
    set(&last, 2000);
    net_loop_run(loop);
    assert_int_equal(fired_count, set_count);
}

static void a_timer_cleared_by_an_earlier_one_does_not_fire(void **state)
{
    (void)state;
    struct test_timer first, second, last;
    make(&first, 'a', fire_clear_other);
    make(&second, 'b', fire_note);
    make(&last, '.', fire_stop);
    first.other = &second;
    set(&first, 1);
    set(&second, 1);
    set(&last, 3);
    /* Equal times have no order: let the first one be the only one that may come first. */
    set(&second, 2);
    net_loop_run(loop);
    assert_string_equal(journal, "a.");
}

static void a_timer_may_set_another(void **state)
{
    (void)state;
    struct test_timer first, second;
    make(&first, 'a', fire_set_other);
    make(&second, 'b', fire_stop);
    first.other = &second;
    set(&first, 1);
    net_loop_run(loop);
    assert_string_equal(journal, "ab");
}

static int fires_left;

static void fire_again(struct net_timer *timer)
{
    fire_note(timer);
    if (--fires_left > 0)
        set(SQ_CONTAINER_OF(timer, struct test_timer, timer), 1);
    else
        net_loop_stop(loop);
}

static void a_moved_timer_fires_at_its_new_time_only(void **state)
{
    (void)state;
    struct test_timer moved, middle, last;
    make(&moved, 'm', fire_note);
    make(&middle, 'x', fire_note);
    make(&last, '.', fire_stop);
    set(&moved, 1);
    set(&middle, 2);
    set(&last, 4);
    set(&moved, 3);
    net_loop_run(loop);
    assert_string_equal(journal, "xm.");
}

static void a_timer_in_the_future_is_slept_for(void **state)
{
    (void)state;
    struct test_timer last;
    make(&last, '.', fire_stop);
    int64_t due_us = sq_clock_now_us() + 3000;
    set(&last, due_us);
    net_loop_run(loop);
    assert_true(sq_clock_now_us() >= due_us);
}

/* --- Mailbox -------------------------------------------------------------------------------------------------------- */

struct test_task {
    struct net_task task;
    char letter;
    int runs_left;
    struct test_task *other;
};

static void make_task(struct test_task *task, char letter, void (*run_cb)(struct net_task *task))
{
    net_task_init(&task->task, run_cb);
    task->letter = letter;
    task->runs_left = 1;
    task->other = NULL;
}

static void run_note(struct net_task *task)
{
    note(SQ_CONTAINER_OF(task, struct test_task, task)->letter);
}

static void run_stop(struct net_task *task)
{
    run_note(task);
    net_loop_stop(loop);
}

static void run_again(struct net_task *task)
{
    struct test_task *test = SQ_CONTAINER_OF(task, struct test_task, task);
    run_note(task);
    if (--test->runs_left > 0)
        net_loop_post(loop, task);
    else
        net_loop_stop(loop);
}

static void run_cancel_other(struct net_task *task)
{
    run_note(task);
    net_loop_cancel(loop, &SQ_CONTAINER_OF(task, struct test_task, task)->other->task);
}

static void tasks_run_once_in_the_order_of_posting(void **state)
{
    (void)state;
    struct test_task first, second, last;
    make_task(&first, 'a', run_note);
    make_task(&second, 'b', run_note);
    make_task(&last, '.', run_stop);
    net_loop_post(loop, &first.task);
    net_loop_post(loop, &second.task);
    net_loop_post(loop, &first.task);
    net_loop_post(loop, &last.task);
    net_loop_run(loop);
    assert_string_equal(journal, "ab.");
}

static void a_cancelled_task_does_not_run(void **state)
{
    (void)state;
    struct test_task first, second, third, last;
    make_task(&first, 'a', run_note);
    make_task(&second, 'b', run_cancel_other);
    make_task(&third, 'c', run_note);
    make_task(&last, '.', run_stop);
    second.other = &third;
    net_loop_post(loop, &first.task);
    net_loop_post(loop, &second.task);
    net_loop_post(loop, &third.task);
    net_loop_post(loop, &last.task);
    net_loop_cancel(loop, &first.task);
    net_loop_cancel(loop, &first.task);
    net_loop_run(loop);
    assert_string_equal(journal, "b.");
}

struct test_watch {
    struct net_watch watch;
    char letter;
    struct test_watch *other;
};

static void on_readable(struct net_watch *watch, unsigned events)
{
    uint64_t count;
    if ((events & NET_READABLE) != 0 && read(watch->fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        note(SQ_CONTAINER_OF(watch, struct test_watch, watch)->letter);
}

static void watch_fd(struct test_watch *watch, char letter, int fd, void (*event_cb)(struct net_watch *, unsigned))
{
    struct sq_error err;
    watch->watch = (struct net_watch){.fd = fd, .event_cb = event_cb};
    watch->letter = letter;
    assert_int_equal(net_loop_watch(loop, &watch->watch, &err), SQ_OK);
}

static void a_task_that_posts_itself_lets_descriptors_have_a_turn(void **state)
{
    (void)state;
    struct test_task busy;
    struct test_watch watch;
    int fd = eventfd(1, EFD_NONBLOCK);
    watch_fd(&watch, 'r', fd, on_readable);
    make_task(&busy, 't', run_again);
    busy.runs_left = 3;
    net_loop_post(loop, &busy.task);
    net_loop_run(loop);
    assert_string_equal(journal, "trtt");
    net_loop_unwatch(loop, &watch.watch);
    close(fd);
}

/* Hands on to the other one, back and forth, and would so for ever. */
static void run_hand_on(struct net_task *task)
{
    struct test_task *test = SQ_CONTAINER_OF(task, struct test_task, task);
    run_note(task);
    net_loop_post_soon(loop, &test->other->task);
}

static void on_readable_stop(struct net_watch *watch, unsigned events)
{
    on_readable(watch, events);
    net_loop_stop(loop);
}

static void who_hands_on_stays_in_the_turn_for_a_while_only(void **state)
{
    (void)state;
    struct test_task first, second;
    struct test_watch watch;
    make_task(&first, 'a', run_hand_on);
    make_task(&second, 'b', run_hand_on);
    first.other = &second;
    second.other = &first;
    watch_fd(&watch, 'r', eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), on_readable_stop);
    /* Without a turn going on it is an ordinary post. */
    net_loop_post_soon(loop, &first.task);
    net_loop_run(loop);
    /* Two turns, with the descriptor between them; both end although the two would go on for ever. */
    const char *between = strchr(journal, 'r');
    assert_non_null(between);
    size_t before = (size_t)(between - journal);
    size_t after = strlen(between + 1);
    assert_in_range(before, 2, 100);
    assert_in_range(after, 2, 100);
    for (size_t i = 0; i < before + after; i++)
        assert_int_equal(journal[i < before ? i : i + 1], i % 2 == 0 ? 'a' : 'b');
    net_loop_unwatch(loop, &watch.watch);
    close(watch.watch.fd);
    net_loop_cancel(loop, &first.task);
    net_loop_cancel(loop, &second.task);
}

static void what_many_wait_for_comes_before_what_was_posted_earlier(void **state)
{
    (void)state;
    struct test_task tasks[4];
    for (size_t i = 0; i < 4; i++)
        make_task(&tasks[i], (char)('a' + i), i == 1 ? run_stop : run_note);
    net_loop_post(loop, &tasks[0].task);
    net_loop_post(loop, &tasks[1].task);
    net_loop_post_first(loop, &tasks[2].task);
    net_loop_post(loop, &tasks[3].task);
    net_loop_post_first(loop, &tasks[3].task); /* it was posted already, and moves */
    net_loop_run(loop);
    assert_string_equal(journal, "cdab");
}

static void a_first_task_that_is_cancelled_does_not_run(void **state)
{
    (void)state;
    struct test_task first, last;
    make_task(&first, 'a', run_note);
    make_task(&last, 'b', run_stop);
    net_loop_post_first(loop, &first.task);
    net_loop_post(loop, &last.task);
    net_loop_cancel(loop, &first.task);
    net_loop_run(loop);
    assert_string_equal(journal, "b");
}

/* Hands on what comes first, back and forth, and would so for ever. */
static void run_hurry_on(struct net_task *task)
{
    struct test_task *test = SQ_CONTAINER_OF(task, struct test_task, task);
    run_note(task);
    net_loop_post_first(loop, &test->other->task);
}

static void what_always_comes_first_lets_descriptors_have_a_turn(void **state)
{
    (void)state;
    struct test_task first, second;
    struct test_watch watch;
    make_task(&first, 'a', run_hurry_on);
    make_task(&second, 'b', run_hurry_on);
    first.other = &second;
    second.other = &first;
    watch_fd(&watch, 'r', eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), on_readable_stop);
    net_loop_post_first(loop, &first.task);
    net_loop_run(loop);
    const char *between = strchr(journal, 'r');
    assert_non_null(between);
    assert_in_range(between - journal, 2, 200);
    net_loop_unwatch(loop, &watch.watch);
    close(watch.watch.fd);
    net_loop_cancel(loop, &first.task);
    net_loop_cancel(loop, &second.task);
}

static void a_timer_that_sets_itself_to_the_past_lets_descriptors_have_a_turn(void **state)
{
    (void)state;
    struct test_timer timer;
    struct test_watch watch;
    int fd = eventfd(1, EFD_NONBLOCK);
    watch_fd(&watch, 'r', fd, on_readable);
    make(&timer, 't', fire_again);
    fires_left = 3;
    set(&timer, 1);
    net_loop_run(loop);
    assert_string_equal(journal, "trtt");
    net_loop_unwatch(loop, &watch.watch);
    close(fd);
}

struct poster {
    struct test_task task;
    pthread_t thread;
    atomic_bool is_last; /* set before the last post: the run that follows it sees it */
    bool has_ended;
};

static struct poster posters[THREADS];

static void run_poster(struct net_task *task)
{
    struct poster *poster = SQ_CONTAINER_OF(task, struct poster, task.task);
    if (!atomic_load(&poster->is_last) || poster->has_ended)
        return;
    poster->has_ended = true;
    note('e');
    if (strlen(journal) == THREADS)
        net_loop_stop(loop);
}

static void *post_many(void *context)
{
    struct poster *poster = context;
    for (int i = 0; i < POSTS; i++)
        net_loop_post(loop, &poster->task.task);
    atomic_store(&poster->is_last, true);
    net_loop_post(loop, &poster->task.task);
    return NULL;
}

static void the_last_post_of_every_thread_is_heard(void **state)
{
    (void)state;
    memset(posters, 0, sizeof(posters));
    for (size_t i = 0; i < THREADS; i++) {
        make_task(&posters[i].task, 'p', run_poster);
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    net_loop_run(loop);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        net_loop_cancel(loop, &posters[i].task.task);
    assert_int_equal(strlen(journal), THREADS);
}

static void *run_loop(void *context)
{
    net_loop_run(context);
    return NULL;
}

static pthread_mutex_t echo_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t echo_cond = PTHREAD_COND_INITIALIZER;
static int echo_count;

static void run_echo(struct net_task *task)
{
    (void)task;
    pthread_mutex_lock(&echo_mutex);
    echo_count++;
    pthread_cond_signal(&echo_cond);
    pthread_mutex_unlock(&echo_mutex);
}

static void a_sleeping_loop_hears_every_post_and_a_stop_from_another_thread(void **state)
{
    (void)state;
    struct test_task echo;
    pthread_t thread;
    echo_count = 0;
    make_task(&echo, 'e', run_echo);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
    for (int i = 1; i <= POSTS; i++) {
        net_loop_post(loop, &echo.task);
        pthread_mutex_lock(&echo_mutex);
        while (echo_count < i)
            pthread_cond_wait(&echo_cond, &echo_mutex);
        pthread_mutex_unlock(&echo_mutex);
    }
    net_loop_stop(loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(echo_count, POSTS);
}

static void a_loop_that_is_stopped_before_it_runs_returns_at_once(void **state)
{
    (void)state;
    net_loop_stop(loop);
    net_loop_run(loop);
    assert_string_equal(journal, "");
}

/* --- Descriptors ---------------------------------------------------------------------------------------------------- */

static void on_unwatch_other(struct net_watch *watch, unsigned events)
{
    struct test_watch *test = SQ_CONTAINER_OF(watch, struct test_watch, watch);
    (void)events;
    note(test->letter);
    /* Whichever of the two comes first takes the other away. */
    net_loop_unwatch(loop, &test->other->watch);
    test->other->watch.event_cb = NULL;
    net_loop_stop(loop);
}

static void a_watch_that_is_taken_away_within_the_batch_gets_no_event(void **state)
{
    (void)state;
    struct test_watch first, second;
    int fds[2] = {eventfd(1, EFD_NONBLOCK), eventfd(1, EFD_NONBLOCK)};
    watch_fd(&first, 'x', fds[0], on_unwatch_other);
    watch_fd(&second, 'x', fds[1], on_unwatch_other);
    first.other = &second;
    second.other = &first;
    net_loop_run(loop);
    assert_string_equal(journal, "x");
    net_loop_unwatch(loop, first.watch.event_cb != NULL ? &first.watch : &second.watch);
    close(fds[0]);
    close(fds[1]);
}

static unsigned seen_events;

static void on_any(struct net_watch *watch, unsigned events)
{
    (void)watch;
    seen_events |= events;
    net_loop_stop(loop);
}

static void a_socket_tells_what_it_can_do_and_that_its_peer_is_gone(void **state)
{
    (void)state;
    int pair[2];
    struct test_watch watch;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    seen_events = 0;
    watch_fd(&watch, 's', pair[0], on_any);
    net_loop_run(loop);
    assert_int_equal(seen_events, NET_WRITABLE);
    net_loop_unwatch(loop, &watch.watch);
    assert_int_equal(write(pair[1], "x", 1), 1);
    tear_down(NULL);
    set_up(NULL);
    seen_events = 0;
    watch_fd(&watch, 's', pair[0], on_any);
    net_loop_run(loop);
    assert_int_equal(seen_events, NET_READABLE | NET_WRITABLE);
    net_loop_unwatch(loop, &watch.watch);
    tear_down(NULL);
    set_up(NULL);
    close(pair[1]);
    seen_events = 0;
    watch_fd(&watch, 's', pair[0], on_any);
    net_loop_run(loop);
    assert_int_equal(seen_events & (NET_READABLE | NET_HANGUP), NET_READABLE | NET_HANGUP);
    net_loop_unwatch(loop, &watch.watch);
    close(pair[0]);
}

static void a_descriptor_that_cannot_be_watched_is_refused(void **state)
{
    (void)state;
    struct sq_error err;
    struct net_watch watch = {.fd = -1, .event_cb = on_any};
    assert_int_equal(net_loop_watch(loop, &watch, &err), SQ_IO);
    assert_true(err.text[0] != '\0');
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(timers_fire_in_the_order_of_their_times),
        LOOP_TEST(many_timers_set_moved_and_cleared_keep_their_order),
        LOOP_TEST(a_timer_cleared_by_an_earlier_one_does_not_fire),
        LOOP_TEST(a_timer_may_set_another),
        LOOP_TEST(a_moved_timer_fires_at_its_new_time_only),
        LOOP_TEST(a_timer_in_the_future_is_slept_for),
        LOOP_TEST(tasks_run_once_in_the_order_of_posting),
        LOOP_TEST(a_cancelled_task_does_not_run),
        LOOP_TEST(a_task_that_posts_itself_lets_descriptors_have_a_turn),
        LOOP_TEST(who_hands_on_stays_in_the_turn_for_a_while_only),
        LOOP_TEST(what_many_wait_for_comes_before_what_was_posted_earlier),
        LOOP_TEST(a_first_task_that_is_cancelled_does_not_run),
        LOOP_TEST(what_always_comes_first_lets_descriptors_have_a_turn),
        LOOP_TEST(a_timer_that_sets_itself_to_the_past_lets_descriptors_have_a_turn),
        LOOP_TEST(the_last_post_of_every_thread_is_heard),
        LOOP_TEST(a_sleeping_loop_hears_every_post_and_a_stop_from_another_thread),
        LOOP_TEST(a_loop_that_is_stopped_before_it_runs_returns_at_once),
        LOOP_TEST(a_watch_that_is_taken_away_within_the_batch_gets_no_event),
        LOOP_TEST(a_socket_tells_what_it_can_do_and_that_its_peer_is_gone),
        LOOP_TEST(a_descriptor_that_cannot_be_watched_is_refused),
    };
    return cmocka_run_group_tests_name("net/loop", tests, NULL, NULL);
}
