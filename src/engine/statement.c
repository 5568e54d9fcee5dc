/* engine/statement.c: thin over sqlite3_stmt, with placeholder positions and errors put right.
 *
 * Invariant 1: `column_count` is what was announced to whoever prepared the statement. SQLite compiles a statement anew
 * when the schema has changed, and may then find other columns; a row whose width is not `column_count` is an error
 * (PostgreSQL's "cached plan must not change result type"), never a misaligned row.
 * Invariant 2: after a failed or finished step nothing is bound to memory that may go away: reset clears bindings. */
#include "engine/statement.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/declared_type.h"
#include "engine/connection_internal.h"
#include "engine/error.h"
#include "engine/infer.h"
#include "engine/pragma.h"

enum { ENGINE_POSITION_MAX = 65535 };

struct engine_statement {
    struct engine_connection *connection;
    sqlite3_stmt *stmt;
    size_t column_count;
    size_t variable_count;  /* SQLite's */
    size_t parameter_count; /* positions */
    bool is_numbered;       /* uses $1, $2, … */
    bool is_failed;         /* the last step failed: reset will only repeat its error */
    bool is_started;        /* stepped since the last reset */
    bool is_change_allowed; /* invariant 1 is lifted */
    bool has_changed;       /* by the first step of this run */
    bool is_readonly;
    bool is_native;       /* no `positions` */
    bool changes_rows;    /* INSERT, UPDATE, DELETE */
    unsigned effects;     /* enum engine_effect, of those that matter when it has run */
    unsigned traits;      /* enum engine_effect: all, of a native one */
    int compile_count;    /* how often SQLite had compiled it anew when it was last looked at */
    uint32_t positions[]; /* of variable i + 1 */
};

/* The number of a `$N` placeholder; 0 if `name` is not one. Numbers above the limit give the limit + 1. */
static uint32_t numbered_position(const char *name)
{
    if (name == NULL || name[0] != '$' || name[1] == '\0')
        return 0;
    uint32_t position = 0;
    for (const char *at = name + 1; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        position = position * 10 + (uint32_t)(*at - '0');
        if (position > ENGINE_POSITION_MAX)
            position = ENGINE_POSITION_MAX + 1;
    }
    return position;
}

static sq_status map_positions(struct engine_statement *statement, struct sq_error *err)
{
    size_t numbered_count = 0;
    size_t other_count = 0;
    for (size_t i = 0; i < statement->variable_count; i++) {
        const char *name = sqlite3_bind_parameter_name(statement->stmt, (int)i + 1);
        uint32_t position = numbered_position(name);
        if (position > ENGINE_POSITION_MAX || (name != NULL && strcmp(name, "$0") == 0))
            return sq_fail_sql(err, SQ_SQL, "42P02", "there is no parameter %s", name);
        if (position > 0)
            numbered_count++;
        else
            other_count++;
        statement->positions[i] = position > 0 ? position : (uint32_t)i + 1;
        if (statement->positions[i] > statement->parameter_count)
            statement->parameter_count = statement->positions[i];
    }
    /* With ?N, variables that are not mentioned have no name either: they count as `?`, which mixes with ?N only. */
    if (numbered_count > 0 && other_count > 0) {
        sq_status status = sq_fail_sql(err, SQ_SQL, "42P02", "placeholders $1, $2, … cannot be mixed with other kinds");
        sq_error_set_hint(err, "Use either $N or SQLite's ?, ?N, :name and @name in one statement.");
        return status;
    }
    statement->is_numbered = numbered_count > 0;
    return SQ_OK;
}

SQ_DEFINE_FREEP(struct engine_statement, engine_statement_free)

