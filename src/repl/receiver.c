/* repl/receiver.c: the connection to the primary: what comes in goes to its database, what is to be said is taken in turns, within a mark; silence is measured.
 *
 *     primary ─► Welcome ─► Database … ListEnd, and from then on as it happens: Database, Dropped
 *                               │          └─► local databases that the primary does not have are dropped
 *                               └─► receiver_copy.c: one each
 *
 * Invariants
 *  1. Nothing is done before Welcome has shown the group and a timeline that is not older than ours; ours is then the same, durably.
 *  2. A database is dropped only if the primary has said so: by Dropped, or by a list without it, whose end was said.
 *  3. A message that the store has no room for is offered again and no other before it. While that lasts, the primary's silence is ours.
 *  4. Nothing but databases' refusals and beginnings is added to an output that has high_water_bytes or more. */
#include "repl/receiver.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pgwire/backend.h"
#include "repl/receiver_internal.h"

const struct repl_receiver_config repl_receiver_defaults = {
    .keepalive_us = 1000 * 1000,
    .timeout_us = 10 * 1000 * 1000,
    .retry_min_us = 1000 * 1000,
    .retry_max_us = 30 * 1000 * 1000,
    .high_water_bytes = 256 * 1024,
    .message_bytes_max = REPLICATION_MESSAGE_BYTES_MAX,
};

/* --- Beginning and end --- */

static struct repl_identity identity_of(struct repl_store *store)
{
    struct repl_identity identity;
    store->ops->identity_cb(store, &identity);
    return identity;
}

void repl_receiver_command(struct repl_store *store, struct replication_command *ret_command)
{
    struct repl_identity identity = identity_of(store);
    *ret_command = (struct replication_command){.kind = REPLICATION_START,
                                                .version = REPLICATION_VERSION,
                                                .system_id = identity.system_id,
                                                .timeline = identity.timeline};
}

sq_status repl_receiver_new(struct repl_store *store, const struct repl_wanted *wanted,
                            const struct repl_receiver_config *config, struct sq_waker *waker, int64_t now_us,
                            struct sq_error *err, struct repl_receiver **ret_receiver)
{
    sq_assert(config->keepalive_us > 0 && config->timeout_us > config->keepalive_us && config->high_water_bytes > 0);
    sq_assert(config->retry_min_us > 0 && config->retry_max_us >= config->retry_min_us && now_us > 0);
    struct repl_receiver *receiver = calloc(1, sizeof(*receiver));
    if (receiver == NULL)
        return sq_fail(err, SQ_NOMEM, "replica");
    receiver->store = store;
    receiver->config = *config;
    receiver->wanted = *wanted;
    receiver->now_us = receiver->heard_us = now_us;
    receiver->is_alive_due = true; /* the primary learns our clock, and echoes it */
    repl_wakeups_init(&receiver->wakeups, waker);
    repl_wakeup_init(&receiver->probe_wakeup, &receiver->wakeups);
    pthread_mutex_init(&receiver->mutex, NULL);
    sq_list_init(&receiver->databases);
    sq_list_init(&receiver->work);
    sq_list_init(&receiver->resting);
    sq_map_init(&receiver->by_number);
    sq_map_init(&receiver->by_name);
    *ret_receiver = receiver;
    return SQ_OK;
}

void repl_receiver_free(struct repl_receiver *receiver)
{
    if (receiver == NULL)
        return;
    SQ_LIST_FOREACH (links, &receiver->databases)
        receiver_database_free(SQ_CONTAINER_OF(links, struct receiver_database, links));
    repl_wakeup_withdraw(&receiver->probe_wakeup);
    sq_map_done(&receiver->by_number);
    sq_map_done(&receiver->by_name);
    pthread_mutex_destroy(&receiver->mutex);
    repl_wakeups_done(&receiver->wakeups);
    free(receiver);
}

/* --- What the primary says --- */

static sq_status take_welcome(struct repl_receiver *receiver, const struct replication_welcome *welcome,
                              struct sq_error *err)
{
    struct repl_identity identity = identity_of(receiver->store);
    if (welcome->version != REPLICATION_VERSION)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "the primary speaks replication of version %u, this server %d",
                           welcome->version, REPLICATION_VERSION);
    if (identity.system_id != 0 && welcome->system_id != identity.system_id)
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "the primary belongs to another group: its system identifier is %llu, ours %llu",
                           (unsigned long long)welcome->system_id, (unsigned long long)identity.system_id);
    if (welcome->timeline < identity.timeline)
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "the primary is on timeline %llu, this server has seen %llu: there is a newer primary",
                           (unsigned long long)welcome->timeline, (unsigned long long)identity.timeline);
    if (welcome->system_id != identity.system_id || welcome->timeline > identity.timeline)
        SQ_TRY(receiver->store->ops->adopt_cb(receiver->store, welcome->system_id, welcome->timeline, err));
    receiver->timeline = welcome->timeline;
    return SQ_OK;
}

