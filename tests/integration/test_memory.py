"""The memory ceiling: who asks for too much is told so, others go on, and memory that is given back is there again."""

import struct
import threading

import pytest

import wire
from server import poll
from wire import bind, copy_data, copy_done, errors, execute, parse, query

MB = 1 << 20
LIMIT = 64 * MB
# A result that SQLite builds in memory, in one value: so many megabytes, and somewhat more while it grows.
BIG = "SELECT length(hex(zeroblob({} * 524288)))"


@pytest.fixture
def small(start):
    return start("--memory-limit", LIMIT, "--max-connections", 200, "--max-portals", 10000)


def memory(client):
    return {row[0]: int(row[1]) for row in client.ok("SHOW memory")}


def test_show_memory_tells_the_limit_and_what_is_used(small):
    with small.connect() as c:
        c.ok("SELECT 1")
        told = memory(c)
    assert told["limit"] == LIMIT and 0 < told["used"] < LIMIT
    assert told["page cache of a connection"] == LIMIT // 2 // 200


def test_by_default_there_is_a_limit(client):
    assert memory(client)["limit"] > 16 * MB


def test_a_statement_that_needs_too_much_fails_and_only_that(small):
    with small.connect() as c, small.connect() as other:
        assert c.ok(BIG.format(10)) == [(str(10 * MB),)]
        for _ in range(3):
            error = c.fails(BIG.format(100))
            assert error["C"] == "53200" and error["S"] == "ERROR" and f"memory-limit is {LIMIT}" in error["H"]
            assert other.ok("SELECT 1") == [("1",)]
            assert c.ok(BIG.format(10)) == [(str(10 * MB),)]


def test_a_transaction_outlives_a_read_that_fails_for_memory(small):
    with small.connect() as c:
        c.ok("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (1)")
        assert c.fails(BIG.format(100))["C"] == "53200"
        c.ok("INSERT INTO t VALUES (2); COMMIT")
        assert c.ok("SELECT a FROM t") == [("1",), ("2",)]


def fill(client):
    """Holds memory, in open portals with parameters, until there is no more; what the refusal says. Small ones: a reserve
    is kept from large ones only."""
    client.ok("BEGIN")
    client.ask(parse("SELECT length($1)", name="s"))
    for i in range(LIMIT // 15000):
        got = client.ask(bind(["x" * 15000], stmt="s", portal=f"p{i}"))
        if errors(got):
            return errors(got)
    raise AssertionError("memory without end")


def test_while_memory_is_short_nothing_new_is_begun_and_then_it_is(small):
    early = small.connect()
    early.ok("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (1)")
    holder = small.connect()
    assert fill(holder) == ["53200"]
    with pytest.raises(wire.ServerError) as refusal:
        small.connect()
    assert refusal.value.sqlstate == "53300" and refusal.value.fields["S"] == "FATAL"
    assert "memory" in refusal.value.fields["M"] and "memory-limit" in refusal.value.fields["H"]
    assert early.fails("SELECT 1")["C"] == "53200"
    assert memory(early)["used"] > LIMIT * 14 // 16
    early.ok("COMMIT")  # what has begun may end
    holder.close()
    poll(lambda: errors(early.query("SELECT count(*) FROM t")) == [], "memory that was given back can be used")
    with small.connect() as late:
        assert late.ok("SELECT a FROM t") == [("1",)]
    early.close()


def test_a_message_that_does_not_fit_ends_its_connection_only(small):
    with small.connect() as c, small.connect() as other:
        # Announced, and begun: the server may refuse it, and close, before all of it has been sent.
        c.send(b"Q" + struct.pack("!I", 100 * MB) + b"SELECT '" + b"x" * MB)
        try:
            while True:
                c.send(b"x" * MB)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert other.ok("SELECT 1") == [("1",)]
        poll(lambda: memory(other)["used"] < LIMIT // 4, "the message's memory is given back")
    small.wait_log("no memory for input")


def test_many_greedy_sessions_harm_nobody(small):
    """Every statement succeeds or fails with 53200, the server lives, and afterwards nothing is missing."""
    with small.connect() as setup:
        setup.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, b)")
    outcomes, failures, stop = [], [], threading.Event()

    def greedy(seed):
        with small.connect() as c:
            for i in range(12):
                outcomes.append(tuple(errors(c.query(BIG.format(5 + (seed * 7 + i * 5) % 40)))))
                got = c.query(f"INSERT INTO t(b) SELECT zeroblob({(seed + i) % 5 + 1} * 1000000)")
                outcomes.append(tuple(errors(got)))

    def modest():
        with small.connect() as c:
            while not stop.is_set():
                got = c.query("SELECT count(*) FROM t")
                outcomes.append(tuple(errors(got)))

    def run(work, *args):
        try:
            work(*args)
        except wire.ServerError as e:
            outcomes.append((e.sqlstate,))
        except Exception as e:  # noqa: BLE001 - handed to the test below
            failures.append(e)

    readers = [threading.Thread(target=run, args=(modest,)) for _ in range(2)]
    writers = [threading.Thread(target=run, args=(greedy, i)) for i in range(8)]
    for t in readers + writers:
        t.start()
    for t in writers:
        t.join()
    stop.set()
    for t in readers:
        t.join()
    assert not failures
    assert set(outcomes) <= {(), ("53200",), ("53300",)}, set(outcomes)
    assert ("53200",) in outcomes and () in outcomes
    with small.connect() as c:
        poll(lambda: memory(c)["used"] < LIMIT // 4, "everything is given back")
        assert c.value("PRAGMA integrity_check") == "ok"
        c.ok("INSERT INTO t(b) VALUES (1)")


def test_copy_and_parameters_obey_too(small):
    with small.connect() as c:
        c.ok("CREATE TABLE t(a)")
        got = c.ask(parse("SELECT length(hex($1) || hex($1) || hex($1))"), bind(["x" * (8 * MB)]), execute())
        assert errors(got) == ["53200"]
        c.send(query("COPY t FROM STDIN"))
        c.until("G")
        c.send(copy_data(b"1\n2\n"), copy_done())
        assert errors(c.until_ready()) == []
        assert c.ok("SELECT a FROM t") == [("1",), ("2",)]


def test_connections_of_a_role_and_to_a_database_are_limited(start):
    server = start("--max-connections-per-role", 2, "--max-connections-per-database", 3)
    with server.connect() as c:
        c.ok("CREATE DATABASE shop")
    sessions = []

    def refused(database, user):
        try:
            sessions.append(server.connect(database=database, user=user))
        except wire.ServerError as refusal:
            assert refusal.fields["S"] == "FATAL" and refusal.sqlstate == "53300"
            return refusal.fields["M"]
        return None

    poll(lambda: refused("main", "alice") is None, "the first session has gone")
    assert refused("shop", "alice") is None
    assert refused("shop", "alice") == 'too many connections for role "alice"'
    assert refused("main", "bob") is None
    assert refused("main", "carol") is None
    assert refused("main", "carol") == 'too many connections for database "main"'
    assert refused("shop", "carol") is None
    sessions.pop(0).bye()
    poll(lambda: refused("main", "alice") is None, "the freed place can be taken")
    for one in sessions:
        assert one.ok("SELECT 1") == [("1",)]
        one.close()
