"""Many databases on one server: CREATE and DROP DATABASE, the client programs for them, and names."""

import shutil
import sqlite3
import subprocess

import pytest

import wire
from wire import Wire, errors, tags


def program(server, name, *arguments, database="main"):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: postgresql-client)")
    return subprocess.run([name, *arguments], env=server.pg_env(database), text=True, capture_output=True, timeout=60)


def test_main_exists_from_the_start(server):
    with server.connect(database="main") as c:
        assert c.value("SELECT current_database()") == "main"


def test_no_database_name_means_the_users_name_and_else_main(server):
    with server.connect(database=None, user="nobody_in_particular") as c:
        assert c.value("SELECT current_database()") == "main"
    with server.connect() as c:
        c.ok("CREATE DATABASE mary")
    with server.connect(database=None, user="mary") as c:
        assert c.value("SELECT current_database()") == "mary"
    with server.connect(database="nobody_in_particular", user="nobody_in_particular") as c:
        assert c.value("SELECT current_database()") == "main"


def test_unknown_database_is_3d000(server):
    with pytest.raises(wire.ServerError) as refusal:
        server.connect(database="never_made")
    assert refusal.value.sqlstate == "3D000" and refusal.value.fields["S"] == "FATAL"
    assert not (server.data_dir / "never_made.db").exists()


def test_create_use_drop(server, client):
    assert tags(client.query("CREATE DATABASE one")) == ["CREATE DATABASE"]
    assert client.fails("CREATE DATABASE one")["C"] == "42P04"
    with server.connect(database="one") as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        assert c.value("SELECT current_database()") == "one"
    assert client.fails("SELECT * FROM t")["C"] == "42P01"  # databases are apart
    assert tags(client.query("DROP DATABASE one")) == ["DROP DATABASE"]
    assert client.fails("DROP DATABASE one")["C"] == "3D000"
    assert tags(client.query("DROP DATABASE IF EXISTS one")) == ["DROP DATABASE"]
    assert list(server.data_dir.glob("one.db*")) == []


def test_a_dropped_and_remade_database_is_empty(server, client):
    client.ok("CREATE DATABASE again")
    with server.connect(database="again") as c:
        c.ok("CREATE TABLE t(a)")
    client.ok("DROP DATABASE again")
    client.ok("CREATE DATABASE again")
    with server.connect(database="again") as c:
        assert c.fails("SELECT * FROM t")["C"] == "42P01"


def test_a_database_in_use_is_not_dropped(server, client):
    client.ok("CREATE DATABASE busy")
    with server.connect(database="busy") as c:
        c.ok("SELECT 1")
        assert client.fails("DROP DATABASE busy")["C"] == "55006"
        assert c.ok("SELECT 1") == [("1",)]
        assert c.fails("DROP DATABASE busy")["C"] == "55006"
        c.bye()
    client.ok("DROP DATABASE busy")


def test_not_inside_a_transaction(client):
    client.ok("BEGIN")
    assert client.fails("CREATE DATABASE inside")["C"] == "25001"
    client.ok("ROLLBACK")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a\\b", "x" * 300, "a\nb", ".hidden", "con\x01trol"])
def test_bad_names_are_refused(server, client, name):
    before = sorted(p.name for p in server.data_dir.iterdir())
    quoted = '"' + name.replace('"', '""') + '"'
    got = client.query(f"CREATE DATABASE {quoted}")
    assert errors(got) and errors(got)[0] in ("42602", "42601", "42622", "22023"), got
    assert sorted(p.name for p in server.data_dir.iterdir()) == before
    try:
        Wire(server.port, database=name or None, user="tester").close()
        assert name == ""
    except wire.ServerError as refusal:
        assert refusal.sqlstate in ("3D000", "42602", "42622")


@pytest.mark.parametrize("name", ["with space", "Größe", "CamelCase", "a-b", "x" * 63, 'sel"ect', "semi;colon", "a.b"])
def test_unusual_names_either_work_or_are_refused(server, client, name):
    quoted = '"' + name.replace('"', '""') + '"'
    got = client.query(f"CREATE DATABASE {quoted}")
    if errors(got):
        assert errors(got) == ["42602"]
        return
    with server.connect(database=name) as c:
        assert c.value("SELECT current_database()") == name
        c.bye()
    client.ok(f"DROP DATABASE {quoted}")


