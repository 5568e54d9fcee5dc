/* engine/infer_internal.h: what the infer_*.c files share. infer.c tells the design. */
#ifndef SQ_ENGINE_INFER_INTERNAL_H
#define SQ_ENGINE_INFER_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/value.h"
#include "engine/infer.h"

/* ---- Opcodes (infer_opcode.c) ---- */

/* What an instruction does to registers, cursors and records. */
enum infer_effect {
    INFER_NOTHING,
    INFER_NULLS,     /* r[P2..P3] = NULL */
    INFER_SOFT_NULL, /* r[P1] = NULL */
    INFER_INT1,      /* r[P1] becomes an integer; so P2, P3 */
    INFER_INT2,
    INFER_INT3,
    INFER_ANY1, /* r[P1] becomes what is not followed; so P2, P3 */
    INFER_ANY2,
    INFER_ANY3,
    INFER_CONST_INTEGER, /* r[P2] = P1 */
    INFER_CONST_INT64,   /* r[P2] = P4 */
    INFER_CONST_REAL,
    INFER_CONST_TEXT,
    INFER_CONST_BLOB,
    INFER_VARIABLE, /* r[P2] = parameter P1 */
    INFER_MOVE,     /* r[P2@P3] = r[P1@P3] */
    INFER_COPY,     /* r[P2@P3+1] = r[P1@P3+1] */
    INFER_SCOPY,    /* r[P2] = r[P1] */
    INFER_RESULT,   /* a row of r[P1@P2] */
    INFER_CONCAT,   /* r[P3] = r[P2] || r[P1] */
    INFER_ARITHMETIC,
    INFER_BITWISE,
    INFER_MUST_BE_INT,
    INFER_OFFSET_LIMIT,   /* r[P2] from r[P1], r[P3] */
    INFER_REAL_AFFINITY,  /* r[P1] */
    INFER_CAST,           /* r[P1] to P2 */
    INFER_AFFINITY,       /* r[P1@P2] by P4 */
    INFER_TYPE_CHECK,     /* r[P1@P2] */
    INFER_COMPARE,        /* r[P3] with r[P1] */
    INFER_COLUMN,         /* r[P3] = column P2 of cursor P1 */
    INFER_MAKE_RECORD,    /* r[P3] = record of r[P1@P2] */
    INFER_INSERT,         /* record r[P2] under rowid r[P3] into cursor P1 */
    INFER_INDEX_INSERT,   /* record r[P2] into cursor P1 */
    INFER_ROW_CELL,       /* a row of cursor P2 into cursor P1 */
    INFER_ROW_DATA,       /* r[P2] = record of cursor P1 */
    INFER_ROWID_SEEK,     /* cursor P1 to rowid r[P3] */
    INFER_KEY_SEEK,       /* cursor P1 to key r[P3@P4], or record r[P3] if P4 is 0 */
    INFER_NEW_ROWID,      /* r[P2], r[P3] if P3 > 0 */
    INFER_COLL_SEQ,       /* r[P1] = 0 if P1 > 0 */
    INFER_CLEAR,          /* r[P3] counts if P3 > 0 */
    INFER_FUNCTION,       /* r[P3] = P4(r[P2…]) */
    INFER_AGG_STEP,       /* accumulator r[P3], arguments r[P2@P5] */
    INFER_AGG_FINAL,      /* r[P1] */
    INFER_AGG_VALUE,      /* r[P3] from accumulator r[P1] */
    INFER_OPEN_TABLE,     /* cursor P1 on root page P2 of database P3 */
    INFER_OPEN_EPHEMERAL, /* cursor P1 on a table of its own */
    INFER_OPEN_DUP,       /* cursor P1 on the table of cursor P2 */
    INFER_OPEN_PSEUDO,    /* cursor P1 on the record r[P2] */
    INFER_OPEN_VIRTUAL,   /* cursor P1 on a virtual table */
    INFER_VALUE_LIST,     /* VInitIn: r[P2], r[P3@2] */
    INFER_TRANSACTION,    /* database P1 has schema cookie P3, generation P4 */
};

