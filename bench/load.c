/* bench/load.c: the loads that pgbench does not have, over libpq, for one server that speaks PostgreSQL's protocol.
 *
 *     load MODE [--clients N] [--seconds T] [--sql SQL] [--keys N] [--rows N] [--batch N] [--busy N --busy-sql SQL]
 *          CONNINFO
 *
 *     run       N connections, one thread, epoll. Each sends the prepared SQL with one parameter, a random key of
 *               1..KEYS, again and again, the next when the answer is in. With --busy, N connections more run BUSY-SQL,
 *               which must not end, all the while.
 *               With its first statement a server opens what it needs for a connection; latencies are those of
 *               statements that are sent after every connection has had its first answer.
 *     idle      opens N connections that do nothing; then each runs SQL once and does nothing again.
 *     connect   N threads, each opens a connection and closes it, again and again.
 *     statement the prepared SQL with one parameter, a random key of 1..KEYS, again and again, on one connection that waits
 *               for each answer: PQexecPrepared(), everything in binary, every value read. With --batch, so many are one
 *               transaction. The counterpart over SQLite's interface is dropin.c.
 *     result    SQL, again and again, on one connection. Rows are taken off the socket and counted, not kept: libpq
 *               takes longer to store a row than either server to send it, so that it would measure libpq.
 *     copy      ROWS rows into table bulk by COPY.
 *     multi     ROWS rows into table bulk by INSERTs of BATCH rows each, one transaction each.
 *
 * The driver (bench.py) measures the server around what is measured here, so the two keep step over standard input and
 * output: `ready` is printed when the connections are open and all is prepared; then a line is awaited; then comes the
 * load; its result is one line of JSON; and the connections stay open until the end of standard input. What could not
 * be set up ends the program with a message. Errors of the load itself are counted by SQLSTATE, and a connection that had
 * one goes on, unless it is lost.
 *
 * `run` stops sending after T seconds and waits for the answers that are still due (ANSWER_WAIT_S at most), so that a
 * statement that waits for ever shows as the longest wait or as unanswered, and not at all as nothing. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 100000,
    EVENTS_MAX = 256,
    ERROR_KINDS_MAX = 16,
    COPY_BUFFER_BYTES = 65536,
    FILLER_BYTES = 80,
    RESULT_BUFFER_BYTES = 1 << 18,
    ANSWER_WAIT_S = 60,
    WARM_UP_RUNS = 100,
};
#define NS_PER_S INT64_C(1000000000)

struct options {
    const char *conninfo, *sql, *busy_sql;
    int64_t clients, busy, keys, rows, batch;
    double seconds;
};

/* One kind of error that the load met, and how often. */
struct error_kind {
    char sqlstate[6];
    char text[160];
    int64_t count;
};

/* What a load did. A latency is in microseconds; the array grows. */
struct result {
    uint32_t *latencies_us;
    size_t latency_count, latency_capacity;
    struct error_kind errors[ERROR_KINDS_MAX];
    int64_t done, rows, unanswered;
    double seconds;
};

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* xorshift64*: keys for the load, nothing else. One state for each thread. */
static int64_t key_next(uint64_t *state, int64_t key_max)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (int64_t)((*state * UINT64_C(2685821657736338717) >> 11) % (uint64_t)key_max) + 1;
}

