/* wal/log_tidy.c: old files are made fewer, the oldest are removed.
 *
 * Compaction goes by size: eight or more files in a row below 512 KiB become one, and eight or more below 4 MiB. Each byte is
 * thus written again about once for each level, and files stop growing where a follower that needs only the end of one would
 * be sent much for little. Only synced files that have been there for a while are touched; files of two timelines never
 * become one.
 *
 * Removal: `marks` is synced with the new beginning, then the files go; whichever of them a crash brings back is before it. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "wal/log_internal.h"

enum {
    RUN_FILES_MIN = 8,
    RUN_FILES_MAX = 64,
    RUN_BYTES_MAX = 32 * 1024 * 1024,
    SETTLED_US = 10 * SQ_US_PER_S,
    STEPS_MAX = 8,       /* in one call */
    REMOVALS_MAX = 1024, /* in one turn */
};

static const uint64_t level_bytes[] = {512 * 1024, 4 * 1024 * 1024};
enum { LEVELS = sizeof(level_bytes) / sizeof(level_bytes[0]) };

static sq_status remove_files(const struct wal_log *log, const struct log_entry *entries, size_t count,
                              struct sq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char name[LOG_NAME_BYTES];
        log_file_name(entries[i].min_txid, entries[i].max_txid, name);
        if (unlinkat(log->dir_fd, name, 0) != 0 && errno != ENOENT)
            return sq_fail_errno(err, errno, "cannot remove '%s/%s'", log->path, name);
    }
    return SQ_OK;
}

/* --- removing ------------------------------------------------------------------------------------------------------- */

/* By the monotonic clock, if it came while the log was open: the other one may jump. */
static int64_t age_ms(const struct log_entry *entry, int64_t now_us, int64_t wall_ms)
{
    return entry->since_us != 0 ? (now_us - entry->since_us) / SQ_US_PER_MS : wall_ms - entry->timestamp_ms;
}

struct removal {
    uint64_t bytes_max;
    int64_t age_ms_max;
    ltx_txid keep_txid;
};

