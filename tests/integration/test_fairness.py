"""Nothing starves: long statements beside short ones, and hundreds of writers in one queue."""

import selectors

import wire
from wire import bind, errors, execute, parse, query, rows, sync

ENDLESS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s"
LONG = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) SELECT count(*) FROM s"
WRITERS = 300
ROUNDS = 8


def metric(client, name):
    return int(next(row[1] for row in client.ok("SHOW metrics") if row[0] == name))


def make_table(db):
    db.ok(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER);"
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) INSERT INTO t SELECT n, 0 FROM s"
    )


def stop_all(clients):
    for one in clients:
        one.cancel()
    for one in clients:
        assert errors(one.until_ready()) == ["57014"]
        one.close()


def test_long_statements_and_point_reads_and_writes_all_come_to_an_end(server, scratch, db):
    """Four endless statements run throughout; four long ones beside them end, and so do reads and writes."""
    make_table(db)
    yields = metric(db, "sqld_statement_yields_total")
    endless = [server.connect(database=scratch) for _ in range(4)]
    long = [server.connect(database=scratch, timeout=120) for _ in range(4)]
    for one in endless:
        one.send(query(ENDLESS))
    for one in long:
        one.send(query(LONG.format(300000)))
    try:
        db.ask(parse("SELECT n FROM t WHERE id = $1", name="p"))
        for i in range(1, 500):
            assert rows(db.ask(bind([str(i)], stmt="p"), execute())) == [("0",)]
        for i in range(1, 50):
            db.ok(f"UPDATE t SET n = n + 1 WHERE id = {i}")
        for one in long:
            assert rows(one.until_ready()) == [("300000",)]
            one.close()
        assert db.value("SELECT sum(n) FROM t") == "49"
        assert metric(db, "sqld_statement_yields_total") > yields
    finally:
        stop_all(endless)


def test_a_long_writer_is_not_starved_by_long_readers(server, scratch, db):
    make_table(db)
    endless = [server.connect(database=scratch) for _ in range(4)]
    for one in endless:
        one.send(query(ENDLESS))
    try:
        db.send(query(f"UPDATE t SET n = ({LONG.format(300000)}) WHERE id = 1"))
        behind = server.connect(database=scratch)
        behind.ok("UPDATE t SET n = 7 WHERE id = 2")
        behind.close()
        assert errors(db.until_ready(120)) == []
        assert db.ok("SELECT n FROM t WHERE id < 3") == [("300000",), ("7",)]
    finally:
        stop_all(endless)


class Writer:
    """One row, updated again and again; `done` counts what has been answered."""

    update = bind(stmt="u") + execute() + sync()

    def __init__(self, server, database, row):
        self.client = server.connect(database=database)
        assert errors(self.client.ask(parse(f"UPDATE t SET n = n + 1 WHERE id = {row}", name="u"))) == []
        self.done = 0

    def go(self):
        self.client.send(self.update)

    def take(self):
        assert errors(self.client.until_ready()) == []
        self.done += 1


def test_hundreds_of_writers_take_turns(server, scratch, db):
    make_table(db)
    writers = [Writer(server, scratch, i + 1) for i in range(WRITERS)]
    with selectors.DefaultSelector() as ready:
        for one in writers:
            ready.register(one.client.sock, selectors.EVENT_READ, one)
            one.go()
        while min(one.done for one in writers) < ROUNDS:
            events = ready.select(wire.WAIT_S)
            assert events, "no writer gets on"
            for key, _ in events:
                key.data.take()
                key.data.go()
    counts = sorted(one.done for one in writers)
    # First come, first served: whoever has been answered goes to the end of the queue. Asking again takes the client some
    # time, in which others are served: a few turns of difference, not a multiple.
    assert counts[-1] <= 3 * ROUNDS, counts
    for one in writers:
        one.take()
        one.client.close()
    done = dict(db.ok(f"SELECT id, n FROM t WHERE id <= {WRITERS}"))
    assert [int(done[str(i + 1)]) for i in range(WRITERS)] == [one.done for one in writers]


def test_waiting_writers_do_not_hold_up_readers(server, scratch, db):
    make_table(db)
    db.ok("BEGIN IMMEDIATE; UPDATE t SET n = 1 WHERE id = 1")
    writers = [Writer(server, scratch, i + 1) for i in range(50)]
    for one in writers:
        one.go()
    with server.connect(database=scratch) as reader:
        for _ in range(100):
            assert reader.value("SELECT n FROM t WHERE id = 1") == "0"
    db.ok("COMMIT")
    for one in writers:
        one.take()
        one.client.close()
    assert db.value("SELECT sum(n) FROM t") == "51"
