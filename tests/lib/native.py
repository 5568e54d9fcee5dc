"""A client of native mode (docs/protocol.md), for tests: requests as bytes, answers as Python values.

It knows the messages and keeps no state but the numbers it gives away: what SQLite is asked, and what is made of the
answer, is the test's business.
"""

import struct
from dataclasses import dataclass, field

from wire import Wire, msg

NULL_LENGTH = 0xFFFFFFFF
KEPT = 0xFFFFFFFF

# Operations.
PREPARE, STEP, PREPARE_STEP, RESET, FINALIZE, EXPAND, STMT_STATUS, RESET_ASYNC = range(1, 9)
COLUMN_METADATA, TXN_STATE, SET_ROWID, LIMIT, DB_CONFIG, DB_STATUS, CHECKPOINT, BUSY_TIMEOUT = range(0x10, 0x18)
DATABASES, ATTACH, RELEASE_MEMORY, DATA_VERSION, INTERRUPT_CLEAR, OUTCOME = range(0x18, 0x1E)

# Result codes (sqlite.org/rescode.html).
OK, ERROR, ABORT, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT = 0, 1, 4, 5, 6, 7, 8, 9
CANTOPEN, TOOBIG, CONSTRAINT, MISUSE, AUTH, RANGE, ROW, DONE = 14, 18, 19, 21, 23, 25, 100, 101
BUSY_SNAPSHOT, CONSTRAINT_UNIQUE, CONSTRAINT_PRIMARYKEY = 517, 2067, 1555

ANEW = 1
MANY_ROWS, MANY_BYTES = 1000, 1 << 20


class Zeroblob(int):
    """A parameter of so many zero bytes."""


class Pointer(int):
    """A parameter that is a pointer of the client's."""


def text(value):
    if value is None:
        return struct.pack("!I", NULL_LENGTH)
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!I", len(raw)) + raw


def value(v):
    if v is None:
        return b"\x00"
    if isinstance(v, Zeroblob):
        return b"\x50" + struct.pack("!Q", v)
    if isinstance(v, Pointer):
        return b"\x60" + struct.pack("!Q", v)
    if isinstance(v, int):
        return b"\x18" + struct.pack("!q", v)
    if isinstance(v, float):
        return b"\x20" + struct.pack("!d", v)
    if isinstance(v, str):
        return b"\x30" + text(v)
    return b"\x40" + text(bytes(v))


def parameters(values):
    if values is None:
        return struct.pack("!I", KEPT)
    return struct.pack("!I", len(values)) + b"".join(value(v) for v in values)


def request(op, body=b""):
    return msg("y", bytes([op]) + body)


def prepare(number, sql, flags=0):
    return request(PREPARE, struct.pack("!II", number, flags) + text(sql))


def step_body(values, flags, rows, size):
    return struct.pack("!BII", flags, rows, size) + parameters(values)


def step(number, values=(), flags=ANEW, rows=MANY_ROWS, size=MANY_BYTES):
    return request(STEP, struct.pack("!I", number) + step_body(values if flags & ANEW else None, flags, rows, size))


def prepare_step(number, sql, values=(), rows=MANY_ROWS, size=MANY_BYTES):
    return request(
        PREPARE_STEP, struct.pack("!II", number, 0) + text(sql) + step_body(values, ANEW, rows, size)
    )


