/* repl/logger.c: a logger's life, what it is told and asked as a follower, and who waits for it (logger_internal.h). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/database.h"
#include "repl/logger_internal.h"

static struct repl_logger *logger_of_host(struct repl_feed_host *host)
{
    return SQ_CONTAINER_OF(host, struct repl_logger, host);
}

static struct repl_logger *logger_of_follower(struct engine_follower *follower)
{
    return SQ_CONTAINER_OF(follower, struct repl_logger, follower);
}

static void lock(struct repl_logger *logger)
{
    pthread_mutex_lock(&logger->host.mutex);
}

static void unlock(struct repl_logger *logger)
{
    pthread_mutex_unlock(&logger->host.mutex);
}

/* --- Progress --------------------------------------------------------------------------------------------------------- */

void logger_wake_waits(struct repl_logger *logger, bool is_all)
{
    SQ_LIST_FOREACH (links, &logger->waits) {
        struct repl_wait *wait = SQ_CONTAINER_OF(links, struct repl_wait, links);
        if (!is_all && wait->wanted > logger->covered)
            continue;
        sq_list_remove(links);
        sq_waker_wake(wait->waker);
    }
}

/* Under the mutex. When there is no more room, what came last is told together. */
static void note_confirmable(struct repl_logger *logger)
{
    size_t count = logger->confirmable_count;
    struct logger_confirmable *last = count > 0 ? &logger->confirmable[count - 1] : NULL;
    if (last != NULL && (last->txid == logger->end.txid || count == LOGGER_CONFIRMABLE_MAX))
        *last = (struct logger_confirmable){logger->end.txid, logger->covered};
    else
        logger->confirmable[logger->confirmable_count++] =
            (struct logger_confirmable){logger->end.txid, logger->covered};
}

void logger_confirm(struct repl_logger *logger)
{
    engine_position position = 0;
    size_t used = 0;
    lock(logger);
    while (used < logger->confirmable_count && logger->confirmable[used].txid <= logger->confirmed_txid)
        position = logger->confirmable[used++].position;
    logger->confirmable_count -= used;
    memmove(logger->confirmable, logger->confirmable + used,
            logger->confirmable_count * sizeof(logger->confirmable[0]));
    unlock(logger);
    if (position > 0)
        engine_durability_confirm(logger->durability, position);
}

void logger_advance(struct repl_logger *logger, engine_position position)
{
    lock(logger);
    if (position > logger->covered)
        logger->covered = position;
    logger->end = wal_log_end(logger->host.log);
    logger->last_us = sq_clock_now_us();
    note_confirmable(logger);
    logger_wake_waits(logger, false);
    repl_feed_host_notify(&logger->host);
    pthread_cond_broadcast(&logger->progress_cond);
    unlock(logger);
    logger_confirm(logger);
}

void repl_logger_confirm(struct repl_logger *logger, ltx_txid txid)
{
    lock(logger);
    bool is_news = txid > logger->confirmed_txid && logger->state != REPL_LOGGER_CLOSED;
    if (is_news)
        logger->confirmed_txid = txid;
    unlock(logger);
    if (is_news)
        logger_confirm(logger);
}

enum repl_known repl_logger_position(struct repl_logger *logger, engine_position rests_on, struct repl_wait *wait,
                                     struct wal_position *ret_position)
{
    enum repl_known known = REPL_KNOWN_LATER;
    lock(logger);
    sq_list_remove(&wait->links);
    if (logger->state == REPL_LOGGER_OFF || logger->state == REPL_LOGGER_CLOSED ||
        logger->state == REPL_LOGGER_FAILED) {
        known = REPL_KNOWN_NEVER;
    } else if (logger->state == REPL_LOGGER_READY && rests_on <= logger->covered) {
        *ret_position = logger->end;
        known = REPL_KNOWN;
    } else if (logger->is_failing) {
        known = REPL_KNOWN_NEVER;
    } else {
        wait->wanted = rests_on;
        sq_list_push_back(&logger->waits, &wait->links);
        pthread_cond_signal(&logger->work_cond);
    }
    unlock(logger);
    return known;
}

void repl_logger_withdraw(struct repl_logger *logger, struct repl_wait *wait)
{
    lock(logger);
    sq_list_remove(&wait->links);
    unlock(logger);
}

/* --- The follower ------------------------------------------------------------------------------------------------------ */

static void on_durable(struct engine_follower *follower, engine_position position)
{
    struct repl_logger *logger = logger_of_follower(follower);
    lock(logger);
    if (position > logger->told)
        logger->told = position;
    if (logger->is_waiting && logger->told > logger->covered)
        pthread_cond_signal(&logger->work_cond);
    unlock(logger);
}

