/* engine/infer_flow.c: follows values through a program, forward.
 *
 * Abstract interpretation over basic blocks: the state at the beginning of a block says of each register what it may
 * hold (infer_value.c) and of each cursor what it is open on; going through the block's instructions gives the state at its end, which is joined into the
 * beginnings of all blocks that may follow; repeated until nothing changes. Inside a block a register that is written
 * anew forgets its old value, so that SQLite's reuse of temporary registers costs no precision.
 *
 * Blocks that no known way leads to are gone through as well, with nothing known at their beginning: dead code (clients
 * ask for types with WHERE 1 = 0), and a defence against ways that infer overlooks.
 *
 * Two rounds for statements that store and return rows (RETURNING): after the first it is known which records are
 * stored in which table; in the second, a value that is stored in a column and of which nothing else is known (a
 * parameter) has the column's type from there on.
 *
 * Each instruction's operands are noted in op->in, for infer_demand.c:
 *
 *     Eq…            r[P1], r[P3]          Add…, Concat, BitAnd…      r[P1], r[P2]
 *     Insert…        r[P2]                 Column of a pseudo cursor  its row
 *     SeekGE, Found… r[P3]
 *
 * and in op->cursor what P1 is open on, if it is a cursor. */
#include <string.h>

#include "engine/infer_internal.h"

enum { CELLS_AT_ONCE = 8 };

static infer_value any(void)
{
    return infer_value_of_type(SQ_TYPE_ANY);
}

/* What may be a record that is not followed. */
static infer_value untracked(void)
{
    return (infer_value)(any() | INFER_VALUE_UNTRACKED);
}

static infer_value get(struct infer_flow *flow, int64_t r)
{
    if (r >= 0 && (size_t)r < flow->program->register_count)
        return flow->current[r];
    flow->is_broken = true;
    return any();
}

static void set(struct infer_flow *flow, int64_t r, infer_value value)
{
    if (r >= 0 && (size_t)r < flow->program->register_count)
        flow->current[r] = value;
    else
        flow->is_broken = true;
}

static void set_type(struct infer_flow *flow, int64_t r, enum sq_type type)
{
    set(flow, r, infer_value_of_type(type));
}

static void join(struct infer_flow *flow, int64_t r, infer_value value)
{
    set(flow, r, infer_flow_join(flow, get(flow, r), value));
}

/* What cursor `number` points to here: an index of flow->cursors. */
static uint32_t cursor_at(const struct infer_flow *flow, int number)
{
    if (number < 0 || (size_t)number >= flow->program->cursor_count)
        return INFER_CURSOR_IS_UNKNOWN;
    if (flow->only[number] != INFER_CURSOR_IS_UNKNOWN)
        return flow->only[number];
    return flow->current[flow->program->register_count + (size_t)number];
}

/* The same for P1 of `op`; notes it. */
static const struct infer_cursor *use_cursor(struct infer_flow *flow, struct infer_op *op)
{
    op->cursor = cursor_at(flow, op->p1);
    return &flow->cursors[op->cursor];
}

static infer_value without_flags(infer_value value)
{
    if (infer_value_is_record(value))
        return any();
    return (infer_value)(value & INFER_VALUE_TYPE_MASK);
}

/* r[P1], r[P2] or r[P3] becomes an integer; it may not if the instruction jumps instead. */
static void step_integer(struct infer_flow *flow, const struct infer_op *op, int r)
{
    if (op->kind->flow == INFER_MAYBE_P2)
        join(flow, r, infer_value_of_type(SQ_TYPE_INTEGER));
    else
        set_type(flow, r, SQ_TYPE_INTEGER);
}

