#!/bin/sh
# Fuzzes all that larder reads from others.
#
#   sh tests/fuzz/run.sh [MINUTES] [TARGET…]     each target for so long (30), or these
#   SANITIZER=address sh tests/fuzz/run.sh …     with AddressSanitizer, for what C does
#
# What reaches more than was reached before is added to tests/fuzz/corpus/, which is
# then made as small as it can be; what fails goes to tests/fuzz/regressions/, for the
# unit tests to run. `sh tests/run.sh` needs nothing of this.
set -eu
cd "$(dirname "$0")/../.."

VERSION=0.13.2
minutes=${1:-30}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- manifest pack index marker annotation store_url key_template plugin_env config
sanitizer=${SANITIZER:-none}

if ! cargo fuzz --version 2>/dev/null | grep -q " $VERSION$"; then
    cargo install cargo-fuzz --locked --version "$VERSION"
fi
# Of the flags, only sanitizers need a nightly compiler, or a stable one that takes
# itself for one.
[ "$sanitizer" = none ] || export RUSTC_BOOTSTRAP=1

fuzz() {
    command=$1
    target=$2
    shift 2
    cargo fuzz "$command" --fuzz-dir tests/fuzz --sanitizer "$sanitizer" "$target" "$@"
}

for target; do
    fails=tests/fuzz/regressions/$target
    mkdir -p "$fails"
    # An input is as long as one of a store with a few files; all of it is done in a
    # few milliseconds.
    fuzz run "$target" "tests/fuzz/corpus/$target" "$fails" -- \
        -dict="tests/fuzz/dictionaries/$target" -max_len=8192 -timeout=10 \
        -rss_limit_mb=1500 -malloc_limit_mb=1200 -max_total_time=$((minutes * 60)) \
        -artifact_prefix="$fails/" -print_final_stats=1
    fuzz cmin "$target" "tests/fuzz/corpus/$target" -- -max_len=8192
done
