/* repl/replica_open.c: where a database of a replica is, after whatever has happened to it.
 *
 *     the WAL's end, or the file without a WAL, is in `applied` ─► its position
 *         checksums of pages (file `sums`, and the log's files after it) lead to that position's ─► READY
 *     otherwise all pages are read: their checksum is that
 *         of a position in `applied`, or of the log's end ─► its position: READY
 *         of none ─► HEAL
 *
 * Then the log: what it has after the position is applied; a log that the position is not in begins anew there. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "repl/ltx_pages.h"
#include "repl/incarnation.h"
#include "repl/replica_internal.h"
#include "wal/checksum.h"

/* --- The place ---------------------------------------------------------------------------------------------------- */

static sq_status make_directory(const char *path, struct sq_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return SQ_OK;
    return sq_fail_errno(err, errno, "cannot make '%s'", path);
}

sq_status replica_find_place(struct repl_replica *replica, const char *path, struct sq_error *err)
{
    struct engine_file_mark mark;
    SQ_TRY(engine_file_mark_read(path, err, &mark));
    SQ_TRY(make_directory(replica->dir, err));
    SQ_TRY(applied_open(replica->dir, err, &replica->records));
    SQ_TRY(engine_follower_connect(replica->durability, err, &replica->connection));
    SQ_TRY(wal_file_new(replica->connection, err, &replica->file));
    SQ_TRY(wal_file_state(replica->file, err, &replica->last));
    const struct wal_place *place = &replica->last.place;
    bool is_known = (place->frame_count == 0 && applied_find_mark(replica->records, &mark, &replica->known)) ||
                    ((place->salt1 != 0 || place->salt2 != 0) &&
                     applied_find(replica->records, place, replica->last.sum, &replica->known));
    replica->is_known = replica->is_received = is_known;
    return SQ_OK;
}

bool replica_is_unchanged(const struct repl_replica *replica, const struct wal_state *state)
{
    const struct wal_state *last = &replica->last;
    /* Begun anew: the count goes on. It is lost with a recovery, after which it could come to the same number by chance only
     * within the same generation. */
    if (state->place.salt1 != last->place.salt1 || state->place.salt2 != last->place.salt2)
        return state->change_count == last->change_count;
    return state->place.frame_count == last->place.frame_count && state->sum == last->sum;
}

void replica_mistrust(struct repl_replica *replica, const char *why)
{
    struct sq_error reason;
    wal_snapshot_end(replica->scan);
    replica->scan = NULL;
    replica->is_known = replica->is_received = false;
    sq_fail(&reason, SQ_CORRUPT, "%s", why);
    replica_lock(replica);
    struct page_sums *sums = replica->sums;
    replica->sums = NULL;
    replica->applied = replica->durable = (struct wal_position){0};
    replica->healing = replica->healing == REPLICA_HEALING_WAITS ? REPLICA_NOT_HEALING : replica->healing;
    replica->is_frozen = false;
    replica->is_mistrusted = false;
    sq_log(SQ_LOG_WARNING, "repl", "a replica's database is read as a whole", "db=%s reason=\"%s\"", replica->name,
           why);
    replica->reason = reason;
    replica_set_state(replica, REPLICA_SCANNING);
    replica_unlock(replica);
    page_sums_free(sums);
}

void replica_look_for_others(struct repl_replica *replica)
{
    struct wal_state state;
    struct sq_error err;
    replica_lock(replica);
    bool is_open = replica->database != NULL && (replica->state == REPLICA_READY || replica->state == REPLICA_HEAL) &&
                   replica->healing == REPLICA_NOT_HEALING && !replica->is_frozen;
    replica_unlock(replica);
    if (!is_open)
        return;
    if (wal_file_state(replica->file, &err, &state) == SQ_OK && !replica_is_unchanged(replica, &state)) {
        replica_mistrust(replica, "another process has written to it");
        repl_job_post(&replica->work);
        return;
    }
    repl_job_post_at(&replica->work, sq_clock_now_us() + REPLICA_LOOK_US);
}

/* --- Checksums of pages ------------------------------------------------------------------------------------------- */

