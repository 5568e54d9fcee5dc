/* client/function.c: functions of the application: registration, and their calls.
 *
 * https://sqlite.org/c3ref/create_function.html */
#include <stdlib.h>
#include <string.h>

#include "client/calls_internal.h"
#include "client/remote_api.h"
#include "client/statement.h"
#include "client/table.h"
#include "client/utf16.h"

/* --- Registration --- */

/* The shadow's destructor: the last of the encodings that a function was registered for is replaced, deleted or
 * closed. */
static void function_destroy(void *object)
{
    sq_assert(object != NULL);
    struct client_function function = *(struct client_function *)object;
    if (function.calls != NULL)
        (void)sq_map_remove(&function.calls->functions, &function.number, sizeof(function.number));
    free(object);
    if (function.destroy_cb != NULL)
        function.destroy_cb(function.user_data);
}

/* What the shadow would call: nobody asks it for these functions. */
static void shadow_step(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    client_real.sqlite3_result_error(context, "a function of a remote connection", -1);
}
static void shadow_end(sqlite3_context *context)
{
    client_real.sqlite3_result_error(context, "a function of a remote connection", -1);
}

/* As SQLite does, which takes a function's kind from the callbacks that are there. */
static bool is_sound(const char *name, int argument_count, const struct client_function *f)
{
    enum { NAME_BYTES_MAX = 255, ARGUMENTS_MAX = 127 }; /* https://sqlite.org/limits.html */
    return name != NULL && strlen(name) <= NAME_BYTES_MAX && argument_count >= -1 && argument_count <= ARGUMENTS_MAX &&
           !(f->scalar_cb != NULL && f->final_cb != NULL) && (f->final_cb == NULL) == (f->step_cb == NULL) &&
           (f->value_cb == NULL) == (f->inverse_cb == NULL);
}

static int register_with_shadow(struct client_remote *remote, const char *name, int argument_count, int representation,
                                struct client_function *function)
{
    if (function->scalar_cb == NULL && function->final_cb == NULL) {
        /* Deletes; but SQLite calls the destructor of a function that is none when the next one takes its place. */
        return client_real.sqlite3_create_window_function(remote->shadow, name, argument_count, representation,
                                                          function, NULL, NULL, NULL, NULL, function_destroy);
    }
    if (function->value_cb != NULL)
        return client_real.sqlite3_create_window_function(remote->shadow, name, argument_count, representation,
                                                          function, shadow_step, shadow_end, shadow_end, shadow_step,
                                                          function_destroy);
    bool is_scalar = function->scalar_cb != NULL;
    return client_real.sqlite3_create_function_v2(remote->shadow, name, argument_count, representation, function,
                                                  is_scalar ? shadow_step : NULL, is_scalar ? NULL : shadow_step,
                                                  is_scalar ? NULL : shadow_end, function_destroy);
}

static int tell_server(struct client_remote *remote, const char *name, const struct client_registration *registration)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_FUNCTION);
    native_put_text(out, name);
    sq_buf_put_u32(out, (uint32_t)registration->argument_count);
    sq_buf_put_u32(out, (uint32_t)registration->representation);
    sq_buf_put_u32(out, registration->number);
    sq_buf_put_u8(out, (uint8_t)registration->function_kind);
    return client_request_end(remote, NULL, NULL);
}

/* Registers a function that is on the heap and belongs to the callee. */
static int register_function(struct client_remote *remote, const char *name, int argument_count, int representation,
                             struct client_function *function)
{
    struct client_calls *calls = remote->calls;
    sq_assert(function->calls == calls && function->number != 0);
    bool is_deletion = function->scalar_cb == NULL && function->final_cb == NULL;
    struct client_registration registration = {
        .kind = CLIENT_FUNCTION,
        .argument_count = argument_count,
        .representation = representation,
        .number = is_deletion ? 0 : function->number,
        .function_kind = function->kind,
    };
    int code = SQLITE_OK;
    if (sq_map_put(&calls->functions, &function->number, sizeof(function->number), function, NULL) != SQ_OK)
        code = SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = tell_server(remote, name, &registration);
    if (code != SQLITE_OK) {
        function_destroy(function);
        return code;
    }
    /* From here on the shadow owns it, also if it fails. */
    code = register_with_shadow(remote, name, argument_count, representation, function);
    client_statement_cache_clear(remote);
    if (code == SQLITE_OK && !client_calls_register(calls, name, &registration))
        code = SQLITE_NOMEM;
    return code;
}

