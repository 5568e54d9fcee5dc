/* Filling and passing on errors; texts that are too long; the macros; assertions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "base/utf8.h"

static void a_failure_says_what_and_where(void **state)
{
    (void)state;
    struct sq_error err;
    memset(&err, 0x55, sizeof(err));
    int line = __LINE__ + 1;
    sq_status status = sq_fail(&err, SQ_LIMIT, "too many %s (%d)", "statements", 7);
    assert_int_equal(status, SQ_LIMIT);
    assert_int_equal(err.status, SQ_LIMIT);
    assert_string_equal(err.text, "too many statements (7)");
    assert_string_equal(err.sqlstate, "54000");
    assert_string_equal(err.file + strlen(err.file) - 13, "test_status.c");
    assert_int_equal(err.line, line);
    assert_string_equal(err.detail, "");
    assert_string_equal(err.hint, "");
    assert_string_equal(err.table, "");
    assert_string_equal(err.column, "");
    assert_string_equal(err.constraint, "");
    assert_int_equal(err.position, 0);
    assert_int_equal(err.engine_code, 0);
    assert_false(err.is_fatal);
}

static void a_sqlstate_can_be_named(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(sq_fail_sql(&err, SQ_SQL, "42601", "syntax"), SQ_SQL);
    assert_string_equal(err.sqlstate, "42601");
    assert_int_equal(sq_fail(&err, SQ_SQL, "unknown"), SQ_SQL);
    assert_string_equal(err.sqlstate, "XX000");
}

static void nobody_has_to_want_the_error(void **state)
{
    (void)state;
    assert_int_equal(sq_fail(NULL, SQ_BUSY, "x"), SQ_BUSY);
    assert_int_equal(sq_fail_errno(NULL, ENOENT, "x"), SQ_IO);
    sq_error_set_hint(NULL, "x");
    sq_error_set_detail(NULL, "x");
}

static void every_status_has_a_name_and_a_sqlstate(void **state)
{
    (void)state;
    struct sq_error err;
    for (int status = SQ_OK; status <= SQ_CLOSED; status++) {
        assert_memory_equal(sq_status_name((sq_status)status), "SQ_", 3);
        if (status == SQ_OK)
            continue;
        assert_int_equal(sq_fail(&err, (sq_status)status, "x"), status);
        assert_int_equal(strlen(err.sqlstate), SQ_SQLSTATE_LEN);
    }
    assert_string_equal(sq_status_name((sq_status)1000), "SQ_UNKNOWN");
    assert_string_equal(sq_status_name((sq_status)-1), "SQ_UNKNOWN");
}

/* One, two and three bytes of a two- or four-byte character before the limit: the text must end before it. */
static void long_texts_are_cut_at_a_character(void **state)
{
    (void)state;
    struct sq_error err;
    char text[2 * SQ_ERROR_TEXT_MAX];
    for (size_t room = 0; room < 6; room++) {
        memset(text, 'a', sizeof(text));
        size_t at = SQ_ERROR_TEXT_MAX - 1 - room;
        for (size_t i = at; i + 4 < sizeof(text); i += 4)
            memcpy(text + i, "\xF0\x9F\x98\x80", 4);
        text[sizeof(text) - 4] = '\0';
        assert_int_equal(sq_fail(&err, SQ_INVALID, "%s", text), SQ_INVALID);
        assert_true(sq_utf8_is_valid(err.text, strlen(err.text)));
        assert_int_equal(strlen(err.text), at + room / 4 * 4);
        sq_error_set_detail(&err, "%.*s", (int)(SQ_ERROR_EXTRA_MAX + 10), text + at - (SQ_ERROR_EXTRA_MAX - 1 - room));
        assert_true(sq_utf8_is_valid(err.detail, strlen(err.detail)));
        assert_int_equal(strlen(err.detail), SQ_ERROR_EXTRA_MAX - 1 - room + room / 4 * 4);
    }
}

static void hints_and_details_join_the_error(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(sq_fail(&err, SQ_INVALID, "bad"), SQ_INVALID);
    sq_error_set_hint(&err, "try %d", 1);
    sq_error_set_detail(&err, "it was %s", "bad");
    assert_string_equal(err.text, "bad");
    assert_string_equal(err.hint, "try 1");
    assert_string_equal(err.detail, "it was bad");
    sq_error_clear(&err);
    assert_int_equal(err.status, SQ_OK);
    assert_string_equal(err.hint, "");
    assert_string_equal(err.detail, "");
}

static void a_system_error_brings_its_reason(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(sq_fail_errno(&err, ENOENT, "open '%s'", "x"), SQ_IO);
    assert_string_equal(err.text, "open 'x': No such file or directory");
    assert_string_equal(err.sqlstate, "58030");
    assert_int_equal(sq_fail_errno(&err, 99999, "open"), SQ_IO);
    assert_string_equal(err.text, "open: unknown error");
    char text[SQ_ERROR_TEXT_MAX];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(sq_fail_errno(&err, ENOENT, "%s", text), SQ_IO);
    assert_int_equal(strlen(err.text), SQ_ERROR_TEXT_MAX - 1);
}

static sq_status pass_on(sq_status status, int *ret_steps)
{
    *ret_steps = 1;
    SQ_TRY(status);
    *ret_steps = 2;
    return SQ_OK;
}

static void try_passes_failures_on(void **state)
{
    (void)state;
    int steps;
    assert_int_equal(pass_on(SQ_OK, &steps), SQ_OK);
    assert_int_equal(steps, 2);
    assert_int_equal(pass_on(SQ_BUSY, &steps), SQ_BUSY);
    assert_int_equal(steps, 1);
}

static int freed_count;

static void counted_free(int **pointer)
{
    if (*pointer != NULL)
        freed_count++;
}

static int *keep_or_free(int *thing, bool is_kept)
{
    SQ_CLEANUP(counted_free) int *mine = thing;
    if (is_kept)
        return SQ_STEAL(mine);
    return NULL;
}

static void cleanup_frees_what_is_not_stolen(void **state)
{
    (void)state;
    int thing = 0;
    freed_count = 0;
    assert_ptr_equal(keep_or_free(&thing, true), &thing);
    assert_int_equal(freed_count, 0);
    assert_null(keep_or_free(&thing, false));
    assert_int_equal(freed_count, 1);
}

/* sq_assert() is on in every build: a child that breaks one must abort, and say where. */
static void a_broken_assertion_ends_the_process(void **state)
{
    (void)state;
    int channel[2];
    char said[512];
    int status;
    assert_int_equal(pipe(channel), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(channel[1], STDERR_FILENO);
        sq_assert(channel[0] < 0);
        _exit(0);
    }
    close(channel[1]);
    size_t used = 0;
    ssize_t got;
    while ((got = read(channel[0], said + used, sizeof(said) - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = '\0';
    close(channel[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    assert_non_null(strstr(said, "channel[0] < 0"));
    assert_non_null(strstr(said, "test_status.c"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_says_what_and_where),     cmocka_unit_test(a_sqlstate_can_be_named),
        cmocka_unit_test(nobody_has_to_want_the_error),      cmocka_unit_test(every_status_has_a_name_and_a_sqlstate),
        cmocka_unit_test(long_texts_are_cut_at_a_character), cmocka_unit_test(hints_and_details_join_the_error),
        cmocka_unit_test(a_system_error_brings_its_reason),  cmocka_unit_test(try_passes_failures_on),
        cmocka_unit_test(cleanup_frees_what_is_not_stolen),  cmocka_unit_test(a_broken_assertion_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
