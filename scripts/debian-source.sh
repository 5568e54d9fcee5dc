#!/bin/sh
# Fetches the upstream source of a Debian package, for tests that Debian does not package.
#
#     scripts/debian-source.sh PACKAGE DIR [MEMBER]...    unpacks it, or only the members named (tar's wildcards), to DIR
#
# The machine's own package sources are used (as source packages), with lists and a cache below DIR: nothing of the
# system's is changed. Debian's patches are not applied. DIR exists afterwards only if all went well.
set -eu

if [ $# -lt 2 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
package=$1
target=$2
shift 2

work=$target.part
rm -rf "$work"
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/tree"
work=$(cd "$work" && pwd)
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] && sed -n 's/^deb \(.*debian\.org.*\)/deb-src \1/p' "$file" >>"$work/parts/all.list"
done
for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] && grep -q 'debian\.org' "$file" &&
        sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"
done
options="-q -q -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache -o Dir::Etc::sourcelist=/dev/null
    -o Dir::Etc::sourceparts=$work/parts -o APT::Sandbox::User="
cd "$work"
# shellcheck disable=SC2086 # a list of options
apt-get $options update
# shellcheck disable=SC2086
apt-get $options source --download-only --tar-only "$package" >/dev/null
# shellcheck disable=SC2035 # the one tarball there is
tar -xf *.orig.tar.* --strip-components=1 -C tree ${1+--wildcards "$@"}
cd - >/dev/null
rm -rf "$target"
mv "$work/tree" "$target"
rm -rf "$work"