static void step_constant(struct infer_flow *flow, const struct infer_op *op)
{
    static const uint8_t types[] = {
        [INFER_CONST_INTEGER] = SQ_TYPE_INTEGER, [INFER_CONST_INT64] = SQ_TYPE_INTEGER,
        [INFER_CONST_REAL] = SQ_TYPE_REAL,       [INFER_CONST_TEXT] = SQ_TYPE_TEXT,
        [INFER_CONST_BLOB] = SQ_TYPE_BLOB,
    };
    infer_value value = (infer_value)(infer_value_of_type(types[op->kind->effect]) | INFER_VALUE_CONST);
    if (op->kind->effect == INFER_CONST_INTEGER && (op->p1 == 0 || op->p1 == 1))
        value |= INFER_VALUE_BIT;
    /* The text of a LIKE range, which on some turns is a blob. */
    if (op->kind->effect == INFER_CONST_TEXT && op->p3 != 0)
        value = any();
    set(flow, op->p2, value);
}

static void step_copy(struct infer_flow *flow, const struct infer_op *op)
{
    int count = op->kind->effect == INFER_MOVE ? op->p3 : op->kind->effect == INFER_COPY ? op->p3 + 1 : 1;
    for (int i = 0; i < count; i++) {
        set(flow, (int64_t)op->p2 + i, get(flow, (int64_t)op->p1 + i));
        if (op->kind->effect == INFER_MOVE)
            set(flow, (int64_t)op->p1 + i, INFER_VALUE_NONE);
    }
}

static void step_operator(struct infer_flow *flow, struct infer_op *op)
{
    op->in[0] = get(flow, op->p1);
    op->in[1] = get(flow, op->p2);
    if (op->kind->effect == INFER_ARITHMETIC)
        set(flow, op->p3, infer_value_arithmetic(op->in[0], op->in[1]));
    else
        set_type(flow, op->p3, op->kind->effect == INFER_CONCAT ? SQ_TYPE_TEXT : SQ_TYPE_INTEGER);
}

static void step_conversion(struct infer_flow *flow, const struct infer_op *op)
{
    switch (op->kind->effect) {
    case INFER_MUST_BE_INT:
        /* With a P2 it jumps there if the value is no integer, with the value as it was. */
        if (op->p2 != 0)
            join(flow, op->p1, infer_value_of_type(SQ_TYPE_INTEGER));
        else
            set_type(flow, op->p1, SQ_TYPE_INTEGER);
        break;
    case INFER_REAL_AFFINITY:
        set(flow, op->p1, infer_value_make_real(get(flow, op->p1)));
        break;
    case INFER_CAST:
        set(flow, op->p1, infer_value_cast(op->p2));
        break;
    case INFER_AFFINITY:
    case INFER_MAKE_RECORD: /* converts its operands in place */
        for (int i = 0; op->p4 != NULL && i < op->p2 && op->p4[i] != '\0'; i++)
            set(flow, (int64_t)op->p1 + i, infer_value_apply_affinity(get(flow, (int64_t)op->p1 + i), op->p4[i]));
        break;
    default: /* INFER_TYPE_CHECK: to the types of a STRICT table, or an error */
        for (int i = 0; i < op->p2; i++) {
            if (get(flow, (int64_t)op->p1 + i) != INFER_VALUE_NONE)
                set(flow, (int64_t)op->p1 + i, any());
        }
        break;
    }
}

static void step_column(struct infer_flow *flow, struct infer_op *op)
{
    infer_value value = untracked();
    const struct infer_cursor *cursor = use_cursor(flow, op);
    if (cursor->kind == INFER_CURSOR_PSEUDO)
        op->in[0] = get(flow, cursor->source);
    const struct infer_record *record = infer_cursor_record(flow, cursor, op->in[0]);
    if (record != NULL)
        value = infer_record_get(record, op->p2);
    else if (cursor->kind == INFER_CURSOR_TABLE && op->p2 >= 0 && (uint32_t)op->p2 < cursor->object->column_count)
        value = infer_value_of_type((enum sq_type)cursor->object->types[op->p2]);
    else if (op->cursor == INFER_CURSOR_IS_CLOSED ||
             (cursor->kind == INFER_CURSOR_PSEUDO && op->in[0] == INFER_VALUE_NONE))
        value = INFER_VALUE_NONE; /* not come to yet, or NullRow without a table */
    set(flow, op->p3, value);
}

