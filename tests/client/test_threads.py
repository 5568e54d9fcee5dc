"""Threads and the drop-in: threads.c, which `make check-tsan` and `make check-asan` run, too. What the threads were told was
inserted is there; also when the network is cut at random meanwhile."""

import os
import random
import subprocess

import pytest

from linked import compile_c, environment
from proxy import HOW, TO_CLIENT, TO_SERVER, WHERE, Proxy

SEED = int(os.environ.get("SQLD_NETWORK_SEED", random.SystemRandom().randrange(1 << 32)))
ALL = 8 * 40


@pytest.fixture(scope="module")
def threads():
    return compile_c("threads.c", "-pthread")


@pytest.fixture
def counted(server, scratch):
    """Calls that give the number of rows that were inserted."""
    with server.connect(database=scratch) as looker:
        looker.ok("CREATE TABLE counted(a)")
        yield lambda: int(looker.value("SELECT count(*) FROM counted"))


def run(program, port, database, part):
    done = subprocess.run(
        [program, f"postgresql://app@127.0.0.1:{port}/{database}?sslmode=disable", part],
        env=environment("drop-in"),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.strip()


@pytest.mark.parametrize("part", ["shared", "many", "calls", "tables"])
def test_what_threads_insert_is_there(threads, server, scratch, counted, part):
    assert int(run(threads, server.port, scratch, part)) == counted() == ALL


@pytest.mark.parametrize("part", ["interrupt", "signal"])
def test_what_runs_is_interrupted_and_nothing_else(threads, server, scratch, counted, part):
    assert run(threads, server.port, scratch, part) == ""


@pytest.mark.parametrize("part", ["shared", "many", "calls", "tables"])
def test_threads_are_told_the_truth_when_the_network_is_cut(threads, server, scratch, counted, part):
    print(f"SQLD_NETWORK_SEED={SEED}")
    dice = random.Random(f"{SEED} {part}")
    proxy = Proxy(server.port)
    # The first connections are whole until they are open: an application is told if it cannot connect at all.
    proxy.choose = lambda: (
        dice.choice((TO_SERVER, TO_CLIENT)),
        dice.randrange(20, 200),
        dice.choice(WHERE),
        dice.choice(HOW),
    )
    told = int(run(threads, proxy.port, scratch, part))
    proxy.close()
    assert proxy.cut_count > 0
    assert told == counted() <= ALL
