/* The codec of replication (docs/replication-protocol.md): every message's bytes, cut off and lied about; the two commands. */
#include "codec_test.h"
#include "pgwire/replication.h"

typedef sq_status (*decode_fn)(const uint8_t *bytes, size_t length, struct sq_error *err,
                               struct replication_message *ret_message);

#define POSITION(a, b, c)                                                                                              \
    {                                                                                                                  \
        .timeline = (a), .txid = (b), .checksum = (c)                                                                  \
    }
#define POSITION_BYTES(a, b, c) "\0\0\0\0\0\0\0" a "\0\0\0\0\0\0\0" b "\x80\0\0\0\0\0\0" c
#define CHECK(c) (UINT64_C(1) << 63 | (c))
#define DATA(literal)                                                                                                  \
    {                                                                                                                  \
        .data = (const uint8_t *)(literal), .length = sizeof(literal) - 1                                              \
    }
#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        .data = (literal), .length = sizeof(literal) - 1                                                               \
    }

static const struct sample {
    decode_fn decode;
    struct replication_message message;
    const char *bytes; /* of the CopyData's content */
    size_t length;
    size_t open_from; /* from so many bytes on a cut message may be a good one; 0: never */
} samples[] = {
    {replication_primary_decode,
     {.type = REPLICATION_WELCOME,
      .welcome = {.version = 1, .system_id = 0x0102030405060708, .timeline = 3, .is_primary = true, .clock_us = 5}},
     BYTES("W\0\1\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\3\1\0\0\0\0\0\0\0\5"),
     0},
    {replication_primary_decode,
     {.type = REPLICATION_DATABASE, .number = 7, .name = TEXT("shop")},
     BYTES("D\0\0\0\7shop\0"),
     0},
    {replication_primary_decode, {.type = REPLICATION_LIST_END}, BYTES("L"), 0},
    {replication_primary_decode, {.type = REPLICATION_DROPPED, .number = 0x01000002}, BYTES("X\1\0\0\2"), 0},
    {replication_primary_decode,
     {.type = REPLICATION_POSITION,
      .number = 7,
      .attempt = 2,
      .told = {.page_bytes = 4096, .end = POSITION(1, 9, CHECK(2)), .clock_us = 3, .echo_us = 4, .age_us = INT64_MAX}},
     BYTES("P\0\0\0\7\0\0\0\2\0\0\x10\0" POSITION_BYTES(
         "\1", "\11", "\2") "\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\x7f\xff\xff\xff\xff\xff\xff\xff"),
     0},
    {replication_primary_decode,
     {.type = REPLICATION_TIMELINE, .number = 7, .attempt = 2, .timeline = {.timeline = 5, .after_txid = 6}},
     BYTES("T\0\0\0\7\0\0\0\2\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6"),
     0},
    {replication_primary_decode,
     {.type = REPLICATION_FILE,
      .number = 7,
      .attempt = 2,
      .file = {.flags = REPLICATION_FILE_FIRST | REPLICATION_FILE_LAST,
               .min_txid = 3,
               .max_txid = 4,
               .timeline = 1,
               .checksum = CHECK(9),
               .incarnation = 8,
               .total_bytes = 3,
               .data = DATA("abc")}},
     BYTES("F\0\0\0\7\0\0\0\2\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\1\x80\0\0\0\0\0\0\11"
           "\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0\3"
           "abc"),
     1 + 8 + 9 + 48},
    {replication_primary_decode,
     {.type = REPLICATION_FILE,
      .number = 7,
      .attempt = 2,
      .file = {.flags = REPLICATION_FILE_HEAL, .offset = 65536, .data = DATA("x")}},
     BYTES("F\0\0\0\7\0\0\0\2\4\0\0\0\0\0\1\0\0x"),
     1 + 8 + 9 + 1},
    {replication_primary_decode,
     {.type = REPLICATION_HEAL,
      .number = 7,
      .attempt = 2,
      .heal = {.page_bytes = 65536, .page_count = 0x102, .position = POSITION(1, 2, CHECK(3))}},
     BYTES("H\0\0\0\7\0\0\0\2\0\1\0\0\0\0\1\2" POSITION_BYTES("\1", "\2", "\3")),
     0},
    {replication_primary_decode,
     {.type = REPLICATION_UNAVAILABLE, .number = 7, .attempt = 2, .reason = TEXT("disk")},
     BYTES("U\0\0\0\7\0\0\0\2disk\0"),
     0},
    {replication_primary_decode,
     {.type = REPLICATION_KEEPALIVE, .pulse = {.clock_us = 1, .echo_us = 2, .age_us = 3, .is_answer_wanted = true}},
     BYTES("K\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\1"),
     0},
    {replication_replica_decode,
     {.type = REPLICATION_START_AT,
      .number = 7,
      .attempt = 1,
      .start = {.is_known = true, .position = POSITION(1, 2, CHECK(3)), .incarnation = 4}},
     BYTES("S\0\0\0\7\0\0\0\1\1" POSITION_BYTES("\1", "\2", "\3") "\0\0\0\0\0\0\0\4"),
     0},
    {replication_replica_decode,
     {.type = REPLICATION_SUMS,
      .number = 7,
      .attempt = 1,
      .sums = {.first_page = 5, .count = 2, .sums = DATA("abcdefghABCDEFGH")}},
     BYTES("C\0\0\0\7\0\0\0\1\0\0\0\5abcdefghABCDEFGH"),
     1 + 8 + 4 + 8},
    {replication_replica_decode,
     {.type = REPLICATION_SUMS_END, .number = 7, .attempt = 1, .page_count = 6},
     BYTES("E\0\0\0\7\0\0\0\1\0\0\0\6"),
     0},
    {replication_replica_decode,
     {.type = REPLICATION_NOT_WANTED, .number = 7, .reason = TEXT("")},
     BYTES("N\0\0\0\7\0"),
     0},
    {replication_replica_decode,
     {.type = REPLICATION_STATUS,
      .number = 7,
      .attempt = 1,
      .status = {.state = REPLICATION_STATE_HEALING,
                 .written = POSITION(1, 4, CHECK(4)),
                 .applied = POSITION(1, 3, CHECK(3)),
                 .durable = POSITION(1, 2, CHECK(2)),
                 .clock_us = 9}},
     BYTES("R\0\0\0\7\0\0\0\1\1" POSITION_BYTES("\1", "\4", "\4") POSITION_BYTES("\1", "\3", "\3")
               POSITION_BYTES("\1", "\2", "\2") "\0\0\0\0\0\0\0\11"),
     0},
    {replication_replica_decode,
     {.type = REPLICATION_ALIVE, .pulse = {.timeline = 4, .clock_us = 8, .is_answer_wanted = false}},
     BYTES("A\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\10\0"),
     0},
};
enum { SAMPLE_COUNT = sizeof(samples) / sizeof(samples[0]) };

