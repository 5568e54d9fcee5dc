/* engine/authorizer.c: what SQL may not do on a server.
 *
 * SQLite was made to run inside the process whose files it touches; behind a socket the same SQL must not reach the file
 * system, the process or its memory. The authorizer (sqlite.org/c3ref/set_authorizer.html) sees every statement when it
 * is compiled, also inside views and triggers:
 *
 *   ATTACH             only through engine_connection_attach(), which names a database of this server; and of the
 *                      empty name and ":memory:" (temporary databases; VACUUM uses one). VACUUM INTO is an ATTACH of a file: refused.
 *   PRAGMA             only those of the tables in pragma.c, and with a value only where a session may set it.
 *   functions          none that load code or make tokenizers from pointers.
 *   virtual tables     only the modules of the table below, and those of a native client's own, which run there.
 *   paths              PRAGMA database_list gives names of databases of this server instead.
 *
 * It also sees what a statement will leave behind, and what SQLite does not know: a few things write by statements of
 * their own while sqlite3_stmt_readonly() says that theirs only reads (hidden_writes()). And it sees what SQLite does not
 * tell of a statement: whether what it writes is this connection's alone, so that it need not wait for its turn.
 *
 * Native connections. An ATTACH of a name may be compiled, so that the client learns of its parameters, but is never
 * stepped: statement.h. The client's own authorizer, if it has one, is asked first; ours has the last word.
 *
 * SQLITE_DBCONFIG_DEFENSIVE keeps writable_schema and shadow tables out of reach; TRUSTED_SCHEMA=0 keeps functions that
 * are not marked innocuous out of views, triggers, defaults and indexes (sqlite.org/security.html). */
#include <stdlib.h>
#include <string.h>

#include "engine/connection_internal.h"
#include "engine/pragma.h"

static const char *const forbidden_functions[] = {"load_extension", "fts3_tokenizer"};

/* Modules of the system's SQLite that keep everything inside the database. */
static const char *const allowed_modules[] = {"fts3",      "fts4",  "fts5",      "fts3tokenize", "fts4aux",
                                              "fts5vocab", "rtree", "rtree_i32", "geopoly"};

/* A client's own module keeps what it has in the client. A name that nobody has is for SQLite to refuse: "no such module". */
static int authorize_module(const struct engine_connection *connection, const char *module)
{
    for (size_t i = 0; i < sizeof(allowed_modules) / sizeof(allowed_modules[0]); i++) {
        if (sqlite3_stricmp(module, allowed_modules[i]) == 0)
            return SQLITE_OK;
    }
    const struct engine_native_settings *native = &connection->native;
    if (native->has_module_cb != NULL && native->has_module_cb(native->module_context, module))
        return SQLITE_OK;
    return connection->is_native && !engine_is_builtin_module(module) ? SQLITE_OK : SQLITE_DENY;
}

/* What the statement will leave behind: bits of enum engine_effect. */
static unsigned effects_of(int action, const char *first, const char *second, const char *schema)
{
    bool is_temp = schema != NULL && sqlite3_stricmp(schema, "temp") == 0;
    switch (action) {
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VTABLE:
        return is_temp ? ENGINE_EFFECT_CONNECTION : ENGINE_EFFECT_SCHEMA;
    case SQLITE_ALTER_TABLE: /* the database's name comes first */
        return first != NULL && sqlite3_stricmp(first, "temp") == 0 ? ENGINE_EFFECT_CONNECTION : ENGINE_EFFECT_SCHEMA;
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        return ENGINE_EFFECT_CONNECTION;
    case SQLITE_PRAGMA:
        if (sqlite3_stricmp(first, "database_list") == 0)
            return ENGINE_EFFECT_FILES;
        return second != NULL && engine_pragma_is_set(first) ? ENGINE_EFFECT_CONNECTION : 0;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return ENGINE_EFFECT_ROWS;
    default:
        return 0;
    }
}

/* PRAGMA optimize runs ANALYZE, also as a table; FTS3's and FTS4's optimize() merges its tables in a SELECT. */
static unsigned hidden_writes(int action, const char *first, const char *second)
{
    const char *name = action == SQLITE_FUNCTION ? second : first;
    const char *writer = action == SQLITE_READ ? "pragma_optimize" : "optimize";
    bool may_write = action == SQLITE_PRAGMA || action == SQLITE_FUNCTION || action == SQLITE_READ;
    return may_write && name != NULL && sqlite3_stricmp(name, writer) == 0 ? ENGINE_EFFECT_HIDDEN : 0;
}

