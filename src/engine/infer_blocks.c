/* engine/infer_blocks.c: cuts a program into basic blocks and finds out which may follow which.
 *
 * Subroutines and coroutines keep their return address in a register (sqlite.org/opcode.html, Gosub, Return, Yield);
 * SQLite uses one register for each, so that the places where control may come back are those of the same register:
 *
 *     Return r         behind every Gosub r; behind the address that an Integer puts into r; with P3 set also on (the
 *                      in-line entry, BeginSubrtn)
 *     Yield r          from outside the coroutine: behind every Yield r inside; to P3 of every InitCoroutine r
 *                      from inside: behind every Yield r outside
 *     EndCoroutine r   to P2 of every Yield r outside
 *
 * The coroutine lies between the InitCoroutine that has a P2 and that P2; if that is not clear, every Yield r is taken
 * for being on both sides.
 *
 * Each of these sets gets an empty block, a hub, between those who leave and those who are come to: the edges then grow
 * with the program, not with its square (VALUES of a thousand rows is a coroutine that yields a thousand times). */
#include <string.h>

#include "engine/infer_internal.h"

enum hub { HUB_RETURN, HUB_INTO, HUB_OUT, HUB_END, HUB_KINDS };

enum { NO_JUMP = UINT32_MAX };

/* Instructions that put their address, or a coroutine's, into a register. */
struct jumps {
    size_t count;
    uint32_t *first; /* by register: an op, or NO_JUMP */
    uint32_t *next;  /* by op: the next one with the same register */
    uint32_t *hubs;  /* by register * HUB_KINDS + kind: a block, 0 if there is none */
    /* By register: the coroutine is [begin, end); end is 0 if there is none, begin is NO_JUMP if there are two. */
    uint32_t *body_begin;
    uint32_t *body_end;
};

/* Which sides of a coroutine the instruction at `address` is on. */
static bool is_inside(const struct jumps *jumps, int r, size_t address)
{
    return jumps->body_begin[r] == NO_JUMP || jumps->body_end[r] == 0 ||
           (address >= jumps->body_begin[r] && address < jumps->body_end[r]);
}

static bool is_outside(const struct jumps *jumps, int r, size_t address)
{
    return jumps->body_begin[r] == NO_JUMP || jumps->body_end[r] == 0 || !is_inside(jumps, r, address);
}

static bool is_target(const struct infer_flow *flow, int64_t address)
{
    return address >= 0 && (size_t)address < flow->program->op_count;
}

/* Sets marks[] at the beginnings of blocks. False if a jump leads out of the program, other than just behind its end,
 * which is an implied Halt. */
static bool mark_leaders(struct infer_flow *flow, const uint8_t *is_return_register, uint8_t *marks)
{
    const struct infer_program *program = flow->program;
    marks[0] = 1;
    for (size_t i = 0; i < program->op_count; i++) {
        const struct infer_op *op = &program->ops[i];
        if (op->kind->effect == INFER_CONST_INTEGER && is_return_register[op->p2] &&
            is_target(flow, (int64_t)op->p1 + 1))
            marks[op->p1 + 1] = 1;
    }
    for (size_t i = 0; i < program->op_count; i++) {
        const struct infer_op *op = &program->ops[i];
        if (op->kind->flow == INFER_NEXT)
            continue;
        if (i + 1 < program->op_count)
            marks[i + 1] = 1;
        bool is_jump = op->kind->flow == INFER_JUMP;
        const int targets[] = {is_jump ? op->p1 : 0, op->p2, is_jump || op->kind->flow == INFER_COROUTINE ? op->p3 : 0};
        bool has_p2 =
            op->kind->flow != INFER_STOP && op->kind->flow != INFER_RETURN && op->kind->flow != INFER_END_COROUTINE;
        for (size_t t = 0; t < 3 && has_p2; t++) {
            if (targets[t] < 0 || (size_t)targets[t] > program->op_count)
                return false;
            if (is_target(flow, targets[t]))
                marks[targets[t]] = 1;
        }
    }
    return true;
}

static void add_edge(struct infer_flow *flow, int64_t address)
{
    if (is_target(flow, address)) /* else the end */
        flow->edges[flow->edge_count++] = flow->program->ops[address].block;
}

