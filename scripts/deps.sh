#!/bin/sh
# Installs the Debian packages that sqld needs: the one list of them.
#
#     scripts/deps.sh [GROUP]...      groups: build test check bench compat; default: build
#
# Says nothing and takes no time when everything is there. Packages for the tests that come from npm, PyPI, Maven or Go
# are no business of this script: the tests put them into build/.
set -eu

# GROUP PACKAGE[:COMMAND] what for. A package with a COMMAND is not installed where the command exists already, whoever
# brought it.
packages() {
    cat <<'LIST'
build build-essential                   the C compiler (gcc) and libc
build cmake:cmake                       describes the build
build ninja-build:ninja                 runs the build
build pkg-config:pkg-config             finds the libraries
build libsqlite3-dev                    the SQL engine, 3.40 or later
build libssl-dev                        TLS, SCRAM: OpenSSL 3
build liblz4-dev                        compresses pages in the log
build libsystemd-dev                    tells systemd when the server is ready
test  libcmocka-dev                     unit tests
test  python3                           the test runner, the checks
test  python3-venv                      pytest and the Python drivers, in build/venv
test  sqlite3:sqlite3                   opens the server's files from outside
test  postgresql-client-15              psql, pg_isready, createdb
test  postgresql-15                     pgbench; a PostgreSQL to compare answers with
test  libpq-dev                         libpq itself, for a test program
test  pgpool2                           pgproto: replays protocol messages
test  tshark:tshark                     decodes recorded traffic independently of sqld
test  libdbd-pg-perl                    the Perl driver
test  golang-go:go                      the Go drivers' own test suites …
test  golang-github-lib-pq-dev          … lib/pq
test  golang-github-jackc-pgx-v4-dev    … pgx
test  golang-github-jackc-pgmock-dev    … pgconn
test  nodejs:node                       the Node.js drivers
test  npm:npm                           fetches them
test  default-jdk-headless:javac        the JDBC driver
test  libpostgresql-jdbc-java           … itself
test  openssl:openssl                   certificates for the tests of TLS
test  xz-utils:xz                       unpacks CPython's source, for its sqlite3 tests
test  tmux:tmux                         psql at a terminal: completion, Ctrl-C
check clang                             the second compiler; sanitizers and fuzzers
check libclang-rt-14-dev                their run-time libraries
check clang-format                      form
check clang-tidy                        lint
check cppcheck:cppcheck                 lint
check python3                           the checks themselves
check man-db                            formats the man page as its readers do
bench postgresql-15                     the server to compare with, and pgbench
bench libpq-dev                         the loads that pgbench does not have
bench python3                           the driver
bench valgrind                          counts the instructions of the drop-in client's way to a local database
compat python3                          the driver; CPython's tests of its sqlite3 module
compat xz-utils:xz                      unpacks their source
compat libdbd-sqlite3-perl              Perl's DBD::SQLite
compat golang-go:go                     builds Go's tests
compat golang-github-mattn-go-sqlite3-dev  Go's SQLite driver with its tests
compat tcl                              SQLite's own test scripts …
compat libsqlite3-tcl                   … and its Tcl binding
compat sqlite3                          the shell
LIST
}

groups=${*:-build}
for group in $groups; do
    case $group in
    build | test | check | bench | compat) ;;
    *)
        echo "deps.sh: no group is named '$group'; there are: build test check bench compat" >&2
        exit 2
        ;;
    esac
done

wanted=
for group in $groups; do
    for entry in $(packages | awk -v group="$group" '$1 == group { print $2 }'); do
        package=${entry%%:*}
        command=${entry#"$package"}
        command=${command#:}
        if [ -z "$command" ] || ! command -v "$command" >/dev/null 2>&1; then
            wanted="$wanted $package"
        fi
    done
done

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    {
        echo "deps.sh: this is not a Debian system, so I cannot install what is needed. In Debian's names:"
        for group in $groups; do
            packages | awk -v group="$group" '$1 == group'
        done
        echo "Install what your system calls these, then run make with DEPS=no."
    } >&2
    exit 1
fi

missing=
for package in $wanted; do
    # "installed" is the third word: a removed package that left its configuration has another one.
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    if [ "$state" != installed ]; then
        missing="$missing $package"
    fi
done
[ -z "$missing" ] && exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps.sh: these packages are missing, and there is no sudo; as root run:" >&2
        echo "    apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

# Debian would start a PostgreSQL server on port 5432, which is sqld's, at the end of the installation. The tests start
# their own.
case $missing in
*postgresql-15*)
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        $as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    ;;
esac

echo "installing:$missing"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
