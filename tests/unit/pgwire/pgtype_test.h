/* tests/unit/pgwire/pgtype_test.h: what the tests of the type codec share: making values, and comparing what is written
 * and read with golden rows. Rows with hex are what PostgreSQL 15 sends for the same value. */
#ifndef SQ_TESTS_PGWIRE_PGTYPE_TEST_H
#define SQ_TESTS_PGWIRE_PGTYPE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "pgwire/pgtype.h"

enum { TEST_BYTES_MAX = 1 << 20 };

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline struct sq_value integer_value(int64_t integer)
{
    return (struct sq_value){.kind = SQ_VALUE_INTEGER, .integer = integer};
}

static inline struct sq_value real_value(double real)
{
    return (struct sq_value){.kind = SQ_VALUE_REAL, .real = real};
}

static inline struct sq_value bytes_value(enum sq_value_kind kind, const void *data, size_t length)
{
    return (struct sq_value){.kind = kind, .bytes = {data, length}};
}

static inline struct sq_value text_value(const char *text)
{
    return bytes_value(SQ_VALUE_TEXT, text, strlen(text));
}

/* "0aff" as bytes. */
static inline size_t hex_bytes(const char *hex, uint8_t *out, size_t out_bytes)
{
    size_t length = strlen(hex) / 2;
    assert_int_equal(strlen(hex) % 2, 0);
    assert_true(length <= out_bytes);
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return length;
}

static inline void assert_bytes(const struct sq_buf *buf, const void *expected, size_t length, const char *what)
{
    if (sq_buf_length(buf) != length || (length > 0 && memcmp(sq_buf_bytes(buf), expected, length) != 0))
        fail_msg("%s: %zu bytes '%.*s' instead of %zu '%.*s'", what, sq_buf_length(buf), (int)sq_buf_length(buf),
                 (const char *)sq_buf_bytes(buf), length, (int)length, (const char *)expected);
}

/* The value in text format is exactly `expected`. */
static inline void assert_text(uint32_t oid, struct sq_value value, const char *expected)
{
    struct sq_buf buf;
    sq_buf_init(&buf, TEST_BYTES_MAX);
    assert_int_equal(pgtype_put_text(&buf, oid, &value), SQ_OK);
    assert_bytes(&buf, expected, strlen(expected), expected);
    sq_buf_done(&buf);
}

static inline void assert_binary(uint32_t oid, struct sq_value value, const char *expected_hex)
{
    struct sq_buf buf;
    struct sq_error err;
    uint8_t expected[1024];
    size_t length = hex_bytes(expected_hex, expected, sizeof(expected));
    sq_error_clear(&err);
    sq_buf_init(&buf, TEST_BYTES_MAX);
    if (pgtype_put_binary(&buf, oid, &value, &err) != SQ_OK)
        fail_msg("%s: %s", expected_hex, err.text);
    assert_bytes(&buf, expected, length, expected_hex);
    sq_buf_done(&buf);
}

static inline void assert_misfit(uint32_t oid, struct sq_value value)
{
    struct sq_buf buf;
    struct sq_error err;
    sq_buf_init(&buf, TEST_BYTES_MAX);
    sq_error_clear(&err);
    if (pgtype_put_binary(&buf, oid, &value, &err) != SQ_SQL)
        fail_msg("a value of kind %d fits type %s", (int)value.kind, pgtype_name(oid));
    assert_string_equal(err.sqlstate, "22P02");
    assert_non_null(strstr(err.text, pgtype_name(oid)));
    sq_buf_done(&buf);
}

/* A parameter from memory of exactly its length, so that a sanitizer sees any byte read behind it. */
struct parameter {
    struct sq_arena arena;
    uint8_t *data;
    struct sq_value value;
    struct sq_error err;
    sq_status status;
};

