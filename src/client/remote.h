/* client/remote.h: one connection to a database of a server: what all files of the remote half share.
 *
 *   open.c ──► client_remote ──► request.c ──► pgclient ──► server (docs/protocol.md)
 *                │   │
 *                │   └ statements: statement.h (prepare, bind, step, columns)
 *                └ calls: calls.h (functions, hooks, and what else the server calls), blobs, backups, images
 *
 * An application's sqlite3 * is a handle (handle.h) whose object is a `struct client_remote`. Its functions are found by
 * name: api.c calls client_remote_NAME() for a handle of ours (remote_api.h declares them all). Each of them is
 *
 *     struct client_remote *remote = client_remote_enter(db);
 *     if (remote == NULL)
 *         return SQLITE_MISUSE;
 *     …
 *     return client_remote_leave(remote, code);
 *
 * A request (request.c) is written between client_request_begin() and client_request_end(), with nothing else between:
 *
 *     struct sq_buf *out = client_request_begin(remote, NATIVE_LIMIT);
 *     sq_buf_put_u32(out, …);
 *     struct pgwire_cursor body;
 *     int code = client_request_end(remote, NULL, &body);
 *     if (code == SQLITE_OK) …
 *
 * Invariants
 * 1. Everything here is guarded by `mutex`, the mutex of `shadow`, which is recursive and what sqlite3_db_mutex() gives to
 *    the application. It is held while a request waits, as SQLite holds its own while a statement runs; calls of the
 *    server are served in that thread, which may come back with requests. Only `interrupt…` and what interrupt.c says are
 *    used without it; and what reads a row that is there already, while the process has one thread
 *    (client_has_one_thread()). A connection opened with SQLITE_OPEN_NOMUTEX has none (NULL), as with SQLite.
 * 2. `shadow` is a private in-memory connection of the real library. It never sees the application's data except as
 *    parameters: real sqlite3_value objects, sqlite3_str and conversions are made with it, so that they are SQLite's own.
 * 3. `error` changes only where SQLite changes its error state. A request that fails records its error; one that does not
 *    leaves the state as it is, and client_remote_leave() puts the result in.
 * 4. What a request's answer holds is valid until the next request or call answer of this connection. */
#ifndef SQ_CLIENT_REMOTE_H
#define SQ_CLIENT_REMOTE_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/single_threaded.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "client/api.h"
#include "client/handle.h"
#include "pgclient/pgclient.h"
#include "pgwire/native.h"

struct client_calls;
struct client_statement;

/* SQLITE_IOERR with numbers of our own, for an application that wants to know (docs/client.md). LOST: the connection to the
 * server was lost; what was asked for was not done, and a transaction that was open was rolled back. UNKNOWN: whether it was
 * done, nobody can say. COMMITTED: it was done, for good, but what else it should have given was lost: its rows. */
#define SQLITE_IOERR_SQLD_LOST (SQLITE_IOERR | (200 << 8))
#define SQLITE_IOERR_SQLD_UNKNOWN (SQLITE_IOERR | (201 << 8))
#define SQLITE_IOERR_SQLD_COMMITTED (SQLITE_IOERR | (202 << 8))

enum {
    CLIENT_LIMIT_COUNT = 12, /* https://sqlite.org/c3ref/c_limit_attached.html */
    CLIENT_KEY_BYTES = 16,
};

/* What sqlite3_errcode(), sqlite3_errmsg() and their like say. */
struct client_error {
    int code;            /* extended */
    int offset;          /* sqlite3_error_offset(): -1 unknown */
    int system_errno;    /* sqlite3_system_errno() */
    char *message;       /* UTF-8; NULL: sqlite3_errstr(code) */
    uint16_t *message16; /* the same, made when somebody asks */
};

/* What the last answer said. */
struct client_state {
    bool is_autocommit;
    uint8_t txn_state;
    int64_t changes;
    int64_t total_changes;
    int64_t last_insert_rowid;
    uint64_t generation;
};

