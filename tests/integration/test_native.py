"""Native mode (docs/protocol.md): SQLite's interface over the wire, as the C library behaves on a file of its own.

Where SQLite's documentation leaves room, Python's sqlite3 module on a local database is the judge.
"""

import random
import sqlite3
import struct
import threading

import pytest

import native
import wire
from native import (
    ANEW,
    AUTH,
    BUSY,
    BUSY_SNAPSHOT,
    CANTOPEN,
    CONSTRAINT_PRIMARYKEY,
    CONSTRAINT_UNIQUE,
    DONE,
    ERROR,
    INTERRUPT,
    LOCKED,
    MISUSE,
    OK,
    RANGE,
    READONLY,
    ROW,
    TOOBIG,
    Native,
    Pointer,
    Zeroblob,
    text,
)
from server import poll
from wire import ServerError


@pytest.fixture
def n(server, scratch):
    with Native(server, scratch) as one:
        yield one


@pytest.fixture
def other(server, scratch):
    with Native(server, scratch) as one:
        yield one


@pytest.fixture
def memory(server):
    with Native(server, ":memory:") as one:
        yield one


@pytest.fixture
def t(n):
    n.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    n.ok("INSERT INTO t VALUES(1,'one'),(2,'two'),(3,'three')")
    return n


# ---------------------------------------------------------------- asking for it
def test_the_server_says_that_it_has_native_mode(server):
    with Native(server) as one:
        assert one.wire.parameters["sqld.native"] == "1"
        assert one.database == "main"
        assert not [m for m in one.wire.startup_messages if m.kind == "v"]


