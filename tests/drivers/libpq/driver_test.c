/* Tests of libpq itself. Says one line for each case; see tests/lib/tap.py. The server comes in PGHOST, PGPORT, …. */
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENDLESS "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"
#define NUMBERS "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s"

static char why[1024];
static PGconn *conn;

/* In a case: ends it as failed, with the place and libpq's words. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            snprintf(why, sizeof(why), "line %d: %s: %.800s", __LINE__, #condition, PQerrorMessage(conn));             \
            return false;                                                                                              \
        }                                                                                                              \
    } while (0)

static bool run(const char *sql, ExecStatusType expected)
{
    PGresult *result = PQexec(conn, sql);
    bool ok = PQresultStatus(result) == expected;
    PQclear(result);
    return ok;
}

static bool value_is(PGresult *result, int row, int column, const char *expected)
{
    return result != NULL && row < PQntuples(result) && strcmp(PQgetvalue(result, row, column), expected) == 0;
}

static bool state_is(PGresult *result, const char *sqlstate)
{
    const char *got = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return got != NULL && strcmp(got, sqlstate) == 0;
}

static bool case_simple_query(void)
{
    PGresult *result = PQexec(conn, "SELECT 1 AS one, NULL AS none");
    CHECK(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 && PQnfields(result) == 2);
    CHECK(strcmp(PQfname(result, 0), "one") == 0 && PQftype(result, 0) == 20 && value_is(result, 0, 0, "1"));
    CHECK(PQgetisnull(result, 0, 1));
    PQclear(result);
    result = PQexec(conn, "");
    CHECK(PQresultStatus(result) == PGRES_EMPTY_QUERY);
    PQclear(result);
    return true;
}

static bool case_parameters_in_text_and_binary(void)
{
    const char *values[3] = {"41", "text", "\0\0\0\0\0\0\0\1"};
    int lengths[3] = {0, 0, 8};
    int formats[3] = {0, 0, 1};
    Oid types[3] = {20, 25, 20};
    PGresult *result = PQexecParams(conn, "SELECT $1 + $3, $2", 3, types, values, lengths, formats, 0);
    CHECK(value_is(result, 0, 0, "42") && value_is(result, 0, 1, "text"));
    PQclear(result);
    result = PQexecParams(conn, "SELECT $1 + $3", 3, types, values, lengths, formats, 1);
    CHECK(PQgetlength(result, 0, 0) == 8 && PQfformat(result, 0) == 1 && PQgetvalue(result, 0, 0)[7] == 42);
    PQclear(result);
    return true;
}

static bool case_prepare_and_describe(void)
{
    CHECK(run("CREATE TABLE d(a INTEGER, b TEXT)", PGRES_COMMAND_OK));
    Oid types[1] = {20};
    PGresult *result = PQprepare(conn, "p", "SELECT a, b FROM d WHERE a = $1", 1, types);
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
    result = PQdescribePrepared(conn, "p");
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK && PQnparams(result) == 1 && PQparamtype(result, 0) == 20);
    CHECK(PQnfields(result) == 2 && PQftype(result, 0) == 20 && PQftype(result, 1) == 25);
    PQclear(result);
    CHECK(run("INSERT INTO d VALUES (1, 'one'), (2, 'two')", PGRES_COMMAND_OK));
    const char *value = "2";
    result = PQexecPrepared(conn, "p", 1, &value, NULL, NULL, 0);
    CHECK(PQntuples(result) == 1 && value_is(result, 0, 1, "two"));
    PQclear(result);
    CHECK(run("BEGIN", PGRES_COMMAND_OK) && run("DECLARE c CURSOR FOR SELECT a FROM d", PGRES_COMMAND_OK));
    result = PQdescribePortal(conn, "c");
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK && PQnfields(result) == 1);
    PQclear(result);
    CHECK(run("COMMIT", PGRES_COMMAND_OK));
    result = PQdescribePrepared(conn, "nobody");
    CHECK(state_is(result, "26000"));
    PQclear(result);
    return true;
}

static bool case_errors_have_their_fields(void)
{
    PGresult *result = PQexec(conn, "SELECT absent");
    CHECK(state_is(result, "42703") && strcmp(PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION), "8") == 0);
    CHECK(strcmp(PQresultErrorField(result, PG_DIAG_SEVERITY), "ERROR") == 0);
    CHECK(strcmp(PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED), "ERROR") == 0);
    PQclear(result);
    CHECK(PQtransactionStatus(conn) == PQTRANS_IDLE && run("SELECT 1", PGRES_TUPLES_OK));
    return true;
}

static bool case_transaction_status(void)
{
    CHECK(run("BEGIN", PGRES_COMMAND_OK) && PQtransactionStatus(conn) == PQTRANS_INTRANS);
    CHECK(run("SELECT absent", PGRES_FATAL_ERROR) && PQtransactionStatus(conn) == PQTRANS_INTRANS);
    CHECK(run("COMMIT", PGRES_COMMAND_OK) && PQtransactionStatus(conn) == PQTRANS_IDLE);
    return true;
}

static bool case_single_row_mode(void)
{
    char sql[256];
    snprintf(sql, sizeof(sql), NUMBERS, 1000);
    CHECK(PQsendQuery(conn, sql) == 1 && PQsetSingleRowMode(conn) == 1);
    int rows = 0;
    bool is_done = false;
    for (PGresult *result = PQgetResult(conn); result != NULL; result = PQgetResult(conn)) {
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
            rows++;
        else
            is_done = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0;
        PQclear(result);
    }
    CHECK(rows == 1000 && is_done);
    return true;
}

static bool case_single_row_mode_left_early(void)
{
    CHECK(PQsendQuery(conn, "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s") == 1);
    CHECK(PQsetSingleRowMode(conn) == 1);
    for (int i = 0; i < 10; i++) {
        PGresult *result = PQgetResult(conn);
        CHECK(PQresultStatus(result) == PGRES_SINGLE_TUPLE);
        PQclear(result);
    }
    PGcancel *cancel = PQgetCancel(conn);
    char text[256];
    CHECK(PQcancel(cancel, text, sizeof(text)) == 1);
    PQfreeCancel(cancel);
    bool is_cancelled = false;
    for (PGresult *result = PQgetResult(conn); result != NULL; result = PQgetResult(conn)) {
        is_cancelled = state_is(result, "57014");
        PQclear(result);
    }
    CHECK(is_cancelled && run("SELECT 1", PGRES_TUPLES_OK));
    return true;
}

static bool case_cancel(void)
{
    CHECK(PQsendQuery(conn, ENDLESS) == 1);
    PGcancel *cancel = PQgetCancel(conn);
    char text[256];
    struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
    do { /* a request that comes before the statement has begun is lost */
        CHECK(PQcancel(cancel, text, sizeof(text)) == 1);
    } while (poll(&socket, 1, 50) == 0);
    PQfreeCancel(cancel);
    PGresult *result = PQgetResult(conn);
    CHECK(state_is(result, "57014"));
    PQclear(result);
    CHECK(PQgetResult(conn) == NULL && run("SELECT 1", PGRES_TUPLES_OK));
    return true;
}

