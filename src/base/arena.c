/* base/arena.c: a stack of malloc'd blocks.
 *
 * The first block has SQ_ARENA_FIRST_BYTES, because many arenas (one for each prepared statement) need no more; further ones
 * have SQ_ARENA_BLOCK_BYTES; a larger request gets a block of its own. A reset keeps the largest of the ordinary ones, so
 * that an arena which is used in the same way again and again comes to allocate nothing. Invariant: `used_bytes` counts from the start of the newest block's `data`. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { SQ_ARENA_FIRST_BYTES = 512, SQ_ARENA_BLOCK_BYTES = 4096 };

struct sq_arena_block {
    struct sq_arena_block *older;
    size_t bytes; /* of data */
    alignas(max_align_t) unsigned char data[];
};

void sq_arena_init(struct sq_arena *arena)
{
    arena->block = NULL;
    arena->used_bytes = 0;
}

void sq_arena_done(struct sq_arena *arena)
{
    struct sq_arena_block *block = arena->block;
    while (block != NULL) {
        struct sq_arena_block *older = block->older;
        sq_memory_free(block);
        block = older;
    }
    sq_arena_init(arena);
}

void sq_arena_reset(struct sq_arena *arena)
{
    struct sq_arena_block *kept = NULL;
    struct sq_arena_block *block = arena->block;
    while (block != NULL) {
        struct sq_arena_block *older = block->older;
        bool is_larger = kept == NULL || block->bytes > kept->bytes;
        if (block->bytes > SQ_ARENA_BLOCK_BYTES || !is_larger) {
            sq_memory_free(block);
        } else {
            sq_memory_free(kept);
            kept = block;
        }
        block = older;
    }
    if (kept != NULL)
        kept->older = NULL;
    arena->block = kept;
    arena->used_bytes = 0;
}

size_t sq_arena_bytes(const struct sq_arena *arena)
{
    size_t bytes = 0;
    for (const struct sq_arena_block *block = arena->block; block != NULL; block = block->older)
        bytes += sizeof(*block) + block->bytes;
    return bytes;
}

void *sq_arena_alloc(struct sq_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (arena->block == NULL || arena->block->bytes - arena->used_bytes < rounded) {
        size_t block_bytes = arena->block == NULL && rounded <= SQ_ARENA_FIRST_BYTES ? SQ_ARENA_FIRST_BYTES
                             : rounded > SQ_ARENA_BLOCK_BYTES                        ? rounded
                                                                                     : SQ_ARENA_BLOCK_BYTES;
        struct sq_arena_block *block = sq_memory_alloc(sizeof(*block) + block_bytes);
        if (block == NULL)
            return NULL;
        block->bytes = block_bytes;
        block->older = arena->block;
        arena->block = block;
        arena->used_bytes = 0;
    }
    void *result = arena->block->data + arena->used_bytes;
    arena->used_bytes += rounded;
    sq_assert(arena->used_bytes <= arena->block->bytes);
    return result;
}

void *sq_arena_calloc(struct sq_arena *arena, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return NULL;
    void *result = sq_arena_alloc(arena, total);
    if (result != NULL)
        memset(result, 0, total);
    return result;
}

char *sq_arena_copy(struct sq_arena *arena, const void *data, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = sq_arena_alloc(arena, length + 1);
    if (copy == NULL)
        return NULL;
    if (length > 0)
        memcpy(copy, data, length);
    copy[length] = '\0';
    return copy;
}
