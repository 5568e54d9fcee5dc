/* Compiled statements: placeholders, values, tails, changed schemas, half-read statements, and where errors are. */
#include "engine_test.h"

/* --- Placeholders ----------------------------------------------------------------------------------------------------- */

static struct sq_value integer(int64_t value)
{
    return (struct sq_value){.kind = SQ_VALUE_INTEGER, .integer = value};
}

/* Binds 1, 2, 3 … and gives the row as text: "1,2". */
static const char *bound(const char *sql)
{
    static char text[256];
    struct sq_value parameters[16], row[8];
    struct engine_statement *statement = engine_test_prepare(sql);
    size_t count = engine_statement_parameter_count(statement);
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++)
        parameters[i] = integer((int64_t)i + 1);
    assert_int_equal(engine_statement_bind(statement, parameters, count, &test.err), SQ_OK);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(engine_statement_row(statement, row, &test.err), SQ_OK);
    size_t used = (size_t)snprintf(text, sizeof(text), "%zu:", count);
    for (size_t i = 0; i < engine_statement_column_count(statement); i++) {
        if (row[i].kind == SQ_VALUE_INTEGER)
            used += (size_t)snprintf(text + used, sizeof(text) - used, " %lld", (long long)row[i].integer);
        else
            used += (size_t)snprintf(text + used, sizeof(text) - used, " -");
    }
    engine_statement_free(statement);
    return text;
}

static void dollar_numbers_are_positions(void **state)
{
    (void)state;
    assert_string_equal(bound("SELECT $1, $2"), "2: 1 2");
    assert_string_equal(bound("SELECT $2, $1"), "2: 2 1");
    assert_string_equal(bound("SELECT $1, $1, $1"), "1: 1 1 1");
    assert_string_equal(bound("SELECT $3"), "3: 3");
    assert_string_equal(bound("SELECT $2, $2, $10"), "10: 2 2 10");
    assert_string_equal(bound("SELECT $01, $1"), "1: 1 1");
}

static void sqlites_own_placeholders_keep_their_positions(void **state)
{
    (void)state;
    assert_string_equal(bound("SELECT ?, ?"), "2: 1 2");
    assert_string_equal(bound("SELECT ?2, ?1"), "2: 2 1");
    assert_string_equal(bound("SELECT ?3"), "3: 3");
    assert_string_equal(bound("SELECT :a, @b, :a, $c"), "3: 1 2 1 3");
    assert_string_equal(bound("SELECT 1"), "0: 1");
}

static void placeholders_in_strings_and_comments_do_not_count(void **state)
{
    (void)state;
    assert_string_equal(bound("SELECT $1, '$2', /* $3 */ \"$4\" -- $5\n"), "1: 1 - -");
}

static void the_two_kinds_do_not_mix(void **state)
{
    (void)state;
    static const char *const mixed[] = {"SELECT $1, ?", "SELECT ?2, $1", "SELECT $1, :a", "SELECT @a, $1",
                                        "SELECT $a, $1"};
    for (size_t i = 0; i < sizeof(mixed) / sizeof(mixed[0]); i++) {
        assert_string_equal(engine_test_state(mixed[i]), "42P02");
        assert_true(test.err.hint[0] != '\0');
    }
}

static void positions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    assert_string_equal(engine_test_state("SELECT $0"), "42P02");
    assert_string_equal(engine_test_state("SELECT $65536"), "42P02");
    assert_string_equal(engine_test_state("SELECT $99999999999999999999"), "42P02");
    assert_string_equal(engine_test_state("SELECT ?0"), "54000");
    assert_string_equal(engine_test_state("SELECT ?65536"), "54000");
    struct engine_statement *statement = engine_test_prepare("SELECT $65535");
    assert_int_equal(engine_statement_parameter_count(statement), 65535);
    engine_statement_free(statement);
}

/* --- Values ----------------------------------------------------------------------------------------------------------- */

