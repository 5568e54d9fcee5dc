/* tests/sim/source.c: what a sender reads from, on a primary and on a replica: logs that are made, grow, are trimmed, compacted and begun anew; snapshots that take their
 * time or fail. */
#include <string.h>

#include "sim.h"

struct watcher {
    struct sq_list links;
    const void *key;
    struct sq_waker *waker;
};

struct exchange {
    struct repl_exchange base;
    struct feed *feed;
    uint64_t epoch;
    struct sq_waker *waker;
    enum repl_exchange_state state;
    struct pages snapshot;
    struct wal_position position;
    uint32_t given_count;
    uint64_t given_checksum;
    bool is_same[PAGES_MAX];
    struct sq_buf bytes;
    bool is_closed;
};

struct feed {
    struct repl_feed base;
    struct database *database;
    struct sq_list links;
    struct sq_waker *waker;
    struct exchange *exchange;
    struct sq_buf bytes; /* of the open file */
    ltx_txid hold;
    bool is_closed;
};

static struct feed *feed_of(struct repl_feed *base)
{
    return SQ_CONTAINER_OF(base, struct feed, base);
}

void feeds_wake(struct database *database)
{
    SQ_LIST_FOREACH (links, &database->feeds)
        sq_waker_wake(SQ_CONTAINER_OF(links, struct feed, links)->waker);
}

/* --- The logger of a primary --- */

static const struct pages *pages_at(const struct database *database, ltx_txid txid)
{
    if (txid == database->synced_txid)
        return &database->synced_pages;
    for (size_t i = 0; i < database->record_count; i++) {
        if (database->records[i].txid == txid)
            return &database->records[i].after;
    }
    sq_assert(false);
}

static void log_sync(struct database *database)
{
    struct wal_position end = log_end(&database->log);
    struct pages pages = *pages_at(database, end.txid);
    size_t gone = 0;
    while (gone < database->record_count && database->records[gone].txid <= end.txid)
        gone++;
    database->record_count -= gone;
    memmove(database->records, database->records + gone, database->record_count * sizeof(database->records[0]));
    database->synced_txid = end.txid;
    database->synced_pages = pages;
}

void logger_note_end(struct database *database)
{
    if (database->end_count == ENDS_MAX)
        return;
    database->ends[database->end_count].at_us = world->now_us;
    database->ends[database->end_count++].txid = log_end(&database->log).txid;
}

void logger_now(struct database *database)
{
    struct log *log = &database->log;
    ltx_txid to = world->options.ships_undurable ? database->applied.txid : database->durable.txid;
    if (!log->exists || database->is_gone || to <= log_end(log).txid)
        return;
    struct file file = file_between(pages_at(database, log_end(log).txid), pages_at(database, to));
    file.min_txid = log_end(log).txid + 1;
    file.max_txid = to;
    file.timeline = database->node->timeline;
    if (file.min_txid == 1)
        file.pre_checksum = 0;
    if (dice_chance(1))
        file.padding = dice_below(3 * REPL_CHUNK_BYTES_MAX);
    log_append(log, &file);
    logger_note_end(database);
    if (dice_chance(10) || database->record_count > RECORDS_MAX / 2)
        log_sync(database);
    feeds_wake(database);
}

static void logger_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (!node_can(database->node, epoch, logger_event, a))
        return;
    database->is_logger_due = false;
    if (database->node->role == PRIMARY)
        logger_now(database);
}

void logger_later(struct database *database)
{
    if (database->is_logger_due)
        return;
    database->is_logger_due = true;
    event_after(dice_time(3 * MS), logger_event, database, database->node->epoch);
}

