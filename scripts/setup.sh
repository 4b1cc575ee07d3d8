#!/bin/bash
# Installs the Debian packages that the project needs and this machine lacks. Does nothing, offline, when all are there.
#
#   scripts/setup.sh build|test|bench|debian|develop ...
#
#   build    to compile calque and fetch the default guest (./run)
#   test     to run every test: the cross compiler, qemu-user, the libFuzzer compiler, QEMU to compare with (./test)
#   bench    the other emulators that bench/run.py measures
#   debian   to make a Debian system (./run debian)
#   develop  what editors and hooks use
set -euo pipefail
. "$(dirname "$0")/common.sh"

BUILD="cmake ninja-build g++ binutils ccache pkg-config libzydis-dev libcapstone-dev libasmjit-dev libfmt-dev libgtest-dev libslirp-dev zlib1g-dev libzstd-dev libnbd-dev libpng-dev libsdl2-dev libvncserver-dev seabios ipxe-qemu cpio gzip python3"
TEST="g++-aarch64-linux-gnu qemu-user qemu-utils clang-14 libclang-rt-14-dev clang-format-14 nasm qemu-system-x86 acpica-tools xorriso isolinux syslinux-common grub-pc-bin grub-common grub-rescue-pc memtest86+ ovmf grub-efi-amd64-bin mtools e2fsprogs fio openssh-client iperf3 xvfb xdotool xclip imagemagick vncsnapshot tigervnc-viewer openbox weston libegl1 libgles2 libgl1-mesa-dri libvirt-daemon-system libvirt-clients gdb binutils"
BENCH="qemu-system-x86 bochs bochs-term bochsbios vgabios xorriso isolinux syslinux-common gcc libc6-dev"
DEBIAN="mmdebstrap e2fsprogs grub-pc-bin grub-common"
DEVELOP="clang-format-14 clang-tidy-14 gdb"

wanted=
for group in "$@"; do
    case $group in
        build) wanted+=" $BUILD" ;;
        test) wanted+=" $TEST" ;;
        bench) wanted+=" $BENCH" ;;
        debian) wanted+=" $DEBIAN" ;;
        develop) wanted+=" $DEVELOP" ;;
        *) die "no group of packages is called $group: build, test, bench, debian or develop" ;;
    esac
done

missing=
for package in $wanted; do
    installed "$package" || missing+=" $package"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null 2>&1 \
    || die "this script installs packages with apt-get, which is not here. Install what matches these Debian packages:$missing"
say "Installing$missing"
install_missing() {
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing >&2
}
as_root true || die "installing packages needs root. Run this as root, then start again: apt-get install$missing"
install_missing || {
    # A fresh machine has no package lists, or old ones.
    say "Fetching Debian's package lists"
    as_root apt-get -q update >&2 && install_missing
} || die "apt-get could not install$missing; its message is above. Is there a network, and is this Debian 12?"