static void assert_puts(const struct replication_message *message, const void *bytes, size_t length)
{
    struct sq_buf buf;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    replication_put(&buf, message);
    assert_false(buf.is_failed);
    struct pgwire_frame frame;
    size_t needed = 0;
    assert_int_equal(pgwire_frame_next(sq_buf_bytes(&buf), sq_buf_length(&buf), REPLICATION_MESSAGE_BYTES_MAX, NULL,
                                       &frame, &needed),
                     PGWIRE_FRAME_READY);
    assert_int_equal(frame.type, PGWIRE_COPY_DATA);
    assert_int_equal(frame.total_bytes, sq_buf_length(&buf));
    assert_int_equal(frame.body_length, length);
    assert_memory_equal(frame.body, bytes, length);
    sq_buf_done(&buf);
}

static void messages_have_the_bytes_of_the_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        const struct sample *sample = &samples[i];
        struct replication_message message;
        struct guarded copy = guarded_copy(sample->bytes, sample->length);
        assert_puts(&sample->message, sample->bytes, sample->length);
        assert_int_equal(sample->decode(copy.bytes, sample->length, NULL, &message), SQ_OK);
        assert_int_equal(message.type, sample->message.type);
        assert_int_equal(message.number, sample->message.number);
        assert_int_equal(message.attempt, sample->message.attempt);
        assert_puts(&message, sample->bytes, sample->length);
        guarded_free(&copy);
    }
}

