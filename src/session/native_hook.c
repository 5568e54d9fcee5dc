/* session/native_hook.c: hooks that live in the client (docs/protocol.md, HOOKS): sqlite.org/c3ref/set_authorizer.html,
 * progress_handler.html, commit_hook.html, update_hook.html, preupdate_blobwrite.html, wal_hook.html,
 * collation_needed.html, trace_v2.html. The busy handler is asked by native.c.
 *
 * What is not set costs nothing: SQLite is not told of it. A hook that could not be asked answers with what changes the
 * least: no, stop, roll back. One that has no such answer ends the session rather than to have been passed over. */
#define SQLITE_ENABLE_PREUPDATE_HOOK 1 /* Debian's library has it; its header shows it only so */
#include "engine/native.h"
#include "session/native_call.h"

enum { HOOKS_ALL = (NATIVE_HOOK_TRACE << 1) - 1 };

/* Begins a call; false: it cannot be made. Nobody is asked about what PostgreSQL messages do, or what ends with a request
 * that is not answered. */
static bool begin(struct native_calls *calls, enum native_call kind, size_t *ret_offset)
{
    return calls->native->may_call && native_call_begin(calls, kind, ret_offset) == SQLITE_OK;
}

static struct sq_buf *out_of(const struct native_calls *calls)
{
    return calls->native->session->out;
}

/* The rest of a call whose answer says nothing. */
static void tell(struct native_calls *calls, size_t offset)
{
    int32_t nothing;
    if (!native_call_number(calls, offset, &nothing))
        native_call_break(calls);
}

/* --- Hooks that decide --------------------------------------------------------------------------------------------- */

static int on_authorize(void *context, int action, const char *first, const char *second, const char *schema,
                        const char *trigger_or_view)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    int32_t answer = SQLITE_DENY;
    if (!begin(calls, NATIVE_CALL_AUTHORIZER, &offset))
        return SQLITE_DENY;
    sq_buf_put_u32(out_of(calls), (uint32_t)action);
    native_put_text(out_of(calls), first);
    native_put_text(out_of(calls), second);
    native_put_text(out_of(calls), schema);
    native_put_text(out_of(calls), trigger_or_view);
    return native_call_number(calls, offset, &answer) ? answer : SQLITE_DENY;
}

static int on_progress(void *context)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    int32_t answer = 1;
    if (!calls->native->may_call)
        return 0;
    return !begin(calls, NATIVE_CALL_PROGRESS, &offset) || !native_call_number(calls, offset, &answer) || answer != 0;
}

int native_hook_commit(void *context)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    int32_t answer = 1;
    if (calls->is_dead)
        return 1;
    if ((calls->native->hooks & NATIVE_HOOK_COMMIT) == 0 || !calls->native->may_call)
        return 0;
    return !begin(calls, NATIVE_CALL_COMMIT, &offset) || !native_call_number(calls, offset, &answer) || answer != 0;
}

/* The commit has happened: its failure is the client's word. */
static int on_wal(void *context, sqlite3 *db, const char *database, int pages)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    int32_t answer = SQLITE_OK;
    (void)db;
    if (!calls->native->may_call || calls->is_dead)
        return SQLITE_OK;
    session_rest_on_now(calls->native->session);
    if (!begin(calls, NATIVE_CALL_WAL, &offset))
        return SQLITE_ERROR;
    native_put_text(out_of(calls), database);
    sq_buf_put_u32(out_of(calls), (uint32_t)pages);
    if (!native_call_number(calls, offset, &answer))
        return SQLITE_INTERRUPT;
    return answer != SQLITE_OK ? native_client_code(calls, answer) : SQLITE_OK;
}

/* --- Hooks that are told ------------------------------------------------------------------------------------------- */

/* Whether to tell; ends the session if it should but cannot. */
static bool begin_telling(struct native_calls *calls, enum native_call kind, size_t *ret_offset)
{
    if (calls->is_dead || !calls->native->may_call)
        return false;
    if (begin(calls, kind, ret_offset))
        return true;
    native_call_break(calls);
    return false;
}

static void on_rollback(void *context)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    if (begin_telling(calls, NATIVE_CALL_ROLLBACK, &offset))
        tell(calls, offset);
}

static void on_update(void *context, int operation, const char *database, const char *table, sqlite3_int64 rowid)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    if (!begin_telling(calls, NATIVE_CALL_UPDATE, &offset))
        return;
    sq_buf_put_u32(out_of(calls), (uint32_t)operation);
    native_put_text(out_of(calls), database);
    native_put_text(out_of(calls), table);
    sq_buf_put_u64(out_of(calls), (uint64_t)rowid);
    tell(calls, offset);
}

/* All columns of the old or the new row. */
static void put_row(struct sq_buf *out, sqlite3 *db, int count, int (*column_cb)(sqlite3 *, int, sqlite3_value **))
{
    for (int i = 0; i < count; i++) {
        sqlite3_value *value = NULL;
        if (column_cb(db, i, &value) == SQLITE_OK && value != NULL)
            native_call_put_value(out, value);
        else
            out->is_failed = true; /* no memory */
    }
}