/* Somebody has asked for the log: it begins with a scan. */
static void scan_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (!node_can(database->node, epoch, scan_event, a) || database->is_gone || database->log.exists ||
        database->node->role == REPLICA)
        return;
    database->disk = database->now;
    database->durable = database->applied;
    log_restart(&database->log, &database->durable);
    database->record_count = 0;
    database->synced_txid = database->durable.txid;
    database->synced_pages = database->disk;
    mark_durable(&database->disk);
    logger_note_end(database);
    feeds_wake(database);
    node_acknowledge(database->node);
}

/* --- Feeds --- */

static void look(struct repl_feed *base, struct repl_feed_view *ret_view)
{
    const struct database *database = feed_of(base)->database;
    const struct node *node = database->node;
    struct repl_feed_view view = {.state = REPL_FEED_PENDING};
    if (database->is_gone) {
        view.state = REPL_FEED_GONE;
    } else if (node->log_broken_until_us > world->now_us) {
        view.state = REPL_FEED_FAILED;
    } else if (database->log.exists &&
               (node->role != REPLICA || (database->is_known && !database->is_healing && !database->must_heal))) {
        view.state = REPL_FEED_READY;
        view.page_bytes = database->now.page_bytes;
        view.incarnation = database->incarnation;
        view.age_us = node->role == PRIMARY ? 0 : INT64_MAX;
        if (node->role == REPLICA && node->link != NULL && link_receiver(node->link) != NULL)
            view.age_us = repl_receiver_age_us(link_receiver(node->link), database->name, world->now_us);
        view.begin = database->log.begin;
        view.end = node->role == REPLICA ? database->durable : log_end(&database->log);
    }
    *ret_view = view;
}

static void reason(struct repl_feed *base, struct sq_error *ret_reason)
{
    (void)base;
    (void)sq_fail(ret_reason, SQ_IO, "the log's disk is broken");
}

static bool timeline_end(struct repl_feed *base, uint64_t timeline, ltx_txid *ret_txid)
{
    const struct log *log = &feed_of(base)->database->log;
    for (size_t i = 0; i < log->history_count; i++) {
        if (log->history[i] == timeline) {
            *ret_txid = i + 1 == log->history_count ? UINT64_MAX : log->history_end[i];
            return true;
        }
    }
    return false;
}

static sq_status open_file(struct repl_feed *base, ltx_txid txid, struct sq_error *err, struct repl_feed_file *ret_file)
{
    struct feed *feed = feed_of(base);
    const struct log *log = &feed->database->log;
    struct repl_feed_view view;
    look(base, &view);
    if (world->options.is_wild && !world->is_calm && dice_chance(1))
        return sq_fail(err, SQ_IO, "a file of the log cannot be opened");
    for (size_t i = 0; i < log->file_count; i++) {
        const struct file *file = &log->files[i];
        if (file->min_txid > txid + 1 || file->max_txid < txid + 1 || file->max_txid > view.end.txid)
            continue;
        sq_buf_truncate(&feed->bytes, 0);
        sq_assert(sq_buf_reserve(&feed->bytes, file_bytes(file)));
        file_encode(file, sq_buf_tail(&feed->bytes));
        sq_buf_produce(&feed->bytes, file_bytes(file));
        if (log->is_rotten[i])
            sq_buf_bytes(&feed->bytes)[dice_below(80)] ^= 1;
        *ret_file = (struct repl_feed_file){.min_txid = file->min_txid,
                                            .max_txid = file->max_txid,
                                            .timeline = file->timeline,
                                            .pre_checksum = file->pre_checksum,
                                            .post_checksum = file->post_checksum,
                                            .bytes = file_bytes(file)};
        return SQ_OK;
    }
    return sq_fail(err, SQ_NOT_FOUND, "no such file");
}

static sq_status read_file(struct repl_feed *base, uint64_t offset, void *bytes, size_t length, struct sq_error *err,
                           size_t *ret_length)
{
    const struct sq_buf *from = &feed_of(base)->bytes;
    if (world->options.is_wild && !world->is_calm && dice_chance(1))
        return sq_fail(err, SQ_IO, "a file of the log cannot be read");
    sq_assert(offset <= sq_buf_length(from));
    size_t left = sq_buf_length(from) - (size_t)offset;
    *ret_length = length < left ? length : left;
    memcpy(bytes, sq_buf_bytes(from) + offset, *ret_length);
    return SQ_OK;
}

