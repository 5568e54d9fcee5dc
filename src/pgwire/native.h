/* pgwire/native.h: the messages of native mode: SQLite's interface over the wire. docs/protocol.md has every byte.
 *
 * Four messages carry it (protocol.h): PGWIRE_NATIVE from the client is a request, from the server its answer;
 * PGWIRE_NATIVE_CALL from the server wants a function of the client's process called, from the client it is the answer.
 * Their bodies are read and written with the cursor and the writers of this room; here is what those have not: values,
 * texts with a length, the head of an answer, the facts of a statement.
 *
 * Rules: as everywhere in this room. Readers fail the cursor, writers fail the buffer; a decoded value or text points into
 * the message. Threads: none. */
#ifndef SQ_PGWIRE_NATIVE_H
#define SQ_PGWIRE_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/value.h"
#include "pgwire/cursor.h"
#include "pgwire/encode.h"

#define NATIVE_OPTION "_pq_.sqld"
#define NATIVE_STATUS_VERSION "sqld.native"
#define NATIVE_STATUS_DATABASE "sqld.database"
#define NATIVE_MEMORY_DATABASE ":memory:"

enum {
    NATIVE_VERSION = 1,
    NATIVE_CALL_DEPTH_MAX = 32,
    NATIVE_ANSWER_HEAD_BYTES = 38, /* without error and facts */
};

enum native_op {
    NATIVE_PREPARE = 0x01,
    NATIVE_STEP = 0x02,
    NATIVE_PREPARE_STEP = 0x03,
    NATIVE_RESET = 0x04,
    NATIVE_FINALIZE = 0x05,
    NATIVE_EXPAND = 0x06,
    NATIVE_STMT_STATUS = 0x07,
    NATIVE_RESET_ASYNC = 0x08,
    NATIVE_CLOSE = 0x09,
    NATIVE_COLUMN_METADATA = 0x10,
    NATIVE_TXN_STATE = 0x11,
    NATIVE_SET_ROWID = 0x12,
    NATIVE_LIMIT = 0x13,
    NATIVE_DB_CONFIG = 0x14,
    NATIVE_DB_STATUS = 0x15,
    NATIVE_CHECKPOINT = 0x16,
    NATIVE_BUSY_TIMEOUT = 0x17,
    NATIVE_DATABASES = 0x18,
    NATIVE_ATTACH = 0x19,
    NATIVE_RELEASE_MEMORY = 0x1a,
    NATIVE_DATA_VERSION = 0x1b,
    NATIVE_INTERRUPT_CLEAR = 0x1c,
    NATIVE_OUTCOME = 0x1d,
    NATIVE_FUNCTION = 0x20,
    NATIVE_COLLATION = 0x21,
    NATIVE_HOOKS = 0x22,
    NATIVE_OVERLOAD = 0x23,
    NATIVE_MODULE = 0x24,
    NATIVE_DROP_MODULES = 0x25,
    NATIVE_DECLARE_VTAB = 0x26,
    NATIVE_VTAB_CONFIG = 0x27,
    NATIVE_DISCONNECT = 0x28,
    NATIVE_BLOB_OPEN = 0x30,
    NATIVE_BLOB_READ = 0x31,
    NATIVE_BLOB_WRITE = 0x32,
    NATIVE_BLOB_REOPEN = 0x33,
    NATIVE_BLOB_CLOSE = 0x34,
    NATIVE_IMAGE_OPEN = 0x40,
    NATIVE_IMAGE_READ = 0x41,
    NATIVE_IMAGE_CLOSE = 0x42,
    NATIVE_IMAGE_PUT = 0x43,
    NATIVE_IMAGE_DATA = 0x44,
    NATIVE_IMAGE_DONE = 0x45,
};

