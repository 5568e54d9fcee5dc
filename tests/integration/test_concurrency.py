"""Many clients at once: fair writers, readers that never wait, and no lost updates."""

import threading
import time

import pytest

import wire
from wire import bind, errors, execute, parse, query, rows

ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


def run_all(targets):
    failures = []

    def guarded(f, *a):
        try:
            f(*a)
        except Exception as e:  # noqa: BLE001 - handed to the test below
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=t if isinstance(t, tuple) else (t,)) for t in targets]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def test_no_update_is_lost(server, scratch, db):
    db.ok("CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES (0)")

    def work():
        with server.connect(database=scratch) as c:
            for _ in range(100):
                c.ok("UPDATE counter SET n = n + 1")

    run_all([work] * 16)
    assert db.value("SELECT n FROM counter") == "1600"


def test_transfers_keep_the_sum(server, scratch, db):
    db.ok(
        "CREATE TABLE account(id INTEGER PRIMARY KEY, v INTEGER);"
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20) INSERT INTO account SELECT n, 100 FROM s"
    )
    stop = threading.Event()

    def transfer(seed):
        with server.connect(database=scratch) as c:
            for n in range(60):
                a, b = (seed + n) % 20 + 1, (seed * 7 + n * 3) % 20 + 1
                c.ok(
                    f"BEGIN IMMEDIATE; UPDATE account SET v = v - 5 WHERE id = {a};"
                    f"UPDATE account SET v = v + 5 WHERE id = {b}; COMMIT"
                )

    def audit():
        with server.connect(database=scratch) as c:
            while not stop.is_set():
                assert c.value("SELECT sum(v) FROM account") == "2000"

    auditors = [threading.Thread(target=audit) for _ in range(2)]
    for a in auditors:
        a.start()
    try:
        run_all([(transfer, k) for k in range(8)])
    finally:
        stop.set()
        for a in auditors:
            a.join()
    assert db.value("SELECT sum(v) FROM account") == "2000"


def test_readers_do_not_wait_for_a_writer(server, scratch, db):
    db.ok("CREATE TABLE t(a); INSERT INTO t VALUES (1); BEGIN IMMEDIATE; UPDATE t SET a = 2")
    for _ in range(10):
        with server.connect(database=scratch) as reader:
            assert reader.ok("SELECT a FROM t") == [("1",)]
    db.ok("COMMIT")


def test_waiting_writers_get_their_turn_in_order(server, scratch, db):
    db.ok("CREATE TABLE t(n INTEGER PRIMARY KEY AUTOINCREMENT, who INTEGER); BEGIN IMMEDIATE")
    waiting = []
    for who in range(10):
        c = server.connect(database=scratch)
        c.ok("SELECT 1")
        c.send(query(f"INSERT INTO t(who) VALUES ({who})"))
        with server.connect(database=scratch) as other:  # a round trip: the statement above has arrived
            other.ok("SELECT count(*) FROM t")
        waiting.append(c)
    db.ok("COMMIT")
    for c in waiting:
        assert not errors(c.until_ready())
        c.close()
    assert db.value("SELECT count(*) FROM t") == "10"


def test_long_statements_do_not_stop_short_ones(server, db, scratch):
    hogs = [server.connect(database=scratch) for _ in range(8)]
    for h in hogs:
        h.send(query(ENDLESS))
    try:
        slowest = 0.0
        for _ in range(50):
            began = time.monotonic()
            with server.connect(database=scratch) as c:
                assert c.ok("SELECT 1") == [("1",)]
            slowest = max(slowest, time.monotonic() - began)
    finally:
        for h in hogs:
            h.cancel()
        for h in hogs:
            done = []
            t = threading.Thread(target=lambda: done.extend(h.until_ready()))
            t.start()
            while t.is_alive():
                h.cancel()
                t.join(0.05)
            assert errors(done) == ["57014"]
            h.close()


