#!/bin/sh
# Builds what is committed twice, in two directories, and compares: the program, the
# Debian package and the tarball have to be the same, byte for byte, and name no
# directory of this machine. Leaves what it built, and its sums, in dist/.
#
#   sh packaging/reproduce.sh
#   sh packaging/reproduce.sh larder-x86_64-linux.tar.gz.sha256     builds once, and
#                          compares with the sums of a release, made by the same Rust
#
# What has to be the same besides: the commit, the version of Rust, that of the C
# compiler, and whether there is musl. LARDER_DIST is as for the packages.
. "$(dirname "$0")/stage.sh"

need git
need sha256sum coreutils
need strings binutils
need cmp diffutils
commit=$(git rev-parse HEAD)
[ -z "$(git status --porcelain --untracked-files=no)" ] ||
    echo "$(basename "$0"): what is changed and not committed is left out" >&2
expected=
[ "$#" = 0 ] || expected=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

# Makes the packages in a directory of its own, out of the commit alone.
package() {
    echo "== building in $1" >&2
    mkdir -p "$1/dist"
    git archive "$commit" | tar -x -C "$1"
    (
        cd "$1"
        unset LARDER_BINARY CARGO_TARGET_DIR
        export LARDER_COMMIT="$commit" LARDER_DIST="$1/dist"
        sh packaging/tarball.sh >&2
        if command -v dpkg-deb > /dev/null; then
            sh packaging/deb.sh >&2
        fi
        # Where there are several, the newest is what was packed.
        find target -path '*/release/larder' -type f -exec ls -t {} + | head -n 1 |
            xargs -I '{}' cp '{}' dist/larder
    )
}

# No directory of this machine is named.
look_for_paths() {
    found=$(strings -a "$1/dist/larder" |
        grep -F -e "$stage" -e "$top" -e "${CARGO_HOME:-$HOME/.cargo}" -e "$(rustc --print sysroot)" |
        head -n 3) || true
    [ -z "$found" ] || fail "the program names directories of this machine: $found"
}

first=$stage/first
package "$first"
look_for_paths "$first"
if [ -n "$expected" ]; then
    (cd "$first/dist" && sha256sum --check "$expected") || fail "it is another program"
else
    second=$stage/second/of/another/length
    package "$second"
    for file in "$first"/dist/*; do
        cmp "$file" "$second/dist/$(basename "$file")" || fail "$(basename "$file") differs"
    done
fi
rm -f "$first/dist/larder"
cp "$first"/dist/* "$dist"
(cd "$dist" && cat "$first"/dist/*.sha256)
echo "the same"
