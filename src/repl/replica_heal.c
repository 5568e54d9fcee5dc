/* repl/replica_heal.c: healing files: the pages in which the database differs from a snapshot of the primary's, or all of them.
 *
 *     database there ─► (what it is not the primary's is set aside) ─► one transaction of the WAL ─► the log begins anew there
 *     none, or of another page size ─► bootstrap file, on disk ─► log, `applied`, checksums ─► the name of the database
 *
 * A crash between two of these steps: after the commit `applied` knows the position, and the log that does not fit begins anew
 * when the database is opened; before the file has its name there is no database, and what has come is not asked for again.
 *
 * What is set aside is a file of LTX: the former pages, as a transaction that leads from the healed database back to the former one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"
#include "base/log.h"
#include "repl/ltx_pages.h"
#include "repl/replica_internal.h"
#include "wal/checksum.h"
#include "wal/slots.h"

/* In LTX a file that leads to transaction 1 is a whole database. */
enum { TXID_OF_PAGES_MIN = 2 };

/* --- Paths -------------------------------------------------------------------------------------------------------- */

sq_status replica_heal_path(const struct repl_replica *replica, struct sq_error *err, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/heal", replica->dir);
    return length > 0 && length < PATH_MAX ? SQ_OK : sq_fail(err, SQ_INVALID, "the name of a log is too long");
}

static sq_status aside_directory(const struct repl_replica *replica, struct sq_error *err, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/set-aside", replica->replicas->config.data_dir);
    return length > 0 && length < PATH_MAX - 256 ? SQ_OK : sq_fail(err, SQ_INVALID, "the name of a log is too long");
}

sq_status replica_aside_path(const struct repl_replica *replica, const char *ending, struct sq_error *err,
                             char path[PATH_MAX])
{
    SQ_TRY(aside_directory(replica, err, path));
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return sq_fail_errno(err, errno, "cannot make '%s'", path);
    struct wal_position known = replica->is_known ? replica->known : (struct wal_position){0};
    size_t length = strlen(path);
    int more = snprintf(path + length, PATH_MAX - length, "/%s-%" PRIu64 "-%" PRIu64 "-%" PRId64 ".%s", replica->name,
                        known.timeline, known.txid, sq_clock_wall_us(), ending);
    sq_assert(more > 0 && (size_t)more < PATH_MAX - length);
    return SQ_OK;
}

static sq_status sync_directory(const char *path, struct sq_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot sync '%s'", path);
}

sq_status replica_sync_aside(const struct repl_replica *replica, struct sq_error *err)
{
    char path[PATH_MAX];
    SQ_TRY(aside_directory(replica, err, path));
    SQ_TRY(sync_directory(path, err));
    return sync_directory(replica->replicas->config.data_dir, err);
}

/* --- Setting aside ------------------------------------------------------------------------------------------------ */

struct aside {
    struct ltx_output output;
    int fd;
    uint64_t bytes;
    char path[PATH_MAX];
    struct ltx_encoder *encoder;
    struct sqlite3 *connection;
    struct wal_file *file;
    struct wal_snapshot *snapshot;
    uint32_t page_bytes;
    uint8_t *page;
};

static sq_status write_aside(struct ltx_output *output, const void *bytes, size_t length, struct sq_error *err)
{
    struct aside *aside = SQ_CONTAINER_OF(output, struct aside, output);
    SQ_TRY(wal_write_at(aside->fd, aside->bytes, bytes, length, err));
    aside->bytes += length;
    return SQ_OK;
}

static sq_status put_former(struct aside *aside, uint32_t page_number, struct sq_error *err)
{
    if (page_number > wal_snapshot_page_count(aside->snapshot) || page_number == wal_lock_page(aside->page_bytes))
        return SQ_OK;
    SQ_TRY(wal_snapshot_page(aside->snapshot, page_number, aside->page, err));
    return ltx_encoder_page(aside->encoder, page_number, aside->page, err);
}

