"""SET, SHOW, RESET and what they change (PostgreSQL manual, "SET", "SHOW", "Server Configuration")."""

import pytest

from wire import errors, kinds, tags


def told(messages):
    return {m.strings()[0]: m.strings()[1] for m in messages if m.kind == "S"}


def test_set_show_reset(client):
    assert tags(client.query("SET statement_timeout = 5000")) == ["SET"]
    got = client.query("SHOW statement_timeout")
    assert tags(got) == ["SHOW"] and got[0].columns()[0]["name"] == "statement_timeout"
    assert client.value("SHOW statement_timeout") == "5s"
    client.ok("SET statement_timeout TO '2min'")
    assert client.value("SHOW statement_timeout") == "2min"
    assert tags(client.query("RESET statement_timeout")) == ["RESET"]
    assert client.value("SHOW statement_timeout") == "0"
    client.ok("SET statement_timeout TO DEFAULT")


def test_changes_that_clients_are_told_of(client):
    assert told(client.query("SET application_name = 'me'")) == {"application_name": "me"}
    assert told(client.query("SET TIME ZONE 'UTC'; SET application_name = 'you'"))["application_name"] == "you"
    assert told(client.query("RESET ALL"))["application_name"] == ""


def test_set_local_ends_with_the_transaction(client):
    client.ok("SET application_name = 'outer'; BEGIN; SET LOCAL application_name = 'inner'")
    assert client.value("SHOW application_name") == "inner"
    client.ok("COMMIT")
    assert client.value("SHOW application_name") == "outer"


def test_set_is_undone_by_rollback(client):
    client.ok("BEGIN; SET application_name = 'tried'; ROLLBACK")
    assert client.value("SHOW application_name") == ""


@pytest.mark.parametrize(
    "sql, state",
    [
        ("SHOW no_such_setting", "42704"),
        ("SET no_such_setting = 1", "42704"),
        ("SET statement_timeout = 'soon'", "22023"),
        ("SET statement_timeout = -5", "22023"),
        ("SET client_encoding = 'LATIN1'", "0A000 22023"),
        ("SET", "42601"),
        ("RESET no_such_setting", "42704"),
        ("SET server_version = '1'", "55P02"),
    ],
)
def test_refusals(client, sql, state):
    assert client.fails(sql)["C"] in state.split()


@pytest.mark.parametrize(
    "sql",
    [
        "SET client_encoding = 'UTF8'",
        "SET NAMES 'UTF8'",
        "SET DateStyle = 'ISO'",
        "SET extra_float_digits = 3",
        "SET standard_conforming_strings = on",
        "SET client_min_messages TO warning",
        "SET search_path TO main, public",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET session_replication_role = origin",
        "SET TIME ZONE 'Europe/Berlin'",
        "SET intervalstyle = 'iso_8601'",
        "SET bytea_output = 'hex'",
        "SET default_transaction_isolation = 'serializable'",
        "SET my.own = 'value'",
        "SET synchronous_commit = off",
        "SET row_security = off",
        "SET lock_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
    ],
)
def test_what_drivers_and_tools_send_is_accepted(client, sql):
    assert tags(client.query(sql)) == ["SET"]


@pytest.mark.parametrize(
    "name, value",
    [
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("integer_datetimes", "on"),
        ("transaction_isolation", None),
        ("standard_conforming_strings", "on"),
        ("server_version", None),
        ("server_version_num", None),
        ("max_identifier_length", "63"),
        ("transaction_read_only", "off"),
        ("DateStyle", None),
        ("TimeZone", None),
        ("is_superuser", None),
        ("search_path", None),
        ("synchronous_commit", "on"),
        ("lc_collate", None),
        ("block_size", None),
    ],
)
def test_what_drivers_ask_for(client, name, value):
    shown = client.value(f"SHOW {name}")
    assert shown is not None and (value is None or shown == value)
    if name == "server_version_num":
        assert int(shown) >= 100000


