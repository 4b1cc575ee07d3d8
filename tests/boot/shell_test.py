#!/usr/bin/python3
"""A person at the serial console: types commands at the shell prompt, restarts the guest, switches it off.

    shell_test.py --emulator "PATH [options]" [--kernel vmlinuz-cloud]
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Session, guest_file, run_test  # noqa: E402

PROMPT = r"calque# "


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    args = parser.parse_args()
    command = shlex.split(args.emulator) + [
        "-nographic", "-m", "256M", "-kernel", guest_file(args.kernel), "-initrd", guest_file("mini.cpio.gz"),
        "-append", "console=ttyS0 quiet",
    ]
    with Session(command) as session:
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.wait_for(PROMPT)
        session.type("echo $((6 * 7)) sum\r")
        session.wait_for(r"^42 sum")
        session.wait_for(PROMPT)
        # Backspace, cursor keys and a line longer than the UART's FIFO.
        session.type("echo wrong\b\b\b\b\bright\x1b[D\x1b[D\x1b[D\x1b[D\x1b[DX\r")
        session.wait_for(r"^Xright")
        session.wait_for(PROMPT)
        long_line = "abcdefghijklmnopqrstuvwxyz" * 6
        session.type(f"echo {long_line} | md5sum\r")
        session.wait_for(r"^[0-9a-f]{32}  -")
        session.wait_for(PROMPT)
        # Ctrl-C reaches the guest, not the emulator.
        # (The line editor reads it as a character; once a command runs, the terminal makes a signal of it.)
        # In a process of its own: a shell that is about to start one may miss the signal.
        session.type("sh -c 'echo begun; exec sleep 100000'\r")
        session.wait_for(r"^begun")
        session.type("\x03")
        session.wait_for(PROMPT)
        session.type("reboot\r")
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.wait_for(PROMPT)
        session.type("poweroff\r")
        session.expect_end(0)
    # Ctrl-A x ends the emulator whatever the guest does.
    with Session(command) as session:
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.type("\x01x")
        session.expect_end(0)


if __name__ == "__main__":
    sys.exit(run_test(main))
