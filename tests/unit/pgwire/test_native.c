/* The codec of native mode (docs/protocol.md): what is written is read again, byte tables, and what is cut off. */
#include <math.h>

#include "codec_test.h"
#include "pgwire/native.h"

static struct sq_value integer_value(int64_t integer)
{
    return (struct sq_value){.kind = SQ_VALUE_INTEGER, .integer = integer};
}

static struct sq_value bytes_value(enum sq_value_kind kind, const char *data, size_t length)
{
    struct sq_value value = {.kind = kind};
    value.bytes.data = data;
    value.bytes.length = length;
    return value;
}

static void assert_same_value(const struct sq_value *first, const struct sq_value *second)
{
    assert_int_equal(first->kind, second->kind);
    switch (first->kind) {
    case SQ_VALUE_NULL:
        break;
    case SQ_VALUE_INTEGER:
        assert_true(first->integer == second->integer);
        break;
    case SQ_VALUE_REAL:
        assert_memory_equal(&first->real, &second->real, sizeof(double));
        break;
    case SQ_VALUE_TEXT:
    case SQ_VALUE_BLOB:
        assert_int_equal(first->bytes.length, second->bytes.length);
        assert_memory_equal(first->bytes.data, second->bytes.data, first->bytes.length);
        break;
    }
}

static void assert_bytes(const struct sq_buf *buf, const char *bytes, size_t length)
{
    assert_int_equal(sq_buf_length(buf), length);
    assert_memory_equal(sq_buf_bytes(buf), bytes, length);
}

static const struct {
    int64_t integer;
    const char *bytes;
    size_t length;
} integers[] = {
    {0, "\x11\0", 2},
    {-1, "\x11\xff", 2},
    {127, "\x11\x7f", 2},
    {-128, "\x11\x80", 2},
    {128, "\x12\0\x80", 3},
    {-32768, "\x12\x80\0", 3},
    {32768, "\x14\0\0\x80\0", 5},
    {INT32_MIN, "\x14\x80\0\0\0", 5},
    {INT64_C(2147483648), "\x18\0\0\0\0\x80\0\0\0", 9},
    {INT64_MAX, "\x18\x7f\xff\xff\xff\xff\xff\xff\xff", 9},
    {INT64_MIN, "\x18\x80\0\0\0\0\0\0\0", 9},
};

static void integers_take_as_few_bytes_as_hold_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        struct sq_buf buf;
        struct sq_value value = integer_value(integers[i].integer);
        struct sq_value back;
        sq_buf_init(&buf, 64);
        native_put_value(&buf, &value);
        assert_bytes(&buf, integers[i].bytes, integers[i].length);
        struct pgwire_cursor cursor = pgwire_cursor_make(sq_buf_bytes(&buf), sq_buf_length(&buf));
        native_get_value(&cursor, &back);
        assert_true(pgwire_cursor_is_done(&cursor));
        assert_same_value(&value, &back);
        sq_buf_done(&buf);
    }
}

/* Every value comes back as it was; a value that is cut off anywhere fails, and reads nothing behind its end. */
static void values_come_back_and_cut_ones_fail(void **state)
{
    (void)state;
    const struct sq_value values[] = {
        {.kind = SQ_VALUE_NULL},
        integer_value(77),
        integer_value(INT64_MIN),
        {.kind = SQ_VALUE_REAL, .real = -0.0},
        {.kind = SQ_VALUE_REAL, .real = INFINITY},
        bytes_value(SQ_VALUE_TEXT, "", 0),
        bytes_value(SQ_VALUE_TEXT, "a\0b", 3),
        bytes_value(SQ_VALUE_BLOB, "", 0),
        bytes_value(SQ_VALUE_BLOB, "\xff\0", 2),
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct sq_buf buf;
        struct sq_value back;
        sq_buf_init(&buf, 64);
        native_put_value(&buf, &values[i]);
        size_t length = sq_buf_length(&buf);
        for (size_t cut = 0; cut <= length; cut++) {
            struct guarded copy = guarded_copy(sq_buf_bytes(&buf), cut);
            struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, cut);
            native_get_value(&cursor, &back);
            assert_int_equal(pgwire_cursor_is_done(&cursor), cut == length);
            if (cut == length)
                assert_same_value(&values[i], &back);
            guarded_free(&copy);
        }
        sq_buf_done(&buf);
    }
}

