/* net/listener.c: bind, listen, accept. */
#include "net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { NET_BACKLOG = 4096, NET_KEEPALIVE_IDLE_S = 60, NET_KEEPALIVE_INTERVAL_S = 10, NET_KEEPALIVE_COUNT = 6 };

static sq_status resolve(const char *host, uint16_t port, struct sq_error *err, struct addrinfo **ret_addresses)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int result = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, service, &hints, ret_addresses);
    if (result == 0)
        return SQ_OK;
    sq_status status = sq_fail(err, SQ_IO, "cannot resolve host '%s': %s", host, gai_strerror(result));
    sq_error_set_hint(err, "Name an address of this machine, for example 127.0.0.1, or * for all.");
    return status;
}

/* A listening socket on one address, or -1 and errno. */
static int listen_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, NET_BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

sq_status net_listen_tcp(const char *host, uint16_t port, struct sq_error *err, int *ret_fd)
{
    struct addrinfo *addresses = NULL;
    SQ_TRY(resolve(host, port, err, &addresses));
    int fd = -1;
    int failure = EADDRNOTAVAIL;
    for (const struct addrinfo *address = addresses; address != NULL && fd < 0; address = address->ai_next) {
        fd = listen_on(address);
        if (fd < 0)
            failure = errno;
    }
    freeaddrinfo(addresses);
    if (fd >= 0) {
        *ret_fd = fd;
        return SQ_OK;
    }
    sq_status status = sq_fail_errno(err, failure, "cannot listen on %s:%u", host, (unsigned)port);
    if (failure == EADDRINUSE)
        sq_error_set_hint(err, "Another server (PostgreSQL? another sqld?) uses this port: stop it, or choose another "
                               "one with --listen HOST:PORT.");
    else if (failure == EACCES)
        sq_error_set_hint(err, "Ports below 1024 need privileges: choose another one with --listen HOST:PORT.");
    else
        sq_error_set_hint(err, "Name an address of this machine with --listen HOST:PORT.");
    return status;
}

/* Whether a server answers on the socket file. */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool is_connected = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    close(fd);
    return is_connected;
}

sq_status net_listen_unix(const char *path, struct sq_error *err, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return sq_fail(err, SQ_INVALID, "the socket path '%s' is longer than %zu bytes", path,
                       sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    struct stat info;
    if (lstat(path, &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return sq_fail(err, SQ_EXISTS, "cannot listen on '%s': a file that is no socket is there", path);
        if (is_served(&address))
            return sq_fail(err, SQ_BUSY, "cannot listen on '%s': another server uses it", path);
        if (unlink(path) != 0)
            return sq_fail_errno(err, errno, "cannot replace the stale socket '%s'", path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot make a Unix socket");
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, NET_BACKLOG) != 0) {
        sq_status status = sq_fail_errno(err, errno, "cannot listen on '%s'", path);
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return SQ_OK;
}

static bool is_loopback_address(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in inet;
        memcpy(&inet, address, sizeof(inet));
        return (ntohl(inet.sin_addr.s_addr) >> 24) == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 inet6;
        memcpy(&inet6, address, sizeof(inet6));
        return IN6_IS_ADDR_LOOPBACK(&inet6.sin6_addr) != 0;
    }
    return false;
}

sq_status net_host_is_loopback(const char *host, struct sq_error *err, bool *ret_is_loopback)
{
    struct addrinfo *addresses = NULL;
    SQ_TRY(resolve(host, 0, err, &addresses));
    bool is_loopback = true;
    for (const struct addrinfo *address = addresses; address != NULL; address = address->ai_next)
        is_loopback = is_loopback && is_loopback_address(address->ai_addr);
    freeaddrinfo(addresses);
    *ret_is_loopback = is_loopback;
    return SQ_OK;
}

sq_status net_accept(int listen_fd, struct sq_error *err, int *ret_fd)
{
    int fd;
    do {
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        /* ECONNABORTED and network errors belong to a connection that is already gone (accept(2)). */
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO || errno == ENETDOWN ||
                        errno == EHOSTUNREACH || errno == ENETUNREACH));
    if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        *ret_fd = -1;
        return SQ_OK;
    }
    if (fd < 0) {
        int failure = errno;
        (void)sq_fail_errno(err, failure, "cannot accept a connection");
        return failure == EMFILE || failure == ENFILE || failure == ENOMEM || failure == ENOBUFS ? SQ_LIMIT : SQ_IO;
    }
    /* These fail on Unix sockets, where they mean nothing. */
    int on = 1;
    int idle = NET_KEEPALIVE_IDLE_S;
    int interval = NET_KEEPALIVE_INTERVAL_S;
    int count = NET_KEEPALIVE_COUNT;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    *ret_fd = fd;
    return SQ_OK;
}

void net_address_text(int fd, bool is_peer, char out[NET_ADDRESS_TEXT_MAX])
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    int result = is_peer ? getpeername(fd, (struct sockaddr *)&address, &length)
                         : getsockname(fd, (struct sockaddr *)&address, &length);
    char host[NET_ADDRESS_TEXT_MAX - 16];
    char port[8];
    if (result == 0 && address.ss_family == AF_UNIX)
        snprintf(out, NET_ADDRESS_TEXT_MAX, "unix");
    else if (result != 0 || getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, NET_ADDRESS_TEXT_MAX, "unknown");
    else
        snprintf(out, NET_ADDRESS_TEXT_MAX, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}
