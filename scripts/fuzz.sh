#!/bin/sh
# Runs every fuzzer of a build.
#
#     scripts/fuzz.sh BUILD seconds N   N seconds each, from a random place, with what earlier runs have found
#     scripts/fuzz.sh BUILD runs N      N inputs each, the same ones every time: the whole corpus, and what a fixed seed
#                                       makes of it. The same commit gives the same answer.
#
# Inputs start from tests/fuzz/corpus/NAME (without fuzz_), which is in the repository; what is new goes to
# BUILD/corpus/NAME. An input that breaks something is left in BUILD/findings and printed: run BUILD/fuzz/NAME FILE to see
# it again, then add it to tests/fuzz/corpus/NAME with the fix.
set -eu
build=$1
mode=$2
count=$3
printed_bytes_max=65536
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

# The input in a form that can be copied from a log: `base64 -d >FILE` makes the file again.
print_finding() {
    bytes=$(wc -c <"$1")
    echo "--- $1, $bytes bytes, base64:"
    if [ "$bytes" -le "$printed_bytes_max" ]; then
        base64 -w 120 "$1"
    else
        echo "(longer than $printed_bytes_max bytes)"
    fi
    echo "---"
}

fuzzers=0
failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    seeds=tests/fuzz/corpus/${name#fuzz_}
    new=$build/corpus/$name
    findings=$build/findings/$name
    [ "$mode" = seconds ] || new=$build/replayed/$name
    [ "$mode" = seconds ] || rm -rf "$new"
    mkdir -p "$new" "$findings"
    touch "$findings/begun"
    set -- -timeout=60 -rss_limit_mb=4096 -print_final_stats=0 -verbosity=0 -artifact_prefix="$findings/"
    [ ! -f "tests/fuzz/${name#fuzz_}.dict" ] || set -- "$@" "-dict=tests/fuzz/${name#fuzz_}.dict"
    if [ "$mode" = seconds ]; then
        set -- "$@" "-max_total_time=$count" "$new"
        [ ! -d "$seeds" ] || set -- "$@" "$seeds"
    else
        # In an order that no file system decides, and without what is learnt from compared addresses (-use_cmp).
        [ ! -d "$seeds" ] || find "$seeds" -type f | LC_ALL=C sort | paste -sd , >"$findings/seeds"
        [ ! -s "$findings/seeds" ] || set -- "$@" "-seed_inputs=@$findings/seeds"
        set -- "$@" "-runs=$count" -seed=1 -use_cmp=0 "$new"
    fi
    fuzzers=$((fuzzers + 1))
    if "$build/fuzz/$name" "$@" >"$findings/log" 2>&1; then
        echo "ok   $name ($count $mode, $(find "$new" -type f | wc -l) inputs)"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -n 60 "$findings/log" | cut -c 1-2000
        find "$findings" -type f -newer "$findings/begun" -name '*-*' | while read -r input; do
            print_finding "$input"
        done
    fi
done
[ "$fuzzers" -gt 0 ] || { echo "there are no fuzzers" && exit 1; }
[ "$failed" -eq 0 ]
