/* repl/node_feed.c: a feed in front of a feed.
 *
 *     WANTING ──helper: offer──► OFFERED ──sender looks──► HAS INNER ──the database was closed──► WANTING
 *
 * `inner` belongs to the sender's thread, but for bytes_after_cb, which any thread may call: so it is exchanged under the node's mutex, and looked at by others
 * under it. What the helper offers lies in `offered` until the sender takes it.
 *
 * Invariants: (1) a feed is in its database's list from begin to end; (2) while an exchange is open the inner feed stays. */
#include "repl/node_feed.h"

#include <stdlib.h>

#include "repl/feed.h"

struct node_feed {
    struct repl_feed base;
    struct sq_list links; /* in database->feeds; guarded by the node's mutex, as are is_wanting and offered */
    struct repl_database *database;
    struct sq_waker *waker;
    struct repl_feed *inner;
    struct repl_feed *offered;
    bool is_wanting;
    bool has_exchange;
};

static struct node_feed *feed_of(struct repl_feed *base)
{
    return SQ_CONTAINER_OF(base, struct node_feed, base);
}

static pthread_mutex_t *mutex_of(const struct node_feed *feed)
{
    return &feed->database->node->mutex;
}

/* Takes what was offered, or says that something is wanted. */
static void refresh(struct node_feed *feed, bool is_over)
{
    struct repl_feed *old = NULL;
    bool is_news = false;
    pthread_mutex_lock(mutex_of(feed));
    if (is_over && !feed->has_exchange)
        old = SQ_STEAL(feed->inner);
    if (feed->inner == NULL && feed->offered != NULL)
        feed->inner = SQ_STEAL(feed->offered);
    if (feed->inner == NULL && !feed->is_wanting && !feed->database->is_dropped)
        feed->is_wanting = is_news = true;
    pthread_mutex_unlock(mutex_of(feed));
    if (old != NULL)
        old->ops->close_cb(old);
    if (is_news)
        node_helper_wake(feed->database->node);
}

/* What there is to say while there is no log's feed. */
static enum repl_feed_state state_alone(struct node_feed *feed)
{
    pthread_mutex_lock(mutex_of(feed));
    enum repl_feed_state state = feed->database->is_dropped   ? REPL_FEED_GONE
                                 : feed->database->is_failing ? REPL_FEED_FAILED
                                                              : REPL_FEED_PENDING;
    pthread_mutex_unlock(mutex_of(feed));
    return state;
}

static void feed_look(struct repl_feed *base, struct repl_feed_view *ret_view)
{
    struct node_feed *feed = feed_of(base);
    refresh(feed, false);
    if (feed->inner != NULL && repl_feed_is_over(feed->inner))
        refresh(feed, true); /* closed; if it was not dropped it is opened again */
    if (feed->inner != NULL && !repl_feed_is_over(feed->inner))
        feed->inner->ops->look_cb(feed->inner, ret_view);
    else
        *ret_view = (struct repl_feed_view){.state = state_alone(feed)};
}

static void feed_reason(struct repl_feed *base, struct sq_error *ret_reason)
{
    struct node_feed *feed = feed_of(base);
    if (feed->inner != NULL) {
        feed->inner->ops->reason_cb(feed->inner, ret_reason);
        return;
    }
    pthread_mutex_lock(mutex_of(feed));
    *ret_reason = feed->database->reason;
    pthread_mutex_unlock(mutex_of(feed));
}

static bool feed_timeline_end(struct repl_feed *base, uint64_t timeline, ltx_txid *ret_txid)
{
    struct node_feed *feed = feed_of(base);
    return feed->inner != NULL && feed->inner->ops->timeline_end_cb(feed->inner, timeline, ret_txid);
}

static sq_status fail_closed(struct sq_error *err)
{
    return sq_fail(err, SQ_NOT_FOUND, "the database was closed");
}

static sq_status feed_open_file(struct repl_feed *base, ltx_txid txid, struct sq_error *err,
                                struct repl_feed_file *ret_file)
{
    struct node_feed *feed = feed_of(base);
    return feed->inner != NULL ? feed->inner->ops->open_file_cb(feed->inner, txid, err, ret_file) : fail_closed(err);
}

static sq_status feed_read_file(struct repl_feed *base, uint64_t offset, void *bytes, size_t length,
                                struct sq_error *err, size_t *ret_length)
{
    struct node_feed *feed = feed_of(base);
    return feed->inner != NULL ? feed->inner->ops->read_file_cb(feed->inner, offset, bytes, length, err, ret_length)
                               : fail_closed(err);
}

static uint64_t feed_bytes_after(struct repl_feed *base, ltx_txid txid)
{
    struct node_feed *feed = feed_of(base);
    pthread_mutex_lock(mutex_of(feed));
    uint64_t bytes = feed->inner != NULL ? feed->inner->ops->bytes_after_cb(feed->inner, txid) : 0;
    pthread_mutex_unlock(mutex_of(feed));
    return bytes;
}