static uint64_t bytes_after(struct repl_feed *base, ltx_txid txid)
{
    const struct log *log = &feed_of(base)->database->log;
    uint64_t bytes = 0;
    for (size_t i = 0; i < log->file_count; i++)
        bytes += log->files[i].max_txid > txid ? file_bytes(&log->files[i]) : 0;
    return bytes;
}

static void hold(struct repl_feed *base, ltx_txid txid)
{
    feed_of(base)->hold = txid;
}

static void close_feed(struct repl_feed *base)
{
    struct feed *feed = feed_of(base);
    sq_assert(!feed->is_closed && feed->exchange == NULL);
    feed->is_closed = true;
    sq_list_remove(&feed->links);
    sq_buf_done(&feed->bytes);
}

/* --- Exchanges --- */

static struct exchange *exchange_of(struct repl_exchange *base)
{
    return SQ_CONTAINER_OF(base, struct exchange, base);
}

static void prepared_event(void *a, uint64_t epoch)
{
    struct exchange *exchange = a;
    if (exchange->is_closed || !node_can(exchange->feed->database->node, epoch, prepared_event, a))
        return;
    struct database *database = exchange->feed->database;
    bool is_replica = database->node->role == REPLICA;
    exchange->state = REPL_EXCHANGE_FAILED;
    if (!is_replica) {
        database->disk = database->now;
        database->durable = database->applied;
        mark_durable(&database->disk);
        logger_now(database);
        node_acknowledge(database->node);
    }
    bool is_fine = !database->is_gone && database->log.exists && database->durable.txid > 0 &&
                   (!is_replica || (database->is_known && !database->is_healing && !database->must_heal));
    if (is_fine && (!world->options.is_wild || world->is_calm || !dice_chance(5))) {
        exchange->snapshot = database->disk;
        exchange->position = database->durable;
        exchange->state = REPL_EXCHANGE_SUMS;
    }
    sq_waker_wake(exchange->waker);
}

static sq_status exchange_new(struct repl_feed *base, struct sq_waker *waker, struct sq_error *err,
                              struct repl_exchange **ret_exchange);

static enum repl_exchange_state exchange_state(struct repl_exchange *base, struct sq_error *ret_reason)
{
    struct exchange *exchange = exchange_of(base);
    if (exchange->state == REPL_EXCHANGE_FAILED)
        (void)sq_fail(ret_reason, SQ_IO, "no snapshot");
    return exchange->state;
}

static void exchange_position(struct repl_exchange *base, struct wal_position *ret_position, uint32_t *ret_page_bytes,
                              uint32_t *ret_page_count)
{
    const struct exchange *exchange = exchange_of(base);
    *ret_position = exchange->position;
    *ret_page_bytes = exchange->snapshot.page_bytes;
    *ret_page_count = exchange->snapshot.count;
}

static sq_status exchange_sums(struct repl_exchange *base, uint32_t first_page, const uint64_t *sums, size_t count,
                               struct sq_error *err)
{
    struct exchange *exchange = exchange_of(base);
    (void)err;
    sq_assert(exchange->state == REPL_EXCHANGE_SUMS && first_page == exchange->given_count + 1);
    for (size_t i = 0; i < count; i++) {
        uint32_t page = first_page + (uint32_t)i;
        if (page <= exchange->snapshot.count)
            exchange->is_same[page - 1] = sums[i] == pages_sum(page, exchange->snapshot.content[page - 1]);
        exchange->given_checksum ^= sums[i];
    }
    exchange->given_count += (uint32_t)count;
    return SQ_OK;
}

