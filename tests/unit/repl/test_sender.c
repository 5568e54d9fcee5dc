/* The sender, message by message: what a replica is told and sent, whom it does not believe, and how much it says at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/replication_fakes.h"

enum { S = 1000 * 1000, OUT_MAX = 1 << 22 };

/* A sender and its replica, which the test plays. */
struct talk {
    struct fake_source source;
    struct fake_waker waker;
    struct repl_sender *sender;
    struct sq_buf in;
    struct sq_buf out;
    int64_t now_us;
    int64_t deadline_us;
    struct sq_error err;
    struct replication_message last; /* of what was heard last; its bytes stay until the next one */
};

static const struct replication_command start_command = {.kind = REPLICATION_START, .version = 1, .name = "r"};

static sq_status talk_new(struct talk *talk, const struct replication_command *command,
                          const struct repl_sender_config *config)
{
    sq_buf_init(&talk->in, OUT_MAX);
    sq_buf_init(&talk->out, OUT_MAX);
    talk->waker = (struct fake_waker)FAKE_WAKER;
    talk->now_us = 100 * S;
    return repl_sender_new(&talk->source.source, command, config, &talk->source.owner, &talk->waker.waker, talk->now_us,
                           &talk->err, &talk->sender);
}

static void talk_begin(struct talk *talk)
{
    memset(talk, 0, sizeof(*talk));
    fake_source_init(&talk->source);
}

static void talk_end(struct talk *talk)
{
    repl_sender_free(talk->sender);
    sq_buf_done(&talk->in);
    sq_buf_done(&talk->out);
    assert_null(talk->source.watcher);
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++)
        assert_null(talk->source.feeds[i].waker);
}

static sq_status run(struct talk *talk)
{
    return repl_sender_run(talk->sender, talk->now_us, 7 * S, &talk->in, &talk->out, &talk->err, &talk->deadline_us);
}

static sq_status say(struct talk *talk, const struct replication_message *message)
{
    replication_put(&talk->in, message);
    return run(talk);
}

/* The next message; 0: none. */
static enum replication_type hear(struct talk *talk)
{
    struct pgwire_frame frame;
    size_t needed = 0;
    if (pgwire_backend_frame_next(sq_buf_bytes(&talk->out), sq_buf_length(&talk->out), REPLICATION_MESSAGE_BYTES_MAX,
                                  NULL, &frame, &needed) != PGWIRE_FRAME_READY) {
        assert_int_equal(sq_buf_length(&talk->out), 0);
        return 0;
    }
    assert_int_equal(frame.type, PGWIRE_COPY_DATA);
    assert_int_equal(replication_primary_decode(frame.body, frame.body_length, NULL, &talk->last), SQ_OK);
    sq_buf_consume(&talk->out, frame.total_bytes);
    return talk->last.type;
}

static struct replication_message start_at(uint32_t number, uint32_t attempt, uint64_t txid)
{
    return (struct replication_message){
        .type = REPLICATION_START_AT,
        .number = number,
        .attempt = attempt,
        .start = {.is_known = true,
                  .position = {.timeline = txid > 0 ? 1 : 0, .txid = txid, .checksum = FAKE_SUM(txid)},
                  .incarnation = txid > 0 ? 1000 + number : 0}};
}

static struct replication_message status_of(uint32_t number, uint32_t attempt, uint64_t txid)
{
    struct replication_position at = {.timeline = 1, .txid = txid, .checksum = FAKE_SUM(txid)};
    return (struct replication_message){.type = REPLICATION_STATUS,
                                        .number = number,
                                        .attempt = attempt,
                                        .status = {.written = at, .applied = at, .durable = at, .clock_us = 55}};
}

/* Welcome, the databases that there are, and the end of the list are heard. */
static void open_talk(struct talk *talk)
{
    assert_int_equal(talk_new(talk, &start_command, &repl_sender_defaults), SQ_OK);
    assert_int_equal(run(talk), SQ_OK);
    assert_int_equal(hear(talk), REPLICATION_WELCOME);
    while (hear(talk) == REPLICATION_DATABASE)
        continue;
    assert_int_equal(talk->last.type, REPLICATION_LIST_END);
    assert_int_equal(hear(talk), 0);
}

/* --- Beginning --- */

