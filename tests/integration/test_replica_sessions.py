"""Sessions of a replica: reads here, writes there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from pair import Pair  # noqa: E402
from wire import (  # noqa: E402
    bind, close_portal, close_statement, copy_data, copy_done, copy_fail, describe_portal, describe_statement, errors,
    execute, extended, flush, kinds, parse, query, rows, sync, tags,
)


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory):
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.fixture
def pair(module_pair):
    with module_pair.primary.connect() as one:
        one.ok("DROP TABLE IF EXISTS t")
        one.ok("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    yield module_pair
    module_pair.primary.check_alive()
    module_pair.replica.check_alive()


@pytest.fixture
def here(pair):
    with pair.replica.connect() as one:
        yield one


@pytest.fixture
def there(pair):
    with pair.primary.connect() as one:
        yield one


def test_a_read_is_done_here(pair, here, there):
    before = len(pair.proxy.connections)
    there.ok("INSERT INTO t VALUES (1, 'a')")
    assert here.ok("SELECT * FROM t") == [("1", "a")]
    assert len(pair.proxy.connections) == before


def test_a_write_is_done_there(here, there):
    got = here.query("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    assert tags(got) == ["INSERT 0 2"] and got[-1].status() == "I"
    assert there.ok("SELECT count(*) FROM t") == [("2",)]
    assert here.ok("SELECT count(*) FROM t") == [("2",)]


def test_rows_of_returning_come_back(here):
    got = here.query("INSERT INTO t VALUES (7, 'x') RETURNING id, name")
    assert kinds(got) == "TDCZ" and rows(got) == [("7", "x")]


def test_errors_come_back_with_all_fields(here, there):
    sql = "INSERT INTO t VALUES (1, 'a')"
    here.ok(sql)
    mine, theirs = here.fails(sql), there.fails(sql)
    assert mine == theirs
    assert here.fails("INSERT INTO no_such VALUES (1)") == there.fails("INSERT INTO no_such VALUES (1)")


def test_positions_of_errors_count_from_the_beginning(here, there):
    sql = "SELECT 'ä'; INSERT INTO t VALUES (1, 'ü'); UPDATE t SET nothing = 1"
    mine = [m.fields() for m in here.query(sql) if m.kind == "E"]
    there.ok("DELETE FROM t")
    theirs = [m.fields() for m in there.query(sql) if m.kind == "E"]
    assert mine == theirs and int(mine[0]["P"]) > 40


def test_a_query_of_many_statements(here):
    got = here.query("SELECT 1; INSERT INTO t VALUES (1, 'a'); SELECT count(*) FROM t; BEGIN; DELETE FROM t; ROLLBACK; SELECT 2")
    assert tags(got) == ["SELECT 1", "INSERT 0 1", "SELECT 1", "BEGIN", "DELETE 1", "ROLLBACK", "SELECT 1"]
    assert rows(got) == [("1",), ("1",), ("2",)] and kinds(got).count("Z") == 1


def test_an_error_ends_the_query(here):
    got = here.query("INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (1, 'b'); INSERT INTO t VALUES (2, 'c')")
    assert tags(got) == ["INSERT 0 1"] and errors(got) == ["23505"] and got[-1].status() == "I"
    assert here.ok("SELECT id FROM t") == [("1",)]


def test_a_transaction_is_the_primarys_from_begin_on(here, there):
    assert here.query("BEGIN")[-1].status() == "T"
    here.ok("INSERT INTO t VALUES (1, 'a')")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]
    assert there.ok("SELECT count(*) FROM t") == [("0",)]
    got = here.query("COMMIT")
    assert tags(got) == ["COMMIT"] and got[-1].status() == "I"
    assert there.ok("SELECT count(*) FROM t") == [("1",)]


def test_a_read_only_transaction_is_here(pair, here, there):
    before = len(pair.proxy.connections)
    here.ok("BEGIN READ ONLY")
    assert here.ok("SELECT count(*) FROM t") == [("0",)]
    there.ok("INSERT INTO t VALUES (1, 'a')")
    assert here.ok("SELECT count(*) FROM t") == [("0",)]
    assert here.fails("INSERT INTO t VALUES (2, 'b')")["C"] == "25006"
    here.ok("COMMIT")
    assert here.ok("SELECT count(*) FROM t") == [("1",)]
    assert len(pair.proxy.connections) == before


def test_savepoints(here):
    here.ok("BEGIN; SAVEPOINT a; INSERT INTO t VALUES (1, 'a'); SAVEPOINT b; INSERT INTO t VALUES (2, 'b')")
    here.ok("ROLLBACK TO b")
    assert here.ok("SELECT id FROM t") == [("1",)]
    here.ok("RELEASE a")
    here.ok("COMMIT")
    assert here.ok("SELECT id FROM t") == [("1",)]
    assert here.query("SAVEPOINT x")[-1].status() == "T"
    here.ok("INSERT INTO t VALUES (3, 'c')")
    assert here.query("RELEASE x")[-1].status() == "I"
    assert here.ok("SELECT id FROM t") == [("1",), ("3",)]


def test_a_failed_statement_leaves_the_transaction_open(here):
    here.ok("BEGIN; INSERT INTO t VALUES (1, 'a')")
    got = here.query("INSERT INTO t VALUES (1, 'b')")
    assert errors(got) == ["23505"] and got[-1].status() == "T"
    here.ok("COMMIT")
    assert here.ok("SELECT name FROM t") == [("a",)]


# ---------------------------------------------------------------- extended protocol
def test_extended_writes(here):
    got = here.ask(*[extended("INSERT INTO t VALUES ($1, $2) RETURNING id", (5, "e"))])
    assert kinds(got) == "12TDCZ" and rows(got) == [("5",)]
    assert rows(here.ask(extended("SELECT name FROM t WHERE id = $1", (5,)))) == [("e",)]


def test_parameter_types_are_described(here, there):
    ask = (parse("UPDATE t SET name = $1 WHERE id = $2 RETURNING id", "s"), describe_statement("s"))
    mine, theirs = here.ask(*ask), there.ask(*ask)
    assert kinds(mine) == "1tTZ"
    assert [(m.kind, m.body) for m in mine] == [(m.kind, m.body) for m in theirs]


def test_a_named_statement_is_used_on_both_sides(here, there):
    assert kinds(here.ask(parse("SELECT count(*) FROM t", "r"), parse("INSERT INTO t VALUES ($1, 'x')", "w"))) == "11Z"
    assert kinds(here.ask(bind((1,), "w"), execute())) == "2CZ"
    assert rows(here.ask(bind((), "r"), execute())) == [("1",)]
    here.ok("BEGIN")
    assert kinds(here.ask(bind((2,), "w"), execute(), bind((), "r"), execute())) == "2C2DCZ"
    assert there.ok("SELECT count(*) FROM t") == [("1",)]
    here.ok("ROLLBACK")
    assert rows(here.ask(bind((), "r"), execute())) == [("1",)]
    assert kinds(here.ask(bind((3,), "w"), execute())) == "2CZ"
    assert kinds(here.ask(close_statement("w"), close_statement("r"))) == "33Z"
    assert errors(here.ask(bind((3,), "w"))) == ["26000"]
    assert kinds(here.ask(parse("INSERT INTO t VALUES ($1, 'y')", "w"), bind((4,), "w"), execute())) == "12CZ"


def test_a_statement_prepared_in_a_transaction_is_used_outside(here):
    here.ok("BEGIN; CREATE TABLE IF NOT EXISTS new(a)")
    assert kinds(here.ask(parse("SELECT count(*) FROM new", "n"), describe_statement("n"))) == "1tTZ"
    here.ok("COMMIT")
    assert rows(here.ask(bind((), "n"), execute())) == [("0",)]
    here.ok("DROP TABLE new")


def test_a_pipeline_is_one_transaction(here, there):
    got = here.ask(
        extended("INSERT INTO t VALUES (1, 'a')"), extended("SELECT count(*) FROM t"), extended("INSERT INTO t VALUES (1, 'b')"),
        extended("SELECT 1"),
    )
    assert errors(got) == ["23505"] and rows(got) == [("1",)]
    assert there.ok("SELECT count(*) FROM t") == [("0",)]


def test_a_pipeline_that_fails_here_is_taken_back_there(here, there):
    got = here.ask(extended("INSERT INTO t VALUES (1, 'a')"), bind((), "nothing"), execute())
    assert errors(got) == ["26000"] and got[-1].status() == "I"
    assert there.ok("SELECT count(*) FROM t") == [("0",)]
    here.ok("BEGIN")
    got = here.ask(extended("INSERT INTO t VALUES (1, 'a')"), bind((), "nothing"), execute())
    assert errors(got) == ["26000"] and got[-1].status() == "T"
    here.ok("COMMIT")
    assert there.ok("SELECT count(*) FROM t") == [("1",)]


def test_what_was_skipped_is_as_before(here):
    here.ask(parse("SELECT 1", "one"), parse("INSERT INTO t VALUES (9, 'n')", "w"))
    got = here.ask(extended("INSERT INTO no_such VALUES (1)"), close_statement("w"), close_statement("one"), parse("SELECT 2", "one"))
    assert errors(got) == ["42P01"]
    assert rows(here.ask(bind((), "one"), execute())) == [("1",)]
    assert tags(here.ask(bind((), "w"), execute())) == ["INSERT 0 1"]


def test_row_limits(here):
    here.ok("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) INSERT INTO t SELECT i, 'v' FROM n")
    here.ok("BEGIN")
    got = here.ask(parse("SELECT id FROM t ORDER BY id"), bind((), portal="p"), execute("p", 3))
    assert kinds(got) == "12DDDsZ"
    got = here.ask(execute("p", 5), execute("p"), close_portal("p"))
    assert kinds(got) == "DDDDDsDDC3Z"
    here.ok("COMMIT")


def test_flush_gives_answers(here):
    here.send(extended("INSERT INTO t VALUES (1, 'a')"), flush())
    assert kinds(here.until("C")) == "12nC"
    here.send(extended("SELECT count(*) FROM t"), flush())
    assert kinds(here.until("C")) == "12TDC"
    here.send(sync())
    assert here.until_ready()[-1].status() == "I"


def test_begin_in_a_pipeline(here, there):
    got = here.ask(extended("BEGIN"), extended("INSERT INTO t VALUES (1, 'a')"))
    assert tags(got) == ["BEGIN", "INSERT 0 1"] and got[-1].status() == "T"
    got = here.ask(extended("COMMIT"))
    assert tags(got) == ["COMMIT"] and got[-1].status() == "I"
    assert there.ok("SELECT count(*) FROM t") == [("1",)]


def test_binary_formats(here, there):
    ask = (parse("INSERT INTO t VALUES ($1, $2) RETURNING id", oids=(20, 25)),
           bind(((11).to_bytes(8, "big"), b"bin"), param_formats=(1, 1), result_formats=(1,)), describe_portal(), execute())
    mine = here.ask(*ask)
    there.ok("DELETE FROM t")
    assert [(m.kind, m.body) for m in mine] == [(m.kind, m.body) for m in there.ask(*ask)]


# ---------------------------------------------------------------- PREPARE, cursors, COPY
def test_prepare_and_execute(here):
    here.ok("PREPARE w(int, text) AS INSERT INTO t VALUES ($1, $2)")
    here.ok("PREPARE r AS SELECT count(*) FROM t")
    assert tags(here.query("EXECUTE w(1, 'a')")) == ["INSERT 0 1"]
    assert here.ok("EXECUTE r") == [("1",)]
    here.ok("BEGIN; EXECUTE w(2, 'b')")
    assert here.ok("EXECUTE r") == [("2",)]
    here.ok("PREPARE q AS SELECT max(id) FROM t")
    here.ok("ROLLBACK")
    assert here.ok("EXECUTE q; EXECUTE r") == [("1",), ("1",)]
    here.ok("DEALLOCATE w")
    assert here.fails("EXECUTE w(3, 'c')")["C"] == "26000"
    here.ok("PREPARE w AS INSERT INTO t VALUES (4, 'd')")
    assert tags(here.query("EXECUTE w")) == ["INSERT 0 1"]
    assert here.fails("PREPARE z AS INSERT INTO no_such VALUES (1)")["C"] == "42P01"
    assert here.fails("EXECUTE z")["C"] == "26000"
    here.ok("DEALLOCATE ALL")


def test_cursors(here):
    here.ok("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) INSERT INTO t SELECT i, 'v' FROM n")
    here.ok("BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id")
    assert here.ok("FETCH 2 FROM c") == [("1",), ("2",)]
    here.ok("INSERT INTO t VALUES (100, 'z')")
    assert here.ok("FETCH 1 FROM c") == [("3",)]
    here.ok("CLOSE c; COMMIT")
    here.ok("DECLARE h CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id")
    assert here.ok("FETCH 1 FROM h") == [("1",)]
    here.ok("BEGIN")
    assert here.ok("FETCH 1 FROM h") == [("2",)]
    here.ok("DECLARE g CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id; COMMIT")
    assert here.ok("FETCH 1 FROM g; FETCH 1 FROM h") == [("1",), ("3",)]
    here.ok("CLOSE ALL")


def test_copy_in(here):
    here.send(query("COPY t FROM STDIN"))
    assert kinds(here.until("G")) == "G"
    here.send(copy_data("1\ta\n2\t"), copy_data("b\n"), copy_done())
    got = here.until_ready()
    assert tags(got) == ["COPY 2"]
    assert here.ok("SELECT * FROM t") == [("1", "a"), ("2", "b")]
    here.send(query("COPY t FROM STDIN"))
    here.until("G")
    here.send(copy_data("3\tc\n"), copy_fail("enough"))
    assert errors(here.until_ready()) == ["57014"]
    here.send(query("COPY t FROM STDIN"))
    here.until("G")
    here.send(copy_data("x\ty\tz\n"), copy_data("4\td\n"), copy_done())
    assert errors(here.until_ready()) == ["22P04"]
    assert here.ok("SELECT count(*) FROM t") == [("2",)]


def test_copy_in_by_the_extended_protocol(here):
    here.send(extended("COPY t FROM STDIN"), sync())
    assert kinds(here.until("G")) == "12nG"
    here.send(copy_data("1\ta\n"), copy_done(), sync())
    got = here.until_ready()
    assert kinds(got) == "CZ" and tags(got) == ["COPY 1"]
    assert here.ok("SELECT count(*) FROM t") == [("1",)]


def test_copy_out(here):
    here.ok("INSERT INTO t VALUES (1, 'a')")
    assert kinds(here.query("COPY t TO STDOUT")) == "HdcCZ"
    here.ok("BEGIN; INSERT INTO t VALUES (2, 'b')")
    assert kinds(here.query("COPY t TO STDOUT")) == "HddcCZ"
    here.ok("ROLLBACK")


# ---------------------------------------------------------------- settings and other state
def test_settings_are_the_same_on_both_sides(here):
    here.ok("SET statement_timeout = 12345; SET myapp.user = 'ann'; SET search_path = a, \"B\"")
    here.ok("BEGIN")
    for name, value in (("statement_timeout", "12345ms"), ("myapp.user", "ann"), ("search_path", 'a, "B"')):
        assert here.value(f"SHOW {name}") == value
    here.ok("SET LOCAL lock_timeout = 77")
    here.ok("SET statement_timeout = 999; SELECT set_config('myapp.user', 'bob', false)")
    here.ok("COMMIT")
    for name, value in (("statement_timeout", "999ms"), ("myapp.user", "bob"), ("lock_timeout", "0")):
        assert here.value(f"SHOW {name}") == value
    here.ok("BEGIN; SET statement_timeout = 1; ROLLBACK")
    assert here.value("SHOW statement_timeout") == "999ms"
    here.ok("RESET statement_timeout")
    assert here.value("SHOW statement_timeout") == "0"
    here.ok("BEGIN")
    assert here.value("SHOW statement_timeout") == "0"
    here.ok("COMMIT")


def test_reported_settings_are_reported(here):
    got = here.query("BEGIN; SET application_name = 'x'")
    assert [m.strings() for m in got if m.kind == "S"] == [["application_name", "x"]]
    got = here.query("ROLLBACK")
    assert [m.strings() for m in got if m.kind == "S"] == [["application_name", ""]]


def test_start_up_parameters_go_along(pair):
    with pair.replica.connect(application_name="mine", options="-c statement_timeout=4s") as one:
        one.ok("BEGIN")
        assert one.value("SHOW application_name") == "mine"
        assert one.value("SHOW statement_timeout") == "4s"
        assert one.value("SELECT current_user") == "tester"


def test_temporary_tables(here):
    here.ok("CREATE TEMP TABLE mine(a); INSERT INTO mine VALUES (1)")
    assert here.ok("SELECT * FROM mine") == [("1",)]
    here.ok("DISCARD ALL")
    assert here.fails("SELECT * FROM mine")["C"] == "42P01"


def test_pragmas(here, there):
    here.ok("PRAGMA user_version = 42")
    assert here.ok("PRAGMA user_version") == [("42",)] == there.ok("PRAGMA user_version")
    here.ok("CREATE TABLE IF NOT EXISTS child(p REFERENCES t(id))")
    here.ok("PRAGMA foreign_keys = off")
    assert here.ok("PRAGMA foreign_keys") == [("0",)]
    here.ok("INSERT INTO child VALUES (99)")
    here.ok("DROP TABLE child")


def test_databases_are_made_there(pair, here, there):
    here.ok("CREATE DATABASE other")
    assert "other" in [name for (name, *_) in there.ok("SHOW databases")]
    here.ok("ALTER DATABASE other RENAME TO another")
    here.ok("DROP DATABASE another")
    assert "another" not in [name for (name, *_) in there.ok("SHOW databases")]


def test_notifications_go_through_the_primary(here, there):
    here.ok("LISTEN news")
    there.ok("NOTIFY news, 'one'")
    assert here.recv().notification()[1:] == ("news", "one")
    got = here.query("NOTIFY news, 'two'")
    notes = [m.notification() for m in got if m.kind == "A"] or [here.recv().notification()]
    assert notes == [(here.pid, "news", "two")]
    there.ok("LISTEN answers")
    here.ok("SELECT pg_notify('answers', 'three')")
    assert there.recv().notification()[1:] == ("answers", "three")
    here.ok("UNLISTEN *")
    there.ok("UNLISTEN *")


def test_notices_come_back(here):
    got = here.query("CREATE DATABASE IF NOT EXISTS main")
    assert "N" in kinds(got)
