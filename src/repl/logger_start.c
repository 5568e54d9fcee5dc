/* repl/logger_start.c: how a log goes on after whatever has happened: where in the WAL its end is.
 *
 *     the log's end is …                                 known from              if it holds that
 *     in the file, which was closed by us                `place` (IN_FILE)       the file has its mark still: nobody has written to it, so all
 *                                                                                frames of the WAL, whose ever they are, came afterwards
 *     in the WAL                                         `place` (IN_WAL),       its salts are those of the WAL, which reaches as far
 *                                                        else the last header
 *     at the end of the WAL's last generation, which     the same                what is left of that one in the file says so (wal_file_follows())
 *     was begun anew just before a crash
 *     none of these                                                              a scan
 *
 * Only who has the database open now could write between the moment at which this is looked at and the log's first file; what the wal-index
 * counted when the database was opened, and counts now, tells whether everything is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/inject.h"
#include "base/log.h"
#include "repl/incarnation.h"
#include "repl/logger_internal.h"
#include "wal/checksum.h"
#include "wal/ltx.h"

enum { WAL_HEADER_BYTES = 32, WAL_FRAME_HEADER_BYTES = 24, REPLAY_BYTES = 64 * 1024 };

/* --- Checksums of the log's end --------------------------------------------------------------------------------------- */

static void sums_path(const struct repl_logger *logger, char path[PATH_MAX + 8])
{
    snprintf(path, PATH_MAX + 8, "%s/sums", logger->dir);
}

/* Files after `txid` are needed to read the checksums. */
static void note_saved(struct repl_logger *logger, ltx_txid txid)
{
    pthread_mutex_lock(&logger->host.mutex);
    logger->saved_txid = txid;
    logger->needs_save = false;
    pthread_mutex_unlock(&logger->host.mutex);
}

sq_status logger_save_sums(struct repl_logger *logger, struct sq_error *err)
{
    char path[PATH_MAX + 8];
    sums_path(logger, path);
    SQ_TRY(sq_inject_status("repl.log.before_sums", err));
    /* Entries are as of the log's end; those that are newer than what is synced are in files that are replayed. */
    ltx_txid txid = wal_log_synced(logger->host.log);
    SQ_TRY(page_sums_save(logger->sums, path, txid, wal_log_end(logger->host.log).timeline, err));
    logger->unsaved_bytes = 0;
    note_saved(logger, txid);
    return SQ_OK;
}

static sq_status replay_event(struct page_sums *sums, struct ltx_decoder *decoder, enum ltx_event event,
                              uint32_t page_number, const void *page, struct sq_error *err)
{
    const struct ltx_header *header = event == LTX_MORE ? NULL : ltx_decoder_header(decoder);
    if (event == LTX_HEADER && header->page_bytes != page_sums_page_bytes(sums))
        return sq_fail(err, SQ_CORRUPT, "the log has pages of %u bytes, its checksums are of %u", header->page_bytes,
                       page_sums_page_bytes(sums));
    if (event == LTX_PAGE)
        return page_sums_set(sums, page_number, wal_page_checksum(page_number, page, header->page_bytes), err);
    if (event == LTX_DONE)
        return page_sums_resize(sums, header->page_count, err);
    return SQ_OK;
}

static sq_status replay_bytes(struct page_sums *sums, struct ltx_decoder *decoder, const uint8_t *bytes, size_t length,
                              struct sq_error *err, bool *ret_is_done)
{
    while (!*ret_is_done) {
        enum ltx_event event = LTX_MORE;
        uint32_t page_number = 0;
        const void *page = NULL;
        SQ_TRY(ltx_decoder_feed(decoder, &bytes, &length, err, &event, &page_number, &page));
        if (event == LTX_MORE)
            return SQ_OK;
        SQ_TRY(replay_event(sums, decoder, event, page_number, page, err));
        *ret_is_done = event == LTX_DONE;
    }
    return SQ_OK;
}

