/* pgwire/pgtype_binary.c: result values in binary format: the send functions of PostgreSQL's types, for SQLite values.
 * A value that would not be the same afterwards does not fit and is refused; the rules are in pgtype.h.
 *
 *   | type                   | bytes                                                        |
 *   |------------------------|--------------------------------------------------------------|
 *   | bool                   | 1: 0 or 1                                                    |
 *   | int2 int4 int8 oid     | 2, 4, 8, 4: two's complement, network order                  |
 *   | float4 float8          | 4, 8: IEEE 754, network order                                |
 *   | text-like, json, bytea | the bytes                                                    |
 *   | jsonb                  | 1: version 1; then the text                                  |
 *   | uuid                   | 16                                                           |
 *   | numeric                | pgtype_numeric.c                                             |
 *   | date, time …           | pgtype_time.c                                                |
 */
#include <math.h>

#include "base/utf8.h"
#include "pgwire/pgtype.h"
#include "pgwire/pgtype_internal.h"

enum { JSONB_VERSION = 1, SHOWN_BYTES_MAX = 64 };

/* Integers up to this have a double each. */
#define EXACT_INTEGER_MAX (INT64_C(1) << 53)

static const char *const kind_names[] = {
    [SQ_VALUE_NULL] = "NULL", [SQ_VALUE_INTEGER] = "INTEGER", [SQ_VALUE_REAL] = "REAL",
    [SQ_VALUE_TEXT] = "TEXT", [SQ_VALUE_BLOB] = "BLOB",
};

/* The value as an integer from min to max; false if it is none. */
static bool value_integer(const struct sq_value *value, int64_t min, int64_t max, int64_t *ret)
{
    int64_t integer;
    if (value->kind == SQ_VALUE_INTEGER) {
        integer = value->integer;
    } else if (value->kind == SQ_VALUE_REAL && fabs(value->real) <= (double)EXACT_INTEGER_MAX) {
        integer = (int64_t)value->real;
        if ((double)integer != value->real)
            return false;
    } else {
        return false;
    }
    if (integer < min || integer > max)
        return false;
    *ret = integer;
    return true;
}

/* The value as a double that means the same number. */
static bool value_real(const struct sq_value *value, double *ret)
{
    if (value->kind == SQ_VALUE_REAL) {
        *ret = value->real;
        return true;
    }
    if (value->kind != SQ_VALUE_INTEGER)
        return false;
    double real = (double)value->integer;
    /* 2^63 does not come back; every other double made of an integer does. */
    if (real >= 9223372036854775808.0 || (int64_t)real != value->integer)
        return false;
    *ret = real;
    return true;
}

static bool put_integer(struct sq_buf *out, uint32_t oid, const struct sq_value *value)
{
    int64_t integer;
    switch (oid) {
    case PGTYPE_INT2:
        if (!value_integer(value, INT16_MIN, INT16_MAX, &integer))
            return false;
        sq_buf_put_u16(out, (uint16_t)integer);
        return true;
    case PGTYPE_INT4:
        if (!value_integer(value, INT32_MIN, INT32_MAX, &integer))
            return false;
        sq_buf_put_u32(out, (uint32_t)integer);
        return true;
    case PGTYPE_INT8:
        if (!value_integer(value, INT64_MIN, INT64_MAX, &integer))
            return false;
        sq_buf_put_u64(out, (uint64_t)integer);
        return true;
    default: /* oid and the types that name something by it */
        if (!value_integer(value, 0, UINT32_MAX, &integer))
            return false;
        sq_buf_put_u32(out, (uint32_t)integer);
        return true;
    }
}

