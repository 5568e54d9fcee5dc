"""psycopg 3: text and binary, prepared statements, pipeline mode, server-side cursors, COPY, notifications, cancel."""

import datetime
import decimal
import threading
import uuid

import psycopg
import pytest
from psycopg import errors as pgerrors
from psycopg.rows import dict_row

ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


@pytest.fixture
def conn(server, scratch):
    with psycopg.connect(server.dsn(scratch)) as one:
        yield one


@pytest.fixture
def auto(server, scratch):
    with psycopg.connect(server.dsn(scratch), autocommit=True) as one:
        yield one


VALUES = [
    ("INTEGER", 42),
    ("INTEGER", 2**63 - 1),
    ("INTEGER", -(2**63)),
    ("BOOLEAN", True),
    ("BOOLEAN", False),
    ("REAL", 0.1),
    ("REAL", 1e300),
    ("NUMERIC", decimal.Decimal("12.5")),
    ("NUMERIC", decimal.Decimal("-1234567")),
    ("TEXT", "größer als ☃"),
    ("TEXT", ""),
    ("VARCHAR(10)", "v"),
    ("BLOB", bytes(range(256))),
    ("BLOB", b""),
    ("DATE", datetime.date(2024, 2, 29)),
    ("TIME", datetime.time(12, 34, 56, 789000)),
    ("TIMESTAMP", datetime.datetime(1999, 12, 31, 23, 59, 59)),
    ("UUID", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("declared, value", VALUES, ids=[f"{d}-{i}" for i, (d, _) in enumerate(VALUES)])
def test_values_of_each_type_come_back(conn, declared, value, binary):
    conn.execute(f"CREATE TABLE t(id INTEGER PRIMARY KEY, v {declared})")
    placeholder = "%b" if binary else "%t"
    with conn.cursor(binary=binary) as cur:
        cur.execute(f"INSERT INTO t(v) VALUES ({placeholder}), (NULL)", [value])
        assert cur.rowcount == 2 and cur.statusmessage == "INSERT 0 2"
        cur.execute("SELECT v FROM t ORDER BY id")
        assert cur.fetchall() == [(value,), (None,)]
        cur.execute(f"SELECT count(*) FROM t WHERE v = {placeholder}", [value])
        if declared != "NUMERIC":
            assert cur.fetchone() == (1,)


def test_json(conn):
    conn.execute("CREATE TABLE t(v JSON)")
    conn.execute("INSERT INTO t VALUES (%s)", [psycopg.types.json.Json({"a": [1, None, "ü"]})])
    assert conn.execute("SELECT v, v ->> '$.a[2]' FROM t").fetchone() == ({"a": [1, None, "ü"]}, "ü")


def test_automatic_preparation(conn):
    conn.prepare_threshold = 2
    conn.execute("CREATE TABLE t(a INTEGER)")
    for n in range(20):
        conn.execute("INSERT INTO t VALUES (%s)", [n])
        assert conn.execute("SELECT count(*) FROM t WHERE a <= %s", [n]).fetchone() == (n + 1,)


def test_prepared_statement_meets_a_schema_change(conn):
    conn.execute("CREATE TABLE t(a INTEGER)")
    conn.execute("INSERT INTO t VALUES (1)")
    assert conn.execute("SELECT * FROM t", prepare=True).fetchall() == [(1,)]
    conn.execute("ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'x'")
    try:
        assert conn.execute("SELECT * FROM t", prepare=True).fetchall() == [(1, "x")]
    except pgerrors.FeatureNotSupported:
        pass  # as PostgreSQL: cached plan must not change result type


def test_description(conn):
    cur = conn.execute("SELECT 1 AS one, 'x' AS two, 1.5 AS three, x'00' AS four")
    assert [c.name for c in cur.description] == ["one", "two", "three", "four"]
    assert [c.type_code for c in cur.description] == [20, 25, 701, 17]


def test_transactions(conn):
    conn.execute("CREATE TABLE t(a INTEGER)")
    conn.commit()
    with conn.transaction():
        conn.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(ZeroDivisionError):
            with conn.transaction():
                conn.execute("INSERT INTO t VALUES (2)")
                raise ZeroDivisionError
    with pytest.raises(KeyError):
        with conn.transaction():
            conn.execute("INSERT INTO t VALUES (3)")
            raise KeyError
    assert conn.execute("SELECT a FROM t").fetchall() == [(1,)]
    conn.rollback()
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_isolation_and_read_only(conn):
    conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    conn.read_only = True
    with pytest.raises(pgerrors.ReadOnlySqlTransaction):
        conn.execute("CREATE TABLE t(a)")
    conn.rollback()
    conn.read_only = False
    conn.execute("CREATE TABLE t(a)")
    conn.commit()


@pytest.mark.parametrize(
    "sql, exception",
    [
        ("SELECT absent", pgerrors.UndefinedColumn),
        ("SELECT * FROM nowhere", pgerrors.UndefinedTable),
        ("SELEC", pgerrors.SyntaxError),
        ("INSERT INTO t VALUES (1)", pgerrors.UniqueViolation),
        ("INSERT INTO t VALUES (NULL)", pgerrors.NotNullViolation),
        ("SELECT nofunction()", pgerrors.UndefinedFunction),
    ],
)
def test_errors_are_of_the_right_class_and_recoverable(auto, sql, exception):
    auto.execute("CREATE TABLE t(a INT NOT NULL PRIMARY KEY)")
    auto.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(exception) as caught:
        auto.execute(sql)
    assert caught.value.diag.severity == "ERROR" and caught.value.diag.message_primary
    if exception is pgerrors.UndefinedColumn:
        assert caught.value.diag.statement_position == "8"
    if exception is pgerrors.UniqueViolation:
        assert caught.value.diag.table_name == "t" and caught.value.diag.column_name == "a"
    assert auto.execute("SELECT 1").fetchone() == (1,)


def test_executemany_and_returning(conn):
    conn.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")
    with conn.cursor() as cur:
        cur.executemany(
            "INSERT INTO t(a) VALUES (%s) RETURNING id", [(f"row {n}",) for n in range(500)], returning=True
        )
        ids = []
        while True:
            ids.append(cur.fetchone()[0])
            if not cur.nextset():
                break
        assert ids == list(range(1, 501))
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (500,)


def test_pipeline_mode(conn):
    conn.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
    conn.commit()
    with conn.pipeline():
        cursors = [conn.execute("INSERT INTO t VALUES (%s) RETURNING a", [n]) for n in range(300)]
        assert [c.fetchone()[0] for c in cursors] == list(range(300))
    conn.commit()
    with pytest.raises(pgerrors.UniqueViolation):
        with conn.pipeline():
            conn.execute("INSERT INTO t VALUES (1000)")
            conn.execute("INSERT INTO t VALUES (1)")
            conn.execute("INSERT INTO t VALUES (1001)")
    conn.rollback()
    assert conn.execute("SELECT count(*), max(a) FROM t").fetchone() == (300, 299)


def test_pipeline_mode_with_autocommit_is_atomic_between_syncs(auto):
    auto.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
    with pytest.raises(pgerrors.UniqueViolation):
        with auto.pipeline():
            auto.execute("INSERT INTO t VALUES (1)")
            auto.execute("INSERT INTO t VALUES (1)")
    assert auto.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_server_side_cursor(conn):
    conn.execute("CREATE TABLE t(a INTEGER)")
    conn.execute(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) INSERT INTO t SELECT n FROM s"
    )
    with conn.cursor("c") as cur:
        cur.itersize = 97
        cur.execute("SELECT a FROM t WHERE a > %s ORDER BY a", [10])
        assert cur.fetchone() == (11,) and cur.fetchmany(2) == [(12,), (13,)]
        assert [r[0] for r in cur] == list(range(14, 1001))
    with conn.cursor("b", binary=True) as cur:
        cur.execute("SELECT a, CAST(a AS TEXT) FROM t ORDER BY a")
        assert cur.fetchmany(2) == [(1, "1"), (2, "2")]


def test_stream(conn):
    rows = conn.cursor().stream(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000) SELECT n FROM s"
    )
    assert sum(r[0] for r in rows) == 5000 * 5001 // 2


