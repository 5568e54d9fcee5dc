/* client/request.c: requests of native mode and their answers, and the loss of the connection. See remote.h and
 * docs/protocol.md.
 *
 * Requests nest: while one waits for its answer, the server may call, and what is called may make requests, whose answers
 * come first. So between client_request_begin() and _end() nothing else may be written, but while _end() waits anything
 * may happen; the answer that ends the wait is always the last one that was asked for.
 *
 * The connection is lost in two ways. Found out before anything was sent, with no transaction open: a new one is made, and
 * the application notices nothing, but for statements that it has half read. While an answer is waited for: outcome.h. Else:
 * SQLITE_IOERR_SQLD_LOST, and a message that says what went with it; the next request makes a new connection. Within calls of
 * the server no new one is made: the statement that called is gone. */
#include <string.h>

#include "base/clock.h"
#include "client/ahead.h"
#include "client/calls.h"
#include "client/connect.h"
#include "client/interrupt.h"
#include "client/outcome.h"
#include "client/remote.h"
#include "client/statement.h"
#include "pgwire/backend.h"

#define SQLSTATE_IO "58030"

enum { STALE_AFTER_US = 2000 }; /* a connection that has answered so recently is not looked at before it is used */

/* The connection is of no more use. */
static int lose(struct client_remote *remote, enum client_loss_kind kind, const char *why)
{
    struct client_loss *loss = &remote->loss;
    *loss = (struct client_loss){
        .kind = kind,
        .is_in_transaction = !remote->state.is_autocommit,
        .is_temporary = remote->has_temporary,
    };
    memcpy(loss->key, remote->key, sizeof(loss->key));
    client_real.sqlite3_snprintf((int)sizeof(loss->why), loss->why, "%s", why);
    const char *what = "";
    if (remote->is_memory)
        what = "; the database in the server's memory is gone";
    else if (loss->is_in_transaction)
        what = "; the open transaction was rolled back";
    else if (loss->is_temporary)
        what = "; temporary tables are gone";
    else if (client_statements_are_half_read(remote))
        what = "; statements that were half read are gone";
    client_real.sqlite3_snprintf((int)sizeof(remote->lost_message), remote->lost_message,
                                 "the connection to %s was lost: %s%s", pgclient_target_label(remote->target),
                                 loss->why, what);
    remote->is_dead |= remote->is_memory;
    remote->has_temporary = false;
    remote->state.is_autocommit = true;
    remote->state.txn_state = SQLITE_TXN_NONE;
    client_disconnect(remote);
    return client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "%s", remote->lost_message);
}

int client_remote_lose(struct client_remote *remote, const char *why)
{
    return lose(remote, CLIENT_LOSS_NONSENSE, why);
}

/* Finds out whether the server has gone. False: and something went with it. */
static bool look_for_loss(struct client_remote *remote)
{
    int64_t now_us = sq_clock_now_us();
    if (now_us - remote->last_answer_us < STALE_AFTER_US)
        return true;
    remote->last_answer_us = now_us;
    if (!pgclient_is_stale(remote->client))
        return true;
    bool is_loss = !remote->state.is_autocommit || remote->has_temporary;
    (void)lose(remote, CLIENT_LOSS_BROKEN, "the server has closed it");
    return !is_loss;
}

bool client_remote_is_ready(struct client_remote *remote)
{
    if (remote->client != NULL && (remote->call_depth > 0 || remote->is_connecting))
        return true;
    if (!client_ahead_make_way(remote) || (remote->client != NULL && !look_for_loss(remote)))
        return false;
    if (remote->client != NULL)
        return true;
    if (!remote->is_dead && remote->call_depth == 0 && !remote->is_connecting)
        return client_reconnect(remote) == SQLITE_OK;
    (void)client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "%s", remote->lost_message);
    return false;
}

