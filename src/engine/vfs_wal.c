/* engine/vfs_wal.c: a WAL's handle that gives frames the checksums that SQLite forgets.
 *
 * A transaction that is larger than the page cache writes frames before its commit; a page that it changes again is written over
 * its frame, and from the first such frame on, checksums are made anew at the commit. Until then SQLite writes the headers of new frames with salts
 * and checksum of 0. When the transaction rolls back to a savepoint (or a statement fails) from before that frame, frames are written
 * from there on, with headers of 0 too, but at the commit only those from the old frame on are made right (SQLite 3.40 at least,
 * sqlite3WalSavepointUndo()):
 *
 *     savepoint ─► spilled, and one written over ─► rollback to ─► commit
 *        m           m+1 … K … n                       m            m+1 … j      0 in m+1 … K−1, or in all if j < K
 *
 * To readers nothing is wrong: the wal-index says what is committed. But after a crash the WAL ends for SQLite before the first of these
 * frames: the transaction, and all that came after it, is lost, on disk or not.
 *
 * SQLite begins to make checksums anew by reading that of frame K−1: eight bytes, which it reads at no other time. By then
 * the handle knows the frames that have 0, and makes them right first.
 *
 * The WAL (sqlite.org/fileformat2.html, "WAL File Format"), integers big-endian:
 *
 *     header  0   4   magic; lowest bit: checksums are of big-endian words        frame   0   4   page number
 *             8   4   page size                                                           4   4   size of the database, if it commits
 *             16  8   salts                                                               8   8   salts
 *             24  8   checksum                                                            16  8   checksum
 *                                                                                         24  …   page
 *
 * Invariant: first_offset … last_offset are headers of frames that this handle has written with 0, one behind the other, and none since
 * with something else. */
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "engine/vfs_internal.h"

enum {
    WAL_HEADER_BYTES = 32,
    WAL_HEADER_PAGE_BYTES = 8,
    WAL_HEADER_SALTS = 16,
    WAL_HEADER_SUM = 24,
    FRAME_HEADER_BYTES = 24,
    FRAME_SALTS = 8,
    FRAME_SUM = 16,
    SUM_BYTES = 8,
    PAGE_BYTES_MIN = 512,
    PAGE_BYTES_MAX = 65536,
};

struct wal_handle {
    sqlite3_file base;
    sqlite3_file *below;
    sqlite3_int64 first_offset; /* 0: there are none */
    sqlite3_int64 last_offset;
};

static struct wal_handle *handle_of(sqlite3_file *base)
{
    return SQ_CONTAINER_OF(base, struct wal_handle, base);
}

static uint32_t get_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return be32toh(value);
}

/* --- Making checksums --------------------------------------------------------------------------------------------------- */

struct repair {
    sqlite3_file *wal;
    uint8_t salts[SUM_BYTES];
    uint32_t page_bytes;
    bool is_big_endian;
    uint8_t sum[SUM_BYTES]; /* of the frame before */
};

/* Goes on with `sum`, over pairs of words: s0 += x0 + s1, s1 += x1 + s0. */
static void add_up(const struct repair *repair, const uint8_t *bytes, size_t length, uint32_t sum[2])
{
    for (size_t i = 0; i < length; i += 2 * sizeof(uint32_t)) {
        uint32_t words[2];
        memcpy(words, bytes + i, sizeof(words));
        sum[0] += (repair->is_big_endian ? be32toh(words[0]) : le32toh(words[0])) + sum[1];
        sum[1] += (repair->is_big_endian ? be32toh(words[1]) : le32toh(words[1])) + sum[0];
    }
}

static int repair_frame(struct repair *repair, sqlite3_int64 offset, uint8_t *frame)
{
    sqlite3_file *wal = repair->wal;
    int frame_bytes = FRAME_HEADER_BYTES + (int)repair->page_bytes;
    int result = wal->pMethods->xRead(wal, frame, frame_bytes, offset);
    if (result != SQLITE_OK)
        return result;
    uint32_t sum[2] = {get_u32(repair->sum), get_u32(repair->sum + sizeof(uint32_t))};
    add_up(repair, frame, FRAME_SALTS, sum);
    add_up(repair, frame + FRAME_HEADER_BYTES, repair->page_bytes, sum);
    sum[0] = htobe32(sum[0]);
    sum[1] = htobe32(sum[1]);
    memcpy(repair->sum, sum, sizeof(sum));
    memcpy(frame + FRAME_SALTS, repair->salts, sizeof(repair->salts));
    memcpy(frame + FRAME_SUM, repair->sum, sizeof(repair->sum));
    return wal->pMethods->xWrite(wal, frame, FRAME_HEADER_BYTES, offset);
}

