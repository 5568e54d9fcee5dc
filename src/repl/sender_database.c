/* repl/sender_database.c: one database, as one replica is told of it and sent it.
 *
 *     NEW ─Database─► TOLD ◄──────────────────────────────────────────────────────────────┐
 *                      │ StartAt: where the replica is                                     │ Unavailable
 *          ┌───────────┴──────────────┐                                                    │
 *          ▼ known                    ▼ not known                                          │
 *       FOLLOW ──not in our history──► HEAL_WAITS ─► HEAL_PREPARES ─Heal─► HEAL_SUMS ─► HEAL_DATA ─► GIVES_UP: no log, no snapshot
 *          ▲ Position, Timeline, File     (a place)     (a snapshot)        (Sums)          │ File
 *          └──────────────────────────────────────────────────────────────────────────────┘
 *     from anywhere: StartAt begins anew; NotWanted ─► TOLD; GONE ─Dropped─► freed
 *
 * Invariants
 *  1. What is sent is durable here: no file beyond the feed's end.
 *  2. Files follow each other: the first transaction of one is at most the one after `sent`, and if it is just that one, pre_checksum is
 *     sent.checksum. Anything else heals.
 *  3. `sent` moves only when the last byte of a file, or a Timeline, was put into the output: a status beyond it is a lie.
 *  4. A replica's durable position is passed on only from proof_txid on: where our log has been seen to have the replica's checksum, or what the replica has
 *     verified against a file of ours.
 *  5. A replica that has what we have not is healed, but not while we may be behind ourselves: who writes never is; a replica is not if it has had everything
 *     later than the other one said its position, which some primary had before.
 *  6. At most REPL_SENDER_EXCHANGES_MAX exchanges are open; each belongs to a database in HEAL_PREPARES, _SUMS or _DATA. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "repl/sender_internal.h"

_Static_assert((int)REPL_CHUNK_BYTES_MAX == (int)REPLICATION_CHUNK_BYTES_MAX, "a chunk is a message");
_Static_assert((int)REPL_SUMS_COUNT_MAX == (int)REPLICATION_SUMS_COUNT_MAX, "sums are a message");
_Static_assert((int)REPL_NAME_MAX == (int)REPLICATION_NAME_MAX, "names");

static const char *const phase_names[SENDER_PHASE_COUNT] = {
    [SENDER_NEW] = "new",
    [SENDER_TOLD] = "announced",
    [SENDER_FOLLOW] = "following",
    [SENDER_HEAL_WAITS] = "waits to heal",
    [SENDER_HEAL_PREPARES] = "snapshot",
    [SENDER_HEAL_SUMS] = "comparing",
    [SENDER_HEAL_DATA] = "healing",
    [SENDER_GIVES_UP] = "unavailable",
    [SENDER_GONE] = "dropped",
};

/* --- Parts --- */

static bool is_same(const struct wal_position *a, const struct wal_position *b)
{
    return a->timeline == b->timeline && a->txid == b->txid && a->checksum == b->checksum;
}

static void log_event(enum sq_log_level level, const struct sender_database *database, const char *message,
                      const char *reason)
{
    char replica[SQ_LOG_QUOTED_MAX];
    char why[SQ_LOG_QUOTED_MAX];
    sq_log(level, "repl", message, "replica=%s database=%s txid=%llu reason=%s",
           sq_log_quote(replica, database->sender->name), database->name, (unsigned long long)database->sent.txid,
           sq_log_quote(why, reason));
}

static void publish(struct sender_database *database)
{
    pthread_mutex_lock(&database->sender->mutex);
    database->shown = (struct sender_shown){
        .feed = database->feed,
        .phase = database->phase,
        .is_refused = database->is_refused,
        .sent = database->is_known ? database->sent : (struct wal_position){0},
        .told = database->told,
        .status = database->status,
        .behind_since_us = database->sample_count > 0 ? database->samples[0].at_us : 0,
    };
    pthread_mutex_unlock(&database->sender->mutex);
}

void sender_database_work(struct sender_database *database)
{
    sq_list_remove(&database->work_links);
    sq_list_push_back(&database->sender->work, &database->work_links);
}

