/* The lexer against tables and against SQLite itself; statement ends against sqlite3_complete(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/arena.h"
#include "engine/sql_lexer.h"

/* The text without a NUL behind it, so that a sanitizer sees a read past the end. */
static char *exact_copy(const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    return copy;
}

/* One letter a kind, in the order of enum sql_token_kind. */
static const char kind_letters[] = ".wqsbnv;(),dox";

/* "SELECT 1" -> "w:SELECT n:1" */
static void describe(const char *text, size_t length, unsigned flags, char *out, size_t out_bytes)
{
    struct sql_lexer lexer;
    struct sql_token token;
    size_t used = 0;
    out[0] = '\0';
    sql_lexer_init(&lexer, text, length, flags);
    for (sql_lexer_next(&lexer, &token); token.kind != SQL_TOKEN_END; sql_lexer_next(&lexer, &token)) {
        int written = snprintf(out + used, out_bytes - used, "%s%c:%.*s", used > 0 ? " " : "", kind_letters[token.kind],
                               (int)token.length, token.text);
        assert_true(written > 0 && (size_t)written < out_bytes - used);
        used += (size_t)written;
        assert_ptr_equal(token.text, lexer.text + token.start);
    }
    assert_int_equal(token.length, 0);
    sql_lexer_next(&lexer, &token);
    assert_int_equal(token.kind, SQL_TOKEN_END);
}

struct lexer_case {
    const char *text;
    const char *tokens;
};

static void assert_lexed(const struct lexer_case *cases, size_t count, unsigned flags)
{
    for (size_t i = 0; i < count; i++) {
        char out[4096];
        size_t length = strlen(cases[i].text);
        char *text = exact_copy(cases[i].text, length);
        describe(text, length, flags, out, sizeof(out));
        assert_string_equal(out, cases[i].tokens);
        free(text);
    }
}

static void tokens_are_cut_as_sqlite_cuts_them(void **state)
{
    (void)state;
    static const struct lexer_case cases[] = {
        {"", ""},
        {" \t\r\n\f", ""},
        {" \v ", ""},
        {"\v", "x:\v"},
        {"-- comment", ""},
        {"-- comment\n1", "n:1"},
        {"1--", "n:1"},
        {"/* a */1/* b", "n:1"},
        {"1/**/2", "n:1 n:2"},
        {"/*/1", ""},
        {"1/*", "n:1 o:/ o:*"},
        {"/", "o:/"},
        {"\xef\xbb\xbfSELECT", "w:SELECT"},
        {"SELECT a1_$,\xc3\xa9", "w:SELECT w:a1_$ ,:, w:\xc3\xa9"},
        {"'a''b'", "s:'a''b'"},
        {"''", "s:''"},
        {"'''", "x:'''"},
        {"'", "x:'"},
        {"'abc", "x:'abc"},
        {"\"a\"\"b\" `c` [d]]", "q:\"a\"\"b\" q:`c` q:[d] x:]"},
        {"[a", "x:[a"},
        {"[]", "q:[]"},
        {"x'00fF' X''", "b:x'00fF' b:X''"},
        {"x'0'", "x:x'0'"},
        {"x'0g' 1", "x:x'0g' n:1"},
        {"x'00", "x:x'00"},
        {"x '00'", "w:x s:'00'"},
        {"1 1. 1.5 .5 1e9 1E+9 1e-9 1.e1", "n:1 n:1. n:1.5 n:.5 n:1e9 n:1E+9 n:1e-9 n:1.e1"},
        {"1e 1e+ 12abc", "x:1e x:1e o:+ x:12abc"},
        {"0x1F 0xg 0x", "n:0x1F x:0xg x:0x"},
        {"0x1Fz", "n:0x1F w:z"},
        {"1..2", "n:1. n:.2"},
        {"a.b", "w:a d:. w:b"},
        {"? ?12 ?a", "v:? v:?12 v:? w:a"},
        {":a @a $a #1 $1 :1", "v::a v:@a v:$a v:#1 v:$1 v::1"},
        {"$a::b(c d)", "x:$a::b(c w:d ):)"},
        {"$a::b(c)d", "v:$a::b(c) w:d"},
        {"$a(", "x:$a("},
        {"$1::int", "v:$1::int"},
        {"a::b", "w:a x:: v::b"},
        {": $ @", "x:: x:$ x:@"},
        {"::a", "x:: v::a"},
        {"-> ->> - >", "o:-> o:->> o:- o:>"},
        {"= == <= <> << < >= >> > != ! || |", "o:= o:== o:<= o:<> o:<< o:< o:>= o:>> o:> o:!= x:! o:|| o:|"},
        {"+-*/%&~", "o:+ o:- o:* o:/ o:% o:& o:~"},
        {"(;),", "(:( ;:; ):) ,:,"},
        {"\\ { ^", "x:\\ x:{ x:^"},
        {"E'a'", "w:E s:'a'"},
        {"$$a$$", "v:$$a$$"},
        {"1_000", "n:1_000"},
    };
    assert_lexed(cases, sizeof(cases) / sizeof(cases[0]), SQL_LEXER_SQLITE);
}

