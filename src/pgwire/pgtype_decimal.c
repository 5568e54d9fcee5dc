/* pgwire/pgtype_decimal.c: numbers as decimal text, both ways; see pgtype_internal.h. Everything here is the same in
 * every locale. */
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>

#include "pgwire/pgtype_internal.h"

size_t pgtype_int64_format(int64_t value, char out[PGTYPE_INT64_BYTES_MAX])
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
        "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
        "9899";
    char reversed[PGTYPE_INT64_BYTES_MAX];
    size_t at = sizeof(reversed);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    while (rest >= 100) {
        at -= 2;
        memcpy(reversed + at, pairs + rest % 100 * 2, 2);
        rest /= 100;
    }
    if (rest >= 10) {
        at -= 2;
        memcpy(reversed + at, pairs + rest * 2, 2);
    } else {
        reversed[--at] = (char)('0' + rest);
    }
    if (value < 0)
        reversed[--at] = '-';
    memcpy(out, reversed + at, sizeof(reversed) - at);
    return sizeof(reversed) - at;
}

bool pgtype_is_word(const char *text, size_t length, const char *word)
{
    size_t i = 0;
    for (; i < length && word[i] != '\0'; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        if (c != word[i])
            return false;
    }
    return i == length && word[i] == '\0';
}

/* [sign] digits, all of `text`; clamped to +-PGTYPE_EXPONENT_MAX. */
static bool exponent_parse(const char *text, size_t length, int64_t *ret)
{
    size_t at = 0;
    bool is_negative = length > 0 && text[0] == '-';
    if (length > 0 && (text[0] == '-' || text[0] == '+'))
        at++;
    if (at == length)
        return false;
    int64_t exponent = 0;
    for (; at < length; at++) {
        if (!pgtype_is_digit(text[at]))
            return false;
        exponent = exponent * 10 + (text[at] - '0');
        if (exponent > PGTYPE_EXPONENT_MAX)
            exponent = PGTYPE_EXPONENT_MAX;
    }
    *ret = is_negative ? -exponent : exponent;
    return true;
}

/* digits [. digits] without sign; sets digits, length, digit_count, and exponent and scale but for an e-part. */
static bool mantissa_parse(const char *text, size_t length, struct pgtype_decimal *ret)
{
    size_t point = length;
    size_t first = length; /* of the digits other than 0 */
    size_t last = 0;
    size_t digit_count = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.' && point == length) {
            point = i;
        } else if (pgtype_is_digit(text[i])) {
            digit_count++;
            if (text[i] != '0') {
                first = first == length ? i : first;
                last = i;
            }
        } else {
            return false;
        }
    }
    if (digit_count == 0)
        return false;
    ret->scale = point < length ? (int64_t)(length - point - 1) : 0;
    if (first == length)
        return true;
    ret->digits = text + first;
    ret->length = last - first + 1;
    ret->digit_count = ret->length - (first < point && point < last);
    ret->exponent = first < point ? (int64_t)(point - first) - 1 : -(int64_t)(first - point);
    return true;
}

enum pgtype_number_kind pgtype_decimal_parse(const char *text, size_t length, struct pgtype_decimal *ret)
{
    struct pgtype_decimal decimal = {.digits = ""};
    pgtype_trim(&text, &length);
    if (length > 0 && (*text == '-' || *text == '+')) {
        decimal.is_negative = *text == '-';
        text++;
        length--;
    }
    if (pgtype_is_word(text, length, "inf") || pgtype_is_word(text, length, "infinity")) {
        *ret = decimal;
        return PGTYPE_NUMBER_INFINITE;
    }
    if (pgtype_is_word(text, length, "nan"))
        return PGTYPE_NUMBER_NAN;

    size_t mantissa_bytes = 0;
    while (mantissa_bytes < length && text[mantissa_bytes] != 'e' && text[mantissa_bytes] != 'E')
        mantissa_bytes++;
    int64_t exponent = 0;
    if (!mantissa_parse(text, mantissa_bytes, &decimal))
        return PGTYPE_NUMBER_BAD;
    if (mantissa_bytes < length && !exponent_parse(text + mantissa_bytes + 1, length - mantissa_bytes - 1, &exponent))
        return PGTYPE_NUMBER_BAD;
    if (decimal.length > 0)
        decimal.exponent += exponent;
    decimal.scale = decimal.scale > exponent ? decimal.scale - exponent : 0;
    *ret = decimal;
    return PGTYPE_NUMBER_FINITE;
}

static void put_zeros(struct sq_buf *out, int64_t count)
{
    static const char zeros[] = "00000000000000000000000000000000";
    for (; count > 0; count -= (int64_t)sizeof(zeros) - 1)
        sq_buf_put(out, zeros, count < (int64_t)sizeof(zeros) - 1 ? (size_t)count : sizeof(zeros) - 1);
}

/* The next `count` digits of the number, from *at on; zeros where it has no more. */
static void put_digits(struct sq_buf *out, const struct pgtype_decimal *decimal, size_t *at, int64_t count)
{
    while (count > 0 && *at < decimal->length) {
        char c = decimal->digits[(*at)++];
        if (c != '.') {
            sq_buf_put_u8(out, (uint8_t)c);
            count--;
        }
    }
    put_zeros(out, count);
}

void pgtype_decimal_put_plain(struct sq_buf *out, const struct pgtype_decimal *decimal)
{
    size_t at = 0;
    bool is_below_one = decimal->length == 0 || decimal->exponent < 0;
    if (decimal->is_negative && decimal->length > 0)
        sq_buf_put_u8(out, '-');
    if (is_below_one)
        sq_buf_put_u8(out, '0');
    else
        put_digits(out, decimal, &at, decimal->exponent + 1);
    if (decimal->scale == 0)
        return;
    sq_buf_put_u8(out, '.');
    int64_t zeros = 0;
    if (is_below_one)
        zeros = decimal->length == 0 ? decimal->scale : -decimal->exponent - 1;
    if (zeros > decimal->scale)
        zeros = decimal->scale;
    put_zeros(out, zeros);
    put_digits(out, decimal, &at, decimal->scale - zeros);
}

bool pgtype_decimal_to_int64(const struct pgtype_decimal *decimal, int64_t *ret)
{
    if (decimal->length == 0) {
        *ret = 0;
        return true;
    }
    /* 19 digits are below 10^19 < 2^64; a digit behind the point would be no zero. */
    if (decimal->exponent > 18 || (int64_t)decimal->digit_count - 1 > decimal->exponent)
        return false;
    uint64_t value = 0;
    int64_t left = decimal->exponent + 1;
    for (size_t i = 0; i < decimal->length; i++) {
        if (decimal->digits[i] != '.') {
            value = value * 10 + (uint64_t)(decimal->digits[i] - '0');
            left--;
        }
    }
    for (; left > 0; left--)
        value *= 10;
    if (value > (uint64_t)INT64_MAX + decimal->is_negative)
        return false;
    *ret = decimal->is_negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void c_locale_make(void)
{
    /* glibc hands out its built-in "C" locale here and allocates nothing. */
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    sq_assert(c_locale != (locale_t)0);
}

double pgtype_strtod(const char *text)
{
    pthread_once(&c_locale_once, c_locale_make);
    return strtod_l(text, NULL, c_locale);
}

float pgtype_strtof(const char *text)
{
    pthread_once(&c_locale_once, c_locale_make);
    return strtof_l(text, NULL, c_locale);
}
