/* repl/receiver.h: what is done with what a primary sends. A state machine without I/O: messages of the primary's go in, bytes come out, the clock is handed in;
 * it writes to a store (store.h), which calls its wakers. docs/replication-protocol.md has the messages.
 *
 *     owner (a thread with a connection to the primary, a simulator)
 *       │ bytes of the primary's ──► repl_receiver_run() ──► bytes for it, up to a mark
 *       │                               │
 *       │ ◄── its waker ── news ◄───────┤ store: databases, files, what is applied and durable
 *       └ ◄── deadline
 *
 * Begins after CopyBothResponse. Call repl_receiver_run() when bytes have come, when there is room again, when the waker was called, and at the deadline. Bytes
 * that it leaves in the input wait for the store: they are back-pressure, if the owner stops reading when the input is full.
 *
 * Lifetime: store and waker outlive the receiver. Threads: one at a time; repl_receiver_each(), _age_us(), _probe() from any thread while it lives. */
#ifndef SQ_REPL_RECEIVER_H
#define SQ_REPL_RECEIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/waker.h"
#include "pgwire/replication.h"
#include "repl/store.h"
#include "repl/wanted.h"

struct repl_receiver;

enum { REPL_RECEIVER_DATABASES_MAX = 1000 * 1000 };

struct repl_receiver_config {
    int64_t keepalive_us; /* the primary hears from us at least so often */
    int64_t timeout_us;   /* a primary that is silent for so long is gone; it is asked at half of it */
    int64_t
        retry_min_us; /* after a trouble with one database, this is waited, and twice as long with each that follows, … */
    int64_t retry_max_us; /* … up to this */
    size_t high_water_bytes;
    size_t message_bytes_max; /* of the primary's; larger ones break the protocol */
};
extern const struct repl_receiver_config repl_receiver_defaults;

/* What the owner has to say in START_REPLICATION: filled from the store. The name and the list are the owner's. */
void repl_receiver_command(struct repl_store *store, struct replication_command *ret_command);

/* `wanted` is copied: what the command's list says. */
SQ_MUST_USE sq_status repl_receiver_new(struct repl_store *store, const struct repl_wanted *wanted,
                                        const struct repl_receiver_config *config, struct sq_waker *waker,
                                        int64_t now_us, struct sq_error *err, struct repl_receiver **ret_receiver);
/* A file that has not come completely is given up; what is complete will be applied. NULL is allowed. */
void repl_receiver_free(struct repl_receiver *receiver);

/* Takes whole messages out of `in` and puts what there is to say into `out`. *ret_deadline_us: when to call again, if nothing happens before.
 * SQ_CLOSED: the primary has ended it, or is silent. SQ_PROTOCOL: it said what makes no sense. SQ_INVALID: it must not be followed: another group, an older
 * timeline than ours; the primary's own error has its text and SQLSTATE. What is in `out` then is still worth sending. After any failure the receiver is good for nothing but _free(). */
SQ_MUST_USE sq_status repl_receiver_run(struct repl_receiver *receiver, int64_t now_us, struct sq_buf *in,
                                        struct sq_buf *out, struct sq_error *err, int64_t *ret_deadline_us);
/* The two halves of it, for who takes CopyData apart himself: one message, the content of a CopyData; then what there is to say. SQ_BUSY from _take: the store has no room
 * now: offer the same message again after the waker was called, and no other before. */
SQ_MUST_USE sq_status repl_receiver_take(struct repl_receiver *receiver, int64_t now_us, const uint8_t *bytes,
                                         size_t length, struct sq_error *err);
void repl_receiver_heard(struct repl_receiver *receiver,
                         int64_t now_us); /* a part of a message has come: it is not silent */
SQ_MUST_USE sq_status repl_receiver_produce(struct repl_receiver *receiver, int64_t now_us, struct sq_buf *out,
                                            struct sq_error *err, int64_t *ret_deadline_us);

/* Whether the primary has told all of its databases. */
bool repl_receiver_is_list_known(const struct repl_receiver *receiver);
/* For how long it is not certain that database `name` has everything that the primary had, in microseconds; INT64_MAX: never was, on this connection. NULL: the
 * oldest of all. Any thread. */
int64_t repl_receiver_age_us(struct repl_receiver *receiver, const char *name, int64_t now_us);
/* Asks the primary at once how far it is, for one who waits for a younger age; the waker is called. Any thread. */
void repl_receiver_probe(struct repl_receiver *receiver);

/* What is known of one database; for SHOW REPLICATION. */
struct repl_receiver_figures {
    uint32_t number; /* the primary's */
    char name[REPL_NAME_MAX + 1];
    const char *state;       /* "opening", "following", "healing", "paused", … */
    struct wal_position end; /* the primary's, as it was told last; zeros: not yet */
    struct wal_position written;
    struct wal_position applied;
    struct wal_position durable;
    uint64_t received_bytes;         /* of the file that is coming */
    uint64_t expected_bytes;         /* 0: none comes, or its size is not known */
    int64_t as_of_us;                /* of the monotonic clock: what is here is everything as of then; 0: not known */
    char reason[SQ_ERROR_EXTRA_MAX]; /* of the last trouble; "": none since it follows */
};
/* Calls `figures_cb` for each database, under the receiver's lock: it must not wait. Any thread. */
void repl_receiver_each(struct repl_receiver *receiver, void *context,
                        void (*figures_cb)(void *context, const struct repl_receiver_figures *figures));

#endif
