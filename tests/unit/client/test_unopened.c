/* A connection that could not be opened, given to every function of the interface that takes a connection: each gives
 * back what api.inc says, and none hands the handle to the real library, which would read it as its own object.
 *
 * This program contains the drop-in library itself, so it loads the real one as any application with it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "client/api.h"
#include "client/handle.h"
#include "client/parameters.h"
#include "client/unopened.h"

static sqlite3 *new_unopened(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(client_unopened_new(SQLITE_CANTOPEN, ENOENT, "nobody is there", &db), SQLITE_OK);
    assert_true(client_handle_is_ours(db));
    return db;
}

/* Arguments behind the first: zeros. Only int results are compared, but all functions are called. */
#define IS_INT(expression) __builtin_types_compatible_p(__typeof__(expression), int)
#define INT_OR_0(expression) __builtin_choose_expr(IS_INT(expression), (expression), ((void)(expression), 0))
#define CALL_1(name, db, a) name(db)
#define CALL_N(name, db, a, ...) name(db, CLIENT_ZEROS(__VA_ARGS__))
#define PICK(a, b, c, d, e, f, g, h, i, j, call, ...) call
#define CALL(name, db, ...)                                                                                            \
    PICK(__VA_ARGS__, CALL_N, CALL_N, CALL_N, CALL_N, CALL_N, CALL_N, CALL_N, CALL_N, CALL_N, CALL_1)                  \
    (name, db, __VA_ARGS__)

static void every_function_gives_back_what_the_table_says(void **state)
{
    (void)state;
    int count = 0;
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_PASS(name, object, class_, result, ...)
#define CLIENT_PASS0(name, object, class_, result)
#define CLIENT_VARIADIC(name, object, class_, result, ...)
#define CLIENT_OWN(name, object, class_, result, ...)
#define CLIENT_CONNECTION(name, class_, unopened, result, ...)                                                         \
    {                                                                                                                  \
        sqlite3 *called = new_unopened(), *a1 = new_unopened();                                                        \
        int got = INT_OR_0(CALL(name, called, __VA_ARGS__));                                                           \
        int expected = INT_OR_0(unopened);                                                                             \
        if (got != expected)                                                                                           \
            fail_msg("%s(): %d, not %d", #name, got, expected);                                                        \
        (void)client_unopened_close(called);                                                                           \
        (void)client_unopened_close(a1);                                                                               \
        count++;                                                                                                       \
    }
#include "client/api.inc"
    assert_true(count > 80);
}

static void variadic_functions_and_backups_refuse_it(void **state)
{
    (void)state;
    sqlite3 *db = new_unopened(), *local = NULL;
    assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL), SQLITE_MISUSE);
    assert_int_equal(sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY), SQLITE_MISUSE);
    assert_int_equal(sqlite3_open(":memory:", &local), SQLITE_OK);
    assert_null(sqlite3_backup_init(db, "main", local, "main"));
    assert_null(sqlite3_backup_init(local, "main", db, "main"));
    assert_int_equal(sqlite3_close(local), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void it_knows_its_error_until_it_is_closed(void **state)
{
    (void)state;
    sqlite3 *db = new_unopened();
    assert_int_equal(sqlite3_errcode(db), SQLITE_CANTOPEN);
    assert_string_equal(sqlite3_errmsg(db), "nobody is there");
    assert_int_equal(sqlite3_system_errno(db), ENOENT);
    assert_memory_equal(sqlite3_errmsg16(db), u"nobody is there", sizeof(u"nobody is there"));
    assert_int_equal(sqlite3_close_v2(db), SQLITE_OK);
    assert_int_equal(sqlite3_errcode(db), SQLITE_MISUSE);
    assert_string_equal(sqlite3_errmsg(db), "bad parameter or other API misuse");
    assert_memory_equal(sqlite3_errmsg16(db), u"bad parameter or other API misuse", 2 * 34);
    assert_int_equal(sqlite3_close(db), SQLITE_MISUSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_gives_back_what_the_table_says),
        cmocka_unit_test(variadic_functions_and_backups_refuse_it),
        cmocka_unit_test(it_knows_its_error_until_it_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
