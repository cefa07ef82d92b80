#!/bin/sh
# run - installs what the tests need, builds with AddressSanitizer and UBSan, runs every test.
#
# Unit tests, dialogues, scenarios, checks and fuzz seeds, all through ctest, whose closing line is the last one here.
# Arguments are handed to ctest: `sh test-corpus/run.sh -R queue` runs the tests whose name has "queue".
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
sh gateway/install-packages.sh gateway/packages test-corpus/packages

build=$root/build-test
cmake -B "$build" -S "$root" -G Ninja -DESTAFETA_SANITIZE=ON >"$build.log" 2>&1 || {
    cat "$build.log" >&2
    exit 1
}
ninja -C "$build" >>"$build.log" 2>&1 || {
    tail -n 60 "$build.log" >&2
    exit 1
}
# Leaks of the libraries are theirs; ours are found by the unit tests, which free everything.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
exec ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" "$@"
