/* tests/sim/store.c: what a receiver writes to: copies whose files are applied some time after they were committed, and are durable some time after that. What is
 * applied is compared with what the primary had: that is where broken promises show. */
#include <string.h>

#include "sim.h"

struct copy {
    struct repl_copy base;
    struct database *database;
    struct sq_waker *waker;
    bool has_file;
    struct repl_file_intent intent;
    struct sq_buf bytes;
    bool is_closed;
};

static struct copy *copy_of(struct repl_copy *base)
{
    struct copy *copy = SQ_CONTAINER_OF(base, struct copy, base);
    sq_assert(!copy->is_closed);
    return copy;
}

void store_wake(struct database *database)
{
    if (database->copy != NULL)
        sq_waker_wake(database->copy->waker);
}

static bool is_disk_full(const struct database *database)
{
    return database->node->disk_full_until_us > world->now_us;
}

/* What is queued will never be applied. */
static void forget_queue(struct database *database)
{
    database->queue_count = 0;
    database->is_healing = false;
}

static void pause(struct database *database, const char *why)
{
    database->is_paused = true;
    database->trouble = why;
    forget_queue(database);
    store_wake(database);
}

static struct wal_position written(const struct database *database)
{
    struct wal_position at = database->applied;
    for (size_t i = 0; i < database->queue_count; i++) {
        const struct queued *queued = &database->queue[i];
        if (queued->is_timeline)
            at.timeline = queued->timeline;
        else
            at = (struct wal_position){.timeline = queued->file.timeline,
                                       .txid = queued->file.max_txid,
                                       .checksum = queued->file.post_checksum};
    }
    return at;
}

static bool has_queued_heal(const struct database *database)
{
    for (size_t i = 0; i < database->queue_count; i++) {
        if (!database->queue[i].is_timeline && database->queue[i].file.is_heal != 0)
            return true;
    }
    return false;
}

/* --- Judgement --- */

/* What readers see now is what some primary had durably, and never less than before. */
static void judge(const struct database *database, const struct pages *before, const struct wal_position *was)
{
    const struct pages *now = &database->now;
    const struct wal_position *at = &database->applied;
    world->tally.applied_count++;
    if (at->checksum != pages_checksum(now)) {
        violate("position", "node %d, %s: checksum of txid %llu", database->node->id, database->name,
                (unsigned long long)at->txid);
        return;
    }
    if (now->count == 0)
        return;
    const struct txn *txn = &world->txns[now->content[0]];
    if (txn->checksum != at->checksum || txn->txid != at->txid || txn->timeline > at->timeline)
        violate("content", "node %d, %s: txid %llu of timeline %llu is not what transaction %llu left",
                database->node->id, database->name, (unsigned long long)at->txid, (unsigned long long)at->timeline,
                (unsigned long long)now->content[0]);
    if (!txn->is_durable)
        violate("durable first", "node %d, %s: txid %llu was applied before it was durable at node %d",
                database->node->id, database->name, (unsigned long long)at->txid, txn->node);
    if (before->count > 0 && !database->is_corrupt && was->timeline == at->timeline && was->txid > at->txid &&
        txn_is_ancestor(now->content[0], before->content[0]))
        violate("backwards", "node %d, %s: from txid %llu to %llu", database->node->id, database->name,
                (unsigned long long)was->txid, (unsigned long long)at->txid);
}

/* --- Applying --- */

static void append_to_log(struct database *database, const struct file *file)
{
    struct log *log = &database->log;
    if (file->is_heal == 0 && log->exists && file->min_txid <= log_end(log).txid) {
        world->tally.overlap_count++;
        log_truncate(log, file->min_txid - 1);
    }
    if (file->is_heal == 0 && log->exists && file->min_txid == log_end(log).txid + 1)
        log_append(log, file);
    else
        log_restart(log, &database->applied);
}

static void sync_event(void *a, uint64_t epoch);
static void apply_event(void *a, uint64_t epoch);

static void apply_later(struct database *database)
{
    if (database->is_applying || database->queue_count == 0 || database->is_summing)
        return;
    database->is_applying = true;
    event_after(dice_time(4 * MS), apply_event, database, database->node->epoch);
}

