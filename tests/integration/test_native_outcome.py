"""OUTCOME of native mode (docs/protocol.md): what became of a request whose answer was lost.

Each test gives its sessions keys, ends them in one way or another, and asks from another session.
"""

import secrets
import struct

import pytest

import native
from native import CONSTRAINT_PRIMARYKEY, DONE, OK, ROW, Native, prepare_step, request, step, text
from server import poll
from wire import ServerError

UNKNOWN, WORKED_OFF, NOT_DONE, LIVE = range(4)


class Keyed(Native):
    """A session with a key; `count` is the number of its last request."""

    def __init__(self, server, database, options=""):
        self.key = secrets.token_bytes(16)
        super().__init__(server, database, f"{options} key={self.key.hex()}")


def ask(n, key, number):
    """(state, (result, changes, total changes, rowid, rows) or None)"""
    n.send(request(native.OUTCOME, key + struct.pack("!Q", number)))
    answer = n.recv()
    assert answer.result == OK
    state = answer.rest.take("B")
    got = answer.rest.take("iqqqI") if state == WORKED_OFF else None
    assert answer.rest.is_done()
    return state, got


def settled(n, key, number):
    """The same when the session has ended."""

    def look():
        state, got = ask(n, key, number)
        return None if state == LIVE else (state, got)

    return poll(look, "the session ends")


@pytest.fixture
def n(server, scratch):
    with Native(server, scratch) as one:
        one.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        yield one


@pytest.fixture
def k(server, scratch, n):
    with Keyed(server, scratch) as one:
        yield one


def test_nobody_is_unknown(n):
    assert ask(n, bytes(16), 1) == (UNKNOWN, None)


def test_a_statement_that_committed_is_worked_off(n, k):
    k.ok("INSERT INTO t VALUES (7, 'x'), (9, 'y')")
    k.close()
    assert settled(n, k.key, 1) == (WORKED_OFF, (DONE, 2, 2, 9, 0))
    assert settled(n, k.key, 2) == (NOT_DONE, None)


def test_only_the_last_request_is_known(n, k):
    k.ok("INSERT INTO t VALUES (1, 'x')")
    k.ok("INSERT INTO t VALUES (2, 'x')")
    k.close()
    assert settled(n, k.key, 1) == (UNKNOWN, None)
    assert settled(n, k.key, 2)[0] == WORKED_OFF


def test_one_way_requests_do_not_count(n, k):
    number = k.good("SELECT 1")
    k.step(number)
    k.send(request(native.RESET_ASYNC, struct.pack("!I", number)))
    k.finalize(number)
    k.ok("INSERT INTO t VALUES (1, 'x')")
    k.close()
    assert settled(n, k.key, 3) == (WORKED_OFF, (DONE, 1, 1, 1, 0))


def test_rows_are_counted(n, k):
    k.ok("INSERT INTO t VALUES (1, 'x'), (2, 'x') RETURNING a")
    k.close()
    assert settled(n, k.key, 1) == (WORKED_OFF, (DONE, 2, 2, 2, 2))


def test_the_last_statement_of_an_open_transaction_is_rolled_back(n, k):
    k.ok("BEGIN")
    k.ok("INSERT INTO t VALUES (1, 'x')")
    k.close()
    assert settled(n, k.key, 2) == (NOT_DONE, None)
    assert n.one("SELECT count(*) FROM t") == 0


def test_a_commit_is_worked_off_and_an_inner_release_is_rolled_back(n, server, scratch, k):
    k.ok("BEGIN")
    k.ok("INSERT INTO t VALUES (1, 'x')")
    k.ok("COMMIT")
    k.close()
    assert settled(n, k.key, 3)[0] == WORKED_OFF
    with Keyed(server, scratch) as other:
        other.ok("SAVEPOINT a")
        other.ok("SAVEPOINT b")
        other.ok("INSERT INTO t VALUES (2, 'x')")
        other.ok("RELEASE b")
    assert settled(n, other.key, 4) == (NOT_DONE, None)
    assert n.ok("SELECT a FROM t") == [(1,)]


def test_a_statement_in_its_middle_is_rolled_back(n, k):
    answer = k.run("INSERT INTO t VALUES (1, 'x'), (2, 'y') RETURNING a", rows=1)
    assert answer.result == ROW
    k.close()
    assert settled(n, k.key, 1) == (NOT_DONE, None)
    assert n.one("SELECT count(*) FROM t") == 0


def test_resetting_a_statement_in_its_middle_commits_it(n, k):
    number = k.good("INSERT INTO t VALUES (1, 'x'), (2, 'y') RETURNING a")
    assert k.step(number, rows=1).result == ROW
    assert k.reset(number).result == OK
    k.close()
    assert settled(n, k.key, 3)[0] == WORKED_OFF
    assert n.one("SELECT count(*) FROM t") == 2