/* Whether a request can go out, to the connection of that number if it is not 0. Else the error is recorded. */
static bool get_ready(struct client_remote *remote, enum native_op op, uint32_t connection_number)
{
    bool is_ready = client_remote_is_ready(remote);
    if (is_ready && op != NATIVE_INTERRUPT_CLEAR)
        is_ready = client_interrupt_settle(remote) || (remote->may_repeat && client_remote_is_ready(remote));
    remote->may_repeat = false;
    if (!is_ready || connection_number == 0 || connection_number == remote->connection_number)
        return is_ready;
    (void)client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "%s", remote->lost_message);
    remote->may_repeat = true;
    return false;
}

struct sq_buf *client_request_begin(struct client_remote *remote, enum native_op op)
{
    return client_request_begin_on(remote, op, 0);
}

static struct sq_buf *message_begin(struct client_remote *remote, enum native_op op, bool is_ready)
{
    sq_buf_truncate(&remote->nowhere, 0);
    struct sq_buf *out = is_ready ? pgclient_out(remote->client) : &remote->nowhere;
    remote->is_request_dropped = !is_ready;
    remote->request_offset = sq_buf_length(out);
    sq_buf_put_u8(out, PGWIRE_NATIVE);
    sq_buf_put_u32(out, 0);
    sq_buf_put_u8(out, (uint8_t)op);
    return out;
}

struct sq_buf *client_request_begin_on(struct client_remote *remote, enum native_op op, uint32_t connection_number)
{
    return message_begin(remote, op, get_ready(remote, op, connection_number));
}

/* Fills the length of the message that begins at `offset` in. False: it could not be written, and is taken out again. */
static bool message_end(struct client_remote *remote, struct sq_buf *out, size_t offset)
{
    struct sq_error err;
    sq_error_clear(&err);
    size_t length = sq_buf_length(out) - offset - 1;
    if (sq_buf_check(out, &err) == SQ_OK && length <= INT32_MAX) {
        sq_buf_set_u32(out, offset + 1, (uint32_t)length);
        return true;
    }
    sq_buf_truncate(out, offset);
    (void)client_error_set(remote, err.status == SQ_NOMEM ? SQLITE_NOMEM : SQLITE_TOOBIG, NULL);
    return false;
}

static void state_take(struct client_remote *remote, const struct native_answer *answer)
{
    remote->last_answer_us = sq_clock_now_us();
    remote->state = (struct client_state){
        .is_autocommit = answer->is_autocommit,
        .txn_state = answer->txn_state,
        .changes = answer->changes,
        .total_changes = remote->total_changes_base + answer->total_changes,
        .last_insert_rowid = answer->last_insert_rowid,
        .generation = answer->generation,
    };
}

/* An answer: its head and error. Returns its result. */
static int answer_take(struct client_remote *remote, const struct pgwire_frame *frame, struct native_answer *ret_answer,
                       struct pgwire_cursor *ret_body)
{
    struct pgwire_cursor body = pgwire_cursor_make(frame->body, frame->body_length);
    native_get_answer(&body, ret_answer);
    if (body.is_failed)
        return client_remote_lose(remote, "the server's answer makes no sense");
    state_take(remote, ret_answer);
    if (ret_answer->has_tripped)
        client_statements_trip(remote);
    *ret_body = body;
    if (!client_code_is_error(ret_answer->result))
        return ret_answer->result;
    if (ret_answer->has_error)
        (void)client_error_set(remote, ret_answer->result, "%.*s", (int)ret_answer->message.length,
                               (const char *)ret_answer->message.data);
    else
        (void)client_error_set(remote, ret_answer->result, NULL);
    remote->error.offset = ret_answer->has_error ? ret_answer->error_offset : -1;
    return ret_answer->result;
}

