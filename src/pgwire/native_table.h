/* pgwire/native_table.h: what METHOD calls of native mode carry: virtual tables that live in the client's process
 * (docs/protocol.md, "Virtual tables"). See native.h for the rest, and for the rules.
 *
 * The answer to a METHOD begins with struct native_head; COLUMN's is a struct native_given. */
#ifndef SQ_PGWIRE_NATIVE_TABLE_H
#define SQ_PGWIRE_NATIVE_TABLE_H

#include "pgwire/native.h"

/* sqlite.org/vtab.html: xCreate, … */
enum native_method {
    NATIVE_METHOD_CREATE = 1,
    NATIVE_METHOD_CONNECT = 2,
    NATIVE_METHOD_DISCONNECT = 3,
    NATIVE_METHOD_DESTROY = 4,
    NATIVE_METHOD_BEST_INDEX = 5,
    NATIVE_METHOD_OPEN = 6,
    NATIVE_METHOD_CLOSE = 7,
    NATIVE_METHOD_FILTER = 8,
    NATIVE_METHOD_NEXT = 9,
    NATIVE_METHOD_COLUMN = 10,
    NATIVE_METHOD_UPDATE = 11,
    NATIVE_METHOD_BEGIN = 12,
    NATIVE_METHOD_SYNC = 13,
    NATIVE_METHOD_COMMIT = 14,
    NATIVE_METHOD_ROLLBACK = 15,
    NATIVE_METHOD_FIND_FUNCTION = 16,
    NATIVE_METHOD_RENAME = 17,
    NATIVE_METHOD_SAVEPOINT = 18,
    NATIVE_METHOD_RELEASE = 19,
    NATIVE_METHOD_ROLLBACK_TO = 20,
    NATIVE_METHOD_SHADOW_NAME = 21,
};

/* What a module has, of that what it may lack: bits of MODULE. */
enum native_module_bit {
    NATIVE_MODULE_CREATE = 1 << 0,
    NATIVE_MODULE_CREATE_IS_CONNECT = 1 << 1, /* the same function: an eponymous table */
    NATIVE_MODULE_DESTROY = 1 << 2,
    NATIVE_MODULE_UPDATE = 1 << 3,
    NATIVE_MODULE_BEGIN = 1 << 4,
    NATIVE_MODULE_SYNC = 1 << 5,
    NATIVE_MODULE_COMMIT = 1 << 6,
    NATIVE_MODULE_ROLLBACK = 1 << 7,
    NATIVE_MODULE_FIND_FUNCTION = 1 << 8,
    NATIVE_MODULE_RENAME = 1 << 9,
    NATIVE_MODULE_SAVEPOINT = 1 << 10,
    NATIVE_MODULE_RELEASE = 1 << 11,
    NATIVE_MODULE_ROLLBACK_TO = 1 << 12,
    NATIVE_MODULE_SHADOW_NAME = 1 << 13,
    NATIVE_MODULE_ALL = (1 << 14) - 1,
};

enum {
    NATIVE_MODULE_VERSION_MAX = 3, /* sqlite3_module.iVersion */
    NATIVE_ROWID = -1,             /* in the place of a column: xRowid */
    NATIVE_WISHES_MAX = 64,        /* what may be asked for with one row */
};

/* --- Answers --- */

struct native_head {
    int32_t result;
    struct pgwire_bytes message; /* the table's zErrMsg, or the constructor's; NULL: none */
};
void native_put_head(struct sq_buf *buf, int32_t result, const char *message);
void native_get_head(struct pgwire_cursor *cursor, struct native_head *ret_head);

