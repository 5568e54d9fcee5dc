"""sqld-exec: runs a program with the drop-in library, and says what is wrong as env(1) does."""

import os
import shutil
import subprocess

import pytest

from dropin import LIBRARY, SQLD, environment
from server import free_port

EXEC = SQLD.parent / "sqld-exec"


def run(*arguments, program=EXEC, **env):
    return subprocess.run(
        [program, *arguments], env=environment("system", **env), capture_output=True, text=True, timeout=60
    )


SHOW = ["sh", "-c", 'echo "$LD_LIBRARY_PATH $SQLD_URL $0 $*"', "a b", "--url"]


def test_the_program_gets_the_library_the_url_and_its_arguments():
    assert run("--url", "postgresql://h", "--", *SHOW).stdout == f"{LIBRARY.parent} postgresql://h a b --url\n"
    assert run("--url=sqld://h", *SHOW, LD_LIBRARY_PATH="/x").stdout == f"{LIBRARY.parent}:/x sqld://h a b --url\n"
    assert run(*SHOW, LD_LIBRARY_PATH="").stdout == f"{LIBRARY.parent}  a b --url\n"
    assert run("sh", "-c", "kill -TERM $$").returncode == -15
    assert run("sh", "-c", "exit 7").returncode == 7


def test_a_program_uses_the_library(tmp_path):
    done = run("sqlite3", str(tmp_path / "x.db"), ".system cat /proc/$PPID/maps")
    assert str(LIBRARY) in done.stdout
    done = run("--url", f"postgresql://127.0.0.1:{free_port()}", "sqlite3", str(tmp_path / "new.db"), "CREATE TABLE t(a)")
    assert "unable to open" in done.stderr and not (tmp_path / "new.db").exists()


def test_an_installed_program_finds_the_installed_library(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib" / "sqld").mkdir(parents=True)
    shutil.copy(EXEC, tmp_path / "bin")
    done = run(*SHOW, program=tmp_path / "bin" / "sqld-exec")
    assert done.returncode == 125 and "neither in ../lib/sqld nor in ../lib" in done.stderr
    os.symlink(LIBRARY, tmp_path / "lib" / "sqld" / LIBRARY.name)
    assert run(*SHOW, program=tmp_path / "bin" / "sqld-exec").stdout == f"{tmp_path}/lib/sqld  a b --url\n"


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        ([], 125, "no program is named"),
        (["--url", "x"], 125, "no program is named"),
        (["--url"], 125, "what is '--url'?"),
        (["--nonsense", "true"], 125, "what is '--nonsense'?"),
        (["does-not-exist"], 127, "No such file"),
        (["/"], 126, "denied"),
    ],
)
def test_what_is_wrong_is_said(arguments, code, text):
    done = run(*arguments)
    assert done.returncode == code and text in done.stderr and done.stdout == ""
