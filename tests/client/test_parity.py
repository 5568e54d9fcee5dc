"""What an application sees of remote databases: parity.c prints all that it sees,
and must see the same with the system's library and local databases as with the drop-in library and remote ones."""

import re
import subprocess

import pytest

from dropin import HERE, compile_c, environment

SOURCES = sorted(p.name for p in HERE.glob("parity_*.c"))
PARTS = re.findall(r'^    \{"([a-z_0-9]+)", part_', (HERE / "parity.c").read_text(), re.M)


@pytest.fixture(scope="module")
def program():
    return compile_c("parity.c", *(str(HERE / name) for name in SOURCES))


def log(program, part, library, *names, **env):
    done = subprocess.run(
        [program, part, *map(str, names)], env=environment(library, **env), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr + done.stdout[-2000:]
    return done.stdout.splitlines()


def test_all_parts_are_known(program):
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert listed == PARTS and len(PARTS) >= 20


@pytest.mark.parametrize("part", PARTS)
def test_an_application_sees_the_same(part, program, server, tmp_path):
    (tmp_path / "remote").mkdir()
    local = log(program, part, "system", tmp_path / "a.db", tmp_path / "b.db", ":memory:")
    remote = log(
        program,
        part,
        "drop-in",
        tmp_path / "remote" / "a.db",
        tmp_path / "remote" / "b.db",
        ":memory:",
        SQLD_URL=f"postgresql://127.0.0.1:{server.port}",
        SQLD_MAP_MEMORY="1",
        SQLD_FRESH="1",
    )
    assert (tmp_path / "remote" / "a.db").read_text().startswith("sqld-stub 1\n")
    assert local[-1] == "end" and len(local) > 10
    assert remote == local


@pytest.mark.parametrize("part", PARTS)
def test_local_databases_see_no_difference(part, program, tmp_path):
    (tmp_path / "system").mkdir()
    (tmp_path / "drop-in").mkdir()
    logs = [
        log(program, part, kind, tmp_path / kind / "a.db", tmp_path / kind / "b.db", ":memory:")
        for kind in ("system", "drop-in")
    ]
    assert logs[0] == logs[1]
