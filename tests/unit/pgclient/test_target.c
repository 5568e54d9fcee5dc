/* URLs of servers: what each part means, what the environment adds, what is refused and how errors say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "pgclient/target_internal.h"

static struct sq_error err;

static struct pgclient_target *parse(const char *url)
{
    struct pgclient_target *target = NULL;
    sq_error_clear(&err);
    if (pgclient_target_parse(url, &err, &target) != SQ_OK)
        fail_msg("%s: %s", url, err.text);
    assert_non_null(target);
    return target;
}

/* The URL is refused, with a text that has `text` in it; *ret_target stays as it was. */
static void assert_refused(const char *url, const char *text)
{
    struct pgclient_target *target = NULL;
    sq_error_clear(&err);
    sq_status status = pgclient_target_parse(url, &err, &target);
    if (status != SQ_INVALID || strstr(err.text, text) == NULL)
        fail_msg("%s: %s '%s', expected '%s'", url, sq_status_name(status), err.text, text);
    assert_null(target);
}

static void assert_text(const char *found, const char *expected)
{
    if (expected == NULL)
        assert_null(found);
    else if (found == NULL)
        fail_msg("nothing, expected '%s'", expected);
    else
        assert_string_equal(found, expected);
}

static const char *const variables[] = {
    "PGHOST",    "PGHOSTADDR",    "PGPORT",    "PGUSER",   "PGPASSWORD", "PGPASSFILE",           "PGCONNECT_TIMEOUT",
    "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGAPPNAME",  "PGTARGETSESSIONATTRS", "PGOPTIONS",
};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    return 0;
}

static const struct url_case {
    const char *url;
    const char *user;
    const char *password;
    const char *database;
    const char *label; /* all hosts and ports */
} url_cases[] = {
    {"postgresql://u@h", "u", NULL, NULL, "h:5432"},
    {"postgres://u@h/", "u", NULL, NULL, "h:5432"},
    {"sqld://u@h:1/d", "u", NULL, "d", "h:1"},
    {"SQLD://u@h/d", "u", NULL, "d", "h:5432"},
    {"postgresql://u:p@h:65535/d", "u", "p", "d", "h:65535"},
    {"postgresql://u:@h/d", "u", NULL, "d", "h:5432"},
    {"postgresql://u:p:q@h", "u", "p:q", NULL, "h:5432"},
    {"postgresql://u@", "u", NULL, NULL, "localhost:5432"},
    {"postgresql://u@/d", "u", NULL, "d", "localhost:5432"},
    {"postgresql://u@:7/d", "u", NULL, "d", "localhost:7"},
    {"postgresql:///d?user=u", "u", NULL, "d", "localhost:5432"},
    {"postgresql://?user=u", "u", NULL, NULL, "localhost:5432"},
    {"postgresql://u@[::1]", "u", NULL, NULL, "[::1]:5432"},
    {"postgresql://u@[2001:db8::1]:6/d", "u", NULL, "d", "[2001:db8::1]:6"},
    {"postgresql://u@[fe80::1%25eth0]/d", "u", NULL, "d", "[fe80::1%eth0]:5432"},
    {"postgresql://u@a,b:1,[::1]:2,c/d", "u", NULL, "d", "a:5432,b:1,[::1]:2,c:5432"},
    {"postgresql://u@a,,b/d", "u", NULL, "d", "a:5432,localhost:5432,b:5432"},
    {"postgresql://%75%73er:p%40ss%2f%3a%25@h/my%20d%C3%A9", "user", "p@ss/:%", "my d\xc3\xa9", "h:5432"},
    {"postgresql://u@%2Fvar%2Frun%2fsqld/d", "u", NULL, "d", "/var/run/sqld:5432"},
    {"postgresql://u@%2Frun:7/d", "u", NULL, "d", "/run:7"},
    {"postgresql://u@/d?host=/run/x&port=8", "u", NULL, "d", "/run/x:8"},
    {"postgresql://u@h/d?host=x,y&port=1,2", "u", NULL, "d", "x:1,y:2"},
    {"postgresql://u@h/d?host=x,y&port=1", "u", NULL, "d", "x:1,y:1"},
    {"postgresql://u@h/d?host=x,y&port=,2", "u", NULL, "d", "x:5432,y:2"},
    {"postgresql://u@h/d?host=::1&port=1", "u", NULL, "d", "[::1]:1"},
    {"postgresql://u@h/d?hostaddr=127.0.0.1", "u", NULL, "d", "h:5432"},
    {"postgresql://u@/d?hostaddr=127.0.0.1", "u", NULL, "d", "127.0.0.1:5432"},
    {"postgresql://u@h/d?dbname=e&user=v&password=w%26", "v", "w&", "e", "h:5432"},
    {"postgresql://u@h/d?", "u", NULL, "d", "h:5432"},
    {"postgresql://u@h/d?user=v&", "v", NULL, "d", "h:5432"},
    {"postgresql://u@h/d?application_name=a=b", "u", NULL, "d", "h:5432"},
    {"postgresql://u@h/a/b", "u", NULL, "a/b", "h:5432"},
    {"postgresql://u@h/a@b", "u", NULL, "a@b", "h:5432"},
    {"postgresql://h?user=a@b", "a@b", NULL, NULL, "h:5432"},
};