/* The pages that will be written over, then those that will be cut off. */
static sq_status put_all_former(struct aside *aside, struct ltx_pages *pages, struct sq_error *err)
{
    uint32_t new_count = ltx_pages_header(pages)->page_count;
    uint32_t page_number = 0;
    const void *page = NULL;
    do {
        SQ_TRY(ltx_pages_next(pages, err, &page_number, &page));
        if (page_number != 0)
            SQ_TRY(put_former(aside, page_number, err));
    } while (page_number != 0);
    for (uint32_t number = new_count + 1; number <= wal_snapshot_page_count(aside->snapshot); number++)
        SQ_TRY(put_former(aside, number, err));
    return SQ_OK;
}

static sq_status open_aside(struct repl_replica *replica, struct aside *aside, struct ltx_pages *pages,
                            struct sq_error *err)
{
    SQ_TRY(engine_follower_connect(replica->durability, err, &aside->connection));
    SQ_TRY(wal_file_new(aside->connection, err, &aside->file));
    SQ_TRY(wal_snapshot_begin(aside->file, err, &aside->snapshot));
    aside->page_bytes = replica->last.page_bytes;
    aside->page = malloc(aside->page_bytes);
    if (aside->page == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a page");
    SQ_TRY(replica_aside_path(replica, "ltx", err, aside->path));
    aside->fd = open(aside->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (aside->fd < 0)
        return sq_fail_errno(err, errno, "cannot make '%s'", aside->path);
    ltx_txid txid =
        replica->is_known && replica->known.txid > TXID_OF_PAGES_MIN ? replica->known.txid : TXID_OF_PAGES_MIN;
    struct ltx_header header = {.page_bytes = aside->page_bytes,
                                .page_count = wal_snapshot_page_count(aside->snapshot),
                                .min_txid = txid,
                                .max_txid = txid,
                                .timestamp_ms = sq_clock_wall_us() / SQ_US_PER_MS,
                                .pre_checksum = replica->healing_intent.checksum,
                                .node_id = replica->is_known ? replica->known.timeline : 0};
    aside->output.write_cb = write_aside;
    SQ_TRY(ltx_encoder_new(&aside->output, &header, err, &aside->encoder));
    return put_all_former(aside, pages, err);
}

static sq_status finish_aside(struct repl_replica *replica, struct aside *aside, struct sq_error *err)
{
    struct ltx_trailer trailer;
    uint64_t bytes;
    SQ_TRY(ltx_encoder_finish(aside->encoder, page_sums_database(replica->sums), err, &trailer, &bytes));
    if (fsync(aside->fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync '%s'", aside->path);
    return replica_sync_aside(replica, err);
}

static void close_aside(struct aside *aside)
{
    ltx_encoder_free(aside->encoder);
    wal_snapshot_end(aside->snapshot);
    wal_file_free(aside->file);
    engine_follower_disconnect(aside->connection);
    free(aside->page);
    if (aside->fd >= 0)
        close(aside->fd);
}

static sq_status set_aside(struct repl_replica *replica, struct ltx_pages *pages, struct sq_error *err)
{
    struct aside aside = {.fd = -1};
    sq_status status = open_aside(replica, &aside, pages, err);
    if (status == SQ_OK)
        status = finish_aside(replica, &aside, err);
    close_aside(&aside);
    if (status != SQ_OK && aside.fd >= 0)
        unlink(aside.path);
    SQ_TRY(status);
    sq_log(SQ_LOG_WARNING, "repl", "what was never the primary's is set aside", "db=%s file=%s", replica->name,
           aside.path);
    replica_lock(replica);
    replica->facts.aside_count++;
    replica_unlock(replica);
    return ltx_pages_rewind(pages, err);
}

/* --- Into the WAL ------------------------------------------------------------------------------------------------- */

static sq_status take_pages(struct repl_replica *replica, struct replica_batch *batch, struct ltx_pages *pages,
                            struct sq_error *err)
{
    uint32_t page_number = 0;
    const void *page = NULL;
    for (;;) {
        SQ_TRY(ltx_pages_next(pages, err, &page_number, &page));
        if (page_number == 0)
            return SQ_OK;
        SQ_TRY(replica_batch_page(replica, batch, page_number, page, err));
    }
}

static sq_status apply_pages(struct repl_replica *replica, struct ltx_pages *pages, struct sq_error *err)
{
    const struct ltx_header *header = ltx_pages_header(pages);
    const struct repl_file_intent *intent = &replica->healing_intent;
    struct replica_batch batch = {.page_count = header->page_count,
                                  .position = {intent->timeline, intent->max_txid, intent->checksum}};
    SQ_TRY(replica_batch_begin(replica, &batch, err));
    sq_status status = take_pages(replica, &batch, pages, err);
    if (status != SQ_OK) {
        replica_batch_abort(replica, &batch);
        return status;
    }
    return replica_batch_commit(replica, &batch, err);
}

static sq_status heal_database(struct repl_replica *replica, struct sq_error *err)
{
    char path[PATH_MAX];
    struct ltx_pages *pages = NULL;
    SQ_TRY(replica_heal_path(replica, err, path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s'", path);
    sq_status status = ltx_pages_of_file(fd, err, &pages);
    if (status == SQ_OK && !(replica->is_known && replica->is_received))
        status = set_aside(replica, pages, err);
    if (status == SQ_OK)
        status = sq_inject_status("repl.heal.before_apply", err);
    if (status == SQ_OK)
        status = apply_pages(replica, pages, err);
    ltx_pages_close(pages);
    close(fd);
    SQ_TRY(status);
    sq_inject("repl.heal.before_log");
    SQ_TRY(wal_log_restart(replica->host.log, &replica->known, err));
    SQ_TRY(replica_save_incarnation(replica, err));
    unlink(path); /* the next one takes its place, if need be */
    return SQ_OK;
}

/* --- Into the place of the database ------------------------------------------------------------------------------- */

static bool is_there(const struct repl_replica *replica)
{
    return engine_database_exists(replica->replicas->config.registry, replica->name);
}

/* The former database, of another page size, has to go first. Closed, it leaves no mark: what it was is written over. */
static void make_way(struct repl_replica *replica)
{
    const struct repl_replicas_config *config = &replica->replicas->config;
    if (replica->database != NULL) {
        struct bootstrap *kept = SQ_STEAL(replica->bootstrap);
        replica->is_losing = !(replica->is_known && replica->is_received);
        replica->is_known = false;
        replica_close_database(replica);
        replica->bootstrap = kept;
    }
    if (is_there(replica) && config->end_sessions_cb != NULL)
        config->end_sessions_cb(config->context, replica->name);
}

static sq_status install(struct repl_replica *replica, struct sq_error *err)
{
    char aside[PATH_MAX];
    bool is_losing = replica->is_losing && is_there(replica);
    if (is_losing)
        SQ_TRY(replica_aside_path(replica, "db", err, aside));
    sq_inject("repl.bootstrap.before_install");
    SQ_TRY(engine_database_install(replica->replicas->config.registry, replica->name,
                                   bootstrap_path(replica->bootstrap), is_losing ? aside : NULL, err));
    if (!is_losing)
        return SQ_OK;
    sq_log(SQ_LOG_WARNING, "repl", "what was never the primary's is set aside", "db=%s file=%s", replica->name, aside);
    return replica_sync_aside(replica, err);
}

static sq_status record(struct repl_replica *replica, const struct wal_position *position, bool is_from_log,
                        const struct engine_file_mark *mark, struct sq_error *err)
{
    struct applied *records = NULL;
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/sums", replica->dir);
    if (is_from_log)
        SQ_TRY(wal_log_sync(replica->host.log, err));
    else
        SQ_TRY(wal_log_restart(replica->host.log, position, err));
    SQ_TRY(page_sums_save(bootstrap_sums(replica->bootstrap), path, position->txid, position->timeline, err));
    SQ_TRY(applied_open(replica->dir, err, &records));
    sq_status status = applied_put_mark(records, mark, position, err);
    applied_close(records);
    return status;
}

/* All pages are in the bootstrap file. */
static sq_status become_database(struct repl_replica *replica, const struct wal_position *position, uint32_t page_count,
                                 bool is_from_log, struct sq_error *err)
{
    struct engine_file_mark mark;
    if (repl_feed_host_held(&replica->host, true) != UINT64_MAX)
        return sq_fail(err, SQ_BUSY, "'%s' is being read by a replica of its own", replica->name);
    SQ_TRY(bootstrap_finish(replica->bootstrap, page_count, position->checksum, err, &mark));
    make_way(replica);
    SQ_TRY(record(replica, position, is_from_log, &mark, err));
    SQ_TRY(replica_save_incarnation(replica, err));
    SQ_TRY(install(replica, err));
    sq_inject("repl.bootstrap.after_install");
    replica->is_losing = false;
    bootstrap_close(SQ_STEAL(replica->bootstrap));
    return replica_open(replica, err);
}

static sq_status heal_by_bootstrap(struct repl_replica *replica, struct sq_error *err)
{
    const struct repl_file_intent *intent = &replica->healing_intent;
    struct wal_position position = {intent->timeline, intent->max_txid, intent->checksum};
    return become_database(replica, &position, replica->healing_page_count, false, err);
}

sq_status replica_begin_from_log(struct repl_replica *replica, struct sq_error *err)
{
    struct wal_log_reader *reader = NULL;
    struct ltx_pages *pages = NULL;
    uint32_t page_number = 0;
    const void *page = NULL;
    SQ_TRY(wal_log_reader_open(replica->host.log, 0, err, &reader));
    SQ_TRY(ltx_pages_of_log(reader, err, &pages));
    struct ltx_header header = *ltx_pages_header(pages);
    bootstrap_close(SQ_STEAL(replica->bootstrap));
    sq_status status = bootstrap_remove(replica->dir, err);
    if (status == SQ_OK)
        status = bootstrap_open(replica->dir, header.page_bytes, err, &replica->bootstrap);
    do {
        if (status == SQ_OK)
            status = ltx_pages_next(pages, err, &page_number, &page);
        if (status == SQ_OK && page_number != 0)
            status = bootstrap_page(replica->bootstrap, page_number, page, err);
    } while (status == SQ_OK && page_number != 0);
    struct wal_position position = {.timeline = header.node_id, .txid = header.max_txid};
    if (status == SQ_OK)
        position.checksum = ltx_pages_trailer(pages)->post_checksum;
    ltx_pages_close(pages);
    SQ_TRY(status);
    return become_database(replica, &position, header.page_count, true, err);
}

/* --- Both --------------------------------------------------------------------------------------------------------- */

sq_status replica_heal(struct repl_replica *replica, struct sq_error *err)
{
    bool is_bootstrap = replica->is_heal_bootstrap;
    sq_status status = is_bootstrap ? heal_by_bootstrap(replica, err) : heal_database(replica, err);
    if (status == SQ_BUSY)
        return status;
    if (status == SQ_NOT_FOUND) {
        replica_mistrust(replica, err->text);
        return SQ_OK;
    }
    replica_lock(replica);
    replica->healing = REPLICA_NOT_HEALING;
    if (status != SQ_OK)
        replica->host.incarnation = replica->saved_incarnation; /* what was there is there still */
    if (status == SQ_OK && replica->is_known) {
        replica->facts.heal_count++;
        replica->written = wal_log_end(replica->host.log);
        replica_set_applied(replica, &replica->known);
        replica_notify(replica);
    }
    replica_unlock(replica);
    SQ_TRY(status);
    sq_log(SQ_LOG_INFO, "repl", "a replica's database is healed", "db=%s timeline=%" PRIu64 " txid=%" PRIu64,
           replica->name, replica->known.timeline, replica->known.txid);
    repl_job_post(&replica->sync);
    return SQ_OK;
}
