/* session/session.c: a session's life, and the loop that turns messages into work.
 *
 * session_run() repeats: finish what is being run; else finish what a COPY has brought; else go on with a Query; else
 * take the next message. Each step either moves on or says why it cannot. Nothing here blocks.
 *
 * Invariants:
 *   1. A message stays in `in` until it has been handled; handling copies what must outlive it.
 *   2. While `running` is set no further message is looked at: answers come in the order of the requests.
 *   3. `out` grows past the high-water mark by one row at most. It ends at the end of a message whenever session_run()
 *      returns, also when memory was short: then the connection ends.
 *   4. Every path that ends a statement, well or badly, goes through execute_complete() or session_fail().
 *   5. Nothing follows the answer to a client that is told to go (FATAL): whatever works for it has ended before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/database.h"
#include "engine/durability.h"
#include "metrics/metrics.h"
#include "session/native_internal.h"
#include "session/session_internal.h"
#include "session/walsender.h"

sq_status session_new(struct session_host *host, struct sq_waker *waker, struct session_wire *wire, const char *peer,
                      struct sq_error *err, struct session **ret_session)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    session->host = host;
    session->config = host->config_cb(host);
    session->waker = waker;
    session->wire = wire;
    session->row_bytes_max = session->config->max_row_bytes;
    session->message_bytes_max = session->config->max_message_bytes;
    session->output_high_water = session->config->output_buffer_bytes;
    session->startup_deadline_us = sq_clock_now_us() + session->config->authentication_timeout_us;
    settings_init(&session->settings);
    session->applied_revision = session->settings.revision - 1;
    notify_listener_init(&session->listener, waker);
    consistency_init(session);
    engine_durability_ticket_init(&session->durability_ticket, waker);
    statement_cache_init(&session->statement_cache, (size_t)session->config->statement_cache_size,
                         session->config->statement_cache_bytes);
    sq_map_init(&session->statements);
    sq_map_init(&session->portals);
    sq_arena_init(&session->message_arena);
    sq_list_init(&session->pending);
    sq_buf_init(&session->scratch, session->row_bytes_max);
    session->entry.session = session;
    snprintf(session->entry.peer, sizeof(session->entry.peer), "%s", peer);
    session_registry_add(host->sessions, &session->entry);
    session->context = (struct service_context){
        .connection_id = session->entry.pid,
        .registry = host->databases,
        .node = host->node,
        .waker = waker,
        .has_foreign_keys = session->config->foreign_keys,
        .slow_log_us = session->config->log_min_duration_statement_us,
        .connection_max = (size_t)session->config->max_connections,
        .role_connection_max = (size_t)session->config->max_connections_per_role,
        .database_connection_max = (size_t)session->config->max_connections_per_database,
        .functions = session_functions,
        .function_count = session_function_count,
        .function_context = session,
    };
    metrics_counter_add(METRICS_CONNECTIONS, 1);
    metrics_gauge_add(METRICS_CONNECTIONS_OPEN, 1);
    *ret_session = session;
    return SQ_OK;
}

/* Ends everything that uses the service; the service itself stays. */
static void session_drop_work(struct session *session)
{
    session->running = NULL;
    session->retrying = NULL;
    copy_abort(session);
    struct sq_error ignored;
    /* The client has gone or will be told of its own end: a failure of work that nobody waits for has no addressee. */
    sq_status closed = session_close_portals(session, true, &ignored);
    (void)closed;
    if (session->simple_portal != NULL) {
        sq_status stopped = portal_stop(session->simple_portal, &ignored);
        (void)stopped;
        portal_free(session->simple_portal);
        session->simple_portal = NULL;
    }
    session_close_statements(session);
    pending_drop(session);
}

