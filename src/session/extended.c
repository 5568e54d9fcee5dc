/* session/extended.c: the extended query protocol (PostgreSQL manual, "Extended Query"): prepared statements and portals
 * by name. Each message is answered or, after an error, everything up to Sync is dropped. */
#include <stdlib.h>
#include <string.h>

#include "pgwire/pgtype.h"
#include "session/session_internal.h"

/* --- Names -------------------------------------------------------------------------------------------------------- */

sq_status session_find_portal(struct session *session, const char *name, struct sq_error *err,
                              struct portal **ret_portal)
{
    struct portal *portal =
        name[0] == '\0' ? session->unnamed_portal : sq_map_get(&session->portals, name, strlen(name));
    if (portal == NULL)
        return sq_fail_sql(err, SQ_SQL, "34000", "portal \"%.100s\" does not exist", name);
    *ret_portal = portal;
    return SQ_OK;
}

static sq_status find_statement(struct session *session, const char *name, struct sq_error *err,
                                struct prepared **ret_prepared)
{
    struct prepared *prepared =
        name[0] == '\0' ? session->unnamed_statement : sq_map_get(&session->statements, name, strlen(name));
    if (prepared == NULL && name[0] == '\0')
        return sq_fail_sql(err, SQ_SQL, "26000", "unnamed prepared statement does not exist");
    if (prepared == NULL)
        return sq_fail_sql(err, SQ_SQL, "26000", "prepared statement \"%.100s\" does not exist", name);
    *ret_prepared = prepared;
    return SQ_OK;
}

sq_status session_add_portal(struct session *session, struct portal *portal, const char *name, struct sq_error *err)
{
    size_t length = strlen(name);
    if (length == 0) {
        sq_assert(session->unnamed_portal == NULL);
        session->unnamed_portal = portal;
        return SQ_OK;
    }
    if (length >= sizeof(portal->name))
        return sq_fail_sql(err, SQ_SQL, "42622", "the cursor name is longer than %zu bytes", sizeof(portal->name) - 1);
    if (sq_map_get(&session->portals, name, length) != NULL)
        return sq_fail_sql(err, SQ_EXISTS, "42P03", "cursor \"%s\" already exists", name);
    if (session->portals.count >= (size_t)session->config->max_portals)
        return sq_fail(err, SQ_LIMIT, "too many portals: max-portals is %lld", (long long)session->config->max_portals);
    if (sq_map_put(&session->portals, name, length, portal, NULL) != SQ_OK)
        return sq_fail(err, SQ_NOMEM, "out of memory for a portal");
    memcpy(portal->name, name, length + 1);
    portal->name_length = length;
    return SQ_OK;
}

sq_status session_close_portal(struct session *session, struct portal *portal, struct sq_error *err)
{
    sq_assert(session->running != portal);
    if (portal->name_length == 0) {
        sq_assert(session->unnamed_portal == portal);
        session->unnamed_portal = NULL;
    } else {
        sq_map_remove(&session->portals, portal->name, portal->name_length);
    }
    sq_status status = portal_stop(portal, err);
    portal_free(portal);
    return status;
}

sq_status session_close_portals(struct session *session, bool is_all, struct sq_error *err)
{
    sq_status first = SQ_OK;
    if (session->unnamed_portal != NULL && session->unnamed_portal != session->executing)
        first = session_close_portal(session, session->unnamed_portal, err);
    if (session->portals.count == 0)
        return first;
    struct sq_map_cursor at = {0};
    struct portal *portal;
    while ((portal = sq_map_next(&session->portals, &at)) != NULL) {
        if ((portal->is_hold && !is_all) || portal == session->executing)
            continue;
        struct sq_error later;
        sq_status status = session_close_portal(session, portal, first == SQ_OK ? err : &later);
        first = first == SQ_OK ? status : first;
    }
    return first;
}

sq_status session_add_statement(struct session *session, const char *name, struct prepared *prepared,
                                struct sq_error *err)
{
    size_t length = strlen(name);
    if (length == 0) {
        prepared_unref(session->unnamed_statement);
        session->unnamed_statement = prepared;
        return SQ_OK;
    }
    if (sq_map_get(&session->statements, name, length) != NULL)
        return sq_fail_sql(err, SQ_EXISTS, "42P05", "prepared statement \"%.100s\" already exists", name);
    if (session->statements.count >= (size_t)session->config->max_prepared_statements)
        return sq_fail(err, SQ_LIMIT, "too many prepared statements: max-prepared-statements is %lld",
                       (long long)session->config->max_prepared_statements);
    if (sq_map_put(&session->statements, name, length, prepared, NULL) != SQ_OK)
        return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
    return SQ_OK;
}

