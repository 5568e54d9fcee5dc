/* tests/client/parity_function.c: functions of the application. */
#include "parity.h"

static sqlite3 *db;

/* --- What a function sees, and what it may give --- */

static void show(sqlite3_context *context, int count, sqlite3_value **values)
{
    say("show(%d), %s, %s", count, (const char *)sqlite3_user_data(context),
        sqlite3_context_db_handle(context) == db ? "its connection" : "another connection");
    depth++;
    for (int i = 0; i < count; i++) {
        say_value("argument", values[i]);
        say("type %d numeric %d bytes %d subtype %u nochange %d", sqlite3_value_type(values[i]),
            sqlite3_value_numeric_type(values[i]), sqlite3_value_bytes(values[i]), sqlite3_value_subtype(values[i]),
            sqlite3_value_nochange(values[i]));
    }
    depth--;
    sqlite3_result_int(context, count);
}

static void conversions(sqlite3_context *context, int count, sqlite3_value **values)
{
    for (int i = 0; i < count; i++) {
        sqlite3_value *kept = sqlite3_value_dup(values[i]);
        say("int %d int64 %lld double %.15g", sqlite3_value_int(values[i]), sqlite3_value_int64(values[i]),
            sqlite3_value_double(values[i]));
        const unsigned char *text16 = sqlite3_value_text16(values[i]);
        say("text16 %d bytes, first %d", sqlite3_value_bytes16(values[i]), text16 != NULL ? text16[0] : -1);
        const unsigned char *text16be = sqlite3_value_text16be(values[i]);
        say("text16be first %d, encoding %d", text16be != NULL ? text16be[0] : -1, sqlite3_value_encoding(values[i]));
        const char *text = (const char *)sqlite3_value_text(values[i]);
        say("text %s", text != NULL ? text : "(null)");
        say_value("kept", kept);
        sqlite3_value_free(kept);
    }
    sqlite3_result_null(context);
}

static sqlite3_value *remembered;

static void remember(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    if (remembered == NULL) {
        remembered = sqlite3_value_dup(values[0]);
        return;
    }
    sqlite3_result_value(context, remembered);
    sqlite3_value_free(remembered);
    remembered = NULL;
}

void part_scalar(void)
{
    db = open_database(first_name);
    char data[] = "user data";
    result(db, "create", sqlite3_create_function(db, "show", -1, SQLITE_UTF8, data, show, NULL, NULL));
    result(db, "create", sqlite3_create_function(db, "conversions", -1, SQLITE_UTF16, NULL, conversions, NULL, NULL));
    result(db, "create", sqlite3_create_function(db, "remember", 1, SQLITE_ANY, NULL, remember, NULL, NULL));
    run(db, "SELECT show()");
    run(db, "SELECT show(NULL, 0, 1, -1, 127, 128, 32767, 32768, 2147483647, 2147483648, 9223372036854775807)");
    run(db, "SELECT show(-128, -129, -32768, -32769, -2147483648, -2147483649, -9223372036854775807 - 1)");
    run(db, "SELECT show(0.0, -0.0, 1.5, 1e308, 9e999, 0.1)");
    run(db, "SELECT show('', 'text', 'ü€😀', '12', ' 12.5 ', '1e3x', CAST(x'610062' AS TEXT))");
    run(db, "SELECT show(x'', x'00', x'00ff10', zeroblob(5), zeroblob(0))");
    run(db, "SELECT show(json('[1]'), json_array(1), 'plain')");
    run(db, "SELECT show(1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20)");
    run(db, "SELECT conversions('ü€', 12, 1.5, x'4142', NULL, '77 and more')");
    run(db, "SELECT remember('kept over statements'), remember(1)");
    run(db, "SELECT remember(x'0102')");
    run(db, "SELECT remember(0)");
    run(db, "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')");
    run(db, "SELECT show(a, b) AS s FROM t WHERE show(a) > 0 ORDER BY show(b), a DESC LIMIT 2");
    run(db, "UPDATE t SET b = show(b, b) WHERE a = 2; SELECT * FROM t");
    run(db, "SELECT show(1,2,3) + show() UNION ALL SELECT show(a) FROM t");
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT show(?1, ?2, :x)", -1, &stmt, NULL));
    for (int i = 0; i < 3; i++) {
        sqlite3_bind_int(stmt, 1, i);
        sqlite3_bind_text(stmt, 2, "bound", -1, SQLITE_STATIC);
        sqlite3_bind_zeroblob(stmt, 3, i);
        result(db, "step", sqlite3_step(stmt));
        say_value("column", sqlite3_column_value(stmt, 0));
        result(db, "reset", sqlite3_reset(stmt));
    }
    sqlite3_finalize(stmt);
    close_database(db);
}

