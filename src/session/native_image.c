/* session/native_image.c: whole databases (docs/protocol.md, IMAGE_OPEN …): for sqlite3_serialize(), sqlite3_deserialize()
 * and the backup interface.
 *
 *     IMAGE_OPEN   the database as it is now, copied with SQLite's own backup into a file without a name, IMAGE_READ from
 *                  there: nobody waits for a slow client. What only this connection sees (a database in memory, an open
 *                  transaction's changes) is copied into memory instead.
 *     IMAGE_PUT    IMAGE_DATA goes into such a file; IMAGE_DONE makes it a database of its own, by mapping it, looks whether
 *                  it is one, and copies it over the other with SQLite's backup, in one transaction.
 *
 * The files lie in the data directory, where there is room for databases, and are gone when they are closed; those of
 * private databases are memory (memfd_create(2)). An image never says that it has a write-ahead log: what SQLite keeps in
 * its header for that (sqlite.org/fileformat2.html, bytes 18 and 19) means the file, and an image has no second one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/native.h"
#include "session/native_call.h"

enum {
    IMAGE_READ_BYTES_MAX = 16 << 20,  /* in one answer; more is given with the next */
    IMAGE_MEMORY_BYTES_MAX = 1 << 30, /* as SQLite's own SQLITE_MEMDB_MAXSIZE */
    IMAGE_SLICE_PAGES = 1000,         /* copied between two looks at the brake */
    IMAGE_HEADER_BYTES = 100,
    IMAGE_PAGE_BYTES_OFFSET = 16,
    IMAGE_VERSIONS_OFFSET = 18, /* of the file format, for writing and reading: 1 without a log, 2 with one */
    IMAGE_PAGE_BYTES_DEFAULT = 4096,
};

struct native_image {
    struct native_work work;
    bool is_working; /* an answer is due: no other request is taken */
    bool is_put;     /* IMAGE_PUT, else IMAGE_OPEN */
    char *database;
    int fd;         /* -1: none */
    uint8_t *bytes; /* SQLite's memory, instead of a file; NULL: none */
    uint64_t size;  /* of the image, or how much is to come */
    uint64_t received;
    uint8_t mode; /* enum native_image_mode */
    uint32_t flags;
};

static struct native_image *image_of(struct native_work *work)
{
    return SQ_CONTAINER_OF(work, struct native_image, work);
}

static void image_close(struct native *native)
{
    struct native_image *image = native->image;
    if (image == NULL)
        return;
    if (image->fd >= 0)
        close(image->fd);
    sqlite3_free(image->bytes);
    free(image->database);
    native->image = NULL;
    free(image);
}

void native_image_free(struct native *native)
{
    image_close(native);
}

/* --- Files ---------------------------------------------------------------------------------------------------------- */

static int code_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return SQLITE_FULL;
    case ENOMEM:
        return SQLITE_NOMEM;
    default:
        return SQLITE_IOERR;
    }
}

/* A new file beside the database's own; its name is in `path`, "" if it has none. */
static int image_file(const struct native *native, char path[PATH_MAX], int *ret_fd)
{
    path[0] = '\0';
    if (native->is_private) {
        *ret_fd = memfd_create("sqld-image", MFD_CLOEXEC);
        return *ret_fd >= 0 ? SQLITE_OK : code_of_errno(errno);
    }
    const char *database = engine_database_path(native->session->context.database);
    const char *slash = strrchr(database, '/');
    int length =
        snprintf(path, PATH_MAX, "%.*s.image-XXXXXX", slash != NULL ? (int)(slash + 1 - database) : 0, database);
    if (length < 0 || length >= PATH_MAX)
        return SQLITE_CANTOPEN;
    *ret_fd = mkostemp(path, O_CLOEXEC);
    return *ret_fd >= 0 ? SQLITE_OK : code_of_errno(errno);
}

