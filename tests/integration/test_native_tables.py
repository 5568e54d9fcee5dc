"""Native mode: SQLite calls virtual tables that live in the client (docs/protocol.md, "Virtual tables"). What an application
sees of it is tests/client/parity_table.c's; here is what it costs, and what a client that does not behave can do: nothing to others."""

import os
import signal
import struct

import native
import native_tables as nt
import pytest
from native import BUSY, CONSTRAINT, DONE, ERROR, INTERRUPT, LOCKED, MISUSE, OK, ROW
from native_calls import Failure, Hang
from native_tables import Bound, Table, Tables
from server import poll


@pytest.fixture
def c(server, scratch):
    with Tables(server, scratch) as one:
        yield one


def filled(c, count=3, name="t", **kw):
    c.module("m", **kw)
    c.ok(f"CREATE VIRTUAL TABLE {name} USING m")
    c.data.update({i: [i, f"row {i}"] for i in range(1, count + 1)})
    c.log.clear()
    c.wishes.clear()
    return c


def names(c):
    return [entry[0] for entry in c.log]


# ---- reading


def test_rows_are_read_and_constraints_are_passed_on(c):
    class Indexed(Table):
        def best_index(self, plan):
            for i, (column, op, bits, _, _) in enumerate(plan.constraints):
                if (column, op) == (0, 2) and bits & 1:
                    plan.usage[i], plan.number, plan.index, plan.cost = (1, 1), 4, b"\0\xff bytes", 1

        def rows(self, index, values):
            if index == (4, b"\0\xff bytes"):
                return [row for row in super().rows(index, values) if row[1][0] == values[0].plain]
            assert index == (0, None)
            return super().rows(index, values)

    filled(c, module=Indexed)
    assert c.ok("SELECT a, b FROM t") == [(1, "row 1"), (2, "row 2"), (3, "row 3")]
    assert c.ok("SELECT b FROM t WHERE a = ?", 2) == [("row 2",)]
    assert c.named("filter")[-1] == ((4, b"\0\xff bytes"), Bound(2))
    plan = c.named("best_index")[-1][0]
    assert plan.constraints[0][:4] == (0, 2, 1, "BINARY") and plan.columns_used == 3


def test_a_row_is_one_round_trip(c):
    filled(c, 100)
    assert len(c.ok("SELECT rowid, b, a, b || a FROM t")) == 100
    assert len(c.named("next")) == 100
    # The first row's, one by one; SQLite may ask for one of them twice.
    assert 4 <= len(c.named("column")) <= 5
    assert all(w == c.wishes[1] for w in c.wishes[1:])
    assert len(c.named("given")) == 100 * len(c.wishes[1])


def test_columns_are_wished_for_as_long_as_all_rows_begin_with_them(c):
    filled(c, 9)
    assert c.ok("SELECT b FROM t WHERE a <> 3") == [(f"row {i}",) for i in range(1, 10) if i != 3]
    # Row 3 needed no b: the only call in vain.
    assert c.wishes == [[], [0, 1], [0, 1]] + [[0]] * 7
    assert len(c.named("given")) == 9 + 8 + 1


def test_what_came_along_is_not_used_when_the_client_has_been_asked_something_since(c):
    filled(c, 4)

    def change(x):
        c.data[x][1] = f"changed {x}"
        return x

    c.function("change", 1, change)
    assert c.ok("SELECT change(a), b FROM t") == [(i, f"changed {i}") for i in range(1, 5)]


def test_a_row_that_fails_behind_its_columns_fails_when_it_is_asked_for(c):
    class Failing(Table):
        def column(self, row, column, for_update):
            if column == 1 and row[0] == 3:
                raise Failure(ERROR, "no b in row 3")
            return super().column(row, column, for_update)

    filled(c, 3, module=Failing)
    assert c.ok("SELECT a FROM t") == [(1,), (2,), (3,)]
    answer = c.run("SELECT a, b FROM t")
    assert (answer.result, answer.error) == (ERROR, "no b in row 3")
    assert answer.rows == [(1, "row 1"), (2, "row 2")]