static sq_status replay_file(struct page_sums *sums, struct ltx_pages *pages, struct sq_error *err)
{
    const struct ltx_header *header = ltx_pages_header(pages);
    uint32_t page_number = 0;
    const void *page = NULL;
    if (header->page_bytes != page_sums_page_bytes(sums))
        return sq_fail(err, SQ_CORRUPT, "a file of the log has pages of %u bytes", header->page_bytes);
    for (;;) {
        SQ_TRY(ltx_pages_next(pages, err, &page_number, &page));
        if (page_number == 0)
            return page_sums_resize(sums, header->page_count, err);
        SQ_TRY(page_sums_set(sums, page_number, wal_page_checksum(page_number, page, header->page_bytes), err));
    }
}

/* The log's files after `txid`, up to `end`. */
static sq_status replay(struct repl_replica *replica, struct page_sums *sums, ltx_txid txid, ltx_txid end,
                        struct sq_error *err)
{
    while (txid < end) {
        struct wal_log_reader *reader = NULL;
        struct ltx_pages *pages = NULL;
        SQ_TRY(wal_log_reader_open(replica->host.log, txid, err, &reader));
        SQ_TRY(ltx_pages_of_log(reader, err, &pages));
        txid = ltx_pages_header(pages)->max_txid;
        sq_status status = txid <= end ? replay_file(sums, pages, err)
                                       : sq_fail(err, SQ_NOT_FOUND, "the log has no file that ends there");
        ltx_pages_close(pages);
        SQ_TRY(status);
    }
    return SQ_OK;
}

/* As of the known position. Any failure: they are made from the database. */
static sq_status load_sums(struct repl_replica *replica, struct sq_error *err)
{
    char path[PATH_MAX + 8];
    struct page_sums *sums = NULL;
    ltx_txid txid = 0;
    uint64_t timeline = 0;
    snprintf(path, sizeof(path), "%s/sums", replica->dir);
    SQ_TRY(page_sums_open(path, err, &sums, &txid, &timeline));
    sq_status status = SQ_OK;
    if (page_sums_page_bytes(sums) != replica->last.page_bytes || txid > replica->known.txid)
        status = sq_fail(err, SQ_CORRUPT, "the checksums of pages are as of another time");
    if (status == SQ_OK)
        status = replay(replica, sums, txid, replica->known.txid, err);
    if (status == SQ_OK &&
        (page_sums_database(sums) != replica->known.checksum || page_sums_page_count(sums) != replica->last.page_count))
        status = sq_fail(err, SQ_CORRUPT, "the checksums of pages are not those of the position");
    if (status != SQ_OK) {
        page_sums_free(sums);
        return status;
    }
    replica_lock(replica);
    replica->sums = sums;
    replica->saved_txid = txid;
    replica_unlock(replica);
    return SQ_OK;
}

/* --- The log ------------------------------------------------------------------------------------------------------ */

/* Whether the log goes on after the known position, or ends with it. */
static bool is_in_log(struct repl_replica *replica)
{
    const struct wal_position *known = &replica->known;
    struct wal_position end = wal_log_end(replica->host.log);
    struct wal_log_reader *reader = NULL;
    struct sq_error err;
    ltx_txid timeline_end = 0;
    if (end.txid == known->txid)
        return end.checksum == known->checksum && end.timeline >= known->timeline;
    if (end.txid < known->txid || wal_log_reader_open(replica->host.log, known->txid, &err, &reader) != SQ_OK)
        return false;
    struct ltx_header header = *wal_log_reader_header(reader);
    wal_log_reader_close(reader);
    return (header.min_txid <= known->txid || header.pre_checksum == known->checksum) &&
           wal_log_timeline_end(replica->host.log, known->timeline, &timeline_end) && timeline_end >= known->txid;
}

static sq_status fit_log(struct repl_replica *replica, struct sq_error *err)
{
    replica_lock(replica);
    bool is_damaged = replica->is_log_damaged;
    replica_unlock(replica);
    if (!is_damaged && is_in_log(replica))
        return SQ_OK;
    sq_log(SQ_LOG_WARNING, "repl", "a replica's log begins anew", "db=%s timeline=%" PRIu64 " txid=%" PRIu64,
           replica->name, replica->known.timeline, replica->known.txid);
    SQ_TRY(wal_log_restart(replica->host.log, &replica->known, err));
    replica_lock(replica);
    replica->is_log_damaged = false;
    replica_unlock(replica);
    return SQ_OK;
}