/* What is unknown when the answer to a request is lost. */
enum client_risk {
    CLIENT_RISK_NONE = 0,
    CLIENT_RISK_COMMIT, /* COMMIT and its like: the whole transaction */
    CLIENT_RISK_WRITE,  /* a statement that is a transaction of its own, outside another */
    CLIENT_RISK_PRAGMA, /* the same, but it may be about the connection, which is gone then: it is always repeated */
};

/* How a connection was lost. */
enum client_loss_kind {
    CLIENT_LOSS_BROKEN,   /* the network, or the server, is gone */
    CLIENT_LOSS_SILENT,   /* read_timeout */
    CLIENT_LOSS_SAID,     /* the server has said that it ends it: what it worked on is rolled back */
    CLIENT_LOSS_NONSENSE, /* one side cannot go on: the protocol is broken, memory is short */
};
struct client_loss {
    enum client_loss_kind kind;
    bool is_in_transaction;        /* there was one */
    bool is_temporary;             /* there were temporary tables */
    uint8_t key[CLIENT_KEY_BYTES]; /* of the connection */
    char why[SQ_ERROR_TEXT_MAX];
};

struct client_remote {
    sqlite3 *handle;      /* what the application has */
    sqlite3 *shadow;      /* invariant 2 */
    sqlite3_mutex *mutex; /* of the shadow; invariant 1 */
    uint32_t fork_number; /* of the process that opened it: a forked child must keep its hands off */
    bool is_closed;       /* sqlite3_close_v2() with statements or guests left: the last of them frees it */
    bool is_extended;     /* sqlite3_extended_result_codes() */

    /* --- the server: remote.c, request.c --- */
    struct pgclient_target *target;
    struct pgclient *client;    /* NULL: lost; the next request connects again */
    uint32_t connection_number; /* grows with each (re)connection: what was prepared for another number is gone */
    char *database;             /* as the server calls it; ":memory:" */
    int open_flags;             /* sqlite3_open_v2()'s */
    bool is_memory;
    bool is_readonly;
    bool is_dead;                         /* what was lost with the connection cannot come back */
    bool is_connecting;                   /* requests go out though a reconnection is not complete */
    bool has_temporary;                   /* temporary tables may have been made, which end with the connection */
    struct sq_buf nowhere;                /* what client_request_begin() gives when there is no server */
    size_t request_offset;                /* where the request being written begins in pgclient_out() */
    bool is_request_dropped;              /* it goes nowhere: the error is recorded */
    enum client_risk risk;                /* of the request being written; client_request_end() takes it back */
    bool may_repeat;                      /* the request that has just been lost has left no trace: outcome.h */
    bool is_settled;                      /* the one that has just ended well was lost, too: there is no body */
    int call_depth;                       /* calls of the server that are being served */
    uint64_t call_count;                  /* that have been */
    int64_t last_answer_us;               /* sq_clock_now_us() */
    int64_t total_changes_base;           /* of connections before this one */
    uint8_t key[CLIENT_KEY_BYTES];        /* of this connection, for NATIVE_OUTCOME */
    uint64_t request_count;               /* on this connection, as NATIVE_OUTCOME counts them */
    struct client_loss loss;              /* the last one */
    char lost_message[SQ_ERROR_TEXT_MAX]; /* of it */

    struct client_error error;
    struct client_state state;
    struct client_statement *ahead; /* whose next batches are on their way; NULL: none. ahead.h */
    unsigned ahead_count;           /* so many of them: the next answers are theirs */

    /* --- statements: statement.h --- */
    struct sq_list statements; /* those of the application, newest first */
    struct sq_list cached;     /* finalized ones that the server still has, newest first */
    size_t cached_count;
    uint32_t statement_number; /* the last one given */
    sqlite3_stmt *converter;   /* of the shadow: SELECT ?1 */
    sqlite3_value *null_value; /* for columns that there are not */

