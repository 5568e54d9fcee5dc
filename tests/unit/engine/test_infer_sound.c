/* Soundness of type inference: thousands of generated statements are typed, then run on rows that hold what their
 * columns declare; no value may have a storage class that its column's type does not promise.
 *
 * The statements are the same on every run. A failure prints the statement. The known exceptions: integers stay small,
 * because on overflow SQLite goes on with REAL; and SQLite 3.40's RETURNING may give a whole number from a REAL column as
 * an INTEGER (it keeps such values as integers in its records, and there forgets to turn them back). */
#include "infer_test.h"

enum { STATEMENT_COUNT = 4000, TEXT_BYTES_MAX = 16 * 1024, ROWS_MAX = 200, SCOPE_MAX = 16 };

/* A statement that is being written, and what its expressions may use. */
struct maker {
    uint64_t random;
    char text[TEXT_BYTES_MAX];
    size_t length;
    const char *scope[SCOPE_MAX]; /* columns */
    size_t scope_count;
    bool has_parameters;
};

static unsigned pick(struct maker *maker, unsigned bound)
{
    maker->random ^= maker->random << 13;
    maker->random ^= maker->random >> 7;
    maker->random ^= maker->random << 17;
    return (unsigned)((maker->random >> 11) % bound);
}

__attribute__((format(printf, 2, 3))) static void put(struct maker *maker, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int written = vsnprintf(maker->text + maker->length, TEXT_BYTES_MAX - maker->length, format, args);
    va_end(args);
    assert_true(written >= 0 && (size_t)written < TEXT_BYTES_MAX - maker->length);
    maker->length += (size_t)written;
}

#define PICK(maker, array) ((array)[pick((maker), (unsigned)(sizeof(array) / sizeof((array)[0])))])

static void put_expression(struct maker *maker, int depth);

static void put_leaf(struct maker *maker)
{
    static const char *const constants[] = {"NULL",  "0",       "1",     "2",    "-7",          "1.5",   "2.0",
                                            "'abc'", "'12'",    "'3.5'", "''",   "x'00'",       "x'31'", "TRUE",
                                            "FALSE", "'[1,2]'", "9e3",   "1000", "CURRENT_DATE"};
    if (maker->has_parameters && pick(maker, 8) == 0)
        put(maker, "?");
    else if (maker->scope_count > 0 && pick(maker, 4) != 0)
        put(maker, "%s", maker->scope[pick(maker, (unsigned)maker->scope_count)]);
    else
        put(maker, "%s", PICK(maker, constants));
}

static void put_call(struct maker *maker, int depth)
{
    static const struct {
        const char *name;
        unsigned args_min;
        unsigned args_max;
    } calls[] = {
        {"abs", 1, 1},       {"char", 1, 2},     {"coalesce", 2, 3},   {"hex", 1, 1},        {"ifnull", 2, 2},
        {"iif", 3, 3},       {"instr", 2, 2},    {"length", 1, 1},     {"lower", 1, 1},      {"upper", 1, 1},
        {"max", 2, 3},       {"min", 2, 3},      {"nullif", 2, 2},     {"printf", 1, 2},     {"quote", 1, 1},
        {"replace", 3, 3},   {"round", 1, 2},    {"sign", 1, 1},       {"substr", 2, 3},     {"trim", 1, 2},
        {"typeof", 1, 1},    {"unicode", 1, 1},  {"date", 1, 1},       {"time", 1, 1},       {"datetime", 1, 1},
        {"julianday", 1, 1}, {"strftime", 2, 2}, {"json_quote", 1, 1}, {"json_array", 0, 2}, {"json_valid", 1, 1},
        {"ceil", 1, 1},      {"floor", 1, 1},    {"trunc", 1, 1},      {"sqrt", 1, 1},       {"mod", 2, 2},
        {"likely", 1, 1},    {"unlikely", 1, 1}, {"ltrim", 1, 1},      {"changes", 0, 0},    {"soundex", 1, 1},
        {"glob", 2, 2},      {"like", 2, 2},     {"zeroblob", 0, 0},
    };
    unsigned i = pick(maker, sizeof(calls) / sizeof(calls[0]));
    unsigned count = calls[i].args_min + pick(maker, calls[i].args_max - calls[i].args_min + 1);
    put(maker, "%s(", calls[i].name);
    for (unsigned a = 0; a < count; a++) {
        put(maker, "%s", a > 0 ? ", " : "");
        put_expression(maker, depth - 1);
    }
    put(maker, ")");
}

