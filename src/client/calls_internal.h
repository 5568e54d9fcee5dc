/* client/calls_internal.h: calls of the server, as the files that serve them see them.
 *
 *   calls.c       life, dispatch, replay, what is kept by number
 *   frame.c       one call that is being served: its message, arguments as real values, a real context
 *   function.c    functions: registration and call
 *   context.c     sqlite3_context: what an application's function does with it
 *   collation.c   collations
 *   hooks.c       authorizer, progress, busy, commit, rollback, update, wal
 *   preupdate.c   the preupdate hook and its values
 *   trace.c       trace and profile
 *   module.c      virtual tables, with the files of table.h
 *
 * Values and contexts. A callback gets real values of the real library: SQLite's own conversions, subtypes,
 * pointers, and sqlite3_value_dup() work on them. They come from statements of a connection in memory of their own,
 * `values_db`:
 *
 *     SELECT "sqld value"(0), "sqld value"(1), …                  values alone
 *     SELECT "sqld call"("sqld value"(0), "sqld value"(1), …)     a call of an application's function
 *
 * where "sqld value"(i) results in argument i of the call being served, and "sqld call" calls the application's
 * function with the values it was given. The function's context is a handle of ours, whose results go to the real
 * context of "sqld call": encodings, limits, destructors and errors are SQLite's. What belongs to the statement that
 * runs on the server (auxiliary data, the memory of an aggregate, the user data) is ours.
 *
 * Registration. Functions and collations are registered with the shadow too, where nobody calls them: so the real
 * library checks their arguments and decides when a destructor is called. The server is asked first.
 *
 * Invariants
 * 1. Frames are used from the bottom to the top: frames[depth - 1] serves the innermost call.
 * 2. A frame's message is a copy: the callback may send requests, which use the connection's buffers.
 * 3. Numbers of functions, collations and of what is kept are never used again. */
#ifndef SQ_CLIENT_CALLS_INTERNAL_H
#define SQ_CLIENT_CALLS_INTERNAL_H

#include "base/map.h"
#include "client/calls.h"
#include "client/pointers.h"

enum {
    CLIENT_ROWS_CACHED_MAX = 8, /* calls with up to so many arguments have a prepared statement each */
};

struct client_frame;

/* Values being made from what the server has sent. */
struct client_row {
    sqlite3_stmt *stmt;
    size_t count; /* columns, or arguments of the call, that `stmt` has */
    const struct native_value *values;
    struct client_frame *frame;
};

/* An argument's auxiliary data: https://sqlite.org/c3ref/get_auxdata.html */
struct client_auxiliary {
    uint16_t argument;
    uint64_t number; /* of what is kept */
    bool is_new;     /* set in this call: the server does not know it yet */
};

/* The application has a function's context, or that of a column. */
struct client_context {
    sqlite3_context *real; /* of "sqld call"; NULL outside of it */
    struct client_handle *handle;
    /* What "sqld call" does. NULL: no call is being served. */
    void (*run_cb)(struct client_context *context, int count, sqlite3_value **values);
    struct client_function *function; /* NULL: it is a column's */
    struct client_cursor *cursor;     /* of the column */
    int column, column_result;
    bool is_for_update; /* sqlite3_vtab_nochange(), unless there is a result */
    bool has_result;
    enum native_function_part part;
    uint64_t aggregate_number;
    struct client_auxiliary *auxiliaries;
    size_t auxiliary_count;
    size_t auxiliary_cap;
    struct client_pointer *pointer; /* sqlite3_result_pointer(), until it is known whether that is the result */
};

/* The preupdate hook is being called. */
struct client_preupdate {
    struct client_frame *frame;
    int op, depth, blob_column, column_count;
    const struct native_value *old_values; /* NULL: none */
    const struct native_value *new_values;
};

struct client_frame {
    struct client_remote *remote;
    struct client_calls *calls;
    uint8_t *body; /* invariant 2 */
    size_t body_cap;
    struct native_value *values;
    size_t value_cap;
    struct client_row call_rows[CLIENT_ROWS_CACHED_MAX + 1]; /* by their number of arguments; more in the last */
    struct client_row old_row, new_row;                      /* values alone */
    struct client_context context;
};

