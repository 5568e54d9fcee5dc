/* session/session_internal.h: the session as its own files see it.
 *
 *   session.c       life, the run loop, messages to handlers
 *   release.c       answers that wait for the disk
 *   startup.c       the first packets
 *   simple.c        Query
 *   extended.c      Parse, Bind, Describe, Execute, Close, Sync, Flush
 *   execute.c       running a portal and answering for it
 *   transaction.c   what transaction the client is in
 *   commands.c      session commands that are no SQL
 *   pending.c       LISTEN, UNLISTEN, NOTIFY until the transaction commits
 *   copy.c          COPY
 *   cursors.c       DECLARE, FETCH, MOVE, CLOSE, PREPARE, EXECUTE, DEALLOCATE
 *   translate.c     session commands that are said in SQL
 *   functions.c     SQL functions
 *   tables.c        tables for SHOW
 *   rest.c          giving memory back while nobody asks anything
 *   remote*.c       what a session on a replica does at the primary: remote.h
 *   consistency.c   what reads wait for; positions: consistency.h
 *   delegated.c     a session that stands for one on a replica: delegated.h
 *   native*.c       native mode: native_internal.h
 *   walsender.c     sessions of replicas: walsender.h
 */
#ifndef SQ_SESSION_SESSION_INTERNAL_H
#define SQ_SESSION_SESSION_INTERNAL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/map.h"
#include "config/config.h"
#include "engine/database.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"
#include "sched/service.h"
#include "session/consistency.h"
#include "session/delegated.h"
#include "session/notify.h"
#include "session/outcomes.h"
#include "session/portal.h"
#include "session/prepared.h"
#include "session/registry.h"
#include "session/remote.h"
#include "session/session.h"
#include "session/settings.h"

/* Where the session is in the protocol. COPY FROM STDIN is a mode within SIMPLE or READY: `copy_in` is set.
 *
 *   STARTUP ──StartupMessage──► STARTED ──► READY ◄──────────────────────────────┐
 *                                             ├──Query──► SIMPLE ──all run───────┤
 *                                             ├──Parse … Execute──► READY        │
 *   STARTUP ──CancelRequest──► CANCELING      └─────────────────────────────────┘
 *                      STARTED ──a native session on a replica──► RELAYED
 *   any ──Terminate, fatal error──► CLOSING ◄── CANCELING, when the request has had its effect
 *
 * `running` is not NULL while a portal is being run, whatever the state. */
enum session_state {
    SESSION_STATE_STARTUP,
    SESSION_STATE_STARTED, /* start-up packet taken, not yet answered */
    SESSION_STATE_READY,
    SESSION_STATE_SIMPLE,
    SESSION_STATE_RELAYED,   /* a native session that is the primary's as a whole: remote_native.c */
    SESSION_STATE_CANCELING, /* this connection brought a cancel request, which is pending */
    SESSION_STATE_CLOSING,
};

/* What transaction the client is in.
 *
 *   NONE ──BEGIN, SAVEPOINT──► EXPLICIT ──COMMIT, ROLLBACK──► NONE
 *    │                            └──SQLite rolled back──► FAILED ──COMMIT, ROLLBACK──► NONE
 *    └──a write in a pipeline──► IMPLICIT ──Sync, error──► NONE      (BEGIN makes it EXPLICIT)
 */
enum session_txn { SESSION_TXN_NONE, SESSION_TXN_IMPLICIT, SESSION_TXN_EXPLICIT, SESSION_TXN_FAILED };

/* Why a portal is being run: decides what is answered when it stops. */
enum run_purpose {
    RUN_SIMPLE,   /* a statement of a Query: description, rows, completion */
    RUN_EXECUTE,  /* Execute: rows, completion or PortalSuspended */
    RUN_DESCRIBE, /* Describe of a portal: only its first row, which is held */
    RUN_FETCH,    /* FETCH from a cursor: rows, then the FETCH's own completion */
    RUN_MOVE,     /* MOVE: no rows */
    RUN_COPY_OUT, /* COPY TO STDOUT */
};

/* The session's sink: encodes rows straight into the output. */
struct row_sink {
    struct sink base;
    struct session *session;
    struct portal *portal;
    const uint8_t *formats; /* of the columns; NULL: all text */
    enum run_purpose purpose;
    uint64_t row_count; /* since the run began */
    bool has_described; /* RowDescription has been sent, or is not wanted */
};

struct copy_in;
struct copy_out;
struct native;
struct walsender;

