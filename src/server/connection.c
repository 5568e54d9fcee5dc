/* server/connection.c: moves bytes between a socket and a session.
 *
 *   socket ──recv──► in ──► session_run() ──► out ──send──► socket
 *
 * `is_readable` and `is_writable` say what the socket may still give and take: epoll reports edges, so they are only
 * cleared when the kernel says EAGAIN. Bytes are read only when the session asks for input; that is the back-pressure.
 *
 * Output leaves when the session says that what it rests on is on disk; until then the session goes on with what the
 * client has sent behind it, as far as the output buffer allows.
 *
 *   ATTACHED ──session_run() takes long: hand-off──► DETACHED ──returns by `return_task`──► ATTACHED
 *
 * A session that is in the middle of a statement may have to wait for its client (struct session_wire): the job then
 * detaches itself, and its thread sends and receives. `wake_fd` brings it back when somebody wakes the session.
 *
 * Invariants: (1) the connection is watched by exactly one loop, `loop`, or by none while it moves; (2) after
 * connection_close() nobody refers to it: the session has left the registries before the mailbox is emptied of it;
 * (3) while the job is detached the loop's thread only takes notes (is_readable, is_writable, is_peer_closed), and the
 * job's thread touches the session and its two buffers, the socket itself, and what goes with them (is_cut, has_waited),
 * but not the notes: it may use up what an edge has told of, so when it returns, the socket is asked again; (4) a thread
 * waits for a client only while its job is detached and blocked (net/pool.h), and only until the session is to stop. */
#include "server/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "metrics/metrics.h"
#include "net/listener.h"
#include "net/pool.h"

enum {
    CONNECTION_READ_BYTES = 16 * 1024,
    CONNECTION_READ_BYTES_MAX = 4 << 20, /* reserved ahead for a large message: more only as it arrives */
    CONNECTION_EARLY_BYTES = 8 * 1024,   /* so much is sent although the statement goes on; PostgreSQL's buffer */
    CONNECTION_KEEP_BYTES = 32 * 1024,   /* an empty buffer's memory that is not given back */
    CONNECTION_TURNS_MAX = 16,           /* rounds of reading and running before others have a turn */
    CONNECTION_BUFFER_MAX = INT32_MAX,
    CONNECTION_LINGER_US = 2 * SQ_US_PER_S,
    CONNECTION_CANCEL_US = SQ_US_PER_S, /* a client within a function of its own has so long to hear a cancel request */
    CONNECTION_LOOK_US =
        250 * SQ_US_PER_MS,           /* a thread that waits for its client looks at the brake so often at least */
    CONNECTION_GONE_US = SQ_US_PER_S, /* a long statement whose client has closed its side may go on so long */
};

struct connection {
    struct server_pool *pool;
    struct server_worker *worker; /* NULL while on the accepting loop */
    struct net_loop *loop;
    struct net_watch watch;
    struct net_timer timer;
    struct net_task task; /* "run the session": woken, yielded, or moved here */
    struct net_job job;
    struct net_task return_task; /* the job comes back from another thread, with `returned_want` */
    enum session_want returned_want;
    struct sq_waker waker;
    struct session_wire wire;
    struct net_watch remote_watch; /* a duplicate of the session's descriptor at the primary; fd -1: none */
    uint64_t remote_generation;    /* of that descriptor */
    atomic_int wake_fd; /* an eventfd, once the session has waited for its client; -1 before. Release and acquire */
    struct session *session;
    struct sq_buf in;
    struct sq_buf out;
    bool is_watched;
    bool is_readable;
    bool is_writable;
    bool wants_input;    /* the session has nothing to do until something comes */
    bool is_peer_closed; /* it will send no more; what has come may still be unread */
    bool is_eof;         /* and all of it has been read */
    bool is_held_back;   /* `out` waits for the disk; a wake-up comes */
    bool is_cut;         /* the message at the front of `out` has been sent in part */
    bool has_waited;     /* this job's thread has used the socket itself */
    bool is_closing;     /* the session has ended: `out` is still to be sent, then nothing */
    int64_t closing_deadline_us;
    int64_t peer_closed_us; /* since when is_peer_closed; 0: it is not */
};

static void connection_run(struct connection *connection);

/* --- The session's work at the primary ---------------------------------------------------------------------------- */

