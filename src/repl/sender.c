/* repl/sender.c: the connection of one replica: what comes in goes to its database, what is to be said is taken in turns, within a mark; silence is measured.
 *
 *     source ─► wakeups ─► woken: each is told its log's end at once ─► work: a ring of databases, one step each ─► output
 *                                                                        ▲    │ more to do
 *                                                                        └────┘           (until the high-water mark)
 *
 * Interleaving: a step is at most one chunk of a file, so that a database that is healed does not hold up the others; positions go before all data, so that
 * a replica knows how far behind it is.
 *
 * Freshness: the replica's clock comes back to it as an echo. Position: the end told is everything as of the moment that the echo was said. Keepalive: so are all ends
 * that were told. Hence a keepalive's echo is what had been heard when no database was woken and untold.
 *
 * Invariants
 *  1. Nothing is added to an output that has high_water_bytes or more, but what is small and bounded by the number of databases (positions of those that were
 *     woken together). The input is always taken: two sides that wait for each other's output do not exist.
 *  2. A replica that has seen a newer timeline is not fed, and the owner is told of it first.
 *  3. ListEnd comes once, after all databases of a complete list. */
#include "repl/sender.h"

#include <stdlib.h>
#include <string.h>

#include "repl/sender_internal.h"

const struct repl_sender_config repl_sender_defaults = {
    .keepalive_us = 1000 * 1000,
    .timeout_us = 10 * 1000 * 1000,
    .push_interval_us = 0,
    .high_water_bytes = 256 * 1024,
    .message_bytes_max = REPLICATION_MESSAGE_BYTES_MAX,
};

/* --- Beginning and end --- */

sq_status sender_check_timeline(struct repl_sender *sender, uint64_t timeline, struct sq_error *err)
{
    struct repl_identity identity;
    sender->source->ops->identity_cb(sender->source, &identity);
    if (timeline > identity.timeline) {
        sender->owner->ops->newer_timeline_cb(sender->owner, timeline); /* invariant 2 */
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "replica '%s' has seen timeline %llu, and this server is on %llu: there is a newer primary",
                           sender->name, (unsigned long long)timeline, (unsigned long long)identity.timeline);
    }
    if (identity.is_fenced)
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "this server was a primary, and there is a newer one: it feeds nobody");
    return SQ_OK;
}

static sq_status check_command(struct repl_sender *sender, const struct replication_command *command,
                               struct sq_error *err)
{
    struct repl_identity identity;
    sender->source->ops->identity_cb(sender->source, &identity);
    if (command->version != REPLICATION_VERSION)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "replication of version %u is not spoken here, only %d",
                           command->version, REPLICATION_VERSION);
    if (identity.system_id == 0 || identity.timeline == 0)
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "this server does not follow a primary yet: it has nothing to feed with");
    if (command->system_id != 0 && command->system_id != identity.system_id)
        return sq_fail_sql(
            err, SQ_INVALID, "55000", "replica '%s' belongs to another group: its system identifier is %llu, ours %llu",
            sender->name, (unsigned long long)command->system_id, (unsigned long long)identity.system_id);
    SQ_TRY(repl_wanted_parse(command->databases, err, &sender->wanted));
    return sender_check_timeline(sender, command->timeline, err);
}

sq_status repl_sender_new(struct repl_source *source, const struct replication_command *command,
                          const struct repl_sender_config *config, struct repl_sender_owner *owner,
                          struct sq_waker *waker, int64_t now_us, struct sq_error *err, struct repl_sender **ret_sender)
{
    sq_assert(config->keepalive_us > 0 && config->timeout_us > config->keepalive_us && config->high_water_bytes > 0);
    struct repl_sender *sender = calloc(1, sizeof(*sender));
    if (sender == NULL)
        return sq_fail(err, SQ_NOMEM, "replica '%s'", command->name);
    sender->source = source;
    sender->owner = owner;
    sender->config = *config;
    memcpy(sender->name, command->name, sizeof(sender->name));
    sender->now_us = sender->heard_us = sender->kept_us = now_us;
    sender->is_scan_due = true;
    repl_wakeups_init(&sender->wakeups, waker);
    repl_wakeup_init(&sender->source_wakeup, &sender->wakeups);
    pthread_mutex_init(&sender->mutex, NULL);
    sq_list_init(&sender->databases);
    sq_list_init(&sender->work);
    sq_list_init(&sender->delayed);
    sq_list_init(&sender->heal_waiting);
    sq_map_init(&sender->by_number);
    sq_map_init(&sender->by_name);
    sq_status status = check_command(sender, command, err);
    if (status == SQ_OK)
        status = source->ops->watch_cb(source, sender, &sender->source_wakeup.waker, err);
    sender->is_watching = status == SQ_OK;
    if (status != SQ_OK) {
        repl_sender_free(sender);
        return status;
    }
    *ret_sender = sender;
    return SQ_OK;
}

