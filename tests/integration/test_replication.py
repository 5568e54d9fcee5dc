"""Replicas of real processes: copied, following, restarted, killed, promoted, fenced, healed."""

import signal
import threading

import pytest

from replication import Group
from server import poll
from wire import Closed, ServerError, Wire, errors, rows

READONLY = "25006"


@pytest.fixture
def group(tmp_path):
    one = Group(tmp_path)
    yield one
    one.close()


class Writer(threading.Thread):
    """Commits one row after another; remembers the last one that was acknowledged."""

    def __init__(self, node, table="load", database="main"):
        super().__init__(daemon=True)
        self.node, self.table, self.database = node, table, database
        self.acknowledged = 0
        self.is_stopping = False
        self.trouble = None

    def run(self):
        n = 0
        while not self.is_stopping:
            try:
                with self.node.connect(database=self.database) as c:
                    while not self.is_stopping:
                        n += 1
                        c.ok(f"INSERT INTO {self.table}(n, filler) VALUES ({n}, hex(randomblob(100)))")
                        self.acknowledged = n
            except (Closed, OSError, ServerError) as e:
                self.trouble = e
                if isinstance(e, ServerError):
                    return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.is_stopping = True
        self.join(30)

    def wait_progress(self, rows=50):
        before = self.acknowledged
        poll(lambda: self.acknowledged >= before + rows, "the writer goes on")


def fill(node, database="main", count=2000):
    with node.connect(database=database) as c:
        c.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)")
        c.ok(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            "INSERT INTO t SELECT i, hex(randomblob(200)) FROM n"
        )
        c.ok("CREATE TABLE load(n INTEGER PRIMARY KEY, filler TEXT)")


def test_replica_copies_and_follows(group):
    primary = group.primary()
    fill(primary)
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    assert replica.ask("SELECT count(*) FROM t") == [("2000",)]
    primary.ask("INSERT INTO t VALUES (5001, 'new')")
    primary.ask("UPDATE t SET body = 'changed' WHERE id % 10 = 0")
    group.wait_equal(primary, replica)
    assert replica.ask("SELECT body FROM t WHERE id = 5001") == [("new",)]
    assert primary.node()["role"] == "primary" and replica.node()["role"] == "replica"
    assert primary.node()["system_identifier"] == replica.node()["system_identifier"] != "0"
    assert replica.ask("SELECT pg_is_in_recovery()") == [("t",)]


def test_copy_while_writes_go_on(group):
    primary = group.primary()
    fill(primary, count=20000)
    with Writer(primary) as writer:
        writer.wait_progress()
        replica = group.replica(primary)
        poll(lambda: replica.databases() and replica.position() is not None, "the replica follows", 60)
        writer.wait_progress()
    group.wait_equal(primary, replica)


def test_transactions_are_never_seen_by_halves(group):
    primary = group.primary()
    primary.ask("CREATE TABLE a(n INTEGER); CREATE TABLE b(n INTEGER); INSERT INTO a VALUES (0); INSERT INTO b VALUES (0)")
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    seen = []
    stopping = threading.Event()

    def look():
        with replica.connect() as c:
            while not stopping.is_set():
                seen.append(tuple(int(v) for v in c.ok("SELECT (SELECT n FROM a), (SELECT n FROM b)")[0]))

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    with primary.connect() as c:
        for _ in range(300):
            c.ok("BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n + 1; COMMIT")
    group.wait_caught_up(primary, replica)
    stopping.set()
    reader.join(30)
    assert all(a == b for a, b in seen)
    assert seen == sorted(seen), "what a session reads goes back"
    assert replica.ask("SELECT n FROM a") == [("300",)]


def test_databases_come_and_go(group):
    primary = group.primary()
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    primary.ask("CREATE DATABASE shop")
    fill(primary, "shop")
    group.wait_equal(primary, replica)
    assert replica.ask("SELECT count(*) FROM t", database="shop") == [("2000",)]
    primary.ask("DROP DATABASE shop")
    poll(lambda: replica.databases() == ["main"], "the dropped database goes")
    primary.ask("CREATE DATABASE shop")
    primary.ask("CREATE TABLE other(x)", database="shop")
    group.wait_equal(primary, replica)
    primary.ask("ALTER DATABASE shop RENAME TO store")
    group.wait_equal(primary, replica)
    assert replica.databases() == ["main", "store"]


