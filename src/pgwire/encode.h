/* pgwire/encode.h: what all message writers of this room share: a message's frame and its lists of values.
 *
 *     size_t row = pgwire_put_data_row_begin(buf, 2);
 *     pgwire_put_value(buf, "42", 2);
 *     size_t value = pgwire_value_begin(buf);
 *     sq_buf_printf(buf, "%d", 43);              any sq_buf_put_…() renders straight into the message
 *     pgwire_value_end(buf, value);
 *     pgwire_end(buf, row);
 *     SQ_TRY(sq_buf_check(buf, err));
 *
 * Rules: writers append to a `struct sq_buf` and report trouble through its sticky failure only. A message or value
 * above INT32_MAX bytes, or a list above 65535 elements, fails the buffer like its own limit does; a length never
 * wraps. After a failure the bytes behind the last complete message are rubbish: sq_buf_truncate() to the
 * sq_buf_length() from before the message began. Offsets that _begin() gives count from the first unconsumed byte:
 * do not consume between _begin() and _end().
 * Texts end at their length or at their first NUL, whichever comes first: a NUL within one cannot forge a field. */
#ifndef SQ_PGWIRE_ENCODE_H
#define SQ_PGWIRE_ENCODE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "pgwire/protocol.h"

/* Fails the buffer because something does not fit into the protocol's own integers. */
static inline void pgwire_fail_too_long(struct sq_buf *buf)
{
    buf->is_failed = true;
    buf->is_over_max = true;
}

/* Starts a message of `type`; returns the offset that pgwire_end() wants. */
static inline size_t pgwire_begin(struct sq_buf *buf, uint8_t type)
{
    size_t offset = sq_buf_length(buf);
    const uint8_t header[PGWIRE_HEADER_BYTES] = {type};
    sq_buf_put(buf, header, sizeof(header));
    return offset;
}

/* Ends the message that began at `offset`: its length goes where it belongs. */
static inline void pgwire_end(struct sq_buf *buf, size_t offset)
{
    if (SQ_UNLIKELY(buf->is_failed))
        return;
    size_t length = sq_buf_length(buf) - offset - 1;
    if (SQ_UNLIKELY(length > INT32_MAX))
        pgwire_fail_too_long(buf);
    else
        sq_buf_set_u32(buf, offset + 1, (uint32_t)length);
}

/* A message without a body. */
static inline void pgwire_put_empty(struct sq_buf *buf, uint8_t type)
{
    const uint8_t message[PGWIRE_HEADER_BYTES] = {type, 0, 0, 0, PGWIRE_LENGTH_BYTES_MIN};
    sq_buf_put(buf, message, sizeof(message));
}

/* A list's count. */
static inline void pgwire_put_count(struct sq_buf *buf, size_t count)
{
    if (SQ_UNLIKELY(count > PGWIRE_LIST_COUNT_MAX))
        pgwire_fail_too_long(buf);
    else
        sq_buf_put_u16(buf, (uint16_t)count);
}

/* A type's OID, in Parse and ParameterDescription. */
static inline void pgwire_put_oid(struct sq_buf *buf, uint32_t oid)
{
    sq_buf_put_u32(buf, oid);
}

/* A text of at most `length` bytes, and its NUL. `text` may be NULL if `length` is 0. */
static inline void pgwire_put_text(struct sq_buf *buf, const char *text, size_t length)
{
    if (length > 0)
        sq_buf_put(buf, text, strnlen(text, length));
    sq_buf_put_u8(buf, 0);
}

/* One value of a DataRow, Bind, FunctionCall or FunctionCallResponse: a length word, then the bytes; -1 for NULL. */
static inline void pgwire_put_null(struct sq_buf *buf)
{
    sq_buf_put_u32(buf, UINT32_MAX);
}

static inline void pgwire_put_value(struct sq_buf *buf, const void *bytes, size_t length)
{
    if (SQ_UNLIKELY(length > INT32_MAX)) {
        pgwire_fail_too_long(buf);
        return;
    }
    if (SQ_UNLIKELY(!sq_buf_grow_for(buf, sizeof(uint32_t) + length)))
        return;
    uint32_t swapped = __builtin_bswap32((uint32_t)length);
    memcpy(buf->data + buf->end, &swapped, sizeof(swapped));
    if (length > 0)
        memcpy(buf->data + buf->end + sizeof(swapped), bytes, length);
    buf->end += sizeof(swapped) + length;
}

/* A value that is rendered straight into the buffer between these two. */
static inline size_t pgwire_value_begin(struct sq_buf *buf)
{
    size_t offset = sq_buf_length(buf);
    sq_buf_put_u32(buf, 0);
    return offset;
}
static inline void pgwire_value_end(struct sq_buf *buf, size_t offset)
{
    if (SQ_UNLIKELY(buf->is_failed))
        return;
    size_t length = sq_buf_length(buf) - offset - sizeof(uint32_t);
    if (SQ_UNLIKELY(length > INT32_MAX))
        pgwire_fail_too_long(buf);
    else
        sq_buf_set_u32(buf, offset, (uint32_t)length);
}

#endif
