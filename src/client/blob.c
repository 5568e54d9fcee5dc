/* client/blob.c: blobs that are read and written in pieces: https://sqlite.org/c3ref/blob_open.html
 *
 * The server has the blob; we know its size, and whether it has expired: the row was changed, another row was looked
 * for in vain, or the connection was lost. An expired blob has no bytes and is good for nothing but to be closed. */
#include <stdlib.h>
#include <string.h>

#include "client/remote.h"
#include "client/remote_api.h"

enum { PIECE_BYTES_MAX = 1024 * 1024 }; /* of one request */

struct client_blob {
    struct client_remote *remote;
    struct client_handle *handle;
    uint32_t number;
    uint32_t connection_number; /* the server's end of it is there */
    uint32_t bytes;
    bool is_expired;
    bool has_written; /* since it was opened: not committed before it is closed, outside a transaction */
};

static struct client_blob *blob_of(sqlite3_blob *handle)
{
    struct client_blob *blob = client_handle_object(handle, CLIENT_HANDLE_BLOB);
    return blob != NULL && client_remote_is_of_this_process(blob->remote) ? blob : NULL;
}

static void blob_enter(struct client_blob *blob)
{
    client_real.sqlite3_mutex_enter(blob->remote->mutex);
    sq_assert(blob->remote->guest_count > 0);
    if (blob->connection_number != blob->remote->connection_number)
        blob->is_expired = true;
}

/* --- Opening and closing --- */

static void read_size(struct client_blob *blob, struct pgwire_cursor *body)
{
    blob->bytes = pgwire_get_u32(body);
    if (blob->bytes > INT32_MAX)
        pgwire_cursor_fail(body);
}

static int blob_request_open(struct client_blob *blob, const char *database, const char *table, const char *column,
                             sqlite3_int64 rowid, bool is_writable)
{
    struct client_remote *remote = blob->remote;
    struct sq_buf *out = client_request_begin(remote, NATIVE_BLOB_OPEN);
    sq_buf_put_u32(out, blob->number);
    native_put_text(out, database);
    native_put_text(out, table);
    native_put_text(out, column);
    sq_buf_put_u64(out, (uint64_t)rowid);
    sq_buf_put_u8(out, is_writable);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code != SQLITE_OK)
        return code;
    read_size(blob, &body);
    blob->connection_number = remote->connection_number;
    return client_body_check(remote, &body);
}

int client_remote_sqlite3_blob_open(sqlite3 *db, const char *database, const char *table, const char *column,
                                    sqlite3_int64 rowid, int flags, sqlite3_blob **ret_blob)
{
    if (ret_blob == NULL)
        return SQLITE_MISUSE;
    *ret_blob = NULL;
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_blob *blob = calloc(1, sizeof(*blob));
    int code = SQLITE_NOMEM;
    if (blob != NULL && client_handle_new(CLIENT_HANDLE_BLOB, blob, &blob->handle) == SQ_OK) {
        blob->remote = remote;
        blob->number = ++remote->guest_number;
        code = blob_request_open(blob, database, table, column, rowid, flags != 0);
        if (code != SQLITE_OK)
            client_handle_free(blob->handle);
    }
    if (code == SQLITE_OK) {
        remote->guest_count++;
        *ret_blob = (sqlite3_blob *)(void *)blob->handle;
    } else {
        free(blob);
    }
    return client_remote_leave(remote, code);
}

/* The result is that of the transaction that the blob held open, if it was one of its own. */
int client_remote_sqlite3_blob_close(sqlite3_blob *handle)
{
    struct client_blob *blob = blob_of(handle);
    if (blob == NULL)
        return SQLITE_MISUSE;
    struct client_remote *remote = blob->remote;
    blob_enter(blob);
    int code = SQLITE_OK;
    /* The server still has an expired one. */
    if (blob->connection_number == remote->connection_number || blob->has_written) {
        struct sq_buf *out = client_request_begin_on(remote, NATIVE_BLOB_CLOSE, blob->connection_number);
        sq_buf_put_u32(out, blob->number);
        remote->risk = blob->has_written ? CLIENT_RISK_WRITE : CLIENT_RISK_NONE;
        code = client_request_end(remote, NULL, NULL);
        if (code == SQLITE_IOERR_SQLD_LOST && !blob->has_written)
            code = SQLITE_OK; /* nothing was lost that anybody could want */
    }
    client_handle_free(blob->handle);
    free(blob);
    remote->guest_count--;
    code = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    (void)client_remote_reap(remote);
    return code;
}

