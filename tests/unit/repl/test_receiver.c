/* The receiver, message by message: what a primary's messages do, which primaries are not believed, and what is said when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/replication_fakes.h"
#include "pgwire/backend.h"

enum { S = 1000 * 1000, BUF_MAX = 1 << 22 };

/* A receiver and its primary, which the test plays. */
struct talk {
    struct fake_store store;
    struct fake_waker waker;
    struct repl_receiver *receiver;
    struct sq_buf in;
    struct sq_buf out;
    int64_t now_us;
    int64_t deadline_us;
    struct sq_error err;
    struct replication_message last;
};

static void talk_begin_with(struct talk *talk, const char *list)
{
    struct repl_wanted wanted;
    assert_int_equal(repl_wanted_parse(list, NULL, &wanted), SQ_OK);
    sq_buf_init(&talk->in, BUF_MAX);
    sq_buf_init(&talk->out, BUF_MAX);
    talk->waker = (struct fake_waker)FAKE_WAKER;
    talk->now_us = 100 * S;
    assert_int_equal(repl_receiver_new(&talk->store.store, &wanted, &repl_receiver_defaults, &talk->waker.waker,
                                       talk->now_us, &talk->err, &talk->receiver),
                     SQ_OK);
}

static void talk_init(struct talk *talk)
{
    memset(talk, 0, sizeof(*talk));
    fake_store_init(&talk->store);
}

static void talk_end(struct talk *talk)
{
    repl_receiver_free(talk->receiver);
    sq_buf_done(&talk->in);
    sq_buf_done(&talk->out);
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++)
        assert_null(talk->store.copies[i].waker);
}

static sq_status run(struct talk *talk)
{
    return repl_receiver_run(talk->receiver, talk->now_us, &talk->in, &talk->out, &talk->err, &talk->deadline_us);
}

static sq_status say(struct talk *talk, const struct replication_message *message)
{
    replication_put(&talk->in, message);
    return run(talk);
}

static enum replication_type hear(struct talk *talk)
{
    struct pgwire_frame frame;
    size_t needed = 0;
    if (pgwire_frame_next(sq_buf_bytes(&talk->out), sq_buf_length(&talk->out), REPLICATION_MESSAGE_BYTES_MAX, NULL,
                          &frame, &needed) != PGWIRE_FRAME_READY) {
        assert_int_equal(sq_buf_length(&talk->out), 0);
        return 0;
    }
    assert_int_equal(frame.type, PGWIRE_COPY_DATA);
    assert_int_equal(replication_replica_decode(frame.body, frame.body_length, NULL, &talk->last), SQ_OK);
    sq_buf_consume(&talk->out, frame.total_bytes);
    return talk->last.type;
}

static const struct replication_message welcome = {
    .type = REPLICATION_WELCOME,
    .welcome = {.version = 1, .system_id = FAKE_SYSTEM, .timeline = 5, .is_primary = true, .clock_us = 1}};
static const struct replication_message list_end = {.type = REPLICATION_LIST_END};

static struct replication_message database_of(uint32_t number, const char *name)
{
    return (struct replication_message){
        .type = REPLICATION_DATABASE, .number = number, .name = {.data = name, .length = strlen(name)}};
}

static struct replication_message told(uint32_t attempt, uint64_t txid, int64_t echo_us)
{
    return (struct replication_message){.type = REPLICATION_POSITION,
                                        .number = 1,
                                        .attempt = attempt,
                                        .told = {.page_bytes = 4096,
                                                 .end = {.timeline = 1, .txid = txid, .checksum = FAKE_SUM(txid)},
                                                 .echo_us = echo_us}};
}

/* A whole file of 9 bytes. */
static struct replication_message file_of(uint32_t attempt, uint64_t min_txid, uint64_t max_txid)
{
    return (struct replication_message){.type = REPLICATION_FILE,
                                        .number = 1,
                                        .attempt = attempt,
                                        .file = {.flags = REPLICATION_FILE_FIRST | REPLICATION_FILE_LAST,
                                                 .min_txid = min_txid,
                                                 .max_txid = max_txid,
                                                 .timeline = 1,
                                                 .checksum = FAKE_SUM(max_txid),
                                                 .incarnation = 1001,
                                                 .total_bytes = 9,
                                                 .data = {.data = (const uint8_t *)"123456789", .length = 9}}};
}

static const struct replication_message heal = {
    .type = REPLICATION_HEAL,
    .number = 1,
    .attempt = 1,
    .heal = {.page_bytes = 4096, .page_count = 9, .position = {.timeline = 1, .txid = 7, .checksum = FAKE_SUM(7)}}};

