/* repl/receiver_copy.c: one database, as one connection to a primary feeds it.
 *
 *     Database ─► OPENING ─StartAt(known)─► FOLLOWING ─── Heal ──────┐
 *                  ▲   └───StartAt(not)──► ASKS_TO_HEAL ── Heal ──► SUMS ─Sums, SumsEnd─► HEALING ─healing file─► FOLLOWING
 *                  │                            ▲ the copy says that it must
 *                  │                            └── FOLLOWING
 *                  └── RESTS: disk full, damaged files, no log at the primary: begins anew after a while
 *     REFUSES: not wanted here                       Dropped ─► the copy is dropped, freed
 *
 * Each StartAt has a number of its own, its *attempt*; what comes of an older one was on its way when this one was said, and is not looked at.
 *
 * Invariants
 *  1. A file goes to the store only if it continues what is written there: its first transaction is at most the next one, its timeline is that of what is written; or
 *     it was asked for to heal. Everything else breaks the protocol.
 *  2. A position is said only of a copy that follows, and is the store's own: durable is true after a crash.
 *  3. After Heal nothing is said of positions until the healing file is applied.
 *  4. As of `as_of_us` of our clock, everything that the primary had then is durable here: who reads from us is told ends that are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "repl/receiver_internal.h"

static const char *const phase_names[RECEIVER_PHASE_COUNT] = {
    [RECEIVER_OPENING] = "opening",    [RECEIVER_FOLLOWING] = "following", [RECEIVER_ASKS_TO_HEAL] = "asks to heal",
    [RECEIVER_SUMS] = "comparing",     [RECEIVER_HEALING] = "healing",     [RECEIVER_RESTS] = "paused",
    [RECEIVER_REFUSES] = "not wanted",
};

/* --- Parts --- */

static struct replication_position to_wire(const struct wal_position *position)
{
    return (struct replication_position){
        .timeline = position->timeline, .txid = position->txid, .checksum = position->checksum};
}

static struct wal_position from_wire(const struct replication_position *position)
{
    return (struct wal_position){
        .timeline = position->timeline, .txid = position->txid, .checksum = position->checksum};
}

/* Whether who is at `position` has all up to (`timeline`, `txid`), both of one history. */
static bool covers(const struct wal_position *position, uint64_t timeline, ltx_txid txid)
{
    return position->txid >= txid && position->timeline >= timeline;
}

static void log_event(enum sq_log_level level, const struct receiver_database *database, const char *message,
                      const char *reason)
{
    char why[SQ_LOG_QUOTED_MAX];
    sq_log(level, "repl", message, "database=%s attempt=%u reason=%s", database->name, database->attempt,
           sq_log_quote(why, reason));
}

static struct repl_copy_view look(const struct receiver_database *database)
{
    struct repl_copy_view view;
    database->copy->ops->look_cb(database->copy, &view);
    return view;
}

static bool is_current(const struct receiver_database *database, const struct repl_copy_view *view)
{
    return database->phase == RECEIVER_FOLLOWING && database->has_end && view->state == REPL_COPY_READY &&
           covers(&view->durable, database->end.timeline, database->end.txid);
}

static void publish(struct receiver_database *database)
{
    struct repl_receiver *receiver = database->receiver;
    struct repl_copy_view view = {.state = REPL_COPY_PENDING};
    if (database->copy != NULL)
        view = look(database);
    struct repl_receiver_figures figures = {
        .number = database->number,
        .state = phase_names[database->phase],
        .end = database->end,
        .written = view.written,
        .applied = view.applied,
        .durable = view.durable,
        .received_bytes = database->has_file ? database->offset : 0,
        .expected_bytes = database->has_file ? database->intent.bytes : 0,
        .as_of_us = database->as_of_us,
    };
    memcpy(figures.name, database->name, sizeof(figures.name));
    if (database->reason != NULL)
        snprintf(figures.reason, sizeof(figures.reason), "%s", database->reason);
    pthread_mutex_lock(&receiver->mutex);
    database->shown = figures;
    database->shown_phase = database->phase;
    database->is_shown_current = is_current(database, &view);
    pthread_mutex_unlock(&receiver->mutex);
}

void receiver_database_work(struct receiver_database *database)
{
    sq_list_remove(&database->work_links);
    sq_list_push_back(&database->receiver->work, &database->work_links);
}