static int begin_repair(struct wal_handle *handle, struct repair *repair)
{
    uint8_t header[WAL_HEADER_BYTES];
    sqlite3_file *wal = handle->below;
    int result = wal->pMethods->xRead(wal, header, WAL_HEADER_BYTES, 0);
    if (result != SQLITE_OK)
        return result;
    *repair = (struct repair){.wal = wal,
                              .page_bytes = get_u32(header + WAL_HEADER_PAGE_BYTES),
                              .is_big_endian = (get_u32(header) & 1) != 0};
    if (repair->page_bytes < PAGE_BYTES_MIN || repair->page_bytes > PAGE_BYTES_MAX)
        return SQLITE_CORRUPT;
    memcpy(repair->salts, header + WAL_HEADER_SALTS, sizeof(repair->salts));
    sqlite3_int64 before = handle->first_offset - FRAME_HEADER_BYTES - repair->page_bytes;
    if (before >= WAL_HEADER_BYTES)
        return wal->pMethods->xRead(wal, repair->sum, SUM_BYTES, before + FRAME_SUM);
    memcpy(repair->sum, header + WAL_HEADER_SUM, sizeof(repair->sum));
    return SQLITE_OK;
}

/* Frames with 0, up to the one at `until`. *ret_sum: that of the last one. */
static int repair_frames(struct wal_handle *handle, sqlite3_int64 until, void *ret_sum)
{
    struct repair repair;
    int result = begin_repair(handle, &repair);
    uint8_t *frame = result == SQLITE_OK ? malloc(FRAME_HEADER_BYTES + (size_t)repair.page_bytes) : NULL;
    if (frame == NULL)
        return result == SQLITE_OK ? SQLITE_NOMEM : result;
    if (until > handle->last_offset)
        until = handle->last_offset;
    for (sqlite3_int64 at = handle->first_offset; at <= until && result == SQLITE_OK;
         at += FRAME_HEADER_BYTES + (sqlite3_int64)repair.page_bytes)
        result = repair_frame(&repair, at, frame);
    free(frame);
    if (result == SQLITE_OK)
        memcpy(ret_sum, repair.sum, sizeof(repair.sum));
    return result;
}

/* --- Methods ------------------------------------------------------------------------------------------------------------ */

static void note_header(struct wal_handle *handle, const uint8_t *header, sqlite3_int64 offset)
{
    static const uint8_t zeros[FRAME_HEADER_BYTES - FRAME_SALTS];
    if (memcmp(header + FRAME_SALTS, zeros, sizeof(zeros)) != 0) {
        handle->first_offset = 0;
        return;
    }
    if (handle->first_offset == 0 || offset < handle->first_offset)
        handle->first_offset = offset;
    handle->last_offset = offset; /* one before it: rolled back to there */
}

static int wal_write(sqlite3_file *base, const void *bytes, int length, sqlite3_int64 offset)
{
    struct wal_handle *handle = handle_of(base);
    if (length == FRAME_HEADER_BYTES && offset >= WAL_HEADER_BYTES)
        note_header(handle, bytes, offset);
    return handle->below->pMethods->xWrite(handle->below, bytes, length, offset);
}

static int wal_read(sqlite3_file *base, void *bytes, int length, sqlite3_int64 offset)
{
    struct wal_handle *handle = handle_of(base);
    if (SQ_UNLIKELY(length == SUM_BYTES && handle->first_offset != 0)) {
        sqlite3_int64 header = offset - FRAME_SUM; /* or less than that of the first frame: there is none before */
        if (handle->first_offset <= header)
            return repair_frames(handle, header, bytes);
    }
    return handle->below->pMethods->xRead(handle->below, bytes, length, offset);
}

static int wal_close(sqlite3_file *base)
{
    struct wal_handle *handle = handle_of(base);
    int result = handle->below->pMethods->xClose(handle->below);
    free(handle->below);
    base->pMethods = NULL;
    return result;
}

static int wal_truncate(sqlite3_file *base, sqlite3_int64 bytes)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xTruncate(below, bytes);
}

static int wal_sync(sqlite3_file *base, int flags)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xSync(below, flags);
}

static int wal_size(sqlite3_file *base, sqlite3_int64 *ret_bytes)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xFileSize(below, ret_bytes);
}

static int wal_lock(sqlite3_file *base, int level)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xLock(below, level);
}

static int wal_unlock(sqlite3_file *base, int level)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xUnlock(below, level);
}

static int wal_check_reserved(sqlite3_file *base, int *ret_is_reserved)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xCheckReservedLock(below, ret_is_reserved);
}

static int wal_control(sqlite3_file *base, int operation, void *argument)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xFileControl(below, operation, argument);
}

static int wal_sector_size(sqlite3_file *base)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xSectorSize(below);
}

static int wal_characteristics(sqlite3_file *base)
{
    sqlite3_file *below = handle_of(base)->below;
    return below->pMethods->xDeviceCharacteristics(below);
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_check_reserved,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector_size,
    .xDeviceCharacteristics = wal_characteristics,
};

int vfs_wal_handle_bytes(void)
{
    return (int)sizeof(struct wal_handle);
}

int vfs_wal_open(sqlite3_vfs *below, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    struct wal_handle *handle = handle_of(base);
    *handle = (struct wal_handle){.below = calloc(1, (size_t)below->szOsFile)};
    if (handle->below == NULL)
        return SQLITE_NOMEM;
    int result = below->xOpen(below, name, handle->below, flags, ret_flags);
    if (result == SQLITE_OK) {
        base->pMethods = &wal_methods;
        return SQLITE_OK;
    }
    if (handle->below->pMethods != NULL)
        handle->below->pMethods->xClose(handle->below);
    free(handle->below);
    return result;
}
