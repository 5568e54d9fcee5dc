"""The drop-in at a replica: an application finds what it finds at the primary. Most of the tests are the primary's."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from dropin import environment  # noqa: E402
from native import READONLY, Native  # noqa: E402
from pair import Pair  # noqa: E402
from test_network import (  # noqa: E402, F401: run here, too
    TABLE, Application, compare, network, test_a_connection_that_is_cut_anywhere, test_without_cuts_all_is_done,
)
from test_parity import program, test_an_application_sees_the_same  # noqa: E402, F401: run here, too
from test_remote import python, ran, url  # noqa: E402


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    one = Pair(tmp_path_factory.mktemp("pair"))
    yield one
    one.close()


@pytest.fixture
def server(pair):
    yield pair.replica
    pair.primary.check_alive()
    pair.replica.check_alive()


@pytest.fixture
def logged(pair):
    with pair.primary.connect() as looker:
        looker.ok("DROP TABLE IF EXISTS log")
        looker.ok(TABLE)
        yield pair.primary, looker


@pytest.fixture
def played(network, logged, pair):  # noqa: F811
    """The network between the replica and the primary is what breaks."""
    _, looker = logged
    application = Application(network, pair.replica.port)

    def play(cut, run, script="all"):
        pair.proxy.plan(cut)
        told = application.play(script, run, cut)
        compare(looker, run, told, (cut, run))
        return told

    yield play, pair.proxy
    application.close()
    pair.proxy.plan(None)


def test_what_is_read_only_is_read_here(pair, server):
    with pair.primary.connect() as there:
        there.ok("CREATE TABLE IF NOT EXISTS ro(a); DELETE FROM ro; INSERT INTO ro VALUES (5)")
    pair.settle()
    before = len(pair.proxy.connections)
    with Native(server, options="readonly") as one:
        assert one.ok("SELECT a FROM ro") == [(5,)]
        assert one.fails("INSERT INTO ro VALUES (6)")[0] == READONLY
        one.ok("CREATE TEMP TABLE mine(a)")
        one.ok("INSERT INTO mine VALUES (1)")
    with Native(server, ":memory:") as one:
        one.ok("CREATE TABLE mine(a)")
        one.ok("INSERT INTO mine VALUES (1)")
    assert len(pair.proxy.connections) == before


def test_an_interrupt_reaches_the_primary(server, tmp_path):
    code = f"""
        import threading
        conn = sqlite3.connect("{url(server, '/main')}", check_same_thread=False)
        started = threading.Event()
        conn.create_function("started", 0, lambda: started.set())
        def stop():
            started.wait()
            conn.interrupt()
        threading.Thread(target=stop).start()
        try:
            conn.execute("WITH n(i) AS (SELECT started() UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n").fetchall()
        except sqlite3.OperationalError as error:
            print(error)
        print(conn.execute("SELECT 1").fetchall())
    """
    assert ran(python(code, tmp_path, SQLD_URL=url(server))) == "interrupted\n[(1,)]\n"


def test_without_the_primary_there_is_no_connection(pair, server, tmp_path):
    pair.part()
    try:
        got = subprocess.run(
            ["sqlite3", url(server, "/main"), "SELECT 1"], cwd=tmp_path, env=environment("drop-in", SQLD_URL=url(server)),
            capture_output=True, text=True, timeout=60,
        )
        assert got.returncode != 0 and "primary" in got.stderr
    finally:
        pair.join()