static void a_replica_hears_who_we_are_and_what_there_is(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    fake_source_add(&talk.source, 7, "shop", 2, 100);
    fake_source_add(&talk.source, 3, "log", 0, 100);
    assert_int_equal(talk_new(&talk, &start_command, &repl_sender_defaults), SQ_OK);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_WELCOME);
    assert_true(talk.last.welcome.system_id == FAKE_SYSTEM && talk.last.welcome.timeline == 1);
    assert_true(talk.last.welcome.is_primary && talk.last.welcome.clock_us == 7 * S);
    assert_int_equal(hear(&talk), REPLICATION_DATABASE);
    assert_int_equal(talk.last.number, 3);
    assert_string_equal(talk.last.name.data, "log");
    assert_int_equal(hear(&talk), REPLICATION_DATABASE);
    assert_string_equal(talk.last.name.data, "shop");
    assert_int_equal(hear(&talk), REPLICATION_LIST_END);
    assert_int_equal(hear(&talk), 0);
    assert_int_equal(talk.source.feeds[0].open_count, 0); /* nobody has asked for a log yet */
    talk_end(&talk);
}

static void only_wanted_databases_are_told(void **state)
{
    struct talk talk;
    struct replication_command command = start_command;
    (void)state;
    talk_begin(&talk);
    snprintf(command.databases, sizeof(command.databases), "s*, !scratch");
    fake_source_add(&talk.source, 1, "scratch", 0, 100);
    fake_source_add(&talk.source, 2, "log", 0, 100);
    fake_source_add(&talk.source, 3, "shop", 0, 100);
    assert_int_equal(talk_new(&talk, &command, &repl_sender_defaults), SQ_OK);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_WELCOME);
    assert_int_equal(hear(&talk), REPLICATION_DATABASE);
    assert_int_equal(talk.last.number, 3);
    assert_int_equal(hear(&talk), REPLICATION_LIST_END);
    talk_end(&talk);
}

static void who_must_not_be_fed_is_refused(void **state)
{
    static const struct {
        struct replication_command command;
        struct repl_identity identity;
        uint64_t newer;
        const char *sqlstate;
    } cases[] = {
        {{.version = 2}, {.system_id = 1, .timeline = 1}, 0, "0A000"},
        {{.version = 1, .system_id = 2}, {.system_id = 1, .timeline = 1}, 0, "55000"},
        {{.version = 1, .timeline = 2}, {.system_id = 1, .timeline = 1}, 2, "55000"},
        {{.version = 1, .system_id = 2, .timeline = 2}, {.system_id = 1, .timeline = 1}, 0, "55000"},
        {{.version = 1}, {.system_id = 1, .timeline = 1, .is_fenced = true}, 0, "55000"},
        {{.version = 1}, {.system_id = 0, .timeline = 0}, 0, "55000"},
        {{.version = 1, .databases = "a b"}, {.system_id = 1, .timeline = 1}, 0, "22023"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        talk_begin(&talk);
        talk.source.identity = cases[i].identity;
        assert_int_equal(talk_new(&talk, &cases[i].command, &repl_sender_defaults), SQ_INVALID);
        if (i + 1 < sizeof(cases) / sizeof(cases[0]))
            assert_string_equal(talk.err.sqlstate, cases[i].sqlstate);
        assert_int_equal(talk.source.newer_timeline, cases[i].newer);
        assert_null(talk.sender);
        talk_end(&talk);
    }
}

/* --- Following --- */

static void the_end_is_told_before_the_files_that_lead_there(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 1);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_true(talk.last.told.end.txid == 3 && talk.last.attempt == 1 && talk.last.told.page_bytes == 4096);
    for (uint64_t txid = 2; txid <= 3; txid++) {
        assert_int_equal(hear(&talk), REPLICATION_FILE);
        assert_int_equal(talk.last.file.flags, REPLICATION_FILE_FIRST | REPLICATION_FILE_LAST);
        assert_true(talk.last.file.min_txid == txid && talk.last.file.max_txid == txid);
        assert_true(talk.last.file.checksum == FAKE_SUM(txid) && talk.last.file.incarnation == 1001);
        assert_int_equal(talk.last.file.data.length, 100);
    }
    assert_int_equal(hear(&talk), 0);
    /* And the moment that there is more: */
    feed->files[3] = (struct repl_feed_file){.min_txid = 4,
                                             .max_txid = 5,
                                             .timeline = 1,
                                             .pre_checksum = FAKE_SUM(3),
                                             .post_checksum = FAKE_SUM(5),
                                             .bytes = 9};
    feed->file_count = 4;
    feed->view.end = (struct wal_position){.timeline = 1, .txid = 5, .checksum = FAKE_SUM(5)};
    sq_waker_wake(feed->waker);
    assert_int_equal(talk.waker.count, 1);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), REPLICATION_FILE);
    assert_true(talk.last.file.min_txid == 4 && talk.last.file.max_txid == 5);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

