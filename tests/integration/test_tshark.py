"""Wireshark's PostgreSQL dissector reads a recorded session: no malformed packet, and the messages that were sent.

The session is recorded by a proxy in this test and written as a capture file with made-up TCP headers, so that no right to
capture on an interface is needed.
"""

import collections
import shutil
import socket
import struct
import subprocess
import threading

import pytest

import wire
from wire import bind, close_statement, describe_portal, describe_statement, execute, extended, parse

if shutil.which("tshark") is None:
    pytest.skip("tshark is not installed", allow_module_level=True)


class Recorder:
    """A proxy for one connection that keeps every piece in both directions, in the order in which it passed."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pieces = []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        pumps = [
            threading.Thread(target=self._pump, args=a, daemon=True)
            for a in ((client, server, "to server"), (server, client, "to client"))
        ]
        for p in pumps:
            p.start()
        for p in pumps:
            p.join()

    def _pump(self, source, sink, direction):
        while chunk := source.recv(65536):
            with self.lock:
                self.pieces.append((direction, chunk))
            sink.sendall(chunk)
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def finish(self):
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.listener.close()


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def write_pcap(path, pieces, client_port=40000, server_port=5432):
    """A capture of raw IPv4 packets (link type 101): handshake, then each piece in segments of at most 1400 bytes."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
    seq = {"to server": 1000, "to client": 5000}
    clock = 0

    def packet(direction, flags, payload=b""):
        nonlocal clock
        back = "to client" if direction == "to server" else "to server"
        ports = (client_port, server_port) if direction == "to server" else (server_port, client_port)
        tcp = struct.pack(
            "!HHIIBBHHH", *ports, seq[direction], seq[back] if flags & 16 else 0, 5 << 4, flags, 65535, 0, 0
        )
        addresses = socket.inet_aton("127.0.0.1") * 2
        sum_ = checksum(addresses + struct.pack("!BBH", 0, 6, len(tcp) + len(payload)) + tcp + payload)
        tcp = tcp[:16] + struct.pack("!H", sum_) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(payload), clock & 0xFFFF, 0, 64, 6, 0) + addresses
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        data = ip + tcp + payload
        out.append(struct.pack("<IIII", 1, clock, len(data), len(data)) + data)
        clock += 1
        seq[direction] += len(payload) + (1 if flags & 3 else 0)

    packet("to server", 2)
    packet("to client", 18)
    packet("to server", 16)
    for direction, chunk in pieces:
        for n in range(0, len(chunk), 1400):
            packet(direction, 24, chunk[n : n + 1400])
    path.write_bytes(b"".join(out))


def frontend_types(data):
    """Type letters of a byte stream from the client, behind the start-up packet."""
    (size,) = struct.unpack_from("!I", data)
    at, out = size, []
    while at < len(data):
        out.append(chr(data[at]))
        at += 1 + struct.unpack_from("!I", data, at + 1)[0]
    return out


def test_dissector_agrees(server, scratch, tmp_path):
    recorder = Recorder(server.port)
    messages = []
    with wire.Wire(recorder.port, database=scratch) as c:
        messages += c.startup_messages
        for sql in (
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB, d REAL)",
            "SELECT 1 AS a, 'two' AS b; SELECT NULL",
            "",
            "SELECT absent",
            "INSERT INTO t VALUES (1, 'x', x'00ff', 1.5)",
            "LISTEN c",
            "NOTIFY c, 'payload'",
            "SET application_name = 'x'",
            "SELECT * FROM t",
            "COPY t TO STDOUT",
        ):
            messages += c.query(sql)
        messages += c.ask(
            parse("SELECT a, b FROM t WHERE a = $1", name="s", oids=[wire.INT8]),
            describe_statement("s"),
            bind([b"\0\0\0\0\0\0\0\1"], stmt="s", param_formats=[1], result_formats=[1]),
            describe_portal(),
            execute(limit=1),
            execute(),
            close_statement("s"),
        )
        messages += c.ask(parse("SELEC"), extended("SELECT 1"))
        c.send(wire.query("COPY t(a) FROM STDIN"), wire.copy_data("7\n8\n"), wire.copy_done())
        messages += c.until_ready()
        messages += c.query("SELECT hex(zeroblob(30000))")
        c.send(wire.function_call())
        messages += c.until_ready()
        c.bye()
    recorder.finish()

    sent = frontend_types(b"".join(d for direction, d in recorder.pieces if direction == "to server"))
    pcap = tmp_path / "session.pcap"
    write_pcap(pcap, recorder.pieces)

    done = subprocess.run(
        [
            "tshark",
            "-n",
            "-r",
            str(pcap),
            "-d",
            "tcp.port==5432,pgsql",
            "-T",
            "fields",
            "-e",
            "pgsql.type",
            "-e",
            "pgsql.frontend",
            "-E",
            "aggregator=;",
            "-Y",
            "pgsql",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    broken = subprocess.run(
        [
            "tshark",
            "-n",
            "-r",
            str(pcap),
            "-d",
            "tcp.port==5432,pgsql",
            "-Y",
            "_ws.malformed or tcp.analysis.flags or _ws.expert.severity == error",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert broken.stdout == "", broken.stdout

    seen = collections.Counter()
    for line in done.stdout.splitlines():
        types = line.split("\t")[0]
        seen.update(t for t in types.split(";") if t)
    names = {
        "R": "Authentication request",
        "S": "Parameter status",
        "K": "Backend key data",
        "Z": "Ready for query",
        "T": "Row description",
        "D": "Data row",
        "C": "Command completion",
        "I": "Empty query",
        "E": "Error",
        "1": "Parse completion",
        "2": "Bind completion",
        "3": "Close completion",
        "t": "Parameter description",
        "s": "Portal suspended",
        "n": "No data",
        "A": "Notification",
        "H": "CopyOut response",
        "G": "CopyIn response",
        "d": "Copy data",
        "c": "Copy completion",
    }
    expected = collections.Counter(m.kind for m in messages)
    for letter, name in names.items():
        from_client = sent.count(letter) if letter in "dc" else 0  # these two letters are used both ways
        assert seen[name] == expected[letter] + from_client, f"{name}: {seen}"
    for letter, name in {"Q": "Simple query", "P": "Parse", "B": "Bind", "E": "Execute", "F": "Function call"}.items():
        assert seen[name] == sent.count(letter), f"{name}: {seen}"