    /* --- databases.c --- */
    char *main_name;                /* SQLITE_DBCONFIG_MAINDBNAME; NULL: "main" */
    sqlite3_filename filename;      /* sqlite3_create_filename()'s: what sqlite3_db_filename() gives for "main" */
    struct sq_list attached;        /* struct client_attached */
    struct sq_list pragmas;         /* settings to be made again after a reconnection */
    char *schema_name;              /* what sqlite3_db_name() gave last, of those not in `attached` */
    struct sq_map names;            /* all that sqlite3_table_column_metadata() has given: char * by text */
    bool has_persistent_wal;        /* SQLITE_FCNTL_PERSIST_WAL: remembered, and nothing else */
    bool has_powersafe_overwrite;   /* likewise */
    int limits[CLIENT_LIMIT_COUNT]; /* sqlite3_limit(); -1: not asked for yet */
    uint32_t limits_set;            /* bits: to be set again after a reconnection */

    /* --- the other half: calls.h --- */
    struct client_calls *calls;
    size_t guest_count;      /* open blobs and backups: sqlite3_close() waits for them */
    struct sq_list pointers; /* pointers.h */
    uint64_t pointer_number; /* the last one given */
    int busy_timeout_ms;     /* sqlite3_busy_timeout() */
    uint32_t guest_number;   /* the last one given, for blobs and whatever else needs a number */

    /* --- interrupt.c: atomics --- */
    bool is_interrupted;           /* since the statement now running began */
    bool is_waiting;               /* for an answer of the server */
    bool is_cancel_sent;           /* NATIVE_INTERRUPT_CLEAR is due */
    uint32_t interrupters_entered; /* threads that have begun pgclient_cancel() */
    sem_t interrupter_leaves;      /* counts those that have ended it */
    uint32_t interrupters_left;    /* of them, those that were waited for; not atomic */
    int running_count;             /* statements between their first step and their end */
};

/* SQLite's interface takes some pointers without `const` that it only reads through. */
static inline void *client_unconst(const void *pointer)
{
    union {
        const void *constant;
        void *plain;
    } both = {.constant = pointer};
    return both.plain;
}

/* --- Handles --- */

/* The connection behind a pointer of ours; NULL: it is none, or was closed. */
static inline struct client_remote *client_remote_of(sqlite3 *db)
{
    return client_handle_object(db, CLIENT_HANDLE_CONNECTION);
}

/* Grows in each forked child. */
__attribute__((visibility("hidden"))) extern uint32_t client_fork_number;

/* Whether this process has opened it: not a forked child. */
static inline bool client_remote_is_of_this_process(const struct client_remote *remote)
{
    return remote->fork_number == client_fork_number;
}

/* Whether nobody else could be in a connection: then what neither waits nor calls anybody, so that it stays so, may do
 * without the mutex, which would be most of its cost (manual of glibc, "Single-Threaded"). */
static inline bool client_has_one_thread(void)
{
    return __libc_single_threaded != 0;
}

/* client_remote_of() and its mutex. NULL: not (or no longer) a connection, or one of the parent process; the caller
 * returns SQLITE_MISUSE or what SQLite gives for NULL. */
struct client_remote *client_remote_enter(sqlite3 *db);
/* Notes `code` as the connection's (SQLITE_OK, ROW and DONE clear the error before; an error that was recorded with the
 * same code keeps its message), leaves the mutex, and returns `code` as the application wants to see it: without its
 * extended part unless it asked for that. */
int client_remote_leave(struct client_remote *remote, int code);
/* The first of that: for who has not entered the mutex, or will leave it himself. */
void client_remote_note(struct client_remote *remote, int code);
/* Leaves the mutex; the error state stays as it is. */
void client_remote_leave_quietly(struct client_remote *remote);
/* What client_remote_leave() returns for `code`. */
static inline int client_remote_shown(const struct client_remote *remote, int code)
{
    return remote->is_extended ? code : code & 0xff;
}
static inline bool client_code_is_error(int code)
{
    return code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE;
}

/* Frees what sqlite3_close_v2() has left, when the last statement, blob or backup has gone: call it after
 * client_remote_leave() where one went. True: `remote` is freed. */
bool client_remote_reap(struct client_remote *remote);

/* --- Errors --- */

