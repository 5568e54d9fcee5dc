"""Starts, measures and ends the servers of the bench: PostgreSQL and sqld, on scratch directories next to each other.

Both listen on 127.0.0.1 on ports of their own and on nothing else, without TLS and passwords, so the transport is the
same. Both run all the while and take turns: the one that is not measured is stopped with SIGSTOP, every process of it,
so that its checkpoints do not run in the other's time. They end with the driver however it ends: stop() ends what start()
began, by its pid, and if the driver is killed another process, the guard, sees it and kills them.

CPU time is user and system time of all processes of a server, in seconds. It is the sum of

    1. the CPU clock of each living process (clock_gettime() on the process's clock: exact to the nanosecond, and with
       the threads that have ended in it),
    2. the time of the children that have ended and been waited for, which the kernel adds to their parent
       (/proc/PID/stat, cutime and cstime; PostgreSQL's postmaster waits for all of its children).

Every process is in the sum once. One that is being waited for just then would be in it twice or not at all, so the sum is
taken again when part 2 has changed meanwhile.

Memory is Pss (/proc/PID/smaps_rollup): what processes share is divided among them, so that the sum over all processes of a
server is what it really takes, PostgreSQL's shared buffers once."""
import contextlib
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_WAIT_S = 60
STOP_WAIT_S = 60
GUARD_WAIT_S = 20
FILES_WANTED = 65536


class BenchError(Exception):
    """What ends the bench, in words for whoever runs it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_file_limit():
    """Ten thousand connections need as many descriptors, in the server and in the client. Returns the limit reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, FILES_WANTED), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, PermissionError):
            continue
    return soft


# --- processes ---


def stat_fields(pid):
    """The fields of /proc/PID/stat after the command, or None if there is no such process: [1] is the parent's pid, [13]
    and [14] are cutime and cstime."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(pid):
    """The pids of a process and of all that descend from it."""
    children = {}
    for entry in os.listdir("/proc"):
        fields = stat_fields(entry) if entry.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def own_cpu_s(pid):
    """CPU time of one process, its threads and its ended threads; 0 if it is gone. The clock's number is what
    clock_getcpuclockid(3) makes of a pid."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def reaped_cpu_s(pids):
    """CPU time of the children that each of the processes has waited for."""
    fields = [stat_fields(pid) for pid in pids]
    return [(int(f[13]) + int(f[14])) / TICKS_PER_S if f else 0.0 for f in fields]


def cpu_s(pid):
    """CPU time of a process and of all that descend or have descended from it, as above."""
    for _ in range(100):
        pids = family(pid)
        reaped = reaped_cpu_s(pids)
        total = sum(map(own_cpu_s, pids)) + sum(reaped)
        if reaped_cpu_s(pids) == reaped and family(pid) == pids:
            break
    return total  # of the last try, if processes never cease to come and go: off by what those few took meanwhile


