"""COPY FROM STDIN and COPY TO STDOUT, text and CSV (PostgreSQL manual, "COPY", and "COPY Operations")."""

import pytest

import wire
from wire import copy_data, copy_done, copy_fail, errors, kinds, query, rows, sync, tags


def copy_in(c, sql, *pieces, end=None):
    """Runs a COPY FROM STDIN as a simple query; all messages after CopyInResponse."""
    c.send(query(sql))
    first = c.until("GEZ")
    if first[-1].kind == "E":
        return first + c.until_ready()
    assert first[-1].kind == "G", first
    c.send(*[copy_data(p) for p in pieces], end if end is not None else copy_done())
    return c.until_ready()


def copy_out(c, sql):
    got = c.query(sql)
    assert not errors(got), got
    assert kinds(got)[0] == "H" and kinds(got)[-3:] == "cCZ", got
    return b"".join(m.body for m in got if m.kind == "d").decode()


@pytest.fixture
def table(db):
    db.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, price REAL, data BLOB)")
    return db


def test_copy_from_text(table):
    got = copy_in(table, "COPY t FROM STDIN", "1\tone\t1.5\t\\\\x00ff\n2\t\\N\t\\N\t\\N\n")
    assert kinds(got) == "CZ" and tags(got) == ["COPY 2"]
    assert table.ok("SELECT id, name, price, hex(data), typeof(data) FROM t") == [
        ("1", "one", "1.5", "00FF", "blob"),
        ("2", None, None, "", "null"),
    ]


def test_copyinresponse_names_formats_of_all_columns(table):
    table.send(query("COPY t(name, id) FROM STDIN"))
    assert table.recv().copy_response() == (0, [0, 0])
    table.send(copy_fail("changed my mind"))
    got = table.until_ready()
    assert kinds(got) == "EZ" and errors(got) == ["57014"] and "changed my mind" in got[0].fields()["M"]
    assert table.ok("SELECT count(*) FROM t") == [("0",)]


def test_copy_from_with_a_column_list(table):
    assert tags(copy_in(table, "COPY t(name, id) FROM STDIN", "a\t7\nb\t8\n")) == ["COPY 2"]
    assert table.ok("SELECT id, name, price FROM t") == [("7", "a", None), ("8", "b", None)]


def test_text_escapes(table):
    copy_in(table, "COPY t(id, name) FROM STDIN", "1\ttab\\tnl\\ncr\\rback\\\\oct\\101hex\\x42bs\\bvt\\v\\N\n")
    assert table.value("SELECT name FROM t") == "tab\tnl\ncr\rback\\octAhexBbs\bvt\vN"


def test_rows_cut_anywhere_between_copydata_messages(table):
    data = "1\tone\n2\ttwo ☃\n3\t\\N\n".encode()
    got = copy_in(table, "COPY t(id, name) FROM STDIN", *[data[n : n + 1] for n in range(len(data))])
    assert tags(got) == ["COPY 3"]
    assert table.ok("SELECT name FROM t ORDER BY id") == [("one",), ("two ☃",), (None,)]


