/* Values of every type: what is read, what is refused, and that what is written is read back the same. */
#include "config_test.h"

#include "config/config_internal.h"

static void durations_take_every_unit_and_plain_milliseconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"0", 0},
        {"1us", 1},
        {"1", 1000},
        {"250ms", 250000},
        {"5s", 5000000},
        {" 5 S ", 5000000},
        {"2min", 120000000},
        {"1h", INT64_C(3600000000)},
        {"1d", INT64_C(86400000000)},
        {"365d", CONFIG_DURATION_MAX_US},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = -5;
        assert_int_equal(config_duration_parse(cases[i].text, NULL, &us), SQ_OK);
        assert_int_equal(us, cases[i].us);
    }
}

static void bad_durations_are_refused_and_leave_the_result_alone(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        "s",
        "x",
        "5x",
        "5 5",
        "5s5",
        "1.5s",
        "-1",
        "-1s",
        "+1",
        "0x10",
        "1e3",
        "366d",
        "31536000001s",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551617us",
        "99999999999999999999999d",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sq_error err;
        sq_error_clear(&err);
        int64_t us = -5;
        assert_int_equal(config_duration_parse(cases[i], &err, &us), SQ_INVALID);
        assert_int_equal(us, -5);
        assert_string_not_equal(err.text, "");
        assert_string_not_equal(err.hint, "");
    }
}

static void sizes_take_every_unit_and_plain_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        size_t bytes;
    } cases[] = {
        {"--output-buffer-size=8192", 8192},    {"--output-buffer-size=8192B", 8192},
        {"--output-buffer-size=8kB", 8192},     {"--output-buffer-size=8 KB", 8192},
        {"--output-buffer-size=3MB", 3u << 20}, {"--output-buffer-size=1GB", 1u << 30},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config = test_load_ok(TEXTS(cases[i].flag), NULL);
        assert_int_equal(config->output_buffer_bytes, cases[i].bytes);
        config_free(config);
    }
}

static void numbers_are_held_to_their_range(void **state)
{
    (void)state;
    struct config *config = test_load_ok(TEXTS("--max-connections=1", "--workers=1024"), NULL);
    assert_int_equal(config->max_connections, 1);
    assert_int_equal(config->workers, 1024);
    config_free(config);
    test_load_fails(TEXTS("--max-connections=0"), NULL, "--max-connections: '0' is out of range", "from 1 to 1000000");
    test_load_fails(TEXTS("--max-connections=1000001"), NULL, "--max-connections: '1000001' is out of range",
                    "1000000");
    test_load_fails(TEXTS("--workers=-1"), NULL, "--workers: '-1' is out of range", "from 0 to 1024");
    test_load_fails(TEXTS("--workers=two"), NULL, "--workers: 'two' is not a whole number", "whole number");
    test_load_fails(TEXTS("--workers=2kB"), NULL, "--workers: '2kB' is not a whole number", "whole number");
    test_load_fails(TEXTS("--max-message-size=2GB"), NULL, "--max-message-size: '2GB' is out of range", "64kB");
    config = test_load_ok(TEXTS("--max-message-size=2147483647"), NULL);
    assert_int_equal(config->max_message_bytes, 2147483647);
    config_free(config);
    test_load_fails(TEXTS("--max-message-size=1PB"), NULL, "--max-message-size: '1PB' has an unknown unit", "kB, MB");
}

static void a_duration_may_be_off(void **state)
{
    (void)state;
    struct config *config = test_load_ok(TEXTS("--log-min-duration-statement=-1", "--statement-timeout=0"), NULL);
    assert_int_equal(config->log_min_duration_statement_us, -1);
    assert_int_equal(config->statement_timeout_us, 0);
    config_free(config);
    config = test_load_ok(TEXTS("--log-min-duration-statement", "0"), NULL);
    assert_int_equal(config->log_min_duration_statement_us, 0);
    config_free(config);
    test_load_fails(TEXTS("--log-min-duration-statement=-2"), NULL,
                    "--log-min-duration-statement: '-2' is out of range", "-1 for off");
    test_load_fails(TEXTS("--log-min-duration-statement=-1us"), NULL,
                    "--log-min-duration-statement: '-1us' is out of range", "-1 for off");
    test_load_fails(TEXTS("--authentication-timeout=0"), NULL, "--authentication-timeout: '0' is out of range",
                    "from 1ms to 1h");
}

static void switches_take_the_usual_words(void **state)
{
    (void)state;
    static const char *const on[] = {"on", "true", "yes", "1", "ON", "True"};
    static const char *const off[] = {"off", "false", "no", "0", "OFF", "False"};
    for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        struct config *config = test_load_ok(TEXTS("--log-connections", on[i], "--foreign-keys", off[i]), NULL);
        assert_true(config->log_connections);
        assert_false(config->foreign_keys);
        config_free(config);
    }
    test_load_fails(TEXTS("--foreign-keys=maybe"), NULL, "--foreign-keys: 'maybe' is neither on nor off", "on or off");
    test_load_fails(TEXTS("--foreign-keys="), NULL, "--foreign-keys: '' is neither on nor off", "on or off");
}

