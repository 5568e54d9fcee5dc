"""Native mode: incremental blobs (docs/protocol.md, BLOB_OPEN …; sqlite.org/c3ref/blob_open.html)."""

import native_calls as nc
import pytest
from native import ABORT, BUSY, ERROR, INTERRUPT, MISUSE, OK, READONLY
from native_calls import Calling, Hang

SIZE = 100_000


@pytest.fixture
def c(server, scratch):
    with Calling(server, scratch) as one:
        one.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b, c)")
        one.ok("INSERT INTO t VALUES (1, zeroblob(?), 5), (2, x'010203', NULL)", SIZE)
        yield one


def is_free(server, database):
    """Whether another session can write now."""
    with server.connect(database=database) as other:
        other.ok("SET lock_timeout = '50ms'")
        return not [m for m in other.query("UPDATE t SET c = 6 WHERE a = 2") if m.kind == "E"]


def test_a_blob_is_read_and_written_in_pieces(c):
    answer, size = c.blob_open(1, "t", "b", 1, writing=True)
    assert (answer.result, size) == (OK, SIZE)
    assert c.blob_write(1, 10, b"abc").result == OK
    assert c.blob_write(1, SIZE - 1, b"z").result == OK
    assert c.blob_write(1, SIZE, b"").result == OK
    answer, raw = c.blob_read(1, 9, 5)
    assert raw == b"\0abc\0"
    answer, raw = c.blob_read(1, 0, SIZE)
    assert len(raw) == SIZE and raw[-1:] == b"z"
    assert c.blob_read(1, SIZE, 0)[1] == b""
    assert c.blob_close(1).result == OK
    assert c.one("SELECT substr(b, 11, 3) FROM t WHERE a = 1") == b"abc"


def test_what_is_outside_of_the_blob_is_refused(c):
    c.blob_open(1, "t", "b", 1, writing=True)
    for offset, count in [(SIZE, 1), (SIZE + 1, 0), (0, SIZE + 1), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (0x80000000, 0)]:
        assert c.blob_read(1, offset, count)[0].result == ERROR, (offset, count)
    assert c.blob_write(1, SIZE - 1, b"xx").result == ERROR
    assert c.blob_write(1, 0xFFFFFFFF, b"x").result == ERROR
    assert c.one("SELECT b = zeroblob(?) FROM t WHERE a = 1", SIZE) == 1


@pytest.mark.parametrize(
    "args, message",
    [
        (("none", "b", 1), "no such table: main.none"),
        (("t", "none", 1), 'no such column: "none"'),
        (("t", "b", 99), "no such rowid: 99"),
        (("t", "c", 1), "cannot open value of type integer"),
        (("t", "c", 2), "cannot open value of type null"),
    ],
)
def test_what_cannot_be_opened_says_why(c, args, message):
    answer, _ = c.blob_open(1, *args)
    assert (answer.result, answer.error) == (ERROR, message)
    assert c.blob_read(1, 0, 1)[0].result == MISUSE
    assert c.blob_open(1, "t", "b", 1)[0].result == OK  # the number is free


def test_numbers_that_name_nothing_are_misuse(c):
    assert c.blob_read(7, 0, 1)[0].result == MISUSE
    assert c.blob_write(7, 0, b"x").result == MISUSE
    assert c.blob_reopen(7, 1)[0].result == MISUSE
    assert c.blob_close(7).result == MISUSE
    assert c.blob_open(0, "t", "b", 1)[0].result == MISUSE
    assert c.blob_open(1, "t", "b", 1)[0].result == OK
    assert c.blob_open(1, "t", "b", 1)[0].result == MISUSE


def test_a_blob_opened_for_reading_is_not_written(c):
    c.blob_open(1, "t", "b", 1)
    answer = c.blob_write(1, 0, b"x")
    assert (answer.result, answer.error) == (READONLY, "attempt to write a readonly database")


def test_a_blob_moves_to_another_row(c):
    c.blob_open(1, "t", "b", 1)
    answer, size = c.blob_reopen(1, 2)
    assert (answer.result, size) == (OK, 3)
    assert c.blob_read(1, 0, 3)[1] == b"\1\2\3"
    assert c.blob_reopen(1, 99)[0].result == ERROR
    assert c.blob_read(1, 0, 1)[0].result == ABORT  # there is no way back
    assert c.blob_close(1).result == OK


def test_a_row_that_changes_expires_its_blob(c):
    c.blob_open(1, "t", "b", 1)
    c.ok("UPDATE t SET c = 7 WHERE a = 1")
    assert c.blob_read(1, 0, 1)[0].result == ABORT
    assert c.blob_close(1).result == OK


