/* The codec of METHOD calls (docs/protocol.md, "Virtual tables"): what is written is read again, byte tables, and what is cut
 * off or makes no sense. */
#include "codec_test.h"
#include "pgwire/native_table.h"

/* Reads whatever the part is, into nothing. */
typedef void reader(struct pgwire_cursor *cursor);

static void read_given(struct pgwire_cursor *cursor)
{
    struct native_given given;
    native_get_given(cursor, &given);
}
static void read_wishes(struct pgwire_cursor *cursor)
{
    struct native_wish wishes[NATIVE_WISHES_MAX];
    size_t count;
    native_get_wishes(cursor, wishes, &count);
}
static void read_constraint(struct pgwire_cursor *cursor)
{
    struct native_constraint constraint;
    native_get_constraint(cursor, &constraint);
}
static void read_plan(struct pgwire_cursor *cursor)
{
    struct native_plan plan;
    native_get_plan(cursor, &plan);
}
static void read_order(struct pgwire_cursor *cursor)
{
    struct native_order order;
    native_get_order(cursor, &order);
}
static void read_usage(struct pgwire_cursor *cursor)
{
    struct native_usage usage;
    native_get_usage(cursor, &usage);
}
static void read_choice(struct pgwire_cursor *cursor)
{
    struct native_choice choice;
    native_get_choice(cursor, &choice);
}
static void read_argument(struct pgwire_cursor *cursor)
{
    struct native_value value;
    native_get_argument(cursor, &value);
}

/* The buffer holds these bytes, and fails to be read wherever it is cut. */
static void assert_part(struct sq_buf *buf, const char *bytes, size_t length, reader *read_cb)
{
    assert_false(buf->is_failed);
    assert_int_equal(sq_buf_length(buf), length);
    assert_memory_equal(sq_buf_bytes(buf), bytes, length);
    for (size_t cut = 0; cut <= length; cut++) {
        struct guarded copy = guarded_copy(sq_buf_bytes(buf), cut);
        struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, cut);
        read_cb(&cursor);
        assert_int_equal(pgwire_cursor_is_done(&cursor), cut == length);
        guarded_free(&copy);
    }
}

static struct pgwire_cursor cursor_on(const struct sq_buf *buf)
{
    return pgwire_cursor_make(sq_buf_bytes(buf), sq_buf_length(buf));
}

static void assert_nonsense(const char *bytes, size_t length, reader *read_cb)
{
    struct guarded copy = guarded_copy((const uint8_t *)bytes, length);
    struct pgwire_cursor cursor = pgwire_cursor_make(copy.bytes, length);
    read_cb(&cursor);
    assert_true(cursor.is_failed);
    guarded_free(&copy);
}

static void what_arguments_have_beyond_values_comes_back(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct native_value value;
    sq_buf_init(&buf, 256);
    const struct native_value bound = {
        .value = {.kind = SQ_VALUE_INTEGER, .integer = 5}, .is_bound = true, .has_subtype = true, .subtype = 74};
    native_put_any(&buf, &bound);
    assert_part(&buf, "\x90\x80\0\0\0\x4a\x11\5", 8, read_argument);
    struct pgwire_cursor cursor = cursor_on(&buf);
    native_get_argument(&cursor, &value);
    assert_true(value.is_bound && value.has_subtype && value.subtype == 74 && value.value.integer == 5);
    cursor = cursor_on(&buf);
    native_get_any(&cursor, &value); /* no result or parameter */
    assert_true(cursor.is_failed);

    sq_buf_truncate(&buf, 0);
    native_put_any(&buf, &(struct native_value){.kind = NATIVE_VALUE_UNCHANGED});
    assert_part(&buf, "\x70", 1, read_argument);
    cursor = cursor_on(&buf);
    native_get_any(&cursor, &value);
    assert_true(cursor.is_failed);

    sq_buf_truncate(&buf, 0);
    size_t offset = native_list_begin(&buf);
    native_put_any(&buf, &(struct native_value){.value = {.kind = SQ_VALUE_NULL}});
    native_put_any(&buf, &(struct native_value){.value = {.kind = SQ_VALUE_INTEGER, .integer = 1}});
    native_list_end(&buf, offset, 2);
    assert_part(&buf, "\xa0\0\0\0\2\0\0\0\3\0\x11\1", 12, read_argument);
    cursor = cursor_on(&buf);
    native_get_argument(&cursor, &value);
    assert_int_equal(value.kind, NATIVE_VALUE_LIST);
    assert_int_equal(value.number, 2);
    assert_int_equal(value.value.bytes.length, 3);
    struct sq_buf again;
    sq_buf_init(&again, 256);
    native_put_any(&again, &value);
    assert_int_equal(sq_buf_length(&again), sq_buf_length(&buf));
    assert_memory_equal(sq_buf_bytes(&again), sq_buf_bytes(&buf), sq_buf_length(&buf));
    sq_buf_done(&again);
    sq_buf_done(&buf);
    assert_nonsense("\x90\x90\0", 3, read_argument);
}