def test_show_all(client):
    got = client.query("SHOW ALL")
    assert [c["name"] for c in got[0].columns()] == ["name", "setting", "description"]
    assert len(got) > 10


def test_current_setting_and_set_config(client):
    client.ok("SET my.own = 'value'")
    assert client.value("SELECT current_setting('my.own')") == "value"
    assert client.value("SELECT set_config('my.own', 'new', false)") == "new"
    assert client.value("SHOW my.own") == "new"
    assert client.fails("SELECT current_setting('no.such')")["C"] == "42704"
    assert client.value("SELECT current_setting('no.such', true)") is None


def test_functions_about_the_session(client):
    assert client.value("SELECT current_user") == "tester" and client.value("SELECT session_user") == "tester"
    assert client.value("SELECT current_database()") == "main"
    assert int(client.value("SELECT pg_backend_pid()")) == client.pid
    assert "sqld" in client.value("SELECT version()")
    assert client.value("SELECT current_schema()") is not None


def test_statement_timeout_is_57014(client):
    client.ok("SET statement_timeout = '100ms'")
    error = client.fails("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s")
    assert error["C"] == "57014" and "timeout" in error["M"]
    assert client.ok("SELECT 1") == [("1",)]
    client.ok("BEGIN")
    got = client.query("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s")
    assert errors(got) == ["57014"] and got[-1].status() == "T"
    client.ok("ROLLBACK")


def test_idle_session_timeout_is_57p05(server):
    with server.connect() as idler:
        idler.ok("SET idle_session_timeout = '200ms'")
        got = idler.drain()
        assert kinds(got) == "E" and got[0].sqlstate() == "57P05"


def test_idle_session_timeout_spares_a_transaction(server):
    with server.connect() as idler:
        idler.ok("SET idle_session_timeout = '200ms'; BEGIN")
        with pytest.raises(TimeoutError):
            idler.recv(timeout=1.0)
        idler.ok("COMMIT")
        assert idler.drain()[0].sqlstate() == "57P05"


def test_deallocate_and_discard(client):
    import wire

    client.ask(wire.parse("SELECT 1", name="s"))
    assert tags(client.query("DEALLOCATE s")) == ["DEALLOCATE"]
    assert client.fails("DEALLOCATE s")["C"] == "26000"
    client.ask(wire.parse("SELECT 1", name="s"))
    assert tags(client.query("DEALLOCATE ALL")) == ["DEALLOCATE ALL"]
    client.ask(wire.parse("SELECT 1", name="s"))
    client.ok("SET application_name = 'x'; CREATE TEMP TABLE tt(a)")
    assert tags(client.query("DISCARD ALL")) == ["DISCARD ALL"]
    assert errors(client.ask(wire.bind(stmt="s"))) == ["26000"]
    assert client.value("SHOW application_name") == "" and client.fails("SELECT * FROM tt")["C"] == "42P01"
    client.ok("BEGIN")
    assert client.fails("DISCARD ALL")["C"] == "25001"
    client.ok("ROLLBACK")


def test_prepare_and_execute_of_sql(db):
    db.ok("CREATE TABLE t(a INTEGER, b TEXT)")
    assert tags(db.query("PREPARE i (int, text) AS INSERT INTO t VALUES ($1, $2)")) == ["PREPARE"]
    assert tags(db.query("EXECUTE i(1, 'x'); EXECUTE i(2, 'y' || 'z')")) == ["INSERT 0 1", "INSERT 0 1"]
    db.ok("PREPARE q AS SELECT b FROM t WHERE a = $1")
    assert db.ok("EXECUTE q(2)") == [("yz",)]
    assert db.fails("EXECUTE nobody")["C"] == "26000"
    assert db.fails("PREPARE q AS SELECT 1")["C"] == "42P05"
    assert db.fails("EXECUTE q")["C"] == "42601"
    db.ok("DEALLOCATE q")


def test_startup_settings_are_what_reset_goes_back_to(server):
    with server.connect(application_name="first") as c:
        c.ok("SET application_name = 'second'; RESET application_name")
        assert c.value("SHOW application_name") == "first"