static int create_function(sqlite3 *db, const char *name, int argument_count, int representation,
                           const struct client_function *described)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_function *function = NULL;
    int code = SQLITE_MISUSE;
    if (is_sound(name, argument_count, described)) {
        function = malloc(sizeof(*function));
        code = SQLITE_NOMEM;
    }
    if (function == NULL) {
        if (described->destroy_cb != NULL)
            described->destroy_cb(described->user_data);
    } else {
        *function = *described;
        function->calls = remote->calls;
        function->number = ++remote->calls->function_number;
        function->kind = described->value_cb != NULL  ? NATIVE_WINDOW
                         : described->step_cb != NULL ? NATIVE_AGGREGATE
                                                      : NATIVE_SCALAR;
        code = register_function(remote, name, argument_count, representation, function);
    }
    /* Like SQLite's, this leaves the connection's error as it is unless there is something to say, which has been
     * said. */
    code = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    return code;
}

int client_remote_sqlite3_create_function(sqlite3 *db, const char *name, int argument_count, int representation,
                                          void *user_data, void (*scalar_cb)(sqlite3_context *, int, sqlite3_value **),
                                          void (*step_cb)(sqlite3_context *, int, sqlite3_value **),
                                          void (*final_cb)(sqlite3_context *))
{
    return client_remote_sqlite3_create_function_v2(db, name, argument_count, representation, user_data, scalar_cb,
                                                    step_cb, final_cb, NULL);
}

int client_remote_sqlite3_create_function_v2(sqlite3 *db, const char *name, int argument_count, int representation,
                                             void *user_data,
                                             void (*scalar_cb)(sqlite3_context *, int, sqlite3_value **),
                                             void (*step_cb)(sqlite3_context *, int, sqlite3_value **),
                                             void (*final_cb)(sqlite3_context *), void (*destroy_cb)(void *))
{
    const struct client_function function = {.user_data = user_data,
                                             .scalar_cb = scalar_cb,
                                             .step_cb = step_cb,
                                             .final_cb = final_cb,
                                             .destroy_cb = destroy_cb};
    return create_function(db, name, argument_count, representation, &function);
}

int client_remote_sqlite3_create_window_function(sqlite3 *db, const char *name, int argument_count, int representation,
                                                 void *user_data,
                                                 void (*step_cb)(sqlite3_context *, int, sqlite3_value **),
                                                 void (*final_cb)(sqlite3_context *),
                                                 void (*value_cb)(sqlite3_context *),
                                                 void (*inverse_cb)(sqlite3_context *, int, sqlite3_value **),
                                                 void (*destroy_cb)(void *))
{
    const struct client_function function = {.user_data = user_data,
                                             .step_cb = step_cb,
                                             .final_cb = final_cb,
                                             .value_cb = value_cb,
                                             .inverse_cb = inverse_cb,
                                             .destroy_cb = destroy_cb};
    return create_function(db, name, argument_count, representation, &function);
}

int client_remote_sqlite3_create_function16(sqlite3 *db, const void *name, int argument_count, int representation,
                                            void *user_data,
                                            void (*scalar_cb)(sqlite3_context *, int, sqlite3_value **),
                                            void (*step_cb)(sqlite3_context *, int, sqlite3_value **),
                                            void (*final_cb)(sqlite3_context *))
{
    if (name == NULL)
        return SQLITE_MISUSE;
    char *name8 = client_utf16_to_utf8(name);
    if (name8 == NULL)
        return SQLITE_NOMEM;
    int code = client_remote_sqlite3_create_function_v2(db, name8, argument_count, representation, user_data, scalar_cb,
                                                        step_cb, final_cb, NULL);
    free(name8);
    return code;
}

/* https://sqlite.org/c3ref/overload_function.html */
int client_remote_sqlite3_overload_function(sqlite3 *db, const char *name, int argument_count)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = SQLITE_MISUSE;
    if (name != NULL && argument_count >= -2) {
        struct sq_buf *out = client_request_begin(remote, NATIVE_OVERLOAD);
        native_put_text(out, name);
        sq_buf_put_u32(out, (uint32_t)argument_count);
        code = client_request_end(remote, NULL, NULL);
        client_statement_cache_clear(remote);
        const struct client_registration registration = {.kind = CLIENT_OVERLOAD, .argument_count = argument_count};
        if (code == SQLITE_OK && !client_calls_register(remote->calls, name, &registration))
            code = SQLITE_NOMEM;
    }
    code = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    return code;
}

