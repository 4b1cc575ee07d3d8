#!/usr/bin/python3
"""Debian's installer runs by itself from kernel and initrd to an installed disk, which then boots by itself to a login.

    installer_test.py --emulator "PATH [options]" [--cache FOLDER]

The answers (preseed) and the packages come by HTTP from this machine's loopback. The archives at hand list all parts of the installer
(udebs) and keep only some. Debian's are: all that the initrd has (console, network, mirror, loading of parts), the drivers' modules,
base-installer, which installs the system and its kernel, and every package that is installed. Stood in for are
- partman-* and what makes file systems, by calque-disk: it writes the partition table and runs mke2fs of Debian's e2fsprogs;
- di-utils-mapdevfs, by a line of shell;
- debootstrap-udeb, by the files of the debootstrap package;
- grub-installer, by calque-loader: it has apt install grub-pc in the new system, and runs its grub-install and update-grub;
- user-setup, by a password for root in calque-loader.
The steps for clock, time zone, apt's sources and tasks (clock-setup, tzsetup, apt-setup, pkgsel) are not run.
"""

import argparse
import functools
import shlex
import struct
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import debian_repository  # noqa: E402
import disk_image  # noqa: E402
from debian_test import serve  # noqa: E402
from guest_session import Session, cache, run_test_in_folder  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DISK_MIB = 4096
STEP = 3600  # What one step of the installation may take, in seconds.

PRESEED = """\
d-i debian-installer/locale string en_US.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i debian-installer/allow_unauthenticated boolean true
d-i netcfg/choose_interface select auto
d-i mirror/country string manual
d-i mirror/protocol string http
d-i mirror/http/hostname string {server}
d-i mirror/http/directory string /debian
d-i mirror/http/proxy string
d-i mirror/suite string bookworm
d-i base-installer/install-recommends boolean false
d-i base-installer/kernel/image string linux-image-amd64
"""

# The installer's busybox has no fdisk, so that the table comes as bytes. depmod: the modules came after the initrd's own.
MAKE_DISK = """\
#!/bin/sh
set -ex
depmod -a
modprobe virtio_blk
modprobe ext4
update-dev
dd if=/usr/lib/calque/table of=/dev/vda
blockdev --rereadpt /dev/vda
update-dev
/usr/lib/calque/mke2fs -F -q -t ext4 -L installed /dev/vda1
mkdir -p /target
mount -t ext4 /dev/vda1 /target
mkdir -p /target/etc/apt/apt.conf.d
echo 'LABEL=installed / ext4 errors=remount-ro 0 1' >/target/etc/fstab
# Who allows unauthenticated packages has an unsigned index as well.
echo 'Acquire::AllowInsecureRepositories "true";' >/target/etc/apt/apt.conf.d/00unsigned
"""

INSTALL_LOADER = """\
#!/bin/sh
set -ex
echo grub-pc grub-pc/install_devices_empty boolean true | chroot /target debconf-set-selections
in-target env DEBIAN_FRONTEND=noninteractive apt-get -q -y install grub-pc
echo root:calque | chroot /target chpasswd
echo installed >/target/etc/hostname
mkdir -p /target/etc/default/grub.d
cat >/target/etc/default/grub.d/serial.cfg <<END
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=ttyS0,115200 systemd.default_timeout_start_sec=900"
GRUB_TERMINAL=serial
GRUB_TIMEOUT=1
END
in-target grub-install /dev/vda
in-target update-grub
"""

# The standard output of a part's postinst is debconf's. What it says is in the installer's log, which a failure shows.
POSTINST = """\
#!/bin/sh
. /usr/share/debconf/confmodule
if log-output -t calque {program}; then
    echo 'CALQUE-PART {name} done' >/dev/console
    {then}
else
    echo 'CALQUE-PART {name} failed' >/dev/console
    tail -n 25 /var/log/syslog >/dev/console
    exit 1
fi
"""
END = "sync; umount /target/dev /target/proc /target/sys /target/run 2>/dev/null; umount /target || mount -o remount,ro /target; poweroff -f"


def make_part(folder: Path, name: str, control: str, files: dict, postinst: str = "") -> Path:
    """A part of the installer: files by path, each as bytes."""
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: Calque <nobody@localhost>\nSection: debian-installer\nPriority: required\n"
        f"{control}Description: {name}\n")
    if postinst:
        (tree / "DEBIAN" / "postinst").write_text(postinst)
        (tree / "DEBIAN" / "postinst").chmod(0o755)
    for path, contents in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(contents)
        (tree / path).chmod(0o755)
    package = folder / f"{name}.udeb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    return package


