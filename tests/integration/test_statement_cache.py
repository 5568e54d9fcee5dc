"""Statements that come again are not compiled again, and never answer for a schema, a setting or a session that was."""

import sqlite3

import pytest

from wire import (
    INT8,
    TEXT,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    errors,
    execute,
    extended,
    kinds,
    parse,
    query,
    rows,
    sync,
    tags,
)

HIT = 'sqld_statement_cache_total{result="hit"}'
MISS = 'sqld_statement_cache_total{result="miss"}'


def metrics(client):
    return {row[0]: row[1] for row in client.ok("SHOW metrics")}


def names(message):
    return [column["name"] for column in message.columns()]


def oids(message):
    return [column["oid"] for column in message.columns()]


class Counting:
    """How often statements were found and had to be compiled between two looks."""

    def __init__(self, client):
        self.client = client

    def __enter__(self):
        self.before = metrics(self.client)
        return self

    def __exit__(self, *_):
        after = metrics(self.client)
        self.hits = int(after[HIT]) - int(self.before[HIT])
        # SHOW itself is compiled each time: once within the two looks
        self.misses = int(after[MISS]) - int(self.before[MISS]) - 1


@pytest.fixture
def watch(start):
    """A server, a client, and another client that only looks at the counters."""
    server = start()
    with server.connect() as client, server.connect() as looker:
        client.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        yield server, client, Counting(looker)


# ---- found again


def test_a_query_that_comes_again_is_not_compiled_again(watch):
    _, client, counting = watch
    with counting:
        for _ in range(10):
            assert client.ok("SELECT a FROM t WHERE id = 1") == [("one",)]
    assert (counting.hits, counting.misses) == (9, 1)


def test_each_statement_of_a_query_is_found_for_itself(watch):
    _, client, counting = watch
    with counting:
        for _ in range(3):
            assert client.ok("SELECT 1 AS x; SELECT a FROM t WHERE id = 2 ;; -- done") == [("1",), ("two",)]
        assert client.ok("SELECT 1 AS x;") == [("1",)]
    assert (counting.hits, counting.misses) == (5, 2)


def test_begin_and_commit_are_found_again(watch):
    _, client, counting = watch
    with counting:
        for _ in range(4):
            assert tags(client.query("BEGIN; UPDATE t SET a = 'x' WHERE id = 1; COMMIT")) == ["BEGIN", "UPDATE 1", "COMMIT"]
            assert tags(client.query("BEGIN; ROLLBACK")) == ["BEGIN", "ROLLBACK"]
    # "BEGIN;" and the UPDATE are compiled once; COMMIT and ROLLBACK need no compiling, but are found too
    assert counting.misses == 2
    assert counting.hits == 4 * 5 - 4


def test_a_parse_of_a_known_text_is_not_compiled_again_named_or_not(watch):
    _, client, counting = watch
    with counting:
        for i in range(5):
            got = client.ask(extended("SELECT a FROM t WHERE id = $1", params=["1"], oids=[INT8]))
            assert kinds(got) == "12TDCZ" and rows(got) == [("one",)]
        for i in range(5):
            got = client.ask(
                parse("SELECT a FROM t WHERE id = $1", name=f"s{i}", oids=[INT8]),
                bind(["2"], stmt=f"s{i}"),
                execute(),
                close_statement(f"s{i}"),
            )
            assert rows(got) == [("two",)]
    # once for the unnamed statement, which stays, and once for the named ones
    assert (counting.hits, counting.misses) == (8, 2)


def test_declared_types_are_part_of_what_is_looked_for(watch):
    _, client, counting = watch
    sql = "SELECT typeof($1)"
    with counting:
        for _ in range(3):
            assert rows(client.ask(extended(sql, params=["1"], oids=[INT8]))) == [("integer",)]
            assert rows(client.ask(extended(sql, params=["1"], oids=[TEXT]))) == [("text",)]
            assert rows(client.ask(extended(sql, params=["1"]))) == [("text",)]
    assert counting.misses == 3


def test_a_statement_that_is_in_use_is_not_given_to_another(watch):
    _, client, _ = watch
    sql = "SELECT id FROM t ORDER BY id"
    client.ok("BEGIN")
    got = client.ask(parse(sql), bind(portal="p"), execute("p", limit=1))
    assert rows(got) == [("1",)]
    # the same text again, while its first row is read but not its second
    got = client.ask(parse(sql), bind(portal="q"), execute("q", limit=1))
    assert rows(got) == [("1",)]
    assert client.ok(sql) == [("1",), ("2",)]
    assert rows(client.ask(execute("p", limit=1))) == [("2",)]
    assert rows(client.ask(execute("q", limit=1))) == [("2",)]
    client.ok("COMMIT")