static void cut_messages_and_longer_ones_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        const struct sample *sample = &samples[i];
        for (size_t length = 0; length <= sample->length + 1; length++) {
            uint8_t bytes[256] = {0};
            assert_true(sample->length < sizeof(bytes));
            memcpy(bytes, sample->bytes, sample->length);
            struct guarded copy = guarded_copy(bytes, length);
            struct replication_message message = {.number = 99};
            struct sq_error err;
            sq_status status = sample->decode(copy.bytes, length, &err, &message);
            if (length == sample->length) {
                assert_int_equal(status, SQ_OK);
            } else if (sample->open_from == 0 || length < sample->open_from) {
                assert_int_equal(status, SQ_PROTOCOL);
                assert_string_equal(err.sqlstate, "08P01");
                assert_int_equal(message.number, 99);
            } else if (status == SQ_OK) {
                assert_puts(&message, bytes, length);
            }
            guarded_free(&copy);
        }
    }
}

static void what_is_accepted_can_be_said_again(void **state)
{
    (void)state;
    static const uint8_t lies[] = {0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        const struct sample *sample = &samples[i];
        struct guarded copy = guarded_copy(sample->bytes, sample->length);
        for (size_t at = 1; at < sample->length; at++) {
            for (size_t j = 0; j < sizeof(lies); j++) {
                struct replication_message message;
                uint8_t truth = copy.bytes[at];
                copy.bytes[at] = lies[j];
                sq_status status = sample->decode(copy.bytes, sample->length, NULL, &message);
                assert_true(status == SQ_OK || status == SQ_PROTOCOL);
                if (status == SQ_OK)
                    assert_puts(&message, copy.bytes, sample->length);
                copy.bytes[at] = truth;
            }
        }
        guarded_free(&copy);
    }
}

static void a_side_does_not_take_what_it_says_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct replication_message message;
        decode_fn other =
            samples[i].decode == replication_primary_decode ? replication_replica_decode : replication_primary_decode;
        assert_int_equal(other((const uint8_t *)samples[i].bytes, samples[i].length, NULL, &message), SQ_PROTOCOL);
        assert_string_not_equal(replication_name(samples[i].message.type), "unknown");
    }
    assert_string_equal(replication_name((enum replication_type)0), "unknown");
    assert_string_equal(replication_name((enum replication_type)'~'), "unknown");
}

/* Limits, at which a message is good, and above which it is not. */
static void limits_hold(void **state)
{
    (void)state;
    static uint8_t bytes[REPLICATION_CHUNK_BYTES_MAX + 64];
    struct replication_message message;
    static const uint8_t file[] = {'F', 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5};
    memcpy(bytes, file, sizeof(file));
    size_t most = sizeof(file) + REPLICATION_CHUNK_BYTES_MAX;
    assert_int_equal(replication_primary_decode(bytes, most, NULL, &message), SQ_OK);
    assert_int_equal(message.file.data.length, REPLICATION_CHUNK_BYTES_MAX);
    assert_int_equal(replication_primary_decode(bytes, most + 1, NULL, &message), SQ_PROTOCOL);
    assert_int_equal(replication_primary_decode(bytes, sizeof(file), NULL, &message), SQ_PROTOCOL);

    static const uint8_t sums[] = {'C', 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfd};
    memcpy(bytes, sums, sizeof(sums));
    assert_int_equal(replication_replica_decode(bytes, sizeof(sums) + 16, NULL, &message), SQ_OK);
    assert_int_equal(message.sums.count, 2);
    assert_int_equal(replication_replica_decode(bytes, sizeof(sums) + 24, NULL, &message), SQ_PROTOCOL);
    bytes[9] = 0;
    most = sizeof(sums) + 8 * REPLICATION_SUMS_COUNT_MAX;
    assert_int_equal(replication_replica_decode(bytes, most, NULL, &message), SQ_OK);
    assert_int_equal(replication_replica_decode(bytes, most + 8, NULL, &message), SQ_PROTOCOL);

    char name[REPLICATION_NAME_MAX + 8] = "D\0\0\0\1";
    memset(name + 5, 'n', REPLICATION_NAME_MAX + 1);
    name[5 + REPLICATION_NAME_MAX] = '\0';
    assert_int_equal(replication_primary_decode((uint8_t *)name, 6 + REPLICATION_NAME_MAX, NULL, &message), SQ_OK);
    name[5 + REPLICATION_NAME_MAX] = 'n';
    assert_int_equal(replication_primary_decode((uint8_t *)name, 7 + REPLICATION_NAME_MAX, NULL, &message),
                     SQ_PROTOCOL);
}

