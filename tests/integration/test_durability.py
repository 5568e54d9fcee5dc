"""Answers and the disk: nothing leaves before what it rests on is synced, many share a sync, and a sync that fails is
final. The server runs with tests/lib/slow_disk.c before its C library."""

import select
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from native import OUTCOME, Native, prepare_step, request
from server import poll
from wire import (
    Closed,
    bind,
    describe_portal,
    describe_statement,
    errors,
    execute,
    flush,
    parse,
    query,
    rows,
)

LIB = Path(__file__).resolve().parents[1] / "lib"
QUIET_S = 0.3  # what does not come within this time while syncs are held would never come: not a measure of speed


class Disk:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.library = directory / "slow_disk.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", self.library, LIB / "slow_disk.c"], check=True)

    def env(self):
        # A sanitizer's runtime wants to be the first library: it need not be.
        return {
            "LD_PRELOAD": str(self.library),
            "SQLD_TEST_DISK": str(self.directory),
            "ASAN_OPTIONS": "verify_asan_link_order=0",
        }

    def hold(self):
        (self.directory / "hold").touch()

    def fail(self):
        (self.directory / "fail").touch()

    def heal(self):
        for name in ("fail", "hold"):
            (self.directory / name).unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    one = Disk(tmp_path / "disk")
    yield one
    one.heal()


@pytest.fixture
def slow(start, disk):
    """A server on the slow disk, with a table in `main` and one in `other`."""
    server = start(env=disk.env())
    with server.connect() as c:
        c.ok("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES (1); CREATE DATABASE other")
    with server.connect(database="other") as c:
        c.ok("CREATE TABLE t(a INTEGER)")
    return server


def is_silent(c):
    try:
        message = c.recv(QUIET_S)
    except TimeoutError:
        return True
    raise AssertionError(f"an answer that nothing supports: {message}")




def test_an_insert_is_answered_when_it_is_synced(slow, disk):
    with slow.connect() as c:
        disk.hold()
        c.send(query("INSERT INTO t VALUES (2)"))
        assert is_silent(c)
        disk.heal()
        assert c.until_ready()[-1].kind == "Z"


def test_a_read_waits_for_the_commits_that_it_shows(slow, disk):
    with slow.connect() as writer, slow.connect() as reader, slow.connect() as idler:
        idler.ok("BEGIN")
        assert idler.value("SELECT count(*) FROM t") == "1"
        disk.hold()
        writer.send(query("INSERT INTO t VALUES (2)"))
        assert is_silent(writer)
        reader.send(query("SELECT count(*) FROM t"))
        assert is_silent(reader)
        # An older snapshot shows nothing of it, nor does another database.
        assert idler.value("SELECT count(*) FROM t") == "1"
        with slow.connect(database="other") as c:
            assert c.value("SELECT count(*) FROM t") == "0"
        disk.heal()
        assert writer.until_ready()
        assert [m.row() for m in reader.until_ready() if m.kind == "D"] == [[b"2"]]


def test_a_notification_waits_for_its_commit(slow, disk):
    with slow.connect() as listener, slow.connect() as sender:
        listener.ok("LISTEN news")
        disk.hold()
        sender.send(query("BEGIN; INSERT INTO t VALUES (2); NOTIFY news, 'two'; COMMIT"))
        assert is_silent(listener)
        disk.heal()
        assert sender.until_ready()
        assert listener.recv().notification()[1:] == ("news", "two")


def test_what_does_not_wait_is_answered_at_once(slow, disk):
    with slow.connect() as c:
        c.ok("SET synchronous_commit = off")
        disk.hold()
        c.ok("INSERT INTO t VALUES (2)")
        assert c.value("SELECT count(*) FROM t") == "2"
        disk.heal()
        c.ok("SET synchronous_commit = on")
        assert c.value("SELECT count(*) FROM t") == "2"


def test_a_pipeline_of_commits_goes_on_behind_answers_that_wait(slow, disk):
    with slow.connect() as c, slow.connect() as other:
        other.ok("SET synchronous_commit = off")
        disk.hold()
        c.send(*[query(f"INSERT INTO t VALUES ({n})") for n in range(100)])
        poll(lambda: other.value("SELECT count(*) FROM t") == "101", "all of them are committed")
        assert is_silent(c)
        disk.heal()
        for _ in range(100):
            assert not errors(c.until_ready())


