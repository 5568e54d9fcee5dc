/* Stub files: made whole, finished once, read again, without passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/stub.h"

static char directory[] = "/tmp/sqld-stub-XXXXXX";
static const char url[] = "postgresql://app:secret@db.example:5432";

static const char *path(const char *name)
{
    static char text[200];
    (void)snprintf(text, sizeof(text), "%s/%s", directory, name);
    return text;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_file(const char *name, const char *expected)
{
    char text[1000] = "";
    FILE *file = fopen(path(name), "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(length, strlen(expected));
    assert_string_equal(text, expected);
}

static size_t count_files(void)
{
    DIR *all = opendir(directory);
    assert_non_null(all);
    size_t count = 0;
    while (readdir(all) != NULL)
        count++;
    closedir(all);
    return count - 2;
}

static void a_stub_is_made_finished_and_read(void **state)
{
    (void)state;
    struct sq_error err;
    struct client_stub stub, again;
    assert_int_equal(client_stub_open(path("a.db"), url, &err, &stub), SQ_OK);
    assert_null(stub.database);
    assert_string_equal(stub.url, "postgresql://app@db.example:5432");
    assert_file("a.db", "sqld-stub 1\npostgresql://app@db.example:5432\n");
    assert_int_equal(client_stub_finish(&stub, "a_2", &err), SQ_OK);
    assert_file("a.db", "sqld-stub 1\npostgresql://app@db.example:5432\ndatabase a_2\n");
    client_stub_done(&stub);
    assert_int_equal(client_stub_open(path("a.db"), NULL, &err, &again), SQ_OK);
    assert_string_equal(again.database, "a_2");
    assert_int_equal(again.fd, -1);
    client_stub_done(&again);
    assert_int_equal(unlink(path("a.db")), 0);
}

static void a_stub_that_is_given_up_is_gone(void **state)
{
    (void)state;
    struct sq_error err;
    struct client_stub stub;
    assert_int_equal(client_stub_open(path("b.db"), url, &err, &stub), SQ_OK);
    client_stub_done(&stub);
    assert_int_equal(count_files(), 0);
}

static void without_a_url_nothing_is_made(void **state)
{
    (void)state;
    struct sq_error err;
    struct client_stub stub;
    assert_int_equal(client_stub_open(path("c.db"), NULL, &err, &stub), SQ_NOT_FOUND);
    assert_int_equal(client_stub_open(path("no/c.db"), url, &err, &stub), SQ_NOT_FOUND);
    assert_int_equal(count_files(), 0);
}

static void an_empty_file_keeps_its_mode(void **state)
{
    (void)state;
    struct sq_error err;
    struct client_stub stub;
    struct stat info;
    write_file("d.db", "");
    assert_int_equal(chmod(path("d.db"), 0640), 0);
    assert_int_equal(client_stub_open(path("d.db"), url, &err, &stub), SQ_OK);
    assert_int_equal(client_stub_finish(&stub, "d", &err), SQ_OK);
    client_stub_done(&stub);
    assert_int_equal(stat(path("d.db"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(unlink(path("d.db")), 0);
}

static void what_is_no_stub_stays_as_it_is(void **state)
{
    (void)state;
    static const char *const texts[] = {"sqld-stub 2\nx\n", "sqld-stub 1\n", "sqld-stub 1\nurl\nother\n", "text"};
    struct sq_error err;
    struct client_stub stub;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_file("e.db", texts[i]);
        assert_int_equal(client_stub_open(path("e.db"), url, &err, &stub), SQ_INVALID);
        assert_file("e.db", texts[i]);
    }
    char large[600];
    memset(large, 'x', sizeof(large));
    memcpy(large, "sqld-stub 1\n", strlen("sqld-stub 1\n"));
    large[sizeof(large) - 1] = '\0';
    write_file("e.db", large);
    assert_int_equal(client_stub_open(path("e.db"), url, &err, &stub), SQ_INVALID);
    assert_int_equal(unlink(path("e.db")), 0);
}

static void names_that_are_too_long_for_a_stub_are_refused(void **state)
{
    (void)state;
    struct sq_error err;
    struct client_stub stub;
    char name[600];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(client_stub_open(path("f.db"), url, &err, &stub), SQ_OK);
    assert_int_equal(client_stub_finish(&stub, name, &err), SQ_LIMIT);
    client_stub_done(&stub);
    assert_int_equal(count_files(), 0);
}

static void passwords_are_left_out(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"postgresql://h/x", "postgresql://h/x"},
        {"postgresql://u:p@h:1/x?a=b", "postgresql://u@h:1/x?a=b"},
        {"postgresql://u:p@q@h", "postgresql://u@h"},
        {"postgresql://u@h:5432", "postgresql://u@h:5432"},
        {"postgresql://h?password=p", "postgresql://h"},
        {"postgresql://h?password=p&a=b", "postgresql://h?a=b"},
        {"postgresql://h?a=b&password=p&c=d", "postgresql://h?a=b&c=d"},
        {"postgresql://h?password=p&password=q", "postgresql://h"},
        {"nonsense", "nonsense"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char *plain = client_stub_url(pairs[i][0]);
        assert_string_equal(plain, pairs[i][1]);
        free(plain);
    }
}

static void origins_tell_paths_apart(void **state)
{
    (void)state;
    char a[CLIENT_ORIGIN_BYTES], b[CLIENT_ORIGIN_BYTES], c[CLIENT_ORIGIN_BYTES];
    client_stub_origin("/x/a.db", a);
    client_stub_origin("/x/b.db", b);
    client_stub_origin("/x/a.db", c);
    assert_string_equal(a, c);
    assert_string_not_equal(a, b);
    assert_int_equal(strspn(a, "0123456789abcdef"), CLIENT_ORIGIN_BYTES - 1);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stub_is_made_finished_and_read),
        cmocka_unit_test(a_stub_that_is_given_up_is_gone),
        cmocka_unit_test(without_a_url_nothing_is_made),
        cmocka_unit_test(an_empty_file_keeps_its_mode),
        cmocka_unit_test(what_is_no_stub_stays_as_it_is),
        cmocka_unit_test(names_that_are_too_long_for_a_stub_are_refused),
        cmocka_unit_test(passwords_are_left_out),
        cmocka_unit_test(origins_tell_paths_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
