/* session/portal.c: parameters in, statement out. See portal.h. */
#include "session/portal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/statement.h"
#include "pgwire/pgtype.h"
#include "session/session_internal.h"

enum { PORTAL_KEEP_BYTES = 4096 /* of a held row's buffer */ };

sq_status portal_new(struct session *session, struct prepared *prepared, struct sq_error *err,
                     struct portal **ret_portal)
{
    struct portal *portal = SQ_STEAL(session->spare_portal);
    if (portal == NULL) {
        portal = calloc(1, sizeof(*portal));
        if (portal == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a portal");
        sq_arena_init(&portal->arena);
        sq_buf_init(&portal->held_row, session->row_bytes_max);
    }
    portal->session = session;
    portal->prepared = prepared_ref(prepared);
    *ret_portal = portal;
    return SQ_OK;
}

/* Keeps the memory of a portal for the next one: almost every statement needs one. */
static bool keep_spare(struct portal *portal)
{
    struct session *session = portal->session;
    if (session->spare_portal != NULL)
        return false;
    struct sq_arena arena = portal->arena;
    struct sq_buf held_row = portal->held_row;
    sq_arena_reset(&arena);
    sq_buf_truncate(&held_row, 0);
    sq_buf_shrink(&held_row, PORTAL_KEEP_BYTES);
    *portal = (struct portal){.session = session, .arena = arena, .held_row = held_row};
    session->spare_portal = portal;
    return true;
}

void portal_free_spare(struct session *session)
{
    struct portal *portal = SQ_STEAL(session->spare_portal);
    if (portal == NULL)
        return;
    sq_arena_done(&portal->arena);
    sq_buf_done(&portal->held_row);
    free(portal);
}

void portal_free(struct portal *portal)
{
    if (portal == NULL)
        return;
    sq_assert(portal->query.statement == NULL);
    portal_free(portal->child);
    prepared_unref(portal->prepared);
    if (keep_spare(portal))
        return;
    sq_arena_done(&portal->arena);
    sq_buf_done(&portal->held_row);
    free(portal);
}

static sq_status set_formats(struct portal *portal, const struct pgwire_formats *formats, struct sq_error *err)
{
    size_t column_count = portal->prepared->column_count;
    if (formats->count == 0 || column_count == 0)
        return SQ_OK;
    uint8_t *codes = sq_arena_alloc(&portal->arena, column_count);
    if (codes == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a portal");
    for (size_t i = 0; i < column_count; i++)
        codes[i] = (uint8_t)pgwire_formats_get(formats, i);
    portal->formats = codes;
    return SQ_OK;
}

sq_status portal_late_formats(struct portal *portal, size_t column_count, bool is_binary, struct sq_error *err,
                              const uint8_t **ret_formats)
{
    const struct pgwire_formats *given = &portal->raw_formats;
    *ret_formats = NULL;
    if (!is_binary && given->count == 0)
        return SQ_OK;
    if (!pgwire_formats_fit(given, column_count))
        return sq_fail_sql(err, SQ_SQL, "08P01", "bind message has %zu result formats but query has %zu columns",
                           given->count, column_count);
    uint8_t *formats = sq_arena_alloc(&portal->arena, column_count);
    if (formats == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a portal");
    for (size_t i = 0; i < column_count; i++)
        formats[i] = is_binary ? PGWIRE_FORMAT_BINARY : (uint8_t)pgwire_formats_get(given, i);
    *ret_formats = formats;
    return SQ_OK;
}

sq_status portal_rewind(struct portal *portal, struct sq_error *err)
{
    portal->has_held_row = false;
    sq_buf_truncate(&portal->held_row, 0);
    SQ_TRY(portal_stop(portal, err));
    portal->state = PORTAL_READY;
    return SQ_OK;
}

sq_status portal_copy_parameters(struct portal *portal, const struct sq_value *values, size_t count,
                                 struct sq_error *err)
{
    if (count == 0)
        return SQ_OK;
    portal->parameters = sq_arena_calloc(&portal->arena, count, sizeof(*values));
    if (portal->parameters == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for parameters");
    for (size_t i = 0; i < count; i++) {
        portal->parameters[i] = values[i];
        if (values[i].kind != SQ_VALUE_TEXT && values[i].kind != SQ_VALUE_BLOB)
            continue;
        portal->parameters[i].bytes.data = sq_arena_copy(&portal->arena, values[i].bytes.data, values[i].bytes.length);
        if (portal->parameters[i].bytes.data == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for parameters");
    }
    return SQ_OK;
}

static sq_status bind_value(struct portal *portal, size_t index, const struct pgwire_value *value, int format,
                            struct sq_error *err)
{
    struct sq_value *parameter = &portal->parameters[index];
    if (value->is_null) {
        parameter->kind = SQ_VALUE_NULL;
        return SQ_OK;
    }
    uint32_t oid = 0;
    SQ_TRY(prepared_parameter_oid(portal->prepared, index, format, err, &oid));
    /* Text that is no bytea literal still is a value for a BLOB column of SQLite. */
    if (oid == PGTYPE_BYTEA && format == PGWIRE_FORMAT_TEXT && !portal->prepared->is_parameter_declared[index] &&
        !(value->length >= 2 && memcmp(value->data, "\\x", 2) == 0))
        oid = PGTYPE_TEXT;
    sq_status status = pgtype_get(oid, format, value->data, value->length, &portal->arena, parameter, err);
    /* SQLite takes any text in any place; only a client that has declared a type is held to it. */
    if (status == SQ_SQL && format == PGWIRE_FORMAT_TEXT && !portal->prepared->is_parameter_declared[index])
        status = pgtype_get(PGTYPE_TEXT, format, value->data, value->length, &portal->arena, parameter, err);
    SQ_TRY(status);
    /* The message's bytes go away before the portal does. */
    bool is_borrowed = (parameter->kind == SQ_VALUE_TEXT || parameter->kind == SQ_VALUE_BLOB) &&
                       parameter->bytes.length > 0 && (const uint8_t *)parameter->bytes.data >= value->data &&
                       (const uint8_t *)parameter->bytes.data < value->data + value->length;
    if (is_borrowed) {
        parameter->bytes.data = sq_arena_copy(&portal->arena, parameter->bytes.data, parameter->bytes.length);
        if (parameter->bytes.data == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a parameter of %zu bytes", value->length);
    }
    return SQ_OK;
}

sq_status portal_bind(struct portal *portal, const struct pgwire_bind *bind, struct sq_error *err)
{
    struct prepared *prepared = portal->prepared;
    if (bind->parameters.count != prepared->parameter_count)
        return sq_fail_sql(err, SQ_SQL, "08P01",
                           "bind message supplies %zu parameters, but prepared statement \"%s\" requires %zu",
                           bind->parameters.count, bind->statement.data, prepared->parameter_count);
    if (prepared->column_count > 0)
        SQ_TRY(pgwire_bind_check_results(bind, prepared->column_count, err));
    if (prepared->parameter_count > 0) {
        portal->parameters = sq_arena_calloc(&portal->arena, prepared->parameter_count, sizeof(struct sq_value));
        if (portal->parameters == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for parameters");
        struct pgwire_values values = bind->parameters;
        size_t index = 0;
        for (struct pgwire_value value; pgwire_values_next(&values, &value); index++) {
            sq_status status =
                bind_value(portal, index, &value, pgwire_formats_get(&bind->parameter_formats, index), err);
            if (status != SQ_OK) {
                sq_error_set_detail(err, "It is parameter $%zu.", index + 1);
                return status;
            }
        }
    }
    bool is_late = prepared->command.kind == COMMAND_FETCH || prepared->command.kind == COMMAND_EXECUTE;
    if (is_late && bind->result_formats.count > 0) {
        portal->raw_formats = bind->result_formats;
        portal->raw_formats.codes.data = (const uint8_t *)sq_arena_copy(&portal->arena, bind->result_formats.codes.data,
                                                                        bind->result_formats.codes.length);
        if (portal->raw_formats.codes.data == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a portal");
    }
    return set_formats(portal, &bind->result_formats, err);
}

sq_status portal_start(struct portal *portal, struct sq_error *err)
{
    sq_assert(portal->state == PORTAL_READY && portal->query.statement == NULL);
    struct service_statement *statement = NULL;
    size_t column_count = portal->prepared->column_count;
    SQ_TRY(prepared_take_statement(portal->prepared, err, &statement));
    if (SQ_UNLIKELY(portal->prepared->column_count != column_count && portal->formats != NULL)) {
        prepared_give_statement(portal->prepared, statement);
        return engine_statement_fail_changed(err);
    }
    portal->query = (struct query){
        .statement = statement,
        .parameters = portal->parameters,
        .stage = QUERY_NEW,
        .may_change_columns = !portal->prepared->is_announced && portal->formats == NULL,
    };
    return SQ_OK;
}

sq_status portal_follow_change(struct portal *portal, struct sq_error *err)
{
    size_t column_count = portal->prepared->column_count;
    SQ_TRY(prepared_refresh(portal->prepared, portal->query.statement, err));
    if (portal->prepared->column_count != column_count && portal->formats != NULL)
        return engine_statement_fail_changed(err);
    return SQ_OK;
}

sq_status portal_stop(struct portal *portal, struct sq_error *err)
{
    if (portal->child != NULL)
        return portal_stop(portal->child, err);
    if (portal->query.statement == NULL)
        return SQ_OK;
    sq_status status = service_finish(portal->session->service, &portal->query, err);
    prepared_give_statement(portal->prepared, portal->query.statement);
    portal->query.statement = NULL;
    if (portal->state == PORTAL_RUNNING || portal->state == PORTAL_SUSPENDED)
        portal->state = status == SQ_OK ? PORTAL_DONE : PORTAL_FAILED;
    return status;
}
