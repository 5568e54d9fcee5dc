/* client/step.c: running statements: sqlite3_step(), sqlite3_reset(), sqlite3_finalize(). See statement.h.
 *
 * Batches grow: the first is small, since many statements have few rows or are not read to their end; what follows may have
 * up to BATCH_BYTES_MAX. The answer to the last batch says SQLITE_DONE, so that a small result is one round trip. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/ahead.h"
#include "client/attach.h"
#include "client/calls.h"
#include "client/databases.h"
#include "client/interrupt.h"
#include "client/outcome.h"
#include "client/remote_api.h"
#include "client/statement.h"
#include "client/vacuum.h"

enum {
    BATCH_ROWS_FIRST = 64,
    BATCH_BYTES_FIRST = 32 * 1024,
    BATCH_GROWTH_SHIFT = 2,
    BATCH_GROWTHS_MAX = 5,
    BATCH_BYTES_MAX =
        128 * 1024, /* larger ones leave the caches, and are more than PGCLIENT_KEEP_BYTES can hold twice */
};

bool client_statement_is_single(const struct client_statement *statement)
{
    const struct native_facts *facts = &statement->facts;
    /* One that writes computes all of its rows, and calls all of its functions, before it gives the first
     * (https://sqlite.org/lang_returning.html); but virtual tables see its end. */
    bool calls_by_row = facts->may_call && (facts->is_readonly || client_calls_have_modules(statement->remote));
    return calls_by_row || facts->is_volatile || client_calls_want_single_rows(statement->remote, facts->is_readonly);
}

void client_statement_put_step(struct client_statement *statement, struct sq_buf *out, uint8_t flags)
{
    uint32_t asked_count = statement->batch_count + client_ahead_count(statement);
    uint32_t growths = asked_count < BATCH_GROWTHS_MAX ? asked_count : BATCH_GROWTHS_MAX;
    uint32_t rows = (uint32_t)BATCH_ROWS_FIRST << (growths * BATCH_GROWTH_SHIFT);
    uint32_t bytes = (uint32_t)BATCH_BYTES_FIRST << (growths * BATCH_GROWTH_SHIFT);
    sq_buf_put_u8(out, flags);
    sq_buf_put_u32(out, client_statement_is_single(statement) ? 1 : rows);
    sq_buf_put_u32(out, bytes < BATCH_BYTES_MAX ? bytes : BATCH_BYTES_MAX);
}

enum client_risk client_statement_risk(const struct client_statement *statement)
{
    switch (statement->kind) {
    case CLIENT_SQL_COMMIT:
        return CLIENT_RISK_COMMIT;
    case CLIENT_SQL_SELECT:
        return CLIENT_RISK_NONE;
    case CLIENT_SQL_TEMPORARY: /* what it makes is gone with the connection */
    case CLIENT_SQL_DETACH:    /* what it detaches is attached again */
    case CLIENT_SQL_ATTACH:    /* to memory; others are client_attach_step()'s */
        return CLIENT_RISK_NONE;
    case CLIENT_SQL_PRAGMA:
        return statement->facts.is_readonly ? CLIENT_RISK_NONE : CLIENT_RISK_PRAGMA;
    case CLIENT_SQL_OTHER:
    case CLIENT_SQL_DATA:
    case CLIENT_SQL_BEGIN:
    case CLIENT_SQL_VACUUM:
        break;
    }
    return statement->facts.is_readonly ? CLIENT_RISK_NONE : CLIENT_RISK_WRITE;
}

/* Keeps the bytes of so many rows. False: they make no sense, or no memory. */
static bool keep_batch(struct client_statement *statement, uint32_t rows, struct pgwire_bytes bytes)
{
    sq_assert(bytes.data != NULL || bytes.length == 0);
    /* A value has one byte at least; rows without columns do not exist. */
    if (rows > bytes.length || (rows > 0 && statement->column_count == 0))
        return false;
    if (bytes.length + 1 > statement->batch_room) {
        uint8_t *batch = realloc(statement->batch, bytes.length + 1);
        if (batch == NULL)
            return false;
        statement->batch = batch;
        statement->batch_room = bytes.length + 1;
    }
    if (bytes.length > 0)
        memcpy(statement->batch, bytes.data, bytes.length);
    statement->batch[bytes.length] = 0;
    statement->rows = pgwire_cursor_make(statement->batch, bytes.length);
    statement->next_byte = statement->batch[0];
    statement->rows_left = rows;
    return true;
}