/* Where control goes. A P2 of 0 is no jump. */
enum infer_way {
    INFER_NEXT,
    INFER_MAYBE_P2, /* P2 or the next instruction */
    INFER_GOTO,     /* P2 */
    INFER_JUMP,     /* P1, P2 or P3 */
    INFER_STOP,
    INFER_GOSUB,     /* P2; comes back from a Return with the same P1 */
    INFER_RETURN,    /* behind any Gosub with the same P1; if P3 is set, or on */
    INFER_COROUTINE, /* P2, or on; P3 is where its first Yield goes */
    INFER_YIELD,     /* behind any other Yield with the same P1, or to its beginning; to P2 from EndCoroutine */
    INFER_END_COROUTINE,
};

/* Which operands hold register numbers, to count registers. */
enum {
    INFER_R1 = 1,
    INFER_R2 = 2,
    INFER_R3 = 4,
    INFER_SPAN_P1_P2 = 8,   /* r[P1@P2] */
    INFER_SPAN_P2_P3 = 16,  /* r[P2..P3] */
    INFER_SPAN_COPY = 32,   /* r[P1@P3+1], r[P2@P3+1] */
    INFER_SPAN_KEY = 64,    /* r[P3@P4] */
    INFER_SPAN_AGG = 128,   /* r[P2@P5] */
    INFER_SPAN_FUNC = 256,  /* r[P2@ the count in P4] */
    INFER_KEEP_P4 = 512,    /* P4's text is needed */
    INFER_P4_NUMBER = 1024, /* P4 is a number */
    INFER_C1 = 2048,        /* P1 is a cursor that is opened here */
};

struct infer_opcode {
    const char *name;
    uint8_t effect;
    uint8_t flow;
    uint16_t operands;
};

/* NULL if the name is unknown: nothing can then be said about the program. */
const struct infer_opcode *infer_opcode_find(const char *name);

/* ---- Programs (infer_program.c) ---- */

/* Abstract values and cells of records: see infer_flow.c. */
typedef uint16_t infer_value;

struct infer_op {
    const struct infer_opcode *kind;
    int p1, p2, p3;
    int p5;
    int p4_number;
    const char *p4; /* NULL if not kept */
    uint32_t block;
    uint32_t record;   /* MakeRecord: its own record class */
    uint32_t cursor;   /* where P1 points: of an instruction that opens it, or as infer_flow.c left it */
    infer_value in[2]; /* operands, as infer_flow.c left them: which ones depends on the effect */
};

struct infer_program {
    struct infer_op *ops;
    size_t op_count;
    bool is_writing;       /* opens something for writing */
    size_t register_count; /* 0 is not used by SQLite for values, but counted */
    size_t cursor_count;
};

/* Reads EXPLAIN of `sql`. *ret_is_known is false if there is something in it that infer does not know or that exceeds a
 * limit, or if SQLite refuses the statement. Fails with SQ_NOMEM only. */
SQ_MUST_USE sq_status infer_program_read(sqlite3 *db, const char *sql, struct sq_arena *arena,
                                         struct infer_program *program, bool *ret_is_known);

/* ---- Schema (infer_schema.c) ---- */

/* A table or an index: what a cursor on its root page reads. */
struct infer_object {
    uint32_t root;
    uint32_t column_count;
    bool is_rowid_table; /* else its key is its columns: an index or a WITHOUT ROWID table */
    uint8_t *types;      /* enum sq_type of each column, in the order of OP_Column's P2 */
};

struct infer_schema;

struct infer_function_type {
    char *name;
    enum sq_type type;
    enum sq_type argument_type; /* SQ_TYPE_ANY: nothing is known */
};

struct infer_cache {
    struct infer_schema *schemas; /* INFER_SCHEMAS_MAX of them, by the database's number */
    struct infer_function_type *functions;
    size_t function_count;
    struct sq_arena scratch; /* of one statement */
    struct sq_arena lookup;  /* of one look into the schema */
};

/* Forgets schemas that `program` shows to have changed, and those that cannot be told apart. */
void infer_schema_refresh(struct infer_cache *cache, sqlite3 *db, const struct infer_program *program);
/* The object at `root` of database number `database`. *ret_object is NULL if it cannot be known, or if its table is not
 * named in `sql` and !is_thorough. Fails with SQ_NOMEM only. */