enum native_call {
    NATIVE_CALL_FUNCTION = 1,
    NATIVE_CALL_COLLATION = 2,
    NATIVE_CALL_AUTHORIZER = 3,
    NATIVE_CALL_PROGRESS = 4,
    NATIVE_CALL_BUSY = 5,
    NATIVE_CALL_COMMIT = 6,
    NATIVE_CALL_ROLLBACK = 7,
    NATIVE_CALL_UPDATE = 8,
    NATIVE_CALL_PREUPDATE = 9,
    NATIVE_CALL_WAL = 10,
    NATIVE_CALL_COLLATION_NEEDED = 11,
    NATIVE_CALL_TRACE = 12,
    NATIVE_CALL_AUXDATA_FREE = 13,   /* not answered */
    NATIVE_CALL_AGGREGATE_FREE = 14, /* not answered */
    NATIVE_CALL_METHOD = 15,         /* native_table.h */
    NATIVE_CALL_TABLE_FREE = 16,     /* not answered */
    NATIVE_CALL_CURSOR_FREE = 17,    /* not answered */
    NATIVE_CALL_TABLE_ROLLBACK = 18, /* not answered */
};

/* Bits of NATIVE_HOOKS. */
enum native_hook {
    NATIVE_HOOK_AUTHORIZER = 1 << 0,
    NATIVE_HOOK_PROGRESS = 1 << 1,
    NATIVE_HOOK_BUSY = 1 << 2,
    NATIVE_HOOK_COMMIT = 1 << 3,
    NATIVE_HOOK_ROLLBACK = 1 << 4,
    NATIVE_HOOK_UPDATE = 1 << 5,
    NATIVE_HOOK_PREUPDATE = 1 << 6,
    NATIVE_HOOK_WAL = 1 << 7,
    NATIVE_HOOK_COLLATION_NEEDED = 1 << 8,
    NATIVE_HOOK_TRACE = 1 << 9,
};

enum native_function_kind { NATIVE_SCALAR = 0, NATIVE_AGGREGATE = 1, NATIVE_WINDOW = 2 };
enum native_function_part {
    NATIVE_PART_SCALAR = 0,
    NATIVE_PART_STEP = 1,
    NATIVE_PART_INVERSE = 2,
    NATIVE_PART_VALUE = 3,
    NATIVE_PART_FINAL = 4,
};

enum native_step_flag { NATIVE_STEP_ANEW = 1 << 0, NATIVE_STEP_ON = 1 << 1 };
enum native_attach_flag { NATIVE_ATTACH_CREATE = 1 << 0, NATIVE_ATTACH_READONLY = 1 << 1 };
enum native_image_mode { NATIVE_IMAGE_REPLACE = 0, NATIVE_IMAGE_DESERIALIZE = 1 };

#define NATIVE_PARAMETERS_KEPT UINT32_MAX

/* --- Texts and bytes: u32 length, bytes; UINT32_MAX: NULL --- */

/* data NULL: NULL. Nothing is behind the bytes: not a C string. */
static inline struct pgwire_bytes native_get_bytes(struct pgwire_cursor *cursor)
{
    uint32_t length = pgwire_get_u32(cursor);
    if (length == UINT32_MAX || cursor->is_failed)
        return (struct pgwire_bytes){NULL, 0};
    const uint8_t *data = pgwire_get_bytes(cursor, length);
    return (struct pgwire_bytes){data, data != NULL ? length : 0};
}
/* `data` may be NULL only for NULL. */
void native_put_bytes(struct sq_buf *buf, const void *data, size_t length);
/* A C string, or NULL. */
void native_put_text(struct sq_buf *buf, const char *text);

/* --- Values --- */

enum native_value_kind {
    NATIVE_VALUE_PLAIN = 0, /* `value` is it */
    NATIVE_VALUE_ZEROBLOB,  /* `number` zero bytes */
    NATIVE_VALUE_POINTER,   /* NULL, with the client's pointer of that number */
    /* Of arguments only: */
    NATIVE_VALUE_UNCHANGED, /* NULL for a column that an UPDATE leaves as it is: sqlite3_value_nochange() */
    NATIVE_VALUE_LIST,      /* NULL with a list of `number` values, packed in value.bytes: sqlite3_vtab_in_first() */
};