/* Whether register `r` is not written from `op` up to `end`, which are copies of one block. */
static bool is_unwritten(const struct infer_op *op, const struct infer_op *end, int r)
{
    while (op < end && op->p2 != r)
        op++;
    return op == end;
}

/* Second round: what goes into a record that is stored in a table, and of which nothing is known, has its column's
 * type. So has the register that the instructions just before have copied it from (records of WITHOUT ROWID tables are
 * made from copies). */
static void refine_stored(struct infer_flow *flow, const struct infer_op *op)
{
    const struct infer_object *object = infer_record_of(flow, op->record)->stored_in;
    for (int i = 0; object != NULL && i < op->p2 && (uint32_t)i < object->column_count; i++) {
        int64_t r = (int64_t)op->p1 + i;
        if (infer_value_type(get(flow, r)) == SQ_TYPE_ANY) /* NONE too: NULL has every type */
            set_type(flow, r, (enum sq_type)object->types[i]);
    }
    const struct infer_op *copy = op - 1;
    for (; object != NULL && copy->block == op->block && copy->kind->effect == INFER_SCOPY; copy--) {
        int64_t index = (int64_t)copy->p2 - op->p1;
        if (index >= 0 && index < op->p2 && index < object->column_count &&
            infer_value_type(get(flow, copy->p1)) == SQ_TYPE_ANY && is_unwritten(copy + 1, op, copy->p1))
            set_type(flow, copy->p1, (enum sq_type)object->types[index]);
    }
}

static void step_make_record(struct infer_flow *flow, const struct infer_op *op)
{
    step_conversion(flow, op);
    if (flow->is_refining)
        refine_stored(flow, op);
    for (int i = 0; i < op->p2; i++)
        infer_record_put(flow, infer_record_of(flow, op->record), (uint32_t)i, get(flow, (int64_t)op->p1 + i));
    set(flow, op->p3, (infer_value)(INFER_VALUE_RECORD | op->record));
}

/* Something unknown is put into an ephemeral table. */
static void record_make_any(struct infer_flow *flow, const struct infer_cursor *cursor)
{
    struct infer_record *record = cursor->kind == INFER_CURSOR_EPHEMERAL ? infer_record_of(flow, cursor->record) : NULL;
    if (record == NULL || record->is_any)
        return;
    record->is_any = true;
    flow->has_changed_cells = true;
}

static void step_insert(struct infer_flow *flow, struct infer_op *op)
{
    const struct infer_cursor *cursor = use_cursor(flow, op);
    op->in[0] = get(flow, op->p2);
    if (cursor->kind == INFER_CURSOR_EPHEMERAL && infer_value_is_record(op->in[0]))
        infer_record_unite(flow, cursor->record, infer_value_class(op->in[0]));
    else if (op->in[0] != INFER_VALUE_NONE)
        record_make_any(flow, cursor);
}

static void step_row_data(struct infer_flow *flow, struct infer_op *op)
{
    const struct infer_cursor *cursor = use_cursor(flow, op);
    infer_value value = op->cursor == INFER_CURSOR_IS_CLOSED ? INFER_VALUE_NONE : untracked();
    if (cursor->kind == INFER_CURSOR_EPHEMERAL)
        value = (infer_value)(INFER_VALUE_RECORD | cursor->record);
    set(flow, op->p2, value);
}