/* Alive and Welcome are over; `shop` is announced, and its StartAt heard: attempt 1. */
static void open_talk(struct talk *talk)
{
    const struct replication_message database = database_of(1, "shop");
    talk_begin_with(talk, "");
    assert_int_equal(say(talk, &welcome), SQ_OK);
    assert_int_equal(hear(talk), REPLICATION_ALIVE);
    assert_int_equal(hear(talk), 0);
    assert_int_equal(say(talk, &database), SQ_OK);
    assert_int_equal(hear(talk), REPLICATION_START_AT);
    assert_true(talk->last.number == 1 && talk->last.attempt == 1);
}

/* The same with a local database at transaction `txid`; its first status is heard. */
static struct fake_copy *open_with(struct talk *talk, ltx_txid txid)
{
    talk_init(talk);
    struct fake_copy *copy = fake_store_add(&talk->store, "shop", txid, 5);
    open_talk(talk);
    assert_true(talk->last.start.is_known && talk->last.start.position.txid == txid);
    assert_int_equal(hear(talk), REPLICATION_STATUS);
    assert_int_equal(hear(talk), 0);
    return copy;
}

/* --- Beginning --- */

static void the_command_says_who_we_are(void **state)
{
    struct fake_store store;
    struct replication_command command;
    (void)state;
    fake_store_init(&store);
    store.identity = (struct repl_identity){.system_id = 3, .timeline = 4};
    repl_receiver_command(&store.store, &command);
    assert_true(command.kind == REPLICATION_START && command.version == 1);
    assert_true(command.system_id == 3 && command.timeline == 4);
}

static void a_group_and_a_timeline_are_adopted(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk);
    open_talk(&talk);
    assert_true(talk.store.identity.system_id == FAKE_SYSTEM && talk.store.identity.timeline == 5);
    assert_int_equal(say(&talk, &welcome), SQ_OK); /* may be said again */
    assert_int_equal(talk.store.adopt_count, 1);
    talk_end(&talk);
}

static void primaries_that_must_not_be_followed_are_refused(void **state)
{
    static const struct {
        struct repl_identity identity;
        struct replication_welcome welcome;
        sq_status status;
    } cases[] = {
        {{.system_id = 1, .timeline = 1}, {.version = 1, .system_id = 2, .timeline = 1}, SQ_INVALID},
        {{.system_id = 1, .timeline = 2}, {.version = 1, .system_id = 1, .timeline = 1}, SQ_INVALID},
        {{.system_id = 1, .timeline = 1}, {.version = 2, .system_id = 1, .timeline = 1}, SQ_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        talk_init(&talk);
        talk.store.identity = cases[i].identity;
        talk_begin_with(&talk, "");
        const struct replication_message message = {.type = REPLICATION_WELCOME, .welcome = cases[i].welcome};
        assert_int_equal(say(&talk, &message), cases[i].status);
        assert_int_equal(talk.store.adopt_count, 0);
        talk_end(&talk);
    }
}

static void nothing_is_done_before_welcome(void **state)
{
    const struct replication_message messages[] = {
        list_end, database_of(1, "shop"), told(1, 1, 0), file_of(1, 1, 1), {.type = REPLICATION_DROPPED, .number = 1}};
    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        struct talk talk;
        talk_init(&talk);
        fake_store_add(&talk.store, "shop", 3, 5);
        talk_begin_with(&talk, "");
        assert_int_equal(say(&talk, &messages[i]), SQ_PROTOCOL);
        assert_int_equal(talk.store.drop_count, 0);
        talk_end(&talk);
    }
}

static void a_newer_timeline_of_our_own_ends_it(void **state)
{
    struct talk talk;
    (void)state;
    open_with(&talk, 3);
    talk.store.identity.timeline = 6;
    assert_int_equal(run(&talk), SQ_INVALID);
    assert_int_equal(hear(&talk), REPLICATION_ALIVE); /* so that the primary learns of it */
    assert_int_equal(talk.last.pulse.timeline, 6);
    talk_end(&talk);
}

/* --- Following --- */

static void files_go_to_the_store_and_positions_come_back(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    const struct replication_message end = told(1, 5, 0);
    const struct replication_message file = file_of(1, 4, 5);
    assert_int_equal(say(&talk, &end), SQ_OK);
    assert_int_equal(say(&talk, &file), SQ_OK);
    assert_true(copy->file_count == 1 && copy->intent.max_txid == 5 && copy->appended == 9);
    assert_int_equal(hear(&talk), REPLICATION_STATUS);
    assert_true(talk.last.status.durable.txid == 5 && talk.last.status.durable.checksum == FAKE_SUM(5));
    assert_int_equal(talk.last.status.state, REPLICATION_STATE_FOLLOWING);
    assert_int_equal(talk.last.status.clock_us, talk.now_us);
    assert_int_equal(hear(&talk), 0);
    talk_end(&talk);
}

