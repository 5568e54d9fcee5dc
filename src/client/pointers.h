/* client/pointers.h: pointers of the application that stand in the server's values as numbers: sqlite3_bind_pointer(),
 * sqlite3_result_pointer() (https://sqlite.org/bindptr.html).
 *
 * The server sees NULL with a number; a function of the application that gets it back as an argument finds pointer and
 * type here. A number is never used twice. Threads: under the connection's mutex. */
#ifndef SQ_CLIENT_POINTERS_H
#define SQ_CLIENT_POINTERS_H

#include <stdint.h>

#include "client/remote.h"

struct client_pointer {
    struct sq_list links; /* in remote->pointers */
    uint64_t number;
    void *pointer;
    const char *type;        /* the application's static text */
    void (*destroy)(void *); /* may be NULL */
};

/* Takes `pointer` over; `destroy` is called by client_pointer_free(), and here if there is no memory. NULL: no memory. */
struct client_pointer *client_pointer_new(struct client_remote *remote, void *pointer, const char *type,
                                          void (*destroy)(void *));
/* Takes it out of the connection's list and destroys it. NULL is allowed. */
void client_pointer_free(struct client_pointer *pointer);
/* NULL: there is none of that number (any more). */
struct client_pointer *client_pointer_find(struct client_remote *remote, uint64_t number);

#endif
