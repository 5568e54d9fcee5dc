/* The scheduler service on real SQLite files: who waits for whom, who is woken, and that the write slot is given back
 * whatever way a statement ends. Time does not matter here: what waits is run again by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "../../lib/scratch.h"
#include "base/list.h"
#include "engine/database.h"
#include "sched/scheduler.h"
#include "sched/scheduler_internal.h"

enum { CLIENTS = 3, RUNS_MAX = 1000000 };

struct client {
    struct service_context context;
    struct sq_waker waker;
    int wake_count;
    struct service *service;
};

struct counting_sink {
    struct sink base;
    int row_count;
    int full_after; /* rows; 0: never full */
    int64_t last;
};

struct statement {
    struct query query;
    struct counting_sink sink;
    struct sq_error err;
};

static char dir[PATH_MAX];
static struct engine_registry *registry;
static struct sched *sched;
static struct client clients[CLIENTS];

static void count_wake(struct sq_waker *waker)
{
    SQ_CONTAINER_OF(waker, struct client, waker)->wake_count++;
}

static sq_status on_row(struct sink *base, const struct sq_value *values, size_t column_count, struct sq_error *err)
{
    (void)err;
    struct counting_sink *sink = SQ_CONTAINER_OF(base, struct counting_sink, base);
    sink->row_count++;
    if (column_count > 0 && values[0].kind == SQ_VALUE_INTEGER)
        sink->last = values[0].integer;
    base->is_full = sink->full_after > 0 && sink->row_count % sink->full_after == 0;
    return SQ_OK;
}

/* --- Doing --------------------------------------------------------------------------------------------------------- */

static void exec(struct client *client, const char *sql)
{
    struct sq_error err;
    if (service_exec(client->service, sql, &err) != SQ_OK)
        fail_msg("%s: %s", sql, err.text);
}

static void begin(struct client *client, struct statement *statement, const char *sql)
{
    size_t consumed;
    memset(statement, 0, sizeof(*statement));
    statement->sink.base.row_cb = on_row;
    if (service_prepare(client->service, sql, strlen(sql), &statement->err, &statement->query.statement, &consumed) !=
        SQ_OK)
        fail_msg("%s: %s", sql, statement->err.text);
}

static enum query_progress run(struct client *client, struct statement *statement)
{
    client->context.wake_at_us = 0;
    statement->sink.base.is_full = false;
    return service_run(client->service, &statement->query, &statement->sink.base, &statement->err);
}

static enum query_progress run_to_end(struct client *client, struct statement *statement)
{
    for (int i = 0; i < RUNS_MAX; i++) {
        enum query_progress progress = run(client, statement);
        if (query_progress_is_end(progress))
            return progress;
    }
    fail_msg("the statement does not end");
    return QUERY_FAILED;
}

static void end(struct client *client, struct statement *statement)
{
    assert_int_equal(service_finish(client->service, &statement->query, &statement->err), SQ_OK);
    service_release(client->service, statement->query.statement);
}

/* Runs one statement that must not wait. */
static enum query_progress do_once(struct client *client, const char *sql)
{
    struct statement statement;
    begin(client, &statement, sql);
    enum query_progress progress = run(client, &statement);
    end(client, &statement);
    return progress;
}

static int64_t number(struct client *client, const char *sql)
{
    struct statement statement;
    begin(client, &statement, sql);
    assert_int_equal(run_to_end(client, &statement), QUERY_DONE);
    end(client, &statement);
    return statement.sink.last;
}

/* That somebody else can write without waiting. */
static void assert_slot_is_free(void)
{
    assert_int_equal(sched_queue_length(sched, "main"), 0);
    assert_int_equal(do_once(&clients[2], "INSERT INTO other VALUES (1)"), QUERY_DONE);
}

