/* What a connection is set to, what its SQL may not do, and the brake. */
#include "engine_test.h"

enum { PRAGMAS_MAX = 200 };

/* --- Settings ------------------------------------------------------------------------------------------------------- */

static void a_connection_is_safe_from_the_start(void **state)
{
    (void)state;
    assert_string_equal(engine_test_text("PRAGMA journal_mode"), "wal");
    assert_string_equal(engine_test_text("PRAGMA synchronous"), "1");
    assert_string_equal(engine_test_text("PRAGMA wal_autocheckpoint"), "0");
    assert_string_equal(engine_test_text("PRAGMA trusted_schema"), "0");
    assert_string_equal(engine_test_text("PRAGMA foreign_keys"), "0");
    assert_string_equal(engine_test_text("PRAGMA locking_mode"), "normal");
}

static void foreign_keys_are_as_asked_for(void **state)
{
    (void)state;
    engine_connection_free(test.connection);
    engine_test_connect(&(struct engine_connection_options){.has_foreign_keys = true});
    engine_test_exec("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p)");
    assert_string_equal(engine_test_state("INSERT INTO c VALUES (1)"), "23503");
}

static void the_state_of_the_transaction_is_known(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    assert_int_equal(engine_connection_txn(test.connection), ENGINE_TXN_NONE);
    engine_test_exec("BEGIN");
    assert_true(engine_connection_is_in_transaction(test.connection));
    assert_int_equal(engine_connection_txn(test.connection), ENGINE_TXN_NONE);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "1");
    assert_int_equal(engine_connection_txn(test.connection), ENGINE_TXN_READ);
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (2), (3)"), "00000");
    assert_int_equal(engine_connection_changes(test.connection), 2);
    assert_int_equal(engine_connection_txn(test.connection), ENGINE_TXN_WRITE);
    engine_test_exec("ROLLBACK");
    assert_false(engine_connection_is_in_transaction(test.connection));
    assert_int_equal(engine_connection_txn(test.connection), ENGINE_TXN_NONE);
    engine_test_exec("SAVEPOINT a");
    assert_true(engine_connection_is_in_transaction(test.connection));
}

static void a_file_that_is_no_database_is_named_with_advice(void **state)
{
    (void)state;
    struct engine_connection *connection = NULL;
    struct engine_connection_options options = {.stop = &test.stop};
    struct engine_database *broken = NULL;
    char path[PATH_MAX + 16];
    char garbage[4096];
    snprintf(path, sizeof(path), "%s/broken.db", test.dir);
    memset(garbage, 'x', sizeof(garbage));
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, garbage, sizeof(garbage)), (ssize_t)sizeof(garbage));
    close(fd);
    assert_int_equal(engine_database_open(test.registry, "broken", &test.err, &broken), SQ_OK);
    assert_int_equal(engine_connection_open(broken, &options, &test.err, &connection), SQ_CORRUPT);
    assert_null(connection);
    assert_string_equal(test.err.sqlstate, "XX001");
    assert_non_null(strstr(test.err.hint, "broken.db"));
    engine_database_unref(broken);
}

/* --- The authorizer: pragmas ------------------------------------------------------------------------------------------ */

/* What clients may read and set; every other pragma that this SQLite knows must be refused, whatever its version. */
static const char *const readable[] = {"analysis_limit",
                                       "application_id",
                                       "auto_vacuum",
                                       "automatic_index",
                                       "busy_timeout",
                                       "cache_size",
                                       "cache_spill",
                                       "cell_size_check",
                                       "collation_list",
                                       "compile_options",
                                       "count_changes",
                                       "data_version",
                                       "database_list",
                                       "defer_foreign_keys",
                                       "empty_result_callbacks",
                                       "encoding",
                                       "foreign_key_check",
                                       "foreign_keys",
                                       "freelist_count",
                                       "full_column_names",
                                       "fullfsync",
                                       "function_list",
                                       "ignore_check_constraints",
                                       "incremental_vacuum",
                                       "integrity_check",
                                       "journal_mode",
                                       "journal_size_limit",
                                       "legacy_alter_table",
                                       "locking_mode",
                                       "max_page_count",
                                       "mmap_size",
                                       "module_list",
                                       "optimize",
                                       "page_count",
                                       "page_size",
                                       "pragma_list",
                                       "query_only",
                                       "quick_check",
                                       "read_uncommitted",
                                       "recursive_triggers",
                                       "reverse_unordered_selects",
                                       "schema_version",
                                       "secure_delete",
                                       "short_column_names",
                                       "soft_heap_limit",
                                       "synchronous",
                                       "table_list",
                                       "temp_store",
                                       "threads",
                                       "trusted_schema",
                                       "user_version",
                                       "wal_autocheckpoint"};