/* A function of the application. Freed by the shadow's destructor, which may come after `calls` is gone. */
struct client_function {
    struct client_calls *calls; /* NULL: gone */
    uint32_t number;
    enum native_function_kind kind;
    void *user_data;
    void (*scalar_cb)(sqlite3_context *, int, sqlite3_value **);
    void (*step_cb)(sqlite3_context *, int, sqlite3_value **);
    void (*final_cb)(sqlite3_context *);
    void (*value_cb)(sqlite3_context *);
    void (*inverse_cb)(sqlite3_context *, int, sqlite3_value **);
    void (*destroy_cb)(void *);
};

struct client_collation {
    struct client_calls *calls; /* NULL: gone */
    char *name;
    uint32_t number;
    int representation; /* SQLITE_UTF8, SQLITE_UTF16LE, SQLITE_UTF16BE */
    void *user_data;
    int (*compare_cb)(void *, int, const void *, int, const void *);
    void (*destroy_cb)(void *);
};

enum client_registration_kind {
    CLIENT_FUNCTION,
    CLIENT_COLLATION,
    CLIENT_OVERLOAD,
    CLIENT_MODULE,
    CLIENT_DROP_MODULES
};

/* What the server was told, in this order, and must be told again after a reconnection. */
struct client_registration {
    struct sq_list links;
    enum client_registration_kind kind;
    char *name;
    int argument_count;
    int representation;
    uint32_t number; /* 0: deleted */
    enum native_function_kind function_kind;
    int version;      /* of a module */
    uint32_t bits;    /* likewise */
    const void *body; /* of DROP_MODULES */
    size_t body_bytes;
};

/* Auxiliary data, which the server has by number until it says that it is not needed any more. */
struct client_kept {
    uint64_t number;
    void *object;
    void (*destroy_cb)(void *);
};

/* The memory of one group of an aggregate. */
struct client_aggregate {
    uint64_t number;
    int count; /* steps so far: sqlite3_aggregate_count() */
    void *memory;
};

/* The application's hooks, and what each was set with. */
struct client_hooks {
    int (*authorizer_cb)(void *, int, const char *, const char *, const char *, const char *);
    void *authorizer_data;
    int (*progress_cb)(void *);
    void *progress_data;
    int progress_instructions;
    int (*busy_cb)(void *, int);
    void *busy_data;
    int (*commit_cb)(void *);
    void *commit_data;
    void (*rollback_cb)(void *);
    void *rollback_data;
    void (*update_cb)(void *, int, const char *, const char *, sqlite3_int64);
    void *update_data;
    void (*preupdate_cb)(void *, sqlite3 *, int, const char *, const char *, sqlite3_int64, sqlite3_int64);
    void *preupdate_data;
    int (*wal_cb)(void *, sqlite3 *, const char *, int);
    void *wal_data;
    void (*needed_cb)(void *, sqlite3 *, int, const char *);
    void (*needed16_cb)(void *, sqlite3 *, int, const void *);
    void *needed_data;
    unsigned trace_mask; /* SQLITE_TRACE_…, and those of trace.c */
    int (*trace_cb)(unsigned, void *, void *, void *);
    void (*trace_v1_cb)(void *, const char *);
    void *trace_data;
    void (*profile_cb)(void *, const char *, sqlite3_uint64);
    void *profile_data;
};

struct client_calls {
    struct client_remote *remote;
    sqlite3 *values_db;                                 /* NULL: nobody has been called with values */
    struct client_frame *frames[NATIVE_CALL_DEPTH_MAX]; /* NULL: that deep nobody has been */
    size_t depth;
    struct client_row *row;             /* whose statement is being stepped */
    struct client_preupdate *preupdate; /* NULL: outside of the hook */
    uint32_t function_number;           /* the last one given; collations as well */
    struct sq_map functions;            /* u32 -> struct client_function */
    struct sq_map collations;           /* u32 -> struct client_collation */
    struct sq_map kept;                 /* u64 -> struct client_kept */
    struct sq_map aggregates;           /* u64 -> struct client_aggregate */
    struct client_pointer **results;    /* pointers that were results: client_calls_rest() */
    size_t result_count;
    size_t result_cap;
    struct sq_list registrations;
    struct sq_map modules;                  /* u32 -> struct client_module */
    struct sq_map tables;                   /* u64 -> struct client_table */
    struct sq_map cursors;                  /* u64 -> struct client_cursor */
    struct sq_list table_list, cursor_list; /* the same, newest first */
    int on_conflict;                        /* sqlite3_vtab_on_conflict() of the xUpdate that runs; 0: none does */
    struct client_hooks hooks;
};

/* --- calls.c --- */

