"""A proxy between a client and a server that knows where messages end, and cuts a connection where it is told to.

A cut is (direction, index, where, how): at the message of that index (0 is the start-up packet, or the server's first
message) in that direction, `before` it is passed on, in the `middle` of it, or `after` it. How: `fin` closes both sides,
`rst` resets both, `half` closes the client's side and leaves the server's open, as a network does that swallows everything.
The first connection that is made after plan() is cut; those after it are passed on whole. `on_cut` is called at the cut, before
anything is closed. How `silent`: nothing is closed, and nothing more is passed on.
"""

import select
import socket
import struct
import threading

TO_SERVER, TO_CLIENT = "to server", "to client"
WHERE = ("before", "middle", "after")
HOW = ("fin", "rst", "half")


class Connection:
    """One thread for both directions: a socket that another thread reads cannot be reset."""

    def __init__(self, proxy, client, cut):
        self.client, self.cut = client, cut
        self.server = socket.create_connection(("127.0.0.1", proxy.port_of_server))
        self.proxy = proxy
        self.counts = {TO_SERVER: 0, TO_CLIENT: 0}
        self.pending = {TO_SERVER: b"", TO_CLIENT: b""}
        self.wake, self.woken = socket.socketpair()
        for sock in (self.client, self.server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        proxy.connections.append(self)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        ways = {self.client: (TO_SERVER, self.server), self.server: (TO_CLIENT, self.client)}
        is_left_open = False
        try:
            is_going = True
            while is_going:
                for sock in select.select([self.client, self.server, self.woken], [], [])[0]:
                    if sock is self.woken:
                        return
                    chunk = sock.recv(1 << 16)
                    is_going = is_going and bool(chunk) and self.take(*ways[sock], chunk)
            if self.is_cut():
                is_left_open = self.sever()
        except OSError:
            pass  # one side is gone: so is the other, below
        finally:
            if is_left_open:
                select.select([self.woken], [], [])
            for sock in (self.client, self.server, self.woken):
                sock.close()

    def is_cut(self):
        return self.cut is not None and self.counts[self.cut[0]] == self.cut[1] + 1

    def take(self, direction, target, chunk):
        """Passes on what is whole. False: the cut is due."""
        pending, out, goes_on = self.pending[direction] + chunk, b"", True
        while goes_on and (size := self.size_of_first(direction, pending)) is not None and len(pending) >= size:
            whole, pending = pending[:size], pending[size:]
            self.counts[direction] += 1
            if self.cut and self.cut[0] == direction and self.is_cut():
                whole = {"before": b"", "middle": whole[: size // 2], "after": whole}[self.cut[2]]
                goes_on = False
            out += self.proxy.tamper(self, direction, whole)
        self.pending[direction] = pending
        if out:
            target.sendall(out)
        return goes_on

    def size_of_first(self, direction, raw):
        """Bytes of the first message in `raw`, if it says so."""
        if direction == TO_SERVER and self.counts[TO_SERVER] == 0:
            return struct.unpack("!I", raw[:4])[0] if len(raw) >= 4 else None
        return 1 + struct.unpack("!I", raw[1:5])[0] if len(raw) >= 5 else None

    def sever(self):
        """Whether the server's side stays open."""
        how = self.cut[3]
        for sock, is_reset in ((self.server, how == "rst"), (self.client, how in ("rst", "half"))):
            if is_reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.proxy.on_cut()
        self.proxy.cut_count += 1
        if how != "silent":
            self.client.close()
        return how in ("half", "silent")

    def close(self):
        self.wake.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


class Proxy:
    def __init__(self, port_of_server):
        self.port_of_server = port_of_server
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.connections = []
        self.cut = None
        self.choose = None  # choose() gives each connection its cut
        self.cut_count = 0
        self.on_cut = lambda: None
        self.tamper = lambda connection, direction, message: message  # what is passed on instead
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            cut, self.cut = (self.choose() if self.choose else self.cut), None
            try:
                Connection(self, client, cut)
            except OSError:  # no server: the client sees that its connection ends
                client.close()

    def plan(self, cut):
        """Forgets the connections that there were and arms `cut` (None: nothing is cut)."""
        self.drop()
        self.cut_count = 0
        self.cut = cut

    def drop(self):
        for connection in self.connections:
            connection.close()
        self.connections = []

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        self.drop()
