/* The messages of a server: golden bytes, truncations, lies, limits, round trips. */
#include "codec_test.h"
#include "pgwire/native.h"

static const struct side backend = {.next = pgwire_backend_frame_next, .recode = side_recode_backend};

static void put_sasl(struct sq_buf *buf)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-256-PLUS", "", "SCRAM-SHA-256"};
    pgwire_put_authentication_sasl(buf, mechanisms, 3);
}

static void put_sasl_continue(struct sq_buf *buf)
{
    pgwire_put_authentication_sasl_continue(buf, "r=x", 3);
}

static void put_sasl_final(struct sq_buf *buf)
{
    pgwire_put_authentication_sasl_final(buf, "v=y", 3);
}

static void put_parameter_status(struct sq_buf *buf)
{
    pgwire_put_parameter_status(buf, "server_encoding", "UTF8");
}

static void put_backend_key_data(struct sq_buf *buf)
{
    pgwire_put_backend_key_data(buf, 0x01020304, "\xa1\xb2\xc3\xd4", 4);
}

static void put_negotiate(struct sq_buf *buf)
{
    size_t negotiate = pgwire_put_negotiate_begin(buf, PGWIRE_VERSION_3_0, 2);
    pgwire_put_negotiate_option(buf, "_pq_.a", 6);
    pgwire_put_negotiate_option(buf, "_pq_.b", 6);
    pgwire_end(buf, negotiate);
}

static void put_ready(struct sq_buf *buf)
{
    pgwire_put_ready_for_query(buf, PGWIRE_TRANSACTION_IDLE);
}

static void put_row_description(struct sq_buf *buf)
{
    size_t description = pgwire_put_row_description_begin(buf, 2);
    pgwire_put_field(buf, &(struct pgwire_field){.name = "id",
                                                 .name_length = 2,
                                                 .table_oid = 16384,
                                                 .column_attnum = 1,
                                                 .type_oid = 20,
                                                 .type_size = 8,
                                                 .type_modifier = -1,
                                                 .format = PGWIRE_FORMAT_BINARY});
    pgwire_put_field(buf, &(struct pgwire_field){
                              .name = "x\0y", .name_length = 3, .type_oid = 25, .type_size = -1, .type_modifier = -1});
    pgwire_end(buf, description);
}

static void put_parameter_description(struct sq_buf *buf)
{
    size_t description = pgwire_put_parameter_description_begin(buf, 2);
    pgwire_put_oid(buf, 23);
    pgwire_put_oid(buf, 25);
    pgwire_end(buf, description);
}

static void put_data_row(struct sq_buf *buf)
{
    size_t row = pgwire_put_data_row_begin(buf, 4);
    pgwire_put_value(buf, "42", 2);
    pgwire_put_null(buf);
    pgwire_put_value(buf, NULL, 0);
    size_t value = pgwire_value_begin(buf);
    sq_buf_printf(buf, "%d", 43);
    pgwire_value_end(buf, value);
    pgwire_end(buf, row);
}

static void put_empty_data_row(struct sq_buf *buf)
{
    pgwire_end(buf, pgwire_put_data_row_begin(buf, 0));
}

static void put_command_complete(struct sq_buf *buf)
{
    pgwire_put_command_complete(buf, "CREATE TABLE");
}

static void put_command_complete_zero(struct sq_buf *buf)
{
    pgwire_put_command_complete_count(buf, "INSERT 0", 0);
}

static void put_command_complete_largest(struct sq_buf *buf)
{
    pgwire_put_command_complete_count(buf, "SELECT", UINT64_MAX);
}

static void put_function_call_response(struct sq_buf *buf)
{
    size_t response = pgwire_put_function_call_response_begin(buf);
    pgwire_put_value(buf, "ok", 2);
    pgwire_end(buf, response);
}

static void put_function_call_response_null(struct sq_buf *buf)
{
    size_t response = pgwire_put_function_call_response_begin(buf);
    pgwire_put_null(buf);
    pgwire_end(buf, response);
}

static void put_copy_in(struct sq_buf *buf)
{
    pgwire_put_copy_in_response(buf, PGWIRE_FORMAT_TEXT, 2);
}

static void put_copy_out(struct sq_buf *buf)
{
    pgwire_put_copy_out_response(buf, PGWIRE_FORMAT_BINARY, 1);
}

