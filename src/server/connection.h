/* server/connection.h: a client's socket and its session. This is the PostgreSQL connection factory: the server hands it
 * an accepted socket, it does the rest.
 *
 * A connection starts on the loop that accepted it, which runs no statements, so that a cancel request is heard however
 * busy the workers are. When its start-up packet is in, it moves to a worker's loop and stays there.
 *
 * Running the session is a job (net/pool.h): when it takes long, the loop goes on without this thread, and leaves the
 * connection alone until the job has returned.
 *
 * Threads: a connection is touched by its loop, or by the thread that its job has taken along; others reach it through
 * session_interrupt() and its waker. */
#ifndef SQ_SERVER_CONNECTION_H
#define SQ_SERVER_CONNECTION_H

#include <stdatomic.h>

#include "base/status.h"
#include "net/loop.h"
#include "session/session.h"

/* A loop on which statements run. */
struct server_worker {
    struct net_loop *loop;
    atomic_size_t connection_count;
};

/* What all connections of a server share. */
struct server_pool {
    struct session_host *host;
    struct server_worker *workers;
    size_t worker_count;
    atomic_size_t connection_count; /* sockets open, in start-up or later */
};

/* Takes the accepted socket `fd` (also on failure, when it is closed). The caller runs `loop`. */
SQ_MUST_USE sq_status server_connection_start(struct server_pool *pool, struct net_loop *loop, int fd,
                                              struct sq_error *err);

#endif
