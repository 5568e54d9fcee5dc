"""src/pgclient against sqld, a PostgreSQL with TLS and passwords, and servers that break off, lie, or say nothing.

The probe (pgclient_probe.c) is built with the room's sources under AddressSanitizer and UndefinedBehaviorSanitizer, so that
each failure here also shows that nothing leaks. SIGPIPE would end it: an exit code other than 0 and 1 fails a test."""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import warnings
from pathlib import Path

import pytest

from postgres import Postgres, find_programs
from server import BUILD, ROOT, free_port, poll
from tls import Authority
from wire import cstr, msg, query

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("SQLD_TEST_SANITIZE")), reason="the probe is under sanitizers in every build"
)
PASSWORD = "pa:ss\\word é"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """run(URL, command…, **environment): the lines that the probe has printed."""
    out = BUILD / "client" / "pgclient_probe"
    out.parent.mkdir(parents=True, exist_ok=True)
    source = ROOT / "src"
    units = [*source.glob("pgclient/*.c"), *source.glob("net/tls*.c"), *source.glob("base/*.c"), *source.glob("pgwire/*.c")]
    command = ["cc", "-std=gnu11", "-D_GNU_SOURCE", '-DSQLD_VERSION="0"', "-O1", "-g", "-fsanitize=address,undefined",
               "-fno-sanitize-recover=all", "-I", source, "-o", out, HERE / "pgclient_probe.c", *units, "-pthread", "-lm",
               "-Wl,--wrap=malloc,--wrap=calloc,--wrap=strdup,--wrap=strndup"]  # fmt: skip
    subprocess.run([*map(str, command)], check=True, timeout=110)
    home = tmp_path_factory.mktemp("home")

    def run(url, *commands, stdin=None, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k not in ("HOME", "LD_LIBRARY_PATH")}
        done = subprocess.run([str(out), url, *commands], env={**clean, "HOME": str(home), **env}, input=stdin,
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        assert done.returncode in (0, 1) and done.stderr == "", (done.returncode, done.stdout, done.stderr)
        return done.stdout.splitlines()

    run.program, run.home = out, home
    return run


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "root")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "other")


HBA = """
local    all  all                       trust
hostssl  all  certuser  127.0.0.1/32    cert
hostssl  all  sslonly   127.0.0.1/32    trust
hostnossl all plainonly 127.0.0.1/32    trust
host     all  scram     127.0.0.1/32    scram-sha-256
host     all  md5user   127.0.0.1/32    md5
host     all  clear     127.0.0.1/32    password
host     all  tester    127.0.0.1/32    trust
"""


