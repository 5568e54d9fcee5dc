/* server/server.h: a running server: listeners, worker threads, and everything that connections share.
 *
 * Threads: the main thread makes it, runs it and frees it. */
#ifndef SQ_SERVER_SERVER_H
#define SQ_SERVER_SERVER_H

#include "base/status.h"

struct config;
struct server;

/* Opens the data directory, the listeners and the worker threads. Takes a reference to `config`.
 * SQ_INVALID: the configuration makes no sense (exit code 2). */
SQ_MUST_USE sq_status server_new(struct config *config, struct sq_error *err, struct server **ret_server);
/* Serves until SIGTERM or SIGINT; SIGHUP rereads configuration and log file. Returns when every connection is closed
 * and everything is written. */
SQ_MUST_USE sq_status server_run(struct server *server, struct sq_error *err);
/* NULL is allowed. */
void server_free(struct server *server);

#endif
