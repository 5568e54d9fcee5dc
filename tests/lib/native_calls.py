"""A client of native mode whose functions, collations and hooks are called by the server (docs/protocol.md, "Calls").

Callbacks are Python functions. They may use the connection while they run: what it is asked then are requests within the
call. `calls` is a list of (kind, what was said) of all calls, in order.
"""

import struct

import native
from native import Answer, Native, Reader, request, text
from wire import msg

FUNCTION, COLLATION, HOOKS, OVERLOAD = 0x20, 0x21, 0x22, 0x23
BLOB_OPEN, BLOB_READ, BLOB_WRITE, BLOB_REOPEN, BLOB_CLOSE = range(0x30, 0x35)
IMAGE_OPEN, IMAGE_READ, IMAGE_CLOSE, IMAGE_PUT, IMAGE_DATA, IMAGE_DONE = range(0x40, 0x46)

# Kinds of calls.
(
    CALL_FUNCTION, CALL_COLLATION, CALL_AUTHORIZER, CALL_PROGRESS, CALL_BUSY, CALL_COMMIT, CALL_ROLLBACK, CALL_UPDATE,
    CALL_PREUPDATE, CALL_WAL, CALL_COLLATION_NEEDED, CALL_TRACE, CALL_AUXDATA_FREE, CALL_AGGREGATE_FREE,
) = range(1, 15)  # fmt: skip

AUTHORIZER, PROGRESS, BUSY, COMMIT, ROLLBACK, UPDATE, PREUPDATE, WAL, COLLATION_NEEDED, TRACE = (
    1 << i for i in range(10)
)
SCALAR, AGGREGATE, WINDOW = 0, 1, 2
PART_SCALAR, PART_STEP, PART_INVERSE, PART_VALUE, PART_FINAL = range(5)

UTF8, DETERMINISTIC, DIRECTONLY, SUBTYPE, INNOCUOUS = 1, 0x800, 0x80000, 0x100000, 0x200000


class Subtyped:
    """A value with a subtype."""

    def __init__(self, plain, subtype):
        self.plain, self.subtype = plain, subtype

    def __eq__(self, other):
        return (self.plain, self.subtype) == (other.plain, other.subtype)

    def __repr__(self):
        return f"Subtyped({self.plain!r}, {self.subtype})"


class Failure(Exception):
    """Raised by a callback: the function fails with this code and message (None: the code's own)."""

    def __init__(self, code=native.ERROR, message=None):
        super().__init__(code, message)
        self.code, self.message = code, message


class Raw(bytes):
    """Returned by a callback: the answer's body as it is."""


class Hang(Exception):
    """Raised by a callback: no answer is sent, and whoever waits gets this exception."""


def value(v):
    if isinstance(v, Subtyped):
        return b"\x80" + struct.pack("!I", v.subtype) + native.value(v.plain)
    return native.value(v)


def read_value(reader):
    """A value with whatever an argument may have; that it was bound is left out."""
    tag = reader.raw[reader.at]
    if tag == 0x90:
        reader.take("B")
        return read_value(reader)
    if tag == 0x80:
        reader.take("B")
        subtype = reader.take("I")
        return Subtyped(read_value(reader), subtype)
    if tag == 0x60:
        reader.take("B")
        return native.Pointer(reader.take("Q"))
    return reader.value()


class Function:
    """What the client keeps of a function: `scalar(args)`, or a class with step, final and, for windows, inverse, value."""

    def __init__(self, target, with_auxiliary=False):
        self.target, self.with_auxiliary = target, with_auxiliary
        self.groups = {}


