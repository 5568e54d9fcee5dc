/* Type inference, statement by statement; its cache; and that it leaves no traces. */
#include "infer_test.h"

/* Types as infer_test_type_name() has them, with blanks between. The schema is infer_test_schema and `schema`. */
struct sample {
    const char *sql;
    const char *columns;
    const char *parameters;
    const char *schema;
};

#define ALL_OF_T "int int text real bool date num blob json any"

static const struct sample columns_of_tables[] = {
    {"SELECT * FROM t", ALL_OF_T, "", NULL},
    {"SELECT rowid, oid, n FROM t", "int int int", "", NULL},
    {"SELECT name FROM t WHERE name > 'a'", "text", "", NULL}, /* covering index */
    {"SELECT id, name FROM t INDEXED BY t_name", "int text", "", NULL},
    {"SELECT n FROM t WHERE n > 5 AND n < 9", "int", "", NULL}, /* partial index */
    {"SELECT r FROM t WHERE lower(name) = 'x'", "real", "", NULL},
    {"SELECT * FROM w", "text int real text", "", NULL},
    {"SELECT z, k FROM w INDEXED BY w_z WHERE z > 1", "real text", "", NULL},
    {"SELECT * FROM u", "uuid int timestamp time", "", NULL},
    {"SELECT a, s, e FROM g", "int text real", "", NULL},
    {"SELECT v FROM g WHERE v = 4", "int", "", NULL}, /* virtual, from its index */
    {"SELECT * FROM s", "int text real any blob", "", NULL},
    {"SELECT * FROM vv", "text int bool any", "", NULL},
    {"SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema", "text text text int text", "", NULL},
    {"SELECT seq FROM sqlite_sequence", "any", "", NULL}, /* declared without types */
    {"SELECT a.name, b.at FROM t a JOIN u b ON a.id = b.tid", "text timestamp", "", NULL},
    {"SELECT a.name, b.at FROM t a LEFT JOIN u b ON a.id = b.tid", "text timestamp", "", NULL},
    {"SELECT a.name, b.k FROM t a RIGHT JOIN w b ON a.n = b.v", "text text", "", NULL},
    {"SELECT a.d, b.flag FROM t a FULL JOIN t b ON a.id = b.n", "date bool", "", NULL},
    {"SELECT value, key FROM json_each('[1]')", "any any", "", NULL},
    {"SELECT t.name, e.value FROM t, json_each(t.j) e", "text any", "", NULL},
};

static const struct sample columns_of_expressions[] = {
    {"SELECT 1, -1, 9223372036854775807, 1.5, 'a', x'00', NULL, TRUE", "int int int real text blob any int", "", NULL},
    {"SELECT n + 1, n - id, n * 2, n / 2, n % 2, -n FROM t", "int int int int int int", "", NULL},
    {"SELECT r + n, n * 1.5, r % 2, -r, n / r, x + r FROM t", "real real real real real real", "", NULL},
    {"SELECT x + 1, price * 2, name + n, d + 1 FROM t", "any any any any", "", NULL},
    {"SELECT flag + 1, flag * n FROM t", "int int", "", NULL},
    {"SELECT n & 3, n | x, n << 2, ~x, x >> 1 FROM t", "int int int int int", "", NULL},
    {"SELECT n || name, x || 1, NULL || 'a' FROM t", "text text text", "", NULL},
    {"SELECT n = 1, n < r, x IS NULL, x NOTNULL, NOT x, n AND r, x OR 1, n BETWEEN 1 AND 2, x IN (1, 2), name LIKE "
     "'a%', "
     "x IS TRUE, EXISTS (SELECT 1 FROM w), n IN (SELECT v FROM w) FROM t",
     "int int int int int int int int int int int int int", "", NULL},
    {"SELECT CAST(x AS INTEGER), CAST(x AS TEXT), CAST(x AS REAL), CAST(x AS BLOB), CAST(x AS DECIMAL) FROM t",
     "int text real blob num", "", NULL},
    {"SELECT CASE WHEN n > 1 THEN 1 ELSE 2 END, CASE n WHEN 1 THEN 'a' END, CASE WHEN n THEN 1 ELSE 'a' END, "
     "CASE WHEN n THEN 1 ELSE 2.5 END, iif(n, d, NULL) FROM t",
     "int text any num date", "", NULL},
    {"SELECT coalesce(n, 0), coalesce(name, ''), ifnull(d, NULL), coalesce(flag, 0), coalesce(flag, 2), "
     "coalesce(price, 0), "
     "coalesce(n, name), coalesce(r, 0.0) FROM t",
     "int text date bool int num any real", "", NULL},
    {"SELECT length(x), upper(x), substr(name, 2), substr(b, 2), substr(x, 2), hex(x), typeof(x), instr(x, 'a'), "
     "quote(x), "
     "trim(x), printf('%d', n), char(65), unicode(x) FROM t",
     "int text text blob any text text int text text text text int", "", NULL},
    {"SELECT replace(name, 'a', 'b'), replace(x, '', '') FROM t", "text any", "", NULL},
    {"SELECT abs(n), abs(r), abs(x), round(n), round(x, 2), sign(x), ceil(n), floor(r), sqrt(n), pi(), mod(n, 3) FROM "
     "t",
     "int real any real real int int real real real real", "", NULL},
    {"SELECT date(d), time(d), datetime(d), strftime('%Y', d), julianday(d), CURRENT_TIMESTAMP FROM t",
     "text text text text real text", "", NULL},
    {"SELECT random(), randomblob(4), zeroblob(2), changes(), total_changes(), last_insert_rowid(), sqlite_version()",
     "int blob blob int int int text", "", NULL},
    {"SELECT min(n, 3), max(r, 1.5), nullif(name, 'a'), nullif(d, '') FROM t", "int real text date", "", NULL},
    {"SELECT json(j), json_array(1, 2), json_object('a', 1), json_type(j), json_valid(j), json_extract(j, '$'), j -> "
     "'a', "
     "j ->> 'a', json_array_length(j) FROM t",
     "json json json text int any json any int", "", NULL},
    {"SELECT (SELECT name FROM t b WHERE b.id = a.n), (SELECT max(at) FROM u WHERE tid = a.id) FROM t a",
     "text timestamp", "", NULL},
    {"SELECT likely(n), unlikely(name), likelihood(r, 0.5), name COLLATE NOCASE, (n, name) = (1, 'a') FROM t",
     "int text real text int", "", NULL},
    {"VALUES(1, 'a', NULL), (2, 'b', 2.5)", "int text real", "", NULL},
    {"VALUES(1), ('a')", "any", "", NULL},
};

