/* The borders of messages, and the first packet. */
#include "codec_test.h"

static enum pgwire_frame_result next(const char *bytes, size_t length, size_t max, struct sq_error *err,
                                     struct pgwire_frame *ret_frame, size_t *ret_needed)
{
    struct guarded copy = guarded_copy(bytes, length);
    enum pgwire_frame_result result = pgwire_frame_next(copy.bytes, length, max, err, ret_frame, ret_needed);
    guarded_free(&copy);
    return result;
}

static void check_bad(const char *bytes, size_t length, sq_status status, const char *sqlstate, const char *part)
{
    struct sq_error err;
    struct pgwire_frame frame;
    size_t needed;
    assert_int_equal(next(bytes, length, 64, &err, &frame, &needed), PGWIRE_FRAME_BAD);
    assert_int_equal(err.status, status);
    assert_string_equal(err.sqlstate, sqlstate);
    assert_non_null(strstr(err.text, part));
}

static void lengths_that_cannot_be_are_refused(void **state)
{
    (void)state;
    check_bad("Q\0\0\0\0", 5, SQ_PROTOCOL, "08P01", "invalid length 0 of a Query message");
    check_bad("Q\0\0\0\3", 5, SQ_PROTOCOL, "08P01", "invalid length 3");
    check_bad("Q\x80\0\0\0", 5, SQ_PROTOCOL, "08P01", "invalid length -2147483648");
    check_bad("Q\xff\xff\xff\xff", 5, SQ_PROTOCOL, "08P01", "invalid length -1");
}

static void unknown_types_are_refused_by_their_first_byte(void **state)
{
    (void)state;
    check_bad("Z", 1, SQ_PROTOCOL, "08P01", "unknown message type 'Z'");
    check_bad("\0", 1, SQ_PROTOCOL, "08P01", "unknown message type 0x00");
    check_bad("\x16\x03\x01\x02\x00", 5, SQ_PROTOCOL, "08P01", "unknown message type 0x16");
    struct sq_error err;
    struct pgwire_frame frame;
    size_t needed;
    static const uint8_t query[] = {'Q'};
    assert_int_equal(pgwire_backend_frame_next(query, 1, 64, &err, &frame, &needed), PGWIRE_FRAME_BAD);
    static const uint8_t ready[] = {'Z'};
    assert_int_equal(pgwire_backend_frame_next(ready, 1, 64, &err, &frame, &needed), PGWIRE_FRAME_NEED_MORE);
}

static void the_limit_counts_the_whole_message(void **state)
{
    (void)state;
    struct sq_error err;
    struct pgwire_frame frame;
    size_t needed = 0;
    static const char message[] = "Q\0\0\0\x09"
                                  "1234";
    assert_int_equal(next(message, 10, 9, &err, &frame, &needed), PGWIRE_FRAME_BAD); /* above */
    assert_int_equal(err.status, SQ_LIMIT);
    assert_string_equal(err.sqlstate, "54000");
    assert_int_equal(next(message, 5, 9, &err, &frame, &needed), PGWIRE_FRAME_BAD);     /* refused by its header */
    assert_int_equal(next(message, 10, 10, &err, &frame, &needed), PGWIRE_FRAME_READY); /* at */
    assert_int_equal(next(message, 10, 11, &err, &frame, &needed), PGWIRE_FRAME_READY); /* below */
    assert_int_equal(next(message, 9, 10, &err, &frame, &needed), PGWIRE_FRAME_NEED_MORE);
    assert_int_equal(needed, 10);
}

