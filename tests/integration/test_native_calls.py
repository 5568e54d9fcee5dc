"""Native mode: SQLite calls functions, collations and hooks that live in the client (docs/protocol.md, "Calls")."""

import struct
import threading

import native
import native_calls as nc
import pytest
from native import ANEW, BUSY, CONSTRAINT, DONE, ERROR, INTERRUPT, MISUSE, NOMEM, OK, ROW, TOOBIG, Pointer, Zeroblob
from native_calls import Calling, Failure, Hang, Raw, Subtyped
from server import poll
from wire import copy_data, copy_done, errors, extended, query


@pytest.fixture
def c(server, scratch):
    with Calling(server, scratch) as one:
        yield one


class Sum:
    """Adds up; a window function, too."""

    def __init__(self):
        self.total = 0

    def step(self, x):
        self.total += x

    def inverse(self, x):
        self.total -= x

    def value(self):
        return self.total

    def final(self):
        return self.total


def numbers(count):
    return f"(with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) select i from n)"


# ---- functions


@pytest.mark.parametrize(
    "given",
    [None, 0, -(1 << 63), 1.5, "", "text", "a\0b", "é" * 40000, b"", b"\0\xff" * 50000],
    ids=lambda v: f"{type(v).__name__}-{str(v)[:8]!r}",
)
def test_values_of_all_kinds_go_there_and_back(c, given):
    c.function("echo", 1, lambda x: x)
    assert c.one("SELECT echo(?)", given) == given
    assert c.calls[-1][1][3] == [given]


def test_a_function_is_called_for_each_row_and_rows_come_whole(c):
    c.function("twice", 1, lambda x: 2 * x)
    assert c.ok(f"SELECT i, twice(i) FROM {numbers(500)}") == [(i, 2 * i) for i in range(1, 501)]
    assert len(c.called(nc.CALL_FUNCTION)) == 500


def test_any_number_of_arguments_up_to_SQLites_limit(c):
    c.function("many", -1, lambda *args: len(args))
    assert c.one("SELECT many()") == 0
    assert c.one("SELECT many(" + ",".join("1" * 127) + ")") == 127
    for count in (-2, 128):
        assert c.create_function("many", count, lambda *_: 0).result == MISUSE
    assert c.create_function("x" * 256, 0, lambda: 0).result == MISUSE
    assert c.create_function("x" * 255, 0, lambda: 0).result == OK
    assert c.create_function(None, 0, lambda: 0).result == MISUSE


def test_a_zeroblob_a_subtype_and_a_pointer_as_results(c):
    c.function("zeros", 1, Zeroblob)
    assert c.one("SELECT zeros(1000)") == bytes(1000)
    c.function("tag", 1, lambda x: Subtyped(x, 74), flags=nc.UTF8 | nc.SUBTYPE)
    c.function("see", 1, lambda x: x.subtype if isinstance(x, Subtyped) else -1, flags=nc.UTF8 | nc.SUBTYPE)
    assert c.one("SELECT see(tag(1))") == 74
    c.function("point", 0, lambda: Pointer(12345))
    c.function("follow", 1, lambda x: int(x) if isinstance(x, Pointer) else None)
    assert c.ok("SELECT follow(point()), follow(1), point()") == [(12345, None, None)]
    assert c.one("SELECT follow(?)", Pointer(77)) == 77


@pytest.mark.parametrize(
    "code, message, expected",
    [
        (ERROR, "went wrong", (ERROR, "went wrong")),
        (ERROR, None, (ERROR, "SQL logic error")),
        (NOMEM, None, (NOMEM, "out of memory")),
        (TOOBIG, None, (TOOBIG, "string or blob too big")),
        (CONSTRAINT, "no such day", (CONSTRAINT, "no such day")),
        (BUSY, "not now", (BUSY, "not now")),
        (INTERRUPT, "enough", (INTERRUPT, "enough")),
        (999, None, (999, "unknown error")),
        (OK, None, (ERROR, "SQL logic error")),
    ],
)
def test_a_function_fails_with_any_code_and_message(c, code, message, expected):
    def fail():
        raise Failure(code, message)

    c.function("fail", 0, fail)
    assert c.fails("SELECT fail()") == expected
    assert len(c.called(nc.CALL_FUNCTION)) == 1
    assert c.one("SELECT 1") == 1


@pytest.mark.parametrize("code", [1034, 1290])
def test_a_function_that_claims_a_failed_sync_puts_nothing_out_of_service(c, server, scratch, code):
    def fail():
        raise Failure(code, "fsync, they say")

    c.function("fail", 0, fail)
    assert c.fails("SELECT fail()") == (10, "fsync, they say")
    c.ok("CREATE TABLE still(a)")
    with server.connect(database=scratch) as other:
        other.ok("INSERT INTO still VALUES (1)")


