/* Fuzzes replication. The first byte chooses:
 *   a message of the primary's, one of the replica's, a command: what is accepted is said again, a message byte for byte, a command with the
 *   same meaning;
 *   a whole conversation with a sender, or with a receiver: pieces (length, bytes) go in as CopyData, a length of 0 is followed by what happens on this side
 *   instead. The source and the store of tests/lib assert what they were promised; what is put out stays below its bound. */
#include <stdint.h>
#include <string.h>

#include "../lib/replication_fakes.h"
#include "base/buf.h"
#include "base/log.h"
#include "pgwire/replication.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 1 << 20 };

static void message(bool is_primary, const uint8_t *data, size_t size)
{
    struct replication_message message;
    struct sq_error err;
    sq_status status = is_primary ? replication_primary_decode(data, size, &err, &message)
                                  : replication_replica_decode(data, size, &err, &message);
    if (status != SQ_OK) {
        sq_assert(status == SQ_PROTOCOL && err.text[0] != '\0');
        return;
    }
    struct sq_buf buf;
    sq_buf_init(&buf, OUT_BYTES_MAX);
    replication_put(&buf, &message);
    sq_assert(!buf.is_failed && sq_buf_length(&buf) == PGWIRE_HEADER_BYTES + size);
    sq_assert(memcmp(sq_buf_bytes(&buf) + PGWIRE_HEADER_BYTES, data, size) == 0);
    sq_assert(strcmp(replication_name(message.type), "unknown") != 0);
    for (size_t i = 0; message.type == REPLICATION_SUMS && i < message.sums.count; i++)
        (void)replication_sums_get(&message.sums, i);
    sq_buf_done(&buf);
}

static void command(const char *text, size_t length)
{
    struct replication_command command;
    struct replication_command back;
    struct sq_error err;
    sq_status status = replication_command_parse(text, length, &err, &command);
    if (status != SQ_OK) {
        sq_assert(status == SQ_INVALID && strcmp(err.sqlstate, "42601") == 0);
        sq_assert(err.position > 0 && (size_t)err.position <= length + 1);
        return;
    }
    if (command.kind == REPLICATION_OTHER)
        return;
    struct sq_buf buf;
    sq_buf_init(&buf, OUT_BYTES_MAX);
    replication_put_command(&buf, &command);
    status = replication_command_parse((const char *)sq_buf_bytes(&buf), sq_buf_length(&buf), &err, &back);
    sq_assert(status == SQ_OK && back.kind == command.kind && back.system_id == command.system_id);
    sq_assert(back.timeline == command.timeline && back.version == command.version);
    sq_assert(strcmp(back.name, command.name) == 0 && strcmp(back.databases, command.databases) == 0);
    sq_buf_done(&buf);
}

/* --- Conversations --- */

enum { S = 1000 * 1000, FILE_BYTES = 3 * REPL_CHUNK_BYTES_MAX / 2 };

struct talk {
    const uint8_t *data;
    size_t size;
    struct sq_buf in;
    struct sq_buf out;
    int64_t now_us;
    int64_t deadline_us;
};

static uint8_t next_byte(struct talk *talk)
{
    if (talk->size == 0)
        return 0;
    talk->size--;
    return *talk->data++;
}

static void check_out(const struct talk *talk, size_t high_water_bytes)
{
    sq_assert(!talk->out.is_failed &&
              sq_buf_length(&talk->out) < high_water_bytes + REPLICATION_MESSAGE_BYTES_MAX + 4096);
}

/* The next piece goes into the input; 0: something happens here instead, which is returned. */
static uint8_t next_piece(struct talk *talk)
{
    size_t length = next_byte(talk);
    if (length == 0)
        return (uint8_t)(next_byte(talk) | 1);
    if (length > talk->size)
        length = talk->size;
    size_t offset = pgwire_begin(&talk->in, PGWIRE_COPY_DATA);
    sq_buf_put(&talk->in, talk->data, length);
    pgwire_end(&talk->in, offset);
    talk->data += length;
    talk->size -= length;
    return 0;
}

static void happen_to_source(struct talk *talk, struct fake_source *source, uint8_t what)
{
    struct fake_feed *feed = &source->feeds[what / 32 % 2];
    switch (what / 2 % 8) {
    case 0:
        talk->now_us += S;
        break;
    case 1:
        feed->view.state = (enum repl_feed_state)(what / 64 % 4);
        break;
    case 2:
        feed->state = REPL_EXCHANGE_FAILED;
        break;
    case 3:
        feed->view.begin = (struct wal_position){.timeline = 1, .txid = 2, .checksum = FAKE_SUM(2)};
        break;
    case 4:
        feed->entry.number += 2;
        sq_waker_wake(source->watcher);
        break;
    case 5:
        feed->wrong_read = feed->wrong_read == 0 ? 1 : 0;
        break;
    case 6:
        sq_buf_truncate(&talk->out, 0);
        break;
    default:
        source->identity.is_primary = !source->identity.is_primary;
        feed->view.age_us = source->identity.is_primary ? 0 : S;
    }
    if (feed->waker != NULL)
        sq_waker_wake(feed->waker);
}