/* ErrorResponse: in native mode it ends the connection. */
static int report_take(struct client_remote *remote, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_report report;
    sq_error_clear(&err);
    if (pgwire_report_decode(frame, &err, &report) != SQ_OK)
        return client_remote_lose(remote, err.text);
    char text[SQ_ERROR_TEXT_MAX];
    client_real.sqlite3_snprintf((int)sizeof(text), text, "%s", report.message);
    /* A disk that fails is said in place of answers. */
    bool is_said = report.sqlstate != NULL && strcmp(report.sqlstate, SQLSTATE_IO) != 0;
    return lose(remote, is_said ? CLIENT_LOSS_SAID : CLIENT_LOSS_BROKEN, text);
}

/* Waits for the answer that belongs to the request sent last, and serves calls meanwhile. `grace_us`: client_answer_await(). */
static int answer_wait(struct client_remote *remote, int64_t grace_us, struct native_answer *ret_answer,
                       struct pgwire_cursor *ret_body)
{
    uint32_t number = remote->connection_number;
    int64_t timeout_us = pgclient_target_read_timeout_us(remote->target);
    for (;;) {
        struct pgwire_frame frame;
        struct sq_error err;
        sq_error_clear(&err);
        __atomic_store_n(&remote->is_waiting, true, __ATOMIC_SEQ_CST);
        client_interrupt_pass_on(remote);
        sq_status status = pgclient_receive(remote->client, grace_us > 0 ? grace_us : timeout_us, &err, &frame);
        __atomic_store_n(&remote->is_waiting, false, __ATOMIC_SEQ_CST);
        if (status == SQ_BUSY && grace_us > 0) {
            grace_us = 0;
            client_interrupt_stop(remote);
            continue;
        }
        if (status == SQ_BUSY)
            return lose(remote, CLIENT_LOSS_SILENT, "the server has been silent for longer than read_timeout");
        if (status != SQ_OK)
            return lose(remote, status == SQ_CLOSED ? CLIENT_LOSS_BROKEN : CLIENT_LOSS_NONSENSE, err.text);
        switch (frame.type) {
        case PGWIRE_NATIVE:
            return answer_take(remote, &frame, ret_answer, ret_body);
        case PGWIRE_NATIVE_CALL:
            remote->call_depth++;
            remote->call_count++;
            client_calls_serve(remote, frame.body, frame.body_length);
            remote->call_depth--;
            if (remote->connection_number != number) /* lost meanwhile */
                return client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "%s", remote->lost_message);
            break;
        case PGWIRE_ERROR_RESPONSE:
            return report_take(remote, &frame);
        default:
            return client_remote_lose(remote, "the server has sent a message that nobody has asked for");
        }
    }
}

static int request_send(struct client_remote *remote)
{
    struct sq_error err;
    sq_error_clear(&err);
    return pgclient_send(remote->client, &err) == SQ_OK ? SQLITE_OK : lose(remote, CLIENT_LOSS_BROKEN, err.text);
}

static int request_end(struct client_remote *remote, struct native_answer *ret_answer, struct pgwire_cursor *ret_body)
{
    if (remote->is_request_dropped)
        return remote->error.code;
    if (!message_end(remote, pgclient_out(remote->client), remote->request_offset))
        return remote->error.code;
    remote->may_repeat = false;
    struct client_sent sent = {
        .risk = remote->risk,
        .is_autocommit = remote->state.is_autocommit,
        .number = remote->call_depth == 0 ? ++remote->request_count : 0,
        .call_count = remote->call_count,
        .connection_number = remote->connection_number,
    };
    memcpy(sent.key, remote->key, sizeof(sent.key));
    int code = request_send(remote);
    if (code == SQLITE_OK)
        code = answer_wait(remote, 0, ret_answer, ret_body);
    bool is_lost = remote->connection_number != sent.connection_number;
    return is_lost && !remote->is_connecting ? client_outcome_settle(remote, &sent, ret_answer) : code;
}

