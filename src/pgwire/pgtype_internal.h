/* pgwire/pgtype_internal.h: what the files of the type codec share. Not for other rooms. */
#ifndef SQ_PGWIRE_PGTYPE_INTERNAL_H
#define SQ_PGWIRE_PGTYPE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/value.h"

struct sq_arena;

/* 22P02, "invalid input syntax for type …: "…"", with the start of the text. pgtype_get.c */
sq_status pgtype_fail_syntax(struct sq_error *err, uint32_t oid, const char *text, size_t length);

/* --- numbers: pgtype_decimal.c, pgtype_shortest.c ----------------------------------------------------------------- */

enum {
    PGTYPE_INT64_BYTES_MAX = 20, /* "-9223372036854775808" */
    PGTYPE_DOUBLE_DIGITS_MAX = 17,
    PGTYPE_DOUBLE_BYTES_MAX = 32, /* sign, 17 digits, point, leading zeros or exponent: "-0.00012345678901234567" */
};

/* Writes `value` in decimal, without NUL; returns the bytes written. */
size_t pgtype_int64_format(int64_t value, char out[PGTYPE_INT64_BYTES_MAX]);

/* A decimal number: d1.d2d3… x 10^exponent. The digits are borrowed. */
struct pgtype_decimal {
    bool is_negative;
    const char *digits; /* the first and the last are not '0'; one '.' may stand among them */
    size_t length;      /* bytes of `digits`; 0: the number is zero */
    size_t digit_count; /* digits among them */
    int64_t exponent;   /* power of ten of the first digit */
    int64_t scale;      /* digits behind the point as written, 0 or more: "5.00" has 2 */
};

/* What text can be, besides a decimal. */
enum pgtype_number_kind { PGTYPE_NUMBER_BAD, PGTYPE_NUMBER_FINITE, PGTYPE_NUMBER_INFINITE, PGTYPE_NUMBER_NAN };

/* Reads [spaces] [sign] digits [. digits] [e [sign] digits] [spaces], or inf, infinity, nan. For an infinite number
 * only is_negative is set. Exponents beyond +-PGTYPE_EXPONENT_MAX are taken as that: out of everybody's range. */
enum { PGTYPE_EXPONENT_MAX = 1000000 };
enum pgtype_number_kind pgtype_decimal_parse(const char *text, size_t length, struct pgtype_decimal *ret);

/* The shortest digits that read back as the same double (float), nearest to it among those. `value` must be finite;
 * `digits` holds what `ret` borrows. `takes_middle`: the reader rounds a decimal between two doubles to the even one. */
void pgtype_decimal_of_double(double value, bool takes_middle, char digits[PGTYPE_DOUBLE_DIGITS_MAX],
                              struct pgtype_decimal *ret);
void pgtype_decimal_of_float(float value, char digits[PGTYPE_DOUBLE_DIGITS_MAX], struct pgtype_decimal *ret);

/* Appends the number without exponent, with `scale` digits behind the point. */
void pgtype_decimal_put_plain(struct sq_buf *out, const struct pgtype_decimal *decimal);

/* The 64-bit integer that the number is; false if it is none. */
bool pgtype_decimal_to_int64(const struct pgtype_decimal *decimal, int64_t *ret);

/* strtod() in the "C" locale, whatever the process has set (the drop-in client lives in other people's programs).
 * `text` has a NUL somewhere. */
double pgtype_strtod(const char *text);
float pgtype_strtof(const char *text);

/* --- numeric's binary form: pgtype_numeric.c ---------------------------------------------------------------------- */

/* Appends a numeric's binary form; false: beyond what the form can hold. */
bool pgtype_numeric_put(struct sq_buf *out, const struct pgtype_decimal *decimal);
/* Appends infinity (negative or not) or, for NaN, the form without a number. */
void pgtype_numeric_put_special(struct sq_buf *out, enum pgtype_number_kind kind, bool is_negative);
SQ_MUST_USE sq_status pgtype_numeric_get_binary(const uint8_t *data, size_t length, struct sq_arena *arena,
                                                struct sq_value *ret, struct sq_error *err);
SQ_MUST_USE sq_status pgtype_numeric_get_text(const char *text, size_t length, struct sq_arena *arena,
                                              struct sq_value *ret, struct sq_error *err);

/* --- dates and times: pgtype_time.c ------------------------------------------------------------------------------- */

/* The longest is an interval: "-178956970 years -11 mons -2147483648 days -2562047788:00:54.775808" */
enum { PGTYPE_TIME_BYTES_MAX = 80 };

/* Append the binary form of a SQLite time value; false: the text is none that fits the type. */
bool pgtype_time_put(struct sq_buf *out, uint32_t oid, const char *text, size_t length);
/* The text of a binary date, time, timetz, timestamp, timestamptz or interval: bytes written to `out`. */
SQ_MUST_USE sq_status pgtype_time_get(uint32_t oid, const uint8_t *data, size_t length, char out[PGTYPE_TIME_BYTES_MAX],
                                      size_t *ret_length, struct sq_error *err);

/* --- text of values: pgtype_text.c -------------------------------------------------------------------------------- */

enum { PGTYPE_UUID_BYTES = 16, PGTYPE_UUID_TEXT_BYTES = 36 };

void pgtype_uuid_format(const uint8_t *bytes, char out[PGTYPE_UUID_TEXT_BYTES]);
/* Hex digits, with a hyphen allowed after every fourth, perhaps in braces (manual, 8.12); false: no UUID. */
bool pgtype_uuid_parse(const char *text, size_t length, uint8_t out[PGTYPE_UUID_BYTES]);

/* 0 to 15, or -1. */
static inline int pgtype_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The C locale's isspace(). */
static inline bool pgtype_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool pgtype_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether `text` is `word` (lower case) but for the case of ASCII letters. */
bool pgtype_is_word(const char *text, size_t length, const char *word);

/* Cuts spaces off both ends. */
static inline void pgtype_trim(const char **text, size_t *length)
{
    while (*length > 0 && pgtype_is_space((*text)[*length - 1]))
        (*length)--;
    while (*length > 0 && pgtype_is_space(**text)) {
        (*text)++;
        (*length)--;
    }
}

/* Big-endian numbers; the caller has checked the length. */
static inline uint16_t pgtype_read_u16(const uint8_t *data)
{
    uint16_t value;
    memcpy(&value, data, sizeof(value));
    return __builtin_bswap16(value);
}
static inline uint32_t pgtype_read_u32(const uint8_t *data)
{
    uint32_t value;
    memcpy(&value, data, sizeof(value));
    return __builtin_bswap32(value);
}
static inline uint64_t pgtype_read_u64(const uint8_t *data)
{
    uint64_t value;
    memcpy(&value, data, sizeof(value));
    return __builtin_bswap64(value);
}

#endif
