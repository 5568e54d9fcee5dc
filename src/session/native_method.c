/* session/native_method.c: calls of the methods of a client's virtual tables, and those methods that only pass on what they
 * are given. See native_table.h.
 *
 * A table's xSync is there whenever its xBegin is: a commit in which the client cannot be called (in a message of
 * PostgreSQL's, say) must not go past its table. What cannot be refused, and cannot be said now, is said later
 * (TABLE_ROLLBACK), or ends the session (xCommit). */
#include "engine/native.h"
#include "session/native_table.h"

#include <stdlib.h>

/* --- One call ------------------------------------------------------------------------------------------------------ */

int native_method_begin_without(struct native_method_call *call, struct native_calls *calls, enum native_method method)
{
    *call = (struct native_method_call){.calls = calls};
    if (calls == NULL)
        return SQLITE_ABORT;
    int result = native_call_begin(calls, NATIVE_CALL_METHOD, &call->offset);
    if (result != SQLITE_OK)
        return result;
    call->out = calls->native->session->out;
    sq_buf_put_u8(call->out, (uint8_t)method);
    return SQLITE_OK;
}

int native_method_begin(struct native_method_call *call, struct native_table *table, enum native_method method)
{
    int result = native_method_begin_without(call, table->module->calls, method);
    if (result != SQLITE_OK)
        return result;
    call->table = table;
    sq_buf_put_u64(call->out, table->number);
    return SQLITE_OK;
}

int native_method_exchange(struct native_method_call *call)
{
    if (call->table != NULL)
        call->table->busy_count++;
    int result = native_call_exchange(call->calls, call->offset, &call->answer);
    if (call->table != NULL)
        call->table->busy_count--;
    call->is_answered = result == SQLITE_OK;
    if (result == SQLITE_OK)
        native_get_head(&call->answer, &call->head);
    return result;
}

void native_method_set_message(char **message, const struct pgwire_bytes *text)
{
    char *copy = sqlite3_mprintf("%.*s", (int)text->length, (const char *)text->data);
    if (copy == NULL)
        return; /* SQLite has a text for the code itself */
    sqlite3_free(*message);
    *message = copy;
}

int native_method_result(struct native_calls *calls, int result)
{
    return result == SQLITE_OK ? SQLITE_OK : native_client_code(calls, result);
}

int native_method_end(struct native_method_call *call, char **message, int result)
{
    if (!call->is_answered) {
        sq_assert(result != SQLITE_OK);
        if (call->calls != NULL && call->calls->refusal != NULL) {
            const char *why = call->calls->refusal;
            native_method_set_message(message, &(struct pgwire_bytes){(const uint8_t *)why, strlen(why)});
        }
        return result;
    }
    if (call->head.message.data != NULL)
        native_method_set_message(message, &call->head.message);
    int32_t given = call->head.result;
    if (!native_call_end(call->calls, &call->answer))
        return SQLITE_INTERRUPT;
    return result != SQLITE_OK ? result : native_method_result(call->calls, given);
}

/* --- Transactions -------------------------------------------------------------------------------------------------- */

/* A method whose only argument is its table. */
static int call_plain(sqlite3_vtab *base, enum native_method method)
{
    struct native_table *table = native_table_of(base);
    struct native_method_call call;
    int result = native_method_begin(&call, table, method);
    if (result == SQLITE_OK) {
        result = native_method_exchange(&call);
    }
    return native_method_end(&call, &base->zErrMsg, result);
}

int native_table_begin(sqlite3_vtab *base)
{
    return call_plain(base, NATIVE_METHOD_BEGIN);
}

int native_table_sync(sqlite3_vtab *base)
{
    const struct native_table *table = native_table_of(base);
    const struct native_calls *calls = table->module->calls;
    if ((table->module->bits & NATIVE_MODULE_SYNC) != 0)
        return call_plain(base, NATIVE_METHOD_SYNC);
    return calls != NULL && calls->native->may_call && !calls->is_dead ? SQLITE_OK : SQLITE_ABORT;
}

int native_table_commit(sqlite3_vtab *base)
{
    struct native_calls *calls = native_table_of(base)->module->calls;
    if (calls == NULL || calls->is_dead)
        return SQLITE_ABORT;
    session_rest_on_now(calls->native->session); /* it has happened */
    int result = call_plain(base, NATIVE_METHOD_COMMIT);
    if (result != SQLITE_OK && !calls->is_dead && calls->refusal != NULL)
        native_call_break(calls);
    return result;
}

int native_table_rollback(sqlite3_vtab *base)
{
    const struct native_table *table = native_table_of(base);
    struct native_calls *calls = table->module->calls;
    if (calls == NULL || calls->is_dead)
        return SQLITE_ABORT;
    if (calls->native->may_call && calls->native->depth < NATIVE_CALL_DEPTH_MAX)
        return call_plain(base, NATIVE_METHOD_ROLLBACK);
    native_call_say(calls, NATIVE_CALL_TABLE_ROLLBACK, table->number);
    return SQLITE_OK;
}

