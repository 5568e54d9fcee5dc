/* repl/feed.c: what a sender sees of a log (feed.h): its state, its files, and what is to be kept of them. */
#include "repl/feed.h"

#include <stdlib.h>

#include "repl/feed_internal.h"

/* --- The host -------------------------------------------------------------------------------------------------------- */

void repl_feed_host_init(struct repl_feed_host *host, const struct repl_feed_host_ops *ops)
{
    *host = (struct repl_feed_host){.ops = ops, .ref_count = 1};
    pthread_mutex_init(&host->mutex, NULL);
    pthread_cond_init(&host->idle_cond, NULL);
    sq_list_init(&host->feeds);
}

void repl_feed_host_done(struct repl_feed_host *host)
{
    sq_assert(host->user_count == 0 && host->log == NULL && sq_list_is_empty(&host->feeds));
    pthread_cond_destroy(&host->idle_cond);
    pthread_mutex_destroy(&host->mutex);
}

void repl_feed_host_ref(struct repl_feed_host *host)
{
    pthread_mutex_lock(&host->mutex);
    sq_assert(host->ref_count > 0);
    host->ref_count++;
    pthread_mutex_unlock(&host->mutex);
}

void repl_feed_host_unref(struct repl_feed_host *host)
{
    pthread_mutex_lock(&host->mutex);
    sq_assert(host->ref_count > 0);
    bool is_last = --host->ref_count == 0;
    pthread_mutex_unlock(&host->mutex);
    if (is_last)
        host->ops->free_cb(host);
}

static struct log_feed *feed_of_links(struct sq_list *links)
{
    return SQ_CONTAINER_OF(links, struct log_feed, links);
}

void repl_feed_host_notify(struct repl_feed_host *host)
{
    SQ_LIST_FOREACH (links, &host->feeds)
        sq_waker_wake(feed_of_links(links)->waker);
}

bool feed_host_enter(struct repl_feed_host *host)
{
    pthread_mutex_lock(&host->mutex);
    bool is_open = !host->is_closed;
    if (is_open)
        host->user_count++;
    pthread_mutex_unlock(&host->mutex);
    return is_open;
}

void feed_host_leave(struct repl_feed_host *host)
{
    pthread_mutex_lock(&host->mutex);
    sq_assert(host->user_count > 0);
    if (--host->user_count == 0)
        pthread_cond_broadcast(&host->idle_cond);
    pthread_mutex_unlock(&host->mutex);
}

struct wal_log *repl_feed_host_enter_log(struct repl_feed_host *host)
{
    pthread_mutex_lock(&host->mutex);
    struct wal_log *log = host->log;
    if (log != NULL)
        host->user_count++;
    pthread_mutex_unlock(&host->mutex);
    return log;
}

void repl_feed_host_leave_log(struct repl_feed_host *host)
{
    feed_host_leave(host);
}

struct wal_log *repl_feed_host_close(struct repl_feed_host *host)
{
    pthread_mutex_lock(&host->mutex);
    struct wal_log *log = host->log;
    host->log = NULL;
    host->is_closed = true;
    SQ_LIST_FOREACH (links, &host->feeds) {
        if (feed_of_links(links)->exchange != NULL)
            exchange_cancel(feed_of_links(links)->exchange);
    }
    repl_feed_host_notify(host);
    while (host->user_count > 0)
        pthread_cond_wait(&host->idle_cond, &host->mutex);
    pthread_mutex_unlock(&host->mutex);
    return log;
}

static ltx_txid lesser(ltx_txid one, ltx_txid other)
{
    return one < other ? one : other;
}

ltx_txid repl_feed_host_held(struct repl_feed_host *host, bool is_exchange_only)
{
    ltx_txid held = UINT64_MAX;
    pthread_mutex_lock(&host->mutex);
    SQ_LIST_FOREACH (links, &host->feeds) {
        const struct log_feed *feed = feed_of_links(links);
        held = lesser(held, feed->exchange_txid);
        if (!is_exchange_only)
            held = lesser(held, feed->held_txid);
    }
    pthread_mutex_unlock(&host->mutex);
    return held;
}

/* --- Feeds ----------------------------------------------------------------------------------------------------------- */

static struct log_feed *feed_of(struct repl_feed *base)
{
    return SQ_CONTAINER_OF(base, struct log_feed, base);
}

static void feed_look(struct repl_feed *base, struct repl_feed_view *ret_view)
{
    struct repl_feed_host *host = feed_of(base)->host;
    struct sq_error reason;
    pthread_mutex_lock(&host->mutex);
    *ret_view = (struct repl_feed_view){.state = host->ops->state_cb(host, &reason)};
    if (ret_view->state == REPL_FEED_READY) {
        sq_assert(host->log != NULL);
        ret_view->incarnation = host->incarnation;
        ret_view->page_bytes = host->page_bytes;
        ret_view->begin = wal_log_begin(host->log);
        ret_view->end = host->ops->end_cb != NULL ? host->ops->end_cb(host) : wal_log_end(host->log);
    }
    pthread_mutex_unlock(&host->mutex);
}

static void feed_reason(struct repl_feed *base, struct sq_error *ret_reason)
{
    struct repl_feed_host *host = feed_of(base)->host;
    pthread_mutex_lock(&host->mutex);
    if (host->ops->state_cb(host, ret_reason) != REPL_FEED_FAILED)
        sq_fail(ret_reason, SQ_BUSY, "the log was not there a moment ago");
    pthread_mutex_unlock(&host->mutex);
}