static void what_is_not_durable_is_not_sent(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    feed->view.end = (struct wal_position){.timeline = 1, .txid = 2, .checksum = FAKE_SUM(2)};
    feed->files[1].max_txid = 3; /* compacted with what is beyond the end */
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 1);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

static void a_new_timeline_is_told_before_its_first_file(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    talk.source.identity.timeline = 4;
    feed->old_timeline = 1;
    feed->old_end = 2;
    feed->view.end.timeline = feed->files[2].timeline = 4;
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 1);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), REPLICATION_FILE);
    assert_int_equal(talk.last.file.timeline, 1);
    assert_int_equal(hear(&talk), REPLICATION_TIMELINE);
    assert_true(talk.last.timeline.timeline == 4 && talk.last.timeline.after_txid == 2);
    assert_int_equal(hear(&talk), REPLICATION_FILE);
    assert_int_equal(talk.last.file.timeline, 4);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

/* Positions that are not in the log: each heals. */
static void who_is_not_in_our_history_heals(void **state)
{
    static const struct {
        struct replication_position position;
        uint64_t incarnation;
    } cases[] = {
        {{.timeline = 1, .txid = 0, .checksum = FAKE_SUM(9)}, 0},    /* other content than what the log begins with */
        {{.timeline = 1, .txid = 1, .checksum = FAKE_SUM(9)}, 1001}, /* the next file has another pre_checksum */
        {{.timeline = 1, .txid = 4, .checksum = FAKE_SUM(9)}, 1001}, /* at the end, and different */
        {{.timeline = 1, .txid = 5, .checksum = FAKE_SUM(5)}, 1001}, /* ahead of a primary */
        {{.timeline = 1, .txid = 1, .checksum = FAKE_SUM(1)}, 1002}, /* another database of the name */
        {{.timeline = 2, .txid = 3, .checksum = FAKE_SUM(3)}, 1001}, /* on a timeline that we know, after its end */
        {{.timeline = 1, .txid = 3, .checksum = FAKE_SUM(3)}, 1001}, /* the same */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        talk_begin(&talk);
        struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 4, 100);
        talk.source.identity.timeline = 5;
        if (i >= 5) {
            feed->old_timeline = i == 5 ? 2 : 1;
            feed->old_end = 2;
            feed->view.end.timeline = 5;
        }
        open_talk(&talk);
        struct replication_message start = start_at(1, 1, 1);
        start.start.position = cases[i].position;
        start.start.incarnation = cases[i].incarnation;
        assert_int_equal(say(&talk, &start), SQ_OK);
        assert_int_equal(hear(&talk), REPLICATION_POSITION);
        assert_int_equal(hear(&talk), REPLICATION_HEAL);
        assert_true(talk.last.heal.position.txid == 4 && talk.last.heal.page_bytes == 4096);
        assert_int_equal(hear(&talk), 0);
        talk_end(&talk);
    }
}

/* A replica that feeds others may be the one who is behind: until it has had everything since the other said where it was. */
static void a_replica_waits_for_itself_before_it_heals_who_is_ahead(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 4, 100);
    talk.source.identity.is_primary = false;
    feed->view.age_us = INT64_MAX;
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 6);
    const struct replication_message not_known = {
        .type = REPLICATION_START_AT, .number = 1, .attempt = 2, .start = {.position = start.start.position}};
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), 0);
    assert_int_equal(say(&talk, &not_known), SQ_OK); /* what it only believes counts as much */
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), 0);
    talk.now_us += S;
    feed->view.age_us = S + 1;
    assert_int_equal(run(&talk), SQ_OK);
    while (hear(&talk) == REPLICATION_KEEPALIVE)
        continue;
    assert_int_equal(talk.last.type, REPLICATION_KEEPALIVE);
    talk.now_us += S;
    feed->view.age_us = S;
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_HEAL);
    talk_end(&talk);
}

static void a_broken_file_heals(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 1, 3 * REPL_CHUNK_BYTES_MAX);
    feed->wrong_read = REPL_CHUNK_BYTES_MAX;
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 0);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), REPLICATION_TIMELINE);
    assert_int_equal(hear(&talk), REPLICATION_FILE);
    assert_int_equal(talk.last.file.flags, REPLICATION_FILE_FIRST);
    assert_int_equal(hear(&talk), REPLICATION_HEAL);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

