/* pgwire/pgtype_numeric.c: numeric's binary form, and numerics as SQLite values. The manual does not describe the form;
 * it is what numeric_send() and numeric_recv() do (src/backend/utils/adt/numeric.c), all in network order:
 *
 *   | offset | bytes   | field                                                                     |
 *   |--------|---------|---------------------------------------------------------------------------|
 *   | 0      | 2       | n, the count of base-10000 digits                                         |
 *   | 2      | 2       | weight, signed: the first digit counts 10000^weight                       |
 *   | 4      | 2       | sign: 0x0000 +, 0x4000 -, 0xC000 NaN, 0xD000 infinity, 0xF000 -infinity   |
 *   | 6      | 2       | dscale: decimal digits shown behind the point, 0 to 16383                 |
 *   | 8      | 2 x n   | the digits, 0 to 9999 each                                                |
 *
 * Invariant: the decimal digits of a pgtype_decimal start and end with one that is not 0, so that the base-10000 digits
 * made of them do, too, as numeric_send() sends them. */
#include "base/arena.h"
#include "pgwire/pgtype.h"
#include "pgwire/pgtype_internal.h"

enum {
    NUMERIC_HEADER_BYTES = 8,
    NUMERIC_BASE = 10000,
    NUMERIC_BASE_DIGITS = 4,
    NUMERIC_SCALE_MAX = 16383,
    NUMERIC_EXPONENT_MAX = 131071, /* 131072 digits before the point (manual, 8.1.2) */
    NUMERIC_EXPONENT_MIN = -NUMERIC_SCALE_MAX,
    NUMERIC_DIGITS_MAX = INT16_MAX, /* many clients read the count as a signed number */

    NUMERIC_POSITIVE = 0x0000,
    NUMERIC_NEGATIVE = 0x4000,
    NUMERIC_NAN = 0xC000,
    NUMERIC_INFINITY = 0xD000,
    NUMERIC_MINUS_INFINITY = 0xF000,

    /* A decimal of so many digits is found again in the double that it was read into (DBL_DIG). */
    NUMERIC_REAL_DIGITS = 15,
    NUMERIC_REAL_EXPONENT_MAX = 307, /* well within a normal double's range */
};

static void numeric_put_header(struct sq_buf *out, int64_t digit_count, int64_t weight, int sign, int64_t scale)
{
    sq_buf_put_u16(out, (uint16_t)digit_count);
    sq_buf_put_u16(out, (uint16_t)weight);
    sq_buf_put_u16(out, (uint16_t)sign);
    sq_buf_put_u16(out, (uint16_t)scale);
}

void pgtype_numeric_put_special(struct sq_buf *out, enum pgtype_number_kind kind, bool is_negative)
{
    int sign = is_negative ? NUMERIC_MINUS_INFINITY : NUMERIC_INFINITY;
    numeric_put_header(out, 0, 0, kind == PGTYPE_NUMBER_NAN ? NUMERIC_NAN : sign, 0);
}

static int64_t floor_div(int64_t value, int64_t by)
{
    return value >= 0 ? value / by : -((-value + by - 1) / by);
}

bool pgtype_numeric_put(struct sq_buf *out, const struct pgtype_decimal *decimal)
{
    if (decimal->scale > NUMERIC_SCALE_MAX)
        return false;
    if (decimal->length == 0) {
        numeric_put_header(out, 0, 0, NUMERIC_POSITIVE, decimal->scale);
        return true;
    }
    if (decimal->exponent > NUMERIC_EXPONENT_MAX || decimal->exponent < NUMERIC_EXPONENT_MIN)
        return false;
    int64_t weight = floor_div(decimal->exponent, NUMERIC_BASE_DIGITS);
    int64_t place = decimal->exponent; /* the power of ten of the next decimal digit */
    int64_t last = decimal->exponent - (int64_t)decimal->digit_count + 1;
    int64_t digit_count = weight - floor_div(last, NUMERIC_BASE_DIGITS) + 1;
    if (digit_count > NUMERIC_DIGITS_MAX)
        return false;
    numeric_put_header(out, digit_count, weight, decimal->is_negative ? NUMERIC_NEGATIVE : NUMERIC_POSITIVE,
                       decimal->scale);

    static const uint16_t place_values[NUMERIC_BASE_DIGITS] = {1, 10, 100, 1000};
    unsigned digit = 0;
    for (size_t i = 0; i < decimal->length; i++) {
        if (decimal->digits[i] == '.')
            continue;
        int64_t group_place = place - floor_div(place, NUMERIC_BASE_DIGITS) * NUMERIC_BASE_DIGITS;
        digit += (unsigned)(decimal->digits[i] - '0') * place_values[group_place];
        if (group_place == 0 || place == last) {
            sq_assert(digit < NUMERIC_BASE);
            sq_buf_put_u16(out, (uint16_t)digit);
            digit = 0;
        }
        place--;
    }
    sq_assert(place == last - 1);
    return true;
}