static const char *const settable[] = {"analysis_limit",
                                       "application_id",
                                       "automatic_index",
                                       "case_sensitive_like",
                                       "cell_size_check",
                                       "defer_foreign_keys",
                                       "encoding",
                                       "foreign_key_check",
                                       "foreign_key_list",
                                       "foreign_keys",
                                       "ignore_check_constraints",
                                       "incremental_vacuum",
                                       "index_info",
                                       "index_list",
                                       "index_xinfo",
                                       "integrity_check",
                                       "legacy_alter_table",
                                       "optimize",
                                       "query_only",
                                       "quick_check",
                                       "recursive_triggers",
                                       "reverse_unordered_selects",
                                       "secure_delete",
                                       "table_info",
                                       "table_list",
                                       "table_xinfo",
                                       "user_version"};

static bool is_listed(const char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

/* Whether the authorizer lets it pass; what else may be wrong with it does not matter. */
static bool compiles(const char *sql)
{
    struct engine_statement *statement = NULL;
    size_t consumed;
    if (engine_statement_prepare(test.connection, sql, strlen(sql), &test.err, &statement, &consumed) == SQ_OK) {
        engine_statement_free(statement);
        return true;
    }
    return strcmp(test.err.sqlstate, "42501") != 0;
}

static size_t list_pragmas(char names[PRAGMAS_MAX][64])
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    size_t count = 0;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA pragma_list", -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW && count < PRAGMAS_MAX)
        snprintf(names[count++], 64, "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

static void every_pragma_that_is_not_allowed_is_refused(void **state)
{
    (void)state;
    static char names[PRAGMAS_MAX][64];
    size_t count = list_pragmas(names);
    assert_true(count > 60 && count < PRAGMAS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *const forms[] = {"PRAGMA %s",    "PRAGMA main.%s",      "PRAGMA %s = 1",
                                     "PRAGMA %s(1)", "PRAGMA temp.%s('x')", "EXPLAIN PRAGMA %s = 1"};
        for (size_t k = 0; k < sizeof(forms) / sizeof(forms[0]); k++) {
            char *sql = sqlite3_mprintf(forms[k], names[i]);
            bool is_allowed = k < 2 ? is_listed(readable, sizeof(readable) / sizeof(readable[0]), names[i])
                                    : is_listed(settable, sizeof(settable) / sizeof(settable[0]), names[i]);
            if (compiles(sql) != is_allowed)
                fail_msg("%s is%s allowed", sql, is_allowed ? " not" : "");
            sqlite3_free(sql);
        }
    }
}

static void a_pragma_that_sqlite_does_not_know_is_refused_too(void **state)
{
    (void)state;
    assert_false(compiles("PRAGMA no_such_pragma"));
    assert_false(compiles("PRAGMA no_such_pragma = 1"));
    assert_false(compiles("PRAGMA key = 'x'"));
    assert_false(compiles("PRAGMA vdbe_trace = 1"));
}

static void case_and_quotes_do_not_help(void **state)
{
    (void)state;
    assert_false(compiles("PRAGMA Journal_Mode = DELETE"));
    assert_false(compiles("pragma \"journal_mode\" = delete"));
    assert_false(compiles("PRAGMA [writable_schema] = 1"));
    assert_true(compiles("pRaGmA USER_VERSION"));
}

static void what_a_refused_pragma_would_change_stays(void **state)
{
    (void)state;
    assert_string_equal(engine_test_state("PRAGMA journal_mode = DELETE"), "42501");
    assert_string_equal(engine_test_state("PRAGMA synchronous = OFF"), "42501");
    assert_string_equal(engine_test_text("PRAGMA journal_mode"), "wal");
    assert_string_equal(engine_test_text("PRAGMA synchronous"), "1");
}

/* --- The authorizer: files, functions, modules ------------------------------------------------------------------------- */

static void sql_reaches_no_file(void **state)
{
    (void)state;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/escaped", test.dir);
    const char *const forms[] = {"ATTACH '%s' AS x", "ATTACH DATABASE 'file:%s?mode=rwc' AS x", "VACUUM INTO '%s'",
                                 "VACUUM main INTO '%s'", "ATTACH '%s' || '' AS x"};
    engine_test_exec("CREATE TABLE t(a)");
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char *sql = sqlite3_mprintf(forms[i], path);
        if (strcmp(engine_test_state(sql), "42501") != 0)
            fail_msg("%s: %s (%s)", sql, test.err.text, test.err.sqlstate);
        sqlite3_free(sql);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    assert_string_equal(engine_test_state("VACUUM"), "00000");
    assert_string_equal(engine_test_state("ATTACH ':memory:' AS m"), "00000");
    assert_string_equal(engine_test_state("CREATE TABLE m.t(a)"), "00000");
}

static void functions_that_load_code_are_refused_wherever_they_stand(void **state)
{
    (void)state;
    assert_string_equal(engine_test_state("SELECT load_extension('x')"), "42501");
    assert_string_equal(engine_test_state("SELECT LOAD_EXTENSION('x', 'y')"), "42501");
    assert_string_equal(engine_test_state("SELECT fts3_tokenizer('simple')"), "42501");
    engine_test_exec("CREATE TABLE t(a); CREATE VIEW v AS SELECT load_extension('x') AS a;"
                     "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT load_extension('x'); END");
    assert_string_equal(engine_test_state("SELECT * FROM v"), "42501");
    assert_string_equal(engine_test_state("INSERT INTO t VALUES (1)"), "42501");
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
}

static void virtual_tables_are_of_allowed_modules_only(void **state)
{
    (void)state;
    assert_string_equal(engine_test_state("CREATE VIRTUAL TABLE a USING fts5(b)"), "00000");
    assert_string_equal(engine_test_state("CREATE VIRTUAL TABLE r USING RTREE(id, x, y)"), "00000");
    assert_string_equal(engine_test_state("CREATE VIRTUAL TABLE c USING csv('/etc/passwd')"), "42501");
    assert_string_equal(engine_test_state("CREATE VIRTUAL TABLE c USING dbstat"), "42501");
    assert_string_equal(engine_test_state("CREATE VIRTUAL TABLE c USING no_such_module"), "42501");
}

static void the_schema_is_not_written_to_directly(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); CREATE VIRTUAL TABLE f USING fts5(b)");
    assert_string_equal(engine_test_state("UPDATE sqlite_schema SET sql = 'x'"), "42809");
    assert_string_equal(engine_test_state("DELETE FROM sqlite_master"), "42809");
    assert_string_equal(engine_test_state("INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 1, 'x')"), "42809");
    assert_string_equal(engine_test_state("DELETE FROM f_data"), "42809");
    assert_string_equal(engine_test_state("DROP TABLE f_data"), "42809");
}

/* --- Attaching ----------------------------------------------------------------------------------------------------------- */

static struct engine_database *open_database(const char *name)
{
    struct engine_database *database = NULL;
    if (!engine_database_exists(test.registry, name))
        assert_int_equal(engine_database_create(test.registry, name, &test.err), SQ_OK);
    assert_int_equal(engine_database_open(test.registry, name, &test.err, &database), SQ_OK);
    return database;
}

static void another_database_of_the_server_can_be_attached(void **state)
{
    (void)state;
    assert_int_equal(engine_connection_attach(test.connection, open_database("second"), "o'ther\"", false, &test.err),
                     SQ_OK);
    assert_string_equal(engine_test_state("CREATE TABLE \"o'ther\"\"\".t(a)"), "00000");
    assert_int_equal(engine_database_drop(test.registry, "second", &test.err), SQ_BUSY);
    assert_int_equal(engine_connection_detach(test.connection, "O'THER\"", &test.err), SQ_OK);
    assert_int_equal(engine_database_drop(test.registry, "second", &test.err), SQ_OK);
    assert_int_not_equal(engine_connection_detach(test.connection, "o'ther\"", &test.err), SQ_OK);
}

static void a_failed_attach_gives_its_reference_back(void **state)
{
    (void)state;
    assert_int_not_equal(engine_connection_attach(test.connection, open_database("second"), "main", false, &test.err),
                         SQ_OK);
    assert_int_equal(engine_database_drop(test.registry, "second", &test.err), SQ_OK);
}

static void attached_databases_have_a_limit_and_go_with_the_connection(void **state)
{
    (void)state;
    int attached_count = 0;
    for (int i = 0; i < 20; i++) {
        char alias[16];
        snprintf(alias, sizeof(alias), "a%d", i);
        struct engine_database *database = open_database("second");
        attached_count += engine_connection_attach(test.connection, database, alias, false, &test.err) == SQ_OK;
    }
    assert_int_equal(attached_count, 10);
    engine_connection_free(test.connection);
    test.connection = NULL;
    assert_int_equal(engine_database_drop(test.registry, "second", &test.err), SQ_OK);
}

/* --- Functions of the session --------------------------------------------------------------------------------------------- */

static sq_status give_back(void *context, const struct sq_value *args, size_t arg_count, struct sq_value *ret_value,
                           struct sq_error *err)
{
    (void)err;
    *(size_t *)context += arg_count;
    *ret_value = args[0];
    return SQ_OK;
}

static sq_status refuse(void *context, const struct sq_value *args, size_t arg_count, struct sq_value *ret_value,
                        struct sq_error *err)
{
    (void)context;
    (void)ret_value;
    assert_int_equal(arg_count, 1);
    switch (args[0].integer) {
    case 1:
        return sq_fail(err, SQ_NOMEM, "no memory");
    case 2:
        return sq_fail(err, SQ_CANCELED, "stopped");
    default:
        return sq_fail_sql(err, SQ_INVALID, "22023", "not this");
    }
}

static sq_status pull_brake(void *context, const struct sq_value *args, size_t arg_count, struct sq_value *ret_value,
                            struct sq_error *err)
{
    (void)context;
    (void)arg_count;
    (void)err;
    atomic_store(&test.stop.reason, (int)args[0].integer);
    ret_value->kind = SQ_VALUE_INTEGER;
    ret_value->integer = 1;
    return SQ_OK;
}

static size_t argument_total;
static const struct engine_function functions[] = {
    {"give_back", -1, SQ_TYPE_ANY, SQ_TYPE_ANY, give_back},
    {"refuse", 1, SQ_TYPE_INTEGER, SQ_TYPE_ANY, refuse},
    {"pull_brake", 1, SQ_TYPE_INTEGER, SQ_TYPE_ANY, pull_brake},
};

static void connect_with_functions(void)
{
    argument_total = 0;
    engine_connection_free(test.connection);
    engine_test_connect(&(struct engine_connection_options){
        .functions = functions,
        .function_count = sizeof(functions) / sizeof(functions[0]),
        .function_context = &argument_total,
    });
}

static void functions_get_and_give_every_kind_of_value(void **state)
{
    (void)state;
    connect_with_functions();
    assert_string_equal(engine_test_text("SELECT give_back(-9223372036854775808)"), "-9223372036854775808");
    assert_string_equal(engine_test_text("SELECT give_back('text', 2, 3)"), "text");
    assert_string_equal(engine_test_text("SELECT typeof(give_back(NULL))"), "null");
    assert_string_equal(engine_test_text("SELECT give_back(1.5) = 1.5"), "1");
    assert_string_equal(engine_test_text("SELECT hex(give_back(x'00ff'))"), "00FF");
    assert_string_equal(engine_test_text("SELECT typeof(give_back(x''))"), "blob");
    assert_string_equal(engine_test_text("SELECT typeof(give_back(''))"), "text");
    assert_int_equal(argument_total, 9);
}

static void a_function_that_fails_says_why(void **state)
{
    (void)state;
    connect_with_functions();
    assert_string_equal(engine_test_state("SELECT refuse(0)"), "22023");
    assert_string_equal(test.err.text, "not this");
    assert_string_equal(engine_test_state("SELECT refuse(1)"), "53200");
    assert_string_equal(engine_test_state("SELECT refuse(2)"), "57014");
    /* The failure is the statement's own: the next one does not inherit it. */
    assert_string_equal(engine_test_state("SELECT json('{')"), "22032");
}

/* --- The brake --------------------------------------------------------------------------------------------------------------- */

static const char endless[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <> 100000"
                              " OR pull_brake(%d)) SELECT count(*) FROM n";

static const char *run_endless(enum engine_stop_reason reason)
{
    char sql[256];
    snprintf(sql, sizeof(sql), endless, (int)reason);
    atomic_store(&test.stop.reason, ENGINE_STOP_NONE);
    return engine_test_state(sql);
}

static void the_brake_stops_a_running_statement(void **state)
{
    (void)state;
    connect_with_functions();
    assert_string_equal(run_endless(ENGINE_STOP_CANCEL), "57014");
    assert_non_null(strstr(test.err.text, "user request"));
    assert_false(test.err.is_fatal);
    assert_string_equal(run_endless(ENGINE_STOP_SHUTDOWN), "57P01");
    assert_true(test.err.is_fatal);
    atomic_store(&test.stop.reason, ENGINE_STOP_NONE);
    assert_string_equal(engine_test_text("SELECT 1"), "1");
}

static void a_deadline_stops_a_running_statement(void **state)
{
    (void)state;
    connect_with_functions();
    test.stop.deadline_us = 1;
    assert_string_equal(run_endless(ENGINE_STOP_NONE), "57014");
    assert_non_null(strstr(test.err.text, "statement timeout"));
    test.stop.deadline_us = INT64_MAX;
    assert_string_equal(engine_test_text("SELECT 1"), "1");
}

static void a_stopped_write_is_undone(void **state)
{
    (void)state;
    connect_with_functions();
    engine_test_exec("CREATE TABLE t(a)");
    assert_string_equal(engine_test_state("INSERT INTO t SELECT value + pull_brake(1) FROM json_each('[1, 2, 3]'), ("
                                          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999)"
                                          " SELECT i FROM n)"),
                        "57014");
    atomic_store(&test.stop.reason, ENGINE_STOP_NONE);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "0");
}