def test_lists_come_whole(c):
    class Listed(Table):
        def best_index(self, plan):
            for i, (column, op, bits, _, _) in enumerate(plan.constraints):
                if column == 0 and bits & 3 == 3:
                    plan.usage[i] = (1, 3)

        def rows(self, index, values):
            return [row for row in super().rows(index, values) if not values or row[1][0] in values[0]]

    filled(c, 5, module=Listed)
    assert c.ok("SELECT a FROM t WHERE a IN (4, 2, 9, 'x')") == [(2,), (4,)]
    assert c.named("filter")[-1][1] == [2, 4, 9, "x"]
    c.ok("SELECT a FROM t WHERE a IN (SELECT 1 WHERE 0)")
    many = ",".join(str(i) for i in range(3000))
    assert len(c.ok(f"SELECT a FROM t WHERE a IN ({many})")) == 5
    assert len(c.named("filter")[-1][1]) == 3000


def test_the_text_of_an_index_is_asked_for_when_it_is_shown(c):
    class Named(Table):
        def best_index(self, plan):
            plan.index, plan.text = 77, "by name"

    filled(c, 1, module=Named)
    c.ok("SELECT a FROM t")
    assert c.named("best_index")[-1][0].wants_text == 0
    assert c.named("filter")[-1] == ((0, 77),)
    assert "by name" in c.ok("EXPLAIN QUERY PLAN SELECT a FROM t")[0][3]
    assert c.named("best_index")[-1][0].wants_text == 1


def test_facts_tell_that_a_statement_calls_and_it_is_compiled_once(c):
    filled(c)
    number, answer = c.prepare("SELECT a FROM t")
    assert answer.facts.may_call and answer.facts.readonly
    assert len(c.named("best_index")) == 1
    assert not c.prepare("SELECT 1")[1].facts.may_call
    c.ok("CREATE TABLE plain(x)")  # compiled anew
    answer = c.step(number)
    assert answer.facts.may_call and len(answer.rows) == 3
    assert len(c.named("best_index")) == 2


# ---- writing, transactions


def test_rows_are_written(c):
    filled(c, 1)
    c.ok("INSERT INTO t(a, b) VALUES (?, 'x'), (5, 6)", 4)
    assert c.named("update")[0] == (4, None, None, Bound(4), "x")
    assert c.data == {1: [1, "row 1"], 2: [4, "x"], 3: [5, 6]}
    assert c.run("SELECT last_insert_rowid()").rows == [(3,)]
    c.ok("UPDATE t SET b = 'y' WHERE a = 4")
    c.ok("DELETE FROM t WHERE a = 1")
    assert c.data == {2: [4, "y"], 3: [5, 6]}
    assert c.fails("INSERT INTO t(rowid, a) VALUES (2, 0)") == (CONSTRAINT, "taken")
    c.ok("REPLACE INTO t(rowid, a) VALUES (2, 0)")
    assert c.data[2] == [0, None]


def test_transactions_are_seen_in_order(c):
    filled(c)
    c.ok("BEGIN")
    c.ok("INSERT INTO t(a) VALUES (1)")
    c.ok("SAVEPOINT s")
    c.ok("INSERT INTO t(a) VALUES (2)")
    c.ok("ROLLBACK TO s")
    c.ok("RELEASE s")
    c.ok("COMMIT")
    seen = [e for e in names(c) if e in ("begin", "savepoint", "rollback_to", "release", "sync", "commit", "rollback")]
    assert seen[0] == "begin" and seen[-2:] == ["sync", "commit"] and "rollback_to" in seen
    c.on["sync"] = lambda: (_ for _ in ()).throw(Failure(ERROR, "not now"))
    c.ok("CREATE TABLE plain(x)")
    c.ok("BEGIN")
    c.ok("INSERT INTO plain VALUES (1)")
    c.ok("INSERT INTO t(a) VALUES (1)")
    assert c.fails("COMMIT") == (ERROR, "not now")
    assert c.one("SELECT count(*) FROM plain") == 0


def test_a_commit_is_on_disk_when_its_table_hears_of_it(c, server, scratch):
    filled(c)
    c.ok("CREATE TABLE plain(x)")
    seen = []

    def look():
        with server.connect(database=scratch) as other:
            seen.append(other.value("SELECT count(*) FROM plain"))

    c.on["commit"] = look
    c.ok("BEGIN")
    c.ok("INSERT INTO plain VALUES (1)")
    c.ok("INSERT INTO t(a) VALUES (1)")
    c.ok("COMMIT")
    assert seen == ["1"]


