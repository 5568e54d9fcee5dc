/* repl/replica.h: the databases of a replica: what of the store (store.h) belongs to one database, its log, its applier, and its part as
 * a source for others (feed.h).
 *
 *                 receiver's calls                          workers
 *     file of the log ─► decoder ─► log ───────────────────► batch ─► WAL, one transaction ─► applied ─► sync ─► durable
 *     healing file    ─► decoder ─► a file of its own ─────► WAL, one transaction; the log begins anew there
 *                          └─ no database yet ─► bootstrap ─► the database file
 *
 *     OPENING ─┬─ where the WAL ends is in `applied`, checksums of pages are there ─► READY ◄──► PAUSED
 *              └─ SCANNING ─┬─ the content is that of a known position ──────────────┘  │ not what it should be
 *                           └─ HEAL ◄───────────────────────────────────────────────────┘
 *
 * Files of the log are written to the local log as they come, and applied from there by a worker, several at once if it is behind, in the database's write slot
 * and SQLite's write lock. Before the commit, `applied` (applied.h) says which position it is. What is applied is not durable until log, `applied` and WAL are
 * synced, in this order.
 *
 * A database that somebody else has written to (noticed by what the wal-index counts) is read as a whole, and heals. What healing takes
 * from a database that was not a copy of the primary's is set aside: DATA_DIR/set-aside/NAME-….ltx, which applied to the healed database gives the
 * former one back.
 *
 * Lifetime: registry, scheduler > replicas > replica. A replica is the node's, and is referred to by feeds and exchanges (its feed host). Threads: any, unless
 * said otherwise. */
#ifndef SQ_REPL_REPLICA_H
#define SQ_REPL_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/waker.h"
#include "engine/follower.h"
#include "repl/feed.h"
#include "repl/store.h"

struct engine_registry;
struct repl_replica;
struct repl_replicas;
struct sched;

struct repl_replicas_config {
    struct engine_registry *registry;
    struct sched *sched;
    const char *data_dir;    /* stays valid */
    size_t thread_count_max; /* 0: the usual */
    uint64_t keep_bytes;     /* of a log; 0: no limit */
    int64_t keep_age_ms;     /* likewise */
    void *context;
    /* Ends the sessions of a database that is to go, soon. Any thread. */
    void (*end_sessions_cb)(void *context, const char *database);
};

SQ_MUST_USE sq_status repl_replicas_new(const struct repl_replicas_config *config, struct sq_error *err,
                                        struct repl_replicas **ret_replicas);
/* All replicas have been freed. NULL is allowed. */
void repl_replicas_free(struct repl_replicas *replicas);

/* Nothing is opened yet. `moved` is called, under the replica's mutex, when its positions or its state have changed; until _free(). */
SQ_MUST_USE sq_status repl_replica_new(struct repl_replicas *replicas, const char *name, struct sq_waker *moved,
                                       struct sq_error *err, struct repl_replica **ret_replica);
/* It has been released, or dropped, and nobody follows the database for it. What is left of it lives as long as feeds refer to it. NULL is allowed. */
void repl_replica_free(struct repl_replica *replica);

/* From a follower factory's start_cb. The replica opens the database itself then, and keeps it open until it is released or dropped. */
SQ_MUST_USE sq_status repl_replica_follow(struct repl_replica *replica, struct engine_database *database,
                                          struct engine_durability *durability, struct sq_error *err,
                                          struct engine_follower **ret_follower);
/* repl_store_ops.open_cb and drop_cb. After _drop() it may only be freed, when repl_replica_is_gone(). */
SQ_MUST_USE sq_status repl_replica_open(struct repl_replica *replica, struct sq_waker *waker, struct sq_error *err,
                                        struct repl_copy **ret_copy);
void repl_replica_drop(struct repl_replica *replica);
bool repl_replica_is_gone(struct repl_replica *replica);

/* What can be read, and what is certain. See repl_copy_ops.look_cb. */
void repl_replica_look(struct repl_replica *replica, struct repl_copy_view *ret_view);
/* Whether the content can be read as of `position` or later, by its log's history. */
bool repl_replica_has(struct repl_replica *replica, const struct wal_position *position, bool *ret_is_never);
/* Since it was made. */
struct repl_replica_facts {
    uint64_t batch_count; /* transactions that were made of files of the log */
    uint64_t file_count;  /* … of so many */
    uint64_t scan_count;  /* the database had to be read as a whole */
    uint64_t heal_count;
    uint64_t aside_count; /* something was set aside */
};
void repl_replica_facts(struct repl_replica *replica, struct repl_replica_facts *ret_facts);
/* For repl_feed_open(). */
struct repl_feed_host *repl_replica_feed_host(struct repl_replica *replica);

/* The copy has been closed: waits until all that was committed to it is applied and durable. A failure: it cannot be; why. */
SQ_MUST_USE sq_status repl_replica_settle(struct repl_replica *replica, struct sq_error *err);
/* Lets go of database and log, after what runs; feeds end. Waits. Somebody else may go on with the log after engine_durability_set_follower(NULL), or
 * when the database is closed. */
void repl_replica_release(struct repl_replica *replica);

#endif
