"""Starting and configuring: exit codes, messages that say what to do, SIGHUP, and data directories that are not well."""

import os
import signal
import socket
import sqlite3
import subprocess

import pytest

import wire
from server import Sqld, free_port, poll, program


def run(*arguments, env=None, timeout=30):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SQLD_")}
    environment.update(env or {})
    return subprocess.run(
        [str(program()), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0 and "--data-dir" in done.stdout and "--listen" in done.stdout
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("sqld ")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--no-such-option"], "no-such-option"),
        (["--listen"], "listen"),
        (["--listen", "nowhere.invalid:x"], "listen"),
        (["--max-connections", "many"], "max-connections"),
        (["--max-connections", "0"], "max-connections"),
        (["--statement-timeout", "5 lightyears"], "statement-timeout"),
        (["--log-level", "loud"], "log-level"),
        (["stray"], "stray"),
        (["--listen", "0.0.0.0:15999"], "insecure"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_reason(tmp_path, arguments, said):
    done = run("--data-dir", tmp_path / "d", *arguments)
    assert done.returncode == 2, done
    assert said in done.stderr


def test_config_file_that_is_not_there(tmp_path):
    done = run("--data-dir", tmp_path / "d", "--config", "/nonexistent/sqld.conf")
    assert done.returncode in (1, 2) and "/nonexistent/sqld.conf" in done.stderr


def test_environment_and_file_and_flag_in_their_order(start, tmp_path):
    file = tmp_path / "sqld.conf"
    file.write_text("# a comment\nstatement_timeout = 3s\nlock-timeout = 4s\nidle_session_timeout = 0\n")
    server = start("--config", file, "--lock-timeout", "6s", env={"SQLD_STATEMENT_TIMEOUT": "5s"})
    with server.connect() as c:
        assert c.value("SHOW statement_timeout") == "5s"  # environment over file
        assert c.value("SHOW lock_timeout") == "6s"  # flag over all


def test_config_file_errors_name_file_and_line(tmp_path):
    file = tmp_path / "sqld.conf"
    file.write_text("log_level = info\nno_such_thing = 1\n")
    done = run("--config", file, "--data-dir", tmp_path / "d")
    assert done.returncode == 2 and "sqld.conf" in done.stderr and "2" in done.stderr and "no_such_thing" in done.stderr


def test_sighup_rereads_the_file(start, tmp_path):
    file = tmp_path / "sqld.conf"
    file.write_text("statement_timeout = 3s\n")
    server = start("--config", file)
    with server.connect() as old:
        assert old.value("SHOW statement_timeout") == "3s"
        file.write_text("statement_timeout = 7s\n")
        server.process.send_signal(signal.SIGHUP)

        def changed():
            with server.connect() as c:
                return c.value("SHOW statement_timeout") == "7s"

        poll(changed, "the new value is in force")
        assert old.ok("SELECT 1") == [("1",)]
        file.write_text("statement_timeout = nonsense\n")
        seen = len(server.lines)
        server.process.send_signal(signal.SIGHUP)
        poll(lambda: any("statement" in line for line in server.lines[seen:]), "the wrong file is reported")
        with server.connect() as c:
            assert c.value("SHOW statement_timeout") == "7s"


def test_port_that_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--data-dir", tmp_path / "d", "--listen", f"127.0.0.1:{port}")
        assert done.returncode not in (0, 2) and str(port) in done.stderr and "in use" in done.stderr.lower()


def test_data_directory_is_made(start, tmp_path):
    start(data_dir=tmp_path / "new")
    assert (tmp_path / "new" / "main.db").exists()
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0, "others can read the data directory"
    done = run("--data-dir", tmp_path / "a" / "b", "--listen", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1 and str(tmp_path / "a" / "b") in done.stderr


def test_data_directory_that_is_a_file(tmp_path):
    (tmp_path / "d").write_text("x")
    done = run("--data-dir", tmp_path / "d", "--listen", f"127.0.0.1:{free_port()}")
    assert done.returncode not in (0, None) and str(tmp_path / "d") in done.stderr


def test_data_directory_that_cannot_be_made():
    done = run("--data-dir", "/proc/nothing/here", "--listen", f"127.0.0.1:{free_port()}")
    assert done.returncode not in (0, None) and "/proc/nothing" in done.stderr


def test_two_servers_on_one_data_directory(start, tmp_path):
    first = start(data_dir=tmp_path / "d")
    done = run("--data-dir", tmp_path / "d", "--listen", f"127.0.0.1:{free_port()}")
    assert done.returncode not in (0, None) and str(tmp_path / "d") in done.stderr
    with first.connect() as c:
        assert c.ok("SELECT 1") == [("1",)]


def test_corrupt_database_is_reported_and_others_work(start, tmp_path):
    data = tmp_path / "d"
    data.mkdir()
    (data / "junk.db").write_bytes(b"this is no database at all" * 1000)
    with sqlite3.connect(data / "torn.db") as direct:
        direct.executescript(
            "CREATE TABLE t(a); WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9999) "
            "INSERT INTO t SELECT hex(randomblob(50)) FROM s"
        )
    direct.close()
    torn = bytearray((data / "torn.db").read_bytes())
    torn[4096 * 3 : 4096 * 60] = os.urandom(4096 * 57)
    (data / "torn.db").write_bytes(torn)
    server = start(data_dir=data)
    with server.connect() as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
    try:
        with server.connect(database="junk") as c:
            assert c.fails("SELECT * FROM sqlite_schema")["C"] in ("XX001", "XX002")
    except wire.ServerError as refusal:
        assert refusal.sqlstate in ("XX001", "XX002", "58030")
    try:
        with server.connect(database="torn") as c:
            assert c.fails("SELECT count(*), max(a) FROM t")["C"] in ("XX001", "XX002")
    except wire.ServerError as refusal:
        assert refusal.sqlstate in ("XX001", "XX002")
    with server.connect() as c:
        assert c.ok("SELECT a FROM t") == [("1",)]


def test_unix_socket(start, tmp_path):
    directory = tmp_path / "s"
    directory.mkdir()
    server = start("--listen", f"unix:{directory}")
    path = directory / ".s.PGSQL.5432"
    assert path.exists()
    done = subprocess.run(
        ["psql", "-X", "-At", "-h", str(directory), "-p", "5432", "-U", "tester", "main", "-c", "SELECT 6 * 7"],
        env={**server.pg_env(), "PGHOST": str(directory)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "42\n", done.stderr
    server.stop()
    assert not path.exists()


def test_several_tcp_addresses(start):
    second = free_port()
    server = start("--listen", f"127.0.0.1:{second}")
    with wire.Wire(second) as c:
        c.ok("CREATE TABLE t(a)")
    with server.connect() as c:
        assert c.ok("SELECT * FROM t") == []


def test_default_database_of_another_name(start):
    server = start("--default-database", "primary_one")
    with server.connect(database=None, user="whoever") as c:
        assert c.value("SELECT current_database()") == "primary_one"


def test_log_file_and_reopening(start, tmp_path):
    log = tmp_path / "sqld.log"
    server = Sqld(tmp_path / "d", "--log-file", log, "--log-connections", "on")
    server.start(wait=False)
    try:
        poll(lambda: log.exists() and "ready" in log.read_text(), "ready in the log file")
        log.rename(tmp_path / "old.log")
        server.process.send_signal(signal.SIGHUP)
        poll(log.exists, "the log file is opened anew")
        with server.connect() as c:
            c.ok("SELECT 1")
        poll(lambda: log.read_text(), "new lines go to the new file")
    finally:
        server.stop()
