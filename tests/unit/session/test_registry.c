/* The list of sessions: ids, secrets, and reaching one session from another. The sessions here are only as much as an
 * interrupt touches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "session/session_internal.h"

enum { SESSIONS = 3, THREADS = 3, ROUNDS = 500 };

struct peer {
    struct sq_waker waker;
    atomic_int wake_count;
    struct session session;
};

static struct session_registry *registry;
static struct peer *peers;

static void count_wake(struct sq_waker *waker)
{
    atomic_fetch_add(&SQ_CONTAINER_OF(waker, struct peer, waker)->wake_count, 1);
}

static void join(struct peer *peer)
{
    peer->waker.wake_cb = count_wake;
    peer->session.waker = &peer->waker;
    peer->session.entry.session = &peer->session;
    session_registry_add(registry, &peer->session.entry);
}

static int set_up(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(session_registry_new(&err, &registry), SQ_OK);
    peers = calloc(SESSIONS, sizeof(*peers));
    for (size_t i = 0; i < SESSIONS; i++)
        join(&peers[i]);
    session_registry_label(registry, &peers[0].session.entry, "u0", "one", "");
    session_registry_label(registry, &peers[1].session.entry, "u1", "two", "");
    session_registry_label(registry, &peers[2].session.entry, "u2", "two", "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < SESSIONS; i++)
        session_registry_remove(registry, &peers[i].session.entry);
    session_registry_free(registry);
    free(peers);
    return 0;
}

static uint32_t pid(size_t i)
{
    return peers[i].session.entry.pid;
}

static int reason(size_t i)
{
    return atomic_load(&peers[i].session.context.stop.reason);
}

static void every_session_has_an_id_and_a_secret_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(session_registry_count(registry), SESSIONS);
    assert_true(pid(0) > 0 && pid(1) > pid(0) && pid(2) > pid(1));
    const uint8_t *secrets[SESSIONS];
    for (size_t i = 0; i < SESSIONS; i++)
        secrets[i] = peers[i].session.entry.secret;
    /* Three times four equal bytes by chance: once in 2^64 runs. */
    assert_false(memcmp(secrets[0], secrets[1], SESSION_SECRET_BYTES) == 0 &&
                 memcmp(secrets[1], secrets[2], SESSION_SECRET_BYTES) == 0);
}

static void ids_are_not_used_again(void **state)
{
    (void)state;
    uint32_t last = pid(2);
    session_registry_remove(registry, &peers[2].session.entry);
    join(&peers[2]);
    assert_true(pid(2) > last);
}

static void a_cancel_needs_the_right_secret(void **state)
{
    (void)state;
    uint8_t wrong[SESSION_SECRET_BYTES];
    atomic_store(&peers[1].session.is_active, true);
    for (size_t i = 0; i < SESSION_SECRET_BYTES; i++) {
        memcpy(wrong, peers[1].session.entry.secret, sizeof(wrong));
        wrong[i] ^= 1;
        assert_int_equal(session_registry_interrupt(registry, pid(1), wrong, SESSION_INTERRUPT_CANCEL), 0);
    }
    assert_int_equal(reason(1), ENGINE_STOP_NONE);
    assert_int_equal(
        session_registry_interrupt(registry, pid(1), peers[1].session.entry.secret, SESSION_INTERRUPT_CANCEL), 1);
    assert_int_equal(reason(1), ENGINE_STOP_CANCEL);
    assert_int_equal(atomic_load(&peers[1].wake_count), 1);
    assert_int_equal(reason(0), ENGINE_STOP_NONE);
    assert_int_equal(atomic_load(&peers[0].wake_count), 0);
}

static void the_secret_of_one_session_does_not_open_another(void **state)
{
    (void)state;
    atomic_store(&peers[1].session.is_active, true);
    peers[0].session.entry.secret[0] = (uint8_t)(peers[1].session.entry.secret[0] + 1);
    assert_int_equal(
        session_registry_interrupt(registry, pid(1), peers[0].session.entry.secret, SESSION_INTERRUPT_CANCEL), 0);
    assert_int_equal(reason(1), ENGINE_STOP_NONE);
}

static void a_cancel_between_statements_does_not_wait_for_the_next_one(void **state)
{
    (void)state;
    assert_int_equal(session_registry_interrupt(registry, pid(0), NULL, SESSION_INTERRUPT_CANCEL), 1);
    assert_int_equal(reason(0), ENGINE_STOP_NONE);
}

static void a_cancel_does_not_take_a_shutdown_back(void **state)
{
    (void)state;
    atomic_store(&peers[0].session.is_active, true);
    session_registry_interrupt(registry, pid(0), NULL, SESSION_INTERRUPT_TERMINATE);
    session_registry_interrupt(registry, pid(0), NULL, SESSION_INTERRUPT_CANCEL);
    assert_int_equal(reason(0), ENGINE_STOP_SHUTDOWN);
    session_registry_interrupt(registry, pid(0), NULL, SESSION_INTERRUPT_DRAIN);
    assert_int_equal(atomic_load(&peers[0].session.interrupt), SESSION_INTERRUPT_TERMINATE + 1);
}

