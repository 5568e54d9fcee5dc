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
    char *replica_of;        /* the option; written under `change` and `mutex`, read under either; so are the next three */
    char *replica_name;
    char *replica_databases;
    enum repl_log_mode log_mode;

    pthread_mutex_t mutex;
    /* Relaxed, for the quick look of statements: who begins to write a moment after is stopped at its commit. */
    atomic_int role;
    struct sq_list watches;   /* struct node_watch: senders that want to know of databases and roles */
    struct sq_list databases; /* struct repl_database, by number */
    uint32_t last_number;
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

#endif
