/* tests/lib/replication_fakes.h: a source and a store in memory that do at once what they are told, for tests of sender and receiver that say every message themselves. The
 * simulator (tests/sim) has those that take their time. A source's state is the test's to change: its fields, then fake_source_wake(). */
#ifndef SQ_TESTS_REPLICATION_FAKES_H
#define SQ_TESTS_REPLICATION_FAKES_H

#include <string.h>

#include "repl/receiver.h"
#include "repl/sender.h"
#include "wal/checksum.h"

#define FAKE_SUM(n) (WAL_CHECKSUM_FLAG | (uint64_t)(n))
enum { FAKE_DATABASES_MAX = 6, FAKE_FILES_MAX = 8, FAKE_SYSTEM = 42 };

struct fake_waker {
    struct sq_waker waker;
    unsigned count;
};
static inline void fake_wake(struct sq_waker *waker)
{
    SQ_CONTAINER_OF(waker, struct fake_waker, waker)->count++;
}
#define FAKE_WAKER                                                                                                     \
    {                                                                                                                  \
        .waker = {.wake_cb = fake_wake }                                                                               \
    }

/* --- A source --- */

struct fake_source;

struct fake_feed {
    struct repl_feed feed;
    struct repl_exchange exchange;
    struct fake_source *source;
    struct repl_database_entry entry; /* number 0: there is none */
    struct repl_feed_view view;
    struct repl_feed_file files[FAKE_FILES_MAX];
    size_t file_count;
    uint64_t old_timeline; /* has ended after old_end; 0: there was none */
    ltx_txid old_end;
    const struct repl_feed_file *open;
    uint64_t wrong_read;    /* reads from here on fail; 0: none does */
    struct sq_waker *waker; /* NULL: not open */
    ltx_txid hold;
    bool has_exchange;
    enum repl_exchange_state state;
    struct wal_position position;
    uint64_t exchange_left; /* bytes still to be read */
    uint32_t sum_count;
    unsigned open_count;
    unsigned exchange_count;
};

struct fake_source {
    struct repl_source source;
    struct repl_identity identity;
    struct fake_feed feeds[FAKE_DATABASES_MAX];
    struct sq_waker *watcher;
    struct repl_sender_owner owner;
    uint64_t newer_timeline; /* what the sender has told of */
    uint32_t durable_number;
    struct wal_position durable;
    unsigned durable_count;
};

static inline struct fake_feed *fake_feed_of(struct repl_feed *feed)
{
    return SQ_CONTAINER_OF(feed, struct fake_feed, feed);
}
static inline struct fake_feed *fake_exchange_of(struct repl_exchange *exchange)
{
    return SQ_CONTAINER_OF(exchange, struct fake_feed, exchange);
}

