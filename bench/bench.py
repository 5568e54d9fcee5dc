#!/usr/bin/python3
"""sqld beside PostgreSQL and beside SQLite without a server, on this machine: `make bench`.

    bench/bench.py --build DIR [--seconds S] [--rounds N] [--only NAME,…] [--clients N,…] [--out DIR]

Both servers are started on scratch directories of one file system (servers.py), hold the same table of 1,000,000 rows, and
take turns run by run, A B A B, so that a machine that changes its pace does so for both. Each workload is measured with
several numbers of clients (measure.py). Everything is printed as it is measured, as the ratio sqld / PostgreSQL, kept in
DIR/bench/results.json, and made into benchmarks.md and benchmarks.svg (report.py): in docs/ after a full run, in DIR/bench
otherwise. A workload that fails is reported as failed and makes the exit code 1; a goal that is not met does not.

Options are environment variables too (BENCH_SECONDS, BENCH_ROUNDS, BENCH_ONLY, BENCH_CLIENTS, BENCH_OUT, BENCH_DIR), so
that `make bench BENCH_SECONDS=1 BENCH_ONLY=select` is a quick look. NAME is a name below or its beginning."""
import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import time
from pathlib import Path

import report
from measure import Load, Pgbench, Sample, count_instructions, run_application, run_embedded, run_load
from servers import BenchError, Floor, Guard, Postgres, Sqld, keep_log, raise_file_limit

ROOT = Path(__file__).resolve().parents[1]
ROWS = 1_000_000
RESULT_ROWS = 100_000
COPY_ROWS = 500_000
MULTI_ROWS, MULTI_BATCH = 200_000, 1000
PIPELINE_STATEMENTS = 10
FLOOR_CLIENTS = (8, 64)
IDLE = {"postgres": 1000, "sqld": 10_000}
IDLE_SETTLE_S = 3
CONNECT_THREADS = 8
FAIR_CLIENTS, FAIR_BASE_CLIENTS = 2000, 8
ANALYTIC_READERS = 8
ANALYTIC_PER_CORE = 2
DROPIN_TURNS, DROPIN_BATCH, DROPIN_COUNT_RUNS = 5, 1000, 2000
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SQLD_CONNECTIONS_MAX, POSTGRES_CONNECTIONS_MAX = 12_000, 1100

KEY = f"\\set id random(1, {ROWS})\n"
SELECT = "SELECT balance, filler FROM account WHERE id = "
UPDATE = "UPDATE account SET balance = balance + 1 WHERE id = "
SCAN = f"SELECT id, balance, filler FROM account WHERE id <= {RESULT_ROWS}"
# A count that takes some weeks and neither memory nor disk.
ENDLESS = "SELECT count(*) FROM digit a, digit b, digit c, digit d, digit e WHERE a.n + b.n + c.n + d.n + e.n < 0"
POINT = KEY + SELECT + ":id;\n"
PIPELINE = "".join(f"\\set id{i} random(1, {ROWS})\n" for i in range(PIPELINE_STATEMENTS)) + "\\startpipeline\n" + "".join(
    f"{SELECT}:id{i};\n" for i in range(PIPELINE_STATEMENTS)) + "\\endpipeline\n"
WRITE = KEY + UPDATE + ":id;\n"
INSERT = KEY + "INSERT INTO history(account, delta) VALUES (:id, 1);\n"

