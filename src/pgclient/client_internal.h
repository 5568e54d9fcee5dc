/* pgclient/client_internal.h: one connection, as the files of this room share it.
 *
 *   connect.c   hosts, addresses, sockets       ┐ make it
 *   startup.c   start-up packet, authentication ┘
 *   client.c    messages                          use it
 *   stream.c    bytes, waiting                    carries it
 *   cancel.c    CancelRequest                     beside it
 *
 * Deadlines are microseconds of sq_clock_now_us(); 0: none. */
#ifndef SQ_PGCLIENT_CLIENT_INTERNAL_H
#define SQ_PGCLIENT_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/status.h"
#include "pgclient/pgclient.h"
#include "pgclient/target_internal.h"
#include "pgwire/protocol.h"

enum {
    PGCLIENT_MESSAGE_BYTES_MAX = 1024 * 1024 * 1024 + 64 * 1024, /* SQLite's longest value, and what is around it */
    PGCLIENT_STARTUP_MESSAGE_BYTES_MAX = 64 * 1024,              /* of a server that has not shown who it is */
    PGCLIENT_READ_BYTES = 16 * 1024,                             /* room for one read, at least */
    PGCLIENT_KEEP_BYTES = 256 * 1024,                            /* memory that an empty buffer may keep */
    PGCLIENT_STATUS_COUNT_MAX = 256,
    PGCLIENT_STATUS_BYTES_MAX = 16 * 1024, /* name and value of one parameter */
    PGCLIENT_CANCEL_BYTES_MAX = 4 + 4 + 4 + PGWIRE_SECRET_BYTES_MAX,
    PGCLIENT_FAILURE_TEXT_MAX = 256,
};

/* A parameter's value as the server has reported it, or an option that it does not know (value ""). */
struct pgclient_note {
    struct pgclient_note *next;
    char *name;
    char *value;
};

struct net_tls;

struct pgclient {
    int fd;
    struct net_tls *tls; /* NULL: not encrypted */
    struct sq_buf in;
    struct sq_buf out;
    size_t frame_bytes;       /* at the front of `in`: the message that the caller has; consumed by the next call */
    size_t message_bytes_max; /* of one message */
    int64_t send_timeout_us;  /* how long the server may take nothing; 0: for ever */
    bool is_failed;
    char failure[PGCLIENT_FAILURE_TEXT_MAX]; /* what it failed of */
    struct pgclient_note *statuses;
    size_t status_count;
    struct pgclient_note *refused;
    bool is_negotiated; /* `refused` has been filled */
    /* For pgclient_cancel(): set while connecting, never changed afterwards. */
    struct sockaddr_storage peer;
    socklen_t peer_bytes;
    uint8_t cancel_packet[PGCLIENT_CANCEL_BYTES_MAX];
    size_t cancel_bytes; /* 0: the server has given no key */
};

/* --- stream.c ------------------------------------------------------------------------------------------------------ */

/* Waits until `events` of poll(2) are there. SQ_BUSY: the deadline has passed first. Async-signal-safe when `err` is
 * NULL. */
SQ_MUST_USE sq_status pgclient_poll(int fd, short events, int64_t deadline_us, struct sq_error *err);
/* Appends to client->in what has come, at least one byte, after waiting for it. SQ_BUSY: the deadline has passed.
 * SQ_CLOSED: the server has gone. SQ_LIMIT: the buffer is full. The caller decides whether that is the end. */
SQ_MUST_USE sq_status pgclient_stream_read(struct pgclient *client, int64_t deadline_us, struct sq_error *err);
/* The same without waiting. SQ_BUSY: nothing was there; *ret_events is what to poll(2) for. */
SQ_MUST_USE sq_status pgclient_stream_read_now(struct pgclient *client, struct sq_error *err, short *ret_events);
/* One byte and not more: what follows it may be TLS's. */
SQ_MUST_USE sq_status pgclient_stream_read_byte(struct pgclient *client, int64_t deadline_us, struct sq_error *err,
                                                uint8_t *ret_byte);
/* Sends client->out, reading meanwhile. With a deadline that is the limit; without, `send_timeout_us` of silence is. */
SQ_MUST_USE sq_status pgclient_stream_flush(struct pgclient *client, int64_t deadline_us, struct sq_error *err);
/* Sends what the kernel takes at once. SQ_BUSY: not all. */
SQ_MUST_USE sq_status pgclient_stream_flush_some(struct pgclient *client, struct sq_error *err);
/* The same, best effort: for the last words. */
void pgclient_stream_flush_now(struct pgclient *client);

/* --- client.c ------------------------------------------------------------------------------------------------------ */

/* A client on a connected socket, which becomes its own also when this fails. */
SQ_MUST_USE sq_status pgclient_new(int fd, struct sq_error *err, struct pgclient **ret_client);
/* Marks the connection as of no more use, because of *err, and returns `status`. */
sq_status pgclient_fail(struct pgclient *client, sq_status status, const struct sq_error *err);
/* The next message that is not dealt with on the way. SQ_BUSY: not by the deadline. */
SQ_MUST_USE sq_status pgclient_next_frame(struct pgclient *client, int64_t deadline_us, struct sq_error *err,
                                          struct pgwire_frame *ret_frame);
SQ_MUST_USE sq_status pgclient_note_refused(struct pgclient *client, const char *name, struct sq_error *err);

/* --- encryption.c -------------------------------------------------------------------------------------------------- */

struct pgclient_attempt;
/* Asks the server for encryption, and sets client->tls if it agrees. SQ_CLOSED: it does not, and sslmode demands it. */
SQ_MUST_USE sq_status pgclient_encrypt(struct pgclient *client, struct pgclient_attempt *attempt, struct sq_error *err);

/* --- startup.c ----------------------------------------------------------------------------------------------------- */

/* What one attempt to connect needs to know. */
struct pgclient_attempt {
    const struct pgclient_target *target;
    const struct pgclient_host *host;
    const char *database; /* or NULL */
    const struct pgclient_parameter *parameters;
    size_t parameter_count;
    int64_t deadline_us;
    bool is_unix;
    bool is_loopback;
    bool has_tls;        /* encryption is asked for */
    bool is_offered;     /* set when the server has agreed to it */
    bool is_established; /* set when the connection is encrypted */
    bool is_refused;     /* set when the failure is the server's own word */
    bool is_final;       /* set when this failure is the answer, and no other host need be asked */
};

/* Sends the start-up packet, answers what the server asks, and reads up to the first ReadyForQuery. */
SQ_MUST_USE sq_status pgclient_start(struct pgclient *client, struct pgclient_attempt *attempt, struct sq_error *err);
/* Whether the server is what target_session_attrs wants; SQ_CLOSED if not. Asks it if need be. */
SQ_MUST_USE sq_status pgclient_check_attrs(struct pgclient *client, const struct pgclient_attempt *attempt,
                                           struct sq_error *err);

#endif