static void written_applied_and_durable_are_said_apart(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    const struct replication_message file = file_of(1, 4, 5);
    copy->is_manual = true;
    assert_int_equal(say(&talk, &file), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_STATUS);
    assert_true(talk.last.status.written.txid == 5 && talk.last.status.applied.txid == 3);
    copy->view.applied = copy->view.written;
    sq_waker_wake(copy->waker);
    assert_true(talk.waker.count > 0);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_STATUS);
    assert_true(talk.last.status.applied.txid == 5 && talk.last.status.durable.txid == 3);
    talk_end(&talk);
}

/* After compaction a file may begin before where we are. */
static void a_file_may_overlap(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    const struct replication_message file = file_of(1, 2, 5);
    assert_int_equal(say(&talk, &file), SQ_OK);
    assert_int_equal(copy->view.written.txid, 5);
    talk_end(&talk);
}

static void a_new_database_begins_with_nothing(void **state)
{
    struct talk talk;
    const struct replication_message timeline = {
        .type = REPLICATION_TIMELINE, .number = 1, .attempt = 1, .timeline = {.timeline = 1, .after_txid = 0}};
    const struct replication_message file = file_of(1, 1, 2);
    (void)state;
    talk_init(&talk);
    open_talk(&talk);
    assert_true(talk.last.start.is_known && talk.last.start.position.txid == 0 && talk.last.start.incarnation == 0);
    assert_int_equal(say(&talk, &timeline), SQ_OK);
    assert_int_equal(say(&talk, &file), SQ_OK);
    struct fake_copy *copy = fake_store_find(&talk.store, "shop");
    assert_true(copy->timeline_count == 1 && copy->view.written.txid == 2 && copy->view.incarnation == 1001);
    talk_end(&talk);
}

static void what_belongs_to_an_older_attempt_is_not_looked_at(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    copy->view.state = REPL_COPY_HEAL;
    sq_waker_wake(copy->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_START_AT);
    assert_true(talk.last.attempt == 2 && !talk.last.start.is_known && talk.last.start.position.txid == 3);
    const struct replication_message old[] = {file_of(1, 4, 5), file_of(1, 9, 9), heal, told(1, 9, 0)};
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        assert_int_equal(say(&talk, &old[i]), SQ_OK);
    assert_int_equal(copy->file_count, 0);
    talk_end(&talk);
}

/* --- Healing --- */

static struct replication_message heal_file(uint32_t attempt)
{
    struct replication_message message = file_of(attempt, 7, 7);
    message.file.flags |= REPLICATION_FILE_HEAL;
    message.file.total_bytes = 0;
    return message;
}

static void a_database_heals_and_follows(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    const struct replication_message file = heal_file(1);
    const struct replication_message next = file_of(1, 8, 8);
    assert_int_equal(say(&talk, &heal), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_STATUS); /* nothing is said of positions from now on */
    assert_true(talk.last.status.state == REPLICATION_STATE_HEALING && talk.last.status.durable.txid == 0);
    assert_int_equal(hear(&talk), REPLICATION_SUMS);
    assert_true(talk.last.sums.first_page == 1 && talk.last.sums.count == 5);
    assert_true(replication_sums_get(&talk.last.sums, 4) == FAKE_SUM(5));
    assert_int_equal(hear(&talk), REPLICATION_SUMS_END);
    assert_int_equal(talk.last.page_count, 5);
    assert_int_equal(hear(&talk), 0);
    assert_int_equal(say(&talk, &file), SQ_OK);
    assert_int_equal(copy->heal_count, 1);
    assert_int_equal(hear(&talk), REPLICATION_STATUS);
    assert_int_equal(talk.last.status.durable.txid, 7);
    assert_int_equal(say(&talk, &next), SQ_OK);
    assert_int_equal(copy->view.written.txid, 8);
    talk_end(&talk);
}