static void what_a_column_gives_comes_back(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct native_given back;
    sq_buf_init(&buf, 256);
    struct native_given given = {.head = {.result = 1, .message = {(const uint8_t *)"no", 2}}};
    native_put_given(&buf, &given);
    assert_part(&buf, "\0\0\0\1\0\0\0\2no\0", 11, read_given);
    assert_true(native_given_is_failure(&given));

    sq_buf_truncate(&buf, 0);
    given = (struct native_given){.kind = NATIVE_GIVEN_VALUE, .value = {.value = {.kind = SQ_VALUE_NULL}}};
    native_put_given(&buf, &given);
    assert_part(&buf, "\0\0\0\0\xff\xff\xff\xff\1\0", 10, read_given);
    assert_false(native_given_is_failure(&given));

    sq_buf_truncate(&buf, 0);
    given = (struct native_given){.kind = NATIVE_GIVEN_ERROR, .code = 19, .message = {(const uint8_t *)"x", 1}};
    native_put_given(&buf, &given);
    assert_part(&buf, "\0\0\0\0\xff\xff\xff\xff\2\0\0\0\x13\0\0\0\1x", 18, read_given);
    assert_true(native_given_is_failure(&given));
    struct pgwire_cursor cursor = cursor_on(&buf);
    native_get_given(&cursor, &back);
    assert_int_equal(back.code, 19);
    assert_int_equal(back.message.length, 1);
    assert_nonsense("\0\0\0\0\xff\xff\xff\xff\3", 9, read_given);
    sq_buf_done(&buf);
}

static void wishes_are_as_many_as_there_may_be(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct native_wish wishes[NATIVE_WISHES_MAX] = {{NATIVE_ROWID, false}, {7, true}};
    struct native_wish back[NATIVE_WISHES_MAX];
    size_t count;
    sq_buf_init(&buf, 1024);
    native_put_wishes(&buf, wishes, 2);
    assert_part(&buf, "\0\2\xff\xff\xff\xff\0\0\0\0\7\1", 12, read_wishes);
    struct pgwire_cursor cursor = cursor_on(&buf);
    native_get_wishes(&cursor, back, &count);
    assert_int_equal(count, 2);
    assert_int_equal(back[0].column, NATIVE_ROWID);
    assert_true(back[1].column == 7 && back[1].is_for_update);
    sq_buf_truncate(&buf, 0);
    native_put_wishes(&buf, wishes, NATIVE_WISHES_MAX);
    cursor = cursor_on(&buf);
    native_get_wishes(&cursor, back, &count);
    assert_true(pgwire_cursor_is_done(&cursor) && count == NATIVE_WISHES_MAX);
    sq_buf_bytes(&buf)[1] = NATIVE_WISHES_MAX + 1;
    sq_buf_put_u32(&buf, 0);
    sq_buf_put_u8(&buf, 0);
    cursor = cursor_on(&buf);
    native_get_wishes(&cursor, back, &count);
    assert_true(cursor.is_failed && count == 0);
    assert_nonsense("\0\1\0\0\0\0\2", 7, read_wishes);
    sq_buf_done(&buf);
}

