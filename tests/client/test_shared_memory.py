"""file:NAME?mode=memory&cache=shared with SQLD_MAP_MEMORY=1: one database for the connections of one process, with the locks of
SQLite's shared cache. Python is the application; each script is run with SQLite's library and with the drop-in."""

import subprocess
import textwrap

import pytest

from dropin import environment

PYTHON = "/usr/bin/python3"
HEAD = """
    import os, sqlite3, sys, threading
    NAME = "file:shared?mode=memory&cache=shared"
    def connect(name=NAME):
        return sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=0.1)
    def attempt(db, sql, *values):
        try:
            print(sql, db.execute(sql, values).fetchall())
        except sqlite3.Error as error:
            print(sql, error, error.sqlite_errorname)
    def tables(db):
        return db.execute("SELECT name FROM sqlite_master").fetchall()
"""
SCRIPTS = {
    "it is one database": """
        a, b = connect(), connect("file:shared?cache=shared&mode=memory")
        a.execute("CREATE TABLE t(x)")
        b.execute("INSERT INTO t VALUES (1), (2)")
        attempt(a, "SELECT * FROM t")
        a.execute("ALTER TABLE t ADD COLUMN y DEFAULT 5")
        attempt(b, "SELECT * FROM t")
        attempt(b, "PRAGMA table_info(t)")
        attempt(b, "PRAGMA journal_mode")
        attempt(b, "PRAGMA database_list")
        attempt(a, "DROP TABLE t")
        attempt(b, "SELECT * FROM t")
    """,
    "others are others": """
        a = connect()
        a.execute("CREATE TABLE t(x)")
        for name in "file:other?mode=memory&cache=shared", "file:shared?mode=memory", ":memory:":
            print(tables(connect(name)))
        print(tables(connect()))
    """,
    "it ends with its last connection": """
        a = connect()
        a.execute("CREATE TABLE t(x)")
        b = connect()
        a.close()
        print(tables(b))
        b.close()
        print(tables(connect()))
    """,
    "tables are locked, and schemas": """
        a, b = connect(), connect()
        a.execute("CREATE TABLE t(x)")
        a.execute("CREATE TABLE u(x)")
        attempt(b, "SELECT * FROM t")
        a.execute("BEGIN")
        a.execute("INSERT INTO t VALUES (1)")
        attempt(b, "SELECT * FROM t")
        attempt(b, "SELECT * FROM u")
        attempt(b, "INSERT INTO u VALUES (1)")
        attempt(b, "BEGIN IMMEDIATE")
        b.execute("PRAGMA read_uncommitted = 1")
        attempt(b, "SELECT * FROM t")
        b.execute("PRAGMA read_uncommitted = 0")
        a.execute("COMMIT")
        attempt(b, "SELECT * FROM t")
        b.execute("BEGIN")
        attempt(b, "SELECT * FROM t")
        attempt(a, "INSERT INTO t VALUES (2)")
        attempt(a, "INSERT INTO u VALUES (2)")
        attempt(a, "DROP TABLE u")
        b.execute("COMMIT")
        a.execute("BEGIN")
        a.execute("CREATE TABLE v(x)")
        attempt(b, "SELECT 1 FROM t")
        attempt(b, "SELECT name FROM sqlite_master")
        attempt(connect(), "SELECT 1")
        a.execute("ROLLBACK")
        attempt(b, "SELECT name FROM sqlite_master")
    """,
    "a half-read statement locks its table": """
        a, b = connect(), connect()
        a.execute("CREATE TABLE t(x)")
        a.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) INSERT INTO t SELECT i FROM n")
        rows = a.execute("SELECT x FROM t")
        print(next(rows))
        attempt(b, "DELETE FROM t")
        print(len(rows.fetchall()))
        attempt(b, "DELETE FROM t")
        attempt(a, "SELECT count(*) FROM t")
    """,
    "threads": """
        a = connect()
        a.execute("CREATE TABLE t(x)")
        def work():
            db = connect()
            for i in range(100):
                while True:
                    try:
                        db.execute("INSERT INTO t VALUES (?)", (i,))
                        break
                    except sqlite3.OperationalError as error:
                        assert error.sqlite_errorcode & 0xff == sqlite3.SQLITE_LOCKED, error
            db.close()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        attempt(a, "SELECT count(*), sum(x) FROM t")
    """,
    "functions of the application's": """
        a, b = connect(), connect()
        a.create_function("twice", 1, lambda x: 2 * x)
        a.execute("CREATE TABLE t(x)")
        b.execute("INSERT INTO t VALUES (1), (2), (3)")
        attempt(a, "SELECT twice(x) FROM t")
        attempt(b, "SELECT twice(x) FROM t")
    """,
}


def run(script, kind, **env):
    code = textwrap.dedent(HEAD) + textwrap.dedent(script)
    done = subprocess.run(
        [PYTHON, "-c", code], env=environment(kind, **env), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def remotely(server):
    return {"SQLD_URL": f"postgresql://app@127.0.0.1:{server.port}", "SQLD_MAP_MEMORY": "1"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_application_sees_the_same(name, server):
    local = run(SCRIPTS[name], "system")
    assert len(local) >= 1 and run(SCRIPTS[name], "drop-in", **remotely(server)) == local


def test_it_is_the_servers_and_one_process(server):
    script = """
        a = connect()
        a.execute("CREATE TABLE t AS SELECT sqlite_version()")
        a.create_function("child", 0, lambda: 1)
        inner = "import sqlite3; print(sqlite3.connect(%r, uri=True).execute('SELECT name FROM sqlite_master').fetchall())" % NAME
        sys.stdout.flush()
        assert os.system(f'{sys.executable} -c "{inner}"') == 0
        print(tables(a))
        attempt(a, "ATTACH 'file:shared?mode=memory&cache=shared' AS other")
    """
    lines = run(script, "drop-in", **remotely(server))
    assert lines[:2] == ["[]", "[('t',)]"]
    assert lines[-1].split(" AS other ")[1].startswith("unable to attach 'file:shared?mode=memory&cache=shared'")


def test_without_the_setting_it_is_local(server):
    env = remotely(server)
    del env["SQLD_MAP_MEMORY"]
    env["SQLD_URL"] = "postgresql://app@127.0.0.1:1"
    assert run(SCRIPTS["it is one database"], "drop-in", **env) == run(SCRIPTS["it is one database"], "system")
