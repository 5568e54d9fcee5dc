"""Every message of the frontend/backend protocol, well-formed and not, against a live server.

The messages are those of docs/protocol.md; "manual" below is PostgreSQL's, chapter "Frontend/Backend Protocol".
"""

import socket
import struct
import threading

import pytest

import wire
from server import poll
from wire import (
    bind,
    close_portal,
    close_statement,
    describe_portal,
    describe_statement,
    errors,
    execute,
    extended,
    flush,
    function_call,
    kinds,
    msg,
    parse,
    query,
    rows,
    special_request,
    startup_packet,
    sync,
    tags,
)

NUMBERS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) SELECT n FROM s"
ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


def accepts_work(server):
    """A new connection works: nothing that another one did has disturbed the server."""
    with server.connect() as other:
        assert other.ok("SELECT 42") == [("42",)]


# ---------------------------------------------------------------- start-up
def test_startup_answers_in_the_manuals_order(server):
    with server.connect() as c:
        sequence = kinds(c.startup_messages)
        assert sequence[0] == "R" and c.startup_messages[0].body == b"\0\0\0\0"
        assert sequence.endswith("KZ") and set(sequence[1:-2]) == {"S"}
        assert c.startup_messages[-1].status() == "I"
        assert c.pid > 0


def test_startup_reports_the_parameters_that_drivers_read(server):
    with server.connect(application_name="probe") as c:
        p = c.parameters
        assert p["server_encoding"] == "UTF8" and p["client_encoding"] == "UTF8"
        assert p["integer_datetimes"] == "on" and p["standard_conforming_strings"] == "on"
        assert p["DateStyle"].startswith("ISO") and p["application_name"] == "probe"
        assert p["session_authorization"] == "tester"
        assert int(p["server_version"].split(".")[0]) >= 10
        assert {"TimeZone", "IntervalStyle", "is_superuser"} <= set(p)


@pytest.mark.parametrize("request_code", [wire.SSL_REQUEST, wire.GSSENC_REQUEST])
def test_encryption_requests_are_declined_and_startup_goes_on(server, request_code):
    with server.connect(startup=False) as c:
        c.send(special_request(request_code))
        assert c.recv_byte() == b"N"
        c.startup({"user": "tester", "database": "main"})
        assert c.ok("SELECT 1") == [("1",)]


def test_gss_then_ssl_request_then_startup(server):
    with server.connect(startup=False) as c:
        c.send(special_request(wire.GSSENC_REQUEST))
        assert c.recv_byte() == b"N"
        c.send(special_request(wire.SSL_REQUEST))
        assert c.recv_byte() == b"N"
        c.startup({"user": "tester", "database": "main"})


def test_newer_minor_version_is_negotiated_down(server):
    with server.connect(startup=False) as c:
        c.startup({"user": "tester", "database": "main"}, protocol=196608 + 7)
        (v,) = [m for m in c.startup_messages if m.kind == "v"]
        newest, unknown = struct.unpack_from("!II", v.body)
        assert newest & 0xFFFF == 0 and unknown == 0
        assert c.ok("SELECT 1") == [("1",)]


def test_unknown_protocol_options_are_listed_back(server):
    with server.connect(startup=False) as c:
        c.startup({"user": "tester", "database": "main", "_pq_.no_such_option": "1", "_pq_.nor_this": "x"})
        (v,) = [m for m in c.startup_messages if m.kind == "v"]
        _, count = struct.unpack_from("!II", v.body)
        assert count == 2
        assert v.body[8:].split(b"\0")[:-1] == [b"_pq_.no_such_option", b"_pq_.nor_this"]
        # the manual: it comes before anything else of the session
        assert kinds(c.startup_messages).index("v") <= 1


@pytest.mark.parametrize("protocol", [0x00020000, 0x00040000, 0x00010000])
def test_other_major_versions_are_refused_with_a_reason(server, protocol):
    with server.connect(startup=False) as c:
        c.send(startup_packet({"user": "tester"}, protocol))
        m = c.recv()
        assert m.kind == "E" and m.sqlstate() == "0A000" and m.fields()["S"] == "FATAL"
        assert c.drain() == []
    accepts_work(server)


def test_startup_without_user_is_refused(server):
    with server.connect(startup=False) as c:
        c.send(startup_packet({"database": "main"}))
        assert c.recv().sqlstate() == "28000"
        assert c.drain() == []


