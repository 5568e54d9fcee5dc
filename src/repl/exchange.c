/* repl/exchange.c: a snapshot of a database, compared with the checksums of a replica's pages, as one LTX file (source.h, feed.h).
 *
 * The thread makes the snapshot, sleeps while the sender compares, then reads and encodes pages into the ring, and sleeps when that
 * is full. It frees itself: whoever closes an exchange does not wait for it.
 *
 * Invariants: (1) the snapshot is the thread's, but while the state is SUMS its checksums and position are read by the sender's; (2) the ring is written by the
 * thread and read by the sender, under the mutex; (3) no waker is called after close. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/follower.h"
#include "repl/feed_internal.h"
#include "wal/checksum.h"
#include "wal/ltx.h"

enum { RING_BYTES = 4 * REPL_CHUNK_BYTES_MAX };

struct exchange {
    struct repl_exchange base;
    struct repl_feed_host *host;
    struct log_feed *feed; /* guarded by the host's mutex; NULL: closed */
    struct repl_snapshot snapshot;
    struct wal_position position; /* the snapshot's: set before the state is SUMS, as the next two */
    uint32_t page_bytes;
    uint32_t page_count;
    /* The sender's, while the state is SUMS; then the thread's. */
    uint8_t *same; /* a bit for each page: the replica has it */
    uint32_t given_count;
    uint64_t given_checksum;
    struct ltx_output output;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t cond;   /* the thread waits */
    unsigned ref_count;    /* the owner's and the thread's */
    struct sq_waker *waker;
    enum repl_exchange_state state;
    struct sq_error reason;
    bool is_canceled;
    bool is_made;   /* all bytes are in the ring */
    bool is_hungry; /* the sender found less than it wants */
    uint64_t written;
    uint64_t read;
    uint8_t ring[RING_BYTES];
};

void repl_snapshot_done(struct repl_snapshot *snapshot)
{
    wal_snapshot_end(snapshot->pages);
    wal_file_free(snapshot->file);
    page_sums_free(snapshot->sums);
    engine_follower_disconnect(snapshot->connection);
    *snapshot = (struct repl_snapshot){0};
}

static void exchange_unref(struct exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    bool is_last = --exchange->ref_count == 0;
    pthread_mutex_unlock(&exchange->mutex);
    if (!is_last)
        return;
    repl_feed_host_unref(exchange->host);
    pthread_cond_destroy(&exchange->cond);
    pthread_mutex_destroy(&exchange->mutex);
    free(exchange->same);
    free(exchange);
}

/* Under the mutex. */
static void wake(struct exchange *exchange)
{
    if (exchange->waker != NULL)
        sq_waker_wake(exchange->waker);
}

/* Under the mutex. */
static void cancel(struct exchange *exchange)
{
    exchange->is_canceled = true;
    pthread_cond_signal(&exchange->cond);
}

void exchange_cancel(struct exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    cancel(exchange);
    pthread_mutex_unlock(&exchange->mutex);
}

/* --- The thread ------------------------------------------------------------------------------------------------------ */

static sq_status fail_canceled(struct sq_error *err)
{
    return sq_fail(err, SQ_CANCELED, "the exchange has ended early");
}

static sq_status write_to_ring(struct ltx_output *output, const void *bytes, size_t length, struct sq_error *err)
{
    struct exchange *exchange = SQ_CONTAINER_OF(output, struct exchange, output);
    const uint8_t *from = bytes;
    pthread_mutex_lock(&exchange->mutex);
    while (length > 0 && !exchange->is_canceled) {
        size_t at = exchange->written % RING_BYTES;
        size_t room = RING_BYTES - (size_t)(exchange->written - exchange->read);
        size_t part = room < RING_BYTES - at ? room : RING_BYTES - at;
        if (part > length)
            part = length;
        if (part == 0) {
            pthread_cond_wait(&exchange->cond, &exchange->mutex);
            continue;
        }
        memcpy(exchange->ring + at, from, part);
        exchange->written += part;
        from += part;
        length -= part;
        if (exchange->is_hungry && exchange->written - exchange->read >= REPL_CHUNK_BYTES_MAX) {
            exchange->is_hungry = false;
            wake(exchange);
        }
    }
    bool is_canceled = exchange->is_canceled;
    pthread_mutex_unlock(&exchange->mutex);
    return is_canceled ? fail_canceled(err) : SQ_OK;
}

