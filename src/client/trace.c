/* client/trace.c: sqlite3_trace_v2() and its older sisters.
 *
 * There is one mask of events, as in SQLite, which also says which generation of the interface asked:
 * sqlite3_trace() and sqlite3_trace_v2() take each other's place, and both take that of sqlite3_profile().
 * https://sqlite.org/c3ref/trace_v2.html, https://sqlite.org/c3ref/profile.html */
#include <string.h>

#include "client/calls_internal.h"
#include "client/remote_api.h"

enum {
    TRACE_V1 = 0x40,   /* sqlite3_trace() */
    PROFILE_V1 = 0x80, /* sqlite3_profile() */
    TRACE_V2 = 0x0f,   /* what sqlite3_trace_v2() can ask for */
};

unsigned client_trace_events(const struct client_hooks *hooks)
{
    return (hooks->trace_mask & (SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE | SQLITE_TRACE_ROW)) |
           ((hooks->trace_mask & TRACE_V1) != 0 ? SQLITE_TRACE_STMT : 0U) |
           ((hooks->trace_mask & PROFILE_V1) != 0 ? SQLITE_TRACE_PROFILE : 0U);
}

/* --- Setting --- */

/* Tells the server, if that changes anything for it. */
static int leave(struct client_remote *remote, unsigned events_before)
{
    int code = SQLITE_OK;
    if (client_trace_events(&remote->calls->hooks) != events_before)
        code = client_hooks_send(remote);
    code = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    return code;
}

void *client_remote_sqlite3_trace(sqlite3 *db, void (*callback)(void *, const char *), void *data)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    struct client_hooks *hooks = &remote->calls->hooks;
    unsigned before = client_trace_events(hooks);
    void *former = hooks->trace_data;
    hooks->trace_mask = callback != NULL ? TRACE_V1 : 0;
    hooks->trace_v1_cb = callback;
    hooks->trace_cb = NULL;
    hooks->trace_data = data;
    (void)leave(remote, before);
    return former;
}

int client_remote_sqlite3_trace_v2(sqlite3 *db, unsigned mask, int (*callback)(unsigned, void *, void *, void *),
                                   void *data)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_hooks *hooks = &remote->calls->hooks;
    unsigned before = client_trace_events(hooks);
    bool is_set = callback != NULL && mask != 0;
    hooks->trace_mask = is_set ? mask & TRACE_V2 : 0;
    hooks->trace_cb = is_set ? callback : NULL;
    hooks->trace_v1_cb = NULL;
    hooks->trace_data = data;
    return leave(remote, before);
}

void *client_remote_sqlite3_profile(sqlite3 *db, void (*callback)(void *, const char *, sqlite3_uint64), void *data)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    struct client_hooks *hooks = &remote->calls->hooks;
    unsigned before = client_trace_events(hooks);
    void *former = hooks->profile_data;
    hooks->profile_cb = callback;
    hooks->profile_data = data;
    hooks->trace_mask &= TRACE_V2; /* as SQLite does */
    if (callback != NULL)
        hooks->trace_mask |= PROFILE_V1;
    (void)leave(remote, before);
    return former;
}

void client_calls_trace_close(struct client_remote *remote)
{
    const struct client_hooks *hooks = &remote->calls->hooks;
    if ((hooks->trace_mask & SQLITE_TRACE_CLOSE) != 0 && hooks->trace_cb != NULL)
        (void)hooks->trace_cb(SQLITE_TRACE_CLOSE, hooks->trace_data, remote->handle, NULL);
}

/* --- Calls --- */

static bool is_comment(const char *sql)
{
    return sql != NULL && strncmp(sql, "-- ", strlen("-- ")) == 0;
}

/* A statement within another one, which is a comment: each of its lines, where sqlite3_trace_v2() marks the first. NULL: no
 * memory. */
static char *commented(const char *sql)
{
    sqlite3_str *text = client_real.sqlite3_str_new(NULL);
    for (const char *line = sql + strlen("-- "); *line != '\0';) {
        const char *end = strchr(line, '\n');
        int length = end != NULL ? (int)(end + 1 - line) : (int)strlen(line);
        client_real.sqlite3_str_appendall(text, "-- ");
        client_real.sqlite3_str_append(text, line, length);
        line += length;
    }
    return client_real.sqlite3_str_finish(text);
}

/* sqlite3_trace() is given the text with its parameters' values, but for statements within others. */
static void trace_v1(struct client_frame *frame, sqlite3_stmt *stmt, const char *sql)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    const char *own = stmt != NULL ? client_remote_sqlite3_sql(stmt) : NULL;
    char *expanded = NULL;
    if (own != NULL && strcmp(own, sql) == 0)
        expanded = client_remote_sqlite3_expanded_sql(stmt);
    else if (is_comment(sql))
        expanded = commented(sql);
    hooks->trace_v1_cb(hooks->trace_data, expanded != NULL ? expanded : sql);
    client_real.sqlite3_free(expanded);
}

static void trace(struct client_frame *frame, unsigned event, sqlite3_stmt *stmt, sqlite3_int64 nanoseconds,
                  const char *sql)
{
    const struct client_hooks *hooks = &frame->calls->hooks;
    if (event == SQLITE_TRACE_STMT && (hooks->trace_mask & TRACE_V1) != 0 && sql != NULL) {
        trace_v1(frame, stmt, sql);
    } else if (event == SQLITE_TRACE_PROFILE && (hooks->trace_mask & PROFILE_V1) != 0) {
        hooks->profile_cb(hooks->profile_data, sql != NULL ? sql : client_remote_sqlite3_sql(stmt),
                          (sqlite3_uint64)nanoseconds);
    }
    /* The callback may have unset itself: asked again. */
    if ((hooks->trace_mask & event & TRACE_V2) == 0 || hooks->trace_cb == NULL)
        return;
    union {
        const char *sql;
        void *argument;
    } x = {.sql = sql};
    if (event == SQLITE_TRACE_PROFILE)
        x.argument = &nanoseconds;
    (void)hooks->trace_cb(event, hooks->trace_data, stmt, event == SQLITE_TRACE_ROW ? NULL : x.argument);
}

/* Statements that are none of the application's are none of its business, but for those that a virtual table runs within one
 * of the application's: sqlite3_trace() sees their texts. sqlite3_trace_v2() would want their sqlite3_stmt, which is in
 * the server. */
void client_call_trace(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint32_t event = pgwire_get_u32(cursor);
    uint32_t number = pgwire_get_u32(cursor);
    sqlite3_int64 nanoseconds = (sqlite3_int64)pgwire_get_u64(cursor);
    const char *sql = client_frame_read_text(frame, cursor);
    if (!pgwire_cursor_is_done(cursor)) {
        client_calls_malformed(frame);
        return;
    }
    sqlite3_stmt *stmt = client_statement_by_number(frame->remote, number);
    if (stmt != NULL)
        trace(frame, event, stmt, nanoseconds, sql);
    else if (number == 0 && event == SQLITE_TRACE_STMT && is_comment(sql) &&
             (frame->calls->hooks.trace_mask & TRACE_V1) != 0)
        trace_v1(frame, NULL, sql);
    client_calls_answer(frame, 0);
}