struct engine_durability *session_durability(const struct session *session)
{
    return session->context.database != NULL ? engine_database_durability(session->context.database) : NULL;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    /* First of all: from here on no other thread finds the session. */
    session_registry_remove(session->host->sessions, &session->entry);
    session_registry_withdraw(session->host->sessions, &session->cancel);
    notify_listener_done(session->host->notify_hub, &session->listener);
    remote_free(session->remote);
    session->remote = NULL;
    consistency_done(session);
    session_drop_work(session);
    native_free(session->native);
    walsender_free(session->walsender);
    struct engine_durability *durability = session_durability(session);
    if (durability != NULL)
        engine_durability_withdraw(durability, &session->durability_ticket);
    statement_cache_clear(&session->statement_cache);
    portal_free_spare(session);
    sq_map_done(&session->statements);
    sq_map_done(&session->portals);
    service_free(session->service);
    native_outcome_end(session, durability);
    delegated_end(session, durability);
    engine_database_unref(session->context.database);
    settings_done(&session->settings);
    startup_forget(session);
    sq_arena_done(&session->message_arena);
    sq_buf_done(&session->scratch);
    free(session->user);
    free(session->database_name);
    config_free(session->config);
    metrics_gauge_add(METRICS_CONNECTIONS_OPEN, -1);
    free(session);
}

uint32_t session_pid(const struct session *session)
{
    return session->entry.pid;
}

void session_relocate(struct session *session, void *context, void (*move_cb)(void *context))
{
    sq_assert(session->state == SESSION_STATE_STARTED && !session->listener.is_listening);
    session_registry_hold(session->host->sessions, context, move_cb);
}

size_t session_input_hint(const struct session *session)
{
    return session->input_hint;
}

void session_set_activity(struct session *session, enum session_activity activity)
{
    if (atomic_load_explicit(&session->entry.activity, memory_order_relaxed) == (int)activity)
        return;
    atomic_store_explicit(&session->entry.activity, (int)activity, memory_order_relaxed);
    atomic_store_explicit(&session->entry.activity_us, sq_clock_wall_us(), memory_order_relaxed);
}

/* --- Being interrupted ------------------------------------------------------------------------------------------- */

bool session_cancel(struct session *session)
{
    bool is_active = atomic_load(&session->is_active);
    if (is_active) {
        int expected = ENGINE_STOP_NONE;
        atomic_compare_exchange_strong_explicit(&session->context.stop.reason, &expected, ENGINE_STOP_CANCEL,
                                                memory_order_relaxed, memory_order_relaxed);
        metrics_counter_add(METRICS_CANCELS, 1);
    }
    sq_waker_wake(session->waker);
    return is_active;
}

void session_interrupt(struct session *session, enum session_interrupt interrupt)
{
    if (interrupt == SESSION_INTERRUPT_CANCEL) {
        session_cancel(session);
        return;
    }
    int value = (int)interrupt + 1;
    /* Sequentially consistent: whoever lets the brake off after this store of the reason sees the interrupt. */
    int before = atomic_load(&session->interrupt);
    while (before < value && !atomic_compare_exchange_weak(&session->interrupt, &before, value))
        continue;
    if (interrupt == SESSION_INTERRUPT_TERMINATE)
        atomic_store(&session->context.stop.reason, ENGINE_STOP_SHUTDOWN);
    sq_waker_wake(session->waker);
}

void session_peer_gone(struct session *session)
{
    session->is_peer_gone = true;
    atomic_store_explicit(&session->context.stop.reason, ENGINE_STOP_SHUTDOWN, memory_order_relaxed);
}

uint64_t session_cancel_mark(struct session *session)
{
    return session_registry_cancel_mark(session->host->sessions, &session->entry);
}

void session_cancel_settle(struct session *session, uint64_t mark)
{
    if (session->state == SESSION_STATE_RELAYED)
        return; /* it passes them on first */
    session_registry_settle(session->host->sessions, &session->entry, mark);
}

/* --- Answers that are not rows ------------------------------------------------------------------------------------ */

void session_notice(struct session *session, const char *severity, const char *sqlstate, const char *text)
{
    if (strcmp(severity, "WARNING") == 0 &&
        settings_int64(&session->settings, SETTING_CLIENT_MIN_MESSAGES) > SETTING_MESSAGES_WARNING)
        return;
    if (strcmp(severity, "NOTICE") == 0 &&
        settings_int64(&session->settings, SETTING_CLIENT_MIN_MESSAGES) > SETTING_MESSAGES_NOTICE)
        return;
    struct pgwire_report report = {.severity = severity, .sqlstate = sqlstate, .message = text};
    pgwire_put_notice_response(session->out, &report);
}

