/* pgwire/native_table.c: the parts of METHOD calls; the layouts are in docs/protocol.md, "Virtual tables". */
#include "pgwire/native_table.h"

#include <string.h>

static void put_real(struct sq_buf *buf, double real)
{
    uint64_t bits;
    _Static_assert(sizeof(bits) == sizeof(real), "IEEE 754 double");
    memcpy(&bits, &real, sizeof(bits));
    sq_buf_put_u64(buf, bits);
}

static double get_real(struct pgwire_cursor *cursor)
{
    uint64_t bits = pgwire_get_u64(cursor);
    double real;
    memcpy(&real, &bits, sizeof(real));
    return real;
}

/* A byte that is 0 or 1. */
static bool get_flag(struct pgwire_cursor *cursor)
{
    uint8_t byte = pgwire_get_u8(cursor);
    if (byte > 1)
        pgwire_cursor_fail(cursor);
    return byte == 1;
}

/* --- Answers --- */

void native_put_head(struct sq_buf *buf, int32_t result, const char *message)
{
    sq_buf_put_u32(buf, (uint32_t)result);
    native_put_text(buf, message);
}

void native_get_head(struct pgwire_cursor *cursor, struct native_head *ret_head)
{
    ret_head->result = (int32_t)pgwire_get_u32(cursor);
    ret_head->message = native_get_bytes(cursor);
}

void native_put_given(struct sq_buf *buf, const struct native_given *given)
{
    sq_buf_put_u32(buf, (uint32_t)given->head.result);
    native_put_bytes(buf, given->head.message.data, given->head.message.length);
    sq_buf_put_u8(buf, (uint8_t)given->kind);
    if (given->kind == NATIVE_GIVEN_VALUE) {
        native_put_any(buf, &given->value);
    } else if (given->kind == NATIVE_GIVEN_ERROR) {
        sq_buf_put_u32(buf, (uint32_t)given->code);
        native_put_bytes(buf, given->message.data, given->message.length);
    }
}

void native_get_given(struct pgwire_cursor *cursor, struct native_given *ret_given)
{
    *ret_given = (struct native_given){.kind = NATIVE_GIVEN_NOTHING};
    native_get_head(cursor, &ret_given->head);
    native_get_gift(cursor, ret_given);
}

void native_get_gift(struct pgwire_cursor *cursor, struct native_given *ret_given)
{
    switch (pgwire_get_u8(cursor)) {
    case NATIVE_GIVEN_NOTHING:
        break;
    case NATIVE_GIVEN_VALUE:
        ret_given->kind = NATIVE_GIVEN_VALUE;
        native_get_any(cursor, &ret_given->value);
        break;
    case NATIVE_GIVEN_ERROR:
        ret_given->kind = NATIVE_GIVEN_ERROR;
        ret_given->code = (int32_t)pgwire_get_u32(cursor);
        ret_given->message = native_get_bytes(cursor);
        break;
    default:
        pgwire_cursor_fail(cursor);
        break;
    }
}

/* --- Wishes --- */

void native_put_wishes(struct sq_buf *buf, const struct native_wish *wishes, size_t count)
{
    sq_assert(count <= NATIVE_WISHES_MAX);
    sq_buf_put_u16(buf, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        sq_buf_put_u32(buf, (uint32_t)wishes[i].column);
        sq_buf_put_u8(buf, wishes[i].is_for_update);
    }
}

void native_get_wishes(struct pgwire_cursor *cursor, struct native_wish *wishes, size_t *ret_count)
{
    size_t count = pgwire_get_u16(cursor);
    if (count > NATIVE_WISHES_MAX)
        pgwire_cursor_fail(cursor);
    for (size_t i = 0; i < count && !cursor->is_failed; i++) {
        wishes[i].column = (int32_t)pgwire_get_u32(cursor);
        wishes[i].is_for_update = get_flag(cursor);
    }
    *ret_count = cursor->is_failed ? 0 : count;
}

/* --- BEST_INDEX --- */

enum { CONSTRAINT_USABLE = 1, CONSTRAINT_LIST = 2, CONSTRAINT_VALUE = 4, CONSTRAINT_ALL = 7 };

void native_put_constraint(struct sq_buf *buf, const struct native_constraint *constraint)
{
    sq_buf_put_u32(buf, (uint32_t)constraint->column);
    sq_buf_put_u8(buf, constraint->op);
    sq_buf_put_u8(buf, (uint8_t)((constraint->is_usable ? CONSTRAINT_USABLE : 0) |
                                 (constraint->may_be_list ? CONSTRAINT_LIST : 0) |
                                 (constraint->has_value ? CONSTRAINT_VALUE : 0)));
    sq_buf_put_u32(buf, (uint32_t)constraint->term_offset);
    native_put_bytes(buf, constraint->collation.data, constraint->collation.length);
    if (constraint->has_value)
        native_put_any(buf, &constraint->value);
}