class Calling(Native):
    def __init__(self, server, *args, **kw):
        self.functions, self.collations, self.hooks = {}, {}, {}
        self.calls = []
        self.depth = self.deepest = 0
        self.callee = 0
        super().__init__(server, *args, **kw)

    # ---- being called
    def recv(self, timeout=None):
        while True:
            message = self.wire.recv(timeout)
            if message.kind != "r":
                return Answer.read(message)
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)
            answer = self.answer_call(Reader(message.body))
            self.depth -= 1
            if answer is not None:
                self.send(msg("r", answer))

    def answer_call(self, reader):
        kind = reader.take("B")
        said = getattr(self, f"read_{kind}", self.read_nothing)(reader)
        assert reader.is_done(), (kind, reader.raw)
        self.calls.append((kind, said))
        if kind == CALL_FUNCTION:
            return self.call_function(*said)
        if kind in (CALL_AUXDATA_FREE, CALL_AGGREGATE_FREE):
            return None
        target = self.collations[said[0]] if kind == CALL_COLLATION else self.hooks[kind]
        answer = target(*(said[1:] if kind == CALL_COLLATION else said))
        return answer if isinstance(answer, Raw) else struct.pack("!i", int(answer or 0))

    def call_function(self, number, part, group, args, auxiliary):
        function = self.functions[number]
        try:
            got = self.run_part(function, part, group, args, auxiliary)
        except Failure as e:
            return b"\x01" + struct.pack("!i", e.code) + text(e.message) + struct.pack("!H", 0)
        if isinstance(got, Raw):
            return got
        set_now = {}
        if function.with_auxiliary:
            got, set_now = got
        tail = struct.pack("!H", len(set_now)) + b"".join(struct.pack("!HQ", a, n) for a, n in set_now.items())
        return b"\x00" + value(got) + tail

    def run_part(self, function, part, group, args, auxiliary):
        if part == PART_SCALAR:
            return function.target(*args, auxiliary) if function.with_auxiliary else function.target(*args)
        if group not in function.groups or group == 0:
            function.groups[group] = function.target()
        one = function.groups[group]
        if part == PART_FINAL:
            del function.groups[group]
            return one.final()
        return {PART_STEP: one.step, PART_INVERSE: getattr(one, "inverse", None),
                PART_VALUE: getattr(one, "value", None)}[part](*args)  # fmt: skip

    def read_nothing(self, reader):
        return ()

    def read_1(self, reader):
        number, part, group, count = reader.take("IBQH")
        args = [read_value(reader) for _ in range(count)]
        return number, part, group, args, dict(reader.take("HQ") for _ in range(reader.take("H")))

    def read_2(self, reader):
        return reader.take("I"), reader.bytes(), reader.bytes()

    def read_3(self, reader):
        return (reader.take("i"), *(reader.text() for _ in range(4)))

    def read_5(self, reader):
        return (reader.take("i"),)

    def read_8(self, reader):
        return reader.take("i"), reader.text(), reader.text(), reader.take("q")

    def read_9(self, reader):
        head = reader.take("i"), reader.text(), reader.text(), *reader.take("qqii")
        count, has_old, has_new = reader.take("HBB")
        old = [read_value(reader) for _ in range(count)] if has_old else None
        new = [read_value(reader) for _ in range(count)] if has_new else None
        return (*head, old, new)

    def read_10(self, reader):
        return reader.text(), reader.take("i")

    def read_11(self, reader):
        return (reader.text(),)

    def read_12(self, reader):
        return (*reader.take("IIq"), reader.text())

    def read_13(self, reader):
        return (reader.take("Q"),)

    read_14 = read_13

    def called(self, kind):
        return [said for k, said in self.calls if k == kind]

    # ---- making oneself callable
    def create_function(self, name, count, target, kind=SCALAR, flags=UTF8, with_auxiliary=False):
        """The answer; `target` None: deletes it."""
        number = 0
        if target is not None:
            self.callee += 1
            number = self.callee
            self.functions[number] = Function(target, with_auxiliary)
        return self.ask(FUNCTION, text(name) + struct.pack("!iiIB", count, flags, number, kind))

    def function(self, name, count, target, **kw):
        answer = self.create_function(name, count, target, **kw)
        assert answer.result == native.OK, answer

    def create_collation(self, name, target):
        number = 0
        if target is not None:
            self.callee += 1
            number = self.callee
            self.collations[number] = target
        return self.ask(COLLATION, text(name) + struct.pack("!I", number))

    def collation(self, name, target):
        answer = self.create_collation(name, target)
        assert answer.result == native.OK, answer

    def hook(self, progress_ops=100, trace_events=0, **targets):
        """hook(commit=f, update=g): sets these and no others."""
        bits = {"authorizer": 0, "progress": 1, "busy": 2, "commit": 3, "rollback": 4, "update": 5, "preupdate": 6,
                "wal": 7, "collation_needed": 8, "trace": 9}  # fmt: skip
        self.hooks = {bits[name] + 3: target for name, target in targets.items()}
        mask = sum(1 << bits[name] for name in targets)
        answer = self.ask(HOOKS, struct.pack("!IiI", mask, progress_ops, trace_events))
        assert answer.result == native.OK, answer

    def hook_trace(self, events, target=lambda *_: 0):
        self.hook(trace_events=events, trace=target)

    # ---- blobs
    def blob_open(self, number, table, column, rowid, writing=False, database="main"):
        body = struct.pack("!I", number) + text(database) + text(table) + text(column)
        return self.ask(BLOB_OPEN, body + struct.pack("!qB", rowid, writing), "I")

    def blob_read(self, number, offset, count):
        self.send(request(BLOB_READ, struct.pack("!III", number, offset, count)))
        answer = self.recv()
        return (answer, answer.rest.bytes()) if answer.result == native.OK else (answer, None)

    def blob_write(self, number, offset, raw):
        return self.ask(BLOB_WRITE, struct.pack("!II", number, offset) + text(raw))

    def blob_reopen(self, number, rowid):
        return self.ask(BLOB_REOPEN, struct.pack("!Iq", number, rowid), "I")

    def blob_close(self, number):
        return self.ask(BLOB_CLOSE, struct.pack("!I", number))

    # ---- images
    def image_open(self, database="main"):
        return self.ask(IMAGE_OPEN, text(database), "QI")

    def image_read(self, offset, count):
        self.send(request(IMAGE_READ, struct.pack("!QI", offset, count)))
        answer = self.recv()
        return (answer, answer.rest.bytes()) if answer.result == native.OK else (answer, None)

    def image_close(self):
        return self.ask(IMAGE_CLOSE)

    def image(self, database="main", slice_bytes=1 << 16):
        """All of a database's image."""
        answer, (size, _) = self.image_open(database)
        assert answer.result == native.OK, answer
        got = b""
        while len(got) < size:
            answer, part = self.image_read(len(got), slice_bytes)
            assert answer.result == native.OK and part, answer
            got += part
        assert self.image_close().result == native.OK
        return got

    def image_put(self, raw, database="main", mode=0, flags=0, slice_bytes=1 << 16, size=None):
        """The last answer: of what failed first, or of IMAGE_DONE."""
        head = text(database) + struct.pack("!QBI", len(raw) if size is None else size, mode, flags)
        answer = self.ask(IMAGE_PUT, head)
        for at in range(0, len(raw), slice_bytes):
            if answer.result != native.OK:
                return answer
            answer = self.ask(IMAGE_DATA, text(raw[at : at + slice_bytes]))
        return answer if answer.result != native.OK else self.ask(IMAGE_DONE)
