/* session/remote_relay.c: what the primary says, and who hears it. See remote_internal.h for the queue of what was asked. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "pgclient/pgclient.h"
#include "session/remote_internal.h"

enum {
    RELAY_CANCEL_US = 2 * SQ_US_PER_S, /* for the primary to take a cancel request */
    RELAY_OBEY_US = 5 * SQ_US_PER_S,   /* and for the statement to end then */
};

static struct remote_entry *first_entry(struct remote *remote)
{
    return remote->entry_count > 0 ? &remote->entries[remote->entry_first] : NULL;
}

static void put_frame(struct session *session, const struct pgwire_frame *frame)
{
    size_t message = pgwire_begin(session->out, frame->type);
    sq_buf_put(session->out, frame->body, frame->body_length);
    pgwire_end(session->out, message);
}

/* --- What comes at any time ---------------------------------------------------------------------------------------- */

/* "NUMBER POSITION": docs/protocol.md. */
static sq_status take_position(struct remote *remote, const char *value, struct sq_error *err)
{
    char *end = NULL;
    unsigned long long number = strtoull(value, &end, 10);
    struct wal_position position;
    bool is_known = *end == ' ' && position_parse(end + 1, &position);
    if (end == value || (!is_known && strcmp(end, " -") != 0) ||
        (number > remote->command_count && !remote->is_replaying))
        return sq_fail(err, SQ_PROTOCOL, "the primary reports an invalid position");
    if (is_known)
        consistency_saw(remote->session, &position);
    else
        remote->lacks_position = true; /* it keeps no log: nothing can be waited for */
    if (!remote->is_replaying)
        remote->told_number = number;
    return SQ_OK;
}

void remote_take_position(struct remote *remote, const char *value)
{
    struct sq_error ignored;
    /* What makes no sense is as if it had not been told: it is asked for. */
    if (value != NULL && take_position(remote, value, &ignored) != SQ_OK)
        remote->lacks_position = true;
}

static sq_status take_status(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_parameter_status parameter;
    SQ_TRY(pgwire_parameter_status_decode(frame, err, &parameter));
    if (strcmp(parameter.name.data, DELEGATED_STATUS_POSITION) == 0)
        return take_position(remote, parameter.value.data, err);
    return settings_mirror(&remote->session->settings, parameter.name.data, parameter.value.data, err);
}

/* A notification that this session has sent itself carries its own number. */
static sq_status take_notification(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct session *session = remote->session;
    struct pgwire_notification notification;
    SQ_TRY(pgwire_notification_decode(frame, err, &notification));
    bool is_own = remote->client != NULL && notification.pid == pgclient_pid(remote->client);
    pgwire_put_notification(session->out, is_own ? session->entry.pid : notification.pid, notification.channel.data,
                            notification.payload.data);
    return SQ_OK;
}

/* --- Errors -------------------------------------------------------------------------------------------------------- */

/* An error in a Query of which only a part was sent: its position counts from the beginning of the Query. All other fields
 * stay as they are (manual, "Error and Notice Message Fields"). */
static void put_error(struct session *session, const struct pgwire_frame *frame, uint64_t characters_before)
{
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    size_t message = pgwire_begin(session->out, frame->type);
    for (uint8_t field = pgwire_get_u8(&cursor); field != 0; field = pgwire_get_u8(&cursor)) {
        struct pgwire_text text = pgwire_get_cstr(&cursor);
        sq_buf_put_u8(session->out, field);
        if (field == 'P')
            sq_buf_printf(session->out, "%llu", strtoull(text.data, NULL, 10) + (unsigned long long)characters_before);
        else
            sq_buf_put(session->out, text.data, text.length);
        sq_buf_put_u8(session->out, 0);
    }
    sq_buf_put_u8(session->out, 0);
    pgwire_end(session->out, message);
}

static void keep_error(struct sq_error *quiet, const struct pgwire_report *report)
{
    (void)sq_fail_sql(quiet, SQ_SQL, report->sqlstate != NULL ? report->sqlstate : "XX000", "%s",
                      report->message != NULL ? report->message : "the primary refused without a reason");
}

