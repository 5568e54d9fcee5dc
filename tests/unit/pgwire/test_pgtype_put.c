/* Results in text and binary format: what PostgreSQL 15 sends for the same values, and what happens to values that do
 * not fit their column's type. */
#include "pgtype_test.h"

#include <math.h>

static void types_have_postgresql_sizes_and_names(void **state)
{
    (void)state;
    assert_int_equal(pgtype_length(PGTYPE_BOOL), 1);
    assert_int_equal(pgtype_length(PGTYPE_INT2), 2);
    assert_int_equal(pgtype_length(PGTYPE_INT4), 4);
    assert_int_equal(pgtype_length(PGTYPE_INT8), 8);
    assert_int_equal(pgtype_length(PGTYPE_NAME), 64);
    assert_int_equal(pgtype_length(PGTYPE_TEXT), -1);
    assert_int_equal(pgtype_length(PGTYPE_UNKNOWN), -2);
    assert_int_equal(pgtype_length(PGTYPE_TIMETZ), 12);
    assert_int_equal(pgtype_length(PGTYPE_UUID), 16);
    assert_int_equal(pgtype_length(4711), -1);
    assert_string_equal(pgtype_name(PGTYPE_INT8), "bigint");
    assert_string_equal(pgtype_name(PGTYPE_TIMESTAMPTZ), "timestamp with time zone");
    assert_null(pgtype_name(0));
    assert_null(pgtype_name(4711));
}

static void sqlite_types_announce_their_postgresql_type(void **state)
{
    (void)state;
    assert_int_equal(pgtype_oid_of(SQ_TYPE_ANY), 25);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_INTEGER), 20);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_BOOLEAN), 16);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_REAL), 701);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_NUMERIC), 1700);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_TEXT), 25);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_BLOB), 17);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_DATE), 1082);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_TIME), 1083);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_TIMESTAMP), 1114);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_UUID), 2950);
    assert_int_equal(pgtype_oid_of(SQ_TYPE_JSON), 114);
    assert_int_equal(pgtype_oid_of_kind(SQ_VALUE_INTEGER), 20);
    assert_int_equal(pgtype_oid_of_kind(SQ_VALUE_REAL), 701);
    assert_int_equal(pgtype_oid_of_kind(SQ_VALUE_TEXT), 25);
    assert_int_equal(pgtype_oid_of_kind(SQ_VALUE_BLOB), 17);
    assert_int_equal(pgtype_oid_of_kind(SQ_VALUE_NULL), 25);
    for (int type = SQ_TYPE_ANY; type <= SQ_TYPE_JSON; type++)
        assert_true(pgtype_has_binary(pgtype_oid_of((enum sq_type)type)));
    assert_false(pgtype_has_binary(PGTYPE_INTERVAL));
    assert_false(pgtype_has_binary(PGTYPE_VOID));
    assert_false(pgtype_has_binary(4711));
}

static void integers_are_decimal(void **state)
{
    (void)state;
    static const int64_t integers[] = {0,    1,     9,      10,        99,        100,           101,
                                       999,  1000,  123456, INT32_MAX, INT32_MIN, INT64_MAX,     INT64_MIN,
                                       -1,   -9,    -10,    -99,       -100,      -123456789012, 1000000000000000000,
                                       1001, 65535, 70000,  12345678};
    char expected[32];
    for (size_t i = 0; i < COUNT_OF(integers); i++) {
        snprintf(expected, sizeof(expected), "%lld", (long long)integers[i]);
        assert_text(PGTYPE_INT8, integer_value(integers[i]), expected);
        assert_text(PGTYPE_TEXT, integer_value(integers[i]), expected);
    }
}

