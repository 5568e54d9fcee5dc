"""Sessions that were begun with replication=true, without a replica: what they know and what they refuse."""

import pytest

import wire
from wire import Wire, errors, rows, tags


def connect(server, value="true", **settings):
    return Wire(server.port, **{"database": None, "replication": value, **settings})


@pytest.mark.parametrize("value", ["true", "yes", "on", "1", "ON"])
def test_identify_system(server, value):
    with connect(server, value) as c:
        (row,) = rows(c.query("IDENTIFY_SYSTEM"))
        assert int(row[0]) > 0 and row[1] == "1" and row[3] is None
        assert rows(c.query("identify_system;")) == [row]


@pytest.mark.parametrize("value", ["false", "off", "no", "0"])
def test_an_ordinary_session(server, value):
    with connect(server, value, database="main") as c:
        assert c.ok("SELECT 1") == [("1",)]


def test_logical_replication_is_refused(server):
    with pytest.raises(wire.ServerError) as e:
        connect(server, "database", database="main")
    assert "logical" in str(e.value)


def test_nonsense_is_refused(server):
    with pytest.raises(wire.ServerError):
        connect(server, "perhaps")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE_REPLICATION_SLOT s PHYSICAL",
        "BASE_BACKUP",
        "TIMELINE_HISTORY 1",
        "DROP_REPLICATION_SLOT s",
        "SELECT 1",
        "START_REPLICATION 0/0",
        "START_REPLICATION LTX (nonsense 1)",
    ],
)
def test_what_is_refused_leaves_the_session_alive(server, sql):
    with connect(server) as c:
        (state,) = errors(c.query(sql))
        assert state in ("0A000", "42601", "22023")
        assert rows(c.query("SHOW server_version"))[0][0].startswith("15")
        assert tags(c.query("SHOW server_version")) == ["SHOW"]


def test_the_extended_protocol_ends_the_session(server):
    with connect(server) as c:
        c.send(wire.parse("SELECT 1"), wire.sync())
        (state,) = errors(c.drain())
        assert state == "08P01"


def test_max_connections_does_not_keep_replicas_out(start):
    server = start("--max-connections", "1")
    with server.connect() as c:
        c.ok("SELECT 1")
        with connect(server) as r:
            assert rows(r.query("IDENTIFY_SYSTEM"))


def test_another_group_is_refused(server):
    with connect(server) as c:
        (state,) = errors(c.query("START_REPLICATION LTX (VERSION '1', SYSTEM '12345', TIMELINE '1')"))
        assert state == "55000"
        assert rows(c.query("IDENTIFY_SYSTEM"))
