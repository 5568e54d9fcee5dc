/* session/native_module.c: modules of virtual tables that live in the client (docs/protocol.md, "Virtual tables"): MODULE and
 * the requests beside it, and how tables come and go. See native_table.h.
 *
 * A module of ours has the methods that the client's has: SQLite goes by which are missing. What a module cannot lack is
 * there in any case; the client says if it has it not.
 *
 * Tables that go when the client cannot be called (the end of a statement that nobody waits for) are said with TABLE_FREE. */
#include "session/native_table.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/native.h"
#include "engine/sql_lexer.h"

enum { MODULE_ARGUMENTS_MAX = UINT16_MAX };

/* --- Life of modules ------------------------------------------------------------------------------------------------- */

static void unref_module(struct native_module *module)
{
    sq_assert(module->ref_count > 0);
    if (--module->ref_count > 0)
        return;
    sq_list_remove(&module->links);
    free(module);
}

/* SQLite calls this when it has neither the module nor, nearly, a table of it any more. */
static void drop_module(void *context)
{
    struct native_module *module = context;
    for (size_t i = 0; module->calls != NULL && i < NATIVE_SHADOW_MODULES_MAX; i++) {
        if (module->calls->shadow_modules[i] == module)
            module->calls->shadow_modules[i] = NULL;
    }
    unref_module(module);
}

/* --- Tables come and go --------------------------------------------------------------------------------------------- */

void native_table_free(struct native_table *table)
{
    for (size_t i = 0; i < table->function_count; i++)
        native_function_free(table->functions[i]);
    free(table->functions);
    sqlite3_free(table->base.zErrMsg);
    sq_list_remove(&table->links);
    unref_module(table->module);
    free(table);
}

/* What is said to the client while the schema is held. */
struct constructor {
    struct native_module *module;
    struct native_table *table;
    enum native_method method;
    int count;
    const char *const *texts;
    char *message;
    int result;
};

static void call_constructor(void *context)
{
    struct constructor *this = context;
    struct native_calls *calls = this->module->calls;
    struct native_method_call call;
    int result = native_method_begin_without(&call, calls, this->method);
    if (result == SQLITE_OK) {
        sq_buf_put_u64(call.out, this->table->number);
        sq_buf_put_u32(call.out, this->module->number);
        sq_buf_put_u16(call.out, (uint16_t)this->count);
        for (int i = 0; i < this->count; i++)
            native_put_text(call.out, this->texts[i]);
        calls->native->compile_count++;
        result = native_method_exchange(&call);
        calls->native->compile_count--;
    }
    this->result = native_method_end(&call, &this->message, result);
}

static int make_table(struct native_module *module, enum native_method method, int count, const char *const *texts,
                      sqlite3_vtab **ret_table, char **ret_message)
{
    if (module->calls == NULL || count > MODULE_ARGUMENTS_MAX)
        return module->calls == NULL ? SQLITE_ABORT : SQLITE_TOOBIG;
    struct native_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return SQLITE_NOMEM;
    table->module = module;
    module->ref_count++;
    table->number = ++module->calls->table_number;
    sq_list_init(&table->links);
    struct constructor this = {
        .module = module, .table = table, .method = method, .count = count, .texts = texts, .result = SQLITE_NOMEM};
    if (!engine_native_hold_schema(module->calls->native->connection, call_constructor, &this))
        this.result = SQLITE_NOMEM;
    if (this.result == SQLITE_OK) {
        sqlite3_free(this.message);
        *ret_table = &table->base;
    } else {
        *ret_message = this.message;
        native_table_free(table);
    }
    return this.result;
}

static int on_create(sqlite3 *db, void *context, int count, const char *const *texts, sqlite3_vtab **ret_table,
                     char **ret_message)
{
    (void)db;
    return make_table(context, NATIVE_METHOD_CREATE, count, texts, ret_table, ret_message);
}

static int on_connect(sqlite3 *db, void *context, int count, const char *const *texts, sqlite3_vtab **ret_table,
                      char **ret_message)
{
    (void)db;
    return make_table(context, NATIVE_METHOD_CONNECT, count, texts, ret_table, ret_message);
}

/* SQLite has let go of it. */
static void drop_table(struct native_table *table)
{
    struct native_calls *calls = table->module->calls;
    sq_assert(calls != NULL || table->busy_count == 0);
    if (calls != NULL && table->busy_count > 0)
        sq_list_push_back(&calls->gone, &table->links);
    else
        native_table_free(table);
}

