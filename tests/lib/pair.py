"""A primary and a replica whose sessions are tested; the network between them can be cut, and the replica held back.

Until there is replication, the replica's database file is the primary's, and what is applied is what the test says.
"""

from pathlib import Path

from proxy import Proxy
from server import Sqld, poll


class Pair:
    def __init__(self, directory, *options, primary_options=()):
        self.directory = directory
        self.control = directory / "control"
        self.says = {"applied": "all", "connected": 1, "age": 0}
        self.control.write_text("")
        self.primary = Sqld(directory / "primary", *primary_options).start()
        self.proxy = Proxy(self.primary.port)
        (directory / "replica").mkdir()
        self.follow("main")
        self.replica = Sqld(
            directory / "replica",
            *options,
            env={
                "STANDIN_UPSTREAM": f"postgresql://standin@127.0.0.1:{self.proxy.port}?sslmode=disable",
                "STANDIN_FILE": str(self.control),
            },
        ).start()

    def follow(self, database):
        """The replica has the database, too."""
        (self.directory / "replica" / f"{database}.db").symlink_to(self.directory / "primary" / f"{database}.db")

    def say(self, **what):
        self.says.update(what, version=self.says.get("version", 0) + 1)
        other = self.control.with_suffix(".new")
        other.write_text("".join(f"{name}={value}\n" for name, value in self.says.items()))
        other.rename(self.control)
        seen = Path(str(self.control) + ".seen")
        poll(lambda: seen.exists() and seen.read_text() == str(self.says["version"]), "the replica has seen it")

    def position(self):
        """Where the primary is."""
        with self.primary.connect() as there:
            return there.value("SHOW sqld.position")

    def hold(self):
        """Nothing is applied any more."""
        self.say(applied=int(self.position().split("/")[1], 16), age=10_000_000)

    def release(self):
        self.say(applied="all", age=0)

    def settle(self):
        """The replica is where the primary is."""
        self.say(applied=int(self.position().split("/")[1], 16), age=0)

    def part(self):
        """The replica does not reach the primary."""
        self.say(connected=0)

    def join(self):
        self.say(connected=1)

    def close(self):
        self.replica.close()
        self.proxy.close()
        self.primary.close()