/* A result's destructor is called once; when is not said: the server has a copy at once. */
static int released_count;

static void released(void *bytes)
{
    (void)bytes;
    released_count++;
}

/* Gives one kind of result after the other, by number. */
static void give(sqlite3_context *context, int count, sqlite3_value **values)
{
    static char owned[] = "with destructor";
    static const char le[] = "h\0i\0", be[] = "\0h\0i";
    uint16_t text16[] = {'h', 'i', 0x20ac, 0};
    (void)count;
    switch (sqlite3_value_int(values[0])) {
    case 0:
        sqlite3_result_null(context);
        break;
    case 1:
        sqlite3_result_int(context, -5);
        break;
    case 2:
        sqlite3_result_int64(context, 1LL << 40);
        break;
    case 3:
        sqlite3_result_double(context, 2.5);
        break;
    case 4:
        sqlite3_result_text(context, "static", -1, SQLITE_STATIC);
        break;
    case 5:
        sqlite3_result_text(context, "cut here", 3, SQLITE_TRANSIENT);
        break;
    case 6:
        sqlite3_result_text(context, owned, -1, released);
        break;
    case 7:
        sqlite3_result_text64(context, "a\0b", 3, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case 8:
        sqlite3_result_text16(context, text16, -1, SQLITE_TRANSIENT);
        break;
    case 9:
        sqlite3_result_text16le(context, le, 4, SQLITE_STATIC);
        break;
    case 10:
        sqlite3_result_text16be(context, be, 4, SQLITE_STATIC);
        break;
    case 11:
        sqlite3_result_blob(context, "\0\1\2", 3, SQLITE_TRANSIENT);
        break;
    case 12:
        sqlite3_result_blob(context, "", 0, SQLITE_STATIC);
        break;
    case 13:
        sqlite3_result_blob64(context, owned, 4, released);
        break;
    case 14:
        sqlite3_result_zeroblob(context, 7);
        break;
    case 15:
        say("zeroblob64 %d", sqlite3_result_zeroblob64(context, 3));
        break;
    case 16:
        say("zeroblob64 %d", sqlite3_result_zeroblob64(context, 1ULL << 40));
        break;
    case 17:
        sqlite3_result_value(context, values[0]);
        break;
    case 18:
        break; /* nothing: NULL */
    case 19:   /* the last one counts, the destructor of the first is called */
        sqlite3_result_text(context, owned, -1, destroyed);
        sqlite3_result_int(context, 19);
        break;
    case 20:
        sqlite3_result_text(context, "[1,2]", -1, SQLITE_STATIC);
        sqlite3_result_subtype(context, 'J');
        break;
    case 21:
        sqlite3_result_text(context, NULL, -1, SQLITE_STATIC);
        break;
    case 22:
        sqlite3_result_text(context, "", 0, SQLITE_STATIC);
        break;
    case 23:
        sqlite3_result_double(context, 0.0 / 0.0 * 0.0);
        break;
    case 24:
        sqlite3_result_blob(context, NULL, 5, SQLITE_STATIC);
        break;
    case 25: {
        char *big = sqlite3_malloc(300000);
        memset(big, 'x', 300000);
        sqlite3_result_text(context, big, 300000, sqlite3_free);
        break;
    }
    case 26:
        sqlite3_result_text16(context, text16, 5, SQLITE_TRANSIENT);
        break;
    case 27:
        sqlite3_result_text64(context, (const char *)text16, 4, SQLITE_TRANSIENT, SQLITE_UTF16);
        break;
    default:
        sqlite3_result_error_toobig(context);
        break;
    }
}

/* Pointers go through the server and come back. */
static void pointer_give(sqlite3_context *context, int count, sqlite3_value **values)
{
    static char pointed[] = "pointed at";
    (void)count;
    (void)values;
    sqlite3_result_pointer(context, pointed, "parity", destroyed);
}
static void pointer_take(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *right = sqlite3_value_pointer(values[0], "parity");
    const char *wrong = sqlite3_value_pointer(values[0], "else");
    say("pointer: %s, of another type: %s, type %d", right != NULL ? right : "none", wrong != NULL ? wrong : "none",
        sqlite3_value_type(values[0]));
    sqlite3_result_value(context, values[0]);
}

void part_results(void)
{
    db = open_database(first_name);
    result(db, "create", sqlite3_create_function(db, "give", 1, SQLITE_UTF8, NULL, give, NULL, NULL));
    result(db, "create", sqlite3_create_function(db, "pointer_give", 0, SQLITE_UTF8, NULL, pointer_give, NULL, NULL));
    result(db, "create", sqlite3_create_function(db, "pointer_take", 1, SQLITE_UTF8, NULL, pointer_take, NULL, NULL));
    for (int i = 0; i <= 28; i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "SELECT give(%d), typeof(give(%d))", i, i);
        run(db, sql);
        say("released %d", released_count);
    }
    run(db, "SELECT json_array(give(20), give(4))");
    run(db, "SELECT length(give(25)), give(9) || give(10)");
    run(db, "SELECT pointer_take(pointer_give())");
    run(db, "SELECT pointer_take(pointer_take(pointer_give()))");
    run(db, "SELECT pointer_take(NULL), pointer_take('x')");
    static char bound[] = "bound";
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT pointer_take(?)", -1, &stmt, NULL));
    result(db, "bind", sqlite3_bind_pointer(stmt, 1, bound, "parity", destroyed));
    result(db, "step", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "bind", sqlite3_bind_null(stmt, 1));
    result(db, "step", sqlite3_step(stmt));
    result(db, "finalize", sqlite3_finalize(stmt));
    close_database(db);
}

