"""How often the drop-in asks the server: what it sends is recorded on the way. Python is the application."""

import struct
import subprocess
import textwrap

import pytest

import native
from dropin import environment
from record_clients import Recorder

PYTHON = "/usr/bin/python3"
ONE_WAY = {0x05, 0x08}  # FINALIZE, RESET_ASYNC
ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"


def requests(stream):
    """The operations of a connection's requests; b"r" for the answer to a call."""
    (startup_bytes,) = struct.unpack_from("!I", stream)
    at, found = startup_bytes, []
    while at < len(stream):
        kind, length = stream[at : at + 1], struct.unpack_from("!I", stream, at + 1)[0]
        if kind in b"yr":
            found.append(stream[at + 5] if kind == b"y" else kind)
        at += 1 + length
    return found


@pytest.fixture
def asked(server, scratch):
    """asked(code): what the application `code`, which has `db`, asks of the server from its word `mark()` on."""

    def run(code):
        recorder = Recorder(server.port)
        head = f"""
            import sqlite3, threading
            url = "postgresql://app@127.0.0.1:{recorder.port}/{scratch}?sslmode=disable"
            db = sqlite3.connect(url, isolation_level=None)
            def mark():
                db.execute("SELECT 'the mark'").fetchall()
        """
        code = textwrap.dedent(head) + textwrap.dedent(code) + "\ndb.close()\n"
        done = subprocess.run(
            [PYTHON, "-c", code], env=environment("drop-in"), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        (stream,) = recorder.take()
        before, found, after = stream.partition(b"SELECT 'the mark'")
        assert found
        marked = len(requests(before[: before.rindex(b"y")]))
        # The mark's own: PREPARE, which was cut off, and STEP.
        assert requests(stream)[marked : marked + 2] == [native.PREPARE, native.STEP]
        return [op for op in requests(stream)[marked + 2 :] if op not in ONE_WAY]

    return run


@pytest.mark.parametrize("threads", [1, 2])
def test_a_statement_with_one_row_is_one_round_trip_after_its_first_use(asked, threads):
    code = """
        db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db.execute("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
        db.execute("SELECT b FROM t WHERE a = ?", (1,)).fetchall()
        db.execute("INSERT INTO t(b) VALUES (?)", (1,))
        stop = threading.Event()
        if THREADS > 1:
            threading.Thread(target=stop.wait).start()
        mark()
        for i in range(10):
            assert db.execute("SELECT b FROM t WHERE a = ?", (2,)).fetchall() == [("y",)]
            db.execute("INSERT INTO t(b) VALUES (?)", (1,))
        stop.set()
    """
    assert asked(code.replace("THREADS", str(threads))) == [native.STEP] * 20


def test_a_result_of_many_rows_comes_in_few_batches(asked):
    code = f"""
        mark()
        assert [i for i, in db.execute("{ROWS.format(100000)}")] == list(range(1, 100001))
    """
    ops = asked(code)
    assert ops[0] == native.PREPARE and set(ops[1:]) == {native.STEP} and len(ops) < 20


def test_functions_and_collations_slow_only_what_uses_them(asked):
    code = f"""
        db.create_function("twice", 1, lambda x: 2 * x)
        db.create_aggregate("longest", 1, type("L", (), dict(step=lambda *_: None, finalize=lambda *_: 0)))
        db.create_collation("backwards", lambda a, b: (a < b) - (a > b))
        mark()
        assert db.execute("SELECT i, abs(i) FROM ({ROWS.format(10000)}) ORDER BY i").fetchall()[-1] == (10000, 10000)
    """
    ops = asked(code)
    assert ops[0] == native.PREPARE and set(ops[1:]) == {native.STEP} and len(ops) < 10


def test_a_function_is_called_when_its_row_is_wanted(asked):
    code = f"""
        calls = []
        db.create_function("told", 1, lambda x: calls.append(x) or x)
        mark()
        for n, (i,) in enumerate(db.execute("SELECT told(i) FROM ({ROWS.format(50)})"), 1):
            # The module asks for the row behind the one that it gives.
            assert i == n and calls == list(range(1, min(n + 1, 50) + 1)), (n, calls)
    """
    ops = asked(code)
    assert ops.count(b"r") == 50 and ops.count(native.STEP) == 51


def test_rows_of_a_statement_that_writes_come_at_once_whatever_it_calls(asked):
    code = f"""
        db.create_function("twice", 1, lambda x: 2 * x)
        db.execute("CREATE TABLE t(a)")
        mark()
        rows = db.execute("INSERT INTO t {ROWS.format(50)} RETURNING twice(a)").fetchall()
        assert rows == [(2 * i,) for i in range(1, 51)]
    """
    ops = asked(code)
    assert ops == [native.PREPARE] + [native.STEP] + [b"r"] * 50