static void checksums_of_many_pages_stay_below_the_mark(void **state)
{
    struct talk talk;
    uint32_t pages = 0;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    copy->page_count = 100 * REPL_SUMS_COUNT_MAX + 1;
    assert_int_equal(say(&talk, &heal), SQ_OK);
    while (talk.last.type != REPLICATION_SUMS_END) {
        assert_true(sq_buf_length(&talk.out) <=
                    repl_receiver_defaults.high_water_bytes + (size_t)REPLICATION_MESSAGE_BYTES_MAX);
        if (hear(&talk) == REPLICATION_SUMS) {
            assert_int_equal(talk.last.sums.first_page, pages + 1);
            pages += (uint32_t)talk.last.sums.count;
        }
        assert_int_equal(run(&talk), SQ_OK);
    }
    assert_int_equal(pages, copy->page_count);
    talk_end(&talk);
}

/* A trouble between checksums and file: the store is told that no file comes. */
static void a_heal_that_is_given_up_is_told_to_the_store(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    const struct replication_message gone = {
        .type = REPLICATION_UNAVAILABLE, .number = 1, .attempt = 1, .reason = {.data = "no", .length = 2}};
    assert_int_equal(say(&talk, &heal), SQ_OK);
    assert_int_equal(copy->abort_count, 0);
    assert_int_equal(say(&talk, &gone), SQ_OK);
    assert_int_equal(copy->abort_count, 1);
    talk_end(&talk);
}

/* --- Troubles --- */

static void wait_for_start(struct talk *talk, int64_t after_us, uint32_t attempt)
{
    int64_t at_us = talk->now_us + after_us;
    while (talk->now_us < at_us) {
        assert_true(talk->deadline_us > talk->now_us);
        talk->now_us = talk->deadline_us < at_us ? talk->deadline_us : at_us;
        const struct replication_message keepalive = {.type = REPLICATION_KEEPALIVE};
        assert_int_equal(say(talk, &keepalive), SQ_OK);
        enum replication_type type = hear(talk);
        while (type == REPLICATION_ALIVE)
            type = hear(talk);
        assert_int_equal(type, talk->now_us < at_us ? 0 : REPLICATION_START_AT);
    }
    assert_int_equal(talk->last.attempt, attempt);
    while (hear(talk) != 0)
        continue;
}

static void a_full_disk_is_said_and_tried_again_less_and_less_often(void **state)
{
    static const int64_t waits_us[] = {1 * S, 1 * S, 2 * S, 4 * S, 8 * S, 16 * S, 30 * S, 30 * S};
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    for (uint32_t i = 0; i < sizeof(waits_us) / sizeof(waits_us[0]); i++) {
        copy->view.state = REPL_COPY_PAUSED;
        sq_waker_wake(copy->waker);
        assert_int_equal(run(&talk), SQ_OK);
        assert_int_equal(hear(&talk), REPLICATION_NOT_WANTED);
        assert_string_equal(talk.last.reason.data, "the disk is full");
        assert_int_equal(hear(&talk), 0);
        wait_for_start(&talk, waits_us[i], i + 2);
        assert_int_equal(copy->resume_count, i + 1);
    }
    talk_end(&talk);
}

static void a_failing_store_gives_the_file_up_and_begins_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct talk talk;
        struct fake_copy *copy = open_with(&talk, 3);
        const struct replication_message file = file_of(1, 4, 5);
        copy->begin_status = i == 0 ? SQ_IO : SQ_OK;
        copy->append_status = i == 1 ? SQ_IO : SQ_OK;
        copy->commit_status = i == 2 ? SQ_IO : SQ_OK;
        assert_int_equal(say(&talk, &file), SQ_OK);
        assert_int_equal(hear(&talk), REPLICATION_NOT_WANTED);
        assert_int_equal(copy->file_count, 0);
        assert_int_equal(say(&talk, &file), SQ_OK); /* was on its way */
        copy->begin_status = copy->append_status = copy->commit_status = SQ_OK;
        wait_for_start(&talk, S, 2);
        const struct replication_message again = file_of(2, 4, 5);
        assert_int_equal(say(&talk, &again), SQ_OK);
        assert_int_equal(copy->view.written.txid, 5);
        talk_end(&talk);
    }
}

static void a_failed_copy_is_opened_anew(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    copy->view.state = REPL_COPY_FAILED;
    sq_waker_wake(copy->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_NOT_WANTED);
    assert_null(copy->waker);
    copy->view.state = REPL_COPY_READY;
    wait_for_start(&talk, S, 2);
    assert_non_null(copy->waker);
    talk_end(&talk);
}

