"""Measures one server under one load: pgbench's loads (Pgbench), those of load.c (run_load), applications of SQLite's
interface (run_application), and embedded SQLite.

A measurement takes the server's CPU time at two moments, A and B, when nothing but the load goes on: after all connections
are open and have worked for a while, and before they close. What it costs to open them is not in it, and what is done is
counted between the same two moments. pgbench does not say when it begins, but it logs every transaction with its end's time
and its latency: the first lines say that it has begun, and the lines between A and B are the result, exactly; once the logs
have grown beyond B it is killed. The log goes to memory (/dev/shm), so that it does not wait for the disk that the server
waits for.

Latencies are all kept, so percentiles are exact, and those of several runs can be put together."""
import json
import os
import shutil
import subprocess
import tempfile
import time
from array import array
from pathlib import Path

from servers import BenchError, urgent

WARM_UP_S = 0.5
BEGIN_WAIT_S = 120
GROWTH_WAIT_S = 60
# pgbench is killed when it has been measured. Its -T counts from before it connects, so it cannot be what is meant.
ENDLESS_S = 3600
# Of the time that is measured: how long it may take to read the server's clocks.
READING_MAX = 0.1
LOAD_WAIT_S = 600


class Meter:
    """The server's CPU time between two moments. Start it with the load under way, or about to be."""

    def __init__(self, server):
        self.server = server
        self.from_cpu_s, self.from_s, self.took_s = server.cpu_at()
        self.to_s = self.cpu_s = None

    def stop(self):
        to_cpu_s, self.to_s, took_s = self.server.cpu_at()
        self.cpu_s = to_cpu_s - self.from_cpu_s
        if self.took_s + took_s > READING_MAX * (self.to_s - self.from_s):
            raise BenchError(f"the machine is too busy: reading the clocks took {self.took_s + took_s:.2f} s of "
                             f"{self.to_s - self.from_s:.2f} s")


class Sample:
    """What one or several runs of a load did to a server. A unit is a statement, a transaction, a row or a connection."""

    def __init__(self):
        self.units = 0
        self.seconds = 0.0
        self.cpu_s = 0.0
        self.latencies_us = array("Q")
        self.errors = {}  # SQLSTATE or description: count
        self.unanswered = 0

    def add(self, other):
        self.units += other.units
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s
        self.latencies_us.extend(other.latencies_us)
        self.unanswered += other.unanswered
        for key, count in other.errors.items():
            self.errors[key] = self.errors.get(key, 0) + count

    def percentiles_us(self, *fractions):
        """The latency that this fraction of all does not exceed; None if there is none."""
        ordered = sorted(self.latencies_us)
        return [ordered[min(len(ordered) - 1, int(len(ordered) * f))] if ordered else None for f in fractions]

    def summary(self):
        p50, p99, p999, longest = self.percentiles_us(0.5, 0.99, 0.999, 1.0)
        return {
            "units": self.units,
            "rate": self.units / self.seconds if self.seconds else 0.0,
            "cpu_us": self.cpu_s / self.units * 1e6 if self.units else None,
            "cores": self.cpu_s / self.seconds if self.seconds else 0.0,
            "p50_us": p50, "p99_us": p99, "p999_us": p999, "max_us": longest,
            "errors": self.errors, "unanswered": self.unanswered,
        }

    def histogram(self, bounds_us):
        """How many took up to each bound (and more than the one before); the last count is of what took longer."""
        counts = [0] * (len(bounds_us) + 1)
        for latency in self.latencies_us:
            counts[next((i for i, bound in enumerate(bounds_us) if latency <= bound), len(bounds_us))] += 1
        return counts


# --- pgbench ---


def threads(clients):
    """Of pgbench: no more than there are cores, as it is meant to be used."""
    return min(clients, os.cpu_count() or 1)


def read_log(logs, from_s, to_s, sample, units_each):
    """Counts the transactions that ended between two moments (seconds of the wall clock). A line of the log is
    `client transaction latency_us script end_s end_us`; the latency is a word where the transaction failed."""
    for path in logs:
        with open(path, "rb") as log:
            for line in log:
                fields = line.split()
                if len(fields) < 6:
                    continue  # the last one, cut off when pgbench was killed
                end_s = int(fields[4]) + int(fields[5]) / 1e6
                if end_s < from_s or end_s > to_s:
                    continue
                if not fields[2].isdigit():
                    sample.errors["failed"] = sample.errors.get("failed", 0) + 1
                    continue
                sample.units += units_each
                sample.latencies_us.append(int(fields[2]))