def test_last_line_without_newline_and_end_marker(table):
    assert tags(copy_in(table, "COPY t(id) FROM STDIN", "1\n2")) == ["COPY 2"]
    assert tags(copy_in(table, "COPY t(id) FROM STDIN", "3\n\\.\n")) == ["COPY 1"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings(table, ending):
    assert tags(copy_in(table, "COPY t(id, name) FROM STDIN", ending.join(["1\ta", "2\tb", ""]))) == ["COPY 2"]
    assert table.ok("SELECT name FROM t ORDER BY id") == [("a",), ("b",)]


def test_csv_quotes_newlines_and_nulls(table):
    got = copy_in(
        table,
        "COPY t(id, name) FROM STDIN (FORMAT csv, HEADER)",
        'id,name\n1,"a ""quoted"", one"\n2,\n3,""\n4,"two\nlines"\n',
    )
    assert tags(got) == ["COPY 4"]
    assert table.ok("SELECT name FROM t ORDER BY id") == [('a "quoted", one',), (None,), ("",), ("two\nlines",)]


@pytest.mark.parametrize(
    "options, data",
    [
        ("(DELIMITER '|')", "1|x\n"),
        ("(DELIMITER '|', NULL 'nil')", "1|x\n"),
        ("(FORMAT csv, DELIMITER ';')", "1;x\n"),
        ("(FORMAT csv, QUOTE '''')", "1,'x'\n"),
        ("(FORMAT csv, QUOTE '\"', ESCAPE '\\')", '1,"x"\n'),
        ("WITH DELIMITER '|'", "1|x\n"),
        ("WITH CSV", "1,x\n"),
        ("CSV HEADER", "h,h\n1,x\n"),
        ("(FORMAT csv, HEADER true)", "h,h\n1,x\n"),
        ("(FORMAT text, ENCODING 'UTF8')", "1\tx\n"),
        ("(FORMAT csv, FORCE_NOT_NULL (name))", "1,x\n"),
    ],
)
def test_usual_options_of_copy_from(table, options, data):
    assert tags(copy_in(table, f"COPY t(id, name) FROM STDIN {options}", data)) == ["COPY 1"]
    assert table.ok("SELECT id, name FROM t") == [("1", "x")]


@pytest.mark.parametrize(
    "data, state",
    [
        ("1\n", "22P04"),
        ("1\ta\tb\n", "22P04"),  # too few, too many columns
        ("1\t\xff\n".encode("latin-1"), "22021"),
        ("1\ta\n1\tagain\n", "23505"),
    ],
)
def test_bad_copy_data_fails_names_the_line_and_keeps_nothing(table, data, state):
    table.ok("INSERT INTO t(id) VALUES (100)")
    got = copy_in(table, "COPY t(id, name) FROM STDIN", "50\tgood\n", data)
    assert errors(got) == [state] and kinds(got) == "EZ"
    error = got[0].fields()
    assert "line" in error.get("W", "") + error["M"], error
    assert table.ok("SELECT id FROM t") == [("100",)]
    assert table.ok("SELECT 1") == [("1",)]


def test_errors_while_the_client_still_sends(table):
    """Data that comes after the error is read and dropped up to CopyDone."""
    table.send(query("COPY t(id) FROM STDIN"))
    assert table.recv().kind == "G"
    table.send(copy_data("1\nnonsense\textra\n"))
    for n in range(200):
        table.send(copy_data(f"{n + 10}\n" * 100))
    table.send(copy_done(), query("SELECT 'after'"))
    got = table.until_ready()
    assert errors(got) == ["22P04"]
    assert rows(table.until_ready()) == [("after",)]


def test_copy_to_text_and_csv(table):
    table.ok("INSERT INTO t VALUES (1, 'tab\there', 1.5, x'00ff'), (2, NULL, NULL, NULL)")
    assert copy_out(table, "COPY t TO STDOUT") == "1\ttab\\there\t1.5\t\\\\x00ff\n2\t\\N\t\\N\t\\N\n"
    assert copy_out(table, "COPY t(name, id) TO STDOUT (FORMAT csv, HEADER)") == "name,id\ntab\there,1\n,2\n"
    assert copy_out(table, "COPY (SELECT id * 10, name FROM t WHERE id = 1) TO STDOUT WITH CSV") == "10,tab\there\n"
    assert copy_out(table, "COPY (SELECT 1 WHERE 0) TO STDOUT") == ""


def test_copy_to_tag_counts_rows(table):
    table.ok("INSERT INTO t(id) VALUES (1), (2), (3)")
    assert tags(table.query("COPY t TO STDOUT")) == ["COPY 3"]
    assert table.query("COPY t TO STDOUT")[0].copy_response() == (0, [0, 0, 0, 0])


def test_csv_quoting_on_the_way_out(table):
    table.ok(
        """INSERT INTO t(id, name) VALUES (1, 'a,b'), (2, 'say "hi"'), (3, ''), (4, NULL), (5, 'two' || char(10) || 'lines')"""
    )
    assert copy_out(table, "COPY t(name) TO STDOUT CSV") == '"a,b"\n"say ""hi"""\n""\n\n"two\nlines"\n'
    assert (
        copy_out(table, "COPY t(id, name) TO STDOUT (FORMAT csv, FORCE_QUOTE (id), NULL 'nil')").splitlines()[3]
        == '"4",nil'
    )


def test_round_trip_of_every_character(db):
    db.ok("CREATE TABLE a(i INTEGER PRIMARY KEY, c TEXT); CREATE TABLE b(i INTEGER PRIMARY KEY, c TEXT)")
    db.ok(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 400) "
        "INSERT INTO a SELECT n, 'x' || char(n) || 'y' || char(n) FROM s"
    )
    for options in ("", "(FORMAT csv)", "(FORMAT csv, DELIMITER ';', FORCE_QUOTE *)"):
        data = copy_out(db, f"COPY a TO STDOUT {options}")
        db.ok("DELETE FROM b")
        assert tags(copy_in(db, f"COPY b FROM STDIN {options.replace(', FORCE_QUOTE *', '')}", data)) == ["COPY 400"]
        assert db.ok("SELECT count(*) FROM a JOIN b USING (i) WHERE a.c = b.c") == [("400",)]