static void put_operator(struct maker *maker, int depth)
{
    static const char *const operators[] = {"+", "-",  "*",  "/",   "%",  "||", "=",      "<>", "<",
                                            ">", "<=", ">=", "AND", "OR", "IS", "IS NOT", "&",  "|"};
    put(maker, "(");
    put_expression(maker, depth - 1);
    put(maker, " %s ", PICK(maker, operators));
    put_expression(maker, depth - 1);
    put(maker, ")");
}

static void put_query_expression(struct maker *maker)
{
    static const char *const queries[] = {
        "(SELECT max(n) FROM t)",
        "(SELECT name FROM t WHERE n > 5 ORDER BY name LIMIT 1)",
        "(SELECT d FROM t UNION ALL SELECT r FROM t LIMIT 1)",
        "(SELECT count(*) FROM w)",
        "EXISTS (SELECT 1 FROM u WHERE tid > 1)",
        "(SELECT avg(z) FROM w)",
        "(SELECT sum(price) FROM t)",
        "(SELECT group_concat(k) FROM w)",
        "(SELECT uid FROM u LIMIT 1)",
        "(SELECT total(n) FROM t)",
        "(SELECT sum(n) FROM t)",
        "(SELECT x FROM t WHERE id = 5)",
        "(SELECT min(at) FROM u)",
        "(VALUES(1), ('a') LIMIT 1)",
    };
    put(maker, "%s", PICK(maker, queries));
}

static void put_other(struct maker *maker, int depth)
{
    static const char *const types[] = {"INTEGER", "TEXT", "REAL", "NUMERIC", "BLOB", "DATE"};
    switch (pick(maker, 8)) {
    case 0:
        put(maker, "CAST(");
        put_expression(maker, depth - 1);
        put(maker, " AS %s)", PICK(maker, types));
        break;
    case 1:
        put(maker, "CASE WHEN ");
        put_expression(maker, depth - 1);
        put(maker, " THEN ");
        put_expression(maker, depth - 1);
        if (pick(maker, 2) == 0) {
            put(maker, " ELSE ");
            put_expression(maker, depth - 1);
        }
        put(maker, " END");
        break;
    case 2:
        put(maker, "(");
        put_expression(maker, depth - 1);
        put(maker, " BETWEEN ");
        put_expression(maker, depth - 1);
        put(maker, " AND ");
        put_expression(maker, depth - 1);
        put(maker, ")");
        break;
    case 3:
        put(maker, "(");
        put_expression(maker, depth - 1);
        put(maker, " %sIN (", pick(maker, 2) == 0 ? "NOT " : "");
        put_expression(maker, depth - 1);
        put(maker, ", 20, 'bob', NULL))");
        break;
    case 4:
        put(maker, "(%s ", pick(maker, 2) == 0 ? "NOT" : "-");
        put_expression(maker, depth - 1);
        put(maker, ")");
        break;
    case 5:
        put(maker, "(");
        put_expression(maker, depth - 1);
        put(maker, " %s)", pick(maker, 2) == 0 ? "IS NULL" : "NOTNULL");
        break;
    case 6:
        put(maker, "(");
        put_expression(maker, depth - 1);
        put(maker, " COLLATE NOCASE)");
        break;
    default:
        put_query_expression(maker);
        break;
    }
}