static void step_open(struct infer_flow *flow, struct infer_op *op)
{
    if (op->kind->effect == INFER_OPEN_DUP) {
        uint32_t original = cursor_at(flow, op->p2);
        bool is_followed = original == INFER_CURSOR_IS_CLOSED || flow->cursors[original].kind == INFER_CURSOR_EPHEMERAL;
        op->cursor = is_followed ? original : INFER_CURSOR_IS_UNKNOWN;
    }
    flow->current[flow->program->register_count + (size_t)op->p1] = (infer_value)op->cursor;
    /* OpenEphemeral's P3 is a register that becomes an empty record. */
    if (op->kind->effect == INFER_OPEN_EPHEMERAL && op->p3 > 0 && (op->kind->operands & INFER_R3) != 0)
        set(flow, op->p3, untracked());
}

/* The function named in P4, "substr(3)". */
static bool function_of(const struct infer_flow *flow, const struct infer_op *op, bool is_aggregate,
                        struct infer_function *ret_function)
{
    const char *open = op->p4 != NULL ? strrchr(op->p4, '(') : NULL;
    return open != NULL &&
           infer_function_find(flow->cache, op->p4, (size_t)(open - op->p4), is_aggregate, ret_function);
}

/* The last register that an instruction writes; -1 if that is not plain. */
static int64_t last_written(const struct infer_op *op)
{
    switch (op->kind->effect) {
    case INFER_CONST_INTEGER:
    case INFER_CONST_INT64:
    case INFER_CONST_REAL:
    case INFER_CONST_TEXT:
    case INFER_CONST_BLOB:
    case INFER_VARIABLE:
    case INFER_INT2:
    case INFER_SCOPY:
        return op->p2;
    case INFER_COPY:
        return (int64_t)op->p2 + op->p3;
    case INFER_NULLS:
        return op->p3 > op->p2 ? op->p3 : op->p2;
    case INFER_ARITHMETIC:
    case INFER_BITWISE:
    case INFER_CONCAT:
    case INFER_INT3:
    case INFER_COLUMN:
    case INFER_FUNCTION:
        return op->p3;
    case INFER_CAST:
    case INFER_REAL_AFFINITY:
    case INFER_INT1:
        return op->p1;
    default:
        return -1;
    }
}

/* How many arguments a call has at most. Where any number may be given the listing does not tell: then it is found from
 * how calls are compiled. Arguments are computed in order just before the call, so that the instruction before it writes
 * the last one, except constants, which may have been computed in advance; P1 has a bit for each of these. */
static size_t argument_count(const struct infer_flow *flow, const struct infer_op *op)
{
    enum { P1_BITS = 32 };
    size_t all = flow->program->register_count - (size_t)op->p2;
    if (op->p4_number >= 0)
        return (size_t)op->p4_number;
    const struct infer_op *before = op - 1;
    while (before > flow->program->ops && before->kind->effect == INFER_COLL_SEQ)
        before--;
    uint32_t constants = (uint32_t)op->p1;
    int64_t written_count = before >= flow->program->ops ? last_written(before) - op->p2 + 1 : 0;
    int64_t constant_count = constants != 0 ? P1_BITS - __builtin_clz(constants) : 0;
    bool is_all_constant = constants != 0 && (constants & (constants + 1)) == 0;
    if (written_count <= 0 && !is_all_constant)
        return all;
    int64_t count = written_count > constant_count ? written_count : constant_count;
    return count >= 2 && count < P1_BITS && (size_t)count < all ? (size_t)count : all;
}

static void step_function(struct infer_flow *flow, const struct infer_op *op)
{
    struct infer_function function;
    infer_value value = any();
    if (op->p2 < 0 || (size_t)op->p2 >= flow->program->register_count)
        flow->is_broken = true;
    else if (function_of(flow, op, false, &function))
        value = infer_value_call(&function, &flow->current[op->p2], argument_count(flow, op));
    set(flow, op->p3, without_flags(value));
}

