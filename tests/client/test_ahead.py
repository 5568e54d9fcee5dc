"""Long results, whose next rows the drop-in asks for before the application does (client/ahead.h): it must see what it would
see with a file. Python is the application; each script is run with SQLite's library and with the drop-in."""

import struct
import subprocess
import textwrap

import pytest

import native
from dropin import environment
from record_clients import Recorder
from server import Sqld

PYTHON = "/usr/bin/python3"
STEP_ANEW, STEP_ON = 1, 2  # bits of its flags
HEAD = """
    import sqlite3, sys, threading
    db = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
    def count(to=None, what="i"):
        end = "" if to is None else f" WHERE i < {to}"
        return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{end}) SELECT {what} FROM n"
    def read(rows):
        seen = []
        try:
            for row in rows:
                seen.append(row)
        except sqlite3.Error as error:
            print(type(error).__name__, error)
        print(len(seen), hash(tuple(seen)))
"""
SCRIPTS = {
    "all rows": """
        read(db.execute(count(200000)))
        read(db.execute(count(50000, "i, printf('%0*d', i % 300, i), NULL, i * 0.5")))
    """,
    "an error comes at its row": """
        for at in 300, 320, 321, 1344, 1345, 5440, 5441, 30000:
            read(db.execute(count(100000, f"iif(i = {at}, abs(-9223372036854775808), i)")))
            print(db.execute("SELECT 1").fetchall())
    """,
    "statements between": """
        db.execute("CREATE TABLE t(a)")
        for every in 1, 500, 1000, 6000:
            db.execute("BEGIN")
            for i, in db.execute(count(20000)):
                if i % every == 0:
                    db.execute("INSERT INTO t VALUES (?)", (i,))
                    assert db.execute("SELECT count(*) FROM t").fetchone()[0] > 0
            db.execute("COMMIT")
            print(i, db.total_changes, db.execute("SELECT count(*), sum(a) FROM t").fetchall(), db.in_transaction)
    """,
    "two at a time": """
        read(zip(db.execute(count(30000)), db.execute(count(20000, "-i"))))
        first = db.execute(count(30000))
        read(first.fetchmany(2000))
        read(db.execute(count(10000, "-i")))
        read(first)
    """,
    "a schema that is rolled back": """
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t " + count(50000))
        for at in 100, 400, 2000, 10000:
            db.execute("BEGIN")
            db.execute("CREATE TABLE u(b)")
            rows = db.execute("SELECT a FROM t")
            for i in range(at):
                next(rows)
            db.execute("ROLLBACK")
            read(rows)
    """,
    "given up, and something else": """
        for at in 1, 64, 400, 1000, 2000, 6000:
            rows = db.execute(count(what="i"))
            for i in range(at):
                last = next(rows)
            rows.close()
            print(last, db.execute("SELECT 1").fetchall())
    """,
    # After 20000 there is nothing more, but that is never found out.
    "given up before an endless search": """
        for at in 1000, 4000:
            rows = db.execute(f"SELECT * FROM ({count()}) WHERE i < 20000")
            for i in range(at):
                last = next(rows)
            rows.close()
            print(last, db.execute("SELECT 1").fetchall())
        db.execute("BEGIN")
        db.execute("CREATE TABLE kept(a)")
        rows = db.execute(f"SELECT * FROM ({count()}) WHERE i < 20000")
        for i in range(1000):
            last = next(rows)
        rows.close()
        print(db.in_transaction)
        db.execute("COMMIT")
        print(db.execute("SELECT * FROM kept").fetchall())
    """,
    "interrupted in an endless search": """
        rows = db.execute(f"SELECT * FROM ({count()}) WHERE i < 20000")
        print(next(rows))
        threading.Timer(1, db.interrupt).start()
        try:
            for row in rows:
                pass
        except sqlite3.OperationalError as error:
            print(error)
        print(db.execute("SELECT 1").fetchall())
    """,
    "interrupted in the middle": """
        rows = db.execute(count())
        for i in range(3000):
            last = next(rows)
        db.interrupt()
        read(rows)
        print(db.execute("SELECT 1").fetchall())
    """,
}


