#!/bin/bash
# Builds the guests that ./run, ./test and the benches boot, from Debian packages that are unpacked and never installed.
#
#   scripts/guest.sh kernel|cloud|mini|devices|fio|tools|xen|ipxe|all|bench|cd|io|programs|installer ...
#
# Prints one path per item asked for. Everything stays in the cache, so that a second run needs no network:
#   kernel  Debian's stock kernel (linux-image-amd64)          $CALQUE_CACHE/guest/vmlinuz
#   cloud   Debian's cloud kernel (linux-image-cloud-amd64)    $CALQUE_CACHE/guest/vmlinuz-cloud
#   mini    initramfs: busybox, tests, a shell on the console  $CALQUE_CACHE/guest/mini.cpio.gz
#   devices initramfs: mini and both kernels' drivers          $CALQUE_CACHE/guest/devices.cpio.gz
#   screen  initramfs: devices and the drivers of screen, mouse and power button
#   fio     initramfs: devices and Debian's fio               $CALQUE_CACHE/guest/fio.cpio.gz
#   tools   initramfs: openssl, perl, python, gcc, coreutils   $CALQUE_CACHE/guest/tools.cpio
#   bench   initramfs: mini and the benches' workloads         $CALQUE_CACHE/guest/bench.cpio.gz
#   cd      the same with the stock kernel on a CD, for Bochs  $CALQUE_CACHE/guest/bench.iso
#   io      initramfs: devices and what bench/run.py io times  $CALQUE_CACHE/guest/io.cpio.gz
#   xen     the Xen hypervisor                                 $CALQUE_CACHE/guest/xen.gz
#   ipxe    iPXE's disc                                        $CALQUE_CACHE/guest/ipxe.iso
#   installer  Debian's installer, a folder of linux and initrd.gz  $CALQUE_CACHE/guest/installer
#   programs  initramfs: tools and what the benches' programs work on  $CALQUE_CACHE/guest/programs.cpio
set -euo pipefail
. "$(dirname "$0")/common.sh"

GUEST=$CALQUE_CACHE/guest

# What the `tools` guest holds; their dependencies come with them.
TOOLS_PACKAGES="openssl perl-base python3.11 gcc-12 libc6-dev coreutils bash dash grep sed gawk findutils
    diffutils tar gzip bzip2 xz-utils bc"

# What packages need to be installed or to be complete, not for what the tests run.
TOOLS_WITHOUT="c?debconf|dpkg|install-info|init-system-helpers|debianutils|base-files|readline-common|mawk|original-awk|\
media-types|tzdata|perl|perl-modules.*|libperl5.*|mailcap|mime-support|libgdbm.*|libdb5.*|libsqlite3.*|libncursesw6"

# The benches' kernel command line. Without mitigations, which the kernel chooses by what the emulated CPU admits to.
BENCH_WORDS="console=ttyS0 quiet mitigations=off nowatchdog tsc=reliable"

# kernel_image <metapackage> <output>: resolves the metapackage to the versioned one and takes its vmlinuz.
kernel_image() {
    local meta=$1 output=$2 package tree
    [ -f "$output" ] && return
    apt_knows "$meta" || die "apt knows no package $meta; is Debian's archive in this machine's apt sources?"
    package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$package" ] || die "$meta names no versioned kernel package"
    say "Fetching the guest kernel $package"
    tree=$GUEST/unpacked.$$
    unpack_packages "$tree" "$package"
    install -m 644 "$tree"/boot/vmlinuz-* "$output.$$"
    install -m 644 "$tree"/boot/config-* "$output.config"
    rm -rf "$tree"
    mv "$output.$$" "$output"
}

