/* The hand-off: a loop whose thread is stuck in a job goes on with another thread, and the job finds its way back. The jobs
 * here wait for a task of their own loop, which can only run if the loop was handed off: if it never is, the test fails at
 * a deadline that no working pool comes near. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop.h"
#include "net/pool.h"

enum { DEADLINE_S = 60, WORKERS = 6, LOOPS = 2, ROUNDS = 10 };

struct worker {
    struct net_task task;
    struct net_task helper; /* what the job waits for */
    struct net_watch watch;
    struct net_timer timer;
    struct net_job job;
    struct net_loop *loop;
    sem_t helped;
    pthread_t before; /* the thread that entered the job */
    int rounds_left;
    int kept_count, returned_count;
    atomic_bool has_timed_out, has_same_thread;
};

static struct net_pool *pool;
static sem_t finished;
static struct worker workers[WORKERS];
static sem_t blocked; /* a job has asked whether it may block; `is_blocked` is the answer */
static sem_t released[WORKERS];
static atomic_bool is_blocked[WORKERS];

static bool wait_for(sem_t *semaphore)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEADLINE_S;
    return sem_timedwait(semaphore, &end) == 0;
}

static void start_pool(size_t loop_count, size_t thread_max)
{
    struct sq_error err;
    assert_int_equal(net_pool_new(loop_count, thread_max, &err, &pool), SQ_OK);
    assert_int_equal(net_pool_loop_count(pool), loop_count);
}

