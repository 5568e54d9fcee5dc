/* Address lists, and which addresses other machines can reach. */
#include "config_test.h"

#include "config/config_internal.h"

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        unsigned port;
    } cases[] = {
        {"127.0.0.1:5433", "127.0.0.1", 5433},
        {"127.0.0.1", "127.0.0.1", 5432},
        {"localhost:0", "localhost", 0},
        {"[::1]:65535", "::1", 65535},
        {"[::1]", "::1", 5432},
        {"*:5432", "*", 5432},
        {"*", "*", 5432},
        {"db-1.example.org", "db-1.example.org", 5432},
        {"[fe80::1%eth0]:1", "fe80::1%eth0", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config = test_load_ok(TEXTS("--insecure", "--listen", cases[i].text), NULL);
        assert_int_equal(config->listen.count, 1);
        assert_false(config->listen.items[0].is_unix);
        assert_string_equal(config->listen.items[0].host, cases[i].host);
        assert_string_equal(config->listen.items[0].path, "");
        assert_int_equal(config->listen.items[0].port, cases[i].port);
        config_free(config);
    }
}

static void malformed_addresses_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "--listen: address '' is empty"},
        {" ", "--listen: address '' is empty"},
        {"127.0.0.1:1,", "--listen: address '' is empty"},
        {",127.0.0.1:1", "--listen: address '' is empty"},
        {"127.0.0.1:", "--listen: address '127.0.0.1:' has no valid port"},
        {"127.0.0.1:65536", "--listen: address '127.0.0.1:65536' has no valid port"},
        {"127.0.0.1:123456", "--listen: address '127.0.0.1:123456' has no valid port"},
        {"127.0.0.1:54x", "--listen: address '127.0.0.1:54x' has no valid port"},
        {"[::1]5432", "--listen: address '[::1]5432' has no valid port"},
        {"[::1", "--listen: address '[::1' has no ]"},
        {"[]:1", "--listen: address '[]:1' has brackets around what is no IPv6 address"},
        {"[localhost]:1", "--listen: address '[localhost]:1' has brackets around what is no IPv6 address"},
        {"::1", "--listen: address '::1' is ambiguous"},
        {"5432", "--listen: address '5432' has no host"},
        {":5432", "--listen: address ':5432' has no valid host"},
        {"lo calhost:1", "--listen: address 'lo calhost:1' has no valid host"},
        {"http://localhost", "--listen: address 'http://localhost' has no valid port"},
        {"unix:", "--listen: address 'unix:' has no path"},
        {"unix::5432", "--listen: address 'unix::5432' has no path"},
        {"unix:/nonexistent/socket:5432",
         "--listen: address 'unix:/nonexistent/socket:5432' has a port, but its path is not a directory"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        test_load_fails(TEXTS("--listen", cases[i].text), NULL, cases[i].message, "");
}

static void a_host_name_has_a_longest_length(void **state)
{
    (void)state;
    char flag[512];
    snprintf(flag, sizeof(flag), "--listen=%0255d.x", 0);
    struct sq_error err;
    struct config *config = NULL;
    assert_int_equal(test_load(TEXTS("--insecure", flag), NULL, &err, &config), SQ_INVALID);
    snprintf(flag, sizeof(flag), "--listen=%0253d.x", 0);
    config = test_load_ok(TEXTS("--insecure", flag), NULL);
    assert_int_equal(strlen(config->listen.items[0].host), 255);
    config_free(config);
}

static void a_list_holds_up_to_its_limit(void **state)
{
    (void)state;
    char flag[1024] = "--listen=localhost";
    for (int i = 1; i < CONFIG_ADDRESSES_MAX; i++)
        snprintf(flag + strlen(flag), sizeof(flag) - strlen(flag), ", localhost:%d", i);
    struct config *config = test_load_ok(TEXTS(flag), NULL);
    assert_int_equal(config->listen.count, CONFIG_ADDRESSES_MAX);
    assert_int_equal(config->listen.items[31].port, 31);
    config_free(config);
    snprintf(flag + strlen(flag), sizeof(flag) - strlen(flag), ",localhost:99");
    test_load_fails(TEXTS(flag), NULL, "--listen: address 'localhost:99' is one too many", "32");
}

