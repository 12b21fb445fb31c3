# shellcheck shell=sh
# What the scripts beside this one share. They read it in; by itself it does nothing.
#
# Clients are installed in pinned versions, below the user's cache directory, and found
# there again. The server is the program in LARDER, or else a debug build; it listens on
# a free port of loopback, and its store is gone at the end, like all else that a script
# makes.

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/larder-tests
server=

say() {
    echo "$(basename "$0"): $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Makes $work, a directory for this run, and sees to it that nothing is left over.
begin() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/larder-clients-XXXXXX")
    trap end EXIT
    trap 'exit 130' INT TERM
}

end() {
    status=$?
    [ $status = 0 ] || [ ! -e "$work/serve.err" ] || tail -n 20 "$work/serve.err" >&2
    [ -z "$server" ] || kill -KILL "$server" 2> /dev/null || true
    rm -rf "$work"
}

# Installs a program's Debian package if the program is missing.
need() {
    command -v "$1" > /dev/null || install_package "$2"
}

install_package() {
    say "install $1"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$1" > /dev/null
}

# Gives the directory of an environment of Python with packages, built once.
venv() {
    name=$1
    shift
    if [ ! -e "$cache/$name/complete" ]; then
        say "install $name"
        need python3 python3
        # Debian's Python comes without what makes environments.
        python3 -c 'import ensurepip' 2> /dev/null || install_package python3-venv
        rm -rf "${cache:?}/$name"
        mkdir -p "$cache"
        python3 -m venv "$cache/$name" >&2
        "$cache/$name/bin/pip" install --quiet "$@" >&2
        : > "$cache/$name/complete"
    fi
    echo "$cache/$name"
}

# Starts a server with a store in $work, and gives where it listens in $endpoint.
serve() {
    if [ -z "${LARDER-}" ]; then
        (cd "$root" && cargo build --locked --quiet --bin larder)
        LARDER=${CARGO_TARGET_DIR:-$root/target}/debug/larder
    fi
    "$LARDER" --no-config --store "$work/store" serve --listen 127.0.0.1:0 "$@" \
        > "$work/serve.out" 2> "$work/serve.err" &
    server=$!
    tries=0
    until endpoint=$(sed -n 's,^listening on ,,p' "$work/serve.out") &&
        [ -n "$endpoint" ]; do
        tries=$((tries + 1))
        [ $tries -le 600 ] && kill -0 "$server" 2> /dev/null || fail "the server did not start"
        sleep 0.1
    done
}

# Ends the server as a service manager would; it has to leave without an error.
unserve() {
    kill -TERM "$server"
    wait "$server" || fail "the server ended with $?"
    server=
}
