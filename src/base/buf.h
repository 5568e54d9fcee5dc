/* base/buf.h: a growing byte queue. Bytes are appended at the end and consumed at the front. It serves as a socket's
 * input and output buffer and as the place where messages are put together.
 *
 * Appending sets a sticky `is_failed` instead of returning a status at every call: a writer puts a whole message
 * together and asks once, with sq_buf_check(). A failed buffer takes no more bytes until sq_buf_truncate().
 * Reasons: no memory, or more than `max` unconsumed bytes.
 *
 * Pointers into the buffer are valid until the next append, consume, or truncate. Threads: one at a time. */
#ifndef SQ_BASE_BUF_H
#define SQ_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

struct sq_buf {
    uint8_t *data;
    size_t start; /* first unconsumed byte */
    size_t end;   /* behind the last byte */
    size_t cap;
    size_t max; /* most unconsumed bytes */
    bool is_failed;
    bool is_over_max; /* the failure was the limit, not memory */
};

void sq_buf_init(struct sq_buf *buf, size_t max);
/* Frees the bytes; the buffer is then as after sq_buf_init(). NULL is allowed. */
void sq_buf_done(struct sq_buf *buf);

static inline size_t sq_buf_length(const struct sq_buf *buf)
{
    return buf->end - buf->start;
}

/* NULL as long as nothing was ever appended (to which C does not even let 0 be added). */
static inline uint8_t *sq_buf_bytes(const struct sq_buf *buf)
{
    return buf->data != NULL ? buf->data + buf->start : NULL;
}

/* Makes room for `bytes` more behind the end; false (and failed) if that cannot be. */
bool sq_buf_reserve(struct sq_buf *buf, size_t bytes);

/* Room to be written directly, for example by recv(): `bytes` were reserved; sq_buf_produce() then says how many came. */
static inline uint8_t *sq_buf_tail(const struct sq_buf *buf)
{
    return buf->data != NULL ? buf->data + buf->end : NULL;
}
static inline size_t sq_buf_room(const struct sq_buf *buf)
{
    return buf->cap - buf->end;
}
static inline void sq_buf_produce(struct sq_buf *buf, size_t bytes)
{
    sq_assert(bytes <= sq_buf_room(buf));
    buf->end += bytes;
}

/* Drops `bytes` from the front. */
void sq_buf_consume(struct sq_buf *buf, size_t bytes);
/* Drops everything from `length` unconsumed bytes on; takes a failure back. Used to unwrite half a message. */
void sq_buf_truncate(struct sq_buf *buf, size_t length);
/* Gives memory above `keep_bytes` back if the buffer is empty. */
void sq_buf_shrink(struct sq_buf *buf, size_t keep_bytes);

static inline bool sq_buf_grow_for(struct sq_buf *buf, size_t bytes)
{
    if (SQ_LIKELY(!buf->is_failed && buf->cap - buf->end >= bytes &&
                  buf->end - buf->start <= buf->max - (bytes < buf->max ? bytes : buf->max)))
        return true;
    return sq_buf_reserve(buf, bytes);
}

static inline void sq_buf_put(struct sq_buf *buf, const void *bytes, size_t length)
{
    if (length > 0 && sq_buf_grow_for(buf, length)) {
        memcpy(buf->data + buf->end, bytes, length);
        buf->end += length;
    }
}

static inline void sq_buf_put_u8(struct sq_buf *buf, uint8_t value)
{
    if (sq_buf_grow_for(buf, 1))
        buf->data[buf->end++] = value;
}

/* Integers go out in network byte order. */
static inline void sq_buf_put_u16(struct sq_buf *buf, uint16_t value)
{
    uint16_t swapped = __builtin_bswap16(value);
    sq_buf_put(buf, &swapped, sizeof(swapped));
}
static inline void sq_buf_put_u32(struct sq_buf *buf, uint32_t value)
{
    uint32_t swapped = __builtin_bswap32(value);
    sq_buf_put(buf, &swapped, sizeof(swapped));
}
static inline void sq_buf_put_u64(struct sq_buf *buf, uint64_t value)
{
    uint64_t swapped = __builtin_bswap64(value);
    sq_buf_put(buf, &swapped, sizeof(swapped));
}

/* The text and its NUL. */
static inline void sq_buf_put_cstr(struct sq_buf *buf, const char *text)
{
    sq_buf_put(buf, text, strlen(text) + 1);
}
/* The text without its NUL. */
static inline void sq_buf_put_text(struct sq_buf *buf, const char *text)
{
    sq_buf_put(buf, text, strlen(text));
}
void sq_buf_printf(struct sq_buf *buf, const char *format, ...) SQ_PRINTF(2, 3);

/* Writes a big-endian 32-bit number over bytes that are already there, `offset` unconsumed bytes from the front. */
void sq_buf_set_u32(struct sq_buf *buf, size_t offset, uint32_t value);

/* SQ_OK, or why appending failed since the last truncate. */
SQ_MUST_USE sq_status sq_buf_check(const struct sq_buf *buf, struct sq_error *err);

#endif