static void postgres_tokens_are_cut_when_asked_for(void **state)
{
    (void)state;
    static const struct lexer_case cases[] = {
        {"a::b", "w:a o::: w:b"},
        {"$1::int", "v:$1 o::: w:int"},
        {"$12a", "v:$12 w:a"},
        {":a::b", "v::a o::: w:b"},
        {"E'a\\'b'c", "s:E'a\\'b' w:c"},
        {"e'a''b\\\\'", "s:e'a''b\\\\'"},
        {"E'a\\'", "x:E'a\\'"},
        {"E'\\", "x:E'\\"},
        {"$$a;'b$$c", "s:$$a;'b$$ w:c"},
        {"$x$a$$b$x$", "s:$x$a$$b$x$"},
        {"$x$a$y$", "x:$x$a$y$"},
        {"$$", "x:$$"},
        {"$a", "v:$a"},
        {"int[]", "w:int o:[ o:]"},
        {"!~ ^ @ #>", "o:! o:~ o:^ o:@ o:# o:>"},
        {"a: :=", "w:a o:: o:: o:="},
        {"@a", "v:@a"},
    };
    assert_lexed(cases, sizeof(cases) / sizeof(cases[0]), SQL_LEXER_POSTGRES);
}

static void nul_bytes_are_illegal_and_hide_nothing(void **state)
{
    (void)state;
    static const char text[] = "a\0b 'c\0d' \"e\0";
    struct sql_lexer lexer;
    struct sql_token token;
    static const enum sql_token_kind kinds[] = {SQL_TOKEN_WORD,    SQL_TOKEN_ILLEGAL, SQL_TOKEN_WORD,
                                                SQL_TOKEN_ILLEGAL, SQL_TOKEN_ILLEGAL, SQL_TOKEN_WORD,
                                                SQL_TOKEN_ILLEGAL, SQL_TOKEN_ILLEGAL, SQL_TOKEN_END};
    sql_lexer_init(&lexer, text, sizeof(text) - 1, SQL_LEXER_SQLITE);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        sql_lexer_next(&lexer, &token);
        assert_int_equal(token.kind, kinds[i]);
    }
}

static struct sql_token first_token(const char *text, unsigned flags)
{
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, text, strlen(text), flags);
    sql_lexer_next(&lexer, &token);
    return token;
}

static void words_are_compared_whole_and_without_case(void **state)
{
    (void)state;
    struct sql_token token = first_token("SeLeCt 1", 0);
    assert_true(sql_token_is(&token, "SELECT"));
    assert_true(sql_token_is(&token, "select"));
    assert_false(sql_token_is(&token, "SELEC"));
    assert_false(sql_token_is(&token, "SELECTS"));
    assert_false(sql_token_is(&token, ""));
    token = first_token("\"select\"", 0);
    assert_false(sql_token_is(&token, "select"));
    assert_false(sql_token_is(&token, "\"select\""));
    token = first_token("->>", 0);
    assert_true(sql_token_is(&token, "->>"));
    assert_false(sql_token_is(&token, "->"));
    token = first_token("", 0);
    assert_false(sql_token_is(&token, "x"));
}

