/* client/module.c: modules of virtual tables that the application implements: what is said to the server, and how its tables
 * end. See table.h.
 *
 * https://sqlite.org/c3ref/create_module.html */
#include <stdlib.h>
#include <string.h>

#include "client/remote_api.h"
#include "client/statement.h"
#include "client/table.h"

/* --- Life of modules --- */

void client_module_ref(struct client_module *module)
{
    sq_assert(module->ref_count > 0);
    module->ref_count++;
}

void client_module_unref(struct client_module *module)
{
    sq_assert(module->ref_count > 0);
    if (--module->ref_count > 0)
        return;
    const struct client_module last = *module;
    if (last.calls != NULL)
        (void)sq_map_remove(&last.calls->modules, &last.number, sizeof(last.number));
    free(module); /* the application's destructor may come back to us */
    if (last.destroy_cb != NULL)
        last.destroy_cb(last.data);
}

/* The shadow's destructor. */
static void module_destroy(void *object)
{
    client_module_unref(object);
}

/* --- Registration --- */

/* What SQLite goes by: which methods there are. https://sqlite.org/c3ref/module.html */
static uint32_t bits_of(const sqlite3_module *methods)
{
    const struct {
        bool is_there;
        enum native_module_bit bit;
    } bits[] = {
        {methods->xCreate != NULL, NATIVE_MODULE_CREATE},
        {methods->xCreate != NULL && methods->xCreate == methods->xConnect, NATIVE_MODULE_CREATE_IS_CONNECT},
        {methods->xDestroy != NULL, NATIVE_MODULE_DESTROY},
        {methods->xUpdate != NULL, NATIVE_MODULE_UPDATE},
        {methods->xBegin != NULL, NATIVE_MODULE_BEGIN},
        {methods->xSync != NULL, NATIVE_MODULE_SYNC},
        {methods->xCommit != NULL, NATIVE_MODULE_COMMIT},
        {methods->xRollback != NULL, NATIVE_MODULE_ROLLBACK},
        {methods->xFindFunction != NULL, NATIVE_MODULE_FIND_FUNCTION},
        {methods->xRename != NULL, NATIVE_MODULE_RENAME},
        {methods->iVersion >= 2 && methods->xSavepoint != NULL, NATIVE_MODULE_SAVEPOINT},
        {methods->iVersion >= 2 && methods->xRelease != NULL, NATIVE_MODULE_RELEASE},
        {methods->iVersion >= 2 && methods->xRollbackTo != NULL, NATIVE_MODULE_ROLLBACK_TO},
        {methods->iVersion >= 3 && methods->xShadowName != NULL, NATIVE_MODULE_SHADOW_NAME},
    };
    uint32_t all = 0;
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        all |= bits[i].is_there ? (uint32_t)bits[i].bit : 0;
    return all;
}

static int version_of(const sqlite3_module *methods)
{
    int version = methods->iVersion > 0 ? methods->iVersion : 0;
    return version < NATIVE_MODULE_VERSION_MAX ? version : NATIVE_MODULE_VERSION_MAX;
}

int client_module_tell(struct client_remote *remote, const char *name, uint32_t number, int version, uint32_t bits)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_MODULE);
    native_put_text(out, name);
    sq_buf_put_u32(out, number);
    sq_buf_put_u32(out, (uint32_t)version);
    sq_buf_put_u32(out, bits);
    return client_request_end(remote, NULL, NULL);
}

/* Tells the server and the shadow; `module` NULL: deletes what goes by that name. */
static int register_module(struct client_remote *remote, const char *name, struct client_module *module)
{
    static const sqlite3_module nothing = {0}; /* nobody uses the shadow's tables */
    struct client_registration registration = {.kind = CLIENT_MODULE};
    if (module != NULL) {
        registration.number = module->number;
        registration.version = version_of(module->methods);
        registration.bits = bits_of(module->methods);
    }
    int code = client_module_tell(remote, name, registration.number, registration.version, registration.bits);
    client_statement_cache_clear(remote);
    if (code == SQLITE_OK && !client_calls_register(remote->calls, name, &registration))
        code = SQLITE_NOMEM;
    if (code == SQLITE_OK && module == NULL)
        return client_real.sqlite3_create_module_v2(remote->shadow, name, NULL, NULL, NULL);
    if (code == SQLITE_OK) /* from here on the shadow owns it, also if it fails */
        return client_real.sqlite3_create_module_v2(remote->shadow, name, &nothing, module, module_destroy);
    if (module != NULL)
        client_module_unref(module);
    return code;
}

