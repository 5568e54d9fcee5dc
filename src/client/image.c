/* client/image.c: see image.h; and https://sqlite.org/c3ref/serialize.html,
 * https://sqlite.org/c3ref/deserialize.html */
#include "client/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/attach.h"
#include "client/auto_extension.h"
#include "client/remote_api.h"

enum {
    PIECE_BYTES_MAX = 1024 * 1024, /* of one request */
};

/* --- From the server --- */

/* One piece, by way of `piece`, which has room for it. */
static int fetch_piece(struct client_remote *remote, uint32_t connection_number, uint64_t offset, uint32_t length,
                       uint8_t *piece)
{
    sq_assert(piece != NULL && length > 0);
    struct sq_buf *out = client_request_begin_on(remote, NATIVE_IMAGE_READ, connection_number);
    sq_buf_put_u64(out, offset);
    sq_buf_put_u32(out, length);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code != SQLITE_OK)
        return code;
    struct pgwire_bytes bytes = native_get_bytes(&body);
    if (bytes.length != length)
        pgwire_cursor_fail(&body);
    code = client_body_check(remote, &body);
    if (code != SQLITE_OK)
        return code;
    sq_assert(bytes.data != NULL);
    memcpy(piece, bytes.data, length);
    return SQLITE_OK;
}

static int fetch_all(struct client_remote *remote, uint64_t bytes, client_image_put *put_cb, void *context)
{
    uint32_t number = remote->connection_number;
    uint8_t *piece = malloc(PIECE_BYTES_MAX);
    if (piece == NULL)
        return client_error_set(remote, SQLITE_NOMEM, NULL);
    int code = SQLITE_OK;
    for (uint64_t offset = 0; code == SQLITE_OK && offset < bytes;) {
        uint32_t length = bytes - offset < PIECE_BYTES_MAX ? (uint32_t)(bytes - offset) : PIECE_BYTES_MAX;
        code = fetch_piece(remote, number, offset, length, piece);
        if (code == SQLITE_OK) {
            code = put_cb(context, piece, length, offset);
            if (code != SQLITE_OK)
                (void)client_error_set(remote, code, NULL);
        }
        offset += length;
    }
    free(piece);
    return code;
}

/* Ends what has come to `code`; that it could not be ended counts only if all was well before. */
static int image_close(struct client_remote *remote, uint32_t connection_number, int code)
{
    struct client_error before = client_error_take(remote);
    (void)client_request_begin_on(remote, NATIVE_IMAGE_CLOSE, connection_number);
    int close_code = client_request_end(remote, NULL, NULL);
    if (close_code == SQLITE_IOERR_SQLD_LOST)
        close_code = SQLITE_OK; /* closed by that */
    struct client_error after = client_error_take(remote);
    client_error_put_back(remote, before);
    if (code != SQLITE_OK || close_code == SQLITE_OK) {
        client_real.sqlite3_free(after.message);
        return code;
    }
    client_error_put_back(remote, after);
    return close_code;
}

int client_image_fetch(struct client_remote *remote, const char *schema, int (*size_cb)(void *context, uint64_t bytes),
                       client_image_put *put_cb, void *context)
{
    native_put_text(client_request_begin(remote, NATIVE_IMAGE_OPEN), schema);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code != SQLITE_OK)
        return code;
    uint32_t number = remote->connection_number;
    uint64_t bytes = pgwire_get_u64(&body);
    if (bytes > INT64_MAX)
        pgwire_cursor_fail(&body);
    (void)pgwire_get_u32(&body); /* the page size stands in the header, too */
    code = client_body_check(remote, &body);
    if (code == SQLITE_OK && size_cb != NULL) {
        code = size_cb(context, bytes);
        if (client_code_is_error(code))
            (void)client_error_set(remote, code, NULL);
    }
    if (code == SQLITE_OK)
        code = fetch_all(remote, bytes, put_cb, context);
    return image_close(remote, number, code);
}

