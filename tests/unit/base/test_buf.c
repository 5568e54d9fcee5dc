/* The byte queue: order, limits, the sticky failure, and a long random walk beside a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void assert_holds(const struct sq_buf *buf, const char *expected)
{
    assert_int_equal(sq_buf_length(buf), strlen(expected));
    if (expected[0] != '\0')
        assert_memory_equal(sq_buf_bytes(buf), expected, strlen(expected));
}

static void a_new_buffer_is_empty_and_costs_nothing(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 100);
    assert_int_equal(sq_buf_length(&buf), 0);
    assert_null(sq_buf_bytes(&buf));
    assert_null(sq_buf_tail(&buf));
    sq_buf_put(&buf, NULL, 0);
    assert_int_equal(sq_buf_room(&buf), 0);
    assert_int_equal(sq_buf_check(&buf, NULL), SQ_OK);
    sq_buf_done(&buf);
    sq_buf_done(NULL);
}

static void numbers_go_out_in_network_order(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 100);
    sq_buf_put_u8(&buf, 0x01);
    sq_buf_put_u16(&buf, 0x0203);
    sq_buf_put_u32(&buf, 0x04050607);
    sq_buf_put_u64(&buf, UINT64_C(0x08090A0B0C0D0E0F));
    static const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    assert_int_equal(sq_buf_length(&buf), sizeof(expected));
    assert_memory_equal(sq_buf_bytes(&buf), expected, sizeof(expected));
    sq_buf_consume(&buf, 1);
    sq_buf_set_u32(&buf, 2, 0xFFEEDDCC);
    assert_memory_equal(sq_buf_bytes(&buf), "\x02\x03\xFF\xEE\xDD\xCC\x08", 7);
    sq_buf_done(&buf);
}

static void texts_go_out_with_and_without_their_nul(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 100);
    sq_buf_put_cstr(&buf, "ab");
    sq_buf_put_text(&buf, "cd");
    sq_buf_printf(&buf, "-%d-%s", 42, "x");
    assert_int_equal(sq_buf_length(&buf), 10);
    assert_memory_equal(sq_buf_bytes(&buf), "ab\0cd-42-x", 10);
    sq_buf_done(&buf);
}

static void printf_writes_texts_longer_than_its_first_guess(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 10000);
    for (int width = 505; width <= 520; width++) {
        sq_buf_truncate(&buf, 0);
        sq_buf_printf(&buf, "%*d|", width, 7);
        assert_int_equal(sq_buf_length(&buf), width + 1);
        assert_memory_equal(sq_buf_bytes(&buf) + width - 1, "7|", 2);
    }
    sq_buf_done(&buf);
}

static void consumed_bytes_leave_from_the_front(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 100);
    sq_buf_put_text(&buf, "hello world");
    sq_buf_consume(&buf, 6);
    assert_holds(&buf, "world");
    sq_buf_put_text(&buf, "!");
    assert_holds(&buf, "world!");
    sq_buf_truncate(&buf, 3);
    assert_holds(&buf, "wor");
    sq_buf_consume(&buf, 3);
    assert_holds(&buf, "");
    /* buf invariant 3 */
    assert_int_equal(buf.start, 0);
    assert_int_equal(buf.end, 0);
    sq_buf_done(&buf);
}

/* Below, at and above the limit. */
static void the_limit_counts_unconsumed_bytes(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_error err;
    uint8_t bytes[64] = {0};
    for (size_t length = 15; length <= 17; length++) {
        sq_buf_init(&buf, 16);
        sq_buf_put(&buf, bytes, length);
        assert_int_equal(sq_buf_check(&buf, &err), length <= 16 ? SQ_OK : SQ_LIMIT);
        assert_int_equal(sq_buf_length(&buf), length <= 16 ? length : 0);
        sq_buf_done(&buf);
    }
    sq_buf_init(&buf, 16);
    sq_buf_put(&buf, bytes, 16);
    sq_buf_consume(&buf, 10);
    sq_buf_put(&buf, bytes, 10);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);
    assert_int_equal(sq_buf_length(&buf), 16);
    sq_buf_put_u8(&buf, 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    assert_string_equal(err.sqlstate, "54000");
    sq_buf_done(&buf);
}

static void a_failed_buffer_takes_nothing_until_it_is_truncated(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 4);
    sq_buf_put_text(&buf, "ab");
    sq_buf_put_text(&buf, "cdefg");
    sq_buf_put_text(&buf, "c"); /* would fit by itself */
    assert_true(buf.is_failed && buf.is_over_max);
    assert_holds(&buf, "ab");
    sq_buf_truncate(&buf, 1);
    assert_int_equal(sq_buf_check(&buf, NULL), SQ_OK);
    sq_buf_put_text(&buf, "xyz");
    assert_holds(&buf, "axyz");
    sq_buf_done(&buf);
}

