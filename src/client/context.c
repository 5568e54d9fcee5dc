/* client/context.c: what an application's function does with its context. See calls_internal.h.
 *
 * Results go to the real context of "sqld call". What SQLite keeps in the statement that runs, which is the server's
 * here, is kept by us: https://sqlite.org/c3ref/get_auxdata.html, https://sqlite.org/c3ref/aggregate_context.html */
#include <stdlib.h>
#include <string.h>

#include "client/calls_internal.h"
#include "client/parameters.h"
#include "client/remote_api.h"

/* NULL: the call is over, and with it the context. */
static struct client_context *context_of(sqlite3_context *handle)
{
    struct client_context *context = client_handle_object(handle, CLIENT_HANDLE_CONTEXT);
    return context != NULL && context->real != NULL ? context : NULL;
}

static struct client_frame *frame_of(struct client_context *context)
{
    return SQ_CONTAINER_OF(context, struct client_frame, context);
}

/* --- Results --- */

#define RESULT(name, ...)                                                                                              \
    void client_remote_##name(CLIENT_PARAMETERS(__VA_ARGS__))                                                          \
    {                                                                                                                  \
        struct client_context *context = context_of(a1);                                                               \
        if (context == NULL)                                                                                           \
            return;                                                                                                    \
        context->has_result = true;                                                                                    \
        a1 = context->real;                                                                                            \
        client_real.name(CLIENT_ARGUMENTS(__VA_ARGS__));                                                               \
    }

RESULT(sqlite3_result_blob, sqlite3_context *, const void *, int, void (*)(void *))
RESULT(sqlite3_result_blob64, sqlite3_context *, const void *, sqlite3_uint64, void (*)(void *))
RESULT(sqlite3_result_double, sqlite3_context *, double)
RESULT(sqlite3_result_error, sqlite3_context *, const char *, int)
RESULT(sqlite3_result_error16, sqlite3_context *, const void *, int)
RESULT(sqlite3_result_error_code, sqlite3_context *, int)
RESULT(sqlite3_result_error_nomem, sqlite3_context *)
RESULT(sqlite3_result_error_toobig, sqlite3_context *)
RESULT(sqlite3_result_int, sqlite3_context *, int)
RESULT(sqlite3_result_int64, sqlite3_context *, sqlite3_int64)
RESULT(sqlite3_result_null, sqlite3_context *)
RESULT(sqlite3_result_subtype, sqlite3_context *, unsigned int)
RESULT(sqlite3_result_text, sqlite3_context *, const char *, int, void (*)(void *))
RESULT(sqlite3_result_text16, sqlite3_context *, const void *, int, void (*)(void *))
RESULT(sqlite3_result_text16be, sqlite3_context *, const void *, int, void (*)(void *))
RESULT(sqlite3_result_text16le, sqlite3_context *, const void *, int, void (*)(void *))
RESULT(sqlite3_result_text64, sqlite3_context *, const char *, sqlite3_uint64, void (*)(void *), unsigned char)
RESULT(sqlite3_result_value, sqlite3_context *, sqlite3_value *)
RESULT(sqlite3_result_zeroblob, sqlite3_context *, int)

int client_remote_sqlite3_result_zeroblob64(sqlite3_context *handle, sqlite3_uint64 bytes)
{
    struct client_context *context = context_of(handle);
    if (context == NULL)
        return SQLITE_MISUSE;
    context->has_result = true;
    return client_real.sqlite3_result_zeroblob64(context->real, bytes);
}

/* https://sqlite.org/bindptr.html: the server keeps a number. */
void client_remote_sqlite3_result_pointer(sqlite3_context *handle, void *pointer, const char *type,
                                          void (*destroy_cb)(void *))
{
    struct client_context *context = context_of(handle);
    if (context == NULL)
        return;
    struct client_frame *frame = frame_of(context);
    context->has_result = true;
    client_calls_drop_result(frame->calls, SQ_STEAL(context->pointer));
    struct client_pointer *made = client_pointer_new(frame->remote, pointer, type, destroy_cb);
    if (made != NULL && client_calls_add_result(frame->calls, made)) {
        context->pointer = made;
        client_real.sqlite3_result_pointer(context->real, pointer, made->type, NULL);
    } else {
        client_pointer_free(made);
        client_real.sqlite3_result_error_nomem(context->real);
    }
}