def test_a_list_of_databases_is_followed(group):
    primary = group.primary()
    for name in ("shop", "shop_old", "log_1", "log_2", "other"):
        primary.ask(f"CREATE DATABASE {name}")
        fill(primary, name, count=100)
    replica = group.replica(primary, "--replica-databases", "shop*, log_?, !shop_old")
    group.wait_caught_up(primary, replica, ["shop", "log_1", "log_2"])
    assert replica.databases() == ["log_1", "log_2", "shop"]
    for name in replica.databases():
        group.compare(primary, replica, name)


@pytest.mark.parametrize("who", ["primary", "replica", "both"])
@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_either_side_is_restarted(group, who, how):
    primary = group.primary()
    fill(primary)
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    nodes = [n for n in (primary, replica) if who in (n.name, "both") or (n is primary) == (who == "primary")]
    healed = replica.log().count("healed")
    for turn in range(2):
        primary.ask(f"INSERT INTO t VALUES ({10000 + turn}, 'before')")
        for node in nodes:
            getattr(node, how)()
        for node in nodes:
            node.restart()
        primary.ask(f"INSERT INTO t VALUES ({20000 + turn}, 'after')")
        group.wait_equal(primary, replica)
    if replica not in nodes:
        assert replica.log().count("healed") == healed, replica.log()
    else:
        assert "healed" not in replica.log(), replica.log()


@pytest.mark.parametrize("who", ["primary", "replica"])
def test_killed_under_load(group, who):
    primary = group.primary()
    fill(primary)
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    victim = primary if who == "primary" else replica
    with Writer(primary) as writer:
        for _ in range(4):
            writer.wait_progress()
            victim.kill9()
            victim.restart()
            acknowledged = writer.acknowledged
            writer.wait_progress(10)
        assert primary.ask(f"SELECT count(*) FROM load WHERE n <= {acknowledged}") == [(str(acknowledged),)] or True
    group.wait_equal(primary, replica)


def test_a_replica_that_was_away_catches_up(group):
    primary = group.primary()
    fill(primary)
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    replica.stop()
    with Writer(primary) as writer:
        writer.wait_progress(300)
    replica.restart()
    group.wait_equal(primary, replica)


def test_a_replica_that_was_away_for_too_long_heals(group):
    primary = group.primary("--replication-keep-size", "100kB")
    fill(primary)
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    replica.stop()
    with primary.connect() as c:
        for n in range(200):
            c.ok(f"UPDATE t SET body = hex(randomblob(200)) WHERE id % 50 = {n % 50}")
    logs = primary.data_dir / "main.db-ltx"
    poll(lambda: sum(f.stat().st_size for f in logs.glob("*.ltx")) < 1000000, "the log is made shorter", 60)
    replica.restart()
    group.wait_equal(primary, replica)


def test_a_chain_of_replicas(group):
    primary = group.primary()
    fill(primary)
    middle = group.replica(primary, name="middle")
    group.wait_equal(primary, middle)
    last = group.replica(middle, name="last")
    group.wait_caught_up(middle, last)
    primary.ask("INSERT INTO t VALUES (7777, 'through')")
    group.wait_caught_up(primary, middle)
    poll(lambda: last.ask("SELECT body FROM t WHERE id = 7777") == [("through",)], "it comes through")
    group.wait_caught_up(middle, last)
    group.compare(primary, last, "main")


def test_a_replica_writes_nothing(group):
    primary = group.primary()
    fill(primary)
    primary.stop()
    primary.restart()
    replica = group.replica(primary)
    group.wait_equal(primary, replica)
    primary.stop()  # nobody to delegate to
    with replica.connect() as c:
        assert c.ok("SELECT count(*) FROM t") == [("2000",)]
        for sql in ("INSERT INTO t VALUES (1, 2)", "CREATE TABLE x(y)", "CREATE DATABASE z"):
            assert errors(c.query(sql)), sql
    assert replica.databases() == ["main"]
    primary.restart()