SQ_MUST_USE sq_status infer_schema_find(struct infer_cache *cache, sqlite3 *db, const char *sql, int database,
                                        uint32_t root, bool is_thorough, const struct infer_object **ret_object);
struct infer_schema *infer_schemas_new(void);
void infer_schemas_clear(struct infer_schema *schemas);
void infer_schemas_free(struct infer_schema *schemas);

/* ---- Functions (infer_function.c) ---- */

/* How a function's result comes from its arguments. */
enum infer_rule {
    INFER_RULE_FIXED,
    INFER_RULE_SAME,      /* as the first argument: nullif, the aggregates min and max */
    INFER_RULE_UNION,     /* as any of the arguments: the scalars min and max */
    INFER_RULE_NUMBER,    /* INTEGER of INTEGER, REAL of REAL: abs, sum */
    INFER_RULE_SUBSTRING, /* BLOB of BLOB, TEXT of what is no blob */
    INFER_RULE_TEXT,      /* TEXT of TEXT: replace, which gives a number back as it is if there is nothing to replace */
    INFER_RULE_NOTHING,   /* lead and its like: NULL; what they give is read from the window's rows instead */
};

struct infer_function {
    const char *name;
    uint8_t rule;  /* enum infer_rule */
    uint8_t type;  /* enum sq_type of INFER_RULE_FIXED */
    uint8_t wants; /* enum sq_type of its parameters; SQ_TYPE_ANY: nothing is known */
};

/* What is known of the function called `name`; false if nothing. */
bool infer_function_find(const struct infer_cache *cache, const char *name, size_t name_length, bool is_aggregate,
                         struct infer_function *ret_function);

/* ---- Abstract values (infer_value.c) ---- */

enum {
    INFER_VALUE_NONE = 0, /* NULL, or never written */
    /* 1 + enum sq_type, with these flags: */
    INFER_VALUE_CONST = 0x10,     /* a constant of the statement: no reason to type a parameter */
    INFER_VALUE_BIT = 0x20,       /* the constant 0 or 1, which fits BOOLEAN */
    INFER_VALUE_UNTRACKED = 0x40, /* with ANY: may be a record of which nothing is known */
    INFER_VALUE_TYPE_MASK = 0x0f,
    /* A record; INFER_VALUE_CLASS_MASK has its class: */
    INFER_VALUE_RECORD = 0x8000,
    INFER_VALUE_MIXED = 0x4000, /* or something that is no record */
    INFER_VALUE_CLASS_MASK = 0x3fff,
    INFER_RECORDS_MAX = 0x3fff,
};

static inline infer_value infer_value_of_type(enum sq_type type)
{
    return (infer_value)(1 + (int)type);
}

static inline bool infer_value_is_record(infer_value value)
{
    return (value & INFER_VALUE_RECORD) != 0;
}

static inline uint32_t infer_value_class(infer_value value)
{
    return value & (uint32_t)INFER_VALUE_CLASS_MASK;
}

/* SQ_TYPE_ANY for NONE and records too. */
static inline enum sq_type infer_value_type(infer_value value)
{
    if (value == INFER_VALUE_NONE || infer_value_is_record(value))
        return SQ_TYPE_ANY;
    return (enum sq_type)((value & INFER_VALUE_TYPE_MASK) - 1);
}

/* What either of two values that are no records may be. */
infer_value infer_value_join(infer_value a, infer_value b);
/* The value after OP_Affinity with this letter, OP_Cast to it, OP_RealAffinity. */
infer_value infer_value_apply_affinity(infer_value value, char affinity);
infer_value infer_value_cast(int affinity);
infer_value infer_value_make_real(infer_value value);
/* a + b, a - b, a * b, a / b, a % b */
infer_value infer_value_arithmetic(infer_value a, infer_value b);
/* The result of a call with these arguments. */
infer_value infer_value_call(const struct infer_function *function, const infer_value *args, size_t arg_count);

/* ---- Flow (infer_blocks.c, infer_records.c, infer_flow.c, infer_demand.c) ---- */

/* A class of records: see infer_records.c. */
struct infer_record {
    uint32_t parent; /* union-find; its own number if it stands for its class */
    bool is_any;     /* some record of the class has unknown columns */
    uint32_t width;
    infer_value *cells;
    uint16_t *demands;                    /* as of registers, see infer_demand.c */
    const struct infer_object *stored_in; /* where records of the class go; NULL: nowhere, or to several places */
    bool is_stored;
};

