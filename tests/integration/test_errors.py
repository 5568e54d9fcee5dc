"""SQLite's errors as PostgreSQL's ErrorResponse: SQLSTATE, severity, position, names (docs/protocol.md, "Errors")."""

import pytest

from wire import errors, kinds

SETUP = """
CREATE TABLE p(id INTEGER PRIMARY KEY, u TEXT UNIQUE, n TEXT NOT NULL DEFAULT 'n', k INTEGER CONSTRAINT positive CHECK (k > 0));
CREATE TABLE c(p INTEGER REFERENCES p(id));
CREATE TABLE s(i INTEGER, d REAL) STRICT;
CREATE TABLE w(a TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE VIEW v AS SELECT * FROM p;
CREATE TABLE g(a INTEGER, b INTEGER AS (a + 1));
CREATE TRIGGER tr BEFORE DELETE ON p WHEN old.id = 99 BEGIN SELECT raise(ABORT, 'keep 99'); END;
INSERT INTO p(id, u) VALUES (1, 'one'), (99, 'last'); INSERT INTO w VALUES ('w');
"""

TABLE = [
    ("INSERT INTO p(id) VALUES (1)", "23505"),
    ("INSERT INTO p(u) VALUES ('one')", "23505"),
    ("INSERT INTO w VALUES ('w')", "23505"),
    ("INSERT INTO p(n) VALUES (NULL)", "23502"),
    ("INSERT INTO p(k) VALUES (-1)", "23514"),
    ("INSERT INTO c VALUES (777)", "23503"),
    ("INSERT INTO s(i) VALUES ('x')", "22P02"),
    ("INSERT INTO p(id) VALUES ('x')", "42804"),
    ("DELETE FROM p WHERE id = 99", "P0001"),
    ("SELEC 1", "42601"),
    ("SELECT", "42601"),
    ("SELECT 1 FROM", "42601"),
    ("SELECT 'open", "42601"),
    ("SELECT (1", "42601"),
    ("SELECT * FROM nowhere", "42P01"),
    ("INSERT INTO nowhere VALUES (1)", "42P01"),
    ("DROP TABLE nowhere", "42P01"),
    ("DROP VIEW nowhere", "42P01"),
    ("SELECT absent FROM p", "42703"),
    ("INSERT INTO p(absent) VALUES (1)", "42703"),
    ("UPDATE p SET absent = 1", "42703"),
    ("CREATE TABLE p(a)", "42P07"),
    ("CREATE TABLE x(a, a)", "42701"),
    ("SELECT id FROM p a, p b", "42702"),
    ("SELECT nofunction()", "42883"),
    ("SELECT abs(1, 2, 3)", "42883"),
    ("SELECT * FROM p WHERE count(*) > 1", "42803"),
    ("DROP INDEX nowhere", "42704"),
    ("DROP TRIGGER nowhere", "42704"),
    ("SELECT 1 UNION SELECT 1, 2", "42601"),
    ("INSERT INTO p(id, u) VALUES (5)", "42601"),
    ("INSERT INTO g(b) VALUES (1)", "428C9"),
    ("INSERT INTO v(id) VALUES (1)", "42809"),
    ("SELECT abs(-9223372036854775808)", "22003"),
    ("SELECT json('{')", "22032"),
    ("SELECT zeroblob(2000000000)", "54000"),
    ("SELECT u FROM p ORDER BY u COLLATE nocollation", "42704"),
    ("SELECT sum(9223372036854775807) FROM (SELECT 1 UNION ALL SELECT 2)", "22003"),
    ("ALTER TABLE p RENAME COLUMN absent TO x", "42703"),
    ("CREATE INDEX i ON p(absent)", "42703"),
    ("CREATE TABLE sqlite_x(a)", "42939"),
    ("DROP TABLE sqlite_schema", "42809"),
    ("ALTER TABLE p DROP COLUMN id", "42P16"),
]


