/* Lists of wanted databases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "repl/wanted.h"

static bool has(const char *list, const char *name)
{
    struct repl_wanted wanted;
    assert_int_equal(repl_wanted_parse(list, NULL, &wanted), SQ_OK);
    return repl_wanted_has(&wanted, name);
}

static void lists_choose(void **state)
{
    static const struct {
        const char *list;
        const char *name;
        bool is_wanted;
    } cases[] = {
        {"", "shop", true},
        {"  \t", "shop", true},
        {"shop", "shop", true},
        {"shop", "shop2", false},
        {"shop", "sho", false},
        {"a, shop ,b", "shop", true},
        {"a,b", "shop", false},
        {"*", "shop", true},
        {"s*", "shop", true},
        {"*p", "shop", true},
        {"s*o*p", "shop", true},
        {"s*x*p", "shop", false},
        {"sh?p", "shop", true},
        {"sh?", "shop", false},
        {"????", "shop", true},
        {"shop*", "shop", true},
        {"*shop*", "shop", true},
        {"**", "shop", true},
        {"!shop", "shop", false},
        {"!shop", "other", true},
        {"shop*,!shop_old", "shop_old", false},
        {"shop*,!shop_old", "shop_new", true},
        {"!shop_old,shop*", "shop_old", false},
        {"shop*,!shop_old", "x", false},
        {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(has(cases[i].list, cases[i].name), cases[i].is_wanted);
}

static void lists_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {",", "a,", "a,,b", "!", "a b", "a/b", "a!b", "\"a\"", "a,!"};
    struct repl_wanted wanted = {.has_positive = true};
    struct sq_error err;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(repl_wanted_parse(bad[i], &err, &wanted), SQ_INVALID);
        assert_true(wanted.has_positive);
    }
}

static void the_longest_list_fits_and_no_longer_one(void **state)
{
    static char text[REPL_WANTED_BYTES_MAX + 2];
    struct repl_wanted wanted;
    (void)state;
    memset(text, 'a', REPL_WANTED_BYTES_MAX - 1);
    for (size_t i = 62; i < REPL_WANTED_BYTES_MAX - 2; i += 63)
        text[i] = ',';
    assert_int_equal(repl_wanted_parse(text, NULL, &wanted), SQ_OK);
    assert_true(repl_wanted_has(&wanted, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    text[REPL_WANTED_BYTES_MAX - 1] = 'a';
    assert_int_equal(repl_wanted_parse(text, NULL, &wanted), SQ_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_choose),
        cmocka_unit_test(lists_that_are_none_are_refused),
        cmocka_unit_test(the_longest_list_fits_and_no_longer_one),
    };
    return cmocka_run_group_tests_name("repl/wanted", tests, NULL, NULL);
}