static sq_status replay_file(struct page_sums *sums, struct wal_log_reader *reader, struct ltx_decoder *decoder,
                             void *buffer, struct sq_error *err)
{
    uint64_t offset = 0;
    bool is_done = false;
    while (!is_done) {
        size_t length = 0;
        SQ_TRY(wal_log_reader_read(reader, offset, buffer, REPLAY_BYTES, err, &length));
        if (length == 0)
            return sq_fail(err, SQ_CORRUPT, "a file of the log has become shorter");
        offset += length;
        SQ_TRY(replay_bytes(sums, decoder, buffer, length, err, &is_done));
    }
    return SQ_OK;
}

/* The file that has the transaction after *txid. */
static sq_status replay_next(struct repl_logger *logger, struct page_sums *sums, void *buffer, struct sq_error *err,
                             ltx_txid *txid)
{
    struct wal_log_reader *reader = NULL;
    struct ltx_decoder *decoder = NULL;
    SQ_TRY(wal_log_reader_open(logger->host.log, *txid, err, &reader));
    sq_status status = ltx_decoder_new(err, &decoder);
    if (status == SQ_OK)
        status = replay_file(sums, reader, decoder, buffer, err);
    if (status == SQ_OK)
        *txid = wal_log_reader_header(reader)->max_txid;
    ltx_decoder_free(decoder);
    wal_log_reader_close(reader);
    return status;
}