int client_remote_sqlite3_blob_reopen(sqlite3_blob *handle, sqlite3_int64 rowid)
{
    struct client_blob *blob = blob_of(handle);
    if (blob == NULL)
        return SQLITE_MISUSE;
    struct client_remote *remote = blob->remote;
    blob_enter(blob);
    if (blob->is_expired) {
        client_remote_leave_quietly(remote);
        return SQLITE_ABORT;
    }
    struct sq_buf *out = client_request_begin_on(remote, NATIVE_BLOB_REOPEN, blob->connection_number);
    sq_buf_put_u32(out, blob->number);
    sq_buf_put_u64(out, (uint64_t)rowid);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code == SQLITE_OK) {
        read_size(blob, &body);
        code = client_body_check(remote, &body);
    }
    blob->is_expired = code != SQLITE_OK;
    return client_remote_leave(remote, code);
}

int client_remote_sqlite3_blob_bytes(sqlite3_blob *handle)
{
    struct client_blob *blob = blob_of(handle);
    if (blob == NULL)
        return 0;
    blob_enter(blob);
    int bytes = blob->is_expired ? 0 : (int)blob->bytes;
    client_remote_leave_quietly(blob->remote);
    return bytes;
}

/* --- Reading and writing --- */

/* One request's worth. */
static int read_piece(struct client_blob *blob, uint8_t *to, uint32_t bytes, uint32_t offset)
{
    struct client_remote *remote = blob->remote;
    sq_assert(bytes <= PIECE_BYTES_MAX && offset + bytes <= blob->bytes);
    struct sq_buf *out = client_request_begin_on(remote, NATIVE_BLOB_READ, blob->connection_number);
    sq_buf_put_u32(out, blob->number);
    sq_buf_put_u32(out, offset);
    sq_buf_put_u32(out, bytes);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code != SQLITE_OK)
        return code;
    struct pgwire_bytes piece = native_get_bytes(&body);
    if (piece.length != bytes)
        pgwire_cursor_fail(&body);
    code = client_body_check(remote, &body);
    if (code == SQLITE_OK && bytes > 0 && to != NULL)
        memcpy(to, piece.data, bytes);
    return code;
}

static int write_piece(struct client_blob *blob, const uint8_t *from, uint32_t bytes, uint32_t offset)
{
    sq_assert(bytes <= PIECE_BYTES_MAX && offset + bytes <= blob->bytes);
    struct sq_buf *out = client_request_begin_on(blob->remote, NATIVE_BLOB_WRITE, blob->connection_number);
    sq_buf_put_u32(out, blob->number);
    sq_buf_put_u32(out, offset);
    native_put_bytes(out, bytes > 0 ? from : (const uint8_t *)"", bytes);
    int code = client_request_end(blob->remote, NULL, NULL);
    blob->has_written |= code == SQLITE_OK;
    return code;
}

/* Reads into `to` or writes from `from`. Even no bytes are asked for: the server knows whether the blob has expired. */
static int transfer(sqlite3_blob *handle, uint8_t *to, const uint8_t *from, int bytes, int offset)
{
    struct client_blob *blob = blob_of(handle);
    if (blob == NULL)
        return SQLITE_MISUSE;
    struct client_remote *remote = blob->remote;
    blob_enter(blob);
    int code = SQLITE_OK;
    if (bytes < 0 || offset < 0 || (int64_t)offset + bytes > blob->bytes) {
        code = client_error_set(remote, SQLITE_ERROR, NULL);
    } else if (blob->is_expired && !(blob->has_written && blob->connection_number != remote->connection_number)) {
        code = client_error_set(remote, SQLITE_ABORT, NULL);
    } else {
        uint32_t left = (uint32_t)bytes, at = 0;
        do {
            uint32_t piece = left < PIECE_BYTES_MAX ? left : PIECE_BYTES_MAX;
            uint32_t place = (uint32_t)offset + at;
            code = from != NULL ? write_piece(blob, from + at, piece, place)
                                : read_piece(blob, to != NULL ? to + at : NULL, piece, place);
            at += piece;
            left -= piece;
        } while (code == SQLITE_OK && left > 0);
    }
    if (code == SQLITE_ABORT)
        blob->is_expired = true;
    return client_remote_leave(remote, code);
}

int client_remote_sqlite3_blob_read(sqlite3_blob *handle, void *to, int bytes, int offset)
{
    return transfer(handle, to, NULL, bytes, offset);
}

int client_remote_sqlite3_blob_write(sqlite3_blob *handle, const void *from, int bytes, int offset)
{
    return transfer(handle, NULL, from != NULL ? from : "", bytes, offset);
}
