/* The whole stack below the sockets, driven with raw bytes: the first packets and their corner cases, messages in pieces,
 * being interrupted, and clients that do not read. What is sent is written by hand, byte for byte, where the codec would
 * refuse to write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/session_fixture.h"

enum { CLIENTS = 2, HEARD_MAX = 1 << 16, SPINS_MAX = 200 * 1000 * 1000 };

struct talker {
    struct fixture_client client;
    char heard[HEARD_MAX]; /* types of the messages that came, a letter each */
    size_t heard_length;
    char text[1024];     /* message of the last error, or tag of the last completion */
    char row[256];       /* first column of the last row */
    char parameter[256]; /* value of the last ParameterStatus of `wanted_parameter` */
    const char *wanted_parameter;
};

static struct session_fixture server;
static struct talker talkers[CLIENTS];

/* --- Talking ----------------------------------------------------------------------------------------------------------- */

static void note(void *context, const struct pgwire_frame *frame)
{
    struct talker *talker = context;
    struct sq_error err;
    struct pgwire_report report;
    struct pgwire_command_complete complete;
    struct pgwire_parameter_status parameter;
    struct pgwire_data_row row;
    struct pgwire_value value;
    if (frame->type != PGWIRE_PARAMETER_STATUS && talker->heard_length + 1 < HEARD_MAX)
        talker->heard[talker->heard_length++] = (char)frame->type;
    if (frame->type == PGWIRE_ERROR_RESPONSE && pgwire_report_decode(frame, &err, &report) == SQ_OK)
        snprintf(talker->text, sizeof(talker->text), "%s", report.message);
    else if (frame->type == PGWIRE_COMMAND_COMPLETE && pgwire_command_complete_decode(frame, &err, &complete) == SQ_OK)
        snprintf(talker->text, sizeof(talker->text), "%s", complete.tag.data);
    else if (frame->type == PGWIRE_DATA_ROW && pgwire_data_row_decode(frame, &err, &row) == SQ_OK &&
             pgwire_values_next(&row.columns, &value))
        snprintf(talker->row, sizeof(talker->row), "%.*s", (int)value.length, (const char *)value.data);
    else if (frame->type == PGWIRE_PARAMETER_STATUS && talker->wanted_parameter != NULL &&
             pgwire_parameter_status_decode(frame, &err, &parameter) == SQ_OK &&
             strcmp(parameter.name.data, talker->wanted_parameter) == 0)
        snprintf(talker->parameter, sizeof(talker->parameter), "%s", parameter.value.data);
}

static void hear(struct talker *talker)
{
    answers_take(&talker->client.answers, &talker->client.out, talker, note);
    talker->heard[talker->heard_length] = '\0';
}

/* Runs until the session needs something from outside. */
static enum session_want go(struct talker *talker)
{
    struct fixture_client *client = &talker->client;
    do {
        client->want = session_run(client->session, &client->in, &client->out);
        hear(talker);
    } while (client->want == SESSION_STARTED || client->want == SESSION_YIELDED || client->want == SESSION_OUTPUT_FULL);
    return client->want;
}

static void forget(struct talker *talker)
{
    talker->heard_length = 0;
    talker->heard[0] = talker->text[0] = talker->row[0] = '\0';
    memset(talker->client.answers.sqlstate, 0, sizeof(talker->client.answers.sqlstate));
}

/* Sends what is in the buffer and waits for the answer, which is then the only thing heard. */
static const char *said(struct talker *talker)
{
    forget(talker);
    go(talker);
    return talker->heard;
}

static struct sq_buf *in_of(struct talker *talker)
{
    return &talker->client.in;
}

static void put_startup(struct sq_buf *buf, uint32_t version, const char *const *pairs)
{
    size_t offset = pgwire_put_startup_begin(buf, version);
    for (; *pairs != NULL; pairs += 2)
        pgwire_put_startup_parameter(buf, pairs[0], pairs[1]);
    pgwire_put_startup_end(buf, offset);
}

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void query(struct talker *talker, const char *sql)
{
    pgwire_put_query(in_of(talker), sql, strlen(sql));
}

static const char *ask(struct talker *talker, const char *sql)
{
    query(talker, sql);
    return said(talker);
}

static const char *sqlstate(const struct talker *talker)
{
    return talker->client.answers.sqlstate;
}

static void open_talker(struct talker *talker)
{
    memset(talker, 0, sizeof(*talker));
    fixture_client_open(&talker->client, &server);
}

static void log_in(struct talker *talker)
{
    open_talker(talker);
    put_startup(in_of(talker), PGWIRE_VERSION_3_0, PAIRS("user", "me", "database", "main"));
    assert_string_equal(said(talker), "RKZ");
    assert_int_equal(talker->client.want, SESSION_NEED_INPUT);
}

static void close_talker(struct talker *talker)
{
    if (talker->client.session != NULL)
        fixture_client_close(&talker->client);
}

