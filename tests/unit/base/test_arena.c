/* Memory given back all at once: alignment, separate places, reuse, requests that are too large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "base/arena.h"

static void every_piece_is_aligned_and_its_own(void **state)
{
    (void)state;
    enum { PIECES = 500 };
    struct sq_arena arena;
    unsigned char *pieces[PIECES];
    sq_arena_init(&arena);
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = sq_arena_alloc(&arena, i * 7);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        memset(pieces[i], (int)(i & 0xFF), i * 7);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t at = 0; at < i * 7; at++)
            assert_int_equal(pieces[i][at], i & 0xFF);
    }
    sq_arena_done(&arena);
}

static void sizes_around_a_block_are_whole(void **state)
{
    (void)state;
    struct sq_arena arena;
    sq_arena_init(&arena);
    for (size_t bytes = 4096 - 40; bytes <= 4096 + 40; bytes++) {
        unsigned char *piece = sq_arena_alloc(&arena, bytes);
        assert_non_null(piece);
        memset(piece, 1, bytes);
    }
    unsigned char *large = sq_arena_alloc(&arena, 1000000);
    assert_non_null(large);
    memset(large, 2, 1000000);
    sq_arena_done(&arena);
}

static void a_reset_arena_serves_from_the_same_memory(void **state)
{
    (void)state;
    struct sq_arena arena;
    sq_arena_init(&arena);
    void *first = sq_arena_alloc(&arena, 100);
    assert_non_null(first);
    sq_arena_reset(&arena);
    assert_ptr_equal(sq_arena_alloc(&arena, 100), first);
    /* A large request is freed at once, the ordinary block stays. */
    assert_non_null(sq_arena_alloc(&arena, 100000));
    sq_arena_reset(&arena);
    assert_ptr_equal(sq_arena_alloc(&arena, 100), first);
    sq_arena_done(&arena);
}

static void resetting_an_empty_arena_does_nothing(void **state)
{
    (void)state;
    struct sq_arena arena;
    sq_arena_init(&arena);
    sq_arena_reset(&arena);
    assert_non_null(sq_arena_alloc(&arena, 0));
    sq_arena_done(&arena);
    assert_null(arena.block);
    sq_arena_done(&arena);
}

static void zeroed_memory_is_zero_also_after_reuse(void **state)
{
    (void)state;
    struct sq_arena arena;
    sq_arena_init(&arena);
    unsigned char *dirty = sq_arena_alloc(&arena, 512);
    assert_non_null(dirty);
    memset(dirty, 0xFF, 512);
    sq_arena_reset(&arena);
    unsigned char *zeroed = sq_arena_calloc(&arena, 64, 8);
    assert_non_null(zeroed);
    for (size_t i = 0; i < 512; i++)
        assert_int_equal(zeroed[i], 0);
    sq_arena_done(&arena);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct sq_arena arena;
    sq_arena_init(&arena);
    assert_null(sq_arena_alloc(&arena, SIZE_MAX));
    assert_null(sq_arena_alloc(&arena, SIZE_MAX - 15));
    assert_null(sq_arena_calloc(&arena, SIZE_MAX / 2, 3));
    assert_null(sq_arena_copy(&arena, "", SIZE_MAX));
    assert_non_null(sq_arena_alloc(&arena, 1));
    sq_arena_done(&arena);
}

static void a_copy_ends_with_a_nul(void **state)
{
    (void)state;
    struct sq_arena arena;
    sq_arena_init(&arena);
    assert_memory_equal(sq_arena_copy(&arena, "a\0b", 3), "a\0b", 4);
    assert_string_equal(sq_arena_copy(&arena, NULL, 0), "");
    sq_arena_done(&arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_is_aligned_and_its_own),
        cmocka_unit_test(sizes_around_a_block_are_whole),
        cmocka_unit_test(a_reset_arena_serves_from_the_same_memory),
        cmocka_unit_test(resetting_an_empty_arena_does_nothing),
        cmocka_unit_test(zeroed_memory_is_zero_also_after_reuse),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(a_copy_ends_with_a_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
