"""The PostgreSQL JDBC driver (jdbc/DriverTest.java), Debian's or the one in $PGJDBC_JAR."""

import os
import shutil
from pathlib import Path

import pytest

import tap

HERE = Path(__file__).parent / "jdbc"
CASES = tap.cases(HERE / "DriverTest.java", r'^ +test\("([^"]+)"')
JAR = Path(os.environ.get("PGJDBC_JAR", "/usr/share/java/postgresql.jar"))

if shutil.which("java") is None or shutil.which("javac") is None:
    pytest.skip("no JDK is installed (Debian: default-jdk-headless)", allow_module_level=True)
if not JAR.exists():
    pytest.skip("the JDBC driver is not installed (Debian: libpostgresql-jdbc-java)", allow_module_level=True)


@pytest.fixture(scope="module")
def report(module_server):
    with module_server.connect() as c:
        c.ok("CREATE DATABASE jdbc")
    url = f"jdbc:postgresql://127.0.0.1:{module_server.port}/jdbc"
    return tap.Report(["java", "-Xmx512m", "-cp", JAR, HERE / "DriverTest.java", url, "tester"], dict(os.environ))


@pytest.mark.parametrize("name", CASES)
def test_jdbc(server, report, name):
    report.check(name)
