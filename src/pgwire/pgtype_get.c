/* pgwire/pgtype_get.c: Bind's parameters as SQLite values; the rules are in pgtype.h.
 *
 * Text format reads what PostgreSQL's input functions read. Everything in text format is checked to be UTF-8 without
 * NUL before anybody looks at it, so that messages can quote it. */
#include <math.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "pgwire/pgtype.h"
#include "pgwire/pgtype_internal.h"

enum { SHOWN_BYTES_MAX = 64, JSONB_VERSION = 1 };

/* --- failures ----------------------------------------------------------------------------------------------------- */

static int shown_bytes(const char *text, size_t length)
{
    return (int)(length > SHOWN_BYTES_MAX ? sq_utf8_cut(text, SHOWN_BYTES_MAX) : length);
}

static const char *name_of(uint32_t oid)
{
    const char *name = pgtype_name(oid);
    return name != NULL ? name : "unknown";
}

sq_status pgtype_fail_syntax(struct sq_error *err, uint32_t oid, const char *text, size_t length)
{
    return sq_fail_sql(err, SQ_SQL, "22P02", "invalid input syntax for type %s: \"%.*s\"", name_of(oid),
                       shown_bytes(text, length), text);
}

static sq_status fail_range(struct sq_error *err, uint32_t oid, const char *text, size_t length)
{
    return sq_fail_sql(err, SQ_SQL, "22003", "value \"%.*s\" is out of range for type %s", shown_bytes(text, length),
                       text, name_of(oid));
}

static sq_status fail_nan(struct sq_error *err)
{
    return sq_fail_sql(err, SQ_SQL, "22003", "NaN is out of range: SQLite has no such number");
}

static sq_status fail_binary(struct sq_error *err, uint32_t oid, size_t length)
{
    return sq_fail_sql(err, SQ_SQL, "22P03", "incorrect binary data format: %zu bytes for type %s", length,
                       name_of(oid));
}

