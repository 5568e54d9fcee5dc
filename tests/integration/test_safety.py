"""What SQL must not reach: files, the process, other databases' files, SQLite's own schema."""

import pytest

import wire
from wire import errors, kinds

FORBIDDEN = [
    # files
    "ATTACH '/etc/passwd' AS x",
    "ATTACH 'file:/etc/passwd?mode=ro' AS x",
    "ATTACH '../../etc/passwd' AS x",
    "ATTACH '{data}/leak.db' AS x",
    "ATTACH 'leak.db' AS x",
    "ATTACH 'file:leak?mode=memory&cache=shared' AS x",
    "ATTACH DATABASE '{data}/' || 'leak.db' AS x",
    "VACUUM INTO '{data}/leak.db'",
    "VACUUM main INTO '{data}/leak.db'",
    "SELECT writefile('{data}/leak', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT edit('x')",
    "SELECT * FROM fsdir('/etc')",
    "CREATE VIRTUAL TABLE temp.z USING zipfile('{data}/leak.zip')",
    "CREATE VIRTUAL TABLE temp.c USING csv(filename='/etc/passwd')",
    "SELECT * FROM pg_read_file('/etc/passwd')",
    # code
    "SELECT load_extension('libm.so.6')",
    "SELECT load_extension('{data}/x', 'init')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT fts3_tokenizer('simple', x'4141414141414141')",
    "SELECT hex(fts3_tokenizer('porter'))",
    # schema surgery
    "PRAGMA writable_schema = 1",
    "PRAGMA writable_schema = ON",
    "PRAGMA writable_schema = RESET",
    "UPDATE sqlite_schema SET sql = 'x'",
    "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 0, 'CREATE TABLE x(y)')",
    "DELETE FROM sqlite_master",
    "PRAGMA schema_version = 7",
    "PRAGMA trusted_schema = 1",
    "UPDATE sqlite_dbpage SET data = zeroblob(4096) WHERE pgno = 1",
    # the server's own business
    "PRAGMA journal_mode = OFF",
    "PRAGMA journal_mode = MEMORY",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA temp_store_directory = '/'",
    "PRAGMA data_store_directory = '/'",
    "PRAGMA mmap_size = 1000000000",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA wal_autocheckpoint = 1",
    "PRAGMA hard_heap_limit = 1",
    "PRAGMA soft_heap_limit = 1",
    "PRAGMA lock_proxy_file = 'x'",
    "PRAGMA key = 'x'",
    "PRAGMA vdbe_trace = 1",
    "PRAGMA no_such_pragma = 1",
    "PRAGMA busy_timeout = 100000000",
    "PRAGMA threads = 99",
    "PRAGMA journal_size_limit = 0",
    "PRAGMA page_size = 512",
    "PRAGMA max_page_count = 1",
]


@pytest.fixture(scope="module")
def shared(module_server):
    with module_server.connect() as c:
        c.ok("CREATE DATABASE safety")
    with module_server.connect(database="safety") as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        yield c