static void put_parse(struct sq_buf *buf, const char *name, const char *sql)
{
    size_t offset = pgwire_put_parse_begin(buf, name, sql, strlen(sql), 0);
    pgwire_end(buf, offset);
}

static void put_bind(struct sq_buf *buf, const char *portal, const char *statement)
{
    size_t offset = pgwire_put_bind_begin(buf, portal, statement, NULL, 0, 0);
    pgwire_put_bind_end(buf, offset, NULL, 0);
}

/* --- Life ---------------------------------------------------------------------------------------------------------------- */

static const char *const small_limits[] = {"--output-buffer-size=8kB",    "--max-message-size=64kB",
                                           "--max-connections=2",         "--log-level=error",
                                           "--idle-connection-timeout=0", NULL};

static int set_up(void **state)
{
    (void)state;
    fixture_open(&server, small_limits);
    open_talker(&talkers[0]);
    return 0;
}

static int set_up_logged_in(void **state)
{
    (void)state;
    fixture_open(&server, small_limits);
    log_in(&talkers[0]);
    assert_string_equal(ask(&talkers[0], "CREATE TABLE t(a)"), "CZ");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        close_talker(&talkers[i]);
    fixture_close(&server);
    return 0;
}

static struct talker *const me = &talkers[0];
static struct talker *const you = &talkers[1];

/* --- The first packets ----------------------------------------------------------------------------------------------------- */

static void a_start_up_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct sq_buf bytes;
    sq_buf_init(&bytes, 1024);
    put_startup(&bytes, PGWIRE_VERSION_3_0, PAIRS("user", "main"));
    for (size_t i = 0; i < sq_buf_length(&bytes); i++) {
        assert_string_equal(me->heard, "");
        sq_buf_put_u8(in_of(me), sq_buf_bytes(&bytes)[i]);
        assert_int_equal(go(me), SESSION_NEED_INPUT);
        assert_true(i + 1 == sq_buf_length(&bytes) || session_input_hint(me->client.session) > 0);
    }
    assert_string_equal(me->heard, "RKZ");
    assert_int_equal(me->client.answers.ready_status, 'I');
    sq_buf_done(&bytes);
}

static void a_start_up_stops_for_its_owner_before_anything_slow(void **state)
{
    (void)state;
    put_startup(in_of(me), PGWIRE_VERSION_3_0, PAIRS("user", "me"));
    assert_int_equal(session_run(me->client.session, in_of(me), &me->client.out), SESSION_STARTED);
    assert_int_equal(sq_buf_length(&me->client.out), 0);
    assert_int_equal(go(me), SESSION_NEED_INPUT);
    assert_string_equal(me->heard, "RKZ");
}

static void encryption_is_refused_once_each_and_the_client_goes_on(void **state)
{
    (void)state;
    pgwire_put_gssenc_request(in_of(me));
    go(me);
    assert_int_equal(me->client.answers.refusal_count, 1);
    pgwire_put_ssl_request(in_of(me));
    go(me);
    assert_int_equal(me->client.answers.refusal_count, 2);
    put_startup(in_of(me), PGWIRE_VERSION_3_0, PAIRS("user", "me"));
    assert_string_equal(said(me), "RKZ");
}

static void encryption_is_not_asked_for_twice(void **state)
{
    (void)state;
    pgwire_put_ssl_request(in_of(me));
    go(me);
    pgwire_put_ssl_request(in_of(me));
    assert_string_equal(said(me), "E");
    assert_string_equal(sqlstate(me), "08P01");
    assert_int_equal(me->client.want, SESSION_CLOSE);
}

static void bytes_that_were_sent_with_a_request_for_encryption_are_not_trusted(void **state)
{
    (void)state;
    pgwire_put_ssl_request(in_of(me));
    put_startup(in_of(me), PGWIRE_VERSION_3_0, PAIRS("user", "me"));
    assert_int_equal(go(me), SESSION_CLOSE);
    assert_false(me->client.answers.is_authenticated);
    assert_int_equal(me->client.answers.error_count, 1);
}

static void what_is_no_start_up_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"\x16\x03\x01\x02\x00\x01\x00\x01", 8},
        {"\0\0\0\0\0\3\0\0", 8},
        {"\0\0\0\7\0\3\0\0", 8},
        {"\x7f\xff\xff\xff\0\3\0\0", 8},
        {"\xff\xff\xff\xff\0\3\0\0", 8},
        {"\0\0\0\x09\0\2\0\0\0", 9},
        {"\0\0\0\x09\0\4\0\0\0", 9},
        {"\0\0\0\x0d\0\3\0\0user\0", 13},
        {"\0\0\0\x08\0\3\0\0", 8},
        {"\0\0\0\x0f\0\3\0\0user\0me", 15},
        {"\0\0\0\x09\x04\xd2\x16\x2f\0", 9},
        {"\0\0\0\x08\x04\xd2\x16\x2d", 8},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        close_talker(me);
        open_talker(me);
        sq_buf_put(in_of(me), cases[i].bytes, cases[i].length);
        assert_string_equal(said(me), "E");
        assert_true(me->client.answers.is_fatal);
        assert_int_equal(me->client.want, SESSION_CLOSE);
        assert_int_equal(session_run(me->client.session, in_of(me), &me->client.out), SESSION_CLOSE);
        assert_int_equal(sq_buf_length(&me->client.out), 0);
    }
}

