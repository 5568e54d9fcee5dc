"""What reads on a replica wait for, and positions."""

import re
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from pair import Pair  # noqa: E402
from server import poll  # noqa: E402
from wire import bind, errors, execute, extended, parse, rows, sync  # noqa: E402

POSITION = re.compile(r"^\d+/[0-9a-f]{16}/[0-9a-f]{16}$")


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.fixture
def pair(module_pair):
    module_pair.join()
    module_pair.release()
    with module_pair.primary.connect() as one:
        one.ok("DROP TABLE IF EXISTS t")
        one.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    module_pair.settle()
    module_pair.release()
    yield module_pair
    module_pair.primary.check_alive()
    module_pair.replica.check_alive()


@pytest.fixture
def here(pair):
    with pair.replica.connect() as one:
        yield one


def txid(position):
    return int(position.split("/")[1], 16)


def later(client, sql):
    """The answer to `sql`, which is waited for in the background."""
    answer = {}

    def ask():
        answer["got"] = client.query(sql)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    answer["thread"] = thread
    return answer


def test_positions_are_shown_on_both_sides(pair, here):
    with pair.primary.connect() as there:
        there.ok("INSERT INTO t VALUES (1, 'a')")
        first = there.value("SHOW sqld.position")
        assert POSITION.match(first)
        there.ok("INSERT INTO t VALUES (2, 'b')")
        assert txid(there.value("SHOW sqld.position")) > txid(first)
    here.ok("INSERT INTO t VALUES (3, 'c')")
    assert POSITION.match(here.value("SHOW sqld.position"))
    assert rows(here.ask(extended("SHOW sqld.position")))


def test_a_read_waits_for_the_sessions_own_write(pair, here):
    pair.hold()
    here.ok("INSERT INTO t VALUES (1, 'a')")
    answer = later(here, "SELECT count(*) FROM t")
    answer["thread"].join(0.3)
    assert "got" not in answer
    pair.release()
    answer["thread"].join(20)
    assert rows(answer["got"]) == [("1",)]


def test_a_read_waits_by_the_extended_protocol_too(pair, here):
    pair.hold()
    here.ask(extended("INSERT INTO t VALUES (1, 'a')"))
    here.send(extended("SELECT count(*) FROM t"), sync())
    with pytest.raises(TimeoutError):
        here.recv(0.3)
    pair.release()
    assert rows(here.until_ready()) == [("1",)]


def test_a_session_that_has_written_nothing_waits_for_nothing(pair, here):
    pair.hold()
    with pair.primary.connect() as there:
        there.ok("INSERT INTO t VALUES (1, 'a')")
    here.ok("SELECT count(*) FROM t")


def test_a_wait_ends_with_an_error_or_at_the_primary(pair, here):
    pair.hold()
    here.ok("SET sqld.replica_wait_timeout = 50")
    here.ok("INSERT INTO t VALUES (1, 'a')")
    assert here.fails("SELECT count(*) FROM t")["C"] == "55000"
    assert errors(here.ask(extended("SELECT count(*) FROM t"))) == ["55000"]
    here.ok("SET sqld.consistency = local; SELECT count(*) FROM t")
    here.ok("SET sqld.consistency = session; SET sqld.replica_wait_action = delegate")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]
    assert rows(here.ask(extended("SELECT count(*) FROM t"))) == [("1",)]


def test_a_wait_heeds_cancel_requests_and_time_limits(pair, here):
    pair.hold()
    here.ok("INSERT INTO t VALUES (1, 'a')")
    here.ok("SET statement_timeout = 100")
    assert here.fails("SELECT count(*) FROM t")["C"] == "57014"
    here.ok("SET statement_timeout = 0")
    answer = later(here, "SELECT count(*) FROM t")
    while answer["thread"].is_alive():
        here.cancel()
        answer["thread"].join(0.05)
    assert errors(answer["got"]) == ["57014"]


def test_reads_of_a_delegated_transaction_count_as_seen(pair, here):
    pair.hold()
    with pair.primary.connect() as there:
        there.ok("INSERT INTO t VALUES (1, 'a')")
    here.ok("BEGIN")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]
    here.ok("COMMIT; SET sqld.replica_wait_timeout = 50")
    assert here.fails("SELECT count(*) FROM t")["C"] == "55000"