/* The block between those who leave through register `r` and where they may go. */
static uint32_t hub_of(struct infer_flow *flow, struct jumps *jumps, int r, enum hub kind)
{
    uint32_t *hub = &jumps->hubs[(size_t)r * HUB_KINDS + kind];
    if (*hub == 0)
        *hub = (uint32_t)flow->block_count++;
    return *hub;
}

static void add_hub_edges(struct infer_flow *flow, const struct jumps *jumps, size_t r, enum hub kind)
{
    for (uint32_t i = jumps->first[r]; i != NO_JUMP; i = jumps->next[i]) {
        const struct infer_op *op = &flow->program->ops[i];
        bool is_yield = op->kind->flow == INFER_YIELD;
        if (kind == HUB_RETURN && op->kind->effect == INFER_CONST_INTEGER)
            add_edge(flow, (int64_t)op->p1 + 1);
        else if ((kind == HUB_RETURN && op->kind->flow == INFER_GOSUB) ||
                 (kind == HUB_INTO && is_yield && is_inside(jumps, op->p1, i)) ||
                 (kind == HUB_OUT && is_yield && is_outside(jumps, op->p1, i)))
            add_edge(flow, (int64_t)i + 1);
        else if (kind == HUB_INTO && op->kind->flow == INFER_COROUTINE)
            add_edge(flow, op->p3);
        else if (kind == HUB_END && is_yield && op->p2 != 0 && is_outside(jumps, op->p1, i))
            add_edge(flow, op->p2);
    }
}

static void add_edges(struct infer_flow *flow, struct jumps *jumps, size_t last)
{
    const struct infer_op *op = &flow->program->ops[last];
    int64_t next = (int64_t)last + 1;
    switch (op->kind->flow) {
    case INFER_NEXT:
        add_edge(flow, next);
        break;
    case INFER_MAYBE_P2:
        add_edge(flow, next);
        if (op->p2 != 0)
            add_edge(flow, op->p2);
        break;
    case INFER_GOTO:
    case INFER_GOSUB:
    case INFER_COROUTINE:
        add_edge(flow, op->p2 != 0 ? op->p2 : next);
        break;
    case INFER_JUMP:
        add_edge(flow, op->p1);
        add_edge(flow, op->p2);
        add_edge(flow, op->p3);
        break;
    case INFER_RETURN:
        if (op->p3 != 0)
            add_edge(flow, next);
        flow->edges[flow->edge_count++] = hub_of(flow, jumps, op->p1, HUB_RETURN);
        break;
    case INFER_YIELD:
        if (is_outside(jumps, op->p1, last))
            flow->edges[flow->edge_count++] = hub_of(flow, jumps, op->p1, HUB_INTO);
        if (is_inside(jumps, op->p1, last))
            flow->edges[flow->edge_count++] = hub_of(flow, jumps, op->p1, HUB_OUT);
        break;
    case INFER_END_COROUTINE:
        flow->edges[flow->edge_count++] = hub_of(flow, jumps, op->p1, HUB_END);
        break;
    default:
        break; /* INFER_STOP */
    }
}

static bool jumps_collect(struct infer_flow *flow, const uint8_t *is_return_register, struct jumps *jumps)
{
    const struct infer_program *program = flow->program;
    size_t register_count = program->register_count;
    jumps->first = sq_arena_alloc(flow->arena, (register_count + 1) * sizeof(*jumps->first));
    jumps->next = sq_arena_alloc(flow->arena, program->op_count * sizeof(*jumps->next));
    jumps->hubs = sq_arena_calloc(flow->arena, (register_count + 1) * HUB_KINDS, sizeof(*jumps->hubs));
    jumps->body_begin = sq_arena_calloc(flow->arena, register_count + 1, sizeof(*jumps->body_begin));
    jumps->body_end = sq_arena_calloc(flow->arena, register_count + 1, sizeof(*jumps->body_end));
    if (jumps->first == NULL || jumps->next == NULL || jumps->hubs == NULL || jumps->body_begin == NULL ||
        jumps->body_end == NULL)
        return false;
    memset(jumps->first, 0xff, (register_count + 1) * sizeof(*jumps->first)); /* NO_JUMP */
    jumps->count = 0;
    for (size_t i = 0; i < program->op_count; i++) {
        const struct infer_op *op = &program->ops[i];
        bool is_jump =
            op->kind->flow == INFER_GOSUB || op->kind->flow == INFER_YIELD || op->kind->flow == INFER_COROUTINE;
        int r = is_jump ? op->p1 : op->p2;
        if (!is_jump && (op->kind->effect != INFER_CONST_INTEGER || !is_return_register[op->p2]))
            continue;
        jumps->count++;
        jumps->next[i] = jumps->first[r];
        jumps->first[r] = (uint32_t)i;
        if (op->kind->flow != INFER_COROUTINE || op->p2 == 0)
            continue;
        jumps->body_begin[op->p1] =
            jumps->body_end[op->p1] == 0 && op->p3 >= 0 && op->p2 > op->p3 ? (uint32_t)op->p3 : NO_JUMP;
        jumps->body_end[op->p1] = (uint32_t)op->p2;
    }
    return true;
}