static void a_newer_minor_version_and_unknown_options_are_negotiated(void **state)
{
    (void)state;
    put_startup(in_of(me), PGWIRE_VERSION_3_2, PAIRS("user", "me", "_pq_.future", "1"));
    assert_string_equal(said(me), "vRKZ");
    close_talker(me);
    open_talker(me);
    put_startup(in_of(me), PGWIRE_VERSION_3_0, PAIRS("_pq_.x", "1", "user", "me"));
    assert_string_equal(said(me), "vRKZ");
}

struct startup_case {
    const char *const *pairs;
    const char *sqlstate; /* NULL: it is fine */
    const char *database;
};

static void start_up_parameters_are_checked_and_used(void **state)
{
    (void)state;
    char long_name[80];
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const struct startup_case cases[] = {
        {PAIRS("user", "me"), NULL, "main"},
        {PAIRS("user", "main"), NULL, "main"},
        {PAIRS("user", "me", "database", "postgres"), NULL, "main"},
        {PAIRS("user", "me", "database", "template1"), NULL, "main"},
        {PAIRS("user", "second"), NULL, "second"},
        {PAIRS("user", "me", "database", "second"), NULL, "second"},
        {PAIRS("database", "second", "user", "me"), NULL, "second"},
        {PAIRS("user", "me", "database", "none"), "3D000", NULL},
        {PAIRS("user", "me", "database", "../main"), "3D000", NULL},
        {PAIRS("user", "me", "database", ""), "3D000", NULL},
        {PAIRS("database", "main"), "28000", NULL},
        {PAIRS("user", ""), "28000", NULL},
        {PAIRS("user", long_name), "42622", NULL},
        {PAIRS("user", "me", "database", long_name), "42622", NULL},
        {PAIRS("user", "\xff"), "22021", NULL},
        {PAIRS("user", "me", "application_name", "\xc3("), "22021", NULL},
        {PAIRS("user", "me", "replication", "off"), NULL, "main"},
        {PAIRS("user", "me", "replication", "database"), "0A000", NULL},
        {PAIRS("user", "me", "no_such_setting", "1"), "42704", NULL},
        {PAIRS("user", "me", "statement_timeout", "fast"), "22023", NULL},
        {PAIRS("user", "me", "options", "-c no_such_setting=1"), "42704", NULL},
        {PAIRS("user", "me", "options", "-c"), "42601", NULL},
        {PAIRS("user", "me", "options", "--lock-timeout"), "42601", NULL},
        {PAIRS("user", "me", "options", "-x"), "42601", NULL},
        {PAIRS("user", "me", "options", " -c statement_timeout=5s --lock-timeout=7s "), NULL, "main"},
    };
    struct sq_error err;
    assert_int_equal(engine_database_create(server.host.databases, "second", &err), SQ_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        close_talker(me);
        open_talker(me);
        put_startup(in_of(me), PGWIRE_VERSION_3_0, cases[i].pairs);
        said(me);
        if (cases[i].sqlstate != NULL) {
            if (strcmp(me->heard, "E") != 0 || strcmp(sqlstate(me), cases[i].sqlstate) != 0)
                fail_msg("case %zu: %s %s, not %s", i, me->heard, sqlstate(me), cases[i].sqlstate);
            assert_int_equal(me->client.want, SESSION_CLOSE);
            continue;
        }
        if (strcmp(me->heard, "RKZ") != 0)
            fail_msg("case %zu: %s %s %s", i, me->heard, sqlstate(me), me->text);
        ask(me, "SELECT current_database()");
        assert_string_equal(me->row, cases[i].database);
    }
    ask(me, "SHOW lock_timeout");
    assert_string_equal(me->row, "7s");
    ask(me, "RESET ALL; SHOW statement_timeout");
    assert_string_equal(me->row, "5s");
}

static void too_many_clients_are_told_so(void **state)
{
    (void)state;
    struct talker third;
    close_talker(me);
    log_in(me);
    log_in(you);
    open_talker(&third);
    put_startup(in_of(&third), PGWIRE_VERSION_3_0, PAIRS("user", "me"));
    assert_string_equal(said(&third), "E");
    assert_string_equal(sqlstate(&third), "53300");
    close_talker(&third);
    close_talker(you);
    log_in(you);
}

static void who_says_nothing_is_sent_away_without_a_word(void **state)
{
    (void)state;
    static const char *const options[] = {"--authentication-timeout=1ms", NULL};
    close_talker(me);
    fixture_close(&server);
    fixture_open(&server, options);
    open_talker(me);
    sq_buf_put(in_of(me), "\0\0", 2);
    assert_true(session_deadline_us(me->client.session) != 0);
    for (int i = 0; i < SPINS_MAX && go(me) != SESSION_CLOSE; i++)
        continue;
    assert_int_equal(me->client.want, SESSION_CLOSE);
    assert_string_equal(me->heard, "");
}