# name: (load, numbers of clients). What the names mean to a reader is in report.py.
STATEMENTS = {
    "select_prepared": (Pgbench([(1, POINT)]), (1, 8, 64, 512)),
    "select_extended": (Pgbench([(1, POINT)], "extended"), (8, 64)),
    "select_simple": (Pgbench([(1, POINT)], "simple"), (8, 64)),
    "select_pipelined": (Pgbench([(1, PIPELINE)], units_each=PIPELINE_STATEMENTS), (1, 8, 64)),
    "update": (Pgbench([(1, WRITE)]), (1, 8, 64, 512)),
    "insert": (Pgbench([(1, INSERT)]), (1, 8, 64, 512)),
    "mixed": (Pgbench([(9, POINT), (1, WRITE)]), (1, 8, 64, 512)),
}
SCHEMA = {
    "postgres": f"""
        CREATE TABLE account(id integer PRIMARY KEY, balance integer NOT NULL, filler text NOT NULL) WITH (fillfactor = 90);
        INSERT INTO account SELECT i, 0, lpad(i::text, 80, '0') FROM generate_series(1, {ROWS}) i;
        CREATE TABLE history(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account integer NOT NULL,
            delta integer NOT NULL, at timestamptz DEFAULT current_timestamp);
        CREATE TABLE digit(n integer NOT NULL);
        INSERT INTO digit SELECT generate_series(1, 1000);
        VACUUM (ANALYZE, FREEZE);
        CHECKPOINT;""",
    "sqld": f"""
        CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, filler TEXT NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
            INSERT INTO account SELECT i, 0, printf('%080d', i) FROM n;
        CREATE TABLE history(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, delta INTEGER NOT NULL,
            at TEXT DEFAULT CURRENT_TIMESTAMP);
        CREATE TABLE digit(n INTEGER NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO digit SELECT i FROM n;""",
}
# name: (SQL with one parameter in SQLite's spelling, options of load.c and dropin.c, what the drop-in is held against).
DROPIN = {
    "dropin_select": (SELECT + "?1", dict(keys=ROWS), "libpq"),
    "dropin_insert": ("INSERT INTO history(account, delta) VALUES (?1, 1)", dict(keys=ROWS), "libpq"),
    "dropin_transaction": ("INSERT INTO history(account, delta) VALUES (?1, 1)", dict(keys=ROWS, batch=DROPIN_BATCH), "libpq"),
    "dropin_scan": ("SELECT id, balance, filler FROM account WHERE id <= ?1", dict(keys=-RESULT_ROWS), "sqlite"),
    "dropin_local": (SELECT + "?1", dict(keys=ROWS), "sqlite"),
}
BULK_TABLE = """DROP TABLE IF EXISTS bulk;
    CREATE TABLE bulk(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, filler TEXT NOT NULL);"""


