/* client/table.c: the server calls a method of an application's virtual table: METHOD of docs/protocol.md. See table.h. */
#include "client/table.h"

#include <stdlib.h>
#include <string.h>

#include "client/remote.h"

struct sq_buf *client_table_answer(struct client_frame *frame, struct client_table *table, int result)
{
    struct sq_buf *out = client_call_answer_begin(frame->remote);
    if (table->vtab == NULL) {
        native_put_head(out, result, NULL);
        return out;
    }
    native_put_head(out, result, table->vtab->zErrMsg);
    client_real.sqlite3_free(table->vtab->zErrMsg);
    table->vtab->zErrMsg = NULL;
    return out;
}

/* An answer that is nothing but that. */
static void answer(struct client_frame *frame, struct client_table *table, int result)
{
    (void)client_table_answer(frame, table, result);
    client_call_answer_end(frame->remote);
}

/* --- Constructors --- */

/* NULL: no memory. */
static struct client_table *table_new(struct client_module *module, uint64_t number, sqlite3_vtab *vtab)
{
    struct client_calls *calls = module->calls;
    struct client_table *table = malloc(sizeof(*table));
    if (table == NULL)
        return NULL;
    *table = (struct client_table){.calls = calls, .number = number, .module = module, .vtab = vtab};
    if (sq_map_put(&calls->tables, &number, sizeof(number), table, NULL) != SQ_OK) {
        free(table);
        return NULL;
    }
    sq_list_init(&table->links);
    sq_list_push_front(&calls->table_list, &table->links);
    client_module_ref(module);
    return table;
}

/* What SQLite does when a constructor has returned. Returns its result. */
static int take_table(struct client_module *module, uint64_t number, int result, sqlite3_vtab *vtab)
{
    if (result != SQLITE_OK)
        return result;
    if (vtab == NULL)
        return SQLITE_ERROR;
    memset(vtab, 0, sizeof(*vtab));
    vtab->pModule = module->methods;
    if (table_new(module, number, vtab) != NULL)
        return SQLITE_OK;
    (void)module->methods->xDisconnect(vtab);
    return SQLITE_NOMEM;
}

static const char **read_texts(struct client_frame *frame, struct pgwire_cursor *cursor, size_t count)
{
    const char **texts = calloc(count + 1, sizeof(*texts));
    for (size_t i = 0; texts != NULL && i < count; i++)
        texts[i] = client_frame_read_text(frame, cursor);
    return texts;
}

static void call_constructor(struct client_frame *frame, struct pgwire_cursor *cursor, bool is_create)
{
    uint64_t number = pgwire_get_u64(cursor);
    uint32_t module_number = pgwire_get_u32(cursor);
    size_t count = pgwire_get_u16(cursor);
    const char **texts = read_texts(frame, cursor, count);
    struct client_calls *calls = frame->calls;
    struct client_module *module = sq_map_get(&calls->modules, &module_number, sizeof(module_number));
    if (texts == NULL || !pgwire_cursor_is_done(cursor) || module == NULL ||
        sq_map_get(&calls->tables, &number, sizeof(number)) != NULL) {
        client_calls_malformed(frame);
        free(client_unconst(texts));
        return;
    }
    client_module_ref(module); /* it may be replaced meanwhile */
    int (*construct)(sqlite3 *, void *, int, const char *const *, sqlite3_vtab **, char **) =
        is_create ? module->methods->xCreate : module->methods->xConnect;
    sqlite3_vtab *vtab = NULL;
    char *message = NULL;
    int result = construct != NULL ? construct(frame->remote->handle, module->data, (int)count, texts, &vtab, &message)
                                   : SQLITE_ERROR;
    result = take_table(module, number, result, vtab);
    native_put_head(client_call_answer_begin(frame->remote), result, result != SQLITE_OK ? message : NULL);
    client_call_answer_end(frame->remote);
    client_real.sqlite3_free(message);
    client_module_unref(module);
    free(client_unconst(texts));
}

/* --- Destructors --- */

static void call_end(struct client_frame *frame, struct client_table *table, bool is_destroy)
{
    sqlite3_vtab *vtab = table->vtab;
    if (table->busy_count > 1 || table->cursor_count > 0) {
        client_calls_malformed(frame);
        return;
    }
    const sqlite3_module *methods = vtab->pModule;
    int (*end)(sqlite3_vtab *) = is_destroy && methods->xDestroy != NULL ? methods->xDestroy : methods->xDisconnect;
    char *message = NULL;
    if (!is_destroy)
        client_table_drop(table);
    int result = end != NULL ? end(vtab) : SQLITE_OK;
    if (result == SQLITE_OK && is_destroy)
        client_table_drop(table);
    else if (is_destroy)
        message = SQ_STEAL(vtab->zErrMsg);
    native_put_head(client_call_answer_begin(frame->remote), result, message);
    client_call_answer_end(frame->remote);
    client_real.sqlite3_free(message);
}