static void values_come_back_as_they_were_bound(void **state)
{
    (void)state;
    static const char nul_text[] = "a\0b";
    const struct sq_value values[] = {
        {.kind = SQ_VALUE_NULL},
        {.kind = SQ_VALUE_INTEGER, .integer = INT64_MIN},
        {.kind = SQ_VALUE_INTEGER, .integer = INT64_MAX},
        {.kind = SQ_VALUE_REAL, .real = -0.5},
        {.kind = SQ_VALUE_TEXT, .bytes = {"", 0}},
        {.kind = SQ_VALUE_TEXT, .bytes = {NULL, 0}},
        {.kind = SQ_VALUE_TEXT, .bytes = {nul_text, 3}},
        {.kind = SQ_VALUE_TEXT, .bytes = {"gr\xc3\xbc\xc3\x9f", 6}},
        {.kind = SQ_VALUE_BLOB, .bytes = {NULL, 0}},
        {.kind = SQ_VALUE_BLOB, .bytes = {"\0\xff", 2}},
    };
    enum { COUNT = sizeof(values) / sizeof(values[0]) };
    struct sq_value row[COUNT];
    struct engine_statement *statement = engine_test_prepare("SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10");
    assert_int_equal(engine_statement_bind(statement, values, COUNT, &test.err), SQ_OK);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(engine_statement_row(statement, row, &test.err), SQ_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(row[i].kind, values[i].kind);
        if (row[i].kind == SQ_VALUE_INTEGER)
            assert_true(row[i].integer == values[i].integer);
        else if (row[i].kind == SQ_VALUE_REAL)
            assert_memory_equal(&row[i].real, &values[i].real, sizeof(double));
        else if (row[i].kind != SQ_VALUE_NULL) {
            assert_int_equal(row[i].bytes.length, values[i].bytes.length);
            if (row[i].bytes.length > 0)
                assert_memory_equal(row[i].bytes.data, values[i].bytes.data, row[i].bytes.length);
        }
    }
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_DONE);
    engine_statement_free(statement);
}

static void a_statement_forgets_its_values_when_it_is_reset(void **state)
{
    (void)state;
    struct sq_value seven = integer(7);
    struct sq_value row;
    struct engine_statement *statement = engine_test_prepare("SELECT $1");
    assert_int_equal(engine_statement_bind(statement, &seven, 1, &test.err), SQ_OK);
    assert_int_equal(engine_test_run(statement), ENGINE_STEP_DONE);
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(engine_statement_row(statement, &row, &test.err), SQ_OK);
    assert_int_equal(row.kind, SQ_VALUE_NULL);
    engine_statement_free(statement);
}

/* --- Texts ------------------------------------------------------------------------------------------------------------- */

static size_t consumed_of(const char *sql, bool expects_statement)
{
    struct engine_statement *statement = NULL;
    size_t consumed = SIZE_MAX;
    assert_int_equal(engine_statement_prepare(test.connection, sql, strlen(sql), &test.err, &statement, &consumed),
                     SQ_OK);
    assert_true((statement != NULL) == expects_statement);
    engine_statement_free(statement);
    return consumed;
}

static void the_first_statement_is_compiled_and_the_rest_is_left(void **state)
{
    (void)state;
    assert_int_equal(consumed_of("SELECT 1; SELECT 2", true), 9);
    assert_int_equal(consumed_of("SELECT 1", true), 8);
    assert_int_equal(consumed_of("SELECT ';'; garbage", true), 11);
    assert_int_equal(consumed_of("-- nothing\n", false), 11);
    assert_int_equal(consumed_of("", false), 0);
    assert_int_equal(consumed_of(" /* a */ SELECT 1;", true), 18);
}

