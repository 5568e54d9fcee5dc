/* client/real.h: loading the real SQLite library. */
#ifndef SQ_CLIENT_REAL_H
#define SQ_CLIENT_REAL_H

#include "base/status.h"
#include "client/api.h"

/* Loads the library at `path` and fills *api with its functions.
 * OK: *api is complete; the library stays loaded to the end of the process.
 * SQ_INVALID: the path is not absolute, or names this library or another copy of it. SQ_NOT_FOUND: it cannot be loaded
 * or lacks a function. Others: rebind.h. *err says it all. */
SQ_MUST_USE sq_status client_real_load(const char *path, struct sq_error *err, struct client_api *api);

/* The path that is loaded at start-up: SQLD_REAL_SQLITE, else the one that was found when this was built. */
const char *client_real_path(void);

#endif
