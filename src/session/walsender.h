/* session/walsender.h: a session that was begun with `replication=true`: a replica's (PostgreSQL manual, "Streaming Replication Protocol").
 *
 *     COMMANDS ──START_REPLICATION LTX──► STREAMING ──CopyDone of the client──► COMMANDS
 *
 * It knows the commands IDENTIFY_SYSTEM, START_REPLICATION LTX (docs/replication-protocol.md) and SHOW of a setting, as simple queries; it has no
 * database and no transactions. It is not counted by max-connections: a server that is full must not lose its replicas.
 * Private to the session. */
#ifndef SQ_SESSION_WALSENDER_H
#define SQ_SESSION_WALSENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "session/session.h"

struct pgwire_frame;
struct session;
struct walsender;

/* SQ_INVALID: not here. */
SQ_MUST_USE sq_status walsender_new(struct session *session, struct sq_error *err, struct walsender **ret_walsender);
void walsender_free(struct walsender *walsender); /* NULL is allowed */

/* A message of the client, but for Terminate. */
void walsender_message(struct walsender *walsender, const struct pgwire_frame *frame);
bool walsender_is_streaming(const struct walsender *walsender);
/* While streaming: puts what there is to send into the session's output. */
void walsender_give(struct walsender *walsender);
int64_t walsender_deadline_us(const struct walsender *walsender); /* monotonic; 0: none */

#endif
