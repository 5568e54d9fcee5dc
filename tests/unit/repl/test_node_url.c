/* One host of a URL at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "repl/node_url.h"

static void check(const char *url, size_t index, bool is_alone, const char *expected)
{
    char *chosen = node_url_choose(url, index, is_alone);
    assert_non_null(chosen);
    assert_string_equal(chosen, expected);
    free(chosen);
}

static void hosts_are_counted(void **state)
{
    (void)state;
    assert_int_equal(node_url_host_count("sqld://a"), 1);
    assert_int_equal(node_url_host_count("sqld://"), 1);
    assert_int_equal(node_url_host_count("sqld:///?host=a,b"), 1);
    assert_int_equal(node_url_host_count("sqld://u,v:p,w@a:1,[::1]:2,c/d?x=1,2"), 3);
}

static void one_host_comes_first_or_alone(void **state)
{
    (void)state;
    check("sqld://a:1", 0, true, "sqld://a:1");
    check("sqld://a:1,b:2", 0, false, "sqld://a:1,b:2");
    check("sqld://a:1,b:2", 1, false, "sqld://b:2,a:1");
    check("sqld://u:p@a:1,b:2,c/d?x=1", 1, true, "sqld://u:p@b:2/d?x=1");
    check("sqld://u:p@a:1,b:2,c/d?x=1", 2, false, "sqld://u:p@c,a:1,b:2/d?x=1");
    check("sqld://a,?x=1", 1, false, "sqld://,a?x=1");
    check("sqld:///?host=a,b", 0, true, "sqld:///?host=a,b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_counted),
        cmocka_unit_test(one_host_comes_first_or_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
