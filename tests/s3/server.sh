#!/bin/sh
# Starts and stops an S3 server for the tests, on loopback and on free ports.
#
#   sh tests/s3/server.sh start    prints the variables that lead to it, for `eval`
#   sh tests/s3/server.sh stop     ends it; its objects are gone
#
# The server is Ceph's RGW with a monitor and one OSD below it, from Debian's
# packages: what people run, with conditional writes that hold. That takes root,
# Debian, and the right to make namespaces; where one of these is missing, moto
# from PyPI stands in, which knows the API but neither wrong credentials nor
# wrong checksums. LARDER_TEST_S3_SERVER=rgw or =moto insists on one of them; the
# same variable is among those printed and tells which one it became.
#
# What is installed is kept below the user's cache directory as it was before the
# first start, so that a start takes seconds from the second time on. Each
# checkout has a server of its own, in target/s3-server; a `start` that finds it
# running prints its variables again.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
state=${CARGO_TARGET_DIR:-$(dirname "$(dirname "$here")")/target}/s3-server
cache=${XDG_CACHE_HOME:-$HOME/.cache}/larder-tests

# What the tests were written against. A suite moves on: then `start` says so.
suite=forky
rgw_version=20.2.4+ds-2
moto_version=5.2.5

access_key=larderaccesskey
secret_key=lardersecretkey

say() {
    echo "server.sh: $*" >&2
}

# Installs a program's Debian package if the program is missing.
need() {
    command -v "$1" > /dev/null && return
    say "install $2"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" > /dev/null
}

# Ports that were free a moment ago, all different.
free_ports() {
    python3 - "$1" << 'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))
PYTHON
}

# Whether the process in the state directory is there, and is one of ours: after
# a reboot its number may be anyone's.
running() {
    pid=$(cat "$state/pid" 2> /dev/null) &&
        tr '\0' ' ' 2> /dev/null < "/proc/$pid/cmdline" | grep -q -e server.sh -e moto_server
}

can_run_rgw() {
    [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get > /dev/null &&
        unshare --mount --pid --fork true 2> /dev/null
}

# Builds what the server runs in, once, without the documentation.
build_rgw() {
    tarball=$cache/rgw-$suite-$rgw_version.tar.zst
    [ -e "$tarball" ] && return
    need mmdebstrap mmdebstrap
    need zstd zstd
    say "build a chroot with radosgw of $suite: about a minute"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
        grep -m 1 '/debian/*$') || mirror=http://deb.debian.org/debian
    mkdir -p "$cache"
    # No weak dependencies, which bring a desktop's worth; no checks of dates, so
    # that a mirror that lags behind does.
    mmdebstrap --quiet --variant=apt \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=ceph-mon,ceph-osd,radosgw,ceph-common \
        --customize-hook='chroot "$1" dpkg-query -W -f "\${Version}" radosgw > "$1/radosgw.version"' \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' \
        "$suite" "$cache/$$.tar.zst" "deb [check-valid-until=no] $mirror $suite main" >&2
    mv "$cache/$$.tar.zst" "$tarball"
}

start_rgw() {
    build_rgw
    need zstd zstd
    mkdir "$state/root"
    tar --zstd -xf "$tarball" -C "$state/root"
    found=$(cat "$state/root/radosgw.version")
    [ "$found" = "$rgw_version" ] ||
        say "$suite has moved on: this is radosgw $found, the tests know $rgw_version"
    cp "$0" "$state/root/server.sh"
    # shellcheck disable=SC2046 # three words
    set -- $(free_ports 3)
    # Mounts and processes in namespaces of their own: the host sees no mount,
    # and one signal ends all.
    setsid unshare --mount --propagation private --pid --fork --kill-child \
        sh "$here/server.sh" enter "$state/root" "$@" \
        > "$state/log" 2>&1 < /dev/null &
    echo $! > "$state/pid"
    tls="LARDER_TEST_S3_TLS=https://127.0.0.1:$2 LARDER_TEST_S3_CA=$state/root/ca.pem"
    await "$state/root/ready" "$1"
}

# In the namespaces, outside the chroot.
enter() {
    for dir in dev sys; do
        mount --rbind "/$dir" "$1/$dir"
    done
    mount -t proc proc "$1/proc"
    root=$1
    shift
    exec chroot "$root" sh /server.sh serve "$@"
}

