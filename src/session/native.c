/* session/native.c: native mode: its life in a session, requests to operations, work that has to wait, answers.
 *
 *     request ──► operation ──► answer
 *                    │            ▲
 *                    └──► work ───┘     run by service_run() if it is a statement; else between service_begin() and
 *                                       service_end(), after service_claim() if it writes
 *
 * Work goes as far as it can at once. At depth 0 what is left of it is gone on with by session_run(), as with a portal;
 * within a call of the client's functions it is waited for on the spot.
 *
 * Errors. A statement's failure is SQLite's own code and message, word for word. What stops it before SQLite has seen it
 * (the write slot was not to be had, a limit, a cancel request) gets the code that SQLite has for such a thing. Fatal ones
 * are said in the PostgreSQL protocol, and end the connection. */
#include "session/native_call.h"
#include "session/native_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/database.h"

enum {
    NATIVE_RETRY_US = 5 * SQ_US_PER_MS, /* a lock of another process has nobody to wake us */
};

sq_status native_start(struct session *session, struct sq_error *err)
{
    sq_assert(session->native == NULL && session->context.is_native);
    struct native *native = calloc(1, sizeof(*native));
    if (native == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    native->session = session;
    native->is_private = engine_database_is_private(session->context.database);
    native->is_readonly = session->context.is_opened_readonly;
    sq_map_init(&native->statements);
    sq_buf_init(&native->rows, session->row_bytes_max + NATIVE_BATCH_BYTES_MAX);
    struct query query = {.stage = QUERY_NEW};
    sq_status status = service_begin(session->service, &query, err, &native->connection);
    if (status == SQ_OK)
        status = service_end(session->service, &query, err);
    if (status != SQ_OK) {
        free(native);
        return status;
    }
    native->db = engine_connection_handle(native->connection);
    native_apply_settings(native);
    session->native = native;
    return SQ_OK;
}

void native_drop_work(struct native *native)
{
    struct session *session = native->session;
    struct sq_error ignored;
    /* The session ends: a failure of work that nobody waits for has no addressee. */
    for (; native->work != NULL; native->work = native->work->outer) {
        struct query *query = &native->work->query;
        sq_status status = native->work->do_cb == NULL ? service_finish(session->service, query, &ignored)
                                                       : service_end(session->service, query, &ignored);
        (void)status;
    }
    native_free_statements(native);
    if (native->blobs == NULL)
        return;
    struct query query = {.stage = QUERY_NEW};
    struct engine_connection *connection = NULL;
    if (service_begin(session->service, &query, &ignored, &connection) != SQ_OK)
        return; /* the database is out of service: nobody waits for it */
    native_blobs_free(native);
    sq_status status = service_end(session->service, &query, &ignored);
    (void)status;
}

void native_free(struct native *native)
{
    if (native == NULL)
        return;
    sq_assert(native->depth == 0);
    native_call_mute(native);
    native_drop_work(native);
    native_call_done(native);
    sq_map_done(&native->statements);
    sq_buf_done(&native->rows);
    free(native);
}

void native_apply_settings(struct native *native)
{
    const struct engine_native_settings *settings = engine_connection_native(native->connection);
    struct service_context *context = &native->session->context;
    context->busy_timeout_us =
        (native->hooks & NATIVE_HOOK_BUSY) != 0 ? 0 : (int64_t)settings->busy_timeout_ms * SQ_US_PER_MS;
    context->is_lazy =
        settings->synchronous == 0 ||
        settings_int64(&native->session->settings, SETTING_SYNCHRONOUS_COMMIT) == SETTING_SYNCHRONOUS_OFF;
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static bool is_error(int result)
{
    return result != SQLITE_OK && result != SQLITE_ROW && result != SQLITE_DONE;
}

size_t native_answer_begin_facts(struct native *native, int result, bool has_facts)
{
    struct engine_native_settings *settings = engine_connection_native(native->connection);
    struct native_answer answer = {
        .result = result,
        .has_tripped = settings->has_tripped,
        .is_autocommit = sqlite3_get_autocommit(native->db) != 0,
        .has_error = is_error(result),
        .has_facts = has_facts,
        .txn_state = (uint8_t)sqlite3_txn_state(native->db, NULL),
        .changes = sqlite3_changes64(native->db),
        .total_changes = sqlite3_total_changes64(native->db),
        .last_insert_rowid = sqlite3_last_insert_rowid(native->db),
        .generation = service_generation(native->session->service),
        .error_offset = -1,
    };
    if (answer.has_error) {
        const char *text = native->has_own_error ? native->own_error : sqlite3_errmsg(native->db);
        if (!native->has_own_error)
            answer.error_offset = sqlite3_error_offset(native->db);
        answer.message = (struct pgwire_bytes){(const uint8_t *)text, strlen(text)};
    }
    settings->has_tripped = false;
    native->has_own_error = false;
    native_outcome_note(native, &answer);
    native_call_flush(native);
    size_t offset = pgwire_begin(native->session->out, PGWIRE_NATIVE);
    native_put_answer(native->session->out, &answer);
    return offset;
}

size_t native_answer_begin(struct native *native, int result)
{
    return native_answer_begin_facts(native, result, false);
}

void native_answer_end(struct native *native, size_t offset)
{
    /* A client that has been called and has not come back will only be told why it must go. */
    if (SQ_UNLIKELY(native_call_is_dead(native)))
        sq_buf_truncate(native->session->out, offset);
    else
        pgwire_end(native->session->out, offset);
}

void native_answer(struct native *native, int result)
{
    native_answer_end(native, native_answer_begin(native, result));
}

void native_set_error(struct native *native, const char *text)
{
    snprintf(native->own_error, sizeof(native->own_error), "%s", text);
    native->has_own_error = true;
}

void native_answer_error(struct native *native, int result, const char *text)
{
    sq_assert(is_error(result));
    native_set_error(native, text);
    native_answer(native, result);
}

void native_answer_misuse(struct native *native)
{
    native_answer_error(native, SQLITE_MISUSE, sqlite3_errstr(SQLITE_MISUSE));
}

bool native_refuse_compiling(struct native *native)
{
    if (native->compile_count == 0)
        return false;
    native_answer_error(native, SQLITE_LOCKED, "not while a statement is being compiled");
    return true;
}

void native_malformed(struct native *native)
{
    struct sq_error err;
    (void)sq_fail(&err, SQ_PROTOCOL, "invalid native request");
    err.is_fatal = true;
    session_fail(native->session, &err);
}

/* SQLite's code for a failure of the server's own. */
static int code_of_status(const struct sq_error *err)
{
    if (strcmp(err->sqlstate, "25006") == 0)
        return SQLITE_READONLY;
    switch (err->status) {
    case SQ_NOMEM:
        return SQLITE_NOMEM;
    case SQ_BUSY:
        return SQLITE_BUSY;
    case SQ_CANCELED:
        return SQLITE_INTERRUPT;
    case SQ_LIMIT:
        return SQLITE_TOOBIG;
    case SQ_NOT_FOUND:
        return SQLITE_CANTOPEN;
    case SQ_IO:
        return SQLITE_IOERR;
    case SQ_CORRUPT:
        return SQLITE_CORRUPT;
    default:
        return SQLITE_ERROR;
    }
}

int native_result_of(struct native *native, const struct sq_error *err)
{
    struct engine_native_settings *settings = engine_connection_native(native->connection);
    if (settings->has_refused_file) {
        settings->has_refused_file = false;
        native_set_error(native, "VACUUM INTO cannot write files of the server's");
        return SQLITE_AUTH;
    }
    if (err->engine_code != 0 && err->engine_code == sqlite3_extended_errcode(native->db))
        return err->engine_code;
    int result = err->engine_code != 0 ? err->engine_code : code_of_status(err);
    /* sqlite3_interrupt() was meant; a time limit says what it is. */
    bool is_cancel = atomic_load(&native->session->context.stop.reason) == ENGINE_STOP_CANCEL;
    bool is_plain = result == SQLITE_NOMEM || result == SQLITE_BUSY || result == SQLITE_READONLY ||
                    (result == SQLITE_INTERRUPT && is_cancel);
    native_set_error(native, is_plain ? sqlite3_errstr(result) : err->text);
    return result;
}

bool native_is_fatal(struct native *native, struct sq_error *err)
{
    if (!err->is_fatal)
        return false;
    session_fail(native->session, err);
    return true;
}

/* --- Work --------------------------------------------------------------------------------------------------------- */

/* Whether the client's BUSY hook wants another try. SQLite does not call it when waiting would be for nothing. */
static bool is_busy_again(struct native *native, struct native_work *work, int result)
{
    return (native->hooks & NATIVE_HOOK_BUSY) != 0 && (result & 0xff) == SQLITE_BUSY &&
           result != SQLITE_BUSY_SNAPSHOT && work->query.row_count == 0 && native_call_busy(native, work->busy_count++);
}

/* The work has come to its end: answers. */
static void work_end(struct native *native, struct native_work *work, int result)
{
    sq_assert(native->work == work);
    native->work = work->outer;
    if (native->work == NULL)
        run_deactivate(native->session);
    work->answer_cb(native, work, result);
}

static void work_fatal(struct native *native, struct native_work *work)
{
    native->work = work->outer;
    if (native->work == NULL)
        run_deactivate(native->session);
}

/* One go at a statement. */
static enum query_progress run_statement(struct native *native, struct native_work *work, struct sq_error *err,
                                         int *ret_result)
{
    enum query_progress progress = service_run(native->session->service, &work->query, work->sink, err);
    *ret_result = progress == QUERY_DONE ? SQLITE_DONE : SQLITE_ROW;
    return progress;
}

/* One go at other work. */
static enum query_progress run_other(struct native *native, struct native_work *work, struct sq_error *err,
                                     int *ret_result)
{
    struct session *session = native->session;
    if (!work->has_claimed) {
        enum query_progress progress =
            work->is_readonly ? QUERY_DONE : service_claim(session->service, &work->query, err);
        if (progress != QUERY_DONE)
            return progress;
        work->has_claimed = true;
    }
    int result = work->do_cb(native, work);
    int64_t now_us = sq_clock_now_us();
    if (work->busy_since_us == 0)
        work->busy_since_us = now_us;
    if ((result & 0xff) != SQLITE_BUSY || now_us - work->busy_since_us >= session->context.busy_timeout_us) {
        *ret_result = result;
        return QUERY_DONE;
    }
    session->context.wake_at_us = now_us + NATIVE_RETRY_US;
    return QUERY_WAITING;
}

/* Goes on with the innermost work; DONE, FAILED and SUSPENDED: it has ended, and has been answered. */
static enum query_progress work_advance(struct native *native)
{
    struct session *session = native->session;
    struct native_work *work = native->work;
    struct sq_error err;
    int result = SQLITE_OK;
    session->context.wake_at_us = 0;
    bool is_statement = work->do_cb == NULL;
    enum query_progress progress =
        is_statement ? run_statement(native, work, &err, &result) : run_other(native, work, &err, &result);
    if (!query_progress_is_end(progress))
        return progress;
    if (progress == QUERY_FAILED)
        result = err.is_fatal ? SQLITE_ERROR : native_result_of(native, &err);
    bool is_fatal = progress == QUERY_FAILED && err.is_fatal;
    if (!is_fatal && is_busy_again(native, work, result)) {
        work->query.stage = QUERY_NEW;
        return QUERY_YIELDED;
    }
    struct sq_error lost;
    if (!is_statement && service_end(session->service, &work->query, &lost) != SQ_OK && !is_fatal) {
        err = lost;
        is_fatal = err.is_fatal;
        result = is_fatal ? SQLITE_ERROR : native_result_of(native, &err);
    }
    if (is_fatal) {
        work_fatal(native, work);
        session_fail(session, &err);
    } else {
        work_end(native, work, result);
    }
    return progress;
}

/* Within a call there is nobody to come back later. */
static void work_wait(struct native *native, const struct native_work *outer)
{
    while (native->work != outer) {
        if (work_advance(native) == QUERY_WAITING)
            native_call_wait(native, native->session->context.wake_at_us);
    }
}

static void work_begin(struct native *native, struct native_work *work)
{
    struct session *session = native->session;
    work->outer = native->work;
    native->work = work;
    if (work->outer == NULL) {
        run_release_brake(session);
        run_activate(session);
        session_set_activity(session, SESSION_ACTIVE);
        session->pause_deadline_us = 0;
    }
    if (native->depth > 0)
        work_wait(native, work->outer);
    else
        (void)work_advance(native); /* what it waits for, session_run() asks again */
}

void native_work_start(struct native *native, struct native_work *work, bool is_readonly)
{
    struct sq_error err;
    sq_assert(work->do_cb != NULL && work->answer_cb != NULL);
    work->is_readonly = is_readonly;
    struct engine_connection *connection = NULL;
    if (service_begin(native->session->service, &work->query, &err, &connection) != SQ_OK) {
        if (!native_is_fatal(native, &err))
            work->answer_cb(native, work, native_result_of(native, &err));
        return;
    }
    sq_assert(connection == native->connection);
    work_begin(native, work);
}

void native_work_run(struct native *native, struct native_work *work, struct sink *sink)
{
    sq_assert(work->do_cb == NULL && work->answer_cb != NULL && work->query.statement != NULL);
    work->sink = sink;
    work_begin(native, work);
}

/* --- In the session ------------------------------------------------------------------------------------------------ */

/* Nothing is being worked off any more. */
static void native_idle(struct native *native)
{
    struct session *session = native->session;
    if (native->work != NULL || native->depth > 0)
        return;
    native_call_check(native);
    if (session->state == SESSION_STATE_CLOSING)
        return;
    transaction_after_statement(session, NULL);
    session->idle_since_us = session->quiet_since_us = sq_clock_now_us();
    session_set_activity(session, session->txn == SESSION_TXN_NONE ? SESSION_IDLE : SESSION_IDLE_IN_TRANSACTION);
}

/* A request out of a call in which SQLite can bear none. */
static void answer_sealed(struct native *native, uint8_t number)
{
    native_set_error(native, "not within this method of a virtual table");
    size_t offset = native_answer_begin(native, SQLITE_LOCKED);
    if (number == NATIVE_STEP || number == NATIVE_PREPARE_STEP)
        sq_buf_put_u32(native->session->out, 0); /* rows */
    native_answer_end(native, offset);
}

void native_request(struct native *native, const struct pgwire_frame *frame)
{
    struct pgwire_cursor request = pgwire_cursor_make(frame->body, frame->body_length);
    uint8_t number = pgwire_get_u8(&request);
    native_op *op = native_find_op(number);
    bool may_call = native->may_call;
    /* Nobody waits for the answer to a one-way request, so nobody may be there to be called. */
    native->may_call = number != NATIVE_FINALIZE && number != NATIVE_RESET_ASYNC;
    if (native->may_call)
        native_outcome_count(native);
    native_call_turn(native);
    const struct native *before = native_module_enter(native);
    if (SQ_UNLIKELY(native->sealed_count > 0 && native->may_call))
        answer_sealed(native, number);
    else if (op != NULL && !request.is_failed)
        op(native, &request);
    else
        native_malformed(native);
    native_module_leave(before);
    native->may_call = may_call;
    native_idle(native);
}

enum session_want native_continue(struct session *session)
{
    struct native *native = session->native;
    session->pause_deadline_us = 0;
    native->may_call = true;
    const struct native *before = native_module_enter(native);
    enum query_progress progress = work_advance(native);
    native_module_leave(before);
    native->may_call = false;
    switch (progress) {
    case QUERY_WAITING:
        session->pause_deadline_us = session->context.wake_at_us;
        return SESSION_WAITING;
    case QUERY_SINK_FULL: /* no sink of ours says so */
    case QUERY_YIELDED:
        return SESSION_YIELDED;
    case QUERY_DONE:
    case QUERY_FAILED:
    case QUERY_SUSPENDED:
        break;
    }
    native_idle(native);
    return SESSION_NEED_INPUT;
}
