/* base/map.c: chained hash table; doubles when there are more entries than buckets. The hash is SipHash-1-3
 * (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), keyed from the kernel's random bytes. */
#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { SQ_MAP_BUCKETS_MIN = 8 };

struct sq_map_entry {
    struct sq_map_entry *next;
    void *value;
    uint64_t hash;
    size_t key_bytes;
    unsigned char key[];
};

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void hash_key_make(void)
{
    sq_random_fill(hash_key, sizeof(hash_key));
}

static inline uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

uint64_t sq_hash(const void *data, size_t length)
{
    pthread_once(&hash_key_once, hash_key_make);
    const unsigned char *at = data;
    uint64_t v[4] = {
        hash_key[0] ^ UINT64_C(0x736f6d6570736575),
        hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
        hash_key[0] ^ UINT64_C(0x6c7967656e657261),
        hash_key[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t left = length;
    for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t), at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)length << 56;
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)at[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void sq_map_init(struct sq_map *map)
{
    *map = (struct sq_map){0};
}

void sq_map_done(struct sq_map *map)
{
    for (size_t i = 0; i < map->bucket_count; i++) {
        struct sq_map_entry *entry = map->buckets[i];
        while (entry != NULL) {
            struct sq_map_entry *next = entry->next;
            free(entry);
            entry = next;
        }
    }
    free(map->buckets);
    sq_map_init(map);
}

/* The link that points to `key`'s entry, or to the NULL where it would be. The table must have buckets. */
static struct sq_map_entry **find_link(const struct sq_map *map, const void *key, size_t key_bytes, uint64_t hash)
{
    struct sq_map_entry **link = &map->buckets[hash & (map->bucket_count - 1)];
    while (*link != NULL) {
        struct sq_map_entry *entry = *link;
        if (entry->hash == hash && entry->key_bytes == key_bytes &&
            (key_bytes == 0 || memcmp(entry->key, key, key_bytes) == 0))
            break;
        link = &entry->next;
    }
    return link;
}

void *sq_map_get(const struct sq_map *map, const void *key, size_t key_bytes)
{
    if (map->count == 0)
        return NULL;
    struct sq_map_entry *entry = *find_link(map, key, key_bytes, sq_hash(key, key_bytes));
    return entry != NULL ? entry->value : NULL;
}

static bool map_grow(struct sq_map *map)
{
    size_t bucket_count = map->bucket_count == 0 ? SQ_MAP_BUCKETS_MIN : map->bucket_count * 2;
    struct sq_map_entry **buckets = calloc(bucket_count, sizeof(*buckets));
    if (buckets == NULL)
        return false;
    for (size_t i = 0; i < map->bucket_count; i++) {
        struct sq_map_entry *entry = map->buckets[i];
        while (entry != NULL) {
            struct sq_map_entry *next = entry->next;
            struct sq_map_entry **head = &buckets[entry->hash & (bucket_count - 1)];
            entry->next = *head;
            *head = entry;
            entry = next;
        }
    }
    free(map->buckets);
    map->buckets = buckets;
    map->bucket_count = bucket_count;
    return true;
}

sq_status sq_map_put(struct sq_map *map, const void *key, size_t key_bytes, void *value, void **ret_old)
{
    sq_assert(value != NULL);
    if (map->count >= map->bucket_count && !map_grow(map))
        return SQ_NOMEM;
    uint64_t hash = sq_hash(key, key_bytes);
    struct sq_map_entry **link = find_link(map, key, key_bytes, hash);
    struct sq_map_entry *entry = *link;
    void *old = NULL;
    if (entry != NULL) {
        old = entry->value;
        entry->value = value;
    } else {
        entry = malloc(sizeof(*entry) + key_bytes);
        if (entry == NULL)
            return SQ_NOMEM;
        entry->next = NULL;
        entry->value = value;
        entry->hash = hash;
        entry->key_bytes = key_bytes;
        if (key_bytes > 0)
            memcpy(entry->key, key, key_bytes);
        *link = entry;
        map->count++;
    }
    if (ret_old != NULL)
        *ret_old = old;
    return SQ_OK;
}

void *sq_map_remove(struct sq_map *map, const void *key, size_t key_bytes)
{
    if (map->count == 0)
        return NULL;
    struct sq_map_entry **link = find_link(map, key, key_bytes, sq_hash(key, key_bytes));
    struct sq_map_entry *entry = *link;
    if (entry == NULL)
        return NULL;
    void *value = entry->value;
    *link = entry->next;
    free(entry);
    map->count--;
    return value;
}

void *sq_map_next(const struct sq_map *map, struct sq_map_cursor *cursor)
{
    if (!cursor->is_started) {
        cursor->is_started = 1;
        cursor->bucket_index = 0;
        cursor->next = map->bucket_count > 0 ? map->buckets[0] : NULL;
    }
    while (cursor->next == NULL) {
        if (cursor->bucket_index + 1 >= map->bucket_count)
            return NULL;
        cursor->next = map->buckets[++cursor->bucket_index];
    }
    struct sq_map_entry *entry = cursor->next;
    cursor->next = entry->next;
    return entry->value;
}
