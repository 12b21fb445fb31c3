#!/bin/sh
# The S3 compatibility suite of the Ceph project against `larder serve`: the cases listed
# in s3suite.txt have to pass. The suite is on GitHub only; CHECKOUT is a directory with
# it. What it is asked and which cases are left out stands in s3suite.py.
#
#   sh tests/clients/s3suite.sh CHECKOUT                 the listed cases
#   sh tests/clients/s3suite.sh CHECKOUT --all           all for which larder has calls
#   sh tests/clients/s3suite.sh CHECKOUT -k copy -x      what else pytest understands
set -eu
# shellcheck source=tests/clients/tools.sh
. "$(dirname "$0")/tools.sh"

# The commit that the list was made with: 8f0ae7b404a3a2fcf7038bf1e6bf29544fe9b6a3.
[ $# -ge 1 ] && [ -d "$1/s3tests/functional" ] || fail "use: s3suite.sh CHECKOUT …"
checkout=$(cd "$1" && pwd)
shift

begin
python=$(venv s3tests-1 pytest==9.2.0 boto3==1.44.5 PyYAML==6.0.2 munch==4.0.0 \
    isodate==0.7.2 requests==2.32.3 pytz==2025.2 httplib2==0.22.0 lxml==6.1.3)/bin/python

for user in main alt tenant; do
    printf '[[key]]\naccess-key = "%s"\nsecret-key = "%s"\n' "larder$user" "larder${user}secret"
done > "$work/keys.toml"
chmod 600 "$work/keys.toml"
serve --keys "$work/keys.toml"
address=${endpoint#http://}

{
    printf '[DEFAULT]\nhost = %s\nport = %s\nis_secure = False\n' \
        "${address%:*}" "${address##*:}"
    printf '[fixtures]\nbucket prefix = larder-{random}-\n'
    for section in 's3 main' 's3 alt' 's3 tenant' iam 'iam root' 'iam alt root'; do
        case $section in s3*) user=${section#s3 } ;; *) user=main ;; esac
        printf '[%s]\naccess_key = larder%s\nsecret_key = larder%ssecret\ntenant = t\n' \
            "$section" "$user" "$user"
        printf 'user_id = %s\ndisplay_name = %s\nemail = %s@example.com\n' \
            "$user" "$user" "$user"
    done
} > "$work/s3tests.conf"

export S3TEST_CONF="$work/s3tests.conf" PYTHONPATH="$root/tests/clients" PYTHONDONTWRITEBYTECODE=1
cd "$checkout"
"$python" -m pytest -p s3suite -p no:cacheprovider -q --tb=short \
    s3tests/functional/test_s3.py s3tests/functional/test_headers.py "$@"
