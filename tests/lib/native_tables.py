"""A client of native mode whose virtual tables are called by the server (docs/protocol.md, "Virtual tables").

A module is a Python class: `Module(tables, args)` makes a table, whose methods are called by the names below. Each may raise
native_calls.Failure, or Hang. `Tables.log` has the names of all methods called, with what they were told.
"""

import struct

import native
import native_calls as nc
from native import Reader, text
from native_calls import Calling, Failure, Hang

MODULE, DROP_MODULES, DECLARE_VTAB, VTAB_CONFIG, DISCONNECT, CLOSE = 0x24, 0x25, 0x26, 0x27, 0x28, 0x09
CALL_METHOD, CALL_TABLE_FREE, CALL_CURSOR_FREE, CALL_TABLE_ROLLBACK = range(15, 19)
METHODS = (
    None, "create", "connect", "disconnect", "destroy", "best_index", "open", "close", "filter", "next", "column",
    "update", "begin", "sync", "commit", "rollback", "find_function", "rename", "savepoint", "release", "rollback_to",
    "shadow_name",
)  # fmt: skip
OPTIONAL = (
    "create", None, "destroy", "update", "begin", "sync", "commit", "rollback", "find_function", "rename", "savepoint",
    "release", "rollback_to", "shadow_name",
)  # fmt: skip
CREATE_IS_CONNECT, ALL = 2, (1 << 14) - 1
ROWID = -1
UNCHANGED = object()


class Bound:
    """An argument that was a parameter."""

    def __init__(self, plain):
        self.plain = plain

    def __eq__(self, other):
        return isinstance(other, Bound) and self.plain == other.plain

    def __repr__(self):
        return f"Bound({self.plain!r})"


def read_argument(reader):
    tag = reader.raw[reader.at]
    if tag == 0x90:
        reader.take("B")
        return Bound(read_argument(reader))
    if tag == 0x70:
        reader.take("B")
        return UNCHANGED
    if tag == 0xA0:
        count, length = reader.take("xII")
        part = Reader(reader.raw[reader.at : reader.at + length])
        reader.at += length
        values = [nc.read_value(part) for _ in range(count)]
        assert part.is_done()
        return values
    return nc.read_value(reader)


class Plan:
    """What xBestIndex is told, and what it chooses."""

    def __init__(self, reader):
        self.columns_used, self.distinct, self.wants_text, self.cost, self.rows = reader.take("QBBdq")
        self.constraints = [self.read_constraint(reader) for _ in range(reader.take("I"))]
        self.orders = [reader.take("iB") for _ in range(reader.take("I"))]
        self.usage = {}  # index of the constraint: (argument, bits)
        self.number, self.index, self.text, self.is_ordered, self.flags = 0, None, None, 0, 0

    @staticmethod
    def read_constraint(reader):
        column, op, bits, offset = reader.take("iBBi")
        collation = reader.text()
        value = read_argument(reader) if bits & 4 else None
        return column, op, bits, collation, value

    def answer(self):
        out = b"".join(struct.pack("!iB", *self.usage.get(i, (0, 0))) for i in range(len(self.constraints)))
        return out + self.index_bytes() + text(self.text if self.wants_text else None) + struct.pack(
            "!Bdqi", self.is_ordered, self.cost, self.rows, self.flags
        )

    def index_bytes(self):
        if self.index is None:
            return struct.pack("!iB", self.number, 0)
        if isinstance(self.index, int):
            return struct.pack("!iBQ", self.number, 2, self.index)
        return struct.pack("!iB", self.number, 1) + text(self.index)


class Table:
    """Rows in memory: {rowid: [values]}. Subclasses do otherwise."""

    sql = "CREATE TABLE x(a, b)"

    def __init__(self, tables, args):
        self.tables, self.args = tables, args
        self.data = tables.data

    def declare(self):
        answer = self.tables.ask(DECLARE_VTAB, text(self.sql))
        if answer.result != native.OK:
            raise Failure(answer.result, answer.error)

    def best_index(self, plan):
        pass

    def rows(self, index, values):
        return sorted(self.data.items())

    def update(self, conflict, old, new, values):
        if values is None:
            del self.data[old]
            return 0
        if new is None:
            new = max(self.data, default=0) + 1
        if old is None and new in self.data and conflict != 5:
            raise Failure(native.CONSTRAINT, "taken")
        before = self.data.pop(old, [None] * len(values))
        self.data[new] = [b if v is UNCHANGED else v for b, v in zip(before, values)]
        return new

    def column(self, row, column, for_update):
        return row[1][column]