def test_startup_setting_is_in_force(server):
    with server.connect(statement_timeout="4321") as c:
        assert c.value("SHOW statement_timeout") == "4321ms"


def test_options_of_startup_are_settings(server):
    with server.connect(options="-c statement_timeout=1234 -c application_name=from\\ options") as c:
        assert c.value("SHOW statement_timeout") == "1234ms"
        assert c.value("SHOW application_name") == "from options"


def test_unknown_startup_setting_is_refused(server):
    with pytest.raises(wire.ServerError) as refusal:
        server.connect(no_such_setting="1")
    assert refusal.value.sqlstate == "42704" and refusal.value.fields["S"] == "FATAL"


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack("!I", 0),
        struct.pack("!I", 4),
        struct.pack("!II", 7, 196608),
        struct.pack("!I", 0xFFFFFFFF),
        struct.pack("!II", 0x7FFFFFFF, 196608),
        struct.pack("!II", 70000, 196608),
        struct.pack("!II", 8, 196608),  # no terminator
        struct.pack("!II", 13, 196608) + b"user\0",  # a name without a value
        struct.pack("!II", 12, 196608) + b"user",  # unterminated
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    ],
    ids=["zero", "four", "seven", "minus-one", "2G", "70000", "bare", "name-only", "unterminated", "http", "tls"],
)
def test_malformed_startup_is_refused_and_hurts_nobody(server, client, packet):
    with server.connect(startup=False) as c:
        c.send(packet)
        c.sock.shutdown(socket.SHUT_WR)
        for m in c.drain():
            assert m.kind == "E" and m.sqlstate()[:2] in ("08", "0A", "28")
    assert client.ok("SELECT 1") == [("1",)]
    accepts_work(server)


def test_startup_split_into_single_bytes(server):
    with server.connect(startup=False) as c:
        for byte in startup_packet({"user": "tester", "database": "main"}):
            c.sock.sendall(bytes([byte]))
        assert c.until_ready()[-1].status() == "I"
        for byte in query("SELECT 'slow'"):
            c.sock.sendall(bytes([byte]))
        assert rows(c.until_ready()) == [("slow",)]


# ---------------------------------------------------------------- simple query
def test_query_gives_rowdescription_rows_tag_ready(client):
    got = client.query("SELECT 1 AS one, 'zwei' AS zwei")
    assert kinds(got) == "TDCZ"
    assert [c["name"] for c in got[0].columns()] == ["one", "zwei"]
    assert [c["oid"] for c in got[0].columns()] == [wire.INT8, wire.TEXT]
    assert all(c["format"] == 0 and c["modifier"] == -1 for c in got[0].columns())
    assert got[2].tag() == "SELECT 1" and got[3].status() == "I"


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ",
        ";",
        ";;;",
        " ; ; ",
        "-- only a comment",
        "/* a */ /* b */",
        "-- a\n; -- b\n",
        "\t\r\n",
        "/* /* not nested in SQLite */",
    ],
)
def test_empty_query_gets_emptyqueryresponse_once(client, sql):
    assert kinds(client.query(sql)) == "IZ"


def test_comments_around_statements_are_skipped(client):
    got = client.query("-- first\nSELECT /* in ; the middle */ 1 -- last ;\n;/* end */")
    assert kinds(got) == "TDCZ"


def test_semicolons_in_strings_identifiers_and_triggers_do_not_split(db):
    got = db.query("""
        CREATE TABLE "a;b" (x TEXT DEFAULT ';', [y;z] TEXT);
        CREATE TABLE log (m);
        CREATE TRIGGER tr AFTER INSERT ON "a;b" BEGIN INSERT INTO log VALUES ('one;'); INSERT INTO log VALUES ('two'); END;
        INSERT INTO "a;b" ("y;z") VALUES (';''--;');
        SELECT x, "y;z" FROM "a;b"; SELECT m FROM log""")
    assert tags(got) == ["CREATE TABLE", "CREATE TABLE", "CREATE TRIGGER", "INSERT 0 1", "SELECT 1", "SELECT 2"]
    assert rows(got) == [(";", ";'--;"), ("one;",), ("two",)]


