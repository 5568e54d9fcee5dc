/* session/native_call.c: calls: SQLite wants a function of the client's, in the middle of a statement.
 *
 *     sqlite3_step() ─► xFunc ─► native_call_begin, _exchange ──'r'──► client
 *                                       │ ◄──'y' a request── │  worked off here: native_request(), depth + 1
 *                                       │ ──'y' its answer──►│
 *                    value  ◄─ _end ◄───┘ ◄──'r' the answer──┘
 *
 * The thread is blocked meanwhile, and its event loop has gone to another one (struct session_wire). The message that is
 * being handled stays where it is: the input buffer is put aside with it until it has been handled, and what had come behind
 * it goes to a new one. `out` ends at the end of a message when SQLite is called.
 *
 * A client that does not come back in time (statement_timeout, a cancel request, the end of the server) cannot be brought
 * into step again, so its connection ends, as it does when it breaks the protocol or is gone. Calls are *dead* then: no
 * other is made, the statements that led to the call are interrupted, and nothing of theirs is committed.
 *
 * Invariants: (1) `depth` is the number of calls on the stack, NATIVE_CALL_DEPTH_MAX at most; the thread is taken
 * (enter_cb) as long as it is not 0; (2) the brake's time limit after a call is the one before it, whatever ran
 * within; (3) once dead, always dead: native_call_check() ends the session when the stack is empty. */
#include "session/native_call.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/native.h"

enum {
    NATIVE_UNSAID_BYTES_MAX = 16 << 20,
    NATIVE_LOOK_US = SQ_US_PER_S, /* between two looks whether somebody waits for what a silent client holds */
};

/* --- The message that is being handled -------------------------------------------------------------------------------- */

/* The message at the front of `in` is being handled: it must stay where it is. */
static bool keep_message(struct native_calls *calls)
{
    struct session *session = calls->native->session;
    struct sq_buf *in = session->in;
    size_t taken_bytes = session->taken_bytes;
    if (taken_bytes == 0)
        return true;
    sq_assert(calls->kept_count <= NATIVE_CALL_DEPTH_MAX && taken_bytes <= sq_buf_length(in));
    struct sq_buf rest;
    sq_buf_init(&rest, in->max);
    sq_buf_put(&rest, sq_buf_bytes(in) + taken_bytes, sq_buf_length(in) - taken_bytes);
    if (rest.is_failed) {
        sq_buf_done(&rest);
        return false;
    }
    calls->kept[calls->kept_count++] = *in;
    *in = rest;
    session->taken_bytes = 0;
    return true;
}

/* It has been handled; `kept_count` is what it was before. */
static void release_message(struct native_calls *calls, size_t kept_count)
{
    sq_assert(calls->kept_count <= kept_count + 1);
    if (calls->kept_count > kept_count)
        sq_buf_done(&calls->kept[--calls->kept_count]);
}

/* --- The end of all calls ------------------------------------------------------------------------------------------ */

/* `failure` NULL: there is nobody to be told. */
static int die(struct native_calls *calls, const struct sq_error *failure)
{
    struct native *native = calls->native;
    calls->is_dead = true;
    calls->refusal = "the client cannot be called any more";
    if (failure != NULL && !calls->has_failure) {
        calls->has_failure = true;
        calls->failure = *failure;
        calls->failure.is_fatal = true;
    }
    /* Whatever led to the call stops, if it has no reason to already. What the client will be told is `failure`. */
    int expected = ENGINE_STOP_NONE;
    if (failure == NULL)
        session_peer_gone(native->session);
    else
        atomic_compare_exchange_strong(&native->session->context.stop.reason, &expected, ENGINE_STOP_CANCEL);
    sqlite3_interrupt(native->db);
    return SQLITE_INTERRUPT;
}

static int die_of_nonsense(struct native_calls *calls, const char *what)
{
    struct sq_error err;
    sq_status status = sq_fail(&err, SQ_PROTOCOL, "%s", what);
    sq_assert(status != SQ_OK);
    return die(calls, &err);
}

