/* Fuzzes the type codec from both sides. The input's first bytes choose the type, the format or the storage class; the
 * rest is the parameter or the value. What is accepted as a parameter must be writable as a result of the same type and
 * come back as the same value; nothing may be read outside the input, assert, or grow without bound. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/declared_type.h"
#include "pgwire/pgtype.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 1 << 24 };

static const uint32_t oids[] = {
    PGTYPE_UNSPECIFIED, PGTYPE_BOOL,    PGTYPE_BYTEA,    PGTYPE_CHAR, PGTYPE_NAME,      PGTYPE_INT8,     PGTYPE_INT2,
    PGTYPE_INT4,        PGTYPE_TEXT,    PGTYPE_OID,      PGTYPE_JSON, PGTYPE_FLOAT4,    PGTYPE_FLOAT8,   PGTYPE_UNKNOWN,
    PGTYPE_BPCHAR,      PGTYPE_VARCHAR, PGTYPE_DATE,     PGTYPE_TIME, PGTYPE_TIMESTAMP, PGTYPE_INTERVAL, PGTYPE_TIMETZ,
    PGTYPE_TIMESTAMPTZ, PGTYPE_NUMERIC, PGTYPE_REGCLASS, PGTYPE_VOID, PGTYPE_UUID,      PGTYPE_JSONB,    4711,
};

static void assert_same(const struct sq_value *one, const struct sq_value *other)
{
    sq_assert(one->kind == other->kind);
    if (one->kind == SQ_VALUE_INTEGER)
        sq_assert(one->integer == other->integer);
    else if (one->kind == SQ_VALUE_REAL)
        sq_assert(one->real == other->real);
    else
        sq_assert(one->bytes.length == other->bytes.length &&
                  (one->bytes.length == 0 || memcmp(one->bytes.data, other->bytes.data, one->bytes.length) == 0));
}

/* Some forms may be another spelling of the same value: a time without seconds, a regclass's number. */
static int is_exact(uint32_t oid, int format, const struct sq_value *value)
{
    if (oid == PGTYPE_NUMERIC)
        return value->kind == SQ_VALUE_INTEGER;
    if (format == PGTYPE_FORMAT_TEXT)
        return oid != PGTYPE_REGCLASS;
    return oid != PGTYPE_DATE && oid != PGTYPE_TIME && oid != PGTYPE_TIMETZ && oid != PGTYPE_TIMESTAMP &&
           oid != PGTYPE_TIMESTAMPTZ && oid != PGTYPE_UUID;
}

static void parameter_try(uint32_t oid, int format, const uint8_t *data, size_t size)
{
    struct sq_arena arena;
    struct sq_error err;
    struct sq_value value;
    sq_arena_init(&arena);
    sq_error_clear(&err);
    sq_status status = pgtype_get(oid, format, data, size, &arena, &value, &err);
    if (status != SQ_OK) {
        sq_assert(status == SQ_SQL && strlen(err.sqlstate) == SQ_SQLSTATE_LEN && err.text[0] != '\0');
        sq_arena_done(&arena);
        return;
    }
    for (int out_format = PGTYPE_FORMAT_TEXT; out_format <= PGTYPE_FORMAT_BINARY; out_format++) {
        struct sq_buf buf;
        struct sq_value again;
        sq_buf_init(&buf, OUT_BYTES_MAX);
        status = out_format == PGTYPE_FORMAT_TEXT ? pgtype_put_text(&buf, oid, &value)
                                                  : pgtype_put_binary(&buf, oid, &value, &err);
        sq_assert(status == SQ_OK || out_format == PGTYPE_FORMAT_BINARY);
        if (status == SQ_OK && is_exact(oid, out_format, &value)) {
            sq_assert(pgtype_get(oid, out_format, sq_buf_bytes(&buf), sq_buf_length(&buf), &arena, &again, &err) ==
                      SQ_OK);
            assert_same(&value, &again);
        }
        sq_buf_done(&buf);
    }
    sq_arena_done(&arena);
}

static void result_try(uint32_t oid, uint8_t kind, const uint8_t *data, size_t size)
{
    struct sq_value value = {.kind = SQ_VALUE_INTEGER + kind % 4};
    struct sq_error err;
    struct sq_buf buf;
    uint64_t bits = 0;
    memcpy(&bits, data, size < sizeof(bits) ? size : sizeof(bits));
    if (value.kind == SQ_VALUE_INTEGER) {
        value.integer = (int64_t)bits;
    } else if (value.kind == SQ_VALUE_REAL) {
        memcpy(&value.real, &bits, sizeof(value.real));
    } else {
        value.bytes.data = (const char *)data;
        value.bytes.length = size;
    }
    sq_buf_init(&buf, OUT_BYTES_MAX);
    sq_assert(pgtype_put_text(&buf, oid, &value) == SQ_OK);
    sq_assert(sq_buf_length(&buf) <= 400 + 2 * size);
    sq_buf_truncate(&buf, 0);
    sq_error_clear(&err);
    sq_status status = pgtype_put_binary(&buf, oid, &value, &err);
    sq_assert(status == SQ_OK || (status == SQ_SQL && err.text[0] != '\0'));
    sq_assert(status != SQ_OK || sq_buf_length(&buf) <= 400 + 2 * size);
    sq_buf_done(&buf);
}

static void declared_try(const uint8_t *data, size_t size)
{
    struct sq_arena arena;
    sq_arena_init(&arena);
    const char *text = sq_arena_copy(&arena, data, size);
    sq_assert(text != NULL);
    enum sq_type type = sq_type_of_declared(text);
    sq_assert(pgtype_has_binary(pgtype_oid_of(type)));
    sq_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint32_t oid = oids[data[0] % (sizeof(oids) / sizeof(oids[0]))];
    uint8_t how = data[1];
    data += 2;
    size -= 2;
    if (how % 8 < 2)
        parameter_try(oid, how % 2, data, size);
    else if (how % 8 < 7)
        result_try(oid, (uint8_t)(how % 8 - 2), data, size);
    else
        declared_try(data, size);
    return 0;
}