/* What xColumn has given to its context. */
enum native_given_kind {
    NATIVE_GIVEN_NOTHING = 0,
    NATIVE_GIVEN_VALUE = 1, /* xRowid: its number */
    NATIVE_GIVEN_ERROR = 2,
};
struct native_given {
    struct native_head head;
    enum native_given_kind kind;
    struct native_value value;   /* NATIVE_GIVEN_VALUE */
    int32_t code;                /* NATIVE_GIVEN_ERROR */
    struct pgwire_bytes message; /* of that; NULL: the code's own */
};
void native_put_given(struct sq_buf *buf, const struct native_given *given);
void native_get_given(struct pgwire_cursor *cursor, struct native_given *ret_given);
/* What is behind its head. */
void native_get_gift(struct pgwire_cursor *cursor, struct native_given *ret_given);
/* Whether it says that something has failed: nothing that was wished for comes behind it. */
static inline bool native_given_is_failure(const struct native_given *given)
{
    return given->head.result != 0 || given->kind == NATIVE_GIVEN_ERROR;
}

/* --- Wishes: columns that come with a row, in this order --- */

struct native_wish {
    int32_t column;     /* or NATIVE_ROWID */
    bool is_for_update; /* sqlite3_vtab_nochange() */
};
void native_put_wishes(struct sq_buf *buf, const struct native_wish *wishes, size_t count);
/* Fails for more than NATIVE_WISHES_MAX; `wishes` has room for those. */
void native_get_wishes(struct pgwire_cursor *cursor, struct native_wish *wishes, size_t *ret_count);

/* --- BEST_INDEX --- */

/* An aConstraint[], and what sqlite3_vtab_collation(), _in() and _rhs_value() say of it. */
struct native_constraint {
    int32_t column;
    uint8_t op;
    bool is_usable;
    bool may_be_list;
    bool has_value;
    int32_t term_offset;
    struct pgwire_bytes collation; /* NULL: none */
    struct native_value value;     /* has_value */
};
void native_put_constraint(struct sq_buf *buf, const struct native_constraint *constraint);
void native_get_constraint(struct pgwire_cursor *cursor, struct native_constraint *ret_constraint);

/* An aOrderBy[]. */
struct native_order {
    int32_t column;
    bool is_descending;
};
void native_put_order(struct sq_buf *buf, const struct native_order *order);
void native_get_order(struct pgwire_cursor *cursor, struct native_order *ret_order);

/* A sqlite3_index_info as SQLite gives it; behind it come its arrays, one by one, each behind its count. */
struct native_plan {
    uint64_t columns_used;
    uint8_t distinct; /* sqlite3_vtab_distinct() */
    bool wants_text;  /* EXPLAIN: idxStr will be shown */
    double cost;
    int64_t rows;
};
void native_put_plan(struct sq_buf *buf, const struct native_plan *plan);
void native_get_plan(struct pgwire_cursor *cursor, struct native_plan *ret_plan);

/* idxStr, which is the client's own: SQLite only hands it on. */
enum native_index_kind {
    NATIVE_INDEX_NULL = 0,
    NATIVE_INDEX_BYTES = 1,  /* memory that SQLite was to free: its contents */
    NATIVE_INDEX_NUMBER = 2, /* a pointer that the client keeps under this number */
};
struct native_index {
    int32_t number; /* idxNum */
    enum native_index_kind kind;
    struct pgwire_bytes bytes;
    uint64_t pointer;
};
void native_put_index(struct sq_buf *buf, const struct native_index *index);
void native_get_index(struct pgwire_cursor *cursor, struct native_index *ret_index);

/* What xBestIndex has chosen; before it comes a struct native_usage for each constraint. */
struct native_usage {
    int32_t argument; /* argvIndex */
    bool is_omitted;
    bool is_list; /* sqlite3_vtab_in() with 1 */
};
struct native_choice {
    struct native_index index;
    struct pgwire_bytes text; /* of idxStr, if it was wanted */
    bool is_ordered;          /* orderByConsumed */
    double cost;
    int64_t rows;
    int32_t flags; /* idxFlags */
};
void native_put_usage(struct sq_buf *buf, const struct native_usage *usage);
void native_get_usage(struct pgwire_cursor *cursor, struct native_usage *ret_usage);
void native_put_choice(struct sq_buf *buf, const struct native_choice *choice);
void native_get_choice(struct pgwire_cursor *cursor, struct native_choice *ret_choice);

#endif