static void delay(struct sender_database *database, int64_t delay_us)
{
    database->retry_at_us = database->sender->now_us + delay_us;
    sq_list_remove(&database->work_links);
    sq_list_push_back(&database->sender->delayed, &database->work_links);
}

/* Its place goes to the one that has waited longest. */
static void close_exchange(struct sender_database *database)
{
    struct repl_sender *sender = database->sender;
    if (database->exchange == NULL)
        return;
    database->exchange->ops->close_cb(database->exchange);
    database->exchange = NULL;
    sq_assert(sender->exchange_count > 0);
    sender->exchange_count--;
    struct sq_list *next = sq_list_pop_front(&sender->heal_waiting);
    if (next != NULL)
        sq_list_push_back(&sender->work, next);
}

static void close_feed(struct sender_database *database)
{
    close_exchange(database);
    if (database->feed == NULL)
        return;
    pthread_mutex_lock(&database->sender->mutex);
    database->shown.feed = NULL;
    pthread_mutex_unlock(&database->sender->mutex);
    database->feed->ops->close_cb(database->feed);
    database->feed = NULL;
    database->has_file = false;
    repl_wakeup_withdraw(&database->wakeup);
}

/* Forgets what the replica was sent and has said of itself. */
static void forget_attempt(struct sender_database *database)
{
    close_exchange(database);
    database->has_file = false;
    database->is_known = false;
    database->sent = (struct wal_position){0};
    database->proof_txid = UINT64_MAX;
    database->has_told = false;
    database->status = (struct replication_status){0};
    database->sample_count = 0;
}

static void give_up(struct sender_database *database, const struct sq_error *reason)
{
    log_event(SQ_LOG_WARNING, database, "a replica cannot be fed", reason->text);
    free(database->reason);
    database->reason = strdup(reason->text);
    close_feed(database);
    database->phase = SENDER_GIVES_UP;
    database->is_attempt_over = true;
    sender_database_work(database);
}

static void heal(struct sender_database *database, const char *reason)
{
    log_event(SQ_LOG_INFO, database, "a replica has to heal", reason);
    close_exchange(database);
    database->has_file = false;
    database->proof_txid = UINT64_MAX;
    database->phase = SENDER_HEAL_WAITS;
    sender_database_work(database);
}

sq_status sender_database_new(struct repl_sender *sender, const struct repl_database_entry *entry, struct sq_error *err)
{
    struct sender_database *database = calloc(1, sizeof(*database));
    if (database == NULL)
        return sq_fail(err, SQ_NOMEM, "database '%s' of a replica", entry->name);
    database->sender = sender;
    database->number = entry->number;
    database->proof_txid = UINT64_MAX;
    memcpy(database->name, entry->name, sizeof(database->name));
    sq_status status = sq_map_put(&sender->by_number, &database->number, sizeof(database->number), database, NULL);
    if (status != SQ_OK) {
        free(database);
        return sq_fail(err, status, "database '%s' of a replica", entry->name);
    }
    sq_list_init(&database->links);
    sq_list_init(&database->work_links);
    repl_wakeup_init(&database->wakeup, &sender->wakeups);
    pthread_mutex_lock(&sender->mutex);
    sq_list_push_back(&sender->databases, &database->links);
    pthread_mutex_unlock(&sender->mutex);
    sender->new_count++;
    return SQ_OK;
}

/* The replica knows no database of this name any more. */
static void forget_name(struct sender_database *database)
{
    struct sq_map *by_name = &database->sender->by_name;
    if (sq_map_get(by_name, database->name, strlen(database->name)) == database)
        sq_map_remove(by_name, database->name, strlen(database->name));
}

void sender_database_free(struct sender_database *database)
{
    struct repl_sender *sender = database->sender;
    close_feed(database);
    sq_list_remove(&database->work_links);
    if (database->phase == SENDER_NEW)
        sender->new_count--;
    forget_name(database);
    sq_map_remove(&sender->by_number, &database->number, sizeof(database->number));
    pthread_mutex_lock(&sender->mutex);
    sq_list_remove(&database->links);
    pthread_mutex_unlock(&sender->mutex);
    free(database->reason);
    free(database);
}

