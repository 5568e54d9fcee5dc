/* session/execute.c: running portals and answering for them.
 *
 * A run is begun, continued by session_run() as often as it takes, and answered when it stops:
 *
 *   purpose     rows go                    at its end                         at a row limit
 *   SIMPLE      to the client, described   CommandComplete                    -
 *   EXECUTE     to the client              CommandComplete                    PortalSuspended
 *   DESCRIBE    the first one is held      RowDescription                     RowDescription
 *   FETCH       to the client              CommandComplete "FETCH n"          the same
 *   MOVE        nowhere                    CommandComplete "MOVE n"           the same
 *   COPY_OUT    to the client as CopyData  CopyDone, CommandComplete "COPY n" -
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "pgwire/pgtype.h"
#include "session/session_internal.h"

/* --- Rows -------------------------------------------------------------------------------------------------------- */

static sq_status encode_value(struct sq_buf *out, uint32_t oid, uint8_t format, const struct sq_value *value,
                              struct sq_error *err)
{
    if (value->kind == SQ_VALUE_NULL) {
        pgwire_put_null(out);
        return SQ_OK;
    }
    /* Text as text needs no conversion. */
    if (value->kind == SQ_VALUE_TEXT && (format == PGWIRE_FORMAT_TEXT || oid == PGTYPE_TEXT) && oid != PGTYPE_BOOL) {
        pgwire_put_value(out, value->bytes.data, value->bytes.length);
        return SQ_OK;
    }
    size_t offset = pgwire_value_begin(out);
    sq_status status =
        format == PGWIRE_FORMAT_TEXT ? pgtype_put_text(out, oid, value) : pgtype_put_binary(out, oid, value, err);
    if (status != SQ_OK && out->is_failed)
        return SQ_OK; /* the buffer says it, when the row is complete */
    SQ_TRY(status);
    pgwire_value_end(out, offset);
    return SQ_OK;
}

/* One DataRow. On failure `out` is as it was. */
static sq_status encode_row(struct session *session, struct sq_buf *out, const struct sq_value *values,
                            uint64_t row_number, struct sq_error *err)
{
    const struct prepared *prepared = session->sink.portal->prepared;
    const uint8_t *formats = session->sink.formats;
    size_t mark = sq_buf_length(out);
    size_t row = pgwire_put_data_row_begin(out, prepared->column_count);
    for (size_t i = 0; i < prepared->column_count; i++) {
        uint8_t format = formats != NULL ? formats[i] : PGWIRE_FORMAT_TEXT;
        sq_status status = encode_value(out, prepared->column_oids[i], format, &values[i], err);
        if (SQ_UNLIKELY(status != SQ_OK)) {
            sq_buf_truncate(out, mark);
            if (err->detail[0] == '\0')
                sq_error_set_detail(err, "Row %llu, column %zu (\"%.100s\").", (unsigned long long)row_number, i + 1,
                                    prepared->column_names[i]);
            return status;
        }
    }
    pgwire_end(out, row);
    size_t row_bytes = sq_buf_length(out) - mark;
    if (SQ_LIKELY(!out->is_failed && row_bytes <= session->row_bytes_max))
        return SQ_OK;
    bool is_nomem = out->is_failed && !out->is_over_max;
    sq_buf_truncate(out, mark);
    if (is_nomem)
        return sq_fail(err, SQ_NOMEM, "out of memory for a row of the result");
    sq_status status = sq_fail(err, SQ_LIMIT, "row %llu of the result is too large", (unsigned long long)row_number);
    sq_error_set_hint(err, "max-row-size is %zu bytes: ask for less, or cut large values with substr().",
                      session->row_bytes_max);
    return status;
}

/* The description that goes before the first row, or instead of one. */
static sq_status describe_run(struct session *session, const struct sq_value *first_row, struct sq_error *err)
{
    struct row_sink *sink = &session->sink;
    struct prepared *prepared = sink->portal->prepared;
    SQ_TRY(prepared_resolve_columns(prepared, first_row, err));
    if (!sink->has_described && prepared->column_count > 0) {
        size_t mark = sq_buf_length(session->out);
        prepared_describe_columns(prepared, sink->formats, session->out);
        SQ_TRY(session_output_check(session, mark, err));
    }
    sink->has_described = true;
    return SQ_OK;
}