static void unwatch_remote(struct connection *connection)
{
    if (connection->remote_watch.fd < 0)
        return;
    net_loop_unwatch(connection->loop, &connection->remote_watch);
    close(connection->remote_watch.fd);
    connection->remote_watch.fd = -1;
}

/* Follows the session's descriptor. What is watched is a duplicate, because the session may have closed its own meanwhile, on
 * another thread, and the number may stand for another one. False: it cannot be watched. */
static bool watch_remote(struct connection *connection)
{
    uint64_t generation = 0;
    int fd = session_watched_descriptor(connection->session, &generation);
    if (SQ_LIKELY(generation == connection->remote_generation))
        return true;
    struct sq_error err;
    unwatch_remote(connection);
    connection->remote_generation = generation;
    if (fd < 0)
        return true;
    connection->remote_watch.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    sq_status status = connection->remote_watch.fd < 0
                           ? sq_fail_errno(&err, errno, "cannot watch the connection to the primary")
                           : net_loop_watch(connection->loop, &connection->remote_watch, &err);
    if (status == SQ_OK)
        return true;
    sq_log_error(SQ_LOG_ERROR, "server", "connection closed", &err);
    if (connection->remote_watch.fd >= 0)
        close(connection->remote_watch.fd);
    connection->remote_watch.fd = -1;
    return false;
}

static void on_remote_event(struct net_watch *watch, unsigned events)
{
    struct connection *connection = SQ_CONTAINER_OF(watch, struct connection, remote_watch);
    (void)events; /* whatever it is, the session looks */
    if (!net_job_is_detached(&connection->job))
        connection_run(connection);
}

/* The second half of closing, on the loop. */
static void connection_destroy(struct connection *connection)
{
    unwatch_remote(connection);
    net_loop_cancel(connection->loop, &connection->task);
    net_timer_clear(connection->loop, &connection->timer);
    if (connection->is_watched)
        net_loop_unwatch(connection->loop, &connection->watch);
    close(connection->watch.fd);
    int wake_fd = atomic_load_explicit(&connection->wake_fd, memory_order_relaxed);
    if (wake_fd >= 0)
        close(wake_fd);
    sq_buf_done(&connection->in);
    sq_buf_done(&connection->out);
    if (connection->worker != NULL)
        atomic_fetch_sub_explicit(&connection->worker->connection_count, 1, memory_order_relaxed);
    /* Release: whoever sees 0 sees that everything above is over. */
    atomic_fetch_sub_explicit(&connection->pool->connection_count, 1, memory_order_release);
    free(connection);
}

/* Rolling back and closing a database may take long: a job. */
static void connection_close(struct connection *connection)
{
    struct net_loop *loop = connection->loop;
    connection->is_closing = true;
    net_job_enter(loop, &connection->job);
    /* The session leaves all registries first: no waker is called after that. */
    session_free(connection->session);
    if (net_job_leave(loop, &connection->job))
        connection_destroy(connection);
    else
        net_loop_post(loop, &connection->return_task);
}

/* A thread that waits for its client in the middle of a statement is told, too. */
static void wake_blocked(struct connection *connection)
{
    int wake_fd = atomic_load_explicit(&connection->wake_fd, memory_order_acquire);
    if (SQ_UNLIKELY(wake_fd >= 0)) {
        uint64_t one = 1;
        ssize_t written = write(wake_fd, &one, sizeof(one));
        sq_assert(written == (ssize_t)sizeof(one) || errno == EAGAIN); /* full: readable anyway */
    }
}

static void on_wake(struct sq_waker *waker)
{
    struct connection *connection = SQ_CONTAINER_OF(waker, struct connection, waker);
    net_loop_post_soon(connection->loop, &connection->task);
    wake_blocked(connection);
}

/* It has got the write slot: those behind it wait. */
static void on_hurry(struct sq_waker *waker)
{
    struct connection *connection = SQ_CONTAINER_OF(waker, struct connection, waker);
    net_loop_post_first(connection->loop, &connection->task);
    wake_blocked(connection);
}

static void on_task(struct net_task *task)
{
    struct connection *connection = SQ_CONTAINER_OF(task, struct connection, task);
    if (!net_job_is_detached(&connection->job))
        connection_run(connection);
}

/* The client is gone while its statement runs on another thread: let the statement stop. */
static void connection_abandon(struct connection *connection)
{
    if (!connection->is_closing)
        session_interrupt(connection->session, SESSION_INTERRUPT_TERMINATE);
}

