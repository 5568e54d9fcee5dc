/* Read locks that are counted in the process, and the map: seen from this process and from another one, which is this
 * program started again with SQLite's own VFS. */
#include <spawn.h>
#include <sys/wait.h>

#include "engine/durability.h"
#include "engine/vfs.h"
#include "engine_test.h"

extern char **environ;

static const char *program;

enum { MAP_BYTES = 1 << 20 };

/* --- The other process ---------------------------------------------------------------------------------------------- */

/* Runs `sql` on `path`; the exit code is the first column of the last row, or 100 + SQLite's primary result code. */
static int be_other(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int value = 0;
    int result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);
    while (result == SQLITE_OK && sql != NULL && sql[0] != '\0') {
        result = sqlite3_prepare_v2(db, sql, -1, &stmt, &sql);
        if (result != SQLITE_OK || stmt == NULL)
            break;
        int step;
        while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
            value = sqlite3_column_int(stmt, 0);
        result = sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    return result == SQLITE_OK ? value : 100 + (result & 0xff);
}

static int other(const char *sql)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/main.db", test.dir);
    char *argv[] = {(char *)(uintptr_t)program, path, (char *)(uintptr_t)sql, NULL};
    pid_t pid = 0;
    int status = 0;
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct engine_durability *durability(void)
{
    return engine_database_durability(test.database);
}

/* The first column of a checkpoint's row: whether somebody was in the way. */
static const char truncate_log[] = "PRAGMA wal_checkpoint(TRUNCATE)";

/* --- Locks ---------------------------------------------------------------------------------------------------------- */

static void a_reader_holds_the_log_against_another_process(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    struct engine_statement *reader = engine_test_prepare("SELECT a FROM t");
    assert_int_equal(engine_statement_step(reader, &test.err), ENGINE_STEP_ROW);
    assert_int_equal(other("INSERT INTO t VALUES (2)"), 0);
    engine_vfs_release_idle();
    assert_int_equal(other(truncate_log), 1);
    assert_int_equal(engine_statement_reset(reader, &test.err), SQ_OK);
    engine_statement_free(reader);
    assert_string_equal(engine_test_text("SELECT group_concat(a) FROM t"), "1,2");
}

static void a_lock_that_nobody_uses_is_given_back_when_asked_for(void **state)
{
    (void)state;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    assert_string_equal(engine_test_text("SELECT a FROM t"), "1");
    assert_int_equal(other(truncate_log), 1); /* still with this process */
    engine_vfs_release_idle();
    assert_int_equal(other(truncate_log), 0);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "1");
    assert_int_equal(other("INSERT INTO t VALUES (2)"), 0);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "2");
}

/* In the process nobody has to ask: who wants a slot exclusively gets it. */
static void a_lock_that_nobody_uses_hinders_nobody_here(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a)");
    for (int i = 0; i < 20; i++) {
        engine_test_exec("INSERT INTO t VALUES (1)");
        assert_string_equal(engine_test_text("SELECT count(*) > 0 FROM t"), "1");
        assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
        assert_int_equal(fill.frame_count, fill.backfilled_count);
    }
    engine_test_exec("INSERT INTO t VALUES (1)");
    assert_int_equal(engine_durability_fill(durability()).frame_count, 1);
}

static void many_readers_of_many_snapshots_see_their_own(void **state)
{
    (void)state;
    enum { READERS = 12 };
    struct engine_connection *connections[READERS];
    struct engine_statement *readers[READERS];
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (0)");
    struct engine_connection *writer = test.connection;
    for (int i = 0; i < READERS; i++) {
        engine_test_connect(NULL);
        connections[i] = test.connection;
        readers[i] = engine_test_prepare("SELECT max(a) FROM t UNION ALL SELECT max(a) FROM t");
        assert_int_equal(engine_statement_step(readers[i], &test.err), ENGINE_STEP_ROW);
        test.connection = writer;
        char sql[64];
        snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%d)", i + 1);
        engine_test_exec(sql);
        assert_int_equal(engine_durability_checkpoint(durability(), false, 0, &test.err, &fill), SQ_OK);
    }
    for (int i = 0; i < READERS; i++) {
        struct sq_value value;
        assert_int_equal(engine_statement_step(readers[i], &test.err), ENGINE_STEP_ROW);
        assert_int_equal(engine_statement_row(readers[i], &value, &test.err), SQ_OK);
        assert_int_equal(value.integer, i);
        engine_statement_free(readers[i]);
        engine_connection_free(connections[i]);
    }
    test.connection = writer;
    assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
}

static void the_last_connection_leaves_nothing_beside_the_database(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"-wal", "-shm"};
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    assert_string_equal(engine_test_text("SELECT a FROM t"), "1");
    engine_connection_free(test.connection);
    engine_database_unref(test.database);
    engine_registry_close_idle(test.registry, 0);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char path[PATH_MAX + 16];
        snprintf(path, sizeof(path), "%s/main.db%s", test.dir, suffixes[i]);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(other("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO t VALUES (2); COMMIT"), 0);
    assert_int_equal(engine_database_open(test.registry, "main", &test.err, &test.database), SQ_OK);
    engine_test_connect(NULL);
    assert_string_equal(engine_test_text("SELECT count(*) FROM t"), "2");
}

/* --- The map -------------------------------------------------------------------------------------------------------- */