@pytest.fixture(scope="module")
def secure(authority):
    """A PostgreSQL with TLS, whose users log in each in a way of their own."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql-15)")
    cluster = Postgres(programs)
    try:
        certificate, key = authority.sign("server", "localhost", ["DNS:localhost", "IP:127.0.0.1"])
        for name, source in (("server.crt", certificate), ("server.key", key), ("root.crt", authority.root)):
            shutil.copy(source, cluster.data / name)
            (cluster.data / name).chmod(0o600)
            if cluster.identity:
                os.chown(cluster.data / name, cluster.identity["user"], cluster.identity["group"])
        quoted = PASSWORD.replace("'", "''")
        with cluster.connect(database="postgres") as admin:
            for name in ("certuser", "sslonly", "plainonly"):
                admin.ok(f"CREATE USER {name}")
            for name, encryption in (("scram", "scram-sha-256"), ("clear", "scram-sha-256"), ("md5user", "md5")):
                admin.ok(f"SET password_encryption = '{encryption}'")
                admin.ok(f"CREATE USER {name} PASSWORD '{quoted}'")
        (cluster.data / "pg_hba.conf").write_text(HBA)
        with (cluster.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("ssl = on\nssl_ca_file = 'root.crt'\n")
        cluster._run("pg_ctl", "-D", cluster.data, "-l", cluster.home / "log", "-w", "restart")
        yield cluster
    finally:
        cluster.close()


def url(port, user="tester", password=None, host="127.0.0.1", database="main", **parameters):
    def encode(text):
        return "".join(c if c.isalnum() and c.isascii() else "".join(f"%{b:02x}" for b in c.encode()) for c in str(text))

    login = encode(user) + (f":{encode(password)}" if password is not None else "")
    query_part = "&".join(f"{k}={encode(v)}" for k, v in parameters.items())
    return f"postgresql://{login}@{host}:{port}/{database}" + (f"?{query_part}" if query_part else "")


def is_error(lines, status, *texts):
    assert len(lines) == 1 and lines[0].startswith(f"error {status} "), lines
    assert all(text in lines[0] for text in texts), lines
    return True


# ---------------------------------------------------------------- sqld
def test_queries_parameters_and_large_messages_in_both_directions(probe, server):
    assert probe(
        url(server.port), "query=SELECT 1, NULL, 'a'", "status=server_encoding", "status=nothing", "stale", "large=40",
        "query=SELEC", "fork", "query=SELECT 2",
    ) == ["connected", "row 1|NULL|a", "done 1", "status UTF8", "status (none)", "stale 0 failed 0", "done 40",
          'server 42601 near "SELEC": syntax error', "done 0", "forked", "row 2", "done 1"]  # fmt: skip


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


def test_cancel_also_from_a_signal_handler(probe, server):
    canceled = ["server 57014 canceling statement due to user request", "done 0"]
    lines = probe(url(server.port), f"send={ENDLESS}", "alarm", f"send={ENDLESS}", "receive=50", "cancel", "receive",
                  "query=SELECT 3")  # fmt: skip
    assert lines[:5] == ["connected", "sent", *canceled, "alarm 1"]
    assert lines[5] == "sent" and lines[6].startswith("error SQ_BUSY ")
    assert lines[7:] == ["cancel 1", *canceled, "row 3", "done 1"]


def test_a_connection_that_the_server_has_ended_is_stale_and_stays_failed(probe, start):
    server = start()
    process = subprocess.Popen(
        [str(probe.program), url(server.port), "read", "stale", "query=SELECT 1", "query=SELECT 1", "stale"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "connected\n"
    server.kill9()
    lines = process.communicate("go\n", timeout=60)[0].splitlines()
    assert process.returncode == 0
    assert lines[0] == "read" and lines[1] == "stale 1 failed 1" and lines[4] == "stale 1 failed 1"
    assert all(line.startswith("error SQ_CLOSED 08006 the connection to the server is lost: ") for line in lines[2:4])


def test_unix_sockets(probe, start, tmp_path):
    server = start("--listen", f"unix:{tmp_path}/")
    assert server
    where = f"postgresql:///main?host={tmp_path}&user=a"
    assert probe(where, "query=SELECT 1", "cancel") == ["connected", "row 1", "done 1", "cancel 1"]
    # Nobody listens there: as with libpq, sslmode is not for them.
    assert probe(where + "&sslmode=verify-full", "query=SELECT 1") == ["connected", "row 1", "done 1"]
    encoded = str(tmp_path).replace("/", "%2f")
    assert probe(f"sqld://{encoded}/main") == ["connected"]
    assert is_error(probe(f"postgresql:///main?host={tmp_path}&port=5433"), "SQ_CLOSED", "No such file or directory")
    assert is_error(probe(f"postgresql:///?host=/{'x' * 200}"), "SQ_INVALID", "socket's path is longer")


def test_the_environment_and_the_url_before_it(probe, server):
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "eve", "PGAPPNAME": "probe"}
    show = "query=SHOW application_name"
    assert probe("postgresql:///main", show, **env) == ["connected", "row probe", "done 1"]
    assert probe("postgresql:///main?application_name=mine", show, **env)[1] == "row mine"
    assert is_error(probe("postgresql:///main", **{**env, "PGSSLMODE": "require"}), "SQ_CLOSED", "does not offer TLS")
    assert is_error(probe("postgresql:///main", **{**env, "PGPORT": "x"}), "SQ_INVALID", "port 'x'", "PGPORT")


def test_several_hosts_are_tried_in_order_and_all_named(probe, server, start):
    other = start()
    dead = free_port()
    assert probe(f"postgresql://a@127.0.0.1:{dead},127.0.0.1:{server.port}/main") == ["connected"]
    lines = probe(f"postgresql://a@127.0.0.1:{dead},[::1]:{dead}/main?hostaddr=127.0.0.1,127.0.0.1")
    assert is_error(lines, "SQ_CLOSED", f"127.0.0.1:{dead}: Connection refused; to [::1]:{dead} (127.0.0.1): Connection")
    both = f"127.0.0.1:{dead},127.0.0.1:{server.port},127.0.0.1:{other.port}"
    for attrs in ("any", "read-write", "primary", "prefer-standby"):
        assert probe(f"postgresql://a@{both}/main?target_session_attrs={attrs}") == ["connected"]
    for attrs in ("read-only", "standby"):
        lines = probe(f"postgresql://a@{both}/main?target_session_attrs={attrs}")
        assert is_error(lines, "SQ_CLOSED", "Connection refused", f"127.0.0.1:{other.port}: the")


def test_options_of_the_socket(probe, server):
    given = {"keepalives_idle": 7, "keepalives_interval": 8, "keepalives_count": 9, "tcp_user_timeout": 1234}
    assert probe(url(server.port, **given), "socket")[1] == (
        "socket nodelay 1 keepalive 1 idle 7 interval 8 count 9 timeout 1234 cloexec 1"
    )
    off = probe(url(server.port, keepalives=0), "socket")[1]
    assert off.startswith("socket nodelay 1 keepalive 0 ") and off.endswith(" timeout 0 cloexec 1")


def test_a_host_that_does_not_even_accept_is_given_up_for_the_next(probe, server):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Nobody accepts: when the queue is full, the kernel drops what comes.
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        assert is_error(probe(url(port, connect_timeout=1)), "SQ_CLOSED", "has not answered in time")
        hosts = f"127.0.0.1:{port},127.0.0.1:{server.port}"
        assert probe(f"postgresql://a@{hosts}/main?connect_timeout=1") == ["connected"]
        for one in waiting:
            one.close()


def test_a_server_that_answers_with_an_error_ends_the_search(probe, server):
    lines = probe(f"postgresql://a@127.0.0.1:{server.port},127.0.0.1:{free_port()}/nowhere")
    # Its own words, and its own hint.
    assert lines == ['error SQ_NOT_FOUND 3D000 database "nowhere" does not exist [Make it with CREATE DATABASE or createdb.]']


# ---------------------------------------------------------------- PostgreSQL: TLS and logins
SSL_USED = "query=SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def test_sslmode_decides_about_encryption(probe, secure, authority):
    encrypted, plain = ["connected", "row t|TLSv1.3", "done 1"], ["connected", "row f|NULL", "done 1"]
    for mode, expected in (("disable", plain), ("allow", plain), ("prefer", encrypted), ("require", encrypted)):
        assert probe(url(secure.port, sslmode=mode), SSL_USED) == expected
    for mode in ("verify-ca", "verify-full"):
        for host in ("127.0.0.1", "localhost"):
            at = url(secure.port, host=host, sslmode=mode, sslrootcert=authority.root, hostaddr="127.0.0.1")
            assert probe(at, SSL_USED, "large=20", "cancel", "stale") == [*encrypted, "done 20", "cancel 1", "stale 0 failed 0"]


def test_sslmode_gives_way_where_it_may(probe, secure):
    assert probe(url(secure.port, "sslonly", sslmode="allow"), SSL_USED)[1] == "row t|TLSv1.3"
    assert probe(url(secure.port, "plainonly", sslmode="prefer"), SSL_USED)[1] == "row f|NULL"
    assert is_error(probe(url(secure.port, "sslonly", sslmode="disable")), "SQ_INVALID", "28000", "no encryption")
    assert is_error(probe(url(secure.port, "plainonly", sslmode="require")), "SQ_INVALID", "28000", "SSL encryption")


def test_roots_are_needed_and_found(probe, secure, authority, other_authority, tmp_path):
    assert is_error(probe(url(secure.port, sslmode="verify-ca")), "SQ_INVALID", "there are none", "sslrootcert")
    missing = url(secure.port, sslmode="require", sslrootcert=tmp_path / "none.crt")
    assert is_error(probe(missing), "SQ_INVALID", "none.crt", "No such file")
    broken = tmp_path / "broken.crt"
    broken.write_text("nothing")
    assert is_error(probe(url(secure.port, sslmode="require", sslrootcert=broken)), "SQ_INVALID", "broken.crt")
    (tmp_path / ".postgresql").mkdir()
    shutil.copy(authority.root, tmp_path / ".postgresql" / "root.crt")
    assert probe(url(secure.port, sslmode="verify-full"), HOME=str(tmp_path)) == ["connected"]
    # Roots that are there count with sslmode=require too.
    shutil.copy(other_authority.root, tmp_path / ".postgresql" / "root.crt")
    assert is_error(probe(url(secure.port, sslmode="require"), HOME=str(tmp_path)), "SQ_INVALID", "not to be trusted")
    assert is_error(probe(url(secure.port, sslmode="require", sslrootcert="system")), "SQ_INVALID", "verify-full")
    assert is_error(probe(url(secure.port, sslrootcert="system")), "SQ_INVALID", "not to be trusted")


def test_passwords_of_every_kind(probe, secure):
    for user in ("scram", "md5user", "clear"):
        for mode in ("disable", "require"):
            at = {"port": secure.port, "user": user, "sslmode": mode}
            assert probe(url(**at, password=PASSWORD), "query=SELECT current_user") == ["connected", f"row {user}", "done 1"]
            assert probe(url(**at), PGPASSWORD=PASSWORD) == ["connected"]
            assert is_error(probe(url(**at, password="wrong")), "SQ_INVALID", "28P01", f'failed for user "{user}"')
            assert is_error(probe(url(**at)), "SQ_INVALID", "asks for a password, and there is none", ".pgpass' is not there")


def test_the_password_file(probe, secure, tmp_path):
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    file = tmp_path / "pass"
    file.write_text(
        f"# comment\nelsewhere:*:*:*:no\n127.0.0.1:1:main:scram:no\n127.0.0.1:{secure.port}:other:scram:no\n"
        f"127.0.0.1:{secure.port}:main:scra:no\n*:*:main:scram:{escaped}\n*:*:*:*:no\n"
    )
    file.chmod(0o600)
    at = url(secure.port, "scram")
    assert probe(at, PGPASSFILE=str(file)) == ["connected"]
    assert probe(url(secure.port, "scram", passfile=file)) == ["connected"]
    assert is_error(probe(url(secure.port, "md5user"), PGPASSFILE=str(file)), "SQ_INVALID", "28P01", f"from the file '{file}'")
    file.chmod(0o640)
    assert is_error(probe(at, PGPASSFILE=str(file)), "SQ_INVALID", "there is none", "chmod 0600")
    file.chmod(0o600)
    file.write_text("elsewhere:*:*:*:no\n")
    assert is_error(probe(at, PGPASSFILE=str(file)), "SQ_INVALID", "there is none", "no line for this login")
    (tmp_path / ".pgpass").write_text(f"*:*:*:*:{escaped}")
    (tmp_path / ".pgpass").chmod(0o600)
    assert probe(at, HOME=str(tmp_path)) == ["connected"]
    assert is_error(probe(at, PGPASSFILE=str(tmp_path)), "SQ_INVALID", "there is none", "is not a plain file")


def test_client_certificates(probe, secure, authority, other_authority, tmp_path):
    certificate, key = authority.sign("client", "certuser")
    stranger, stranger_key = other_authority.sign("stranger", "certuser")
    at = {"port": secure.port, "user": "certuser", "sslmode": "verify-full", "sslrootcert": authority.root}
    assert probe(url(**at, sslcert=certificate, sslkey=key), "query=SELECT current_user")[1] == "row certuser"
    (tmp_path / ".postgresql").mkdir()
    shutil.copy(certificate, tmp_path / ".postgresql" / "postgresql.crt")
    assert is_error(probe(url(**at), HOME=str(tmp_path)), "SQ_INVALID", "there is no key")
    shutil.copy(key, tmp_path / ".postgresql" / "postgresql.key")
    assert probe(url(**at), HOME=str(tmp_path)) == ["connected"]
    (tmp_path / ".postgresql" / "postgresql.key").chmod(0o644)
    assert is_error(probe(url(**at), HOME=str(tmp_path)), "SQ_INVALID", "can be read by others", "chmod 0600")
    assert is_error(probe(url(**at)), "SQ_INVALID", "28000", "client certificate")
    assert is_error(probe(url(**at, sslcert=certificate, sslkey=stranger_key)), "SQ_INVALID", "cannot use the key")
    lines = probe(url(**at, sslcert=stranger, sslkey=stranger_key))
    assert len(lines) == 1 and lines[0].startswith("error ") and "connect" in lines[0]
    wrong = {**at, "user": "scram"}
    assert is_error(probe(url(**wrong, sslcert=certificate, sslkey=key, password="x")), "SQ_INVALID", "28P01")


# ---------------------------------------------------------------- servers of our own making
class FakeServer:
    """Hands each connection to `talk(socket)`, in a thread of its own, and closes it when that returns."""

    def __init__(self, talk):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.talk = talk
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(30)
        try:
            with connection:
                self.talk(connection)
                # close() alone says nothing to the client as long as another thread is in recv().
                connection.shutdown(socket.SHUT_RDWR)
        except (OSError, AssertionError):  # the probe has gone: it says itself why
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(30)


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, "the client has gone"
        data += more
    return data


def read_packet(connection):
    length = read_exactly(connection, 4)
    return read_exactly(connection, struct.unpack("!I", length)[0] - 4)


def read_message(connection):
    return read_exactly(connection, 1), read_packet(connection)


def is_ssl_request(packet):
    return packet == struct.pack("!I", 80877103)


def read_startup(connection, tls=None):
    """The start-up packet, after the request for encryption has been answered: the socket to go on with."""
    packet = read_packet(connection)
    if is_ssl_request(packet):
        connection.sendall(b"S" if tls else b"N")
        if tls:
            connection = tls.wrap_socket(connection, server_side=True)
        packet = read_packet(connection)
    return connection


AUTHENTICATION_OK = msg("R", struct.pack("!I", 0))
GREETING = [
    AUTHENTICATION_OK,
    msg("S", cstr("server_version") + cstr("15")),
    msg("N", b"SNOTICE\0C00000\0Mhello\0\0"),
    msg("K", struct.pack("!II", 4711, 42)),
    msg("Z", b"I"),
]


def tls_server(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_certificates_that_must_not_be_accepted(probe, authority, other_authority):
    good = ["DNS:localhost", "IP:127.0.0.1"]
    cases = {
        "good": (authority.sign("good", "x", good), None),
        "wildcard": (authority.sign("wildcard", "x", ["DNS:*.example.test", "IP:127.0.0.1"]), None),
        "wrong host": (authority.sign("wrong", "localhost", ["DNS:elsewhere.test"]), "is not for host '127.0.0.1'"),
        "expired": (authority.sign("expired", "x", good, is_expired=True), "expired"),
        "wrong authority": (other_authority.sign("foreign", "x", good), "not to be trusted: "),
    }
    for name, ((certificate, key), trouble) in cases.items():
        context = tls_server(certificate, key)

        def talk(connection, context=context):
            secured = read_startup(connection, context)
            secured.sendall(b"".join(GREETING))
            read_message(secured)

        with FakeServer(talk) as fake:
            lines = probe(url(fake.port, sslmode="verify-full", sslrootcert=authority.root))
            assert lines == ["connected"] if trouble is None else is_error(lines, "SQ_INVALID", trouble), name
            lines = probe(url(fake.port, sslmode="verify-ca", sslrootcert=authority.root))
            assert (lines == ["connected"]) == (name not in ("expired", "wrong authority")), (name, lines)
            assert probe(url(fake.port, sslmode="require")) == ["connected"]


def test_the_name_is_sent_and_addresses_are_not(probe, authority):
    names = []
    context = tls_server(*authority.sign("named", "x", ["DNS:localhost"]))
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def talk(connection):
        read_startup(connection, context).sendall(b"".join(GREETING))

    with FakeServer(talk) as fake:
        assert probe(url(fake.port, host="localhost", hostaddr="127.0.0.1", sslmode="require")) == ["connected"]
        assert probe(url(fake.port, sslmode="require")) == ["connected"]
    assert names == ["localhost", None]


def test_old_versions_of_tls_are_refused(probe, authority):
    context = tls_server(*authority.sign("old", "x"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")

    with FakeServer(lambda connection: read_startup(connection, context)) as fake:
        lines = probe(url(fake.port, sslmode="require"))
        assert is_error(lines, "SQ_PROTOCOL", "TLS handshake failed") or is_error(lines, "SQ_CLOSED")


def test_bytes_slipped_in_before_the_handshake_are_not_taken_for_encrypted_ones(probe):
    def talk(connection):
        read_packet(connection)
        connection.sendall(b"S" + b"".join(GREETING))
        while connection.recv(4096):
            pass

    with FakeServer(talk) as fake:
        assert is_error(probe(url(fake.port, sslmode="require")), "SQ_PROTOCOL", "TLS handshake failed")


def test_a_server_that_says_nothing_is_given_up(probe):
    release = threading.Event()
    for answer in (b"", b"N", b"S"):

        def talk(connection, answer=answer):
            connection.sendall(answer)
            release.wait(60)

        with FakeServer(talk) as fake:
            lines = probe(url(fake.port, connect_timeout=1))
            assert is_error(lines, "SQ_CLOSED", "has not answered in time")
    release.set()


def test_silence_after_the_greeting(probe):
    release = threading.Event()

    def talk(connection):
        read_startup(connection).sendall(b"".join(GREETING))
        release.wait(60)

    with FakeServer(talk) as fake:
        lines = probe(url(fake.port), "send=SELECT 1", "receive=50", "receive=50")
        assert lines[1] == "sent" and all(line.startswith("error SQ_BUSY ") for line in lines[2:]), lines
        # Whoever takes nothing is given up after read_timeout.
        lines = probe(url(fake.port, read_timeout=1), "large=40", "stale")
        assert "has not answered in time" in lines[1] and lines[2] == "stale 1 failed 1"
    release.set()


GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\0" * 100,
    b"\xff" * 100,
    msg("R", b""),
    msg("R", struct.pack("!I", 99)),
    msg("R", struct.pack("!I", 5) + b"abc"),
    msg("R", struct.pack("!I", 7)),
    msg("R", struct.pack("!I", 10) + b"\0"),
    msg("R", struct.pack("!I", 10) + b"UNKNOWN\0\0"),
    msg("R", struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0\0"),
    msg("R", struct.pack("!I", 11) + b"r=x"),
    msg("R", struct.pack("!I", 12) + b"v=x"),
    msg("Z", b"I"),
    msg("K", struct.pack("!II", 1, 2)),
    AUTHENTICATION_OK * 2,
    AUTHENTICATION_OK + msg("K", b"\0"),
    AUTHENTICATION_OK + msg("K", b"\0" * 500),
    AUTHENTICATION_OK + msg("D", struct.pack("!H", 0)),
    AUTHENTICATION_OK + msg("S", b"no end"),
    AUTHENTICATION_OK + msg("S", cstr("x" * 40000) + cstr("")),
    AUTHENTICATION_OK + b"".join(msg("S", cstr(f"p{i}") + cstr("")) for i in range(300)),
    AUTHENTICATION_OK + b"S" + struct.pack("!I", 0x7FFFFFFF),
    b"E" + struct.pack("!I", 0x10000000),
    msg("v", struct.pack("!II", 0x30000, 5)),
    msg("v", struct.pack("!II", 0x30000, 1) + b"_pq_.a\0") * 2,
    msg("E", b"junk"),
    msg("E", b""),
]


@pytest.mark.parametrize("index", range(len(GARBAGE)))
def test_garbage_is_an_error_and_nothing_else(probe, index):
    def talk(connection):
        read_startup(connection).sendall(GARBAGE[index])
        while connection.recv(4096):
            pass

    with FakeServer(talk) as fake:
        lines = probe(url(fake.port, password="x"))
        assert len(lines) == 1 and lines[0].startswith(("error SQ_PROTOCOL 08P01 ", "error SQ_INVALID 28000 ")), lines


def test_a_message_above_the_limit_is_refused_and_memory_is_not_taken_for_promises(probe):
    def talk(connection, announced):
        read_startup(connection).sendall(b"".join(GREETING))
        read_message(connection)
        connection.sendall(b"D" + struct.pack("!I", announced) + b"x" * 1000)

    with FakeServer(lambda connection: talk(connection, 0x7FFFFFFF)) as fake:
        assert "above the limit" in probe(url(fake.port), "query=SELECT 1")[1]
    with FakeServer(lambda connection: talk(connection, 1000 * 1000 * 1000)) as fake:
        few = {"ASAN_OPTIONS": "max_allocation_size_mb=16:allocator_may_return_null=1"}
        lines = probe(url(fake.port), "query=SELECT 1", **few)
        assert lines == ["connected", "error SQ_CLOSED 08006 the server closed the connection"]


# ---- every cut
def cutting_proxy(target_port, cut):
    """Between client and server: passes `cut` bytes of the server's, then closes; the number that came is in passed[0]."""
    passed = [0]

    def talk(connection):
        with socket.create_connection(("127.0.0.1", target_port)) as server:

            def forward():
                try:
                    while data := connection.recv(65536):
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

            threading.Thread(target=forward, daemon=True).start()
            while passed[0] < cut and (data := server.recv(min(65536, cut - passed[0]))):
                passed[0] += len(data)
                connection.sendall(data)

    return FakeServer(talk), passed