def run(script, kind, database):
    code = textwrap.dedent(HEAD) + textwrap.dedent(script) + "\ndb.close()\n"
    done = subprocess.run(
        [PYTHON, "-c", code, str(database)],
        env=environment(kind, PYTHONHASHSEED="0"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_application_sees_the_same(name, server, scratch, tmp_path):
    local = run(SCRIPTS[name], "system", tmp_path / "local.db")
    remote = run(SCRIPTS[name], "drop-in", f"postgresql://app@127.0.0.1:{server.port}/{scratch}?sslmode=disable")
    assert len(local) >= 1 and remote == local


def steps(stream):
    """The flags of all STEPs of a connection."""
    (at,) = struct.unpack_from("!I", stream)
    found = []
    while at < len(stream):
        if stream[at : at + 1] == b"y" and stream[at + 5] == native.STEP:
            found.append(stream[at + 10])
        at += 1 + struct.unpack_from("!I", stream, at + 1)[0]
    return found


def recorded(script, server, scratch):
    recorder = Recorder(server.port)
    run(script, "drop-in", f"postgresql://app@127.0.0.1:{recorder.port}/{scratch}?sslmode=disable")
    (stream,) = recorder.take()
    return steps(stream)


def test_rows_are_asked_for_ahead_when_the_application_reads_on(server, scratch):
    flags = recorded("read(db.execute(count(100000)))", server, scratch)
    assert flags.count(STEP_ANEW) == 1 and flags.count(STEP_ON) > 3


def test_nothing_is_asked_for_ahead_when_it_does_something_else_between(server, scratch):
    script = """
        for i, in db.execute(count(100000)):
            if i % 50 == 0:
                assert db.execute("SELECT 1").fetchall() == [(1,)]
    """
    flags = recorded(script, server, scratch)
    assert STEP_ON not in flags and flags.count(0) > 3


def test_rows_that_take_long_do_not_wait_for_a_batch_to_be_full(server, scratch):
    # A row behind which there is an endless search; SQLite, too, gives it before that.
    slow = f"""
        rows = db.execute(f"SELECT i FROM ({{count()}}) WHERE i % 300000 = 0")
        print([next(rows), next(rows)])
        rows.close()
    """
    flags = recorded(slow, server, scratch)
    assert 0 in flags


LOST = """
    def attempt(what):
        try:
            print(what())
        except sqlite3.Error as error:
            print(error)
    db.execute(sys.argv[2])
    rows = db.execute(count(what="CAST(i AS TEXT)"))
    for i in range(1000):
        last = next(rows)
    print(last[0], flush=True)
    input()
    attempt(lambda: next(rows)[0])
    if "between" in sys.argv[3]:
        attempt(lambda: db.execute("SELECT 'between'").fetchall())
    if "close" in sys.argv[3]:
        attempt(rows.close)
    else:
        attempt(lambda: max(len(row) for row in rows))
    attempt(lambda: db.execute("SELECT 'after'").fetchall())
    print(db.in_transaction)
"""
IN_TRANSACTION = "the open transaction was rolled back"


@pytest.mark.parametrize(
    ("begin", "then", "told"),
    [
        ("SELECT 0", "read on", ["lost", "[('after',)]", "False"]),
        ("SELECT 0", "between, read on", ["[('between',)]", "lost", "[('after',)]", "False"]),
        ("SELECT 0", "close", ["None", "[('after',)]", "False"]),
        ("BEGIN", "read on", [IN_TRANSACTION, "[('after',)]", "False"]),
        ("BEGIN", "between, close", [IN_TRANSACTION, "None", "[('after',)]", "False"]),
    ],
)
def test_a_server_that_is_lost_meanwhile_is_told_once_and_where_it_matters(begin, then, told, tmp_path):
    server = Sqld(tmp_path / "data").start()
    try:
        app = subprocess.Popen(
            [PYTHON, "-c", textwrap.dedent(HEAD) + textwrap.dedent(LOST), server_url(server), begin, then],
            env=environment("drop-in"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert app.stdout.readline() == "1000\n"
        server.kill9()
        server.restart()
        out, err = app.communicate("\n", timeout=60)
        lines = out.splitlines()
        assert err == "" and lines[0] == "1001" and len(lines) == 1 + len(told), (lines, err)
        assert all(part in line for part, line in zip(told, lines[1:], strict=True)), lines
    finally:
        server.close()


def server_url(server):
    return f"postgresql://app@127.0.0.1:{server.port}/main?sslmode=disable"
