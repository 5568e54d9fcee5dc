/* client/import_state.h: how far an import has come (import.h): the file NAME.sqld-import and its lock; and the number by
 * which a content is known again. */
#ifndef SQ_CLIENT_IMPORT_STATE_H
#define SQ_CLIENT_IMPORT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/status.h"

#define CLIENT_IMPORT_SUFFIX ".sqld-import"

enum { CLIENT_IMPORT_CONTENT_BYTES = 33 }; /* 128 bits in hexadecimal, and a NUL */

/* FNV-1a: two contents that differ by accident have different numbers; nobody is kept from making two that have the same. */
struct client_import_hash {
    uint64_t high, low;
};
struct client_import_hash client_import_hash_begin(void);
void client_import_hash_add(struct client_import_hash *hash, const uint8_t *bytes, size_t length);
void client_import_hash_end(const struct client_import_hash *hash, char to[CLIENT_IMPORT_CONTENT_BYTES]);

struct client_import_state {
    int fd; /* of the file and its lock; -1: none */
    char *path;
    dev_t device;
    ino_t inode;
    char *database;                            /* NULL: none yet */
    char content[CLIENT_IMPORT_CONTENT_BYTES]; /* "": none yet */
};

/* Waits for the lock of the file's import, and reads what an earlier try has left. `path`: of the file, no symbolic link.
 * OK: *ret_is_needed says whether there still is a file that may be a database. Give the state to client_import_state_done()
 * in any case. */
SQ_MUST_USE sq_status client_import_state_open(struct client_import_state *state, const char *path,
                                               struct sq_error *err, bool *ret_is_needed);
/* Whether `file` is the one that the state is about. */
bool client_import_state_is_about(const struct client_import_state *state, const struct stat *file);
/* Adds a line, which is on disk when they return. */
SQ_MUST_USE sq_status client_import_state_set_database(struct client_import_state *state, const char *database,
                                                       struct sq_error *err);
SQ_MUST_USE sq_status client_import_state_set_content(struct client_import_state *state,
                                                      const char content[CLIENT_IMPORT_CONTENT_BYTES],
                                                      struct sq_error *err);
/* The import is over: removes the file. */
void client_import_state_end(struct client_import_state *state);
/* Gives the lock back; a file that says nothing is removed. */
void client_import_state_done(struct client_import_state *state);

#endif