def check_cuts(probe, make_url, target_port, is_cheap):
    server, passed = cutting_proxy(target_port, 1 << 30)
    with server:
        assert probe(make_url(server.port), "query=SELECT 1") == ["connected", "row 1", "done 1"]
    # Behind the last byte only the answer to Terminate, which is none.
    step = 1 if is_cheap else 7
    failures = set()
    for cut in range(0, passed[0], step):
        server, _ = cutting_proxy(target_port, cut)
        with server:
            lines = probe(make_url(server.port), "query=SELECT 1", "stale")
        text = [line for line in lines if line.startswith("error ")]
        assert len(text) == 1, (cut, lines)
        assert lines[0] != "connected" or lines[-1] == "stale 1 failed 1", (cut, lines)
        failures.add(text[0].split()[1])
    return failures


def test_every_cut_of_a_conversation_with_sqld(probe, server):
    assert check_cuts(probe, lambda port: url(port), server.port, True) == {"SQ_CLOSED"}


def test_cuts_of_a_login_by_scram(probe, secure):
    found = check_cuts(probe, lambda p: url(p, "scram", PASSWORD, sslmode="disable"), secure.port, False)
    assert found == {"SQ_CLOSED"}


def test_cuts_of_an_encrypted_login(probe, secure, authority):
    def make(port):
        return url(port, "scram", PASSWORD, sslmode="verify-full", sslrootcert=authority.root)

    server, passed = cutting_proxy(secure.port, 1 << 30)
    with server:
        assert probe(make(server.port)) == ["connected"]
    for cut in range(0, passed[0] - 1, 61):
        server, _ = cutting_proxy(secure.port, cut)
        with server:
            lines = probe(make(server.port), "query=SELECT 1", "stale")
        assert lines[0].startswith("error SQ_CLOSED") or lines[-1] == "stale 1 failed 1", (cut, lines)