def test_postgresql_messages_call_no_table(c):
    filled(c)
    reason = "functions of the client can be called within its requests only"
    assert c.wire.fails("SELECT a FROM t")["M"] == reason
    c.ok("BEGIN")
    c.ok("INSERT INTO t(a) VALUES (1)")
    assert "M" in c.wire.fails("COMMIT")
    c.log.clear()
    c.wire.ok("ROLLBACK")
    c.one("SELECT 1")
    assert names(c) == ["rolled back"]


def test_what_a_one_way_request_ends_is_said(c):
    filled(c)
    number = c.good("SELECT a FROM t")
    assert c.step(number, rows=1).result == ROW
    c.log.clear()
    c.finalize(number)
    c.one("SELECT 1")
    assert names(c) == ["cursor free"]
    number = c.good("SELECT a FROM t")
    assert c.step(number, rows=1).result == ROW
    c.log.clear()
    assert c.close_statement(number).result == OK
    assert names(c) == ["close"] and c.step(number).result == MISUSE


# ---- modules


def test_methods_that_a_module_lacks_are_lacking(c):
    c.data[1] = [1, 2]
    c.module("reader", bits=1 | 4)
    c.ok("CREATE VIRTUAL TABLE r USING reader")
    assert c.fails("INSERT INTO r(a) VALUES (1)") == (ERROR, "table r may not be modified")
    c.module("eponymous", bits=3)
    assert c.ok("SELECT a FROM eponymous") == [(1,)]
    assert c.named("connect") == [("eponymous", "main", "eponymous")]
    c.module("only", bits=0)
    assert c.ok("SELECT a FROM only") == [(1,)]
    assert c.fails("CREATE VIRTUAL TABLE o USING only") == (ERROR, "no such module: only")


@pytest.mark.parametrize("body", [b"", native.text("m"), native.text("m") + struct.pack("!IiI", 1, 4, 0),
                                  native.text("m") + struct.pack("!IiI", 1, -1, 0),
                                  native.text("m") + struct.pack("!IiI", 1, 1, 1 << 14)])  # fmt: skip
def test_a_module_that_makes_no_sense_ends_the_session(c, body):
    c.send(native.request(nt.MODULE, body))
    assert c.ended()["C"] == "08P01"


def test_shadow_tables_are_asked_for_and_there_are_so_many(c):
    class Shadowed(Table):
        @staticmethod
        def is_shadow(suffix):
            return suffix == "data"

    bits = nt.ALL & ~nt.CREATE_IS_CONNECT & ~(1 << 8)
    filled(c, module=Shadowed, bits=bits)
    c.on["create"] = lambda: c.ok("CREATE TABLE u_data(x)")
    c.ok("CREATE VIRTUAL TABLE u USING m")
    assert ("data",) in c.named("shadow_name")
    assert c.fails("INSERT INTO u_data VALUES (1)") == (ERROR, "table u_data may not be modified")
    assert c.ok("SELECT type FROM pragma_table_list WHERE name = 'u_data'") == [("shadow",)]
    for i in range(2, 17):
        assert c.create_module(f"m{i}", Shadowed, bits=bits).result == OK
    assert c.create_module("m17", Shadowed, bits=bits).error == "too many modules with xShadowName"
    assert c.create_module("m16", None).result == OK
    assert c.create_module("m17", Shadowed, bits=bits).result == OK


def test_a_table_has_functions_of_its_own(c):
    class Own(Table):
        def find_function(self, name, count):
            return 900 if name == "like" else 0

    c.functions[900] = type("F", (), {"target": staticmethod(lambda p, x: 7), "with_auxiliary": False})()
    filled(c, module=Own, bits=nt.ALL & ~nt.CREATE_IS_CONNECT & ~(1 << 13))
    assert c.ok("SELECT a LIKE 'x' FROM t LIMIT 1") == [(7,)]
    assert ("like", 2) in c.named("find_function")


def test_built_in_modules_that_reach_outside_are_out_of_reach_and_unknown_ones_unknown(c):
    assert c.fails("CREATE VIRTUAL TABLE d USING dbstat") == (23, "not authorized")
    assert c.fails("CREATE VIRTUAL TABLE d USING nosuch") == (ERROR, "no such module: nosuch")
    c.module("dbstat")
    c.ok("CREATE VIRTUAL TABLE d USING dbstat")
    assert c.named("create")
    assert c.create_module("dbstat", None).result == OK
    assert c.fails("CREATE VIRTUAL TABLE e USING dbstat")[1] in ("no such module: dbstat", "not authorized")