/* What the start-up parameter _pq_.sqld asks for: docs/protocol.md, "Asking for it". */
struct native_asked {
    bool is_asked;
    bool is_create;
    bool is_fresh;
    bool is_readonly;
    char origin[ENGINE_ORIGIN_MAX + 1]; /* "": none */
    char share[ENGINE_SHARE_MAX + 1];   /* likewise */
    bool has_key;
    uint8_t key[OUTCOME_KEY_BYTES];
};

/* For OUTCOME: native_outcome.c. */
struct native_progress {
    bool is_kept;           /* the session is in host->outcomes */
    uint64_t request_count; /* that were to be answered, those within calls left out */
    uint64_t done_number;   /* the last one that was worked off */
    struct outcome outcome; /* and what its answer said */
};

struct session {
    struct session_host *host;
    struct config *config; /* a reference, taken at the start of the session */
    struct sq_waker *waker;
    struct session_wire *wire;
    struct session_entry entry;
    struct service_context context;
    struct service *service; /* NULL before the start-up is done */
    struct engine_durability_ticket durability_ticket;
    struct settings settings;
    uint32_t applied_revision; /* of the settings: what `context` has */
    int64_t holdup_limit_us;   /* idle_in_transaction_session_timeout and idle_session_timeout, as applied; 0: none */
    int64_t idle_limit_us;
    struct notify_listener listener;

    enum session_state state;
    enum session_txn txn;
    bool is_txn_remote;    /* it is open at the primary, and not here */
    bool has_committed;    /* something has been committed since the last ReadyForQuery */
    bool is_skipping;      /* an error in the extended protocol: everything up to Sync is dropped */
    bool is_read_only_txn; /* BEGIN READ ONLY */
    bool is_peer_gone;
    bool has_asked_ssl, has_asked_gss;
    size_t row_bytes_max;
    size_t message_bytes_max;
    size_t output_high_water;
    size_t input_hint;
    int64_t startup_deadline_us;
    struct session_cancel cancel; /* what this connection was made for, in SESSION_STATE_CANCELING */
    int64_t cancel_deadline_us;
    int64_t idle_since_us;  /* monotonic; 0: not idle */
    int64_t quiet_since_us; /* monotonic: since when only the client could go on, in a transaction or not; 0: not so */
    bool is_resting;        /* idle for long enough: what can be had again has been given back */
    int64_t pause_deadline_us; /* while a portal waits: context.wake_at_us */
    atomic_int interrupt;      /* enum session_interrupt + 1; 0: none. Relaxed: the waker brings the session to look */
    atomic_bool
        is_active; /* a statement is running: a cancel request means it. Sequentially consistent, see registry.h */

    struct sq_buf *out; /* of the current session_run() */
    size_t output_mark; /* its length where the last whole message ended */
    struct sq_buf *in;
    size_t taken_bytes; /* of `in`: the message that is being handled; 0 once nobody needs it any more */

    struct statement_cache statement_cache; /* statements that nobody uses */
    struct sq_map statements;               /* named prepared statements */
    struct prepared *unnamed_statement;
    struct sq_map portals; /* named portals and cursors */
    struct portal *unnamed_portal;
    struct portal *spare_portal; /* one that was freed, for the next */

    struct portal *running;
    struct row_sink sink;
    struct portal *executing; /* the portal whose command is being done: it must not be closed meanwhile */
    struct portal *retrying;  /* a command that waits for something and is tried again (DROP DATABASE) */
    int64_t retry_until_us;
    enum run_purpose retry_purpose; /* of SHOW sqld.position */
    uint64_t retry_row_limit;

    struct sq_arena message_arena; /* the text of the Query that is being worked off */
    const char *query_text;
    size_t query_length;
    size_t query_at;          /* what has been done of it */
    bool query_has_statement; /* something else than white space was in it */
    struct portal *simple_portal;

    struct copy_in *copy_in;
    struct copy_out *copy_out;

    struct sq_list pending; /* struct pending_action: LISTEN, UNLISTEN and NOTIFY of the open transaction */
    size_t pending_count;

    struct native_asked native_asked;
    struct pgwire_startup_frame startup_packet; /* of one that will be relayed; its body is … */
    uint8_t *startup_bytes;                     /* … here; NULL: it will not be */
    struct native *native;                      /* NULL: not in native mode */
    bool is_replication;                        /* replication=true was asked for */
    struct walsender *walsender;                /* NULL: not a replica's session */
    struct native_progress progress;

    struct delegated_asked delegated_asked;
    struct delegated *delegated;    /* NULL: it stands for no other */
    struct remote *remote;          /* NULL: nothing of it is at the primary */
    struct consistency consistency; /* what its reads wait for */

    char *user;
    char *database_name;
    struct sq_buf scratch; /* results of SQL functions, values of COPY */
};