static inline void fake_look(struct repl_feed *feed, struct repl_feed_view *ret_view)
{
    *ret_view = fake_feed_of(feed)->view;
}
static inline void fake_reason(struct repl_feed *feed, struct sq_error *ret_reason)
{
    (void)feed;
    (void)sq_fail(ret_reason, SQ_IO, "no log");
}
static inline bool fake_timeline_end(struct repl_feed *feed, uint64_t timeline, ltx_txid *ret_txid)
{
    struct fake_feed *fake = fake_feed_of(feed);
    *ret_txid = timeline == fake->view.end.timeline ? UINT64_MAX : fake->old_end;
    return timeline == fake->view.end.timeline || (timeline != 0 && timeline == fake->old_timeline);
}
static inline sq_status fake_open_file(struct repl_feed *feed, ltx_txid txid, struct sq_error *err,
                                       struct repl_feed_file *ret_file)
{
    struct fake_feed *fake = fake_feed_of(feed);
    for (size_t i = 0; i < fake->file_count; i++) {
        if (fake->files[i].min_txid <= txid + 1 && fake->files[i].max_txid > txid) {
            fake->open = &fake->files[i];
            *ret_file = fake->files[i];
            return SQ_OK;
        }
    }
    return sq_fail(err, SQ_NOT_FOUND, "no such file");
}
static inline sq_status fake_read_file(struct repl_feed *feed, uint64_t offset, void *bytes, size_t length,
                                       struct sq_error *err, size_t *ret_length)
{
    struct fake_feed *fake = fake_feed_of(feed);
    sq_assert(fake->open != NULL && length <= REPL_CHUNK_BYTES_MAX && offset + length <= fake->open->bytes);
    if (fake->wrong_read > 0 && offset + length > fake->wrong_read)
        return sq_fail(err, SQ_IO, "a broken disk");
    memset(bytes, (int)fake->open->max_txid, length);
    *ret_length = length;
    return SQ_OK;
}
static inline uint64_t fake_bytes_after(struct repl_feed *feed, ltx_txid txid)
{
    return 100 * (fake_feed_of(feed)->view.end.txid - txid);
}
static inline void fake_hold(struct repl_feed *feed, ltx_txid txid)
{
    fake_feed_of(feed)->hold = txid;
}
static inline enum repl_exchange_state fake_exchange_state(struct repl_exchange *exchange, struct sq_error *ret_reason)
{
    struct fake_feed *fake = fake_exchange_of(exchange);
    if (fake->state == REPL_EXCHANGE_FAILED)
        (void)sq_fail(ret_reason, SQ_IO, "no snapshot");
    return fake->state;
}
static inline void fake_exchange_position(struct repl_exchange *exchange, struct wal_position *ret_position,
                                          uint32_t *ret_page_bytes, uint32_t *ret_page_count)
{
    *ret_position = fake_exchange_of(exchange)->position;
    *ret_page_bytes = 4096;
    *ret_page_count = 100;
}
static inline sq_status fake_exchange_sums(struct repl_exchange *exchange, uint32_t first_page, const uint64_t *sums,
                                           size_t count, struct sq_error *err)
{
    struct fake_feed *fake = fake_exchange_of(exchange);
    (void)sums;
    (void)err;
    sq_assert(fake->state == REPL_EXCHANGE_SUMS && first_page == fake->sum_count + 1 && count > 0);
    fake->sum_count += (uint32_t)count;
    return SQ_OK;
}
static inline sq_status fake_exchange_finish(struct repl_exchange *exchange, struct sq_error *err)
{
    struct fake_feed *fake = fake_exchange_of(exchange);
    (void)err;
    sq_assert(fake->state == REPL_EXCHANGE_SUMS);
    fake->state = REPL_EXCHANGE_DATA;
    return SQ_OK;
}
static inline sq_status fake_exchange_read(struct repl_exchange *exchange, void *bytes, size_t length,
                                           struct sq_error *err, size_t *ret_length)
{
    struct fake_feed *fake = fake_exchange_of(exchange);
    (void)err;
    sq_assert(fake->state == REPL_EXCHANGE_DATA);
    *ret_length = length < fake->exchange_left ? length : (size_t)fake->exchange_left;
    memset(bytes, 'h', *ret_length);
    fake->exchange_left -= *ret_length;
    if (fake->exchange_left == 0)
        fake->state = REPL_EXCHANGE_END;
    return SQ_OK;
}
static inline void fake_exchange_close(struct repl_exchange *exchange)
{
    struct fake_feed *fake = fake_exchange_of(exchange);
    sq_assert(fake->has_exchange);
    fake->has_exchange = false;
}
/* A snapshot of the end, at once. */
static inline sq_status fake_exchange(struct repl_feed *feed, struct sq_waker *waker, struct sq_error *err,
                                      struct repl_exchange **ret_exchange)
{
    static const struct repl_exchange_ops ops = {.state_cb = fake_exchange_state,
                                                 .position_cb = fake_exchange_position,
                                                 .sums_cb = fake_exchange_sums,
                                                 .finish_cb = fake_exchange_finish,
                                                 .read_cb = fake_exchange_read,
                                                 .close_cb = fake_exchange_close};
    struct fake_feed *fake = fake_feed_of(feed);
    (void)waker;
    (void)err;
    sq_assert(!fake->has_exchange);
    fake->exchange.ops = &ops;
    fake->has_exchange = true;
    fake->exchange_count++;
    fake->sum_count = 0;
    fake->position = fake->view.end;
    fake->state = REPL_EXCHANGE_SUMS;
    if (fake->exchange_left == 0)
        fake->exchange_left = 100;
    *ret_exchange = &fake->exchange;
    return SQ_OK;
}
static inline void fake_close_feed(struct repl_feed *feed)
{
    struct fake_feed *fake = fake_feed_of(feed);
    sq_assert(fake->waker != NULL && !fake->has_exchange);
    fake->waker = NULL;
}