static void frames_follow_each_other(void **state)
{
    (void)state;
    static const char stream[] = "S\0\0\0\4"
                                 "Q\0\0\0\6x\0"
                                 "H\0\0";
    struct guarded copy = guarded_copy(stream, sizeof(stream) - 1);
    struct sq_error err;
    struct pgwire_frame frame;
    size_t needed = 0;
    size_t length = sizeof(stream) - 1;
    assert_int_equal(pgwire_frame_next(copy.bytes, length, 64, &err, &frame, &needed), PGWIRE_FRAME_READY);
    assert_int_equal(frame.type, PGWIRE_SYNC);
    assert_int_equal(frame.body_length, 0);
    assert_int_equal(frame.total_bytes, 5);
    assert_int_equal(pgwire_frame_next(copy.bytes + 5, length - 5, 64, &err, &frame, &needed), PGWIRE_FRAME_READY);
    assert_int_equal(frame.type, PGWIRE_QUERY);
    assert_ptr_equal(frame.body, copy.bytes + 10);
    assert_int_equal(frame.body_length, 2);
    assert_int_equal(pgwire_frame_next(copy.bytes + 12, length - 12, 64, &err, &frame, &needed),
                     PGWIRE_FRAME_NEED_MORE);
    assert_int_equal(needed, PGWIRE_HEADER_BYTES);
    guarded_free(&copy);
    assert_int_equal(pgwire_frame_next(NULL, 0, 64, &err, &frame, &needed), PGWIRE_FRAME_NEED_MORE);
}

/* --- The first packet --- */

#define STARTUP                                                                                                        \
    "\0\0\0\x20\0\3\0\0user\0alice\0_pq_.sqld\0"                                                                       \
    "1\0\0"
#define SSL_REQUEST "\0\0\0\x08\x04\xd2\x16\x2f"
#define GSSENC_REQUEST "\0\0\0\x08\x04\xd2\x16\x30"
#define CANCEL_REQUEST "\0\0\0\x10\x04\xd2\x16\x2e\1\2\3\4\xa1\xb2\xc3\xd4"

static enum pgwire_frame_result startup_next(const void *bytes, size_t length, struct sq_error *err,
                                             struct pgwire_startup_frame *ret_frame, size_t *ret_needed)
{
    struct guarded copy = guarded_copy(bytes, length);
    enum pgwire_frame_result result = pgwire_startup_next(copy.bytes, length, err, ret_frame, ret_needed);
    guarded_free(&copy);
    return result;
}

static void first_packets_are_sorted_and_survive(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        enum pgwire_startup_kind kind;
    } cases[] = {
        {STARTUP, sizeof(STARTUP) - 1, PGWIRE_STARTUP_MESSAGE},
        {SSL_REQUEST, sizeof(SSL_REQUEST) - 1, PGWIRE_STARTUP_SSL_REQUEST},
        {GSSENC_REQUEST, sizeof(GSSENC_REQUEST) - 1, PGWIRE_STARTUP_GSSENC_REQUEST},
        {CANCEL_REQUEST, sizeof(CANCEL_REQUEST) - 1, PGWIRE_STARTUP_CANCEL_REQUEST},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sq_error err;
        struct sq_buf out;
        struct pgwire_startup_frame frame;
        size_t needed = 0;
        for (size_t length = 0; length < cases[i].length; length++) {
            assert_int_equal(startup_next(cases[i].bytes, length, &err, &frame, &needed), PGWIRE_FRAME_NEED_MORE);
            assert_int_equal(needed, length < 8 ? 8 : cases[i].length);
        }
        struct guarded copy = guarded_copy(cases[i].bytes, cases[i].length);
        assert_int_equal(pgwire_startup_next(copy.bytes, cases[i].length, &err, &frame, &needed), PGWIRE_FRAME_READY);
        assert_int_equal(frame.kind, cases[i].kind);
        assert_int_equal(frame.total_bytes, cases[i].length);
        sq_buf_init(&out, TEST_BUF_BYTES_MAX);
        assert_int_equal(recode_startup(&frame, &err, &out), SQ_OK);
        assert_int_equal(sq_buf_length(&out), cases[i].length);
        assert_memory_equal(sq_buf_bytes(&out), cases[i].bytes, cases[i].length);
        guarded_free(&copy);
        sq_buf_done(&out);
    }
}