def test_errors_are_not_remembered(watch):
    _, client, _ = watch
    assert client.fails("SELECT b FROM t WHERE id = 1")["C"] == "42703"
    client.ok("ALTER TABLE t ADD COLUMN b DEFAULT 7")
    assert client.ok("SELECT b FROM t WHERE id = 1") == [("7",)]
    for _ in range(3):
        assert client.fails("INSERT INTO t(id) VALUES (1)")["C"] == "23505"
    client.ok("DELETE FROM t WHERE id = 1")
    client.ok("INSERT INTO t(id) VALUES (1)")


def test_the_cache_is_bounded_and_keeps_what_is_used(start):
    server = start("--statement-cache-size", "4")
    with server.connect() as client, server.connect() as looker:
        counting = Counting(looker)
        for i in range(4):
            client.ok(f"SELECT {i}")
        # texts that come once do not drive out those that come again
        with counting:
            for i in range(100, 200):
                client.ok(f"SELECT {i}")
            for i in range(4):
                client.ok(f"SELECT {i}")
        assert (counting.hits, counting.misses) == (4, 100)
        # a text that comes again and again gets in, the least recently used one goes
        with counting:
            for _ in range(5):
                client.ok("SELECT 'new'")
            for i in (1, 2, 3):
                client.ok(f"SELECT {i}")
        assert (counting.hits, counting.misses) == (3 + 3, 2)


@pytest.mark.parametrize("option", [("--statement-cache-size", "0"), ("--statement-cache-memory", "0")])
def test_the_cache_can_be_switched_off(start, option):
    server = start(*option)
    with server.connect() as client:
        for _ in range(3):
            client.ok("SELECT 1")
            assert rows(client.ask(extended("SELECT 2"))) == [("2",)]
        assert metrics(client)[HIT] == "0"


# ---- never what was


def test_another_session_changes_the_schema(watch):
    server, client, _ = watch
    sql = "SELECT * FROM t WHERE id = 2"
    assert client.ok(sql) == [("2", "two")]
    with server.connect() as other:
        other.ok("ALTER TABLE t ADD COLUMN b DEFAULT 5")
        got = client.query(sql)
        assert names(got[0]) == ["id", "a", "b"] and rows(got) == [("2", "two", "5")]
        # the same width, other names and types
        other.ok("BEGIN; DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, x REAL, y BLOB)")
        other.ok("INSERT INTO t VALUES (2, 1.5, x'00'); COMMIT")
        got = client.query(sql)
        assert names(got[0]) == ["id", "x", "y"] and oids(got[0]) == [20, 701, 17]
        # announced before it is run
        got = client.ask(extended(sql))
        assert names(got[2]) == ["id", "x", "y"]
        other.ok("ALTER TABLE t DROP COLUMN x")
        got = client.ask(extended(sql))
        assert names(got[2]) == ["id", "y"] and rows(got) == [("2", "\\x00")]


def test_another_process_changes_the_schema(watch):
    server, client, _ = watch
    sql = "SELECT * FROM t WHERE id = 2"
    parameter = "SELECT a FROM t WHERE id = $1"
    for _ in range(2):
        assert client.ok(sql) == [("2", "two")]
        assert rows(client.ask(parse(parameter), bind(["2"]), execute())) == [("two",)]
    shell = sqlite3.connect(server.data_dir / "main.db", timeout=30, isolation_level=None)
    shell.execute("ALTER TABLE t RENAME COLUMN a TO b")
    shell.execute("ALTER TABLE t ADD COLUMN c INTEGER DEFAULT 9")
    got = client.query(sql)
    assert names(got[0]) == ["id", "b", "c"] and rows(got) == [("2", "two", "9")]
    assert errors(client.ask(parse(parameter))) == ["42703"]
    shell.execute("ALTER TABLE t RENAME COLUMN b TO a")
    assert rows(client.ask(parse(parameter), bind(["2"]), execute())) == [("two",)]
    # a result without rows is described as it is now, too
    empty = "SELECT * FROM t WHERE id = 99"
    assert names(client.query(empty)[0]) == ["id", "a", "c"]
    shell.execute("ALTER TABLE t DROP COLUMN c")
    shell.close()
    assert names(client.query(empty)[0]) == ["id", "a"]


def test_what_a_client_was_told_still_binds(watch):
    server, client, _ = watch
    client.ask(parse("SELECT * FROM t WHERE id = 2", name="s"), describe_statement("s"))
    with server.connect() as other:
        other.ok("ALTER TABLE t ADD COLUMN b DEFAULT 5")
    assert errors(client.ask(bind(stmt="s"), execute())) == ["0A000"]
    # a new one of the same text is told anew
    got = client.ask(extended("SELECT * FROM t WHERE id = 2"))
    assert names(got[2]) == ["id", "a", "b"]


def test_a_temporary_table_hides_another(watch):
    _, client, _ = watch
    sql = "SELECT a FROM t WHERE id = 1"
    assert client.ok(sql) == [("one",)]
    client.ok("CREATE TEMP TABLE t(id, a)")
    client.ok("INSERT INTO temp.t VALUES (1, 'temporary')")
    assert client.ok(sql) == [("temporary",)]
    client.ok("DROP TABLE temp.t")
    assert client.ok(sql) == [("one",)]


