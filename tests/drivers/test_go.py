"""The Go drivers' own test suites: lib/pq, pgx v4 and pgconn, as Debian packages their sources.

Only tests of the allow-lists go/libpq-allow.txt and go/pgx-allow.txt are run; each list says what was left out and why.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server import BUILD

HERE = Path(__file__).parent / "go"
SOURCES = Path("/usr/share/gocode/src")
PACKAGES = {"pq": "github.com/lib/pq", "pgx": "github.com/jackc/pgx/v4", "pgconn": "github.com/jackc/pgconn"}
SET_RETURNING = "select generate_series(1,$1)"
RECURSIVE = "with recursive s(n) as (select 1 union all select n + 1 from s where n < $1) select n from s"

if shutil.which("go") is None:
    pytest.skip("go is not installed (Debian: golang-go)", allow_module_level=True)
for _path in [*PACKAGES.values(), "github.com/jackc/pgmock"]:
    if not (SOURCES / _path).is_dir():
        pytest.skip(
            f"{_path} is not installed (Debian: golang-github-lib-pq-dev, golang-github-jackc-pgx-v4-dev, "
            "golang-github-jackc-pgmock-dev)",
            allow_module_level=True,
        )


def allowed(file, default=None):
    for line in (HERE / file).read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            yield tuple(words) if default is None else (default, *words)


TESTS = [*allowed("libpq-allow.txt", "pq"), *allowed("pgx-allow.txt")]
assert len(set(TESTS)) == len(TESTS)


@pytest.fixture(scope="module")
def gopath():
    """A scratch GOPATH: links to Debian's sources, copies of the three packages under test."""
    home = BUILD / "gopath"
    shutil.rmtree(home, ignore_errors=True)
    source = home / "src"

    def link_around(directory, target, kept):
        """Links everything of `directory` into `target`, but goes down where a path of `kept` lies."""
        target.mkdir(parents=True, exist_ok=True)
        for entry in directory.iterdir():
            below = [k for k in kept if k.parts[0] == entry.name]
            if not below:
                (target / entry.name).symlink_to(entry)
            elif any(len(k.parts) == 1 for k in below):
                shutil.copytree(entry, target / entry.name, symlinks=False)
            else:
                link_around(entry, target / entry.name, [Path(*k.parts[1:]) for k in below])

    link_around(SOURCES, source, [Path(p) for p in PACKAGES.values()])
    for package in ("pgx", "pgconn"):
        helper = source / PACKAGES[package] / "helper_test.go"
        text = helper.read_text()
        assert SET_RETURNING in text
        helper.write_text(text.replace(SET_RETURNING, RECURSIVE))
    return home


@pytest.fixture(scope="module")
def results(module_server, gopath):
    """Runs a package's allowed tests once; {test: (passed, output)}."""
    done = {}

    def run(package):
        if package in done:
            return done[package]
        name = f"go_{package}"
        with module_server.connect() as c:
            c.ok(f"CREATE DATABASE {name}")
        env = module_server.pg_env(name)
        dsn = module_server.dsn(name)
        env.update(
            GOPATH=str(gopath),
            GO111MODULE="off",
            GOFLAGS="",
            GOTOOLCHAIN="local",
            GOCACHE=str(BUILD / "gocache"),
            HOME=os.environ.get("HOME", "/"),
            PGX_TEST_DATABASE=dsn,
            PGX_TEST_CONN_STRING=dsn,
            PGX_TEST_TCP_CONN_STRING=dsn,
        )
        pattern = "^(" + "|".join(t for p, t in TESTS if p == package) + ")$"
        finished = subprocess.run(
            ["go", "test", "-vet=off", "-count=1", "-timeout=100s", "-v", "-run", pattern, PACKAGES[package]],
            env=env,
            capture_output=True,
            text=True,
            timeout=280,
            cwd=gopath,
        )
        text = finished.stdout + finished.stderr
        verdicts = {m.group(2): m.group(1) for m in re.finditer(r"^--- (PASS|FAIL|SKIP): (\w+)", text, re.M)}
        done[package] = verdicts, text
        return done[package]

    return run


def excerpt(text, test):
    """What a failing test printed."""
    lines = text.splitlines()
    at = [n for n, line in enumerate(lines) if re.search(rf"\b{test}\b", line)]
    if not at:
        return text[-4000:]
    return "\n".join(lines[at[0] : at[-1] + 12])[-4000:]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("package, test", TESTS, ids=[f"{p}-{t}" for p, t in TESTS])
def test_go(server, results, package, test):
    verdicts, text = results(package)
    assert verdicts.get(test) == "PASS", excerpt(text, test)