static void assert_slot_is_taken(void)
{
    struct statement statement;
    begin(&clients[2], &statement, "INSERT INTO other VALUES (1)");
    assert_int_equal(run(&clients[2], &statement), QUERY_WAITING);
    assert_int_equal(sched_queue_length(sched, "main"), 1);
    end(&clients[2], &statement);
    assert_int_equal(sched_queue_length(sched, "main"), 0);
}

static sqlite3 *open_foreign(void)
{
    char path[PATH_MAX + 16];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/main.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void foreign_exec(sqlite3 *db, const char *sql)
{
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    struct sq_error err;
    scratch_make_directory(dir);
    assert_int_equal(engine_registry_open(dir, "main", &err, &registry), SQ_OK);
    assert_int_equal(sched_new(registry, &err, &sched), SQ_OK);
    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *client = &clients[i];
        memset(client, 0, sizeof(*client));
        client->waker.wake_cb = count_wake;
        client->context.registry = registry;
        client->context.waker = &client->waker;
        assert_int_equal(engine_database_open(registry, "main", &err, &client->context.database), SQ_OK);
        struct service_factory *factory = sched_factory(sched);
        assert_int_equal(factory->make_cb(factory, &client->context, &err, &client->service), SQ_OK);
    }
    exec(&clients[0], "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE other(a);"
                      "INSERT INTO t(a) VALUES (1), (2), (3)");
    return 0;
}

static void leave(struct client *client)
{
    service_free(client->service);
    engine_database_unref(client->context.database);
    *client = (struct client){0};
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        leave(&clients[i]);
    sched_free(sched);
    engine_registry_free(registry);
    scratch_remove_directory(dir);
    return 0;
}

/* --- Waiting ------------------------------------------------------------------------------------------------------- */

static void reads_do_not_wait_for_a_writer(void **state)
{
    (void)state;
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_int_equal(number(&clients[1], "SELECT count(*) FROM t"), 3);
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
    assert_int_equal(sched_queue_length(sched, "main"), 0);
    exec(&clients[0], "ROLLBACK");
}

static void a_write_waits_for_the_slot_and_is_woken(void **state)
{
    (void)state;
    struct statement waiting;
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    begin(&clients[1], &waiting, "INSERT INTO t(a) VALUES (5)");
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    assert_int_equal(waiting.query.stage, QUERY_QUEUED);
    assert_int_equal(clients[1].context.wake_at_us, 0);
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    assert_int_equal(clients[1].wake_count, 0);
    exec(&clients[0], "COMMIT");
    assert_int_equal(clients[1].wake_count, 1);
    assert_int_equal(run(&clients[1], &waiting), QUERY_DONE);
    assert_int_equal(waiting.query.changes, 1);
    end(&clients[1], &waiting);
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 5);
    assert_slot_is_free();
}

/* A native session has no time for locks of others unless it says so; SQLite knows no checkpointer that is one of them. */
static void a_native_write_waits_for_the_checkpointer_and_for_no_writer(void **state)
{
    static const char sql[] = "INSERT INTO t(a) VALUES (4)";
    struct client *native = &clients[1];
    struct statement waiting = {.sink.base.row_cb = on_row};
    struct slot_ticket ticket;
    size_t consumed;
    (void)state;
    struct sched_database *database = sched_find_database(sched, native->context.database);
    assert_non_null(database);
    slot_ticket_init(&ticket, &clients[0].waker);
    native->context.is_native = true;
    assert_int_equal(
        service_prepare_native(native->service, sql, strlen(sql), 0, &waiting.err, &waiting.query.statement, &consumed),
        SQ_OK);

    assert_true(sched_slot_take_next(&database->slot, &ticket));
    assert_int_equal(run(native, &waiting), QUERY_WAITING);
    assert_true(native->context.wake_at_us > 0); /* others may be in front of it when the checkpointer goes */
    sched_slot_release(&database->slot, &ticket);
    assert_int_equal(native->wake_count, 1);
    assert_int_equal(run(native, &waiting), QUERY_DONE);

    assert_true(sched_slot_take(&database->slot, &ticket));
    waiting.query = (struct query){.statement = waiting.query.statement};
    assert_int_equal(run(native, &waiting), QUERY_FAILED);
    assert_int_equal(waiting.err.engine_code, SQLITE_BUSY);
    sched_slot_release(&database->slot, &ticket);
    end(native, &waiting);
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
    sched_database_unref(sched, database);
}