static inline struct fake_source *fake_source_of(struct repl_source *source)
{
    return SQ_CONTAINER_OF(source, struct fake_source, source);
}
static inline void fake_identity(struct repl_source *source, struct repl_identity *ret_identity)
{
    *ret_identity = fake_source_of(source)->identity;
}
static inline bool fake_next_database(struct repl_source *source, uint32_t after, struct repl_database_entry *ret_entry)
{
    struct fake_source *fake = fake_source_of(source);
    const struct repl_database_entry *best = NULL;
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++) {
        const struct repl_database_entry *entry = &fake->feeds[i].entry;
        if (entry->number > after && (best == NULL || entry->number < best->number))
            best = entry;
    }
    if (best != NULL)
        *ret_entry = *best;
    return best != NULL;
}
static inline sq_status fake_watch(struct repl_source *source, const void *watcher, struct sq_waker *waker,
                                   struct sq_error *err)
{
    (void)watcher;
    (void)err;
    fake_source_of(source)->watcher = waker;
    return SQ_OK;
}
static inline sq_status fake_open_feed(struct repl_source *source, uint32_t number, struct sq_waker *waker,
                                       struct sq_error *err, struct repl_feed **ret_feed)
{
    static const struct repl_feed_ops ops = {.look_cb = fake_look,
                                             .reason_cb = fake_reason,
                                             .timeline_end_cb = fake_timeline_end,
                                             .open_file_cb = fake_open_file,
                                             .read_file_cb = fake_read_file,
                                             .bytes_after_cb = fake_bytes_after,
                                             .hold_cb = fake_hold,
                                             .exchange_cb = fake_exchange,
                                             .close_cb = fake_close_feed};
    struct fake_source *fake = fake_source_of(source);
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++) {
        struct fake_feed *feed = &fake->feeds[i];
        if (feed->entry.number != number)
            continue;
        sq_assert(feed->waker == NULL);
        feed->feed.ops = &ops;
        feed->source = fake;
        feed->waker = waker;
        feed->open_count++;
        *ret_feed = &feed->feed;
        return SQ_OK;
    }
    return sq_fail(err, SQ_NOT_FOUND, "no such database");
}
static inline void fake_newer_timeline(struct repl_sender_owner *owner, uint64_t timeline)
{
    SQ_CONTAINER_OF(owner, struct fake_source, owner)->newer_timeline = timeline;
}
static inline void fake_durable(struct repl_sender_owner *owner, uint32_t number, const struct wal_position *durable)
{
    struct fake_source *fake = SQ_CONTAINER_OF(owner, struct fake_source, owner);
    fake->durable_number = number;
    fake->durable = *durable;
    fake->durable_count++;
}

