/* tests/client/pgclient_probe.c: connects with src/pgclient and tells what came of it, for test_pgclient.py.
 *
 *     pgclient_probe URL [COMMAND]…     commands, done in order once the connection stands:
 *         query=SQL       sends it, prints each row's columns with '|' between, and the outcome
 *         status=NAME     prints what the server has reported
 *         refused=NAME    prints whether the server has refused an option
 *         send=SQL        sends it and does not wait
 *         receive         reads the answer to it
 *         receive=MS      the same, with a time limit for silence
 *         cancel          sends a CancelRequest
 *         alarm           the same, from a signal handler
 *         stale           prints whether the connection is stale
 *         read            waits for a line on standard input
 *         fork            a child abandons the connection
 *         socket          prints what is set on the socket
 *         large=MB        sends so many megabytes of queries at once, then reads the answers
 *
 * With PROBE_FAIL=N in the environment the N-th allocation of the room fails (the linker's --wrap), and the last line says
 * how many there were.
 *
 * Prints one line for each; a failure as "error STATUS SQLSTATE text [hint]". SIGPIPE has its default action: it would end
 * this program. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "pgclient/pgclient.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);

static long fail_at;
static long allocation_count;

static bool must_fail(void)
{
    return ++allocation_count == fail_at;
}

void *__wrap_malloc(size_t bytes)
{
    return must_fail() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return must_fail() ? NULL : __real_calloc(count, bytes);
}

char *__wrap_strdup(const char *text)
{
    return must_fail() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length)
{
    return must_fail() ? NULL : __real_strndup(text, length);
}

static struct pgclient *client;
static volatile sig_atomic_t alarm_result = -1;

static void print_error(sq_status status, const struct sq_error *err)
{
    printf("error %s %s %s", sq_status_name(status), err->sqlstate, err->text);
    if (err->hint[0] != '\0')
        printf(" [%s]", err->hint);
    putchar('\n');
}

static void print_row(const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_data_row row;
    if (pgwire_data_row_decode(frame, err, &row) != SQ_OK) {
        print_error(SQ_PROTOCOL, err);
        return;
    }
    bool is_first = true;
    for (struct pgwire_value value; pgwire_values_next(&row.columns, &value); is_first = false)
        printf("%s%.*s", is_first ? "row " : "|", value.is_null ? 4 : (int)value.length,
               value.is_null ? "NULL" : (const char *)value.data);
    putchar('\n');
}

/* Reads up to `ready_count` ReadyForQuery; rows are counted, and printed if `is_printed`. */
static void read_answers(int64_t timeout_us, size_t ready_count, bool is_printed)
{
    struct sq_error err;
    sq_error_clear(&err);
    size_t row_count = 0;
    while (ready_count > 0) {
        struct pgwire_frame frame;
        sq_status status = pgclient_receive(client, timeout_us, &err, &frame);
        if (status != SQ_OK) {
            print_error(status, &err);
            return;
        }
        struct pgwire_report report;
        switch (frame.type) {
        case PGWIRE_DATA_ROW:
            row_count++;
            if (is_printed)
                print_row(&frame, &err);
            break;
        case PGWIRE_ERROR_RESPONSE:
            if (pgwire_report_decode(&frame, &err, &report) == SQ_OK)
                printf("server %s %s\n", report.sqlstate, report.message);
            break;
        case PGWIRE_READY_FOR_QUERY:
            ready_count--;
            break;
        default:
            break;
        }
    }
    printf("done %zu\n", row_count);
}

static bool send_query(const char *sql, size_t count)
{
    struct sq_error err;
    sq_error_clear(&err);
    for (size_t i = 0; i < count; i++)
        pgwire_put_query(pgclient_out(client), sql, strlen(sql));
    sq_status status = pgclient_send(client, &err);
    if (status != SQ_OK)
        print_error(status, &err);
    return status == SQ_OK;
}

static void do_large(long megabytes)
{
    enum { CHUNK_BYTES = 1024 * 1024 };
    static char sql[CHUNK_BYTES];
    static const char prefix[] = "SELECT '";
    memset(sql, 'x', sizeof(sql));
    memcpy(sql, prefix, sizeof(prefix) - 1);
    memcpy(sql + sizeof(sql) - 2, "'", 2);
    if (send_query(sql, (size_t)megabytes))
        read_answers(0, (size_t)megabytes, false);
}

