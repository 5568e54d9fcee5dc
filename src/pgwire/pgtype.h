/* pgwire/pgtype.h: PostgreSQL's types as bytes: SQLite values to result columns, Bind parameters to SQLite values.
 *
 * Pure functions over values and buffers. A value's length word is the caller's, and so is SQL NULL (length -1):
 * nothing here takes or makes a NULL.
 *
 * Results. A column announces one type, a SQLite value may be of another storage class. In text format such a value is
 * sent as its text; in binary format it is refused with 22P02, and the caller adds row and column.
 *
 *   | type                     | text                                   | binary accepts                              |
 *   |--------------------------|----------------------------------------|---------------------------------------------|
 *   | int2 int4 int8 oid       | decimal                                | INTEGER in range; REAL that is an integer   |
 *   |                          |                                        | within +-2^53 (nothing is lost)             |
 *   | float4 float8            | shortest digits that read back the     | REAL; INTEGER that a double holds exactly   |
 *   |                          | same, as PostgreSQL 12 and later       |                                             |
 *   | bool                     | t, f for 0, 1, 'true', 'false'         | the same                                    |
 *   | numeric                  | digits without exponent                | INTEGER, REAL, TEXT that is a number        |
 *   | text-like                | the text                               | any value, as its text                      |
 *   | json, jsonb              | the text                               | TEXT, INTEGER, finite REAL, BLOB of UTF-8   |
 *   | bytea                    | \x and hex                             | BLOB                                        |
 *   | date time timestamp …tz  | the text as it is stored               | TEXT in SQLite's forms (lang_datefunc.html, |
 *   |                          |                                        | "Time Values" 1 to 10), infinity, -infinity |
 *   | uuid                     | the text; a BLOB of 16 bytes as 8-4-…  | TEXT in hex with or without hyphens, in {}; |
 *   |                          |                                        | BLOB of 16 bytes                            |
 *
 * A value's text: INTEGER in decimal; REAL as SQLite prints it ("1.0", "1.5e+20", "Inf"), but with as many digits as it
 * takes to read back the same; TEXT byte by byte, whatever the bytes are (SQLite does not insist on UTF-8, and NUL may
 * be among them); BLOB as its bytes if they are UTF-8 without NUL, else as \x and hex.
 *
 * Parameters. Text that is not UTF-8 or holds a NUL is refused with 22021, as PostgreSQL does.
 *
 *   | type                     | becomes                                                                              |
 *   |--------------------------|--------------------------------------------------------------------------------------|
 *   | int2 int4 int8 oid       | INTEGER                                                                              |
 *   | float4 float8            | REAL, float4 rounded to one also from text; NaN is refused (22003): SQLite would     |
 *   |                          | store NULL                                                                           |
 *   | bool                     | INTEGER 0, 1                                                                         |
 *   | numeric                  | no fraction digits and within 64 bits: INTEGER; at most 15 significant digits: REAL; |
 *   |                          | else TEXT, digits without exponent. 5.00 is REAL 5.0: 5.00/2 must stay 2.5           |
 *   | bytea                    | BLOB                                                                                 |
 *   | date time timestamp …    | TEXT: text format unchanged; binary as YYYY-MM-DD HH:MM:SS[.ffffff], timestamptz in  |
 *   |                          | UTC with +00:00, timetz with its own zone                                            |
 *   | interval, uuid           | TEXT as PostgreSQL prints it                                                         |
 *   | text-like, json, jsonb,  | TEXT                                                                                 |
 *   | unknown, 0, all others   | TEXT; all others in binary: 0A000                                                    |
 *
 * Threads: any. */
#ifndef SQ_PGWIRE_PGTYPE_H
#define SQ_PGWIRE_PGTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/value.h"

struct sq_arena;
struct sq_buf;