static void lengths_near_the_top_of_size_t_do_not_wrap(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 1000);
    sq_buf_put_text(&buf, "abc");
    assert_false(sq_buf_reserve(&buf, SIZE_MAX));
    sq_buf_truncate(&buf, 3);
    assert_false(sq_buf_reserve(&buf, SIZE_MAX - 2));
    sq_buf_truncate(&buf, 3);
    assert_false(sq_buf_grow_for(&buf, SIZE_MAX - 3));
    sq_buf_truncate(&buf, 3);
    assert_holds(&buf, "abc");
    sq_buf_done(&buf);
}

/* A sanitizer's malloc() shall fail here like any other, not stop the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void memory_that_cannot_be_had_is_not_the_limit(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_error err;
    sq_buf_init(&buf, SIZE_MAX);
    /* More than any address space has. */
    assert_false(sq_buf_reserve(&buf, SIZE_MAX / 2));
    assert_int_equal(sq_buf_check(&buf, &err), SQ_NOMEM);
    sq_buf_truncate(&buf, 0);
    sq_buf_put_u8(&buf, 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);
    sq_buf_done(&buf);
}

static void shrinking_gives_back_only_what_is_empty(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 10000);
    assert_true(sq_buf_reserve(&buf, 5000));
    sq_buf_put_text(&buf, "x");
    sq_buf_shrink(&buf, 100);
    assert_true(buf.cap >= 5000);
    sq_buf_consume(&buf, 1);
    sq_buf_shrink(&buf, buf.cap);
    assert_true(buf.cap >= 5000);
    sq_buf_shrink(&buf, 100);
    assert_int_equal(buf.cap, 0);
    sq_buf_put_text(&buf, "y");
    assert_holds(&buf, "y");
    sq_buf_done(&buf);
}

static void bytes_written_directly_are_there(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 100);
    assert_true(sq_buf_reserve(&buf, 5));
    assert_true(sq_buf_room(&buf) >= 5);
    memcpy(sq_buf_tail(&buf), "12345", 5);
    sq_buf_produce(&buf, 3);
    assert_holds(&buf, "123");
    sq_buf_done(&buf);
}

/* A queue of numbered bytes: whatever comes out must have gone in in that order. */
static void a_long_walk_keeps_every_byte_in_order(void **state)
{
    (void)state;
    enum { WALK_STEPS = 20000, WALK_MAX = 3000 };
    struct sq_buf buf;
    uint8_t chunk[WALK_MAX];
    unsigned seed = 12345;
    uint8_t next_in = 0;
    uint8_t next_out = 0;
    size_t length = 0;
    sq_buf_init(&buf, WALK_MAX);
    for (int step = 0; step < WALK_STEPS; step++) {
        size_t count = (size_t)rand_r(&seed) % (step % 100 == 0 ? WALK_MAX : 200);
        if (rand_r(&seed) % 2 == 0) {
            for (size_t i = 0; i < count; i++)
                chunk[i] = (uint8_t)(next_in + i);
            sq_buf_put(&buf, chunk, count);
            bool fits = length + count <= WALK_MAX;
            assert_int_equal(buf.is_failed, !fits);
            if (fits) {
                next_in = (uint8_t)(next_in + count);
                length += count;
            } else {
                sq_buf_truncate(&buf, length);
            }
        } else {
            count = count < length ? count : length;
            for (size_t i = 0; i < count; i++)
                assert_int_equal(sq_buf_bytes(&buf)[i], next_out++);
            sq_buf_consume(&buf, count);
            length -= count;
        }
        assert_int_equal(sq_buf_length(&buf), length);
        assert_true(buf.start <= buf.end && buf.end <= buf.cap && buf.cap <= WALK_MAX);
    }
    sq_buf_done(&buf);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_is_empty_and_costs_nothing),
        cmocka_unit_test(numbers_go_out_in_network_order),
        cmocka_unit_test(texts_go_out_with_and_without_their_nul),
        cmocka_unit_test(printf_writes_texts_longer_than_its_first_guess),
        cmocka_unit_test(consumed_bytes_leave_from_the_front),
        cmocka_unit_test(the_limit_counts_unconsumed_bytes),
        cmocka_unit_test(a_failed_buffer_takes_nothing_until_it_is_truncated),
        cmocka_unit_test(lengths_near_the_top_of_size_t_do_not_wrap),
        cmocka_unit_test(memory_that_cannot_be_had_is_not_the_limit),
        cmocka_unit_test(shrinking_gives_back_only_what_is_empty),
        cmocka_unit_test(bytes_written_directly_are_there),
        cmocka_unit_test(a_long_walk_keeps_every_byte_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