static void writes_that_wait_go_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    struct statement second, third;
    exec(&clients[0], "BEGIN IMMEDIATE; DELETE FROM t");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES ('first')"), QUERY_DONE);
    begin(&clients[2], &second, "INSERT INTO t(a) VALUES ('second')");
    begin(&clients[1], &third, "INSERT INTO t(a) VALUES ('third')");
    assert_int_equal(run(&clients[2], &second), QUERY_WAITING);
    assert_int_equal(run(&clients[1], &third), QUERY_WAITING);
    exec(&clients[0], "COMMIT");
    assert_int_equal(run(&clients[1], &third), QUERY_WAITING);
    assert_int_equal(run(&clients[2], &second), QUERY_DONE);
    assert_int_equal(clients[1].wake_count, 1);
    assert_int_equal(run(&clients[1], &third), QUERY_DONE);
    end(&clients[2], &second);
    end(&clients[1], &third);
    assert_int_equal(number(&clients[0], "SELECT id FROM t WHERE a = 'second'"), 2);
    assert_int_equal(number(&clients[0], "SELECT id FROM t WHERE a = 'third'"), 3);
}

static void databases_have_slots_of_their_own(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(engine_database_create(registry, "second", &err), SQ_OK);
    leave(&clients[1]);
    struct client *client = &clients[1];
    client->waker.wake_cb = count_wake;
    client->context.waker = &client->waker;
    client->context.registry = registry;
    assert_int_equal(engine_database_open(registry, "second", &err, &client->context.database), SQ_OK);
    struct service_factory *factory = sched_factory(sched);
    assert_int_equal(factory->make_cb(factory, &client->context, &err, &client->service), SQ_OK);
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_int_equal(do_once(client, "CREATE TABLE t(a)"), QUERY_DONE);
    exec(&clients[0], "ROLLBACK");
}

static void lock_timeout_ends_the_wait_with_55P03(void **state)
{
    (void)state;
    struct statement waiting;
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "DELETE FROM t"), QUERY_DONE);
    clients[1].context.lock_timeout_us = 1;
    begin(&clients[1], &waiting, "INSERT INTO t(a) VALUES (5)");
    assert_int_equal(run_to_end(&clients[1], &waiting), QUERY_FAILED);
    assert_string_equal(waiting.err.sqlstate, "55P03");
    assert_int_equal(sched_queue_length(sched, "main"), 0);
    end(&clients[1], &waiting);
    exec(&clients[0], "COMMIT");
    assert_int_equal(clients[1].wake_count, 0);
    assert_slot_is_free();
}

static void lock_timeout_is_told_as_the_time_to_run_again(void **state)
{
    (void)state;
    struct statement waiting;
    exec(&clients[0], "BEGIN IMMEDIATE");
    assert_int_equal(do_once(&clients[0], "DELETE FROM t"), QUERY_DONE);
    clients[1].context.lock_timeout_us = INT64_C(3600) * 1000 * 1000;
    begin(&clients[1], &waiting, "INSERT INTO t(a) VALUES (5)");
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    int64_t first_us = clients[1].context.wake_at_us;
    assert_true(first_us == waiting.query.waiting_us + clients[1].context.lock_timeout_us);
    /* A wake for nothing does not begin the wait anew. */
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    assert_true(clients[1].context.wake_at_us == first_us);
    end(&clients[1], &waiting);
    exec(&clients[0], "ROLLBACK");
}