static sq_status fail_starting(struct sq_error *err)
{
    return sq_fail(err, SQ_BUSY, "the log of the database is being made");
}

/* Under the mutex: until the log has `position`, or it is clear that this will take longer. */
static sq_status wait_for(struct repl_logger *logger, engine_position position, struct sq_error *err)
{
    uint64_t attempt_count = logger->attempt_count;
    if (position > logger->told)
        logger->told = position;
    logger->presser_count++;
    pthread_cond_signal(&logger->work_cond);
    while (logger->state == REPL_LOGGER_READY && logger->covered < position && logger->attempt_count == attempt_count &&
           !logger->is_stopping)
        pthread_cond_wait(&logger->progress_cond, &logger->host.mutex);
    logger->presser_count--;
    if (logger->state == REPL_LOGGER_READY && logger->covered >= position)
        return SQ_OK;
    if (logger->attempt_count == attempt_count)
        return fail_starting(err);
    if (err != NULL)
        *err = logger->failure;
    return logger->failure.status;
}

void logger_note_sync_failure(struct repl_logger *logger, sq_status status)
{
    if (status != SQ_CORRUPT)
        return;
    lock(logger);
    logger->is_restarting = true;
    logger->is_mistrusted = true;
    pthread_cond_signal(&logger->work_cond);
    unlock(logger);
}

static sq_status sync_log(struct repl_logger *logger, struct sq_error *err)
{
    struct wal_log *log = repl_feed_host_enter_log(&logger->host);
    if (log == NULL)
        return fail_starting(err);
    sq_status status = wal_log_sync(log, err);
    repl_feed_host_leave_log(&logger->host);
    logger_note_sync_failure(logger, status);
    return status;
}

static sq_status on_cover(struct engine_follower *follower, engine_position position, bool is_synced,
                          struct sq_error *err)
{
    struct repl_logger *logger = logger_of_follower(follower);
    sq_status status = SQ_OK;
    lock(logger);
    bool is_off = logger->state == REPL_LOGGER_OFF;
    if (logger->state == REPL_LOGGER_FAILED) {
        if (err != NULL)
            *err = logger->failure;
        status = logger->failure.status;
    } else if (logger->state != REPL_LOGGER_READY && !is_off) {
        status = fail_starting(err);
    } else if (!is_off) {
        status = wait_for(logger, position, err);
    }
    unlock(logger);
    return status == SQ_OK && is_synced && !is_off ? sync_log(logger, err) : status;
}

static void free_files(struct repl_logger *logger)
{
    wal_file_free(logger->file);
    logger->file = NULL;
    engine_follower_disconnect(logger->connection);
    logger->connection = NULL;
    page_sums_free(logger->sums);
    logger->sums = NULL;
    free(logger->frames);
    free(logger->new_sums);
    free(logger->pages);
    logger->frames = NULL;
    logger->new_sums = NULL;
    logger->pages = NULL;
    logger->frame_cap = 0;
}

/* What makes the next start quick. Without it the log goes on all the same. */
static void leave_notes(struct repl_logger *logger)
{
    struct sq_error err;
    sq_status status = logger_save_sums(logger, &err);
    if (status == SQ_OK)
        status = logger_note_place(logger, &err);
    if (status != SQ_OK)
        sq_log_error(SQ_LOG_WARNING, "repl", "log is left without notes", &err);
}

static void on_closing(struct engine_follower *follower)
{
    struct repl_logger *logger = logger_of_follower(follower);
    logger_stop_thread(logger);
    lock(logger);
    bool is_ready = logger->state == REPL_LOGGER_READY && !logger->is_mistrusted && logger->sums != NULL;
    unlock(logger);
    if (is_ready)
        leave_notes(logger);
    lock(logger);
    logger->was_ready = is_ready;
    logger->state = REPL_LOGGER_CLOSED;
    logger_wake_waits(logger, true);
    pthread_cond_broadcast(&logger->progress_cond);
    unlock(logger);
    wal_log_close(repl_feed_host_close(&logger->host));
    free_files(logger);
}

