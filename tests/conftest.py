"""Fixtures for all tests that need a live server. See tests/README.md."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from postgres import Postgres, find_programs  # noqa: E402
from server import Sqld  # noqa: E402


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    """One sqld for the tests of one file; they share its databases and take care of their own names."""
    server = Sqld(tmp_path_factory.mktemp("sqld") / "data").start()
    yield server
    server.close()


@pytest.fixture
def server(module_server):
    """The file's sqld; a test after which it is not alive and well has failed, and only that one."""
    if module_server.process.poll() is not None:
        module_server.restart()
    yield module_server
    module_server.check_alive()


@pytest.fixture
def start(tmp_path):
    """start(*options, …) starts a further sqld with an empty data directory; all are stopped after the test."""
    servers = []

    def starter(*options, data_dir=None, wait=True, **kw):
        one = Sqld(data_dir or tmp_path / f"data{len(servers)}", *options, **kw)
        servers.append(one)
        return one.start(wait=wait)

    yield starter
    for one in reversed(servers):
        one.close()


@pytest.fixture
def client(server):
    with server.connect() as one:
        yield one


@pytest.fixture
def scratch(server, request):
    """A fresh database on the file's server: its name."""
    name = "t" + "".join(c if c.isalnum() else "_" for c in request.node.name.lower())[:50]
    with server.connect() as one:
        one.ok(f'DROP DATABASE IF EXISTS "{name}"')
        one.ok(f'CREATE DATABASE "{name}"')
    yield name


@pytest.fixture
def db(server, scratch):
    """A connection to a fresh database."""
    with server.connect(database=scratch) as one:
        yield one


@pytest.fixture(scope="session")
def pg():
    """A PostgreSQL to compare with."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql-15)")
    cluster = Postgres(programs)
    yield cluster
    cluster.close()
