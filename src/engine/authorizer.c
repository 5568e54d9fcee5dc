/* engine/authorizer.c: what SQL may not do on a server.
 *
 * SQLite was made to run inside the process whose files it touches; behind a socket the same SQL must not reach the file
 * system, the process or its memory. The authorizer (sqlite.org/c3ref/set_authorizer.html) sees every statement when it
 * is compiled, also inside views and triggers:
 *
 *   ATTACH             only through engine_connection_attach(), which names a database of this server; and of the
 *                      empty name and ":memory:" (temporary databases; VACUUM uses one). VACUUM INTO is an ATTACH of a file: refused.
 *   PRAGMA             only those of the table below, and with a value only where a session may set it.
 *   functions          none that load code or make tokenizers from pointers.
 *   virtual tables     only the modules of the table below.
 *
 * It also sees what a statement will leave behind, and what SQLite does not know: a few things write by statements of
 * their own while sqlite3_stmt_readonly() says that theirs only reads (hidden_writes()).
 *
 * SQLITE_DBCONFIG_DEFENSIVE keeps writable_schema and shadow tables out of reach; TRUSTED_SCHEMA=0 keeps functions that
 * are not marked innocuous out of views, triggers, defaults and indexes (sqlite.org/security.html). */
#include <stdlib.h>
#include <string.h>

#include "engine/connection_internal.h"

enum pragma_right {
    PRAGMA_READ = 1,     /* without a value */
    PRAGMA_SET = 2,      /* with a value that changes something */
    PRAGMA_ARGUMENT = 4, /* with a value that only says of what */
};

struct pragma_rule {
    const char *name;
    int rights;
};

/* sqlite.org/pragma.html, sorted for bsearch(). What is missing is refused: durability (synchronous, journal_mode,
 * checkpoints), memory and files (mmap_size, temp_store_directory, hard_heap_limit), and schema surgery
 * (writable_schema, schema_version, trusted_schema) are the server's. */
static const struct pragma_rule pragma_rules[] = {
    {"analysis_limit", PRAGMA_READ | PRAGMA_SET},
    {"application_id", PRAGMA_READ | PRAGMA_SET},
    {"auto_vacuum", PRAGMA_READ},
    {"automatic_index", PRAGMA_READ | PRAGMA_SET},
    {"busy_timeout", PRAGMA_READ},
    {"cache_size", PRAGMA_READ},
    {"cache_spill", PRAGMA_READ},
    {"case_sensitive_like", PRAGMA_SET},
    {"cell_size_check", PRAGMA_READ | PRAGMA_SET},
    {"collation_list", PRAGMA_READ},
    {"compile_options", PRAGMA_READ},
    {"count_changes", PRAGMA_READ},
    {"data_version", PRAGMA_READ},
    {"database_list", PRAGMA_READ},
    {"defer_foreign_keys", PRAGMA_READ | PRAGMA_SET},
    {"empty_result_callbacks", PRAGMA_READ},
    {"encoding", PRAGMA_READ | PRAGMA_SET}, /* only before the first table, then SQLite ignores it */
    {"foreign_key_check", PRAGMA_READ | PRAGMA_ARGUMENT},
    {"foreign_key_list", PRAGMA_ARGUMENT},
    {"foreign_keys", PRAGMA_READ | PRAGMA_SET},
    {"freelist_count", PRAGMA_READ},
    {"full_column_names", PRAGMA_READ},
    {"fullfsync", PRAGMA_READ},
    {"function_list", PRAGMA_READ},
    {"ignore_check_constraints", PRAGMA_READ | PRAGMA_SET},
    {"incremental_vacuum", PRAGMA_READ | PRAGMA_ARGUMENT},
    {"index_info", PRAGMA_ARGUMENT},
    {"index_list", PRAGMA_ARGUMENT},
    {"index_xinfo", PRAGMA_ARGUMENT},
    {"integrity_check", PRAGMA_READ | PRAGMA_ARGUMENT},
    {"journal_mode", PRAGMA_READ},
    {"journal_size_limit", PRAGMA_READ},
    {"legacy_alter_table", PRAGMA_READ | PRAGMA_SET},
    {"locking_mode", PRAGMA_READ},
    {"max_page_count", PRAGMA_READ},
    {"mmap_size", PRAGMA_READ},
    {"module_list", PRAGMA_READ},
    {"optimize", PRAGMA_READ | PRAGMA_ARGUMENT},
    {"page_count", PRAGMA_READ},
    {"page_size", PRAGMA_READ},
    {"pragma_list", PRAGMA_READ},
    {"query_only", PRAGMA_READ | PRAGMA_SET},
    {"quick_check", PRAGMA_READ | PRAGMA_ARGUMENT},
    {"read_uncommitted", PRAGMA_READ},
    {"recursive_triggers", PRAGMA_READ | PRAGMA_SET},
    {"reverse_unordered_selects", PRAGMA_READ | PRAGMA_SET},
    {"schema_version", PRAGMA_READ},
    {"secure_delete", PRAGMA_READ | PRAGMA_SET},
    {"short_column_names", PRAGMA_READ},
    {"soft_heap_limit", PRAGMA_READ},
    {"synchronous", PRAGMA_READ},
    {"table_info", PRAGMA_ARGUMENT},
    {"table_list", PRAGMA_READ | PRAGMA_ARGUMENT},
    {"table_xinfo", PRAGMA_ARGUMENT},
    {"temp_store", PRAGMA_READ},
    {"threads", PRAGMA_READ},
    {"trusted_schema", PRAGMA_READ},
    {"user_version", PRAGMA_READ | PRAGMA_SET},
    {"wal_autocheckpoint", PRAGMA_READ},
};

