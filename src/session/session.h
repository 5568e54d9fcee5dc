/* session/session.h: one client's conversation in the PostgreSQL protocol: bytes in, bytes out, no socket.
 *
 * The owner (a connection of the server, a fuzzer) feeds received bytes through `in` and sends what appears in `out`.
 * session_run() goes as far as it can and says what it needs next; the owner reads from the socket only when the answer
 * is SESSION_NEED_INPUT, so a client that does not read its answers is not read from either: memory stays bounded. Only a
 * function of the client's that SQLite calls makes it wait where it is, by way of its owner: `struct session_wire`.
 *
 * Lifetime: host > session. Threads: one at a time, but session_interrupt() and the host's registry, which any thread
 * may use while the session lives. A session may move to another thread between calls. */
#ifndef SQ_SESSION_SESSION_H
#define SQ_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/waker.h"
#include "engine/connection.h"

struct config;
struct engine_registry;
struct notify_hub;
struct outcomes;
struct repl_node;
struct sched;
struct service_factory;
struct session;
struct session_registry;

/* What all sessions of a server share. */
struct session_host {
    /* The configuration now; a new reference for the caller. */
    struct config *(*config_cb)(struct session_host *host);
    struct engine_registry *databases;
    struct service_factory *factory; /* the outermost: all layers and the scheduler */
    struct sched *sched;             /* for SHOW locks */
    struct session_registry *sessions;
    struct notify_hub *notify_hub;
    struct outcomes *outcomes;
    struct repl_node *node; /* NULL: there is no replication */
    int64_t started_us;     /* wall clock */
};

/* How a session that is in the middle of a statement waits, in native mode: SQLite has called a function of the client's,
 * and goes on when the client has answered. Everything else in a session only says what it waits for. Within session_run(),
 * on its thread, which is blocked. */
enum session_wait {
    SESSION_WAIT_OUTPUT, /* all of `out` has been sent; it ends at the end of a message */
    SESSION_WAIT_INPUT,  /* and at least one more byte is in `in` */
    SESSION_WAIT_WAKE,   /* the waker has been called */
};
struct session_wire {
    /* Before the session waits, and after: its thread is lost for others meanwhile. SQ_BUSY: none is left for that. */
    sq_status (*enter_cb)(struct session_wire *wire, struct sq_error *err);
    void (*leave_cb)(struct session_wire *wire);
    /* SQ_OK also when it is `until_us` (monotonic; 0: no limit). SQ_CLOSED: the client is gone. SQ_CANCELED: `stop` says why; a client that is asked to cancel has a moment to come
     * back by itself. SQ_NOMEM: no memory for input. SQ_IO: `out` rests on what could not be written to the disk. */
    sq_status (*wait_cb)(struct session_wire *wire, enum session_wait what, struct engine_stop *stop, int64_t until_us,
                         struct sq_error *err);
};

enum session_want {
    SESSION_NEED_INPUT,  /* all of `in` that can be used has been used: send `out`, then wait for bytes */
    SESSION_OUTPUT_FULL, /* send `out` first, then run again */
    SESSION_DUPLEX,      /* replication: send what can be sent, read what has come, and run again after either */
    SESSION_WAITING,     /* send `out`; run again after a wake or at the deadline */
    SESSION_YIELDED,     /* send `out`; run again after others had a turn */
    SESSION_STARTED,     /* the start-up packet is in, nothing slow has been done: run again, on any thread */
    SESSION_CLOSE,       /* send `out`, then close */
};

/* `waker` brings session_run() back; `peer` is the client's address, for people. */
SQ_MUST_USE sq_status session_new(struct session_host *host, struct sq_waker *waker, struct session_wire *wire,
                                  const char *peer, struct sq_error *err, struct session **ret_session);
/* Rolls back what is open. NULL is allowed. */
void session_free(struct session *session);

enum session_want session_run(struct session *session, struct sq_buf *in, struct sq_buf *out);

/* Whether what is in `out` may leave: not before what it rests on is on disk. */
enum session_release {
    SESSION_RELEASED,
    SESSION_HELD_BACK, /* the waker will be called */
    SESSION_LOST,      /* it will never be on disk: drop `out`, see session_put_loss(), and close */
};
enum session_release session_release(struct session *session);
/* After SESSION_LOST: says so to the client, in an `out` that is empty or ends at the end of a message. */
void session_put_loss(struct session *session, struct sq_buf *out);

/* Waits for that disk, on the calling thread: what is in `out`, and what a statement in its middle has seen, is safe to be
 * said then. For struct session_wire. */
SQ_MUST_USE sq_status session_sync(struct session *session, struct sq_error *err);

/* There is no memory for the client's next message: says so in `out`, which ends at the end of a message. Then close. */
void session_put_no_memory(struct session *session, struct sq_buf *out);

/* The descriptor that the session's work at the primary waits for, to be watched edge-triggered: whatever happens there, the
 * session is to be run again. -1: none. *ret_generation: another number than before means another descriptor, perhaps of
 * the same number; the owner duplicates what it watches. */
int session_watched_descriptor(const struct session *session, uint64_t *ret_generation);

/* When to run the session again although nothing has happened (monotonic, 0: never): time limits. */
int64_t session_deadline_us(const struct session *session);
/* Whether the session has given back what it can have again, because nobody asks anything: its owner may do so too. */
bool session_is_resting(const struct session *session);
/* How many more bytes the message that has begun needs; 0 if that is not known. A hint for the reader. */
size_t session_input_hint(const struct session *session);

/* The client has closed its side or is gone: running statements stop, and the session wants to be closed. */
void session_peer_gone(struct session *session);

/* Calls `move_cb` while no other thread can wake the session: the moment in which its owner takes it to another loop.
 * Only at SESSION_STARTED. */
void session_relocate(struct session *session, void *context, void (*move_cb)(void *context));

/* For logs: the process id that clients see. */
uint32_t session_pid(const struct session *session);

/* A cancel request that comes while nothing runs may have overtaken its statement, which is still in the socket: it is kept
 * for the next one. The owner takes a mark before it looks for input and, if there is none, settles what came before the
 * mark: there was nothing to cancel. A mark of 0: there is nothing to settle. */
uint64_t session_cancel_mark(struct session *session);
void session_cancel_settle(struct session *session, uint64_t mark);

enum session_interrupt {
    SESSION_INTERRUPT_CANCEL,   /* stop the running statement, if there is one */
    SESSION_INTERRUPT_DRAIN,    /* end as soon as no statement runs and no transaction is open */
    SESSION_INTERRUPT_TERMINATE /* stop the running statement and end */
};
/* Any thread, as long as the session lives. */
void session_interrupt(struct session *session, enum session_interrupt interrupt);
/* SESSION_INTERRUPT_CANCEL; whether there was a statement to stop. */
bool session_cancel(struct session *session);

#endif
