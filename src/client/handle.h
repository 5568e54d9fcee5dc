/* client/handle.h: objects of our own behind SQLite's opaque pointers, and how they are told from the real library's.
 *
 * An application hands us a sqlite3 *, sqlite3_stmt * and so on that either the real library has made or we have. Memory of the real library's must not be looked into. So the pointers that we give out all point into one
 * array of our own: a pointer is ours exactly if its address lies in it. That is a subtraction and a comparison with a
 * constant; the array is untouched zero pages until it is used.
 *
 * A handle is a cell of that array: what it is, and where the object is. Cells of closed objects are used again as late
 * as possible, and are CLIENT_HANDLE_FREE until then, so that most uses of a closed handle are recognized.
 *
 * Values (sqlite3_value *) are always the real library's.
 *
 * Threads: all functions, any thread; client_handle_object() takes no lock. The object behind a handle is its maker's to
 * lock, and to keep while others may use it. */
#ifndef SQ_CLIENT_HANDLE_H
#define SQ_CLIENT_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum client_handle_kind {
    CLIENT_HANDLE_FREE = 0,
    CLIENT_HANDLE_UNOPENED,   /* a connection that could not be opened: unopened.h */
    CLIENT_HANDLE_CONNECTION, /* sqlite3 *: struct client_remote */
    CLIENT_HANDLE_STATEMENT,  /* sqlite3_stmt *: struct client_statement */
    CLIENT_HANDLE_CONTEXT,    /* sqlite3_context * */
    CLIENT_HANDLE_BLOB,       /* sqlite3_blob * */
    CLIENT_HANDLE_BACKUP,     /* sqlite3_backup * */
};

enum { CLIENT_HANDLES_MAX = 1 << 18 }; /* of all kinds in one process */

/* Of a size that makes the alignment of a pointer easy to check. */
struct client_handle {
    _Alignas(32) void *object; /* valid as long as `kind` is not FREE */
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
static inline void *client_handle_object(const void *pointer, enum client_handle_kind kind)
{
    sq_assert(client_handle_is_ours(pointer));
    _Static_assert(sizeof(struct client_handle) == 32, "a cell is as long as it is aligned: struct client_handle");
    if (SQ_UNLIKELY((uintptr_t)pointer % sizeof(struct client_handle) != 0))
        return NULL;
    const struct client_handle *handle = pointer;
    /* Acquire, with client_handle_new()'s release: who sees the kind sees the object. */
    return __atomic_load_n(&handle->kind, __ATOMIC_ACQUIRE) == kind ? __atomic_load_n(&handle->object, __ATOMIC_RELAXED)
                                                                    : NULL;
}

#endif