def test_an_error_keeps_the_rows_before_it(c):
    def fail(x):
        if x == 3:
            raise Failure(ERROR, "three")
        return x

    c.function("f", 1, fail)
    answer = c.run(f"SELECT f(i) FROM {numbers(5)}")
    assert (answer.result, answer.error, answer.rows) == (ERROR, "three", [(1,), (2,)])


def test_an_aggregate_has_a_number_for_each_group(c):
    c.function("total2", 1, Sum, kind=nc.AGGREGATE)
    assert c.ok(f"SELECT i % 3, total2(i) FROM {numbers(9)} GROUP BY 1") == [(0, 18), (1, 12), (2, 15)]
    groups = {said[2] for said in c.called(nc.CALL_FUNCTION)}
    assert len(groups) == 3 and 0 not in groups
    assert c.one("SELECT total2(1) FROM sqlite_schema WHERE 0") == 0
    assert c.calls[-1][1][1:3] == (nc.PART_FINAL, 0)
    assert all(not f.groups for f in c.functions.values())


def test_a_window_function_gives_values_and_takes_them_back(c):
    c.function("moving", 1, Sum, kind=nc.WINDOW)
    sql = f"SELECT moving(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM {numbers(5)}"
    assert c.ok(sql) == [(3,), (6,), (9,), (12,), (9,)]
    parts = {said[1] for said in c.called(nc.CALL_FUNCTION)}
    assert parts == {nc.PART_STEP, nc.PART_INVERSE, nc.PART_VALUE, nc.PART_FINAL}


def test_errors_of_aggregates_and_windows(c):
    class Bad(Sum):
        def step(self, x):
            if x == 2:
                raise Failure(ERROR, "bad step")
            super().step(x)

        def final(self):
            raise Failure(ERROR, "bad end")

    c.function("bad", 1, Bad, kind=nc.AGGREGATE)
    assert c.fails(f"SELECT bad(i) FROM {numbers(3)}") == (ERROR, "bad step")
    assert c.fails("SELECT bad(1)") == (ERROR, "bad end")


def test_auxiliary_data_is_kept_by_number_and_freed(c):
    made = iter(range(100, 200))

    def look(pattern, x, auxiliary):
        known = auxiliary.get(0)
        return (known or -1), {} if known else {0: next(made)}

    c.function("look", 2, look, with_auxiliary=True)
    assert c.ok(f"SELECT look('p', i) FROM {numbers(4)}") == [(-1,), (100,), (100,), (100,)]
    assert c.one("SELECT 1") == 1  # what is freed goes with the next message
    assert c.called(nc.CALL_AUXDATA_FREE) == [(100,)]
    # Of an argument that is no constant SQLite keeps nothing.
    assert c.ok(f"SELECT look(i, i) FROM {numbers(3)}") == [(-1,)] * 3
    c.one("SELECT 1")
    assert c.called(nc.CALL_AUXDATA_FREE) == [(100,), (101,), (102,), (103,)]


def test_a_function_takes_the_place_of_a_built_in_one_and_of_operators(c):
    c.function("upper", 1, lambda x: "mine")
    assert c.one("SELECT upper('x')") == "mine"
    assert c.create_function("upper", 1, None).result == OK
    assert c.fails("SELECT upper('x')")[0] == ERROR or c.one("SELECT upper('x')") == "X"
    c.function("regexp", 2, lambda pattern, x: int(pattern in x))
    assert c.ok("SELECT 'abc' REGEXP 'b', 'abc' REGEXP 'z'") == [(1, 0)]
    c.function("match", 2, lambda pattern, x: 7)
    assert c.one("SELECT 'abc' MATCH 'b'") == 7
    c.function("like", 2, lambda pattern, x: 8)
    assert c.one("SELECT 'abc' LIKE 'b'") == 8
    c.function("glob", 2, lambda pattern, x: 9)
    assert c.one("SELECT 'abc' GLOB 'b'") == 9


def test_functions_are_told_apart_by_their_numbers_of_arguments(c):
    c.function("f", 1, lambda a: 1)
    c.function("f", 2, lambda a, b: 2)
    c.function("f", -1, lambda *a: -1)
    assert c.ok("SELECT f(0), f(0, 0), f(0, 0, 0)") == [(1, 2, -1)]


def test_a_function_that_a_statement_uses_is_not_replaced(c):
    c.function("f", 1, lambda x: x)
    number = c.good(f"SELECT f(i) FROM {numbers(9)}")
    assert c.step(number, rows=1).result == ROW
    answer = c.create_function("f", 1, lambda x: -x)
    assert (answer.result, answer.error) == (BUSY, "unable to delete/modify user-function due to active statements")
    c.reset(number)
    assert c.create_function("f", 1, lambda x: -x).result == OK
    assert c.step(number, rows=1).rows == [(-1,)]