static void sync_later(struct database *database)
{
    if (database->is_syncing)
        return;
    database->is_syncing = true;
    event_after(dice_time(4 * MS), sync_event, database, database->node->epoch);
}

static void synced(struct database *database)
{
    database->disk = database->now;
    database->durable = database->applied;
    database->is_disk_known = database->is_known;
    database->disk_incarnation = database->incarnation;
    if (!has_queued_heal(database) &&
        (database->copy == NULL || !database->copy->has_file || !database->copy->intent.is_heal))
        database->is_healing = false;
    feeds_wake(database);
    store_wake(database);
}

static void sync_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (!node_can(database->node, epoch, sync_event, a))
        return;
    database->is_syncing = false;
    if (!database->is_gone)
        synced(database);
}

static void apply_timeline(struct database *database, uint64_t timeline)
{
    world->tally.timeline_count++;
    database->applied.timeline = timeline;
    if (database->log.exists)
        log_begin_timeline(&database->log, timeline);
    else
        log_restart(&database->log, &database->applied);
}

/* False: it does not fit. */
static bool apply_file(struct database *database, const struct file *file)
{
    struct pages before = database->now;
    struct wal_position was = database->applied;
    if (!file_apply(file, &before, &database->now)) {
        world->tally.mismatch_count++;
        tell("node %d, %s: txid %llu does not fit", database->node->id, database->name,
             (unsigned long long)file->max_txid);
        if (!world->options.has_corruption && !world->options.has_collisions)
            violate("mismatch", "node %d, %s: txid %llu to %llu does not fit %llu", database->node->id, database->name,
                    (unsigned long long)file->min_txid, (unsigned long long)file->max_txid,
                    (unsigned long long)was.txid);
        return false;
    }
    database->applied =
        (struct wal_position){.timeline = file->timeline, .txid = file->max_txid, .checksum = file->post_checksum};
    if (file->is_heal != 0) {
        world->tally.heal_count++;
        tell("node %d, %s: healed from %llu/%llu to %llu/%llu", database->node->id, database->name,
             (unsigned long long)was.timeline, (unsigned long long)was.txid, (unsigned long long)file->timeline,
             (unsigned long long)file->max_txid);
        database->is_known = true;
        database->must_heal = false;
    }
    append_to_log(database, file);
    judge(database, &before, &was);
    if (file->is_heal != 0)
        database->is_corrupt = false;
    database->is_bootstrapping = false;
    return true;
}

static void apply_next(struct database *database)
{
    struct queued queued = database->queue[0];
    if (queued.is_timeline) {
        apply_timeline(database, queued.timeline);
    } else if (apply_file(database, &queued.file)) {
        database->incarnation = queued.incarnation;
    } else {
        forget_queue(database);
        database->must_heal = true;
        database->trouble = "what came does not fit what is here";
        return;
    }
    database->queue_count--;
    memmove(database->queue, database->queue + 1, database->queue_count * sizeof(database->queue[0]));
}

static void apply_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (!node_can(database->node, epoch, apply_event, a))
        return;
    database->is_applying = false;
    if (database->is_gone || database->queue_count == 0 || database->is_summing)
        return;
    if (is_disk_full(database)) {
        pause(database, "disk full while applying");
        return;
    }
    apply_next(database);
    sync_later(database);
    store_wake(database);
    apply_later(database);
}

void store_settle(struct database *database)
{
    database->is_summing = false;
    while (database->queue_count > 0)
        apply_next(database);
    synced(database);
}

void store_corrupt(struct database *database)
{
    if (database->now.count < 2 || !database->is_known || database->is_healing)
        return;
    uint32_t page = 1 + (uint32_t)dice_below(database->now.count - 1);
    database->now.content[page] ^= 1;
    database->disk.content[page] ^= 1;
    database->is_corrupt = true;
    tell("node %d, %s: page %u changes under it", database->node->id, database->name, page + 1);
}

