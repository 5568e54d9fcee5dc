/* client/handle.h: objects of our own behind SQLite's opaque pointers, and how they are told from the real library's.
 *
 * An application hands us a sqlite3 * (later: a sqlite3_stmt *, sqlite3_value *, …) that either the real library has made
 * or we have. Memory of the real library's must not be looked into. So the pointers that we give out all point into one
 * array of our own: a pointer is ours exactly if its address lies in it. That is a subtraction and a comparison with a
 * constant; the array is untouched zero pages until it is used.
 *
 * A handle is a cell of that array: what it is, and where the object is. Cells of closed objects are used again as late
 * as possible, and are CLIENT_HANDLE_FREE until then, so that most uses of a closed handle are recognized.
 *
 * Threads: all functions, any thread. The object behind a handle is its maker's to lock. */
#ifndef SQ_CLIENT_HANDLE_H
#define SQ_CLIENT_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum client_handle_kind {
    CLIENT_HANDLE_FREE = 0,
    CLIENT_HANDLE_UNOPENED, /* a connection that could not be opened: unopened.h */
};

enum { CLIENT_HANDLES_MAX = 1 << 18 }; /* of all kinds in one process */

struct client_handle {
    void *object;
    struct client_handle *next_free;
    enum client_handle_kind kind;
};

/* Hidden: its address is a constant. */
__attribute__((visibility("hidden"))) extern struct client_handle client_handles[CLIENT_HANDLES_MAX];

static inline bool client_handle_is_ours(const void *pointer)
{
    return SQ_UNLIKELY((uintptr_t)pointer - (uintptr_t)client_handles < sizeof(client_handles));
}

/* Makes a handle for `object`. OK: *ret_handle points into client_handles; give it back with client_handle_free().
 * SQ_LIMIT: CLIENT_HANDLES_MAX are in use. */
SQ_MUST_USE sq_status client_handle_new(enum client_handle_kind kind, void *object, struct client_handle **ret_handle);
void client_handle_free(struct client_handle *handle);

/* The object behind `pointer`, which is one of ours; NULL if it is not (or no more) of that kind. */
void *client_handle_object(const void *pointer, enum client_handle_kind kind);

#endif
