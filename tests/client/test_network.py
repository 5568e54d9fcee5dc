"""The drop-in on a network that breaks (docs/client.md, "When the network fails"): what an application was told is compared
with what the database has.

network.c plays a script and says of each thing whether it was done; a proxy cuts its connection. Done is there, once; not
done is not there; "unknown" is said only if the server was started anew. SQLD_NETWORK_SECONDS makes the random part longer
and lets the others try every combination; it prints its seed, which SQLD_NETWORK_SEED plays again.
"""

import os
import random
import signal
import struct
import subprocess
import time

import pytest

from linked import SANITIZE, compile_c, environment
from proxy import HOW, TO_CLIENT, TO_SERVER, WHERE, Proxy
from server import Sqld, free_port, poll

SECONDS = float(os.environ.get("SQLD_NETWORK_SECONDS", 0))
SEED = int(os.environ.get("SQLD_NETWORK_SEED", random.SystemRandom().randrange(1 << 32)))
# What an application need not notice: it stands alone, and nothing of it is lost with the connection.
HARMLESS = {"first", "second", "exec", "half", "ddl", "update", "last", "row"}
MANY_ROWS = 200
INSERT = 3  # the index of the first INSERT: behind the start-up packet, BUSY_TIMEOUT and PREPARE


class Application:
    """network.c, with the drop-in, at a port."""

    def __init__(self, program, port, database="main", options=""):
        url = f"postgresql://app@127.0.0.1:{port}/{database}?sslmode=disable{options}"
        self.process = subprocess.Popen(
            [program, url],
            env=environment("drop-in"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = url

    def begin(self, script, run):
        self.process.stdin.write(f"{script} {run}\n")
        self.process.stdin.flush()

    def end(self, what=None):
        """What it was told: {token: verdict}."""
        told = {}
        while (line := self.process.stdout.readline().rstrip("\n")) != "end":
            assert line and not line.startswith("!"), (what, line, told, self.process.poll())
            token, verdict = line.split(" ", 1)
            told[token] = verdict
        return told

    def play(self, script, run, what=None):
        self.begin(script, run)
        return self.end(what)

    def close(self):
        out, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="module")
def network():
    return compile_c("network.c")


TABLE = "CREATE TABLE log(id INTEGER PRIMARY KEY, run INTEGER, token TEXT NOT NULL, data); CREATE INDEX runs ON log(run)"


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A server with the table, and a connection that looks at it."""
    server = Sqld(tmp_path_factory.mktemp("network") / "data").start()
    with server.connect() as looker:
        looker.ok(TABLE)
        yield server, looker
    server.close()


@pytest.fixture
def played(network, logged):
    """played(cut, run): what the application was told, compared with the database; and the proxy."""
    server, looker = logged
    proxy = Proxy(server.port)
    application = Application(network, proxy.port)

    def play(cut, run, script="all"):
        proxy.plan(cut)
        told = application.play(script, run, cut)
        compare(looker, run, told, (cut, run))
        return told

    yield play, proxy
    application.close()
    proxy.close()


def found(looker, run):
    """{token: rows}, with "blob", "update" and "ddl" as what they have left behind."""
    rows = looker.ok(
        f"SELECT token, count(*), sum(data IS 'written!' OR data IS CAST('written!' AS BLOB)), sum(data IS 'updated')"
        f" FROM log WHERE run = {run} GROUP BY token"
    )
    there = {token: int(count) for token, count, _, _ in rows}
    there["blob"] = sum(int(written) for _, _, written, _ in rows)
    there["update"] = sum(int(updated) for _, _, _, updated in rows)
    rows = looker.ok(f"SELECT count(*) FROM sqlite_schema WHERE name = 'ddl_{run}'")
    there["ddl"] = int(rows[0][0])
    return there


def compare(looker, run, told, what, may_be_unknown=False):
    there = found(looker, run)
    for token, verdict in told.items():
        count = there.pop(token, 0)
        whole = MANY_ROWS if token == "many" else 1
        word = verdict.split(" ", 1)[0]
        if token == "update" and word == "done" and told.get("exec") != "done":
            whole = 0  # there was nothing to update
        if token == "open":
            assert word == "error" and verdict.split()[1] in ("14", "10"), (what, verdict)
            continue
        assert word in ("done", "not", "committed", "unknown"), (what, token, verdict)
        assert word != "unknown" or may_be_unknown, (what, token, verdict)
        allowed = {"done": {whole}, "committed": {whole}, "not": {0}, "unknown": {0, whole}}[word]
        assert count in allowed, (what, token, verdict, count)
    assert not any(there.values()), (what, "never told", there)


def test_without_cuts_all_is_done(played):
    play, proxy = played
    told = play(None, 1)
    assert {t for t, v in told.items() if v != "done"} == {"undone"} and len(told) > 15
    assert len(proxy.connections) == 1


@pytest.mark.parametrize("script", ["temporary", "schema", "memory"])
def test_what_cannot_come_back_is_told_with_what_was_done(played, logged, script):
    """A temporary table, and the same by another name; a database in memory that was attached, which takes two requests."""
    play, proxy = played
    first = 5000 + 100 * ["temporary", "schema", "memory"].index(script)
    request = INSERT + (2 if script == "memory" else 1)
    assert play((TO_SERVER, request, "before", "rst"), first, script) == {"first": "not", "last": "done"}
    play(None, first + 1, script)
    answers = proxy.connections[0].counts[TO_CLIENT]
    told = play((TO_CLIENT, answers - 2, "before", "half"), first + 2, script)
    assert told == {"first": "committed", "last": "done"}


def cuts_of(counts):
    """Every place of a conversation with so many messages; how it is cut there takes turns, or is everything."""
    turn = 0
    for direction in (TO_SERVER, TO_CLIENT):
        for index in range(counts[direction]):
            for where in WHERE:
                for how in HOW if SECONDS else [HOW[turn % len(HOW)]]:
                    yield (direction, index, where, how)
                turn += 1


def test_a_connection_that_is_cut_anywhere(played):
    """At every message of a session, in each direction: before it, in its middle, after it."""
    play, proxy = played
    play(None, 10)
    cuts = list(cuts_of(proxy.connections[0].counts))
    assert len(cuts) > 300
    if SANITIZE:  # slower: one of three, another for each kind
        cuts = cuts[random.Random(SEED).randrange(3) :: 3]
    verdicts = set()
    for run, cut in enumerate(cuts, start=100):
        told = play(cut, run)
        is_last_word = cut[0] == TO_SERVER and cut[1] == proxy.connections[0].counts[TO_SERVER] - 1
        assert proxy.cut_count == 1 or is_last_word, cut
        if "open" in told:
            assert len(proxy.connections) == 1, cut
            continue
        verdicts |= set(told.values())
        # One thing at most is not done; what stands alone is done in any case.
        lost = {token for token, verdict in told.items() if verdict != "done"} - {"undone"}
        assert lost <= {"t1", "t2"} or lost <= {"s1", "s2"} or len(lost) <= 1, (cut, told)
        assert not lost & HARMLESS, (cut, told)
    assert verdicts == {"done", "not", "committed"}


def test_connections_that_are_cut_again_and_again(played):
    """At random, also those that are made to ask what became of the first."""
    print(f"SQLD_NETWORK_SEED={SEED}")
    play, proxy = played
    dice = random.Random(SEED)

    def choose():
        if dice.random() < 0.3:
            return None
        return (dice.choice((TO_SERVER, TO_CLIENT)), dice.randrange(3, 40), dice.choice(WHERE), dice.choice(HOW))

    until = time.monotonic() + SECONDS
    run = 10000
    while run < 10060 or time.monotonic() < until:
        proxy.choose = choose
        play(None, run)
        run += 1
    proxy.choose = None
    assert play(None, 9999)["last"] == "done"


# --- the server is gone, or stands still ---


@pytest.fixture
def lonely(network, start):
    """One server for one test, with the table; behind a proxy. lonely(options of the URL): the application."""
    server = start()
    with server.connect() as looker:
        looker.ok(TABLE)
    proxy = Proxy(server.port)
    applications = []

    def application(options=""):
        applications.append(Application(network, proxy.port, options=options))
        return applications[-1]

    yield server, proxy, application
    for one in applications:
        one.close()
    proxy.close()


def answers_of_few(proxy, application):
    """How many messages the server sends in the script "few"."""
    proxy.plan(None)
    application.play("few", 1)
    return proxy.connections[0].counts[TO_CLIENT]


def test_a_server_that_is_killed_and_comes_back(lonely):
    """Killed as it answers; what it cannot remember is unknown, and whatever was said to be done is there."""
    server, proxy, application = lonely
    one = application()
    last = answers_of_few(proxy, one)
    verdicts = {}
    proxy.on_cut = server.process.kill
    answers = proxy.connections[0].counts[TO_SERVER] - 2  # but the start-up packet and the last word
    for run, index in enumerate(range(last - 1, last - answers, -1 if SECONDS else -3), start=100):
        for where in ("before", "after"):
            proxy.plan((TO_CLIENT, index, where, "fin"))
            one.begin("few", 10 * run + (where == "after"))
            poll(lambda: proxy.cut_count, "the connection is cut")
            server.kill9()
            server.restart()
            told = one.end((index, where))
            verdicts.update({v.split(" ", 1)[0]: v for t, v in told.items() if t != "open"})
            with server.connect() as looker:
                compare(looker, 10 * run + (where == "after"), told, (index, where), may_be_unknown=True)
    assert set(verdicts) == {"done", "not", "unknown"}
    assert "the server does not remember" in verdicts["unknown"]


def test_a_server_that_is_gone_is_an_error_and_no_signal(lonely):
    server, proxy, application = lonely
    one = application("&connect_timeout=1")
    proxy.on_cut = server.process.kill
    proxy.plan((TO_SERVER, INSERT, "after", "rst"))
    one.begin("few", 2)
    told = one.end()
    assert told["first"].startswith("unknown the connection to 127.0.0.1:") and "cannot be asked" in told["first"]
    assert {v for t, v in told.items() if t != "first"} == {"not"}
    server.kill9()


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_server_that_stands_still_is_waited_for_and_never_asked_twice(lonely, where):
    """It stops when it has answered, or has been asked, and goes on when the application has given up."""
    server, proxy, application = lonely
    one = application("&read_timeout=1&connect_timeout=1")
    last = answers_of_few(proxy, one)
    proxy.on_cut = lambda: server.process.send_signal(signal.SIGSTOP)
    cut = (TO_CLIENT, last - 3, where, "silent") if where == "before" else (TO_SERVER, INSERT, where, "silent")
    proxy.plan(cut)
    one.begin("few", 2)
    told = one.end()
    server.process.send_signal(signal.SIGCONT)
    proxy.drop()
    with server.connect() as looker:
        # What was on its way when it stood still has come to its end when nobody else is connected.
        poll(lambda: len(looker.ok("SHOW connections")) == 1, "the others have gone")
        compare(looker, 2, told, where, may_be_unknown=True)
    assert any(v.startswith("unknown") and "cannot be asked" in v for v in told.values()), told
    proxy.on_cut = lambda: None
    proxy.plan(None)
    assert set(one.play("few", 3).values()) == {"done"}


def test_a_server_that_goes_on_in_time_is_asked(lonely):
    """The second connection finds it still; then it goes on, and says what became of the first."""
    server, proxy, application = lonely
    one = application("&read_timeout=1&connect_timeout=60")
    proxy.on_cut = lambda: server.process.send_signal(signal.SIGSTOP)
    proxy.plan((TO_SERVER, INSERT, "after", "silent"))
    one.begin("few", 2)
    poll(lambda: len(proxy.connections) == 2, "it connects again")
    server.process.send_signal(signal.SIGCONT)
    told = one.end()
    with server.connect() as looker:
        compare(looker, 2, told, "stopped")
    assert {v for t, v in told.items() if t != "first"} == {"done"} and told["first"] in ("done", "not")


def with_body(message, body):
    return message[:1] + struct.pack("!I", len(body) + 4) + body


HEAD_BYTES = 38  # of an answer, docs/protocol.md
NONSENSE = {
    "no state": lambda body: body[:HEAD_BYTES],
    "a state that there is not": lambda body: body[:HEAD_BYTES] + b"\x04",
    "more than a state": lambda body: body[:HEAD_BYTES] + b"\x02\x00",
    "half of what was done": lambda body: body[:-1],
    "more than what was done": lambda body: body + b"\x00",
    "half a head": lambda body: body[:20],
    "nothing": lambda body: b"",
}


@pytest.mark.parametrize("what", NONSENSE)
def test_a_server_whose_answer_makes_no_sense_is_not_believed(lonely, what):
    """The answer to OUTCOME is the first one of the second connection. The application is told soon, and goes on."""
    server, proxy, application = lonely
    tampered = []

    def tamper(connection, direction, message):
        if direction == TO_CLIENT and message[:1] == b"y" and len(proxy.connections) == 2 and not tampered:
            tampered.append(message)
            return with_body(message, NONSENSE[what](message[5:]))
        return message

    proxy.tamper = tamper
    proxy.plan((TO_CLIENT, answer_to_insert(proxy, application), "before", "fin"))
    one = application()
    told = one.play("few", 2)
    assert len(tampered) == 1 and len(tampered[0]) == 5 + HEAD_BYTES + 1 + 4 + 3 * 8 + 4
    with server.connect() as looker:
        compare(looker, 2, told, what, may_be_unknown=True)
    assert told["first"].startswith("unknown") and "makes no sense" in told["first"], told
    assert {v for t, v in told.items() if t != "first"} == {"done"}


def answer_to_insert(proxy, application):
    """The index of the server's answer to the first INSERT: behind what it says at start-up, BUSY_TIMEOUT and PREPARE."""
    proxy.plan(None)
    kinds = []
    before, proxy.tamper = proxy.tamper, lambda _, direction, m: (kinds.append(m[:1]) if direction == TO_CLIENT else None, m)[1]
    application().play("few", 1)
    proxy.tamper = before
    return kinds.index(b"y") + 2


def test_an_error_of_the_disk_is_asked_about(lonely):
    """It is said in place of answers to what may have been committed."""
    server, proxy, application = lonely
    at = answer_to_insert(proxy, application)
    fields = b"SFATAL\0VFATAL\0C58030\0Mcould not write\0\0"

    def tamper(connection, direction, message):
        is_answer = direction == TO_CLIENT and connection is proxy.connections[0] and connection.counts[TO_CLIENT] == at + 1
        return b"E" + struct.pack("!I", len(fields) + 4) + fields if is_answer else message

    proxy.tamper = tamper
    proxy.plan(None)
    told = application().play("few", 2)
    with server.connect() as looker:
        compare(looker, 2, told, "the disk")
    assert told["first"] == "done"  # this server's disk is well: it was asked


# --- where to ---


def opened(program, url):
    """What the application is told when it opens this, in one run of the short script."""
    done = subprocess.run(
        [program, url], input="few 7\n", env=environment("drop-in"), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_server_without_encryption_is_refused_if_that_is_wanted(network, logged):
    server, _ = logged
    said = opened(network, f"postgresql://app@127.0.0.1:{server.port}/main?sslmode=require")
    assert said.startswith("open error 14 ") and "the server does not offer TLS" in said, said


def test_the_second_host_is_taken_if_the_first_is_dead(network, logged):
    server, _ = logged
    said = opened(network, f"postgresql://app@127.0.0.1:{free_port()},127.0.0.1:{server.port}/main?sslmode=disable")
    assert said.splitlines()[-2:] == ["last done", "end"]


@pytest.mark.parametrize("attributes, is_fit", [("read-write", True), ("primary", True), ("standby", False)])
def test_what_a_server_must_be(network, logged, attributes, is_fit):
    server, _ = logged
    url = f"postgresql://app@127.0.0.1:{server.port}/main?sslmode=disable&target_session_attrs={attributes}"
    said = opened(network, url)
    assert ("last done" in said) == is_fit and ("open error 14" in said) != is_fit, said
