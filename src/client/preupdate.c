/* client/preupdate.c: the preupdate hook is called, and what it may ask then:
 * https://sqlite.org/c3ref/preupdate_blobwrite.html
 *
 * The server sends all values of the row with the call; real values are made of them when the first is asked for. */
#include "client/calls_internal.h"
#include "client/remote_api.h"

/* --- Calls --- */

static bool read_rows(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_preupdate *preupdate)
{
    size_t count = pgwire_get_u16(cursor);
    bool has_old = pgwire_get_u8(cursor) != 0, has_new = pgwire_get_u8(cursor) != 0;
    if ((has_old && !client_frame_read_values(frame, cursor, 0, count)) ||
        (has_new && !client_frame_read_values(frame, cursor, has_old ? count : 0, count)))
        return false;
    preupdate->column_count = (int)count;
    preupdate->old_values = has_old ? frame->values : NULL;
    preupdate->new_values = has_new ? frame->values + (has_old ? count : 0) : NULL;
    return pgwire_cursor_is_done(cursor);
}

void client_call_preupdate(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    struct client_calls *calls = frame->calls;
    const struct client_hooks *hooks = &calls->hooks;
    struct client_preupdate preupdate = {.frame = frame, .op = (int32_t)pgwire_get_u32(cursor)};
    const char *database = client_frame_read_text(frame, cursor);
    const char *table = client_frame_read_text(frame, cursor);
    sqlite3_int64 old_rowid = (sqlite3_int64)pgwire_get_u64(cursor);
    sqlite3_int64 new_rowid = (sqlite3_int64)pgwire_get_u64(cursor);
    preupdate.depth = (int32_t)pgwire_get_u32(cursor);
    preupdate.blob_column = (int32_t)pgwire_get_u32(cursor);
    if (!read_rows(frame, cursor, &preupdate)) {
        client_calls_malformed(frame);
        return;
    }
    struct client_preupdate *outer = calls->preupdate;
    calls->preupdate = &preupdate;
    if (hooks->preupdate_cb != NULL)
        hooks->preupdate_cb(hooks->preupdate_data, frame->remote->handle, preupdate.op, database, table, old_rowid,
                            new_rowid);
    sq_assert(calls->preupdate == &preupdate);
    calls->preupdate = outer;
    client_row_close(&frame->old_row);
    client_row_close(&frame->new_row);
    client_calls_answer(frame, 0);
}

/* --- What the hook may ask --- */

/* A value of one of the two rows. */
static int get_value(struct client_remote *remote, bool is_old, int column, sqlite3_value **ret_value)
{
    const struct client_preupdate *preupdate = remote->calls->preupdate;
    int without = is_old ? SQLITE_INSERT : SQLITE_DELETE;
    if (preupdate == NULL || preupdate->op == without)
        return SQLITE_MISUSE;
    const struct native_value *values = is_old ? preupdate->old_values : preupdate->new_values;
    if (values == NULL || column < 0 || column >= preupdate->column_count)
        return SQLITE_RANGE;
    struct client_row *row = is_old ? &preupdate->frame->old_row : &preupdate->frame->new_row;
    if (row->values == NULL) {
        int code = client_row_open(preupdate->frame, row, values, (size_t)preupdate->column_count);
        if (code != SQLITE_ROW) {
            (void)client_error_set(remote, code, "%s", client_real.sqlite3_errmsg(remote->calls->values_db));
            client_row_close(row);
            return code;
        }
    }
    *ret_value = client_real.sqlite3_column_value(row->stmt, column);
    return SQLITE_OK;
}

int client_remote_sqlite3_preupdate_old(sqlite3 *db, int column, sqlite3_value **ret_value)
{
    struct client_remote *remote = client_remote_enter(db);
    return remote != NULL ? client_remote_leave(remote, get_value(remote, true, column, ret_value)) : SQLITE_MISUSE;
}

int client_remote_sqlite3_preupdate_new(sqlite3 *db, int column, sqlite3_value **ret_value)
{
    struct client_remote *remote = client_remote_enter(db);
    return remote != NULL ? client_remote_leave(remote, get_value(remote, false, column, ret_value)) : SQLITE_MISUSE;
}

/* One of the numbers; `without` outside of the hook. */
static int get_number(sqlite3 *db, size_t offset, int without)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return without;
    const struct client_preupdate *preupdate = remote->calls->preupdate;
    int number = preupdate != NULL ? *(const int *)(const void *)((const char *)preupdate + offset) : without;
    client_remote_leave_quietly(remote);
    return number;
}

int client_remote_sqlite3_preupdate_count(sqlite3 *db)
{
    return get_number(db, offsetof(struct client_preupdate, column_count), 0);
}

int client_remote_sqlite3_preupdate_depth(sqlite3 *db)
{
    return get_number(db, offsetof(struct client_preupdate, depth), 0);
}

int client_remote_sqlite3_preupdate_blobwrite(sqlite3 *db)
{
    return get_number(db, offsetof(struct client_preupdate, blob_column), -1);
}