static void startup_parameters_are_found(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_error err;
    struct pgwire_startup_frame frame;
    struct pgwire_startup startup;
    struct pgwire_text value = {.data = "untouched"};
    size_t needed;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    size_t offset = pgwire_put_startup_begin(&buf, PGWIRE_VERSION_3_2);
    pgwire_put_startup_parameter(&buf, "user", "alice");
    pgwire_put_startup_parameter(&buf, "database", "one");
    pgwire_put_startup_parameter(&buf, "", "left out");
    pgwire_put_startup_parameter(&buf, "_pq_.x", "");
    pgwire_put_startup_parameter(&buf, "database", "two");
    pgwire_put_startup_end(&buf, offset);
    assert_int_equal(pgwire_startup_next(sq_buf_bytes(&buf), sq_buf_length(&buf), &err, &frame, &needed),
                     PGWIRE_FRAME_READY);
    assert_int_equal(pgwire_startup_decode(&frame, &err, &startup), SQ_OK);
    assert_int_equal(startup.version, PGWIRE_VERSION(3, 2));
    assert_int_equal(startup.parameters.count, 4);
    assert_int_equal(startup.option_count, 1);
    assert_false(pgwire_parameters_find(&startup.parameters, "use", &value));
    assert_string_equal(value.data, "untouched");
    assert_true(pgwire_parameters_find(&startup.parameters, "user", &value));
    assert_string_equal(value.data, "alice");
    assert_true(pgwire_parameters_find(&startup.parameters, "database", &value));
    assert_string_equal(value.data, "two"); /* the last one counts */
    assert_true(pgwire_parameters_find(&startup.parameters, "_pq_.x", &value));
    assert_int_equal(value.length, 0);
    sq_buf_done(&buf);
}

static void check_startup_bad(const void *bytes, size_t length, const char *sqlstate, const char *part)
{
    struct sq_error err;
    struct pgwire_startup_frame frame;
    size_t needed;
    assert_int_equal(startup_next(bytes, length, &err, &frame, &needed), PGWIRE_FRAME_BAD);
    assert_int_equal(err.status, SQ_PROTOCOL);
    assert_string_equal(err.sqlstate, sqlstate);
    assert_non_null(strstr(err.text, part));
}

static void first_packets_that_cannot_be_are_refused(void **state)
{
    (void)state;
    check_startup_bad("\0\0\0\7", 4, "08P01", "invalid length 7");
    check_startup_bad("\0\0\0\0", 4, "08P01", "invalid length 0");
    check_startup_bad("\0\1\0\1", 4, "08P01", "invalid length 65537");
    check_startup_bad("\xff\xff\xff\xff", 4, "08P01", "invalid length 4294967295");
    check_startup_bad("\0\0\0\x09\0\2\0\0", 8, "0A000", "unsupported frontend protocol 2.0");
    check_startup_bad("\0\0\0\x09\0\4\0\0", 8, "0A000", "unsupported frontend protocol 4.0");
    check_startup_bad("\0\0\0\x08\x04\xd2\x16\x31", 8, "08P01", "unknown request code 1234.5681");
    check_startup_bad("\0\0\0\x09\x04\xd2\x16\x2f", 8, "08P01", "encryption request");
    check_startup_bad("\0\0\0\x0c\x04\xd2\x16\x30", 8, "08P01", "encryption request");
}

static void other_protocols_are_named(void **state)
{
    (void)state;
    check_startup_bad("\x16\x03\x01\x02\x00\x01", 6, "08P01", "TLS ClientHello");
    check_startup_bad("GET / HTTP/1.1\r\n", 16, "08P01", "an HTTP request");
    check_startup_bad("POST", 4, "08P01", "an HTTP request");
    check_startup_bad("PRI * HTTP/2.0\r\n", 16, "08P01", "an HTTP request");
}

static void the_largest_startup_packet_is_taken(void **state)
{
    (void)state;
    static char value[PGWIRE_STARTUP_BYTES_MAX];
    struct sq_error err;
    struct sq_buf buf;
    struct pgwire_startup_frame frame;
    struct pgwire_startup startup;
    size_t needed;
    memset(value, 'v', sizeof(value) - 1);
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    /* length, version, "n\0", value, NUL, end */
    const size_t value_length = PGWIRE_STARTUP_BYTES_MAX - 4 - 4 - 2 - 1 - 1;
    size_t offset = pgwire_put_startup_begin(&buf, PGWIRE_VERSION_3_0);
    pgwire_put_startup_parameter(&buf, "n", value + sizeof(value) - 1 - value_length);
    pgwire_put_startup_end(&buf, offset);
    assert_int_equal(sq_buf_length(&buf), PGWIRE_STARTUP_BYTES_MAX);
    assert_int_equal(pgwire_startup_next(sq_buf_bytes(&buf), sq_buf_length(&buf), &err, &frame, &needed),
                     PGWIRE_FRAME_READY);
    assert_int_equal(pgwire_startup_decode(&frame, &err, &startup), SQ_OK);
    assert_int_equal(startup.parameters.count, 1);

    sq_buf_truncate(&buf, 0);
    offset = pgwire_put_startup_begin(&buf, PGWIRE_VERSION_3_0);
    pgwire_put_startup_parameter(&buf, "nn", value + sizeof(value) - 1 - value_length);
    pgwire_put_startup_end(&buf, offset);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_done(&buf);
}