def test_a_position_is_carried_to_another_session(pair, here):
    pair.hold()
    here.ok("INSERT INTO t VALUES (1, 'a')")
    position = here.value("SHOW sqld.position")
    with pair.replica.connect() as other:
        other.ok("SET sqld.replica_wait_timeout = 50")
        other.ok("SELECT count(*) FROM t")
        other.ok(f"SET sqld.min_position = '{position}'")
        assert other.fails("SELECT count(*) FROM t")["C"] == "55000"
        pair.release()
        other.ok("SET sqld.replica_wait_timeout = 10000")
        assert other.ok("SELECT count(*) FROM t") == [("1",)]
        other.ok("SET sqld.min_position = ''")
        assert other.fails("SET sqld.min_position = 'nonsense'")["C"] == "22023"


def test_positions_on_a_primary(pair):
    position = pair.position()
    with pair.primary.connect(options=f"-c sqld.min_position={position}") as there:
        assert there.ok("SELECT count(*) FROM t") == [("0",)]
        assert rows(there.ask(extended("SELECT count(*) FROM t"))) == [("0",)]
        there.ok("SET sqld.consistency = strong")
        assert there.ok("SELECT count(*) FROM t") == [("0",)]
        timeline, txid, checksum = position.split("/")
        there.ok(f"SET sqld.min_position = '{timeline}/{int(txid, 16) + 1000:x}/{checksum}'")
        assert there.fails("SELECT count(*) FROM t")["C"] == "55000"


def test_another_history_is_an_error(pair, here):
    here.ok("SET sqld.min_position = '70/1/0'; SET sqld.replica_wait_timeout = 50")
    assert here.fails("SELECT 1")["C"] == "55000"
    here.ok("RESET sqld.min_position")
    assert here.ok("SELECT 1") == [("1",)]


def test_strong_reads_ask_the_primary(pair, here):
    here.ok("SET sqld.consistency = strong")
    assert here.ok("SELECT count(*) FROM t") == [("0",)]
    pair.hold()
    with pair.primary.connect() as there:
        there.ok("INSERT INTO t VALUES (1, 'a')")
    here.ok("SET sqld.replica_wait_timeout = 50")
    assert here.fails("SELECT count(*) FROM t")["C"] == "55000"
    pair.release()
    here.ok("SET sqld.replica_wait_timeout = 10000")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]
    assert rows(here.ask(parse("SELECT count(*) FROM t"), bind(), execute())) == [("1",)]


def test_strong_reads_need_the_primary(pair, here):
    here.ok("SET sqld.consistency = strong")
    pair.part()
    poll(lambda: errors(here.query("SELECT 1")) == ["08006"], "the primary cannot be reached")
    here.ok("SET sqld.consistency = session")
    assert here.ok("SELECT 1") == [("1",)]


def test_bounded_reads(pair, here):
    here.ok("SET sqld.consistency = bounded(500); SET sqld.replica_wait_timeout = 50")
    assert here.value("SHOW sqld.consistency") == "bounded(500)"
    poll(lambda: not errors(here.query("SELECT 1")), "it is young enough")
    pair.hold()
    poll(lambda: errors(here.query("SELECT 1")) == ["55000"], "it is too old")
    here.ok("SET sqld.replica_wait_action = delegate")
    assert here.ok("SELECT 1") == [("1",)]
    for value in ("bounded()", "bounded(x)", "bounded(1", "strong(1)", "bounded(99999999999)"):
        assert here.fails(f"SET sqld.consistency = '{value}'")["C"] == "22023"


def test_reads_go_on_without_the_primary_and_writes_fail_at_once(pair, here):
    pair.part()
    before = time.monotonic()
    assert here.ok("SELECT count(*) FROM t") == [("0",)]
    got = here.fails("INSERT INTO t VALUES (1, 'a')")
    assert got["C"] == "08006" and "primary" in got["M"]
    assert errors(here.ask(extended("INSERT INTO t VALUES (1, 'a')"))) == ["08006"]
    assert here.fails("BEGIN")["C"] == "08006"
    assert time.monotonic() - before < 10
    pair.join()
    poll(lambda: not errors(here.query("INSERT INTO t VALUES (1, 'a')")), "the primary can be reached again")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]


