"""Records what real clients send, as seeds for tests/fuzz/fuzz_connection.c.

    build/venv/bin/python tests/lib/record_clients.py tests/fuzz/corpus/connection

starts a server (SQLD_BIN, see server.py), puts a proxy before it, lets psql, pgbench, psycopg, psycopg2 and asyncpg talk
through it (those that are installed), and writes one file for each scene: 16 bytes of schedule (see the fuzzer), then the
bytes of each connection, separated as the fuzzer wants them. Answers are not kept. Files of other scenes stay.
"""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import native
import native_calls as native_calls_module
from native import Native, Pointer, Zeroblob
from native_calls import Calling
from native_tables import ALL, CREATE_IS_CONNECT, DISCONNECT, Bound, Table, Tables
from server import Sqld

SEPARATOR = b"\xffNEXT\xff\xff\xff"
SCHEDULES = [bytes(16), bytes([5] * 16), bytes(range(16)), bytes([0, 3, 0xB0, 9] * 4)]
CONNECTIONS_MAX = 3
FILE_BYTES_MAX = 12 * 1024


class Recorder:
    """A proxy that keeps what clients send, connection by connection, in the order in which they came."""

    def __init__(self, port):
        self.target = port
        self.streams = []
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            stream = bytearray()
            self.streams.append(stream)
            for source, sink, kept in ((client, server, stream), (server, client, None)):
                thread = threading.Thread(target=self._pump, args=(source, sink, kept), daemon=True)
                self.threads.append(thread)
                thread.start()

    @staticmethod
    def _pump(source, sink, kept):
        try:
            while data := source.recv(65536):
                if kept is not None:
                    kept += data
                sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def take(self):
        """What has been recorded since the last call, after all connections have ended."""
        for thread in self.threads:
            thread.join(10)
        streams, self.streams, self.threads = [bytes(s) for s in self.streams if s], [], []
        return streams


# --- Scenes: each takes the proxy's port ------------------------------------------------------------------------------


class Proxied:
    """What a client of native mode wants to know of its server."""

    def __init__(self, port):
        self.port = port


def uri(port):
    return f"host=127.0.0.1 port={port} user=main dbname=main"