/* --- Groups of aggregates --- */

struct client_aggregate *client_aggregate_find(struct client_calls *calls, uint64_t number, bool is_wanted)
{
    struct client_aggregate *aggregate = sq_map_get(&calls->aggregates, &number, sizeof(number));
    if (aggregate != NULL || !is_wanted)
        return aggregate;
    aggregate = calloc(1, sizeof(*aggregate));
    if (aggregate == NULL)
        return NULL;
    aggregate->number = number;
    if (sq_map_put(&calls->aggregates, &number, sizeof(number), aggregate, NULL) == SQ_OK)
        return aggregate;
    free(aggregate);
    return NULL;
}

void client_aggregate_free(struct client_calls *calls, uint64_t number)
{
    struct client_aggregate *aggregate = sq_map_remove(&calls->aggregates, &number, sizeof(number));
    if (aggregate == NULL)
        return;
    client_real.sqlite3_free(aggregate->memory);
    free(aggregate);
}

/* --- Calls --- */

static void run_function(struct client_context *context, int count, sqlite3_value **values)
{
    sq_assert(context->function != NULL && context->real != NULL);
    const struct client_function function = *context->function; /* it may be replaced meanwhile */
    sqlite3_context *handle = (sqlite3_context *)(void *)context->handle;
    struct client_arguments arguments;
    client_arguments_enter(&arguments, SQ_CONTAINER_OF(context, struct client_frame, context), values, (size_t)count);
    switch (context->part) {
    case NATIVE_PART_SCALAR:
        function.scalar_cb(handle, count, values);
        break;
    case NATIVE_PART_STEP:
        function.step_cb(handle, count, values);
        break;
    case NATIVE_PART_INVERSE:
        function.inverse_cb(handle, count, values);
        break;
    case NATIVE_PART_VALUE:
        function.value_cb(handle);
        break;
    case NATIVE_PART_FINAL:
        function.final_cb(handle);
        break;
    }
    client_arguments_leave(&arguments);
}

static bool has_part(const struct client_function *function, uint8_t part)
{
    switch (part) {
    case NATIVE_PART_SCALAR:
        return function->scalar_cb != NULL;
    case NATIVE_PART_STEP:
    case NATIVE_PART_FINAL:
        return function->step_cb != NULL;
    case NATIVE_PART_INVERSE:
    case NATIVE_PART_VALUE:
        return function->value_cb != NULL;
    default:
        return false;
    }
}

/* The auxiliary data that arguments of this call have. */
static bool read_auxiliaries(struct client_context *context, struct pgwire_cursor *cursor)
{
    size_t count = pgwire_get_u16(cursor);
    if (count * (sizeof(uint16_t) + sizeof(uint64_t)) > cursor->left) {
        pgwire_cursor_fail(cursor);
        return false;
    }
    if (count > context->auxiliary_cap) {
        struct client_auxiliary *grown = reallocarray(context->auxiliaries, count, sizeof(*grown));
        if (grown == NULL)
            return false;
        context->auxiliaries = grown;
        context->auxiliary_cap = count;
    }
    for (size_t i = 0; i < count; i++) {
        context->auxiliaries[i].argument = pgwire_get_u16(cursor);
        context->auxiliaries[i].number = pgwire_get_u64(cursor);
        context->auxiliaries[i].is_new = false;
    }
    context->auxiliary_count = count;
    return true;
}

static bool is_pointer(sqlite3_value *value, const struct client_pointer *pointer)
{
    return pointer != NULL && pointer->pointer != NULL &&
           client_real.sqlite3_value_pointer(value, pointer->type) == pointer->pointer;
}

/* The pointer that a NULL which is the result has, as one that the server knows by number; 0: none. */
static uint64_t pointer_number(struct client_frame *frame, size_t count, sqlite3_value *result)
{
    struct client_context *context = &frame->context;
    if (is_pointer(result, context->pointer)) {
        return SQ_STEAL(context->pointer)->number; /* kept until client_calls_rest() */
    }
    for (size_t i = 0; i < count; i++) {
        /* An argument that was passed on. */
        if (frame->values[i].kind == NATIVE_VALUE_POINTER &&
            is_pointer(result, client_pointer_find(frame->remote, frame->values[i].number)))
            return frame->values[i].number;
    }
    return 0;
}

