"""Native mode: images of whole databases (docs/protocol.md, IMAGE_OPEN …)."""

import os
import random
import sqlite3
import struct
from pathlib import Path

import native_calls as nc
import pytest
from native import BUSY, ERROR, MISUSE, OK, READONLY, TOOBIG
from native_calls import Calling

NOTADB = 26
READ_ONLY_FLAG, RESIZEABLE_FLAG = 4, 2


@pytest.fixture
def c(server, scratch):
    with Calling(server, scratch) as one:
        yield one


@pytest.fixture
def memory(server):
    with Calling(server, ":memory:") as one:
        yield one


def read_image(raw):
    """The image as a database of the real SQLite."""
    db = sqlite3.connect(":memory:")
    db.deserialize(raw)
    return db


def make_image(*statements, page_size=4096):
    db = sqlite3.connect(":memory:")
    db.execute(f"PRAGMA page_size = {page_size}")
    for sql in statements:
        db.execute(sql)
    db.commit()
    return db.serialize()


def test_an_image_is_the_database_as_SQLite_reads_it(c):
    c.ok("CREATE TABLE t(a, b)")
    c.ok("INSERT INTO t VALUES (1, randomblob(300000)), (2, 'x')")
    c.ok("CREATE INDEX i ON t(a)")
    answer, (size, page_size) = c.image_open()
    assert answer.result == OK and page_size == 4096 and size % page_size == 0
    db = read_image(c.image())
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT b FROM t").fetchall() == c.ok("SELECT b FROM t")