/* --- Cancel requests ---------------------------------------------------------------------------------------------------------- */

static void send_cancel(struct talker *canceller, uint32_t pid, const uint8_t *secret, size_t length)
{
    open_talker(canceller);
    pgwire_put_cancel_request(in_of(canceller), pid, secret, length);
    assert_string_equal(said(canceller), "");
    assert_int_equal(canceller->client.want, SESSION_CLOSE);
    close_talker(canceller);
}

/* A cancel request for `me`, who is idle: its connection stays. */
static void send_early_cancel(struct talker *canceller)
{
    open_talker(canceller);
    pgwire_put_cancel_request(in_of(canceller), me->client.answers.pid, me->client.answers.secret, 4);
    assert_string_equal(said(canceller), "");
    assert_int_equal(canceller->client.want, SESSION_WAITING);
    assert_true(session_deadline_us(canceller->client.session) != 0);
    assert_int_equal(atomic_load(&canceller->client.wake_count), 0);
}

static void assert_cancel_is_over(struct talker *canceller)
{
    assert_true(atomic_load(&canceller->client.wake_count) > 0);
    assert_string_equal(said(canceller), "");
    assert_int_equal(canceller->client.want, SESSION_CLOSE);
    close_talker(canceller);
}

/* Runs `me`, who does not read, until nothing more fits into the output. */
static void run_until_full(void)
{
    do {
        me->client.want = session_run(me->client.session, in_of(me), &me->client.out);
    } while (me->client.want == SESSION_YIELDED);
    assert_int_equal(me->client.want, SESSION_OUTPUT_FULL);
}

/* A statement that is surely running: rows have come and more will. */
static void start_endless(void)
{
    query(me, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n");
    run_until_full();
}

static void a_cancel_with_the_right_secret_stops_the_statement(void **state)
{
    (void)state;
    uint8_t wrong[4];
    start_endless();
    hear(me);
    memcpy(wrong, me->client.answers.secret, sizeof(wrong));
    wrong[3] ^= 0x80;
    send_cancel(you, me->client.answers.pid, wrong, sizeof(wrong));
    send_cancel(you, me->client.answers.pid + 1, me->client.answers.secret, sizeof(wrong));
    run_until_full();
    send_cancel(you, me->client.answers.pid, me->client.answers.secret, sizeof(wrong));
    assert_int_equal(go(me), SESSION_NEED_INPUT);
    assert_string_equal(sqlstate(me), "57014");
    assert_int_equal(me->client.answers.ready_status, 'I');
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
}

static void a_cancel_that_comes_early_means_the_next_statement_until_it_is_settled(void **state)
{
    (void)state;
    assert_int_equal(session_cancel_mark(me->client.session), 0);
    send_early_cancel(you);
    assert_string_equal(ask(me, "SELECT 1"), "EZ");
    assert_string_equal(sqlstate(me), "57014");
    assert_cancel_is_over(you);
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
    assert_int_equal(session_cancel_mark(me->client.session), 0);

    send_early_cancel(you);
    uint64_t mark = session_cancel_mark(me->client.session);
    assert_int_not_equal(mark, 0);
    /* What comes after the mark is not settled by it. */
    struct talker late;
    send_early_cancel(&late);
    session_cancel_settle(me->client.session, mark);
    assert_cancel_is_over(you);
    assert_int_equal(go(&late), SESSION_WAITING);
    session_cancel_settle(me->client.session, session_cancel_mark(me->client.session));
    assert_cancel_is_over(&late);
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
}

static void a_cancel_that_waits_ends_with_its_session_or_with_the_server(void **state)
{
    (void)state;
    /* The server goes: nothing is cancelled later. */
    send_early_cancel(you);
    session_interrupt(you->client.session, SESSION_INTERRUPT_DRAIN);
    assert_cancel_is_over(you);
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
    /* Its connection breaks from our side. */
    send_early_cancel(you);
    close_talker(you);
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
    /* Its client does not wait: it counts all the same. */
    send_early_cancel(you);
    session_peer_gone(you->client.session);
    assert_int_equal(go(you), SESSION_WAITING);
    assert_string_equal(ask(me, "SELECT 1"), "EZ");
    assert_cancel_is_over(you);
    /* The session goes. */
    send_early_cancel(you);
    close_talker(me);
    assert_cancel_is_over(you);
}

/* --- Clients that do not read ---------------------------------------------------------------------------------------------------- */

static void rows_stop_when_the_client_does_not_read(void **state)
{
    (void)state;
    start_endless();
    size_t length = sq_buf_length(&me->client.out);
    assert_true(length >= 8192 && length < 2 * 8192);
    for (int i = 0; i < 10; i++)
        assert_int_equal(session_run(me->client.session, in_of(me), &me->client.out), SESSION_OUTPUT_FULL);
    assert_int_equal(sq_buf_length(&me->client.out), length);
    assert_int_equal(session_deadline_us(me->client.session), 0);
}

static void a_cancel_does_not_wait_for_a_client_that_does_not_read(void **state)
{
    (void)state;
    start_endless();
    size_t length = sq_buf_length(&me->client.out);
    session_interrupt(me->client.session, SESSION_INTERRUPT_CANCEL);
    session_run(me->client.session, in_of(me), &me->client.out);
    assert_true(sq_buf_length(&me->client.out) > length && sq_buf_length(&me->client.out) < length + 1024);
    go(me);
    assert_string_equal(sqlstate(me), "57014");
    assert_int_equal(me->client.want, SESSION_NEED_INPUT);
}

static void a_time_limit_does_not_wait_for_a_client_that_does_not_read(void **state)
{
    (void)state;
    assert_string_equal(ask(me, "SET statement_timeout = '20ms'"), "CZ");
    assert_string_equal(ask(me, "INSERT INTO t VALUES (1)"), "CZ");
    query(
        me,
        "INSERT INTO t SELECT value FROM t, json_each('[1]'); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
        "FROM n) SELECT i FROM n");
    run_until_full();
    size_t length = sq_buf_length(&me->client.out);
    /* Its owner is told when to look again, and once it has looked it is not told to look again in the past. */
    assert_true(session_deadline_us(me->client.session) != 0);
    for (int i = 0; i < SPINS_MAX && session_deadline_us(me->client.session) != 0; i++)
        session_run(me->client.session, in_of(me), &me->client.out);
    assert_int_equal(session_deadline_us(me->client.session), 0);
    assert_true(sq_buf_length(&me->client.out) > length && sq_buf_length(&me->client.out) < length + 1024);
    go(me);
    assert_string_equal(sqlstate(me), "57014");
}

static void a_session_that_is_told_to_end_does_not_wait_for_its_client(void **state)
{
    (void)state;
    start_endless();
    session_interrupt(me->client.session, SESSION_INTERRUPT_TERMINATE);
    assert_int_equal(session_run(me->client.session, in_of(me), &me->client.out), SESSION_CLOSE);
    hear(me);
    assert_string_equal(sqlstate(me), "57P01");
    assert_true(me->client.answers.is_fatal);
}

/* --- Messages ------------------------------------------------------------------------------------------------------------------- */

static void a_message_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct sq_buf bytes;
    sq_buf_init(&bytes, 1024);
    pgwire_put_query(&bytes, "SELECT 42", 9);
    forget(me);
    for (size_t i = 0; i < sq_buf_length(&bytes); i++) {
        assert_string_equal(me->heard, "");
        sq_buf_put_u8(in_of(me), sq_buf_bytes(&bytes)[i]);
        assert_int_equal(go(me), SESSION_NEED_INPUT);
    }
    assert_string_equal(me->heard, "TDCZ");
    assert_string_equal(me->row, "42");
    sq_buf_done(&bytes);
}