/* A primary of timeline 1 without databases. */
static inline void fake_source_init(struct fake_source *source)
{
    static const struct repl_source_ops ops = {.identity_cb = fake_identity,
                                               .next_database_cb = fake_next_database,
                                               .watch_cb = fake_watch,
                                               .open_feed_cb = fake_open_feed};
    static const struct repl_sender_owner_ops owner_ops = {.newer_timeline_cb = fake_newer_timeline,
                                                           .durable_cb = fake_durable};
    *source = (struct fake_source){
        .source = {.ops = &ops},
        .owner = {.ops = &owner_ops},
        .identity = {.system_id = FAKE_SYSTEM, .timeline = 1, .is_primary = true, .is_list_known = true}};
}
/* A database whose log begins with nothing and has `txid` transactions, a file of `file_bytes` each. */
static inline struct fake_feed *fake_source_add(struct fake_source *source, uint32_t number, const char *name,
                                                ltx_txid txid, uint64_t file_bytes)
{
    struct fake_feed *feed = source->feeds;
    while (feed->entry.number != 0)
        feed++;
    sq_assert(feed < source->feeds + FAKE_DATABASES_MAX && txid <= FAKE_FILES_MAX);
    *feed = (struct fake_feed){.entry = {.number = number}, .file_count = (size_t)txid};
    memcpy(feed->entry.name, name, strlen(name) + 1);
    for (ltx_txid i = 1; i <= txid; i++)
        feed->files[i - 1] = (struct repl_feed_file){.min_txid = i,
                                                     .max_txid = i,
                                                     .timeline = 1,
                                                     .pre_checksum = i == 1 ? 0 : FAKE_SUM(i - 1),
                                                     .post_checksum = FAKE_SUM(i),
                                                     .bytes = file_bytes};
    feed->view = (struct repl_feed_view){
        .state = REPL_FEED_READY,
        .incarnation = 1000 + number,
        .page_bytes = 4096,
        .begin = {.timeline = 1, .txid = 0, .checksum = FAKE_SUM(0)},
        .end = {.timeline = 1, .txid = txid, .checksum = FAKE_SUM(txid)},
    };
    return feed;
}

/* --- A store --- */

struct fake_store;

struct fake_copy {
    struct repl_copy copy;
    struct fake_store *store;
    char name[REPL_NAME_MAX + 1]; /* "": there is none */
    struct repl_copy_view view;
    struct sq_waker *waker; /* NULL: not open */
    bool has_file;
    struct repl_file_intent intent;
    uint64_t appended;
    sq_status begin_status; /* what the next calls say */
    sq_status append_status;
    sq_status commit_status;
    bool is_manual; /* what was committed is not applied by itself */
    unsigned file_count;
    unsigned heal_count;
    unsigned abort_count;
    unsigned timeline_count;
    unsigned resume_count;
    uint32_t page_count; /* whose checksums there are */
};

struct fake_store {
    struct repl_store store;
    struct repl_identity identity;
    struct fake_copy copies[FAKE_DATABASES_MAX];
    unsigned drop_count;
    char dropped[REPL_NAME_MAX + 1];
    unsigned adopt_count;
};