void native_call_break(struct native_calls *calls)
{
    struct sq_error err;
    sq_status status = sq_fail_sql(&err, SQ_LIMIT, "53400", "%s", calls->refusal);
    sq_assert(status != SQ_OK);
    if (!calls->is_dead)
        (void)die(calls, &err);
}

bool native_call_is_dead(const struct native *native)
{
    return native->calls != NULL && native->calls->is_dead;
}

void native_call_check(struct native *native)
{
    if (native->depth > 0 || native->calls == NULL)
        return;
    release_message(native->calls, 0);
    native_module_bury(native->calls);
    if (!native->calls->is_dead || !native->calls->has_failure)
        return;
    native->calls->has_failure = false;
    if (native->session->state != SESSION_STATE_CLOSING)
        session_fail(native->session, &native->calls->failure);
}

/* --- Waiting ------------------------------------------------------------------------------------------------------- */

/* What the wire's failure means. */
static int lose(struct native_calls *calls, const struct sq_error *err)
{
    return die(calls, err->status == SQ_CLOSED ? NULL : err);
}

static int wait_until(struct native_calls *calls, enum session_wait what, int64_t until_us)
{
    struct session *session = calls->native->session;
    struct sq_error err;
    sq_error_clear(&err);
    sq_status status = session->wire->wait_cb(session->wire, what, &session->context.stop, until_us, &err);
    session->output_mark = sq_buf_length(session->out);
    return status == SQ_OK ? SQLITE_OK : lose(calls, &err);
}

static int wait_for_output(struct native_calls *calls)
{
    return wait_until(calls, SESSION_WAIT_OUTPUT, 0);
}

/* A client that keeps others from writing may be silent for no longer within a call than within a transaction
 * (docs/locking.md). */
static int wait_for_input(struct native_calls *calls)
{
    struct session *session = calls->native->session;
    size_t before = sq_buf_length(session->in);
    int64_t limit_us = settings_int64(&session->settings, SETTING_IDLE_IN_TRANSACTION_SESSION_TIMEOUT) * SQ_US_PER_MS;
    int64_t look_us = limit_us != 0 ? sq_clock_now_us() + limit_us : 0;
    int result = wait_until(calls, SESSION_WAIT_INPUT, look_us);
    while (result == SQLITE_OK && sq_buf_length(session->in) == before) {
        struct sq_error err;
        if (service_is_wanted(session->service)) {
            sq_status status =
                sq_fail_sql(&err, SQ_CANCELED, "25P03", "terminating connection due to idle-in-transaction timeout");
            sq_error_set_detail(&err, "Another session waits to write, and a function of the client does not return.");
            sq_assert(status != SQ_OK);
            return die(calls, &err);
        }
        result = wait_until(calls, SESSION_WAIT_INPUT, sq_clock_now_us() + NATIVE_LOOK_US);
    }
    return result;
}

void native_call_wait(struct native *native, int64_t wake_at_us)
{
    struct session *session = native->session;
    struct sq_error err;
    sq_assert(native->depth > 0 && native->calls != NULL);
    sq_error_clear(&err);
    sq_status status =
        session->wire->wait_cb(session->wire, SESSION_WAIT_WAKE, &session->context.stop, wake_at_us, &err);
    /* What waits looks at the brake itself. */
    if (status != SQ_OK && status != SQ_CANCELED)
        (void)lose(native->calls, &err);
}

/* --- Requests within a call ---------------------------------------------------------------------------------------- */

static int serve(struct native_calls *calls, const struct pgwire_frame *frame)
{
    struct session *session = calls->native->session;
    size_t kept_count = calls->kept_count;
    session->taken_bytes = frame->total_bytes;
    native_request(calls->native, frame);
    sq_buf_consume(session->in, session->taken_bytes);
    session->taken_bytes = 0;
    release_message(calls, kept_count);
    if (calls->is_dead || session->state == SESSION_STATE_CLOSING)
        return calls->is_dead ? SQLITE_INTERRUPT : die_of_nonsense(calls, "the session has ended");
    if (session->out->is_failed)
        return die_of_nonsense(calls, "out of memory for an answer");
    return sq_buf_length(session->out) < session->output_high_water ? SQLITE_OK : wait_for_output(calls);
}

