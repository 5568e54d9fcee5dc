/* A database of its own and a connection to it, for the tests of connections and statements. */
#ifndef SQ_TESTS_ENGINE_TEST_H
#define SQ_TESTS_ENGINE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "../../lib/scratch.h"
#include "engine/connection.h"
#include "engine/database.h"
#include "engine/statement.h"

enum { ENGINE_TEST_STEPS_MAX = 100000 };

struct engine_test {
    char dir[PATH_MAX];
    struct engine_registry *registry;
    struct engine_database *database;
    struct engine_stop stop;
    struct engine_connection *connection;
    struct sq_error err;
};

static struct engine_test test;

static inline void engine_test_connect(const struct engine_connection_options *options)
{
    struct engine_connection_options own = options != NULL ? *options : (struct engine_connection_options){0};
    own.stop = &test.stop;
    if (engine_connection_open(test.database, &own, &test.err, &test.connection) != SQ_OK)
        fail_msg("%s", test.err.text);
}

static inline int engine_test_set_up(void **state)
{
    (void)state;
    memset(&test, 0, sizeof(test));
    scratch_make_directory(test.dir);
    assert_int_equal(engine_registry_open(test.dir, "main", &test.err, &test.registry), SQ_OK);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    return 0;
}

static inline int engine_test_tear_down(void **state)
{
    (void)state;
    engine_connection_free(test.connection);
    engine_database_unref(test.database);
    engine_registry_free(test.registry);
    scratch_remove_directory(test.dir);
    return 0;
}

#define ENGINE_TEST(name) cmocka_unit_test_setup_teardown(name, engine_test_set_up, engine_test_tear_down)

static inline struct engine_statement *engine_test_prepare(const char *sql)
{
    struct engine_statement *statement = NULL;
    size_t consumed;
    if (engine_statement_prepare(test.connection, sql, strlen(sql), &test.err, &statement, &consumed) != SQ_OK)
        fail_msg("%s: %s (%s)", sql, test.err.text, test.err.sqlstate);
    assert_non_null(statement);
    return statement;
}

static inline enum engine_step engine_test_run(struct engine_statement *statement)
{
    for (int i = 0; i < ENGINE_TEST_STEPS_MAX; i++) {
        enum engine_step step = engine_statement_step(statement, &test.err);
        if (step != ENGINE_STEP_ROW)
            return step;
    }
    fail_msg("the statement does not end");
    return ENGINE_STEP_FAILED;
}

/* The SQLSTATE with which the first statement of `sql` fails, to compile or to run; "00000" if it does not. */
static inline const char *engine_test_state(const char *sql)
{
    struct engine_statement *statement = NULL;
    size_t consumed;
    sq_error_clear(&test.err);
    if (engine_statement_prepare(test.connection, sql, strlen(sql), &test.err, &statement, &consumed) != SQ_OK)
        return test.err.sqlstate;
    enum engine_step step = statement != NULL ? engine_test_run(statement) : ENGINE_STEP_DONE;
    engine_statement_free(statement);
    return step == ENGINE_STEP_DONE ? "00000" : test.err.sqlstate;
}

static inline void engine_test_exec(const char *sql)
{
    if (engine_connection_exec(test.connection, sql, &test.err) != SQ_OK)
        fail_msg("%s: %s", sql, test.err.text);
}

/* The first column of the first row, as text; "" for NULL or no row. Valid until the next call. */
static inline const char *engine_test_text(const char *sql)
{
    static char text[1024];
    struct sq_value values[16];
    struct engine_statement *statement = engine_test_prepare(sql);
    text[0] = '\0';
    if (engine_statement_step(statement, &test.err) == ENGINE_STEP_ROW) {
        assert_true(engine_statement_column_count(statement) <= 16);
        assert_int_equal(engine_statement_row(statement, values, &test.err), SQ_OK);
        if (values[0].kind == SQ_VALUE_INTEGER)
            snprintf(text, sizeof(text), "%lld", (long long)values[0].integer);
        else if (values[0].kind == SQ_VALUE_TEXT)
            snprintf(text, sizeof(text), "%.*s", (int)values[0].bytes.length, values[0].bytes.data);
    }
    engine_statement_free(statement);
    return text;
}

#endif