static void quotes_are_taken_off(void **state)
{
    (void)state;
    static const struct lexer_case cases[] = {
        {"abc", "abc"},
        {"'a''b'", "a'b"},
        {"''", ""},
        {"''''", "'"},
        {"\"a\"\"b\"", "a\"b"},
        {"`a``b`", "a`b"},
        {"'a\\nb'", "a\\nb"},
        {"12", "12"},
        {"E'a\\'b''c'", "a'b'c"},
        {"E'\\b\\f\\n\\r\\t\\\\\\q'", "\b\f\n\r\t\\q"},
        {"E'\\101\\x41\\x4g\\u00e9\\U0001F600'", "AA\x04g\xc3\xa9\xf0\x9f\x98\x80"},
        {"E'\\ud800\\Uffffffff'", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"E'\\u80\\ux'", "\xc2\x80ux"},
        {"$$a'b$$", "a'b"},
        {"$t$a$$b$t$", "a$$b"},
        {"$$$$", ""},
    };
    struct sq_arena arena;
    sq_arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sql_token token = first_token(cases[i].text, SQL_LEXER_POSTGRES);
        assert_int_equal(token.length, strlen(cases[i].text));
        size_t length = SIZE_MAX;
        char *text = sql_token_unquote(&token, &arena, &length);
        assert_non_null(text);
        assert_string_equal(text, cases[i].tokens);
        assert_int_equal(length, strlen(cases[i].tokens));
    }
    struct sql_token token = first_token("[a b]", SQL_LEXER_SQLITE);
    assert_string_equal(sql_token_unquote(&token, &arena, NULL), "a b");
    sq_arena_done(&arena);
}

static void dollar_numbers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_number;
        uint32_t number;
    } cases[] = {
        {"$1", true, 1},
        {"$0", true, 0},
        {"$007", true, 7},
        {"$65536", true, 65536},
        {"$4294967295", true, UINT32_MAX},
        {"$99999999999999999999999999", true, UINT32_MAX},
        {"$1::int4", true, 1},
        {"$1a", false, 0},
        {"$a", false, 0},
        {"$1(x)", false, 0},
        {"?1", false, 0},
        {":1", false, 0},
        {"$::a", false, 0},
        {"1", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sql_token token = first_token(cases[i].text, SQL_LEXER_SQLITE);
        uint32_t number = 0;
        assert_int_equal(sql_token_dollar_number(&token, &number), cases[i].is_number);
        assert_int_equal(number, cases[i].number);
    }
}

static void statements_end_at_their_semicolon(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t end;
        bool is_complete;
    } cases[] = {
        {"", 0, false},
        {" ", 1, false},
        {";", 1, true},
        {"SELECT 1", 8, false},
        {"SELECT 1;", 9, true},
        {"SELECT ';';x", 11, true},
        {"SELECT 1 /* ; */ ; x", 18, true},
        {"SELECT \";\" [;] `;` -- ;\n;x", 25, true},
        {";; SELECT 1; SELECT 2;", 12, true},
        {"BEGIN; x", 6, true},
        {"CREATE TABLE trigger(a); x", 24, true},
        {"CREATE TRIGGER a BEGIN SELECT 1; SELECT 2; END; x", 47, true},
        {"create temp trigger a begin select 1; end /**/ ; x", 48, true},
        {"CREATE TEMPORARY TRIGGER a BEGIN SELECT CASE WHEN 1 THEN 2 END; END; x", 68, true},
        {"CREATE TRIGGER a BEGIN SELECT 1; END", 36, false},
        {"CREATE TRIGGER a BEGIN SELECT 1;; END; x", 38, true},
        {"CREATE TRIGGER a BEGIN SELECT 1; END x; END; x", 44, true},
        {"EXPLAIN CREATE TRIGGER a BEGIN SELECT 1; END; x", 45, true},
        {"EXPLAIN QUERY PLAN SELECT 1; x", 28, true},
        {"CREATE UNIQUE TRIGGER a; x", 24, true},
        {"SELECT 'a; b", 12, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = strlen(cases[i].text);
        char *text = exact_copy(cases[i].text, length);
        bool is_complete = !cases[i].is_complete;
        assert_int_equal(sql_statement_end(text, length, &is_complete), cases[i].end);
        assert_int_equal(is_complete, cases[i].is_complete);
        assert_int_equal(sql_statement_end(text, length, NULL), cases[i].end);
        struct sql_statement_shape shape = sql_statement_inspect(text, length);
        if (!shape.is_empty) {
            assert_int_equal(shape.end, cases[i].end);
            assert_int_equal(shape.is_complete, cases[i].is_complete);
        }
        free(text);
    }
}