static void fail(sqlite3_context *context, int count, sqlite3_value **values)
{
    static const uint16_t text16[] = {'s', 'i', 'x', 't', 'e', 'e', 'n', 0};
    (void)count;
    switch (sqlite3_value_int(values[0])) {
    case 0:
        sqlite3_result_error(context, "in words", -1);
        break;
    case 1:
        sqlite3_result_error(context, "cut in words", 3);
        break;
    case 2:
        sqlite3_result_error16(context, text16, -1);
        break;
    case 3:
        sqlite3_result_error_code(context, SQLITE_CONSTRAINT);
        break;
    case 4:
        sqlite3_result_error_code(context, SQLITE_CONSTRAINT_CHECK);
        break;
    case 5:
        sqlite3_result_error_nomem(context);
        break;
    case 6:
        sqlite3_result_error_toobig(context);
        break;
    case 7:
        sqlite3_result_error(context, "with a code", -1);
        sqlite3_result_error_code(context, SQLITE_AUTH);
        break;
    case 8:
        sqlite3_result_error_code(context, SQLITE_AUTH);
        sqlite3_result_error(context, "words last", -1);
        break;
    case 9:
        sqlite3_result_error(context, "words", -1);
        sqlite3_result_int(context, 42);
        break;
    case 10:
        sqlite3_result_error_code(context, SQLITE_INTERRUPT);
        break;
    case 11:
        sqlite3_result_error_code(context, SQLITE_BUSY);
        break;
    case 12:
        sqlite3_result_error(context, "", -1);
        break;
    case 13:
        sqlite3_result_error_code(context, 0);
        break;
    case 14:
        sqlite3_result_error_code(context, SQLITE_IOERR_READ);
        break;
    default:
        sqlite3_result_int(context, 1);
        break;
    }
}