def test_a_deleted_function_is_gone(c):
    c.function("f", 0, lambda: 1)
    assert c.create_function("f", 0, None).result == OK
    code, message = c.fails("SELECT f()")
    assert (code, message.split(":")[0]) == (ERROR, "no such function")


def test_functions_in_indexes_triggers_and_views(c):
    c.function("twice", 1, lambda x: 2 * x, flags=nc.UTF8 | nc.DETERMINISTIC)
    c.ok("CREATE TABLE t(a, b AS (twice(a)))")
    c.ok("CREATE INDEX i ON t(twice(a))")
    c.ok("CREATE VIEW v AS SELECT twice(a) AS d FROM t")
    c.ok("CREATE TABLE log(x)")
    c.ok("CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (twice(new.a)); END")
    c.ok("INSERT INTO t VALUES (4)")
    assert c.ok("SELECT d FROM v") == [(8,)] and c.ok("SELECT x FROM log") == [(8,)]
    c.function("direct", 1, lambda x: x, flags=nc.UTF8 | nc.DIRECTONLY)
    c.ok("CREATE VIEW w AS SELECT direct(a) FROM t")
    assert c.fails("SELECT * FROM w")[1] == "unsafe use of direct()"


def test_facts_tell_whether_a_statement_may_call(c):
    assert not c.prepare("SELECT 1")[1].facts.may_call
    c.function("f", 0, lambda: 1)
    assert c.prepare("SELECT f()")[1].facts.may_call

    c.ok("CREATE TABLE t(a, b TEXT)")
    c.ok("INSERT INTO t VALUES (1, 'x')")
    c.function("twice", 1, lambda x: x * 2, flags=nc.UTF8 | nc.DETERMINISTIC | nc.INNOCUOUS)
    c.function("total2", 1, Sum, kind=nc.AGGREGATE)

    def calls(sql):
        return c.prepare(sql)[1].facts.may_call

    for sql in ("SELECT * FROM t", "SELECT abs(a), max(a) FROM t WHERE b LIKE 'x%'", "EXPLAIN SELECT twice(1)",
                "WITH x(y) AS (SELECT a FROM t) SELECT y FROM x ORDER BY y", "VALUES (1)",
                "SELECT twic FROM (SELECT 1 AS twic)"):
        assert not calls(sql), sql
    c.ok("CREATE TABLE g(a, b AS (twice(a)))")
    c.ok("CREATE TABLE k(a CHECK (twice(a) > 0))")
    c.ok("CREATE TABLE d(a, b DEFAULT (twice(1)))")
    c.ok("CREATE TABLE i(a)")
    c.ok("CREATE INDEX ii ON i(twice(a))")
    c.ok("CREATE TABLE p(a, b)")
    c.ok("CREATE INDEX pp ON p(a) WHERE twice(a) > 1")
    c.ok("CREATE VIEW v AS SELECT TWICE(a) AS x FROM t")
    c.ok("CREATE TABLE log(x)")
    c.ok("CREATE TRIGGER r AFTER INSERT ON log BEGIN UPDATE t SET a = twice(a); END")
    for sql in ("SELECT twice(a) FROM t", "SELECT total2(a) FROM t", "SELECT b FROM g", "SELECT x FROM v",
                "SELECT 1 FROM t WHERE twice(a) > 1", "SELECT 1 FROM t ORDER BY Twice(a)",
                "SELECT (SELECT twice(a))  FROM t", "/* c */ SELECT twice(a) FROM t -- c",
                "INSERT INTO k VALUES (1) RETURNING a", "INSERT INTO d(a) VALUES (1) RETURNING a",
                "INSERT INTO i VALUES (1) RETURNING a", "INSERT INTO p VALUES (1, 2) RETURNING a",
                "INSERT INTO log VALUES (1) RETURNING x", "DELETE FROM i RETURNING a"):
        assert calls(sql), sql
    assert c.ok("INSERT INTO t(a) VALUES (7), (8)") == []
    c.prepare("SELECT a FROM t")
    assert c.one("SELECT changes()") == 2
    assert not calls("SELECT a FROM g") and not calls("SELECT a FROM k") and not calls("SELECT x FROM log")
    c.function("like", 2, lambda pattern, value: 1)
    assert calls("SELECT 1 FROM t WHERE b LIKE 'x%'")
    c.function("regexp", 2, lambda pattern, value: 1)
    assert calls("SELECT 1 FROM t WHERE b REGEXP 'x'")


