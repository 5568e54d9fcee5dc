/* engine/connection_internal.h: what statement.c and authorizer.c see of a connection. */
#ifndef SQ_ENGINE_CONNECTION_INTERNAL_H
#define SQ_ENGINE_CONNECTION_INTERNAL_H

#include <sqlite3.h>

#include "engine/connection.h"

struct infer_cache;

enum { ENGINE_ATTACHED_MAX = 10 };

struct engine_attached {
    struct engine_database *database;
    char *alias;
};

struct engine_connection {
    sqlite3 *db;
    struct engine_stop *stop;
    bool is_attach_allowed; /* true only inside engine_connection_attach() */
    bool is_inferring;      /* true only inside infer_statement_types(), which runs nothing */
    struct engine_attached attached[ENGINE_ATTACHED_MAX];
    size_t attached_count;
    struct infer_cache *infer_cache; /* made on first use */
    const struct engine_function *functions;
    size_t function_count;
    bool is_stepping; /* a statement runs: waiting for locks is not ours */
    bool has_function_error;
    struct sq_error function_error; /* of the SQL function that failed the running statement */
    size_t statement_count;         /* open statements, asserted 0 at the end */
};

/* sqlite.org/c3ref/set_authorizer.html; the policy is in authorizer.c. */
int engine_authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger_or_view);

#endif
