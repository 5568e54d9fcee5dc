/* client/bind.c: parameters (https://sqlite.org/c3ref/bind_blob.html).
 *
 * A binding holds a copy (SQLITE_TRANSIENT), or the application's bytes until its destructor is called or, with
 * SQLITE_STATIC, for ever. Texts in UTF-16 are converted at once, as SQLite does for a database in UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "client/convert.h"
#include "client/remote_api.h"
#include "client/statement.h"

void client_binding_clear(struct client_binding *binding)
{
    if (binding->destroy != NULL)
        binding->destroy(client_unconst(binding->value.value.bytes.data));
    free(binding->memory);
    client_pointer_free(binding->pointer);
    *binding = (struct client_binding){.value.kind = NATIVE_VALUE_PLAIN};
}

void client_bindings_put(struct client_statement *statement, struct sq_buf *out)
{
    bool must_send = statement->must_bind;
    for (size_t i = 0; i < statement->parameter_count && !must_send; i++)
        must_send = statement->bindings[i].is_borrowed;
    if (!must_send) {
        sq_buf_put_u32(out, NATIVE_PARAMETERS_KEPT);
        return;
    }
    sq_buf_put_u32(out, (uint32_t)statement->parameter_count);
    for (size_t i = 0; i < statement->parameter_count; i++)
        native_put_any(out, &statement->bindings[i].value);
}

/* --- One parameter --- */

static bool is_real_destructor(void (*destroy)(void *))
{
    return destroy != SQLITE_STATIC && destroy != SQLITE_TRANSIENT;
}

static void destroy_now(const void *data, void (*destroy)(void *))
{
    if (is_real_destructor(destroy))
        destroy(client_unconst(data));
}

/* Begins a bind: enters, and clears parameter `index`. NULL: *ret_code is what the function returns. */
static struct client_binding *binding_begin(sqlite3_stmt *pointer, int index, struct client_statement **ret_statement,
                                            int *ret_code)
{
    struct client_statement *statement = client_statement_enter(pointer);
    *ret_statement = statement;
    *ret_code = SQLITE_MISUSE;
    if (statement == NULL)
        return NULL;
    struct client_remote *remote = statement->remote;
    if (statement->state != CLIENT_STATEMENT_READY) {
        client_real.sqlite3_log(SQLITE_MISUSE, "bind on a busy prepared statement: [%s]", statement->sql);
        *ret_code = client_remote_leave(remote, client_error_set(remote, SQLITE_MISUSE, NULL));
        return NULL;
    }
    if (index < 1 || (size_t)index > statement->parameter_count) {
        *ret_code = client_remote_leave(remote, client_error_set(remote, SQLITE_RANGE, NULL));
        return NULL;
    }
    struct client_binding *binding = &statement->bindings[index - 1];
    client_binding_clear(binding);
    statement->must_bind = true;
    return binding;
}

static int binding_end(struct client_statement *statement, int code)
{
    if (client_code_is_error(code))
        (void)client_error_set(statement->remote, code, NULL);
    return client_remote_leave(statement->remote, code);
}

/* Sets `binding` to `length` bytes, of which `data` has one at least or is not NULL. */
static int set_bytes(struct client_remote *remote, struct client_binding *binding, enum sq_value_kind kind,
                     const void *data, uint64_t length, void (*destroy)(void *))
{
    if (length > client_length_max(remote)) {
        destroy_now(data, destroy);
        return SQLITE_TOOBIG;
    }
    if (destroy == SQLITE_TRANSIENT) {
        binding->memory = malloc((size_t)length + 1);
        if (binding->memory == NULL)
            return SQLITE_NOMEM;
        memcpy(binding->memory, data, (size_t)length);
        data = binding->memory;
    } else {
        binding->is_borrowed = true;
        binding->destroy = is_real_destructor(destroy) ? destroy : NULL;
    }
    binding->value.value.kind = kind;
    binding->value.value.bytes.data = data;
    binding->value.value.bytes.length = (size_t)length;
    return SQLITE_OK;
}

/* The same for text in UTF-16. */
static int set_text16(struct client_remote *remote, struct client_binding *binding, const void *data, uint64_t length,
                      void (*destroy)(void *), unsigned char encoding)
{
    char *text;
    size_t count;
    int code = length > client_length_max(remote)
                   ? SQLITE_TOOBIG
                   : client_text_to_utf8(remote, data, (size_t)length & ~(size_t)1, encoding, &text, &count);
    destroy_now(data, destroy);
    if (code != SQLITE_OK)
        return code;
    binding->memory = text;
    binding->value.value.kind = SQ_VALUE_TEXT;
    binding->value.value.bytes.data = text;
    binding->value.value.bytes.length = count;
    return SQLITE_OK;
}

