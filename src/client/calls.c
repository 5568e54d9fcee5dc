/* client/calls.c: calls of the server: life, dispatch, replay, and what is kept by number. See calls_internal.h. */
#include "client/calls.h"

#include <stdlib.h>
#include <string.h>

#include "client/calls_internal.h"
#include "client/table.h"

/* --- What is kept by number --- */

bool client_calls_keep(struct client_calls *calls, uint64_t number, void *object, void (*destroy_cb)(void *))
{
    sq_assert(number != 0 && client_calls_kept(calls, number) == NULL);
    struct client_kept *kept = malloc(sizeof(*kept));
    if (kept == NULL)
        return false;
    *kept = (struct client_kept){.number = number, .object = object, .destroy_cb = destroy_cb};
    if (sq_map_put(&calls->kept, &number, sizeof(number), kept, NULL) == SQ_OK)
        return true;
    free(kept);
    return false;
}

struct client_kept *client_calls_kept(struct client_calls *calls, uint64_t number)
{
    return sq_map_get(&calls->kept, &number, sizeof(number));
}

void client_calls_release(struct client_calls *calls, uint64_t number)
{
    struct client_kept *kept = sq_map_remove(&calls->kept, &number, sizeof(number));
    if (kept == NULL)
        return;
    struct client_kept last = *kept;
    free(kept); /* the application's destructor may come back to us */
    if (last.destroy_cb != NULL)
        last.destroy_cb(last.object);
}

bool client_calls_add_result(struct client_calls *calls, struct client_pointer *pointer)
{
    if (calls->result_count == calls->result_cap) {
        size_t cap = calls->result_cap * 2 + 4;
        struct client_pointer **grown = reallocarray(calls->results, cap, sizeof(struct client_pointer *));
        if (grown == NULL)
            return false;
        calls->results = grown;
        calls->result_cap = cap;
    }
    calls->results[calls->result_count++] = pointer;
    return true;
}

void client_calls_drop_result(struct client_calls *calls, struct client_pointer *pointer)
{
    for (size_t i = calls->result_count; pointer != NULL && i > 0; i--) {
        if (calls->results[i - 1] != pointer)
            continue;
        calls->results[i - 1] = calls->results[--calls->result_count];
        client_pointer_free(pointer);
        return;
    }
}

void client_calls_rest(struct client_remote *remote)
{
    struct client_calls *calls = remote->calls;
    /* A destructor may come back to us, and add to the list. */
    while (calls != NULL && calls->depth == 0 && remote->running_count == 0 && calls->result_count > 0)
        client_pointer_free(calls->results[--calls->result_count]);
}

/* All of it: the server is gone. */
static void release_all(struct client_calls *calls)
{
    client_tables_release(calls);
    while (calls->result_count > 0)
        client_pointer_free(calls->results[--calls->result_count]);
    for (;;) {
        struct sq_map_cursor at = {0};
        const struct client_kept *kept = sq_map_next(&calls->kept, &at);
        if (kept == NULL)
            break;
        client_calls_release(calls, kept->number);
    }
    struct sq_map_cursor at = {0};
    const struct client_aggregate *aggregate;
    while ((aggregate = sq_map_next(&calls->aggregates, &at)) != NULL)
        client_aggregate_free(calls, aggregate->number);
}

/* --- Life --- */

void client_calls_unregister(struct client_registration *registration)
{
    sq_list_remove(&registration->links);
    free(registration->name);
    free(client_unconst(registration->body));
    free(registration);
}

bool client_calls_new(struct client_remote *remote)
{
    sq_assert(remote->calls == NULL && remote->shadow != NULL);
    struct client_calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return false;
    calls->remote = remote;
    client_hooks_init(&calls->hooks);
    sq_map_init(&calls->functions);
    sq_map_init(&calls->collations);
    sq_map_init(&calls->kept);
    sq_map_init(&calls->aggregates);
    sq_map_init(&calls->modules);
    sq_map_init(&calls->tables);
    sq_map_init(&calls->cursors);
    sq_list_init(&calls->table_list);
    sq_list_init(&calls->cursor_list);
    sq_list_init(&calls->registrations);
    remote->calls = calls;
    return true;
}