static struct receiver_database *find(struct repl_receiver *receiver, uint32_t number)
{
    return sq_map_get(&receiver->by_number, &number, sizeof(number));
}

static sq_status take_database(struct repl_receiver *receiver, uint32_t number, const struct pgwire_text *name,
                               struct sq_error *err)
{
    if (find(receiver, number) != NULL || sq_map_get(&receiver->by_name, name->data, name->length) != NULL)
        return sq_fail(err, SQ_PROTOCOL, "the primary tells of database '%s' twice", name->data);
    if (receiver->by_number.count == REPL_RECEIVER_DATABASES_MAX)
        return sq_fail(err, SQ_LIMIT, "the primary has more than %d databases", REPL_RECEIVER_DATABASES_MAX);
    return receiver_database_new(receiver, number, name->data, err);
}

static void drop(struct repl_receiver *receiver, const char *name)
{
    struct sq_error reason;
    sq_log(SQ_LOG_INFO, "repl", "the primary has no such database any more", "database=%s", name);
    if (receiver->store->ops->drop_cb(receiver->store, name, &reason) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "repl", "a database of this replica cannot be dropped", &reason);
}

static void take_dropped(struct repl_receiver *receiver, struct receiver_database *database)
{
    char name[REPL_NAME_MAX + 1];
    bool is_ours = database->phase != RECEIVER_REFUSES;
    memcpy(name, database->name, sizeof(name));
    receiver_database_free(database);
    if (is_ours)
        drop(receiver, name);
}

/* Invariant 2. */
static sq_status take_list_end(struct repl_receiver *receiver, struct sq_error *err)
{
    char after[REPL_NAME_MAX + 1] = "";
    char name[REPL_NAME_MAX + 1];
    if (receiver->is_list_known)
        return sq_fail(err, SQ_PROTOCOL, "the primary ends its list twice");
    receiver->is_list_known = true;
    while (receiver->store->ops->next_database_cb(receiver->store, after, name)) {
        memcpy(after, name, sizeof(after));
        if (repl_wanted_has(&receiver->wanted, name) && sq_map_get(&receiver->by_name, name, strlen(name)) == NULL)
            drop(receiver, name);
    }
    return SQ_OK;
}

static void take_keepalive(struct repl_receiver *receiver, const struct replication_pulse *pulse)
{
    receiver->is_alive_due = receiver->is_alive_due || pulse->is_answer_wanted;
    if (pulse->age_us >= pulse->echo_us || pulse->echo_us > receiver->now_us)
        return; /* nobody has heard our clock yet, or it is not ours */
    pthread_mutex_lock(&receiver->mutex);
    if (pulse->echo_us - pulse->age_us > receiver->as_of_us)
        receiver->as_of_us = pulse->echo_us - pulse->age_us;
    pthread_mutex_unlock(&receiver->mutex);
}

static sq_status take(struct repl_receiver *receiver, const struct replication_message *message, struct sq_error *err)
{
    struct receiver_database *database = NULL;
    if (receiver->timeline == 0 && message->type != REPLICATION_WELCOME)
        return sq_fail(err, SQ_PROTOCOL, "the primary begins with %s", replication_name(message->type));
    switch (message->type) {
    case REPLICATION_WELCOME:
        return take_welcome(receiver, &message->welcome, err);
    case REPLICATION_DATABASE:
        return take_database(receiver, message->number, &message->name, err);
    case REPLICATION_LIST_END:
        return take_list_end(receiver, err);
    case REPLICATION_KEEPALIVE:
        take_keepalive(receiver, &message->pulse);
        return SQ_OK;
    default:
        break;
    }
    database = find(receiver, message->number);
    if (database == NULL)
        return sq_fail(err, SQ_PROTOCOL, "the primary says %s of a database that it has not told of",
                       replication_name(message->type));
    if (message->type == REPLICATION_DROPPED) {
        take_dropped(receiver, database);
        return SQ_OK;
    }
    return receiver_database_take(database, message, err);
}

void repl_receiver_heard(struct repl_receiver *receiver, int64_t now_us)
{
    sq_assert(now_us >= receiver->now_us);
    receiver->now_us = receiver->heard_us = now_us;
    receiver->asked_us = 0;
}

