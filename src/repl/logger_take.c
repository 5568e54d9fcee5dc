/* repl/logger_take.c: frames of the WAL that have become durable, into files of the log.
 *
 *     WAL    …] 7 3 7* ] 9 3* ] 2 8 …          * commits
 *               place ▲       ▲ durable
 *     file     3 7 9, of two transactions
 *
 * A file has the pages of one or more whole transactions, each page once, as the last one left it. Frames are looked at once to
 * learn which pages there are, and read again in the order of pages, but for the first ones, which are kept. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/inject.h"
#include "repl/logger_internal.h"
#include "wal/checksum.h"
#include "wal/ltx.h"

enum { WAL_HEADER_BYTES = 32, WAL_FRAME_HEADER_BYTES = 24, CROSS_TRIES_MAX = 8, SNAPSHOT_TRIES_MAX = 100 };

struct batch {
    uint32_t from;
    uint32_t end; /* the frame after the last commit */
    uint32_t commit_count;
    uint32_t page_count; /* of the database afterwards */
    size_t count;        /* pages, in logger->frames */
};

/* --- Which frames ---------------------------------------------------------------------------------------------------- */

static sq_status reserve_frames(struct repl_logger *logger, size_t count, struct sq_error *err)
{
    if (logger->pages == NULL)
        logger->pages = calloc(LOGGER_KEPT_FRAMES + 1, logger->page_bytes);
    if (logger->pages == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to log a transaction");
    if (count <= logger->frame_cap)
        return SQ_OK;
    size_t cap = count > 2 * logger->frame_cap ? count : 2 * logger->frame_cap;
    struct logger_frame *frames = reallocarray(logger->frames, cap, sizeof(*frames));
    if (frames == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to log a transaction of %zu frames", count);
    logger->frames = frames;
    uint64_t *new_sums = reallocarray(logger->new_sums, cap, sizeof(*new_sums));
    if (new_sums == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to log a transaction of %zu frames", count);
    logger->new_sums = new_sums;
    logger->frame_cap = cap;
    return SQ_OK;
}

/* After a transaction far larger than others. */
static void give_up_frames(struct repl_logger *logger)
{
    if (logger->frame_cap <= 4 * LOGGER_BATCH_FRAMES)
        return;
    free(logger->frames);
    free(logger->new_sums);
    logger->frames = NULL;
    logger->new_sums = NULL;
    logger->frame_cap = 0;
}

static void *kept_page(struct repl_logger *logger, const struct batch *batch, uint32_t index)
{
    uint32_t slot = index - batch->from;
    return slot < LOGGER_KEPT_FRAMES ? logger->pages + (size_t)slot * logger->page_bytes : NULL;
}

/* Whole transactions from `place` on, at most up to frame `limit`, where one ends. */
static sq_status look_at_frames(struct repl_logger *logger, uint32_t limit, struct sq_error *err, struct batch *batch)
{
    *batch = (struct batch){.from = logger->place.frame_count, .end = logger->place.frame_count};
    for (uint32_t index = batch->from; index < limit; index++) {
        uint32_t page_number = 0;
        uint32_t commit = 0;
        SQ_TRY(reserve_frames(logger, (size_t)(index - batch->from) + 1, err));
        SQ_TRY(wal_file_frame(logger->file, &logger->place, index, err, &page_number, &commit,
                              kept_page(logger, batch, index)));
        logger->frames[index - batch->from] = (struct logger_frame){page_number, index};
        if (commit == 0)
            continue;
        batch->end = index + 1;
        batch->page_count = commit;
        batch->commit_count++;
        if (batch->end - batch->from >= LOGGER_BATCH_FRAMES)
            break;
    }
    if (batch->end == batch->from)
        return sq_fail(err, SQ_CORRUPT, "no transaction ends in frames %u to %u of the write-ahead log", batch->from,
                       limit);
    batch->count = batch->end - batch->from;
    return SQ_OK;
}

/* By page, the last one of a page first. */
static int compare_frames(const void *left, const void *right)
{
    const struct logger_frame *one = left;
    const struct logger_frame *other = right;
    if (one->page_number != other->page_number)
        return one->page_number < other->page_number ? -1 : 1;
    return one->index > other->index ? -1 : one->index < other->index;
}

/* Each page once, and none that is gone. SQ_NOT_FOUND: the database has grown by pages that no frame has. */
static sq_status choose_frames(struct repl_logger *logger, struct batch *batch, struct sq_error *err)
{
    uint32_t before = page_sums_page_count(logger->sums);
    uint32_t lock_page = wal_lock_page(logger->page_bytes);
    uint32_t new_count = 0;
    size_t count = 0;
    qsort(logger->frames, batch->count, sizeof(logger->frames[0]), compare_frames);
    for (size_t i = 0; i < batch->count; i++) {
        struct logger_frame frame = logger->frames[i];
        bool is_older = count > 0 && logger->frames[count - 1].page_number == frame.page_number;
        if (is_older || frame.page_number > batch->page_count || frame.page_number == lock_page)
            continue;
        new_count += frame.page_number > before;
        logger->frames[count++] = frame;
    }
    batch->count = count;
    if (batch->page_count <= before)
        return SQ_OK;
    uint32_t expected = batch->page_count - before - (before < lock_page && lock_page <= batch->page_count);
    if (new_count != expected)
        return sq_fail(err, SQ_NOT_FOUND, "the database has grown by %u pages, of which %u are in its log", expected,
                       new_count);
    return SQ_OK;
}

/* --- A file ---------------------------------------------------------------------------------------------------------- */

static struct ltx_header header_of(const struct repl_logger *logger, const struct batch *batch,
                                   const struct wal_position *end)
{
    uint64_t frame_bytes = (uint64_t)logger->page_bytes + WAL_FRAME_HEADER_BYTES;
    return (struct ltx_header){.page_bytes = logger->page_bytes,
                               .page_count = batch->page_count,
                               .min_txid = end->txid + 1,
                               .max_txid = end->txid + batch->commit_count,
                               .timestamp_ms = sq_clock_wall_us() / SQ_US_PER_MS,
                               .pre_checksum = end->checksum,
                               .wal_offset = WAL_HEADER_BYTES + batch->from * frame_bytes,
                               .wal_bytes = (batch->end - batch->from) * frame_bytes,
                               .wal_salt1 = logger->place.salt1,
                               .wal_salt2 = logger->place.salt2,
                               .node_id = end->timeline};
}

/* *checksum: the database's, before and after. */
static sq_status put_pages(struct repl_logger *logger, const struct batch *batch, struct ltx_encoder *encoder,
                           struct sq_error *err, uint64_t *checksum)
{
    void *scratch = logger->pages + (size_t)LOGGER_KEPT_FRAMES * logger->page_bytes;
    for (size_t i = 0; i < batch->count; i++) {
        struct logger_frame frame = logger->frames[i];
        void *page = kept_page(logger, batch, frame.index);
        if (page == NULL) {
            uint32_t page_number = 0;
            uint32_t commit = 0;
            page = scratch;
            SQ_TRY(wal_file_frame(logger->file, &logger->place, frame.index, err, &page_number, &commit, page));
            if (page_number != frame.page_number)
                return sq_fail(err, SQ_NOT_FOUND, "frame %u of the write-ahead log is another one now", frame.index);
        }
        logger->new_sums[i] = wal_page_checksum(frame.page_number, page, logger->page_bytes);
        *checksum =
            wal_checksum_exchange(*checksum, page_sums_get(logger->sums, frame.page_number), logger->new_sums[i]);
        SQ_TRY(ltx_encoder_page(encoder, frame.page_number, page, err));
    }
    for (uint32_t gone = batch->page_count; gone < page_sums_page_count(logger->sums); gone++)
        *checksum = wal_checksum_exchange(*checksum, page_sums_get(logger->sums, gone + 1), 0);
    return SQ_OK;
}

static sq_status write_file(struct repl_logger *logger, const struct batch *batch, const struct ltx_header *header,
                            struct sq_error *err, struct ltx_trailer *ret_trailer)
{
    struct wal_log_file *file = NULL;
    struct ltx_encoder *encoder = NULL;
    uint64_t checksum = header->pre_checksum;
    uint64_t bytes = 0;
    SQ_TRY(wal_log_file_new(logger->host.log, err, &file));
    sq_status status = ltx_encoder_new(wal_log_file_output(file), header, err, &encoder);
    if (status == SQ_OK)
        status = put_pages(logger, batch, encoder, err, &checksum);
    if (status == SQ_OK)
        status = ltx_encoder_finish(encoder, checksum, err, ret_trailer, &bytes);
    ltx_encoder_free(encoder);
    if (status == SQ_OK)
        status = sq_inject_status("repl.log.before_commit", err);
    if (status != SQ_OK) {
        wal_log_file_abort(file);
        return status;
    }
    SQ_TRY(wal_log_file_commit(file, header, ret_trailer, err));
    sq_inject("repl.log.after_commit");
    logger->unsaved_bytes += bytes;
    return SQ_OK;
}

/* The file is in the log. Without memory for the checksums they are not known any more, and the database is read. */
static sq_status apply_sums(struct repl_logger *logger, const struct batch *batch, uint64_t checksum,
                            struct sq_error *err)
{
    sq_status status = page_sums_resize(logger->sums, batch->page_count, err);
    for (size_t i = 0; i < batch->count && status == SQ_OK; i++)
        status = page_sums_set(logger->sums, logger->frames[i].page_number, logger->new_sums[i], err);
    if (status == SQ_OK) {
        sq_assert(page_sums_database(logger->sums) == checksum);
        return SQ_OK;
    }
    page_sums_free(logger->sums);
    logger->sums = NULL;
    return sq_fail(err, SQ_NOT_FOUND, "out of memory for the checksums of %u pages", batch->page_count);
}

static sq_status take_batch(struct repl_logger *logger, const struct engine_wal_state *state, uint32_t limit,
                            struct sq_error *err)
{
    struct batch batch;
    struct ltx_trailer trailer = {0};
    SQ_TRY(look_at_frames(logger, limit, err, &batch));
    SQ_TRY(choose_frames(logger, &batch, err));
    struct wal_position end = wal_log_end(logger->host.log);
    struct ltx_header header = header_of(logger, &batch, &end);
    bool is_first = batch.from == 0;
    SQ_TRY(write_file(logger, &batch, &header, err, &trailer));
    logger->place.frame_count = batch.end;
    logger->change_count += batch.commit_count;
    SQ_TRY(apply_sums(logger, &batch, trailer.post_checksum, err));
    give_up_frames(logger);
    logger_advance(logger, logger_position_at(state, batch.end));
    if (!is_first)
        return SQ_OK;
    /* Once it is on disk the log says which generation it is in, whatever is lost of what follows. */
    pthread_mutex_lock(&logger->host.mutex);
    logger->needs_sync = true;
    pthread_mutex_unlock(&logger->host.mutex);
    loggers_hurry(logger->loggers);
    return SQ_OK;
}

/* --- From one generation to the next --------------------------------------------------------------------------------- */

/* The WAL has been begun anew since `place`. If the wal-index counts no more commits than were taken and those that it has
 * now, nothing is missing. */
static sq_status cross(struct repl_logger *logger, struct engine_wal_state *state, struct sq_error *err)
{
    sq_status status = SQ_NOT_FOUND;
    uint32_t count = 0;
    for (int try_count = 0; status == SQ_NOT_FOUND && try_count < CROSS_TRIES_MAX; try_count++) {
        *state = engine_durability_state(logger->durability);
        struct wal_place place = {state->salt1, state->salt2, state->frame_count};
        status = logger_count_commits(logger, &place, 0, state->frame_count, err, &count);
    }
    SQ_TRY(status);
    if (logger->change_count + count != state->change_count)
        return sq_fail(err, SQ_NOT_FOUND, "%u transactions are not in the write-ahead log any more",
                       state->change_count - logger->change_count - count);
    logger->place = (struct wal_place){state->salt1, state->salt2, 0};
    logger_advance(logger, logger_position_at(state, 0));
    return SQ_OK;
}

sq_status logger_take(struct repl_logger *logger, engine_position told, struct sq_error *err)
{
    struct engine_wal_state state = engine_durability_state(logger->durability);
    while (!logger_is_generation(&state, &logger->place))
        SQ_TRY(cross(logger, &state, err));
    if (told >> 32 != state.position >> 32) /* nothing of this generation is durable yet */
        return SQ_OK;
    uint32_t limit = told < state.position ? (uint32_t)told : state.frame_count;
    while (logger->place.frame_count < limit)
        SQ_TRY(take_batch(logger, &state, limit, err));
    return SQ_OK;
}

/* --- Snapshots ------------------------------------------------------------------------------------------------------- */

static bool is_at(const struct repl_logger *logger, const struct wal_place *place)
{
    return logger->place.salt1 == place->salt1 && logger->place.salt2 == place->salt2 &&
           logger->place.frame_count == place->frame_count;
}

static sq_status reach(struct repl_logger *logger, const struct wal_place *place, struct sq_error *err)
{
    struct engine_wal_state state = engine_durability_state(logger->durability);
    if (!logger_is_generation(&state, place))
        return SQ_OK; /* begun anew, and not there any more */
    engine_position position = logger_position_at(&state, place->frame_count);
    SQ_TRY(engine_follower_sync(logger->durability, position, err));
    return logger_take(logger, position, err);
}

sq_status logger_snapshot(struct repl_logger *logger, struct repl_snapshot *snapshot, struct sq_error *err)
{
    for (int try_count = 0; try_count < SNAPSHOT_TRIES_MAX; try_count++) {
        SQ_TRY(wal_snapshot_begin(snapshot->file, err, &snapshot->pages));
        struct wal_place place = wal_snapshot_place(snapshot->pages);
        SQ_TRY(reach(logger, &place, err));
        if (is_at(logger, &place)) {
            SQ_TRY(page_sums_copy(logger->sums, err, &snapshot->sums));
            sq_assert(wal_snapshot_page_count(snapshot->pages) == page_sums_page_count(snapshot->sums));
            snapshot->position = wal_log_end(logger->host.log);
            return SQ_OK;
        }
        wal_snapshot_end(snapshot->pages);
        snapshot->pages = NULL;
    }
    return sq_fail(err, SQ_BUSY, "the write-ahead log is begun anew all the time");
}
