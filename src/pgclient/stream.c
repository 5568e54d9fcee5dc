/* pgclient/stream.c: bytes of one connection, and waiting for them.
 *
 * The socket is a blocking one, and every call says for itself whether it may wait. A wait with a time limit is a poll(2);
 * one without is the recv(2) itself: that is the way of most queries, and saves two system calls of four. Nothing raises
 * SIGPIPE: bytes go out with MSG_NOSIGNAL. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/tls.h"
#include "pgclient/client_internal.h"

/* Milliseconds for poll(2) until the deadline, rounded up: a wait must not end before it. */
static int poll_ms(int64_t deadline_us)
{
    if (deadline_us == 0)
        return -1;
    int64_t left_ms = (deadline_us - sq_clock_now_us() + SQ_US_PER_MS - 1) / SQ_US_PER_MS;
    if (left_ms < 0)
        return 0;
    return left_ms < INT32_MAX ? (int)left_ms : INT32_MAX;
}

sq_status pgclient_poll(int fd, short events, int64_t deadline_us, struct sq_error *err)
{
    sq_assert(fd >= 0 && events != 0);
    struct pollfd watched = {.fd = fd, .events = events};
    for (;;) {
        int count = poll(&watched, 1, poll_ms(deadline_us));
        if (count > 0)
            return SQ_OK;
        if (count < 0 && errno != EINTR && errno != EAGAIN)
            return err != NULL ? sq_fail_errno(err, errno, "cannot wait for the server") : SQ_IO;
        if (deadline_us != 0 && sq_clock_now_us() >= deadline_us)
            return err != NULL ? sq_fail(err, SQ_BUSY, "the server has not answered in time") : SQ_BUSY;
    }
}

static bool is_would_block(int failure)
{
    return failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR;
}

static sq_status fail_socket(struct sq_error *err, int failure)
{
    sq_fail_errno(err, failure, "the connection to the server broke");
    if (err != NULL)
        err->status = SQ_CLOSED;
    return SQ_CLOSED;
}

/* Reads what is there into `in`; `flags` are recv(2)'s. SQ_BUSY: *ret_events is what to wait for. */
static sq_status read_some(struct pgclient *client, int flags, struct sq_error *err, short *ret_events)
{
    struct sq_buf *in = &client->in;
    /* The buffer grows with what has come, never with what a header promises. */
    if (!sq_buf_reserve(in, PGCLIENT_READ_BYTES)) {
        sq_status status = sq_buf_check(in, err);
        sq_buf_truncate(in, sq_buf_length(in));
        return status;
    }
    *ret_events = POLLIN;
    if (client->tls != NULL) {
        size_t bytes = 0;
        SQ_TRY(net_tls_read(client->tls, sq_buf_tail(in), sq_buf_room(in), err, &bytes, ret_events));
        sq_buf_produce(in, bytes);
        return SQ_OK;
    }
    ssize_t count = recv(client->fd, sq_buf_tail(in), sq_buf_room(in), flags);
    if (count > 0) {
        sq_buf_produce(in, (size_t)count);
        return SQ_OK;
    }
    if (count == 0)
        return sq_fail(err, SQ_CLOSED, "the server closed the connection");
    return is_would_block(errno) ? SQ_BUSY : fail_socket(err, errno);
}

sq_status pgclient_stream_read_now(struct pgclient *client, struct sq_error *err, short *ret_events)
{
    return read_some(client, MSG_DONTWAIT, err, ret_events);
}

sq_status pgclient_stream_read(struct pgclient *client, int64_t deadline_us, struct sq_error *err)
{
    /* TLS decides by itself what it waits for. */
    bool is_patient = deadline_us == 0 && client->tls == NULL;
    for (;;) {
        short events;
        sq_status status = read_some(client, is_patient ? 0 : MSG_DONTWAIT, err, &events);
        if (status != SQ_BUSY)
            return status;
        if (!is_patient) /* else a signal came between */
            SQ_TRY(pgclient_poll(client->fd, events, deadline_us, err));
    }
}

sq_status pgclient_stream_read_byte(struct pgclient *client, int64_t deadline_us, struct sq_error *err,
                                    uint8_t *ret_byte)
{
    sq_assert(client->tls == NULL && sq_buf_length(&client->in) == 0);
    for (;;) {
        ssize_t count = recv(client->fd, ret_byte, 1, MSG_DONTWAIT);
        if (count == 1)
            return SQ_OK;
        if (count == 0)
            return sq_fail(err, SQ_CLOSED, "the server closed the connection");
        if (!is_would_block(errno))
            return fail_socket(err, errno);
        SQ_TRY(pgclient_poll(client->fd, POLLIN, deadline_us, err));
    }
}

/* Sends once. SQ_BUSY: the kernel takes nothing now; *ret_events is what to wait for. */
static sq_status send_some(struct pgclient *client, struct sq_error *err, short *ret_events)
{
    struct sq_buf *out = &client->out;
    sq_assert(sq_buf_length(out) > 0);
    *ret_events = POLLOUT;
    if (client->tls != NULL) {
        size_t bytes = 0;
        SQ_TRY(net_tls_write(client->tls, sq_buf_bytes(out), sq_buf_length(out), err, &bytes, ret_events));
        sq_buf_consume(out, bytes);
        return SQ_OK;
    }
    ssize_t count = send(client->fd, sq_buf_bytes(out), sq_buf_length(out), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0)
        return is_would_block(errno) ? SQ_BUSY : fail_socket(err, errno);
    sq_buf_consume(out, (size_t)count);
    return SQ_OK;
}

/* Whether more may be read ahead while sending. */
static bool has_room(const struct pgclient *client)
{
    return sq_buf_length(&client->in) + PGCLIENT_READ_BYTES <= client->in.max;
}

sq_status pgclient_stream_flush(struct pgclient *client, int64_t deadline_us, struct sq_error *err)
{
    while (sq_buf_length(&client->out) > 0) {
        short send_events = 0;
        short read_events = 0;
        sq_status status = send_some(client, err, &send_events);
        if (status == SQ_OK)
            continue;
        if (status != SQ_BUSY)
            return status;
        /* Both directions: a server that sends a large answer may read nothing until it has been taken. */
        if (has_room(client)) {
            status = pgclient_stream_read_now(client, err, &read_events);
            if (status == SQ_OK)
                continue;
            if (status != SQ_BUSY)
                return status;
        }
        int64_t limit_us = deadline_us;
        if (limit_us == 0 && client->send_timeout_us > 0)
            limit_us = sq_clock_now_us() + client->send_timeout_us;
        SQ_TRY(pgclient_poll(client->fd, (short)(send_events | read_events), limit_us, err));
    }
    return SQ_OK;
}

sq_status pgclient_stream_flush_some(struct pgclient *client, struct sq_error *err)
{
    short events;
    while (sq_buf_length(&client->out) > 0)
        SQ_TRY(send_some(client, err, &events));
    return SQ_OK;
}

void pgclient_stream_flush_now(struct pgclient *client)
{
    sq_status status = pgclient_stream_flush_some(client, NULL);
    (void)status;
}