static void integers_in_network_order(void **state)
{
    (void)state;
    assert_binary(PGTYPE_INT8, integer_value(1), "0000000000000001");
    assert_binary(PGTYPE_INT8, integer_value(INT64_MIN), "8000000000000000");
    assert_binary(PGTYPE_INT8, integer_value(-2), "fffffffffffffffe");
    assert_binary(PGTYPE_INT4, integer_value(INT32_MAX), "7fffffff");
    assert_binary(PGTYPE_INT4, integer_value(INT32_MIN), "80000000");
    assert_binary(PGTYPE_INT2, integer_value(INT16_MIN), "8000");
    assert_binary(PGTYPE_INT2, integer_value(INT16_MAX), "7fff");
    assert_binary(PGTYPE_OID, integer_value(UINT32_MAX), "ffffffff");
    assert_binary(PGTYPE_REGCLASS, integer_value(1259), "000004eb");
    assert_misfit(PGTYPE_INT4, integer_value((int64_t)INT32_MAX + 1));
    assert_misfit(PGTYPE_INT4, integer_value((int64_t)INT32_MIN - 1));
    assert_misfit(PGTYPE_INT2, integer_value(INT16_MAX + 1));
    assert_misfit(PGTYPE_INT2, integer_value(INT16_MIN - 1));
    assert_misfit(PGTYPE_OID, integer_value(-1));
    assert_misfit(PGTYPE_OID, integer_value((int64_t)UINT32_MAX + 1));
}

static void a_real_is_an_integer_only_without_loss(void **state)
{
    (void)state;
    assert_binary(PGTYPE_INT8, real_value(3.0), "0000000000000003");
    assert_binary(PGTYPE_INT8, real_value(-9007199254740992.0), "ffe0000000000000");
    assert_binary(PGTYPE_INT8, real_value(9007199254740992.0), "0020000000000000");
    assert_misfit(PGTYPE_INT8, real_value(9007199254740994.0));
    assert_misfit(PGTYPE_INT8, real_value(1.5));
    assert_misfit(PGTYPE_INT8, real_value(1e300));
    assert_misfit(PGTYPE_INT8, real_value(INFINITY));
    assert_misfit(PGTYPE_INT8, real_value(NAN));
    assert_misfit(PGTYPE_INT4, real_value(4294967296.0));
    assert_text(PGTYPE_INT8, real_value(3.0), "3.0");
    assert_text(PGTYPE_INT8, real_value(1.5), "1.5");
}

/* What PostgreSQL 15 prints and sends. */
static void floats_are_as_postgresql_prints_them(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        double value;
        const char *hex;
        const char *text;
    } rows[] = {
        {PGTYPE_FLOAT8, 0.0, "0000000000000000", "0"},
        {PGTYPE_FLOAT8, -0.0, "8000000000000000", "-0"},
        {PGTYPE_FLOAT8, 1, "3ff0000000000000", "1"},
        {PGTYPE_FLOAT8, 0.1, "3fb999999999999a", "0.1"},
        {PGTYPE_FLOAT8, 0.1 + 0.2, "3fd3333333333334", "0.30000000000000004"},
        {PGTYPE_FLOAT8, 1e15, "430c6bf526340000", "1e+15"},
        {PGTYPE_FLOAT8, 1e14, "42d6bcc41e900000", "100000000000000"},
        {PGTYPE_FLOAT8, 123456789012345, "42dc12218377de40", "123456789012345"},
        {PGTYPE_FLOAT8, 1234567890123456, "43118b54f22aeb00", "1.234567890123456e+15"},
        {PGTYPE_FLOAT8, 1e-4, "3f1a36e2eb1c432d", "0.0001"},
        {PGTYPE_FLOAT8, 1e-5, "3ee4f8b588e368f1", "1e-05"},
        {PGTYPE_FLOAT8, 1e20, "4415af1d78b58c40", "1e+20"},
        {PGTYPE_FLOAT8, 1.5e300, "7e41eb2d66005835", "1.5e+300"},
        {PGTYPE_FLOAT8, 1e23, "44b52d02c7e14af6", "9.999999999999999e+22"},
        {PGTYPE_FLOAT8, 5e-324, "0000000000000001", "5e-324"},
        {PGTYPE_FLOAT8, 2.2250738585072014e-308, "0010000000000000", "2.2250738585072014e-308"},
        {PGTYPE_FLOAT8, 1.7976931348623157e308, "7fefffffffffffff", "1.7976931348623157e+308"},
        {PGTYPE_FLOAT8, 9007199254740992, "4340000000000000", "9.007199254740992e+15"},
        {PGTYPE_FLOAT8, 64884189726342624, "436cd07a7505afbc", "6.4884189726342624e+16"},
        {PGTYPE_FLOAT8, -1234.5, "c0934a0000000000", "-1234.5"},
        {PGTYPE_FLOAT8, INFINITY, "7ff0000000000000", "Infinity"},
        {PGTYPE_FLOAT8, -INFINITY, "fff0000000000000", "-Infinity"},
        {PGTYPE_FLOAT4, 0.0, "00000000", "0"},
        {PGTYPE_FLOAT4, -0.0, "80000000", "-0"},
        {PGTYPE_FLOAT4, 1, "3f800000", "1"},
        {PGTYPE_FLOAT4, 0.1f, "3dcccccd", "0.1"},
        {PGTYPE_FLOAT4, 1e6f, "49742400", "1e+06"},
        {PGTYPE_FLOAT4, 999999, "497423f0", "999999"},
        {PGTYPE_FLOAT4, 123456.7f, "47f1205a", "123456.7"},
        {PGTYPE_FLOAT4, 1e-5f, "3727c5ac", "1e-05"},
        {PGTYPE_FLOAT4, 0.0001f, "38d1b717", "0.0001"},
        {PGTYPE_FLOAT4, 3.4028235e38f, "7f7fffff", "3.4028235e+38"},
        {PGTYPE_FLOAT4, 1e-45f, "00000001", "1e-45"},
        {PGTYPE_FLOAT4, 16777216, "4b800000", "1.6777216e+07"},
        {PGTYPE_FLOAT4, INFINITY, "7f800000", "Infinity"},
        {PGTYPE_FLOAT4, -INFINITY, "ff800000", "-Infinity"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_text(rows[i].oid, real_value(rows[i].value), rows[i].text);
        assert_binary(rows[i].oid, real_value(rows[i].value), rows[i].hex);
    }
}