static void verbs_and_tags_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum sql_verb verb;
        const char *tag;
    } cases[] = {
        {"", SQL_VERB_NONE, ""},
        {" ; -- x", SQL_VERB_NONE, ""},
        {"frobnicate 1", SQL_VERB_OTHER, ""},
        {"(SELECT 1)", SQL_VERB_OTHER, ""},
        {"'SELECT'", SQL_VERB_OTHER, ""},
        {"/* x */ select 1", SQL_VERB_SELECT, "SELECT 7"},
        {";;select 1", SQL_VERB_SELECT, "SELECT 7"},
        {"VALUES(1)", SQL_VERB_VALUES, "SELECT 7"},
        {"INSERT INTO t VALUES(1)", SQL_VERB_INSERT, "INSERT 0 7"},
        {"INSERT OR REPLACE INTO t VALUES(1)", SQL_VERB_INSERT, "INSERT 0 7"},
        {"REPLACE INTO t VALUES(1)", SQL_VERB_REPLACE, "INSERT 0 7"},
        {"UPDATE t SET a=1", SQL_VERB_UPDATE, "UPDATE 7"},
        {"DELETE FROM t", SQL_VERB_DELETE, "DELETE 7"},
        {"WITH x AS (SELECT 1) SELECT * FROM x", SQL_VERB_SELECT, "SELECT 7"},
        {"WITH RECURSIVE x(a,b) AS (SELECT (1), 2 UNION SELECT 3, 4), y AS MATERIALIZED (VALUES(1)) "
         "INSERT INTO t SELECT * FROM x",
         SQL_VERB_INSERT, "INSERT 0 7"},
        {"WITH replace(a) AS NOT MATERIALIZED (SELECT 1) DELETE FROM t", SQL_VERB_DELETE, "DELETE 7"},
        {"WITH x AS (DELETE", SQL_VERB_OTHER, ""},
        {"WITH", SQL_VERB_OTHER, ""},
        {"WITH x AS )))) ( SELECT 1 ) UPDATE t SET a=1", SQL_VERB_UPDATE, "UPDATE 7"},
        {"EXPLAIN SELECT 1", SQL_VERB_SELECT, "EXPLAIN"},
        {"EXPLAIN QUERY PLAN WITH x AS (SELECT 1) UPDATE t SET a=1", SQL_VERB_UPDATE, "EXPLAIN"},
        {"EXPLAIN", SQL_VERB_EXPLAIN, "EXPLAIN"},
        {"EXPLAIN EXPLAIN SELECT 1", SQL_VERB_EXPLAIN, "EXPLAIN"},
        {"EXPLAIN QUERY SELECT 1", SQL_VERB_EXPLAIN, "EXPLAIN"},
        {"CREATE TABLE t(a)", SQL_VERB_CREATE, "CREATE TABLE"},
        {"create temp table t(a)", SQL_VERB_CREATE, "CREATE TABLE"},
        {"CREATE VIRTUAL TABLE t USING fts5(a)", SQL_VERB_CREATE, "CREATE TABLE"},
        {"CREATE UNIQUE INDEX i ON t(a)", SQL_VERB_CREATE, "CREATE INDEX"},
        {"CREATE INDEX i ON t(a)", SQL_VERB_CREATE, "CREATE INDEX"},
        {"CREATE TEMPORARY VIEW v AS SELECT 1", SQL_VERB_CREATE, "CREATE VIEW"},
        {"CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", SQL_VERB_CREATE, "CREATE TRIGGER"},
        {"CREATE", SQL_VERB_CREATE, "CREATE"},
        {"DROP TABLE IF EXISTS t", SQL_VERB_DROP, "DROP TABLE"},
        {"DROP INDEX i", SQL_VERB_DROP, "DROP INDEX"},
        {"DROP VIEW v", SQL_VERB_DROP, "DROP VIEW"},
        {"DROP TRIGGER g", SQL_VERB_DROP, "DROP TRIGGER"},
        {"ALTER TABLE t ADD COLUMN b", SQL_VERB_ALTER, "ALTER TABLE"},
        {"BEGIN IMMEDIATE", SQL_VERB_BEGIN, "BEGIN"},
        {"COMMIT", SQL_VERB_COMMIT, "COMMIT"},
        {"END TRANSACTION", SQL_VERB_COMMIT, "COMMIT"},
        {"ROLLBACK", SQL_VERB_ROLLBACK, "ROLLBACK"},
        {"ROLLBACK TO a", SQL_VERB_ROLLBACK, "ROLLBACK"},
        {"SAVEPOINT a", SQL_VERB_SAVEPOINT, "SAVEPOINT"},
        {"RELEASE a", SQL_VERB_RELEASE, "RELEASE"},
        {"PRAGMA user_version", SQL_VERB_PRAGMA, "PRAGMA"},
        {"VACUUM", SQL_VERB_VACUUM, "VACUUM"},
        {"ANALYZE", SQL_VERB_ANALYZE, "ANALYZE"},
        {"REINDEX", SQL_VERB_REINDEX, "REINDEX"},
        {"ATTACH 'a' AS b", SQL_VERB_ATTACH, "ATTACH"},
        {"DETACH b", SQL_VERB_DETACH, "DETACH"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = strlen(cases[i].text);
        char *text = exact_copy(cases[i].text, length);
        struct sql_statement_shape shape = sql_statement_inspect(text, length);
        char tag[SQL_COMMAND_TAG_MAX];
        assert_int_equal(shape.verb, cases[i].verb);
        assert_int_equal(shape.is_empty, cases[i].verb == SQL_VERB_NONE);
        assert_int_equal(sql_command_tag(&shape, 7, tag), strlen(cases[i].tag));
        assert_string_equal(tag, cases[i].tag);
        free(text);
    }
    struct sql_statement_shape shape = sql_statement_inspect("INSERT", 6);
    char tag[SQL_COMMAND_TAG_MAX];
    sql_command_tag(&shape, UINT64_MAX, tag);
    assert_string_equal(tag, "INSERT 0 18446744073709551615");
}

