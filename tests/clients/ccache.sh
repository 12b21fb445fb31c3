#!/bin/sh
# ccache with a remote storage over HTTP: compiles a C file, forgets its local cache, and
# compiles again from the remote one.
#
#   sh tests/clients/ccache.sh http://127.0.0.1:9440/-/cache/ccache
set -eu
# shellcheck source=tests/clients/tools.sh
. "$(dirname "$0")/tools.sh"

# Debian 12's; ccache speaks HTTP since 4.4, and every one of its releases does it alike.
known=4.7.5

[ $# = 1 ] || fail "use: ccache.sh URL"
begin
need ccache ccache
need cc gcc
found=$(ccache --version | sed -n 's/^ccache version //p')
[ "$found" = "$known" ] || say "this is ccache $found, known is $known"

export CCACHE_DIR="$work/ccache" CCACHE_CONFIGPATH="$work/none" CCACHE_REMOTE_STORAGE="$1"
printf '#include <stdio.h>\nint main(void) { puts("larder"); return %d; }\n' $$ > "$work/main.c"

# How often something happened since the local cache was thrown away.
count() {
    ccache --print-stats | awk -v name="$1" '$1 == name { print $2 }'
}

compile() {
    rm -rf "$CCACHE_DIR"
    (cd "$work" && ccache cc -c main.c -o "$1")
}

compile first.o
[ "$(count remote_storage_error)" = 0 ] || fail "the remote storage cannot be used"
[ "$(count remote_storage_hit)" = 0 ] || fail "a hit before anything was stored"
compile second.o
[ "$(count remote_storage_hit)" -gt 0 ] || fail "no hit"
[ "$(count cache_miss)" = 0 ] || fail "compiled again"
cmp "$work/first.o" "$work/second.o"
say "all is well"