static void a_float_column_takes_integers_that_a_float_holds(void **state)
{
    (void)state;
    assert_text(PGTYPE_FLOAT8, integer_value(7), "7");
    assert_text(PGTYPE_FLOAT8, integer_value(INT64_MAX), "9223372036854775807");
    assert_binary(PGTYPE_FLOAT8, integer_value(7), "401c000000000000");
    assert_binary(PGTYPE_FLOAT8, integer_value(INT64_MIN), "c3e0000000000000");
    assert_binary(PGTYPE_FLOAT8, integer_value(INT64_C(1) << 60), "43b0000000000000");
    assert_misfit(PGTYPE_FLOAT8, integer_value(INT64_MAX));
    assert_misfit(PGTYPE_FLOAT8, integer_value((INT64_C(1) << 53) + 1));
    assert_misfit(PGTYPE_FLOAT8, text_value("1.5"));
    /* float4 rounds by its nature, but not to infinity; text shows what is stored. */
    assert_binary(PGTYPE_FLOAT4, real_value(0.1), "3dcccccd");
    assert_text(PGTYPE_FLOAT4, real_value(0.1), "0.1");
    assert_text(PGTYPE_FLOAT4, real_value(0.1 + 0.2), "0.30000000000000004");
    assert_misfit(PGTYPE_FLOAT4, real_value(1e39));
}

