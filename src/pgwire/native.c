/* pgwire/native.c: the parts of native mode's messages; the layouts are in docs/protocol.md. */
#include "pgwire/native.h"

/* --- Texts and bytes --- */

void native_put_bytes(struct sq_buf *buf, const void *data, size_t length)
{
    if (data == NULL) {
        sq_buf_put_u32(buf, UINT32_MAX);
        return;
    }
    if (length > INT32_MAX) {
        pgwire_fail_too_long(buf);
        return;
    }
    sq_buf_put_u32(buf, (uint32_t)length);
    sq_buf_put(buf, data, length);
}

void native_put_text(struct sq_buf *buf, const char *text)
{
    native_put_bytes(buf, text, text != NULL ? strlen(text) : 0);
}

/* --- Values --- */

static void put_tagged(struct sq_buf *buf, uint8_t tag, const struct sq_value *value)
{
    uint32_t length = (uint32_t)value->bytes.length;
    if (value->bytes.length > INT32_MAX) {
        pgwire_fail_too_long(buf);
        return;
    }
    if (!sq_buf_grow_for(buf, 1 + sizeof(length) + length))
        return;
    uint8_t *to = buf->data + buf->end;
    uint32_t swapped = __builtin_bswap32(length);
    to[0] = tag;
    memcpy(to + 1, &swapped, sizeof(swapped));
    if (length > 0)
        memcpy(to + 1 + sizeof(swapped), value->bytes.data, length);
    buf->end += 1 + sizeof(swapped) + length;
}

/* As few bytes as hold it. */
static void put_integer(struct sq_buf *buf, int64_t integer)
{
    uint8_t bytes[1 + sizeof(integer)];
    size_t width = integer == (int8_t)integer    ? 1
                   : integer == (int16_t)integer ? 2
                   : integer == (int32_t)integer ? 4
                                                 : 8;
    uint64_t swapped = __builtin_bswap64((uint64_t)integer);
    bytes[0] = (uint8_t)(0x10 + width);
    memcpy(bytes + 1, (const uint8_t *)&swapped + sizeof(swapped) - width, width);
    sq_buf_put(buf, bytes, 1 + width);
}

static void put_real(struct sq_buf *buf, double real)
{
    uint64_t bits;
    _Static_assert(sizeof(bits) == sizeof(real), "IEEE 754 double");
    memcpy(&bits, &real, sizeof(bits));
    sq_buf_put_u8(buf, NATIVE_TAG_REAL);
    sq_buf_put_u64(buf, bits);
}

void native_put_value(struct sq_buf *buf, const struct sq_value *value)
{
    switch (value->kind) {
    case SQ_VALUE_NULL:
        sq_buf_put_u8(buf, NATIVE_TAG_NULL);
        break;
    case SQ_VALUE_INTEGER:
        put_integer(buf, value->integer);
        break;
    case SQ_VALUE_REAL:
        put_real(buf, value->real);
        break;
    case SQ_VALUE_TEXT:
        put_tagged(buf, NATIVE_TAG_TEXT, value);
        break;
    case SQ_VALUE_BLOB:
        put_tagged(buf, NATIVE_TAG_BLOB, value);
        break;
    }
}

/* A value whose tag has been read. */
static inline void get_tagged(struct pgwire_cursor *cursor, uint8_t tag, struct sq_value *ret_value)
{
    switch (tag) {
    case NATIVE_TAG_NULL:
        ret_value->kind = SQ_VALUE_NULL;
        break;
    case NATIVE_TAG_INT8:
        ret_value->kind = SQ_VALUE_INTEGER;
        ret_value->integer = (pgwire_get_u8(cursor) ^ 0x80) - 0x80; /* sign extension */
        break;
    case NATIVE_TAG_INT16:
        ret_value->kind = SQ_VALUE_INTEGER;
        ret_value->integer = (int16_t)pgwire_get_u16(cursor);
        break;
    case NATIVE_TAG_INT32:
        ret_value->kind = SQ_VALUE_INTEGER;
        ret_value->integer = (int32_t)pgwire_get_u32(cursor);
        break;
    case NATIVE_TAG_INT64:
        ret_value->kind = SQ_VALUE_INTEGER;
        ret_value->integer = (int64_t)pgwire_get_u64(cursor);
        break;
    case NATIVE_TAG_REAL: {
        uint64_t bits = pgwire_get_u64(cursor);
        ret_value->kind = SQ_VALUE_REAL;
        memcpy(&ret_value->real, &bits, sizeof(bits));
        break;
    }
    case NATIVE_TAG_TEXT:
    case NATIVE_TAG_BLOB: {
        uint32_t length = pgwire_get_u32(cursor);
        ret_value->kind = tag == NATIVE_TAG_TEXT ? SQ_VALUE_TEXT : SQ_VALUE_BLOB;
        ret_value->bytes.data = (const char *)pgwire_get_bytes(cursor, length);
        ret_value->bytes.length = ret_value->bytes.data != NULL ? length : 0;
        break;
    }
    default:
        pgwire_cursor_fail(cursor);
        ret_value->kind = SQ_VALUE_NULL;
        break;
    }
}