int main(void)
{
    if (engine_init(NULL, &test.err) != SQ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(a_connection_is_safe_from_the_start),
        ENGINE_TEST(foreign_keys_are_as_asked_for),
        ENGINE_TEST(the_state_of_the_transaction_is_known),
        ENGINE_TEST(a_file_that_is_no_database_is_named_with_advice),
        ENGINE_TEST(every_pragma_that_is_not_allowed_is_refused),
        ENGINE_TEST(a_pragma_that_sqlite_does_not_know_is_refused_too),
        ENGINE_TEST(case_and_quotes_do_not_help),
        ENGINE_TEST(what_a_refused_pragma_would_change_stays),
        ENGINE_TEST(sql_reaches_no_file),
        ENGINE_TEST(functions_that_load_code_are_refused_wherever_they_stand),
        ENGINE_TEST(virtual_tables_are_of_allowed_modules_only),
        ENGINE_TEST(the_schema_is_not_written_to_directly),
        ENGINE_TEST(another_database_of_the_server_can_be_attached),
        ENGINE_TEST(a_failed_attach_gives_its_reference_back),
        ENGINE_TEST(attached_databases_have_a_limit_and_go_with_the_connection),
        ENGINE_TEST(functions_get_and_give_every_kind_of_value),
        ENGINE_TEST(a_function_that_fails_says_why),
        ENGINE_TEST(the_brake_stops_a_running_statement),
        ENGINE_TEST(a_deadline_stops_a_running_statement),
        ENGINE_TEST(a_stopped_write_is_undone),
    };
    return cmocka_run_group_tests_name("engine/connection", tests, NULL, NULL);
}
