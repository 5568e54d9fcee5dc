/* What is committed is there after a crash, whatever has been rolled back in between: transactions larger than the page cache, with savepoints and
 * statements that fail. After each commit the files are copied as a crash would leave them, and read by SQLite alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "../../lib/scratch.h"
#include "engine/database.h"
#include "engine/vfs.h"

enum { ROUNDS = 15, ROWS = 400 };

static char dir[PATH_MAX];
static uint64_t seed;

static unsigned below(unsigned limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % limit;
}

static void exec(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    int result = sqlite3_exec(db, sql, NULL, NULL, &message);
    /* A statement that is made to fail takes back what it did. */
    if (result != SQLITE_OK && result != SQLITE_CONSTRAINT)
        fail_msg("%s: %s", sql, message);
    sqlite3_free(message);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[65536];
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, bytes, sizeof(bytes))) > 0;)
        assert_int_equal(write(out, bytes, (size_t)got), got);
    close(in);
    close(out);
}

static unsigned char *image_of(sqlite3 *db, sqlite3_int64 *ret_bytes)
{
    unsigned char *image = sqlite3_serialize(db, "main", ret_bytes, 0);
    assert_non_null(image);
    return image;
}

/* Whether a server that starts after a crash finds what `db` has. */
static bool survives_a_crash(sqlite3 *db)
{
    char from[PATH_MAX + 16];
    char to[PATH_MAX + 16];
    sqlite3 *after = NULL;
    sqlite3_int64 bytes = 0;
    sqlite3_int64 after_bytes = 0;
    snprintf(from, sizeof(from), "%s/a.db", dir);
    snprintf(to, sizeof(to), "%s/b.db", dir);
    copy_file(from, to);
    snprintf(from, sizeof(from), "%s/a.db-wal", dir);
    snprintf(to, sizeof(to), "%s/b.db-wal", dir);
    copy_file(from, to);
    snprintf(to, sizeof(to), "%s/b.db", dir);
    assert_int_equal(sqlite3_open_v2(to, &after, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    unsigned char *image = image_of(db, &bytes);
    unsigned char *after_image = image_of(after, &after_bytes);
    bool is_same = bytes == after_bytes && memcmp(image, after_image, (size_t)bytes) == 0;
    sqlite3_free(image);
    sqlite3_free(after_image);
    sqlite3_close(after);
    return is_same;
}

static void update(sqlite3 *db)
{
    char sql[160];
    unsigned first = below(ROWS);
    unsigned last = first + below(200);
    if (below(8) == 0) /* fails at its last row */
        snprintf(sql, sizeof(sql), "UPDATE t SET b = randomblob(900), c = CASE a WHEN %u THEN NULL ELSE 2 END WHERE a BETWEEN %u AND %u",
                 last, first, last);
    else
        snprintf(sql, sizeof(sql), "UPDATE t SET b = randomblob(900), c = 1 WHERE a BETWEEN %u AND %u", first, last);
    exec(db, sql);
}

static void updates(sqlite3 *db, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        update(db);
}

static sqlite3 *make_database(int page_bytes, const char *vfs)
{
    char path[PATH_MAX + 16];
    char sql[64];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/a.db", dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs), SQLITE_OK);
    snprintf(sql, sizeof(sql), "PRAGMA page_size=%d", page_bytes);
    exec(db, sql);
    exec(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=10; PRAGMA synchronous=NORMAL;"
             "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c NOT NULL);"
             "WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < 400)"
             "INSERT INTO t SELECT value, randomblob(900), 0 FROM s;"
             "CREATE TABLE n(n); INSERT INTO n VALUES (0)");
    return db;
}

/* How often something was lost. */
static unsigned work(sqlite3 *db)
{
    unsigned lost_count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        exec(db, "BEGIN");
        updates(db, below(3));
        exec(db, "SAVEPOINT outer_one");
        updates(db, 1 + below(3));
        exec(db, "SAVEPOINT inner_one");
        updates(db, below(4));
        exec(db, below(2) == 0 ? "ROLLBACK TO inner_one" : "RELEASE inner_one");
        updates(db, below(2));
        exec(db, below(4) > 0 ? "ROLLBACK TO outer_one" : "RELEASE outer_one");
        updates(db, below(4));
        exec(db, below(6) == 0 ? "ROLLBACK" : "COMMIT");
        exec(db, "UPDATE n SET n = n + 1");
        lost_count += !survives_a_crash(db);
        if (round % 10 == 9)
            exec(db, "PRAGMA wal_checkpoint(RESTART)");
    }
    return lost_count;
}

static int set_up(void **state)
{
    (void)state;
    scratch_make_directory(dir);
    seed = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove_directory(dir);
    return 0;
}

static void what_is_committed_after_a_rollback_survives_a_crash(void **state)
{
    (void)state;
    for (int page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
        sqlite3 *db = make_database(page_bytes, ENGINE_VFS_NAME);
        assert_int_equal(work(db), 0);
        sqlite3_close(db);
        scratch_empty_directory(dir, NULL);
    }
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_committed_after_a_rollback_survives_a_crash, set_up, tear_down),
    };
    struct sq_error err;
    if (engine_init(NULL, &err) != SQ_OK || engine_vfs_register(0, &err) != SQ_OK)
        return 1;
    if (argument_count > 1) { /* for whoever wonders whether the handle is still needed: "unix" is SQLite alone */
        set_up(NULL);
        sqlite3 *db = make_database(4096, arguments[1]);
        printf("SQLite %s: %u of %d transactions lose something\n", sqlite3_libversion(), work(db), ROUNDS);
        sqlite3_close(db);
        tear_down(NULL);
        return 0;
    }
    return cmocka_run_group_tests_name("engine/vfs_wal", tests, NULL, NULL);
}