def test_many_sessions_share_a_sync(slow, disk):
    clients = [slow.connect() for _ in range(40)]
    with slow.connect() as watcher:
        watcher.ok("SET synchronous_commit = off")
        before = int(dict(r[:2] for r in watcher.ok("SHOW metrics"))["sqld_sync_seconds_count"])
        disk.hold()
        for n, c in enumerate(clients):
            c.send(query(f"INSERT INTO t VALUES ({n})"))
        poll(lambda: watcher.value("SELECT count(*) FROM t") == "41", "all of them are committed")
        disk.heal()
        for c in clients:
            assert not errors(c.until_ready())
        after = int(dict(r[:2] for r in watcher.ok("SHOW metrics"))["sqld_sync_seconds_count"])
        assert after - before <= 3
    for c in clients:
        c.close()


def test_a_failed_sync_ends_the_service_of_that_database_until_a_restart(slow, disk):
    with slow.connect() as writer, slow.connect() as other, slow.connect(database="other") as elsewhere:
        assert other.value("SELECT count(*) FROM t") == "1"
        disk.hold()
        writer.send(query("INSERT INTO t VALUES (2)"))
        assert is_silent(writer)
        disk.fail()
        (disk.directory / "hold").unlink()
        refused = writer.recv()
        assert (refused.kind, refused.sqlstate(), refused.fields()["S"]) == ("E", "58030", "FATAL")
        with pytest.raises((Closed, TimeoutError)):
            writer.recv()
        disk.heal()  # too late: what the kernel dropped is lost whatever it says now
        other.send(query("SELECT count(*) FROM t"))
        assert other.recv().sqlstate() == "58030"
        with slow.connect() as late:
            late.send(query("INSERT INTO t VALUES (3)"))
            assert late.recv().sqlstate() == "58030"
        elsewhere.ok("INSERT INTO t VALUES (1)")
    slow.stop()
    slow.restart()
    with slow.connect() as c:
        assert c.value("SELECT count(*) FROM t WHERE a = 3") == "0"
        assert c.value("PRAGMA integrity_check") == "ok"
        c.ok("INSERT INTO t VALUES (4)")


def test_killed_while_answers_wait(slow, disk):
    """The process ends, the kernel does not: what was written is there, whether it was answered or not."""
    with slow.connect() as c:
        disk.hold()
        c.send(*[query(f"INSERT INTO t VALUES ({n})") for n in range(10)])
        assert is_silent(c)
        slow.kill9()
        disk.heal()
    slow.restart()
    with slow.connect() as c:
        assert int(c.value("SELECT count(*) FROM t")) <= 11
        assert c.value("PRAGMA integrity_check") == "ok"


def test_stopping_while_answers_wait(slow, disk):
    with slow.connect() as c:
        disk.hold()
        c.send(query("INSERT INTO t VALUES (2)"))
        assert is_silent(c)
        stopper = threading.Thread(target=slow.stop)
        stopper.start()
        disk.heal()
        stopper.join()
    slow.restart()
    with slow.connect() as c:
        assert c.value("SELECT count(*) FROM t") == "2"


def test_attached_databases_are_synced_before_the_answer(slow, disk):
    with slow.connect() as c:
        c.ok("ATTACH 'other' AS o")
        assert c.value("PRAGMA o.synchronous") == "2"
        disk.hold()
        c.send(query("INSERT INTO o.t VALUES (7)"))
        assert is_silent(c)
        disk.heal()
        assert not errors(c.until_ready())


def test_rows_of_attached_databases_wait_for_their_commits(slow, disk):
    """Also those that leave before the statement is at its end, errors that they cause, and what Describe says."""
    readers = {
        "a part of the rows": parse("SELECT a FROM o.t") + bind() + execute(limit=1) + flush(),
        "a description with a first row": parse("SELECT a + 1 FROM o.t") + bind() + describe_portal() + flush(),
        "an error": query("SELECT abs(a - 9223372036854775807 - 3) FROM o.t WHERE a = 2"),
        "a new column": parse("SELECT fresh FROM o.t") + describe_statement() + flush(),
    }
    with slow.connect(database="other") as writer:
        clients = [slow.connect() for _ in readers]
        for c in clients:
            c.ok("ATTACH 'other' AS o")
        disk.hold()
        writer.send(query("INSERT INTO t VALUES (2), (3); ALTER TABLE t ADD COLUMN fresh"))
        assert is_silent(writer)
        for c, said in zip(clients, readers.values()):
            c.send(said)
        for c, what in zip(clients, readers):
            assert is_silent(c), what
        disk.heal()
        for c in clients:
            assert c.recv()
            c.close()