static int write_all(int fd, const uint8_t *bytes, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, bytes, length, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return code_of_errno(written < 0 ? errno : ENOSPC);
        bytes += written;
        length -= (size_t)written;
        offset += (size_t)written;
    }
    return SQLITE_OK;
}

/* --- IMAGE_OPEN ----------------------------------------------------------------------------------------------------- */

/* Copies all of `from` over `to`, in one transaction, looking at the brake now and then. */
static int copy_database(struct native *native, sqlite3 *to, const char *to_schema, sqlite3 *from,
                         const char *from_schema)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, to_schema, from, from_schema);
    if (backup == NULL)
        return sqlite3_extended_errcode(to);
    int result = SQLITE_OK;
    while (result == SQLITE_OK) {
        if (engine_stop_check(&native->session->context.stop) != ENGINE_STOP_NONE)
            result = SQLITE_INTERRUPT;
        else
            result = sqlite3_backup_step(backup, IMAGE_SLICE_PAGES);
    }
    int finished = sqlite3_backup_finish(backup);
    return result == SQLITE_DONE ? finished : result;
}

/* Into the file `path`, which is of this name only for as long as SQLite needs to open it. */
static int copy_to_file(struct native *native, const char *schema, const char *path)
{
    sqlite3 *copy = NULL;
    sqlite3_stmt *snapshot = NULL;
    int result = sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, "unix");
    unlink(path);
    if (result == SQLITE_OK)
        result = sqlite3_exec(copy, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL);
    /* One snapshot for all of it: commits of others do not make the copy begin anew. */
    if (result == SQLITE_OK)
        result = engine_native_hold_snapshot(native->connection, schema, &snapshot);
    if (result == SQLITE_OK)
        result = copy_database(native, copy, "main", native->db, schema);
    engine_native_release_snapshot(native->connection, snapshot);
    if (result != SQLITE_OK)
        native_set_error(native, result == SQLITE_INTERRUPT ? sqlite3_errstr(result) : sqlite3_errmsg(copy));
    sqlite3_close(copy);
    return result;
}

static int copy_to_memory(struct native *native, struct native_image *image, const char *schema)
{
    sqlite3_int64 size = -1;
    /* How large it is, first: without a copy. */
    const uint8_t *bytes = sqlite3_serialize(native->db, schema, &size, SQLITE_SERIALIZE_NOCOPY);
    (void)bytes;
    if (size > IMAGE_MEMORY_BYTES_MAX) {
        native_set_error(native, "the database is too large to be copied within a transaction that writes");
        return SQLITE_TOOBIG;
    }
    if (size > 0)
        image->bytes = sqlite3_serialize(native->db, schema, &size, 0);
    if (size < 0 || (size > 0 && image->bytes == NULL)) {
        int result = size < 0 ? sqlite3_extended_errcode(native->db) : SQLITE_NOMEM;
        native_set_error(native, sqlite3_errstr(result));
        return result != SQLITE_OK ? result : SQLITE_ERROR;
    }
    image->size = (uint64_t)size;
    if (size >= IMAGE_HEADER_BYTES)
        memset(image->bytes + IMAGE_VERSIONS_OFFSET, 1, 2);
    return SQLITE_OK;
}

static int do_open(struct native *native, struct native_work *work)
{
    struct native_image *image = image_of(work);
    const char *schema = image->database != NULL ? image->database : "main";
    if (sqlite3_db_readonly(native->db, schema) < 0) {
        /* The temporary database is not made before it is needed. */
        if (sqlite3_stricmp(schema, "temp") == 0)
            return SQLITE_OK;
        char text[SQ_ERROR_TEXT_MAX];
        snprintf(text, sizeof(text), "unknown database %s", schema);
        native_set_error(native, text);
        return SQLITE_ERROR;
    }
    const char *file = sqlite3_db_filename(native->db, schema);
    if (native->is_private || file == NULL || file[0] == '\0' ||
        sqlite3_txn_state(native->db, schema) == SQLITE_TXN_WRITE)
        return copy_to_memory(native, image, schema);
    char path[PATH_MAX];
    struct stat status;
    static const uint8_t versions[2] = {1, 1};
    int result = image_file(native, path, &image->fd);
    if (result == SQLITE_OK)
        result = copy_to_file(native, schema, path);
    else
        native_set_error(native, sqlite3_errstr(result));
    if (result != SQLITE_OK)
        return result;
    if (fstat(image->fd, &status) != 0)
        return SQLITE_IOERR_FSTAT;
    image->size = (uint64_t)status.st_size;
    return image->size >= IMAGE_HEADER_BYTES ? write_all(image->fd, versions, sizeof(versions), IMAGE_VERSIONS_OFFSET)
                                             : SQLITE_OK;
}