static bool put_float(struct sq_buf *out, uint32_t oid, const struct sq_value *value)
{
    double real;
    if (!value_real(value, &real))
        return false;
    if (oid == PGTYPE_FLOAT8) {
        uint64_t bits;
        memcpy(&bits, &real, sizeof(bits));
        sq_buf_put_u64(out, bits);
        return true;
    }
    /* A float4 is rounded by its nature, but it must not become infinite by it. */
    if (isfinite(real) && isinf((float)real))
        return false;
    float single = (float)real;
    uint32_t bits;
    memcpy(&bits, &single, sizeof(bits));
    sq_buf_put_u32(out, bits);
    return true;
}

static bool put_bool(struct sq_buf *out, const struct sq_value *value)
{
    int64_t integer;
    if (value->kind == SQ_VALUE_TEXT) {
        if (pgtype_is_word(value->bytes.data, value->bytes.length, "true"))
            integer = 1;
        else if (pgtype_is_word(value->bytes.data, value->bytes.length, "false"))
            integer = 0;
        else
            return false;
    } else if (!value_integer(value, 0, 1, &integer)) {
        return false;
    }
    sq_buf_put_u8(out, (uint8_t)integer);
    return true;
}

static bool put_numeric(struct sq_buf *out, const struct sq_value *value)
{
    char digits[PGTYPE_INT64_BYTES_MAX];
    struct pgtype_decimal decimal = {0};
    enum pgtype_number_kind kind = PGTYPE_NUMBER_FINITE;
    switch (value->kind) {
    case SQ_VALUE_INTEGER:
        kind = pgtype_decimal_parse(digits, pgtype_int64_format(value->integer, digits), &decimal);
        break;
    case SQ_VALUE_REAL:
        if (isfinite(value->real)) {
            pgtype_decimal_of_double(value->real, false, digits, &decimal);
        } else {
            kind = isnan(value->real) ? PGTYPE_NUMBER_NAN : PGTYPE_NUMBER_INFINITE;
            decimal.is_negative = value->real < 0;
        }
        break;
    case SQ_VALUE_TEXT:
        kind = pgtype_decimal_parse(value->bytes.data, value->bytes.length, &decimal);
        break;
    default:
        return false;
    }
    if (kind == PGTYPE_NUMBER_BAD)
        return false;
    if (kind == PGTYPE_NUMBER_FINITE)
        return pgtype_numeric_put(out, &decimal);
    pgtype_numeric_put_special(out, kind, decimal.is_negative);
    return true;
}

/* "char": one byte, 0 for the empty text (charin()). */
static bool put_char(struct sq_buf *out, const struct sq_value *value)
{
    if (value->kind != SQ_VALUE_TEXT || value->bytes.length > 1)
        return false;
    sq_buf_put_u8(out, value->bytes.length == 1 ? (uint8_t)value->bytes.data[0] : 0);
    return true;
}

static bool put_json(struct sq_buf *out, uint32_t oid, const struct sq_value *value)
{
    if (value->kind == SQ_VALUE_REAL && !isfinite(value->real))
        return false;
    if (value->kind == SQ_VALUE_BLOB && !sq_utf8_is_valid(value->bytes.data, value->bytes.length))
        return false;
    if (oid == PGTYPE_JSONB)
        sq_buf_put_u8(out, JSONB_VERSION);
    sq_status status = pgtype_put_text(out, PGTYPE_TEXT, value);
    (void)status; /* the buffer's failure, which the caller asks for */
    return true;
}

static bool put_uuid(struct sq_buf *out, const struct sq_value *value)
{
    uint8_t uuid[PGTYPE_UUID_BYTES];
    if (value->kind == SQ_VALUE_BLOB && value->bytes.length == PGTYPE_UUID_BYTES)
        memcpy(uuid, value->bytes.data, sizeof(uuid));
    else if (value->kind != SQ_VALUE_TEXT || !pgtype_uuid_parse(value->bytes.data, value->bytes.length, uuid))
        return false;
    sq_buf_put(out, uuid, sizeof(uuid));
    return true;
}