static void details_of_the_verb_are_kept(void **state)
{
    (void)state;
    const char *text = " EXPLAIN QUERY PLAN SELECT 1; x";
    struct sql_statement_shape shape = sql_statement_inspect(text, strlen(text));
    assert_true(shape.is_explain && shape.is_query_plan);
    assert_int_equal(shape.verb_start, 20);
    assert_int_equal(shape.end, 29);
    shape = sql_statement_inspect("EXPLAIN SELECT 1", 16);
    assert_true(shape.is_explain && !shape.is_query_plan);
    shape = sql_statement_inspect("CREATE TEMP TABLE a(b)", 22);
    assert_true(shape.is_temp && !shape.is_virtual);
    shape = sql_statement_inspect("CREATE VIRTUAL TABLE a", 22);
    assert_true(shape.is_virtual && !shape.is_temp);
    shape = sql_statement_inspect("ROLLBACK TRANSACTION TO a", 25);
    assert_true(shape.is_rollback_to);
    shape = sql_statement_inspect("ROLLBACK TRANSACTION", 20);
    assert_false(shape.is_rollback_to);
    shape = sql_statement_inspect("ROLLBACK; SELECT a TO b", 23);
    assert_false(shape.is_rollback_to);
}

static void parameters_are_counted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool has_dollar, has_other, is_out_of_range, has_colons;
        uint32_t max;
    } cases[] = {
        {"SELECT 1", false, false, false, false, 0},
        {"SELECT $2, $1", true, false, false, false, 2},
        {"SELECT '$2', \"$3\", $1 -- $9", true, false, false, false, 1},
        {"SELECT ?", false, true, false, false, 0},
        {"SELECT $1, :a", true, true, false, false, 1},
        {"SELECT @a, $a", false, true, false, false, 0},
        {"SELECT $65535", true, false, false, false, 65535},
        {"SELECT $65536", true, false, true, false, 65536},
        {"SELECT $0", true, false, true, false, 0},
        {"SELECT $99999999999999999999", true, false, true, false, UINT32_MAX},
        {"SELECT $1::int", true, false, false, true, 1},
        {"SELECT a::int, $1", true, false, false, true, 1},
        {"SELECT 'a'::text::int", false, false, false, true, 0},
        {"SELECT 'a::b', \"a::b\"", false, false, false, false, 0},
        {"SELECT 1; SELECT $1, ?, a::b", false, false, false, false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sql_statement_shape shape = sql_statement_inspect(cases[i].text, strlen(cases[i].text));
        assert_int_equal(shape.has_dollar_numbers, cases[i].has_dollar);
        assert_int_equal(shape.has_other_parameters, cases[i].has_other);
        assert_int_equal(shape.is_parameter_out_of_range, cases[i].is_out_of_range);
        assert_int_equal(shape.has_double_colon, cases[i].has_colons);
        assert_int_equal(shape.dollar_number_max, cases[i].max);
    }
}