# ---------------------------------------------------------------- transactions that move
def test_a_transaction_moves_with_its_first_write(pair, here):
    here.ok("SET sqld.replica_transactions = move")
    pair.settle()
    with pair.primary.connect() as there:
        before = len(pair.proxy.connections)
        here.ok("BEGIN")
        assert here.ok("SELECT count(*) FROM t") == [("0",)]
        assert len(pair.proxy.connections) == before
        here.ok("SAVEPOINT a; SET LOCAL lock_timeout = 5; SET myapp.x = 'y'")
        here.ok("INSERT INTO t VALUES (1, 'a')")
        assert here.value("SHOW lock_timeout") == "5ms" and here.value("SHOW myapp.x") == "y"
        here.ok("SAVEPOINT b; INSERT INTO t VALUES (2, 'b'); ROLLBACK TO b")
        assert there.ok("SELECT count(*) FROM t") == [("0",)]
        assert here.query("COMMIT")[-1].status() == "I"
        assert there.ok("SELECT id FROM t") == [("1",)]
        assert here.value("SHOW lock_timeout") == "0" and here.value("SHOW myapp.x") == "y"


def test_a_transaction_that_has_become_too_old_does_not_move(pair, here):
    here.ok("SET sqld.replica_transactions = move")
    pair.settle()
    with pair.primary.connect() as there:
        here.ok("BEGIN")
        assert here.ok("SELECT count(*) FROM t") == [("0",)]
        there.ok("INSERT INTO t VALUES (1, 'a')")
        assert here.fails("INSERT INTO t VALUES (2, 'b')")["C"] == "40001"
        assert errors(here.ask(extended("INSERT INTO t VALUES (2, 'b')"))) == ["40001"]
        here.ok("ROLLBACK")
        there.ok("INSERT INTO t VALUES (3, 'c')")  # the lock is free
    here.ok("BEGIN; INSERT INTO t VALUES (2, 'b'); COMMIT")
    pair.release()
    assert here.ok("SELECT id FROM t") == [("1",), ("2",), ("3",)]


def test_a_transaction_that_has_only_read_stays(pair, here):
    here.ok("SET sqld.replica_transactions = move")
    before = len(pair.proxy.connections)
    here.ok("BEGIN; SELECT * FROM t; COMMIT")
    assert len(pair.proxy.connections) == before


def test_a_cursor_of_a_transaction_that_has_moved(pair, here):
    with pair.primary.connect() as there:
        there.ok("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    pair.settle()
    here.ok("SET sqld.replica_transactions = move")
    here.ok("BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id")
    assert here.ok("FETCH 1 FROM c") == [("1",)]
    here.ok("INSERT INTO t VALUES (10, 'x')")
    assert here.ok("FETCH 1 FROM c") == [("2",)]
    assert here.ok("SELECT count(*) FROM t") == [("4",)]
    here.ok("COMMIT")
    pair.release()
    assert here.fails("FETCH 1 FROM c")["C"] == "34000"
    assert here.ok("SELECT count(*) FROM t") == [("4",)]


def test_a_moved_transaction_by_the_extended_protocol(pair, here):
    pair.settle()
    with pair.primary.connect() as there:
        here.ok("SET sqld.replica_transactions = move; BEGIN")
        assert rows(here.ask(extended("SELECT count(*) FROM t"))) == [("0",)]
        assert errors(here.ask(extended("INSERT INTO t VALUES ($1, 'a')", (1,)))) == []
        assert rows(here.ask(extended("SELECT count(*) FROM t"))) == [("1",)]
        here.ask(extended("COMMIT"))
        assert there.ok("SELECT count(*) FROM t") == [("1",)]


def test_a_read_only_transaction_that_is_told_otherwise_moves(pair, here):
    pair.settle()
    here.ok("BEGIN READ ONLY; SELECT * FROM t; SET TRANSACTION READ WRITE; INSERT INTO t VALUES (1, 'a'); COMMIT")
    with pair.primary.connect() as there:
        assert there.ok("SELECT count(*) FROM t") == [("1",)]
        pair.settle()
        here.ok("BEGIN READ ONLY; SELECT * FROM t; SET TRANSACTION READ WRITE")
        there.ok("INSERT INTO t VALUES (2, 'b')")
        assert here.fails("INSERT INTO t VALUES (3, 'c')")["C"] == "40001"


# ---------------------------------------------------------------- what must not slip through
def test_nothing_writes_here(pair, here):
    here.ok("SET default_transaction_read_only = on")
    for sql in ("INSERT INTO t VALUES (1, 'a')", "CREATE TABLE u(a)", "PRAGMA user_version = 3", "VACUUM", "ANALYZE"):
        assert here.fails(sql)["C"] in ("25006", "42501"), sql
    assert here.fails("SELECT pg_notify('a', 'b')")["C"] == "25006"
    here.ok("RESET default_transaction_read_only")
    with pair.primary.connect() as there:
        assert there.ok("SELECT count(*) FROM t") == [("0",)]
