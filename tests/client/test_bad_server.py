"""A server that breaks the protocol of calls (docs/protocol.md, "Calls"): the drop-in library ends the connection, and
says so to the application. The server is a fake one, of this file."""

import socket
import struct
import subprocess
import threading

import pytest

import native
from dropin import compile_c, environment

FUNCTION, COLLATION, HOOKS, OVERLOAD = 0x20, 0x21, 0x22, 0x23
ONE_WAY = {native.FINALIZE, native.RESET_ASYNC}
DEPTH_MAX = 32  # docs/protocol.md
SCALAR, AGGREGATE, UTF8, UTF16 = 1, 2, 3, 4  # the numbers that callee.c's functions and collations get


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def answer(result=0, error=None):
    head = struct.pack("!iBBqqqQ", result, 1 | (2 if error else 0), 0, 0, 0, 0, 0)
    return message(b"y", head + (struct.pack("!i", -1) + native.text(error) if error else b""))


class FakeServer:
    """Takes `count` connections, one after the other. To the first statement of each it sends what `call(number of the
    connection)` says, and notes what came back: the client's answer, or None when it has closed the connection."""

    def __init__(self, count, call):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(30)
        self.port = self.listener.getsockname()[1]
        self.answers, self.calls_sent = [], []
        self.count, self.call = count, call
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for number in range(self.count):
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(30)
                self.calls_sent.append(0)
                self.answers.append(self.serve(connection.makefile("rwb"), self.call(number)))

    def serve(self, stream, call):
        length = struct.unpack("!I", stream.read(4))[0]
        stream.read(length - 4)
        status = (("sqld.native", "1"), ("sqld.database", "fake"))
        stream.write(message(b"R", struct.pack("!I", 0)))
        for name, value in status:
            stream.write(message(b"S", f"{name}\0{value}\0".encode()))
        stream.write(message(b"K", struct.pack("!II", 1, 1)) + message(b"Z", b"I"))
        while True:
            stream.flush()
            kind = stream.read(1)
            if not kind or kind == b"X":
                return None
            body = stream.read(struct.unpack("!I", stream.read(4))[0] - 4)
            if kind == b"r":
                return body
            if body[0] in (native.PREPARE, native.PREPARE_STEP):
                stream.write(message(b"r", call))
                self.calls_sent[-1] += 1
            elif body[0] not in ONE_WAY:
                stream.write(answer())

    def close(self):
        self.thread.join(30)
        self.listener.close()
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def callee():
    return compile_c("callee.c")


