/* engine/infer_demand.c: follows the uses of values back to the parameters they come from.
 *
 * The mirror of infer_flow.c: a demand says of a register which type its value is wanted as by what comes after; going
 * back through an instruction moves demands from results to operands. A parameter's type is the demand on the register
 * that Variable writes. Records carry demands too: what is put into a table's row is wanted as its columns' types, what
 * is read from a sorter is wanted as whatever the register it is read into is wanted as.
 *
 *     NONE (no use says anything) < one type, weakly < WEAK CONFLICT < one type, strongly < CONFLICT
 *
 * Operators and functions make weak demands: `name = $1 OR note LIKE '%' || $1 || '%'` wants $1 as what `name` is, and so
 * does storing $1 in a column from which a generated column is computed. Stores, comparisons, seeks, casts and LIMIT make
 * strong ones. Only columns and what is computed from them make demands, constants do not: `x = 1` says little about x. */
#include <string.h>

#include "engine/infer_internal.h"

enum {
    DEMAND_NONE = 0,
    DEMAND_TYPE_MASK = 0xff, /* 1 + enum sq_type, or: */
    DEMAND_CONFLICT = 0xff,
    DEMAND_STRONG = 0x100,
};

struct demands {
    struct infer_flow *flow;
    uint16_t *current;    /* by register */
    uint16_t *parameters; /* by SQLite's index - 1 */
    size_t parameter_count;
    bool has_changed;
};

static uint16_t demand_of_type(enum sq_type type)
{
    return type == SQ_TYPE_ANY ? DEMAND_NONE : (uint16_t)(DEMAND_STRONG | (1 + (int)type));
}

static uint16_t weak(uint16_t demand)
{
    return demand & DEMAND_TYPE_MASK;
}

static uint16_t demand_of_value(infer_value value)
{
    return (value & INFER_VALUE_CONST) != 0 ? DEMAND_NONE : demand_of_type(infer_value_type(value));
}

static uint16_t demand_join(uint16_t a, uint16_t b)
{
    uint16_t strength = (a | b) & DEMAND_STRONG;
    if ((a & DEMAND_STRONG) != (b & DEMAND_STRONG))
        return (a & DEMAND_STRONG) != 0 ? a : b;
    if (a == b || b == DEMAND_NONE)
        return a;
    return a == DEMAND_NONE ? b : DEMAND_CONFLICT | strength;
}

static bool is_register(const struct demands *demands, int64_t r)
{
    return r >= 0 && (size_t)r < demands->flow->program->register_count;
}

static void add(struct demands *demands, int64_t r, uint16_t demand)
{
    if (is_register(demands, r))
        demands->current[r] = demand_join(demands->current[r], demand);
}

static void add_type(struct demands *demands, int64_t r, enum sq_type type)
{
    add(demands, r, demand_of_type(type));
}

/* The register is written here: takes what was wanted of the new value. */
static uint16_t take(struct demands *demands, int64_t r)
{
    if (!is_register(demands, r))
        return DEMAND_NONE;
    uint16_t demand = demands->current[r];
    demands->current[r] = DEMAND_NONE;
    return demand;
}

static void want_cell(struct demands *demands, struct infer_record *record, int64_t index, uint16_t demand)
{
    if (record == NULL || index < 0 || index >= record->width)
        return;
    uint16_t joined = demand_join(record->demands[index], demand);
    demands->has_changed = demands->has_changed || joined != record->demands[index];
    record->demands[index] = joined;
}

static void back_copy(struct demands *demands, const struct infer_op *op)
{
    int count = op->kind->effect == INFER_MOVE ? op->p3 : op->kind->effect == INFER_COPY ? op->p3 + 1 : 1;
    for (int i = 0; i < count; i++) {
        uint16_t demand = take(demands, (int64_t)op->p2 + i);
        if (op->kind->effect == INFER_MOVE)
            (void)take(demands, (int64_t)op->p1 + i);
        add(demands, (int64_t)op->p1 + i, demand);
    }
}

/* What one side of an arithmetic operator is wanted as, given the other side and what the result is wanted as. */
static uint16_t arithmetic_demand(infer_value other, uint16_t of_result)
{
    uint16_t integer = weak(demand_of_type(SQ_TYPE_INTEGER));
    uint16_t real = weak(demand_of_type(SQ_TYPE_REAL));
    bool is_constant = (other & INFER_VALUE_CONST) != 0;
    switch (infer_value_type(other)) {
    case SQ_TYPE_REAL:
        return !is_constant || weak(of_result) == real ? real : DEMAND_NONE;
    case SQ_TYPE_INTEGER:
        return weak(of_result) == integer || (!is_constant && of_result == DEMAND_NONE) ? integer : DEMAND_NONE;
    default:
        return DEMAND_NONE;
    }
}

