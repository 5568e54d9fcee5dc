/* What a native connection has for functions, hooks and images of its client. */
#include "engine_test.h"

#include "engine/native.h"

static int set_up(void **state)
{
    struct engine_connection_options options = {.is_native = true};
    engine_test_set_up(state);
    engine_connection_free(test.connection);
    engine_test_connect(&options);
    return 0;
}

static void exec(const char *sql)
{
    if (engine_connection_exec(test.connection, sql, &test.err) != SQ_OK)
        fail_msg("%s: %s", sql, test.err.text);
}

/* One step of a statement, which is then freed. */
static enum engine_step step_once(const char *sql)
{
    struct engine_statement *statement = NULL;
    size_t consumed;
    if (engine_statement_prepare_native(test.connection, sql, strlen(sql), 0, &test.err, &statement, &consumed) !=
        SQ_OK)
        return ENGINE_STEP_FAILED;
    enum engine_step step = engine_statement_step(statement, &test.err);
    engine_statement_free(statement);
    return step;
}

/* --- The client's authorizer ---------------------------------------------------------------------------------------- */

static int verdict;
static int asked_count;

static int authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger_or_view)
{
    (void)first;
    (void)second;
    (void)schema;
    (void)trigger_or_view;
    assert_ptr_equal(context, &verdict);
    asked_count++;
    return action == SQLITE_SELECT ? verdict : SQLITE_OK;
}

static void an_authorizer_of_the_client_is_asked_and_taken_away(void **state)
{
    (void)state;
    asked_count = 0;
    verdict = SQLITE_DENY;
    engine_native_set_authorizer(test.connection, authorize, &verdict);
    assert_int_equal(step_once("SELECT 1"), ENGINE_STEP_FAILED);
    assert_int_equal(test.err.engine_code, SQLITE_AUTH);
    verdict = SQLITE_OK;
    assert_int_equal(step_once("SELECT 1"), ENGINE_STEP_ROW);
    assert_true(asked_count >= 2);
    int before = asked_count;
    engine_native_set_authorizer(test.connection, NULL, NULL);
    assert_int_equal(step_once("SELECT 1"), ENGINE_STEP_ROW);
    assert_int_equal(asked_count, before);
}

/* --- Errors of the client's functions ------------------------------------------------------------------------------- */

static void fail_as_asked(sqlite3_context *context, int count, sqlite3_value **values)
{
    assert_int_equal(count, 1);
    int code = sqlite3_value_int(values[0]);
    sqlite3_result_error_code(context, code);
    if (sqlite3_user_data(context) != NULL)
        engine_native_note_error(test.connection, code);
}

static void a_functions_lock_is_not_the_databases(void **state)
{
    (void)state;
    sqlite3 *db = engine_connection_handle(test.connection);
    sqlite3_create_function(db, "of_client", 1, SQLITE_UTF8, &test, fail_as_asked, NULL, NULL);
    sqlite3_create_function(db, "of_nobody", 1, SQLITE_UTF8, NULL, fail_as_asked, NULL, NULL);
    assert_int_equal(step_once("SELECT of_nobody(5)"), ENGINE_STEP_BUSY);
    assert_int_equal(step_once("SELECT of_client(5)"), ENGINE_STEP_FAILED);
    assert_int_equal(test.err.engine_code, SQLITE_BUSY);
    assert_int_equal(step_once("SELECT of_nobody(517)"), ENGINE_STEP_CONFLICT);
    assert_int_equal(step_once("SELECT of_client(517)"), ENGINE_STEP_FAILED);
    /* It is forgotten with the next step. */
    assert_int_equal(step_once("SELECT of_nobody(5)"), ENGINE_STEP_BUSY);
}

/* --- Images --------------------------------------------------------------------------------------------------------- */

static void a_snapshot_is_held_until_it_is_released(void **state)
{
    (void)state;
    sqlite3_stmt *snapshot = NULL;
    verdict = SQLITE_DENY;
    asked_count = 0;
    engine_native_set_authorizer(test.connection, authorize, &verdict);
    assert_int_equal(engine_native_hold_snapshot(test.connection, "main", &snapshot), SQLITE_OK);
    assert_int_equal(asked_count, 0); /* the server reads, not the client */
    assert_true(engine_connection_has_snapshot(test.connection));
    engine_native_release_snapshot(test.connection, snapshot);
    assert_false(engine_connection_has_snapshot(test.connection));
    assert_int_equal(engine_native_hold_snapshot(test.connection, "nowhere", &snapshot), SQLITE_ERROR);
    engine_native_release_snapshot(test.connection, NULL);
}

static void what_was_replaced_has_another_generation(void **state)
{
    (void)state;
    exec("CREATE TABLE t(a)");
    uint64_t before = engine_connection_generation(test.connection);
    uint64_t of_database = engine_database_generation(test.database);
    engine_native_note_replaced(test.connection);
    assert_true(engine_connection_generation(test.connection) > before);
    assert_true(engine_database_generation(test.database) > of_database);
}

/* Prepares; the caller frees it. */
static struct engine_statement *prepare(const char *sql)
{
    struct engine_statement *statement = NULL;
    size_t consumed;
    if (engine_statement_prepare_native(test.connection, sql, strlen(sql), 0, &test.err, &statement, &consumed) !=
        SQ_OK)
        fail_msg("%s: %s", sql, test.err.text);
    return statement;
}

static void an_explain_at_its_end_keeps_nobody_from_changing_the_schema(void **state)
{
    (void)state;
    exec("CREATE TABLE t(a)");
    struct engine_statement *explain = prepare("EXPLAIN SELECT a FROM t");
    enum engine_step step;
    while ((step = engine_statement_step(explain, &test.err)) == ENGINE_STEP_ROW)
        continue;
    assert_int_equal(step, ENGINE_STEP_DONE);
    exec("CREATE INDEX i ON t(a)");
    exec("DROP TABLE t");
    engine_statement_free(explain);
}