static const struct sample columns_of_queries[] = {
    {"SELECT name, n FROM t ORDER BY r, d", "text int", "", NULL},
    {"SELECT * FROM t WHERE 1 = 0", ALL_OF_T, "", NULL}, /* dead code */
    {"SELECT n + 1, sum(n), max(d) FROM t WHERE 0 GROUP BY name", "int int date", "", NULL},
    {"SELECT n FROM t LIMIT 0", "int", "", NULL},
    {"SELECT d, x FROM t ORDER BY lower(name) LIMIT 3 OFFSET 1", "date any", "", NULL},
    {"SELECT DISTINCT d, flag FROM t ORDER BY r", "date bool", "", NULL},
    {"SELECT count(*), count(x), sum(n), sum(r), sum(x), avg(n), total(n), min(d), max(name), group_concat(n) FROM t",
     "int int int real any real real date text text", "", NULL},
    {"SELECT sum(flag), sum(price), max(price), min(x), count(DISTINCT n), sum(n) FILTER (WHERE r > 1) FROM t",
     "int any num any int int", "", NULL},
    {"SELECT name, sum(n), max(d), count(*) FROM t GROUP BY name ORDER BY 2 DESC", "text int date int", "", NULL},
    {"SELECT n, count(*) FROM t GROUP BY n HAVING count(*) > 1", "int int", "", NULL},
    {"SELECT json_group_array(n), json_group_object(name, n) FROM t", "json json", "", NULL},
    {"SELECT d, max(r) FROM t", "date real", "", NULL}, /* a bare column beside max() */
    {"SELECT n FROM t UNION SELECT v FROM w", "int", "", NULL},
    {"SELECT n, name FROM t UNION ALL SELECT v, k FROM w ORDER BY 2", "int text", "", NULL},
    {"SELECT n FROM t UNION ALL SELECT name FROM t", "any", "", NULL},
    {"SELECT n FROM t UNION SELECT name FROM t ORDER BY 1", "any", "", NULL},
    {"SELECT n FROM t UNION ALL SELECT z FROM w", "num", "", NULL},
    {"SELECT n FROM t INTERSECT SELECT v FROM w", "int", "", NULL},
    {"SELECT n, name FROM t EXCEPT SELECT v, k FROM w ORDER BY 1", "int text", "", NULL},
    {"SELECT a, b FROM (SELECT n AS a, max(d) AS b FROM t GROUP BY n) WHERE a > 1 ORDER BY b", "int date", "", NULL},
    {"SELECT x.name, y.n, y.c FROM t x LEFT JOIN (SELECT n, count(*) AS c FROM t GROUP BY n) y ON x.n = y.n",
     "text int int", "", NULL},
    {"WITH c AS MATERIALIZED (SELECT d, sum(n) AS s FROM t GROUP BY d) SELECT * FROM c JOIN c AS c2 ON c.s = c2.s",
     "date int date int", "", NULL},
    {"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 9) SELECT i, i * 2 FROM c", "int int",
     "", NULL},
    {"WITH RECURSIVE c(i, s) AS (SELECT id, name FROM t UNION SELECT i + 1, s || 'x' FROM c WHERE i < 9 ORDER BY 2) "
     "SELECT i, s FROM c",
     "int text", "", NULL},
    {"WITH RECURSIVE c(i, s) AS (SELECT 1, 'a' UNION ALL SELECT i + 1, i FROM c WHERE i < 9) SELECT i, s FROM c",
     "int any", "", NULL},
    {"WITH RECURSIVE c(i, p) AS (SELECT 1, NULL UNION ALL SELECT i + 1, i * 0.5 FROM c WHERE i < 9) SELECT p FROM c",
     "real", "", NULL},
    {"SELECT row_number() OVER (ORDER BY n), rank() OVER (ORDER BY n), percent_rank() OVER (ORDER BY n), "
     "ntile(2) OVER (ORDER BY n) FROM t",
     "int int real int", "", NULL},
    {"SELECT lag(name) OVER (ORDER BY id), lead(d, 1, NULL) OVER (ORDER BY id), first_value(r) OVER (ORDER BY id), "
     "last_value(flag) OVER (ORDER BY id), lag(n, 1, 'none') OVER (ORDER BY id) FROM t",
     "text date real bool any", "", NULL},
    /* A partition is flushed by a subroutine that returns to a constant address. */
    {"SELECT lag(n, 1, name) OVER (ORDER BY id), lag(r) OVER (ORDER BY n), total(n) OVER (PARTITION BY id ORDER BY n) "
     "FROM t",
     "any real real", "", NULL},
    {"SELECT sum(n) OVER w, avg(n) OVER w, max(d) OVER w, count(*) OVER w FROM t "
     "WINDOW w AS (PARTITION BY flag ORDER BY n ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
     "int real date int", "", NULL},
};

