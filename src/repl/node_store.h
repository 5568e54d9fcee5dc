/* repl/node_store.h: a replica's databases: the store (store.h) that the receiver writes to, each database being a replica.h. Private to the node.
 *
 *     copy     from the first look of receiver, engine or helper at a database, up to its drop, or the end of the node's being a replica */
#ifndef SQ_REPL_NODE_STORE_H
#define SQ_REPL_NODE_STORE_H

#include "engine/follower.h"
#include "repl/node_internal.h"
#include "repl/replica.h"

SQ_MUST_USE sq_status node_store_begin(struct repl_node *node, struct sq_error *err);
/* Nobody follows a database for it any more. */
void node_store_end(struct repl_node *node);

/* For the follower factory. */
SQ_MUST_USE sq_status node_store_follow(struct repl_node *node, struct engine_database *database,
                                        struct engine_durability *durability, struct sq_error *err,
                                        struct engine_follower **ret_follower);
/* Feeds a replica of this one from the database's copy. SQ_NOT_FOUND: there is none. */
SQ_MUST_USE sq_status node_store_open_feed(struct repl_node *node, const char *name, struct sq_waker *waker,
                                           struct sq_error *err, struct repl_feed **ret_feed);

/* The receiver has ended: all that it has committed is applied, and all copies let go of their databases. Waits. */
void node_store_release(struct repl_node *node);
/* And nobody follows a database for them any more. */
void node_store_forget(struct repl_node *node);

/* What can be read now, and whether that is at or after `position`: see repl_node_position(), repl_node_has(). */
enum repl_known node_store_position(struct repl_node *node, const char *name, struct wal_position *ret_position);
enum repl_known node_store_has(struct repl_node *node, const char *name, const struct wal_position *position,
                               struct repl_wait *wait);
/* For a wait with a copy. */
void node_store_withdraw(struct repl_node *node, struct repl_wait *wait);

#endif
