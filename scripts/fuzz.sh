#!/bin/sh
# Runs every fuzzer of a build for some seconds.
#
#     scripts/fuzz.sh BUILD SECONDS
#
# Inputs start from tests/fuzz/corpus/NAME (without fuzz_), which is in the repository; what is new goes to BUILD/corpus/NAME. An input
# that breaks something is left in BUILD/findings: run BUILD/fuzz/NAME FILE to see it again, then add it to
# tests/fuzz/corpus/NAME with the fix.
set -eu
build=$1
seconds=$2
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

count=0
failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    new=$build/corpus/$name
    seeds=tests/fuzz/corpus/${name#fuzz_}
    mkdir -p "$new" "$build/findings"
    set -- "$new"
    [ -d "$seeds" ] && set -- "$@" "$seeds"
    [ -f "tests/fuzz/${name#fuzz_}.dict" ] && set -- "$@" "-dict=tests/fuzz/${name#fuzz_}.dict"
    count=$((count + 1))
    if "$build/fuzz/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="$build/findings/$name-" "$@" >"$build/findings/$name.log" 2>&1; then
        echo "ok   $name ($seconds s, $(find "$new" -type f | wc -l) inputs)"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -n 60 "$build/findings/$name.log"
    fi
done
[ "$count" -gt 0 ] || { echo "there are no fuzzers" && exit 1; }
[ "$failed" -eq 0 ]
