/* Connections that wait for a session: which ones are kept, who gets them, and when they are closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/scratch.h"
#include "base/clock.h"
#include "engine/connection.h"
#include "engine/database.h"
#include "engine/statement.h"
#include "metrics/metrics.h"
#include "sched/connection_pool.h"

static char dir[PATH_MAX];
static struct engine_registry *registry;
static struct engine_database *database;
static struct connection_pool *pool;
static struct engine_stop stop;
static struct sq_error err;

static int set_up(void **state)
{
    (void)state;
    scratch_make_directory(dir);
    assert_int_equal(engine_registry_open(dir, "main", &err, &registry), SQ_OK);
    assert_int_equal(engine_database_create(registry, "other", &err), SQ_OK);
    assert_int_equal(engine_database_open(registry, "main", &err, &database), SQ_OK);
    pool = connection_pool_new();
    assert_non_null(pool);
    connection_pool_configure(pool, 2, SQ_US_PER_S * 1000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    connection_pool_free(pool);
    engine_database_unref(database);
    engine_registry_free(registry);
    scratch_remove_directory(dir);
    assert_int_equal(metrics_gauge_value(METRICS_DATABASE_CONNECTIONS), 0);
    return 0;
}

static int64_t open_count(void)
{
    return metrics_gauge_value(METRICS_DATABASE_CONNECTIONS);
}

static struct engine_connection *take_from(struct engine_database *from, bool has_foreign_keys)
{
    struct engine_connection_options options = {.stop = &stop, .has_foreign_keys = has_foreign_keys};
    struct engine_connection *connection = NULL;
    if (connection_pool_take(pool, from, &options, &err, &connection) != SQ_OK)
        fail_msg("%s", err.text);
    return connection;
}

static struct engine_connection *take(void)
{
    return take_from(database, false);
}

static void give(struct engine_connection *connection)
{
    connection_pool_give(pool, database, connection);
}

static void exec(struct engine_connection *connection, const char *sql)
{
    if (engine_connection_exec(connection, sql, &err) != SQ_OK)
        fail_msg("%s", err.text);
}

static void the_last_one_given_back_is_the_first_one_taken(void **state)
{
    (void)state;
    struct engine_connection *first = take();
    struct engine_connection *second = take();
    assert_int_equal(open_count(), 2);
    give(first);
    give(second);
    assert_int_equal(open_count(), 2);
    assert_ptr_equal(take(), second);
    assert_ptr_equal(take(), first);
    give(first);
    give(second);
}

static void no_more_wait_than_may(void **state)
{
    (void)state;
    struct engine_connection *connections[4];
    assert_false(connection_pool_is_crowded(pool));
    for (int i = 0; i < 4; i++)
        connections[i] = take();
    assert_true(connection_pool_is_crowded(pool));
    for (int i = 0; i < 4; i++)
        give(connections[i]);
    assert_int_equal(open_count(), 2);
    assert_false(connection_pool_is_crowded(pool));
    connection_pool_configure(pool, 0, SQ_US_PER_S);
    give(take());
    connection_pool_forget(pool, "main"); /* waits for the pool's thread, which may be closing them */
    assert_int_equal(open_count(), 0);
}

static void what_could_be_told_from_a_new_one_is_closed(void **state)
{
    (void)state;
    static const char *const leavings[] = {"CREATE TEMP TABLE u(a)", "PRAGMA recursive_triggers = 1", "BEGIN"};
    for (size_t i = 0; i < sizeof(leavings) / sizeof(leavings[0]); i++) {
        struct engine_connection *connection = take();
        exec(connection, leavings[i]);
        give(connection);
        if (open_count() != 0)
            fail_msg("a connection with %s waits", leavings[i]);
    }
    struct engine_connection *writer = take();
    exec(writer, "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    give(writer);
    assert_ptr_equal(take(), writer);
    assert_true(engine_connection_is_as_new(writer));
    give(writer);
    assert_int_equal(open_count(), 1);
}

static void a_connection_serves_its_own_database_and_settings(void **state)
{
    (void)state;
    struct engine_database *other = NULL;
    assert_int_equal(engine_database_open(registry, "other", &err, &other), SQ_OK);
    struct engine_connection *connection = take();
    give(connection);
    struct engine_connection *foreign = take_from(other, false);
    assert_ptr_not_equal(foreign, connection);
    struct engine_connection *strict = take_from(database, true);
    assert_ptr_not_equal(strict, connection);
    assert_ptr_equal(take(), connection);
    give(connection);
    give(strict);
    connection_pool_give(pool, other, foreign);
    engine_database_unref(other);
}

static void a_database_that_is_forgotten_can_be_dropped(void **state)
{
    (void)state;
    struct engine_database *other = NULL;
    assert_int_equal(engine_database_open(registry, "other", &err, &other), SQ_OK);
    give(take());
    connection_pool_give(pool, other, take_from(other, false));
    engine_database_unref(other);
    assert_int_equal(open_count(), 2);
    assert_int_equal(engine_database_drop(registry, "other", &err), SQ_BUSY);
    connection_pool_forget(pool, "other");
    assert_int_equal(open_count(), 1);
    assert_int_equal(engine_database_drop(registry, "other", &err), SQ_OK);
}

static void who_waits_too_long_is_closed(void **state)
{
    (void)state;
    connection_pool_configure(pool, 2, SQ_US_PER_MS);
    give(take());
    int64_t deadline_us = sq_clock_now_us() + 60 * SQ_US_PER_S;
    while (open_count() > 0 && sq_clock_now_us() < deadline_us)
        continue;
    assert_int_equal(open_count(), 0);
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(the_last_one_given_back_is_the_first_one_taken),
        POOL_TEST(no_more_wait_than_may),
        POOL_TEST(what_could_be_told_from_a_new_one_is_closed),
        POOL_TEST(a_connection_serves_its_own_database_and_settings),
        POOL_TEST(a_database_that_is_forgotten_can_be_dropped),
        POOL_TEST(who_waits_too_long_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
