/* What SQLD_INJECT may say, and what is done at a point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"

static void start(const char *value)
{
    struct sq_error err;
    assert_int_equal(sq_inject_start(value, &err), SQ_OK);
}

static void nothing_is_injected_without_the_variable(void **state)
{
    (void)state;
    struct sq_error err;
    start(NULL);
    assert_false(sq_inject_is_on);
    start("");
    assert_false(sq_inject_is_on);
    sq_inject("a.b");
    assert_int_equal(sq_inject_status("a.b", &err), SQ_OK);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const values[] = {
        "a",         "a:",        ":kill",      "a:kil",      "a:killed",           "a:sleep-",
        "a:sleep-x", "a:sleep-0", "a:sleep--1", "a:kill@",    "a:kill@0",           "a:fail@1x",
        "a:kill,",   ",a:kill",   "a:kill@ 1",  "a:fail@1!!", "a:sleep-99999999999"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct sq_error err;
        assert_int_equal(sq_inject_start(values[i], &err), SQ_INVALID);
        assert_false(sq_inject_is_on);
    }
    char many[33 * 7];
    for (size_t i = 0; i < sizeof(many); i++)
        many[i] = "a:kill,"[i % 7];
    many[sizeof(many) - 1] = '\0';
    struct sq_error err;
    assert_int_equal(sq_inject_start(many, &err), SQ_LIMIT);
}

static void a_point_fails_from_its_count_on(void **state)
{
    (void)state;
    struct sq_error err;
    start("a.b:fail@2,c:fail@2!");
    assert_int_equal(sq_inject_status("a.b", &err), SQ_OK);
    assert_int_equal(sq_inject_status("a.b", &err), SQ_IO);
    assert_string_equal(err.text, "injected failure at a.b");
    assert_int_equal(sq_inject_status("a.b", &err), SQ_IO);
    assert_int_equal(sq_inject_status("a", &err), SQ_OK);
    assert_int_equal(sq_inject_status("c", &err), SQ_OK);
    assert_int_equal(sq_inject_status("c", &err), SQ_IO);
    assert_int_equal(sq_inject_status("c", &err), SQ_OK);
}

static void a_point_sleeps(void **state)
{
    (void)state;
    start("a:sleep-20");
    int64_t before_us = sq_clock_now_us();
    sq_inject("a");
    assert_true(sq_clock_now_us() - before_us >= 20 * SQ_US_PER_MS);
}

/* In a child: how it ends, after the point was reached `times` times. */
static int status_of_child(const char *value, int times, int wait_flags)
{
    pid_t child = fork(); /* banned-ok: a test */
    if (child == 0) {
        struct sq_error err;
        if (sq_inject_start(value, &err) != SQ_OK)
            _exit(2);
        for (int i = 0; i < times; i++)
            sq_inject("a");
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, wait_flags), child);
    if (WIFSTOPPED(status)) {
        int end = -1;
        kill(child, SIGCONT);
        assert_int_equal(waitpid(child, &end, 0), child);
        assert_true(WIFEXITED(end) && WEXITSTATUS(end) == 0);
    }
    return status;
}

static void a_point_kills_and_stops_the_process(void **state)
{
    (void)state;
    int status = status_of_child("a:kill@3", 2, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = status_of_child("a:kill@3", 3, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = status_of_child("a:stop", 2, WUNTRACED);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_injected_without_the_variable), cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_point_fails_from_its_count_on),          cmocka_unit_test(a_point_sleeps),
        cmocka_unit_test(a_point_kills_and_stops_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