void native_get_value(struct pgwire_cursor *cursor, struct sq_value *ret_value)
{
    get_tagged(cursor, pgwire_get_u8(cursor), ret_value);
}

void native_get_values(struct pgwire_cursor *cursor, struct sq_value *values, size_t count)
{
    struct pgwire_cursor at = *cursor; /* in registers */
    for (size_t i = 0; i < count; i++)
        get_tagged(&at, pgwire_get_u8(&at), &values[i]);
    *cursor = at;
}

void native_put_any(struct sq_buf *buf, const struct native_value *value)
{
    if (value->is_bound)
        sq_buf_put_u8(buf, NATIVE_TAG_BOUND);
    if (value->has_subtype) {
        sq_buf_put_u8(buf, NATIVE_TAG_SUBTYPE);
        sq_buf_put_u32(buf, value->subtype);
    }
    switch (value->kind) {
    case NATIVE_VALUE_PLAIN:
        native_put_value(buf, &value->value);
        break;
    case NATIVE_VALUE_ZEROBLOB:
    case NATIVE_VALUE_POINTER:
        sq_buf_put_u8(buf, value->kind == NATIVE_VALUE_ZEROBLOB ? NATIVE_TAG_ZEROBLOB : NATIVE_TAG_POINTER);
        sq_buf_put_u64(buf, value->number);
        break;
    case NATIVE_VALUE_UNCHANGED:
        sq_buf_put_u8(buf, NATIVE_TAG_UNCHANGED);
        break;
    case NATIVE_VALUE_LIST: {
        size_t offset = native_list_begin(buf);
        sq_buf_put(buf, value->value.bytes.data, value->value.bytes.length);
        native_list_end(buf, offset, (uint32_t)value->number);
        break;
    }
    }
}

size_t native_list_begin(struct sq_buf *buf)
{
    size_t offset = sq_buf_length(buf);
    sq_buf_put_u8(buf, NATIVE_TAG_LIST);
    sq_buf_put_u32(buf, 0);
    sq_buf_put_u32(buf, 0);
    return offset;
}

void native_list_end(struct sq_buf *buf, size_t offset, uint32_t count)
{
    if (buf->is_failed)
        return;
    size_t length = sq_buf_length(buf) - offset - 1 - 2 * sizeof(uint32_t);
    if (length > INT32_MAX) {
        pgwire_fail_too_long(buf);
        return;
    }
    sq_buf_set_u32(buf, offset + 1, count);
    sq_buf_set_u32(buf, offset + 1 + sizeof(uint32_t), (uint32_t)length);
}

/* A value that may have a subtype, be a pointer, or zero bytes. */
static void get_any(struct pgwire_cursor *cursor, uint8_t tag, struct native_value *value)
{
    value->has_subtype = tag == NATIVE_TAG_SUBTYPE;
    if (value->has_subtype) {
        value->subtype = pgwire_get_u32(cursor);
        tag = pgwire_get_u8(cursor);
    }
    if (tag == NATIVE_TAG_ZEROBLOB || tag == NATIVE_TAG_POINTER) {
        value->kind = tag == NATIVE_TAG_ZEROBLOB ? NATIVE_VALUE_ZEROBLOB : NATIVE_VALUE_POINTER;
        value->number = pgwire_get_u64(cursor);
    } else {
        get_tagged(cursor, tag, &value->value);
    }
}

void native_get_any(struct pgwire_cursor *cursor, struct native_value *ret_value)
{
    *ret_value = (struct native_value){.kind = NATIVE_VALUE_PLAIN};
    get_any(cursor, pgwire_get_u8(cursor), ret_value);
}

void native_get_argument(struct pgwire_cursor *cursor, struct native_value *ret_value)
{
    uint8_t tag = pgwire_get_u8(cursor);
    *ret_value = (struct native_value){.is_bound = tag == NATIVE_TAG_BOUND};
    if (ret_value->is_bound)
        tag = pgwire_get_u8(cursor);
    if (tag == NATIVE_TAG_UNCHANGED) {
        ret_value->kind = NATIVE_VALUE_UNCHANGED;
    } else if (tag == NATIVE_TAG_LIST) {
        ret_value->kind = NATIVE_VALUE_LIST;
        ret_value->number = pgwire_get_u32(cursor);
        uint32_t length = pgwire_get_u32(cursor);
        ret_value->value.bytes.data = (const char *)pgwire_get_bytes(cursor, length);
        ret_value->value.bytes.length = ret_value->value.bytes.data != NULL ? length : 0;
    } else {
        get_any(cursor, tag, ret_value);
    }
}

