"""Groups of servers for tests of replication: starts primaries and replicas, waits for positions, compares pages.

    group = Group(tmp_path)                      # the fixture `group` of tests/integration/test_replication*.py
    primary = group.primary()
    replica = group.replica(primary)
    ... write to primary ...
    group.wait_equal(primary, replica)           # has caught up, and every page of every database is the same

What a server is asked for comes over its ordinary port (SHOW replication, SHOW node); pages are read from its files, beside it.
"""

import sqlite3
from pathlib import Path

from server import Sqld, poll
from wire import Closed, ServerError

CATCH_UP_S = 60.0
FAST = ("--replication-timeout", "2s")  # what is dead is noticed soon


class Node(Sqld):
    """One server of a group."""

    def __init__(self, name, data_dir, *options, **kw):
        super().__init__(data_dir, *FAST, "--replica-name", name, *options, **kw)
        self.name = name

    def url_of(self, *others):
        """A URL of this server, and of others behind it, for --replica-of."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in (self, *others))
        return f"sqld://replicator@{hosts}?sslmode=disable&connect_timeout=2"

    def ask(self, sql, database="main"):
        """Rows of a statement on a connection of its own."""
        with self.connect(database=database) as c:
            return c.ok(sql)

    def node(self):
        """SHOW node as a dictionary."""
        names = ("role", "timeline", "seen_timeline", "system_identifier", "primary", "host", "state", "failure", "replicas")
        return dict(zip(names, self.any_database("SHOW node")[0]))

    def replication(self):
        """SHOW replication: a list of dictionaries."""
        names = (
            "role name address database state timeline end_txid sent_txid written_txid durable_txid applied_txid "
            "lag_transactions lag_bytes lag_seconds reason"
        ).split()
        return [dict(zip(names, row)) for row in self.any_database("SHOW replication")]

    def any_database(self, sql):
        """On whichever database there is: a new replica has none for a moment."""
        names = self.databases()
        assert names, "there is no database yet"
        return self.ask(sql, database="main" if "main" in names else names[0])

    def databases(self):
        return sorted(path.stem for path in self.data_dir.glob("*.db"))

    def pages(self, database="main"):
        """The database's pages as a reader of this moment sees them: a list of bytes."""
        path = self.data_dir / f"{database}.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            image = db.serialize()
            size = db.execute("PRAGMA page_size").fetchone()[0]
        db.close()
        return [image[i : i + size] for i in range(0, len(image), size)]

    def check_database(self, database="main"):
        path = self.data_dir / f"{database}.db"
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        finally:
            db.close()

    def position(self, database="main"):
        """The transaction up to which a replica has applied the database; None: it does not follow it."""
        for row in self.replication():
            if row["role"] == "primary" and row["database"] == database and row["state"] == "following":
                return int(row["applied_txid"])
        return None

    def end(self, database="main"):
        """The transaction that covers everything that has been committed here, or applied."""
        return int(self.ask("SHOW sqld.position", database=database)[0][0].split("/")[1], 16)

    def promote(self):
        assert self.any_database("SELECT sqld_promote()")[0][0] in ("t", "1")
        return int(self.node()["timeline"])


class Group:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.nodes = []

    def _make(self, name, options, **kw):
        name = name or f"n{len(self.nodes)}"
        node = Node(name, self.directory / name, *options, **kw)
        self.nodes.append(node)
        return node

    def primary(self, *options, name=None, start=True, **kw):
        node = self._make(name, options, **kw)
        return node.start() if start else node

    def replica(self, of, *options, name=None, start=True, others=(), **kw):
        """Of `of` (a Node), or of whichever of it and `others` is the primary."""
        node = self._make(name, ("--replica-of", of.url_of(*others), *options), **kw)
        return node.start() if start else node

    def close(self):
        for node in reversed(self.nodes):
            node.close()

    # ---- waiting
    def wait_caught_up(self, primary, replica, databases=None, timeout=CATCH_UP_S):
        """Until the replica says that it has all that the primary has of each database (nobody writes meanwhile)."""

        def look():
            try:
                wanted = set(databases or primary.databases())
                ends = {row["database"]: row for row in replica.replication() if row["role"] == "primary"}
                here = {name: primary.end(name) for name in wanted}
                known = {
                    row["database"]: row
                    for row in primary.replication()
                    if row["role"] == "replica" and row["name"] == replica.name
                }
            except (AssertionError, Closed, OSError, ServerError):
                return False
            return all(
                name in ends
                and name in known
                and ends[name]["state"] == "following"
                and here[name] == int(known[name]["durable_txid"]) == int(ends[name]["applied_txid"])
                for name in wanted
            )

        try:
            poll(look, f"{replica.name} has everything of {primary.name}", timeout)
        except AssertionError:
            raise AssertionError(
                f"{replica.name} has not caught up with {primary.name}:\n"
                f"{[r for r in primary.replication()]}\n{[r for r in replica.replication()]}\n"
                f"--- {replica.name}\n{replica.log()[-5000:]}\n--- {primary.name}\n{primary.log()[-5000:]}"
            ) from None

    def wait_equal(self, primary, *replicas, databases=None, timeout=CATCH_UP_S):
        """Caught up, and page for page the same; both are sound."""
        for replica in replicas:
            self.wait_caught_up(primary, replica, databases, timeout)
            names = databases or primary.databases()
            if databases is None:
                poll(lambda r=replica, n=names: r.databases() == n, f"{replica.name} has the same databases")
            for name in names:
                self.compare(primary, replica, name)

    @staticmethod
    def compare(primary, replica, database):
        ours, theirs = primary.pages(database), replica.pages(database)
        assert len(ours) == len(theirs), f"{database}: {len(ours)} and {len(theirs)} pages"
        different = [i + 1 for i, (a, b) in enumerate(zip(ours, theirs)) if a != b]
        assert not different, f"{database}: pages {different[:20]} of {len(ours)} differ"
        replica.check_database(database)