static sq_status on_row(struct sink *base, const struct sq_value *values, size_t column_count, struct sq_error *err)
{
    struct row_sink *sink = SQ_CONTAINER_OF(base, struct row_sink, base);
    struct session *session = sink->session;
    struct portal *portal = sink->portal;
    if (SQ_UNLIKELY(sink->row_count++ == 0 && portal->query.statement->has_changed))
        SQ_TRY(portal_follow_change(portal, err));
    switch (sink->purpose) {
    case RUN_MOVE:
        return SQ_OK;
    case RUN_COPY_OUT:
        SQ_TRY(copy_out_row(session, values, column_count, err));
        break;
    case RUN_DESCRIBE:
        SQ_TRY(prepared_resolve_columns(portal->prepared, values, err));
        SQ_TRY(encode_row(session, &portal->held_row, values, 1, err));
        portal->has_held_row = true;
        return SQ_OK;
    case RUN_SIMPLE:
    case RUN_EXECUTE:
    case RUN_FETCH:
        if (SQ_UNLIKELY(!sink->has_described || !portal->prepared->is_frozen))
            SQ_TRY(describe_run(session, values, err));
        SQ_TRY(encode_row(session, session->out, values, portal->query.row_count + 1, err));
        break;
    }
    base->is_full = sq_buf_length(session->out) >= session->output_high_water;
    return SQ_OK;
}

/* --- Runs -------------------------------------------------------------------------------------------------------- */

/* The brake is let off for a new statement, unless somebody wants the whole session to end. */
void run_release_brake(struct session *session)
{
    /* The order matters against session_interrupt(), which sets `interrupt` before the brake: sequentially consistent. */
    if (atomic_load(&session->context.stop.reason) != ENGINE_STOP_NONE)
        atomic_store(&session->context.stop.reason, ENGINE_STOP_NONE);
    if (atomic_load(&session->interrupt) == (int)SESSION_INTERRUPT_TERMINATE + 1)
        atomic_store(&session->context.stop.reason, ENGINE_STOP_SHUTDOWN);
    session->context.stop.deadline_us = 0;
}

static bool sends_description(const struct session *session, enum run_purpose purpose)
{
    return purpose == RUN_SIMPLE || (purpose == RUN_FETCH && session->state == SESSION_STATE_SIMPLE);
}

void run_activate(struct session *session)
{
    atomic_store(&session->is_active, true);
    if (session_registry_settle(session->host->sessions, &session->entry, UINT64_MAX) > 0)
        session_cancel(session);
}

void run_deactivate(struct session *session)
{
    atomic_store(&session->is_active, false);
    session->context.stop.deadline_us = 0;
}

void run_begin(struct session *session, struct portal *portal, enum run_purpose purpose, uint64_t row_limit)
{
    sq_assert(session->running == NULL);
    sq_assert(portal->state == PORTAL_READY || portal->state == PORTAL_SUSPENDED);
    session->sink = (struct row_sink){
        .base = {.row_cb = on_row},
        .session = session,
        .portal = portal,
        .formats = portal->formats,
        .purpose = purpose,
        .has_described = !sends_description(session, purpose),
    };
    run_release_brake(session);
    run_activate(session);
    session->pause_deadline_us = 0;
    session->running = portal;
    portal->state = PORTAL_RUNNING;
    portal->query.row_limit = row_limit;
    portal->query.verb = prepared_verb(portal->prepared);
    portal->query.text = portal->prepared->sql;
    atomic_store_explicit(&session->entry.verb, portal->query.verb, memory_order_relaxed);
    session_set_activity(session, SESSION_ACTIVE);
}

/* A first row that Describe has fetched goes out first. False: the limit is reached with it. */
static bool send_held_row(struct session *session, struct portal *portal, struct sq_error *err, sq_status *ret_status)
{
    struct row_sink *sink = &session->sink;
    portal->has_held_row = false;
    *ret_status = SQ_OK;
    if (sink->purpose != RUN_MOVE) {
        size_t mark = sq_buf_length(session->out);
        sq_buf_put(session->out, sq_buf_bytes(&portal->held_row), sq_buf_length(&portal->held_row));
        *ret_status = session_output_check(session, mark, err);
    }
    sq_buf_truncate(&portal->held_row, 0);
    sq_buf_shrink(&portal->held_row, 0);
    sink->row_count++;
    if (portal->query.row_limit == 0)
        return true;
    return --portal->query.row_limit > 0;
}

void execute_complete(struct session *session, const char *tag)
{
    pgwire_put_command_complete(session->out, tag);
}