static inline struct fake_copy *fake_copy_of(struct repl_copy *copy)
{
    struct fake_copy *fake = SQ_CONTAINER_OF(copy, struct fake_copy, copy);
    sq_assert(fake->waker != NULL);
    return fake;
}
static inline void fake_copy_look(struct repl_copy *copy, struct repl_copy_view *ret_view)
{
    *ret_view = fake_copy_of(copy)->view;
}
static inline void fake_copy_reason(struct repl_copy *copy, struct sq_error *ret_reason)
{
    (void)copy;
    (void)sq_fail(ret_reason, SQ_IO, "the disk is full");
}
static inline sq_status fake_said(sq_status status, struct sq_error *err)
{
    return status == SQ_OK ? SQ_OK : sq_fail(err, status, "the store has a trouble");
}
/* What the receiver promises is asserted. */
static inline sq_status fake_begin(struct repl_copy *copy, const struct repl_file_intent *intent, struct sq_error *err)
{
    struct fake_copy *fake = fake_copy_of(copy);
    sq_assert(!fake->has_file && intent->min_txid > 0 && intent->min_txid <= intent->max_txid);
    sq_assert(fake->view.state == REPL_COPY_READY || (intent->is_heal && fake->view.state == REPL_COPY_HEAL));
    sq_assert(intent->is_heal ||
              (intent->min_txid <= fake->view.written.txid + 1 && intent->max_txid > fake->view.written.txid &&
               intent->timeline == fake->view.written.timeline));
    sq_assert(intent->is_heal || fake->view.written.txid == 0 || intent->incarnation == fake->view.incarnation);
    if (fake->begin_status != SQ_OK)
        return fake_said(fake->begin_status, err);
    fake->has_file = true;
    fake->intent = *intent;
    fake->appended = 0;
    return SQ_OK;
}
static inline sq_status fake_append(struct repl_copy *copy, const void *bytes, size_t length, struct sq_error *err)
{
    struct fake_copy *fake = fake_copy_of(copy);
    sq_assert(fake->has_file && bytes != NULL && length > 0 && length <= REPL_CHUNK_BYTES_MAX);
    fake->appended += length;
    sq_assert(fake->intent.bytes == 0 || fake->appended <= fake->intent.bytes);
    return fake_said(fake->append_status, err);
}
static inline sq_status fake_commit(struct repl_copy *copy, struct sq_error *err)
{
    struct fake_copy *fake = fake_copy_of(copy);
    sq_assert(fake->has_file && (fake->intent.bytes == 0 || fake->appended == fake->intent.bytes));
    fake->has_file = false;
    if (fake->commit_status != SQ_OK)
        return fake_said(fake->commit_status, err);
    fake->file_count++;
    fake->heal_count += fake->intent.is_heal;
    fake->view.state = REPL_COPY_READY;
    fake->view.incarnation = fake->intent.incarnation;
    fake->view.written = (struct wal_position){
        .timeline = fake->intent.timeline, .txid = fake->intent.max_txid, .checksum = fake->intent.checksum};
    if (!fake->is_manual)
        fake->view.applied = fake->view.durable = fake->view.written;
    sq_waker_wake(fake->waker);
    return SQ_OK;
}
static inline void fake_abort(struct repl_copy *copy)
{
    struct fake_copy *fake = fake_copy_of(copy);
    fake->has_file = false;
    fake->abort_count++;
}
static inline sq_status fake_begin_timeline(struct repl_copy *copy, uint64_t timeline, struct sq_error *err)
{
    struct fake_copy *fake = fake_copy_of(copy);
    (void)err;
    sq_assert(!fake->has_file && fake->view.state == REPL_COPY_READY && timeline > fake->view.written.timeline);
    fake->view.written.timeline = timeline;
    if (!fake->is_manual)
        fake->view.applied = fake->view.durable = fake->view.written;
    fake->timeline_count++;
    sq_waker_wake(fake->waker);
    return SQ_OK;
}
static inline void fake_resume(struct repl_copy *copy)
{
    struct fake_copy *fake = fake_copy_of(copy);
    sq_assert(fake->view.state == REPL_COPY_PAUSED);
    fake->resume_count++;
    fake->view.state = REPL_COPY_READY;
}
static inline sq_status fake_sums(struct repl_copy *copy, uint32_t page_bytes, uint32_t first_page, uint64_t *sums,
                                  size_t count_max, struct sq_error *err, size_t *ret_count, bool *ret_is_end)
{
    struct fake_copy *fake = fake_copy_of(copy);
    uint32_t have = page_bytes == fake->view.page_bytes ? fake->page_count : 0;
    (void)err;
    sq_assert(first_page >= 1 && first_page <= have + 1);
    size_t count = have + 1 - first_page < count_max ? have + 1 - first_page : count_max;
    for (size_t i = 0; i < count; i++)
        sums[i] = FAKE_SUM(first_page + i);
    *ret_count = count;
    *ret_is_end = first_page + count > have;
    return SQ_OK;
}
static inline void fake_close_copy(struct repl_copy *copy)
{
    struct fake_copy *fake = fake_copy_of(copy);
    fake->has_file = false;
    fake->waker = NULL;
}