/* Texts that are too long are cut, so that a long reason is not a broken message. */
static void long_reasons_are_cut(void **state)
{
    (void)state;
    static char reason[2 * REPLICATION_REASON_MAX];
    memset(reason, 'r', sizeof(reason));
    const struct replication_message message = {
        .type = REPLICATION_NOT_WANTED, .number = 1, .reason = {.data = reason, .length = sizeof(reason)}};
    struct replication_message back;
    struct sq_buf buf;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    replication_put(&buf, &message);
    assert_int_equal(replication_replica_decode(sq_buf_bytes(&buf) + PGWIRE_HEADER_BYTES,
                                                sq_buf_length(&buf) - PGWIRE_HEADER_BYTES, NULL, &back),
                     SQ_OK);
    assert_int_equal(back.reason.length, REPLICATION_REASON_MAX);
    sq_buf_done(&buf);
}

static void a_file_is_rendered_in_place(void **state)
{
    (void)state;
    const struct replication_message message = {
        .type = REPLICATION_FILE, .number = 1, .attempt = 1, .file = {.flags = REPLICATION_FILE_HEAL, .offset = 9}};
    struct replication_message back;
    struct sq_buf buf;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    sq_buf_put_text(&buf, "before");
    size_t offset = replication_put_begin(&buf, &message);
    sq_buf_put_text(&buf, "data");
    replication_set_file_flags(&buf, offset, REPLICATION_FILE_HEAL | REPLICATION_FILE_LAST);
    pgwire_end(&buf, offset);
    sq_buf_consume(&buf, 6);
    assert_int_equal(replication_primary_decode(sq_buf_bytes(&buf) + PGWIRE_HEADER_BYTES,
                                                sq_buf_length(&buf) - PGWIRE_HEADER_BYTES, NULL, &back),
                     SQ_OK);
    assert_int_equal(back.file.flags, REPLICATION_FILE_HEAL | REPLICATION_FILE_LAST);
    assert_int_equal(back.file.data.length, 4);
    sq_buf_done(&buf);
}

/* --- Commands --- */

static sq_status parse(const char *text, struct sq_error *err, struct replication_command *ret_command)
{
    struct guarded copy = guarded_copy(text, strlen(text));
    sq_status status = replication_command_parse((const char *)copy.bytes, strlen(text), err, ret_command);
    guarded_free(&copy);
    return status;
}

static void commands_are_read(void **state)
{
    (void)state;
    struct replication_command command;
    assert_int_equal(parse(" identify_system ;\n", NULL, &command), SQ_OK);
    assert_int_equal(command.kind, REPLICATION_IDENTIFY_SYSTEM);
    assert_int_equal(parse("START_REPLICATION LTX", NULL, &command), SQ_OK);
    assert_int_equal(command.kind, REPLICATION_START);
    assert_int_equal(command.version, REPLICATION_VERSION);
    assert_true(command.system_id == 0 && command.timeline == 0 && command.name[0] == '\0' &&
                command.databases[0] == '\0');
    assert_int_equal(parse("start_replication ltx();", NULL, &command), SQ_OK);
    assert_int_equal(
        parse("START_REPLICATION LTX (NAME 'it''s', timeline '9223372036854775807',SYSTEM '18446744073709551615' ,"
              "DATABASES 'a, b*' , VERSION '2')",
              NULL, &command),
        SQ_OK);
    assert_string_equal(command.name, "it's");
    assert_string_equal(command.databases, "a, b*");
    assert_true(command.system_id == UINT64_MAX && command.timeline == INT64_MAX && command.version == 2);
    static const char *const others[] = {"", ";", "SELECT 1", "IDENTIFY_SYSTEMS", "START_REPLICATION2", "SHOW x"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(parse(others[i], NULL, &command), SQ_OK);
        assert_int_equal(command.kind, REPLICATION_OTHER);
    }
}

