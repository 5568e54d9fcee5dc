/* base/arena.h: memory that is given back all at once. What a message or a portal needs is taken from an arena, which
 * is reset afterwards; in the steady state a reset arena serves the next message without asking malloc.
 *
 * Threads: one at a time. */
#ifndef SQ_BASE_ARENA_H
#define SQ_BASE_ARENA_H

#include <stddef.h>

#include "base/status.h"

struct sq_arena_block;

struct sq_arena {
    struct sq_arena_block *block; /* newest first; an ordinary one survives a reset */
    size_t used_bytes;            /* of the newest block */
};

void sq_arena_init(struct sq_arena *arena);
/* Frees everything; the arena is then as after sq_arena_init(). */
void sq_arena_done(struct sq_arena *arena);
/* Forgets everything, keeps one ordinary block for reuse. */
void sq_arena_reset(struct sq_arena *arena);
/* Bytes of memory that it takes. */
size_t sq_arena_bytes(const struct sq_arena *arena);

/* `bytes` of uninitialised memory, aligned for any type, valid until reset; NULL if there is none to be had. */
void *sq_arena_alloc(struct sq_arena *arena, size_t bytes) SQ_MUST_USE;
/* The same, zeroed, for `count` things of `bytes` each; NULL also if the product overflows. */
void *sq_arena_calloc(struct sq_arena *arena, size_t count, size_t bytes) SQ_MUST_USE;
/* A copy of `length` bytes and a NUL behind them; NULL if there is no memory. */
char *sq_arena_copy(struct sq_arena *arena, const void *data, size_t length) SQ_MUST_USE;

#endif