def test_hidden_writes_are_writes(slow, disk):
    """PRAGMA optimize and FTS4's optimize() write, though SQLite says that they only read: they take the write slot, and
    the COMMIT behind them waits for the disk."""
    with slow.connect() as c, slow.connect() as other:
        c.ok("CREATE VIRTUAL TABLE f USING fts4(x)")
        for n in range(4):
            c.ok(f"INSERT INTO f VALUES ('word {n}')")
        for hidden in ("PRAGMA optimize", "SELECT * FROM pragma_optimize", "SELECT optimize(f) FROM f LIMIT 1"):
            # A table without statistics whose index has been used is what PRAGMA optimize works on.
            c.ok("DROP TABLE IF EXISTS p; CREATE TABLE p(a); CREATE INDEX pa ON p(a); INSERT INTO p VALUES (1)")
            c.ok("SELECT * FROM p WHERE a = 1")
            c.ok("BEGIN READ ONLY")
            assert c.fails(hidden)["C"] == "25006", hidden
            c.ok("ROLLBACK; BEGIN")
            c.ok(hidden)
            other.send(query("INSERT INTO t VALUES (2)"))
            waiting = "SELECT value->>3 FROM json_each(sqld_table('databases')) WHERE value->>0 = 'main'"
            poll(lambda: c.value(waiting) == "1", f"{hidden} has the slot")
            disk.hold()
            c.send(query("COMMIT"))
            assert is_silent(c), hidden
            disk.heal()
            assert not errors(c.until_ready())
            assert not errors(other.until_ready())


def test_a_snapshot_read_lazily_is_waited_for_afterwards(slow, disk):
    with slow.connect() as writer, slow.connect() as reader:
        disk.hold()
        writer.send(query("INSERT INTO t VALUES (2)"))
        assert is_silent(writer)
        reader.ok("SET synchronous_commit = off; BEGIN")
        assert reader.value("SELECT count(*) FROM t") == "2"
        reader.ok("SET synchronous_commit = on")
        reader.send(query("SELECT count(*) FROM t"))
        assert is_silent(reader)
        disk.heal()
        assert rows(reader.until_ready()) == [("2",)]
        assert writer.until_ready()


def test_a_transaction_that_began_elsewhere_reads_what_is_committed_later(slow, disk):
    """Its first statements read a temporary table, or an attached database: the snapshot of its own comes later."""
    for n, first in enumerate(("SELECT * FROM x", "SELECT * FROM o.t")):
        with slow.connect() as writer, slow.connect() as reader:
            reader.ok("CREATE TEMP TABLE x(a); INSERT INTO x VALUES (1)")
            reader.ok("ATTACH 'other' AS o")
            reader.ok("BEGIN")
            reader.ok(first)
            disk.hold()
            writer.send(query("INSERT INTO t VALUES (2)"))
            assert is_silent(writer)
            reader.send(query("SELECT count(*) FROM t"))
            assert is_silent(reader), first
            disk.heal()
            assert rows(reader.until_ready()) == [(str(n + 2),)]
            assert writer.until_ready()


# --- Checkpoints -----------------------------------------------------------------------------------------------------


WAL_BYTES_MAX = 160 << 20  # what is kept for reuse, and what a busy machine may add before the checkpointer's turn


