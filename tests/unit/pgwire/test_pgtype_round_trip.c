/* Random values out and in again, in both formats: nothing may change on the way. The seed is fixed; what is random is
 * only which of the very many values are looked at. */
#include "pgtype_test.h"

#include <math.h>

enum { ROUNDS = 20000 };

static uint64_t random_bits(uint64_t *seed)
{
    /* xorshift64*, Marsaglia and Vigna. */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(0x2545F4914F6CDD1D);
}

/* Doubles of all exponents, decimals of few digits, integers, and neighbours of powers of two. */
static double random_double(uint64_t *seed)
{
    double value;
    uint64_t bits = random_bits(seed);
    switch (bits % 4) {
    case 0:
        bits = random_bits(seed);
        break;
    case 1:
        value = (double)(int64_t)(random_bits(seed) % 2000000) - 1000000;
        return value / pow(10, (double)(bits >> 8 & 7));
    case 2:
        return (double)(int64_t)(random_bits(seed) >> (bits >> 8 & 63));
    default:
        bits = (random_bits(seed) % 2047 << 52) + random_bits(seed) % 3 - 1;
        break;
    }
    memcpy(&value, &bits, sizeof(value));
    return isfinite(value) ? value : 0.5;
}

/* Sends `value` as `oid` in `format` and reads it again. */
static void pass_through(uint32_t oid, int format, const struct sq_value *value, const struct sq_value *expected)
{
    struct sq_buf buf;
    struct sq_error err;
    struct parameter parameter;
    sq_buf_init(&buf, TEST_BYTES_MAX);
    if (format == PGTYPE_FORMAT_TEXT)
        assert_int_equal(pgtype_put_text(&buf, oid, value), SQ_OK);
    else
        assert_int_equal(pgtype_put_binary(&buf, oid, value, &err), SQ_OK);
    parameter_get(&parameter, oid, format, sq_buf_bytes(&buf), sq_buf_length(&buf));
    if (parameter.status != SQ_OK)
        fail_msg("'%.*s': %s", (int)sq_buf_length(&buf), (char *)sq_buf_bytes(&buf), parameter.err.text);
    assert_same_value(&parameter.value, expected, "round trip");
    parameter_done(&parameter);
    sq_buf_done(&buf);
}

static void pass_both(uint32_t oid, const struct sq_value *value)
{
    pass_through(oid, PGTYPE_FORMAT_TEXT, value, value);
    pass_through(oid, PGTYPE_FORMAT_BINARY, value, value);
}

static void integers_stay_the_same(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < ROUNDS; i++) {
        struct sq_value value = integer_value((int64_t)random_bits(&seed) >> (random_bits(&seed) % 64));
        pass_both(PGTYPE_INT8, &value);
        pass_both(PGTYPE_NUMERIC, &value);
    }
}

static void doubles_stay_the_same(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int i = 0; i < ROUNDS; i++) {
        struct sq_value value = real_value(random_double(&seed));
        pass_both(PGTYPE_FLOAT8, &value);
        struct sq_value single = real_value((double)(float)value.real);
        if (isfinite(single.real))
            pass_both(PGTYPE_FLOAT4, &single);
    }
}

/* No text with fewer digits reads back as the same double. */
static void doubles_have_the_fewest_digits(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < ROUNDS; i++) {
        struct sq_buf buf;
        char shorter[64];
        struct sq_value value = real_value(random_double(&seed));
        int digits = 0;
        bool has_exponent = false;
        bool is_leading = true;
        int zeros = 0;
        sq_buf_init(&buf, TEST_BYTES_MAX);
        assert_int_equal(pgtype_put_text(&buf, PGTYPE_FLOAT8, &value), SQ_OK);
        sq_buf_put_u8(&buf, 0);
        const char *text = (const char *)sq_buf_bytes(&buf);
        assert_true(strtod(text, NULL) == value.real);
        for (const char *at = text; *at != '\0' && !has_exponent; at++) {
            has_exponent = *at == 'e';
            if (*at < '0' || *at > '9' || (is_leading && *at == '0'))
                continue;
            is_leading = false;
            digits++;
            zeros = *at == '0' ? zeros + 1 : 0;
        }
        digits -= zeros;
        assert_true(digits <= 17);
        /* Above 2^53 a shorter decimal may lie in the very middle of two doubles, which does not count. */
        if (digits > 1 && fabs(value.real) < 9007199254740992.0) {
            snprintf(shorter, sizeof(shorter), "%.*e", digits - 2, value.real);
            if (strtod(shorter, NULL) == value.real)
                fail_msg("%s is longer than %s", text, shorter);
        }
        sq_buf_done(&buf);
    }
}

