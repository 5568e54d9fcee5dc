/* session/cursors.c: SQL's own words for what the extended protocol does by messages: DECLARE, FETCH, MOVE (portals) and
 * PREPARE, EXECUTE (prepared statements).
 *
 * A cursor is a portal; FETCH runs it with a row limit. Cursors only go forward: SQLite's statements do. WITH HOLD needs
 * no copy of the rows, because a SQLite statement can be read on after COMMIT; it keeps its snapshot until it is closed. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pgwire/pgtype.h"
#include "session/session_internal.h"

sq_status cursors_declare(struct session *session, struct portal *portal, struct sq_error *err)
{
    const struct command_declare *declare = &portal->prepared->command.declare;
    struct prepared *query = portal->prepared->inner;
    sq_assert(query != NULL);
    if (declare->scroll == COMMAND_SCROLL_YES) {
        sq_status status = sq_fail_sql(err, SQ_SQL, "0A000", "scrollable cursors are not supported");
        sq_error_set_hint(err, "Declare it without SCROLL, and fetch forward.");
        return status;
    }
    if (!declare->is_hold && session->txn != SESSION_TXN_EXPLICIT)
        return sq_fail_sql(err, SQ_SQL, "25P01", "DECLARE CURSOR can only be used in transaction blocks");
    struct portal *cursor = NULL;
    SQ_TRY(portal_new(session, query, err, &cursor));
    cursor->is_cursor = true;
    cursor->is_hold = declare->is_hold;
    cursor->is_binary = declare->is_binary;
    sq_status status = portal_copy_parameters(cursor, portal->parameters, query->parameter_count, err);
    if (status == SQ_OK)
        status = session_add_portal(session, cursor, declare->name, err);
    if (status != SQ_OK)
        portal_free(cursor);
    return status;
}

/* Rows that a FETCH wants: *ret_limit 0 means all. */
static sq_status fetch_limit(const struct command_fetch *fetch, struct sq_error *err, uint64_t *ret_limit)
{
    bool is_forward = fetch->direction == COMMAND_FORWARD && fetch->count > 0;
    bool is_next = fetch->direction == COMMAND_RELATIVE && fetch->count == 1;
    if (!is_forward && !is_next) {
        sq_status status = sq_fail_sql(err, SQ_SQL, "55000", "cursor can only scan forward");
        sq_error_set_hint(err, "Use FETCH NEXT, FETCH n, or FETCH ALL.");
        return status;
    }
    *ret_limit = fetch->count == COMMAND_FETCH_ALL ? 0 : (uint64_t)fetch->count;
    return SQ_OK;
}

sq_status cursors_fetch(struct session *session, struct portal *portal, struct sq_error *err, const char **ret_tag)
{
    const struct command *command = &portal->prepared->command;
    struct portal *cursor = NULL;
    if (session_find_portal(session, command->fetch.name, err, &cursor) != SQ_OK || cursor == portal)
        return sq_fail_sql(err, SQ_SQL, "34000", "cursor \"%.63s\" does not exist", command->fetch.name);
    uint64_t row_limit = 0;
    SQ_TRY(fetch_limit(&command->fetch, err, &row_limit));
    enum run_purpose purpose = command->kind == COMMAND_MOVE ? RUN_MOVE : RUN_FETCH;
    /* The formats are this FETCH's, not the cursor's: a row that was encoded for a Describe does not fit. */
    const uint8_t *formats = NULL;
    SQ_TRY(portal_late_formats(portal, cursor->prepared->column_count, cursor->is_binary, err, &formats));
    if (cursor->has_held_row)
        SQ_TRY(portal_rewind(cursor, err));
    *ret_tag = NULL;
    switch (cursor->state) {
    case PORTAL_READY:
        if (cursor->prepared->sql == NULL || cursor->prepared->column_count == 0)
            return sq_fail_sql(err, SQ_SQL, "55000", "cursor \"%s\" has no rows to fetch", cursor->name);
        SQ_TRY(portal_start(cursor, err));
        break;
    case PORTAL_SUSPENDED:
        break;
    case PORTAL_DONE:
        return run_nothing(session, cursor, formats, purpose, err);
    case PORTAL_RUNNING:
    case PORTAL_FAILED:
        return sq_fail_sql(err, SQ_SQL, "55000", "cursor \"%s\" cannot be read after an error", cursor->name);
    }
    portal->state = PORTAL_DONE;
    run_begin(session, cursor, purpose, row_limit);
    session->sink.formats = formats;
    return SQ_OK;
}

/* --- PREPARE, EXECUTE ----------------------------------------------------------------------------------------------- */