static void names_that_need_rewriting_are_seen(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool has_session, has_catalog;
    } cases[] = {
        {"SELECT current_user", true, false},
        {"SELECT CURRENT_USER, 1", true, false},
        {"SELECT a FROM t WHERE b = session_user", true, false},
        {"SELECT localtimestamp", true, false},
        {"INSERT INTO t VALUES(current_catalog)", true, false},
        {"UPDATE t SET a=current_schema", true, false},
        {"SELECT current_user()", false, false},
        {"SELECT current_user /* x */ ()", false, false},
        {"SELECT \"current_user\"", false, false},
        {"SELECT 'current_user'", false, false},
        {"SELECT t.current_user", false, false},
        {"SELECT current_user.a", false, false},
        {"SELECT 1 AS current_user", false, false},
        {"SELECT 1 current_user", false, false},
        {"SELECT max(a) current_user FROM t", false, false},
        {"SELECT 1; SELECT current_user", false, false},
        {"SELECT current_timestamp, user", false, false},
        {"CREATE TABLE t(current_user)", false, false},
        {"SELECT current_users", false, false},
        {"SELECT * FROM pg_catalog.pg_class", false, true},
        {"SELECT * FROM pg_class", false, true},
        {"SELECT * FROM \"PG_class\"", false, true},
        {"SELECT * FROM Information_Schema.tables", false, true},
        {"SELECT 'pg_class'", false, false},
        {"SELECT pgclass, pg_, xpg_a", false, false},
        {"SELECT information_schemas", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = cases[i].text;
        struct sql_statement_shape shape = sql_statement_inspect(text, strlen(text));
        assert_int_equal(shape.has_session_names, cases[i].has_session);
        assert_int_equal(shape.has_catalog_names, cases[i].has_catalog);
    }
}