@pytest.fixture(autouse=True)
def nothing_leaked(module_server, shared):
    yield
    assert list(module_server.data_dir.rglob("*leak*")) == []
    assert shared.ok("SELECT a FROM t") == [("1",)]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_forbidden(module_server, shared, sql):
    sql = sql.format(data=module_server.data_dir)
    got = shared.query(sql)
    assert errors(got) and errors(got)[0] in (
        "42501",
        "42883",
        "42P01",
        "42704",
        "0A000",
        "42602",
        "3D000",
        "42601",
        "42809",
        "25006",
        "42939",
    ), (sql, got)
    assert shared.value("PRAGMA journal_mode") == "wal"
    assert shared.value("PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize("sql", [s for s in FORBIDDEN if s.startswith(("ATTACH", "VACUUM", "PRAGMA w", "SELECT load"))])
def test_forbidden_in_the_extended_protocol_too(module_server, shared, sql):
    got = shared.ask(wire.extended(sql.format(data=module_server.data_dir)))
    assert errors(got), (sql, got)
    assert list(module_server.data_dir.rglob("*leak*")) == []


def test_forbidden_things_hidden_in_views_and_triggers(shared):
    """TRUSTED_SCHEMA is off and the authorizer looks inside (sqlite.org/security.html)."""
    shared.query("CREATE TEMP VIEW hidden AS SELECT load_extension('x')")
    assert errors(shared.query("SELECT * FROM hidden"))
    shared.query("DROP VIEW IF EXISTS temp.hidden")
    got = shared.query("CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN SELECT load_extension('x'); END")
    if not errors(got):
        assert errors(shared.query("INSERT INTO t VALUES (2)"))
        shared.ok("DROP TRIGGER temp.tr")
    got = shared.query("CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN UPDATE sqlite_schema SET sql = ''; END")
    if not errors(got):
        assert errors(shared.query("INSERT INTO t VALUES (2)"))
        shared.ok("DROP TRIGGER temp.tr")


def test_pragmas_as_table_valued_functions_are_held_to_the_same_rules(shared):
    for sql in (
        "SELECT * FROM pragma_writable_schema(1)",
        "SELECT * FROM pragma_journal_mode('DELETE')",
        "SELECT * FROM pragma_wal_checkpoint('TRUNCATE')",
        "SELECT * FROM pragma_synchronous(0)",
    ):
        assert errors(shared.query(sql)), sql
    assert shared.value("PRAGMA journal_mode") == "wal"


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA table_info(t)",
        "SELECT name FROM pragma_table_info('t')",
        "PRAGMA user_version",
        "PRAGMA foreign_keys",
        "PRAGMA integrity_check",
        "PRAGMA quick_check",
        "PRAGMA index_list(t)",
        "PRAGMA database_list",
        "PRAGMA page_count",
        "PRAGMA compile_options",
        "PRAGMA function_list",
        "PRAGMA optimize",
        "ANALYZE",
        "VACUUM",
        "REINDEX",
        "PRAGMA encoding",
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN QUERY PLAN SELECT * FROM t",
        "SELECT * FROM json_each('[1]')",
        "CREATE TEMP TABLE tt(a)",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
        "INSERT INTO f VALUES ('full text')",
        "SELECT * FROM f WHERE f MATCH 'text'",
        "DROP TABLE f",
        "DROP TABLE r",
        "SELECT name FROM sqlite_schema",
    ],
)
def test_what_stays_allowed(shared, sql):
    assert not errors(shared.query(sql)), sql


def test_database_list_does_not_tell_paths_of_the_host(module_server, shared):
    shown = shared.ok("PRAGMA database_list")
    assert shown[0][1] == "main"


def test_shadow_tables_of_full_text_search_are_read_only(shared):
    shared.ok("CREATE VIRTUAL TABLE docs USING fts5(x); INSERT INTO docs VALUES ('a')")
    assert errors(shared.query("UPDATE docs_data SET block = x'00'"))
    assert errors(shared.query("DROP TABLE docs_data"))
    shared.ok("DROP TABLE docs")


def test_deep_and_huge_statements_fail_alone(server, shared):
    for sql in (
        "SELECT " + "(" * 20000 + "1" + ")" * 20000,
        "SELECT " + "-" * 1 + "+".join(["1"] * 50000),
        "SELECT " + "NOT " * 50000 + "1",
        "SELECT " + ",".join(["1"] * 40000),
        "SELECT 1" + " UNION ALL SELECT 1" * 5000,
        "WITH a AS (SELECT 1)"
        + "".join(f", a{n} AS (SELECT * FROM a{n - 1 if n else ''})" for n in range(300))
        + " SELECT * FROM a299",
    ):
        got = shared.query(sql)
        assert kinds(got)[-1] == "Z" and got[-1].status() == "I"
    assert shared.ok("SELECT 1") == [("1",)]