def test_each_statement_has_its_own_tag_and_rows(db):
    got = db.query(
        "CREATE TABLE t(a); INSERT INTO t VALUES (1),(2),(3); UPDATE t SET a = a + 1 WHERE a > 1; SELECT a FROM t;"
        "DELETE FROM t WHERE a = 1; SELECT count(*) FROM t; DROP TABLE t"
    )
    assert kinds(got) == "CCCTDDDCCTDCCZ"
    assert tags(got) == ["CREATE TABLE", "INSERT 0 3", "UPDATE 2", "SELECT 3", "DELETE 1", "SELECT 1", "DROP TABLE"]


def test_error_in_the_middle_stops_the_rest_and_keeps_what_was_before(db):
    got = db.query("CREATE TABLE t(a); INSERT INTO t VALUES (1); SELECT nonsense; INSERT INTO t VALUES (2)")
    assert kinds(got) == "CCEZ" and errors(got) == ["42703"]
    assert db.ok("SELECT a FROM t") == [("1",)]  # SQLite: each statement committed by itself


def test_syntax_error_late_in_a_query_runs_what_stands_before_it(db):
    got = db.query("CREATE TABLE t(a); INSERT INTO t VALUES (1); SELEC 1")
    assert kinds(got) == "CCEZ" and errors(got) == ["42601"]
    assert db.ok("SELECT count(*) FROM t") == [("1",)]


def test_many_statements_in_one_query(client):
    got = client.query("SELECT 7;" * 5000)
    assert len(got) == 5000 * 3 + 1 and set(tags(got)) == {"SELECT 1"}


def test_error_after_rows_were_sent(client):
    """The rows before the failing one are out already; then comes the error, then ReadyForQuery."""
    got = client.query(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10) "
        "SELECT CASE WHEN n < 5 THEN n ELSE json(n || '{') END FROM s"
    )
    assert kinds(got) in ("TDDDDEZ", "EZ") and len(errors(got)) == 1
    assert client.ok("SELECT 1") == [("1",)]


def test_error_position_is_in_characters_from_one(client):
    assert client.fails("SELECT nosuch")["P"] == "8"
    assert client.fails("SELECT 'ÄÖÜ€', nosuch")["P"] == "16"
    assert client.fails("SELECT 1; SELECT 22, nosuch")["P"] == "22"
    assert client.fails("SELECT 1 FROM nowhere")["C"] == "42P01"


# ---------------------------------------------------------------- extended query
def test_parse_bind_describe_execute_sync(client):
    got = client.ask(extended("SELECT $1 AS a, $2 AS b", ["x", None]))
    assert kinds(got) == "12TDCZ"
    assert rows(got) == [("x", None)]


def test_describe_statement_answers_before_execution(db):
    db.ok("CREATE TABLE t(i INTEGER PRIMARY KEY, r REAL, s TEXT, b BLOB, n NUMERIC, f BOOLEAN)")
    got = db.ask(
        parse("SELECT i, r, s, b, n, f FROM t WHERE i = $1", name="q", oids=[wire.INT8]), describe_statement("q")
    )
    assert kinds(got) == "1tTZ"
    assert got[1].oids() == [wire.INT8]
    assert [c["oid"] for c in got[2].columns()] == [
        wire.INT8,
        wire.FLOAT8,
        wire.TEXT,
        wire.BYTEA,
        wire.NUMERIC,
        wire.BOOL,
    ]
    assert all(c["format"] == 0 for c in got[2].columns())


def test_describe_statement_without_rows_is_nodata(db):
    db.ok("CREATE TABLE t(a)")
    got = db.ask(
        parse("INSERT INTO t VALUES ($1)", name="i"),
        describe_statement("i"),
        bind(["1"], stmt="i"),
        describe_portal(),
        execute(),
    )
    assert kinds(got) == "1tn2nCZ" and len(got[1].oids()) == 1
    assert tags(got) == ["INSERT 0 1"]


def test_describe_portal_carries_the_result_formats(client):
    got = client.ask(parse("SELECT 1, 2, 3"), bind(result_formats=[0, 1, 0]), describe_portal(), execute())
    assert [c["format"] for c in got[2].columns()] == [0, 1, 0]
    assert got[3].row() == [b"1", struct.pack("!q", 2), b"3"]
    got = client.ask(parse("SELECT 1, 2, 3"), bind(result_formats=[1]), describe_portal(), execute())
    assert [c["format"] for c in got[2].columns()] == [1, 1, 1]
    assert got[3].row() == [struct.pack("!q", n) for n in (1, 2, 3)]