static void every_part_of_a_url_is_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(url_cases) / sizeof(url_cases[0]); i++) {
        const struct url_case *c = &url_cases[i];
        struct pgclient_target *target = parse(c->url);
        assert_text(pgclient_target_user(target), c->user);
        assert_text(target->values[PGCLIENT_PASSWORD], c->password);
        assert_text(pgclient_target_database(target), c->database);
        assert_text(pgclient_target_label(target), c->label);
        pgclient_target_free(target);
    }
}

static void bad_urls_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "does not begin with"},
        {"http://h", "does not begin with"},
        {"postgresql:/h", "does not begin with"},
        {"host=h user=u", "does not begin with"},
        {"postgresql://u@[::1", "no ']'"},
        {"postgresql://u@[]", "no address"},
        {"postgresql://u@[::1]x", "'x' behind an address"},
        {"postgresql://u@h:0", "port '0'"},
        {"postgresql://u@h:65536", "port '65536'"},
        {"postgresql://u@h:x", "port 'x'"},
        {"postgresql://u@h:-1", "port '-1'"},
        {"postgresql://u@h: 1", "port ' 1'"},
        {"postgresql://u@h:99999999999999999999", "port '99999999999999999999'"},
        {"postgresql://u%@h", "the value of 'user'"},
        {"postgresql://u%4@h", "the value of 'user'"},
        {"postgresql://u%4g@h", "the value of 'user'"},
        {"postgresql://u%00@h", "the value of 'user'"},
        {"postgresql://u@h%zz", "in the host"},
        {"postgresql://u@h/d%", "the value of 'dbname'"},
        {"postgresql://u@h/?x", "name=value"},
        {"postgresql://u@h/?user=v&&port=1", "name=value"},
        {"postgresql://u@h/?sslmod=require", "unknown parameter 'sslmod'; there are: host, "},
        {"postgresql://u@h/?Host=x", "unknown parameter 'Host'"},
        {"postgresql://u@h/?ssl=1", "unknown parameter 'ssl'"},
        {"postgresql://u@h/?target=x", "unknown parameter 'target'"},
        {"postgresql://u@h/?=x", "unknown parameter ''"},
        {"postgresql://u@h/?sslmode=on", "one of disable, allow, prefer, require, verify-ca, verify-full"},
        {"postgresql://u@h/?target_session_attrs=master", "one of any, read-write, read-only, primary, standby"},
        {"postgresql://u@h/?connect_timeout=1s", "connect_timeout '1s' is not a whole number (or PGCONNECT_TIMEOUT"},
        {"postgresql://u@h/?connect_timeout=--1", "not a whole number"},
        {"postgresql://u@h/?read_timeout=9999999999999", "not a whole number"},
        {"postgresql://u@h/?keepalives=2", "keepalives '2'"},
        {"postgresql://u@h/?keepalives_count=128", "keepalives_count '128'"},
        {"postgresql://u@h/?client_encoding=LATIN1", "UTF8, the only encoding"},
        {"postgresql://u@a,b/?hostaddr=127.0.0.1", "2 hosts, but 1 addresses"},
        {"postgresql://u@a/?hostaddr=127.0.0.1,127.0.0.2", "1 hosts, but 2 addresses"},
        {"postgresql://u@a,b,c/?port=1,2", "2 ports for 3 hosts"},
        {"postgresql://u@h/?sslrootcert=system&sslmode=require", "verify-full, which sslrootcert=system demands"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i][0], cases[i][1]);
}