static void put_expression(struct maker *maker, int depth)
{
    unsigned kind = depth <= 0 ? 0 : pick(maker, 8);
    if (kind <= 2)
        put_leaf(maker);
    else if (kind <= 4)
        put_operator(maker, depth);
    else if (kind <= 6)
        put_call(maker, depth);
    else
        put_other(maker, depth);
}

static void put_list(struct maker *maker, unsigned count, int depth)
{
    for (unsigned i = 0; i < count; i++) {
        put(maker, "%s", i > 0 ? ", " : "");
        put_expression(maker, depth);
    }
}

/* Where rows come from, and the columns that come with it. */
static void put_source(struct maker *maker)
{
    static const struct {
        const char *from;
        const char *columns[SCOPE_MAX];
    } sources[] = {
        {"t", {"id", "n", "name", "r", "flag", "d", "price", "b", "j", "x"}},
        {"t INDEXED BY t_name", {"id", "name"}},
        {"t INDEXED BY t_expr", {"id", "name", "r", "lower(name)"}},
        {"w", {"k", "v", "z", "note"}},
        {"w INDEXED BY w_z", {"k", "v", "z"}},
        {"u", {"uid", "tid", "at", "tod"}},
        {"g", {"a", "v", "s", "e"}},
        {"s", {"i", "t", "r", "a", "b"}},
        {"vv", {"name", "n1", "flag", "md"}},
        {"t JOIN w ON t.n = w.v", {"id", "n", "name", "r", "k", "v", "z", "d"}},
        {"t LEFT JOIN w ON name = k", {"id", "n", "name", "k", "v", "z", "price"}},
        {"t RIGHT JOIN w ON name = k", {"id", "n", "name", "k", "v", "z", "flag"}},
        {"t FULL JOIN u ON id = tid", {"n", "name", "uid", "tid", "at", "d"}},
        {"t, u WHERE id = tid AND n > 1", {"n", "name", "uid", "at", "price"}},
        {"(SELECT n AS a, name AS c, r AS e FROM t ORDER BY r LIMIT 4)", {"a", "c", "e"}},
        {"(SELECT DISTINCT d AS a, flag AS c FROM t)", {"a", "c"}},
        {"(SELECT n AS a, count(*) AS c, sum(r) AS e, min(d) AS f FROM t GROUP BY n)", {"a", "c", "e", "f"}},
        {"(SELECT n AS a FROM t UNION SELECT v FROM w)", {"a"}},
        {"(SELECT n AS a, name AS c FROM t UNION ALL SELECT k, z FROM w)", {"a", "c"}},
        {"(SELECT name AS a FROM t EXCEPT SELECT k FROM w ORDER BY 1)", {"a"}},
        {"(VALUES(1, 'a', 2.5), (2, 'b', NULL))", {"column1", "column2", "column3"}},
        {"t LEFT JOIN (SELECT n AS gn, count(*) AS c, max(name) AS m FROM t GROUP BY n) ON n = gn",
         {"id", "c", "m", "gn"}},
        {"json_each('[1,\"a\",2.5,null]')", {"key", "value", "type", "atom"}},
        {"t, json_each(t.j)", {"id", "name", "value"}},
        {"sqlite_schema", {"type", "name", "rootpage", "sql"}},
    };
    unsigned i = pick(maker, sizeof(sources) / sizeof(sources[0]));
    put(maker, " FROM %s", sources[i].from);
    maker->scope_count = 0;
    while (maker->scope_count < SCOPE_MAX && sources[i].columns[maker->scope_count] != NULL) {
        maker->scope[maker->scope_count] = sources[i].columns[maker->scope_count];
        maker->scope_count++;
    }
}