static void nobody_is_found_by_an_id_that_nobody_has(void **state)
{
    (void)state;
    assert_int_equal(session_registry_interrupt(registry, pid(2) + 1, NULL, SESSION_INTERRUPT_TERMINATE), 0);
    uint32_t gone = pid(2);
    session_registry_remove(registry, &peers[2].session.entry);
    assert_int_equal(session_registry_interrupt(registry, gone, NULL, SESSION_INTERRUPT_TERMINATE), 0);
    assert_int_equal(atomic_load(&peers[2].wake_count), 0);
    join(&peers[2]);
}

static void a_drain_reaches_everybody_and_stops_nothing(void **state)
{
    (void)state;
    assert_int_equal(session_registry_interrupt(registry, 0, NULL, SESSION_INTERRUPT_DRAIN), SESSIONS);
    for (size_t i = 0; i < SESSIONS; i++) {
        assert_int_equal(reason(i), ENGINE_STOP_NONE);
        assert_int_equal(atomic_load(&peers[i].session.interrupt), SESSION_INTERRUPT_DRAIN + 1);
        assert_int_equal(atomic_load(&peers[i].wake_count), 1);
    }
}

static void sessions_are_reached_by_their_database(void **state)
{
    (void)state;
    assert_int_equal(session_registry_count_database(registry, "two"), 2);
    assert_int_equal(session_registry_count_database(registry, "none"), 0);
    assert_int_equal(
        session_registry_interrupt_database(registry, "two", &peers[1].session.entry, SESSION_INTERRUPT_TERMINATE), 1);
    assert_int_equal(reason(0), ENGINE_STOP_NONE);
    assert_int_equal(reason(1), ENGINE_STOP_NONE);
    assert_int_equal(reason(2), ENGINE_STOP_SHUTDOWN);
}

static void labels_are_cut_and_null_leaves_them(void **state)
{
    (void)state;
    char text[SESSION_LABEL_MAX * 2];
    struct session_entry *entry = &peers[0].session.entry;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    session_registry_label(registry, entry, NULL, NULL, text);
    assert_string_equal(entry->user, "u0");
    assert_string_equal(entry->database, "one");
    assert_int_equal(strlen(entry->application_name), SESSION_LABEL_MAX - 1);
}

static void count_entry(void *context, const struct session_entry *entry)
{
    *(uint32_t *)context += entry->pid;
}

static void every_session_is_shown(void **state)
{
    (void)state;
    uint32_t sum = 0;
    session_registry_each(registry, &sum, count_entry);
    assert_int_equal(sum, pid(0) + pid(1) + pid(2));
}

static atomic_bool is_over;

static void *interrupt_all(void *context)
{
    (void)context;
    while (!atomic_load(&is_over))
        session_registry_interrupt(registry, 0, NULL, SESSION_INTERRUPT_DRAIN);
    return NULL;
}

static void a_removed_session_is_touched_by_no_thread(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    atomic_store(&is_over, false);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, interrupt_all, NULL), 0);
    /* Each one is freed at once after its removal: the sanitizers see a touch that comes later. */
    for (int i = 0; i < ROUNDS; i++) {
        struct peer *peer = calloc(1, sizeof(*peer));
        join(peer);
        session_registry_remove(registry, &peer->session.entry);
        int before = atomic_load(&peer->wake_count);
        assert_true(before >= 0);
        free(peer);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(session_registry_count(registry), SESSIONS);
}

#define REGISTRY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGISTRY_TEST(every_session_has_an_id_and_a_secret_of_its_own),
        REGISTRY_TEST(ids_are_not_used_again),
        REGISTRY_TEST(a_cancel_needs_the_right_secret),
        REGISTRY_TEST(the_secret_of_one_session_does_not_open_another),
        REGISTRY_TEST(a_cancel_between_statements_does_not_wait_for_the_next_one),
        REGISTRY_TEST(a_cancel_does_not_take_a_shutdown_back),
        REGISTRY_TEST(nobody_is_found_by_an_id_that_nobody_has),
        REGISTRY_TEST(a_drain_reaches_everybody_and_stops_nothing),
        REGISTRY_TEST(sessions_are_reached_by_their_database),
        REGISTRY_TEST(labels_are_cut_and_null_leaves_them),
        REGISTRY_TEST(every_session_is_shown),
        REGISTRY_TEST(a_removed_session_is_touched_by_no_thread),
    };
    return cmocka_run_group_tests_name("session/registry", tests, NULL, NULL);
}