def test_a_server_that_dies_while_it_is_sent_to_raises_no_signal(probe, authority):
    context = tls_server(*authority.sign("dying", "x"))

    def talk(connection, tls):
        secured = read_startup(connection, tls)
        secured.sendall(b"".join(GREETING))
        secured.recv(1)
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    for tls in (None, context):
        with FakeServer(lambda connection, tls=tls: talk(connection, tls)) as fake:
            lines = probe(url(fake.port), "large=40", "large=40", "stale")
            assert lines[0] == "connected" and lines[-1] == "stale 1 failed 1", lines
            assert all(line.startswith("error SQ_CLOSED 08006 ") for line in lines[1:3]), lines


def check_allocations(probe, *arguments, **env):
    """Fails each allocation in turn: an error that says so, or the one effect that a failed connection has; no leak."""
    count = 1
    while True:
        lines = probe(*arguments, PROBE_FAIL=str(count), **env)
        total = int(lines.pop().removeprefix("allocations "))
        if count > total:
            assert not [line for line in lines if line.startswith("error ")]
            return total
        if not any("memory" in line for line in lines if line.startswith("error ")):
            # The last thing that wants memory is Terminate, without which a connection ends as well.
            assert count == total and not [line for line in lines if line.startswith("error ")], (count, lines)
        count += 1


