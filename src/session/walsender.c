/* session/walsender.c: the commands of a replica, and CopyBoth. What is sent is decided in repl/; here are the borders of the protocol.
 *
 * Nothing here waits: messages of the replica are taken as they come, and after each, and whenever the session is woken, what there is to send
 * goes into the output, as long as that is below its high-water mark. */
#include "session/walsender.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/sql_lexer.h"
#include "pgwire/backend.h"
#include "pgwire/pgtype.h"
#include "pgwire/replication.h"
#include "repl/node.h"
#include "repl/peer.h"
#include "session/session_internal.h"

struct walsender {
    struct session *session;
    struct repl_node *node;
    struct repl_peer *peer; /* NULL: not streaming */
};

sq_status walsender_new(struct session *session, struct sq_error *err, struct walsender **ret_walsender)
{
    if (session->host->node == NULL)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "this server feeds no replicas");
    struct walsender *walsender = calloc(1, sizeof(*walsender));
    if (walsender == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a replica's session");
    walsender->session = session;
    walsender->node = session->host->node;
    *ret_walsender = walsender;
    return SQ_OK;
}

void walsender_free(struct walsender *walsender)
{
    if (walsender == NULL)
        return;
    repl_peer_free(walsender->peer);
    free(walsender);
}

bool walsender_is_streaming(const struct walsender *walsender)
{
    return walsender->peer != NULL;
}

int64_t walsender_deadline_us(const struct walsender *walsender)
{
    return walsender->peer != NULL ? repl_peer_deadline_us(walsender->peer) : 0;
}

/* --- Commands ------------------------------------------------------------------------------------------------------ */

/* What PostgreSQL's tools may ask for and nobody here can give. */
static sq_status refuse(const char *text, size_t length, struct sq_error *err)
{
    static const char *const known[] = {"CREATE_REPLICATION_SLOT", "DROP_REPLICATION_SLOT", "ALTER_REPLICATION_SLOT",
                                        "READ_REPLICATION_SLOT",   "TIMELINE_HISTORY",      "BASE_BACKUP",
                                        "UPLOAD_MANIFEST"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t known_length = strlen(known[i]);
        if (length >= known_length && strncasecmp(text, known[i], known_length) == 0) {
            sq_status status = sq_fail_sql(err, SQ_SQL, "0A000", "%s is not supported", known[i]);
            sq_error_set_hint(
                err, "A replica of sqld is made with sqld --replica-of=URL: it fetches what it needs by itself.");
            return status;
        }
    }
    return sq_fail_sql(err, SQ_SQL, "0A000", "a replication connection runs no SQL");
}

/* SHOW name, as PostgreSQL allows it here. *ret_name has SETTINGS_NAME_BYTES_MAX + 1 bytes. False: it is something else. */
static bool parse_show(const char *text, size_t length, char *ret_name)
{
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    sql_lexer_next(&lexer, &token);
    if (!sql_token_is(&token, "SHOW"))
        return false;
    sql_lexer_next(&lexer, &token);
    if (token.kind != SQL_TOKEN_WORD || token.length > SETTINGS_NAME_BYTES_MAX)
        return false;
    memcpy(ret_name, token.text, token.length);
    ret_name[token.length] = '\0';
    do {
        sql_lexer_next(&lexer, &token);
    } while (token.kind == SQL_TOKEN_SEMICOLON);
    return token.kind == SQL_TOKEN_END;
}

static sq_status show(struct session *session, const char *name, struct sq_error *err)
{
    const char *shown_name = NULL;
    const char *value = NULL;
    SQ_TRY(settings_show(&session->settings, name, &shown_name, &value, err));
    struct sq_buf *out = session->out;
    const struct pgwire_field field = {.name = shown_name,
                                       .name_length = strlen(shown_name),
                                       .type_oid = PGTYPE_TEXT,
                                       .type_size = -1,
                                       .type_modifier = -1};
    size_t offset = pgwire_put_row_description_begin(out, 1);
    pgwire_put_field(out, &field);
    pgwire_end(out, offset);
    offset = pgwire_put_data_row_begin(out, 1);
    pgwire_put_value(out, value, strlen(value));
    pgwire_end(out, offset);
    pgwire_put_command_complete(out, "SHOW");
    return SQ_OK;
}