static void what_the_map_shows_follows_commits_growth_and_shrinking(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    char mapped[32];
    snprintf(mapped, sizeof(mapped), "%d", MAP_BYTES);
    assert_string_equal(engine_test_text("PRAGMA mmap_size"), mapped);
    engine_test_exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)");
    engine_test_exec("INSERT INTO t VALUES (1, zeroblob(100000))");
    for (int round = 0; round < 3; round++) {
        /* Larger than the map, then small again: by this process and by another one. */
        assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
        assert_string_equal(engine_test_text("SELECT sum(length(b)) FROM t"), "100000");
        engine_test_exec("WITH RECURSIVE s(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 41)"
                         " INSERT INTO t SELECT n, zeroblob(100000) FROM s");
        assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
        assert_string_equal(engine_test_text("SELECT sum(length(b)) FROM t"), "4100000");
        engine_vfs_release_idle();
        assert_int_equal(other("DELETE FROM t WHERE a > 1; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"), 0);
        char path[PATH_MAX + 16];
        struct stat info;
        snprintf(path, sizeof(path), "%s/main.db", test.dir);
        assert_int_equal(stat(path, &info), 0);
        assert_true(info.st_size < MAP_BYTES);
        assert_string_equal(engine_test_text("SELECT sum(length(b)) FROM t"), "100000");
        assert_string_equal(engine_test_text("PRAGMA integrity_check"), "ok");
    }
}

/* Writers read through the map, too. */
static void a_writer_finds_what_another_process_has_copied_into_the_file(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER, c BLOB)");
    engine_test_exec("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100)"
                     " INSERT INTO t SELECT n, 0, zeroblob(900) FROM s");
    for (int round = 1; round <= 3; round++) {
        assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
        engine_test_exec("UPDATE t SET b = b + 1");
        engine_vfs_release_idle();
        assert_int_equal(other("UPDATE t SET b = b + 1; INSERT INTO t(b, c) SELECT b, c FROM t WHERE a <= 10;"
                               "PRAGMA wal_checkpoint(TRUNCATE)"),
                         0);
        engine_test_exec("UPDATE t SET b = b + 1 WHERE a <= 100");
        engine_test_exec("DELETE FROM t WHERE a > 100");
        char sum[32];
        snprintf(sum, sizeof(sum), "%d", 300 * round);
        assert_string_equal(engine_test_text("SELECT sum(b) FROM t"), sum);
        assert_string_equal(engine_test_text("PRAGMA integrity_check"), "ok");
    }
}

/* Of the map of the test's database file. */
static long resident_kb(void)
{
    char line[PATH_MAX + 256];
    bool is_map = false;
    long kb = 0;
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        long rss = 0;
        if (strchr(line, '-') != NULL && strstr(line, " r") != NULL)
            is_map = strstr(line, "/main.db\n") != NULL;
        else if (is_map && sscanf(line, "Rss: %ld kB", &rss) == 1)
            kb += rss;
    }
    fclose(maps);
    return kb;
}

static void the_map_of_a_file_that_nobody_reads_takes_no_memory(void **state)
{
    (void)state;
    struct engine_wal_fill fill;
    engine_test_exec("CREATE TABLE t(a, b BLOB); INSERT INTO t VALUES (1, zeroblob(500000))");
    assert_int_equal(engine_durability_checkpoint(durability(), true, 0, &test.err, &fill), SQ_OK);
    assert_string_equal(engine_test_text("SELECT sum(length(b)) FROM t WHERE instr(b, 'x') = 0"), "500000");
    assert_true(resident_kb() > 400);
    engine_vfs_release_idle();
    assert_true(resident_kb() > 400); /* somebody has read since the last time */
    engine_vfs_release_idle();
    assert_int_equal(resident_kb(), 0);
    assert_string_equal(engine_test_text("SELECT sum(length(b)) FROM t WHERE instr(b, 'x') = 0"), "500000");
    engine_vfs_release_idle();
    assert_true(resident_kb() > 400);
}

/* A file that somebody has put in the place of the database is another database. */
static void a_file_in_the_place_of_another_is_not_mixed_up_with_it(void **state)
{
    (void)state;
    char path[PATH_MAX + 16];
    char other_path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/main.db", test.dir);
    snprintf(other_path, sizeof(other_path), "%s/gone.db", test.dir);
    engine_test_exec("CREATE TABLE t(a); INSERT INTO t VALUES ('first')");
    assert_string_equal(engine_test_text("SELECT a FROM t"), "first");
    assert_int_equal(rename(path, other_path), 0);
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ENGINE_VFS_NAME), 0);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a); INSERT INTO t VALUES ('second')", NULL, NULL, NULL), 0);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT a FROM t", -1, &stmt, NULL), 0);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "second");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    assert_string_equal(engine_test_text("SELECT a FROM t"), "first");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(a_reader_holds_the_log_against_another_process),
        ENGINE_TEST(a_lock_that_nobody_uses_is_given_back_when_asked_for),
        ENGINE_TEST(a_lock_that_nobody_uses_hinders_nobody_here),
        ENGINE_TEST(many_readers_of_many_snapshots_see_their_own),
        ENGINE_TEST(the_last_connection_leaves_nothing_beside_the_database),
        ENGINE_TEST(what_the_map_shows_follows_commits_growth_and_shrinking),
        ENGINE_TEST(a_file_in_the_place_of_another_is_not_mixed_up_with_it),
        ENGINE_TEST(a_writer_finds_what_another_process_has_copied_into_the_file),
        ENGINE_TEST(the_map_of_a_file_that_nobody_reads_takes_no_memory),
    };
    if (argc == 3)
        return be_other(argv[1], argv[2]);
    program = argv[0];
    if (engine_set_mmap(MAP_BYTES, &test.err) != SQ_OK || engine_init(NULL, &test.err) != SQ_OK)
        return 1;
    return cmocka_run_group_tests_name("engine/vfs", tests, NULL, NULL);
}
