/* engine/connection_state.c: what a session leaves in its connection, and what it takes along to another one.
 *
 * Statements are known by their *effects*, which the authorizer raises while they are compiled. From them follow
 *
 *   the generation    a number that grows with everything that can change a name's meaning. Changes of a database's schema
 *                     count in the database, for all its connections, when they are committed, and in the connection that
 *                     makes them with every statement until then; everything else counts in the connection alone, and
 *                     with every statement until the transaction that could undo it has ended.
 *   statefulness      a connection in which something was left that SQL can see (a temporary table, a pragma, an attached
 *                     database) stays with its session. It is not looked at again when the table is dropped.
 *
 * Three numbers are no reason to keep a connection, but must not be lost: last_insert_rowid(), changes() and
 * total_changes(). The first can be set (sqlite.org/c3ref/set_last_insert_rowid.html). For the others every connection has
 * functions of its own, which add what its session has done on another connection and leave out what other sessions have done
 * on this one. What changes() said is also kept over an inference of types, which sets SQLite's own number to 0 (infer.h). */
#include <string.h>

#include "engine/connection_internal.h"
#include "engine/database.h"
#include "engine/error.h"

/* What the databases have counted. */
static uint64_t databases_generation(const struct engine_connection *connection)
{
    uint64_t generation = engine_database_generation(connection->state.database);
    for (size_t i = 0; i < connection->attached_count; i++)
        generation += engine_database_generation(connection->attached[i].database);
    return generation;
}

uint64_t engine_connection_generation(const struct engine_connection *connection)
{
    return connection->state.generation + databases_generation(connection);
}

/* Which database it was the statement does not say: all that it could have been. */
static void note_schema(struct engine_connection *connection)
{
    engine_database_note_schema(connection->state.database);
    for (size_t i = 0; i < connection->attached_count; i++)
        engine_database_note_schema(connection->attached[i].database);
}

void engine_connection_note_effects(struct engine_connection *connection, unsigned effects)
{
    struct engine_connection_state *state = &connection->state;
    state->generation++;
    if ((effects & ENGINE_EFFECT_CONNECTION) != 0)
        state->is_stateful = true;
    if ((effects & ENGINE_EFFECT_SCHEMA) != 0)
        state->has_pending_schema = true;
    if ((effects & (ENGINE_EFFECT_SCHEMA | ENGINE_EFFECT_CONNECTION)) != 0)
        state->has_pending_names = true;
    if (sqlite3_get_autocommit(connection->db))
        state->has_pending_names = false;
    if (state->has_pending_schema && sqlite3_get_autocommit(connection->db)) {
        state->has_pending_schema = false;
        note_schema(connection);
    }
}

void engine_connection_note_damage(struct engine_connection *connection, int result)
{
    switch (result & 0xff) {
    case SQLITE_NOMEM:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERNAL:
    case SQLITE_MISUSE:
        connection->state.is_damaged = true;
        break;
    default:
        break;
    }
}

/* --- Statements that stay compiled --------------------------------------------------------------------------------- */

