/* wal/wal_file.c: reading a WAL and its database file beside SQLite (sqlite.org/walformat.html, sqlite.org/fileformat2.html, "WAL
 * File Format"); wal_append.c writes, wal_index.c knows the shared memory.
 *
 *     WAL    header │ frame 0 │ frame 1 │ … │ frame mxFrame − 1 │ frames of who has not committed, or of an older generation
 *
 * Integers big-endian.
 *
 *     header  0   4   magic, 0x377f0682 or, if checksums are over big-endian words, 0x377f0683
 *             4   4   version, 3007000
 *             8   4   page size
 *             12  4   how often the WAL was begun anew
 *             16  4   salt 1, one more each time
 *             20  4   salt 2, another random number each time
 *             24  8   checksum of bytes 0 … 23
 *     frame   0   4   page number
 *             4   4   size of the database in pages if this frame commits a transaction, else 0
 *             8   8   the header's salts
 *             16  8   checksum: the one before (the header's for the first frame), continued over bytes 0 … 7 and the page
 *             24  …   the page
 *
 * The checksum of 32-bit words x, two at a time: s0 += x[0] + s1; s1 += x[1] + s0.
 *
 * How it is certain that a frame that was read is the one that was meant: who begins the WAL anew publishes the new salts in the
 * wal-index before the first byte of the file is written over. A frame that was read while the salts were still the same
 * *afterwards* is whole; committed frames are never written over otherwise.
 *
 * A snapshot is a read transaction of the connection. Which one is known, because the wal-index said the same before and after it began.
 * SQLite takes one of two locks for it, and which one does not matter:
 *   - a read mark: the WAL cannot be begun anew, and no page of a frame beyond the snapshot is copied into the database file;
 *   - lock 0, if the file had everything: nothing is copied into the file, but the WAL may be begun anew.
 * So a page is in its last frame of the snapshot, if the WAL is still the same, else in the database file. */
#include "wal/wal_file.h"

#include <stdlib.h>

#include "wal/wal_internal.h"

enum { BEGIN_TRIES_MAX = 1000 };

struct wal_snapshot {
    struct wal_file *file;
    struct wal_place place;
    uint32_t page_bytes;
    uint32_t page_count;
};

sq_status wal_fail(struct sq_error *err, int result, const char *what)
{
    sq_assert(result != SQLITE_OK && result != SQLITE_ROW && result != SQLITE_DONE);
    sq_status status = SQ_IO;
    const char *sqlstate = "58030";
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        status = SQ_BUSY;
        sqlstate = "55P03";
        break;
    case SQLITE_NOMEM:
        status = SQ_NOMEM;
        sqlstate = "53200";
        break;
    case SQLITE_FULL:
        sqlstate = "53100";
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        status = SQ_CORRUPT;
        sqlstate = "XX001";
        break;
    default:
        if (result == SQLITE_IOERR_NOMEM) {
            status = SQ_NOMEM;
            sqlstate = "53200";
        }
        break;
    }
    sq_fail_sql(err, status, sqlstate, "cannot %s: %s", what, sqlite3_errstr(result));
    if (err != NULL)
        err->engine_code = result;
    return status;
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static sq_status check_journal_mode(sqlite3 *connection, struct sq_error *err)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(connection, "PRAGMA main.journal_mode", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    const char *mode = result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    bool is_wal = mode != NULL && strcmp(mode, "wal") == 0;
    sqlite3_finalize(statement);
    if (mode == NULL)
        return wal_fail(err, result == SQLITE_ROW ? SQLITE_NOMEM : result, "read a database");
    return is_wal ? SQ_OK : sq_fail(err, SQ_INVALID, "the database is not in WAL mode");
}

SQ_DEFINE_FREEP(struct wal_file, wal_file_free)

sq_status wal_file_new(struct sqlite3 *connection, struct sq_error *err, struct wal_file **ret_file)
{
    SQ_TRY(check_journal_mode(connection, err));
    SQ_CLEANUP(wal_file_freep) struct wal_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a write-ahead log");
    file->connection = connection;
    int result = sqlite3_prepare_v2(connection, "PRAGMA main.schema_version", -1, &file->look, NULL);
    if (result != SQLITE_OK)
        return wal_fail(err, result, "read a database");
    result = sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file->database);
    if (result == SQLITE_OK)
        result = sqlite3_file_control(connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file->wal);
    if (result != SQLITE_OK)
        return wal_fail(err, result, "reach the files of a database");
    if (file->database->pMethods == NULL || file->database->pMethods->iVersion < 2 || file->wal == NULL ||
        file->wal->pMethods == NULL)
        return sq_fail(err, SQ_INVALID, "the database has no write-ahead log");
    struct wal_index_header header;
    SQ_TRY(wal_index_read_or_recover(file, err, &header));
    *ret_file = SQ_STEAL(file);
    return SQ_OK;
}

