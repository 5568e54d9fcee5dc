"""The sqlite3 shell: the scripts of shell/, their output compared piece by piece, and a conversation at a terminal.

A line "=== NAME" in a script's output begins the test of that name, whose value is what follows. What the shell wrote
to stderr is one more test, and so is each line of the conversation. In the scripts, FILL is shell/fill.sql, DATA a file
of comma-separated values, and DUMP a dump of $COMPAT_DUMP_MB megabytes (default 5)."""

import os
import random
import re
import select
import signal
import subprocess
import time

from results import CRASH, END, FAIL, OK
from runner import ROOT, Ended, need
from server import poll

NAME = "shell"
TITLE = "the `sqlite3` shell"
LIMIT_S = 1200
LEAST_PASSED = 80
SQLITE3 = "/usr/bin/sqlite3"
SCRIPTS = ROOT / "tests" / "compat" / "shell"
DUMP_MB = int(os.environ.get("COMPAT_DUMP_MB", "5"))
DATA_ROWS = 1000
ANSWER_S = 30.0
BUSY_TICKS = 20

# (name, what is typed, what ends the answer)
CONVERSATION = [
    ("prompt", None, "sqlite> "),
    ("create", "CREATE TABLE t(a INTEGER PRIMARY KEY, word TEXT);\n", "sqlite> "),
    ("statement of two lines", "INSERT INTO t(word)\n", "...> "),
    ("its second line", "VALUES ('alpha'), ('beta'), ('gamma');\n", "sqlite> "),
    ("select", "SELECT * FROM t;\n", "sqlite> "),
    ("mode", ".mode box\n", "sqlite> "),
    ("select in a box", "SELECT * FROM t;\n", "sqlite> "),
    ("error", "SELECT * FROM nowhere;\n", "sqlite> "),
    ("tables", ".tables\n", "sqlite> "),
    ("begin", "BEGIN;\n", "sqlite> "),
    ("delete", "DELETE FROM t;\n", "sqlite> "),
    ("rollback", "ROLLBACK;\n", "sqlite> "),
    ("what is left", "SELECT count(*) FROM t;\n", "sqlite> "),
    ("endless", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n;\n", None),
    ("interrupted", "\x03", "sqlite> "),
    ("alive after it", "SELECT 'alive';\n", "sqlite> "),
    ("open", ".open second.db\n", "sqlite> "),
    ("empty", ".tables\n", "sqlite> "),
    ("quit", ".quit\n", ""),
]


def prepare(work):
    need(SQLITE3, "sqlite3")


def versions(work):
    return subprocess.run([SQLITE3, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]


def play(run):
    run.check_library([SQLITE3, "-version"])
    data, dump = run.scratch / "data.csv", run.scratch / "dump.sql"
    rows = (f'{i},{i * 1.5},"text ""{i}"", more"\n' for i in range(DATA_ROWS))
    data.write_text("a,b,c\n" + "".join(rows))
    write_dump(dump)
    for path in sorted(SCRIPTS.glob("*.sql")):
        if path.stem != "fill":
            play_script(run, path, {"FILL": SCRIPTS / "fill.sql", "DATA": data, "DUMP": dump})
    converse(run)


def write_dump(path):
    """What .dump writes of a table with numbers and texts; the same every time."""
    numbers = random.Random(4711)
    with open(path, "w") as file:
        file.write("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")
        file.write("CREATE TABLE big(id INTEGER PRIMARY KEY, number INT, text TEXT);\n")
        row = 0
        while file.tell() < DUMP_MB * 1024 * 1024:
            row += 1
            text = " ".join(f"w{numbers.randrange(50000)}" for _ in range(12))
            file.write(f"INSERT INTO big VALUES({row},{numbers.randrange(10**6)},'{text}');\n")
        file.write("CREATE INDEX big_number ON big(number);\nCOMMIT;\n")


def play_script(run, path, names):
    unit, home = path.stem, run.directory(path.stem)
    script = path.read_text()
    for name, meant in names.items():
        script = re.sub(rf"\b{name}\b", str(meant), script)
    (home / "script.sql").write_text(script)
    ended = run.command(unit, [SQLITE3, "-batch", "x.db"], cwd=home, stdin=home / "script.sql", limit_s=600)
    pieces = re.split(r"^=== (.*)\n", ended.out, flags=re.M)
    run.results.add(unit, "before the first", OK, value=run.show(pieces[0]))
    for name, text in zip(pieces[1::2], pieces[2::2]):
        run.results.add(unit, name, OK, value=run.show(text))
    run.results.add(unit, "stderr", OK, value=run.show(ended.err))
    finish(run, unit, ended)


def finish(run, unit, ended):
    """The shell's exit code says whether something failed: the same with both libraries, whatever it is."""
    outcome, detail = ended.outcome()
    is_good = outcome != CRASH and not ended.is_late
    run.results.add(unit, END, OK if is_good else outcome, detail, value=detail)


def read_until(fd, end, deadline):
    """What is written to the terminal until `end` is; "" waits for its end. None after the deadline."""
    text = ""
    while not (end and text.endswith(end)):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None, text
        try:
            got = os.read(fd, 65536)
        except OSError:  # EIO: nobody has the other side any more
            got = b""
        if not got:
            return (text if end == "" else None), text
        text += got.decode(errors="backslashreplace")
    return text, text


def cpu_ticks(run, pid):
    """Of the shell and its server: one of them computes."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) + (run.server.cpu_ticks() if run.server else 0)


def end_process(run, pid, fd):
    """The terminal is gone now; a shell that does not leave by itself is ended."""
    os.close(fd)
    deadline, ended = time.monotonic() + ANSWER_S, (0, 0)
    while ended[0] == 0 and time.monotonic() < deadline:
        ended = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    is_late = ended[0] == 0
    if is_late:
        os.kill(pid, signal.SIGKILL)
        ended = os.waitpid(pid, 0)
    finish(run, "terminal", Ended(os.waitstatus_to_exitcode(ended[1]), is_late, "", ""))


def converse(run):
    """At a terminal of its own. Its process ends with the conversation, however that went."""
    home = run.directory("terminal")
    pid, fd = os.forkpty()
    if pid == 0:
        try:
            os.chdir(home)
            os.execve(SQLITE3, [SQLITE3, "-interactive", "x.db"], run.env)
        finally:
            os._exit(127)
    try:
        ticks = 0
        for name, typed, end in CONVERSATION:
            if name == "interrupted":
                poll(lambda since=ticks: cpu_ticks(run, pid) > since + BUSY_TICKS, "the endless statement runs")
            ticks = cpu_ticks(run, pid)
            if typed is not None:
                os.write(fd, typed.encode())
            if end is None:
                continue
            answer, seen = read_until(fd, end, time.monotonic() + ANSWER_S)
            if answer is None:
                run.results.add("terminal", name, FAIL, f"no answer; only: {run.show(seen)}")
                return
            run.results.add("terminal", name, OK, value=run.show(without_versions(answer)))
    finally:
        end_process(run, pid, fd)
        run.check_server("terminal")


def without_versions(text):
    """And without what a terminal is sent to move about."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    return re.sub(r"^SQLite version .*$", "SQLite version", text, flags=re.M)
