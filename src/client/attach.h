/* client/attach.h: files that a connection opens besides its own: ATTACH and VACUUM INTO. Remote connections:
 * attach_remote.c. Local ones:
 *
 * Their names are evaluated inside the real library, so sqlite3_open_v2() does not see them. With SQLD_URL set they mean
 * databases of the server by the same rules (naming.h), and must not become local files behind the user's back. The
 * guard sits where the real library opens files, in xOpen of its VFS "unix" (https://sqlite.org/c3ref/vfs.html): it
 * refuses main database files whose names mean remote databases with SQLITE_CANTOPEN, and logs why. It is there only if
 * SQLD_URL has been set when some database was opened. */
#ifndef SQ_CLIENT_ATTACH_H
#define SQ_CLIENT_ATTACH_H

#include <stdbool.h>

struct client_statement;

/* Runs an ATTACH of a remote connection. SQLITE_OK, or an error, which is recorded. */
int client_attach_step(struct client_statement *statement);

/* Installs the guard, once in a process. Any thread. */
void client_attach_guard(void);

/* Around sqlite3_open*() of the real library: its file has been decided about already. begin() returns what end() of the
 * same thread takes. */
bool client_attach_open_begin(void);
void client_attach_open_end(bool begun);

#endif
