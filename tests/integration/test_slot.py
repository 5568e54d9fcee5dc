"""The write slot of a database: who idles with it loses it to whoever waits, after a time, and to nobody else."""

import threading

import psycopg
import pytest

from server import poll
from wire import bind, copy_data, errors, execute, flush, kinds, parse, query

ENDLESS_UPDATE = (
    "UPDATE t SET a = (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s)"
)


@pytest.fixture
def table(db):
    db.ok("CREATE TABLE t(a)")


@pytest.fixture
def connect(server, scratch):
    """connect(timeout) gives a session with that idle_in_transaction_session_timeout."""
    sessions = []

    def one(limit="60s"):
        session = server.connect(database=scratch)
        sessions.append(session)
        session.ok(f"SET idle_in_transaction_session_timeout = '{limit}'")
        return session

    yield one
    for session in sessions:
        session.close()


def waiting(db, scratch):
    """How many statements wait to write to this database."""
    return next(int(row[3]) for row in db.ok("SHOW databases") if row[0] == scratch)


def wait_for_waiters(db, scratch, count):
    poll(lambda: waiting(db, scratch) == count, f"{count} statements wait for the slot")


def is_silent(session, seconds=0.5):
    try:
        session.recv(timeout=seconds)
    except TimeoutError:
        return True
    return False


def assert_lost(session):
    got = session.drain()
    assert kinds(got) == "E", got
    fields = got[0].fields()
    assert fields["S"] == "FATAL" and fields["C"] == "25P03"
    assert "idle-in-transaction timeout" in fields["M"] and "rolled back" in fields["D"]


def values(db):
    return [row[0] for row in db.ok("SELECT a FROM t ORDER BY a")]


def test_there_is_a_default(client):
    assert client.value("SHOW idle_in_transaction_session_timeout") == "30s"


def test_an_idle_writer_that_nobody_waits_for_keeps_its_transaction(db, table, connect):
    idler = connect("50ms")
    idler.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    assert is_silent(idler)
    idler.ok("INSERT INTO t VALUES (2)")
    assert is_silent(idler)
    idler.ok("COMMIT")
    assert values(db) == ["1", "2"]


def test_one_who_comes_after_the_time_gets_the_slot_at_once(db, table, connect):
    idler = connect("50ms")
    idler.ok("BEGIN; INSERT INTO t VALUES (1)")
    assert is_silent(idler)
    db.ok("INSERT INTO t VALUES (2)")
    assert_lost(idler)
    assert values(db) == ["2"]


def test_one_who_waits_gets_the_slot_when_the_time_has_passed(db, table, connect):
    idler = connect("300ms")
    idler.ok("BEGIN; INSERT INTO t VALUES (1)")
    db.ok("INSERT INTO t VALUES (2)")
    assert_lost(idler)
    assert values(db) == ["2"]


def test_the_slot_goes_to_the_first_who_waits_then_to_the_second(db, table, connect, scratch):
    idler, second, third = connect("700ms"), connect(), connect()
    idler.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    second.send(query("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)"))
    wait_for_waiters(db, scratch, 1)
    third.send(query("INSERT INTO t SELECT max(a) + 10 FROM t"))
    wait_for_waiters(db, scratch, 2)
    assert_lost(idler)
    assert errors(second.until_ready()) == []
    assert is_silent(third) and waiting(db, scratch) == 1
    second.ok("COMMIT")
    assert errors(third.until_ready()) == []
    assert values(db) == ["2", "12"]


def test_a_commit_that_comes_too_late_says_what_happened(server, db, table, scratch):
    with psycopg.connect(server.dsn(database=scratch)) as idler:
        idler.execute("SET idle_in_transaction_session_timeout = '50ms'")
        idler.commit()
        idler.execute("INSERT INTO t VALUES (1)")
        db.ok("INSERT INTO t VALUES (2)")
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            idler.commit()
    assert values(db) == ["2"]


