/* session/native_blob.c: incremental blobs (docs/protocol.md, BLOB_OPEN …; sqlite.org/c3ref/blob_open.html).
 *
 * An open blob is a statement in the middle as far as SQLite is concerned: one that is open for writing holds the database
 * until it is closed or its transaction ends, and with it the write slot, which is why only opening may have to wait.
 * What SQLite makes of a blob whose row has changed (SQLITE_ABORT) stays SQLite's.
 *
 * Every request here is work: it may commit, take a snapshot, or call a hook of the client's. What it needs of its message
 * is copied. */
#include <stdlib.h>

#include "session/native_call.h"

enum { NATIVE_BLOBS_MAX = 1000 };

struct native_blobs {
    struct sq_map map; /* u32 -> struct native_blob */
};

struct blob_work;

struct native_blob {
    uint32_t number;
    sqlite3_blob *handle;   /* NULL: not open yet, or closed */
    struct blob_work *work; /* the request that is being worked off; no other is then */
};

/* A request that is being worked off. */
struct blob_work {
    struct native_work base;
    struct native_blob *blob;
    char *database;
    char *table;
    char *column;
    int64_t rowid;
    bool is_writing;
    int offset;
    int byte_count;
    void *bytes;
    int close_result;
};

static struct blob_work *work_of(struct native_work *base)
{
    return SQ_CONTAINER_OF(base, struct blob_work, base);
}

static void free_work(struct blob_work *work)
{
    if (work->blob != NULL)
        work->blob->work = NULL;
    free(work->database);
    free(work->table);
    free(work->column);
    free(work->bytes);
    free(work);
}

static struct native_blob *find_blob(struct native *native, uint32_t number)
{
    return native->blobs != NULL ? sq_map_get(&native->blobs->map, &number, sizeof(number)) : NULL;
}

static void answer_no_memory(struct native *native)
{
    native_answer_error(native, SQLITE_NOMEM, sqlite3_errstr(SQLITE_NOMEM));
}

/* The request's blob and its work; NULL: it has been answered. */
static struct blob_work *begin_work(struct native *native, uint32_t number)
{
    struct native_blob *blob = find_blob(native, number);
    if (blob == NULL || blob->work != NULL) {
        native_answer_misuse(native);
        return NULL;
    }
    struct blob_work *work = calloc(1, sizeof(*work));
    if (work == NULL) {
        answer_no_memory(native);
        return NULL;
    }
    work->blob = blob;
    blob->work = work;
    return work;
}

static void start_work(struct native *native, struct blob_work *work,
                       int (*do_cb)(struct native *, struct native_work *),
                       void (*answer_cb)(struct native *, struct native_work *, int))
{
    work->base.do_cb = do_cb;
    work->base.answer_cb = answer_cb;
    native_work_start(native, &work->base, !work->is_writing);
}

/* --- Answers ------------------------------------------------------------------------------------------------------- */

static void answer_plain(struct native *native, struct native_work *base, int result)
{
    free_work(work_of(base));
    native_answer(native, result);
}

/* With the blob's size. */
static void answer_size(struct native *native, struct native_work *base, int result)
{
    const struct native_blob *blob = work_of(base)->blob;
    size_t offset = native_answer_begin(native, result);
    if (result == SQLITE_OK)
        sq_buf_put_u32(native->session->out, (uint32_t)sqlite3_blob_bytes(blob->handle));
    native_answer_end(native, offset);
    free_work(work_of(base));
}

static void answer_bytes(struct native *native, struct native_work *base, int result)
{
    const struct blob_work *work = work_of(base);
    size_t offset = native_answer_begin(native, result);
    if (result == SQLITE_OK)
        native_put_bytes(native->session->out, work->byte_count > 0 ? work->bytes : "", (size_t)work->byte_count);
    native_answer_end(native, offset);
    free_work(work_of(base));
}

/* --- BLOB_OPEN ----------------------------------------------------------------------------------------------------- */

static void remove_blob(struct native *native, struct native_blob *blob)
{
    sq_map_remove(&native->blobs->map, &blob->number, sizeof(blob->number));
    free(blob);
}

static int do_open(struct native *native, struct native_work *base)
{
    struct blob_work *work = work_of(base);
    return sqlite3_blob_open(native->db, work->database != NULL ? work->database : "main", work->table, work->column,
                             work->rowid, work->is_writing, &work->blob->handle);
}

static void answer_open(struct native *native, struct native_work *base, int result)
{
    struct blob_work *work = work_of(base);
    struct native_blob *blob = work->blob;
    if (result == SQLITE_OK) {
        answer_size(native, base, result);
        return;
    }
    sqlite3_blob_close(blob->handle); /* there is none, unless the disk has failed behind SQLite's back */
    answer_plain(native, base, result);
    remove_blob(native, blob);
}

static struct native_blobs *blobs_of(struct native *native)
{
    if (native->blobs != NULL)
        return native->blobs;
    native->blobs = calloc(1, sizeof(*native->blobs));
    if (native->blobs != NULL)
        sq_map_init(&native->blobs->map);
    return native->blobs;
}

/* A blob of that number, in the map, with nothing open yet; NULL without memory. */
static struct native_blob *add_blob(struct native *native, uint32_t number, struct blob_work *work)
{
    struct native_blobs *blobs = blobs_of(native);
    struct native_blob *blob = blobs != NULL ? calloc(1, sizeof(*blob)) : NULL;
    if (blob == NULL)
        return NULL;
    blob->number = number;
    blob->work = work;
    if (sq_map_put(&blobs->map, &number, sizeof(number), blob, NULL) != SQ_OK) {
        free(blob);
        return NULL;
    }
    return blob;
}