static void latency_add(struct result *result, int64_t ns)
{
    if (result->latency_count == result->latency_capacity) {
        result->latency_capacity = result->latency_capacity == 0 ? 65536 : 2 * result->latency_capacity;
        result->latencies_us = realloc(result->latencies_us, result->latency_capacity * sizeof(uint32_t));
        if (result->latencies_us == NULL)
            die("latencies", "out of memory");
    }
    int64_t us = (ns + 500) / 1000;
    result->latencies_us[result->latency_count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* Counts an error by its SQLSTATE; what has none (a lost connection) is `-----`. */
static void error_add(struct result *result, const char *sqlstate, const char *text)
{
    if (sqlstate == NULL)
        sqlstate = "-----";
    for (size_t i = 0; i < ERROR_KINDS_MAX; i++) {
        struct error_kind *kind = &result->errors[i];
        if (kind->count == 0) {
            (void)snprintf(kind->sqlstate, sizeof(kind->sqlstate), "%s", sqlstate);
            (void)snprintf(kind->text, sizeof(kind->text), "%s", text);
        }
        if (strcmp(kind->sqlstate, sqlstate) == 0 || i == ERROR_KINDS_MAX - 1) {
            kind->count++;
            return;
        }
    }
}

static void print_text(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            (void)putchar('\\');
        (void)putchar(c < ' ' ? ' ' : c);
    }
    (void)putchar('"');
}

/* The one line of JSON, with every latency in it: percentiles are the driver's, which adds up several runs. */
static void result_print(const struct result *result)
{
    (void)printf("{\"done\": %" PRId64 ", \"rows\": %" PRId64 ", \"seconds\": %.6f, \"unanswered\": %" PRId64,
                 result->done, result->rows, result->seconds, result->unanswered);
    (void)printf(", \"errors\": {");
    for (size_t i = 0; i < ERROR_KINDS_MAX && result->errors[i].count > 0; i++) {
        (void)printf("%s\"%s\": {\"count\": %" PRId64 ", \"text\": ", i > 0 ? ", " : "", result->errors[i].sqlstate,
                     result->errors[i].count);
        print_text(result->errors[i].text);
        (void)printf("}");
    }
    (void)printf("}, \"latencies_us\": [");
    for (size_t i = 0; i < result->latency_count; i++)
        (void)printf("%s%" PRIu32, i > 0 ? "," : "", result->latencies_us[i]);
    (void)printf("]}\n");
    (void)fflush(stdout);
}

/* --- step with the driver --- */

static void await_line(void)
{
    int c;
    while ((c = getchar()) != '\n' && c != EOF)
        ;
}

static void ready(void)
{
    (void)puts("ready");
    (void)fflush(stdout);
    await_line();
}

/* Prints the result and keeps what is open until the driver has measured. */
static void report(struct result *result)
{
    result_print(result);
    while (getchar() != EOF)
        ;
    free(result->latencies_us);
}

/* --- connections --- */

static PGconn *connect_or_die(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        die("cannot connect", PQerrorMessage(conn));
    return conn;
}

static void exec_or_die(PGconn *conn, const char *sql)
{
    PGresult *res = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(conn));
    PQclear(res);
}

/* Counts what came back for one statement; true if it succeeded. */
static bool take_result(struct result *result, PGconn *conn, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    bool is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (is_good)
        result->rows += PQntuples(res);
    else
        error_add(result, PQresultErrorField(res, PG_DIAG_SQLSTATE),
                  res != NULL ? PQresultErrorMessage(res) : PQerrorMessage(conn));
    PQclear(res);
    return is_good;
}

/* --- run --- */

struct client {
    PGconn *conn;
    int64_t sent_ns; /* 0: nothing is under way */
    bool is_good;    /* no error so far in the answer that is being read */
    bool is_warm;    /* has had an answer */
    bool awaits_room;
};

struct run {
    const struct options *options;
    struct result result;
    struct client *clients;
    PGconn **busy;
    uint64_t random;
    int64_t waiting; /* clients with a statement under way */
    int64_t cold;    /* clients that have had no answer */
    int64_t warm_ns; /* when the last of them had one; INT64_MAX before */
    int epoll_fd;
};

static void watch(struct run *run, struct client *client, int operation)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (client->awaits_room)
        event.events |= EPOLLOUT;
    if (epoll_ctl(run->epoll_fd, operation, PQsocket(client->conn), &event) != 0)
        die("epoll_ctl", strerrordesc_np(errno));
}

static void client_flush(struct run *run, struct client *client)
{
    bool awaits_room = PQflush(client->conn) == 1;
    if (awaits_room != client->awaits_room) {
        client->awaits_room = awaits_room;
        watch(run, client, EPOLL_CTL_MOD);
    }
}

static void client_lost(struct run *run, struct client *client)
{
    error_add(&run->result, NULL, PQerrorMessage(client->conn));
    (void)epoll_ctl(run->epoll_fd, EPOLL_CTL_DEL, PQsocket(client->conn), NULL);
    PQfinish(client->conn);
    client->conn = NULL;
    if (client->sent_ns != 0)
        run->waiting--;
    client->sent_ns = 0;
    if (!client->is_warm && --run->cold == 0)
        run->warm_ns = now_ns();
}

static void client_send(struct run *run, struct client *client)
{
    char key[24];
    (void)snprintf(key, sizeof(key), "%" PRId64, key_next(&run->random, run->options->keys));
    const char *values[] = {key};
    client->sent_ns = now_ns();
    client->is_good = true;
    run->waiting++;
    if (PQsendQueryPrepared(client->conn, "s", 1, values, NULL, NULL, 0) == 0)
        client_lost(run, client);
    else
        client_flush(run, client);
}

