/* pgclient/cancel.c: CancelRequest (PostgreSQL manual, "Canceling Requests in Progress"), over a connection of its own that
 * carries nothing else. All that it needs was put together while connecting: only async-signal-safe functions are called
 * here (signal-safety(7)), and nothing is changed but errno, which is put back. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "pgclient/client_internal.h"

static bool cancel_connect(int fd, const struct pgclient *client, int64_t deadline_us)
{
    if (connect(fd, (const struct sockaddr *)&client->peer, client->peer_bytes) == 0)
        return true;
    if (errno != EINPROGRESS || pgclient_poll(fd, POLLOUT, deadline_us, NULL) != SQ_OK)
        return false;
    int failure = 0;
    socklen_t failure_bytes = sizeof(failure);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_bytes) == 0 && failure == 0;
}

static bool cancel_send(int fd, const struct pgclient *client, int64_t deadline_us)
{
    size_t sent = 0;
    while (sent < client->cancel_bytes) {
        ssize_t count = send(fd, client->cancel_packet + sent, client->cancel_bytes - sent, MSG_NOSIGNAL);
        if (count > 0)
            sent += (size_t)count;
        else if ((errno != EAGAIN && errno != EINTR) || pgclient_poll(fd, POLLOUT, deadline_us, NULL) != SQ_OK)
            return false;
    }
    return true;
}

/* The server closes without a word once it has passed the request on. */
static bool cancel_wait(int fd, int64_t deadline_us)
{
    for (;;) {
        char byte;
        ssize_t count = recv(fd, &byte, 1, 0);
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return true;
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (count < 0 && pgclient_poll(fd, POLLIN, deadline_us, NULL) != SQ_OK)
            return false;
    }
}

bool pgclient_cancel(const struct pgclient *client, int64_t timeout_us)
{
    if (client->cancel_bytes == 0)
        return false;
    int saved = errno;
    int64_t deadline_us = timeout_us > 0 ? sq_clock_now_us() + timeout_us : 0;
    int fd = socket(client->peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_sent = false;
    if (fd >= 0) {
        is_sent = cancel_connect(fd, client, deadline_us) && cancel_send(fd, client, deadline_us) &&
                  cancel_wait(fd, deadline_us);
        close(fd);
    }
    errno = saved;
    return is_sent;
}