static void columns_are_described(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b BOOLEAN, d DATE, x)");
    struct engine_statement *statement = engine_test_prepare("SELECT id, b AS \"B b\", d, x, 1 + 1 FROM t");
    assert_int_equal(engine_statement_column_count(statement), 5);
    assert_string_equal(engine_statement_column_name(statement, 1), "B b");
    assert_int_equal(engine_statement_column_type(statement, 0), SQ_TYPE_INTEGER);
    assert_int_equal(engine_statement_column_type(statement, 1), SQ_TYPE_BOOLEAN);
    assert_int_equal(engine_statement_column_type(statement, 2), SQ_TYPE_DATE);
    assert_int_equal(engine_statement_column_type(statement, 3), SQ_TYPE_ANY);
    assert_int_equal(engine_statement_column_type(statement, 4), SQ_TYPE_ANY);
    assert_true(engine_statement_is_readonly(statement));
    engine_statement_free(statement);
    statement = engine_test_prepare("EXPLAIN INSERT INTO t DEFAULT VALUES");
    assert_true(engine_statement_is_explain(statement));
    engine_statement_free(statement);
    statement = engine_test_prepare("INSERT INTO t DEFAULT VALUES");
    assert_false(engine_statement_is_readonly(statement) || engine_statement_is_explain(statement));
    engine_statement_free(statement);
    statement = engine_test_prepare("BEGIN IMMEDIATE");
    assert_false(engine_statement_is_readonly(statement));
    engine_statement_free(statement);
}

/* --- Schemas that change --------------------------------------------------------------------------------------------- */

static void more_columns_than_were_announced_are_an_error_and_no_row(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    struct engine_statement *statement = engine_test_prepare("SELECT * FROM t");
    engine_test_exec("ALTER TABLE t ADD COLUMN b");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_FAILED);
    assert_string_equal(test.err.sqlstate, "0A000");
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_FAILED);
    assert_string_equal(test.err.sqlstate, "0A000");
    engine_statement_free(statement);
    assert_string_equal(engine_test_state("SELECT * FROM t"), "00000");
}

static void fewer_columns_than_were_announced_are_an_error_too(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 2)");
    struct engine_statement *statement = engine_test_prepare("SELECT * FROM t");
    engine_test_exec("ALTER TABLE t DROP COLUMN b");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_FAILED);
    assert_string_equal(test.err.sqlstate, "0A000");
    engine_statement_free(statement);
}

static void a_change_that_does_not_matter_is_not_noticed(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    struct engine_statement *statement = engine_test_prepare("SELECT * FROM t");
    engine_test_exec("CREATE TABLE other(a); CREATE INDEX i ON t(a)");
    assert_int_equal(engine_test_run(statement), ENGINE_STEP_DONE);
    engine_statement_free(statement);
}

static void a_table_that_is_gone_is_said_so(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    struct engine_statement *statement = engine_test_prepare("SELECT * FROM t");
    engine_test_exec("DROP TABLE t");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_FAILED);
    assert_string_equal(test.err.sqlstate, "42P01");
    engine_statement_free(statement);
}

/* --- Half-read statements ----------------------------------------------------------------------------------------------- */

static void a_returning_that_is_left_half_read_is_complete_all_the_same(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a)");
    struct engine_statement *statement = engine_test_prepare("INSERT INTO t VALUES (1), (2), (3) RETURNING a");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    engine_statement_free(statement);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "3");
    assert_int_equal(engine_connection_txn(test.connection), ENGINE_TXN_NONE);
}

static void a_commit_that_fails_at_the_reset_is_told(void **state)
{
    (void)state;
    engine_connection_free(test.connection);
    engine_test_connect(&(struct engine_connection_options){.has_foreign_keys = true});
    engine_test_exec("CREATE TABLE p(id INTEGER PRIMARY KEY);"
                     "CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)");
    struct engine_statement *statement = engine_test_prepare("INSERT INTO c VALUES (1), (2) RETURNING p");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_ROW);
    assert_int_not_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    assert_string_equal(test.err.sqlstate, "23503");
    engine_statement_free(statement);
    assert_string_equal(engine_test_text("SELECT count(*) FROM c"), "0");
}

static void a_failed_step_is_reported_once(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1)");
    struct engine_statement *statement = engine_test_prepare("INSERT INTO t VALUES (1)");
    assert_int_equal(engine_statement_step(statement, &test.err), ENGINE_STEP_FAILED);
    assert_string_equal(test.err.sqlstate, "23505");
    assert_int_equal(engine_statement_reset(statement, &test.err), SQ_OK);
    engine_statement_free(statement);
}

