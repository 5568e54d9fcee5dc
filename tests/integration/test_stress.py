"""Everything at once for some seconds: writers, readers, cancels, lost connections, schema changes, notifications, whole
databases that come and go. Afterwards the data are right and nothing is left over."""

import os
import random
import socket
import struct
import threading
import time

import pytest

import wire
from server import poll
from wire import bind, copy_data, copy_done, errors, execute, extended, parse, query, sync

SECONDS = float(os.environ.get("SQLD_STRESS_SECONDS", "8"))
ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT {} FROM s"
# What may be said to a client here: cancelled, ended, waited too long, snapshot too old, table or database gone just now.
EXPECTED = {
    "57014",
    "57P01",
    "55P03",
    "40001",
    "42P01",
    "3D000",
    "55006",
    "42P04",
    "42P07",
    "23505",
    "0A000",
    "34000",
    "26000",
}


class Worker(threading.Thread):
    def __init__(self, server, seed, plan, end):
        super().__init__(daemon=True)
        self.server, self.random, self.plan, self.end = server, random.Random(seed), plan, end
        self.trouble = None
        self.acknowledged = 0

    def run(self):
        while time.monotonic() < self.end and self.trouble is None:
            try:
                with self.server.connect(database="stress") as c:
                    for _ in range(self.random.randint(1, 20)):
                        if time.monotonic() >= self.end:
                            break
                        self.plan(self, c)
            except (wire.Closed, ConnectionError):
                pass  # somebody terminated this session
            except wire.ServerError as e:
                if e.sqlstate not in EXPECTED:
                    self.trouble = e
            except Exception as e:  # noqa: BLE001 - handed to the test
                self.trouble = e

    def check(self, messages):
        wrong = [e for e in errors(messages) if e not in EXPECTED]
        assert not wrong, messages
        return not errors(messages)


def transfer(w, c):
    """Moves money in a transaction; now and then leaves it open and disappears."""
    a, b = w.random.sample(range(1, 51), 2)
    if not w.check(c.query("BEGIN IMMEDIATE")):
        return
    w.check(c.query(f"UPDATE account SET v = v - 1 WHERE id = {a}"))
    if w.random.random() < 0.1:
        raise wire.Closed()
    w.check(c.ask(extended("UPDATE account SET v = v + 1 WHERE id = $1", [str(b)], oids=[wire.INT8])))
    w.check(c.query(w.random.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])))


def transfer_in_a_pipeline(w, c):
    a, b = w.random.sample(range(1, 51), 2)
    c.send(
        parse("UPDATE account SET v = v + $1 WHERE id = $2", name="u", oids=[wire.INT8] * 2),
        bind(["-2", str(a)], stmt="u"),
        execute(),
        bind(["2", str(b)], stmt="u"),
        execute(),
        wire.close_statement("u"),
        sync(),
    )
    if w.random.random() < 0.05:
        raise wire.Closed()  # the answer is not waited for; all or nothing all the same
    w.check(c.until_ready())


def append(w, c):
    if w.check(c.query("INSERT INTO entry(s) VALUES (hex(randomblob(100)))")):
        w.acknowledged += 1


def copy_in(w, c):
    count = w.random.randint(1, 200)
    c.send(query("COPY entry(s) FROM STDIN"))
    if c.recv().kind != "G":
        c.until_ready()
        return
    c.send(copy_data("copied\n" * count), copy_done())
    if w.check(c.until_ready()):
        w.acknowledged += count


def audit(w, c):
    got = c.query("SELECT sum(v), count(*) FROM account")
    if w.check(got):
        assert wire.rows(got) == [("5000", "50")], wire.rows(got)


def read_much(w, c):
    c.send(query("SELECT s FROM entry ORDER BY s LIMIT 2000"))
    if w.random.random() < 0.3:
        c.recv()
        raise wire.Closed()
    w.check(c.until_ready())