sq_status session_output_check(struct session *session, size_t mark, struct sq_error *err)
{
    if (SQ_LIKELY(!session->out->is_failed))
        return SQ_OK;
    sq_status status = sq_buf_check(session->out, err);
    sq_buf_truncate(session->out, mark);
    return status;
}

/* Whether a limit of the server's has been reported within the last second: one line says it, a thousand hide the rest. */
static bool is_repeated(void)
{
    static _Atomic(int64_t) reported_us; /* relaxed: a line too many does no harm */
    int64_t now_us = sq_clock_now_us();
    int64_t before_us = atomic_load_explicit(&reported_us, memory_order_relaxed);
    if (before_us != 0 && now_us - before_us < SQ_US_PER_S)
        return true;
    atomic_store_explicit(&reported_us, now_us, memory_order_relaxed);
    return false;
}

void session_log_failure(const struct session *session, const struct sq_error *err)
{
    /* Errors of statements are the client's; what an operator must see is what the client did not cause. */
    bool is_serious = err->status == SQ_IO || err->status == SQ_CORRUPT || err->status == SQ_NOMEM ||
                      strncmp(err->sqlstate, "XX", 2) == 0 || strncmp(err->sqlstate, "53", 2) == 0;
    enum sq_log_level level = is_serious ? SQ_LOG_ERROR : err->is_fatal ? SQ_LOG_WARNING : SQ_LOG_DEBUG;
    if (strncmp(err->sqlstate, "53", 2) == 0 && is_repeated())
        level = SQ_LOG_DEBUG;
    if (!sq_log_is_on(level))
        return;
    char quoted[SQ_LOG_QUOTED_MAX];
    sq_log(level, "session", err->is_fatal ? "connection failed" : "statement failed",
           "conn=%u db=%s role=%s sqlstate=%s error=%s at=%s:%d", session->entry.pid,
           session->database_name != NULL ? session->database_name : "-",
           session->entry.user[0] ? session->entry.user : "-", err->sqlstate, sq_log_quote(quoted, err->text),
           err->file != NULL ? err->file : "?", err->line);
}

void session_fail(struct session *session, struct sq_error *err)
{
    session_log_failure(session, err);
    if (err->status == SQ_PROTOCOL) {
        metrics_counter_add(METRICS_PROTOCOL_ERRORS, 1);
    }
    remote_note_failure(session);
    copy_abort(session);
    transaction_after_error(session);
    if (session->state == SESSION_STATE_CLOSING)
        err->is_fatal = true; /* what it had begun could not be undone: the connection ends */
    struct pgwire_report report;
    pgwire_report_from_error(err, &report);
    pgwire_put_error_response(session->out, &report);
    if (session->out->is_failed)
        err->is_fatal = true; /* no memory even for the error: session_run() ends the connection */
    if (err->is_fatal) {
        session->state = SESSION_STATE_CLOSING;
        return;
    }
    if (session->state == SESSION_STATE_SIMPLE)
        simple_abort(session);
    else
        session->is_skipping = true;
}

static void send_changed_settings(struct session *session)
{
    struct settings_row row;
    while (settings_next_changed(&session->settings, &row)) {
        if (row.is_own)
            delegated_put_own_setting(session, &row);
        else
            pgwire_put_parameter_status(session->out, row.name, row.value);
        if (strcmp(row.name, "application_name") == 0)
            session_registry_label(session->host->sessions, &session->entry, NULL, NULL, row.value);
    }
}

/* Whatever is said now rests on everything that has been committed. */
void session_rest_on_now(struct session *session)
{
    struct engine_durability *durability = session_durability(session);
    if (durability == NULL)
        return;
    engine_position position = engine_durability_published(durability);
    if (position > session->context.rests_on)
        session->context.rests_on = position;
}

/* NotificationResponses are sent between commands only (manual, "Asynchronous Operations"). */
static void send_notifications(struct session *session)
{
    bool has_overflowed = false;
    struct notify_message *message;
    while ((message = notify_take(session->host->notify_hub, &session->listener, &has_overflowed)) != NULL) {
        session_rest_on_now(session); /* the commit that sent it */
        pgwire_put_notification(session->out, message->sender_pid, message->channel, message->payload);
        free(message);
    }
    if (has_overflowed)
        session_notice(session, "WARNING", "53400",
                       "notifications were dropped: this session did not read them in time");
}

