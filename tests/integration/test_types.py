"""Values and their types on the wire: which OID a column announces, and what bytes a value becomes, both ways."""

import datetime
import struct

import pytest

import wire
from wire import bind, describe_portal, describe_statement, errors, execute, kinds, parse, rows

DECLARED = [
    ("INTEGER", wire.INT8),
    ("INT", wire.INT8),
    ("BIGINT", wire.INT8),
    ("TINYINT", wire.INT8),
    ("INT4", wire.INT8),
    ("BOOL", wire.BOOL),
    ("BOOLEAN", wire.BOOL),
    ("REAL", wire.FLOAT8),
    ("DOUBLE", wire.FLOAT8),
    ("FLOAT", wire.FLOAT8),
    ("DOUBLE PRECISION", wire.FLOAT8),
    ("NUMERIC", wire.NUMERIC),
    ("DECIMAL(10,2)", wire.NUMERIC),
    ("TEXT", wire.TEXT),
    ("VARCHAR(20)", wire.TEXT),
    ("CHAR(3)", wire.TEXT),
    ("CLOB", wire.TEXT),
    ("BLOB", wire.BYTEA),
    ("BYTEA", wire.BYTEA),
    ("DATE", wire.DATE),
    ("TIME", wire.TIME),
    ("DATETIME", wire.TIMESTAMP),
    ("TIMESTAMP", wire.TIMESTAMP),
    ("UUID", wire.UUID),
    ("JSON", wire.JSON),
]


def send(client, sql, value, oid, fmt=1, result_fmt=0):
    """One parameter in, one column out: its bytes, or the SQLSTATE."""
    got = client.ask(parse(sql, oids=[oid]), bind([value], param_formats=[fmt], result_formats=[result_fmt]), execute())
    if errors(got):
        return errors(got)[0]
    ((value,),) = [m.row() for m in got if m.kind == "D"]
    return value


@pytest.mark.parametrize("declared, oid", DECLARED, ids=[d for d, _ in DECLARED])
def test_declared_type_gives_the_columns_oid(db, declared, oid):
    db.ok(f"CREATE TABLE t(c {declared})")
    for sql in ("SELECT c FROM t", "SELECT x.c AS d FROM t x", "SELECT c FROM (SELECT c FROM t)"):
        got = db.ask(parse(sql), describe_statement(), bind(), describe_portal(), execute())
        assert [c["oid"] for m in got if m.kind == "T" for c in m.columns()] == [oid, oid]
        assert [c["oid"] for c in db.query(sql)[0].columns()] == [oid]


def test_declared_type_in_a_strict_table(db):
    db.ok("CREATE TABLE t(i INT, r REAL, s TEXT, b BLOB, a ANY) STRICT; INSERT INTO t VALUES (1, 2, 'x', x'00', 'any')")
    assert [c["oid"] for c in db.query("SELECT i, r, s, b FROM t")[0].columns()] == [
        wire.INT8,
        wire.FLOAT8,
        wire.TEXT,
        wire.BYTEA,
    ]


def test_expressions_take_the_first_rows_storage_class(client):
    got = client.query("SELECT 1, 1.5, 'x', x'ab', NULL, 1 + 1, 7 > 3, count(*), abs(-2.5)")
    assert [c["oid"] for c in got[0].columns()] == [
        wire.INT8,
        wire.FLOAT8,
        wire.TEXT,
        wire.BYTEA,
        wire.TEXT,
        wire.INT8,
        wire.INT8,
        wire.INT8,
        wire.FLOAT8,
    ]


def test_expression_without_rows_is_text(client):
    got = client.query("SELECT 1 + 1 WHERE 0")
    assert kinds(got) == "TCZ" and got[0].columns()[0]["oid"] == wire.TEXT