static const char *const forbidden_functions[] = {"load_extension", "fts3_tokenizer"};

/* Modules of the system's SQLite that keep everything inside the database. */
static const char *const allowed_modules[] = {"fts3",      "fts4",  "fts5",      "fts3tokenize", "fts4aux",
                                              "fts5vocab", "rtree", "rtree_i32", "geopoly"};

static int compare_pragma(const void *name, const void *rule)
{
    return sqlite3_stricmp(name, ((const struct pragma_rule *)rule)->name);
}

static int pragma_rights(const char *name)
{
    const struct pragma_rule *rule = bsearch(name, pragma_rules, sizeof(pragma_rules) / sizeof(pragma_rules[0]),
                                             sizeof(pragma_rules[0]), compare_pragma);
    return rule != NULL ? rule->rights : 0;
}

static int authorize_pragma(const char *name, const char *value)
{
    int needed = value == NULL ? PRAGMA_READ : PRAGMA_SET | PRAGMA_ARGUMENT;
    return (pragma_rights(name) & needed) != 0 ? SQLITE_OK : SQLITE_DENY;
}

static int authorize_module(const char *module)
{
    for (size_t i = 0; i < sizeof(allowed_modules) / sizeof(allowed_modules[0]); i++) {
        if (sqlite3_stricmp(module, allowed_modules[i]) == 0)
            return SQLITE_OK;
    }
    return SQLITE_DENY;
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
        return second != NULL && (pragma_rights(first) & PRAGMA_SET) != 0 ? ENGINE_EFFECT_CONNECTION : 0;
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

int engine_authorize(void *context, int action, const char *first, const char *second, const char *schema,
                     const char *trigger_or_view)
{
    (void)trigger_or_view;
    struct engine_connection *connection = context;
    if (connection->is_inferring)
        return SQLITE_OK;
    connection->state.effects |= effects_of(action, first, second, schema) | hidden_writes(action, first, second);
    switch (action) {
    case SQLITE_ATTACH:
        if (connection->is_attach_allowed)
            return SQLITE_OK;
        return first != NULL && (first[0] == '\0' || strcmp(first, ":memory:") == 0) ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
        if (connection->is_attach_allowed)
            return SQLITE_OK;
        return authorize_pragma(first, second);
    case SQLITE_FUNCTION:
        for (size_t i = 0; i < sizeof(forbidden_functions) / sizeof(forbidden_functions[0]); i++) {
            if (sqlite3_stricmp(second, forbidden_functions[i]) == 0)
                return SQLITE_DENY;
        }
        return SQLITE_OK;
    case SQLITE_CREATE_VTABLE:
        return authorize_module(second);
    default:
        return SQLITE_OK;
    }
}
