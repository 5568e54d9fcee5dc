/* bench/floor.c: a server that does nothing, the limit of every server that is reached in the same way.
 *
 *     floor PORT
 *
 * It lets everybody in, and answers every Sync and every Query with the same bytes: those of a point select of the bench,
 * prepared, one row. No statement is looked at, nothing is read from a table. What pgbench makes it cost in CPU time is the
 * cost of receiving and sending, one epoll set and one thread for each core, and nothing else: no server can have a
 * smaller cost for a point select that is asked for alone, over the same transport.
 *
 * A request must come in one piece of at most REQUEST_BYTES, as it does from pgbench and psql on the same machine. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REQUEST_BYTES = 8192,
    EVENTS_MAX = 64,
    FILES_MAX = 65536,
    WORKERS_MAX = 64,
};

/* Answers, byte for byte (PostgreSQL manual, "Message Formats"): AuthenticationOk and ReadyForQuery; ParseComplete. */
static const char greeting[] = "R\0\0\0\10\0\0\0\0Z\0\0\0\5I";
static const char parsed[] = "1\0\0\0\4Z\0\0\0\5I";
#define FIELD(name, type) name "\0\0\0\0\0\0\0\0\0\0" type "\377\377\377\377\377\377\0\0"
#define ROW_DESCRIPTION "T\0\0\0\71\0\2" FIELD("balance", "\24") FIELD("filler", "\31")
#define TEN "0000000000"
#define DATA_ROW                                                                                                       \
    "D\0\0\0\137\0\2\0\0\0\1"                                                                                          \
    "0"                                                                                                                \
    "\0\0\0\120" TEN TEN TEN TEN TEN TEN TEN TEN
#define END "C\0\0\0\15SELECT 1\0Z\0\0\0\5I"
static const char bound[] = "2\0\0\0\4" ROW_DESCRIPTION DATA_ROW END;
static const char queried[] = ROW_DESCRIPTION DATA_ROW END;

static bool is_greeted[FILES_MAX]; /* each element is used by the one thread that has the connection */

static void die(const char *what)
{
    (void)fprintf(stderr, "floor: %s: %s\n", what, strerrordesc_np(errno));
    exit(1);
}

static void answer(int fd, const char *bytes, size_t size)
{
    (void)send(fd, bytes, size - 1, MSG_NOSIGNAL); /* without the literal's NUL */
}

static void hang_up(int fd)
{
    is_greeted[fd] = false;
    (void)close(fd);
}

static void serve(int fd)
{
    char request[REQUEST_BYTES];
    ssize_t got = recv(fd, request, sizeof(request), 0);
    if (got <= 0) {
        hang_up(fd);
        return;
    }
    if (!is_greeted[fd]) {
        is_greeted[fd] = true;
        answer(fd, greeting, sizeof(greeting));
        return;
    }
    bool has_parse = false;
    for (size_t at = 0; at + 5 <= (size_t)got;) {
        uint32_t length;
        memcpy(&length, request + at + 1, sizeof(length));
        char type = request[at];
        at += 1 + (size_t)ntohl(length);
        has_parse = has_parse || type == 'P';
        if (type == 'S' && has_parse)
            answer(fd, parsed, sizeof(parsed));
        else if (type == 'S')
            answer(fd, bound, sizeof(bound));
        else if (type == 'Q')
            answer(fd, queried, sizeof(queried));
        else if (type == 'X') {
            hang_up(fd);
            return;
        }
    }
}

static void *worker_main(void *argument)
{
    int epoll_fd = *(int *)argument;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++)
            serve(events[i].data.fd);
    }
    return NULL;
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char *end = NULL;
    unsigned long number = strtoul(port, &end, 10);
    if (*port == '\0' || *end != '\0' || number == 0 || number > UINT16_MAX)
        die("usage: floor PORT");
    address.sin_port = htons((uint16_t)number);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1024) != 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    static int epoll_fds[WORKERS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int workers = cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (int)cores;
    int listener = listen_on(argc == 2 ? argv[1] : "");
    for (int i = 0; i < workers; i++) {
        pthread_t thread;
        epoll_fds[i] = epoll_create1(EPOLL_CLOEXEC);
        if (epoll_fds[i] < 0 || pthread_create(&thread, NULL, worker_main, &epoll_fds[i]) != 0)
            die("worker");
    }
    for (int i = 0;; i = (i + 1) % workers) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
        if (fd < 0 || fd >= FILES_MAX)
            die("accept");
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
            epoll_ctl(epoll_fds[i], EPOLL_CTL_ADD, fd, &event) != 0)
            die("connection");
    }
}