static void on_closed(struct engine_follower *follower, const struct engine_file_mark *mark)
{
    struct repl_logger *logger = logger_of_follower(follower);
    struct sq_error err;
    if (logger->was_ready && mark != NULL) {
        struct logger_record record = {.kind = LOGGER_IN_FILE,
                                       .page_bytes = logger->page_bytes,
                                       .txid = logger->end.txid,
                                       .checksum = logger->end.checksum,
                                       .mark = *mark};
        if (logger_record_write(logger->dir, &record, &err) != SQ_OK)
            sq_log_error(SQ_LOG_WARNING, "repl", "log is left without notes", &err);
    } else if (logger->has_log) {
        sq_log(SQ_LOG_WARNING, "repl", "database is closed with its write-ahead log", "db=%s txid=%llu", logger->name,
               (unsigned long long)logger->end.txid);
    }
    loggers_remove(logger->loggers, logger);
    repl_logger_unref(logger);
}

static const struct engine_follower_ops follower_ops = {
    .durable_cb = on_durable,
    .cover_cb = on_cover,
    .closing_cb = on_closing,
    .closed_cb = on_closed,
};

/* --- The host of feeds ------------------------------------------------------------------------------------------------- */

static enum repl_feed_state on_state(struct repl_feed_host *host, struct sq_error *ret_reason)
{
    const struct repl_logger *logger = logger_of_host(host);
    switch (logger->state) {
    case REPL_LOGGER_OFF:
    case REPL_LOGGER_STARTING:
        break;
    case REPL_LOGGER_READY:
        return REPL_FEED_READY;
    case REPL_LOGGER_FAILED:
        *ret_reason = logger->failure;
        return REPL_FEED_FAILED;
    case REPL_LOGGER_CLOSED:
        sq_fail(ret_reason, SQ_CLOSED, "the log of \"%s\" is not kept any more", logger->name);
        return REPL_FEED_FAILED;
    }
    return REPL_FEED_PENDING;
}

static sq_status open_snapshot(struct repl_logger *logger, struct repl_snapshot *snapshot, struct sq_error *err)
{
    SQ_TRY(engine_follower_connect(logger->durability, err, &snapshot->connection));
    return wal_file_new(snapshot->connection, err, &snapshot->file);
}

/* On an exchange's thread; the logger's makes it, between two files. */
static sq_status on_snapshot(struct repl_feed_host *host, struct sq_error *err, struct repl_snapshot *snapshot)
{
    struct repl_logger *logger = logger_of_host(host);
    struct logger_request request = {.snapshot = snapshot};
    SQ_TRY(open_snapshot(logger, snapshot, err));
    sq_list_init(&request.links);
    lock(logger);
    sq_list_push_back(&logger->requests, &request.links);
    pthread_cond_signal(&logger->work_cond);
    while (!request.is_done && !host->is_closed && logger->state != REPL_LOGGER_CLOSED)
        pthread_cond_wait(&logger->progress_cond, &host->mutex);
    if (!request.is_done) {
        sq_list_remove(&request.links);
        request.status = sq_fail(&request.err, SQ_CLOSED, "the log of \"%s\" is not kept any more", logger->name);
    }
    unlock(logger);
    if (request.status != SQ_OK && err != NULL)
        *err = request.err;
    return request.status;
}

static void on_mistrust(struct repl_feed_host *host)
{
    struct repl_logger *logger = logger_of_host(host);
    lock(logger);
    logger->is_mistrusted = true;
    pthread_cond_signal(&logger->work_cond);
    unlock(logger);
}

static void on_free(struct repl_feed_host *host)
{
    struct repl_logger *logger = logger_of_host(host);
    sq_assert(!logger->has_thread && !sq_list_is_linked(&logger->links) && sq_list_is_empty(&logger->waits));
    repl_feed_host_done(host);
    pthread_cond_destroy(&logger->progress_cond);
    pthread_cond_destroy(&logger->work_cond);
    free(logger);
}

static const struct repl_feed_host_ops host_ops = {
    .state_cb = on_state,
    .snapshot_cb = on_snapshot,
    .mistrust_cb = on_mistrust,
    .free_cb = on_free,
};

/* --- Life --------------------------------------------------------------------------------------------------------------- */

static sq_status name_files(struct repl_logger *logger, const struct engine_database *database, struct sq_error *err)
{
    const char *path = engine_database_path(database);
    int path_length = snprintf(logger->path, sizeof(logger->path), "%s", path);
    int dir_length = snprintf(logger->dir, sizeof(logger->dir), "%s-ltx", path);
    snprintf(logger->name, sizeof(logger->name), "%s", engine_database_name(database));
    if (path_length < 0 || dir_length < 0 || (size_t)dir_length >= sizeof(logger->dir))
        return sq_fail(err, SQ_INVALID, "the path '%s' is too long for a log beside it", path);
    return SQ_OK;
}