def test_a_reader_is_not_ended_for_a_writer(db, table, connect):
    reader = connect("50ms")
    assert reader.ok("BEGIN; SELECT count(*) FROM t") == [("0",)]
    db.ok("INSERT INTO t VALUES (1)")
    assert is_silent(reader)
    db.ok("INSERT INTO t VALUES (2)")
    assert reader.ok("SELECT count(*) FROM t") == [("0",)]
    reader.ok("COMMIT")
    assert reader.value("SELECT count(*) FROM t") == "2"


def test_one_who_gives_up_waiting_costs_the_holder_nothing(db, table, connect, scratch):
    idler, other = connect("700ms"), connect()
    other.ok("SET lock_timeout = '50ms'")
    idler.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    assert other.fails("INSERT INTO t VALUES (2)")["C"] == "55P03"
    assert waiting(db, scratch) == 0
    assert is_silent(idler, 1.5)
    idler.ok("COMMIT")
    assert values(db) == ["1"]


def test_the_time_counts_from_the_last_statement(db, table, connect, scratch):
    holder = connect("2s")
    holder.ok("BEGIN IMMEDIATE")
    db.send(query("INSERT INTO t VALUES (100)"))
    for i in range(5):
        assert is_silent(holder)
        holder.ok(f"INSERT INTO t VALUES ({i})")
    holder.ok("COMMIT")
    assert errors(db.until_ready()) == []
    assert values(db) == ["0", "1", "2", "3", "4", "100"]


def test_without_a_limit_the_holder_stays(db, table, connect, scratch):
    holder = connect("0")
    holder.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    db.send(query("INSERT INTO t VALUES (2)"))
    assert is_silent(holder, 1.0)
    holder.ok("COMMIT")
    assert errors(db.until_ready()) == []


def test_a_limit_that_is_lowered_counts_for_one_who_waits_already(db, table, connect, scratch):
    holder = connect("0")
    holder.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    db.send(query("INSERT INTO t VALUES (2)"))
    wait_for_waiters(connect(), scratch, 1)
    holder.ok("SET idle_in_transaction_session_timeout = '50ms'")
    assert_lost(holder)
    assert errors(db.until_ready()) == []


def test_a_statement_that_runs_is_stopped_by_its_own_limit_only(db, table, connect, scratch):
    db.ok("INSERT INTO t VALUES (1)")
    holder = connect("300ms")
    holder.ok("SET statement_timeout = '1500ms'; BEGIN IMMEDIATE")
    holder.send(query(ENDLESS_UPDATE))
    db.send(query("INSERT INTO t VALUES (2)"))
    # SQLite rolls a transaction back whose write is stopped in the middle, and with it the slot is free.
    got = holder.until_ready()
    assert errors(got) == ["57014"] and got[-1].status() == "E"
    assert errors(db.until_ready()) == []
    assert is_silent(holder)
    holder.ok("ROLLBACK")
    assert values(db) == ["1", "2"]


def test_a_pipeline_without_its_end_is_idle_too(db, table, connect):
    idler = connect("100ms")
    insert = parse("INSERT INTO t VALUES (1)") + bind() + execute()
    idler.send(insert, insert, flush())
    idler.until("C")
    idler.until("C")
    db.ok("INSERT INTO t VALUES (2)")
    assert_lost(idler)
    assert values(db) == ["2"]


def test_a_copy_that_stops_sending_is_idle_too(db, table, connect):
    idler = connect("100ms")
    idler.send(query("COPY t FROM STDIN"))
    idler.until("G")
    idler.send(copy_data(b"1\n"))
    assert is_silent(idler)
    db.ok("INSERT INTO t VALUES (2)")
    assert_lost(idler)
    assert values(db) == ["2"]


def test_one_who_does_not_read_his_answer_loses_the_slot_all_the_same(server, db, table, scratch):
    idler = server.connect(database=scratch, rcvbuf=4096)
    idler.ok("SET idle_in_transaction_session_timeout = '100ms'")
    idler.send(query("BEGIN IMMEDIATE; INSERT INTO t VALUES (1); SELECT hex(zeroblob(100000))"))
    db.ok("INSERT INTO t VALUES (2)")
    assert values(db) == ["2"]
    idler.close()


# ---------------------------------------------------------------- attached databases