/* Takes what has come. When a statement's answer is complete it is counted, and the next one sent if it is before
 * `end_ns`. */
static void client_receive(struct run *run, struct client *client, int64_t end_ns)
{
    if (PQconsumeInput(client->conn) == 0) {
        client_lost(run, client);
        return;
    }
    while (client->sent_ns != 0 && PQisBusy(client->conn) == 0) {
        PGresult *res = PQgetResult(client->conn);
        if (res != NULL) {
            client->is_good = take_result(&run->result, client->conn, res) && client->is_good;
            continue;
        }
        if (PQstatus(client->conn) != CONNECTION_OK) {
            client_lost(run, client);
            return;
        }
        int64_t time_ns = now_ns();
        if (client->sent_ns >= run->warm_ns)
            latency_add(&run->result, time_ns - client->sent_ns);
        if (!client->is_warm && --run->cold == 0)
            run->warm_ns = time_ns;
        client->is_warm = true;
        run->waiting--;
        client->sent_ns = 0;
        if (client->is_good && time_ns <= end_ns)
            run->result.done++;
        if (time_ns < end_ns)
            client_send(run, client);
        if (client->conn == NULL)
            return;
    }
}

static void run_open(struct run *run)
{
    const struct options *options = run->options;
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    run->clients = calloc((size_t)options->clients, sizeof(*run->clients));
    run->busy = calloc((size_t)options->busy + 1, sizeof(PGconn *));
    if (run->epoll_fd < 0 || run->clients == NULL || run->busy == NULL)
        die("connections", strerrordesc_np(errno));
    for (int64_t i = 0; i < options->clients; i++) {
        struct client *client = &run->clients[i];
        client->conn = connect_or_die(options->conninfo);
        PGresult *res = PQprepare(client->conn, "s", options->sql, 0, NULL);
        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            die(options->sql, PQerrorMessage(client->conn));
        PQclear(res);
        if (PQsetnonblocking(client->conn, 1) != 0)
            die("nonblocking", PQerrorMessage(client->conn));
        watch(run, client, EPOLL_CTL_ADD);
    }
    for (int64_t i = 0; i < options->busy; i++) {
        run->busy[i] = connect_or_die(options->conninfo);
        if (PQsendQuery(run->busy[i], options->busy_sql) == 0)
            die(options->busy_sql, PQerrorMessage(run->busy[i]));
    }
}

/* Ends the endless statements. One that has ended by itself makes the measurement worthless. */
static void busy_end(struct run *run)
{
    for (int64_t i = 0; i < run->options->busy; i++) {
        PGconn *conn = run->busy[i];
        if (PQconsumeInput(conn) == 0 || PQisBusy(conn) == 0)
            die("an endless statement ended by itself", PQerrorMessage(conn));
        char why[256] = "";
        PGcancel *cancel = PQgetCancel(conn);
        if (cancel == NULL || PQcancel(cancel, why, sizeof(why)) == 0)
            die("cannot cancel", why);
        PQfreeCancel(cancel);
        PGresult *res = PQgetResult(conn);
        const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
        if (sqlstate == NULL || strcmp(sqlstate, "57014") != 0)
            die("a cancelled statement did not say so", PQerrorMessage(conn));
        PQclear(res);
    }
}

static void mode_run(const struct options *options)
{
    struct run run = {
        .options = options, .random = (uint64_t)now_ns() | 1, .cold = options->clients, .warm_ns = INT64_MAX};
    run_open(&run);
    ready();
    int64_t begin_ns = now_ns(), end_ns = begin_ns + (int64_t)(options->seconds * 1e9);
    for (int64_t i = 0; i < options->clients; i++)
        client_send(&run, &run.clients[i]);
    while (run.waiting > 0 && now_ns() < end_ns + ANSWER_WAIT_S * NS_PER_S) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(run.epoll_fd, events, EVENTS_MAX, 1000);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client->conn != NULL && client->awaits_room && (events[i].events & EPOLLOUT) != 0)
                client_flush(&run, client);
            if (client->conn != NULL && (events[i].events & ~(uint32_t)EPOLLOUT) != 0)
                client_receive(&run, client, end_ns);
        }
    }
    run.result.unanswered = run.waiting;
    run.result.seconds = options->seconds;
    busy_end(&run);
    report(&run.result);
    for (int64_t i = 0; i < options->clients; i++)
        PQfinish(run.clients[i].conn);
    for (int64_t i = 0; i < options->busy; i++)
        PQfinish(run.busy[i]);
    free(run.clients);
    free(run.busy);
    (void)close(run.epoll_fd);
}

