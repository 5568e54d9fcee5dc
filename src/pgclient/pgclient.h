/* pgclient/pgclient.h: one client connection to a server that speaks the PostgreSQL protocol: where to, who as, how
 * encrypted; then bytes and messages. The drop-in library, replicas and tools share it.
 *
 * What it is not: it knows start-up, authentication and messages' borders, not what a message means; it never reconnects by
 * itself.
 *
 *   pgclient_target_parse ──► pgclient_connect ──► put into pgclient_out(), pgclient_send, pgclient_receive ──► pgclient_free
 *
 * Every call that may wait has a time limit: connecting `connect_timeout`, receiving what the caller says, sending the target's
 * `read_timeout`. A connection that has failed stays failed: SQ_CLOSED from then on. SIGPIPE is never raised, descriptors are
 * close-on-exec.
 *
 * Threads: one at a time; pgclient_cancel() from any thread, also from a signal handler, while the client lives. A target
 * never changes, and may be shared. After fork() the child must not use a client: pgclient_abandon() closes its copy without a
 * word to the server. */
#ifndef SQ_PGCLIENT_PGCLIENT_H
#define SQ_PGCLIENT_PGCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "pgwire/frame.h"

struct pgclient;
struct pgclient_target;

/* Reads `postgresql://[user[:password]@][host[:port][,…]][/database][?name=value[&…]]` (also postgres:// and sqld://; manual,
 * "Connection URIs"). Parameters: host, hostaddr, port, user, password, dbname, passfile, connect_timeout (30 seconds; 0: for
 * ever), sslmode (disable, allow, prefer, require, verify-ca, verify-full), sslrootcert (a file, or system), sslcert, sslkey,
 * application_name, target_session_attrs (any, read-write, read-only, primary, standby, prefer-standby; target=replica and
 * target=primary are the last and the fourth), keepalives, keepalives_idle, keepalives_interval, keepalives_count,
 * tcp_user_timeout, client_encoding (UTF8), options; and `read_timeout` (seconds a server may be silent, 0: for ever), which
 * is ours. Hosts that begin with '/' are directories of Unix sockets. What is missing comes from the environment (PGHOST,
 * PGHOSTADDR, PGPORT, PGUSER, PGPASSWORD, PGPASSFILE, PGCONNECT_TIMEOUT, PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY,
 * PGAPPNAME, PGTARGETSESSIONATTRS, PGOPTIONS; a set-uid program has none), then defaults: localhost, 5432, who runs this.
 * Unknown names: SQ_INVALID, with a list of those that there are. The database may be missing.
 * OK: *ret_target is set; free it with pgclient_target_free(). */
SQ_MUST_USE sq_status pgclient_target_parse(const char *url, struct sq_error *err, struct pgclient_target **ret_target);
/* NULL is allowed. */
void pgclient_target_free(struct pgclient_target *target);
const char *pgclient_target_database(const struct pgclient_target *target); /* NULL: none was given */
const char *pgclient_target_user(const struct pgclient_target *target);
/* For people: host:port of all hosts, without user and password. Lives as long as the target. */
const char *pgclient_target_label(const struct pgclient_target *target);
/* Microseconds; 0: none. */
int64_t pgclient_target_connect_timeout_us(const struct pgclient_target *target);
int64_t pgclient_target_read_timeout_us(const struct pgclient_target *target);
/* Whether two targets mean the same servers, login and sslmode, so that a database of one can be attached to a connection of the
 * other. */
bool pgclient_target_is_same_server(const struct pgclient_target *a, const struct pgclient_target *b);

/* A start-up parameter. */
struct pgclient_parameter {
    const char *name;
    const char *value;
};

/* Connects, authenticates and reads up to the first ReadyForQuery. Hosts are tried in order. `database` (NULL: the
 * target's own, else none) and `parameters` go into the start-up packet; of a name that the target has too, its value counts.
 * OK: *ret_client; free it with pgclient_free(). SQ_CLOSED, SQ_IO, SQ_PROTOCOL: nobody could be reached (08001), *err names
 * each host that was tried and why it failed. SQ_INVALID: a certificate is not to be trusted, a file cannot be used, or the
 * login is wrong (28…). Others: the server refused (SQ_NOT_FOUND, 3D000: no such database); *err has its SQLSTATE and text. */