/* The primary ends its session, and so does the client's end if that is in the middle of something there. */
static sq_status take_fatal(struct remote *remote, const struct pgwire_frame *frame, const struct pgwire_report *report,
                            struct sq_error *err)
{
    struct session *session = remote->session;
    const struct remote_entry *entry = first_entry(remote);
    bool is_clients = session->is_txn_remote || remote->state != 0 || remote->is_listening ||
                      (entry != NULL && entry->audience == REMOTE_RELAYED);
    if (!is_clients)
        return sq_fail(err, SQ_CLOSED, "%s",
                       report->message != NULL ? report->message : "the primary has ended the session");
    put_frame(session, frame);
    session->state = SESSION_STATE_CLOSING;
    return SQ_OK;
}

static sq_status take_error(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct session *session = remote->session;
    struct pgwire_report report;
    SQ_TRY(pgwire_report_decode(frame, err, &report));
    const char *severity = report.severity_fixed != NULL ? report.severity_fixed : report.severity;
    if (severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        return take_fatal(remote, frame, &report, err);
    struct remote_entry *entry = first_entry(remote);
    if (entry == NULL)
        return sq_fail(err, SQ_PROTOCOL, "the primary reports an error of nothing");
    remote->is_copying = remote->holds_input = false;
    if (entry->kind == REMOTE_QUERY) {
        remote->has_failed = true;
        if (entry->audience != REMOTE_RELAYED)
            keep_error(&remote->quiet, &report);
        else
            put_error(session, frame, sq_utf8_count(session->query_text, remote->query_begin));
        return SQ_OK;
    }
    /* What was only to make a message of the client's possible fails instead of it. */
    bool is_meant = entry->kind == REMOTE_FAIL;
    bool is_ours = entry->audience != REMOTE_RELAYED && session->state == SESSION_STATE_SIMPLE;
    if (is_ours)
        keep_error(&remote->quiet, &report);
    else if (!is_meant)
        put_frame(session, frame);
    /* A Parse that fails leaves no unnamed statement; one that is skipped leaves the former. */
    if (entry->kind == REMOTE_PARSE) {
        prepared_unref(entry->former);
        entry->former = NULL;
    }
    bool has_end = remote_skip(remote);
    session->is_skipping = !has_end && !is_meant;
    return SQ_OK;
}

/* --- Answers ------------------------------------------------------------------------------------------------------- */

/* The statements of a Query are done one after the other: what each one leaves is noted. */
static sq_status note_query_statement(struct remote *remote, struct sq_error *err)
{
    struct session *session = remote->session;
    const char *text = session->query_text + remote->query_walked;
    size_t length = session->query_length - remote->query_walked;
    struct command command;
    struct sq_arena arena;
    size_t consumed = 0;
    if (session->state != SESSION_STATE_SIMPLE || length == 0)
        return sq_fail(err, SQ_PROTOCOL, "the primary has done more statements than there were");
    sq_arena_init(&arena);
    sq_status status = command_parse(text, length, &arena, &command, &consumed, err);
    size_t end = sql_statement_end(text, length, NULL);
    if (status == SQ_OK && command.kind != COMMAND_SQL)
        end = consumed;
    if (status == SQ_OK)
        remote_note_done(remote, &command, text, end, NULL);
    sq_arena_done(&arena);
    remote->query_walked += end;
    return status;
}

/* CommandComplete. */
static sq_status note_complete(struct remote *remote, const struct remote_entry *entry, struct sq_error *err)
{
    if (entry->audience != REMOTE_RELAYED)
        return SQ_OK;
    if (entry->kind == REMOTE_QUERY)
        return note_query_statement(remote, err);
    if (entry->kind == REMOTE_EXECUTE && entry->prepared != NULL) {
        struct portal *executing = NULL;
        if (session_find_portal(remote->session, entry->name != NULL ? entry->name : "", err, &executing) != SQ_OK)
            executing = NULL; /* closed behind it */
        remote_note_done(remote, &entry->prepared->command, entry->prepared->source, entry->prepared->source_length,
                         executing);
    }
    return SQ_OK;
}

/* The first value of the first row of a QUIET Query. */
static sq_status keep_row(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_data_row row;
    struct pgwire_value value;
    SQ_TRY(pgwire_data_row_decode(frame, err, &row));
    if (remote->has_quiet_row || !pgwire_values_next(&row.columns, &value) || value.is_null)
        return SQ_OK;
    (void)snprintf(remote->quiet_row, sizeof(remote->quiet_row), "%.*s", (int)value.length, (const char *)value.data);
    remote->has_quiet_row = true;
    return SQ_OK;
}

static sq_status note_told(const struct remote_entry *entry, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_row_description description;
    SQ_TRY(pgwire_row_description_decode(frame, err, &description));
    if (entry->prepared->is_remote)
        prepared_note_told(entry->prepared, &description);
    return SQ_OK;
}

static void note_bound(struct remote *remote, const struct remote_entry *entry)
{
    struct sq_error ignored;
    struct portal *portal = NULL;
    const char *name = entry->name != NULL ? entry->name : "";
    if (session_find_portal(remote->session, name, &ignored, &portal) == SQ_OK && portal->is_remote)
        portal->is_bound = true;
}

enum answer_part { ANSWER_NONE, ANSWER_PART, ANSWER_END };

/* What a message of this type is to what was asked (manual, "Message Flow"). */
static enum answer_part part_of(enum remote_kind kind, uint8_t type)
{
    switch (kind) {
    case REMOTE_PARSE:
        return type == PGWIRE_PARSE_COMPLETE ? ANSWER_END : ANSWER_NONE;
    case REMOTE_BIND:
        return type == PGWIRE_BIND_COMPLETE ? ANSWER_END : ANSWER_NONE;
    case REMOTE_CLOSE:
        return type == PGWIRE_CLOSE_COMPLETE ? ANSWER_END : ANSWER_NONE;
    case REMOTE_DESCRIBE_STATEMENT:
    case REMOTE_DESCRIBE_PORTAL:
        if (type == PGWIRE_ROW_DESCRIPTION || type == PGWIRE_NO_DATA)
            return ANSWER_END;
        return type == PGWIRE_PARAMETER_DESCRIPTION && kind == REMOTE_DESCRIBE_STATEMENT ? ANSWER_PART : ANSWER_NONE;
    case REMOTE_EXECUTE:
        if (type == PGWIRE_COMMAND_COMPLETE || type == PGWIRE_EMPTY_QUERY_RESPONSE || type == PGWIRE_PORTAL_SUSPENDED)
            return ANSWER_END;
        break;
    case REMOTE_QUERY:
        if (type == PGWIRE_COMMAND_COMPLETE || type == PGWIRE_EMPTY_QUERY_RESPONSE)
            return ANSWER_PART;
        break;
    case REMOTE_SYNC:
    case REMOTE_FAIL:
        return ANSWER_NONE;
    }
    switch (type) {
    case PGWIRE_ROW_DESCRIPTION:
    case PGWIRE_DATA_ROW:
    case PGWIRE_COPY_IN_RESPONSE:
    case PGWIRE_COPY_OUT_RESPONSE:
    case PGWIRE_COPY_DATA:
    case PGWIRE_COPY_DONE:
        return ANSWER_PART;
    default:
        return ANSWER_NONE;
    }
}

static sq_status take_answer(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct remote_entry *entry = first_entry(remote);
    enum answer_part part = entry != NULL ? part_of(entry->kind, frame->type) : ANSWER_NONE;
    if (part == ANSWER_NONE)
        return sq_fail(err, SQ_PROTOCOL, "the primary sent %s, which nothing has asked for",
                       pgwire_backend_name(frame->type));
    if (frame->type == PGWIRE_COMMAND_COMPLETE)
        SQ_TRY(note_complete(remote, entry, err));
    if (frame->type == PGWIRE_DATA_ROW && entry->audience == REMOTE_QUIET)
        SQ_TRY(keep_row(remote, frame, err));
    if (frame->type == PGWIRE_COPY_IN_RESPONSE) {
        remote->is_copying = true;
        remote->holds_input = false;
    }
    if (frame->type == PGWIRE_ROW_DESCRIPTION && entry->prepared != NULL && entry->kind != REMOTE_EXECUTE)
        SQ_TRY(note_told(entry, frame, err));
    if (frame->type == PGWIRE_BIND_COMPLETE)
        note_bound(remote, entry);
    if (entry->audience == REMOTE_RELAYED)
        put_frame(remote->session, frame);
    if (part == ANSWER_END) {
        remote->is_copying = false;
        remote_pop(remote);
    }
    return SQ_OK;
}

/* --- The end of a command ------------------------------------------------------------------------------------------- */

/* The transaction at the primary is the session's. Settings that end with it have been reported as they are afterwards. */
static void follow_transaction(struct remote *remote)
{
    struct session *session = remote->session;
    bool is_open = remote->status != PGWIRE_TRANSACTION_IDLE;
    if (!is_open) {
        settings_commit(&session->settings);
        remote_end_local(session);
    }
    session->is_txn_remote = is_open;
    session->txn = !is_open                                      ? SESSION_TXN_NONE
                   : remote->status == PGWIRE_TRANSACTION_FAILED ? SESSION_TXN_FAILED
                                                                 : SESSION_TXN_EXPLICIT;
}

static sq_status take_ready(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct session *session = remote->session;
    struct pgwire_ready ready;
    SQ_TRY(pgwire_ready_decode(frame, err, &ready));
    struct remote_entry *entry = first_entry(remote);
    if (entry == NULL || (entry->kind != REMOTE_SYNC && entry->kind != REMOTE_QUERY))
        return sq_fail(err, SQ_PROTOCOL, "the primary is ready too early");
    enum remote_kind kind = entry->kind;
    enum remote_audience audience = entry->audience;
    remote->status = (char)ready.status;
    remote->ready_count++;
    remote->answer_bytes = 0;
    remote->may_commit = remote->ends_transaction = remote->is_copying = false;
    if (remote->status == PGWIRE_TRANSACTION_IDLE && !remote->is_replaying)
        remote->wanted_number = remote->ready_count;
    remote_pop(remote);
    if (audience == REMOTE_RELAYED || session->is_txn_remote)
        follow_transaction(remote);
    if (audience != REMOTE_RELAYED)
        return SQ_OK;
    if (session->txn == SESSION_TXN_NONE) {
        struct sq_error ignored;
        sq_status closed = session_close_portals(session, false, &ignored);
        (void)closed; /* those of the primary have nothing to fail of; reads that stop commit nothing */
    }
    if (kind == REMOTE_SYNC) {
        session->is_skipping = false;
        session_ready(session);
    } else if (remote->has_failed) {
        simple_abort(session);
    }
    return SQ_OK;
}

/* --- All of it ------------------------------------------------------------------------------------------------------ */

static sq_status take(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct session *session = remote->session;
    remote->answer_bytes += frame->total_bytes;
    switch (frame->type) {
    case PGWIRE_PARAMETER_STATUS:
        return take_status(remote, frame, err);
    case PGWIRE_NOTICE_RESPONSE:
        put_frame(session, frame);
        return SQ_OK;
    case PGWIRE_NOTIFICATION_RESPONSE:
        return take_notification(remote, frame, err);
    case PGWIRE_ERROR_RESPONSE:
        return take_error(remote, frame, err);
    case PGWIRE_READY_FOR_QUERY:
        return take_ready(remote, frame, err);
    default:
        return take_answer(remote, frame, err);
    }
}

void remote_take(struct session *session, const struct pgwire_frame *frame)
{
    struct sq_error err;
    size_t mark = sq_buf_length(session->out);
    if (take(session->remote, frame, &err) == SQ_OK || session->out->is_failed)
        return;
    sq_buf_truncate(session->out, mark);
    remote_lost(session, &err);
}

void remote_pump(struct session *session)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    if (remote->client == NULL)
        return;
    uint64_t generation = remote->generation;
    sq_status status = pgclient_send_some(remote->client, &err);
    while (status == SQ_OK || status == SQ_BUSY) {
        struct pgwire_frame frame;
        if (sq_buf_length(session->out) >= session->output_high_water || session->state == SESSION_STATE_CLOSING)
            return;
        status = pgclient_take(remote->client, &err, &frame);
        if (status == SQ_BUSY)
            return;
        if (status == SQ_OK)
            remote_take(session, &frame);
        if (remote->generation != generation)
            return; /* it broke, and that has been dealt with */
    }
    remote_lost(session, &err);
}