static void bytes_that_are_no_message_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *sqlstate;
    } cases[] = {
        {"\x01\0\0\0\x04", 5, "08P01"}, {"Q\0\0\0\3", 5, "08P01"},      {"Q\xff\xff\xff\xff", 5, "08P01"},
        {"Q\0\1\0\1", 5, "54000"},      {"p\0\0\0\x06x\0", 7, "08P01"}, {"Z\0\0\0\5I", 6, "08P01"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        close_talker(me);
        log_in(me);
        sq_buf_put(in_of(me), cases[i].bytes, cases[i].length);
        assert_string_equal(said(me), "E");
        assert_string_equal(sqlstate(me), cases[i].sqlstate);
        assert_true(me->client.answers.is_fatal);
        assert_int_equal(me->client.want, SESSION_CLOSE);
    }
}

static void a_bad_body_is_an_error_and_the_stream_goes_on(void **state)
{
    (void)state;
    sq_buf_put(in_of(me), "Q\0\0\0\5x", 6); /* no NUL */
    assert_string_equal(said(me), "EZ");
    assert_string_equal(sqlstate(me), "08P01");
    sq_buf_put(in_of(me), "B\0\0\0\5x", 6);
    sq_buf_put(in_of(me), "E\0\0\0\4", 5);
    pgwire_put_sync(in_of(me));
    assert_string_equal(said(me), "EZ");
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
}

static void a_function_call_is_refused_and_the_connection_stays(void **state)
{
    (void)state;
    size_t call = pgwire_put_function_call_begin(in_of(me), 1, NULL, 0, 0);
    pgwire_put_function_call_end(in_of(me), call, 0);
    assert_string_equal(said(me), "EZ");
    assert_string_equal(sqlstate(me), "0A000");
    assert_string_equal(ask(me, "SELECT 1"), "TDCZ");
}

