"""A raw client of the PostgreSQL frontend/backend protocol 3.0, for tests.

It knows how messages look (PostgreSQL manual, "Message Formats") and nothing else: it sends exactly the bytes that a test
asks for, in any order, broken ones too, and hands back what came, typed but not interpreted. Every wait has a deadline.
"""

import socket
import struct
import time

PROTOCOL_3_0 = 196608
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102
WAIT_S = 30.0

BOOL, BYTEA, INT8, INT2, INT4, TEXT, OID, JSON = 16, 17, 20, 21, 23, 25, 26, 114
FLOAT4, FLOAT8, UNKNOWN, BPCHAR, VARCHAR = 700, 701, 705, 1042, 1043
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, NUMERIC, UUID, JSONB = 1082, 1083, 1114, 1184, 1700, 2950, 3802


class Closed(Exception):
    """The server closed the connection."""


# ---------------------------------------------------------------- frontend messages
def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def msg(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def startup_packet(params, protocol=PROTOCOL_3_0):
    body = struct.pack("!I", protocol) + b"".join(cstr(k) + cstr(v) for k, v in params.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def special_request(code, extra=b""):
    return struct.pack("!II", 8 + len(extra), code) + extra


def query(sql):
    return msg("Q", cstr(sql))


def parse(sql, name="", oids=()):
    return msg(
        "P", cstr(name) + cstr(sql) + struct.pack("!H", len(oids)) + b"".join(struct.pack("!I", o) for o in oids)
    )


def bind(params=(), stmt="", portal="", param_formats=(), result_formats=()):
    out = cstr(portal) + cstr(stmt) + struct.pack("!H", len(param_formats))
    out += b"".join(struct.pack("!H", f) for f in param_formats) + struct.pack("!H", len(params))
    for value in params:
        if value is None:
            out += struct.pack("!i", -1)
        else:
            raw = value if isinstance(value, bytes) else str(value).encode()
            out += struct.pack("!i", len(raw)) + raw
    out += struct.pack("!H", len(result_formats)) + b"".join(struct.pack("!H", f) for f in result_formats)
    return msg("B", out)


def describe_statement(name=""):
    return msg("D", b"S" + cstr(name))


def describe_portal(name=""):
    return msg("D", b"P" + cstr(name))


def execute(portal="", limit=0):
    return msg("E", cstr(portal) + struct.pack("!i", limit))


def close_statement(name=""):
    return msg("C", b"S" + cstr(name))


def close_portal(name=""):
    return msg("C", b"P" + cstr(name))


def sync():
    return msg("S")


def flush():
    return msg("H")


def terminate():
    return msg("X")


def copy_data(data):
    return msg("d", data if isinstance(data, bytes) else data.encode())


def copy_done():
    return msg("c")


def copy_fail(reason="no"):
    return msg("f", cstr(reason))


def function_call(oid=1):
    return msg("F", struct.pack("!IHHH", oid, 0, 0, 0))


def extended(sql, params=(), oids=(), limit=0, param_formats=(), result_formats=()):
    """Parse, Bind, Describe portal, Execute of the unnamed statement, without Sync."""
    return (
        parse(sql, oids=oids)
        + bind(params, param_formats=param_formats, result_formats=result_formats)
        + describe_portal()
        + execute(limit=limit)
    )


# ---------------------------------------------------------------- backend messages
class Message:
    """One message from the server: its type letter and its body, with decoders that insist on using every byte."""

    def __init__(self, kind, body):
        self.kind = kind
        self.body = body

    def __repr__(self):
        return f"<{self.kind} {self.view()!r}>"

    # what a person wants to see of it
    def view(self):
        if self.kind in "EN":
            return {k: v for k, v in self.fields().items() if k in "SCMDHP"}
        if self.kind == "D":
            return self.row()
        if self.kind == "T":
            return [c["name"] for c in self.columns()]
        if self.kind == "C":
            return self.tag()
        if self.kind == "Z":
            return self.status()
        return self.body[:60]

    def fields(self):
        assert self.kind in "EN" and self.body.endswith(b"\0\0"), self.body
        return {part[:1].decode(): part[1:].decode() for part in self.body[:-2].split(b"\0")}

    def sqlstate(self):
        return self.fields()["C"]

    def row(self):
        (count,) = struct.unpack_from("!H", self.body)
        at, values = 2, []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", self.body, at)
            at += 4
            if size < 0:
                values.append(None)
            else:
                values.append(self.body[at : at + size])
                assert len(values[-1]) == size
                at += size
        assert at == len(self.body), "DataRow has bytes left over"
        return values

    def columns(self):
        (count,) = struct.unpack_from("!H", self.body)
        at, columns = 2, []
        for _ in range(count):
            end = self.body.index(b"\0", at)
            name = self.body[at:end].decode()
            table, attr, oid, size, modifier, fmt = struct.unpack_from("!IHIhih", self.body, end + 1)
            columns.append(dict(name=name, table=table, attr=attr, oid=oid, size=size, modifier=modifier, format=fmt))
            at = end + 1 + 18
        assert at == len(self.body), "RowDescription has bytes left over"
        return columns

    def oids(self):
        assert self.kind == "t"
        (count,) = struct.unpack_from("!H", self.body)
        assert len(self.body) == 2 + 4 * count
        return list(struct.unpack_from(f"!{count}I", self.body, 2))

    def tag(self):
        assert self.kind == "C" and self.body.endswith(b"\0") and self.body.count(b"\0") == 1
        return self.body[:-1].decode()

    def status(self):
        assert self.kind == "Z" and len(self.body) == 1
        return self.body.decode()

    def strings(self):
        assert self.body.endswith(b"\0")
        return [part.decode() for part in self.body[:-1].split(b"\0")]

    def notification(self):
        assert self.kind == "A"
        (pid,) = struct.unpack_from("!I", self.body)
        channel, payload = self.body[4:-1].split(b"\0")
        return pid, channel.decode(), payload.decode()

    def copy_response(self):
        assert self.kind in "GHW"
        overall, count = struct.unpack_from("!bH", self.body)
        assert len(self.body) == 3 + 2 * count
        return overall, list(struct.unpack_from(f"!{count}H", self.body, 3))


def kinds(messages):
    return "".join(m.kind for m in messages)


def rows(messages):
    """All DataRows, as tuples of str (None for NULL)."""
    return [tuple(None if v is None else v.decode() for v in m.row()) for m in messages if m.kind == "D"]


def tags(messages):
    return [m.tag() for m in messages if m.kind == "C"]


def errors(messages):
    return [m.sqlstate() for m in messages if m.kind == "E"]


class Wire:
    """One connection. `startup=None` leaves it just connected."""

    def __init__(
        self,
        port,
        host="127.0.0.1",
        database="main",
        user="tester",
        startup=True,
        timeout=WAIT_S,
        rcvbuf=None,
        **params,
    ):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.port, self.timeout = host, port, timeout
        self.buffer = b""
        self.at = 0
        self.parameters = {}
        self.pid = self.secret = None
        self.startup_messages = []
        if startup:
            settings = {"user": user}
            if database is not None:
                settings["database"] = database
            settings.update(params)
            self.startup(settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def bye(self):
        """Ends the session as the manual asks, and waits for the server to close."""
        self.send(terminate())
        assert self.drain() == []
        self.sock.close()

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))

    def startup(self, settings, protocol=PROTOCOL_3_0):
        self.send(startup_packet(settings, protocol))
        while True:
            m = self.recv()
            self.startup_messages.append(m)
            if m.kind == "S":
                name, value = m.strings()
                self.parameters[name] = value
            elif m.kind == "K":
                self.pid, self.secret = struct.unpack("!II", m.body)
            elif m.kind == "E":
                raise ServerError(m)
            elif m.kind == "Z":
                return

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no message from the server")
        self.sock.settimeout(left)
        try:
            chunk = self.sock.recv(1 << 20)
        except socket.timeout:
            raise TimeoutError("no message from the server") from None
        except ConnectionResetError:
            raise Closed() from None
        if not chunk:
            raise Closed()
        self.buffer = self.buffer[self.at :] + chunk
        self.at = 0

    def recv_byte(self):
        """The one-byte answer to SSLRequest and GSSENCRequest."""
        deadline = time.monotonic() + self.timeout
        while self.at >= len(self.buffer):
            self._fill(deadline)
        self.at += 1
        return self.buffer[self.at - 1 : self.at]

    def recv(self, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            have = len(self.buffer) - self.at
            if have >= 5:
                (size,) = struct.unpack_from("!I", self.buffer, self.at + 1)
                assert 4 <= size < (1 << 31), f"length word {size}"
                if have >= size + 1:
                    kind = chr(self.buffer[self.at])
                    body = self.buffer[self.at + 5 : self.at + 1 + size]
                    self.at += size + 1
                    return Message(kind, body)
            self._fill(deadline)

    def until(self, kind, timeout=None):
        got = []
        while True:
            got.append(self.recv(timeout))
            if got[-1].kind in kind:
                return got

    def until_ready(self, timeout=None):
        return self.until("Z", timeout)

    def drain(self):
        """Everything up to the end of the connection."""
        got = []
        try:
            while True:
                got.append(self.recv())
        except Closed:
            return got

    def query(self, sql, timeout=None):
        self.send(query(sql))
        return self.until_ready(timeout)

    def ask(self, *parts, timeout=None):
        """Sends the parts and a Sync; gives back all messages to ReadyForQuery."""
        self.send(*parts, sync())
        return self.until_ready(timeout)

    def ok(self, sql):
        """A simple query that must succeed; its rows."""
        got = self.query(sql)
        assert not errors(got), got
        return rows(got)

    def value(self, sql):
        ((value,),) = self.ok(sql)
        return value

    def fails(self, sql):
        """A simple query that must fail; the fields of its error."""
        got = self.query(sql)
        wrong = [m for m in got if m.kind == "E"]
        assert len(wrong) == 1, f"{sql}: {got}"
        return wrong[0].fields()

    def cancel(self):
        """A CancelRequest for this session, on a connection of its own; waits for the server to close that one."""
        cancel_session(self.port, self.pid, self.secret, self.host)


def cancel_session(port, pid, secret, host="127.0.0.1"):
    with socket.create_connection((host, port), timeout=WAIT_S) as sock:
        sock.sendall(special_request(CANCEL_REQUEST, struct.pack("!II", pid, secret)))
        assert sock.recv(1) == b""


class ServerError(Exception):
    def __init__(self, message):
        super().__init__(message.fields())
        self.fields = message.fields()
        self.sqlstate = self.fields["C"]