@pytest.mark.slow
def test_every_failed_allocation_is_an_error(probe, secure, server, authority, tmp_path):
    both = f"postgresql://a@127.0.0.1:{free_port()},127.0.0.1:{server.port}/main?options=-c%20a.b%3Dc&target_session_attrs=primary"
    assert check_allocations(probe, both, "query=SELECT 1", "large=1") > 20
    file = tmp_path / "pass"
    file.write_text("*:*:*:*:" + PASSWORD.replace("\\", "\\\\").replace(":", "\\:"))
    file.chmod(0o600)
    env = {"PGPASSFILE": str(file)}
    secured = url(secure.port, "scram", sslmode="verify-full", sslrootcert=authority.root)
    assert check_allocations(probe, secured, "query=SELECT 1", **env) > 20
    assert check_allocations(probe, url(secure.port, "md5user", sslmode="disable"), **env) > 20


# ---- SCRAM with a server that does not play fair
def scram_server(connection, mechanisms=b"SCRAM-SHA-256\0\0", iterations=4096, password=PASSWORD, tls=None,
                 seen=None, nonce=lambda ours: ours + "more", final=None, end=AUTHENTICATION_OK):  # fmt: skip
    connection = read_startup(connection, tls)
    connection.sendall(msg("R", struct.pack("!I", 10) + mechanisms))
    body = read_message(connection)[1]
    mechanism, rest = body.split(b"\0", 1)
    first = rest[4:].decode()
    header, bare = first[: first.index(",,") + 2], first[first.index(",,") + 2 :]
    ours = bare.split("r=")[1]
    salt = b"0123456789abcdef"
    server_first = f"r={nonce(ours)},s={base64.b64encode(salt).decode()},i={iterations}"
    connection.sendall(msg("R", struct.pack("!I", 11) + server_first.encode()))
    reply = read_message(connection)[1].decode()
    without_proof = reply[: reply.rindex(",p=")]
    if seen is not None:
        seen.append((mechanism.decode(), header, base64.b64decode(without_proof.split(",")[0][2:])))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    key = hmac.digest(salted, b"Server Key", "sha256")
    signature = hmac.digest(key, f"{bare},{server_first},{without_proof}".encode(), "sha256")
    answer = final if final is not None else b"v=" + base64.b64encode(signature)
    connection.sendall((msg("R", struct.pack("!I", 12) + answer) if answer else b"") + end + b"".join(GREETING[1:]))
    read_message(connection)


