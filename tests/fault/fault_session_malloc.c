/* tests/fault/fault_session_malloc.c: every allocation of a conversation fails in turn, sqld's own and SQLite's,
 * alone, and every fifth one together with all that follow. Whatever fails:
 *   1. nothing crashes, nothing leaks (with AddressSanitizer), every answer obeys the protocol (session_fixture.h);
 *   2. every request is answered, or the connection is closed;
 *   3. a session that was not closed works again as soon as there is memory;
 *   4. the database is as before the conversation or as after one of its statements, never between.
 *
 * sqld's allocations are caught by the linker (--wrap), SQLite's by its own allocator table. A scene is a conversation;
 * its n-th allocation fails for n = 1, 2, … until the conversation meets no failure. fsync() is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "../lib/session_fixture.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);
int fsync(int fd);
int fdatasync(int fd);

enum {
    ALLOCATIONS_MAX = 100 * 1000,
    RUNS_MAX = 100 * 1000,
    PERSISTENT_STEP = 5, /* failures that last mostly end at the same place, wherever they begin */
};

/* --- The allocator ------------------------------------------------------------------------------------------------------- */

static struct {
    bool is_armed;
    bool is_persistent; /* what follows the failing one fails too */
    size_t fail_at;
    size_t count;
    bool has_failed;
} fault;

static bool must_fail(void)
{
    if (!fault.is_armed)
        return false;
    fault.count++;
    bool fails = fault.count == fault.fail_at || (fault.is_persistent && fault.count > fault.fail_at);
    fault.has_failed = fault.has_failed || fails;
    return fails;
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

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
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
    int result = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_methods);
    sq_assert(result == SQLITE_OK);
    sqlite3_mem_methods counted = sqlite_methods;
    counted.xMalloc = sqlite_malloc;
    counted.xRealloc = sqlite_realloc;
    result = sqlite3_config(SQLITE_CONFIG_MALLOC, &counted);
    sq_assert(result == SQLITE_OK);
}

/* --- Scenes ---------------------------------------------------------------------------------------------------------------- */

/* What a client says, and what may be true of the database afterwards. */
struct scene {
    const char *name;
    void (*put_cb)(struct sq_buf *in); /* what it sends; NULL: the queries */
    const char *const *queries;        /* NULL-terminated */
    bool is_startup;                   /* the start-up itself is put to the test */
    const char *check;                 /* gives one number … */
    const char *allowed;               /* … of these, blank before and behind each */
};

static void put_query(struct sq_buf *in, const char *sql)
{
    pgwire_put_query(in, sql, strlen(sql));
}

static void put_startup(struct sq_buf *in)
{
    size_t offset = pgwire_put_startup_begin(in, PGWIRE_VERSION_3_0);
    pgwire_put_startup_parameter(in, "user", "me");
    pgwire_put_startup_parameter(in, "database", "main");
    pgwire_put_startup_parameter(in, "application_name", "fault");
    pgwire_put_startup_parameter(in, "options", "-c lock_timeout=1s");
    pgwire_put_startup_end(in, offset);
}

static void put_statement(struct sq_buf *in, const char *name, const char *sql, const char *value)
{
    size_t offset = pgwire_put_parse_begin(in, name, sql, strlen(sql), 0);
    pgwire_end(in, offset);
    pgwire_put_describe(in, PGWIRE_TARGET_STATEMENT, name);
    offset = pgwire_put_bind_begin(in, name, name, NULL, 0, value != NULL ? 1 : 0);
    if (value != NULL)
        pgwire_put_value(in, value, strlen(value));
    static const uint16_t binary = PGWIRE_FORMAT_BINARY;
    pgwire_put_bind_end(in, offset, &binary, 1);
    pgwire_put_describe(in, PGWIRE_TARGET_PORTAL, name);
    pgwire_put_execute(in, name, 1);
    pgwire_put_execute(in, name, 0);
    pgwire_put_close(in, PGWIRE_TARGET_PORTAL, name);
}

static void put_extended_read(struct sq_buf *in)
{
    put_statement(in, "", "SELECT id, name, score + 1, data FROM t WHERE id > $1", "0");
    pgwire_put_sync(in);
    put_statement(in, "named", "SELECT name FROM t WHERE name <> $1 ORDER BY name", "x");
    pgwire_put_sync(in);
}

