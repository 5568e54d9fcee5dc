"""The sqlite3 shell on local databases: each script prints the same, and leaves the same database, with the drop-in
library and with the system's."""

import hashlib
import subprocess

import pytest

from dropin import environment

FILL = """
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT UNIQUE, born REAL, photo BLOB, CHECK(length(name) > 0));
CREATE INDEX customer_born ON customer(born DESC) WHERE born IS NOT NULL;
CREATE VIEW young AS SELECT name FROM customer WHERE born > 1990;
CREATE TRIGGER no_delete BEFORE DELETE ON customer BEGIN SELECT RAISE(ABORT, 'no'); END;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO customer SELECT i, 'it''s "' || char(8364, 10, 9) || i, 1950.5 + i % 60, zeroblob(i % 7) FROM n;
CREATE VIRTUAL TABLE words USING fts5(w);
INSERT INTO words SELECT name FROM customer;
"""

SCRIPTS = {
    "dump": FILL + ".dump\n",
    "modes": FILL
    + "".join(
        f".mode {mode}\nSELECT id, name, born, photo FROM customer WHERE id < 20;\n"
        for mode in ("ascii", "box", "column", "csv", "html", "insert", "json", "line", "list", "markdown", "quote", "table")
    ),
    "schema": FILL + ".tables\n.schema --indent\n.indexes\n.databases\n.fullschema\n.dbinfo\n",
    "import": ".mode csv\n.headers on\n.import data.csv t\nSELECT count(*), sum(b), max(c) FROM t;\n.schema t\n.dump t\n",
    "backup and restore": FILL + ".backup copy.db\nDROP VIEW young;\n.restore copy.db\nSELECT count(*) FROM young;\n",
    "clone": FILL + ".clone copy.db\n.open copy.db\nSELECT count(*) FROM customer;\n",
    "serialize": FILL + ".save copy.db\n.open --deserialize copy.db\nSELECT count(*) FROM customer;\n",
    "sha3 and recover": FILL + ".sha3sum\n.recover\n",
    "functions of the shell": "SELECT hex(sha3('x')), hex(readfile('data.csv')), writefile('out.txt', 'x');\n"
    "SELECT value FROM generate_series(1, 5);\nSELECT 'abc' REGEXP 'b+', decimal_add('1.1', '2.2');\n",
    "parameters and tracing": FILL + ".param set @a 7\n.trace stdout --plain\nSELECT name FROM customer WHERE id = @a;\n",
    "errors": "SELEC 1;\nCREATE TABLE t(a UNIQUE);\nINSERT INTO t VALUES(1),(1);\nSELECT * FROM nowhere;\n"
    "SELECT json('{');\nDELETE FROM t WHERE raise(1);\n.open /nowhere/at/all.db\nSELECT 1;\n",
    "limits and changes": ".limit\n.changes on\nCREATE TABLE t(a);\nINSERT INTO t VALUES(1),(2);\nDELETE FROM t;\n"
    "SELECT total_changes(), changes(), last_insert_rowid();\n.eqp full\nSELECT * FROM t WHERE a = 1;\n",
    "archive": ".archive --create data.csv\n.archive --list\n",
}


def play(script, library, home):
    home.mkdir()
    (home / "data.csv").write_text("a,b,c\n" + "".join(f'{i},{i * 1.5},"text ""{i}"", more"\n' for i in range(1000)))
    done = subprocess.run(
        ["sqlite3", "-batch", "x.db"],
        input=script,
        cwd=home,
        env=environment(library),
        capture_output=True,
        text=True,
        timeout=60,
    )
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(home.iterdir())}
    if "archive" in script:  # holds the file's time
        del files["x.db"]
    return done.returncode, done.stdout.replace(str(home), "HOME"), done.stderr.replace(str(home), "HOME"), files


@pytest.mark.parametrize("name", SCRIPTS)
def test_shell(name, tmp_path):
    system = play(SCRIPTS[name], "system", tmp_path / "system")
    ours = play(SCRIPTS[name], "drop-in", tmp_path / "drop-in")
    assert system[1] != ""
    assert ours == system