static void a_cancel_in_the_queue_fails_with_57014_and_leaves_it(void **state)
{
    (void)state;
    struct statement waiting;
    exec(&clients[0], "BEGIN IMMEDIATE");
    assert_int_equal(do_once(&clients[0], "DELETE FROM t"), QUERY_DONE);
    begin(&clients[1], &waiting, "INSERT INTO t(a) VALUES (5)");
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    assert_int_equal(sched_queue_length(sched, "main"), 1);
    atomic_store(&clients[1].context.stop.reason, ENGINE_STOP_CANCEL);
    assert_int_equal(run(&clients[1], &waiting), QUERY_FAILED);
    assert_string_equal(waiting.err.sqlstate, "57014");
    assert_int_equal(waiting.err.status, SQ_CANCELED);
    assert_int_equal(sched_queue_length(sched, "main"), 0);
    end(&clients[1], &waiting);
    exec(&clients[0], "COMMIT");
    assert_int_equal(clients[1].wake_count, 0);
}

static void giving_up_in_the_queue_leaves_it(void **state)
{
    (void)state;
    struct statement waiting;
    exec(&clients[0], "BEGIN IMMEDIATE");
    assert_int_equal(do_once(&clients[0], "DELETE FROM t"), QUERY_DONE);
    begin(&clients[1], &waiting, "INSERT INTO t(a) VALUES (5)");
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    end(&clients[1], &waiting);
    assert_int_equal(sched_queue_length(sched, "main"), 0);
    exec(&clients[0], "COMMIT");
    assert_int_equal(clients[1].wake_count, 0);
}

/* --- Giving the slot back -------------------------------------------------------------------------------------------- */

static void a_transaction_keeps_the_slot_from_its_first_write_to_its_end(void **state)
{
    (void)state;
    exec(&clients[0], "BEGIN");
    assert_slot_is_free();
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 3);
    exec(&clients[0], "COMMIT; BEGIN");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_slot_is_taken();
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
    assert_slot_is_taken();
    exec(&clients[0], "ROLLBACK");
    assert_slot_is_free();
}

static void a_failed_write_gives_the_slot_back(void **state)
{
    (void)state;
    struct statement failing;
    begin(&clients[0], &failing, "INSERT INTO t(id) VALUES (1)");
    assert_int_equal(run(&clients[0], &failing), QUERY_FAILED);
    assert_string_equal(failing.err.sqlstate, "23505");
    assert_slot_is_free();
    end(&clients[0], &failing);
    assert_slot_is_free();
}

static void a_failed_write_within_a_transaction_keeps_what_it_had(void **state)
{
    (void)state;
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(id) VALUES (1)"), QUERY_FAILED);
    assert_slot_is_taken();
    exec(&clients[0], "COMMIT");
    assert_slot_is_free();
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
}

static void a_failure_that_rolls_the_transaction_back_gives_the_slot_back(void **state)
{
    (void)state;
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_int_equal(do_once(&clients[0], "INSERT OR ROLLBACK INTO t(id) VALUES (1)"), QUERY_FAILED);
    assert_false(service_is_in_transaction(clients[0].service));
    assert_slot_is_free();
}

static void finishing_a_suspended_returning_commits_and_gives_the_slot_back(void **state)
{
    (void)state;
    struct statement suspended;
    begin(&clients[0], &suspended, "INSERT INTO t(a) VALUES (4), (5), (6) RETURNING id");
    suspended.query.row_limit = 1;
    assert_int_equal(run(&clients[0], &suspended), QUERY_SUSPENDED);
    assert_int_equal(suspended.sink.row_count, 1);
    assert_slot_is_taken();
    end(&clients[0], &suspended);
    assert_slot_is_free();
    assert_int_equal(number(&clients[1], "SELECT count(*) FROM t"), 6);
}

static void a_reset_rolls_back_and_gives_the_slot_back(void **state)
{
    (void)state;
    exec(&clients[0], "BEGIN; CREATE TEMP TABLE mine(a)");
    assert_int_equal(do_once(&clients[0], "DELETE FROM t"), QUERY_DONE);
    assert_slot_is_taken();
    service_reset(clients[0].service);
    assert_false(service_is_in_transaction(clients[0].service));
    assert_slot_is_free();
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 3);
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM temp.sqlite_schema"), 0);
}

