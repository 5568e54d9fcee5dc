/* repl/replica_copy.c: what the receiver calls (store.h): files are decoded as they come, so that nothing is believed that was not verified, and
 * written where a worker finds them. Nothing here waits for a sync.
 *
 *     the log's next file ─────────────────────────────────► the log, byte by byte
 *     one that begins before the log's end (compacted) ────► the log, encoded anew as if it began there: the log has no two
 *                                                            files of the same transaction
 *     healing file, of a database that is there ───────────► NAME.db-ltx/heal
 *     healing file, of one that is not, or of another page size ─► bootstrap.h */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repl/replica_internal.h"
#include "wal/checksum.h"
#include "wal/slots.h"

static struct repl_replica *replica_of(struct repl_copy *copy)
{
    return SQ_CONTAINER_OF(copy, struct repl_replica, copy);
}

/* --- Looking ------------------------------------------------------------------------------------------------------ */

static enum repl_copy_state state_of(const struct repl_replica *replica)
{
    switch (replica->state) {
    case REPLICA_READY:
        return REPL_COPY_READY;
    case REPLICA_HEAL:
        return REPL_COPY_HEAL;
    case REPLICA_PAUSED:
        return REPL_COPY_PAUSED;
    case REPLICA_FAILED:
        return REPL_COPY_FAILED;
    case REPLICA_CLOSED:
    case REPLICA_OPENING:
    case REPLICA_SCANNING:
        break;
    }
    return REPL_COPY_PENDING;
}

void repl_replica_look(struct repl_replica *replica, struct repl_copy_view *ret_view)
{
    replica_lock(replica);
    *ret_view = (struct repl_copy_view){.state = state_of(replica), .page_bytes = replica->page_bytes};
    if (ret_view->state == REPL_COPY_READY) {
        ret_view->written = replica->written;
        ret_view->incarnation = replica->written.txid > 0 ? replica->host.incarnation : 0;
    }
    if (replica->healing == REPLICA_NOT_HEALING) {
        ret_view->applied = replica->applied;
        ret_view->durable = replica->durable;
    }
    replica_unlock(replica);
}

static void copy_look(struct repl_copy *copy, struct repl_copy_view *ret_view)
{
    repl_replica_look(replica_of(copy), ret_view);
}

static void copy_reason(struct repl_copy *copy, struct sq_error *ret_reason)
{
    struct repl_replica *replica = replica_of(copy);
    replica_lock(replica);
    *ret_reason = replica->reason;
    replica_unlock(replica);
}

/* --- Beginning a file --------------------------------------------------------------------------------------------- */

static bool is_crowded(const struct repl_replica *replica)
{
    return replica->waiting_bytes > REPLICA_WAITING_BYTES_MAX || replica->waiting_count >= REPLICA_WAITING_FILES_MAX;
}

/* Under the mutex. */
static sq_status check_begin(struct repl_replica *replica, const struct repl_file_intent *intent, struct sq_error *err)
{
    enum repl_copy_state state = state_of(replica);
    bool is_busy = state == REPL_COPY_PENDING || replica->healing == REPLICA_HEALING_WAITS ||
                   replica->next_timeline != 0 || replica->is_scanning_bootstrap ||
                   (!intent->is_heal && is_crowded(replica));
    if (state == REPL_COPY_PAUSED || state == REPL_COPY_FAILED || (state == REPL_COPY_HEAL && !intent->is_heal)) {
        if (err != NULL)
            *err = replica->reason;
        return replica->reason.status;
    }
    replica->is_starved = is_busy;
    if (is_busy)
        return sq_fail(err, SQ_BUSY, "'%s' has no room for a file now", replica->name);
    const struct wal_position *written = &replica->written;
    bool fits = intent->is_heal ? intent->max_txid > 0
                                : !replica->is_frozen && intent->timeline == written->timeline &&
                                      intent->min_txid <= written->txid + 1 && intent->max_txid > written->txid;
    if (!fits)
        return sq_fail(err, SQ_INVALID, "a file with transactions %" PRIu64 " to %" PRIu64 " does not fit to '%s'",
                       intent->min_txid, intent->max_txid, replica->name);
    return SQ_OK;
}