/* NULL: no memory. */
static struct client_module *module_new(struct client_calls *calls, const sqlite3_module *methods, void *data,
                                        void (*destroy_cb)(void *))
{
    struct client_module *module = malloc(sizeof(*module));
    if (module == NULL)
        return NULL;
    *module = (struct client_module){.calls = calls,
                                     .number = ++calls->function_number,
                                     .ref_count = 1,
                                     .methods = methods,
                                     .data = data,
                                     .destroy_cb = destroy_cb};
    if (sq_map_put(&calls->modules, &module->number, sizeof(module->number), module, NULL) == SQ_OK)
        return module;
    free(module);
    return NULL;
}

int client_remote_sqlite3_create_module(sqlite3 *db, const char *name, const sqlite3_module *methods, void *data)
{
    return client_remote_sqlite3_create_module_v2(db, name, methods, data, NULL);
}

int client_remote_sqlite3_create_module_v2(sqlite3 *db, const char *name, const sqlite3_module *methods, void *data,
                                           void (*destroy_cb)(void *))
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = SQLITE_MISUSE;
    struct client_module *module = NULL;
    if (name != NULL && methods != NULL) {
        module = module_new(remote->calls, methods, data, destroy_cb);
        code = SQLITE_NOMEM;
    }
    if (module != NULL || (name != NULL && methods == NULL))
        code = register_module(remote, name, module);
    else if (destroy_cb != NULL)
        destroy_cb(data);
    return client_remote_leave(remote, code);
}

/* --- Dropping --- */

static bool is_kept(const char *name, const char **keep)
{
    for (size_t i = 0; keep != NULL && keep[i] != NULL; i++) {
        if (strcmp(keep[i], name) == 0)
            return true;
    }
    return false;
}

int client_modules_tell_drop(struct client_remote *remote, const void *body, size_t bytes)
{
    sq_buf_put(client_request_begin(remote, NATIVE_DROP_MODULES), body, bytes);
    return client_request_end(remote, NULL, NULL);
}

int client_remote_sqlite3_drop_modules(sqlite3 *db, const char **keep)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_calls *calls = remote->calls;
    struct sq_buf body;
    uint32_t count = 0;
    sq_buf_init(&body, INT32_MAX);
    while (keep != NULL && keep[count] != NULL)
        count++;
    sq_buf_put_u32(&body, count);
    for (uint32_t i = 0; i < count; i++)
        native_put_text(&body, keep[i]);
    int code = body.is_failed ? client_error_set(remote, SQLITE_NOMEM, NULL)
                              : client_modules_tell_drop(remote, sq_buf_bytes(&body), sq_buf_length(&body));
    client_statement_cache_clear(remote);
    if (code == SQLITE_OK) {
        SQ_LIST_FOREACH (i, &calls->registrations) {
            struct client_registration *old = SQ_CONTAINER_OF(i, struct client_registration, links);
            if (old->kind == CLIENT_MODULE && !is_kept(old->name, keep))
                client_calls_unregister(old);
        }
        const struct client_registration registration = {
            .kind = CLIENT_DROP_MODULES, .body = sq_buf_bytes(&body), .body_bytes = sq_buf_length(&body)};
        code = client_calls_register(calls, "", &registration) ? client_real.sqlite3_drop_modules(remote->shadow, keep)
                                                               : SQLITE_NOMEM;
    }
    sq_buf_done(&body);
    return client_remote_leave(remote, code);
}

/* --- Within methods --- */

/* The server knows whether a table is being made, and which. */
int client_remote_sqlite3_declare_vtab(sqlite3 *db, const char *sql)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    native_put_text(client_request_begin(remote, NATIVE_DECLARE_VTAB), sql != NULL ? sql : "");
    return client_remote_leave(remote, client_request_end(remote, NULL, NULL));
}

