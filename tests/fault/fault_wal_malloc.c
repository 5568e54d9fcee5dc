/* tests/fault/fault_wal_malloc.c: every allocation fails in turn while a transaction is copied from one WAL to another, sqld's own
 * and SQLite's. What fails has done nothing, and works as soon as there is memory. */
#include "../lib/wal_fixture.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);

enum { ALLOCATIONS_MAX = 10000 };

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

static sqlite3_mem_methods sqlite_methods;

static void *sqlite_malloc(int bytes)
{
    return must_fail() ? NULL : sqlite_methods.xMalloc(bytes);
}

static void *sqlite_realloc(void *old, int bytes)
{
    return must_fail() ? NULL : sqlite_methods.xRealloc(old, bytes);
}

static void count_sqlite(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_methods), SQLITE_OK);
    sqlite3_mem_methods counted = sqlite_methods;
    counted.xMalloc = sqlite_malloc;
    counted.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &counted), SQLITE_OK);
}

/* The whole way: open, a snapshot's pages, one after the other, into an append. Whatever was begun is ended. */
static sq_status copy_pages(sqlite3 *source, sqlite3 *target)
{
    struct wal_file *from = NULL;
    struct wal_file *to = NULL;
    struct wal_snapshot *snapshot = NULL;
    struct wal_append *append = NULL;
    struct wal_place end;
    unsigned char page[512];
    sq_status status = wal_file_new(source, &wal_err, &from);
    if (status == SQ_OK)
        status = wal_file_new(target, &wal_err, &to);
    if (status == SQ_OK)
        status = wal_snapshot_begin(from, &wal_err, &snapshot);
    if (status == SQ_OK)
        status = wal_append_begin(to, &wal_err, &append);
    for (uint32_t number = 1; status == SQ_OK && number <= wal_snapshot_page_count(snapshot); number++) {
        status = wal_snapshot_page(snapshot, number, page, &wal_err);
        if (status == SQ_OK)
            status = wal_append_page(append, number, page, &wal_err);
    }
    if (status == SQ_OK)
        status = wal_append_commit(SQ_STEAL(append), wal_snapshot_page_count(snapshot), &wal_err, &end);
    wal_append_abort(append);
    wal_snapshot_end(snapshot);
    wal_file_free(from);
    wal_file_free(to);
    return status;
}

static void what_finds_no_memory_has_done_nothing(void **state)
{
    (void)state;
    char dir[PATH_MAX];
    scratch_make_directory(dir);
    sqlite3 *db = wal_create(dir, "source", 512, NULL);
    wal_exec(db, "CREATE TABLE t(a, b); PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite3_close(db);
    wal_copy_file(dir, "source", dir, "target");
    sqlite3 *witness = wal_connect(dir, "target", NULL);
    db = wal_connect(dir, "source", NULL);
    /* More frames than the first region of the wal-index has room for. */
    wal_exec(db, "INSERT INTO t SELECT value, randomblob(450) FROM " WAL_SERIES(4500));
    assert_int_equal(wal_number(witness, "SELECT count(*) FROM t"), 0);
    sq_status status = SQ_NOMEM;
    size_t at = 0;
    while (status != SQ_OK && at < ALLOCATIONS_MAX) {
        sqlite3 *source = wal_connect(dir, "source", NULL);
        sqlite3 *target = wal_connect(dir, "target", NULL);
        allocation_count = 0;
        fail_at = ++at;
        status = copy_pages(source, target);
        fail_at = 0;
        assert_true(status == SQ_OK || status == SQ_NOMEM);
        assert_int_equal(wal_number(witness, "SELECT count(*) FROM t"), status == SQ_OK ? 4500 : 0);
        wal_exec(witness, "BEGIN IMMEDIATE; ROLLBACK");
        assert_int_equal(sqlite3_close(source), SQLITE_OK);
        assert_int_equal(sqlite3_close(target), SQLITE_OK);
    }
    assert_in_range(at, 8, ALLOCATIONS_MAX - 1);
    wal_assert_same(db, witness);
    assert_int_equal(sqlite3_close(witness), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    scratch_remove_directory(dir);
}

int main(void)
{
    count_sqlite();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_finds_no_memory_has_done_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
