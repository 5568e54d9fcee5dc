"""Local databases through the drop-in library: local_test.c with the system's library (the control) and with ours, both
as a position-independent program and as one that copies the library's variables; loading; what the library binds."""

import subprocess

import pytest

import tap
from dropin import HERE, LIBRARY, compile_c, environment, real_library

CASES = tap.cases(HERE / "local_test.c", r'^    \{"([^"]+)", case_')
FLAGS = {"pie": "-fpie", "no-pie": "-fno-pie"}


@pytest.fixture(scope="module")
def extension():
    return compile_c("extension.c", "-shared", "-fPIC")


@pytest.fixture(scope="module")
def reports(extension, tmp_path_factory):
    made = {}
    for kind in FLAGS:
        program = compile_c("local_test.c", f"-{kind}", FLAGS[kind], suffix=f"-{kind}")
        for library in ("system", "drop-in"):
            made[kind, library] = tap.Report(
                [program, real_library(), extension], environment(library), cwd=tmp_path_factory.mktemp("local")
            )
    return made


@pytest.mark.parametrize("library", ["system", "drop-in"])
@pytest.mark.parametrize("kind", FLAGS)
@pytest.mark.parametrize("name", CASES)
def test_local(reports, name, kind, library):
    if library == "drop-in" or not name.startswith("DROP_IN "):
        reports[kind, library].check(name)


def steps_seen(library):
    env = environment(library, LD_PRELOAD=str(compile_c("preload.c", "-shared", "-fPIC")))
    done = subprocess.run([compile_c("exec_test.c")], env=env, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stderr.removeprefix("sqlite3_step: "))


def test_sqlite_does_not_call_itself_through_us():
    # Debian's library alone calls the preloaded sqlite3_step() for each step of sqlite3_exec(): so the test can fail.
    assert steps_seen("system") > 0
    assert steps_seen("drop-in") == 0


def shell(*arguments, **env):
    return subprocess.run(
        ["sqlite3", *map(str, arguments)],
        env=environment("drop-in", **{k: str(v) for k, v in env.items()}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_another_real_library_can_be_named(tmp_path):
    copy = tmp_path / "libsqlite3.so.0"
    copy.write_bytes(real_library().read_bytes())
    done = subprocess.run(
        ["sqlite3", ":memory:", ".system cat /proc/$PPID/maps"],
        env=environment("drop-in", SQLD_REAL_SQLITE=str(copy)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert str(copy) in done.stdout and str(LIBRARY) in done.stdout
    assert str(real_library().resolve()) not in done.stdout


@pytest.mark.parametrize(
    "path, why",
    [
        ("{ours}", "is this drop-in library itself"),
        ("{copy}", "is a drop-in library like this one"),
        ("{libm}", "has no sqlite3_"),
        ("/does/not/exist.so", "No such file"),
        ("relative.so", "not an absolute path"),
    ],
)
def test_a_library_that_is_not_sqlite_is_refused(path, why, tmp_path):
    copy = tmp_path / "copy.so"
    copy.write_bytes(LIBRARY.read_bytes())
    path = path.format(ours=LIBRARY, copy=copy, libm=real_library().parent / "libm.so.6")
    done = shell(":memory:", "SELECT 1", SQLD_REAL_SQLITE=path)
    assert done.returncode == 127 and done.stdout == ""
    assert "the real SQLite library cannot be used" in done.stderr and why in done.stderr


def test_a_file_with_contents_stays_local_with_a_warning(tmp_path):
    file = tmp_path / "x.db"
    assert shell(file, "CREATE TABLE t(a); INSERT INTO t VALUES(7)").stderr == ""
    done = shell(file, "SELECT a FROM t", SQLD_URL="postgresql://h")
    assert done.stdout == "7\n" and "stays local" in done.stderr


def test_mapped_names_are_not_attached_as_local_files(tmp_path):
    full, url = tmp_path / "full.db", "postgresql://h"
    shell(full, "CREATE TABLE t(a); INSERT INTO t VALUES(7)")
    # Without a server, the control: files appear.
    done = shell(":memory:", f"ATTACH '{tmp_path}/a.db' AS x; CREATE TABLE x.t(a); VACUUM INTO '{tmp_path}/b.db'")
    assert done.stderr == "" and (tmp_path / "a.db").exists() and (tmp_path / "b.db").exists()
    for sql in ("ATTACH '{}' AS x; CREATE TABLE x.t(a)", "VACUUM INTO '{}'", "ATTACH 'file:{}?mode=rwc' AS x"):
        done = shell(full, sql.format(tmp_path / "new.db"), SQLD_URL=url)
        assert done.returncode != 0 and "unable to open database" in done.stderr
        assert not (tmp_path / "new.db").exists()
    # What is local stays so: files with contents, memory, a VFS by name, SQLD_LOCAL; temporary files of all kinds.
    for sql in (
        f"ATTACH '{full}' AS x; SELECT a FROM x.t",
        "ATTACH ':memory:' AS x; CREATE TABLE x.t(a); SELECT 7",
        f"ATTACH 'file:{tmp_path}/vfs.db?vfs=unix' AS x; CREATE TABLE x.t(a); SELECT 7",
        "PRAGMA temp_store=file; CREATE TEMP TABLE x(a); INSERT INTO x VALUES(7); SELECT a FROM x; VACUUM",
    ):
        done = shell(full, sql, SQLD_URL=url)
        assert done.returncode == 0 and done.stdout == "7\n", done.stderr
    done = shell(":memory:", f"ATTACH '{tmp_path}/new.db' AS x; CREATE TABLE x.t(a)", SQLD_URL=url, SQLD_LOCAL=tmp_path)
    assert done.stderr == "" and (tmp_path / "new.db").exists()


def test_an_application_under_address_sanitizer_runs():
    program = compile_c("exec_test.c", "-fsanitize=address", suffix="-asan")
    for library in ("system", "drop-in"):
        done = subprocess.run([program], env=environment(library), capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