def test_other_protocol_options_are_still_declined(server):
    with Native(server, **{"_pq_.other": "1"}) as one:
        (declined,) = [m for m in one.wire.startup_messages if m.kind == "v"]
        assert declined.body[8:] == b"_pq_.other\0"
        assert one.ok("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    "value",
    ["", "2", "01", "1 x", "1 create create", "1 origin=12", "1 create origin=", "1 create origin=xyz", "1 createx",
     "1 create origin=" + "1" * 33, "1 create fresh", "1 share=12", "1 share=", "1 share=xyz", "1 " + "x" * 200],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_a_protocol_error(server, value):
    with pytest.raises(ServerError) as failure:
        server.connect(**{"_pq_.sqld": value})
    assert failure.value.sqlstate == "08P01" and failure.value.fields["S"] == "FATAL"


def test_messages_of_native_mode_are_for_those_who_have_asked(server):
    for kind in "yr":
        with server.connect() as one:
            one.send(wire.msg(kind, b"\x1c"))
            (error,) = [m for m in one.drain() if m.kind == "E"]
            assert error.sqlstate() == "08P01"


def test_messages_of_both_protocols_may_be_mixed(n):
    n.ok("CREATE TABLE t(a)")
    assert n.wire.query("INSERT INTO t VALUES(1)")[-1].status() == "I"
    n.ok("BEGIN")
    assert n.wire.query("INSERT INTO t VALUES(2)")[-1].status() == "T"
    n.ok("ROLLBACK")
    assert n.wire.query("SELECT count(*) FROM t")[-1].status() == "I"
    assert n.wire.ok("SELECT count(*) FROM t") == [("1",)]


# ---------------------------------------------------------------- which database
def test_create_makes_a_database_once(server):
    with pytest.raises(ServerError) as failure:
        Native(server, "made")
    assert failure.value.sqlstate == "3D000"
    with Native(server, "made", "create") as one:
        assert one.database == "made"
        one.ok("CREATE TABLE t(a)")
    with Native(server, "made", "create") as one:
        assert one.one("SELECT count(*) FROM t") == 0


def test_a_database_in_memory_may_be_shared_and_ends_with_its_last_session(server):
    with Native(server, ":memory:", "share=0a") as one, Native(server, ":memory:", "share=0a") as two:
        assert (one.database, two.database) == (":memory:", ":memory:")
        one.ok("CREATE TABLE t(a)")
        before = one.run("SELECT 1").generation
        two.ok("INSERT INTO t VALUES (1)")
        assert one.one("SELECT a FROM t") == 1
        two.ok("ALTER TABLE t ADD COLUMN b")
        assert one.run("SELECT 1").generation != before
        one.ok("BEGIN IMMEDIATE")
        one.ok("INSERT INTO t VALUES (2, 2)")
        two.busy_timeout(60_000)
        locked = two.run("SELECT a FROM t")
        assert (locked.result, locked.error) == (262, "database table is locked: t")
        one.ok("COMMIT")
        for other in (":memory:", "share=0b"), (":memory:", ""):
            with Native(server, *other) as third:
                assert third.ok("SELECT name FROM sqlite_schema") == []


    def is_new():
        with Native(server, ":memory:", "share=0a") as one:
            return one.ok("SELECT name FROM sqlite_schema") == []

    poll(is_new, "the end of the database")  # which is when the server has seen its clients go


def test_a_fresh_database_is_empty_and_has_a_name_of_its_own(server):
    names = set()
    for _ in range(3):
        with Native(server, "fresh", "fresh") as one:
            names.add(one.database)
            one.ok("CREATE TABLE t(a)")
    assert names == {"fresh", "fresh_2", "fresh_3"}


def test_an_origin_that_comes_again_gets_a_new_database(server):
    with Native(server, "stub", "create origin=00aF") as one:
        one.ok("CREATE TABLE first(a)")
        # Somebody still uses it: the new one has another name.
        with Native(server, "stub", "create origin=00af") as two:
            assert two.database == "stub_2"
            two.bye()
        one.bye()
    with Native(server, "stub", "create origin=ff") as one:  # somebody else's
        assert one.database == "stub" and one.one("SELECT count(*) FROM first") == 0
        one.bye()
    with Native(server, "stub", "create origin=00af") as one:
        assert one.database == "stub" and one.ok("SELECT name FROM sqlite_schema") == []
    with Native(server, "stub_deleted_1") as one:
        assert one.one("SELECT count(*) FROM first") == 0


def test_an_origin_is_dropped_and_renamed_with_its_database(server):
    Native(server, "place", "create origin=1").close()
    with server.connect() as one:
        poll(lambda: not wire.errors(one.query("ALTER DATABASE place RENAME TO moved")), "the database is free")
    assert (server.data_dir / "moved.origin").read_text() == "1"
    assert not (server.data_dir / "place.origin").exists()
    with server.connect() as one:
        one.ok("DROP DATABASE moved")
    assert not (server.data_dir / "moved.origin").exists()


def test_a_read_only_connection_writes_nothing_but_temporary_tables(t, server, scratch):
    with Native(server, scratch, "readonly") as one:
        assert one.databases()[0] == ("main", scratch, 1)
        assert one.fails("INSERT INTO t VALUES(4,4)") == (READONLY, "attempt to write a readonly database")
        one.ok("PRAGMA query_only=OFF")
        assert one.fails("DELETE FROM t")[0] == READONLY
        one.ok("CREATE TEMP TABLE u AS SELECT * FROM t")
        assert one.one("SELECT count(*) FROM u") == 3


# ---------------------------------------------------------------- statements
VALUES = [
    None, 0, -1, 127, 128, -129, 32768, -(2**31), 2**31, 2**63 - 1, -(2**63), 0.0, -0.0, 1.5, 1e300, float("inf"),
    "", "text", "nul\0inside", "ü€😀", b"", b"\0\xff", "x" * 100_000, b"y" * 100_000,
]  # fmt: skip


def test_values_are_exact(memory):
    for v in VALUES:
        ((got, kind),) = memory.ok("SELECT ?1, typeof(?1)", v)
        assert type(got) is type(v) and got == v and str(got) == str(v)
        assert kind == {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}[type(v)]


def test_text_may_be_no_utf8(memory):
    memory.ok("CREATE TABLE t(a)")
    memory.ok("INSERT INTO t VALUES(CAST(x'ff41' AS TEXT))")
    memory.send(native.prepare_step(99, "SELECT a FROM t"))
    answer = memory.recv()
    assert answer.rest.take("I") == 1 and answer.rest.take("B") == 0x30 and answer.rest.bytes() == b"\xff\x41"


def test_parameters_that_only_sqlite_has(memory):
    assert memory.ok("SELECT length(?1), typeof(?1), typeof(?2)", Zeroblob(70_000), Pointer(7)) == [(70000, "blob", "null")]
    assert memory.run("SELECT ?", Zeroblob(2**40)).result == TOOBIG
    answer = memory.run("SELECT ?", 1, 2)
    assert (answer.result, answer.error) == (RANGE, "column index out of range")
    assert memory.ok("SELECT ?3, ?1, :x, @y, $z", 1, 2, 3, 4, 5, 6) == [(3, 1, 4, 5, 6)]
    assert memory.ok("SELECT ?, ?") == [(None, None)]


def test_prepare_tells_what_sqlite_knows(t):
    _, a = t.prepare("SELECT a, b AS x, a+1, t.rowid FROM t WHERE b = :name OR a = ?7; SELECT 2")
    assert a.facts.consumed == len("SELECT a, b AS x, a+1, t.rowid FROM t WHERE b = :name OR a = ?7;")
    assert a.facts.columns == [
        ("a", "INTEGER", "main", "t", "a"),
        ("x", None, "main", "t", "b"),
        ("a+1", None, None, None, None),
        ("a", "INTEGER", "main", "t", "a"),
    ]
    assert a.facts.parameters == [":name", None, None, None, None, None, "?7"]
    assert a.facts.readonly and a.facts.explain == 0 and not a.facts.is_volatile
    assert [t.prepare(sql)[1].facts.readonly for sql in ("DELETE FROM t", "BEGIN", "BEGIN IMMEDIATE")] == [0, 1, 0]
    assert [t.prepare(sql)[1].facts.explain for sql in ("EXPLAIN SELECT 1", "EXPLAIN QUERY PLAN SELECT 1")] == [1, 2]
    assert t.prepare("SELECT changes()")[1].facts.is_volatile


@pytest.mark.parametrize("sql", ["", " ", ";", "-- only a comment", "/* x */ ;"])
def test_text_without_a_statement(memory, sql):
    _, a = memory.prepare(sql)
    assert a.result == OK and not a.facts.has_statement
    a = memory.run(sql)
    assert a.result == DONE and not a.facts.has_statement and a.rows == []


ERRORS = [
    "SELEC 1", "SELECT", "SELECT * FROM nowhere", "SELECT nothing", "INSERT INTO t VALUES(1,2)", "INSERT INTO t VALUES(1)",
    "INSERT INTO t(a) VALUES('x')", "SELECT abs(-9223372036854775808)", "SELECT json('{')", "COMMIT", "ROLLBACK TO x",
    "SELECT raise(abort,'x')", "CREATE TABLE t(a)", "SELECT 1 WHERE 'a' MATCH 'b'", "PRAGMA table_info(", "SELECT ?9999999",
    "INSERT INTO u VALUES(NULL)", "INSERT INTO u VALUES(5)", "DROP TABLE sqlite_schema", "SELECT version()",
    "SELECT current_database()", "UPDATE sqlite_schema SET sql=''", "SELECT substr(x'', y)",
    "SELECT 1; SELECT", "SELECT zeroblob(2000000000)", "SELECT a FROM t ORDER BY 7", "SELECT 'unterminated",
    "ALTER TABLE t RENAME COLUMN q TO r", "CREATE VIRTUAL TABLE v USING nothing(x)", "SELECT 1 FROM t, t", "VACUUM nodb",
]  # fmt: skip


@pytest.mark.parametrize("sql", ERRORS)
def test_errors_are_sqlites_own(memory, sql):
    local = sqlite3.connect(":memory:", isolation_level=None)
    for one in (local.execute, memory.ok):
        one("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        one("INSERT INTO t VALUES(1,'one')")
        one("CREATE TABLE u(c NOT NULL CHECK(c<3))")
    answer = memory.run(sql)
    try:
        local.execute(sql.split(";")[0]).fetchall()
    except sqlite3.Error as failure:
        assert (answer.result, answer.error) == (failure.sqlite_errorcode, str(failure))
    else:
        assert answer.result == DONE


def test_an_error_says_where(memory):
    assert memory.run("SELECT 1 FROM x WHERE").offset == -1  # incomplete input
    assert memory.run("SELECT ü, nope FROM (SELECT 1 AS ü)").offset == len("SELECT ü, ".encode())


def test_constraint_codes_are_extended(t):
    assert t.fails("INSERT INTO t VALUES(1,1)") == (CONSTRAINT_PRIMARYKEY, "UNIQUE constraint failed: t.a")
    t.ok("CREATE UNIQUE INDEX i ON t(b)")
    assert t.fails("INSERT INTO t VALUES(9,'two')") == (CONSTRAINT_UNIQUE, "UNIQUE constraint failed: t.b")


def test_rows_come_in_portions(t):
    s = t.good("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<10) SELECT x FROM c")
    a = t.step(s, rows=4)
    assert (a.result, a.rows) == (ROW, [(1,), (2,), (3,), (4,)]) and a.txn_state == 0
    a = t.more(s, rows=6)
    assert (a.result, [r[0] for r in a.rows]) == (ROW, [5, 6, 7, 8, 9, 10])
    a = t.more(s, rows=1)
    assert (a.result, a.rows) == (DONE, [])
    # By bytes: one row more than asked for.
    a = t.step(s, size=0)
    assert (a.result, a.rows) == (ROW, [(1,)])
    a = t.more(s)
    assert (a.result, len(a.rows)) == (DONE, 9)
    # After the end it begins anew by itself.
    assert len(t.more(s).rows) == 10


def test_statements_interleave(t):
    one, two = t.good("SELECT a FROM t ORDER BY a"), t.good("SELECT a FROM t ORDER BY a DESC")
    insert = t.good("INSERT INTO t(b) VALUES('new')")
    assert t.step(one, rows=1).rows == [(1,)]
    assert t.step(two, rows=1).rows == [(3,)]
    a = t.step(insert)
    assert (a.result, a.changes, a.rowid, a.txn_state) == (DONE, 1, 4, 1)
    assert t.more(one, rows=1).rows == [(2,)]
    assert t.more(two).rows == [(2,), (1,)]
    assert t.more(one).rows == [(3,), (4,)]  # SQLite shows it: the same connection


def test_a_table_in_use_is_not_dropped(t):
    s = t.good("SELECT a FROM t")
    assert t.step(s, rows=1).result == ROW
    assert t.fails("DROP TABLE t") == (LOCKED, "database table is locked")
    assert t.reset(s).result == OK
    t.ok("DROP TABLE t")


def test_rollback_with_a_statement_in_the_middle(t):
    t.ok("BEGIN")
    t.ok("INSERT INTO t VALUES(4,4)")
    s = t.good("SELECT a FROM t")
    assert t.step(s, rows=1).rows == [(1,)]
    t.ok("ROLLBACK")
    assert t.more(s).rows == [(2,), (3,)]  # a reader goes on (sqlite.org/lang_transaction.html)


def test_a_changed_schema_comes_with_new_facts(t, other):
    s = t.good("SELECT * FROM t")
    generation = t.step(s).generation
    other.ok("ALTER TABLE t ADD COLUMN c DEFAULT 'c'")
    a = t.step(s)
    assert a.result == DONE and a.facts.names == ["a", "b", "c"] and a.rows[0] == (1, "one", "c")
    assert a.generation != generation
    assert t.step(s).facts is None
    other.ok("DROP TABLE t")
    a = t.step(s)
    assert (a.result, a.error, a.rows) == (ERROR, "no such table: t", [])


def test_parameters_stay_bound(memory):
    s = memory.good("SELECT ?1, ?2")
    assert memory.step(s, "x" * 5000, b"y").rows == [("x" * 5000, b"y")]
    memory.send(native.step(s, None))
    assert memory.read_step(s).rows == [("x" * 5000, b"y")]
    assert memory.step(s, 1).rows == [(1, None)]
    assert memory.expand(s, ["it's", 2.5])[1] == "SELECT 'it''s', 2.5"
    memory.send(native.step(s, None))
    assert memory.read_step(s).rows == [("it's", 2.5)]


def test_an_error_after_rows(memory):
    s = memory.good("SELECT abs(x) FROM (SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT -9223372036854775808)")
    a = memory.step(s)
    assert (a.result, a.error, a.rows) == (ERROR, "integer overflow", [(1,), (2,)])
    a = memory.reset(s)  # sqlite3_reset() repeats it
    assert (a.result, a.error) == (ERROR, "integer overflow")
    assert memory.reset(s).result == OK
    assert memory.step(s, rows=1).rows == [(1,)]


def test_a_write_with_returning_is_whole_when_it_is_reset(t):
    s = t.good("INSERT INTO t(b) VALUES('x'),('y'),('z') RETURNING a")
    a = t.step(s, rows=1)
    assert (a.result, a.rows, a.txn_state) == (ROW, [(4,)], 2)
    a = t.reset(s)
    assert (a.result, a.changes, a.txn_state) == (OK, 3, 0)
    assert t.one("SELECT count(*) FROM t") == 6


def test_a_finalized_statement_in_the_middle_gives_its_locks_back(t, other):
    s = t.good("INSERT INTO t(b) VALUES('x'),('y') RETURNING a")
    assert t.step(s, rows=1).result == ROW
    assert other.run("DELETE FROM t").result == BUSY
    t.finalize(s)
    assert t.one("SELECT count(*) FROM t") == 5
    assert other.ok("DELETE FROM t") == []


def test_numbers_that_name_nothing_are_misuse(memory):
    for request in (native.RESET, native.STMT_STATUS):
        body = struct.pack("!I", 77) + (struct.pack("!iB", 1, 0) if request == native.STMT_STATUS else b"")
        assert memory.ask(request, body).result == MISUSE
    assert memory.step(77, 1, "x").result == MISUSE
    assert memory.expand(77, [1])[0].result == MISUSE
    s = memory.good("SELECT 1")
    memory.send(native.prepare(s, "SELECT 2"))
    assert memory.recv().result == MISUSE
    memory.send(native.prepare(0, "SELECT 2"))
    assert memory.recv().result == MISUSE
    memory.finalize(77)  # has no answer
    memory.send(native.request(native.RESET_ASYNC, struct.pack("!I", 77)))
    assert memory.step(s).rows == [(1,)]


def test_there_is_a_limit_to_statements(start):
    with Native(start("--max-prepared-statements", 3), ":memory:") as one:
        numbers = [one.good("SELECT 1") for _ in range(3)]
        assert one.prepare("SELECT 1")[1].error == "too many prepared statements"
        one.finalize(numbers[1])
        one.good("SELECT 1")


def test_statements_can_be_asked_what_they_did(t):
    s = t.good("SELECT * FROM t")
    t.step(s)
    fullscan_steps = 1
    a, steps = t.ask(native.STMT_STATUS, struct.pack("!IiB", s, fullscan_steps, 1), "i")
    assert a.result == OK and steps == 2
    assert t.ask(native.STMT_STATUS, struct.pack("!IiB", s, fullscan_steps, 0), "i")[1] == 0


def test_requests_may_be_sent_ahead(memory):
    memory.ok("CREATE TABLE t(a)")
    memory.send(*[native.prepare_step(i, "INSERT INTO t VALUES(?)", [i]) for i in range(1000, 1200)])
    assert {memory.read_step(i).result for i in range(1000, 1200)} == {DONE}
    assert memory.one("SELECT count(*) FROM t") == 200


def test_a_failure_skips_nothing(memory):
    memory.send(native.prepare_step(1, "nonsense"), native.prepare_step(2, "SELECT 2"))
    assert memory.read_step(1).result == ERROR
    assert memory.read_step(2).result == DONE


def test_a_big_value_goes_both_ways(memory):
    big = random.Random(1).randbytes(1 << 20) * 48
    assert memory.one("SELECT ?", big) == big
    assert memory.one("SELECT length(?1) + length(?1)", big) == 2 * len(big)


def test_a_row_that_is_too_large_is_too_big(start):
    with Native(start("--max-row-size", "64kB"), ":memory:") as one:
        s = one.good("SELECT zeroblob(?1)")
        big = 64 << 10 << 10
        a = one.step(s, big)
        assert (a.result, a.error) == (TOOBIG, "a row of the result is larger than max-row-size")
        assert one.step(s, 10).rows == [(bytes(10),)]


def test_flags_of_prepare_are_sqlites(memory):
    no_vtab = 4
    assert memory.prepare("SELECT * FROM pragma_table_list", no_vtab)[1].result == ERROR
    assert memory.prepare("SELECT * FROM pragma_table_list")[1].result == OK


# ---------------------------------------------------------------- transactions and locks
def test_transaction_state_is_told(t):
    assert (t.run("BEGIN").autocommit, t.run("SELECT 1").txn_state) == (False, 0)
    assert t.run("SELECT * FROM t").txn_state == 1
    a = t.run("UPDATE t SET b=0")
    assert (a.txn_state, a.changes) == (2, 3)
    assert t.ask(native.TXN_STATE, text("temp"), "i")[1] == 0
    assert t.ask(native.TXN_STATE, text("main"), "i")[1] == 2
    assert t.ask(native.TXN_STATE, text(None), "i")[1] == 2
    assert t.ask(native.TXN_STATE, text("nothing"), "i")[1] == -1
    a = t.run("COMMIT")
    assert (a.autocommit, a.txn_state, a.total_changes) == (True, 0, 6)


def test_sqlite_rolls_back_and_says_so(t):
    t.ok("BEGIN")
    t.ok("DELETE FROM t")
    a = t.run("INSERT OR ROLLBACK INTO t VALUES(1,1),(1,1)")
    assert a.result == CONSTRAINT_PRIMARYKEY and a.autocommit
    assert t.one("SELECT count(*) FROM t") == 3


def test_a_lock_is_busy_at_once(t, other):
    t.ok("BEGIN IMMEDIATE")
    assert other.fails("INSERT INTO t VALUES(9,9)") == (BUSY, "database is locked")
    assert other.fails("BEGIN IMMEDIATE")[0] == BUSY
    assert other.one("SELECT count(*) FROM t") == 3  # readers do not care
    s = other.good("INSERT INTO t VALUES(9,9)")
    assert other.step(s).result == BUSY
    t.ok("COMMIT")
    assert other.more(s).result == DONE  # it can be stepped again


def test_a_lock_is_waited_for(t, other):
    t.ok("BEGIN IMMEDIATE")
    other.busy_timeout(60_000)
    assert other.one("PRAGMA busy_timeout") == 60_000
    other.send(native.prepare_step(50, "INSERT INTO t VALUES(9,9)"))
    with pytest.raises(TimeoutError):
        other.recv(timeout=0.2)
    t.ok("COMMIT")
    assert other.read_step(50).result == DONE


def test_waiting_for_a_lock_has_an_end(t, other):
    t.ok("BEGIN EXCLUSIVE")
    assert other.ok("PRAGMA busy_timeout=50") == [(50,)]
    assert other.fails("INSERT INTO t VALUES(9,9)") == (BUSY, "database is locked")
    t.ok("ROLLBACK")
    other.ok("INSERT INTO t VALUES(9,9)")


def test_who_writes_from_an_old_snapshot_is_told(t, other):
    t.ok("BEGIN")
    assert t.one("SELECT count(*) FROM t") == 3
    other.ok("INSERT INTO t VALUES(4,4)")
    t.busy_timeout(60_000)
    assert t.fails("INSERT INTO t VALUES(5,5)") == (BUSY_SNAPSHOT, "database is locked")
    assert not t.run("SELECT 1").autocommit
    t.ok("ROLLBACK")
    t.ok("INSERT INTO t VALUES(5,5)")


def test_an_open_read_outside_a_transaction_keeps_its_snapshot(t, other):
    s = t.good("SELECT a FROM t")
    assert t.step(s, rows=1).result == ROW
    other.ok("INSERT INTO t VALUES(4,4)")
    assert t.fails("INSERT INTO t VALUES(5,5)")[0] == BUSY_SNAPSHOT
    assert t.reset(s).result == OK
    t.ok("INSERT INTO t VALUES(5,5)")


def test_temporary_tables_need_no_lock(t, other):
    t.ok("BEGIN IMMEDIATE")
    other.ok("CREATE TEMP TABLE own(a)")
    other.ok("INSERT INTO own SELECT a FROM t")
    other.ok("ATTACH ':memory:' AS mem")
    other.ok("CREATE TEMP TABLE more AS SELECT * FROM own")
    assert other.one("SELECT count(*) FROM more") == 3
    assert other.fails("INSERT INTO main.t SELECT 9, a FROM own")[0] == BUSY
    t.ok("COMMIT")


def test_postgresql_sessions_and_native_ones_share_the_slot(t, server, scratch):
    with server.connect(database=scratch) as pg:
        pg.ok("BEGIN IMMEDIATE")
        assert t.fails("DELETE FROM t")[0] == BUSY
        t.busy_timeout(60_000)
        t.send(native.prepare_step(60, "DELETE FROM t"))
        with pytest.raises(TimeoutError):
            t.recv(timeout=0.2)
        pg.ok("COMMIT")
        assert t.read_step(60).changes == 3


def test_a_client_that_vanishes_leaves_nothing_behind(t, server, scratch):
    one = Native(server, scratch)
    one.ok("BEGIN IMMEDIATE")
    one.ok("DELETE FROM t")
    t.busy_timeout(60_000)
    t.send(native.prepare_step(60, "INSERT INTO t VALUES(9,9)"))
    one.close()
    assert t.read_step(60).result == DONE
    assert t.one("SELECT count(*) FROM t") == 4


def test_a_silent_holder_is_ended_when_others_wait(start):
    server = start("--idle-in-transaction-session-timeout", "100ms")
    with Native(server, "shared", "create") as holder, Native(server, "shared") as waiter:
        holder.ok("CREATE TABLE t(a)")
        s = holder.good("INSERT INTO t VALUES(1),(2) RETURNING a")
        assert holder.step(s, rows=1).result == ROW
        waiter.busy_timeout(60_000)
        assert waiter.ok("INSERT INTO t VALUES(3)") == []
        assert holder.ended()["C"] == "25P03"


def test_writers_in_turn_lose_nothing(server, scratch):
    with Native(server, scratch) as one:
        one.ok("CREATE TABLE t(a)")
    failures = []

    def work(k):
        try:
            with Native(server, scratch) as one:
                one.busy_timeout(60_000)
                s = one.good("INSERT INTO t VALUES(?)")
                for i in range(100):
                    assert one.step(s, k * 1000 + i).result == DONE
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Native(server, scratch) as one:
        assert one.one("SELECT count(DISTINCT a) FROM t") == 800


def test_answered_commits_survive_kill9(start):
    server = start()
    one = Native(server, "kept", "create")
    one.ok("CREATE TABLE t(a)")
    s = one.good("INSERT INTO t VALUES(?)")
    for i in range(50):
        assert one.step(s, i).result == DONE
    server.kill9()
    one.close()
    server.restart()
    with Native(server, "kept") as one:
        assert one.one("SELECT count(*) FROM t") == 50


# ---------------------------------------------------------------- stopping
LONG = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"


def test_a_running_statement_is_interrupted(n, server):
    before = server.cpu_ticks()
    n.send(native.prepare_step(50, LONG))
    server.wait_busy(before)
    n.wire.cancel()
    a = n.read_step(50)
    assert (a.result, a.error) == (INTERRUPT, "interrupted")
    assert n.ask(native.INTERRUPT_CLEAR).result == OK
    assert n.one("SELECT 1") == 1


def test_an_interrupt_that_came_before_is_settled(n):
    for _ in range(20):
        thread = threading.Thread(target=n.wire.cancel)
        thread.start()
        thread.join()
        assert n.ask(native.INTERRUPT_CLEAR).result == OK
        assert n.one("SELECT 1") == 1


def test_a_waiting_statement_is_interrupted(t, other):
    t.ok("BEGIN IMMEDIATE")
    other.busy_timeout(60_000)
    other.send(native.prepare_step(50, "DELETE FROM t"))
    with pytest.raises(TimeoutError):
        other.recv(timeout=0.2)
    other.wire.cancel()
    assert other.read_step(50).result == INTERRUPT
    t.ok("COMMIT")


def test_a_step_that_only_goes_on_does_not_begin_anew(n):
    number = n.good("SELECT column1 FROM (VALUES (1), (2), (3))")
    # Before it has begun, in its middle, to its end, behind it.
    for flags, rows, result in (2, [], DONE), (ANEW, [(1,), (2,)], ROW), (2, [(3,)], DONE), (2, [], DONE):
        answer = n.step(number, flags=flags, rows=2)
        assert (answer.rows, answer.result) == (rows, result)
    assert n.step(number).rows == [(1,), (2,), (3,)]
    failing = n.good("SELECT iif(column1 = 2, abs(-9223372036854775808), 1) FROM (VALUES (1), (2))")
    assert n.step(failing, rows=1).result == ROW
    assert n.step(failing, flags=2).result == ERROR
    assert (n.step(failing, flags=2).result, n.one("SELECT 1")) == (DONE, 1)


def test_a_statement_that_takes_long_gives_the_rows_that_it_has(n):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    answer = n.run(f"SELECT i FROM ({numbers}) WHERE i % 200000 = 0 LIMIT 3")
    assert (answer.result, answer.rows[0]) == (ROW, (200000,)) and len(answer.rows) < 3
    n.ok("CREATE TABLE t(a)")
    slow = "(SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n))"
    answer = n.run(f"INSERT INTO t VALUES (1), (2), (3) RETURNING {slow} + a")
    assert (answer.result, len(answer.rows)) == (DONE, 3)


def test_statement_timeout_is_an_interrupt(n):
    n.wire.ok("SET statement_timeout = 50")
    a = n.run(LONG)
    assert (a.result, a.error) == (INTERRUPT, "canceling statement due to statement timeout")
    assert n.one("SELECT 1") == 1


def test_shutdown_ends_a_native_session(start):
    server = start()
    one = Native(server)
    server.stop()
    assert one.ended()["C"] == "57P01"
    one.close()


# ---------------------------------------------------------------- pragmas
@pytest.mark.parametrize(
    "sql, rows",
    [
        ("PRAGMA journal_mode", [("wal",)]),
        ("PRAGMA journal_mode=DELETE", [("wal",)]),
        ("PRAGMA main.journal_mode('memory')", [("wal",)]),
        ("/* x */ pragma JOURNAL_MODE = off;", [("wal",)]),
        ("PRAGMA synchronous", [(2,)]),
        ("PRAGMA synchronous=OFF", []),
        ("PRAGMA locking_mode=EXCLUSIVE", [("normal",)]),
        ("PRAGMA cache_size=-4000", []),
        ("PRAGMA temp_store=MEMORY", []),
        ("PRAGMA page_size=1024", []),
        ("PRAGMA page_size", [(4096,)]),
        ("PRAGMA auto_vacuum", [(0,)]),
        ("PRAGMA busy_timeout", [(0,)]),
        ("PRAGMA busy_timeout=1234", [(1234,)]),
        ("PRAGMA wal_autocheckpoint", [(1000,)]),
        ("PRAGMA wal_autocheckpoint=5", [(5,)]),
        ("PRAGMA cache_spill=OFF", []),
        ("PRAGMA encoding", [("UTF-8",)]),
        ("PRAGMA secure_delete=1", [(1,)]),
        ("PRAGMA count_changes=1", []),
        ("PRAGMA empty_result_callbacks=1", []),
        ("PRAGMA full_column_names=0", []),
        ("PRAGMA short_column_names=1", []),
        ("PRAGMA read_uncommitted=1", []),
        ("PRAGMA schema_version=77", []),
        ("PRAGMA max_page_count=1000000", [(1000000,)]),
        ("PRAGMA threads=4", [(0,)]),
        ("PRAGMA shrink_memory", []),
        ("PRAGMA optimize", []),
        ("PRAGMA vdbe_trace=1", []),
        ("PRAGMA nothing_like_this=1", []),
        ("PRAGMA foreign_keys", [(0,)]),
        ("PRAGMA user_version=3", []),
        ("PRAGMA quick_check", [("ok",)]),
        ("PRAGMA recursive_triggers=1", []),
    ],
)
def test_a_pragma_is_answered(n, sql, rows):
    assert n.ok(sql) == rows


@pytest.mark.parametrize("name", ["temp_store_directory", "data_store_directory", "writable_schema"])
def test_a_pragma_that_reaches_beyond_is_refused(n, name):
    assert n.fails(f"PRAGMA {name}='/tmp'") == (AUTH, "not authorized")
    assert n.fails(f"EXPLAIN PRAGMA {name}='/tmp'")[0] == AUTH


def test_pragmas_are_remembered(n):
    for name, value, back in (("synchronous", "OFF", 0), ("synchronous", "EXTRA", 3), ("wal_autocheckpoint", 7, 7),
                              ("busy_timeout", 9, 9), ("cache_size", 77, 77), ("foreign_keys", 1, 1)):  # fmt: skip
        n.ok(f"PRAGMA {name}={value}")
        assert n.one(f"PRAGMA {name}") == back


def test_a_pragma_keeps_its_column_names(n):
    for sql, name in (("PRAGMA journal_mode=DELETE", "journal_mode"), ("PRAGMA busy_timeout=1", "timeout"),
                      ("PRAGMA synchronous", "synchronous"), ("PRAGMA wal_autocheckpoint", "wal_autocheckpoint")):  # fmt: skip
        _, a = n.prepare(sql + "; SELECT 1")
        assert a.facts.names == [name] and a.facts.consumed == len(sql) + 1


def test_a_checkpoint_is_made(t):
    ((busy, frames, copied),) = t.ok("PRAGMA wal_checkpoint(TRUNCATE)")
    assert busy == 0 and frames >= copied >= 0
    for mode in range(4):
        a, (frames, copied) = t.ask(native.CHECKPOINT, text("main") + struct.pack("!i", mode), "ii")
        assert a.result == OK and frames >= copied >= 0
    assert t.ask(native.CHECKPOINT, text("nothing") + struct.pack("!i", 0)).result == ERROR
    assert t.ask(native.CHECKPOINT, text(None) + struct.pack("!i", 9)).result == MISUSE


def test_vacuum_works_and_makes_no_files(t):
    t.ok("VACUUM")
    assert t.one("SELECT count(*) FROM t") == 3
    assert t.fails("VACUUM INTO '/tmp/never'") == (AUTH, "VACUUM INTO cannot write files of the server's")
    assert t.fails("SELECT")[1] == "incomplete input"


# ---------------------------------------------------------------- private databases
def test_private_databases_are_private(server):
    with Native(server, ":memory:") as one, Native(server, ":memory:") as two:
        one.ok("CREATE TABLE t(a)")
        assert two.fails("SELECT * FROM t")[1] == "no such table: t"
        one.ok("BEGIN EXCLUSIVE")
        two.ok("BEGIN EXCLUSIVE")
        assert one.databases()[0] == ("main", None, 0)


def test_private_databases_may_nearly_do_what_they_want(memory):
    assert memory.ok("PRAGMA journal_mode=OFF") == [("memory",)]  # as in defensive mode
    assert memory.ok("PRAGMA locking_mode=EXCLUSIVE") == [("exclusive",)]
    memory.ok("PRAGMA page_size=8192")
    memory.ok("PRAGMA auto_vacuum=1")
    memory.ok("CREATE TABLE t(a)")
    assert memory.one("PRAGMA page_size") == 8192 and memory.one("PRAGMA auto_vacuum") == 1
    assert memory.fails("ATTACH '/tmp/x.db' AS x")[0] == AUTH
    assert memory.fails("SELECT load_extension('x')")[0] in (AUTH, ERROR)


def test_synchronous_is_sqlites_own_in_memory(memory):
    memory.ok("PRAGMA synchronous=OFF")
    assert memory.one("PRAGMA synchronous") == 0


def test_private_databases_compare_with_local_ones(memory):
    local = sqlite3.connect(":memory:", isolation_level=None)
    rng = random.Random(7)
    local.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b, c TEXT)")
    memory.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b, c TEXT)")
    for _ in range(300):
        sql, values = rng.choice(
            [
                ("INSERT INTO t VALUES(?,?,?)", (rng.randrange(50), rng.random(), str(rng.random()))),
                ("UPDATE t SET b=?2 WHERE a>?1", (rng.randrange(50), rng.randbytes(3))),
                ("DELETE FROM t WHERE a=?", (rng.randrange(50),)),
                ("SELECT *, total_changes(), changes(), last_insert_rowid() FROM t ORDER BY a", ()),
                ("SELECT count(*), sum(a), group_concat(c) FROM t", ()),
                ("BEGIN", ()),
                ("COMMIT", ()),
                ("ROLLBACK", ()),
            ]
        )
        a = memory.run(sql, *values)
        try:
            assert local.execute(sql, values).fetchall() == a.rows
            assert a.result == DONE
        except sqlite3.Error as e:
            assert (a.result, a.error) == (e.sqlite_errorcode, str(e))
        assert a.autocommit != local.in_transaction
        assert a.total_changes == local.total_changes
        memory.finalize(memory.number)


