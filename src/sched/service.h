/* sched/service.h: what a query travels through.
 *
 * A *service* answers one connection's queries: a `struct query` in, rows into a `struct sink`, one completion. A
 * *service factory* makes the service of a new connection. A *layer* is a service around another one that does one thing
 * (a time limit, a metric, an authorization check) and passes the rest on. Front ends know nothing of what is below the
 * outermost service, services know nothing of wire formats: values are `struct sq_value`.
 *
 * A query does not own a thread. service_run() goes as far as it can without waiting and says why it stopped:
 *
 *              ┌────────────────────────── run again ─────────────────────────────┐
 *              ▼                                                                  │
 *     new ──► run ──► QUERY_WAITING    until the context's waker is called, or wake_at_us
 *              │ ───► QUERY_SINK_FULL  until the sink has room
 *              │ ───► QUERY_YIELDED    after others had their turn
 *              │ ───► QUERY_SUSPENDED  when the client asks for more rows (row_limit reached)
 *              ├────► QUERY_DONE       complete: what it wrote is committed, or part of the open transaction
 *              └────► QUERY_FAILED     *err says why; nothing of the statement remains
 *
 * Whoever stops running a query before DONE or FAILED calls service_finish().
 *
 * Work that is no statement (a blob is opened, a checkpoint made) is done on the engine's connection itself, between
 * service_begin() and service_end(), and if it writes after service_claim(). A statement that is being stepped may lead to
 * other queries on its connection (a function of the client's asks something): they are run to their end meanwhile.
 *
 * Threads: one connection's service, context and queries are used by one thread at a time. */
#ifndef SQ_SCHED_SERVICE_H
#define SQ_SCHED_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/value.h"
#include "base/waker.h"
#include "engine/connection.h"
#include "engine/durability.h"

struct engine_database;
struct engine_registry;
struct repl_node;
struct service;

/* What is common to all services of one connection. The front end owns it; the connection's settings are written here
 * before each query, so that no layer has to ask the front end for them. */
struct service_context {
    uint64_t connection_id;
    struct engine_registry *registry;
    struct engine_database *database; /* the reference is the front end's */
    struct repl_node *node;       /* says whether this server may write; NULL: it may. For layers above the scheduler */
    struct sq_waker *waker;       /* brings the connection back to run its query again */
    struct engine_stop stop;      /* the brake: cancel, time limit, shutdown */
    int64_t statement_timeout_us; /* 0: none */
    int64_t lock_timeout_us;      /* 0: none */
    int64_t slow_log_us;          /* statements that take as long are logged; -1: none */
    const char *role;             /* who is connected, or NULL; lives as long as the connection */
    size_t connection_max;        /* of all */
    size_t role_connection_max;   /* of `role`; 0: no limit */
    size_t database_connection_max; /* of `database`; 0: no limit */
    bool is_read_only;              /* the transaction must not write */
    bool is_lazy;                   /* synchronous_commit is off: answers do not wait for the disk */
    bool has_foreign_keys;
    bool is_native;          /* SQLite's own interface: engine/connection.h. The connection stays for good */
    bool is_opened_readonly; /* of native ones: nothing can ever be written */
    int64_t busy_timeout_us; /* of native ones, instead of lock_timeout_us; 0: a lock is not waited for */
    const struct engine_function *functions; /* SQL functions of the session */
    size_t function_count;
    void *function_context;

    int64_t wake_at_us; /* set with QUERY_WAITING: run again at this time at the latest; 0: no need */
    /* What the session has seen or committed up to now: no answer leaves before the database has this on disk (see
     * engine/durability.h). Services raise it; the front end sets it back to 0 when it is reached. */
    engine_position rests_on;
};

/* A statement that a service has prepared. Backends embed it at the start of their own. */
struct service_statement {
    struct engine_statement *engine; /* of a native session, which speaks SQLite itself; else NULL */
    bool is_readonly;                /* changes nothing; needs no write slot */
    bool is_explain;
    bool
        has_changed; /* the schema was not the one it was prepared for; its columns may be others, column_count is right */
    size_t column_count;
    size_t parameter_count;
};

struct service_column {
    const char *name;  /* valid until the statement is released or run */
    enum sq_type type; /* SQ_TYPE_ANY: an expression; see service_infer() */
};

/* One execution. The front end fills the first part; the rest belongs to the services. */
struct query {
    struct service_statement *statement;
    const struct sq_value *parameters; /* parameter_count of them, borrowed until the query has ended */
    uint64_t row_limit;                /* QUERY_SUSPENDED after so many rows from here on; 0: no limit */
    const char *verb;                  /* "SELECT", constant, or NULL: for errors and people */
    const char *text;                  /* the SQL, or NULL: for the log; lives as long as the query */
    bool may_change_columns;           /* nobody was told of the columns: others, after a schema change, are no error */