def test_mixed_parameter_formats(client):
    got = client.ask(
        parse("SELECT $1 + 0, $2 || '', $3 + 0", oids=[wire.INT8, wire.TEXT, wire.FLOAT8]),
        bind([struct.pack("!q", 40), "two", struct.pack("!d", 1.5)], param_formats=[1, 0, 1]),
        execute(),
    )
    assert rows(got) == [("40", "two", "1.5")]


@pytest.mark.parametrize(
    "make, state",
    [
        (lambda: bind(["1", "2"]), "08P01"),
        (lambda: bind([]), "08P01"),
        (lambda: bind(["1"], param_formats=[0, 0]), "08P01"),
        (lambda: bind(["1"], param_formats=[2]), "22023"),
        (lambda: bind(["1"], result_formats=[7]), "22023"),
        (lambda: bind(["1"], result_formats=[0, 0, 0]), "08P01"),
        (lambda: bind([b"123"], param_formats=[1]), "08P01 22P03"),
        (lambda: bind([b"123456789"], param_formats=[1]), "22P03"),
    ],
    ids=[
        "too-many",
        "too-few",
        "formats",
        "param-format-2",
        "result-format-7",
        "result-formats",
        "int8-of-3-bytes",
        "int8-of-9-bytes",
    ],
)
def test_wrong_bind_is_an_error_not_a_lost_connection(client, make, state):
    got = client.ask(parse("SELECT $1", oids=[wire.INT8]), make(), describe_portal(), execute())
    assert kinds(got) == "1EZ" and errors(got)[0] in state.split()
    assert client.ok("SELECT 1") == [("1",)]


def test_error_skips_to_sync(db):
    db.ok("CREATE TABLE t(a)")
    got = db.ask(
        extended("INSERT INTO t VALUES (1)"),
        parse("SELECT broken"),
        bind(),
        execute(),
        extended("INSERT INTO t VALUES (2)"),
    )
    assert kinds(got) == "12nCEZ" and got[-1].status() == "I"
    assert db.ok("SELECT count(*) FROM t") == [("0",)]  # the batch was one transaction, as in PostgreSQL


def test_flush_delivers_without_sync(client):
    client.send(parse("SELECT 5"), flush())
    assert client.recv().kind == "1"
    client.send(bind(), describe_portal(), flush())
    assert [client.recv().kind for _ in range(2)] == ["2", "T"]
    client.send(execute(), flush())
    assert [client.recv().kind for _ in range(2)] == ["D", "C"]
    client.send(sync())
    assert client.recv().status() == "I"


def test_error_is_delivered_without_sync_or_flush(client):
    client.send(parse("SELECT broken"))
    assert client.recv().sqlstate() == "42703"
    client.send(sync())
    assert client.recv().kind == "Z"


def test_sync_alone(client):
    client.send(sync() * 3)
    assert kinds(client.until_ready() + client.until_ready() + client.until_ready()) == "ZZZ"


def test_portal_with_row_limit_is_suspended_and_resumed(client):
    got = client.ask(
        parse(NUMBERS.format(7)), bind(portal="p"), execute("p", 3), execute("p", 3), execute("p", 3), execute("p", 3)
    )
    assert kinds(got) == "12DDDsDDDsDCCZ"
    assert [int(r[0]) for r in rows(got)] == list(range(1, 8))
    assert tags(got) == ["SELECT 1", "SELECT 0"]


def test_portal_with_limit_equal_to_the_rows(client):
    """PostgreSQL says suspended when the limit was reached, even if no row is left; the next Execute completes."""
    got = client.ask(parse(NUMBERS.format(2)), bind(portal="p"), execute("p", 2), execute("p", 2))
    assert kinds(got) == "12DDsCZ"


def test_portals_interleave(client):
    got = client.ask(
        parse(NUMBERS.format(3), name="s"),
        bind(stmt="s", portal="a"),
        bind(stmt="s", portal="b"),
        execute("a", 1),
        execute("b", 2),
        execute("a", 5),
        execute("b", 5),
    )
    assert [int(r[0]) for r in rows(got)] == [1, 1, 2, 2, 3, 3]
    assert kinds(got) == "122DsDDsDDCDCZ"