static void talk_to_sender(struct talk *talk)
{
    const struct replication_command command = {.kind = REPLICATION_START, .version = 1, .name = "r"};
    struct fake_source source;
    struct fake_waker waker = FAKE_WAKER;
    struct repl_sender *sender = NULL;
    struct sq_error err;
    fake_source_init(&source);
    fake_source_add(&source, 1, "a", 3, FILE_BYTES);
    fake_source_add(&source, 2, "b", 0, 9);
    sq_status status = repl_sender_new(&source.source, &command, &repl_sender_defaults, &source.owner, &waker.waker,
                                       talk->now_us, &err, &sender);
    sq_assert(status == SQ_OK);
    while (status == SQ_OK && talk->size > 0) {
        uint8_t what = next_piece(talk);
        if (what != 0)
            happen_to_source(talk, &source, what);
        status = repl_sender_run(sender, talk->now_us, S, &talk->in, &talk->out, &err, &talk->deadline_us);
        sq_assert(status == SQ_OK || status == SQ_PROTOCOL || status == SQ_CLOSED || status == SQ_INVALID);
        sq_assert(status != SQ_OK || talk->deadline_us > talk->now_us);
        sq_assert(status != SQ_INVALID || source.newer_timeline > 1);
        check_out(talk, repl_sender_defaults.high_water_bytes);
        sq_assert(source.durable_count == 0 || (source.durable.txid > 0 && source.durable.txid <= 3));
    }
    repl_sender_free(sender);
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++)
        sq_assert(source.feeds[i].waker == NULL && !source.feeds[i].has_exchange);
}

static void happen_to_store(struct talk *talk, struct fake_store *store, uint8_t what)
{
    struct fake_copy *copy = &store->copies[what / 32 % 4];
    switch (what / 2 % 8) {
    case 0:
        talk->now_us += S;
        break;
    case 1:
        copy->view.state = (enum repl_copy_state)(what / 16 % 5);
        break;
    case 2:
        copy->begin_status = copy->begin_status == SQ_OK ? SQ_BUSY : SQ_OK;
        break;
    case 3:
        copy->append_status = copy->append_status == SQ_OK ? SQ_IO : SQ_OK;
        break;
    case 4:
        copy->commit_status = copy->commit_status == SQ_OK ? SQ_CORRUPT : SQ_OK;
        break;
    case 5:
        copy->is_manual = !copy->is_manual;
        break;
    case 6:
        sq_buf_truncate(&talk->out, 0);
        break;
    default:
        copy->page_count = what;
    }
    if (copy->waker != NULL)
        sq_waker_wake(copy->waker);
}

static void talk_to_receiver(struct talk *talk)
{
    struct repl_wanted wanted;
    struct fake_store store;
    struct fake_waker waker = FAKE_WAKER;
    struct repl_receiver *receiver = NULL;
    struct sq_error err;
    fake_store_init(&store);
    fake_store_add(&store, "a", 3, 5);
    fake_store_add(&store, "b", 0, 0);
    sq_status status = repl_wanted_parse("!c*", &err, &wanted);
    sq_assert(status == SQ_OK);
    status =
        repl_receiver_new(&store.store, &wanted, &repl_receiver_defaults, &waker.waker, talk->now_us, &err, &receiver);
    sq_assert(status == SQ_OK);
    while (status == SQ_OK && talk->size > 0) {
        uint8_t what = next_piece(talk);
        if (what != 0)
            happen_to_store(talk, &store, what);
        status = repl_receiver_run(receiver, talk->now_us, &talk->in, &talk->out, &err, &talk->deadline_us);
        sq_assert(status == SQ_OK || status == SQ_PROTOCOL || status == SQ_CLOSED || status == SQ_INVALID);
        sq_assert(status != SQ_OK || talk->deadline_us > talk->now_us);
        check_out(talk, repl_receiver_defaults.high_water_bytes);
    }
    repl_receiver_free(receiver);
    for (size_t i = 0; i < FAKE_DATABASES_MAX; i++)
        sq_assert(store.copies[i].waker == NULL && !store.copies[i].has_file);
}

static void conversation(bool is_sender, const uint8_t *data, size_t size)
{
    struct talk talk = {.data = data, .size = size, .now_us = 100 * S};
    struct sq_error err;
    static bool is_quiet;
    if (!is_quiet) {
        sq_status status = sq_log_open("/dev/null", &err);
        sq_assert(status == SQ_OK);
        is_quiet = true;
    }
    sq_buf_init(&talk.in, 1 << 22);
    sq_buf_init(&talk.out, 1 << 22);
    if (is_sender)
        talk_to_sender(&talk);
    else
        talk_to_receiver(&talk);
    sq_buf_done(&talk.in);
    sq_buf_done(&talk.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 5 == 2)
        command((const char *)data + 1, size - 1);
    else if (data[0] % 5 < 2)
        message(data[0] % 5 == 0, data + 1, size - 1);
    else
        conversation(data[0] % 5 == 3, data + 1, size - 1);
    return 0;
}