void native_module_bury(struct native_calls *calls)
{
    SQ_LIST_FOREACH (links, &calls->gone)
        native_table_free(SQ_CONTAINER_OF(links, struct native_table, links));
}

/* Calls xDisconnect or xDestroy. */
static int call_end(struct native_table *table, enum native_method method)
{
    struct native_method_call call;
    int result = native_method_begin(&call, table, method);
    if (result == SQLITE_OK)
        result = native_method_exchange(&call);
    return native_method_end(&call, &table->base.zErrMsg, result);
}

/* SQLite has done with it, whatever this returns. */
static int on_disconnect(sqlite3_vtab *base)
{
    struct native_table *table = native_table_of(base);
    struct native_calls *calls = table->module->calls;
    int result = SQLITE_OK;
    if (calls != NULL && calls->native->may_call && calls->native->depth < NATIVE_CALL_DEPTH_MAX)
        result = call_end(table, NATIVE_METHOD_DISCONNECT);
    else if (calls != NULL)
        native_call_say(calls, NATIVE_CALL_TABLE_FREE, table->number);
    drop_table(table);
    return result;
}

/* It stays if this fails; and while it is asked something, since SQLite looks at it when that has come to its end. */
static int on_destroy(sqlite3_vtab *base)
{
    struct native_table *table = native_table_of(base);
    if (table->busy_count > 0)
        return SQLITE_LOCKED;
    int result = call_end(table, NATIVE_METHOD_DESTROY);
    if (result == SQLITE_OK)
        drop_table(table);
    return result;
}

/* --- Shadow tables -------------------------------------------------------------------------------------------------- */

/* xShadowName is told neither its module nor its connection (sqlite.org/vtab.html). So each of a session's modules that has
 * one gets another function of ours, and the session is the one whose request this thread works off. */
static _Thread_local const struct native *native_here;

static int ask_shadow_name(size_t slot, const char *name)
{
    const struct native *native = native_here;
    const struct native_module *module =
        native != NULL && native->calls != NULL ? native->calls->shadow_modules[slot] : NULL;
    struct native_method_call call;
    char *message = NULL;
    int answer = 0;
    if (module == NULL)
        return 0;
    int result = native_method_begin_without(&call, module->calls, NATIVE_METHOD_SHADOW_NAME);
    if (result == SQLITE_OK) {
        sq_buf_put_u32(call.out, module->number);
        native_put_text(call.out, name);
        module->calls->native->sealed_count++;
        result = native_method_exchange(&call);
        module->calls->native->sealed_count--;
    }
    if (result == SQLITE_OK) {
        answer = call.head.result;
        call.head.result = SQLITE_OK;
    }
    result = native_method_end(&call, &message, result);
    sqlite3_free(message);
    return result == SQLITE_OK && answer != 0;
}

#define SHADOW_SLOTS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define SHADOW_FUNCTION(slot)                                                                                          \
    static int shadow_name_##slot(const char *name)                                                                    \
    {                                                                                                                  \
        return ask_shadow_name(slot, name);                                                                            \
    }
#define SHADOW_NAME(slot) shadow_name_##slot,
SHADOW_SLOTS(SHADOW_FUNCTION)
static int (*const shadow_functions[])(const char *) = {SHADOW_SLOTS(SHADOW_NAME)};
_Static_assert(sizeof(shadow_functions) / sizeof(shadow_functions[0]) == NATIVE_SHADOW_MODULES_MAX, "one for each");

const struct native *native_module_enter(const struct native *native)
{
    const struct native *before = native_here;
    native_here = native;
    return before;
}

void native_module_leave(const struct native *before)
{
    native_here = before;
}

/* False: there is no slot left. */
static bool take_shadow_slot(struct native_module *module)
{
    for (size_t i = 0; i < NATIVE_SHADOW_MODULES_MAX; i++) {
        if (module->calls->shadow_modules[i] != NULL)
            continue;
        module->calls->shadow_modules[i] = module;
        module->methods.xShadowName = shadow_functions[i];
        return true;
    }
    return false;
}

/* --- MODULE --------------------------------------------------------------------------------------------------------- */

