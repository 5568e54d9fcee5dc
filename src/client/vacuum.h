/* client/vacuum.h: VACUUM INTO in a remote connection. Threads: under the connection's mutex. */
#ifndef SQ_CLIENT_VACUUM_H
#define SQ_CLIENT_VACUUM_H

#include <stdbool.h>

struct client_statement;

/* Whether a statement is one that the client does itself. */
bool client_vacuum_is_into(const struct client_statement *statement);
/* Runs it. SQLITE_OK, or an error, which is recorded. */
int client_vacuum_step(struct client_statement *statement);

#endif