static void enums_are_the_words_in_order(void **state)
{
    (void)state;
    static const char *const words[] = {"debug", "info", "warning", "error"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct config *config = test_load_ok(TEXTS("--log-level", words[i]), NULL);
        assert_int_equal(config->log_level, i);
        config_free(config);
    }
    assert_int_equal(SQ_LOG_ERROR, 3);
    test_load_fails(TEXTS("--log-level=warn"), NULL, "--log-level: 'warn' is none of its words",
                    "debug info warning error");
    test_load_fails(TEXTS("--log-level="), NULL, "--log-level: '' is none of its words", "debug");
}

static void texts_that_must_not_be_empty_are_refused(void **state)
{
    (void)state;
    test_load_fails(TEXTS("--data-dir="), NULL, "--data-dir: the value is empty", "DIR");
    struct config *config = test_load_ok(TEXTS("--log-file="), NULL);
    assert_string_equal(config->log_file, "");
    config_free(config);
}

static void a_value_has_a_longest_length(void **state)
{
    (void)state;
    char *flag = malloc(CONFIG_VALUE_BYTES_MAX + 64);
    assert_non_null(flag);
    int prefix = snprintf(flag, 64, "--data-dir=");
    memset(flag + prefix, 'd', CONFIG_VALUE_BYTES_MAX + 1);
    flag[prefix + CONFIG_VALUE_BYTES_MAX + 1] = '\0';
    test_load_fails(TEXTS(flag), NULL, "--data-dir: the value is too long", "16384");
    flag[prefix + CONFIG_VALUE_BYTES_MAX] = '\0';
    struct config *config = test_load_ok(TEXTS(flag), NULL);
    assert_int_equal(strlen(config->data_dir), CONFIG_VALUE_BYTES_MAX);
    config_free(config);
    free(flag);
}

/* Every option's written value, given back as a flag, gives the same written value. */
static void written_values_are_read_back_the_same(void **state)
{
    (void)state;
    struct config *config = test_load_ok(TEXTS("--statement-timeout=90s", "--lock-timeout=1us",
                                               "--idle-session-timeout=48h", "--max-row-size=65537",
                                               "--output-buffer-size=1536kB", "--listen=[::1]:1,localhost,127.0.0.2",
                                               "--log-level=error", "--log-connections", "--shutdown-timeout=61min"),
                                         NULL);
    static const char *const expected[][2] = {
        {"statement-timeout", "90s"},     {"lock-timeout", "1us"},
        {"idle-session-timeout", "2d"},   {"max-row-size", "65537B"},
        {"output-buffer-size", "1536kB"}, {"listen", "[::1]:1, localhost:5432, 127.0.0.2:5432"},
        {"log-level", "error"},           {"log-connections", "on"},
        {"shutdown-timeout", "61min"},    {"log-min-duration-statement", "-1"},
    };
    struct sq_buf text;
    sq_buf_init(&text, 65536);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        config_option_format(config, config_option_find(expected[i][0]), &text);
        sq_buf_put_u8(&text, 0);
        assert_string_equal((const char *)sq_buf_bytes(&text), expected[i][1]);
        sq_buf_truncate(&text, 0);
    }
    for (unsigned i = 0; i < CONFIG_OPTION_COUNT; i++) {
        enum config_option_id id = (enum config_option_id)i;
        if (id == CONFIG_OPTION_config_file)
            continue;
        sq_buf_printf(&text, "--%s=", config_option_name(id));
        size_t prefix = sq_buf_length(&text);
        config_option_format(config, id, &text);
        sq_buf_put_u8(&text, 0);
        struct config *again = test_load_ok(TEXTS((const char *)sq_buf_bytes(&text)), NULL);
        struct sq_buf second;
        sq_buf_init(&second, 65536);
        config_option_format(again, id, &second);
        sq_buf_put_u8(&second, 0);
        assert_string_equal((const char *)sq_buf_bytes(&second), (const char *)sq_buf_bytes(&text) + prefix);
        assert_string_equal(config_option_source(again, id), "command line");
        sq_buf_done(&second);
        config_free(again);
        sq_buf_truncate(&text, 0);
    }
    sq_buf_done(&text);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_take_every_unit_and_plain_milliseconds),
        cmocka_unit_test(bad_durations_are_refused_and_leave_the_result_alone),
        cmocka_unit_test(sizes_take_every_unit_and_plain_bytes),
        cmocka_unit_test(numbers_are_held_to_their_range),
        cmocka_unit_test(a_duration_may_be_off),
        cmocka_unit_test(switches_take_the_usual_words),
        cmocka_unit_test(enums_are_the_words_in_order),
        cmocka_unit_test(texts_that_must_not_be_empty_are_refused),
        cmocka_unit_test(a_value_has_a_longest_length),
        cmocka_unit_test(written_values_are_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