static sq_status open_heal_file(struct repl_replica *replica, struct sq_error *err)
{
    char path[PATH_MAX];
    SQ_TRY(replica_heal_path(replica, err, path));
    replica->incoming.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return replica->incoming.fd >= 0 ? SQ_OK : sq_fail_errno(err, errno, "cannot open '%s'", path);
}

static sq_status begin_incoming(struct repl_replica *replica, bool has_database, struct sq_error *err)
{
    struct replica_incoming *incoming = &replica->incoming;
    SQ_TRY(ltx_decoder_new(err, &incoming->decoder));
    if (incoming->kind == INCOMING_HEAL)
        return has_database ? open_heal_file(replica, err) : SQ_OK;
    return wal_log_file_new(replica->host.log, err, &incoming->file);
}

static sq_status copy_begin(struct repl_copy *copy, const struct repl_file_intent *intent, struct sq_error *err)
{
    struct repl_replica *replica = replica_of(copy);
    struct replica_incoming *incoming = &replica->incoming;
    sq_assert(incoming->kind == INCOMING_NONE);
    replica_lock(replica);
    sq_status status = check_begin(replica, intent, err);
    bool has_database = replica->page_bytes != 0;
    if (status == SQ_OK) {
        enum incoming_kind kind = INCOMING_HEAL;
        if (!intent->is_heal)
            kind = intent->min_txid == replica->written.txid + 1 ? INCOMING_LOG : INCOMING_RECODED;
        *incoming = (struct replica_incoming){.kind = kind, .intent = *intent, .start = replica->written, .fd = -1};
        if (intent->is_heal)
            replica->healing = REPLICA_HEALING_COMES;
    }
    replica_unlock(replica);
    SQ_TRY(status);
    status = begin_incoming(replica, has_database, err);
    if (status != SQ_OK)
        replica_abort_incoming(replica);
    return status;
}

/* --- Its bytes ---------------------------------------------------------------------------------------------------- */

/* Another page size than that of the database that is there, or there is none: the file will be the database. */
static sq_status begin_bootstrap(struct repl_replica *replica, const struct ltx_header *header, struct sq_error *err)
{
    if (replica->bootstrap != NULL && bootstrap_page_bytes(replica->bootstrap) != header->page_bytes) {
        bootstrap_close(replica->bootstrap);
        replica->bootstrap = NULL;
    }
    if (replica->bootstrap == NULL) /* nothing of what it has is known: all of it comes */
        SQ_TRY(bootstrap_open(replica->dir, header->page_bytes, err, &replica->bootstrap));
    replica->incoming.kind = INCOMING_BOOTSTRAP;
    return SQ_OK;
}

static sq_status begin_recoding(struct replica_incoming *incoming, struct sq_error *err)
{
    incoming->header.min_txid = incoming->start.txid + 1;
    incoming->header.pre_checksum = incoming->start.checksum;
    incoming->header.wal_offset = incoming->header.wal_bytes = 0;
    incoming->header.wal_salt1 = incoming->header.wal_salt2 = 0;
    return ltx_encoder_new(wal_log_file_output(incoming->file), &incoming->header, err, &incoming->encoder);
}

static sq_status take_header(struct repl_replica *replica, struct sq_error *err)
{
    struct replica_incoming *incoming = &replica->incoming;
    const struct repl_file_intent *intent = &incoming->intent;
    const struct ltx_header *header = ltx_decoder_header(incoming->decoder);
    incoming->header = *header;
    incoming->has_header = true;
    if (header->min_txid > header->max_txid || header->max_txid != intent->max_txid ||
        header->node_id != intent->timeline || (!intent->is_heal && header->min_txid != intent->min_txid))
        return sq_fail(err, SQ_CORRUPT,
                       "a file is of transactions %" PRIu64 " to %" PRIu64 " on timeline %" PRIu64
                       ", which was not said",
                       header->min_txid, header->max_txid, header->node_id);
    if (intent->is_heal)
        return header->page_bytes == replica->page_bytes ? SQ_OK : begin_bootstrap(replica, header, err);
    if (replica->page_bytes != 0 && header->page_bytes != replica->page_bytes)
        return sq_fail(err, SQ_CORRUPT, "a file has pages of %u bytes, the database of %u", header->page_bytes,
                       replica->page_bytes);
    return incoming->kind == INCOMING_RECODED ? begin_recoding(incoming, err) : SQ_OK;
}