static inline void parameter_get(struct parameter *parameter, uint32_t oid, int format, const void *data, size_t length)
{
    sq_arena_init(&parameter->arena);
    sq_error_clear(&parameter->err);
    parameter->value = integer_value(-4711);
    parameter->data = malloc(length > 0 ? length : 1);
    assert_non_null(parameter->data);
    if (length > 0)
        memcpy(parameter->data, data, length);
    parameter->status = pgtype_get(oid, format, length > 0 ? parameter->data : NULL, length, &parameter->arena,
                                   &parameter->value, &parameter->err);
    /* On failure the result stays untouched. */
    if (parameter->status != SQ_OK)
        assert_true(parameter->value.kind == SQ_VALUE_INTEGER && parameter->value.integer == -4711);
}

static inline void parameter_done(struct parameter *parameter)
{
    sq_arena_done(&parameter->arena);
    free(parameter->data);
}

static inline void assert_same_value(const struct sq_value *value, const struct sq_value *expected, const char *what)
{
    if (value->kind != expected->kind)
        fail_msg("%s: kind %d instead of %d", what, (int)value->kind, (int)expected->kind);
    switch (expected->kind) {
    case SQ_VALUE_NULL:
        break;
    case SQ_VALUE_INTEGER:
        if (value->integer != expected->integer)
            fail_msg("%s: %lld instead of %lld", what, (long long)value->integer, (long long)expected->integer);
        break;
    case SQ_VALUE_REAL:
        if (memcmp(&value->real, &expected->real, sizeof(value->real)) != 0)
            fail_msg("%s: %.17g instead of %.17g", what, value->real, expected->real);
        break;
    case SQ_VALUE_TEXT:
    case SQ_VALUE_BLOB:
        if (value->bytes.length != expected->bytes.length ||
            (value->bytes.length > 0 && memcmp(value->bytes.data, expected->bytes.data, value->bytes.length) != 0))
            fail_msg("%s: '%.*s' instead of '%.*s'", what, (int)value->bytes.length, value->bytes.data,
                     (int)expected->bytes.length, expected->bytes.data);
        break;
    }
}

static inline void assert_get(uint32_t oid, int format, const void *data, size_t length, struct sq_value expected,
                              const char *what)
{
    struct parameter parameter;
    parameter_get(&parameter, oid, format, data, length);
    if (parameter.status != SQ_OK)
        fail_msg("%s: %s", what, parameter.err.text);
    assert_same_value(&parameter.value, &expected, what);
    parameter_done(&parameter);
}

static inline void assert_get_text(uint32_t oid, const char *text, struct sq_value expected)
{
    assert_get(oid, PGTYPE_FORMAT_TEXT, text, strlen(text), expected, text);
}

static inline void assert_get_binary(uint32_t oid, const char *hex, struct sq_value expected)
{
    uint8_t data[1024];
    size_t length = hex_bytes(hex, data, sizeof(data));
    assert_get(oid, PGTYPE_FORMAT_BINARY, data, length, expected, hex);
}

static inline void assert_get_fails(uint32_t oid, int format, const void *data, size_t length, const char *sqlstate)
{
    struct parameter parameter;
    parameter_get(&parameter, oid, format, data, length);
    if (parameter.status != SQ_SQL || strcmp(parameter.err.sqlstate, sqlstate) != 0)
        fail_msg("'%.*s' as type %u: %s (%s) instead of %s", (int)length, (const char *)data, oid,
                 parameter.status == SQ_OK ? "accepted" : parameter.err.sqlstate, parameter.err.text, sqlstate);
    parameter_done(&parameter);
}

static inline void assert_get_text_fails(uint32_t oid, const char *text, const char *sqlstate)
{
    assert_get_fails(oid, PGTYPE_FORMAT_TEXT, text, strlen(text), sqlstate);
}

static inline void assert_get_binary_fails(uint32_t oid, const char *hex, const char *sqlstate)
{
    uint8_t data[1024];
    size_t length = hex_bytes(hex, data, sizeof(data));
    assert_get_fails(oid, PGTYPE_FORMAT_BINARY, data, length, sqlstate);
}

#endif
