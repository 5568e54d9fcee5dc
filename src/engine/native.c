/* engine/native.c: see native.h. */
#include "engine/native.h"

#include "engine/connection_internal.h"
#include "engine/database.h"

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