static sq_status become_ready(struct repl_replica *replica, struct sq_error *err)
{
    SQ_TRY(fit_log(replica, err));
    replica_lock(replica);
    replica_set_applied(replica, &replica->known);
    if (replica->durability != NULL)
        replica->applied_at = engine_durability_published(replica->durability);
    replica->written = wal_log_end(replica->host.log);
    replica->next_timeline = 0;
    replica_set_state(replica, REPLICA_READY);
    replica_unlock(replica);
    sq_log(SQ_LOG_INFO, "repl", "a replica's database is ready",
           "db=%s timeline=%" PRIu64 " txid=%" PRIu64 " written=%" PRIu64, replica->name, replica->known.timeline,
           replica->known.txid, replica->written.txid);
    repl_job_post(&replica->sync);
    return SQ_OK;
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static sq_status open_log(struct repl_replica *replica, struct sq_error *err)
{
    struct wal_log *log = NULL;
    if (replica->host.log != NULL)
        return SQ_OK;
    uint64_t incarnation = 0;
    SQ_TRY(wal_log_open(replica->dir, err, &log));
    sq_status status = repl_incarnation_read(replica->dir, err, &incarnation);
    if (status != SQ_OK) {
        wal_log_close(log);
        return status;
    }
    replica_lock(replica);
    replica->host.log = log;
    replica->host.incarnation = incarnation;
    replica->saved_incarnation = incarnation;
    replica_unlock(replica);
    return SQ_OK;
}

/* There is no database of this name: it begins with the first transaction, or with all of the primary's pages. */
static sq_status open_nothing(struct repl_replica *replica, struct sq_error *err)
{
    static const struct wal_position nothing = {.checksum = WAL_CHECKSUM_FLAG};
    SQ_TRY(open_log(replica, err));
    bootstrap_close(SQ_STEAL(replica->bootstrap));
    struct wal_position end = wal_log_end(replica->host.log);
    if (end.txid != 0)
        SQ_TRY(wal_log_restart(replica->host.log, &nothing, err));
    replica->is_known = replica->is_received = true;
    replica->known = nothing;
    replica->known.timeline = wal_log_end(replica->host.log).timeline;
    bool has_part = bootstrap_is_there(replica->dir);
    replica_lock(replica);
    replica->page_bytes = 0;
    replica->applied = replica->durable = replica->known;
    replica->written = replica->known;
    if (has_part) {
        sq_fail(&replica->reason, SQ_NOT_FOUND, "'%s' has come in part", replica->name);
        replica_set_state(replica, REPLICA_HEAL);
    } else {
        replica_set_state(replica, REPLICA_READY);
    }
    replica_unlock(replica);
    return SQ_OK;
}

static sq_status open_database(struct repl_replica *replica, struct sq_error *err)
{
    struct engine_database *database = NULL;
    if (replica->database != NULL)
        return SQ_OK;
    SQ_TRY(engine_database_open(replica->replicas->config.registry, replica->name, err, &database));
    sq_status status = engine_database_start(database, err);
    if (status == SQ_OK && engine_durability_follower(engine_database_durability(database)) != &replica->follower)
        status = sq_fail(err, SQ_BUSY, "'%s' is followed by another", replica->name);
    if (status == SQ_OK)
        status =
            sched_writer_new(replica->replicas->config.sched, database, &replica->slot_waker, err, &replica->writer);
    if (status != SQ_OK) {
        engine_database_unref(database);
        return status;
    }
    pthread_mutex_lock(&replica->database_mutex);
    replica->database = database;
    pthread_mutex_unlock(&replica->database_mutex);
    return SQ_OK;
}

static sq_status begin_scan(struct repl_replica *replica, struct sq_error *err)
{
    struct wal_state state;
    wal_snapshot_end(replica->scan);
    replica->scan = NULL;
    SQ_TRY(wal_snapshot_begin(replica->file, err, &replica->scan));
    /* What is written after the snapshot is noticed when the state is compared the next time. */
    struct wal_place place = wal_snapshot_place(replica->scan);
    SQ_TRY(wal_file_state(replica->file, err, &state));
    if (memcmp(&place, &state.place, sizeof(place)) != 0)
        return sq_fail(err, SQ_BUSY, "'%s' is being written to by another process", replica->name);
    struct page_sums *sums = NULL;
    SQ_TRY(page_sums_new(state.page_bytes, err, &sums));
    replica->last = state;
    replica->scan_next = 1;
    replica_lock(replica);
    page_sums_free(replica->sums);
    replica->sums = sums;
    replica->saved_txid = 0;
    replica->facts.scan_count++;
    replica_set_state(replica, REPLICA_SCANNING);
    replica_unlock(replica);
    return SQ_OK;
}

sq_status replica_open(struct repl_replica *replica, struct sq_error *err)
{
    struct sq_error reason;
    SQ_TRY(sq_inject_status("repl.replica.open", err));
    if (!engine_database_exists(replica->replicas->config.registry, replica->name)) {
        SQ_TRY(make_directory(replica->dir, err));
        return open_nothing(replica, err);
    }
    SQ_TRY(open_database(replica, err));
    SQ_TRY(engine_durability_check(replica->durability, err));
    SQ_TRY(open_log(replica, err));
    replica_lock(replica);
    replica->page_bytes = replica->host.page_bytes = replica->last.page_bytes;
    replica_unlock(replica);
    SQ_TRY(bootstrap_remove(replica->dir, err));
    if (replica->is_known && replica->sums == NULL && load_sums(replica, &reason) != SQ_OK)
        sq_log_error(SQ_LOG_INFO, "repl", "a replica's database is read as a whole", &reason);
    if (replica->is_known && replica->sums != NULL)
        return become_ready(replica, err);
    return begin_scan(replica, err);
}

/* --- Reading all of it -------------------------------------------------------------------------------------------- */

static sq_status end_scan(struct repl_replica *replica, struct sq_error *err)
{
    struct wal_position end = wal_log_end(replica->host.log);
    uint64_t checksum = page_sums_database(replica->sums);
    wal_snapshot_end(replica->scan);
    replica->scan = NULL;
    bool was_known = replica->is_known && replica->known.checksum == checksum;
    bool is_received = was_known || applied_find_checksum(replica->records, checksum, &replica->known);
    bool is_logged = !is_received && end.txid > 0 && end.checksum == checksum;
    if (is_logged)
        replica->known = end;
    replica->is_known = is_received || is_logged;
    replica->is_received = is_received;
    if (replica->is_known) {
        SQ_TRY(applied_put(replica->records, &replica->last.place, replica->last.sum, &replica->known, err));
        return become_ready(replica, err);
    }
    struct sq_error reason;
    sq_fail(&reason, SQ_CORRUPT, "its content, checksum %016" PRIx64 ", is at no known position", checksum);
    replica_lock(replica);
    replica->applied = replica->durable = (struct wal_position){0};
    replica_set_trouble(replica, REPLICA_HEAL, &reason);
    replica_unlock(replica);
    return SQ_OK;
}

sq_status replica_scan(struct repl_replica *replica, struct sq_error *err)
{
    if (replica->scan == NULL)
        return begin_scan(replica, err);
    uint32_t page_bytes = replica->last.page_bytes;
    uint32_t page_count = wal_snapshot_page_count(replica->scan);
    uint8_t *page = malloc(page_bytes);
    if (page == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a page");
    sq_status status = SQ_OK;
    for (uint32_t i = 0; i < REPLICA_SCAN_PAGES && replica->scan_next <= page_count && status == SQ_OK; i++) {
        uint32_t number = replica->scan_next;
        if (number != wal_lock_page(page_bytes)) {
            status = wal_snapshot_page(replica->scan, number, page, err);
            if (status == SQ_OK)
                status = page_sums_set(replica->sums, number, wal_page_checksum(number, page, page_bytes), err);
        }
        replica->scan_next += status == SQ_OK ? 1 : 0;
    }
    free(page);
    SQ_TRY(status);
    return replica->scan_next > page_count ? end_scan(replica, err) : SQ_OK;
}

/* What has come of a database that is not there yet. */
sq_status replica_scan_bootstrap(struct repl_replica *replica, struct sq_error *err)
{
    bool is_end = false;
    replica_lock(replica);
    uint32_t page_bytes = replica->wanted_sums;
    replica_unlock(replica);
    if (page_bytes == 0) /* not any more */
        return SQ_OK;
    if (replica->bootstrap == NULL || replica->scan_next != page_bytes) {
        bootstrap_close(replica->bootstrap);
        replica->bootstrap = NULL;
        SQ_TRY(bootstrap_open(replica->dir, page_bytes, err, &replica->bootstrap));
        replica->scan_next = page_bytes;
    }
    SQ_TRY(bootstrap_scan(replica->bootstrap, REPLICA_SCAN_PAGES, err, &is_end));
    if (!is_end)
        return SQ_OK;
    replica->scan_next = 0;
    replica_lock(replica);
    replica->are_sums_there = replica->wanted_sums == page_bytes;
    replica_notify(replica);
    replica_unlock(replica);
    return SQ_OK;
}