    enum query_stage { QUERY_NEW, QUERY_QUEUED, QUERY_RETRYING, QUERY_RUNNING, QUERY_ENDED } stage;
    uint64_t row_count;   /* rows given to the sink so far */
    int64_t changes;      /* rows changed, with QUERY_DONE */
    int64_t started_us;   /* first run; 0 before it */
    int64_t deadline_us;  /* of this run and its continuations; 0: none */
    int64_t waiting_us;   /* since when it waits for a lock; 0: it does not */
    uint32_t retry_count; /* how often it found somebody else's lock */
};

enum query_progress { QUERY_DONE, QUERY_FAILED, QUERY_SUSPENDED, QUERY_WAITING, QUERY_SINK_FULL, QUERY_YIELDED };

/* Where rows go. `row_cb` gets column_count values, valid during the call; a failure ends the query. It sets `is_full`
 * when no further row should come for now, and `has_enough` when none should come before the client asks again. */
struct sink {
    sq_status (*row_cb)(struct sink *sink, const struct sq_value *values, size_t column_count, struct sq_error *err);
    bool is_full;
    bool has_enough;
};

/* The function table of a service. See the calls below for what each one promises. */
struct service_ops {
    sq_status (*prepare)(struct service *service, const char *sql, size_t length, struct sq_error *err,
                         struct service_statement **ret_statement, size_t *ret_consumed);
    sq_status (*prepare_native)(struct service *service, const char *sql, size_t length, unsigned flags,
                                struct sq_error *err, struct service_statement **ret_statement, size_t *ret_consumed);
    void (*column)(struct service *service, struct service_statement *statement, size_t column_index,
                   struct service_column *ret_column);
    sq_status (*infer)(struct service *service, struct service_statement *statement, struct sq_error *err,
                       enum sq_type *ret_columns, enum sq_type *ret_parameters);
    void (*release)(struct service *service, struct service_statement *statement);
    enum query_progress (*run)(struct service *service, struct query *query, struct sink *sink, struct sq_error *err);
    sq_status (*finish)(struct service *service, struct query *query, struct sq_error *err);
    sq_status (*exec)(struct service *service, const char *sql, struct sq_error *err);
    bool (*is_in_transaction)(struct service *service);
    bool (*is_wanted)(struct service *service);
    sq_status (*attach)(struct service *service, const char *database, const char *alias, bool is_readonly,
                        struct sq_error *err);
    sq_status (*detach)(struct service *service, const char *alias, struct sq_error *err);
    void (*reset)(struct service *service);
    uint64_t (*generation)(struct service *service);
    size_t (*statement_bytes)(struct service *service, struct service_statement *statement);
    bool (*may_rest)(struct service *service);
    void (*rest)(struct service *service);
    sq_status (*begin)(struct service *service, struct query *query, struct sq_error *err,
                       struct engine_connection **ret_connection);
    enum query_progress (*claim)(struct service *service, struct query *query, struct sq_error *err);
    sq_status (*end)(struct service *service, struct query *query, struct sq_error *err);
    sq_status (*note)(struct service *service, struct sq_error *err);
    void (*free)(struct service *service);
};

struct service {
    const struct service_ops *ops;
    struct service *inner; /* of a layer; NULL for a backend */
    struct service_context *context;
};

/* Makes the service of one new connection. `context` outlives it. */
struct service_factory {
    sq_status (*make_cb)(struct service_factory *factory, struct service_context *context, struct sq_error *err,
                         struct service **ret_service);
};

/* Prepares the first statement of `sql` (sql[length] is NUL). *ret_statement is NULL if there is none. */
SQ_MUST_USE static inline sq_status service_prepare(struct service *service, const char *sql, size_t length,
                                                    struct sq_error *err, struct service_statement **ret_statement,
                                                    size_t *ret_consumed)
{
    return service->ops->prepare(service, sql, length, err, ret_statement, ret_consumed);
}
/* The same in a native session, with the flags of sqlite3_prepare_v3(): engine_statement_prepare_native(). Its parameters
 * are bound by the session. A query of such a statement may be run again after its end: then SQLite has it begin anew. */