void sender_database_gone(struct sender_database *database)
{
    if (database->phase == SENDER_NEW) {
        sender_database_free(database); /* the replica has never heard of it */
        return;
    }
    close_feed(database);
    database->phase = SENDER_GONE;
    sender_database_work(database);
}

/* --- What the replica says --- */

static sq_status fail(const struct sender_database *database, struct sq_error *err, const char *what)
{
    return sq_fail(err, SQ_PROTOCOL, "replica '%s', database '%s': %s", database->sender->name, database->name, what);
}

static sq_status take_start(struct sender_database *database, const struct replication_message *message,
                            struct sq_error *err)
{
    const struct replication_start *start = &message->start;
    struct sq_error reason;
    if (message->attempt <= database->attempt)
        return fail(database, err, "an attempt that is not a new one");
    SQ_TRY(sender_check_timeline(database->sender, start->position.timeline, err));
    forget_attempt(database);
    database->attempt = message->attempt;
    database->sent_us = database->sender->now_us;
    database->is_attempt_over = false;
    database->is_refused = false;
    database->is_known = start->is_known;
    database->incarnation = start->incarnation;
    database->sent = sender_from_wire(&start->position);
    database->phase = start->is_known ? SENDER_FOLLOW : SENDER_HEAL_WAITS;
    if (database->feed == NULL) {
        struct repl_source *source = database->sender->source;
        sq_status status =
            source->ops->open_feed_cb(source, database->number, &database->wakeup.waker, &reason, &database->feed);
        if (status != SQ_OK) {
            give_up(database, &reason);
            return SQ_OK;
        }
    }
    sender_database_work(database);
    return SQ_OK;
}

static sq_status take_sums(struct sender_database *database, const struct replication_sums *sums, struct sq_error *err)
{
    struct sq_error reason;
    uint64_t numbers[REPL_SUMS_COUNT_MAX];
    if (database->phase != SENDER_HEAL_SUMS || sums->first_page != database->next_page)
        return fail(database, err, "checksums that were not asked for");
    for (size_t i = 0; i < sums->count; i++)
        numbers[i] = replication_sums_get(sums, i);
    database->next_page += (uint32_t)sums->count;
    if (database->exchange->ops->sums_cb(database->exchange, sums->first_page, numbers, sums->count, &reason) != SQ_OK)
        give_up(database, &reason);
    return SQ_OK;
}

static sq_status take_sums_end(struct sender_database *database, uint32_t page_count, struct sq_error *err)
{
    struct sq_error reason;
    if (database->phase != SENDER_HEAL_SUMS || page_count != database->next_page - 1)
        return fail(database, err, "an end of checksums that does not fit");
    database->phase = SENDER_HEAL_DATA;
    database->offset = 0;
    if (database->exchange->ops->finish_cb(database->exchange, &reason) != SQ_OK)
        give_up(database, &reason);
    else
        sender_database_work(database);
    return SQ_OK;
}

/* Invariant 3. */
static bool is_possible(const struct sender_database *database, const struct replication_status *status)
{
    const struct replication_position *written = &status->written;
    const struct replication_position *parts[] = {&status->applied, &status->durable};
    uint64_t timeline_max = database->is_known ? database->sent.timeline : 0;
    uint64_t txid_max = database->is_known ? database->sent.txid : 0;
    if (written->txid > txid_max || written->timeline > timeline_max)
        return false;
    for (size_t i = 0; i < 2; i++) {
        if (parts[i]->txid > written->txid || parts[i]->timeline > written->timeline)
            return false;
    }
    return true;
}

/* Invariant 4. */
static void report_durable(struct sender_database *database)
{
    struct repl_sender_owner *owner = database->sender->owner;
    struct wal_position durable = sender_from_wire(&database->status.durable);
    if (durable.txid > 0 && durable.txid >= database->proof_txid)
        owner->ops->durable_cb(owner, database->number, &durable);
}

/* From `txid` on the replica's positions are ours; what it has said may be among them. */
static void note_proof(struct sender_database *database, ltx_txid txid)
{
    if (txid >= database->proof_txid)
        return;
    database->proof_txid = txid;
    report_durable(database);
}