void repl_sender_free(struct repl_sender *sender)
{
    struct sq_error ignored;
    if (sender == NULL)
        return;
    if (sender->is_watching) {
        sq_status status = sender->source->ops->watch_cb(sender->source, sender, NULL, &ignored);
        sq_assert(status == SQ_OK); /* taking back what was given cannot fail */
    }
    repl_wakeup_withdraw(&sender->source_wakeup);
    SQ_LIST_FOREACH (links, &sender->databases)
        sender_database_free(SQ_CONTAINER_OF(links, struct sender_database, links));
    sq_assert(sender->exchange_count == 0);
    sq_map_done(&sender->by_number);
    sq_map_done(&sender->by_name);
    pthread_mutex_destroy(&sender->mutex);
    repl_wakeups_done(&sender->wakeups);
    free(sender);
}

const char *repl_sender_name(const struct repl_sender *sender)
{
    return sender->name;
}

/* --- What the replica says --- */

static sq_status take_alive(struct repl_sender *sender, const struct replication_pulse *pulse, struct sq_error *err)
{
    sender->is_answer_due = sender->is_answer_due || pulse->is_answer_wanted;
    return sender_check_timeline(sender, pulse->timeline, err);
}

void repl_sender_heard(struct repl_sender *sender, int64_t now_us)
{
    sq_assert(now_us >= sender->now_us);
    sender->now_us = sender->heard_us = now_us;
    sender->asked_us = 0;
}

sq_status repl_sender_take(struct repl_sender *sender, int64_t now_us, const uint8_t *bytes, size_t length,
                           struct sq_error *err)
{
    struct replication_message message;
    SQ_TRY(replication_replica_decode(bytes, length, err, &message));
    repl_sender_heard(sender, now_us);
    if (message.type == REPLICATION_ALIVE) {
        sender->echo_us = message.pulse.clock_us;
        return take_alive(sender, &message.pulse, err);
    }
    if (message.type == REPLICATION_STATUS)
        sender->echo_us = message.status.clock_us;
    struct sender_database *database = sq_map_get(&sender->by_number, &message.number, sizeof(message.number));
    /* One that is not there was dropped, and the replica does not know yet. */
    return database != NULL ? sender_database_take(database, &message, err) : SQ_OK;
}

/* --- What the replica is told --- */

static void welcome(struct repl_sender *sender, const struct repl_identity *identity, struct sq_buf *out)
{
    struct replication_message message = {.type = REPLICATION_WELCOME};
    message.welcome = (struct replication_welcome){.version = REPLICATION_VERSION,
                                                   .system_id = identity->system_id,
                                                   .timeline = identity->timeline,
                                                   .is_primary = identity->is_primary,
                                                   .clock_us = sender->wall_us};
    replication_put(out, &message);
    sender->timeline = identity->timeline;
}

/* Which databases there are: new ones are announced, after it is said which have gone: a name may be that of another one now. */
static sq_status scan(struct repl_sender *sender, struct sq_error *err)
{
    struct repl_database_entry entry = {.number = 0};
    sender->is_scan_due = false;
    SQ_LIST_FOREACH (links, &sender->databases)
        SQ_CONTAINER_OF(links, struct sender_database, links)->is_listed = false;
    while (sender->source->ops->next_database_cb(sender->source, entry.number, &entry)) {
        sq_assert(entry.number > 0);
        struct sender_database *database = sq_map_get(&sender->by_number, &entry.number, sizeof(entry.number));
        if (database == NULL && repl_wanted_has(&sender->wanted, entry.name)) {
            SQ_TRY(sender_database_new(sender, &entry, err));
            database = sq_map_get(&sender->by_number, &entry.number, sizeof(entry.number));
        }
        if (database != NULL)
            database->is_listed = true;
    }
    SQ_LIST_FOREACH (links, &sender->databases) {
        struct sender_database *database = SQ_CONTAINER_OF(links, struct sender_database, links);
        if (!database->is_listed && database->phase != SENDER_GONE)
            sender_database_gone(database);
    }
    SQ_LIST_FOREACH (links, &sender->databases) {
        struct sender_database *database = SQ_CONTAINER_OF(links, struct sender_database, links);
        if (database->phase == SENDER_NEW && !sq_list_is_linked(&database->work_links))
            sender_database_work(database);
    }
    return SQ_OK;
}

