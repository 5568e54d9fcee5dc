"""psycopg2: client-side binding, named cursors, COPY, notifications, cancellation, asynchronous use."""

import datetime
import decimal
import io
import select
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pytest
from psycopg2 import errors as pgerrors
from psycopg2 import sql

ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


@pytest.fixture
def conn(server, scratch):
    one = psycopg2.connect(server.dsn(scratch))
    yield one
    one.close()


@pytest.fixture
def cur(conn):
    with conn.cursor() as one:
        yield one


@pytest.mark.parametrize(
    "declared, value",
    [
        ("INTEGER", 2**63 - 1),
        ("BOOLEAN", True),
        ("REAL", 0.1),
        ("TEXT", "it's \\ größer\n"),
        ("TEXT", ""),
        ("NUMERIC", decimal.Decimal("12.5")),
    ],
)
def test_values(cur, declared, value):
    cur.execute(f"CREATE TABLE t(v {declared})")
    cur.execute("INSERT INTO t VALUES (%s), (%s)", (value, None))
    assert cur.rowcount == 2
    cur.execute("SELECT v FROM t")
    assert cur.fetchall() == [(value,), (None,)]


def test_dates_that_the_server_stores_as_text(cur):
    """psycopg2 writes '…'::date literals, which are PostgreSQL's; as text parameters they are SQLite's dates."""
    cur.execute("CREATE TABLE t(d DATE, ts TIMESTAMP)")
    cur.execute("INSERT INTO t VALUES (%s, %s)", ("2024-02-29", "2024-02-29 12:00:01"))
    cur.execute("SELECT d, ts FROM t")
    assert cur.fetchone() == (datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 0, 1))


def test_blob_by_literal(cur):
    cur.execute("CREATE TABLE t(b BLOB)")
    cur.execute(sql.SQL("INSERT INTO t VALUES (x{})").format(sql.Literal(bytes(range(256)).hex())))
    cur.execute("SELECT b FROM t")
    assert bytes(cur.fetchone()[0]) == bytes(range(256))


def test_transactions_and_savepoints(conn, cur):
    cur.execute("CREATE TABLE t(a INTEGER)")
    conn.commit()
    cur.execute("INSERT INTO t VALUES (1)")
    conn.rollback()
    cur.execute("INSERT INTO t VALUES (2)")
    cur.execute("SAVEPOINT s")
    cur.execute("INSERT INTO t VALUES (3)")
    cur.execute("ROLLBACK TO SAVEPOINT s")
    assert conn.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
    conn.commit()
    cur.execute("SELECT a FROM t")
    assert cur.fetchall() == [(2,)]


def test_set_session(conn, cur):
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with pytest.raises(pgerrors.ReadOnlySqlTransaction):
        cur.execute("CREATE TABLE t(a)")
    conn.rollback()
    conn.set_session(readonly=False, autocommit=True)
    cur.execute("CREATE TABLE t(a)")
    assert conn.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_errors(conn, cur):
    cur.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
    conn.commit()
    for statement, exception in [
        ("SELECT absent", pgerrors.UndefinedColumn),
        ("SELEC", pgerrors.SyntaxError),
        ("SELECT * FROM nowhere", pgerrors.UndefinedTable),
    ]:
        with pytest.raises(exception) as caught:
            cur.execute(statement)
        assert caught.value.pgcode and caught.value.diag.message_primary
        conn.rollback()
    cur.execute("SELECT 1")
    assert cur.fetchone() == (1,)


def test_named_cursor(conn, cur):
    cur.execute("CREATE TABLE t(a INTEGER)")
    cur.execute(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) INSERT INTO t SELECT n FROM s"
    )
    with conn.cursor("named") as named:
        named.itersize = 64
        named.execute("SELECT a FROM t ORDER BY a")
        assert named.fetchone() == (1,) and named.fetchmany(2) == [(2,), (3,)]
        assert [r[0] for r in named] == list(range(4, 1001))
    with conn.cursor("held", withhold=True) as held:
        held.execute("SELECT a FROM t ORDER BY a")
        conn.commit()
        assert held.fetchmany(3) == [(1,), (2,), (3,)]


def test_execute_values_and_batch(cur):
    cur.execute("CREATE TABLE t(a INTEGER, b TEXT)")
    psycopg2.extras.execute_values(cur, "INSERT INTO t VALUES %s", [(n, f"v{n}") for n in range(1000)])
    psycopg2.extras.execute_batch(cur, "INSERT INTO t VALUES (%s, %s)", [(n, None) for n in range(500)])
    cur.execute("SELECT count(*), count(b) FROM t")
    assert cur.fetchone() == (1500, 1000)


def test_dict_cursor_and_description(conn):
    with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cur:
        cur.execute("SELECT 1 AS a, 'x' AS b")
        assert dict(cur.fetchone()) == {"a": 1, "b": "x"}
        assert [c.name for c in cur.description] == ["a", "b"]


def test_copy(cur):
    cur.execute("CREATE TABLE t(a INTEGER, b TEXT)")
    cur.copy_from(io.StringIO("1\tone\n2\t\\N\n"), "t")
    cur.copy_expert("COPY t FROM STDIN (FORMAT csv)", io.StringIO('3,"three, four"\n'))
    out = io.StringIO()
    cur.copy_to(out, "t")
    assert out.getvalue() == "1\tone\n2\t\\N\n3\tthree, four\n"
    out = io.StringIO()
    cur.copy_expert("COPY (SELECT b FROM t WHERE a = 3) TO STDOUT CSV", out)
    assert out.getvalue() == '"three, four"\n'


def test_notifications(server, conn, scratch):
    conn.autocommit = True
    conn.cursor().execute("LISTEN news")
    other = psycopg2.connect(server.dsn(scratch))
    other.autocommit = True
    other.cursor().execute("NOTIFY news, 'hello'")
    assert select.select([conn], [], [], 20)[0]
    conn.poll()
    assert [(n.channel, n.payload) for n in conn.notifies] == [("news", "hello")]
    other.close()


def test_cancel(conn, cur):
    caught = []

    def run():
        try:
            cur.execute(ENDLESS)
        except psycopg2.Error as e:
            caught.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        conn.cancel()
        thread.join(0.1)
    assert isinstance(caught[0], pgerrors.QueryCanceled)
    conn.rollback()
    cur.execute("SELECT 1")
    assert cur.fetchone() == (1,)


def test_asynchronous_connection(server, scratch):
    conn = psycopg2.connect(server.dsn(scratch), async_=True)
    psycopg2.extras.wait_select(conn)
    with conn.cursor() as cur:
        cur.execute("SELECT 1 AS a")
        psycopg2.extras.wait_select(conn)
        assert cur.fetchall() == [(1,)]
    conn.close()


def test_large_values(cur):
    cur.execute("CREATE TABLE t(s TEXT)")
    text = "größer" * (1 << 19)
    cur.execute("INSERT INTO t VALUES (%s)", (text,))
    cur.execute("SELECT s FROM t")
    assert cur.fetchone() == (text,)


def test_many_statements_in_one_execute(cur):
    cur.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2); SELECT count(*) FROM t")
    assert cur.fetchone() == (2,)
