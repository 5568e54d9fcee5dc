/* client/convert.h: values of the real library, and its conversions, made with the shadow connection (remote.h,
 * invariant 2), so that they are exactly SQLite's. Threads: under the connection's mutex. */
#ifndef SQ_CLIENT_CONVERT_H
#define SQ_CLIENT_CONVERT_H

#include "client/remote.h"

/* A protected sqlite3_value with a copy of `value`; sqlite3_value_free() frees it. NULL: no memory. */
sqlite3_value *client_value_new(struct client_remote *remote, const struct sq_value *value);

/* `length` bytes of text in `encoding` (SQLITE_UTF16, SQLITE_UTF16LE, SQLITE_UTF16BE) as UTF-8, with a NUL behind it.
 * SQLITE_OK: *ret_text, which the caller frees with free(). SQLITE_TOOBIG, SQLITE_NOMEM. */
int client_text_to_utf8(struct client_remote *remote, const void *text, size_t length, unsigned char encoding,
                        char **ret_text, size_t *ret_length);

/* The longest text or blob: SQLITE_LIMIT_LENGTH. */
size_t client_length_max(const struct client_remote *remote);

#endif