/* Puts what `list_cb` writes in front of a source that must be chosen first. */
static void put_select(struct maker *maker, void (*list_cb)(struct maker *maker, unsigned count), const char *head,
                       unsigned count)
{
    char source[1024];
    size_t begin = maker->length;
    put_source(maker);
    assert_true(maker->length - begin < sizeof(source));
    memcpy(source, maker->text + begin, maker->length - begin + 1);
    maker->length = begin;
    put(maker, "%s ", head);
    list_cb(maker, count);
    put(maker, "%s", source);
    if (pick(maker, 3) == 0) {
        put(maker, "%s", strstr(source, "WHERE") != NULL && source[6] != '(' ? " AND " : " WHERE ");
        put_expression(maker, 2);
    }
}

static void list_plain(struct maker *maker, unsigned count)
{
    put_list(maker, count, 3);
}

static void list_small(struct maker *maker, unsigned count)
{
    put_list(maker, count, 1);
}

static void list_aggregates(struct maker *maker, unsigned count)
{
    static const char *const aggregates[] = {"count", "sum", "avg", "total", "min",          "max",
                                             "min",   "max", "sum", "count", "group_concat", "json_group_array"};
    for (unsigned i = 0; i < count; i++) {
        put(maker, "%s%s(%s", i > 0 ? ", " : "", PICK(maker, aggregates), pick(maker, 5) == 0 ? "DISTINCT " : "");
        put_expression(maker, 2);
        put(maker, ")");
        if (pick(maker, 5) == 0) {
            put(maker, " FILTER (WHERE ");
            put_expression(maker, 1);
            put(maker, ")");
        }
    }
}

static void list_windows(struct maker *maker, unsigned count)
{
    static const char *const functions[] = {"row_number()",   "rank()",           "dense_rank()",   "percent_rank()",
                                            "cume_dist()",    "ntile(3)",         "lag(%s)",        "lead(%s)",
                                            "lag(%s, 1, %s)", "first_value(%s)",  "last_value(%s)", "nth_value(%s, 2)",
                                            "sum(%s)",        "avg(%s)",          "min(%s)",        "max(%s)",
                                            "count(%s)",      "group_concat(%s)", "total(%s)"};
    static const char *const frames[] = {
        "",
        " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        " GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING EXCLUDE TIES",
        " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
    };
    for (unsigned i = 0; i < count; i++) {
        put(maker, "%s", i > 0 ? ", " : "");
        for (const char *at = PICK(maker, functions); *at != '\0'; at++) {
            if (at[0] == '%' && at[1] == 's') {
                put_expression(maker, 1);
                at++;
            } else {
                put(maker, "%c", *at);
            }
        }
        put(maker, " OVER (");
        if (pick(maker, 2) == 0) {
            put(maker, "PARTITION BY ");
            put_leaf(maker);
        }
        put(maker, " ORDER BY ");
        put_leaf(maker);
        put(maker, "%s)", PICK(maker, frames));
    }
}

static void put_grouped(struct maker *maker, unsigned count)
{
    put_select(maker, list_aggregates, "SELECT", count);
    if (pick(maker, 3) != 0) {
        put(maker, " GROUP BY ");
        put_expression(maker, 1);
        if (pick(maker, 3) == 0) {
            put(maker, " HAVING ");
            list_aggregates(maker, 1);
        }
    }
}

static void put_compound(struct maker *maker, unsigned count)
{
    static const char *const joints[] = {" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT "};
    put_select(maker, list_small, "SELECT", count);
    for (unsigned i = 0; i <= pick(maker, 2); i++) {
        put(maker, "%s", PICK(maker, joints));
        put_select(maker, list_small, "SELECT", count);
    }
    if (pick(maker, 2) == 0)
        put(maker, " ORDER BY %u", 1 + pick(maker, count));
}