/* --- Errors ----------------------------------------------------------------------------------------------------------- */

static void errors_say_where_in_characters(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        int position;
    } cases[] = {
        {"SELEC 1", 1},
        {"SELECT 1 FRM t", 14},
        {"SELECT nope", 8},
        {"SELECT '\xc3\xa4\xc3\xb6\xc3\xbc', nope", 15},
        {"SELECT '\xf0\x9f\x98\x80', nope", 13},
        {"SELECT @", 8},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine_test_state(cases[i].sql);
        if (test.err.position != cases[i].position)
            fail_msg("%s: position %d, not %d (%s)", cases[i].sql, test.err.position, cases[i].position, test.err.text);
    }
}

static const struct {
    const char *sql;
    const char *sqlstate;
} state_cases[] = {
    /* The table of the wire: constraints … */
    {"INSERT INTO t(id) VALUES (1)", "23505"},
    {"INSERT INTO t(u) VALUES ('taken')", "23505"},
    {"INSERT INTO t(ref) VALUES (99)", "23503"},
    {"INSERT INTO t(u, nn) VALUES ('x', NULL)", "23502"},
    {"INSERT INTO t(ck) VALUES (-1)", "23514"},
    {"INSERT INTO strict_t VALUES ('no number')", "22P02"},
    {"INSERT INTO t(id) VALUES ('no number')", "42804"},
    {"INSERT INTO guarded VALUES (1)", "P0001"},
    /* … names … */
    {"SELECT * FROM nowhere", "42P01"},
    {"SELECT nope FROM t", "42703"},
    {"INSERT INTO t(nope) VALUES (1)", "42703"},
    {"UPDATE t SET nope = 1", "42703"},
    {"SELECT id FROM t a, t b", "42702"},
    {"SELECT nope(1)", "42883"},
    {"SELECT abs()", "42883"},
    {"CREATE TABLE t(a)", "42P07"},
    {"CREATE INDEX t_u ON t(u)", "42P07"},
    {"CREATE TABLE d(a, a)", "42701"},
    {"DROP INDEX nope", "42704"},
    {"DROP TRIGGER nope", "42704"},
    {"SELECT u FROM t ORDER BY u COLLATE nope", "42704"},
    {"CREATE TABLE nodb.t(a)", "3F000"},
    {"DETACH nope", "3D000"},
    {"RELEASE nope", "3B001"},
    /* … syntax … */
    {"SELEC 1", "42601"},
    {"SELECT", "42601"},
    {"SELECT 'open", "42601"},
    {"SELECT #", "42601"},
    {"INSERT INTO t VALUES (1)", "42601"},
    {"INSERT INTO t(id) VALUES (1, 2)", "42601"},
    {"VALUES (1), (1, 2)", "42601"},
    {"SELECT 1 UNION SELECT 1, 2", "42601"},
    {"SELECT (SELECT 1, 2)", "42601"},
    {"SELECT 1 ORDER BY 5", "42P10"},
    {"SELECT sum(sum(id)) FROM t", "42803"},
    {"SELECT id FROM t WHERE count(*) > 1", "42803"},
    /* … and the rest. */
    {"COMMIT", "25P01"},
    {"ROLLBACK", "25P01"},
    {"SELECT abs(-9223372036854775808)", "22003"},
    {"SELECT json('{')", "22032"},
    {"SELECT 'a' LIKE 'a' ESCAPE 'xx'", "22019"},
    {"SELECT zeroblob(9223372036854775807)", "54000"},
    {"DROP TABLE view_of_t", "42809"},
    {"INSERT INTO view_of_t VALUES (1)", "42809"},
    {"UPDATE sqlite_schema SET sql = ''", "42809"},
    {"PRAGMA writable_schema = 1", "42501"},
    {"CREATE TABLE sqlite_own(a)", "42939"},
    {"INSERT INTO generated(b) VALUES (1)", "428C9"},
};