/* Bytes of the image; how many there were. */
static ssize_t read_image(const struct native_image *image, uint8_t *bytes, size_t length, uint64_t offset)
{
    if (image->bytes != NULL) {
        memcpy(bytes, image->bytes + offset, length);
        return (ssize_t)length;
    }
    ssize_t got;
    do {
        got = pread(image->fd, bytes, length, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got;
}

static uint32_t page_bytes_of(const struct native_image *image)
{
    uint8_t number[2];
    if (image->size < IMAGE_HEADER_BYTES ||
        read_image(image, number, sizeof(number), IMAGE_PAGE_BYTES_OFFSET) != (ssize_t)sizeof(number))
        return IMAGE_PAGE_BYTES_DEFAULT;
    uint32_t bytes = (uint32_t)number[0] << 8 | number[1];
    return bytes == 1 ? 65536 : bytes;
}

static void answer_open(struct native *native, struct native_work *work, int result)
{
    struct native_image *image = image_of(work);
    image->is_working = false;
    size_t offset = native_answer_begin(native, result);
    if (result == SQLITE_OK) {
        sq_buf_put_u64(native->session->out, image->size);
        sq_buf_put_u32(native->session->out, page_bytes_of(image));
    }
    native_answer_end(native, offset);
    if (result != SQLITE_OK)
        image_close(native);
}

static void answer_no_memory(struct native *native)
{
    native_answer_error(native, SQLITE_NOMEM, sqlite3_errstr(SQLITE_NOMEM));
}

/* The image that a request begins, in the place of one that is open. NULL: it has been answered. */
static struct native_image *begin_image(struct native *native, const struct pgwire_bytes *database)
{
    if (native->image != NULL && native->image->is_working) {
        native_answer_misuse(native);
        return NULL;
    }
    image_close(native);
    struct native_image *image = calloc(1, sizeof(*image));
    if (image != NULL) {
        image->fd = -1;
        image->database = native_text_copy(database);
    }
    if (image == NULL || (database->data != NULL && image->database == NULL)) {
        free(image);
        answer_no_memory(native);
        return NULL;
    }
    native->image = image;
    return image;
}

static void start_work(struct native *native, struct native_image *image,
                       int (*do_cb)(struct native *, struct native_work *),
                       void (*answer_cb)(struct native *, struct native_work *, int), bool is_readonly)
{
    image->is_working = true;
    image->work = (struct native_work){.do_cb = do_cb, .answer_cb = answer_cb};
    native_work_start(native, &image->work, is_readonly);
}

void native_op_image_open(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes database = native_get_bytes(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    struct native_image *image = begin_image(native, &database);
    if (image != NULL)
        start_work(native, image, do_open, answer_open, true);
}

void native_op_image_read(struct native *native, struct pgwire_cursor *request)
{
    uint64_t at = pgwire_get_u64(request);
    uint32_t wanted = pgwire_get_u32(request);
    struct native_image *image = native->image;
    struct sq_buf *out = native->session->out;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    if (image == NULL || image->is_put || image->is_working) {
        native_answer_misuse(native);
        return;
    }
    uint64_t left = at < image->size ? image->size - at : 0;
    size_t length = wanted < IMAGE_READ_BYTES_MAX ? wanted : IMAGE_READ_BYTES_MAX;
    length = length < left ? length : (size_t)left;
    size_t offset = native_answer_begin(native, SQLITE_OK);
    sq_buf_put_u32(out, (uint32_t)length);
    if (length > 0 && sq_buf_reserve(out, length)) {
        if (read_image(image, sq_buf_tail(out), length, at) != (ssize_t)length) {
            sq_buf_truncate(out, offset);
            native_answer_error(native, SQLITE_IOERR_READ, sqlite3_errstr(SQLITE_IOERR));
            return;
        }
        sq_buf_produce(out, length);
    }
    native_answer_end(native, offset);
}

void native_op_image_close(struct native *native, struct pgwire_cursor *request)
{
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
    } else if (native->image != NULL && native->image->is_working) {
        native_answer_misuse(native);
    } else {
        image_close(native);
        native_answer(native, SQLITE_OK);
    }
}

/* --- IMAGE_PUT, IMAGE_DATA ------------------------------------------------------------------------------------------ */

/* Whether the image may come; else it has been answered. */
static bool check_put(struct native *native, const char *schema, uint64_t size, uint8_t mode)
{
    const char *text = NULL;
    int result = SQLITE_ERROR;
    if (sqlite3_db_readonly(native->db, schema) < 0) {
        text = "unknown database";
    } else if (mode == NATIVE_IMAGE_DESERIALIZE && !native->is_private) {
        text = "only a private database in memory can be deserialized into";
    } else if (size > (native->is_private ? (uint64_t)IMAGE_MEMORY_BYTES_MAX : (uint64_t)INT64_MAX)) {
        result = SQLITE_TOOBIG;
        text = "the image is too large";
    } else if (mode == NATIVE_IMAGE_REPLACE && (native->is_readonly || sqlite3_db_readonly(native->db, schema) == 1)) {
        result = SQLITE_READONLY;
        text = sqlite3_errstr(SQLITE_READONLY);
    }
    if (text == NULL)
        return true;
    native_answer_error(native, result, text);
    return false;
}

void native_op_image_put(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes database = native_get_bytes(request);
    uint64_t size = pgwire_get_u64(request);
    uint8_t mode = pgwire_get_u8(request);
    uint32_t flags = pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request) || mode > NATIVE_IMAGE_DESERIALIZE) {
        native_malformed(native);
        return;
    }
    struct native_image *image = native_refuse_compiling(native) ? NULL : begin_image(native, &database);
    if (image == NULL)
        return;
    image->is_put = true;
    image->size = size;
    image->mode = mode;
    image->flags = flags;
    if (!check_put(native, image->database != NULL ? image->database : "main", size, mode)) {
        image_close(native);
        return;
    }
    char path[PATH_MAX];
    int result = image_file(native, path, &image->fd);
    if (path[0] != '\0' && image->fd >= 0)
        unlink(path);
    if (result != SQLITE_OK) {
        image_close(native);
        native_answer_error(native, result, sqlite3_errstr(result));
        return;
    }
    native_answer(native, SQLITE_OK);
}

