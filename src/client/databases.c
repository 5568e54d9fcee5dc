/* client/databases.c: names of databases, settings, and their like. See databases.h. */
#include "client/databases.h"

#include <stdlib.h>
#include <string.h>

#include "client/remote_api.h"
#include "client/statement.h"

/* A PRAGMA that has set something. */
struct setting {
    struct sq_list links;
    char *name; /* of the pragma, with its schema */
    char *sql;
};

/* --- What is remembered --- */

static void attached_free(struct client_attached *attached)
{
    sq_list_remove(&attached->links);
    if (attached->filename != NULL)
        client_real.sqlite3_free_filename(attached->filename);
    free(attached->schema);
    free(attached->database);
    free(attached);
}

static struct client_attached *attached_find(const struct client_remote *remote, const char *schema)
{
    SQ_LIST_FOREACH (i, &remote->attached) {
        struct client_attached *attached = SQ_CONTAINER_OF(i, struct client_attached, links);
        if (client_real.sqlite3_stricmp(attached->schema, schema) == 0)
            return attached;
    }
    return NULL;
}

bool client_databases_attach(struct client_remote *remote, const char *schema, const char *database,
                             const char *filename, uint8_t flags)
{
    struct client_attached *attached = calloc(1, sizeof(*attached));
    if (attached == NULL)
        return false;
    sq_list_init(&attached->links);
    attached->schema = strdup(schema);
    attached->database = strdup(database);
    attached->flags = flags;
    attached->filename = client_real.sqlite3_create_filename(filename, "", "", 0, NULL);
    if (attached->schema == NULL || attached->database == NULL || attached->filename == NULL) {
        attached_free(attached);
        return false;
    }
    sq_list_push_back(&remote->attached, &attached->links);
    return true;
}

static void setting_free(struct setting *setting)
{
    sq_list_remove(&setting->links);
    client_real.sqlite3_free(setting->name);
    client_real.sqlite3_free(setting->sql);
    free(setting);
}

/* Settings of a connection, not of its database; https://sqlite.org/pragma.html. */
static bool is_setting(const char *name, size_t length)
{
    static const char *const names[] = {
        "analysis_limit",
        "automatic_index",
        "busy_timeout",
        "cache_size",
        "cache_spill",
        "case_sensitive_like",
        "cell_size_check",
        "count_changes",
        "empty_result_callbacks",
        "foreign_keys",
        "full_column_names",
        "fullfsync",
        "ignore_check_constraints",
        "journal_size_limit",
        "legacy_alter_table",
        "query_only",
        "read_uncommitted",
        "recursive_triggers",
        "reverse_unordered_selects",
        "secure_delete",
        "short_column_names",
        "synchronous",
        "temp_store",
        "threads",
        "trusted_schema",
        "wal_autocheckpoint",
        "writable_schema",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == length && client_real.sqlite3_strnicmp(names[i], name, (int)length) == 0)
            return true;
    }
    return false;
}

/* PRAGMA [schema.]name = value or name(value). A failure to remember (no memory) only matters after a loss, and then the
 * setting is SQLite's default, so it is not worth an error here. */
static void pragma_note(struct client_remote *remote, const char *sql)
{
    const char *at = strcasestr(sql, "pragma");
    if (at == NULL)
        return;
    at += strlen("pragma");
    at += strspn(at, " \t\r\n");
    size_t length = strcspn(at, " \t\r\n=(;");
    const char *value = at + length + strspn(at + length, " \t\r\n");
    const char *dot = memchr(at, '.', length);
    const char *name = dot != NULL ? dot + 1 : at;
    if ((*value != '=' && *value != '(') || !is_setting(name, length - (size_t)(name - at)))
        return;
    struct setting *setting = calloc(1, sizeof(*setting));
    if (setting == NULL)
        return;
    sq_list_init(&setting->links);
    setting->name = client_real.sqlite3_mprintf("%.*s", (int)length, at);
    setting->sql = client_real.sqlite3_mprintf("%s", sql);
    if (setting->name == NULL || setting->sql == NULL) {
        setting_free(setting);
        return;
    }
    SQ_LIST_FOREACH (i, &remote->pragmas) {
        struct setting *old = SQ_CONTAINER_OF(i, struct setting, links);
        if (client_real.sqlite3_stricmp(old->name, setting->name) == 0)
            setting_free(old);
    }
    sq_list_push_back(&remote->pragmas, &setting->links);
}

