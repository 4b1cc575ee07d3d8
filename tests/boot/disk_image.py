"""Disk images and discs that tests boot from, made with Debian's tools and without loop devices or mounts."""

import struct
import subprocess
import uuid
import zlib
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


def partition_table(sectors: int) -> bytes:
    """The last 66 bytes of an MBR: one partition of that many sectors, active, of type Linux, from FIRST_SECTOR on."""
    return struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", FIRST_SECTOR, sectors) + bytes(48) + b"\x55\xaa"


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
    with open(image, "r+b") as file:
        file.write((GRUB / "boot.img").read_bytes()[:440])
        file.seek(446)
        file.write(partition_table(sectors))
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


EFI_GRUB = Path("/usr/lib/grub/x86_64-efi")
EFI_MODULES = "part_gpt fat normal configfile linux serial terminal echo search test ls boot all_video gfxterm"
ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")


def gpt(sectors: int, first: int, last: int) -> tuple:
    """The first and the last sectors of a disk with a GUID partition table of one EFI system partition (UEFI 2.10, 5.3)."""
    entry = ESP_TYPE.bytes_le + uuid.UUID(int=0x1234).bytes_le + struct.pack("<QQQ", first, last, 0) + "ESP".encode("utf-16le").ljust(72, b"\0")
    entries = entry.ljust(128 * 128, b"\0")

    def header(own: int, other: int, table: int) -> bytes:
        fields = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, sectors - 34,
                             uuid.UUID(int=0x5678).bytes_le, table, 128, 128, zlib.crc32(entries))
        return (fields[:16] + struct.pack("<I", zlib.crc32(fields)) + fields[20:]).ljust(SECTOR, b"\0")

    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    mbr = bytes(446) + protective + bytes(48) + b"\x55\xaa"
    return mbr + header(1, sectors - 1, 2) + entries, entries + header(sectors - 1, 1, sectors - 33)


def make_efi_disk(image: Path, files: list, mib: int = 128):
    """A disk with one EFI system partition that holds the files, as pairs of source and path; a path's folders are made."""
    sectors = mib * 2048
    front, back = gpt(sectors, FIRST_SECTOR, sectors - 35)
    with open(image, "wb") as file:
        file.write(front)
        file.truncate(mib << 20)
        file.seek(-len(back), 2)
        file.write(back)
    place = f"{image}@@{FIRST_SECTOR * SECTOR}"
    run("mformat", "-i", place, "-F", "-T", str(sectors - 35 - FIRST_SECTOR), "-h", "16", "-s", "63", "::")
    folders = {str(folder) for _, target in files for folder in Path(target).parents} - {"."}
    for folder in sorted(folders, key=len):
        run("mmd", "-i", place, f"::/{folder}")
    for source, target in files:
        run("mcopy", "-i", place, source, f"::/{target}")


def make_efi_system(image: Path, folder: Path, kernel: Path, initrd: Path, words: str):
    """A disk that UEFI boots: GRUB, the kernel and the initramfs on an EFI system partition."""
    loader, config = folder / "bootx64.efi", folder / "efi-grub.cfg"
    config.write_text(grub_config(words))
    run("grub-mkimage", "-O", "x86_64-efi", "-o", loader, "-p", "/EFI/BOOT", *EFI_MODULES.split())
    make_efi_disk(image, [(loader, "EFI/BOOT/BOOTX64.EFI"), (config, "EFI/BOOT/grub.cfg"), (kernel, "vmlinuz"), (initrd, "initrd")])


def make_rescue(iso: Path, folder: Path, files: list, config: str):
    """A disc that GRUB boots from (by SeaBIOS), with its terminal on the serial line, and these files, as pairs of source and path."""
    tree = folder / "rescue"
    (tree / "boot" / "grub").mkdir(parents=True)
    for source, target in files:
        (tree / target).write_bytes(Path(source).read_bytes())
    (tree / "boot" / "grub" / "grub.cfg").write_text(
        f"serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\necho CALQUE-GRUB\n{config}\nboot\n")
    run("grub-mkrescue", "-d", GRUB, "-o", iso, tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