static void feed_hold(struct repl_feed *base, ltx_txid txid)
{
    struct node_feed *feed = feed_of(base);
    if (feed->inner != NULL)
        feed->inner->ops->hold_cb(feed->inner, txid);
}

static void feed_close(struct repl_feed *base)
{
    struct node_feed *feed = feed_of(base);
    struct repl_node *node = feed->database->node;
    pthread_mutex_lock(&node->mutex);
    struct repl_feed *inner = SQ_STEAL(feed->inner);
    struct repl_feed *offered = SQ_STEAL(feed->offered);
    sq_list_remove(&feed->links);
    node_database_unref_locked(feed->database);
    pthread_mutex_unlock(&node->mutex);
    if (inner != NULL)
        inner->ops->close_cb(inner);
    if (offered != NULL)
        offered->ops->close_cb(offered);
    free(feed);
    node_helper_wake(node); /* it may be closed now */
}

/* --- Exchanges: the inner feed's, which stays meanwhile ---------------------------------------------------------------- */

struct node_exchange {
    struct repl_exchange base;
    struct node_feed *feed;
    struct repl_exchange *inner;
};

static struct node_exchange *exchange_of(struct repl_exchange *base)
{
    return SQ_CONTAINER_OF(base, struct node_exchange, base);
}

static enum repl_exchange_state exchange_state(struct repl_exchange *base, struct sq_error *ret_reason)
{
    struct repl_exchange *inner = exchange_of(base)->inner;
    return inner->ops->state_cb(inner, ret_reason);
}

static void exchange_position(struct repl_exchange *base, struct wal_position *ret_position, uint32_t *ret_page_bytes,
                              uint32_t *ret_page_count)
{
    struct repl_exchange *inner = exchange_of(base)->inner;
    inner->ops->position_cb(inner, ret_position, ret_page_bytes, ret_page_count);
}

static sq_status exchange_sums(struct repl_exchange *base, uint32_t first_page, const uint64_t *sums, size_t count,
                               struct sq_error *err)
{
    struct repl_exchange *inner = exchange_of(base)->inner;
    return inner->ops->sums_cb(inner, first_page, sums, count, err);
}

static sq_status exchange_finish(struct repl_exchange *base, struct sq_error *err)
{
    struct repl_exchange *inner = exchange_of(base)->inner;
    return inner->ops->finish_cb(inner, err);
}

static sq_status exchange_read(struct repl_exchange *base, void *bytes, size_t length, struct sq_error *err,
                               size_t *ret_length)
{
    struct repl_exchange *inner = exchange_of(base)->inner;
    return inner->ops->read_cb(inner, bytes, length, err, ret_length);
}

static void exchange_close(struct repl_exchange *base)
{
    struct node_exchange *exchange = exchange_of(base);
    exchange->inner->ops->close_cb(exchange->inner);
    exchange->feed->has_exchange = false;
    free(exchange);
}

static const struct repl_exchange_ops exchange_ops = {
    .state_cb = exchange_state,
    .position_cb = exchange_position,
    .sums_cb = exchange_sums,
    .finish_cb = exchange_finish,
    .read_cb = exchange_read,
    .close_cb = exchange_close,
};

static sq_status feed_exchange(struct repl_feed *base, struct sq_waker *waker, struct sq_error *err,
                               struct repl_exchange **ret_exchange)
{
    struct node_feed *feed = feed_of(base);
    if (feed->inner == NULL)
        return fail_closed(err);
    struct node_exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a snapshot");
    sq_status status = feed->inner->ops->exchange_cb(feed->inner, waker, err, &exchange->inner);
    if (status != SQ_OK) {
        free(exchange);
        return status;
    }
    exchange->base.ops = &exchange_ops;
    exchange->feed = feed;
    feed->has_exchange = true;
    *ret_exchange = &exchange->base;
    return SQ_OK;
}

/* --- Life, and the helper's side ------------------------------------------------------------------------------------- */

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

struct node_feed *node_feed_new(struct repl_database *database, struct sq_waker *waker)
{
    struct node_feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL)
        return NULL;
    feed->base.ops = &feed_ops;
    feed->database = database;
    feed->waker = waker;
    feed->is_wanting = true;
    sq_list_init(&feed->links);
    sq_list_push_back(&database->feeds, &feed->links);
    database->ref_count++;
    return feed;
}

struct repl_feed *node_feed_base(struct node_feed *feed)
{
    return &feed->base;
}

struct node_feed *node_feed_of_links(struct sq_list *links)
{
    return SQ_CONTAINER_OF(links, struct node_feed, links);
}

struct sq_waker *node_feed_waker(const struct node_feed *feed)
{
    return feed->waker;
}

bool node_feed_is_wanting(const struct node_feed *feed)
{
    return feed->is_wanting;
}

void node_feed_offer(struct node_feed *feed, struct repl_feed *inner)
{
    sq_assert(feed->is_wanting && feed->offered == NULL);
    feed->is_wanting = false;
    feed->offered = inner;
    sq_waker_wake(feed->waker);
}

void node_feed_wake(struct node_feed *feed)
{
    sq_waker_wake(feed->waker);
}