static void put_copy_both(struct sq_buf *buf)
{
    pgwire_put_copy_both_response(buf, PGWIRE_FORMAT_TEXT, 0);
}

/* Native mode: what is in them is test_native.c's. */
static void put_native(struct sq_buf *buf)
{
    const struct native_answer answer = {.is_autocommit = true, .changes = 1, .generation = 2};
    size_t offset = pgwire_begin(buf, PGWIRE_NATIVE);
    native_put_answer(buf, &answer);
    pgwire_end(buf, offset);
}

static void put_native_call(struct sq_buf *buf)
{
    size_t offset = pgwire_begin(buf, PGWIRE_NATIVE_CALL);
    sq_buf_put_u8(buf, NATIVE_CALL_COMMIT);
    pgwire_end(buf, offset);
}

static void put_copy_data(struct sq_buf *buf)
{
    pgwire_put_copy_data(buf, NULL, 0);
}

static void put_error(struct sq_buf *buf)
{
    pgwire_put_error_response(
        buf,
        &(struct pgwire_report){.severity = "ERROR", .sqlstate = "42601", .message = "syntax error", .position = 7});
}

static void put_full_error(struct sq_buf *buf)
{
    pgwire_put_error_response(buf, &(struct pgwire_report){.severity = "FEHLER",
                                                           .severity_fixed = "ERROR",
                                                           .sqlstate = "23505",
                                                           .message = "m",
                                                           .detail = "d",
                                                           .hint = "h",
                                                           .internal_query = "q",
                                                           .where = "w",
                                                           .schema = "s",
                                                           .table = "t",
                                                           .column = "c",
                                                           .datatype = "y",
                                                           .constraint = "n",
                                                           .file = "f",
                                                           .routine = "r",
                                                           .position = 4294967295,
                                                           .internal_position = 2,
                                                           .line = 10});
}

static void put_notice(struct sq_buf *buf)
{
    pgwire_put_notice_response(buf, &(struct pgwire_report){.message = "hi"});
}

static void put_notification(struct sq_buf *buf)
{
    pgwire_put_notification(buf, 7, "chan", "hi");
}

