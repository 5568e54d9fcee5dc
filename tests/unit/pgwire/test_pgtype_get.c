/* Parameters in text and binary format: what becomes of them, and what is refused with which SQLSTATE. */
#include "pgtype_test.h"

#include <locale.h>
#include <math.h>

static void integers_in_text(void **state)
{
    (void)state;
    assert_get_text(PGTYPE_INT8, "0", integer_value(0));
    assert_get_text(PGTYPE_INT8, "-0", integer_value(0));
    assert_get_text(PGTYPE_INT8, "+42", integer_value(42));
    assert_get_text(PGTYPE_INT8, " \t-42\n ", integer_value(-42));
    assert_get_text(PGTYPE_INT8, "007", integer_value(7));
    assert_get_text(PGTYPE_INT8, "9223372036854775807", integer_value(INT64_MAX));
    assert_get_text(PGTYPE_INT8, "-9223372036854775808", integer_value(INT64_MIN));
    assert_get_text(PGTYPE_INT4, "2147483647", integer_value(INT32_MAX));
    assert_get_text(PGTYPE_INT4, "-2147483648", integer_value(INT32_MIN));
    assert_get_text(PGTYPE_INT2, "32767", integer_value(INT16_MAX));
    assert_get_text(PGTYPE_INT2, "-32768", integer_value(INT16_MIN));
    assert_get_text(PGTYPE_OID, "4294967295", integer_value(UINT32_MAX));
    static const struct {
        uint32_t oid;
        const char *text;
    } over[] = {
        {PGTYPE_INT8, "9223372036854775808"},
        {PGTYPE_INT8, "-9223372036854775809"},
        {PGTYPE_INT8, "99999999999999999999999999"},
        {PGTYPE_INT4, "2147483648"},
        {PGTYPE_INT4, "-2147483649"},
        {PGTYPE_INT2, "32768"},
        {PGTYPE_INT2, "-32769"},
        {PGTYPE_OID, "4294967296"},
        {PGTYPE_OID, "-1"},
    };
    for (size_t i = 0; i < COUNT_OF(over); i++)
        assert_get_text_fails(over[i].oid, over[i].text, "22003");
    static const char *const bad[] = {"", " ", "-", "+", "1.0", "1e3", "0x10", "--1", "+-1", "1 2", "abc", "1_000"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_get_text_fails(PGTYPE_INT4, bad[i], "22P02");
}

static void the_message_quotes_the_text(void **state)
{
    (void)state;
    struct parameter parameter;
    parameter_get(&parameter, PGTYPE_INT4, PGTYPE_FORMAT_TEXT, "x\xC3\xA4", 3);
    assert_string_equal(parameter.err.text, "invalid input syntax for type integer: \"x\xC3\xA4\"");
    parameter_done(&parameter);
    parameter_get(&parameter, PGTYPE_INT2, PGTYPE_FORMAT_TEXT, "40000", 5);
    assert_string_equal(parameter.err.text, "value \"40000\" is out of range for type smallint");
    parameter_done(&parameter);
}

static void floats_in_text(void **state)
{
    (void)state;
    assert_get_text(PGTYPE_FLOAT8, "1.5", real_value(1.5));
    assert_get_text(PGTYPE_FLOAT8, " -.5e-3 ", real_value(-0.0005));
    assert_get_text(PGTYPE_FLOAT8, "5.", real_value(5));
    assert_get_text(PGTYPE_FLOAT8, "7", real_value(7));
    assert_get_text(PGTYPE_FLOAT8, "-0", real_value(-0.0));
    assert_get_text(PGTYPE_FLOAT8, "0e99999", real_value(0.0));
    assert_get_text(PGTYPE_FLOAT8, "1.7976931348623157e308", real_value(1.7976931348623157e308));
    assert_get_text(PGTYPE_FLOAT8, "5e-324", real_value(5e-324));
    assert_get_text(PGTYPE_FLOAT8, "Infinity", real_value(INFINITY));
    assert_get_text(PGTYPE_FLOAT8, "-inf", real_value(-INFINITY));
    assert_get_text(PGTYPE_FLOAT4, "0.1", real_value((double)0.1f));
    static const char *const over[] = {"1e400", "-1e400", "1e-400", "1e99999999999999999999", "NaN", "nan"};
    for (size_t i = 0; i < COUNT_OF(over); i++)
        assert_get_text_fails(PGTYPE_FLOAT8, over[i], "22003");
    assert_get_text_fails(PGTYPE_FLOAT4, "1e39", "22003");
    assert_get_text_fails(PGTYPE_FLOAT4, "1e-46", "22003");
    static const char *const bad[] = {"", "-", ".", "e5", "1e", "1e+", "1..2", "1.2.3", "1 2", "0x1p3", "infx", "1,5"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_get_text_fails(PGTYPE_FLOAT8, bad[i], "22P02");
}

/* The drop-in client lives in programs that set a locale with a decimal comma. */
static void the_locale_does_not_matter(void **state)
{
    (void)state;
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "C"};
    for (size_t i = 0; i < COUNT_OF(locales); i++) {
        if (setlocale(LC_ALL, locales[i]) == NULL)
            continue;
        assert_get_text(PGTYPE_FLOAT8, "1.2345678901234567e-7", real_value(1.2345678901234567e-7));
        assert_get_text(PGTYPE_NUMERIC, "0.00000000000000000000012", real_value(1.2e-22));
        assert_text(PGTYPE_FLOAT8, real_value(1.5), "1.5");
    }
    assert_non_null(setlocale(LC_ALL, "C"));
}

static void booleans_in_text(void **state)
{
    (void)state;
    static const char *const yes[] = {"t", "tr", "true", "TRUE", "y", "yes", "on", "1", " t ", "oN"};
    static const char *const no[] = {"f", "fa", "false", "False", "n", "no", "of", "off", "0"};
    static const char *const bad[] = {"", " ", "o", "2", "10", "truex", "tf", "-1"};
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        assert_get_text(PGTYPE_BOOL, yes[i], integer_value(1));
    for (size_t i = 0; i < COUNT_OF(no); i++)
        assert_get_text(PGTYPE_BOOL, no[i], integer_value(0));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_get_text_fails(PGTYPE_BOOL, bad[i], "22P02");
}

static void bytea_in_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *bytes;
        size_t length;
    } rows[] = {
        {"\\x", "", 0},
        {"\\xDEADbeef", "\xDE\xAD\xBE\xEF", 4},
        {"\\x de ad\n", "\xDE\xAD", 2},
        {"", "", 0},
        {"abc", "abc", 3},
        {"a\\\\b", "a\\b", 3},
        {"\\000\\377", "\x00\xFF", 2},
        {"\\303\\244", "\xC3\xA4", 2},
        {"\xC3\xA4", "\xC3\xA4", 2},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_get_text(PGTYPE_BYTEA, rows[i].text, bytes_value(SQ_VALUE_BLOB, rows[i].bytes, rows[i].length));
    static const char *const bad_hex[] = {"\\x0", "\\xZZ", "\\x0g", "\\xd e", "\\x 0"};
    for (size_t i = 0; i < COUNT_OF(bad_hex); i++)
        assert_get_text_fails(PGTYPE_BYTEA, bad_hex[i], "22023");
    static const char *const bad_escape[] = {"\\", "\\1", "\\00", "\\400", "\\08x", "a\\b", "\\X00"};
    for (size_t i = 0; i < COUNT_OF(bad_escape); i++)
        assert_get_text_fails(PGTYPE_BYTEA, bad_escape[i], "22P02");
}

