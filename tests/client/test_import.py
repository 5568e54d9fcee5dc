"""SQLD_IMPORT=1: a database file goes to the server (client/import.h). The application is SQLite's shell or Python."""

import os
import shutil
import signal
import sqlite3
import subprocess

import pytest

from dropin import compile_c, environment
from server import Sqld, free_port

PYTHON = "/usr/bin/python3"
ROWS = 500
LOOK = "SELECT count(*), sum(length(x)), max(rowid) FROM t; SELECT name FROM sqlite_schema ORDER BY 1; PRAGMA user_version"
STRAY = "PRAGMA journal_mode=WAL"


def make(path, *statements):
    """A database as an application leaves it."""
    with sqlite3.connect(path, isolation_level=None) as db:
        for statement in statements:
            db.execute(statement)
        db.execute("CREATE TABLE t(x)")
        db.execute("CREATE INDEX i ON t(x)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO t VALUES (?)", [("x" * (i % 700),) for i in range(ROWS)])
        db.execute("COMMIT")
        db.execute("DELETE FROM t WHERE rowid % 7 = 0")
        db.execute("PRAGMA user_version = 77")
    db.close()
    return look(path, "system")


def run(command, kind="drop-in", **env):
    return subprocess.run(command, env=environment(kind, **env), capture_output=True, text=True, timeout=60)


def look(path, kind="drop-in", **env):
    done = run(["sqlite3", "-batch", str(path), LOOK], kind, **env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def imports(server, **env):
    return {"SQLD_URL": f"postgresql://app@127.0.0.1:{server.port}", "SQLD_IMPORT": "1", **env}


def is_stub(path):
    return path.read_bytes().startswith(b"sqld-stub 1\n")


def databases(server):
    return {path.stem for path in server.data_dir.glob("*.db")} - {"main"}


@pytest.fixture
def alone(tmp_path):
    server = Sqld(tmp_path / "data").start()
    yield server
    server.close()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "app").mkdir()
    return tmp_path / "app" / "shop.db"


def names(file):
    return sorted(path.name for path in file.parent.iterdir())


@pytest.mark.parametrize(
    "statements",
    [
        [],
        ["PRAGMA page_size=1024"],
        ["PRAGMA page_size=65536", "PRAGMA encoding='UTF-16le'"],
        ["PRAGMA auto_vacuum=FULL"],
        ["PRAGMA journal_mode=WAL"],
        ["PRAGMA journal_mode=PERSIST"],
        ["PRAGMA page_size=512", "PRAGMA journal_mode=WAL"],
    ],
    ids=lambda statements: ", ".join(statements) or "plain",
)
def test_a_file_becomes_a_database_of_the_server(alone, file, statements):
    before = make(file, *statements)
    file.chmod(0o640)
    assert look(file, **imports(alone)) == before
    assert is_stub(file) and file.stat().st_mode & 0o777 == 0o640
    assert [name for name in names(file) if "journal" not in name] == ["shop.db", "shop.db-imported"]
    assert databases(alone) == {"shop"}
    assert look(file.with_name("shop.db-imported"), "system") == before
    # From now on it is a stub like others.
    assert look(file) == before
    with sqlite3.connect(alone.data_dir / "shop.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sqld_import'").fetchall() == [(0,)]
    db.close()


def test_rows_keep_their_numbers_whatever_the_size_of_the_pages(alone, file):
    with sqlite3.connect(file, isolation_level=None) as db:
        db.execute("PRAGMA page_size=8192")
        db.execute("CREATE TABLE t(x)")
        db.execute("INSERT INTO t(rowid, x) VALUES (5, 'a'), (50, 'b'), (500, 'c')")
    db.close()
    done = run(["sqlite3", "-batch", str(file), "SELECT rowid, x FROM t"], **imports(alone))
    assert (done.stdout, done.stderr) == ("5|a\n50|b\n500|c\n", "") and is_stub(file)


def test_what_the_journal_or_the_log_holds_counts(alone, file, tmp_path):
    # Processes that were killed: one has committed to its log, the other one was in the middle of a transaction.
    script = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode=" + sys.argv[2])
db.execute("PRAGMA cache_size=10")
db.execute("BEGIN")
db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT printf('%0200d', i) FROM n")
if sys.argv[2] == "WAL":
    db.execute("COMMIT")