static sq_status take_status(struct sender_database *database, const struct replication_status *status,
                             struct sq_error *err)
{
    if (!is_possible(database, status))
        return fail(database, err, "a position that it was not sent");
    database->status = *status;
    size_t done = 0;
    while (done < database->sample_count && database->samples[done].txid <= status->applied.txid)
        done++;
    database->sample_count -= done;
    memmove(database->samples, database->samples + done, database->sample_count * sizeof(database->samples[0]));
    if (database->phase != SENDER_FOLLOW)
        return SQ_OK;
    if (status->applied.txid == database->sent.txid && status->applied.txid > 0 &&
        status->applied.timeline == database->sent.timeline && status->applied.checksum != database->sent.checksum) {
        heal(database, "the checksum of what it has applied is another one");
        return SQ_OK;
    }
    if (status->durable.txid > 0)
        database->feed->ops->hold_cb(database->feed, status->durable.txid);
    report_durable(database);
    return SQ_OK;
}

static void take_not_wanted(struct sender_database *database, const struct pgwire_text *reason)
{
    if (reason->length > 0)
        log_event(SQ_LOG_WARNING, database, "a replica does not follow", reason->data);
    close_feed(database);
    forget_attempt(database);
    database->phase = SENDER_TOLD;
    database->is_attempt_over = true;
    database->is_refused = true;
}

sq_status sender_database_take(struct sender_database *database, const struct replication_message *message,
                               struct sq_error *err)
{
    sq_status status = SQ_OK;
    if (database->phase == SENDER_NEW && database->attempt == 0)
        return fail(database, err, "it has not been told of it");
    if (database->phase == SENDER_NEW || database->phase == SENDER_GONE)
        return SQ_OK; /* it does not know yet that what it means is gone */
    if (message->type == REPLICATION_NOT_WANTED) {
        take_not_wanted(database, &message->reason);
    } else if (message->type == REPLICATION_START_AT) {
        status = take_start(database, message, err);
    } else if (message->attempt > database->attempt) {
        return fail(database, err, "an attempt that was not begun");
    } else if (message->attempt < database->attempt || database->is_attempt_over) {
        return SQ_OK;
    } else if (message->type == REPLICATION_SUMS) {
        status = take_sums(database, &message->sums, err);
    } else if (message->type == REPLICATION_SUMS_END) {
        status = take_sums_end(database, message->page_count, err);
    } else {
        sq_assert(message->type == REPLICATION_STATUS);
        status = take_status(database, &message->status, err);
    }
    if (status == SQ_OK)
        publish(database);
    return status;
}

/* --- What the replica is told --- */

static struct replication_message message_of(const struct sender_database *database, enum replication_type type)
{
    return (struct replication_message){.type = type, .number = database->number, .attempt = database->attempt};
}

static void tell_end(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out)
{
    struct repl_sender *sender = database->sender;
    if (database->has_told && is_same(&database->told, &view->end))
        return;
    struct replication_message message = message_of(database, REPLICATION_POSITION);
    message.told = (struct replication_position_told){.page_bytes = view->page_bytes,
                                                      .end = sender_to_wire(&view->end),
                                                      .clock_us = sender->wall_us,
                                                      .echo_us = sender->echo_us,
                                                      .age_us = view->age_us};
    replication_put(out, &message);
    database->has_told = true;
    database->told = view->end;
    if (view->end.txid <= database->status.applied.txid)
        return;
    /* When there is no place for one more, the last one stands for it, too: lag then seems longer, not shorter. */
    if (database->sample_count < SENDER_LAG_SAMPLES_MAX)
        database->samples[database->sample_count++].at_us = sender->now_us;
    database->samples[database->sample_count - 1].txid = view->end.txid;
}

static void tell_timeline(struct sender_database *database, uint64_t timeline, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_TIMELINE);
    sq_assert(timeline > database->sent.timeline);
    message.timeline = (struct replication_timeline){.timeline = timeline, .after_txid = database->sent.txid};
    replication_put(out, &message);
    database->sent.timeline = timeline;
}

