#!/bin/bash
# Makes a Debian 12 system on a disk image: a raw image with one partition, GRUB, Debian's stock kernel, ssh, a user.
#
#   scripts/debian.sh            prints the image's path; makes it when it is not in the cache
#   scripts/debian.sh desktop    the same of a system with Xorg, a window manager and a terminal, which comes up logged in
#   scripts/debian.sh [desktop] --again   makes it anew
#
# User debian with password debian, who may sudo; root has the same password on the console. The image stays in
# $CALQUE_CACHE/debian/debian.img (desktop.img), and what a guest changes in it stays too.
set -euo pipefail
. "$(dirname "$0")/common.sh"

PLACE=$CALQUE_CACHE/debian
KIND=debian
if [ "${1:-}" = desktop ]; then
    KIND=desktop
    shift
fi
IMAGE=$PLACE/$KIND.img
SIZE_MIB=8192 # Sparse: what is not written takes no room.
LABEL=calque-root
PACKAGES="linux-image-amd64,systemd-sysv,udev,dbus,login,passwd,sudo,openssh-server,iproute2,iputils-ping,procps,kmod,\
initramfs-tools,e2fsprogs,util-linux,less,nano,ca-certificates,wget,grub2-common,grub-pc-bin"
# libpam-systemd gives the session the screen and the input devices, so that Xorg runs without root.
DESKTOP_PACKAGES="libpam-systemd,xserver-xorg-core,xserver-xorg-input-libinput,xinit,x11-xserver-utils,x11-xkb-utils,xkb-data,\
icewm,xterm,fonts-dejavu-core"
WORDS="console=tty0 console=ttyS0,115200 net.ifnames=0"
[ $KIND != desktop ] || PACKAGES+=,$DESKTOP_PACKAGES

[ "${1:-}" != --again ] || rm -f "$IMAGE"
if [ -f "$IMAGE" ]; then
    printf '%s\n' "$IMAGE"
    exit
fi
"$CALQUE_ROOT/scripts/setup.sh" debian
as_root true || die "making a system needs root: run this as root, or where sudo asks nothing"
mkdir -p "$PLACE"

# The tree belongs to root, so everything that touches it runs as root.
tree=$PLACE/tree.$$ new=$IMAGE.$$
trap 'as_root rm -rf "$tree" "$new" "$PLACE/core.$$" "$PLACE/early.$$"' EXIT

make_tree() {
    local archive=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
    [ -n "$mirror" ] || die "apt knows no archive of Debian 12 (bookworm) on this machine"
    say "Installing Debian 12 into a folder ($([ $KIND = desktop ] && echo 400 || echo 300) packages, a few minutes)"
    as_root mmdebstrap --mode=root --variant=minbase --include="$PACKAGES" --keyring="$archive" \
        --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$tree" "$mirror" >&2
}

write() { as_root tee "$tree$1" >/dev/null; }

configure_tree() {
    say "Setting it up"
    echo "LABEL=$LABEL / ext4 errors=remount-ro,discard 0 1" | write /etc/fstab
    echo calque | write /etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 calque\n' | write /etc/hosts
    printf '[Match]\nName=e*\n[Network]\nDHCP=yes\n[DHCPv4]\nUseHostname=no\n' | write /etc/systemd/network/20-wired.network
    echo "nameserver 10.0.2.3" | write /etc/resolv.conf
    as_root chroot "$tree" systemctl enable systemd-networkd >/dev/null 2>&1
    # Nothing else of the boot waits for a cable that may not be there.
    as_root chroot "$tree" systemctl disable systemd-networkd-wait-online >/dev/null 2>&1 || true
    as_root chroot "$tree" useradd -m -s /bin/bash -G sudo debian
    printf 'debian:debian\nroot:debian\n' | as_root chroot "$tree" chpasswd
    echo 'debian ALL=(ALL) NOPASSWD: ALL' | write /etc/sudoers.d/debian
    as_root chmod 440 "$tree/etc/sudoers.d/debian"
    as_root truncate -s 0 "$tree/etc/machine-id" # Each image's first boot gives it its own.
    # No splash, no suspend: the initramfs needs the drivers of emulated disks only.
    as_root sed -i 's/^MODULES=.*/MODULES=most/' "$tree/etc/initramfs-tools/initramfs.conf"
}