static void a_rollback_of_the_schema_is_noted(void **state)
{
    static const struct {
        const char *sql;
        bool has_tripped;
    } steps[] = {
        {"BEGIN", false},
        {"SAVEPOINT s", false},
        {"ROLLBACK TO s", false},
        {"PRAGMA recursive_triggers=on", false},
        {"ROLLBACK TO s", false},
        {"CREATE TABLE t(a)", false},
        {"EXPLAIN ROLLBACK", false},
        {"ROLLBACK TO s", true},
        {"ROLLBACK TO s", true},
        {"COMMIT", false},
        {"BEGIN", false},
        {"ROLLBACK", false},
        {"BEGIN", false},
        {"CREATE TEMP TABLE v(a)", false},
        {"ROLLBACK", true},
        {"BEGIN", false},
        {"CREATE TABLE temp.v(a)", false},
        {"ROLLBACK", true},
        {"CREATE TABLE t(a)", false},
        {"BEGIN", false},
        {"DROP TABLE t", false},
        {"CREATE TABLE t(a UNIQUE)", false},
        {"INSERT INTO t VALUES (1)", false},
        {"INSERT OR ROLLBACK INTO t VALUES (1)", true},
    };
    struct engine_native_settings *native = engine_connection_native(test.connection);
    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        (void)step_once(steps[i].sql);
        if (native->has_tripped != steps[i].has_tripped)
            fail_msg("%zu, %s: %d", i, steps[i].sql, native->has_tripped);
        native->has_tripped = false;
    }
}

static void paths_of_files_are_not_told(void **state)
{
    static const char *const wrong[] = {"SELECT file FROM pragma_database_list", "EXPLAIN PRAGMA database_list"};
    struct sq_value values[8];
    (void)state;
    struct engine_statement *list = prepare("PRAGMA database_list");
    assert_int_equal(engine_statement_step(list, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(engine_statement_row(list, values, &test.err), SQ_OK);
    assert_int_equal(values[2].bytes.length, strlen(engine_database_name(test.database)));
    assert_memory_equal(values[2].bytes.data, engine_database_name(test.database), values[2].bytes.length);
    engine_statement_free(list);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct engine_statement *statement = prepare(wrong[i]);
        while (engine_statement_step(statement, &test.err) == ENGINE_STEP_ROW) {
            assert_int_equal(engine_statement_row(statement, values, &test.err), SQ_OK);
            for (size_t j = 0; j < engine_statement_column_count(statement); j++) {
                if (values[j].kind == SQ_VALUE_TEXT && values[j].bytes.length > 0)
                    assert_true(values[j].bytes.data[0] != '/');
            }
        }
        engine_statement_free(statement);
    }
}

/* --- temp.sqlite_parameters ----------------------------------------------------------------------------------------- */

static enum engine_step within;

/* Asks for something else while the statement is compiled or run. */
static int authorize_and_write(void *context, int action, const char *first, const char *second, const char *schema,
                               const char *trigger_or_view)
{
    (void)context;
    (void)first;
    (void)second;
    (void)schema;
    (void)trigger_or_view;
    if (action == SQLITE_CREATE_TABLE)
        within = step_once("CREATE TABLE main.sqlite_mine(a)");
    return SQLITE_OK;
}

static void the_shells_table_can_be_made_and_nothing_else(void **state)
{
    static const char *const refused[] = {
        "CREATE TABLE sqlite_parameters(a)",
        "CREATE TABLE main.sqlite_parameters(a)",
        "CREATE TABLE temp.sqlite_parameters AS SELECT 1",
        "CREATE TABLE temp.sqlite_other(a)",
        "CREATE VIEW temp.sqlite_parameters AS SELECT 1",
        "UPDATE sqlite_master SET sql = 'x'",
    };
    (void)state;
    within = ENGINE_STEP_DONE;
    engine_native_set_authorizer(test.connection, authorize_and_write, NULL);
    assert_int_equal(step_once("CREATE TABLE IF NOT EXISTS temp.sqlite_parameters(key, value)"), ENGINE_STEP_DONE);
    engine_native_set_authorizer(test.connection, NULL, NULL);
    assert_int_equal(within, ENGINE_STEP_FAILED);
    assert_int_equal(step_once("INSERT INTO temp.sqlite_parameters VALUES (1, 2)"), ENGINE_STEP_DONE);
    assert_int_equal(step_once("DROP TABLE temp.sqlite_parameters"), ENGINE_STEP_DONE);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (step_once(refused[i]) != ENGINE_STEP_FAILED)
            fail_msg("%s", refused[i]);
    }
}

#define NATIVE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, engine_test_tear_down)

int main(void)
{
    struct sq_error err;
    if (engine_init(NULL, &err) != SQ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        NATIVE_TEST(an_authorizer_of_the_client_is_asked_and_taken_away),
        NATIVE_TEST(a_functions_lock_is_not_the_databases),
        NATIVE_TEST(a_snapshot_is_held_until_it_is_released),
        NATIVE_TEST(what_was_replaced_has_another_generation),
        NATIVE_TEST(an_explain_at_its_end_keeps_nobody_from_changing_the_schema),
        NATIVE_TEST(a_rollback_of_the_schema_is_noted),
        NATIVE_TEST(paths_of_files_are_not_told),
        NATIVE_TEST(the_shells_table_can_be_made_and_nothing_else),
    };
    return cmocka_run_group_tests_name("engine/native", tests, NULL, NULL);
}