def endless(w, c):
    """Cancelled, terminated or abandoned by a reset."""
    c.send(query(ENDLESS.format(w.random.choice(["count(*)", "n"]))))
    how = w.random.random()
    if how < 0.3:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise wire.Closed()
    done = []
    reader = threading.Thread(target=lambda: done.extend(drain(c)), daemon=True)
    reader.start()
    deadline = time.monotonic() + 30
    while reader.is_alive():
        assert time.monotonic() < deadline, "the statement cannot be stopped"
        if how < 0.8:
            c.cancel()
        else:
            with w.server.connect() as killer:
                w.check(killer.query(f"SELECT pg_terminate_backend({c.pid})"))
        reader.join(0.02)
    w.check(done)
    if not done or done[-1].kind != "Z":
        raise wire.Closed()


def drain(c):
    """Messages up to ReadyForQuery or the end; rows are dropped."""
    kept = []
    try:
        while True:
            m = c.recv()
            if m.kind != "D":
                kept.append(m)
            if m.kind == "Z":
                return kept
    except (wire.Closed, ConnectionError):
        return kept


def schema(w, c):
    n = w.random.randint(1, 3)
    w.check(
        c.query(
            w.random.choice(
                [
                    f"CREATE TABLE extra{n}(a, b)",
                    f"DROP TABLE extra{n}",
                    f"CREATE INDEX IF NOT EXISTS i{n} ON entry(s)",
                    f"DROP INDEX IF EXISTS i{n}",
                    f"INSERT INTO extra{n} VALUES (1, 2)",
                    f"SELECT * FROM extra{n}",
                ]
            )
        )
    )


def notify(w, c):
    w.check(c.query(w.random.choice(["LISTEN a", "UNLISTEN *", "NOTIFY a, 'x'", "BEGIN; NOTIFY a, 'y'; COMMIT"])))


def databases(w, c):
    n = w.random.randint(1, 4)
    got = c.query(
        w.random.choice([f"CREATE DATABASE come{n}", f"DROP DATABASE come{n}", f"DROP DATABASE come{n} WITH (FORCE)"])
    )
    w.check(got)
    try:
        with w.server.connect(database=f"come{n}") as other:
            w.check(other.query("CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (1)"))
    except wire.ServerError as e:
        assert e.sqlstate in EXPECTED, e


PLANS = [
    transfer,
    transfer,
    transfer_in_a_pipeline,
    transfer_in_a_pipeline,
    append,
    append,
    copy_in,
    audit,
    audit,
    read_much,
    endless,
    schema,
    notify,
    databases,
]


@pytest.mark.slow
@pytest.mark.race
@pytest.mark.timeout(180 + int(SECONDS))
def test_everything_at_once(start):
    seed = int(os.environ.get("SQLD_STRESS_SEED", random.randrange(1 << 30)))
    print(f"SQLD_STRESS_SEED={seed}")
    server = start("--lock-timeout", "20s", "--idle-connections", "4")
    with server.connect() as c:
        c.ok("CREATE DATABASE stress")
    with server.connect(database="stress") as c:
        c.ok(
            "CREATE TABLE account(id INTEGER PRIMARY KEY, v INTEGER); CREATE TABLE entry(s TEXT);"
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 50) INSERT INTO account SELECT n, 100 FROM s"
        )
        c.bye()
    before = server.fd_count()
    end = time.monotonic() + SECONDS
    workers = [Worker(server, seed + n, plan, end) for n, plan in enumerate(PLANS)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(SECONDS + 100)
        assert not w.is_alive(), f"{w.plan.__name__} hangs:\n{server.log()[-3000:]}"
    for w in workers:
        assert w.trouble is None, f"{w.plan.__name__}: {w.trouble!r}"
    with server.connect(database="stress") as c:
        assert c.ok("SELECT sum(v), count(*) FROM account") == [("5000", "50")]
        # an acknowledged row is there; one whose answer was not waited for may be
        assert int(c.value("SELECT count(*) FROM entry")) >= sum(w.acknowledged for w in workers) > 0
        assert c.value("PRAGMA integrity_check") == "ok"
        c.bye()
    # SQLite keeps a closed connection's file descriptor for the next one while others have locks on the file.
    poll(lambda: server.fd_count() <= before + 16 + 2 * len(PLANS), "files and sockets are closed", timeout=30)
