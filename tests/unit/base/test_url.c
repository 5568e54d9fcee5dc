/* No password of a URL is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/url.h"

static void passwords_are_masked_and_nothing_else_is(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"sqld://h", "sqld://h"},
        {"sqld://h:5433,i:5434/db?x=1", "sqld://h:5433,i:5434/db?x=1"},
        {"sqld://u@h:5433", "sqld://u@h:5433"},
        {"sqld://u:secret@h:5433/d?sslmode=require", "sqld://u:***@h:5433/d?sslmode=require"},
        {"postgres://u:a@b@h", "postgres://u:***@h"},
        {"postgres://u:a/b@h/d", "postgres://u:***@h/d"},
        {"sqld://h?password=x&user=u", "sqld://h?password=***&user=u"},
        {"sqld://h/d?user=u&PASSWORD=x", "sqld://h/d?user=u&PASSWORD=***"},
        {"sqld://h/d?passfile=/x", "sqld://h/d?passfile=/x"},
        {"u:secret@h", "u:***@h"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sq_buf out;
        sq_buf_init(&out, 1000);
        sq_url_put_masked(&out, cases[i][0]);
        sq_buf_put_u8(&out, '\0');
        assert_false(out.is_failed);
        assert_string_equal((const char *)sq_buf_bytes(&out), cases[i][1]);
        sq_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(passwords_are_masked_and_nothing_else_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