def test_facts_tell_whether_a_statement_may_compare_in_the_client(c):
    c.ok("CREATE TABLE t(a, b TEXT)")
    c.collation("backwards", lambda a, b: (a < b) - (a > b))

    def calls(sql):
        return c.prepare(sql)[1].facts.may_call

    for sql in ("SELECT * FROM t", "SELECT * FROM t WHERE b = 'x' ORDER BY b COLLATE nocase"):
        assert not calls(sql), sql
    c.ok("CREATE TABLE w(a TEXT COLLATE backwards, b)")
    c.ok("CREATE INDEX wi ON w(b, a)")
    for sql in ("SELECT * FROM t ORDER BY b COLLATE Backwards", "SELECT b = 'x' COLLATE backwards FROM t",
                "SELECT max(a) FROM w", "SELECT DISTINCT a FROM w", "SELECT a FROM w WHERE a > 'x'",
                "SELECT b FROM t GROUP BY b COLLATE backwards", "SELECT a FROM w UNION SELECT b FROM t",
                "SELECT a FROM w WHERE a IN (SELECT b FROM t)", "INSERT INTO w VALUES ('x', 1) RETURNING a"):
        assert calls(sql), sql
    assert not calls("SELECT b FROM t WHERE a = 1")


def test_facts_tell_whether_a_hook_sees_a_statement(c):
    c.ok("CREATE TABLE t(a)")
    for hook, seen in (("commit", "w"), ("rollback", "w"), ("update", "w"), ("preupdate", "w"), ("wal", "w"),
                       ("progress", "rw"), ("trace", "rw"), ("authorizer", ""), ("busy", "")):
        c.hook(**{hook: lambda *_: 0})
        assert c.prepare("SELECT a FROM t")[1].facts.may_call == ("r" in seen), hook
        assert c.prepare("INSERT INTO t VALUES (1) RETURNING a")[1].facts.may_call == ("w" in seen), hook
        assert c.prepare("COMMIT")[1].facts.may_call == ("w" in seen), hook



def test_an_overloaded_function_says_where_it_may_not_be_used(c):
    assert c.ask(nc.OVERLOAD, native.text("later") + b"\0\0\0\1").result == OK
    assert c.fails("SELECT later(1)") == (ERROR, "unable to use function later in the requested context")


# ---- nesting


def test_a_function_asks_its_own_connection(c):
    c.ok("CREATE TABLE t(a)")
    c.function("rows_now", 0, lambda: c.one("SELECT count(*) FROM t"))

    def add(x):
        c.ok("INSERT INTO t VALUES (?)", x)
        return c.one("SELECT count(*) FROM t")

    c.function("add_row", 1, add)
    assert c.ok(f"SELECT add_row(i) FROM {numbers(3)}") == [(1,), (2,), (3,)]
    assert c.one("SELECT rows_now()") == 3


