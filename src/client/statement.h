/* client/statement.h: prepared statements of a remote connection.
 *
 *             prepare                      step: rows            step: DONE, or an error
 *     ──────────────────► READY ─────────────────────► ROWS ─────────────────────────────► ENDED
 *                           ▲                            │ reset                             │ reset, or step
 *                           └────────────────────────────┴───────────────────────────────────┘
 *
 * Rows come in batches: STEP asks for some rows at most, which are kept as they came and read one by one. The server holds
 * its statement open only while the last batch ended with SQLITE_ROW (`batch_code`). What stops a batch from running ahead
 * of the application: client_statement_is_single().
 *
 * The server knows a statement by `number`, on the connection of `connection_number`; after a reconnection it is prepared
 * again when it is next stepped. Finalized statements that may be wanted again stay there, in remote->cached, by their
 * text and flags.
 *
 * Files: statement.c (making and freeing, facts, the cache), prepare.c, bind.c, step.c, column.c, exec.c. All under the
 * connection's mutex. */
#ifndef SQ_CLIENT_STATEMENT_H
#define SQ_CLIENT_STATEMENT_H

#include "client/pointers.h"
#include "client/remote.h"

enum client_statement_state {
    CLIENT_STATEMENT_READY, /* never stepped, or reset */
    CLIENT_STATEMENT_ROWS,  /* there is a row, and there may be more */
    CLIENT_STATEMENT_ENDED, /* done, or failed with `code` */
};

/* What a statement's first word says. */
enum client_sql_kind {
    CLIENT_SQL_OTHER,
    CLIENT_SQL_SELECT, /* and VALUES: what only reads */
    CLIENT_SQL_DATA,   /* INSERT, …; WITH */
    CLIENT_SQL_BEGIN,  /* BEGIN, ROLLBACK, SAVEPOINT */
    CLIENT_SQL_COMMIT, /* COMMIT, END, RELEASE */
    CLIENT_SQL_PRAGMA,
    CLIENT_SQL_TEMPORARY, /* CREATE TEMP …, CREATE … temp.… */
    CLIENT_SQL_ATTACH,
    CLIENT_SQL_DETACH,
    CLIENT_SQL_VACUUM,
};

/* Of struct client_column, in the order in which they come. */
enum client_column_text {
    CLIENT_COLUMN_NAME,
    CLIENT_COLUMN_DECLTYPE,
    CLIENT_COLUMN_DATABASE,
    CLIENT_COLUMN_TABLE,
    CLIENT_COLUMN_ORIGIN,
    CLIENT_COLUMN_TEXT_COUNT,
};

struct client_column {
    const char *text[CLIENT_COLUMN_TEXT_COUNT]; /* NULL: there is none */
    uint16_t *text16[CLIENT_COLUMN_TEXT_COUNT]; /* made when asked for */
};

struct client_binding {
    struct native_value value;
    void *memory;                   /* the bytes, if they are a copy of ours */
    void (*destroy)(void *);        /* else the application's, for its bytes */
    struct client_pointer *pointer; /* NATIVE_VALUE_POINTER */
    bool is_borrowed;               /* the application's bytes, which it may change */
};

/* A batch that was read ahead, while something else had to be asked for: ahead.h. */
enum { CLIENT_AHEAD_MAX = 2 }; /* batches */
struct client_ahead_kept {
    struct native_answer answer;
    uint8_t *body; /* behind head and error */
    size_t length;
    struct client_error error; /* the answer's, if its result is one */
};

struct client_statement {
    struct client_remote *remote;
    sqlite3_stmt *handle; /* NULL while cached */
    struct sq_list links; /* in remote->statements or remote->cached */
    char *sql;            /* what was used of the text */
    size_t sql_length;
    unsigned prepare_flags; /* of sqlite3_prepare_v3() */
    bool is_legacy;         /* sqlite3_prepare(): step says SQLITE_ERROR, reset says which */
    bool is_begun;          /* READY, but its first batch has come already (PREPARE_STEP) */
    bool is_in_request;     /* of a step that waits: a function that it calls must not step it */
    enum client_sql_kind kind;

    /* --- as the server has it --- */
    uint32_t number;
    uint32_t connection_number;
    uint64_t generation; /* when it was compiled */
    struct native_facts facts;
    struct client_column *columns;
    size_t column_count;
    const char **parameters; /* names; NULL where there is none */
    size_t parameter_count;
    char *texts; /* memory of all names above */

    struct client_binding *bindings; /* parameter_count */
    bool must_bind;                  /* the server does not have them yet */