/* --- Answers --- */

enum { ANSWER_AUTOCOMMIT = 1, ANSWER_ERROR = 2, ANSWER_FACTS = 4, ANSWER_TRIPPED = 8 };

void native_put_answer(struct sq_buf *buf, const struct native_answer *answer)
{
    sq_buf_put_u32(buf, (uint32_t)answer->result);
    sq_buf_put_u8(buf,
                  (uint8_t)((answer->is_autocommit ? ANSWER_AUTOCOMMIT : 0) | (answer->has_error ? ANSWER_ERROR : 0) |
                            (answer->has_facts ? ANSWER_FACTS : 0) | (answer->has_tripped ? ANSWER_TRIPPED : 0)));
    sq_buf_put_u8(buf, answer->txn_state);
    sq_buf_put_u64(buf, (uint64_t)answer->changes);
    sq_buf_put_u64(buf, (uint64_t)answer->total_changes);
    sq_buf_put_u64(buf, (uint64_t)answer->last_insert_rowid);
    sq_buf_put_u64(buf, answer->generation);
    if (answer->has_error) {
        sq_buf_put_u32(buf, (uint32_t)answer->error_offset);
        native_put_bytes(buf, answer->message.data, answer->message.length);
    }
}

void native_get_answer(struct pgwire_cursor *cursor, struct native_answer *ret_answer)
{
    struct native_answer answer = {.result = (int32_t)pgwire_get_u32(cursor), .error_offset = -1};
    uint8_t bits = pgwire_get_u8(cursor);
    answer.is_autocommit = (bits & ANSWER_AUTOCOMMIT) != 0;
    answer.has_error = (bits & ANSWER_ERROR) != 0;
    answer.has_facts = (bits & ANSWER_FACTS) != 0;
    answer.has_tripped = (bits & ANSWER_TRIPPED) != 0;
    answer.txn_state = pgwire_get_u8(cursor);
    answer.changes = (int64_t)pgwire_get_u64(cursor);
    answer.total_changes = (int64_t)pgwire_get_u64(cursor);
    answer.last_insert_rowid = (int64_t)pgwire_get_u64(cursor);
    answer.generation = pgwire_get_u64(cursor);
    if (answer.has_error) {
        answer.error_offset = (int32_t)pgwire_get_u32(cursor);
        answer.message = native_get_bytes(cursor);
    }
    *ret_answer = answer;
}

/* --- Facts --- */

enum {
    FACTS_STATEMENT = 1,
    FACTS_READONLY = 2,
    FACTS_EXPLAIN_SHIFT = 2,
    FACTS_EXPLAIN = 3 << FACTS_EXPLAIN_SHIFT,
    FACTS_MAY_CALL = 16,
    FACTS_ATTACH = 32,
    FACTS_VOLATILE = 64,
};

void native_put_facts(struct sq_buf *buf, const struct native_facts *facts)
{
    sq_buf_put_u32(buf, facts->consumed);
    sq_buf_put_u8(buf,
                  (uint8_t)((facts->has_statement ? FACTS_STATEMENT : 0) | (facts->is_readonly ? FACTS_READONLY : 0) |
                            ((facts->explain << FACTS_EXPLAIN_SHIFT) & FACTS_EXPLAIN) |
                            (facts->may_call ? FACTS_MAY_CALL : 0) | (facts->is_attach ? FACTS_ATTACH : 0) |
                            (facts->is_volatile ? FACTS_VOLATILE : 0)));
}

void native_get_facts(struct pgwire_cursor *cursor, struct native_facts *ret_facts)
{
    struct native_facts facts = {.consumed = pgwire_get_u32(cursor)};
    uint8_t bits = pgwire_get_u8(cursor);
    facts.has_statement = (bits & FACTS_STATEMENT) != 0;
    facts.is_readonly = (bits & FACTS_READONLY) != 0;
    facts.explain = (uint8_t)((bits & FACTS_EXPLAIN) >> FACTS_EXPLAIN_SHIFT);
    facts.may_call = (bits & FACTS_MAY_CALL) != 0;
    facts.is_attach = (bits & FACTS_ATTACH) != 0;
    facts.is_volatile = (bits & FACTS_VOLATILE) != 0;
    *ret_facts = facts;
}

void native_get_column(struct pgwire_cursor *cursor, struct native_column *ret_column)
{
    ret_column->name = native_get_bytes(cursor);
    ret_column->declared_type = native_get_bytes(cursor);
    ret_column->database = native_get_bytes(cursor);
    ret_column->table = native_get_bytes(cursor);
    ret_column->origin = native_get_bytes(cursor);
}
