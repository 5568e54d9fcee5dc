"""`make deb`: what is in the package works from where it will be installed."""

import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from server import Sqld

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no Debian tools here"),
]


@pytest.fixture(scope="module")
def package():
    subprocess.run(["make", "-s", "deb", "DEPS=no"], cwd=ROOT, check=True, timeout=600)
    (found,) = (ROOT / "build-deb").glob("sqld_*.deb")
    return found


def field(package, name):
    return subprocess.run(
        ["dpkg-deb", "-f", package, name], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_names_what_it_needs_and_what_it_is(package):
    assert field(package, "Package") == "sqld"
    assert "libsqlite3-0 (>=" in field(package, "Depends")
    assert "libc6" in field(package, "Depends")
    assert field(package, "Description").startswith("SQLite served")


def test_its_programs_work_together(package, tmp_path, monkeypatch):
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    usr = tmp_path / "usr"
    unit = (usr / "lib/systemd/system/sqld.service").read_text()
    assert "ExecStart=/usr/bin/sqld " in unit
    assert (tmp_path / "etc/default/sqld").exists()
    assert (usr / "share/man/man1/sqld.1").exists() or (usr / "share/man/man1/sqld.1.gz").exists()
    monkeypatch.setenv("SQLD_BIN", str(usr / "bin/sqld"))
    server = Sqld(tmp_path / "data").start()
    script = "import sqlite3; d = sqlite3.connect('shop.db'); d.execute('CREATE TABLE t(x)'); d.commit()"
    url = f"postgresql://127.0.0.1:{server.port}"
    subprocess.run(
        [usr / "bin/sqld-exec", "--url", url, "--", "/usr/bin/python3", "-c", script],
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    server.stop()
    with sqlite3.connect(tmp_path / "data/shop.db") as opened:
        assert opened.execute("SELECT name FROM sqlite_schema").fetchall() == [("t",)]
