/* client/ahead.h: reading ahead: the server works on the next batches of rows while the application reads the present one.
 *
 *     a batch is taken, more may come ──► STEPs are sent, nobody waits ──┬─► the batch is used up: the answer is waited for
 *                                         (remote->ahead, ahead_count)   ├─► another request: the answers are kept first
 *                                                                        └─► reset: they are thrown away; if they are not
 *                                                                            there soon, the server is told to stop
 *
 * One statement of a connection reads ahead at a time, CLIENT_AHEAD_MAX batches, and not before it has shown that it is read
 * on and on: from its second batch. So what a connection holds is bounded. Two, so that the server has the next request when
 * it ends one: between two processors a wake-up may take as long as a batch.
 *
 * The application notices nothing: rows and errors come in their order, and to compute rows before they are asked for is what
 * a batch does anyway. But a batch that takes long makes other requests wait, for SQLite cannot put a statement aside before
 * it has a row. So only what follows a quick batch is fetched ahead, and nothing once the application has used the connection
 * for something else since the statement began. Nothing is fetched ahead of statements that write, or that call the
 * application's functions.
 *
 * Which batch is the last is not known when the next ones are asked for: NATIVE_STEP_ON does not begin anew. Answers behind
 * the last one belong to nobody (ahead NULL, ahead_count above 0).
 *
 * All under the connection's mutex. */
#ifndef SQ_CLIENT_AHEAD_H
#define SQ_CLIENT_AHEAD_H

#include "client/statement.h"

/* A batch has been taken after waiting for it for so long: asks for the next ones, if that is worth it. */
void client_ahead_begin(struct client_statement *statement, int64_t waited_us);
/* How many batches of the statement have been asked for and not been taken. */
static inline unsigned client_ahead_count(const struct client_statement *statement)
{
    const struct client_remote *remote = statement->remote;
    return statement->kept_count + (remote->ahead == statement ? remote->ahead_count : 0);
}
/* Whether other requests have been made since the statement's last batch came. */
static inline bool client_ahead_is_interleaved(const struct client_statement *statement)
{
    return statement->request_count != statement->remote->request_count;
}
/* Takes the first of them; waits for it if need be. As client_request_end(). */
int client_ahead_end(struct client_statement *statement, struct native_answer *ret_answer,
                     struct pgwire_cursor *ret_body);
/* Another request is about to be made: keeps the answers for client_ahead_end(). False: the connection was lost and
 * something with it, which is recorded. */
bool client_ahead_make_way(struct client_remote *remote);
/* The statement is given up: nothing of it is under way any more. SQLITE_OK: *ret_is_open says whether the server may still
 * have it open; an error: the connection was lost and something with it, which is recorded. */
int client_ahead_stop(struct client_statement *statement, bool *ret_is_open);
/* What was kept does not count any more. */
void client_ahead_forget(struct client_statement *statement);

#endif
