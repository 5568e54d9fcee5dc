"""pgbench with scripts of SQLite's dialect, in all three query modes and in pipelines."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from postgres import find_programs


def pgbench_program():
    found = shutil.which("pgbench")
    if found is None and find_programs() is not None:
        found = Path(find_programs()) / "pgbench"
    return found if found and Path(found).exists() else None


if pgbench_program() is None:
    pytest.skip("pgbench is not installed (Debian: postgresql-15)", allow_module_level=True)

ROWS = 1000
SCRIPTS = {
    "select": "\\set id random(1, 1000)\nSELECT balance FROM accounts WHERE id = :id;\n",
    "update": "\\set id random(1, 1000)\n\\set delta random(-5, 5)\n"
    "UPDATE accounts SET balance = balance + :delta WHERE id = :id;\n",
    "transaction": "\\set a random(1, 1000)\n\\set b random(1, 1000)\n\\set delta random(1, 9)\nBEGIN IMMEDIATE;\n"
    "UPDATE accounts SET balance = balance - :delta WHERE id = :a;\n"
    "UPDATE accounts SET balance = balance + :delta WHERE id = :b;\n"
    "INSERT INTO history(a, b, delta) VALUES (:a, :b, :delta);\nEND;\n",
    "gset": "SELECT count(*) AS n FROM accounts \\gset\n\\set id random(1, :n)\nSELECT balance FROM accounts WHERE id = :id;\n",
}
PIPELINE = (
    "\\set id random(1, 1000)\n\\startpipeline\nSELECT 1;\nSELECT balance FROM accounts WHERE id = :id;\n"
    "UPDATE accounts SET balance = balance + 0 WHERE id = :id;\nSELECT 2;\n\\endpipeline\n"
)


@pytest.fixture(scope="module")
def bench(module_server, tmp_path_factory):
    with module_server.connect() as c:
        c.ok("CREATE DATABASE bench")
    with module_server.connect(database="bench") as c:
        c.ok(
            "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER);"
            f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS}) "
            "INSERT INTO accounts SELECT n, 100 FROM s; CREATE TABLE history(a INTEGER, b INTEGER, delta INTEGER)"
        )
    directory = tmp_path_factory.mktemp("pgbench")

    def run(script, *arguments):
        file = directory / "script.sql"
        file.write_text(script)
        done = subprocess.run(
            [str(pgbench_program()), "-n", "-f", str(file), *map(str, arguments)],
            env=module_server.pg_env("bench"),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "aborted" not in done.stderr and "error" not in done.stderr.lower(), done.stderr
        done_count = int(re.search(r"number of transactions actually processed: (\d+)", done.stdout).group(1))
        failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
        assert failed is None or int(failed.group(1)) == 0, done.stdout
        return done_count

    return run


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_modes(server, bench, name, mode):
    assert bench(SCRIPTS[name], "-M", mode, "-c", 4, "-j", 2, "-t", 100) == 400
    with server.connect(database="bench") as c:
        if name == "transaction":
            assert c.value("SELECT sum(balance) FROM accounts") is not None
            assert int(c.value("SELECT count(*) FROM history")) % 400 == 0


def test_transfers_add_up(server, bench):
    with server.connect(database="bench") as c:
        before = c.value("SELECT sum(balance) FROM accounts")
        bench(SCRIPTS["transaction"], "-M", "prepared", "-c", 16, "-j", 2, "-t", 50)
        assert c.value("SELECT sum(balance) FROM accounts") == before
        assert c.value("PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize("mode", ["extended", "prepared"])
def test_pipelines(bench, mode):
    assert bench(PIPELINE, "-M", mode, "-c", 4, "-t", 100) == 400


def test_many_clients(bench):
    assert bench(SCRIPTS["select"], "-M", "prepared", "-c", 100, "-j", 2, "-t", 20) == 2000


def test_connection_for_each_transaction(bench):
    assert bench(SCRIPTS["select"], "-C", "-c", 4, "-t", 50) == 200