class Reader:
    """The bytes of a message, which must be used up."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, layout):
        got = struct.unpack_from("!" + layout, self.raw, self.at)
        self.at += struct.calcsize("!" + layout)
        return got if len(got) > 1 else got[0]

    def bytes(self):
        length = self.take("I")
        if length == NULL_LENGTH:
            return None
        self.at += length
        assert self.at <= len(self.raw)
        return self.raw[self.at - length : self.at]

    def text(self):
        raw = self.bytes()
        return None if raw is None else raw.decode()

    def value(self):
        tag = self.take("B")
        if tag == 0x00:
            return None
        if tag in (0x11, 0x12, 0x14, 0x18):
            return self.take({1: "b", 2: "h", 4: "i", 8: "q"}[tag & 0xF])
        if tag == 0x20:
            return self.take("d")
        assert tag in (0x30, 0x40), hex(tag)
        return self.text() if tag == 0x30 else self.bytes()

    def is_done(self):
        return self.at == len(self.raw)


@dataclass
class Facts:
    consumed: int
    has_statement: bool
    readonly: bool = False
    explain: int = 0
    may_call: bool = False
    is_attach: bool = False
    is_volatile: bool = False
    columns: list = field(default_factory=list)  # (name, declared type, database, table, origin)
    parameters: list = field(default_factory=list)

    @staticmethod
    def read(reader):
        facts = Facts(reader.take("I"), False)
        bits = reader.take("B")
        if not bits & 1:
            return facts
        facts.has_statement, facts.readonly, facts.explain = True, bool(bits & 2), bits >> 2 & 3
        facts.may_call, facts.is_attach, facts.is_volatile = bool(bits & 16), bool(bits & 32), bool(bits & 64)
        facts.columns = [tuple(reader.text() for _ in range(5)) for _ in range(reader.take("H"))]
        facts.parameters = [reader.text() for _ in range(reader.take("I"))]
        return facts

    @property
    def names(self):
        return [c[0] for c in self.columns]


@dataclass
class Answer:
    result: int
    autocommit: bool
    txn_state: int
    changes: int
    total_changes: int
    rowid: int
    generation: int
    error: str = None
    offset: int = -1
    facts: Facts = None
    rest: Reader = None
    rows: list = field(default_factory=list)

    @staticmethod
    def read(message):
        assert message.kind == "y", message
        reader = Reader(message.body)
        result, bits, txn_state = reader.take("iBB")
        answer = Answer(result, bool(bits & 1), txn_state, *reader.take("qqqQ"), rest=reader)
        assert bool(bits & 2) == (result not in (OK, ROW, DONE)), (result, bits)
        if bits & 2:
            answer.offset, answer.error = reader.take("i"), reader.text()
        if bits & 4:
            answer.facts = Facts.read(reader)
        return answer


class Native:
    """One connection in native mode."""

    def __init__(self, server, database="main", options="", **kw):
        self.server = server
        self.wire = Wire(server.port, database=database, **{"_pq_.sqld": f"1 {options}".strip()}, **kw)
        self.columns = {}  # of the statements, by number
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def close(self):
        self.wire.close()

    def bye(self):
        """Ends the session, and waits for its end: what it used is free then."""
        self.wire.bye()

    @property
    def database(self):
        return self.wire.parameters["sqld.database"]

    def send(self, *parts):
        self.wire.send(*parts)

    def recv(self, timeout=None):
        return Answer.read(self.wire.recv(timeout))

    # ---- requests with what follows their heads
    def ask(self, op, body=b"", layout=None):
        """The answer, and what of `layout` follows a good one."""
        self.send(request(op, body))
        answer = self.recv()
        got = answer.rest.take(layout) if layout and answer.result == OK else None
        assert answer.rest.is_done(), answer
        return (answer, got) if layout else answer

    def prepare(self, sql, flags=0):
        """The statement's number, and the answer."""
        self.number += 1
        self.send(prepare(self.number, sql, flags))
        answer = self.recv()
        assert answer.rest.is_done()
        assert (answer.facts is not None) == (answer.result == OK)
        if answer.facts:
            self.columns[self.number] = len(answer.facts.columns)
        return self.number, answer

    def good(self, sql):
        """The number of a statement that can be prepared."""
        number, answer = self.prepare(sql)
        assert answer.result == OK, answer
        return number

    def read_step(self, number, timeout=None):
        answer = self.recv(timeout)
        if answer.facts and answer.facts.has_statement:
            self.columns[number] = len(answer.facts.columns)
        count = answer.rest.take("I")
        width = self.columns.get(number, 0)
        answer.rows = [tuple(answer.rest.value() for _ in range(width)) for _ in range(count)]
        assert answer.rest.is_done()
        return answer

    def step(self, number, *values, timeout=None, **kw):
        """Begins anew with these parameters."""
        self.send(step(number, values, **kw))
        return self.read_step(number, timeout)

    def more(self, number, **kw):
        """Goes on."""
        self.send(step(number, None, flags=0, **kw))
        return self.read_step(number)

    def run(self, sql, *values, timeout=None, **kw):
        """Prepares and steps in one request."""
        self.number += 1
        self.send(prepare_step(self.number, sql, values, **kw))
        return self.read_step(self.number, timeout)

    def ok(self, sql, *values):
        """All rows of a statement that must succeed."""
        number, answer = self.number + 1, self.run(sql, *values, rows=1 << 30)
        rows = answer.rows
        while answer.result == ROW:
            answer = self.more(number)
            rows += answer.rows
        assert answer.result == DONE, (sql, answer.result, answer.error)
        self.finalize(number)
        return rows

    def one(self, sql, *values):
        ((got,),) = self.ok(sql, *values)
        return got

    def fails(self, sql, *values):
        """(code, message) of a statement that must fail."""
        answer = self.run(sql, *values)
        assert answer.result not in (OK, ROW, DONE), (sql, answer)
        self.finalize(self.number)
        return answer.result, answer.error

    def reset(self, number):
        return self.ask(RESET, struct.pack("!I", number))

    def finalize(self, number):
        self.send(request(FINALIZE, struct.pack("!I", number)))
        self.columns.pop(number, None)

    def expand(self, number, values=None):
        self.send(request(EXPAND, struct.pack("!I", number) + parameters(values)))
        answer = self.recv()
        got = answer.rest.text() if answer.result == OK else None
        assert answer.rest.is_done()
        return answer, got

    def busy_timeout(self, ms):
        assert self.ask(BUSY_TIMEOUT, struct.pack("!i", ms)).result == OK

    def attach(self, database, schema, flags=0):
        return self.ask(ATTACH, text(database) + text(schema) + bytes([flags]))

    def databases(self):
        self.send(request(DATABASES))
        reader = self.recv().rest
        got = [(reader.text(), reader.text(), reader.take("B")) for _ in range(reader.take("I"))]
        assert reader.is_done()
        return got

    def ended(self):
        """The fields of the error with which the server has ended the connection."""
        last = [m for m in self.wire.drain() if m.kind == "E"]
        assert len(last) == 1, last
        return last[0].fields()