static void back_operator(struct demands *demands, const struct infer_op *op)
{
    uint16_t demand = take(demands, op->p3);
    if (op->kind->effect == INFER_ARITHMETIC) {
        add(demands, op->p1, arithmetic_demand(op->in[1], demand));
        add(demands, op->p2, arithmetic_demand(op->in[0], demand));
        return;
    }
    enum sq_type type = op->kind->effect == INFER_CONCAT ? SQ_TYPE_TEXT : SQ_TYPE_INTEGER;
    add(demands, op->p1, weak(demand_of_type(type)));
    add(demands, op->p2, weak(demand_of_type(type)));
}

static void back_key_seek(struct demands *demands, const struct infer_op *op)
{
    const struct infer_cursor *cursor = &demands->flow->cursors[op->cursor];
    if (cursor->kind == INFER_CURSOR_TABLE && cursor->object->is_rowid_table) {
        add_type(demands, op->p3, SQ_TYPE_INTEGER);
    } else if (cursor->kind == INFER_CURSOR_TABLE) {
        for (int i = 0; i < op->p4_number && (uint32_t)i < cursor->object->column_count; i++)
            add_type(demands, (int64_t)op->p3 + i, (enum sq_type)cursor->object->types[i]);
    } else if (cursor->kind == INFER_CURSOR_EPHEMERAL && op->p4_number > 0) {
        /* x IN (…): what is looked for and what it is looked for in are of one type. */
        struct infer_record *record = infer_record_of(demands->flow, cursor->record);
        add(demands, op->p3, demand_of_value(infer_record_get(record, 0)));
        want_cell(demands, record, 0, demand_of_value(op->in[0]));
    }
}

static void back_function(struct demands *demands, const struct infer_op *op)
{
    (void)take(demands, op->p3);
    const char *open = op->p4 != NULL ? strrchr(op->p4, '(') : NULL;
    struct infer_function function;
    if (open == NULL || !infer_function_find(demands->flow->cache, op->p4, (size_t)(open - op->p4), false, &function))
        return;
    enum sq_type type = (enum sq_type)function.wants;
    if (type == SQ_TYPE_ANY)
        return;
    for (int i = 0; i < op->p4_number; i++)
        add(demands, (int64_t)op->p2 + i, weak(demand_of_type(type)));
}

static void back_cursor(struct demands *demands, const struct infer_op *op)
{
    struct infer_flow *flow = demands->flow;
    const struct infer_cursor *cursor = &flow->cursors[op->cursor];
    switch (op->kind->effect) {
    case INFER_COLUMN: {
        uint16_t demand = take(demands, op->p3);
        want_cell(demands, infer_cursor_record(flow, cursor, op->in[0]), op->p2, demand);
        break;
    }
    case INFER_MAKE_RECORD: {
        const struct infer_record *record = infer_record_of(flow, op->record);
        (void)take(demands, op->p3);
        for (int i = 0; i < op->p2 && (uint32_t)i < record->width; i++)
            add(demands, (int64_t)op->p1 + i, record->demands[i]);
        break;
    }
    case INFER_INSERT:
        if (cursor->kind == INFER_CURSOR_TABLE)
            add_type(demands, op->p3, SQ_TYPE_INTEGER);
        break;
    case INFER_ROWID_SEEK:
        add_type(demands, op->p3, SQ_TYPE_INTEGER);
        break;
    default: /* INFER_KEY_SEEK */
        back_key_seek(demands, op);
        break;
    }
}

/* A parameter's value comes into its register here. */
static void back_variable(struct demands *demands, const struct infer_op *op)
{
    uint16_t demand = take(demands, op->p2);
    if (op->p1 < 1 || (size_t)op->p1 > demands->parameter_count)
        return;
    uint16_t *parameter = &demands->parameters[op->p1 - 1];
    *parameter = demand_join(*parameter, demand);
}

/* Instructions that only write something, so that nothing is wanted of the old value. */
static void back_write(struct demands *demands, const struct infer_op *op)
{
    switch (op->kind->effect) {
    case INFER_NULLS:
        for (int r = op->p2; r == op->p2 || r <= op->p3; r++)
            (void)take(demands, r);
        break;
    case INFER_SOFT_NULL:
        (void)take(demands, op->p1);
        break;
    case INFER_INT2:
    case INFER_ANY2:
    case INFER_CONST_INTEGER:
    case INFER_CONST_INT64:
    case INFER_CONST_REAL:
    case INFER_CONST_TEXT:
    case INFER_CONST_BLOB:
    case INFER_ROW_DATA:
    case INFER_NEW_ROWID:
    case INFER_VALUE_LIST:
        (void)take(demands, op->p2);
        break;
    case INFER_INT3:
    case INFER_ANY3:
    case INFER_AGG_VALUE:
        (void)take(demands, op->p3);
        break;
    default:
        break;
    }
}

