/* repl/replica_feed.c: what is applied becomes durable, and what others are fed from.
 *
 *     applied ─► log synced ─► `applied` synced ─► WAL synced ─► durable, shown to those that are fed
 *
 * In this order: whatever a crash leaves of the WAL, `applied` knows it and the log has it, but for what was applied in the moments before. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "repl/replica_internal.h"
#include "wal/checksum.h"

/* --- Syncs -------------------------------------------------------------------------------------------------------- */

struct target {
    struct wal_position position;
    engine_position at;
    unsigned records;
};

static struct target look(struct repl_replica *replica)
{
    replica_lock(replica);
    struct target target = {replica->applied, replica->applied_at, replica->unsynced_records};
    replica_unlock(replica);
    return target;
}

static void reached(struct repl_replica *replica, const struct target *target)
{
    replica_lock(replica);
    replica->unsynced_records -=
        target->records < replica->unsynced_records ? target->records : replica->unsynced_records;
    /* It may have healed, or turned out to be somebody else's, meanwhile. */
    bool is_still_so =
        replica->applied.timeline > target->position.timeline ||
        (replica->applied.timeline == target->position.timeline && replica->applied.txid >= target->position.txid);
    if (is_still_so && replica->healing == REPLICA_NOT_HEALING) {
        replica->durable = target->position;
        replica_notify(replica);
    }
    replica_unlock(replica);
}

static sq_status sync_to(struct repl_replica *replica, struct wal_log *log, const struct target *target,
                         struct sq_error *err)
{
    SQ_TRY(sq_inject_status("repl.sync.begin", err));
    SQ_TRY(wal_log_sync(log, err));
    sq_inject("repl.sync.after_log");
    if (replica->records != NULL)
        SQ_TRY(applied_sync(replica->records, err));
    sq_inject("repl.sync.after_records");
    if (replica->durability != NULL)
        SQ_TRY(engine_follower_sync(replica->durability, target->at, err));
    sq_inject("repl.sync.after_wal");
    reached(replica, target);
    return SQ_OK;
}

sq_status replica_sync_all(struct repl_replica *replica, struct sq_error *err)
{
    struct target target = look(replica);
    return sync_to(replica, replica->host.log, &target, err);
}

/* What is needed to make up the checksums, or by others who read, is kept. */
static void tidy(struct repl_replica *replica, struct wal_log *log)
{
    const struct repl_replicas_config *config = &replica->replicas->config;
    struct sq_error err;
    int64_t now_us = sq_clock_now_us();
    if (now_us - replica->tidy_us < REPLICA_TIDY_US)
        return;
    replica->tidy_us = now_us;
    ltx_txid keep = repl_feed_host_held(&replica->host, false);
    replica_lock(replica);
    if (replica->saved_txid < keep)
        keep = replica->saved_txid;
    if (replica->durable.txid < keep)
        keep = replica->durable.txid;
    replica_unlock(replica);
    if (wal_log_tidy(log, config->keep_bytes, config->keep_age_ms, keep, &err) != SQ_OK)
        sq_log_error(SQ_LOG_WARNING, "repl", "the log of a replica's database is not tidied", &err);
}

/* A sync that fails for want of room is tried again; one after which it is not certain any more what is on disk ends it. */
static void sync_failed(struct repl_replica *replica, sq_status status, struct sq_error *err)
{
    bool is_final = replica->durability != NULL && engine_durability_is_failed(replica->durability);
    if (status == SQ_CORRUPT || is_final) {
        replica_lock(replica);
        replica->is_log_damaged = status == SQ_CORRUPT;
        replica_set_trouble(replica, is_final ? REPLICA_FAILED : REPLICA_PAUSED, err);
        replica_unlock(replica);
        return;
    }
    sq_log_error(SQ_LOG_WARNING, "repl", "what is applied is not durable yet", err);
    repl_job_post_at(&replica->sync, sq_clock_now_us() + REPLICA_SYNC_RETRY_US);
}

static void sync_once(struct repl_replica *replica)
{
    struct sq_error err;
    struct wal_log *log = repl_feed_host_enter_log(&replica->host);
    if (log == NULL)
        return;
    struct target target = look(replica);
    sq_status status = sync_to(replica, log, &target, &err);
    if (status == SQ_OK)
        tidy(replica, log);
    repl_feed_host_leave_log(&replica->host);
    if (status != SQ_OK)
        sync_failed(replica, status, &err);
}