void wal_file_free(struct wal_file *file)
{
    if (file == NULL)
        return;
    sq_assert(!file->is_appending && !file->has_snapshot);
    sqlite3_finalize(file->look);
    free(file->regions);
    free(file);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static sq_status read_bytes(sqlite3_file *from, void *bytes, size_t length, int64_t offset, const char *what,
                            struct sq_error *err)
{
    int result = from->pMethods->xRead(from, bytes, (int)length, offset);
    return result == SQLITE_OK ? SQ_OK : wal_fail(err, result, what);
}

/* The page size that the database file says. */
static sq_status read_page_bytes(struct wal_file *file, struct sq_error *err, uint32_t *ret_page_bytes)
{
    uint8_t bytes[2];
    SQ_TRY(read_bytes(file->database, bytes, sizeof(bytes), DATABASE_PAGE_BYTES, "read the header of a database", err));
    uint32_t page_bytes = wal_page_bytes_of((uint16_t)(bytes[0] << 8 | bytes[1]));
    if (page_bytes == 0)
        return sq_fail(err, SQ_CORRUPT, "the header of the database has no page size");
    *ret_page_bytes = page_bytes;
    return SQ_OK;
}

sq_status wal_measure(struct wal_file *file, const struct wal_index_header *header, struct sq_error *err,
                      uint32_t *ret_page_bytes, uint32_t *ret_page_count)
{
    uint32_t page_bytes = wal_page_bytes_of(header->page_bytes_code);
    if (header->frame_count == 0)
        SQ_TRY(read_page_bytes(file, err, &page_bytes));
    uint32_t page_count = header->page_count;
    if (page_count == 0) { /* recovered from a WAL without frames: all is in the file, as SQLite sees it too */
        sqlite3_int64 bytes = 0;
        int result = file->database->pMethods->xFileSize(file->database, &bytes);
        if (result != SQLITE_OK)
            return wal_fail(err, result, "measure a database");
        int64_t count = (bytes + page_bytes - 1) / page_bytes;
        if (count <= 0 || count > UINT32_MAX - 1)
            return sq_fail(err, SQ_CORRUPT, "the database file has %lld bytes", (long long)bytes);
        page_count = (uint32_t)count;
    }
    *ret_page_bytes = page_bytes;
    *ret_page_count = page_count;
    return SQ_OK;
}

static bool is_same(const struct wal_index_header *one, const struct wal_index_header *other)
{
    return memcmp(one, other, sizeof(*one)) == 0;
}

sq_status wal_file_state(struct wal_file *file, struct sq_error *err, struct wal_state *ret_state)
{
    struct wal_index_header before;
    struct wal_index_header after;
    uint32_t page_bytes = 0;
    uint32_t page_count = 0;
    SQ_TRY(wal_index_read_or_recover(file, err, &after));
    do {
        before = after;
        SQ_TRY(wal_measure(file, &before, err, &page_bytes, &page_count));
        SQ_TRY(wal_index_read_or_recover(file, err, &after));
    } while (before.page_count == 0 && !is_same(&before, &after));
    *ret_state = (struct wal_state){.place = wal_place_of(&before),
                                    .sum = wal_sum_of(&before),
                                    .page_bytes = page_bytes,
                                    .page_count = page_count,
                                    .change_count = before.change_count};
    return SQ_OK;
}

sq_status wal_file_end(struct wal_file *file, struct sq_error *err, struct wal_place *ret_end, uint32_t *ret_page_bytes,
                       uint32_t *ret_page_count)
{
    struct wal_state state;
    SQ_TRY(wal_file_state(file, err, &state));
    *ret_end = state.place;
    *ret_page_bytes = state.page_bytes;
    *ret_page_count = state.page_count;
    return SQ_OK;
}

static sq_status fail_not_there(const struct wal_place *place, uint32_t index, struct sq_error *err)
{
    return sq_fail(err, SQ_NOT_FOUND, "the write-ahead log has no frame %u of generation %08x-%08x", index,
                   place->salt1, place->salt2);
}

static sq_status read_frame(struct wal_file *file, int64_t offset, uint8_t header[WAL_FRAME_HEADER_BYTES], void *page,
                            size_t page_bytes, struct sq_error *err)
{
    SQ_TRY(read_bytes(file->wal, header, WAL_FRAME_HEADER_BYTES, offset, "read the write-ahead log", err));
    if (page == NULL)
        return SQ_OK;
    return read_bytes(file->wal, page, page_bytes, offset + WAL_FRAME_HEADER_BYTES, "read the write-ahead log", err);
}

sq_status wal_file_frame(struct wal_file *file, const struct wal_place *place, uint32_t index, struct sq_error *err,
                         uint32_t *ret_page_number, uint32_t *ret_commit_page_count, void *page)
{
    struct wal_index_header header;
    SQ_TRY(wal_index_read_or_recover(file, err, &header));
    struct wal_place now = wal_place_of(&header);
    if (now.salt1 != place->salt1 || now.salt2 != place->salt2 || index >= now.frame_count)
        return fail_not_there(place, index, err);
    uint32_t page_bytes = wal_page_bytes_of(header.page_bytes_code);
    uint8_t bytes[WAL_FRAME_HEADER_BYTES];
    sq_status status = read_frame(file, wal_frame_offset(index, page_bytes), bytes, page, page_bytes, err);
    /* Also when the read has failed: the WAL may have been cut off. */
    if (!wal_index_is_generation(file, place))
        return fail_not_there(place, index, err);
    SQ_TRY(status);
    uint32_t page_number = wal_get_u32(bytes);
    if (wal_get_u32(&bytes[8]) != place->salt1 || wal_get_u32(&bytes[12]) != place->salt2 || page_number == 0)
        return sq_fail(err, SQ_CORRUPT, "frame %u of the write-ahead log is damaged", index);
    *ret_page_number = page_number;
    *ret_commit_page_count = wal_get_u32(&bytes[4]);
    return SQ_OK;
}

/* --- Snapshots ---------------------------------------------------------------------------------------------------- */

static bool has_no_transaction(struct wal_file *file)
{
    return sqlite3_txn_state(file->connection, "main") == SQLITE_TXN_NONE;
}

/* Begins a read transaction, and knows of what. SQ_BUSY: somebody commits all the time. */
static sq_status begin_transaction(struct wal_file *file, struct sq_error *err, struct wal_index_header *ret_header)
{
    for (int try_count = 0; try_count < BEGIN_TRIES_MAX; try_count++) {
        struct wal_index_header before;
        struct wal_index_header after;
        SQ_TRY(wal_index_read_or_recover(file, err, &before));
        int result = sqlite3_step(file->look);
        sq_status status =
            result == SQLITE_ROW ? wal_index_read(file, err, &after) : wal_fail(err, result, "begin a snapshot");
        if (status == SQ_OK && is_same(&before, &after)) {
            *ret_header = before;
            return SQ_OK;
        }
        sqlite3_reset(file->look);
        if (status != SQ_OK && (status != SQ_BUSY || result != SQLITE_ROW))
            return status;
    }
    return sq_fail(err, SQ_BUSY, "no moment without a commit to begin a snapshot in");
}

sq_status wal_snapshot_begin(struct wal_file *file, struct sq_error *err, struct wal_snapshot **ret_snapshot)
{
    sq_assert(!file->is_appending && !file->has_snapshot && has_no_transaction(file));
    struct wal_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a snapshot");
    struct wal_index_header header;
    snapshot->file = file;
    sq_status status = begin_transaction(file, err, &header);
    file->has_snapshot = true;
    if (status == SQ_OK)
        status = wal_measure(file, &header, err, &snapshot->page_bytes, &snapshot->page_count);
    if (status != SQ_OK) {
        wal_snapshot_end(snapshot);
        return status;
    }
    snapshot->place = wal_place_of(&header);
    *ret_snapshot = snapshot;
    return SQ_OK;
}

struct wal_place wal_snapshot_place(const struct wal_snapshot *snapshot)
{
    return snapshot->place;
}

uint32_t wal_snapshot_page_count(const struct wal_snapshot *snapshot)
{
    return snapshot->page_count;
}

/* *ret_is_found: the page is in a frame of the snapshot, and was read whole. */
static sq_status read_from_wal(struct wal_snapshot *snapshot, uint32_t page_number, void *page, struct sq_error *err,
                               bool *ret_is_found)
{
    struct wal_file *file = snapshot->file;
    uint32_t frame = 0;
    sq_status status = wal_index_find(file, page_number, snapshot->place.frame_count, err, &frame);
    *ret_is_found = false;
    if (status == SQ_OK && frame == 0)
        return SQ_OK;
    uint8_t bytes[WAL_FRAME_HEADER_BYTES];
    if (status == SQ_OK)
        status =
            read_frame(file, wal_frame_offset(frame - 1, snapshot->page_bytes), bytes, page, snapshot->page_bytes, err);
    if (!wal_index_is_generation(file, &snapshot->place))
        return SQ_OK; /* begun anew meanwhile: the file has everything */
    SQ_TRY(status);
    if (wal_get_u32(bytes) != page_number || wal_get_u32(&bytes[8]) != snapshot->place.salt1 ||
        wal_get_u32(&bytes[12]) != snapshot->place.salt2)
        return sq_fail(err, SQ_CORRUPT, "frame %u of the write-ahead log is damaged", frame - 1);
    *ret_is_found = true;
    return SQ_OK;
}

sq_status wal_snapshot_page(struct wal_snapshot *snapshot, uint32_t page_number, void *page, struct sq_error *err)
{
    sq_assert(page_number > 0 && page_number <= snapshot->page_count);
    bool is_found = false;
    SQ_TRY(read_from_wal(snapshot, page_number, page, err, &is_found));
    if (is_found)
        return SQ_OK;
    sqlite3_file *database = snapshot->file->database;
    int result = database->pMethods->xRead(database, page, (int)snapshot->page_bytes,
                                           (int64_t)(page_number - 1) * snapshot->page_bytes);
    /* A page beyond the end of the file is zeros (the handle has filled it), to SQLite too. */
    if (result != SQLITE_OK && result != SQLITE_IOERR_SHORT_READ)
        return wal_fail(err, result, "read a page of a database");
    return SQ_OK;
}

void wal_snapshot_end(struct wal_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    sqlite3_reset(snapshot->file->look);
    snapshot->file->has_snapshot = false;
    free(snapshot);
}