static int bind_bytes(sqlite3_stmt *pointer, int index, enum sq_value_kind kind, const void *data, uint64_t length,
                      void (*destroy)(void *), unsigned char encoding)
{
    struct client_statement *statement;
    int code;
    struct client_binding *binding = binding_begin(pointer, index, &statement, &code);
    if (binding == NULL) {
        destroy_now(data, destroy);
        return code;
    }
    if (data == NULL)
        code = SQLITE_OK;
    else if (kind == SQ_VALUE_TEXT && encoding != SQLITE_UTF8)
        code = set_text16(statement->remote, binding, data, length, destroy, encoding);
    else
        code = set_bytes(statement->remote, binding, kind, data, length, destroy);
    return binding_end(statement, code);
}

static size_t length16(const void *text)
{
    size_t length = 0;
    const char *bytes = text;
    while (bytes[length] != 0 || bytes[length + 1] != 0)
        length += 2;
    return length;
}

int client_remote_sqlite3_bind_blob(sqlite3_stmt *pointer, int index, const void *data, int length,
                                    void (*destroy)(void *))
{
    if (length < 0) {
        destroy_now(data, destroy);
        return SQLITE_MISUSE;
    }
    return bind_bytes(pointer, index, SQ_VALUE_BLOB, data, (uint64_t)length, destroy, 0);
}

int client_remote_sqlite3_bind_blob64(sqlite3_stmt *pointer, int index, const void *data, sqlite3_uint64 length,
                                      void (*destroy)(void *))
{
    return bind_bytes(pointer, index, SQ_VALUE_BLOB, data, length, destroy, 0);
}

int client_remote_sqlite3_bind_text(sqlite3_stmt *pointer, int index, const char *text, int length,
                                    void (*destroy)(void *))
{
    uint64_t bytes = length >= 0 ? (uint64_t)length : text != NULL ? strlen(text) : 0;
    return bind_bytes(pointer, index, SQ_VALUE_TEXT, text, bytes, destroy, SQLITE_UTF8);
}

int client_remote_sqlite3_bind_text16(sqlite3_stmt *pointer, int index, const void *text, int length,
                                      void (*destroy)(void *))
{
    uint64_t bytes = length >= 0 ? (uint64_t)length : text != NULL ? length16(text) : 0;
    return bind_bytes(pointer, index, SQ_VALUE_TEXT, text, bytes, destroy, SQLITE_UTF16);
}

int client_remote_sqlite3_bind_text64(sqlite3_stmt *pointer, int index, const char *text, sqlite3_uint64 length,
                                      void (*destroy)(void *), unsigned char encoding)
{
    return bind_bytes(pointer, index, SQ_VALUE_TEXT, text, length, destroy, encoding);
}

/* A value that needs no memory. */
static int bind_plain(sqlite3_stmt *pointer, int index, const struct native_value *value)
{
    struct client_statement *statement;
    int code;
    struct client_binding *binding = binding_begin(pointer, index, &statement, &code);
    if (binding == NULL)
        return code;
    binding->value = *value;
    return binding_end(statement, SQLITE_OK);
}

int client_remote_sqlite3_bind_null(sqlite3_stmt *pointer, int index)
{
    const struct native_value value = {.value.kind = SQ_VALUE_NULL};
    return bind_plain(pointer, index, &value);
}

int client_remote_sqlite3_bind_int64(sqlite3_stmt *pointer, int index, sqlite3_int64 integer)
{
    const struct native_value value = {.value = {.kind = SQ_VALUE_INTEGER, .integer = integer}};
    return bind_plain(pointer, index, &value);
}

int client_remote_sqlite3_bind_int(sqlite3_stmt *pointer, int index, int integer)
{
    return client_remote_sqlite3_bind_int64(pointer, index, integer);
}

/* NaN is NULL (https://sqlite.org/c3ref/bind_blob.html). */
int client_remote_sqlite3_bind_double(sqlite3_stmt *pointer, int index, double real)
{
    const struct native_value value = {.value = {.kind = SQ_VALUE_REAL, .real = real}};
    return __builtin_isnan(real) ? client_remote_sqlite3_bind_null(pointer, index) : bind_plain(pointer, index, &value);
}

int client_remote_sqlite3_bind_zeroblob64(sqlite3_stmt *pointer, int index, sqlite3_uint64 length)
{
    struct client_statement *statement;
    int code;
    struct client_binding *binding = binding_begin(pointer, index, &statement, &code);
    if (binding == NULL)
        return code;
    if (length > client_length_max(statement->remote))
        return binding_end(statement, SQLITE_TOOBIG);
    binding->value = (struct native_value){.kind = NATIVE_VALUE_ZEROBLOB, .number = length};
    return binding_end(statement, SQLITE_OK);
}