SQ_MUST_USE static inline sq_status service_prepare_native(struct service *service, const char *sql, size_t length,
                                                           unsigned flags, struct sq_error *err,
                                                           struct service_statement **ret_statement,
                                                           size_t *ret_consumed)
{
    return service->ops->prepare_native(service, sql, length, flags, err, ret_statement, ret_consumed);
}
static inline void service_column(struct service *service, struct service_statement *statement, size_t column_index,
                                  struct service_column *ret_column)
{
    service->ops->column(service, statement, column_index, ret_column);
}
/* Types of columns and parameters as far as they can be known without running the statement. */
SQ_MUST_USE static inline sq_status service_infer(struct service *service, struct service_statement *statement,
                                                  struct sq_error *err, enum sq_type *ret_columns,
                                                  enum sq_type *ret_parameters)
{
    return service->ops->infer(service, statement, err, ret_columns, ret_parameters);
}
/* No query may be using the statement. NULL is allowed. */
static inline void service_release(struct service *service, struct service_statement *statement)
{
    if (statement != NULL)
        service->ops->release(service, statement);
}
/* Runs a query on; see the drawing. */
static inline enum query_progress service_run(struct service *service, struct query *query, struct sink *sink,
                                              struct sq_error *err)
{
    return service->ops->run(service, query, sink, err);
}
/* Gives up a query that is not at its end: its reads stop, its writes stand as if all rows had been read (which may
 * fail). Does nothing for one that has ended or never began. */
SQ_MUST_USE static inline sq_status service_finish(struct service *service, struct query *query, struct sq_error *err)
{
    return service->ops->finish(service, query, err);
}
/* Transaction control without rows, parameters or waiting: ROLLBACK, COMMIT, SAVEPOINT. */
SQ_MUST_USE static inline sq_status service_exec(struct service *service, const char *sql, struct sq_error *err)
{
    return service->ops->exec(service, sql, err);
}
static inline bool service_is_in_transaction(struct service *service)
{
    return service->ops->is_in_transaction(service);
}
/* Whether the connection holds a lock that somebody waits for. If not, the context's waker is called when somebody comes;
 * it may be called for nothing. */
static inline bool service_is_wanted(struct service *service)
{
    return service->ops->is_wanted(service);
}
/* Makes another database of this server visible under `alias` (read only in native sessions only), and takes it away
 * again. */
SQ_MUST_USE static inline sq_status service_attach(struct service *service, const char *database, const char *alias,
                                                   bool is_readonly, struct sq_error *err)
{
    return service->ops->attach(service, database, alias, is_readonly, err);
}
SQ_MUST_USE static inline sq_status service_detach(struct service *service, const char *alias, struct sq_error *err)
{
    return service->ops->detach(service, alias, err);
}
/* Forgets everything the session has done to its connection: transaction, temporary tables, pragmas, attachments. All
 * statements must have been released. */
static inline void service_reset(struct service *service)
{
    service->ops->reset(service);
}
/* A number that grows whenever SQL may mean something else than before: what was learnt about a statement holds as long as
 * it stays the same. (When there are roles, a change of rights has to count too.) */
static inline uint64_t service_generation(struct service *service)
{
    return service->ops->generation(service);
}
/* Bytes of memory that keeping the statement costs, roughly. */
static inline size_t service_statement_bytes(struct service *service, struct service_statement *statement)
{
    return service->ops->statement_bytes(service, statement);
}
/* Whether nothing would be lost if the service gave back what it holds while nobody uses it. */
static inline bool service_may_rest(struct service *service)
{
    return service->ops->may_rest(service);
}
/* Gives it back; all statements must have been released. The next call takes it again. Only after service_may_rest(). */
static inline void service_rest(struct service *service)
{
    service->ops->rest(service);
}
/* Begins work on the engine's connection that is no statement: `query` is zeroed but for its verb, and stands for it. On
 * failure there is nothing to end. Until service_end() no lock is given back, whatever queries are run meanwhile. */
SQ_MUST_USE static inline sq_status service_begin(struct service *service, struct query *query, struct sq_error *err,
                                                  struct engine_connection **ret_connection)
{
    return service->ops->begin(service, query, err, ret_connection);
}
/* Asks for the write slot, between begin and end. DONE: it is held; WAITING: ask again as with service_run(); FAILED. */
static inline enum query_progress service_claim(struct service *service, struct query *query, struct sq_error *err)
{
    return service->ops->claim(service, query, err);
}
/* The work is over, or given up: what it has read or committed is noted in rests_on, and the slot goes on if no
 * transaction that writes is open. The failure is one of the disk: nothing may be said of what was seen. */
SQ_MUST_USE static inline sq_status service_end(struct service *service, struct query *query, struct sq_error *err)
{
    return service->ops->end(service, query, err);
}
/* Within a step or work: what has been read until now is noted in rests_on, so that it may be told to the client when that
 * is reached. May wait for the disk, when databases are attached. */
SQ_MUST_USE static inline sq_status service_note(struct service *service, struct sq_error *err)
{
    return service->ops->note(service, err);
}
/* Rolls back what is open and frees the service and those inside it. NULL is allowed. */
static inline void service_free(struct service *service)
{
    if (service != NULL)
        service->ops->free(service);
}