void session_ready(struct session *session)
{
    if (settings_has_changed(&session->settings))
        send_changed_settings(session);
    bool is_idle = session->txn == SESSION_TXN_NONE;
    if (is_idle)
        send_notifications(session);
    if (session->delegated != NULL)
        delegated_before_ready(session);
    pgwire_put_ready_for_query(session->out, transaction_status(session));
    if (session->delegated != NULL)
        delegated_after_ready(session);
    consistency_end(session);
    if (session->state != SESSION_STATE_CLOSING)
        session->state = SESSION_STATE_READY;
    session->idle_since_us = session->quiet_since_us = sq_clock_now_us();
    session_set_activity(session, is_idle ? SESSION_IDLE : SESSION_IDLE_IN_TRANSACTION);
}

void session_apply_settings(struct session *session)
{
    if (SQ_LIKELY(session->applied_revision == session->settings.revision))
        return;
    session->applied_revision = session->settings.revision;
    struct service_context *context = &session->context;
    context->statement_timeout_us = settings_int64(&session->settings, SETTING_STATEMENT_TIMEOUT) * SQ_US_PER_MS;
    context->lock_timeout_us = settings_int64(&session->settings, SETTING_LOCK_TIMEOUT) * SQ_US_PER_MS;
    context->is_lazy = settings_int64(&session->settings, SETTING_SYNCHRONOUS_COMMIT) == SETTING_SYNCHRONOUS_OFF;
    context->is_read_only = settings_bool(&session->settings, SETTING_TRANSACTION_READ_ONLY);
    if (session->host->node != NULL)
        consistency_apply(session);
    if (session->native != NULL)
        native_apply_settings(session->native);
    session->holdup_limit_us =
        settings_int64(&session->settings, SETTING_IDLE_IN_TRANSACTION_SESSION_TIMEOUT) * SQ_US_PER_MS;
    session->idle_limit_us = settings_int64(&session->settings, SETTING_IDLE_SESSION_TIMEOUT) * SQ_US_PER_MS;
}

/* Whether something is being done that goes on by itself; it looks at the brake while it does. */
static bool is_working(const struct session *session)
{
    return session->running != NULL || session->retrying != NULL || copy_in_has_work(session) ||
           (session->native != NULL && session->native->work != NULL) || remote_is_busy(session) ||
           consistency_is_waiting(&session->consistency);
}

/* --- Time limits ------------------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t first_us, int64_t second_us)
{
    if (first_us == 0)
        return second_us;
    return second_us != 0 && second_us < first_us ? second_us : first_us;
}

/* When a session that keeps others from writing while its client is silent has to end; 0: never. Nobody is ended for a
 * lock that nobody wants: see docs/locking.md. */
static int64_t holdup_deadline_us(const struct session *session)
{
    if (session->quiet_since_us == 0 || session->service == NULL || is_working(session))
        return 0;
    int64_t limit_us = session->holdup_limit_us;
    return limit_us != 0 && service_is_wanted(session->service) ? session->quiet_since_us + limit_us : 0;
}

/* When a session that is idle outside a transaction has to end; 0: never. */
static int64_t idle_deadline_us(const struct session *session)
{
    if (session->state != SESSION_STATE_READY || session->idle_since_us == 0 || session->txn != SESSION_TXN_NONE ||
        is_working(session))
        return 0;
    return session->idle_limit_us != 0 ? session->idle_since_us + session->idle_limit_us : 0;
}

int64_t session_deadline_us(const struct session *session)
{
    if (session->state == SESSION_STATE_STARTUP || session->state == SESSION_STATE_STARTED)
        return session->startup_deadline_us;
    if (session->state == SESSION_STATE_CANCELING)
        return session->cancel_deadline_us;
    if (session->walsender != NULL && walsender_is_streaming(session->walsender))
        return walsender_deadline_us(session->walsender);
    if (is_working(session))
        return earlier(session->context.stop.deadline_us, session->pause_deadline_us);
    return earlier(earlier(holdup_deadline_us(session), idle_deadline_us(session)), rest_deadline_us(session));
}

bool session_is_resting(const struct session *session)
{
    return session->is_resting;
}