static sq_status start(struct walsender *walsender, const struct replication_command *command, struct sq_error *err)
{
    struct session *session = walsender->session;
    SQ_TRY(repl_peer_new(walsender->node, command, session->waker, session->entry.peer, err, &walsender->peer));
    pgwire_put_copy_both_response(session->out, 0, 0);
    session_registry_label(session->host->sessions, &session->entry, NULL, NULL, command->name);
    session_set_activity(session, SESSION_ACTIVE);
    session->idle_since_us = session->quiet_since_us = 0;
    return SQ_OK;
}

/* *ret_is_streaming: no ReadyForQuery follows yet. */
static sq_status run_command(struct walsender *walsender, const char *text, size_t length, struct sq_error *err)
{
    struct session *session = walsender->session;
    struct replication_command command;
    char name[SETTINGS_NAME_BYTES_MAX + 1];
    SQ_TRY(replication_command_parse(text, length, err, &command));
    switch (command.kind) {
    case REPLICATION_IDENTIFY_SYSTEM:
        repl_node_put_identity(walsender->node, session->out);
        return SQ_OK;
    case REPLICATION_START:
        return start(walsender, &command, err);
    case REPLICATION_OTHER:
        break;
    }
    if (parse_show(text, length, name))
        return show(session, name, err);
    size_t blank = strspn(text, " \t\r\n");
    return refuse(text + blank, length - blank, err);
}

static void take_query(struct walsender *walsender, const struct pgwire_frame *frame)
{
    struct session *session = walsender->session;
    struct sq_error err;
    struct pgwire_query query;
    sq_status status = pgwire_query_decode(frame, &err, &query);
    if (status == SQ_OK)
        status = run_command(walsender, query.text.data, query.text.length, &err);
    if (status != SQ_OK) {
        session_fail(session, &err);
        session->is_skipping = false;
    }
    if (walsender->peer == NULL && session->state != SESSION_STATE_CLOSING)
        session_ready(session);
}

/* --- Streaming ----------------------------------------------------------------------------------------------------- */

/* The stream cannot go on: the connection ends, and the replica makes a new one. */
static void end_badly(struct walsender *walsender, struct sq_error *err)
{
    err->is_fatal = true;
    session_fail(walsender->session, err);
    repl_peer_free(SQ_STEAL(walsender->peer));
}

void walsender_give(struct walsender *walsender)
{
    struct session *session = walsender->session;
    struct sq_error err;
    if (repl_peer_give(walsender->peer, session->out, &err) != SQ_OK)
        end_badly(walsender, &err);
}

static void take_copy_data(struct walsender *walsender, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_bytes data = pgwire_copy_data_decode(frame);
    if (repl_peer_take(walsender->peer, data.data, data.length, &err) != SQ_OK)
        end_badly(walsender, &err);
}

/* The replica has had enough: as in PostgreSQL, CopyDone is answered by one, and commands may follow. */
static void end_well(struct walsender *walsender)
{
    struct session *session = walsender->session;
    repl_peer_free(SQ_STEAL(walsender->peer));
    pgwire_put_copy_done(session->out);
    pgwire_put_command_complete(session->out, "START_REPLICATION");
    session_ready(session);
}

static void take_streaming(struct walsender *walsender, const struct pgwire_frame *frame)
{
    struct sq_error err;
    switch (frame->type) {
    case PGWIRE_COPY_DATA:
        take_copy_data(walsender, frame);
        return;
    case PGWIRE_COPY_DONE:
        end_well(walsender);
        return;
    case PGWIRE_SYNC:
    case PGWIRE_FLUSH:
        return;
    default:
        (void)sq_fail(&err, SQ_PROTOCOL, "unexpected message type 0x%02x during replication", frame->type);
        end_badly(walsender, &err);
        return;
    }
}

void walsender_message(struct walsender *walsender, const struct pgwire_frame *frame)
{
    struct session *session = walsender->session;
    struct sq_error err;
    if (walsender->peer != NULL) {
        take_streaming(walsender, frame);
    } else if (frame->type == PGWIRE_QUERY) {
        take_query(walsender, frame);
    } else if (frame->type != PGWIRE_COPY_DATA && frame->type != PGWIRE_COPY_DONE && frame->type != PGWIRE_COPY_FAIL) {
        (void)sq_fail(&err, SQ_PROTOCOL, "the extended query protocol is not supported in a replication connection");
        err.is_fatal = true;
        session_fail(session, &err);
    }
}