@pytest.mark.parametrize(
    "sql, text",
    [
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0", "0"),
        ("1.5", "1.5"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1e308 * 10", None),
        ("-0.0", None),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("5e-324", "5e-324"),
        ("123456789012345680.0", None),
        ("x'00ff10'", "\\x00ff10"),
        ("x''", "\\x"),
        ("'it''s'", "it's"),
        ("''", ""),
        ("'€𝄞'", "€𝄞"),
        ("NULL", None),
    ],
)
def test_values_in_text_format(client, sql, text):
    ((value,),) = client.ok(f"SELECT {sql}")
    if text is not None or sql == "NULL":
        assert value == text
    elif "308" in sql:
        assert value == "Infinity"
    else:
        assert float(value) == eval(sql)


@pytest.mark.parametrize(
    "sql, raw",
    [
        ("9223372036854775807", struct.pack("!q", 2**63 - 1)),
        ("-1", struct.pack("!q", -1)),
        ("0.1 + 0.2", struct.pack("!d", 0.1 + 0.2)),
        ("1e308 * 10", struct.pack("!d", float("inf"))),
        ("'€'", "€".encode()),
        ("x'00ff10'", b"\0\xff\x10"),
        ("NULL", None),
    ],
)
def test_values_in_binary_format(client, sql, raw):
    got = client.ask(parse(f"SELECT {sql}"), bind(result_formats=[1]), execute())
    assert [m.row() for m in got if m.kind == "D"] == [[raw]]


COLUMNS = [  # declared, literal, text, binary
    ("BOOLEAN", "1", "t", b"\1"),
    ("BOOLEAN", "0", "f", b"\0"),
    ("BOOLEAN", "'true'", "t", b"\1"),
    (
        "DATE",
        "'2024-02-29'",
        "2024-02-29",
        struct.pack("!i", (datetime.date(2024, 2, 29) - datetime.date(2000, 1, 1)).days),
    ),
    ("TIME", "'12:34:56.5'", "12:34:56.5", struct.pack("!q", ((12 * 60 + 34) * 60 + 56) * 1000000 + 500000)),
    ("TIMESTAMP", "'2000-01-02 00:00:01'", "2000-01-02 00:00:01", struct.pack("!q", 86401 * 1000000)),
    (
        "UUID",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        bytes.fromhex("a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    ),
    ("JSON", "'{\"a\": [1]}'", '{"a": [1]}', b'{"a": [1]}'),
    ("NUMERIC", "12345", "12345", struct.pack("!HhHHHH", 2, 1, 0, 0, 1, 2345)),
    ("NUMERIC", "-1.5", "-1.5", struct.pack("!HhHHHH", 2, 0, 0x4000, 1, 1, 5000)),
    ("INTEGER", "42", "42", struct.pack("!q", 42)),
    ("REAL", "2", "2", struct.pack("!d", 2.0)),
    ("TEXT", "'x'", "x", b"x"),
    ("BLOB", "x'6162'", "\\x6162", b"ab"),
]


@pytest.mark.parametrize("declared, literal, text, raw", COLUMNS, ids=[f"{c[0]}-{c[1]}" for c in COLUMNS])
def test_typed_columns_in_both_formats(db, declared, literal, text, raw):
    db.ok(f"CREATE TABLE t(c {declared}); INSERT INTO t VALUES ({literal}), (NULL)")
    assert db.ok("SELECT c FROM t") == [(text,), (None,)]
    got = db.ask(parse("SELECT c FROM t"), bind(result_formats=[1]), execute())
    assert [m.row() for m in got if m.kind == "D"] == [[raw], [None]]


MISFITS = [
    ("INTEGER", "'not a number'", "not a number"),
    ("INTEGER", "1.5", "1.5"),
    ("REAL", "'x'", "x"),
    ("BOOLEAN", "7", "7"),
    ("DATE", "'soon'", "soon"),
    ("UUID", "'nobody'", "nobody"),
    ("NUMERIC", "'many'", "many"),
    ("BLOB", "'text in a blob column'", "text in a blob column"),
    ("TIMESTAMP", "12345.5", "12345.5"),
]


@pytest.mark.parametrize("declared, literal, text", MISFITS, ids=[f"{c[0]}-{c[1]}" for c in MISFITS])
def test_value_that_does_not_fit_is_text_in_text_and_22p02_in_binary(db, declared, literal, text):
    db.ok(f"CREATE TABLE t(c {declared}); INSERT INTO t VALUES ({literal})")
    assert db.ok("SELECT c FROM t") == [(text,)]
    got = db.ask(parse("SELECT c FROM t"), bind(result_formats=[1]), execute())
    assert errors(got) == ["22P02"]
    fields = [m for m in got if m.kind == "E"][0].fields()
    said = fields["M"] + fields.get("D", "")
    assert "1" in said and '"c"' in said, said  # row and column
    assert db.ok("SELECT 1") == [("1",)]


def test_column_of_mixed_values_in_text_format(db):
    db.ok("CREATE TABLE t(c); INSERT INTO t VALUES (1), ('two'), (3.5), (x'04'), (NULL)")
    assert [r[0] for r in db.ok("SELECT c FROM t ORDER BY rowid")][:3] == ["1", "two", "3.5"]


PARAMETERS = [  # oid, bytes, SQL over $1, expected text
    (wire.INT2, struct.pack("!h", -7), "typeof($1) || $1", "integer-7"),
    (wire.INT4, struct.pack("!i", 70000), "typeof($1) || $1", "integer70000"),
    (wire.INT8, struct.pack("!q", -(2**63)), "typeof($1) || $1", "integer-9223372036854775808"),
    (wire.FLOAT4, struct.pack("!f", 0.5), "typeof($1) || $1", "real0.5"),
    (wire.FLOAT8, struct.pack("!d", 0.1), "typeof($1) || $1", "real0.1"),
    (wire.BOOL, b"\1", "typeof($1) || $1", "integer1"),
    (wire.TEXT, "größe".encode(), "typeof($1) || $1", "textgröße"),
    (wire.VARCHAR, b"v", "typeof($1) || $1", "textv"),
    (wire.BPCHAR, b"c", "typeof($1) || $1", "textc"),
    (wire.BYTEA, b"\0\xff", "typeof($1) || hex($1)", "blob00FF"),
    (wire.NUMERIC, struct.pack("!HhHHHH", 2, 1, 0, 0, 1, 2345), "typeof($1) || $1", "integer12345"),
    (wire.NUMERIC, struct.pack("!HhHHHH", 2, 0, 0x4000, 2, 1, 5000), "typeof($1) || $1", "real-1.5"),
    (wire.DATE, struct.pack("!i", 1), "typeof($1) || $1", "text2000-01-02"),
    (wire.TIME, struct.pack("!q", 1000000), "typeof($1) || $1", "text00:00:01"),
    (wire.TIMESTAMP, struct.pack("!q", 1500000), "typeof($1) || $1", "text2000-01-01 00:00:01.5"),
    (wire.TIMESTAMPTZ, struct.pack("!q", 0), "typeof($1) || $1", "text2000-01-01 00:00:00+00:00"),
    (wire.UUID, bytes(range(16)), "typeof($1) || $1", "text00010203-0405-0607-0809-0a0b0c0d0e0f"),
    (wire.JSON, b'{"a":1}', "typeof($1) || ($1 ->> '$.a')", "text1"),
    (wire.JSONB, b'\x01{"a":1}', "json_extract($1, '$.a')", "1"),
]


@pytest.mark.parametrize("oid, raw, expression, expected", PARAMETERS, ids=[f"{p[0]}-{p[3]}" for p in PARAMETERS])
def test_binary_parameters(client, oid, raw, expression, expected):
    value = send(client, f"SELECT {expression}", raw, oid)
    assert value.decode() == expected


@pytest.mark.parametrize(
    "oid, text, expected",
    [
        (wire.INT8, "42", "integer42"),
        (wire.FLOAT8, "1e3", "real1000.0"),
        (wire.BOOL, "t", "integer1"),
        (wire.BOOL, "false", "integer0"),
        (wire.TEXT, "42", "text42"),
        (wire.NUMERIC, "1.5", "real1.5"),
        (wire.BYTEA, "\\x4142", "blobAB"),
        (wire.BYTEA, "A\\102", "blobAB"),
        (wire.DATE, "2024-02-29", "text2024-02-29"),
        (0, "x", "textx"),
        (wire.UNKNOWN, "x", "textx"),
    ],
)
def test_text_parameters(client, oid, text, expected):
    assert send(client, "SELECT typeof($1) || $1", text, oid, fmt=0).decode() == expected


@pytest.mark.parametrize(
    "oid, text",
    [
        (wire.INT8, "12x"),
        (wire.INT8, ""),
        (wire.INT8, "9223372036854775808"),
        (wire.INT2, "40000"),
        (wire.FLOAT8, "wide"),
        (wire.BOOL, "perhaps"),
        (wire.BYTEA, "\\x4"),
        (wire.NUMERIC, "1.2.3"),
    ],
)
def test_text_parameters_that_are_not_of_their_type(client, oid, text):
    assert send(client, "SELECT $1", text, oid, fmt=0) in ("22P02", "22003", "22023")
    assert client.ok("SELECT 1") == [("1",)]


def test_integers_keep_64_bits_and_doubles_round_trip(db):
    db.ok("CREATE TABLE t(i INTEGER, r REAL)")
    doubles = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -2.5e-7, 123456.789]
    integers = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
    for i, r in zip(integers, doubles):
        got = db.ask(
            parse("INSERT INTO t VALUES ($1, $2) RETURNING i, r", oids=[wire.INT8, wire.FLOAT8]),
            bind([struct.pack("!q", i), struct.pack("!d", r)], param_formats=[1], result_formats=[1]),
            execute(),
        )
        assert [m.row() for m in got if m.kind == "D"] == [[struct.pack("!q", i), struct.pack("!d", r)]]
        assert [(int(a), float(b)) for a, b in db.ok("SELECT i, r FROM t ORDER BY rowid DESC LIMIT 1")] == [(i, r)]


def test_text_with_a_nul_inside_is_sent_whole(client):
    """SQLite allows it; a length says where a value ends, so nothing is cut."""
    ((value,),) = [m.row() for m in client.query("SELECT 'a' || char(0) || 'b'") if m.kind == "D"]
    assert value == b"a\0b"


def test_stored_bytes_that_are_not_utf8(db):
    """A text that is not UTF-8 (CAST of a blob) never breaks the connection."""
    got = db.query("SELECT CAST(x'ff41' AS TEXT)")
    assert kinds(got) in ("TDCZ", "TEZ", "EZ")
    assert db.ok("SELECT 1") == [("1",)]


def test_undeclared_parameters_get_the_type_of_what_they_meet(db):
    """Drivers such as pgx and asyncpg encode by the announced type, so it must be the column's."""
    db.ok("CREATE TABLE t(i INTEGER PRIMARY KEY, s TEXT, r REAL, b BLOB)")
    got = db.ask(parse("INSERT INTO t(i, s, r, b) VALUES ($1, $2, $3, $4)"), describe_statement())
    assert got[1].oids() == [wire.INT8, wire.TEXT, wire.FLOAT8, wire.BYTEA]
    got = db.ask(parse("SELECT s FROM t WHERE i = $1"), describe_statement())
    assert got[1].oids() == [wire.INT8]
    got = db.ask(parse("UPDATE t SET r = $2 WHERE i = $1"), describe_statement())
    assert got[1].oids() == [wire.INT8, wire.FLOAT8]
    got = db.ask(parse("SELECT $1"), describe_statement())
    assert got[1].oids() in ([wire.TEXT], [wire.UNKNOWN])


def test_declared_parameter_types_win(db):
    db.ok("CREATE TABLE t(i INTEGER)")
    got = db.ask(parse("INSERT INTO t VALUES ($1)", oids=[wire.INT4]), describe_statement())
    assert got[1].oids() == [wire.INT4]


@pytest.mark.parametrize("size", [1, 8191, 8192, 65535, 65536, 1 << 20, 5 << 20])
def test_blobs_of_many_sizes_both_ways(db, size):
    db.ok("CREATE TABLE IF NOT EXISTS t(b BLOB); DELETE FROM t")
    blob = bytes(n * 7 & 255 for n in range(256)) * (size // 256 + 1)
    blob = blob[:size]
    got = db.ask(parse("INSERT INTO t VALUES ($1)", oids=[wire.BYTEA]), bind([blob], param_formats=[1]), execute())
    assert not errors(got)
    got = db.ask(parse("SELECT b, length(b) FROM t"), bind(result_formats=[1, 0]), execute())
    assert [m.row() for m in got if m.kind == "D"] == [[blob, str(size).encode()]]
    ((text,),) = [m.row() for m in db.query("SELECT b FROM t") if m.kind == "D"]
    assert bytes.fromhex(text[2:].decode()) == blob


@pytest.mark.slow
def test_blob_of_100_megabytes(db):
    db.ok("CREATE TABLE t(b BLOB)")
    size = 100 << 20
    got = db.ask(
        parse("INSERT INTO t VALUES ($1)", oids=[wire.BYTEA]),
        bind([b"\x5a" * size], param_formats=[1]),
        execute(),
        timeout=90,
    )
    assert not errors(got)
    got = db.ask(parse("SELECT b FROM t"), bind(result_formats=[1]), execute(), timeout=90)
    ((value,),) = [m.row() for m in got if m.kind == "D"]
    assert len(value) == size and value.count(b"\x5a") == size
    db.ok("DROP TABLE t")


def test_many_columns_and_wide_rows(client):
    names = ", ".join(f"{n} AS c{n}" for n in range(1500))
    got = client.query(f"SELECT {names}")
    assert len(got[0].columns()) == 1500 and rows(got)[0] == tuple(str(n) for n in range(1500))


def test_changes_is_right_after_types_were_inferred(db):
    db.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
    db.ok("INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    got = db.ask(parse("UPDATE t SET b = $1 WHERE a > $2", name="u"), describe_statement("u"))
    assert not errors(got)
    assert db.ok("SELECT changes(), total_changes(), last_insert_rowid()") == [("3", "3", "3")]
    assert not errors(db.ask(bind([b"new", b"1"], stmt="u"), execute()))
    assert db.ok("SELECT changes(), total_changes()") == [("2", "5")]