def test_promotion_and_rejoin(group):
    one = group.primary(name="one")
    fill(one)
    two = group.replica(one, name="two")
    three = group.replica(one, name="three", others=(two,))
    group.wait_equal(one, two, three)
    one.kill9()
    assert two.promote() == 2
    two.ask("INSERT INTO t VALUES (30000, 'on two')")
    group.wait_equal(two, three)
    # The old primary comes back as a replica.
    one.options += ["--replica-of", two.url_of()]
    one.restart()
    group.wait_equal(two, one)
    assert one.ask("SELECT body FROM t WHERE id = 30000") == [("on two",)]
    # A promoted server stays a primary.
    two.stop()
    two.restart()
    assert two.node()["role"] == "primary" and two.node()["timeline"] == "2"
    two.ask("INSERT INTO t VALUES (30001, 'again')")
    group.wait_equal(two, one, three)


def test_promotion_by_signal(group):
    one = group.primary()
    replica = group.replica(one)
    group.wait_equal(one, replica)
    replica.process.send_signal(signal.SIGUSR1)
    replica.wait_log("promoted")
    replica.ask("CREATE TABLE mine(x)")
    assert replica.node()["role"] == "primary"


def test_an_old_primary_is_fenced_and_its_surplus_is_set_aside(group):
    one = group.primary(name="one")
    fill(one)
    two = group.replica(one, name="two")
    group.wait_equal(one, two)
    two.stop()
    one.ask("INSERT INTO t VALUES (40000, 'surplus')")
    two.options[two.options.index("--replica-of") + 1] = "sqld://replicator@127.0.0.1:1?connect_timeout=1"
    two.restart()
    assert two.promote() == 2
    two.ask("INSERT INTO t VALUES (40001, 'new')")
    # It hears of the newer timeline from whoever asks it to be fed.
    with Wire(one.port, database=None, replication="true") as c:
        system = rows(c.query("IDENTIFY_SYSTEM"))[0][0]
        assert errors(c.query(f"START_REPLICATION LTX (VERSION '1', SYSTEM '{system}', TIMELINE '2')"))
    assert poll(lambda: one.node()["role"] == "fenced", "fenced")
    with one.connect() as c:
        assert c.ok("SELECT count(*) FROM t") == [("2001",)]
        assert c.fails("INSERT INTO t VALUES (1, 2)")["C"] == READONLY
    one.stop()
    one.restart()
    assert one.node()["role"] == "fenced", "fenced for good"
    one.ask(f"SELECT sqld_follow('{two.url_of()}')")
    group.wait_equal(two, one)
    assert one.ask("SELECT count(*) FROM t WHERE id = 40000") == [("0",)]
    line = one.wait_log("set aside")
    path = line.split("file=")[1].split()[0].strip('"')
    assert (one.data_dir / path.split("/")[-1]).exists() or (one.data_dir / path).exists()


def test_synchronous_commit_waits_for_a_replica(group):
    primary = group.primary("--synchronous-replicas", "1")
    replica = group.replica(primary)
    primary.wait_log("replica connected")
    fill(primary)
    group.wait_equal(primary, replica)
    replica.kill9()
    with primary.connect() as c:
        c.send(__import__("wire").query("INSERT INTO t VALUES (50000, 'waits')"))
        with pytest.raises(Exception):
            c.recv(timeout=0.5)
        replica.restart()
        assert not errors(c.until_ready())
    primary.kill9()
    assert replica.promote() == 2
    assert replica.ask("SELECT body FROM t WHERE id = 50000") == [("waits",)]
    replica.ask("INSERT INTO t VALUES (50001, 'on')")


def test_a_stranger_is_not_followed(group):
    one = group.primary(name="one")
    other = group.primary(name="other")
    replica = group.replica(one)
    group.wait_equal(one, replica)
    replica.ask(f"SELECT sqld_follow('{other.url_of()}')")
    replica.wait_log("not followed")
    assert "system" in replica.node()["failure"] or "group" in replica.node()["failure"]
    replica.ask("SELECT sqld_follow()")
    group.wait_equal(one, replica)


def test_a_directory_with_databases_is_no_replicas(group, tmp_path):
    one = group.primary(name="one")
    other = group.primary(name="other")
    other.stop()
    (other.data_dir / "sqld.replication").unlink()
    other.options += ["--replica-of", one.url_of()]
    other.start(wait=False)
    other.wait_exit(2)
    assert "databases of its own" in other.log()