static void put_recursive(struct maker *maker)
{
    put(maker, "WITH RECURSIVE c(level, p, q) AS (SELECT 0, ");
    maker->scope_count = 0;
    put_list(maker, 1, 1);
    put(maker, ", n FROM t UNION %s SELECT level + 1, ", pick(maker, 2) == 0 ? "ALL" : "");
    maker->scope[0] = "p";
    maker->scope[1] = "q";
    maker->scope[2] = "level";
    maker->scope_count = 3;
    put_list(maker, 2, 2);
    put(maker, " FROM c WHERE level < 2 %s) SELECT level, p, q, ",
        pick(maker, 2) == 0 ? "ORDER BY 2, 1 LIMIT 20" : "LIMIT 20");
    put_expression(maker, 2);
    put(maker, " FROM c");
}

static void put_nested(struct maker *maker, unsigned count)
{
    static const char *const names[] = {"c0", "c1", "c2", "c3"};
    bool is_named = pick(maker, 2) == 0;
    put(maker, is_named ? "WITH sub(c0, c1, c2) AS %s(" : "SELECT * FROM (%s",
        is_named && pick(maker, 2) == 0 ? "MATERIALIZED " : "");
    if (pick(maker, 2) == 0)
        put_grouped(maker, 3);
    else
        put_compound(maker, 3);
    put(maker, ")");
    if (!is_named)
        return;
    put(maker, " SELECT ");
    for (unsigned i = 0; i < 3; i++)
        maker->scope[i] = names[i];
    maker->scope_count = 3;
    put_list(maker, count, 2);
    put(maker, " FROM sub %s", pick(maker, 2) == 0 ? "ORDER BY c1" : "JOIN t ON c0 = n");
}

static void put_returning(struct maker *maker)
{
    static const char *const heads[] = {
        "INSERT INTO t(n, name, r, flag) VALUES(5, 'new', 7, 1), (NULL, NULL, 2.5, 0)",
        "INSERT INTO t(id, name) VALUES(1, 'again') ON CONFLICT(id) DO UPDATE SET name = excluded.name, n = n + 1",
        "INSERT OR REPLACE INTO t(id, n, r) SELECT v, v, z FROM w",
        "UPDATE t SET n = n + 1, r = 3, name = upper(name)",
        "UPDATE t SET r = z, price = 2, d = '2024-05-06' FROM w WHERE v = n",
        "UPDATE t SET id = id + 100 WHERE id > 4",
        "DELETE FROM t WHERE id > 2",
        "INSERT INTO t DEFAULT VALUES",
    };
    static const char *const columns[] = {"id", "n", "name", "r", "flag", "d", "price", "b", "j", "x"};
    put(maker, "%s RETURNING ", PICK(maker, heads));
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        maker->scope[i] = columns[i];
    maker->scope_count = sizeof(columns) / sizeof(columns[0]);
    put_list(maker, 4, 2);
}

static void make_statement(struct maker *maker)
{
    unsigned count = 1 + pick(maker, 4);
    maker->length = 0;
    maker->text[0] = '\0';
    maker->scope_count = 0;
    switch (pick(maker, 9)) {
    case 0:
    case 1:
        put_select(maker, list_plain, "SELECT", count);
        put(maker, "%s", pick(maker, 2) == 0 ? " ORDER BY 1 LIMIT 7" : "");
        break;
    case 2:
        put_select(maker, list_plain, "SELECT DISTINCT", count);
        put(maker, "%s", pick(maker, 2) == 0 ? " ORDER BY 1" : "");
        break;
    case 3:
        put_grouped(maker, count);
        break;
    case 4:
        put_compound(maker, count);
        break;
    case 5:
        put_recursive(maker);
        break;
    case 6:
        put_select(maker, list_windows, "SELECT", count);
        break;
    case 7:
        put_nested(maker, count);
        break;
    default:
        put_returning(maker);
        break;
    }
}