void native_op_image_data(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes bytes = native_get_bytes(request);
    struct native_image *image = native->image;
    if (!pgwire_cursor_is_done(request) || bytes.data == NULL) {
        native_malformed(native);
        return;
    }
    if (image == NULL || !image->is_put || image->is_working || bytes.length > image->size - image->received) {
        native_answer_misuse(native);
        return;
    }
    int result = write_all(image->fd, bytes.data, bytes.length, image->received);
    if (result != SQLITE_OK) {
        image_close(native);
        native_answer_error(native, result, sqlite3_errstr(result));
        return;
    }
    image->received += bytes.length;
    native_answer(native, SQLITE_OK);
}

/* --- IMAGE_DONE ----------------------------------------------------------------------------------------------------- */

/* The image as a database of its own, in `map`, of which what is changed here goes no further. */
static int open_image(struct native_image *image, uint8_t *map, sqlite3 **ret_source)
{
    int result = sqlite3_open_v2(":memory:", ret_source, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK || image->size == 0)
        return result;
    if (image->size < IMAGE_HEADER_BYTES || memcmp(map, "SQLite format 3", sizeof("SQLite format 3")) != 0)
        return SQLITE_NOTADB;
    memset(map + IMAGE_VERSIONS_OFFSET, 1, 2);
    result = sqlite3_deserialize(*ret_source, "main", map, (sqlite3_int64)image->size, (sqlite3_int64)image->size,
                                 SQLITE_DESERIALIZE_READONLY);
    /* Its schema can be read, so it is a database, if perhaps a damaged one. */
    return result == SQLITE_OK ? sqlite3_exec(*ret_source, "SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL, NULL)
                               : result;
}

static int replace_database(struct native *native, struct native_image *image)
{
    const char *schema = image->database != NULL ? image->database : "main";
    uint8_t *map = NULL;
    sqlite3 *source = NULL;
    if (image->size > 0) {
        map = mmap(NULL, (size_t)image->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, image->fd, 0);
        if (map == MAP_FAILED) {
            native_set_error(native, "the image is too large");
            return SQLITE_TOOBIG;
        }
    }
    int result = open_image(image, map, &source);
    if (result != SQLITE_OK) {
        native_set_error(native, sqlite3_errstr(result));
    } else {
        result = copy_database(native, native->db, schema, source, "main");
        if ((result & 0xff) == SQLITE_READONLY)
            native_set_error(native, "the image's pages are not of the size of the database's");
        else if (result == SQLITE_OK)
            engine_native_note_replaced(native->connection);
    }
    sqlite3_close(source);
    if (map != NULL)
        munmap(map, (size_t)image->size);
    return result;
}

static int deserialize(struct native *native, struct native_image *image)
{
    const char *schema = image->database != NULL ? image->database : "main";
    unsigned flags = image->flags & (SQLITE_DESERIALIZE_READONLY | SQLITE_DESERIALIZE_RESIZEABLE);
    uint8_t *bytes = sqlite3_malloc64(image->size > 0 ? image->size : 1);
    if (bytes == NULL) {
        native_set_error(native, sqlite3_errstr(SQLITE_NOMEM));
        return SQLITE_NOMEM;
    }
    for (uint64_t at = 0; at < image->size;) {
        ssize_t got = pread(image->fd, bytes + at, (size_t)(image->size - at), (off_t)at);
        if (got <= 0) {
            sqlite3_free(bytes);
            native_set_error(native, sqlite3_errstr(SQLITE_IOERR));
            return SQLITE_IOERR_READ;
        }
        at += (uint64_t)got;
    }
    /* SQLite frees the bytes, also when it fails. */
    int result = sqlite3_deserialize(native->db, schema, bytes, (sqlite3_int64)image->size, (sqlite3_int64)image->size,
                                     flags | SQLITE_DESERIALIZE_FREEONCLOSE);
    if (result == SQLITE_OK)
        engine_native_note_replaced(native->connection);
    return result;
}

static int do_done(struct native *native, struct native_work *work)
{
    struct native_image *image = image_of(work);
    return image->mode == NATIVE_IMAGE_REPLACE ? replace_database(native, image) : deserialize(native, image);
}

static void answer_done(struct native *native, struct native_work *work, int result)
{
    (void)work;
    image_close(native);
    native_answer(native, result);
}

void native_op_image_done(struct native *native, struct pgwire_cursor *request)
{
    struct native_image *image = native->image;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
    } else if (image == NULL || !image->is_put || image->is_working) {
        native_answer_misuse(native);
    } else if (image->received != image->size) {
        image_close(native);
        native_answer_error(native, SQLITE_ERROR, "the image is not complete");
    } else {
        start_work(native, image, do_done, answer_done, image->mode != NATIVE_IMAGE_REPLACE);
    }
}
