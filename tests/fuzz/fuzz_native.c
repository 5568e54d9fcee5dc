/* tests/fuzz/fuzz_native.c: any bytes as the parts of native mode's messages that carry virtual tables and arguments
 * (docs/protocol.md, "Virtual tables"). The first byte says which part. For what a reader accepts:
 *   1. no byte outside is touched (the sanitizers see to that), no assertion fails;
 *   2. it can be written, and writing gives the same bytes again, except where a number may take more bytes than it needs;
 *   3. what was written can be read, and written again gives the same.
 * Seeds: tests/fuzz/corpus/native/. */
#include <stdint.h>
#include <string.h>

#include "pgwire/native_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_BYTES_MAX = 1 << 16, OUT_BYTES_MAX = 1 << 18 };

typedef void recode(struct pgwire_cursor *cursor, struct sq_buf *out);

static void recode_argument(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_value value;
    native_get_argument(cursor, &value);
    if (!cursor->is_failed)
        native_put_any(out, &value);
    /* The values of a list, as the client reads them. */
    if (cursor->is_failed || value.kind != NATIVE_VALUE_LIST)
        return;
    struct pgwire_cursor list = pgwire_cursor_make((const uint8_t *)value.value.bytes.data, value.value.bytes.length);
    for (uint64_t left = value.number; left > 0 && !list.is_failed; left--)
        native_get_argument(&list, &value);
}

static void recode_given(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_given given;
    native_get_given(cursor, &given);
    if (!cursor->is_failed)
        native_put_given(out, &given);
}

static void recode_wishes(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_wish wishes[NATIVE_WISHES_MAX];
    size_t count;
    native_get_wishes(cursor, wishes, &count);
    if (!cursor->is_failed)
        native_put_wishes(out, wishes, count);
}

static void recode_constraint(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_constraint constraint;
    native_get_constraint(cursor, &constraint);
    if (!cursor->is_failed)
        native_put_constraint(out, &constraint);
}

static void recode_plan(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_plan plan;
    native_get_plan(cursor, &plan);
    if (!cursor->is_failed)
        native_put_plan(out, &plan);
}

static void recode_order(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_order order;
    native_get_order(cursor, &order);
    if (!cursor->is_failed)
        native_put_order(out, &order);
}

static void recode_usage(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_usage usage;
    native_get_usage(cursor, &usage);
    if (!cursor->is_failed)
        native_put_usage(out, &usage);
}

static void recode_choice(struct pgwire_cursor *cursor, struct sq_buf *out)
{
    struct native_choice choice;
    native_get_choice(cursor, &choice);
    if (!cursor->is_failed)
        native_put_choice(out, &choice);
}

static const struct {
    recode *recode_cb;
    bool is_exact; /* it holds no integer that could be written shorter */
} parts[] = {
    {recode_argument, false}, {recode_given, false}, {recode_wishes, true}, {recode_constraint, false},
    {recode_plan, true},      {recode_order, true},  {recode_usage, true},  {recode_choice, true},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_BYTES_MAX)
        return 0;
    size_t part = data[0] % (sizeof(parts) / sizeof(parts[0]));
    struct pgwire_cursor cursor = pgwire_cursor_make(data + 1, size - 1);
    struct sq_buf first, second;
    sq_buf_init(&first, OUT_BYTES_MAX);
    sq_buf_init(&second, OUT_BYTES_MAX);
    parts[part].recode_cb(&cursor, &first);
    if (!cursor.is_failed) {
        size_t used = size - 1 - cursor.left;
        sq_assert(!first.is_failed && sq_buf_length(&first) <= used);
        if (parts[part].is_exact)
            sq_assert(sq_buf_length(&first) == used && memcmp(sq_buf_bytes(&first), data + 1, used) == 0);
        struct pgwire_cursor again = pgwire_cursor_make(sq_buf_bytes(&first), sq_buf_length(&first));
        parts[part].recode_cb(&again, &second);
        sq_assert(pgwire_cursor_is_done(&again) && sq_buf_length(&second) == sq_buf_length(&first));
        sq_assert(memcmp(sq_buf_bytes(&first), sq_buf_bytes(&second), sq_buf_length(&first)) == 0);
    }
    sq_buf_done(&first);
    sq_buf_done(&second);
    return 0;
}
