"""A server whose disk becomes full: a clear error, nothing lost, and it goes on when there is room again."""

import os
import sqlite3
import subprocess

import pytest

from native_calls import Calling
from server import poll
from wire import errors

BYTES = 6 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no file system of its own: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(client, limit=2000):
    """Inserts until there is an error: how many rows were acknowledged, and the SQLSTATE."""
    for n in range(limit):
        found = errors(client.query("INSERT INTO t(s) VALUES (randomblob(20000))"))
        if found:
            return n, found
    raise AssertionError("the disk does not become full")


def test_full_disk_is_said_and_nothing_is_lost(start, small_disk):
    server = start(data_dir=small_disk / "data")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with server.connect() as c:
        c.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, s BLOB)")
        count, found = fill(c)
        assert found == ["53100"] and count > 0
        # The session lives, reads are answered, and the row that failed is not there.
        assert c.ok("SELECT count(*) FROM t") == [(str(count),)]
        os.unlink(ballast)

        def writes():
            found = errors(c.query("INSERT INTO t(s) VALUES ('room again')"))
            assert found in ([], ["53100"])
            return not found

        poll(writes, "there is room again", timeout=30)
        assert c.ok("SELECT count(*) FROM t") == [(str(count + 1),)]
    server.kill9()
    server.restart()
    with server.connect() as c:
        assert c.ok("SELECT count(*) FROM t") == [(str(count + 1),)]
        assert c.value("PRAGMA integrity_check") == "ok"


def test_a_large_transaction_that_does_not_fit_leaves_nothing(start, small_disk):
    server = start(data_dir=small_disk / "data")
    with server.connect() as c:
        c.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, s BLOB); INSERT INTO t(s) VALUES ('before')")
        got = c.query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)"
            " INSERT INTO t(s) SELECT randomblob(20000) FROM n"
        )
        assert errors(got) == ["53100"]
        assert c.ok("SELECT count(*) FROM t") == [("1",)]
        c.ok("INSERT INTO t(s) VALUES ('after')")
    server.stop()
    server.restart()
    with server.connect() as c:
        assert c.ok("SELECT s FROM t ORDER BY id") == [("before",), ("after",)]
        assert c.value("PRAGMA integrity_check") == "ok"


def test_an_image_that_does_not_fit_replaces_nothing(start, small_disk):
    """The client's image is too large for the disk, or the database that it is to become is."""
    server = start(data_dir=small_disk / "data")
    with Calling(server) as c:
        c.ok("CREATE TABLE t(a)")
        c.ok("INSERT INTO t VALUES (1)")
        for size in (BYTES, BYTES // 2):
            answer = c.image_put(image_of(size))
            assert (answer.result & 0xFF, answer.error) == (13, "database or disk is full"), answer
            assert c.ok("SELECT a FROM t") == [(1,)]
        assert c.image_put(image_of(BYTES // 8)).result == 0
        assert c.one("SELECT length(a) FROM t") == BYTES // 8


def image_of(size):
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t(a)")
    db.execute("INSERT INTO t VALUES (zeroblob(?))", (size,))
    db.commit()
    return db.serialize()
