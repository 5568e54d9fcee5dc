/* session/native_call.h: calls from SQLite into the client's process (docs/protocol.md, "Calls"), for the files that make
 * them: native_call.c, native_function.c, native_hook.c, and those of virtual tables (native_table.h).
 *
 *     size_t offset;
 *     if (native_call_begin(calls, NATIVE_CALL_COMMIT, &offset) == SQLITE_OK) {
 *         sq_buf_put_…(calls->native->session->out, …);
 *         if (native_call_exchange(calls, offset, &answer) == SQLITE_OK) {
 *             … pgwire_get_…(&answer) …
 *             native_call_end(calls, &answer);
 *         }
 *     }
 *
 * Between exchange and end nothing else touches the session's input. Threads: the session's. */
#ifndef SQ_SESSION_NATIVE_CALL_H
#define SQ_SESSION_NATIVE_CALL_H

#include <string.h>

#include "base/list.h"
#include "session/native_internal.h"

struct native_module;

enum { NATIVE_SHADOW_MODULES_MAX = 16 };

struct native_calls {
    struct native *native;
    /* Nobody can be called any more: the client is gone, or has broken the protocol, or did not come back in time. */
    bool is_dead;
    bool has_failure; /* … and this is what it will be told */
    struct sq_error failure;
    const char *refusal;       /* why the last call could not be made: constant */
    struct sq_list functions;  /* struct native_function */
    struct sq_list collations; /* struct native_collation */
    struct sq_list tokens;     /* struct native_token: auxiliary data that SQLite holds for the client */
    struct sq_list modules;    /* struct native_module */
    struct sq_list gone;       /* struct native_table: SQLite has let go of them while they were being called */
    const struct native_module *shadow_modules[NATIVE_SHADOW_MODULES_MAX]; /* those with xShadowName */
    struct sq_buf unsaid;      /* calls without an answer, for the next message */
    uint64_t aggregate_number; /* the last one given */
    uint64_t table_number;     /* the last one given, to tables and their cursors */
    uint64_t plan_count;       /* calls of xBestIndex: what is compiled meanwhile uses a table of the client's */
    uint64_t turn;             /* grows whenever the client may have done something */
    /* Input whose front is a message that is still being handled; the last is the innermost. */
    struct sq_buf kept[NATIVE_CALL_DEPTH_MAX + 1];
    size_t kept_count;
};

/* A call's bytes behind its kind follow in session->out. Otherwise: SQLite's result code, and `refusal`. */
int native_call_begin(struct native_calls *calls, enum native_call kind, size_t *ret_offset);
/* Sends the call and waits for its answer; the client's requests are worked off meanwhile. On failure there is nothing to
 * be ended. */
int native_call_exchange(struct native_calls *calls, size_t offset, struct pgwire_cursor *ret_answer);
/* The answer has been read. False: it makes no sense, and the session will end. */
bool native_call_end(struct native_calls *calls, const struct pgwire_cursor *answer);
/* The rest of a call whose answer is a number. False: there is none. */
bool native_call_number(struct native_calls *calls, size_t offset, int32_t *ret_number);
/* A call without an answer: goes with the next message. */
void native_call_say(struct native_calls *calls, enum native_call kind, uint64_t number);

/* The connection's calls, made on first use; NULL without memory. */
struct native_calls *native_calls_of(struct native *native);

/* A hook that cannot refuse was not told: the session ends. */
void native_call_break(struct native_calls *calls);
/* A result code that the client's code has given, as SQLite may see it: never SQLITE_OK, and nothing by which the server
 * itself goes (a failed sync takes the database out of service). */
int native_client_code(struct native_calls *calls, int code);

/* A C string of a request's text, to be freed; NULL: NULL or no memory. What is behind a NUL is not a part of it. */
static inline char *native_text_copy(const struct pgwire_bytes *text)
{
    return text->data != NULL ? strndup((const char *)text->data, text->length) : NULL;
}

/* A value as a column of a call. */
void native_call_put_value(struct sq_buf *buf, sqlite3_value *value);
/* What it is for the client; bytes are borrowed. False: SQLite had no memory to show it. */
bool native_call_value_of(sqlite3_value *value, struct native_value *ret_value);
/* As an argument: says, too, whether it was a parameter of the statement. */
void native_call_put_argument(struct sq_buf *buf, sqlite3_value *value);
/* What one of the client's has given, as the result of a function or column. */
void native_call_give_value(sqlite3_context *context, const struct native_value *given);
void native_call_give_error(struct native_calls *calls, sqlite3_context *context, int code,
                            const struct pgwire_bytes *message);

/* --- native_blob.c, native_image.c --- */
void native_blobs_free(struct native *native);
void native_image_free(struct native *native);

/* --- native_function.c --- */
/* Whether a function or collation of the client's is in the program of a statement that reads. */
bool native_function_is_used(struct native_calls *calls, sqlite3_stmt *stmt);
/* Functions and collations stay in SQLite until it lets go of them, but call nobody any more. */
void native_function_forget(struct native_calls *calls);

struct native_function;
/* One of the client's functions of that number, which is not registered: SQLite calls native_function_scalar() with it as
 * its user data (sqlite.org/vtab.html, xFindFunction). NULL: no memory. */
struct native_function *native_function_new(struct native_calls *calls, const char *name, uint32_t number);
uint32_t native_function_number(const struct native_function *function);
void native_function_free(struct native_function *function);
void native_function_scalar(sqlite3_context *context, int count, sqlite3_value **arguments);

/* --- native_module.c --- */
/* Whether `name` is a module of the client's. */
bool native_module_is_known(void *calls, const char *name);
/* Frees tables that are gone: when nothing is being worked off. */
void native_module_bury(struct native_calls *calls);
/* Modules and tables stay in SQLite until it lets go of them, but call nobody any more. */
void native_module_forget(struct native_calls *calls);

/* --- native_hook.c --- */
void native_hook_forget(struct native_calls *calls);
/* sqlite.org/c3ref/commit_hook.html; always there, so that nothing is committed that a dead client's callback was to see. */
int native_hook_commit(void *context);

#endif
