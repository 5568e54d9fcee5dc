"""asyncpg: always extended and binary, so it trusts every announced type. Pool, cursors, COPY, LISTEN, cancellation."""

import asyncio
import datetime
import decimal
import io
import uuid

import asyncpg
import pytest

ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"


@pytest.fixture
def go(server, scratch):
    """go(coroutine_function) runs it with a connection."""

    def runner(work):
        async def main():
            conn = await asyncpg.connect(host="127.0.0.1", port=server.port, user="tester", database=scratch, ssl=False)
            try:
                await asyncio.wait_for(work(conn), 60)
            finally:
                await conn.close(timeout=10)

        asyncio.run(main())

    return runner


VALUES = [
    ("INTEGER", 2**63 - 1),
    ("INTEGER", -1),
    ("BOOLEAN", True),
    ("REAL", 0.1),
    ("TEXT", "größer"),
    ("TEXT", ""),
    ("BLOB", bytes(range(256))),
    ("NUMERIC", decimal.Decimal("12.5")),
    ("DATE", datetime.date(2024, 2, 29)),
    ("TIME", datetime.time(1, 2, 3, 4)),
    ("TIMESTAMP", datetime.datetime(2024, 2, 29, 1, 2, 3)),
    ("UUID", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("JSON", '{"a": 1}'),
    ("VARCHAR(5)", "abc"),
]


@pytest.mark.parametrize("declared, value", VALUES, ids=[f"{d}-{n}" for n, (d, _) in enumerate(VALUES)])
def test_values(go, declared, value):
    async def work(conn):
        await conn.execute(f"CREATE TABLE t(id INTEGER PRIMARY KEY, v {declared})")
        assert await conn.execute("INSERT INTO t(id, v) VALUES ($1, $2), ($3, NULL)", 1, value, 2) == "INSERT 0 2"
        assert [tuple(r) for r in await conn.fetch("SELECT id, v FROM t ORDER BY id")] == [(1, value), (2, None)]
        assert await conn.fetchval("SELECT v FROM t WHERE id = $1", 1) == value

    go(work)


def test_expressions(go):
    async def work(conn):
        row = await conn.fetchrow("SELECT 1 AS i, 1.5 AS r, 'x' AS s, x'00' AS b, NULL AS n")
        assert dict(row) == {"i": 1, "r": 1.5, "s": "x", "b": b"\0", "n": None}
        assert await conn.fetchval("SELECT $1", "text") == "text"

    go(work)


def test_prepared_statements(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(a INTEGER, b TEXT)")
        insert = await conn.prepare("INSERT INTO t(a, b) VALUES ($1, $2)")
        assert [p.name for p in insert.get_parameters()] == ["int8", "text"]
        await insert.executemany([(n, str(n)) for n in range(1000)])
        select = await conn.prepare("SELECT a, b FROM t WHERE a = $1")
        assert [a.name for a in select.get_attributes()] == ["a", "b"]
        for n in (0, 500, 999):
            assert tuple(await select.fetchrow(n)) == (n, str(n))

    go(work)


def test_executemany_is_atomic(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
        with pytest.raises(asyncpg.UniqueViolationError):
            await conn.executemany("INSERT INTO t VALUES ($1)", [(1,), (2,), (1,)])
        assert await conn.fetchval("SELECT count(*) FROM t") == 0

    go(work)


def test_transactions(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(a INTEGER)")
        async with conn.transaction():
            await conn.execute("INSERT INTO t VALUES ($1)", 1)
            with pytest.raises(KeyError):
                async with conn.transaction():
                    await conn.execute("INSERT INTO t VALUES (2)")
                    raise KeyError
        with pytest.raises(KeyError):
            async with conn.transaction(isolation="serializable"):
                await conn.execute("INSERT INTO t VALUES (3)")
                raise KeyError
        assert await conn.fetchval("SELECT sum(a) FROM t") == 1
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with conn.transaction(readonly=True):
                await conn.execute("INSERT INTO t VALUES (4)")

    go(work)


def test_cursors(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(a INTEGER)")
        await conn.executemany("INSERT INTO t VALUES ($1)", [(n,) for n in range(500)])
        async with conn.transaction():
            assert [r["a"] async for r in conn.cursor("SELECT a FROM t ORDER BY a", prefetch=37)] == list(range(500))
            cursor = await conn.cursor("SELECT a FROM t WHERE a >= $1 ORDER BY a", 100)
            assert [r["a"] for r in await cursor.fetch(3)] == [100, 101, 102]
            assert await cursor.forward(10) == 10
            assert (await cursor.fetchrow())["a"] == 113

    go(work)


def test_errors(go):
    async def work(conn):
        for sql, exception in [
            ("SELECT absent", asyncpg.UndefinedColumnError),
            ("SELEC", asyncpg.PostgresSyntaxError),
            ("SELECT * FROM nowhere", asyncpg.UndefinedTableError),
        ]:
            with pytest.raises(exception) as caught:
                await conn.fetch(sql)
            assert len(caught.value.sqlstate) == 5
        assert await conn.fetchval("SELECT 1") == 1

    go(work)


def test_copy_text(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(a INTEGER, b TEXT)")
        assert await conn.copy_to_table("t", source=io.BytesIO(b"1\tone\n2\t\\N\n")) == "COPY 2"
        assert await conn.copy_to_table("t", source=io.BytesIO(b"a,b\n3,x\n"), format="csv", header=True) == "COPY 1"
        out = io.BytesIO()
        assert await conn.copy_from_table("t", output=out) == "COPY 3"
        assert out.getvalue() == b"1\tone\n2\t\\N\n3\tx\n"
        out = io.BytesIO()
        await conn.copy_from_query("SELECT a FROM t WHERE a > 1 ORDER BY a", output=out, format="csv")
        assert out.getvalue() == b"2\n3\n"

    go(work)


def test_binary_copy_is_refused_and_recovers(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(a INTEGER)")
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await conn.copy_from_table("t", output=io.BytesIO(), format="binary")
        assert await conn.fetchval("SELECT 1") == 1

    go(work)


def test_listen(go, server, scratch):
    async def work(conn):
        got = asyncio.Queue()
        await conn.add_listener("news", lambda c, pid, channel, payload: got.put_nowait((channel, payload)))
        other = await asyncpg.connect(host="127.0.0.1", port=server.port, user="tester", database=scratch, ssl=False)
        await other.execute("NOTIFY news, 'hello'")
        await other.execute("SELECT pg_notify($1, $2)", "news", "again")
        assert await asyncio.wait_for(got.get(), 20) == ("news", "hello")
        assert await asyncio.wait_for(got.get(), 20) == ("news", "again")
        await other.close()

    go(work)


def test_timeout_cancels(go):
    async def work(conn):
        with pytest.raises(asyncio.TimeoutError):
            await conn.fetchval(ENDLESS, timeout=0.2)
        assert await conn.fetchval("SELECT 1") == 1

    go(work)


def test_pool(server, scratch):
    async def main():
        async with asyncpg.create_pool(
            host="127.0.0.1", port=server.port, user="tester", database=scratch, ssl=False, min_size=2, max_size=6
        ) as pool:
            await pool.execute("CREATE TABLE counter(n INTEGER)")
            await pool.execute("INSERT INTO counter VALUES (0)")

            async def work():
                for _ in range(20):
                    async with pool.acquire() as conn:
                        await conn.execute("UPDATE counter SET n = n + $1", 1)

            await asyncio.gather(*[work() for _ in range(10)])
            assert await pool.fetchval("SELECT n FROM counter") == 200

    asyncio.run(main())


def test_reset_between_pool_users(go):
    async def work(conn):
        await conn.execute("SET application_name = 'x'")
        await conn.execute("LISTEN c")
        await conn.reset()
        assert await conn.fetchval("SHOW application_name") != "x"

    go(work)


def test_large_blob(go):
    async def work(conn):
        await conn.execute("CREATE TABLE t(b BLOB)")
        blob = bytes(range(256)) * 32768
        await conn.execute("INSERT INTO t(b) VALUES ($1)", blob)
        assert await conn.fetchval("SELECT b FROM t") == blob

    go(work)
