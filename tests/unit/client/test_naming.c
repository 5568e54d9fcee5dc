/* Which database a name means: every rule of naming.h, in a scratch directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/api.h"
#include "client/naming.h"

static char directory[] = "/tmp/sqld-naming-XXXXXX";

static const struct client_naming no_server = {.url = NULL};
static const struct client_naming server = {.url = "postgresql://app@db.example"};

static const char *path(const char *name)
{
    static char text[200];
    (void)snprintf(text, sizeof(text), "%s/%s", directory, name);
    return text;
}

static void write_file(const char *name, const char *text, off_t size)
{
    int fd = open(path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

struct answer {
    enum client_place place;
    char database[100];
};

static struct answer ask(const struct client_naming *naming, const char *filename, int flags, const char *vfs)
{
    struct client_name name;
    struct sq_error err;
    sq_error_clear(&err);
    struct answer answer = {.place = CLIENT_LOCAL};
    if (client_naming_decide(naming, filename, flags, vfs, &err, &name) != SQ_OK)
        fail_msg("%s: %s", filename, err.text);
    answer.place = name.place;
    (void)snprintf(answer.database, sizeof(answer.database), "%s", name.database != NULL ? name.database : "(none)");
    client_name_done(&name);
    return answer;
}

static enum client_place place_of(const struct client_naming *naming, const char *filename)
{
    return ask(naming, filename, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL).place;
}

static void assert_mapped(const struct client_naming *naming, const char *filename, const char *database)
{
    struct answer answer = ask(naming, filename, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    assert_string_equal(answer.database, database);
    assert_int_equal(answer.place, CLIENT_REMOTE_MAPPED);
}

static void urls_are_remote_whatever_the_environment_says(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "postgresql://h/db", "postgres://h",     "sqld://h/db?target=replica",
        "POSTGRESQL://h/db", "file:sqld://h/db", "file:postgresql%3A//h",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        assert_int_equal(place_of(&no_server, urls[i]), CLIENT_REMOTE_URL);
        assert_int_equal(ask(&no_server, urls[i], 0, "unix").place, CLIENT_REMOTE_URL);
    }
    assert_int_equal(place_of(&no_server, "postgresql:/h"), CLIENT_LOCAL);
    assert_int_equal(place_of(&no_server, "/x/postgresql://h"), CLIENT_LOCAL);
}

static void without_a_server_names_are_local(void **state)
{
    (void)state;
    static const char *const names[] = {"x.db", "/x/y.db", "", ":memory:", "file:x.db?mode=ro", "file:///x"};
    assert_int_equal(ask(&no_server, NULL, 0, NULL).place, CLIENT_LOCAL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(place_of(&no_server, names[i]), CLIENT_LOCAL);
}

static void with_a_server_files_are_mapped_by_their_base_names(void **state)
{
    (void)state;
    assert_mapped(&server, "shop.db", "shop");
    assert_mapped(&server, path("a.b.sqlite3"), "a.b");
    assert_mapped(&server, path(".hidden"), "_hidden_4747f185");
    assert_mapped(&server, "/nowhere/at/all/shop", "shop");
    assert_mapped(&server, "file:shop.db?cache=private#x", "shop");
    assert_mapped(&server, "file:///nowhere/sh%6Fp%20x.db", "shop_x_858ea129");
    assert_mapped(&server, "file://localhost/nowhere/100%.db", "100__2f97df3b");
}

static void names_that_a_server_does_not_take_are_changed(void **state)
{
    (void)state;
    char name[300], expected[CLIENT_DATABASE_NAME_MAX + 1];
    memset(name, 'n', sizeof(name));
    /* As long as can be, then one byte longer. */
    name[CLIENT_DATABASE_NAME_MAX] = '\0';
    assert_mapped(&server, name, name);
    name[CLIENT_DATABASE_NAME_MAX] = 'n';
    name[CLIENT_DATABASE_NAME_MAX + 1] = '\0';
    (void)snprintf(expected, sizeof(expected), "%.54s_0c065ec5", name);
    assert_mapped(&server, name, expected);
    assert_mapped(&server, "-x.db", "_x_4bcd60c0");
    assert_mapped(&server, "a b.db", "a_b_10a3f9f2");
    assert_mapped(&server, "a_b.db", "a_b");
}