/* The names that are attached now, on the server. */
static void detached_note(struct client_remote *remote)
{
    SQ_LIST_FOREACH (i, &remote->attached) {
        struct client_attached *attached = SQ_CONTAINER_OF(i, struct client_attached, links);
        if (client_remote_sqlite3_db_readonly(remote->handle, attached->schema) < 0)
            attached_free(attached);
    }
}

void client_databases_note(struct client_remote *remote, const struct client_statement *statement)
{
    bool is_fileless = statement->kind == CLIENT_SQL_ATTACH && !statement->facts.is_attach;
    if (statement->kind == CLIENT_SQL_TEMPORARY || is_fileless)
        remote->has_temporary = true;
    else if (statement->kind == CLIENT_SQL_PRAGMA && !remote->is_connecting)
        pragma_note(remote, statement->sql);
    else if (statement->kind == CLIENT_SQL_DETACH)
        detached_note(remote);
}

static int attach_again(struct client_remote *remote, const struct client_attached *attached)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_ATTACH);
    native_put_text(out, attached->database);
    native_put_text(out, attached->schema);
    sq_buf_put_u8(out, attached->flags & (uint8_t)~NATIVE_ATTACH_CREATE);
    return client_request_end(remote, NULL, NULL);
}

int client_databases_replay(struct client_remote *remote)
{
    int code = SQLITE_OK;
    SQ_LIST_FOREACH (i, &remote->attached) {
        if (code == SQLITE_OK)
            code = attach_again(remote, SQ_CONTAINER_OF(i, struct client_attached, links));
    }
    SQ_LIST_FOREACH (j, &remote->pragmas) {
        if (code == SQLITE_OK)
            code = client_remote_exec(remote, SQ_CONTAINER_OF(j, struct setting, links)->sql, NULL, NULL);
    }
    for (int id = 0; id < CLIENT_LIMIT_COUNT && code == SQLITE_OK; id++) {
        if ((remote->limits_set & 1u << id) == 0)
            continue;
        struct sq_buf *out = client_request_begin(remote, NATIVE_LIMIT);
        sq_buf_put_u32(out, (uint32_t)id);
        sq_buf_put_u32(out, (uint32_t)remote->limits[id]);
        code = client_request_end(remote, NULL, NULL);
    }
    return code;
}

void client_databases_free(struct client_remote *remote)
{
    SQ_LIST_FOREACH (i, &remote->attached)
        attached_free(SQ_CONTAINER_OF(i, struct client_attached, links));
    SQ_LIST_FOREACH (j, &remote->pragmas)
        setting_free(SQ_CONTAINER_OF(j, struct setting, links));
    free(remote->main_name);
    free(remote->schema_name);
    struct sq_map_cursor at = {0};
    for (char *name; (name = sq_map_next(&remote->names, &at)) != NULL;)
        free(name);
    sq_map_done(&remote->names);
}

/* --- Names --- */

static char *text_copy(const struct pgwire_bytes *text)
{
    return text->data != NULL ? strndup((const char *)text->data, text->length) : NULL;
}

static bool text_is(const struct pgwire_bytes *text, const char *name)
{
    return text->data != NULL && strlen(name) == text->length &&
           client_real.sqlite3_strnicmp((const char *)text->data, name, (int)text->length) == 0;
}

static bool is_main(const struct client_remote *remote, const char *schema)
{
    return schema == NULL || client_real.sqlite3_stricmp(schema, "main") == 0 ||
           (remote->main_name != NULL && client_real.sqlite3_stricmp(schema, remote->main_name) == 0);
}

const char *client_databases_schema(const struct client_remote *remote, const char *schema)
{
    return schema != NULL && is_main(remote, schema) ? "main" : schema;
}

/* Goes through DATABASES. `index` >= 0: that one; else the one of the name `schema`. False: there is none. *ret_name (may
 * be NULL) is the caller's to free. The error state stays. */