/* A method that is given the number of a savepoint. */
static int call_savepoint(sqlite3_vtab *base, enum native_method method, int number)
{
    struct native_table *table = native_table_of(base);
    struct native_method_call call;
    int result = native_method_begin(&call, table, method);
    if (result == SQLITE_OK) {
        sq_buf_put_u32(call.out, (uint32_t)number);
        result = native_method_exchange(&call);
    }
    return native_method_end(&call, &base->zErrMsg, result);
}

int native_table_savepoint(sqlite3_vtab *base, int number)
{
    return call_savepoint(base, NATIVE_METHOD_SAVEPOINT, number);
}

int native_table_release(sqlite3_vtab *base, int number)
{
    return call_savepoint(base, NATIVE_METHOD_RELEASE, number);
}

int native_table_rollback_to(sqlite3_vtab *base, int number)
{
    return call_savepoint(base, NATIVE_METHOD_ROLLBACK_TO, number);
}

/* --- What else passes on ------------------------------------------------------------------------------------------- */

int native_table_rename(sqlite3_vtab *base, const char *name)
{
    struct native_table *table = native_table_of(base);
    struct native_method_call call;
    int result = native_method_begin(&call, table, NATIVE_METHOD_RENAME);
    if (result == SQLITE_OK) {
        native_put_text(call.out, name);
        result = native_method_exchange(&call);
    }
    return native_method_end(&call, &base->zErrMsg, result);
}

int native_table_update(sqlite3_vtab *base, int count, sqlite3_value **values, sqlite3_int64 *ret_rowid)
{
    struct native_table *table = native_table_of(base);
    struct native_method_call call;
    int result = native_method_begin(&call, table, NATIVE_METHOD_UPDATE);
    if (result == SQLITE_OK) {
        sq_buf_put_u8(call.out, (uint8_t)sqlite3_vtab_on_conflict(call.calls->native->db));
        sq_buf_put_u16(call.out, (uint16_t)count);
        for (int i = 0; i < count; i++) {
            if (sqlite3_value_nochange(values[i]) != 0)
                native_put_any(call.out, &(struct native_value){.kind = NATIVE_VALUE_UNCHANGED});
            else
                native_call_put_argument(call.out, values[i]);
        }
        result = native_method_exchange(&call);
    }
    int64_t rowid = result == SQLITE_OK && call.head.result == SQLITE_OK ? (int64_t)pgwire_get_u64(&call.answer) : 0;
    result = native_method_end(&call, &base->zErrMsg, result);
    if (result == SQLITE_OK)
        *ret_rowid = rowid;
    return result;
}

/* --- Functions of a table ------------------------------------------------------------------------------------------- */

/* The table's function of that number; it is kept as long as the table. NULL: no memory. */
static struct native_function *get_function(struct native_table *table, const char *name, uint32_t number)
{
    for (size_t i = 0; i < table->function_count; i++) {
        if (native_function_number(table->functions[i]) == number)
            return table->functions[i];
    }
    struct native_function **grown =
        reallocarray(table->functions, table->function_count + 1, sizeof(struct native_function *));
    if (grown == NULL)
        return NULL;
    table->functions = grown;
    struct native_function *made = native_function_new(table->module->calls, name, number);
    if (made != NULL)
        table->functions[table->function_count++] = made;
    return made;
}

/* Returns no code: 0 means that there is none. */
int native_table_find_function(sqlite3_vtab *base, int count, const char *name,
                               void (**ret_function)(sqlite3_context *, int, sqlite3_value **), void **ret_data)
{
    struct native_table *table = native_table_of(base);
    struct native_calls *calls = table->module->calls;
    struct native_method_call call;
    uint32_t number = 0;
    int found = 0;
    int result = native_method_begin(&call, table, NATIVE_METHOD_FIND_FUNCTION);
    if (result == SQLITE_OK) {
        sq_buf_put_u32(call.out, (uint32_t)count);
        native_put_text(call.out, name);
        calls->native->sealed_count++;
        result = native_method_exchange(&call);
        calls->native->sealed_count--;
    }
    if (result == SQLITE_OK) {
        found = call.head.result;
        call.head.result = SQLITE_OK;
        if (found != 0)
            number = pgwire_get_u32(&call.answer);
    }
    if (native_method_end(&call, &base->zErrMsg, result) != SQLITE_OK || found == 0)
        return 0;
    struct native_function *function = get_function(table, name, number);
    if (function == NULL)
        return 0;
    *ret_function = native_function_scalar;
    *ret_data = function;
    return found;
}