/* Until the answer is there, at the front of `in`. */
static int await_answer(struct native_calls *calls, struct pgwire_frame *ret_frame)
{
    struct session *session = calls->native->session;
    int result = wait_for_output(calls);
    while (result == SQLITE_OK) {
        struct sq_error err;
        struct pgwire_frame frame;
        size_t needed = 0;
        session->input_hint = 0;
        switch (pgwire_frame_next(sq_buf_bytes(session->in), sq_buf_length(session->in), session->message_bytes_max,
                                  &err, &frame, &needed)) {
        case PGWIRE_FRAME_NEED_MORE:
            session->input_hint = needed - sq_buf_length(session->in);
            result = wait_for_input(calls);
            continue;
        case PGWIRE_FRAME_BAD:
            return die(calls, &err);
        case PGWIRE_FRAME_READY:
            break;
        }
        if (frame.type == PGWIRE_NATIVE_CALL) {
            *ret_frame = frame;
            return SQLITE_OK;
        }
        if (frame.type == PGWIRE_TERMINATE)
            return die(calls, NULL);
        result = frame.type == PGWIRE_NATIVE ? serve(calls, &frame)
                                             : die_of_nonsense(calls, "a call is answered, or a request is made first");
    }
    return result;
}

/* --- Calls --------------------------------------------------------------------------------------------------------- */

static void put_unsaid(struct native_calls *calls)
{
    struct sq_buf *unsaid = &calls->unsaid;
    if (SQ_LIKELY(sq_buf_length(unsaid) == 0))
        return;
    sq_buf_put(calls->native->session->out, sq_buf_bytes(unsaid), sq_buf_length(unsaid));
    sq_buf_truncate(unsaid, 0);
}

void native_call_flush(struct native *native)
{
    if (native->calls != NULL && !native->calls->is_dead)
        put_unsaid(native->calls);
}

void native_call_say(struct native_calls *calls, enum native_call kind, uint64_t number)
{
    size_t mark = sq_buf_length(&calls->unsaid);
    if (calls->is_dead)
        return;
    size_t offset = pgwire_begin(&calls->unsaid, PGWIRE_NATIVE_CALL);
    sq_buf_put_u8(&calls->unsaid, (uint8_t)kind);
    sq_buf_put_u64(&calls->unsaid, number);
    pgwire_end(&calls->unsaid, offset);
    if (calls->unsaid.is_failed) {
        sq_buf_truncate(&calls->unsaid, mark);
        (void)die_of_nonsense(calls, "too much is to be freed at once");
    }
}

static int refuse(struct native_calls *calls, int result, const char *why)
{
    calls->refusal = why;
    return result;
}

int native_call_begin(struct native_calls *calls, enum native_call kind, size_t *ret_offset)
{
    struct native *native = calls->native;
    struct session *session = native->session;
    if (calls->is_dead)
        return SQLITE_INTERRUPT;
    if (!native->may_call)
        return refuse(calls, SQLITE_ERROR, "functions of the client can be called within its requests only");
    if (native->depth >= NATIVE_CALL_DEPTH_MAX)
        return refuse(calls, SQLITE_ERROR, "too many levels of callbacks");
    if (!keep_message(calls))
        return refuse(calls, SQLITE_NOMEM, "out of memory for a callback");
    put_unsaid(calls);
    *ret_offset = pgwire_begin(session->out, PGWIRE_NATIVE_CALL);
    sq_buf_put_u8(session->out, (uint8_t)kind);
    return SQLITE_OK;
}

static int enter(struct native_calls *calls)
{
    struct session *session = calls->native->session;
    struct sq_error err;
    if (calls->native->depth == 0 && session->wire->enter_cb(session->wire, &err) != SQ_OK)
        return refuse(calls, SQLITE_ERROR, "too many callbacks at once");
    calls->native->depth++;
    return SQLITE_OK;
}