/* All who have news say where their logs end; then the ends that were told are everything there was when this began. */
static sq_status drain(struct repl_sender *sender, struct sq_buf *out, struct sq_error *err)
{
    int64_t echo_us = sender->echo_us;
    bool is_drained = false;
    if (sender->config.push_interval_us > 0) {
        if (sender->now_us < sender->push_at_us)
            return SQ_OK;
        sender->push_at_us = sender->now_us + sender->config.push_interval_us;
    }
    while (!is_drained && sq_buf_length(out) < sender->config.high_water_bytes) {
        struct repl_wakeup *wakeup = repl_wakeups_take(&sender->wakeups);
        if (wakeup == NULL)
            is_drained = true;
        else if (wakeup == &sender->source_wakeup)
            sender->is_scan_due = true;
        else
            sender_database_woken(SQ_CONTAINER_OF(wakeup, struct sender_database, wakeup), out);
    }
    if (is_drained)
        sender->safe_echo_us = echo_us;
    return sq_buf_check(out, err);
}

static void work_off_delays(struct repl_sender *sender)
{
    SQ_LIST_FOREACH (links, &sender->delayed) {
        struct sender_database *database = SQ_CONTAINER_OF(links, struct sender_database, work_links);
        if (database->retry_at_us <= sender->now_us)
            sender_database_work(database);
    }
}

static sq_status work(struct repl_sender *sender, struct sq_buf *out, struct sq_error *err)
{
    while (sq_buf_length(out) < sender->config.high_water_bytes) {
        bool is_more = false;
        struct sq_list *links = sq_list_pop_front(&sender->work);
        if (links == NULL)
            break;
        struct sender_database *database = SQ_CONTAINER_OF(links, struct sender_database, work_links);
        SQ_TRY(sender_database_step(database, out, err, &is_more));
        if (is_more)
            sender_database_work(database);
        SQ_TRY(sq_buf_check(out, err));
    }
    return SQ_OK;
}

static void keepalive(struct repl_sender *sender, bool is_answer_wanted, struct sq_buf *out)
{
    struct replication_message message = {.type = REPLICATION_KEEPALIVE};
    message.pulse = (struct replication_pulse){.clock_us = sender->wall_us,
                                               .echo_us = sender->safe_echo_us,
                                               .age_us = sender->age_us,
                                               .is_answer_wanted = is_answer_wanted};
    replication_put(out, &message);
    sender->kept_us = sender->now_us;
    sender->is_answer_due = false;
    if (is_answer_wanted)
        sender->asked_us = sender->now_us;
}