enum { SESSION_PENDING_MAX = 10000, SESSION_NAME_MAX = 63 };

/* --- session.c --- */
/* Answers with an error and does what the protocol says follows: skipping to Sync, end of the Query, or the end of the
 * connection if it is fatal. Rolls an implicit transaction back. */
void session_fail(struct session *session, struct sq_error *err);
void session_notice(struct session *session, const char *severity, const char *sqlstate, const char *text);
/* ReadyForQuery, after what is due before it: changed settings, notifications. */
void session_ready(struct session *session);
/* Whether a message in the output may stay: buffer failures become an error. `mark`: output length before it. */
SQ_MUST_USE sq_status session_output_check(struct session *session, size_t mark, struct sq_error *err);
/* What is said from here on rests on everything that has been committed until now. */
void session_rest_on_now(struct session *session);
/* NULL while nothing has been asked of a database. */
struct engine_durability *session_durability(const struct session *session);
/* One line for operators, if it is theirs to know. */
void session_log_failure(const struct session *session, const struct sq_error *err);
/* Takes settings over into the service context; before each message and statement. */
void session_apply_settings(struct session *session);
void session_set_activity(struct session *session, enum session_activity activity);

/* --- startup.c --- */
enum session_want startup_run(struct session *session);
/* In SESSION_STATE_CANCELING: waits for the end of it. */
enum session_want startup_cancel(struct session *session);
/* After SESSION_STARTED: opens the database and answers. */
void startup_finish(struct session *session);
/* Frees what was kept for it. */
void startup_forget(struct session *session);

/* --- simple.c --- */
void simple_begin(struct session *session, const struct pgwire_frame *frame);
/* Goes on with the Query: starts the next statement or ends it. */
void simple_next(struct session *session);
/* Ends the Query early, after an error. */
void simple_abort(struct session *session);

/* --- extended.c --- */
void extended_message(struct session *session, const struct pgwire_frame *frame);
void extended_sync(struct session *session);
SQ_MUST_USE sq_status session_find_portal(struct session *session, const char *name, struct sq_error *err,
                                          struct portal **ret_portal);
/* Closes portals at the end of a transaction (all but WITH HOLD), or all of them. The first failure is reported. */
SQ_MUST_USE sq_status session_close_portals(struct session *session, bool is_all, struct sq_error *err);
SQ_MUST_USE sq_status session_close_portal(struct session *session, struct portal *portal, struct sq_error *err);
SQ_MUST_USE sq_status session_add_portal(struct session *session, struct portal *portal, const char *name,
                                         struct sq_error *err);
SQ_MUST_USE sq_status session_add_statement(struct session *session, const char *name, struct prepared *prepared,
                                            struct sq_error *err);
void session_close_statements(struct session *session);

/* --- execute.c --- */
/* Starts running `portal`; session_run() then calls run_continue() until it has stopped. `row_limit` 0: none. */
void run_begin(struct session *session, struct portal *portal, enum run_purpose purpose, uint64_t row_limit);
enum session_want run_continue(struct session *session);
/* From activate to deactivate a cancel request means what the session does; one that came a moment before did, too. */
void run_activate(struct session *session);
void run_deactivate(struct session *session);
/* What came too late for the last statement does not mean what is done next. */
void run_release_brake(struct session *session);
/* What a run of a portal that has no more rows answers. */
SQ_MUST_USE sq_status run_nothing(struct session *session, struct portal *portal, const uint8_t *formats,
                                  enum run_purpose purpose, struct sq_error *err);
/* Executes a portal whatever it is: SQL is run, a command done at once. */
void execute_portal(struct session *session, struct portal *portal, enum run_purpose purpose, uint64_t row_limit);
/* CommandComplete for a statement or command that is done. */
void execute_complete(struct session *session, const char *tag);

/* --- transaction.c --- */
char transaction_status(const struct session *session);
/* Refuses what a failed transaction must not do: 25P02. */
SQ_MUST_USE sq_status transaction_check(struct session *session, const struct prepared *prepared, struct sq_error *err);
/* Before a statement of the extended protocol runs: opens the implicit transaction if the pipeline goes on. */
SQ_MUST_USE sq_status transaction_before_statement(struct session *session, const struct prepared *prepared,
                                                   bool is_last_of_pipeline, struct sq_error *err);
/* After each statement: looks at what SQLite has made of the transaction. */
void transaction_after_statement(struct session *session, const struct prepared *prepared);
/* After an error: an implicit transaction is rolled back, an explicit one may be found gone. */
void transaction_after_error(struct session *session);
SQ_MUST_USE sq_status transaction_commit(struct session *session, struct sq_error *err);
SQ_MUST_USE sq_status transaction_rollback(struct session *session, struct sq_error *err);
/* BEGIN has been run by SQLite, or an implicit transaction is made explicit. On failure the transaction is open, without
 * the modes it was to have. */