enum infer_cursor_kind {
    INFER_CURSOR_UNKNOWN,
    INFER_CURSOR_TABLE,
    INFER_CURSOR_EPHEMERAL,
    INFER_CURSOR_PSEUDO,
};

enum {
    /* Of flow->cursors; those behind are what instructions open. */
    INFER_CURSOR_IS_CLOSED = 0,  /* not opened yet */
    INFER_CURSOR_IS_UNKNOWN = 1, /* a virtual table, or two different things */
    INFER_CURSOR_FIRST = 2,
};

/* What a cursor may point to. */
struct infer_cursor {
    uint8_t kind;                      /* enum infer_cursor_kind */
    int number;                        /* the cursor's */
    uint32_t record;                   /* EPHEMERAL: class of its rows */
    int source;                        /* PSEUDO: the register with its row */
    const struct infer_object *object; /* TABLE */
};

/* Instructions [begin, end), and edges [edge_begin, edge_end) to the blocks that may follow. */
struct infer_block {
    uint32_t begin, end;
    uint32_t edge_begin, edge_end;
    bool is_reached;
    bool is_dirty;      /* must be gone through again */
    bool reads_records; /* depends on more than the state at its beginning */
};

struct infer_flow {
    struct infer_cache *cache;
    struct infer_program *program;
    struct sq_arena *arena;
    struct infer_block *blocks;
    size_t block_count;
    uint32_t *edges; /* block numbers */
    size_t edge_count;
    struct infer_cursor *cursors; /* op->cursor, and the cursors' part of a state, are indexes of it */
    size_t cursor_count;
    uint32_t *only; /* by cursor number: the one thing it is ever opened on; INFER_CURSOR_IS_UNKNOWN if there are two */
    struct infer_record *records;
    size_t record_count;
    size_t record_cell_count;
    size_t state_width;   /* program->register_count, and behind them program->cursor_count */
    infer_value *states;  /* state_width each, by block: at its beginning; in infer_demand.c of demands */
    infer_value *current; /* state_width */
    infer_value *results;
    size_t result_count;
    size_t work;            /* cells looked at */
    bool is_refining;       /* second round: what is stored in a column has the column's type */
    bool has_changed_cells; /* of records */
    bool is_broken;         /* the program is not what was expected, or too big: nothing can be said */
    bool is_out_of_memory;
};

/* Cuts the program into blocks. False: is_broken or is_out_of_memory is set. */
bool infer_blocks_make(struct infer_flow *flow);

/* Makes a class of records for each instruction that makes or keeps some, and binds cursors to them and to the schema. */
bool infer_records_make(struct infer_flow *flow, sqlite3 *db, const char *sql);
/* Forgets cells, keeps which classes are one. */
void infer_records_reset(struct infer_flow *flow);
/* The class that `number` belongs to. */
struct infer_record *infer_record_of(struct infer_flow *flow, uint32_t number);
/* Makes two classes one. */
void infer_record_unite(struct infer_flow *flow, uint32_t a, uint32_t b);
/* Joins `value` into cell `index`; NONE only makes room. */
void infer_record_put(struct infer_flow *flow, struct infer_record *record, uint32_t index, infer_value value);
infer_value infer_record_get(const struct infer_record *record, int64_t index);
/* infer_value_join() that knows records of one class. */
infer_value infer_flow_join(struct infer_flow *flow, infer_value a, infer_value b);
/* The class of what `cursor` shows, if it is followed; `row` is the value in a pseudo cursor's register. */
struct infer_record *infer_cursor_record(struct infer_flow *flow, const struct infer_cursor *cursor, infer_value row);

/* Counts `blocks` states looked at; false if that is too much. */
bool infer_flow_has_time(struct infer_flow *flow, size_t blocks);
/* Follows values to a fixpoint; fills op->in and flow->results. */
bool infer_flow_run(struct infer_flow *flow);
/* Follows the uses of parameters back to them. */
bool infer_demand_run(struct infer_flow *flow, enum sq_type *ret_parameters, size_t parameter_count);

#endif
