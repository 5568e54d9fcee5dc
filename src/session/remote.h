/* session/remote.h: what a session on a replica does at the primary.
 *
 * Reads are done here. A statement that writes, and every statement of a transaction that is not READ ONLY, goes to the
 * primary over one connection of the session's own, opened with the first such statement (docs/protocol.md, "Delegated
 * sessions"). What the primary says goes to the client as it came.
 *
 *     HERE ──a statement that writes, BEGIN──► ENGAGED ──ReadyForQuery outside a transaction──► HERE
 *
 * Engaged is a session from a message that goes to the primary up to the ReadyForQuery after which no transaction is open
 * there; and for good once it has state there that reads would miss (enum remote_state). While it is engaged everything goes
 * there, but for what is only about names that the client has given here (DEALLOCATE, DISCARD, a cursor of this server).
 *
 * Settings are the same on both sides: what is SET here is told to the primary before the next statement goes there, and
 * what is changed there is reported back. Prepared statements are known by their texts: the primary gets each when it is first
 * used there.
 *
 *   remote.c            the connection: made, given up, settings; what is sent in one command
 *   remote_route.c      where a statement belongs
 *   remote_extended.c   the messages of the extended protocol
 *   remote_query.c      Query; a transaction that moves to the primary
 *   remote_relay.c      what the primary says
 *   remote_lost.c       a connection that broke: what became of the command
 *   remote_native.c     native sessions, which are relayed as a whole
 *
 * Threads: the session's. */
#ifndef SQ_SESSION_REMOTE_H
#define SQ_SESSION_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "pgwire/frame.h"
#include "repl/node.h"
#include "session/session.h"

struct prepared;
struct remote;

/* Nothing of the session is left at the primary. NULL is allowed. */
void remote_free(struct remote *remote);
/* An idle session gives its connection back, if nothing would be lost by that. */
void remote_rest(struct remote *remote);

/* Whether messages and statements have to be asked about: this server is a replica, or something of the session is at the
 * primary. */
bool remote_is_concerned(const struct session *session);

enum remote_way {
    REMOTE_HERE,  /* it is done here */
    REMOTE_TAKEN, /* it has been dealt with */
    REMOTE_LATER, /* nothing has been done yet; *ret_want says what it waits for */
};
/* The next message, which is still at the front of the input. */
enum remote_way remote_message(struct session *session, const struct pgwire_frame *frame, enum session_want *ret_want);
/* The next statement of a Query, or the next ones. */
enum remote_way remote_query(struct session *session, enum session_want *ret_want);

/* Whether the primary owes the client an answer. */
bool remote_is_busy(const struct session *session);
/* Whether messages of the client are looked at although it does. */
bool remote_takes_input(const struct session *session);
/* Goes on with that. SESSION_NEED_INPUT: nothing keeps the session from its next step. */
enum session_want remote_continue(struct session *session);
/* Hears what has come while nothing is asked; whether anything has. */
bool remote_listen(struct session *session);
/* The client is copying in, at the primary. */
bool remote_is_copying(const struct session *session);

/* A transaction that was open here has ended. */
void remote_note_end(struct session *session);
/* A command has failed here; what was sent to the primary in the same pipeline has to fail with it. */
void remote_note_failure(struct session *session);
/* A statement that the client has prepared is no more (NULL: all of them). */
void remote_forget(struct session *session, const char *name, const struct prepared *prepared);
/* Nothing of the session is left at the primary: DISCARD. */
void remote_discard(struct session *session);

/* --- For consistency.c --- */

/* Whether the position that covers what has been done at the primary is known (session->consistency.seen). LATER: it is on its
 * way. NEVER: the connection broke before it was told. */
enum repl_known remote_position(struct session *session);
/* Asks the primary where it is. SQ_BUSY: not answered yet; *is_asked is the caller's memory of that. */
SQ_MUST_USE sq_status remote_ask_position(struct session *session, bool *is_asked, struct wal_position *ret_position,
                                          struct sq_error *err);

/* --- Native sessions --- */

/* Whether the session belongs at the primary as a whole. */
bool remote_native_is_wanted(const struct session *session);
/* Opens it there, with the client's own start-up packet, and answers. */
SQ_MUST_USE sq_status remote_native_start(struct session *session, struct sq_error *err);
/* The server stops while the primary works for the client: its connection breaks. False: there is no such thing. */
bool remote_native_end(struct session *session);
/* In SESSION_STATE_RELAYED. */
enum session_want remote_native_continue(struct session *session);

#endif