/* Object identifiers of pg_type, fixed in PostgreSQL's catalogs (src/include/catalog/pg_type.dat). */
enum pgtype_oid {
    PGTYPE_UNSPECIFIED = 0, /* in Parse: the server shall find out */
    PGTYPE_BOOL = 16,
    PGTYPE_BYTEA = 17,
    PGTYPE_CHAR = 18, /* "char", one byte */
    PGTYPE_NAME = 19,
    PGTYPE_INT8 = 20,
    PGTYPE_INT2 = 21,
    PGTYPE_INT4 = 23,
    PGTYPE_REGPROC = 24,
    PGTYPE_TEXT = 25,
    PGTYPE_OID = 26,
    PGTYPE_JSON = 114,
    PGTYPE_FLOAT4 = 700,
    PGTYPE_FLOAT8 = 701,
    PGTYPE_UNKNOWN = 705,
    PGTYPE_BPCHAR = 1042,
    PGTYPE_VARCHAR = 1043,
    PGTYPE_DATE = 1082,
    PGTYPE_TIME = 1083,
    PGTYPE_TIMESTAMP = 1114,
    PGTYPE_TIMESTAMPTZ = 1184,
    PGTYPE_INTERVAL = 1186,
    PGTYPE_TIMETZ = 1266,
    PGTYPE_NUMERIC = 1700,
    PGTYPE_REGCLASS = 2205,
    PGTYPE_REGTYPE = 2206,
    PGTYPE_VOID = 2278,
    PGTYPE_UUID = 2950,
    PGTYPE_JSONB = 3802,
};

/* Format codes (manual, "Overview": "Formats and Format Codes"). */
enum { PGTYPE_FORMAT_TEXT = 0, PGTYPE_FORMAT_BINARY = 1 };

/* Most digits on either side of a numeric parameter's point: what NUMERIC(p,s) can declare (manual, 8.1.2). A few bytes
 * on the wire could otherwise ask for 128 KiB of zeros. */
enum { PGTYPE_NUMERIC_DIGITS_MAX = 1000 };

/* pg_type.typlen, for RowDescription: bytes, -1 for variable length, -2 for a C string. */
int16_t pgtype_length(uint32_t oid);
/* The type's SQL name ("bigint", "timestamp with time zone"), NULL for one that is not in the table. */
const char *pgtype_name(uint32_t oid);

/* The type that a column or parameter of a SQLite type announces; SQ_TYPE_ANY: text. */
uint32_t pgtype_oid_of(enum sq_type type);
/* The type that a storage class announces, for columns of SQ_TYPE_ANY that show a first row; NULL: text. */
uint32_t pgtype_oid_of_kind(enum sq_value_kind kind);

/* Whether a result of this type can be sent in binary format. (Parameters: the same, and interval, and 0 as text.) */
bool pgtype_has_binary(uint32_t oid);

/* Append the bytes of `value` (not NULL) as type `oid`. pgtype_put_text() fails only with the buffer (ask
 * sq_buf_check() for the words); after a failure of either the caller truncates `out` to where it was. */
SQ_MUST_USE sq_status pgtype_put_text(struct sq_buf *out, uint32_t oid, const struct sq_value *value);
/* SQ_SQL: 22P02, the value does not fit the type; 0A000, the type has no binary format here. */
SQ_MUST_USE sq_status pgtype_put_binary(struct sq_buf *out, uint32_t oid, const struct sq_value *value,
                                        struct sq_error *err);

/* Decodes a parameter of type `oid` in `format` (any other than 0 and 1: 22023). TEXT and BLOB values point into `data`
 * where nothing had to be converted, else into `arena`: they are valid as long as both are.
 * Fails with SQ_SQL and 22P02 (bad text), 22003 (out of range), 22P03 (bad binary), 22021 (bad character), 22008 (a
 * date that SQLite cannot have), 0A000 (no binary format), or with SQ_NOMEM. */
SQ_MUST_USE sq_status pgtype_get(uint32_t oid, int format, const uint8_t *data, size_t length, struct sq_arena *arena,
                                 struct sq_value *ret, struct sq_error *err);

#endif