# ---------------------------------------------------------------- attaching
@pytest.fixture
def second(server, scratch):
    name = "second_" + scratch[:40]
    with server.connect() as one:
        one.ok(f'DROP DATABASE IF EXISTS "{name}"')
        one.ok(f'CREATE DATABASE "{name}"')
    return name


def test_databases_are_attached_by_request(t, server, scratch, second):
    a = t.attach(second, "o'ther")
    assert a.result == OK
    assert t.databases()[2] == ("o'ther", second, 0)
    t.ok("CREATE TABLE \"o'ther\".u(x)")
    t.ok("BEGIN")
    t.ok("INSERT INTO u VALUES(1)")
    t.ok("INSERT INTO t VALUES(7,7)")
    t.ok("COMMIT")
    with Native(server, second) as one:
        assert one.one("SELECT count(*) FROM u") == 1
    t.ok("DETACH \"o'ther\"")
    assert len(t.databases()) == 2
    with server.connect() as one:
        poll(lambda: not wire.errors(one.query(f'DROP DATABASE "{second}"')), "DETACH has given it back")


def test_attaching_takes_the_locks_of_all(t, server, second):
    t.attach(second, "x")
    with Native(server, second) as one:
        one.ok("CREATE TABLE u(x)")
        one.ok("BEGIN IMMEDIATE")
        assert t.fails("INSERT INTO u VALUES(1)")[0] == BUSY
        one.ok("COMMIT")
    t.ok("INSERT INTO u VALUES(1)")


