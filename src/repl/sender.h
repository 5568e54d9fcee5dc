/* repl/sender.h: what a connected replica is told and sent. A state machine without I/O: messages of the replica's go in, bytes come out, the clock is handed
 * in; it reads from a source (source.h), which calls its wakers. docs/replication-protocol.md has the messages.
 *
 *     owner (a session's loop, a simulator)
 *       │ bytes of the replica's ──► repl_sender_run() ──► bytes for it, up to a mark; then nothing more is made until they are gone
 *       │                               │
 *       │ ◄── its waker ── news ◄───────┤ source: databases, logs, snapshots
 *       │ ◄── deadline                  │
 *       └ ◄── a newer timeline was heard of; what is durable at the replica
 *
 * Call repl_sender_run() when bytes have come, when there is room again, when the waker was called, and at the deadline.
 *
 * Lifetime: source, owner and waker outlive the sender. Threads: one at a time; repl_sender_each() from any thread while the sender lives. */
#ifndef SQ_REPL_SENDER_H
#define SQ_REPL_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/waker.h"
#include "pgwire/replication.h"
#include "repl/source.h"

struct repl_sender;
struct repl_sender_owner;

enum { REPL_SENDER_EXCHANGES_MAX = 4 }; /* databases of one replica that are healed at the same time */

struct repl_sender_config {
    int64_t keepalive_us;     /* the replica hears so often that all it was told is still so */
    int64_t timeout_us;       /* a replica that is silent for so long is gone; it is asked at half of it */
    int64_t push_interval_us; /* 0: news are told at once; else all that has come up in so long */
    size_t high_water_bytes;  /* nothing more is made while so many bytes, or more, wait to be sent */
    size_t message_bytes_max; /* of the replica's; larger ones break the protocol */
};
/* Ten seconds of silence and one of rest, a quarter of a megabyte. */
extern const struct repl_sender_config repl_sender_defaults;

struct repl_sender_owner_ops {
    /* The replica has seen a timeline that is newer than ours: if we are a primary, we are none any more. The sender fails next. */
    void (*newer_timeline_cb)(struct repl_sender_owner *owner, uint64_t timeline);
    /* Database `number` is durable at the replica up to `durable`, which is in our history. Within a connection it never goes back but to heal. */
    void (*durable_cb)(struct repl_sender_owner *owner, uint32_t number, const struct wal_position *durable);
};
struct repl_sender_owner {
    const struct repl_sender_owner_ops *ops;
};

/* Begins what START_REPLICATION has asked for; CopyBothResponse is the caller's to say. `now_us` is the monotonic clock.
 * SQ_INVALID: the replica must not be fed by us, *err says why (another group, a newer timeline, a version or list that we do not know, we are fenced). */
SQ_MUST_USE sq_status repl_sender_new(struct repl_source *source, const struct replication_command *command,
                                      const struct repl_sender_config *config, struct repl_sender_owner *owner,
                                      struct sq_waker *waker, int64_t now_us, struct sq_error *err,
                                      struct repl_sender **ret_sender);
void repl_sender_free(struct repl_sender *sender); /* NULL is allowed */

/* Takes whole messages out of `in` and puts what there is to say into `out`. *ret_deadline_us: when to call again, if nothing happens before.
 * `wall_us` is the Unix time, which the replica is told. `out` must have room for the high-water mark and a message of REPLICATION_MESSAGE_BYTES_MAX.
 * SQ_CLOSED: the replica has said that it is done, or is silent. SQ_PROTOCOL: it said what makes no sense. SQ_INVALID: a newer timeline; fenced.
 * After any failure the sender is good for nothing but _free(). */
SQ_MUST_USE sq_status repl_sender_run(struct repl_sender *sender, int64_t now_us, int64_t wall_us, struct sq_buf *in,
                                      struct sq_buf *out, struct sq_error *err, int64_t *ret_deadline_us);
/* The two halves of it, for who takes CopyData apart himself: one message, the content of a CopyData; then what there is to say. */
SQ_MUST_USE sq_status repl_sender_take(struct repl_sender *sender, int64_t now_us, const uint8_t *bytes, size_t length,
                                       struct sq_error *err);
void repl_sender_heard(struct repl_sender *sender, int64_t now_us); /* a part of a message has come: it is not silent */
SQ_MUST_USE sq_status repl_sender_produce(struct repl_sender *sender, int64_t now_us, int64_t wall_us,
                                          struct sq_buf *out, struct sq_error *err, int64_t *ret_deadline_us);

/* What is known of one database at the replica; for SHOW REPLICATION. */
struct repl_sender_figures {
    uint32_t number;
    char name[REPL_NAME_MAX + 1];
    const char *state;       /* "announced", "following", "healing", "paused", … */
    struct wal_position end; /* here; zeros: no log yet */
    struct wal_position sent;
    struct wal_position written; /* at the replica, zeros: nothing, or it heals */
    struct wal_position applied;
    struct wal_position durable;
    uint64_t lag_transactions; /* not applied yet */
    uint64_t lag_bytes;        /* of the log's files after what is applied */
    int64_t lag_us;            /* how long ago the oldest transaction was told that is not applied yet; 0: all is */
};
const char *repl_sender_name(const struct repl_sender *sender); /* as the replica calls itself, "" if it does not */
/* Calls `figures_cb` for each database, under the sender's lock: it must not wait. Any thread. */
void repl_sender_each(struct repl_sender *sender, int64_t now_us, void *context,
                      void (*figures_cb)(void *context, const struct repl_sender_figures *figures));

#endif