def test_a_blob_that_is_written_holds_the_database_until_it_is_closed(c, server, scratch):
    c.blob_open(1, "t", "b", 1, writing=True)
    assert not is_free(server, scratch)
    c.blob_write(1, 0, b"x")
    assert not is_free(server, scratch)
    c.blob_close(1)
    assert is_free(server, scratch)
    assert c.one("SELECT substr(b, 1, 1) FROM t WHERE a = 1") == b"x"


def test_within_a_transaction_it_holds_the_database_until_the_end(c, server, scratch):
    c.ok("BEGIN")
    c.blob_open(1, "t", "b", 1, writing=True)
    c.blob_write(1, 0, b"x")
    c.blob_close(1)
    assert not is_free(server, scratch)
    c.ok("ROLLBACK")
    assert is_free(server, scratch)
    assert c.one("SELECT substr(b, 1, 1) FROM t WHERE a = 1") == b"\0"


def test_opening_for_writing_waits_for_as_long_as_busy_timeout_says(c, server, scratch):
    with server.connect(database=scratch) as other:
        other.ok("BEGIN")
        other.ok("UPDATE t SET c = 9 WHERE a = 2")
        answer, _ = c.blob_open(1, "t", "b", 1, writing=True)
        assert (answer.result, answer.error) == (BUSY, "database is locked")
        assert c.blob_open(1, "t", "b", 1)[0].result == OK  # reading waits for nobody
        c.blob_close(1)
        c.busy_timeout(60000)
        c.send(nc.request(nc.BLOB_OPEN, b"\0\0\0\2" + b"".join(nc.text(x) for x in ("main", "t", "b")) + bytes(7) + b"\1\1"))
        other.ok("COMMIT")
    answer = c.recv()
    assert answer.result == OK


def test_a_client_that_dies_with_a_blob_open_leaves_nothing(c, server, scratch):
    c.blob_open(1, "t", "b", 1, writing=True)
    c.blob_write(1, 0, b"x")
    c.close()
    with server.connect(database=scratch) as other:
        other.ok("SET lock_timeout = '10s'")
        other.ok("UPDATE t SET c = 6 WHERE a = 2")
        assert other.value("SELECT hex(substr(b, 1, 1)) FROM t WHERE a = 1") == "00"


def test_so_many_blobs_and_no_more(c):
    for number in range(1, 1001):
        assert c.blob_open(number, "t", "b", 2)[0].result == OK
    answer, _ = c.blob_open(1001, "t", "b", 2)
    assert (answer.result, answer.error) == (ERROR, "too many blobs are open")
    c.blob_close(500)
    assert c.blob_open(1001, "t", "b", 2)[0].result == OK


def test_a_preupdate_hook_hears_of_blob_writes(c):
    c.blob_open(1, "t", "b", 2, writing=True)
    c.hook(preupdate=lambda *_: c.blob_write(1, 0, b"again").result)  # the blob is in use
    assert c.blob_write(1, 1, b"x").result == OK
    ((operation, _, table, old, new, _, column, before, after),) = c.called(nc.CALL_PREUPDATE)
    assert (operation, table, old, new, column) == (9, "t", 2, 2, 1)
    assert before == [2, b"\1\2\3", None] and after is None
    assert c.blob_read(1, 0, 3)[1] == b"\1x\3"


def test_a_client_that_dies_within_a_blobs_commit_leaves_nothing(c, server, scratch):
    def hang():
        raise Hang

    c.hook(commit=hang)
    c.blob_open(1, "t", "b", 2, writing=True)
    c.blob_write(1, 0, b"x")
    with pytest.raises(Hang):
        c.blob_close(1)
    c.close()
    with server.connect(database=scratch) as other:
        other.ok("SET lock_timeout = '10s'")
        other.ok("UPDATE t SET c = 6 WHERE a = 1")
        assert other.value("SELECT hex(b) FROM t WHERE a = 2") == "010203"


def test_a_readonly_session_opens_none_for_writing(server, scratch, c):
    with Calling(server, scratch, options="readonly") as one:
        assert one.blob_open(1, "t", "b", 1, writing=True)[0].result == READONLY
        assert one.blob_open(1, "t", "b", 1)[0].result == OK


def test_blobs_of_attached_and_temporary_databases(c):
    c.ok("CREATE TEMP TABLE u(b)")
    c.ok("INSERT INTO u VALUES (x'0102')")
    assert c.blob_open(1, "u", "b", 1, writing=True, database="temp")[0].result == OK
    assert c.blob_write(1, 0, b"z").result == OK
    assert c.blob_close(1).result == OK
    assert c.one("SELECT b FROM u") == b"z\2"
    assert c.blob_open(1, "t", "b", 1, database="nowhere")[0].error == "no such table: nowhere.t"
