#!/usr/bin/python3
"""Systems boot from disks and discs through SeaBIOS, and what they write stays.

    disk_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import hashlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402

RESCUE_DRIVE = ("-drive", "file=/usr/lib/grub-rescue/grub-rescue-cdrom.iso,format=raw,if=none,id=c,media=cdrom")
RESCUE_FLOPPY = "/usr/lib/grub-rescue/grub-rescue-floppy.img"
RESCUE_CD = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
COMMON = ["-nographic", "-m", "512M", "-no-reboot"]
MARKER = b"calque's marker\n" * 100_000


def start(args, *options) -> Session:
    return Session(shlex.split(args.emulator) + COMMON + [str(option) for option in options])


def isolinux(args, folder: Path):
    """An isolinux disc: its prompt, then the kernel and initramfs from it."""
    iso = folder / "disc.iso"
    words = "console=ttyS0 calque.test=boot"
    disk_image.make_isolinux(iso, folder, guest_file("vmlinuz-cloud"), guest_file("mini.cpio.gz"), words)
    with start(args, "-cdrom", iso) as session:
        session.wait_for(r"CALQUE-ISOLINUX")
        session.wait_for(r"boot:")
        session.type("linux\r")
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.wait_for(r"CALQUE-TEST boot PASS")
        session.expect_end(0)


def rescue_cd(args, folder: Path, *options):
    """GRUB's rescue disc, by SeaBIOS's console on the serial port."""
    with start(args, *(options or ("-cdrom", RESCUE_CD))) as session:
        session.wait_for(r"executed automatically")
        session.type("c")
        session.wait_for(r"grub>")
        session.type("ls\r") # Short: SeaBIOS's console looks for keys by its timer.
        session.wait_for(r"\(cd\)")
        session.process.terminate()
        session.expect_end(0)


def rescue_floppy(args, folder: Path):
    """GRUB's rescue diskette, which takes its modules from the diskette too."""
    floppy = folder / "floppy.img"
    floppy.write_bytes(Path(RESCUE_FLOPPY).read_bytes())
    with start(args, "-fda", floppy, "-boot", "a") as session:
        session.wait_for(r"for a command-line")
        session.type("c")
        session.wait_for(r"grub>")
        session.type("ls\r") # Short: SeaBIOS's console looks for keys by its timer.
        session.wait_for(r"\(fd0\)")
        session.process.terminate()
        session.expect_end(0)


def floppy(args, folder: Path):
    """Debian's driver reads and writes a diskette with a file system on it."""
    tree, image = folder / "tree", folder / "floppy.img"
    tree.mkdir()
    small = MARKER[:300000]
    (tree / "marker").write_bytes(small)
    image.write_bytes(bytes(1440 << 10))
    disk_image.run("/sbin/mke2fs", "-q", "-F", "-t", "ext2", "-d", tree, image)
    script = ("mkdir -p /mnt; modprobe floppy; mount -t ext4 /dev/fd0 /mnt || exit 1; echo CALQUE-MARKER $(sha256sum </mnt/marker);"
              "dd if=/dev/urandom of=/mnt/written bs=1024 count=500; umount /mnt; mount -t ext4 /dev/fd0 /mnt;"
              "echo CALQUE-WRITTEN $(sha256sum </mnt/written); umount /mnt").replace(" ", "+")
    with start(args, "-kernel", guest_file("vmlinuz"), "-initrd", guest_file("devices.cpio.gz"), "-fda", image,
               "-append", f"console=ttyS0 quiet calque.run={script}") as session:
        marker = session.wait_for(r"CALQUE-MARKER (\w{64})").group(1)
        written = session.wait_for(r"CALQUE-WRITTEN (\w{64})").group(1)
        session.wait_for(r"CALQUE-TEST run PASS")
        session.expect_end(0)
        if marker != hashlib.sha256(small).hexdigest():
            session.fail("the guest read something else than what is on the diskette")
        expect_kept(session, image, folder, written)
        if disk_image.check(image, "-n") != 0:
            session.fail("the file system has errors")


def make_image(folder: Path, words: str = "") -> Path:
    image = folder / "disk.img"
    disk_image.make_system(image, folder, guest_file("vmlinuz"), guest_file("devices.cpio.gz"),
                           f"console=ttyS0 quiet calque.test=disk {words}", MARKER)
    return image


def expect_written(session: Session) -> str:
    session.wait_for(r"CALQUE-GRUB")
    session.wait_for(r"^CALQUE-GUEST-READY")
    marker = session.wait_for(r"CALQUE-MARKER (\w{64})").group(1)
    if marker != hashlib.sha256(MARKER).hexdigest():
        session.fail("the guest read something else than what is on the disk")
    return session.wait_for(r"CALQUE-WRITTEN (\w{64})").group(1)