def test_a_table_whose_module_only_the_client_had_is_for_others_as_in_sqlite(c, server, scratch):
    filled(c)
    c.ok("CREATE TABLE plain(x)")
    c.ok("INSERT INTO plain VALUES (1)")

    def look():
        with server.connect(database=scratch) as other:
            assert other.fails("SELECT * FROM t")["M"] == "no such module: m"
            assert other.fails("DROP TABLE t")["M"] == "no such module: m"
            assert other.value("SELECT x FROM plain") == "1"
            other.ok("CREATE TABLE more(x)")
            other.ok("DROP TABLE more")
            assert other.value("SELECT count(*) FROM sqlite_schema") == "2"
            other.ok("VACUUM")
        with Tables(server, scratch) as another:
            assert another.fails("SELECT * FROM t") == (ERROR, "no such module: m")
            another.module("m")
            another.data[1] = ["another", 1]
            assert another.ok("SELECT a FROM t") == [("another",)]

    look()
    c.bye()
    look()


def test_modules_are_dropped_but_those_that_are_kept(c):
    filled(c)
    c.module("kept")
    assert c.drop_modules("kept").result == OK
    assert c.ok("SELECT a FROM t") == [(1,), (2,), (3,)]
    c.ok("CREATE VIRTUAL TABLE k USING kept")
    assert c.fails("CREATE VIRTUAL TABLE u USING m") == (ERROR, "no such module: m")
    assert c.fails("CREATE VIRTUAL TABLE u USING fts5(a)")[1] == "no such module: fts5"
    c.send(native.request(nt.DROP_MODULES, struct.pack("!I", 1 << 30)))
    assert c.ended()["C"] == "08P01"


def test_all_tables_are_disconnected_as_by_a_close(c):
    filled(c)
    c.ok("CREATE VIRTUAL TABLE u USING m")
    c.ok("BEGIN")
    c.ok("INSERT INTO t(a) VALUES (1)")
    c.log.clear()
    assert c.ask(nt.DISCONNECT).result == OK
    assert names(c) == ["disconnect", "rollback", "disconnect"]
    assert [e[1] for e in c.log] == ["u", "t", "t"]
    c.ok("ROLLBACK")
    assert c.ok("SELECT count(*) FROM t") == [(4,)]


# ---- nesting, and clients that do not behave


def test_methods_use_their_connection(c):
    filled(c)
    c.ok("CREATE TABLE notes(x)")
    for method in ("connect", "best_index", "open", "filter", "next", "column", "close", "begin", "update", "sync", "commit"):
        c.on = {method: lambda: c.on.clear() or c.ok("INSERT INTO notes SELECT count(*) FROM notes")}
        c.ask(nt.DISCONNECT)
        assert len(c.ok("SELECT a FROM t")) >= 3
        c.ok("INSERT INTO t(a) VALUES (0)")
        assert not c.on, method
    assert c.one("SELECT count(*) FROM notes") == 11


def test_methods_nest_so_deep_and_no_deeper(c):
    filled(c, 1)
    seen = []

    def deeper():
        if c.depth == 32:
            seen.append(c.fails("SELECT a FROM t"))
        else:
            c.ok("SELECT a FROM t")
            c.on.clear()

    c.on["filter"] = deeper
    c.ok("SELECT a FROM t")
    assert seen and seen[0] == (ERROR, "too many levels of callbacks") and c.deepest == 32
    c.on.clear()
    assert c.ok("SELECT a FROM t") == [(1,)]
    c.one("SELECT 1")  # with which comes what could not be said so deep
    assert sorted(c.named("open")) == sorted(c.named("close") + c.named("cursor free"))


@pytest.mark.parametrize("method", ["create", "connect", "best_index"])
@pytest.mark.parametrize("sql", ["ROLLBACK", "INSERT OR ROLLBACK INTO plain VALUES (1)", "VACUUM", "DROP TABLE t",
                                 "DETACH aux", "CREATE TABLE made(x)", "ALTER TABLE t RENAME TO renamed",
                                 "ROLLBACK TO s", "PRAGMA user_version = 5"])  # fmt: skip