void sender_database_woken(struct sender_database *database, struct sq_buf *out)
{
    struct repl_feed_view view;
    if (database->feed == NULL)
        return;
    database->feed->ops->look_cb(database->feed, &view);
    if (view.state == REPL_FEED_READY)
        tell_end(database, &view, out);
    /* It may wait for a place with its snapshot; that place comes by another way. */
    if (database->phase != SENDER_HEAL_WAITS || !sq_list_is_linked(&database->work_links))
        sender_database_work(database);
    publish(database);
}

/* --- FOLLOW --- */

enum relation {
    RELATION_SAME,
    RELATION_BEHIND,
    RELATION_AHEAD,
    RELATION_DIVERGED,
};

/* The transaction after which timeline `at` has says ended for us. */
static bool timeline_end(const struct sender_database *database, const struct wal_position *at, ltx_txid *ret_txid)
{
    if (at->txid > 0)
        return database->feed->ops->timeline_end_cb(database->feed, at->timeline, ret_txid);
    *ret_txid = 0; /* nothing is on every timeline */
    return true;
}

/* Invariant 5: we have had everything since the replica was where it is. */
static bool is_settled(const struct sender_database *database, const struct repl_feed_view *view)
{
    return view->age_us <= database->sender->now_us - database->sent_us;
}

static enum relation relate(const struct sender_database *database, const struct repl_feed_view *view)
{
    const struct wal_position *at = &database->sent;
    ltx_txid timeline_txid = 0;
    bool is_ours = (at->txid == 0 || database->incarnation == view->incarnation) &&
                   timeline_end(database, at, &timeline_txid) && at->txid <= timeline_txid;
    if (is_ours && at->txid < view->begin.txid)
        return RELATION_DIVERGED; /* too far behind: to heal leads forwards */
    if (is_ours && at->txid == view->begin.txid)
        is_ours = at->checksum == view->begin.checksum;
    if (is_ours && at->txid == view->end.txid && at->checksum == view->end.checksum)
        return RELATION_SAME;
    if (is_ours && at->txid < view->end.txid)
        return RELATION_BEHIND;
    return is_settled(database, view) ? RELATION_DIVERGED : RELATION_AHEAD;
}

/* Whether the open file can be sent to who is at `sent` (invariants 1, 2), and a timeline may begin before it. */
static const char *file_flaw(const struct sender_database *database)
{
    const struct repl_feed_file *file = &database->file;
    ltx_txid end = 0;
    if (file->min_txid == 0 || file->min_txid > database->sent.txid + 1 || file->max_txid <= database->sent.txid ||
        file->bytes == 0)
        return "the log has a gap";
    /* The first file of a log that begins with nothing has no pre_checksum (docs/ltx.md). */
    if (file->min_txid > 1 && file->min_txid == database->sent.txid + 1 &&
        file->pre_checksum != database->sent.checksum)
        return "its checksum is not the log's";
    if (file->timeline == database->sent.timeline)
        return NULL;
    if (file->timeline < database->sent.timeline || !timeline_end(database, &database->sent, &end) ||
        end != database->sent.txid)
        return "a timeline ends within a file of the log";
    return NULL;
}

static sq_status open_file(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out,
                           bool *ret_is_more)
{
    struct sq_error reason;
    sq_status status = database->feed->ops->open_file_cb(database->feed, database->sent.txid, &reason, &database->file);
    if (status == SQ_NOT_FOUND) {
        delay(database, SENDER_RETRY_US); /* the log has changed since the look */
        return SQ_OK;
    }
    if (status != SQ_OK) {
        heal(database, reason.text);
        return SQ_OK;
    }
    const char *flaw = file_flaw(database);
    if (flaw != NULL) {
        heal(database, flaw);
        return SQ_OK;
    }
    if (database->file.max_txid > view->end.txid) {
        delay(database, SENDER_RETRY_US); /* grew since the look, or compacted with what is not durable */
        return SQ_OK;
    }
    ltx_txid proof = database->file.min_txid == database->sent.txid + 1 ? database->sent.txid : database->file.max_txid;
    note_proof(database, proof);
    if (database->file.timeline != database->sent.timeline)
        tell_timeline(database, database->file.timeline, out);
    database->has_file = true;
    database->offset = 0;
    *ret_is_more = true;
    return SQ_OK;
}