def test_copy_in_a_transaction(table):
    table.ok("BEGIN")
    got = copy_in(table, "COPY t(id) FROM STDIN", "1\n2\n")
    assert got[-1].status() == "T"
    table.ok("ROLLBACK")
    assert table.ok("SELECT count(*) FROM t") == [("0",)]
    table.ok("BEGIN; INSERT INTO t(id) VALUES (9)")
    got = copy_in(table, "COPY t(id) FROM STDIN", "1\n9\n")
    assert errors(got) == ["23505"] and got[-1].status() == "T"  # only the COPY is undone
    table.ok("COMMIT")
    assert table.ok("SELECT id FROM t") == [("9",)]


def test_copy_in_the_extended_protocol(table):
    table.send(wire.parse("COPY t(id) FROM STDIN"), wire.bind(), wire.describe_portal(), wire.execute(), sync())
    got = table.until("GEZ")
    assert kinds(got) == "12nG"
    # the manual: a Sync sent while copying is ignored by the server, the client sends one after CopyDone
    table.send(copy_data("1\n"), copy_done(), sync())
    got = table.until_ready()
    assert kinds(got) == "CZ" and tags(got) == ["COPY 1"]
    got = table.ask(wire.extended("COPY t(id) TO STDOUT"))
    assert kinds(got) == "12nHdcCZ"


def test_copy_fail_in_the_extended_protocol_skips_to_sync(table):
    table.send(wire.parse("COPY t(id) FROM STDIN"), wire.bind(), wire.execute())
    table.send(wire.flush())
    assert kinds(table.until("G")) == "12G"
    table.send(copy_fail("stop"), wire.extended("SELECT 1"), sync())
    got = table.until_ready()
    assert kinds(got) == "EZ" and errors(got) == ["57014"]


def test_query_during_copy_in_aborts_it(table):
    table.send(query("COPY t(id) FROM STDIN"))
    assert table.recv().kind == "G"
    table.send(copy_data("1\n"), query("SELECT 1"))
    got = table.until("E")
    assert got[-1].sqlstate() == "08P01"
    table.send(wire.terminate())
    assert all(m.kind in "EZTDC" for m in table.drain())


def test_flush_and_sync_during_copy_in_are_ignored(table):
    table.send(query("COPY t(id) FROM STDIN"))
    assert table.recv().kind == "G"
    table.send(wire.flush(), copy_data("1\n"), sync(), copy_data("2\n"), copy_done())
    assert tags(table.until_ready()) == ["COPY 2"]