static sq_status take_page(struct repl_replica *replica, uint32_t page_number, const void *page, struct sq_error *err)
{
    if (replica->incoming.kind == INCOMING_BOOTSTRAP)
        return bootstrap_page(replica->bootstrap, page_number, page, err);
    if (replica->incoming.kind == INCOMING_RECODED)
        return ltx_encoder_page(replica->incoming.encoder, page_number, page, err);
    return SQ_OK;
}

static sq_status decode(struct repl_replica *replica, const uint8_t *bytes, size_t length, struct sq_error *err)
{
    struct replica_incoming *incoming = &replica->incoming;
    enum ltx_event event;
    do {
        uint32_t page_number = 0;
        const void *page = NULL;
        if (incoming->is_whole && length > 0)
            return sq_fail(err, SQ_CORRUPT, "a file goes on after its end");
        SQ_TRY(ltx_decoder_feed(incoming->decoder, &bytes, &length, err, &event, &page_number, &page));
        if (event == LTX_HEADER)
            SQ_TRY(take_header(replica, err));
        else if (event == LTX_PAGE)
            SQ_TRY(take_page(replica, page_number, page, err));
        else if (event == LTX_DONE)
            incoming->is_whole = true;
    } while (event != LTX_MORE && !(event == LTX_DONE && length == 0));
    return SQ_OK;
}

/* As they are, for who wants them so. */
static sq_status keep(struct repl_replica *replica, const void *bytes, size_t length, struct sq_error *err)
{
    struct replica_incoming *incoming = &replica->incoming;
    if (incoming->kind == INCOMING_LOG) {
        struct ltx_output *output = wal_log_file_output(incoming->file);
        SQ_TRY(output->write_cb(output, bytes, length, err));
    } else if (incoming->kind == INCOMING_HEAL && incoming->fd >= 0) {
        SQ_TRY(wal_write_at(incoming->fd, incoming->bytes, bytes, length, err));
    }
    incoming->bytes += length;
    return SQ_OK;
}

/* A full disk is not the file's fault. */
static void pause_if_full(struct repl_replica *replica, sq_status status, const struct sq_error *err)
{
    if (status != SQ_IO && status != SQ_NOMEM)
        return;
    replica_lock(replica);
    if (replica->state == REPLICA_READY || replica->state == REPLICA_HEAL)
        replica_set_trouble(replica, REPLICA_PAUSED, err);
    replica_unlock(replica);
}

static sq_status copy_append(struct repl_copy *copy, const void *bytes, size_t length, struct sq_error *err)
{
    struct repl_replica *replica = replica_of(copy);
    struct sq_error own;
    struct sq_error *reason = err != NULL ? err : &own;
    sq_assert(replica->incoming.kind != INCOMING_NONE);
    sq_status status = decode(replica, bytes, length, reason);
    if (status == SQ_OK)
        status = keep(replica, bytes, length, reason);
    if (status != SQ_OK) {
        replica_abort_incoming(replica);
        pause_if_full(replica, status, reason);
    }
    return status;
}

/* --- Its end ------------------------------------------------------------------------------------------------------ */

static sq_status check_whole(const struct replica_incoming *incoming, struct sq_error *err)
{
    if (!incoming->is_whole)
        return sq_fail(err, SQ_CORRUPT, "a file ends after %" PRIu64 " bytes", incoming->bytes);
    uint64_t checksum = ltx_decoder_trailer(incoming->decoder)->post_checksum;
    if (checksum != incoming->intent.checksum)
        return sq_fail(err, SQ_CORRUPT, "a file leads to checksum %016" PRIx64 ", which was not said", checksum);
    return SQ_OK;
}

