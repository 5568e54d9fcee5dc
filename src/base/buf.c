/* base/buf.c: the growing byte queue of buf.h.
 *
 * Invariants: (1) start <= end <= cap; (2) end - start <= max; (3) an empty buffer has start == end == 0 after
 * sq_buf_consume(), so that a drained socket buffer never moves bytes. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { SQ_BUF_CAP_MIN = 256 };

void sq_buf_init(struct sq_buf *buf, size_t max)
{
    *buf = (struct sq_buf){.max = max};
}

void sq_buf_done(struct sq_buf *buf)
{
    if (buf == NULL)
        return;
    sq_memory_free(buf->data);
    sq_buf_init(buf, buf->max);
}

static bool buf_fail(struct sq_buf *buf, bool is_over_max)
{
    buf->is_failed = true;
    buf->is_over_max = is_over_max;
    return false;
}

bool sq_buf_reserve(struct sq_buf *buf, size_t bytes)
{
    size_t length = sq_buf_length(buf);
    if (buf->is_failed)
        return false;
    if (bytes > buf->max || length > buf->max - bytes)
        return buf_fail(buf, true);
    if (buf->cap - buf->end >= bytes)
        return true;

    /* Moving the bytes to the front is cheaper than growing, as long as at least half of the memory is free. */
    if (buf->cap - length >= bytes && length <= buf->cap / 2) {
        if (length > 0)
            memmove(buf->data, buf->data + buf->start, length);
    } else {
        size_t cap = buf->cap < SQ_BUF_CAP_MIN ? SQ_BUF_CAP_MIN : buf->cap;
        while (cap < length + bytes)
            cap = cap > SIZE_MAX / 2 ? length + bytes : cap * 2;
        /* Doubling must not take much more than what the limit lets in. */
        if (cap > buf->max && length + bytes <= buf->max)
            cap = buf->max;
        uint8_t *data = sq_memory_alloc(cap);
        if (data == NULL)
            return buf_fail(buf, false);
        if (length > 0)
            memcpy(data, buf->data + buf->start, length);
        sq_memory_free(buf->data);
        buf->data = data;
        buf->cap = cap;
    }
    buf->start = 0;
    buf->end = length;
    sq_assert(buf->cap - buf->end >= bytes);
    return true;
}

void sq_buf_consume(struct sq_buf *buf, size_t bytes)
{
    sq_assert(bytes <= sq_buf_length(buf));
    buf->start += bytes;
    if (buf->start == buf->end)
        buf->start = buf->end = 0;
}

void sq_buf_truncate(struct sq_buf *buf, size_t length)
{
    sq_assert(length <= sq_buf_length(buf));
    buf->end = buf->start + length;
    buf->is_failed = false;
    buf->is_over_max = false;
}

void sq_buf_shrink(struct sq_buf *buf, size_t keep_bytes)
{
    if (sq_buf_length(buf) != 0 || buf->cap <= keep_bytes)
        return;
    sq_memory_free(buf->data);
    buf->data = NULL;
    buf->start = buf->end = buf->cap = 0;
}

void sq_buf_printf(struct sq_buf *buf, const char *format, ...)
{
    char small[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(small, sizeof(small), format, arguments);
    va_end(arguments);
    sq_assert(length >= 0);
    if ((size_t)length < sizeof(small)) {
        sq_buf_put(buf, small, (size_t)length);
        return;
    }
    /* vsnprintf() writes a NUL behind the text: ask for one byte more, but do not count it. */
    if (!sq_buf_grow_for(buf, (size_t)length + 1))
        return;
    va_start(arguments, format);
    vsnprintf((char *)sq_buf_tail(buf), (size_t)length + 1, format, arguments);
    va_end(arguments);
    buf->end += (size_t)length;
}

void sq_buf_set_u32(struct sq_buf *buf, size_t offset, uint32_t value)
{
    sq_assert(sq_buf_length(buf) >= sizeof(value) && offset <= sq_buf_length(buf) - sizeof(value));
    uint32_t swapped = __builtin_bswap32(value);
    memcpy(buf->data + buf->start + offset, &swapped, sizeof(swapped));
}

sq_status sq_buf_check(const struct sq_buf *buf, struct sq_error *err)
{
    if (!buf->is_failed)
        return SQ_OK;
    if (buf->is_over_max)
        return sq_fail(err, SQ_LIMIT, "a message would need more than %zu bytes", buf->max);
    sq_status status = sq_fail(err, SQ_NOMEM, "out of memory for a message");
    sq_memory_set_hint(err);
    return status;
}