def make_parts(folder: Path, packages: Path) -> list:
    """debootstrap from its package, and the two steps of this test."""
    debs = debian_repository.Component(packages, debian_repository.DEBS)
    unpacked = folder / "unpacked"
    for package in ("debootstrap", "e2fsprogs", "libext2fs2", "libcom-err2"):
        debs.unpack(package, unpacked)
    debootstrap = {str(path.relative_to(unpacked)): path.read_bytes()
                   for place in ("usr/share/debootstrap", "usr/sbin/debootstrap") for path in [unpacked / place, *(unpacked / place).rglob("*")]
                   if path.is_file()}
    disk = {
        "bin/mapdevfs": b'#!/bin/sh\nreadlink -f "$1"\n',
        "etc/mke2fs.conf": (unpacked / "etc/mke2fs.conf").read_bytes(),
        "usr/lib/calque/make-disk": MAKE_DISK.encode(),
        "usr/lib/calque/mke2fs": (unpacked / "sbin/mke2fs").read_bytes(),
        "usr/lib/calque/table": bytes(446) + disk_image.partition_table(DISK_MIB * 2048 - disk_image.FIRST_SECTOR),
    }
    for library in ("libext2fs.so.2", "libe2p.so.2", "libcom_err.so.2"):
        disk[f"lib/{library}"] = next(unpacked.rglob(library)).read_bytes()
    return [
        make_part(folder, "debootstrap-udeb", "", debootstrap),
        make_part(folder, "calque-disk", "Provides: created-fstab, made-filesystems, mounted-partitions, partitioned-harddrives, di-utils-mapdevfs\n"
                  f"Depends: ext4-modules-{installer_kernel()}-di, scsi-modules-{installer_kernel()}-di\nInstaller-Menu-Item: 4200\n", disk,
                  POSTINST.format(program="/usr/lib/calque/make-disk", name="disk", then=":")),
        make_part(folder, "calque-loader", "Provides: bootable-system\nDepends: installed-base\nInstaller-Menu-Item: 7300\n",
                  {"usr/lib/calque/install-loader": INSTALL_LOADER.encode()},
                  POSTINST.format(program="/usr/lib/calque/install-loader", name="loader", then=END)),
    ]


@functools.cache
def installer() -> Path:
    """The folder with the installer's kernel and initrd."""
    return Path(subprocess.run([ROOT / "scripts/guest.sh", "installer"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def installer_kernel() -> str:
    """The version that the kernel's header names (Linux x86 boot protocol, kernel_version)."""
    image = (installer() / "linux").read_bytes()
    start = struct.unpack_from("<H", image, 0x20E)[0] + 0x200
    return image[start:image.index(b" ", start)].decode()


def install(args, disk: Path, port: int):
    words = (f"auto=true priority=critical url=http://10.0.2.2:{port}/preseed.cfg hostname=installed domain=test interface=auto "
             "console=ttyS0 DEBIAN_FRONTEND=text TERM=dumb")
    with Session(shlex.split(args.emulator) + [
            "-nographic", "-no-reboot", "-m", "1G", "-kernel", installer() / "linux", "-initrd", installer() / "initrd.gz", "-append", words,
            "-drive", f"file={disk},format=qcow2,if=virtio", "-nic", "user,model=virtio-net-pci"]) as session:
        session.wait_for(r"Loading additional components", STEP)
        session.wait_for(r"CALQUE-PART disk done", STEP)
        session.wait_for(r"Installing the base system", STEP)
        session.wait_for(r"CALQUE-PART loader done", STEP)
        session.expect_end(0, STEP)


def use(args, disk: Path):
    """The installed disk and nothing else."""
    with Session(shlex.split(args.emulator) + ["-nographic", "-no-reboot", "-m", "512M", "-drive", f"file={disk},format=qcow2,if=virtio"]) as session:
        session.wait_for(r"GNU GRUB|Loading Linux")
        session.wait_for(r"^installed login: ")
        session.type("root\r")
        session.wait_for(r"Password: ")
        session.type("calque\r")
        session.wait_for(r"root@installed:~# ")
        session.type(". /etc/os-release; echo $VERSION_CODENAME; dpkg --audit; systemctl is-system-running --wait; findmnt -n -o SOURCE /\r")
        session.wait_for(r"^bookworm\nrunning\n/dev/vda1$")
        session.type("poweroff\r")
        session.expect_end(0)


def test(args, folder: Path):
    packages = args.cache or cache() / "installer"
    packages.mkdir(parents=True, exist_ok=True)
    debian_repository.fetch(packages, installer_kernel())
    served, disk = folder / "served", folder / "disk.qcow2"
    (served / "debian" / "pool").mkdir(parents=True)
    (folder / "parts").mkdir()
    debian_repository.make(packages, served / "debian", make_parts(folder / "parts", packages))
    server = serve(served)
    port = server.server_address[1]
    (served / "preseed.cfg").write_text(PRESEED.format(server=f"10.0.2.2:{port}"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, f"{DISK_MIB}M"], check=True)
    install(args, disk, port)
    server.shutdown()
    subprocess.run(["qemu-img", "check", "-q", disk], check=True)
    use(args, disk)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("installer", lambda folder: test(arguments, folder)))