void session_close_statements(struct session *session)
{
    prepared_unref(session->unnamed_statement);
    session->unnamed_statement = NULL;
    struct sq_map_cursor at = {0};
    struct prepared *prepared;
    while ((prepared = sq_map_next(&session->statements, &at)) != NULL)
        prepared_unref(prepared);
    sq_map_done(&session->statements);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static sq_status parse_statement(struct session *session, const struct pgwire_parse *parse, struct sq_error *err,
                                 struct prepared **ret_prepared)
{
    sq_arena_reset(&session->message_arena);
    uint32_t *types = sq_arena_calloc(&session->message_arena, parse->types.count + 1, sizeof(*types));
    if (types == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
    for (size_t i = 0; i < parse->types.count; i++)
        types[i] = pgwire_oids_get(&parse->types, i);
    size_t consumed = 0;
    struct prepared *prepared = NULL;
    SQ_TRY(prepared_get(session, parse->query.data, parse->query.length, types, parse->types.count, true, err,
                        &prepared, &consumed));
    sq_status status = SQ_OK;
    if (!sql_statement_inspect(parse->query.data + consumed, parse->query.length - consumed).is_empty)
        status = sq_fail_sql(err, SQ_SQL, "42601", "cannot insert multiple commands into a prepared statement");
    if (status == SQ_OK)
        status = transaction_check(session, prepared, err);
    if (status != SQ_OK)
        prepared_unref(prepared);
    else
        *ret_prepared = prepared;
    return status;
}

static sq_status handle_parse(struct session *session, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_parse parse;
    SQ_TRY(pgwire_parse_decode(frame, err, &parse));
    /* The old unnamed statement goes, whether the new one is good or not. */
    if (parse.name.length == 0) {
        prepared_unref(session->unnamed_statement);
        session->unnamed_statement = NULL;
    }
    struct prepared *prepared = NULL;
    SQ_TRY(parse_statement(session, &parse, err, &prepared));
    sq_status status = session_add_statement(session, parse.name.data, prepared, err);
    if (status != SQ_OK) {
        prepared_unref(prepared);
        return status;
    }
    pgwire_put_parse_complete(session->out);
    return SQ_OK;
}

static sq_status handle_bind(struct session *session, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_bind bind;
    SQ_TRY(pgwire_bind_decode(frame, err, &bind));
    struct prepared *prepared = NULL;
    SQ_TRY(find_statement(session, bind.statement.data, err, &prepared));
    SQ_TRY(transaction_check(session, prepared, err));
    if (bind.portal.length == 0 && session->unnamed_portal != NULL)
        SQ_TRY(session_close_portal(session, session->unnamed_portal, err));
    struct portal *portal = NULL;
    SQ_TRY(portal_new(session, prepared, err, &portal));
    sq_status status = portal_bind(portal, &bind, err);
    if (status == SQ_OK)
        status = session_add_portal(session, portal, bind.portal.data, err);
    if (status != SQ_OK) {
        portal_free(portal);
        return status;
    }
    pgwire_put_bind_complete(session->out);
    return SQ_OK;
}

static sq_status describe_statement(struct session *session, const char *name, struct sq_error *err)
{
    struct prepared *prepared = NULL;
    SQ_TRY(find_statement(session, name, err, &prepared));
    SQ_TRY(prepared_resolve_parameters(prepared, err));
    struct prepared *shown = cursors_described(session, prepared, NULL);
    if (shown != NULL)
        SQ_TRY(prepared_resolve_columns(shown, NULL, err));
    size_t mark = sq_buf_length(session->out);
    prepared_describe_parameters(prepared, session->out);
    if (shown != NULL)
        prepared_describe_columns(shown, NULL, session->out);
    else
        pgwire_put_no_data(session->out);
    return session_output_check(session, mark, err);
}

static sq_status describe_portal(struct session *session, const char *name, struct sq_error *err)
{
    struct portal *portal = NULL;
    SQ_TRY(session_find_portal(session, name, err, &portal));
    SQ_TRY(transaction_check(session, portal->prepared, err));
    bool is_binary = false;
    struct prepared *shown = cursors_described(session, portal->prepared, &is_binary);
    /* A first row tells what expressions are. Only what changes nothing is run before Execute. */
    if (shown == portal->prepared && prepared_wants_first_row(shown) && portal->state == PORTAL_READY &&
        shown->is_readonly && shown->sql != NULL && shown->command.kind == COMMAND_SQL) {
        SQ_TRY(portal_start(portal, err));
        run_begin(session, portal, RUN_DESCRIBE, 1);
        return SQ_OK;
    }
    const uint8_t *formats = portal->formats;
    if (shown != NULL)
        SQ_TRY(prepared_resolve_columns(shown, NULL, err));
    if (shown != NULL && shown != portal->prepared)
        SQ_TRY(portal_late_formats(portal, shown->column_count, is_binary, err, &formats));
    size_t mark = sq_buf_length(session->out);
    if (shown != NULL)
        prepared_describe_columns(shown, formats, session->out);
    else
        pgwire_put_no_data(session->out);
    return session_output_check(session, mark, err);
}

static sq_status handle_describe(struct session *session, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_describe describe;
    SQ_TRY(pgwire_describe_decode(frame, err, &describe));
    if (describe.kind == PGWIRE_TARGET_STATEMENT)
        return describe_statement(session, describe.name.data, err);
    return describe_portal(session, describe.name.data, err);
}

/* Whether Sync follows at once: then the statement is a transaction of its own. Anything between could fail, and would have
 * to take the statement back with it; if the rest has not arrived yet, it is unknown, and unknown means no. */
static bool is_last_of_pipeline(const struct session *session, size_t frame_bytes)
{
    static const uint8_t sync[PGWIRE_HEADER_BYTES] = {PGWIRE_SYNC, 0, 0, 0, PGWIRE_LENGTH_BYTES_MIN};
    return sq_buf_length(session->in) - frame_bytes >= sizeof(sync) &&
           memcmp(sq_buf_bytes(session->in) + frame_bytes, sync, sizeof(sync)) == 0;
}

static sq_status handle_execute(struct session *session, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_execute execute;
    SQ_TRY(pgwire_execute_decode(frame, err, &execute));
    struct portal *portal = NULL;
    SQ_TRY(session_find_portal(session, execute.portal.data, err, &portal));
    if (portal->state == PORTAL_READY)
        SQ_TRY(transaction_before_statement(session, portal->prepared,
                                            execute.row_limit == 0 && is_last_of_pipeline(session, frame->total_bytes),
                                            err));
    execute_portal(session, portal, RUN_EXECUTE, execute.row_limit);
    return SQ_OK;
}

static sq_status handle_close(struct session *session, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_close close;
    SQ_TRY(pgwire_close_decode(frame, err, &close));
    const char *name = close.name.data;
    if (close.kind == PGWIRE_TARGET_PORTAL) {
        struct portal *portal =
            close.name.length == 0 ? session->unnamed_portal : sq_map_get(&session->portals, name, close.name.length);
        if (portal != NULL)
            SQ_TRY(session_close_portal(session, portal, err));
    } else if (close.name.length == 0) {
        prepared_unref(session->unnamed_statement);
        session->unnamed_statement = NULL;
    } else {
        prepared_unref(sq_map_remove(&session->statements, name, close.name.length));
    }
    /* Closing what does not exist is no error (manual, "Extended Query"). */
    pgwire_put_close_complete(session->out);
    return SQ_OK;
}

void extended_sync(struct session *session)
{
    struct sq_error err;
    sq_status status = SQ_OK;
    run_release_brake(session);
    if (session->txn == SESSION_TXN_IMPLICIT)
        status = transaction_commit(session, &err);
    else if (session->txn == SESSION_TXN_NONE)
        status = session_close_portals(session, false, &err);
    if (status != SQ_OK)
        session_fail(session, &err);
    session->is_skipping = false;
    if (session->state != SESSION_STATE_CLOSING)
        session_ready(session);
}

void extended_message(struct session *session, const struct pgwire_frame *frame)
{
    struct sq_error err;
    sq_status status = SQ_OK;
    size_t mark = sq_buf_length(session->out);
    switch (frame->type) {
    case PGWIRE_PARSE:
        status = handle_parse(session, frame, &err);
        break;
    case PGWIRE_BIND:
        status = handle_bind(session, frame, &err);
        break;
    case PGWIRE_DESCRIBE:
        status = handle_describe(session, frame, &err);
        break;
    case PGWIRE_EXECUTE:
        status = handle_execute(session, frame, &err);
        break;
    case PGWIRE_CLOSE:
        status = handle_close(session, frame, &err);
        break;
    case PGWIRE_FLUSH:
        status = pgwire_empty_decode(frame, &err);
        break;
    case PGWIRE_SYNC:
        status = pgwire_empty_decode(frame, &err);
        if (status == SQ_OK)
            extended_sync(session);
        break;
    default:
        status = sq_fail(&err, SQ_PROTOCOL, "unexpected message type 0x%02x", frame->type);
        break;
    }
    if (status == SQ_OK)
        status = session_output_check(session, mark, &err);
    if (status != SQ_OK)
        session_fail(session, &err);
}