def test_createdb_and_dropdb(server):
    done = program(server, "createdb", "made_by_createdb")
    assert done.returncode == 0, done.stderr
    with server.connect(database="made_by_createdb") as c:
        c.ok("SELECT 1")
        c.bye()
    done = program(server, "createdb", "made_by_createdb")
    assert done.returncode == 1 and "exists" in done.stderr
    done = program(server, "dropdb", "made_by_createdb")
    assert done.returncode == 0, done.stderr
    done = program(server, "dropdb", "--if-exists", "made_by_createdb")
    assert done.returncode == 0, done.stderr


def test_pg_isready(server):
    assert program(server, "pg_isready").returncode == 0


def test_many_databases_at_once(server):
    with server.connect() as c:
        for n in range(60):
            c.ok(f"CREATE DATABASE many{n}")
    sessions = [server.connect(database=f"many{n}") for n in range(60)]
    for n, s in enumerate(sessions):
        s.ok(f"CREATE TABLE t(a); INSERT INTO t VALUES ({n})")
    for n, s in enumerate(sessions):
        assert s.ok("SELECT a FROM t") == [(str(n),)]
        s.bye()


def test_the_file_is_a_sqlite_database(server, client):
    client.ok("CREATE DATABASE plain")
    with server.connect(database="plain") as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES ('from sqld')")
    with sqlite3.connect(server.data_dir / "plain.db") as direct:
        assert direct.execute("SELECT a FROM t").fetchall() == [("from sqld",)]
        assert direct.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert direct.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_existing_sqlite_file_is_served(start, tmp_path):
    data = tmp_path / "existing"
    data.mkdir()
    with sqlite3.connect(data / "old.db") as direct:
        direct.execute("CREATE TABLE t(a)")
        direct.execute("INSERT INTO t VALUES ('from the shell')")
    direct.close()
    server = start(data_dir=data)
    with server.connect(database="old") as c:
        assert c.ok("SELECT a FROM t") == [("from the shell",)]
        c.ok("INSERT INTO t VALUES ('from sqld')")


def test_a_lock_from_outside_is_waited_for(server, client):
    """The sqlite3 shell may have the file open; its write transaction is met, waited for, and given up on in the end."""
    client.ok("CREATE DATABASE shared")
    with server.connect(database="shared") as c:
        c.ok("CREATE TABLE t(a)")
        outside = sqlite3.connect(server.data_dir / "shared.db", isolation_level=None)
        outside.execute("BEGIN IMMEDIATE")
        outside.execute("INSERT INTO t VALUES ('outside')")
        c.ok("SET lock_timeout = '100ms'")
        assert c.fails("INSERT INTO t VALUES ('inside')")["C"] == "55P03"
        assert c.ok("SELECT count(*) FROM t") == [("0",)]
        c.ok("SET lock_timeout = 0")
        c.send(wire.query("INSERT INTO t VALUES ('inside')"))
        with pytest.raises(TimeoutError):
            c.recv(timeout=0.3)
        outside.execute("COMMIT")
        outside.close()
        assert tags(c.until_ready()) == ["INSERT 0 1"]
        assert c.ok("SELECT a FROM t ORDER BY a") == [("inside",), ("outside",)]


def test_databases_survive_a_restart(start):
    server = start()
    with server.connect() as c:
        c.ok("CREATE DATABASE kept; CREATE DATABASE gone; DROP DATABASE gone")
    with server.connect(database="kept") as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
    server.stop()
    server.restart()
    with server.connect(database="kept") as c:
        assert c.ok("SELECT a FROM t") == [("1",)]
    with pytest.raises(wire.ServerError):
        server.connect(database="gone")


def test_attach_a_database_of_this_server(server, client):
    client.ok("CREATE DATABASE lib")
    with server.connect(database="lib") as c:
        c.ok("CREATE TABLE t(a); INSERT INTO t VALUES (7)")
    client.ok("ATTACH 'lib' AS other")
    assert client.ok("SELECT a FROM other.t") == [("7",)]
    client.ok("DETACH other")
    assert client.fails("SELECT a FROM other.t")["C"] in ("42P01", "3F000")