static inline struct fake_store *fake_store_of(struct repl_store *store)
{
    return SQ_CONTAINER_OF(store, struct fake_store, store);
}
static inline void fake_store_identity(struct repl_store *store, struct repl_identity *ret_identity)
{
    *ret_identity = fake_store_of(store)->identity;
}
static inline sq_status fake_adopt(struct repl_store *store, uint64_t system_id, uint64_t timeline,
                                   struct sq_error *err)
{
    struct fake_store *fake = fake_store_of(store);
    (void)err;
    sq_assert(timeline >= fake->identity.timeline);
    sq_assert(fake->identity.system_id == 0 || fake->identity.system_id == system_id);
    fake->identity.system_id = system_id;
    fake->identity.timeline = timeline;
    fake->adopt_count++;
    return SQ_OK;
}
static inline struct fake_copy *fake_store_find(struct fake_store *store, const char *name)
{
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++) {
        if (strcmp(store->copies[i].name, name) == 0)
            return &store->copies[i];
    }
    return NULL;
}
static inline bool fake_next_local(struct repl_store *store, const char *after, char ret_name[REPL_NAME_MAX + 1])
{
    struct fake_store *fake = fake_store_of(store);
    const char *best = NULL;
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++) {
        const char *name = fake->copies[i].name;
        if (name[0] != '\0' && strcmp(name, after) > 0 && (best == NULL || strcmp(name, best) < 0))
            best = name;
    }
    if (best != NULL)
        memcpy(ret_name, best, REPL_NAME_MAX + 1);
    return best != NULL;
}
/* A database that is there, at `txid` of timeline 1; the first `page_count` pages have checksums. */
static inline struct fake_copy *fake_store_add(struct fake_store *store, const char *name, ltx_txid txid,
                                               uint32_t page_count)
{
    struct fake_copy *copy = fake_store_find(store, "");
    sq_assert(copy != NULL);
    *copy = (struct fake_copy){.store = store, .page_count = page_count};
    memcpy(copy->name, name, strlen(name) + 1);
    copy->view =
        (struct repl_copy_view){.state = REPL_COPY_READY,
                                .page_bytes = txid > 0 ? 4096 : 0,
                                .incarnation = txid > 0 ? 1001 : 0,
                                .written = {.timeline = txid > 0 ? 1 : 0, .txid = txid, .checksum = FAKE_SUM(txid)}};
    copy->view.applied = copy->view.durable = copy->view.written;
    return copy;
}
static inline sq_status fake_open_copy(struct repl_store *store, const char *name, struct sq_waker *waker,
                                       struct sq_error *err, struct repl_copy **ret_copy)
{
    static const struct repl_copy_ops ops = {.look_cb = fake_copy_look,
                                             .reason_cb = fake_copy_reason,
                                             .begin_cb = fake_begin,
                                             .append_cb = fake_append,
                                             .commit_cb = fake_commit,
                                             .abort_cb = fake_abort,
                                             .begin_timeline_cb = fake_begin_timeline,
                                             .resume_cb = fake_resume,
                                             .sums_cb = fake_sums,
                                             .close_cb = fake_close_copy};
    struct fake_store *fake = fake_store_of(store);
    if (name[0] == '-')
        return sq_fail(err, SQ_INVALID, "no name for a database");
    struct fake_copy *copy = fake_store_find(fake, name);
    if (copy == NULL && fake_store_find(fake, "") == NULL)
        return sq_fail(err, SQ_NOMEM, "too many databases");
    if (copy == NULL)
        copy = fake_store_add(fake, name, 0, 0);
    sq_assert(copy->waker == NULL);
    copy->copy.ops = &ops;
    copy->waker = waker;
    *ret_copy = &copy->copy;
    return SQ_OK;
}
static inline sq_status fake_drop(struct repl_store *store, const char *name, struct sq_error *err)
{
    struct fake_store *fake = fake_store_of(store);
    struct fake_copy *copy = fake_store_find(fake, name);
    fake->drop_count++;
    memcpy(fake->dropped, name, strlen(name) + 1);
    if (copy == NULL)
        return sq_fail(err, SQ_NOT_FOUND, "no such database");
    sq_assert(copy->waker == NULL);
    *copy = (struct fake_copy){.store = fake};
    return SQ_OK;
}

static inline void fake_store_init(struct fake_store *store)
{
    static const struct repl_store_ops ops = {.identity_cb = fake_store_identity,
                                              .adopt_cb = fake_adopt,
                                              .next_database_cb = fake_next_local,
                                              .open_cb = fake_open_copy,
                                              .drop_cb = fake_drop};
    *store = (struct fake_store){.store = {.ops = &ops}};
}

#endif