def test_a_server_must_know_the_password_too(probe):
    cases = [
        ({}, None),
        ({"iterations": 1}, None),
        ({"password": "another"}, "SQ_INVALID 28000 SCRAM: the server does not know the password"),
        ({"final": b""}, "before it has proved"),
        ({"final": b"e=other-error"}, "the server says 'other-error'"),
        ({"final": b"v=AAAA"}, "makes no sense"),
        ({"final": b"x"}, "makes no sense"),
        ({"nonce": lambda ours: ours}, "does not go on from ours"),
        ({"nonce": lambda ours: "x" + ours}, "does not go on from ours"),
        ({"iterations": 0}, "iteration count makes no sense"),
        ({"iterations": 2000000000}, "at most 10000000 are done"),
    ]
    for options, trouble in cases:
        with FakeServer(lambda connection, options=options: scram_server(connection, **options)) as fake:
            lines = probe(url(fake.port, password=PASSWORD))
            assert (lines == ["connected"]) if trouble is None else (len(lines) == 1 and trouble in lines[0]), (options, lines)


def test_channel_binding(probe, authority):
    both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    plus, plain = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
    certificate, key = authority.sign("binding", "x")
    with_sha512 = authority.folder / "sha512.crt"
    subprocess.run(["openssl", "x509", "-req", "-in", authority.folder / "binding.csr", "-CA", authority.root, "-CAkey",
                    authority.key, "-sha512", "-days", "1", "-out", with_sha512], check=True, capture_output=True)  # fmt: skip
    edwards = authority.sign("edwards", "x", key=("ed25519",))
    self_signed = authority.folder / "self.crt"
    subprocess.run(["openssl", "req", "-x509", "-key", edwards[1], "-subj", "/CN=x", "-days", "1", "-out", self_signed],
                   check=True, capture_output=True)  # fmt: skip

    def der_hash(file, name):
        return hashlib.new(name, ssl.PEM_cert_to_DER_cert(Path(file).read_text())).digest()

    bound = b"p=tls-server-end-point,,"
    cases = [
        (certificate, key, both, plus, bound.decode(), bound + der_hash(certificate, "sha256")),
        (with_sha512, key, both, plus, bound.decode(), bound + der_hash(with_sha512, "sha512")),
        # The server has not offered it, which somebody on the way may have seen to: "y" lets the server notice.
        (certificate, key, b"SCRAM-SHA-256\0\0", plain, "y,,", b"y,,"),
        # Ed25519 has no hash to bind to.
        (self_signed, edwards[1], both, plain, "n,,", b"n,,"),
        (None, None, b"SCRAM-SHA-256\0\0", plain, "n,,", b"n,,"),
    ]
    for file, secret, mechanisms, mechanism, header, binding in cases:
        seen = []
        tls = tls_server(file, secret) if file else None
        with FakeServer(lambda c, m=mechanisms, t=tls, s=seen: scram_server(c, mechanisms=m, tls=t, seen=s)) as fake:
            assert probe(url(fake.port, password=PASSWORD)) == ["connected"]
        assert seen == [(mechanism, header, binding)]