static const struct golden goldens[] = {
    {"AuthenticationOk", BYTES("R\0\0\0\x08\0\0\0\0"), pgwire_put_authentication_ok},
    {"AuthenticationCleartextPassword", BYTES("R\0\0\0\x08\0\0\0\3"), pgwire_put_authentication_cleartext_password},
    {"AuthenticationSASL", BYTES("R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), put_sasl},
    {"AuthenticationSASLContinue", BYTES("R\0\0\0\x0b\0\0\0\x0br=x"), put_sasl_continue, .is_open = true,
     .open_from = 4},
    {"AuthenticationSASLFinal", BYTES("R\0\0\0\x0b\0\0\0\x0cv=y"), put_sasl_final, .is_open = true, .open_from = 4},
    {"ParameterStatus", BYTES("S\0\0\0\x19server_encoding\0UTF8\0"), put_parameter_status},
    {"BackendKeyData", BYTES("K\0\0\0\x0c\1\2\3\4\xa1\xb2\xc3\xd4"), put_backend_key_data, .is_open = true,
     .open_from = 8},
    {"NegotiateProtocolVersion", BYTES("v\0\0\0\x1a\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b\0"), put_negotiate},
    {"ReadyForQuery", BYTES("Z\0\0\0\5I"), put_ready},
    {"RowDescription",
     BYTES("T\0\0\0\x2f\0\2"
           "id\0"
           "\0\0\x40\0"
           "\0\1"
           "\0\0\0\x14"
           "\0\x08"
           "\xff\xff\xff\xff"
           "\0\1"
           "x\0"
           "\0\0\0\0"
           "\0\0"
           "\0\0\0\x19"
           "\xff\xff"
           "\xff\xff\xff\xff"
           "\0\0"),
     put_row_description},
    {"ParameterDescription", BYTES("t\0\0\0\x0e\0\2\0\0\0\x17\0\0\0\x19"), put_parameter_description},
    {"DataRow",
     BYTES("D\0\0\0\x1a\0\4"
           "\0\0\0\2"
           "42"
           "\xff\xff\xff\xff"
           "\0\0\0\0"
           "\0\0\0\2"
           "43"),
     put_data_row},
    {"DataRow, empty", BYTES("D\0\0\0\6\0\0"), put_empty_data_row},
    {"CommandComplete",
     BYTES("C\0\0\0\x11"
           "CREATE TABLE\0"),
     put_command_complete},
    {"CommandComplete, zero", BYTES("C\0\0\0\x0fINSERT 0 0\0"), put_command_complete_zero},
    {"CommandComplete, largest", BYTES("C\0\0\0\x20SELECT 18446744073709551615\0"), put_command_complete_largest},
    {"ParseComplete", BYTES("1\0\0\0\4"), pgwire_put_parse_complete},
    {"BindComplete", BYTES("2\0\0\0\4"), pgwire_put_bind_complete},
    {"CloseComplete", BYTES("3\0\0\0\4"), pgwire_put_close_complete},
    {"NoData", BYTES("n\0\0\0\4"), pgwire_put_no_data},
    {"PortalSuspended", BYTES("s\0\0\0\4"), pgwire_put_portal_suspended},
    {"EmptyQueryResponse", BYTES("I\0\0\0\4"), pgwire_put_empty_query_response},
    {"FunctionCallResponse", BYTES("V\0\0\0\x0a\0\0\0\2ok"), put_function_call_response},
    {"FunctionCallResponse, NULL", BYTES("V\0\0\0\x08\xff\xff\xff\xff"), put_function_call_response_null},
    {"CopyInResponse", BYTES("G\0\0\0\x0b\0\0\2\0\0\0\0"), put_copy_in},
    {"CopyOutResponse", BYTES("H\0\0\0\x09\1\0\1\0\1"), put_copy_out},
    {"CopyBothResponse", BYTES("W\0\0\0\7\0\0\0"), put_copy_both},
    {"CopyData", BYTES("d\0\0\0\4"), put_copy_data, .is_open = true},
    {"NativeAnswer", BYTES("y\0\0\0*\0\0\0\0\1\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"),
     put_native, .is_open = true},
    {"NativeCall", BYTES("r\0\0\0\5\6"), put_native_call, .is_open = true},
    {"CopyDone", BYTES("c\0\0\0\4"), pgwire_put_copy_done},
    {"ErrorResponse", BYTES("E\0\0\0\x2bSERROR\0VERROR\0C42601\0Msyntax error\0P7\0\0"), put_error},
    {"ErrorResponse, all fields",
     BYTES("E\0\0\0\x52SFEHLER\0VERROR\0C23505\0Mm\0Dd\0Hh\0qq\0Ww\0ss\0tt\0cc\0dy\0nn\0Ff\0Rr\0P4294967295\0p2\0L10\0"
           "\0"),
     put_full_error},
    {"NoticeResponse", BYTES("N\0\0\0\x20SNOTICE\0VNOTICE\0C00000\0Mhi\0\0"), put_notice},
    {"NotificationResponse", BYTES("A\0\0\0\x10\0\0\0\7chan\0hi\0"), put_notification},
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
        golden_check_reader(&backend, &goldens[i]);
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        golden_check_stream_cuts(&backend, &goldens[i]);
        golden_check_body_cuts(&backend, &goldens[i]);
    }
}

static void a_lying_byte_does_no_harm(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++)
        golden_check_lies(&backend, &goldens[i]);
}

static void goldens_cover_every_type(void **state)
{
    (void)state;
    for (unsigned type = 0; type <= UINT8_MAX; type++) {
        bool is_covered = false;
        for (size_t i = 0; i < GOLDEN_COUNT; i++)
            is_covered = is_covered || (uint8_t)goldens[i].bytes[0] == type;
        assert_int_equal(is_covered, strcmp(pgwire_backend_name((uint8_t)type), "unknown") != 0);
    }
}

#define REFUSED(type, body)                                                                                            \
    side_check_refused(&backend, (type), RECODE_PASSWORD, (body), sizeof(body) - 1, SQ_PROTOCOL, "08P01")