/* Queue, copy and everything not synced are gone. */
void store_crash(struct database *database)
{
    sq_assert(database->copy == NULL);
    forget_queue(database);
    database->now = database->disk;
    database->applied = database->durable;
    database->is_known = database->is_disk_known;
    database->incarnation = database->disk_incarnation;
    database->is_summing = database->is_applying = database->is_syncing = database->is_paused = false;
    database->must_heal = false;
    if (database->is_known && world->options.sync_count == 0 && database->durable.txid > 0 && dice_chance(10)) {
        database->is_known = database->is_disk_known = false; /* no record fits what is found */
        database->trouble = "the position is not known after a crash";
        database->is_corrupt = true; /* it may go back: nobody knows where it was */
    }
    if (!database->is_known) {
        database->log.exists = false;
        return;
    }
    if (!database->log.exists)
        return;
    log_truncate(&database->log, database->durable.txid);
    struct wal_position end = log_end(&database->log);
    if (end.txid != database->durable.txid || end.checksum != database->durable.checksum ||
        end.timeline != database->durable.timeline)
        log_restart(&database->log, &database->durable);
}

/* --- Copies --- */

static void opened_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (database->is_gone || !node_can(database->node, epoch, opened_event, a))
        return;
    database->is_opening = false;
    if (is_disk_full(database))
        pause(database, "disk full while opening");
    store_wake(database);
}

static void open_later(struct database *database)
{
    database->is_opening = true;
    event_after(dice_time(3 * MS), opened_event, database, database->node->epoch);
}

static void look(struct repl_copy *base, struct repl_copy_view *ret_view)
{
    const struct database *database = copy_of(base)->database;
    struct repl_copy_view view = {.page_bytes = database->now.page_bytes};
    if (database->is_paused)
        view.state = REPL_COPY_PAUSED;
    else if (database->is_opening)
        view.state = REPL_COPY_PENDING;
    else if ((!database->is_known || database->must_heal) && !has_queued_heal(database))
        view.state = REPL_COPY_HEAL;
    else
        view.state = REPL_COPY_READY;
    if (view.state == REPL_COPY_READY)
        view.written = written(database);
    view.incarnation = database->incarnation;
    for (size_t i = 0; i < database->queue_count; i++) {
        if (!database->queue[i].is_timeline)
            view.incarnation = database->queue[i].incarnation;
    }
    if (database->is_known && !database->is_healing) {
        view.applied = database->applied;
        view.durable = database->durable;
    }
    *ret_view = view;
}

static void reason(struct repl_copy *base, struct sq_error *ret_reason)
{
    const char *trouble = copy_of(base)->database->trouble;
    (void)sq_fail(ret_reason, SQ_IO, "%s", trouble != NULL ? trouble : "?");
}

static sq_status begin(struct repl_copy *base, const struct repl_file_intent *intent, struct sq_error *err)
{
    struct copy *copy = copy_of(base);
    struct database *database = copy->database;
    struct repl_copy_view view;
    look(base, &view);
    sq_assert(!copy->has_file && (view.state == REPL_COPY_READY || (intent->is_heal && view.state == REPL_COPY_HEAL)));
    if (!intent->is_heal && (intent->min_txid > view.written.txid + 1 || intent->max_txid <= view.written.txid ||
                             intent->timeline != view.written.timeline))
        violate("files follow each other", "node %d, %s: %llu to %llu after %llu", database->node->id, database->name,
                (unsigned long long)intent->min_txid, (unsigned long long)intent->max_txid,
                (unsigned long long)view.written.txid);
    if (is_disk_full(database)) {
        pause(database, "disk full");
        return sq_fail(err, SQ_IO, "disk full");
    }
    if (database->queue_count >= QUEUE_MAX / 2) {
        apply_later(database);
        return SQ_BUSY;
    }
    copy->has_file = true;
    copy->intent = *intent;
    sq_buf_truncate(&copy->bytes, 0);
    if (intent->is_heal)
        database->is_healing = true;
    return SQ_OK;
}

