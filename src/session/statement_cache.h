/* session/statement_cache.h: the prepared statements of a session that nobody uses at the moment, by their text.
 *
 * A text that comes again, in a Query or a Parse, is then not parsed, compiled and described anew. What the cache hands
 * out is no longer in it, so nothing is handed out twice; it comes back when its last user lets go of it.
 *
 *     prepared_get() ──found──► in use ──last prepared_unref()──► in the cache ──not used for long──► freed
 *          └──not found──► compiled ─┘
 *
 * What is found is as it was when it was compiled: types that were announced to one client's eyes are forgotten. It is not
 * found when the declared parameter types differ, or when the schema, temporary tables, pragmas or attached databases have
 * changed since (service_generation()).
 *
 * Bounded by number and bytes; the least recently used one goes first. A full cache takes a text only when it comes a
 * second time, so that texts that never come again (values written into the SQL) do not drive out those that do.
 *
 * Lifetime: part of a session. Threads: the session's. */
#ifndef SQ_SESSION_STATEMENT_CACHE_H
#define SQ_SESSION_STATEMENT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct prepared;

/* What a cached statement is found by; embedded in it. */
struct statement_key {
    const char *text; /* as the client sent it; lives as long as the statement */
    size_t length;
    const uint32_t *types; /* declared parameter types; likewise */
    size_t type_count;
    uint64_t hash; /* statement_cache_hash() of the text */
    uint64_t generation;
};

struct statement_cache {
    size_t count_max;
    size_t bytes_max;
    size_t count;
    size_t bytes;
    size_t bucket_count; /* a power of two, or 0 before the first statement has come */
    struct prepared **buckets;
    uint32_t *seen;        /* bucket_count of them: hashes of texts that a full cache has turned away */
    struct sq_list by_use; /* the last used one first */
};

enum { STATEMENT_CACHE_TEXT_MAX = 16 * 1024 /* bytes of a text that is kept */ };

/* `count_max` 0: nothing is kept. */
void statement_cache_init(struct statement_cache *cache, size_t count_max, size_t bytes_max);
/* Frees everything in it; it may be used on. */
void statement_cache_clear(struct statement_cache *cache);

uint64_t statement_cache_hash(const char *text, size_t length);
/* Takes the statement for `key` out; NULL if there is none. The caller has the only reference. */
struct prepared *statement_cache_take(struct statement_cache *cache, const struct statement_key *key);
/* Puts a statement in that nobody refers to any more. False: it is not wanted, and still the caller's. */
bool statement_cache_give(struct statement_cache *cache, struct prepared *prepared);

#endif
