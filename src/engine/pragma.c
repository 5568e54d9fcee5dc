/* engine/pragma.c: two tables of pragmas, and what takes the place of some.
 *
 * A native connection belongs to a program that takes the database for its own, and says so: `PRAGMA journal_mode=DELETE`,
 * `locking_mode=EXCLUSIVE`. Such a pragma is answered as SQLite answers one that it cannot follow: with the value that is in
 * force. Where SQLite's own answer would be wrong here (a session's answers wait for the disk, which is synchronous=FULL to
 * it, although its connection runs at NORMAL), the answer is a constant, as SQLite's is: these values, too, are found when
 * the pragma is compiled. A pragma that nobody knows does nothing, as in SQLite.
 *
 *     PASS      SQLite does it: it concerns this connection alone, or is what SQL may do anyway
 *     QUERY     with a value: the same without it
 *     NOTHING   with a value: no effect and no row
 *     KEEP      the connection's settings have the value: see replace_kept()
 *     REFUSE    "not authorized"
 *
 * A private database in memory is nobody else's, so nearly everything passes there, as long as nothing is attached to it. */
#include "engine/pragma.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/connection_internal.h"
#include "engine/database.h"
#include "engine/error.h"
#include "engine/sql_lexer.h"

/* --- The PostgreSQL protocol --------------------------------------------------------------------------------------- */

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

static int authorize_session(const char *name, const char *value)
{
    int needed = value == NULL ? PRAGMA_READ : PRAGMA_SET | PRAGMA_ARGUMENT;
    return (pragma_rights(name) & needed) != 0 ? SQLITE_OK : SQLITE_DENY;
}

bool engine_pragma_is_set(const char *name)
{
    return (pragma_rights(name) & PRAGMA_SET) != 0;
}

/* --- Native connections -------------------------------------------------------------------------------------------- */

enum native_policy { NATIVE_PASS, NATIVE_QUERY, NATIVE_NOTHING, NATIVE_KEEP, NATIVE_REFUSE };

struct native_rule {
    const char *name;
    enum native_policy policy;  /* with a value, on a database of the server's */
    enum native_policy on_own;  /* with a value, on a private one */
    enum native_policy reading; /* without a value */
};

#define PASSES(name)                                                                                                   \
    {                                                                                                                  \
        name, NATIVE_PASS, NATIVE_PASS, NATIVE_PASS                                                                    \
    }

/* Sorted for bsearch(). What is missing does nothing. */
static const struct native_rule native_rules[] = {
    PASSES("analysis_limit"),
    PASSES("application_id"),
    PASSES("auto_vacuum"),
    PASSES("automatic_index"),
    {"busy_timeout", NATIVE_KEEP, NATIVE_KEEP, NATIVE_KEEP},
    PASSES("cache_size"),
    PASSES("cache_spill"),
    PASSES("case_sensitive_like"),
    PASSES("cell_size_check"),
    PASSES("checkpoint_fullfsync"),
    PASSES("collation_list"),
    PASSES("compile_options"),
    PASSES("count_changes"),
    {"data_store_directory", NATIVE_REFUSE, NATIVE_REFUSE, NATIVE_REFUSE},
    PASSES("data_version"),
    PASSES("database_list"),
    PASSES("default_cache_size"),
    PASSES("defer_foreign_keys"),
    PASSES("empty_result_callbacks"),
    PASSES("encoding"),
    PASSES("foreign_key_check"),
    PASSES("foreign_key_list"),
    PASSES("foreign_keys"),
    PASSES("freelist_count"),
    PASSES("full_column_names"),
    PASSES("fullfsync"),
    PASSES("function_list"),
    {"hard_heap_limit", NATIVE_QUERY, NATIVE_QUERY, NATIVE_PASS}, /* of the whole process */
    PASSES("ignore_check_constraints"),
    PASSES("incremental_vacuum"),
    PASSES("index_info"),
    PASSES("index_list"),
    PASSES("index_xinfo"),
    PASSES("integrity_check"),
    {"journal_mode", NATIVE_QUERY, NATIVE_PASS, NATIVE_PASS},
    {"journal_size_limit", NATIVE_QUERY, NATIVE_PASS, NATIVE_PASS}, /* the log is everybody's */
    PASSES("legacy_alter_table"),
    PASSES("legacy_file_format"),
    {"locking_mode", NATIVE_QUERY, NATIVE_PASS, NATIVE_PASS},
    PASSES("max_page_count"),
    {"mmap_size", NATIVE_QUERY, NATIVE_QUERY, NATIVE_PASS}, /* one map for all, see vfs.h */
    PASSES("module_list"),
    PASSES("optimize"),
    PASSES("page_count"),
    PASSES("page_size"),
    PASSES("pragma_list"),
    PASSES("query_only"),
    PASSES("quick_check"),
    PASSES("read_uncommitted"),
    PASSES("recursive_triggers"),
    PASSES("reverse_unordered_selects"),
    /* SQLite too ignores it in defensive mode: statements of other connections would go by an old schema. */
    {"schema_version", NATIVE_NOTHING, NATIVE_PASS, NATIVE_PASS},
    PASSES("secure_delete"),
    PASSES("short_column_names"),
    PASSES("shrink_memory"),
    {"soft_heap_limit", NATIVE_QUERY, NATIVE_QUERY, NATIVE_PASS}, /* of the whole process */
    PASSES("stats"),
    {"synchronous", NATIVE_KEEP, NATIVE_PASS, NATIVE_KEEP},
    PASSES("table_info"),
    PASSES("table_list"),
    PASSES("table_xinfo"),
    PASSES("temp_store"),
    {"temp_store_directory", NATIVE_REFUSE, NATIVE_REFUSE, NATIVE_REFUSE},
    {"threads", NATIVE_QUERY, NATIVE_QUERY, NATIVE_PASS}, /* threads are the server's to count */
    PASSES("trusted_schema"),
    PASSES("user_version"),
    {"wal_autocheckpoint", NATIVE_KEEP, NATIVE_KEEP, NATIVE_KEEP},
    {"wal_checkpoint", NATIVE_QUERY, NATIVE_PASS, NATIVE_PASS}, /* passive: the log is the checkpointer's */
    {"writable_schema", NATIVE_REFUSE, NATIVE_PASS, NATIVE_PASS},
};