/* Gives back at once what others wait for: the client may not read the error for a while. */
static void drop_transaction(struct session *session)
{
    struct sq_error ignored;
    copy_abort(session);
    sq_status closed = session_close_portals(session, true, &ignored);
    if (session->native != NULL)
        native_drop_work(session->native);
    sq_status undone = transaction_rollback(session, &ignored);
    (void)closed; /* the connection ends, and with it whatever could not be undone here */
    (void)undone;
}

static void end_idle(struct session *session, const char *sqlstate, const char *text, const char *detail)
{
    struct sq_error err;
    sq_status status = sq_fail_sql(&err, SQ_CANCELED, sqlstate, "%s", text);
    sq_assert(status != SQ_OK);
    if (detail != NULL)
        sq_error_set_detail(&err, "%s", detail);
    err.is_fatal = true;
    session_fail(session, &err);
}

/* Ends a session whose client has been silent for too long. */
static void check_idle(struct session *session)
{
    int64_t holdup_us = holdup_deadline_us(session);
    int64_t idle_us = idle_deadline_us(session);
    if (holdup_us == 0 && idle_us == 0)
        return;
    int64_t now_us = sq_clock_now_us();
    if (holdup_us != 0 && now_us >= holdup_us) {
        drop_transaction(session);
        end_idle(session, "25P03", "terminating connection due to idle-in-transaction timeout",
                 "Another session waits to write. The transaction has been rolled back.");
    } else if (idle_us != 0 && now_us >= idle_us) {
        end_idle(session, "57P05", "terminating connection due to idle-session timeout", NULL);
    }
}

/* Looks at what other threads have asked for. */
static void check_interrupt(struct session *session)
{
    int value = atomic_load_explicit(&session->interrupt, memory_order_relaxed);
    if (value == 0 || session->state == SESSION_STATE_CLOSING)
        return;
    if (session->state == SESSION_STATE_CANCELING) {
        session->state = SESSION_STATE_CLOSING; /* nobody reads here */
        return;
    }
    bool is_terminate = value == (int)SESSION_INTERRUPT_TERMINATE + 1;
    /* What works notices by itself, through the brake; draining lets a transaction come to its end. */
    if (is_working(session) || (!is_terminate && (session->state == SESSION_STATE_SIMPLE || session->copy_in != NULL)))
        return;
    if (!is_terminate && (session->txn != SESSION_TXN_NONE || sq_buf_length(session->in) > 0))
        return;
    if (remote_native_end(session))
        return;
    struct sq_error err;
    sq_status status = engine_stop_fail(&err, ENGINE_STOP_SHUTDOWN);
    sq_assert(status != SQ_OK);
    session_fail(session, &err);
}

/* --- The loop ---------------------------------------------------------------------------------------------------- */

/* Messages of native mode; to others, a client that has not asked for it must not send them. */
static void handle_native(struct session *session, const struct pgwire_frame *frame)
{
    struct sq_error err;
    if (session->native == NULL || session->copy_in != NULL) {
        (void)sq_fail(&err, SQ_PROTOCOL, "unexpected message of native mode");
        err.is_fatal = true;
        session_fail(session, &err);
    } else if (frame->type == PGWIRE_NATIVE) {
        native_request(session->native, frame);
    } else {
        native_call_answered(session->native, frame);
    }
}

static void handle_message(struct session *session, const struct pgwire_frame *frame)
{
    if (session->walsender != NULL && frame->type != PGWIRE_TERMINATE) {
        walsender_message(session->walsender, frame);
        return;
    }
    if (frame->type == PGWIRE_NATIVE || frame->type == PGWIRE_NATIVE_CALL) {
        handle_native(session, frame);
        return;
    }
    if (session->copy_in != NULL) {
        copy_in_message(session, frame);
        return;
    }
    if (session->is_skipping && frame->type != PGWIRE_SYNC && frame->type != PGWIRE_TERMINATE)
        return;
    struct sq_error err;
    switch (frame->type) {
    case PGWIRE_QUERY:
        simple_begin(session, frame);
        return;
    case PGWIRE_TERMINATE:
        if (session->delegated != NULL)
            delegated_note_goodbye(session);
        session->state = SESSION_STATE_CLOSING;
        return;
    case PGWIRE_COPY_DATA:
    case PGWIRE_COPY_DONE:
    case PGWIRE_COPY_FAIL:
        /* What was on its way when COPY failed is dropped (manual, "COPY Operations"). */
        return;
    case PGWIRE_FUNCTION_CALL:
        (void)sq_fail_sql(&err, SQ_SQL, "0A000", "function calls by the fast-path protocol are not supported");
        sq_error_set_hint(&err, "Use SELECT function(…).");
        session_fail(session, &err);
        session->is_skipping = false;
        session_ready(session);
        return;
    case PGWIRE_PASSWORD:
        (void)sq_fail(&err, SQ_PROTOCOL, "unexpected password message");
        err.is_fatal = true;
        session_fail(session, &err);
        return;
    default:
        extended_message(session, frame);
        return;
    }
}