/* Takes the oldest files that are to go out of the list. Returns how many; *ret_begin is where the log begins then. */
static size_t find_old(struct wal_log *log, const struct removal *removal, struct log_entry *ret_entries,
                       ltx_txid *ret_begin)
{
    int64_t now_us = sq_clock_now_us(), wall_ms = sq_clock_wall_us() / SQ_US_PER_MS;
    size_t count = 0;
    (void)pthread_mutex_lock(&log->lock);
    uint64_t bytes = log->bytes;
    while (count < REMOVALS_MAX && count + 1 < log->files.count) {
        const struct log_entry *entry = log_list_at(&log->files, count);
        bool is_over = (removal->bytes_max > 0 && bytes > removal->bytes_max) ||
                       (removal->age_ms_max > 0 && age_ms(entry, now_us, wall_ms) > removal->age_ms_max);
        /* The file after it is on disk: else a crash could leave none at all, and nothing to say where the log ends. */
        bool is_needed = log_list_at(&log->files, count + 1)->max_txid > log->synced_txid;
        if (!is_over || is_needed || entry->max_txid > removal->keep_txid)
            break;
        bytes -= entry->bytes;
        *ret_begin = entry->max_txid;
        ret_entries[count++] = *entry;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return count;
}

static void take_out(struct wal_log *log, const struct log_entry *entries, size_t count, ltx_txid begin)
{
    (void)pthread_mutex_lock(&log->lock);
    log_list_drop_front(&log->files, count);
    for (size_t i = 0; i < count; i++)
        log->bytes -= entries[i].bytes;
    log->begin_txid = begin;
    (void)pthread_mutex_unlock(&log->lock);
}

static sq_status remove_old(struct wal_log *log, const struct removal *removal, struct log_entry *entries,
                            struct sq_error *err, bool *ret_is_more)
{
    ltx_txid begin = 0;
    size_t count = find_old(log, removal, entries, &begin);
    *ret_is_more = count == REMOVALS_MAX;
    if (count == 0)
        return SQ_OK;
    SQ_TRY(log_write_marks(log, begin, wal_log_synced(log), err));
    if (fdatasync(log->marks_fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync '%s/marks'", log->path);
    take_out(log, entries, count, begin);
    return remove_files(log, entries, count, err);
}

/* --- compacting ----------------------------------------------------------------------------------------------------- */

static bool is_settled(const struct wal_log *log, const struct log_entry *entry, int64_t now_us)
{
    return entry->max_txid <= log->synced_txid && entry->is_written && now_us - entry->since_us > SETTLED_US;
}

/* From `index` on, files that become one at this level. */
static size_t measure_run(const struct wal_log *log, size_t index, uint64_t limit_bytes, int64_t now_us)
{
    uint64_t bytes = 0;
    size_t count = 0;
    for (; index + count < log->files.count && count < RUN_FILES_MAX; count++) {
        const struct log_entry *entry = log_list_at(&log->files, index + count);
        bytes += entry->bytes;
        if (entry->bytes >= limit_bytes || bytes > RUN_BYTES_MAX || !is_settled(log, entry, now_us) ||
            entry->timeline != log_list_at(&log->files, index)->timeline)
            break;
    }
    return count;
}

/* Returns how many files of a run there are; 0: there is none. */
static size_t find_run(struct wal_log *log, struct log_entry ret_entries[RUN_FILES_MAX])
{
    int64_t now_us = sq_clock_now_us();
    size_t count = 0;
    (void)pthread_mutex_lock(&log->lock);
    for (size_t level = 0; level < LEVELS && count == 0; level++) {
        for (size_t index = 0; index < log->files.count && count == 0;) {
            size_t length = measure_run(log, index, level_bytes[level], now_us);
            for (; length >= RUN_FILES_MIN && count < length; count++)
                ret_entries[count] = *log_list_at(&log->files, index + count);
            index += length > 0 ? length : 1;
        }
    }
    (void)pthread_mutex_unlock(&log->lock);
    return count;
}

static sq_status compact_run(struct wal_log *log, struct log_entry *entries, struct sq_error *err, bool *ret_is_more)
{
    size_t count = find_run(log, entries);
    *ret_is_more = count > 0;
    if (count == 0)
        return SQ_OK;
    struct log_entry entry;
    struct ltx_header header;
    SQ_TRY(log_compact(log, entries, count, err, &entry, &header));
    log_replace(log, entries, count, &entry, &header, false);
    SQ_TRY(log_sync_directory(log, err));
    return remove_files(log, entries, count, err);
}

/* --- both ----------------------------------------------------------------------------------------------------------- */

sq_status wal_log_tidy(struct wal_log *log, uint64_t bytes_max, int64_t age_ms_max, ltx_txid keep_txid,
                       struct sq_error *err)
{
    _Static_assert((int)REMOVALS_MAX >= (int)RUN_FILES_MAX, "one list serves both");
    struct removal removal = {.bytes_max = bytes_max, .age_ms_max = age_ms_max, .keep_txid = keep_txid};
    struct log_entry *entries = calloc(REMOVALS_MAX, sizeof(*entries));
    if (entries == NULL)
        return sq_fail(err, SQ_NOMEM, "tidying of '%s'", log->path);
    sq_status status = SQ_OK;
    bool is_more = true, is_removing = true;
    /* Between two steps others may sync. */
    for (int step = 0; step < STEPS_MAX && status == SQ_OK && is_more; step++) {
        log_upkeep_begin(log);
        if (step == 0)
            status = log_drop_spares(log, err);
        if (status == SQ_OK && log->history.is_clearing)
            is_more = false;
        else if (status == SQ_OK && is_removing)
            status = remove_old(log, &removal, entries, err, &is_removing);
        else if (status == SQ_OK)
            status = compact_run(log, entries, err, &is_more);
        log_upkeep_end(log);
    }
    free(entries);
    return status;
}