static void fill_methods(struct native_module *module, int version)
{
    uint32_t bits = module->bits;
    bool is_eponymous = (bits & NATIVE_MODULE_CREATE_IS_CONNECT) != 0;
    bool is_made = (bits & NATIVE_MODULE_CREATE) != 0;
    module->methods = (sqlite3_module){
        .iVersion = version,
        .xCreate = !is_made       ? NULL
                   : is_eponymous ? on_connect
                                  : on_create,
        .xConnect = on_connect,
        .xBestIndex = native_table_best_index,
        .xDisconnect = on_disconnect,
        .xDestroy = (bits & NATIVE_MODULE_DESTROY) != 0 ? on_destroy : NULL,
        .xOpen = native_cursor_open,
        .xClose = native_cursor_close,
        .xFilter = native_cursor_filter,
        .xNext = native_cursor_next,
        .xEof = native_cursor_eof,
        .xColumn = native_cursor_column,
        .xRowid = native_cursor_rowid,
        .xUpdate = (bits & NATIVE_MODULE_UPDATE) != 0 ? native_table_update : NULL,
        .xBegin = (bits & NATIVE_MODULE_BEGIN) != 0 ? native_table_begin : NULL,
        .xSync = (bits & (NATIVE_MODULE_BEGIN | NATIVE_MODULE_SYNC)) != 0 ? native_table_sync : NULL,
        .xCommit = (bits & NATIVE_MODULE_COMMIT) != 0 ? native_table_commit : NULL,
        .xRollback = (bits & NATIVE_MODULE_ROLLBACK) != 0 ? native_table_rollback : NULL,
        .xFindFunction = (bits & NATIVE_MODULE_FIND_FUNCTION) != 0 ? native_table_find_function : NULL,
        .xRename = (bits & NATIVE_MODULE_RENAME) != 0 ? native_table_rename : NULL,
        .xSavepoint = (bits & NATIVE_MODULE_SAVEPOINT) != 0 ? native_table_savepoint : NULL,
        .xRelease = (bits & NATIVE_MODULE_RELEASE) != 0 ? native_table_release : NULL,
        .xRollbackTo = (bits & NATIVE_MODULE_ROLLBACK_TO) != 0 ? native_table_rollback_to : NULL,
    };
}

static int create_module(struct native *native, const char *name, uint32_t number, int version, uint32_t bits)
{
    struct native_calls *calls = native_calls_of(native);
    size_t name_bytes = strlen(name);
    struct native_module *module = calls != NULL ? calloc(1, sizeof(*module) + name_bytes + 1) : NULL;
    if (module == NULL)
        return SQLITE_NOMEM;
    module->calls = calls;
    module->ref_count = 1;
    module->number = number;
    module->bits = bits;
    module->name_bytes = name_bytes;
    memcpy(module->name, name, name_bytes);
    sq_list_init(&module->links);
    fill_methods(module, version);
    if ((bits & NATIVE_MODULE_SHADOW_NAME) != 0 && !take_shadow_slot(module)) {
        drop_module(module);
        native_set_error(native, "too many modules with xShadowName");
        return SQLITE_ERROR;
    }
    sq_list_push_back(&calls->modules, &module->links);
    /* SQLite frees `module`, also when it fails (sqlite.org/c3ref/create_module.html). */
    return sqlite3_create_module_v2(native->db, name, &module->methods, module, drop_module);
}

void native_op_module(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes name = native_get_bytes(request);
    uint32_t number = pgwire_get_u32(request);
    int32_t version = (int32_t)pgwire_get_u32(request);
    uint32_t bits = pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request) || (bits & ~(uint32_t)NATIVE_MODULE_ALL) != 0 || version < 0 ||
        version > NATIVE_MODULE_VERSION_MAX) {
        native_malformed(native);
        return;
    }
    if (native_refuse_compiling(native))
        return;
    char *copy = native_text_copy(&name);
    if (copy == NULL) {
        int code = name.data != NULL ? SQLITE_NOMEM : SQLITE_MISUSE;
        native_answer_error(native, code, sqlite3_errstr(code));
        return;
    }
    int result = number != 0 ? create_module(native, copy, number, version, bits)
                             : sqlite3_create_module_v2(native->db, copy, NULL, NULL, NULL);
    free(copy);
    native_answer(native, result);
}

/* --- The requests beside it ------------------------------------------------------------------------------------------ */

