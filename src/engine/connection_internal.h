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

/* What a statement does besides its result; bits, raised by the authorizer while it is compiled. */
enum engine_effect {
    ENGINE_EFFECT_SCHEMA = 1,     /* changes the schema of a database that others see */
    ENGINE_EFFECT_CONNECTION = 2, /* leaves something in the connection: temporary tables, pragmas, attachments */
    ENGINE_EFFECT_ROWS = 4,       /* inserts, updates or deletes, perhaps in the schema's own tables */
    ENGINE_EFFECT_HIDDEN = 8,     /* may write where SQLite says that it only reads */
    ENGINE_EFFECT_FILES = 1024,   /* shows the files of databases: PRAGMA database_list */
    /* of native connections only: */
    ENGINE_EFFECT_OWN = 16,         /* writes what nobody else sees */
    ENGINE_EFFECT_SHARED = 32,      /* may write what others see */
    ENGINE_EFFECT_ATTACH = 64,      /* attaches what only a request may attach */
    ENGINE_EFFECT_DETACH = 128,     /* detaches */
    ENGINE_EFFECT_VOLATILE = 256,   /* asks what the last statement did */
    ENGINE_EFFECT_ROLLBACK = 512,   /* ROLLBACK, ROLLBACK TO */
    ENGINE_EFFECT_PARAMETERS = 2048 /* creates temp.sqlite_parameters: not the authorizer's */
};

/* Statements of transaction control, kept compiled. */
enum engine_control {
    ENGINE_CONTROL_BEGIN,
    ENGINE_CONTROL_COMMIT,
    ENGINE_CONTROL_ROLLBACK,
    ENGINE_CONTROL_LOOK, /* reads the schema's number */
    ENGINE_CONTROL_COUNT
};

/* What connection_state.c knows of a connection. */
struct engine_connection_state {
    struct engine_database *database; /* whoever opened the connection keeps the reference */
    unsigned effects;                 /* enum engine_effect, of the statement that is being compiled */
    bool is_stateful;                 /* the session has left something that only closing takes away */
    bool is_damaged;                  /* a step has failed in a way that may outlast its statement */
    bool has_pending_schema;          /* the open transaction has changed the schema */
    bool has_pending_names;           /* it has changed that or something of the connection's: its end may undo it */
    bool has_changed_rows;            /* an INSERT, UPDATE or DELETE has run here: changes() is SQLite's own */
    uint64_t seen_generation;         /* of the databases, when SQLite was last made to look at their schemas */
    uint64_t generation;              /* this connection's part of engine_connection_generation() */
    struct engine_carried carried;    /* from the connection that the session had before, or before an inference */
    int64_t noted_total_changes;      /* SQLite's own total when `carried.changes` was noted */
    sqlite3_stmt *controls[ENGINE_CONTROL_COUNT]; /* NULL until used */
};

struct engine_connection {
    sqlite3 *db;
    struct engine_connection_state state;
    bool has_foreign_keys; /* at open */
    bool is_native;        /* SQLite's own interface, see connection.h */
    struct engine_native_settings native;
    void *function_context;
    struct engine_durability *durability; /* of its database */
    struct engine_stop *stop;
    bool is_attach_allowed; /* true only inside attach(): what it runs is the server's */
    bool is_schema_open;    /* true only while temp.sqlite_parameters is made: statement.c */
    int former_switches[2]; /* the settings that were changed for that */
    bool is_inferring;      /* true only while a program is read through EXPLAIN, which runs nothing */
    struct engine_attached attached[ENGINE_ATTACHED_MAX];
    size_t attached_count;
    struct infer_cache *infer_cache; /* made on first use */
    const struct engine_function *functions;
    size_t function_count;
    int64_t yield_us; /* monotonic; when the step that runs gives the processor away; 0: it has just begun */
    bool is_stepping; /* a statement runs: waiting for locks is not ours */
    int client_error; /* the code with which a function of the client's has failed within this step; 0: none */
    bool has_function_error;
    struct sq_error function_error; /* of the SQL function that failed the running statement */
    size_t statement_count;         /* open statements, asserted 0 at the end */
    size_t started_count;           /* those that have been stepped and not reset */
};

/* A statement has failed with this extended result code: if it was a sync that failed, the database is out of service. */
void engine_connection_note_failure(struct engine_connection *connection, int result);

/* Runs `sql` if it is one of the statements of transaction control, which stay compiled: *ret_result is SQLite's. */
bool engine_connection_exec_control(struct engine_connection *connection, const char *sql, int *ret_result);
/* Before a statement is compiled: SQLite compiles with the schema that it knows, and notices only when a statement runs that
 * it is an old one. Makes it look if this server has changed the schema since. */
void engine_connection_look(struct engine_connection *connection);
/* Before the connection is closed. */
void engine_connection_state_done(struct engine_connection *connection);
/* The SQL functions changes() and total_changes(). */
SQ_MUST_USE sq_status engine_connection_add_counters(struct engine_connection *connection, struct sq_error *err);
/* Something that is no statement of the session has run; changes() is to say `changes` as before. */
void engine_connection_keep_changes(struct engine_connection *connection, int64_t changes);

/* A statement with these effects has been compiled, or has run. */
void engine_connection_note_effects(struct engine_connection *connection, unsigned effects);
/* After each statement that has run; also sees the ends of transactions that have changed what names mean. */
static inline void engine_connection_after(struct engine_connection *connection, unsigned effects)
{
    if (SQ_UNLIKELY(effects != 0 || connection->state.has_pending_names))
        engine_connection_note_effects(connection, effects);
}
/* A statement has failed with this result code. */
void engine_connection_note_damage(struct engine_connection *connection, int result);

/* Whether every connection of this library has a module of that name. Also true if that could not be found out. */
bool engine_is_builtin_module(const char *name);

/* sqlite.org/c3ref/set_authorizer.html; the policy is in authorizer.c. */
int engine_authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger_or_view);

#endif