sq_status engine_statement_prepare(struct engine_connection *connection, const char *sql, size_t length,
                                   struct sq_error *err, struct engine_statement **ret_statement, size_t *ret_consumed)
{
    sq_assert(sql[length] == '\0');
    if (length >= (size_t)INT32_MAX)
        return sq_fail(err, SQ_LIMIT, "the statement is too long (%zu bytes)", length);
    sqlite3_stmt *stmt = NULL;
    const char *tail = sql;
    engine_connection_look(connection);
    connection->state.effects = 0;
    /* The length includes the NUL: SQLite then works on our text instead of a copy. */
    int result = sqlite3_prepare_v3(connection->db, sql, (int)length + 1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
    /* Some pragmas work while they are compiled (sqlite.org/pragma.html), also when an error in the text follows. */
    if (SQ_UNLIKELY((connection->state.effects & ENGINE_EFFECT_CONNECTION) != 0))
        engine_connection_note_effects(connection, ENGINE_EFFECT_CONNECTION);
    if (result != SQLITE_OK)
        return engine_fail(err, connection->db, result, sql);
    *ret_consumed = (size_t)(tail - sql);
    if (stmt == NULL) {
        *ret_statement = NULL;
        return SQ_OK;
    }
    size_t variable_count = (size_t)sqlite3_bind_parameter_count(stmt);
    SQ_CLEANUP(engine_statement_freep)
    struct engine_statement *statement = calloc(1, sizeof(*statement) + variable_count * sizeof(uint32_t));
    if (statement == NULL) {
        sqlite3_finalize(stmt);
        return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
    }
    connection->statement_count++;
    statement->connection = connection;
    statement->stmt = stmt;
    statement->is_readonly =
        sqlite3_stmt_readonly(stmt) != 0 && (connection->state.effects & ENGINE_EFFECT_HIDDEN) == 0;
    statement->effects = connection->state.effects & (ENGINE_EFFECT_SCHEMA | ENGINE_EFFECT_CONNECTION);
    /* Connecting a virtual table asks for the same right. */
    statement->changes_rows = !statement->is_readonly && connection->state.effects == ENGINE_EFFECT_ROWS;
    statement->column_count = (size_t)sqlite3_column_count(stmt);
    statement->variable_count = variable_count;
    SQ_TRY(map_positions(statement, err));
    *ret_statement = SQ_STEAL(statement);
    return SQ_OK;
}

/* Compiles `sql`, or what takes its place. SQLite's result, and its message in the connection. */
static sq_status compile_native(struct engine_connection *connection, const char *sql, size_t length, unsigned flags,
                                struct sq_error *err, sqlite3_stmt **ret_stmt, size_t *ret_consumed)
{
    char *replaced = NULL;
    size_t consumed = 0;
    SQ_TRY(engine_pragma_replace(connection, sql, length, err, &replaced, &consumed));
    /* With a NUL behind it: SQLite would make this copy, too, and has another message for texts that are too long then. */
    bool is_replaced = replaced != NULL;
    if (!is_replaced && (replaced = sqlite3_mprintf("%.*s", (int)length, sql)) == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
    const char *tail = replaced;
    connection->state.effects = 0;
    int result = sqlite3_prepare_v3(connection->db, replaced, -1, flags, ret_stmt, &tail);
    if (!is_replaced)
        consumed = (size_t)(tail - replaced);
    sqlite3_free(replaced);
    *ret_consumed = consumed;
    return result == SQLITE_OK ? SQ_OK : engine_fail(err, connection->db, result, NULL);
}

sq_status engine_statement_prepare_native(struct engine_connection *connection, const char *sql, size_t length,
                                          unsigned flags, struct sq_error *err, struct engine_statement **ret_statement,
                                          size_t *ret_consumed)
{
    sq_assert(connection->is_native && length <= (size_t)INT32_MAX);
    sqlite3_stmt *stmt = NULL;
    size_t consumed = 0;
    SQ_TRY(compile_native(connection, sql, length, flags, err, &stmt, &consumed));
    unsigned effects = connection->state.effects;
    struct engine_statement *statement = NULL;
    if (stmt != NULL) {
        statement = calloc(1, sizeof(*statement));
        if (statement == NULL) {
            sqlite3_finalize(stmt);
            return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
        }
        connection->statement_count++;
        statement->connection = connection;
        statement->stmt = stmt;
        statement->is_native = statement->is_change_allowed = true;
        statement->is_readonly = sqlite3_stmt_readonly(stmt) != 0 && (effects & ENGINE_EFFECT_HIDDEN) == 0;
        statement->effects = effects & (ENGINE_EFFECT_SCHEMA | ENGINE_EFFECT_CONNECTION);
        statement->traits = effects;
        statement->column_count = (size_t)sqlite3_column_count(stmt);
        statement->parameter_count = statement->variable_count = (size_t)sqlite3_bind_parameter_count(stmt);
    }
    *ret_statement = statement;
    *ret_consumed = consumed;
    return SQ_OK;
}

sqlite3_stmt *engine_statement_handle(const struct engine_statement *statement)
{
    return statement->stmt;
}

struct engine_native_traits engine_statement_traits(const struct engine_statement *statement)
{
    unsigned traits = statement->traits;
    bool is_own = (traits & (ENGINE_EFFECT_OWN | ENGINE_EFFECT_SHARED)) == ENGINE_EFFECT_OWN;
    bool is_explain = sqlite3_stmt_isexplain(statement->stmt) != 0;
    return (struct engine_native_traits){
        .needs_slot = !statement->is_readonly && !is_own && !is_explain,
        .is_attach = (traits & ENGINE_EFFECT_ATTACH) != 0 && !is_explain,
        .may_detach = (traits & ENGINE_EFFECT_DETACH) != 0,
        .is_volatile = (traits & ENGINE_EFFECT_VOLATILE) != 0,
    };
}

void engine_statement_free(struct engine_statement *statement)
{
    if (statement == NULL)
        return;
    sq_assert(statement->connection->statement_count > 0);
    statement->connection->statement_count--;
    sqlite3_finalize(statement->stmt);
    free(statement);
}

sq_status engine_statement_fail_changed(struct sq_error *err)
{
    sq_status status = sq_fail_sql(err, SQ_SQL, "0A000", "cached plan must not change result type");
    sq_error_set_hint(err, "The schema has changed: prepare the statement again.");
    /* pgjdbc prepares again by itself if the error comes from this function of PostgreSQL. */
    if (err != NULL)
        err->routine = "RevalidateCachedQuery";
    return status;
}

bool engine_statement_is_readonly(const struct engine_statement *statement)
{
    return statement->is_readonly;
}

bool engine_statement_is_explain(const struct engine_statement *statement)
{
    return sqlite3_stmt_isexplain(statement->stmt) != 0;
}

size_t engine_statement_column_count(const struct engine_statement *statement)
{
    return statement->column_count;
}

const char *engine_statement_column_name(const struct engine_statement *statement, size_t column_index)
{
    const char *name = sqlite3_column_name(statement->stmt, (int)column_index);
    return name != NULL ? name : "?column?";
}

enum sq_type engine_statement_column_type(const struct engine_statement *statement, size_t column_index)
{
    const char *declared = sqlite3_column_decltype(statement->stmt, (int)column_index);
    return sq_type_of_declared(declared);
}

size_t engine_statement_parameter_count(const struct engine_statement *statement)
{
    return statement->parameter_count;
}

/* The cache, made on first use: most connections never describe anything. */
static sq_status make_infer_cache(struct engine_connection *connection, struct sq_error *err)
{
    if (connection->infer_cache != NULL)
        return SQ_OK;
    connection->infer_cache = infer_cache_new();
    if (connection->infer_cache == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to infer types");
    for (size_t i = 0; i < connection->function_count; i++) {
        const struct engine_function *function = &connection->functions[i];
        SQ_TRY(infer_cache_add_function(connection->infer_cache, function->name, function->type,
                                        function->argument_type, err));
    }
    return SQ_OK;
}

sq_status engine_statement_infer_types(struct engine_statement *statement, struct sq_error *err,
                                       enum sq_type *ret_columns, enum sq_type *ret_parameters)
{
    for (size_t i = 0; i < statement->parameter_count; i++)
        ret_parameters[i] = SQ_TYPE_ANY;
    enum sq_type *variables = calloc(statement->variable_count + 1, sizeof(*variables));
    if (variables == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to infer types");
    struct engine_connection *connection = statement->connection;
    sq_status status = make_infer_cache(connection, err);
    if (status == SQ_OK) {
        int64_t changes = engine_connection_carry(connection).changes;
        connection->is_inferring = true;
        status = infer_statement_types(connection->db, &connection->infer_cache, statement->stmt, ret_columns,
                                       variables, err);
        connection->is_inferring = false;
        engine_connection_keep_changes(connection, changes);
    }
    if (status == SQ_OK) {
        for (size_t i = 0; i < statement->variable_count; i++)
            ret_parameters[statement->positions[i] - 1] = variables[i];
    }
    free(variables);
    return status;
}

static int bind_value(sqlite3_stmt *stmt, int index, const struct sq_value *value)
{
    switch (value->kind) {
    case SQ_VALUE_NULL:
        return sqlite3_bind_null(stmt, index);
    case SQ_VALUE_INTEGER:
        return sqlite3_bind_int64(stmt, index, value->integer);
    case SQ_VALUE_REAL:
        return sqlite3_bind_double(stmt, index, value->real);
    case SQ_VALUE_TEXT:
        /* A NULL pointer would mean SQL NULL. */
        return sqlite3_bind_text64(stmt, index, value->bytes.length > 0 ? value->bytes.data : "", value->bytes.length,
                                   SQLITE_STATIC, SQLITE_UTF8);
    case SQ_VALUE_BLOB:
        return value->bytes.length > 0
                   ? sqlite3_bind_blob64(stmt, index, value->bytes.data, value->bytes.length, SQLITE_STATIC)
                   : sqlite3_bind_zeroblob(stmt, index, 0);
    }
    return SQLITE_MISUSE;
}

sq_status engine_statement_bind(struct engine_statement *statement, const struct sq_value *values, size_t count,
                                struct sq_error *err)
{
    sq_assert(count == statement->parameter_count && !statement->is_started);
    for (size_t i = 0; i < statement->variable_count; i++) {
        int result = bind_value(statement->stmt, (int)i + 1, &values[statement->positions[i] - 1]);
        if (result != SQLITE_OK)
            return engine_fail(err, statement->connection->db, result, NULL);
    }
    return SQ_OK;
}

size_t engine_statement_bytes(const struct engine_statement *statement)
{
    int bytes = sqlite3_stmt_status(statement->stmt, SQLITE_STMTSTATUS_MEMUSED, 0);
    return sizeof(*statement) + statement->variable_count * sizeof(uint32_t) + (bytes > 0 ? (size_t)bytes : 0);
}

void engine_statement_allow_change(struct engine_statement *statement, bool is_allowed)
{
    statement->is_change_allowed = is_allowed;
}

bool engine_statement_has_changed(const struct engine_statement *statement)
{
    return statement->has_changed;
}

/* Looks, after the first step, whether it was the statement that was prepared. */
static void note_first_step(struct engine_statement *statement)
{
    int compile_count = sqlite3_stmt_status(statement->stmt, SQLITE_STMTSTATUS_REPREPARE, 0);
    statement->has_changed = compile_count != statement->compile_count;
    if (SQ_LIKELY(!statement->has_changed))
        return;
    statement->compile_count = compile_count;
    /* What was learnt about other statements may be as old. */
    statement->connection->state.generation++;
    if (statement->is_change_allowed)
        statement->column_count = (size_t)sqlite3_column_count(statement->stmt);
}

enum engine_step engine_statement_step(struct engine_statement *statement, struct sq_error *err)
{
    struct engine_connection *connection = statement->connection;
    bool is_first = !statement->is_started;
    bool is_within = connection->is_stepping; /* a function of the client's has asked something */
    statement->is_started = true;
    connection->is_stepping = true;
    connection->yield_us = 0;
    connection->has_function_error = false;
    connection->client_error = 0;
    int result = sqlite3_step(statement->stmt);
    connection->is_stepping = is_within;
    if (is_first)
        note_first_step(statement);
    if (statement->is_native && result != SQLITE_ROW)
        statement->is_started = false; /* SQLite begins it anew when it is stepped again */
    if (result == SQLITE_ROW) {
        if (SQ_LIKELY(sqlite3_data_count(statement->stmt) == (int)statement->column_count))
            return ENGINE_STEP_ROW;
        statement->is_failed = true;
        sq_status changed = engine_statement_fail_changed(err);
        sq_assert(changed != SQ_OK);
        return ENGINE_STEP_FAILED;
    }
    engine_connection_after(connection, statement->effects);
    if (statement->changes_rows)
        connection->state.has_changed_rows = true;
    if (result == SQLITE_DONE)
        return ENGINE_STEP_DONE;

    engine_connection_note_damage(connection, result);
    statement->is_failed = true;
    engine_connection_note_failure(connection, result);
    if (connection->has_function_error && (result & 0xff) == SQLITE_ERROR) {
        *err = connection->function_error;
        return ENGINE_STEP_FAILED;
    }
    bool is_clients = connection->client_error != 0 && connection->client_error == result;
    enum engine_stop_reason reason = engine_stop_check(connection->stop);
    /* The client's progress handler stops its statements, too. */
    bool is_brake = (result & 0xff) == SQLITE_INTERRUPT && !is_clients &&
                    (reason != ENGINE_STOP_NONE || connection->native.progress_cb == NULL);
    sq_status status = is_brake ? engine_stop_fail(err, reason)
                                : engine_fail(err, connection->db, result, sqlite3_sql(statement->stmt));
    sq_assert(status != SQ_OK);
    if (is_clients)
        return ENGINE_STEP_FAILED; /* what it means is between the client and its function */
    if (result == SQLITE_BUSY_SNAPSHOT)
        return ENGINE_STEP_CONFLICT;
    if ((result & 0xff) == SQLITE_BUSY || (result & 0xff) == SQLITE_PROTOCOL)
        return ENGINE_STEP_BUSY;
    return ENGINE_STEP_FAILED;
}

sq_status engine_statement_row(struct engine_statement *statement, struct sq_value *values, struct sq_error *err)
{
    sqlite3_stmt *stmt = statement->stmt;
    for (size_t i = 0; i < statement->column_count; i++) {
        int column = (int)i;
        struct sq_value *value = &values[i];
        switch (sqlite3_column_type(stmt, column)) {
        case SQLITE_INTEGER:
            value->kind = SQ_VALUE_INTEGER;
            value->integer = sqlite3_column_int64(stmt, column);
            break;
        case SQLITE_FLOAT:
            value->kind = SQ_VALUE_REAL;
            value->real = sqlite3_column_double(stmt, column);
            break;
        case SQLITE_TEXT:
            value->kind = SQ_VALUE_TEXT;
            value->bytes.data = (const char *)sqlite3_column_text(stmt, column);
            value->bytes.length = (size_t)sqlite3_column_bytes(stmt, column);
            if (SQ_UNLIKELY(value->bytes.data == NULL))
                return sq_fail(err, SQ_NOMEM, "out of memory for a value");
            break;
        case SQLITE_BLOB:
            value->kind = SQ_VALUE_BLOB;
            value->bytes.data = sqlite3_column_blob(stmt, column);
            value->bytes.length = (size_t)sqlite3_column_bytes(stmt, column);
            if (SQ_UNLIKELY(value->bytes.data == NULL && value->bytes.length > 0))
                return sq_fail(err, SQ_NOMEM, "out of memory for a value");
            break;
        default:
            value->kind = SQ_VALUE_NULL;
            break;
        }
    }
    return SQ_OK;
}

sq_status engine_statement_reset(struct engine_statement *statement, struct sq_error *err)
{
    int result = sqlite3_reset(statement->stmt);
    sq_status status = SQ_OK;
    if (statement->is_native) {
        statement->is_started = false;
        if (result == SQLITE_OK)
            return SQ_OK;
        engine_connection_note_failure(statement->connection, result);
        return engine_fail(err, statement->connection->db, result, NULL);
    }
    if (result != SQLITE_OK && !statement->is_failed) {
        engine_connection_note_failure(statement->connection, result);
        status = engine_fail(err, statement->connection->db, result, NULL);
    }
    if (statement->variable_count > 0)
        sqlite3_clear_bindings(statement->stmt);
    statement->is_failed = false;
    statement->is_started = false;
    return status;
}