bool client_statement_take_batch(struct client_statement *statement, int code, struct pgwire_cursor *body)
{
    uint32_t rows = pgwire_get_u32(body);
    struct pgwire_bytes bytes = pgwire_get_rest(body);
    struct sq_buf named;
    sq_buf_init(&named, INT32_MAX);
    bool is_good = !body->is_failed;
    if (is_good && client_databases_is_list(statement)) {
        is_good = client_databases_name_files(statement->remote, rows, bytes, &named);
        bytes = (struct pgwire_bytes){sq_buf_bytes(&named), sq_buf_length(&named)};
    }
    is_good = is_good && keep_batch(statement, rows, bytes);
    sq_buf_done(&named);
    if (!is_good)
        return false;
    statement->batch_code = code;
    statement->batch_count++;
    if (client_code_is_error(code)) {
        client_real.sqlite3_free(statement->pending.message);
        free(statement->pending.message16);
        statement->pending = client_error_take(statement->remote);
    }
    return true;
}

bool client_statement_take_no_rows(struct client_statement *statement, int code)
{
    static const uint8_t no_rows[sizeof(uint32_t)] = {0};
    struct pgwire_cursor body = pgwire_cursor_make(no_rows, sizeof(no_rows));
    sq_assert(!client_code_is_error(code));
    return client_statement_take_batch(statement, code, &body);
}

/* Asks for the next rows and waits for them. */
static int ask(struct client_statement *statement, bool is_anew, struct native_answer *ret_answer,
               struct pgwire_cursor *ret_body)
{
    struct client_remote *remote = statement->remote;
    struct sq_buf *out = client_request_begin_on(remote, NATIVE_STEP, statement->connection_number);
    sq_buf_put_u32(out, statement->number);
    client_statement_put_step(statement, out, is_anew ? NATIVE_STEP_ANEW : 0);
    if (is_anew)
        client_bindings_put(statement, out);
    else
        sq_buf_put_u32(out, NATIVE_PARAMETERS_KEPT);
    remote->risk = client_statement_risk(statement);
    return client_request_end(remote, ret_answer, ret_body);
}

/* The next rows of the server. SQLITE_OK: a batch has been taken. Else the error is recorded. */
static int fetch_once(struct client_statement *statement, bool is_anew)
{
    struct client_remote *remote = statement->remote;
    struct native_answer answer;
    struct pgwire_cursor body;
    int64_t from_us = sq_clock_now_us();
    statement->is_interleaved = !is_anew && (statement->is_interleaved || client_ahead_is_interleaved(statement));
    statement->is_in_request = true;
    int code = client_ahead_count(statement) > 0 ? client_ahead_end(statement, &answer, &body)
                                                 : ask(statement, is_anew, &answer, &body);
    statement->is_in_request = false;
    int64_t waited_us = remote->last_answer_us - from_us;
    if (client_code_is_error(code) && body.left == 0)
        return code;
    if (remote->is_settled)
        return client_statement_take_no_rows(statement, code) ? SQLITE_OK
                                                              : client_error_set(remote, SQLITE_NOMEM, NULL);
    statement->must_bind = false;
    if (answer.has_facts && !client_statement_take_facts(statement, &body))
        return client_remote_lose(remote, "the server's answer makes no sense, or there is no memory");
    statement->generation = answer.generation;
    if (!client_statement_take_batch(statement, code, &body))
        return client_remote_lose(remote, "the server's answer makes no sense, or there is no memory");
    client_ahead_begin(statement, waited_us);
    return SQLITE_OK;
}

