"""The drop-in library's face: what it exports, under which names, versions and sonames, is what Debian's exports."""

import re
import subprocess

from dropin import LIBRARY, SQLD, TABLE, real_library

PUBLIC = re.compile(r"^sqlite3(_|session_|changeset_|changegroup_|rebaser_)")
MARKER = "sqld_client_marker"


def symbols(library):
    """name -> (kind as nm writes it, size of a variable)"""
    found = {}
    lines = subprocess.run(["nm", "-D", "-S", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    for line in lines.splitlines():
        fields = line.split()
        kind, name = fields[-2], fields[-1]
        found[name] = ("function", 0) if kind in "TWi" else ("variable", int(fields[1], 16))
    return found


def readelf(option, library):
    return subprocess.run(["readelf", "-W", option, library], capture_output=True, text=True, check=True).stdout


def table():
    return subprocess.run([TABLE, "--symbols"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_every_symbol_of_the_system_library_is_in_the_table():
    system = {n for n in symbols(real_library()) if PUBLIC.match(n)}
    assert len([n for n in system if n.startswith("sqlite3_")]) >= 283
    assert system - set(table()) == set()


def test_the_library_exports_exactly_the_table():
    ours = set(symbols(LIBRARY))
    assert ours == set(table()) | {MARKER}
    assert len(table()) == len(set(table()))


def test_kinds_and_sizes_of_symbols_are_the_same():
    system, ours = symbols(real_library()), symbols(LIBRARY)
    assert {n: ours[n] for n in table() if n in system} == {n: system[n] for n in table() if n in system}


def test_soname_and_versions_are_the_same():
    assert re.search(r"SONAME.*\[libsqlite3\.so\.0\]", readelf("-d", LIBRARY))
    for library in (real_library(), LIBRARY):
        assert "Version definition section" not in readelf("-V", library)


def test_the_library_needs_no_libsqlite3_no_openssl_and_no_text_relocations():
    dynamic = readelf("-d", LIBRARY)
    # OpenSSL would cost every program a millisecond (docs/adr/0013-openssl-when-needed.md).
    assert not re.search(r"NEEDED.*(sqlite3|ssl|crypto)", dynamic)
    assert "TEXTREL" not in dynamic and "RPATH" not in dynamic and "RUNPATH" not in dynamic


def test_the_server_is_linked_with_the_system_library():
    dynamic = readelf("-d", SQLD)
    assert re.search(r"NEEDED.*\[libsqlite3\.so\.0\]", dynamic)
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    resolved = subprocess.run(["ldd", SQLD], capture_output=True, text=True, check=True).stdout
    assert re.search(r"libsqlite3\.so\.0 => (\S+)", resolved).group(1) != str(LIBRARY)
    assert not (LIBRARY.parent / "libsqlite3.so").exists()
