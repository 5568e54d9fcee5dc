/* The bounded cursor, and what a writer does when something does not fit. */
#include "codec_test.h"

static void integers_are_big_endian(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, sizeof(bytes));
    assert_int_equal(pgwire_get_u8(&cursor), 0x01);
    assert_int_equal(pgwire_get_u16(&cursor), 0x0203);
    assert_int_equal(pgwire_get_u32(&cursor), 0x04050607);
    assert_true(pgwire_get_u64(&cursor) == 0x08090a0b0c0d0e0f);
    assert_true(pgwire_cursor_is_done(&cursor));
}

static void a_read_too_far_fails_for_good(void **state)
{
    (void)state;
    struct guarded copy = guarded_copy("\1\2\3", 3);
    for (size_t width = 4; width <= 8; width += 4) {
        struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, 3);
        assert_true((width == 4 ? pgwire_get_u32(&cursor) : pgwire_get_u64(&cursor)) == 0);
        assert_true(cursor.is_failed);
        assert_int_equal(pgwire_get_u8(&cursor), 0); /* although there was one byte */
        assert_null(pgwire_get_bytes(&cursor, 0));
        assert_int_equal(pgwire_get_cstr(&cursor).length, 0);
        assert_int_equal(pgwire_get_rest(&cursor).length, 0);
        assert_false(pgwire_cursor_is_done(&cursor));
    }
    struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, 3);
    assert_null(pgwire_get_bytes(&cursor, SIZE_MAX));
    assert_true(cursor.is_failed);
    cursor = pgwire_cursor_make(copy.bytes + 2, 1);
    assert_int_equal(pgwire_get_u16(&cursor), 0);
    assert_true(cursor.is_failed);
    guarded_free(&copy);
}

static void texts_need_their_nul(void **state)
{
    (void)state;
    struct guarded copy = guarded_copy("ab\0\0cd", 6);
    struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, 6);
    struct pgwire_text text = pgwire_get_cstr(&cursor);
    assert_string_equal(text.data, "ab");
    assert_int_equal(text.length, 2);
    assert_int_equal(pgwire_get_cstr(&cursor).length, 0);
    assert_false(cursor.is_failed);
    text = pgwire_get_cstr(&cursor);
    assert_true(cursor.is_failed);
    assert_string_equal(text.data, "");
    guarded_free(&copy);

    cursor = pgwire_cursor_make(NULL, 0);
    assert_true(pgwire_cursor_is_done(&cursor));
    pgwire_get_cstr(&cursor);
    assert_true(cursor.is_failed);
}

static void bytes_of_no_length_are_no_failure(void **state)
{
    (void)state;
    static const uint8_t bytes[1] = {7};
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, 1);
    assert_ptr_equal(pgwire_get_bytes(&cursor, 0), bytes);
    struct pgwire_bytes rest = pgwire_get_rest(&cursor);
    assert_ptr_equal(rest.data, bytes);
    assert_int_equal(rest.length, 1);
    assert_non_null(pgwire_get_bytes(&cursor, 0));
    assert_true(pgwire_cursor_is_done(&cursor));
}

static void a_failed_writer_is_undone_by_truncating(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_error err;
    sq_buf_init(&buf, 16);
    pgwire_put_bind_complete(&buf);
    size_t before = sq_buf_length(&buf);
    size_t row = pgwire_put_data_row_begin(&buf, 1);
    size_t value = pgwire_value_begin(&buf); /* 5 + 7 + 4 bytes: full */
    sq_buf_put_text(&buf, "x");
    pgwire_value_end(&buf, value);
    pgwire_end(&buf, row);
    pgwire_put_ready_for_query(&buf, PGWIRE_TRANSACTION_IDLE);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_truncate(&buf, before);
    pgwire_put_ready_for_query(&buf, PGWIRE_TRANSACTION_FAILED);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);
    assert_int_equal(sq_buf_length(&buf), 11);
    assert_memory_equal(sq_buf_bytes(&buf), "2\0\0\0\4Z\0\0\0\5E", 11);
    sq_buf_done(&buf);
}

/* A buffer over `bytes` of address space that is never touched, so that lengths above 2 GiB cost no memory. */
static struct sq_buf huge_buf(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
    return (struct sq_buf){.data = memory, .cap = bytes, .max = bytes};
}

static void lengths_above_int32_fail_the_buffer(void **state)
{
    (void)state;
    const size_t bytes = (size_t)5 << 30;
    struct sq_error err;
    struct sq_buf buf = huge_buf(bytes);

    size_t message = pgwire_begin(&buf, PGWIRE_COPY_DATA); /* the longest that int32 can say */
    sq_buf_produce(&buf, (size_t)INT32_MAX - 4);
    pgwire_end(&buf, message);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);
    assert_memory_equal(sq_buf_bytes(&buf), "d\x7f\xff\xff\xff", 5);
    sq_buf_produce(&buf, 1); /* and one byte more */
    pgwire_end(&buf, message);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);

    sq_buf_truncate(&buf, 0); /* a length that would wrap to a small number */
    message = pgwire_begin(&buf, PGWIRE_COPY_DATA);
    sq_buf_produce(&buf, (size_t)UINT32_MAX + 9);
    pgwire_end(&buf, message);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);

    sq_buf_truncate(&buf, 0);
    size_t value = pgwire_value_begin(&buf);
    sq_buf_produce(&buf, INT32_MAX);
    pgwire_value_end(&buf, value);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);
    assert_memory_equal(sq_buf_bytes(&buf), "\x7f\xff\xff\xff", 4);
    sq_buf_produce(&buf, 1);
    pgwire_value_end(&buf, value);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);

    sq_buf_truncate(&buf, 0); /* refused before a byte is read */
    pgwire_put_value(&buf, NULL, (size_t)INT32_MAX + 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_truncate(&buf, 0);
    pgwire_put_copy_data(&buf, NULL, (size_t)INT32_MAX - 3);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    assert_int_equal(sq_buf_length(&buf), 0);
    assert_int_equal(munmap(buf.data, bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_big_endian),
        cmocka_unit_test(a_read_too_far_fails_for_good),
        cmocka_unit_test(texts_need_their_nul),
        cmocka_unit_test(bytes_of_no_length_are_no_failure),
        cmocka_unit_test(a_failed_writer_is_undone_by_truncating),
        cmocka_unit_test(lengths_above_int32_fail_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
