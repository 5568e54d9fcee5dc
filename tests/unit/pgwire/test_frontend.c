/* The messages of a client: golden bytes, truncations, lies, limits, round trips. */
#include "codec_test.h"
#include "pgwire/native.h"

static const struct side frontend = {.next = pgwire_frame_next, .recode = recode_frontend};

static void put_query(struct sq_buf *buf)
{
    pgwire_put_query(buf, "SELECT 1", 8);
}

static void put_empty_query(struct sq_buf *buf)
{
    pgwire_put_query(buf, NULL, 0);
}

static void put_parse(struct sq_buf *buf)
{
    size_t parse = pgwire_put_parse_begin(buf, "s1", "SELECT $1,$2", 12, 2);
    pgwire_put_oid(buf, 23);
    pgwire_put_oid(buf, 0);
    pgwire_end(buf, parse);
}

static void put_bind(struct sq_buf *buf)
{
    static const uint16_t formats[] = {PGWIRE_FORMAT_TEXT, PGWIRE_FORMAT_BINARY};
    static const uint16_t result_formats[] = {PGWIRE_FORMAT_BINARY};
    size_t bind = pgwire_put_bind_begin(buf, "p", "s1", formats, 2, 2);
    pgwire_put_value(buf, "abc", 3);
    pgwire_put_null(buf);
    pgwire_put_bind_end(buf, bind, result_formats, 1);
}

static void put_empty_bind(struct sq_buf *buf)
{
    pgwire_put_bind_end(buf, pgwire_put_bind_begin(buf, "", "", NULL, 0, 0), NULL, 0);
}

static void put_describe_statement(struct sq_buf *buf)
{
    pgwire_put_describe(buf, PGWIRE_TARGET_STATEMENT, "s1");
}

static void put_describe_portal(struct sq_buf *buf)
{
    pgwire_put_describe(buf, PGWIRE_TARGET_PORTAL, "");
}

static void put_close(struct sq_buf *buf)
{
    pgwire_put_close(buf, PGWIRE_TARGET_PORTAL, "p");
}

static void put_execute(struct sq_buf *buf)
{
    pgwire_put_execute(buf, "p", 100);
}

/* Native mode: what is in them is test_native.c's. */
static void put_native(struct sq_buf *buf)
{
    size_t offset = pgwire_begin(buf, PGWIRE_NATIVE);
    sq_buf_put_u8(buf, NATIVE_RESET);
    sq_buf_put_u32(buf, 7);
    pgwire_end(buf, offset);
}

static void put_native_call_answer(struct sq_buf *buf)
{
    size_t offset = pgwire_begin(buf, PGWIRE_NATIVE_CALL);
    sq_buf_put_u32(buf, 1);
    pgwire_end(buf, offset);
}

static void put_copy_data(struct sq_buf *buf)
{
    pgwire_put_copy_data(buf, "1\tone\n", 6);
}

static void put_copy_fail(struct sq_buf *buf)
{
    pgwire_put_copy_fail(buf, "stop");
}

static void put_password(struct sq_buf *buf)
{
    pgwire_put_password(buf, "secret");
}

static void put_sasl_initial(struct sq_buf *buf)
{
    pgwire_put_sasl_initial(buf, "SCRAM-SHA-256", "n,,n=,r=x", 9);
}

static void put_sasl_initial_bare(struct sq_buf *buf)
{
    pgwire_put_sasl_initial(buf, "X", NULL, 0);
}

static void put_sasl_initial_empty(struct sq_buf *buf)
{
    pgwire_put_sasl_initial(buf, "X", "", 0);
}

static void put_sasl_response(struct sq_buf *buf)
{
    pgwire_put_sasl_response(buf, "c=biws", 6);
}

static void put_function_call(struct sq_buf *buf)
{
    static const uint16_t formats[] = {PGWIRE_FORMAT_BINARY};
    size_t call = pgwire_put_function_call_begin(buf, 1598, formats, 1, 1);
    pgwire_put_value(buf, "\0\0\0\7", 4);
    pgwire_put_function_call_end(buf, call, PGWIRE_FORMAT_BINARY);
}

