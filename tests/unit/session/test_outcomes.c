/* What is known of sessions that live, have ended, or ended long ago. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "session/outcomes.h"

static struct outcomes *outcomes;
static struct sq_error err;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(outcomes_new(&err, &outcomes), SQ_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outcomes_free(outcomes);
    return 0;
}

static const uint8_t *key_of(uint32_t number)
{
    static uint8_t key[OUTCOME_KEY_BYTES];
    memcpy(key, &number, sizeof(number));
    return key;
}

static enum outcome_state look(uint32_t key, uint64_t number, struct outcome *ret_outcome)
{
    uint32_t pid = 0;
    enum outcome_state state = outcomes_find(outcomes, key_of(key), number, ret_outcome, &pid);
    assert_int_equal(pid, state == OUTCOME_LIVE ? key + 100 : 0);
    return state;
}

static void begin(uint32_t key)
{
    assert_int_equal(outcomes_begin(outcomes, key_of(key), key + 100, &err), SQ_OK);
}

static void nobody_is_unknown(void **state)
{
    (void)state;
    struct outcome outcome;
    assert_int_equal(look(1, 1, &outcome), OUTCOME_UNKNOWN);
}

static void who_lives_is_live_whatever_is_asked(void **state)
{
    (void)state;
    struct outcome outcome;
    begin(1);
    assert_int_equal(look(1, 0, &outcome), OUTCOME_LIVE);
    assert_int_equal(look(1, 9, &outcome), OUTCOME_LIVE);
    outcomes_end(outcomes, key_of(1), 0, NULL);
}

static void the_last_request_is_done_and_a_later_one_is_not(void **state)
{
    (void)state;
    struct outcome outcome = {0}, last = {.result = 101,
                                          .changes = 2,
                                          .total_changes = 3,
                                          .last_insert_rowid = 4,
                                          .row_count = 5,
                                          .is_committed = true};
    begin(1);
    outcomes_end(outcomes, key_of(1), 7, &last);
    assert_int_equal(look(1, 7, &outcome), OUTCOME_DONE);
    assert_memory_equal(&outcome, &last, sizeof(last));
    assert_int_equal(look(1, 8, &outcome), OUTCOME_NOT_DONE);
    assert_int_equal(look(1, 6, &outcome), OUTCOME_UNKNOWN);
}

static void what_was_rolled_back_at_the_end_is_not_done(void **state)
{
    (void)state;
    struct outcome outcome, last = {.result = 101};
    begin(1);
    outcomes_end(outcomes, key_of(1), 7, &last);
    assert_int_equal(look(1, 7, &outcome), OUTCOME_NOT_DONE);
    assert_int_equal(look(1, 8, &outcome), OUTCOME_NOT_DONE);
}

static void what_was_forgotten_is_unknown(void **state)
{
    (void)state;
    struct outcome outcome;
    begin(1);
    outcomes_forget(outcomes, key_of(1));
    assert_int_equal(look(1, 1, &outcome), OUTCOME_UNKNOWN);
}

static void a_session_that_did_nothing_has_done_nothing(void **state)
{
    (void)state;
    struct outcome outcome;
    begin(1);
    outcomes_end(outcomes, key_of(1), 0, NULL);
    assert_int_equal(look(1, 1, &outcome), OUTCOME_NOT_DONE);
}

static void a_key_is_used_once(void **state)
{
    (void)state;
    begin(1);
    assert_int_equal(outcomes_begin(outcomes, key_of(1), 5, &err), SQ_EXISTS);
    outcomes_end(outcomes, key_of(1), 0, NULL);
    assert_int_equal(outcomes_begin(outcomes, key_of(1), 5, &err), SQ_EXISTS);
    assert_string_equal(err.sqlstate, "08P01");
}

static void the_oldest_of_too_many_is_forgotten(void **state)
{
    (void)state;
    struct outcome outcome, done = {.result = 101, .is_committed = true};
    begin(0); /* lives all the time */
    for (uint32_t key = 1; key <= OUTCOMES_MAX; key++) {
        begin(key);
        outcomes_end(outcomes, key_of(key), 1, &done);
    }
    assert_int_equal(look(1, 1, &outcome), OUTCOME_DONE);
    begin(OUTCOMES_MAX + 1);
    assert_int_equal(look(1, 1, &outcome), OUTCOME_DONE);
    outcomes_end(outcomes, key_of(OUTCOMES_MAX + 1), 1, &done);
    assert_int_equal(look(1, 1, &outcome), OUTCOME_UNKNOWN);
    assert_int_equal(look(2, 1, &outcome), OUTCOME_DONE);
    assert_int_equal(look(0, 1, &outcome), OUTCOME_LIVE);
    outcomes_end(outcomes, key_of(0), 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_lives_is_live_whatever_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_request_is_done_and_a_later_one_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_rolled_back_at_the_end_is_not_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_forgotten_is_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_session_that_did_nothing_has_done_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_is_used_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_of_too_many_is_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