class Tables(Calling):
    def __init__(self, server, *args, **kw):
        self.modules, self.tables, self.cursors = {}, {}, {}
        self.log, self.wishes, self.data = [], [], {}
        self.on = {}  # what is to be done first, by the method's name
        self.raw = {}  # answers' bodies in place of that, likewise
        super().__init__(server, *args, **kw)

    def answer_call(self, reader):
        kind = reader.raw[0]
        if kind == CALL_METHOD:
            reader.take("B")
            return self.answer_method(METHODS[reader.take("B")], reader)
        if kind in (CALL_TABLE_FREE, CALL_CURSOR_FREE, CALL_TABLE_ROLLBACK):
            reader.take("B")
            self.log.append((("free", "cursor free", "rolled back")[kind - CALL_TABLE_FREE], reader.take("Q")))
            return None
        return super().answer_call(reader)

    def answer_method(self, name, reader):
        if name in self.raw:
            return self.raw[name]
        try:
            answer = getattr(self, "do_" + name, self.do_plain)(name, reader)
            assert reader.is_done(), (name, reader.raw)
        except Failure as e:
            reader.at = len(reader.raw)
            tail = b"\0" if name == "column" else b""
            return struct.pack("!i", e.code) + text(e.message) + tail
        except Hang:
            raise
        if name == "column":
            return answer
        result, tail = answer if isinstance(answer, tuple) else (0, answer or b"")
        return struct.pack("!i", result) + text(None) + tail

    def note(self, name, *what):
        self.log.append((name, *what))
        act = self.on.get(name)
        if act is not None:
            act()

    def named(self, name):
        return [entry[1:] for entry in self.log if entry[0] == name]

    # ---- tables
    def do_create(self, name, reader):
        number, module = reader.take("QI")
        args = [reader.text() for _ in range(reader.take("H"))]
        self.note(name, *args)
        table = self.modules[module](self, args)
        table.declare()
        self.tables[number] = table

    do_connect = do_create

    def do_plain(self, name, reader):
        """begin, sync, commit, rollback, savepoint, release, rollback_to, rename, disconnect, destroy"""
        number = reader.take("Q")
        what = ()
        if name in ("savepoint", "release", "rollback_to"):
            what = (reader.take("i"),)
        elif name == "rename":
            what = (reader.text(),)
        self.note(name, self.tables[number].args[2], *what)
        if name in ("disconnect", "destroy"):
            del self.tables[number]

    def do_best_index(self, name, reader):
        table, plan = self.tables[reader.take("Q")], Plan(reader)
        self.note(name, plan)
        table.best_index(plan)
        return plan.answer()

    def do_find_function(self, name, reader):
        table, count = self.tables[reader.take("Q")], reader.take("i")
        function = reader.text()
        self.note(name, function, count)
        number = table.find_function(function, count)
        return (1, struct.pack("!I", number)) if number else (0, b"")

    def do_shadow_name(self, name, reader):
        module = self.modules[reader.take("I")]
        suffix = reader.text()
        self.note(name, suffix)
        return (int(module.is_shadow(suffix)), b"")

    def do_update(self, name, reader):
        table = self.tables[reader.take("Q")]
        conflict, count = reader.take("BH")
        values = [read_argument(reader) for _ in range(count)]
        self.note(name, conflict, *values)
        plain = [v.plain if isinstance(v, Bound) else v for v in values]
        rowid = table.update(conflict, plain[0], *((plain[1], plain[2:]) if count > 1 else (None, None)))
        return struct.pack("!q", rowid)

    # ---- cursors
    def do_open(self, name, reader):
        table, number = reader.take("QQ")
        self.note(name, number)
        self.cursors[number] = [self.tables[table], [], 0]

    def do_close(self, name, reader):
        _, number = reader.take("QQ")
        self.note(name, number)
        del self.cursors[number]

    def do_filter(self, name, reader):
        _, number = reader.take("QQ")
        index_number, kind = reader.take("iB")
        index = None if kind == 0 else reader.bytes() if kind == 1 else reader.take("Q")
        values = [read_argument(reader) for _ in range(reader.take("H"))]
        wishes = self.read_wishes(reader)
        self.note(name, (index_number, index), *values)
        cursor = self.cursors[number]
        cursor[1:] = [cursor[0].rows((index_number, index), values), 0]
        return self.row(cursor, wishes)

    def do_next(self, name, reader):
        _, number = reader.take("QQ")
        wishes = self.read_wishes(reader)
        self.note(name)
        cursor = self.cursors[number]
        cursor[2] += 1
        return self.row(cursor, wishes)

    def read_wishes(self, reader):
        wishes = [reader.take("iB") for _ in range(reader.take("H"))]
        self.wishes.append([column for column, _ in wishes])
        return wishes

    def row(self, cursor, wishes):
        if cursor[2] >= len(cursor[1]):
            return b"\1"
        given = []
        for column, for_update in wishes:
            given.append(self.given(cursor, column, for_update))
            if given[-1][:4] != b"\0\0\0\0" or given[-1][8:9] == b"\2":
                break
        return struct.pack("!BH", 0, len(given)) + b"".join(given)

    def do_column(self, name, reader):
        _, number, column, for_update = reader.take("QQiB")
        self.note(name, column)
        return self.given(self.cursors[number], column, for_update)

    def given(self, cursor, column, for_update):
        row = cursor[1][cursor[2]]
        self.log.append(("given", column))
        try:
            value = row[0] if column == ROWID else cursor[0].column(row, column, for_update)
        except Failure as e:
            return struct.pack("!i", 0) + text(None) + b"\2" + struct.pack("!i", e.code) + text(e.message)
        if value is UNCHANGED:
            return struct.pack("!i", 0) + text(None) + b"\0"
        return struct.pack("!i", 0) + text(None) + b"\1" + nc.value(value)

    # ---- registration
    def create_module(self, name, module, bits=None, version=3):
        number = 0
        if module is not None:
            self.callee += 1
            number = self.callee
            self.modules[number] = module
            if bits is None:
                bits = ALL & ~CREATE_IS_CONNECT & ~(1 << 8) & ~(1 << 13)
        return self.ask(MODULE, text(name) + struct.pack("!IiI", number, version, bits or 0))

    def module(self, name, module=Table, **kw):
        answer = self.create_module(name, module, **kw)
        assert answer.result == native.OK, answer

    def drop_modules(self, *keep):
        return self.ask(DROP_MODULES, struct.pack("!I", len(keep)) + b"".join(text(k) for k in keep))

    def close_statement(self, number):
        return self.ask(CLOSE, struct.pack("!I", number))