os.kill(os.getpid(), 9)
"""
    for mode, suffix, rows in ("WAL", "-wal", 5000), ("DELETE", "-journal", 0):
        path = file.with_name(f"{mode.lower()}.db")
        before = make(path)
        run([PYTHON, "-c", script, str(path), mode], "system")
        assert path.with_name(path.name + suffix).stat().st_size > 0
        after = look(path, **imports(alone))
        assert int(after[0].split("|")[0]) == int(before[0].split("|")[0]) + rows
        assert is_stub(path) and not path.with_name(path.name + suffix).exists()


def test_without_the_setting_the_file_stays_local(alone, file):
    before = make(file)
    done = run(["sqlite3", "-batch", str(file), LOOK], SQLD_URL=imports(alone)["SQLD_URL"])
    assert done.stdout.splitlines() == before and "has contents, so it stays local" in done.stderr
    assert names(file) == ["shop.db"] and databases(alone) == set()


def contents(file):
    """Not read here: to close a file gives back all locks that this process has on it."""
    return subprocess.run(["cat", str(file)], capture_output=True, check=True).stdout


def refused(file, why, **env):
    bytes_before, names_before = contents(file), [name for name in names(file) if not name.endswith(".sqld-import")]
    done = run(["sqlite3", "-batch", str(file), "SELECT 1"], **env)
    assert done.returncode != 0 and why in done.stderr, done.stderr
    assert contents(file) == bytes_before
    assert [name for name in names(file) if not name.endswith(".sqld-import")] == names_before
    return done.stderr


def test_a_database_with_contents_of_its_own_is_not_overwritten(alone, file):
    before = make(file)
    with alone.connect() as sql:
        sql.ok("CREATE DATABASE shop")
    with alone.connect(database="shop") as sql:
        sql.ok("CREATE TABLE theirs(a)")
    refused(file, "database 'shop' of the server has contents of its own", **imports(alone))
    assert names(file) == ["shop.db"]
    # Another name is a way out; so is an empty database of that name.
    with alone.connect() as sql:
        sql.ok("CREATE DATABASE other")
    assert look(file, **imports(alone, SQLD_MAP="*.db=other")) == before
    assert databases(alone) == {"shop", "other"} and is_stub(file)


def test_files_that_are_no_database_or_damaged_are_not_imported(alone, file):
    file.write_bytes(b"no database" * 100)
    refused(file, "file is not a database", **imports(alone))
    file.unlink()
    make(file)
    damaged = bytearray(file.read_bytes())
    damaged[4096 * 3 : 4096 * 3 + 200] = b"\xff" * 200
    file.write_bytes(damaged)
    refused(file, "damaged", **imports(alone))
    assert databases(alone) == set() and names(file) == ["shop.db"]


def test_a_file_that_somebody_uses_is_not_imported(alone, file):
    before = make(file)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        refused(file, "somebody else may have it open", **imports(alone))
        other.execute("ROLLBACK")
    assert look(file, **imports(alone)) == before
    # Who had it open finds it gone.
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        other.execute("INSERT INTO t VALUES (1)")
    other.close()


def test_without_a_server_the_file_stays_as_it_is(file):
    make(file)
    refused(file, "unable to open", SQLD_URL=f"postgresql://app@127.0.0.1:{free_port()}", SQLD_IMPORT="1")
    assert names(file) == ["shop.db"]


def test_a_symbolic_link_leads_to_the_stub(alone, file):
    before = make(file)
    link = file.with_name("link.db")
    link.symlink_to(file.name)
    assert look(link, **imports(alone)) == before
    assert link.is_symlink() and is_stub(file) and names(file) == ["link.db", "shop.db", "shop.db-imported"]


def test_a_name_that_was_used_before_is_not_overwritten(alone, file):
    make(file)
    aside = file.with_name("shop.db-imported")
    aside.write_text("an older one")
    look(file, **imports(alone))
    assert aside.read_text() == "an older one"
    assert names(file) == ["shop.db", "shop.db-imported", "shop.db-imported-2"]


def test_several_processes_import_once(alone, file):
    before = make(file)
    command = ["sqlite3", "-batch", str(file), LOOK]
    env = environment("drop-in", **imports(alone))
    apps = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    for app in apps:
        out, err = app.communicate(timeout=60)
        assert (app.returncode, out.splitlines(), err) == (0, before, "")
    assert names(file) == ["shop.db", "shop.db-imported"] and databases(alone) == {"shop"}


# --- Killed at any moment ---


@pytest.fixture(scope="module")
def killer():
    return compile_c("killer.c", "-shared", "-fPIC")


def check_nothing_is_lost(file, before, server):
    """Under its name there is either the database, or a stub of one that holds all."""
    if is_stub(file):
        assert look(file) == before
        assert look(file.with_name("shop.db-imported"), "system") == before
    else:
        copy = file.with_name("copy")
        for name in names(file):
            if name.startswith("shop.db") and "sqld" not in name and "imported" not in name:
                shutil.copy(file.with_name(name), copy.with_name(name.replace("shop.db", "copy")))
        assert look(copy, "system") == before
        for name in names(file):
            if name.startswith("copy"):
                file.with_name(name).unlink()


@pytest.mark.parametrize("page_bytes", [4096, 1024])
def test_killed_at_any_moment_nothing_is_lost_and_the_next_one_goes_on(killer, alone, tmp_path, page_bytes):
    command = ["sqlite3", "-batch"]

    def play(number, **env):
        directory = tmp_path / f"{page_bytes}-{number}"
        directory.mkdir()
        file = directory / "shop.db"
        before = make(file, f"PRAGMA page_size={page_bytes}", STRAY)
        env = imports(alone, LD_PRELOAD=str(killer), SQLD_MAP=f"shop.db=shop_{page_bytes}_{number}", **env)
        return file, before, run([*command, str(file), LOOK], **env)

    file, before, done = play("count", KILL_COUNT=str(tmp_path / "count"))
    assert done.stdout.splitlines() == before and is_stub(file)
    count = int((tmp_path / "count").read_text())
    assert count > 40
    stubs = 0
    for number in range(1, count + 1):
        file, before, done = play(number, KILL_AT=str(number))
        if done.returncode == 0:  # a call less, as chance has it
            continue
        assert done.returncode == -signal.SIGKILL
        check_nothing_is_lost(file, before, alone)
        stubs += is_stub(file)
        database = f"shop_{page_bytes}_{number}"
        assert look(file, **imports(alone, SQLD_MAP=f"shop.db={database}")) == before
        assert is_stub(file) and not file.with_name("shop.db.sqld-import").exists()
        assert look(file.with_name("shop.db-imported"), "system") == before
        left = [name for name in names(file) if not name.startswith("shop.db.sqld-")]
        assert left == ["shop.db", "shop.db-imported"]
        found = {name for name in databases(alone) if name.startswith(database)}
        assert found == {database}, found
    assert stubs > 2


def test_what_was_changed_after_a_try_was_cut_off_is_imported_too(killer, alone, file):
    make(file)
    with_killer = imports(alone, LD_PRELOAD=str(killer))
    number = 0
    while True:  # until the server has all of it, and the file is still here
        number += 1
        assert not is_stub(file)
        run(["sqlite3", "-batch", str(file), LOOK], **with_killer, KILL_AT=str(number))
        with sqlite3.connect(alone.data_dir / "shop.db") if databases(alone) else sqlite3.connect(":memory:") as db:
            if db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 't'").fetchone()[0]:
                break
        db.close()
    db.close()
    with sqlite3.connect(file) as db:
        db.execute("INSERT INTO t(rowid, x) VALUES (9999, 'later')")
    db.close()
    after = look(file, "system")
    assert look(file, **imports(alone)) == after and after[0].endswith("|9999")
    assert databases(alone) == {"shop"}


def test_a_database_that_was_changed_after_a_try_was_cut_off_is_not_overwritten(killer, alone, file):
    make(file)
    number = 0
    while not databases(alone) or not tables(alone):
        number += 1
        run(["sqlite3", "-batch", str(file), LOOK], **imports(alone, LD_PRELOAD=str(killer), KILL_AT=str(number)))
        assert not is_stub(file)
    with alone.connect(database="shop") as sql:
        sql.ok("INSERT INTO t(x) VALUES ('theirs')")
    refused(file, "has been changed since", **imports(alone))


def tables(server):
    with server.connect(database="shop") as sql:
        return sql.ok("SELECT name FROM sqlite_schema WHERE name = 't'")