static void rows_have_no_pointers_and_unknown_tags_fail(void **state)
{
    (void)state;
    for (unsigned tag = 0; tag < 256; tag++) {
        uint8_t bytes[32] = {(uint8_t)tag};
        struct pgwire_cursor cursor = pgwire_cursor_make(bytes, sizeof(bytes));
        struct sq_value value;
        native_get_value(&cursor, &value);
        bool is_known = tag == 0 || tag == 0x11 || tag == 0x12 || tag == 0x14 || tag == 0x18 || tag == 0x20 ||
                        tag == 0x30 || tag == 0x40;
        assert_int_equal(cursor.is_failed, !is_known);
        struct native_value any;
        cursor = pgwire_cursor_make(bytes, sizeof(bytes));
        native_get_any(&cursor, &any);
        assert_int_equal(cursor.is_failed, !is_known && tag != 0x50 && tag != 0x60 && tag != 0x80);
    }
}

static void what_parameters_have_beyond_values_comes_back(void **state)
{
    (void)state;
    const struct native_value values[] = {
        {.kind = NATIVE_VALUE_ZEROBLOB, .number = UINT64_C(1) << 40},
        {.kind = NATIVE_VALUE_POINTER, .number = UINT64_MAX},
        {.value = bytes_value(SQ_VALUE_TEXT, "x", 1), .has_subtype = true, .subtype = 74},
        {.kind = NATIVE_VALUE_POINTER, .number = 1, .has_subtype = true, .subtype = UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct sq_buf buf;
        struct native_value back;
        sq_buf_init(&buf, 64);
        native_put_any(&buf, &values[i]);
        for (size_t cut = 0; cut <= sq_buf_length(&buf); cut++) {
            struct guarded copy = guarded_copy(sq_buf_bytes(&buf), cut);
            struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, cut);
            native_get_any(&cursor, &back);
            assert_int_equal(pgwire_cursor_is_done(&cursor), cut == sq_buf_length(&buf));
            guarded_free(&copy);
        }
        assert_int_equal(back.kind, values[i].kind);
        assert_true(back.number == values[i].number && back.subtype == values[i].subtype);
        assert_int_equal(back.has_subtype, values[i].has_subtype);
        sq_buf_done(&buf);
    }
}

static void a_subtype_of_a_subtype_is_nonsense(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x80, 0, 0, 0, 1, 0x80, 0, 0, 0, 1, 0};
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, sizeof(bytes));
    struct native_value value;
    native_get_any(&cursor, &value);
    assert_true(cursor.is_failed);
}

static void texts_may_be_null_or_empty(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 64);
    native_put_text(&buf, NULL);
    native_put_text(&buf, "");
    native_put_text(&buf, "ab");
    assert_bytes(&buf, "\xff\xff\xff\xff\0\0\0\0\0\0\0\2ab", 14);
    struct pgwire_cursor cursor = pgwire_cursor_make(sq_buf_bytes(&buf), sq_buf_length(&buf));
    assert_null(native_get_bytes(&cursor).data);
    struct pgwire_bytes empty = native_get_bytes(&cursor);
    assert_non_null(empty.data);
    assert_int_equal(empty.length, 0);
    assert_int_equal(native_get_bytes(&cursor).length, 2);
    assert_true(pgwire_cursor_is_done(&cursor));
    /* A length that lies. */
    cursor = pgwire_cursor_make((const uint8_t *)"\xff\xff\xff\xfe", 4);
    assert_null(native_get_bytes(&cursor).data);
    assert_true(cursor.is_failed);
    sq_buf_done(&buf);
}