/* Of a healing file that was cut off: what is there, for a database that has nothing else. */
static void keep_what_has_come(struct copy *copy)
{
    struct database *database = copy->database;
    uint64_t head[10];
    if ((database->now.count > 0 && !database->is_bootstrapping) || sq_buf_length(&copy->bytes) < sizeof(head))
        return;
    memcpy(head, sq_buf_bytes(&copy->bytes), sizeof(head));
    if (head[8] > PAGES_MAX || head[7] > PAGES_MAX)
        return;
    for (uint64_t i = 0; i < head[8]; i++) {
        uint64_t number = 0;
        uint64_t content = 0;
        if (sq_buf_length(&copy->bytes) < sizeof(head) + (head[8] + i + 1) * sizeof(uint64_t))
            break;
        memcpy(&number, sq_buf_bytes(&copy->bytes) + sizeof(head) + i * sizeof(uint64_t), sizeof(number));
        memcpy(&content, sq_buf_bytes(&copy->bytes) + sizeof(head) + (head[8] + i) * sizeof(uint64_t), sizeof(content));
        if (number == 0 || number > PAGES_MAX)
            return;
        database->now.page_bytes = (uint32_t)head[6];
        database->now.content[number - 1] = content;
        if (number > database->now.count)
            database->now.count = (uint32_t)number;
    }
    if (database->now.count == 0)
        return;
    database->is_bootstrapping = true;
    database->is_known = database->is_disk_known = false;
    database->trouble = "its beginning was cut off";
    if (dice_chance(50))
        database->disk = database->now;
}

static void abort_file(struct repl_copy *base)
{
    struct copy *copy = copy_of(base);
    struct database *database = copy->database;
    if (copy->has_file && copy->intent.is_heal) {
        keep_what_has_come(copy);
        database->is_healing = has_queued_heal(database);
    }
    copy->has_file = false;
    database->is_summing = false;
    apply_later(database);
}

static sq_status append(struct repl_copy *base, const void *bytes, size_t length, struct sq_error *err)
{
    struct copy *copy = copy_of(base);
    sq_assert(copy->has_file && length > 0);
    if (is_disk_full(copy->database)) {
        pause(copy->database, "disk full");
        copy->has_file = false;
        return sq_fail(err, SQ_IO, "disk full");
    }
    sq_buf_put(&copy->bytes, bytes, length);
    return sq_buf_check(&copy->bytes, err);
}

static sq_status commit(struct repl_copy *base, struct sq_error *err)
{
    struct copy *copy = copy_of(base);
    struct database *database = copy->database;
    struct queued queued = {.is_timeline = false};
    const struct repl_file_intent *intent = &copy->intent;
    sq_assert(copy->has_file && database->queue_count < QUEUE_MAX);
    copy->has_file = false;
    if (!file_decode(sq_buf_bytes(&copy->bytes), sq_buf_length(&copy->bytes), &queued.file) ||
        queued.file.max_txid != intent->max_txid || queued.file.timeline != intent->timeline ||
        queued.file.post_checksum != intent->checksum || (queued.file.is_heal != 0) != intent->is_heal) {
        if (!world->options.has_corruption)
            violate("files arrive whole", "node %d, %s: txid %llu", database->node->id, database->name,
                    (unsigned long long)intent->max_txid);
        database->must_heal = true;
        database->trouble = "a damaged file has come";
        database->is_healing = has_queued_heal(database);
        store_wake(database);
        return sq_fail(err, SQ_CORRUPT, "a damaged file");
    }
    queued.incarnation = intent->incarnation;
    database->queue[database->queue_count++] = queued;
    database->is_summing = database->is_summing && !intent->is_heal;
    apply_later(database);
    return SQ_OK;
}

static sq_status begin_timeline(struct repl_copy *base, uint64_t timeline, struct sq_error *err)
{
    struct database *database = copy_of(base)->database;
    (void)err;
    sq_assert(database->queue_count < QUEUE_MAX && timeline > written(database).timeline);
    database->queue[database->queue_count++] = (struct queued){.is_timeline = true, .timeline = timeline};
    apply_later(database);
    return SQ_OK;
}

static void resume(struct repl_copy *base)
{
    struct database *database = copy_of(base)->database;
    sq_assert(database->is_paused);
    database->is_paused = false;
    open_later(database);
}

static void sums_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (!database->is_gone && node_can(database->node, epoch, sums_event, a))
        store_wake(database);
}

