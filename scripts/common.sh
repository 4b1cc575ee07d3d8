# Shared by the project's scripts: where the cache is, how a script speaks, how it becomes root. Sourced, not run.
# shellcheck shell=bash

CALQUE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CALQUE_CACHE=${CALQUE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/calque}
export CALQUE_CACHE

# Progress goes to stderr, so that a script's output can be a path that another script reads.
say() { printf '== %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command as root: directly, or through sudo where that asks nothing. Status 126 when neither is possible.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        return 126
    fi
}

# True when the package is installed on this machine.
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Makes sure that apt knows a package by that name, fetching the package lists once if it does not.
apt_knows() {
    apt-cache show "$1" >/dev/null 2>&1 && return 0
    if [ -z "${CALQUE_APT_UPDATED:-}" ]; then
        say "Fetching Debian's package lists"
        as_root apt-get -q update >&2 || true
        export CALQUE_APT_UPDATED=1
    fi
    apt-cache show "$1" >/dev/null 2>&1
}

# Unpacks Debian packages into a folder without installing them: unpack_packages <folder> <package>...
# A downloaded package stays in the cache, so that a second run works without a network.
unpack_packages() {
    local into=$1 package deb
    shift
    mkdir -p "$CALQUE_CACHE/packages" "$into"
    for package in "$@"; do
        deb=$(fetch_package "$package") || die "could not get the Debian package $package"
        dpkg-deb -x "$deb" "$into"
    done
}

# Prints the path of a package's .deb in the cache, downloading it when it is not there. Takes name or name:arch.
fetch_package() {
    local package=$1 name=${1%%:*} arch found
    arch=${package#"$name"}
    arch=${arch#:}
    found=$(cached_package "$name" "${arch:-$(dpkg --print-architecture)}")
    if [ -z "$found" ]; then
        apt_knows "$package" || die "apt knows no package $package; is Debian's archive in this machine's apt sources?"
        (cd "$CALQUE_CACHE/packages" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2) \
            || { apt_refetch "$package" || return 1; }
        found=$(cached_package "$name" "${arch:-$(dpkg --print-architecture)}")
    fi
    [ -n "$found" ] && printf '%s\n' "$found"
}

# A download that fails with stale package lists works after a fresh update.
apt_refetch() {
    [ -z "${CALQUE_APT_UPDATED:-}" ] || return 1
    as_root apt-get -q update >&2 || return 1
    export CALQUE_APT_UPDATED=1
    (cd "$CALQUE_CACHE/packages" && apt-get -q -o APT::Sandbox::User=root download "$1" >&2)
}

cached_package() {
    local candidate
    for candidate in "$CALQUE_CACHE/packages/$1"_*_"$2".deb "$CALQUE_CACHE/packages/$1"_*_all.deb; do
        [ -f "$candidate" ] && printf '%s\n' "$candidate" && return
    done
}

# Packs a folder as a newc cpio archive that is the same bytes every time: sorted names, fixed owner, times and inodes.
pack_initramfs() {
    local tree=$1
    find "$tree" -mindepth 1 -print0 | xargs -0r touch -h -d @1
    (cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -H newc -o)
}