int client_remote_sqlite3_bind_zeroblob(sqlite3_stmt *pointer, int index, int length)
{
    return client_remote_sqlite3_bind_zeroblob64(pointer, index, length > 0 ? (sqlite3_uint64)length : 0);
}

int client_remote_sqlite3_bind_pointer(sqlite3_stmt *pointer, int index, void *object, const char *type,
                                       void (*destroy)(void *))
{
    struct client_statement *statement;
    int code;
    struct client_binding *binding = binding_begin(pointer, index, &statement, &code);
    if (binding == NULL) {
        if (destroy != NULL)
            destroy(object);
        return code;
    }
    binding->pointer = client_pointer_new(statement->remote, object, type, destroy);
    if (binding->pointer == NULL)
        return binding_end(statement, SQLITE_NOMEM);
    binding->value = (struct native_value){.kind = NATIVE_VALUE_POINTER, .number = binding->pointer->number};
    return binding_end(statement, SQLITE_OK);
}

int client_remote_sqlite3_bind_value(sqlite3_stmt *pointer, int index, const sqlite3_value *constant)
{
    sqlite3_value *value = client_unconst(constant);
    switch (client_real.sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        return client_remote_sqlite3_bind_int64(pointer, index, client_real.sqlite3_value_int64(value));
    case SQLITE_FLOAT:
        return client_remote_sqlite3_bind_double(pointer, index, client_real.sqlite3_value_double(value));
    case SQLITE_TEXT: {
        const void *text = client_real.sqlite3_value_text(value);
        return client_remote_sqlite3_bind_text(pointer, index, text, client_real.sqlite3_value_bytes(value),
                                               SQLITE_TRANSIENT);
    }
    case SQLITE_BLOB: {
        const void *blob = client_real.sqlite3_value_blob(value);
        return client_remote_sqlite3_bind_blob(pointer, index, blob != NULL ? blob : "",
                                               client_real.sqlite3_value_bytes(value), SQLITE_TRANSIENT);
    }
    default:
        return client_remote_sqlite3_bind_null(pointer, index);
    }
}

/* --- All of them --- */

int client_remote_sqlite3_clear_bindings(sqlite3_stmt *pointer)
{
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return SQLITE_MISUSE;
    for (size_t i = 0; i < statement->parameter_count; i++)
        client_binding_clear(&statement->bindings[i]);
    statement->must_bind = true;
    client_remote_leave_quietly(statement->remote);
    return SQLITE_OK;
}

/* Obsolete, and documented as it is (https://sqlite.org/c3ref/aggregate_count.html). */
int client_remote_sqlite3_transfer_bindings(sqlite3_stmt *from_pointer, sqlite3_stmt *to_pointer)
{
    struct client_statement *from = client_statement_enter(from_pointer);
    struct client_statement *to =
        from != NULL && client_handle_is_ours(to_pointer) ? client_statement_enter(to_pointer) : NULL;
    int code = SQLITE_MISUSE;
    if (to != NULL && from->remote == to->remote)
        code = from->parameter_count == to->parameter_count ? SQLITE_OK : SQLITE_ERROR;
    for (size_t i = 0; code == SQLITE_OK && from != to && i < from->parameter_count; i++) {
        client_binding_clear(&to->bindings[i]);
        to->bindings[i] = from->bindings[i];
        from->bindings[i] = (struct client_binding){.value.kind = NATIVE_VALUE_PLAIN};
    }
    if (code == SQLITE_OK)
        from->must_bind = to->must_bind = true;
    if (to != NULL)
        client_remote_leave_quietly(to->remote);
    if (from != NULL)
        client_remote_leave_quietly(from->remote);
    return code;
}

/* --- Facts --- */

int client_remote_sqlite3_bind_parameter_count(sqlite3_stmt *pointer)
{
    struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    return statement != NULL ? (int)statement->parameter_count : 0;
}

const char *client_remote_sqlite3_bind_parameter_name(sqlite3_stmt *pointer, int index)
{
    struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    if (statement == NULL || index < 1 || (size_t)index > statement->parameter_count)
        return NULL;
    return statement->parameters[index - 1];
}

int client_remote_sqlite3_bind_parameter_index(sqlite3_stmt *pointer, const char *name)
{
    struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    if (statement == NULL || name == NULL)
        return 0;
    for (size_t i = 0; i < statement->parameter_count; i++) {
        if (statement->parameters[i] != NULL && strcmp(statement->parameters[i], name) == 0)
            return (int)i + 1;
    }
    return 0;
}