static const struct golden goldens[] = {
    {"Query",
     BYTES("Q\0\0\0\x0d"
           "SELECT 1\0"),
     put_query},
    {"Query, empty", BYTES("Q\0\0\0\x05\0"), put_empty_query},
    {"Parse",
     BYTES("P\0\0\0\x1e"
           "s1\0"
           "SELECT $1,$2\0"
           "\0\2"
           "\0\0\0\x17"
           "\0\0\0\0"),
     put_parse},
    {"Bind",
     BYTES("B\0\0\0\x20"
           "p\0"
           "s1\0"
           "\0\2\0\0\0\1"
           "\0\2\0\0\0\3"
           "abc"
           "\xff\xff\xff\xff"
           "\0\1\0\1"),
     put_bind},
    {"Bind, empty", BYTES("B\0\0\0\x0c\0\0\0\0\0\0\0\0"), put_empty_bind},
    {"Describe statement", BYTES("D\0\0\0\x08Ss1\0"), put_describe_statement},
    {"Describe portal", BYTES("D\0\0\0\x06P\0"), put_describe_portal},
    {"Close", BYTES("C\0\0\0\x07Pp\0"), put_close},
    {"Execute", BYTES("E\0\0\0\x0ap\0\0\0\0d"), put_execute},
    {"Flush", BYTES("H\0\0\0\4"), pgwire_put_flush},
    {"Sync", BYTES("S\0\0\0\4"), pgwire_put_sync},
    {"Terminate", BYTES("X\0\0\0\4"), pgwire_put_terminate},
    {"CopyDone", BYTES("c\0\0\0\4"), pgwire_put_copy_done},
    {"NativeRequest", BYTES("y\0\0\0\11\4\0\0\0\7"), put_native, .is_open = true},
    {"NativeCallAnswer", BYTES("r\0\0\0\10\0\0\0\1"), put_native_call_answer, .is_open = true},
    {"CopyData",
     BYTES("d\0\0\0\x0a"
           "1\tone\n"),
     put_copy_data, .is_open = true},
    {"CopyFail", BYTES("f\0\0\0\x09stop\0"), put_copy_fail},
    {"PasswordMessage", BYTES("p\0\0\0\x0bsecret\0"), put_password},
    {"SASLInitialResponse", BYTES("p\0\0\0\x1fSCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x"), put_sasl_initial,
     RECODE_SASL_INITIAL},
    {"SASLInitialResponse, none", BYTES("p\0\0\0\x0aX\0\xff\xff\xff\xff"), put_sasl_initial_bare, RECODE_SASL_INITIAL},
    {"SASLInitialResponse, empty", BYTES("p\0\0\0\x0aX\0\0\0\0\0"), put_sasl_initial_empty, RECODE_SASL_INITIAL},
    {"SASLResponse",
     BYTES("p\0\0\0\x0a"
           "c=biws"),
     put_sasl_response, RECODE_SASL_RESPONSE, .is_open = true},
    {"FunctionCall",
     BYTES("F\0\0\0\x18"
           "\0\0\x06\x3e"
           "\0\1\0\1"
           "\0\1\0\0\0\4\0\0\0\7"
           "\0\1"),
     put_function_call},
};

enum { GOLDEN_COUNT = sizeof(goldens) / sizeof(goldens[0]) };

static void writers_give_the_manuals_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++)
        golden_check_writer(&goldens[i]);
}

static void messages_survive_decoding_and_writing(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++)
        golden_check_reader(&frontend, &goldens[i]);
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        golden_check_stream_cuts(&frontend, &goldens[i]);
        golden_check_body_cuts(&frontend, &goldens[i]);
    }
}

static void a_lying_byte_does_no_harm(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++)
        golden_check_lies(&frontend, &goldens[i]);
}

static void goldens_cover_every_type(void **state)
{
    (void)state;
    for (unsigned type = 0; type <= UINT8_MAX; type++) {
        bool is_covered = false;
        for (size_t i = 0; i < GOLDEN_COUNT; i++)
            is_covered = is_covered || (uint8_t)goldens[i].bytes[0] == type;
        assert_int_equal(is_covered, strcmp(pgwire_frontend_name((uint8_t)type), "unknown") != 0);
    }
}

#define REFUSED(type, body)                                                                                            \
    side_check_refused(&frontend, (type), RECODE_PASSWORD, (body), sizeof(body) - 1, SQ_PROTOCOL, "08P01")