/* --- Healing --- */

static struct replication_message sums_of(uint32_t first_page, size_t count)
{
    static uint8_t bytes[8 * REPL_SUMS_COUNT_MAX];
    return (struct replication_message){
        .type = REPLICATION_SUMS,
        .number = 1,
        .attempt = 1,
        .sums = {.first_page = first_page, .count = count, .sums = {.data = bytes, .length = 8 * count}}};
}

static void a_replica_heals_and_follows(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    feed->exchange_left = REPL_CHUNK_BYTES_MAX + 5;
    open_talk(&talk);
    struct replication_message start = start_at(1, 1, 0);
    start.start.is_known = false;
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), REPLICATION_HEAL);
    struct replication_message sums = sums_of(1, 3);
    assert_int_equal(say(&talk, &sums), SQ_OK);
    sums = sums_of(4, 2);
    assert_int_equal(say(&talk, &sums), SQ_OK);
    assert_int_equal(feed->sum_count, 5);
    assert_int_equal(feed->hold, 3);
    const struct replication_message end = {.type = REPLICATION_SUMS_END, .number = 1, .attempt = 1, .page_count = 5};
    assert_int_equal(say(&talk, &end), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_FILE);
    assert_int_equal(talk.last.file.flags, REPLICATION_FILE_FIRST | REPLICATION_FILE_HEAL);
    assert_true(talk.last.file.max_txid == 3 && talk.last.file.checksum == FAKE_SUM(3));
    assert_int_equal(hear(&talk), REPLICATION_FILE);
    assert_int_equal(talk.last.file.flags, REPLICATION_FILE_LAST | REPLICATION_FILE_HEAL);
    assert_int_equal(talk.last.file.data.length, 5);
    assert_int_equal(hear(&talk), 0);
    const struct replication_message status = status_of(1, 1, 3);
    assert_int_equal(say(&talk, &status), SQ_OK);
    assert_int_equal(talk.source.durable.txid, 3);
    assert_false(feed->has_exchange);
    talk_end(&talk);
}

/* A database that is healed does not hold up the others. */
static void databases_take_turns(void **state)
{
    struct talk talk;
    bool has_other = false;
    unsigned chunks = 0;
    (void)state;
    talk_begin(&talk);
    fake_source_add(&talk.source, 1, "large", 1, 40 * REPL_CHUNK_BYTES_MAX);
    fake_source_add(&talk.source, 2, "small", 3, 100);
    open_talk(&talk);
    const struct replication_message starts[] = {start_at(1, 1, 0), start_at(2, 2, 0)};
    replication_put(&talk.in, &starts[0]);
    assert_int_equal(say(&talk, &starts[1]), SQ_OK);
    for (enum replication_type type = hear(&talk); !has_other; type = hear(&talk)) {
        if (type == 0) {
            assert_int_equal(run(&talk), SQ_OK);
            continue;
        }
        chunks += type == REPLICATION_FILE && talk.last.number == 1;
        has_other = type == REPLICATION_FILE && talk.last.number == 2 && talk.last.file.max_txid == 3;
    }
    assert_true(chunks > 0 && chunks <= 4);
    talk_end(&talk);
}

static unsigned heals_heard(struct talk *talk)
{
    unsigned heals = 0;
    for (enum replication_type type = hear(talk); type != 0; type = hear(talk))
        heals += type == REPLICATION_HEAL;
    return heals;
}

static void only_so_many_heal_at_a_time(void **state)
{
    struct talk talk;
    (void)state;
    assert_true((int)FAKE_DATABASES_MAX > (int)REPL_SENDER_EXCHANGES_MAX);
    talk_begin(&talk);
    for (uint32_t i = 1; i <= FAKE_DATABASES_MAX; i++) {
        const char name[] = {(char)('a' + i), '\0'};
        fake_source_add(&talk.source, i, name, 3, 100);
    }
    open_talk(&talk);
    for (uint32_t i = 1; i <= FAKE_DATABASES_MAX; i++) {
        struct replication_message start = start_at(i, i, 0);
        start.start.is_known = false;
        assert_int_equal(say(&talk, &start), SQ_OK);
    }
    assert_int_equal(heals_heard(&talk), REPL_SENDER_EXCHANGES_MAX);
    const struct replication_message end = {.type = REPLICATION_SUMS_END, .number = 1, .attempt = 1};
    assert_int_equal(say(&talk, &end), SQ_OK);
    assert_int_equal(heals_heard(&talk), 1); /* the place of the one that is done */
    const struct replication_message refusal = {
        .type = REPLICATION_NOT_WANTED, .number = 2, .reason = {.data = "", .length = 0}};
    assert_int_equal(say(&talk, &refusal), SQ_OK);
    assert_int_equal(heals_heard(&talk), 1);
    talk_end(&talk);
}