static bool case_copy(void)
{
    CHECK(run("CREATE TABLE c(a INTEGER, b TEXT)", PGRES_COMMAND_OK));
    CHECK(run("COPY c FROM STDIN", PGRES_COPY_IN));
    for (int i = 0; i < 1000; i++) {
        char line[64];
        int length = snprintf(line, sizeof(line), "%d\trow %d\n", i, i);
        CHECK(PQputCopyData(conn, line, length) == 1);
    }
    CHECK(PQputCopyEnd(conn, NULL) == 1);
    PGresult *result = PQgetResult(conn);
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(result), "1000") == 0);
    PQclear(result);
    CHECK(PQgetResult(conn) == NULL);

    CHECK(run("COPY c FROM STDIN", PGRES_COPY_IN) && PQputCopyEnd(conn, "changed my mind") == 1);
    result = PQgetResult(conn);
    CHECK(state_is(result, "57014"));
    PQclear(result);
    CHECK(PQgetResult(conn) == NULL);

    CHECK(run("COPY (SELECT a, b FROM c WHERE a < 3 ORDER BY a) TO STDOUT", PGRES_COPY_OUT));
    char *row;
    int rows = 0;
    for (int length = PQgetCopyData(conn, &row, 0); length > 0; length = PQgetCopyData(conn, &row, 0)) {
        char expected[64];
        snprintf(expected, sizeof(expected), "%d\trow %d\n", rows, rows);
        CHECK(strcmp(row, expected) == 0);
        PQfreemem(row);
        rows++;
    }
    CHECK(rows == 3);
    result = PQgetResult(conn);
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
    CHECK(PQgetResult(conn) == NULL);
    return true;
}

/* The next result of a pipeline, and the NULL that ends it. */
static bool pipeline_next(ExecStatusType expected)
{
    PGresult *result = PQgetResult(conn);
    bool ok = PQresultStatus(result) == expected;
    PQclear(result);
    return ok && (expected == PGRES_PIPELINE_SYNC || PQgetResult(conn) == NULL);
}