static void after_an_error_everything_is_dropped_up_to_sync(void **state)
{
    (void)state;
    put_parse(in_of(me), "", "SELEC");
    put_bind(in_of(me), "", "");
    pgwire_put_execute(in_of(me), "", 0);
    put_parse(in_of(me), "", "SELECT 1");
    query(me, "SELECT 2");
    pgwire_put_sync(in_of(me));
    put_parse(in_of(me), "", "SELECT 3");
    put_bind(in_of(me), "", "");
    pgwire_put_execute(in_of(me), "", 0);
    pgwire_put_sync(in_of(me));
    assert_string_equal(said(me), "EZ12DCZ");
    assert_string_equal(me->row, "3");
}

static void execute_does_not_run_what_would_close_its_own_portal(void **state)
{
    (void)state;
    static const char *const statements[] = {"COMMIT",    "ROLLBACK",  "BEGIN",        "DISCARD ALL",
                                             "CLOSE ALL", "EXECUTE s", "DEALLOCATE s", "FETCH p"};
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        assert_string_equal(ask(me, "BEGIN"), "CZ");
        put_parse(in_of(me), "s", statements[i]);
        put_parse(in_of(me), "", "EXECUTE s");
        put_bind(in_of(me), "p", "");
        pgwire_put_execute(in_of(me), "p", 0);
        pgwire_put_sync(in_of(me));
        assert_string_equal(said(me), "112EZ");
        assert_string_equal(sqlstate(me), "0A000");
        ask(me, "EXECUTE s");
        assert_string_equal(sqlstate(me), "0A000");
        assert_string_equal(ask(me, "ROLLBACK; DEALLOCATE ALL"), "CCZ");
    }
}

static void a_cancel_stops_the_evaluation_of_arguments(void **state)
{
    (void)state;
    /* Without the cancel it would run into the time limit, which is another error. */
    assert_string_equal(ask(me, "SET statement_timeout = '20s'; PREPARE p AS SELECT $1"), "CCZ");
    assert_string_equal(ask(me,
                            "EXECUTE p((WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <> 9999"
                            " OR pg_cancel_backend(pg_backend_pid())) SELECT count(*) FROM n))"),
                        "EZ");
    assert_string_equal(sqlstate(me), "57014");
    assert_non_null(strstr(me->text, "user request"));
    assert_string_equal(ask(me, "EXECUTE p(7)"), "TDCZ");
    assert_string_equal(me->row, "7");
}

static void a_portal_may_begin_and_end_the_transaction_that_it_lives_in(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "BEGIN", "INSERT INTO t VALUES (1)", "COMMIT", "BEGIN", "ROLLBACK", "DISCARD ALL", "CLOSE ALL"};
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        put_parse(in_of(me), "", statements[i]);
        put_bind(in_of(me), i % 2 == 0 ? "" : "named", "");
        pgwire_put_execute(in_of(me), i % 2 == 0 ? "" : "named", 0);
        pgwire_put_sync(in_of(me));
        assert_string_equal(said(me), "12CZ");
        assert_true(strncmp(me->text, statements[i], 5) == 0);
    }
    ask(me, "SELECT count(*) FROM t");
    assert_string_equal(me->row, "1");
}

/* --- Two sessions ----------------------------------------------------------------------------------------------------------------- */

static void a_writer_waits_for_the_other_and_is_woken(void **state)
{
    (void)state;
    log_in(you);
    assert_string_equal(ask(me, "BEGIN; INSERT INTO t VALUES (1)"), "CCZ");
    assert_string_equal(ask(you, "INSERT INTO t VALUES (2)"), "");
    assert_int_equal(you->client.want, SESSION_WAITING);
    unsigned wakes = atomic_load(&you->client.wake_count);
    assert_int_equal(go(you), SESSION_WAITING);
    assert_string_equal(ask(me, "COMMIT"), "CZ");
    assert_true(atomic_load(&you->client.wake_count) > wakes);
    assert_int_equal(go(you), SESSION_NEED_INPUT);
    assert_string_equal(you->heard, "CZ");
}

static void a_client_that_leaves_gives_its_locks_back(void **state)
{
    (void)state;
    log_in(you);
    assert_string_equal(ask(me, "BEGIN; INSERT INTO t VALUES (1)"), "CCZ");
    assert_string_equal(ask(you, "INSERT INTO t VALUES (2)"), "");
    session_peer_gone(me->client.session);
    assert_int_equal(session_run(me->client.session, in_of(me), &me->client.out), SESSION_CLOSE);
    close_talker(me);
    assert_int_equal(go(you), SESSION_NEED_INPUT);
    assert_string_equal(you->heard, "CZ");
    ask(you, "SELECT count(*) FROM t");
    assert_string_equal(you->row, "1");
}