static void a_log_that_cannot_be_kept_is_said_and_may_come_back(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    feed->view.state = REPL_FEED_FAILED;
    open_talk(&talk);
    struct replication_message start = start_at(1, 1, 3);
    const struct replication_message status = status_of(1, 1, 3);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_UNAVAILABLE);
    assert_string_equal(talk.last.reason.data, "no log");
    assert_int_equal(say(&talk, &status), SQ_OK); /* was on its way */
    assert_int_equal(talk.source.durable_count, 0);
    feed->view.state = REPL_FEED_READY;
    start = start_at(1, 2, 3);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

/* --- What the replica has --- */

static void a_durable_position_is_passed_on_only_if_it_is_ours(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    feed->view.state = REPL_FEED_PENDING;
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 2);
    const struct replication_message status = status_of(1, 1, 2);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(say(&talk, &status), SQ_OK);
    assert_int_equal(talk.source.durable_count, 0); /* nobody has looked at the log yet */
    feed->view.state = REPL_FEED_READY;
    sq_waker_wake(feed->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(talk.source.durable_count, 1);
    assert_true(talk.source.durable_number == 1 && talk.source.durable.txid == 2);
    talk_end(&talk);

    /* Its file was compacted: only what it has verified proves where it was. */
    talk_begin(&talk);
    feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    feed->files[0].max_txid = 3;
    feed->files[0].post_checksum = FAKE_SUM(3);
    open_talk(&talk);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(say(&talk, &status), SQ_OK);
    assert_int_equal(talk.source.durable_count, 0);
    const struct replication_message later = status_of(1, 1, 3);
    assert_int_equal(say(&talk, &later), SQ_OK);
    assert_int_equal(talk.source.durable.txid, 3);
    talk_end(&talk);
}

static void another_checksum_than_ours_heals(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    fake_source_add(&talk.source, 1, "shop", 3, 100);
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 3);
    struct replication_message status = status_of(1, 1, 3);
    status.status.applied.checksum = FAKE_SUM(4);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(say(&talk, &status), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_HEAL);
    talk_end(&talk);
}

static struct repl_sender_figures seen_figures;
static void see(void *context, const struct repl_sender_figures *figures)
{
    (void)context;
    seen_figures = *figures;
}

static void figures_say_how_far_behind_it_is(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 3);
    const struct replication_message status = status_of(1, 1, 3);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(say(&talk, &status), SQ_OK);
    repl_sender_each(talk.sender, talk.now_us, NULL, see);
    assert_string_equal(seen_figures.state, "following");
    assert_true(seen_figures.lag_transactions == 0 && seen_figures.lag_bytes == 0 && seen_figures.lag_us == 0);
    feed->files[3] = (struct repl_feed_file){.min_txid = 4,
                                             .max_txid = 4,
                                             .timeline = 1,
                                             .pre_checksum = FAKE_SUM(3),
                                             .post_checksum = FAKE_SUM(4),
                                             .bytes = 9};
    feed->file_count = 4;
    feed->view.end = (struct wal_position){.timeline = 1, .txid = 4, .checksum = FAKE_SUM(4)};
    sq_waker_wake(feed->waker);
    assert_int_equal(run(&talk), SQ_OK);
    repl_sender_each(talk.sender, talk.now_us + 5, NULL, see);
    assert_true(seen_figures.lag_transactions == 1 && seen_figures.lag_bytes == 100 && seen_figures.lag_us == 5);
    assert_true(seen_figures.sent.txid == 4 && seen_figures.durable.txid == 3 && seen_figures.end.txid == 4);
    assert_string_equal(seen_figures.name, "shop");
    const struct replication_message refusal = {
        .type = REPLICATION_NOT_WANTED, .number = 1, .reason = {.data = "disk full", .length = 9}};
    assert_int_equal(say(&talk, &refusal), SQ_OK);
    repl_sender_each(talk.sender, talk.now_us, NULL, see);
    assert_string_equal(seen_figures.state, "not followed");
    assert_null(feed->waker);
    talk_end(&talk);
}

/* --- Databases come and go --- */