/* In this order: what is in the WAL, then whether the file was written to before. */
static sq_status look_around(struct repl_logger *logger, bool *ret_has_log, struct sq_error *err)
{
    logger->opened = engine_durability_state(logger->durability);
    SQ_TRY(engine_file_mark_read(logger->path, err, &logger->opened_mark));
    *ret_has_log = access(logger->dir, F_OK) == 0;
    if (!*ret_has_log && errno != ENOENT)
        return sq_fail_errno(err, errno, "cannot look for '%s'", logger->dir);
    return SQ_OK;
}

static struct repl_logger *make(struct repl_loggers *loggers, struct engine_durability *durability, uint64_t timeline)
{
    struct repl_logger *logger = calloc(1, sizeof(*logger));
    if (logger == NULL)
        return NULL;
    repl_feed_host_init(&logger->host, &host_ops);
    logger->follower.ops = &follower_ops;
    logger->loggers = loggers;
    logger->durability = durability;
    logger->timeline = timeline;
    logger->state = REPL_LOGGER_OFF;
    sq_list_init(&logger->links);
    sq_list_init(&logger->waits);
    sq_list_init(&logger->requests);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&logger->work_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&logger->progress_cond, NULL);
    return logger;
}

sq_status repl_logger_new(struct repl_loggers *loggers, struct engine_database *database,
                          struct engine_durability *durability, uint64_t timeline, bool is_wanted, struct sq_error *err,
                          struct repl_logger **ret_logger)
{
    struct repl_logger *logger = make(loggers, durability, timeline);
    bool has_log = false;
    if (logger == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to log a database");
    sq_status status = name_files(logger, database, err);
    if (status == SQ_OK)
        status = look_around(logger, &has_log, err);
    if (status == SQ_OK && (is_wanted || has_log)) {
        lock(logger);
        status = logger_start_thread(logger, err);
        unlock(logger);
    }
    if (status != SQ_OK) {
        repl_logger_unref(logger);
        return status;
    }
    repl_logger_ref(logger); /* the caller's; the other one is the follower's */
    loggers_add(loggers, logger);
    *ret_logger = logger;
    return SQ_OK;
}

struct engine_follower *repl_logger_follower(struct repl_logger *logger)
{
    return &logger->follower;
}

void repl_logger_discard(struct repl_logger *logger)
{
    on_closing(&logger->follower);
    on_closed(&logger->follower, NULL);
}

struct repl_logger *repl_logger_of(struct engine_follower *follower)
{
    return follower != NULL && follower->ops == &follower_ops ? logger_of_follower(follower) : NULL;
}

void repl_logger_ref(struct repl_logger *logger)
{
    repl_feed_host_ref(&logger->host);
}

void repl_logger_unref(struct repl_logger *logger)
{
    if (logger != NULL)
        repl_feed_host_unref(&logger->host);
}

void repl_logger_start(struct repl_logger *logger)
{
    struct sq_error err;
    lock(logger);
    if (logger->state == REPL_LOGGER_OFF && logger_start_thread(logger, &err) != SQ_OK) {
        logger->state = REPL_LOGGER_FAILED;
        logger->failure = err;
        repl_feed_host_notify(&logger->host);
    }
    unlock(logger);
}

enum repl_logger_state repl_logger_state(struct repl_logger *logger)
{
    lock(logger);
    enum repl_logger_state state = logger->state;
    unlock(logger);
    return state;
}

sq_status repl_logger_open_feed(struct repl_logger *logger, struct sq_waker *waker, struct sq_error *err,
                                struct repl_feed **ret_feed)
{
    SQ_TRY(repl_feed_open(&logger->host, waker, err, ret_feed));
    repl_logger_start(logger);
    return SQ_OK;
}

void repl_logger_facts(struct repl_logger *logger, struct repl_logger_facts *ret_facts)
{
    *ret_facts = (struct repl_logger_facts){0};
    lock(logger);
    ret_facts->state = logger->state;
    ret_facts->scan_count = logger->scan_count;
    ret_facts->is_failing = logger->is_failing;
    if (logger->is_failing)
        ret_facts->failure = logger->failure;
    if (logger->state == REPL_LOGGER_READY) {
        struct wal_log_facts facts = wal_log_facts(logger->host.log);
        ret_facts->begin = wal_log_begin(logger->host.log);
        ret_facts->end = logger->end;
        ret_facts->synced = wal_log_synced(logger->host.log);
        ret_facts->file_count = facts.file_count;
        ret_facts->bytes = facts.bytes;
        ret_facts->oldest_ms = facts.oldest_ms;
    }
    unlock(logger);
}
