/* Declared types of SQLite's and PostgreSQL's users, and SQLite's affinity examples (datatype3.html, section 3.1.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/declared_type.h"

struct row {
    const char *declared;
    enum sq_type type;
};

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum sq_type type = sq_type_of_declared(rows[i].declared);
        if (type != rows[i].type)
            fail_msg("'%s' is %d, not %d", rows[i].declared, (int)type, (int)rows[i].type);
    }
}

static const struct row known[] = {
    {"INTEGER", SQ_TYPE_INTEGER},
    {"INT", SQ_TYPE_INTEGER},
    {"BIGINT", SQ_TYPE_INTEGER},
    {"UNSIGNED BIG INT", SQ_TYPE_INTEGER},
    {"INT8", SQ_TYPE_INTEGER},
    {"SERIAL", SQ_TYPE_INTEGER},
    {"BIGSERIAL", SQ_TYPE_INTEGER},
    {"BOOL", SQ_TYPE_BOOLEAN},
    {"BOOLEAN", SQ_TYPE_BOOLEAN},
    {"REAL", SQ_TYPE_REAL},
    {"DOUBLE", SQ_TYPE_REAL},
    {"DOUBLE PRECISION", SQ_TYPE_REAL},
    {"FLOAT", SQ_TYPE_REAL},
    {"FLOAT8", SQ_TYPE_REAL},
    {"NUMERIC", SQ_TYPE_NUMERIC},
    {"DECIMAL(10,2)", SQ_TYPE_NUMERIC},
    {"DECIMAL (10, 2)", SQ_TYPE_NUMERIC},
    {"TEXT", SQ_TYPE_TEXT},
    {"VARCHAR(20)", SQ_TYPE_TEXT},
    {"CHARACTER VARYING(255)", SQ_TYPE_TEXT},
    {"NVARCHAR(100)", SQ_TYPE_TEXT},
    {"CLOB", SQ_TYPE_TEXT},
    {"STRING", SQ_TYPE_TEXT},
    {"INTERVAL", SQ_TYPE_TEXT},
    {"BLOB", SQ_TYPE_BLOB},
    {"BYTEA", SQ_TYPE_BLOB},
    {"VARBINARY(16)", SQ_TYPE_BLOB},
    {"DATE", SQ_TYPE_DATE},
    {"TIME", SQ_TYPE_TIME},
    {"TIME WITHOUT TIME ZONE", SQ_TYPE_TIME},
    {"DATETIME", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMP", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMPTZ", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMP WITH TIME ZONE", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMP(3) WITH TIME ZONE", SQ_TYPE_TIMESTAMP},
    {"timestamp (6) without time zone", SQ_TYPE_TIMESTAMP},
    {"UUID", SQ_TYPE_UUID},
    {"JSON", SQ_TYPE_JSON},
    {"JSONB", SQ_TYPE_JSON},
    {"ANY", SQ_TYPE_ANY},
};

static void known_names_have_their_class(void **state)
{
    (void)state;
    assert_rows(known, sizeof(known) / sizeof(known[0]));
}

/* Lower case, and spaces wherever SQLite lets them be. */
static void case_and_spaces_do_not_matter(void **state)
{
    (void)state;
    char text[256];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t used = 0;
        text[used++] = '\t';
        for (const char *at = known[i].declared; *at != '\0'; at++) {
            text[used++] = (char)tolower(*at);
            if (*at == ' ')
                text[used++] = '\n';
        }
        text[used++] = ' ';
        text[used] = '\0';
        struct row row = {text, known[i].type};
        assert_rows(&row, 1);
    }
}

static void unknown_names_follow_the_affinity_rules(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"MYINT", SQ_TYPE_INTEGER},
        {"CHARINT", SQ_TYPE_INTEGER}, /* the first rule wins */
        {"FLOATING POINT", SQ_TYPE_INTEGER},
        {"NATIVE CHARACTER(70)", SQ_TYPE_TEXT},
        {"VARYING CHARACTER(255)", SQ_TYPE_TEXT},
        {"LONGTEXT", SQ_TYPE_TEXT},
        {"TINYBLOB", SQ_TYPE_BLOB},
        {"DOUBLE UNSIGNED", SQ_TYPE_REAL},
        {"SURREAL", SQ_TYPE_REAL},
        {"GEOMETRY", SQ_TYPE_ANY},
        {"YEAR(4)", SQ_TYPE_ANY},
        {"x(INT)", SQ_TYPE_ANY}, /* arguments are no part of the name */
    };
    assert_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void no_name_is_any(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {NULL, SQ_TYPE_ANY}, {"", SQ_TYPE_ANY}, {"  \t", SQ_TYPE_ANY}, {"(10)", SQ_TYPE_ANY}, {" ( ) ", SQ_TYPE_ANY},
    };
    assert_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void odd_parentheses_and_long_names_do_no_harm(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(sq_type_of_declared(text), SQ_TYPE_ANY);
    memcpy(text, "INT", 3);
    assert_int_equal(sq_type_of_declared(text), SQ_TYPE_INTEGER);
    assert_int_equal(sq_type_of_declared("VARCHAR((20)"), SQ_TYPE_TEXT);
    assert_int_equal(sq_type_of_declared("VARCHAR)20("), SQ_TYPE_TEXT);
    assert_int_equal(sq_type_of_declared("((((DATE"), SQ_TYPE_ANY);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names_have_their_class),
        cmocka_unit_test(case_and_spaces_do_not_matter),
        cmocka_unit_test(unknown_names_follow_the_affinity_rules),
        cmocka_unit_test(no_name_is_any),
        cmocka_unit_test(odd_parentheses_and_long_names_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
