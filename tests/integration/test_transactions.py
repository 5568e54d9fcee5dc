"""Transactions with SQLite's semantics behind PostgreSQL's protocol.

A failed statement inside BEGIN undoes itself and leaves the transaction open and usable (sqlite.org/lang_transaction.html,
"Response To Errors Within A Transaction"): ReadyForQuery keeps saying T. E is said only where SQLite itself rolled back.
"""

import pytest

import wire
from wire import bind, errors, execute, extended, kinds, parse, rows, tags


@pytest.fixture
def t(db):
    db.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT NOT NULL DEFAULT 'x')")
    return db


def state(c, sql):
    return c.query(sql)[-1].status()


def test_status_follows_begin_commit_rollback(t):
    assert state(t, "BEGIN") == "T"
    assert state(t, "SELECT 1") == "T"
    assert state(t, "COMMIT") == "I"
    assert state(t, "BEGIN TRANSACTION") == "T"
    assert state(t, "ROLLBACK TRANSACTION") == "I"
    assert state(t, "BEGIN; COMMIT; BEGIN") == "T"
    assert state(t, "END") == "I"


@pytest.mark.parametrize(
    "begin, tag",
    [
        ("BEGIN", "BEGIN"),
        ("BEGIN DEFERRED", "BEGIN"),
        ("BEGIN IMMEDIATE TRANSACTION", "BEGIN"),
        ("BEGIN EXCLUSIVE", "BEGIN"),
        ("BEGIN WORK", "BEGIN"),
        ("START TRANSACTION", "START TRANSACTION"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"),
        ("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE", "BEGIN"),
        ("BEGIN READ ONLY", "BEGIN"),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE", "START TRANSACTION"),
    ],
)
@pytest.mark.parametrize(
    "end, end_tag",
    [
        ("COMMIT", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("END TRANSACTION", "COMMIT"),
        ("COMMIT WORK", "COMMIT"),
        ("ROLLBACK WORK", "ROLLBACK"),
        ("ABORT", "ROLLBACK"),
    ],
)
def test_spellings_and_tags(client, begin, tag, end, end_tag):
    got = client.query(begin)
    assert tags(got) == [tag] and got[-1].status() == "T"
    got = client.query(end)
    assert tags(got) == [end_tag] and got[-1].status() == "I"


def test_commit_keeps_and_rollback_undoes(t):
    t.ok("BEGIN; INSERT INTO t(a) VALUES (1); COMMIT; BEGIN; INSERT INTO t(a) VALUES (2); ROLLBACK")
    assert t.ok("SELECT a FROM t") == [("1",)]


def test_ddl_is_transactional(t):
    t.ok("BEGIN; CREATE TABLE u(x); INSERT INTO u VALUES (1); ROLLBACK")
    assert t.fails("SELECT * FROM u")["C"] == "42P01"


def test_failed_statement_leaves_the_transaction_usable(t):
    t.ok("BEGIN; INSERT INTO t(a) VALUES (1)")
    for bad, code in [
        ("SELECT broken", "42703"),
        ("INSERT INTO t(a) VALUES (1)", "23505"),
        ("SELEC", "42601"),
        ("INSERT INTO t(a, b) VALUES (2, NULL)", "23502"),
        ("SELECT * FROM nowhere", "42P01"),
    ]:
        got = t.query(bad)
        assert errors(got) == [code] and got[-1].status() == "T"
    assert tags(t.query("INSERT INTO t(a) VALUES (2)")) == ["INSERT 0 1"]
    got = t.query("COMMIT")
    assert tags(got) == ["COMMIT"] and got[-1].status() == "I"
    assert t.ok("SELECT a FROM t") == [("1",), ("2",)]


def test_failed_statement_undoes_itself_whole(t):
    t.ok("INSERT INTO t(a) VALUES (5); BEGIN")
    assert t.fails("INSERT INTO t(a) VALUES (3), (4), (5), (6)")["C"] == "23505"
    t.ok("COMMIT")
    assert t.ok("SELECT a FROM t") == [("5",)]


def test_conflict_rollback_ends_the_transaction(t):
    """ON CONFLICT ROLLBACK is the case in which SQLite itself rolls back."""
    t.ok("INSERT INTO t(a) VALUES (1); BEGIN; INSERT INTO t(a) VALUES (2)")
    got = t.query("INSERT OR ROLLBACK INTO t(a) VALUES (1)")
    assert errors(got) == ["23505"] and got[-1].status() == "E"
    got = t.query("INSERT INTO t(a) VALUES (3)")
    assert errors(got) == ["25P02"] and got[-1].status() == "E"
    got = t.query("COMMIT")  # PostgreSQL answers COMMIT of a failed transaction with ROLLBACK
    assert tags(got) == ["ROLLBACK"] and got[-1].status() == "I"
    assert t.ok("SELECT a FROM t") == [("1",)]


def test_rollback_after_sqlite_rolled_back(t):
    t.ok("INSERT INTO t(a) VALUES (1); BEGIN")
    assert state(t, "INSERT OR ROLLBACK INTO t(a) VALUES (1)") == "E"
    assert state(t, "ROLLBACK") == "I"
    assert tags(t.query("INSERT INTO t(a) VALUES (2)")) == ["INSERT 0 1"]


def test_savepoints(t):
    got = t.query(
        "BEGIN; INSERT INTO t(a) VALUES (1); SAVEPOINT s; INSERT INTO t(a) VALUES (2); ROLLBACK TO s;"
        "INSERT INTO t(a) VALUES (3); RELEASE SAVEPOINT s; COMMIT"
    )
    assert tags(got) == [
        "BEGIN",
        "INSERT 0 1",
        "SAVEPOINT",
        "INSERT 0 1",
        "ROLLBACK",
        "INSERT 0 1",
        "RELEASE",
        "COMMIT",
    ]
    assert t.ok("SELECT a FROM t") == [("1",), ("3",)]
    t.ok("BEGIN")
    assert t.fails("ROLLBACK TO nowhere")["C"] == "3B001"
    assert t.fails("RELEASE nowhere")["C"] == "3B001"
    t.ok("ROLLBACK")


def test_savepoint_outside_a_transaction_opens_one(t):
    """In SQLite the outermost SAVEPOINT begins a transaction and its RELEASE commits it (sqlite.org/lang_savepoint.html)."""
    assert state(t, "SAVEPOINT s") == "T"
    t.ok("INSERT INTO t(a) VALUES (1)")
    assert state(t, "RELEASE s") == "I"
    assert t.ok("SELECT a FROM t") == [("1",)]


def test_begin_inside_and_commit_outside_a_transaction(client):
    client.ok("BEGIN")
    got = client.query("BEGIN")
    assert got[-1].status() == "T" and (errors(got) == ["25001"] or kinds(got) == "NCZ")
    client.ok("ROLLBACK")
    for end in ("COMMIT", "ROLLBACK"):
        got = client.query(end)
        assert got[-1].status() == "I" and (errors(got) == ["25P01"] or kinds(got) == "NCZ"), got


def test_simple_query_autocommits_each_statement(t):
    got = t.query("INSERT INTO t(a) VALUES (1); INSERT INTO t(a) VALUES (1); INSERT INTO t(a) VALUES (2)")
    assert kinds(got) == "CEZ"
    assert t.ok("SELECT a FROM t") == [("1",)]


def test_extended_pipeline_is_one_implicit_transaction(t):
    got = t.ask(extended("INSERT INTO t(a) VALUES (1)"), extended("INSERT INTO t(a) VALUES (2)"))
    assert got[-1].status() == "I"
    got = t.ask(extended("INSERT INTO t(a) VALUES (3)"), extended("INSERT INTO t(a) VALUES (1)"))
    assert errors(got) == ["23505"] and got[-1].status() == "I"
    assert t.ok("SELECT a FROM t") == [("1",), ("2",)]


def test_implicit_transaction_is_not_visible_before_sync(server, scratch, t):
    with server.connect(database=scratch) as reader:
        t.send(extended("INSERT INTO t(a) VALUES (1)"), wire.flush())
        t.until("C")
        assert reader.ok("SELECT count(*) FROM t") == [("0",)]
        t.send(wire.sync())
        t.until_ready()
        assert reader.ok("SELECT count(*) FROM t") == [("1",)]


def test_begin_inside_a_pipeline_outlives_sync(t):
    got = t.ask(extended("BEGIN"), extended("INSERT INTO t(a) VALUES (1)"))
    assert got[-1].status() == "T"
    got = t.ask(extended("ROLLBACK"))
    assert got[-1].status() == "I"
    assert t.ok("SELECT count(*) FROM t") == [("0",)]


def test_error_in_a_pipeline_inside_begin_keeps_the_transaction(t):
    t.ok("BEGIN; INSERT INTO t(a) VALUES (1)")
    got = t.ask(
        extended("INSERT INTO t(a) VALUES (2)"), parse("SELECT broken"), extended("INSERT INTO t(a) VALUES (3)")
    )
    assert errors(got) == ["42703"] and got[-1].status() == "T"
    t.ok("COMMIT")
    assert t.ok("SELECT a FROM t") == [("1",), ("2",)]


def test_read_only_transaction_refuses_writes(t):
    t.ok("BEGIN READ ONLY")
    for sql in (
        "INSERT INTO t(a) VALUES (1)",
        "UPDATE t SET b = 'y'",
        "DELETE FROM t",
        "CREATE TABLE u(x)",
        "DROP TABLE t",
    ):
        got = t.query(sql)
        assert errors(got) == ["25006"], sql
    assert t.ok("SELECT count(*) FROM t") == [("0",)]
    t.ok("COMMIT")
    assert tags(t.query("INSERT INTO t(a) VALUES (1)")) == ["INSERT 0 1"]


def test_default_transaction_read_only(t):
    t.ok("SET default_transaction_read_only = on")
    assert t.fails("INSERT INTO t(a) VALUES (1)")["C"] == "25006"
    t.ok("BEGIN READ WRITE; INSERT INTO t(a) VALUES (1); COMMIT")
    t.ok("SET default_transaction_read_only = off")
    t.ok("INSERT INTO t(a) VALUES (2)")


def test_snapshot_is_stable_and_stale_upgrade_is_40001(server, scratch, t):
    with server.connect(database=scratch) as other:
        t.ok("BEGIN")
        assert t.ok("SELECT count(*) FROM t") == [("0",)]
        other.ok("INSERT INTO t(a) VALUES (1)")
        assert t.ok("SELECT count(*) FROM t") == [("0",)]
        got = t.query("INSERT INTO t(a) VALUES (2)")
        assert errors(got) == ["40001"] and got[-1].status() in "TE"
        t.query("ROLLBACK")
        t.ok("BEGIN; INSERT INTO t(a) VALUES (2); COMMIT")
        assert other.ok("SELECT a FROM t") == [("1",), ("2",)]


def test_autocommit_statement_that_reads_and_writes_never_sees_40001(server, scratch, t):
    with server.connect(database=scratch) as other:
        t.ok("INSERT INTO t(a) VALUES (0)")
        for n in range(200):
            other.send(wire.query("UPDATE t SET b = CAST(b AS INTEGER) + 1 WHERE a = 0"))
            t.send(wire.query("UPDATE t SET b = CAST(b AS INTEGER) + 1 WHERE a = 0"))
            assert not errors(other.until_ready()) and not errors(t.until_ready())
        assert t.ok("SELECT b FROM t") == [("400",)]


def test_isolation_shows_what_was_asked_for(client):
    client.ok("BEGIN ISOLATION LEVEL READ COMMITTED")
    assert client.value("SHOW transaction_isolation") == "read committed"
    client.ok("COMMIT; BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY")
    assert client.value("SHOW transaction_isolation") == "serializable"
    assert client.value("SHOW transaction_read_only") == "on"
    client.ok("COMMIT")
    assert client.value("SHOW transaction_read_only") == "off"


def test_commit_and_chain(t):
    got = t.query("BEGIN; INSERT INTO t(a) VALUES (1); COMMIT AND CHAIN")
    assert got[-1].status() == "T"
    t.ok("INSERT INTO t(a) VALUES (2); ROLLBACK")
    assert t.ok("SELECT a FROM t") == [("1",)]


def test_cursors_of_sql(t):
    t.ok("INSERT INTO t(a) VALUES (1),(2),(3),(4),(5); BEGIN")
    assert tags(t.query("DECLARE c CURSOR FOR SELECT a FROM t ORDER BY a")) == ["DECLARE CURSOR"]
    got = t.query("FETCH 2 FROM c")
    assert rows(got) == [("1",), ("2",)] and tags(got) == ["FETCH 2"]
    assert rows(t.query("FETCH NEXT FROM c")) == [("3",)]
    assert tags(t.query("MOVE 1 FROM c")) == ["MOVE 1"]
    assert rows(t.query("FETCH ALL FROM c")) == [("5",)]
    assert tags(t.query("FETCH c")) == ["FETCH 0"]
    assert tags(t.query("CLOSE c")) == ["CLOSE CURSOR"]
    assert t.fails("FETCH c")["C"] == "34000"
    t.ok("COMMIT")
    assert t.fails("DECLARE c CURSOR FOR SELECT 1")["C"] == "25P01"


def test_commit_that_fails_ends_the_transaction(db):
    """SQLite alone would keep it open; clients do not expect a transaction after COMMIT (docs/adr/0002)."""
    db.ok("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    db.ok("BEGIN; INSERT INTO c VALUES (1)")
    got = db.query("COMMIT")
    assert errors(got) == ["23503"] and got[-1].status() == "I"
    assert db.ok("SELECT count(*) FROM c") == [("0",)]
    db.ok("BEGIN; INSERT INTO c VALUES (1); INSERT INTO p VALUES (1); COMMIT")
    assert db.ok("SELECT count(*) FROM c") == [("1",)]


def test_deferred_foreign_key_in_a_pipeline_fails_at_sync(db):
    db.ok("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
    got = db.ask(extended("INSERT INTO c VALUES (1)"), extended("SELECT 1"))
    assert errors(got) == ["23503"] and got[-1].status() == "I"
    assert db.ok("SELECT count(*) FROM c") == [("0",)]


def test_prepared_statements_and_transactions_do_not_disturb_each_other(t):
    t.ask(parse("INSERT INTO t(a) VALUES ($1)", name="i", oids=[wire.INT8]))
    t.ok("BEGIN")
    t.ask(bind(["1"], stmt="i"), execute())
    t.ok("ROLLBACK")
    t.ask(bind(["2"], stmt="i"), execute())
    assert t.ok("SELECT a FROM t") == [("2",)]
