/* session/native_internal.h: native mode (docs/protocol.md) as its own files see it.
 *
 *   native.c            life, dispatch, answers, work that has to wait
 *   native_ops.c        the table of operations
 *   native_statement.c  PREPARE, STEP, RESET, FINALIZE, EXPAND, STMT_STATUS
 *   native_call.c       calls of the client's functions: native_call.h
 *   native_function.c   functions and collations          native_hook.c    hooks
 *   native_module.c, native_method.c, native_plan.c, native_cursor.c       virtual tables: native_table.h
 *   native_blob.c       incremental blobs                  native_image.c   whole databases
 *   native_settings.c   what is asked about, and set in, a connection: 0x10 to 0x1C
 *   native_outcome.c    what became of a session's last request: OUTCOME
 *
 * A session in native mode has a `struct native`, and one SQLite connection for all of its life. Every request that is not
 * one-way ends in exactly one answer, which is written whole: native_answer_begin() … native_answer_end(), or one of the
 * short forms. What may have to wait (for the write slot) is *work*: it is begun by the operation and answers when it is
 * done; until then no further request is looked at.
 *
 * Nesting. While SQLite calls a function of the client's, the client may send requests. They come through
 * native_request() as all do, with `depth` > 0, and are answered before it returns: work then waits on the spot. So no
 * operation may keep anything in the session's output or arenas across a call into SQLite; its own message stays. */
#ifndef SQ_SESSION_NATIVE_INTERNAL_H
#define SQ_SESSION_NATIVE_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/map.h"
#include "pgwire/cursor.h"
#include "pgwire/native.h"
#include "sched/service.h"
#include "session/session_internal.h"

enum {
    NATIVE_BATCH_BYTES_MAX = 16 << 20,   /* of rows in one answer; one row more may be behind */
    NATIVE_BATCH_US = 20 * SQ_US_PER_MS, /* then an answer is given with the rows that there are */
    NATIVE_BUFFER_KEEP_BYTES = 64 << 10,
    NATIVE_BATCH_KEEP_BYTES = 256 << 10, /* while a statement is in its middle */
};

struct native;
struct native_blobs;
struct native_calls;
struct native_image;
struct native_statement;

/* A client's pointer, bound as a parameter or a result, is a pointer of this type for SQLite; its value is the client's
 * number, and nobody follows it. */
#define NATIVE_POINTER_TYPE "sqld-client"
static inline void *native_pointer_of(uint64_t number)
{
    _Static_assert(sizeof(void *) >= sizeof(number), "a pointer of the client's is kept in one of ours");
    return (void *)(uintptr_t)number; // NOLINT(performance-no-int-to-ptr): it is none
}

/* Something that may have to wait for the write slot. Embedded in what it belongs to, or on the heap. */
struct native_work {
    struct query query;
    /* What is done, with the slot held if it writes; NULL: a statement is run. SQLite's result; SQLITE_BUSY: a lock was in
     * the way, and it is called again as long as BUSY_TIMEOUT allows. */
    int (*do_cb)(struct native *native, struct native_work *work);
    /* Answers, when the work is done or has failed; after it nobody touches the work. `result` is SQLite's; the error's
     * text is where native_answer_begin() finds it. */
    void (*answer_cb)(struct native *native, struct native_work *work, int result);
    struct native_work *outer; /* what is being worked off farther out, when calls nest */
    uint32_t busy_count;       /* calls of the BUSY hook */
    struct sink *sink;         /* of a statement */
    bool is_readonly;          /* of other work: needs no slot */
    bool has_claimed;          /* has it, or needs none */
    int64_t busy_since_us;     /* when it was done for the first time */
};

struct native {
    struct session *session;
    struct engine_connection *connection; /* the service's; there from the start to the end */
    sqlite3 *db;                          /* the same, for those who speak SQLite */
    bool is_private;                      /* a database in memory, of this session alone */
    bool is_readonly;
    bool may_call;      /* a request is being worked off: functions of the client may be called */
    bool is_explaining; /* what is being compiled is an EXPLAIN */
    /* Calls that wait out of which no request may be worked off, and out of which none may take a database away: they came
     * while SQLite compiles or makes a table. */
    unsigned sealed_count, compile_count;
    unsigned depth;           /* calls that wait for their answers */
    struct sq_map statements; /* u32 -> struct native_statement */
    struct native_work *work; /* the innermost that has begun and not answered; NULL: none */
    uint32_t hooks;           /* enum native_hook: those that are set */
    struct sq_buf rows;       /* of the statement that runs outermost, until its answer is whole */
    /* An error that is not SQLite's own but stands for one; for the next answer with a result that is an error. */
    char own_error[SQ_ERROR_TEXT_MAX];
    bool has_own_error;
    struct native_calls *calls; /* NULL until there are such things; owned by native_call.c … */
    struct native_blobs *blobs;
    struct native_image *image;
};

/* --- native.c --- */

/* After the service was made: session->native. On failure nothing is left. */
SQ_MUST_USE sq_status native_start(struct session *session, struct sq_error *err);
/* Everything that uses the connection goes: statements, blobs, functions. NULL is allowed. */
void native_free(struct native *native);
/* Gives back at once what others wait for: all statements go. The session is about to end. */
void native_drop_work(struct native *native);
/* What the connection's settings mean to the services; after what may have changed them, and in session_apply_settings(). */
void native_apply_settings(struct native *native);

/* A message of type 'y'. At depth 0 work may be left in native->work: session_run() calls native_continue(). */
void native_request(struct native *native, const struct pgwire_frame *frame);
enum session_want native_continue(struct session *session);