# package_files <package> <path in it> <output>...: of a package whose installation would change how this machine boots.
package_files() {
    local package=$1 tree=$GUEST/unpacked.$$
    shift
    [ ! -f "${!#}" ] || return 0
    unpack_packages "$tree" "$package"
    while [ $# -gt 0 ]; do
        install -D -m 644 "$tree/$1" "$2"
        shift 2
    done
    rm -rf "$tree"
}

installer_files() {
    local images=usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64
    package_files debian-installer-12-netboot-amd64:all $images/linux "$GUEST/installer/linux" $images/initrd.gz "$GUEST/installer/initrd.gz"
}

# The part that every initramfs has: busybox, /init, the test scripts.
common_tree() {
    local tree=$1 busybox applet
    mkdir -p "$tree"/{dev,etc,proc,root,sys,tmp,tests,run,calque/bin}
    busybox=$GUEST/busybox
    if [ ! -f "$busybox" ]; then
        unpack_packages "$GUEST/unpacked.$$" busybox-static
        install -m 755 "$GUEST/unpacked.$$/bin/busybox" "$busybox"
        rm -rf "$GUEST/unpacked.$$"
    fi
    install -m 755 "$busybox" "$tree/calque/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$tree/calque/bin/$applet"
    done
    install -m 755 "$CALQUE_ROOT/tests/guest/init" "$tree/init"
    install -m 755 "$CALQUE_ROOT"/tests/guest/tests/* "$tree/tests/"
    install -m 644 "$CALQUE_ROOT/tests/guest/profile" "$tree/etc/profile"
    printf 'root::0:0:root:/root:/bin/sh\n' >"$tree/etc/passwd"
    printf 'root:x:0:\n' >"$tree/etc/group"
}

# Rebuilds an image when a script or a file that goes into it is newer, and only then.
stale() {
    local output=$1
    [ ! -f "$output" ] || [ -n "$(find "$CALQUE_ROOT/tests/guest" "$CALQUE_ROOT/scripts/guest.sh" -newer "$output" -print -quit)" ]
}

mini_image() {
    local output=$GUEST/mini.cpio.gz tree=$GUEST/mini.$$
    stale "$output" || return 0
    say "Building the initramfs $output"
    common_tree "$tree"
    ln -s calque/bin "$tree/bin"
    ln -s calque/bin "$tree/sbin"
    pack_initramfs "$tree" | gzip -n -9 >"$output.$$"
    mv "$output.$$" "$output"
    rm -rf "$tree"
}

# Drivers of the devices that calque has, and what network tests need: names of modules, some of which one of the kernels
# has built in or not at all.
DRIVERS="virtio_pci virtio_rng virtio_net virtio_blk virtio_balloon virtio_console virtio_scsi virtio_input evdev xhci_pci usbhid hid_generic ahci nvme floppy e1000 8139cp 8139too \
    af_packet failover net_failover 9pnet_virtio 9p ata_piix ata_generic sd_mod sr_mod ext4 isofs crc32c_generic"
# And what a person at the window needs.
WINDOW_DRIVERS="bochs virtio_gpu psmouse button"

# kernel_modules <metapackage> <tree>: the drivers of a kernel with what they depend on, and its modules.dep.
kernel_modules() {
    local meta=$1 tree=$2 package unpacked release modules wanted name
    package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    unpacked=$GUEST/unpacked.$$
    unpack_packages "$unpacked" "$package"
    release=$(ls "$unpacked/lib/modules")
    modules=$unpacked/lib/modules/$release
    (cd "$unpacked" && "$GUEST/busybox" depmod -b "$unpacked" "$release")
    mkdir -p "$tree/lib/modules/$release"
    for name in $DRIVERS; do
        wanted=$(grep -E "(^|/)${name//_/[-_]}\.ko:" "$modules/modules.dep" | head -n 1 | tr -d :) || continue
        for name in $wanted; do
            install -D -m 644 "$modules/$name" "$tree/lib/modules/$release/$name"
        done
    done
    rm -rf "$unpacked"
    "$GUEST/busybox" depmod -b "$tree" "$release"
}

# drivers_image <name> <kernel package>...: the first program loads the drivers of what is there; see tests/guest/init.
drivers_image() {
    local output=$GUEST/$1.cpio.gz tree=$GUEST/$1.$$ package
    shift
    stale "$output" || return 0
    say "Building the initramfs $output"
    common_tree "$tree"
    install -m 755 "$CALQUE_ROOT/tests/guest/udhcpc" "$tree/etc/udhcpc"
    ln -s calque/bin "$tree/bin"
    ln -s calque/bin "$tree/sbin"
    for package; do
        kernel_modules "$package" "$tree"
    done
    pack_initramfs "$tree" | gzip -n -9 >"$output.$$"
    mv "$output.$$" "$output"
    rm -rf "$tree"
}
devices_image() { drivers_image devices linux-image-amd64 linux-image-cloud-amd64; }
# For ./run in a window, and tests of it.
screen_image() { DRIVERS="$DRIVERS $WINDOW_DRIVERS" drivers_image screen linux-image-amd64; }

# Names of the packages that the given ones need, themselves included, without what is only recommended.
closure() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        "$@" 2>/dev/null | grep -E '^[a-z0-9]' | grep -v ':' | LC_ALL=C sort -u
}

# Names of the packages in the `tools` guest, kept in the cache so that a second run asks nobody.
tools_packages() {
    local list=$GUEST/tools.packages package
    if [ ! -f "$list" ] || [ "$CALQUE_ROOT/scripts/guest.sh" -nt "$list" ]; then
        for package in $TOOLS_PACKAGES; do
            apt_knows "$package" || die "apt knows no package $package; is Debian's archive in this machine's apt sources?"
        done
        # shellcheck disable=SC2086
        closure $TOOLS_PACKAGES | grep -vxE "($TOOLS_WITHOUT)" >"$list.$$"
        mv "$list.$$" "$list"
    fi
    cat "$list"
}

tools_tree() {
    local tree=$1
    shift
    unpack_packages "$tree" "$@"
    rm -rf "$tree"/usr/share/{doc,man,info,locale,lintian,bug,doc-base,gcc,gdb,common-licenses,i18n,zoneinfo} \
        "$tree"/usr/lib/x86_64-linux-gnu/gconv "$tree"/var/lib
    # The largest files that no test runs.
    find "$tree" \( -name 'lto1' -o -name '*lto-dump*' -o -name '*-dwp' -o -name '*ld.gold' -o -name '*gprofng*' \
        -o -name 'libmvec.a' -o -name 'lto-wrapper' -o -name '*san*.a' -o -name 'liblsan*' -o -name 'libtsan*' \
        -o -name 'libasan*' -o -name 'libubsan*' -o -name 'libhwasan*' \) -prune -exec rm -rf {} +
    merge_usr "$tree"
    ln -sf dash "$tree/usr/bin/sh"
    ln -sf gawk "$tree/usr/bin/awk"
    ln -sf gcc-12 "$tree/usr/bin/gcc"
    ln -sf gcc-12 "$tree/usr/bin/cc"
    ln -sf python3.11 "$tree/usr/bin/python3"
}

# Debian 12 expects /bin, /sbin and /lib* to be links into /usr; packages still ship files under both names.
merge_usr() {
    local tree=$1 dir
    for dir in bin sbin lib lib64 lib32 libx32; do
        if [ -d "$tree/$dir" ] && [ ! -L "$tree/$dir" ]; then
            mkdir -p "$tree/usr/$dir"
            cp -a "$tree/$dir/." "$tree/usr/$dir/"
            rm -rf "${tree:?}/$dir"
        fi
        [ ! -d "$tree/usr/$dir" ] || ln -s "usr/$dir" "$tree/$dir"
    done
}

# The tree stays beside the image: the host runs the same binaries in it to have results to compare with.
tools_image() {
    local output=$GUEST/tools.cpio tree=$GUEST/tools packages
    stale "$output" || return 0
    packages=$(tools_packages)
    say "Building the initramfs $output"
    if [ "$(cat "$tree.unpacked" 2>/dev/null)" != "$packages" ]; then
        rm -rf "$tree" "$tree.unpacked"
        # shellcheck disable=SC2086
        tools_tree "$tree" $packages
        printf '%s\n' "$packages" >"$tree.unpacked"
    fi
    rm -rf "${tree:?}"/{tests,tmp}
    find "$tree" -name __pycache__ -prune -exec rm -rf {} +
    common_tree "$tree"
    pack_initramfs "$tree" >"$output.$$"
    mv "$output.$$" "$output"
}

# The benches' images are made anew when the content of what goes into them changes: another checkout on this machine may
# have made them from other sources, later.
bench_inputs() {
    find "$CALQUE_ROOT"/bench/{workloads,programs,io} "$CALQUE_ROOT/tests/guest" "$CALQUE_ROOT/scripts/guest.sh" -type f -print0 |
        LC_ALL=C sort -z | xargs -0 cat | sha256sum
}

bench_fresh() { [ -f "$1" ] && [ "$(cat "$1.inputs" 2>/dev/null)" = "$(bench_inputs)" ]; }

# Vectors are where the sources spell them out, and loops over bytes stay loops.
bench_program() {
    gcc -O2 -fno-tree-vectorize -fno-tree-loop-distribute-patterns -static -Wall -Wextra -Werror -o "$GUEST/bench.$$" \
        "$CALQUE_ROOT"/bench/workloads/*.c -lm
    mv "$GUEST/bench.$$" "$GUEST/bench"
}

bench_image() {
    local output=$GUEST/bench.cpio.gz tree=$GUEST/bench-tree.$$
    ! bench_fresh "$output" || return 0
    say "Building the benches' guest $output"
    bench_program
    common_tree "$tree"
    ln -s calque/bin "$tree/bin"
    ln -s calque/bin "$tree/sbin"
    install -m 755 "$GUEST/bench" "$tree/calque/bin/bench"
    pack_initramfs "$tree" | gzip -n -9 >"$output.$$"
    mv "$output.$$" "$output"
    bench_inputs >"$output.inputs"
    rm -rf "$tree"
}

# The devices' guest and the program that reads, writes and transfers.
io_image() {
    local output=$GUEST/io.cpio.gz tree=$GUEST/io-tree.$$
    devices_image
    ! bench_fresh "$output" || [ "$GUEST/devices.cpio.gz" -nt "$output" ] || return 0
    say "Building the guest of the I/O benches $output"
    mkdir -p "$tree/calque/bin"
    gcc -O2 -static -Wall -Wextra -Werror -o "$tree/calque/bin/io" "$CALQUE_ROOT/bench/io/io.c"
    # The kernel unpacks one archive after the other.
    { cat "$GUEST/devices.cpio.gz" && (cd "$tree" && find calque | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | gzip -n -9); } >"$output.$$"
    mv "$output.$$" "$output"
    bench_inputs >"$output.inputs"
    rm -rf "$tree"
}

# The devices' guest with Debian's fio, taken from the host with the libraries that it names.
fio_image() {
    local output=$GUEST/fio.cpio.gz tree=$GUEST/fio-tree.$$ file
    devices_image
    [ ! -f "$output" ] || [ "$GUEST/devices.cpio.gz" -nt "$output" ] || return 0
    command -v fio >/dev/null || die "there is no fio here; scripts/setup.sh installs it"
    say "Building the initramfs $output"
    for file in "$(command -v fio)" $(ldd "$(command -v fio)" | grep -o '/[^ ]*'); do
        install -D -m 755 "$file" "$tree$file"
    done
    # The kernel unpacks one archive after the other.
    { cat "$GUEST/devices.cpio.gz" && (cd "$tree" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | gzip -n -1); } >"$output.$$"
    mv "$output.$$" "$output"
    rm -rf "$tree"
}

# Bochs boots from disks alone: a CD with the same kernel and initramfs that the others are given directly. The kernel
# decides nothing by the boot loader, and only the workloads are timed.
bench_cd() {
    local output=$GUEST/bench.iso tree=$GUEST/cd.$$
    ! bench_fresh "$output" || return 0
    bench_image
    kernel_image linux-image-amd64 "$GUEST/vmlinuz"
    say "Building the benches' CD $output"
    mkdir -p "$tree/isolinux"
    install -m 644 /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$tree/isolinux"
    install -m 644 "$GUEST/vmlinuz" "$tree/vmlinuz"
    install -m 644 "$GUEST/bench.cpio.gz" "$tree/initrd.gz"
    printf 'DEFAULT bench\nPROMPT 0\nLABEL bench\n  KERNEL /vmlinuz\n  INITRD /initrd.gz\n  APPEND %s\n' "$BENCH_WORDS" \
        >"$tree/isolinux/isolinux.cfg"
    xorriso -as mkisofs -quiet -o "$output.$$" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
        -boot-info-table "$tree" >&2
    mv "$output.$$" "$output"
    bench_inputs >"$output.inputs"
    rm -rf "$tree"
}

# The tools' guest with the input of programs.sh. The tree stays: the host runs the same programs in it.
programs_image() {
    local output=$GUEST/programs.cpio tree=$GUEST/programs
    bench_image
    tools_image
    ! bench_fresh "$output" || [ "$GUEST/tools.cpio" -nt "$output" ] || return 0
    say "Building the initramfs $output"
    rm -rf "$tree" "$output.inputs"
    # Links: nothing in the copy is written in place.
    cp -al "$GUEST/tools" "$tree"
    rm -rf "$tree/tests" "$tree/tmp" "$tree/calque"
    find "$tree" -name __pycache__ -prune -exec rm -rf {} +
    common_tree "$tree"
    install -m 755 "$GUEST/bench" "$tree/calque/bin/bench"
    install -m 755 "$GUEST/bench" "$tree/usr/bin/bench"
    mkdir -p "$tree/bench"
    install -m 755 "$CALQUE_ROOT"/bench/programs/programs.sh "$tree/bench/"
    install -m 644 "$CALQUE_ROOT"/bench/programs/work.py "$tree/bench/"
    "$GUEST/bench" --text 8000000 >"$tree/bench/text"
    pack_initramfs "$tree" >"$output.$$"
    mv "$output.$$" "$output"
    bench_inputs >"$output.inputs"
}

mkdir -p "$GUEST"
# Two builds at once would fight over the cache.
exec 9>"$GUEST/lock"
flock 9

[ $# -gt 0 ] || die "say what to build: kernel, cloud, mini, devices, screen, fio, tools, xen, ipxe, bench, cd, io, programs, installer or all"
[ "$*" != all ] || set -- kernel cloud mini devices screen fio tools xen ipxe bench programs
for item in "$@"; do
    case $item in
        kernel) kernel_image linux-image-amd64 "$GUEST/vmlinuz" && echo "$GUEST/vmlinuz" ;;
        cloud) kernel_image linux-image-cloud-amd64 "$GUEST/vmlinuz-cloud" && echo "$GUEST/vmlinuz-cloud" ;;
        mini) mini_image && echo "$GUEST/mini.cpio.gz" ;;
        devices) devices_image && echo "$GUEST/devices.cpio.gz" ;;
        screen) screen_image && echo "$GUEST/screen.cpio.gz" ;;
        fio) fio_image && echo "$GUEST/fio.cpio.gz" ;;
        tools) tools_image && echo "$GUEST/tools.cpio" ;;
        xen) package_files xen-hypervisor-4.17-amd64 boot/xen-4.17-amd64.gz "$GUEST/xen.gz" && echo "$GUEST/xen.gz" ;;
        ipxe) package_files ipxe:all usr/lib/ipxe/ipxe.iso "$GUEST/ipxe.iso" && echo "$GUEST/ipxe.iso" ;;
        installer) installer_files && echo "$GUEST/installer" ;;
        bench) bench_image && echo "$GUEST/bench.cpio.gz" ;;
        io) io_image && echo "$GUEST/io.cpio.gz" ;;
        cd) bench_cd && echo "$GUEST/bench.iso" ;;
        programs) programs_image && echo "$GUEST/programs.cpio" ;;
        *) die "no guest part is called $item: kernel, cloud, mini, devices, screen, fio, tools, xen, ipxe, bench, cd, io, programs, installer or all" ;;
    esac
done