static void a_service_that_is_freed_rolls_back_and_gives_the_slot_back(void **state)
{
    (void)state;
    struct statement waiting;
    exec(&clients[0], "BEGIN");
    assert_int_equal(do_once(&clients[0], "DELETE FROM t"), QUERY_DONE);
    begin(&clients[1], &waiting, "INSERT INTO t(a) VALUES (4)");
    assert_int_equal(run(&clients[1], &waiting), QUERY_WAITING);
    service_free(clients[0].service);
    clients[0].service = NULL;
    assert_int_equal(clients[1].wake_count, 1);
    assert_int_equal(run(&clients[1], &waiting), QUERY_DONE);
    end(&clients[1], &waiting);
    assert_int_equal(number(&clients[1], "SELECT count(*) FROM t"), 4);
}

static void a_cancelled_write_is_undone_and_gives_the_slot_back(void **state)
{
    (void)state;
    struct statement running;
    begin(&clients[0], &running, "INSERT INTO t(a) VALUES (4), (5), (6) RETURNING id");
    running.sink.full_after = 1;
    assert_int_equal(run(&clients[0], &running), QUERY_SINK_FULL);
    atomic_store(&clients[0].context.stop.reason, ENGINE_STOP_CANCEL);
    assert_int_equal(run(&clients[0], &running), QUERY_FAILED);
    assert_string_equal(running.err.sqlstate, "57014");
    end(&clients[0], &running);
    atomic_store(&clients[0].context.stop.reason, ENGINE_STOP_NONE);
    assert_slot_is_free();
}

/* --- Rows ---------------------------------------------------------------------------------------------------------- */

static void a_row_limit_suspends_and_the_rest_comes_later(void **state)
{
    (void)state;
    struct statement statement;
    begin(&clients[0], &statement, "SELECT id FROM t");
    statement.query.row_limit = 2;
    assert_int_equal(run(&clients[0], &statement), QUERY_SUSPENDED);
    assert_int_equal(statement.sink.last, 2);
    assert_int_equal(run(&clients[0], &statement), QUERY_DONE);
    assert_int_equal(statement.sink.row_count, 3);
    assert_int_equal(statement.query.row_count, 3);
    end(&clients[0], &statement);
}

static void a_full_sink_stops_the_rows_and_loses_none(void **state)
{
    (void)state;
    struct statement statement;
    begin(&clients[0], &statement, "SELECT id FROM t");
    statement.sink.full_after = 1;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(run(&clients[0], &statement), QUERY_SINK_FULL);
        assert_int_equal(statement.sink.row_count, i);
        assert_int_equal(statement.sink.last, i);
    }
    assert_int_equal(run(&clients[0], &statement), QUERY_DONE);
    end(&clients[0], &statement);
}

static void long_results_give_others_a_turn(void **state)
{
    (void)state;
    struct statement statement;
    begin(&clients[0], &statement,
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 10000000");
    enum query_progress progress = run(&clients[0], &statement);
    assert_int_equal(progress, QUERY_YIELDED);
    assert_true(statement.sink.row_count > 0);
    assert_int_equal(number(&clients[1], "SELECT count(*) FROM t"), 3);
    end(&clients[0], &statement);
}

/* --- Other processes' locks ---------------------------------------------------------------------------------------- */

static void a_foreign_lock_is_waited_for_and_the_write_then_succeeds(void **state)
{
    (void)state;
    struct statement statement;
    sqlite3 *foreign = open_foreign();
    foreign_exec(foreign, "BEGIN IMMEDIATE; INSERT INTO other VALUES (2)");
    begin(&clients[0], &statement, "INSERT INTO t(a) VALUES (4)");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(run(&clients[0], &statement), QUERY_WAITING);
        assert_true(clients[0].context.wake_at_us > 0);
        assert_int_equal(statement.query.stage, QUERY_RETRYING);
    }
    assert_int_equal(statement.query.retry_count, 10);
    foreign_exec(foreign, "COMMIT");
    assert_int_equal(run(&clients[0], &statement), QUERY_DONE);
    end(&clients[0], &statement);
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
    assert_int_equal(sqlite3_close(foreign), SQLITE_OK);
    assert_slot_is_free();
}