/* A double, without strtod() for the usual small ones: both operands are exact, so the one division rounds as reading
 * the decimal would. `plain` has a NUL behind its end. */
static double decimal_to_real(const struct pgtype_decimal *decimal, const char *plain)
{
    static const double pow10[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int64_t behind = (int64_t)decimal->digit_count - 1 - decimal->exponent;
    if (decimal->length == 0)
        return 0.0;
    if (behind < 0 || behind >= (int64_t)(sizeof(pow10) / sizeof(pow10[0])))
        return pgtype_strtod(plain);
    uint64_t integer = 0;
    for (size_t i = 0; i < decimal->length; i++) {
        if (decimal->digits[i] != '.')
            integer = integer * 10 + (uint64_t)(decimal->digits[i] - '0');
    }
    double real = (double)integer / pow10[behind];
    return decimal->is_negative ? -real : real;
}

/* The number without exponent, as the server would print it, with a NUL behind; NULL: no memory. */
static const char *decimal_plain(const struct pgtype_decimal *decimal, struct sq_arena *arena, size_t *ret_length)
{
    struct sq_buf buf;
    sq_buf_init(&buf, 2 * PGTYPE_NUMERIC_DIGITS_MAX + 16);
    pgtype_decimal_put_plain(&buf, decimal);
    const char *plain = NULL;
    if (!buf.is_failed) {
        *ret_length = sq_buf_length(&buf);
        plain = sq_arena_copy(arena, sq_buf_bytes(&buf), *ret_length);
    }
    sq_buf_done(&buf);
    return plain;
}

/* The rules of pgtype.h: no digits behind the point and 64 bits, INTEGER; 15 digits, REAL; else TEXT. */
static sq_status numeric_value(const struct pgtype_decimal *decimal, struct sq_arena *arena, struct sq_value *ret,
                               struct sq_error *err)
{
    int64_t integer;
    if (decimal->scale > PGTYPE_NUMERIC_DIGITS_MAX || decimal->exponent >= PGTYPE_NUMERIC_DIGITS_MAX ||
        decimal->digit_count > 2 * PGTYPE_NUMERIC_DIGITS_MAX)
        return sq_fail_sql(err, SQ_SQL, "22003",
                           "value overflows numeric format: more than %d digits before or behind "
                           "the decimal point",
                           PGTYPE_NUMERIC_DIGITS_MAX);
    if (decimal->scale == 0 && pgtype_decimal_to_int64(decimal, &integer)) {
        *ret = (struct sq_value){.kind = SQ_VALUE_INTEGER, .integer = integer};
        return SQ_OK;
    }
    size_t length;
    const char *plain = decimal_plain(decimal, arena, &length);
    if (plain == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a numeric parameter");
    if (decimal->digit_count <= NUMERIC_REAL_DIGITS && decimal->exponent <= NUMERIC_REAL_EXPONENT_MAX &&
        decimal->exponent >= -NUMERIC_REAL_EXPONENT_MAX)
        *ret = (struct sq_value){.kind = SQ_VALUE_REAL, .real = decimal_to_real(decimal, plain)};
    else
        *ret = (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {plain, length}};
    return SQ_OK;
}

static sq_status numeric_special(enum pgtype_number_kind kind, bool is_negative, struct sq_value *ret,
                                 struct sq_error *err)
{
    if (kind == PGTYPE_NUMBER_NAN)
        return sq_fail_sql(err, SQ_SQL, "22003", "NaN is out of range: SQLite has no such number");
    *ret = (struct sq_value){.kind = SQ_VALUE_REAL, .real = is_negative ? -__builtin_inf() : __builtin_inf()};
    return SQ_OK;
}

sq_status pgtype_numeric_get_text(const char *text, size_t length, struct sq_arena *arena, struct sq_value *ret,
                                  struct sq_error *err)
{
    struct pgtype_decimal decimal;
    enum pgtype_number_kind kind = pgtype_decimal_parse(text, length, &decimal);
    if (kind == PGTYPE_NUMBER_BAD)
        return pgtype_fail_syntax(err, PGTYPE_NUMERIC, text, length);
    if (kind != PGTYPE_NUMBER_FINITE)
        return numeric_special(kind, kind == PGTYPE_NUMBER_INFINITE && decimal.is_negative, ret, err);
    return numeric_value(&decimal, arena, ret, err);
}

/* The decimal digits of the base-10000 digits, without those that dscale hides (numeric_recv() drops them, too) and
 * without zeros at either end. `out` has room for four each. */
static void numeric_digits(const uint8_t *data, size_t digit_count, int weight, int scale, char *out,
                           struct pgtype_decimal *ret)
{
    size_t used = 0;
    int64_t place = (int64_t)weight * NUMERIC_BASE_DIGITS + NUMERIC_BASE_DIGITS - 1;
    for (size_t i = 0; i < digit_count; i++) {
        unsigned digit = pgtype_read_u16(data + 2 * i);
        for (unsigned unit = NUMERIC_BASE / 10; unit > 0; unit /= 10, place--) {
            char c = (char)('0' + digit / unit % 10);
            if (place < -scale || (used == 0 && c == '0'))
                continue;
            if (used == 0)
                ret->exponent = place;
            out[used++] = c;
        }
    }
    while (used > 0 && out[used - 1] == '0')
        used--;
    ret->digits = out;
    ret->length = used;
    ret->digit_count = used;
}

sq_status pgtype_numeric_get_binary(const uint8_t *data, size_t length, struct sq_arena *arena, struct sq_value *ret,
                                    struct sq_error *err)
{
    if (length < NUMERIC_HEADER_BYTES || length != NUMERIC_HEADER_BYTES + 2 * (size_t)pgtype_read_u16(data))
        return sq_fail_sql(err, SQ_SQL, "22P03", "incorrect binary data format: %zu bytes for a numeric", length);
    size_t digit_count = pgtype_read_u16(data);
    int weight = (int16_t)pgtype_read_u16(data + 2);
    unsigned sign = pgtype_read_u16(data + 4);
    unsigned scale = pgtype_read_u16(data + 6);
    data += NUMERIC_HEADER_BYTES;
    if (sign == NUMERIC_NAN || sign == NUMERIC_INFINITY || sign == NUMERIC_MINUS_INFINITY)
        return numeric_special(sign == NUMERIC_NAN ? PGTYPE_NUMBER_NAN : PGTYPE_NUMBER_INFINITE,
                               sign == NUMERIC_MINUS_INFINITY, ret, err);
    if (sign != NUMERIC_POSITIVE && sign != NUMERIC_NEGATIVE)
        return sq_fail_sql(err, SQ_SQL, "22P03", "invalid sign in external \"numeric\" value");
    if (scale > NUMERIC_SCALE_MAX)
        return sq_fail_sql(err, SQ_SQL, "22P03", "invalid scale in external \"numeric\" value");
    for (size_t i = 0; i < digit_count; i++) {
        if (pgtype_read_u16(data + 2 * i) >= NUMERIC_BASE)
            return sq_fail_sql(err, SQ_SQL, "22P03", "invalid digit in external \"numeric\" value");
    }

    struct pgtype_decimal decimal = {.is_negative = sign == NUMERIC_NEGATIVE, .scale = scale};
    char *digits = sq_arena_alloc(arena, digit_count * NUMERIC_BASE_DIGITS + 1);
    if (digits == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a numeric parameter");
    numeric_digits(data, digit_count, weight, (int)scale, digits, &decimal);
    return numeric_value(&decimal, arena, ret, err);
}