static sq_status exchange_finish(struct repl_exchange *base, struct sq_error *err)
{
    struct exchange *exchange = exchange_of(base);
    struct file file = {.min_txid = exchange->given_count == 0 ? 1 : exchange->position.txid,
                        .max_txid = exchange->position.txid,
                        .timeline = exchange->position.timeline,
                        .pre_checksum = exchange->given_count == 0 ? 0 : exchange->given_checksum | WAL_CHECKSUM_FLAG,
                        .post_checksum = exchange->position.checksum,
                        .is_heal = 1,
                        .page_bytes = exchange->snapshot.page_bytes,
                        .page_count = exchange->snapshot.count};
    (void)err;
    for (uint32_t i = 0; i < exchange->snapshot.count; i++) {
        if (exchange->is_same[i])
            continue;
        file.page_numbers[file.changed_count] = i + 1;
        file.contents[file.changed_count++] = exchange->snapshot.content[i];
    }
    sq_assert(sq_buf_reserve(&exchange->bytes, file_bytes(&file)));
    file_encode(&file, sq_buf_tail(&exchange->bytes));
    sq_buf_produce(&exchange->bytes, file_bytes(&file));
    exchange->state = REPL_EXCHANGE_DATA;
    return SQ_OK;
}

static void exchange_wake_event(void *a, uint64_t epoch)
{
    struct exchange *exchange = a;
    if (!exchange->is_closed && node_can(exchange->feed->database->node, epoch, exchange_wake_event, a))
        sq_waker_wake(exchange->waker);
}

static sq_status exchange_read(struct repl_exchange *base, void *bytes, size_t length, struct sq_error *err,
                               size_t *ret_length)
{
    struct exchange *exchange = exchange_of(base);
    size_t left = sq_buf_length(&exchange->bytes);
    size_t piece = (size_t)dice_below(400);
    sq_assert(exchange->state == REPL_EXCHANGE_DATA);
    if (world->options.is_wild && !world->is_calm && dice_chance(1)) {
        exchange->state = REPL_EXCHANGE_FAILED;
        return sq_fail(err, SQ_IO, "the snapshot is lost");
    }
    piece = piece < left ? piece : left;
    piece = piece < length ? piece : length;
    if (piece > 0)
        memcpy(bytes, sq_buf_bytes(&exchange->bytes), piece);
    sq_buf_consume(&exchange->bytes, piece);
    *ret_length = piece;
    if (piece == left && dice_chance(60))
        exchange->state = REPL_EXCHANGE_END;
    else if (piece == 0)
        event_after(dice_time(2 * MS), exchange_wake_event, exchange, exchange->epoch);
    return SQ_OK;
}

static void exchange_close(struct repl_exchange *base)
{
    struct exchange *exchange = exchange_of(base);
    sq_assert(!exchange->is_closed);
    exchange->is_closed = true;
    exchange->feed->exchange = NULL;
    sq_buf_done(&exchange->bytes);
}

static const struct repl_exchange_ops exchange_ops = {
    .state_cb = exchange_state,
    .position_cb = exchange_position,
    .sums_cb = exchange_sums,
    .finish_cb = exchange_finish,
    .read_cb = exchange_read,
    .close_cb = exchange_close,
};

static sq_status exchange_new(struct repl_feed *base, struct sq_waker *waker, struct sq_error *err,
                              struct repl_exchange **ret_exchange)
{
    struct feed *feed = feed_of(base);
    sq_assert(feed->exchange == NULL && !feed->is_closed);
    if (world->options.is_wild && !world->is_calm && dice_chance(3))
        return sq_fail(err, SQ_NOMEM, "no memory for a snapshot");
    struct exchange *exchange = world_alloc(sizeof(*exchange));
    exchange->base.ops = &exchange_ops;
    exchange->feed = feed;
    exchange->epoch = feed->database->node->epoch;
    exchange->waker = waker;
    sq_buf_init(&exchange->bytes, 1 << 20);
    feed->exchange = exchange;
    event_after(dice_time(5 * MS), prepared_event, exchange, exchange->epoch);
    *ret_exchange = &exchange->base;
    return SQ_OK;
}