/* The server has sent nonsense: ends the connection. */
void client_calls_malformed(struct client_frame *frame);
/* Answers with a number. */
void client_calls_answer(struct client_frame *frame, int32_t result);
/* Notes a pointer that is a result. False: no memory. */
bool client_calls_add_result(struct client_calls *calls, struct client_pointer *pointer);
/* It is none after all: takes it out and destroys it. NULL is allowed. */
void client_calls_drop_result(struct client_calls *calls, struct client_pointer *pointer);
/* Keeps `object` until the server gives `number` back; false: no memory, and nothing was destroyed. */
bool client_calls_keep(struct client_calls *calls, uint64_t number, void *object, void (*destroy_cb)(void *));
/* NULL: there is none of that number (any more). */
struct client_kept *client_calls_kept(struct client_calls *calls, uint64_t number);
/* Takes it out and destroys it. A number that is not there is none of our business: it was replaced. */
void client_calls_release(struct client_calls *calls, uint64_t number);
/* Notes what the server must be told again of `name`, instead of what was said before about the same thing; the name in
 * *what does not count, a body is copied. False: no memory. */
bool client_calls_register(struct client_calls *calls, const char *name, const struct client_registration *what);
void client_calls_unregister(struct client_registration *registration);

/* --- frame.c --- */

/* The frame for another call, with a copy of its message. NULL: no memory, or too deep. */
struct client_frame *client_frame_enter(struct client_calls *calls, const uint8_t *body, size_t length);
void client_frame_leave(struct client_frame *frame);
void client_frame_free(struct client_frame *frame);
/* Reads `count` values into frame->values, behind the first `offset` ones there. False: no memory, or there are not so
 * many. */
bool client_frame_read_values(struct client_frame *frame, struct pgwire_cursor *cursor, size_t offset, size_t count);
/* The next text as a C string, within the frame's message; NULL: NULL. */
const char *client_frame_read_text(struct client_frame *frame, struct pgwire_cursor *cursor);

/* Makes real values of `count` values: SQLITE_ROW, or an error that calls->values_db describes. They are the columns
 * of row->stmt, until client_row_close(). */
int client_row_open(struct client_frame *frame, struct client_row *row, const struct native_value *values,
                    size_t count);
/* Calls frame->context.run_cb, for an application's function with frame->values as arguments and frame->context: SQLITE_ROW, and the result
 * is the column of *ret_row; or the function's error, which calls->values_db describes. client_row_close() follows
 * in both cases. */
int client_row_call(struct client_frame *frame, size_t count, struct client_row **ret_row);
void client_row_close(struct client_row *row);

/* --- module.c --- */

/* Tell the server. SQLITE_OK or an error, which is recorded. */
int client_module_tell(struct client_remote *remote, const char *name, uint32_t number, int version, uint32_t bits);
int client_modules_tell_drop(struct client_remote *remote, const void *body, size_t bytes);
/* The server is gone: what it had of tables and cursors ends here. */
void client_tables_release(struct client_calls *calls);

/* --- function.c --- */

/* A result as the server is to have it; bytes are borrowed. `count`: of the arguments in frame->values. */
void client_call_value_of(struct client_frame *frame, size_t count, sqlite3_value *result,
                          struct native_value *ret_value);

/* The memory of a group; NULL: there is none, and with `is_wanted` no memory. */
struct client_aggregate *client_aggregate_find(struct client_calls *calls, uint64_t number, bool is_wanted);
void client_aggregate_free(struct client_calls *calls, uint64_t number);

/* --- hooks.c --- */

/* As they are at first: none is set. */
void client_hooks_init(struct client_hooks *hooks);
/* Tells the server which hooks are set. SQLITE_OK or an error, which is recorded. */
int client_hooks_send(struct client_remote *remote);
/* enum native_hook: those that are set. */
uint32_t client_hooks_set(const struct client_hooks *hooks);

/* --- trace.c --- */

/* The events that the server shall report. */
unsigned client_trace_events(const struct client_hooks *hooks);

/* --- Calls: each reads the message behind its kind, and answers --- */

typedef void client_call(struct client_frame *frame, struct pgwire_cursor *cursor);
client_call client_call_function, client_call_collation, client_call_authorizer, client_call_progress, client_call_busy,
    client_call_commit, client_call_rollback, client_call_update, client_call_preupdate, client_call_wal,
    client_call_collation_needed, client_call_trace, client_call_method, client_call_table_free,
    client_call_cursor_free, client_call_table_rollback;

#endif