/* Neither the file that has begun comes, nor one that checksums were read for. */
static void abort_file(struct receiver_database *database)
{
    if (database->has_file || database->has_sums)
        database->copy->ops->abort_cb(database->copy);
    database->has_file = false;
    database->has_sums = false;
}

static void close_copy(struct receiver_database *database)
{
    if (database->copy == NULL)
        return;
    abort_file(database);
    database->copy->ops->close_cb(database->copy);
    database->copy = NULL;
    repl_wakeup_withdraw(&database->wakeup);
}

/* Before something makes it less current than it is. */
static void keep_as_of(struct receiver_database *database, const struct repl_copy_view *view)
{
    if (is_current(database, view) && database->receiver->as_of_us > database->as_of_us)
        database->as_of_us = database->receiver->as_of_us;
}

/* No end is known any more; as_of_us stays true. */
static void forget_end(struct receiver_database *database, const struct repl_copy_view *view)
{
    keep_as_of(database, view);
    database->has_end = false;
    database->mark_count = 0;
}

static void set_reason(struct receiver_database *database, const char *reason)
{
    free(database->reason);
    database->reason = strdup(reason);
}

sq_status receiver_database_new(struct repl_receiver *receiver, uint32_t number, const char *name, struct sq_error *err)
{
    struct receiver_database *database = calloc(1, sizeof(*database));
    if (database == NULL)
        return sq_fail(err, SQ_NOMEM, "replica's database '%s'", name);
    database->receiver = receiver;
    database->number = number;
    snprintf(database->name, sizeof(database->name), "%s", name);
    sq_list_init(&database->links);
    sq_list_init(&database->work_links);
    sq_list_init(&database->rest_links);
    repl_wakeup_init(&database->wakeup, &receiver->wakeups);
    pthread_mutex_lock(&receiver->mutex);
    sq_status status = sq_map_put(&receiver->by_number, &number, sizeof(number), database, NULL);
    if (status == SQ_OK) {
        status = sq_map_put(&receiver->by_name, name, strlen(name), database, NULL);
        if (status != SQ_OK)
            sq_map_remove(&receiver->by_number, &number, sizeof(number));
        else
            sq_list_push_back(&receiver->databases, &database->links);
    }
    pthread_mutex_unlock(&receiver->mutex);
    if (status != SQ_OK) {
        free(database);
        return sq_fail(err, status, "replica's database '%s'", name);
    }
    if (!repl_wanted_has(&receiver->wanted, name)) {
        database->phase = RECEIVER_REFUSES;
        database->is_refusal_due = true;
    }
    receiver_database_work(database);
    publish(database);
    return SQ_OK;
}

void receiver_database_free(struct receiver_database *database)
{
    struct repl_receiver *receiver = database->receiver;
    close_copy(database);
    sq_list_remove(&database->work_links);
    sq_list_remove(&database->rest_links);
    pthread_mutex_lock(&receiver->mutex);
    sq_list_remove(&database->links);
    sq_map_remove(&receiver->by_number, &database->number, sizeof(database->number));
    sq_map_remove(&receiver->by_name, database->name, strlen(database->name));
    pthread_mutex_unlock(&receiver->mutex);
    free(database->reason);
    free(database);
}

/* --- Changes of phase that the copy asks for --- */

static void rest(struct receiver_database *database, const char *reason, int64_t at_least_us)
{
    struct repl_receiver *receiver = database->receiver;
    log_event(SQ_LOG_WARNING, database, "a database of this replica rests", reason);
    set_reason(database, reason);
    abort_file(database);
    database->retry_at_us = receiver->now_us + at_least_us;
    database->phase = RECEIVER_RESTS;
    sq_list_push_back(&receiver->resting, &database->rest_links);
    receiver_database_work(database);
}

/* How long to wait after a trouble: not at all if there was none for a while. */
static int64_t next_retry(struct receiver_database *database)
{
    const struct repl_receiver_config *config = &database->receiver->config;
    int64_t now_us = database->receiver->now_us;
    if (database->trouble_us == 0 || now_us - database->trouble_us > 2 * config->retry_max_us)
        database->retry_us = 0;
    else
        database->retry_us = database->retry_us == 0 ? config->retry_min_us : 2 * database->retry_us;
    if (database->retry_us > config->retry_max_us)
        database->retry_us = config->retry_max_us;
    database->trouble_us = now_us;
    return database->retry_us;
}