static void on_timer(struct net_timer *timer)
{
    struct connection *connection = SQ_CONTAINER_OF(timer, struct connection, timer);
    if (!net_job_is_detached(&connection->job))
        connection_run(connection);
    else if (connection->is_peer_closed)
        connection_abandon(connection);
}

static void on_event(struct net_watch *watch, unsigned events)
{
    struct connection *connection = SQ_CONTAINER_OF(watch, struct connection, watch);
    connection->is_readable = connection->is_readable || (events & NET_READABLE) != 0;
    connection->is_writable = connection->is_writable || (events & (NET_WRITABLE | NET_HANGUP)) != 0;
    connection->is_peer_closed = connection->is_peer_closed || (events & NET_PEER_CLOSED) != 0;
    if (connection->is_peer_closed && connection->peer_closed_us == 0)
        connection->peer_closed_us = sq_clock_now_us();
    if (!net_job_is_detached(&connection->job)) {
        if ((events & NET_HANGUP) != 0)
            session_peer_gone(connection->session);
        connection_run(connection);
    } else if ((events & NET_HANGUP) != 0) {
        connection_abandon(connection);
    } else if (connection->is_peer_closed) {
        struct sq_error err;
        if (net_timer_set(connection->loop, &connection->timer, sq_clock_now_us() + CONNECTION_GONE_US, &err) != SQ_OK)
            connection_abandon(connection);
    }
}

/* Makes room for what the client sends next. */
static bool connection_reserve(struct connection *connection)
{
    size_t hint = session_input_hint(connection->session);
    size_t want = hint > CONNECTION_READ_BYTES ? hint : CONNECTION_READ_BYTES;
    if (want > CONNECTION_READ_BYTES_MAX)
        want = CONNECTION_READ_BYTES_MAX;
    return sq_buf_reserve(&connection->in, want);
}