def test_what_a_function_writes_is_there_for_others_when_it_is_answered(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    with server.connect(database=scratch) as other:

        def add():
            c.ok("INSERT INTO t VALUES (1)")
            return int(other.value("SELECT count(*) FROM t"))

        c.function("add_row", 0, add)
        assert c.one("SELECT add_row()") == 1


def test_calls_nest_so_deep_and_no_deeper(c):
    c.function("deep", 1, lambda x: c.one("SELECT deep(?)", x + 1) if x < limit else x)
    limit = 31
    assert c.one("SELECT deep(0)") == 31
    assert c.deepest == 32

    def at_the_end(x):
        if c.depth < 32:
            return c.one("SELECT deeper(?)", x + 1)
        return str(c.fails("SELECT deeper(0)"))

    c.function("deeper", 1, at_the_end)
    assert c.one("SELECT deeper(0)") == str((ERROR, "too many levels of callbacks"))


def test_the_statement_that_runs_cannot_be_touched_by_its_function(c):
    seen = []

    def meddle(x):
        if not seen:
            seen.append(c.step(number).result)
            seen.append(c.reset(number).result)
            c.finalize(number)
            c.columns[number] = 1  # its answer is still to come
        return x

    c.function("meddle", 1, meddle)
    number = c.good(f"SELECT meddle(i) FROM {numbers(3)}")
    answer = c.step(number)
    assert (answer.result, answer.rows, seen) == (DONE, [(1,), (2,), (3,)], [MISUSE, MISUSE])
    assert c.step(number).result == MISUSE


def test_other_statements_are_stepped_and_closed_within_a_function(c):
    other = c.good(f"SELECT i FROM {numbers(100)}")

    def take():
        answer = c.more(other, rows=1)
        return answer.rows[0][0]

    c.function("take_one", 0, take)
    assert c.step(other, rows=1).rows == [(1,)]
    assert c.ok(f"SELECT take_one() FROM {numbers(3)}") == [(2,), (3,), (4,)]

    def close():
        c.finalize(other)
        return 1

    c.function("close_it", 0, close)
    assert c.one("SELECT close_it()") == 1
    assert c.more(other).result == MISUSE


def test_requests_within_a_call_wait_for_the_write_slot(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    c.busy_timeout(60000)
    with server.connect(database=scratch) as other, server.connect() as watcher:
        other.ok("BEGIN")
        other.ok("INSERT INTO t VALUES (1)")

        def is_waiting():
            return dict(row[:2] for row in watcher.ok("SHOW metrics"))["sqld_queries_waiting"] == "1"

        def let_go():
            poll(is_waiting, "the write waits")
            other.ok("COMMIT")

        waiter = threading.Thread(target=let_go)

        def write():
            waiter.start()
            c.ok("INSERT INTO t VALUES (2)")
            return c.one("SELECT count(*) FROM t")

        c.function("write", 0, write)
        assert c.one("SELECT write()") == 2
        waiter.join()


def test_a_request_within_a_call_that_makes_no_sense_ends_the_session(c):
    def nonsense():
        c.send(native.request(native.STEP, b"\0"))
        raise Hang

    c.function("nonsense", 0, nonsense)
    with pytest.raises(Hang):
        c.one("SELECT nonsense()")
    assert c.ended()["C"] == "08P01"


@pytest.mark.parametrize("answer", [b"", b"\2", b"\0\xee\0\0", b"\0\0\0\1", b"\1\0\0\0\1\xff\xff\xff\xff\0\0more"])
def test_an_answer_that_makes_no_sense_ends_the_session(c, server, scratch, answer):
    c.ok("CREATE TABLE t(a)")
    c.function("f", 0, lambda: Raw(answer))
    c.send(native.prepare_step(900, "INSERT INTO t VALUES (f())"))
    with pytest.raises(AssertionError):
        c.recv()
    assert server_is_free(server, scratch) == 0


def test_an_answer_to_no_call_ends_the_session(c):
    c.send(nc.msg("r", b"\0\0\0\0"))
    assert c.ended()["C"] == "08P01"


def test_calls_do_not_come_within_postgresql_messages(c):
    c.function("f", 0, lambda: 1)
    error = c.wire.fails("SELECT f()")
    assert error["M"] == "functions of the client can be called within its requests only"
    assert c.called(nc.CALL_FUNCTION) == []
    assert c.one("SELECT f()") == 1


def test_postgresql_messages_of_a_native_session_bind_and_copy(c):
    c.ok("CREATE TABLE t(a, b)")
    assert not errors(c.wire.ask(extended("INSERT INTO t VALUES ($1, $2)", ("1", "x"))))
    assert not errors(c.wire.ask(extended("INSERT INTO t VALUES ($1, $2)", ("2", "y"))))
    c.wire.send(query("COPY t FROM STDIN"), copy_data(b"3\tz\n4\tw\n"), copy_done())
    assert not errors(c.wire.until_ready())
    assert c.ok("SELECT a, b FROM t ORDER BY 1") == [("1", "x"), ("2", "y"), ("3", "z"), ("4", "w")]
    c.wire.send(query("COPY t FROM STDIN"))
    c.send(native.prepare(1, "SELECT 1"))  # not now
    assert "08P01" in errors(c.wire.drain())


@pytest.mark.parametrize("operation", [0, 9, 98, 100, -1, 1 << 30, -(1 << 31)])
def test_a_counter_that_there_is_not_is_misuse(c, operation):
    number = c.good("SELECT 1")
    assert c.ask(native.STMT_STATUS, struct.pack("!IiB", number, operation, 0)).result == MISUSE


def test_a_native_session_keeps_its_connection(c):
    c.function("f", 0, lambda: 1)
    assert c.wire.fails("DISCARD ALL")["C"] == "0A000"
    assert c.wire.fails("DISCARD TEMP")["C"] == "0A000"
    assert c.one("SELECT f()") == 1


# ---- collations


def backwards(a, b):
    return (a < b) - (a > b)


def test_a_collation_orders_and_serves_an_index(c):
    c.collation("back", backwards)
    c.ok("CREATE TABLE t(a COLLATE back UNIQUE)")
    c.ok("INSERT INTO t VALUES ('a'), ('c'), ('b')")
    assert c.ok("SELECT a FROM t ORDER BY a") == [("c",), ("b",), ("a",)]
    assert c.ok("SELECT a FROM t WHERE a > 'b'") == [("a",)]
    assert c.called(nc.CALL_COLLATION)


def test_a_collation_is_replaced_deleted_and_kept_while_it_is_used(c):
    c.collation("mine", backwards)
    number = c.good("SELECT column1 FROM (VALUES ('a'), ('b')) ORDER BY 1 COLLATE mine")
    assert c.step(number, rows=1).rows == [("b",)]
    answer = c.create_collation("mine", lambda a, b: -backwards(a, b))
    assert (answer.result, answer.error) == (BUSY, "unable to delete/modify collation sequence due to active statements")
    c.reset(number)
    c.collation("mine", lambda a, b: -backwards(a, b))
    assert c.step(number, rows=1).rows == [("a",)]
    c.reset(number)
    assert c.create_collation("mine", None).result == OK
    assert c.fails("SELECT 'a' = 'b' COLLATE mine")[1] == "no such collation sequence: mine"


def test_a_collation_is_made_when_it_is_needed(c):
    c.hook(collation_needed=lambda name: c.collation(name, backwards))
    assert c.ok("SELECT column1 FROM (VALUES ('a'), ('b')) ORDER BY 1 COLLATE fresh") == [("b",), ("a",)]
    assert c.called(nc.CALL_COLLATION_NEEDED) == [("fresh",)]


# ---- hooks


def test_an_authorizer_allows_denies_ignores_and_malfunctions(c):
    c.ok("CREATE TABLE t(a, b)")
    c.ok("INSERT INTO t VALUES (1, 2)")
    verdict = [OK]
    c.hook(authorizer=lambda action, a, b, schema, inner: verdict[0] if (action, b) == (20, "b") else OK)
    assert c.ok("SELECT a, b FROM t") == [(1, 2)]
    assert (20, "t", "b", "main", None) in c.called(nc.CALL_AUTHORIZER)
    verdict[0] = 1
    assert c.fails("SELECT a, b FROM t") == (23, "access to t.b is prohibited")
    verdict[0] = 2
    assert c.ok("SELECT a, b FROM t") == [(1, None)]
    verdict[0] = 3
    assert c.fails("SELECT a, b FROM t") == (ERROR, "authorizer malfunction")
    c.hook()
    assert c.ok("SELECT a, b FROM t") == [(1, 2)]


def test_an_authorizer_cannot_allow_what_the_server_forbids(c):
    c.hook(authorizer=lambda *_: OK)
    assert c.fails("SELECT load_extension('x')")[0] in (ERROR, 23)


def test_a_new_authorizer_is_asked_about_statements_compiled_before(c):
    number = c.good("SELECT 1 FROM sqlite_schema")
    c.hook(authorizer=lambda action, *_: 1 if action == 20 else OK)
    assert c.step(number).result == 23


def test_an_authorizer_may_ask_before_it_answers(c):
    asked = []

    def ask(action, *_):
        if not asked:
            asked.append(None)
            asked.append(c.one("SELECT 5"))
        return OK

    c.hook(authorizer=ask)
    assert c.one("SELECT 6") == 6 and asked[1] == 5


def test_a_progress_handler_is_called_and_stops(c):
    c.hook(progress=lambda: 0, progress_ops=100)
    assert c.one(f"SELECT count(*) FROM {numbers(1000)}") == 1000
    assert len(c.called(nc.CALL_PROGRESS)) > 10
    c.hook(progress=lambda: 1, progress_ops=100)
    assert c.fails(f"SELECT count(*) FROM {numbers(1000)}") == (INTERRUPT, "interrupted")
    c.hook()
    assert c.one(f"SELECT count(*) FROM {numbers(1000)}") == 1000


def test_a_busy_handler_is_asked_until_it_gives_up(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    with server.connect(database=scratch) as other:
        other.ok("BEGIN")
        other.ok("INSERT INTO t VALUES (1)")
        c.hook(busy=lambda count: count < 3)
        assert c.fails("INSERT INTO t VALUES (2)") == (BUSY, "database is locked")
        assert c.called(nc.CALL_BUSY) == [(0,), (1,), (2,), (3,)]
        c.hook(busy=lambda count: other.ok("COMMIT") or 1)
        c.ok("INSERT INTO t VALUES (2)")
    assert c.one("SELECT count(*) FROM t") == 2


def test_a_commit_hook_lets_pass_or_rolls_back(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    c.hook(commit=lambda: 0)
    c.ok("INSERT INTO t VALUES (1)")
    assert len(c.called(nc.CALL_COMMIT)) == 1
    c.hook(commit=lambda: 1, rollback=lambda: 0)
    assert c.fails("INSERT INTO t VALUES (2)") == (531, "constraint failed")
    assert len(c.called(nc.CALL_ROLLBACK)) == 1
    c.ok("BEGIN")
    c.ok("INSERT INTO t VALUES (3)")
    assert c.fails("COMMIT")[0] == 531
    assert c.run("SELECT 1").autocommit
    c.hook()
    assert c.ok("SELECT a FROM t") == [(1,)]
    assert server_is_free(server, scratch) == 1


def test_a_commit_hook_may_read(c):
    c.ok("CREATE TABLE t(a)")
    seen = []
    c.hook(commit=lambda: seen.append(c.one("SELECT count(*) FROM t")))
    c.ok("INSERT INTO t VALUES (1)")
    assert seen == [1]


def test_a_rollback_hook_hears_of_rollbacks(c):
    c.ok("CREATE TABLE t(a)")
    c.hook(rollback=lambda: 0)
    c.ok("BEGIN")
    c.ok("INSERT INTO t VALUES (1)")
    c.ok("ROLLBACK")
    assert len(c.called(nc.CALL_ROLLBACK)) == 1


def test_an_update_hook_hears_of_each_row(c):
    c.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    c.hook(update=lambda *_: 0)
    c.ok("INSERT INTO t VALUES (7, 1), (8, 2)")
    c.ok("UPDATE t SET b = 3 WHERE a = 7")
    c.ok("DELETE FROM t WHERE a = 8")
    assert c.called(nc.CALL_UPDATE) == [
        (18, "main", "t", 7), (18, "main", "t", 8), (23, "main", "t", 7), (9, "main", "t", 8),
    ]  # fmt: skip


def test_a_preupdate_hook_gets_old_and_new_values(c):
    c.ok("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    c.hook(preupdate=lambda *_: 0)
    c.ok("INSERT INTO t VALUES (7, 'x')")
    c.ok("UPDATE t SET a = 9, b = NULL")
    c.ok("DELETE FROM t WHERE b IS NULL")
    assert c.called(nc.CALL_PREUPDATE) == [
        (18, "main", "t", 7, 7, 0, -1, None, [7, "x"]),
        (23, "main", "t", 7, 9, 0, -1, [7, "x"], [9, None]),
        (9, "main", "t", 9, 9, 0, -1, [9, None], None),
    ]


def test_a_wal_hook_hears_of_commits(c):
    c.hook(wal=lambda *_: 0)
    c.ok("CREATE TABLE t(a)")
    ((database, pages),) = c.called(nc.CALL_WAL)
    assert database == "main" and pages > 0
    c.hook(wal=lambda *_: ERROR)
    assert c.fails("INSERT INTO t VALUES (1)")[0] == ERROR
    c.hook()
    assert c.one("SELECT count(*) FROM t") == 1  # it was committed all the same


def test_traces_of_statements_rows_and_times(c):
    c.ok("CREATE TABLE t(a)")
    c.ok("CREATE TABLE log(a)")
    c.ok("CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END")
    c.hook_trace(1 | 2 | 4)
    number = c.good("SELECT ? UNION ALL SELECT 2")
    assert c.step(number, 1).result == DONE
    events = [(event, statement, sql) for event, statement, ns, sql in c.called(nc.CALL_TRACE)]
    assert events == [
        (1, number, "SELECT ? UNION ALL SELECT 2"), (4, number, None), (4, number, None), (2, number, None),
    ]  # fmt: skip
    c.calls.clear()
    c.ok("INSERT INTO t VALUES (1)")
    texts = [sql for event, _, _, sql in c.called(nc.CALL_TRACE) if event == 1]
    assert texts[0] == "INSERT INTO t VALUES (1)" and texts[1].startswith("-- ")
    assert all(ns >= 0 for event, _, ns, _ in c.called(nc.CALL_TRACE) if event == 2)


def test_hooks_that_are_taken_away_are_not_called(c):
    c.ok("CREATE TABLE t(a)")
    c.hook(update=lambda *_: 0, commit=lambda: 0, rollback=lambda: 0, preupdate=lambda *_: 0, wal=lambda *_: 0)
    c.hook()
    c.ok("INSERT INTO t VALUES (1)")
    assert c.calls == []


# ---- clients that go, or do not come back


def server_is_free(server, database):
    """Another connection writes at once; how many rows `t` had before."""
    with server.connect(database=database) as other:
        other.ok("SET lock_timeout = '10s'")
        count = int(other.value("SELECT count(*) FROM t"))
        other.ok("INSERT INTO t VALUES (1000)")
        other.ok("DELETE FROM t WHERE a = 1000")
        return count


def hang(*_):
    raise Hang


HANGING = {
    "function": (lambda c: c.function("f", 1, hang), "INSERT INTO t SELECT f(i) FROM (SELECT 1 AS i UNION SELECT 2)"),
    "aggregate": (
        lambda c: c.function("f", 1, type("A", (Sum,), {"final": hang}), kind=nc.AGGREGATE),
        "INSERT INTO t SELECT f(1)",
    ),
    "collation": (lambda c: c.collation("f", hang), "INSERT INTO t VALUES ('a' < 'b' COLLATE f)"),
    "progress": (
        lambda c: c.hook(progress=hang, progress_ops=10),
        f"INSERT INTO t SELECT count(*) FROM {numbers(100)}",
    ),
    "commit": (lambda c: c.hook(commit=hang), "INSERT INTO t VALUES (1)"),
    "update": (lambda c: c.hook(update=hang), "INSERT INTO t VALUES (1)"),
    "preupdate": (lambda c: c.hook(preupdate=hang), "INSERT INTO t VALUES (1)"),
    "trace": (lambda c: c.hook_trace(1, hang), "INSERT INTO t VALUES (1)"),
    "authorizer": (lambda c: c.hook(authorizer=hang), "INSERT INTO t VALUES (1)"),
}


@pytest.mark.parametrize("kind", HANGING)
@pytest.mark.parametrize("begin", [False, True], ids=["autocommit", "transaction"])
def test_a_client_that_dies_within_a_call_leaves_nothing_behind(server, scratch, kind, begin):
    prepare, sql = HANGING[kind]
    with Calling(server, scratch) as c:
        c.ok("CREATE TABLE t(a)")
        if begin:
            c.ok("BEGIN IMMEDIATE")
            c.ok("INSERT INTO t VALUES (5)")
        prepare(c)
        with pytest.raises(Hang):
            c.run("COMMIT" if begin and kind == "commit" else sql)
        c.close()
        assert server_is_free(server, scratch) == 0


@pytest.mark.parametrize("kind", HANGING)
def test_statement_timeout_ends_a_client_that_does_not_come_back(server, scratch, kind):
    prepare, sql = HANGING[kind]
    with Calling(server, scratch) as c:
        c.ok("CREATE TABLE t(a)")
        c.wire.ok("SET statement_timeout = '200ms'")
        prepare(c)
        with pytest.raises(Hang):
            c.run(sql)
        error = c.ended()
        assert (error["S"], error["C"]) == ("FATAL", "57014")
        assert server_is_free(server, scratch) == 0


def test_a_client_that_hangs_gives_way_to_a_writer_that_waits(server, scratch):
    with Calling(server, scratch) as c:
        c.ok("CREATE TABLE t(a)")
        c.wire.ok("SET idle_in_transaction_session_timeout = '100ms'")
        c.function("f", 0, hang)
        with pytest.raises(Hang):
            c.run("INSERT INTO t VALUES (f())")
        assert server_is_free(server, scratch) == 0
        assert c.ended()["C"] == "25P03"


def test_a_client_that_nobody_waits_for_may_take_its_time(server, scratch):
    with Calling(server, scratch) as c:
        c.ok("CREATE TABLE t(a)")
        c.wire.ok("SET idle_in_transaction_session_timeout = '1ms'")

        def think():
            with server.connect() as other:  # some round trips of another database
                for i in range(20):
                    other.ok(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT {i} FROM n")
            return 1

        c.function("f", 0, think)
        c.ok("INSERT INTO t VALUES (f())")
        assert server_is_free(server, scratch) == 1


def test_a_cancel_request_waits_for_the_client_to_come_back(c):
    c.ok("CREATE TABLE t(a)")

    def cancel(x):
        c.wire.cancel()
        return x

    c.function("f", 1, cancel)
    assert c.fails(f"INSERT INTO t SELECT f(i) + (SELECT count(*) FROM {numbers(100000)}) FROM {numbers(3)}") == (
        INTERRUPT, "interrupted",
    )  # fmt: skip
    assert c.one("SELECT count(*) FROM t") == 0


def test_a_cancel_request_ends_a_client_that_does_not(c, server, scratch):
    c.ok("CREATE TABLE t(a)")
    c.function("f", 0, hang)
    with pytest.raises(Hang):
        c.run("INSERT INTO t VALUES (f())")
    c.wire.cancel()
    assert c.ended()["C"] == "57014"
    assert server_is_free(server, scratch) == 0


def test_a_server_that_stops_does_not_wait_for_callbacks(start):
    server = start()
    with Calling(server) as c:
        c.function("f", 0, hang)
        with pytest.raises(Hang):
            c.run("SELECT f()")
        server.stop()
        assert c.ended()["C"] == "57P01"


def test_clients_in_calls_do_not_keep_others_waiting(start):
    server = start("--workers", "1")
    clients = [Calling(server) for _ in range(40)]
    try:
        for c in clients:
            c.function("f", 0, hang)
            with pytest.raises(Hang):
                c.run("SELECT f()")
        with server.connect() as other:
            other.ok("CREATE TABLE t(a)")
            for i in range(50):
                other.ok(f"INSERT INTO t VALUES ({i})")
            assert other.value("SELECT count(*) FROM t") == "50"
        # And they are all still there.
        for i, c in enumerate(clients):
            c.send(nc.msg("r", b"\0" + native.value(i) + b"\0\0"))
            c.columns[c.number] = 1
            assert c.read_step(c.number).rows == [(i,)]
    finally:
        for c in clients:
            c.close()


def test_a_read_that_is_called_out_of_rests_on_what_is_on_disk(c, server, scratch):
    """A function sees rows of another's commit only when that is durable; here: it sees them at all, and is answered."""
    c.ok("CREATE TABLE t(a)")
    c.function("f", 1, lambda x: x)
    with server.connect(database=scratch) as other:
        for i in range(20):
            other.ok(f"INSERT INTO t VALUES ({i})")
            assert c.ok("SELECT f(a) FROM t WHERE a = ?", i) == [(i,)]