/* One that heals again and again is not allowed to do nothing else. */
static void the_second_heal_in_a_row_waits(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    copy->view.state = REPL_COPY_HEAL;
    sq_waker_wake(copy->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_START_AT);
    struct replication_message again = heal;
    again.attempt = 2;
    const struct replication_message file = heal_file(2);
    assert_int_equal(say(&talk, &again), SQ_OK);
    assert_int_equal(say(&talk, &file), SQ_OK);
    while (hear(&talk) != 0)
        continue;
    copy->view.state = REPL_COPY_HEAL;
    sq_waker_wake(copy->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_NOT_WANTED);
    wait_for_start(&talk, S, 3);
    talk_end(&talk);
}

static void a_store_without_room_stops_the_reading(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    const struct replication_message file = file_of(1, 4, 5);
    const struct replication_message next = file_of(1, 6, 6);
    copy->begin_status = SQ_BUSY;
    assert_int_equal(say(&talk, &file), SQ_OK);
    size_t waiting = sq_buf_length(&talk.in);
    assert_true(waiting > 0);
    for (int i = 0; i < 30; i++) { /* it is not the primary that is silent */
        talk.now_us += S;
        assert_int_equal(run(&talk), SQ_OK);
        assert_int_equal(hear(&talk), REPLICATION_ALIVE);
    }
    assert_int_equal(say(&talk, &next), SQ_OK);
    assert_int_equal(sq_buf_length(&talk.in), 2 * waiting);
    copy->begin_status = SQ_OK;
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(sq_buf_length(&talk.in), 0);
    assert_int_equal(copy->view.written.txid, 6);
    talk_end(&talk);
}

/* --- Databases come and go --- */

static void databases_without_a_primary_are_dropped_at_the_end_of_the_list(void **state)
{
    struct talk talk;
    const struct replication_message database = database_of(1, "shop");
    (void)state;
    talk_init(&talk);
    fake_store_add(&talk.store, "shop", 3, 5);
    fake_store_add(&talk.store, "shop_old", 3, 5);
    fake_store_add(&talk.store, "private", 3, 5);
    talk_begin_with(&talk, "shop*");
    assert_int_equal(say(&talk, &welcome), SQ_OK);
    assert_int_equal(say(&talk, &database), SQ_OK);
    assert_int_equal(talk.store.drop_count, 0);
    assert_false(repl_receiver_is_list_known(talk.receiver));
    assert_int_equal(say(&talk, &list_end), SQ_OK);
    assert_true(repl_receiver_is_list_known(talk.receiver));
    assert_int_equal(talk.store.drop_count, 1);
    assert_string_equal(talk.store.dropped, "shop_old");
    assert_int_equal(say(&talk, &list_end), SQ_PROTOCOL);
    talk_end(&talk);
}

static void a_dropped_database_is_dropped_here_and_its_name_free(void **state)
{
    struct talk talk;
    const struct replication_message dropped = {.type = REPLICATION_DROPPED, .number = 1};
    const struct replication_message anew = database_of(2, "shop");
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    struct replication_message file = file_of(1, 4, 5);
    file.file.flags = REPLICATION_FILE_FIRST;
    file.file.total_bytes = 100;
    assert_int_equal(say(&talk, &file), SQ_OK);
    assert_true(copy->has_file);
    assert_int_equal(say(&talk, &dropped), SQ_OK);
    assert_string_equal(talk.store.dropped, "shop");
    assert_int_equal(say(&talk, &anew), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_START_AT);
    assert_true(talk.last.number == 2 && talk.last.attempt == 2 && talk.last.start.position.txid == 0);
    talk_end(&talk);
}

static void unwanted_databases_are_refused_and_never_touched(void **state)
{
    struct talk talk;
    const struct replication_message databases[] = {database_of(1, "other"), database_of(2, "-odd")};
    const struct replication_message dropped = {.type = REPLICATION_DROPPED, .number = 1};
    (void)state;
    talk_init(&talk);
    fake_store_add(&talk.store, "other", 3, 5);
    talk_begin_with(&talk, "shop,-odd");
    assert_int_equal(say(&talk, &welcome), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_ALIVE);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(say(&talk, &databases[i]), SQ_OK);
        assert_int_equal(hear(&talk), REPLICATION_NOT_WANTED);
        assert_int_equal(talk.last.number, i + 1);
        assert_int_equal(hear(&talk), 0);
    }
    assert_int_equal(say(&talk, &dropped), SQ_OK);
    assert_int_equal(talk.store.drop_count, 0);
    talk_end(&talk);
}

/* --- Time --- */