/* sqlite3's own output for the same doubles, but where 15 digits would not read back. */
static void reals_as_text_are_as_sqlite_prints_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0.0, "0.0"},
        {-0.0, "0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {1e14, "100000000000000.0"},
        {1e15, "1.0e+15"},
        {1e20, "1.0e+20"},
        {1e23, "1.0e+23"},
        {1.5e-5, "1.5e-05"},
        {1e-4, "0.0001"},
        {1e100, "1.0e+100"},
        {1.25e-100, "1.25e-100"},
        {123456.789, "123456.789"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {9007199254740993.0, "9.007199254740992e+15"},
        {INFINITY, "Inf"},
        {-INFINITY, "-Inf"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_text(PGTYPE_TEXT, real_value(rows[i].value), rows[i].text);
        assert_text(PGTYPE_DATE, real_value(rows[i].value), rows[i].text);
        if (isfinite(rows[i].value))
            assert_true(strtod(rows[i].text, NULL) == rows[i].value);
    }
}

static void booleans_are_t_and_f(void **state)
{
    (void)state;
    assert_text(PGTYPE_BOOL, integer_value(1), "t");
    assert_text(PGTYPE_BOOL, integer_value(0), "f");
    assert_text(PGTYPE_BOOL, text_value("true"), "t");
    assert_text(PGTYPE_BOOL, text_value("FALSE"), "f");
    assert_text(PGTYPE_BOOL, integer_value(2), "2");
    assert_text(PGTYPE_BOOL, text_value("maybe"), "maybe");
    assert_text(PGTYPE_BOOL, text_value("truer"), "truer");
    assert_binary(PGTYPE_BOOL, integer_value(1), "01");
    assert_binary(PGTYPE_BOOL, integer_value(0), "00");
    assert_binary(PGTYPE_BOOL, text_value("True"), "01");
    assert_binary(PGTYPE_BOOL, text_value("false"), "00");
    assert_misfit(PGTYPE_BOOL, integer_value(2));
    assert_misfit(PGTYPE_BOOL, text_value("t"));
    assert_misfit(PGTYPE_BOOL, bytes_value(SQ_VALUE_BLOB, "\x01", 1));
}

static void blobs_are_hex(void **state)
{
    (void)state;
    assert_text(PGTYPE_BYTEA, bytes_value(SQ_VALUE_BLOB, NULL, 0), "\\x");
    assert_text(PGTYPE_BYTEA, bytes_value(SQ_VALUE_BLOB, "\x00\xDE\xAD\xff", 4), "\\x00deadff");
    assert_binary(PGTYPE_BYTEA, bytes_value(SQ_VALUE_BLOB, "\x00\xDE\xAD\xff", 4), "00deadff");
    assert_binary(PGTYPE_BYTEA, bytes_value(SQ_VALUE_BLOB, NULL, 0), "");
    assert_text(PGTYPE_BYTEA, text_value("plain"), "plain");
    assert_misfit(PGTYPE_BYTEA, text_value("plain"));
    assert_misfit(PGTYPE_BYTEA, integer_value(1));
}

/* Longer than the pieces in which hex is written. */
static void long_blobs_are_whole(void **state)
{
    (void)state;
    enum { LENGTH = 100003 };
    struct sq_buf buf;
    uint8_t *blob = malloc(LENGTH);
    assert_non_null(blob);
    for (size_t i = 0; i < LENGTH; i++)
        blob[i] = (uint8_t)(i * 31);
    struct sq_value value = bytes_value(SQ_VALUE_BLOB, blob, LENGTH);
    sq_buf_init(&buf, TEST_BYTES_MAX);
    assert_int_equal(pgtype_put_text(&buf, PGTYPE_BYTEA, &value), SQ_OK);
    assert_int_equal(sq_buf_length(&buf), 2 + 2 * LENGTH);
    for (size_t i = 0; i < LENGTH; i++) {
        char expected[3];
        snprintf(expected, sizeof(expected), "%02x", blob[i]);
        assert_memory_equal(sq_buf_bytes(&buf) + 2 + 2 * i, expected, 2);
    }
    sq_buf_done(&buf);
    free(blob);
}

static void texts_are_sent_as_they_are(void **state)
{
    (void)state;
    static const uint32_t oids[] = {PGTYPE_TEXT, PGTYPE_VARCHAR, PGTYPE_BPCHAR, PGTYPE_NAME, PGTYPE_UNKNOWN};
    for (size_t i = 0; i < COUNT_OF(oids); i++) {
        assert_text(oids[i], text_value("h\xC3\xA4llo"), "h\xC3\xA4llo");
        assert_binary(oids[i], text_value("h\xC3\xA4llo"), "68c3a46c6c6f");
        assert_binary(oids[i], bytes_value(SQ_VALUE_TEXT, "a\0\xFF", 3), "6100ff");
        assert_binary(oids[i], integer_value(-5), "2d35");
        assert_binary(oids[i], real_value(1), "312e30");
        /* A blob of UTF-8 is its text, any other is hex. */
        assert_text(oids[i], bytes_value(SQ_VALUE_BLOB, "abc", 3), "abc");
        assert_text(oids[i], bytes_value(SQ_VALUE_BLOB, NULL, 0), "");
        assert_text(oids[i], bytes_value(SQ_VALUE_BLOB, "a\xFF", 2), "\\x61ff");
        assert_text(oids[i], bytes_value(SQ_VALUE_BLOB, "a\0b", 3), "\\x610062");
    }
    assert_text(PGTYPE_TEXT, bytes_value(SQ_VALUE_TEXT, NULL, 0), "");
    assert_text(PGTYPE_INT8, text_value("twelve"), "twelve");
    assert_misfit(PGTYPE_INT8, text_value("12"));
    assert_binary(PGTYPE_CHAR, text_value("r"), "72");
    assert_binary(PGTYPE_CHAR, text_value(""), "00");
    assert_misfit(PGTYPE_CHAR, text_value("rr"));
}

static void json_is_text_and_jsonb_has_a_version(void **state)
{
    (void)state;
    assert_text(PGTYPE_JSON, text_value("{}"), "{}");
    assert_text(PGTYPE_JSONB, text_value("{}"), "{}");
    assert_binary(PGTYPE_JSON, text_value("{}"), "7b7d");
    assert_binary(PGTYPE_JSONB, text_value("{}"), "017b7d");
    assert_binary(PGTYPE_JSON, integer_value(12), "3132");
    assert_binary(PGTYPE_JSONB, real_value(1.5), "01312e35");
    assert_binary(PGTYPE_JSON, bytes_value(SQ_VALUE_BLOB, "[]", 2), "5b5d");
    assert_misfit(PGTYPE_JSON, real_value(INFINITY));
    assert_misfit(PGTYPE_JSON, bytes_value(SQ_VALUE_BLOB, "\xFF", 1));
}

static void uuids_come_from_text_and_from_sixteen_bytes(void **state)
{
    (void)state;
    static const char text[] = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    static const char hex[] = "a0eebc999c0b4ef8bb6d6bb9bd380a11";
    uint8_t bytes[16];
    assert_int_equal(hex_bytes(hex, bytes, sizeof(bytes)), 16);
    assert_text(PGTYPE_UUID, bytes_value(SQ_VALUE_BLOB, bytes, 16), text);
    assert_binary(PGTYPE_UUID, bytes_value(SQ_VALUE_BLOB, bytes, 16), hex);
    assert_text(PGTYPE_UUID, text_value("A0EE"), "A0EE");
    assert_binary(PGTYPE_UUID, text_value(text), hex);
    assert_binary(PGTYPE_UUID, text_value("A0EEBC999C0B4EF8BB6D6BB9BD380A11"), hex);
    assert_binary(PGTYPE_UUID, text_value("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), hex);
    assert_binary(PGTYPE_UUID, text_value("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"), hex);
    assert_misfit(PGTYPE_UUID, text_value("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1"));
    assert_misfit(PGTYPE_UUID, text_value("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111"));
    assert_misfit(PGTYPE_UUID, text_value("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"));
    assert_misfit(PGTYPE_UUID, text_value("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    assert_misfit(PGTYPE_UUID, text_value("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-"));
    assert_misfit(PGTYPE_UUID, text_value("a-0eebc999c0b4ef8bb6d6bb9bd380a11"));
    assert_misfit(PGTYPE_UUID, text_value(""));
    assert_misfit(PGTYPE_UUID, bytes_value(SQ_VALUE_BLOB, bytes, 15));
}

/* What numeric_send() sends for the text. */
static void numerics_are_as_postgresql_sends_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *hex;
    } rows[] = {
        {"0", "0000000000000000"},
        {"0.00", "0000000000000002"},
        {"1", "00010000000000000001"},
        {"-1", "00010000400000000001"},
        {"10000", "00010001000000000001"},
        {"9999", "0001000000000000270f"},
        {"99999999", "0002000100000000270f270f"},
        {"100000000", "00010002000000000001"},
        {"0.0001", "0001ffff000000040001"},
        {"0.00001", "0001fffe0000000503e8"},
        {"0.12", "0001ffff0000000204b0"},
        {"-123.4500", "0002000040000004007b1194"},
        {"12345678.87654321", "000400010000000804d2162e223d10e1"},
        {"1e20", "00010005000000000001"},
        {"1.5e-3", "0001ffff00000004000f"},
        {" .5 ", "0001ffff000000011388"},
        {"5.", "00010000000000000005"},
        {"9223372036854775808", "0005000400000000039a0d2c0170156516b0"},
        {"123456789012345678901234567890.123456789", "000b000700000009000c0d801ed204d2162e23340d801ed204d2162e2328"},
        {"NaN", "00000000c0000000"},
        {"-infinity", "00000000f0000000"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_binary(PGTYPE_NUMERIC, text_value(rows[i].text), rows[i].hex);
    assert_binary(PGTYPE_NUMERIC, integer_value(INT64_MIN), "0005000440000000039a0d2c0170156516b0");
    assert_binary(PGTYPE_NUMERIC, real_value(1.5), "000200000000000100011388");
    assert_binary(PGTYPE_NUMERIC, real_value(-0.0), "0000000000000000");
    assert_binary(PGTYPE_NUMERIC, real_value(INFINITY), "00000000d0000000");
    assert_binary(PGTYPE_NUMERIC, real_value(NAN), "00000000c0000000");
    static const char *const misfits[] = {"", "-", ".", "abc", "1e", "1.2.3", "1 2", "0x10", "1e131072", "1e-16384"};
    for (size_t i = 0; i < COUNT_OF(misfits); i++)
        assert_misfit(PGTYPE_NUMERIC, text_value(misfits[i]));
    assert_misfit(PGTYPE_NUMERIC, bytes_value(SQ_VALUE_BLOB, "1", 1));
}

static void numerics_as_text_have_no_exponent(void **state)
{
    (void)state;
    assert_text(PGTYPE_NUMERIC, integer_value(-12), "-12");
    assert_text(PGTYPE_NUMERIC, real_value(1.5), "1.5");
    assert_text(PGTYPE_NUMERIC, real_value(1e20), "100000000000000000000");
    assert_text(PGTYPE_NUMERIC, real_value(-1.25e-7), "-0.000000125");
    assert_text(PGTYPE_NUMERIC, real_value(123.0), "123");
    assert_text(PGTYPE_NUMERIC, real_value(-0.0), "0");
    assert_text(PGTYPE_NUMERIC, real_value(-INFINITY), "-Infinity");
    assert_text(PGTYPE_NUMERIC, text_value("abc"), "abc");
}

static void dates_and_times_are_as_postgresql_sends_them(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        const char *text;
        const char *hex;
    } rows[] = {
        {PGTYPE_DATE, "2000-01-01", "00000000"},
        {PGTYPE_DATE, "1999-12-31", "ffffffff"},
        {PGTYPE_DATE, "2000-02-29", "0000003b"},
        {PGTYPE_DATE, "1970-01-01", "ffffd533"},
        {PGTYPE_DATE, "0001-01-01", "fff4dbf9"},
        {PGTYPE_DATE, "9999-12-31", "002c95d3"},
        {PGTYPE_DATE, "infinity", "7fffffff"},
        {PGTYPE_DATE, "-Infinity", "80000000"},
        {PGTYPE_DATE, "2000-01-01 00:00:00", "00000000"},
        {PGTYPE_DATE, "2000-01-01T00:00Z", "00000000"},
        {PGTYPE_TIME, "00:00:00", "0000000000000000"},
        {PGTYPE_TIME, "12:34", "0000000a88839e00"},
        {PGTYPE_TIME, "12:34:56", "0000000a8bda1c00"},
        {PGTYPE_TIME, "23:59:59.999999", "000000141dd75fff"},
        {PGTYPE_TIME, "24:00:00", "000000141dd76000"},
        {PGTYPE_TIME, "01:02:03.5", "00000000ddf019e0"},
        {PGTYPE_TIME, "01:02:03.1234567", "00000000ddea5b01"},
        {PGTYPE_TIMETZ, "00:00:00+00", "000000000000000000000000"},
        {PGTYPE_TIMETZ, "12:34:56.5+02:00", "0000000a8be1bd20ffffe3e0"},
        {PGTYPE_TIMETZ, "12:34:56-05:30", "0000000a8bda1c0000004d58"},
        {PGTYPE_TIMETZ, "12:34Z", "0000000a88839e0000000000"},
        {PGTYPE_TIMESTAMP, "2000-01-01 00:00:00", "0000000000000000"},
        {PGTYPE_TIMESTAMP, "2000-01-01", "0000000000000000"},
        {PGTYPE_TIMESTAMP, "1999-12-31 23:59:59.999999", "ffffffffffffffff"},
        {PGTYPE_TIMESTAMP, "2024-02-29T12:34:56.789", "0002b58341728608"},
        {PGTYPE_TIMESTAMP, "2024-02-29T14:34:56.789+02:00", "0002b58341728608"},
        {PGTYPE_TIMESTAMP, "0001-01-01 00:00:00", "ff1fe2ffc59c6000"},
        {PGTYPE_TIMESTAMP, "9999-12-31 23:59:59.999999", "0380e70b913b7fff"},
        {PGTYPE_TIMESTAMP, "infinity", "7fffffffffffffff"},
        {PGTYPE_TIMESTAMP, "-infinity", "8000000000000000"},
        {PGTYPE_TIMESTAMP, "1999-12-31 24:00:00", "0000000000000000"},
        {PGTYPE_TIMESTAMPTZ, "2000-01-01 00:00:00Z", "0000000000000000"},
        {PGTYPE_TIMESTAMPTZ, "2024-02-29 12:34:56.789+02:00", "0002b581944b3e08"},
        {PGTYPE_TIMESTAMPTZ, "2024-02-29 12:34:56-05", "0002b5877248b000"},
        {PGTYPE_TIMESTAMPTZ, "2024-02-29 12:34", "0002b5833e0ffe00"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_binary(rows[i].oid, text_value(rows[i].text), rows[i].hex);
        assert_text(rows[i].oid, text_value(rows[i].text), rows[i].text);
    }
}

static void what_is_no_date_or_time_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        const char *text;
    } rows[] = {
        {PGTYPE_DATE, ""},
        {PGTYPE_DATE, "2000-13-01"},
        {PGTYPE_DATE, "2000-00-01"},
        {PGTYPE_DATE, "2001-02-29"},
        {PGTYPE_DATE, "1900-02-29"},
        {PGTYPE_DATE, "2000-01-00"},
        {PGTYPE_DATE, "2000-04-31"},
        {PGTYPE_DATE, "2000-1-1"},
        {PGTYPE_DATE, "20000101"},
        {PGTYPE_DATE, "2000-01-01x"},
        {PGTYPE_DATE, "2000-01-01 "},
        {PGTYPE_DATE, "10000-01-01"},
        {PGTYPE_DATE, "-0001-01-01"},
        {PGTYPE_DATE, "2000-01-01 00:00:01"}, /* the time would be lost */
        {PGTYPE_DATE, "12:34:56"},
        {PGTYPE_TIME, "infinity"},
        {PGTYPE_TIME, "2000-01-01"},
        {PGTYPE_TIME, "24:00:01"},
        {PGTYPE_TIME, "25:00"},
        {PGTYPE_TIME, "12:60"},
        {PGTYPE_TIME, "12:34:60"},
        {PGTYPE_TIME, "12:34:56."},
        {PGTYPE_TIME, "12"},
        {PGTYPE_TIME, "12:34+02:00"}, /* so would the zone */
        {PGTYPE_TIMESTAMP, "12:34:56"},
        {PGTYPE_TIMESTAMP, "2000-01-01 12"},
        {PGTYPE_TIMESTAMP, "2000-01-01T"},
        {PGTYPE_TIMESTAMP, "2000-01-01 12:34:56+16:00"},
        {PGTYPE_TIMESTAMP, "2000-01-01 12:34:56+2"},
        {PGTYPE_TIMESTAMP, "2000-01-01 12:34:56+02:00x"},
        {PGTYPE_TIMESTAMP, "now"},
        {PGTYPE_TIMESTAMPTZ, "2000-01-01 12:34:56 UTC"},
        {PGTYPE_TIMETZ, "2000-01-01 12:34:56Z"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_misfit(rows[i].oid, text_value(rows[i].text));
        assert_text(rows[i].oid, text_value(rows[i].text), rows[i].text);
    }
    assert_misfit(PGTYPE_TIMESTAMP, integer_value(1700000000));
    assert_misfit(PGTYPE_TIMESTAMP, real_value(2460000.5));
}

static void types_without_binary_format_say_so(void **state)
{
    (void)state;
    static const uint32_t oids[] = {PGTYPE_INTERVAL, PGTYPE_VOID, 4711, 0};
    for (size_t i = 0; i < COUNT_OF(oids); i++) {
        struct sq_buf buf;
        struct sq_error err;
        struct sq_value value = text_value("1 day");
        sq_buf_init(&buf, TEST_BYTES_MAX);
        assert_int_equal(pgtype_put_binary(&buf, oids[i], &value, &err), SQ_SQL);
        assert_string_equal(err.sqlstate, "0A000");
        sq_buf_done(&buf);
        assert_text(oids[i], value, "1 day");
    }
}

static void a_misfit_is_quoted_but_not_at_length(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_error err;
    char text[1000];
    memset(text, 'x', sizeof(text));
    /* A character across the place where the quotation ends. */
    memcpy(text + 63, "\xC3\xA4", 2);
    struct sq_value value = bytes_value(SQ_VALUE_TEXT, text, sizeof(text));
    sq_buf_init(&buf, TEST_BYTES_MAX);
    assert_int_equal(pgtype_put_binary(&buf, PGTYPE_INT8, &value, &err), SQ_SQL);
    char expected[200];
    snprintf(expected, sizeof(expected), "TEXT value \"%.63s\" does not fit type bigint", text);
    assert_string_equal(err.text, expected);
    sq_buf_done(&buf);
}

/* Every way of writing meets a buffer that is too small. */
static void a_full_buffer_is_reported(void **state)
{
    (void)state;
    static const struct {
        uint32_t oid;
        struct sq_value value;
    } rows[] = {
        {PGTYPE_INT8, {.kind = SQ_VALUE_INTEGER, .integer = 123456}},
        {PGTYPE_FLOAT8, {.kind = SQ_VALUE_REAL, .real = 1e300}},
        {PGTYPE_NUMERIC, {.kind = SQ_VALUE_REAL, .real = 1e300}},
        {PGTYPE_TEXT, {.kind = SQ_VALUE_TEXT, .bytes = {"abcdef", 6}}},
        {PGTYPE_JSONB, {.kind = SQ_VALUE_TEXT, .bytes = {"abcdef", 6}}},
        {PGTYPE_BYTEA, {.kind = SQ_VALUE_BLOB, .bytes = {"abcdef", 6}}},
        {PGTYPE_DATE, {.kind = SQ_VALUE_TEXT, .bytes = {"2000-01-01", 10}}},
        {PGTYPE_UUID, {.kind = SQ_VALUE_BLOB, .bytes = {"0123456789abcdef", 16}}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sq_buf buf;
        struct sq_error err;
        sq_buf_init(&buf, 3);
        assert_int_equal(pgtype_put_text(&buf, rows[i].oid, &rows[i].value), SQ_LIMIT);
        sq_buf_truncate(&buf, 0);
        assert_int_equal(pgtype_put_binary(&buf, rows[i].oid, &rows[i].value, &err), SQ_LIMIT);
        assert_string_equal(err.sqlstate, "54000");
        sq_buf_done(&buf);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_postgresql_sizes_and_names),
        cmocka_unit_test(sqlite_types_announce_their_postgresql_type),
        cmocka_unit_test(integers_are_decimal),
        cmocka_unit_test(integers_in_network_order),
        cmocka_unit_test(a_real_is_an_integer_only_without_loss),
        cmocka_unit_test(floats_are_as_postgresql_prints_them),
        cmocka_unit_test(a_float_column_takes_integers_that_a_float_holds),
        cmocka_unit_test(reals_as_text_are_as_sqlite_prints_them),
        cmocka_unit_test(booleans_are_t_and_f),
        cmocka_unit_test(blobs_are_hex),
        cmocka_unit_test(long_blobs_are_whole),
        cmocka_unit_test(texts_are_sent_as_they_are),
        cmocka_unit_test(json_is_text_and_jsonb_has_a_version),
        cmocka_unit_test(uuids_come_from_text_and_from_sixteen_bytes),
        cmocka_unit_test(numerics_are_as_postgresql_sends_them),
        cmocka_unit_test(numerics_as_text_have_no_exponent),
        cmocka_unit_test(dates_and_times_are_as_postgresql_sends_them),
        cmocka_unit_test(what_is_no_date_or_time_is_refused),
        cmocka_unit_test(types_without_binary_format_say_so),
        cmocka_unit_test(a_misfit_is_quoted_but_not_at_length),
        cmocka_unit_test(a_full_buffer_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
