/* client/interrupt.h: sqlite3_interrupt() across the wire.
 *
 * It may be called from any thread and from a signal handler, so it takes no lock: it raises `is_interrupted`, and if the
 * connection's thread is waiting for the server, it sends CancelRequest over a connection of its own. Rows that have been
 * fetched already stop because step looks at the flag; a thread that is about to wait looks at it, too
 * (client_interrupt_pass_on()). As with SQLite, the flag falls when a statement begins while none is running.
 *
 * A CancelRequest may reach the server late and stop the wrong statement. So after one was sent, the next request is
 * preceded by INTERRUPT_CLEAR (client_interrupt_settle()). */
#ifndef SQ_CLIENT_INTERRUPT_H
#define SQ_CLIENT_INTERRUPT_H

#include <stdbool.h>

#include "client/remote.h"

/* A statement begins, or has ended. */
void client_interrupt_statement_begins(struct client_remote *remote);
void client_interrupt_statement_ends(struct client_remote *remote);
bool client_interrupt_is_raised(const struct client_remote *remote);

/* Before a wait: an interrupt that came since the statement began is sent now. */
void client_interrupt_pass_on(struct client_remote *remote);
/* The server is to stop what it does, though the application has not asked for that: what it does is of no use any more. */
void client_interrupt_stop(struct client_remote *remote);
/* Before a request. False: the connection was lost. */
bool client_interrupt_settle(struct client_remote *remote);
/* Takes remote->client away from interrupts that are being sent, and returns it. */
struct pgclient *client_interrupt_take_client(struct client_remote *remote);

#endif