void client_calls_free(struct client_remote *remote)
{
    struct client_calls *calls = remote->calls;
    if (calls == NULL)
        return;
    sq_assert(calls->depth == 0);
    client_tables_release(calls);
    if (calls->hooks.rollback_cb != NULL && !remote->state.is_autocommit)
        calls->hooks.rollback_cb(calls->hooks.rollback_data);
    release_all(calls);
    for (size_t i = 0; i < NATIVE_CALL_DEPTH_MAX; i++)
        client_frame_free(calls->frames[i]);
    (void)client_real.sqlite3_close(calls->values_db);
    /* These go with the shadow. */
    struct sq_map_cursor at = {0};
    struct client_function *function;
    while ((function = sq_map_next(&calls->functions, &at)) != NULL)
        function->calls = NULL;
    at = (struct sq_map_cursor){0};
    struct client_collation *collation;
    while ((collation = sq_map_next(&calls->collations, &at)) != NULL)
        collation->calls = NULL;
    at = (struct sq_map_cursor){0};
    struct client_module *module;
    while ((module = sq_map_next(&calls->modules, &at)) != NULL)
        module->calls = NULL;
    SQ_LIST_FOREACH (i, &calls->registrations)
        client_calls_unregister(SQ_CONTAINER_OF(i, struct client_registration, links));
    sq_map_done(&calls->functions);
    sq_map_done(&calls->collations);
    sq_map_done(&calls->kept);
    sq_map_done(&calls->aggregates);
    sq_map_done(&calls->modules);
    sq_map_done(&calls->tables);
    sq_map_done(&calls->cursors);
    free(calls->results);
    remote->calls = NULL;
    free(calls);
}

bool client_calls_want_single_rows(const struct client_remote *remote, bool is_readonly)
{
    const uint32_t of_all = NATIVE_HOOK_PROGRESS | NATIVE_HOOK_TRACE;
    const uint32_t of_writers =
        NATIVE_HOOK_COMMIT | NATIVE_HOOK_ROLLBACK | NATIVE_HOOK_UPDATE | NATIVE_HOOK_PREUPDATE | NATIVE_HOOK_WAL;
    uint32_t seen = is_readonly ? of_all : of_all | of_writers;
    return remote->calls != NULL && (client_hooks_set(&remote->calls->hooks) & seen) != 0;
}

bool client_calls_have_functions(const struct client_remote *remote)
{
    return remote->calls != NULL && !sq_list_is_empty(&remote->calls->registrations);
}

bool client_calls_have_modules(const struct client_remote *remote)
{
    return remote->calls != NULL && remote->calls->modules.count > 0;
}

bool client_calls_have_tables(const struct client_remote *remote)
{
    return remote->calls != NULL && remote->calls->tables.count > 0;
}

bool client_calls_want_prepare(const struct client_remote *remote)
{
    return remote->calls != NULL && remote->calls->hooks.authorizer_cb != NULL;
}

bool client_calls_want_end(const struct client_remote *remote)
{
    const struct client_calls *calls = remote->calls;
    return calls != NULL && (calls->kept.count > 0 || calls->aggregates.count > 0 || calls->result_count > 0 ||
                             calls->cursors.count > 0 || client_calls_want_single_rows(remote, true));
}

/* --- Registrations --- */

static bool is_same(const struct client_registration *a, const struct client_registration *b)
{
    const int encodings = SQLITE_UTF8 | SQLITE_UTF16LE | SQLITE_UTF16BE | SQLITE_UTF16 | SQLITE_ANY;
    return a->kind == b->kind && a->argument_count == b->argument_count &&
           (a->representation & encodings) == (b->representation & encodings) &&
           client_real.sqlite3_stricmp(a->name, b->name) == 0;
}

bool client_calls_register(struct client_calls *calls, const char *name, const struct client_registration *what)
{
    struct client_registration *made = malloc(sizeof(*made));
    char *copy = strdup(name);
    if (made == NULL || copy == NULL) {
        free(made);
        free(copy);
        return false;
    }
    *made = *what;
    made->name = copy;
    if (what->body != NULL) {
        void *body = malloc(what->body_bytes);
        if (body == NULL) {
            free(made);
            free(copy);
            return false;
        }
        made->body = memcpy(body, what->body, what->body_bytes);
    }
    SQ_LIST_FOREACH (i, &calls->registrations) {
        struct client_registration *old = SQ_CONTAINER_OF(i, struct client_registration, links);
        if (is_same(old, made))
            client_calls_unregister(old);
    }
    sq_list_init(&made->links);
    sq_list_push_back(&calls->registrations, &made->links);
    return true;
}