static void a_foreign_lock_that_stays_ends_in_a_lock_timeout(void **state)
{
    (void)state;
    struct statement statement;
    sqlite3 *foreign = open_foreign();
    foreign_exec(foreign, "BEGIN IMMEDIATE");
    clients[0].context.lock_timeout_us = 1;
    begin(&clients[0], &statement, "INSERT INTO t(a) VALUES (4)");
    assert_int_equal(run_to_end(&clients[0], &statement), QUERY_FAILED);
    assert_string_equal(statement.err.sqlstate, "55P03");
    assert_non_null(strstr(statement.err.hint, "Another process"));
    end(&clients[0], &statement);
    foreign_exec(foreign, "ROLLBACK");
    assert_int_equal(sqlite3_close(foreign), SQLITE_OK);
    assert_slot_is_free();
}

static void a_cancel_ends_the_wait_for_a_foreign_lock(void **state)
{
    (void)state;
    struct statement statement;
    sqlite3 *foreign = open_foreign();
    foreign_exec(foreign, "BEGIN IMMEDIATE");
    begin(&clients[0], &statement, "INSERT INTO t(a) VALUES (4)");
    assert_int_equal(run(&clients[0], &statement), QUERY_WAITING);
    atomic_store(&clients[0].context.stop.reason, ENGINE_STOP_CANCEL);
    assert_int_equal(run(&clients[0], &statement), QUERY_FAILED);
    assert_string_equal(statement.err.sqlstate, "57014");
    end(&clients[0], &statement);
    assert_int_equal(sqlite3_close(foreign), SQLITE_OK);
    assert_slot_is_free();
}

