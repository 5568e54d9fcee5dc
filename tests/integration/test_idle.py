"""Idle sessions give back what they can have again, and nobody notices. Many of them need little memory; many that come and
go leave nothing behind."""

import resource

import pytest

from server import MEMORY_FACTOR, poll
from wire import Wire, bind, describe_statement, execute, parse, rows, tags

SOON = ("--idle-connection-timeout", "100ms")


def metric(client, name):
    return int({row[0]: row[1] for row in client.ok("SHOW metrics")}[name])


def wait_rested(server, count=1):
    """Waits until sessions have rested `count` times more than now. The look itself is a session of its own."""
    with server.connect() as looker:
        before = metric(looker, "sqld_sessions_rested_total")
        poll(lambda: metric(looker, "sqld_sessions_rested_total") >= before + count, "the session rests")


@pytest.fixture
def rested(start):
    """(server, client): the client's session rests after rest()."""
    server = start(*SOON)
    with server.connect() as client:
        client.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        yield server, client


def connections(server):
    with server.connect() as looker:
        return metric(looker, "sqld_database_connections")


# ---- nothing is noticed


def test_a_session_goes_on_after_a_rest(rested):
    server, client = rested
    client.ok("SET application_name = 'sleeper'")
    for _ in range(3):
        wait_rested(server)
        assert client.ok("SELECT a FROM t WHERE id = 1") == [("one",)]
        assert client.value("SHOW application_name") == "sleeper"


def test_prepared_statements_outlive_a_rest(rested):
    server, client = rested
    client.ask(parse("SELECT a FROM t WHERE id = $1", name="read"), describe_statement("read"))
    client.ask(parse("UPDATE t SET a = $1 WHERE id = $2", name="write"))
    client.ask(parse("SELECT count(*) FROM t"))
    client.ok("PREPARE p(int) AS SELECT a FROM t WHERE id = $1")
    wait_rested(server)
    assert rows(client.ask(bind(["2"], stmt="read"), execute())) == [("two",)]
    assert tags(client.ask(bind(["zwei", "2"], stmt="write"), execute())) == ["UPDATE 1"]
    assert client.ok("EXECUTE p(2)") == [("zwei",)]
    wait_rested(server)
    got = client.ask(describe_statement("read"))
    assert [(c["name"], c["oid"]) for c in got[1].columns()] == [("a", 25)]


def test_a_prepared_statement_whose_table_changed_during_a_rest(rested):
    server, client = rested
    client.ask(parse("SELECT * FROM t WHERE id = 1", name="told"), describe_statement("told"))
    client.ask(parse("SELECT * FROM t WHERE id = 1", name="untold"))
    wait_rested(server)
    with server.connect() as other:
        other.ok("ALTER TABLE t ADD COLUMN b DEFAULT 3")
    got = client.ask(bind(stmt="told"), execute())
    assert got[-2].sqlstate() == "0A000"
    assert rows(client.ask(bind(stmt="untold"), execute())) == [("1", "one", "3")]


def test_what_was_written_can_be_asked_for_after_a_rest(rested):
    server, client = rested
    client.ok("INSERT INTO t VALUES (40, 'x'), (41, 'y'), (42, 'z')")
    client.ok("UPDATE t SET a = 'w' WHERE id > 40")
    seen = client.ok("SELECT last_insert_rowid(), changes(), total_changes()")
    assert seen == [("42", "2", "7")]
    for _ in range(2):
        wait_rested(server)
        assert client.ok("SELECT last_insert_rowid(), changes(), total_changes()") == seen
    client.ok("INSERT INTO t VALUES (50, 'v')")
    assert client.ok("SELECT last_insert_rowid(), changes(), total_changes()") == [("50", "1", "8")]
    # and it is nobody else's
    with server.connect() as other:
        assert other.ok("SELECT last_insert_rowid(), changes(), total_changes()") == [("0", "0", "0")]