enum session_want remote_later(struct session *session)
{
    if (!remote_is_busy(session))
        return SESSION_WAITING; /* for the gate */
    remote_pump(session);
    return remote_is_busy(session) ? SESSION_WAITING : SESSION_YIELDED;
}

bool remote_listen(struct session *session)
{
    struct remote *remote = session->remote;
    if (remote == NULL || remote->client == NULL || session->state == SESSION_STATE_CLOSING ||
        session->state == SESSION_STATE_RELAYED)
        return false;
    uint64_t ready_count = remote->ready_count;
    size_t answer_bytes = remote->answer_bytes;
    remote_pump(session);
    return remote->ready_count != ready_count || remote->answer_bytes != answer_bytes ||
           session->state == SESSION_STATE_CLOSING;
}

/* --- Going on with a command ---------------------------------------------------------------------------------------- */

/* The client wants it to stop, or its time is up: so is the primary told. What it answers then is the answer. */
static void pass_on_cancel(struct session *session)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    remote->is_cancelled = true;
    session->context.stop.deadline_us = 0;
    session->pause_deadline_us = remote->give_up_us = sq_clock_now_us() + RELAY_OBEY_US;
    if (remote->client == NULL || remote_block(session, &err) != SQ_OK)
        return;
    /* One that the primary has not taken in time means that it is gone: give_up_us. */
    bool is_sent = pgclient_cancel(remote->client, RELAY_CANCEL_US);
    (void)is_sent;
    remote_unblock(session);
}