static bool feed_timeline_end(struct repl_feed *base, uint64_t timeline, ltx_txid *ret_txid)
{
    struct repl_feed_host *host = feed_of(base)->host;
    pthread_mutex_lock(&host->mutex);
    bool is_known = host->log != NULL && wal_log_timeline_end(host->log, timeline, ret_txid);
    pthread_mutex_unlock(&host->mutex);
    return is_known;
}

static sq_status read_trailer(struct wal_log_reader *reader, uint64_t bytes, struct sq_error *err,
                              struct ltx_trailer *ret_trailer)
{
    uint8_t end[LTX_TRAILER_BYTES];
    size_t length = 0;
    if (bytes < sizeof(end))
        return sq_fail(err, SQ_CORRUPT, "a file of the log has %llu bytes", (unsigned long long)bytes);
    SQ_TRY(wal_log_reader_read(reader, bytes - sizeof(end), end, sizeof(end), err, &length));
    if (length != sizeof(end))
        return sq_fail(err, SQ_CORRUPT, "a file of the log has become shorter");
    return ltx_trailer_decode(end, err, ret_trailer);
}

static void close_file(struct log_feed *feed)
{
    wal_log_reader_close(feed->reader);
    feed->reader = NULL;
}

static sq_status feed_open_file(struct repl_feed *base, ltx_txid txid, struct sq_error *err,
                                struct repl_feed_file *ret_file)
{
    struct log_feed *feed = feed_of(base);
    struct ltx_trailer trailer = {0};
    close_file(feed);
    struct wal_log *log = repl_feed_host_enter_log(feed->host);
    if (log == NULL)
        return sq_fail(err, SQ_NOT_FOUND, "the log is not open any more");
    sq_status status = wal_log_reader_open(log, txid, err, &feed->reader);
    repl_feed_host_leave_log(feed->host);
    SQ_TRY(status);
    const struct ltx_header *header = wal_log_reader_header(feed->reader);
    feed->reader_bytes = wal_log_reader_bytes(feed->reader);
    status = read_trailer(feed->reader, feed->reader_bytes, err, &trailer);
    if (status != SQ_OK) {
        close_file(feed);
        return status;
    }
    *ret_file = (struct repl_feed_file){.min_txid = header->min_txid,
                                        .max_txid = header->max_txid,
                                        .timeline = header->node_id,
                                        .pre_checksum = header->pre_checksum,
                                        .post_checksum = trailer.post_checksum,
                                        .bytes = feed->reader_bytes};
    return SQ_OK;
}

static sq_status feed_read_file(struct repl_feed *base, uint64_t offset, void *bytes, size_t length,
                                struct sq_error *err, size_t *ret_length)
{
    struct log_feed *feed = feed_of(base);
    sq_assert(feed->reader != NULL && length <= REPL_CHUNK_BYTES_MAX);
    return wal_log_reader_read(feed->reader, offset, bytes, length, err, ret_length);
}

static uint64_t feed_bytes_after(struct repl_feed *base, ltx_txid txid)
{
    struct repl_feed_host *host = feed_of(base)->host;
    pthread_mutex_lock(&host->mutex);
    uint64_t bytes = host->log != NULL ? wal_log_bytes_after(host->log, txid) : 0;
    pthread_mutex_unlock(&host->mutex);
    return bytes;
}

static void feed_hold(struct repl_feed *base, ltx_txid txid)
{
    struct log_feed *feed = feed_of(base);
    pthread_mutex_lock(&feed->host->mutex);
    feed->held_txid = txid;
    pthread_mutex_unlock(&feed->host->mutex);
}

static sq_status feed_exchange(struct repl_feed *base, struct sq_waker *waker, struct sq_error *err,
                               struct repl_exchange **ret_exchange)
{
    struct log_feed *feed = feed_of(base);
    sq_assert(feed->exchange == NULL);
    return exchange_new(feed, waker, err, ret_exchange);
}

static void feed_close(struct repl_feed *base)
{
    struct log_feed *feed = feed_of(base);
    sq_assert(feed->exchange == NULL);
    close_file(feed);
    pthread_mutex_lock(&feed->host->mutex);
    sq_list_remove(&feed->links);
    pthread_mutex_unlock(&feed->host->mutex);
    repl_feed_host_unref(feed->host);
    free(feed);
}

static const struct repl_feed_ops feed_ops = {
    .look_cb = feed_look,
    .reason_cb = feed_reason,
    .timeline_end_cb = feed_timeline_end,
    .open_file_cb = feed_open_file,
    .read_file_cb = feed_read_file,
    .bytes_after_cb = feed_bytes_after,
    .hold_cb = feed_hold,
    .exchange_cb = feed_exchange,
    .close_cb = feed_close,
};

bool repl_feed_is_over(struct repl_feed *feed)
{
    struct repl_feed_host *host = feed_of(feed)->host;
    pthread_mutex_lock(&host->mutex);
    bool is_over = host->is_closed;
    pthread_mutex_unlock(&host->mutex);
    return is_over;
}

sq_status repl_feed_open(struct repl_feed_host *host, struct sq_waker *waker, struct sq_error *err,
                         struct repl_feed **ret_feed)
{
    struct log_feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to read a log");
    feed->base.ops = &feed_ops;
    feed->host = host;
    feed->waker = waker;
    feed->held_txid = UINT64_MAX;
    feed->exchange_txid = UINT64_MAX;
    sq_list_init(&feed->links);
    pthread_mutex_lock(&host->mutex);
    host->ref_count++;
    sq_list_push_back(&host->feeds, &feed->links);
    pthread_mutex_unlock(&host->mutex);
    *ret_feed = &feed->base;
    return SQ_OK;
}
