/* What a connection knows of what was left in it: when what was learnt about statements is out of date, when it can be given
 * up, when it can be given to somebody else, and what goes along. */
#include "engine_test.h"

/* Whether `sql` makes the number grow. */
static bool grows(const char *sql)
{
    uint64_t before = engine_connection_generation(test.connection);
    engine_test_exec(sql);
    return engine_connection_generation(test.connection) > before;
}

/* The same, prepared and stepped as a client's statement is. */
static bool grows_stepped(const char *sql)
{
    uint64_t before = engine_connection_generation(test.connection);
    assert_string_equal(engine_test_state(sql), "00000");
    return engine_connection_generation(test.connection) > before;
}

static struct engine_connection *connect_another(void)
{
    struct engine_connection *mine = test.connection;
    engine_test_connect(NULL);
    struct engine_connection *other = test.connection;
    test.connection = mine;
    return other;
}

static void swap_connections(struct engine_connection **other)
{
    struct engine_connection *mine = test.connection;
    test.connection = *other;
    *other = mine;
}

/* --- The generation ---------------------------------------------------------------------------------------------------- */

static void what_changes_no_meaning_leaves_the_generation(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    assert_false(grows_stepped("INSERT INTO t(b) VALUES (1)"));
    assert_false(grows_stepped("UPDATE t SET b = 2"));
    assert_false(grows_stepped("SELECT * FROM t"));
    assert_false(grows_stepped("DELETE FROM t"));
    assert_false(grows("BEGIN; COMMIT; BEGIN IMMEDIATE; ROLLBACK; SAVEPOINT s; RELEASE s"));
    assert_false(grows_stepped("PRAGMA table_info(t)"));
    assert_false(grows_stepped("PRAGMA foreign_keys"));
}

static void every_change_of_meaning_is_counted(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "CREATE TABLE t(a, b)",
        "CREATE INDEX i ON t(a)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
        "ALTER TABLE t ADD COLUMN c",
        "ALTER TABLE t RENAME TO u",
        "DROP TRIGGER r",
        "DROP VIEW IF EXISTS v",
        "DROP INDEX i",
        "DROP TABLE u",
        "CREATE TEMP TABLE t(a)",
        "CREATE TABLE temp.t2(a)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "DROP TABLE temp.t",
        "PRAGMA case_sensitive_like = 1",
        "PRAGMA foreign_keys = ON",
        "ATTACH ':memory:' AS m",
        "CREATE TABLE m.t(a)",
        "DETACH m",
    };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        if (!grows_stepped(changes[i]))
            fail_msg("%s is not counted", changes[i]);
    }
}

static void a_schema_change_is_counted_by_others_when_it_is_committed(void **state)
{
    (void)state;
    struct engine_connection *other = connect_another();
    uint64_t before = engine_connection_generation(other);
    engine_test_exec("BEGIN");
    assert_string_equal(engine_test_state("CREATE TABLE t(a)"), "00000");
    assert_int_equal(engine_connection_generation(other), before);
    engine_test_exec("COMMIT");
    uint64_t after = engine_connection_generation(other);
    assert_true(after > before);
    assert_string_equal(engine_test_state("ALTER TABLE t ADD COLUMN b"), "00000");
    assert_true(engine_connection_generation(other) > after);
    /* A temporary table is nobody else's. */
    after = engine_connection_generation(other);
    assert_string_equal(engine_test_state("CREATE TEMP TABLE u(a)"), "00000");
    assert_int_equal(engine_connection_generation(other), after);
    engine_connection_free(other);
}

static void every_statement_counts_while_a_schema_change_is_open(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_test_exec("BEGIN");
    engine_test_exec("SAVEPOINT s");
    assert_true(grows_stepped("ALTER TABLE t ADD COLUMN b"));
    assert_true(grows_stepped("SELECT b FROM t"));
    assert_true(grows("ROLLBACK TO s"));
    assert_true(grows("ROLLBACK"));
    assert_false(grows_stepped("SELECT a FROM t"));
}

static void the_end_of_a_transaction_with_temporary_tables_counts(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_test_exec("BEGIN");
    engine_test_exec("SAVEPOINT s");
    assert_true(grows_stepped("CREATE TEMP TABLE t(b)"));
    assert_true(grows_stepped("SELECT b FROM t"));
    assert_true(grows_stepped("ROLLBACK TO s"));
    assert_true(grows_stepped("CREATE TEMP TABLE t(b)"));
    assert_true(grows("ROLLBACK"));
    assert_false(grows_stepped("SELECT a FROM t"));
}

