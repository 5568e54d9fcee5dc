/* What is rewritten in a statement, what never is, and that positions find their way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"
#include "session/rewrite.h"

static struct sq_arena arena;

static int set_up(void **state)
{
    (void)state;
    sq_arena_init(&arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sq_arena_done(&arena);
    return 0;
}

static const char *rewritten(const char *text)
{
    struct sq_error err;
    const char *sql = NULL;
    size_t length = 0;
    assert_int_equal(rewrite_sql(text, strlen(text), &arena, &err, &sql, &length), SQ_OK);
    assert_int_equal(strlen(sql), length);
    return sql;
}

static void words_become_calls(void **state)
{
    (void)state;
    assert_string_equal(rewritten("SELECT current_user"), "SELECT current_user()");
    assert_string_equal(rewritten("SELECT CURRENT_USER, session_user;"), "SELECT CURRENT_USER(), session_user();");
    assert_string_equal(rewritten("SELECT a FROM t WHERE u=current_user AND 1"),
                        "SELECT a FROM t WHERE u=current_user() AND 1");
    assert_string_equal(rewritten("SELECT current_user/**/"), "SELECT current_user()/**/");
    assert_string_equal(rewritten("SELECT current_schema, current_catalog"),
                        "SELECT current_schema(), current_catalog()");
}

static void the_schema_of_functions_goes(void **state)
{
    (void)state;
    assert_string_equal(rewritten("SELECT pg_catalog.version()"), "SELECT version()");
    assert_string_equal(rewritten("SELECT PG_CATALOG . version ()"), "SELECT version ()");
    assert_string_equal(rewritten("SELECT pg_catalog.version(), current_user, pg_catalog.now()"),
                        "SELECT version(), current_user(), now()");
}

static void everything_else_stays_as_it_is(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "SELECT 1",
        "SELECT 'current_user', \"current_user\", [current_user], `current_user`",
        "SELECT 1 -- current_user pg_catalog.f(\n",
        "SELECT 1 /* current_user pg_catalog.f( */",
        "SELECT 'it''s current_user', 'pg_catalog.f('",
        "SELECT current_user()",
        "SELECT current_user ( )",
        "SELECT t.current_user FROM t",
        "SELECT current_user_id, my_current_user FROM t",
        "SELECT x'00', $1, :current_user, @current_user",
        "SELECT * FROM pg_catalog.pg_class",
        "SELECT 'open current_user",
        "SELECT /* open current_user",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_string_equal(rewritten(texts[i]), texts[i]);
}

/* Every character that is in both texts is found again: the rewritten text without what was added is walked beside the
 * original without what was removed. */
static void check_positions(const char *text, const char *marks)
{
    const char *sql = rewritten(text);
    for (const char *mark = marks; *mark != '\0'; mark++) {
        const char *in_text = strchr(text, *mark);
        const char *in_sql = strchr(sql, *mark);
        assert_non_null(in_text);
        assert_non_null(in_sql);
        int original = (int)sq_utf8_count(text, (size_t)(in_text - text)) + 1;
        int position = (int)sq_utf8_count(sql, (size_t)(in_sql - sql)) + 1;
        int found = rewrite_original_position(text, strlen(text), position);
        if (found != original)
            fail_msg("%s: '%c' is at %d, found at %d", text, *mark, original, found);
    }
}

static void positions_find_back_to_the_original(void **state)
{
    (void)state;
    check_positions("SELECT 1 # 2", "#");
    check_positions("SELECT current_user, #", ",#");
    check_positions("SELECT #, current_user, ?, session_user, !", "#?!");
    check_positions("SELECT '\xc3\xa4\xc3\xb6', current_user, '\xc3\xbc', #", "#");
    check_positions("SELECT pg_catalog.version(), #", "v#");
    check_positions("SELECT pg_catalog . version(), current_user, !, pg_catalog.now(), #", "v!w#");
    check_positions("#, pg_catalog /* \xf0\x9f\x98\x80 */ . f(current_user, ?)", "#?");
}

static void a_position_within_what_was_added_is_behind_the_word(void **state)
{
    (void)state;
    const char text[] = "SELECT current_user, 1";
    /* 1-based: the word ends with character 19, "()" would be 20 and 21. */
    assert_int_equal(rewrite_original_position(text, strlen(text), 8), 8);
    assert_int_equal(rewrite_original_position(text, strlen(text), 19), 19);
    assert_int_equal(rewrite_original_position(text, strlen(text), 22), 20);
}

#define REWRITE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REWRITE_TEST(words_become_calls),
        REWRITE_TEST(the_schema_of_functions_goes),
        REWRITE_TEST(everything_else_stays_as_it_is),
        REWRITE_TEST(positions_find_back_to_the_original),
        REWRITE_TEST(a_position_within_what_was_added_is_behind_the_word),
    };
    return cmocka_run_group_tests_name("session/rewrite", tests, NULL, NULL);
}
