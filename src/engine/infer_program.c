/* engine/infer_program.c: reads a statement's bytecode through EXPLAIN (sqlite.org/eqp.html, sqlite.org/opcode.html).
 *
 *     column  0     1       2   3   4   5   6   7
 *             addr  opcode  p1  p2  p3  p4  p5  comment
 *
 * The programs of triggers follow the main one in the listing, each counting its addresses from 0 again: only the main
 * program is read. Triggers run on registers of their own and give nothing back. */
#include <stdlib.h>
#include <string.h>

#include "engine/infer_internal.h"

enum {
    EXPLAIN_ADDRESS = 0,
    EXPLAIN_OPCODE = 1,
    EXPLAIN_P1 = 2,
    EXPLAIN_P2 = 3,
    EXPLAIN_P3 = 4,
    EXPLAIN_P4 = 5,
    EXPLAIN_P5 = 6,
    EXPLAIN_COLUMN_COUNT = 8,

    OPS_FIRST = 64,
    FUNCTION_ARGS_MAX = 127, /* SQLITE_MAX_FUNCTION_ARG */
};

/* The count in "substr(3)", -1 if any number of arguments is allowed. */
static int function_arg_count(const char *p4)
{
    const char *open = p4 != NULL ? strrchr(p4, '(') : NULL;
    if (open == NULL)
        return -1;
    long count = strtol(open + 1, NULL, 10);
    return count >= 0 && count <= FUNCTION_ARGS_MAX ? (int)count : -1;
}

/* The number behind the last register that the instruction names; 0 if it names none. */
static int64_t register_end(const struct infer_op *op)
{
    int64_t end = 0;
    const int operands = op->kind->operands;
    const struct {
        int flag;
        int64_t last;
    } uses[] = {
        {INFER_R1, op->p1},
        {INFER_R2, op->p2},
        {INFER_R3, (int64_t)op->p3 + (op->kind->effect == INFER_VALUE_LIST)},
        {INFER_SPAN_P1_P2, (int64_t)op->p1 + op->p2 - 1},
        {INFER_SPAN_P2_P3, op->p3 > op->p2 ? op->p3 : op->p2},
        {INFER_SPAN_COPY, (op->p1 > op->p2 ? (int64_t)op->p1 : op->p2) + op->p3},
        {INFER_SPAN_KEY, op->p3 + (op->p4_number > 0 ? (int64_t)op->p4_number - 1 : 0)},
        {INFER_SPAN_AGG, (int64_t)op->p2 + op->p5 - 1},
        {INFER_SPAN_FUNC, op->p2 + (op->p4_number > 0 ? (int64_t)op->p4_number - 1 : 0)},
    };
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        if ((operands & uses[i].flag) != 0 && uses[i].last >= end)
            end = uses[i].last + 1;
    }
    return end;
}

enum reading { READING_GOES_ON, READING_ENDS, READING_FAILS, READING_NOMEM };

static enum reading read_op(sqlite3_stmt *explain, struct sq_arena *arena, struct infer_program *program)
{
    if (sqlite3_column_int64(explain, EXPLAIN_ADDRESS) != (sqlite3_int64)program->op_count)
        return READING_ENDS; /* a trigger's program begins */
    if (program->op_count >= INFER_OPS_MAX)
        return READING_FAILS;
    const char *name = (const char *)sqlite3_column_text(explain, EXPLAIN_OPCODE);
    const struct infer_opcode *kind = name != NULL ? infer_opcode_find(name) : NULL;
    if (kind == NULL)
        return READING_FAILS;

    struct infer_op *op = &program->ops[program->op_count];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    op->p1 = sqlite3_column_int(explain, EXPLAIN_P1);
    op->p2 = sqlite3_column_int(explain, EXPLAIN_P2);
    op->p3 = sqlite3_column_int(explain, EXPLAIN_P3);
    op->p5 = sqlite3_column_int(explain, EXPLAIN_P5);
    if ((kind->operands & (INFER_KEEP_P4 | INFER_P4_NUMBER)) != 0) {
        const char *p4 = (const char *)sqlite3_column_text(explain, EXPLAIN_P4);
        if (p4 != NULL && (kind->operands & INFER_P4_NUMBER) != 0)
            op->p4_number = (int)strtol(p4, NULL, 10);
        else if (p4 != NULL && (op->p4 = sq_arena_copy(arena, p4, strlen(p4))) == NULL)
            return READING_NOMEM;
        if ((kind->operands & INFER_SPAN_FUNC) != 0)
            op->p4_number = function_arg_count(op->p4);
    }
    int64_t end = register_end(op);
    if (end > INFER_REGISTERS_MAX)
        return READING_FAILS;
    if (end > (int64_t)program->register_count)
        program->register_count = (size_t)end;
    if ((kind->operands & INFER_C1) != 0) {
        if (op->p1 < 0 || op->p1 >= INFER_CURSORS_MAX)
            return READING_FAILS;
        if ((size_t)op->p1 >= program->cursor_count)
            program->cursor_count = (size_t)op->p1 + 1;
    }
    if (strcmp(name, "OpenWrite") == 0)
        program->is_writing = true;
    program->op_count++;
    return READING_GOES_ON;
}

static enum reading read_ops(sqlite3_stmt *explain, struct sq_arena *arena, struct infer_program *program)
{
    size_t capacity = 0;
    int result;
    while ((result = sqlite3_step(explain)) == SQLITE_ROW) {
        if (program->op_count == capacity) {
            capacity = capacity > 0 ? capacity * 2 : OPS_FIRST;
            struct infer_op *ops = sq_arena_calloc(arena, capacity, sizeof(*ops));
            if (ops == NULL)
                return READING_NOMEM;
            if (program->op_count > 0)
                memcpy(ops, program->ops, program->op_count * sizeof(*ops));
            program->ops = ops;
        }
        enum reading reading = read_op(explain, arena, program);
        if (reading != READING_GOES_ON)
            return reading;
    }
    if ((result & 0xff) == SQLITE_NOMEM)
        return READING_NOMEM;
    return result == SQLITE_DONE && program->op_count > 0 ? READING_ENDS : READING_FAILS;
}

sq_status infer_program_read(sqlite3 *db, const char *sql, struct sq_arena *arena, struct infer_program *program,
                             bool *ret_is_known)
{
    static const char explain_word[] = "EXPLAIN ";
    memset(program, 0, sizeof(*program));
    size_t length = strlen(sql);
    sq_assert(length <= INFER_SQL_BYTES_MAX);
    char *text = sq_arena_alloc(arena, sizeof(explain_word) + length);
    if (text == NULL)
        return SQ_NOMEM;
    memcpy(text, explain_word, sizeof(explain_word) - 1);
    memcpy(text + sizeof(explain_word) - 1, sql, length + 1);

    sqlite3_stmt *explain = NULL;
    int result = sqlite3_prepare_v3(db, text, (int)(sizeof(explain_word) + length), 0, &explain, NULL);
    enum reading reading = (result & 0xff) == SQLITE_NOMEM ? READING_NOMEM : READING_FAILS;
    if (result == SQLITE_OK && explain != NULL && sqlite3_stmt_isexplain(explain) == 1 &&
        sqlite3_column_count(explain) == EXPLAIN_COLUMN_COUNT)
        reading = read_ops(explain, arena, program);
    sqlite3_finalize(explain);
    if (reading == READING_NOMEM)
        return SQ_NOMEM;
    *ret_is_known = reading == READING_ENDS;
    return SQ_OK;
}