static void failures_have_the_sqlstates_of_the_wire(void **state)
{
    (void)state;
    engine_connection_free(test.connection);
    engine_test_connect(&(struct engine_connection_options){.has_foreign_keys = true});
    engine_test_exec(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE, ref REFERENCES t, nn INT NOT NULL DEFAULT 0,"
        " ck CONSTRAINT positive CHECK (ck > 0)); CREATE INDEX t_u ON t(u); INSERT INTO t(id, u) VALUES (1, 'taken');"
        "CREATE TABLE strict_t(n INTEGER) STRICT; CREATE TABLE guarded(a); CREATE VIEW view_of_t AS SELECT id FROM t;"
        "CREATE TABLE generated(a, b AS (a + 1));"
        "CREATE TRIGGER guard BEFORE INSERT ON guarded BEGIN SELECT RAISE(ABORT, 'no'); END");
    for (size_t i = 0; i < sizeof(state_cases) / sizeof(state_cases[0]); i++) {
        const char *got = engine_test_state(state_cases[i].sql);
        if (strcmp(got, state_cases[i].sqlstate) != 0)
            print_error("%s: %s, not %s (%s)\n", state_cases[i].sql, got, state_cases[i].sqlstate, test.err.text);
    }
    for (size_t i = 0; i < sizeof(state_cases) / sizeof(state_cases[0]); i++)
        assert_string_equal(engine_test_state(state_cases[i].sql), state_cases[i].sqlstate);
}

static void constraint_failures_name_what_was_violated(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b NOT NULL, c CONSTRAINT positive CHECK (c > 0),"
                     " UNIQUE (a, b)); INSERT INTO t VALUES (1, 1, 1, 1)");
    engine_test_state("INSERT INTO t VALUES (1, 2, 2, 2)");
    assert_string_equal(test.err.table, "t");
    assert_string_equal(test.err.column, "id");
    assert_int_equal(test.err.engine_code, SQLITE_CONSTRAINT_PRIMARYKEY);
    assert_non_null(strstr(test.err.detail, "SQLITE_CONSTRAINT_PRIMARYKEY"));
    engine_test_state("INSERT INTO t VALUES (2, 1, 1, 1)");
    assert_string_equal(test.err.table, "t");
    assert_string_equal(test.err.column, "");
    engine_test_state("INSERT INTO t VALUES (2, 2, NULL, 1)");
    assert_string_equal(test.err.column, "b");
    engine_test_state("INSERT INTO t VALUES (2, 2, 2, 0)");
    assert_string_equal(test.err.constraint, "positive");
}

int main(void)
{
    if (engine_init(NULL, &test.err) != SQ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(dollar_numbers_are_positions),
        ENGINE_TEST(sqlites_own_placeholders_keep_their_positions),
        ENGINE_TEST(placeholders_in_strings_and_comments_do_not_count),
        ENGINE_TEST(the_two_kinds_do_not_mix),
        ENGINE_TEST(positions_that_cannot_be_are_refused),
        ENGINE_TEST(values_come_back_as_they_were_bound),
        ENGINE_TEST(a_statement_forgets_its_values_when_it_is_reset),
        ENGINE_TEST(the_first_statement_is_compiled_and_the_rest_is_left),
        ENGINE_TEST(columns_are_described),
        ENGINE_TEST(more_columns_than_were_announced_are_an_error_and_no_row),
        ENGINE_TEST(fewer_columns_than_were_announced_are_an_error_too),
        ENGINE_TEST(a_change_that_does_not_matter_is_not_noticed),
        ENGINE_TEST(a_table_that_is_gone_is_said_so),
        ENGINE_TEST(a_returning_that_is_left_half_read_is_complete_all_the_same),
        ENGINE_TEST(a_commit_that_fails_at_the_reset_is_told),
        ENGINE_TEST(a_failed_step_is_reported_once),
        ENGINE_TEST(errors_say_where_in_characters),
        ENGINE_TEST(failures_have_the_sqlstates_of_the_wire),
        ENGINE_TEST(constraint_failures_name_what_was_violated),
    };
    return cmocka_run_group_tests_name("engine/statement", tests, NULL, NULL);
}