static void an_attached_database_brings_its_changes_and_never_an_old_number(void **state)
{
    (void)state;
    struct engine_database *database = NULL;
    assert_int_equal(engine_database_create(test.registry, "second", &test.err), SQ_OK);
    assert_int_equal(engine_database_open(test.registry, "second", &test.err, &database), SQ_OK);
    uint64_t before = engine_connection_generation(test.connection);
    engine_database_ref(database);
    assert_int_equal(engine_connection_attach(test.connection, database, "s", false, &test.err), SQ_OK);
    uint64_t attached = engine_connection_generation(test.connection);
    assert_true(attached > before);
    for (int i = 0; i < 5; i++)
        engine_database_note_schema(database);
    uint64_t changed = engine_connection_generation(test.connection);
    assert_true(changed > attached);
    assert_int_equal(engine_connection_detach(test.connection, "s", &test.err), SQ_OK);
    assert_true(engine_connection_generation(test.connection) > changed);
    engine_database_unref(database);
}

/* --- A statement whose schema has changed -------------------------------------------------------------------------------- */

static void a_statement_tells_that_it_was_compiled_anew(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    struct engine_connection *other = connect_another();
    struct engine_statement *statement = engine_test_prepare("SELECT * FROM t");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_false(engine_statement_has_changed(statement));
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);

    swap_connections(&other);
    engine_test_exec("ALTER TABLE t ADD COLUMN b");
    swap_connections(&other);
    uint64_t before = engine_connection_generation(test.connection);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_FAILED);
    assert_string_equal(test.err.sqlstate, "0A000");
    assert_true(engine_statement_has_changed(statement));
    assert_true(engine_connection_generation(test.connection) > before);
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);

    swap_connections(&other);
    engine_test_exec("ALTER TABLE t ADD COLUMN c");
    swap_connections(&other);
    engine_statement_allow_change(statement, true);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_true(engine_statement_has_changed(statement));
    assert_int_equal(engine_statement_column_count(statement), 3);
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_false(engine_statement_has_changed(statement));
    assert_true(engine_statement_bytes(statement) > 500);
    engine_statement_free(statement);
    engine_connection_free(other);
}

static void a_write_that_found_nothing_is_a_write(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    engine_connection_free(test.connection);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_state("DELETE FROM t"), "00000");
    assert_false(engine_connection_is_as_new(test.connection));
}

/* --- Being given up and handed on ------------------------------------------------------------------------------------------ */

static void what_a_session_leaves_keeps_its_connection(void **state)
{
    (void)state;
    static const char *const leavings[] = {"CREATE TEMP TABLE x(a)",
                                           "PRAGMA recursive_triggers = 1",
                                           "PRAGMA case_sensitive_like(1)",
                                           "ATTACH '' AS y",
                                           "CREATE VIRTUAL TABLE temp.f USING fts5(a)",
                                           "BEGIN",
                                           "SAVEPOINT s"};
    for (size_t i = 0; i < sizeof(leavings) / sizeof(leavings[0]); i++) {
        engine_connection_free(test.connection);
        engine_test_connect(NULL);
        assert_true(engine_connection_is_stateless(test.connection));
        assert_true(engine_connection_is_as_new(test.connection));
        assert_string_equal(engine_test_state(leavings[i]), "00000");
        if (engine_connection_is_stateless(test.connection))
            fail_msg("%s would be lost", leavings[i]);
        assert_false(engine_connection_is_as_new(test.connection));
    }
}

/* Some pragmas have done their work before SQLite comes to the error. */
static void what_did_not_compile_may_have_left_something(void **state)
{
    (void)state;
    static const char *const leavings[] = {"PRAGMA foreign_keys = ON nonsense", "PRAGMA query_only = 1 nonsense",
                                           "PRAGMA ignore_check_constraints(1) nonsense",
                                           "PRAGMA case_sensitive_like = 1 nonsense"};
    for (size_t i = 0; i < sizeof(leavings) / sizeof(leavings[0]); i++) {
        engine_connection_free(test.connection);
        engine_test_connect(NULL);
        assert_string_equal(engine_test_state(leavings[i]), "42601");
        if (engine_connection_is_stateless(test.connection))
            fail_msg("%s would be somebody else's", leavings[i]);
    }
}