int client_remote_vtab_config(sqlite3 *db, int operation, int value)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct sq_buf *out = client_request_begin(remote, NATIVE_VTAB_CONFIG);
    sq_buf_put_u32(out, (uint32_t)operation);
    sq_buf_put_u32(out, (uint32_t)value);
    return client_remote_leave(remote, client_request_end(remote, NULL, NULL));
}

/* Of the xUpdate that runs; outside of one SQLite has no answer. */
int client_remote_sqlite3_vtab_on_conflict(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int conflict = remote->calls->on_conflict != 0 ? remote->calls->on_conflict : SQLITE_MISUSE;
    client_remote_leave_quietly(remote);
    return conflict;
}

/* --- How tables end --- */

static void table_free(struct client_table *table)
{
    for (size_t i = 0; i < table->function_count; i++) {
        (void)sq_map_remove(&table->calls->functions, &table->functions[i]->number,
                            sizeof(table->functions[i]->number));
        free(table->functions[i]);
    }
    free(table->functions);
    free(table->index_texts);
    free(table);
}

void client_table_drop(struct client_table *table)
{
    if (!table->is_gone) {
        sq_list_remove(&table->links);
        (void)sq_map_remove(&table->calls->tables, &table->number, sizeof(table->number));
        table->is_gone = true;
        table->vtab = NULL;
        table->busy_count++;
        client_module_unref(SQ_STEAL(table->module)); /* before xDisconnect, as in SQLite */
        table->busy_count--;
    }
    if (table->busy_count == 0)
        table_free(table);
}

int client_cursor_close(struct client_cursor *cursor)
{
    struct client_table *table = cursor->table;
    struct client_calls *calls = table->calls;
    sqlite3_vtab_cursor *theirs = cursor->cursor;
    sq_list_remove(&cursor->links);
    (void)sq_map_remove(&calls->cursors, &cursor->number, sizeof(cursor->number));
    client_real.sqlite3_free(cursor->index_text);
    free(cursor);
    table->cursor_count--;
    table->vtab->nRef--;
    return table->vtab->pModule->xClose(theirs);
}

/* As sqlite3_close() does. */
static void table_end(struct client_table *table)
{
    sqlite3_vtab *vtab = table->vtab;
    if (table->is_in_transaction && vtab->pModule->xRollback != NULL)
        (void)vtab->pModule->xRollback(vtab);
    table->busy_count++;
    client_table_drop(table);
    if (vtab->pModule->xDisconnect != NULL)
        (void)vtab->pModule->xDisconnect(vtab);
    table->busy_count--;
    client_table_drop(table);
}

/* The newest of those that are in no transaction; if there is none, the oldest of the others. NULL: there is none. */
static struct client_table *next_to_end(struct client_calls *calls)
{
    struct client_table *oldest = NULL;
    SQ_LIST_FOREACH (i, &calls->table_list) {
        oldest = SQ_CONTAINER_OF(i, struct client_table, links);
        if (!oldest->is_in_transaction)
            return oldest;
    }
    return oldest;
}

void client_tables_release(struct client_calls *calls)
{
    struct client_table *table;
    /* A callback may come back to us, and change the lists. */
    while (!sq_list_is_empty(&calls->cursor_list))
        (void)client_cursor_close(SQ_CONTAINER_OF(calls->cursor_list.next, struct client_cursor, links));
    while ((table = next_to_end(calls)) != NULL)
        table_end(table);
}

void client_tables_disconnect(struct client_remote *remote)
{
    struct client_calls *calls = remote->calls;
    if (sq_list_is_empty(&calls->table_list) || remote->call_depth > 0)
        return;
    struct client_error error = client_error_take(remote);
    (void)client_request_begin_on(remote, NATIVE_DISCONNECT, remote->connection_number);
    (void)client_request_end(remote, NULL, NULL);
    client_error_put_back(remote, error);
    /* Statements may still use some of them: those end with these, if it is there still. */
    if (remote->client == NULL)
        client_tables_release(calls);
}