static void no_error_shows_a_password(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "postgresql://u:secret%zz@h", "postgresql://u:secret@h:x",       "postgresql://u:secret@[h",
        "http://u:secret@h",          "postgresql://u:secret@h/?x=y",    "postgresql://u@h/?password=secret%",
        "postgresql://u:secret@h/%",  "postgresql://u:secret@h/?secret", "postgresql://u:secret@h,i/?port=1,2,3",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct pgclient_target *target = NULL;
        sq_error_clear(&err);
        assert_int_equal(pgclient_target_parse(urls[i], &err, &target), SQ_INVALID);
        assert_null(strstr(err.text, "secret"));
        assert_null(strstr(err.hint, "secret"));
    }
}

static void numbers_and_modes(void **state)
{
    (void)state;
    struct pgclient_target *target =
        parse("sqld://u@h/?connect_timeout=5&read_timeout=60&sslmode=verify-full&target_session_attrs=prefer-standby&"
              "keepalives=1&keepalives_idle=7&keepalives_interval=8&keepalives_count=9&tcp_user_timeout=1000&"
              "client_encoding=utf-8&options=-c%20a%3Db");
    assert_int_equal(target->connect_timeout_us, 5 * SQ_US_PER_S);
    assert_int_equal(pgclient_target_read_timeout_us(target), 60 * SQ_US_PER_S);
    assert_int_equal(target->sslmode, PGCLIENT_SSL_VERIFY_FULL);
    assert_int_equal(target->session_attrs, PGCLIENT_PREFER_STANDBY);
    assert_true(target->has_keepalives);
    assert_int_equal(target->keepalives_idle_s, 7);
    assert_int_equal(target->keepalives_interval_s, 8);
    assert_int_equal(target->keepalives_count, 9);
    assert_int_equal(target->tcp_user_timeout_ms, 1000);
    assert_text(target->values[PGCLIENT_OPTIONS], "-c a=b");
    pgclient_target_free(target);

    target = parse("sqld://u@h/?connect_timeout=-1&keepalives=0&ssl=true&target=replica");
    assert_int_equal(target->session_attrs, PGCLIENT_PREFER_STANDBY);
    assert_int_equal(target->connect_timeout_us, 0);
    assert_false(target->has_keepalives);
    assert_int_equal(target->sslmode, PGCLIENT_SSL_REQUIRE);
    pgclient_target_free(target);
}

static void defaults(void **state)
{
    (void)state;
    struct pgclient_target *target = parse("sqld://");
    const struct passwd *entry = getpwuid(geteuid());
    assert_non_null(entry);
    assert_text(pgclient_target_user(target), entry->pw_name);
    assert_null(pgclient_target_database(target));
    assert_text(pgclient_target_label(target), "localhost:5432");
    assert_int_equal(target->sslmode, PGCLIENT_SSL_PREFER);
    assert_int_equal(target->session_attrs, PGCLIENT_ANY);
    assert_int_equal(target->connect_timeout_us, 30 * SQ_US_PER_S);
    assert_int_equal(target->read_timeout_us, 0);
    assert_true(target->has_keepalives);
    pgclient_target_free(target);

    target = parse("sqld://u@h/?sslrootcert=system");
    assert_int_equal(target->sslmode, PGCLIENT_SSL_VERIFY_FULL);
    pgclient_target_free(target);
}