static sq_status sums(struct repl_copy *base, uint32_t page_bytes, uint32_t first_page, uint64_t *numbers,
                      size_t count_max, struct sq_error *err, size_t *ret_count, bool *ret_is_end)
{
    struct database *database = copy_of(base)->database;
    size_t count = 1 + (size_t)dice_below(7);
    (void)err;
    *ret_count = 0;
    *ret_is_end = false;
    if (database->queue_count > 0) { /* these first */
        apply_later(database);
        return SQ_OK;
    }
    database->is_summing = true;
    if (page_bytes != database->now.page_bytes) {
        *ret_is_end = true;
        return SQ_OK;
    }
    if (dice_chance(10)) {
        event_after(dice_time(2 * MS), sums_event, database, database->node->epoch);
        return SQ_OK;
    }
    sq_assert(first_page <= database->now.count + 1);
    size_t left = database->now.count - (first_page - 1);
    count = count < left ? count : left;
    count = count < count_max ? count : count_max;
    for (size_t i = 0; i < count; i++)
        numbers[i] = pages_sum(first_page + (uint32_t)i, database->now.content[first_page - 1 + i]);
    *ret_count = count;
    *ret_is_end = count == left;
    return SQ_OK;
}

static void close_copy(struct repl_copy *base)
{
    struct copy *copy = copy_of(base);
    struct database *database = copy->database;
    abort_file(base);
    sq_buf_done(&copy->bytes);
    copy->is_closed = true;
    database->copy = NULL;
}

static const struct repl_copy_ops copy_ops = {
    .look_cb = look,
    .reason_cb = reason,
    .begin_cb = begin,
    .append_cb = append,
    .commit_cb = commit,
    .abort_cb = abort_file,
    .begin_timeline_cb = begin_timeline,
    .resume_cb = resume,
    .sums_cb = sums,
    .close_cb = close_copy,
};

/* --- The store --- */

static struct node *node_of(struct repl_store *base)
{
    return SQ_CONTAINER_OF(base, struct node, store);
}

static void identity(struct repl_store *base, struct repl_identity *ret_identity)
{
    const struct node *node = node_of(base);
    *ret_identity = (struct repl_identity){.system_id = node->system_id, .timeline = node->timeline};
}

static sq_status adopt(struct repl_store *base, uint64_t system_id, uint64_t timeline, struct sq_error *err)
{
    struct node *node = node_of(base);
    (void)err;
    sq_assert(node->role == REPLICA && timeline >= node->timeline);
    node->system_id = system_id;
    node->timeline = timeline;
    node_watchers_wake(node);
    return SQ_OK;
}

static bool next_database(struct repl_store *base, const char *after, char ret_name[REPL_NAME_MAX + 1])
{
    const struct database *best = NULL;
    SQ_LIST_FOREACH (links, &node_of(base)->databases) {
        const struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        if (strcmp(database->name, after) > 0 && (best == NULL || strcmp(database->name, best->name) < 0))
            best = database;
    }
    if (best == NULL)
        return false;
    memcpy(ret_name, best->name, sizeof(best->name));
    return true;
}

static sq_status open_copy(struct repl_store *base, const char *name, struct sq_waker *waker, struct sq_error *err,
                           struct repl_copy **ret_copy)
{
    struct node *node = node_of(base);
    if (strchr(name, '!') != NULL)
        return sq_fail(err, SQ_INVALID, "no name for a database");
    struct database *database = node_database(node, name);
    if (database == NULL) {
        database = database_new(node, name);
        database->is_known = database->is_disk_known = true;
        node_watchers_wake(node);
    }
    sq_assert(database->copy == NULL);
    struct copy *copy = world_alloc(sizeof(*copy));
    copy->base.ops = &copy_ops;
    copy->database = database;
    copy->waker = waker;
    sq_buf_init(&copy->bytes, 1 << 24);
    database->copy = copy;
    open_later(database);
    *ret_copy = &copy->base;
    return SQ_OK;
}

static sq_status drop(struct repl_store *base, const char *name, struct sq_error *err)
{
    struct database *database = node_database(node_of(base), name);
    if (database == NULL)
        return sq_fail(err, SQ_NOT_FOUND, "no such database");
    sq_assert(database->copy == NULL);
    world->tally.drop_count++;
    database_gone(database);
    return SQ_OK;
}

const struct repl_store_ops store_ops = {
    .identity_cb = identity,
    .adopt_cb = adopt,
    .next_database_cb = next_database,
    .open_cb = open_copy,
    .drop_cb = drop,
};