/* True if the value fits `oid`, which has a binary format and is none of the text-like types. */
static bool put_fitting(struct sq_buf *out, uint32_t oid, const struct sq_value *value)
{
    switch (oid) {
    case PGTYPE_INT2:
    case PGTYPE_INT4:
    case PGTYPE_INT8:
    case PGTYPE_OID:
    case PGTYPE_REGPROC:
    case PGTYPE_REGCLASS:
    case PGTYPE_REGTYPE:
        return put_integer(out, oid, value);
    case PGTYPE_FLOAT4:
    case PGTYPE_FLOAT8:
        return put_float(out, oid, value);
    case PGTYPE_BOOL:
        return put_bool(out, value);
    case PGTYPE_NUMERIC:
        return put_numeric(out, value);
    case PGTYPE_BYTEA:
        if (value->kind == SQ_VALUE_BLOB)
            sq_buf_put(out, value->bytes.data, value->bytes.length);
        return value->kind == SQ_VALUE_BLOB;
    case PGTYPE_CHAR:
        return put_char(out, value);
    case PGTYPE_UUID:
        return put_uuid(out, value);
    case PGTYPE_JSON:
    case PGTYPE_JSONB:
        return put_json(out, oid, value);
    default:
        return value->kind == SQ_VALUE_TEXT && pgtype_time_put(out, oid, value->bytes.data, value->bytes.length);
    }
}

static sq_status fail_misfit(uint32_t oid, const struct sq_value *value, struct sq_error *err)
{
    const char *kind = kind_names[value->kind];
    if (value->kind == SQ_VALUE_BLOB)
        return sq_fail_sql(err, SQ_SQL, "22P02", "%s value of %zu bytes does not fit type %s", kind,
                           value->bytes.length, pgtype_name(oid));
    struct sq_buf text;
    sq_buf_init(&text, (size_t)SHOWN_BYTES_MAX);
    struct sq_value shown = *value;
    if (shown.kind == SQ_VALUE_TEXT && shown.bytes.length > SHOWN_BYTES_MAX)
        shown.bytes.length = sq_utf8_cut(shown.bytes.data, SHOWN_BYTES_MAX);
    sq_status status = pgtype_put_text(&text, PGTYPE_TEXT, &shown);
    if (status == SQ_OK)
        status = sq_fail_sql(err, SQ_SQL, "22P02", "%s value \"%.*s\" does not fit type %s", kind,
                             (int)sq_buf_length(&text), (const char *)sq_buf_bytes(&text), pgtype_name(oid));
    else
        status = sq_fail_sql(err, SQ_SQL, "22P02", "%s value does not fit type %s", kind, pgtype_name(oid));
    sq_buf_done(&text);
    return status;
}

sq_status pgtype_put_binary(struct sq_buf *out, uint32_t oid, const struct sq_value *value, struct sq_error *err)
{
    sq_assert(value->kind != SQ_VALUE_NULL);
    switch (oid) {
    case PGTYPE_TEXT:
    case PGTYPE_VARCHAR:
    case PGTYPE_BPCHAR:
    case PGTYPE_NAME:
    case PGTYPE_UNKNOWN:
        /* Their binary form is their text. */
        if (SQ_UNLIKELY(pgtype_put_text(out, PGTYPE_TEXT, value) != SQ_OK))
            return sq_buf_check(out, err);
        return SQ_OK;
    default:
        break;
    }
    if (SQ_UNLIKELY(!pgtype_has_binary(oid))) {
        const char *name = pgtype_name(oid);
        if (name == NULL)
            return sq_fail_sql(err, SQ_SQL, "0A000", "no binary format for the type with OID %u", oid);
        return sq_fail_sql(err, SQ_SQL, "0A000", "no binary format for type %s", name);
    }
    if (SQ_UNLIKELY(!put_fitting(out, oid, value)))
        return fail_misfit(oid, value, err);
    return SQ_LIKELY(!out->is_failed) ? SQ_OK : sq_buf_check(out, err);
}