def test_attaching_what_is_not_there(t, server):
    a = t.attach("nothing_here", "x")
    assert a.result == CANTOPEN and "nothing_here" in a.error
    assert t.attach("made_by_attach", "x", flags=1).result == OK
    assert t.attach("made_by_attach", "x").error == "database x is already in use"
    assert t.attach("main", "main").result == ERROR


def test_attached_databases_may_be_read_only(t, second, server):
    with Native(server, second) as one:
        one.ok("CREATE TABLE u(x)")
    assert t.attach(second, "x", flags=2).result == OK
    assert t.databases()[2][2] == 1
    assert t.fails("INSERT INTO u VALUES(1)")[0] == READONLY
    t.ok("INSERT INTO t VALUES(9,9)")


def test_attach_in_sql(t):
    for name in ("''", "':memory:'"):
        t.ok(f"ATTACH {name} AS scratch")
        t.ok("CREATE TABLE scratch.s(x)")
        t.ok("DETACH scratch")
    for sql in ("ATTACH 'file.db' AS x", "ATTACH ?1 AS ?2", "ATTACH 'a' || 'b' AS x"):
        s, a = t.prepare(sql)
        assert a.result == OK and a.facts.is_attach
        assert t.step(s, *[None] * len(a.facts.parameters)).result == AUTH
    assert len(t.databases()) == 2