void native_get_constraint(struct pgwire_cursor *cursor, struct native_constraint *ret_constraint)
{
    *ret_constraint = (struct native_constraint){.column = (int32_t)pgwire_get_u32(cursor)};
    ret_constraint->op = pgwire_get_u8(cursor);
    uint8_t bits = pgwire_get_u8(cursor);
    if ((bits & ~CONSTRAINT_ALL) != 0)
        pgwire_cursor_fail(cursor);
    ret_constraint->is_usable = (bits & CONSTRAINT_USABLE) != 0;
    ret_constraint->may_be_list = (bits & CONSTRAINT_LIST) != 0;
    ret_constraint->has_value = (bits & CONSTRAINT_VALUE) != 0;
    ret_constraint->term_offset = (int32_t)pgwire_get_u32(cursor);
    ret_constraint->collation = native_get_bytes(cursor);
    if (ret_constraint->has_value)
        native_get_argument(cursor, &ret_constraint->value);
}

void native_put_order(struct sq_buf *buf, const struct native_order *order)
{
    sq_buf_put_u32(buf, (uint32_t)order->column);
    sq_buf_put_u8(buf, order->is_descending);
}

void native_get_order(struct pgwire_cursor *cursor, struct native_order *ret_order)
{
    ret_order->column = (int32_t)pgwire_get_u32(cursor);
    ret_order->is_descending = get_flag(cursor);
}

void native_put_plan(struct sq_buf *buf, const struct native_plan *plan)
{
    sq_buf_put_u64(buf, plan->columns_used);
    sq_buf_put_u8(buf, plan->distinct);
    sq_buf_put_u8(buf, plan->wants_text);
    put_real(buf, plan->cost);
    sq_buf_put_u64(buf, (uint64_t)plan->rows);
}

void native_get_plan(struct pgwire_cursor *cursor, struct native_plan *ret_plan)
{
    ret_plan->columns_used = pgwire_get_u64(cursor);
    ret_plan->distinct = pgwire_get_u8(cursor);
    ret_plan->wants_text = get_flag(cursor);
    ret_plan->cost = get_real(cursor);
    ret_plan->rows = (int64_t)pgwire_get_u64(cursor);
}

void native_put_index(struct sq_buf *buf, const struct native_index *index)
{
    sq_buf_put_u32(buf, (uint32_t)index->number);
    sq_buf_put_u8(buf, (uint8_t)index->kind);
    if (index->kind == NATIVE_INDEX_BYTES)
        native_put_bytes(buf, index->bytes.data, index->bytes.length);
    else if (index->kind == NATIVE_INDEX_NUMBER)
        sq_buf_put_u64(buf, index->pointer);
}

void native_get_index(struct pgwire_cursor *cursor, struct native_index *ret_index)
{
    *ret_index = (struct native_index){.number = (int32_t)pgwire_get_u32(cursor)};
    switch (pgwire_get_u8(cursor)) {
    case NATIVE_INDEX_NULL:
        break;
    case NATIVE_INDEX_BYTES:
        ret_index->kind = NATIVE_INDEX_BYTES;
        ret_index->bytes = native_get_bytes(cursor);
        if (ret_index->bytes.data == NULL)
            pgwire_cursor_fail(cursor);
        break;
    case NATIVE_INDEX_NUMBER:
        ret_index->kind = NATIVE_INDEX_NUMBER;
        ret_index->pointer = pgwire_get_u64(cursor);
        break;
    default:
        pgwire_cursor_fail(cursor);
        break;
    }
}

enum { USAGE_OMITTED = 1, USAGE_LIST = 2, USAGE_ALL = 3 };

void native_put_usage(struct sq_buf *buf, const struct native_usage *usage)
{
    sq_buf_put_u32(buf, (uint32_t)usage->argument);
    sq_buf_put_u8(buf, (uint8_t)((usage->is_omitted ? USAGE_OMITTED : 0) | (usage->is_list ? USAGE_LIST : 0)));
}

void native_get_usage(struct pgwire_cursor *cursor, struct native_usage *ret_usage)
{
    ret_usage->argument = (int32_t)pgwire_get_u32(cursor);
    uint8_t bits = pgwire_get_u8(cursor);
    if ((bits & ~USAGE_ALL) != 0)
        pgwire_cursor_fail(cursor);
    ret_usage->is_omitted = (bits & USAGE_OMITTED) != 0;
    ret_usage->is_list = (bits & USAGE_LIST) != 0;
}

void native_put_choice(struct sq_buf *buf, const struct native_choice *choice)
{
    native_put_index(buf, &choice->index);
    native_put_bytes(buf, choice->text.data, choice->text.length);
    sq_buf_put_u8(buf, choice->is_ordered);
    put_real(buf, choice->cost);
    sq_buf_put_u64(buf, (uint64_t)choice->rows);
    sq_buf_put_u32(buf, (uint32_t)choice->flags);
}

void native_get_choice(struct pgwire_cursor *cursor, struct native_choice *ret_choice)
{
    native_get_index(cursor, &ret_choice->index);
    ret_choice->text = native_get_bytes(cursor);
    ret_choice->is_ordered = get_flag(cursor);
    ret_choice->cost = get_real(cursor);
    ret_choice->rows = (int64_t)pgwire_get_u64(cursor);
    ret_choice->flags = (int32_t)pgwire_get_u32(cursor);
}
