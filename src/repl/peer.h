/* repl/peer.h: a replica that is connected to this server: a sender (sender.h) at work, and what operators and commits that wait for replicas
 * know of it.
 *
 *     session ──CopyData──► repl_peer_take() ──► sender ──► repl_peer_give() ──CopyData──► session
 *
 * Lifetime: node > peer; the peer belongs to a session. Threads: one at a time, as the session; the node looks at it from any,
 * under its own mutex. */
#ifndef SQ_REPL_PEER_H
#define SQ_REPL_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/waker.h"
#include "pgwire/replication.h"

struct repl_node;
struct repl_peer;
struct sq_buf;

enum { REPL_PEERS_MAX = 100 }; /* replicas of one server at a time */

/* The answer to IDENTIFY_SYSTEM. */
void repl_node_put_identity(struct repl_node *node, struct sq_buf *out);

/* For START_REPLICATION. `waker` brings the session back when there is something to give. SQ_LIMIT, 53300: too many. SQ_INVALID: of another group,
 * another version; 55000: this server is fenced, or becomes so by what the replica has seen. */
SQ_MUST_USE sq_status repl_peer_new(struct repl_node *node, const struct replication_command *command,
                                    struct sq_waker *waker, const char *address, struct sq_error *err,
                                    struct repl_peer **ret_peer);
void repl_peer_free(struct repl_peer *peer); /* NULL is allowed */

/* One message of the replica. SQ_PROTOCOL: it is none. Any failure ends the connection. */
SQ_MUST_USE sq_status repl_peer_take(struct repl_peer *peer, const uint8_t *bytes, size_t length, struct sq_error *err);
/* Appends messages as long as there are any and `out` has less than the sender's mark. Any failure ends the connection: the replica does not answer
 * any more, or this server must not feed it any longer. */
SQ_MUST_USE sq_status repl_peer_give(struct repl_peer *peer, struct sq_buf *out, struct sq_error *err);
/* When to call repl_peer_give() although nothing has happened; monotonic, 0: never. */
int64_t repl_peer_deadline_us(const struct repl_peer *peer);

#endif