class Bench:
    """One run of the bench: the two servers, what to measure, and what was measured."""

    def __init__(self, options, scratch, memory, guard):
        self.options = options
        self.scratch = scratch
        self.memory = memory
        self.load = options.build / "bench" / "load"
        self.embedded = options.build / "bench" / "embedded"
        self.application = options.build / "bench" / "dropin"
        self.library = options.build / "lib"
        self.sqld = Sqld(scratch, guard, options.build / "bin" / "sqld", SQLD_CONNECTIONS_MAX)
        self.postgres = Postgres(scratch, guard, POSTGRES_CONNECTIONS_MAX)
        self.servers = [self.postgres, self.sqld]
        self.floor = Floor(scratch, guard, options.build / "bench" / "floor")
        self.points = []
        self.extra = {}
        self.failures = []

    # --- turns ---

    @contextlib.contextmanager
    def turn(self, server):
        """Only this server runs, and nothing that another one wrote waits for the disk."""
        for other in self.servers:
            if other is not server:
                other.pause()
        os.sync()
        if server:
            server.resume()
        yield
        for other in self.servers:
            other.resume()

    def by_turns(self, workload, clients, function, servers=None, rounds=None):
        """Measures function(server), a Sample, for each server, round by round, and keeps the sums. A failure ends this
        workload for this server."""
        samples = {}
        for _ in range(rounds or self.options.rounds):
            for server in servers or self.servers:
                sample = samples.setdefault(server.key, Sample())
                if sample is None:
                    continue
                try:
                    with self.turn(server):
                        sample.add(function(server))
                except BenchError as error:
                    samples[server.key] = None
                    self.failures.append(f"{workload}, {clients} clients, {server.name}: {error}")
                    self.keep(workload, clients, server.key, {"failed": str(error)})
        for key, sample in samples.items():
            if sample is not None:
                self.keep(workload, clients, key, sample.summary())
        self.print_last(workload, clients)
        return samples

    def keep(self, workload, clients, key, figures):
        self.points.append({"workload": workload, "clients": clients, "server": key, **figures})

    def print_last(self, workload, clients):
        found = report.Points(self.points)
        floor = found.get(workload, clients, "floor")
        if floor:
            print(f"{workload:17} {clients:5}  {report.console(floor, {}).replace('sqld', 'a server that does nothing')}", flush=True)
            return
        sqld, other = found.get(workload, clients, "sqld"), found.get(workload, clients, "postgres")
        print(f"{workload:17} {clients:5}  {report.console(sqld, other)}", flush=True)

    # --- workloads ---

    def statements(self):
        for name, (load, clients_list) in STATEMENTS.items():
            for clients in clients_list:
                if self.wanted(name) and (not self.options.clients or clients in self.options.clients):
                    self.by_turns(name, clients, lambda server, load=load, clients=clients: load.run(
                        server, clients, self.options.seconds, self.memory))

    def network(self):
        """The prepared point select against a server that does nothing."""
        load, _ = STATEMENTS["select_prepared"]
        self.floor.start()
        for clients in FLOOR_CLIENTS:
            self.by_turns("floor", clients, lambda server, clients=clients: load.run(
                server, clients, self.options.seconds, self.memory), servers=[self.floor])
        self.floor.stop()

    def bulk(self):
        for name, options in (("copy", dict(rows=COPY_ROWS)), ("multi", dict(rows=MULTI_ROWS, batch=MULTI_BATCH))):
            def run(server, name=name, options=options):
                server.sql(BULK_TABLE)
                sample = run_load(self.load, server, name, **options)
                sample.units = sample.rows
                return sample
            self.by_turns("bulk_" + name, 1, run)

    def result(self):
        def run(server):
            sample = run_load(self.load, server, "result", sql=SCAN, seconds=self.options.seconds)
            sample.units = sample.rows
            return sample
        self.by_turns("result", 1, run)

    def connect(self):
        growth = []

        def run(server):
            before = server.pss_bytes()
            sample = run_load(self.load, server, "connect", clients=CONNECT_THREADS, seconds=self.options.seconds)
            if server is self.sqld and sample.units:
                growth.append({"connections": sample.units, "before_bytes": before, "after_bytes": server.pss_bytes()})
            return sample
        self.by_turns("connect", CONNECT_THREADS, run)
        self.extra["connect_growth"] = growth

    def idle(self):
        found = {}
        for server in self.servers:
            count = IDLE[server.key]
            try:
                with self.turn(server):
                    before = server.pss_bytes()
                    with Load(self.load, server, "idle", clients=count, sql=SELECT + "1") as load:
                        time.sleep(IDLE_SETTLE_S)
                        opened = server.pss_bytes()
                        sample = load.go(is_metered=False)
                        if sample.units != count:
                            raise BenchError(f"{sample.units} of {count} statements succeeded: {sample.errors}")
                        time.sleep(IDLE_SETTLE_S)
                        used = server.pss_bytes()
                found[server.key] = {"connections": count, "before_bytes": before, "opened_bytes": opened,
                                     "used_bytes": used}
                print(f"idle              {count:5}  {server.name}: {(opened - before) / count / 1024:.1f} kB each just "
                      f"opened, {(used - before) / count / 1024:.1f} kB after a statement; {used / 2**20:.0f} MB in all",
                      flush=True)
            except BenchError as error:
                self.failures.append(f"idle, {server.name}: {error}")
                found[server.key] = {"connections": count, "failed": str(error)}
        self.extra["idle"] = found

    def local_database(self):
        """The same table in a file of SQLite's, made when it is first wanted."""
        database = self.scratch / "embedded.db"
        if not database.exists():
            run_embedded(self.embedded, database, "make", ROWS, 0)
            os.sync()
        return database

    def dropin(self):
        """The drop-in client beside libpq against the same server, and beside SQLite's own library. Turns are short, and
        many: it is a small difference that is looked for."""
        url = f"postgresql://bench@127.0.0.1:{self.sqld.port}/main?sslmode=disable"
        with self.turn(None):
            local = self.local_database()
        for name, (sql, options, beside) in DROPIN.items():
            if not self.wanted(name):
                continue
            place = local if name == "dropin_local" else url
            try:
                for key, sample in self.dropin_turns(name, sql, options, beside, place, local).items():
                    self.keep(name, 1, key, sample.summary())
                if place is local:
                    self.count_local(sql, local)
            except BenchError as error:
                self.failures.append(f"{name}: {error}")
            print(f"{name:23}  {report.console_dropin(report.Points(self.points), name)}", flush=True)

    def dropin_turns(self, name, sql, options, beside, place, local):
        """The drop-in with `place`, and what it is held against, by turns: a Sample of each."""
        seconds = max(0.2, self.options.seconds / DROPIN_TURNS)
        runs = {
            "dropin": lambda: run_application(self.application, self.library, place, sql=sql, seconds=seconds, **options),
            "libpq": lambda: run_load(self.load, self.sqld, "statement", sql=sql.replace("?1", "$1"), seconds=seconds, **options),
            "sqlite": lambda: run_application(self.application, None, local, sql=sql, seconds=seconds, **options),
        }
        samples = {"dropin": Sample(), beside: Sample()}
        for turn in range(self.options.rounds * DROPIN_TURNS):
            # A B B A: who comes first finds another machine than who comes second.
            for key, sum_of in sorted(samples.items(), reverse=turn % 2 == 1):
                with self.turn(None if key == "sqlite" or place is local else self.sqld):
                    sample = runs[key]()
                if sample.errors:
                    raise BenchError(f"{key}: {sample.errors}")
                if name == "dropin_scan":
                    sample.units = sample.rows
                sum_of.add(sample)
        return samples

    def count_local(self, sql, local):
        """How many instructions a statement of a local database takes, with the drop-in and without."""
        with self.turn(None):
            counts = {key: count_instructions(self.application, library, local, DROPIN_COUNT_RUNS, sql=sql, keys=ROWS)
                      for key, library in (("dropin", self.library), ("sqlite", None))}
        if all(counts.values()):
            self.extra["local_instructions"] = counts

    def sqlite(self):
        """Embedded SQLite, with the settings that sqld's connections have."""
        pragmas = [f"PRAGMA {name}={self.sqld.sql(f'PRAGMA {name}')}" for name in ("cache_size", "mmap_size")]
        with self.turn(None):
            database = self.local_database()
            for name, mode, rows, statements in (
                    ("embedded_select", "select", ROWS, pragmas),
                    ("embedded_select_transaction", "select", ROWS, [*pragmas, "BEGIN"]),
                    ("embedded_scan", "scan", RESULT_ROWS, pragmas),
                    ("embedded_update", "update", ROWS, pragmas)):
                sample = run_embedded(self.embedded, database, mode, rows, self.options.seconds, *statements)
                self.keep(name, 1, "embedded", sample.summary())
                figures = self.points[-1]
                print(f"{name:30} {figures['rate']:,.0f}/s, CPU {figures['cpu_us']:.2f} µs", flush=True)
        self.extra["embedded_settings"] = pragmas

    def analytic(self):
        """Point reads while statements that never end keep all cores busy."""
        busy = ANALYTIC_PER_CORE * (os.cpu_count() or 1)
        seconds = max(2, 2 * self.options.seconds)
        samples = self.by_turns("analytic", ANALYTIC_READERS, lambda server: run_load(
            self.load, server, "run", clients=ANALYTIC_READERS, seconds=seconds, sql=SELECT + "$1", keys=ROWS, busy=busy,
            busy_sql=ENDLESS))
        self.extra["analytic"] = {"busy": busy, "bounds_us": report.HISTOGRAM_BOUNDS_US, "counts": {
            key: sample.histogram(report.HISTOGRAM_BOUNDS_US) for key, sample in samples.items() if sample}}

    def fairness(self):
        """Two thousand connections that all write, beside eight."""
        for clients in (FAIR_BASE_CLIENTS, FAIR_CLIENTS):
            self.by_turns("fairness", clients, lambda server, clients=clients: run_load(
                self.load, server, "run", clients=clients, seconds=max(2, 2 * self.options.seconds), sql=UPDATE + "$1",
                keys=ROWS), servers=[self.sqld], rounds=1)

    # --- all of it ---

    def wanted(self, name):
        return not self.options.only or any(name.startswith(only) for only in self.options.only)

    def run(self):
        for server in self.servers:
            server.start()
            server.sql(SCHEMA[server.key])
        if any(map(self.wanted, STATEMENTS)):
            self.statements()
        if any(map(self.wanted, DROPIN)):
            self.dropin()
        for name, section in (("floor", self.network), ("bulk", self.bulk), ("result", self.result), ("connect", self.connect), ("idle", self.idle),
                              ("embedded", self.sqlite), ("analytic", self.analytic), ("fairness", self.fairness)):
            if self.wanted(name):
                section()

    def results(self):
        return {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine(self.scratch),
            "versions": {"sqld": self.sqld.version(), "PostgreSQL": self.postgres.version(),
                         "SQLite": self.sqld.sql("SELECT sqlite_version()")},
            "settings": {server.name: server.settings() for server in self.servers},
            "seconds": self.options.seconds, "rounds": self.options.rounds, "rows": ROWS,
            "points": self.points, "failures": self.failures, **self.extra,
        }


