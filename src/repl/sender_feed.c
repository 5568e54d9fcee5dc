/* repl/sender_feed.c: one database's log and snapshots, as one replica gets them: the phases FOLLOW and HEAL_… of sender_database.c.
 *
 *     begin                     sent ─────────────► end (durable)
 *       ├──[ file ][ file ][  file  ][ file ][ file ]──┤        behind: the next file, chunk by chunk
 *      before: heal       │     ahead, or not of our history: wait, or heal
 *
 * Invariants
 *  1. What is sent is durable here: no file beyond the feed's end.
 *  2. Files follow each other: the first transaction of one is at most the one after `sent`, and if it is just that one, pre_checksum is
 *     sent.checksum. Anything else heals.
 *  3. A replica that has what we have not is healed, but not while we may be behind ourselves: who writes never is; a replica is not if it has had everything
 *     later than the other one said its position, which some primary had before.
 *  4. At most REPL_SENDER_EXCHANGES_MAX exchanges are open; each belongs to a database in HEAL_PREPARES, _SUMS or _DATA. */
#include "repl/sender_internal.h"

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

/* Invariant 3: we have had everything since the replica was where it is. */
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

/* Whether the open file can be sent to who is at `sent` (invariant 2), and a timeline may begin before it. */
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

/* Does nothing, but heal, if there is none to be sent now. */
static void open_file(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out)
{
    struct sq_error reason;
    sq_status status = database->feed->ops->open_file_cb(database->feed, database->sent.txid, &reason, &database->file);
    if (status == SQ_NOT_FOUND) {
        sender_database_delay(database, SENDER_RETRY_US); /* the log has changed since the look */
        return;
    }
    if (status != SQ_OK) {
        sender_database_heal(database, reason.text);
        return;
    }
    const char *flaw = file_flaw(database);
    if (flaw != NULL) {
        sender_database_heal(database, flaw);
        return;
    }
    if (database->file.max_txid > view->end.txid) {
        sender_database_delay(database,
                              SENDER_RETRY_US); /* grew since the look, or compacted with what is not durable */
        return;
    }
    ltx_txid proof = database->file.min_txid == database->sent.txid + 1 ? database->sent.txid : database->file.max_txid;
    sender_database_note_proof(database, proof);
    if (database->file.timeline != database->sent.timeline)
        sender_database_tell_timeline(database, database->file.timeline, out);
    database->has_file = true;
    database->offset = 0;
}

static struct replication_message file_message(const struct sender_database *database, uint8_t flags)
{
    struct replication_message message = sender_message_of(database, REPLICATION_FILE);
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
        sender_database_heal(database, status != SQ_OK ? reason.text : "a file of the log is too short");
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

sq_status sender_feed_follow(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out,
                             struct sq_error *err, bool *ret_is_more)
{
    if (database->has_file) {
        *ret_is_more = true;
        return send_file(database, out, err);
    }
    switch (relate(database, view)) {
    case RELATION_SAME:
        sender_database_note_proof(database, database->sent.txid);
        if (view->end.timeline > database->sent.timeline)
            sender_database_tell_timeline(database, view->end.timeline, out);
        return SQ_OK;
    case RELATION_BEHIND:
        open_file(database, view, out);
        *ret_is_more = database->has_file;
        return database->has_file ? send_file(database, out, err) : SQ_OK;
    case RELATION_AHEAD:
        sender_database_delay(database, SENDER_LOOK_US);
        return SQ_OK;
    case RELATION_DIVERGED:
        break;
    }
    sender_database_heal(database, "its position is not in the log");
    return SQ_OK;
}

/* --- HEAL_… --- */

static void begin_exchange(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out)
{
    struct repl_sender *sender = database->sender;
    struct sq_error reason;
    const struct wal_position *at = &database->sent; /* also if it is only what the replica believes */
    bool is_ahead = at->txid > view->end.txid || at->timeline > view->end.timeline ||
                    (at->txid > 0 && database->incarnation != view->incarnation);
    if (is_ahead && !is_settled(database, view)) {
        sender_database_delay(database, SENDER_LOOK_US);
        return;
    }
    if (view->end.txid == 0) {
        sender_database_replace(database, out);
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
        sender_database_give_up(database, &reason);
        return;
    }
    sender->exchange_count++;
    database->phase = SENDER_HEAL_PREPARES;
    sender_database_work(database);
}

/* The snapshot is there: the replica is asked for its checksums. */
static void tell_heal(struct sender_database *database, struct sq_buf *out)
{
    struct replication_message message = sender_message_of(database, REPLICATION_HEAL);
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
    sender_database_close_exchange(database);
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
            sender_database_give_up(database, &reason);
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

sq_status sender_feed_heal(struct sender_database *database, const struct repl_feed_view *view, struct sq_buf *out,
                           struct sq_error *err, bool *ret_is_more)
{
    struct sq_error reason;
    if (database->phase == SENDER_HEAL_WAITS) {
        begin_exchange(database, view, out);
        return SQ_OK;
    }
    if (database->phase == SENDER_HEAL_DATA)
        return send_exchange(database, out, err, ret_is_more);
    enum repl_exchange_state state = database->exchange->ops->state_cb(database->exchange, &reason);
    if (state == REPL_EXCHANGE_FAILED)
        sender_database_give_up(database, &reason);
    else if (state == REPL_EXCHANGE_SUMS && database->phase == SENDER_HEAL_PREPARES)
        tell_heal(database, out);
    return SQ_OK;
}