static int run_control(struct engine_connection *connection, enum engine_control control, const char *sql)
{
    sqlite3_stmt **stmt = &connection->state.controls[control];
    if (*stmt == NULL) {
        int result = sqlite3_prepare_v3(connection->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
        if (result != SQLITE_OK)
            return result;
    }
    int stepped = sqlite3_step(*stmt);
    int reset = sqlite3_reset(*stmt); /* repeats an error of the step, and leaves its message */
    return stepped == SQLITE_DONE || stepped == SQLITE_ROW ? reset : stepped;
}

void engine_connection_look(struct engine_connection *connection)
{
    uint64_t generation = databases_generation(connection);
    if (SQ_LIKELY(generation == connection->state.seen_generation))
        return;
    connection->state.seen_generation = generation;
    /* An error will be met again by the statement that is to be compiled, or does not matter to it. */
    (void)run_control(connection, ENGINE_CONTROL_LOOK, "SELECT 1 FROM main.sqlite_schema LIMIT 1");
    for (size_t i = 0; i < connection->attached_count; i++) {
        char *sql = sqlite3_mprintf("SELECT 1 FROM %Q.sqlite_schema LIMIT 1", connection->attached[i].alias);
        if (sql != NULL)
            (void)sqlite3_exec(connection->db, sql, NULL, NULL, NULL);
        sqlite3_free(sql);
    }
}

bool engine_connection_exec_control(struct engine_connection *connection, const char *sql, int *ret_result)
{
    static const char *const controls[ENGINE_CONTROL_LOOK] = {
        [ENGINE_CONTROL_BEGIN] = "BEGIN",
        [ENGINE_CONTROL_COMMIT] = "COMMIT",
        [ENGINE_CONTROL_ROLLBACK] = "ROLLBACK",
    };
    size_t control = 0;
    while (control < ENGINE_CONTROL_LOOK && strcmp(controls[control], sql) != 0)
        control++;
    if (control == ENGINE_CONTROL_LOOK)
        return false;
    *ret_result = run_control(connection, (enum engine_control)control, sql);
    return true;
}

void engine_connection_state_done(struct engine_connection *connection)
{
    for (size_t i = 0; i < ENGINE_CONTROL_COUNT; i++)
        sqlite3_finalize(connection->state.controls[i]);
}

/* --- Handing a connection on ---------------------------------------------------------------------------------------- */

bool engine_connection_is_stateless(const struct engine_connection *connection)
{
    const struct engine_connection_state *state = &connection->state;
    return !state->is_stateful && !state->has_pending_schema && connection->attached_count == 0 &&
           sqlite3_get_autocommit(connection->db) && sqlite3_txn_state(connection->db, NULL) == SQLITE_TXN_NONE;
}

/* Whether changes() is SQLite's own number, and not what was noted before. Within the first write it is, as soon as a
 * trigger has changed something. */
static bool has_own_changes(const struct engine_connection *connection)
{
    return connection->state.has_changed_rows ||
           sqlite3_total_changes64(connection->db) != connection->state.noted_total_changes;
}

static int64_t visible_changes(const struct engine_connection *connection)
{
    return has_own_changes(connection) ? sqlite3_changes64(connection->db) : connection->state.carried.changes;
}

void engine_connection_keep_changes(struct engine_connection *connection, int64_t changes)
{
    if (visible_changes(connection) == changes)
        return;
    struct engine_connection_state *state = &connection->state;
    state->carried.changes = changes;
    state->noted_total_changes = sqlite3_total_changes64(connection->db);
    state->has_changed_rows = false;
}

struct engine_carried engine_connection_carry(const struct engine_connection *connection)
{
    const struct engine_connection_state *state = &connection->state;
    return (struct engine_carried){
        .last_insert_rowid = sqlite3_last_insert_rowid(connection->db),
        .changes = visible_changes(connection),
        .total_changes = state->carried.total_changes + sqlite3_total_changes64(connection->db),
    };
}

bool engine_connection_is_as_new(const struct engine_connection *connection)
{
    struct engine_carried carried = engine_connection_carry(connection);
    return connection->statement_count == 0 && !connection->state.is_damaged && !connection->state.has_changed_rows &&
           engine_connection_is_stateless(connection) && carried.last_insert_rowid == 0 && carried.changes == 0 &&
           carried.total_changes == 0;
}

static void sql_changes(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_int64(context, visible_changes(sqlite3_user_data(context)));
}

static void sql_total_changes(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    struct engine_connection *connection = sqlite3_user_data(context);
    sqlite3_result_int64(context, connection->state.carried.total_changes + sqlite3_total_changes64(connection->db));
}

sq_status engine_connection_add_counters(struct engine_connection *connection, struct sq_error *err)
{
    const int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS;
    int result =
        sqlite3_create_function_v2(connection->db, "changes", 0, flags, connection, sql_changes, NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_create_function_v2(connection->db, "total_changes", 0, flags, connection, sql_total_changes,
                                            NULL, NULL, NULL);
    return result == SQLITE_OK ? SQ_OK : engine_fail(err, connection->db, result, NULL);
}

/* What the session will be told, whatever has been done on this connection. */
static void set_counters(struct engine_connection *connection, const struct engine_carried *carried)
{
    struct engine_connection_state *state = &connection->state;
    sqlite3_set_last_insert_rowid(connection->db, carried->last_insert_rowid);
    state->noted_total_changes = sqlite3_total_changes64(connection->db);
    state->carried = *carried;
    state->carried.total_changes -= state->noted_total_changes;
    state->has_changed_rows = false;
}

void engine_connection_take_over(struct engine_connection *connection, const struct engine_carried *carried)
{
    sq_assert(engine_connection_is_as_new(connection));
    set_counters(connection, carried);
}

bool engine_connection_renew(struct engine_connection *connection)
{
    if (connection->statement_count > 0 || connection->state.is_damaged || !engine_connection_is_stateless(connection))
        return false;
    set_counters(connection, &(struct engine_carried){0});
    sq_assert(engine_connection_is_as_new(connection));
    return true;
}

bool engine_connection_fits(const struct engine_connection *connection, const struct engine_database *database,
                            const struct engine_connection_options *options)
{
    return connection->state.database == database && connection->has_foreign_keys == options->has_foreign_keys &&
           connection->functions == options->functions && connection->function_count == options->function_count;
}

void engine_connection_adopt(struct engine_connection *connection, const struct engine_connection_options *options)
{
    sq_assert(options->stop != NULL);
    connection->stop = options->stop;
    connection->function_context = options->function_context;
}