static void put_pipeline(struct sq_buf *in)
{
    put_statement(in, "a", "INSERT INTO t(name) VALUES ($1) RETURNING id", "p");
    put_statement(in, "b", "INSERT INTO t(name) VALUES ($1)", "q");
    pgwire_put_sync(in);
}

static void put_copy_in(struct sq_buf *in)
{
    static const char rows[] = "10\tten\t1.5\t\\\\x00ff\n11\televen\t\\N\t\\N\n12\ttwelve\t2\tplain\n";
    put_query(in, "COPY t(id, name, score, data) FROM STDIN");
    pgwire_put_copy_data(in, rows, 20);
    pgwire_put_copy_data(in, rows + 20, sizeof(rows) - 1 - 20);
    pgwire_put_copy_done(in);
}

static const char *const simple_read[] = {"SELECT * FROM t; SELECT current_user, count(*) FROM t", NULL};
static const char *const simple_write[] = {"INSERT INTO t(name) VALUES ('a') RETURNING *", "UPDATE t SET score = 1",
                                           "DELETE FROM t WHERE id = 1", NULL};
static const char *const definitions[] = {"CREATE TABLE n(a, b UNIQUE)", "CREATE INDEX n_a ON n(a)", "DROP TABLE n",
                                          NULL};
static const char *const transactions[] = {
    "BEGIN", "INSERT INTO t(name) VALUES ('a')", "SAVEPOINT s", "DELETE FROM t", "ROLLBACK TO s", "COMMIT", NULL};
static const char *const cursors[] = {
    "BEGIN", "DECLARE c CURSOR FOR SELECT * FROM t", "FETCH 1 FROM c", "FETCH ALL FROM c", "CLOSE c", "COMMIT", NULL};
static const char *const prepares[] = {"PREPARE p(int, text) AS SELECT $1 + 1, $2", "EXECUTE p(1, 'x')", "DEALLOCATE p",
                                       NULL};
static const char *const settings[] = {"SET application_name = 'x'",
                                       "BEGIN; SET LOCAL lock_timeout = '2s'; COMMIT",
                                       "SHOW lock_timeout",
                                       "SHOW connections",
                                       "RESET ALL",
                                       NULL};
static const char *const notifications[] = {"LISTEN a",
                                            "BEGIN; NOTIFY a, 'x'; NOTIFY a; COMMIT",
                                            "BEGIN; LISTEN b; SAVEPOINT s; NOTIFY a, 'z'; ROLLBACK TO s; COMMIT",
                                            "SELECT pg_notify('a', 'y')",
                                            "UNLISTEN *",
                                            NULL};
static const char *const copies_out[] = {"COPY t TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (name))",
                                         "COPY (SELECT 1, 'x') TO STDOUT", NULL};
static const char *const failures[] = {"SELEC 1", "SELECT * FROM nowhere", "INSERT INTO t(id) VALUES (1)",
                                       "SELECT nope(1)", NULL};
static const char *const databases[] = {"CREATE DATABASE d",
                                        "ATTACH 'd' AS other",
                                        "SELECT * FROM other.sqlite_schema",
                                        "DETACH other",
                                        "ALTER DATABASE d RENAME TO e",
                                        "DROP DATABASE e",
                                        NULL};
static const char *const discards[] = {"CREATE TEMP TABLE x(a)", "DISCARD ALL", "SELECT 1", NULL};

static const char rows_of_t[] = "SELECT count(*) FROM t";