/* Whether the message is done here; else it has been taken, or stays (false) until what *ret_want says. */
static enum remote_way route_message(struct session *session, const struct pgwire_frame *frame,
                                     enum session_want *ret_want)
{
    enum session_want want = SESSION_NEED_INPUT;
    if (SQ_LIKELY(session->host->node == NULL))
        return REMOTE_HERE;
    enum remote_way way = remote_message(session, frame, &want);
    if (way == REMOTE_LATER)
        *ret_want = want;
    return way;
}

/* Takes the next message from `in`; false if there is no whole one, or it has to wait: *ret_want. */
static bool take_message(struct session *session, enum session_want *ret_want)
{
    struct pgwire_frame frame;
    struct sq_error err;
    size_t needed = 0;
    session->input_hint = 0;
    switch (pgwire_frame_next(sq_buf_bytes(session->in), sq_buf_length(session->in), session->message_bytes_max, &err,
                              &frame, &needed)) {
    case PGWIRE_FRAME_NEED_MORE:
        session->input_hint = needed - sq_buf_length(session->in);
        return false;
    case PGWIRE_FRAME_BAD:
        err.is_fatal = true;
        session_fail(session, &err);
        return true;
    case PGWIRE_FRAME_READY:
        break;
    }
    session->idle_since_us = session->quiet_since_us = 0;
    session_apply_settings(session);
    session->is_resting = false;
    enum remote_way way = route_message(session, &frame, ret_want);
    if (way == REMOTE_LATER)
        return false;
    session->taken_bytes = frame.total_bytes;
    if (way == REMOTE_HERE)
        handle_message(session, &frame);
    /* Within a call of the client's functions it has made room for their answers already: native_call.c. */
    sq_buf_consume(session->in, session->taken_bytes);
    session->taken_bytes = 0;
    return true;
}

/* The same for the next statement of a Query. */
static enum remote_way route_query(struct session *session, enum session_want *ret_want)
{
    if (SQ_LIKELY(session->host->node == NULL))
        return REMOTE_HERE;
    enum session_want want = SESSION_NEED_INPUT;
    enum remote_way way = remote_query(session, &want);
    if (way == REMOTE_LATER)
        *ret_want = want;
    return way;
}

/* One step of work; SESSION_NEED_INPUT with *ret_has_moved true means: go on. */
static enum session_want session_step(struct session *session, bool *ret_has_moved)
{
    *ret_has_moved = true;
    if (session->running != NULL)
        return run_continue(session);
    if (session->retrying != NULL)
        return commands_retry(session);
    if (copy_in_has_work(session))
        return copy_in_continue(session);
    if (session->native != NULL && session->native->work != NULL)
        return native_continue(session);
    enum session_want want = SESSION_NEED_INPUT;
    if (SQ_UNLIKELY(remote_is_busy(session))) {
        want = remote_continue(session);
        if (want != SESSION_NEED_INPUT || !remote_is_busy(session))
            return want;
    }
    switch (session->state) {
    case SESSION_STATE_STARTUP:
        *ret_has_moved = false;
        return startup_run(session);
    case SESSION_STATE_STARTED:
        startup_finish(session);
        return SESSION_NEED_INPUT;
    case SESSION_STATE_SIMPLE:
        if (session->copy_in == NULL && !remote_is_copying(session)) {
            session_apply_settings(session);
            if (route_query(session, &want) == REMOTE_HERE)
                simple_next(session);
            return want;
        }
        break;
    case SESSION_STATE_READY:
        break;
    case SESSION_STATE_RELAYED:
        *ret_has_moved = false;
        return remote_native_continue(session);
    case SESSION_STATE_CANCELING:
        return startup_cancel(session);
    case SESSION_STATE_CLOSING:
        return SESSION_CLOSE;
    }
    *ret_has_moved = take_message(session, &want);
    if (*ret_has_moved || session->walsender == NULL || !walsender_is_streaming(session->walsender))
        return want;
    walsender_give(session->walsender);
    return SESSION_DUPLEX;
}

