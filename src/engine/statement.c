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
#include "engine/sql_lexer.h"

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
    bool shows_files;     /* PRAGMA database_list */
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
    statement->shows_files = (connection->state.effects & ENGINE_EFFECT_FILES) != 0;
    /* Connecting a virtual table asks for the same right. */
    statement->changes_rows = !statement->is_readonly && connection->state.effects == ENGINE_EFFECT_ROWS;
    statement->column_count = (size_t)sqlite3_column_count(stmt);
    statement->variable_count = variable_count;
    SQ_TRY(map_positions(statement, err));
    *ret_statement = SQ_STEAL(statement);
    return SQ_OK;
}

/* The only place where is_started changes: the connection counts. */
static void set_started(struct engine_statement *statement, bool is_started)
{
    size_t *count = &statement->connection->started_count;
    *count += is_started;
    *count -= statement->is_started;
    statement->is_started = is_started;
}

/* CREATE TABLE [IF NOT EXISTS] temp.sqlite_parameters (…): SQLite's shell keeps the values of parameters there. The name is
 * SQLite's own, so the shell asks for a writable schema first, which a server's database has not; a temporary table harms
 * nobody. */
static bool is_parameters_table(const char *sql, size_t length)
{
    static const char *const words[] = {"CREATE", "TABLE", "IF", "NOT", "EXISTS", "temp", ".", "sqlite_parameters"};
    enum { IF = 2, TEMP = 5, COUNT = sizeof(words) / sizeof(words[0]) };
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, sql, length, SQL_LEXER_SQLITE);
    sql_lexer_next(&lexer, &token);
    for (size_t i = 0; i < COUNT; i++) {
        if (i == IF && !sql_token_is(&token, words[IF]))
            i = TEMP;
        bool is_dot = token.kind == SQL_TOKEN_DOT;
        if (is_dot ? words[i][0] != '.' : !sql_token_is(&token, words[i]))
            return false;
        sql_lexer_next(&lexer, &token);
    }
    return token.kind == SQL_TOKEN_LEFT; /* with AS, it could call anything */
}

/* The schema is writable while that statement is compiled or stepped (a change of these settings has SQLite compile it anew
 * then); no other statement comes to it, not one of the client's hooks either: fail_schema_open(). */
static void open_schema(struct engine_connection *connection, bool is_open)
{
    static const int switches[] = {SQLITE_DBCONFIG_WRITABLE_SCHEMA, SQLITE_DBCONFIG_DEFENSIVE};
    sq_assert(connection->is_schema_open != is_open);
    connection->is_schema_open = is_open;
    for (int i = 0; i < 2; i++) {
        int *former = &connection->former_switches[i];
        bool is_writable = switches[i] == SQLITE_DBCONFIG_WRITABLE_SCHEMA;
        if (is_open)
            sqlite3_db_config(connection->db, switches[i], -1, former);
        sqlite3_db_config(connection->db, switches[i], is_open ? is_writable : *former, NULL);
    }
}

static sq_status fail_schema_open(const struct engine_connection *connection, struct sq_error *err)
{
    if (SQ_LIKELY(!connection->is_schema_open))
        return SQ_OK;
    return sq_fail_sql(err, SQ_SQL, "55006", "not while sqlite_parameters is being created");
}