static void a_directory_means_the_socket_that_libpq_looks_for(void **state)
{
    (void)state;
    char directory[64];
    test_directory_make(directory);
    char flag[128];
    char expected[128];
    snprintf(flag, sizeof(flag), "--listen=unix:%s", directory);
    snprintf(expected, sizeof(expected), "%s/.s.PGSQL.5432", directory);
    struct config *config = test_load_ok(TEXTS(flag), NULL);
    assert_true(config->listen.items[0].is_unix);
    assert_string_equal(config->listen.items[0].path, expected);
    assert_string_equal(config->listen.items[0].host, "");
    config_free(config);

    snprintf(flag, sizeof(flag), "--listen=unix:%s:5433", directory);
    snprintf(expected, sizeof(expected), "%s/.s.PGSQL.5433", directory);
    config = test_load_ok(TEXTS(flag), NULL);
    assert_string_equal(config->listen.items[0].path, expected);
    config_free(config);

    snprintf(flag, sizeof(flag), "--listen=unix:%s/sqld.sock", directory);
    snprintf(expected, sizeof(expected), "%s/sqld.sock", directory);
    config = test_load_ok(TEXTS(flag), NULL);
    assert_string_equal(config->listen.items[0].path, expected);
    config_free(config);

    assert_int_equal(rmdir(directory), 0);
    snprintf(flag, sizeof(flag), "--listen=unix:%s/", directory);
    snprintf(expected, sizeof(expected), "%s/.s.PGSQL.5432", directory);
    config = test_load_ok(TEXTS(flag), NULL);
    assert_string_equal(config->listen.items[0].path, expected);
    config_free(config);
}

static void a_socket_path_fits_into_the_kernels_structure(void **state)
{
    (void)state;
    char flag[256];
    struct sq_error err;
    struct config *config = NULL;
    for (int length = CONFIG_UNIX_PATH_MAX - 1; length <= CONFIG_UNIX_PATH_MAX + 1; length++) {
        snprintf(flag, sizeof(flag), "--listen=unix:/%0*d", length - 1, 0);
        sq_status status = test_load(TEXTS(flag), NULL, &err, &config);
        assert_int_equal(status, length <= CONFIG_UNIX_PATH_MAX ? SQ_OK : SQ_INVALID);
        if (status == SQ_OK)
            config_free(config);
    }
    /* 107 bytes with the name that is appended to a directory: 94 + 13. */
    for (int length = 93; length <= 95; length++) {
        snprintf(flag, sizeof(flag), "--listen=unix:/%0*d/", length - 2, 0);
        sq_status status = test_load(TEXTS(flag), NULL, &err, &config);
        assert_int_equal(status, length <= 94 ? SQ_OK : SQ_INVALID);
        if (status == SQ_OK)
            config_free(config);
    }
}

static void addresses_that_others_can_reach_need_insecure(void **state)
{
    (void)state;
    static const char *const local[] = {
        "127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "unix:/nonexistent/socket"};
    static const char *const remote[] = {"0.0.0.0",       "*",
                                         "[::]",          "192.0.2.1",
                                         "example.org",   "127.0.0.1.example.org",
                                         "[2001:db8::1]", "[::ffff:192.0.2.1]",
                                         "127.1"};
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        config_free(test_load_ok(TEXTS("--listen", local[i]), NULL));
    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
        struct sq_error err;
        struct config *config = NULL;
        assert_int_equal(test_load(TEXTS("--listen", remote[i]), NULL, &err, &config), SQ_INVALID);
        assert_non_null(strstr(err.text, "other machines can reach"));
        assert_non_null(strstr(err.hint, "--insecure"));
        config_free(test_load_ok(TEXTS("--insecure", "--listen", remote[i]), NULL));
    }
    test_load_fails(TEXTS("--listen=localhost,192.0.2.1"), NULL, "--listen: other machines can reach '192.0.2.1'",
                    "--insecure");
    test_load_fails(NULL, TEXTS("SQLD_LISTEN=192.0.2.1"), "SQLD_LISTEN: other machines can reach '192.0.2.1'",
                    "--insecure");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(malformed_addresses_are_refused),
        cmocka_unit_test(a_host_name_has_a_longest_length),
        cmocka_unit_test(a_list_holds_up_to_its_limit),
        cmocka_unit_test(a_directory_means_the_socket_that_libpq_looks_for),
        cmocka_unit_test(a_socket_path_fits_into_the_kernels_structure),
        cmocka_unit_test(addresses_that_others_can_reach_need_insecure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