static int set_up(void **state)
{
    (void)state;
    pool = NULL;
    sem_init(&finished, 0, 0);
    memset(workers, 0, sizeof(workers));
    sem_init(&blocked, 0, 0);
    for (size_t i = 0; i < WORKERS; i++) {
        sem_init(&workers[i].helped, 0, 0);
        sem_init(&released[i], 0, 0);
        atomic_store(&is_blocked[i], false);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    net_pool_free(pool);
    for (size_t i = 0; i < WORKERS; i++) {
        sem_destroy(&workers[i].helped);
        sem_destroy(&released[i]);
    }
    sem_destroy(&blocked);
    sem_destroy(&finished);
    return 0;
}

/* --- Jobs ------------------------------------------------------------------------------------------------------------ */

static void run_helper(struct net_task *task)
{
    sem_post(&SQ_CONTAINER_OF(task, struct worker, helper)->helped);
}

static void end_round(struct worker *worker)
{
    if (--worker->rounds_left > 0)
        net_loop_post(worker->loop, &worker->task);
    else
        sem_post(&finished);
}

/* Enters a job that waits for the helper, which waits for the loop. */
static void run_stuck(struct net_task *task)
{
    struct worker *worker = SQ_CONTAINER_OF(task, struct worker, task);
    net_loop_assert_owner(worker->loop);
    if (net_job_is_detached(&worker->job)) {
        net_job_returned(&worker->job);
        worker->returned_count++;
        if (pthread_equal(worker->before, pthread_self()))
            atomic_store(&worker->has_same_thread, true);
        end_round(worker);
        return;
    }
    worker->before = pthread_self();
    net_loop_post(worker->loop, &worker->helper);
    net_job_enter(worker->loop, &worker->job);
    if (!wait_for(&worker->helped))
        atomic_store(&worker->has_timed_out, true);
    if (net_job_leave(worker->loop, &worker->job)) {
        worker->kept_count++;
        end_round(worker);
    } else {
        net_loop_post(worker->loop, &worker->task);
    }
}

static void run_short(struct net_task *task)
{
    struct worker *worker = SQ_CONTAINER_OF(task, struct worker, task);
    net_job_enter(worker->loop, &worker->job);
    if (!net_job_leave(worker->loop, &worker->job)) {
        net_loop_post(worker->loop, &worker->task);
        return;
    }
    worker->kept_count++;
    end_round(worker);
}

static void start(struct worker *worker, size_t loop_index, void (*run_cb)(struct net_task *task), int rounds)
{
    worker->loop = net_pool_loop(pool, loop_index);
    worker->rounds_left = rounds;
    net_task_init(&worker->task, run_cb);
    net_task_init(&worker->helper, run_helper);
    net_loop_post(worker->loop, &worker->task);
}

/* --- Tests ----------------------------------------------------------------------------------------------------------- */

static void a_pool_starts_and_stops(void **state)
{
    (void)state;
    start_pool(3, 5);
    assert_int_equal(net_pool_handoff_count(pool), 0);
}

static void short_jobs_keep_their_loop(void **state)
{
    (void)state;
    start_pool(1, 4);
    start(&workers[0], 0, run_short, 5000);
    assert_true(wait_for(&finished));
    assert_true(workers[0].kept_count > 0);
}

static void a_stuck_job_loses_its_loop_and_returns_to_it(void **state)
{
    (void)state;
    start_pool(1, 2);
    start(&workers[0], 0, run_stuck, ROUNDS);
    assert_true(wait_for(&finished));
    assert_false(atomic_load(&workers[0].has_timed_out));
    assert_int_equal(workers[0].returned_count, ROUNDS);
    assert_int_equal(workers[0].kept_count, 0);
    assert_int_equal(net_pool_handoff_count(pool), ROUNDS);
    assert_false(atomic_load(&workers[0].has_same_thread));
}

/* The loop is asked for by a timer or a descriptor instead of a task. */
static void on_timer(struct net_timer *timer)
{
    sem_post(&SQ_CONTAINER_OF(timer, struct worker, timer)->helped);
}

static void on_event(struct net_watch *watch, unsigned events)
{
    struct worker *worker = SQ_CONTAINER_OF(watch, struct worker, watch);
    uint64_t count;
    if ((events & NET_READABLE) != 0 && read(watch->fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        sem_post(&worker->helped);
}

static void run_waiting_for_others(struct net_task *task)
{
    struct worker *worker = SQ_CONTAINER_OF(task, struct worker, task);
    struct sq_error err;
    uint64_t one = 1;
    if (net_job_is_detached(&worker->job)) {
        net_job_returned(&worker->job);
        net_loop_unwatch(worker->loop, &worker->watch);
        end_round(worker);
        return;
    }
    sq_assert(net_loop_watch(worker->loop, &worker->watch, &err) == SQ_OK);
    sq_assert(net_timer_set(worker->loop, &worker->timer, sq_clock_now_us() + 1000, &err) == SQ_OK);
    net_job_enter(worker->loop, &worker->job);
    sq_assert(write(worker->watch.fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
    if (!wait_for(&worker->helped) || !wait_for(&worker->helped))
        atomic_store(&worker->has_timed_out, true);
    if (!net_job_leave(worker->loop, &worker->job))
        net_loop_post(worker->loop, &worker->task);
    else
        atomic_store(&worker->has_timed_out, true);
}

static void timers_and_descriptors_go_on_without_the_stuck_thread(void **state)
{
    (void)state;
    struct worker *worker = &workers[0];
    start_pool(1, 2);
    worker->watch = (struct net_watch){.fd = eventfd(0, EFD_NONBLOCK), .event_cb = on_event};
    net_timer_init(&worker->timer, on_timer);
    start(worker, 0, run_waiting_for_others, 1);
    assert_true(wait_for(&finished));
    assert_false(atomic_load(&worker->has_timed_out));
    close(worker->watch.fd);
}

static void run_alone(struct net_task *task)
{
    struct worker *worker = SQ_CONTAINER_OF(task, struct worker, task);
    struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    net_loop_post(worker->loop, &worker->helper);
    net_job_enter(worker->loop, &worker->job);
    /* The monitor has time to look; there is no thread to give the loop to, however long this takes. */
    nanosleep(&pause, NULL); /* banned-ok: no outcome depends on it */
    int helped = -1;
    sem_getvalue(&worker->helped, &helped);
    bool is_kept = net_job_leave(worker->loop, &worker->job);
    worker->kept_count += is_kept && helped == 0;
    sem_post(&finished);
}

static void without_a_thread_to_spare_the_loop_waits_for_its_job(void **state)
{
    (void)state;
    start_pool(1, 1);
    start(&workers[0], 0, run_alone, 1);
    assert_true(wait_for(&finished));
    assert_true(wait_for(&workers[0].helped));
    assert_int_equal(workers[0].kept_count, 1);
    assert_int_equal(net_pool_handoff_count(pool), 0);
}

static void many_stuck_jobs_of_several_loops_all_come_back(void **state)
{
    (void)state;
    start_pool(LOOPS, LOOPS + WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        start(&workers[i], i % LOOPS, run_stuck, ROUNDS);
    for (size_t i = 0; i < WORKERS; i++)
        assert_true(wait_for(&finished));
    for (size_t i = 0; i < WORKERS; i++) {
        assert_false(atomic_load(&workers[i].has_timed_out));
        assert_int_equal(workers[i].returned_count + workers[i].kept_count, ROUNDS);
    }
}

/* --- Jobs that wait for somebody outside ---------------------------------------------------------------------------- */

static void run_blocked(struct net_task *task)
{
    struct worker *worker = SQ_CONTAINER_OF(task, struct worker, task);
    size_t index = (size_t)(worker - workers);
    if (net_job_is_detached(&worker->job)) {
        net_job_returned(&worker->job);
        worker->returned_count++;
        end_round(worker);
        return;
    }
    net_job_enter(worker->loop, &worker->job);
    atomic_store(&is_blocked[index], net_job_block(worker->loop, &worker->job));
    sem_post(&blocked);
    if (atomic_load(&is_blocked[index])) {
        if (!wait_for(&released[index]))
            atomic_store(&worker->has_timed_out, true);
        net_job_unblock(worker->loop);
    }
    if (net_job_leave(worker->loop, &worker->job)) {
        worker->kept_count++;
        end_round(worker);
    } else {
        net_loop_post(worker->loop, &worker->task);
    }
}

static void a_job_that_blocks_leaves_its_loop_at_once(void **state)
{
    (void)state;
    start_pool(1, 4);
    assert_true(net_pool_blocked_max(pool) >= 1);
    start(&workers[0], 0, run_blocked, 1);
    assert_true(wait_for(&blocked));
    assert_true(atomic_load(&is_blocked[0]));
    assert_int_equal(net_pool_handoff_count(pool), 1);
    /* The loop is free, although the job waits for us. */
    start(&workers[1], 0, run_short, 1);
    assert_true(wait_for(&finished));
    assert_int_equal(workers[1].kept_count, 1);
    sem_post(&released[0]);
    assert_true(wait_for(&finished));
    assert_int_equal(workers[0].returned_count, 1);
    assert_false(atomic_load(&workers[0].has_timed_out));
}

/* Below, at and above the limit; and the loops go on with the threads that are kept. */
static void jobs_that_block_cannot_take_all_threads(void **state)
{
    (void)state;
    start_pool(1, 4);
    size_t most = net_pool_blocked_max(pool);
    assert_int_equal(most, 2);
    for (size_t i = 0; i < most + 1; i++) {
        start(&workers[i], 0, run_blocked, 1);
        assert_true(wait_for(&blocked));
        assert_int_equal(atomic_load(&is_blocked[i]), i < most);
    }
    assert_true(wait_for(&finished));
    assert_int_equal(workers[most].kept_count, 1);
    start(&workers[most + 1], 0, run_stuck, 1);
    assert_true(wait_for(&finished));
    assert_int_equal(workers[most + 1].returned_count, 1);
    /* One place is given back, and can be had again. */
    sem_post(&released[0]);
    assert_true(wait_for(&finished));
    start(&workers[most], 0, run_blocked, 1);
    assert_true(wait_for(&blocked));
    assert_true(atomic_load(&is_blocked[most]));
    for (size_t i = 1; i <= most; i++) {
        sem_post(&released[i]);
        assert_true(wait_for(&finished));
    }
    for (size_t i = 0; i < WORKERS; i++)
        assert_false(atomic_load(&workers[i].has_timed_out));
}

static void a_loop_without_a_pool_refuses_to_block(void **state)
{
    (void)state;
    struct sq_error err;
    struct net_loop *loop = NULL;
    struct net_job job = {0};
    assert_int_equal(net_loop_new(&err, &loop), SQ_OK);
    net_job_enter(loop, &job);
    assert_false(net_job_block(loop, &job));
    assert_true(net_job_leave(loop, &job));
    net_loop_free(loop);
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(a_pool_starts_and_stops),
        POOL_TEST(short_jobs_keep_their_loop),
        POOL_TEST(a_stuck_job_loses_its_loop_and_returns_to_it),
        POOL_TEST(timers_and_descriptors_go_on_without_the_stuck_thread),
        POOL_TEST(without_a_thread_to_spare_the_loop_waits_for_its_job),
        POOL_TEST(many_stuck_jobs_of_several_loops_all_come_back),
        POOL_TEST(a_job_that_blocks_leaves_its_loop_at_once),
        POOL_TEST(jobs_that_block_cannot_take_all_threads),
        POOL_TEST(a_loop_without_a_pool_refuses_to_block),
    };
    return cmocka_run_group_tests_name("net/pool", tests, NULL, NULL);
}
