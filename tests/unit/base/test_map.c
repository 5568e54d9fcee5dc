/* The hash table: keys of any bytes, replacing, removing, walking, and many entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

enum { MANY = 5000 };

static int values[MANY];

static void put(struct sq_map *map, const char *key, void *value)
{
    void *old = NULL;
    assert_int_equal(sq_map_put(map, key, strlen(key), value, &old), SQ_OK);
}

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct sq_map map;
    struct sq_map_cursor at = {0};
    sq_map_init(&map);
    assert_null(sq_map_get(&map, "x", 1));
    assert_null(sq_map_remove(&map, "x", 1));
    assert_null(sq_map_next(&map, &at));
    sq_map_done(&map);
}

static void keys_are_bytes_and_are_copied(void **state)
{
    (void)state;
    struct sq_map map;
    char key[] = "a\0b";
    sq_map_init(&map);
    assert_int_equal(sq_map_put(&map, key, 3, &values[0], NULL), SQ_OK);
    assert_int_equal(sq_map_put(&map, key, 1, &values[1], NULL), SQ_OK);
    assert_int_equal(sq_map_put(&map, NULL, 0, &values[2], NULL), SQ_OK);
    key[0] = 'z';
    assert_ptr_equal(sq_map_get(&map, "a\0b", 3), &values[0]);
    assert_ptr_equal(sq_map_get(&map, "a", 1), &values[1]);
    assert_ptr_equal(sq_map_get(&map, "", 0), &values[2]);
    assert_null(sq_map_get(&map, "a\0c", 3));
    assert_null(sq_map_get(&map, "A", 1));
    sq_map_done(&map);
}

static void putting_again_replaces_and_returns_the_old_value(void **state)
{
    (void)state;
    struct sq_map map;
    void *old = &values[9];
    sq_map_init(&map);
    assert_int_equal(sq_map_put(&map, "k", 1, &values[0], &old), SQ_OK);
    assert_null(old);
    assert_int_equal(sq_map_put(&map, "k", 1, &values[1], &old), SQ_OK);
    assert_ptr_equal(old, &values[0]);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(sq_map_get(&map, "k", 1), &values[1]);
    assert_ptr_equal(sq_map_remove(&map, "k", 1), &values[1]);
    assert_null(sq_map_get(&map, "k", 1));
    assert_int_equal(map.count, 0);
    put(&map, "k", &values[2]);
    assert_ptr_equal(sq_map_get(&map, "k", 1), &values[2]);
    sq_map_done(&map);
}

static void many_keys_are_all_found(void **state)
{
    (void)state;
    struct sq_map map;
    char key[32];
    sq_map_init(&map);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "statement_%d", i);
        put(&map, key, &values[i]);
    }
    assert_int_equal(map.count, MANY);
    assert_true(map.bucket_count >= MANY && (map.bucket_count & (map.bucket_count - 1)) == 0);
    for (int i = 0; i < MANY; i += 2) {
        snprintf(key, sizeof(key), "statement_%d", i);
        assert_ptr_equal(sq_map_remove(&map, key, strlen(key)), &values[i]);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "statement_%d", i);
        assert_ptr_equal(sq_map_get(&map, key, strlen(key)), i % 2 == 0 ? NULL : (void *)&values[i]);
    }
    assert_int_equal(map.count, MANY / 2);
    sq_map_done(&map);
}

/* Each value once, though every second one is removed on the way. */
static void a_walk_meets_every_value_once(void **state)
{
    (void)state;
    struct sq_map map;
    struct sq_map_cursor at = {0};
    char key[32];
    int met[MANY] = {0};
    int *value;
    int count = 0;
    sq_map_init(&map);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "%d", i);
        put(&map, key, &values[i]);
    }
    while ((value = sq_map_next(&map, &at)) != NULL) {
        met[value - values]++;
        if (count++ % 2 == 0) {
            snprintf(key, sizeof(key), "%d", (int)(value - values));
            assert_ptr_equal(sq_map_remove(&map, key, strlen(key)), value);
        }
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(met[i], 1);
    assert_int_equal(map.count, MANY / 2);
    sq_map_done(&map);
}

static void the_hash_depends_on_every_byte_and_on_the_length(void **state)
{
    (void)state;
    uint8_t data[40] = {0};
    for (size_t length = 0; length <= sizeof(data); length++) {
        uint64_t hash = sq_hash(data, length);
        assert_true(hash == sq_hash(data, length));
        if (length < sizeof(data))
            assert_true(hash != sq_hash(data, length + 1));
        for (size_t i = 0; i < length; i++) {
            data[i] = 1;
            assert_true(hash != sq_hash(data, length));
            data[i] = 0;
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(keys_are_bytes_and_are_copied),
        cmocka_unit_test(putting_again_replaces_and_returns_the_old_value),
        cmocka_unit_test(many_keys_are_all_found),
        cmocka_unit_test(a_walk_meets_every_value_once),
        cmocka_unit_test(the_hash_depends_on_every_byte_and_on_the_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