/* The paths of files: NULL for SQL. Where PRAGMA database_list is a statement, statement.c puts names in their place. */
static bool is_file_column(const char *table, const char *column)
{
    return table != NULL && column != NULL && sqlite3_stricmp(table, "pragma_database_list") == 0 &&
           sqlite3_stricmp(column, "file") == 0;
}

/* Whether nobody else sees the schema: temporary tables, and what is attached without a file. */
static bool is_own_schema(const struct engine_connection *connection, const char *schema)
{
    if (schema == NULL)
        return false;
    if (sqlite3_stricmp(schema, "temp") == 0)
        return true;
    const char *file = sqlite3_db_filename(connection->db, schema);
    return file != NULL && file[0] == '\0' && connection->is_native;
}

/* What else a native session wants to know of a statement; bits of enum engine_effect. */
static unsigned native_effects(const struct engine_connection *connection, int action, const char *first,
                               const char *second, const char *schema)
{
    static const char *const telling[] = {"changes", "total_changes", "last_insert_rowid"};
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return 0;
    case SQLITE_FUNCTION:
        for (size_t i = 0; i < sizeof(telling) / sizeof(telling[0]); i++) {
            if (sqlite3_stricmp(second, telling[i]) == 0)
                return ENGINE_EFFECT_VOLATILE;
        }
        return 0;
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_TEMP_TRIGGER:
        return ENGINE_EFFECT_OWN;
    case SQLITE_CREATE_TABLE: /* CREATE TABLE temp.t is one of these */
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return is_own_schema(connection, schema) ? ENGINE_EFFECT_OWN : ENGINE_EFFECT_SHARED;
    case SQLITE_DETACH:
        return ENGINE_EFFECT_DETACH | ENGINE_EFFECT_SHARED;
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return sqlite3_stricmp(first, "ROLLBACK") == 0 ? ENGINE_EFFECT_ROLLBACK | ENGINE_EFFECT_SHARED
                                                       : ENGINE_EFFECT_SHARED;
    default:
        return ENGINE_EFFECT_SHARED;
    }
}

/* Of SQL: names of databases of this server are attached by request. */
static int authorize_attach(struct engine_connection *connection, const char *file)
{
    if (file != NULL && (file[0] == '\0' || strcmp(file, ":memory:") == 0))
        return SQLITE_OK;
    /* While a statement runs it is one of SQLite's own making: VACUUM INTO. */
    if (!connection->is_native || connection->is_stepping) {
        connection->native.has_refused_file = connection->is_native;
        return SQLITE_DENY;
    }
    connection->state.effects |= ENGINE_EFFECT_ATTACH;
    return SQLITE_OK;
}

int engine_authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger_or_view)
{
    struct engine_connection *connection = context;
    if (connection->is_inferring)
        return SQLITE_OK;
    if (connection->native.authorize_cb != NULL && !connection->is_attach_allowed) {
        int answer = connection->native.authorize_cb(connection->native.authorize_context, action, first, second,
                                                     schema, trigger_or_view);
        if (answer != SQLITE_OK)
            return answer;
    }
    if (connection->is_native)
        connection->state.effects |= native_effects(connection, action, first, second, schema);
    connection->state.effects |= effects_of(action, first, second, schema) | hidden_writes(action, first, second);
    switch (action) {
    case SQLITE_ATTACH:
        if (connection->is_attach_allowed)
            return SQLITE_OK;
        return authorize_attach(connection, first);
    case SQLITE_PRAGMA:
        if (connection->is_attach_allowed)
            return SQLITE_OK;
        return engine_pragma_authorize(connection, first, second, schema);
    case SQLITE_FUNCTION:
        for (size_t i = 0; i < sizeof(forbidden_functions) / sizeof(forbidden_functions[0]); i++) {
            if (sqlite3_stricmp(second, forbidden_functions[i]) == 0)
                return SQLITE_DENY;
        }
        return SQLITE_OK;
    case SQLITE_CREATE_VTABLE:
        return authorize_module(connection, second);
    case SQLITE_READ:
        return is_file_column(first, second) ? SQLITE_IGNORE : SQLITE_OK;
    default:
        return SQLITE_OK;
    }
}