static void numerics_become_what_holds_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct sq_value value;
    } rows[] = {
        {"0", {.kind = SQ_VALUE_INTEGER, .integer = 0}},
        {"-12", {.kind = SQ_VALUE_INTEGER, .integer = -12}},
        {"5e2", {.kind = SQ_VALUE_INTEGER, .integer = 500}},
        {"1.5e3", {.kind = SQ_VALUE_INTEGER, .integer = 1500}},
        {"9223372036854775807", {.kind = SQ_VALUE_INTEGER, .integer = INT64_MAX}},
        {"-9223372036854775808", {.kind = SQ_VALUE_INTEGER, .integer = INT64_MIN}},
        {"5.00", {.kind = SQ_VALUE_REAL, .real = 5.0}}, /* 5.00 / 2 is 2.5 */
        {"0.0", {.kind = SQ_VALUE_REAL, .real = 0.0}},
        {"-0.0", {.kind = SQ_VALUE_REAL, .real = 0.0}}, /* numeric has no -0 */
        {"0.1", {.kind = SQ_VALUE_REAL, .real = 0.1}},
        {"-123.4500", {.kind = SQ_VALUE_REAL, .real = -123.45}},
        {"123456789012.345", {.kind = SQ_VALUE_REAL, .real = 123456789012.345}},
        {"1e20", {.kind = SQ_VALUE_REAL, .real = 1e20}},
        {"1e-30", {.kind = SQ_VALUE_REAL, .real = 1e-30}},
        {"Infinity", {.kind = SQ_VALUE_REAL, .real = INFINITY}},
        {"9223372036854775808", {.kind = SQ_VALUE_TEXT, .bytes = {"9223372036854775808", 19}}},
        {"0.1234567890123456", {.kind = SQ_VALUE_TEXT, .bytes = {"0.1234567890123456", 18}}},
        {"1234567890123456.50", {.kind = SQ_VALUE_TEXT, .bytes = {"1234567890123456.50", 19}}},
        {"-1234567890.1234567e-2", {.kind = SQ_VALUE_TEXT, .bytes = {"-12345678.901234567", 19}}},
        {"0012345678901234567890", {.kind = SQ_VALUE_TEXT, .bytes = {"12345678901234567890", 20}}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_get_text(PGTYPE_NUMERIC, rows[i].text, rows[i].value);
    assert_get_text_fails(PGTYPE_NUMERIC, "NaN", "22003");
    static const char *const bad[] = {"", "-", "abc", "1.2.3", "1e", "1 2"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_get_text_fails(PGTYPE_NUMERIC, bad[i], "22P02");
}

/* Just within PGTYPE_NUMERIC_DIGITS_MAX, and just beyond. */
static void numerics_have_a_limit_of_digits(void **state)
{
    (void)state;
    struct parameter parameter;
    parameter_get(&parameter, PGTYPE_NUMERIC, PGTYPE_FORMAT_TEXT, "1e999", 5);
    assert_int_equal(parameter.status, SQ_OK);
    assert_int_equal(parameter.value.kind, SQ_VALUE_TEXT);
    assert_int_equal(parameter.value.bytes.length, PGTYPE_NUMERIC_DIGITS_MAX);
    parameter_done(&parameter);
    parameter_get(&parameter, PGTYPE_NUMERIC, PGTYPE_FORMAT_TEXT, "1e-1000", 7);
    assert_int_equal(parameter.status, SQ_OK);
    assert_int_equal(parameter.value.bytes.length, 2 + PGTYPE_NUMERIC_DIGITS_MAX);
    parameter_done(&parameter);
    assert_get_text_fails(PGTYPE_NUMERIC, "1e1000", "22003");
    assert_get_text_fails(PGTYPE_NUMERIC, "1e-1001", "22003");
    assert_get_text_fails(PGTYPE_NUMERIC, "1e999999999999", "22003");
    assert_get_binary_fails(PGTYPE_NUMERIC, "00017fff000000000001", "22003");
    assert_get_binary_fails(PGTYPE_NUMERIC, "0000000000003fff", "22003");
}

static void numerics_in_binary(void **state)
{
    (void)state;
    assert_get_binary(PGTYPE_NUMERIC, "0000000000000000", integer_value(0));
    assert_get_binary(PGTYPE_NUMERIC, "0000000000000002", real_value(0.0));
    assert_get_binary(PGTYPE_NUMERIC, "00010000400000000001", integer_value(-1));
    assert_get_binary(PGTYPE_NUMERIC, "00010001000000000001", integer_value(10000));
    assert_get_binary(PGTYPE_NUMERIC, "0002000040000004007b1194", real_value(-123.45));
    assert_get_binary(PGTYPE_NUMERIC, "0001fffe0000000503e8", real_value(0.00001));
    assert_get_binary(PGTYPE_NUMERIC, "0005000400000000039a0d2c0170156516b0", text_value("9223372036854775808"));
    assert_get_binary(PGTYPE_NUMERIC, "000b000700000009000c0d801ed204d2162e23340d801ed204d2162e2328",
                      text_value("123456789012345678901234567890.123456789"));
    assert_get_binary(PGTYPE_NUMERIC, "00000000d0000020", real_value(INFINITY));
    assert_get_binary(PGTYPE_NUMERIC, "00000000f0000020", real_value(-INFINITY));
    /* Digits that dscale hides are dropped, as numeric_recv() does; zeros at the ends are harmless. */
    assert_get_binary(PGTYPE_NUMERIC, "000200000000000100010539", real_value(1.1));
    assert_get_binary(PGTYPE_NUMERIC, "000200000000000000010539", integer_value(1));
    assert_get_binary(PGTYPE_NUMERIC, "00030001000000000000000c0000", integer_value(12));
    assert_get_binary_fails(PGTYPE_NUMERIC, "00000000c0000000", "22003"); /* NaN */
    assert_get_binary_fails(PGTYPE_NUMERIC, "", "22P03");
    assert_get_binary_fails(PGTYPE_NUMERIC, "00000000000000", "22P03");
    assert_get_binary_fails(PGTYPE_NUMERIC, "000100000000000000", "22P03");       /* half a digit */
    assert_get_binary_fails(PGTYPE_NUMERIC, "000100000000000000010001", "22P03"); /* one too many */
    assert_get_binary_fails(PGTYPE_NUMERIC, "ffff00000000000000010001", "22P03");
    assert_get_binary_fails(PGTYPE_NUMERIC, "00010000000000002710", "22P03"); /* 10000 is no digit */
    assert_get_binary_fails(PGTYPE_NUMERIC, "00010000123400000001", "22P03"); /* no sign */
    assert_get_binary_fails(PGTYPE_NUMERIC, "00010000000040000001", "22P03"); /* dscale */
}

static void fixed_types_in_binary(void **state)
{
    (void)state;
    assert_get_binary(PGTYPE_INT2, "8000", integer_value(INT16_MIN));
    assert_get_binary(PGTYPE_INT4, "fffffffe", integer_value(-2));
    assert_get_binary(PGTYPE_INT8, "7fffffffffffffff", integer_value(INT64_MAX));
    assert_get_binary(PGTYPE_OID, "ffffffff", integer_value(UINT32_MAX));
    assert_get_binary(PGTYPE_REGCLASS, "000004eb", integer_value(1259));
    assert_get_binary(PGTYPE_BOOL, "01", integer_value(1));
    assert_get_binary(PGTYPE_BOOL, "00", integer_value(0));
    assert_get_binary(PGTYPE_FLOAT8, "3ff8000000000000", real_value(1.5));
    assert_get_binary(PGTYPE_FLOAT8, "fff0000000000000", real_value(-INFINITY));
    assert_get_binary(PGTYPE_FLOAT4, "3dcccccd", real_value((double)0.1f));
    assert_get_binary(PGTYPE_CHAR, "72", text_value("r"));
    assert_get_binary(PGTYPE_CHAR, "00", text_value(""));
    assert_get_binary_fails(PGTYPE_FLOAT8, "7ff8000000000000", "22003");
    assert_get_binary_fails(PGTYPE_FLOAT4, "7fc00000", "22003");
}

/* Each type with one byte less and one more than it has. */
static void a_wrong_length_is_refused(void **state)
{
    (void)state;
    static const uint32_t oids[] = {PGTYPE_BOOL,   PGTYPE_INT2, PGTYPE_INT4, PGTYPE_INT8,      PGTYPE_OID,
                                    PGTYPE_FLOAT4, PGTYPE_CHAR, PGTYPE_DATE, PGTYPE_TIMESTAMP, PGTYPE_TIMESTAMPTZ,
                                    PGTYPE_FLOAT8, PGTYPE_TIME, PGTYPE_UUID, PGTYPE_TIMETZ,    PGTYPE_INTERVAL};
    static const uint8_t zeros[64];
    for (size_t i = 0; i < COUNT_OF(oids); i++) {
        size_t length = (size_t)pgtype_length(oids[i]);
        struct parameter parameter;
        parameter_get(&parameter, oids[i], PGTYPE_FORMAT_BINARY, zeros, length);
        assert_int_equal(parameter.status, SQ_OK);
        parameter_done(&parameter);
        assert_get_fails(oids[i], PGTYPE_FORMAT_BINARY, zeros, length - 1, "22P03");
        assert_get_fails(oids[i], PGTYPE_FORMAT_BINARY, zeros, length + 1, "22P03");
        assert_get_fails(oids[i], PGTYPE_FORMAT_BINARY, zeros, 0, "22P03");
    }
}

/* The bytes that PostgreSQL 15 sends, and the text that it prints (offsets as SQLite reads them: with minutes). */
static void dates_and_times_in_binary(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        const char *hex;
        const char *text;
    } rows[] = {
        {PGTYPE_DATE, "00000000", "2000-01-01"},
        {PGTYPE_DATE, "ffffffff", "1999-12-31"},
        {PGTYPE_DATE, "0000003b", "2000-02-29"},
        {PGTYPE_DATE, "ffffd533", "1970-01-01"},
        {PGTYPE_DATE, "fff4dbf9", "0001-01-01"},
        {PGTYPE_DATE, "fff4da8b", "0000-01-01"},
        {PGTYPE_DATE, "002c95d3", "9999-12-31"},
        {PGTYPE_DATE, "7fffffff", "infinity"},
        {PGTYPE_DATE, "80000000", "-infinity"},
        {PGTYPE_TIME, "0000000000000000", "00:00:00"},
        {PGTYPE_TIME, "000000141dd75fff", "23:59:59.999999"},
        {PGTYPE_TIME, "000000141dd76000", "24:00:00"},
        {PGTYPE_TIME, "00000000ddf019e0", "01:02:03.5"},
        {PGTYPE_TIMETZ, "000000000000000000000000", "00:00:00+00:00"},
        {PGTYPE_TIMETZ, "0000000a8be1bd20ffffe3e0", "12:34:56.5+02:00"},
        {PGTYPE_TIMETZ, "0000000a8bda1c0000004d58", "12:34:56-05:30"},
        {PGTYPE_TIMETZ, "0000000a8bda1c0000000001", "12:34:56-00:00:01"},
        {PGTYPE_TIMESTAMP, "0000000000000000", "2000-01-01 00:00:00"},
        {PGTYPE_TIMESTAMP, "ffffffffffffffff", "1999-12-31 23:59:59.999999"},
        {PGTYPE_TIMESTAMP, "0002b58341728608", "2024-02-29 12:34:56.789"},
        {PGTYPE_TIMESTAMP, "ff1fe2ffc59c6000", "0001-01-01 00:00:00"},
        {PGTYPE_TIMESTAMP, "0380e70b913b7fff", "9999-12-31 23:59:59.999999"},
        {PGTYPE_TIMESTAMP, "7fffffffffffffff", "infinity"},
        {PGTYPE_TIMESTAMP, "8000000000000000", "-infinity"},
        {PGTYPE_TIMESTAMPTZ, "0002b581944b3e08", "2024-02-29 10:34:56.789+00:00"},
        {PGTYPE_INTERVAL, "00000000000000000000000000000000", "00:00:00"},
        {PGTYPE_INTERVAL, "000000036c97ca88000000030000000e", "1 year 2 mons 3 days 04:05:06.789"},
        {PGTYPE_INTERVAL, "000000000000000000000000ffffffff", "-1 mons"},
        {PGTYPE_INTERVAL, "0000000000000000ffffffff00000001", "1 mon -1 days"},
        {PGTYPE_INTERVAL, "00000000000f4240ffffffff00000000", "-1 days +00:00:01"},
        {PGTYPE_INTERVAL, "ffffffffffe91ca00000000000000000", "-00:00:01.5"},
        {PGTYPE_INTERVAL, "ffffffffffffffff00000001fffffff3", "-1 years -1 mons +1 day -00:00:00.000001"},
        {PGTYPE_INTERVAL, "80000000000000008000000080000000",
         "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_get_binary(rows[i].oid, rows[i].hex, text_value(rows[i].text));
    /* Years that SQLite does not know; times that are none. */
    assert_get_binary_fails(PGTYPE_DATE, "fff4da8a", "22008");
    assert_get_binary_fails(PGTYPE_DATE, "002c95d4", "22008");
    assert_get_binary_fails(PGTYPE_DATE, "7ffffffe", "22008");
    assert_get_binary_fails(PGTYPE_DATE, "80000001", "22008");
    assert_get_binary_fails(PGTYPE_TIMESTAMP, "0380e70b913b8000", "22008");
    assert_get_binary_fails(PGTYPE_TIMESTAMP, "7ffffffffffffffe", "22008");
    assert_get_binary_fails(PGTYPE_TIMESTAMP, "8000000000000001", "22008");
    assert_get_binary_fails(PGTYPE_TIME, "000000141dd76001", "22008");
    assert_get_binary_fails(PGTYPE_TIME, "ffffffffffffffff", "22008");
    assert_get_binary_fails(PGTYPE_TIMETZ, "000000000000000080000000", "22009");
    assert_get_binary_fails(PGTYPE_TIMETZ, "00000000000000000000e100", "22009");
}

static void texts_are_taken_as_they_are(void **state)
{
    (void)state;
    static const uint32_t oids[] = {0,           PGTYPE_TEXT, PGTYPE_VARCHAR, PGTYPE_BPCHAR,
                                    PGTYPE_NAME, PGTYPE_JSON, PGTYPE_UNKNOWN};
    for (size_t i = 0; i < COUNT_OF(oids); i++) {
        static const char text[] = "h\xC3\xA4llo \xF0\x9F\x98\x80";
        assert_get_text(oids[i], text, text_value(text));
        assert_get_text(oids[i], "", text_value(""));
        assert_get(oids[i], PGTYPE_FORMAT_BINARY, text, strlen(text), text_value(text), text);
        assert_get(oids[i], PGTYPE_FORMAT_BINARY, "", 0, text_value(""), "");
    }
    /* Text format of all others, known or not, is their text. */
    assert_get_text(PGTYPE_DATE, "tomorrow", text_value("tomorrow"));
    assert_get_text(PGTYPE_TIMESTAMPTZ, "2024-02-29 12:34:56+02", text_value("2024-02-29 12:34:56+02"));
    assert_get_text(PGTYPE_UUID, "A0EE", text_value("A0EE"));
    assert_get_text(4711, "{1,2}", text_value("{1,2}"));
}

static void text_points_into_the_message(void **state)
{
    (void)state;
    struct parameter parameter;
    parameter_get(&parameter, PGTYPE_TEXT, PGTYPE_FORMAT_TEXT, "abc", 3);
    assert_ptr_equal(parameter.value.bytes.data, parameter.data);
    parameter_done(&parameter);
    parameter_get(&parameter, PGTYPE_BYTEA, PGTYPE_FORMAT_BINARY, "\x00\xFF", 2);
    assert_ptr_equal(parameter.value.bytes.data, parameter.data);
    assert_null(parameter.arena.block);
    parameter_done(&parameter);
}

static void bad_characters_are_refused(void **state)
{
    (void)state;
    static const uint32_t oids[] = {0, PGTYPE_TEXT, PGTYPE_JSON, PGTYPE_UUID, PGTYPE_INT8, PGTYPE_FLOAT8, PGTYPE_BYTEA};
    for (size_t i = 0; i < COUNT_OF(oids); i++) {
        assert_get_fails(oids[i], PGTYPE_FORMAT_TEXT, "a\xFFz", 3, "22021");
        assert_get_fails(oids[i], PGTYPE_FORMAT_TEXT, "1\xC3", 2, "22021");
        assert_get_fails(oids[i], PGTYPE_FORMAT_TEXT, "1\0", 2, "22021");
        assert_get_fails(oids[i], PGTYPE_FORMAT_TEXT, "\0", 1, "22021");
    }
    assert_get_fails(PGTYPE_TEXT, PGTYPE_FORMAT_BINARY, "a\0b", 3, "22021");
    assert_get_fails(PGTYPE_VARCHAR, PGTYPE_FORMAT_BINARY, "\xED\xA0\x80", 3, "22021");
    assert_get_fails(PGTYPE_JSONB, PGTYPE_FORMAT_BINARY, "\x01\xFF", 2, "22021");
    assert_get_fails(PGTYPE_CHAR, PGTYPE_FORMAT_BINARY, "\xFF", 1, "22021");
}

static void uuid_and_jsonb_in_binary(void **state)
{
    (void)state;
    assert_get_binary(PGTYPE_UUID, "a0eebc999c0b4ef8bb6d6bb9bd380a11",
                      text_value("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    assert_get_binary(PGTYPE_JSONB, "017b7d", text_value("{}"));
    assert_get_binary_fails(PGTYPE_JSONB, "", "22P03");
    assert_get_binary_fails(PGTYPE_JSONB, "027b7d", "22P03");
}

static void what_has_no_binary_format_is_refused_by_name(void **state)
{
    (void)state;
    struct parameter parameter;
    parameter_get(&parameter, PGTYPE_VOID, PGTYPE_FORMAT_BINARY, "abcd", 4);
    assert_int_equal(parameter.status, SQ_SQL);
    assert_string_equal(parameter.err.sqlstate, "0A000");
    assert_non_null(strstr(parameter.err.text, "void"));
    parameter_done(&parameter);
    parameter_get(&parameter, 1007, PGTYPE_FORMAT_BINARY, "abcd", 4); /* _int4, an array */
    assert_string_equal(parameter.err.sqlstate, "0A000");
    assert_non_null(strstr(parameter.err.text, "1007"));
    parameter_done(&parameter);
    assert_get_fails(PGTYPE_TEXT, 2, "a", 1, "22023");
    assert_get_fails(PGTYPE_TEXT, -1, "a", 1, "22023");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_in_text),
        cmocka_unit_test(the_message_quotes_the_text),
        cmocka_unit_test(floats_in_text),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(booleans_in_text),
        cmocka_unit_test(bytea_in_text),
        cmocka_unit_test(numerics_become_what_holds_them),
        cmocka_unit_test(numerics_have_a_limit_of_digits),
        cmocka_unit_test(numerics_in_binary),
        cmocka_unit_test(fixed_types_in_binary),
        cmocka_unit_test(a_wrong_length_is_refused),
        cmocka_unit_test(dates_and_times_in_binary),
        cmocka_unit_test(texts_are_taken_as_they_are),
        cmocka_unit_test(text_points_into_the_message),
        cmocka_unit_test(bad_characters_are_refused),
        cmocka_unit_test(uuid_and_jsonb_in_binary),
        cmocka_unit_test(what_has_no_binary_format_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