@pytest.fixture
def two(server, scratch, table):
    """Two databases with a table t(a) each: their names."""
    other = scratch[:50] + "_b"
    with server.connect() as c:
        c.ok(f'DROP DATABASE IF EXISTS "{other}"; CREATE DATABASE "{other}"')
    with server.connect(database=other) as c:
        c.ok("CREATE TABLE t(a)")
    return scratch, other


def attached(server, own, other, limit="60s"):
    session = server.connect(database=own)
    session.ok(f"ATTACH '{other}' AS o; SET idle_in_transaction_session_timeout = '{limit}'")
    return session


def test_who_writes_an_attached_database_has_its_slot(server, two):
    own, other = two
    with attached(server, own, other) as guest, server.connect(database=other) as host:
        guest.ok("BEGIN; INSERT INTO o.t VALUES (1)")
        host.send(query("INSERT INTO t VALUES (2)"))
        wait_for_waiters(guest, other, 1)
        guest.ok("COMMIT")
        assert errors(host.until_ready()) == []
        assert values(host) == ["1", "2"]
        host.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (3)")
        guest.send(query("INSERT INTO o.t VALUES (4)"))
        wait_for_waiters(host, other, 1)
        host.ok("COMMIT")
        assert errors(guest.until_ready()) == []
        guest.ok("DETACH o; BEGIN IMMEDIATE")
        host.ok("INSERT INTO t VALUES (5)")
        assert values(host) == ["1", "2", "3", "4", "5"]


def test_a_guest_that_idles_loses_the_slot_to_the_host(server, two):
    own, other = two
    with attached(server, own, other, "100ms") as guest, server.connect(database=other) as host:
        guest.ok("BEGIN; INSERT INTO o.t VALUES (1)")
        assert is_silent(guest)
        host.ok("INSERT INTO t VALUES (2)")
        assert_lost(guest)
        assert values(host) == ["2"]


def test_sessions_that_have_attached_each_others_databases_do_not_block_each_other(server, two):
    rounds = 40
    failures = []

    def work(own, other):
        try:
            with attached(server, own, other) as c:
                for i in range(rounds):
                    first, second = ("t", "o.t") if i % 2 == 0 else ("o.t", "t")
                    c.ok(
                        f"BEGIN IMMEDIATE; INSERT INTO {first} VALUES ({i});"
                        f"INSERT INTO {second} VALUES ({i}); COMMIT"
                    )
        except Exception as e:  # noqa: BLE001 - handed to the test below
            failures.append(e)

    pairs = [two, two[::-1], two, two[::-1]]
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    for name in two:
        with server.connect(database=name) as c:
            assert c.value("SELECT count(*) FROM t") == str(rounds * len(pairs))


def test_a_database_may_be_attached_twice_and_to_itself(server, two):
    own, other = two
    with server.connect(database=own) as c, server.connect(database=other) as host:
        c.ok(f"ATTACH '{other}' AS o; ATTACH '{other}' AS p; ATTACH '{own}' AS me")
        c.ok("INSERT INTO o.t VALUES (1); INSERT INTO p.t VALUES (2); INSERT INTO t VALUES (3)")
        c.ok("DETACH o; INSERT INTO p.t VALUES (4); DETACH p; DETACH me")
        host.ok("INSERT INTO t VALUES (5)")
        assert values(host) == ["1", "2", "4", "5"]


def test_attach_and_detach_do_not_change_what_a_transaction_holds(server, two):
    own, other = two
    with attached(server, own, other) as c:
        c.ok("BEGIN; INSERT INTO t VALUES (1)")
        assert c.fails("DETACH o")["C"] == "25001"
        assert c.fails(f"ATTACH '{other}' AS p")["C"] == "25001"
        c.ok("COMMIT; DETACH o")
        assert c.fails(f"ATTACH '{own}' AS main")["C"] != "00000"
        c.ok(f"ATTACH '{other}' AS main2; INSERT INTO main2.t VALUES (1); DISCARD ALL; INSERT INTO t VALUES (2)")
    with server.connect(database=other) as host:
        host.ok("INSERT INTO t VALUES (2)")
        assert values(host) == ["1", "2"]