static const struct sample written_rows[] = {
    {"INSERT INTO t(name, n, r, d, flag, price, b) VALUES(?, ?, ?, ?, ?, ?, ?)", "", "text int real date bool num blob",
     NULL},
    {"INSERT INTO t VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "", ALL_OF_T, NULL},
    {"INSERT INTO t(name, n) VALUES(?, ?), (?, ?), (?, ?)", "", "text int text int text int", NULL},
    {"INSERT INTO t(name, n) VALUES(?1, ?2) RETURNING id, name, n + 1, ?2", "int text int any", "text int", NULL},
    {"INSERT INTO t(name) SELECT k FROM w WHERE z > ? RETURNING *", ALL_OF_T, "real", NULL},
    {"INSERT INTO t(n, d) SELECT ?, ? FROM w WHERE k = ?", "", "int date text", NULL},
    {"INSERT INTO t(id, name) VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET name = excluded.name, n = n + ? WHERE r > ?",
     "", "int text int real", NULL},
    {"INSERT INTO w VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING", "", "text int real text", NULL},
    {"REPLACE INTO w(k, v) VALUES(?, ?)", "", "text int", NULL},
    {"REPLACE INTO w(k, v) VALUES(?, ?) RETURNING *", "text int real text", "text int", NULL},
    {"UPDATE w SET note = ? WHERE v > ? RETURNING note, v, z", "text int real", "text int", NULL},
    {"INSERT INTO u VALUES(?, ?, ?, ?) RETURNING uid, at", "uuid timestamp", "uuid int timestamp time", NULL},
    {"INSERT INTO s VALUES(?, ?, ?, ?, ?) RETURNING *", "int text real any blob", "int text real any blob", NULL},
    {"INSERT INTO g(a, e) VALUES(?, ?) RETURNING a, s, e", "int text real", "int real", NULL},
    {"INSERT INTO quiet VALUES(?, ?)", "", "int text", NULL}, /* has a trigger */
    {"INSERT INTO log(what) VALUES(?)", "", "text", NULL},    /* AUTOINCREMENT */
    {"INSERT INTO t(n) VALUES(coalesce(?, 5))", "", "int", NULL},
    {"INSERT INTO t(name) VALUES(upper(?))", "", "text", NULL},
    {"UPDATE t SET n = ?, name = ?, flag = ? WHERE id = ?", "", "int text bool int", NULL},
    {"UPDATE t SET n = n + ?, r = r * ?, price = price + ? WHERE name = ?", "", "int real any text", NULL},
    {"UPDATE t SET name = coalesce(?, name), d = ? WHERE id = ? RETURNING *", ALL_OF_T, "text date int", NULL},
    {"UPDATE t SET id = ? WHERE id = ?", "", "int int", NULL},
    {"UPDATE w SET z = ?, note = ? WHERE v = ? AND k = ?", "", "real text int text", NULL},
    {"UPDATE t SET name = w.k, d = ? FROM w WHERE w.v = t.n AND w.z < ?", "", "date real", NULL},
    {"DELETE FROM t WHERE d < ? OR price = ?", "", "date num", NULL},
    {"DELETE FROM t WHERE id IN (SELECT tid FROM u WHERE uid = ?) RETURNING id, d", "int date", "uuid", NULL},
    {"WITH n(a) AS (SELECT ? UNION ALL SELECT v FROM w) INSERT INTO t(n) SELECT a FROM n", "", "int", NULL},
};

static const struct sample compared_parameters[] = {
    {"SELECT 1 FROM t WHERE n = ? AND name <> ? AND r < ? AND d >= ? AND flag = ? AND price > ? AND b = ?", "int",
     "int text real date bool num blob", NULL},
    {"SELECT 1 FROM t WHERE ? = n", "int", "int", NULL},
    {"SELECT 1 FROM t WHERE id = ?", "int", "int", NULL},
    {"SELECT 1 FROM t WHERE id > ? AND id <= ?", "int", "int int", NULL},
    {"SELECT 1 FROM t WHERE x = ?", "int", "any", NULL},
    {"SELECT 1 FROM t WHERE name = ?", "int", "text", NULL}, /* by index */
    {"SELECT 1 FROM t WHERE name BETWEEN ? AND ?", "int", "text text", NULL},
    {"SELECT 1 FROM t WHERE n > 5 AND n = ?", "int", "int", NULL},
    {"SELECT 1 FROM t INDEXED BY t_expr WHERE lower(name) = 'a' AND r > ?", "int", "real", NULL},
    {"SELECT 1 FROM w WHERE v = ? AND k > ?", "int", "int text", NULL},
    {"SELECT 1 FROM w WHERE z = ?", "int", "real", NULL},
    {"SELECT 1 FROM u WHERE uid = ?", "int", "uuid", NULL},
    {"SELECT 1 FROM t WHERE n IN (?, ?, ?)", "int", "int int int", NULL},
    {"SELECT 1 FROM t WHERE name IN (?, ?, ?, ?)", "int", "text text text text", NULL},
    {"SELECT 1 FROM t WHERE id IN (?, ?, ?)", "int", "int int int", NULL},
    {"SELECT 1 FROM t WHERE ? IN (SELECT name FROM t)", "int", "text", NULL},
    {"SELECT 1 FROM t WHERE name LIKE ? AND name NOT GLOB ?", "int", "text text", NULL},
    {"SELECT 1 FROM t LIMIT ? OFFSET ?", "int", "int int", NULL},
    {"SELECT 1 FROM t ORDER BY r LIMIT ?", "int", "int", NULL},
    {"SELECT CAST(? AS INTEGER), CAST(? AS TEXT), CAST(? AS REAL), ? || 'a', ?", "int text real text any",
     "int text real text any", NULL},
    {"SELECT 1 FROM t WHERE lower(name) = lower(?)", "int", "text", NULL},
    {"SELECT 1 FROM t WHERE length(name) > ?", "int", "int", NULL},
    {"SELECT 1 FROM t WHERE ?1 IS NULL OR d = ?1", "int", "date", NULL},
    {"SELECT 1 FROM t WHERE n = ?1 OR name = ?1", "int", "any", NULL}, /* contradiction */
    {"SELECT 1 FROM t WHERE name = ?1 OR x LIKE '%' || ?1 || '%'", "int", "text", NULL},
    {"SELECT 1 FROM t WHERE n = ?1 OR x LIKE '%' || ?1 || '%'", "int", "int", NULL}, /* || is a weak reason */
    {"SELECT 1 FROM t WHERE n + ? > 3 AND r - ? > 0.5 AND ? + ? > 1", "int", "int real any any", NULL},
    {"SELECT n + ? FROM t", "any", "int", NULL},
    {"SELECT 1 FROM t WHERE ? = 1 AND 'a' = ?", "int", "any any", NULL}, /* constants are no reason */
    {"SELECT 1 FROM t WHERE (n, name) = (?, ?)", "int", "int text", NULL},
    {"SELECT (n, name) > (?, ?) FROM t", "int", "int text", NULL},
    {"SELECT n FROM t GROUP BY n HAVING count(*) > ? AND sum(r) < ?", "int", "int real", NULL},
    {"SELECT n FROM t WHERE n = (SELECT v FROM w WHERE k = ?)", "int", "text", NULL},
    {"SELECT * FROM (SELECT n AS a, name AS c FROM t ORDER BY r LIMIT 9) WHERE a = ? AND c = ?", "int text", "int text",
     NULL},
    {"SELECT name FROM vv WHERE n1 = ? AND flag = ?", "text", "int bool", NULL},
    {"SELECT name FROM t WHERE n = ? UNION SELECT k FROM w WHERE z = ? ORDER BY 1", "text", "int real", NULL},
    {"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT i FROM c", "int", "int", NULL},
    {"SELECT CASE n WHEN ? THEN 'a' END FROM t", "text", "int", NULL},
    {"SELECT 1 FROM t WHERE coalesce(?, name) = name", "int", "text", NULL},
    {"SELECT 1 FROM t WHERE n = :a AND name = @b AND r = $c AND id = ?7", "int", "int text real any any any int", NULL},
    {"SELECT value FROM json_each(?) WHERE value = ?", "any", "any any", NULL},
    {"SELECT 1 FROM t WHERE n = ?3 AND name = ?1", "int", "text any int", NULL},
};

static const struct sample other_schemas[] = {
    {"SELECT * FROM aux.far WHERE a = ?", "int text", "int",
     "ATTACH ':memory:' AS aux; CREATE TABLE aux.far(a INT, b TEXT)"},
    {"SELECT f.b, t.name FROM far f JOIN t ON f.a = t.id", "uuid text", "",
     "ATTACH ':memory:' AS aux; CREATE TABLE aux.far(a INT, b UUID)"},
    {"INSERT INTO temp.tt VALUES(?, ?) RETURNING *", "int date", "int date", "CREATE TEMP TABLE tt(a INT, b DATE)"},
    {"SELECT b FROM tt INDEXED BY tti WHERE b = ?", "text", "text",
     "CREATE TEMP TABLE tt(a INT, b TEXT); CREATE INDEX temp.tti ON tt(b)"},
    {"SELECT \"a b\", \"c\"\"d\", \"select\" FROM \"ta ble\"\"s\" WHERE \"a b\" = ?", "int text real", "int",
     "CREATE TABLE \"ta ble\"\"s\"(\"a b\" INT, \"c\"\"d\" TEXT, \"select\" REAL)"},
    {"SELECT a, b FROM odd", "int any", "",
     "CREATE TABLE odd(a, b TEXT); ALTER TABLE odd RENAME COLUMN a TO c; "
     "ALTER TABLE odd DROP COLUMN b; ALTER TABLE odd ADD COLUMN a INT DEFAULT 5; "
     "ALTER TABLE odd ADD COLUMN b"},
    {"SELECT c FROM many WHERE b = ? AND a = ?", "real", "text int",
     "CREATE TABLE many(a INT, b TEXT, c REAL, UNIQUE(b, a, c), UNIQUE(c), UNIQUE(a))"},
    {"SELECT body, rank FROM ft WHERE ft MATCH ?", "any any", "any", "CREATE VIRTUAL TABLE ft USING fts5(body)"},
    {"INSERT INTO shown VALUES(?, ?)", "", "any any",
     "CREATE VIEW shown AS SELECT n, name FROM t; CREATE TRIGGER shown_insert INSTEAD OF INSERT ON shown BEGIN "
     "INSERT INTO t(n, name) VALUES(new.n, new.name); END"},
    {"SELECT * FROM sqlite_temp_schema", "text text text int text", "", "CREATE TEMP TABLE tt(a)"},
};

static const struct sample not_explained[] = {
    {"PRAGMA user_version", "any", "", NULL},
    {"EXPLAIN SELECT ?", "any any any any any any any any", "any", NULL},
    {"CREATE TABLE zz AS SELECT 1 AS a", "", "", NULL},
    {"  -- a comment\n /* and * another */ SELECT /* here */ n FROM t -- and there", "int", "", NULL},
    {"\tselect n from t", "int", "", NULL},
};

static void check_types(const struct sample *sample, const char *what, const enum sq_type *types, int count,
                        const char *expected)
{
    char got[1024] = "";
    for (int i = 0; i < count; i++) {
        size_t length = strlen(got);
        (void)snprintf(got + length, sizeof(got) - length, "%s%s", i > 0 ? " " : "", infer_test_type_name(types[i]));
    }
    if (strcmp(got, expected) != 0)
        fail_msg("%s\n%s: '%s' instead of '%s'", sample->sql, what, got, expected);
}

static void check_sample(sqlite3 *db, struct infer_cache **cache, const struct sample *sample)
{
    sqlite3_stmt *stmt = NULL;
    enum sq_type columns[INFER_TEST_COLUMNS_MAX];
    enum sq_type parameters[INFER_TEST_COLUMNS_MAX];
    struct sq_error err;
    if (sqlite3_prepare_v2(db, sample->sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sample->sql, sqlite3_errmsg(db));
    assert_int_equal(infer_statement_types(db, cache, stmt, columns, parameters, &err), SQ_OK);
    check_types(sample, "columns", columns, sqlite3_column_count(stmt), sample->columns);
    check_types(sample, "parameters", parameters, sqlite3_bind_parameter_count(stmt), sample->parameters);
    sqlite3_finalize(stmt);
}

static void check_samples(const struct sample *samples, size_t count)
{
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open(infer_test_schema, "");
    for (size_t i = 0; i < count; i++) {
        struct infer_cache *cold = NULL;
        sqlite3 *own_db = samples[i].schema != NULL ? infer_test_open(infer_test_schema, samples[i].schema) : db;
        check_sample(own_db, samples[i].schema != NULL ? &cold : &cache, &samples[i]);
        check_sample(own_db, &cold, &samples[i]); /* an empty cache says the same as a full one */
        infer_cache_free(cold);
        if (own_db != db)
            assert_int_equal(sqlite3_close(own_db), SQLITE_OK);
    }
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define CHECK_SAMPLES(samples) check_samples((samples), sizeof(samples) / sizeof((samples)[0]))

static void columns_come_from_declarations(void **state)
{
    (void)state;
    CHECK_SAMPLES(columns_of_tables);
}

static void expressions_have_the_types_of_their_values(void **state)
{
    (void)state;
    CHECK_SAMPLES(columns_of_expressions);
}

static void types_go_through_sorters_groups_and_coroutines(void **state)
{
    (void)state;
    CHECK_SAMPLES(columns_of_queries);
}

static void written_parameters_have_the_types_of_their_columns(void **state)
{
    (void)state;
    CHECK_SAMPLES(written_rows);
}

static void compared_parameters_have_the_types_of_the_other_side(void **state)
{
    (void)state;
    CHECK_SAMPLES(compared_parameters);
}

static void attached_temporary_and_odd_schemas_are_known(void **state)
{
    (void)state;
    CHECK_SAMPLES(other_schemas);
}

static void only_queries_and_changes_are_explained(void **state)
{
    (void)state;
    CHECK_SAMPLES(not_explained);
}

/* Infers the columns of `sql`; they must be `expected`. */
static void expect(sqlite3 *db, struct infer_cache **cache, const char *sql, const char *columns,
                   const char *parameters)
{
    const struct sample sample = {sql, columns, parameters, NULL};
    check_sample(db, cache, &sample);
}

static void schema_changes_are_noticed(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open("CREATE TABLE a(v INT); CREATE TABLE c(v TEXT);", "");
    expect(db, &cache, "SELECT v FROM a", "int", "");
    infer_test_exec(db, "DROP TABLE a; CREATE TABLE a(v REAL)");
    expect(db, &cache, "SELECT v FROM a WHERE v = ?", "real", "real");
    /* The page of a dropped table serves another one. */
    infer_test_exec(db, "DROP TABLE a; DROP TABLE c; CREATE TABLE c(v DATE); CREATE TABLE a(v BLOB)");
    expect(db, &cache, "SELECT a.v, c.v FROM a, c", "blob date", "");
    infer_test_exec(db, "ALTER TABLE c ADD COLUMN more UUID");
    expect(db, &cache, "SELECT * FROM c", "date uuid", "");
    infer_test_exec(db, "CREATE INDEX c_more ON c(more)");
    expect(db, &cache, "SELECT more FROM c WHERE more > ?", "uuid", "uuid");
    infer_test_exec(db, "DROP INDEX c_more");
    expect(db, &cache, "SELECT more FROM c WHERE more > ?", "uuid", "uuid");
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void rolled_back_schema_changes_are_forgotten(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open("CREATE TABLE base(v INT);", "");
    infer_test_exec(db, "BEGIN; CREATE TABLE a(v INT)");
    expect(db, &cache, "SELECT v FROM a", "int", "");
    infer_test_exec(db, "ROLLBACK; BEGIN; CREATE TABLE a(v TEXT)");
    expect(db, &cache, "SELECT v FROM a", "text", "");
    infer_test_exec(db, "ROLLBACK");
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void an_attached_database_in_memory_is_never_taken_for_another(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open("", "");
    infer_test_exec(db, "ATTACH ':memory:' AS aux; CREATE TABLE aux.a(v INT)");
    expect(db, &cache, "SELECT v FROM aux.a", "int", "");
    infer_test_exec(db, "DETACH aux; ATTACH ':memory:' AS aux; CREATE TABLE aux.a(v TEXT)");
    expect(db, &cache, "SELECT v FROM aux.a", "text", "");
    infer_cache_clear(cache);
    expect(db, &cache, "SELECT v FROM aux.a", "text", "");
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void another_connections_changes_are_seen_as_soon_as_sqlite_sees_them(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = NULL;
    sqlite3 *other = NULL;
    const char *uri = "file:infer_test?mode=memory&cache=shared";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
    assert_int_equal(sqlite3_open_v2(uri, &db, flags, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_open_v2(uri, &other, flags, NULL), SQLITE_OK);
    infer_test_exec(db, "CREATE TABLE a(v INT)");
    expect(db, &cache, "SELECT v FROM a", "int", "");
    infer_test_exec(other, "DROP TABLE a; CREATE TABLE a(v TEXT)");
    infer_test_exec(db, "SELECT * FROM a");
    expect(db, &cache, "SELECT v FROM a", "text", "");
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

static void no_transaction_begins(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "SELECT name FROM vv WHERE n1 = ?",
        "INSERT INTO t(n) VALUES(?) RETURNING *",
        "UPDATE w SET z = ? WHERE k = ?",
        "DELETE FROM u WHERE uid = ?",
        "SELECT * FROM quiet",
    };
    sqlite3 *db = infer_test_open(infer_test_schema, infer_test_rows);
    infer_test_exec(db, "BEGIN");
    int total_changes = sqlite3_total_changes(db);
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        enum sq_type types[INFER_TEST_COLUMNS_MAX];
        enum sq_type parameters[INFER_TEST_COLUMNS_MAX];
        struct sq_error err;
        struct infer_cache *cache = NULL;
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_prepare_v2(db, statements[i], -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(infer_statement_types(db, &cache, stmt, types, parameters, &err), SQ_OK);
        assert_int_equal(sqlite3_txn_state(db, NULL), SQLITE_TXN_NONE);
        assert_int_equal(sqlite3_get_autocommit(db), 0);
        assert_int_equal(sqlite3_total_changes(db), total_changes);
        assert_ptr_equal(sqlite3_next_stmt(db, NULL), stmt); /* no statement is left behind */
        assert_null(sqlite3_next_stmt(db, stmt));
        infer_cache_free(cache);
        sqlite3_finalize(stmt);
    }
    infer_test_exec(db, "ROLLBACK");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* FTS5 reads its configuration when it is connected: within BEGIN that would be the transaction's first read. */
static void virtual_tables_that_are_not_named_stay_unread(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *maker = NULL;
    sqlite3 *db = NULL;
    const char *uri = "file:infer_virtual?mode=memory&cache=shared";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
    assert_int_equal(sqlite3_open_v2(uri, &maker, flags, NULL), SQLITE_OK);
    infer_test_exec(maker, "CREATE TABLE parent(id INT PRIMARY KEY, name TEXT);"
                           "CREATE TABLE child(p INT REFERENCES parent(id), d DATE);"
                           "CREATE VIRTUAL TABLE ft USING fts5(body)");
    assert_int_equal(sqlite3_open_v2(uri, &db, flags, NULL), SQLITE_OK);
    infer_test_exec(db, "PRAGMA foreign_keys = ON; BEGIN");
    expect(db, &cache, "SELECT name FROM Parent WHERE id = ?", "text", "int");
    expect(db, &cache, "INSERT INTO \"child\" VALUES(?, ?)", "", "int date"); /* looks into `parent` */
    assert_int_equal(sqlite3_txn_state(db, NULL), SQLITE_TXN_NONE);
    infer_test_exec(db, "ROLLBACK");
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(sqlite3_close(maker), SQLITE_OK);
}

static void running_statements_go_on_undisturbed(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open(infer_test_schema, infer_test_rows);
    sqlite3_stmt *running = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "UPDATE t SET n = n + 1 RETURNING id", -1, &running, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(running), SQLITE_ROW);
    expect(db, &cache, "INSERT INTO t(name) VALUES(?) RETURNING n", "int", "text");
    expect(db, &cache, "SELECT max(n) FROM t", "int", "");
    int rows = 1;
    while (sqlite3_step(running) == SQLITE_ROW)
        rows++;
    assert_int_equal(rows, 6);
    assert_int_equal(sqlite3_changes(db), 6);
    sqlite3_finalize(running);
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int deny_all_but_the_statement(void *context, int action, const char *first, const char *second,
                                      const char *schema, const char *trigger)
{
    (void)context;
    (void)first;
    (void)second;
    (void)schema;
    (void)trigger;
    return action == SQLITE_PRAGMA || action == SQLITE_REINDEX ? SQLITE_DENY : SQLITE_OK;
}

static void what_the_authorizer_refuses_is_unknown(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open(infer_test_schema, "");
    sqlite3_set_authorizer(db, deny_all_but_the_statement, NULL);
    expect(db, &cache, "SELECT name, n + 1, count(*) FROM t WHERE n = ? GROUP BY d LIMIT ?", "any any int", "any int");
    sqlite3_set_authorizer(db, NULL, NULL);
    expect(db, &cache, "SELECT name, n + 1, count(*) FROM t WHERE n = ? GROUP BY d LIMIT ?", "text int int", "int int");
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void own_function(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    (void)arg_count;
    (void)args;
    sqlite3_result_int(context, 1);
}

static void functions_of_the_server_have_the_types_it_tells(void **state)
{
    (void)state;
    struct sq_error err;
    struct infer_cache *cache = infer_cache_new();
    assert_non_null(cache);
    sqlite3 *db = infer_test_open(infer_test_schema, "");
    assert_int_equal(sqlite3_create_function(db, "pid", 0, SQLITE_UTF8, NULL, own_function, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_create_function(db, "upper", 1, SQLITE_UTF8, NULL, own_function, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_create_function(db, "secret", -1, SQLITE_UTF8, NULL, own_function, NULL, NULL), SQLITE_OK);
    assert_int_equal(infer_cache_add_function(cache, "PID", SQ_TYPE_INTEGER, SQ_TYPE_INTEGER, &err), SQ_OK);
    assert_int_equal(infer_cache_add_function(cache, "upper", SQ_TYPE_INTEGER, SQ_TYPE_ANY, &err), SQ_OK);
    expect(db, &cache, "SELECT pid(), Upper('a'), secret(1, 2), lower('a')", "int int any text", "");
    infer_cache_clear(cache);
    expect(db, &cache, "SELECT pid()", "int", "");
    /* A name as long as SQLite allows. */
    char name[256];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(infer_cache_add_function(cache, name, SQ_TYPE_DATE, SQ_TYPE_ANY, &err), SQ_OK);
    assert_int_equal(sqlite3_create_function(db, name, 0, SQLITE_UTF8, NULL, own_function, NULL, NULL), SQLITE_OK);
    char sql[300];
    (void)snprintf(sql, sizeof(sql), "SELECT %s()", name);
    expect(db, &cache, sql, "date", "");
    int count = 3;
    while (infer_cache_add_function(cache, "more", SQ_TYPE_TEXT, SQ_TYPE_ANY, &err) == SQ_OK)
        count++;
    assert_int_equal(count, INFER_FUNCTIONS_MAX);
    assert_int_equal(err.status, SQ_LIMIT);
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* `head`, `count` times `item` with blanks or commas between, `tail`. */
static char *repeat(const char *head, const char *item, size_t count, const char *tail)
{
    size_t item_length = strlen(item);
    char *text = malloc(strlen(head) + count * (item_length + 1) + strlen(tail) + 1);
    assert_non_null(text);
    size_t used = strlen(head);
    memcpy(text, head, used);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text[used++] = ',';
        memcpy(text + used, item, item_length);
        used += item_length;
    }
    memcpy(text + used, tail, strlen(tail) + 1);
    return text;
}

static enum sq_type first_parameter(sqlite3 *db, struct infer_cache **cache, const char *sql, enum sq_type *ret_last)
{
    sqlite3_stmt *stmt = NULL;
    struct sq_error err;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    size_t count = (size_t)sqlite3_bind_parameter_count(stmt);
    enum sq_type *columns = calloc((size_t)sqlite3_column_count(stmt) + 1, sizeof(*columns));
    enum sq_type *parameters = calloc(count + 1, sizeof(*parameters));
    assert_true(columns != NULL && parameters != NULL && count > 0);
    assert_int_equal(infer_statement_types(db, cache, stmt, columns, parameters, &err), SQ_OK);
    enum sq_type type = parameters[0];
    *ret_last = parameters[count - 1];
    free(columns);
    free(parameters);
    sqlite3_finalize(stmt);
    return type;
}

static void big_statements_are_typed_up_to_the_limits(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    enum sq_type last = SQ_TYPE_ANY;
    sqlite3 *db = infer_test_open(infer_test_schema, "");

    char *rows = repeat("INSERT INTO t(name, n) VALUES", "(?,?)", 1000, "");
    assert_int_equal(first_parameter(db, &cache, rows, &last), SQ_TYPE_TEXT);
    assert_int_equal(last, SQ_TYPE_INTEGER);
    free(rows);

    char *list = repeat("SELECT 1 FROM t WHERE d IN (", "?", 3000, ")");
    assert_int_equal(first_parameter(db, &cache, list, &last), SQ_TYPE_DATE);
    assert_int_equal(last, SQ_TYPE_DATE);
    free(list);

    /* More instructions than INFER_OPS_MAX. */
    list = repeat("SELECT 1 FROM t WHERE d IN (", "?", INFER_OPS_MAX, ")");
    assert_int_equal(first_parameter(db, &cache, list, &last), SQ_TYPE_ANY);
    free(list);

    /* A text of INFER_SQL_BYTES_MAX - 1 bytes, and one more. */
    char *text = malloc(INFER_SQL_BYTES_MAX + 1);
    assert_non_null(text);
    static const char statement[] = "SELECT 1 FROM t WHERE d = ?";
    memset(text, ' ', INFER_SQL_BYTES_MAX);
    memcpy(text + INFER_SQL_BYTES_MAX - sizeof(statement), statement, sizeof(statement));
    assert_int_equal(strlen(text), INFER_SQL_BYTES_MAX - 1);
    assert_int_equal(first_parameter(db, &cache, text, &last), SQ_TYPE_DATE);
    memset(text, ' ', INFER_SQL_BYTES_MAX);
    memcpy(text + INFER_SQL_BYTES_MAX + 1 - sizeof(statement), statement, sizeof(statement));
    assert_int_equal(strlen(text), INFER_SQL_BYTES_MAX);
    assert_int_equal(first_parameter(db, &cache, text, &last), SQ_TYPE_ANY);
    free(text);
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void tables_are_known_up_to_the_limit(void **state)
{
    (void)state;
    struct infer_cache *cache = NULL;
    sqlite3 *db = infer_test_open("BEGIN", "");
    for (int i = 0; i < INFER_TABLES_MAX + 8; i++) {
        char sql[80];
        (void)snprintf(sql, sizeof(sql), "CREATE TABLE t%d(a INT, b TEXT UNIQUE)", i);
        infer_test_exec(db, sql);
    }
    infer_test_exec(db, "CREATE VIEW v AS SELECT a, b FROM t1900 WHERE b > 'a'; COMMIT");
    /* A view's table is not named in the statement: all tables are listed. */
    expect(db, &cache, "SELECT a, b FROM v WHERE a = ?", "int text", "int");
    int known_count = 0;
    for (int i = 0; i < INFER_TABLES_MAX + 8; i += 7) {
        char sql[80];
        enum sq_type last = SQ_TYPE_ANY;
        (void)snprintf(sql, sizeof(sql), "SELECT b FROM t%d WHERE a = ?", i);
        known_count += first_parameter(db, &cache, sql, &last) == SQ_TYPE_INTEGER;
    }
    assert_in_range(known_count, INFER_TABLES_MAX / 7 - 8, INFER_TABLES_MAX / 7 + 1);
    infer_cache_free(cache);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* SQLite's allocator with a day of reckoning: the allocation after `memory_left` more ones fails, and all later ones. */
static sqlite3_mem_methods real_memory;
static long memory_left = -1; /* -1: for ever */

static bool is_memory_gone(void)
{
    if (memory_left > 0)
        memory_left--;
    return memory_left == 0;
}

static void *failing_malloc(int bytes)
{
    return is_memory_gone() ? NULL : real_memory.xMalloc(bytes);
}

static void *failing_realloc(void *memory, int bytes)
{
    return is_memory_gone() ? NULL : real_memory.xRealloc(memory, bytes);
}

static void use_failing_memory(void)
{
    sqlite3_mem_methods methods;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
    methods = real_memory;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
}

static void without_memory_nothing_wrong_is_said(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"SELECT name, sum(n), max(d) FROM t WHERE r > ? GROUP BY name", "text int date", "real", NULL},
        {"INSERT INTO w VALUES(?, ?, ?, ?) RETURNING v", "int", "text int real text", NULL},
        {"SELECT n1 FROM vv WHERE flag = ?", "int", "bool", NULL},
    };
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        int failure_count = 0;
        for (long left = 1;; left++) {
            struct infer_cache *cache = NULL;
            sqlite3 *db = infer_test_open(infer_test_schema, "");
            sqlite3_stmt *stmt = NULL;
            enum sq_type columns[INFER_TEST_COLUMNS_MAX];
            enum sq_type parameters[INFER_TEST_COLUMNS_MAX];
            struct sq_error err;
            assert_int_equal(sqlite3_prepare_v2(db, samples[i].sql, -1, &stmt, NULL), SQLITE_OK);
            memory_left = left;
            sq_status status = infer_statement_types(db, &cache, stmt, columns, parameters, &err);
            bool has_failed = memory_left == 0;
            memory_left = -1;
            assert_true(status == SQ_OK || (has_failed && status == SQ_NOMEM && err.status == SQ_NOMEM));
            failure_count += status == SQ_NOMEM;
            sqlite3_finalize(stmt);
            /* The connection and the cache are as good as before. */
            check_sample(db, &cache, &samples[i]);
            infer_cache_free(cache);
            assert_int_equal(sqlite3_close(db), SQLITE_OK);
            if (!has_failed)
                break;
        }
        assert_true(failure_count > 20);
    }
}

int main(void)
{
    use_failing_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_come_from_declarations),
        cmocka_unit_test(expressions_have_the_types_of_their_values),
        cmocka_unit_test(types_go_through_sorters_groups_and_coroutines),
        cmocka_unit_test(written_parameters_have_the_types_of_their_columns),
        cmocka_unit_test(compared_parameters_have_the_types_of_the_other_side),
        cmocka_unit_test(attached_temporary_and_odd_schemas_are_known),
        cmocka_unit_test(only_queries_and_changes_are_explained),
        cmocka_unit_test(schema_changes_are_noticed),
        cmocka_unit_test(rolled_back_schema_changes_are_forgotten),
        cmocka_unit_test(an_attached_database_in_memory_is_never_taken_for_another),
        cmocka_unit_test(another_connections_changes_are_seen_as_soon_as_sqlite_sees_them),
        cmocka_unit_test(no_transaction_begins),
        cmocka_unit_test(virtual_tables_that_are_not_named_stay_unread),
        cmocka_unit_test(running_statements_go_on_undisturbed),
        cmocka_unit_test(what_the_authorizer_refuses_is_unknown),
        cmocka_unit_test(functions_of_the_server_have_the_types_it_tells),
        cmocka_unit_test(without_memory_nothing_wrong_is_said),
        cmocka_unit_test(big_statements_are_typed_up_to_the_limits),
        cmocka_unit_test(tables_are_known_up_to_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