static sq_status commit_to_log(struct repl_replica *replica, struct sq_error *err)
{
    struct replica_incoming *incoming = &replica->incoming;
    struct ltx_trailer trailer = *ltx_decoder_trailer(incoming->decoder);
    struct replica_waiting *waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a file of '%s'", replica->name);
    waiting->max_txid = incoming->header.max_txid;
    waiting->bytes = incoming->bytes;
    sq_status status = SQ_OK;
    if (incoming->kind == INCOMING_RECODED)
        status = ltx_encoder_finish(incoming->encoder, incoming->intent.checksum, err, &trailer, &waiting->bytes);
    if (status == SQ_OK)
        status = wal_log_file_commit(SQ_STEAL(incoming->file), &incoming->header, &trailer, err);
    if (status != SQ_OK) {
        free(waiting);
        return status;
    }
    replica_lock(replica);
    sq_list_init(&waiting->links);
    sq_list_push_back(&replica->waiting, &waiting->links);
    replica->waiting_bytes += waiting->bytes;
    replica->waiting_count++;
    replica->written = wal_log_end(replica->host.log);
    replica->host.incarnation = incoming->intent.incarnation; /* the same, unless this is its first file */
    replica_unlock(replica);
    return SQ_OK;
}

static void commit_healing(struct repl_replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    replica_lock(replica);
    replica_forget_waiting(replica);
    replica->healing = REPLICA_HEALING_WAITS;
    replica->healing_intent = incoming->intent;
    replica->healing_page_count = incoming->header.page_count;
    replica->is_heal_bootstrap = incoming->kind == INCOMING_BOOTSTRAP;
    replica->is_frozen = false;
    replica->host.incarnation = incoming->intent.incarnation;
    replica->written =
        (struct wal_position){incoming->intent.timeline, incoming->intent.max_txid, incoming->intent.checksum};
    replica_set_state(replica, REPLICA_READY);
    replica_unlock(replica);
}

static void free_incoming(struct replica_incoming *incoming)
{
    ltx_encoder_free(incoming->encoder);
    ltx_decoder_free(incoming->decoder);
    wal_log_file_abort(incoming->file);
    if (incoming->kind != INCOMING_NONE && incoming->fd >= 0)
        close(incoming->fd);
    *incoming = (struct replica_incoming){.kind = INCOMING_NONE, .fd = -1};
}

static sq_status copy_commit(struct repl_copy *copy, struct sq_error *err)
{
    struct repl_replica *replica = replica_of(copy);
    struct sq_error own;
    struct sq_error *reason = err != NULL ? err : &own;
    struct replica_incoming *incoming = &replica->incoming;
    sq_assert(incoming->kind != INCOMING_NONE);
    sq_status status = check_whole(incoming, reason);
    if (status == SQ_OK && incoming->intent.is_heal)
        commit_healing(replica);
    else if (status == SQ_OK)
        status = commit_to_log(replica, reason);
    if (status != SQ_OK) {
        replica_abort_incoming(replica);
        pause_if_full(replica, status, reason);
        return status;
    }
    free_incoming(incoming);
    repl_job_post(&replica->work);
    return SQ_OK;
}

void replica_abort_incoming(struct repl_replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    bool is_bootstrap = incoming->kind == INCOMING_BOOTSTRAP;
    if (is_bootstrap) { /* what has come stays in the file, and is read again when it is asked for */
        bootstrap_close(replica->bootstrap);
        replica->bootstrap = NULL;
    }
    bool is_heal = incoming->kind != INCOMING_NONE && incoming->intent.is_heal;
    free_incoming(incoming);
    replica_lock(replica);
    if (is_heal && replica->healing == REPLICA_HEALING_COMES)
        replica->healing = REPLICA_NOT_HEALING;
    replica->is_frozen = false;
    replica->wanted_sums = 0;
    if (is_bootstrap && replica->page_bytes == 0 && replica->state == REPLICA_READY) {
        struct sq_error reason;
        sq_fail(&reason, SQ_NOT_FOUND, "'%s' has come in part", replica->name);
        replica_set_trouble(replica, REPLICA_HEAL, &reason);
    }
    replica_unlock(replica);
    repl_job_post(&replica->work);
}

static void copy_abort(struct repl_copy *copy)
{
    replica_abort_incoming(replica_of(copy));
}

/* --- The rest ----------------------------------------------------------------------------------------------------- */