static sq_status keep_alive(struct repl_sender *sender, struct sq_buf *out, struct sq_error *err)
{
    int64_t silence_us = sender->now_us - sender->heard_us;
    if (silence_us >= sender->config.timeout_us)
        return sq_fail_sql(err, SQ_CLOSED, "08006", "replica '%s' has been silent for %lld ms", sender->name,
                           (long long)(silence_us / 1000));
    if (sq_buf_length(out) >= sender->config.high_water_bytes)
        return SQ_OK; /* it has enough to read */
    bool is_question_due = silence_us >= sender->config.timeout_us / 2 && sender->asked_us == 0;
    if (is_question_due || sender->is_answer_due || sender->now_us - sender->kept_us >= sender->config.keepalive_us)
        keepalive(sender, is_question_due, out);
    return SQ_OK;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t deadline(struct repl_sender *sender, bool is_full)
{
    int64_t at = sender->heard_us + sender->config.timeout_us;
    if (is_full)
        return at; /* all else waits for room */
    if (sender->asked_us == 0)
        at = earlier(at, sender->heard_us + sender->config.timeout_us / 2);
    at = earlier(at, sender->kept_us + sender->config.keepalive_us);
    SQ_LIST_FOREACH (links, &sender->delayed)
        at = earlier(at, SQ_CONTAINER_OF(links, struct sender_database, work_links)->retry_at_us);
    if (sender->config.push_interval_us > 0 && !repl_wakeups_is_empty(&sender->wakeups))
        at = earlier(at, sender->push_at_us);
    if (sender->is_scan_due)
        at = earlier(at, sender->now_us + SENDER_RETRY_US);
    return at;
}

static sq_status produce(struct repl_sender *sender, struct sq_buf *out, struct sq_error *err)
{
    struct repl_identity identity;
    sender->source->ops->identity_cb(sender->source, &identity);
    sender->age_us = identity.age_us;
    SQ_TRY(sender_check_timeline(sender, 0, err));
    if (sender->timeline != identity.timeline)
        welcome(sender, &identity, out);
    SQ_TRY(drain(sender, out, err));
    if (sender->is_scan_due)
        SQ_TRY(scan(sender, err));
    work_off_delays(sender);
    SQ_TRY(work(sender, out, err));
    if (!sender->is_list_told && sender->new_count == 0 && !sender->is_scan_due && identity.is_list_known) {
        const struct replication_message message = {.type = REPLICATION_LIST_END};
        replication_put(out, &message);
        sender->is_list_told = true;
    }
    SQ_TRY(keep_alive(sender, out, err));
    return sq_buf_check(out, err);
}

sq_status repl_sender_produce(struct repl_sender *sender, int64_t now_us, int64_t wall_us, struct sq_buf *out,
                              struct sq_error *err, int64_t *ret_deadline_us)
{
    sq_assert(now_us >= sender->now_us);
    sender->now_us = now_us;
    sender->wall_us = wall_us > 0 ? wall_us : 0;
    SQ_TRY(produce(sender, out, err));
    *ret_deadline_us = deadline(sender, sq_buf_length(out) >= sender->config.high_water_bytes);
    return SQ_OK;
}

sq_status repl_sender_run(struct repl_sender *sender, int64_t now_us, int64_t wall_us, struct sq_buf *in,
                          struct sq_buf *out, struct sq_error *err, int64_t *ret_deadline_us)
{
    struct pgwire_frame frame;
    size_t needed = 0;
    enum pgwire_frame_result result = PGWIRE_FRAME_NEED_MORE;
    if (sq_buf_length(in) > sender->left_bytes)
        repl_sender_heard(sender, now_us);
    while ((result = pgwire_frame_next(sq_buf_bytes(in), sq_buf_length(in), sender->config.message_bytes_max, err,
                                       &frame, &needed)) == PGWIRE_FRAME_READY) {
        if (frame.type == PGWIRE_COPY_DONE)
            return sq_fail(err, SQ_CLOSED, "replica '%s' has ended", sender->name);
        if (frame.type != PGWIRE_COPY_DATA)
            return sq_fail(err, SQ_PROTOCOL, "a %s message while a replica is fed", pgwire_frontend_name(frame.type));
        SQ_TRY(repl_sender_take(sender, now_us, frame.body, frame.body_length, err));
        sq_buf_consume(in, frame.total_bytes);
    }
    sender->left_bytes = sq_buf_length(in);
    if (result == PGWIRE_FRAME_BAD)
        return SQ_PROTOCOL;
    return repl_sender_produce(sender, now_us, wall_us, out, err, ret_deadline_us);
}

/* --- Figures --- */

void repl_sender_each(struct repl_sender *sender, int64_t now_us, void *context,
                      void (*figures_cb)(void *context, const struct repl_sender_figures *figures))
{
    pthread_mutex_lock(&sender->mutex);
    SQ_LIST_FOREACH (links, &sender->databases) {
        struct repl_sender_figures figures;
        sender_database_figures(SQ_CONTAINER_OF(links, struct sender_database, links), now_us, &figures);
        figures_cb(context, &figures);
    }
    pthread_mutex_unlock(&sender->mutex);
}
