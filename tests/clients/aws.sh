#!/bin/sh
# The AWS command line against `larder serve`: what is synchronized comes back the same,
# large files go up in parts, and keys are demanded where there are some.
#
#   sh tests/clients/aws.sh
#   LARDER=target/release/larder sh tests/clients/aws.sh
set -eu
# shellcheck source=tests/clients/tools.sh
. "$(dirname "$0")/tools.sh"

# The last of the series that is on PyPI; version 2 is not.
version=1.46.3

begin
aws=$(venv "awscli-$version" "awscli==$version")/bin/aws

# Nothing of this machine's own settings, nor the cloud's service that knows credentials.
for name in $(env | sed -n 's/^\(AWS_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done
export AWS_CONFIG_FILE="$work/config" AWS_SHARED_CREDENTIALS_FILE="$work/none"
# Else this version signs addresses as S3 did until 2014.
printf '[default]\ns3 =\n  signature_version = s3v4\n' > "$AWS_CONFIG_FILE"
export AWS_EC2_METADATA_DISABLED=true AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=larderaccesskey AWS_SECRET_ACCESS_KEY=lardersecretkey

s3() {
    "$aws" --endpoint-url "$endpoint" s3 "$@"
}

# Fails unless the command is refused for the reason given.
refused() {
    reason=$1
    shift
    ! "$@" > "$work/refused" 2>&1 || fail "this should have been refused: $*"
    grep -q "$reason" "$work/refused" || {
        cat "$work/refused" >&2
        fail "not refused for $reason: $*"
    }
}

# Names that have to be escaped in paths, queries or XML; an empty file; and one that is
# sent in parts of 8 MiB, which end within a chunk.
make_tree() {
    mkdir -p "$1/a b+c&d=%41/ü/<x>" "$1/many"
    : > "$1/a b+c&d=%41/empty"
    echo "ünï" > "$1/a b+c&d=%41/ü/<x>/ï'\".txt"
    for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
        echo "file $number" > "$1/many/$number"
    done
    python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(8).randbytes(20_000_001))' > "$1/large"
    # Times of objects are in whole seconds: a file of the same second would seem newer.
    find "$1" -type f -exec touch -d '1 minute ago' {} +
}

round_trip() {
    say "sync there and back"
    s3 sync --quiet "$work/tree" s3://cache/tree
    s3 sync --quiet s3://cache/tree "$work/back"
    diff -r "$work/tree" "$work/back"

    say "sync again sends nothing but what changed, and removes what is gone"
    echo changed now > "$work/tree/many/7"
    rm "$work/tree/many/8"
    s3 sync --delete --no-progress "$work/tree" s3://cache/tree > "$work/out"
    [ "$(cut -d : -f 1 "$work/out" | sort | tr '\n' ' ')" = "delete upload " ] || {
        cat "$work/out" >&2
        fail "sync did something else"
    }

    say "cp, mv, ls"
    s3 cp --quiet "$work/tree/large" s3://cache/big/one --metadata job=8
    s3 mv --quiet s3://cache/big/one s3://cache/big/two
    s3 cp --quiet s3://cache/big/two "$work/two"
    cmp "$work/tree/large" "$work/two"
    s3 ls --recursive --summarize s3://cache > "$work/out"
    for text in 'Total Objects: 15' ' 20000001 big/two' " tree/a b+c&d=%41/ü/<x>/ï'\".txt"; do
        grep -qF "$text" "$work/out" || {
            cat "$work/out" >&2
            fail "ls does not tell of $text"
        }
    done
    s3 ls s3://cache/tree/ | grep -q 'PRE many/$' || fail "ls knows no directories"

    say "a presigned address"
    url=$(s3 presign s3://cache/big/two)
    python3 -c 'import sys, urllib.request
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' "$url" | cmp - "$work/two"

    say "rm --recursive"
    s3 rm --quiet --recursive s3://cache/tree
    [ "$(s3 ls --recursive s3://cache | wc -l)" = 1 ] || fail "rm left something, or took all"
}

make_tree "$work/tree"
say "without keys"
serve
round_trip
s3 cp --no-sign-request --quiet s3://cache/big/two - | cmp - "$work/two"
unserve

say "with keys, over the same store"
export LARDER_SERVE_ACCESS_KEY=$AWS_ACCESS_KEY_ID LARDER_SERVE_SECRET_KEY=$AWS_SECRET_ACCESS_KEY
serve
s3 cp s3://cache/big/two - | cmp - "$work/two"
s3 cp --quiet "$work/two" s3://cache/signed
refused 'AccessDenied\|403\|Forbidden' s3 cp --no-sign-request "$work/two" s3://cache/big/three
AWS_SECRET_ACCESS_KEY=anothersecretkey refused SignatureDoesNotMatch s3 ls s3://cache
AWS_ACCESS_KEY_ID=anotheraccesskey refused InvalidAccessKeyId s3 ls s3://cache
unserve
say "all is well"
