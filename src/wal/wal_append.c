/* wal/wal_append.c: appending a transaction of whole pages to a WAL that SQLite connections of this and other processes use,
 * as SQLite's own writers do it (sqlite.org/walformat.html).
 *
 *     write lock ─► (begin the WAL anew) ─► frames ─► the commit frame ─► header of the wal-index ─► lock given back
 *                                             │ entries of the wal-index beyond mxFrame, which nobody looks at
 *
 * The write lock is taken by xShmLock() on the connection's handle, not by BEGIN IMMEDIATE: a connection keeps a copy of the wal-index's
 * header, and takes its page cache for current while the two are the same. A connection that has a write transaction of SQLite's open
 * would, at its end, copy the header that was published behind its back, and go on reading from a cache that is older. So the
 * connection has no transaction while we write; with its next one it finds another header than it knows, and drops its cache
 * like any other reader.
 *
 * Begun anew is a WAL of which everything has been copied into the database file, which has been synced then, and that nobody
 * reads from: the locks of all readers but those of the file alone (lock 0) are free. Besides, SQLite's writers look no further; here
 * the checkpoint lock must be free too. A checkpoint that has read the header before, but not yet how much was copied, would
 * take the new generation's count for the old one's (sqlite.org/wal.html, "The WAL-Reset Bug"; SQLite 3.51.3 looks again itself).
 * The new salts are published before anything is written over; the WAL's header is written and synced before the first
 * frame: frames of the new generation never stand behind a header of the old one.
 *
 * Of a WAL that is empty otherwise (a new one, one that was cut off) both salts are new random numbers: what somebody may
 * have written without committing under the old ones can never be taken for frames that follow ours.
 *
 * Failure: whatever can fail has been done when the last bytes, the commit frame's, go to the file; until then nobody takes
 * any of it for committed, after it nothing can fail. What is left of an append that was given up is what a writer of SQLite's leaves
 * that rolls back: frames and entries beyond the end, which the next one writes over.
 *
 * The commit frame is the last one, and which one that is only wal_append_commit() knows: the frame at the end of the buffer
 * has no header yet (*pending*). Frames go out in large writes. */
#include <stdlib.h>

#include "base/random.h"
#include "wal/checksum.h"
#include "wal/wal_internal.h"

enum {
    WAL_MAGIC = 0x377f0682,       /* with checksums over little-endian words, those of this machine */
    WRITE_BYTES_MAX = 120 * 1024, /* SQLite's handles take less than 128 kB at a time */
    LOCK_TRIES_MAX = 10,
};
_Static_assert((int)WRITE_BYTES_MAX >= WAL_FRAME_HEADER_BYTES + WAL_PAGE_BYTES_MAX, "one frame at least");

struct wal_append {
    struct wal_file *file;
    struct wal_state found;
    /* What will be published: its salts and checksum are of the last frame with a header. */
    struct wal_index_header header;
    uint32_t page_bytes;
    uint32_t frame_bytes;
    uint32_t start_count; /* frames that are committed */
    uint32_t frame_count; /* with ours, the pending one too */
    bool has_begun;       /* the WAL has a header */
    bool is_sealed;       /* all frames have headers */
    bool is_failed;
    uint8_t *buffer;
    size_t buffer_bytes;
    size_t used_bytes; /* whole frames; the pending one is behind them */
    bool is_pending;
    int64_t write_offset; /* where in the file the buffer begins */
};

/* --- Beginning ---------------------------------------------------------------------------------------------------- */