static void a_name_is_told_anew_only_after_it_was_dropped(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 3);
    const struct replication_message status = status_of(1, 1, 3);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    feed->entry.number = 9; /* dropped, and made again */
    sq_waker_wake(talk.source.watcher);
    assert_int_equal(say(&talk, &status), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_DROPPED);
    assert_int_equal(talk.last.number, 1);
    assert_int_equal(hear(&talk), REPLICATION_DATABASE);
    assert_int_equal(talk.last.number, 9);
    assert_int_equal(hear(&talk), 0);
    assert_int_equal(say(&talk, &status), SQ_OK); /* of the old one: it is not known any more */
    assert_null(feed->waker);
    talk_end(&talk);
}

static void a_list_that_is_not_complete_is_not_ended(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    talk.source.identity.is_list_known = false;
    assert_int_equal(talk_new(&talk, &start_command, &repl_sender_defaults), SQ_OK);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_WELCOME);
    assert_int_equal(hear(&talk), 0);
    talk.source.identity.is_list_known = true;
    sq_waker_wake(talk.source.watcher);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_LIST_END);
    talk_end(&talk);
}

/* A database without a transaction has no snapshot: the replica takes it for another one and begins with nothing. */
static void an_empty_database_replaces_what_has_diverged(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    fake_source_add(&talk.source, 1, "shop", 0, 100);
    open_talk(&talk);
    struct replication_message start = start_at(1, 1, 3);
    const struct replication_message status = status_of(1, 1, 3);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), REPLICATION_DROPPED);
    assert_int_equal(hear(&talk), REPLICATION_DATABASE);
    assert_int_equal(say(&talk, &status), SQ_OK); /* was on its way */
    start = start_at(1, 2, 0);
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    assert_int_equal(hear(&talk), REPLICATION_TIMELINE);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

/* --- Time and room --- */

static void no_more_is_made_than_the_mark_allows(void **state)
{
    struct talk talk;
    size_t most = repl_sender_defaults.high_water_bytes + REPLICATION_MESSAGE_BYTES_MAX;
    (void)state;
    talk_begin(&talk);
    fake_source_add(&talk.source, 1, "shop", 1, 100 * REPL_CHUNK_BYTES_MAX);
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 0);
    assert_int_equal(say(&talk, &start), SQ_OK);
    for (int i = 0; i < 10; i++) {
        talk.now_us += S;
        const struct replication_message alive = {.type = REPLICATION_ALIVE, .pulse = {.is_answer_wanted = true}};
        assert_int_equal(say(&talk, &alive), SQ_OK);
        assert_true(sq_buf_length(&talk.out) >= repl_sender_defaults.high_water_bytes);
        assert_true(sq_buf_length(&talk.out) <= most);
        assert_true(talk.deadline_us > talk.now_us);
    }
    unsigned chunks = 0;
    while (chunks < 100) {
        enum replication_type type = hear(&talk);
        chunks += type == REPLICATION_FILE;
        assert_int_equal(run(&talk), SQ_OK);
    }
    assert_true((talk.last.file.flags & REPLICATION_FILE_LAST) != 0);
    talk_end(&talk);
}

static void a_silent_replica_is_asked_and_then_given_up(void **state)
{
    struct talk talk;
    int64_t begin_us = 0;
    unsigned keepalives = 0;
    unsigned questions = 0;
    (void)state;
    talk_begin(&talk);
    open_talk(&talk);
    begin_us = talk.now_us;
    sq_status status = SQ_OK;
    while (status == SQ_OK) {
        assert_true(talk.deadline_us > talk.now_us);
        talk.now_us = talk.deadline_us;
        status = run(&talk);
        for (enum replication_type type = hear(&talk); type != 0; type = hear(&talk)) {
            keepalives += type == REPLICATION_KEEPALIVE;
            questions += type == REPLICATION_KEEPALIVE && talk.last.pulse.is_answer_wanted;
        }
    }
    assert_int_equal(status, SQ_CLOSED);
    assert_int_equal(talk.now_us - begin_us, repl_sender_defaults.timeout_us);
    assert_int_equal(questions, 1);
    assert_in_range(keepalives, 9, 11);
    talk_end(&talk);
}

/* Even a part of a message is a sign of life, on a slow line. */
static void a_slow_replica_is_not_silent(void **state)
{
    struct talk talk;
    const struct replication_message alive = {.type = REPLICATION_ALIVE};
    struct sq_buf bytes;
    (void)state;
    talk_begin(&talk);
    open_talk(&talk);
    sq_buf_init(&bytes, 100);
    replication_put(&bytes, &alive);
    while (sq_buf_length(&bytes) > 0) {
        talk.now_us += repl_sender_defaults.timeout_us - 1;
        sq_buf_put(&talk.in, sq_buf_bytes(&bytes), 1);
        sq_buf_consume(&bytes, 1);
        assert_int_equal(run(&talk), SQ_OK);
    }
    sq_buf_done(&bytes);
    talk_end(&talk);
}

