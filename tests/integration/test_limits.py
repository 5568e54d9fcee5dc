"""Every limit below, at and above it; over it comes a clear error, never a hang, and others go on."""

import os
import resource
import struct
import time

import pytest

import wire
from server import poll
from wire import bind, describe_statement, errors, execute, kinds, msg, parse, query, sync


def test_max_connections_is_53300_and_heals(start):
    server = start("--max-connections", 5)
    sessions = [server.connect() for _ in range(5)]
    with pytest.raises(wire.ServerError) as refusal:
        server.connect()
    assert refusal.value.sqlstate == "53300" and refusal.value.fields["S"] == "FATAL"
    # a cancel request needs no place
    sessions[0].cancel()
    sessions.pop().bye()

    def again():
        try:
            server.connect().close()
            return True
        except wire.ServerError:
            return False

    poll(again, "the freed place can be taken")
    for s in sessions:
        assert s.ok("SELECT 1") == [("1",)]
        s.close()


def test_silent_clients_are_closed_after_the_authentication_timeout(start):
    server = start("--authentication-timeout", "300ms")
    with server.connect(startup=False) as silent, server.connect(startup=False) as slow:
        slow.send(struct.pack("!I", 100))
        for c in (silent, slow):
            began = time.monotonic()
            assert all(m.kind == "E" for m in c.drain())
            assert time.monotonic() - began < 20
    with server.connect() as c:
        assert c.ok("SELECT 1") == [("1",)]


def test_message_size_limit(start):
    server = start("--max-message-size", "65536")
    with server.connect() as c:
        at = "SELECT '" + "x" * (65536 - 1 - 4 - 1 - len("SELECT ''")) + "'"
        got = c.query(at)
        assert kinds(got) == "TDCZ"
        c.send(msg("Q", b"SELECT '" + b"y" * 70000 + b"'\0"))
        got = c.drain()
        assert (
            kinds(got) == "E" and got[0].sqlstate() in ("08P01", "54000", "53400") and got[0].fields()["S"] == "FATAL"
        )
    with server.connect() as c:
        assert c.ok("SELECT 1") == [("1",)]


def test_row_size_limit(start):
    server = start("--max-row-size", "65536")
    with server.connect() as c:
        assert kinds(c.query("SELECT hex(zeroblob(30000))")) == "TDCZ"
        got = c.query("SELECT hex(zeroblob(40000))")
        assert errors(got) == ["54000"] and kinds(got) in ("TEZ", "EZ")
        assert c.ok("SELECT 1") == [("1",)]


def test_prepared_statement_limit(start):
    server = start("--max-prepared-statements", 10)
    with server.connect() as c:
        for n in range(10):
            assert kinds(c.ask(parse("SELECT 1", name=f"s{n}"))) == "1Z"
        got = c.ask(parse("SELECT 1", name="one_more"))
        assert errors(got) and errors(got)[0][:2] in ("53", "54")
        assert kinds(c.ask(wire.close_statement("s0"), parse("SELECT 1", name="one_more"))) == "31Z"
        assert kinds(c.ask(parse("SELECT 2"), bind(), execute())) == "12DCZ"  # the unnamed one needs no place


def test_portal_limit(start):
    server = start("--max-portals", 10)
    with server.connect() as c:
        c.ok("BEGIN")
        c.ask(parse("SELECT 1", name="s"))
        for n in range(10):
            assert kinds(c.ask(bind(stmt="s", portal=f"p{n}"))) == "2Z"
        got = c.ask(bind(stmt="s", portal="one_more"))
        assert errors(got) and errors(got)[0][:2] in ("53", "54")
        assert kinds(c.ask(wire.close_portal("p0"), bind(stmt="s", portal="one_more"))) == "32Z"
        c.ok("ROLLBACK")


@pytest.mark.parametrize("count", [1, 999, 32766])
def test_many_parameters(client, count):
    sql = "SELECT " + " + ".join(f"CAST(${n + 1} AS INTEGER)" for n in range(min(count, 900)))
    if count > 900:
        sql = f"SELECT ${count}"
    got = client.ask(parse(sql), describe_statement(), bind(["1"] * count), execute())
    assert kinds(got) == "1tT2DCZ" and len(got[1].oids()) == count


def test_parameter_number_over_the_protocols_limit(client):
    for sql in ("SELECT $65536", "SELECT $99999999999", "SELECT $0"):
        got = client.ask(parse(sql))
        assert kinds(got) == "EZ" and errors(got)[0] in ("54000", "42P02", "42601", "54023"), (sql, got)
    assert client.ok("SELECT 1") == [("1",)]


