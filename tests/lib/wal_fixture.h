/* tests/lib/wal_fixture.h: databases in WAL mode, what SQLite sees in them, and copying transactions from one to another. */
#ifndef SQ_TESTS_WAL_FIXTURE_H
#define SQ_TESTS_WAL_FIXTURE_H

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "scratch.h"
#include "wal/checksum.h"
#include "wal/wal_file.h"

static struct sq_error wal_err;

#define WAL_OK(expression)                                                                                             \
    do {                                                                                                               \
        sq_error_clear(&wal_err);                                                                                      \
        sq_status wal_status_ = (expression);                                                                          \
        if (wal_status_ != SQ_OK)                                                                                      \
            fail_msg("%s: %s: %s", #expression, sq_status_name(wal_status_), wal_err.text);                            \
    } while (0)

/* splitmix64 */
static inline uint64_t wal_random(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint32_t wal_random_below(uint64_t *seed, uint32_t limit)
{
    return (uint32_t)(wal_random(seed) % limit);
}

/* The numbers from 1 to `n` (digits), as a table with the column `value`. */
#define WAL_SERIES(n)                                                                                                  \
    "(WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < " #n ") SELECT value FROM " \
    "s)"

static inline void wal_exec(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

/* The first column of the first row; -1: no row, or NULL. */
static inline int64_t wal_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int result = sqlite3_step(statement);
    int64_t number = -1;
    if (result == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        number = sqlite3_column_int64(statement, 0);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return number;
}

static inline sqlite3 *wal_connect(const char *dir, const char *name, const char *vfs)
{
    char path[PATH_MAX + 300];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(path, &db, flags, vfs) != SQLITE_OK)
        fail_msg("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, 10000);
    wal_exec(db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;");
    return db;
}

/* A new database in WAL mode. */
static inline sqlite3 *wal_create(const char *dir, const char *name, uint32_t page_bytes, const char *vfs)
{
    char sql[128];
    sqlite3 *db = wal_connect(dir, name, vfs);
    snprintf(sql, sizeof(sql), "PRAGMA page_size=%u; PRAGMA journal_mode=WAL; PRAGMA user_version=0", page_bytes);
    wal_exec(db, sql);
    return db;
}

static inline void wal_check(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(statement, 0), "ok");
    sqlite3_finalize(statement);
}

/* The database as SQLite reads it: for sqlite3_free(). */
static inline unsigned char *wal_image(sqlite3 *db, int64_t *ret_bytes)
{
    sqlite3_int64 bytes = 0;
    unsigned char *image = sqlite3_serialize(db, "main", &bytes, 0);
    assert_non_null(image);
    *ret_bytes = bytes;
    return image;
}

/* Both connections see the same pages. */
static inline void wal_assert_same(sqlite3 *one, sqlite3 *other)
{
    int64_t one_bytes;
    int64_t other_bytes;
    unsigned char *one_image = wal_image(one, &one_bytes);
    unsigned char *other_image = wal_image(other, &other_bytes);
    assert_int_equal(one_bytes, other_bytes);
    assert_memory_equal(one_image, other_image, (size_t)one_bytes);
    sqlite3_free(one_image);
    sqlite3_free(other_image);
}

/* What a snapshot reads is what SQLite reads. */
static inline void wal_assert_snapshot(struct wal_file *file, sqlite3 *db)
{
    struct wal_snapshot *snapshot = NULL;
    struct wal_place end;
    uint32_t page_bytes;
    uint32_t page_count;
    int64_t bytes;
    WAL_OK(wal_file_end(file, &wal_err, &end, &page_bytes, &page_count));
    WAL_OK(wal_snapshot_begin(file, &wal_err, &snapshot));
    unsigned char *image = wal_image(db, &bytes);
    assert_int_equal(bytes, (int64_t)wal_snapshot_page_count(snapshot) * page_bytes);
    assert_int_equal(wal_snapshot_page_count(snapshot), page_count);
    unsigned char page[65536];
    for (uint32_t number = 1; number <= page_count; number++) {
        if (number == wal_lock_page(page_bytes))
            continue;
        WAL_OK(wal_snapshot_page(snapshot, number, page, &wal_err));
        assert_memory_equal(page, image + (size_t)(number - 1) * page_bytes, page_bytes);
    }
    sqlite3_free(image);
    wal_snapshot_end(snapshot);
}

/* Checkpoints of others, too, take the write lock for a moment. */
static inline struct wal_append *wal_begin_append(struct wal_file *file)
{
    struct wal_append *append = NULL;
    sq_status status = SQ_BUSY;
    for (int try_count = 0; status == SQ_BUSY && try_count < 10000; try_count++) {
        status = wal_append_begin(file, &wal_err, &append);
        if (status == SQ_BUSY)
            poll(NULL, 0, 1);
    }
    WAL_OK(status);
    return append;
}

/* Appends what was committed to `source` since `*since` to `target`, as one transaction, and moves *since on. */
static inline struct wal_place wal_copy(struct wal_file *source, struct wal_place *since, struct wal_file *target)
{
    struct wal_place end;
    struct wal_place place;
    uint32_t page_bytes;
    uint32_t page_count;
    unsigned char page[65536];
    uint32_t last_count = 0;
    WAL_OK(wal_file_end(source, &wal_err, &end, &page_bytes, &page_count));
    if (since->salt1 != end.salt1 || since->salt2 != end.salt2)
        since->frame_count = 0;
    assert_true(since->frame_count < end.frame_count);
    struct wal_append *append = wal_begin_append(target);
    for (uint32_t i = since->frame_count; i < end.frame_count; i++) {
        uint32_t number = 0;
        WAL_OK(wal_file_frame(source, &end, i, &wal_err, &number, &last_count, page));
        WAL_OK(wal_append_page(append, number, page, &wal_err));
    }
    assert_int_equal(last_count, page_count);
    struct wal_place said = wal_append_end(append);
    struct wal_state before = *wal_append_found(append);
    struct wal_state state;
    uint64_t sum = wal_append_seal(append, page_count);
    WAL_OK(wal_append_commit(append, page_count, &wal_err, &place));
    WAL_OK(wal_file_state(target, &wal_err, &state));
    assert_memory_equal(&state.place, &place, sizeof(place));
    assert_true(state.sum == sum && sum != 0 && sum != before.sum);
    assert_int_equal(state.change_count, before.change_count + 1);
    assert_int_equal(state.page_count, page_count);
    assert_memory_equal(&said, &place, sizeof(place));
    for (uint32_t i = 1; i <= end.frame_count - since->frame_count; i++) {
        uint32_t number = 0;
        uint32_t commit = 0;
        WAL_OK(wal_file_frame(target, &place, place.frame_count - i, &wal_err, &number, &commit, page));
        assert_int_equal(commit, i == 1 ? page_count : 0);
    }
    *since = end;
    return place;
}

static inline struct wal_place wal_end_of(struct wal_file *file)
{
    struct wal_place end;
    uint32_t page_bytes;
    uint32_t page_count;
    WAL_OK(wal_file_end(file, &wal_err, &end, &page_bytes, &page_count));
    return end;
}

static inline void wal_copy_file(const char *from_dir, const char *from_name, const char *to_dir, const char *to_name)
{
    char path[PATH_MAX + 32];
    char block[65536];
    snprintf(path, sizeof(path), "%s/%s", from_dir, from_name);
    int from = open(path, O_RDONLY);
    assert_true(from >= 0);
    snprintf(path, sizeof(path), "%s/%s", to_dir, to_name);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(to >= 0);
    ssize_t got;
    while ((got = read(from, block, sizeof(block))) > 0)
        assert_int_equal(write(to, block, (size_t)got), got);
    assert_int_equal(got, 0);
    close(to);
    close(from);
}

#endif
