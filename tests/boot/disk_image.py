"""Disk images and discs that tests boot from, made with Debian's tools and without loop devices or mounts."""

import struct
import subprocess
from pathlib import Path

GRUB = Path("/usr/lib/grub/i386-pc")
MODULES = "biosdisk part_msdos ext2 iso9660 search search_label normal configfile linux serial terminal echo test ls boot"
FIRST_SECTOR = 2048
SECTOR = 512


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, **options)


def grub_config(words: str) -> str:
    return (
        "serial --unit=0 --speed=115200\n"
        "terminal_input serial\nterminal_output serial\n"
        f"echo CALQUE-GRUB\nlinux /vmlinuz {words}\ninitrd /initrd\nboot\n"
    )


def make_system(image: Path, folder: Path, kernel: Path, initrd: Path, words: str, marker: bytes, mib: int = 128):
    """An MBR with GRUB, and one ext4 partition with the kernel, the initramfs and a file that only the test knows."""
    tree = folder / "tree"
    (tree / "grub").mkdir(parents=True)
    (tree / "vmlinuz").write_bytes(kernel.read_bytes())
    (tree / "initrd").write_bytes(initrd.read_bytes())
    (tree / "grub" / "grub.cfg").write_text(grub_config(words))
    (tree / "marker").write_bytes(marker)
    sectors = mib * 2048 - FIRST_SECTOR
    with open(image, "wb") as file:
        file.truncate(mib << 20)
    run("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", f"offset={FIRST_SECTOR * SECTOR}", image, f"{sectors // 2}k")
    core = folder / "core.img"
    run("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(hd0,msdos1)/grub", *MODULES.split())
    # boot.img loads the sector behind itself, which loads the rest: GRUB's core fills the gap before the partition.
    table = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", FIRST_SECTOR, sectors)
    with open(image, "r+b") as file:
        file.write((GRUB / "boot.img").read_bytes()[:440])
        file.seek(446)
        file.write(table + bytes(48) + b"\x55\xaa")
        contents = core.read_bytes()
        assert len(contents) <= (FIRST_SECTOR - 1) * SECTOR
        file.write(contents)


def take_partition(image: Path, partition: Path) -> Path:
    """A copy of the partition: e2fsck repairs no file system inside a larger file."""
    run("dd", f"if={image}", f"of={partition}", "bs=1M", f"skip={FIRST_SECTOR * SECTOR >> 20}", "conv=sparse", "status=none")
    return partition


def read_file(partition: Path, path: str, into: Path) -> bytes:
    run("/sbin/debugfs", "-R", f"dump {path} {into}", partition, stderr=subprocess.DEVNULL)
    return into.read_bytes()


def check(partition: Path, *options: str) -> int:
    """e2fsck's status: 0 when there is nothing to repair, 1 when something was."""
    return subprocess.run(["/sbin/e2fsck", "-f", *options, str(partition)]).returncode


def make_isolinux(iso: Path, folder: Path, kernel: Path, initrd: Path, words: str):
    tree = folder / "disc"
    (tree / "isolinux").mkdir(parents=True)
    for part in ("/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32"):
        (tree / "isolinux" / Path(part).name).write_bytes(Path(part).read_bytes())
    (tree / "vmlinuz").write_bytes(kernel.read_bytes())
    (tree / "initrd").write_bytes(initrd.read_bytes())
    (tree / "isolinux" / "isolinux.cfg").write_text(
        f"SAY CALQUE-ISOLINUX\nPROMPT 1\nTIMEOUT 0\nDEFAULT linux\nLABEL linux\n  KERNEL /vmlinuz\n  INITRD /initrd\n  APPEND {words}\n"
    )
    run("xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
        "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree)
