"""The same conversation with a primary and with its replica: the same answers, byte for byte.

A conversation is made of random messages: queries of one or more statements, pipelines, names that are used again, closed
and missing, transactions, savepoints, errors, COPY, cursors, settings. What may differ is when settings are reported,
and what is said of the session itself. SQLD_DIFFERENTIAL_SEED plays one seed again, SQLD_DIFFERENTIAL_COUNT plays more of
them."""

import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from pair import Pair  # noqa: E402
from wire import (  # noqa: E402
    bind, close_portal, close_statement, copy_data, copy_done, copy_fail, describe_portal, describe_statement, execute, flush,
    parse, query, sync,
)

COUNT = int(os.environ.get("SQLD_DIFFERENTIAL_COUNT", 60))
SEED = os.environ.get("SQLD_DIFFERENTIAL_SEED")
LENGTH = 40

READS = [
    "SELECT count(*) FROM t", "SELECT * FROM t ORDER BY id LIMIT 3", "SELECT id, name FROM t WHERE id = 2", "SELECT 1, 'ä'",
    "VALUES (1), (2)", "SELECT * FROM no_such", "SELECT nonsense(", "EXPLAIN QUERY PLAN SELECT * FROM t", "SELECT max(id) FROM t",
    "SELECT abs(-9223372036854775808)", "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT i FROM n",
]
WRITES = [
    "INSERT INTO t(name) VALUES ('x')", "INSERT INTO t VALUES (2, 'two')", "INSERT OR IGNORE INTO t VALUES (2, 'zwei')",
    "UPDATE t SET name = name || '!' WHERE id < 3", "DELETE FROM t WHERE id > 5", "INSERT INTO t(name) VALUES ('r') RETURNING *",
    "INSERT INTO no_such VALUES (1)", "UPDATE t SET nonsense = 1", "CREATE TABLE IF NOT EXISTS u(a)", "DROP TABLE IF EXISTS u",
    "INSERT OR ROLLBACK INTO t VALUES (2, 'gone')", "REPLACE INTO t VALUES (3, 'three')", "TRUNCATE t", "INSERT INTO t VALUES (NULL, NULL)",
    "WITH x(a) AS (SELECT 7) INSERT INTO t SELECT a, 'seven' FROM x",
]
CONTROL = [
    "BEGIN", "BEGIN", "COMMIT", "COMMIT", "ROLLBACK", "BEGIN IMMEDIATE", "START TRANSACTION", "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a",
]
# Not in one conversation: what follows a transaction here is one that moves, and may be too late.
EITHER = [["BEGIN READ ONLY"], ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"]]
OTHERS = [
    "SET lock_timeout = 1000", "SHOW lock_timeout", "RESET lock_timeout", "SET LOCAL lock_timeout = 7", "SET my.own = 'v'", "SHOW my.own",
    "DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id", "FETCH 2 FROM c", "CLOSE c", "MOVE 1 FROM c", "PREPARE q AS SELECT count(*) FROM t",
    "PREPARE w AS INSERT INTO t(name) VALUES ('w')", "EXECUTE q", "EXECUTE w", "DEALLOCATE q", "DEALLOCATE w", "DEALLOCATE ALL",
    "COPY t TO STDOUT", "COPY (SELECT id FROM t ORDER BY id) TO STDOUT", "", ";", "-- nothing", "NONSENSE", "SELECT 1; SELECT 2",
    "PRAGMA user_version", "PRAGMA table_info(t)", "SET CONSTRAINTS ALL DEFERRED",
]
PARAMETERS = ["SELECT * FROM t WHERE id = $1", "INSERT INTO t(name) VALUES ($1)", "UPDATE t SET name = $1 WHERE id = 1", "SELECT $1"]


class Conversation:
    """Turns: bytes to send, and how the end of the answer is known."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.control = CONTROL + self.dice.choice(EITHER)
        self.turns = [self.turn() for _ in range(LENGTH)]

    def statement(self):
        return self.dice.choice(self.dice.choices((READS, WRITES, self.control, OTHERS), (3, 4, 3, 3))[0])

    def turn(self):
        kind = self.dice.choices(("query", "pipeline", "copy"), (5, 5, 1))[0]
        return getattr(self, kind)()

    def query(self):
        count = self.dice.choice((1, 1, 1, 2, 3, 5))
        return ("Z", [query("; ".join(self.statement() for _ in range(count)))])

    def copy(self):
        data = [copy_data(self.dice.choice(("11\tcopied\n", "x\ty\tz\n", "2\tdouble\n", "\\N\tnull\n"))) for _ in range(2)]
        return ("G", [query("COPY t FROM STDIN")], data + [self.dice.choice((copy_done(), copy_fail()))])

    def pipeline(self):
        parts = []
        for _ in range(self.dice.choice((1, 2, 2, 3, 5))):
            parts += self.dice.choice((self.whole, self.whole, self.whole, self.named, self.odd))()
        return ("Z", [*parts, sync()])

    def formats(self):
        return self.dice.choice(((), (), (1,)))

    def whole(self):
        sql = self.dice.choice(PARAMETERS) if self.dice.random() < 0.3 else self.statement()
        values = ("v",) if "$1" in sql else ()
        portal = self.dice.choice(("", "", "p"))
        parts = [parse(sql), bind(values, portal=portal, result_formats=self.formats())]
        if self.dice.random() < 0.7:
            parts.append(describe_portal(portal))
        parts.append(execute(portal, self.dice.choice((0, 0, 0, 1, 2))))
        if self.dice.random() < 0.2:
            parts.append(execute(portal, 1))
        if portal and self.dice.random() < 0.7:
            parts.append(close_portal(portal))
        if self.dice.random() < 0.1:
            parts.append(flush())
        return parts

    def named(self):
        name = self.dice.choice("sn")
        sql = self.statement()
        return self.dice.choice((
            [close_statement(name), parse(sql, name)],
            [parse(sql, name)],
            [parse(sql, name), describe_statement(name)],
            [bind((), name), execute()],
            [bind((), name), describe_portal(), execute()],
            [describe_statement(name)],
            [close_statement(name)],
        ))

    def odd(self):
        return self.dice.choice((
            [execute("p")], [describe_portal("p")], [close_portal("p")], [bind((), "none")], [close_statement("none")], [flush()],
            [parse("SELECT 1; SELECT 2")], [bind((), "")], [execute()],
        ))


def seen(messages):
    """What is to be the same: answers in their order; the values that settings have at the end of each turn."""
    return [(m.kind, m.body) for m in messages if m.kind not in "SK"]


def play(wire, conversation):
    answers = []
    for turn in conversation.turns:
        wire.send(*turn[1])
        got = wire.until(turn[0] + "Z")
        if turn[0] == "G" and got[-1].kind == "G":
            wire.send(*turn[2])
            got += wire.until_ready()
        answers.append(seen(got))
    return answers


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    one = Pair(tmp_path_factory.mktemp("pair"))
    with one.primary.connect() as there:
        there.ok("CREATE DATABASE direct")
        there.ok("CREATE DATABASE through")
    one.follow("through")
    yield one
    one.close()


SCHEMA = "DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS u; CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'one')"


@pytest.mark.parametrize("seed", [SEED] if SEED else range(COUNT))
def test_a_conversation(pair, seed):
    conversation = Conversation(f"{seed}")
    pair.proxy.plan(None)  # forgets the connections that there were
    for database in ("direct", "through"):
        with pair.primary.connect(database=database) as there:
            there.ok(SCHEMA)
    pair.settle()
    pair.release()
    with pair.primary.connect(database="direct") as one, pair.replica.connect(database="through") as other:
        want, got = play(one, conversation), play(other, conversation)
    for turn, (a, b) in enumerate(zip(want, got)):
        assert a == b, f"seed {seed}, turn {turn}: {conversation.turns[turn]}\nprimary {a}\nreplica {b}\n"
    pair.primary.check_alive()
    pair.replica.check_alive()


