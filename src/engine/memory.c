/* engine/memory.c: SQLite's allocator on base/memory.h (sqlite.org/malloc.html, "Application-Defined Memory Allocators"):
 * an allocation over the ceiling fails, and SQLite answers the statement that needed it with SQLITE_NOMEM. SQLite's own
 * heap limits would need its statistics, which put one mutex around every allocation of every thread. */
#include <limits.h>
#include <sqlite3.h>

#include "base/memory.h"
#include "engine/error.h"
#include "engine/memory.h"

static void *memory_alloc(int bytes)
{
    return sq_memory_alloc((size_t)bytes);
}

static void *memory_realloc(void *block, int bytes)
{
    return sq_memory_realloc(block, (size_t)bytes);
}

static int memory_size(void *block)
{
    size_t bytes = sq_memory_block_bytes(block);
    return bytes > INT_MAX ? INT_MAX : (int)bytes;
}

static int memory_roundup(int bytes)
{
    return (bytes + 7) & ~7;
}

static int memory_init(void *context)
{
    (void)context;
    return SQLITE_OK;
}

static void memory_shutdown(void *context)
{
    (void)context;
}

sq_status engine_memory_install(struct sq_error *err)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = memory_alloc,
        .xFree = sq_memory_free,
        .xRealloc = memory_realloc,
        .xSize = memory_size,
        .xRoundup = memory_roundup,
        .xInit = memory_init,
        .xShutdown = memory_shutdown,
    };
    int result = sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    return result == SQLITE_OK ? SQ_OK : engine_fail(err, NULL, result, NULL);
}
