"""A replica's sessions with much to carry: memory, back-pressure, cancel requests, many at a time."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from pair import Pair  # noqa: E402
from server import poll  # noqa: E402
from wire import copy_data, copy_done, errors, execute, extended, flush, parse, bind, query, rows, sync, tags  # noqa: E402

MB = 1 << 20
NUMBERS = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.fixture
def pair(module_pair):
    with module_pair.primary.connect() as one:
        one.ok("DROP TABLE IF EXISTS t")
        one.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    yield module_pair
    module_pair.primary.check_alive()
    module_pair.replica.check_alive()


@pytest.fixture
def here(pair):
    with pair.replica.connect() as one:
        yield one


def sessions_at(server):
    """Sessions of others than the one that asks."""
    with server.connect() as one:
        return [row for row in one.ok("SHOW connections") if row[0] != str(one.pid)]


def test_a_large_answer_takes_no_memory(pair):
    with pair.replica.connect(rcvbuf=1 << 16) as here:
        here.ok("BEGIN")
        before, most = pair.replica.rss_kb(), 0
        here.send(query(NUMBERS.format(150) + f" SELECT i, zeroblob({MB // 2}) FROM n"))
        got = 0
        for count in range(10000):
            m = here.recv()
            got += len(m.body)
            if count % 20 == 0:
                most = max(most, pair.replica.rss_kb())
            if m.kind == "Z":
                break
        assert got > 100 * MB
        assert most - before < 40 * 1024
        here.ok("COMMIT")


def test_a_client_that_does_not_read_stops_the_primary(pair):
    with pair.replica.connect(rcvbuf=1 << 16) as here:
        here.ok("BEGIN")
        here.send(query(NUMBERS.format(100000) + " SELECT i, hex(zeroblob(1000)) FROM n"))
        here.recv()
        poll(lambda: pair.primary.cpu_ticks() == (time.sleep(0.3), pair.primary.cpu_ticks())[1], "the primary is quiet")
        assert len(here.until_ready()) > 100000
        here.ok("COMMIT")


def test_a_large_copy_takes_no_memory(pair, here):
    before, most = pair.replica.rss_kb(), 0
    here.send(query("COPY t(name) FROM STDIN"))
    here.until("G")
    chunk = copy_data(("x" * 999 + "\n") * 64)
    for count in range(1500):
        here.send(chunk)
        if count % 100 == 0:
            most = max(most, pair.replica.rss_kb())
    here.send(copy_done())
    assert tags(here.until_ready(120)) == ["COPY 96000"]
    assert most - before < 40 * 1024


def test_a_large_value_goes_both_ways(pair, here):
    value = "y" * (8 * MB)
    got = here.ask(extended("INSERT INTO t VALUES (1, $1) RETURNING name", (value,)), timeout=60)
    assert rows(got) == [(value,)]


def test_cancel_requests_reach_the_primary(pair, here):
    here.ok("BEGIN")
    before = time.monotonic()
    here.send(query("SELECT pg_sleep(60)"))
    poll(lambda: [row for row in sessions_at(pair.primary) if row[6] == "active"], "the statement runs there")
    here.cancel()
    assert errors(here.until_ready()) == ["57014"]
    assert time.monotonic() - before < 30
    assert here.ok("SELECT 1") == [("1",)]
    here.ok("COMMIT")
    with pair.replica.connect() as other:
        here.send(extended("SELECT pg_notify('a', ''), pg_sleep(60)"), sync())
        poll(lambda: [row for row in sessions_at(pair.primary) if row[6] == "active"], "the statement runs there")
        other.ok(f"SELECT pg_cancel_backend({here.pid})")
        assert errors(here.until_ready()) == ["57014"]


def test_time_limits_hold_at_the_primary(pair, here):
    here.ok("SET statement_timeout = 200; BEGIN")
    assert here.fails("SELECT pg_sleep(60)")["C"] == "57014"
    here.ok("COMMIT")
    with pair.primary.connect() as there:
        there.ok("BEGIN IMMEDIATE")
        assert here.fails("INSERT INTO t VALUES (1, 'a')")["C"] == "57014"
        here.ok("SET statement_timeout = 0; SET lock_timeout = 200")
        assert here.fails("INSERT INTO t VALUES (1, 'a')")["C"] == "55P03"
        there.ok("ROLLBACK")
    here.ok("INSERT INTO t VALUES (1, 'a')")


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_is_gone_leaves_nothing_there(pair, how):
    with pair.primary.connect() as there:
        here = pair.replica.connect()
        here.ok("BEGIN; INSERT INTO t VALUES (1, 'a')")
        here.send(query("SELECT pg_sleep(60)"))
        poll(lambda: [row for row in sessions_at(pair.primary) if row[6] == "active"], "the statement runs there")
        if how == "reset":
            here.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a reset
        here.close()
        poll(lambda: len(sessions_at(pair.primary)) == 1, "its session there has ended")
        there.ok("INSERT INTO t VALUES (1, 'b')")


def test_a_session_that_waits_for_a_lock_ends_with_its_client(pair):
    with pair.primary.connect() as there:
        there.ok("BEGIN IMMEDIATE")
        here = pair.replica.connect()
        here.send(query("INSERT INTO t VALUES (1, 'a')"))
        poll(lambda: len(sessions_at(pair.primary)) == 2, "it waits there")
        here.close()
        poll(lambda: len(sessions_at(pair.primary)) == 1, "its session there has ended")
        there.ok("COMMIT")
        assert there.ok("SELECT count(*) FROM t") == [("0",)]


def test_many_sessions_write_at_a_time(pair):
    """More than there are threads for those that wait."""
    count, each = 100, 5
    failed = []

    def work(number):
        try:
            with pair.replica.connect() as one:
                for i in range(each):
                    got = one.query(f"INSERT INTO t(name) VALUES ('{number}/{i}') RETURNING id")
                    (key,) = rows(got)[0]
                    assert one.ok(f"SELECT name FROM t WHERE id = {key}") == [(f"{number}/{i}",)]
        except Exception as error:  # a thread's failure is the test's
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed, failed[0]
    with pair.primary.connect() as there:
        assert there.ok("SELECT count(*) FROM t") == [(str(count * each),)]


def test_sessions_at_the_primary_are_few(pair):
    """Who has only read has none; who has ended has left none."""
    with pair.replica.connect() as reader, pair.replica.connect() as writer:
        reader.ok("SELECT 1")
        writer.ok("INSERT INTO t VALUES (1, 'a')")
        poll(lambda: len(sessions_at(pair.primary)) == 1, "one session")
        writer.ok("SELECT 1")
    poll(lambda: len(sessions_at(pair.primary)) == 0, "no session")


# ---------------------------------------------------------------- drivers
def test_psycopg(pair):
    with psycopg.connect(pair.replica.dsn()) as conn:
        with conn.cursor() as cur:
            cur.execute("INSERT INTO t VALUES (%s, %s) RETURNING id", (1, "a"))
            assert cur.fetchone() == (1,)
            for i in range(2, 20):
                cur.execute("INSERT INTO t VALUES (%s, %s)", (i, "b"), prepare=True)
            cur.execute("SELECT count(*) FROM t")
            assert cur.fetchone() == (19,)
        conn.commit()
        with conn.cursor() as cur, cur.copy("COPY t FROM STDIN") as copy:
            copy.write_row((100, "copied"))
        conn.commit()
        with conn.pipeline(), conn.cursor() as cur:
            for i in range(200, 210):
                cur.execute("INSERT INTO t VALUES (%s, 'p')", (i,))
        conn.commit()
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("INSERT INTO t VALUES (1, 'again')")
        conn.rollback()
        with conn.transaction():
            conn.execute("DELETE FROM t WHERE id = 1")
            with pytest.raises(ZeroDivisionError), conn.transaction():
                conn.execute("DELETE FROM t")
                raise ZeroDivisionError
        conn.autocommit = True
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (29,)
        assert conn.execute("SELECT id FROM t WHERE id > %b", (205,)).fetchall()[0] == (206,)


def test_psql(pair):
    script = "\\set ON_ERROR_STOP 1\nINSERT INTO t VALUES (1, 'a');\nBEGIN;\nUPDATE t SET name = 'b';\nCOMMIT;\n\\copy t from stdin\n2\tc\n\\.\nTABLE t;\n\\d t\n"
    script = script.replace("TABLE t;", "SELECT * FROM t ORDER BY id;").replace("\\d t\n", "")
    done = subprocess.run(["psql", "-X", "-A", "-t", "-q"], input=script, env=pair.replica.pg_env(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1|b", "2|c"]
