"""pgproto (Debian: pgpool2) as one more opinion on the bytes: its scripts, and what it says to have received."""

import re
import shutil
import subprocess

import pytest

if shutil.which("pgproto") is None:
    pytest.skip("pgproto is not installed (Debian: pgpool2)", allow_module_level=True)

SCRIPTS = {  # fields are divided by tabs; written here with blanks outside of the quotes
    "simple": ["""'Q' "SELECT 1 AS a" """, """'Y'"""],
    "empty": ["""'Q' "" """, """'Y'"""],
    "extended": [
        """'P' "s1" "SELECT 1 AS a" 0""",
        """'B' "p1" "s1" 0 0 0""",
        """'D' 'S' "s1" """,
        """'D' 'P' "p1" """,
        """'E' "p1" 0""",
        """'C' 'P' "p1" """,
        """'C' 'S' "s1" """,
        """'S'""",
        """'Y'""",
    ],
    "unnamed": ["""'P' "" "SELECT 1 AS a" 0""", """'B' "" "" 0 0 0""", """'E' "" 0""", """'H'""", """'S'""", """'Y'"""],
    "error skips to sync": [
        """'P' "" "SELECT absent" 0""",
        """'B' "" "" 0 0 0""",
        """'E' "" 0""",
        """'S'""",
        """'Y'""",
    ],
    "transaction": [
        """'Q' "BEGIN" """,
        """'Y'""",
        """'Q' "SELECT 1 AS a" """,
        """'Y'""",
        """'Q' "COMMIT" """,
        """'Y'""",
    ],
    "row limit": [
        """'P' "" "SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3" 0""",
        """'B' "p" "" 0 0 0""",
        """'E' "p" 2""",
        """'E' "p" 2""",
        """'S'""",
        """'Y'""",
    ],
    "describe unknown": ["""'D' 'S' "nobody" """, """'S'""", """'Y'"""],
    "two batches": ["""'P' "" "SELEC" 0""", """'S'""", """'Y'""", """'P' "" "SELECT 2" 0""", """'S'""", """'Y'"""],
    "copy in": [
        """'Q' "CREATE TEMP TABLE c(a integer)" """,
        """'Y'""",
        """'Q' "COPY c FROM STDIN" """,
        """'d' "1" """,
        """'c'""",
        """'Y'""",
    ],
    "copy in that fails": [
        """'Q' "CREATE TEMP TABLE c(a integer)" """,
        """'Y'""",
        """'Q' "COPY c FROM STDIN" """,
        """'f' "no" """,
        """'Y'""",
    ],
    "copy out": ["""'Q' "COPY (SELECT 1) TO STDOUT" """, """'Y'"""],
}


def received(text):
    """pgproto prints `<= BE Name(detail)` for each message; of the details this keeps tag, status and SQLSTATE."""
    out = []
    for line in text.splitlines():
        found = re.match(r"<= BE (\w+)(?:\((.*)\))?", line)
        if not found:
            continue
        name, detail = found.group(1), found.group(2) or ""
        if name in ("NoticeResponse", "ParameterStatus"):
            continue
        if name == "ErrorResponse":
            detail = re.search(r"\bC (\w{5})", detail).group(1)
        elif name == "CommandComplete" or name == "ReadyForQuery":
            pass
        else:
            detail = ""
        out.append(f"{name}({detail})" if detail else name)
    return out


def run(port, script, tmp_path):
    file = tmp_path / "pgproto.data"
    lines = [re.sub(r"""("[^"]*"|'.')|\s+""", lambda m: m.group(1) or "\t", line).strip() for line in [*script, "'X'"]]
    file.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["pgproto", "-h", "127.0.0.1", "-p", str(port), "-u", "tester", "-d", "main", "-f", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return received(done.stdout + done.stderr)


@pytest.mark.parametrize("name", SCRIPTS)
def test_pgproto_receives_the_same_from_both(server, pg, tmp_path, name):
    expected = run(pg.port, SCRIPTS[name], tmp_path)
    assert expected[-1] == "ReadyForQuery(I)"
    assert run(server.port, SCRIPTS[name], tmp_path) == expected