static void session_names_are_walked(void **state)
{
    (void)state;
    const char *text = "SELECT current_user, a.current_user, session_user session_user, current_role(), localtime";
    static const char *const words[] = {"current_user", "session_user", "localtime"};
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, text, strlen(text), SQL_LEXER_SQLITE);
    for (size_t i = 0; i < 3; i++) {
        assert_true(sql_session_name_next(&lexer, &token));
        assert_true(sql_token_is(&token, words[i]));
    }
    assert_false(sql_session_name_next(&lexer, &token));
}

/* --- against SQLite --- */

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

/* Random SQL-like text of pieces that stand in each other's way; no NUL, no digit separators (a later SQLite has
 * them). */
static size_t random_text(char *out, size_t out_bytes)
{
    static const char *const pieces[] = {
        "SELECT ",  "a",        "b ",
        "1",        ".5",       "e",
        "1e5",      "0x",       "F",
        "'",        "''",       "\"",
        "`",        "[",        "]",
        "x'",       "00",       "g",
        "$",        "$a",       "::",
        ":",        "@a",       "#",
        "?",        "?1",       "--",
        "\n",       "/*",       "*/",
        "*",        "/",        "->",
        ">",        "<",        "!",
        "=",        "|",        "&",
        "~",        "(",        ")",
        ",",        ";",        ".",
        " ",        "\t",       "\v",
        "\f",       "\xc3\xa9", "\xef\xbb\xbf",
        "\\",       "CREATE ",  "TEMP ",
        "TRIGGER ", "BEGIN ",   " END",
        ";END;",    "EXPLAIN ", "FROM ",
        "+",        "-",        "{",
        "AS ",
    };
    size_t used = 0, piece_count = 1 + random_below(12);
    for (size_t i = 0; i < piece_count; i++) {
        const char *piece = pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))];
        size_t length = strlen(piece);
        assert_true(used + length < out_bytes);
        memcpy(out + used, piece, length + 1);
        used += length;
    }
    return used;
}

static bool is_token_of(const char *text, size_t length, size_t start, size_t token_length)
{
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    do {
        sql_lexer_next(&lexer, &token);
        if (token.start == start && token.length == token_length && token.kind != SQL_TOKEN_END)
            return true;
    } while (token.kind != SQL_TOKEN_END);
    return false;
}

static void first_illegal_token(const char *text, size_t length, struct sql_token *ret_token)
{
    struct sql_lexer lexer;
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    do {
        sql_lexer_next(&lexer, ret_token);
    } while (ret_token->kind != SQL_TOKEN_ILLEGAL && ret_token->kind != SQL_TOKEN_END);
}

static void sqlite_refuses_the_same_tokens(void **state)
{
    (void)state;
    static const char refused[] = "unrecognized token: \"", near[] = "near \"", syntax[] = "\": syntax error";
    sqlite3 *db = NULL;
    size_t refused_count = 0, near_count = 0;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    for (size_t i = 0; i < 60000; i++) {
        char text[512] = "SELECT ";
        size_t length = 7 + random_text(text + 7, sizeof(text) - 7);
        sqlite3_stmt *statement = NULL;
        int code = sqlite3_prepare_v2(db, text, -1, &statement, NULL);
        const char *message = sqlite3_errmsg(db);
        size_t message_length = strlen(message);
        if (code != SQLITE_OK && strncmp(message, refused, sizeof(refused) - 1) == 0) {
            struct sql_token token;
            first_illegal_token(text, length, &token);
            size_t token_length = message_length - (sizeof(refused) - 1) - 1;
            assert_int_equal(token.kind, SQL_TOKEN_ILLEGAL);
            assert_int_equal(token.length, token_length);
            assert_memory_equal(token.text, message + sizeof(refused) - 1, token_length);
            refused_count++;
        } else if (code != SQLITE_OK && strncmp(message, near, sizeof(near) - 1) == 0 &&
                   message_length > sizeof(near) + sizeof(syntax) &&
                   strcmp(message + message_length - (sizeof(syntax) - 1), syntax) == 0) {
            int offset = sqlite3_error_offset(db);
            size_t token_length = message_length - (sizeof(near) - 1) - (sizeof(syntax) - 1);
            assert_true(offset >= 0);
            assert_true(is_token_of(text, length, (size_t)offset, token_length));
            near_count++;
        }
        sqlite3_finalize(statement);
    }
    sqlite3_close(db);
    /* The comparison must have taken place. */
    assert_true(refused_count > 5000);
    assert_true(near_count > 5000);
}