static void reading_and_looking_leave_a_connection_as_new(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    engine_connection_free(test.connection);
    engine_test_connect(NULL);
    struct engine_statement *statement = engine_test_prepare("SELECT a FROM t");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_false(engine_connection_is_stateless(test.connection)); /* it is still reading */
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    assert_true(engine_connection_is_stateless(test.connection));
    assert_false(engine_connection_is_as_new(test.connection)); /* the statement is there */
    engine_statement_free(statement);
    engine_test_text("PRAGMA table_info(t)");
    engine_test_text("PRAGMA foreign_keys");
    engine_test_text("SELECT value FROM json_each('[1]')");
    engine_test_exec("BEGIN");
    engine_test_exec("COMMIT");
    assert_true(engine_connection_is_as_new(test.connection));
    struct engine_carried carried = {.changes = 4, .total_changes = 4};
    engine_connection_take_over(test.connection, &carried);
    assert_string_equal(engine_test_text("SELECT changes()"), "4");
}

/* SQLite sets its own number to 0 when it lists a write. */
static void changes_are_kept_when_types_are_inferred(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a INTEGER PRIMARY KEY); CREATE TABLE log(a);"
                     "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (changes()); END");
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (1), (2), (3)"), "00000");
    struct engine_statement *statement = engine_test_prepare("DELETE FROM t WHERE a > $1");
    enum sq_type columns[1], parameters[1];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(engine_statement_infer_types(statement, &test.err, columns, parameters), SQ_OK);
        assert_int_equal(parameters[0], SQ_TYPE_INTEGER);
        assert_string_equal(engine_test_text("SELECT changes()"), "3");
        assert_string_equal(engine_test_text("SELECT last_insert_rowid()"), "3");
        assert_string_equal(engine_test_text("SELECT total_changes()"), "6");
        assert_int_equal(engine_connection_carry(test.connection).changes, 3);
    }
    /* The next write counts by itself, also if it changes nothing, and also seen from its own trigger. */
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (7), (8)"), "00000");
    assert_string_equal(engine_test_text("SELECT changes()"), "2");
    assert_int_equal(engine_statement_infer_types(statement, &test.err, columns, parameters), SQ_OK);
    assert_string_equal(engine_test_text("SELECT changes()"), "2");
    assert_string_equal(engine_test_state("DELETE FROM t WHERE a > 100"), "00000");
    assert_string_equal(engine_test_text("SELECT changes()"), "0");
    assert_false(engine_connection_is_as_new(test.connection));
    engine_statement_free(statement);
}

static void what_was_written_can_be_carried_to_another_connection(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a INTEGER PRIMARY KEY)");
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (40), (41), (42)"), "00000");
    assert_string_equal(engine_test_state("DELETE FROM t WHERE a < 42"), "00000");
    assert_true(engine_connection_is_stateless(test.connection));
    assert_false(engine_connection_is_as_new(test.connection));
    struct engine_carried carried = engine_connection_carry(test.connection);

    /* Twice: what was carried is carried on. */
    for (int i = 0; i < 2; i++) {
        engine_connection_free(test.connection);
        engine_test_connect(NULL);
        engine_connection_take_over(test.connection, &carried);
        assert_false(engine_connection_is_as_new(test.connection));
        assert_string_equal(engine_test_text("SELECT last_insert_rowid()"), "42");
        assert_string_equal(engine_test_text("SELECT changes()"), "2");
        assert_string_equal(engine_test_text("SELECT total_changes()"), "5");
        carried = engine_connection_carry(test.connection);
    }
    /* A write that changes nothing says so. */
    assert_string_equal(engine_test_state("UPDATE t SET a = 1 WHERE a = 0"), "00000");
    assert_string_equal(engine_test_text("SELECT changes()"), "0");
    assert_string_equal(engine_test_text("SELECT total_changes()"), "5");
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (50)"), "00000");
    assert_string_equal(engine_test_text("SELECT changes()"), "1");
    assert_string_equal(engine_test_text("SELECT total_changes()"), "6");
    assert_string_equal(engine_test_text("SELECT last_insert_rowid()"), "50");
}

static void a_transaction_or_a_table_does_not_make_changes_forget(void **state)
{
    (void)state;
    struct engine_carried carried = {.last_insert_rowid = 7, .changes = 3, .total_changes = 9};
    engine_connection_take_over(test.connection, &carried);
    assert_string_equal(engine_test_state("BEGIN IMMEDIATE"), "00000");
    engine_test_exec("COMMIT");
    assert_string_equal(engine_test_state("CREATE TABLE t(a)"), "00000");
    assert_string_equal(engine_test_text("SELECT changes() || ' ' || total_changes()"), "3 9");
}

