"""A server that writes and reads for a long time. `make soak` runs it for SOAK_SECONDS; otherwise it takes a few seconds."""

import itertools
import os
import threading
import time
from pathlib import Path

import pytest

SECONDS = int(os.environ.get("SQLD_SOAK_SECONDS", "0"))
WRITTEN_MIN = 400 << 20  # however short it is: the log must have been begun anew several times
WRITERS = 4
READERS = 4  # whose transactions overlap: there is never a moment in which nobody reads
READ_S = 0.25 if SECONDS else 0.02  # the longest of them
# The log grows until writers are held up for as long as a read lasts, and by what is written between two attempts.
LOG_BYTES_MAX = (2048 if SECONDS else 256) << 20
BEGUN_MIN = max(1, SECONDS // 30)
MEMORY_BYTES_MAX = 512 << 20
ROWS = 4000
STEP = 400  # rows that a transaction writes


def own_bytes(server):
    """Memory that is the server's own: resident, without the pages of files that it maps."""
    _, resident, shared, *_ = map(int, Path(f"/proc/{server.process.pid}/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class Soak:
    """Writers move amounts between rows, so that their sum stays 0; readers hold a snapshot for a while and add up."""

    def __init__(self, server):
        self.server = server
        self.stop = threading.Event()
        self.failures = []
        self.written = itertools.count()
        self.written_bytes = 0

    def guarded(self, work, *args):
        def run():
            try:
                with self.server.connect() as c:
                    while not self.stop.is_set():
                        work(c, *args)
            except Exception as e:  # noqa: BLE001 - handed on by check()
                self.failures.append(e)

        return threading.Thread(target=run)

    def write(self, c, number):
        at = next(self.written) * 37 % (ROWS - STEP)
        c.ok("BEGIN IMMEDIATE")
        c.ok(
            f"UPDATE t SET amount = amount + CASE id % 2 WHEN 0 THEN {number + 1} ELSE -{number + 1} END,"
            f" filler = randomblob(1000) WHERE id > {at} AND id <= {at + STEP}"
        )
        c.ok("COMMIT")
        self.written_bytes += STEP * 1000

    def read(self, c, number):
        c.ok("BEGIN")
        first = c.ok("SELECT sum(amount), count(*), sum(length(filler)) FROM t")
        assert first == [("0", str(ROWS), str(ROWS * 1000))], first
        self.stop.wait(READ_S * (number + 1) / READERS)
        assert c.ok("SELECT sum(amount), count(*), sum(length(filler)) FROM t") == first
        c.ok("COMMIT")


def log_salt(wal):
    with wal.open("rb") as log:
        return log.read(20)[16:]  # salt-1, another one each time that the log is begun anew (sqlite.org/fileformat.html)


@pytest.mark.timeout(SECONDS + 300)
def test_the_log_and_the_memory_stay_bounded_under_readers_who_never_cease(start):
    server = start()
    wal = Path(server.data_dir) / "main.db-wal"
    soak = Soak(server)
    with server.connect() as c:
        c.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, filler BLOB NOT NULL)")
        c.ok(
            f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS})"
            " INSERT INTO t SELECT n, 0, randomblob(1000) FROM s"
        )
        threads = [soak.guarded(soak.write, n) for n in range(WRITERS)]
        threads += [soak.guarded(soak.read, n) for n in range(READERS)]
        end = time.monotonic() + SECONDS
        largest = begun = 0
        salt = log_salt(wal)
        for thread in threads:
            thread.start()
        try:
            while (time.monotonic() < end or soak.written_bytes < WRITTEN_MIN) and not soak.failures:
                soak.stop.wait(0.05)  # a look at the file now and then; nothing is measured
                largest = max(largest, wal.stat().st_size)
                begun += log_salt(wal) != salt
                salt = log_salt(wal)
        finally:
            soak.stop.set()
            for thread in threads:
                thread.join()
        print(f"{soak.written_bytes >> 20} MB written, log at most {largest >> 20} MB, begun anew {begun} times,"
              f" {own_bytes(server) >> 20} MB of memory")
        assert not soak.failures, soak.failures
        assert largest < LOG_BYTES_MAX
        assert begun >= BEGUN_MIN
        assert own_bytes(server) < MEMORY_BYTES_MAX
        assert c.value("SELECT sum(amount) FROM t") == "0"
        assert c.value("PRAGMA integrity_check") == "ok"