def machine(directory):
    """What a reader needs to know to judge the figures; nothing that tells one machine of its kind from another."""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    inside = [(len(point), kind) for point, kind in mounts
              if directory.resolve().is_relative_to(point.replace("\\040", " "))]
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gb": round(memory / 2**20),
            "kernel": "Linux " + platform.release().partition("-")[0], "file_system": max(inside)[1]}


def parse_options():
    def words(text):
        return [word for word in text.split(",") if word]

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    environment = os.environ.get
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--seconds", type=float, default=float(environment("BENCH_SECONDS") or 3))
    parser.add_argument("--rounds", type=int, default=int(environment("BENCH_ROUNDS") or 2))
    parser.add_argument("--only", type=words, default=words(environment("BENCH_ONLY", "")))
    parser.add_argument("--clients", type=words, default=words(environment("BENCH_CLIENTS", "")))
    parser.add_argument("--out", type=Path, default=environment("BENCH_OUT") and Path(environment("BENCH_OUT")))
    parser.add_argument("--scratch", type=Path, default=environment("BENCH_DIR") and Path(environment("BENCH_DIR")),
                        help="where the servers' data goes; default: below the build directory")
    options = parser.parse_args()
    options.clients = [int(word) for word in options.clients]
    options.build = options.build.resolve()
    is_full = not options.only and not options.clients and options.seconds >= 3
    options.out = options.out or (ROOT / "docs" if is_full else options.build / "bench")
    return options


