#!/bin/sh
# Makes dist/larder-ARCH-linux.tar.gz and its SHA-256 sum: the program, its manual
# pages and completions. The action downloads it from a release by this name.
#
#   sh packaging/tarball.sh
#   LARDER_BINARY=target/release/larder sh packaging/tarball.sh
. "$(dirname "$0")/stage.sh"

need tar
need gzip
take_binary
name=larder-$(uname -m)-linux
root=$stage/$name
mkdir "$root"
describe "$root/man/man1" "$root/completions"
mv "$binary" "$root/larder"
binary=$root/larder
cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$root"
same_times "$root"
# Written in full before it gets its name. gzip -n leaves the time out.
tar --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime "@$SOURCE_DATE_EPOCH" --format=ustar -cf - "$name" |
    gzip -n "-${LARDER_GZIP_LEVEL:-9}" > "$stage/archive"
mv "$stage/archive" "$dist/$name.tar.gz"
chmod 644 "$dist/$name.tar.gz"
sum "$name.tar.gz"
glibc=$(needed_glibc)
if [ -n "$glibc" ]; then
    echo "larder $version needs glibc $glibc or newer"
else
    echo "larder $version is static"
fi
