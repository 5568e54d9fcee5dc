/* base/memory.c: counting by thread, settled in batches, so that an allocation costs no shared cache line.
 *
 * Invariant: `total_bytes` and all threads' unsettled counts add up to what is allocated. A thread that ends settles. */
#include "base/memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

enum { MEMORY_RESERVE_SHARE = 16, MEMORY_PATH_MAX = 4096 };

/* Relaxed, both: numbers to compare, that carry no other data. */
static _Atomic(int64_t) total_bytes;
static _Atomic(int64_t) limit_bytes;

static _Thread_local int64_t unsettled_bytes;
static _Thread_local bool is_registered;
static pthread_key_t thread_key;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;

static int64_t settle(void)
{
    int64_t bytes = unsettled_bytes;
    unsettled_bytes = 0;
    return atomic_fetch_add_explicit(&total_bytes, bytes, memory_order_relaxed) + bytes;
}

static void settle_at_exit(void *value)
{
    (void)value;
    is_registered = false; /* destructors of other keys may still allocate: they register anew */
    settle();
}

static void make_thread_key(void)
{
    int failure = pthread_key_create(&thread_key, settle_at_exit);
    sq_assert(failure == 0);
}

static void register_thread(void)
{
    pthread_once(&thread_key_once, make_thread_key);
    /* Without memory for the key's value the thread's last batch is lost to the count, no more. */
    is_registered = pthread_setspecific(thread_key, &thread_key) == 0;
}

static int64_t reserve_of(int64_t limit)
{
    return limit / MEMORY_RESERVE_SHARE;
}

/* False: over the ceiling, and not counted. */
static bool take(size_t bytes)
{
    if (SQ_UNLIKELY(!is_registered))
        register_thread();
    unsettled_bytes += (int64_t)bytes;
    if (SQ_LIKELY(unsettled_bytes < SQ_MEMORY_BATCH_BYTES))
        return true;
    int64_t now = settle();
    int64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    if (limit == 0 || now <= limit - (bytes >= SQ_MEMORY_BATCH_BYTES ? reserve_of(limit) : 0))
        return true;
    atomic_fetch_sub_explicit(&total_bytes, (int64_t)bytes, memory_order_relaxed);
    return false;
}

static void give(size_t bytes)
{
    if (SQ_UNLIKELY(!is_registered))
        register_thread();
    unsettled_bytes -= (int64_t)bytes;
    if (SQ_UNLIKELY(unsettled_bytes <= -SQ_MEMORY_BATCH_BYTES))
        settle();
}

void *sq_memory_alloc(size_t bytes)
{
    void *block = malloc(bytes);
    if (SQ_LIKELY(block != NULL && take(malloc_usable_size(block))))
        return block;
    free(block);
    return NULL;
}

void *sq_memory_realloc(void *block, size_t bytes)
{
    if (block == NULL)
        return sq_memory_alloc(bytes);
    size_t before = malloc_usable_size(block);
    size_t more = bytes > before ? bytes - before : 0;
    if (!take(more))
        return NULL;
    void *moved = realloc(block, bytes);
    if (moved == NULL) {
        give(more);
        return NULL;
    }
    /* It may have become somewhat larger than asked for, or smaller. */
    size_t counted = before + more;
    size_t after = malloc_usable_size(moved);
    if (after >= counted)
        unsettled_bytes += (int64_t)(after - counted);
    else
        give(counted - after);
    return moved;
}

void sq_memory_free(void *block)
{
    if (block == NULL)
        return;
    give(malloc_usable_size(block));
    free(block);
}

size_t sq_memory_block_bytes(void *block)
{
    return block != NULL ? malloc_usable_size(block) : 0;
}

void sq_memory_set_limit(size_t bytes)
{
    int64_t limit = bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
    atomic_store_explicit(&limit_bytes, limit, memory_order_relaxed);
}

size_t sq_memory_limit(void)
{
    return (size_t)atomic_load_explicit(&limit_bytes, memory_order_relaxed);
}

size_t sq_memory_used(void)
{
    int64_t used = atomic_load_explicit(&total_bytes, memory_order_relaxed) + unsettled_bytes;
    return used > 0 ? (size_t)used : 0; /* other threads may have freed more than they have settled */
}

bool sq_memory_is_short(void)
{
    int64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    return limit != 0 && atomic_load_explicit(&total_bytes, memory_order_relaxed) > limit - reserve_of(limit);
}

void sq_memory_set_hint(struct sq_error *err)
{
    if (err != NULL && sq_memory_limit() != 0)
        sq_error_set_hint(err, "memory-limit is %zu bytes for all connections; %zu of them are in use.",
                          sq_memory_limit(), sq_memory_used());
}

/* --- What there is ------------------------------------------------------------------------------------------------ */

/* A limit file of a control group: a number, or "max". */
static size_t read_limit(const char *path, size_t otherwise)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return otherwise;
    char text[64] = "";
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    return end != text && value > 0 && value < otherwise ? (size_t)value : otherwise;
}

/* The least limit of the group at `path` and of those above it. */
static size_t read_group(const char *root, char *path, const char *name, size_t otherwise)
{
    for (;;) {
        char file[MEMORY_PATH_MAX + 64];
        snprintf(file, sizeof(file), "%s%s/%s", root, path, name);
        otherwise = read_limit(file, otherwise);
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return otherwise;
        *slash = '\0';
    }
}

size_t sq_memory_available(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page_bytes > 0 ? (size_t)pages * (size_t)page_bytes : SIZE_MAX / 2;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    if (groups == NULL)
        return bytes;
    char line[MEMORY_PATH_MAX]; /* hierarchy:controllers:path (cgroups(7)) */
    while (fgets(line, sizeof(line), groups) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *path = strrchr(line, ':');
        if (path == NULL)
            continue;
        if (strncmp(line, "0::", 3) == 0)
            bytes = read_group("/sys/fs/cgroup", path + 1, "memory.max", bytes);
        else if (strstr(line, ":memory:") != NULL)
            bytes = read_group("/sys/fs/cgroup/memory", path + 1, "memory.limit_in_bytes", bytes);
    }
    fclose(groups);
    return bytes;
}