/* A statement that reads no table takes no snapshot, however long it stands in the middle of its rows. */
static void what_is_read_beside_a_statement_without_a_snapshot_rests_on_the_commits_before_it(void **state)
{
    (void)state;
    struct statement open;
    begin(&clients[0], &open, "SELECT 1 UNION ALL SELECT 2");
    open.query.row_limit = 1;
    assert_int_equal(run(&clients[0], &open), QUERY_SUSPENDED);
    assert_int_equal(do_once(&clients[1], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    engine_position committed = engine_durability_published(engine_database_durability(clients[1].context.database));
    assert_true(clients[1].context.rests_on == committed);
    clients[0].context.rests_on = 0;
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
    assert_true(clients[0].context.rests_on == committed);
    end(&clients[0], &open);
}

/* And one that has a snapshot does not come to rest on what it does not show. */
static void what_is_read_from_a_snapshot_does_not_rest_on_later_commits(void **state)
{
    (void)state;
    struct statement open;
    begin(&clients[0], &open, "SELECT a FROM t");
    open.query.row_limit = 1;
    assert_int_equal(run(&clients[0], &open), QUERY_SUSPENDED);
    engine_position before = clients[0].context.rests_on;
    assert_int_equal(do_once(&clients[1], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_true(clients[1].context.rests_on > before);
    assert_int_equal(run(&clients[0], &open), QUERY_SUSPENDED);
    assert_true(clients[0].context.rests_on == before);
    end(&clients[0], &open);
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 4);
    assert_true(clients[0].context.rests_on == clients[1].context.rests_on);
}

static void a_transaction_that_has_read_an_old_snapshot_cannot_write(void **state)
{
    (void)state;
    struct statement statement;
    sqlite3 *foreign = open_foreign();
    exec(&clients[0], "BEGIN");
    assert_int_equal(number(&clients[0], "SELECT count(*) FROM t"), 3);
    foreign_exec(foreign, "INSERT INTO other VALUES (2)");
    begin(&clients[0], &statement, "INSERT INTO t(a) VALUES (4)");
    assert_int_equal(run(&clients[0], &statement), QUERY_FAILED);
    assert_string_equal(statement.err.sqlstate, "40001");
    end(&clients[0], &statement);
    assert_slot_is_free();
    exec(&clients[0], "ROLLBACK");
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_int_equal(sqlite3_close(foreign), SQLITE_OK);
}

/* --- Work that is no statement --------------------------------------------------------------------------------------- */

static struct engine_connection *begin_work(struct client *client, struct query *query, struct sq_error *err)
{
    struct engine_connection *connection = NULL;
    *query = (struct query){.stage = QUERY_NEW};
    assert_int_equal(service_begin(client->service, query, err, &connection), SQ_OK);
    assert_non_null(connection);
    return connection;
}

static void work_that_writes_has_the_slot_and_gives_it_back(void **state)
{
    (void)state;
    struct query query;
    struct sq_error err;
    struct engine_connection *connection = begin_work(&clients[0], &query, &err);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_DONE);
    assert_slot_is_taken();
    assert_int_equal(engine_connection_exec(connection, "INSERT INTO t(a) VALUES (4)", &err), SQ_OK);
    assert_slot_is_taken(); /* it may go on to write */
    clients[0].context.rests_on = 0;
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    assert_slot_is_free();
    assert_true(clients[0].context.rests_on > 0); /* its answer waits for the disk */
}

static void work_that_leaves_a_transaction_keeps_the_slot(void **state)
{
    (void)state;
    struct query query;
    struct sq_error err;
    struct engine_connection *connection = begin_work(&clients[0], &query, &err);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_DONE);
    assert_int_equal(engine_connection_exec(connection, "BEGIN IMMEDIATE", &err), SQ_OK);
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    assert_slot_is_taken();
    exec(&clients[0], "COMMIT");
    assert_slot_is_free();
}

static void work_waits_for_the_slot_and_may_be_given_up(void **state)
{
    (void)state;
    struct query query;
    struct sq_error err;
    exec(&clients[1], "BEGIN");
    assert_int_equal(do_once(&clients[1], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    begin_work(&clients[0], &query, &err);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_WAITING);
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    assert_int_equal(sched_queue_length(sched, "main"), 0);
    begin_work(&clients[0], &query, &err);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_WAITING);
    exec(&clients[1], "COMMIT");
    assert_int_equal(clients[0].wake_count, 1);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_DONE);
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    assert_slot_is_free();
}

static void a_cancel_ends_the_wait_of_work(void **state)
{
    (void)state;
    struct query query;
    struct sq_error err;
    begin_work(&clients[0], &query, &err);
    atomic_store(&clients[0].context.stop.reason, ENGINE_STOP_CANCEL);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_FAILED);
    assert_string_equal(err.sqlstate, "57014");
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    atomic_store(&clients[0].context.stop.reason, ENGINE_STOP_NONE);
    assert_slot_is_free();
}

