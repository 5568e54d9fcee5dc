"""Node.js: `pg` with cursors and copy streams, and `postgres` (node/run.js)."""

import filecmp
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import tap
from server import BUILD

HERE = Path(__file__).parent / "node"
CASES = tap.cases(HERE / "run.js", r"^test\('([^']+)'")

if shutil.which("node") is None or shutil.which("npm") is None:
    pytest.skip("node and npm are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def modules():
    """node_modules in the build directory, installed from the lock file once."""
    home = BUILD / "node"
    stamp = home / "installed-package-lock.json"
    if not (stamp.exists() and filecmp.cmp(stamp, HERE / "package-lock.json", shallow=False)):
        home.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, home / name)
        done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=home, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copy(HERE / "package-lock.json", stamp)
    return home / "node_modules"


@pytest.fixture(scope="module")
def report(module_server, modules):
    with module_server.connect() as c:
        c.ok("CREATE DATABASE node")
    env = {**module_server.pg_env("node"), "NODE_PATH": str(modules), "HOME": os.environ.get("HOME", "/")}
    return tap.Report(["node", HERE / "run.js"], env)


@pytest.mark.parametrize("name", CASES)
def test_node(server, report, name):
    report.check(name)
