#!/bin/sh
# Turborepo with a remote cache: runs a task, forgets its local cache, and has the task's
# output and log from the remote one.
#
#   sh tests/clients/turbo.sh http://127.0.0.1:9440/-/turbo TOKEN
set -eu
# shellcheck source=tests/clients/tools.sh
. "$(dirname "$0")/tools.sh"

version=2.11.11

[ $# = 2 ] || fail "use: turbo.sh URL TOKEN"
begin
need node nodejs
need npm npm
installed=$cache/turbo-$version
if [ ! -e "$installed/complete" ]; then
    say "install turbo $version"
    npm install --silent --no-audit --no-fund --prefix "$installed" "turbo@$version" >&2
    : > "$installed/complete"
fi

mkdir -p "$work/tree/packages/one"
cd "$work/tree"
cat > package.json << 'JSON'
{ "name": "tree", "private": true, "packageManager": "npm@10.0.0", "workspaces": ["packages/*"] }
JSON
cat > package-lock.json << 'JSON'
{ "name": "tree", "lockfileVersion": 3, "requires": true, "packages": {
  "": { "name": "tree", "workspaces": ["packages/*"] },
  "node_modules/one": { "resolved": "packages/one", "link": true },
  "packages/one": { "version": "1.0.0" } } }
JSON
cat > turbo.json << 'JSON'
{ "tasks": { "build": { "outputs": ["out/**"] } } }
JSON
cat > packages/one/package.json << 'JSON'
{ "name": "one", "version": "1.0.0", "scripts": { "build": "sh build.sh" } }
JSON
# What it writes tells when it ran: equal outputs come from the cache.
echo 'mkdir -p out && od -An -N16 -tx1 /dev/urandom > out/made && echo built' \
    > packages/one/build.sh

export TURBO_API="$1" TURBO_TOKEN="$2" TURBO_TEAM=team_larder TURBO_TELEMETRY_DISABLED=1
export DO_NOT_TRACK=1 HOME="$work"

# Tells what turbo told, too: "cache miss", "cache hit".
build() {
    rm -rf .turbo node_modules packages/one/out packages/one/.turbo
    "$installed/node_modules/.bin/turbo" run build --cache=remote:rw > "$work/log" 2>&1 || {
        cat "$work/log" >&2
        fail "turbo failed"
    }
}

build
grep -q 'cache miss' "$work/log" || fail "not a miss the first time"
cp packages/one/out/made "$work/made"
build
grep -q 'cache hit' "$work/log" || fail "no hit"
grep -q built "$work/log" || fail "the log did not come along"
cmp packages/one/out/made "$work/made"
say "all is well"
