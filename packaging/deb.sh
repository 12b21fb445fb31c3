#!/bin/sh
# Makes dist/larder_VERSION_ARCH.deb and its SHA-256 sum.
#
#   sh packaging/deb.sh
#   LARDER_BINARY=target/release/larder sh packaging/deb.sh
#
# LARDER_MAINTAINER is who the package names as its maintainer; LARDER_DEB_OPTIONS goes
# to dpkg-deb.
. "$(dirname "$0")/stage.sh"

need dpkg-deb dpkg
need gzip
need md5sum coreutils
take_binary
architecture=$(dpkg --print-architecture)
maintainer=${LARDER_MAINTAINER:-the larder developers <larder@localhost>}
root=$stage/root
doc=$root/usr/share/doc/larder

# The libraries that the program needs, and how new: dpkg-shlibdeps knows the
# packages; without it, what the symbols say.
dependencies() {
    if command -v dpkg-shlibdeps > /dev/null; then
        built=$stage/shlibs/debian/larder
        mkdir -p "$built/DEBIAN" "$built/usr/bin"
        ln "$binary" "$built/usr/bin/larder"
        printf 'Source: larder\n\nPackage: larder\nArchitecture: any\n' \
            > "$stage/shlibs/debian/control"
        (cd "$stage/shlibs" && dpkg-shlibdeps -O debian/larder/usr/bin/larder) | sed -n 's/^shlibs:Depends=//p'
    else
        glibc=$(needed_glibc)
        [ -z "$glibc" ] || echo "libc6 (>= $glibc), libgcc-s1"
    fi
}

install_files() {
    mkdir -p "$root/usr/bin" "$doc" "$root/usr/share/bash-completion/completions" \
        "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
    describe "$root/usr/share/man/man1" "$stage/completions"
    cp "$stage/completions/larder.bash" "$root/usr/share/bash-completion/completions/larder"
    cp "$stage/completions/_larder" "$root/usr/share/zsh/vendor-completions/"
    cp "$stage/completions/larder.fish" "$root/usr/share/fish/vendor_completions.d/"
    cp "$binary" "$root/usr/bin/larder"
    cp README.md "$doc/"
    cp CHANGELOG.md "$doc/NEWS.md"
    gzip -9n "$root"/usr/share/man/man1/*.1 "$doc/NEWS.md"
}

write_copyright() {
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
        printf 'Upstream-Name: larder\n\nFiles: *\nCopyright: %s\nLicense: Expat or Apache-2.0\n' \
            "$(sed -n 's/^Copyright (c) //p' LICENSE-MIT)"
        printf '\nLicense: Expat\n'
        # From the grant on: the title and the copyright are told above.
        sed -n '/^Permission is hereby granted/,$p' LICENSE-MIT | sed 's/^$/./; s/^/ /'
        printf '\nLicense: Apache-2.0\n On Debian systems, the full text is in\n'
        printf ' /usr/share/common-licenses/Apache-2.0.\n'
    } > "$doc/copyright"
}

write_changelog() {
    printf 'larder (%s) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' "$version" \
        'What changed is in NEWS.md.gz.' "$maintainer" \
        "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n > "$doc/changelog.gz"
}

write_control() {
    mkdir "$root/DEBIAN"
    depends=$(dependencies)
    {
        printf 'Package: larder\nVersion: %s\nArchitecture: %s\n' "$version" "$architecture"
        printf 'Maintainer: %s\nSection: devel\nPriority: optional\n' "$maintainer"
        printf 'Installed-Size: %s\n' "$(installed_size)"
        [ -z "$depends" ] || printf 'Depends: %s\n' "$depends"
        printf 'Recommends: ca-certificates\n'
        printf 'Description: deduplicating cache store for CI jobs\n'
        printf ' larder saves directories at the end of one CI job and restores them in the\n'
        printf ' next, and stores and moves only what changed. The store is a directory or a\n'
        printf ' bucket of S3; there is no server.\n'
    } > "$root/DEBIAN/control"
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
}

# In units of 1024 bytes, each file rounded up by itself, as dpkg-gencontrol counts:
# not by blocks, which differ between file systems.
installed_size() {
    find "$root/usr" -type f -printf '%s\n' |
        awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }'
}

install_files
write_copyright
write_changelog
same_times "$root"
write_control
same_times "$root"
name=larder_${version}_$architecture.deb
# shellcheck disable=SC2086
dpkg-deb --root-owner-group ${LARDER_DEB_OPTIONS:--Zxz} --build "$root" "$stage/$name" > /dev/null
mv "$stage/$name" "$dist/$name"
chmod 644 "$dist/$name"
sum "$name"
