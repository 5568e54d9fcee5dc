/* tests/fault/fault_log_malloc.c: every allocation fails in turn while a log is made, appended to, read, synced, tidied, begun anew and
 * opened again, and while checksums of pages are kept beside it. What fails has done nothing (or, for a restart, everything), and
 * works as soon as there is memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/log_fixture.h"
#include "../lib/scratch.h"
#include "base/log.h"
#include "wal/page_sums.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);

enum { ALLOCATIONS_MAX = 20000 };

static size_t fail_at; /* 0: nothing fails */
static size_t allocation_count;

static bool must_fail(void)
{
    return fail_at != 0 && ++allocation_count == fail_at;
}

void *__wrap_malloc(size_t bytes)
{
    return must_fail() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return must_fail() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return must_fail() ? NULL : __real_realloc(old, bytes);
}

char *__wrap_strdup(const char *text)
{
    return must_fail() ? NULL : __real_strdup(text);
}

static struct {
    char dir[PATH_MAX];
    char sums_path[PATH_MAX + 8];
    struct wal_log *log;
    struct page_sums *sums;
    struct fixture_database database;
    struct fixture_database saved; /* as the checksums were saved last */
    uint64_t seed;
    struct sq_error err;
} f;

/* Once with the allocation that fails, once more if it did. */
#define TRY_TWICE(call)                                                                                                \
    do {                                                                                                               \
        sq_status status_ = (call);                                                                                    \
        if (status_ != SQ_OK) {                                                                                        \
            assert_int_equal(status_, SQ_NOMEM);                                                                       \
            assert_true(fail_at != 0 && allocation_count >= fail_at);                                                  \
            assert_int_equal((call), SQ_OK);                                                                           \
        }                                                                                                              \
    } while (0)

static void assert_at_end(void)
{
    struct wal_position end = wal_log_end(f.log), expected = fixture_position(&f.database);
    assert_int_equal(end.txid, expected.txid);
    assert_int_equal(end.timeline, expected.timeline);
    assert_int_equal(end.checksum, expected.checksum);
}

static sq_status set_sums(void)
{
    SQ_TRY(page_sums_resize(f.sums, f.database.page_count, &f.err));
    for (uint32_t page = 1; page <= f.database.page_count; page++)
        SQ_TRY(page_sums_set(f.sums, page, wal_page_checksum(page, f.database.pages[page - 1], FIXTURE_PAGE_BYTES),
                             &f.err));
    return SQ_OK;
}

static void append(unsigned count)
{
    TRY_TWICE(fixture_append(f.log, &f.database, &f.seed, count, &f.err));
    assert_at_end();
    TRY_TWICE(set_sums());
    assert_int_equal(page_sums_database(f.sums), fixture_checksum(&f.database));
}

static void restart(const struct wal_position *position)
{
    sq_status status = wal_log_restart(f.log, position, &f.err);
    if (status == SQ_OK)
        return;
    assert_int_equal(status, SQ_NOMEM);
    assert_int_equal(wal_log_restart(f.log, position, &f.err), SQ_OK);
}

static void reopen(void)
{
    ltx_txid txid = 0;
    uint64_t timeline = 0;
    wal_log_close(f.log);
    f.log = NULL;
    TRY_TWICE(wal_log_open(f.dir, &f.err, &f.log));
    assert_at_end();
    page_sums_free(f.sums);
    f.sums = NULL;
    TRY_TWICE(page_sums_open(f.sums_path, &f.err, &f.sums, &txid, &timeline));
    assert_int_equal(txid, f.saved.txid);
    assert_int_equal(page_sums_database(f.sums), fixture_checksum(&f.saved));
    TRY_TWICE(set_sums());
}

static void save(void)
{
    TRY_TWICE(page_sums_save(f.sums, f.sums_path, f.database.txid, f.database.timeline, &f.err));
    f.saved = f.database;
}

static void follow(struct fixture_database follower)
{
    sq_status status;
    do {
        status = fixture_follow(f.log, &follower, &f.err);
        if (status == SQ_NOMEM)
            status = fixture_follow(f.log, &follower, &f.err);
    } while (status == SQ_OK);
    assert_int_equal(status, SQ_NOT_FOUND);
    assert_memory_equal(follower.pages, f.database.pages, sizeof(follower.pages));
}

static void live(void)
{
    memset(&f.database, 0, sizeof(f.database));
    f.seed = 3;
    TRY_TWICE(wal_log_open(f.dir, &f.err, &f.log));
    TRY_TWICE(page_sums_new(FIXTURE_PAGE_BYTES, &f.err, &f.sums));
    TRY_TWICE(wal_log_begin_timeline(f.log, 1, &f.err));
    f.database.timeline = 1;
    for (int i = 0; i < 3; i++)
        append(1);
    TRY_TWICE(wal_log_sync(f.log, &f.err));
    struct fixture_database middle = f.database;
    append(2);
    save();
    append(1);
    reopen();
    follow(middle);
    for (int i = 0; i < 9; i++) {
        append(1);
        TRY_TWICE(wal_log_sync(f.log, &f.err));
    }
    struct page_sums *copy = NULL;
    TRY_TWICE(page_sums_copy(f.sums, &f.err, &copy));
    uint64_t before = fixture_checksum(&f.database);
    append(1);
    assert_int_equal(page_sums_database(copy), before);
    page_sums_free(copy);
    save();
    reopen();
    TRY_TWICE(wal_log_tidy(f.log, 0, 0, 0, &f.err)); /* compacts */
    assert_int_equal(wal_log_facts(f.log).file_count, 1);
    follow(middle);
    f.database.pages[0][3] ^= 1;
    f.database.txid = 40;
    struct wal_position position = fixture_position(&f.database);
    restart(&position);
    assert_at_end();
    TRY_TWICE(wal_log_begin_timeline(f.log, 2, &f.err));
    f.database.timeline = 2;
    middle = f.database;
    append(1);
    reopen();
    follow(middle);
    wal_log_close(f.log);
    page_sums_free(f.sums);
    f.log = NULL;
    f.sums = NULL;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    size_t count = 0;
    for (fail_at = 1; fail_at < ALLOCATIONS_MAX; fail_at++) {
        allocation_count = 0;
        scratch_make_directory(f.dir);
        (void)snprintf(f.sums_path, sizeof(f.sums_path), "%s/sums", f.dir);
        live();
        count = allocation_count;
        scratch_remove_directory(f.dir);
        if (count < fail_at)
            break;
    }
    print_message("%zu allocations\n", count);
    assert_in_range(count, 100, ALLOCATIONS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    sq_log_set_level(SQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
