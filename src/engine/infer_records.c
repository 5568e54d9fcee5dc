/* engine/infer_records.c: what is known of rows while they are not in registers.
 *
 * MakeRecord packs registers into a record; sorters and ephemeral tables keep records; OpenPseudo and Column take them
 * apart again (sqlite.org/opcode.html). Records are followed in classes:
 *
 *   - each MakeRecord makes records of its own class, each ephemeral table or sorter holds records of its own class;
 *   - when a record is put into an ephemeral table, its class and the table's become one (union-find); so do the classes
 *     of two records that are put into one cell;
 *   - a class has one abstract value for each column, joined over all its records. A cell may hold a record itself
 *     (the queue of a recursive common table expression).
 *
 * Whatever is put into a table but is not known to be a record makes all its columns unknown.
 *
 * SQLite uses a register now for a record, now for a value, and joins forget which. But where an instruction needs a
 * record, there is one: so a record joined with something that certainly is none (a column, a number) stays that record,
 * marked MIXED, and counts as SQ_TYPE_ANY as a value. */
#include <string.h>

#include "engine/infer_internal.h"

enum { OPFLAG_P2ISREG = 0x10 /* OpenWrite: r[P2] has the root page */ };

struct infer_record *infer_record_of(struct infer_flow *flow, uint32_t number)
{
    sq_assert(number < flow->record_count);
    uint32_t root = number;
    while (flow->records[root].parent != root)
        root = flow->records[root].parent;
    while (flow->records[number].parent != root) {
        uint32_t parent = flow->records[number].parent;
        flow->records[number].parent = root;
        number = parent;
    }
    return &flow->records[root];
}

struct infer_record *infer_cursor_record(struct infer_flow *flow, const struct infer_cursor *cursor, infer_value row)
{
    if (cursor->kind == INFER_CURSOR_EPHEMERAL)
        return infer_record_of(flow, cursor->record);
    if (cursor->kind == INFER_CURSOR_PSEUDO && infer_value_is_record(row))
        return infer_record_of(flow, infer_value_class(row));
    return NULL;
}

/* Makes room for `width` cells. */
static bool record_widen(struct infer_flow *flow, struct infer_record *record, uint32_t width)
{
    if (width <= record->width)
        return true;
    if (flow->record_cell_count + width > INFER_RECORD_CELLS_MAX) {
        flow->is_broken = true;
        return false;
    }
    infer_value *cells = sq_arena_calloc(flow->arena, width, sizeof(*cells));
    uint16_t *demands = sq_arena_calloc(flow->arena, width, sizeof(*demands));
    if (cells == NULL || demands == NULL) {
        flow->is_out_of_memory = true;
        return false;
    }
    if (record->width > 0)
        memcpy(cells, record->cells, record->width * sizeof(*cells));
    flow->record_cell_count += width;
    record->cells = cells;
    record->demands = demands;
    record->width = width;
    return true;
}

void infer_record_put(struct infer_flow *flow, struct infer_record *record, uint32_t index, infer_value value)
{
    if (!record_widen(flow, record, index + 1))
        return;
    infer_value old = record->cells[index];
    if (infer_value_is_record(old) && infer_value_is_record(value))
        infer_record_unite(flow, infer_value_class(old), infer_value_class(value));
    infer_value joined = infer_flow_join(flow, old, value);
    /* Uniting may have made `record` one with another class. */
    record = infer_record_of(flow, (uint32_t)(record - flow->records));
    if (joined != old && index < record->width) {
        record->cells[index] = joined;
        flow->has_changed_cells = true;
    }
}

infer_value infer_record_get(const struct infer_record *record, int64_t index)
{
    if (record->is_any || index < 0)
        return (infer_value)(infer_value_of_type(SQ_TYPE_ANY) | INFER_VALUE_UNTRACKED);
    return index < record->width ? record->cells[index] : INFER_VALUE_NONE;
}