/* False if something is a register that cannot be one. */
static bool find_return_registers(const struct infer_program *program, uint8_t *is_return_register)
{
    for (size_t i = 0; i < program->op_count; i++) {
        const struct infer_op *op = &program->ops[i];
        bool is_constant = op->kind->effect == INFER_CONST_INTEGER;
        int r = is_constant ? op->p2 : op->p1;
        if ((is_constant || op->kind->flow >= INFER_GOSUB) && (r < 0 || (size_t)r >= program->register_count))
            return false;
        if (op->kind->flow == INFER_RETURN)
            is_return_register[r] = 1;
    }
    return true;
}

bool infer_blocks_make(struct infer_flow *flow)
{
    struct infer_program *program = flow->program;
    size_t op_count = program->op_count;
    uint8_t *marks = sq_arena_calloc(flow->arena, op_count, 1);
    uint8_t *is_return_register = sq_arena_calloc(flow->arena, program->register_count + 1, 1);
    struct jumps jumps;
    flow->is_out_of_memory = marks == NULL || is_return_register == NULL;
    if (flow->is_out_of_memory || !find_return_registers(program, is_return_register))
        return false;
    flow->is_out_of_memory = !jumps_collect(flow, is_return_register, &jumps);
    if (flow->is_out_of_memory || !mark_leaders(flow, is_return_register, marks))
        return false;

    for (size_t i = 0; i < op_count; i++) {
        flow->block_count += marks[i];
        program->ops[i].block = (uint32_t)flow->block_count - 1;
    }
    /* Not more than two hubs and three edges for each block's end, and three edges from hubs for each jump. */
    size_t code_block_count = flow->block_count;
    flow->blocks = sq_arena_calloc(flow->arena, 3 * code_block_count, sizeof(*flow->blocks));
    size_t edge_room = 3 * code_block_count + 3 * jumps.count;
    flow->edges = sq_arena_calloc(flow->arena, edge_room, sizeof(*flow->edges));
    flow->is_out_of_memory = flow->blocks == NULL || flow->edges == NULL;
    if (flow->is_out_of_memory)
        return false;
    for (size_t i = 0; i < op_count; i++) {
        struct infer_block *block = &flow->blocks[program->ops[i].block];
        block->reads_records = block->reads_records || program->ops[i].kind->effect == INFER_COLUMN;
        if (marks[i])
            block->begin = (uint32_t)i;
        block->end = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < code_block_count; i++) {
        flow->blocks[i].edge_begin = (uint32_t)flow->edge_count;
        add_edges(flow, &jumps, flow->blocks[i].end - 1);
        flow->blocks[i].edge_end = (uint32_t)flow->edge_count;
    }
    for (size_t i = 0; i < program->register_count * HUB_KINDS; i++) {
        if (jumps.hubs[i] == 0)
            continue;
        struct infer_block *hub = &flow->blocks[jumps.hubs[i]];
        hub->edge_begin = (uint32_t)flow->edge_count;
        add_hub_edges(flow, &jumps, i / HUB_KINDS, (enum hub)(i % HUB_KINDS));
        hub->edge_end = (uint32_t)flow->edge_count;
    }
    sq_assert(flow->edge_count <= edge_room);
    return true;
}