/* Every cut of the body, and bytes behind its end. */
static void startup_bodies_must_end_where_they_say(void **state)
{
    (void)state;
    static const char body[] = "user\0alice\0_pq_.sqld\0"
                               "1\0\0";
    for (size_t length = 0; length < sizeof(body) + 3; length++) {
        char bytes[sizeof(body) + 3] = {0};
        memcpy(bytes, body, sizeof(body) - 1);
        struct guarded copy = guarded_copy(bytes, length);
        struct pgwire_startup_frame frame = {
            .kind = PGWIRE_STARTUP_MESSAGE, .code = PGWIRE_VERSION_3_0, .body = copy.bytes, .body_length = length};
        struct pgwire_startup startup = {.option_count = 99};
        struct sq_error err;
        if (length == sizeof(body) - 1) {
            assert_int_equal(pgwire_startup_decode(&frame, &err, &startup), SQ_OK);
            assert_int_equal(startup.parameters.count, 2);
        } else {
            assert_int_equal(pgwire_startup_decode(&frame, &err, &startup), SQ_PROTOCOL);
            assert_int_equal(startup.option_count, 99);
        }
        guarded_free(&copy);
    }
    struct pgwire_startup_frame empty = {
        .kind = PGWIRE_STARTUP_MESSAGE, .code = PGWIRE_VERSION_3_0, .body = (const uint8_t *)"", .body_length = 1};
    struct pgwire_startup startup;
    struct sq_error err;
    assert_int_equal(pgwire_startup_decode(&empty, &err, &startup), SQ_OK);
    assert_int_equal(startup.parameters.count, 0);
}

static void cancel_secrets_have_limits(void **state)
{
    (void)state;
    static const uint8_t body[4 + PGWIRE_SECRET_BYTES_MAX + 1] = {0, 0, 0, 9};
    for (size_t length = 0; length <= sizeof(body); length++) {
        struct guarded copy = guarded_copy(body, length);
        struct pgwire_startup_frame frame = {.kind = PGWIRE_STARTUP_CANCEL_REQUEST,
                                             .code = PGWIRE_CANCEL_REQUEST_CODE,
                                             .body = copy.bytes,
                                             .body_length = length};
        struct pgwire_cancel cancel;
        struct sq_error err;
        if (length >= 8 && length <= 4 + PGWIRE_SECRET_BYTES_MAX) {
            assert_int_equal(pgwire_cancel_decode(&frame, &err, &cancel), SQ_OK);
            assert_int_equal(cancel.pid, 9);
            assert_int_equal(cancel.secret.length, length - 4);
        } else {
            assert_int_equal(pgwire_cancel_decode(&frame, &err, &cancel), SQ_PROTOCOL);
        }
        guarded_free(&copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_that_cannot_be_are_refused),
        cmocka_unit_test(unknown_types_are_refused_by_their_first_byte),
        cmocka_unit_test(the_limit_counts_the_whole_message),
        cmocka_unit_test(frames_follow_each_other),
        cmocka_unit_test(first_packets_are_sorted_and_survive),
        cmocka_unit_test(startup_parameters_are_found),
        cmocka_unit_test(first_packets_that_cannot_be_are_refused),
        cmocka_unit_test(other_protocols_are_named),
        cmocka_unit_test(the_largest_startup_packet_is_taken),
        cmocka_unit_test(startup_bodies_must_end_where_they_say),
        cmocka_unit_test(cancel_secrets_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
