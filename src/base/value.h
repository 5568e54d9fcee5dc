/* base/value.h: one SQL value, as SQLite has it (sqlite.org/datatype3.html). Rows and parameters travel between the
 * front end, the services and the engine as arrays of these; nobody in between knows a wire format.
 *
 * A text or blob borrows its bytes: who makes a value says for how long they are valid. */
#ifndef SQ_BASE_VALUE_H
#define SQ_BASE_VALUE_H

#include <stddef.h>
#include <stdint.h>

enum sq_value_kind {
    SQ_VALUE_NULL = 0,
    SQ_VALUE_INTEGER,
    SQ_VALUE_REAL,
    SQ_VALUE_TEXT, /* UTF-8, not NUL-terminated, may hold any byte */
    SQ_VALUE_BLOB,
};

struct sq_value {
    enum sq_value_kind kind;
    union {
        int64_t integer;
        double real;
        struct {
            const char *data; /* may be NULL when length is 0 */
            size_t length;
        } bytes; /* TEXT and BLOB */
    };
};

/* What a column announces or a parameter expects: SQLite's declared types sorted into the few classes that clients
 * tell apart. SQ_TYPE_ANY: nothing is known, the value decides. */
enum sq_type {
    SQ_TYPE_ANY = 0,
    SQ_TYPE_INTEGER,
    SQ_TYPE_BOOLEAN,
    SQ_TYPE_REAL,
    SQ_TYPE_NUMERIC,
    SQ_TYPE_TEXT,
    SQ_TYPE_BLOB,
    SQ_TYPE_DATE,
    SQ_TYPE_TIME,
    SQ_TYPE_TIMESTAMP,
    SQ_TYPE_UUID,
    SQ_TYPE_JSON,
};

#endif
