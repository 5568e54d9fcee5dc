/* client/hooks.c: authorizer, progress and busy handler, the hooks for commit, rollback, update and the write-ahead
 * log.
 *
 * Each has one callback per connection; most give back what the former one was set with. The server knows which are
 * set and calls only those. https://sqlite.org/c3ref/commit_hook.html and the pages beside it. */
#include <string.h>

#include "client/calls_internal.h"
#include "client/remote_api.h"
#include "client/statement.h"

enum { WAL_PAGES_DEFAULT = 1000 }; /* SQLITE_DEFAULT_WAL_AUTOCHECKPOINT */

/* What SQLite's own wal hook has in the place of a pointer. */
static void *wal_pages(int pages)
{
    return pages > 0 ? (void *)(uintptr_t)pages : NULL; // NOLINT(performance-no-int-to-ptr)
}

void client_hooks_init(struct client_hooks *hooks)
{
    *hooks = (struct client_hooks){.wal_data = wal_pages(WAL_PAGES_DEFAULT)};
}

/* --- What the server knows --- */

uint32_t client_hooks_set(const struct client_hooks *hooks)
{
    return (hooks->authorizer_cb != NULL ? NATIVE_HOOK_AUTHORIZER : 0U) |
           (hooks->progress_cb != NULL ? NATIVE_HOOK_PROGRESS : 0U) | (hooks->busy_cb != NULL ? NATIVE_HOOK_BUSY : 0U) |
           (hooks->commit_cb != NULL ? NATIVE_HOOK_COMMIT : 0U) |
           (hooks->rollback_cb != NULL ? NATIVE_HOOK_ROLLBACK : 0U) |
           (hooks->update_cb != NULL ? NATIVE_HOOK_UPDATE : 0U) |
           (hooks->preupdate_cb != NULL ? NATIVE_HOOK_PREUPDATE : 0U) | (hooks->wal_cb != NULL ? NATIVE_HOOK_WAL : 0U) |
           (hooks->needed_cb != NULL || hooks->needed16_cb != NULL ? NATIVE_HOOK_COLLATION_NEEDED : 0U) |
           (client_trace_events(hooks) != 0 ? NATIVE_HOOK_TRACE : 0U);
}

int client_hooks_send(struct client_remote *remote)
{
    const struct client_hooks *hooks = &remote->calls->hooks;
    sq_assert((hooks->progress_cb == NULL) == (hooks->progress_instructions == 0));
    struct sq_buf *out = client_request_begin(remote, NATIVE_HOOKS);
    sq_buf_put_u32(out, client_hooks_set(hooks));
    sq_buf_put_u32(out, (uint32_t)hooks->progress_instructions);
    sq_buf_put_u32(out, client_trace_events(hooks));
    return client_request_end(remote, NULL, NULL);
}

/* The hooks of a connection that is being changed; NULL: it is none. hooks_leave() follows. */
static struct client_hooks *hooks_enter(sqlite3 *db, struct client_remote **ret_remote)
{
    *ret_remote = client_remote_enter(db);
    return *ret_remote != NULL ? &(*ret_remote)->calls->hooks : NULL;
}

/* Tells the server. What goes wrong shows as the connection's error: most of these functions return no code. */
static int hooks_leave(struct client_remote *remote)
{
    int code = client_remote_shown(remote, client_hooks_send(remote));
    client_remote_leave_quietly(remote);
    return code;
}

#define SWAP(place, value)                                                                                             \
    __extension__({                                                                                                    \
        __auto_type swapped_ = (place);                                                                                \
        (place) = (value);                                                                                             \
        swapped_;                                                                                                      \
    })

/* --- Setting --- */

int client_remote_sqlite3_set_authorizer(
    sqlite3 *db, int (*callback)(void *, int, const char *, const char *, const char *, const char *), void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return SQLITE_MISUSE;
    hooks->authorizer_cb = callback;
    hooks->authorizer_data = data;
    client_statement_cache_clear(remote);
    return hooks_leave(remote);
}

void client_remote_sqlite3_progress_handler(sqlite3 *db, int instructions, int (*callback)(void *), void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return;
    bool is_set = instructions > 0 && callback != NULL;
    hooks->progress_cb = is_set ? callback : NULL;
    hooks->progress_data = is_set ? data : NULL;
    hooks->progress_instructions = is_set ? instructions : 0;
    (void)hooks_leave(remote);
}

static int send_busy_timeout(struct client_remote *remote)
{
    sq_buf_put_u32(client_request_begin(remote, NATIVE_BUSY_TIMEOUT), (uint32_t)remote->busy_timeout_ms);
    return client_request_end(remote, NULL, NULL);
}

/* A handler takes the place of a time to wait, and the other way round: https://sqlite.org/c3ref/busy_timeout.html */
int client_remote_sqlite3_busy_handler(sqlite3 *db, int (*callback)(void *, int), void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return SQLITE_MISUSE;
    hooks->busy_cb = callback;
    hooks->busy_data = data;
    if (SWAP(remote->busy_timeout_ms, 0) != 0)
        (void)send_busy_timeout(remote);
    return hooks_leave(remote);
}

