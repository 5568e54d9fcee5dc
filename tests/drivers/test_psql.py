"""psql: scripts, \\copy, variables, errors, cancellation, and a session at a terminal (tmux)."""

import shutil
import signal
import subprocess
import uuid

import pytest

from server import poll

if shutil.which("psql") is None:
    pytest.skip("psql is not installed (Debian: postgresql-client-15)", allow_module_level=True)

ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


@pytest.fixture
def psql(server, scratch):
    """psql(*arguments, input=…) runs it without start-up file, unaligned, tuples only."""

    def runner(*arguments, script=None, check=0, timeout=60):
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", *map(str, arguments)],
            input=script,
            env=server.pg_env(scratch),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == check, done.stdout + done.stderr
        return done.stdout if check == 0 else done.stderr

    return runner


def test_one_command(psql):
    assert psql("-c", "SELECT 6 * 7") == "42\n"


def test_several_commands_in_their_order(psql):
    assert (
        psql("-c", "CREATE TABLE t(a)", "-c", "INSERT INTO t VALUES (1), (2)", "-c", "SELECT sum(a) FROM t")
        == "CREATE TABLE\nINSERT 0 2\n3\n"
    )


def test_script_from_a_file_with_all_its_syntax(psql, tmp_path):
    file = tmp_path / "script.sql"
    file.write_text("""
        -- a comment; with a semicolon
        CREATE TABLE "semi;colon" (a INTEGER, "b ""quoted" TEXT DEFAULT 'x;y');
        INSERT INTO "semi;colon"(a) VALUES
            (1), /* ; */ (2);
        \\set limit 1
        SELECT * FROM "semi;colon" ORDER BY a LIMIT :limit;
        \\set word 'it''s'
        SELECT :'word' AS w;
        \\gset
        SELECT count(*) AS n FROM "semi;colon" \\gset
        \\echo n is :n
        \\if 1
        SELECT 'yes';
        \\else
        SELECT 'no';
        \\endif
        BEGIN; UPDATE "semi;colon" SET a = a + 1; ROLLBACK;
    """)
    assert psql("-q", "-f", file).splitlines()[:4] == ["1|x;y", "it's", "n is 2", "yes"]


def test_values_with_gset(psql):
    assert psql(script="SELECT 5 AS five, 'x y' AS word \\gset\nSELECT :five + 1, :'word';\n") == "6|x y\n"


def test_gexec_gdesc_crosstab_free_things(psql):
    out = psql(
        script="SELECT 'CREATE TABLE g' || value || '(a)' FROM json_each('[1,2]') \\gexec\n"
        "SELECT 1 AS i, 'x' AS t \\gdesc\n"
    )
    assert out.startswith("CREATE TABLE\nCREATE TABLE\n")


def test_bind_parameters_of_newer_psql_or_prepared_statements(psql):
    assert psql("-q", script="PREPARE p AS SELECT $1 || '!';\nEXECUTE p('hello');\n") == "hello!\n"


def test_triggers_through_psqls_own_lexer(psql):
    """psql splits at semicolons unless it sees BEGIN … END inside CREATE FUNCTION; sqld must say so, not hang."""
    out = psql(
        "-q",
        "-c",
        "CREATE TABLE t(a); CREATE TABLE l(a); CREATE TRIGGER tr AFTER INSERT ON t BEGIN "
        "INSERT INTO l VALUES (new.a); END; INSERT INTO t VALUES (7); SELECT a FROM l",
    )
    assert out == "7\n"


def test_copy_in_and_out(psql, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('id,name\n1,"a, b"\n2,\n3,"☃ ""q"""\n')
    out = psql(
        "-c",
        "CREATE TABLE t(id INTEGER, name TEXT)",
        "-c",
        f"\\copy t FROM '{source}' CSV HEADER",
        "-c",
        f"\\copy (SELECT * FROM t ORDER BY id) TO '{target}' (FORMAT csv, HEADER)",
    )
    assert out == "CREATE TABLE\nCOPY 3\nCOPY 3\n" and target.read_text() == source.read_text()
    assert psql("-q", "-c", "COPY t FROM STDIN", script="9\tfrom stdin\n\\.\n") == ""
    assert psql("-c", "COPY t TO STDOUT").splitlines()[-1] == "9\tfrom stdin"


def test_copy_in_of_many_rows(psql, tmp_path):
    source = tmp_path / "in"
    source.write_text("".join(f"{n}\trow {n}\n" for n in range(200000)))
    assert (
        psql("-c", "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT)", "-c", f"\\copy t FROM '{source}'")
        == "CREATE TABLE\nCOPY 200000\n"
    )
    assert psql("-c", "SELECT count(*), sum(id) FROM t") == f"200000|{200000 * 199999 // 2}\n"


def test_error_shows_the_place(psql):
    err = psql(
        "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=1", "-f", "-", script="SELECT 1,\n       absent;\n", check=3
    )
    assert "ERROR:  42703:" in err and "LINE 2:        absent;" in err and "^" in err


def test_errors_go_on_without_on_error_stop(psql):
    assert psql("-q", script="SELECT absent;\nSELECT 'after';\n") == "after\n"


def test_single_transaction_switch(psql):
    psql("-c", "CREATE TABLE t(a)")
    psql("-1", "-v", "ON_ERROR_STOP=1", "-f", "-", script="INSERT INTO t VALUES (1);\nSELECT absent;\n", check=3)
    assert psql("-c", "SELECT count(*) FROM t") == "0\n"


def test_on_error_rollback(psql):
    out = psql(
        "-q",
        "-v",
        "ON_ERROR_ROLLBACK=on",
        script="CREATE TABLE t(a);\nBEGIN;\nINSERT INTO t VALUES (1);\n"
        "SELECT absent;\nINSERT INTO t VALUES (2);\nCOMMIT;\nSELECT count(*) FROM t;\n",
    )
    assert out == "2\n"


def test_fetch_count_uses_cursors(psql):
    out = psql(
        "-v",
        "FETCH_COUNT=100",
        "-c",
        "\\timing off",
        "-c",
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) SELECT n FROM s",
    )
    assert [int(n) for n in out.split() if n.isdigit()] == list(range(1, 1001))