static void plans_have_the_bytes_of_the_page(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, 256);
    const struct native_plan plan = {.columns_used = 5, .distinct = 2, .wants_text = true, .cost = 1.5, .rows = 25};
    native_put_plan(&buf, &plan);
    assert_part(&buf, "\0\0\0\0\0\0\0\5\2\1\x3f\xf8\0\0\0\0\0\0\0\0\0\0\0\0\0\x19", 26, read_plan);
    struct pgwire_cursor cursor = cursor_on(&buf);
    struct native_plan same;
    native_get_plan(&cursor, &same);
    assert_true(same.cost == 1.5 && same.rows == 25 && same.wants_text && same.columns_used == 5);

    sq_buf_truncate(&buf, 0);
    const struct native_constraint constraint = {.column = -1,
                                                 .op = 2,
                                                 .is_usable = true,
                                                 .may_be_list = true,
                                                 .has_value = true,
                                                 .term_offset = 3,
                                                 .collation = {(const uint8_t *)"BINARY", 6},
                                                 .value = {.value = {.kind = SQ_VALUE_INTEGER, .integer = 9}}};
    native_put_constraint(&buf, &constraint);
    assert_part(&buf, "\xff\xff\xff\xff\2\7\0\0\0\3\0\0\0\6BINARY\x11\x9", 22, read_constraint);
    assert_nonsense("\0\0\0\0\2\x8\0\0\0\0\xff\xff\xff\xff", 14, read_constraint);

    sq_buf_truncate(&buf, 0);
    native_put_order(&buf, &(struct native_order){4, true});
    assert_part(&buf, "\0\0\0\4\1", 5, read_order);
    assert_nonsense("\0\0\0\4\2", 5, read_order);
    sq_buf_done(&buf);
}

static void choices_have_the_bytes_of_the_page(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct native_choice back;
    sq_buf_init(&buf, 256);
    native_put_usage(&buf, &(struct native_usage){.argument = 1, .is_omitted = true, .is_list = true});
    assert_part(&buf, "\0\0\0\1\3", 5, read_usage);
    assert_nonsense("\0\0\0\1\4", 5, read_usage);

    sq_buf_truncate(&buf, 0);
    struct native_choice choice = {
        .index = {.number = -2, .kind = NATIVE_INDEX_BYTES, .bytes = {(const uint8_t *)"i\0", 2}},
        .text = {(const uint8_t *)"i", 1},
        .is_ordered = true,
        .cost = 2,
        .rows = 3,
        .flags = 1};
    native_put_choice(&buf, &choice);
    assert_part(&buf, "\xff\xff\xff\xfe\1\0\0\0\2i\0\0\0\0\1i\1\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0\1", 37,
                read_choice);
    struct pgwire_cursor cursor = cursor_on(&buf);
    native_get_choice(&cursor, &back);
    assert_true(back.index.number == -2 && back.cost == 2 && back.rows == 3 && back.is_ordered && back.flags == 1);

    sq_buf_truncate(&buf, 0);
    choice = (struct native_choice){.index = {.kind = NATIVE_INDEX_NUMBER, .pointer = 8}};
    native_put_choice(&buf, &choice);
    cursor = cursor_on(&buf);
    native_get_choice(&cursor, &back);
    assert_true(pgwire_cursor_is_done(&cursor) && back.index.kind == NATIVE_INDEX_NUMBER && back.index.pointer == 8);
    assert_null(back.text.data);
    assert_nonsense("\0\0\0\0\3", 5, read_choice);
    assert_nonsense("\0\0\0\0\1\xff\xff\xff\xff", 9, read_choice);
    sq_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_arguments_have_beyond_values_comes_back),
        cmocka_unit_test(what_a_column_gives_comes_back),
        cmocka_unit_test(wishes_are_as_many_as_there_may_be),
        cmocka_unit_test(plans_have_the_bytes_of_the_page),
        cmocka_unit_test(choices_have_the_bytes_of_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