def test_refused_options_and_notices_are_kept_and_dropped(probe):
    def talk(connection):
        option = cstr("_pq_.sqld")
        read_startup(connection).sendall(msg("v", struct.pack("!II", 0x30000, 1) + option) + b"".join(GREETING))
        read_message(connection)
        connection.sendall(GREETING[2] + msg("S", cstr("server_version") + cstr("16")) + msg("A", b"\0\0\0\1c\0p\0"))
        connection.sendall(msg("C", cstr("SELECT 0")) + msg("Z", b"I") + GREETING[2])
        read_message(connection)

    with FakeServer(talk) as fake:
        lines = probe(url(fake.port), "status=server_version", "refused=_pq_.sqld", "refused=_pq_.other", "query=SELECT 1",
                      "status=server_version", "stale")  # fmt: skip
    assert lines == ["connected", "status 15", "refused 1", "refused 0", "done 0", "status 16", "stale 0 failed 0"]


def test_what_nobody_asked_for_makes_a_connection_stale(probe):
    farewell = msg("E", b"SFATAL\0C57P01\0Mgoing down\0\0")

    def talk(connection):
        read_startup(connection).sendall(b"".join(GREETING) + farewell)
        read_message(connection)

    with FakeServer(talk) as fake:
        assert probe(url(fake.port), "stale", "receive=50")[1:3] == ["stale 1 failed 0", "server 57P01 going down"]


def test_the_last_words_of_a_server_are_what_a_broken_connection_failed_of(probe):
    farewell = msg("E", b"SFATAL\0C57P01\0Mgoing down\0\0")

    def talk(connection):
        read_startup(connection).sendall(b"".join(GREETING))
        read_message(connection)
        connection.sendall(GREETING[1] + farewell)
        connection.shutdown(socket.SHUT_RD)

    with FakeServer(talk) as fake:
        lines = probe(url(fake.port), "large=40", "stale")
        assert lines[1].endswith("the connection to the server is lost: going down") and lines[2] == "stale 1 failed 1", lines


def test_a_server_that_starts_up_is_passed_over(probe, server):
    def talk(connection):
        read_startup(connection).sendall(msg("E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"))

    with FakeServer(talk) as fake:
        assert probe(f"postgresql://a@127.0.0.1:{fake.port},127.0.0.1:{server.port}/main") == ["connected"]
        assert is_error(probe(url(fake.port)), "SQ_CLOSED", "is starting up")