static void on_alarm(int number)
{
    (void)number;
    alarm_result = pgclient_cancel(client, 5 * SQ_US_PER_S);
}

/* The handler runs while the main program waits for an answer. */
static void do_alarm(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {.it_value = {.tv_usec = 200000}};
    if (sigaction(SIGALRM, &action, NULL) != 0 || setitimer(ITIMER_REAL, &timer, NULL) != 0)
        abort();
    read_answers(0, 1, true);
    printf("alarm %d\n", (int)alarm_result);
}

static void do_fork(void)
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        pgclient_abandon(client);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        abort();
    printf("forked\n");
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t bytes = sizeof(value);
    return getsockopt(fd, level, name, &value, &bytes) == 0 ? value : -1;
}

/* The only socket that this program has. */
static void do_socket(void)
{
    for (int fd = 3; fd < 64; fd++) {
        if (option(fd, SOL_SOCKET, SO_TYPE) < 0)
            continue;
        printf("socket nodelay %d keepalive %d idle %d interval %d count %d timeout %d cloexec %d\n",
               option(fd, IPPROTO_TCP, TCP_NODELAY), option(fd, SOL_SOCKET, SO_KEEPALIVE),
               option(fd, IPPROTO_TCP, TCP_KEEPIDLE), option(fd, IPPROTO_TCP, TCP_KEEPINTVL),
               option(fd, IPPROTO_TCP, TCP_KEEPCNT), option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT),
               (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
}

static void do_command(const char *command)
{
    const char *value = strchr(command, '=');
    size_t length = value != NULL ? (size_t)(value - command) : strlen(command);
    value = value != NULL ? value + 1 : "";
    char line[100];
    if (strncmp(command, "query", length) == 0) {
        if (send_query(value, 1))
            read_answers(0, 1, true);
    } else if (strncmp(command, "send", length) == 0) {
        if (send_query(value, 1))
            printf("sent\n");
    } else if (strncmp(command, "status", length) == 0) {
        const char *status = pgclient_status(client, value);
        printf("status %s\n", status != NULL ? status : "(none)");
    } else if (strncmp(command, "refused", length) == 0) {
        printf("refused %d\n", (int)pgclient_has_refused(client, value));
    } else if (strncmp(command, "receive", length) == 0) {
        read_answers(strtol(value, NULL, 10) * SQ_US_PER_MS, 1, true);
    } else if (strncmp(command, "cancel", length) == 0) {
        printf("cancel %d\n", (int)pgclient_cancel(client, 5 * SQ_US_PER_S));
    } else if (strncmp(command, "alarm", length) == 0) {
        do_alarm();
    } else if (strncmp(command, "stale", length) == 0) {
        bool is_stale = pgclient_is_stale(client);
        printf("stale %d failed %d\n", (int)is_stale, (int)pgclient_is_failed(client));
    } else if (strncmp(command, "read", length) == 0) {
        if (fgets(line, sizeof(line), stdin) == NULL)
            abort();
        printf("read\n");
    } else if (strncmp(command, "fork", length) == 0) {
        do_fork();
    } else if (strncmp(command, "socket", length) == 0) {
        do_socket();
    } else if (strncmp(command, "large", length) == 0) {
        do_large(strtol(value, NULL, 10));
    } else {
        printf("unknown command %s\n", command);
    }
    (void)fflush(stdout);
}

static int run(int argc, char **argv)
{
    struct sq_error err;
    sq_error_clear(&err);
    struct pgclient_target *target = NULL;
    sq_status status = argc < 2 ? sq_fail(&err, SQ_INVALID, "no URL") : pgclient_target_parse(argv[1], &err, &target);
    if (status == SQ_OK)
        status = pgclient_connect(target, NULL, NULL, 0, &err, &client);
    if (status != SQ_OK) {
        print_error(status, &err);
        pgclient_target_free(target);
        return 1;
    }
    printf("connected\n");
    (void)fflush(stdout);
    for (int i = 2; i < argc; i++)
        do_command(argv[i]);
    pgclient_free(client);
    pgclient_target_free(target);
    return 0;
}

int main(int argc, char **argv)
{
    const char *fail = getenv("PROBE_FAIL");
    fail_at = fail != NULL ? strtol(fail, NULL, 10) : 0;
    int result = run(argc, argv);
    if (fail != NULL)
        printf("allocations %ld\n", allocation_count);
    return result;
}
