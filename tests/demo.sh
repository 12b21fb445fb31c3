#!/bin/sh
# Saves and restores a real directory: builds larder, saves the sources of
# crates that cargo unpacked for the build into a store in a temporary place,
# saves them again, restores them elsewhere, and compares both trees.
#
#   sh tests/demo.sh
#
# Nothing outside the repository's target directory and the temporary place is
# written. Needs cargo and a C compiler; compares with diff and find.
set -eu

cd "$(dirname "$0")/.."

say() {
    printf '\n== %s\n' "$*"
}

for tool in cargo cc diff find; do
    command -v "$tool" > /dev/null || {
        echo "$tool is needed and not installed" >&2
        exit 1
    }
done

say "build larder"
# Not quiet: it takes minutes, and says at the end how many.
cargo build --release --locked
target=${CARGO_TARGET_DIR:-target}
larder=$(cd "$target/release" && pwd)/larder

# `pwd -P`: find prints, and larder records, the place itself.
place=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Stat records go there too: the demo leaves no trace in the user's caches.
export XDG_CACHE_HOME="$place/cache"
export LARDER_STORE="$place/store"
# Nor does what the user has set count.
unset LARDER_SCOPE LARDER_THREADS LARDER_CONFIG LARDER_LOCAL_CACHE LARDER_TIMEOUT \
    LARDER_IGNORE_ERROR LARDER_LOG_FORMAT LARDER_CI_LOG

from=${CARGO_HOME:-$HOME/.cargo}/registry
name=src
if [ ! -d "$from/$name" ]; then
    # Vendored dependencies: what the build itself made is as real.
    from=$(cd "$target/release" && pwd)
    name=deps
fi
cd "$from"
echo "$from/$name: $(find "$name" -type f | wc -l) files, $(du -sh "$name" | cut -f1)"

say "larder save --key demo $name        (the first time: everything is new)"
"$larder" save --key demo "$name"

say "larder save --key demo $name        (again: nothing changed)"
"$larder" save --key demo "$name"

say "larder restore --key demo --to \$place/restored"
"$larder" restore --key demo --to "$place/restored"

say "larder restore --key demo --to \$place/restored        (again: all is in place)"
"$larder" restore --key demo --to "$place/restored"

say "larder stats"
"$larder" stats

say "compare: diff -r, and every mode, length, time and link target"
diff -r --no-dereference "$name" "$place/restored/$name"
# Kind, mode, length, time to the nanosecond, path, link target. A directory's
# length is the file system's own affair.
listing() {
    (
        cd "$1"
        find . \( -type d -printf '%y %m - %T@ %P\n' \) -o -printf '%y %m %s %T@ %P -> %l\n'
    ) | LC_ALL=C sort
}
listing "$name" > "$place/before"
listing "$place/restored/$name" > "$place/after"
diff "$place/before" "$place/after"
echo "identical: $(wc -l < "$place/before") entries"