def test_there_is_a_limit_to_attached_databases(t):
    codes = [t.attach("main", f"x{i}").result for i in range(11)]
    assert codes == [OK] * 10 + [ERROR]


# ---------------------------------------------------------------- what is asked and set
def test_columns_can_be_asked_for(t):
    t.ok("CREATE TABLE u(k INTEGER PRIMARY KEY AUTOINCREMENT, v VARCHAR(9) COLLATE NOCASE NOT NULL)")

    def ask(table, column, database=None):
        t.send(native.request(native.COLUMN_METADATA, text(database) + text(table) + text(column)))
        a = t.recv()
        if a.result != OK:
            return a.result, a.error
        return a.rest.text(), a.rest.text(), *a.rest.take("BBB")

    assert ask("u", "v") == ("VARCHAR(9)", "NOCASE", 1, 0, 0)
    assert ask("u", "k", "main") == ("INTEGER", "BINARY", 0, 1, 1)
    assert ask("t", "rowid") == ("INTEGER", "BINARY", 0, 1, 0)
    assert ask("t", "zz") == (ERROR, "no such table column: t.zz")


def test_the_last_rowid_can_be_set(t):
    assert t.ask(native.SET_ROWID, struct.pack("!q", -5)).rowid == -5
    assert t.one("SELECT last_insert_rowid()") == -5