static void lying_counts_and_lengths_are_refused(void **state)
{
    (void)state;
    REFUSED(PGWIRE_ROW_DESCRIPTION, "\xff\xff");
    REFUSED(PGWIRE_ROW_DESCRIPTION, "\0\2x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    REFUSED(PGWIRE_PARAMETER_DESCRIPTION, "\xff\xff\0\0\0\x17");
    REFUSED(PGWIRE_DATA_ROW, "\xff\xff\xff\xff\xff\xff");
    REFUSED(PGWIRE_DATA_ROW, "\0\1\0\0\0\3ab");
    REFUSED(PGWIRE_DATA_ROW, "\0\1\x7f\xff\xff\xff");
    REFUSED(PGWIRE_DATA_ROW, "\0\1\xff\xff\xff\xfe");
    REFUSED(PGWIRE_FUNCTION_CALL_RESPONSE, "\x80\0\0\0");
    REFUSED(PGWIRE_NEGOTIATE_PROTOCOL_VERSION, "\0\3\0\0\xff\xff\xff\xff_pq_.a\0");
    REFUSED(PGWIRE_NEGOTIATE_PROTOCOL_VERSION, "\0\3\0\0\0\0\0\1_pq_.a");
    REFUSED(PGWIRE_COPY_IN_RESPONSE, "\0\xff\xff\0\0");
    REFUSED(PGWIRE_ERROR_RESPONSE, "");
    REFUSED(PGWIRE_ERROR_RESPONSE, "SERROR\0");
    REFUSED(PGWIRE_ERROR_RESPONSE, "SERROR\0\0Mx\0\0");
}

static void values_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    REFUSED(PGWIRE_READY_FOR_QUERY, "i");
    REFUSED(PGWIRE_READY_FOR_QUERY, "\0");
    REFUSED(PGWIRE_AUTHENTICATION, "\0\0\0\x0a\0");      /* SASL without a mechanism */
    REFUSED(PGWIRE_AUTHENTICATION, "\0\0\0\5abc");       /* MD5 salt too short */
    REFUSED(PGWIRE_AUTHENTICATION, "\0\0\0\5abcde");     /* and too long */
    REFUSED(PGWIRE_BACKEND_KEY_DATA, "\0\0\0\1abc");     /* secret too short */
    REFUSED(PGWIRE_COPY_IN_RESPONSE, "\2\0\0");          /* format of the stream */
    REFUSED(PGWIRE_COPY_OUT_RESPONSE, "\1\0\1\0\2");     /* format of a column */
    REFUSED(PGWIRE_COPY_OUT_RESPONSE, "\0\0\2\0\0\0\1"); /* a binary column in a text stream */
    REFUSED(PGWIRE_ROW_DESCRIPTION, "\0\1x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\2");
}

static void a_secret_has_at_most_256_bytes(void **state)
{
    (void)state;
    static const uint8_t body[4 + PGWIRE_SECRET_BYTES_MAX + 1];
    struct pgwire_frame frame = {
        .type = PGWIRE_BACKEND_KEY_DATA, .body = body, .body_length = 4 + PGWIRE_SECRET_BYTES_MAX};
    struct pgwire_backend_key_data key;
    struct sq_error err;
    assert_int_equal(pgwire_backend_key_data_decode(&frame, &err, &key), SQ_OK);
    assert_int_equal(key.secret.length, PGWIRE_SECRET_BYTES_MAX);
    frame.body_length++;
    assert_int_equal(pgwire_backend_key_data_decode(&frame, &err, &key), SQ_PROTOCOL);
}

static sq_status decode_report(const char *body, size_t length, struct pgwire_report *ret_report)
{
    struct sq_error err;
    struct pgwire_frame frame = {.type = PGWIRE_ERROR_RESPONSE, .body = (const uint8_t *)body, .body_length = length};
    return pgwire_report_decode(&frame, &err, ret_report);
}

static void flaws_in_a_report_do_not_hide_it(void **state)
{
    (void)state;
    static const char unknown_field[] = "ZSomething new\0Mm\0Mlast\0\0";
    static const char bad_numbers[] = "P12x\0p4294967297\0L-1\0\0";
    struct pgwire_report report;
    assert_int_equal(decode_report(unknown_field, sizeof(unknown_field) - 1, &report), SQ_OK);
    assert_string_equal(report.message, "last");
    assert_null(report.severity);
    assert_int_equal(decode_report(bad_numbers, sizeof(bad_numbers) - 1, &report), SQ_OK);
    assert_int_equal(report.position, 0);
    assert_int_equal(report.internal_position, 0);
    assert_int_equal(report.line, 0);
}