/* --- idle --- */

static void mode_idle(const struct options *options)
{
    struct result result = {0};
    PGconn **conns = calloc((size_t)options->clients, sizeof(PGconn *));
    if (conns == NULL)
        die("connections", "out of memory");
    int64_t begin_ns = now_ns();
    for (int64_t i = 0; i < options->clients; i++)
        conns[i] = connect_or_die(options->conninfo);
    result.seconds = (double)(now_ns() - begin_ns) / 1e9;
    ready();
    for (int64_t i = 0; i < options->clients; i++)
        if (take_result(&result, conns[i], PQexec(conns[i], options->sql)))
            result.done++;
    report(&result);
    for (int64_t i = 0; i < options->clients; i++)
        PQfinish(conns[i]);
    free(conns);
}

/* --- connect --- */

struct connector {
    const struct options *options;
    struct result result;
    int64_t end_ns;
    pthread_t thread;
};

static void *connector_main(void *argument)
{
    struct connector *connector = argument;
    int64_t begin_ns;
    while ((begin_ns = now_ns()) < connector->end_ns) {
        PGconn *conn = PQconnectdb(connector->options->conninfo);
        if (PQstatus(conn) == CONNECTION_OK)
            connector->result.done++;
        else
            error_add(&connector->result, NULL, PQerrorMessage(conn));
        PQfinish(conn);
        latency_add(&connector->result, now_ns() - begin_ns);
    }
    return NULL;
}

static void mode_connect(const struct options *options)
{
    struct connector *connectors = calloc((size_t)options->clients, sizeof(*connectors));
    if (connectors == NULL)
        die("connections", "out of memory");
    ready();
    int64_t begin_ns = now_ns();
    for (int64_t i = 0; i < options->clients; i++) {
        connectors[i].options = options;
        connectors[i].end_ns = begin_ns + (int64_t)(options->seconds * 1e9);
        if (pthread_create(&connectors[i].thread, NULL, connector_main, &connectors[i]) != 0)
            die("threads", "cannot start one");
    }
    struct result result = {0};
    for (int64_t i = 0; i < options->clients; i++) {
        struct result *part = &connectors[i].result;
        (void)pthread_join(connectors[i].thread, NULL);
        result.done += part->done;
        for (size_t n = 0; n < part->latency_count; n++)
            latency_add(&result, (int64_t)part->latencies_us[n] * 1000);
        for (size_t n = 0; n < ERROR_KINDS_MAX; n++)
            for (int64_t times = part->errors[n].count; times > 0; times--)
                error_add(&result, part->errors[n].sqlstate, part->errors[n].text);
        free(part->latencies_us);
    }
    result.seconds = (double)(now_ns() - begin_ns) / 1e9;
    report(&result);
    free(connectors);
}

/* --- statement: one connection --- */

static PGresult *exec_prepared(PGconn *conn, const char *name, int64_t key)
{
    uint64_t bytes = htobe64((uint64_t)key);
    const char *values[] = {(const char *)&bytes};
    const int lengths[] = {sizeof(bytes)}, formats[] = {1};
    return PQexecPrepared(conn, name, 1, values, lengths, formats, 1);
}

/* What an application does with a result: asks for every value. */
static void read_values(const PGresult *res)
{
    for (int row = 0; row < PQntuples(res); row++) {
        for (int column = 0; column < PQnfields(res); column++) {
            (void)PQgetisnull(res, row, column);
            (void)PQgetvalue(res, row, column);
            (void)PQgetlength(res, row, column);
        }
    }
}

static void prepare_or_die(PGconn *conn, const char *name, const char *sql, int parameter_count)
{
    static const Oid int8_oid = 20;
    PGresult *res = PQprepare(conn, name, sql, parameter_count, &int8_oid);
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        die(sql, PQerrorMessage(conn));
    PQclear(res);
}

static void statement_plain(struct result *result, PGconn *conn, const char *name)
{
    (void)take_result(result, conn, PQexecPrepared(conn, name, 0, NULL, NULL, NULL, 1));
}

