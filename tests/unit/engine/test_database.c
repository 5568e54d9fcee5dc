/* The data directory: which databases there are, who uses them, and what is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sqlite3.h>

#include "../../lib/scratch.h"
#include "engine/database.h"

enum { THREADS = 4, ROUNDS = 60 };

static char dir[PATH_MAX];
static struct engine_registry *registry;
static struct sq_error err;

static int set_up(void **state)
{
    (void)state;
    scratch_make_directory(dir);
    assert_int_equal(engine_registry_open(dir, "main", &err, &registry), SQ_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_registry_free(registry);
    scratch_remove_directory(dir);
    return 0;
}

static void path_of(char path[PATH_MAX + 128], const char *file)
{
    snprintf(path, PATH_MAX + 128, "%s/%s", dir, file);
}

static bool has_file(const char *file)
{
    char path[PATH_MAX + 128];
    path_of(path, file);
    return access(path, F_OK) == 0;
}

static void write_file(const char *file, const char *text)
{
    char path[PATH_MAX + 128];
    path_of(path, file);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* Runs `sql` on the database's file as the sqlite3 shell would; the first column of the last row, or -1. */
static int64_t shell(const char *name, const char *sql)
{
    char file[128], path[PATH_MAX + 128];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;
    snprintf(file, sizeof(file), "%s.db", name);
    path_of(path, file);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    for (const char *tail = sql; *tail != '\0';) {
        if (sqlite3_prepare_v2(db, tail, -1, &stmt, &tail) != SQLITE_OK)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        if (sqlite3_step(stmt) == SQLITE_ROW)
            value = sqlite3_column_int64(stmt, 0);
        assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

static void create(const char *name)
{
    if (engine_database_create(registry, name, &err) != SQ_OK)
        fail_msg("%s: %s", name, err.text);
}

/* --- The directory -------------------------------------------------------------------------------------------------- */

static void a_new_directory_has_the_default_database_as_a_plain_sqlite_file(void **state)
{
    (void)state;
    assert_true(engine_database_exists(registry, "main"));
    assert_string_equal(engine_registry_default_name(registry), "main");
    assert_int_equal(shell("main", "CREATE TABLE t(a); INSERT INTO t VALUES (7); SELECT a FROM t"), 7);
    assert_int_equal(shell("main", "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}

static void a_directory_has_one_server_at_a_time(void **state)
{
    (void)state;
    struct engine_registry *second = NULL;
    char pid[32];
    assert_int_equal(engine_registry_open(dir, "main", &err, &second), SQ_BUSY);
    assert_null(second);
    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    assert_non_null(strstr(err.text, pid));
    assert_true(err.hint[0] != '\0');
    engine_registry_free(registry);
    assert_int_equal(engine_registry_open(dir, "main", &err, &registry), SQ_OK);
}

static void opening_again_finds_what_was_there(void **state)
{
    (void)state;
    create("kept");
    shell("kept", "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    engine_registry_free(registry);
    assert_int_equal(engine_registry_open(dir, "main", &err, &registry), SQ_OK);
    assert_int_equal(shell("kept", "SELECT count(*) FROM t"), 1);
}

static void a_directory_that_cannot_be_made_is_refused(void **state)
{
    (void)state;
    struct engine_registry *none = NULL;
    char path[PATH_MAX + 128];
    path_of(path, "no/such/parent");
    assert_int_equal(engine_registry_open(path, "main", &err, &none), SQ_IO);
    assert_true(err.hint[0] != '\0');
    write_file("file", "");
    path_of(path, "file");
    assert_int_equal(engine_registry_open(path, "main", &err, &none), SQ_IO);
    assert_int_equal(engine_registry_open(dir, "../main", &err, &none), SQ_INVALID);
    assert_null(none);
}

struct listing {
    char names[256];
    int64_t bytes;
};

static void note_database(void *context, const char *name, int64_t bytes)
{
    struct listing *listing = context;
    size_t used = strlen(listing->names);
    snprintf(listing->names + used, sizeof(listing->names) - used, "%s ", name);
    listing->bytes += bytes;
}

static void the_list_is_by_name_and_knows_only_databases(void **state)
{
    (void)state;
    struct listing listing = {0};
    char path[PATH_MAX + 128];
    create("zebra");
    create("Ape");
    write_file("notes.txt", "no database");
    write_file(".db", "no name");
    write_file("bad name.db", "bad name");
    path_of(path, "folder.db");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(engine_registry_list(registry, &err, &listing, note_database), SQ_OK);
    assert_int_equal(rmdir(path), 0);
    assert_string_equal(listing.names, "Ape main zebra ");
    assert_true(listing.bytes >= 3 * 512);
}

/* --- Names ---------------------------------------------------------------------------------------------------------- */

static void names_stay_inside_the_directory(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    ".",        "..",  ".hidden", "-rf",  "a/b", "../x", "a b", "a\nb",
                                      "a%b", "\xc3\xa4", "a;b", "a'b",     "a\"b", "~",   "a\\b", "a*",  "$HOME"};
    static const char *const good[] = {"a", "A-1_b.c", "0", "_", "a..b", "main.db", "a-"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct engine_database *database = NULL;
        assert_false(engine_database_name_is_valid(bad[i]));
        assert_false(engine_database_exists(registry, bad[i]));
        assert_int_equal(engine_database_create(registry, bad[i], &err), SQ_INVALID);
        assert_string_equal(err.sqlstate, "42602");
        assert_int_equal(engine_database_rename(registry, "main", bad[i], &err), SQ_INVALID);
        assert_int_equal(engine_database_open(registry, bad[i], &err, &database), SQ_NOT_FOUND);
        assert_int_equal(engine_database_drop(registry, bad[i], &err), SQ_NOT_FOUND);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        create(good[i]);
        assert_true(engine_database_exists(registry, good[i]));
    }
}

static void a_name_has_63_bytes_at_most(void **state)
{
    (void)state;
    char name[ENGINE_DATABASE_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[ENGINE_DATABASE_NAME_MAX + 1] = '\0';
    assert_int_equal(engine_database_create(registry, name, &err), SQ_INVALID);
    name[ENGINE_DATABASE_NAME_MAX] = '\0';
    create(name);
    struct engine_database *database = NULL;
    assert_int_equal(engine_database_open(registry, name, &err, &database), SQ_OK);
    assert_string_equal(engine_database_name(database), name);
    engine_database_unref(database);
}

/* --- Create, drop, rename ---------------------------------------------------------------------------------------------- */

static void what_exists_cannot_be_created_again(void **state)
{
    (void)state;
    create("d");
    shell("d", "CREATE TABLE t(a)");
    assert_int_equal(engine_database_create(registry, "d", &err), SQ_EXISTS);
    assert_string_equal(err.sqlstate, "42P04");
    assert_int_equal(shell("d", "SELECT count(*) FROM sqlite_schema"), 1);
}

static void what_does_not_exist_cannot_be_opened_dropped_or_renamed(void **state)
{
    (void)state;
    struct engine_database *database = NULL;
    assert_int_equal(engine_database_open(registry, "none", &err, &database), SQ_NOT_FOUND);
    assert_string_equal(err.sqlstate, "3D000");
    assert_null(database);
    assert_int_equal(engine_database_drop(registry, "none", &err), SQ_NOT_FOUND);
    assert_string_equal(err.sqlstate, "3D000");
    assert_int_equal(engine_database_rename(registry, "none", "other", &err), SQ_NOT_FOUND);
    assert_false(has_file("none.db"));
}

static void a_database_in_use_is_neither_dropped_nor_renamed(void **state)
{
    (void)state;
    struct engine_database *first = NULL, *second = NULL;
    create("d");
    assert_int_equal(engine_database_open(registry, "d", &err, &first), SQ_OK);
    assert_int_equal(engine_database_open(registry, "d", &err, &second), SQ_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(engine_database_drop(registry, "d", &err), SQ_BUSY);
    assert_string_equal(err.sqlstate, "55006");
    assert_non_null(strstr(err.detail, "2"));
    engine_database_unref(first);
    assert_int_equal(engine_database_rename(registry, "d", "e", &err), SQ_BUSY);
    engine_database_ref(second);
    engine_database_unref(second);
    assert_int_equal(engine_database_drop(registry, "d", &err), SQ_BUSY);
    engine_database_unref(second);
    assert_int_equal(engine_database_drop(registry, "d", &err), SQ_OK);
    assert_false(has_file("d.db"));
}

static void the_default_database_stays(void **state)
{
    (void)state;
    assert_int_equal(engine_database_drop(registry, "main", &err), SQ_INVALID);
    assert_int_equal(engine_database_rename(registry, "main", "other", &err), SQ_INVALID);
    assert_true(engine_database_exists(registry, "main"));
}

static void dropping_takes_the_wal_along(void **state)
{
    (void)state;
    create("d");
    write_file("d.db-wal", "left over");
    write_file("d.db-shm", "left over");
    assert_int_equal(engine_database_drop(registry, "d", &err), SQ_OK);
    assert_false(has_file("d.db"));
    assert_false(has_file("d.db-wal"));
    assert_false(has_file("d.db-shm"));
}

/* A real WAL with committed rows, as a server that was killed between the two unlink() of a drop leaves it. */
static void a_left_over_wal_is_not_replayed_into_a_new_database(void **state)
{
    (void)state;
    char path[PATH_MAX + 128];
    sqlite3 *db = NULL;
    int enabled = 0;
    create("d");
    path_of(path, "d.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, &enabled), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE ghost(a); INSERT INTO ghost VALUES (1)", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_true(has_file("d.db-wal"));
    assert_int_equal(unlink(path), 0);
    assert_false(engine_database_exists(registry, "d"));
    create("d");
    assert_int_equal(shell("d", "SELECT count(*) FROM sqlite_schema"), 0);
}

static void renaming_keeps_what_is_only_in_the_wal(void **state)
{
    (void)state;
    char path[PATH_MAX + 128];
    sqlite3 *db = NULL;
    int enabled = 0;
    create("old");
    path_of(path, "old.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, &enabled), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a); INSERT INTO t VALUES (5)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_true(has_file("old.db-wal"));
    write_file("new.db-wal", "of somebody else");
    assert_int_equal(engine_database_rename(registry, "old", "new", &err), SQ_OK);
    assert_false(has_file("old.db"));
    assert_false(has_file("old.db-wal"));
    assert_int_equal(shell("new", "SELECT a FROM t"), 5);
    create("old");
    assert_int_equal(shell("old", "SELECT count(*) FROM sqlite_schema"), 0);
}

static void renaming_onto_another_database_is_refused(void **state)
{
    (void)state;
    create("a");
    create("b");
    shell("b", "CREATE TABLE t(a)");
    assert_int_equal(engine_database_rename(registry, "a", "b", &err), SQ_EXISTS);
    assert_string_equal(err.sqlstate, "42P04");
    assert_int_equal(shell("b", "SELECT count(*) FROM sqlite_schema"), 1);
    assert_true(has_file("a.db"));
}

/* --- Threads ---------------------------------------------------------------------------------------------------------- */

static void *open_and_drop(void *context)
{
    struct sq_error failure;
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        struct engine_database *database = NULL;
        sq_status status = engine_database_open(registry, "shared", &failure, &database);
        if (status == SQ_OK) {
            /* It is in use: nobody can take it away. */
            sq_assert(engine_database_drop(registry, "shared", &failure) == SQ_BUSY);
            sq_assert(engine_database_exists(registry, "shared"));
            engine_database_unref(database);
        }
        status = i % 3 == 0 ? engine_database_drop(registry, "shared", &failure)
                            : engine_database_create(registry, "shared", &failure);
        sq_assert(status == SQ_OK || status == SQ_BUSY || status == SQ_EXISTS || status == SQ_NOT_FOUND);
    }
    return NULL;
}

static void no_thread_loses_a_database_that_it_has_open(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_drop, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    sq_status status = engine_database_drop(registry, "shared", &err);
    assert_true(status == SQ_OK || status == SQ_NOT_FOUND);
}

#define DATABASE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    if (engine_init(NULL, &err) != SQ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        DATABASE_TEST(a_new_directory_has_the_default_database_as_a_plain_sqlite_file),
        DATABASE_TEST(a_directory_has_one_server_at_a_time),
        DATABASE_TEST(opening_again_finds_what_was_there),
        DATABASE_TEST(a_directory_that_cannot_be_made_is_refused),
        DATABASE_TEST(the_list_is_by_name_and_knows_only_databases),
        DATABASE_TEST(names_stay_inside_the_directory),
        DATABASE_TEST(a_name_has_63_bytes_at_most),
        DATABASE_TEST(what_exists_cannot_be_created_again),
        DATABASE_TEST(what_does_not_exist_cannot_be_opened_dropped_or_renamed),
        DATABASE_TEST(a_database_in_use_is_neither_dropped_nor_renamed),
        DATABASE_TEST(the_default_database_stays),
        DATABASE_TEST(dropping_takes_the_wal_along),
        DATABASE_TEST(a_left_over_wal_is_not_replayed_into_a_new_database),
        DATABASE_TEST(renaming_keeps_what_is_only_in_the_wal),
        DATABASE_TEST(renaming_onto_another_database_is_refused),
        DATABASE_TEST(no_thread_loses_a_database_that_it_has_open),
    };
    return cmocka_run_group_tests_name("engine/database", tests, NULL, NULL);
}