/* Records an error and returns `code` (extended). `format` NULL: the code's own text. */
int client_error_set(struct client_remote *remote, int code, const char *format, ...) SQ_PRINTF(3, 4);
/* Records a failure of ours: `text`s of SQ_NOMEM become SQLITE_NOMEM, and so on. */
int client_error_of_status(struct client_remote *remote, const struct sq_error *err);
/* Takes the error state out (to be put back later), leaving SQLITE_OK. */
struct client_error client_error_take(struct client_remote *remote);
void client_error_put_back(struct client_remote *remote, struct client_error error);

/* --- Requests: request.c --- */

/* Whether a request can go out now; connects again if need be. Else the error is recorded. For those who must know before
 * client_request_begin() whether `connection_number` is going to change. */
bool client_remote_is_ready(struct client_remote *remote);
/* Begins a request and returns where its body goes, behind the operation. Connects again first if the connection was lost
 * and nothing was lost with it. It never fails by itself: what went wrong is returned by client_request_end(). */
struct sq_buf *client_request_begin(struct client_remote *remote, enum native_op op);
/* The same for a request that makes sense on the connection of that number alone: on another one it is
 * SQLITE_IOERR_SQLD_LOST, and may_repeat is set. */
struct sq_buf *client_request_begin_on(struct client_remote *remote, enum native_op op, uint32_t connection_number);
/* Sends the request and waits for its answer, serving the server's calls meanwhile (client_calls_serve()). Takes over the
 * answer's state (remote->state).
 * Returns the extended result code: SQLITE_OK, SQLITE_ROW, SQLITE_DONE, or an error, which is recorded. *ret_answer (may be
 * NULL) is set if there was an answer, else its result is the same error; *ret_body (may be NULL) is what follows head and
 * error: facts and so on; empty after an error of our own.
 * If the connection is lost meanwhile, what became of the request is found out (outcome.h). */
int client_request_end(struct client_remote *remote, struct native_answer *ret_answer, struct pgwire_cursor *ret_body);
/* A request whose answer is waited for later, ahead.h: begun while the connection is there and no other answer is outstanding,
 * and does nothing else. True: it was sent; its answer must be taken by client_answer_await() before any other request is. */
struct sq_buf *client_request_begin_ahead(struct client_remote *remote, enum native_op op);
bool client_request_end_ahead(struct client_remote *remote);
/* As client_request_end(), but for a loss: nothing is found out about it. `grace_us` if it is not 0: a server that has been
 * silent for so long is told to stop. */
int client_answer_await(struct client_remote *remote, int64_t grace_us, struct native_answer *ret_answer,
                        struct pgwire_cursor *ret_body);
/* The same for a one-way request, which is sent at once or, with `is_lazy`, together with the next request. */
int client_request_end_oneway(struct client_remote *remote, bool is_lazy);
/* A one-way request that is a number, if there is a connection; it never waits and never connects. `is_lazy` as above. What
 * goes wrong is noticed by the next request. */
void client_request_tell(struct client_remote *remote, enum native_op op, uint32_t number, bool is_lazy);
/* For answers whose body must be read to its end: records SQLITE_IOERR and ends the connection unless that is so. */
int client_body_check(struct client_remote *remote, const struct pgwire_cursor *body);
/* The connection is of no more use (the server breaks the protocol, …): records and returns SQLITE_IOERR_SQLD_LOST. */
int client_remote_lose(struct client_remote *remote, const char *why);

/* The answer to a call that is being served: message 'r'. Between the two only writes into the buffer. A failed send is
 * noticed by the request that waits. */
struct sq_buf *client_call_answer_begin(struct client_remote *remote);
void client_call_answer_end(struct client_remote *remote);

/* --- Statements, for others: exec.c, statement.c --- */

/* sqlite3_exec() without its mutex and message; the extended code; errors are recorded. */
int client_remote_exec(struct client_remote *remote, const char *sql, int (*callback)(void *, int, char **, char **),
                       void *argument);

/* The application's statement of the number that the server knows; NULL: it has been finalized, or is one of our own. */
sqlite3_stmt *client_statement_by_number(struct client_remote *remote, uint32_t number);

#endif
