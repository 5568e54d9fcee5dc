/* Counted memory: what is taken and given back adds up, also across threads, and the ceiling holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"

enum { MB = 1 << 20, BLOCKS = 1000, THREADS = 4 };

static int set_up(void **state)
{
    (void)state;
    sq_memory_set_limit(0);
    return 0;
}

static void what_is_given_back_is_not_counted(void **state)
{
    (void)state;
    size_t before = sq_memory_used();
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = sq_memory_alloc(i + 1);
        assert_non_null(blocks[i]);
    }
    assert_true(sq_memory_used() >= before + BLOCKS * (BLOCKS + 1) / 2);
    for (size_t i = 0; i < BLOCKS; i++)
        sq_memory_free(blocks[i]);
    assert_int_equal(sq_memory_used(), before);
    sq_memory_free(NULL);
}

static void resizing_counts_the_difference(void **state)
{
    (void)state;
    size_t before = sq_memory_used();
    char *block = sq_memory_realloc(NULL, 10);
    memcpy(block, "012345678", 10);
    static const size_t sizes[] = {100, MB, 3 * MB, 200, 5 * MB, 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        block = sq_memory_realloc(block, sizes[i]);
        assert_non_null(block);
        assert_int_equal(block[0], '0');
        assert_int_equal(sq_memory_used(), before + sq_memory_block_bytes(block));
    }
    sq_memory_free(block);
    assert_int_equal(sq_memory_used(), before);
}

static void over_the_ceiling_there_is_nothing(void **state)
{
    (void)state;
    size_t before = sq_memory_used();
    sq_memory_set_limit(before + 16 * MB);
    assert_false(sq_memory_is_short());
    assert_null(sq_memory_alloc(17 * MB));
    assert_int_equal(sq_memory_used(), before);
    char *block = sq_memory_alloc(8 * MB);
    assert_non_null(block);
    block[0] = 'x';
    assert_null(sq_memory_realloc(block, 17 * MB));
    assert_int_equal(block[0], 'x');
    assert_int_equal(sq_memory_used(), before + sq_memory_block_bytes(block));
    sq_memory_free(block);
    block = sq_memory_alloc(14 * MB);
    assert_non_null(block);
    sq_memory_free(block);
    assert_int_equal(sq_memory_used(), before);
}

/* Large requests leave a reserve to small ones, which may use it up. */
static void small_requests_are_served_from_the_reserve(void **state)
{
    (void)state;
    size_t limit = sq_memory_used() + 64 * MB;
    sq_memory_set_limit(limit);
    void *large[64];
    size_t large_count = 0;
    while (large_count < 64 && (large[large_count] = sq_memory_alloc(MB)) != NULL)
        large_count++;
    assert_in_range(large_count, 56, 63);
    static void *small[10000];
    size_t small_count = 0;
    while (small_count < 10000 && (small[small_count] = sq_memory_alloc(1024)) != NULL)
        small_count++;
    assert_in_range(small_count, 2000, 9999);
    assert_true(sq_memory_is_short());
    assert_true(sq_memory_used() <= limit + SQ_MEMORY_BATCH_BYTES);
    while (small_count > 0)
        sq_memory_free(small[--small_count]);
    while (large_count > 0)
        sq_memory_free(large[--large_count]);
    assert_false(sq_memory_is_short());
}

static void the_hint_says_what_there_is(void **state)
{
    (void)state;
    struct sq_error err;
    (void)sq_fail(&err, SQ_NOMEM, "out of memory");
    sq_memory_set_hint(&err);
    assert_string_equal(err.hint, "");
    sq_memory_set_limit(123456789);
    sq_memory_set_hint(&err);
    assert_non_null(strstr(err.hint, "memory-limit is 123456789 bytes"));
    sq_memory_set_hint(NULL);
}

static void there_is_some_memory(void **state)
{
    (void)state;
    assert_in_range(sq_memory_available(), 16 * MB, SIZE_MAX / 2);
}

static void *take_some(void *context)
{
    void **blocks = context;
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = sq_memory_alloc(100);
    return NULL;
}

static void a_thread_that_ends_leaves_its_count(void **state)
{
    (void)state;
    static void *blocks[THREADS][BLOCKS];
    size_t before = sq_memory_used();
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_some, blocks[i]), 0);
    size_t bytes = 0;
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (size_t j = 0; j < BLOCKS; j++)
            bytes += sq_memory_block_bytes(blocks[i][j]);
    }
    assert_int_equal(sq_memory_used(), before + bytes);
    for (size_t i = 0; i < THREADS; i++) {
        for (size_t j = 0; j < BLOCKS; j++)
            sq_memory_free(blocks[i][j]);
    }
    assert_int_equal(sq_memory_used(), before);
}

#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMORY_TEST(what_is_given_back_is_not_counted),   MEMORY_TEST(resizing_counts_the_difference),
        MEMORY_TEST(over_the_ceiling_there_is_nothing),   MEMORY_TEST(small_requests_are_served_from_the_reserve),
        MEMORY_TEST(the_hint_says_what_there_is),         MEMORY_TEST(there_is_some_memory),
        MEMORY_TEST(a_thread_that_ends_leaves_its_count),
    };
    return cmocka_run_group_tests_name("base/memory", tests, NULL, NULL);
}