@pytest.fixture(scope="module")
def shared(module_server):
    with module_server.connect() as c:
        c.ok("CREATE DATABASE errors")
    with module_server.connect(database="errors") as c:
        c.ok(SETUP)
        yield c


@pytest.mark.parametrize("sql, state", TABLE, ids=[s[:50] for s, _ in TABLE])
def test_sqlstate(shared, sql, state):
    got = shared.query(sql)
    assert errors(got) == [state], got
    assert got[-1].status() == "I"
    assert shared.ok("SELECT 1") == [("1",)]


def test_fields_that_every_error_has(shared):
    e = shared.fails("SELECT absent")
    assert e["S"] == "ERROR" and e["V"] == "ERROR" and len(e["C"]) == 5 and "absent" in e["M"]


def test_position_points_at_the_token(shared):
    for sql, word in [
        ("SELECT 1, absent", "absent"),
        ("SELECT * FROM nowhere", None),
        ("SELEC 1", "SELEC"),
        ("SELECT 1 FORM p", "p"),
        ("SELECT 1;\n SELECT absent", "absent"),
    ]:
        position = shared.fails(sql).get("P")
        if word:
            assert int(position) == sql.index(word) + 1, sql


def test_position_counts_characters_in_the_extended_protocol(shared):
    import wire

    got = shared.ask(wire.parse("SELECT 'ÄÖÜ', absent"))
    assert got[0].fields()["P"] == str("SELECT 'ÄÖÜ', absent".index("absent") + 1)


def test_constraint_names(shared):
    e = shared.fails("INSERT INTO p(u) VALUES ('one')")
    assert e["t"] == "p" and e["c"] == "u"
    e = shared.fails("INSERT INTO p(n) VALUES (NULL)")
    assert e["t"] == "p" and e["c"] == "n"
    assert shared.fails("INSERT INTO p(k) VALUES (-1)")["n"] == "positive"


def test_detail_names_sqlites_extended_code(shared):
    assert "SQLITE_CONSTRAINT_UNIQUE" in shared.fails("INSERT INTO p(u) VALUES ('one')")["D"]


def test_read_only_setting_is_25006(shared):
    shared.ok("PRAGMA query_only = 1")
    assert shared.fails("INSERT INTO p(id) VALUES (5)")["C"] == "25006"
    shared.ok("PRAGMA query_only = 0")


def test_lock_timeout_is_55p03(server, db, scratch):
    db.ok("CREATE TABLE t(a); BEGIN IMMEDIATE")
    with server.connect(database=scratch) as other:
        other.ok("SET lock_timeout = '50ms'")
        assert other.fails("INSERT INTO t VALUES (1)")["C"] == "55P03"
        assert other.ok("SELECT count(*) FROM t") == [("0",)]
        db.ok("ROLLBACK")
        other.ok("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    "sql, state",
    [
        ("CREATE ROLE r", "0A000"),
        ("GRANT SELECT ON p TO r", "0A000"),
        ("CREATE EXTENSION x", "0A000"),
        ("LOCK TABLE p", "0A000"),
        ("CREATE FUNCTION f() RETURNS int AS '' LANGUAGE sql", "0A000"),
        ("PREPARE TRANSACTION 'x'", "0A000"),
        ("CLUSTER", "0A000"),
        ("COMMENT ON TABLE p IS 'x'", "0A000"),
    ],
)
def test_statements_of_postgresql_that_are_not_here(shared, sql, state):
    got = shared.query(sql)
    assert kinds(got) == "EZ" and errors(got)[0] in (state, "42601"), got
    assert shared.ok("SELECT 1") == [("1",)]


def test_a_thousand_errors_leave_nothing_behind(shared, module_server):
    for _ in range(20):
        shared.fails("SELECT broken")
    before = module_server.rss_kb()
    for n in range(1000):
        shared.fails(f"SELECT broken{n} FROM p WHERE '{'x' * 1000}' = id")
    assert module_server.rss_kb() - before < 16 * 1024