SQ_MUST_USE sq_status transaction_began(struct session *session, const struct command_begin *begin,
                                        struct sq_error *err);

/* --- commands.c --- */
/* Does a session command that needs no rows. *ret_tag: its CommandComplete, or NULL if the command has started something
 * that will complete by itself. */
SQ_MUST_USE sq_status commands_execute(struct session *session, struct portal *portal, enum run_purpose purpose,
                                       uint64_t row_limit, struct sq_error *err, const char **ret_tag);
/* The moment before and after SQLite runs a command that was translated to SQL (BEGIN, SAVEPOINT …). *ret_skip: nothing
 * is left for SQLite to do. */
SQ_MUST_USE sq_status commands_before(struct session *session, struct portal *portal, struct sq_error *err,
                                      bool *ret_skip);
SQ_MUST_USE sq_status commands_after(struct session *session, const struct prepared *prepared, struct sq_error *err);
/* Before SHOW sqld.position: *ret_is_waiting: it is not known yet, and run when it is. Does nothing for other commands. */
SQ_MUST_USE sq_status commands_wait_position(struct session *session, struct portal *portal, enum run_purpose purpose,
                                             uint64_t row_limit, struct sq_error *err, bool *ret_is_waiting);
/* Tries a waiting command again. */
enum session_want commands_retry(struct session *session);

/* --- pending.c --- */
/* What is done when the transaction commits. UNLISTEN of NULL: of all. */
SQ_MUST_USE sq_status pending_listen(struct session *session, const char *channel, struct sq_error *err);
SQ_MUST_USE sq_status pending_unlisten(struct session *session, const char *channel, struct sq_error *err);
SQ_MUST_USE sq_status pending_notify(struct session *session, const char *channel, const char *payload,
                                     struct sq_error *err);
/* Does it. Nothing is pending afterwards, also after a failure. */
SQ_MUST_USE sq_status pending_apply(struct session *session, struct sq_error *err);
void pending_drop(struct session *session);
/* After the settings have gone back to a savepoint, or given one up. */
void pending_rolled_back_to(struct session *session);
void pending_released(struct session *session);

/* --- cursors.c --- */
SQ_MUST_USE sq_status cursors_declare(struct session *session, struct portal *portal, struct sq_error *err);
SQ_MUST_USE sq_status cursors_fetch(struct session *session, struct portal *portal, struct sq_error *err,
                                    const char **ret_tag);
/* The types that PREPARE declares, prepare->types.count of them, from the arena. */
SQ_MUST_USE sq_status cursors_parameter_types(const struct command_prepare *prepare, struct sq_arena *arena,
                                              struct sq_error *err, uint32_t **ret_types);
SQ_MUST_USE sq_status cursors_prepare(struct session *session, struct portal *portal, struct sq_error *err);
SQ_MUST_USE sq_status cursors_execute(struct session *session, struct portal *portal, enum run_purpose purpose,
                                      uint64_t row_limit, struct sq_error *err, const char **ret_tag);
/* The columns of FETCH and EXECUTE are those of what they name; NULL if there is no such thing (yet). *ret_is_binary (may
 * be NULL): a cursor that gives all columns in binary. */
struct prepared *cursors_described(struct session *session, struct prepared *prepared, bool *ret_is_binary);

/* --- copy.c --- */
SQ_MUST_USE sq_status copy_start(struct session *session, struct portal *portal, struct sq_error *err,
                                 const char **ret_tag);
/* A message while COPY FROM STDIN runs. */
void copy_in_message(struct session *session, const struct pgwire_frame *frame);
/* Goes on inserting what the last CopyData brought. */
enum session_want copy_in_continue(struct session *session);
bool copy_in_has_work(const struct session *session);
void copy_abort(struct session *session);
SQ_MUST_USE sq_status copy_out_row(struct session *session, const struct sq_value *values, size_t count,
                                   struct sq_error *err);
SQ_MUST_USE sq_status copy_out_end(struct session *session, struct sq_error *err);

/* --- rest.c --- */
/* When an idle session should give back what it can have again; 0: never. */
int64_t rest_deadline_us(const struct session *session);
/* Does so if it is time. */
void rest_check(struct session *session);
/* Compiled statements go; what is prepared is compiled again when it is next used. */
void rest_release_compiled(struct session *session);

/* --- functions.c --- */
extern const struct engine_function session_functions[];
extern const size_t session_function_count;

#endif
