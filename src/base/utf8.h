/* base/utf8.h: checking and counting UTF-8 (RFC 3629). Pure functions, any thread. */
#ifndef SQ_BASE_UTF8_H
#define SQ_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of `text` before the first byte that is not part of a well-formed character; `length` if all is well.
 * Overlong forms, surrogates and code points above U+10FFFF are not well-formed. NUL is an ordinary character. */
size_t sq_utf8_valid_prefix(const char *text, size_t length);

static inline bool sq_utf8_is_valid(const char *text, size_t length)
{
    return sq_utf8_valid_prefix(text, length) == length;
}

/* Characters in the first `length` bytes; malformed bytes count one each at most. */
size_t sq_utf8_count(const char *text, size_t length);

/* The largest number of bytes <= `length` that does not split a character. Looks at no byte behind `length`. */
size_t sq_utf8_cut(const char *text, size_t length);

#endif