#define REFUSED_FORMAT(type, body)                                                                                     \
    side_check_refused(&frontend, (type), RECODE_PASSWORD, (body), sizeof(body) - 1, SQ_INVALID, "22023")

static void lying_counts_and_lengths_are_refused(void **state)
{
    (void)state;
    /* Parse: 65535 types announced, none or one there */
    REFUSED(PGWIRE_PARSE, "\0\0\xff\xff");
    REFUSED(PGWIRE_PARSE, "\0\0\xff\xff\0\0\0\x17");
    /* Bind: formats, values, result formats */
    REFUSED(PGWIRE_BIND, "\0\0\xff\xff\0\0\0\0");
    REFUSED(PGWIRE_BIND, "\0\0\0\0\xff\xff\0\0");
    REFUSED(PGWIRE_BIND, "\0\0\0\0\0\0\xff\xff");
    /* Bind: a value longer than the message, by one, by much, and with negative lengths other than -1 */
    REFUSED(PGWIRE_BIND, "\0\0\0\0\0\1\0\0\0\3\0\0");
    REFUSED(PGWIRE_BIND, "\0\0\0\0\0\1\x7f\xff\xff\xff\0\0");
    REFUSED(PGWIRE_BIND, "\0\0\0\0\0\1\xff\xff\xff\xfe\0\0");
    REFUSED(PGWIRE_BIND, "\0\0\0\0\0\1\x80\0\0\0\0\0");
    /* Bind: two formats for three parameters and for one */
    REFUSED(PGWIRE_BIND, "\0\0\0\2\0\0\0\0\0\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    REFUSED(PGWIRE_BIND, "\0\0\0\2\0\0\0\0\0\1\xff\xff\xff\xff\0\0");
    REFUSED(PGWIRE_FUNCTION_CALL, "\0\0\0\1\0\2\0\0\0\0\0\1\xff\xff\xff\xff\0\0");
    REFUSED(PGWIRE_FUNCTION_CALL, "\0\0\0\1\0\0\xff\xff\0\0");
    /* texts without an end, and a NUL too many */
    REFUSED(PGWIRE_QUERY, "SELECT 1");
    REFUSED(PGWIRE_QUERY, "SELECT 1\0;\0");
    REFUSED(PGWIRE_COPY_FAIL, "");
    /* a password that hides bytes behind its NUL */
    REFUSED(PGWIRE_PASSWORD, "secret\0x\0");
}

static void sasl_lengths_are_checked(void **state)
{
    (void)state;
    static const char too_long[] = "X\0\0\0\0\4abc";
    static const char negative[] = "X\0\xff\xff\xff\xfe";
    static const char bytes_after_none[] = "X\0\xff\xff\xff\xff!";
    side_check_refused(&frontend, PGWIRE_PASSWORD, RECODE_SASL_INITIAL, too_long, sizeof(too_long) - 1, SQ_PROTOCOL,
                       "08P01");
    side_check_refused(&frontend, PGWIRE_PASSWORD, RECODE_SASL_INITIAL, negative, sizeof(negative) - 1, SQ_PROTOCOL,
                       "08P01");
    side_check_refused(&frontend, PGWIRE_PASSWORD, RECODE_SASL_INITIAL, bytes_after_none, sizeof(bytes_after_none) - 1,
                       SQ_PROTOCOL, "08P01");
}

static void unknown_kinds_are_refused(void **state)
{
    (void)state;
    REFUSED(PGWIRE_DESCRIBE, "Xs1\0");
    REFUSED(PGWIRE_DESCRIBE, "ss1\0");
    REFUSED(PGWIRE_CLOSE, "\0s1\0");
    REFUSED(PGWIRE_CLOSE, "pp\0");
}

static void unknown_formats_are_refused_as_invalid(void **state)
{
    (void)state;
    REFUSED_FORMAT(PGWIRE_BIND, "\0\0\0\1\0\2\0\0\0\0");
    REFUSED_FORMAT(PGWIRE_BIND, "\0\0\0\1\xff\xff\0\0\0\0");
    REFUSED_FORMAT(PGWIRE_BIND, "\0\0\0\0\0\0\0\2\0\1\0\2");
    REFUSED_FORMAT(PGWIRE_FUNCTION_CALL, "\0\0\0\1\0\0\0\0\0\2");
    REFUSED_FORMAT(PGWIRE_FUNCTION_CALL, "\0\0\0\1\0\1\0\3\0\0\0\0");
}

static void a_failed_decode_leaves_its_result_untouched(void **state)
{
    (void)state;
    static const uint8_t body[] = "p\0s\0\0\0\xff\xff\0\0";
    struct pgwire_frame frame = {.type = PGWIRE_BIND, .body = body, .body_length = sizeof(body) - 1};
    struct pgwire_bind bind;
    struct pgwire_bind before;
    struct sq_error err;
    memset(&bind, 0x5a, sizeof(bind));
    memcpy(&before, &bind, sizeof(bind));
    assert_int_equal(pgwire_bind_decode(&frame, &err, &bind), SQ_PROTOCOL);
    assert_memory_equal(&bind, &before, sizeof(bind));

    frame.type = PGWIRE_DESCRIBE;
    struct pgwire_describe describe = {.kind = 0x5a};
    assert_int_equal(pgwire_describe_decode(&frame, &err, &describe), SQ_PROTOCOL);
    assert_int_equal(describe.kind, 0x5a);
}

static void bind_gives_each_value_and_format(void **state)
{
    (void)state;
    struct pgwire_frame frame = side_frame(&frontend, goldens[3].bytes, goldens[3].length);
    struct pgwire_bind bind;
    struct pgwire_value value = {.length = 99};
    struct sq_error err;
    assert_int_equal(pgwire_bind_decode(&frame, &err, &bind), SQ_OK);
    assert_string_equal(bind.portal.data, "p");
    assert_int_equal(bind.statement.length, 2);
    assert_int_equal(bind.parameters.count, 2);
    assert_int_equal(pgwire_formats_get(&bind.parameter_formats, 0), PGWIRE_FORMAT_TEXT);
    assert_int_equal(pgwire_formats_get(&bind.parameter_formats, 1), PGWIRE_FORMAT_BINARY);
    struct pgwire_values rest = bind.parameters;
    assert_true(pgwire_values_next(&rest, &value));
    assert_false(value.is_null);
    assert_int_equal(value.length, 3);
    assert_memory_equal(value.data, "abc", 3);
    assert_true(pgwire_values_next(&rest, &value));
    assert_true(value.is_null);
    assert_false(pgwire_values_next(&rest, &value));
    assert_int_equal(bind.parameters.count, 2); /* walking a copy leaves the list as it was */
}

static void format_lists_stand_for_none_one_or_each(void **state)
{
    (void)state;
    static const uint8_t codes[] = {0, 1, 0, 0, 0, 1};
    struct pgwire_formats none = {.count = 0};
    struct pgwire_formats one = {.count = 1, .codes = {codes, 2}};
    struct pgwire_formats three = {.count = 3, .codes = {codes, 6}};
    assert_int_equal(pgwire_formats_get(&none, 0), PGWIRE_FORMAT_TEXT);
    assert_int_equal(pgwire_formats_get(&one, 65535), PGWIRE_FORMAT_BINARY);
    assert_int_equal(pgwire_formats_get(&three, 1), PGWIRE_FORMAT_TEXT);
    assert_int_equal(pgwire_formats_get(&three, 2), PGWIRE_FORMAT_BINARY);
    assert_int_equal(pgwire_formats_get(&three, 3), PGWIRE_FORMAT_TEXT); /* behind the end */
    assert_true(pgwire_formats_fit(&none, 7) && pgwire_formats_fit(&one, 7) && pgwire_formats_fit(&one, 0));
    assert_true(pgwire_formats_fit(&three, 3));
    assert_false(pgwire_formats_fit(&three, 2) || pgwire_formats_fit(&three, 4));

    struct sq_error err;
    struct pgwire_bind bind = {.result_formats = three};
    assert_int_equal(pgwire_bind_check_results(&bind, 3, &err), SQ_OK);
    assert_int_equal(pgwire_bind_check_results(&bind, 4, &err), SQ_PROTOCOL);
    assert_string_equal(err.sqlstate, "08P01");
}

static void execute_takes_a_negative_limit_for_none(void **state)
{
    (void)state;
    static const struct {
        char body[6];
        uint32_t row_limit;
    } cases[] = {
        {"\0\0\0\0\0", 0},   {"\0\0\0\0\1", 1},         {"\0\x7f\xff\xff\xff", INT32_MAX},
        {"\0\x80\0\0\0", 0}, {"\0\xff\xff\xff\xff", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pgwire_frame frame = {.type = PGWIRE_EXECUTE, .body = (const uint8_t *)cases[i].body, .body_length = 5};
        struct pgwire_execute execute;
        struct sq_error err;
        assert_int_equal(pgwire_execute_decode(&frame, &err, &execute), SQ_OK);
        assert_int_equal(execute.row_limit, cases[i].row_limit);
    }
}

/* 65535 parameters, each with its format, and 65535 result formats: the most that Bind can say. */
static void the_largest_lists_are_read_and_written(void **state)
{
    (void)state;
    static uint16_t formats[PGWIRE_LIST_COUNT_MAX];
    struct sq_buf buf;
    struct sq_buf out;
    struct sq_error err;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    sq_buf_init(&out, TEST_BUF_BYTES_MAX);
    for (size_t i = 0; i < PGWIRE_LIST_COUNT_MAX; i++)
        formats[i] = i % 2;
    size_t bind = pgwire_put_bind_begin(&buf, "", "", formats, PGWIRE_LIST_COUNT_MAX, PGWIRE_LIST_COUNT_MAX);
    for (size_t i = 0; i < PGWIRE_LIST_COUNT_MAX; i++)
        pgwire_put_value(&buf, "x", i % 2);
    pgwire_put_bind_end(&buf, bind, formats, PGWIRE_LIST_COUNT_MAX);
    size_t parse = pgwire_put_parse_begin(&buf, "", "", 0, PGWIRE_LIST_COUNT_MAX);
    for (uint32_t i = 0; i < PGWIRE_LIST_COUNT_MAX; i++)
        pgwire_put_oid(&buf, i);
    pgwire_end(&buf, parse);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);

    for (size_t at = 0, i = 0; i < 2; i++) {
        struct pgwire_frame frame;
        size_t needed;
        assert_int_equal(pgwire_frame_next(sq_buf_bytes(&buf) + at, sq_buf_length(&buf) - at, TEST_MESSAGE_BYTES_MAX,
                                           &err, &frame, &needed),
                         PGWIRE_FRAME_READY);
        assert_int_equal(recode_frontend(&frame, RECODE_PASSWORD, &err, &out), SQ_OK);
        at += frame.total_bytes;
    }
    assert_int_equal(sq_buf_length(&out), sq_buf_length(&buf));
    assert_memory_equal(sq_buf_bytes(&out), sq_buf_bytes(&buf), sq_buf_length(&buf));
    sq_buf_done(&buf);
    sq_buf_done(&out);
}

static void longer_lists_fail_the_buffer(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_error err;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    size_t parse = pgwire_put_parse_begin(&buf, "", "", 0, PGWIRE_LIST_COUNT_MAX + 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    pgwire_end(&buf, parse);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_truncate(&buf, parse);
    pgwire_put_bind_begin(&buf, "", "", NULL, 0, PGWIRE_LIST_COUNT_MAX + 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_done(&buf);
}

static void texts_end_at_their_first_nul(void **state)
{
    (void)state;
    struct sq_buf buf;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    pgwire_put_query(&buf, "A\0B", 3);
    assert_int_equal(sq_buf_length(&buf), 7);
    assert_memory_equal(sq_buf_bytes(&buf), "Q\0\0\0\6A", 7);
    sq_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writers_give_the_manuals_bytes),
        cmocka_unit_test(messages_survive_decoding_and_writing),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(a_lying_byte_does_no_harm),
        cmocka_unit_test(goldens_cover_every_type),
        cmocka_unit_test(lying_counts_and_lengths_are_refused),
        cmocka_unit_test(sasl_lengths_are_checked),
        cmocka_unit_test(unknown_kinds_are_refused),
        cmocka_unit_test(unknown_formats_are_refused_as_invalid),
        cmocka_unit_test(a_failed_decode_leaves_its_result_untouched),
        cmocka_unit_test(bind_gives_each_value_and_format),
        cmocka_unit_test(format_lists_stand_for_none_one_or_each),
        cmocka_unit_test(execute_takes_a_negative_limit_for_none),
        cmocka_unit_test(the_largest_lists_are_read_and_written),
        cmocka_unit_test(longer_lists_fail_the_buffer),
        cmocka_unit_test(texts_end_at_their_first_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
