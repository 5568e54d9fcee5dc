/* client/stub.h: stub files: small texts that stand in the place of a database's file and say where the database is, so
 * that programs that look whether it exists, or delete it, go on working.
 *
 *     sqld-stub 1
 *     postgresql://app@db.example:5432       the server's URL, without a password
 *     database NAME                          missing while the database is being made
 *
 * Two processes may open a missing name at the same time, and one of them makes the database. The stub without its last
 * line comes first, appearing under its name as a whole; who wants to make the database locks it (flock(2)), looks whether
 * it is still there and still lacks the line, and adds that when the database has been made. A process that dies leaves a
 * stub that the next one finishes.
 *
 * The file is never a database's (naming.h, invariant): what has contents and is no stub is not opened. */
#ifndef SQ_CLIENT_STUB_H
#define SQ_CLIENT_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

struct client_stub {
    char *path;
    char *url;
    char *database; /* NULL: to be made; then the stub is locked */
    int fd;         /* of the lock, or -1 */
};

/* Reads the stub at `path`; with `url`, makes it if there is no file or an empty one. OK: *ret_stub is set; one without a
 * database must go to client_stub_finish(), and all to client_stub_done(). SQ_NOT_FOUND: there is no file, or it cannot be
 * made. SQ_INVALID: it is no stub that we understand. */
SQ_MUST_USE sq_status client_stub_open(const char *path, const char *url, struct sq_error *err,
                                       struct client_stub *ret_stub);
/* The database has been made: adds the last line and unlocks. */
SQ_MUST_USE sq_status client_stub_finish(struct client_stub *stub, const char *database, struct sq_error *err);
/* Puts a whole stub, which is on disk, in the place of the file at `path`, at once. `mode`: its permissions. */
SQ_MUST_USE sq_status client_stub_replace(const char *path, const char *url, const char *database, mode_t mode,
                                          struct sq_error *err);
/* Frees; a stub that is still to be finished is removed again. */
void client_stub_done(struct client_stub *stub);

/* `url` without its password, for writing down. NULL: no memory. The caller frees it. */
char *client_stub_url(const char *url);

enum { CLIENT_STUB_HASH_BYTES = 33, CLIENT_ORIGIN_BYTES = CLIENT_STUB_HASH_BYTES };
/* A number of 128 bits for some texts, in hexadecimal. Nobody must gain by a collision. */
void client_stub_hash(const char *const *texts, size_t count, char to[CLIENT_STUB_HASH_BYTES]);
/* The number that stands for a path on this machine (docs/protocol.md, `origin`), in hexadecimal. */
void client_stub_origin(const char *path, char to[CLIENT_ORIGIN_BYTES]);

#endif