static bool is_same(const struct exchange *exchange, uint32_t page_number)
{
    uint32_t index = page_number - 1;
    return page_number <= exchange->given_count && (exchange->same[index / 8] >> (index % 8) & 1) != 0;
}

static sq_status put_page(struct exchange *exchange, struct ltx_encoder *encoder, uint32_t page_number, void *page,
                          struct sq_error *err)
{
    SQ_TRY(wal_snapshot_page(exchange->snapshot.pages, page_number, page, err));
    if (wal_page_checksum(page_number, page, exchange->page_bytes) !=
        page_sums_get(exchange->snapshot.sums, page_number)) {
        exchange->host->ops->mistrust_cb(exchange->host);
        return sq_fail(err, SQ_CORRUPT, "page %u of the database is not what the log says", page_number);
    }
    return ltx_encoder_page(encoder, page_number, page, err);
}

static sq_status put_pages(struct exchange *exchange, struct ltx_encoder *encoder, struct sq_error *err)
{
    void *page = malloc(exchange->page_bytes);
    if (page == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a page");
    uint32_t lock_page = wal_lock_page(exchange->page_bytes);
    sq_status status = SQ_OK;
    for (uint32_t i = 0; i < exchange->page_count && status == SQ_OK; i++) {
        if (i + 1 != lock_page && !is_same(exchange, i + 1))
            status = put_page(exchange, encoder, i + 1, page, err);
    }
    free(page);
    return status;
}

static sq_status make_file(struct exchange *exchange, struct sq_error *err)
{
    const struct wal_position *position = &exchange->position;
    bool is_whole = exchange->given_count == 0;
    struct ltx_header header = {.page_bytes = exchange->page_bytes,
                                .page_count = exchange->page_count,
                                .min_txid = is_whole ? 1 : position->txid,
                                .max_txid = position->txid,
                                .timestamp_ms = sq_clock_wall_us() / SQ_US_PER_MS,
                                .pre_checksum = is_whole ? 0 : WAL_CHECKSUM_FLAG | exchange->given_checksum,
                                .node_id = position->timeline};
    struct ltx_encoder *encoder = NULL;
    struct ltx_trailer trailer;
    uint64_t bytes = 0;
    if (!is_whole && position->txid == 1) /* which in LTX is a snapshot. Our logs begin after 2 */
        return sq_fail(err, SQ_INVALID, "a file of differences cannot lead to transaction 1");
    SQ_TRY(ltx_encoder_new(&exchange->output, &header, err, &encoder));
    sq_status status = put_pages(exchange, encoder, err);
    if (status == SQ_OK)
        status = ltx_encoder_finish(encoder, position->checksum, err, &trailer, &bytes);
    ltx_encoder_free(encoder);
    return status;
}

/* As long as the exchange is open the log keeps what comes after its position. */
static void hold(struct exchange *exchange)
{
    pthread_mutex_lock(&exchange->host->mutex);
    if (exchange->feed != NULL)
        exchange->feed->exchange_txid = exchange->position.txid;
    pthread_mutex_unlock(&exchange->host->mutex);
}

static sq_status prepare(struct exchange *exchange, struct sq_error *err)
{
    SQ_TRY(exchange->host->ops->snapshot_cb(exchange->host, err, &exchange->snapshot));
    exchange->position = exchange->snapshot.position;
    hold(exchange);
    exchange->page_bytes = page_sums_page_bytes(exchange->snapshot.sums);
    exchange->page_count = page_sums_page_count(exchange->snapshot.sums);
    exchange->same = calloc(1, (size_t)exchange->page_count / 8 + 1);
    return exchange->same != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "out of memory for an exchange");
}

/* From SUMS until the sender has given all, or does not want it any more. */
static sq_status wait_for_sums(struct exchange *exchange, struct sq_error *err)
{
    pthread_mutex_lock(&exchange->mutex);
    if (!exchange->is_canceled) {
        exchange->state = REPL_EXCHANGE_SUMS;
        wake(exchange);
    }
    while (exchange->state == REPL_EXCHANGE_SUMS && !exchange->is_canceled)
        pthread_cond_wait(&exchange->cond, &exchange->mutex);
    bool is_canceled = exchange->is_canceled;
    pthread_mutex_unlock(&exchange->mutex);
    return is_canceled ? fail_canceled(err) : SQ_OK;
}