/* Operations: `request` is what follows the operation's number. They read all of it, and if it makes no sense
 * (!pgwire_cursor_is_done()) they call native_malformed() and do nothing else. */
typedef void native_op(struct native *native, struct pgwire_cursor *request);
/* The request makes no sense: FATAL 08P01. */
void native_malformed(struct native *native);

/* Begins an answer: writes the head as the connection is now. With a result other than 0, 100 and 101 the error follows: its
 * text is native_set_error()'s, else SQLite's own. The operation's own fields follow in session->out. */
size_t native_answer_begin(struct native *native, int result);
size_t native_answer_begin_facts(struct native *native, int result, bool has_facts);
void native_answer_end(struct native *native, size_t offset);
/* An answer that is nothing but that. */
void native_answer(struct native *native, int result);
/* An answer that is an error of the server's own making, like SQLITE_MISUSE for a number that names nothing. */
void native_answer_error(struct native *native, int result, const char *text);
/* A number that names nothing, a statement that is in use: SQLITE_MISUSE. */
void native_answer_misuse(struct native *native);
/* Answers SQLITE_LOCKED, and is true, to what cannot be done out of a call that came while a statement was being compiled. */
bool native_refuse_compiling(struct native *native);
/* The text of the next error, if SQLite has none for it. */
void native_set_error(struct native *native, const char *text);
/* What a failure that is not fatal is in SQLite's terms; sets the error's text if it is not SQLite's. */
int native_result_of(struct native *native, const struct sq_error *err);
/* Whether the failure ends the connection; it has been said then. */
bool native_is_fatal(struct native *native, struct sq_error *err);

/* Begins work; `work` was zeroed and has do_cb and answer_cb set. It may be done when this returns. */
void native_work_start(struct native *native, struct native_work *work, bool is_readonly);
/* The same for a statement: query.statement is set. */
void native_work_run(struct native *native, struct native_work *work, struct sink *sink);

/* The statement of that number, or NULL. */
struct native_statement *native_find_statement(struct native *native, uint32_t number);
/* The number of a statement of SQLite's, for TRACE; 0: none of the client's. */
uint32_t native_statement_number(struct native *native, const sqlite3_stmt *stmt);

/* --- native_outcome.c --- */

/* From here on the session's outcome can be asked for, if its client has given it a key. */
SQ_MUST_USE sq_status native_outcome_begin(struct session *session, struct sq_error *err);
/* A request of the client's that is not one-way, and comes within no call. */
void native_outcome_count(struct native *native);
/* It is answered: what the answer says. */
void native_outcome_note(struct native *native, const struct native_answer *answer);
void native_outcome_note_rows(struct native *native, uint32_t row_count);
/* The session has ended: everything is rolled back, and its locks are gone. Waits for the disk. */
void native_outcome_end(struct session *session, struct engine_durability *durability);

/* --- native_ops.c --- */

/* NULL: there is no such operation. */
native_op *native_find_op(uint8_t number);

/* --- native_statement.c, native_settings.c --- */
native_op native_op_prepare, native_op_step, native_op_prepare_step, native_op_reset, native_op_finalize,
    native_op_expand, native_op_stmt_status, native_op_reset_async, native_op_close;
native_op native_op_column_metadata, native_op_txn_state, native_op_set_rowid, native_op_limit, native_op_db_config,
    native_op_db_status, native_op_checkpoint, native_op_busy_timeout, native_op_databases, native_op_attach,
    native_op_release_memory, native_op_data_version, native_op_interrupt_clear, native_op_outcome;
void native_free_statements(struct native *native);

/* --- native_call.c and its neighbours: functions, hooks, blobs, images --- */
native_op native_op_function, native_op_collation, native_op_hooks, native_op_overload;
native_op native_op_module, native_op_drop_modules, native_op_declare_vtab, native_op_vtab_config, native_op_disconnect;
native_op native_op_blob_open, native_op_blob_read, native_op_blob_write, native_op_blob_reopen, native_op_blob_close;
native_op native_op_image_open, native_op_image_read, native_op_image_close, native_op_image_put, native_op_image_data,
    native_op_image_done;
/* Whether a statement may call functions of the client's; `has_planned`: while it was compiled, tables of the client's were
 * asked for plans. It compiles: no answer may have been begun. */
bool native_may_call(struct native *native, sqlite3_stmt *stmt, bool has_planned);
/* This thread works off a request of that session from here on; what it did before comes back with leave. */
const struct native *native_module_enter(const struct native *native);
void native_module_leave(const struct native *before);
/* Whether the client has modules of its own. */
bool native_module_is_any(const struct native *native);
/* How often their tables were asked for plans so far. */
uint64_t native_plan_count(const struct native *native);
/* The client may have done something: what is known of its tables may be out of date. */
void native_call_turn(struct native *native);
/* When no call is open: ends the session if a call has failed for good. */
void native_call_check(struct native *native);
/* What is to be told to the client without an answer goes before the next message. */
void native_call_flush(struct native *native);
/* A message of type 'r' from the client. */
void native_call_answered(struct native *native, const struct pgwire_frame *frame);
/* Calls BUSY: whether to try again. Only with that hook set. */
bool native_call_busy(struct native *native, uint32_t busy_count);
/* Waits, within a call, until the session's waker is called or the time has come (monotonic, 0: no limit). */
void native_call_wait(struct native *native, int64_t wake_at_us);
/* Nobody is called any more; before what a session has left is undone. */
void native_call_mute(struct native *native);
/* Whether a call has failed for good: answers are dropped. */
bool native_call_is_dead(const struct native *native);
/* Frees calls, blobs and images; statements are still there. */
void native_call_done(struct native *native);

#endif