void part_errors(void)
{
    db = open_database(first_name);
    result(db, "create", sqlite3_create_function(db, "fail", 1, SQLITE_UTF8, NULL, fail, NULL, NULL));
    run(db, "CREATE TABLE t(a PRIMARY KEY, b CHECK (fail(b)))");
    for (int i = 0; i <= 15; i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "SELECT fail(%d)", i);
        run(db, sql);
    }
    sqlite3_extended_result_codes(db, 1);
    run(db, "SELECT fail(4)");
    sqlite3_extended_result_codes(db, 0);
    run(db, "INSERT INTO t VALUES (1, 20), (2, 0), (3, 20); SELECT * FROM t");
    run(db, "BEGIN; INSERT INTO t VALUES (1, 20); INSERT INTO t VALUES (2, 0); INSERT INTO t VALUES (3, 3)");
    run(db, "SELECT * FROM t; COMMIT");
    run(db, "INSERT OR IGNORE INTO t VALUES (4, 3); SELECT count(*) FROM t");
    char *message = NULL;
    result(db, "exec", sqlite3_exec(db, "SELECT 1; SELECT fail(0)", NULL, NULL, &message));
    say("message %s", message);
    sqlite3_free(message);
    close_database(db);
}

/* --- Auxiliary data --- */

static void auxiliary_destroyed(void *data)
{
    destroyed(data);
    sqlite3_free(data);
}

/* Logs whether the first argument's data is still there, and sets it if not. */
static void auxiliary(sqlite3_context *context, int count, sqlite3_value **values)
{
    char *data = sqlite3_get_auxdata(context, 0);
    say("auxiliary(%s): %s, other %s", (const char *)sqlite3_value_text(values[0]), data != NULL ? data : "none",
        sqlite3_get_auxdata(context, 1) != NULL ? "there" : "none");
    if (data == NULL) {
        sqlite3_set_auxdata(context, 0, sqlite3_mprintf("data of %s", sqlite3_value_text(values[0])),
                            auxiliary_destroyed);
    } else if (count > 1 && sqlite3_value_int(values[1]) == 2) {
        sqlite3_set_auxdata(context, 0, sqlite3_mprintf("second data"), auxiliary_destroyed);
        sqlite3_set_auxdata(context, 0, sqlite3_mprintf("third data"), auxiliary_destroyed);
    }
    sqlite3_result_int(context, data != NULL);
}

void part_auxiliary(void)
{
    db = open_database(first_name);
    result(db, "create", sqlite3_create_function(db, "auxiliary", -1, SQLITE_UTF8, NULL, auxiliary, NULL, NULL));
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3), (4)");
    run(db, "SELECT auxiliary('constant', a) FROM t");
    run(db, "SELECT auxiliary(a) FROM t");
    run(db, "SELECT auxiliary('one', 1), auxiliary('two', 1) FROM t WHERE a < 3");
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT auxiliary(?, a) FROM t", -1, &stmt, NULL));
    sqlite3_bind_text(stmt, 1, "bound", -1, SQLITE_STATIC);
    result(db, "step", sqlite3_step(stmt));
    result(db, "step", sqlite3_step(stmt));
    say("reset");
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "step", sqlite3_step(stmt));
    say("reset and bind");
    result(db, "reset", sqlite3_reset(stmt));
    sqlite3_bind_text(stmt, 1, "bound anew", -1, SQLITE_STATIC);
    result(db, "step", sqlite3_step(stmt));
    say("finalize");
    result(db, "finalize", sqlite3_finalize(stmt));
    close_database(db);
}

/* --- Aggregates --- */

struct sum {
    int steps;
    long long total;
};