static sq_status fail_nomem(struct sq_error *err)
{
    return sq_fail(err, SQ_NOMEM, "out of memory for a parameter");
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static sq_status set_integer(struct sq_value *ret, int64_t integer)
{
    *ret = (struct sq_value){.kind = SQ_VALUE_INTEGER, .integer = integer};
    return SQ_OK;
}

static sq_status set_real(struct sq_value *ret, double real, struct sq_error *err)
{
    if (isnan(real))
        return fail_nan(err);
    *ret = (struct sq_value){.kind = SQ_VALUE_REAL, .real = real};
    return SQ_OK;
}

static sq_status set_bytes(struct sq_value *ret, enum sq_value_kind kind, const char *data, size_t length)
{
    *ret = (struct sq_value){.kind = kind, .bytes = {data, length}};
    return SQ_OK;
}

/* TEXT must be UTF-8 without NUL, as in PostgreSQL (manual, 24.3). */
static sq_status check_text(const char *text, size_t length, struct sq_error *err)
{
    size_t valid = sq_utf8_valid_prefix(text, length);
    const char *nul = valid > 0 ? memchr(text, '\0', valid) : NULL;
    if (SQ_UNLIKELY(nul != NULL))
        return sq_fail_sql(err, SQ_SQL, "22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
    if (SQ_UNLIKELY(valid < length))
        return sq_fail_sql(err, SQ_SQL, "22021", "invalid byte sequence for encoding \"UTF8\": 0x%02x at byte %zu",
                           (unsigned char)text[valid], valid + 1);
    return SQ_OK;
}

/* --- text format -------------------------------------------------------------------------------------------------- */

static void integer_range(uint32_t oid, int64_t *ret_min, int64_t *ret_max)
{
    *ret_min = oid == PGTYPE_INT2 ? INT16_MIN : oid == PGTYPE_INT4 ? INT32_MIN : oid == PGTYPE_OID ? 0 : INT64_MIN;
    *ret_max = oid == PGTYPE_INT2   ? INT16_MAX
               : oid == PGTYPE_INT4 ? INT32_MAX
               : oid == PGTYPE_OID  ? UINT32_MAX
                                    : INT64_MAX;
}

/* [spaces] [sign] digits [spaces], as pg_strtoint64() reads. */
static sq_status get_integer_text(uint32_t oid, const char *text, size_t length, struct sq_value *ret,
                                  struct sq_error *err)
{
    const char *at = text;
    size_t left = length;
    pgtype_trim(&at, &left);
    bool is_negative = left > 0 && *at == '-';
    if (left > 0 && (*at == '-' || *at == '+')) {
        at++;
        left--;
    }
    if (left == 0)
        return pgtype_fail_syntax(err, oid, text, length);
    int64_t value = 0;
    bool is_over = false;
    for (; left > 0; at++, left--) {
        if (!pgtype_is_digit(*at))
            return pgtype_fail_syntax(err, oid, text, length);
        int digit = *at - '0';
        /* Counted on the negative side, which reaches one further. */
        is_over = is_over || __builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value);
    }
    int64_t min;
    int64_t max;
    integer_range(oid, &min, &max);
    if (is_over || (!is_negative && value == INT64_MIN))
        return fail_range(err, oid, text, length);
    value = is_negative ? value : -value;
    if (value < min || value > max)
        return fail_range(err, oid, text, length);
    return set_integer(ret, value);
}

/* As float8in(): a decimal, infinity or NaN, with spaces around; what overflows or becomes zero is out of range. */
static sq_status get_float_text(uint32_t oid, const char *text, size_t length, struct sq_arena *arena,
                                struct sq_value *ret, struct sq_error *err)
{
    struct pgtype_decimal decimal;
    enum pgtype_number_kind kind = pgtype_decimal_parse(text, length, &decimal);
    if (kind == PGTYPE_NUMBER_BAD)
        return pgtype_fail_syntax(err, oid, text, length);
    if (kind == PGTYPE_NUMBER_NAN)
        return fail_nan(err);
    if (kind == PGTYPE_NUMBER_INFINITE)
        return set_real(ret, decimal.is_negative ? -__builtin_inf() : __builtin_inf(), err);
    const char *copy = sq_arena_copy(arena, text, length);
    if (copy == NULL)
        return fail_nomem(err);
    double real = oid == PGTYPE_FLOAT4 ? (double)pgtype_strtof(copy) : pgtype_strtod(copy);
    if (isinf(real) || (real == 0.0 && decimal.length > 0))
        return sq_fail_sql(err, SQ_SQL, "22003", "\"%.*s\" is out of range for type %s", shown_bytes(text, length),
                           text, name_of(oid));
    return set_real(ret, real, err);
}

/* As parse_bool(): true, false, yes, no, on, off, 1, 0, and beginnings that tell them apart (manual, 8.6). */
static sq_status get_bool_text(const char *text, size_t length, struct sq_value *ret, struct sq_error *err)
{
    static const struct {
        const char *word;
        size_t bytes_min;
        int value;
    } words[] = {
        {"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0},
        {"on", 2, 1},   {"off", 2, 0},   {"1", 1, 1},   {"0", 1, 0},
    };
    const char *at = text;
    size_t left = length;
    pgtype_trim(&at, &left);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char beginning[8] = "";
        if (left < words[i].bytes_min || left > strlen(words[i].word))
            continue;
        memcpy(beginning, words[i].word, left);
        if (pgtype_is_word(at, left, beginning))
            return set_integer(ret, words[i].value);
    }
    return pgtype_fail_syntax(err, PGTYPE_BOOL, text, length);
}

/* Hex format: \x, then pairs of digits, with spaces between pairs (manual, 8.4.1). */
static sq_status get_bytea_hex(const char *text, size_t length, struct sq_arena *arena, struct sq_value *ret,
                               struct sq_error *err)
{
    char *out = sq_arena_alloc(arena, length / 2 + 1);
    if (out == NULL)
        return fail_nomem(err);
    size_t used = 0;
    for (size_t at = 2; at < length; at++) {
        if (pgtype_is_space(text[at]))
            continue;
        int high = pgtype_hex_digit(text[at]);
        int low = at + 1 < length ? pgtype_hex_digit(text[at + 1]) : 0;
        if (high >= 0 && at + 1 == length)
            return sq_fail_sql(err, SQ_SQL, "22023", "invalid hexadecimal data: odd number of digits");
        if (high < 0 || low < 0)
            return sq_fail_sql(err, SQ_SQL, "22023", "invalid hexadecimal digit at byte %zu",
                               high < 0 ? at + 1 : at + 2);
        out[used++] = (char)(high << 4 | low);
        at++;
    }
    return set_bytes(ret, SQ_VALUE_BLOB, out, used);
}

/* Escape format: \\ is a backslash, \ooo an octal byte up to \377, anything else itself (manual, 8.4.2). */
static sq_status get_bytea_escape(const char *text, size_t length, struct sq_arena *arena, struct sq_value *ret,
                                  struct sq_error *err)
{
    if (length == 0 || memchr(text, '\\', length) == NULL)
        return set_bytes(ret, SQ_VALUE_BLOB, text, length);
    char *out = sq_arena_alloc(arena, length);
    if (out == NULL)
        return fail_nomem(err);
    size_t used = 0;
    for (size_t at = 0; at < length; at++) {
        const char *c = text + at;
        if (*c != '\\') {
            out[used++] = *c;
        } else if (length - at >= 2 && c[1] == '\\') {
            out[used++] = '\\';
            at++;
        } else if (length - at >= 4 && c[1] >= '0' && c[1] <= '3' && c[2] >= '0' && c[2] <= '7' && c[3] >= '0' &&
                   c[3] <= '7') {
            out[used++] = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
            at += 3;
        } else {
            return sq_fail_sql(err, SQ_SQL, "22P02", "invalid input syntax for type bytea");
        }
    }
    return set_bytes(ret, SQ_VALUE_BLOB, out, used);
}

/* [-] up to 18 digits that do not begin with a superfluous 0: what most numbers look like, and the same to every type of
 * whole numbers that has room for it. */
static bool get_plain_integer(uint32_t oid, const char *text, size_t length, int64_t *ret)
{
    if (oid != PGTYPE_NUMERIC && oid != PGTYPE_INT8 && oid != PGTYPE_INT4)
        return false;
    bool is_negative = length > 0 && text[0] == '-';
    size_t at = is_negative;
    size_t digit_count = length - at;
    if (digit_count == 0 || digit_count > (oid == PGTYPE_INT4 ? 9 : 18) || (text[at] == '0' && digit_count > 1))
        return false;
    int64_t value = 0;
    for (; at < length; at++) {
        if (!pgtype_is_digit(text[at]))
            return false;
        value = value * 10 + (text[at] - '0');
    }
    *ret = is_negative ? -value : value;
    return true;
}

static sq_status get_text(uint32_t oid, const char *text, size_t length, struct sq_arena *arena, struct sq_value *ret,
                          struct sq_error *err)
{
    int64_t integer;
    if (SQ_LIKELY(get_plain_integer(oid, text, length, &integer)))
        return set_integer(ret, integer);
    SQ_TRY(check_text(text, length, err));
    switch (oid) {
    case PGTYPE_INT2:
    case PGTYPE_INT4:
    case PGTYPE_INT8:
    case PGTYPE_OID:
        return get_integer_text(oid, text, length, ret, err);
    case PGTYPE_FLOAT4:
    case PGTYPE_FLOAT8:
        return get_float_text(oid, text, length, arena, ret, err);
    case PGTYPE_BOOL:
        return get_bool_text(text, length, ret, err);
    case PGTYPE_NUMERIC:
        return pgtype_numeric_get_text(text, length, arena, ret, err);
    case PGTYPE_BYTEA:
        if (length >= 2 && text[0] == '\\' && text[1] == 'x')
            return get_bytea_hex(text, length, arena, ret, err);
        return get_bytea_escape(text, length, arena, ret, err);
    default:
        return set_bytes(ret, SQ_VALUE_TEXT, text, length);
    }
}

/* --- binary format ------------------------------------------------------------------------------------------------ */

/* The types of a fixed number of bytes that become numbers. */
static sq_status get_number_binary(uint32_t oid, const uint8_t *data, size_t length, struct sq_value *ret,
                                   struct sq_error *err)
{
    uint32_t bits32;
    uint64_t bits64;
    float single;
    double real;
    if (length != (size_t)pgtype_length(oid))
        return fail_binary(err, oid, length);
    switch (oid) {
    case PGTYPE_BOOL:
        /* boolrecv(): any byte but 0 is true. */
        return set_integer(ret, data[0] != 0);
    case PGTYPE_INT2:
        return set_integer(ret, (int16_t)pgtype_read_u16(data));
    case PGTYPE_INT4:
        return set_integer(ret, (int32_t)pgtype_read_u32(data));
    case PGTYPE_INT8:
        return set_integer(ret, (int64_t)pgtype_read_u64(data));
    case PGTYPE_FLOAT4:
        bits32 = pgtype_read_u32(data);
        memcpy(&single, &bits32, sizeof(single));
        return set_real(ret, (double)single, err);
    case PGTYPE_FLOAT8:
        bits64 = pgtype_read_u64(data);
        memcpy(&real, &bits64, sizeof(real));
        return set_real(ret, real, err);
    default: /* oid and the types that name something by it */
        return set_integer(ret, (int64_t)pgtype_read_u32(data));
    }
}

static sq_status get_uuid_binary(const uint8_t *data, size_t length, struct sq_arena *arena, struct sq_value *ret,
                                 struct sq_error *err)
{
    if (length != PGTYPE_UUID_BYTES)
        return fail_binary(err, PGTYPE_UUID, length);
    char *text = sq_arena_alloc(arena, PGTYPE_UUID_TEXT_BYTES);
    if (text == NULL)
        return fail_nomem(err);
    pgtype_uuid_format(data, text);
    return set_bytes(ret, SQ_VALUE_TEXT, text, PGTYPE_UUID_TEXT_BYTES);
}

static sq_status get_time_binary(uint32_t oid, const uint8_t *data, size_t length, struct sq_arena *arena,
                                 struct sq_value *ret, struct sq_error *err)
{
    char text[PGTYPE_TIME_BYTES_MAX];
    size_t text_length;
    SQ_TRY(pgtype_time_get(oid, data, length, text, &text_length, err));
    const char *copy = sq_arena_copy(arena, text, text_length);
    if (copy == NULL)
        return fail_nomem(err);
    return set_bytes(ret, SQ_VALUE_TEXT, copy, text_length);
}

/* Types whose binary form is their text. */
static sq_status get_text_binary(const uint8_t *data, size_t length, struct sq_value *ret, struct sq_error *err)
{
    SQ_TRY(check_text((const char *)data, length, err));
    return set_bytes(ret, SQ_VALUE_TEXT, (const char *)data, length);
}

static sq_status get_binary(uint32_t oid, const uint8_t *data, size_t length, struct sq_arena *arena,
                            struct sq_value *ret, struct sq_error *err)
{
    switch (oid) {
    case PGTYPE_BOOL:
    case PGTYPE_INT2:
    case PGTYPE_INT4:
    case PGTYPE_INT8:
    case PGTYPE_OID:
    case PGTYPE_REGPROC:
    case PGTYPE_REGCLASS:
    case PGTYPE_REGTYPE:
    case PGTYPE_FLOAT4:
    case PGTYPE_FLOAT8:
        return get_number_binary(oid, data, length, ret, err);
    case PGTYPE_CHAR:
        if (length != 1)
            return fail_binary(err, oid, length);
        /* charout(): the zero byte is the empty text. */
        return get_text_binary(data, data[0] != 0, ret, err);
    case PGTYPE_UNSPECIFIED:
    case PGTYPE_UNKNOWN:
    case PGTYPE_TEXT:
    case PGTYPE_VARCHAR:
    case PGTYPE_BPCHAR:
    case PGTYPE_NAME:
    case PGTYPE_JSON:
        return get_text_binary(data, length, ret, err);
    case PGTYPE_JSONB:
        if (length < 1 || data[0] != JSONB_VERSION)
            return sq_fail_sql(err, SQ_SQL, "22P03", "incorrect binary data format: unsupported jsonb version number");
        return get_text_binary(data + 1, length - 1, ret, err);
    case PGTYPE_BYTEA:
        return set_bytes(ret, SQ_VALUE_BLOB, (const char *)data, length);
    case PGTYPE_NUMERIC:
        return pgtype_numeric_get_binary(data, length, arena, ret, err);
    case PGTYPE_UUID:
        return get_uuid_binary(data, length, arena, ret, err);
    case PGTYPE_DATE:
    case PGTYPE_TIME:
    case PGTYPE_TIMETZ:
    case PGTYPE_TIMESTAMP:
    case PGTYPE_TIMESTAMPTZ:
    case PGTYPE_INTERVAL:
        return get_time_binary(oid, data, length, arena, ret, err);
    default:
        break;
    }
    if (pgtype_name(oid) != NULL)
        return sq_fail_sql(err, SQ_SQL, "0A000", "no binary format for parameters of type %s", pgtype_name(oid));
    return sq_fail_sql(err, SQ_SQL, "0A000", "no binary format for parameters of the type with OID %u", oid);
}

sq_status pgtype_get(uint32_t oid, int format, const uint8_t *data, size_t length, struct sq_arena *arena,
                     struct sq_value *ret, struct sq_error *err)
{
    sq_assert(data != NULL || length == 0);
    sq_assert(arena != NULL && ret != NULL);
    /* A pointer that may be counted on, even when there is nothing behind it. */
    const uint8_t *bytes = data != NULL ? data : (const uint8_t *)"";
    if (format == PGTYPE_FORMAT_TEXT)
        return get_text(oid, (const char *)bytes, length, arena, ret, err);
    if (format == PGTYPE_FORMAT_BINARY)
        return get_binary(oid, bytes, length, arena, ret, err);
    return sq_fail_sql(err, SQ_SQL, "22023", "unsupported format code: %d", format);
}
