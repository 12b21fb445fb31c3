#!/bin/sh
# sccache with `larder serve` as its bucket: builds a real tree of crates twice, the second
# time from the cache, and tells how often it hit. Compiling sccache takes minutes, once.
#
#   sh tests/clients/sccache.sh
set -eu
# shellcheck source=tests/clients/tools.sh
. "$(dirname "$0")/tools.sh"

version=0.19.0

begin
installed=$cache/sccache-$version
if [ ! -x "$installed/bin/sccache" ]; then
    say "compile sccache $version: minutes"
    CARGO_TARGET_DIR=$work/build cargo install sccache --version "$version" --locked --quiet \
        --no-default-features --features s3 --root "$installed"
    rm -rf "$work/build"
fi
export PATH="$installed/bin:$PATH"

export LARDER_SERVE_ACCESS_KEY=larderaccesskey LARDER_SERVE_SECRET_KEY=lardersecretkey
serve
export AWS_ACCESS_KEY_ID=$LARDER_SERVE_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$LARDER_SERVE_SECRET_KEY
export SCCACHE_BUCKET=sccache SCCACHE_ENDPOINT="$endpoint" SCCACHE_REGION=us-east-1
export SCCACHE_S3_USE_SSL=false SCCACHE_SERVER_UDS="$work/sccache.socket"
export SCCACHE_CONF="$work/none" SCCACHE_CACHED_CONF="$work/cached"
export RUSTC_WRAPPER=sccache CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$work/target"

# Gives a number of the statistics: where it is, in Python.
statistic() {
    sccache --show-stats --stats-format json |
        python3 -c "import json, sys; print(json.load(sys.stdin)['stats']$1)"
}

build() {
    rm -rf "$CARGO_TARGET_DIR"
    sccache --start-server > /dev/null
    started=$(date +%s)
    (cd "$work/tree" && cargo build --locked --quiet)
    seconds=$(($(date +%s) - started))
    hits=$(statistic "['cache_hits']['counts'].get('Rust', 0)")
    misses=$(statistic "['cache_misses']['counts'].get('Rust', 0)")
    writes=$(statistic "['cache_writes']")
    errors=$(statistic "['cache_write_errors']")
    sccache --stop-server > /dev/null
    echo "$1: $hits hits, $misses misses, $writes written, $errors failed, $seconds s"
}

cp -r "$root/benches/compare/trees/cargo-before" "$work/tree"
build first
[ "$misses" -gt 0 ] && [ "$writes" = "$misses" ] || fail "not everything was written"
build second
[ "$hits" -gt 0 ] && [ "$misses" = 0 ] || fail "the second build was not from the cache"
du -sh "$work/store" | sed 's,\t.*, in the store,'
unserve
say "all is well"
