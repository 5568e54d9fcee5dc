/* repl/node_feed.h: a feed (source.h) of a database that need not be open: it becomes what the feed of its log says when the helper has opened it.
 * Private to the node.
 *
 * Threads: the ops as source.h says; _offer and _is_wanting the helper's, under the node's mutex. */
#ifndef SQ_REPL_NODE_FEED_H
#define SQ_REPL_NODE_FEED_H

#include <stdbool.h>

#include "base/status.h"
#include "repl/node_databases.h"
#include "repl/source.h"

struct node_feed;

/* Under the node's mutex; takes a reference to `database`. NULL without memory. */
struct node_feed *node_feed_new(struct repl_database *database, struct sq_waker *waker);
struct repl_feed *node_feed_base(struct node_feed *feed);

struct node_feed *node_feed_of_links(struct sq_list *links); /* in database->feeds */
struct sq_waker *node_feed_waker(const struct node_feed *feed);
/* Whether it waits for the database to be opened. */
bool node_feed_is_wanting(const struct node_feed *feed);
/* Hands the log's own feed over. */
void node_feed_offer(struct node_feed *feed, struct repl_feed *inner);
/* Looks again: the database was dropped, or could not be opened. */
void node_feed_wake(struct node_feed *feed);

#endif