def memory_directory(scratch):
    """For what must not wait for the disk; on the disk where there is no such place."""
    memory = Path("/dev/shm")
    return memory / f"sqld-bench-{os.getpid()}" if os.access(memory, os.W_OK) else scratch / "memory"


def interrupted(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    options = parse_options()
    for number in ENDING_SIGNALS:
        signal.signal(number, interrupted)
    for program in ("pgbench", "psql"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is missing; scripts/deps.sh bench installs it")
    raise_file_limit()
    scratch = (options.scratch or options.build / "bench").resolve() / f"scratch-{os.getpid()}"
    memory = memory_directory(scratch)
    bench, begun = None, time.monotonic()
    guard = Guard(scratch, memory)
    try:
        memory.mkdir(parents=True)
        bench = Bench(options, scratch, memory, guard)
        bench.run()
        results = bench.results()
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt as signal_name:
        sys.exit(f"bench: ended by {signal_name}")
    finally:
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # once is enough: what follows ends the servers
        for server in [*bench.servers, bench.floor] if bench else []:
            server.stop()
            keep_log(server, options.build / "bench")
        guard.close()
    (options.build / "bench" / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    report.write(results, options.out)
    for goal in report.goals(results):
        print(goal.line())
    for failure in bench.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(f"bench: {time.monotonic() - begun:.0f} s; written to {os.path.relpath(options.out)}/benchmarks.md")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
