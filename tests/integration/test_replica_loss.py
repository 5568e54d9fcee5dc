"""The connection between a replica's session and the primary breaks, at every message and in every way: what the client is
told is what has happened, and nothing happens twice."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from pair import Pair  # noqa: E402
from proxy import HOW, TO_CLIENT, TO_SERVER, WHERE  # noqa: E402
from server import poll  # noqa: E402
from wire import Closed, copy_data, copy_done, errors, execute, bind, extended, flush, parse, query, rows, sync, tags  # noqa: E402

CUTS_MAX = 60


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.fixture
def pair(module_pair):
    module_pair.proxy.plan(None)
    with module_pair.primary.connect() as one:
        one.ok("DROP TABLE IF EXISTS t")
        one.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    yield module_pair
    module_pair.proxy.plan(None)
    module_pair.primary.check_alive()
    module_pair.replica.check_alive()


def insert(client):
    return client.query("INSERT INTO t(name) VALUES ('x')")


def insert_returning(client):
    return client.query("INSERT INTO t(name) VALUES ('x') RETURNING id, name")


def insert_extended(client):
    return client.ask(extended("INSERT INTO t(name) VALUES ($1) RETURNING id", ("x",)))


def pipeline(client):
    return client.ask(*[extended("INSERT INTO t(name) VALUES ('x')")] * 3)


def prepared(client):
    got = client.ask(parse("INSERT INTO t(name) VALUES ('x')", "w"))
    return got if errors(got) else client.ask(bind((), "w"), execute())


def transaction(client):
    return client.query("BEGIN; INSERT INTO t(name) VALUES ('x'); INSERT INTO t(name) VALUES ('x'); COMMIT")


def copy_in(client):
    client.send(query("COPY t(name) FROM STDIN"))
    got = client.until("GZ")
    if got[-1].kind == "Z":
        return got
    client.send(copy_data("x\n"), copy_data("x\nx\n"), copy_done())
    return got + client.until_ready()


ROWS = {insert: 1, insert_returning: 1, insert_extended: 1, pipeline: 3, prepared: 1, transaction: 2, copy_in: 3}





def run(pair, work, cut):
    """Does the work on a new session, whose connection to the primary is cut. False: it had ended before."""
    with pair.primary.connect() as there:
        there.ok("DELETE FROM t")
        pair.proxy.plan(cut)
        with pair.replica.connect() as here:
            got = work(here)
            is_cut = pair.proxy.cut_count > 0
            count = int(there.value("SELECT count(*) FROM t"))
            failed = errors(got)
            assert got[-1].status() == "I", (cut, got)
            if not failed:
                assert count == ROWS[work], (cut, got, count)
            elif failed == ["08006"]:
                assert count == 0, (cut, got, count)
            else:
                raise AssertionError(f"{cut}: {got}")
            assert here.ok("SELECT 1") == [("1",)]
            if is_cut:
                assert tags(here.query("INSERT INTO t(name) VALUES ('y')")) == ["INSERT 0 1"], cut
        return is_cut


@pytest.mark.parametrize("direction", [TO_SERVER, TO_CLIENT])
@pytest.mark.parametrize("work", ROWS, ids=lambda work: work.__name__)
def test_every_message(pair, work, direction):
    count = 0
    for index in range(CUTS_MAX):
        done = [run(pair, work, (direction, index, where, how)) for where in WHERE for how in HOW]
        count += sum(done)
        if not any(done):
            break
    assert count >= 18, "cuts were made"


def cut_all(pair):
    """Every connection to the primary ends; new ones can be made."""
    pair.proxy.drop()


@pytest.fixture
def here(pair):
    with pair.replica.connect() as one:
        yield one


def test_an_idle_connection_is_made_anew(pair, here):
    here.ok("PREPARE w AS INSERT INTO t VALUES ($1, 'x'); EXECUTE w(1)")
    here.ok("SET statement_timeout = 7777")
    cut_all(pair)
    here.ok("EXECUTE w(2)")
    here.ok("BEGIN")
    assert here.value("SHOW statement_timeout") == "7777ms"
    here.ok("COMMIT")
    assert here.ok("SELECT id FROM t") == [("1",), ("2",)]


def test_a_transaction_that_was_idle(pair, here):
    for end in ("INSERT INTO t VALUES (2, 'y')", "COMMIT", "SELECT 1"):
        here.ok("BEGIN; INSERT INTO t VALUES (1, 'x')")
        cut_all(pair)
        got = here.query(end)
        assert errors(got) == ["08006"], got
        assert got[-1].status() == ("I" if end == "COMMIT" else "E")
        if end != "COMMIT":
            assert here.fails("SELECT 1")["C"] == "25P02"
        assert here.query("ROLLBACK")[-1].status() == "I"
        assert here.ok("SELECT count(*) FROM t") == [("0",)]
    here.ok("BEGIN")
    cut_all(pair)
    assert tags(here.query("ROLLBACK")) == ["ROLLBACK"]


def test_the_same_by_the_extended_protocol(pair, here):
    here.ask(extended("BEGIN"), extended("INSERT INTO t VALUES (1, 'x')"))
    cut_all(pair)
    got = here.ask(extended("INSERT INTO t VALUES (2, 'y')"))
    assert errors(got) == ["08006"] and got[-1].status() == "E"
    here.ask(extended("ROLLBACK"))
    here.ask(extended("BEGIN"), extended("INSERT INTO t VALUES (1, 'x')"))
    cut_all(pair)
    got = here.ask(extended("COMMIT"))
    assert errors(got) == ["08006"] and got[-1].status() == "I"
    assert here.ok("SELECT count(*) FROM t") == [("0",)]


def test_settings_of_a_lost_transaction_are_undone(pair, here):
    here.ok("SET lock_timeout = 5; BEGIN; SET lock_timeout = 6")
    cut_all(pair)
    assert here.fails("SELECT 1")["C"] == "08006"
    here.ok("ROLLBACK")
    assert here.value("SHOW lock_timeout") == "5ms"


@pytest.mark.parametrize("state", ["LISTEN a", "CREATE TEMP TABLE tt(a)", "PRAGMA foreign_keys = off"])
def test_a_session_that_has_state_there_ends(pair, here, state):
    here.ok(state)
    cut_all(pair)
    with pytest.raises(Closed):
        while True:
            m = here.recv()
            assert m.sqlstate() == "08006" and m.fields()["S"] == "FATAL"


def test_a_pipeline_without_sync(pair, here):
    here.send(extended("INSERT INTO t VALUES (1, 'x')"), flush())
    here.until("C")
    cut_all(pair)
    assert here.recv().sqlstate() == "08006"
    got = here.ask(extended("INSERT INTO t VALUES (2, 'y')"))
    assert rows(got) == [] and got[-1].status() == "I"
    assert here.ok("SELECT count(*) FROM t") == [("0",)]


def test_an_answer_that_was_too_long_to_keep(pair, here):
    """It is committed, and said to be."""
    sql = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, 'long' FROM n RETURNING *"
    pair.proxy.plan((TO_CLIENT, 500, "before", "rst"))
    got = here.query(sql)
    assert errors(got) == ["40003"] and got[-1].status() == "I"
    assert "committed" in [m for m in got if m.kind == "E"][0].fields()["D"]
    assert here.ok("SELECT count(*) FROM t") == [("3000",)]


def test_a_part_that_was_committed_is_not_denied(pair, here):
    """A pipeline with a COMMIT in the middle, and its end cut off."""
    here.send(extended("BEGIN"), extended("INSERT INTO t VALUES (1, 'x')"), extended("COMMIT"), flush())
    assert tags(here.until("C") + here.until("C") + here.until("C")) == ["BEGIN", "INSERT 0 1", "COMMIT"]
    cut_all(pair)
    assert here.recv().sqlstate() == "08007"
    assert here.ask()[-1].status() == "I"
    assert here.ok("SELECT count(*) FROM t") == [("1",)]


def test_a_read_after_a_position_that_was_lost(pair, here):
    pair.hold()
    here.ok("SET sqld.replica_wait_timeout = 50; INSERT INTO t VALUES (1, 'x')")
    cut_all(pair)
    assert here.fails("SELECT count(*) FROM t")["C"] == "55000"
    pair.release()
    here.ok("SET sqld.replica_wait_timeout = 10000")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]


def test_a_statement_on_a_network_that_swallows_everything(pair, here):
    here.ok("INSERT INTO t VALUES (1, 'x')")
    cut_all(pair)
    pair.proxy.plan((TO_SERVER, 2, "before", "silent"))
    here.ok("SET statement_timeout = 300")
    assert errors(here.query("INSERT INTO t VALUES (2, 'x')")) == ["08006"]
    assert here.ok("SELECT count(*) FROM t") == [("1",)]


@pytest.mark.parametrize("where", WHERE)
def test_a_primary_that_is_killed(tmp_path, where):
    """Nobody knows then what has become of the statement, if it may have been done; and a lost transaction is lost."""
    pair = Pair(tmp_path)
    try:
        with pair.replica.connect() as here:
            here.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
            cut_all(pair)
            pair.proxy.plan((TO_CLIENT, len(here.startup_messages), where, "rst"))
            pair.proxy.on_cut = pair.primary.process.kill
            got = here.query("INSERT INTO t VALUES (1, 'x')")
            assert pair.proxy.cut_count == 1, got
            pair.primary.kill9()
            assert errors(got) == ["08007"], got
            pair.primary.restart()
            poll(lambda: not errors(here.query("INSERT INTO t VALUES (2, 'y')")), "the primary is back")
            here.ok("BEGIN; INSERT INTO t VALUES (3, 'z')")
            pair.primary.kill9()
            got = here.query("COMMIT")
            assert errors(got) == ["08006"] and got[-1].status() == "I"
            pair.primary.restart()
            with pair.primary.connect() as there:
                assert there.ok("SELECT count(*) FROM t WHERE id = 3") == [("0",)]
    finally:
        pair.close()