static void a_clock_comes_back_as_an_echo_when_all_was_told(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    open_talk(&talk);
    const struct replication_message start = start_at(1, 1, 3);
    struct replication_message alive = {.type = REPLICATION_ALIVE, .pulse = {.clock_us = 77, .is_answer_wanted = true}};
    assert_int_equal(say(&talk, &start), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    feed->view.end.checksum = FAKE_SUM(8);
    feed->view.age_us = 3;
    talk.source.identity.age_us = 4;
    sq_waker_wake(feed->waker);
    assert_int_equal(say(&talk, &alive), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION); /* before the keepalive that says "that was all" */
    assert_true(talk.last.told.echo_us == 77 && talk.last.told.age_us == 3);
    enum replication_type type = hear(&talk);
    while (type != REPLICATION_KEEPALIVE)
        type = hear(&talk);
    assert_true(talk.last.pulse.echo_us == 77 && talk.last.pulse.age_us == 4 && talk.last.pulse.clock_us == 7 * S);
    talk_end(&talk);
}

static void news_are_gathered_if_that_is_wanted(void **state)
{
    struct talk talk;
    struct repl_sender_config config = repl_sender_defaults;
    (void)state;
    config.push_interval_us = 1000;
    talk_begin(&talk);
    struct fake_feed *feed = fake_source_add(&talk.source, 1, "shop", 3, 100);
    assert_int_equal(talk_new(&talk, &start_command, &config), SQ_OK);
    const struct replication_message start = start_at(1, 1, 3);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(say(&talk, &start), SQ_OK);
    while (hear(&talk) != 0)
        continue;
    feed->view.end.txid = 4;
    sq_waker_wake(feed->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), 0);
    assert_int_equal(talk.deadline_us, talk.now_us + 1000);
    talk.now_us += 1000;
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_POSITION);
    talk_end(&talk);
}

/* --- Peers that lie --- */

static void newer_timelines_are_heard_in_any_message(void **state)
{
    struct replication_message messages[] = {
        {.type = REPLICATION_ALIVE, .pulse = {.timeline = 2}},
        start_at(1, 1, 3),
    };
    (void)state;
    messages[1].start.position.timeline = 2;
    for (size_t i = 0; i < 2; i++) {
        struct talk talk;
        talk_begin(&talk);
        fake_source_add(&talk.source, 1, "shop", 3, 100);
        open_talk(&talk);
        assert_int_equal(say(&talk, &messages[i]), SQ_INVALID);
        assert_int_equal(talk.source.newer_timeline, 2);
        talk_end(&talk);
    }
}

static void a_fenced_server_stops_at_once(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    open_talk(&talk);
    talk.source.identity.is_fenced = true;
    talk.source.identity.timeline = 2;
    assert_int_equal(run(&talk), SQ_INVALID);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

static void a_promotion_here_is_told(void **state)
{
    struct talk talk;
    (void)state;
    talk_begin(&talk);
    open_talk(&talk);
    talk.source.identity.timeline = 2;
    sq_waker_wake(talk.source.watcher);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_WELCOME);
    assert_int_equal(talk.last.welcome.timeline, 2);
    talk_end(&talk);
}

/* After StartAt(1, attempt 4) at txid 2 of 3, all of which was sent. */
static void lies_break_the_protocol(void **state)
{
    struct replication_message lies[] = {
        start_at(1, 4, 2),                                         /* the same attempt again */
        start_at(1, 3, 2),                                         /* an older one */
        status_of(1, 5, 2),                                        /* of an attempt that was not begun */
        status_of(1, 4, 4),                                        /* beyond what was sent */
        {.type = REPLICATION_SUMS_END, .number = 1, .attempt = 4}, /* that nobody has asked for */
        sums_of(1, 1),                                             /* the same */
        status_of(1, 4, 3),
        status_of(1, 4, 3),
        status_of(1, 4, 3), /* parts beyond the whole */
    };
    (void)state;
    lies[5].attempt = 4;
    lies[6].status.written.txid = 2;
    lies[7].status.durable.timeline = 2;
    lies[8].status.written.timeline = 2;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct talk talk;
        talk_begin(&talk);
        fake_source_add(&talk.source, 1, "shop", 3, 100);
        open_talk(&talk);
        const struct replication_message start = start_at(1, 4, 2);
        assert_int_equal(say(&talk, &start), SQ_OK);
        assert_int_equal(say(&talk, &lies[i]), SQ_PROTOCOL);
        assert_string_equal(talk.err.sqlstate, "08P01");
        assert_int_equal(talk.source.durable_count, 0);
        talk_end(&talk);
    }
}