void infer_record_unite(struct infer_flow *flow, uint32_t a, uint32_t b)
{
    struct infer_record *kept = infer_record_of(flow, a);
    struct infer_record *gone = infer_record_of(flow, b);
    if (kept == gone)
        return;
    gone->parent = kept->parent;
    kept->is_any = kept->is_any || gone->is_any;
    flow->has_changed_cells = true;
    for (uint32_t i = 0; i < gone->width && !flow->is_broken && !flow->is_out_of_memory; i++)
        infer_record_put(flow, infer_record_of(flow, b), i, gone->cells[i]);
}

infer_value infer_flow_join(struct infer_flow *flow, infer_value a, infer_value b)
{
    const infer_value untracked = (infer_value)(infer_value_of_type(SQ_TYPE_ANY) | INFER_VALUE_UNTRACKED);
    if (a == b)
        return a;
    if (!infer_value_is_record(a) && !infer_value_is_record(b))
        return infer_value_join(a, b);
    if (infer_value_is_record(a) && infer_value_is_record(b)) {
        /* A register that holds records of two classes has most often been left over from the first. */
        bool is_same = infer_record_of(flow, infer_value_class(a)) == infer_record_of(flow, infer_value_class(b));
        return is_same ? (infer_value)(a | (b & INFER_VALUE_MIXED)) : untracked;
    }
    infer_value record = infer_value_is_record(a) ? a : b;
    infer_value other = infer_value_is_record(a) ? b : a;
    if (other == INFER_VALUE_NONE)
        return record;
    if ((other & INFER_VALUE_UNTRACKED) != 0 || infer_value_type(other) == SQ_TYPE_BLOB)
        return untracked;
    return (infer_value)(record | INFER_VALUE_MIXED);
}

static bool record_new(struct infer_flow *flow, uint32_t *ret_number)
{
    if (flow->record_count >= INFER_RECORDS_MAX) {
        flow->is_broken = true;
        return false;
    }
    *ret_number = (uint32_t)flow->record_count++;
    flow->records[*ret_number] = (struct infer_record){.parent = *ret_number};
    return true;
}

/* Notes what `op` opens. A cursor that is opened twice on the same thing points to one thing; all ephemeral tables of
 * one cursor count as one. */
static void note_cursor(struct infer_flow *flow, struct infer_op *op, struct infer_cursor cursor)
{
    cursor.number = op->p1;
    for (uint32_t i = INFER_CURSOR_FIRST; i < flow->cursor_count; i++) {
        const struct infer_cursor *other = &flow->cursors[i];
        if (other->number == cursor.number && other->kind == cursor.kind && other->object == cursor.object &&
            other->source == cursor.source) {
            op->cursor = i;
            return;
        }
    }
    if (cursor.kind == INFER_CURSOR_EPHEMERAL && !record_new(flow, &cursor.record))
        return;
    op->cursor = (uint32_t)flow->cursor_count++;
    flow->cursors[op->cursor] = cursor;
}

/* Whether the types of what `op` opens matter: a statement that writes also opens tables to check foreign keys, and
 * reads no columns there. */
static bool is_worth_finding(const struct infer_program *program, const struct infer_op *op)
{
    if (!program->is_writing)
        return true;
    for (size_t i = 0; i < program->op_count; i++) {
        if (program->ops[i].kind->effect == INFER_COLUMN && program->ops[i].p1 == op->p1)
            return true;
    }
    return false;
}