    /* --- running --- */
    enum client_statement_state state;
    int code;       /* of the end: SQLITE_DONE or an error */
    char *message;  /* of the error; NULL: the code's own */
    uint8_t *batch; /* rows as they came, and one byte */
    size_t batch_room;
    struct pgwire_cursor rows; /* what of the batch has not been read */
    uint32_t rows_left;
    int batch_code;       /* how the batch ended: SQLITE_ROW: the server may have more */
    uint8_t next_byte;    /* the first byte of `rows`, where a NUL may stand for the last text of the row before */
    uint32_t batch_count; /* since it began */
    bool has_row;
    struct sq_value *row;        /* column_count; bytes point into the batch */
    sqlite3_value **values;      /* column_count: the same as values of the real library, where they were wanted */
    size_t value_count;          /* how many of them there are */
    struct client_error pending; /* an error that came behind rows */
    struct client_ahead_kept kept[CLIENT_AHEAD_MAX];
    unsigned kept_count;
    uint8_t *taken;         /* the body that client_ahead_end() gave last */
    bool is_interleaved;    /* since it began, other requests have come between its batches: it does not read ahead */
    uint64_t request_count; /* remote->request_count when its last request was made */
};

/* --- statement.c --- */

/* The statement behind a pointer of ours, its connection's mutex entered; NULL: none. Leave with client_remote_leave…(). */
struct client_statement *client_statement_enter(sqlite3_stmt *pointer);

/* The statement behind a pointer of ours, if its connection's mutex need not be entered; NULL: enter it. */
static inline struct client_statement *client_statement_peek(const sqlite3_stmt *pointer)
{
    if (!client_has_one_thread())
        return NULL;
    struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    return statement != NULL && client_remote_is_of_this_process(statement->remote) ? statement : NULL;
}

/* A new statement with a number, in no list. NULL: no memory. */
struct client_statement *client_statement_new(struct client_remote *remote, const char *sql, size_t length,
                                              unsigned prepare_flags);
/* Gives it a handle and puts it into remote->statements. */
int client_statement_publish(struct client_statement *statement);
/* Takes it back: handle, bindings, lists; keeps it in the cache or forgets it, here and on the server. */
void client_statement_discard(struct client_statement *statement);
/* A cached statement that is as good as a new one; NULL: none. */
struct client_statement *client_statement_recall(struct client_remote *remote, const char *sql, size_t length,
                                                 unsigned prepare_flags);
/* Forgets what is cached, here and on the server: something was registered that they may depend on. */
void client_statement_cache_clear(struct client_remote *remote);
/* Reads facts, which replace the former ones. False: no memory, or `body` has failed; the statement is as it was. */
bool client_statement_take_facts(struct client_statement *statement, struct pgwire_cursor *body);
/* Frees all statements: the connection ends. */
void client_statements_free(struct client_remote *remote);
/* A rollback has undone changes of the schema: those in their middle end with SQLITE_ABORT_ROLLBACK. */
void client_statements_trip(struct client_remote *remote);
bool client_statements_are_half_read(const struct client_remote *remote);
/* Prepares it again if the connection is a new one. An error is recorded. */
int client_statement_make_ready(struct client_statement *statement);

/* --- prepare.c --- */

/* Makes a statement of the beginning of `length` bytes of SQL. SQLITE_OK: *ret_statement (NULL: there was none) is in
 * remote->statements, and *ret_used bytes were used. `will_step`: client_statement_step() comes next for certain, so its
 * rows are asked for in the same round trip. Errors are recorded; *ret_used is set then, too. */
int client_statement_prepare(struct client_remote *remote, const char *sql, size_t length, unsigned prepare_flags,
                             bool will_step, struct client_statement **ret_statement, size_t *ret_used);

/* --- bind.c --- */

void client_binding_clear(struct client_binding *binding);
/* Parameters of a request that begins a statement. */
void client_bindings_put(struct client_statement *statement, struct sq_buf *out);

/* --- step.c --- */

/* Whether rows are to be computed one at a time, when the application asks for them. */
bool client_statement_is_single(const struct client_statement *statement);
/* The fields of STEP from its flags (enum native_step_flag) on, up to the parameters. */
void client_statement_put_step(struct client_statement *statement, struct sq_buf *out, uint8_t flags);
/* What is unknown if the answer to its step is lost; also before its facts are there. */
enum client_risk client_statement_risk(const struct client_statement *statement);
/* Takes the rows of an answer whose result is `code`; facts have been read. False: it makes no sense, or no memory. */
bool client_statement_take_batch(struct client_statement *statement, int code, struct pgwire_cursor *body);
/* The same for an answer that was lost, of which it is known that it had none (remote->is_settled). */
bool client_statement_take_no_rows(struct client_statement *statement, int code);
/* sqlite3_step(), sqlite3_reset(), sqlite3_finalize() without the mutex; extended codes; errors are recorded. */
int client_statement_step(struct client_statement *statement);
int client_statement_reset(struct client_statement *statement);
int client_statement_finalize(struct client_statement *statement);

/* --- column.c --- */

/* Reads the next row of the batch. False: it makes no sense. */
bool client_statement_read_row(struct client_statement *statement);
/* There is no row any more: frees what was made of it. */
void client_statement_drop_row(struct client_statement *statement);
const char *client_statement_column_text(struct client_statement *statement, size_t column);

#endif