/* Queries of a client's function, within what called it. */
static void a_query_within_work_commits_and_leaves_the_slot_to_the_work(void **state)
{
    (void)state;
    struct query query;
    struct sq_error err;
    begin_work(&clients[0], &query, &err);
    assert_int_equal(service_claim(clients[0].service, &query, &err), QUERY_DONE);
    clients[0].context.rests_on = 0;
    assert_int_equal(do_once(&clients[0], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_true(clients[0].context.rests_on > 0);
    assert_int_equal(number(&clients[1], "SELECT count(*) FROM t"), 4);
    assert_slot_is_taken();
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    assert_slot_is_free();
}

static void what_is_read_is_noted_within_work(void **state)
{
    (void)state;
    struct query query;
    struct sq_error err;
    struct engine_connection *connection = begin_work(&clients[0], &query, &err);
    assert_int_equal(do_once(&clients[1], "INSERT INTO t(a) VALUES (4)"), QUERY_DONE);
    assert_int_equal(engine_connection_exec(connection, "BEGIN; SELECT * FROM t", &err), SQ_OK);
    clients[0].context.rests_on = 0;
    assert_int_equal(service_note(clients[0].service, &err), SQ_OK);
    assert_true(clients[0].context.rests_on > 0);
    clients[0].context.rests_on = 0;
    assert_int_equal(service_note(clients[0].service, &err), SQ_OK);
    assert_int_equal(clients[0].context.rests_on, 0); /* the same snapshot rests on nothing new */
    assert_int_equal(service_end(clients[0].service, &query, &err), SQ_OK);
    exec(&clients[0], "COMMIT");
}

#define SCHED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    struct sq_error err;
    if (engine_init(NULL, &err) != SQ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        SCHED_TEST(reads_do_not_wait_for_a_writer),
        SCHED_TEST(a_write_waits_for_the_slot_and_is_woken),
        SCHED_TEST(a_native_write_waits_for_the_checkpointer_and_for_no_writer),
        SCHED_TEST(writes_that_wait_go_in_the_order_in_which_they_came),
        SCHED_TEST(databases_have_slots_of_their_own),
        SCHED_TEST(lock_timeout_ends_the_wait_with_55P03),
        SCHED_TEST(lock_timeout_is_told_as_the_time_to_run_again),
        SCHED_TEST(a_cancel_in_the_queue_fails_with_57014_and_leaves_it),
        SCHED_TEST(giving_up_in_the_queue_leaves_it),
        SCHED_TEST(a_transaction_keeps_the_slot_from_its_first_write_to_its_end),
        SCHED_TEST(a_failed_write_gives_the_slot_back),
        SCHED_TEST(a_failed_write_within_a_transaction_keeps_what_it_had),
        SCHED_TEST(a_failure_that_rolls_the_transaction_back_gives_the_slot_back),
        SCHED_TEST(finishing_a_suspended_returning_commits_and_gives_the_slot_back),
        SCHED_TEST(a_reset_rolls_back_and_gives_the_slot_back),
        SCHED_TEST(a_service_that_is_freed_rolls_back_and_gives_the_slot_back),
        SCHED_TEST(a_cancelled_write_is_undone_and_gives_the_slot_back),
        SCHED_TEST(a_row_limit_suspends_and_the_rest_comes_later),
        SCHED_TEST(a_full_sink_stops_the_rows_and_loses_none),
        SCHED_TEST(long_results_give_others_a_turn),
        SCHED_TEST(a_foreign_lock_is_waited_for_and_the_write_then_succeeds),
        SCHED_TEST(a_foreign_lock_that_stays_ends_in_a_lock_timeout),
        SCHED_TEST(a_cancel_ends_the_wait_for_a_foreign_lock),
        SCHED_TEST(a_transaction_that_has_read_an_old_snapshot_cannot_write),
        SCHED_TEST(work_that_writes_has_the_slot_and_gives_it_back),
        SCHED_TEST(work_that_leaves_a_transaction_keeps_the_slot),
        SCHED_TEST(work_waits_for_the_slot_and_may_be_given_up),
        SCHED_TEST(a_cancel_ends_the_wait_of_work),
        SCHED_TEST(a_query_within_work_commits_and_leaves_the_slot_to_the_work),
        SCHED_TEST(what_is_read_is_noted_within_work),
        SCHED_TEST(what_is_read_beside_a_statement_without_a_snapshot_rests_on_the_commits_before_it),
        SCHED_TEST(what_is_read_from_a_snapshot_does_not_rest_on_later_commits),
    };
    return cmocka_run_group_tests_name("sched/scheduler", tests, NULL, NULL);
}
