/* session/simple.c: the simple query protocol (PostgreSQL manual, "Simple Query").
 *
 * One Query may hold many statements. Each is prepared, run and answered before the next is looked at, and each commits
 * by itself unless the client has said BEGIN: SQLite's rule (wire.md), where PostgreSQL would wrap them all in one
 * transaction. An error ends the Query; what was done before stays done. */
#include <string.h>

#include "base/utf8.h"
#include "session/session_internal.h"

void simple_begin(struct session *session, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_query query;
    sq_status status = pgwire_query_decode(frame, &err, &query);
    if (status == SQ_OK) {
        /* A Query ends the unnamed statement and portal (manual, "Extended Query"). */
        prepared_unref(session->unnamed_statement);
        session->unnamed_statement = NULL;
        if (session->unnamed_portal != NULL)
            status = session_close_portal(session, session->unnamed_portal, &err);
    }
    session->state = SESSION_STATE_SIMPLE;
    session->query_text = "";
    session->query_length = 0;
    session->query_at = 0;
    session->query_has_statement = false;
    if (status == SQ_OK) {
        sq_arena_reset(&session->message_arena);
        session->query_text = sq_arena_copy(&session->message_arena, query.text.data, query.text.length);
        session->query_length = query.text.length;
        if (session->query_text == NULL)
            status = sq_fail(&err, SQ_NOMEM, "out of memory for a query of %zu bytes", query.text.length);
    }
    if (status != SQ_OK)
        session_fail(session, &err);
}

static sq_status drop_portal(struct session *session, struct sq_error *err)
{
    if (session->simple_portal == NULL)
        return SQ_OK;
    struct portal *portal = SQ_STEAL(session->simple_portal);
    sq_status status = portal_stop(portal, err);
    portal_free(portal);
    return status;
}

static void simple_end(struct session *session)
{
    session->query_text = NULL;
    session->query_length = session->query_at = 0;
    sq_arena_reset(&session->message_arena);
    session_ready(session);
}

void simple_abort(struct session *session)
{
    /* The error that ends the Query has been sent; this one's failure would be its echo. */
    sq_status status = drop_portal(session, NULL);
    (void)status;
    simple_end(session);
}

/* Whether nothing but white space, comments and semicolons is left. */
static bool is_blank(const char *text, size_t length)
{
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    do {
        sql_lexer_next(&lexer, &token);
    } while (token.kind == SQL_TOKEN_SEMICOLON);
    return token.kind == SQL_TOKEN_END;
}

/* Prepares the next statement. *ret_prepared is NULL at the end of the Query. */
static sq_status next_statement(struct session *session, struct sq_error *err, struct prepared **ret_prepared)
{
    *ret_prepared = NULL;
    while (session->query_at < session->query_length) {
        size_t consumed = 0;
        struct prepared *prepared = NULL;
        const char *text = session->query_text + session->query_at;
        size_t length = session->query_length - session->query_at;
        if (session->query_at > 0 && is_blank(text, length))
            break;
        sq_status status = prepared_get(session, text, length, NULL, 0, false, err, &prepared, &consumed);
        if (status != SQ_OK) {
            if (err->position > 0)
                err->position += (int)sq_utf8_count(session->query_text, session->query_at);
            return status;
        }
        sq_assert(consumed > 0 && consumed <= session->query_length - session->query_at);
        session->query_at += consumed;
        if (prepared->command.kind != COMMAND_EMPTY) {
            *ret_prepared = prepared;
            return SQ_OK;
        }
        prepared_unref(prepared);
    }
    return SQ_OK;
}

static sq_status start_statement(struct session *session, struct prepared *prepared, struct sq_error *err)
{
    if (prepared->parameter_count > 0)
        return sq_fail_sql(err, SQ_SQL, "42P02", "there is no parameter $1");
    return portal_new(session, prepared, err, &session->simple_portal);
}

void simple_next(struct session *session)
{
    struct sq_error err;
    struct prepared *prepared = NULL;
    sq_status status = drop_portal(session, &err);
    if (status == SQ_OK)
        status = next_statement(session, &err, &prepared);
    if (status == SQ_OK && prepared == NULL) {
        if (!session->query_has_statement)
            pgwire_put_empty_query_response(session->out);
        simple_end(session);
        return;
    }
    session->query_has_statement = true;
    if (status == SQ_OK)
        status = start_statement(session, prepared, &err);
    prepared_unref(prepared);
    if (status != SQ_OK)
        session_fail(session, &err);
    else
        execute_portal(session, session->simple_portal, RUN_SIMPLE, 0);
}