void native_op_blob_open(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    struct pgwire_bytes database = native_get_bytes(request);
    struct pgwire_bytes table = native_get_bytes(request);
    struct pgwire_bytes column = native_get_bytes(request);
    int64_t rowid = (int64_t)pgwire_get_u64(request);
    bool is_writing = pgwire_get_u8(request) != 0;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    if (number == 0 || table.data == NULL || column.data == NULL || find_blob(native, number) != NULL) {
        native_answer_misuse(native);
        return;
    }
    if (native->blobs != NULL && native->blobs->map.count >= NATIVE_BLOBS_MAX) {
        native_answer_error(native, SQLITE_ERROR, "too many blobs are open");
        return;
    }
    struct blob_work *work = calloc(1, sizeof(*work));
    if (work != NULL) {
        work->database = native_text_copy(&database);
        work->table = native_text_copy(&table);
        work->column = native_text_copy(&column);
        work->rowid = rowid;
        work->is_writing = is_writing;
        if (work->table != NULL && work->column != NULL && (database.data == NULL || work->database != NULL))
            work->blob = add_blob(native, number, work);
    }
    if (work == NULL || work->blob == NULL) {
        if (work != NULL)
            free_work(work);
        answer_no_memory(native);
        return;
    }
    start_work(native, work, do_open, answer_open);
}

/* --- BLOB_READ, BLOB_WRITE ------------------------------------------------------------------------------------------ */

static int do_read(struct native *native, struct native_work *base)
{
    (void)native;
    struct blob_work *work = work_of(base);
    return sqlite3_blob_read(work->blob->handle, work->bytes, work->byte_count, work->offset);
}

static int do_write(struct native *native, struct native_work *base)
{
    (void)native;
    struct blob_work *work = work_of(base);
    return sqlite3_blob_write(work->blob->handle, work->bytes, work->byte_count, work->offset);
}

/* What does not fit into SQLite's numbers is out of the blob, too. False: answered. */
static bool check_range(struct native *native, struct blob_work *work, uint32_t offset, size_t byte_count)
{
    size_t size = (size_t)sqlite3_blob_bytes(work->blob->handle);
    if (offset > size || byte_count > size - offset) {
        /* A blob that has expired has no bytes, and says so when it is asked for none. */
        int result = sqlite3_blob_read(work->blob->handle, NULL, 0, 0);
        free_work(work);
        result = result != SQLITE_OK ? result : SQLITE_ERROR;
        native_answer_error(native, result, sqlite3_errstr(result));
        return false;
    }
    work->offset = (int)offset;
    work->byte_count = (int)byte_count;
    work->bytes = malloc(byte_count > 0 ? byte_count : 1);
    if (work->bytes != NULL)
        return true;
    free_work(work);
    answer_no_memory(native);
    return false;
}

void native_op_blob_read(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    uint32_t offset = pgwire_get_u32(request);
    uint32_t byte_count = pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    struct blob_work *work = begin_work(native, number);
    if (work != NULL && check_range(native, work, offset, byte_count))
        start_work(native, work, do_read, answer_bytes);
}

void native_op_blob_write(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    uint32_t offset = pgwire_get_u32(request);
    struct pgwire_bytes bytes = native_get_bytes(request);
    if (!pgwire_cursor_is_done(request) || bytes.data == NULL) {
        native_malformed(native);
        return;
    }
    struct blob_work *work = begin_work(native, number);
    if (work == NULL || !check_range(native, work, offset, bytes.length))
        return;
    if (bytes.length > 0)
        memcpy(work->bytes, bytes.data, bytes.length);
    start_work(native, work, do_write, answer_plain);
}

/* --- BLOB_REOPEN, BLOB_CLOSE ---------------------------------------------------------------------------------------- */

static int do_reopen(struct native *native, struct native_work *base)
{
    (void)native;
    struct blob_work *work = work_of(base);
    return sqlite3_blob_reopen(work->blob->handle, work->rowid);
}

void native_op_blob_reopen(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    int64_t rowid = (int64_t)pgwire_get_u64(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    struct blob_work *work = begin_work(native, number);
    if (work == NULL)
        return;
    work->rowid = rowid;
    start_work(native, work, do_reopen, answer_size);
}

/* The handle is gone, however it ends: another try would find nothing. */
static int do_close(struct native *native, struct native_work *base)
{
    (void)native;
    struct blob_work *work = work_of(base);
    if (work->blob->handle != NULL)
        work->close_result = sqlite3_blob_close(SQ_STEAL(work->blob->handle));
    return work->close_result;
}

static void answer_close(struct native *native, struct native_work *base, int result)
{
    struct native_blob *blob = work_of(base)->blob;
    answer_plain(native, base, result);
    remove_blob(native, blob);
}

void native_op_blob_close(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    struct blob_work *work = begin_work(native, number);
    if (work != NULL)
        start_work(native, work, do_close, answer_close);
}

void native_blobs_free(struct native *native)
{
    struct native_blobs *blobs = native->blobs;
    if (blobs == NULL)
        return;
    struct sq_map_cursor at = {0};
    struct native_blob *blob;
    while ((blob = sq_map_next(&blobs->map, &at)) != NULL) {
        sqlite3_blob_close(blob->handle);
        if (blob->work != NULL)
            free_work(blob->work);
        free(blob);
    }
    sq_map_done(&blobs->map);
    native->blobs = NULL;
    free(blobs);
}
