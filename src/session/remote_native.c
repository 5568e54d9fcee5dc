/* session/remote_native.c: a native session on a replica that may write is relayed to the primary as a whole: the client's own
 * start-up packet opens a native session there, and from then on every message of either side is passed on as it is
 * (docs/protocol.md). So a program with the drop-in library finds at a replica what it finds at the primary: functions that call
 * it, blobs, images, outcomes. Sessions that were opened read-only, and databases in memory, are this server's.
 *
 *     client ──in──► frames ──► pgclient_out ──► primary
 *     client ◄──out── frames ◄──────────────────── primary
 *
 * Each side is read only as long as the other one takes. Cancel requests are passed on before their sender is let go, so
 * that INTERRUPT_CLEAR settles them here, too. When the connection to the primary breaks, so does the client's: it connects
 * again, and asks the primary, through any server, what became of its last request. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pgclient/pgclient.h"
#include "pgwire/native.h"
#include "session/native_internal.h"
#include "session/remote_internal.h"

enum { NATIVE_CANCEL_US = 2 * SQ_US_PER_S /* for the primary to take a cancel request */ };

/* Requests that are not answered: docs/protocol.md. */
static bool is_one_way(const struct pgwire_frame *frame)
{
    return frame->body_length > 0 && (frame->body[0] == NATIVE_FINALIZE || frame->body[0] == NATIVE_RESET_ASYNC);
}

/* A database that has only just been made is still on its way. Names that may stand for the default database: startup.c. */
static bool is_here(const struct session *session, const char *name)
{
    return engine_database_exists(session->host->databases, name) || strcmp(name, session->user) == 0 ||
           strcmp(name, "postgres") == 0 || strcmp(name, "template1") == 0;
}

bool remote_native_is_wanted(const struct session *session)
{
    const struct native_asked *asked = &session->native_asked;
    if (session->host->node == NULL || !asked->is_asked || repl_node_role(session->host->node) != REPL_REPLICA)
        return false;
    const char *name = session->database_name != NULL ? session->database_name : session->user;
    if (strcmp(name, NATIVE_MEMORY_DATABASE) == 0)
        return false;
    return !asked->is_readonly || asked->is_create || asked->is_fresh || !is_here(session, name);
}

