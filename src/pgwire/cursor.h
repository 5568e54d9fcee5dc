/* pgwire/cursor.h: reading bytes that somebody else has sent. A cursor knows how many bytes are left, never reads
 * behind them, and is the only way in which this room reads a message.
 *
 * Failure is sticky: a read that wants more than is left fails the cursor, takes nothing and gives zero; so does
 * every read after it. A decoder reads a whole message and asks once, with pgwire_cursor_is_done() or is_failed.
 * Integers are big-endian (PostgreSQL manual, "Message Data Types").
 *
 * Results point into the bytes that the cursor was made of and live as long as those. Threads: one at a time. */
#ifndef SQ_PGWIRE_CURSOR_H
#define SQ_PGWIRE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "integers are swapped on their way in and out");

struct pgwire_cursor {
    const uint8_t *next;
    size_t left;
    bool is_failed;
};

/* A text within a message: data[length] is its NUL, and there is none before. Encoding is not checked here. */
struct pgwire_text {
    const char *data;
    size_t length;
};

struct pgwire_bytes {
    const uint8_t *data;
    size_t length;
};

static inline struct pgwire_cursor pgwire_cursor_make(const uint8_t *bytes, size_t length)
{
    return (struct pgwire_cursor){.next = bytes, .left = length};
}

/* Everything was read and nothing was missing. */
static inline bool pgwire_cursor_is_done(const struct pgwire_cursor *cursor)
{
    return !cursor->is_failed && cursor->left == 0;
}

/* Marks the bytes as nonsense, for a decoder that dislikes what it has read. */
static inline void pgwire_cursor_fail(struct pgwire_cursor *cursor)
{
    cursor->is_failed = true;
    cursor->left = 0;
}

/* The next `length` bytes; NULL if there are not so many. */
static inline const uint8_t *pgwire_get_bytes(struct pgwire_cursor *cursor, size_t length)
{
    if (SQ_UNLIKELY(cursor->is_failed || length > cursor->left)) {
        pgwire_cursor_fail(cursor);
        return NULL;
    }
    const uint8_t *bytes = cursor->next;
    if (length > 0)
        cursor->next += length;
    cursor->left -= length;
    return bytes;
}

static inline uint8_t pgwire_get_u8(struct pgwire_cursor *cursor)
{
    const uint8_t *bytes = pgwire_get_bytes(cursor, 1);
    return bytes == NULL ? 0 : *bytes;
}

static inline uint16_t pgwire_get_u16(struct pgwire_cursor *cursor)
{
    uint16_t value = 0;
    const uint8_t *bytes = pgwire_get_bytes(cursor, sizeof(value));
    if (bytes != NULL)
        memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap16(value);
}

static inline uint32_t pgwire_get_u32(struct pgwire_cursor *cursor)
{
    uint32_t value = 0;
    const uint8_t *bytes = pgwire_get_bytes(cursor, sizeof(value));
    if (bytes != NULL)
        memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap32(value);
}

static inline uint64_t pgwire_get_u64(struct pgwire_cursor *cursor)
{
    uint64_t value = 0;
    const uint8_t *bytes = pgwire_get_bytes(cursor, sizeof(value));
    if (bytes != NULL)
        memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap64(value);
}

/* The text up to the next NUL, which is taken too; fails if no NUL is left. A failed read gives {"", 0}. */
static inline struct pgwire_text pgwire_get_cstr(struct pgwire_cursor *cursor)
{
    const uint8_t *nul = cursor->left == 0 ? NULL : memchr(cursor->next, 0, cursor->left);
    if (SQ_UNLIKELY(nul == NULL)) {
        pgwire_cursor_fail(cursor);
        return (struct pgwire_text){.data = "", .length = 0};
    }
    size_t length = (size_t)(nul - cursor->next);
    return (struct pgwire_text){.data = (const char *)pgwire_get_bytes(cursor, length + 1), .length = length};
}

/* Everything that is left. */
static inline struct pgwire_bytes pgwire_get_rest(struct pgwire_cursor *cursor)
{
    size_t length = cursor->left;
    return (struct pgwire_bytes){.data = pgwire_get_bytes(cursor, length), .length = length};
}

/* Element `index` of a packed list of 16- or 32-bit integers. The index is the caller's, not the peer's. */
static inline uint16_t pgwire_bytes_u16(const struct pgwire_bytes *list, size_t index)
{
    sq_assert(index < list->length / sizeof(uint16_t));
    struct pgwire_cursor cursor = pgwire_cursor_make(list->data + index * sizeof(uint16_t), sizeof(uint16_t));
    return pgwire_get_u16(&cursor);
}
static inline uint32_t pgwire_bytes_u32(const struct pgwire_bytes *list, size_t index)
{
    sq_assert(index < list->length / sizeof(uint32_t));
    struct pgwire_cursor cursor = pgwire_cursor_make(list->data + index * sizeof(uint32_t), sizeof(uint32_t));
    return pgwire_get_u32(&cursor);
}

#endif