static char *share_of(const struct client_naming *naming, const char *filename, int flags)
{
    struct client_name name;
    struct sq_error err;
    assert_int_equal(client_naming_decide(naming, filename, flags, NULL, &err, &name), SQ_OK);
    assert_int_equal(name.place, CLIENT_REMOTE_MAPPED);
    assert_string_equal(name.database, ":memory:");
    assert_null(name.path);
    char *share = name.share != NULL ? strdup(name.share) : NULL;
    client_name_done(&name);
    return share;
}

static void memory_that_is_shared_is_known_by_name_and_process(void **state)
{
    (void)state;
    struct client_naming memory = server;
    memory.has_map_memory = true;
    char *first = share_of(&memory, "file:x?mode=memory&cache=shared", 0);
    char *same = share_of(&memory, "file:%78?cache=shared&mode=memory", 0);
    char *by_flags = share_of(&memory, "x", SQLITE_OPEN_MEMORY | SQLITE_OPEN_SHAREDCACHE | SQLITE_OPEN_URI);
    char *other = share_of(&memory, "file:y?mode=memory&cache=shared", 0);
    assert_int_equal(strlen(first), 64);
    assert_string_equal(first, same);
    assert_string_equal(first, by_flags);
    assert_string_not_equal(first, other);
    assert_null(share_of(&memory, "file:x?mode=memory", 0));
    assert_null(share_of(&memory, "x", SQLITE_OPEN_MEMORY | SQLITE_OPEN_SHAREDCACHE));
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        char *share = share_of(&memory, "file:x?mode=memory&cache=shared", 0);
        bool is_written = write(ends[1], share, 64) == 64;
        _exit(is_written ? 0 : 1);
    }
    char childs[65] = "";
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], childs, 64), 64);
    assert_int_equal(strlen(childs), 64);
    assert_string_not_equal(first, childs);
    (void)close(ends[0]);
    (void)close(ends[1]);
    free(first);
    free(same);
    free(by_flags);
    free(other);
}

static void memory_temporary_and_vfs_names_stay_local(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        ":memory:",
        "file::memory:",
        "file:x?mode=memory&cache=shared",
        "file:x?mode%3Dmemory",
        "file:x.db?vfs=unix",
        "file:",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(place_of(&server, names[i]), CLIENT_LOCAL);
    assert_int_equal(ask(&server, "x.db", SQLITE_OPEN_MEMORY, NULL).place, CLIENT_LOCAL);
    assert_int_equal(ask(&server, "x.db", 0, "unix").place, CLIENT_LOCAL);
    assert_int_equal(ask(&server, NULL, 0, NULL).place, CLIENT_LOCAL);

    struct client_naming memory = server;
    memory.has_map_memory = true;
    assert_mapped(&memory, ":memory:", ":memory:");
    assert_mapped(&memory, "file:x?mode=memory", ":memory:");
    assert_int_equal(place_of(&memory, ""), CLIENT_LOCAL);
    memory.url = NULL;
    assert_int_equal(place_of(&memory, ":memory:"), CLIENT_LOCAL);
}

static void a_stub_is_remote_without_environment(void **state)
{
    (void)state;
    write_file("stub.db", "sqld-stub 1\npostgresql://h/db\n", 30);
    write_file("short", "sqld-stub", 9);
    write_file("long", "sqld-stub 1\n", 512);
    assert_int_equal(place_of(&no_server, path("stub.db")), CLIENT_REMOTE_STUB);
    assert_int_equal(place_of(&server, path("stub.db")), CLIENT_REMOTE_STUB);
    assert_int_equal(place_of(&no_server, path("short")), CLIENT_LOCAL);
    assert_int_equal(place_of(&no_server, path("long")), CLIENT_LOCAL);
}

static void a_file_with_contents_stays_local_unless_it_is_imported(void **state)
{
    (void)state;
    write_file("full.db", "SQLite format 3", 4096);
    write_file("empty.db", "", 0);
    assert_int_equal(place_of(&server, path("full.db")), CLIENT_LOCAL_THOUGH_MAPPED);
    assert_mapped(&server, path("empty.db"), "empty");
    struct client_naming import = server;
    import.has_import = true;
    assert_mapped(&import, path("full.db"), "full");
}