/* https://sqlite.org/c3ref/vtab_nochange.html */
int client_remote_sqlite3_vtab_nochange(sqlite3_context *handle)
{
    const struct client_context *context = context_of(handle);
    return context != NULL && context->is_for_update && !context->has_result;
}

/* --- The statement's --- */

void *client_remote_sqlite3_user_data(sqlite3_context *handle)
{
    const struct client_context *context = context_of(handle);
    return context != NULL && context->function != NULL ? context->function->user_data : NULL;
}

sqlite3 *client_remote_sqlite3_context_db_handle(sqlite3_context *handle)
{
    struct client_context *context = context_of(handle);
    return context != NULL ? frame_of(context)->remote->handle : NULL;
}

void *client_remote_sqlite3_aggregate_context(sqlite3_context *handle, int bytes)
{
    struct client_context *context = context_of(handle);
    if (context == NULL || context->function == NULL || context->part == NATIVE_PART_SCALAR)
        return NULL;
    struct client_aggregate *aggregate =
        client_aggregate_find(frame_of(context)->calls, context->aggregate_number, bytes > 0);
    if (aggregate == NULL || aggregate->memory != NULL || bytes <= 0)
        return aggregate != NULL ? aggregate->memory : NULL;
    aggregate->memory = client_real.sqlite3_malloc(bytes);
    if (aggregate->memory != NULL)
        memset(aggregate->memory, 0, (size_t)bytes);
    return aggregate->memory;
}

int client_remote_sqlite3_aggregate_count(sqlite3_context *handle)
{
    struct client_context *context = context_of(handle);
    if (context == NULL || context->function == NULL || context->part == NATIVE_PART_SCALAR)
        return 0;
    const struct client_aggregate *aggregate =
        client_aggregate_find(frame_of(context)->calls, context->aggregate_number, false);
    return aggregate != NULL ? aggregate->count : 0;
}

static struct client_auxiliary *auxiliary_find(struct client_context *context, int argument)
{
    for (size_t i = 0; i < context->auxiliary_count; i++) {
        if (context->auxiliaries[i].argument == argument)
            return &context->auxiliaries[i];
    }
    return NULL;
}

void *client_remote_sqlite3_get_auxdata(sqlite3_context *handle, int argument)
{
    struct client_context *context = context_of(handle);
    const struct client_auxiliary *auxiliary =
        context != NULL && context->function != NULL ? auxiliary_find(context, argument) : NULL;
    if (auxiliary == NULL)
        return NULL;
    const struct client_kept *kept = client_calls_kept(frame_of(context)->calls, auxiliary->number);
    return kept != NULL ? kept->object : NULL;
}

/* The entry for `argument`, whose former data is destroyed, with a number of its own. NULL: no memory. */
static struct client_auxiliary *auxiliary_renew(struct client_context *context, int argument)
{
    struct client_frame *frame = frame_of(context);
    struct client_auxiliary *auxiliary = auxiliary_find(context, argument);
    if (auxiliary != NULL) {
        client_calls_release(frame->calls, auxiliary->number);
    } else {
        if (context->auxiliary_count == context->auxiliary_cap) {
            size_t cap = context->auxiliary_cap * 2 + 4;
            struct client_auxiliary *grown = reallocarray(context->auxiliaries, cap, sizeof(*grown));
            if (grown == NULL)
                return NULL;
            context->auxiliaries = grown;
            context->auxiliary_cap = cap;
        }
        auxiliary = &context->auxiliaries[context->auxiliary_count++];
    }
    *auxiliary = (struct client_auxiliary){
        .argument = (uint16_t)argument, .number = ++frame->remote->pointer_number, .is_new = true};
    return auxiliary;
}

/* SQLite may discard the data at any time, here for what the protocol cannot name: at once. */
void client_remote_sqlite3_set_auxdata(sqlite3_context *handle, int argument, void *data, void (*destroy_cb)(void *))
{
    struct client_context *context = context_of(handle);
    struct client_auxiliary *auxiliary = NULL;
    if (context != NULL && context->function != NULL && argument >= 0 && argument <= UINT16_MAX)
        auxiliary = auxiliary_renew(context, argument);
    bool is_kept =
        auxiliary != NULL && client_calls_keep(frame_of(context)->calls, auxiliary->number, data, destroy_cb);
    if (auxiliary != NULL && !is_kept)
        auxiliary->is_new = false;
    if (!is_kept && destroy_cb != NULL)
        destroy_cb(data);
}
