/* client/handle.c: the array of our own handles. See handle.h.
 *
 * Cells that were never used are taken from the front; used ones wait in a queue, oldest first. A fresh cell is preferred
 * while the array is less than an eighth used, then the oldest of the queue: stale handles are recognized for long, and
 * a process that opens and closes all the time touches a bounded part of the array. */
#include "client/handle.h"

#include <pthread.h>

enum { FRESH_FIRST_MAX = CLIENT_HANDLES_MAX / 8 };

struct client_handle client_handles[CLIENT_HANDLES_MAX];

/* Guarded by `lock`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t fresh_index; /* cells before it have been used */
static struct client_handle *free_first, *free_last;

static struct client_handle *take_locked(void)
{
    if (fresh_index < FRESH_FIRST_MAX || (free_first == NULL && fresh_index < CLIENT_HANDLES_MAX))
        return &client_handles[fresh_index++];
    struct client_handle *handle = free_first;
    if (handle == NULL)
        return NULL;
    free_first = handle->next_free;
    if (free_first == NULL)
        free_last = NULL;
    return handle;
}

sq_status client_handle_new(enum client_handle_kind kind, void *object, struct client_handle **ret_handle)
{
    sq_assert(kind != CLIENT_HANDLE_FREE && object != NULL);
    pthread_mutex_lock(&lock);
    struct client_handle *handle = take_locked();
    if (handle != NULL) {
        __atomic_store_n(&handle->object, object, __ATOMIC_RELAXED);
        handle->next_free = NULL;
        __atomic_store_n(&handle->kind, kind, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    if (handle == NULL)
        return SQ_LIMIT;
    *ret_handle = handle;
    return SQ_OK;
}

void client_handle_free(struct client_handle *handle)
{
    sq_assert(client_handle_is_ours(handle));
    pthread_mutex_lock(&lock);
    sq_assert(handle->kind != CLIENT_HANDLE_FREE);
    __atomic_store_n(&handle->kind, CLIENT_HANDLE_FREE, __ATOMIC_RELEASE);
    __atomic_store_n(&handle->object, NULL, __ATOMIC_RELAXED);
    if (free_last == NULL)
        free_first = handle;
    else
        free_last->next_free = handle;
    free_last = handle;
    pthread_mutex_unlock(&lock);
}