static void notifications_come_when_the_listener_is_idle(void **state)
{
    (void)state;
    log_in(you);
    assert_string_equal(ask(you, "LISTEN a"), "CZ");
    assert_string_equal(ask(me, "BEGIN; NOTIFY a, 'x'"), "CCZ");
    forget(you);
    go(you);
    assert_string_equal(you->heard, "");
    assert_string_equal(ask(me, "COMMIT"), "CZ");
    go(you);
    assert_string_equal(you->heard, "A");
    assert_string_equal(ask(you, "BEGIN"), "CZ");
    assert_string_equal(ask(me, "NOTIFY a"), "CZ");
    forget(you);
    go(you);
    assert_string_equal(you->heard, "");
    assert_string_equal(ask(you, "COMMIT"), "CAZ");
    assert_string_equal(ask(me, "BEGIN; NOTIFY a; ROLLBACK"), "CCCZ");
    forget(you);
    go(you);
    assert_string_equal(you->heard, "");
}

static void what_was_notified_before_an_unlisten_is_delivered(void **state)
{
    (void)state;
    log_in(you);
    assert_string_equal(ask(you, "LISTEN a"), "CZ");
    assert_string_equal(ask(me, "NOTIFY a; NOTIFY a, 'x'"), "CCZ");
    assert_string_equal(ask(you, "UNLISTEN a"), "CAAZ");
    assert_string_equal(ask(me, "NOTIFY a"), "CZ");
    assert_string_equal(ask(you, "SELECT 1"), "TDCZ");
}

/* --- Ending ------------------------------------------------------------------------------------------------------------------------- */

static void a_drain_ends_an_idle_session_at_once(void **state)
{
    (void)state;
    session_interrupt(me->client.session, SESSION_INTERRUPT_DRAIN);
    assert_string_equal(said(me), "E");
    assert_string_equal(sqlstate(me), "57P01");
    assert_int_equal(me->client.want, SESSION_CLOSE);
}

static void a_drain_lets_a_transaction_come_to_its_end(void **state)
{
    (void)state;
    assert_string_equal(ask(me, "BEGIN; INSERT INTO t VALUES (1)"), "CCZ");
    session_interrupt(me->client.session, SESSION_INTERRUPT_DRAIN);
    assert_int_equal(go(me), SESSION_NEED_INPUT);
    assert_string_equal(ask(me, "INSERT INTO t VALUES (2)"), "CZ");
    assert_string_equal(ask(me, "COMMIT"), "CZE");
    assert_int_equal(me->client.want, SESSION_CLOSE);
    close_talker(me);
    log_in(me);
    ask(me, "SELECT count(*) FROM t");
    assert_string_equal(me->row, "2");
}

static void a_session_that_is_told_to_end_ends_in_a_transaction_too(void **state)
{
    (void)state;
    assert_string_equal(ask(me, "BEGIN; INSERT INTO t VALUES (1)"), "CCZ");
    session_interrupt(me->client.session, SESSION_INTERRUPT_TERMINATE);
    assert_string_equal(said(me), "E");
    assert_int_equal(me->client.want, SESSION_CLOSE);
    close_talker(me);
    log_in(me);
    ask(me, "SELECT count(*) FROM t");
    assert_string_equal(me->row, "0");
}

/* `you` keeps the database `d` in use, `me` waits for it to be free. */
static void start_waiting_drop(bool is_extended)
{
    assert_string_equal(ask(me, "CREATE DATABASE d"), "CZ");
    open_talker(you);
    put_startup(in_of(you), PGWIRE_VERSION_3_0, PAIRS("user", "d"));
    assert_string_equal(said(you), "RKZ");
    if (is_extended) {
        put_parse(in_of(me), "", "DROP DATABASE d");
        put_bind(in_of(me), "", "");
        pgwire_put_execute(in_of(me), "", 0);
        pgwire_put_sync(in_of(me));
    } else {
        query(me, "DROP DATABASE d");
    }
    assert_string_equal(said(me), is_extended ? "12" : "");
    assert_int_equal(me->client.want, SESSION_WAITING);
}

static void a_session_that_is_told_to_end_while_a_command_waits_says_so_once(void **state)
{
    (void)state;
    for (int is_extended = 0; is_extended < 2; is_extended++) {
        start_waiting_drop(is_extended != 0);
        session_interrupt(me->client.session, SESSION_INTERRUPT_TERMINATE);
        assert_string_equal(said(me), "E");
        assert_string_equal(sqlstate(me), "57P01");
        assert_int_equal(me->client.want, SESSION_CLOSE);
        close_talker(me);
        close_talker(you);
        log_in(me);
        assert_string_equal(ask(me, "DROP DATABASE d"), "CZ");
    }
}

static void a_drain_lets_a_command_that_waits_come_to_its_end(void **state)
{
    (void)state;
    for (int is_extended = 0; is_extended < 2; is_extended++) {
        start_waiting_drop(is_extended != 0);
        session_interrupt(me->client.session, SESSION_INTERRUPT_DRAIN);
        assert_string_equal(said(me), "");
        assert_int_equal(me->client.want, SESSION_WAITING);
        close_talker(you);
        assert_string_equal(said(me), "CZE");
        assert_string_equal(sqlstate(me), "57P01");
        close_talker(me);
        log_in(me);
    }
}