def met(callee, calls):
    """What the application says of each connection, and what came back."""
    server = FakeServer(len(calls), lambda number: calls[number])
    done = subprocess.run(
        [callee, f"postgresql://127.0.0.1:{server.port}/fake?sslmode=disable", str(len(calls))],
        env=environment("drop-in"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    server.close()
    assert done.returncode == 0 and done.stderr == "", (done.returncode, done.stderr)
    return list(zip(done.stdout.splitlines(), server.answers)), server.calls_sent


def function(number, part, *values, aggregate=0, auxiliary=b""):
    return (
        struct.pack("!BIBQH", 1, number, part, aggregate, len(values))
        + b"".join(map(native.value, values))
        + struct.pack("!H", len(auxiliary) // 10)
        + auxiliary
    )


def number(value):
    return struct.pack("!i", value)


NO_AUXILIARY = struct.pack("!H", 0)
# Calls that make sense, and what they are answered with.
GOOD = {
    "scalar": (function(SCALAR, 0, 1, 2.5, "text", b"blob", None), b"\0\x11\x05" + NO_AUXILIARY),
    "subtype": (
        struct.pack("!BIBQHBI", 1, SCALAR, 0, 0, 1, 0x80, 74) + native.value("[1]") + NO_AUXILIARY,
        b"\0\x11\x01" + NO_AUXILIARY,
    ),
    "zeroblob": (function(SCALAR, 0, native.Zeroblob(9)), b"\0\x11\x01" + NO_AUXILIARY),
    "pointer": (function(SCALAR, 0, native.Pointer(99)), b"\0\x11\x01" + NO_AUXILIARY),
    "auxiliary": (function(SCALAR, 0, auxiliary=struct.pack("!HQ", 0, 5)), b"\0\x11\x00" + NO_AUXILIARY),
    "step": (function(AGGREGATE, 1, 1, aggregate=3), b"\0\x00" + NO_AUXILIARY),
    "collation": (b"\2" + struct.pack("!I", UTF8) + native.text("a") + native.text("bcd"), number(-2)),
    "collation16": (b"\2" + struct.pack("!I", UTF16) + native.text("a") + native.text("bcd"), number(-4)),
    "authorizer": (b"\3" + number(20) + b"".join(map(native.text, "abcd")), number(sum(b"abcd"))),
    "authorizer, nulls": (b"\3" + number(20) + native.text(None) * 4, number(0)),
    "progress": (b"\4", number(7)),
    "busy": (b"\5" + number(11), number(11)),
    "commit": (b"\6", number(7)),
    "rollback": (b"\7", number(0)),
    "update": (b"\x08" + number(18) + native.text("main") + native.text("t") + struct.pack("!q", 5), number(0)),
    "preupdate": (
        b"\x09"
        + number(23)
        + native.text("main")
        + native.text("t")
        + struct.pack("!qqiiHBB", 1, 1, 0, -1, 2, 1, 1)
        + b"".join(map(native.value, (1, "old", 1, "new"))),
        number(0),
    ),
    "wal": (b"\x0a" + native.text("main") + number(3), number(3)),
    "collation needed": (b"\x0b" + native.text("name"), number(0)),
    "trace": (b"\x0c" + struct.pack("!IIq", 1, 0, 0) + native.text("SELECT 1"), number(0)),
}
LONG = struct.pack("!I", 0xFFFFFFF0)
BAD = {
    "nothing": b"",
    "unknown kind": b"\x0f",
    "kind 0": b"\x00",
    "no such function": function(99, 0),
    "no such part": function(SCALAR, 9),
    "a part that it has not": function(SCALAR, 1),
    "no such collation": b"\2" + struct.pack("!I", 99) + native.text("a") + native.text("b"),
    "a function as a collation": b"\2" + struct.pack("!I", SCALAR) + native.text("a") + native.text("b"),
    "more values than bytes": struct.pack("!BIBQH", 1, SCALAR, 0, 0, 0xFFFF) + b"\0\0\0",
    "more auxiliary data than bytes": function(SCALAR, 0)[:-2] + b"\xff\xff" + b"\0" * 10,
    "unknown tag": struct.pack("!BIBQHB", 1, SCALAR, 0, 0, 1, 0x99) + NO_AUXILIARY,
    "two subtypes": struct.pack("!BIBQHBIBI", 1, SCALAR, 0, 0, 1, 0x80, 1, 0x80, 1) + b"\0" + NO_AUXILIARY,
    "long text": struct.pack("!BIBQHB", 1, SCALAR, 0, 0, 1, 0x30) + LONG + b"x" + NO_AUXILIARY,
    "long name": b"\x0b" + LONG + b"name",
    "no name": b"\x0b" + native.text(None),
    "more columns than bytes": b"\x09"
    + number(9)
    + native.text("") * 2
    + struct.pack("!qqiiHBB", 1, 1, 0, -1, 9999, 1, 0),
}


def test_calls_that_make_sense_are_answered(callee):
    seen, _ = met(callee, [call for call, _ in GOOD.values()])
    assert len(seen) == len(GOOD)
    for name, (_, wanted), (_, answered) in zip(GOOD, GOOD.values(), seen):
        assert answered == wanted, name


def assert_lost(seen):
    for said, answered in seen:
        assert answered is None and said.startswith("10 ") and "a call that makes no sense" in said


def test_calls_that_make_no_sense_end_the_connection(callee):
    seen, _ = met(callee, list(BAD.values()))
    assert len(seen) == len(BAD)
    assert_lost(seen)


@pytest.mark.parametrize("name", GOOD)
def test_calls_that_are_cut_off_or_too_long_end_the_connection(callee, name):
    call = GOOD[name][0]
    seen, _ = met(callee, [call[:length] for length in range(len(call))] + [call + b"\0"])
    assert len(seen) == len(call) + 1
    assert_lost(seen)


@pytest.mark.parametrize("kind", [13, 14])
def test_what_is_not_answered_may_be_about_unknown_numbers_but_not_cut_off(callee, kind):
    call = struct.pack("!BQ", kind, 12345)
    seen, _ = met(callee, [call[:length] for length in range(1, len(call))])
    assert_lost(seen)


def test_calls_that_nest_too_deep_end_the_connection(callee):
    seen, calls_sent = met(callee, [function(SCALAR, 0, 77)])
    assert calls_sent == [DEPTH_MAX + 1] and seen[0][1] is None
    assert seen[0][0].startswith("10 ") and "nest too deep" in seen[0][0]