static const struct repl_feed_ops feed_ops = {
    .look_cb = look,
    .reason_cb = reason,
    .timeline_end_cb = timeline_end,
    .open_file_cb = open_file,
    .read_file_cb = read_file,
    .bytes_after_cb = bytes_after,
    .hold_cb = hold,
    .exchange_cb = exchange_new,
    .close_cb = close_feed,
};

/* --- The source --- */

static struct node *node_of(struct repl_source *base)
{
    return SQ_CONTAINER_OF(base, struct node, source);
}

static void identity(struct repl_source *base, struct repl_identity *ret_identity)
{
    const struct node *node = node_of(base);
    struct repl_receiver *receiver = node->link != NULL ? link_receiver(node->link) : NULL;
    *ret_identity = (struct repl_identity){
        .system_id = node->system_id,
        .timeline = node->timeline,
        .is_primary = node->role == PRIMARY,
        .is_fenced = node->role == FENCED,
        .is_list_known = node->role == PRIMARY || (receiver != NULL && repl_receiver_is_list_known(receiver)),
        .age_us = node->role == PRIMARY ? 0
                  : receiver != NULL    ? repl_receiver_age_us(receiver, NULL, world->now_us)
                                        : INT64_MAX,
    };
}

static bool next_database(struct repl_source *base, uint32_t after, struct repl_database_entry *ret_entry)
{
    const struct database *best = NULL;
    SQ_LIST_FOREACH (links, &node_of(base)->databases) {
        const struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        if (database->number > after && (best == NULL || database->number < best->number))
            best = database;
    }
    if (best == NULL)
        return false;
    ret_entry->number = best->number;
    memcpy(ret_entry->name, best->name, sizeof(ret_entry->name));
    return true;
}

void node_watchers_wake(struct node *node)
{
    SQ_LIST_FOREACH (links, &node->watchers)
        sq_waker_wake(SQ_CONTAINER_OF(links, struct watcher, links)->waker);
}

static sq_status watch(struct repl_source *base, const void *key, struct sq_waker *waker, struct sq_error *err)
{
    (void)err;
    if (waker == NULL) {
        SQ_LIST_FOREACH (links, &node_of(base)->watchers) {
            if (SQ_CONTAINER_OF(links, struct watcher, links)->key == key)
                sq_list_remove(links);
        }
        return SQ_OK;
    }
    struct watcher *watcher = world_alloc(sizeof(*watcher));
    watcher->key = key;
    watcher->waker = waker;
    sq_list_init(&watcher->links);
    sq_list_push_back(&node_of(base)->watchers, &watcher->links);
    return SQ_OK;
}

static sq_status open_feed(struct repl_source *base, uint32_t number, struct sq_waker *waker, struct sq_error *err,
                           struct repl_feed **ret_feed)
{
    struct node *node = node_of(base);
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        if (database->number != number)
            continue;
        struct feed *feed = world_alloc(sizeof(*feed));
        feed->base.ops = &feed_ops;
        feed->database = database;
        feed->waker = waker;
        sq_buf_init(&feed->bytes, 1 << 24);
        sq_list_init(&feed->links);
        sq_list_push_back(&database->feeds, &feed->links);
        if (!database->log.exists && node->role != REPLICA)
            event_after(dice_time(5 * MS), scan_event, database, node->epoch);
        *ret_feed = &feed->base;
        return SQ_OK;
    }
    return sq_fail(err, SQ_NOT_FOUND, "no such database");
}

const struct repl_source_ops source_ops = {
    .identity_cb = identity,
    .next_database_cb = next_database,
    .watch_cb = watch,
    .open_feed_cb = open_feed,
};