static void heads_of_answers_have_the_bytes_of_the_page(void **state)
{
    (void)state;
    const struct native_answer answer = {.result = 1555,
                                         .is_autocommit = true,
                                         .has_error = true,
                                         .has_facts = true,
                                         .txn_state = 2,
                                         .changes = 3,
                                         .total_changes = 4,
                                         .last_insert_rowid = -5,
                                         .generation = 6,
                                         .error_offset = -1,
                                         .message = {(const uint8_t *)"no", 2}};
    static const char bytes[] = "\0\0\6\x13\7\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\xff\xff\xff\xff\xff\xff\xff\xfb"
                                "\0\0\0\0\0\0\0\6\xff\xff\xff\xff\0\0\0\2no";
    struct sq_buf buf;
    sq_buf_init(&buf, 128);
    native_put_answer(&buf, &answer);
    assert_bytes(&buf, bytes, sizeof(bytes) - 1);
    assert_int_equal(sq_buf_length(&buf), NATIVE_ANSWER_HEAD_BYTES + 4 + 4 + 2);
    struct native_answer back;
    for (size_t cut = 0; cut <= sq_buf_length(&buf); cut++) {
        struct guarded copy = guarded_copy(sq_buf_bytes(&buf), cut);
        struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, cut);
        native_get_answer(&cursor, &back);
        assert_int_equal(pgwire_cursor_is_done(&cursor), cut == sq_buf_length(&buf));
        guarded_free(&copy);
    }
    assert_int_equal(back.result, 1555);
    assert_true(back.is_autocommit && back.has_error && back.has_facts);
    assert_true(back.last_insert_rowid == -5 && back.generation == 6 && back.total_changes == 4);
    assert_int_equal(back.error_offset, -1);
    sq_buf_done(&buf);
}

static void facts_come_back_bit_by_bit(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 128; bits++) {
        const struct native_facts facts = {
            .consumed = 1000 + bits,
            .has_statement = (bits & 1) != 0,
            .is_readonly = (bits & 2) != 0,
            .explain = (bits >> 2) & 3,
            .may_call = (bits & 16) != 0,
            .is_attach = (bits & 32) != 0,
            .is_volatile = (bits & 64) != 0,
        };
        struct sq_buf buf;
        struct native_facts back;
        sq_buf_init(&buf, 64);
        native_put_facts(&buf, &facts);
        assert_int_equal(sq_buf_length(&buf), 5);
        assert_int_equal(sq_buf_bytes(&buf)[4], bits);
        struct pgwire_cursor cursor = pgwire_cursor_make(sq_buf_bytes(&buf), sq_buf_length(&buf));
        native_get_facts(&cursor, &back);
        assert_true(pgwire_cursor_is_done(&cursor));
        assert_int_equal(back.consumed, facts.consumed);
        assert_int_equal(back.has_statement, facts.has_statement);
        assert_int_equal(back.is_readonly, facts.is_readonly);
        assert_int_equal(back.explain, facts.explain);
        assert_int_equal(back.may_call, facts.may_call);
        assert_int_equal(back.is_attach, facts.is_attach);
        assert_int_equal(back.is_volatile, facts.is_volatile);
        sq_buf_done(&buf);
    }
}

static void columns_have_five_texts(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct native_column column;
    sq_buf_init(&buf, 64);
    native_put_text(&buf, "name");
    native_put_text(&buf, NULL);
    native_put_text(&buf, "main");
    native_put_text(&buf, "t");
    native_put_text(&buf, "origin");
    struct pgwire_cursor cursor = pgwire_cursor_make(sq_buf_bytes(&buf), sq_buf_length(&buf));
    native_get_column(&cursor, &column);
    assert_true(pgwire_cursor_is_done(&cursor));
    assert_memory_equal(column.name.data, "name", 4);
    assert_null(column.declared_type.data);
    assert_memory_equal(column.origin.data, "origin", 6);
    cursor = pgwire_cursor_make(sq_buf_bytes(&buf), sq_buf_length(&buf) - 1);
    native_get_column(&cursor, &column);
    assert_true(cursor.is_failed);
    sq_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_as_few_bytes_as_hold_them),
        cmocka_unit_test(values_come_back_and_cut_ones_fail),
        cmocka_unit_test(rows_have_no_pointers_and_unknown_tags_fail),
        cmocka_unit_test(what_parameters_have_beyond_values_comes_back),
        cmocka_unit_test(a_subtype_of_a_subtype_is_nonsense),
        cmocka_unit_test(texts_may_be_null_or_empty),
        cmocka_unit_test(heads_of_answers_have_the_bytes_of_the_page),
        cmocka_unit_test(facts_come_back_bit_by_bit),
        cmocka_unit_test(columns_have_five_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