/* CommandComplete of a portal's statement. */
static void complete_portal(struct session *session, const struct portal *portal)
{
    const struct prepared *prepared = portal->prepared;
    uint64_t row_count = session->sink.row_count;
    char tag[SQL_COMMAND_TAG_MAX];
    switch (session->sink.purpose) {
    case RUN_FETCH:
    case RUN_MOVE:
        pgwire_put_command_complete_count(session->out, session->sink.purpose == RUN_FETCH ? "FETCH" : "MOVE",
                                          row_count);
        return;
    case RUN_COPY_OUT:
        pgwire_put_command_complete_count(session->out, "COPY", row_count);
        return;
    default:
        break;
    }
    if (prepared->tag != NULL) {
        execute_complete(session, prepared->tag);
        return;
    }
    bool is_change = prepared->shape.verb == SQL_VERB_INSERT || prepared->shape.verb == SQL_VERB_REPLACE ||
                     prepared->shape.verb == SQL_VERB_UPDATE || prepared->shape.verb == SQL_VERB_DELETE;
    /* An Execute that is not the first counts the rows of RETURNING that it has sent, as PostgreSQL's does. */
    bool is_first = portal->query.row_count == row_count;
    if (is_change && !prepared->shape.is_explain && is_first)
        row_count = (uint64_t)portal->query.changes;
    size_t length = sql_command_tag(&prepared->shape, row_count, tag);
    execute_complete(session, length > 0 ? tag : "OK");
}

static sq_status answer_done(struct session *session, struct portal *portal, struct sq_error *err)
{
    enum run_purpose purpose = session->sink.purpose;
    if (purpose == RUN_DESCRIBE) {
        SQ_TRY(prepared_resolve_columns(portal->prepared, NULL, err));
        prepared_describe_columns(portal->prepared, portal->formats, session->out);
        return SQ_OK;
    }
    if (purpose == RUN_COPY_OUT)
        SQ_TRY(copy_out_end(session, err));
    else if (!session->sink.has_described)
        SQ_TRY(describe_run(session, NULL, err));
    SQ_TRY(commands_after(session, portal->prepared, err));
    complete_portal(session, portal);
    return SQ_OK;
}

static sq_status answer_suspended(struct session *session, struct portal *portal, struct sq_error *err)
{
    switch (session->sink.purpose) {
    case RUN_DESCRIBE:
        prepared_describe_columns(portal->prepared, portal->formats, session->out);
        break;
    case RUN_EXECUTE:
        pgwire_put_portal_suspended(session->out);
        break;
    default:
        if (!session->sink.has_described)
            SQ_TRY(describe_run(session, NULL, err));
        complete_portal(session, portal);
        break;
    }
    return SQ_OK;
}

/* The run has stopped for good or for the client. */
static void run_end(struct session *session, enum query_progress progress, struct sq_error *err)
{
    struct portal *portal = session->running;
    session->running = NULL;
    session->executing = portal;
    run_deactivate(session);
    session->idle_since_us = 0;
    sq_status status = SQ_OK;
    switch (progress) {
    case QUERY_SUSPENDED:
        portal->state = PORTAL_SUSPENDED;
        status = answer_suspended(session, portal, err);
        break;
    case QUERY_DONE:
        portal->state = PORTAL_DONE;
        /* No row came, so formats do not matter. */
        if (SQ_UNLIKELY(portal->query.statement->has_changed && portal->formats == NULL))
            status = portal_follow_change(portal, err);
        sq_status stopped_done = portal_stop(portal, status == SQ_OK ? err : NULL);
        status = status == SQ_OK ? stopped_done : status;
        if (status == SQ_OK)
            status = answer_done(session, portal, err);
        break;
    default:
        portal->state = PORTAL_FAILED;
        status = err->status;
        sq_assert(status != SQ_OK);
        /* The query has ended: nothing is left that could fail. */
        sq_status stopped = portal_stop(portal, NULL);
        (void)stopped;
        break;
    }
    if (status != SQ_OK) {
        if (progress != QUERY_FAILED)
            portal->state = PORTAL_FAILED;
        session_fail(session, err);
    } else if (progress == QUERY_DONE) {
        transaction_after_statement(session, portal->prepared);
    }
    session->executing = NULL;
}

sq_status run_nothing(struct session *session, struct portal *portal, const uint8_t *formats, enum run_purpose purpose,
                      struct sq_error *err)
{
    session->sink = (struct row_sink){
        .session = session,
        .portal = portal,
        .formats = formats,
        .purpose = purpose,
        .has_described = !sends_description(session, purpose),
    };
    if (!session->sink.has_described)
        SQ_TRY(describe_run(session, NULL, err));
    complete_portal(session, portal);
    return SQ_OK;
}