def test_long_statement_text(client):
    text = "x" * (8 << 20)
    assert client.value(f"SELECT length('{text}')") == str(len(text))


def test_long_names_of_statements_and_portals(client):
    """A cursor's name has PostgreSQL's limit of 63 bytes; a statement's has none of its own."""
    statement, portal = "n" * 10000, "p" * 63
    got = client.ask(parse("SELECT 1", name=statement), bind(stmt=statement, portal=portal), execute(portal))
    assert kinds(got) == "12DCZ"
    assert errors(client.ask(bind(stmt=statement, portal=portal + "p"))) == ["42622"]
    assert kinds(client.ask(wire.close_statement(statement))) == "3Z"


def test_memory_of_a_session_is_given_back(server):
    before = server.rss_kb()
    with server.connect() as c:
        for n in range(2000):
            c.send(parse(f"SELECT {n}, '{'y' * 500}'", name=f"s{n}"))
        c.send(sync())
        c.until_ready()
        c.bye()
    with server.connect() as c:
        c.ok("SELECT 1")
    assert server.rss_kb() - before < 128 * 1024


def test_log_lines_are_bounded(server, client):
    """A client cannot fill the log with one message."""
    client.fails("SELECT broken -- " + "z" * (1 << 20))
    client.ok("SELECT 1")
    assert max(map(len, server.lines), default=0) < 64 * 1024


def test_output_buffer_pauses_a_statement_and_resumes_it(start):
    server = start("--output-buffer-size", "8192")
    with server.connect(rcvbuf=4096) as c:
        c.send(
            query(
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) "
                "SELECT n, hex(zeroblob(200)) FROM s"
            )
        )
        got = c.until_ready()
        assert kinds(got) == "T" + "D" * 20000 + "CZ"


def test_file_size_limit_fails_the_statement_and_nothing_else(start):
    """What a full disk does, without filling one."""
    server = start(limits={resource.RLIMIT_FSIZE: 400000})
    with server.connect() as c:
        c.ok("CREATE TABLE t(a)")
        kept = 0
        while not (got := errors(c.query("INSERT INTO t SELECT hex(randomblob(50000))"))):
            kept += 1
            assert kept < 100
        assert got[0] in ("53100", "58030")
        assert c.value("SELECT count(*) FROM t") == str(kept) and c.value("PRAGMA integrity_check") == "ok"
    server.stop()
    server.limits = {}
    server.restart()
    with server.connect() as c:
        assert c.value("SELECT count(*) FROM t") == str(kept)
        c.ok("INSERT INTO t SELECT hex(randomblob(500000))")


def test_descriptor_limit_makes_clients_wait_not_the_server_fail(start):
    server = start(limits={resource.RLIMIT_NOFILE: 48})
    sessions = []
    while len(sessions) < 48:
        try:
            c = server.connect(timeout=1)
            sessions.append(c)
            c.query("SELECT count(*) FROM sqlite_schema")
        except (TimeoutError, wire.Closed, wire.ServerError, ConnectionError):
            break
    assert len(sessions) < 48
    for c in sessions:
        c.close()

    def works():
        try:
            with server.connect(timeout=1) as c:
                return c.ok("SELECT 1") == [("1",)]
        except (TimeoutError, wire.Closed, wire.ServerError, ConnectionError, AssertionError):
            return False

    poll(works, "clients are served again", timeout=30)


@pytest.mark.skipif(
    bool(os.environ.get("SQLD_TEST_SANITIZE")), reason="sanitizers reserve more memory than any limit allows"
)
def test_memory_limit_fails_the_statement_and_nothing_else(start):
    server = start(limits={resource.RLIMIT_AS: 700 << 20})
    with server.connect() as c:
        assert errors(c.query("SELECT length(hex(zeroblob(400000000)))")) == ["53200"]
        assert c.ok("SELECT 1") == [("1",)]
        try:  # a message that does not fit into memory costs the connection, with or without a word
            c.send(
                wire.parse("SELECT length($1)", oids=[wire.BYTEA]),
                bind([b"x" * (400 << 20)], param_formats=[1]),
                execute(),
                sync(),
            )
            c.until_ready()
        except (wire.Closed, ConnectionError):
            pass
    with server.connect() as c:
        assert c.ok("SELECT 1") == [("1",)]