def test_conninfo_and_encoding(psql, scratch):
    assert scratch in psql("-c", "\\conninfo") and psql("-c", "\\encoding") == "UTF8\n"


def test_connect_to_another_database(psql):
    out = psql(
        "-q",
        script="CREATE DATABASE other_one;\n\\c other_one\nSELECT current_database();\n\\c main\n"
        "DROP DATABASE other_one;\n",
    )
    assert "other_one\n" in out


def test_listen_in_psql(psql):
    out = psql("-q", script="LISTEN c;\nNOTIFY c, 'payload';\nSELECT 1;\n")
    assert 'Asynchronous notification "c" with payload "payload" received' in out


def test_sigint_cancels_and_psql_ends_its_script(server, scratch):
    process = subprocess.Popen(
        ["psql", "-X", "-A", "-t", "-q"],
        env=server.pg_env(scratch),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = server.cpu_ticks()
    process.stdin.write(f"{ENDLESS};\n")
    process.stdin.close()
    server.wait_busy(before)

    def ended():
        process.send_signal(signal.SIGINT)
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            return False
        return True

    poll(ended, "psql ends", interval=0)
    assert "ERROR:  canceling statement due to user request" in process.stderr.read()
    with server.connect(database=scratch) as c:
        assert c.ok("SELECT 1") == [("1",)]


class Terminal:
    """psql in tmux, at an 120 x 40 screen."""

    def __init__(self, env):
        self.socket = f"sqld-test-{uuid.uuid4().hex}"
        self.env = {**env, "TERM": "screen", "LC_ALL": "C.UTF-8", "PSQL_HISTORY": "/dev/null"}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "psql", "-X", "-P", "pager=off")

    def tmux(self, *arguments):
        done = subprocess.run(
            ["tmux", "-L", self.socket, *arguments], env=self.env, capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def type(self, text):
        """A line and Enter. A semicolon at the end of an argument would end tmux's own command."""
        self.tmux("send-keys", "-l", text.removesuffix(";") + ("\\;" if text.endswith(";") else ""))
        self.key("Enter")

    def key(self, name):
        self.tmux("send-keys", name)

    def wait(self, text):
        poll(lambda: text in self.screen(), f"{text!r} on the screen", interval=0.05)

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], env=self.env, capture_output=True, timeout=20)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_at_a_terminal(server, scratch):
    terminal = Terminal(server.pg_env(scratch))
    try:
        terminal.wait(f"{scratch}=")
        terminal.type("CREATE TABLE t(id INTEGER, name TEXT);")
        terminal.wait("CREATE TABLE")
        terminal.type("BEGIN;")
        terminal.wait(f"{scratch}=*")  # the prompt knows of the transaction
        terminal.type("INSERT INTO t VALUES (1, 'ä☃');")
        terminal.wait("INSERT 0 1")
        terminal.type("COMMIT;")
        terminal.wait("COMMIT")
        terminal.type("SELECT * FROM t;")
        terminal.wait("(1 row)")
        assert " id | name" in terminal.screen() and "ä☃" in terminal.screen()
        terminal.type("SELECT absent;")
        terminal.wait("LINE 1: SELECT absent;")
        terminal.type(ENDLESS + ";")
        terminal.wait("count(*) FROM s;")

        def cancelled():
            terminal.key("C-c")
            return "ERROR:  canceling" in terminal.screen()

        poll(cancelled, "Ctrl-C stops the statement", interval=0.2)
        terminal.type("SELECT 'alive' || 1;")
        terminal.wait("alive1")
        terminal.type("\\q")
    finally:
        terminal.close()