class Pgbench:
    """A load that pgbench makes.

    scripts     [(weight, text)]
    mode        pgbench's -M: simple, extended, prepared
    units_each  statements in one run of a script"""

    def __init__(self, scripts, mode="prepared", units_each=1):
        self.scripts = scripts
        self.mode = mode
        self.units_each = units_each

    def run(self, server, clients, seconds, memory):
        """`memory`: a directory for scripts and logs."""
        with tempfile.TemporaryDirectory(dir=memory) as directory:
            return self.run_in(server, clients, seconds, Path(directory))

    def command(self, clients, directory):
        command = ["pgbench", "-n", "-M", self.mode, "-c", str(clients), "-j", str(threads(clients)), "-T", str(ENDLESS_S), "-l",
                   f"--log-prefix={directory}/log"]
        for number, (weight, text) in enumerate(self.scripts):
            script = directory / f"script{number}"
            script.write_text(text)
            command += ["-f", f"{script}@{weight}"]
        return command

    def run_in(self, server, clients, seconds, directory):
        sample = Sample()
        with open(directory / "errors", "w+b") as errors:
            process = subprocess.Popen(self.command(clients, directory), env=server.environment(), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=errors)
            try:
                urgent(True)
                logs = self.await_begin(process, directory, clients)
                time.sleep(WARM_UP_S)
                meter = Meter(server)
                time.sleep(seconds)
                meter.stop()
                self.await_growth(process, logs)
            finally:
                urgent(False)
                has_failed = process.poll() is not None
                process.kill()
                process.wait()
            complaint = self.complaint(errors)
            if has_failed or complaint:
                raise BenchError("pgbench: " + (complaint or "ended by itself"))
        read_log(logs, meter.from_s, meter.to_s, sample, self.units_each)
        sample.cpu_s = meter.cpu_s
        sample.seconds = meter.to_s - meter.from_s
        if not sample.units:
            raise BenchError("pgbench: no transaction ended while it was measured")
        return sample

    @staticmethod
    def await_begin(process, directory, clients):
        """Waits until each thread of pgbench has logged something. Returns the logs."""
        deadline = time.monotonic() + BEGIN_WAIT_S
        while True:
            logs = [path for path in directory.glob("log.*") if path.stat().st_size]
            if len(logs) == threads(clients) or process.poll() is not None:
                return logs
            if time.monotonic() > deadline:
                raise BenchError("pgbench does not begin")
            time.sleep(0.01)

    @staticmethod
    def await_growth(process, logs):
        """pgbench writes its logs in blocks; what comes next has all in it that has ended by now."""
        sizes = [path.stat().st_size for path in logs]
        deadline = time.monotonic() + GROWTH_WAIT_S
        while any(path.stat().st_size == size for path, size in zip(logs, sizes)) and process.poll() is None:
            if time.monotonic() > deadline:
                raise BenchError("pgbench: too few transactions end to be counted")
            time.sleep(0.01)

    @staticmethod
    def complaint(errors):
        errors.seek(0)
        lines = [line for line in errors.read().decode(errors="replace").splitlines() if "error" in line or "FATAL" in line]
        return lines[0] if lines else ""


# --- load.c ---


class Load:
    """A run of the program `load`, step by step: open() it, go(), close(). Use it as a context manager."""

    def __init__(self, program, server, mode, environment=None, **options):
        self.environment = environment
        self.command = [str(program), mode]
        for name, value in options.items():
            self.command += ["--" + name.replace("_", "-"), str(value)]
        self.command.append(server.conninfo())
        self.server = server
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=self.environment)
        try:
            if self.process.stdout.readline() != "ready\n":
                raise BenchError(self.complaint())
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise
        return self

    def complaint(self):
        return self.process.stderr.read().strip() or "load: ended without a word"

    def go(self, is_metered=True):
        """Runs the load and measures the server meanwhile."""
        sample = Sample()
        try:
            urgent(is_metered)
            meter = Meter(self.server) if is_metered else None
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise BenchError(self.complaint())
            if meter:
                meter.stop()
                sample.cpu_s = meter.cpu_s
        finally:
            urgent(False)
        result = json.loads(line)
        sample.units = result["done"]
        sample.rows = result["rows"]
        sample.seconds = result["seconds"]
        sample.latencies_us = array("Q", result["latencies_us"])
        sample.unanswered = result["unanswered"]
        sample.errors = {f"{state} {error['text']}".strip(): error["count"] for state, error in result["errors"].items()}
        return sample

    def __exit__(self, *exception):
        if exception[0] is not None:
            self.process.kill()
        try:
            self.process.communicate(timeout=LOAD_WAIT_S)
        finally:
            self.process.kill()
            self.process.wait()


def run_load(program, server, mode, **options):
    with Load(program, server, mode, **options) as load:
        return load.go()


# --- dropin.c: an application of SQLite's interface ---


class Place:
    """What an application opens, in the place of a server."""

    def __init__(self, name):
        self.name = name

    def conninfo(self):
        return self.name


def application_environment(library):
    """For a program that is linked with SQLite. `library`: the directory of the drop-in; None: the system's library."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SQLD_", "PG"))}
    environment.pop("LD_LIBRARY_PATH", None)
    return environment | ({"LD_LIBRARY_PATH": str(library)} if library else {})


def run_application(program, library, database, **options):
    """A run of dropin.c. The server, if there is one, is not metered: what counts is the time that the application takes."""
    with Load(program, Place(database), "statement", environment=application_environment(library), **options) as load:
        return load.go(is_metered=False)


def count_instructions(program, library, database, runs, **options):
    """Instructions of one run of dropin.c's statement, the application's own included; None without valgrind."""
    if not shutil.which("valgrind"):
        return None
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=counted", program, "count",
               "--runs", runs]
    for name, value in options.items():
        command += ["--" + name, value]
    done = subprocess.run([str(word) for word in [*command, database]], env=application_environment(library),
                          capture_output=True, text=True, check=False)
    counts = [line.split(":")[1] for line in done.stderr.splitlines() if "Collected :" in line]
    if done.returncode or not counts:
        raise BenchError("valgrind: " + done.stderr.strip()[-500:])
    return int(counts[0]) / runs


# --- embedded SQLite ---


def run_embedded(program, database, mode, rows, seconds, *statements):
    """Operations a second and CPU time of each for SQLite in the process itself."""
    command = [program, database, mode, rows, seconds, *statements] if mode != "make" else [program, database, mode, rows]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(done.stderr.strip())
    sample = Sample()
    if mode != "make":
        result = json.loads(done.stdout)
        sample.units, sample.seconds, sample.cpu_s = result["done"], result["seconds"], result["cpu_us"] / 1e6
    return sample