@pytest.mark.parametrize(
    "make, look, expected",
    [
        ("CREATE TEMP TABLE x AS SELECT 5 AS v", "SELECT v FROM x", "5"),
        ("CREATE TEMP VIEW x AS SELECT 6 AS v", "SELECT v FROM x", "6"),
        ("PRAGMA case_sensitive_like = 1", "SELECT 'a' LIKE 'A'", "0"),
        ("PRAGMA recursive_triggers = 1", "PRAGMA recursive_triggers", "1"),
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", "0"),
        ("ATTACH ':memory:' AS m; CREATE TABLE m.x AS SELECT 7 AS v", "SELECT v FROM m.x", "7"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t; FETCH 1 FROM c", "FETCH 1 FROM c", "2"),
    ],
)
def test_a_session_with_something_of_its_own_keeps_its_connection(rested, make, look, expected):
    server, client = rested
    client.ok(make)
    wait_rested(server)
    assert client.value(look) == expected


def test_a_transaction_does_not_rest(rested):
    server, client = rested
    client.ok("BEGIN; INSERT INTO t VALUES (9, 'nine')")
    with server.connect() as other:
        other.ok("SELECT 1")
        wait_rested(server)
    assert client.ok("SELECT a FROM t WHERE id = 9") == [("nine",)]
    client.ok("COMMIT")


def test_a_connection_that_another_session_had_is_as_new(start):
    server = start(*SOON, "--idle-connections", "1")
    reused = 'sqld_database_connections_total{from="reused"}'
    with server.connect() as first:
        first.ok("SELECT 1")
        before = metric(first, reused)
    for database in ("main",):
        for _ in range(5):
            with server.connect(user="ann", database=database) as client:
                assert client.ok("SELECT current_user, changes(), last_insert_rowid()") == [("ann", "0", "0")]
                client.bye()
            with server.connect(user="bob", database=database) as client:
                assert client.ok("SELECT current_user, total_changes()") == [("bob", "0")]
                pid = client.value("SELECT pg_backend_pid()")
                assert pid == str(client.pid)
                client.bye()
    with server.connect() as client:
        assert metric(client, reused) > before


def test_a_database_whose_connections_wait_can_be_dropped(start):
    server = start()
    with server.connect() as client:
        client.ok("CREATE DATABASE d")
        for _ in range(3):
            with server.connect(database="d") as other:
                other.ok("SELECT 1")
                other.bye()
        client.ok("ALTER DATABASE d RENAME TO e")
        with server.connect(database="e") as other:
            other.ok("SELECT 1")
            other.bye()
        client.ok("DROP DATABASE e")
        assert client.fails("ATTACH 'e' AS e")["C"] == "3D000"


def test_0_keeps_everything(start):
    server = start("--idle-connection-timeout", "0")
    with server.connect() as client, server.connect() as other:
        client.ok("SELECT 1")
        other.ok("SELECT 1")
        assert metric(client, "sqld_database_connections") == 2
        assert metric(client, "sqld_sessions_rested_total") == 0


# ---- many of them

IDLE = 1000
CHURN = 3000


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE * 2 + 200:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_sessions_need_little_memory(start, descriptors):
    server = start("--max-connections", str(IDLE + 10), "--idle-connections", "16")
    with server.connect() as looker:
        looker.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'one')")
        for _ in range(50):
            looker.ok("SELECT a FROM t WHERE id = 1")
        before = server.rss_kb()
        clients = []
        try:
            for i in range(IDLE):
                clients.append(Wire(server.port))
                clients[-1].ask(parse("SELECT a FROM t WHERE id = $1", name="s"), bind(["1"], stmt="s"), execute())
                assert clients[-1].ok("SELECT a FROM t WHERE id = 1") == [("one",)]
            poll(lambda: metric(looker, "sqld_database_connections") <= 2 * 16 + 1, "connections are given back")
            assert server.fd_count() < 2 * IDLE
            # 200 MB for 10,000 sessions are 20 kB for each one; some connections are kept
            poll(lambda: server.rss_kb() - before < 20 * IDLE + 32 * 150, "memory is given back")
            # each of them works
            for client in clients[:: IDLE // 50]:
                assert rows(client.ask(bind(["1"], stmt="s"), execute())) == [("one",)]
        finally:
            for client in clients:
                client.close()


def test_sessions_that_come_and_go_leave_nothing(start):
    server = start()

    def round_of(count):
        for i in range(count):
            with server.connect() as client:
                if i % 4 == 0:
                    client.ok("INSERT INTO t(a) VALUES ('x')")
                else:
                    client.ok("SELECT a FROM t WHERE id = 1")
                if i % 2:
                    client.bye()

    with server.connect() as looker:
        looker.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")
        round_of(CHURN // 3)
        poll(lambda: metric(looker, "sqld_connections") == 1, "sessions have ended")
        memory, files, threads = server.rss_kb(), server.fd_count(), server.status("Threads")
        round_of(CHURN - CHURN // 3)
        poll(lambda: metric(looker, "sqld_connections") == 1, "sessions have ended")
        assert looker.value("SELECT count(*) FROM t") == str(sum(-(-n // 4) for n in (CHURN // 3, CHURN - CHURN // 3)))
        poll(lambda: server.fd_count() <= files + 8, "files are closed")
        assert server.status("Threads") <= threads + 2
        # a leak of a kilobyte for each session would be seen; sanitizers keep what was freed, and look for leaks themselves
        if MEMORY_FACTOR == 1:
            assert server.rss_kb() - memory < CHURN - CHURN // 3


# ---- descriptors


def test_the_limit_of_open_files_is_raised(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        server = start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with open(f"/proc/{server.process.pid}/limits") as limits:
        (line,) = [line for line in limits if line.startswith("Max open files")]
    assert line.split()[3:5] == [str(hard), str(hard)]
    assert f"limit={hard} " in server.wait_log('msg="open files"')


def test_a_limit_that_is_too_low_is_said(start):
    server = start("--max-connections", "5000", limits={resource.RLIMIT_NOFILE: 2000})
    line = server.wait_log("the limit of open files is too low for max-connections")
    assert "WARN" in line and "limit=2000 " in line and "max_connections=5000" in line
