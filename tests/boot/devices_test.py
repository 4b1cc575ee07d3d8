#!/usr/bin/python3
"""Debian's drivers find calque's devices and use them.

    devices_test.py --emulator "PATH [options]" --test NAME [--kernel vmlinuz-cloud]
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Session, guest_file, run_test  # noqa: E402

PROMPT = r"calque# "


def boot(args, *options: str) -> Session:
    return Session(
        shlex.split(args.emulator)
        + ["-nographic", "-m", "256M", "-no-reboot", "-kernel", guest_file(args.kernel), "-initrd", guest_file("devices.cpio.gz")]
        + ["-append", "console=ttyS0 quiet", *options]
    )


def command(session: Session, line: str, pattern: str):
    """Types a command at the shell and waits for what it must print."""
    session.wait_for(PROMPT)
    session.type(line + "\r")
    return session.wait_for(pattern)


def end(session: Session):
    session.wait_for(PROMPT)
    session.type("poweroff\r")
    session.expect_end(0)


def rng(args):
    """/dev/hwrng gives the host's bytes: by messages, by the line, through the legacy interface, from a file."""
    for properties in ("", ",vectors=0", ",disable-modern=on", ",disable-legacy=on"):
        with boot(args, "-device", f"virtio-rng-pci{properties}") as session:
            command(session, "cat /sys/class/misc/hw_random/rng_current", r"^virtio_rng\.0")
            command(session, "dd if=/dev/hwrng bs=4096 count=16 2>/dev/null | wc -c", r"^65536")
            if properties == "":
                command(session, "grep -c 'MSI.*virtio0-input' /proc/interrupts", r"^1$")
            end(session)
    zeros = ("-object", "rng-random,id=zeros,filename=/dev/zero", "-device", "virtio-rng-pci,rng=zeros,addr=9")
    with boot(args, *zeros) as session:
        command(session, "dd if=/dev/hwrng bs=1024 count=4 2>/dev/null | md5sum", r"^620f0b67a91f7f74151bc5be745b7110")
        command(session, "ls -d /sys/bus/pci/devices/0000:00:09.0/virtio*", r"virtio0$")
        end(session)


TESTS = {"rng": rng}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    arguments = parser.parse_args()
    sys.exit(run_test(lambda: TESTS[arguments.test](arguments)))