sq_status repl_receiver_take(struct repl_receiver *receiver, int64_t now_us, const uint8_t *bytes, size_t length,
                             struct sq_error *err)
{
    struct replication_message message;
    SQ_TRY(replication_primary_decode(bytes, length, err, &message));
    repl_receiver_heard(receiver, now_us);
    sq_status status = take(receiver, &message, err);
    receiver->is_stalled = status == SQ_BUSY;
    return status;
}

/* --- What the primary is told --- */

static void drain(struct repl_receiver *receiver)
{
    struct repl_wakeup *wakeup = NULL;
    while ((wakeup = repl_wakeups_take(&receiver->wakeups)) != NULL) {
        if (wakeup == &receiver->probe_wakeup)
            receiver->is_probe_due = true;
        else
            receiver_database_work(SQ_CONTAINER_OF(wakeup, struct receiver_database, wakeup));
    }
    SQ_LIST_FOREACH (links, &receiver->resting) {
        struct receiver_database *database = SQ_CONTAINER_OF(links, struct receiver_database, rest_links);
        if (database->retry_at_us <= receiver->now_us)
            receiver_database_has_rested(database);
    }
}

static sq_status work(struct repl_receiver *receiver, struct sq_buf *out, struct sq_error *err)
{
    while (sq_buf_length(out) < receiver->config.high_water_bytes) {
        bool is_more = false;
        struct sq_list *links = sq_list_pop_front(&receiver->work);
        if (links == NULL)
            break;
        struct receiver_database *database = SQ_CONTAINER_OF(links, struct receiver_database, work_links);
        SQ_TRY(receiver_database_step(database, out, err, &is_more));
        if (is_more)
            receiver_database_work(database);
        SQ_TRY(sq_buf_check(out, err));
    }
    return SQ_OK;
}

static void alive(struct repl_receiver *receiver, uint64_t timeline, bool is_answer_wanted, struct sq_buf *out)
{
    struct replication_message message = {.type = REPLICATION_ALIVE};
    message.pulse = (struct replication_pulse){
        .timeline = timeline, .clock_us = receiver->now_us, .is_answer_wanted = is_answer_wanted};
    replication_put(out, &message);
    receiver->said_us = receiver->now_us;
    receiver->is_alive_due = false;
    receiver->is_probe_due = false;
    if (is_answer_wanted)
        receiver->asked_us = receiver->now_us;
}

static sq_status keep_alive(struct repl_receiver *receiver, uint64_t timeline, struct sq_buf *out, struct sq_error *err)
{
    if (receiver->is_stalled)
        receiver->heard_us = receiver->now_us; /* invariant 3 */
    int64_t silence_us = receiver->now_us - receiver->heard_us;
    if (silence_us >= receiver->config.timeout_us)
        return sq_fail_sql(err, SQ_CLOSED, "08006", "the primary has been silent for %lld ms",
                           (long long)(silence_us / 1000));
    if (sq_buf_length(out) >= receiver->config.high_water_bytes)
        return SQ_OK;
    bool is_question_due =
        receiver->is_probe_due || (silence_us >= receiver->config.timeout_us / 2 && receiver->asked_us == 0);
    if (is_question_due || receiver->is_alive_due ||
        receiver->now_us - receiver->said_us >= receiver->config.keepalive_us)
        alive(receiver, timeline, is_question_due, out);
    return SQ_OK;
}

static int64_t deadline(const struct repl_receiver *receiver, bool is_full)
{
    int64_t at = receiver->heard_us + receiver->config.timeout_us;
    if (is_full)
        return at; /* all else waits for room */
    int64_t next = receiver->said_us + receiver->config.keepalive_us;
    if (next < at)
        at = next;
    if (receiver->asked_us == 0 && receiver->heard_us + receiver->config.timeout_us / 2 < at)
        at = receiver->heard_us + receiver->config.timeout_us / 2;
    SQ_LIST_FOREACH (links, &receiver->resting) {
        next = SQ_CONTAINER_OF(links, struct receiver_database, rest_links)->retry_at_us;
        if (next < at)
            at = next;
    }
    return at;
}

sq_status repl_receiver_produce(struct repl_receiver *receiver, int64_t now_us, struct sq_buf *out,
                                struct sq_error *err, int64_t *ret_deadline_us)
{
    sq_assert(now_us >= receiver->now_us);
    receiver->now_us = now_us;
    struct repl_identity identity = identity_of(receiver->store);
    if (receiver->timeline != 0 && identity.timeline > receiver->timeline) {
        alive(receiver, identity.timeline, false, out); /* so that a former primary learns that it is none */
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "this server has seen timeline %llu, and the primary is on %llu: there is a newer primary",
                           (unsigned long long)identity.timeline, (unsigned long long)receiver->timeline);
    }
    drain(receiver);
    SQ_TRY(work(receiver, out, err));
    SQ_TRY(keep_alive(receiver, identity.timeline, out, err));
    SQ_TRY(sq_buf_check(out, err));
    *ret_deadline_us = deadline(receiver, sq_buf_length(out) >= receiver->config.high_water_bytes);
    return SQ_OK;
}

