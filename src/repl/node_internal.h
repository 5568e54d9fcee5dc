/* repl/node_internal.h: the node as its own files see it.
 *
 *   node.c            life, options, roles: promotion, fencing, following
 *   node_state.c      the file that outlives it
 *   node_databases.c  which databases there are, by number; who follows each one's WAL
 *   node_source.c     what senders read from (source.h)
 *   node_store.c      what the receiver writes to (store.h)
 *   node_link.c       the thread that follows the primary
 *   node_wait.c       positions, and who waits for them
 *   peer.c            connected replicas; commits that wait for them
 *   report.c          for operators
 *
 * Locks, outermost first: `change` (who changes role or options, one at a time; held across I/O and joins, so no thread that is joined
 * takes it) > `peer_mutex` > a sender's > `link_mutex` > the link's > a receiver's > `file` (who writes the state down; held across that) > `mutex` (a few
 * instructions, wakers are called under it). Senders and receivers may call the source and the store under their own locks. */
#ifndef SQ_REPL_NODE_INTERNAL_H
#define SQ_REPL_NODE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "engine/database.h"
#include "engine/follower.h"
#include "repl/node.h"
#include "repl/node_state.h"
#include "repl/source.h"
#include "repl/store.h"

struct node_link;

struct repl_node {
    struct repl_source source;
    struct repl_store store;
    struct repl_host *host;

    pthread_mutex_t change;
    pthread_mutex_t file;
    struct node_state state; /* written under `file` and `mutex`, read under either */
    char *replica_of; /* the option; written under `change` and `mutex`, read under either; so are the next three */
    char *replica_name;
    char *replica_databases;
    enum repl_log_mode log_mode;

    pthread_mutex_t mutex;
    /* Relaxed, for the quick look of statements: who begins to write a moment after is stopped at its commit. */
    atomic_int role;
    struct repl_loggers *loggers;
    struct engine_follower_factory factory;
    struct engine_registry_watch registry_watch;
    struct sq_list watches;   /* struct node_watch: senders that want to know of databases and roles */
    struct sq_list databases; /* struct repl_database, by number */
    uint32_t last_number;
    struct repl_replicas *replicas;
    pthread_mutex_t copies_mutex;
    struct sq_list copies; /* struct node_copy; guarded by it */
    pthread_t helper;      /* opens and closes databases: node_databases.c */
    pthread_cond_t helper_cond;
    bool has_helper;
    bool is_helper_due;
    bool is_helper_stopping;
    bool is_released; /* no database is to be kept open now */
    pthread_cond_t released_cond;
    size_t keep_bytes;
    int64_t keep_us;
    int64_t timeout_us;
    size_t synchronous_count;

    pthread_mutex_t link_mutex;
    struct node_link *link; /* NULL: nobody is followed; changed under `change` and `link_mutex`, read under either */
    pthread_mutex_t peer_mutex;
    struct sq_list peers; /* struct repl_peer; changed under `peer_mutex` and `mutex`, read under either */
    size_t peer_count;
};

/* --- node.c --- */
/* The primary's group and timeline become ours; durable when it returns. */
SQ_MUST_USE sq_status node_adopt(struct repl_node *node, uint64_t system_id, uint64_t timeline, struct sq_error *err);
/* Somebody has said that this timeline exists: a primary with an older one is none any more when this returns. */
void node_see_timeline(struct repl_node *node, uint64_t timeline);

/* --- node_source.c --- */
void node_source_init(struct repl_node *node);
/* Databases or the identity have changed: senders look again. _locked: under the node's mutex. */
void node_notify(struct repl_node *node);
void node_notify_locked(struct repl_node *node);

/* --- node_store.c --- */
void node_store_init(struct repl_node *node);

/* --- node_databases.c --- */
/* Finds what there is, and follows what is opened from now on. */
SQ_MUST_USE sq_status node_databases_begin(struct repl_node *node, struct sq_error *err);
SQ_MUST_USE sq_status node_databases_start(struct repl_node *node, struct sq_error *err);
/* Before the role changes: nobody reads logs, or applies, any more. Under `change`. */
void node_databases_release(struct repl_node *node);
/* After it: logs are kept in the new role, if it has changed. */
SQ_MUST_USE sq_status node_databases_resume(struct repl_node *node, bool is_change, struct sq_error *err);
void node_databases_stop(struct repl_node *node);
void node_databases_end(struct repl_node *node);
SQ_MUST_USE sq_status node_databases_open_feed(struct repl_node *node, uint32_t number, struct sq_waker *waker,
                                               struct sq_error *err, struct repl_feed **ret_feed);
/* What replicas have on their disks of database `number` has moved on. */
void node_databases_confirm(struct repl_node *node, uint32_t number);
/* Options have changed. */
void node_databases_reconfigure(struct repl_node *node);

/* --- peer.c --- */
/* Up to where `count` connected replicas, or more, have database `number` on their disks; 0: not so many have it. Under the node's mutex. */
ltx_txid node_peers_durable(struct repl_node *node, uint32_t number, size_t count);

#endif