static bool is_idle_listener(const struct session *session)
{
    return session->listener.is_listening && session->state == SESSION_STATE_READY && session->running == NULL &&
           session->txn == SESSION_TXN_NONE && !session->is_skipping;
}

/* Whether `out` has to be sent before anything else is done. A statement that is to stop (cancelled, out of time) does
 * not wait for a client that does not read: it ends, gives its locks back, and its error goes behind the rows. */
static bool is_output_full(struct session *session)
{
    if (sq_buf_length(session->out) < session->output_high_water || session->state == SESSION_STATE_CLOSING)
        return false;
    if (session->walsender != NULL && walsender_is_streaming(session->walsender))
        return false; /* what comes is read nevertheless: it looks at the mark itself */
    if (is_working(session) && engine_stop_check(&session->context.stop) != ENGINE_STOP_NONE)
        return false;
    /* Waking up before the client has read something would be for nothing, again and again. */
    session->pause_deadline_us = 0;
    return true;
}

/* What is in `out` now is whole. */
static void note_output(struct session *session)
{
    if (SQ_UNLIKELY(session->delegated != NULL) && !session->out->is_failed)
        delegated_note_output(session);
    session->output_mark = sq_buf_length(session->out);
}

/* As far as it goes without waiting; stops when a message did not fit into memory. */
static enum session_want session_advance(struct session *session)
{
    const struct sq_buf *out = session->out;
    /* Who sends a cancel request need not wait for its effect. */
    if (session->is_peer_gone && session->running == NULL && session->state != SESSION_STATE_CANCELING)
        return SESSION_CLOSE;
    check_interrupt(session);
    check_idle(session);
    rest_check(session);
    enum session_want want = SESSION_NEED_INPUT;
    bool has_moved = true;
    while (want == SESSION_NEED_INPUT && (has_moved || remote_listen(session)) && !out->is_failed) {
        note_output(session);
        if (is_output_full(session))
            return SESSION_OUTPUT_FULL;
        want = session_step(session, &has_moved);
        if (session->state == SESSION_STATE_CLOSING && session->running == NULL)
            want = SESSION_CLOSE;
    }
    if (out->is_failed)
        return SESSION_CLOSE;
    note_output(session);
    if (want == SESSION_NEED_INPUT && is_idle_listener(session))
        send_notifications(session);
    if (want == SESSION_NEED_INPUT && session->delegated != NULL)
        delegated_report(session);
    if (want == SESSION_NEED_INPUT) {
        if (session->quiet_since_us == 0)
            session->quiet_since_us = sq_clock_now_us(); /* in the middle of a pipeline, a COPY or a message */
        check_interrupt(session);
    }
    if (session->state == SESSION_STATE_CLOSING && session->running == NULL)
        want = SESSION_CLOSE;
    session_apply_settings(session); /* the time limits that hold while nothing is done */
    return want;
}

enum session_want session_run(struct session *session, struct sq_buf *in, struct sq_buf *out)
{
    session->in = in;
    session->out = out;
    session->output_mark = sq_buf_length(out);
    enum session_want want = session_advance(session);
    if (SQ_LIKELY(!out->is_failed)) {
        note_output(session);
        return want;
    }
    /* A message is missing or cut in two, and the client would wait for it or read nonsense: the end, after what is whole. */
    sq_log(SQ_LOG_ERROR, "session", "connection closed", "conn=%u reason=\"no memory for an answer\"",
           session->entry.pid);
    sq_buf_truncate(out, session->output_mark);
    session->state = SESSION_STATE_CLOSING;
    return SESSION_CLOSE;
}
