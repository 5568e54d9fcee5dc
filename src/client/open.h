/* client/open.h: opening a name that means a remote database. */
#ifndef SQ_CLIENT_OPEN_H
#define SQ_CLIENT_OPEN_H

#include "client/naming.h"
#include "client/remote.h"

/* Opens `name`, which is remote, making file and database where sqlite3_open_v2()'s `flags` allow that. OK: *ret_remote,
 * with a handle. SQ_NOT_FOUND: there is no file, and none may or can be made. Else *err says it. */
SQ_MUST_USE sq_status client_open_name(const struct client_naming *naming, const struct client_name *name, int flags,
                                       struct sq_error *err, struct client_remote **ret_remote);

#endif
