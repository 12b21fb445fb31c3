# What the packages are made of: sourced by deb.sh and tarball.sh.
#
#   LARDER_BINARY       a program that is built already; otherwise cargo builds one
#   LARDER_DIST         where the packages go: dist/ beside Cargo.toml
#   SOURCE_DATE_EPOCH   the time of all files in them, in seconds since 1970: that of
#                       the commit, so that the same sources give the same bytes
# shellcheck shell=sh
set -eu

umask 022
export LC_ALL=C TZ=UTC
cd "$(dirname "$0")/.."
top=$PWD

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

need() {
    command -v "$1" > /dev/null || fail "$1 is needed${2:+: install $2}"
}

if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2> /dev/null) ||
        fail "this is no git work tree: set SOURCE_DATE_EPOCH"
fi
export SOURCE_DATE_EPOCH
dist=${LARDER_DIST:-$top/dist}
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM

# Has the compilers write other names for the directories of this machine, which
# messages of panics and of assertions would name: where the program is built must not
# show in it. Registries are told by a hash of their address, which mirrors change.
same_paths() {
    home=${CARGO_HOME:-$HOME/.cargo}
    library=$(rustc --print sysroot)/lib/rustlib/src/rust
    rust=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')
    separator=$(printf '\037')
    flags=${CARGO_ENCODED_RUSTFLAGS-}
    [ -n "$flags" ] || flags=$(printf %s "${RUSTFLAGS-}" | tr -s ' ' "$separator")
    # Of several that match, the last counts.
    set -- "$home=/cargo" "$library=$rust" "$top=/larder"
    for registry in "$home"/registry/src/*; do
        [ ! -d "$registry" ] || set -- "$@" "$registry=/cargo/registry"
    done
    for mapping do
        flags="${flags:+$flags$separator}--remap-path-prefix=$mapping"
        CFLAGS="${CFLAGS-} -ffile-prefix-map=$mapping"
    done
    export CARGO_ENCODED_RUSTFLAGS="$flags" CFLAGS
}

# Builds the program, with musl where the toolchain has that: then it runs on any
# Linux. The C library of GNU is not linked statically, although that can be done:
# such a program still loads the libraries by which names of hosts are looked up, and
# fails where they are of another version.
build() {
    same_paths
    musl=$(uname -m)-unknown-linux-musl
    set -- --release --locked --bin larder
    if [ -d "$(rustc --print target-libdir --target "$musl" 2> /dev/null)" ] &&
        command -v musl-gcc > /dev/null; then
        cargo build "$@" --target "$musl" >&2
        echo "${CARGO_TARGET_DIR:-$top/target}/$musl/release/larder"
    else
        cargo build "$@" >&2
        echo "${CARGO_TARGET_DIR:-$top/target}/release/larder"
    fi
}

# Sets $binary, without symbols, and $version.
take_binary() {
    built=${LARDER_BINARY:-$(build)}
    [ -x "$built" ] || fail "there is no program $built"
    binary=$stage/larder
    cp "$built" "$binary"
    chmod 755 "$binary"
    if command -v strip > /dev/null; then
        strip --strip-unneeded "$binary"
    fi
    version=$("$binary" -V | sed 's/^larder //')
}

# Writes manual pages and completions below a directory each.
describe() {
    "$binary" man "$1"
    mkdir -p "$2"
    "$binary" completions bash > "$2/larder.bash"
    "$binary" completions zsh > "$2/_larder"
    "$binary" completions fish > "$2/larder.fish"
}

# The newest version of glibc's symbols that the program needs; nothing if it is
# static.
needed_glibc() {
    need objdump binutils
    { objdump -T "$binary" 2> /dev/null || true; } |
        sed -n 's/.*GLIBC_\([0-9][0-9.]*\).*/\1/p' | sort -uV | tail -n 1
}

# Gives all files the one time, and the same rights whatever the umask was when they
# were checked out.
same_times() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -type f ! -name larder -exec chmod 644 {} +
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# Leaves the SHA-256 sum of a package beside it, and says where it is.
sum() {
    (cd "$dist" && sha256sum "$1" > "$1.sha256")
    echo "$dist/$1"
}