def test_a_schema_that_changes_under_a_table_that_is_made_harms_nobody(c, server, scratch, method, sql):
    filled(c)
    c.ok("CREATE TABLE plain(x UNIQUE)")
    c.ok("INSERT INTO plain VALUES (1)")
    c.ok("ATTACH '' AS aux")
    for begin in ("BEGIN", "SAVEPOINT s", None):
        if begin:
            c.ok(begin)
            c.ok(f"CREATE TABLE other_{begin[0]}(x)")
        c.ask(nt.DISCONNECT)
        c.on = {method: lambda: c.on.clear() or c.run(sql)}
        for statement in ("CREATE VIRTUAL TABLE v USING m", "SELECT a FROM t", "PRAGMA table_info(t)", "SELECT a FROM v",
                          "DROP TABLE v", "ALTER TABLE v RENAME TO w", "ROLLBACK"):  # fmt: skip
            c.run(statement)
    c.on.clear()
    with server.connect(database=scratch) as other:
        assert other.value("SELECT x FROM plain") == "1"
    assert c.one("SELECT x FROM plain") == 1


def test_what_sqlite_cannot_bear_within_a_method_is_locked(c, server, scratch):
    filled(c)
    got = {}

    def try_all():
        c.on.clear()
        got["module"] = c.create_module("m", Table).result
        got["drop"] = c.drop_modules().result
        got["disconnect"] = c.ask(nt.DISCONNECT).result
        got["attach"] = c.attach("other", "o").result
        got["image"] = c.image_put(b"", mode=1).result
        got["detach"] = c.fails("DETACH aux")[0]
        got["vacuum"] = c.fails("VACUUM")[0]
        got["alter"] = c.fails("ALTER TABLE plain RENAME TO other")[0]
        got["destroy"] = c.fails("DROP TABLE t")[0]
        got["select"] = c.one("SELECT 5")

    c.ok("ATTACH '' AS aux")
    c.ok("CREATE TABLE plain(x)")
    c.on["best_index"] = try_all
    assert len(c.ok("SELECT a FROM t")) == 3
    assert got == {"module": LOCKED, "drop": LOCKED, "disconnect": MISUSE, "attach": LOCKED, "image": LOCKED,
                   "detach": LOCKED, "vacuum": LOCKED, "alter": LOCKED, "destroy": LOCKED, "select": 5}  # fmt: skip
    c.on["filter"] = lambda: c.on.clear() or got.update(drop=c.fails("DROP TABLE t")[0])
    assert len(c.ok("SELECT a FROM t")) == 3
    assert got["drop"] in (LOCKED, LOCKED | 2 << 8)


def test_nothing_is_asked_out_of_a_search_for_functions(c):
    seen = []

    class Own(Table):
        def find_function(self, name, count):
            answer = self.tables.run("SELECT 1")
            seen.append((answer.result, answer.error))
            return 0

    filled(c, module=Own, bits=nt.ALL & ~nt.CREATE_IS_CONNECT & ~(1 << 13))
    c.ok("SELECT abs(a) FROM t")
    assert set(seen) == {(LOCKED, "not within this method of a virtual table")}


NONSENSE = [b"", b"\0\0\0", struct.pack("!i", 0) + native.text(None) + b"\7", struct.pack("!i", 1) + b"\0\0\0\5x"]


@pytest.mark.parametrize("answer", NONSENSE)
@pytest.mark.parametrize("method", ["connect", "best_index", "open", "filter", "next", "column", "update", "begin", "commit"])
def test_an_answer_that_makes_no_sense_ends_the_session_and_nothing_else(c, server, scratch, method, answer):
    filled(c)
    c.ok("CREATE TABLE plain(x)")
    c.ok("INSERT INTO t(a) VALUES (7)")
    c.ask(nt.DISCONNECT)
    c.raw[method] = answer
    sql = "INSERT INTO t(a) SELECT 1" if method in ("update", "begin", "commit") else "SELECT a FROM t"
    c.send(native.prepare_step(900, sql))
    with pytest.raises(AssertionError):
        c.recv()
    with server.connect(database=scratch) as other:
        assert other.value("SELECT count(*) FROM plain") == "0"
        other.ok("INSERT INTO plain VALUES (1)")


def test_plans_that_make_no_sense_are_refused_by_sqlite(c):
    class Wild(Table):
        def best_index(self, plan):
            plan.usage = {i: self.tables.usage for i in range(len(plan.constraints))}
            plan.cost, plan.rows, plan.flags = self.tables.wild

    filled(c, module=Wild)
    c.wild = (float("nan"), -1, -1)
    for c.usage in ((2, 0), (1 << 30, 3), (-(1 << 31), 3), (-1, 1), ((1 << 31) - 1, 0)):
        answer = c.run("SELECT a FROM t WHERE a = 1")
        assert answer.result == DONE or "malfunction" in answer.error, answer
    c.usage = (0, 0)
    for c.wild in ((float("inf"), 1 << 62, 1), (-1.0, -(1 << 63), 0), (0.0, 0, 1 << 30)):
        assert c.ok("SELECT a FROM t WHERE a = 1") == [(1,)]