static bool database_find(struct client_remote *remote, int index, const char *schema, char **ret_name,
                          bool *ret_readonly)
{
    struct client_error error = client_error_take(remote);
    (void)client_request_begin(remote, NATIVE_DATABASES);
    struct pgwire_cursor body;
    bool is_found = false;
    if (client_request_end(remote, NULL, &body) == SQLITE_OK) {
        uint32_t count = pgwire_get_u32(&body);
        for (uint32_t i = 0; i < count && !body.is_failed && !is_found; i++) {
            struct pgwire_bytes name = native_get_bytes(&body);
            (void)native_get_bytes(&body);
            *ret_readonly = pgwire_get_u8(&body) != 0;
            is_found = index >= 0 ? i == (uint32_t)index : text_is(&name, schema);
            if (is_found && ret_name != NULL)
                *ret_name = text_copy(&name);
        }
    }
    client_error_put_back(remote, error);
    return is_found;
}

bool client_databases_has(struct client_remote *remote, const char *schema)
{
    bool is_readonly;
    return is_main(remote, schema) || client_real.sqlite3_stricmp(schema, "temp") == 0 ||
           database_find(remote, -1, schema, NULL, &is_readonly);
}

const char *client_remote_sqlite3_db_name(sqlite3 *db, int index)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    const char *name = NULL;
    char *found;
    bool is_readonly;
    if (index == 0) {
        name = remote->main_name != NULL ? remote->main_name : "main";
    } else if (index == 1) {
        name = "temp";
    } else if (index > 1 && database_find(remote, index, NULL, &found, &is_readonly)) {
        /* An attached one's name is remembered as long as it is attached; else until the next call. */
        struct client_attached *attached = found != NULL ? attached_find(remote, found) : NULL;
        if (attached != NULL) {
            free(found);
            name = attached->schema;
        } else {
            free(remote->schema_name);
            name = remote->schema_name = found;
        }
    }
    client_remote_leave_quietly(remote);
    return name;
}

int client_remote_sqlite3_db_readonly(sqlite3 *db, const char *schema)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return -1;
    bool is_readonly = false;
    const char *name = schema == NULL ? "main" : client_databases_schema(remote, schema);
    bool is_found = database_find(remote, -1, name, NULL, &is_readonly);
    client_remote_leave_quietly(remote);
    return is_found ? is_readonly : client_real.sqlite3_stricmp(name, "temp") == 0 ? 0 : -1;
}

sqlite3_filename client_remote_sqlite3_db_filename(sqlite3 *db, const char *schema)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    const struct client_attached *attached = schema != NULL ? attached_find(remote, schema) : NULL;
    sqlite3_filename filename = NULL;
    if (is_main(remote, schema))
        filename = remote->filename;
    else if (attached != NULL)
        filename = attached->filename;
    else if (client_real.sqlite3_stricmp(schema, "temp") == 0)
        filename = client_real.sqlite3_db_filename(remote->shadow, "temp");
    client_remote_leave_quietly(remote);
    return filename;
}

/* A type's or collation's name, which is good until the connection is closed: with SQLite until the schema changes. NULL: there
 * is none, or no memory. */
static const char *name_keep(struct client_remote *remote, struct pgwire_bytes text)
{
    if (text.data == NULL)
        return NULL;
    char *kept = sq_map_get(&remote->names, text.data, text.length);
    if (kept != NULL || (kept = text_copy(&text)) == NULL)
        return kept;
    if (sq_map_put(&remote->names, kept, text.length, kept, NULL) == SQ_OK)
        return kept;
    free(kept);
    return NULL;
}

int client_remote_sqlite3_table_column_metadata(sqlite3 *db, const char *schema, const char *table, const char *column,
                                                const char **ret_type, const char **ret_collation, int *ret_not_null,
                                                int *ret_primary_key, int *ret_autoincrement)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL || table == NULL) {
        if (remote != NULL)
            client_remote_leave_quietly(remote);
        return SQLITE_MISUSE;
    }
    struct sq_buf *out = client_request_begin(remote, NATIVE_COLUMN_METADATA);
    native_put_text(out, client_databases_schema(remote, schema));
    native_put_text(out, table);
    native_put_text(out, column);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    int numbers[3] = {0};
    const char *names[2] = {NULL, NULL};
    if (code == SQLITE_OK) {
        for (size_t i = 0; i < 2; i++)
            names[i] = name_keep(remote, native_get_bytes(&body));
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            numbers[i] = pgwire_get_u8(&body);
        code = client_body_check(remote, &body);
    }
    if (ret_type != NULL)
        *ret_type = names[0];
    if (ret_collation != NULL)
        *ret_collation = names[1];
    int *const results[] = {ret_not_null, ret_primary_key, ret_autoincrement};
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        if (results[i] != NULL)
            *results[i] = numbers[i];
    }
    return client_remote_leave(remote, code);
}

