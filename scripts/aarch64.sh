#!/bin/bash
# Makes the folder of AArch64 libraries that the cross build of base, mmu and cpu links with, and prints its path.
#
# The libraries are Debian's arm64 packages, unpacked into the cache. apt looks them up with a state of its own, so that
# this machine's apt neither learns about the architecture nor is touched.
set -euo pipefail
. "$(dirname "$0")/common.sh"

SYSROOT=$CALQUE_CACHE/aarch64
PACKAGES="libzydis-dev:arm64 libzydis4.0:arm64 libzycore-dev:arm64 libzycore1.4:arm64 libfmt-dev:arm64 libfmt9:arm64 libgtest-dev:arm64"

if [ "$(cat "$SYSROOT/packages" 2>/dev/null)" != "$PACKAGES" ]; then
    say "Fetching AArch64 libraries"
    state=$CALQUE_CACHE/apt-arm64
    mkdir -p "$state"/{lists,cache/archives}/partial "$CALQUE_CACHE/packages"
    arm64=(-q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::Lists="$state/lists"
        -o Dir::Cache="$state/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root -o Debug::NoLocking=1)
    for package in $PACKAGES; do
        [ -n "$(cached_package "$package")" ] && continue
        [ -n "${updated:-}" ] || apt-get "${arm64[@]}" update >&2 || die "cannot fetch Debian's arm64 package lists; is there a network?"
        updated=yes
        (cd "$CALQUE_CACHE/packages" && apt-get "${arm64[@]}" download "${package%%:*}" >&2) \
            || die "could not download $package"
    done
    rm -rf "$SYSROOT.new" "$state"
    # shellcheck disable=SC2086
    unpack_packages "$SYSROOT.new" $PACKAGES
    printf '%s\n' "$PACKAGES" >"$SYSROOT.new/packages"
    rm -rf "$SYSROOT"
    mv "$SYSROOT.new" "$SYSROOT"
fi
printf '%s\n' "$SYSROOT"
