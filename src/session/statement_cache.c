/* session/statement_cache.c: a hash table of chains and a list by use, both through the statements themselves, so that
 * giving and taking allocate nothing.
 *
 * Invariants: (1) every statement in a chain is in `by_use`, and the other way round; (2) count <= count_max and bytes <=
 * bytes_max between two calls; (3) a statement in the cache has ref_count 0 and uses no portal. */
#include "session/statement_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "session/prepared.h"

enum { STATEMENT_CACHE_BUCKETS_MIN = 16 };

void statement_cache_init(struct statement_cache *cache, size_t count_max, size_t bytes_max)
{
    *cache = (struct statement_cache){.count_max = count_max, .bytes_max = bytes_max};
    sq_list_init(&cache->by_use);
}

uint64_t statement_cache_hash(const char *text, size_t length)
{
    return sq_hash(text, length);
}

static struct prepared **bucket_of(struct statement_cache *cache, uint64_t hash)
{
    return &cache->buckets[hash & (cache->bucket_count - 1)];
}

static void take_out(struct statement_cache *cache, struct prepared *prepared)
{
    struct prepared **link = bucket_of(cache, prepared->key.hash);
    while (*link != prepared)
        link = &(*link)->cache_next;
    *link = prepared->cache_next;
    prepared->cache_next = NULL;
    sq_list_remove(&prepared->cache_links);
    cache->count--;
    cache->bytes -= prepared->cache_bytes;
}

void statement_cache_clear(struct statement_cache *cache)
{
    struct sq_list *links;
    while ((links = sq_list_pop_front(&cache->by_use)) != NULL)
        prepared_free(SQ_CONTAINER_OF(links, struct prepared, cache_links));
    free(cache->buckets);
    free(cache->seen);
    statement_cache_init(cache, cache->count_max, cache->bytes_max);
}

static bool is_same_text(const struct statement_key *first, const struct statement_key *second)
{
    return first->hash == second->hash && first->length == second->length &&
           memcmp(first->text, second->text, first->length) == 0;
}

static bool has_same_types(const struct statement_key *first, const struct statement_key *second)
{
    return first->type_count == second->type_count &&
           (first->type_count == 0 ||
            memcmp(first->types, second->types, first->type_count * sizeof(*first->types)) == 0);
}

struct prepared *statement_cache_take(struct statement_cache *cache, const struct statement_key *key)
{
    if (cache->count == 0)
        return NULL;
    struct prepared *prepared = *bucket_of(cache, key->hash);
    while (prepared != NULL) {
        struct prepared *next = prepared->cache_next;
        if (is_same_text(&prepared->key, key)) {
            if (prepared->key.generation != key->generation) {
                take_out(cache, prepared);
                prepared_free(prepared);
            } else if (has_same_types(&prepared->key, key)) {
                take_out(cache, prepared);
                return prepared;
            }
        }
        prepared = next;
    }
    return NULL;
}

/* The table, made with the first statement. */
static bool has_table(struct statement_cache *cache)
{
    if (cache->buckets != NULL)
        return true;
    size_t count = STATEMENT_CACHE_BUCKETS_MIN;
    while (count < cache->count_max)
        count *= 2;
    cache->buckets = calloc(count, sizeof(struct prepared *));
    cache->seen = calloc(count, sizeof(uint32_t));
    if (cache->buckets == NULL || cache->seen == NULL) {
        free(cache->buckets);
        free(cache->seen);
        cache->buckets = NULL;
        cache->seen = NULL;
        return false;
    }
    cache->bucket_count = count;
    return true;
}

/* Whether a full cache makes room for the text: it has come before. */
static bool was_seen(struct statement_cache *cache, uint64_t hash)
{
    uint32_t *seen = &cache->seen[hash & (cache->bucket_count - 1)];
    uint32_t mark = (uint32_t)(hash >> 32) | 1; /* 0 is no text */
    bool is_seen = *seen == mark;
    *seen = is_seen ? 0 : mark;
    return is_seen;
}

bool statement_cache_give(struct statement_cache *cache, struct prepared *prepared)
{
    sq_assert(prepared->ref_count == 0 && !sq_list_is_linked(&prepared->cache_links));
    if (cache->count_max == 0 || !has_table(cache))
        return false;
    if (!prepared->is_cached) {
        /* The first time. */
        if (cache->count == cache->count_max && !was_seen(cache, prepared->key.hash))
            return false;
        prepared->cache_bytes = prepared_bytes(prepared);
        if (prepared->cache_bytes > cache->bytes_max)
            return false;
        if (cache->count < cache->count_max && cache->bytes + prepared->cache_bytes > cache->bytes_max &&
            !was_seen(cache, prepared->key.hash))
            return false;
        prepared->is_cached = true;
    }
    while (cache->count > 0 &&
           (cache->count == cache->count_max || cache->bytes + prepared->cache_bytes > cache->bytes_max)) {
        struct prepared *oldest = SQ_CONTAINER_OF(cache->by_use.previous, struct prepared, cache_links);
        take_out(cache, oldest);
        prepared_free(oldest);
    }
    struct prepared **bucket = bucket_of(cache, prepared->key.hash);
    prepared->cache_next = *bucket;
    *bucket = prepared;
    sq_list_push_front(&cache->by_use, &prepared->cache_links);
    cache->count++;
    cache->bytes += prepared->cache_bytes;
    return true;
}