static sq_status copy_begin_timeline(struct repl_copy *copy, uint64_t timeline, struct sq_error *err)
{
    struct repl_replica *replica = replica_of(copy);
    sq_status status = SQ_OK;
    replica_lock(replica);
    if (replica->state != REPLICA_READY || timeline <= replica->written.timeline) {
        status = sq_fail(err, SQ_INVALID, "timeline %" PRIu64 " does not fit to '%s'", timeline, replica->name);
    } else {
        replica->next_timeline = timeline;
        replica->written.timeline = timeline;
    }
    replica_unlock(replica);
    repl_job_post(&replica->work);
    return status;
}

static void copy_resume(struct repl_copy *copy)
{
    struct repl_replica *replica = replica_of(copy);
    replica_lock(replica);
    if (replica->state == REPLICA_PAUSED)
        replica_set_state(replica, REPLICA_OPENING);
    replica_unlock(replica);
    repl_job_post(&replica->work);
}

static void copy_sums_out(const struct page_sums *sums, uint32_t first_page, uint64_t *out, size_t count_max,
                          size_t *ret_count, bool *ret_is_end)
{
    uint32_t page_count = page_sums_page_count(sums);
    size_t count = 0;
    while (count < count_max && first_page + count <= page_count) {
        out[count] = page_sums_get(sums, (uint32_t)(first_page + count));
        count++;
    }
    *ret_count = count;
    *ret_is_end = first_page + count > page_count;
}

/* Of a database that is not there yet: what has come of it has to be read first. NULL: not read yet, or nothing has come. Under the mutex. */
static const struct page_sums *sums_of_bootstrap(struct repl_replica *replica, uint32_t page_bytes, bool *ret_is_end)
{
    if (replica->wanted_sums == page_bytes && replica->are_sums_there)
        return bootstrap_sums(replica->bootstrap);
    *ret_is_end = replica->wanted_sums == 0 && !bootstrap_is_there(replica->dir);
    if (!*ret_is_end && replica->wanted_sums == 0) {
        replica->wanted_sums = page_bytes;
        replica->are_sums_there = false;
        repl_job_post(&replica->work);
    }
    return NULL;
}

static sq_status copy_sums(struct repl_copy *copy, uint32_t page_bytes, uint32_t first_page, uint64_t *sums,
                           size_t count_max, struct sq_error *err, size_t *ret_count, bool *ret_is_end)
{
    struct repl_replica *replica = replica_of(copy);
    sq_status status = SQ_OK;
    *ret_count = 0;
    *ret_is_end = false;
    replica_lock(replica);
    bool is_applied = replica->state == REPLICA_HEAL || replica->written.txid == replica->applied.txid;
    if ((replica->state != REPLICA_READY && replica->state != REPLICA_HEAL) ||
        replica->healing != REPLICA_NOT_HEALING) {
        status = sq_fail(err, SQ_INVALID, "'%s' has no checksums of pages now", replica->name);
    } else if (is_applied && replica->next_timeline == 0) {
        const struct page_sums *found = replica->sums;
        replica->is_frozen = true;
        if (replica->page_bytes == 0)
            found = sums_of_bootstrap(replica, page_bytes, ret_is_end);
        else if (replica->page_bytes != page_bytes)
            *ret_is_end = true;
        if (found != NULL && !*ret_is_end)
            copy_sums_out(found, first_page, sums, count_max, ret_count, ret_is_end);
    }
    replica_unlock(replica);
    return status;
}

static void copy_close(struct repl_copy *copy)
{
    struct repl_replica *replica = replica_of(copy);
    replica_lock(replica);
    replica->waker = NULL;
    replica_unlock(replica);
    replica_abort_incoming(replica);
}

const struct repl_copy_ops replica_copy_ops = {
    .look_cb = copy_look,
    .reason_cb = copy_reason,
    .begin_cb = copy_begin,
    .append_cb = copy_append,
    .commit_cb = copy_commit,
    .abort_cb = copy_abort,
    .begin_timeline_cb = copy_begin_timeline,
    .resume_cb = copy_resume,
    .sums_cb = copy_sums,
    .close_cb = copy_close,
};