static void step_aggregate(struct infer_flow *flow, const struct infer_op *op)
{
    struct infer_function function;
    bool is_known = function_of(flow, op, true, &function);
    bool is_fixed = is_known && function.rule == INFER_RULE_FIXED;
    infer_value result = is_fixed ? infer_value_of_type((enum sq_type)function.type) : any();
    switch (op->kind->effect) {
    case INFER_AGG_STEP:
        if (is_known && op->p5 > 0 && op->p2 >= 0 && (size_t)op->p2 + (size_t)op->p5 <= flow->program->register_count)
            result = infer_value_call(&function, &flow->current[op->p2], (size_t)op->p5);
        join(flow, op->p3, without_flags(result));
        break;
    case INFER_AGG_FINAL:
        set(flow, op->p1, is_known && !is_fixed ? without_flags(get(flow, op->p1)) : result);
        break;
    default: /* INFER_AGG_VALUE */
        set(flow, op->p3, is_known && !is_fixed ? without_flags(get(flow, op->p1)) : result);
        break;
    }
}

static void step_result(struct infer_flow *flow, const struct infer_op *op)
{
    if ((size_t)op->p2 != flow->result_count) {
        flow->is_broken = true; /* not the statement that the caller has */
        return;
    }
    for (int i = 0; i < op->p2; i++) {
        infer_value value = without_flags(get(flow, (int64_t)op->p1 + i));
        flow->results[i] = infer_value_join(flow->results[i], value);
    }
}

/* Instructions that write a fixed kind of value, or move values as they are. */
static void step_plain(struct infer_flow *flow, const struct infer_op *op)
{
    switch (op->kind->effect) {
    case INFER_NULLS:
        for (int r = op->p2; r == op->p2 || r <= op->p3; r++)
            set(flow, r, INFER_VALUE_NONE);
        break;
    case INFER_SOFT_NULL:
        set(flow, op->p1, INFER_VALUE_NONE);
        break;
    case INFER_INT1:
        step_integer(flow, op, op->p1);
        break;
    case INFER_INT2:
    case INFER_OFFSET_LIMIT:
        step_integer(flow, op, op->p2);
        break;
    case INFER_INT3:
        step_integer(flow, op, op->p3);
        break;
    case INFER_ANY1:
        set(flow, op->p1, any());
        break;
    case INFER_ANY2:
    case INFER_VARIABLE:
        set(flow, op->p2, any());
        break;
    case INFER_ANY3:
        set(flow, op->p3, any());
        break;
    case INFER_NEW_ROWID:
        set_type(flow, op->p2, SQ_TYPE_INTEGER);
        if (op->p3 > 0)
            set_type(flow, op->p3, SQ_TYPE_INTEGER);
        break;
    case INFER_COLL_SEQ:
        if (op->p1 > 0)
            set_type(flow, op->p1, SQ_TYPE_INTEGER);
        break;
    case INFER_CLEAR:
        if (op->p3 > 0)
            join(flow, op->p3, infer_value_of_type(SQ_TYPE_INTEGER));
        break;
    case INFER_VALUE_LIST:
        set(flow, op->p2, any());
        set(flow, op->p3, any());
        set(flow, (int64_t)op->p3 + 1, any());
        break;
    default:
        break;
    }
}

/* Of instructions that change nothing but say something about what they compare. */
static void note_operands(struct infer_flow *flow, struct infer_op *op)
{
    if (op->kind->effect == INFER_COMPARE) {
        op->in[0] = get(flow, op->p1);
        op->in[1] = get(flow, op->p3);
    } else {
        (void)use_cursor(flow, op);
        op->in[0] = get(flow, op->p3);
    }
}