def test_the_log_stays_bounded_under_constant_readers(start):
    server = start()
    wal = Path(server.data_dir) / "main.db-wal"
    written = 0
    largest = 0
    stop = threading.Event()
    failures = []

    def read(seed):
        try:
            with server.connect() as c:
                while not stop.is_set():
                    c.ok(f"SELECT count(*), sum(length(b)) FROM t WHERE a % 7 = {seed}")
        except Exception as e:  # noqa: BLE001 - handed on below
            failures.append(e)

    with server.connect() as c:
        c.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        c.ok(
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 2000)"
            " INSERT INTO t SELECT n, randomblob(1000) FROM s"
        )
        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for reader in readers:
            reader.start()
        try:
            while written < (600 << 20) and not failures:
                c.ok("UPDATE t SET b = randomblob(1000) WHERE a % 4 = 0")
                written += 2 << 20
                largest = max(largest, wal.stat().st_size)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        assert not failures, failures
        assert largest < WAL_BYTES_MAX, f"{written} bytes written, the log grew to {largest}"
        assert c.value("PRAGMA integrity_check") == "ok"


def test_the_log_stays_bounded_when_many_writers_wait(start):
    """More writers than have their turn within the time that the checkpointer waits for the slot."""
    server = start("--workers", "2")
    wal = Path(server.data_dir) / "main.db-wal"
    writers = [server.connect() for _ in range(200)]
    update = query("UPDATE t SET b = randomblob(3000)")
    by_socket = {c.sock: c for c in writers}
    written = 0
    largest = 0
    try:
        writers[0].ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        writers[0].ok(
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 400)"
            " INSERT INTO t SELECT n, randomblob(3000) FROM s"
        )
        for c in writers:
            c.ok("SET synchronous_commit = off")
            c.send(update)
        while written < (600 << 20):
            for sock in select.select(by_socket, [], [], 30)[0]:
                assert not errors(by_socket[sock].until_ready())
                by_socket[sock].send(update)
                written += 400 * 4096
            largest = max(largest, wal.stat().st_size)
        assert largest < 2 * WAL_BYTES_MAX, f"{written} bytes written, the log grew to {largest}"
    finally:
        for c in writers:
            c.close()


def test_the_log_shrinks_again_when_a_long_read_is_over(start):
    server = start()
    wal = Path(server.data_dir) / "main.db-wal"
    with server.connect() as c, server.connect() as reader:
        c.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        c.ok("INSERT INTO t VALUES (1, zeroblob(4000000))")
        reader.ok("BEGIN")
        reader.ok("SELECT count(*) FROM t")
        for _ in range(60):
            c.ok("UPDATE t SET b = randomblob(4000000)")
        assert wal.stat().st_size > WAL_BYTES_MAX
        assert reader.value("SELECT sum(length(b)) FROM t") == "4000000"
        reader.ok("COMMIT")

        def has_shrunk():
            c.ok("UPDATE t SET b = randomblob(100)")
            return wal.stat().st_size <= WAL_BYTES_MAX

        poll(has_shrunk, "the log is begun anew")


# --- what a session that has ended has done: OUTCOME of docs/protocol.md ---

OUTCOME_UNKNOWN, OUTCOME_DONE, OUTCOME_LIVE = 0, 1, 3


def lost_insert(server, disk):
    """A session of native mode whose client goes away before it has its answer: its key."""
    key = bytes(range(16))
    n = Native(server, "main", f"key={key.hex()}")
    disk.hold()
    n.send(prepare_step(1, "INSERT INTO t VALUES (2)"))
    assert is_silent(n.wire)
    n.close()
    return key


def outcome(n, key):
    n.send(request(OUTCOME, key + struct.pack("!Q", 1)))
    return n.recv().rest.take("B")


def test_an_outcome_is_told_when_it_is_synced(slow, disk):
    with Native(slow, "other") as n:
        key = lost_insert(slow, disk)
        for _ in range(20):
            assert outcome(n, key) == OUTCOME_LIVE
        disk.heal()
        assert poll(lambda: (state := outcome(n, key)) != OUTCOME_LIVE and [state], "it ends") == [OUTCOME_DONE]
    with slow.connect() as c:
        assert c.value("SELECT count(*) FROM t") == "2"


def test_an_outcome_that_the_disk_has_not_taken_is_unknown(slow, disk):
    with Native(slow, "other") as n:
        key = lost_insert(slow, disk)
        disk.fail()
        (disk.directory / "hold").unlink()
        assert poll(lambda: (state := outcome(n, key)) != OUTCOME_LIVE and [state], "it ends") == [OUTCOME_UNKNOWN]
    slow.kill9()