def test_limits_are_sqlites(memory):
    sql_length, variables, threads = 1, 9, 11
    a, former = memory.ask(native.LIMIT, struct.pack("!ii", sql_length, 50), "i")
    assert former == 1_000_000_000 or former == 1_000_000
    assert memory.run("SELECT '" + "x" * 50 + "'").result == TOOBIG
    assert memory.ask(native.LIMIT, struct.pack("!ii", sql_length, -1), "i")[1] == 50
    assert memory.ask(native.LIMIT, struct.pack("!ii", variables, -1), "i")[1] >= 32766
    memory.ask(native.LIMIT, struct.pack("!ii", threads, 8), "i")
    assert memory.ask(native.LIMIT, struct.pack("!ii", threads, -1), "i")[1] == 0
    assert memory.ask(native.LIMIT, struct.pack("!ii", 999, -1), "i")[1] == -1


def test_configuration_that_may_be_changed(t, memory):
    fkey, load_extension, defensive, dqs_dml = 1002, 1005, 1010, 1013

    def ask(one, operation, value):
        one.send(native.request(native.DB_CONFIG, struct.pack("!ii", operation, value)))
        a = one.recv()
        return a.rest.take("i") if a.result == OK else a.result

    assert [ask(t, fkey, v) for v in (-1, 1, -1, 0)] == [0, 1, 1, 0]
    assert ask(t, dqs_dml, 0) == 0
    assert t.fails('SELECT "no such column"')[0] == ERROR
    assert ask(t, load_extension, 1) == AUTH and ask(t, load_extension, -1) == 0
    assert ask(t, defensive, 0) == AUTH and ask(t, defensive, 1) == 1
    assert ask(memory, defensive, 0) == 0
    assert ask(memory, load_extension, 1) == AUTH
    assert ask(memory, 1000, 1) == ERROR and ask(memory, 5, 1) == ERROR