static void sum_step(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct sum *sum = sqlite3_aggregate_context(context, sizeof(*sum));
    sum->steps++;
    sum->total += count > 0 ? sqlite3_value_int64(values[0]) : 0;
    say("sum_step %lld, now %lld after %d (%d)", count > 0 ? sqlite3_value_int64(values[0]) : -1, sum->total,
        sum->steps, sqlite3_aggregate_count(context));
    if (sum->total > 1000)
        sqlite3_result_error(context, "too much", -1);
}

static void sum_final(sqlite3_context *context)
{
    struct sum *sum = sqlite3_aggregate_context(context, 0);
    if (sum == NULL) {
        struct sum *late = sqlite3_aggregate_context(context, sizeof(*late));
        say("sum_final: nothing, late %s", late != NULL && late->steps == 0 && late->total == 0 ? "zeros" : "none");
        sqlite3_result_text(context, "nothing", -1, SQLITE_STATIC);
        return;
    }
    say("sum_final %lld (%d)", sum->total, sqlite3_aggregate_count(context));
    if (sum->total == 7)
        sqlite3_result_error_code(context, SQLITE_MISMATCH);
    else
        sqlite3_result_int64(context, sum->total);
}

static void none_step(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    say("none_step: %s %s", sqlite3_aggregate_context(context, 0) == NULL ? "null" : "memory",
        sqlite3_aggregate_context(context, -1) == NULL ? "null" : "memory");
}
static void none_final(sqlite3_context *context)
{
    say("none_final: %s", sqlite3_aggregate_context(context, 0) == NULL ? "null" : "memory");
}

void part_aggregate(void)
{
    db = open_database(first_name);
    result(db, "create", sqlite3_create_function(db, "total_of", -1, SQLITE_UTF8, NULL, NULL, sum_step, sum_final));
    result(db, "create", sqlite3_create_function(db, "none_of", 1, SQLITE_UTF8, NULL, NULL, none_step, none_final));
    run(db, "CREATE TABLE t(g, a); INSERT INTO t VALUES ('x', 1), ('y', 10), ('x', 2), ('z', 100), ('y', 20)");
    run(db, "SELECT total_of(a) FROM t");
    run(db, "SELECT g, total_of(a) FROM t GROUP BY g ORDER BY g");
    run(db, "SELECT total_of(a), total_of(a * 2), total_of() FROM t WHERE g = 'x'");
    run(db, "SELECT total_of(DISTINCT g) FROM t");
    run(db, "SELECT total_of(a) FILTER (WHERE a > 5) FROM t");
    run(db, "SELECT total_of(a) FROM t WHERE 0");
    run(db, "SELECT total_of(a) FROM t WHERE 0 GROUP BY g");
    run(db, "SELECT none_of(a) FROM t");
    run(db, "SELECT g, total_of(a) FROM t GROUP BY g HAVING total_of(a) > 5 ORDER BY total_of(a) DESC LIMIT 1");
    run(db, "INSERT INTO t VALUES ('big', 5000); SELECT total_of(a) FROM t");
    run(db, "SELECT total_of(a) FROM (SELECT 3 AS a UNION ALL SELECT 4)");
    run(db, "SELECT (SELECT total_of(a) FROM t AS i WHERE i.g = o.g) FROM t AS o WHERE g <> 'big' LIMIT 2");
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT total_of(a) FROM t GROUP BY g", -1, &stmt, NULL));
    result(db, "step", sqlite3_step(stmt)); /* 'big': an error */
    result(db, "finalize", sqlite3_finalize(stmt));
    run(db, "DELETE FROM t WHERE g = 'big'");
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT total_of(a) FROM t GROUP BY g", -1, &stmt, NULL));
    result(db, "step", sqlite3_step(stmt));
    say("finalized in the middle");
    result(db, "finalize", sqlite3_finalize(stmt));
    close_database(db);
}

static void sum_value(sqlite3_context *context)
{
    const struct sum *sum = sqlite3_aggregate_context(context, 0);
    say("sum_value %lld", sum != NULL ? sum->total : -1);
    if (sum != NULL)
        sqlite3_result_int64(context, sum->total);
}

