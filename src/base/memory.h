/* base/memory.h: counted memory, and a ceiling for it.
 *
 * What grows with the work of clients comes from here: everything that SQLite holds, buffers, arenas. Not counted are
 * mapped files, thread stacks, and the fixed parts of sessions, which max-connections bounds.
 *
 * Over the ceiling an allocation fails like any other. Large ones fail a little earlier, at 15/16 of it, so that one
 * session's big sort does not take the last kilobytes that others need to come to an end; sq_memory_is_short() says the
 * same to whoever might begin something new.
 *
 * Threads: any. Each counts for itself and settles every SQ_MEMORY_BATCH_BYTES, which is how exact the sum is. */
#ifndef SQ_BASE_MEMORY_H
#define SQ_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct sq_error;

enum { SQ_MEMORY_BATCH_BYTES = 32 * 1024 };

/* malloc(), realloc(), free(), counted. NULL also over the ceiling; a block that could not be resized is as it was. What
 * comes from here goes back here. */
void *sq_memory_alloc(size_t bytes);
void *sq_memory_realloc(void *block, size_t bytes);
void sq_memory_free(void *block);
/* How large a block is; at least what was asked for. */
size_t sq_memory_block_bytes(void *block);

/* 0: no ceiling, as at the start. */
void sq_memory_set_limit(size_t bytes);
size_t sq_memory_limit(void);
size_t sq_memory_used(void);
/* Whether nothing new should be begun. */
bool sq_memory_is_short(void);
/* Tells in *err's hint what there is; for errors about memory. NULL is allowed. */
void sq_memory_set_hint(struct sq_error *err);

/* Bytes that this process may have: of the machine, or of the control group if that is less. */
size_t sq_memory_available(void);

#endif
