/* client/databases.h: what a connection has open besides its statements, and must have again after a reconnection: attached
 * databases, settings made by PRAGMA, limits. */
#ifndef SQ_CLIENT_DATABASES_H
#define SQ_CLIENT_DATABASES_H

#include "client/remote.h"

struct client_statement;

/* A database that this connection has attached. */
struct client_attached {
    struct sq_list links; /* in remote->attached */
    char *schema;         /* the name after AS */
    char *database;       /* of the server */
    uint8_t flags;        /* enum native_attach_flag, for another time */
    sqlite3_filename filename;
};

/* Remembers an attached database. False: no memory. */
bool client_databases_attach(struct client_remote *remote, const char *schema, const char *database,
                             const char *filename, uint8_t flags);
/* Whether the connection has a database of that name. */
/* What the server calls a schema: `schema`, or "main". */
const char *client_databases_schema(const struct client_remote *remote, const char *schema);
bool client_databases_has(struct client_remote *remote, const char *schema);
/* Whether it is PRAGMA database_list. */
bool client_databases_is_list(const struct client_statement *statement);
/* Writes its rows anew, with the files that names stand for here in place of what the server calls its databases. False:
 * they make no sense, or no memory. */
bool client_databases_name_files(const struct client_remote *remote, uint32_t rows, struct pgwire_bytes bytes,
                                 struct sq_buf *out);
/* A statement has ended well: notes what it means for a reconnection. */
void client_databases_note(struct client_remote *remote, const struct client_statement *statement);
/* After a reconnection. An error is recorded. */
int client_databases_replay(struct client_remote *remote);
void client_databases_free(struct client_remote *remote);

#endif
