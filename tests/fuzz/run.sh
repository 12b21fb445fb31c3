#!/bin/sh
# Fuzzes all that larder reads from others.
#
#   sh tests/fuzz/run.sh [MINUTES [TARGET…]]     each target for so long (30), or these
#   SANITIZER=address sh tests/fuzz/run.sh …     with AddressSanitizer, for what C does
#
# What is found is kept in tests/fuzz/target/corpus/; of that, few inputs that reach much
# become tests/fuzz/corpus/. What fails goes to tests/fuzz/regressions/. The unit tests run
# both; `sh tests/run.sh` needs nothing of this.
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/tests/fuzz

VERSION=0.13.2
minutes=${1:-30}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- manifest pack index marker annotation store_url key_template plugin_env config
sanitizer=${SANITIZER:-none}

cargo fuzz --version 2>/dev/null | grep -q " $VERSION$" ||
    cargo install cargo-fuzz --locked --version "$VERSION"
# Only sanitizers need a nightly compiler, or a stable one that takes itself for one.
[ "$sanitizer" = none ] || export RUSTC_BOOTSTRAP=1

fuzz() {
    target=$1
    shift
    # One unit of code would make it a little faster, and its building much slower.
    cargo fuzz run --fuzz-dir tests/fuzz --sanitizer "$sanitizer" --codegen-units 16 \
        "$target" "$@"
}

for target; do
    found=$here/target/corpus/$target
    fails=$here/regressions/$target
    mkdir -p "$found" "$fails"
    fuzz "$target" "$found" "$here/corpus/$target" "$fails" -- \
        -dict="$here/dictionaries/$target" -max_len=8192 -timeout=10 \
        -rss_limit_mb=1500 -malloc_limit_mb=1200 -max_total_time=$((minutes * 60)) \
        -artifact_prefix="$fails/" -print_final_stats=1

    rm -rf "$found.least" "$found.control"
    mkdir "$found.least"
    fuzz "$target" "$found.least" "$found" "$here/corpus/$target" -- \
        -merge=1 -use_counters=0 -max_len=4096 -merge_control_file="$found.control"
    case $target in manifest | index) limit=110 ;; *) limit=50 ;; esac
    python3 "$here/pick.py" "$found.control" "$here/corpus/$target" "$limit"
done