static void step(struct infer_flow *flow, struct infer_op *op)
{
    switch (op->kind->effect) {
    case INFER_CONST_INTEGER:
    case INFER_CONST_INT64:
    case INFER_CONST_REAL:
    case INFER_CONST_TEXT:
    case INFER_CONST_BLOB:
        step_constant(flow, op);
        break;
    case INFER_MOVE:
    case INFER_COPY:
    case INFER_SCOPY:
        step_copy(flow, op);
        break;
    case INFER_RESULT:
        step_result(flow, op);
        break;
    case INFER_CONCAT:
    case INFER_ARITHMETIC:
    case INFER_BITWISE:
        step_operator(flow, op);
        break;
    case INFER_MUST_BE_INT:
    case INFER_REAL_AFFINITY:
    case INFER_CAST:
    case INFER_AFFINITY:
    case INFER_TYPE_CHECK:
        step_conversion(flow, op);
        break;
    case INFER_COMPARE:
    case INFER_ROWID_SEEK:
    case INFER_KEY_SEEK:
        note_operands(flow, op);
        break;
    case INFER_OPEN_TABLE:
    case INFER_OPEN_EPHEMERAL:
    case INFER_OPEN_DUP:
    case INFER_OPEN_PSEUDO:
    case INFER_OPEN_VIRTUAL:
        step_open(flow, op);
        break;
    case INFER_COLUMN:
        step_column(flow, op);
        break;
    case INFER_MAKE_RECORD:
        step_make_record(flow, op);
        break;
    case INFER_INSERT:
    case INFER_INDEX_INSERT:
        step_insert(flow, op);
        break;
    case INFER_ROW_CELL:
        record_make_any(flow, use_cursor(flow, op));
        break;
    case INFER_ROW_DATA:
        step_row_data(flow, op);
        break;
    case INFER_FUNCTION:
        step_function(flow, op);
        break;
    case INFER_AGG_STEP:
    case INFER_AGG_FINAL:
    case INFER_AGG_VALUE:
        step_aggregate(flow, op);
        break;
    default:
        step_plain(flow, op);
        break;
    }
}

/* What a cursor points to where two ways meet. */
static infer_value join_cursors(infer_value a, infer_value b)
{
    if (a == b || b == INFER_CURSOR_IS_CLOSED)
        return a;
    return a == INFER_CURSOR_IS_CLOSED ? b : INFER_CURSOR_IS_UNKNOWN;
}

/* Joins the current state into the beginning of `block`. */
static void enter(struct infer_flow *flow, struct infer_block *block)
{
    infer_value *state = &flow->states[(size_t)(block - flow->blocks) * flow->state_width];
    if (!block->is_reached) {
        memcpy(state, flow->current, flow->state_width * sizeof(*state));
        block->is_reached = true;
        block->is_dirty = true;
        return;
    }
    for (size_t i = 0; i < flow->state_width; i++) {
        /* Most are the same: eight at a time. */
        while (i + CELLS_AT_ONCE <= flow->state_width &&
               memcmp(&state[i], &flow->current[i], CELLS_AT_ONCE * sizeof(*state)) == 0)
            i += CELLS_AT_ONCE;
        if (i == flow->state_width || state[i] == flow->current[i])
            continue;
        infer_value joined = i < flow->program->register_count ? infer_flow_join(flow, state[i], flow->current[i])
                                                               : join_cursors(state[i], flow->current[i]);
        if (joined != state[i]) {
            state[i] = joined;
            block->is_dirty = true;
        }
    }
}

static void run_block(struct infer_flow *flow, struct infer_block *block)
{
    memcpy(flow->current, &flow->states[(size_t)(block - flow->blocks) * flow->state_width],
           flow->state_width * sizeof(*flow->current));
    for (uint32_t i = block->begin; i < block->end; i++)
        step(flow, &flow->program->ops[i]);
    for (uint32_t e = block->edge_begin; e < block->edge_end; e++)
        enter(flow, &flow->blocks[flow->edges[e]]);
}

bool infer_flow_has_time(struct infer_flow *flow, size_t blocks)
{
    flow->work += blocks * flow->state_width;
    return flow->work <= INFER_WORK_MAX;
}