/* The same; what was lost without a trace is asked for again, once. */
static int fetch(struct client_statement *statement, bool is_anew)
{
    struct client_remote *remote = statement->remote;
    int code = fetch_once(statement, is_anew);
    if (!is_anew || !client_outcome_may_repeat(remote, code))
        return code;
    int again = client_statement_make_ready(statement);
    if (again == SQLITE_OK)
        again = fetch_once(statement, true);
    return client_outcome_of_both(remote, code, again);
}

/* --- The end of a run --- */

/* The server's statement is given up, if it is still open there. */
static int stop(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    bool is_open;
    int code = client_ahead_stop(statement, &is_open);
    bool is_lost = remote->client == NULL || statement->connection_number != remote->connection_number;
    statement->rows_left = 0;
    statement->batch_code = SQLITE_DONE;
    if (code != SQLITE_OK)
        return code;
    if (!is_open || (is_lost && statement->facts.is_readonly))
        return SQLITE_OK;
    if (is_lost) /* and nobody has been told */
        return client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "%s", remote->lost_message);
    if (statement->facts.is_readonly && !client_calls_want_end(remote)) {
        client_request_tell(remote, NATIVE_RESET_ASYNC, statement->number, false);
        return SQLITE_OK;
    }
    struct sq_buf *out = client_request_begin_on(remote, NATIVE_RESET, statement->connection_number);
    sq_buf_put_u32(out, statement->number);
    remote->risk = statement->facts.is_readonly ? CLIENT_RISK_NONE : CLIENT_RISK_WRITE;
    return client_request_end(remote, NULL, NULL);
}

/* The run has ended with `code`, an error being recorded. Returns what step says. */
static int end(struct client_statement *statement, int code)
{
    struct client_remote *remote = statement->remote;
    statement->state = CLIENT_STATEMENT_ENDED;
    statement->code = code;
    client_interrupt_statement_ends(remote);
    if (!client_code_is_error(code)) {
        client_databases_note(remote, statement);
        client_calls_rest(remote);
        return code;
    }
    client_real.sqlite3_free(statement->message);
    statement->message =
        remote->error.message != NULL ? client_real.sqlite3_mprintf("%s", remote->error.message) : NULL;
    client_calls_rest(remote);
    if (statement->is_legacy && (code & 0xff) != SQLITE_BUSY)
        return client_error_set(remote, SQLITE_ERROR, NULL);
    return code;
}

static int begin(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    if (statement->state == CLIENT_STATEMENT_ENDED)
        (void)client_statement_reset(statement);
    statement->state = CLIENT_STATEMENT_ROWS;
    if (statement->is_begun) {
        statement->is_begun = false;
        return SQLITE_OK;
    }
    client_interrupt_statement_begins(remote);
    statement->batch_count = 0;
    statement->rows_left = 0;
    statement->batch_code = SQLITE_DONE;
    int code = client_statement_make_ready(statement);
    if (code != SQLITE_OK)
        return code;
    if (statement->facts.is_attach)
        return client_attach_step(statement);
    return client_vacuum_is_into(statement) ? client_vacuum_step(statement) : fetch(statement, true);
}

/* --- The next row --- */

int client_statement_step(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    if (statement->is_in_request)
        return client_error_set(remote, SQLITE_MISUSE, NULL);
    if (statement->state != CLIENT_STATEMENT_ROWS) {
        int code = begin(statement);
        if (code != SQLITE_OK)
            return end(statement, code);
    }
    client_statement_drop_row(statement);
    for (;;) {
        bool has_more = statement->rows_left > 0 || statement->batch_code == SQLITE_ROW;
        if (has_more && client_interrupt_is_raised(remote)) {
            int code = stop(statement);
            return end(statement,
                       code == SQLITE_IOERR_SQLD_LOST ? code : client_error_set(remote, SQLITE_INTERRUPT, NULL));
        }
        if (statement->rows_left > 0) {
            if (client_statement_read_row(statement))
                return SQLITE_ROW;
            return end(statement, client_remote_lose(remote, "the server's rows make no sense"));
        }
        if (statement->batch_code == SQLITE_DONE || statement->batch_code == SQLITE_OK)
            return end(statement, SQLITE_DONE);
        if (statement->batch_code != SQLITE_ROW) {
            client_error_put_back(remote, statement->pending);
            statement->pending = (struct client_error){.offset = -1};
            return end(statement, remote->error.code);
        }
        int code = fetch(statement, false);
        if (code != SQLITE_OK)
            return end(statement, code);
    }
}