static struct replication_message file_message(const struct sender_database *database, uint8_t flags)
{
    struct replication_message message = message_of(database, REPLICATION_FILE);
    message.file = (struct replication_file){.flags = flags, .offset = database->offset};
    if (database->offset == 0)
        message.file.flags |= REPLICATION_FILE_FIRST;
    return message;
}

static sq_status send_file(struct sender_database *database, struct sq_buf *out, struct sq_error *err)
{
    const struct repl_feed_file *file = &database->file;
    uint64_t left = file->bytes - database->offset;
    size_t length = left < REPL_CHUNK_BYTES_MAX ? (size_t)left : REPL_CHUNK_BYTES_MAX;
    size_t before = sq_buf_length(out);
    size_t got = 0;
    struct sq_error reason;
    struct replication_message message = file_message(database, length == left ? REPLICATION_FILE_LAST : 0);
    message.file.min_txid = file->min_txid;
    message.file.max_txid = file->max_txid;
    message.file.timeline = file->timeline;
    message.file.checksum = file->post_checksum;
    message.file.incarnation = database->view_incarnation;
    message.file.total_bytes = file->bytes;
    size_t begun = replication_put_begin(out, &message);
    if (!sq_buf_reserve(out, length))
        return sq_buf_check(out, err);
    sq_status status =
        database->feed->ops->read_file_cb(database->feed, database->offset, sq_buf_tail(out), length, &reason, &got);
    if (status != SQ_OK || got != length) {
        sq_buf_truncate(out, before);
        heal(database, status != SQ_OK ? reason.text : "a file of the log is too short");
        return SQ_OK;
    }
    sq_buf_produce(out, length);
    pgwire_end(out, begun);
    database->offset += length;
    if (length == left) {
        database->has_file = false;
        database->incarnation = database->view_incarnation;
        database->sent_us = database->sender->now_us;
        database->sent =
            (struct wal_position){.timeline = file->timeline, .txid = file->max_txid, .checksum = file->post_checksum};
    }
    return SQ_OK;
}

static sq_status follow(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out,
                        struct sq_error *err, bool *ret_is_more)
{
    if (database->has_file) {
        *ret_is_more = true;
        return send_file(database, out, err);
    }
    switch (relate(database, view)) {
    case RELATION_SAME:
        note_proof(database, database->sent.txid);
        if (view->end.timeline > database->sent.timeline)
            tell_timeline(database, view->end.timeline, out);
        return SQ_OK;
    case RELATION_BEHIND:
        return open_file(database, view, out, ret_is_more);
    case RELATION_AHEAD:
        delay(database, SENDER_LOOK_US);
        return SQ_OK;
    case RELATION_DIVERGED:
        break;
    }
    heal(database, "its position is not in the log");
    return SQ_OK;
}

/* --- HEAL_… --- */

/* A database without a single transaction has no snapshot: the replica makes an empty one by taking it for another one. */
static void replace_by_empty(struct sender_database *database, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_DROPPED);
    replication_put(out, &message);
    forget_name(database);
    close_feed(database);
    forget_attempt(database);
    database->is_attempt_over = true;
    database->phase = SENDER_NEW;
    database->sender->new_count++;
    sender_database_work(database);
}

static void begin_exchange(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out)
{
    struct repl_sender *sender = database->sender;
    struct sq_error reason;
    const struct wal_position *at = &database->sent; /* also if it is only what the replica believes */
    bool is_ahead = at->txid > view->end.txid || at->timeline > view->end.timeline ||
                    (at->txid > 0 && database->incarnation != view->incarnation);
    if (is_ahead && !is_settled(database, view)) {
        delay(database, SENDER_LOOK_US);
        return;
    }
    if (view->end.txid == 0) {
        replace_by_empty(database, out);
        return;
    }
    if (sender->exchange_count == REPL_SENDER_EXCHANGES_MAX) {
        sq_list_remove(&database->work_links);
        sq_list_push_back(&sender->heal_waiting, &database->work_links);
        return;
    }
    sq_status status =
        database->feed->ops->exchange_cb(database->feed, &database->wakeup.waker, &reason, &database->exchange);
    if (status != SQ_OK) {
        give_up(database, &reason);
        return;
    }
    sender->exchange_count++;
    database->phase = SENDER_HEAL_PREPARES;
    sender_database_work(database);
}