enum session_want run_continue(struct session *session)
{
    struct portal *portal = session->running;
    struct sq_error err;
    sq_error_clear(&err);
    if (portal->has_held_row && session->sink.purpose != RUN_DESCRIBE) {
        sq_status status = SQ_OK;
        bool wants_more = send_held_row(session, portal, &err, &status);
        if (status != SQ_OK || !wants_more) {
            run_end(session, status != SQ_OK ? QUERY_FAILED : QUERY_SUSPENDED, &err);
            return SESSION_NEED_INPUT;
        }
    }
    session->sink.base.is_full = false;
    session->context.wake_at_us = 0;
    session->pause_deadline_us = 0;
    enum query_progress progress = service_run(session->service, &portal->query, &session->sink.base, &err);
    switch (progress) {
    case QUERY_WAITING:
        session->pause_deadline_us = session->context.wake_at_us;
        return SESSION_WAITING;
    case QUERY_SINK_FULL:
        return SESSION_OUTPUT_FULL;
    case QUERY_YIELDED:
        return SESSION_YIELDED;
    case QUERY_DONE:
    case QUERY_FAILED:
    case QUERY_SUSPENDED:
        break;
    }
    run_end(session, progress, &err);
    return SESSION_NEED_INPUT;
}

/* --- Executing a portal, whatever it is --------------------------------------------------------------------------- */

/* A portal that has been run to its end gives no more rows; one that changes something cannot be run twice. */
static sq_status execute_again(struct session *session, struct portal *portal, struct sq_error *err)
{
    if (portal->state == PORTAL_DONE && portal->prepared->column_count > 0) {
        session->sink = (struct row_sink){.session = session, .portal = portal, .purpose = RUN_EXECUTE};
        complete_portal(session, portal);
        return SQ_OK;
    }
    return sq_fail_sql(err, SQ_SQL, "55000", "portal \"%s\" cannot be run", portal->name);
}

static sq_status execute_ready(struct session *session, struct portal *portal, enum run_purpose purpose,
                               uint64_t row_limit, struct sq_error *err)
{
    struct prepared *prepared = portal->prepared;
    SQ_TRY(transaction_check(session, prepared, err));
    if (prepared->command.kind == COMMAND_EMPTY) {
        pgwire_put_empty_query_response(session->out);
        return SQ_OK;
    }
    session_set_activity(session, SESSION_ACTIVE);
    run_release_brake(session);
    session_apply_settings(session);
    if (prepared->sql == NULL) {
        const char *tag = NULL;
        SQ_TRY(commands_execute(session, portal, purpose, row_limit, err, &tag));
        if (tag == NULL)
            return SQ_OK; /* it answers later */
        execute_complete(session, tag);
        portal->state = PORTAL_DONE;
        transaction_after_statement(session, prepared);
        return SQ_OK;
    }
    bool is_waiting = false;
    SQ_TRY(commands_wait_position(session, portal, purpose, row_limit, err, &is_waiting));
    if (is_waiting)
        return SQ_OK;
    bool is_skipped = false;
    SQ_TRY(commands_before(session, portal, err, &is_skipped));
    if (is_skipped) {
        execute_complete(session, prepared->tag);
        portal->state = PORTAL_DONE;
        return SQ_OK;
    }
    SQ_TRY(portal_start(portal, err));
    run_begin(session, portal, purpose, row_limit);
    return SQ_OK;
}

void execute_portal(struct session *session, struct portal *portal, enum run_purpose purpose, uint64_t row_limit)
{
    struct sq_error err;
    sq_status status = SQ_OK;
    if (portal->child != NULL) {
        execute_portal(session, portal->child, purpose, row_limit);
        return;
    }
    /* What it does may close portals (COMMIT, CLOSE ALL), but not the one that is doing it. */
    struct portal *outer = session->executing;
    session->executing = portal;
    switch (portal->state) {
    case PORTAL_READY:
        status = execute_ready(session, portal, purpose, row_limit, &err);
        break;
    case PORTAL_SUSPENDED:
        run_begin(session, portal, purpose, row_limit);
        break;
    case PORTAL_DONE:
    case PORTAL_FAILED:
        status = execute_again(session, portal, &err);
        break;
    case PORTAL_RUNNING:
        sq_assert(false);
    }
    if (status != SQ_OK) {
        portal->state = PORTAL_FAILED;
        session_fail(session, &err);
    }
    session->executing = outer;
}