int client_request_end(struct client_remote *remote, struct native_answer *ret_answer, struct pgwire_cursor *ret_body)
{
    struct native_answer answer = {.error_offset = -1};
    struct pgwire_cursor body = pgwire_cursor_make(NULL, 0);
    remote->is_settled = false;
    int code = request_end(remote, &answer, &body);
    remote->risk = CLIENT_RISK_NONE;
    answer.result = code;
    if (ret_answer != NULL)
        *ret_answer = answer;
    if (ret_body != NULL)
        *ret_body = body;
    return code;
}

struct sq_buf *client_request_begin_ahead(struct client_remote *remote, enum native_op op)
{
    sq_assert(remote->client != NULL && remote->call_depth == 0);
    return message_begin(remote, op, true);
}

bool client_request_end_ahead(struct client_remote *remote)
{
    struct sq_error err;
    sq_error_clear(&err);
    struct sq_buf *out = pgclient_out(remote->client);
    if (sq_buf_check(out, NULL) != SQ_OK) {
        sq_buf_truncate(out, remote->request_offset);
        return false;
    }
    sq_buf_set_u32(out, remote->request_offset + 1, (uint32_t)(sq_buf_length(out) - remote->request_offset - 1));
    if (pgclient_send(remote->client, &err) != SQ_OK) {
        remote->last_answer_us = 0; /* the next request looks */
        return false;
    }
    remote->request_count++;
    return true;
}

int client_answer_await(struct client_remote *remote, int64_t grace_us, struct native_answer *ret_answer,
                        struct pgwire_cursor *ret_body)
{
    *ret_answer = (struct native_answer){.error_offset = -1};
    *ret_body = pgwire_cursor_make(NULL, 0);
    remote->is_settled = false;
    remote->may_repeat = false;
    int code = answer_wait(remote, grace_us, ret_answer, ret_body);
    ret_answer->result = code;
    return code;
}

int client_request_end_oneway(struct client_remote *remote, bool is_lazy)
{
    if (remote->is_request_dropped)
        return remote->error.code;
    if (!message_end(remote, pgclient_out(remote->client), remote->request_offset))
        return remote->error.code;
    return is_lazy ? SQLITE_OK : request_send(remote);
}

void client_request_tell(struct client_remote *remote, enum native_op op, uint32_t number, bool is_lazy)
{
    if (remote->client == NULL)
        return;
    struct sq_buf *out = pgclient_out(remote->client);
    size_t offset = sq_buf_length(out);
    sq_buf_put_u8(out, PGWIRE_NATIVE);
    sq_buf_put_u32(out, sizeof(uint32_t) + 1 + sizeof(number));
    sq_buf_put_u8(out, (uint8_t)op);
    sq_buf_put_u32(out, number);
    struct sq_error err;
    if (sq_buf_check(out, NULL) != SQ_OK)
        sq_buf_truncate(out, offset); /* the server keeps what it could have forgotten */
    else if (!is_lazy && pgclient_send(remote->client, &err) != SQ_OK)
        remote->last_answer_us = 0; /* the next request looks */
}

int client_body_check(struct client_remote *remote, const struct pgwire_cursor *body)
{
    return pgwire_cursor_is_done(body) ? SQLITE_OK : client_remote_lose(remote, "the server's answer makes no sense");
}

/* --- Answers to calls --- */

struct sq_buf *client_call_answer_begin(struct client_remote *remote)
{
    sq_buf_truncate(&remote->nowhere, 0);
    struct sq_buf *out = remote->client != NULL ? pgclient_out(remote->client) : &remote->nowhere;
    remote->is_request_dropped = remote->client == NULL;
    remote->request_offset = sq_buf_length(out);
    sq_buf_put_u8(out, PGWIRE_NATIVE_CALL);
    sq_buf_put_u32(out, 0);
    return out;
}

void client_call_answer_end(struct client_remote *remote)
{
    if (remote->is_request_dropped)
        return;
    /* The server waits: without an answer it would wait for ever. */
    if (!message_end(remote, pgclient_out(remote->client), remote->request_offset))
        (void)client_remote_lose(remote, "the result of a function is too large, or there is no memory");
    else
        (void)request_send(remote);
}
