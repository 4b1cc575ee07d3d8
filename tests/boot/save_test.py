#!/usr/bin/python3
"""A machine that is saved in the middle of its boot goes on in another process, to the same end.

    save_test.py --calque PATH [--kernel vmlinuz-cloud] [--smp 2]

One boot is saved at several points, each time through the monitor behind Ctrl-A c, and then let go on. Each saved state
is then loaded in a fresh process, which must finish the boot and end with status 0.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Failure, Session, guest_file, run_test  # noqa: E402

# From the first lines of the kernel to user space.
POINTS = {
    "early": r"console \[ttyS0\] enabled",
    "interrupts": r"Switch to symmetric I/O|clocksource: ",
    "devices": r"pci_bus 0000:00",
    "initramfs": r"Unpacking initramfs|Trying to unpack rootfs|rootfs image",
    "user": r"CALQUE-GUEST-READY",
}


def refused(command: list, state: Path, saying: str):
    """The state does not fit: one sentence that says why, status 1."""
    done = subprocess.run([*map(str, command), "--load", str(state)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    text = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode != 1 or len(text.splitlines()) != 1 or saying not in text or str(state) not in text:
        raise Failure(f"{state.name}: status {done.returncode}, said {text!r}, not {saying!r}")


def check_states_that_do_not_fit(command: list, state: Path):
    def with_option(name, value):
        at = command.index(name) + 1
        return [*command[:at], value, *command[at + 1:]]

    refused(with_option("-m", "192M"), state, "-m")
    refused(with_option("-smp", "3"), state, "-smp")
    refused([*command, "-cpu", "max,-avx2"], state, "-cpu")
    refused([*command, "-device", "isa-debug-exit"], state, "-device")
    good = state.read_bytes()
    broken = state.with_name("broken")
    for size in (0, 5, 24, 1000, len(good) // 2, len(good) - 1):
        broken.write_bytes(good[:size])
        refused(command, broken, "is empty" if size == 0 else "state")
    for at in (0, 20, 100, len(good) // 2, len(good) - 1):
        broken.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])
        refused(command, broken, "state")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calque", required=True)
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    parser.add_argument("--smp", default="2")
    parser.add_argument("--memory", default="256M")
    args = parser.parse_args()
    command = [
        args.calque, "-nographic", "-m", args.memory, "-smp", args.smp, "-no-reboot", "-kernel", guest_file(args.kernel),
        "-initrd", guest_file("mini.cpio.gz"), "-append", "console=ttyS0 calque.test=boot",
    ]
    with tempfile.TemporaryDirectory(prefix="calque-save-") as folder:
        with Session(command) as session:
            for name, pattern in POINTS.items():
                if not re.search(pattern, session.output):  # The guest may have run past it while the last one was saved.
                    session.wait_for(pattern)
                session.type("\x01c")
                session.wait_for(r"\(calque\) ")
                session.type(f"savestate {folder}/{name}\r")
                session.wait_for(r"saved to ")
                session.wait_for(r"\(calque\) ")
                session.type("\x01c")
            session.wait_for(r"CALQUE-TEST boot PASS")
            session.expect_end(0)
        check_states_that_do_not_fit(command, Path(folder) / "devices")
        for name in POINTS:
            with Session([*command, "--load", f"{folder}/{name}"], terminal=False) as session:
                session.wait_for(r"CALQUE-TEST boot PASS")
                session.expect_end(0)


if __name__ == "__main__":
    sys.exit(run_test(main))