def test_row_factories_and_multiple_results(conn):
    cur = conn.cursor(row_factory=dict_row)
    cur.execute("SELECT 1 AS a; SELECT 2 AS b")
    assert cur.fetchall() == [{"a": 1}] and cur.nextset() and cur.fetchall() == [{"b": 2}] and not cur.nextset()


def test_copy_in_and_out(conn):
    conn.execute("CREATE TABLE t(a INTEGER, b TEXT, c BLOB)")
    rows = [(n, None if n % 10 == 0 else f"tab\t and \\ {n}", bytes([n % 256])) for n in range(1000)]
    with conn.cursor() as cur:
        with cur.copy("COPY t FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        assert cur.rowcount == 1000
        with cur.copy("COPY t(a, b, c) TO STDOUT") as copy:
            copy.set_types(["int8", "text", "bytea"])
            assert list(copy.rows()) == rows
        with cur.copy("COPY (SELECT a FROM t WHERE a < 3 ORDER BY a) TO STDOUT (FORMAT csv, HEADER)") as copy:
            assert b"".join(copy) == b"a\n0\n1\n2\n"


def test_copy_fails_and_the_connection_recovers(conn):
    conn.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
    conn.commit()
    with pytest.raises(pgerrors.UniqueViolation):
        with conn.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write(b"1\n1\n")
    conn.rollback()
    with pytest.raises(RuntimeError):
        with conn.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write(b"5\n")
            raise RuntimeError
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_notifications(server, auto, scratch):
    auto.execute("LISTEN news")
    with psycopg.connect(server.dsn(scratch), autocommit=True) as other:
        for n in range(3):
            other.execute("SELECT pg_notify('news', %s)", [f"number {n}"])
    got = [n.payload for n in auto.notifies(timeout=20, stop_after=3)]
    assert got == ["number 0", "number 1", "number 2"]


def test_cancel(auto):
    caught = []

    def run():
        try:
            auto.execute(ENDLESS)
        except psycopg.Error as e:
            caught.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        auto.cancel_safe()
        thread.join(0.1)
    assert isinstance(caught[0], pgerrors.QueryCanceled)
    assert auto.execute("SELECT 1").fetchone() == (1,)


def test_statement_timeout(auto):
    auto.execute("SET statement_timeout = 100")
    with pytest.raises(pgerrors.QueryCanceled):
        auto.execute(ENDLESS)


@pytest.mark.parametrize("megabytes", [1, 8])
def test_large_blob(conn, megabytes):
    blob = bytes(range(256)) * 4096 * megabytes
    conn.execute("CREATE TABLE t(b BLOB)")
    with conn.cursor(binary=True) as cur:
        cur.execute("INSERT INTO t VALUES (%b)", [blob])
        assert cur.execute("SELECT b FROM t").fetchone()[0] == blob
    assert conn.execute("SELECT b FROM t").fetchone()[0] == blob


def test_several_connections(server, scratch, auto):
    auto.execute("CREATE TABLE counter(n INTEGER)")
    auto.execute("INSERT INTO counter VALUES (0)")

    def work():
        with psycopg.connect(server.dsn(scratch), autocommit=True) as c:
            for _ in range(50):
                c.execute("UPDATE counter SET n = n + %s", [1])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert auto.execute("SELECT n FROM counter").fetchone() == (400,)


def test_unknown_database(server):
    with pytest.raises(psycopg.OperationalError, match="never_made"):
        psycopg.connect(server.dsn("never_made"))
