"""sqld's LTX files before an independent reader, and its files before sqld: the `ltx` program of superfly/ltx, which
SQLD_LTX names or PATH has. Without it the tests that need it are skipped."""
import os
import random
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE_SIZES = [512, 1024, 4096, 32768, 65536]
STEPS = 6


def find_ltx():
    return os.environ.get("SQLD_LTX") or shutil.which("ltx")


@pytest.fixture(scope="module")
def ltx():
    program = find_ltx()
    if not program:
        pytest.skip("there is no `ltx` program: name one in SQLD_LTX")

    def run(*arguments, check=True):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done
    return run


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    program = tmp_path_factory.mktemp("tool") / "ltx_tool"
    sources = [ROOT / "tests/lib/ltx_tool.c", *sorted((ROOT / "src/wal").glob("ltx*.c")), ROOT / "src/wal/checksum.c",
               *(ROOT / f"src/base/{name}.c" for name in ("status", "buf", "memory", "utf8", "log", "clock"))]
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", '-DSQLD_VERSION="0"', "-O1", "-g", "-I", ROOT / "src", "-o", program,
                    *sources, "-llz4", "-pthread"], check=True)

    def run(*arguments, check=True):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done
    return run


@pytest.fixture(scope="module", params=PAGE_SIZES)
def versions(request, tmp_path_factory):
    """One database file as it is after each of some transactions; it grows and shrinks."""
    directory = tmp_path_factory.mktemp(f"pages{request.param}")
    path, dice, made = directory / "x.db", random.Random(request.param), []
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {request.param}")
    connection.execute("PRAGMA auto_vacuum = FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB)")
    for step in range(STEPS):
        connection.execute("BEGIN")
        for _ in range(300):
            connection.execute("INSERT INTO t (a, b) VALUES (?, ?)", ("sqld " * dice.randrange(60), dice.randbytes(dice.randrange(400))))
        connection.execute("DELETE FROM t WHERE id % 7 = ?", (step,))
        if step == 3:
            connection.execute("DELETE FROM t WHERE id % 3 != 0")
        connection.execute("COMMIT")
        made.append(shutil.copyfile(path, directory / f"{step}.db"))
    connection.close()
    sizes = [version.stat().st_size for version in made]
    assert sizes[0] < sizes[2] > sizes[3] < sizes[5]
    return directory, made


@pytest.fixture(scope="module")
def files(versions, tool):
    """Ours: a snapshot of the first version, then what changed."""
    directory, made = versions
    paths = [directory / "0.ltx"]
    tool("encode", paths[0], 2, made[0])
    for step in range(1, STEPS):
        paths.append(directory / f"{step}.ltx")
        tool("diff", paths[-1], 2 * step + 1, 2 * step + 2, made[step - 1], made[step])
    return paths


def same(left, right):
    return Path(left).read_bytes() == Path(right).read_bytes()


def test_ours_are_ours(versions, files, tool, tmp_path):
    tool("apply", tmp_path / "x.db", *files)
    assert same(tmp_path / "x.db", versions[1][-1])
    tool("compact", tmp_path / "a.ltx", *files[:3])
    tool("compact", tmp_path / "b.ltx", *files[3:])
    tool("apply", tmp_path / "y.db", tmp_path / "a.ltx", tmp_path / "b.ltx")
    assert same(tmp_path / "y.db", versions[1][-1])


def test_it_verifies_ours(files, ltx):
    ltx("verify", *files)


def test_it_lists_and_dumps_what_we_wrote(files, ltx, tool):
    listed = ltx("list", *files).stdout
    for line, path in zip(tool("list", *files).stdout.splitlines(), files):
        low, high, page_bytes, page_count, pages, before, after, whole = line.split()
        row = next(row for row in listed.splitlines() if low in row)
        assert high in row and before in row and after in row and page_count in row
        dump = ltx("dump", path).stdout
        lines = dump.splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {name: value.split() for name, value in fields.items()}
        assert fields["Page size"] == [page_bytes]
        assert fields["Commit"] == [page_count]
        assert fields["Min TXID"][0] == low and fields["Max TXID"][0] == high
        assert fields["Timestamp"][1] == "(1700000000123)"
        assert fields["Pre-apply"] == [before] and fields["Post-apply"] == [after]
        assert fields["WAL offset"] == ["32"] and fields["WAL size"] == ["4120"]
        assert fields["WAL salt"] == ["01020304", "05060708"]
        assert fields["File Checksum"] == [whole]
        assert sum(line.startswith("Frame #") for line in lines) == int(pages)


def test_it_applies_ours(versions, files, ltx, tmp_path):
    ltx("apply", "-db", tmp_path / "x.db", *files)
    assert same(tmp_path / "x.db", versions[1][-1])
    connection = sqlite3.connect(tmp_path / "x.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_it_applies_what_we_have_compacted(versions, files, ltx, tool, tmp_path):
    tool("compact", tmp_path / "a.ltx", *files[:2])
    tool("compact", tmp_path / "b.ltx", *files[2:5])
    ltx("verify", tmp_path / "a.ltx", tmp_path / "b.ltx")
    ltx("apply", "-db", tmp_path / "x.db", tmp_path / "a.ltx", tmp_path / "b.ltx", files[5])
    assert same(tmp_path / "x.db", versions[1][-1])


def test_it_computes_our_checksum_of_the_database(versions, files, ltx, tool):
    checksum = tool("list", files[-1]).stdout.split()[6]
    assert checksum in ltx("checksum", versions[1][-1]).stdout


def test_we_read_and_apply_its_snapshot(versions, ltx, tool, tmp_path):
    for version in (versions[1][0], versions[1][-1]):
        (tmp_path / "x.ltx").unlink(missing_ok=True)
        ltx("encode-db", "-o", tmp_path / "x.ltx", version)
        listed = tool("list", tmp_path / "x.ltx").stdout.split()
        assert int(listed[3]) * int(listed[2]) == version.stat().st_size
        (tmp_path / "x.db").unlink(missing_ok=True)
        tool("apply", tmp_path / "x.db", tmp_path / "x.ltx")
        assert same(tmp_path / "x.db", version)


def test_its_snapshot_goes_on_with_our_files(versions, files, ltx, tool, tmp_path):
    """Its file is of transaction 1; ours go on from there."""
    ltx("encode-db", "-o", tmp_path / "0.ltx", versions[1][0])
    last = int(tool("list", tmp_path / "0.ltx").stdout.split()[1], 16)
    tool("diff", tmp_path / "1.ltx", last + 1, last + 5, versions[1][0], versions[1][1])
    tool("compact", tmp_path / "x.ltx", tmp_path / "0.ltx", tmp_path / "1.ltx")
    ltx("verify", tmp_path / "x.ltx")
    tool("apply", tmp_path / "x.db", tmp_path / "x.ltx")
    assert same(tmp_path / "x.db", versions[1][1])


def test_both_refuse_a_damaged_file(files, ltx, tool, tmp_path):
    content = bytearray(files[1].read_bytes())
    for offset in (20, 105, len(content) - 3):
        content[offset] ^= 0x40
        (tmp_path / "x.ltx").write_bytes(content)
        assert tool("list", tmp_path / "x.ltx", check=False).returncode != 0
        assert ltx("verify", tmp_path / "x.ltx", check=False).returncode != 0
        content[offset] ^= 0x40