/* The server stops, or the client has gone: what the primary is doing for it stops, too. */
static void abandon(struct session *session)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    remote_abandon(remote);
    remote_skip_all(remote);
    session->is_txn_remote = false;
    sq_status status = engine_stop_fail(&err, ENGINE_STOP_SHUTDOWN);
    sq_assert(status != SQ_OK);
    err.is_fatal = true;
    session_fail(session, &err);
}

/* False: the command has ended by that. */
static bool look_at_brake(struct session *session)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    enum engine_stop_reason reason = engine_stop_check(&session->context.stop);
    if (reason == ENGINE_STOP_SHUTDOWN) {
        abandon(session);
        return false;
    }
    if (reason != ENGINE_STOP_NONE && !remote->is_cancelled)
        pass_on_cancel(session);
    if (remote->give_up_us == 0 || sq_clock_now_us() < remote->give_up_us)
        return true;
    (void)sq_fail(&err, SQ_CLOSED, "the primary does not answer");
    remote_lost(session, &err);
    return false;
}

enum session_want remote_continue(struct session *session)
{
    struct remote *remote = session->remote;
    if (!look_at_brake(session))
        return SESSION_NEED_INPUT;
    remote_pump(session);
    if (!remote_is_busy(session) || session->state == SESSION_STATE_CLOSING)
        return SESSION_NEED_INPUT;
    if (sq_buf_length(session->out) >= session->output_high_water)
        return SESSION_OUTPUT_FULL;
    return remote->client != NULL && remote_takes_input(session) ? SESSION_NEED_INPUT : SESSION_WAITING;
}