def pss_bytes(pid):
    """Memory of a process and all that descend from it."""
    total = 0
    for member in family(pid):
        try:
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def urgent(is_on):
    """Lets the driver run before everything else while it measures (or no longer): among five hundred busy processes it
    would not get to look at the clocks in time. It needs root; without it a measurement that took too long is refused."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO if is_on else os.SCHED_OTHER, os.sched_param(1 if is_on else 0))
    except PermissionError:
        pass


def identity(user):
    """Of a program that is to run as `user`, a passwd entry, or as we do: arguments of Popen."""
    return dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if user else {}


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Guard:
    """A process that outlives the driver by a moment. When its standard input ends, because the driver has closed it or was
    killed, it ends the processes that it was told of and has not been told to forget, stopped ones too, and removes the
    directories of the run."""

    def __init__(self, *directories):
        self.process = subprocess.Popen([sys.executable, __file__, *map(str, directories)], stdin=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, text=True, start_new_session=True)

    def tell(self, word, pid):
        self.process.stdin.write(f"{word} {pid}\n")
        self.process.stdin.flush()

    def watch(self, pid):
        self.tell("watch", pid)

    def forget(self, pid):
        self.tell("forget", pid)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def guard_main(directories):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched = set()
    for line in sys.stdin:
        word, pid = line.split()
        (watched.add if word == "watch" else watched.discard)(int(pid))
    for pid in watched:
        signal_all(reversed(family(pid)), signal.SIGCONT)
        signal_all([pid], signal.SIGINT)  # both servers end in order, and remove their shared memory
        deadline = time.monotonic() + GUARD_WAIT_S
        while stat_fields(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if stat_fields(pid):
            signal_all(family(pid), signal.SIGKILL)
    for directory in directories:
        remove_scratch(directory)


class Server:
    """A server process on a scratch directory. Subclasses say how it is made and started."""

    name = None  # for people
    key = None  # in the results
    stop_signal = signal.SIGTERM

    def __init__(self, scratch, database, guard):
        self.guard = guard
        self.home = scratch / self.key
        self.database = database
        self.port = free_port()
        self.process = None
        self.is_paused = False
        self.log = None

    def conninfo(self, user="bench"):
        return (f"host=127.0.0.1 port={self.port} dbname={self.database} user={user} sslmode=disable "
                "gssencmode=disable")

    def environment(self):
        """For psql and pgbench."""
        return dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(self.port), PGDATABASE=self.database, PGUSER="bench",
                    PGSSLMODE="disable", PGGSSENCMODE="disable", PSQLRC="/dev/null", PGOPTIONS="", LC_ALL="C")

    def launch(self, command, user=None):
        """Starts the server. `user`: a passwd entry to run it as."""
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C at the terminal is for the driver, which then ends the servers.
            self.process = subprocess.Popen([*map(str, command)], cwd=self.home, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, **identity(user))
        self.guard.watch(self.process.pid)
        deadline = time.monotonic() + START_WAIT_S
        while subprocess.run(["psql", "-qAtc", "SELECT 1"], env=self.environment() | {"PGDATABASE": self.first_database()},
                             capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} does not start:\n" + self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.1)

    def first_database(self):
        return self.database

    def sql(self, text):
        """Runs statements, one after the other; returns what psql prints."""
        done = subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1"], input=text, env=self.environment(),
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{self.name}: {done.stderr.strip()}")
        return done.stdout.strip()

    def pid(self):
        return self.process.pid

    def cpu_at(self):
        """CPU time so far, and when that was: (seconds, seconds of the wall clock, how long it took to find out)."""
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} has ended:\n" + self.log.read_text(errors="replace")[-2000:])
        begun_s = time.time()
        total = cpu_s(self.pid())
        took_s = time.time() - begun_s
        return total, begun_s + took_s / 2, took_s

    def pss_bytes(self):
        return pss_bytes(self.pid())

    def pause(self):
        """The first process first: it makes the others."""
        self.is_paused = True
        self.signal_family(signal.SIGSTOP)

    def resume(self):
        if self.is_paused:
            self.signal_family(signal.SIGCONT)
            self.is_paused = False

    def signal_family(self, number):
        signal_all(family(self.pid()), number)

    def stop(self):
        """Ends the server, kindly first. Does nothing for one that was not started."""
        if self.process is None or self.process.poll() is not None:
            return
        self.resume()
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self.signal_family(signal.SIGKILL)
            self.process.wait()
        self.guard.forget(self.process.pid)


class Sqld(Server):
    name = "sqld"
    key = "sqld"

    def __init__(self, scratch, guard, program, connections_max):
        super().__init__(scratch, "main", guard)
        self.program = Path(program).resolve()
        self.connections_max = connections_max

    def version(self):
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip().removeprefix("sqld ")

    def start(self):
        self.home.mkdir(parents=True)
        self.log = self.home / "log"
        self.launch([self.program, "--data-dir", self.home / "data", "--listen", f"127.0.0.1:{self.port}",
                     "--max-connections", self.connections_max])

    def settings(self):
        return {"max-connections": str(self.connections_max)}


class Postgres(Server):
    """PostgreSQL, tuned as somebody would who means it well: memory for the whole table, WAL that need not be
    checkpointed all the time, random reads as cheap as they are, and everything that makes commits safe left on."""

    name = "PostgreSQL"
    key = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients

    def __init__(self, scratch, guard, connections_max):
        super().__init__(scratch, "bench", guard)
        self.programs = self.find_programs()
        self.connections_max = connections_max
        self.user = None

    @staticmethod
    def find_programs():
        for directory in (Path("/usr/lib/postgresql/15/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))):
            if (directory / "initdb").exists():
                return directory
        raise BenchError("PostgreSQL is not installed: scripts/deps.sh bench installs it")

    def version(self):
        done = subprocess.run([self.programs / "postgres", "--version"], capture_output=True, text=True, check=True)
        return done.stdout.split()[2]

    def settings(self):
        return {
            "shared_buffers": "1GB",
            "effective_cache_size": "3GB",
            "work_mem": "16MB",
            "maintenance_work_mem": "256MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "min_wal_size": "1GB",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "max_connections": str(self.connections_max),
            "ssl": "off",
        }

    def start(self):
        self.home.mkdir(parents=True)
        self.log = self.home / "log"
        data = self.home / "data"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.user = self.unprivileged()
            os.chown(self.home, self.user.pw_uid, self.user.pw_gid)
        self.initdb(data)
        settings = self.settings() | {"listen_addresses": "127.0.0.1", "port": str(self.port),
                                      "unix_socket_directories": "", "logging_collector": "off"}
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        self.launch([self.programs / "postgres", "-D", data, *options], self.user)
        subprocess.run(["psql", "-qAtXc", f"CREATE DATABASE {self.database}"], check=True,
                       env=self.environment() | {"PGDATABASE": "postgres"})

    def first_database(self):
        return "postgres"

    def initdb(self, data):
        command = [self.programs / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
        try:
            done = subprocess.run(command, cwd=self.home, capture_output=True, text=True, check=False, **identity(self.user))
        except PermissionError as error:
            raise BenchError(f"user {self.user.pw_name} cannot reach the scratch directory: {error}. Name another one with "
                             "BENCH_DIR") from error
        if done.returncode:
            raise BenchError(f"initdb: {done.stderr.strip()}")

    @staticmethod
    def unprivileged():
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise BenchError("there is no user `postgres` or `nobody` to run PostgreSQL as")


class Floor(Server):
    """floor.c: answers without looking."""

    name = "floor"
    key = "floor"

    def __init__(self, scratch, guard, program):
        super().__init__(scratch, "main", guard)
        self.program = program

    def start(self):
        self.home.mkdir(parents=True)
        self.log = self.home / "log"
        self.launch([self.program, self.port])


def keep_log(server, directory):
    """Saves a server's log from the scratch directory."""
    if server.log and server.log.exists():
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(server.log, directory / f"{server.key}.log")


def remove_scratch(scratch):
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    guard_main(sys.argv[1:])
