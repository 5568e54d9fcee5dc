"""CPython's own tests of its sqlite3 module (`test.test_sqlite3`), with the system's libsqlite3, with the drop-in library and
local databases, and with the drop-in library and a server: the same outcome, test by test. Debian's Python has no such
tests in any package, so they come from the package's source, once (scripts/debian-source.sh)."""

import json
import shutil
import subprocess

import pytest

from dropin import HERE, LIBRARY, environment, real_library
from server import BUILD

PYTHON = "/usr/bin/python3"

if shutil.which("apt-get") is None:
    pytest.skip("CPython's tests are fetched with apt-get", allow_module_level=True)


def interpreter_version():
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def tests():
    """The directory with test_sqlite3."""
    package = f"python{interpreter_version()}"
    home = BUILD / package
    if not home.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        script = HERE.parents[1] / "scripts" / "debian-source.sh"
        done = subprocess.run(
            [script, package, home, "*/Lib/test/test_sqlite3/*"], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, f"{script.name} {package}:\n{done.stdout}{done.stderr}"
    return home / "Lib" / "test"


# With a rollback journal, a reader keeps a writer from committing, and this test wants to see that. A server's databases
# have a write-ahead log.
NOT_REMOTE = {"test.test_sqlite3.test_dbapi.MultiprocessTests.test_ctx_mgr_rollback_if_commit_failed"}


def run(tests, library, cwd, **env):
    cwd.mkdir()
    result = cwd / "result.jsonl"
    done = subprocess.run(
        [PYTHON, HERE / "cpython_run.py", tests, result],
        cwd=cwd,
        env=environment(library, **env),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in result.read_text().splitlines()]
    ended = [r for r in records if "test" in r]
    return {
        "outcomes": {r["test"]: r["outcome"] for r in ended},
        "why": {r["test"]: r["why"] for r in ended},
        "libraries": records[-1]["libraries"],
    }


@pytest.fixture(scope="module")
def system(tests, tmp_path_factory):
    result = run(tests, "system", tmp_path_factory.mktemp("cpython") / "system")
    assert result["libraries"] == [str(real_library().resolve())]
    assert len([o for o in result["outcomes"].values() if o == "ok"]) > 400
    return result


def different(system, ours):
    assert str(LIBRARY) in ours["libraries"]
    return {
        name: (system["outcomes"].get(name), ours["outcomes"].get(name), ours["why"].get(name))
        for name in system["outcomes"].keys() | ours["outcomes"].keys()
        if system["outcomes"].get(name) != ours["outcomes"].get(name)
    }


def test_local_databases_have_the_same_outcomes(tests, system, tmp_path):
    assert different(system, run(tests, "drop-in", tmp_path / "drop-in")) == {}


def test_remote_databases_have_the_same_outcomes(tests, system, server, tmp_path):
    ours = run(
        tests,
        "drop-in",
        tmp_path / "remote",
        SQLD_URL=f"postgresql://127.0.0.1:{server.port}",
        SQLD_MAP_MEMORY="1",
        SQLD_FRESH="1",
    )
    assert different(system, ours).keys() == NOT_REMOTE