/* --- To the server --- */

static int store_pieces(struct client_remote *remote, uint32_t connection_number, uint64_t bytes,
                        client_image_get *get_cb, void *context)
{
    uint8_t *piece = malloc(PIECE_BYTES_MAX);
    if (piece == NULL)
        return client_error_set(remote, SQLITE_NOMEM, NULL);
    int code = SQLITE_OK;
    for (uint64_t offset = 0; code == SQLITE_OK && offset < bytes;) {
        size_t length = bytes - offset < PIECE_BYTES_MAX ? (size_t)(bytes - offset) : PIECE_BYTES_MAX;
        code = get_cb(context, piece, length, offset);
        if (code == SQLITE_OK) {
            struct sq_buf *out = client_request_begin_on(remote, NATIVE_IMAGE_DATA, connection_number);
            native_put_bytes(out, piece, length);
            code = client_request_end(remote, NULL, NULL);
        } else {
            (void)client_error_set(remote, code, NULL);
        }
        offset += length;
    }
    free(piece);
    return code;
}

int client_image_store(struct client_remote *remote, const char *schema, enum native_image_mode mode, unsigned flags,
                       uint64_t bytes, client_image_get *get_cb, void *context)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_IMAGE_PUT);
    native_put_text(out, schema);
    sq_buf_put_u64(out, bytes);
    sq_buf_put_u8(out, (uint8_t)mode);
    sq_buf_put_u32(out, flags);
    int code = client_request_end(remote, NULL, NULL);
    uint32_t number = remote->connection_number;
    if (code == SQLITE_OK)
        code = store_pieces(remote, number, bytes, get_cb, context);
    if (code != SQLITE_OK)
        return code;
    (void)client_request_begin_on(remote, NATIVE_IMAGE_DONE, number);
    remote->risk = CLIENT_RISK_WRITE;
    return client_request_end(remote, NULL, NULL);
}

/* --- Temporary files --- */

/* Where SQLite puts its own: https://sqlite.org/tempfiles.html */
static const char *temporary_directory(void)
{
    const char *const candidates[] = {
        sqlite3_temp_directory, secure_getenv("SQLITE_TMPDIR"), secure_getenv("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp",
    };
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        if (candidates[i] != NULL && access(candidates[i], W_OK | X_OK) == 0)
            return candidates[i];
    }
    return ".";
}

int client_temporary_make(struct client_temporary *temporary)
{
    *temporary = (struct client_temporary){.fd = -1};
    if (asprintf(&temporary->path, "%s/sqld_XXXXXX", temporary_directory()) < 0) {
        temporary->path = NULL;
        return SQLITE_NOMEM;
    }
    temporary->fd = mkostemp(temporary->path, O_CLOEXEC);
    if (temporary->fd >= 0)
        return SQLITE_OK;
    free(temporary->path);
    temporary->path = NULL;
    return SQLITE_CANTOPEN;
}

static void temporary_unlink(struct client_temporary *temporary)
{
    if (temporary->path == NULL)
        return;
    (void)unlink(temporary->path);
    free(temporary->path);
    temporary->path = NULL;
}

int client_temporary_open(struct client_temporary *temporary)
{
    sq_assert(temporary->fd >= 0 && temporary->path != NULL && temporary->db == NULL);
    bool begun = client_attach_open_begin();
    int code = client_inner_open(temporary->path, &temporary->db, SQLITE_OPEN_READWRITE);
    client_attach_open_end(begun);
    /* Without a journal SQLite never looks for the name again. The file is ours alone, and a crash leaves nothing that
     * anybody would read. */
    if (code == SQLITE_OK)
        code =
            client_real.sqlite3_exec(temporary->db,
                                     "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=off; PRAGMA synchronous=off; "
                                     "BEGIN; SELECT count(*) FROM sqlite_schema; COMMIT",
                                     NULL, NULL, NULL);
    temporary_unlink(temporary);
    return code;
}