/* --- Frames --- */

/* What is not CopyData: the end, or what may come at any time. */
static sq_status take_other(const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_report report;
    switch (frame->type) {
    case PGWIRE_COPY_DONE:
        return sq_fail_sql(err, SQ_CLOSED, "08006", "the primary has ended replication");
    case PGWIRE_ERROR_RESPONSE:
        SQ_TRY(pgwire_report_decode(frame, err, &report));
        return sq_fail_sql(err, SQ_INVALID, report.sqlstate != NULL ? report.sqlstate : "08006", "the primary says: %s",
                           report.message != NULL ? report.message : "");
    case PGWIRE_NOTICE_RESPONSE:
    case PGWIRE_PARAMETER_STATUS:
        return SQ_OK;
    default:
        return sq_fail(err, SQ_PROTOCOL, "a %s message of the primary's while it is followed",
                       pgwire_backend_name(frame->type));
    }
}

sq_status repl_receiver_run(struct repl_receiver *receiver, int64_t now_us, struct sq_buf *in, struct sq_buf *out,
                            struct sq_error *err, int64_t *ret_deadline_us)
{
    struct pgwire_frame frame;
    size_t needed = 0;
    sq_status status = SQ_OK;
    enum pgwire_frame_result result = PGWIRE_FRAME_NEED_MORE;
    if (sq_buf_length(in) > receiver->left_bytes)
        repl_receiver_heard(receiver, now_us);
    while (status == SQ_OK &&
           (result = pgwire_backend_frame_next(sq_buf_bytes(in), sq_buf_length(in), receiver->config.message_bytes_max,
                                               err, &frame, &needed)) == PGWIRE_FRAME_READY) {
        if (frame.type == PGWIRE_COPY_DATA)
            status = repl_receiver_take(receiver, now_us, frame.body, frame.body_length, err);
        else
            status = take_other(&frame, err);
        if (status == SQ_OK)
            sq_buf_consume(in, frame.total_bytes);
    }
    receiver->left_bytes = sq_buf_length(in);
    if (status != SQ_OK && status != SQ_BUSY)
        return status;
    if (result == PGWIRE_FRAME_BAD)
        return SQ_PROTOCOL;
    return repl_receiver_produce(receiver, now_us, out, err, ret_deadline_us);
}

/* --- Figures --- */

bool repl_receiver_is_list_known(const struct repl_receiver *receiver)
{
    return receiver->is_list_known;
}

/* With the mutex. */
static int64_t as_of(const struct repl_receiver *receiver, const struct receiver_database *database)
{
    int64_t as_of_us = database->shown.as_of_us;
    return database->is_shown_current && receiver->as_of_us > as_of_us ? receiver->as_of_us : as_of_us;
}

int64_t repl_receiver_age_us(struct repl_receiver *receiver, const char *name, int64_t now_us)
{
    pthread_mutex_lock(&receiver->mutex);
    int64_t oldest_us = receiver->as_of_us;
    if (name != NULL) {
        const struct receiver_database *database = sq_map_get(&receiver->by_name, name, strlen(name));
        oldest_us = database != NULL ? as_of(receiver, database) : 0;
    } else {
        SQ_LIST_FOREACH (links, &receiver->databases) {
            const struct receiver_database *database = SQ_CONTAINER_OF(links, struct receiver_database, links);
            if (as_of(receiver, database) < oldest_us && database->shown_phase != RECEIVER_REFUSES)
                oldest_us = as_of(receiver, database);
        }
    }
    pthread_mutex_unlock(&receiver->mutex);
    return oldest_us == 0 ? INT64_MAX : now_us - oldest_us;
}

void repl_receiver_probe(struct repl_receiver *receiver)
{
    sq_waker_wake(&receiver->probe_wakeup.waker);
}

void repl_receiver_each(struct repl_receiver *receiver, void *context,
                        void (*figures_cb)(void *context, const struct repl_receiver_figures *figures))
{
    pthread_mutex_lock(&receiver->mutex);
    SQ_LIST_FOREACH (links, &receiver->databases) {
        const struct receiver_database *database = SQ_CONTAINER_OF(links, struct receiver_database, links);
        struct repl_receiver_figures figures = database->shown;
        figures.as_of_us = as_of(receiver, database);
        figures_cb(context, &figures);
    }
    pthread_mutex_unlock(&receiver->mutex);
}