/* A value with what only parameters, arguments and results can have. */
struct native_value {
    struct sq_value value; /* bytes borrowed from the message */
    enum native_value_kind kind;
    uint64_t number;
    uint32_t subtype;
    bool has_subtype;
    bool is_bound; /* an argument that was a parameter: sqlite3_value_frombind() */
};

/* Tags of docs/protocol.md, "Values". */
enum native_tag {
    NATIVE_TAG_NULL = 0x00,
    NATIVE_TAG_INT8 = 0x11,
    NATIVE_TAG_INT16 = 0x12,
    NATIVE_TAG_INT32 = 0x14,
    NATIVE_TAG_INT64 = 0x18,
    NATIVE_TAG_REAL = 0x20,
    NATIVE_TAG_TEXT = 0x30,
    NATIVE_TAG_BLOB = 0x40,
    NATIVE_TAG_ZEROBLOB = 0x50,
    NATIVE_TAG_POINTER = 0x60,
    NATIVE_TAG_UNCHANGED = 0x70,
    NATIVE_TAG_SUBTYPE = 0x80,
    NATIVE_TAG_BOUND = 0x90,
    NATIVE_TAG_LIST = 0xa0,
};

/* The next value of a row, which has neither subtype nor pointer nor zeroblob: those fail the cursor. */
void native_get_value(struct pgwire_cursor *cursor, struct sq_value *ret_value);
/* A row: so many of them. */
void native_get_values(struct pgwire_cursor *cursor, struct sq_value *values, size_t count);
void native_put_value(struct sq_buf *buf, const struct sq_value *value);
/* The next parameter or result. */
void native_get_any(struct pgwire_cursor *cursor, struct native_value *ret_value);
/* The next argument of a function or method. The values of a list are not looked at. */
void native_get_argument(struct pgwire_cursor *cursor, struct native_value *ret_value);
/* Any of them. */
void native_put_any(struct sq_buf *buf, const struct native_value *value);
/* A list, whose values come between the two. */
size_t native_list_begin(struct sq_buf *buf);
void native_list_end(struct sq_buf *buf, size_t offset, uint32_t count);

/* --- Answers --- */

struct native_answer {
    int32_t result; /* SQLite's extended result code */
    bool is_autocommit;
    bool has_error;
    bool has_facts;
    bool has_tripped; /* a rollback has undone changes of the schema: statements in their middle are over */
    uint8_t txn_state;
    int64_t changes;
    int64_t total_changes;
    int64_t last_insert_rowid;
    uint64_t generation;
    /* with has_error */
    int32_t error_offset; /* -1: unknown */
    struct pgwire_bytes message;
};

/* Writes head and error; facts, if has_facts, and the rest follow. */
void native_put_answer(struct sq_buf *buf, const struct native_answer *answer);
/* Reads as much. */
void native_get_answer(struct pgwire_cursor *cursor, struct native_answer *ret_answer);

/* --- Facts --- */

/* Their beginning; the columns and parameters are read and written one by one. */
struct native_facts {
    uint32_t consumed;
    bool has_statement;
    bool is_readonly;
    uint8_t explain; /* 0, 1, 2 */
    bool may_call;   /* functions of the client */
    bool is_attach;
    bool is_volatile; /* how many rows come may depend on when it is stepped */
};

struct native_column {
    struct pgwire_bytes name;
    struct pgwire_bytes declared_type;
    struct pgwire_bytes database;
    struct pgwire_bytes table;
    struct pgwire_bytes origin;
};

void native_put_facts(struct sq_buf *buf, const struct native_facts *facts);
void native_get_facts(struct pgwire_cursor *cursor, struct native_facts *ret_facts);
void native_get_column(struct pgwire_cursor *cursor, struct native_column *ret_column);

#endif