def psql(port, script, *options):
    subprocess.run(
        ["psql", "-X", "-q", "-w", *options, uri(port)],
        input=script.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def psql_simple(port):
    psql(
        port,
        "SELECT * FROM t;\nINSERT INTO t(name) VALUES ('x') RETURNING *;\nBEGIN;\nUPDATE t SET score = 2;\n"
        "SAVEPOINT a;\nDELETE FROM t;\nROLLBACK TO a;\nCOMMIT;\nSELECT 1 \\; SELECT 2 \\; SELECT version();\n",
    )


def psql_errors(port):
    psql(
        port,
        "SELEC 1;\nSELECT * FROM nowhere;\nINSERT INTO t(id) VALUES (1);\nINSERT INTO log VALUES (0);\n"
        "SELECT 'open;\n';\nBEGIN;\nINSERT OR ROLLBACK INTO log VALUES (5000);\nSELECT 1;\nROLLBACK;\n"
        "SELECT $1;\nATTACH '/etc/passwd' AS p;\nPRAGMA journal_mode = DELETE;\n",
    )


def psql_commands(port):
    psql(
        port,
        "SET statement_timeout = '1s';\nSHOW ALL;\nSHOW connections;\nSHOW search_path;\nRESET ALL;\n"
        "CREATE DATABASE d;\nALTER DATABASE d RENAME TO e;\nATTACH 'e' AS e;\nDETACH e;\nDROP DATABASE e;\n"
        "PREPARE p(int) AS SELECT $1 + 1;\nEXECUTE p(41);\nDEALLOCATE p;\nDISCARD ALL;\nTRUNCATE u;\n"
        "SET TRANSACTION READ ONLY;\nSET application_name = 'r';\nEXPLAIN QUERY PLAN SELECT * FROM t;\n"
        "CREATE TEMP TABLE x(a);\nDROP TABLE x;\nVACUUM;\nSELECT current_user, now();\n",
    )


def psql_cursors(port):
    psql(
        port,
        "BEGIN;\nDECLARE c CURSOR FOR SELECT * FROM t;\nFETCH 1 FROM c;\nMOVE 1 FROM c;\nFETCH ALL FROM c;\n"
        "CLOSE c;\nDECLARE h CURSOR WITH HOLD FOR VALUES (1), (2);\nCOMMIT;\nFETCH ALL FROM h;\nCLOSE ALL;\n",
    )


def psql_copy(port):
    psql(
        port,
        "\\copy t(id, name) FROM STDIN\n10\tten\n11\t\\N\n\\.\n\\copy t TO STDOUT (FORMAT csv, HEADER)\n"
        "COPY u FROM STDIN (FORMAT csv);\n1,\"a, b\",,\n2,3,x,\n\\.\nCOPY (SELECT 1, 'x') TO STDOUT;\n",
    )


def psql_notify(port):
    psql(
        port,
        "LISTEN a;\nNOTIFY a, 'hello';\nBEGIN;\nNOTIFY a;\nNOTIFY a;\nCOMMIT;\nUNLISTEN *;\n"
        "SELECT pg_notify('a', 'x');\n",
    )


def pgbench(mode):
    def scene(port):
        subprocess.run(
            [
                "pgbench",
                "-n",
                "-M",
                mode,
                "-t",
                "2",
                "-c",
                "2",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "main",
                "main",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    return scene


def psycopg_extended(port):
    import psycopg

    with psycopg.connect(uri(port), autocommit=True) as connection:
        for _ in range(7):  # from the sixth on it prepares
            connection.execute("SELECT id FROM t WHERE id = %s", [1]).fetchall()
        connection.execute("INSERT INTO u VALUES (%b, %b, %b, %b)", [1, 2.5, b"\0\1", "x"])
        connection.cursor(binary=True).execute("SELECT * FROM t").fetchall()
        try:
            connection.execute("SELECT * FROM nowhere WHERE a = %s", [1])
        except psycopg.Error:
            pass
        with connection.transaction():
            connection.execute("UPDATE t SET name = %s", ["z"])


def psycopg_pipeline(port):
    import psycopg

    with psycopg.connect(uri(port), autocommit=True) as connection:
        try:
            with connection.pipeline():
                connection.execute("INSERT INTO t(name) VALUES (%s)", ["p"])
                connection.execute("SELECT count(*) FROM t")
                connection.execute("SELEC")
                connection.execute("SELECT 2")
        except psycopg.Error:
            pass
        with connection.pipeline() as pipeline:
            connection.execute("SELECT %s + 1", [1])
            pipeline.sync()
            connection.execute("DELETE FROM t WHERE id = %s", [1])


def psycopg_cursor(port):
    import psycopg

    with psycopg.connect(uri(port)) as connection:
        with connection.cursor("c") as cursor:
            cursor.execute("SELECT * FROM t")
            cursor.fetchmany(2)
            cursor.fetchall()
        with connection.cursor().copy("COPY t(id, name) FROM STDIN") as copy:
            copy.write_row([20, "zwanzig"])
            copy.write_row([21, None])


def psycopg_cancel(port):
    import psycopg

    with psycopg.connect(uri(port), autocommit=True) as connection:
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        try:
            connection.execute("SELECT pg_sleep(5)")
        except psycopg.Error:
            pass
        timer.join()


def psycopg2_simple(port):
    import psycopg2

    connection = psycopg2.connect(uri(port))
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM t WHERE name = %s", ["one"])
    cursor.executemany("INSERT INTO u(a) VALUES (%s)", [[1], [2]])
    connection.commit()
    connection.close()


def asyncpg_session(port):
    import asyncpg

    async def talk():
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="main", database="main")
        await connection.execute("SELECT 1; SELECT 2")
        await connection.fetch("SELECT id, name, data FROM t WHERE id > $1", 0)
        statement = await connection.prepare("INSERT INTO t(name, score) VALUES ($1, $2) RETURNING id")
        await statement.fetchval("a", 1.5)
        async with connection.transaction():
            async for _ in connection.cursor("SELECT * FROM t", prefetch=1):
                pass
        await connection.executemany("INSERT INTO u(a, b) VALUES ($1, $2)", [("1", "2"), ("3", "4")])
        await connection.close()

    try:
        asyncio.run(talk())
    except Exception as error:  # what it said until then is worth keeping
        print("asyncpg:", error)


def two_writers(port):
    """One waits for the other's lock, and hears its notification."""
    import psycopg

    first, second = (psycopg.connect(uri(port), autocommit=True) for _ in range(2))
    second.execute("LISTEN a")
    first.execute("BEGIN")
    first.execute("INSERT INTO t(name) VALUES ('first')")
    waiter = threading.Thread(target=second.execute, args=["INSERT INTO t(name) VALUES ('second')"])
    waiter.start()
    first.execute("NOTIFY a, 'x'")
    first.execute("COMMIT")
    waiter.join()
    second.execute("SELECT 1")
    first.close()
    second.close()


def native_statements(port):
    """Native mode: two connections, one waits for the other's lock."""
    with Native(Proxied(port)) as one, Native(Proxied(port), ":memory:") as two:
        one.ok("INSERT INTO t(id, name, score, data) VALUES(?,?,?,?)", 30, "x", 2.5, b"\0\1")
        s = one.good("SELECT id, name FROM t WHERE id > ?1")
        one.step(s, 0, rows=1)
        one.more(s)
        one.step(s, Pointer(1))
        one.expand(s, [7])
        one.ask(native.STMT_STATUS, struct.pack("!IiB", s, 1, 1), "i")
        one.reset(s)
        r = one.good("INSERT INTO t(name) VALUES('a'),('b') RETURNING id")
        one.step(r, rows=1)
        one.reset(r)
        one.run("SELEC")
        one.run("BEGIN IMMEDIATE")
        one.run("UPDATE t SET name = 'y'")
        one.run("ROLLBACK")
        one.send(native.request(native.RESET_ASYNC, struct.pack("!I", s)))
        one.finalize(s)
        two.run("CREATE TABLE m(a)")
        two.run("INSERT INTO m VALUES(?)", Zeroblob(9))
        two.run("SELECT * FROM m", rows=1, size=0)


def native_settings(port):
    with Native(Proxied(port), "made", "create origin=1f") as one:
        for sql in ("PRAGMA journal_mode=DELETE", "PRAGMA busy_timeout=5", "PRAGMA wal_checkpoint(FULL)", "VACUUM"):
            one.run(sql)
        one.busy_timeout(9)
        one.attach("main", "other")
        one.run("SELECT count(*) FROM other.t")
        one.run("DETACH other")
        one.databases()
        one.send(native.request(native.COLUMN_METADATA, native.text("main") + native.text("t") + native.text("id")))
        one.recv()
        one.ask(native.TXN_STATE, native.text(None), "i")
        one.ask(native.SET_ROWID, struct.pack("!q", 5))
        one.ask(native.LIMIT, struct.pack("!ii", 9, 100), "i")
        one.ask(native.DB_CONFIG, struct.pack("!ii", 1002, 1), "i")
        one.ask(native.DB_STATUS, struct.pack("!iB", 2, 0), "ii")
        one.ask(native.CHECKPOINT, native.text("main") + struct.pack("!i", 1), "ii")
        one.ask(native.RELEASE_MEMORY, b"\0")
        one.ask(native.DATA_VERSION, native.text("main"), "I")
        one.ask(native.INTERRUPT_CLEAR)


def native_calls(port):
    """Native mode: functions, a collation, hooks, and requests within their calls."""

    class Count:
        def __init__(self):
            self.n = 0

        def step(self, *_):
            self.n += 1

        inverse = step

        def value(self):
            return self.n

        final = value

    with Calling(Proxied(port), ":memory:") as one:  # the same calls, whatever other scenes have left
        one.ok("CREATE TABLE c(a, b)")
        one.ok("INSERT INTO c VALUES (1, 'x'), (2, 'y')")
        one.function("twice", 1, lambda x: 2 * x)
        one.ok("SELECT twice(a) FROM c")
        one.function("keep", 1, lambda x, auxiliary: (x, {0: 7}), with_auxiliary=True)
        one.ok("SELECT keep(5) FROM c")
        one.function("ask", 1, lambda x: one.one("SELECT count(*) FROM c WHERE a > ?", x))
        one.ok("SELECT ask(1)")
        one.function("n", 1, Count, kind=native_calls_module.WINDOW)
        one.ok("SELECT n(a) OVER (ORDER BY a ROWS 1 PRECEDING) FROM c")
        one.collation("back", lambda a, b: (a < b) - (a > b))
        one.ok("SELECT b FROM c ORDER BY b COLLATE back")
        one.hook(update=lambda *_: 0, commit=lambda: 0, rollback=lambda: 0, preupdate=lambda *_: 0, wal=lambda *_: 0)
        one.ok("UPDATE c SET b = 'z' WHERE a = 2")
        one.hook(authorizer=lambda *_: 0, collation_needed=lambda *_: 0, progress=lambda: 0, trace=lambda *_: 0,
                 busy=lambda *_: 0, progress_ops=100, trace_events=7)  # fmt: skip
        one.run("SELECT 1 FROM c ORDER BY b COLLATE none")
        one.ok("SELECT count(*) FROM c")
        one.hook()
        one.create_function("twice", 1, None)


def native_blobs_and_images(port):
    with Calling(Proxied(port)) as one, Calling(Proxied(port), ":memory:") as two:
        one.blob_open(1, "t", "data", 1, writing=True)
        one.blob_write(1, 0, b"ab")
        one.blob_read(1, 0, 2)
        one.blob_reopen(1, 2)
        one.blob_close(1)
        two.run("PRAGMA page_size = 512")
        two.run("CREATE TABLE m(a)")
        raw = two.image()
        two.image_put(raw, mode=1, flags=2)
        two.image_put(raw)
        one.image_open()
        one.image_read(0, 100)
        one.image_close()


def native_tables(port):
    """Native mode: virtual tables of the client, read, written, and asked for everything that they may be."""

    class Own(Table):
        def best_index(self, plan):
            for i, (column, op, bits, _, _) in enumerate(plan.constraints):
                if (column, op) == (0, 2) and bits & 1:
                    plan.usage[i], plan.number, plan.index = (1, 2 if bits & 2 else 0), 1, b"by a"

        def rows(self, index, values):
            wanted = [v.plain if isinstance(v, Bound) else v for v in values]
            wanted = wanted[0] if wanted and isinstance(wanted[0], list) else wanted
            return [row for row in super().rows(index, values) if not wanted or row[1][0] in wanted]

        def find_function(self, name, count):
            return 0

        @staticmethod
        def is_shadow(suffix):
            return suffix == "data"

    with Tables(Proxied(port), ":memory:") as one:
        one.module("m", Own, bits=ALL & ~CREATE_IS_CONNECT)
        one.module("only", Own, bits=0)
        one.ok("CREATE VIRTUAL TABLE t USING m")
        one.ok("INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, NULL)")
        one.ok("SELECT rowid, a, b FROM t")
        one.ok("SELECT b FROM t WHERE a = ?", 2)
        one.ok("SELECT b FROM t WHERE a IN (1, 3)")
        one.ok("SELECT abs(a) FROM only ORDER BY b LIMIT 2")
        one.ok("UPDATE t SET b = 'z' WHERE a = 1")
        one.run("CREATE TABLE t_data(x)")
        one.ok("BEGIN")
        one.ok("SAVEPOINT s")
        one.ok("DELETE FROM t WHERE a = 2")
        one.ok("ROLLBACK TO s")
        one.ok("COMMIT")
        one.ok("ALTER TABLE t RENAME TO q")
        number = one.good("SELECT a FROM q")
        one.step(number, rows=1)
        one.finalize(number)
        one.drop_modules("m")
        one.ask(DISCONNECT)
        one.ok("DROP TABLE q")


SCENES = {
    "psql-simple": psql_simple,
    "psql-errors": psql_errors,
    "psql-commands": psql_commands,
    "psql-cursors": psql_cursors,
    "psql-copy": psql_copy,
    "psql-notify": psql_notify,
    "pgbench-simple": pgbench("simple"),
    "pgbench-extended": pgbench("extended"),
    "pgbench-prepared": pgbench("prepared"),
    "psycopg-extended": psycopg_extended,
    "psycopg-pipeline": psycopg_pipeline,
    "psycopg-cursor": psycopg_cursor,
    "psycopg-cancel": psycopg_cancel,
    "psycopg2": psycopg2_simple,
    "asyncpg": asyncpg_session,
    "two-writers": two_writers,
    "native-statements": native_statements,
    "native-settings": native_settings,
    "native-calls": native_calls,
    "native-tables": native_tables,
    "native-blobs-and-images": native_blobs_and_images,
}

SCHEMA = """
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, score REAL, data BLOB, flag BOOLEAN, born DATE);
CREATE TABLE u(a, b NUMERIC, c UUID, d TIMESTAMP);
CREATE TABLE log(n INTEGER CHECK (n > 0), CONSTRAINT small CHECK (n < 1000));
INSERT INTO t VALUES (1, 'one', 1.5, x'00ff', 1, '2024-02-29'), (2, 'two', 0, NULL, 0, NULL);
CREATE TABLE pgbench_accounts(aid INTEGER PRIMARY KEY, bid INT, abalance INT, filler CHAR(84));
CREATE TABLE pgbench_branches(bid INTEGER PRIMARY KEY, bbalance INT, filler CHAR(88));
CREATE TABLE pgbench_tellers(tid INTEGER PRIMARY KEY, bid INT, tbalance INT, filler CHAR(84));
CREATE TABLE pgbench_history(tid INT, bid INT, aid INT, delta INT, mtime TIMESTAMP, filler CHAR(22));
INSERT INTO pgbench_branches VALUES (1, 0, '');
INSERT INTO pgbench_tellers VALUES (1, 1, 0, '');
"""


def main():
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    data_dir = tempfile.mkdtemp(prefix="sqld-record-")
    server = Sqld(data_dir).start()
    try:
        psql(server.port, SCHEMA)
        recorder = Recorder(server.port)
        for number, (name, scene) in enumerate(SCENES.items()):
            try:
                scene(recorder.port)
            except ImportError as error:
                print(f"{name}: {error}, left out")
                continue
            streams = recorder.take()[-CONNECTIONS_MAX:]
            seed = SCHEDULES[number % len(SCHEDULES)] + SEPARATOR.join(streams)
            assert streams and len(seed) <= FILE_BYTES_MAX, f"{name}: {len(streams)} connections, {len(seed)} bytes"
            (target / name).write_bytes(seed)
            print(f"{name}: {len(streams)} connections, {len(seed)} bytes")
    finally:
        server.close()
        shutil.rmtree(data_dir)


if __name__ == "__main__":
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    main()