def expect_kept(session: Session, partition: Path, folder: Path, written: str):
    kept = hashlib.sha256(disk_image.read_file(partition, "/written", folder / "written")).hexdigest()
    if kept != written:
        session.fail("what the guest wrote is not in the image")


def system(args, folder: Path, *options):
    """GRUB, Debian's stock kernel, ext4: boots, writes, and the image holds it afterwards."""
    image = make_image(folder)
    with start(args, *[option.format(image=image) for option in options]) as session:
        written = expect_written(session)
        session.wait_for(r"CALQUE-TEST disk PASS")
        session.expect_end(0)
        partition = disk_image.take_partition(image, folder / "partition")
        expect_kept(session, partition, folder, written)
        if disk_image.check(partition, "-n") != 0:
            session.fail("the file system has errors")


def qemu_img(*words):
    done = subprocess.run(["qemu-img", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def overlay(args, folder: Path, killed: bool):
    """The same from an empty qcow2 over the image: what is written is in the qcow2, which qemu-img finds whole."""
    base = make_image(folder, "calque.kill" if killed else "")
    before = hashlib.sha256(base.read_bytes()).digest()
    image, flat = folder / "disk.qcow2", folder / "flat.img"
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "raw", image)
    with start(args, "-drive", f"file={image},if=virtio,discard=unmap") as session:
        written = expect_written(session)
        if killed:
            os.killpg(session.process.pid, signal.SIGKILL)
            session.process.wait()
        else:
            session.wait_for(r"CALQUE-TEST disk PASS")
            session.expect_end(0)
        status, text = qemu_img("check", image)
        if status not in ((0, 3) if killed else (0,)): # 3: clusters that are counted and not used.
            session.fail(f"qemu-img check ends with {status}: {text}")
        if hashlib.sha256(base.read_bytes()).digest() != before:
            session.fail("the backing file changed")
        qemu_img("convert", "-O", "raw", image, flat)
        partition = disk_image.take_partition(flat, folder / "partition")
        if disk_image.check(partition, "-p" if killed else "-n") not in ((0, 1) if killed else (0,)):
            session.fail("the file system needs more than its journal")
        expect_kept(session, partition, folder, written)


def kill(args, folder: Path, *options):
    """The process is killed while the guest writes: what was synced is there, and the journal repairs the rest."""
    image = make_image(folder, "calque.kill")
    with start(args, *[option.format(image=image) for option in options]) as session:
        written = expect_written(session)
        os.killpg(session.process.pid, signal.SIGKILL)
        session.process.wait()
        partition = disk_image.take_partition(image, folder / "partition")
        if disk_image.check(partition, "-p") not in (0, 1):
            session.fail("the file system needs more than its journal")
        if disk_image.check(partition, "-n") != 0:
            session.fail("the file system has errors after its journal was replayed")
        expect_kept(session, partition, folder, written)


def snapshot(args, folder: Path):
    """-snapshot leaves the image as it was."""
    image = make_image(folder)
    before = hashlib.sha256(image.read_bytes()).digest()
    with start(args, "-snapshot", image) as session:
        expect_written(session)
        session.wait_for(r"CALQUE-TEST disk PASS")
        session.expect_end(0)
        if hashlib.sha256(image.read_bytes()).digest() != before:
            session.fail("the image changed")


TESTS = {
    "isolinux": isolinux,
    "rescue_cd": rescue_cd,
    "rescue_cd.ahci": lambda args, folder: rescue_cd(args, folder, *RESCUE_DRIVE, "-device", "ahci,id=a", "-device", "ide-cd,bus=a.1,drive=c"),
    "rescue_cd.scsi": lambda args, folder: rescue_cd(args, folder, *RESCUE_DRIVE, "-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=c"),
    "rescue_floppy": rescue_floppy,
    "floppy": floppy,
    "ide": lambda args, folder: system(args, folder, "{image}"),
    "virtio": lambda args, folder: system(args, folder, "-drive", "file={image},if=virtio,cache=none"),
    "ahci": lambda args, folder: system(args, folder, "-drive", "file={image},if=none,id=d", "-device", "ahci,id=a", "-device", "ide-hd,bus=a.3,drive=d"),
    "nvme": lambda args, folder: system(args, folder, "-drive", "file={image},if=none,id=d", "-device", "nvme,serial=CALQUE1,drive=d"),
    "scsi": lambda args, folder: system(args, folder, "-drive", "file={image},if=none,id=d", "-device", "virtio-scsi-pci,id=s", "-device", "scsi-hd,bus=s.0,drive=d"),
    "ide.kill": lambda args, folder: kill(args, folder, "-hda", "{image}"),
    "virtio.kill": lambda args, folder: kill(args, folder, "-drive", "file={image},if=virtio"),
    "snapshot": snapshot,
    "qcow2": lambda args, folder: overlay(args, folder, killed=False),
    "qcow2.kill": lambda args, folder: overlay(args, folder, killed=True),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("disk", lambda folder: TESTS[arguments.test](arguments, folder)))
