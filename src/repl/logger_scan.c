/* repl/logger_scan.c: the whole database is read, as of a snapshot, while others write.
 *
 *     the checksums of the log's end are known:   pages that differ ──► one file, transaction end + 1; none differs: nothing
 *     they are not, and the database's is the log's:  nothing; the checksums are known now
 *     otherwise                                       the log begins anew at end + 1
 *
 * So a log begins, and so it goes on after something has changed the database that it does not know of: other processes, a file
 * that was replaced, a crash that has left a gap. The transactions that are in between are one. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "repl/logger_internal.h"
#include "wal/checksum.h"
#include "wal/ltx.h"

enum { TRIES_MAX = 100, STOP_EVERY_PAGES = 256 };

struct scan {
    struct repl_logger *logger;
    struct wal_snapshot *snapshot;
    struct wal_place place;
    struct engine_wal_state state; /* in the place's generation */
    uint32_t change_count;         /* at the place */
    uint32_t page_bytes;
    uint32_t page_count;
    struct wal_position end;
    void *page;
    struct page_sums *sums; /* of the database, if they were not known; else as they were */
    /* What differs: */
    struct wal_log_file *file;
    struct ltx_encoder *encoder;
    struct ltx_header header;
    uint64_t checksum;
};

static void scan_done(struct scan *scan)
{
    ltx_encoder_free(scan->encoder);
    wal_log_file_abort(scan->file);
    page_sums_free(scan->sums);
    wal_snapshot_end(scan->snapshot);
    free(scan->page);
}

/* A snapshot of which the wal-index's count of changes is known. SQ_NOT_FOUND: the WAL has been begun anew; again. */
static sq_status try_begin(struct scan *scan, struct sq_error *err)
{
    struct repl_logger *logger = scan->logger;
    uint32_t later = 0;
    SQ_TRY(wal_snapshot_begin(logger->file, err, &scan->snapshot));
    scan->place = wal_snapshot_place(scan->snapshot);
    scan->page_count = wal_snapshot_page_count(scan->snapshot);
    scan->state = engine_durability_state(logger->durability);
    if (!logger_is_generation(&scan->state, &scan->place) || scan->state.frame_count < scan->place.frame_count)
        return sq_fail(err, SQ_NOT_FOUND, "the write-ahead log has been begun anew");
    SQ_TRY(logger_count_commits(logger, &scan->place, scan->place.frame_count, scan->state.frame_count, err, &later));
    scan->change_count = scan->state.change_count - later;
    return SQ_OK;
}

