/* client/status.c: numbers and settings of a remote connection: what the last answer said is known here, the rest is asked
 * for. */
#include <stdlib.h>
#include <string.h>

#include "client/calls.h"
#include "client/remote_api.h"
#include "client/statement.h"

/* --- What is known --- */

/* Within a call of the server, what the last answer said may be out of date: a trigger has begun, or a row has been
 * written. */
static void state_look(struct client_remote *remote)
{
    if (remote->call_depth == 0)
        return;
    struct client_error error = client_error_take(remote);
    native_put_text(client_request_begin(remote, NATIVE_TXN_STATE), "main");
    (void)client_request_end(remote, NULL, NULL); /* every answer has it */
    client_error_put_back(remote, error);
}

#define KNOWN(result, name, none, value)                                                                               \
    result client_remote_##name(sqlite3 *db)                                                                           \
    {                                                                                                                  \
        struct client_remote *remote = client_remote_enter(db);                                                        \
        if (remote == NULL)                                                                                            \
            return none;                                                                                               \
        state_look(remote);                                                                                            \
        result known = (result)(value);                                                                                \
        client_remote_leave_quietly(remote);                                                                           \
        return known;                                                                                                  \
    }
KNOWN(int, sqlite3_changes, 0, remote->state.changes)
KNOWN(sqlite3_int64, sqlite3_changes64, 0, remote->state.changes)
KNOWN(int, sqlite3_total_changes, 0, remote->state.total_changes)
KNOWN(sqlite3_int64, sqlite3_total_changes64, 0, remote->state.total_changes)
KNOWN(sqlite3_int64, sqlite3_last_insert_rowid, 0, remote->state.last_insert_rowid)
KNOWN(int, sqlite3_get_autocommit, 1, remote->state.is_autocommit)

sqlite3_mutex *client_remote_sqlite3_db_mutex(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    client_remote_leave_quietly(remote);
    return remote->mutex;
}

sqlite3_str *client_remote_sqlite3_str_new(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    sqlite3 *shadow = remote != NULL ? remote->shadow : NULL;
    sqlite3_str *str = client_real.sqlite3_str_new(shadow); /* with the limit of the connection's strings */
    if (remote != NULL)
        client_remote_leave_quietly(remote);
    return str;
}

void client_remote_sqlite3_set_last_insert_rowid(sqlite3 *db, sqlite3_int64 rowid)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return;
    struct client_error error = client_error_take(remote);
    remote->state.last_insert_rowid = rowid;
    sq_buf_put_u64(client_request_begin(remote, NATIVE_SET_ROWID), (uint64_t)rowid);
    (void)client_request_end(remote, NULL, NULL);
    client_error_put_back(remote, error);
    client_remote_leave_quietly(remote);
}

/* --- Limits: https://sqlite.org/c3ref/limit.html. Applications ask before every statement, so they are kept --- */

static int limit_ask(struct client_remote *remote, int id, int value)
{
    struct client_error error = client_error_take(remote);
    struct sq_buf *out = client_request_begin(remote, NATIVE_LIMIT);
    sq_buf_put_u32(out, (uint32_t)id);
    sq_buf_put_u32(out, (uint32_t)value);
    struct pgwire_cursor body;
    int before = client_request_end(remote, NULL, &body) == SQLITE_OK ? (int)pgwire_get_u32(&body) : -1;
    client_error_put_back(remote, error);
    return before;
}

int client_remote_sqlite3_limit(sqlite3 *db, int id, int value)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return -1;
    int before = -1;
    if (id >= 0 && id < CLIENT_LIMIT_COUNT) {
        if (remote->limits[id] < 0)
            remote->limits[id] = limit_ask(remote, id, -1);
        before = remote->limits[id];
        if (value >= 0) {
            (void)limit_ask(remote, id, value);
            remote->limits[id] = limit_ask(remote, id, -1); /* it may have been cut to the largest that can be */
            remote->limits_set |= 1u << id;
            (void)client_real.sqlite3_limit(remote->shadow, id, remote->limits[id]);
            client_statement_cache_clear(remote);
        }
    }
    client_remote_leave_quietly(remote);
    return before;
}

/* --- Settings --- */

/* Leaves a function that does not touch SQLite's error state, whatever comes of it; the loss of the connection is told. */
static int leave_with(struct client_remote *remote, struct client_error error, int code)
{
    if (code == SQLITE_IOERR_SQLD_LOST)
        return client_remote_leave(remote, code);
    client_error_put_back(remote, error);
    int shown = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    return shown;
}

/* sqlite3_db_config() of one switch: `value` < 0 asks only. */
int client_remote_db_config_switch(sqlite3 *db, int operation, int value, int *ret_value)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_error error = client_error_take(remote);
    struct sq_buf *out = client_request_begin(remote, NATIVE_DB_CONFIG);
    sq_buf_put_u32(out, (uint32_t)operation);
    sq_buf_put_u32(out, (uint32_t)value);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code == SQLITE_OK && ret_value != NULL)
        *ret_value = (int)pgwire_get_u32(&body);
    client_statement_cache_clear(remote);
    return leave_with(remote, error, code);
}

int client_remote_db_config_main_name(sqlite3 *db, const char *name)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    char *copy = strdup(name);
    if (copy != NULL) {
        free(remote->main_name);
        remote->main_name = copy;
    }
    client_remote_leave_quietly(remote);
    return copy != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

/* Small memory of the connection's own: it has none here, and whether it is used only shows in its speed. */
int client_remote_db_config_lookaside(sqlite3 *db)
{
    return client_remote_of(db) != NULL ? SQLITE_OK : SQLITE_MISUSE;
}

int client_remote_sqlite3_db_status(sqlite3 *db, int operation, int *ret_current, int *ret_highest, int reset)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_error error = client_error_take(remote);
    struct sq_buf *out = client_request_begin(remote, NATIVE_DB_STATUS);
    sq_buf_put_u32(out, (uint32_t)operation);
    sq_buf_put_u8(out, reset != 0);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    int current = code == SQLITE_OK ? (int)pgwire_get_u32(&body) : 0;
    int highest = code == SQLITE_OK ? (int)pgwire_get_u32(&body) : 0;
    if (ret_current != NULL)
        *ret_current = current;
    if (ret_highest != NULL)
        *ret_highest = highest;
    return leave_with(remote, error, code);
}

static int memory_release(sqlite3 *db, bool is_flush)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    sq_buf_put_u8(client_request_begin(remote, NATIVE_RELEASE_MEMORY), is_flush);
    return client_remote_leave(remote, client_request_end(remote, NULL, NULL));
}

int client_remote_sqlite3_db_release_memory(sqlite3 *db)
{
    return memory_release(db, false);
}

int client_remote_sqlite3_db_cacheflush(sqlite3 *db)
{
    return memory_release(db, true);
}

/* Only connections of one shared cache block each other that way, and here there is none: "If the blocking connection … has
 * already concluded its transaction", the callback is called at once (https://sqlite.org/c3ref/unlock_notify.html). */
int client_remote_sqlite3_unlock_notify(sqlite3 *db, void (*callback)(void **, int), void *argument)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    if (callback != NULL)
        callback(&argument, 1);
    return client_remote_leave(remote, SQLITE_OK);
}