/* A lock of this process on a file is lost when any descriptor of the file is closed: no database may be opened. */
static void looking_at_a_database_file_keeps_its_locks(void **state)
{
    (void)state;
    write_file("locked.db", "SQLite format 3", 512);
    int fd = open(path("locked.db"), O_RDWR);
    assert_true(fd >= 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    assert_int_equal(place_of(&server, path("locked.db")), CLIENT_LOCAL_THOUGH_MAPPED);
    int reader[2];
    assert_int_equal(pipe(reader), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char held = fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type == F_WRLCK ? 'y' : 'n';
        _exit(write(reader[1], &held, 1) == 1 ? 0 : 1);
    }
    char held = '?';
    assert_int_equal(read(reader[0], &held, 1), 1);
    assert_int_equal(held, 'y');
    close(reader[0]);
    close(reader[1]);
    close(fd);
}

static void prefixes_and_special_files_stay_local(void **state)
{
    (void)state;
    assert_int_equal(place_of(&server, "/usr/share/x/y.db"), CLIENT_LOCAL);
    assert_int_equal(place_of(&server, "/dev/null"), CLIENT_LOCAL);
    assert_mapped(&server, "/usrlocal/x.db", "x");

    struct client_naming own = server;
    own.local = directory;
    assert_int_equal(place_of(&own, path("shop.db")), CLIENT_LOCAL);
    assert_mapped(&own, "/usr/share/x/y.db", "y");
    own.local = "/a:/b/";
    assert_int_equal(place_of(&own, "/b/x.db"), CLIENT_LOCAL);
    own.local = "";
    assert_mapped(&own, path("shop.db"), "shop");
    assert_int_equal(place_of(&own, directory), CLIENT_LOCAL);
}

static void a_map_narrows_and_renames(void **state)
{
    (void)state;
    struct client_naming map = server;
    map.map = "/var/lib/app/*.db=app_*:cache.db:*-?.sqlite=x:/n/*/*.db=of_*";
    assert_mapped(&map, "/var/lib/app/users.db", "app_users");
    assert_int_equal(place_of(&map, "/var/lib/app/sub/users.db"), CLIENT_LOCAL);
    assert_int_equal(place_of(&map, "/var/lib/app/users.dbx"), CLIENT_LOCAL);
    assert_mapped(&map, path("cache.db"), "cache");
    assert_int_equal(place_of(&map, path("other.db")), CLIENT_LOCAL);
    assert_mapped(&map, path("ab-?.sqlite"), "x");
    assert_mapped(&map, "/n/one/two.db", "of_one");
}

static void a_map_that_makes_no_sense_is_an_error(void **state)
{
    (void)state;
    static const char *const maps[] = {"=x", "a.db=", "b.db:=x"};
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        struct client_naming map = server;
        map.map = maps[i];
        struct client_name name;
        struct sq_error err;
        sq_error_clear(&err);
        assert_int_equal(client_naming_decide(&map, "z.db", 0, NULL, &err, &name), SQ_INVALID);
        assert_non_null(strstr(err.text, "SQLD_MAP"));
    }
}

static void passwords_are_not_shown(void **state)
{
    (void)state;
    char shown[100];
    assert_string_equal(client_url_show("postgresql://u:se:cr@et@h:1/db?password=x#y", shown, sizeof(shown)),
                        "postgresql://u:***@h:1/db");
    assert_string_equal(client_url_show("postgresql://u@h/db", shown, sizeof(shown)), "postgresql://u@h/db");
    assert_string_equal(client_url_show("postgresql://h:5432/db", shown, sizeof(shown)), "postgresql://h:5432/db");
    assert_string_equal(client_url_show("postgresql://?host=x", shown, sizeof(shown)), "postgresql://");
    assert_string_equal(client_url_show("postgresql://u:p?w@h/db", shown, sizeof(shown)), "postgresql://u:***");
    assert_string_equal(client_url_show("sqld://h\xc3\xa4", shown, 10), "sqld://h");
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"stub.db", "short", "long", "full.db", "empty.db", "locked.db"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(path(names[i]));
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_remote_whatever_the_environment_says),
        cmocka_unit_test(without_a_server_names_are_local),
        cmocka_unit_test(with_a_server_files_are_mapped_by_their_base_names),
        cmocka_unit_test(names_that_a_server_does_not_take_are_changed),
        cmocka_unit_test(memory_temporary_and_vfs_names_stay_local),
        cmocka_unit_test(memory_that_is_shared_is_known_by_name_and_process),
        cmocka_unit_test(a_stub_is_remote_without_environment),
        cmocka_unit_test(a_file_with_contents_stays_local_unless_it_is_imported),
        cmocka_unit_test(looking_at_a_database_file_keeps_its_locks),
        cmocka_unit_test(prefixes_and_special_files_stay_local),
        cmocka_unit_test(a_map_narrows_and_renames),
        cmocka_unit_test(a_map_that_makes_no_sense_is_an_error),
        cmocka_unit_test(passwords_are_not_shown),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