static bool case_pipeline(void)
{
    enum { COUNT = 500 };
    CHECK(run("CREATE TABLE p(a INTEGER PRIMARY KEY)", PGRES_COMMAND_OK));
    CHECK(PQenterPipelineMode(conn) == 1);
    for (int i = 0; i < COUNT; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", i);
        const char *value = number;
        Oid type = 20;
        CHECK(PQsendQueryParams(conn, "INSERT INTO p VALUES ($1)", 1, &type, &value, NULL, NULL, 0) == 1);
    }
    CHECK(PQpipelineSync(conn) == 1);
    for (int i = 0; i < COUNT; i++)
        CHECK(pipeline_next(PGRES_COMMAND_OK));
    CHECK(pipeline_next(PGRES_PIPELINE_SYNC));
    CHECK(PQexitPipelineMode(conn) == 1);
    PGresult *result = PQexec(conn, "SELECT count(*) FROM p");
    CHECK(value_is(result, 0, 0, "500"));
    PQclear(result);
    return true;
}

static bool case_pipeline_with_an_error(void)
{
    CHECK(run("CREATE TABLE q(a INTEGER PRIMARY KEY)", PGRES_COMMAND_OK));
    CHECK(PQenterPipelineMode(conn) == 1);
    const char *statements[] = {"INSERT INTO q VALUES (1)", "INSERT INTO q VALUES (1)", "INSERT INTO q VALUES (2)"};
    for (int i = 0; i < 3; i++)
        CHECK(PQsendQueryParams(conn, statements[i], 0, NULL, NULL, NULL, NULL, 0) == 1);
    CHECK(PQpipelineSync(conn) == 1);
    CHECK(PQsendQueryParams(conn, "INSERT INTO q VALUES (3)", 0, NULL, NULL, NULL, NULL, 0) == 1);
    CHECK(PQpipelineSync(conn) == 1);
    CHECK(pipeline_next(PGRES_COMMAND_OK) && pipeline_next(PGRES_FATAL_ERROR) && pipeline_next(PGRES_PIPELINE_ABORTED));
    CHECK(pipeline_next(PGRES_PIPELINE_SYNC) && pipeline_next(PGRES_COMMAND_OK) && pipeline_next(PGRES_PIPELINE_SYNC));
    CHECK(PQexitPipelineMode(conn) == 1);
    PGresult *result = PQexec(conn, "SELECT group_concat(a) FROM q");
    CHECK(value_is(result, 0, 0, "3"));
    PQclear(result);
    return true;
}

static bool case_flush_request_in_a_pipeline(void)
{
    CHECK(PQenterPipelineMode(conn) == 1);
    CHECK(PQsendQueryParams(conn, "SELECT 7", 0, NULL, NULL, NULL, NULL, 0) == 1 && PQsendFlushRequest(conn) == 1);
    CHECK(PQflush(conn) == 0);
    CHECK(pipeline_next(PGRES_TUPLES_OK)); /* without any Sync */
    CHECK(PQpipelineSync(conn) == 1 && pipeline_next(PGRES_PIPELINE_SYNC) && PQexitPipelineMode(conn) == 1);
    return true;
}

static bool case_notifications(void)
{
    PGconn *other = PQconnectdb("");
    CHECK(PQstatus(other) == CONNECTION_OK);
    CHECK(run("LISTEN libpq_news", PGRES_COMMAND_OK));
    PGresult *result = PQexec(other, "NOTIFY libpq_news, 'hello'");
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
    PGnotify *notify;
    while ((notify = PQnotifies(conn)) == NULL) {
        struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
        CHECK(poll(&socket, 1, 10000) == 1 && PQconsumeInput(conn) == 1);
    }
    CHECK(strcmp(notify->relname, "libpq_news") == 0 && strcmp(notify->extra, "hello") == 0);
    CHECK(notify->be_pid == PQbackendPID(other));
    PQfreemem(notify);
    PQfinish(other);
    return true;
}

static void keep_notice(void *kept, const PGresult *notice)
{
    snprintf(kept, 8, "%s", PQresultErrorField(notice, PG_DIAG_SQLSTATE));
}

static bool case_notices(void)
{
    char sqlstate[8] = "";
    PQsetNoticeReceiver(conn, keep_notice, sqlstate);
    CHECK(run("COMMIT", PGRES_COMMAND_OK) && strcmp(sqlstate, "25P01") == 0);
    return true;
}

