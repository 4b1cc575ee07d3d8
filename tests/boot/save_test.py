#!/usr/bin/python3
"""A machine that is saved in the middle of its boot goes on in another process, to the same end.

    save_test.py --calque PATH [--kernel vmlinuz-cloud] [--smp 2]

One boot is saved at several points, each time through the monitor behind Ctrl-A c, and then let go on. Each saved state
is then loaded in a fresh process, which must finish the boot and end with status 0.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Session, guest_file, run_test  # noqa: E402

# From the first lines of the kernel to user space.
POINTS = {
    "early": r"Linux version",
    "interrupts": r"NR_IRQS",
    "devices": r"pci_bus 0000:00",
    "initramfs": r"Unpacking initramfs|Trying to unpack rootfs|rootfs image",
    "user": r"CALQUE-GUEST-READY",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calque", required=True)
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    parser.add_argument("--smp", default="2")
    parser.add_argument("--memory", default="256M")
    args = parser.parse_args()
    command = [
        args.calque, "-nographic", "-m", args.memory, "-smp", args.smp, "-no-reboot", "-kernel", guest_file(args.kernel),
        "-initrd", guest_file("mini.cpio.gz"), "-append", "console=ttyS0 calque.test=boot,busybox",
    ]
    with tempfile.TemporaryDirectory(prefix="calque-save-") as folder:
        with Session(command) as session:
            for name, pattern in POINTS.items():
                session.wait_for(pattern)
                session.type("\x01c")
                session.wait_for(r"\(calque\) ")
                session.type(f"savestate {folder}/{name}\r")
                session.wait_for(r"saved to ")
                session.wait_for(r"\(calque\) ")
                session.type("\x01c")
            session.wait_for(r"CALQUE-TEST busybox PASS")
            session.expect_end(0)
        for name in POINTS:
            with Session([*command, "--load", f"{folder}/{name}"], terminal=False) as session:
                session.wait_for(r"CALQUE-TEST boot PASS")
                session.wait_for(r"CALQUE-TEST busybox PASS")
                session.expect_end(0)


if __name__ == "__main__":
    sys.exit(run_test(main))