static void on_preupdate(void *context, sqlite3 *db, int operation, char const *database, char const *table,
                         sqlite3_int64 old_rowid, sqlite3_int64 new_rowid)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    if (!begin_telling(calls, NATIVE_CALL_PREUPDATE, &offset))
        return;
    struct sq_buf *out = out_of(calls);
    int count = sqlite3_preupdate_count(db);
    bool has_old = operation != SQLITE_INSERT;
    bool has_new = operation != SQLITE_DELETE;
    sq_buf_put_u32(out, (uint32_t)operation);
    native_put_text(out, database);
    native_put_text(out, table);
    sq_buf_put_u64(out, (uint64_t)old_rowid);
    sq_buf_put_u64(out, (uint64_t)new_rowid);
    sq_buf_put_u32(out, (uint32_t)sqlite3_preupdate_depth(db));
    sq_buf_put_u32(out, (uint32_t)sqlite3_preupdate_blobwrite(db));
    sq_buf_put_u16(out, (uint16_t)count);
    sq_buf_put_u8(out, has_old);
    sq_buf_put_u8(out, has_new);
    if (has_old)
        put_row(out, db, count, sqlite3_preupdate_old);
    if (has_new)
        put_row(out, db, count, sqlite3_preupdate_new);
    tell(calls, offset);
}

static void on_collation_needed(void *context, sqlite3 *db, int representation, const char *name)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    (void)db;
    (void)representation;
    if (!begin_telling(calls, NATIVE_CALL_COLLATION_NEEDED, &offset))
        return;
    native_put_text(out_of(calls), name);
    tell(calls, offset);
}

static int on_trace(unsigned event, void *context, void *object, void *detail)
{
    struct native_calls *calls = context;
    size_t offset = 0;
    int32_t answer = 0;
    /* The connection's own end is the client's affair. */
    if (event == SQLITE_TRACE_CLOSE || calls->is_dead || !calls->native->may_call)
        return 0;
    sqlite3_stmt *stmt = object;
    uint32_t number = native_statement_number(calls->native, stmt);
    if (event == SQLITE_TRACE_PROFILE)
        session_rest_on_now(calls->native->session); /* the commit may be over */
    if (!begin_telling(calls, NATIVE_CALL_TRACE, &offset))
        return 0;
    const char *text = event == SQLITE_TRACE_STMT ? detail : number == 0 ? sqlite3_sql(stmt) : NULL;
    sq_buf_put_u32(out_of(calls), event);
    sq_buf_put_u32(out_of(calls), number);
    sq_buf_put_u64(out_of(calls), event == SQLITE_TRACE_PROFILE ? (uint64_t) * (const sqlite3_int64 *)detail : 0);
    native_put_text(out_of(calls), text);
    if (!native_call_number(calls, offset, &answer))
        native_call_break(calls);
    return answer;
}

/* --- HOOKS --------------------------------------------------------------------------------------------------------- */

static void set_hooks(struct native *native, uint32_t hooks, int progress_ops, uint32_t trace_events)
{
    struct native_calls *calls = native->calls;
    sqlite3 *db = native->db;
    uint32_t changed = native->hooks ^ hooks;
    native->hooks = hooks;
    if ((changed & NATIVE_HOOK_AUTHORIZER) != 0 || (hooks & NATIVE_HOOK_AUTHORIZER) != 0)
        engine_native_set_authorizer(native->connection, (hooks & NATIVE_HOOK_AUTHORIZER) != 0 ? on_authorize : NULL,
                                     calls);
    if (((changed | hooks) & NATIVE_HOOK_PROGRESS) != 0)
        engine_native_set_progress(native->connection, (hooks & NATIVE_HOOK_PROGRESS) != 0 ? progress_ops : 0,
                                   on_progress, calls);
    if ((changed & NATIVE_HOOK_ROLLBACK) != 0)
        sqlite3_rollback_hook(db, (hooks & NATIVE_HOOK_ROLLBACK) != 0 ? on_rollback : NULL, calls);
    if ((changed & NATIVE_HOOK_UPDATE) != 0)
        sqlite3_update_hook(db, (hooks & NATIVE_HOOK_UPDATE) != 0 ? on_update : NULL, calls);
    if ((changed & NATIVE_HOOK_PREUPDATE) != 0)
        sqlite3_preupdate_hook(db, (hooks & NATIVE_HOOK_PREUPDATE) != 0 ? on_preupdate : NULL, calls);
    if ((changed & NATIVE_HOOK_WAL) != 0)
        sqlite3_wal_hook(db, (hooks & NATIVE_HOOK_WAL) != 0 ? on_wal : NULL, calls);
    if ((changed & NATIVE_HOOK_COLLATION_NEEDED) != 0)
        sqlite3_collation_needed(db, calls, (hooks & NATIVE_HOOK_COLLATION_NEEDED) != 0 ? on_collation_needed : NULL);
    if (((changed | hooks) & NATIVE_HOOK_TRACE) != 0)
        sqlite3_trace_v2(db, (hooks & NATIVE_HOOK_TRACE) != 0 ? trace_events : 0, on_trace, calls);
    native_apply_settings(native);
}

void native_op_hooks(struct native *native, struct pgwire_cursor *request)
{
    uint32_t hooks = pgwire_get_u32(request);
    int progress_ops = (int)pgwire_get_u32(request);
    uint32_t trace_events = pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request) || (hooks & ~(uint32_t)HOOKS_ALL) != 0) {
        native_malformed(native);
        return;
    }
    if (native_calls_of(native) == NULL) {
        native_answer_error(native, SQLITE_NOMEM, sqlite3_errstr(SQLITE_NOMEM));
        return;
    }
    set_hooks(native, hooks, progress_ops, trace_events);
    native_answer(native, SQLITE_OK);
}

void native_hook_forget(struct native_calls *calls)
{
    if (calls->native->hooks != 0)
        set_hooks(calls->native, 0, 0, 0);
}