/* --- Checkpoints, transactions, files --- */

int client_remote_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *schema, int mode, int *ret_log, int *ret_copied)
{
    if (ret_log != NULL)
        *ret_log = -1;
    if (ret_copied != NULL)
        *ret_copied = -1;
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    if (mode < SQLITE_CHECKPOINT_PASSIVE || mode > SQLITE_CHECKPOINT_TRUNCATE) {
        client_remote_leave_quietly(remote); /* as SQLite: "EVIDENCE-OF: R-03996-12088" */
        return SQLITE_MISUSE;
    }
    struct sq_buf *out = client_request_begin(remote, NATIVE_CHECKPOINT);
    native_put_text(out, schema != NULL && schema[0] != '\0' ? client_databases_schema(remote, schema) : NULL);
    sq_buf_put_u32(out, (uint32_t)mode);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code == SQLITE_OK || body.left >= 2 * sizeof(uint32_t)) {
        int log = (int)pgwire_get_u32(&body), copied = (int)pgwire_get_u32(&body);
        if (ret_log != NULL)
            *ret_log = log;
        if (ret_copied != NULL)
            *ret_copied = copied;
    }
    return client_remote_leave(remote, code);
}

int client_remote_sqlite3_wal_checkpoint(sqlite3 *db, const char *schema)
{
    return client_remote_sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

int client_remote_sqlite3_txn_state(sqlite3 *db, const char *schema)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return -1;
    int state = remote->state.txn_state;
    if (schema != NULL) {
        struct client_error error = client_error_take(remote);
        native_put_text(client_request_begin(remote, NATIVE_TXN_STATE), client_databases_schema(remote, schema));
        struct pgwire_cursor body;
        state = client_request_end(remote, NULL, &body) == SQLITE_OK ? (int)pgwire_get_u32(&body) : -1;
        client_error_put_back(remote, error);
    }
    client_remote_leave_quietly(remote);
    return state;
}

/* --- PRAGMA database_list --- */

bool client_databases_is_list(const struct client_statement *statement)
{
    static const char *const names[] = {"seq", "name", "file"};
    enum { COUNT = sizeof(names) / sizeof(names[0]) };
    bool is_list = statement->kind == CLIENT_SQL_PRAGMA && statement->column_count == COUNT;
    for (size_t i = 0; i < COUNT && is_list; i++)
        is_list = strcmp(statement->columns[i].text[CLIENT_COLUMN_NAME], names[i]) == 0;
    return is_list;
}

/* The file of a schema, "" if there is none. */
static const char *file_of(const struct client_remote *remote, const struct sq_value *name)
{
    const struct pgwire_bytes text = {(const uint8_t *)name->bytes.data, name->bytes.length};
    if (name->kind != SQ_VALUE_TEXT)
        return "";
    if (text_is(&text, "main"))
        return remote->filename;
    SQ_LIST_FOREACH (i, &remote->attached) {
        const struct client_attached *attached = SQ_CONTAINER_OF(i, struct client_attached, links);
        if (text_is(&text, attached->schema))
            return attached->filename;
    }
    return "";
}

bool client_databases_name_files(const struct client_remote *remote, uint32_t rows, struct pgwire_bytes bytes,
                                 struct sq_buf *out)
{
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes.data, bytes.length);
    for (uint32_t i = 0; i < rows && !cursor.is_failed; i++) {
        struct sq_value number, name, file;
        native_get_value(&cursor, &number);
        native_get_value(&cursor, &name);
        native_get_value(&cursor, &file);
        if (cursor.is_failed)
            break;
        const char *path = file_of(remote, &name);
        file = (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {path, strlen(path)}};
        if (remote->main_name != NULL && number.kind == SQ_VALUE_INTEGER && number.integer == 0)
            name = (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {remote->main_name, strlen(remote->main_name)}};
        native_put_value(out, &number);
        native_put_value(out, &name);
        native_put_value(out, &file);
    }
    return pgwire_cursor_is_done(&cursor) && sq_buf_check(out, NULL) == SQ_OK;
}
