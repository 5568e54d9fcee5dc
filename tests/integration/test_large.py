"""The two sizes that a server must not be impressed by: a result of 10 GB for a client that reads slowly, and a value of
1 GB, which is as long as SQLite's values can be (SQLITE_MAX_LENGTH is 10^9, and holds for a whole row)."""

import socket
import struct

import pytest

import wire
from wire import bind, errors, execute, parse, sync

RESULT_BYTES = 10 << 30
VALUE_BYTES = 999_000_000
pytestmark = pytest.mark.slow


def test_a_result_of_10_gb_for_a_slow_reader_takes_no_memory(server):
    """Rows of 1 MB; the reader takes little at a time, so that the server is ahead of it all the time."""
    with server.connect() as db:
        db.ok("SELECT 1")
        before_kb = server.rss_kb()
        rows = RESULT_BYTES >> 20
        db.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        db.send(wire.query(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
            "SELECT i, CAST(zeroblob(1048576) AS TEXT) FROM n"))
        taken, most_kb = 0, 0
        chunk = bytearray(1 << 20)
        db.sock.settimeout(60)
        while taken < RESULT_BYTES:
            got = db.sock.recv_into(chunk)
            assert got > 0
            if taken >> 28 != (taken + got) >> 28:  # every 256 MB
                most_kb = max(most_kb, server.rss_kb())
            taken += got
        most_kb = max(most_kb, server.rss_kb())
        assert most_kb - before_kb < 16 << 10


def test_a_value_of_1_gb_goes_in_and_out(start):
    server = start("--memory-limit", "12GB")
    with server.connect() as db:
        db.ok("CREATE TABLE t(b BLOB)")
        head = parse("INSERT INTO t VALUES ($1)", oids=[wire.BYTEA])
        # A Bind whose parameter is sent in pieces: the test need not hold it twice.
        body = b"\0\0" + struct.pack(">HHHI", 1, 1, 1, VALUE_BYTES)
        db.send(head, b"B" + struct.pack(">I", 4 + len(body) + VALUE_BYTES + 2) + body)
        piece = bytes(range(250)) * 4000
        for _ in range(VALUE_BYTES // len(piece)):
            db.send(piece)
        db.send(b"\0\0", execute(), sync())
        assert not errors(db.until_ready(timeout=120))
        got = db.ask(parse("SELECT length(b), substr(b, 250000001, 3), substr(b, -1) FROM t"),
                     bind(result_formats=[0, 1, 1]), execute(), timeout=120)
        assert [m.row() for m in got if m.kind == "D"] == [[str(VALUE_BYTES).encode(), b"\0\1\2", b"\xf9"]]
        db.send(parse("SELECT b FROM t"), bind(result_formats=[1]), execute(), sync())
        assert [db.recv(timeout=120).kind for _ in "12"] == ["1", "2"]
        # DataRow: type, length, 1 column, its length, its bytes. Into one buffer, or Python would copy for minutes.
        row = bytearray(1 + 4 + 2 + 4 + VALUE_BYTES)
        taken = len(db.buffer) - db.at
        row[:taken] = db.buffer[db.at :]
        db.buffer, db.at = b"", 0
        while taken < len(row):
            got = db.sock.recv_into(memoryview(row)[taken:])
            assert got > 0
            taken += got
        assert row[:11] == b"D" + struct.pack(">IHI", 4 + 2 + 4 + VALUE_BYTES, 1, VALUE_BYTES)
        assert row[11 :: 1 << 20] == bytes((at % 250) for at in range(0, VALUE_BYTES, 1 << 20))
        assert [m.kind for m in db.until_ready(timeout=120)] == ["C", "Z"]