static const struct scene scenes[] = {
    {.name = "start-up", .put_cb = put_startup, .is_startup = true, .check = rows_of_t, .allowed = " 3 "},
    {.name = "simple reads", .queries = simple_read, .check = rows_of_t, .allowed = " 3 "},
    {.name = "simple writes", .queries = simple_write, .check = rows_of_t, .allowed = " 2 3 4 "},
    {.name = "definitions", .queries = definitions, .check = rows_of_t, .allowed = " 3 "},
    /* Each statement of the transaction may have failed by itself. */
    {.name = "transactions", .queries = transactions, .check = rows_of_t, .allowed = " 0 3 4 "},
    {.name = "cursors", .queries = cursors, .check = rows_of_t, .allowed = " 3 "},
    {.name = "PREPARE", .queries = prepares, .check = rows_of_t, .allowed = " 3 "},
    {.name = "settings", .queries = settings, .check = rows_of_t, .allowed = " 3 "},
    {.name = "notifications", .queries = notifications, .check = rows_of_t, .allowed = " 3 "},
    {.name = "COPY TO", .queries = copies_out, .check = rows_of_t, .allowed = " 3 "},
    {.name = "failures", .queries = failures, .check = rows_of_t, .allowed = " 3 "},
    {.name = "databases", .queries = databases, .check = rows_of_t, .allowed = " 3 "},
    {.name = "DISCARD", .queries = discards, .check = rows_of_t, .allowed = " 3 "},
    {.name = "extended reads", .put_cb = put_extended_read, .check = rows_of_t, .allowed = " 3 "},
    {.name = "a pipeline, all or nothing", .put_cb = put_pipeline, .check = rows_of_t, .allowed = " 3 5 "},
    {.name = "COPY FROM, all or nothing", .put_cb = put_copy_in, .check = rows_of_t, .allowed = " 3 6 "},
};

/* --- Playing ---------------------------------------------------------------------------------------------------------------- */

static struct session_fixture server;

static void note_number(void *context, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_data_row row;
    struct pgwire_value value;
    if (frame->type == PGWIRE_DATA_ROW && pgwire_data_row_decode(frame, &err, &row) == SQ_OK &&
        pgwire_values_next(&row.columns, &value))
        snprintf(context, 32, " %.*s ", (int)value.length, (const char *)value.data);
}

/* Runs until the client has everything; armed only while the session works. */
static void play(struct fixture_client *client, bool is_armed, char number[32])
{
    for (int i = 0; i < RUNS_MAX; i++) {
        fault.is_armed = is_armed;
        client->want = session_run(client->session, &client->in, &client->out);
        fault.is_armed = false;
        answers_take(&client->answers, &client->out, number, number != NULL ? note_number : NULL);
        if (client->want == SESSION_NEED_INPUT || client->want == SESSION_CLOSE)
            return;
    }
    fail_msg("the session does not come to rest");
}

static void log_in(struct fixture_client *client)
{
    fixture_client_open(client, &server);
    put_startup(&client->in);
    play(client, false, NULL);
    assert_int_equal(client->want, SESSION_NEED_INPUT);
}

static uint8_t pristine[64 * 1024]; /* the database file as it is before each conversation */
static size_t pristine_bytes;

static void make_database(void)
{
    char path[PATH_MAX + 16];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/main.db", server.dir);
    sq_assert(sqlite3_open(path, &db) == SQLITE_OK);
    int result =
        sqlite3_exec(db,
                     "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, score REAL, data BLOB); INSERT INTO t VALUES"
                     " (1, 'one', 1.5, x'00'), (2, 'two', NULL, NULL), (3, 'three', 3, x'ff')",
                     NULL, NULL, NULL);
    sq_assert(result == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, pristine, sizeof(pristine));
    sq_assert(got > 0 && (size_t)got < sizeof(pristine));
    pristine_bytes = (size_t)got;
    close(fd);
}

static void reset_database(void)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/main.db", server.dir);
    scratch_empty_directory(server.dir, "sqld.lock");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t written = write(fd, pristine, pristine_bytes);
    assert_int_equal(written, (ssize_t)pristine_bytes);
    close(fd);
}

/* Rule 4, seen by another client, which also shows that no lock was left behind. */
static void check_database(const struct scene *scene, size_t fail_at)
{
    struct fixture_client client;
    char number[32] = "";
    log_in(&client);
    put_query(&client.in, "INSERT INTO t(name) VALUES ('last'); DELETE FROM t WHERE name = 'last'");
    put_query(&client.in, scene->check);
    play(&client, false, number);
    assert_int_equal(client.answers.error_count, 0);
    if (strstr(scene->allowed, number) == NULL)
        fail_msg("allocation %zu: %s gives%s", fail_at, scene->check, number);
    fixture_client_close(&client);
}