/* The store has a trouble: the primary is told, and later it is tried again. */
static void refuse_for_now(struct receiver_database *database, const char *reason)
{
    int64_t retry_us = next_retry(database);
    int64_t least_us = database->receiver->config.retry_min_us;
    database->is_refusal_due = true;
    rest(database, reason, retry_us > least_us ? retry_us : least_us);
}

static void begin(struct receiver_database *database, const struct repl_copy_view *view, bool is_known)
{
    forget_end(database, view);
    abort_file(database);
    database->attempt = ++database->receiver->attempts;
    sq_assert(database->attempt != 0);
    database->said = (struct replication_status){0};
    database->is_start_due = true;
    database->phase = is_known ? RECEIVER_FOLLOWING : RECEIVER_ASKS_TO_HEAL;
}

/* A copy that followed is not what it should be. The first time it heals at once. */
static void must_heal(struct receiver_database *database, const struct repl_copy_view *view)
{
    struct sq_error reason;
    database->copy->ops->reason_cb(database->copy, &reason);
    int64_t retry_us = next_retry(database);
    if (retry_us > 0) {
        database->is_refusal_due = true;
        rest(database, reason.text, retry_us);
        return;
    }
    log_event(SQ_LOG_WARNING, database, "a database of this replica heals", reason.text);
    set_reason(database, reason.text);
    begin(database, view, false);
}

/* Looks at the copy, and draws the conclusions. */
static struct repl_copy_view react(struct receiver_database *database)
{
    struct sq_error reason;
    struct repl_copy_view view = look(database);
    if (database->phase == RECEIVER_RESTS || database->phase == RECEIVER_REFUSES)
        return view;
    switch (view.state) {
    case REPL_COPY_PENDING:
        if (database->phase == RECEIVER_FOLLOWING) {
            forget_end(database, &view);
            abort_file(database);
            database->phase = RECEIVER_OPENING;
        }
        break;
    case REPL_COPY_READY:
        if (database->phase == RECEIVER_OPENING)
            begin(database, &view, true);
        break;
    case REPL_COPY_HEAL:
        if (database->phase == RECEIVER_OPENING)
            begin(database, &view, false);
        else if (database->phase == RECEIVER_FOLLOWING)
            must_heal(database, &view);
        break;
    case REPL_COPY_PAUSED:
    case REPL_COPY_FAILED:
        database->copy->ops->reason_cb(database->copy, &reason);
        refuse_for_now(database, reason.text);
        if (view.state == REPL_COPY_FAILED)
            close_copy(database); /* opened anew when it has rested */
        break;
    }
    return view;
}

/* A call of the store's has failed: its state says what to do; if it does not, try again later. */
static void trouble(struct receiver_database *database, enum receiver_phase phase, const struct sq_error *err)
{
    abort_file(database);
    react(database);
    if (database->phase == phase && !database->is_start_due)
        refuse_for_now(database, err->text);
    receiver_database_work(database);
}

/* --- What the primary says --- */

static sq_status fail(const struct receiver_database *database, struct sq_error *err, const char *what)
{
    return sq_fail(err, SQ_PROTOCOL, "primary, database '%s': %s", database->name, what);
}

static void take_told(struct receiver_database *database, const struct replication_position_told *told)
{
    struct repl_copy_view view = look(database);
    int64_t as_of_us = told->age_us < told->echo_us ? told->echo_us - told->age_us : 0;
    struct receiver_mark mark = {.as_of_us = as_of_us, .timeline = told->end.timeline, .txid = told->end.txid};
    keep_as_of(database, &view);
    database->end = from_wire(&told->end);
    database->has_end = true;
    /* Of two ends as of the same moment the first one will do; without room the newest mark is given up. */
    size_t count = database->mark_count;
    int64_t newest_us = count > 0 ? database->marks[count - 1].as_of_us : database->as_of_us;
    if (as_of_us <= newest_us)
        return;
    if (count < RECEIVER_MARKS_MAX)
        database->mark_count++;
    database->marks[database->mark_count - 1] = mark;
}