int client_remote_sqlite3_busy_timeout(sqlite3 *db, int milliseconds)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return SQLITE_MISUSE;
    bool had_handler = SWAP(hooks->busy_cb, NULL) != NULL;
    hooks->busy_data = NULL;
    int code = SQLITE_OK;
    if (SWAP(remote->busy_timeout_ms, milliseconds > 0 ? milliseconds : 0) != remote->busy_timeout_ms)
        code = send_busy_timeout(remote);
    if (code == SQLITE_OK && had_handler)
        code = client_hooks_send(remote);
    code = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    return code;
}

void *client_remote_sqlite3_commit_hook(sqlite3 *db, int (*callback)(void *), void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return NULL;
    hooks->commit_cb = callback;
    void *former = SWAP(hooks->commit_data, data);
    (void)hooks_leave(remote);
    return former;
}

void *client_remote_sqlite3_rollback_hook(sqlite3 *db, void (*callback)(void *), void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return NULL;
    hooks->rollback_cb = callback;
    void *former = SWAP(hooks->rollback_data, data);
    (void)hooks_leave(remote);
    return former;
}

void *client_remote_sqlite3_update_hook(sqlite3 *db,
                                        void (*callback)(void *, int, const char *, const char *, sqlite3_int64),
                                        void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return NULL;
    hooks->update_cb = callback;
    void *former = SWAP(hooks->update_data, data);
    (void)hooks_leave(remote);
    return former;
}

void *client_remote_sqlite3_preupdate_hook(sqlite3 *db,
                                           void (*callback)(void *, sqlite3 *, int, const char *, const char *,
                                                            sqlite3_int64, sqlite3_int64),
                                           void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return NULL;
    hooks->preupdate_cb = callback;
    void *former = SWAP(hooks->preupdate_data, data);
    (void)hooks_leave(remote);
    return former;
}

void *client_remote_sqlite3_wal_hook(sqlite3 *db, int (*callback)(void *, sqlite3 *, const char *, int), void *data)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return NULL;
    hooks->wal_cb = callback;
    void *former = SWAP(hooks->wal_data, data);
    (void)hooks_leave(remote);
    return former;
}

/* SQLite's own wal hook, with its number of pages in place of a pointer. The server checkpoints by itself and does
 * not need it, so all that is left is that it takes the place of the application's.
 * https://sqlite.org/c3ref/wal_autocheckpoint.html */
int client_remote_sqlite3_wal_autocheckpoint(sqlite3 *db, int pages)
{
    struct client_remote *remote;
    struct client_hooks *hooks = hooks_enter(db, &remote);
    if (hooks == NULL)
        return SQLITE_MISUSE;
    bool had_hook = SWAP(hooks->wal_cb, NULL) != NULL;
    hooks->wal_data = wal_pages(pages);
    if (had_hook)
        return hooks_leave(remote);
    client_remote_leave_quietly(remote);
    return SQLITE_OK;
}

/* --- Calls --- */

/* Nothing is left of the message, and the callback is still there. */
static bool is_call(struct client_frame *frame, const struct pgwire_cursor *cursor, bool is_set)
{
    if (!pgwire_cursor_is_done(cursor)) {
        client_calls_malformed(frame);
        return false;
    }
    /* Unset in a callback farther out: the server may not have heard of that yet. */
    if (!is_set)
        client_calls_answer(frame, 0);
    return is_set;
}

void client_call_authorizer(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    enum { NAME_COUNT = 4 };
    const struct client_hooks *hooks = &frame->calls->hooks;
    int action = (int32_t)pgwire_get_u32(cursor);
    const char *names[NAME_COUNT];
    for (size_t i = 0; i < NAME_COUNT; i++)
        names[i] = client_frame_read_text(frame, cursor);
    if (is_call(frame, cursor, hooks->authorizer_cb != NULL))
        client_calls_answer(
            frame, hooks->authorizer_cb(hooks->authorizer_data, action, names[0], names[1], names[2], names[3]));
}

void client_call_progress(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    if (is_call(frame, cursor, hooks->progress_cb != NULL))
        client_calls_answer(frame, hooks->progress_cb(hooks->progress_data));
}

void client_call_busy(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    int before = (int32_t)pgwire_get_u32(cursor);
    if (is_call(frame, cursor, hooks->busy_cb != NULL))
        client_calls_answer(frame, hooks->busy_cb(hooks->busy_data, before));
}

void client_call_commit(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    if (is_call(frame, cursor, hooks->commit_cb != NULL))
        client_calls_answer(frame, hooks->commit_cb(hooks->commit_data));
}

void client_call_rollback(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    if (!is_call(frame, cursor, hooks->rollback_cb != NULL))
        return;
    hooks->rollback_cb(hooks->rollback_data);
    client_calls_answer(frame, 0);
}

void client_call_update(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    int operation = (int32_t)pgwire_get_u32(cursor);
    const char *database = client_frame_read_text(frame, cursor);
    const char *table = client_frame_read_text(frame, cursor);
    sqlite3_int64 rowid = (sqlite3_int64)pgwire_get_u64(cursor);
    if (!is_call(frame, cursor, hooks->update_cb != NULL))
        return;
    hooks->update_cb(hooks->update_data, operation, database, table, rowid);
    client_calls_answer(frame, 0);
}

void client_call_wal(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    const char *database = client_frame_read_text(frame, cursor);
    int pages = (int32_t)pgwire_get_u32(cursor);
    if (is_call(frame, cursor, hooks->wal_cb != NULL))
        client_calls_answer(frame, hooks->wal_cb(hooks->wal_data, frame->remote->handle, database, pages));
}