static void bind_anything(struct maker *maker, sqlite3_stmt *stmt)
{
    for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); i++) {
        int result = SQLITE_OK;
        switch (pick(maker, 5)) {
        case 0:
            result = sqlite3_bind_int(stmt, i, (int)pick(maker, 30) - 5);
            break;
        case 1:
            result = sqlite3_bind_double(stmt, i, (double)pick(maker, 40) / 4);
            break;
        case 2:
            result = sqlite3_bind_text(stmt, i, pick(maker, 2) == 0 ? "bob" : "12", -1, SQLITE_STATIC);
            break;
        case 3:
            result = sqlite3_bind_blob(stmt, i, "1", 1, SQLITE_STATIC);
            break;
        default:
            break; /* NULL */
        }
        assert_int_equal(result, SQLITE_OK);
    }
}

struct tally {
    size_t refused;
    size_t columns;
    size_t typed;
    size_t values;
};

static void check_statement(sqlite3 *db, struct infer_cache **cache, struct maker *maker, struct tally *tally)
{
    sqlite3_stmt *stmt = NULL;
    enum sq_type columns[INFER_TEST_COLUMNS_MAX];
    enum sq_type parameters[INFER_TEST_COLUMNS_MAX];
    struct sq_error err;
    if (sqlite3_prepare_v2(db, maker->text, -1, &stmt, NULL) != SQLITE_OK) {
        tally->refused++;
        return;
    }
    int column_count = sqlite3_column_count(stmt);
    assert_true(column_count <= INFER_TEST_COLUMNS_MAX && sqlite3_bind_parameter_count(stmt) <= INFER_TEST_COLUMNS_MAX);
    assert_int_equal(infer_statement_types(db, cache, stmt, columns, parameters, &err), SQ_OK);
    for (int i = 0; i < column_count; i++)
        tally->typed += columns[i] != SQ_TYPE_ANY;
    tally->columns += (size_t)column_count;

    bool is_returning = strstr(maker->text, " RETURNING ") != NULL;
    bind_anything(maker, stmt);
    for (int row = 0; row < ROWS_MAX && sqlite3_step(stmt) == SQLITE_ROW; row++) {
        for (int i = 0; i < column_count; i++) {
            enum sq_type promised = is_returning && columns[i] == SQ_TYPE_REAL ? SQ_TYPE_NUMERIC : columns[i];
            if (!infer_test_is_kept(promised, sqlite3_column_type(stmt, i)))
                fail_msg("%s\ncolumn %d: %s, but row %d has '%s' of class %d", maker->text, i + 1,
                         infer_test_type_name(columns[i]), row + 1, (const char *)sqlite3_column_text(stmt, i),
                         sqlite3_column_type(stmt, i));
            tally->values += sqlite3_column_type(stmt, i) != SQLITE_NULL;
        }
    }
    sqlite3_finalize(stmt);
}

static void run(bool has_parameters, uint64_t seed)
{
    struct infer_cache *cache = NULL;
    struct maker *maker = calloc(1, sizeof(*maker));
    struct tally tally = {0};
    sqlite3 *db = infer_test_open(infer_test_schema, infer_test_rows);
    assert_non_null(maker);
    maker->random = seed;
    maker->has_parameters = has_parameters;
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        make_statement(maker);
        infer_test_exec(db, "BEGIN");
        check_statement(db, &cache, maker, &tally);
        infer_test_exec(db, "ROLLBACK");
    }
    print_message("%d statements, %zu refused; %zu of %zu columns typed; %zu values\n", STATEMENT_COUNT, tally.refused,
                  tally.typed, tally.columns, tally.values);
    /* The check must not become empty. */
    assert_true(tally.refused < STATEMENT_COUNT / 4);
    assert_true(tally.typed > tally.columns / 2);
    assert_true(tally.values > STATEMENT_COUNT);
    infer_cache_free(cache);
    free(maker);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void values_keep_what_their_columns_promise(void **state)
{
    (void)state;
    run(false, 0x9e3779b97f4a7c15);
}

static void values_keep_it_whatever_the_parameters_are(void **state)
{
    (void)state;
    run(true, 0xd1b54a32d192ed03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_what_their_columns_promise),
        cmocka_unit_test(values_keep_it_whatever_the_parameters_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