static void leave(struct native_calls *calls)
{
    struct session *session = calls->native->session;
    sq_assert(calls->native->depth > 0);
    if (--calls->native->depth == 0)
        session->wire->leave_cb(session->wire);
}

int native_call_exchange(struct native_calls *calls, size_t offset, struct pgwire_cursor *ret_answer)
{
    struct session *session = calls->native->session;
    pgwire_end(session->out, offset);
    int result = SQLITE_OK;
    if (session->out->is_failed)
        result = refuse(calls, session->out->is_over_max ? SQLITE_TOOBIG : SQLITE_NOMEM, "too much for one call");
    else
        result = enter(calls);
    if (result != SQLITE_OK) {
        sq_buf_truncate(session->out, offset);
        return result;
    }
    int64_t deadline_us = session->context.stop.deadline_us;
    struct pgwire_frame frame;
    result = await_answer(calls, &frame);
    session->context.stop.deadline_us = deadline_us;
    calls->turn++;
    leave(calls);
    if (result != SQLITE_OK)
        return result;
    session->taken_bytes = frame.total_bytes;
    *ret_answer = pgwire_cursor_make(frame.body, frame.body_length);
    return SQLITE_OK;
}

bool native_call_end(struct native_calls *calls, const struct pgwire_cursor *answer)
{
    struct session *session = calls->native->session;
    bool is_fine = pgwire_cursor_is_done(answer);
    if (!is_fine)
        (void)die_of_nonsense(calls, "the answer to a call makes no sense");
    sq_buf_consume(session->in, session->taken_bytes);
    session->taken_bytes = 0;
    return is_fine;
}

bool native_call_number(struct native_calls *calls, size_t offset, int32_t *ret_number)
{
    struct pgwire_cursor answer;
    if (native_call_exchange(calls, offset, &answer) != SQLITE_OK)
        return false;
    int32_t number = (int32_t)pgwire_get_u32(&answer);
    if (!native_call_end(calls, &answer))
        return false;
    *ret_number = number;
    return true;
}

/* The client answers what was not asked. */
void native_call_answered(struct native *native, const struct pgwire_frame *frame)
{
    sq_assert(frame->type == PGWIRE_NATIVE_CALL && native->depth == 0);
    native_malformed(native);
}

bool native_call_busy(struct native *native, uint32_t busy_count)
{
    struct native_calls *calls = native->calls;
    size_t offset = 0;
    int32_t number = 0;
    sq_assert(calls != NULL);
    if (native_call_begin(calls, NATIVE_CALL_BUSY, &offset) != SQLITE_OK)
        return false;
    sq_buf_put_u32(native->session->out, busy_count);
    return native_call_number(calls, offset, &number) && number != 0;
}

/* --- Values -------------------------------------------------------------------------------------------------------- */

bool native_call_value_of(sqlite3_value *value, struct native_value *ret_value)
{
    struct native_value out = {.value = {.kind = SQ_VALUE_NULL}};
    out.subtype = sqlite3_value_subtype(value);
    out.has_subtype = out.subtype != 0;
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        out.value.kind = SQ_VALUE_INTEGER;
        out.value.integer = sqlite3_value_int64(value);
        break;
    case SQLITE_FLOAT:
        out.value.kind = SQ_VALUE_REAL;
        out.value.real = sqlite3_value_double(value);
        break;
    case SQLITE_TEXT:
        out.value.kind = SQ_VALUE_TEXT;
        out.value.bytes.data = (const char *)sqlite3_value_text(value);
        out.value.bytes.length = (size_t)sqlite3_value_bytes(value);
        break;
    case SQLITE_BLOB:
        out.value.kind = SQ_VALUE_BLOB;
        out.value.bytes.data = sqlite3_value_blob(value);
        out.value.bytes.length = (size_t)sqlite3_value_bytes(value);
        break;
    default:
        out.number = (uint64_t)(uintptr_t)sqlite3_value_pointer(value, NATIVE_POINTER_TYPE);
        out.kind = out.number != 0 ? NATIVE_VALUE_POINTER : NATIVE_VALUE_PLAIN;
        out.has_subtype = out.has_subtype && out.number == 0; /* a pointer is one as SQLite keeps it */
        break;
    }
    *ret_value = out;
    bool has_bytes = out.value.kind == SQ_VALUE_TEXT || out.value.kind == SQ_VALUE_BLOB;
    return !has_bytes || out.value.bytes.data != NULL ||
           (out.value.bytes.length == 0 && out.value.kind == SQ_VALUE_BLOB);
}

