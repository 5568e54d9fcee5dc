/* engine/connection.h: one SQLite connection of one session, with sqld's safety settings.
 *
 * Lifetime: the session owns it and gives it up before the database reference. Threads: one at a time; only
 * `struct engine_stop` may be touched by others. */
#ifndef SQ_ENGINE_CONNECTION_H
#define SQ_ENGINE_CONNECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/value.h"

struct engine_connection;
struct engine_database;

/* Why a running statement is to stop. */
enum engine_stop_reason {
    ENGINE_STOP_NONE = 0,
    ENGINE_STOP_CANCEL,   /* a user asked */
    ENGINE_STOP_TIMEOUT,  /* its deadline has passed */
    ENGINE_STOP_SHUTDOWN, /* the server stops, or the client has gone */
};

/* The brake of a session. SQLite looks at it every few thousand instructions of its virtual machine. */
struct engine_stop {
    /* enum engine_stop_reason. Set by any thread, cleared by the session's own before each statement. Relaxed order is
     * enough: the flag carries no other data, and being seen a moment later is being seen. */
    atomic_int reason;
    int64_t deadline_us; /* monotonic; 0: none. Only the session's thread. */
};

/* The reason to stop now, looking at the clock too. */
enum engine_stop_reason engine_stop_check(struct engine_stop *stop);
/* The error that tells the user about `reason`: 57014 or 57P01. */
SQ_MUST_USE sq_status engine_stop_fail(struct sq_error *err, enum engine_stop_reason reason);

/* An SQL function that the session gives: `args` are borrowed for the call; *ret_value may borrow from `context` or
 * constants, its bytes are copied at once. */
struct engine_function {
    const char *name;
    int arg_count;              /* -1: any number */
    enum sq_type type;          /* of its result, for descriptions; SQ_TYPE_ANY: by value */
    enum sq_type argument_type; /* of its arguments; SQ_TYPE_ANY: not known, or several */
    sq_status (*call_cb)(void *context, const struct sq_value *args, size_t arg_count, struct sq_value *ret_value,
                         struct sq_error *err);
};

struct engine_connection_options {
    bool has_foreign_keys;    /* PRAGMA foreign_keys at open */
    bool is_native;           /* what follows below: no functions, limits and defaults but SQLite's own */
    bool is_readonly;         /* SQLITE_OPEN_READONLY; native ones only */
    struct engine_stop *stop; /* outlives the connection */
    const struct engine_function *functions;
    size_t function_count;
    void *function_context;
};

/* Opens `database` (whose reference must outlive the connection) in WAL mode, synchronous=NORMAL (what it commits is
 * durable when durability.h says so), defensive, with the authorizer installed. */
SQ_MUST_USE sq_status engine_connection_open(struct engine_database *database,
                                             const struct engine_connection_options *options, struct sq_error *err,
                                             struct engine_connection **ret_connection);
/* Rolls back what is open. All statements must have been freed. NULL is allowed. */
void engine_connection_free(struct engine_connection *connection);

/* --- Native connections: SQLite's own interface, for a session in native mode ---
 *
 * SQL means there what it means in SQLite. What such a connection has of its own: */
struct engine_native_settings {
    int synchronous;         /* PRAGMA synchronous: 0: answers need not wait for the disk */
    int busy_timeout_ms;     /* how long a lock is waited for */
    int wal_autocheckpoint;  /* what PRAGMA wal_autocheckpoint says; checkpoints are the server's */
    bool has_changed_schema; /* in the open transaction */
    bool has_tripped;        /* set when a rollback has undone that; whoever tells of it sets it back */
    bool has_refused_file;   /* set when VACUUM INTO has been refused; whoever tells of it sets it back */
    /* The client's authorizer (sqlite.org/c3ref/set_authorizer.html) and progress handler: asked before ours. NULL: none */
    int (*authorize_cb)(void *context, int action, const char *first, const char *second, const char *schema,
                        const char *trigger_or_view);
    void *authorize_context;
    bool (*has_module_cb)(void *context, const char *name); /* modules that live in the client; NULL: none do */
    void *module_context;
    unsigned holder_number; /* engine_native_hold_schema() */
    int (*progress_cb)(void *context);
    void *progress_context;
    int progress_ops;  /* virtual-machine instructions between its calls; engine_native_set_progress() */
    int progress_left; /* of them, until the next call */
};
/* To be read and written by the session's thread; NULL unless it is native. */
struct engine_native_settings *engine_connection_native(struct engine_connection *connection);
/* Sets the client's progress handler; NULL or ops <= 0: none. */
void engine_native_set_progress(struct engine_connection *connection, int ops, int (*progress_cb)(void *context),
                                void *context);