/* The snapshot is there: the replica is asked for its checksums. */
static void tell_heal(struct sender_database *database, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_HEAL);
    database->exchange->ops->position_cb(database->exchange, &database->heal_position, &message.heal.page_bytes,
                                         &message.heal.page_count);
    sq_assert(database->heal_position.txid > 0);
    message.heal.position = sender_to_wire(&database->heal_position);
    replication_put(out, &message);
    database->feed->ops->hold_cb(database->feed, database->heal_position.txid);
    database->next_page = 1;
    database->phase = SENDER_HEAL_SUMS;
}

static void exchange_has_ended(struct sender_database *database)
{
    close_exchange(database);
    database->is_known = true;
    database->sent = database->heal_position;
    database->sent_us = database->sender->now_us;
    database->incarnation = database->view_incarnation;
    database->proof_txid = database->heal_position.txid;
    database->phase = SENDER_FOLLOW;
}

static sq_status send_exchange(struct sender_database *database, struct sq_buf *out, struct sq_error *err,
                               bool *ret_is_more)
{
    struct repl_exchange *exchange = database->exchange;
    size_t before = sq_buf_length(out);
    size_t got = 0;
    struct sq_error reason;
    struct replication_message message = file_message(database, REPLICATION_FILE_HEAL);
    message.file.min_txid = database->heal_position.txid;
    message.file.max_txid = database->heal_position.txid;
    message.file.timeline = database->heal_position.timeline;
    message.file.checksum = database->heal_position.checksum;
    message.file.incarnation = database->view_incarnation;
    size_t begun = replication_put_begin(out, &message);
    if (!sq_buf_reserve(out, REPL_CHUNK_BYTES_MAX))
        return sq_buf_check(out, err);
    sq_status status = exchange->ops->read_cb(exchange, sq_buf_tail(out), REPL_CHUNK_BYTES_MAX, &reason, &got);
    enum repl_exchange_state state =
        status == SQ_OK ? exchange->ops->state_cb(exchange, &reason) : REPL_EXCHANGE_FAILED;
    if (state == REPL_EXCHANGE_FAILED || (state == REPL_EXCHANGE_DATA && got == 0)) {
        sq_buf_truncate(out, before);
        if (state == REPL_EXCHANGE_FAILED)
            give_up(database, &reason);
        return SQ_OK;
    }
    sq_buf_produce(out, got);
    database->offset += got;
    if (state == REPL_EXCHANGE_END) {
        replication_set_file_flags(out, begun, message.file.flags | REPLICATION_FILE_LAST);
        exchange_has_ended(database);
    }
    pgwire_end(out, begun);
    *ret_is_more = true;
    return SQ_OK;
}

static sq_status exchange_step(struct sender_database *database, struct sq_buf *out, struct sq_error *err,
                               bool *ret_is_more)
{
    struct sq_error reason;
    sq_error_clear(&reason);
    if (database->phase == SENDER_HEAL_DATA)
        return send_exchange(database, out, err, ret_is_more);
    enum repl_exchange_state state = database->exchange->ops->state_cb(database->exchange, &reason);
    if (state == REPL_EXCHANGE_FAILED)
        give_up(database, &reason);
    else if (state == REPL_EXCHANGE_SUMS && database->phase == SENDER_HEAL_PREPARES)
        tell_heal(database, out);
    return SQ_OK;
}

/* --- Steps --- */

/* Phases that need a log: looks at it first. */
static sq_status feed_step(struct sender_database *database, struct sq_buf *out, struct sq_error *err,
                           bool *ret_is_more)
{
    struct repl_feed_view view;
    struct sq_error reason;
    database->feed->ops->look_cb(database->feed, &view);
    switch (view.state) {
    case REPL_FEED_PENDING:
        return SQ_OK;
    case REPL_FEED_GONE:
        database->sender->is_scan_due = true;
        return SQ_OK;
    case REPL_FEED_FAILED:
        database->feed->ops->reason_cb(database->feed, &reason);
        give_up(database, &reason);
        return SQ_OK;
    case REPL_FEED_READY:
        break;
    }
    database->view_incarnation = view.incarnation;
    tell_end(database, &view, out);
    if (database->phase == SENDER_FOLLOW)
        return follow(database, &view, out, err, ret_is_more);
    if (database->phase == SENDER_HEAL_WAITS) {
        begin_exchange(database, &view, out);
        return SQ_OK;
    }
    return exchange_step(database, out, err, ret_is_more);
}