static void an_error_becomes_a_report(void **state)
{
    (void)state;
    struct sq_error err;
    struct pgwire_report report;
    sq_error_clear(&err);
    assert_int_equal(sq_fail_sql(&err, SQ_SQL, "42601", "near \"x\": syntax error"), SQ_SQL);
    err.position = 3;
    pgwire_report_from_error(&err, &report);
    assert_string_equal(report.severity, "ERROR");
    assert_string_equal(report.severity_fixed, "ERROR");
    assert_string_equal(report.sqlstate, "42601");
    assert_string_equal(report.message, "near \"x\": syntax error");
    assert_int_equal(report.position, 3);
    assert_null(report.detail);
    assert_null(report.hint);
    assert_null(report.table);
    assert_null(report.constraint);
    assert_string_equal(report.file, "test_backend.c");
    assert_true(report.line > 0);

    err.is_fatal = true;
    sq_error_set_hint(&err, "try again");
    pgwire_report_from_error(&err, &report);
    assert_string_equal(report.severity, "FATAL");
    assert_string_equal(report.hint, "try again");
}

static void messages_without_a_writer_are_read(void **state)
{
    (void)state;
    static const uint8_t md5[] = {0, 0, 0, 5, 'a', 'b', 'c', 'd'};
    static const uint8_t mixed[] = {1, 0, 2, 0, 0, 0, 1};
    struct sq_error err;
    struct pgwire_authentication authentication;
    struct pgwire_copy_response response;
    struct pgwire_frame frame = {.type = PGWIRE_AUTHENTICATION, .body = md5, .body_length = sizeof(md5)};
    assert_int_equal(pgwire_authentication_decode(&frame, &err, &authentication), SQ_OK);
    assert_int_equal(authentication.code, PGWIRE_AUTHENTICATION_MD5_PASSWORD);
    assert_int_equal(authentication.data.length, 4);
    assert_memory_equal(authentication.data.data, "abcd", 4);

    frame = (struct pgwire_frame){.type = PGWIRE_COPY_OUT_RESPONSE, .body = mixed, .body_length = sizeof(mixed)};
    assert_int_equal(pgwire_copy_response_decode(&frame, &err, &response), SQ_OK);
    assert_int_equal(pgwire_formats_get(&response.columns, 0), PGWIRE_FORMAT_TEXT);
    assert_int_equal(pgwire_formats_get(&response.columns, 1), PGWIRE_FORMAT_BINARY);
}

static void the_largest_row_is_read_and_written(void **state)
{
    (void)state;
    struct sq_buf buf;
    struct sq_buf out;
    struct sq_error err;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    sq_buf_init(&out, TEST_BUF_BYTES_MAX);
    size_t row = pgwire_put_data_row_begin(&buf, PGWIRE_LIST_COUNT_MAX);
    for (size_t i = 0; i < PGWIRE_LIST_COUNT_MAX; i++)
        pgwire_put_value(&buf, "abc", i % 4);
    pgwire_end(&buf, row);
    struct pgwire_frame frame = side_frame(&backend, sq_buf_bytes(&buf), sq_buf_length(&buf));
    assert_int_equal(recode_backend(&frame, &err, &out), SQ_OK);
    assert_int_equal(sq_buf_length(&out), sq_buf_length(&buf));
    assert_memory_equal(sq_buf_bytes(&out), sq_buf_bytes(&buf), sq_buf_length(&buf));

    sq_buf_truncate(&buf, 0);
    pgwire_put_data_row_begin(&buf, PGWIRE_LIST_COUNT_MAX + 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_truncate(&buf, 0);
    pgwire_put_row_description_begin(&buf, PGWIRE_LIST_COUNT_MAX + 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_truncate(&buf, 0);
    pgwire_put_copy_in_response(&buf, PGWIRE_FORMAT_TEXT, PGWIRE_LIST_COUNT_MAX + 1);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_LIMIT);
    sq_buf_done(&buf);
    sq_buf_done(&out);
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
        cmocka_unit_test(values_that_do_not_exist_are_refused),
        cmocka_unit_test(a_secret_has_at_most_256_bytes),
        cmocka_unit_test(flaws_in_a_report_do_not_hide_it),
        cmocka_unit_test(an_error_becomes_a_report),
        cmocka_unit_test(messages_without_a_writer_are_read),
        cmocka_unit_test(the_largest_row_is_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