def test_an_image_is_of_one_moment(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    c.ok("INSERT INTO t VALUES (1)")
    answer, (size, _) = c.image_open()
    with server.connect(database=scratch) as other:
        other.ok("INSERT INTO t VALUES (2)")
        other.ok("CREATE TABLE u AS SELECT randomblob(100000)")
    raw = b"".join(c.image_read(at, 1000)[1] for at in range(0, size, 1000))
    assert len(raw) == size
    assert read_image(raw).execute("SELECT a FROM t").fetchall() == [(1,)]
    assert c.image_read(size, 10)[1] == b""
    assert c.image_read(size - 5, 10)[1] == raw[-5:]
    assert c.image_read(1 << 63, 10)[1] == b""
    assert c.image_close().result == OK
    assert c.image_read(0, 10)[0].result == MISUSE


def test_an_image_shows_what_the_open_transaction_has_done(c):
    c.ok("CREATE TABLE t(a)")
    c.ok("BEGIN")
    c.ok("INSERT INTO t VALUES (5)")
    assert read_image(c.image()).execute("SELECT a FROM t").fetchall() == [(5,)]
    c.ok("ROLLBACK")
    assert read_image(c.image()).execute("SELECT a FROM t").fetchall() == []


def test_images_of_memory_and_of_what_is_attached(c, memory):
    memory.ok("CREATE TABLE t(a)")
    memory.ok("INSERT INTO t VALUES (7)")
    assert read_image(memory.image()).execute("SELECT a FROM t").fetchall() == [(7,)]
    c.ok("ATTACH ':memory:' AS other")
    c.ok("CREATE TABLE other.o(a)")
    c.ok("INSERT INTO other.o VALUES (8)")
    assert read_image(c.image("other")).execute("SELECT a FROM o").fetchall() == [(8,)]
    answer, _ = c.image_open("nowhere")
    assert (answer.result, answer.error) == (ERROR, "unknown database nowhere")


def test_an_empty_database_in_memory_has_an_empty_image(memory):
    assert memory.image() == b""


def test_no_file_stays_behind(c, server):
    c.ok("CREATE TABLE t(a)")
    c.image_open()
    c.ask(nc.IMAGE_PUT, nc.text("main") + struct.pack("!QBI", 100, 0, 0))
    assert [name for name in os.listdir(server.data_dir) if name.startswith(".image")] == []


def test_an_image_replaces_the_database_for_everybody(c, server, scratch):
    c.ok("CREATE TABLE old(a)")
    with server.connect(database=scratch) as other:
        assert other.ok("SELECT * FROM old") == []
        raw = make_image("CREATE TABLE t(a, b)", "INSERT INTO t VALUES (1, randomblob(500000))", "CREATE INDEX i ON t(a)")
        assert c.image_put(raw).result == OK
        assert c.ok("SELECT a FROM t") == [(1,)]
        assert other.ok("SELECT a FROM t") == [("1",)]
        assert other.fails("SELECT * FROM old")["C"] == "42P01"
        other.ok("INSERT INTO t VALUES (2, NULL)")
        assert c.one("PRAGMA integrity_check") == "ok"


def test_what_was_replaced_is_on_disk(start):
    server = start()
    with Calling(server) as c:
        assert c.image_put(make_image("CREATE TABLE t(a)", "INSERT INTO t VALUES (9)")).result == OK
        server.kill9()
    server.restart()
    with server.connect() as one:
        assert one.value("SELECT a FROM t") == "9"


def test_an_image_goes_there_and_back(c, server):
    c.ok("CREATE TABLE t(a)")
    for i in range(50):
        c.ok("INSERT INTO t VALUES (randomblob(?))", random.Random(i).randrange(20000))
    raw = c.image()
    with server.connect() as admin:
        admin.ok("DROP DATABASE IF EXISTS there_and_back")
        admin.ok("CREATE DATABASE there_and_back")
    with Calling(server, "there_and_back") as other:
        assert other.image_put(raw).result == OK
        assert other.ok("SELECT a FROM t") == c.ok("SELECT a FROM t")


@pytest.mark.parametrize(
    "raw",
    [b"x", b"no database at all" * 1000, b"SQLite format 3\0" + bytes(50), b"SQLite format 3\0" + bytes(5000)],
    ids=["short", "text", "cut", "zeros"],
)
def test_what_is_no_database_replaces_nothing(c, raw):
    c.ok("CREATE TABLE t(a)")
    answer = c.image_put(raw)
    assert answer.result in (NOTADB, 11), answer
    assert c.ok("SELECT name FROM sqlite_schema") == [("t",)]


def test_pages_of_another_size_are_refused_clearly(c):
    c.ok("CREATE TABLE t(a)")
    answer = c.image_put(make_image("CREATE TABLE u(a)", page_size=1024))
    assert (answer.result, answer.error) == (READONLY, "the image's pages are not of the size of the database's")
    assert c.ok("SELECT name FROM sqlite_schema") == [("t",)]


def test_an_image_comes_in_order_and_complete(c):
    raw = make_image("CREATE TABLE t(a)")
    assert c.ask(nc.IMAGE_DATA, nc.text(b"x")).result == MISUSE
    assert c.ask(nc.IMAGE_DONE).result == MISUSE
    answer = c.image_put(raw[:-1], size=len(raw))
    assert (answer.result, answer.error) == (ERROR, "the image is not complete")
    assert c.image_put(raw, size=len(raw) - 1).result == MISUSE  # more than was announced
    assert c.image_read(0, 10)[0].result == MISUSE
    assert c.image_put(raw).result == OK


def test_replacing_waits_for_the_writer_as_busy_timeout_says(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    raw = make_image("CREATE TABLE u(a)")
    with server.connect(database=scratch) as other:
        other.ok("BEGIN")
        other.ok("INSERT INTO t VALUES (1)")
        answer = c.image_put(raw)
        assert (answer.result, answer.error) == (BUSY, "database is locked")
        other.ok("COMMIT")
    assert c.image_put(raw).result == OK


def test_a_database_that_is_being_read_is_not_replaced(c):
    c.ok("CREATE TABLE t(a)")
    c.ok("INSERT INTO t VALUES (1), (2)")
    number = c.good("SELECT a FROM t")
    c.step(number, rows=1)
    assert c.image_put(make_image("CREATE TABLE u(a)")).error == "destination database is in use"
    c.reset(number)
    assert c.image_put(make_image("CREATE TABLE u(a)")).result == OK


def test_a_readonly_session_replaces_nothing(server, scratch):
    with Calling(server, scratch, options="readonly") as one:
        assert one.image_put(make_image("CREATE TABLE u(a)")).result == READONLY


def test_a_private_database_is_deserialized(memory):
    raw = make_image("CREATE TABLE t(a)", "INSERT INTO t VALUES (1)")
    assert memory.image_put(raw, mode=1).result == OK
    assert memory.ok("SELECT a FROM t") == [(1,)]
    assert memory.fails("CREATE TABLE u AS SELECT randomblob(100000)")[0] == 13  # full: it must not grow
    assert memory.image_put(raw, mode=1, flags=RESIZEABLE_FLAG).result == OK
    memory.ok("CREATE TABLE u AS SELECT randomblob(100000)")
    assert memory.image_put(raw, mode=1, flags=READ_ONLY_FLAG).result == OK
    assert memory.fails("INSERT INTO t VALUES (2)")[0] == READONLY
    assert memory.image() == raw


def test_a_private_database_is_replaced_by_copying(memory):
    raw = make_image("CREATE TABLE t(a)", "INSERT INTO t VALUES (1)")
    memory.ok("CREATE TABLE before(a)")
    assert memory.image_put(raw).result == OK
    memory.ok("INSERT INTO t VALUES (2)")
    assert memory.ok("SELECT a FROM t") == [(1,), (2,)]


def test_a_shared_database_is_not_deserialized(c):
    answer = c.image_put(make_image("CREATE TABLE t(a)"), mode=1)
    assert (answer.result, answer.error) == (ERROR, "only a private database in memory can be deserialized into")


def test_an_image_that_no_memory_holds_is_refused(memory):
    answer = memory.ask(nc.IMAGE_PUT, nc.text("main") + struct.pack("!QBI", (1 << 30) + 1, 1, 0))
    assert answer.result == TOOBIG