/* SQLite's handle, for who is native too. */
struct sqlite3 *engine_connection_handle(struct engine_connection *connection);
/* The database of this server that goes by that schema's name; NULL: none, it is temporary or in memory. */
const char *engine_connection_database_name(const struct engine_connection *connection, const char *schema);
/* The alias of an attached database that SQL has detached, or NULL; and forgetting it. */
const char *engine_connection_find_detached(const struct engine_connection *connection);
void engine_connection_forget_attached(struct engine_connection *connection, const char *alias);
/* SQLITE_BUSY, as SQLite says it. */
SQ_MUST_USE sq_status engine_connection_fail_busy(struct sq_error *err);

enum engine_txn { ENGINE_TXN_NONE, ENGINE_TXN_READ, ENGINE_TXN_WRITE };
/* The strongest lock that the connection holds on any of its databases. */
enum engine_txn engine_connection_txn(const struct engine_connection *connection);
/* Whether it reads a snapshot of its database, apart from temporary and attached ones, whose snapshots are of other times. */
bool engine_connection_has_snapshot(const struct engine_connection *connection);
/* Statements that have begun and have not been reset. */
size_t engine_connection_started_count(const struct engine_connection *connection);
/* Whether a transaction is open (BEGIN or SAVEPOINT), even one that has locked nothing yet. */
bool engine_connection_is_in_transaction(const struct engine_connection *connection);

/* A number that grows whenever names, columns or types may mean something else than before: the schema was changed by this
 * connection, by another one of this server, or by somebody else and SQLite has noticed; a temporary table, a pragma or an
 * attached database came or went. What was learnt about a statement holds while it stays the same. A change that another
 * process has made shows when a statement is run: engine_statement_has_changed(). */
uint64_t engine_connection_generation(const struct engine_connection *connection);

/* --- Handing a connection on (connection_state.c) ---
 *
 * A session that has left nothing in its connection may give it up, and take another one later. What SQL can still ask
 * about is carried over. */

/* last_insert_rowid(), changes(), total_changes(). */
struct engine_carried {
    int64_t last_insert_rowid;
    int64_t changes;
    int64_t total_changes;
};
/* Whether nothing would be lost with the connection but what engine_connection_carry() gives: no transaction, temporary
 * table, attached database or pragma. Statements may still be compiled, if none is in the middle. */
bool engine_connection_is_stateless(const struct engine_connection *connection);
/* Whether nobody could tell it from a new one: stateless, all statements freed, nothing to be carried. */
bool engine_connection_is_as_new(const struct engine_connection *connection);
/* Makes it so by forgetting what engine_connection_carry() gives. False: it cannot be, close it. */
bool engine_connection_renew(struct engine_connection *connection);
struct engine_carried engine_connection_carry(const struct engine_connection *connection);
/* Makes a connection that is as new answer with what another one has left. */
void engine_connection_take_over(struct engine_connection *connection, const struct engine_carried *carried);
/* Whether a connection that is as new can serve `database` under these options. */
bool engine_connection_fits(const struct engine_connection *connection, const struct engine_database *database,
                            const struct engine_connection_options *options);
/* Gives it to another session: its brake and the context of its functions. The options must fit. */
void engine_connection_adopt(struct engine_connection *connection, const struct engine_connection_options *options);

/* Rows changed by the last INSERT, UPDATE or DELETE that completed. */
int64_t engine_connection_changes(const struct engine_connection *connection);

/* Runs statements without rows or parameters: BEGIN, COMMIT, SAVEPOINT x. Does not wait for locks. */
SQ_MUST_USE sq_status engine_connection_exec(struct engine_connection *connection, const char *sql,
                                             struct sq_error *err);

/* ATTACHes a database of this server under `alias`; its reference passes to the connection, also on failure. */
SQ_MUST_USE sq_status engine_connection_attach(struct engine_connection *connection, struct engine_database *database,
                                               const char *alias, bool is_readonly, struct sq_error *err);
SQ_MUST_USE sq_status engine_connection_detach(struct engine_connection *connection, const char *alias,
                                               struct sq_error *err);
/* After a statement: syncs what may have been seen of attached databases, and keeps their logs short. Waits for the
 * disk; does nothing for a connection without attached databases. */
SQ_MUST_USE sq_status engine_connection_settle_attached(struct engine_connection *connection, struct sq_error *err);

/* The first half of that: also in the middle of a statement. */
SQ_MUST_USE sq_status engine_connection_sync_attached(struct engine_connection *connection, struct sq_error *err);

#endif