def test_portal_lives_until_the_transaction_ends(client):
    client.ok("BEGIN")
    client.ask(parse(NUMBERS.format(5)), bind(portal="p"), execute("p", 2))
    got = client.ask(execute("p", 2))
    assert kinds(got) == "DDsZ" and rows(got) == [("3",), ("4",)]
    client.ok("COMMIT")
    assert errors(client.ask(execute("p", 2))) == ["34000"]


def test_portal_outside_a_transaction_ends_with_sync(client):
    client.ask(parse(NUMBERS.format(5)), bind(portal="p"), execute("p", 2))
    assert errors(client.ask(execute("p", 2))) == ["34000"]


def test_unnamed_portal_is_replaced_named_one_is_not(client):
    got = client.ask(parse("SELECT 1"), bind(), bind(), bind(portal="p"), bind(portal="p"))
    assert kinds(got) == "1222EZ" and errors(got) == ["42P03"]


def test_unnamed_statement_is_replaced_named_one_is_not(client):
    got = client.ask(parse("SELECT 1"), parse("SELECT 2"), parse("SELECT 3", name="s"), parse("SELECT 4", name="s"))
    assert kinds(got) == "111EZ" and errors(got) == ["42P05"]
    assert kinds(client.ask(close_statement("s"))) == "3Z"


def test_failed_parse_leaves_no_unnamed_statement_behind(client):
    """Manual, 55.2.3: an unnamed statement lasts until the next Parse of the unnamed statement."""
    client.ask(parse("SELECT 1"))
    assert errors(client.ask(parse("SELECT broken"))) == ["42703"]
    got = client.ask(bind(), execute())
    assert errors(got) == ["26000"]


def test_close_of_unknown_names_is_no_error(client):
    assert kinds(client.ask(close_statement("nobody"), close_portal("nobody"))) == "33Z"


@pytest.mark.parametrize(
    "part, state",
    [
        (describe_statement("nobody"), "26000"),
        (describe_portal("nobody"), "34000"),
        (bind(stmt="nobody"), "26000"),
        (execute("nobody"), "34000"),
    ],
)
def test_unknown_names_are_errors(client, part, state):
    got = client.ask(part)
    assert kinds(got) == "EZ" and errors(got) == [state]


def test_prepared_statement_is_used_again_and_again(db):
    db.ok("CREATE TABLE t(a INTEGER)")
    db.ask(parse("INSERT INTO t VALUES ($1)", name="i", oids=[wire.INT8]))
    for n in range(50):
        assert tags(db.ask(bind([str(n)], stmt="i"), execute())) == ["INSERT 0 1"]
    assert db.ok("SELECT count(*), sum(a) FROM t") == [("50", str(sum(range(50))))]
    assert kinds(db.ask(close_statement("i"))) == "3Z"
    assert errors(db.ask(bind(["1"], stmt="i"), execute())) == ["26000"]


def test_several_statements_in_one_parse_are_refused(client):
    got = client.ask(parse("SELECT 1; SELECT 2"))
    assert kinds(got) == "EZ" and errors(got) == ["42601"]
    assert kinds(client.ask(parse("SELECT 1;"), bind(), execute())) == "12DCZ"


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing"])
def test_empty_statement_in_the_extended_protocol(client, sql):
    got = client.ask(parse(sql), bind(), describe_portal(), execute())
    assert kinds(got) == "12nIZ"


def test_parameters_are_positions_whatever_their_order(client):
    got = client.ask(extended("SELECT $3, $1, $2, $1", ["a", "b", "c"]))
    assert rows(got) == [("c", "a", "b", "a")]


def test_sqlites_own_placeholders_work(client):
    assert rows(client.ask(extended("SELECT ?, ?", ["a", "b"]))) == [("a", "b")]
    assert rows(client.ask(extended("SELECT ?2, ?1", ["a", "b"]))) == [("b", "a")]
    assert rows(client.ask(extended("SELECT :x, @y, :x", ["a", "b"]))) == [("a", "b", "a")]