static void the_environment_fills_what_the_url_leaves_open(void **state)
{
    (void)state;
    setenv("PGHOST", "a,b", 1);
    setenv("PGPORT", "1,2", 1);
    setenv("PGUSER", "env", 1);
    setenv("PGPASSWORD", "word", 1);
    setenv("PGAPPNAME", "app", 1);
    setenv("PGSSLMODE", "disable", 1);
    setenv("PGCONNECT_TIMEOUT", "9", 1);
    setenv("PGDATABASE", "never", 1);
    struct pgclient_target *target = parse("postgresql://");
    assert_text(pgclient_target_label(target), "a:1,b:2");
    assert_text(pgclient_target_user(target), "env");
    assert_text(target->values[PGCLIENT_PASSWORD], "word");
    assert_text(target->values[PGCLIENT_APPLICATION_NAME], "app");
    assert_null(pgclient_target_database(target));
    assert_int_equal(target->sslmode, PGCLIENT_SSL_DISABLE);
    assert_int_equal(target->connect_timeout_us, 9 * SQ_US_PER_S);
    pgclient_target_free(target);

    target = parse("postgresql://u:p@h:3/?application_name=mine&sslmode=allow&connect_timeout=1");
    assert_text(pgclient_target_label(target), "h:3");
    assert_text(pgclient_target_user(target), "u");
    assert_text(target->values[PGCLIENT_PASSWORD], "p");
    assert_text(target->values[PGCLIENT_APPLICATION_NAME], "mine");
    assert_int_equal(target->sslmode, PGCLIENT_SSL_ALLOW);
    assert_int_equal(target->connect_timeout_us, SQ_US_PER_S);
    pgclient_target_free(target);

    /* One host, but two ports. */
    assert_refused("postgresql://u@h/", "2 ports for 1 hosts");
    setenv("PGHOST", "", 1);
    setenv("PGPORT", "", 1);
    setenv("PGSSLROOTCERT", "system", 1);
    assert_refused("postgresql://u@", "sslmode 'disable'");
    unsetenv("PGSSLMODE");
    target = parse("postgresql://u@");
    assert_text(pgclient_target_label(target), "localhost:5432");
    assert_int_equal(target->sslmode, PGCLIENT_SSL_VERIFY_FULL);
    pgclient_target_free(target);
}

static void limits(void **state)
{
    (void)state;
    char url[70 * 1024] = "sqld://u@h";
    char *end = url + strlen(url);
    for (size_t i = 1; i < PGCLIENT_HOSTS_MAX; i++, end += 2)
        memcpy(end, ",h", 3);
    struct pgclient_target *target = parse(url);
    assert_int_equal(target->host_count, PGCLIENT_HOSTS_MAX);
    pgclient_target_free(target);
    memcpy(end, ",h", 3);
    assert_refused(url, "65 hosts; at most 64");

    static const char prefix[] = "sqld://u@h/";
    memcpy(url, prefix, sizeof(prefix));
    memset(url + strlen(prefix), 'd', 64 * 1024 - 1 - strlen(prefix));
    url[64 * 1024 - 1] = '\0';
    target = parse(url);
    assert_int_equal(strlen(pgclient_target_database(target)), 64 * 1024 - 1 - strlen(prefix));
    pgclient_target_free(target);
    url[64 * 1024 - 1] = 'd';
    url[64 * 1024] = '\0';
    assert_refused(url, "longer than 65535 bytes");
}

static void same_servers(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool is_same;
    } cases[] = {
        {"sqld://u@h/a", "postgresql://u:p@h:5432/b?application_name=x", true},
        {"sqld://u@h/a", "sqld://v@h/a", false},
        {"sqld://u@h/a", "sqld://u@i/a", false},
        {"sqld://u@h/a", "sqld://u@h:1/a", false},
        {"sqld://u@h,i/a", "sqld://u@h/a", false},
        {"sqld://u@h,i/a", "sqld://u@i,h/a", false},
        {"sqld://u@h/a", "sqld://u@h/a?target_session_attrs=standby", false},
        {"sqld://u@h/a", "sqld://u@h/a?sslmode=require", false},
        {"sqld://u@h/a?hostaddr=127.0.0.1", "sqld://u@i/a?hostaddr=127.0.0.1", true},
        {"sqld://u@h/a?hostaddr=127.0.0.1", "sqld://u@h/a?hostaddr=127.0.0.2", false},
        {"sqld://u@/a?host=/run", "sqld://u@%2frun/b", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pgclient_target *a = parse(cases[i].a);
        struct pgclient_target *b = parse(cases[i].b);
        assert_int_equal(pgclient_target_is_same_server(a, b), cases[i].is_same);
        assert_int_equal(pgclient_target_is_same_server(b, a), cases[i].is_same);
        pgclient_target_free(a);
        pgclient_target_free(b);
    }
    pgclient_target_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_part_of_a_url_is_understood, clear_environment),
        cmocka_unit_test_setup(bad_urls_are_refused_with_a_reason, clear_environment),
        cmocka_unit_test_setup(no_error_shows_a_password, clear_environment),
        cmocka_unit_test_setup(numbers_and_modes, clear_environment),
        cmocka_unit_test_setup(defaults, clear_environment),
        cmocka_unit_test_setup(the_environment_fills_what_the_url_leaves_open, clear_environment),
        cmocka_unit_test_setup(limits, clear_environment),
        cmocka_unit_test_setup(same_servers, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