/* The write lock and a valid header under it. */
static sq_status lock_for_writing(struct wal_file *file, struct sq_error *err, struct wal_index_header *ret_header)
{
    for (int try_count = 0;; try_count++) {
        int result = wal_lock(file, WAL_LOCK_WRITE, 1);
        if (result != SQLITE_OK)
            return wal_fail(err, result, "lock the write-ahead log for writing");
        sq_status status = wal_index_read(file, err, ret_header);
        if (status == SQ_OK)
            return SQ_OK;
        /* Nobody writes it: somebody has died over it. SQLite recovers it. */
        wal_unlock(file, WAL_LOCK_WRITE, 1);
        if (status != SQ_BUSY || try_count == LOCK_TRIES_MAX)
            return status;
        SQ_TRY(wal_index_read_or_recover(file, err, ret_header));
    }
}

/* Gives everything back. */
static void append_free(struct wal_append *append)
{
    if (append->file->is_appending) {
        append->file->is_appending = false;
        wal_unlock(append->file, WAL_LOCK_WRITE, 1);
    }
    free(append->buffer);
    free(append);
}

/* Under the locks of checkpoints and readers. */
static void publish_new_generation(struct wal_append *append)
{
    struct wal_index_header *header = &append->header;
    header->frame_count = 0;
    header->salts[0] = __builtin_bswap32(__builtin_bswap32(header->salts[0]) + 1);
    sq_random_fill(&header->salts[1], sizeof(header->salts[1]));
    wal_index_publish(append->file, header);
    wal_index_reset_marks(append->file);
    append->start_count = append->frame_count = 0;
}

/* Begins the WAL anew if that can be. */
static sq_status begin_anew(struct wal_append *append, struct sq_error *err)
{
    struct wal_file *file = append->file;
    if (append->start_count == 0 || wal_index_backfilled(file) != append->start_count)
        return SQ_OK;
    int result = wal_lock(file, WAL_LOCK_CHECKPOINT, 1);
    if (result == SQLITE_OK) {
        result = wal_lock(file, WAL_LOCK_READ + 1, WAL_READER_COUNT - 1);
        if (result == SQLITE_OK) {
            publish_new_generation(append);
            wal_unlock(file, WAL_LOCK_READ + 1, WAL_READER_COUNT - 1);
        }
        wal_unlock(file, WAL_LOCK_CHECKPOINT, 1);
    }
    if (result == SQLITE_OK || result == SQLITE_BUSY) /* then it goes on growing */
        return SQ_OK;
    return wal_fail(err, result, "begin the write-ahead log anew");
}

/* The page size of a database in WAL mode never changes. */
static sq_status allocate(struct wal_append *append, struct sq_error *err)
{
    struct wal_state state;
    SQ_TRY(wal_file_state(append->file, err, &state));
    append->page_bytes = state.page_bytes;
    append->frame_bytes = WAL_FRAME_HEADER_BYTES + append->page_bytes;
    append->buffer_bytes = WRITE_BYTES_MAX / append->frame_bytes * append->frame_bytes;
    append->buffer = malloc(append->buffer_bytes);
    return append->buffer != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "out of memory to write to a write-ahead log");
}

/* Under the write lock. */
static sq_status find_beginning(struct wal_append *append, struct sq_error *err)
{
    struct wal_index_header *header = &append->header;
    append->start_count = append->frame_count = header->frame_count;
    append->found = (struct wal_state){
        .place = wal_place_of(header), .sum = wal_sum_of(header), .change_count = header->change_count};
    SQ_TRY(wal_measure(append->file, header, err, &append->found.page_bytes, &append->found.page_count));
    bool was_empty = append->start_count == 0;
    SQ_TRY(begin_anew(append, err));
    if (was_empty)
        sq_random_fill(header->salts, sizeof(header->salts));
    return SQ_OK;
}