def test_pipelining_thousands_of_messages_in_one_write(db):
    db.ok("CREATE TABLE t(a INTEGER)")
    count = 5000
    batch = b"".join(
        parse("INSERT INTO t VALUES ($1)", oids=[wire.INT8]) + bind([str(n)]) + execute() for n in range(count)
    )
    sender = threading.Thread(target=db.sock.sendall, args=(batch + sync(),))
    sender.start()
    got = db.until_ready()
    sender.join()
    assert kinds(got) == "12C" * count + "Z"
    assert db.ok("SELECT count(*), sum(a) FROM t") == [(str(count), str(count * (count - 1) // 2))]


def test_pipelined_syncs_answer_in_order(client):
    client.send(*[extended("SELECT $1", [str(n)]) + sync() for n in range(1000)])
    for n in range(1000):
        assert rows(client.until_ready()) == [(str(n),)]


def test_pipelined_simple_queries(client):
    client.send(*[query(f"SELECT {n}") for n in range(1000)])
    for n in range(1000):
        assert rows(client.until_ready()) == [(str(n),)]


def test_pipeline_with_an_error_in_each_second_batch(client):
    client.send(
        *[
            (extended("SELECT 1") if n % 2 else parse("SELECT broken") + extended("SELECT 1")) + sync()
            for n in range(200)
        ]
    )
    for n in range(200):
        assert kinds(client.until_ready()) == ("12TDCZ" if n % 2 else "EZ")


def test_prepared_statement_notices_a_changed_result_shape(db):
    """The client has cached the RowDescription; other columns under it would be a lie (PostgreSQL: 0A000)."""
    db.ok("CREATE TABLE t(a INTEGER, b TEXT)")
    db.ok("INSERT INTO t VALUES (1, 'x')")
    db.ask(parse("SELECT * FROM t", name="s"), describe_statement("s"), bind(stmt="s"), execute())
    db.ok("ALTER TABLE t ADD COLUMN c TEXT")
    got = db.ask(bind(stmt="s"), execute())
    assert errors(got) == ["0A000"], got
    assert kinds(db.ask(parse("SELECT * FROM t"), bind(), execute())) == "12DCZ"


def test_prepared_statement_survives_unrelated_schema_changes(db):
    db.ok("CREATE TABLE t(a INTEGER)")
    db.ok("INSERT INTO t VALUES (1)")
    db.ask(parse("SELECT a FROM t", name="s"), describe_statement("s"))
    db.ok("CREATE TABLE other(x)")
    assert rows(db.ask(bind(stmt="s"), execute())) == [("1",)]


# ---------------------------------------------------------------- refused and malformed
def test_function_call_is_refused_and_the_session_goes_on(client):
    client.send(function_call())
    got = client.until_ready()
    assert kinds(got) == "EZ" and errors(got) == ["0A000"]
    assert client.ok("SELECT 1") == [("1",)]


def test_copy_messages_outside_copy_are_ignored(client):
    """Manual, 55.2.6: after an error the client may still be sending copy data, so these are not protocol errors."""
    client.send(wire.copy_data("x"), wire.copy_done(), wire.copy_fail(), query("SELECT 1"))
    assert kinds(client.until_ready()) == "TDCZ"


MALFORMED = {
    "length-0": b"Q" + struct.pack("!I", 0),
    "length-3": b"Q" + struct.pack("!I", 3),
    "length-minus-1": b"Q" + struct.pack("!i", -1),
    "length-2G": b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"SELECT 1",
    "unknown-type": msg("!", b"abc"),
    "type-zero": b"\0" + struct.pack("!I", 4),
    "backend-type": msg("Z", b"I"),
    "password-late": msg("p", b"secret\0"),
    "query-unterminated": msg("Q", b"SELECT 1"),
    "query-empty-body": msg("Q"),
    "query-trailing-bytes": msg("Q", b"SELECT 1\0junk"),
    "parse-truncated": msg("P", b"name\0SELECT 1"),
    "parse-count-lies": msg("P", b"\0SELECT 1\0" + struct.pack("!H", 5)),
    "bind-count-lies": msg("B", b"\0\0" + struct.pack("!HH", 0, 65535)),
    "bind-length-lies": msg("B", b"\0\0" + struct.pack("!HHi", 0, 1, 0x7FFFFFFF) + b"x"),
    "bind-length-minus-2": msg("B", b"\0\0" + struct.pack("!HHi", 0, 1, -2) + struct.pack("!H", 0)),
    "bind-trailing-bytes": msg("B", b"\0\0" + struct.pack("!HHH", 0, 0, 0) + b"tail"),
    "describe-kind": msg("D", b"Xname\0"),
    "describe-empty": msg("D"),
    "close-kind": msg("C", b"?name\0"),
    "execute-truncated": msg("E", b"portal\0\0"),
    "sync-with-body": msg("S", b"x"),
    "flush-with-body": msg("H", b"x"),
    "function-call-truncated": msg("F", b"\0"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_message_is_08p01_or_a_clean_close(server, name):
    with server.connect() as bystander, server.connect() as c:
        bystander.ok("BEGIN")
        c.ask(parse("SELECT 1"))
        c.send(MALFORMED[name], sync())
        c.sock.shutdown(socket.SHUT_WR)
        got = c.drain()
        if got or not name.startswith("length-"):  # PostgreSQL closes without a word after a length below 4
            assert got[0].kind == "E" and got[0].sqlstate() in ("08P01", "0A000", "22021", "54000"), got
        assert bystander.ok("SELECT 'unaffected'") == [("unaffected",)]
        bystander.ok("COMMIT")
    accepts_work(server)


@pytest.mark.parametrize("cut", [1, 3, 5, 9])
def test_connection_lost_inside_a_message(server, cut):
    with server.connect() as c:
        c.send(query("SELECT 1")[:cut])
        c.sock.shutdown(socket.SHUT_WR)
        assert all(m.kind == "E" for m in c.drain())
    accepts_work(server)


def test_invalid_utf8_in_a_query_is_22021(client):
    client.send(msg("Q", b"SELECT '\xff\xfe'\0"))
    got = client.until_ready()
    assert errors(got) == ["22021"]
    assert client.ok("SELECT 1") == [("1",)]


def test_invalid_utf8_in_a_text_parameter_is_22021(client):
    got = client.ask(parse("SELECT $1", oids=[wire.TEXT]), bind([b"\xc3\x28"]), execute())
    assert errors(got) == ["22021"]
    got = client.ask(parse("SELECT $1", oids=[wire.TEXT]), bind([b"a\0b"]), execute())
    assert errors(got) == ["22021"]


def test_terminate_closes_at_once(server):
    c = server.connect()
    c.bye()


def test_terminate_in_a_transaction_rolls_back(server, scratch):
    with server.connect(database=scratch) as keeper:
        keeper.ok("CREATE TABLE t(a)")
        c = server.connect(database=scratch)
        c.ok("BEGIN; INSERT INTO t VALUES (1)")
        c.bye()
        keeper.ok("INSERT INTO t VALUES (2)")
        assert keeper.ok("SELECT a FROM t") == [("2",)]


def test_lost_connection_rolls_back_and_frees_the_write_slot(server, scratch):
    with server.connect(database=scratch) as keeper:
        keeper.ok("CREATE TABLE t(a)")
        c = server.connect(database=scratch)
        c.ok("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
        c.sock.close()
        keeper.ok("INSERT INTO t VALUES (2)")
        assert keeper.ok("SELECT a FROM t") == [("2",)]


# ---------------------------------------------------------------- cancellation
def cancel_until_it_ends(c, thread):
    """A cancel that arrives before the statement has begun is lost, so it is repeated."""
    while thread.is_alive():
        c.cancel()
        thread.join(0.05)


def test_cancel_stops_an_endless_statement(client):
    result = []
    runner = threading.Thread(target=lambda: result.extend(client.query(ENDLESS)))
    runner.start()
    cancel_until_it_ends(client, runner)
    assert kinds(result)[-2:] == "EZ" and errors(result) == ["57014"] and result[-1].status() == "I"
    assert client.ok("SELECT 1") == [("1",)]


def test_cancel_in_a_transaction_keeps_the_transaction(db):
    db.ok("CREATE TABLE t(a)")
    db.ok("BEGIN; INSERT INTO t VALUES (1)")
    result = []
    runner = threading.Thread(target=lambda: result.extend(db.query(ENDLESS)))
    runner.start()
    cancel_until_it_ends(db, runner)
    assert errors(result) == ["57014"] and result[-1].status() == "T"
    db.ok("COMMIT")
    assert db.ok("SELECT a FROM t") == [("1",)]


def test_cancel_in_the_extended_protocol(client):
    result = []
    runner = threading.Thread(target=lambda: result.extend(client.ask(extended(ENDLESS))))
    runner.start()
    cancel_until_it_ends(client, runner)
    assert errors(result) == ["57014"]
    assert client.ok("SELECT 1") == [("1",)]


def test_cancel_of_an_idle_session_does_nothing(client):
    """The cancel's connection is closed when it has had its effect: what is said after that is not meant."""
    for _ in range(100):
        client.cancel()
        assert client.ok("SELECT 1") == [("1",)]


def test_cancel_right_behind_its_statement_is_not_lost(client):
    for _ in range(50):
        client.send(query(ENDLESS))
        client.cancel()
        assert errors(client.until_ready()) == ["57014"]


def test_cancel_from_a_client_that_does_not_wait_for_it_counts(client, server):
    for _ in range(20):
        client.send(query(ENDLESS))
        with socket.create_connection(("127.0.0.1", server.port)) as canceller:
            canceller.sendall(special_request(wire.CANCEL_REQUEST, struct.pack("!II", client.pid, client.secret)))
        assert errors(client.until_ready()) == ["57014"]


def test_cancel_with_a_wrong_key_does_nothing(server, client):
    result = []
    runner = threading.Thread(
        target=lambda: result.extend(
            client.query(NUMBERS.format(2000000).replace("SELECT n FROM s", "SELECT count(*) FROM s"))
        )
    )
    runner.start()
    for wrong in (client.secret ^ 1, 0, 0xFFFFFFFF):
        wire.cancel_session(server.port, client.pid, wrong)
    wire.cancel_session(server.port, client.pid ^ 0x40000000, client.secret)
    runner.join()
    assert not errors(result) and rows(result) == [("2000000",)]


# ---------------------------------------------------------------- clients that do not behave
def test_reader_that_never_reads_costs_no_memory(server):
    """Back pressure: more than two gigabytes of rows for a client that reads nothing, then only slowly."""
    with server.connect(rcvbuf=65536) as lazy:
        before = server.rss_kb()
        lazy.send(query(NUMBERS.format(20000000).replace("SELECT n FROM s", "SELECT n, hex(zeroblob(60)) FROM s")))
        first = lazy.recv()
        assert first.kind == "T"
        most = total = 0
        while total < (64 << 20):  # read a part of it, so that the statement has run for long
            total += sum(len(lazy.recv().body) for _ in range(5000))
            most = max(most, server.rss_kb())
        assert most - before < 64 * 1024, f"grew by {most - before} kB"
        accepts_work(server)
    # the reader is gone without a word: the statement must end, and the server must be as before
    poll(lambda: server.rss_kb() - before < 64 * 1024, "memory came back")
    accepts_work(server)


def test_half_closed_client_gets_its_answers(server):
    """The client has shut down its sending side; what it had asked for is still answered, then the server closes."""
    with server.connect() as c:
        c.send(query("SELECT 1"), query("SELECT 2"))
        c.sock.shutdown(socket.SHUT_WR)
        assert rows(c.drain()) == [("1",), ("2",)]


@pytest.mark.parametrize(
    "statement, how", [("computes", "reset"), ("sleeps", "reset"), ("sends rows", "reset"), ("sends rows", "closed")]
)
def test_client_that_vanishes_during_its_statement(server, statement, how):
    """A plain close looks like a client that still waits for its answer, until something is sent to it."""
    before = server.socket_count()
    sql = {"computes": ENDLESS, "sends rows": ENDLESS.replace("count(*)", "n"), "sleeps": "SELECT pg_sleep(60)"}[
        statement
    ]
    for _ in range(10):
        c = server.connect()
        c.send(query(sql))
        if statement == "sends rows":
            c.recv()
        if how == "reset":
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.sock.close()
    poll(lambda: server.socket_count() <= before, "the lost connections are closed", timeout=30)
    accepts_work(server)


def test_thousands_of_connections_one_after_the_other(server):
    before_sockets, before_kb = server.socket_count(), server.rss_kb()
    for n in range(2000):
        with server.connect() as c:
            if n % 4 == 0:
                c.ok("SELECT 1")
    poll(lambda: server.socket_count() <= before_sockets, "all connections are closed")
    assert server.rss_kb() - before_kb < 32 * 1024


def test_connections_that_say_nothing_disturb_nobody(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        accepts_work(server)
    finally:
        for s in silent:
            s.close()
    accepts_work(server)