int client_statement_reset(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    int code = SQLITE_OK;
    client_statement_drop_row(statement);
    if (statement->is_begun) {
        statement->is_begun = false;
        statement->state = CLIENT_STATEMENT_ROWS;
    }
    if (statement->state == CLIENT_STATEMENT_ROWS) {
        code = stop(statement);
        client_interrupt_statement_ends(remote);
        client_calls_rest(remote);
    } else if (statement->state == CLIENT_STATEMENT_ENDED && client_code_is_error(statement->code)) {
        /* After an error, SQLite's statement may keep what it has locked until it is reset. */
        if (statement->connection_number == remote->connection_number)
            client_request_tell(remote, NATIVE_RESET_ASYNC, statement->number, false);
        code = statement->message != NULL ? client_error_set(remote, statement->code, "%s", statement->message)
                                          : client_error_set(remote, statement->code, NULL);
    }
    client_real.sqlite3_free(statement->message);
    statement->message = NULL;
    client_real.sqlite3_free(statement->pending.message);
    free(statement->pending.message16);
    statement->pending = (struct client_error){.offset = -1};
    statement->code = SQLITE_OK;
    statement->state = CLIENT_STATEMENT_READY;
    return code;
}

int client_statement_finalize(struct client_statement *statement)
{
    int code = client_statement_reset(statement);
    statement->code = code; /* the cache wants to know */
    client_statement_discard(statement);
    return code;
}

/* --- The interface --- */

/* A row that is there already, if that is all there is to it. */
static bool step_quickly(struct client_statement *statement)
{
    if (statement->state != CLIENT_STATEMENT_ROWS || statement->rows_left == 0 || statement->is_in_request ||
        client_interrupt_is_raised(statement->remote))
        return false;
    client_statement_drop_row(statement);
    if (!client_statement_read_row(statement))
        return false;
    client_remote_note(statement->remote, SQLITE_ROW);
    return true;
}

int client_remote_sqlite3_step(sqlite3_stmt *pointer)
{
    struct client_statement *quick = client_statement_peek(pointer);
    if (quick != NULL && step_quickly(quick))
        return SQLITE_ROW;
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return SQLITE_MISUSE;
    return client_remote_leave(statement->remote, client_statement_step(statement));
}

int client_remote_sqlite3_reset(sqlite3_stmt *pointer)
{
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return SQLITE_MISUSE;
    struct client_remote *remote = statement->remote;
    if (statement->is_in_request)
        return client_remote_leave(remote, client_error_set(remote, SQLITE_MISUSE, NULL));
    if (statement->state == CLIENT_STATEMENT_READY) { /* nothing to do, and no news of errors */
        client_remote_leave_quietly(remote);
        return SQLITE_OK;
    }
    return client_remote_leave(remote, client_statement_reset(statement));
}

int client_remote_sqlite3_finalize(sqlite3_stmt *pointer)
{
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return SQLITE_MISUSE;
    struct client_remote *remote = statement->remote;
    if (statement->is_in_request)
        return client_remote_leave(remote, client_error_set(remote, SQLITE_MISUSE, NULL));
    bool was_run = statement->state != CLIENT_STATEMENT_READY;
    int code = client_statement_finalize(statement);
    if (was_run)
        code = client_remote_leave(remote, code);
    else
        client_remote_leave_quietly(remote);
    (void)client_remote_reap(remote);
    return code;
}

int client_remote_sqlite3_stmt_busy(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    return statement != NULL && statement->state == CLIENT_STATEMENT_ROWS;
}

int client_remote_sqlite3_data_count(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    return statement != NULL && statement->has_row ? (int)statement->column_count : 0;
}
