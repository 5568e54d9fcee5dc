#!/bin/sh
# Fetches the sources whose tests `make compat` runs and that Debian has only as source packages, once each.
#
#     scripts/compat-deps.sh DIR      to DIR/PACKAGE
#
# What cannot be had is said and left out: `make compat` skips what needs it.
set -eu

if [ $# -ne 1 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
target=$1
here=$(dirname "$0")

fetch() {
    package=$1
    shift
    [ -d "$target/$package" ] && return
    mkdir -p "$target"
    echo "fetching the source of $package"
    if ! "$here/debian-source.sh" "$package" "$target/$package" "$@"; then
        rm -rf "$target/$package.part"
        echo "compat-deps.sh: no source of $package" >&2
    fi
}

if ! command -v apt-get >/dev/null 2>&1; then
    echo "compat-deps.sh: no apt-get, so no Debian source packages" >&2
    exit 0
fi
python=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
fetch "$python" '*/Lib/test/test_sqlite3/*'
fetch libdbd-sqlite3-perl '*/t' '*/lib' '*/inc' '*/MANIFEST'
fetch sqlite3 '*/VERSION' '*/test/*' '*/mptest/*'
