/* The write slot: order, waking, withdrawing, and one holder at a time whatever threads do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "sched/slot.h"

enum { TICKETS = 4, THREADS = 4, ROUNDS = 2000 };

struct waiter {
    struct sq_waker waker;
    struct slot_ticket ticket;
    int wake_count;
};

static void count_wake(struct sq_waker *waker)
{
    SQ_CONTAINER_OF(waker, struct waiter, waker)->wake_count++;
}

static struct sched_slot slot;
static struct waiter waiters[TICKETS];

static int set_up(void **state)
{
    (void)state;
    sched_slot_init(&slot);
    for (size_t i = 0; i < TICKETS; i++) {
        waiters[i] = (struct waiter){.waker = {.wake_cb = count_wake}};
        slot_ticket_init(&waiters[i].ticket, &waiters[i].waker);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sched_slot_done(&slot);
    return 0;
}

static bool take(size_t i)
{
    return sched_slot_take(&slot, &waiters[i].ticket);
}

static void release(size_t i)
{
    sched_slot_release(&slot, &waiters[i].ticket);
}

static void a_free_slot_is_held_at_once(void **state)
{
    (void)state;
    assert_true(take(0));
    assert_true(take(0));
    assert_int_equal(waiters[0].ticket.state, SLOT_HELD);
    assert_int_equal(sched_slot_queue_length(&slot), 0);
    release(0);
    assert_int_equal(waiters[0].ticket.state, SLOT_IDLE);
    assert_int_equal(waiters[0].wake_count, 0);
}

static void the_slot_goes_round_in_the_order_of_asking(void **state)
{
    (void)state;
    assert_true(take(2));
    assert_false(take(0));
    assert_false(take(3));
    assert_false(take(1));
    assert_int_equal(sched_slot_queue_length(&slot), 3);
    static const size_t order[] = {2, 0, 3, 1};
    for (size_t i = 0; i + 1 < TICKETS; i++) {
        release(order[i]);
        assert_int_equal(waiters[order[i + 1]].ticket.state, SLOT_HELD);
        assert_int_equal(sched_slot_queue_length(&slot), TICKETS - 2 - i);
        assert_true(take(order[i + 1]));
    }
    release(1);
}

static void one_can_be_next_before_all_others(void **state)
{
    (void)state;
    assert_true(take(0));
    assert_false(take(1));
    assert_false(take(2));
    assert_false(sched_slot_take_next(&slot, &waiters[3].ticket));
    release(0);
    assert_true(sched_slot_take_next(&slot, &waiters[3].ticket));
    assert_int_equal(waiters[3].wake_count, 1);
    release(3);
    assert_true(take(1));
    release(1);
    assert_true(take(2));
    release(2);
    assert_true(sched_slot_take_next(&slot, &waiters[3].ticket));
    release(3);
}

static void who_finds_it_taken_can_tell_a_writer_from_the_checkpointer(void **state)
{
    (void)state;
    assert_false(sched_slot_is_servers(&slot));
    assert_true(take(0));
    assert_false(sched_slot_is_servers(&slot));
    assert_false(sched_slot_take_next(&slot, &waiters[3].ticket));
    assert_false(sched_slot_is_servers(&slot)); /* it only waits */
    release(0);
    assert_false(take(1));
    assert_true(sched_slot_is_servers(&slot));
    release(3);
    assert_false(sched_slot_is_servers(&slot));
    release(1);
    assert_false(sched_slot_is_servers(&slot));
}

static void a_release_wakes_the_next_one_and_nobody_else(void **state)
{
    (void)state;
    take(0);
    take(1);
    take(2);
    release(0);
    assert_int_equal(waiters[0].wake_count, 0);
    assert_int_equal(waiters[1].wake_count, 1);
    assert_int_equal(waiters[2].wake_count, 0);
    release(1);
    assert_int_equal(waiters[1].wake_count, 1);
    assert_int_equal(waiters[2].wake_count, 1);
    release(2);
}

static void asking_again_keeps_the_place_in_the_queue(void **state)
{
    (void)state;
    take(0);
    take(1);
    take(2);
    assert_false(take(1));
    assert_false(take(2));
    assert_int_equal(sched_slot_queue_length(&slot), 2);
    release(0);
    assert_int_equal(waiters[1].ticket.state, SLOT_HELD);
    release(1);
    release(2);
}

static void who_withdraws_is_passed_over_and_never_woken(void **state)
{
    (void)state;
    take(0);
    take(1);
    take(2);
    release(1);
    assert_int_equal(sched_slot_queue_length(&slot), 1);
    release(0);
    assert_int_equal(waiters[1].wake_count, 0);
    assert_int_equal(waiters[1].ticket.state, SLOT_IDLE);
    assert_int_equal(waiters[2].ticket.state, SLOT_HELD);
    release(2);
}