static sq_status take_timeline(struct receiver_database *database, const struct replication_timeline *timeline,
                               struct sq_error *err)
{
    struct sq_error reason;
    struct repl_copy_view view = react(database);
    if (database->phase != RECEIVER_FOLLOWING || database->is_start_due)
        return SQ_OK; /* the copy has changed its mind */
    if (database->has_file || timeline->after_txid != view.written.txid ||
        timeline->timeline <= view.written.timeline || timeline->timeline > database->receiver->timeline)
        return fail(database, err, "a timeline that does not fit");
    if (database->copy->ops->begin_timeline_cb(database->copy, timeline->timeline, &reason) != SQ_OK)
        trouble(database, RECEIVER_FOLLOWING, &reason);
    return SQ_OK;
}

static sq_status take_heal(struct receiver_database *database, const struct replication_heal *heal,
                           struct sq_error *err)
{
    if (database->phase != RECEIVER_FOLLOWING && database->phase != RECEIVER_ASKS_TO_HEAL)
        return fail(database, err, "it heals already");
    struct repl_copy_view view = look(database);
    log_event(SQ_LOG_INFO, database, "the primary has a snapshot to heal with", "");
    keep_as_of(database, &view);
    database->mark_count = 0; /* of another history, perhaps; the end is one of the primary's, and stays */
    abort_file(database);
    database->phase = RECEIVER_SUMS;
    database->page_bytes = heal->page_bytes;
    database->next_page = 1;
    receiver_database_work(database);
    return SQ_OK;
}

static void take_unavailable(struct receiver_database *database, const struct pgwire_text *reason)
{
    int64_t retry_us = next_retry(database);
    int64_t least_us = database->receiver->config.retry_min_us;
    struct repl_copy_view view = look(database);
    forget_end(database, &view);
    rest(database, reason->data, retry_us > least_us ? retry_us : least_us);
}

/* Invariant 1. */
static bool continues(const struct receiver_database *database, const struct repl_copy_view *view,
                      const struct replication_file *file, bool is_heal)
{
    if (file->timeline > database->receiver->timeline)
        return false;
    if (is_heal)
        return file->min_txid == file->max_txid;
    if (view->written.txid > 0 && file->incarnation != view->incarnation)
        return false;
    return file->timeline == view->written.timeline && file->min_txid <= view->written.txid + 1 &&
           file->max_txid > view->written.txid && file->total_bytes > 0;
}

static sq_status begin_file(struct receiver_database *database, const struct replication_file *file, bool is_heal,
                            struct sq_error *err)
{
    struct sq_error reason;
    enum receiver_phase phase = database->phase;
    struct repl_copy_view view = react(database);
    if (database->phase != phase || database->is_start_due)
        return SQ_OK; /* the copy has changed its mind */
    if (view.state == REPL_COPY_PENDING)
        return SQ_BUSY;
    if (database->has_file || !continues(database, &view, file, is_heal))
        return fail(database, err, "a file that does not fit");
    database->intent = (struct repl_file_intent){.is_heal = is_heal,
                                                 .min_txid = file->min_txid,
                                                 .max_txid = file->max_txid,
                                                 .timeline = file->timeline,
                                                 .checksum = file->checksum,
                                                 .incarnation = file->incarnation,
                                                 .bytes = file->total_bytes};
    sq_status status = database->copy->ops->begin_cb(database->copy, &database->intent, &reason);
    if (status == SQ_BUSY)
        return SQ_BUSY;
    database->has_file = status == SQ_OK;
    database->offset = 0;
    if (status != SQ_OK)
        trouble(database, phase, &reason);
    return SQ_OK;
}

static void end_file(struct receiver_database *database)
{
    struct sq_error reason;
    enum receiver_phase phase = database->phase;
    database->has_file = false;
    if (database->copy->ops->commit_cb(database->copy, &reason) != SQ_OK) {
        trouble(database, phase, &reason);
        return;
    }
    if (database->intent.is_heal) {
        database->has_sums = false;
        database->phase = RECEIVER_FOLLOWING;
    }
    receiver_database_work(database);
}