static void sum_inverse(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct sum *sum = sqlite3_aggregate_context(context, sizeof(*sum));
    (void)count;
    sum->total -= sqlite3_value_int64(values[0]);
    say("sum_inverse %lld (%d)", sqlite3_value_int64(values[0]), sqlite3_aggregate_count(context));
}

void part_window(void)
{
    static char data[] = "the window function";
    db = open_database(first_name);
    result(db, "create",
           sqlite3_create_window_function(db, "moving", 1, SQLITE_UTF8, data, sum_step, sum_final, sum_value,
                                          sum_inverse, destroyed));
    run(db, "CREATE TABLE t(g, a); INSERT INTO t VALUES ('x', 1), ('y', 10), ('x', 2), ('x', 4), ('y', 20)");
    run(db, "SELECT a, moving(a) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t");
    run(db, "SELECT g, a, moving(a) OVER (PARTITION BY g ORDER BY a) FROM t");
    run(db, "SELECT moving(a) OVER (ORDER BY a ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) FROM t");
    run(db, "SELECT moving(a) FROM t");
    run(db, "SELECT a, moving(a) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM t WHERE a < 3");
    result(db, "create", sqlite3_create_function(db, "plain", 1, SQLITE_UTF8, NULL, NULL, sum_step, sum_final));
    run(db, "SELECT plain(a) OVER (ORDER BY a) FROM t");
    close_database(db);
}

/* --- Registration --- */

static void number(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)values;
    sqlite3_result_text(context, sqlite3_mprintf("%s/%d", sqlite3_user_data(context), count), -1, sqlite3_free);
}

static void registration_kinds(void)
{
    result(db, "no name",
           sqlite3_create_function_v2(db, NULL, 1, SQLITE_UTF8, "no name", number, NULL, NULL, destroyed));
    result(db, "both",
           sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF8, "both", number, sum_step, sum_final, destroyed));
    result(db, "step", sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF8, "step", NULL, sum_step, NULL, destroyed));
    result(db, "final", sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF8, "final", NULL, NULL, sum_final, destroyed));
    result(db, "value",
           sqlite3_create_window_function(db, "f", 1, SQLITE_UTF8, "value", sum_step, sum_final, sum_value, NULL,
                                          destroyed));
    result(db, "-2", sqlite3_create_function_v2(db, "f", -2, SQLITE_UTF8, "-2", number, NULL, NULL, destroyed));
    result(db, "128", sqlite3_create_function_v2(db, "f", 128, SQLITE_UTF8, "128", number, NULL, NULL, destroyed));
    result(db, "127", sqlite3_create_function_v2(db, "f", 127, SQLITE_UTF8, "127", number, NULL, NULL, destroyed));
    char name[300];
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    result(db, "256", sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8, "256", number, NULL, NULL, destroyed));
    name[255] = '\0';
    result(db, "255", sqlite3_create_function_v2(db, name, 1, SQLITE_UTF8, "255", number, NULL, NULL, destroyed));
}

