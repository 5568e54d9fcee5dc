/* repl/node.h: this server as a member of a replication group: primary, or replica of one.
 *
 *              --replica-of            promote
 *   PRIMARY ◄──────────────── REPLICA ─────────► PRIMARY (a new timeline)
 *      │ has seen a newer timeline
 *      ▼
 *   FENCED ──(told whom to follow)──► REPLICA: surplus transactions are set aside, then it heals
 *
 * What it knows outlives it: DATA_DIR/sqld.replication (docs/replication.md has the byte table) holds the group's system identifier, the timeline
 * and the role.
 *
 * Threads: any, unless said otherwise. */
#ifndef SQ_REPL_NODE_H
#define SQ_REPL_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "base/waker.h"
#include "wal/log.h"

struct engine_database;
struct engine_registry;
struct node_copy;
struct repl_logger;
struct repl_node;
struct sched;

enum repl_role { REPL_PRIMARY, REPL_REPLICA, REPL_FENCED };

/* When logs are kept: option replication-log. */
enum repl_log_mode { REPL_LOG_AUTO, REPL_LOG_ON, REPL_LOG_OFF };

/* What the options say; all text is copied. */
struct repl_options {
    const char *replica_of;
    const char *replica_name;      /* "": made up */
    const char *replica_databases; /* patterns */
    enum repl_log_mode log_mode;
    size_t keep_bytes;  /* of a log; 0: no limit */
    int64_t keep_us;    /* likewise */
    int64_t timeout_us; /* silence that ends a connection */
    size_t synchronous_count;
};

/* The server, as the node needs it; outlives it. */
struct repl_host {
    const char *data_dir; /* locked, and stays valid */
    struct engine_registry *databases;
    struct sched *sched;
    /* Ends all sessions of clients, and what they have not committed, or those of one database. Any thread; does not wait. */
    void (*end_sessions_cb)(struct repl_host *host, const char *database);
};

/* Reads what was, decides what this server is now, and follows the databases that are opened from now on. Before other threads use the
 * registry. SQ_INVALID: the data directory and the options contradict each other. */
SQ_MUST_USE sq_status repl_node_new(struct repl_host *host, const struct repl_options *options, struct sq_error *err,
                                    struct repl_node **ret_node);
/* Begins to follow the primary, if this is a replica. Makes the default database otherwise. */
SQ_MUST_USE sq_status repl_node_start(struct repl_node *node, struct sq_error *err);
/* Follows no more, and lets go of all databases. All sessions have ended. */
void repl_node_stop(struct repl_node *node);
/* After the registry's and the scheduler's end: nothing is followed any more. NULL is allowed. */
void repl_node_free(struct repl_node *node);
/* New options; what cannot be taken over is logged. */
void repl_node_configure(struct repl_node *node, const struct repl_options *options);

enum repl_role repl_node_role(struct repl_node *node);
/* Every statement that writes asks: SQ_OK on a primary. Replica: SQ_READ_ONLY-like failure that says who the primary is (25006); fenced: 25006, says which
 * timeline was seen and how to rejoin. */
SQ_MUST_USE sq_status repl_node_check_writable(struct repl_node *node, struct sq_error *err);

/* The primary as this replica reaches it: a URL (pgclient_target_parse), the host that is followed now first. The caller frees it with free(). NULL: not a
 * replica, or without memory. */
char *repl_node_upstream(struct repl_node *node);
/* Whether the primary can be reached as far as is known: writes fail fast if not. */
bool repl_node_is_connected(struct repl_node *node);

/* Where `database` is. Primary: the position that covers everything published up to `rests_on` (an engine_position); LATER if the log has not taken it yet.
 * Replica: what is applied and can be read now. */
enum repl_known { REPL_KNOWN, REPL_KNOWN_LATER, REPL_KNOWN_NEVER };

/* One who waits; embedded in its owner. */
struct repl_wait {
    struct sq_list links;
    struct sq_waker *waker;
    struct node_copy *copy;     /* of a replica's database; NULL: does not wait for one */
    struct repl_logger *logger; /* of a primary's; likewise */
    uint64_t wanted;            /* the logger's */
};
void repl_wait_init(struct repl_wait *wait, struct sq_waker *waker);
/* KNOWN: *ret_position. LATER: the waker will be called; ask again. NEVER: no log is kept, or the disk failed. */
enum repl_known repl_node_position(struct repl_node *node, struct engine_database *database, uint64_t rests_on,
                                   struct repl_wait *wait, struct wal_position *ret_position);
/* Replica: whether `database` can be read as of `position` or later: its timeline's history decides what is later. NEVER: it is on a timeline that this server's
 * is not a continuation of. On a primary always KNOWN, unless the position is not of its history. */
enum repl_known repl_node_has(struct repl_node *node, struct engine_database *database,
                              const struct wal_position *position, struct repl_wait *wait);
void repl_wait_withdraw(struct repl_node *node, struct repl_wait *wait);

/* For consistency = bounded: how old what can be read here may be, in microseconds: since when this replica has been sure to have had everything. INT64_MAX: never was. 0 on a
 * primary. */
int64_t repl_node_staleness_us(struct repl_node *node, struct engine_database *database);

/* Makes a replica a primary with a new timeline. Returns when writes are accepted. SQ_INVALID: it is one. */
SQ_MUST_USE sq_status repl_node_promote(struct repl_node *node, struct sq_error *err);
/* Follows another primary from now on (`url` NULL or "": the configured one). */
SQ_MUST_USE sq_status repl_node_follow(struct repl_node *node, const char *url, struct sq_error *err);

#endif