static sq_status take_file(struct receiver_database *database, const struct replication_file *file,
                           struct sq_error *err)
{
    struct sq_error reason;
    bool is_heal = (file->flags & REPLICATION_FILE_HEAL) != 0;
    bool is_last = (file->flags & REPLICATION_FILE_LAST) != 0;
    enum receiver_phase phase = is_heal ? RECEIVER_HEALING : RECEIVER_FOLLOWING;
    if (database->phase != phase)
        return fail(database, err, "a file that was not asked for");
    if ((file->flags & REPLICATION_FILE_FIRST) != 0) {
        SQ_TRY(begin_file(database, file, is_heal, err));
        if (!database->has_file)
            return SQ_OK;
    }
    if (!database->has_file || file->offset != database->offset || is_heal != database->intent.is_heal)
        return fail(database, err, "a piece of a file that does not fit");
    uint64_t end = database->offset + file->data.length;
    if (database->intent.bytes > 0 && (end > database->intent.bytes || is_last != (end == database->intent.bytes)))
        return fail(database, err, "a file with another length than was said");
    sq_status status = SQ_OK;
    if (file->data.length > 0)
        status = database->copy->ops->append_cb(database->copy, file->data.data, file->data.length, &reason);
    if (status != SQ_OK) {
        trouble(database, phase, &reason);
        return SQ_OK;
    }
    database->offset = end;
    if (is_last)
        end_file(database);
    return SQ_OK;
}

static bool is_attempt_over(const struct receiver_database *database)
{
    return database->phase == RECEIVER_OPENING || database->phase == RECEIVER_RESTS ||
           database->phase == RECEIVER_REFUSES;
}

sq_status receiver_database_take(struct receiver_database *database, const struct replication_message *message,
                                 struct sq_error *err)
{
    sq_status status = SQ_OK;
    if (message->attempt > database->attempt)
        return fail(database, err, "an attempt that was not begun");
    if (message->attempt < database->attempt || is_attempt_over(database))
        return SQ_OK;
    if (database->is_start_due)
        return fail(database, err, "an attempt that was not said");
    if (message->type == REPLICATION_POSITION) {
        take_told(database, &message->told);
    } else if (message->type == REPLICATION_TIMELINE) {
        status = take_timeline(database, &message->timeline, err);
    } else if (message->type == REPLICATION_FILE) {
        status = take_file(database, &message->file, err);
    } else if (message->type == REPLICATION_HEAL) {
        status = take_heal(database, &message->heal, err);
    } else {
        sq_assert(message->type == REPLICATION_UNAVAILABLE);
        take_unavailable(database, &message->reason);
    }
    if (status == SQ_OK)
        publish(database);
    return status;
}

/* --- What the primary is told --- */

static struct replication_message message_of(const struct receiver_database *database, enum replication_type type)
{
    return (struct replication_message){.type = type, .number = database->number, .attempt = database->attempt};
}

static void tell_refusal(struct receiver_database *database, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_NOT_WANTED);
    const char *reason = database->phase == RECEIVER_RESTS && database->reason != NULL ? database->reason : "";
    message.reason = (struct pgwire_text){.data = reason, .length = strlen(reason)};
    replication_put(out, &message);
    database->is_refusal_due = false;
}

static void tell_start(struct receiver_database *database, const struct repl_copy_view *view, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_START_AT);
    message.start.is_known = database->phase == RECEIVER_FOLLOWING;
    message.start.position = to_wire(message.start.is_known ? &view->written : &view->applied);
    message.start.incarnation = view->incarnation;
    replication_put(out, &message);
    database->is_start_due = false;
}

/* What is durable may make us know that we are younger than we thought. */
static void pass_marks(struct receiver_database *database, const struct repl_copy_view *view)
{
    size_t passed = 0;
    while (passed < database->mark_count &&
           covers(&view->durable, database->marks[passed].timeline, database->marks[passed].txid))
        passed++;
    if (passed == 0)
        return;
    database->as_of_us = database->marks[passed - 1].as_of_us;
    database->mark_count -= passed;
    memmove(database->marks, database->marks + passed, database->mark_count * sizeof(database->marks[0]));
}

static bool is_same(const struct replication_position *a, const struct replication_position *b)
{
    return a->timeline == b->timeline && a->txid == b->txid && a->checksum == b->checksum;
}