void part_registration(void)
{
    db = open_database(first_name);
    run(db, "SELECT f(1)");
    registration_kinds();
    result(db, "f", sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF8, "first", number, NULL, NULL, destroyed));
    result(db, "f", sqlite3_create_function_v2(db, "F", -1, SQLITE_UTF8, "any", number, NULL, NULL, destroyed));
    run(db, "SELECT f(1), F(1, 2), f()");
    result(db, "f", sqlite3_create_function_v2(db, "F", 1, SQLITE_UTF8, "second", number, NULL, NULL, destroyed));
    run(db, "SELECT f(1), f(1, 2)");
    result(db, "f16", sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF16, "sixteen", number, NULL, NULL, destroyed));
    run(db, "SELECT f(1)");
    result(db, "fany", sqlite3_create_function_v2(db, "f", 1, SQLITE_ANY, "encodings", number, NULL, NULL, destroyed));
    run(db, "SELECT f(1)");
    result(db, "delete", sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF8, NULL, NULL, NULL, NULL, NULL));
    result(db, "delete", sqlite3_create_function_v2(db, "f", 1, SQLITE_UTF16, NULL, NULL, NULL, NULL, NULL));
    result(db, "delete", sqlite3_create_function_v2(db, "f", 1, SQLITE_ANY, NULL, NULL, NULL, NULL, NULL));
    run(db, "SELECT f(1)");
    result(db, "delete what is none",
           sqlite3_create_function_v2(db, "nothing", 1, SQLITE_UTF8, "none", NULL, NULL, NULL, destroyed));
    result(db, "built in",
           sqlite3_create_function_v2(db, "upper", 1, SQLITE_UTF8, "mine", number, NULL, NULL, destroyed));
    run(db, "SELECT upper('x')");
    result(db, "built in", sqlite3_create_function_v2(db, "upper", 1, SQLITE_UTF8, NULL, NULL, NULL, NULL, NULL));
    run(db, "SELECT upper('x')");
    uint16_t name16[] = {'s', 'i', 'x', 0xfc, 0};
    result(db, "16", sqlite3_create_function16(db, name16, 0, SQLITE_UTF8, "in UTF-16", number, NULL, NULL));
    run(db, "SELECT sixü()");
    result(db, "overload", sqlite3_overload_function(db, "later", 1));
    run(db, "SELECT later(1)");
    result(db, "overload", sqlite3_overload_function(db, "lower", 1));
    run(db, "SELECT lower('X')");

    /* Statements that run keep their functions. */
    sqlite3_stmt *stmt;
    result(db, "f", sqlite3_create_function_v2(db, "g", 0, SQLITE_UTF8, "busy", number, NULL, NULL, destroyed));
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT g() UNION ALL SELECT g()", -1, &stmt, NULL));
    result(db, "step", sqlite3_step(stmt));
    result(db, "replace", sqlite3_create_function_v2(db, "g", 0, SQLITE_UTF8, "new", number, NULL, NULL, destroyed));
    result(db, "another", sqlite3_create_function_v2(db, "h", 0, SQLITE_UTF8, "other", number, NULL, NULL, destroyed));
    result(db, "step", sqlite3_step(stmt));
    result(db, "reset", sqlite3_reset(stmt));
    result(db, "replace", sqlite3_create_function_v2(db, "g", 0, SQLITE_UTF8, "new", number, NULL, NULL, destroyed));
    result(db, "step", sqlite3_step(stmt));
    say_value("g", sqlite3_column_value(stmt, 0));
    result(db, "finalize", sqlite3_finalize(stmt));

    /* Where functions may be used. */
    result(db, "plain", sqlite3_create_function(db, "plain", 1, SQLITE_UTF8, "plain", number, NULL, NULL));
    result(db, "steady",
           sqlite3_create_function(db, "steady", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, "steady", number, NULL, NULL));
    result(db, "direct",
           sqlite3_create_function(db, "direct", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, "direct", number, NULL, NULL));
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    run(db, "CREATE INDEX i ON t(plain(a))");
    run(db, "CREATE INDEX i ON t(steady(a))");
    run(db, "CREATE VIEW v AS SELECT direct(a) FROM t; SELECT * FROM v");
    run(db, "SELECT direct(a), steady(a) FROM t WHERE steady(a) = 'steady/1'");
    run(db, "DROP INDEX i; DROP VIEW v");
    say("close");
    close_database(db);
}

/* --- Functions that use their connection --- */

static void nested(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3 *own = sqlite3_context_db_handle(context);
    const char *sql = (const char *)sqlite3_value_text(values[0]);
    say("nested {");
    depth++;
    run(own, sql);
    depth--;
    say("}");
    say_value("argument is still", values[0]);
    sqlite3_result_int64(context, sqlite3_changes(own));
}

