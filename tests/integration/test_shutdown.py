"""SIGTERM: new clients are refused, idle ones told, running statements finish, nothing acknowledged is lost."""

import signal
import socket
import sqlite3
import threading

import wire
from server import poll
from wire import errors, kinds, query, rows

COUNT = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) SELECT count(*) FROM s"
ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


def running(server, c, sql):
    before = server.cpu_ticks()
    c.send(query(sql))
    server.wait_busy(before)


def test_idle_clients_are_told_57p01(start):
    server = start("--shutdown-timeout", "300ms")
    clients = [server.connect() for _ in range(10)]
    in_transaction = server.connect()
    in_transaction.ok("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (1)")
    server.process.send_signal(signal.SIGTERM)
    for c in [*clients, in_transaction]:
        got = c.drain()
        assert kinds(got) == "E" and got[0].sqlstate() == "57P01" and got[0].fields()["S"] == "FATAL"
    server.wait_exit(0)
    with sqlite3.connect(server.data_dir / "main.db") as direct:
        assert direct.execute("SELECT count(*) FROM t").fetchall() == [(0,)]


def test_running_statement_finishes(start):
    server = start("--shutdown-timeout", "1h")
    with server.connect() as c:
        running(server, c, COUNT.format(6000000))
        server.process.send_signal(signal.SIGTERM)
        got = c.drain()
        assert rows(got) == [("6000000",)]
        assert not [e for e in errors(got) if e != "57P01"]
    server.wait_exit(0)


def test_endless_statement_is_cancelled_after_the_timeout(start):
    server = start("--shutdown-timeout", "300ms")
    with server.connect() as c:
        running(server, c, ENDLESS)
        server.process.send_signal(signal.SIGTERM)
        got = c.drain()
        assert errors(got) and errors(got)[0] in ("57014", "57P01")
    server.wait_exit(0)


def test_second_sigterm_ends_the_wait(start):
    server = start("--shutdown-timeout", "1h")
    with server.connect() as c:
        running(server, c, ENDLESS)
        server.process.send_signal(signal.SIGTERM)
        server.wait_log("(?i)shut|stop|drain")
        server.process.send_signal(signal.SIGTERM)
        c.drain()
    server.wait_exit(0)


def test_sigint_stops_too(start):
    server = start()
    server.process.send_signal(signal.SIGINT)
    server.wait_exit(0)


def test_listening_socket_is_closed_at_once(start):
    server = start()
    with server.connect() as c:
        running(server, c, ENDLESS)
        server.process.send_signal(signal.SIGTERM)

        def refused():
            try:
                with wire.Wire(server.port, startup=False) as late:
                    late.send(wire.startup_packet({"user": "late"}))
                    return [m.sqlstate() for m in late.drain()][:1] == ["57P03"]
            except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError, socket.timeout):
                return True

        poll(refused, "late clients are refused")
        server.process.send_signal(signal.SIGTERM)
        c.drain()
    server.wait_exit(0)


def test_stop_under_write_load_loses_nothing(start):
    server = start()
    with server.connect() as c:
        c.ok("CREATE TABLE t(who INTEGER, n INTEGER)")
    acknowledged = {}

    def writer(who):
        with server.connect() as w:
            n = 0
            try:
                while True:
                    got = w.query(f"INSERT INTO t VALUES ({who}, {n})")
                    if errors(got):
                        return
                    n += 1
                    acknowledged[who] = n
            except (wire.Closed, OSError):
                return

    threads = [threading.Thread(target=writer, args=(who,)) for who in range(8)]
    for t in threads:
        t.start()
    poll(lambda: sum(acknowledged.values()) > 500, "rows are written")
    server.stop()
    for t in threads:
        t.join(20)
    with sqlite3.connect(server.data_dir / "main.db") as direct:
        kept = dict(direct.execute("SELECT who, count(*) FROM t GROUP BY who"))
        assert direct.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for who, count in acknowledged.items():
        assert kept[who] in (count, count + 1)


def test_start_stop_start_quickly(start):
    server = start()
    for n in range(5):
        with server.connect() as c:
            c.ok("CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (1)")
            assert c.ok("SELECT count(*) FROM t") == [(str(n + 1),)]
        server.stop()
        server.restart()


def test_no_wal_is_left_behind(start):
    server = start()
    with server.connect() as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
    server.stop()
    assert sorted(p.name for p in server.data_dir.glob("main.db*")) == ["main.db"]


def test_sigpipe_does_not_end_it(start):
    server = start()
    server.process.send_signal(signal.SIGPIPE)
    with server.connect() as c:
        assert c.ok("SELECT 1") == [("1",)]


def test_client_that_does_not_read_cannot_hold_the_server_up(start):
    server = start("--shutdown-timeout", "300ms")
    deaf = [server.connect(rcvbuf=4096) for _ in range(4)]
    for c in deaf:
        c.send(query("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s"))
        c.recv()
    server.stop()
    for c in deaf:
        c.close()