static bool case_parameter_status(void)
{
    CHECK(strcmp(PQparameterStatus(conn, "server_encoding"), "UTF8") == 0);
    CHECK(strcmp(PQparameterStatus(conn, "integer_datetimes"), "on") == 0);
    CHECK(PQserverVersion(conn) >= 100000);
    CHECK(run("SET application_name = 'changed'", PGRES_COMMAND_OK));
    CHECK(strcmp(PQparameterStatus(conn, "application_name"), "changed") == 0);
    return true;
}

static bool case_escaping_round_trip(void)
{
    const char *hostile = "it's \\ \"quoted\" größer; --";
    char *literal = PQescapeLiteral(conn, hostile, strlen(hostile));
    char sql[256];
    CHECK(literal != NULL);
    snprintf(sql, sizeof(sql), "SELECT '%.*s'", (int)strcspn(hostile, "'"), hostile);
    PQfreemem(literal);
    char body[128];
    int error = 0;
    PQescapeStringConn(conn, body, hostile, strlen(hostile), &error);
    snprintf(sql, sizeof(sql), "SELECT '%s'", body);
    PGresult *result = PQexec(conn, sql);
    CHECK(error == 0 && value_is(result, 0, 0, hostile));
    PQclear(result);
    return true;
}

static bool case_large_objects_are_refused(void)
{
    CHECK(lo_creat(conn, 0x20000) == 0);
    CHECK(PQstatus(conn) == CONNECTION_OK && run("SELECT 1", PGRES_TUPLES_OK));
    return true;
}

static bool case_large_blob(void)
{
    enum { SIZE = 16 << 20 };
    CHECK(run("CREATE TABLE b(x BLOB)", PGRES_COMMAND_OK));
    char *blob = malloc(SIZE);
    CHECK(blob != NULL);
    for (size_t i = 0; i < SIZE; i++)
        blob[i] = (char)(i * 31);
    const char *value = blob;
    int length = SIZE;
    int format = 1;
    Oid type = 17;
    PGresult *result = PQexecParams(conn, "INSERT INTO b VALUES ($1)", 1, &type, &value, &length, &format, 0);
    CHECK(PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
    result = PQexecParams(conn, "SELECT x FROM b", 0, NULL, NULL, NULL, NULL, 1);
    CHECK(PQgetlength(result, 0, 0) == SIZE && memcmp(PQgetvalue(result, 0, 0), blob, SIZE) == 0);
    PQclear(result);
    free(blob);
    return true;
}

static bool case_reset(void)
{
    int pid = PQbackendPID(conn);
    PQreset(conn);
    CHECK(PQstatus(conn) == CONNECTION_OK && PQbackendPID(conn) != pid && run("SELECT 1", PGRES_TUPLES_OK));
    return true;
}

static bool case_nonblocking_connect(void)
{
    PGconn *other = PQconnectStart("");
    struct pollfd socket = {0};
    for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;
         state = PQconnectPoll(other)) {
        CHECK(state != PGRES_POLLING_FAILED);
        socket.fd = PQsocket(other);
        socket.events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        CHECK(poll(&socket, 1, 10000) == 1);
    }
    CHECK(PQping("") == PQPING_OK);
    PQfinish(other);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(void);
} cases[] = {
    {"simple query", case_simple_query},
    {"parameters in text and binary", case_parameters_in_text_and_binary},
    {"prepare and describe", case_prepare_and_describe},
    {"errors have their fields", case_errors_have_their_fields},
    {"transaction status", case_transaction_status},
    {"single row mode", case_single_row_mode},
    {"single row mode left early", case_single_row_mode_left_early},
    {"cancel", case_cancel},
    {"copy", case_copy},
    {"pipeline", case_pipeline},
    {"pipeline with an error", case_pipeline_with_an_error},
    {"flush request in a pipeline", case_flush_request_in_a_pipeline},
    {"notifications", case_notifications},
    {"notices", case_notices},
    {"parameter status", case_parameter_status},
    {"escaping round trip", case_escaping_round_trip},
    {"large objects are refused", case_large_objects_are_refused},
    {"large blob", case_large_blob},
    {"reset", case_reset},
    {"nonblocking connect", case_nonblocking_connect},
};

int main(void)
{
    int failed = 0;
    alarm(90); /* nothing may hang */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        conn = PQconnectdb("");
        snprintf(why, sizeof(why), "connect: %.900s", PQerrorMessage(conn));
        if (PQstatus(conn) == CONNECTION_OK && cases[i].run()) {
            printf("ok %s\n", cases[i].name);
        } else {
            failed++;
            why[strcspn(why, "\n")] = '\0';
            printf("not ok %s - %s\n", cases[i].name, why);
        }
        fflush(stdout);
        PQfinish(conn);
    }
    return failed == 0 ? 0 : 1;
}
