/* Flags, environment and file together: strength, mistakes, reload, references. */
#include "config_test.h"

struct fixture {
    char directory[64];
    char path[128];       /* of a config file */
    char path_entry[160]; /* SQLD_CONFIG=path */
};

static int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    test_directory_make(fixture->directory);
    snprintf(fixture->path, sizeof(fixture->path), "%s/sqld.conf", fixture->directory);
    snprintf(fixture->path_entry, sizeof(fixture->path_entry), "SQLD_CONFIG=%s", fixture->path);
    test_file_write(fixture->path, "");
    *state = fixture;
    return 0;
}

static int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(rmdir(fixture->directory), 0);
    free(fixture);
    return 0;
}

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    struct config *config = test_load_ok(NULL, NULL);
    assert_int_equal(config->action, CONFIG_RUN);
    assert_string_equal(config->data_dir, "./data");
    assert_string_equal(config->config_file, "");
    assert_string_equal(config->default_database, "main");
    assert_int_equal(config->listen.count, 1);
    assert_string_equal(config->listen.items[0].host, "127.0.0.1");
    assert_int_equal(config->listen.items[0].port, 5432);
    assert_false(config->insecure);
    assert_int_equal(config->max_connections, 1000);
    assert_int_equal(config->output_buffer_bytes, 262144);
    assert_int_equal(config->workers, 0);
    assert_int_equal(config->max_message_bytes, 1025 << 20);
    assert_int_equal(config->max_row_bytes, 1025 << 20);
    assert_int_equal(config->max_prepared_statements, 10000);
    assert_int_equal(config->max_portals, 1000);
    assert_int_equal(config->authentication_timeout_us, 60000000);
    assert_int_equal(config->statement_timeout_us, 0);
    assert_int_equal(config->lock_timeout_us, 0);
    assert_int_equal(config->idle_in_transaction_session_timeout_us, 30000000);
    assert_int_equal(config->idle_session_timeout_us, 0);
    assert_int_equal(config->shutdown_timeout_us, 10000000);
    assert_true(config->foreign_keys);
    assert_int_equal(config->log_level, SQ_LOG_INFO);
    assert_string_equal(config->log_file, "stderr");
    assert_false(config->log_connections);
    assert_int_equal(config->log_min_duration_statement_us, -1);
    config_free(config);
}

static void the_stronger_source_wins(void **state)
{
    const struct fixture *fixture = *state;
    char origin[160];
    test_file_write(fixture->path, "workers = 1\nmax-portals = 1\n\ndata-dir = file\n");
    struct config *config = test_load_ok(
        TEXTS("--workers=3"), TEXTS(fixture->path_entry, "SQLD_WORKERS=2", "SQLD_MAX_PORTALS=2", "PATH=/bin"));
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->max_portals, 2);
    assert_string_equal(config->data_dir, "file");
    assert_int_equal(config->max_connections, 1000);
    snprintf(origin, sizeof(origin), "%s:4", fixture->path);
    assert_string_equal(config_option_source(config, CONFIG_OPTION_workers), "command line");
    assert_string_equal(config_option_source(config, CONFIG_OPTION_max_portals), "environment");
    assert_string_equal(config_option_source(config, CONFIG_OPTION_data_dir), origin);
    assert_string_equal(config_option_source(config, CONFIG_OPTION_max_connections), "default");
    config_free(config);
}

static void flags_take_both_forms(void **state)
{
    (void)state;
    struct config *config = test_load_ok(
        TEXTS("--data-dir", "a=b", "--default_database=c", "--WORKERS=2", "--insecure", "--log-connections=on"), NULL);
    assert_string_equal(config->data_dir, "a=b");
    assert_string_equal(config->default_database, "c");
    assert_int_equal(config->workers, 2);
    assert_true(config->insecure);
    assert_true(config->log_connections);
    config_free(config);
    config = test_load_ok(
        TEXTS("--insecure", "off", "--data-dir=", "--data-dir=-x", "--log-connections", "--workers", "1"), NULL);
    assert_false(config->insecure);
    assert_string_equal(config->data_dir, "-x");
    assert_true(config->log_connections);
    config_free(config);
}

static void a_flag_given_twice_counts_last_and_lists_add_up(void **state)
{
    (void)state;
    struct config *config = test_load_ok(
        TEXTS("--workers=1", "--workers=2", "--listen=localhost:1", "--listen=localhost:2,localhost:3"), NULL);
    assert_int_equal(config->workers, 2);
    assert_int_equal(config->listen.count, 3);
    assert_int_equal(config->listen.items[0].port, 1);
    assert_int_equal(config->listen.items[2].port, 3);
    config_free(config);
}