sq_status wal_append_begin(struct wal_file *file, struct sq_error *err, struct wal_append **ret_append)
{
    sq_assert(!file->is_appending && sqlite3_txn_state(file->connection, "main") == SQLITE_TXN_NONE);
    struct wal_append *append = calloc(1, sizeof(*append));
    if (append == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to write to a write-ahead log");
    append->file = file;
    sq_status status = allocate(append, err);
    if (status == SQ_OK)
        status = lock_for_writing(file, err, &append->header);
    if (status == SQ_OK) {
        file->is_appending = true;
        status = find_beginning(append, err);
    }
    if (status != SQ_OK) {
        append_free(append);
        return status;
    }
    *ret_append = append;
    return SQ_OK;
}

const struct wal_state *wal_append_found(const struct wal_append *append)
{
    return &append->found;
}

/* How often the WAL had been begun anew, as its present header says; 0: it has none. */
static sq_status read_sequence(struct wal_append *append, struct sq_error *err, uint32_t *ret_sequence)
{
    uint8_t bytes[WAL_HEADER_BYTES];
    sqlite3_file *wal = append->file->wal;
    int result = wal->pMethods->xRead(wal, bytes, sizeof(bytes), 0);
    if (result != SQLITE_OK && result != SQLITE_IOERR_SHORT_READ)
        return wal_fail(err, result, "read the write-ahead log");
    bool is_header = result == SQLITE_OK && (wal_get_u32(bytes) & ~1u) == WAL_MAGIC;
    *ret_sequence = is_header ? wal_get_u32(&bytes[12]) : 0;
    return SQ_OK;
}

/* A WAL without frames gets its header, which is on disk before the first frame is written. */
static sq_status write_header(struct wal_append *append, struct sq_error *err)
{
    struct wal_index_header *header = &append->header;
    sqlite3_file *wal = append->file->wal;
    uint32_t sequence = 0;
    uint8_t bytes[WAL_HEADER_BYTES];
    SQ_TRY(read_sequence(append, err, &sequence));
    wal_put_u32(&bytes[0], WAL_MAGIC);
    wal_put_u32(&bytes[4], WAL_VERSION);
    wal_put_u32(&bytes[8], append->page_bytes);
    wal_put_u32(&bytes[12], sequence + 1);
    memcpy(&bytes[16], header->salts, sizeof(header->salts));
    header->is_big_endian = 0;
    header->frame_sum[0] = header->frame_sum[1] = 0;
    wal_sum_add(false, bytes, 24, header->frame_sum);
    wal_put_u32(&bytes[24], header->frame_sum[0]);
    wal_put_u32(&bytes[28], header->frame_sum[1]);
    int result = wal->pMethods->xWrite(wal, bytes, sizeof(bytes), 0);
    if (result != SQLITE_OK)
        return wal_fail(err, result, "write to the write-ahead log");
    result = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    return result == SQLITE_OK ? SQ_OK : wal_fail(err, result, "sync the write-ahead log");
}

static sq_status begin(struct wal_append *append, struct sq_error *err)
{
    if (append->start_count == 0)
        SQ_TRY(write_header(append, err));
    append->header.page_bytes_code = (uint16_t)(append->page_bytes == WAL_PAGE_BYTES_MAX ? 1 : append->page_bytes);
    append->write_offset = wal_frame_offset(append->start_count, append->page_bytes);
    append->has_begun = true;
    return SQ_OK;
}

/* --- Frames ------------------------------------------------------------------------------------------------------- */

/* The pending frame gets its header. `commit_page_count` 0: it does not commit. */
static void seal(struct wal_append *append, uint32_t commit_page_count)
{
    sq_assert(append->is_pending);
    uint8_t *frame = append->buffer + append->used_bytes;
    struct wal_index_header *header = &append->header;
    wal_put_u32(&frame[4], commit_page_count);
    memcpy(&frame[8], header->salts, sizeof(header->salts));
    wal_sum_add(header->is_big_endian, frame, 8, header->frame_sum);
    wal_sum_add(header->is_big_endian, &frame[WAL_FRAME_HEADER_BYTES], append->page_bytes, header->frame_sum);
    wal_put_u32(&frame[16], header->frame_sum[0]);
    wal_put_u32(&frame[20], header->frame_sum[1]);
    append->used_bytes += append->frame_bytes;
    append->is_pending = false;
}

static sq_status flush(struct wal_append *append, struct sq_error *err)
{
    sqlite3_file *wal = append->file->wal;
    int result = wal->pMethods->xWrite(wal, append->buffer, (int)append->used_bytes, append->write_offset);
    if (result != SQLITE_OK)
        return wal_fail(err, result, "write to the write-ahead log");
    append->write_offset += (int64_t)append->used_bytes;
    append->used_bytes = 0;
    return SQ_OK;
}

/* What would make the database something that nobody could open. */
static sq_status check_page(const struct wal_append *append, uint32_t page_number, const void *page,
                            struct sq_error *err)
{
    if (page_number == 0 || page_number == UINT32_MAX || page_number == wal_lock_page(append->page_bytes))
        return sq_fail(err, SQ_INVALID, "page %u of a database cannot be written", page_number);
    const uint8_t *bytes = page;
    if (page_number == 1 && (wal_page_bytes_of((uint16_t)(bytes[DATABASE_PAGE_BYTES] << 8 |
                                                          bytes[DATABASE_PAGE_BYTES + 1])) != append->page_bytes ||
                             bytes[DATABASE_WRITE_VERSION] != 2 || bytes[DATABASE_WRITE_VERSION + 1] != 2))
        return sq_fail(err, SQ_INVALID, "page 1 is not that of a database in WAL mode with pages of %u bytes",
                       append->page_bytes);
    return SQ_OK;
}

static sq_status add_page(struct wal_append *append, uint32_t page_number, const void *page, struct sq_error *err)
{
    if (!append->has_begun)
        SQ_TRY(begin(append, err));
    SQ_TRY(wal_index_put(append->file, append->frame_count + 1, page_number, err));
    append->frame_count++;
    if (append->is_pending)
        seal(append, 0);
    if (append->used_bytes == append->buffer_bytes)
        SQ_TRY(flush(append, err));
    uint8_t *frame = append->buffer + append->used_bytes;
    wal_put_u32(frame, page_number);
    memcpy(&frame[WAL_FRAME_HEADER_BYTES], page, append->page_bytes);
    append->is_pending = true;
    return SQ_OK;
}

sq_status wal_append_page(struct wal_append *append, uint32_t page_number, const void *page, struct sq_error *err)
{
    sq_assert(!append->is_failed && !append->is_sealed);
    SQ_TRY(check_page(append, page_number, page, err));
    sq_status status = add_page(append, page_number, page, err);
    append->is_failed = status != SQ_OK;
    return status;
}

struct wal_place wal_append_end(const struct wal_append *append)
{
    struct wal_place end = wal_place_of(&append->header);
    end.frame_count = append->frame_count;
    return end;
}

uint64_t wal_append_seal(struct wal_append *append, uint32_t page_count)
{
    sq_assert(!append->is_failed && append->is_pending && page_count > 0);
    seal(append, page_count);
    append->header.frame_count = append->frame_count;
    append->header.page_count = page_count;
    append->is_sealed = true;
    return wal_sum_of(&append->header);
}

sq_status wal_append_commit(struct wal_append *append, uint32_t page_count, struct sq_error *err,
                            struct wal_place *ret_end)
{
    if (!append->is_sealed)
        wal_append_seal(append, page_count);
    sq_assert(!append->is_failed && append->header.page_count == page_count);
    sq_status status = flush(append, err);
    if (status != SQ_OK) {
        wal_append_abort(append);
        return status;
    }
    append->header.change_count++;
    wal_index_publish(append->file, &append->header);
    *ret_end = wal_place_of(&append->header);
    append_free(append);
    return SQ_OK;
}

void wal_append_abort(struct wal_append *append)
{
    if (append == NULL)
        return;
    if (append->frame_count != append->start_count)
        wal_index_forget(append->file, append->start_count);
    append_free(append);
}
