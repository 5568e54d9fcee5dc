/* tests/fault/fault_no_malloc.c: a conversation that repeats itself comes to allocate nothing. Parsing, binding, running,
 * encoding and answering then take their memory from what is kept: arenas, buffers, a spare portal, compiled statements.
 *
 * Counted are sqld's own calls, caught by the linker (--wrap); SQLite is a library of its own, with its own memory. What a
 * client reads and writes around the session (answers_take()) is not counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/session_fixture.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);

enum { WARM_UPS = 20, ROUNDS = 200, RUNS_MAX = 10000 };

/* Only the session's own thread is looked at: the checkpointer has one of its own. */
static _Thread_local bool is_counting;
static _Thread_local size_t count;

void *__wrap_malloc(size_t bytes)
{
    count += is_counting;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t item_count, size_t bytes)
{
    count += is_counting;
    return __real_calloc(item_count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    count += is_counting;
    return __real_realloc(old, bytes);
}

char *__wrap_strdup(const char *text)
{
    count += is_counting;
    return __real_strdup(text);
}

/* --- Conversations ------------------------------------------------------------------------------------------------- */

static struct session_fixture server;
static struct fixture_client client;

static void put_query(struct sq_buf *in, const char *sql)
{
    pgwire_put_query(in, sql, strlen(sql));
}

static void put_parse(struct sq_buf *in, const char *name, const char *sql)
{
    size_t offset = pgwire_put_parse_begin(in, name, sql, strlen(sql), 0);
    pgwire_end(in, offset);
}

static void put_bind(struct sq_buf *in, const char *name, const char *value)
{
    size_t offset = pgwire_put_bind_begin(in, "", name, NULL, 0, 1);
    pgwire_put_value(in, value, strlen(value));
    pgwire_put_bind_end(in, offset, NULL, 0);
}

static void put_prepared_select(struct sq_buf *in)
{
    put_bind(in, "read", "2");
    pgwire_put_execute(in, "", 0);
    pgwire_put_sync(in);
}

static void put_described_select(struct sq_buf *in)
{
    put_bind(in, "expression", "2");
    pgwire_put_describe(in, PGWIRE_TARGET_PORTAL, "");
    pgwire_put_execute(in, "", 0);
    pgwire_put_sync(in);
}

static void put_unnamed_select(struct sq_buf *in)
{
    put_parse(in, "", "SELECT id, name, score FROM t WHERE id = $1");
    put_bind(in, "", "2");
    pgwire_put_describe(in, PGWIRE_TARGET_PORTAL, "");
    pgwire_put_execute(in, "", 0);
    pgwire_put_sync(in);
}

static void put_prepared_update(struct sq_buf *in)
{
    put_bind(in, "write", "2");
    pgwire_put_execute(in, "", 0);
    pgwire_put_sync(in);
}

static void put_pipeline(struct sq_buf *in)
{
    for (int i = 0; i < 10; i++) {
        put_bind(in, i % 2 == 0 ? "read" : "write", "2");
        pgwire_put_execute(in, "", 0);
    }
    pgwire_put_sync(in);
}

static void put_simple_select(struct sq_buf *in)
{
    put_query(in, "SELECT id, name, score, data FROM t WHERE id = 2");
}

static void put_simple_statements(struct sq_buf *in)
{
    put_query(in, "SELECT name FROM t; SELECT count(*) FROM t WHERE id > 1 ; ");
}

static void put_simple_update(struct sq_buf *in)
{
    put_query(in, "UPDATE t SET score = score + 1 WHERE id = 2");
}

static void put_simple_transaction(struct sq_buf *in)
{
    put_query(in, "BEGIN");
    put_simple_update(in);
    put_query(in, "COMMIT");
    put_query(in, "BEGIN; UPDATE t SET score = 0 WHERE id = 1; ROLLBACK");
}

/* Until everything is answered. */
static void play(bool is_counted)
{
    for (int i = 0; i < RUNS_MAX; i++) {
        is_counting = is_counted;
        client.want = session_run(client.session, &client.in, &client.out);
        enum session_release release = session_release(client.session);
        is_counting = false;
        assert_true(release != SESSION_LOST);
        answers_take(&client.answers, &client.out, NULL, NULL);
        if (client.want == SESSION_NEED_INPUT)
            return;
        assert_true(client.want != SESSION_CLOSE);
    }
    fail_msg("the session does not come to rest");
}

static void check(const char *name, void (*put_cb)(struct sq_buf *in))
{
    size_t error_count = client.answers.error_count;
    for (int i = 0; i < WARM_UPS; i++) {
        put_cb(&client.in);
        play(false);
    }
    count = 0;
    for (int i = 0; i < ROUNDS; i++) {
        put_cb(&client.in);
        play(true);
    }
    assert_int_equal(client.answers.error_count, error_count);
    if (count > 0)
        fail_msg("%s: %zu allocations in %d rounds", name, count, ROUNDS);
}

/* --- Tests ---------------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    static const char *const options[] = {"--log-level=error", "--idle-connection-timeout=0", NULL};
    struct sq_buf *in = &client.in;
    fixture_open(&server, options);
    fixture_client_open(&client, &server);
    size_t offset = pgwire_put_startup_begin(in, PGWIRE_VERSION_3_0);
    pgwire_put_startup_parameter(in, "user", "me");
    pgwire_put_startup_parameter(in, "database", "main");
    pgwire_put_startup_end(in, offset);
    play(false);
    put_query(in, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, score REAL, data BLOB); INSERT INTO t VALUES"
                  " (1, 'one', 1.5, x'00'), (2, 'two', 2, NULL), (3, 'three', NULL, x'ff')");
    put_parse(in, "read", "SELECT id, name, score, data FROM t WHERE id = $1");
    put_parse(in, "expression", "SELECT id + 1, upper(name), score * 2 FROM t WHERE id = $1");
    put_parse(in, "write", "UPDATE t SET score = score + 1 WHERE id = $1");
    pgwire_put_sync(in);
    play(false);
    assert_int_equal(client.answers.error_count, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_client_close(&client);
    fixture_close(&server);
    return 0;
}

#define ALLOCATES_NOTHING(name)                                                                                        \
    static void a_repeated_##name##_allocates_nothing(void **state)                                                    \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        check(#name, put_##name);                                                                                      \
    }

ALLOCATES_NOTHING(prepared_select)
ALLOCATES_NOTHING(described_select)
ALLOCATES_NOTHING(unnamed_select)
ALLOCATES_NOTHING(prepared_update)
ALLOCATES_NOTHING(pipeline)
ALLOCATES_NOTHING(simple_select)
ALLOCATES_NOTHING(simple_statements)
ALLOCATES_NOTHING(simple_update)
ALLOCATES_NOTHING(simple_transaction)

/* Counting counts. */
static void a_statement_that_is_new_allocates(void **state)
{
    (void)state;
    count = 0;
    put_query(&client.in, "SELECT 'never before'");
    play(true);
    assert_true(count > 0);
}

#define STEADY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEADY_TEST(a_repeated_prepared_select_allocates_nothing),
        STEADY_TEST(a_repeated_described_select_allocates_nothing),
        STEADY_TEST(a_repeated_unnamed_select_allocates_nothing),
        STEADY_TEST(a_repeated_prepared_update_allocates_nothing),
        STEADY_TEST(a_repeated_pipeline_allocates_nothing),
        STEADY_TEST(a_repeated_simple_select_allocates_nothing),
        STEADY_TEST(a_repeated_simple_statements_allocates_nothing),
        STEADY_TEST(a_repeated_simple_update_allocates_nothing),
        STEADY_TEST(a_repeated_simple_transaction_allocates_nothing),
        STEADY_TEST(a_statement_that_is_new_allocates),
    };
    return cmocka_run_group_tests_name("session without malloc", tests, NULL, NULL);
}