static int replay_one(struct client_remote *remote, const struct client_registration *registration)
{
    if (registration->kind == CLIENT_MODULE)
        return client_module_tell(remote, registration->name, registration->number, registration->version,
                                  registration->bits);
    if (registration->kind == CLIENT_DROP_MODULES)
        return client_modules_tell_drop(remote, registration->body, registration->body_bytes);
    static const enum native_op ops[] = {
        [CLIENT_FUNCTION] = NATIVE_FUNCTION,
        [CLIENT_COLLATION] = NATIVE_COLLATION,
        [CLIENT_OVERLOAD] = NATIVE_OVERLOAD,
    };
    struct sq_buf *out = client_request_begin(remote, ops[registration->kind]);
    native_put_text(out, registration->name);
    if (registration->kind != CLIENT_COLLATION)
        sq_buf_put_u32(out, (uint32_t)registration->argument_count);
    if (registration->kind == CLIENT_FUNCTION)
        sq_buf_put_u32(out, (uint32_t)registration->representation);
    if (registration->kind != CLIENT_OVERLOAD)
        sq_buf_put_u32(out, registration->number);
    if (registration->kind == CLIENT_FUNCTION)
        sq_buf_put_u8(out, (uint8_t)registration->function_kind);
    return client_request_end(remote, NULL, NULL);
}

int client_calls_replay(struct client_remote *remote)
{
    struct client_calls *calls = remote->calls;
    if (calls == NULL)
        return SQLITE_OK;
    if (calls->depth == 0)
        release_all(calls);
    SQ_LIST_FOREACH (i, &calls->registrations) {
        int code = replay_one(remote, SQ_CONTAINER_OF(i, struct client_registration, links));
        if (code != SQLITE_OK)
            return code;
    }
    return client_hooks_set(&calls->hooks) != 0 ? client_hooks_send(remote) : SQLITE_OK;
}

/* --- Calls --- */

void client_calls_malformed(struct client_frame *frame)
{
    (void)client_remote_lose(frame->remote, "the server has sent a call that makes no sense");
}

void client_calls_answer(struct client_frame *frame, int32_t result)
{
    sq_buf_put_u32(client_call_answer_begin(frame->remote), (uint32_t)result);
    client_call_answer_end(frame->remote);
}

static void call_auxdata_free(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint64_t number = pgwire_get_u64(cursor);
    if (pgwire_cursor_is_done(cursor))
        client_calls_release(frame->calls, number);
    else
        client_calls_malformed(frame);
}

static void call_aggregate_free(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint64_t number = pgwire_get_u64(cursor);
    if (pgwire_cursor_is_done(cursor))
        client_aggregate_free(frame->calls, number);
    else
        client_calls_malformed(frame);
}

static client_call *const calls_by_kind[] = {
    [NATIVE_CALL_FUNCTION] = client_call_function,
    [NATIVE_CALL_COLLATION] = client_call_collation,
    [NATIVE_CALL_AUTHORIZER] = client_call_authorizer,
    [NATIVE_CALL_PROGRESS] = client_call_progress,
    [NATIVE_CALL_BUSY] = client_call_busy,
    [NATIVE_CALL_COMMIT] = client_call_commit,
    [NATIVE_CALL_ROLLBACK] = client_call_rollback,
    [NATIVE_CALL_UPDATE] = client_call_update,
    [NATIVE_CALL_PREUPDATE] = client_call_preupdate,
    [NATIVE_CALL_WAL] = client_call_wal,
    [NATIVE_CALL_COLLATION_NEEDED] = client_call_collation_needed,
    [NATIVE_CALL_TRACE] = client_call_trace,
    [NATIVE_CALL_AUXDATA_FREE] = call_auxdata_free,
    [NATIVE_CALL_AGGREGATE_FREE] = call_aggregate_free,
    [NATIVE_CALL_METHOD] = client_call_method,
    [NATIVE_CALL_TABLE_FREE] = client_call_table_free,
    [NATIVE_CALL_CURSOR_FREE] = client_call_cursor_free,
    [NATIVE_CALL_TABLE_ROLLBACK] = client_call_table_rollback,
};

void client_calls_serve(struct client_remote *remote, const uint8_t *body, size_t length)
{
    struct client_calls *calls = remote->calls;
    sq_assert(calls != NULL && (body != NULL || length == 0));
    struct client_frame *frame = client_frame_enter(calls, body, length);
    if (frame == NULL) {
        (void)client_remote_lose(remote, "no memory for a call of the server's, or calls nest too deep");
        return;
    }
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, length);
    uint8_t kind = pgwire_get_u8(&cursor);
    client_call *call = kind < sizeof(calls_by_kind) / sizeof(calls_by_kind[0]) ? calls_by_kind[kind] : NULL;
    if (call != NULL)
        call(frame, &cursor);
    else
        client_calls_malformed(frame);
    client_frame_leave(frame);
}
