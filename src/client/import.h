/* client/import.h: a database file that is to be remote goes to the server (SQLD_IMPORT=1).
 *
 *     the file is locked for us alone; what its journal or log holds is in it then
 *     a copy is made, and checked                          PRAGMA integrity_check
 *     the server's database is made, or found empty, and claimed: others that import find it taken
 *     the copy goes there, comes back, and is compared     byte by byte
 *     the file gets a second name, NAME-imported           link(2)
 *     a stub takes the place of the first                  rename(2)
 *
 * At each moment there is under the file's name either the database as it was, or the stub of a database that holds all of it.
 * The file is never deleted, nor changed (but that SQLite carries its own journal or log into it).
 *
 * NAME.sqld-import, a small text file, says how far it has come; whoever imports holds its lock (flock(2)), so that others
 * wait and then find the stub. A process that dies leaves it to the next one:
 *
 *     sqld-import 1
 *     file DEVICE INODE       of which file it speaks
 *     database NAME           which the server has; missing: none was made
 *     content DIGITS          what the server's database holds if it is our copy: written before that is sent. The last counts
 *
 * A database of the server that has contents which are not our copy is never overwritten, unless they are written into the
 * claimed one while the copy is on its way to it. */
#ifndef SQ_CLIENT_IMPORT_H
#define SQ_CLIENT_IMPORT_H

#include "client/naming.h"

/* Imports the file that `name` means. SQ_OK: a stub is there now, ours or that of somebody who was faster. Else *err says why
 * not, and the file is as it was. SQ_INVALID: it is no database, or a damaged one. SQ_EXISTS: the server's database has
 * contents of its own. SQ_BUSY: somebody else has the file open. Others: the server, the disk. */
SQ_MUST_USE sq_status client_import(const struct client_naming *naming, const struct client_name *name,
                                    struct sq_error *err);
/* Whether one was begun that has left its NAME.sqld-import. */
bool client_import_was_begun(const struct client_name *name);

#endif
