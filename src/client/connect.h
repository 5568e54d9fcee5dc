/* client/connect.h: making a remote connection, and making it again after the server was lost. */
#ifndef SQ_CLIENT_CONNECT_H
#define SQ_CLIENT_CONNECT_H

#include "client/remote.h"

/* What to open. */
struct client_connect {
    const char *url;      /* of the server */
    const char *database; /* NULL: the URL's own */
    const char *filename; /* for sqlite3_db_filename(): absolute, or a URL; "" for memory */
    int flags;            /* sqlite3_open_v2()'s */
    const char *options;  /* of docs/protocol.md, "Asking for it": "create origin=…"; "" for none */
};

/* Connects. SQ_OK: *ret_remote, without a handle yet; free it with client_remote_free(). Else *err. */
SQ_MUST_USE sq_status client_remote_new(const struct client_connect *what, struct sq_error *err,
                                        struct client_remote **ret_remote);
/* Ends the connection and frees all, handle included. Nobody may be using it. NULL is allowed. */
void client_remote_free(struct client_remote *remote);

/* A new connection in place of a lost one: settings, functions, attached databases are made there again. SQLITE_OK, or an
 * error, which is recorded; then the next request tries again. */
int client_reconnect(struct client_remote *remote);
/* The two halves of that. Failures of the first are not recorded. */
SQ_MUST_USE sq_status client_connect_again(struct client_remote *remote, struct sq_error *err);
int client_make_again(struct client_remote *remote);
/* Drops the connection to the server. */
void client_disconnect(struct client_remote *remote);

#endif