static bool has_token(const char *text, size_t length)
{
    struct sql_token token = {0};
    struct sql_lexer lexer;
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    sql_lexer_next(&lexer, &token);
    return token.kind != SQL_TOKEN_END;
}

static void statement_ends_agree_with_sqlite3_complete(void **state)
{
    (void)state;
    size_t complete_count = 0, compared_count = 0;
    for (size_t i = 0; i < 60000; i++) {
        char text[512];
        size_t length = random_text(text, sizeof(text) - 1);
        if (random_below(2) == 0)
            memcpy(text + length++, ";", 2);
        struct sql_token illegal;
        first_illegal_token(text, length, &illegal);
        /* On these, sqlite3_complete() has rules of its own: it never looks for an error, takes `/` + `*` at the very
         * end for an open comment, which makes a statement incomplete, as does any other unclosed one, and does
         * not know the tail of `$a(…)`. */
        size_t open = 0;
        for (size_t at = 0; at + 1 < length; at++)
            open += text[at] == '/' && text[at + 1] == '*';
        bool has_tail = strchr(text, '(') != NULL && strpbrk(text, "$@#:") != NULL;
        if (illegal.kind != SQL_TOKEN_END || open > 0 || has_tail || strstr(text, "\xef\xbb\xbf") != NULL)
            continue;
        bool is_complete = false;
        size_t at = 0;
        while (at < length && has_token(text + at, length - at))
            at += sql_statement_end(text + at, length - at, &is_complete);
        assert_int_equal(sqlite3_complete(text), is_complete);
        complete_count += is_complete;
        compared_count++;
    }
    assert_true(complete_count > 1000);
    assert_true(compared_count > 10000);
}

static void every_cut_of_a_text_is_lexed_within_its_bounds(void **state)
{
    (void)state;
    static const char text[] = "/*/ x*/ SELECT E'a\\'', $t$ a $t$, x'00', $1::int, \"a\"\"\", [b], `c`, 0x1, 1e-5, "
                               "$a::b(c), ->> --\n WITH x AS (SELECT 1) INSERT \xef\xbb\xbf ";
    for (size_t length = 0; length < sizeof(text); length++) {
        char *copy = exact_copy(text, length);
        char out[1024];
        describe(copy, length, SQL_LEXER_SQLITE, out, sizeof(out));
        describe(copy, length, SQL_LEXER_POSTGRES, out, sizeof(out));
        assert_true(sql_statement_end(copy, length, NULL) == length);
        assert_true(sql_statement_inspect(copy, length).end == length);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_cut_as_sqlite_cuts_them),
        cmocka_unit_test(postgres_tokens_are_cut_when_asked_for),
        cmocka_unit_test(nul_bytes_are_illegal_and_hide_nothing),
        cmocka_unit_test(words_are_compared_whole_and_without_case),
        cmocka_unit_test(quotes_are_taken_off),
        cmocka_unit_test(dollar_numbers_are_read),
        cmocka_unit_test(statements_end_at_their_semicolon),
        cmocka_unit_test(verbs_and_tags_are_found),
        cmocka_unit_test(details_of_the_verb_are_kept),
        cmocka_unit_test(parameters_are_counted),
        cmocka_unit_test(names_that_need_rewriting_are_seen),
        cmocka_unit_test(session_names_are_walked),
        cmocka_unit_test(sqlite_refuses_the_same_tokens),
        cmocka_unit_test(statement_ends_agree_with_sqlite3_complete),
        cmocka_unit_test(every_cut_of_a_text_is_lexed_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