/* The names as an array that ends with NULL, in one piece, to be freed. NULL: no memory, or they make no sense. */
static const char **read_names(struct pgwire_cursor *request, uint32_t count)
{
    /* Each has a length in front, whose bytes are more than its NUL. */
    if (request->is_failed || count > request->left / sizeof(uint32_t)) {
        pgwire_cursor_fail(request);
        return NULL;
    }
    size_t array_bytes = ((size_t)count + 1) * sizeof(const char *);
    const char **names = calloc(1, array_bytes + request->left);
    char *to = (char *)names + array_bytes;
    for (uint32_t i = 0; names != NULL && i < count; i++) {
        struct pgwire_bytes name = native_get_bytes(request);
        if (name.data == NULL) {
            pgwire_cursor_fail(request);
            break;
        }
        memcpy(to, name.data, name.length);
        names[i] = to;
        to += name.length + 1;
    }
    return names;
}

void native_op_drop_modules(struct native *native, struct pgwire_cursor *request)
{
    uint32_t count = pgwire_get_u32(request);
    const char **names = read_names(request, count);
    if (request->is_failed || (names != NULL && request->left > 0))
        native_malformed(native);
    else if (names == NULL)
        native_answer_error(native, SQLITE_NOMEM, sqlite3_errstr(SQLITE_NOMEM));
    else if (!native_refuse_compiling(native))
        native_answer(native, sqlite3_drop_modules(native->db, names));
    free((void *)names);
}

/* As later releases of SQLite do: it compiles anything else, too, for which this was not made. The token that is in the way
 * becomes the error's text; false. */
static bool is_create_table(struct native *native, const char *sql)
{
    static const char *const words[] = {"CREATE", "TABLE"};
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, sql, strlen(sql), SQL_LEXER_SQLITE);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        sql_lexer_next(&lexer, &token);
        if (sql_token_is(&token, words[i]))
            continue;
        char text[SQ_ERROR_TEXT_MAX];
        snprintf(text, sizeof(text), token.length > 0 ? "near \"%.*s\": syntax error" : "incomplete input",
                 (int)token.length, token.text);
        native_set_error(native, text);
        return false;
    }
    return true;
}

/* Within CREATE or CONNECT; SQLite knows whether it is, and whose table is meant. */
void native_op_declare_vtab(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes sql = native_get_bytes(request);
    if (!pgwire_cursor_is_done(request) || sql.data == NULL) {
        native_malformed(native);
        return;
    }
    char *copy = native_text_copy(&sql);
    if (copy == NULL)
        native_answer_error(native, SQLITE_NOMEM, sqlite3_errstr(SQLITE_NOMEM));
    else if (!is_create_table(native, copy))
        native_answer(native, SQLITE_ERROR);
    else
        native_answer(native, sqlite3_declare_vtab(native->db, copy));
    free(copy);
}

void native_op_vtab_config(struct native *native, struct pgwire_cursor *request)
{
    int operation = (int)pgwire_get_u32(request);
    int value = (int)pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    native_answer(native, sqlite3_vtab_config(native->db, operation, value));
}

/* What sqlite3_close() does before anything else (sqlite.org/c3ref/close.html): all tables are disconnected, and their
 * transactions rolled back. A statement keeps it from doing the rest. */
void native_op_disconnect(struct native *native, struct pgwire_cursor *request)
{
    sqlite3_stmt *keeper = NULL;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    if (native->depth > 0) {
        native_answer_misuse(native);
        return;
    }
    int result = sqlite3_prepare_v2(native->db, "SELECT 1", -1, &keeper, NULL);
    if (result == SQLITE_OK) {
        int closed = sqlite3_close(native->db);
        sq_assert(closed == SQLITE_BUSY);
        sqlite3_finalize(keeper);
    }
    native_answer(native, result);
}

/* --- Who has modules ------------------------------------------------------------------------------------------------- */

bool native_module_is_any(const struct native *native)
{
    return native->calls != NULL && !sq_list_is_empty(&native->calls->modules);
}

bool native_module_is_known(void *context, const char *name)
{
    const struct native_calls *calls = context;
    SQ_LIST_FOREACH (links, &calls->modules) {
        const struct native_module *module = SQ_CONTAINER_OF(links, struct native_module, links);
        if (sqlite3_stricmp(module->name, name) == 0)
            return true;
    }
    return false;
}

void native_module_forget(struct native_calls *calls)
{
    native_module_bury(calls);
    SQ_LIST_FOREACH (links, &calls->modules) {
        SQ_CONTAINER_OF(links, struct native_module, links)->calls = NULL;
        sq_list_remove(links);
    }
}