def test_waiting_writer_can_be_cancelled(server, scratch, db):
    db.ok("CREATE TABLE t(a); BEGIN IMMEDIATE")
    with server.connect(database=scratch) as waiter:
        result = []
        t = threading.Thread(target=lambda: result.extend(waiter.query("INSERT INTO t VALUES (1)")))
        t.start()
        while t.is_alive():
            waiter.cancel()
            t.join(0.05)
        assert errors(result) == ["57014"]
        db.ok("COMMIT")
        waiter.ok("INSERT INTO t VALUES (2)")
    assert db.ok("SELECT a FROM t") == [("2",)]


def test_waiting_writer_obeys_statement_timeout(server, scratch, db):
    db.ok("CREATE TABLE t(a); BEGIN IMMEDIATE")
    with server.connect(database=scratch) as waiter:
        waiter.ok("SET statement_timeout = '100ms'")
        assert waiter.fails("INSERT INTO t VALUES (1)")["C"] == "57014"
    db.ok("COMMIT")


def test_schema_changes_under_running_prepared_statements(server, scratch, db):
    db.ok("CREATE TABLE t(a INTEGER)")
    stop = threading.Event()
    done = []

    def insert():
        with server.connect(database=scratch) as c:
            c.ask(parse("INSERT INTO t(a) VALUES ($1)", name="i", oids=[wire.INT8]))
            n = 0
            while not stop.is_set():
                got = c.ask(bind([str(n)], stmt="i"), execute())
                assert not errors(got), got
                n += 1
            done.append(n)

    threads = [threading.Thread(target=insert) for _ in range(3)]
    for t in threads:
        t.start()
    for n in range(30):
        db.ok(f"CREATE INDEX i{n} ON t(a); CREATE TABLE x{n}(y); DROP INDEX i{n}")
    stop.set()
    for t in threads:
        t.join()
    assert len(done) == 3 and db.value("SELECT count(*) FROM t") == str(sum(done))


def test_many_idle_sessions_are_cheap(server):
    before = server.rss_kb()
    sessions = [server.connect() for _ in range(800)]
    per_session_kb = (server.rss_kb() - before) / len(sessions)
    try:
        assert per_session_kb < 64, f"{per_session_kb:.1f} kB for an idle session"
        assert sessions[400].ok("SELECT 1") == [("1",)]
    finally:
        for s in sessions:
            s.close()


def test_temporary_tables_belong_to_their_session(server, scratch, db):
    db.ok("CREATE TEMP TABLE tt(a); INSERT INTO tt VALUES (1)")
    with server.connect(database=scratch) as other:
        assert other.fails("SELECT * FROM tt")["C"] == "42P01"
        other.ok("CREATE TEMP TABLE tt(b)")
    assert db.ok("SELECT a FROM tt") == [("1",)]


def test_sessions_open_and_close_under_load(server, scratch, db):
    db.ok("CREATE TABLE t(a)")

    def churn(seed):
        for n in range(40):
            with server.connect(database=scratch) as c:
                if (n + seed) % 3 == 0:
                    c.send(query("SELECT 1"))  # and away without reading
                elif (n + seed) % 3 == 1:
                    c.ok("BEGIN; INSERT INTO t VALUES (1)")
                else:
                    assert rows(c.query("SELECT 2")) == [("2",)]

    run_all([(churn, k) for k in range(12)])
    assert db.ok("SELECT count(*) FROM t") == [("0",)]


@pytest.mark.parametrize("isolation", ["BEGIN", "BEGIN IMMEDIATE"])
def test_read_then_write_transactions_retry_to_the_right_sum(server, scratch, db, isolation):
    """Applications that read before they write: 40001 where the snapshot was stale, and a retry that works."""
    db.ok("CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES (0)")

    def work():
        with server.connect(database=scratch) as c:
            for _ in range(25):
                while True:
                    c.ok(isolation)
                    n = int(c.value("SELECT n FROM counter"))
                    got = c.query(f"UPDATE counter SET n = {n + 1}")
                    if errors(got):
                        assert errors(got) == ["40001"]
                        c.query("ROLLBACK")
                        continue
                    if not errors(c.query("COMMIT")):
                        break

    run_all([work] * 4)
    assert db.value("SELECT n FROM counter") == "100"
