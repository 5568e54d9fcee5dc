/* repl/node_databases.h: the databases of a node, by number, and what keeps the log of each while it is open. Private to the node.
 *
 *     repl_database     from when the database is made, or found at the start, to its drop; after that as long as somebody has a reference
 *     its keeper        the engine's follower of it (engine/follower.h): from the opening of the database to its closing */
#ifndef SQ_REPL_NODE_DATABASES_H
#define SQ_REPL_NODE_DATABASES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "engine/database.h"
#include "repl/node_internal.h"

struct repl_database {
    struct sq_list links; /* in node->databases while it is not dropped; guarded by the node's mutex, as is all but the constants */
    struct repl_node *node;
    uint32_t number;
    size_t ref_count; /* the list's is one */
    bool is_dropped;
    char name[ENGINE_DATABASE_NAME_MAX + 1];
    struct sq_list waits; /* struct repl_wait */
};

#endif