static void a_silent_primary_is_asked_and_then_given_up(void **state)
{
    struct talk talk;
    sq_status status = SQ_OK;
    unsigned questions = 0;
    unsigned pulses = 0;
    (void)state;
    open_with(&talk, 3);
    int64_t begin_us = talk.now_us;
    while (status == SQ_OK) {
        assert_true(talk.deadline_us > talk.now_us);
        talk.now_us = talk.deadline_us;
        status = run(&talk);
        for (enum replication_type type = hear(&talk); type != 0; type = hear(&talk)) {
            pulses += type == REPLICATION_ALIVE;
            questions += type == REPLICATION_ALIVE && talk.last.pulse.is_answer_wanted;
        }
    }
    assert_int_equal(status, SQ_CLOSED);
    assert_int_equal(talk.now_us - begin_us, repl_receiver_defaults.timeout_us);
    assert_int_equal(questions, 1);
    assert_in_range(pulses, 9, 11);
    talk_end(&talk);
}

static void a_question_is_answered(void **state)
{
    struct talk talk;
    const struct replication_message question = {.type = REPLICATION_KEEPALIVE, .pulse = {.is_answer_wanted = true}};
    (void)state;
    open_with(&talk, 3);
    assert_int_equal(say(&talk, &question), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_ALIVE);
    assert_true(talk.last.pulse.clock_us == talk.now_us && talk.last.pulse.timeline == 5);
    repl_receiver_probe(talk.receiver);
    assert_true(talk.waker.count > 0);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(hear(&talk), REPLICATION_ALIVE);
    assert_true(talk.last.pulse.is_answer_wanted);
    talk_end(&talk);
}

static int64_t age(struct talk *talk)
{
    return repl_receiver_age_us(talk->receiver, "shop", talk->now_us);
}

static sq_status keepalive(struct talk *talk, int64_t echo_us, int64_t age_us)
{
    const struct replication_message message = {.type = REPLICATION_KEEPALIVE,
                                                .pulse = {.echo_us = echo_us, .age_us = age_us}};
    return say(talk, &message);
}

static void an_age_is_what_the_echoes_prove(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    int64_t t = talk.now_us;
    copy->is_manual = true;
    assert_true(age(&talk) == INT64_MAX);
    assert_int_equal(keepalive(&talk, t, 0), SQ_OK);
    assert_true(age(&talk) == INT64_MAX); /* the end of this database was not told yet */
    struct replication_message end = told(1, 3, t);
    assert_int_equal(say(&talk, &end), SQ_OK);
    assert_int_equal(age(&talk), 0);
    talk.now_us = t + 5 * S;
    assert_int_equal(age(&talk), 5 * S);
    assert_int_equal(keepalive(&talk, t + 4 * S, 0), SQ_OK);
    assert_int_equal(age(&talk), S);
    assert_int_equal(repl_receiver_age_us(talk.receiver, NULL, talk.now_us), S);
    /* There is more, as of an echo; what was known before stays true. */
    end = told(1, 5, t + 5 * S);
    assert_int_equal(say(&talk, &end), SQ_OK);
    assert_int_equal(keepalive(&talk, t + 5 * S, 0), SQ_OK);
    assert_int_equal(age(&talk), S);
    const struct replication_message file = file_of(1, 4, 5);
    assert_int_equal(say(&talk, &file), SQ_OK);
    assert_int_equal(age(&talk), S); /* not durable yet */
    copy->view.applied = copy->view.durable = copy->view.written;
    sq_waker_wake(copy->waker);
    assert_int_equal(run(&talk), SQ_OK);
    assert_int_equal(age(&talk), 0);
    /* A primary that is a replica itself is old, too; clocks that are not ours prove nothing. */
    talk.now_us = t + 9 * S;
    assert_int_equal(keepalive(&talk, t + 9 * S, S), SQ_OK);
    assert_int_equal(age(&talk), S);
    assert_int_equal(keepalive(&talk, t + 10 * S, 0), SQ_OK);
    assert_int_equal(keepalive(&talk, t + 9 * S, INT64_MAX), SQ_OK);
    assert_int_equal(age(&talk), S);
    assert_true(repl_receiver_age_us(talk.receiver, "nobody", talk.now_us) == INT64_MAX);
    talk_end(&talk);
}

static struct repl_receiver_figures seen_figures;
static void see(void *context, const struct repl_receiver_figures *figures)
{
    (void)context;
    seen_figures = *figures;
}