static void a_renewed_connection_knows_nothing_of_its_former_session(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE seen(n);"
                     "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (changes()); END");
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (40, 1), (41, 1), (42, 1)"), "00000");
    static const char ask[] = "SELECT last_insert_rowid() || ' ' || changes() || ' ' || total_changes()";
    assert_string_equal(engine_test_text(ask), "42 3 6");
    for (int i = 0; i < 3; i++) {
        assert_true(engine_connection_renew(test.connection));
        assert_true(engine_connection_is_as_new(test.connection));
        assert_string_equal(engine_test_text(ask), "0 0 0");
        /* Not even to a trigger of the first thing that it writes. */
        engine_test_exec("DELETE FROM seen");
        assert_true(engine_connection_renew(test.connection));
        assert_string_equal(engine_test_state("INSERT INTO t(b) VALUES (2)"), "00000");
        assert_string_equal(engine_test_text("SELECT n FROM seen"), "0");
        assert_string_equal(engine_test_text("SELECT changes() || ' ' || total_changes()"), "1 2");
        struct engine_carried carried = {.last_insert_rowid = 5, .changes = 6, .total_changes = 7};
        assert_true(engine_connection_renew(test.connection));
        engine_connection_take_over(test.connection, &carried);
        assert_string_equal(engine_test_text(ask), "5 6 7");
        assert_string_equal(engine_test_state("UPDATE t SET b = 3 WHERE a >= 41"), "00000");
        carried = engine_connection_carry(test.connection);
        assert_int_equal(carried.changes, 3 + i);
        assert_int_equal(carried.total_changes, 7 + 3 + i);
    }
    engine_test_exec("CREATE TEMP TABLE x(a)");
    assert_false(engine_connection_renew(test.connection));
}

static sq_status give_context(void *context, const struct sq_value *args, size_t arg_count, struct sq_value *ret_value,
                              struct sq_error *err)
{
    (void)args;
    (void)arg_count;
    (void)err;
    ret_value->kind = SQ_VALUE_INTEGER;
    ret_value->integer = *(int *)context;
    return SQ_OK;
}

static void an_adopted_connection_answers_to_its_new_session(void **state)
{
    (void)state;
    static const struct engine_function functions[] = {{"mine", 0, SQ_TYPE_INTEGER, SQ_TYPE_ANY, give_context}};
    int first = 1;
    int second = 2;
    struct engine_stop stop = {0};
    struct engine_connection_options options = {
        .functions = functions, .function_count = 1, .function_context = &first};
    engine_connection_free(test.connection);
    engine_test_connect(&options);
    assert_string_equal(engine_test_text("SELECT mine()"), "1");

    options.function_context = &second;
    options.stop = &stop;
    assert_true(engine_connection_fits(test.connection, test.database, &options));
    engine_connection_adopt(test.connection, &options);
    assert_string_equal(engine_test_text("SELECT mine()"), "2");
    atomic_store(&stop.reason, ENGINE_STOP_CANCEL);
    assert_string_equal(engine_test_state("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                                          "SELECT count(*) FROM n"),
                        "57014");
    options.has_foreign_keys = true;
    assert_false(engine_connection_fits(test.connection, test.database, &options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(what_changes_no_meaning_leaves_the_generation),
        ENGINE_TEST(every_change_of_meaning_is_counted),
        ENGINE_TEST(a_schema_change_is_counted_by_others_when_it_is_committed),
        ENGINE_TEST(every_statement_counts_while_a_schema_change_is_open),
        ENGINE_TEST(the_end_of_a_transaction_with_temporary_tables_counts),
        ENGINE_TEST(an_attached_database_brings_its_changes_and_never_an_old_number),
        ENGINE_TEST(a_statement_tells_that_it_was_compiled_anew),
        ENGINE_TEST(what_a_session_leaves_keeps_its_connection),
        ENGINE_TEST(what_did_not_compile_may_have_left_something),
        ENGINE_TEST(reading_and_looking_leave_a_connection_as_new),
        ENGINE_TEST(a_write_that_found_nothing_is_a_write),
        ENGINE_TEST(changes_are_kept_when_types_are_inferred),
        ENGINE_TEST(what_was_written_can_be_carried_to_another_connection),
        ENGINE_TEST(a_transaction_or_a_table_does_not_make_changes_forget),
        ENGINE_TEST(a_renewed_connection_knows_nothing_of_its_former_session),
        ENGINE_TEST(an_adopted_connection_answers_to_its_new_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