/* Rule 3. */
static void check_session(struct fixture_client *client, size_t fail_at)
{
    char number[32] = "";
    size_t ready_count = client->answers.ready_count;
    put_query(&client->in, "ROLLBACK");
    put_query(&client->in, "SELECT 42");
    play(client, false, number);
    if (client->want != SESSION_NEED_INPUT || client->answers.ready_count != ready_count + 2 ||
        strcmp(number, " 42 ") != 0)
        fail_msg("allocation %zu: the session is broken afterwards", fail_at);
}

static size_t requests_of(const struct sq_buf *in)
{
    size_t count = 0, needed = 0;
    const uint8_t *at = sq_buf_bytes(in);
    size_t left = sq_buf_length(in);
    struct pgwire_frame frame;
    struct sq_error err;
    while (pgwire_frame_next(at, left, FIXTURE_BUFFER_BYTES_MAX, &err, &frame, &needed) == PGWIRE_FRAME_READY) {
        count += frame.type == PGWIRE_QUERY || frame.type == PGWIRE_SYNC;
        at += frame.total_bytes;
        left -= frame.total_bytes;
    }
    return count;
}

/* The conversation with one failing allocation; false: it met none. */
static bool play_with_fault(const struct scene *scene, size_t fail_at)
{
    struct fixture_client client;
    struct sq_error err;
    fault.fail_at = fail_at;
    fault.count = 0;
    fault.has_failed = false;
    if (scene->is_startup) {
        fault.is_armed = true;
        sq_status status = fixture_client_try_open(&client, &server, &err);
        fault.is_armed = false;
        if (status != SQ_OK) {
            assert_int_equal(status, SQ_NOMEM);
            return true;
        }
    } else {
        log_in(&client);
    }
    if (scene->put_cb != NULL)
        scene->put_cb(&client.in);
    for (size_t i = 0; scene->queries != NULL && scene->queries[i] != NULL; i++)
        put_query(&client.in, scene->queries[i]);
    size_t expected = client.answers.ready_count + (scene->is_startup ? 1 : requests_of(&client.in));
    play(&client, true, NULL);
    /* A conversation whose answers do not fit into memory is cut off; every other one is answered to its end. */
    if (client.want == SESSION_NEED_INPUT && client.answers.ready_count != expected)
        fail_msg("allocation %zu: %zu answers to %zu requests", fail_at, client.answers.ready_count, expected);
    if (client.want == SESSION_NEED_INPUT)
        check_session(&client, fail_at);
    fault.is_armed = fault.is_persistent && fault.has_failed;
    session_free(client.session);
    fault.is_armed = false;
    client.session = NULL;
    sq_buf_done(&client.in);
    sq_buf_done(&client.out);
    return fault.has_failed;
}

static void every_allocation_fails_in_turn(void **state)
{
    const struct scene *scene = *state;
    reset_database();
    for (int is_persistent = 0; is_persistent < 2; is_persistent++) {
        fault.is_persistent = is_persistent != 0;
        size_t fail_at = 1;
        while (fail_at < ALLOCATIONS_MAX && play_with_fault(scene, fail_at)) {
            check_database(scene, fail_at);
            reset_database();
            fail_at += fault.is_persistent ? PERSISTENT_STEP : 1;
        }
        check_database(scene, 0);
        reset_database();
        /* Without a failure a conversation has allocated something, and not without end. */
        assert_true(fail_at > 5 && fail_at < ALLOCATIONS_MAX);
    }
}

int main(void)
{
    /* The files are replaced between conversations: no connection may outlive one. */
    static const char *const options[] = {"--log-level=error", "--idle-connections=0", NULL};
    struct sq_error err;
    count_sqlite();
    if (engine_init(NULL, &err) != SQ_OK || sq_log_open("/dev/null", &err) != SQ_OK)
        return 1;
    fixture_open(&server, options);
    make_database();
    enum { SCENE_COUNT = sizeof(scenes) / sizeof(scenes[0]) };
    struct CMUnitTest tests[SCENE_COUNT];
    for (size_t i = 0; i < SCENE_COUNT; i++) {
        union {
            const struct scene *scene;
            void *state;
        } initial = {.scene = &scenes[i]};
        tests[i] = (struct CMUnitTest){
            .name = scenes[i].name, .test_func = every_allocation_fails_in_turn, .initial_state = initial.state};
    }
    int failed = cmocka_run_group_tests_name("fault/session_malloc", tests, NULL, NULL);
    fixture_close(&server);
    return failed;
}
