"""Calls of the server, beyond what parity compares: they go on after a lost connection, and in several threads at a time;
and what remote connections refuse, with a reason."""

import subprocess
import textwrap

import pytest

from dropin import compile_c, environment

PYTHON = "/usr/bin/python3"  # linked with the system's libsqlite3.so.0


def script(url, text):
    """A Python program that uses the drop-in library; it says where it is and waits for a line."""
    preamble = """
        import sqlite3, sys, threading
        url = sys.argv[1]
        def stop(where):
            print(where, flush=True)
            assert sys.stdin.readline()
    """
    return subprocess.Popen(
        [PYTHON, "-c", textwrap.dedent(preamble) + textwrap.dedent(text), url],
        env=environment("drop-in"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate("\n", timeout=60)
    assert process.returncode == 0 and err == "", err
    return out.splitlines()


@pytest.fixture
def own_server(start):
    return start()


def test_everything_is_registered_again_after_a_lost_connection(own_server):
    process = script(
        f"postgresql://127.0.0.1:{own_server.port}/reconnect",
        """
        db = sqlite3.connect(url, isolation_level=None)
        seen = []
        db.create_function("twice", 1, lambda x: x * 2)
        class Sum:
            def __init__(self): self.total = 0
            def step(self, x): self.total += x
            def finalize(self): return self.total
            def value(self): return self.total
            def inverse(self, x): self.total -= x
        db.create_window_function("gone", 0, Sum)
        db.create_window_function("gone", 0, None)
        db.create_aggregate("total_of", 1, Sum)
        db.create_collation("backwards", lambda a, b: (a < b) - (a > b))
        db.set_authorizer(lambda *what: seen.append(what[0]) or sqlite3.SQLITE_OK)
        db.execute("CREATE TABLE t(a)")
        db.execute("INSERT INTO t VALUES (1), (2), (3)")
        def look():
            seen.clear()
            print(db.execute("SELECT total_of(twice(a)) FROM t").fetchall(),
                  db.execute("SELECT a FROM t ORDER BY CAST(a AS TEXT) COLLATE backwards").fetchall(), len(seen) > 5)
            try:
                db.execute("SELECT gone()")
            except sqlite3.OperationalError as error:
                print(error)
        look()
        stop("before")
        look()
        """,
    )
    before = [process.stdout.readline().rstrip("\n") for _ in range(3)]
    assert before == ["[(12,)] [(3,), (2,), (1,)] True", before[1], "before"]
    assert before[1] == "no such function: gone"
    own_server.stop()
    own_server.restart()
    assert finish(process) == before[:2]


def test_a_call_whose_server_dies_fails_and_the_next_one_is_made_again(own_server):
    process = script(
        f"postgresql://127.0.0.1:{own_server.port}/dies",
        """
        db = sqlite3.connect(url, isolation_level=None)
        is_first = [True]
        def wait():
            if is_first.pop():
                is_first.append(False)
                stop("called")
            else:
                is_first.append(False)
            return 5
        db.create_function("wait", 0, wait)
        try:
            print(db.execute("SELECT wait()").fetchall())
        except sqlite3.OperationalError as error:
            print(error)
        print(db.execute("SELECT wait()").fetchall())
        """,
    )
    assert process.stdout.readline() == "called\n"
    own_server.kill9()
    own_server.restart()
    lost, again = finish(process)
    assert "was lost" in lost and again == "[(5,)]"


def test_connections_call_in_the_threads_that_use_them(server):
    process = script(
        f"postgresql://127.0.0.1:{server.port}/threads",
        """
        results = [None] * 4
        def work(index):
            db = sqlite3.connect(url, isolation_level=None)
            here = threading.get_ident()
            db.create_function("here", 1, lambda x: x if threading.get_ident() == here else -1)
            numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500)"
            results[index] = db.execute(numbers + " SELECT sum(here(n)) FROM c").fetchone()[0]
            db.close()
        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(results)
        """,
    )
    assert finish(process) == [str([500 * 501 // 2] * 4)]


def test_what_is_refused_says_so(server):
    program = compile_c("refused.c")
    done = subprocess.run(
        [program, f"postgresql://127.0.0.1:{server.port}/refused"],
        env=environment("drop-in"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr == ""
    lines = [line.split("|") for line in done.stdout.splitlines()]
    special = {line[0]: line[1:] for line in lines if line[0] in ("message", "rebase", "allowed", "misuse")}
    refused = {line[0]: line[1:] for line in lines if line[0] not in special}
    assert len(refused) == 10
    for name, (code, message, destroyed) in refused.items():
        assert code == "1" and message.endswith("not possible on remote databases"), name
        has_destructor = name in ("rtree_query_callback", "autovacuum_pages")
        assert destroyed == ("1" if has_destructor else "0"), name
    assert special == {
        "message": ["loading extensions is not possible on remote databases"],
        "rebase": ["null", "0"],
        "allowed": ["0", "0", "1"],
        "misuse": ["21", "21"],
    }
