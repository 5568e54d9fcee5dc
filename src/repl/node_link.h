/* repl/node_link.h: the thread of a replica that follows its primary: finds it, connects, feeds a receiver (receiver.h), and begins anew when the
 * connection is lost.
 *
 *     SEARCHING ──found──► STREAMING ──lost──► WAITING ──100 ms, doubled up to 5 s──► SEARCHING
 *
 * With one host in the URL that one is followed, whatever it is: a replica can follow a replica. With several, the primary with the newest
 * timeline is, and those that are behind are told of it.
 *
 * Lifetime: node > link. Threads: any. */
#ifndef SQ_REPL_NODE_LINK_H
#define SQ_REPL_NODE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct repl_node;
struct node_link;
struct repl_receiver;

/* Whether it is a URL that can be followed. */
SQ_MUST_USE sq_status node_link_check_url(const char *url, struct sq_error *err);

SQ_MUST_USE sq_status node_link_new(struct repl_node *node, const char *url, struct sq_error *err,
                                    struct node_link **ret_link);
/* Ends the connection, what was received of transactions is applied. NULL is allowed. */
void node_link_free(struct node_link *link);

/* `url` with the host that is followed now before the others; to be freed with free(). NULL without memory. */
char *node_link_url(struct node_link *link, const char *url);
bool node_link_is_connected(struct node_link *link);
/* Whether the primary has told of all its databases since it was connected first. */
bool node_link_is_list_known(struct node_link *link);
/* For how long it has not been certain that everything of database `name` (NULL: of all) was received; INT64_MAX: it never was. */
int64_t node_link_age_us(struct node_link *link, const char *name);

/* For operators: calls `look_cb` with the receiver (NULL: not connected), under the link's lock. `state` is a word, `failure` what went wrong last or "". */
void node_link_look(struct node_link *link, void *context,
                    void (*look_cb)(void *context, struct repl_receiver *receiver, const char *host, const char *state,
                                    const char *failure));

#endif