void client_temporary_done(struct client_temporary *temporary)
{
    (void)client_real.sqlite3_close(temporary->db);
    temporary_unlink(temporary);
    if (temporary->fd >= 0)
        (void)close(temporary->fd);
    *temporary = (struct client_temporary){.fd = -1};
}

int client_temporary_put(void *context, const uint8_t *bytes, size_t length, uint64_t offset)
{
    const struct client_temporary *temporary = context;
    for (size_t done = 0; done < length;) {
        ssize_t written = pwrite(temporary->fd, bytes + done, length - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno == ENOSPC || errno == EDQUOT ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        done += (size_t)written;
    }
    return SQLITE_OK;
}

int client_temporary_get(void *context, uint8_t *to, size_t length, uint64_t offset)
{
    const struct client_temporary *temporary = context;
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(temporary->fd, to + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? SQLITE_IOERR_SHORT_READ : SQLITE_IOERR_READ;
        done += (size_t)got;
    }
    return SQLITE_OK;
}

/* --- Serialization --- */

struct serialization {
    sqlite3_int64 *ret_bytes;
    bool is_size_only;
    unsigned char *image;
};

static int serialization_size(void *context, uint64_t bytes)
{
    struct serialization *to = context;
    if (to->ret_bytes != NULL)
        *to->ret_bytes = (sqlite3_int64)bytes;
    if (to->is_size_only || bytes == 0)
        return SQLITE_DONE;
    to->image = client_real.sqlite3_malloc64(bytes);
    return to->image != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int serialization_put(void *context, const uint8_t *bytes, size_t length, uint64_t offset)
{
    const struct serialization *to = context;
    sq_assert(to->image != NULL);
    memcpy(to->image + offset, bytes, length);
    return SQLITE_OK;
}

/* A database without a page is NULL, as SQLite has it. SQLITE_SERIALIZE_NOCOPY: there is nothing in this process
 * that could be given without a copy, which SQLite says of most databases, too, with the size all the same. */
unsigned char *client_remote_sqlite3_serialize(sqlite3 *db, const char *schema, sqlite3_int64 *ret_bytes,
                                               unsigned flags)
{
    if (ret_bytes != NULL)
        *ret_bytes = -1;
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    struct serialization to = {.ret_bytes = ret_bytes, .is_size_only = (flags & SQLITE_SERIALIZE_NOCOPY) != 0};
    int code = client_image_fetch(remote, schema != NULL ? schema : "main", serialization_size, serialization_put, &to);
    if (code != SQLITE_OK) {
        client_real.sqlite3_free(to.image);
        to.image = NULL;
    }
    client_remote_leave_quietly(remote);
    return to.image;
}

static int deserialization_get(void *context, uint8_t *to, size_t length, uint64_t offset)
{
    sq_assert(context != NULL); /* there are no pieces of nothing */
    memcpy(to, (const uint8_t *)context + offset, length);
    return SQLITE_OK;
}

/* The server's copy is what is used from then on: SQLite promises nothing about what becomes of the bytes of a
 * buffer that it has, and here nothing does. */
int client_remote_sqlite3_deserialize(sqlite3 *db, const char *schema, unsigned char *image, sqlite3_int64 bytes,
                                      sqlite3_int64 buffer_bytes, unsigned flags)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = SQLITE_MISUSE;
    if (bytes >= 0 && buffer_bytes >= 0 && (image != NULL || bytes == 0))
        code = client_image_store(remote, schema != NULL ? schema : "main", NATIVE_IMAGE_DESERIALIZE,
                                  flags & (SQLITE_DESERIALIZE_READONLY | SQLITE_DESERIALIZE_RESIZEABLE),
                                  (uint64_t)bytes, deserialization_get, image);
    if ((flags & SQLITE_DESERIALIZE_FREEONCLOSE) != 0)
        client_real.sqlite3_free(image);
    code = client_remote_shown(remote, code);
    client_remote_leave_quietly(remote);
    return code;
}