static void commands_that_are_none_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int position;
    } bad[] = {
        {"IDENTIFY_SYSTEM 1", 17},
        {"START_REPLICATION", 18},
        {"START_REPLICATION 0/0", 19},
        {"START_REPLICATION LTX (", 24},
        {"START_REPLICATION LTX (NAME)", 28},
        {"START_REPLICATION LTX (NAME 'a)", 32},
        {"START_REPLICATION LTX (NAME 'a' TIMELINE '1')", 33},
        {"START_REPLICATION LTX (NAME 'a', NAME 'b')", 34},
        {"START_REPLICATION LTX (COLOUR 'a')", 24},
        {"START_REPLICATION LTX (TIMELINE '')", 33},
        {"START_REPLICATION LTX (TIMELINE '9223372036854775808')", 33},
        {"START_REPLICATION LTX (TIMELINE '-1')", 33},
        {"START_REPLICATION LTX (SYSTEM '18446744073709551616')", 31},
        {"START_REPLICATION LTX (VERSION '65536')", 32},
        {"START_REPLICATION LTX (VERSION '1x')", 32},
        {"START_REPLICATION LTX (NAME '1234567890123456789012345678901234567890123456789012345678901234')", 30},
        {"START_REPLICATION LTX () x", 26},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sq_error err;
        struct replication_command command = {.version = 77};
        assert_int_equal(parse(bad[i].text, &err, &command), SQ_INVALID);
        assert_string_equal(err.sqlstate, "42601");
        assert_int_equal(err.position, bad[i].position);
        assert_int_equal(command.version, 77);
    }
}

static void commands_come_back(void **state)
{
    (void)state;
    const struct replication_command command = {.kind = REPLICATION_START,
                                                .version = 1,
                                                .system_id = UINT64_MAX,
                                                .timeline = 12,
                                                .name = "o'brien''s",
                                                .databases = "a*,'b'"};
    struct replication_command back;
    struct sq_buf buf;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    replication_put_command(&buf, &command);
    assert_int_equal(replication_command_parse((const char *)sq_buf_bytes(&buf), sq_buf_length(&buf), NULL, &back),
                     SQ_OK);
    assert_int_equal(back.kind, command.kind);
    assert_true(back.system_id == command.system_id && back.timeline == command.timeline && back.version == 1);
    assert_string_equal(back.name, command.name);
    assert_string_equal(back.databases, command.databases);
    sq_buf_done(&buf);
}

static void identities_come_back_and_odd_ones_are_refused(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct pgwire_frame frame;
    uint64_t system_id = 0;
    uint64_t timeline = 0;
    size_t needed = 0;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    replication_put_identity(&buf, UINT64_MAX, 7, "0/0", NULL);
    assert_int_equal(pgwire_backend_frame_next(sq_buf_bytes(&buf), sq_buf_length(&buf), TEST_MESSAGE_BYTES_MAX, NULL,
                                               &frame, &needed),
                     PGWIRE_FRAME_READY);
    assert_int_equal(frame.type, PGWIRE_ROW_DESCRIPTION);
    sq_buf_consume(&buf, frame.total_bytes);
    assert_int_equal(pgwire_backend_frame_next(sq_buf_bytes(&buf), sq_buf_length(&buf), TEST_MESSAGE_BYTES_MAX, NULL,
                                               &frame, &needed),
                     PGWIRE_FRAME_READY);
    assert_int_equal(frame.type, PGWIRE_DATA_ROW);
    assert_int_equal(replication_identity_decode(&frame, NULL, &system_id, &timeline), SQ_OK);
    assert_true(system_id == UINT64_MAX && timeline == 7);
    sq_buf_done(&buf);

    static const char *const rows[][2] = {{NULL, "1"}, {"1", NULL}, {"", "1"}, {"0", "1"}, {"1", "9223372036854775808"},
                                          {"1x", "1"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t row = pgwire_put_data_row_begin(&buf, 2);
        for (size_t j = 0; j < 2; j++) {
            if (rows[i][j] == NULL)
                pgwire_put_null(&buf);
            else
                pgwire_put_value(&buf, rows[i][j], strlen(rows[i][j]));
        }
        pgwire_end(&buf, row);
        assert_int_equal(pgwire_backend_frame_next(sq_buf_bytes(&buf), sq_buf_length(&buf), TEST_MESSAGE_BYTES_MAX,
                                                   NULL, &frame, &needed),
                         PGWIRE_FRAME_READY);
        assert_int_equal(replication_identity_decode(&frame, NULL, &system_id, &timeline), SQ_PROTOCOL);
        sq_buf_done(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_have_the_bytes_of_the_page),
        cmocka_unit_test(cut_messages_and_longer_ones_are_refused),
        cmocka_unit_test(what_is_accepted_can_be_said_again),
        cmocka_unit_test(a_side_does_not_take_what_it_says_itself),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(long_reasons_are_cut),
        cmocka_unit_test(a_file_is_rendered_in_place),
        cmocka_unit_test(commands_are_read),
        cmocka_unit_test(commands_that_are_none_say_where),
        cmocka_unit_test(commands_come_back),
        cmocka_unit_test(identities_come_back_and_odd_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