def test_copy_among_other_statements(table):
    table.send(query("INSERT INTO t(id) VALUES (50); COPY t(id) FROM STDIN; SELECT count(*) FROM t"))
    got = table.until("G")
    assert kinds(got) == "CG"
    table.send(copy_data("1\n2\n"), copy_done())
    got = table.until_ready()
    assert kinds(got) == "CTDCZ" and rows(got) == [("3",)]
    assert tags(table.query("COPY (SELECT 1) TO STDOUT; SELECT 2")) == ["COPY 1", "SELECT 1"]


@pytest.mark.parametrize(
    "sql, state",
    [
        ("COPY nowhere FROM STDIN", "42P01"),
        ("COPY t(nocolumn) FROM STDIN", "42703"),
        ("COPY nowhere TO STDOUT", "42P01"),
        ("COPY (SELECT broken) TO STDOUT", "42703"),
        ("COPY t FROM", "42601"),
        ("COPY t FROM STDIN (FORMAT xml)", "22023"),
        ("COPY t FROM STDIN (FORMAT binary)", "0A000"),
        ("COPY t TO STDOUT WITH BINARY", "0A000"),
        ("COPY t FROM '/etc/passwd'", "42501"),
        ("COPY t TO '/tmp/leak'", "42501"),
        ("COPY t FROM PROGRAM 'id'", "42501"),
        ("COPY t TO PROGRAM 'cat'", "42501"),
        ("COPY t FROM STDIN (DELIMITER 'ab')", "0A000"),
        ("COPY t FROM STDIN (NO_SUCH_OPTION 1)", "42601"),
    ],
)
def test_refused_copies(table, sql, state):
    assert table.fails(sql)["C"] == state
    assert table.ok("SELECT 1") == [("1",)]


def test_copy_of_a_view_and_constraints_and_triggers(db):
    db.ok(
        "CREATE TABLE t(a INTEGER CHECK (a > 0)); CREATE TABLE log(a);"
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END; CREATE VIEW v AS SELECT a FROM t"
    )
    assert tags(copy_in(db, "COPY t FROM STDIN", "1\n2\n")) == ["COPY 2"]
    assert db.ok("SELECT count(*) FROM log") == [("2",)]
    assert errors(copy_in(db, "COPY t FROM STDIN", "3\n-1\n")) == ["23514"]
    assert copy_out(db, "COPY (SELECT * FROM v) TO STDOUT") == "1\n2\n"


def test_copy_of_many_rows_both_ways(db):
    db.ok("CREATE TABLE t(i INTEGER PRIMARY KEY, s TEXT)")
    data = "".join(f"{n}\trow number {n}\n" for n in range(100000))
    pieces = [data[n : n + 65536] for n in range(0, len(data), 65536)]
    assert tags(copy_in(db, "COPY t FROM STDIN", *pieces)) == ["COPY 100000"]
    assert copy_out(db, "COPY t TO STDOUT") == data


def test_cancel_of_copy_to_and_of_copy_from(db):
    endless = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s"
    db.send(query(f"COPY ({endless}) TO STDOUT"))
    assert db.recv().kind == "H"
    db.cancel()
    while True:
        m = db.recv()
        if m.kind != "d":
            break
    assert m.kind == "E" and m.sqlstate() == "57014"
    assert db.until_ready()[-1].status() == "I"

    db.ok("CREATE TABLE t(a)")
    db.send(query("COPY t FROM STDIN"))
    assert db.recv().kind == "G"
    db.send(copy_data("1\n"))
    db.cancel()
    db.send(copy_data("2\n"), copy_done())
    got = db.until_ready()
    # the request may come too late for this one; never both
    assert (errors(got) == ["57014"]) != (tags(got) == ["COPY 2"])
    assert db.ok("SELECT 1") == [("1",)]