def test_what_a_blob_has_written_counts_when_it_is_closed(n, server, scratch, k):
    n.ok("INSERT INTO t VALUES (1, zeroblob(10))")
    blob_open = struct.pack("!I", 1) + text("main") + text("t") + text("b") + struct.pack("!qB", 1, 1)
    blob_write = struct.pack("!II", 1, 0) + text(b"0123456789")
    k.ask(0x30, blob_open, "I")
    assert k.ask(0x32, blob_write).result == OK
    k.close()
    assert settled(n, k.key, 2) == (NOT_DONE, None)
    assert n.one("SELECT b FROM t") == bytes(10)
    with Keyed(server, scratch) as other:
        other.ask(0x30, blob_open, "I")
        assert other.ask(0x32, blob_write).result == OK
        assert other.ask(0x34, struct.pack("!I", 1)).result == OK
    assert settled(n, other.key, 3)[0] == WORKED_OFF
    assert n.one("SELECT b FROM t") == b"0123456789"


def test_an_error_is_an_outcome(n, k):
    n.ok("INSERT INTO t VALUES (1, 'x')")
    assert k.fails("INSERT INTO t VALUES (1, 'y')")[0] == CONSTRAINT_PRIMARYKEY
    k.close()
    state, (result, *_) = settled(n, k.key, 1)
    assert (state, result) == (WORKED_OFF, CONSTRAINT_PRIMARYKEY)


def test_a_session_that_lives_is_told_to_end(n, k):
    k.ok("BEGIN IMMEDIATE")
    k.ok("INSERT INTO t VALUES (1, 'x')")
    assert ask(n, k.key, 2) == (LIVE, None)
    assert settled(n, k.key, 2) == (NOT_DONE, None)
    assert k.ended()["C"] == "57P01"
    n.ok("INSERT INTO t VALUES (1, 'y')")  # its locks are gone


def test_a_statement_that_runs_is_stopped(n, k):
    k.send(prepare_step(1, "INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i, i FROM c"))
    assert settled(n, k.key, 1) == (NOT_DONE, None)
    assert k.ended()["C"] == "57P01"


def test_requests_on_their_way_are_worked_off_or_not_done(n, k):
    """Many in one packet, and then the connection ends: whatever the server has got to, it says so."""
    k.send(*(prepare_step(i, f"INSERT INTO t VALUES ({i}, 'x')") for i in range(1, 51)))
    k.close()
    count = 50
    while settled(n, k.key, count)[0] != WORKED_OFF:
        count -= 1
        assert count >= 0
        if count == 0:
            break
    assert n.one("SELECT count(*) FROM t") == count


def test_whoever_has_a_statement_prepared_counts_on(n, k):
    number = k.good("INSERT INTO t VALUES (?, 'x')")
    for i in range(3):
        k.send(step(number, (i,)))
    for _ in range(3):
        k.read_step(number)
    k.close()
    assert settled(n, k.key, 4) == (WORKED_OFF, (DONE, 1, 3, 2, 0))


def test_a_restarted_server_does_not_know(start):
    one = start()
    with Keyed(one, "main") as k:
        k.ok("CREATE TABLE t(a)")
        k.ok("INSERT INTO t VALUES (1)")
        one.kill9()
        one.restart()
        with Native(one, "main") as n:
            assert ask(n, k.key, 2) == (UNKNOWN, None)
            assert n.one("SELECT count(*) FROM t") == 1


def test_a_private_database_has_an_outcome_too(server, n):
    with Keyed(server, ":memory:") as k:
        k.ok("CREATE TABLE t(a)")
    assert settled(n, k.key, 1)[0] == WORKED_OFF


@pytest.mark.parametrize("option", ["key=", "key=12", "key=" + "0" * 33, "key=" + "g" * 32])
def test_a_key_has_32_hexadecimal_digits(server, option):
    with pytest.raises(ServerError) as raised:
        Native(server, "main", option)
    assert raised.value.sqlstate == "08P01"


def test_a_key_is_used_once(server, scratch, n, k):
    for _ in range(2):
        with pytest.raises(ServerError) as raised:
            Native(server, scratch, f"key={k.key.hex()}")
        assert raised.value.sqlstate == "08P01"
        k.close()
        settled(n, k.key, 1)


def test_what_makes_no_sense_ends_the_connection(server, scratch):
    for body in (b"", bytes(23), bytes(25)):
        with Native(server, scratch) as one:
            one.send(request(native.OUTCOME, body))
            assert one.ended()["C"] == "08P01"


def test_one_may_ask_for_oneself(n, k):
    assert ask(k, k.key, 1) == (LIVE, None)
    assert settled(n, k.key, 1)[0] in (WORKED_OFF, NOT_DONE)