/* A layer that is nothing but its function table, around `inner`, which it owns then; on failure `inner` is untouched. */
SQ_MUST_USE sq_status service_wrap(struct service *inner, const struct service_ops *ops, struct sq_error *err,
                                   struct service **ret_service);

/* What a layer does with calls that it has nothing to say about: passes them to `inner`. A layer's function table is one
 * of SERVICE_OPS_FORWARD_ALL_BUT_… and its own functions. */
sq_status service_forward_prepare(struct service *service, const char *sql, size_t length, struct sq_error *err,
                                  struct service_statement **ret_statement, size_t *ret_consumed) SQ_MUST_USE;
void service_forward_column(struct service *service, struct service_statement *statement, size_t column_index,
                            struct service_column *ret_column);
sq_status service_forward_infer(struct service *service, struct service_statement *statement, struct sq_error *err,
                                enum sq_type *ret_columns, enum sq_type *ret_parameters) SQ_MUST_USE;
void service_forward_release(struct service *service, struct service_statement *statement);
enum query_progress service_forward_run(struct service *service, struct query *query, struct sink *sink,
                                        struct sq_error *err);
sq_status service_forward_finish(struct service *service, struct query *query, struct sq_error *err) SQ_MUST_USE;
sq_status service_forward_exec(struct service *service, const char *sql, struct sq_error *err) SQ_MUST_USE;
bool service_forward_is_in_transaction(struct service *service);
bool service_forward_is_wanted(struct service *service);
sq_status service_forward_prepare_native(struct service *service, const char *sql, size_t length, unsigned flags,
                                         struct sq_error *err, struct service_statement **ret_statement,
                                         size_t *ret_consumed) SQ_MUST_USE;
sq_status service_forward_attach(struct service *service, const char *database, const char *alias, bool is_readonly,
                                 struct sq_error *err) SQ_MUST_USE;
sq_status service_forward_detach(struct service *service, const char *alias, struct sq_error *err) SQ_MUST_USE;
void service_forward_reset(struct service *service);
uint64_t service_forward_generation(struct service *service);
size_t service_forward_statement_bytes(struct service *service, struct service_statement *statement);
bool service_forward_may_rest(struct service *service);
void service_forward_rest(struct service *service);
sq_status service_forward_begin(struct service *service, struct query *query, struct sq_error *err,
                                struct engine_connection **ret_connection) SQ_MUST_USE;
enum query_progress service_forward_claim(struct service *service, struct query *query, struct sq_error *err);
sq_status service_forward_end(struct service *service, struct query *query, struct sq_error *err) SQ_MUST_USE;
sq_status service_forward_note(struct service *service, struct sq_error *err) SQ_MUST_USE;
/* Frees `inner` and then the layer itself, which came from malloc(). */
void service_forward_free(struct service *service);

#define SERVICE_OPS_FORWARD_REST_BUT_WORK                                                                              \
    .prepare = service_forward_prepare, .prepare_native = service_forward_prepare_native,                              \
    .column = service_forward_column, .infer = service_forward_infer, .release = service_forward_release,              \
    .exec = service_forward_exec, .is_in_transaction = service_forward_is_in_transaction,                              \
    .is_wanted = service_forward_is_wanted, .attach = service_forward_attach, .detach = service_forward_detach,        \
    .reset = service_forward_reset, .generation = service_forward_generation,                                          \
    .statement_bytes = service_forward_statement_bytes, .may_rest = service_forward_may_rest,                          \
    .rest = service_forward_rest, .note = service_forward_note
#define SERVICE_OPS_FORWARD_REST                                                                                       \
    SERVICE_OPS_FORWARD_REST_BUT_WORK, .begin = service_forward_begin, .claim = service_forward_claim,                 \
                                       .end = service_forward_end
#define SERVICE_OPS_FORWARD_ALL_BUT_RUN_AND_FINISH SERVICE_OPS_FORWARD_REST, .free = service_forward_free
#define SERVICE_OPS_FORWARD_ALL_BUT_RUN_AND_WORK                                                                       \
    SERVICE_OPS_FORWARD_REST_BUT_WORK, .finish = service_forward_finish, .free = service_forward_free
#define SERVICE_OPS_FORWARD_ALL_BUT_FREE                                                                               \
    SERVICE_OPS_FORWARD_REST, .run = service_forward_run, .finish = service_forward_finish

/* Whether a run stopped for good or for the client, and not to be continued by the server itself. */
static inline bool query_progress_is_end(enum query_progress progress)
{
    return progress == QUERY_DONE || progress == QUERY_FAILED || progress == QUERY_SUSPENDED;
}

#endif