static void lies_while_healing_break_the_protocol(void **state)
{
    struct replication_message lies[] = {
        sums_of(2, 1), /* not from the first page on */
        {.type = REPLICATION_SUMS_END, .number = 1, .attempt = 1, .page_count = 1},
        status_of(1, 1, 1), /* of a position that is not known */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct talk talk;
        talk_begin(&talk);
        fake_source_add(&talk.source, 1, "shop", 3, 100);
        open_talk(&talk);
        struct replication_message start = start_at(1, 1, 0);
        start.start.is_known = false;
        assert_int_equal(say(&talk, &start), SQ_OK);
        assert_int_equal(say(&talk, &lies[i]), SQ_PROTOCOL);
        talk_end(&talk);
    }
}

static void other_messages_break_the_protocol(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        sq_status status;
    } cases[] = {
        {"Q\0\0\0\5\0", 6, SQ_PROTOCOL}, {"f\0\0\0\5\0", 6, SQ_PROTOCOL}, {"d\0\0\0\4", 5, SQ_PROTOCOL},
        {"d\0\0\0\5W", 6, SQ_PROTOCOL},  {"d\0\0\0\3", 5, SQ_PROTOCOL},   {"d\x7f\xff\xff\xff", 5, SQ_PROTOCOL},
        {"c\0\0\0\4", 5, SQ_CLOSED},     {"\1\0\0\0\4", 5, SQ_PROTOCOL},  {"d\0\0\0\x09N\0\0\0\1", 10, SQ_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        talk_begin(&talk);
        open_talk(&talk);
        sq_buf_put(&talk.in, cases[i].bytes, cases[i].length);
        assert_int_equal(run(&talk), cases[i].status);
        talk_end(&talk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_hears_who_we_are_and_what_there_is),
        cmocka_unit_test(only_wanted_databases_are_told),
        cmocka_unit_test(who_must_not_be_fed_is_refused),
        cmocka_unit_test(the_end_is_told_before_the_files_that_lead_there),
        cmocka_unit_test(what_is_not_durable_is_not_sent),
        cmocka_unit_test(a_new_timeline_is_told_before_its_first_file),
        cmocka_unit_test(who_is_not_in_our_history_heals),
        cmocka_unit_test(a_replica_waits_for_itself_before_it_heals_who_is_ahead),
        cmocka_unit_test(a_broken_file_heals),
        cmocka_unit_test(a_replica_heals_and_follows),
        cmocka_unit_test(databases_take_turns),
        cmocka_unit_test(only_so_many_heal_at_a_time),
        cmocka_unit_test(a_log_that_cannot_be_kept_is_said_and_may_come_back),
        cmocka_unit_test(a_durable_position_is_passed_on_only_if_it_is_ours),
        cmocka_unit_test(another_checksum_than_ours_heals),
        cmocka_unit_test(figures_say_how_far_behind_it_is),
        cmocka_unit_test(a_name_is_told_anew_only_after_it_was_dropped),
        cmocka_unit_test(a_list_that_is_not_complete_is_not_ended),
        cmocka_unit_test(an_empty_database_replaces_what_has_diverged),
        cmocka_unit_test(no_more_is_made_than_the_mark_allows),
        cmocka_unit_test(a_silent_replica_is_asked_and_then_given_up),
        cmocka_unit_test(a_slow_replica_is_not_silent),
        cmocka_unit_test(a_clock_comes_back_as_an_echo_when_all_was_told),
        cmocka_unit_test(news_are_gathered_if_that_is_wanted),
        cmocka_unit_test(newer_timelines_are_heard_in_any_message),
        cmocka_unit_test(a_fenced_server_stops_at_once),
        cmocka_unit_test(a_promotion_here_is_told),
        cmocka_unit_test(lies_break_the_protocol),
        cmocka_unit_test(lies_while_healing_break_the_protocol),
        cmocka_unit_test(other_messages_break_the_protocol),
    };
    return cmocka_run_group_tests_name("repl/sender", tests, NULL, NULL);
}