/* The client's own parameters; the caller frees the list, whose texts are the packet's. */
static sq_status read_parameters(struct session *session, struct sq_error *err,
                                 struct pgclient_parameter **ret_parameters, size_t *ret_count)
{
    struct pgwire_startup startup;
    struct pgwire_text name;
    struct pgwire_text value;
    SQ_TRY(pgwire_startup_decode(&session->startup_packet, err, &startup));
    struct pgclient_parameter *parameters = calloc(startup.parameters.count + 1, sizeof(*parameters));
    if (parameters == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a connection to the primary");
    size_t count = 0;
    while (pgwire_parameters_next(&startup.parameters, &name, &value)) {
        if (strcmp(name.data, "database") != 0)
            parameters[count++] = (struct pgclient_parameter){name.data, value.data};
    }
    *ret_parameters = parameters;
    *ret_count = count;
    return SQ_OK;
}

static sq_status open_there(struct session *session, struct sq_error *err, struct pgclient **ret_client)
{
    struct pgclient_parameter *parameters = NULL;
    size_t count = 0;
    const char *database = session->database_name != NULL ? session->database_name : session->user;
    SQ_TRY(read_parameters(session, err, &parameters, &count));
    sq_status status = remote_connect(session, database, parameters, count, err, ret_client);
    free(parameters);
    return status;
}

static void answer_start(struct session *session, const struct pgclient *client)
{
    const char *name;
    const char *value;
    pgwire_put_authentication_ok(session->out);
    for (size_t at = 0; pgclient_next_status(client, &at, &name, &value);)
        pgwire_put_parameter_status(session->out, name, value);
    pgwire_put_backend_key_data(session->out, session->entry.pid, session->entry.secret, SESSION_SECRET_BYTES);
    pgwire_put_ready_for_query(session->out, PGWIRE_TRANSACTION_IDLE);
}

sq_status remote_native_start(struct session *session, struct sq_error *err)
{
    struct remote *remote = NULL;
    struct pgclient *client = NULL;
    SQ_TRY(remote_get(session, err, &remote));
    if (!repl_node_is_connected(session->host->node))
        return remote_fail_unreachable(err, "this replica has no connection to it");
    SQ_TRY(remote_block(session, err));
    sq_status status = open_there(session, err, &client);
    remote_unblock(session);
    SQ_TRY(status);
    remote->client = client;
    remote->generation++;
    answer_start(session, client);
    session->state = SESSION_STATE_RELAYED;
    const char *database = pgclient_status(client, NATIVE_STATUS_DATABASE);
    session_registry_label(session->host->sessions, &session->entry, session->user,
                           database != NULL ? database : session->database_name,
                           settings_text(&session->settings, SETTING_APPLICATION_NAME));
    return SQ_OK;
}

/* --- Relaying ------------------------------------------------------------------------------------------------------------ */

static bool is_fatal(const struct pgwire_frame *frame)
{
    struct pgwire_report report;
    struct sq_error ignored;
    if (pgwire_report_decode(frame, &ignored, &report) != SQ_OK)
        return false;
    const char *severity = report.severity_fixed != NULL ? report.severity_fixed : report.severity;
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* The server lets a transaction come to its end before it stops: an answer says whether one is open. */
static void note_answer(struct remote *remote, const struct pgwire_frame *frame)
{
    struct session *session = remote->session;
    if (frame->type == PGWIRE_NATIVE) {
        struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
        struct native_answer answer;
        native_get_answer(&cursor, &answer);
        remote->ready_count++;
        remote->status = cursor.is_failed || answer.is_autocommit ? PGWIRE_TRANSACTION_IDLE : PGWIRE_TRANSACTION_OPEN;
    } else if (frame->type == PGWIRE_ERROR_RESPONSE && is_fatal(frame)) {
        session->state = SESSION_STATE_CLOSING; /* nothing follows that */
    } else if (frame->type == PGWIRE_READY_FOR_QUERY && frame->body_length > 0) {
        remote->ready_count++;
        remote->status = (char)frame->body[0];
    }
    bool is_quiet = remote->ready_count >= remote->command_count && remote->status == PGWIRE_TRANSACTION_IDLE;
    session->txn = is_quiet ? SESSION_TXN_NONE : SESSION_TXN_EXPLICIT;
}

static void note_request(struct remote *remote, const struct pgwire_frame *frame)
{
    bool is_answered = (frame->type == PGWIRE_NATIVE && !is_one_way(frame)) || frame->type == PGWIRE_QUERY ||
                       frame->type == PGWIRE_SYNC || frame->type == PGWIRE_FUNCTION_CALL;
    if (!is_answered)
        return;
    remote->command_count++;
    remote->session->txn = SESSION_TXN_EXPLICIT;
    session_set_activity(remote->session, SESSION_ACTIVE);
}

static void put_frame(struct sq_buf *out, const struct pgwire_frame *frame)
{
    size_t message = pgwire_begin(out, frame->type);
    sq_buf_put(out, frame->body, frame->body_length);
    pgwire_end(out, message);
}

/* From the client, as long as the primary takes it. */
static sq_status relay_requests(struct session *session, struct sq_error *err)
{
    struct remote *remote = session->remote;
    struct sq_buf *out = pgclient_out(remote->client);
    session->input_hint = 0;
    while (sq_buf_length(out) < session->output_high_water) {
        struct pgwire_frame frame;
        size_t needed = 0;
        switch (pgwire_frame_next(sq_buf_bytes(session->in), sq_buf_length(session->in), session->message_bytes_max,
                                  err, &frame, &needed)) {
        case PGWIRE_FRAME_NEED_MORE:
            session->input_hint = needed - sq_buf_length(session->in);
            return SQ_OK;
        case PGWIRE_FRAME_BAD:
            return err->status;
        case PGWIRE_FRAME_READY:
            break;
        }
        put_frame(out, &frame);
        SQ_TRY(sq_buf_check(out, err));
        note_request(remote, &frame);
        bool is_end = frame.type == PGWIRE_TERMINATE;
        sq_buf_consume(session->in, frame.total_bytes);
        if (is_end) {
            session->state = SESSION_STATE_CLOSING;
            return SQ_OK;
        }
    }
    return SQ_OK;
}

/* To the client, as long as it takes it. */
static sq_status relay_answers(struct session *session, struct sq_error *err)
{
    struct remote *remote = session->remote;
    sq_status status = pgclient_send_some(remote->client, err);
    while (status == SQ_OK || status == SQ_BUSY) {
        struct pgwire_frame frame;
        if (sq_buf_length(session->out) >= session->output_high_water || session->state == SESSION_STATE_CLOSING)
            return SQ_OK;
        status = pgclient_take(remote->client, err, &frame);
        if (status == SQ_BUSY)
            return SQ_OK;
        if (status != SQ_OK)
            break;
        put_frame(session->out, &frame);
        note_answer(remote, &frame);
    }
    return status;
}

/* What came while it is passed on is passed on, too. */
static void pass_on_cancels(struct session *session)
{
    struct sq_error err;
    for (uint64_t mark; (mark = session_cancel_mark(session)) != 0;) {
        if (remote_block(session, &err) == SQ_OK) {
            bool is_sent = pgclient_cancel(session->remote->client, NATIVE_CANCEL_US);
            (void)is_sent; /* a primary that does not take it is gone, which shows by itself */
            remote_unblock(session);
        }
        (void)session_registry_settle(session->host->sessions, &session->entry, mark);
    }
}

/* A client that breaks the protocol, and one that nothing is being done for, are told. To others the connection breaks without
 * a word, as the one to the primary has: a server's word is that what it worked on is rolled back, and that only the primary
 * can say. */
static void fail(struct session *session, struct sq_error *err)
{
    const struct remote *remote = session->remote;
    bool is_clients = err->status == SQ_PROTOCOL && !pgclient_is_failed(remote->client);
    if (is_clients) {
        err->is_fatal = true;
        session_fail(session, err);
        return;
    }
    char quoted[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_WARNING, "session", "connection to the primary lost", "conn=%u db=%s error=%s", session->entry.pid,
           session->entry.database[0] != '\0' ? session->entry.database : "-", sq_log_quote(quoted, err->text));
    session->state = SESSION_STATE_CLOSING;
}

bool remote_native_end(struct session *session)
{
    if (session->state != SESSION_STATE_RELAYED || session->txn == SESSION_TXN_NONE)
        return false;
    session->state = SESSION_STATE_CLOSING;
    return true;
}

enum session_want remote_native_continue(struct session *session)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    pass_on_cancels(session);
    sq_status status = SQ_OK;
    size_t before = SIZE_MAX;
    while (status == SQ_OK && session->state == SESSION_STATE_RELAYED && sq_buf_length(session->in) < before) {
        before = sq_buf_length(session->in);
        status = relay_requests(session, &err);
        if (status == SQ_OK)
            status = relay_answers(session, &err);
    }
    if (status != SQ_OK && session->state != SESSION_STATE_CLOSING)
        fail(session, &err);
    if (session->state == SESSION_STATE_CLOSING)
        return SESSION_CLOSE;
    if (session->txn == SESSION_TXN_NONE)
        session_set_activity(session, SESSION_IDLE);
    if (sq_buf_length(session->out) >= session->output_high_water)
        return SESSION_OUTPUT_FULL;
    return sq_buf_length(pgclient_out(remote->client)) >= session->output_high_water ? SESSION_WAITING
                                                                                     : SESSION_NEED_INPUT;
}
