/* repl/replica.c: the life of a replica's database, and which work is next: see replica.h for the drawing. */
#include "repl/replica.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "repl/incarnation.h"
#include "repl/replica_internal.h"
#include "wal/checksum.h"

/* --- All of them -------------------------------------------------------------------------------------------------- */

sq_status repl_replicas_new(const struct repl_replicas_config *config, struct sq_error *err,
                            struct repl_replicas **ret_replicas)
{
    struct repl_replicas *replicas = calloc(1, sizeof(*replicas));
    if (replicas == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for replicas");
    replicas->config = *config;
    size_t threads = config->thread_count_max != 0 ? config->thread_count_max : REPLICA_THREADS;
    sq_status status = repl_workers_new(threads, err, &replicas->workers);
    if (status != SQ_OK) {
        free(replicas);
        return status;
    }
    pthread_mutex_init(&replicas->mutex, NULL);
    sq_list_init(&replicas->all);
    *ret_replicas = replicas;
    return SQ_OK;
}

void repl_replicas_free(struct repl_replicas *replicas)
{
    if (replicas == NULL)
        return;
    sq_assert(sq_list_is_empty(&replicas->all));
    repl_workers_free(replicas->workers);
    pthread_mutex_destroy(&replicas->mutex);
    free(replicas);
}

/* --- States ------------------------------------------------------------------------------------------------------- */

void replica_notify(struct repl_replica *replica)
{
    if (replica->waker != NULL)
        sq_waker_wake(replica->waker);
    if (replica->moved != NULL)
        sq_waker_wake(replica->moved);
    repl_feed_host_notify(&replica->host);
    pthread_cond_broadcast(&replica->changed);
}

void replica_set_state(struct repl_replica *replica, enum replica_state state)
{
    replica->state = state;
    replica_notify(replica);
}

void replica_set_trouble(struct repl_replica *replica, enum replica_state state, const struct sq_error *reason)
{
    static const char *const texts[] = {
        [REPLICA_HEAL] = "a replica's database is to heal",
        [REPLICA_PAUSED] = "a replica's database rests",
        [REPLICA_FAILED] = "a replica's database is out of service",
    };
    char quoted[SQ_LOG_QUOTED_MAX];
    sq_log(state == REPLICA_FAILED ? SQ_LOG_ERROR : SQ_LOG_WARNING, "repl", texts[state], "db=%s reason=%s",
           replica->name, sq_log_quote(quoted, reason->text));
    replica->reason = *reason;
    replica_set_state(replica, state);
}

void replica_fail(struct repl_replica *replica, sq_status status, struct sq_error *err)
{
    bool is_out_of_service = replica->durability != NULL && engine_durability_is_failed(replica->durability);
    if (replica->durability != NULL && wal_is_sync_failure(err)) {
        engine_durability_fail(replica->durability);
        is_out_of_service = true;
    }
    wal_snapshot_end(replica->scan);
    replica->scan = NULL;
    enum replica_state state = REPLICA_PAUSED;
    if (is_out_of_service)
        state = REPLICA_FAILED;
    else if (status == SQ_CORRUPT && replica->sums != NULL)
        state = REPLICA_HEAL;
    replica_lock(replica);
    replica_set_trouble(replica, state, err);
    replica_unlock(replica);
}

void replica_set_applied(struct repl_replica *replica, const struct wal_position *position)
{
    replica->applied = *position;
    SQ_LIST_FOREACH (links, &replica->waiting) {
        struct replica_waiting *waiting = SQ_CONTAINER_OF(links, struct replica_waiting, links);
        if (waiting->max_txid > position->txid)
            break;
        sq_list_remove(&waiting->links);
        replica->waiting_bytes -= waiting->bytes;
        replica->waiting_count--;
        free(waiting);
    }
}

void replica_forget_waiting(struct repl_replica *replica)
{
    struct sq_list *links;
    while ((links = sq_list_pop_front(&replica->waiting)) != NULL)
        free(SQ_CONTAINER_OF(links, struct replica_waiting, links));
    replica->waiting_bytes = 0;
    replica->waiting_count = 0;
}

/* --- Followed ----------------------------------------------------------------------------------------------------- */

static struct repl_replica *replica_of_follower(struct engine_follower *follower)
{
    return SQ_CONTAINER_OF(follower, struct repl_replica, follower);
}

static void follower_durable(struct engine_follower *follower, engine_position position)
{
    /* Our own syncs tell us more: that log and `applied` are there too. */
    (void)follower;
    (void)position;
}

/* What the WAL holds came out of the log: it is in there. */
static sq_status follower_cover(struct engine_follower *follower, engine_position position, bool is_synced,
                                struct sq_error *err)
{
    struct repl_replica *replica = replica_of_follower(follower);
    (void)position;
    if (!is_synced)
        return SQ_OK;
    struct wal_log *log = repl_feed_host_enter_log(&replica->host);
    sq_status status = SQ_OK;
    if (log != NULL) {
        status = wal_log_sync(log, err);
        repl_feed_host_leave_log(&replica->host);
    }
    return status == SQ_OK ? applied_sync(replica->records, err) : status;
}

/* Nobody has a reference to the database any more, so the work job has none. */
static void follower_closing(struct engine_follower *follower)
{
    struct repl_replica *replica = replica_of_follower(follower);
    wal_file_free(replica->file);
    replica->file = NULL;
    engine_follower_disconnect(replica->connection);
    replica->connection = NULL;
}

static void follower_closed(struct engine_follower *follower, const struct engine_file_mark *mark)
{
    struct repl_replica *replica = replica_of_follower(follower);
    struct sq_error err;
    /* Written down only what is certain: anything else is read as a whole the next time. */
    bool is_certain = mark != NULL && replica->is_known && replica->is_received;
    if (is_certain && applied_put_mark(replica->records, mark, &replica->known, &err) != SQ_OK)
        sq_log_error(SQ_LOG_WARNING, "repl", "the position of a closed database is not written down", &err);
    applied_close(replica->records);
    replica->records = NULL;
    replica->durability = NULL;
    replica_lock(replica);
    replica->is_followed = false;
    pthread_cond_broadcast(&replica->changed);
    replica_unlock(replica);
}

static const struct engine_follower_ops follower_ops = {
    .durable_cb = follower_durable,
    .cover_cb = follower_cover,
    .closing_cb = follower_closing,
    .closed_cb = follower_closed,
};

sq_status repl_replica_follow(struct repl_replica *replica, struct engine_database *database,
                              struct engine_durability *durability, struct sq_error *err,
                              struct engine_follower **ret_follower)
{
    sq_assert(replica->durability == NULL && replica->file == NULL);
    replica->durability = durability;
    sq_status status = replica_find_place(replica, engine_database_path(database), err);
    if (status != SQ_OK) {
        follower_closing(&replica->follower);
        applied_close(replica->records);
        replica->records = NULL;
        replica->durability = NULL;
        return status;
    }
    replica_lock(replica);
    replica->is_followed = true;
    if (replica->state == REPLICA_CLOSED)
        replica->state = REPLICA_OPENING;
    replica_unlock(replica);
    repl_job_post(&replica->work);
    *ret_follower = &replica->follower;
    return SQ_OK;
}

/* --- The work ----------------------------------------------------------------------------------------------------- */

sq_status replica_save_incarnation(struct repl_replica *replica, struct sq_error *err)
{
    replica_lock(replica);
    uint64_t incarnation = replica->host.incarnation;
    bool is_new = incarnation != replica->saved_incarnation && incarnation != 0;
    replica_unlock(replica);
    if (!is_new)
        return SQ_OK;
    SQ_TRY(repl_incarnation_write(replica->dir, incarnation, err));
    replica_lock(replica);
    replica->saved_incarnation = incarnation;
    replica_unlock(replica);
    return SQ_OK;
}

void replica_close_database(struct repl_replica *replica)
{
    wal_snapshot_end(replica->scan);
    replica->scan = NULL;
    sched_writer_free(replica->writer);
    replica->writer = NULL;
    bootstrap_close(replica->bootstrap);
    replica->bootstrap = NULL;
    pthread_mutex_lock(&replica->database_mutex);
    struct engine_database *database = SQ_STEAL(replica->database);
    replica_lock(replica);
    struct page_sums *sums = SQ_STEAL(replica->sums);
    replica_unlock(replica);
    pthread_mutex_unlock(&replica->database_mutex);
    page_sums_free(sums);
    engine_database_unref(database);
}

void repl_replica_facts(struct repl_replica *replica, struct repl_replica_facts *ret_facts)
{
    replica_lock(replica);
    *ret_facts = replica->facts;
    replica_unlock(replica);
}

/* The last work. What cannot be written is found out the next time. */
static void let_go(struct repl_replica *replica)
{
    struct sq_error err;
    if (replica->sums != NULL && replica->is_known && replica->state != REPLICA_FAILED &&
        (replica_sync_all(replica, &err) != SQ_OK || replica_save_sums(replica, &err) != SQ_OK))
        sq_log_error(SQ_LOG_WARNING, "repl", "checksums of a replica are not saved", &err);
    wal_log_close(repl_feed_host_close(&replica->host));
    replica_close_database(replica);
}

static void release(struct repl_replica *replica)
{
    replica_lock(replica);
    replica->state = REPLICA_CLOSED; /* feeds see it before the log goes */
    replica_unlock(replica);
    let_go(replica);
    replica_lock(replica);
    replica->is_gone = true;
    replica_notify(replica);
    replica_unlock(replica);
}

static void end_sessions(struct repl_replica *replica)
{
    const struct repl_replicas_config *config = &replica->replicas->config;
    if (config->end_sessions_cb != NULL)
        config->end_sessions_cb(config->context, replica->name);
}

static sq_status remove_database(struct repl_replica *replica, struct sq_error *err)
{
    char aside[PATH_MAX];
    bool is_ours = replica->is_known && replica->is_received;
    bool is_there = engine_database_exists(replica->replicas->config.registry, replica->name);
    if (is_there && !is_ours)
        SQ_TRY(replica_aside_path(replica, "db", err, aside));
    SQ_TRY(engine_database_remove(replica->replicas->config.registry, replica->name,
                                  is_there && !is_ours ? aside : NULL, err));
    if (is_there && !is_ours) {
        sq_log(SQ_LOG_WARNING, "repl", "a database that was never the primary's is set aside", "db=%s file=%s",
               replica->name, aside);
        SQ_TRY(replica_sync_aside(replica, err));
    }
    return SQ_OK;
}

/* Whoever still uses it is asked to go; it is tried again until nobody does. */
static void drop(struct repl_replica *replica)
{
    struct sq_error err;
    if (!replica->is_known && replica->database == NULL && replica->state == REPLICA_OPENING) {
        /* Where it is decides what becomes of it. */
        if (replica_open(replica, &err) != SQ_OK)
            sq_log_error(SQ_LOG_WARNING, "repl", "a database that is to be dropped cannot be opened", &err);
    }
    replica_lock(replica);
    replica->state = REPLICA_CLOSED;
    replica_unlock(replica);
    wal_log_close(repl_feed_host_close(&replica->host));
    replica_close_database(replica);
    sq_status status = remove_database(replica, &err);
    if (status == SQ_BUSY) {
        end_sessions(replica);
        repl_job_post_at(&replica->work, sq_clock_now_us() + REPLICA_DROP_RETRY_US);
        return;
    }
    if (status != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "repl", "a database of a replica cannot be dropped", &err);
    replica_lock(replica);
    replica->is_gone = true;
    replica_notify(replica);
    replica_unlock(replica);
}

/* One of the same name is on its way out. */
static bool has_predecessor(struct repl_replica *replica)
{
    bool has_one = false;
    pthread_mutex_lock(&replica->replicas->mutex);
    SQ_LIST_FOREACH (links, &replica->replicas->all) {
        struct repl_replica *other = SQ_CONTAINER_OF(links, struct repl_replica, links);
        if (other == replica)
            break; /* older ones are before it */
        if (strcmp(other->name, replica->name) != 0)
            continue;
        replica_lock(other);
        has_one = has_one || !other->is_gone;
        replica_unlock(other);
    }
    pthread_mutex_unlock(&replica->replicas->mutex);
    return has_one;
}

static sq_status open_now(struct repl_replica *replica, struct sq_error *err)
{
    if (!has_predecessor(replica))
        return replica_open(replica, err);
    repl_job_post_at(&replica->work, sq_clock_now_us() + REPLICA_DROP_RETRY_US);
    return SQ_OK;
}

static sq_status begin_timeline(struct repl_replica *replica, struct sq_error *err)
{
    replica_lock(replica);
    uint64_t timeline = replica->next_timeline;
    replica_unlock(replica);
    SQ_TRY(sq_inject_status("repl.replica.before_timeline", err));
    if (wal_log_end(replica->host.log).timeline < timeline)
        SQ_TRY(wal_log_begin_timeline(replica->host.log, timeline, err));
    struct wal_position end = wal_log_end(replica->host.log);
    bool is_applied = end.txid == replica->known.txid && replica->is_known;
    /* The same content, and the same end of the WAL, is of the new timeline now. */
    if (is_applied && replica->records != NULL)
        SQ_TRY(applied_put(replica->records, &replica->last.place, replica->last.sum, &end, err));
    if (is_applied)
        replica->known = end;
    replica_lock(replica);
    replica->next_timeline = 0;
    replica->written = end;
    if (is_applied)
        replica->applied = end;
    replica->unsynced_records++;
    replica_notify(replica);
    replica_unlock(replica);
    repl_job_post(&replica->sync);
    return SQ_OK;
}

/* Under the mutex. */
static bool has_to_apply(const struct repl_replica *replica)
{
    return replica->state == REPLICA_READY && replica->written.txid > replica->applied.txid && !replica->is_frozen &&
           replica->healing == REPLICA_NOT_HEALING;
}

enum step {
    STEP_NONE,
    STEP_DROP,
    STEP_RELEASE,
    STEP_OPEN,
    STEP_SCAN,
    STEP_SCAN_BOOTSTRAP,
    STEP_MISTRUST,
    STEP_HEAL,
    STEP_TIMELINE,
    STEP_APPLY,
};

/* Under the mutex. */
static enum step look_for_work(const struct repl_replica *replica)
{
    enum step step = STEP_NONE;
    bool is_ready = replica->state == REPLICA_READY;
    if (replica->is_gone)
        step = STEP_NONE;
    else if (replica->is_drop_wanted)
        step = STEP_DROP;
    else if (replica->is_release_wanted)
        step = STEP_RELEASE;
    else if (replica->state == REPLICA_OPENING)
        step = STEP_OPEN;
    else if (replica->state == REPLICA_SCANNING)
        step = STEP_SCAN;
    else if (is_ready && replica->healing == REPLICA_HEALING_WAITS)
        step = STEP_HEAL;
    else if (is_ready && replica->is_mistrusted && !replica->is_frozen && replica->healing == REPLICA_NOT_HEALING)
        step = STEP_MISTRUST;
    else if (has_to_apply(replica))
        step = STEP_APPLY;
    else if (is_ready && replica->next_timeline != 0)
        step = STEP_TIMELINE;
    else if (replica->wanted_sums != 0 && !replica->are_sums_there)
        step = STEP_SCAN_BOOTSTRAP;
    return step;
}

static enum step next_step(struct repl_replica *replica)
{
    replica_lock(replica);
    enum step step = look_for_work(replica);
    replica_unlock(replica);
    return step;
}

static enum step begin_step(struct repl_replica *replica)
{
    replica_lock(replica);
    enum step step = look_for_work(replica);
    replica->is_scanning_bootstrap = step == STEP_SCAN_BOOTSTRAP;
    replica_unlock(replica);
    return step;
}

static void end_step(struct repl_replica *replica)
{
    replica_lock(replica);
    replica->is_scanning_bootstrap = false;
    if (replica->is_starved && replica->waker != NULL)
        sq_waker_wake(replica->waker);
    replica_unlock(replica);
}

static sq_status take_step(struct repl_replica *replica, enum step step, struct sq_error *err)
{
    switch (step) {
    case STEP_DROP:
        drop(replica);
        return SQ_OK;
    case STEP_RELEASE:
        release(replica);
        return SQ_OK;
    case STEP_OPEN:
        return open_now(replica, err);
    case STEP_SCAN:
        return replica_scan(replica, err);
    case STEP_SCAN_BOOTSTRAP:
        return replica_scan_bootstrap(replica, err);
    case STEP_MISTRUST:
        replica_mistrust(replica, "a page is not what its checksum says");
        return SQ_OK;
    case STEP_HEAL:
        return replica_heal(replica, err);
    case STEP_TIMELINE:
        return begin_timeline(replica, err);
    case STEP_APPLY:
        return replica->database != NULL ? replica_apply(replica, err) : replica_begin_from_log(replica, err);
    case STEP_NONE:
        break;
    }
    return SQ_OK;
}

/* Another process has the lock, or sessions are in the way: for a while it is tried again. */
static bool try_again(struct repl_replica *replica, sq_status status)
{
    if (status != SQ_BUSY) {
        replica->busy_count = 0;
        return false;
    }
    if (replica->is_waiting_for_slot) {
        replica->is_waiting_for_slot = false;
        return true;
    }
    if (++replica->busy_count > REPLICA_BUSY_RETRIES) {
        replica->busy_count = 0;
        return false;
    }
    repl_job_post_at(&replica->work, sq_clock_now_us() + REPLICA_BUSY_RETRY_US);
    return true;
}

static void run_work(struct repl_job *job)
{
    struct repl_replica *replica = SQ_CONTAINER_OF(job, struct repl_replica, work);
    struct sq_error err;
    enum step step = begin_step(replica);
    if (step == STEP_NONE) {
        replica_look_for_others(replica);
        return;
    }
    sq_status status = take_step(replica, step, &err);
    end_step(replica);
    if (!try_again(replica, status) && status != SQ_OK)
        replica_fail(replica, status, &err);
    if (status != SQ_OK)
        return;
    /* What waits for a time has posted the job itself. */
    enum step next = next_step(replica);
    if (next != STEP_NONE && !(next == step && (step == STEP_DROP || step == STEP_OPEN)))
        repl_job_post(job);
    else if (next == STEP_NONE)
        repl_job_post_at(job, sq_clock_now_us() + REPLICA_LOOK_US);
}

static void on_slot(struct sq_waker *waker)
{
    repl_job_post(&SQ_CONTAINER_OF(waker, struct repl_replica, slot_waker)->work);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

sq_status repl_replica_new(struct repl_replicas *replicas, const char *name, struct sq_waker *moved,
                           struct sq_error *err, struct repl_replica **ret_replica)
{
    if (!engine_database_name_is_valid(name))
        return sq_fail(err, SQ_INVALID, "'%s' is not a name for a database here", name);
    struct repl_replica *replica = calloc(1, sizeof(*replica));
    if (replica == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a replica");
    int length = snprintf(replica->dir, sizeof(replica->dir), "%s/%s.db-ltx", replicas->config.data_dir, name);
    if (length < 0 || (size_t)length >= sizeof(replica->dir)) {
        free(replica);
        return sq_fail(err, SQ_INVALID, "the name of the data directory is too long");
    }
    snprintf(replica->name, sizeof(replica->name), "%s", name);
    repl_feed_host_init(&replica->host, &replica_feed_ops);
    replica->copy.ops = &replica_copy_ops;
    replica->follower.ops = &follower_ops;
    replica->replicas = replicas;
    replica->moved = moved;
    replica->incoming.fd = -1;
    replica->slot_waker.wake_cb = on_slot;
    sq_list_init(&replica->links);
    sq_list_init(&replica->waiting);
    pthread_cond_init(&replica->changed, NULL);
    pthread_mutex_init(&replica->database_mutex, NULL);
    pthread_mutex_init(&replica->commit_mutex, NULL);
    repl_job_init(&replica->work, replicas->workers, run_work);
    repl_job_init(&replica->sync, replicas->workers, replica_run_sync);
    pthread_mutex_lock(&replicas->mutex);
    sq_list_push_back(&replicas->all, &replica->links);
    pthread_mutex_unlock(&replicas->mutex);
    *ret_replica = replica;
    return SQ_OK;
}

void repl_replica_free(struct repl_replica *replica)
{
    if (replica == NULL)
        return;
    repl_job_end(&replica->work);
    repl_job_end(&replica->sync);
    sq_assert(replica->database == NULL && replica->durability == NULL && replica->incoming.kind == INCOMING_NONE);
    replica_lock(replica);
    replica_forget_waiting(replica);
    replica->moved = NULL;
    replica_unlock(replica);
    pthread_mutex_lock(&replica->replicas->mutex);
    sq_list_remove(&replica->links);
    pthread_mutex_unlock(&replica->replicas->mutex);
    if (replica->host.log != NULL)
        wal_log_close(repl_feed_host_close(&replica->host));
    repl_feed_host_unref(&replica->host);
}

sq_status repl_replica_open(struct repl_replica *replica, struct sq_waker *waker, struct sq_error *err,
                            struct repl_copy **ret_copy)
{
    sq_status status = SQ_OK;
    replica_lock(replica);
    sq_assert(replica->waker == NULL);
    if (replica->is_release_wanted || replica->is_drop_wanted) {
        status = sq_fail(err, SQ_INVALID, "'%s' is being closed", replica->name);
    } else {
        replica->waker = waker;
        if (replica->state == REPLICA_CLOSED || replica->state == REPLICA_PAUSED)
            replica->state = REPLICA_OPENING;
    }
    replica_unlock(replica);
    SQ_TRY(status);
    repl_job_post(&replica->work);
    *ret_copy = &replica->copy;
    return SQ_OK;
}

void repl_replica_drop(struct repl_replica *replica)
{
    replica_lock(replica);
    replica->is_drop_wanted = true;
    if (replica->state == REPLICA_CLOSED && !replica->is_gone)
        replica->state = REPLICA_OPENING;
    replica_unlock(replica);
    repl_job_post(&replica->work);
}

bool repl_replica_is_gone(struct repl_replica *replica)
{
    replica_lock(replica);
    bool is_gone = replica->is_gone;
    replica_unlock(replica);
    return is_gone;
}

struct repl_feed_host *repl_replica_feed_host(struct repl_replica *replica)
{
    return &replica->host;
}

/* Under the mutex. */
static bool is_settled(const struct repl_replica *replica)
{
    return replica->written.txid == replica->applied.txid && replica->written.timeline == replica->applied.timeline &&
           replica->durable.txid == replica->applied.txid && replica->durable.timeline == replica->applied.timeline &&
           replica->next_timeline == 0 && replica->healing == REPLICA_NOT_HEALING;
}

sq_status repl_replica_settle(struct repl_replica *replica, struct sq_error *err)
{
    sq_status status = SQ_OK;
    replica_lock(replica);
    while (replica->state == REPLICA_OPENING || replica->state == REPLICA_SCANNING ||
           (replica->state == REPLICA_READY && !is_settled(replica)))
        pthread_cond_wait(&replica->changed, &replica->host.mutex);
    if (replica->state != REPLICA_READY && replica->state != REPLICA_CLOSED) {
        status = replica->reason.status;
        if (err != NULL)
            *err = replica->reason;
    }
    replica_unlock(replica);
    return status;
}

void repl_replica_release(struct repl_replica *replica)
{
    replica_lock(replica);
    replica->is_release_wanted = true;
    replica_unlock(replica);
    repl_job_post(&replica->work);
    replica_lock(replica);
    while (!replica->is_gone)
        pthread_cond_wait(&replica->changed, &replica->host.mutex);
    replica_unlock(replica);
    repl_job_end(&replica->sync);
}

bool repl_replica_has(struct repl_replica *replica, const struct wal_position *position, bool *ret_is_never)
{
    ltx_txid end = 0;
    bool has_it = false;
    *ret_is_never = false;
    replica_lock(replica);
    struct wal_position applied = replica->healing == REPLICA_NOT_HEALING ? replica->applied : (struct wal_position){0};
    bool is_known = replica->host.log != NULL && replica->state == REPLICA_READY;
    if (!is_known) {
        has_it = applied.timeline == position->timeline && applied.txid >= position->txid;
    } else if (applied.timeline >= position->timeline) {
        has_it = applied.txid >= position->txid;
        /* What was after the end of its timeline is not of this history. A log that began anew since does not know. */
        *ret_is_never = wal_log_timeline_end(replica->host.log, position->timeline, &end) && position->txid > end;
    }
    replica_unlock(replica);
    return has_it && !*ret_is_never;
}
