/* client/image.h: whole databases, page by page: what backups, sqlite3_serialize() and sqlite3_deserialize() share.
 *
 * An image is a database file as the server gives and takes it, in pieces (docs/protocol.md, IMAGE_…). The images
 * that come say that they are in rollback mode, as the file of a database that stands alone does. Threads: under the
 * connection's mutex, but for client_temporary_open(). */
#ifndef SQ_CLIENT_IMAGE_H
#define SQ_CLIENT_IMAGE_H

#include "client/remote.h"

/* Takes the next bytes of an image. SQLITE_OK, or an SQLite error, with which the transfer ends. */
typedef int client_image_put(void *context, const uint8_t *bytes, size_t length, uint64_t offset);
/* Fills `to` with the `length` bytes at `offset`; the same results. */
typedef int client_image_get(void *context, uint8_t *to, size_t length, uint64_t offset);

/* Asks for an image of `schema` as it is now, says how many bytes it has to `size_cb` (may be NULL), which may end
 * it with an error or SQLITE_DONE, and gives it to `put_cb`. Errors are recorded, those of the callbacks without a
 * text. */
int client_image_fetch(struct client_remote *remote, const char *schema, int (*size_cb)(void *context, uint64_t bytes),
                       client_image_put *put_cb, void *context);
/* Puts an image of `bytes` bytes into the place of `schema`. */
int client_image_store(struct client_remote *remote, const char *schema, enum native_image_mode mode, unsigned flags,
                       uint64_t bytes, client_image_get *get_cb, void *context);

/* A file that nobody sees, and a local connection to it. */
struct client_temporary {
    int fd;
    char *path; /* until it is unlinked */
    sqlite3 *db;
};

/* Makes the file. SQLITE_OK or SQLITE_CANTOPEN, SQLITE_NOMEM; client_temporary_done() in any case. */
int client_temporary_make(struct client_temporary *temporary);
/* Opens it, and takes its name away. SQLITE_OK or the error of the real library. */
int client_temporary_open(struct client_temporary *temporary);
void client_temporary_done(struct client_temporary *temporary);
/* client_image_put and client_image_get for its file; `context` is the client_temporary. */
client_image_put client_temporary_put;
client_image_get client_temporary_get;

#endif