def test_status_memory_and_versions(t, other):
    schema_used = 2
    a, (current, highest) = t.ask(native.DB_STATUS, struct.pack("!iB", schema_used, 0), "ii")
    assert current > 0 and highest == 0
    assert t.ask(native.DB_STATUS, struct.pack("!iB", 999, 0)).result == ERROR
    for flush in (0, 1):
        assert t.ask(native.RELEASE_MEMORY, bytes([flush])).result == OK
    version = t.ask(native.DATA_VERSION, text("main"), "I")[1]
    other.ok("INSERT INTO t VALUES(9,9)")
    t.ok("SELECT * FROM t")
    assert t.ask(native.DATA_VERSION, text("main"), "I")[1] != version
    assert t.ask(native.DATA_VERSION, text("nothing")).result == ERROR


# ---------------------------------------------------------------- nonsense
NONSENSE = [
    b"", b"\x00", b"\xff", b"\x46", b"\x01", b"\x01\0\0\0\1\0\0\0\0", b"\x01\0\0\0\1\0\0\0\0\xff\xff\xff\xff",
    b"\x01\0\0\0\1\0\0\0\0\0\0\0\x05SELE", b"\x01\0\0\0\1\0\0\0\0\0\0\0\x08SELECT 1x", b"\x02\0\0\0\1",
    b"\x02\0\0\0\1\x02\0\0\0\1\0\0\0\1\0\0\0\0", b"\x02\0\0\0\1\0\0\0\0\1\0\0\0\1\0\0\0\0",
    b"\x02\0\0\0\1\1\0\0\0\1\0\0\0\1\0\0\0\2\0", b"\x02\0\0\0\1\1\0\0\0\1\0\0\0\1\0\0\0\1\x99",
    b"\x02\0\0\0\1\1\0\0\0\1\0\0\0\1\0\0\0\1\x30\xff\xff\xff\xf0", b"\x02\0\0\0\1\1\0\0\0\1\0\0\0\1\xff\xff\xff\xfe",
    b"\x04\0\0\0\1x", b"\x05", b"\x06\0\0\0\1\0\0\0\1", b"\x07\0\0\0\1", b"\x10\0\0\0\1x", b"\x11\0\0\0\2a\0",
    b"\x12\0", b"\x13\0\0\0\0", b"\x14", b"\x15\0\0\0\0", b"\x16\0\0\0\0", b"\x17", b"\x18x", b"\x19", b"\x1a", b"\x1b",
    b"\x1cx", b"\x10" + b"\0\0\x07\xd0" + b"x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("body", NONSENSE)
def test_what_makes_no_sense_ends_the_connection(server, body):
    with Native(server, ":memory:") as one:
        one.good("SELECT ?")
        one.send(wire.msg("y", body))
        error = one.ended()
        assert (error["C"], error["S"]) == ("08P01", "FATAL")


def test_answers_nobody_asked_for_end_the_connection(server):
    with Native(server, ":memory:") as one:
        one.send(wire.msg("r", b"\0\0"))
        assert one.ended()["C"] == "08P01"


def test_random_bytes_do_no_harm(server):
    rng = random.Random(20)
    for _ in range(60):
        with Native(server, ":memory:") as one:
            for _ in range(20):
                body = bytes([rng.choice([1, 2, 3, 4, 5, 6, 7, 8, *range(0x10, 0x1D)])])
                body += struct.pack("!I", rng.randrange(3)) + rng.randbytes(rng.randrange(40))
                try:
                    one.send(wire.msg("y", body))
                except OSError:
                    break
            try:
                one.send(wire.terminate())
            except OSError:
                pass
            one.wire.drain()


def test_step_flags_are_known(server):
    assert ANEW == 1
    with Native(server, ":memory:") as one:
        s = one.good("SELECT 1")
        one.send(native.step(s, (), flags=ANEW | 2))
        assert one.ended()["C"] == "08P01"
