/* pgwire/pgtype_text.c: result values in text format; the rules are in pgtype.h. Integers and text are what most
 * results are made of: they go straight into the buffer. */
#include <math.h>

#include "base/utf8.h"
#include "pgwire/pgtype.h"
#include "pgwire/pgtype_internal.h"

enum {
    /* From which power of ten on, and below which, digits are printed with an exponent. */
    PG_DOUBLE_EXPONENT_MIN = -4,
    PG_DOUBLE_EXPONENT_END = 15,
    PG_FLOAT_EXPONENT_END = 6,
    HEX_BYTES_MAX = 4096, /* bytes that are reserved at a time */
};

void pgtype_uuid_format(const uint8_t *bytes, char out[PGTYPE_UUID_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < PGTYPE_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[used++] = '-';
        out[used++] = hex[bytes[i] >> 4];
        out[used++] = hex[bytes[i] & 15];
    }
    sq_assert(used == PGTYPE_UUID_TEXT_BYTES);
}

bool pgtype_uuid_parse(const char *text, size_t length, uint8_t out[PGTYPE_UUID_BYTES])
{
    if (length >= 2 && text[0] == '{' && text[length - 1] == '}') {
        text++;
        length -= 2;
    }
    uint8_t bytes[PGTYPE_UUID_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < PGTYPE_UUID_BYTES; i++) {
        if (length - at < 2)
            return false;
        int high = pgtype_hex_digit(text[at]);
        int low = pgtype_hex_digit(text[at + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
        if (i % 2 == 1 && i < PGTYPE_UUID_BYTES - 1 && at < length && text[at] == '-')
            at++;
    }
    if (at != length)
        return false;
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

static void put_hex(struct sq_buf *out, const char *data, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    sq_buf_put(out, "\\x", 2);
    for (size_t at = 0; at < length;) {
        size_t count = length - at < HEX_BYTES_MAX ? length - at : HEX_BYTES_MAX;
        if (!sq_buf_grow_for(out, 2 * count))
            return;
        uint8_t *tail = sq_buf_tail(out);
        for (size_t i = 0; i < count; i++, at++) {
            tail[2 * i] = (uint8_t)hex[(uint8_t)data[at] >> 4];
            tail[2 * i + 1] = (uint8_t)hex[(uint8_t)data[at] & 15];
        }
        sq_buf_produce(out, 2 * count);
    }
}

static void put_integer(struct sq_buf *out, int64_t value)
{
    if (sq_buf_grow_for(out, PGTYPE_INT64_BYTES_MAX))
        sq_buf_produce(out, pgtype_int64_format(value, (char *)sq_buf_tail(out)));
}

/* d[.ddd]e+XX, at least two digits of exponent, as both PostgreSQL and SQLite have it. `min_fraction`: digits behind
 * the point at least. */
static void put_with_exponent(struct sq_buf *out, const struct pgtype_decimal *decimal, size_t min_fraction)
{
    char text[PGTYPE_DOUBLE_BYTES_MAX];
    size_t used = 0;
    text[used++] = decimal->digits[0];
    if (decimal->digit_count > 1 || min_fraction > 0)
        text[used++] = '.';
    memcpy(text + used, decimal->digits + 1, decimal->digit_count - 1);
    used += decimal->digit_count - 1;
    if (decimal->digit_count == 1 && min_fraction > 0)
        text[used++] = '0';
    int64_t power = decimal->exponent < 0 ? -decimal->exponent : decimal->exponent;
    text[used++] = 'e';
    text[used++] = decimal->exponent < 0 ? '-' : '+';
    if (power < 10)
        text[used++] = '0';
    if (decimal->is_negative)
        sq_buf_put_u8(out, '-');
    sq_buf_put(out, text, used);
    put_integer(out, power);
}

/* As float8out() and float4out() print: "Infinity", "-0", "1e+15", "0.0001", 1e-05". */
static void put_float(struct sq_buf *out, double value, bool is_float4)
{
    char digits[PGTYPE_DOUBLE_DIGITS_MAX];
    struct pgtype_decimal decimal;
    if (isnan(value)) {
        sq_buf_put_text(out, "NaN");
    } else if (isinf(value)) {
        sq_buf_put_text(out, value < 0 ? "-Infinity" : "Infinity");
    } else {
        if (is_float4)
            pgtype_decimal_of_float((float)value, digits, &decimal);
        else
            pgtype_decimal_of_double(value, false, digits, &decimal);
        if (decimal.length == 0)
            sq_buf_put_text(out, decimal.is_negative ? "-0" : "0");
        else if (decimal.exponent < PG_DOUBLE_EXPONENT_MIN ||
                 decimal.exponent >= (is_float4 ? PG_FLOAT_EXPONENT_END : PG_DOUBLE_EXPONENT_END))
            put_with_exponent(out, &decimal, 0);
        else
            pgtype_decimal_put_plain(out, &decimal);
    }
}

/* As SQLite's "%!.15g" (sqlite.org/printf.html: '!' keeps a digit behind the point), with up to 17 digits where 15 are
 * not enough; infinity is "Inf". */
static void put_sqlite_real(struct sq_buf *out, double value)
{
    char digits[PGTYPE_DOUBLE_DIGITS_MAX];
    struct pgtype_decimal decimal;
    if (isnan(value) || isinf(value)) {
        sq_buf_put_text(out, isnan(value) ? "NaN" : value < 0 ? "-Inf" : "Inf");
        return;
    }
    pgtype_decimal_of_double(value, true, digits, &decimal);
    if (decimal.length > 0 &&
        (decimal.exponent < PG_DOUBLE_EXPONENT_MIN || decimal.exponent >= PG_DOUBLE_EXPONENT_END)) {
        put_with_exponent(out, &decimal, 1);
        return;
    }
    if (decimal.scale == 0)
        decimal.scale = 1;
    pgtype_decimal_put_plain(out, &decimal);
}

static void put_real(struct sq_buf *out, uint32_t oid, double value)
{
    if (oid == PGTYPE_FLOAT8) {
        put_float(out, value, false);
    } else if (oid == PGTYPE_FLOAT4) {
        /* A double that no float4 is keeps its own digits: rounding would show another number than is stored. */
        put_float(out, value, fabs(value) <= (double)__FLT_MAX__ && (double)(float)value == value);
    } else if (oid == PGTYPE_NUMERIC && isfinite(value)) {
        char digits[PGTYPE_DOUBLE_DIGITS_MAX];
        struct pgtype_decimal decimal;
        pgtype_decimal_of_double(value, false, digits, &decimal);
        pgtype_decimal_put_plain(out, &decimal);
    } else if (oid == PGTYPE_NUMERIC) {
        put_float(out, value, false);
    } else {
        put_sqlite_real(out, value);
    }
}

static void put_blob(struct sq_buf *out, uint32_t oid, const char *data, size_t length)
{
    if (oid == PGTYPE_UUID && length == PGTYPE_UUID_BYTES) {
        char text[PGTYPE_UUID_TEXT_BYTES];
        pgtype_uuid_format((const uint8_t *)data, text);
        sq_buf_put(out, text, sizeof(text));
    } else if (oid != PGTYPE_BYTEA && (length == 0 || memchr(data, '\0', length) == NULL) &&
               sq_utf8_is_valid(data, length)) {
        sq_buf_put(out, data, length);
    } else {
        put_hex(out, data, length);
    }
}

sq_status pgtype_put_text(struct sq_buf *out, uint32_t oid, const struct sq_value *value)
{
    switch (value->kind) {
    case SQ_VALUE_INTEGER:
        if (oid == PGTYPE_BOOL && (value->integer == 0 || value->integer == 1))
            sq_buf_put_u8(out, value->integer != 0 ? 't' : 'f');
        else
            put_integer(out, value->integer);
        break;
    case SQ_VALUE_REAL:
        put_real(out, oid, value->real);
        break;
    case SQ_VALUE_TEXT:
        if (oid == PGTYPE_BOOL && pgtype_is_word(value->bytes.data, value->bytes.length, "true"))
            sq_buf_put_u8(out, 't');
        else if (oid == PGTYPE_BOOL && pgtype_is_word(value->bytes.data, value->bytes.length, "false"))
            sq_buf_put_u8(out, 'f');
        else
            sq_buf_put(out, value->bytes.data, value->bytes.length);
        break;
    case SQ_VALUE_BLOB:
        put_blob(out, oid, value->bytes.data, value->bytes.length);
        break;
    case SQ_VALUE_NULL:
        sq_assert(value->kind != SQ_VALUE_NULL);
        break;
    }
    return SQ_LIKELY(!out->is_failed) ? SQ_OK : sq_buf_check(out, NULL);
}
