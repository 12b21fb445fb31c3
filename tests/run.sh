#!/bin/sh
# Runs every check of the repository: formatting, lints, documentation, benches
# that compile, and all tests last. Installs what is missing of the tools.
#
#   sh tests/run.sh
set -eu

cd "$(dirname "$0")/.."

say() {
    printf '\n== %s\n' "$*"
}

# Installs a program's Debian package if the program is missing.
need() {
    command -v "$1" > /dev/null && return
    say "install $2"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$2" > /dev/null
}

# Installs a component of the toolchain if it is missing: with rustup, or where
# cargo itself came without it, Debian's package.
component() {
    cargo "$1" --version > /dev/null 2>&1 && return
    say "install $2"
    if command -v rustup > /dev/null; then
        rustup --quiet component add "$2"
    else
        need "cargo-$1" "$3"
    fi
}

command -v cargo > /dev/null || {
    echo "cargo is needed: see https://rustup.rs" >&2
    exit 1
}
need cc gcc
need python3 python3
need diff diffutils
need find findutils
component fmt rustfmt rustfmt
component clippy clippy rust-clippy

say "cargo fmt --check"
cargo fmt --check
say "cargo clippy --locked --all-targets -- -D warnings"
cargo clippy --locked --all-targets --quiet -- -D warnings
say "cargo doc --locked --no-deps"
RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --quiet
say "python3: benches/compare compiles"
python3 -B - benches/compare/*.py << 'PYTHON'
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as source:
        compile(source.read(), path, "exec")
PYTHON
# That they compile and link, without the release profile's minutes for each.
say "cargo bench --locked --no-run --profile dev"
cargo bench --locked --no-run --profile dev --quiet
# Last, so that the results are what a log ends with.
say "cargo test --locked"
cargo test --locked --no-fail-fast