static void recurse(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    int level = sqlite3_value_int(values[0]);
    if (level == 0) {
        sqlite3_result_text(context, "bottom", -1, SQLITE_STATIC);
        return;
    }
    sqlite3 *own = sqlite3_context_db_handle(context);
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(own, "SELECT recurse(?1 - 1)", -1, &stmt, NULL) != SQLITE_OK) {
        sqlite3_result_error(context, sqlite3_errmsg(own), -1);
        return;
    }
    sqlite3_bind_int(stmt, 1, level);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        sqlite3_result_text(context, sqlite3_mprintf("%d,%s", level, sqlite3_column_text(stmt, 0)), -1, sqlite3_free);
    else
        sqlite3_result_error(context, sqlite3_errmsg(own), -1);
    sqlite3_finalize(stmt);
}

static void error_of(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3 *own = sqlite3_context_db_handle(context);
    int code = sqlite3_exec(own, "SELECT * FROM nowhere", NULL, NULL, NULL);
    sqlite3_result_text(context, sqlite3_mprintf("%d %s", code, sqlite3_errmsg(own)), -1, sqlite3_free);
}

void part_nesting(void)
{
    db = open_database(first_name);
    result(db, "create", sqlite3_create_function(db, "nested", 1, SQLITE_UTF8, NULL, nested, NULL, NULL));
    result(db, "create", sqlite3_create_function(db, "recurse", 1, SQLITE_UTF8, NULL, recurse, NULL, NULL));
    result(db, "create", sqlite3_create_function(db, "error_of", 0, SQLITE_UTF8, NULL, error_of, NULL, NULL));
    run(db, "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)");
    run(db, "SELECT nested('SELECT a FROM t'), nested('SELECT 1, ''two''')");
    run(db, "SELECT a, nested('INSERT INTO t VALUES (10 + ' || a || ')') FROM t WHERE a < 3 ORDER BY a LIMIT 2");
    run(db, "SELECT * FROM t");
    run(db, "SELECT nested('SELECT nested(''SELECT nested(''''SELECT 1'''')'')')");
    run(db, "SELECT nested('SELECT * FROM missing')");
    run(db, "SELECT nested('SELECT max(a), nested(''DELETE FROM t WHERE a > 10'') FROM t'), count(*) FROM t");
    run(db, "SELECT error_of(), error_of()");
    run(db, "SELECT recurse(0), recurse(1), recurse(20)");
    run(db, "INSERT INTO t SELECT nested('SELECT count(*) FROM t') FROM t; SELECT * FROM t");
    run(db, "BEGIN; INSERT INTO t VALUES (99); SELECT nested('SELECT max(a) FROM t'); ROLLBACK; SELECT max(a) FROM t");
    run(db, "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT nested('SELECT ' || new.a); END; INSERT INTO t VALUES "
            "(5), (6)");
    run(db, "DROP TRIGGER r");
    close_database(db);
}

/* --- Counters within calls --- */

static void say_counters(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3 *own = sqlite3_context_db_handle(context);
    say("%s: changes %d, total %d, rowid %lld, autocommit %d", (const char *)sqlite3_value_text(values[0]),
        sqlite3_changes(own), sqlite3_total_changes(own), sqlite3_last_insert_rowid(own), sqlite3_get_autocommit(own));
}

void part_counters(void)
{
    sqlite3 *counted = open_database(first_name);
    sqlite3_create_function(counted, "say", 1, SQLITE_UTF8, NULL, say_counters, NULL, NULL);
    run(counted, "CREATE TABLE t(a); CREATE TABLE log(x); INSERT INTO t VALUES (1), (2)");
    run(counted, "CREATE TRIGGER g AFTER UPDATE ON t BEGIN INSERT INTO log VALUES ('a'), ('b'), ('c');"
                 "SELECT say('trigger'); END");
    run(counted, "INSERT INTO log VALUES (1), (2); UPDATE t SET a = say('update'); SELECT say('after')");
    run(counted, "BEGIN; UPDATE t SET a = say('update'), a = 3 WHERE rowid = 1; SELECT say('after'), changes(),"
                 "total_changes(), last_insert_rowid(); ROLLBACK");
    close_database(counted);
}