static int compare_native(const void *name, const void *rule)
{
    return sqlite3_stricmp(name, ((const struct native_rule *)rule)->name);
}

static enum native_policy native_policy(const struct engine_connection *connection, const char *name, bool has_value)
{
    const struct native_rule *rule = bsearch(name, native_rules, sizeof(native_rules) / sizeof(native_rules[0]),
                                             sizeof(native_rules[0]), compare_native);
    if (rule == NULL)
        return NATIVE_NOTHING;
    /* Without a schema's name some pragmas mean all databases. */
    bool is_own = engine_database_is_private(connection->state.database) && connection->attached_count == 0;
    if (!has_value)
        return rule->reading == NATIVE_KEEP && is_own ? rule->on_own : rule->reading;
    return is_own ? rule->on_own : rule->policy;
}

/* The number that a value begins with, 0 if with none. */
static int number_of(const char *value)
{
    long number = strtol(value, NULL, 10);
    return number > INT_MAX ? INT_MAX : number < 0 ? 0 : (int)number;
}

/* What SQLite makes of PRAGMA synchronous=…, at last. */
static int safety_level(const char *value)
{
    static const struct {
        const char *name;
        int level;
    } names[] = {{"off", 0},  {"no", 0},     {"false", 0}, {"on", 1},   {"yes", 1},
                 {"true", 1}, {"normal", 1}, {"full", 2},  {"extra", 3}};
    if (value[0] >= '0' && value[0] <= '9')
        return (number_of(value) & 0xff) % 4; /* it takes two bits */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (sqlite3_stricmp(names[i].name, value) == 0)
            return names[i].level;
    }
    return 1;
}

static int authorize_native(struct engine_connection *connection, const char *name, const char *value)
{
    switch (native_policy(connection, name, value != NULL)) {
    case NATIVE_PASS:
        return SQLITE_OK;
    case NATIVE_NOTHING:
        return SQLITE_IGNORE;
    case NATIVE_KEEP:
        /* It gives no row, so that nothing takes its place. */
        if (value != NULL && sqlite3_stricmp(name, "synchronous") == 0) {
            connection->native.synchronous = safety_level(value);
            return SQLITE_IGNORE;
        }
        return SQLITE_DENY;
    case NATIVE_QUERY: /* engine_pragma_replace() leaves no value; a table pragma_…() is no way round it */
    case NATIVE_REFUSE:
        break;
    }
    return SQLITE_DENY;
}

int engine_pragma_authorize(struct engine_connection *connection, const char *name, const char *value,
                            const char *schema)
{
    (void)schema;
    return connection->is_native ? authorize_native(connection, name, value) : authorize_session(name, value);
}

/* --- What takes the place of a pragma ------------------------------------------------------------------------------- */

/* PRAGMA [schema.]name [= value | (value)] at the beginning of a text. */
struct parsed_pragma {
    size_t start;    /* of PRAGMA */
    size_t name_end; /* behind its name */
    size_t end;      /* behind the statement and its `;` */
    char name[32];
    char value[64]; /* without quotes; longer ones are cut, and mean nothing anyway */
    bool has_value;
};