METHODS = ["create", "connect", "best_index", "open", "filter", "next", "column", "close", "update", "begin", "sync", "commit",
           "rollback", "destroy"]  # fmt: skip


def hanging(c, method):
    """A statement of a transaction that calls it, and everything before; the client does not come back."""

    def hang():
        raise Hang

    c.ok("CREATE TABLE plain(x)")
    c.ok("CREATE VIRTUAL TABLE dropped USING m")
    c.ask(nt.DISCONNECT)
    if method in ("sync", "commit", "rollback", "destroy"):
        c.ok("BEGIN IMMEDIATE")
        c.ok("INSERT INTO plain VALUES (1)")
        c.ok("INSERT INTO t(a) VALUES (9)")
        c.one("SELECT count(*) FROM dropped")
    c.on[method] = hang
    sql = {"create": "CREATE VIRTUAL TABLE made USING m", "sync": "COMMIT", "commit": "COMMIT", "rollback": "ROLLBACK",
           "destroy": "DROP TABLE dropped"}.get(method, "INSERT INTO plain SELECT a FROM t")  # fmt: skip
    if method in ("update", "begin"):
        sql = "INSERT INTO t(a) VALUES (1)"
    with pytest.raises(Hang):
        c.run(sql)


@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_goes_in_the_middle_of_a_method_leaves_nothing(server, scratch, method):
    with Tables(server, scratch) as c:
        filled(c)
        hanging(c, method)
        c.close()
        with server.connect(database=scratch) as other:
            # A commit that the table heard of had happened.
            expected = "1" if method == "commit" else "0"
            poll(lambda: other.value("SELECT count(*) FROM plain") == expected, "what it did is rolled back")
            other.ok("BEGIN IMMEDIATE")
            other.ok("INSERT INTO plain VALUES (5)")
            other.ok("COMMIT")


# Compiling has no time limit, and holds nothing that others wait for.
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("connect", "best_index")])
def test_a_time_limit_ends_a_client_that_does_not_come_back_from_a_method(server, scratch, method):
    with Tables(server, scratch) as c:
        c.wire.ok("SET statement_timeout = '200ms'")
        filled(c)
        hanging(c, method)
        assert c.ended()["C"] == "57014"
        with server.connect(database=scratch) as other:
            other.ok("INSERT INTO plain VALUES (5)")


def test_a_client_process_that_is_killed_in_a_method_frees_the_server(server, scratch):
    ready, gone = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            c = Tables(server, scratch)
            filled(c)
            c.ok("CREATE TABLE plain(x)")
            c.on["next"] = lambda: os.write(gone, b"x") and signal.pause()
            c.run("INSERT INTO plain SELECT a FROM t")
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"x"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(gone)
    with server.connect(database=scratch) as other:
        other.ok("INSERT INTO plain VALUES (5)")
        assert other.value("SELECT count(*) FROM plain") == "1"


def test_a_cancel_request_ends_a_statement_that_reads_a_table_without_end(c):
    filled(c)

    def cancel():
        if len(c.named("next")) == 5:
            c.wire.cancel()
        for cursor in c.cursors.values():
            cursor[2] = 0

    c.on["next"] = cancel
    assert c.fails("SELECT count(a) FROM t") == (INTERRUPT, "interrupted")
    assert not c.cursors


def test_a_failure_of_a_method_is_no_failure_of_the_server(c, server, scratch):
    filled(c)
    for code in (BUSY, 1034, 1290, 10, 11, 26, 100, 101, 517):
        c.on["next"] = lambda code=code: (_ for _ in ()).throw(Failure(code, "they say"))
        answer = c.run("SELECT count(a) FROM t")
        expected = {1034: 10, 1290: 10, 100: 1, 101: 1}.get(code, code)
        assert (answer.result, answer.error) == (expected, "they say")
    c.on.clear()
    c.ok("CREATE TABLE still(x)")
    with server.connect(database=scratch) as other:
        other.ok("INSERT INTO still VALUES (1)")