static void wrong_flags_are_refused_with_a_suggestion(void **state)
{
    (void)state;
    test_load_fails(TEXTS("--max-conections=1"), NULL, "unknown option '--max-conections=1'",
                    "Did you mean --max-connections?");
    test_load_fails(TEXTS("--frobnicate-zealously"), NULL, "unknown option '--frobnicate-zealously'", "sqld --help");
    test_load_fails(TEXTS("--"), NULL, "unknown option '--'", "sqld --help");
    test_load_fails(TEXTS("--=x"), NULL, "unknown option '--=x'", "sqld --help");
    test_load_fails(TEXTS("-D", "x"), NULL, "unknown option '-D'", "sqld --help");
    test_load_fails(TEXTS("start"), NULL, "unexpected argument 'start'", "sqld --help");
    test_load_fails(TEXTS(""), NULL, "unexpected argument ''", "sqld --help");
    test_load_fails(TEXTS("--data-dir"), NULL, "--data-dir needs a value", "--data-dir=DIR");
    test_load_fails(TEXTS("--data-dir", "--insecure"), NULL, "--data-dir needs a value", "--data-dir=DIR");
    char name[256];
    snprintf(name, sizeof(name), "--%0200d", 0);
    struct sq_error err;
    struct config *config = NULL;
    assert_int_equal(test_load(TEXTS(name), NULL, &err, &config), SQ_INVALID);
}

static void unknown_variables_are_refused_but_for_foreign_ones(void **state)
{
    (void)state;
    test_load_fails(NULL, TEXTS("SQLD_MAX_CONECTIONS=1"), "unknown environment variable SQLD_MAX_CONECTIONS",
                    "Did you mean SQLD_MAX_CONNECTIONS?");
    test_load_fails(NULL, TEXTS("SQLD_=1"), "unknown environment variable SQLD_", "Unset it");
    test_load_fails(NULL, TEXTS("SQLD_WORKERS=x"), "SQLD_WORKERS: 'x' is not a whole number", "whole number");
    struct config *config = test_load_ok(NULL, TEXTS("SQLD_BIN=build/bin/sqld", "SQLD_TEST_SEED=1",
                                                     "SQLD_SERVICE_HOST=10.0.0.1", "SQLD_PORT=tcp://10.0.0.1:5432",
                                                     "SQLD_PORT_5432_TCP=x", "SQLDX=1", "SQLD", "WORKERS=9"));
    assert_int_equal(config->workers, 0);
    config_free(config);
}

static void every_option_has_its_variable_and_line(void **state)
{
    const struct fixture *fixture = *state;
    struct config *defaults = test_load_ok(NULL, NULL);
    struct sq_buf line;
    sq_buf_init(&line, 65536);
    for (unsigned i = 0; i < CONFIG_OPTION_COUNT; i++) {
        enum config_option_id id = (enum config_option_id)i;
        if (id == CONFIG_OPTION_config_file)
            continue;
        char name[64];
        snprintf(name, sizeof(name), "%s", config_option_name(id));
        sq_buf_printf(&line, "%s = '", name);
        config_option_format(defaults, id, &line);
        sq_buf_put(&line, "'\n", 3);
        test_file_write(fixture->path, (const char *)sq_buf_bytes(&line));
        struct config *config = test_load_ok(TEXTS("--config", fixture->path), NULL);
        assert_non_null(strstr(config_option_source(config, id), "sqld.conf:1"));
        config_free(config);
        sq_buf_truncate(&line, 0);

        for (char *c = name; *c != '\0'; c++)
            *c = *c == '-' ? '_' : (char)(*c - 'a' + 'A');
        sq_buf_printf(&line, "SQLD_%s=", name);
        config_option_format(defaults, id, &line);
        sq_buf_put_u8(&line, 0);
        config = test_load_ok(NULL, TEXTS((const char *)sq_buf_bytes(&line)));
        assert_string_equal(config_option_source(config, id), "environment");
        config_free(config);
        sq_buf_truncate(&line, 0);
    }
    sq_buf_done(&line);
    config_free(defaults);
}

static void actions_win_over_mistakes_elsewhere(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        enum config_action action;
    } cases[] = {
        {"--help", CONFIG_PRINT_HELP},
        {"-h", CONFIG_PRINT_HELP},
        {"-?", CONFIG_PRINT_HELP},
        {"--version", CONFIG_PRINT_VERSION},
        {"-V", CONFIG_PRINT_VERSION},
        {"--print-man", CONFIG_PRINT_MAN},
        {"--print-config-reference", CONFIG_PRINT_REFERENCE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config =
            test_load_ok(TEXTS("--workers=x", cases[i].flag, "--nonsense"), TEXTS("SQLD_NONSENSE=1"));
        assert_int_equal(config->action, cases[i].action);
        config_free(config);
    }
}

static void an_empty_command_line_is_no_trouble(void **state)
{
    (void)state;
    struct sq_error err;
    struct config *config = NULL;
    char *const none[] = {NULL};
    assert_int_equal(config_load(0, none, NULL, &err, &config), SQ_OK);
    assert_int_equal(config->max_connections, 1000);
    config_free(config);
    config_free(NULL);
}

