/* base/map.h: a hash table from byte strings to pointers, for names: prepared statements, portals, databases, channels.
 * Keys are copied; values are the owner's. The hash is keyed with random bytes per process, so that a client cannot
 * choose names that collide.
 *
 * Threads: one at a time. */
#ifndef SQ_BASE_MAP_H
#define SQ_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sq_map_entry;

struct sq_map {
    struct sq_map_entry **buckets; /* bucket_count of them, a power of two, or NULL */
    size_t bucket_count;
    size_t count;
};

void sq_map_init(struct sq_map *map);
/* Frees the table and the keys, not the values. */
void sq_map_done(struct sq_map *map);

/* The value of `key`, or NULL. */
void *sq_map_get(const struct sq_map *map, const void *key, size_t key_bytes);
/* Sets the value (not NULL) of `key`; *ret_old (may be NULL) gets the former value or NULL. SQ_NOMEM changes nothing. */
SQ_MUST_USE sq_status sq_map_put(struct sq_map *map, const void *key, size_t key_bytes, void *value, void **ret_old);
/* Takes `key` out and returns its value, or NULL if it was not there. */
void *sq_map_remove(struct sq_map *map, const void *key, size_t key_bytes);

/* Walks over all values: `struct sq_map_cursor at = {0}; while ((value = sq_map_next(&map, &at)) != NULL) …`.
 * The value last returned may be removed from the map; nothing else may change it meanwhile. */
struct sq_map_cursor {
    size_t bucket_index;
    struct sq_map_entry *next;
    int is_started;
};
void *sq_map_next(const struct sq_map *map, struct sq_map_cursor *cursor);

/* SipHash-1-3 keyed once per process. */
uint64_t sq_hash(const void *data, size_t length);

#endif
