"""kill -9 under write load: whatever was acknowledged is there after a restart, nothing is half applied."""

import random
import sqlite3
import threading

import pytest

import wire
from server import poll
from wire import errors, extended, tags

WRITERS = 8


class Writer(threading.Thread):
    """Writes pairs: transaction n puts a row into each of two tables; it remembers what was acknowledged."""

    def __init__(self, server, who, how):
        super().__init__(daemon=True)
        self.server, self.who, self.how = server, who, how
        self.acknowledged = self.begun = -1
        self.trouble = None

    def run(self):
        try:
            with self.server.connect() as c:
                while True:
                    self.begun += 1
                    if self.write(c, self.begun):
                        self.acknowledged = self.begun
        except (wire.Closed, OSError, wire.ServerError):
            pass
        except Exception as e:  # noqa: BLE001 - anything else is this test's failure
            self.trouble = e

    def write(self, c, n):
        a, b = f"INSERT INTO a VALUES ({self.who}, {n})", f"INSERT INTO b VALUES ({self.who}, {n})"
        if self.how == "transaction":
            c.ok("BEGIN IMMEDIATE")
            c.ok(a)
            c.ok(b)
            got = c.query("COMMIT")
            return not errors(got) and tags(got) == ["COMMIT"]
        if self.how == "one query":
            got = c.query(f"BEGIN IMMEDIATE; {a}; {b}; COMMIT")
            return not errors(got)
        got = c.ask(extended(a), extended(b))  # an implicit transaction
        return not errors(got)


class Reader(threading.Thread):
    """Asks for everybody's last transaction; remembers what it was told."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.shown, self.count, self.trouble = server, {}, 0, None

    def run(self):
        try:
            with self.server.connect() as c:
                while True:
                    for who, n in c.ok("SELECT who, max(n) FROM b GROUP BY who"):
                        self.shown[int(who)] = int(n)
                    self.count += 1
        except (wire.Closed, OSError, wire.ServerError):
            pass
        except Exception as e:  # noqa: BLE001 - anything else is this test's failure
            self.trouble = e


@pytest.mark.parametrize("how", ["transaction", "one query", "pipeline"])
def test_kill9_under_write_load(start, how):
    server = start()
    with server.connect() as c:
        c.ok(
            "CREATE TABLE a(who INTEGER, n INTEGER, PRIMARY KEY (who, n)) WITHOUT ROWID;"
            "CREATE TABLE b(who INTEGER, n INTEGER, PRIMARY KEY (who, n)) WITHOUT ROWID"
        )
    for turn in range(3):
        writers = [Writer(server, turn * WRITERS + k, how) for k in range(WRITERS)]
        for w in writers:
            w.start()
        goal = random.randint(100, 500)
        poll(
            lambda: sum(w.acknowledged + 1 for w in writers) >= goal or any(w.trouble for w in writers),
            "rows are acknowledged",
            timeout=60,
        )
        server.kill9()
        for w in writers:
            w.join(30)
            assert w.trouble is None, w.trouble
        server.restart()
        with server.connect() as c:
            assert c.value("PRAGMA integrity_check") == "ok"
            assert (
                c.ok("SELECT * FROM a EXCEPT SELECT * FROM b") == [] == c.ok("SELECT * FROM b EXCEPT SELECT * FROM a")
            )
            for w in writers:
                ((count, last),) = c.ok(f"SELECT count(*), coalesce(max(n), -1) FROM a WHERE who = {w.who}")
                assert w.acknowledged <= int(last) <= w.begun, "an acknowledged transaction is missing"
                assert int(count) == int(last) + 1, "there is a hole"
    server.stop()
    with sqlite3.connect(server.data_dir / "main.db") as direct:
        assert direct.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_kill9_under_group_commit(start):
    """Many clients whose commits share syncs, several kills; what readers were shown is there too."""
    server, clients, rounds = start("--max-connections", "200"), 64, 4
    with server.connect() as c:
        c.ok(
            "CREATE TABLE a(who INTEGER, n INTEGER, PRIMARY KEY (who, n)) WITHOUT ROWID;"
            "CREATE TABLE b(who INTEGER, n INTEGER, PRIMARY KEY (who, n)) WITHOUT ROWID"
        )
    acknowledged = shown = 0
    for turn in range(rounds):
        hows = ["transaction", "one query", "pipeline"]
        writers = [Writer(server, turn * clients + k, hows[k % 3]) for k in range(clients)]
        readers = [Reader(server) for _ in range(4)]
        for thread in writers + readers:
            thread.start()
        goal = random.randint(200, 1500)
        poll(
            lambda: sum(w.acknowledged + 1 for w in writers) >= goal or any(t.trouble for t in writers + readers),
            "rows are acknowledged",
            timeout=120,
        )
        server.kill9()
        for thread in writers + readers:
            thread.join(30)
            assert thread.trouble is None, thread.trouble
        server.restart()
        with server.connect() as c:
            assert c.value("PRAGMA integrity_check") == "ok"
            for table in "ab":
                found = {
                    int(who): (int(count), int(last))
                    for who, count, last in c.ok(
                        f"SELECT who, count(*), max(n) FROM {table} GROUP BY who"
                    )
                }
                for w in writers:
                    count, last = found.get(w.who, (0, -1))
                    assert w.acknowledged <= last <= w.begun, "an acknowledged transaction is missing"
                    assert count == last + 1, "there is a hole"
                for r in readers:
                    for who, n in r.shown.items():
                        assert n <= found.get(who, (0, -1))[1], "what a reader was shown is missing"
        acknowledged += sum(w.acknowledged + 1 for w in writers)
        shown += sum(r.count for r in readers)
    print(f"{rounds} kills, {clients} clients: {acknowledged} commits acknowledged, {shown} answers of readers, losses: 0")


def test_kill9_while_ddl_and_copy_run(start):
    server = start()
    with server.connect() as c:
        c.ok("CREATE TABLE big(a INTEGER, s TEXT)")
        c.send(wire.query("COPY big FROM STDIN"))
        assert c.recv().kind == "G"
        c.send(wire.copy_data("1\tx\n" * 50000))
        with server.connect() as d:
            d.ok("SELECT 1")
        server.kill9()
    server.restart()
    with server.connect() as c:
        assert c.ok("SELECT count(*) FROM big") == [("0",)]
        assert c.value("PRAGMA integrity_check") == "ok"


def test_kill9_right_after_create_database(start):
    server = start()
    with server.connect() as c:
        for n in range(10):
            c.ok(f"CREATE DATABASE d{n}")
        c.ok("DROP DATABASE d0")
    server.kill9()
    server.restart()
    for n in range(1, 10):
        with server.connect(database=f"d{n}") as c:
            assert c.ok("SELECT 1") == [("1",)]
    with pytest.raises(wire.ServerError):
        server.connect(database="d0")