static void figures_say_what_is_going_on(void **state)
{
    struct talk talk;
    (void)state;
    struct fake_copy *copy = open_with(&talk, 3);
    struct replication_message file = file_of(1, 4, 5);
    file.file.flags = REPLICATION_FILE_FIRST;
    file.file.total_bytes = 100;
    const struct replication_message end = told(1, 5, talk.now_us);
    assert_int_equal(say(&talk, &end), SQ_OK);
    assert_int_equal(say(&talk, &file), SQ_OK);
    repl_receiver_each(talk.receiver, NULL, see);
    assert_string_equal(seen_figures.state, "following");
    assert_true(seen_figures.end.txid == 5 && seen_figures.durable.txid == 3 && seen_figures.number == 1);
    assert_true(seen_figures.received_bytes == 9 && seen_figures.expected_bytes == 100);
    copy->view.state = REPL_COPY_PAUSED;
    sq_waker_wake(copy->waker);
    assert_int_equal(run(&talk), SQ_OK);
    repl_receiver_each(talk.receiver, NULL, see);
    assert_string_equal(seen_figures.state, "paused");
    assert_string_equal(seen_figures.reason, "the disk is full");
    assert_int_equal(seen_figures.received_bytes, 0);
    talk_end(&talk);
}

/* --- Primaries that lie --- */

/* A database at transaction 3 of timeline 1, attempt 1; the primary is on timeline 5. */
static void lies_break_the_protocol(void **state)
{
    struct replication_message lies[] = {
        file_of(1, 5, 5), /* 0: a gap */
        file_of(1, 2, 3), /* nothing new */
        file_of(1, 4, 4), /* another timeline than what is written */
        file_of(1, 4, 4), /* another database */
        file_of(1, 4, 4), /* longer than it says */
        file_of(1, 4, 4), /* 5: shorter */
        file_of(1, 4, 4), /* no length */
        heal_file(1),     /* that nobody has asked for */
        file_of(2, 4, 4), /* an attempt that was not begun */
        {.type = REPLICATION_FILE, .number = 1, .attempt = 1, .file = {.offset = 9, .data = {(const uint8_t *)"x", 1}}},
        {.type = REPLICATION_TIMELINE,
         .number = 1,
         .attempt = 1,
         .timeline = {.timeline = 2, .after_txid = 2}}, /* 10 */
        {.type = REPLICATION_TIMELINE, .number = 1, .attempt = 1, .timeline = {.timeline = 1, .after_txid = 3}},
        {.type = REPLICATION_TIMELINE, .number = 1, .attempt = 1, .timeline = {.timeline = 6, .after_txid = 3}},
        database_of(1, "more"),                     /* a number twice */
        database_of(2, "shop"),                     /* a name twice */
        {.type = REPLICATION_DROPPED, .number = 2}, /* 15: what is not there */
        {.type = REPLICATION_UNAVAILABLE, .number = 2, .attempt = 1, .reason = {"", 0}},
    };
    (void)state;
    lies[2].file.timeline = 2;
    lies[3].file.incarnation = 7;
    lies[4].file.total_bytes = 8;
    lies[5].file.total_bytes = 10;
    lies[6].file.total_bytes = 0;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct talk talk;
        struct fake_copy *copy = open_with(&talk, 3);
        assert_int_equal(say(&talk, &lies[i]), SQ_PROTOCOL);
        assert_string_equal(talk.err.sqlstate, "08P01");
        assert_true(copy->file_count == 0 && copy->timeline_count == 0 && copy->view.written.txid == 3);
        assert_int_equal(talk.store.drop_count, 0);
        talk_end(&talk);
    }
}

static void lies_within_a_file_break_the_protocol(void **state)
{
    struct replication_message lies[] = {
        file_of(1, 4, 4),
        {.type = REPLICATION_FILE, .number = 1, .attempt = 1, .file = {.offset = 8, .data = {(const uint8_t *)"x", 1}}},
        {.type = REPLICATION_FILE,
         .number = 1,
         .attempt = 1,
         .file = {.flags = REPLICATION_FILE_HEAL, .offset = 9, .data = {(const uint8_t *)"x", 1}}},
        {.type = REPLICATION_FILE,
         .number = 1,
         .attempt = 1,
         .file = {.flags = REPLICATION_FILE_LAST, .offset = 9, .data = {(const uint8_t *)"x", 1}}},
        {.type = REPLICATION_FILE,
         .number = 1,
         .attempt = 1,
         .file = {.offset = 9, .data = {(const uint8_t *)"xxxx", 4}}},
        {.type = REPLICATION_TIMELINE, .number = 1, .attempt = 1, .timeline = {.timeline = 2, .after_txid = 3}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct talk talk;
        struct fake_copy *copy = open_with(&talk, 3);
        struct replication_message first = file_of(1, 4, 4);
        first.file.flags = REPLICATION_FILE_FIRST;
        first.file.total_bytes = 12;
        assert_int_equal(say(&talk, &first), SQ_OK);
        assert_int_equal(say(&talk, &lies[i]), SQ_PROTOCOL);
        assert_int_equal(copy->file_count, 0);
        talk_end(&talk);
    }
}

static void lies_while_healing_break_the_protocol(void **state)
{
    struct replication_message lies[] = {heal, file_of(1, 4, 4), heal_file(1), heal_file(1)};
    (void)state;
    lies[2].file.min_txid = 6;
    lies[3].file.timeline = 6;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct talk talk;
        struct fake_copy *copy = open_with(&talk, 3);
        assert_int_equal(say(&talk, &heal), SQ_OK);
        assert_int_equal(say(&talk, &lies[i]), SQ_PROTOCOL);
        assert_int_equal(copy->file_count, 0);
        talk_end(&talk);
    }
}

