/* wal/log_begin.c: a log begins anew; a timeline begins.
 *
 * Beginning anew is one step for whoever opens the log after a crash: the new history, with the word that files which are
 * there are older, is put in the old one's place; then the files are removed; then the word is taken back, before anything is
 * appended. */
#include <inttypes.h>

#include "base/random.h"
#include "wal/checksum.h"
#include "wal/log_internal.h"

static void history_done(struct wal_history *history)
{
    wal_history_done(history);
}

/* What is known of timelines stays true on the timeline that the log is on. On another one, nothing is known of how it was
 * left. */
static sq_status make_history(const struct wal_log *log, const struct wal_position *position, struct sq_error *err,
                              struct wal_history *ret_history)
{
    struct wal_history history;
    SQ_TRY(wal_history_copy(&log->history, err, &history));
    do
        sq_random_fill(&history.generation, sizeof(history.generation));
    while (history.generation == log->history.generation);
    history.base_txid = position->txid;
    history.base_checksum = position->checksum;
    history.is_clearing = true;
    const struct wal_history_timeline *last = history.count > 0 ? &history.timelines[history.count - 1] : NULL;
    sq_status status = SQ_OK;
    if (last == NULL || last->timeline != position->timeline || last->after_txid > position->txid) {
        history.count = 0;
        if (position->timeline != 0)
            status = wal_history_add(&history, position->timeline, position->txid, err);
    }
    if (status != SQ_OK)
        wal_history_done(&history);
    else
        *ret_history = history;
    return status;
}

/* `history` is on disk. */
static void begin_anew(struct wal_log *log, struct wal_history *history)
{
    log_tail_end(log);
    (void)pthread_mutex_lock(&log->lock);
    sq_assert(!log->is_appending);
    struct wal_history before = log->history;
    log->history = *history;
    *history = before;
    log->is_history_unsure = false;
    log_list_drop_front(&log->files, log->files.count);
    log_list_drop_front(&log->spares, log->spares.count);
    log->bytes = 0;
    log->begin_txid = log->history.base_txid;
    log->synced_txid = log->history.base_txid;
    log_wake(log);
    (void)pthread_mutex_unlock(&log->lock);
}

/* The file may be this one or the one before: it is written again before anything is said to be synced. */
static void history_is_unsure(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    log->is_history_unsure = true;
    (void)pthread_mutex_unlock(&log->lock);
}

static sq_status restart(struct wal_log *log, const struct wal_position *position, struct sq_error *err)
{
    SQ_CLEANUP(history_done) struct wal_history history = {0};
    SQ_TRY(make_history(log, position, err, &history));
    sq_status status = wal_history_save(log->dir_fd, &history, err);
    if (status != SQ_OK) {
        history_is_unsure(log);
        return status;
    }
    begin_anew(log, &history);
    return log_finish_clearing(log, err);
}

sq_status wal_log_restart(struct wal_log *log, const struct wal_position *position, struct sq_error *err)
{
    /* The file after transaction 0 is a snapshot, which goes on from nothing. */
    bool is_empty = position->checksum == 0 || position->checksum == WAL_CHECKSUM_FLAG;
    bool has_flag = (position->checksum & WAL_CHECKSUM_FLAG) != 0;
    if (position->txid >= LTX_TXID_MAX || (position->txid == 0 ? !is_empty : !has_flag))
        return sq_fail(err, SQ_INVALID, "a log cannot begin after transaction %" PRIu64 " with checksum %016" PRIx64,
                       position->txid, position->checksum);
    log_upkeep_begin(log);
    sq_status status = restart(log, position, err);
    log_upkeep_end(log);
    return status;
}

static sq_status begin_timeline(struct wal_log *log, uint64_t timeline, struct sq_error *err)
{
    SQ_CLEANUP(history_done) struct wal_history history = {0};
    SQ_TRY(wal_history_copy(&log->history, err, &history));
    ltx_txid end = wal_log_end(log).txid;
    SQ_TRY(wal_history_add(&history, timeline, end, err));
    /* What the timeline before ends with must not be lost any more. */
    SQ_TRY(log_sync(log, err));
    sq_status status = wal_history_save(log->dir_fd, &history, err);
    if (status != SQ_OK) {
        history_is_unsure(log);
        return status;
    }
    (void)pthread_mutex_lock(&log->lock);
    sq_assert(log_end(log).txid == end);
    struct wal_history before = log->history;
    log->history = history;
    history = before;
    log_wake(log);
    (void)pthread_mutex_unlock(&log->lock);
    return SQ_OK;
}

sq_status wal_log_begin_timeline(struct wal_log *log, uint64_t timeline, struct sq_error *err)
{
    log_upkeep_begin(log);
    sq_status status = begin_timeline(log, timeline, err);
    log_upkeep_end(log);
    return status;
}