static void an_idle_ticket_has_nothing_to_give_back(void **state)
{
    (void)state;
    take(0);
    release(1);
    assert_int_equal(waiters[0].ticket.state, SLOT_HELD);
    assert_false(take(1));
    release(0);
    release(0);
    assert_int_equal(waiters[1].ticket.state, SLOT_HELD);
    release(1);
}

static void who_has_had_it_goes_to_the_end(void **state)
{
    (void)state;
    take(0);
    take(1);
    release(0);
    assert_false(take(0));
    assert_false(take(2));
    release(1);
    assert_int_equal(waiters[0].ticket.state, SLOT_HELD);
    assert_int_equal(waiters[2].ticket.state, SLOT_QUEUED);
    release(0);
    release(2);
}

static bool watch(size_t i)
{
    return sched_slot_watch(&slot, &waiters[i].ticket);
}

static void a_holder_that_watches_is_woken_once_when_somebody_comes(void **state)
{
    (void)state;
    take(0);
    assert_false(watch(0));
    assert_int_equal(waiters[0].wake_count, 0);
    take(1);
    assert_int_equal(waiters[0].wake_count, 1);
    take(2);
    assert_int_equal(waiters[0].wake_count, 1);
    assert_true(watch(0));
    take(3);
    assert_int_equal(waiters[0].wake_count, 1);
    for (size_t i = 0; i < TICKETS; i++)
        release(i);
}

static void who_has_given_the_slot_back_watches_no_more(void **state)
{
    (void)state;
    take(0);
    assert_false(watch(0));
    release(0);
    take(1);
    take(2);
    take(0);
    assert_int_equal(waiters[0].wake_count, 0);
    assert_false(watch(0)); /* queued itself: nobody waits for it */
    assert_true(watch(1));
    release(2);
    release(0);
    assert_false(watch(1)); /* those who waited have left */
    release(1);
    assert_false(watch(1));
    take(2);
    assert_int_equal(waiters[1].wake_count, 0);
    release(2);
}

/* --- Threads ------------------------------------------------------------------------------------------------------ */

struct worker {
    struct sq_waker waker;
    struct slot_ticket ticket;
    sem_t woken;
    pthread_t thread;
};

static int unguarded_counter;
static atomic_int holder_count;
static atomic_bool has_met_another;

static void post_wake(struct sq_waker *waker)
{
    sem_post(&SQ_CONTAINER_OF(waker, struct worker, waker)->woken);
}

static void *work(void *context)
{
    struct worker *worker = context;
    for (int i = 0; i < ROUNDS; i++) {
        while (!sched_slot_take(&slot, &worker->ticket)) {
            /* Some give up and come again. */
            if (i % 7 == 3) {
                sched_slot_release(&slot, &worker->ticket);
                continue;
            }
            sem_wait(&worker->woken);
        }
        if (atomic_fetch_add(&holder_count, 1) != 0)
            atomic_store(&has_met_another, true);
        unguarded_counter++;
        atomic_fetch_sub(&holder_count, 1);
        sched_slot_release(&slot, &worker->ticket);
    }
    return NULL;
}

static void threads_hold_it_one_at_a_time_and_none_is_forgotten(void **state)
{
    (void)state;
    static struct worker workers[THREADS];
    unguarded_counter = 0;
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].waker.wake_cb = post_wake;
        slot_ticket_init(&workers[i].ticket, &workers[i].waker);
        assert_int_equal(sem_init(&workers[i].woken, 0, 0), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        sem_destroy(&workers[i].woken);
    }
    assert_false(atomic_load(&has_met_another));
    assert_int_equal(unguarded_counter, THREADS * ROUNDS);
}

#define SLOT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SLOT_TEST(a_free_slot_is_held_at_once),
        SLOT_TEST(the_slot_goes_round_in_the_order_of_asking),
        SLOT_TEST(one_can_be_next_before_all_others),
        SLOT_TEST(who_finds_it_taken_can_tell_a_writer_from_the_checkpointer),
        SLOT_TEST(a_release_wakes_the_next_one_and_nobody_else),
        SLOT_TEST(asking_again_keeps_the_place_in_the_queue),
        SLOT_TEST(who_withdraws_is_passed_over_and_never_woken),
        SLOT_TEST(an_idle_ticket_has_nothing_to_give_back),
        SLOT_TEST(who_has_had_it_goes_to_the_end),
        SLOT_TEST(a_holder_that_watches_is_woken_once_when_somebody_comes),
        SLOT_TEST(who_has_given_the_slot_back_watches_no_more),
        SLOT_TEST(threads_hold_it_one_at_a_time_and_none_is_forgotten),
    };
    return cmocka_run_group_tests_name("sched/slot", tests, NULL, NULL);
}