/* recv() into the reserved room. 0: the end of the stream, or it is broken; below 0: nothing is there. */
static ssize_t connection_receive(struct connection *connection)
{
    ssize_t got;
    do {
        got = recv(connection->watch.fd, sq_buf_tail(&connection->in), sq_buf_room(&connection->in), 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -1 : 0;
    sq_buf_produce(&connection->in, (size_t)got);
    metrics_counter_add(METRICS_BYTES_RECEIVED, (uint64_t)got);
    return got;
}

/* Reads what is there, up to a buffer's worth. False: nothing came. */
static bool connection_read(struct connection *connection)
{
    if (!connection->is_readable || connection->is_eof)
        return false;
    if (!connection_reserve(connection)) {
        sq_log(SQ_LOG_ERROR, "server", "connection closed", "conn=%u reason=\"no memory for input\"",
               session_pid(connection->session));
        session_put_no_memory(connection->session, &connection->out);
        connection->is_eof = true;
        return false;
    }
    size_t room = sq_buf_room(&connection->in);
    ssize_t got = connection_receive(connection);
    if (got > 0) {
        /* A short read means that the socket is empty; new bytes give a new edge. The end of the stream has had its edge
         * already, if it is known: it is still to be read. */
        connection->is_readable = (size_t)got == room || connection->is_peer_closed;
        return true;
    }
    connection->is_readable = false;
    connection->is_eof = got == 0;
    return false;
}

/* Whether the output may leave; sets is_held_back. False: what it says will never be true. */
static bool connection_release(struct connection *connection)
{
    enum session_release release = session_release(connection->session);
    connection->is_held_back = release == SESSION_HELD_BACK;
    if (SQ_LIKELY(release != SESSION_LOST))
        return true;
    sq_buf_truncate(&connection->out, 0);
    if (!connection->is_cut && connection->is_writable) {
        session_put_loss(connection->session, &connection->out);
        /* The last word to a connection that ends: what the kernel does not take at once is not sent. */
        ssize_t sent =
            send(connection->watch.fd, sq_buf_bytes(&connection->out), sq_buf_length(&connection->out), MSG_NOSIGNAL);
        (void)sent;
        sq_buf_truncate(&connection->out, 0);
    }
    return false;
}

/* One send(). Below 0: the socket takes nothing now, or is broken: errno says which. */
static ssize_t connection_send_some(struct connection *connection)
{
    ssize_t sent;
    do {
        sent =
            send(connection->watch.fd, sq_buf_bytes(&connection->out), sq_buf_length(&connection->out), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent > 0) {
        metrics_counter_add(METRICS_BYTES_SENT, (uint64_t)sent);
        metrics_counter_add(METRICS_SENDS, 1);
        sq_buf_consume(&connection->out, (size_t)sent);
        connection->is_cut = sq_buf_length(&connection->out) > 0;
    }
    return sent;
}

/* Sends what it can. False: the connection is broken, and what was to be sent is dropped. */
static bool connection_send(struct connection *connection)
{
    if (sq_buf_length(&connection->out) > 0 && !connection_release(connection))
        return false;
    while (!connection->is_held_back && sq_buf_length(&connection->out) > 0 && connection->is_writable) {
        if (connection_send_some(connection) > 0)
            continue;
        connection->is_writable = false;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            sq_buf_truncate(&connection->out, 0);
            return false;
        }
    }
    sq_buf_shrink(&connection->out, CONNECTION_KEEP_BYTES);
    return true;
}

/* --- Waiting within a statement: on the job's thread, detached --------------------------------------------------------- */

static sq_status fail_gone(struct sq_error *err)
{
    return sq_fail(err, SQ_CLOSED, "the client is gone");
}

/* Sends and, for SESSION_WAIT_INPUT, receives what it can without waiting. *ret_is_done: that was what was wanted. */
static sq_status wire_advance(struct connection *connection, enum session_wait what, struct sq_error *err,
                              bool *ret_is_done)
{
    while (sq_buf_length(&connection->out) > 0) {
        if (connection_send_some(connection) > 0)
            continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? SQ_OK : fail_gone(err);
    }
    if (what == SESSION_WAIT_OUTPUT) {
        *ret_is_done = true;
        return SQ_OK;
    }
    if (!connection_reserve(connection))
        return sq_fail(err, SQ_NOMEM, "out of memory for a message");
    ssize_t got = connection_receive(connection);
    if (got == 0)
        return fail_gone(err);
    *ret_is_done = got > 0;
    return SQ_OK;
}

/* How long poll() may sleep, in milliseconds, rounded up. */
static int wire_patience_ms(const struct engine_stop *stop, int64_t until_us)
{
    int64_t now_us = sq_clock_now_us();
    int64_t end_us = now_us + CONNECTION_LOOK_US;
    if (stop->deadline_us != 0 && stop->deadline_us < end_us)
        end_us = stop->deadline_us;
    if (until_us != 0 && until_us < end_us)
        end_us = until_us;
    return end_us > now_us ? (int)((end_us - now_us + SQ_US_PER_MS - 1) / SQ_US_PER_MS) : 0;
}

/* Sleeps until the socket has `events`, the session was woken (*ret_is_woken), or for a while. */
static sq_status wire_sleep(struct connection *connection, short events, int patience_ms, struct sq_error *err,
                            bool *ret_is_woken)
{
    int wake_fd = atomic_load_explicit(&connection->wake_fd, memory_order_relaxed);
    struct pollfd fds[] = {{.fd = connection->watch.fd, .events = events}, {.fd = wake_fd, .events = POLLIN}};
    int count = poll(fds, sizeof(fds) / sizeof(fds[0]), patience_ms);
    if (count < 0 && errno != EINTR)
        return sq_fail_errno(err, errno, "cannot wait for the client");
    if (count <= 0)
        return SQ_OK;
    uint64_t wakes;
    *ret_is_woken = (fds[1].revents & POLLIN) != 0 && read(wake_fd, &wakes, sizeof(wakes)) > 0;
    /* With POLLIN the last bytes are still to be read: the next recv() tells. */
    bool is_gone = (fds[0].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0 ||
                   ((fds[0].revents & POLLRDHUP) != 0 && (events & POLLIN) == 0);
    return is_gone && (fds[0].revents & POLLIN) == 0 ? fail_gone(err) : SQ_OK;
}

/* Whether to give up. SQLite does not interrupt what an application does within a function (sqlite.org/c3ref/interrupt.html),
 * so a cancel request leaves the client time to end it. */
static bool wire_must_stop(struct engine_stop *stop, int64_t *cancel_us)
{
    enum engine_stop_reason reason = engine_stop_check(stop);
    if (reason != ENGINE_STOP_CANCEL)
        return reason != ENGINE_STOP_NONE;
    int64_t now_us = sq_clock_now_us();
    if (*cancel_us == 0)
        *cancel_us = now_us + CONNECTION_CANCEL_US;
    return now_us >= *cancel_us;
}

static sq_status wire_wait(struct connection *connection, enum session_wait what, struct engine_stop *stop,
                           int64_t until_us, struct sq_error *err)
{
    bool is_done = false;
    bool is_woken = false;
    int64_t cancel_us = 0;
    for (;;) {
        short events = POLLRDHUP;
        if (wire_must_stop(stop, &cancel_us))
            return engine_stop_fail(err, engine_stop_check(stop));
        if (what == SESSION_WAIT_WAKE) {
            is_done = is_woken || (until_us != 0 && sq_clock_now_us() >= until_us);
        } else {
            SQ_TRY(wire_advance(connection, what, err, &is_done));
            is_done = is_done || (until_us != 0 && sq_clock_now_us() >= until_us);
            events = sq_buf_length(&connection->out) > 0 ? POLLOUT : POLLIN | POLLRDHUP;
        }
        if (is_done)
            return SQ_OK;
        SQ_TRY(wire_sleep(connection, events, wire_patience_ms(stop, until_us), err, &is_woken));
    }
}

/* The eventfd that wakes the thread; from here on on_wake() writes to it. A wake-up that has come before is not lost for
 * long: CONNECTION_LOOK_US. */
static sq_status wire_open(struct connection *connection, struct sq_error *err)
{
    if (SQ_LIKELY(atomic_load_explicit(&connection->wake_fd, memory_order_relaxed) >= 0))
        return SQ_OK;
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return sq_fail_errno(err, errno, "cannot make what wakes a callback");
    atomic_store_explicit(&connection->wake_fd, wake_fd, memory_order_release);
    return SQ_OK;
}

static sq_status on_enter(struct session_wire *wire, struct sq_error *err)
{
    struct connection *connection = SQ_CONTAINER_OF(wire, struct connection, wire);
    SQ_TRY(wire_open(connection, err));
    if (!net_job_block(connection->loop, &connection->job))
        return sq_fail_sql(err, SQ_BUSY, "53400", "too many callbacks at once");
    connection->has_waited = true;
    return SQ_OK;
}

static void on_leave(struct session_wire *wire)
{
    net_job_unblock(SQ_CONTAINER_OF(wire, struct connection, wire)->loop);
}

static sq_status on_wait(struct session_wire *wire, enum session_wait what, struct engine_stop *stop, int64_t until_us,
                         struct sq_error *err)
{
    struct connection *connection = SQ_CONTAINER_OF(wire, struct connection, wire);
    sq_assert(connection->has_waited);
    if (what != SESSION_WAIT_WAKE)
        SQ_TRY(session_sync(connection->session, err));
    return wire_wait(connection, what, stop, until_us, err);
}

/* Asks for a wake-up call at the session's next time limit. */
static void connection_arm(struct connection *connection)
{
    int64_t deadline_us =
        connection->is_closing ? connection->closing_deadline_us : session_deadline_us(connection->session);
    struct sq_error err;
    /* What the primary does for a client that has closed its side goes on as long as what is done here would. */
    if (connection->peer_closed_us != 0 && connection->remote_watch.fd >= 0 && !connection->is_closing) {
        int64_t gone_us = connection->peer_closed_us + CONNECTION_GONE_US;
        deadline_us = deadline_us == 0 || gone_us < deadline_us ? gone_us : deadline_us;
    }
    /* A timer that is early does no harm: it finds nothing due and is set anew. Moving it with every statement would cost
     * more than that. */
    if (deadline_us == 0 || (connection->timer.is_set && connection->timer.due_us <= deadline_us))
        return;
    if (net_timer_set(connection->loop, &connection->timer, deadline_us, &err) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "server", "time limit not set", &err);
}

/* The worker with the fewest connections. */
static struct server_worker *choose_worker(struct server_pool *pool)
{
    struct server_worker *best = &pool->workers[0];
    for (size_t i = 1; i < pool->worker_count; i++) {
        if (atomic_load_explicit(&pool->workers[i].connection_count, memory_order_relaxed) <
            atomic_load_explicit(&best->connection_count, memory_order_relaxed))
            best = &pool->workers[i];
    }
    return best;
}

/* Under the registry's mutex: a wake-up goes to the old loop's mailbox before, to the new one's after. */
static void switch_loop(void *context)
{
    struct connection *connection = context;
    net_loop_cancel(connection->loop, &connection->task);
    connection->loop = connection->worker->loop;
}

static void connection_move(struct connection *connection)
{
    net_timer_clear(connection->loop, &connection->timer);
    net_loop_unwatch(connection->loop, &connection->watch);
    connection->is_watched = false;
    connection->worker = choose_worker(connection->pool);
    atomic_fetch_add_explicit(&connection->worker->connection_count, 1, memory_order_relaxed);
    session_relocate(connection->session, connection, switch_loop);
    net_loop_post(connection->loop, &connection->task);
}

/* On a new loop: starts watching there. False: it could not, and the connection is closed. */
static bool connection_settle(struct connection *connection)
{
    struct sq_error err;
    if (net_loop_watch(connection->loop, &connection->watch, &err) != SQ_OK) {
        sq_log_error(SQ_LOG_ERROR, "server", "connection closed", &err);
        connection_close(connection);
        return false;
    }
    connection->is_watched = true;
    return true;
}

/* The end: what is in `out` may go, as far as the client takes it within a moment. */
static void connection_finish(struct connection *connection)
{
    if (!connection->is_closing) {
        connection->is_closing = true;
        connection->closing_deadline_us = sq_clock_now_us() + CONNECTION_LINGER_US;
    }
    bool is_broken = !connection_send(connection);
    /* The client has time from when the answer may leave. */
    if (connection->is_held_back)
        connection->closing_deadline_us = sq_clock_now_us() + CONNECTION_LINGER_US;
    if (is_broken || sq_buf_length(&connection->out) == 0 || sq_clock_now_us() >= connection->closing_deadline_us) {
        connection_close(connection);
        return;
    }
    connection_arm(connection);
}

enum connection_next { NEXT_AGAIN, NEXT_WAIT, NEXT_LATER, NEXT_END, NEXT_ELSEWHERE };

/* What follows from the session's answer: sends, reads. */
static enum connection_next connection_serve(struct connection *connection, enum session_want want)
{
    if (want == SESSION_CLOSE)
        return NEXT_END;
    if (want == SESSION_STARTED && connection->worker == NULL) {
        connection_move(connection);
        return NEXT_ELSEWHERE;
    }
    /* What comes before a statement that waits goes with its answer, as PostgreSQL's does: one send, one wake-up. */
    bool is_small = want == SESSION_WAITING && sq_buf_length(&connection->out) < CONNECTION_EARLY_BYTES;
    bool has_output = sq_buf_length(&connection->out) > 0;
    /* Nobody is left to answer: whatever still runs ends with the session. */
    if (!is_small && !connection_send(connection))
        return NEXT_END;
    switch (want) {
    case SESSION_NEED_INPUT: {
        uint64_t cancel_mark = session_cancel_mark(connection->session);
        if (sq_buf_length(&connection->out) > 0 && !connection->is_writable) {
            /* A cancel request means the statement whose answer is still to be read: it is over. */
            session_cancel_settle(connection->session, cancel_mark);
            return NEXT_WAIT;
        }
        sq_buf_shrink(&connection->in, CONNECTION_KEEP_BYTES);
        /* Whether a statement lies in the socket, the socket itself must say: its edge may not have come yet. */
        if (cancel_mark != 0)
            connection->is_readable = true;
        if (connection_read(connection))
            return NEXT_AGAIN;
        session_cancel_settle(connection->session, cancel_mark);
        connection->wants_input = true;
        return connection->is_eof ? NEXT_END : NEXT_WAIT;
    }
    case SESSION_DUPLEX:
        session_cancel_settle(connection->session, session_cancel_mark(connection->session));
        if (connection_read(connection))
            return NEXT_AGAIN;
        if (connection->is_eof)
            return NEXT_END;
        /* All of it has gone: there may be more where it came from. */
        return has_output && sq_buf_length(&connection->out) == 0 ? NEXT_AGAIN : NEXT_WAIT;
    case SESSION_OUTPUT_FULL:
        if (connection->is_writable && !connection->is_held_back)
            return NEXT_AGAIN;
        session_cancel_settle(connection->session, session_cancel_mark(connection->session));
        return NEXT_WAIT;
    case SESSION_YIELDED:
        return NEXT_LATER;
    case SESSION_STARTED:
        return NEXT_AGAIN;
    case SESSION_WAITING:
    case SESSION_CLOSE:
        break;
    }
    return NEXT_WAIT;
}

/* One round. NEXT_ELSEWHERE: the connection is not this thread's any more. */
static enum connection_next connection_turn(struct connection *connection)
{
    struct net_loop *loop = connection->loop;
    connection->wants_input = false;
    net_job_enter(loop, &connection->job);
    enum session_want want = session_run(connection->session, &connection->in, &connection->out);
    if (SQ_UNLIKELY(!net_job_leave(loop, &connection->job))) {
        connection->returned_want = want;
        net_loop_post(loop, &connection->return_task);
        return NEXT_ELSEWHERE;
    }
    return connection_serve(connection, want);
}

/* Goes on until there is a reason not to. */
static void connection_go(struct connection *connection, enum connection_next next)
{
    for (int turn = 0; next == NEXT_AGAIN && turn < CONNECTION_TURNS_MAX; turn++)
        next = connection_turn(connection);
    switch (next) {
    case NEXT_ELSEWHERE:
        return;
    case NEXT_END:
        connection_finish(connection);
        return;
    case NEXT_AGAIN:
    case NEXT_LATER:
        net_loop_post(connection->loop, &connection->task);
        break;
    case NEXT_WAIT:
        if (SQ_UNLIKELY(session_is_resting(connection->session))) {
            sq_buf_shrink(&connection->in, 0);
            sq_buf_shrink(&connection->out, 0);
        }
        break;
    }
    if (SQ_UNLIKELY(!watch_remote(connection))) {
        connection_finish(connection);
        return;
    }
    connection_arm(connection);
}

static void connection_run(struct connection *connection)
{
    net_loop_assert_owner(connection->loop);
    sq_assert(!net_job_is_detached(&connection->job));
    if (connection->is_closing) {
        connection_finish(connection);
    } else if (connection->is_watched || connection_settle(connection)) {
        enum connection_next next = NEXT_AGAIN;
        if (SQ_UNLIKELY(connection->peer_closed_us != 0) && connection->remote_watch.fd >= 0 &&
            sq_clock_now_us() >= connection->peer_closed_us + CONNECTION_GONE_US)
            session_peer_gone(connection->session);
        /* The session has said that it wants input: here it is, so it need not be asked first. */
        if (connection->wants_input && connection->is_readable &&
            connection_serve(connection, SESSION_NEED_INPUT) == NEXT_END)
            next = NEXT_END;
        connection_go(connection, next);
    }
}

/* The job is back on the loop. */
static void on_return(struct net_task *task)
{
    struct connection *connection = SQ_CONTAINER_OF(task, struct connection, return_task);
    net_job_returned(&connection->job);
    if (connection->is_closing) {
        connection_destroy(connection);
        return;
    }
    if (connection->has_waited) {
        connection->has_waited = false;
        connection->is_readable = connection->is_writable = true; /* invariant 3 */
    }
    enum connection_next next = connection_serve(connection, connection->returned_want);
    /* A wake-up that came meanwhile found nobody: look once more before waiting. */
    connection_go(connection, next == NEXT_WAIT ? NEXT_AGAIN : next);
}

sq_status server_connection_start(struct server_pool *pool, struct net_loop *loop, int fd, struct sq_error *err)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        close(fd);
        return sq_fail(err, SQ_NOMEM, "out of memory for a connection");
    }
    connection->pool = pool;
    connection->loop = loop;
    connection->watch = (struct net_watch){.fd = fd, .event_cb = on_event};
    connection->remote_watch = (struct net_watch){.fd = -1, .event_cb = on_remote_event};
    net_timer_init(&connection->timer, on_timer);
    net_task_init(&connection->task, on_task);
    net_task_init(&connection->return_task, on_return);
    connection->waker = (struct sq_waker){.wake_cb = on_wake, .hurry_cb = on_hurry};
    connection->wire = (struct session_wire){.enter_cb = on_enter, .leave_cb = on_leave, .wait_cb = on_wait};
    atomic_init(&connection->wake_fd, -1);
    sq_buf_init(&connection->in, CONNECTION_BUFFER_MAX);
    sq_buf_init(&connection->out, CONNECTION_BUFFER_MAX);
    char peer[NET_ADDRESS_TEXT_MAX];
    net_address_text(fd, true, peer);
    sq_status status = session_new(pool->host, &connection->waker, &connection->wire, peer, err, &connection->session);
    if (status != SQ_OK) {
        close(fd);
        free(connection);
        return status;
    }
    atomic_fetch_add_explicit(&pool->connection_count, 1, memory_order_relaxed);
    net_loop_post(loop, &connection->task);
    return SQ_OK;
}
