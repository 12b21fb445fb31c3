#!/bin/sh
# Builds the container image and runs it as CI systems do. Not part of
# tests/run.sh: it pulls base images, and compiles for minutes.
#
#   sh tests/image.sh [OPTION OF THE BUILD…]
#   TOOL=buildah sh tests/image.sh     with this, not the first of docker, podman
#                                      and buildah that works
#   IMAGE=larder:1 sh tests/image.sh   an image that is there
#
# buildah needs root here; it runs the image with chroot, so it works in a
# container as well.
set -eu

cd "$(dirname "$0")/.."

fail() {
    echo "image.sh: $*" >&2
    exit 1
}

if [ -z "${TOOL-}" ]; then
    for TOOL in docker podman buildah ''; do
        [ -z "$TOOL" ] || ! "$TOOL" version > /dev/null 2>&1 || break
    done
    [ -n "$TOOL" ] || fail "needs docker, podman or buildah"
fi
[ "$TOOL" != buildah ] || export BUILDAH_ISOLATION=chroot

if [ -z "${IMAGE-}" ]; then
    IMAGE=larder
    # docker keeps layers unasked.
    [ "$TOOL" = docker ] || set -- --layers "$@"
    "$TOOL" build "$@" -t "$IMAGE" .
fi

# buildah runs what it is told, and not the image's entrypoint: it is asked for it.
[ "$TOOL" != buildah ] || {
    entrypoint=$(buildah inspect --type image \
        --format '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}' "$IMAGE")
    container=$(buildah from --pull-never "$IMAGE")
}

# `pwd -P`: what is mounted is the place itself.
place=$(cd "$(mktemp -d)" && pwd -P)
clean() {
    [ "$TOOL" != buildah ] || buildah rm "$container" > /dev/null
    # What another user restored, that user would have to remove.
    rm -rf "$place" 2> /dev/null || echo "image.sh: something is left in $place" >&2
}
trap clean EXIT
trap 'exit 130' INT TERM
chmod 755 "$place"

title() {
    title=$*
    echo "== $title"
}

# An empty store, and a workspace that belongs to a user.
workspace() {
    here=$(mktemp -d -p "$place")
    chmod 755 "$here"
    mkdir -p "$here/work/vendor/a" "$here/work/packages" "$here/cache"
    head -c 300000 /dev/urandom > "$here/work/vendor/a/noise"
    echo text > "$here/work/vendor/text"
    ln -s text "$here/work/vendor/link"
    # Only root may give files away.
    chown -R "$1" "$here/work" "$here/cache" 2> /dev/null ||
        chmod -R a+rwX "$here/work" "$here/cache"
}

# image PROGRAM OPTION… -- ARGUMENT…: runs the program, or for '' the entrypoint,
# in the workspace, with the store as /cache.
image() {
    program=$1
    shift
    options="-v $here/work:/work -v $here/cache:/cache"
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    status=0
    # shellcheck disable=SC2086 # words without spaces in them
    case $TOOL in
    buildah)
        buildah run --workingdir /work $options "$container" -- \
            ${program:-$entrypoint} "$@"
        ;;
    *)
        # SELinux would want the mounts relabelled.
        "$TOOL" run --rm --security-opt label=disable --workdir /work $options \
            ${program:+--entrypoint "$program"} "$IMAGE" "$@"
        ;;
    esac > "$here/output" 2>&1 || status=$?
}

# expect STATUS TEXT: of what ran last.
expect() {
    [ "$status" = "$1" ] && grep -q -e "$2" "$here/output" && return
    cat "$here/output" >&2
    fail "$title: status $status instead of $1, or no \"$2\""
}

title "no settings are an error with a hint"
workspace 0
image '' --
expect 2 '^hint: '

title "check and upload, as arguments and by name"
for step in check:100 upload:101; do
    image '' -- "${step%:*}"
    expect "${step#*:}" PACKAGE_ASSETS_BUCKET
    image "${step%:*}" --
    expect "${step#*:}" PACKAGE_ASSETS_BUCKET
done

# The base has an entry for the second in its passwd file, and none for the third.
for user in 0 65532 12345; do
    title "rebuild and restore as user $user"
    workspace "$user"
    set -- --user "$user" -e LARDER_STORE=/cache -e DRONE_REPO=o/r -e PLUGIN_CACHE=vendor
    image '' "$@" -e PLUGIN_REBUILD=true --
    expect 0 '^saved vendor: '
    mv "$here/work/vendor" "$here/before"
    image '' "$@" -e PLUGIN_RESTORE=true --
    expect 0 '^restored vendor: '
    diff -r --no-dereference "$here/before" "$here/work/vendor"
done

# larder itself brings them out: nothing else in the image could.
title "certificates are there"
workspace 0
image larder -- save --store /cache --key certificates /etc/ssl/certs
expect 0 '^saved certificates: '
image larder -- restore --store /cache --key certificates --to /work/out
expect 0 '^restored certificates: '
found=$(cat "$here/work/out/etc/ssl/certs/"* | grep -c 'BEGIN CERTIFICATE')
[ "$found" -gt 50 ] || fail "$title: $found"

# Any answer will do, and none, where there is no network.
title "they are used"
image larder -e AWS_ACCESS_KEY_ID=a -e AWS_SECRET_ACCESS_KEY=b -- --timeout 20s \
    list --store 's3://larder/x?region=us-east-1'
grep '^error\[L[0-9]*\]: ' "$here/output"
! grep -i certificate "$here/output" > /dev/null || fail "$title"

echo "image.sh: all is well"