void replica_run_sync(struct repl_job *job)
{
    struct repl_replica *replica = SQ_CONTAINER_OF(job, struct repl_replica, sync);
    pthread_mutex_lock(&replica->database_mutex);
    replica_lock(replica);
    bool is_ready = replica->state == REPLICA_READY;
    replica_unlock(replica);
    if (is_ready && replica->database != NULL)
        sync_once(replica);
    pthread_mutex_unlock(&replica->database_mutex);
}

sq_status replica_save_sums(struct repl_replica *replica, struct sq_error *err)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/sums", replica->dir);
    ltx_txid synced = wal_log_synced(replica->host.log);
    ltx_txid txid = synced < replica->known.txid ? synced : replica->known.txid;
    SQ_TRY(sq_inject_status("repl.replica.before_sums", err));
    SQ_TRY(page_sums_save(replica->sums, path, txid, replica->known.timeline, err));
    replica->unsaved_bytes = 0;
    replica_lock(replica);
    replica->saved_txid = txid;
    replica_unlock(replica);
    return SQ_OK;
}

/* --- Others ------------------------------------------------------------------------------------------------------- */

static enum repl_feed_state feed_state(struct repl_feed_host *host, struct sq_error *ret_reason)
{
    struct repl_replica *replica = replica_of_host(host);
    if (replica->is_drop_wanted)
        return REPL_FEED_GONE;
    if (host->is_closed || replica->state == REPLICA_FAILED) {
        sq_fail(ret_reason, SQ_IO, "'%s' is closed here", replica->name);
        return REPL_FEED_FAILED;
    }
    bool is_there = host->log != NULL && replica->page_bytes != 0 && replica->durable.txid != 0 &&
                    (replica->state == REPLICA_READY || replica->state == REPLICA_PAUSED) &&
                    replica->healing == REPLICA_NOT_HEALING;
    return is_there ? REPL_FEED_READY : REPL_FEED_PENDING;
}

static struct wal_position feed_end(struct repl_feed_host *host)
{
    return replica_of_host(host)->durable;
}

/* Between a commit and its being told nobody begins one. */
static sq_status take_snapshot(struct repl_replica *replica, struct repl_snapshot *snapshot, struct sq_error *err)
{
    struct wal_state state;
    SQ_TRY(wal_snapshot_begin(snapshot->file, err, &snapshot->pages));
    SQ_TRY(wal_file_state(snapshot->file, err, &state));
    replica_lock(replica);
    sq_status status = SQ_OK;
    if (replica->state != REPLICA_READY || replica->healing != REPLICA_NOT_HEALING || replica->sums == NULL ||
        !replica_is_unchanged(replica, &state))
        status = sq_fail(err, SQ_BUSY, "'%s' has no snapshot now", replica->name);
    else
        status =
            page_sums_copy(replica->stable_sums != NULL ? replica->stable_sums : replica->sums, err, &snapshot->sums);
    snapshot->position = replica->applied;
    replica_unlock(replica);
    return status;
}

static sq_status feed_snapshot(struct repl_feed_host *host, struct sq_error *err, struct repl_snapshot *snapshot)
{
    struct repl_replica *replica = replica_of_host(host);
    pthread_mutex_lock(&replica->database_mutex);
    sq_status status = replica->database != NULL
                           ? engine_follower_connect(replica->durability, err, &snapshot->connection)
                           : sq_fail(err, SQ_BUSY, "'%s' has no snapshot now", replica->name);
    if (status == SQ_OK)
        status = wal_file_new(snapshot->connection, err, &snapshot->file);
    if (status == SQ_OK) {
        pthread_mutex_lock(&replica->commit_mutex);
        status = take_snapshot(replica, snapshot, err);
        pthread_mutex_unlock(&replica->commit_mutex);
    }
    pthread_mutex_unlock(&replica->database_mutex);
    return status;
}

static void feed_mistrust(struct repl_feed_host *host)
{
    struct repl_replica *replica = replica_of_host(host);
    replica_lock(replica);
    replica->is_mistrusted = true;
    replica_unlock(replica);
    repl_job_post(&replica->work);
}

static void feed_free(struct repl_feed_host *host)
{
    struct repl_replica *replica = replica_of_host(host);
    repl_feed_host_done(host);
    pthread_cond_destroy(&replica->changed);
    pthread_mutex_destroy(&replica->database_mutex);
    pthread_mutex_destroy(&replica->commit_mutex);
    free(replica);
}

const struct repl_feed_host_ops replica_feed_ops = {
    .state_cb = feed_state,
    .end_cb = feed_end,
    .snapshot_cb = feed_snapshot,
    .mistrust_cb = feed_mistrust,
    .free_cb = feed_free,
};