/* Type names that PREPARE declares parameters with; what is not here is left to SQLite. */
static uint32_t oid_of_type_name(const char *name)
{
    static const struct {
        const char *name;
        uint32_t oid;
    } names[] = {
        {"int", PGTYPE_INT4},
        {"integer", PGTYPE_INT4},
        {"int4", PGTYPE_INT4},
        {"bigint", PGTYPE_INT8},
        {"int8", PGTYPE_INT8},
        {"smallint", PGTYPE_INT2},
        {"int2", PGTYPE_INT2},
        {"boolean", PGTYPE_BOOL},
        {"bool", PGTYPE_BOOL},
        {"real", PGTYPE_FLOAT4},
        {"float4", PGTYPE_FLOAT4},
        {"float8", PGTYPE_FLOAT8},
        {"double precision", PGTYPE_FLOAT8},
        {"numeric", PGTYPE_NUMERIC},
        {"decimal", PGTYPE_NUMERIC},
        {"text", PGTYPE_TEXT},
        {"varchar", PGTYPE_VARCHAR},
        {"character varying", PGTYPE_VARCHAR},
        {"bytea", PGTYPE_BYTEA},
        {"date", PGTYPE_DATE},
        {"time", PGTYPE_TIME},
        {"timestamp", PGTYPE_TIMESTAMP},
        {"timestamptz", PGTYPE_TIMESTAMPTZ},
        {"uuid", PGTYPE_UUID},
        {"json", PGTYPE_JSON},
        {"jsonb", PGTYPE_JSONB},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(names[i].name, name) == 0)
            return names[i].oid;
    }
    return PGTYPE_UNSPECIFIED;
}