static void method_disconnect(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    (void)cursor;
    call_end(frame, table, false);
}

static void method_destroy(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    (void)cursor;
    call_end(frame, table, true);
}

/* --- Transactions --- */

typedef int plain_method(sqlite3_vtab *);

static void call_plain(struct client_frame *frame, struct client_table *table, plain_method *method)
{
    answer(frame, table, method != NULL ? method(table->vtab) : SQLITE_OK);
}

static void method_begin(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    (void)cursor;
    plain_method *begin = table->vtab->pModule->xBegin;
    int result = begin != NULL ? begin(table->vtab) : SQLITE_OK;
    table->is_in_transaction |= result == SQLITE_OK;
    answer(frame, table, result);
}

static void method_sync(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    (void)cursor;
    call_plain(frame, table, table->vtab->pModule->xSync);
}

static void method_commit(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    (void)cursor;
    table->is_in_transaction = false;
    call_plain(frame, table, table->vtab->pModule->xCommit);
}

static void method_rollback(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    (void)cursor;
    table->is_in_transaction = false;
    call_plain(frame, table, table->vtab->pModule->xRollback);
}

/* --- Savepoints, names --- */

typedef int savepoint_method(sqlite3_vtab *, int);

static void call_savepoint(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table,
                           savepoint_method *method)
{
    int number = (int32_t)pgwire_get_u32(cursor);
    if (pgwire_cursor_is_done(cursor))
        answer(frame, table, method != NULL ? method(table->vtab, number) : SQLITE_OK);
    else
        client_calls_malformed(frame);
}

static void method_savepoint(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    call_savepoint(frame, cursor, table, table->vtab->pModule->xSavepoint);
}

static void method_release(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    call_savepoint(frame, cursor, table, table->vtab->pModule->xRelease);
}

static void method_rollback_to(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    call_savepoint(frame, cursor, table, table->vtab->pModule->xRollbackTo);
}

static void method_rename(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    const char *name = client_frame_read_text(frame, cursor);
    int (*rename)(sqlite3_vtab *, const char *) = table->vtab->pModule->xRename;
    if (pgwire_cursor_is_done(cursor) && rename != NULL && name != NULL)
        answer(frame, table, rename(table->vtab, name));
    else
        client_calls_malformed(frame);
}

static void call_shadow_name(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint32_t number = pgwire_get_u32(cursor);
    const char *name = client_frame_read_text(frame, cursor);
    const struct client_module *module = sq_map_get(&frame->calls->modules, &number, sizeof(number));
    if (!pgwire_cursor_is_done(cursor) || module == NULL || name == NULL || module->methods->xShadowName == NULL) {
        client_calls_malformed(frame);
        return;
    }
    int result = module->methods->xShadowName(name);
    native_put_head(client_call_answer_begin(frame->remote), result, NULL);
    client_call_answer_end(frame->remote);
}

/* --- Functions of a table --- */

typedef void scalar(sqlite3_context *, int, sqlite3_value **);

/* The number of a function that xFindFunction has given; 0: no memory. It is kept as long as the table. */
static uint32_t function_number(struct client_table *table, scalar *function, void *data)
{
    struct client_calls *calls = table->calls;
    for (size_t i = 0; i < table->function_count; i++) {
        if (table->functions[i]->scalar_cb == function && table->functions[i]->user_data == data)
            return table->functions[i]->number;
    }
    struct client_function **grown =
        reallocarray(table->functions, table->function_count + 1, sizeof(struct client_function *));
    if (grown == NULL)
        return 0;
    table->functions = grown;
    struct client_function *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return 0;
    *made = (struct client_function){.calls = calls,
                                     .number = ++calls->function_number,
                                     .kind = NATIVE_SCALAR,
                                     .user_data = data,
                                     .scalar_cb = function};
    if (sq_map_put(&calls->functions, &made->number, sizeof(made->number), made, NULL) != SQ_OK) {
        free(made);
        return 0;
    }
    table->functions[table->function_count++] = made;
    return made->number;
}

static void method_find_function(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    int count = (int32_t)pgwire_get_u32(cursor);
    const char *name = client_frame_read_text(frame, cursor);
    const sqlite3_module *methods = table->vtab->pModule;
    scalar *function = NULL;
    void *data = NULL;
    uint32_t number = 0;
    int found = 0;
    if (!pgwire_cursor_is_done(cursor) || name == NULL) {
        client_calls_malformed(frame);
        return;
    }
    if (methods->xFindFunction != NULL)
        found = methods->xFindFunction(table->vtab, count, name, &function, &data);
    if (found != 0 && function != NULL)
        number = function_number(table, function, data);
    if (number == 0)
        found = 0;
    struct sq_buf *out = client_table_answer(frame, table, found);
    if (found != 0)
        sq_buf_put_u32(out, number);
    client_call_answer_end(frame->remote);
}