static bool open_cursor(struct infer_flow *flow, struct infer_op *op, sqlite3 *db, const char *sql)
{
    struct infer_cursor cursor = {.kind = INFER_CURSOR_UNKNOWN};
    op->cursor = INFER_CURSOR_IS_UNKNOWN;
    switch (op->kind->effect) {
    case INFER_OPEN_TABLE:
        if ((op->p5 & OPFLAG_P2ISREG) != 0 || op->p2 <= 0)
            return true;
        if (infer_schema_find(flow->cache, db, sql, op->p3, (uint32_t)op->p2, is_worth_finding(flow->program, op),
                              &cursor.object) != SQ_OK) {
            flow->is_out_of_memory = true;
            return false;
        }
        cursor.kind = INFER_CURSOR_TABLE;
        if (cursor.object != NULL)
            note_cursor(flow, op, cursor);
        break;
    case INFER_OPEN_EPHEMERAL:
        cursor.kind = INFER_CURSOR_EPHEMERAL;
        note_cursor(flow, op, cursor);
        break;
    case INFER_OPEN_PSEUDO:
        cursor.kind = INFER_CURSOR_PSEUDO;
        cursor.source = op->p2;
        note_cursor(flow, op, cursor);
        break;
    default:
        break; /* OpenDup copies another cursor, a virtual table is unknown */
    }
    return !flow->is_broken;
}

/* Most cursors are opened on one thing only; it need not be followed which. */
static void note_only(struct infer_flow *flow)
{
    const struct infer_program *program = flow->program;
    for (int round = 0; round < 2; round++) { /* OpenDup copies what the first round has found */
        for (size_t i = 0; i < program->op_count; i++) {
            const struct infer_op *op = &program->ops[i];
            bool is_dup = op->kind->effect == INFER_OPEN_DUP;
            if ((op->kind->operands & INFER_C1) == 0 || is_dup != (round == 1))
                continue;
            uint32_t cursor = op->cursor;
            if (is_dup && op->p2 >= 0 && (size_t)op->p2 < program->cursor_count)
                cursor = flow->only[op->p2];
            if (is_dup && flow->cursors[cursor].kind != INFER_CURSOR_EPHEMERAL)
                cursor = INFER_CURSOR_IS_UNKNOWN;
            bool is_first = flow->only[op->p1] == INFER_CURSOR_IS_CLOSED;
            flow->only[op->p1] = is_first || flow->only[op->p1] == cursor ? cursor : INFER_CURSOR_IS_UNKNOWN;
        }
    }
}

bool infer_records_make(struct infer_flow *flow, sqlite3 *db, const char *sql)
{
    struct infer_program *program = flow->program;
    size_t record_room = 1;
    size_t cursor_room = INFER_CURSOR_FIRST;
    for (size_t i = 0; i < program->op_count; i++) {
        uint8_t effect = program->ops[i].kind->effect;
        record_room += effect == INFER_MAKE_RECORD || effect == INFER_OPEN_EPHEMERAL;
        cursor_room += (program->ops[i].kind->operands & INFER_C1) != 0;
    }
    if (cursor_room > INFER_CURSORS_MAX) {
        flow->is_broken = true;
        return false;
    }
    flow->records = sq_arena_calloc(flow->arena, record_room, sizeof(*flow->records));
    flow->cursors = sq_arena_calloc(flow->arena, cursor_room, sizeof(*flow->cursors));
    flow->only = sq_arena_calloc(flow->arena, program->cursor_count + 1, sizeof(*flow->only));
    flow->cursor_count = INFER_CURSOR_FIRST;
    flow->is_out_of_memory = flow->records == NULL || flow->cursors == NULL || flow->only == NULL;
    if (flow->is_out_of_memory)
        return false;

    for (size_t i = 0; i < program->op_count; i++) {
        struct infer_op *op = &program->ops[i];
        if (op->kind->effect == INFER_MAKE_RECORD && !record_new(flow, &op->record))
            return false;
        if ((op->kind->operands & INFER_C1) != 0 && !open_cursor(flow, op, db, sql))
            return false;
    }
    note_only(flow);
    return true;
}

void infer_records_reset(struct infer_flow *flow)
{
    for (size_t i = 0; i < flow->record_count; i++) {
        struct infer_record *record = &flow->records[i];
        record->is_any = false;
        if (record->width > 0)
            memset(record->cells, 0, record->width * sizeof(*record->cells));
    }
}