/* Goes through blocks until nothing changes. */
static bool settle(struct infer_flow *flow)
{
    bool is_done = false;
    while (!is_done) {
        is_done = true;
        flow->has_changed_cells = false;
        for (size_t i = 0; i < flow->block_count; i++) {
            struct infer_block *block = &flow->blocks[i];
            if (!block->is_dirty)
                continue;
            block->is_dirty = false;
            is_done = false;
            run_block(flow, block);
            if (flow->is_broken || flow->is_out_of_memory ||
                !infer_flow_has_time(flow, 1 + block->edge_end - block->edge_begin))
                return false;
        }
        for (size_t i = 0; flow->has_changed_cells && i < flow->block_count; i++) {
            struct infer_block *block = &flow->blocks[i];
            block->is_dirty = block->is_dirty || (block->is_reached && block->reads_records);
        }
    }
    return true;
}

/* Whether the block does more than to count and to jump. */
static bool is_significant(const struct infer_flow *flow, const struct infer_block *block)
{
    for (uint32_t i = block->begin; i < block->end; i++) {
        uint8_t effect = flow->program->ops[i].kind->effect;
        if (effect >= INFER_RESULT && effect <= INFER_AGG_VALUE)
            return true;
    }
    return false;
}

static bool run_to_fixpoint(struct infer_flow *flow)
{
    for (size_t i = 0; i < flow->block_count; i++) {
        flow->blocks[i].is_reached = i == 0;
        flow->blocks[i].is_dirty = i == 0;
    }
    memset(flow->states, 0, flow->state_width * sizeof(*flow->states));
    memset(flow->results, 0, flow->result_count * sizeof(*flow->results));
    if (!settle(flow))
        return false;
    /* What is still not come to is dead (WHERE 1 = 0), or there is a way that infer does not know. */
    for (size_t i = 0; i < flow->block_count; i++) {
        struct infer_block *block = &flow->blocks[i];
        if (block->is_reached || !is_significant(flow, block))
            continue;
        for (size_t c = 0; c < flow->state_width; c++)
            flow->current[c] = c < flow->program->register_count ? untracked() : (infer_value)INFER_CURSOR_IS_UNKNOWN;
        enter(flow, block);
        if (!settle(flow))
            return false;
    }
    return true;
}

/* Notes which classes of records are stored in which tables. True if there is one. */
static bool note_stores(struct infer_flow *flow)
{
    bool has_one = false;
    for (size_t i = 0; i < flow->program->op_count; i++) {
        const struct infer_op *op = &flow->program->ops[i];
        if (op->kind->effect != INFER_INSERT && op->kind->effect != INFER_INDEX_INSERT)
            continue;
        const struct infer_cursor *cursor = &flow->cursors[op->cursor];
        if (!infer_value_is_record(op->in[0]) || cursor->kind != INFER_CURSOR_TABLE)
            continue;
        struct infer_record *record = infer_record_of(flow, infer_value_class(op->in[0]));
        record->stored_in = !record->is_stored || record->stored_in == cursor->object ? cursor->object : NULL;
        record->is_stored = true;
        has_one = true;
    }
    return has_one;
}

bool infer_flow_run(struct infer_flow *flow)
{
    struct infer_program *program = flow->program;
    flow->state_width = program->register_count + program->cursor_count;
    if (flow->block_count * (flow->state_width + 1) > INFER_CELLS_MAX)
        return false;
    flow->states = sq_arena_alloc(flow->arena, flow->block_count * flow->state_width * sizeof(*flow->states) + 1);
    flow->current = sq_arena_calloc(flow->arena, flow->state_width + 1, sizeof(*flow->current));
    flow->results = sq_arena_calloc(flow->arena, flow->result_count + 1, sizeof(*flow->results));
    flow->is_out_of_memory = flow->states == NULL || flow->current == NULL || flow->results == NULL;
    if (flow->is_out_of_memory || !run_to_fixpoint(flow))
        return false;
    if (!note_stores(flow) || flow->result_count == 0)
        return true;
    flow->is_refining = true;
    infer_records_reset(flow);
    return run_to_fixpoint(flow);
}
