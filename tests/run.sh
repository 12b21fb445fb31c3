#!/bin/sh
# Runs every check of the repository: formatting, lints of all there is, benches included,
# documentation, and all tests last. Installs what is missing of the tools, and
# starts an S3 server for the tests that need one.
#
#   sh tests/run.sh
#   LARDER_TEST_S3=http://127.0.0.1:9000 LARDER_TEST_S3_ACCESS_KEY=… \
#       LARDER_TEST_S3_SECRET_KEY=… sh tests/run.sh      with a server that runs
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
need bash bash
need ccache ccache
need python3 python3
need diff diffutils
need git git
need find findutils
need node nodejs
need tmux tmux
component fmt rustfmt rustfmt
component clippy clippy rust-clippy

say "cargo fmt --check"
cargo fmt --check
say "cargo clippy --locked --all-targets -- -D warnings"
cargo clippy --locked --all-targets --quiet -- -D warnings
say "cargo doc --locked --no-deps"
RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --quiet
say "python3: benches and plugins compile"
python3 -B - benches/compare/*.py benches/layers/*.py tests/clients/*.py << 'PYTHON'
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as source:
        compile(source.read(), path, "exec")
PYTHON
# That benches compile is what clippy has seen; linking them, too, would take half a minute.
say "cargo test --locked --no-run"
cargo test --locked --no-run --quiet
# Before the tests' own messages, which begin with the build.
if [ -z "${LARDER_TEST_S3-}" ]; then
    say "sh tests/s3/server.sh start"
    trap 'sh tests/s3/server.sh stop' EXIT
    trap 'exit 130' INT TERM
    settings=$(sh tests/s3/server.sh start)
    eval "$settings"
    export LARDER_TEST_S3="$AWS_ENDPOINT_URL"
    export LARDER_TEST_S3_ACCESS_KEY="$AWS_ACCESS_KEY_ID"
    export LARDER_TEST_S3_SECRET_KEY="$AWS_SECRET_ACCESS_KEY"
    # Tests that want credentials in the environment put them there.
    unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION
fi
# Clients are installed on the way, from PyPI, and kept.
export LARDER_TEST_CLIENTS=1
# Most tests wait: for a server, for a process, for the time to try again. On few cores
# more of them at once are done sooner.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}"
# Last, so that the results are what a log ends with.
say "cargo test --locked"
cargo test --locked --no-fail-fast