static void mode_statement(const struct options *options)
{
    struct result result = {0};
    PGconn *conn = connect_or_die(options->conninfo);
    prepare_or_die(conn, "s", options->sql, 1);
    prepare_or_die(conn, "begin", "BEGIN", 0);
    prepare_or_die(conn, "commit", "COMMIT", 0);
    uint64_t random = (uint64_t)now_ns() | 1;
    for (int i = 0; i < WARM_UP_RUNS; i++)
        (void)take_result(&result, conn, exec_prepared(conn, "s", key_next(&random, options->keys)));
    ready();
    result.rows = 0;
    int64_t begin_ns = now_ns(), end_ns = begin_ns + (int64_t)(options->seconds * 1e9), time_ns = begin_ns;
    for (; time_ns < end_ns; time_ns = now_ns()) {
        if (options->batch > 1)
            statement_plain(&result, conn, "begin");
        for (int64_t i = 0; i < options->batch; i++) {
            PGresult *res = exec_prepared(conn, "s", key_next(&random, options->keys));
            read_values(res);
            if (take_result(&result, conn, res))
                result.done++;
        }
        if (options->batch > 1)
            statement_plain(&result, conn, "commit");
    }
    result.seconds = (double)(time_ns - begin_ns) / 1e9;
    report(&result);
    PQfinish(conn);
}

/* --- result, copy, multi: one connection --- */

/* Reads from the socket until ReadyForQuery, counts DataRow and ErrorResponse. The message format: a type byte, then
 * the length in four bytes, which counts itself (PostgreSQL manual, "Message Formats"). */
static void drain_answer(struct result *result, int fd)
{
    static uint8_t buffer[RESULT_BUFFER_BYTES];
    size_t used = 0;
    for (;;) {
        ssize_t got = recv(fd, buffer + used, sizeof(buffer) - used, 0);
        if (got <= 0)
            die("connection", got == 0 ? "closed by the server" : strerrordesc_np(errno));
        used += (size_t)got;
        size_t at = 0;
        while (used - at >= 5) {
            uint32_t length;
            memcpy(&length, buffer + at + 1, sizeof(length));
            result->rows += buffer[at] == 'D';
            if (buffer[at] == 'E')
                error_add(result, NULL, "the statement failed");
            if (buffer[at] == 'Z')
                return;
            size_t skip = 1 + (size_t)ntohl(length);
            if (skip > used - at)
                break;
            at += skip;
        }
        /* What is left is the beginning of one message: there is room for the rest of any row of the bench. */
        memmove(buffer, buffer + at, used - at);
        used -= at;
        if (used == sizeof(buffer))
            die("result", "a message is longer than the buffer");
    }
}

static void mode_result(const struct options *options)
{
    struct result result = {0};
    PGconn *conn = connect_or_die(options->conninfo);
    exec_or_die(conn, options->sql);
    size_t sql_bytes = strlen(options->sql) + 1, query_bytes = 1 + 4 + sql_bytes;
    uint8_t *query = malloc(query_bytes);
    if (query == NULL)
        die("statement", "out of memory");
    uint32_t length = htonl((uint32_t)(4 + sql_bytes));
    query[0] = 'Q';
    memcpy(query + 1, &length, sizeof(length));
    memcpy(query + 5, options->sql, sql_bytes);
    int fd = PQsocket(conn);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        die("fcntl", strerrordesc_np(errno));
    ready();
    int64_t begin_ns = now_ns(), end_ns = begin_ns + (int64_t)(options->seconds * 1e9), time_ns = begin_ns;
    while (time_ns < end_ns) {
        if (send(fd, query, query_bytes, MSG_NOSIGNAL) != (ssize_t)query_bytes)
            die("send", strerrordesc_np(errno));
        drain_answer(&result, fd);
        result.done++;
        int64_t done_ns = now_ns();
        latency_add(&result, done_ns - time_ns);
        time_ns = done_ns;
    }
    result.seconds = (double)(time_ns - begin_ns) / 1e9;
    report(&result);
    free(query);
    PQfinish(conn);
}

static void filler_make(char filler[FILLER_BYTES + 1], int64_t row)
{
    (void)snprintf(filler, FILLER_BYTES + 1, "%080" PRId64, row);
}

