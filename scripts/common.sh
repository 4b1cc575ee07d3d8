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

# Unpacks Debian packages into a folder without installing them: unpack_packages <folder> <package[:arch]>...
unpack_packages() {
    local into=$1 package
    shift
    fetch_packages "$@"
    mkdir -p "$into"
    for package in "$@"; do
        dpkg-deb -x "$(cached_package "$package")" "$into"
    done
}

# Downloads the packages that are not in the cache. What is there stays, so that a second run works without a network.
fetch_packages() {
    local package missing=()
    mkdir -p "$CALQUE_CACHE/packages"
    for package in "$@"; do
        [ -n "$(cached_package "$package")" ] && continue
        apt_knows "$package" || die "apt knows no package $package; is Debian's archive in this machine's apt sources?"
        missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Downloading ${#missing[@]} packages: ${missing[*]}"
    if ! download "${missing[@]}"; then
        # Package lists older than the archive name versions that are gone.
        say "That failed; fetching Debian's package lists"
        as_root apt-get -q update >&2 || die "cannot refresh the package lists: run 'apt-get update' as root, then this again"
        download "${missing[@]}" || die "could not download ${missing[*]}; is there a network?"
    fi
}

download() { (cd "$CALQUE_CACHE/packages" && apt-get -qq -o APT::Sandbox::User=root download "$@" >&2); }

# Prints the path of a package's .deb in the cache, nothing when it is not there.
cached_package() {
    local name=${1%%:*} arch candidate
    arch=${1#"$name"}
    arch=${arch#:}
    for candidate in "$CALQUE_CACHE/packages/${name}"_*_"${arch:-$(dpkg --print-architecture)}.deb" \
        "$CALQUE_CACHE/packages/${name}"_*_all.deb; do
        [ -f "$candidate" ] && printf '%s\n' "$candidate" && return
    done
    return 0
}

# Packs a folder as a newc cpio archive that is the same bytes every time: sorted names, fixed owner, times and inodes.
pack_initramfs() {
    local tree=$1
    find "$tree" -mindepth 1 -print0 | xargs -0r touch -h -d @1
    (cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -H newc -o)
}