static void back(struct demands *demands, const struct infer_op *op)
{
    switch (op->kind->effect) {
    case INFER_VARIABLE:
        back_variable(demands, op);
        break;
    case INFER_MOVE:
    case INFER_COPY:
    case INFER_SCOPY:
        back_copy(demands, op);
        break;
    case INFER_CONCAT:
    case INFER_ARITHMETIC:
    case INFER_BITWISE:
        back_operator(demands, op);
        break;
    case INFER_MUST_BE_INT:
        add_type(demands, op->p1, SQ_TYPE_INTEGER);
        break;
    case INFER_OFFSET_LIMIT:
        (void)take(demands, op->p2);
        add_type(demands, op->p1, SQ_TYPE_INTEGER);
        add_type(demands, op->p3, SQ_TYPE_INTEGER);
        break;
    case INFER_CAST:
        (void)take(demands, op->p1);
        add_type(demands, op->p1, infer_value_type(infer_value_cast(op->p2)));
        break;
    case INFER_COMPARE:
        add(demands, op->p1, demand_of_value(op->in[1]));
        add(demands, op->p3, demand_of_value(op->in[0]));
        break;
    case INFER_COLUMN:
    case INFER_MAKE_RECORD:
    case INFER_INSERT:
    case INFER_ROWID_SEEK:
    case INFER_KEY_SEEK:
        back_cursor(demands, op);
        break;
    case INFER_FUNCTION:
        back_function(demands, op);
        break;
    default:
        back_write(demands, op);
        break;
    }
}

/* flow->states now has the demands at the beginning of each block. */
static void back_block(struct demands *demands, const struct infer_block *block)
{
    struct infer_flow *flow = demands->flow;
    size_t register_count = flow->program->register_count;
    memset(demands->current, 0, register_count * sizeof(*demands->current));
    for (uint32_t e = block->edge_begin; e < block->edge_end; e++) {
        const uint16_t *next = &flow->states[flow->edges[e] * flow->state_width];
        for (size_t r = 0; r < register_count; r++) {
            if (next[r] != demands->current[r])
                demands->current[r] = demand_join(demands->current[r], next[r]);
        }
    }
    for (uint32_t i = block->end; i > block->begin; i--)
        back(demands, &flow->program->ops[i - 1]);
    uint16_t *state = &flow->states[(size_t)(block - flow->blocks) * flow->state_width];
    if (memcmp(state, demands->current, register_count * sizeof(*state)) != 0) {
        memcpy(state, demands->current, register_count * sizeof(*state));
        demands->has_changed = true;
    }
}

/* What is stored in a table is wanted as its columns' types. */
static void want_stored(struct infer_flow *flow)
{
    for (size_t i = 0; i < flow->record_count; i++) {
        struct infer_record *record = &flow->records[i];
        if (record->stored_in == NULL || record->parent != i)
            continue;
        for (uint32_t c = 0; c < record->width && c < record->stored_in->column_count; c++)
            record->demands[c] = demand_of_type((enum sq_type)record->stored_in->types[c]);
    }
}

bool infer_demand_run(struct infer_flow *flow, enum sq_type *ret_parameters, size_t parameter_count)
{
    struct demands demands = {
        .flow = flow,
        .current = flow->current,
        .parameters = sq_arena_calloc(flow->arena, parameter_count + 1, sizeof(uint16_t)),
        .parameter_count = parameter_count,
        .has_changed = true,
    };
    flow->is_out_of_memory = demands.parameters == NULL;
    if (flow->is_out_of_memory)
        return false;
    memset(flow->states, 0, flow->block_count * flow->state_width * sizeof(*flow->states));
    want_stored(flow);
    while (demands.has_changed) {
        if (!infer_flow_has_time(flow, flow->block_count + flow->edge_count))
            return false;
        demands.has_changed = false;
        for (size_t i = flow->block_count; i > 0; i--)
            back_block(&demands, &flow->blocks[i - 1]);
    }
    for (size_t i = 0; i < parameter_count; i++) {
        uint16_t demand = weak(demands.parameters[i]);
        ret_parameters[i] =
            demand == DEMAND_NONE || demand == DEMAND_CONFLICT ? SQ_TYPE_ANY : (enum sq_type)(demand - 1);
    }
    return true;
}
