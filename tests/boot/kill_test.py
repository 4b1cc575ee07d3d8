#!/usr/bin/python3
"""Nothing that a guest has synced is lost when the emulator is killed.

    kill_test.py --emulator PATH --times N [--seed S]

A guest writes and syncs files on ext4, on a qcow2 overlay, each time on another controller; the process is killed at a
random moment. Then qemu-img must find the qcow2 whole, e2fsck must need no more than the journal, and every file that
was synced must be there as it was written.
"""

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402

CONTROLLERS = {
    "virtio": ["-device", "virtio-blk-pci,drive=d"],
    "nvme": ["-device", "nvme,serial=1,drive=d"],
    "ahci": ["-device", "ahci,id=a", "-device", "ide-hd,bus=a.0,drive=d"],
    "scsi": ["-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d"],
    "ide": ["-device", "ide-hd,bus=ide.0,drive=d"],
}
KEPT = 100  # The guest removes older files.


def contents(number: int) -> bytes:
    """As tests/guest/tests/kills writes file `number`."""
    size = 1000 + number * 7919 % 150000
    line = f"record {number}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def read_files(partition: Path, folder: Path):
    """The whole file system, by debugfs."""
    folder.mkdir()
    disk_image.run("/sbin/debugfs", "-R", f"rdump / {folder}", partition, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check(session: Session, folder: Path, image: Path, last: int):
    done = subprocess.run(["qemu-img", "check", image], capture_output=True, text=True)
    if done.returncode not in (0, 3):  # 3: clusters that are counted and not used.
        session.fail(f"qemu-img check ends with {done.returncode}: {done.stdout}{done.stderr}")
    flat, files = folder / "flat.img", folder / "files"
    disk_image.run("qemu-img", "convert", "-O", "raw", image, flat)
    if disk_image.check(flat, "-p") not in (0, 1):
        session.fail("the file system needs more than its journal")
    if disk_image.check(flat, "-n") != 0:
        session.fail("the file system has errors after its journal was replayed")
    read_files(flat, files)
    for number in range(max(0, last - KEPT + 1), last + 1):
        file = files / str(number)
        if not file.exists() or file.read_bytes() != contents(number):
            session.fail(f"file {number} was synced and is not there as it was written")
    shutil.rmtree(files)


def once(args, folder: Path, base: Path, name: str, delay: float):
    image = folder / "disk.qcow2"
    disk_image.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", image)
    command = shlex.split(args.emulator) + ["-nographic", "-m", "256M", "-no-reboot", "-nic", "none", "-kernel", guest_file("vmlinuz"),
               "-initrd", guest_file("devices.cpio.gz"), "-append", "console=ttyS0 quiet calque.test=kills",
               "-drive", f"file={image},if=none,id=d,discard=unmap", *CONTROLLERS[name]]
    with Session(command, quiet=True) as session:
        session.wait_for(r"CALQUE-SYNCED 0\n")  # All of the line: it is counted below.
        end = time.monotonic() + delay
        while time.monotonic() < end:
            session._read(end - time.monotonic())
        os.killpg(session.process.pid, signal.SIGKILL)
        session.process.wait()
        while session._read(0.1) and session.process.poll() is None:
            pass
        # What was on its way through the terminal counts too.
        while select_more(session):
            pass
        last = max(int(number) for number in re.findall(r"CALQUE-SYNCED (\d+)\n", session.output))
        print(f"{name}: killed after file {last}", flush=True)
        check(session, folder, image, last)
    image.unlink()


def select_more(session: Session) -> bool:
    before = len(session.output)
    session._read(0.1)
    return len(session.output) > before


def main(args, folder: Path):
    base = folder / "base.img"
    with open(base, "wb") as file:
        file.truncate(96 << 20)
    disk_image.run("/sbin/mke2fs", "-q", "-F", "-t", "ext4", base)
    chance = random.Random(args.seed)
    names = list(CONTROLLERS) if args.only is None else [args.only]
    for turn in range(args.times):
        once(args, folder, base, names[turn % len(names)], chance.uniform(0.0, 3.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(CONTROLLERS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("kills", lambda folder: main(arguments, folder)))