static sq_status begin(struct scan *scan, struct sq_error *err)
{
    struct wal_place now;
    uint32_t page_count = 0;
    SQ_TRY(wal_file_end(scan->logger->file, err, &now, &scan->page_bytes, &page_count));
    sq_status status = SQ_NOT_FOUND;
    for (int try_count = 0; status == SQ_NOT_FOUND && try_count < TRIES_MAX; try_count++) {
        wal_snapshot_end(scan->snapshot);
        scan->snapshot = NULL;
        status = try_begin(scan, err);
    }
    SQ_TRY(status);
    scan->page = malloc(scan->page_bytes);
    if (scan->page == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a page");
    /* Nothing that a crash could take back. */
    return engine_follower_sync(scan->logger->durability, logger_position_at(&scan->state, scan->place.frame_count),
                                err);
}

static sq_status read_page(struct scan *scan, uint32_t page_number, struct sq_error *err, uint64_t *ret_checksum)
{
    if (page_number % STOP_EVERY_PAGES == 0 && logger_is_stopping(scan->logger))
        return sq_fail(err, SQ_CANCELED, "the database is closed");
    SQ_TRY(wal_snapshot_page(scan->snapshot, page_number, scan->page, err));
    *ret_checksum = wal_page_checksum(page_number, scan->page, scan->page_bytes);
    return SQ_OK;
}

/* --- Against known checksums ----------------------------------------------------------------------------------------- */

static sq_status begin_file(struct scan *scan, struct sq_error *err)
{
    if (scan->encoder != NULL)
        return SQ_OK;
    scan->checksum = scan->end.checksum;
    scan->header = (struct ltx_header){.page_bytes = scan->page_bytes,
                                       .page_count = scan->page_count,
                                       .min_txid = scan->end.txid + 1,
                                       .max_txid = scan->end.txid + 1,
                                       .timestamp_ms = sq_clock_wall_us() / SQ_US_PER_MS,
                                       .pre_checksum = scan->end.checksum,
                                       .node_id = scan->end.timeline};
    SQ_TRY(wal_log_file_new(scan->logger->host.log, err, &scan->file));
    return ltx_encoder_new(wal_log_file_output(scan->file), &scan->header, err, &scan->encoder);
}

static sq_status compare_pages(struct scan *scan, struct page_sums *sums, struct sq_error *err)
{
    uint32_t lock_page = wal_lock_page(scan->page_bytes);
    for (uint32_t i = 0; i < scan->page_count; i++) {
        uint64_t checksum = 0;
        uint32_t page_number = i + 1;
        if (page_number == lock_page)
            continue;
        SQ_TRY(read_page(scan, page_number, err, &checksum));
        uint64_t before = page_sums_get(sums, page_number);
        if (checksum == before)
            continue;
        SQ_TRY(begin_file(scan, err));
        SQ_TRY(ltx_encoder_page(scan->encoder, page_number, scan->page, err));
        scan->checksum = wal_checksum_exchange(scan->checksum, before, checksum);
        SQ_TRY(page_sums_set(sums, page_number, checksum, err));
    }
    if (page_sums_page_count(sums) == scan->page_count)
        return SQ_OK;
    SQ_TRY(begin_file(scan, err));
    for (uint32_t gone = scan->page_count; gone < page_sums_page_count(sums); gone++)
        scan->checksum = wal_checksum_exchange(scan->checksum, page_sums_get(sums, gone + 1), 0);
    return page_sums_resize(sums, scan->page_count, err);
}

static sq_status log_differences(struct scan *scan, struct page_sums *sums, struct sq_error *err)
{
    struct ltx_trailer trailer;
    uint64_t bytes = 0;
    SQ_TRY(compare_pages(scan, sums, err));
    if (scan->encoder == NULL)
        return SQ_OK;
    sq_assert(scan->checksum == page_sums_database(sums));
    SQ_TRY(ltx_encoder_finish(scan->encoder, scan->checksum, err, &trailer, &bytes));
    SQ_TRY(sq_inject_status("repl.log.before_commit", err));
    scan->logger->unsaved_bytes += bytes;
    sq_log(SQ_LOG_WARNING, "repl", "database was changed behind its log", "db=%s txid=%llu bytes=%llu",
           scan->logger->name, (unsigned long long)scan->header.max_txid, (unsigned long long)bytes);
    return wal_log_file_commit(SQ_STEAL(scan->file), &scan->header, &trailer, err);
}

/* --- Without ---------------------------------------------------------------------------------------------------------- */

static sq_status add_up(struct scan *scan, struct sq_error *err)
{
    uint32_t lock_page = wal_lock_page(scan->page_bytes);
    SQ_TRY(page_sums_new(scan->page_bytes, err, &scan->sums));
    SQ_TRY(page_sums_resize(scan->sums, scan->page_count, err));
    for (uint32_t i = 0; i < scan->page_count; i++) {
        uint64_t checksum = 0;
        if (i + 1 == lock_page)
            continue;
        SQ_TRY(read_page(scan, i + 1, err, &checksum));
        SQ_TRY(page_sums_set(scan->sums, i + 1, checksum, err));
    }
    return SQ_OK;
}

static bool is_logs(const struct scan *scan, const struct page_sums *sums, bool is_forced)
{
    struct ltx_header last;
    bool is_same_size = !wal_log_last_header(scan->logger->host.log, &last) || last.page_bytes == scan->page_bytes;
    return !is_forced && is_same_size && scan->end.txid >= LOGGER_FIRST_TXID &&
           scan->end.checksum == page_sums_database(sums);
}

static sq_status begin_log(struct scan *scan, bool is_forced, struct sq_error *err)
{
    struct repl_logger *logger = scan->logger;
    SQ_TRY(add_up(scan, err));
    logger->sums = SQ_STEAL(scan->sums);
    if (is_logs(scan, logger->sums, is_forced))
        return SQ_OK;
    struct wal_position position = {.timeline = logger->timeline,
                                    .txid =
                                        scan->end.txid + 1 > LOGGER_FIRST_TXID ? scan->end.txid + 1 : LOGGER_FIRST_TXID,
                                    .checksum = page_sums_database(logger->sums)};
    SQ_TRY(sq_inject_status("repl.log.before_restart", err));
    SQ_TRY(wal_log_restart(logger->host.log, &position, err));
    sq_log(SQ_LOG_INFO, "repl", "log begins", "db=%s timeline=%llu txid=%llu pages=%u", logger->name,
           (unsigned long long)position.timeline, (unsigned long long)position.txid, scan->page_count);
    return SQ_OK;
}

/* --- Both ------------------------------------------------------------------------------------------------------------- */

static sq_status compare(struct scan *scan, bool is_forced, struct sq_error *err)
{
    struct repl_logger *logger = scan->logger;
    if (is_forced || (logger->sums != NULL && page_sums_page_bytes(logger->sums) != scan->page_bytes)) {
        page_sums_free(logger->sums);
        logger->sums = NULL;
    }
    if (logger->sums == NULL)
        return begin_log(scan, is_forced, err);
    /* They are changed as pages are found; if the file does not get into the log, they are what they were. */
    SQ_TRY(page_sums_copy(logger->sums, err, &scan->sums));
    sq_status status = log_differences(scan, logger->sums, err);
    if (status != SQ_OK) {
        page_sums_free(logger->sums);
        logger->sums = SQ_STEAL(scan->sums);
    }
    return status;
}

/* The page size may be another one: what was kept for frames goes. */
static void settle(struct scan *scan)
{
    struct repl_logger *logger = scan->logger;
    free(logger->pages);
    logger->pages = NULL;
    logger->place = scan->place;
    logger->change_count = scan->change_count;
    logger->is_placed = true;
    pthread_mutex_lock(&logger->host.mutex);
    logger->page_bytes = scan->page_bytes;
    logger->host.page_bytes = scan->page_bytes;
    logger->is_mistrusted = false;
    logger->is_restarting = false;
    pthread_mutex_unlock(&logger->host.mutex);
}

sq_status logger_scan(struct repl_logger *logger, struct sq_error *err)
{
    SQ_CLEANUP(scan_done) struct scan scan = {.logger = logger, .end = wal_log_end(logger->host.log)};
    int64_t begun_us = sq_clock_now_us();
    pthread_mutex_lock(&logger->host.mutex);
    bool is_forced = logger->is_restarting;
    logger->scan_count++;
    pthread_mutex_unlock(&logger->host.mutex);
    logger->is_placed = false;
    SQ_TRY(begin(&scan, err));
    SQ_TRY(compare(&scan, is_forced, err));
    settle(&scan);
    SQ_TRY(logger_note_place(logger, err));
    SQ_TRY(logger_save_sums(logger, err));
    logger_advance(logger, logger_position_at(&scan.state, scan.place.frame_count));
    sq_log(SQ_LOG_INFO, "repl", "database was read for its log", "db=%s pages=%u duration_ms=%lld", logger->name,
           scan.page_count, (long long)((sq_clock_now_us() - begun_us) / SQ_US_PER_MS));
    return SQ_OK;
}