# In the chroot: an empty cluster of one monitor, one OSD and one gateway, which
# takes HTTP on the first port and HTTPS on the second; the third is the
# monitor's. This is process 1 of its namespace, so the three end with it.
serve() {
    run=/run/larder
    mkdir -p "$run/mon" "$run/osd" "$run/rgw"
    cluster=$(cat /proc/sys/kernel/random/uuid)
    osd=$(cat /proc/sys/kernel/random/uuid)
    openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 30 \
        -subj /CN=larder-tests -addext subjectAltName=IP:127.0.0.1 \
        -addext basicConstraints=critical,CA:FALSE -keyout "$run/key.pem" -out /ca.pem
    # One copy of everything, small pools, and no waiting for others to agree.
    # The memory bound is the OSD's cache; its file is sparse.
    cat > "$run/ceph.conf" << CONF
[global]
fsid = $cluster
keyring = $run/keyring
mon_initial_members = a
mon_host = v1:127.0.0.1:$3
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr2 = false
run_dir = $run
admin_socket = $run/\$name.asok
log_file = $run/\$name.log
crash_dir = $run
mon_allow_pool_size_one = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_max_pg_per_osd = 1000
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
[mon]
mon_data = $run/mon
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
osd_data = $run/osd
osd_memory_target = 1073741824
bluestore_block_size = 21474836480
[client.rgw]
rgw_data = $run/rgw
rgw_frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:$1 ssl_endpoint=127.0.0.1:$2 ssl_certificate=/ca.pem ssl_private_key=$run/key.pem
CONF
    export CEPH_CONF="$run/ceph.conf"
    ceph-authtool --create-keyring "$run/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool --create-keyring "$run/keyring" --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-authtool "$run/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
    ceph-authtool "$run/keyring" --gen-key -n client.rgw --cap mon 'allow *' --cap osd 'allow *'
    ceph-authtool "$run/mon.keyring" --import-keyring "$run/keyring"
    monmaptool --create --fsid "$cluster" --addv a "[v1:127.0.0.1:$3]" "$run/monmap"
    ceph-mon --mkfs -i a --monmap "$run/monmap" --keyring "$run/mon.keyring"
    ceph-mon -f -i a &
    timeout 60 ceph osd new "$osd"
    ceph-osd --mkfs -i 0 --osd-uuid "$osd"
    ceph-osd -f -i 0 &
    timeout 60 radosgw-admin user create --uid=larder --display-name=larder \
        --access-key="$access_key" --secret-key="$secret_key"
    radosgw -f -n client.rgw &
    : > /ready
    wait $!
}

# moto in a virtual environment of its own.
start_moto() {
    venv=$cache/moto-$moto_version
    if [ ! -e "$venv/complete" ]; then
        say "install moto $moto_version"
        rm -rf "$venv"
        mkdir -p "$cache"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet "moto[server,s3]==$moto_version" >&2
        : > "$venv/complete"
    fi
    port=$(free_ports 1)
    tls=
    setsid "$venv/bin/moto_server" -H 127.0.0.1 -p "$port" > "$state/log" 2>&1 < /dev/null &
    echo $! > "$state/pid"
    await "$state/pid" "$port"
}

# Waits until a file is there and the port answers; then tells the variables.
await() {
    tries=0
    until [ -e "$1" ] && answers "$2"; do
        tries=$((tries + 1))
        if [ $tries -gt 900 ] || ! running; then
            tail -n 30 "$state/log" >&2
            say "the server did not start"
            stop
            exit 1
        fi
        sleep 0.1
    done
    say "$kind answers on port $2"
    echo "export AWS_ENDPOINT_URL=http://127.0.0.1:$2 AWS_ACCESS_KEY_ID=$access_key" \
        "AWS_SECRET_ACCESS_KEY=$secret_key AWS_REGION=us-east-1" \
        "LARDER_TEST_S3_SERVER=$kind" "$tls" > "$state/variables"
    cat "$state/variables"
}

answers() {
    python3 - "$1" << 'PYTHON' 2> /dev/null
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
connection.request("GET", "/")
connection.getresponse()
PYTHON
}

start() {
    if running && [ -e "$state/variables" ]; then
        cat "$state/variables"
        return
    fi
    stop
    mkdir -p "$state"
    kind=${LARDER_TEST_S3_SERVER:-}
    if [ -z "$kind" ]; then
        kind=rgw
        if ! can_run_rgw; then
            kind=moto
            say "no root, no Debian, or no namespaces: moto instead of Ceph's RGW"
        fi
    fi
    case $kind in
    rgw) start_rgw ;;
    moto) start_moto ;;
    *) say "unknown server $kind" && exit 2 ;;
    esac
}

# At once: the cluster is thrown away, and would take its time to say goodbye. The
# namespace's process 1 takes all others with it before it is gone, so that no
# one still writes to what is removed here.
stop() {
    if running; then
        first=$(cat "/proc/$pid/task/$pid/children" 2> /dev/null) || first=
        # shellcheck disable=SC2086 # at most one, and without it a space
        kill -KILL ${first:-$pid} || true
        while running; do sleep 0.1; done
    fi
    rm -rf "$state"
}

case ${1-} in
start) start ;;
stop) stop ;;
enter | serve) "$@" ;;
*) say "use: start or stop" && exit 2 ;;
esac