static void copy_token(const struct sql_token *token, char *out, size_t out_bytes)
{
    bool is_quoted = (token->kind == SQL_TOKEN_QUOTED || token->kind == SQL_TOKEN_STRING) && token->length >= 2;
    size_t used = strlen(out);
    size_t length = is_quoted ? token->length - 2 : token->length;
    if (length > out_bytes - 1 - used)
        length = out_bytes - 1 - used;
    memcpy(out + used, token->text + (is_quoted ? 1 : 0), length);
    out[used + length] = '\0';
}

/* False: it is none, or none that SQLite would understand. */
static bool parse_pragma(const char *sql, size_t length, struct parsed_pragma *ret_pragma)
{
    struct sql_lexer lexer;
    struct sql_token token;
    struct parsed_pragma pragma = {0};
    sql_lexer_init(&lexer, sql, length, SQL_LEXER_SQLITE);
    do {
        sql_lexer_next(&lexer, &token);
    } while (token.kind == SQL_TOKEN_SEMICOLON);
    if (!sql_token_is(&token, "PRAGMA"))
        return false;
    pragma.start = token.start;
    sql_lexer_next(&lexer, &token);
    struct sql_token name = token;
    sql_lexer_next(&lexer, &token);
    if (token.kind == SQL_TOKEN_DOT) {
        sql_lexer_next(&lexer, &name);
        sql_lexer_next(&lexer, &token);
    }
    if (name.kind != SQL_TOKEN_WORD && name.kind != SQL_TOKEN_QUOTED && name.kind != SQL_TOKEN_STRING)
        return false;
    copy_token(&name, pragma.name, sizeof(pragma.name));
    pragma.name_end = name.start + name.length;
    bool has_parenthesis = token.kind == SQL_TOKEN_LEFT;
    pragma.has_value = has_parenthesis || sql_token_is(&token, "=");
    if (pragma.has_value) {
        sql_lexer_next(&lexer, &token);
        for (; token.kind != SQL_TOKEN_END && token.kind != SQL_TOKEN_SEMICOLON && token.kind != SQL_TOKEN_RIGHT;
             sql_lexer_next(&lexer, &token))
            copy_token(&token, pragma.value, sizeof(pragma.value));
        if (has_parenthesis && token.kind == SQL_TOKEN_RIGHT)
            sql_lexer_next(&lexer, &token);
    }
    if (token.kind != SQL_TOKEN_END && token.kind != SQL_TOKEN_SEMICOLON)
        return false;
    pragma.end = token.kind == SQL_TOKEN_SEMICOLON ? token.start + token.length : length;
    *ret_pragma = pragma;
    return true;
}

/* The statement that gives the value of a pragma whose value is ours, after it has been set. */
static char *replace_kept(struct engine_connection *connection, const struct parsed_pragma *pragma)
{
    struct engine_native_settings *settings = &connection->native;
    int number = pragma->has_value ? number_of(pragma->value) : 0;
    if (sqlite3_stricmp(pragma->name, "busy_timeout") == 0) {
        if (pragma->has_value)
            settings->busy_timeout_ms = number;
        return sqlite3_mprintf("SELECT %d AS timeout", settings->busy_timeout_ms);
    }
    if (sqlite3_stricmp(pragma->name, "wal_autocheckpoint") == 0) {
        if (pragma->has_value)
            settings->wal_autocheckpoint = number;
        return sqlite3_mprintf("SELECT %d AS wal_autocheckpoint", settings->wal_autocheckpoint);
    }
    return sqlite3_mprintf("SELECT %d AS synchronous", settings->synchronous);
}

sq_status engine_pragma_replace(struct engine_connection *connection, const char *sql, size_t length,
                                struct sq_error *err, char **ret_sql, size_t *ret_consumed)
{
    sq_assert(connection->is_native);
    struct parsed_pragma pragma;
    *ret_sql = NULL;
    if (!parse_pragma(sql, length, &pragma))
        return SQ_OK;
    enum native_policy policy = native_policy(connection, pragma.name, pragma.has_value);
    bool is_setting_safety = pragma.has_value && sqlite3_stricmp(pragma.name, "synchronous") == 0;
    if (policy != NATIVE_QUERY && (policy != NATIVE_KEEP || is_setting_safety))
        return SQ_OK;
    char *replaced = policy == NATIVE_QUERY
                         ? sqlite3_mprintf("%.*s", (int)(pragma.name_end - pragma.start), sql + pragma.start)
                         : replace_kept(connection, &pragma);
    if (replaced == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
    *ret_sql = replaced;
    *ret_consumed = pragma.end;
    return SQ_OK;
}