# The first console logs its user in, whose session is the desktop. When that ends there is a shell.
configure_desktop() {
    as_root mkdir -p "$tree/etc/systemd/system/getty@tty1.service.d"
    printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin debian --noclear %%I $TERM\n' |
        write /etc/systemd/system/getty@tty1.service.d/autologin.conf
    # shellcheck disable=SC2016
    printf '%s\n' 'if [ "$(tty)" = /dev/tty1 ] && [ -z "${DISPLAY:-}" ]; then startx >"$HOME/.xsession.log" 2>&1; fi' |
        as_root tee -a "$tree/home/debian/.profile" >/dev/null
    write /home/debian/.xinitrc <<'END'
xset s off -dpms
xrdb -merge "$HOME/.Xresources"
xterm -geometry 80x24+60+60 &
exec icewm-session
END
    write /home/debian/.Xresources <<'END'
XTerm*faceName: DejaVu Sans Mono
XTerm*faceSize: 11
XTerm*selectToClipboard: true
END
    as_root chroot "$tree" chown debian:debian /home/debian/.xinitrc /home/debian/.Xresources
}

configure_grub() {
    as_root mkdir -p "$tree/boot/grub"
    as_root cp -r /usr/lib/grub/i386-pc "$tree/boot/grub/"
    write /boot/grub/grub.cfg <<END
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=1
menuentry "Debian GNU/Linux" {
    search --no-floppy --label $LABEL --set=root
    linux /vmlinuz root=LABEL=$LABEL ro $WORDS
    initrd /initrd.img
}
END
    printf 'GRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="%s"\nGRUB_TERMINAL="console serial"\nGRUB_TIMEOUT=1\n' \
        "$WORDS" | write /etc/default/grub
}

# A partition from 1 MiB on, as its four fields of the MBR's table: active, Linux, first sector, sectors. GRUB's core
# lies in the gap before it: boot.img loads the sector behind itself, and that one the rest, by its own list.
make_image() {
    local first=2048 sectors=$((SIZE_MIB * 2048 - 2048))
    say "Writing the image"
    truncate -s "${SIZE_MIB}M" "$new"
    as_root mke2fs -q -t ext4 -L "$LABEL" -d "$tree" -E "offset=$((first * 512)),lazy_itable_init=1" \
        "$new" "$((sectors / 2))k"
    as_root chown "$(id -u):$(id -g)" "$new"
    echo "search.fs_label $LABEL root
set prefix=(\$root)/boot/grub" >"$PLACE/early.$$"
    grub-mkimage -O i386-pc -o "$PLACE/core.$$" -p /boot/grub -c "$PLACE/early.$$" \
        biosdisk part_msdos ext2 search search_label normal configfile linux serial terminal echo test ls boot gzio
    [ "$(stat -c %s "$PLACE/core.$$")" -lt $(((first - 1) * 512)) ] || die "GRUB's core does not fit before the partition"
    dd if=/usr/lib/grub/i386-pc/boot.img of="$new" bs=440 count=1 conv=notrunc status=none
    dd if="$PLACE/core.$$" of="$new" bs=512 seek=1 conv=notrunc status=none
    {
        printf '\x80\xfe\xff\xff\x83\xfe\xff\xff'
        little_endian $first
        little_endian $sectors
    } | dd of="$new" bs=1 seek=446 conv=notrunc status=none
    printf '\x55\xaa' | dd of="$new" bs=1 seek=510 conv=notrunc status=none
}

# A number as four bytes.
little_endian() {
    local shift
    for shift in 0 8 16 24; do printf "\\x$(printf %02x $(($1 >> shift & 255)))"; done
}

make_tree
configure_tree
[ $KIND != desktop ] || configure_desktop
configure_grub
make_image
mv "$new" "$IMAGE"
say "It is at $IMAGE"
printf '%s\n' "$IMAGE"