sq_status cursors_parameter_types(const struct command_prepare *prepare, struct sq_arena *arena, struct sq_error *err,
                                  uint32_t **ret_types)
{
    uint32_t *types = sq_arena_calloc(arena, prepare->types.count + 1, sizeof(*types));
    if (types == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
    for (size_t i = 0; i < prepare->types.count; i++)
        types[i] = oid_of_type_name(prepare->types.items[i]);
    *ret_types = types;
    return SQ_OK;
}

static bool is_data_statement(const struct sql_statement_shape *shape)
{
    switch (shape->verb) {
    case SQL_VERB_SELECT:
    case SQL_VERB_VALUES:
    case SQL_VERB_INSERT:
    case SQL_VERB_REPLACE:
    case SQL_VERB_UPDATE:
    case SQL_VERB_DELETE:
        return true;
    default:
        return false;
    }
}

sq_status cursors_prepare(struct session *session, struct portal *portal, struct sq_error *err)
{
    const struct prepared *source = portal->prepared;
    const struct command_prepare *prepare = &source->command.prepare;
    const char *text =
        sq_arena_copy(&portal->arena, source->source + prepare->statement.start, prepare->statement.length);
    uint32_t *types = NULL;
    if (text == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
    SQ_TRY(cursors_parameter_types(prepare, &portal->arena, err, &types));
    size_t consumed = 0;
    struct prepared *prepared = NULL;
    SQ_TRY(prepared_new(session, text, prepare->statement.length, types, prepare->types.count, false, err, &prepared,
                        &consumed));
    /* As in PostgreSQL: not BEGIN, not DISCARD, not EXECUTE. */
    sq_status status = SQ_OK;
    if (prepared->command.kind != COMMAND_SQL || !is_data_statement(&prepared->shape))
        status =
            sq_fail_sql(err, SQ_SQL, "42601", "PREPARE wants a SELECT, INSERT, UPDATE, DELETE or VALUES statement");
    if (status == SQ_OK)
        status = session_add_statement(session, prepare->name, prepared, err);
    if (status != SQ_OK)
        prepared_unref(prepared);
    return status;
}

/* Takes the one row of EXECUTE's argument expressions. */
struct argument_sink {
    struct sink base;
    struct portal *portal; /* whose parameters they become */
};

static sq_status on_arguments(struct sink *base, const struct sq_value *values, size_t count, struct sq_error *err)
{
    struct argument_sink *sink = SQ_CONTAINER_OF(base, struct argument_sink, base);
    return portal_copy_parameters(sink->portal, values, count, err);
}

/* Gets the one row of `statement`. Usually that takes no time; as a subquery can take any, a cancel request stops it. */
static sq_status run_arguments(struct session *session, struct service_statement *statement, struct portal *target,
                               struct sq_error *err)
{
    struct argument_sink sink = {.base = {.row_cb = on_arguments}, .portal = target};
    struct query query = {.statement = statement, .row_limit = 1};
    enum query_progress progress;
    run_activate(session);
    do {
        progress = service_run(session->service, &query, &sink.base, err);
    } while (progress == QUERY_YIELDED);
    run_deactivate(session);
    /* Waiting can only mean another process's lock; *err has it. There is nobody to wait here. */
    bool has_failed = progress == QUERY_FAILED || progress == QUERY_WAITING;
    sq_status status = service_finish(session->service, &query, has_failed ? NULL : err);
    return has_failed ? err->status : status;
}

/* Runs `SELECT arguments` and gives the values to `target`. */
static sq_status evaluate_arguments(struct session *session, struct portal *portal, struct portal *target,
                                    struct sq_error *err)
{
    const struct prepared *source = portal->prepared;
    const struct command_execute *execute = &source->command.execute;
    struct sq_buf sql;
    sq_buf_init(&sql, source->source_length * 2 + 16 * execute->argument_count + 64);
    sq_buf_put_text(&sql, "SELECT ");
    for (size_t i = 0; i < execute->argument_count; i++) {
        sq_buf_put_text(&sql, i > 0 ? ", (" : "(");
        sq_buf_put(&sql, source->source + execute->arguments[i].start, execute->arguments[i].length);
        sq_buf_put_text(&sql, "\n)");
    }
    sq_buf_put_u8(&sql, '\0');
    struct service_statement *statement = NULL;
    size_t consumed = 0;
    sq_status status = sq_buf_check(&sql, err);
    if (status == SQ_OK)
        status = service_prepare(session->service, (const char *)sq_buf_bytes(&sql), sq_buf_length(&sql) - 1, err,
                                 &statement, &consumed);
    if (status == SQ_OK && (!statement->is_readonly || statement->parameter_count > 0 ||
                            statement->column_count != execute->argument_count))
        status = sq_fail_sql(err, SQ_SQL, "42601", "EXECUTE wants plain expressions as arguments");
    if (status == SQ_OK)
        status = run_arguments(session, statement, target, err);
    service_release(session->service, statement);
    sq_buf_done(&sql);
    if (status != SQ_OK)
        err->position = 0;
    return status;
}

/* PREPARE takes queries and changes of rows only (manual, page "PREPARE"); Parse takes anything. What ends transactions,
 * closes portals or is itself an EXECUTE would pull the rug from under the EXECUTE that runs it. */
static bool can_be_executed(const struct prepared *prepared)
{
    switch (prepared->command.kind) {
    case COMMAND_SQL:
    case COMMAND_SHOW:
    case COMMAND_TRUNCATE:
    case COMMAND_EMPTY:
        return true;
    default:
        return false;
    }
}

sq_status cursors_execute(struct session *session, struct portal *portal, enum run_purpose purpose, uint64_t row_limit,
                          struct sq_error *err, const char **ret_tag)
{
    const struct command_execute *execute = &portal->prepared->command.execute;
    struct prepared *prepared = sq_map_get(&session->statements, execute->name, strlen(execute->name));
    if (prepared == NULL)
        return sq_fail_sql(err, SQ_SQL, "26000", "prepared statement \"%.100s\" does not exist", execute->name);
    if (!can_be_executed(prepared))
        return sq_fail_sql(err, SQ_SQL, "0A000", "EXECUTE cannot run %s",
                           prepared->tag != NULL ? prepared->tag : "this command");
    if (execute->argument_count != prepared->parameter_count) {
        sq_status status = sq_fail_sql(err, SQ_SQL, "42601",
                                       "wrong number of parameters for prepared statement \"%.100s\"", execute->name);
        sq_error_set_detail(err, "Expected %zu parameters but got %zu.", prepared->parameter_count,
                            execute->argument_count);
        return status;
    }
    sq_assert(portal->child == NULL);
    SQ_TRY(portal_new(session, prepared, err, &portal->child));
    if (execute->argument_count > 0)
        SQ_TRY(evaluate_arguments(session, portal, portal->child, err));
    const uint8_t *formats = NULL;
    SQ_TRY(portal_late_formats(portal, prepared->column_count, false, err, &formats));
    portal->child->formats = formats;
    *ret_tag = NULL;
    execute_portal(session, portal->child, purpose, row_limit);
    return SQ_OK;
}

struct prepared *cursors_described(struct session *session, struct prepared *prepared, bool *ret_is_binary)
{
    const struct command *command = &prepared->command;
    struct sq_error err;
    struct portal *cursor = NULL;
    if (ret_is_binary != NULL)
        *ret_is_binary = false;
    switch (command->kind) {
    case COMMAND_FETCH:
        if (session_find_portal(session, command->fetch.name, &err, &cursor) != SQ_OK)
            return NULL;
        if (ret_is_binary != NULL)
            *ret_is_binary = cursor->is_binary;
        return cursor->prepared;
    case COMMAND_EXECUTE:
        return sq_map_get(&session->statements, command->execute.name, strlen(command->execute.name));
    default:
        return prepared;
    }
}
