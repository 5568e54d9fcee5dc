/* repl/node_databases.h: the databases of a node, by number. Private to the node.
 *
 *     made, or found at the start ──► listed ──dropped, renamed──► GONE, as long as somebody has a reference
 *
 * A database that somebody reads the log of (a feed) is kept open, by a thread that opens and closes databases for all: the helper. It gives way when
 * somebody wants to drop the database, and comes back if that was in vain.
 *
 *     feed opened ─► PENDING ─(helper: engine open, the logger's own feed)─► as the logger's feed says
 *                       ▲                                                       │
 *                       └────────── the database was closed, and is not dropped ┘ */
#ifndef SQ_REPL_NODE_DATABASES_H
#define SQ_REPL_NODE_DATABASES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "engine/database.h"
#include "engine/follower.h"
#include "repl/logger.h"
#include "repl/node_internal.h"

/* Guarded by the node's mutex, but for the constants and what is the helper's. */
struct repl_database {
    struct sq_list links; /* in node->databases while it is not dropped */
    struct repl_node *node;
    uint32_t number;
    size_t ref_count; /* the list's is one */
    bool is_dropped;
    char name[ENGINE_DATABASE_NAME_MAX + 1];
    struct sq_list feeds;           /* struct node_feed */
    int64_t give_way_until_us;      /* monotonic; somebody wants to drop it: it is not kept open */
    struct engine_database *engine; /* the helper's reference; NULL: not kept open */
    int64_t not_before_us;          /* the helper's: after a failure */
    struct sq_error reason;         /* of the last one */
    bool is_failing;
};

/* Under the node's mutex. */
struct repl_database *node_find_database(struct repl_node *node, const char *name);
struct repl_database *node_find_number(struct repl_node *node, uint32_t number);
void node_database_unref_locked(struct repl_database *database);

/* Has the helper look at all databases. Any lock may be held. */
void node_helper_wake(struct repl_node *node);

#endif