SQ_MUST_USE sq_status pgclient_connect(const struct pgclient_target *target, const char *database,
                                       const struct pgclient_parameter *parameters, size_t parameter_count,
                                       struct sq_error *err, struct pgclient **ret_client);
/* Says Terminate, waits until the server has ended the session (half a second at most), and closes. NULL is allowed. */
void pgclient_free(struct pgclient *client);
/* Closes the descriptor and frees, without a word to the server: in a forked child. NULL is allowed. */
void pgclient_abandon(struct pgclient *client);

/* The value of a ParameterStatus message; NULL if the server has not sent it. */
const char *pgclient_status(const struct pgclient *client, const char *name);
/* All of them: `size_t at = 0; while (pgclient_next_status(client, &at, &name, &value)) …`. */
bool pgclient_next_status(const struct pgclient *client, size_t *cursor, const char **ret_name, const char **ret_value);
/* Which of the names of unknown protocol options the server has refused (NegotiateProtocolVersion). */
bool pgclient_has_refused(const struct pgclient *client, const char *option);

/* Where messages to be sent are put (pgwire/frontend.h, pgwire/native.h); bytes stay until pgclient_send(). */
struct sq_buf *pgclient_out(struct pgclient *client);
/* Sends all that is in pgclient_out(). While the kernel takes nothing, what comes is read and kept: two sides that both
 * write large messages must not wait for each other. SQ_CLOSED: the connection is broken. SQ_LIMIT, SQ_NOMEM: what was put in
 * did not fit, and nothing was sent; sq_buf_truncate() it. */
SQ_MUST_USE sq_status pgclient_send(struct pgclient *client, struct sq_error *err);
/* The next message of the server. What is asynchronous is dealt with on the way: ParameterStatus is kept, notices and
 * notifications are dropped. The frame's bytes are valid until the next pgclient_receive(), pgclient_send() or
 * pgclient_is_stale(). `timeout_us` of silence (0: wait for ever): SQ_BUSY, and the message may still come with another call.
 * SQ_CLOSED, SQ_PROTOCOL, SQ_NOMEM: the connection is of no more use. */
SQ_MUST_USE sq_status pgclient_receive(struct pgclient *client, int64_t timeout_us, struct sq_error *err,
                                       struct pgwire_frame *ret_frame);
bool pgclient_is_failed(const struct pgclient *client);
/* Fills *err from an ErrorResponse, and returns its status, which is never SQ_OK. */
sq_status pgclient_fail_report(const struct pgwire_frame *frame, struct sq_error *err);

/* For an owner who waits by itself, with an event loop: the two below never wait. SQ_BUSY: call again when the descriptor
 * has become readable or writable, whichever comes (TLS may want the other one than one would think). The owner watches the
 * descriptor edge-triggered, and uses it for nothing else. */
int pgclient_descriptor(const struct pgclient *client);
/* Sends what the kernel takes of pgclient_out(). SQ_OK: all of it. Errors as pgclient_send(). */
SQ_MUST_USE sq_status pgclient_send_some(struct pgclient *client, struct sq_error *err);
/* The next message of any kind: nothing is dealt with on the way. Errors, and how long the frame is valid, as
 * pgclient_receive(). */
SQ_MUST_USE sq_status pgclient_take(struct pgclient *client, struct sq_error *err, struct pgwire_frame *ret_frame);
/* The process id of the server's session; 0: it has given none. */
uint32_t pgclient_pid(const struct pgclient *client);
/* Closes like pgclient_abandon(), but so that the server's session ends at once, whatever it is doing. NULL is allowed. */
void pgclient_break(struct pgclient *client);
/* Whether something has come that nobody asked for, or the server has gone: looks at the socket without waiting. */
bool pgclient_is_stale(struct pgclient *client);

/* Asks the server to stop what runs on this connection (CancelRequest), over a connection of its own, and waits for the
 * server to have taken it, `timeout_us` at most (0: for ever). It is never encrypted, as libpq's was not for 25 years: who
 * listens can cancel, too, and no more than that. Async-signal-safe. False: it could not be sent. */
bool pgclient_cancel(const struct pgclient *client, int64_t timeout_us);

#endif