static void what_is_no_copy_data_is_dealt_with(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        sq_status status;
    } cases[] = {
        {"c\0\0\0\4", 5, SQ_CLOSED},
        {"S\0\0\0\10a\0b\0", 9, SQ_OK},
        {"N\0\0\0\5\0", 6, SQ_OK},
        {"Z\0\0\0\5I", 6, SQ_PROTOCOL},
        {"d\0\0\0\4", 5, SQ_PROTOCOL},
        {"d\0\0\0\5A", 6, SQ_PROTOCOL},
        {"d\0\0\0\3", 5, SQ_PROTOCOL},
        {"d\x7f\xff\xff\xff", 5, SQ_PROTOCOL},
        {"E\0\0\0\23C57P01\0Mgone\0\0\0\0", 20, SQ_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct talk talk;
        open_with(&talk, 3);
        sq_buf_put(&talk.in, cases[i].bytes, cases[i].length);
        assert_int_equal(run(&talk), cases[i].status);
        talk_end(&talk);
    }
    struct talk talk;
    open_with(&talk, 3);
    const struct pgwire_report report = {.sqlstate = "57P01", .message = "going down"};
    pgwire_put_error_response(&talk.in, &report);
    assert_int_equal(run(&talk), SQ_INVALID);
    assert_string_equal(talk.err.sqlstate, "57P01");
    assert_string_equal(talk.err.text, "the primary says: going down");
    talk_end(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_says_who_we_are),
        cmocka_unit_test(a_group_and_a_timeline_are_adopted),
        cmocka_unit_test(primaries_that_must_not_be_followed_are_refused),
        cmocka_unit_test(nothing_is_done_before_welcome),
        cmocka_unit_test(a_newer_timeline_of_our_own_ends_it),
        cmocka_unit_test(files_go_to_the_store_and_positions_come_back),
        cmocka_unit_test(written_applied_and_durable_are_said_apart),
        cmocka_unit_test(a_file_may_overlap),
        cmocka_unit_test(a_new_database_begins_with_nothing),
        cmocka_unit_test(what_belongs_to_an_older_attempt_is_not_looked_at),
        cmocka_unit_test(a_database_heals_and_follows),
        cmocka_unit_test(checksums_of_many_pages_stay_below_the_mark),
        cmocka_unit_test(a_heal_that_is_given_up_is_told_to_the_store),
        cmocka_unit_test(a_full_disk_is_said_and_tried_again_less_and_less_often),
        cmocka_unit_test(a_failing_store_gives_the_file_up_and_begins_anew),
        cmocka_unit_test(a_failed_copy_is_opened_anew),
        cmocka_unit_test(the_second_heal_in_a_row_waits),
        cmocka_unit_test(a_store_without_room_stops_the_reading),
        cmocka_unit_test(databases_without_a_primary_are_dropped_at_the_end_of_the_list),
        cmocka_unit_test(a_dropped_database_is_dropped_here_and_its_name_free),
        cmocka_unit_test(unwanted_databases_are_refused_and_never_touched),
        cmocka_unit_test(a_silent_primary_is_asked_and_then_given_up),
        cmocka_unit_test(a_question_is_answered),
        cmocka_unit_test(an_age_is_what_the_echoes_prove),
        cmocka_unit_test(figures_say_what_is_going_on),
        cmocka_unit_test(lies_break_the_protocol),
        cmocka_unit_test(lies_within_a_file_break_the_protocol),
        cmocka_unit_test(lies_while_healing_break_the_protocol),
        cmocka_unit_test(what_is_no_copy_data_is_dealt_with),
    };
    return cmocka_run_group_tests_name("repl/receiver", tests, NULL, NULL);
}