static void *run_exchange(void *context)
{
    struct exchange *exchange = context;
    struct repl_feed_host *host = exchange->host;
    struct sq_error err;
    sq_status status = prepare(exchange, &err);
    if (status == SQ_OK)
        status = wait_for_sums(exchange, &err);
    if (status == SQ_OK)
        status = make_file(exchange, &err);
    pthread_mutex_lock(&exchange->mutex);
    exchange->is_made = true;
    if (status != SQ_OK) {
        exchange->reason = err;
        exchange->state = REPL_EXCHANGE_FAILED;
    }
    wake(exchange);
    pthread_mutex_unlock(&exchange->mutex);
    repl_snapshot_done(&exchange->snapshot);
    feed_host_leave(host);
    exchange_unref(exchange);
    return NULL;
}

/* --- The sender's calls ---------------------------------------------------------------------------------------------- */

static struct exchange *exchange_of(struct repl_exchange *base)
{
    return SQ_CONTAINER_OF(base, struct exchange, base);
}

static enum repl_exchange_state exchange_state(struct repl_exchange *base, struct sq_error *ret_reason)
{
    struct exchange *exchange = exchange_of(base);
    pthread_mutex_lock(&exchange->mutex);
    enum repl_exchange_state state = exchange->state;
    if (state == REPL_EXCHANGE_FAILED && ret_reason != NULL)
        *ret_reason = exchange->reason;
    pthread_mutex_unlock(&exchange->mutex);
    return state;
}

static void exchange_position(struct repl_exchange *base, struct wal_position *ret_position, uint32_t *ret_page_bytes,
                              uint32_t *ret_page_count)
{
    const struct exchange *exchange = exchange_of(base);
    *ret_position = exchange->position;
    *ret_page_bytes = exchange->page_bytes;
    *ret_page_count = exchange->page_count;
}

static sq_status exchange_sums(struct repl_exchange *base, uint32_t first_page, const uint64_t *sums, size_t count,
                               struct sq_error *err)
{
    struct exchange *exchange = exchange_of(base);
    pthread_mutex_lock(&exchange->mutex); /* the thread does not take the snapshot away meanwhile */
    bool is_theirs = exchange->state == REPL_EXCHANGE_SUMS && !exchange->is_canceled;
    if (is_theirs && (first_page != exchange->given_count + 1 || count > UINT32_MAX - first_page)) {
        pthread_mutex_unlock(&exchange->mutex);
        return sq_fail(err, SQ_INVALID, "checksums of pages from %u on after those of %u", first_page,
                       exchange->given_count);
    }
    for (size_t i = 0; i < count && is_theirs; i++) {
        uint32_t index = exchange->given_count++;
        exchange->given_checksum ^= sums[i];
        if (index < exchange->page_count && sums[i] == page_sums_get(exchange->snapshot.sums, index + 1))
            exchange->same[index / 8] |= (uint8_t)(1U << (index % 8));
    }
    pthread_mutex_unlock(&exchange->mutex);
    return is_theirs ? SQ_OK : sq_fail(err, SQ_INVALID, "the exchange takes no checksums now");
}

static sq_status exchange_finish(struct repl_exchange *base, struct sq_error *err)
{
    struct exchange *exchange = exchange_of(base);
    pthread_mutex_lock(&exchange->mutex);
    bool is_theirs = exchange->state == REPL_EXCHANGE_SUMS && !exchange->is_canceled;
    if (is_theirs) {
        exchange->state = REPL_EXCHANGE_DATA;
        pthread_cond_signal(&exchange->cond);
    }
    pthread_mutex_unlock(&exchange->mutex);
    return is_theirs ? SQ_OK : sq_fail(err, SQ_INVALID, "the exchange takes no checksums now");
}