static void texts_and_blobs_stay_the_same(void **state)
{
    (void)state;
    uint64_t seed = 4;
    char bytes[300];
    for (int i = 0; i < ROUNDS / 10; i++) {
        size_t length = (size_t)(random_bits(&seed) % sizeof(bytes));
        for (size_t at = 0; at < length; at++)
            bytes[at] = (char)random_bits(&seed);
        struct sq_value blob = bytes_value(SQ_VALUE_BLOB, bytes, length);
        pass_both(PGTYPE_BYTEA, &blob);
        for (size_t at = 0; at < length; at++)
            bytes[at] = (char)(1 + (bytes[at] & 0x7F) % 127);
        struct sq_value text = bytes_value(SQ_VALUE_TEXT, bytes, length);
        pass_both(PGTYPE_TEXT, &text);
        struct sq_value json = text;
        pass_both(PGTYPE_JSONB, &json);
    }
}

static void booleans_stay_the_same(void **state)
{
    (void)state;
    struct sq_value no = integer_value(0);
    struct sq_value yes = integer_value(1);
    pass_both(PGTYPE_BOOL, &no);
    pass_both(PGTYPE_BOOL, &yes);
}

/* Every day of SQLite's calendar once, each with another time of day. */
static void every_day_stays_the_same(void **state)
{
    (void)state;
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t seed = 5;
    char text[64];
    int64_t day = 0;
    for (int year = 0; year <= 9999; year++) {
        bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        /* All days of some years, the ends of the months of all. */
        bool is_whole = year % 97 == 0 || year == 9999 || year == 2000 || year == 1900;
        for (int month = 1; month <= 12; month++) {
            int days = month_days[month - 1] + (is_leap && month == 2);
            for (int i = 1; i <= days; i++, day++) {
                if (!is_whole && i != 1 && i != days)
                    continue;
                unsigned second = (unsigned)(random_bits(&seed) % 86400);
                snprintf(text, sizeof(text), "%04d-%02d-%02d %02u:%02u:%02u.%06u", year, month, i, second / 3600,
                         second / 60 % 60, second % 60, (unsigned)(random_bits(&seed) % 99999 * 10 + 1));
                struct sq_value timestamp = text_value(text);
                struct sq_value date = bytes_value(SQ_VALUE_TEXT, text, 10);
                pass_through(PGTYPE_TIMESTAMP, PGTYPE_FORMAT_BINARY, &timestamp, &timestamp);
                pass_through(PGTYPE_DATE, PGTYPE_FORMAT_BINARY, &date, &date);
                /* Days are counted without a gap: 0000-01-01 is 730485 days before 2000-01-01. */
                struct sq_buf buf;
                struct sq_error err;
                sq_buf_init(&buf, TEST_BYTES_MAX);
                assert_int_equal(pgtype_put_binary(&buf, PGTYPE_DATE, &date, &err), SQ_OK);
                uint32_t expected = __builtin_bswap32((uint32_t)(int32_t)(day - 730485));
                assert_bytes(&buf, &expected, sizeof(expected), text);
                sq_buf_done(&buf);
            }
        }
    }
}

/* Decimal texts of any length and scale: the binary form and back gives the canonical text. */
static void long_numerics_stay_the_same(void **state)
{
    (void)state;
    uint64_t seed = 6;
    for (int i = 0; i < ROUNDS; i++) {
        char text[80];
        size_t used = 0;
        size_t before = 16 + (size_t)(random_bits(&seed) % 20);
        size_t behind = (size_t)(random_bits(&seed) % 20);
        if (random_bits(&seed) % 2 == 0)
            text[used++] = '-';
        text[used++] = (char)('1' + random_bits(&seed) % 9);
        for (size_t at = 1; at < before; at++)
            text[used++] = (char)('0' + random_bits(&seed) % 10);
        if (behind > 0)
            text[used++] = '.';
        for (size_t at = 0; at < behind; at++)
            text[used++] = (char)('0' + random_bits(&seed) % 10);
        /* Sixteen digits or more that are not zeros at the end: too many for a double. */
        text[used - 1] = '7';
        text[used] = '\0';
        struct sq_value value = text_value(text);
        struct parameter parameter;
        parameter_get(&parameter, PGTYPE_NUMERIC, PGTYPE_FORMAT_TEXT, text, used);
        assert_int_equal(parameter.status, SQ_OK);
        pass_through(PGTYPE_NUMERIC, PGTYPE_FORMAT_BINARY, &value, &parameter.value);
        if (parameter.value.kind == SQ_VALUE_TEXT)
            assert_same_value(&parameter.value, &value, text);
        else
            assert_true(behind == 0 && used <= 20);
        parameter_done(&parameter);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_stay_the_same),         cmocka_unit_test(doubles_stay_the_same),
        cmocka_unit_test(doubles_have_the_fewest_digits), cmocka_unit_test(texts_and_blobs_stay_the_same),
        cmocka_unit_test(booleans_stay_the_same),         cmocka_unit_test(every_day_stays_the_same),
        cmocka_unit_test(long_numerics_stay_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