static void who_keeps_another_from_writing_for_too_long_is_sent_away(void **state)
{
    (void)state;
    assert_string_equal(ask(me, "SET idle_in_transaction_session_timeout = '1ms'"), "CZ");
    assert_string_equal(ask(me, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1)"), "CCZ");
    assert_int_equal(session_deadline_us(me->client.session), 0);
    log_in(you);
    forget(you);
    query(you, "INSERT INTO t VALUES (2)");
    assert_int_equal(go(you), SESSION_WAITING);
    assert_true(session_deadline_us(me->client.session) != 0);
    forget(me);
    for (int i = 0; i < SPINS_MAX && go(me) != SESSION_CLOSE; i++)
        continue;
    assert_string_equal(sqlstate(me), "25P03");
    /* The slot is free although the one who is sent away still has a connection. */
    assert_int_equal(go(you), SESSION_NEED_INPUT);
    assert_string_equal(you->heard, "CZ");
    ask(you, "SELECT max(a) FROM t");
    assert_string_equal(you->row, "2");
}

static void who_keeps_nobody_waiting_may_idle(void **state)
{
    (void)state;
    assert_string_equal(ask(me, "SET idle_in_transaction_session_timeout = '1ms'"), "CZ");
    assert_string_equal(ask(me, "BEGIN; SELECT count(*) FROM t"), "CTDCZ");
    log_in(you);
    assert_string_equal(ask(you, "INSERT INTO t VALUES (2)"), "CZ");
    assert_int_equal(session_deadline_us(me->client.session), 0);
    assert_string_equal(ask(me, "COMMIT"), "CZ");
}

#define STARTUP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define SESSION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_logged_in, tear_down)

int main(void)
{
    struct sq_error err;
    if (engine_init(NULL, &err) != SQ_OK || sq_log_open("/dev/null", &err) != SQ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        STARTUP_TEST(a_start_up_may_come_byte_by_byte),
        STARTUP_TEST(a_start_up_stops_for_its_owner_before_anything_slow),
        STARTUP_TEST(encryption_is_refused_once_each_and_the_client_goes_on),
        STARTUP_TEST(encryption_is_not_asked_for_twice),
        STARTUP_TEST(bytes_that_were_sent_with_a_request_for_encryption_are_not_trusted),
        STARTUP_TEST(what_is_no_start_up_is_refused),
        STARTUP_TEST(a_newer_minor_version_and_unknown_options_are_negotiated),
        STARTUP_TEST(start_up_parameters_are_checked_and_used),
        STARTUP_TEST(too_many_clients_are_told_so),
        STARTUP_TEST(who_says_nothing_is_sent_away_without_a_word),
        SESSION_TEST(a_cancel_with_the_right_secret_stops_the_statement),
        SESSION_TEST(a_cancel_that_comes_early_means_the_next_statement_until_it_is_settled),
        SESSION_TEST(a_cancel_that_waits_ends_with_its_session_or_with_the_server),
        SESSION_TEST(rows_stop_when_the_client_does_not_read),
        SESSION_TEST(a_cancel_does_not_wait_for_a_client_that_does_not_read),
        SESSION_TEST(a_time_limit_does_not_wait_for_a_client_that_does_not_read),
        SESSION_TEST(a_session_that_is_told_to_end_does_not_wait_for_its_client),
        SESSION_TEST(a_message_may_come_byte_by_byte),
        SESSION_TEST(bytes_that_are_no_message_end_the_connection),
        SESSION_TEST(a_bad_body_is_an_error_and_the_stream_goes_on),
        SESSION_TEST(a_function_call_is_refused_and_the_connection_stays),
        SESSION_TEST(after_an_error_everything_is_dropped_up_to_sync),
        SESSION_TEST(execute_does_not_run_what_would_close_its_own_portal),
        SESSION_TEST(a_cancel_stops_the_evaluation_of_arguments),
        SESSION_TEST(a_portal_may_begin_and_end_the_transaction_that_it_lives_in),
        SESSION_TEST(a_writer_waits_for_the_other_and_is_woken),
        SESSION_TEST(a_client_that_leaves_gives_its_locks_back),
        SESSION_TEST(notifications_come_when_the_listener_is_idle),
        SESSION_TEST(what_was_notified_before_an_unlisten_is_delivered),
        SESSION_TEST(a_drain_ends_an_idle_session_at_once),
        SESSION_TEST(a_drain_lets_a_transaction_come_to_its_end),
        SESSION_TEST(a_session_that_is_told_to_end_ends_in_a_transaction_too),
        SESSION_TEST(a_session_that_is_told_to_end_while_a_command_waits_says_so_once),
        SESSION_TEST(a_drain_lets_a_command_that_waits_come_to_its_end),
        SESSION_TEST(who_keeps_another_from_writing_for_too_long_is_sent_away),
        SESSION_TEST(who_keeps_nobody_waiting_may_idle),
    };
    return cmocka_run_group_tests_name("server/session", tests, NULL, NULL);
}