static void put_value(struct sq_buf *buf, sqlite3_value *value, bool is_bound)
{
    struct native_value out;
    if (!native_call_value_of(value, &out)) {
        buf->is_failed = true;
        return;
    }
    out.is_bound = is_bound;
    native_put_any(buf, &out);
}

void native_call_put_value(struct sq_buf *buf, sqlite3_value *value)
{
    put_value(buf, value, false);
}

void native_call_put_argument(struct sq_buf *buf, sqlite3_value *value)
{
    put_value(buf, value, sqlite3_value_frombind(value) != 0);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

struct native_calls *native_calls_of(struct native *native)
{
    if (native->calls != NULL)
        return native->calls;
    struct native_calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return NULL;
    calls->native = native;
    sq_list_init(&calls->functions);
    sq_list_init(&calls->collations);
    sq_list_init(&calls->tokens);
    sq_list_init(&calls->modules);
    sq_list_init(&calls->gone);
    sq_buf_init(&calls->unsaid, NATIVE_UNSAID_BYTES_MAX);
    native->calls = calls;
    sqlite3_commit_hook(native->db, native_hook_commit, calls);
    engine_native_set_modules(native->connection, native_module_is_known, calls);
    return calls;
}

uint64_t native_plan_count(const struct native *native)
{
    return native->calls != NULL ? native->calls->plan_count : 0;
}

void native_call_turn(struct native *native)
{
    if (native->calls != NULL)
        native->calls->turn++;
}

bool native_may_call(struct native *native, sqlite3_stmt *stmt, bool has_planned)
{
    struct native_calls *calls = native->calls;
    /* What an authorizer sees of a statement does not depend on its rows. COMMIT only reads, SQLite says. */
    const uint32_t of_all = NATIVE_HOOK_PROGRESS | NATIVE_HOOK_TRACE;
    const uint32_t of_writers =
        NATIVE_HOOK_COMMIT | NATIVE_HOOK_ROLLBACK | NATIVE_HOOK_UPDATE | NATIVE_HOOK_PREUPDATE | NATIVE_HOOK_WAL;
    bool is_reader = sqlite3_stmt_readonly(stmt) != 0 && sqlite3_column_count(stmt) > 0;
    if (calls == NULL)
        return false;
    if ((native->hooks & (is_reader ? of_all : of_all | of_writers)) != 0)
        return true;
    /* It is not looked into the programs of those: to compile them once more would ask the client for plans again. */
    if (has_planned || (!is_reader && !sq_list_is_empty(&calls->modules)))
        return true;
    bool has_functions = !sq_list_is_empty(&calls->functions) || !sq_list_is_empty(&calls->collations);
    return has_functions && (!is_reader || native_function_is_used(calls, stmt));
}

static int refuse_commit(void *context)
{
    (void)context;
    return 1;
}

void native_call_mute(struct native *native)
{
    if (native->calls != NULL)
        native->calls->is_dead = true;
    /* What is left in its middle ends as if the client's process had: rolled back. */
    sqlite3_commit_hook(native->db, refuse_commit, NULL);
}

static void free_calls(struct native *native)
{
    struct native_calls *calls = native->calls;
    if (calls == NULL)
        return;
    calls->is_dead = true;
    native_hook_forget(calls);
    native_function_forget(calls);
    native_module_forget(calls);
    engine_native_set_modules(native->connection, NULL, NULL);
    release_message(calls, 0);
    sq_buf_done(&calls->unsaid);
    native->calls = NULL;
    free(calls);
}

void native_call_done(struct native *native)
{
    native_call_mute(native);
    native_blobs_free(native);
    native_image_free(native);
    free_calls(native);
}