/* Loads with a file and keeps what a reload needs; test_list_done() is the caller's. */
static struct config *load_for_reload(const struct fixture *fixture, struct test_list *argv)
{
    struct sq_error err;
    struct config *config = NULL;
    test_list_init(argv, TEXTS("sqld", "--config", fixture->path, "--max-portals=7"));
    assert_int_equal(config_load(argv->count, argv->items, NULL, &err, &config), SQ_OK);
    return config;
}

static void reload_changes_what_may_change(void **state)
{
    const struct fixture *fixture = *state;
    struct test_list argv;
    test_file_write(fixture->path, "statement-timeout = 1s\nworkers = 2\nlog-level = debug\n");
    struct config *old = load_for_reload(fixture, &argv);
    test_file_write(fixture->path, "statement-timeout = 2s\nworkers = 3\nlisten = localhost:9\nmax-portals = 9\n"
                                   "max-connections = 1000\n");
    struct sq_error err;
    struct config_changes changes;
    struct config *new = NULL;
    assert_int_equal(config_reload(old, &err, &changes, &new), SQ_OK);
    config_free(old); /* the new one must not lean on it */
    assert_int_equal(new->statement_timeout_us, 2000000);
    assert_int_equal(new->log_level, SQ_LOG_INFO);
    assert_int_equal(new->max_portals, 7); /* the flag is still stronger */
    assert_int_equal(new->workers, 2);
    assert_int_equal(new->listen.items[0].port, 5432);
    assert_string_equal(config_option_source(new, CONFIG_OPTION_listen), "default");
    assert_int_equal(changes.changed_count, 2);
    assert_string_equal(changes.changed[0], "statement-timeout");
    assert_string_equal(changes.changed[1], "log-level");
    assert_int_equal(changes.restart_count, 2);
    assert_string_equal(changes.restart[0], "listen");
    assert_string_equal(changes.restart[1], "workers");

    /* The same file again: what needs a restart is still named, and nothing else. */
    struct config *newer = NULL;
    assert_int_equal(config_reload(new, &err, &changes, &newer), SQ_OK);
    assert_int_equal(changes.changed_count, 0);
    assert_int_equal(changes.restart_count, 2);
    config_free(newer);
    config_free(new);
    test_list_done(&argv);
}

static void another_spelling_of_the_same_value_is_no_change(void **state)
{
    const struct fixture *fixture = *state;
    struct test_list argv;
    test_file_write(fixture->path, "statement-timeout = 1s\noutput-buffer-size = 1MB\n");
    struct config *old = load_for_reload(fixture, &argv);
    test_file_write(fixture->path, "\nSTATEMENT_TIMEOUT = '1000'\noutput-buffer-size = 1024kB\nlisten = 127.0.0.1\n");
    struct sq_error err;
    struct config_changes changes;
    struct config *new = NULL;
    assert_int_equal(config_reload(old, &err, &changes, &new), SQ_OK);
    assert_int_equal(changes.changed_count, 0);
    assert_int_equal(changes.restart_count, 0);
    config_free(new);
    config_free(old);
    test_list_done(&argv);
}

static void a_reload_that_fails_leaves_the_old_config(void **state)
{
    const struct fixture *fixture = *state;
    struct test_list argv;
    test_file_write(fixture->path, "workers = 2\n");
    struct config *old = load_for_reload(fixture, &argv);
    test_file_write(fixture->path, "statement-timeout = x\n");
    struct sq_error err;
    struct config_changes changes = {.changed_count = 77};
    struct config *new = NULL;
    assert_int_equal(config_reload(old, &err, &changes, &new), SQ_INVALID);
    assert_null(new);
    assert_int_equal(changes.changed_count, 77);
    assert_non_null(strstr(err.text, "sqld.conf:1: statement-timeout: 'x'"));
    assert_int_equal(old->workers, 2);
    config_free(old);
    test_list_done(&argv);
}

static void a_config_lives_until_its_last_reference(void **state)
{
    (void)state;
    struct config *config = test_load_ok(TEXTS("--data-dir=kept"), NULL);
    assert_ptr_equal(config_ref(config), config);
    config_free(config);
    assert_string_equal(config->data_dir, "kept");
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test_setup_teardown(the_stronger_source_wins, fixture_setup, fixture_teardown),
        cmocka_unit_test(flags_take_both_forms),
        cmocka_unit_test(a_flag_given_twice_counts_last_and_lists_add_up),
        cmocka_unit_test(wrong_flags_are_refused_with_a_suggestion),
        cmocka_unit_test(unknown_variables_are_refused_but_for_foreign_ones),
        cmocka_unit_test_setup_teardown(every_option_has_its_variable_and_line, fixture_setup, fixture_teardown),
        cmocka_unit_test(actions_win_over_mistakes_elsewhere),
        cmocka_unit_test(an_empty_command_line_is_no_trouble),
        cmocka_unit_test_setup_teardown(reload_changes_what_may_change, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(another_spelling_of_the_same_value_is_no_change, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_reload_that_fails_leaves_the_old_config, fixture_setup, fixture_teardown),
        cmocka_unit_test(a_config_lives_until_its_last_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
