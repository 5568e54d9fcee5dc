/* wal/wal_follows.c: whether a WAL that was begun anew goes on from where somebody was.
 *
 * A new generation is written over the old one from the front, so for a while the old one's end is still there:
 *
 *     before   [ frames of the old generation, `place` ──────────────────── ][ still older ones, or the end of the file ]
 *     now      [ frames of the present one ──── ] … [ the old one's last ]   ▲ not of the old generation: it ended there
 *
 * Frames that are here and have not been committed (of a transaction that was rolled back) look as if the old one had gone on: then it
 * cannot be told. */
#include "wal/wal_internal.h"

/* *ret_is_its: the frame's header has the salts of `place`. *ret_commit: the database's size, if it commits. */
static sq_status look_at(struct wal_file *file, const struct wal_place *place, uint32_t index, uint32_t page_bytes,
                         struct sq_error *err, bool *ret_is_its, uint32_t *ret_commit)
{
    uint8_t bytes[WAL_FRAME_HEADER_BYTES];
    int64_t offset = wal_frame_offset(index, page_bytes);
    sqlite3_int64 length = 0;
    *ret_is_its = false;
    int result = file->wal->pMethods->xFileSize(file->wal, &length);
    if (result == SQLITE_OK && length < offset + (int64_t)page_bytes + WAL_FRAME_HEADER_BYTES)
        return SQ_OK;
    if (result == SQLITE_OK)
        result = file->wal->pMethods->xRead(file->wal, bytes, sizeof(bytes), offset);
    if (result == SQLITE_IOERR_SHORT_READ)
        return SQ_OK;
    if (result != SQLITE_OK)
        return wal_fail(err, result, "read the write-ahead log");
    *ret_is_its = wal_get_u32(&bytes[8]) == place->salt1 && wal_get_u32(&bytes[12]) == place->salt2;
    *ret_commit = wal_get_u32(&bytes[4]);
    return SQ_OK;
}

sq_status wal_file_follows(struct wal_file *file, const struct wal_place *place, struct sq_error *err,
                           bool *ret_follows)
{
    struct wal_index_header header;
    SQ_TRY(wal_index_read_or_recover(file, err, &header));
    struct wal_place now = wal_place_of(&header);
    uint32_t page_bytes = wal_page_bytes_of(header.page_bytes_code);
    bool is_last_its = false;
    bool is_more_its = false;
    uint32_t last_commit = 0;
    uint32_t more_commit = 0;
    *ret_follows = false;
    if (now.salt1 != place->salt1 + 1 || page_bytes == 0 || place->frame_count == 0 ||
        now.frame_count >= place->frame_count)
        return SQ_OK;
    SQ_TRY(look_at(file, place, place->frame_count - 1, page_bytes, err, &is_last_its, &last_commit));
    SQ_TRY(look_at(file, place, place->frame_count, page_bytes, err, &is_more_its, &more_commit));
    *ret_follows = is_last_its && last_commit != 0 && !is_more_its && wal_index_is_generation(file, &now);
    return SQ_OK;
}
