#!/usr/bin/python3
"""Debian's fio writes a disk and verifies what it reads back, on each controller.

    fio_test.py --emulator PATH --controller NAME
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402
from kill_test import CONTROLLERS  # noqa: E402

RUNS = ("random", "sequential", "mixed")


def main(args, folder: Path):
    image = folder / "disk.img"
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    command = shlex.split(args.emulator) + ["-nographic", "-m", "768M", "-no-reboot", "-nic", "none", "-kernel", guest_file("vmlinuz"),
               "-initrd", guest_file("fio.cpio.gz"), "-append", "console=ttyS0 quiet calque.test=fio",
               "-drive", f"file={image},format=raw,if=none,id=d", *CONTROLLERS[args.controller]]
    with Session(command) as session:
        for name in RUNS:
            session.wait_for(rf"^CALQUE-FIO {name} verified")
        session.wait_for(r"CALQUE-TEST fio PASS")
        session.expect_end(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--controller", required=True, choices=sorted(CONTROLLERS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("fio", lambda folder: main(arguments, folder)))