/* Invariants 2, 3. */
static void tell_status(struct receiver_database *database, const struct repl_copy_view *view, struct sq_buf *out)
{
    struct replication_message message = message_of(database, REPLICATION_STATUS);
    struct replication_status *status = &message.status;
    status->state = REPLICATION_STATE_HEALING;
    status->clock_us = database->receiver->now_us;
    if (database->phase == RECEIVER_FOLLOWING) {
        status->state = REPLICATION_STATE_FOLLOWING;
        status->written = to_wire(&view->written);
        status->applied = to_wire(&view->applied);
        status->durable = to_wire(&view->durable);
    }
    const struct replication_status *said = &database->said;
    if (said->clock_us != 0 && said->state == status->state && is_same(&said->written, &status->written) &&
        is_same(&said->applied, &status->applied) && is_same(&said->durable, &status->durable))
        return;
    replication_put(out, &message);
    database->said = *status;
    database->receiver->said_us = database->receiver->now_us;
}

static sq_status tell_sums(struct receiver_database *database, struct sq_buf *out, struct sq_error *err,
                           bool *ret_is_more)
{
    uint64_t sums[REPL_SUMS_COUNT_MAX];
    size_t count = 0;
    bool is_end = false;
    struct sq_error reason;
    database->has_sums = true;
    sq_status status = database->copy->ops->sums_cb(database->copy, database->page_bytes, database->next_page, sums,
                                                    REPL_SUMS_COUNT_MAX, &reason, &count, &is_end);
    if (status != SQ_OK) {
        trouble(database, RECEIVER_SUMS, &reason);
        return SQ_OK;
    }
    sq_assert(count <= REPL_SUMS_COUNT_MAX);
    if (count > 0) {
        struct replication_message message = message_of(database, REPLICATION_SUMS);
        message.sums.first_page = database->next_page;
        size_t begun = replication_put_begin(out, &message);
        for (size_t i = 0; i < count; i++)
            sq_buf_put_u64(out, sums[i]);
        pgwire_end(out, begun);
        database->next_page += (uint32_t)count;
        *ret_is_more = true;
    }
    if (is_end) {
        struct replication_message message = message_of(database, REPLICATION_SUMS_END);
        message.page_count = database->next_page - 1;
        replication_put(out, &message);
        database->phase = RECEIVER_HEALING;
        *ret_is_more = false;
    }
    return sq_buf_check(out, err);
}

static void open_copy(struct receiver_database *database)
{
    struct repl_store *store = database->receiver->store;
    struct sq_error reason;
    sq_status status = store->ops->open_cb(store, database->name, &database->wakeup.waker, &reason, &database->copy);
    if (status == SQ_OK)
        return;
    if (status == SQ_INVALID) {
        log_event(SQ_LOG_WARNING, database, "a database cannot be followed", reason.text);
        set_reason(database, reason.text);
        database->phase = RECEIVER_REFUSES;
        database->is_refusal_due = true;
    } else {
        refuse_for_now(database, reason.text);
    }
}

void receiver_database_has_rested(struct receiver_database *database)
{
    sq_assert(database->phase == RECEIVER_RESTS);
    sq_list_remove(&database->rest_links);
    database->phase = RECEIVER_OPENING;
    receiver_database_work(database);
    if (database->copy != NULL && look(database).state == REPL_COPY_PAUSED)
        database->copy->ops->resume_cb(database->copy);
}

sq_status receiver_database_step(struct receiver_database *database, struct sq_buf *out, struct sq_error *err,
                                 bool *ret_is_more)
{
    struct repl_copy_view view = {.state = REPL_COPY_PENDING};
    bool is_more = false;
    if (database->phase == RECEIVER_OPENING && database->copy == NULL)
        open_copy(database);
    if (database->copy != NULL)
        view = react(database);
    if (database->is_refusal_due)
        tell_refusal(database, out);
    if (database->is_start_due)
        tell_start(database, &view, out);
    if (!is_attempt_over(database)) {
        pass_marks(database, &view);
        tell_status(database, &view, out);
    }
    if (database->phase == RECEIVER_SUMS && (view.state == REPL_COPY_READY || view.state == REPL_COPY_HEAL))
        SQ_TRY(tell_sums(database, out, err, &is_more));
    publish(database);
    *ret_is_more = is_more;
    return SQ_OK;
}