/* Compiles `sql`, or what takes its place. SQLite's result, and its message in the connection. */
static sq_status compile_native(struct engine_connection *connection, const char *sql, size_t length, unsigned flags,
                                struct sq_error *err, sqlite3_stmt **ret_stmt, size_t *ret_consumed)
{
    char *replaced = NULL;
    size_t consumed = 0;
    SQ_TRY(fail_schema_open(connection, err));
    SQ_TRY(engine_pragma_replace(connection, sql, length, err, &replaced, &consumed));
    /* With a NUL behind it: SQLite would make this copy, too, and has another message for texts that are too long then. */
    bool is_replaced = replaced != NULL;
    if (!is_replaced && (replaced = sqlite3_mprintf("%.*s", (int)length, sql)) == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
    const char *tail = replaced;
    connection->state.effects = 0;
    bool opens_schema = is_parameters_table(replaced, strlen(replaced));
    if (SQ_UNLIKELY(opens_schema))
        open_schema(connection, true);
    int result = sqlite3_prepare_v3(connection->db, replaced, -1, flags, ret_stmt, &tail);
    if (SQ_UNLIKELY(opens_schema)) {
        open_schema(connection, false);
        connection->state.effects |= ENGINE_EFFECT_PARAMETERS;
    }
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
    unsigned outer_effects = connection->state.effects; /* of what calls the client while it is being compiled */
    sq_status status = compile_native(connection, sql, length, flags, err, &stmt, &consumed);
    unsigned effects = connection->state.effects;
    connection->state.effects = outer_effects;
    SQ_TRY(status);
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
        statement->shows_files = (effects & ENGINE_EFFECT_FILES) != 0;
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
    set_started(statement, false);
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

/* A native statement has ended. Whether it has rolled back changes of the schema: SQLite then ends all statements that are in
 * their middle (sqlite.org/lang_transaction.html), also those whose rows the client has already. */
static void note_trip(struct engine_statement *statement, int result)
{
    struct engine_native_settings *native = &statement->connection->native;
    bool is_over = sqlite3_get_autocommit(statement->connection->db) != 0;
    bool is_explain = sqlite3_stmt_isexplain(statement->stmt) != 0;
    bool is_rollback = (statement->traits & ENGINE_EFFECT_ROLLBACK) != 0 && result == SQLITE_DONE && !is_explain;
    if (native->has_changed_schema && (is_rollback || (is_over && result != SQLITE_DONE)))
        native->has_tripped = true;
    bool is_temporary =
        (statement->effects & ENGINE_EFFECT_CONNECTION) != 0 && (statement->traits & ENGINE_EFFECT_OWN) != 0;
    if (((statement->effects & ENGINE_EFFECT_SCHEMA) != 0 || is_temporary) && !is_explain)
        native->has_changed_schema = true;
    if (is_over) /* ROLLBACK TO leaves it as it is, as in SQLite */
        native->has_changed_schema = false;
}

enum engine_step engine_statement_step(struct engine_statement *statement, struct sq_error *err)
{
    struct engine_connection *connection = statement->connection;
    if (fail_schema_open(connection, err) != SQ_OK)
        return ENGINE_STEP_FAILED;
    bool is_first = !statement->is_started;
    bool is_within = connection->is_stepping; /* a function of the client's has asked something */
    set_started(statement, true);
    connection->is_stepping = true;
    connection->yield_us = 0;
    connection->has_function_error = false;
    connection->client_error = 0;
    bool opens_schema = (statement->traits & ENGINE_EFFECT_PARAMETERS) != 0;
    if (SQ_UNLIKELY(opens_schema))
        open_schema(connection, true);
    unsigned effects = connection->state.effects; /* of a statement that is being compiled, and has called the client */
    int result = sqlite3_step(statement->stmt);
    connection->state.effects = effects;
    if (SQ_UNLIKELY(opens_schema))
        open_schema(connection, false);
    connection->is_stepping = is_within;
    if (is_first)
        note_first_step(statement);
    if (statement->is_native && result != SQLITE_ROW)
        set_started(statement, false); /* SQLite begins it anew when it is stepped again */
    /* SQLite counts an EXPLAIN as running until it is reset, and refuses changes of the schema meanwhile. */
    if (statement->is_native && result == SQLITE_DONE && sqlite3_stmt_isexplain(statement->stmt) != 0)
        (void)sqlite3_reset(statement->stmt);
    if (result == SQLITE_ROW) {
        if (SQ_LIKELY(sqlite3_data_count(statement->stmt) == (int)statement->column_count))
            return ENGINE_STEP_ROW;
        statement->is_failed = true;
        sq_status changed = engine_statement_fail_changed(err);
        sq_assert(changed != SQ_OK);
        return ENGINE_STEP_FAILED;
    }
    engine_connection_after(connection, statement->effects);
    if (statement->is_native)
        note_trip(statement, result);
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

/* The server's paths are nobody's business: the file is the database's name on this server. EXPLAIN has it in p4. */
static void hide_file(const struct engine_statement *statement, struct sq_value *values)
{
    enum { LIST_NAME = 1, LIST_FILE = 2, LIST_COLUMNS = 3, EXPLAIN_P4 = 5 };
    bool is_list = statement->column_count == LIST_COLUMNS;
    bool is_path = statement->column_count > EXPLAIN_P4 && values[EXPLAIN_P4].kind == SQ_VALUE_TEXT &&
                   values[EXPLAIN_P4].bytes.length > 0 && values[EXPLAIN_P4].bytes.data[0] == '/';
    const char *name = NULL;
    if (is_list && values[LIST_NAME].kind == SQ_VALUE_TEXT)
        name = engine_connection_database_name(statement->connection, values[LIST_NAME].bytes.data);
    if (name == NULL)
        name = "";
    if (is_list || is_path)
        values[is_list ? LIST_FILE : EXPLAIN_P4] =
            (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {name, strlen(name)}};
}

sq_status engine_statement_row(struct engine_statement *statement, struct sq_value *values, struct sq_error *err)
{
    for (size_t i = 0; i < statement->column_count; i++) {
        /* One look at the statement instead of one for each question. Such a value may be asked like any other, since
         * SQLite runs in its multi-thread mode (sqlite.org/c3ref/value.html). */
        sqlite3_value *column = sqlite3_column_value(statement->stmt, (int)i);
        struct sq_value *value = &values[i];
        switch (sqlite3_value_type(column)) {
        case SQLITE_INTEGER:
            value->kind = SQ_VALUE_INTEGER;
            value->integer = sqlite3_value_int64(column);
            break;
        case SQLITE_FLOAT:
            value->kind = SQ_VALUE_REAL;
            value->real = sqlite3_value_double(column);
            break;
        case SQLITE_TEXT:
            value->kind = SQ_VALUE_TEXT;
            value->bytes.data = (const char *)sqlite3_value_text(column);
            value->bytes.length = (size_t)sqlite3_value_bytes(column);
            if (SQ_UNLIKELY(value->bytes.data == NULL))
                return sq_fail(err, SQ_NOMEM, "out of memory for a value");
            break;
        case SQLITE_BLOB:
            value->kind = SQ_VALUE_BLOB;
            value->bytes.data = sqlite3_value_blob(column);
            value->bytes.length = (size_t)sqlite3_value_bytes(column);
            if (SQ_UNLIKELY(value->bytes.data == NULL && value->bytes.length > 0))
                return sq_fail(err, SQ_NOMEM, "out of memory for a value");
            break;
        default:
            value->kind = SQ_VALUE_NULL;
            break;
        }
    }
    if (SQ_UNLIKELY(statement->shows_files))
        hide_file(statement, values);
    return SQ_OK;
}

sq_status engine_statement_reset(struct engine_statement *statement, struct sq_error *err)
{
    int result = sqlite3_reset(statement->stmt);
    sq_status status = SQ_OK;
    if (statement->is_native) {
        set_started(statement, false);
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
    set_started(statement, false);
    return status;
}