void client_call_value_of(struct client_frame *frame, size_t count, sqlite3_value *result,
                          struct native_value *ret_value)
{
    struct native_value value = {.subtype = client_real.sqlite3_value_subtype(result)};
    value.has_subtype = value.subtype != 0;
    switch (client_real.sqlite3_value_type(result)) {
    case SQLITE_INTEGER:
        value.value.kind = SQ_VALUE_INTEGER;
        value.value.integer = client_real.sqlite3_value_int64(result);
        break;
    case SQLITE_FLOAT:
        value.value.kind = SQ_VALUE_REAL;
        value.value.real = client_real.sqlite3_value_double(result);
        break;
    case SQLITE_TEXT:
        value.value.kind = SQ_VALUE_TEXT;
        value.value.bytes.data = (const char *)client_real.sqlite3_value_text(result);
        value.value.bytes.length = (size_t)client_real.sqlite3_value_bytes(result);
        break;
    case SQLITE_BLOB:
        value.value.kind = SQ_VALUE_BLOB;
        value.value.bytes.data = client_real.sqlite3_value_blob(result);
        value.value.bytes.length = (size_t)client_real.sqlite3_value_bytes(result);
        break;
    default:
        value.number = pointer_number(frame, count, result);
        value.kind = value.number != 0 ? NATIVE_VALUE_POINTER : NATIVE_VALUE_PLAIN;
        break;
    }
    *ret_value = value;
}

static void put_auxiliaries(struct client_context *context, struct sq_buf *out)
{
    uint16_t count = 0;
    for (size_t i = 0; i < context->auxiliary_count; i++)
        count = (uint16_t)(count + context->auxiliaries[i].is_new);
    sq_buf_put_u16(out, count);
    for (size_t i = 0; i < context->auxiliary_count; i++) {
        if (!context->auxiliaries[i].is_new)
            continue;
        sq_buf_put_u16(out, context->auxiliaries[i].argument);
        sq_buf_put_u64(out, context->auxiliaries[i].number);
    }
}

/* Calls and answers. */
static void call_and_answer(struct client_frame *frame, size_t count)
{
    struct client_remote *remote = frame->remote;
    struct client_context *context = &frame->context;
    struct client_row *row;
    int code = client_row_call(frame, count, &row);
    struct sq_buf *out = client_call_answer_begin(remote);
    sq_buf_put_u8(out, code != SQLITE_ROW);
    if (code == SQLITE_ROW) {
        struct native_value value;
        client_call_value_of(frame, count, client_real.sqlite3_column_value(row->stmt, 0), &value);
        native_put_any(out, &value);
    } else {
        sq_buf_put_u32(out, (uint32_t)code);
        native_put_text(out, client_real.sqlite3_errmsg(frame->calls->values_db));
    }
    put_auxiliaries(context, out);
    client_call_answer_end(remote);
    client_row_close(row);
    client_calls_drop_result(frame->calls, SQ_STEAL(context->pointer));
    /* Number 0 is a group without rows: what it had is nobody's. */
    if (context->part == NATIVE_PART_FINAL || context->aggregate_number == 0)
        client_aggregate_free(frame->calls, context->aggregate_number);
}

void client_call_function(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    struct client_context *context = &frame->context;
    uint32_t number = pgwire_get_u32(cursor);
    uint8_t part = pgwire_get_u8(cursor);
    context->aggregate_number = pgwire_get_u64(cursor);
    size_t count = pgwire_get_u16(cursor);
    bool is_read = client_frame_read_values(frame, cursor, 0, count) && read_auxiliaries(context, cursor);
    context->function = sq_map_get(&frame->calls->functions, &number, sizeof(number));
    if (!is_read || !pgwire_cursor_is_done(cursor) || context->function == NULL || !has_part(context->function, part)) {
        client_calls_malformed(frame);
        context->function = NULL;
        return;
    }
    context->run_cb = run_function;
    context->part = (enum native_function_part)part;
    context->pointer = NULL;
    if (part == NATIVE_PART_STEP || part == NATIVE_PART_INVERSE) {
        struct client_aggregate *aggregate = client_aggregate_find(frame->calls, context->aggregate_number, true);
        if (aggregate != NULL)
            aggregate->count++;
    }
    call_and_answer(frame, count);
    context->run_cb = NULL;
    context->function = NULL;
}
