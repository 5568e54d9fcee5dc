/* engine/native.c: see native.h. */
#include "engine/native.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/connection_internal.h"
#include "engine/database.h"

/* --- Modules ------------------------------------------------------------------------------------------------------ */

/* A connection that nobody has registered anything with; NULL: there was no memory for it. */
static sqlite3 *plain_db;

static void open_plain(void)
{
    if (sqlite3_open_v2(":memory:", &plain_db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) == SQLITE_OK)
        return;
    sqlite3_close(plain_db);
    plain_db = NULL;
}

bool engine_is_builtin_module(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, open_plain);
    sqlite3_stmt *stmt = NULL;
    /* sqlite.org/pragma.html#pragma_module_list */
    if (sqlite3_prepare_v2(plain_db, "SELECT 1 FROM pragma_module_list WHERE name = ?1 COLLATE nocase", -1, &stmt,
                           NULL) != SQLITE_OK)
        return true;
    bool is_builtin =
        sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_DONE;
    sqlite3_finalize(stmt);
    return is_builtin;
}

/* --- Holding the schema --------------------------------------------------------------------------------------------- */

/* SQLite forgets no schema while a table's xBestIndex runs. So the callback is called out of that of a table of ours, for
 * which a statement is compiled that nobody runs. */
struct schema_holder {
    struct engine_connection *connection;
    void (*call_cb)(void *context);
    void *context;
    bool has_called;
};

/* SQLite lets go of it later, when it compiles something else. */
struct holder_table {
    sqlite3_vtab base;
    struct schema_holder *holder;
};

static int holder_connect(sqlite3 *db, void *context, int count, const char *const *texts, sqlite3_vtab **ret_table,
                          char **ret_message)
{
    (void)count;
    (void)texts;
    (void)ret_message;
    struct holder_table *table = calloc(1, sizeof(*table));
    int result = table != NULL ? sqlite3_declare_vtab(db, "CREATE TABLE x(a)") : SQLITE_NOMEM;
    if (result != SQLITE_OK) {
        free(table);
        return result;
    }
    table->holder = context;
    *ret_table = &table->base;
    return SQLITE_OK;
}

static int holder_disconnect(sqlite3_vtab *base)
{
    free(base);
    return SQLITE_OK;
}

static int holder_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    struct schema_holder *holder = ((struct holder_table *)(void *)base)->holder;
    (void)info;
    if (holder->has_called)
        return SQLITE_OK;
    holder->has_called = true;
    bool was_allowed = holder->connection->is_attach_allowed;
    holder->connection->is_attach_allowed = false;
    holder->call_cb(holder->context);
    holder->connection->is_attach_allowed = was_allowed;
    return SQLITE_OK;
}

bool engine_native_hold_schema(struct engine_connection *connection, void (*call_cb)(void *context), void *context)
{
    static const sqlite3_module module = {
        .xConnect = holder_connect, .xBestIndex = holder_best_index, .xDisconnect = holder_disconnect};
    struct schema_holder holder = {.connection = connection, .call_cb = call_cb, .context = context};
    sq_assert(connection->is_native);
    char *name = sqlite3_mprintf("sqld_schema_%u", ++connection->native.holder_number);
    char *sql = name != NULL ? sqlite3_mprintf("SELECT 1 FROM %s", name) : NULL;
    sqlite3_stmt *stmt = NULL;
    if (sql != NULL && sqlite3_create_module_v2(connection->db, name, &module, &holder, NULL) == SQLITE_OK) {
        unsigned effects = connection->state.effects;
        bool was_allowed = connection->is_attach_allowed;
        connection->is_attach_allowed = true; /* nobody is asked about it */
        (void)sqlite3_prepare_v2(connection->db, sql, -1, &stmt, NULL);
        connection->is_attach_allowed = was_allowed;
        connection->state.effects = effects;
        sqlite3_finalize(stmt);
        (void)sqlite3_create_module_v2(connection->db, name, NULL, NULL, NULL);
    }
    sqlite3_free(sql);
    sqlite3_free(name);
    return holder.has_called;
}

/* --- The connection's ---------------------------------------------------------------------------------------------- */

void engine_native_set_authorizer(struct engine_connection *connection,
                                  int (*authorize_cb)(void *context, int action, const char *first, const char *second,
                                                      const char *schema, const char *trigger_or_view),
                                  void *context)
{
    sq_assert(connection->is_native);
    connection->native.authorize_cb = authorize_cb;
    connection->native.authorize_context = context;
    sqlite3_set_authorizer(connection->db, engine_authorize, connection);
}

void engine_native_set_modules(struct engine_connection *connection,
                               bool (*has_module_cb)(void *context, const char *name), void *context)
{
    sq_assert(connection->is_native);
    connection->native.has_module_cb = has_module_cb;
    connection->native.module_context = context;
}

void engine_native_note_error(struct engine_connection *connection, int code)
{
    sq_assert(connection->is_native && code != SQLITE_OK);
    connection->client_error = code;
}

int engine_native_hold_snapshot(struct engine_connection *connection, const char *schema, sqlite3_stmt **ret_snapshot)
{
    char *sql = sqlite3_mprintf("PRAGMA %Q.schema_version", schema);
    if (sql == NULL)
        return SQLITE_NOMEM;
    sqlite3_stmt *stmt = NULL;
    bool was_allowed = connection->is_attach_allowed;
    connection->is_attach_allowed = true;
    int result = sqlite3_prepare_v2(connection->db, sql, -1, &stmt, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(stmt);
    connection->is_attach_allowed = was_allowed;
    sqlite3_free(sql);
    if (result != SQLITE_ROW) {
        sqlite3_finalize(stmt);
        return result == SQLITE_DONE ? SQLITE_ERROR : result;
    }
    *ret_snapshot = stmt;
    return SQLITE_OK;
}

void engine_native_release_snapshot(struct engine_connection *connection, sqlite3_stmt *snapshot)
{
    sq_assert(connection->is_native);
    sqlite3_finalize(snapshot); /* it has only read: there is nothing that could fail */
}

bool engine_native_has_operand(struct engine_connection *connection, sqlite3_stmt *stmt,
                               bool (*is_it_cb)(void *context, const char *operand), void *context)
{
    enum { EXPLAIN_P4 = 5 };
    sq_assert(connection->is_native && !connection->is_inferring);
    sq_assert(sqlite3_stmt_isexplain(stmt) == 0 && sqlite3_stmt_readonly(stmt) != 0);
    char *sql = sqlite3_mprintf("EXPLAIN %s", sqlite3_sql(stmt));
    if (sql == NULL)
        return true;
    sqlite3_stmt *explain = NULL;
    connection->is_inferring = true;
    int result = sqlite3_prepare_v3(connection->db, sql, -1, 0, &explain, NULL);
    bool is_found = result != SQLITE_OK || sqlite3_stmt_isexplain(explain) != 1;
    while (!is_found && (result = sqlite3_step(explain)) == SQLITE_ROW) {
        const char *operand = (const char *)sqlite3_column_text(explain, EXPLAIN_P4);
        is_found = operand != NULL && is_it_cb(context, operand);
    }
    sqlite3_finalize(explain);
    connection->is_inferring = false;
    sqlite3_free(sql);
    return is_found || result != SQLITE_DONE;
}

void engine_native_note_replaced(struct engine_connection *connection)
{
    connection->state.generation++;
    engine_database_note_schema(connection->state.database);
    for (size_t i = 0; i < connection->attached_count; i++)
        engine_database_note_schema(connection->attached[i].database);
}
