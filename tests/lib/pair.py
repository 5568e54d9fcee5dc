"""A primary and a replica whose sessions are tested; the network between them can be cut, and the replica held back.

Until there is replication, the replica's database file is the primary's, and what is applied is what the test says.
"""

from proxy import Proxy
from server import Sqld


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
        self.says.update(what)
        other = self.control.with_suffix(".new")
        other.write_text("".join(f"{name}={value}\n" for name, value in self.says.items()))
        other.rename(self.control)

    def close(self):
        self.replica.close()
        self.proxy.close()
        self.primary.close()