static void mode_copy(const struct options *options)
{
    struct result result = {0};
    PGconn *conn = connect_or_die(options->conninfo);
    ready();
    int64_t begin_ns = now_ns();
    PGresult *res = PQexec(conn, "COPY bulk(id, balance, filler) FROM STDIN");
    if (PQresultStatus(res) != PGRES_COPY_IN)
        die("COPY", PQerrorMessage(conn));
    PQclear(res);
    char buffer[COPY_BUFFER_BYTES], filler[FILLER_BYTES + 1];
    size_t used = 0;
    for (int64_t row = 1; row <= options->rows; row++) {
        filler_make(filler, row);
        used += (size_t)snprintf(buffer + used, sizeof(buffer) - used, "%" PRId64 "\t0\t%s\n", row, filler);
        if (sizeof(buffer) - used < 2 * FILLER_BYTES || row == options->rows) {
            if (PQputCopyData(conn, buffer, (int)used) != 1)
                die("COPY", PQerrorMessage(conn));
            used = 0;
        }
    }
    if (PQputCopyEnd(conn, NULL) != 1)
        die("COPY", PQerrorMessage(conn));
    if (take_result(&result, conn, PQgetResult(conn)))
        result.done = 1;
    while ((res = PQgetResult(conn)) != NULL)
        PQclear(res);
    result.seconds = (double)(now_ns() - begin_ns) / 1e9;
    result.rows = result.done * options->rows;
    report(&result);
    PQfinish(conn);
}

static void mode_multi(const struct options *options)
{
    struct result result = {0};
    PGconn *conn = connect_or_die(options->conninfo);
    size_t capacity = (size_t)options->batch * (FILLER_BYTES + 32) + 64;
    char *sql = malloc(capacity), filler[FILLER_BYTES + 1];
    if (sql == NULL)
        die("statement", "out of memory");
    ready();
    int64_t begin_ns = now_ns(), rows = 0;
    for (int64_t row = 1; row <= options->rows;) {
        int64_t begin_statement_ns = now_ns(), first = row;
        size_t used = (size_t)snprintf(sql, capacity, "INSERT INTO bulk(id, balance, filler) VALUES ");
        for (; row < first + options->batch && row <= options->rows; row++) {
            filler_make(filler, row);
            used += (size_t)snprintf(sql + used, capacity - used, "%s(%" PRId64 ",0,'%s')", row > first ? "," : "", row,
                                     filler);
        }
        if (take_result(&result, conn, PQexec(conn, sql))) {
            result.done++;
            rows += row - first;
        }
        latency_add(&result, now_ns() - begin_statement_ns);
    }
    result.seconds = (double)(now_ns() - begin_ns) / 1e9;
    result.rows = rows;
    report(&result);
    free(sql);
    PQfinish(conn);
}

/* --- the command line --- */

static int64_t number(const char *name, const char *text, int64_t max)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 0 || value > max)
        die(name, text);
    return value;
}

static void options_parse(struct options *options, int argc, char **argv)
{
    static const struct option table[] = {
        {"clients", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 'T'},
        {"sql", required_argument, NULL, 's'},
        {"keys", required_argument, NULL, 'k'},
        {"rows", required_argument, NULL, 'r'},
        {"batch", required_argument, NULL, 'b'},
        {"busy", required_argument, NULL, 'B'},
        {"busy-sql", required_argument, NULL, 'S'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.clients = 1, .seconds = 1, .sql = "SELECT 1", .keys = 1, .rows = 1, .batch = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'c':
            options->clients = number("--clients", optarg, CLIENTS_MAX);
            break;
        case 'T':
            options->seconds = strtod(optarg, NULL);
            break;
        case 's':
            options->sql = optarg;
            break;
        case 'k':
            options->keys = number("--keys", optarg, INT64_MAX);
            break;
        case 'r':
            options->rows = number("--rows", optarg, INT64_MAX);
            break;
        case 'b':
            options->batch = number("--batch", optarg, 1000000);
            break;
        case 'B':
            options->busy = number("--busy", optarg, CLIENTS_MAX);
            break;
        case 'S':
            options->busy_sql = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (optind != argc - 1 || options->clients == 0 || options->keys == 0 || options->batch == 0)
        die("usage", "load MODE [OPTION]... CONNINFO; the head of bench/load.c has the options");
    options->conninfo = argv[optind];
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*main)(const struct options *);
    } modes[] = {
        {"run", mode_run},       {"idle", mode_idle}, {"connect", mode_connect}, {"statement", mode_statement},
        {"result", mode_result}, {"copy", mode_copy}, {"multi", mode_multi},
    };
    struct options options;
    const char *mode = argc > 1 ? argv[1] : "";
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            options_parse(&options, argc - 1, argv + 1);
            modes[i].main(&options);
            return 0;
        }
    }
    die("no such mode", mode);
}