/* Not before another one of the name has gone: the list was read while that happened, and is read again. */
static sq_status announce(struct sender_database *database, struct sq_buf *out, struct sq_error *err)
{
    struct repl_sender *sender = database->sender;
    struct replication_message message = message_of(database, REPLICATION_DATABASE);
    size_t length = strlen(database->name);
    if (sq_map_get(&sender->by_name, database->name, length) != NULL) {
        sender->is_scan_due = true;
        delay(database, SENDER_RETRY_US);
        return SQ_OK;
    }
    sq_status status = sq_map_put(&sender->by_name, database->name, length, database, NULL);
    if (status != SQ_OK)
        return sq_fail(err, status, "database '%s' of a replica", database->name);
    message.name = (struct pgwire_text){.data = database->name, .length = length};
    replication_put(out, &message);
    database->phase = SENDER_TOLD;
    sender->new_count--;
    return SQ_OK;
}

static void tell_unavailable(struct sender_database *database, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_UNAVAILABLE);
    const char *reason = database->reason != NULL ? database->reason : "out of memory";
    message.reason = (struct pgwire_text){.data = reason, .length = strlen(reason)};
    replication_put(out, &message);
    forget_attempt(database);
    database->phase = SENDER_TOLD;
}

sq_status sender_database_step(struct sender_database *database, struct sq_buf *out, struct sq_error *err,
                               bool *ret_is_more)
{
    bool is_more = false;
    struct replication_message message = message_of(database, REPLICATION_DROPPED);
    switch (database->phase) {
    case SENDER_NEW:
        SQ_TRY(announce(database, out, err));
        break;
    case SENDER_TOLD:
        break;
    case SENDER_FOLLOW:
    case SENDER_HEAL_WAITS:
    case SENDER_HEAL_PREPARES:
    case SENDER_HEAL_SUMS:
    case SENDER_HEAL_DATA:
        SQ_TRY(feed_step(database, out, err, &is_more));
        break;
    case SENDER_GIVES_UP:
        tell_unavailable(database, out);
        break;
    case SENDER_GONE:
        replication_put(out, &message);
        sender_database_free(database);
        *ret_is_more = false;
        return SQ_OK;
    case SENDER_PHASE_COUNT:
        sq_assert(false);
    }
    publish(database);
    *ret_is_more = is_more;
    return SQ_OK;
}

/* --- Figures --- */

static const char *state_name(const struct sender_shown *shown)
{
    if (shown->phase == SENDER_TOLD && shown->is_refused)
        return "not followed";
    if (shown->phase == SENDER_FOLLOW && shown->status.state == REPLICATION_STATE_HEALING)
        return phase_names[SENDER_HEAL_DATA]; /* it has not applied all of it yet */
    return phase_names[shown->phase];
}

void sender_database_figures(const struct sender_database *database, int64_t now_us,
                             struct repl_sender_figures *ret_figures)
{
    const struct sender_shown *shown = &database->shown;
    struct repl_sender_figures figures = {
        .number = database->number,
        .state = state_name(shown),
        .end = shown->told,
        .sent = shown->sent,
        .written = sender_from_wire(&shown->status.written),
        .applied = sender_from_wire(&shown->status.applied),
        .durable = sender_from_wire(&shown->status.durable),
    };
    memcpy(figures.name, database->name, sizeof(figures.name));
    if (figures.end.txid > figures.applied.txid) {
        figures.lag_transactions = figures.end.txid - figures.applied.txid;
        figures.lag_us = shown->behind_since_us > 0 ? now_us - shown->behind_since_us : 0;
        if (shown->feed != NULL)
            figures.lag_bytes = shown->feed->ops->bytes_after_cb(shown->feed, figures.applied.txid);
    }
    *ret_figures = figures;
}
