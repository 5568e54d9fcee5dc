"""Remote databases as files, URLs and connections: stubs, names, the loss of the server, forked processes. What SQLite's
functions do on them: test_parity.py."""

import subprocess
import textwrap

import pytest

from dropin import environment
from server import free_port

PYTHON = "/usr/bin/python3"


def url(server, rest=""):
    return f"postgresql://app@127.0.0.1:{server.port}{rest}"


@pytest.fixture
def shell(server, tmp_path):
    """shell(arguments of sqlite3, **environment) in tmp_path, with SQLD_URL."""

    def run(*arguments, **env):
        env.setdefault("SQLD_URL", url(server))
        return subprocess.run(
            ["sqlite3", *map(str, arguments)],
            cwd=tmp_path,
            env=environment("drop-in", **env),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def python(code, cwd, **env):
    """Starts Python with the drop-in; its standard output is what `code` prints."""
    return subprocess.Popen(
        [PYTHON, "-c", "import sqlite3, sys, os\n" + textwrap.dedent(code)],
        cwd=cwd,
        env=environment("drop-in", **env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(process, text=None):
    out, err = process.communicate(text, timeout=60)
    assert process.returncode == 0, err
    return out


# --- files ---


def test_a_missing_file_becomes_a_stub_and_a_database(shell, server, tmp_path):
    assert shell("made.db", "CREATE TABLE t(a); INSERT INTO t VALUES (7)").stderr == ""
    assert (tmp_path / "made.db").read_text() == f"sqld-stub 1\n{url(server)}\ndatabase made\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made.db"]
    assert shell("made.db", "SELECT a FROM t").stdout == "7\n"
    # The stub needs no environment.
    assert shell("made.db", "SELECT a FROM t", SQLD_URL="").stdout == "7\n"


def test_a_deleted_stub_is_a_new_database(shell, server, tmp_path):
    shell("gone.db", "CREATE TABLE t(a)")
    (tmp_path / "gone.db").unlink()
    assert shell("gone.db", "SELECT count(*) FROM sqlite_master").stdout == "0\n"
    # One and the same name elsewhere is the same database, as SQLD_URL says.
    (tmp_path / "sub").mkdir()
    shell("gone.db", "CREATE TABLE again(a)")
    assert shell("sub/gone.db", "SELECT name FROM sqlite_master").stdout == "again\n"


def test_fresh_databases_do_not_know_each_other(shell, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("f.db", "sub/f.db"):
        assert shell(name, "CREATE TABLE t(a); SELECT count(*) FROM t", SQLD_FRESH="1").stdout == "0\n"
    assert (tmp_path / "f.db").read_text() != (tmp_path / "sub" / "f.db").read_text()


def test_an_empty_file_becomes_a_stub_and_keeps_its_mode(shell, tmp_path):
    (tmp_path / "empty.db").touch(mode=0o600)
    assert shell("empty.db", "CREATE TABLE t(a); SELECT count(*) FROM t").stdout == "0\n"
    assert (tmp_path / "empty.db").read_text().startswith("sqld-stub 1\n")
    assert (tmp_path / "empty.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["sqld-stub 2\nx\n", "sqld-stub 1\n", "sqld-stub 1\nurl\nnonsense\n"])
def test_a_stub_that_is_not_understood_is_refused(shell, text, tmp_path):
    (tmp_path / "x.db").write_text(text)
    done = shell("x.db", "CREATE TABLE t(a)")
    assert done.returncode != 0 and "unable to open" in done.stderr
    assert (tmp_path / "x.db").read_text() == text


def test_a_stub_without_its_database_is_made_whole(shell, server, tmp_path):
    # As a process leaves it that has died in the middle.
    (tmp_path / "half.db").write_text(f"sqld-stub 1\n{url(server)}\n")
    assert shell("half.db", "CREATE TABLE t(a); SELECT count(*) FROM t").stdout == "0\n"
    assert (tmp_path / "half.db").read_text().endswith("\ndatabase half\n")


def test_many_processes_make_one_database(server, tmp_path):
    code = """
        connection = sqlite3.connect("race.db", timeout=30)
        connection.execute("CREATE TABLE IF NOT EXISTS t(a)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
    """
    for process in [python(code, tmp_path, SQLD_URL=url(server)) for _ in range(6)]:
        ran(process)
    count = python("print(sqlite3.connect('race.db').execute('SELECT count(*) FROM t').fetchone())", tmp_path)
    assert ran(count) == "(6,)\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["race.db"]


def test_nothing_is_left_behind_when_there_is_no_server(shell, tmp_path):
    done = shell("none.db", "SELECT 1", SQLD_URL=f"postgresql://127.0.0.1:{free_port()}")
    assert done.returncode != 0 and "unable to open 'none.db'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_passwords_are_not_written_down(shell, server, tmp_path):
    secret = f"postgresql://app:s3cret@127.0.0.1:{server.port}/?password=s3cret&application_name=x"
    assert shell("p.db", "CREATE TABLE t(a)", SQLD_URL=secret).stderr == ""
    text = (tmp_path / "p.db").read_text()
    assert "s3cret" not in text and "application_name=x" in text
    # The same login is used again where it is known.
    assert shell("p.db", "SELECT count(*) FROM t", SQLD_URL=secret).stdout == "0\n"


def test_names_that_a_server_does_not_take_are_changed(shell, tmp_path):
    for name in ("a b.db", "ä.db", ".hidden", "x" * 100 + ".db"):
        assert shell(name, "CREATE TABLE t(a); SELECT count(*) FROM t").stdout == "0\n", name


# --- URLs and options ---


def test_a_url_is_a_database(shell, server):
    assert shell(url(server, "/direct"), "CREATE TABLE t(a); INSERT INTO t VALUES (1)", SQLD_URL="").stderr == ""
    assert shell("file:" + url(server, "/direct"), "SELECT * FROM t", SQLD_URL="").stdout == "1\n"
    done = shell("-readonly", url(server, "/direct"), "INSERT INTO t VALUES (2)", SQLD_URL="")
    assert "readonly" in done.stderr
    done = shell("-readonly", url(server, "/missing"), "SELECT 1", SQLD_URL="")
    assert done.returncode != 0 and "missing" in done.stderr


def test_uri_modes(server, tmp_path):
    code = """
        def attempt(uri, sql):
            try:
                print(sqlite3.connect(uri, uri=True).execute(sql).fetchall())
            except sqlite3.Error as error:
                print(error)
        attempt("file:m.db?mode=rw", "SELECT 1")
        attempt("file:m.db?mode=ro", "SELECT 1")
        attempt("file:m.db?mode=rwc", "CREATE TABLE t(a)")
        attempt("file:m.db?mode=ro", "SELECT count(*) FROM t")
        attempt("file:m.db?mode=ro", "INSERT INTO t VALUES (1)")
        attempt("file:m.db?mode=rw", "DELETE FROM t")
    """
    assert ran(python(code, tmp_path, SQLD_URL=url(server))).splitlines() == [
        "unable to open database file",
        "unable to open database file",
        "[]",
        "[(0,)]",
        "attempt to write a readonly database",
        "[]",
    ]


def test_attach_is_of_the_same_server_only(shell, server, start, tmp_path):
    other = start()
    shell("a.db", "CREATE TABLE t(a)")
    done = shell("a.db", f"ATTACH '{url(other, '/x')}' AS x")
    assert done.returncode != 0 and "another server" in done.stderr
    done = shell("a.db", f"ATTACH '{tmp_path}/local.db' AS x", SQLD_MAP="b.db")
    assert done.returncode != 0 and "is a local file" in done.stderr
    assert not (tmp_path / "local.db").exists()
    done = shell("a.db", "ATTACH 'b.db' AS b; CREATE TABLE b.u(x); INSERT INTO u VALUES (5); SELECT x FROM b.u")
    assert done.stdout == "5\n" and (tmp_path / "b.db").exists()
    assert shell("b.db", "SELECT x FROM u").stdout == "5\n"
    for schema in ("main", "temp", "b"):
        done = shell("a.db", f"ATTACH 'b.db' AS b; ATTACH 'not-made.db' AS {schema}")
        assert "is already in use" in done.stderr and not (tmp_path / "not-made.db").exists()


def test_a_server_that_is_none_of_ours_is_named(shell, tmp_path):
    done = shell("postgresql://127.0.0.1:1/x?nonsense=1", "SELECT 1")
    assert done.returncode != 0 and "nonsense" in done.stderr


def test_what_only_a_client_could_do_is_refused(shell):
    done = shell("r.db", ".load nothing")
    assert done.returncode != 0 or "rror" in done.stderr


# --- the loss of the server ---

LOST = """
    connection = sqlite3.connect("lost.db", isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS t(a)")
    connection.create_function("twice", 1, lambda x: 2 * x)
    connection.execute("PRAGMA recursive_triggers=1")
    def attempt(sql):
        try:
            print(connection.execute(sql).fetchall(), flush=True)
        except sqlite3.Error as error:
            print(type(error).__name__, error, flush=True)
    def wait(word):
        print(word, flush=True)
        sys.stdin.readline()
"""


def until_now(process):
    while True:
        line = process.stdout.readline()
        if line == "now\n":
            return
        assert line != "", process.stderr.read()


def with_restart(server, tmp_path, code):
    """Runs LOST and `code`, which waits once, while the server is stopped and started again."""
    process = python(textwrap.dedent(LOST) + textwrap.dedent(code), tmp_path, SQLD_URL=url(server))
    until_now(process)
    server.kill9()
    server.restart()
    return ran(process, "\n").splitlines()


def test_an_idle_connection_comes_back_with_all_it_had(start, tmp_path):
    code = """
        attempt("ATTACH 'second.db' AS second")
        connection.execute("CREATE TABLE second.u(b)")
        print(connection.execute("SELECT 1 UNION SELECT 2").fetchone(), flush=True)
        wait("now")
        attempt("SELECT twice(21)")
        attempt("PRAGMA recursive_triggers")
        attempt("INSERT INTO t VALUES (1)")
        attempt("SELECT count(*) FROM second.u")
    """
    assert with_restart(start(), tmp_path, code) == ["[(42,)]", "[(1,)]", "[]", "[(0,)]"]


def test_a_lost_transaction_is_an_error_once(start, tmp_path):
    code = """
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")
        wait("now")
        attempt("INSERT INTO t VALUES (2)")
        print(connection.in_transaction)
        attempt("SELECT count(*) FROM t")
    """
    first, second, third = with_restart(start(), tmp_path, code)
    assert first.startswith("OperationalError the connection to 127.0.0.1:") and "was rolled back" in first
    assert (second, third) == ("False", "[(0,)]")


def test_a_half_read_statement_is_lost(start, tmp_path):
    code = """
        rows = connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
        rows.fetchone()
        wait("now")
        try:
            for row in rows:
                last = row
        except sqlite3.OperationalError as error:
            print(error)
        attempt("SELECT count(*) FROM t")
    """
    first, second = with_restart(start(), tmp_path, code)
    assert "was lost" in first and second == "[(0,)]"


def test_what_is_half_read_is_no_loss_for_others(start, tmp_path):
    code = """
        rows = connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
        rows.fetchone()
        wait("now")
        attempt("SELECT count(*) FROM t")
        try:
            for row in rows:
                last = row
        except sqlite3.OperationalError as error:
            print(error)
        attempt("SELECT count(*) FROM t")
    """
    first, second, third = with_restart(start(), tmp_path, code)
    assert "was lost" in second and first == third == "[(0,)]"


def test_a_private_database_does_not_come_back(start, tmp_path):
    code = """
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("CREATE TABLE t(a)")
        wait("now")
        attempt("SELECT 1")
        attempt("SELECT 1")
    """
    server = start()
    process = python(
        textwrap.dedent(LOST) + textwrap.dedent(code), tmp_path, SQLD_URL=url(server), SQLD_MAP_MEMORY="1"
    )
    until_now(process)
    server.kill9()
    server.restart()
    lines = ran(process, "\n").splitlines()
    assert len(lines) == 2 and all("in the server's memory is gone" in line for line in lines)


def test_sigpipe_is_not_raised(start, tmp_path):
    server = start()
    code = """
        import signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        wait("now")
        for _ in range(3):
            attempt("INSERT INTO t VALUES (1)")
        print("alive")
    """
    process = python(textwrap.dedent(LOST) + textwrap.dedent(code), tmp_path, SQLD_URL=url(server))
    until_now(process)
    server.kill9()
    lines = ran(process, "\n").splitlines()
    assert lines[-1] == "alive" and all("Error" in line for line in lines[:-1])


# --- processes ---


def test_a_forked_child_keeps_off_its_parents_connection(server, tmp_path):
    code = """
        connection = sqlite3.connect("fork.db", isolation_level=None)
        connection.execute("CREATE TABLE t(a)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                connection.execute("INSERT INTO t VALUES (2)")
            except sqlite3.Error:
                print("refused", flush=True)
            connection.close()
            other = sqlite3.connect("fork.db")
            print(other.execute("SELECT count(*) FROM t").fetchone(), flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        connection.execute("INSERT INTO t VALUES (3)")
        connection.execute("COMMIT")
        print(connection.execute("SELECT a FROM t").fetchall())
    """
    assert ran(python(code, tmp_path, SQLD_URL=url(server))).splitlines() == [
        "refused",
        "(0,)",
        "0",
        "[(1,), (3,)]",
    ]


def test_another_thread_stops_a_statement(server, tmp_path):
    code = """
        connection = sqlite3.connect("c.db")
        import threading
        done = threading.Event()
        def stop():
            while not done.wait(0.01):
                connection.interrupt()
        thread = threading.Thread(target=stop)
        thread.start()
        try:
            connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
        except sqlite3.OperationalError as error:
            print(error)
        done.set()
        thread.join()
        print(connection.execute("SELECT 1").fetchone())
    """
    assert ran(python(code, tmp_path, SQLD_URL=url(server))).splitlines() == ["interrupted", "(1,)"]


def test_the_shell_works_interactively(server, tmp_path):
    script = (
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b);\nINSERT INTO t(b) VALUES ('x'), (NULL);\n.mode box\nSELECT * FROM t;\n"
        ".tables\n.schema\n.dump\n.mode list\nSELECT changes(), total_changes();\n"
    )
    outs = []
    for kind, env in (("system", {}), ("drop-in", {"SQLD_URL": url(server)})):
        (tmp_path / kind).mkdir()
        done = subprocess.run(
            ["sqlite3", "shell.db"],
            input=script,
            cwd=tmp_path / kind,
            env=environment(kind, **env),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        outs.append(done.stdout)
    assert outs[0] == outs[1] and "INSERT INTO t VALUES(1,'x');" in outs[0]


def test_no_descriptor_is_left(server, tmp_path):
    code = """
        def count():
            return len(os.listdir("/proc/self/fd"))
        before = count()
        for _ in range(20):
            connection = sqlite3.connect("d.db")
            connection.execute("SELECT 1")
            connection.close()
        print(count() == before)
    """
    assert ran(python(code, tmp_path, SQLD_URL=url(server))) == "True\n"