def test_a_schema_change_that_is_rolled_back(watch):
    _, client, _ = watch
    sql = "SELECT * FROM t WHERE id = 1"
    assert client.ok(sql) == [("1", "one")]
    client.ok("BEGIN; ALTER TABLE t ADD COLUMN b DEFAULT 1")
    assert client.ok(sql) == [("1", "one", "1")]
    client.ok("ROLLBACK")
    got = client.query(sql)
    assert names(got[0]) == ["id", "a"] and rows(got) == [("1", "one")]


def test_pragmas_take_effect(watch):
    _, client, _ = watch
    client.ok("CREATE TABLE c(t REFERENCES t(id))")
    like = "SELECT count(*) FROM t WHERE a LIKE 'ONE'"
    orphan = "INSERT INTO c VALUES (77)"
    assert client.ok(like) == [("1",)]
    assert client.fails(orphan)["C"] == "23503"
    client.ok("PRAGMA case_sensitive_like = 1")
    client.ok("PRAGMA foreign_keys = OFF")
    assert client.ok(like) == [("0",)]
    client.ok(orphan)
    client.ok("PRAGMA case_sensitive_like = 0")
    client.ok("PRAGMA foreign_keys = ON")
    assert client.ok(like) == [("1",)]
    assert client.fails(orphan)["C"] == "23503"
    for value in ("1", "0", "1"):
        client.ok(f"PRAGMA recursive_triggers = {value}")
        assert client.ok("PRAGMA recursive_triggers") == [(value,)]


def test_an_alias_may_come_to_mean_another_database(watch):
    _, client, _ = watch
    sql = "SELECT v FROM x.k"
    for name, value in (("first", "1"), ("second", "two")):
        client.ok(f"CREATE DATABASE {name}")
        client.ok(f"ATTACH '{name}' AS x")
        client.ok("CREATE TABLE x.k(v)")
        client.ok(f"INSERT INTO x.k VALUES ('{value}')")
        assert client.ok(sql) == [(value,)]
        client.ok("DETACH x")
        assert client.fails(sql)["C"] == "42P01"
    client.ok("ATTACH 'first' AS x")
    assert client.ok(sql) == [("1",)]


def test_types_come_from_the_first_row_each_time(watch):
    _, client, _ = watch
    sql = "SELECT (SELECT x FROM u)"
    client.ok("CREATE TABLE u(x)")
    seen = []
    for value in ("NULL", "1", "'text'", "2.5", "x'00'"):
        client.ok("DELETE FROM u; INSERT INTO u VALUES (" + value + ")")
        seen += oids(client.query(sql)[0])
    assert seen == [25, 20, 25, 701, 17]
    client.ok("UPDATE u SET x = 1")
    assert oids(client.ask(extended(sql))[2]) == [20]
    client.ok("UPDATE u SET x = 'text'")
    assert oids(client.ask(extended(sql))[2]) == [25]


def test_discard_forgets(watch):
    _, client, counting = watch
    with counting:
        client.ok("SELECT a FROM t")
        client.ok("DISCARD PLANS")
        client.ok("SELECT a FROM t")
        client.ok("DISCARD ALL")
        client.ok("SELECT a FROM t")
    assert (counting.hits, counting.misses) == (0, 3)


# ---- one send


def test_a_batch_is_answered_with_one_send(start):
    server = start("--workers", "1")
    with server.connect() as client, server.connect() as looker:
        client.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, n); INSERT INTO t VALUES (1, 0)")

        def sends(*parts):
            before = int(metrics(looker)["sqld_sends_total"])
            client.send(*parts)
            for _ in range(sum(part.count(sync()) for part in parts) or 1):
                client.until_ready()
            # the answer to the first look came after it was counted
            return int(metrics(looker)["sqld_sends_total"]) - before - 1

        read = parse("SELECT n FROM t WHERE id = $1") + bind(["1"]) + describe_portal() + execute()
        write = parse("UPDATE t SET n = n + 1 WHERE id = $1") + bind(["1"]) + execute()
        assert sends(read * 50, sync()) == 1
        assert sends(*[read + sync()] * 50) == 1
        assert sends(write * 50, sync()) == 1
        assert sends(query("SELECT n FROM t;" * 50)) == 1
        assert client.value("SELECT n FROM t") == "50"


def test_a_large_result_goes_out_in_large_pieces(start):
    server = start()
    with server.connect() as client, server.connect() as looker:
        before = metrics(looker)
        got = client.ok("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, 'x' FROM n")
        assert len(got) == 100000
        after = metrics(looker)
        sends, sent = (
            int(after[name]) - int(before[name]) for name in ("sqld_sends_total", "sqld_sent_bytes_total")
        )
        assert sent > 1500000
        assert sent / sends > 16384