/* --- Writing --- */

/* https://sqlite.org/vtab.html#xupdate */
static void method_update(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    struct client_calls *calls = frame->calls;
    int on_conflict = pgwire_get_u8(cursor);
    size_t count = pgwire_get_u16(cursor);
    struct client_arguments arguments;
    sqlite3_int64 rowid = 0;
    if (!client_frame_read_values(frame, cursor, 0, count) || !pgwire_cursor_is_done(cursor) || count == 0 ||
        table->vtab->pModule->xUpdate == NULL) {
        client_calls_malformed(frame);
        return;
    }
    int outer = calls->on_conflict;
    calls->on_conflict = on_conflict;
    int result = client_arguments_open(&arguments, frame, count);
    if (result == SQLITE_OK)
        result = table->vtab->pModule->xUpdate(table->vtab, (int)count, arguments.values, &rowid);
    client_arguments_close(&arguments);
    calls->on_conflict = outer;
    struct sq_buf *out = client_table_answer(frame, table, result);
    if (result == SQLITE_OK)
        sq_buf_put_u64(out, (uint64_t)rowid);
    client_call_answer_end(frame->remote);
}

/* --- Dispatch --- */

static client_method *const methods_by_number[] = {
    [NATIVE_METHOD_DISCONNECT] = method_disconnect,
    [NATIVE_METHOD_DESTROY] = method_destroy,
    [NATIVE_METHOD_BEST_INDEX] = client_method_best_index,
    [NATIVE_METHOD_OPEN] = client_method_open,
    [NATIVE_METHOD_CLOSE] = client_method_close,
    [NATIVE_METHOD_FILTER] = client_method_filter,
    [NATIVE_METHOD_NEXT] = client_method_next,
    [NATIVE_METHOD_COLUMN] = client_method_column,
    [NATIVE_METHOD_UPDATE] = method_update,
    [NATIVE_METHOD_BEGIN] = method_begin,
    [NATIVE_METHOD_SYNC] = method_sync,
    [NATIVE_METHOD_COMMIT] = method_commit,
    [NATIVE_METHOD_ROLLBACK] = method_rollback,
    [NATIVE_METHOD_FIND_FUNCTION] = method_find_function,
    [NATIVE_METHOD_RENAME] = method_rename,
    [NATIVE_METHOD_SAVEPOINT] = method_savepoint,
    [NATIVE_METHOD_RELEASE] = method_release,
    [NATIVE_METHOD_ROLLBACK_TO] = method_rollback_to,
};

/* Those that are told no more than their table. */
static bool is_plain(uint8_t number)
{
    return number == NATIVE_METHOD_DISCONNECT || number == NATIVE_METHOD_DESTROY ||
           (number >= NATIVE_METHOD_BEGIN && number <= NATIVE_METHOD_ROLLBACK);
}

static struct client_table *read_table(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint64_t number = pgwire_get_u64(cursor);
    return sq_map_get(&frame->calls->tables, &number, sizeof(number));
}

void client_call_method(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint8_t number = pgwire_get_u8(cursor);
    if (number == NATIVE_METHOD_CREATE || number == NATIVE_METHOD_CONNECT) {
        call_constructor(frame, cursor, number == NATIVE_METHOD_CREATE);
        return;
    }
    if (number == NATIVE_METHOD_SHADOW_NAME) {
        call_shadow_name(frame, cursor);
        return;
    }
    bool is_known = number < sizeof(methods_by_number) / sizeof(methods_by_number[0]);
    client_method *method = is_known ? methods_by_number[number] : NULL;
    struct client_table *table = method != NULL ? read_table(frame, cursor) : NULL;
    if (table == NULL || (is_plain(number) && !pgwire_cursor_is_done(cursor))) {
        client_calls_malformed(frame);
        return;
    }
    table->busy_count++;
    method(frame, cursor, table);
    table->busy_count--;
    if (table->is_gone)
        client_table_drop(table);
}

/* --- Said without waiting --- */

void client_call_table_free(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    struct client_table *table = read_table(frame, cursor);
    if (!pgwire_cursor_is_done(cursor) || table == NULL || table->busy_count > 0 || table->cursor_count > 0) {
        client_calls_malformed(frame);
        return;
    }
    sqlite3_vtab *vtab = table->vtab;
    client_table_drop(table);
    if (vtab->pModule->xDisconnect != NULL)
        (void)vtab->pModule->xDisconnect(vtab);
}

void client_call_table_rollback(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    struct client_table *table = read_table(frame, cursor);
    if (!pgwire_cursor_is_done(cursor) || table == NULL) {
        client_calls_malformed(frame);
        return;
    }
    table->is_in_transaction = false;
    if (table->vtab->pModule->xRollback != NULL)
        (void)table->vtab->pModule->xRollback(table->vtab);
}