static sq_status replay(struct repl_logger *logger, struct page_sums *sums, ltx_txid txid,
                        const struct wal_position *end, struct sq_error *err)
{
    void *buffer = malloc(REPLAY_BYTES);
    if (buffer == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to read the log");
    sq_status status = SQ_OK;
    if (txid > end->txid)
        status = sq_fail(err, SQ_CORRUPT, "the checksums are newer than the log");
    while (txid < end->txid && status == SQ_OK) {
        status = logger_is_stopping(logger) ? sq_fail(err, SQ_CANCELED, "the database is closed")
                                            : replay_next(logger, sums, buffer, err, &txid);
    }
    free(buffer);
    SQ_TRY(status);
    if (page_sums_database(sums) != end->checksum)
        return sq_fail(err, SQ_CORRUPT, "the checksums of the pages are not those of the log");
    return SQ_OK;
}

/* logger->sums as of the log's end, or NULL: then they are made from the database. */
static sq_status load_sums(struct repl_logger *logger, struct sq_error *err)
{
    char path[PATH_MAX + 8];
    struct page_sums *sums = NULL;
    ltx_txid txid = 0;
    uint64_t timeline = 0;
    struct wal_position end = wal_log_end(logger->host.log);
    sums_path(logger, path);
    sq_status status = page_sums_open(path, err, &sums, &txid, &timeline);
    if (status == SQ_OK)
        note_saved(logger, txid);
    if (status == SQ_OK)
        status = replay(logger, sums, txid, &end, err);
    if (status == SQ_OK) {
        logger->sums = sums;
        return SQ_OK;
    }
    page_sums_free(sums);
    if (status != SQ_NOT_FOUND && status != SQ_CORRUPT)
        return status;
    sq_log(SQ_LOG_WARNING, "repl", "checksums of pages are not there", "db=%s txid=%llu reason=\"%s\"", logger->name,
           (unsigned long long)end.txid, err->text);
    return SQ_OK;
}

/* --- The place -------------------------------------------------------------------------------------------------------- */

sq_status logger_count_commits(struct repl_logger *logger, const struct wal_place *place, uint32_t from, uint32_t to,
                               struct sq_error *err, uint32_t *ret_count)
{
    uint32_t count = 0;
    for (uint32_t index = from; index < to; index++) {
        uint32_t page_number = 0;
        uint32_t commit = 0;
        SQ_TRY(wal_file_frame(logger->file, place, index, err, &page_number, &commit, NULL));
        count += commit != 0;
    }
    *ret_count = count;
    return SQ_OK;
}

/* Whether the frame before `place` is the last one that the log has taken: files may have been put back from somewhere. */
static sq_status check_last_frame(struct repl_logger *logger, const struct wal_place *place, struct sq_error *err)
{
    uint32_t page_number = 0;
    uint32_t commit = 0;
    if (place->frame_count == 0)
        return SQ_OK;
    void *page = malloc(logger->page_bytes);
    if (page == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a page");
    sq_status status = wal_file_frame(logger->file, place, place->frame_count - 1, err, &page_number, &commit, page);
    if (status == SQ_OK &&
        (commit != page_sums_page_count(logger->sums) ||
         wal_page_checksum(page_number, page, logger->page_bytes) != page_sums_get(logger->sums, page_number)))
        status = sq_fail(err, SQ_NOT_FOUND, "the write-ahead log is not the one that was logged");
    free(page);
    return status;
}

sq_status logger_adopt(struct repl_logger *logger, const struct wal_place *place, const struct engine_wal_state *seen,
                       struct sq_error *err, bool *ret_is_there)
{
    struct engine_wal_state now = engine_durability_state(logger->durability);
    uint32_t later = 0;
    *ret_is_there = false;
    if (logger_is_generation(&now, place)) {
        if (now.frame_count < place->frame_count)
            return SQ_OK;
        sq_status status = check_last_frame(logger, place, err);
        if (status == SQ_OK)
            status = logger_count_commits(logger, place, place->frame_count, now.frame_count, err, &later);
        if (status == SQ_NOT_FOUND || status == SQ_CORRUPT)
            return SQ_OK;
        SQ_TRY(status);
        logger->change_count = now.change_count - later;
    } else if (logger_is_generation(seen, place) && seen->frame_count == place->frame_count) {
        logger->change_count = seen->change_count; /* it has been begun anew since: cross() looks at that */
    } else {
        return SQ_OK;
    }
    logger->place = *place;
    logger->is_placed = true;
    *ret_is_there = true;
    return SQ_OK;
}

/* A place in the WAL, as it is or was. */
static sq_status adopt_in_wal(struct repl_logger *logger, const struct wal_place *place, struct sq_error *err,
                              bool *ret_is_there)
{
    bool follows = false;
    SQ_TRY(logger_adopt(logger, place, &logger->opened, err, ret_is_there));
    if (*ret_is_there)
        return SQ_OK;
    struct engine_wal_state now = engine_durability_state(logger->durability);
    SQ_TRY(wal_file_follows(logger->file, place, err, &follows));
    if (!follows)
        return SQ_OK;
    struct wal_place anew = {now.salt1, now.salt2, 0};
    return anew.salt1 == place->salt1 + 1 ? logger_adopt(logger, &anew, &now, err, ret_is_there) : SQ_OK;
}

static sq_status adopt_record(struct repl_logger *logger, const struct logger_record *record, struct sq_error *err,
                              bool *ret_is_there)
{
    if (record->kind == LOGGER_IN_WAL)
        return adopt_in_wal(logger, &record->place, err, ret_is_there);
    if (memcmp(&record->mark, &logger->opened_mark, sizeof(record->mark)) != 0)
        return SQ_OK;
    struct wal_place place = {logger->opened.salt1, logger->opened.salt2, 0};
    return logger_adopt(logger, &place, &logger->opened, err, ret_is_there);
}

static sq_status find_place(struct repl_logger *logger, struct sq_error *err, bool *ret_is_there)
{
    struct logger_record record;
    struct ltx_header last;
    struct wal_position end = wal_log_end(logger->host.log);
    *ret_is_there = false;
    sq_status status = logger_record_read(logger->dir, err, &record);
    if (status != SQ_OK && status != SQ_NOT_FOUND)
        return status;
    if (status == SQ_OK && record.txid == end.txid && record.checksum == end.checksum &&
        record.page_bytes == logger->page_bytes)
        SQ_TRY(adopt_record(logger, &record, err, ret_is_there));
    uint64_t frame_bytes = (uint64_t)logger->page_bytes + WAL_FRAME_HEADER_BYTES;
    if (*ret_is_there || !wal_log_last_header(logger->host.log, &last) || last.wal_offset < WAL_HEADER_BYTES ||
        last.page_bytes != logger->page_bytes ||
        (last.wal_offset + last.wal_bytes - WAL_HEADER_BYTES) % frame_bytes != 0)
        return SQ_OK;
    uint64_t frame_count = (last.wal_offset + last.wal_bytes - WAL_HEADER_BYTES) / frame_bytes;
    if (frame_count > UINT32_MAX)
        return SQ_OK;
    struct wal_place place = {last.wal_salt1, last.wal_salt2, (uint32_t)frame_count};
    return adopt_in_wal(logger, &place, err, ret_is_there);
}

sq_status logger_note_place(struct repl_logger *logger, struct sq_error *err)
{
    struct wal_position end = wal_log_end(logger->host.log);
    struct logger_record record = {.kind = LOGGER_IN_WAL,
                                   .page_bytes = logger->page_bytes,
                                   .txid = end.txid,
                                   .checksum = end.checksum,
                                   .place = logger->place};
    SQ_TRY(sq_inject_status("repl.log.before_place", err));
    return logger_record_write(logger->dir, &record, err);
}

/* --- Opening ---------------------------------------------------------------------------------------------------------- */

static sq_status open_files(struct repl_logger *logger, struct sq_error *err)
{
    if (logger->connection == NULL)
        SQ_TRY(engine_follower_connect(logger->durability, err, &logger->connection));
    if (logger->file == NULL)
        SQ_TRY(wal_file_new(logger->connection, err, &logger->file));
    if (logger->host.log != NULL)
        return SQ_OK;
    struct wal_log *log = NULL;
    uint64_t incarnation = 0;
    SQ_TRY(wal_log_open(logger->dir, err, &log));
    sq_status status = repl_incarnation_need(logger->dir, err, &incarnation);
    if (status != SQ_OK) {
        wal_log_close(log);
        return status;
    }
    pthread_mutex_lock(&logger->host.mutex);
    logger->host.log = log;
    logger->host.incarnation = incarnation;
    pthread_mutex_unlock(&logger->host.mutex);
    return SQ_OK;
}

static sq_status check_timeline(struct repl_logger *logger, struct sq_error *err)
{
    struct wal_position end = wal_log_end(logger->host.log);
    if (end.txid == 0 || end.timeline == logger->timeline)
        return SQ_OK;
    if (end.timeline > logger->timeline)
        return sq_fail(err, SQ_INVALID, "the log is of timeline %llu, the server of %llu",
                       (unsigned long long)end.timeline, (unsigned long long)logger->timeline);
    return wal_log_begin_timeline(logger->host.log, logger->timeline, err);
}

sq_status logger_begin(struct repl_logger *logger, struct sq_error *err)
{
    struct wal_place now;
    uint32_t page_count = 0;
    bool is_there = false;
    SQ_TRY(sq_inject_status("repl.log.begin", err));
    SQ_TRY(open_files(logger, err));
    SQ_TRY(check_timeline(logger, err));
    SQ_TRY(wal_file_end(logger->file, err, &now, &logger->page_bytes, &page_count));
    if (logger->sums == NULL && wal_log_end(logger->host.log).txid != 0)
        SQ_TRY(load_sums(logger, err));
    if (logger->sums != NULL && page_sums_page_bytes(logger->sums) == logger->page_bytes)
        SQ_TRY(find_place(logger, err, &is_there));
    if (!is_there)
        return logger_scan(logger, err);
    pthread_mutex_lock(&logger->host.mutex);
    logger->host.page_bytes = logger->page_bytes;
    pthread_mutex_unlock(&logger->host.mutex);
    struct engine_wal_state state = engine_durability_state(logger->durability);
    bool is_now = logger_is_generation(&state, &logger->place); /* else the first file tells */
    logger_advance(logger, is_now ? logger_position_at(&state, logger->place.frame_count) : 0);
    struct wal_position end = wal_log_end(logger->host.log);
    sq_log(SQ_LOG_INFO, "repl", "log goes on", "db=%s timeline=%llu txid=%llu", logger->name,
           (unsigned long long)end.timeline, (unsigned long long)end.txid);
    return SQ_OK;
}
