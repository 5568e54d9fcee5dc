/* client/outcome.h: what became of a request whose answer was lost with the connection.
 *
 *     lost ──► could it have committed? ── no ──► nothing of it is left: LOST, may be repeated
 *                      │ yes
 *                      ▼
 *              connect again, OUTCOME ──► 1: it was done ──► its result, as if nothing had happened;
 *                      ▲   │                                 COMMITTED if something else was lost with it
 *                      └───┤ 3: that session still lives     PRAGMA: may be repeated
 *                          ├──► 2: it was not done ──► LOST, may be repeated
 *                          └──► 0, or nobody answers ──► UNKNOWN
 *
 * The server names a lost connection by its key and counts the requests on it (docs/protocol.md, OUTCOME).
 *
 * What left no trace is repeated by those who can (step.c, prepare.c), once, on the new connection: the application notices
 * nothing. Nothing is repeated when a function of the application was called, which would be called twice; when a transaction
 * or temporary tables went with the connection; when the server has been silent or has ended the connection by itself. */
#ifndef SQ_CLIENT_OUTCOME_H
#define SQ_CLIENT_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "client/remote.h"

/* A request, as it was sent. */
struct client_sent {
    enum client_risk risk;
    bool is_autocommit;
    uint64_t number; /* as the server counts; 0: within a call, not counted */
    uint64_t call_count;
    uint32_t connection_number;
    uint8_t key[CLIENT_KEY_BYTES];
};

/* The connection was lost while the answer was waited for, and that is recorded. Returns the request's result; *ret_answer is
 * set if that is no error, and remote->is_settled. Else the error is recorded, and remote->may_repeat says what it says. */
int client_outcome_settle(struct client_remote *remote, const struct client_sent *sent,
                          struct native_answer *ret_answer);

/* After a reconnection: the session that was lost may live on, as far as the server knows, and hold locks. It is told to end,
 * and waited for. */
void client_outcome_end_former(struct client_remote *remote);

/* Whether a request that has ended with `code` is to be made again. */
static inline bool client_outcome_may_repeat(const struct client_remote *remote, int code)
{
    return remote->may_repeat && (code == SQLITE_IOERR_SQLD_LOST || code == SQLITE_IOERR_SQLD_COMMITTED);
}
/* What the two together have come to; `again`, if it is an error, has been recorded. */
int client_outcome_of_both(struct client_remote *remote, int first, int again);

#endif