static size_t take_from_ring(struct exchange *exchange, uint8_t *bytes, size_t length)
{
    size_t used = 0;
    while (used < length && exchange->read < exchange->written) {
        size_t at = exchange->read % RING_BYTES;
        size_t part = (size_t)(exchange->written - exchange->read);
        if (part > RING_BYTES - at)
            part = RING_BYTES - at;
        if (part > length - used)
            part = length - used;
        memcpy(bytes + used, exchange->ring + at, part);
        exchange->read += part;
        used += part;
    }
    return used;
}

/* Whole chunks, as long as there are more to come. */
static sq_status exchange_read(struct repl_exchange *base, void *bytes, size_t length, struct sq_error *err,
                               size_t *ret_length)
{
    struct exchange *exchange = exchange_of(base);
    size_t chunk = length < REPL_CHUNK_BYTES_MAX ? length : REPL_CHUNK_BYTES_MAX;
    sq_status status = SQ_OK;
    size_t used = 0;
    pthread_mutex_lock(&exchange->mutex);
    if (exchange->state == REPL_EXCHANGE_FAILED) {
        if (err != NULL)
            *err = exchange->reason;
        status = exchange->reason.status;
    } else if (exchange->state != REPL_EXCHANGE_DATA) {
        used = 0;
    } else if (exchange->written - exchange->read < chunk && !exchange->is_made) {
        exchange->is_hungry = true;
    } else {
        used = take_from_ring(exchange, bytes, length);
        pthread_cond_signal(&exchange->cond);
    }
    if (exchange->state == REPL_EXCHANGE_DATA && exchange->is_made && exchange->read == exchange->written)
        exchange->state = REPL_EXCHANGE_END;
    pthread_mutex_unlock(&exchange->mutex);
    if (status == SQ_OK)
        *ret_length = used;
    return status;
}

static void exchange_close(struct repl_exchange *base)
{
    struct exchange *exchange = exchange_of(base);
    pthread_mutex_lock(&exchange->host->mutex);
    exchange->feed->exchange = NULL;
    exchange->feed->exchange_txid = UINT64_MAX;
    exchange->feed = NULL;
    pthread_mutex_unlock(&exchange->host->mutex);
    pthread_mutex_lock(&exchange->mutex);
    exchange->waker = NULL;
    cancel(exchange);
    pthread_mutex_unlock(&exchange->mutex);
    exchange_unref(exchange);
}

static const struct repl_exchange_ops exchange_ops = {
    .state_cb = exchange_state,
    .position_cb = exchange_position,
    .sums_cb = exchange_sums,
    .finish_cb = exchange_finish,
    .read_cb = exchange_read,
    .close_cb = exchange_close,
};

static struct exchange *exchange_make(struct log_feed *feed, struct sq_waker *waker)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return NULL;
    exchange->base.ops = &exchange_ops;
    exchange->host = feed->host;
    exchange->feed = feed;
    exchange->output.write_cb = write_to_ring;
    exchange->ref_count = 2;
    exchange->waker = waker;
    exchange->state = REPL_EXCHANGE_PREPARING;
    pthread_mutex_init(&exchange->mutex, NULL);
    pthread_cond_init(&exchange->cond, NULL);
    repl_feed_host_ref(feed->host);
    return exchange;
}

sq_status exchange_new(struct log_feed *feed, struct sq_waker *waker, struct sq_error *err,
                       struct repl_exchange **ret_exchange)
{
    pthread_t thread;
    if (!feed_host_enter(feed->host))
        return sq_fail(err, SQ_BUSY, "the log is not open any more");
    struct exchange *exchange = exchange_make(feed, waker);
    if (exchange == NULL) {
        feed_host_leave(feed->host);
        return sq_fail(err, SQ_NOMEM, "out of memory for an exchange");
    }
    pthread_mutex_lock(&feed->host->mutex);
    feed->exchange = exchange;
    if (feed->host->is_closed)
        exchange_cancel(exchange);
    pthread_mutex_unlock(&feed->host->mutex);
    int failure = pthread_create(&thread, NULL, run_exchange, exchange);
    if (failure != 0) {
        feed_host_leave(feed->host);
        exchange->ref_count--;
        exchange_close(&exchange->base);
        return sq_fail_errno(err, failure, "cannot start an exchange's thread");
    }
    pthread_detach(thread);
    *ret_exchange = &exchange->base;
    return SQ_OK;
}
