#!/usr/bin/python3
"""GRUB starts Debian's Xen by multiboot2, and Xen a kernel of Debian's as its privileged, paravirtual guest.

    xen_test.py --emulator "PATH [options]" [--smp N]
"""

import argparse
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import Session, guest_file, run_test  # noqa: E402

# The word in front is where a loader puts the file's name.
XEN = "multiboot2 ($root)/xen.gz placeholder console=com1 com1=115200 loglvl=all noreboot"


def start(args, *options) -> Session:
    return Session(shlex.split(args.emulator) + ["-nographic", "-no-reboot", "-smp", str(args.smp)] + [str(option) for option in options])


def wait_for_xen(args, session: Session):
    session.wait_for(r"CALQUE-GRUB")
    session.wait_for(r"\(XEN\) Xen version 4\.17")
    session.wait_for(rf"\(XEN\) Brought up {args.smp} CPUs")
    session.wait_for(r"\(XEN\) \*\*\* Building a PV Dom0 \*\*\*")
    session.wait_for(r"Booting kernel on Xen")


def judge(session: Session):
    if re.search(r"WARNING:|BUG:|\(XEN\).*(crash|[Ff]atal|trapped)", session.output):
        session.fail("Xen or the kernel complains")


def test(args, folder: Path):
    iso = folder / "xen.iso"
    disk_image.make_rescue(
        iso, folder, [(guest_file("xen.gz"), "xen.gz"), (guest_file("vmlinuz"), "vmlinuz"), (guest_file("mini.cpio.gz"), "initrd")],
        f"{XEN} dom0_mem=384M\nmodule2 /vmlinuz placeholder console=hvc0 calque.test=boot\nmodule2 --nounzip /initrd")
    with start(args, "-m", "1G", "-nic", "none", "-cdrom", iso) as session:
        wait_for_xen(args, session)
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.wait_for(rf"CALQUE-CPUS {args.smp}$")
        session.wait_for(r"CALQUE-TEST boot PASS")
        session.wait_for(r"\(XEN\) Entering ACPI S5 state")
        session.expect_end(0)
        judge(session)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--smp", type=int, default=1)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="calque-xen-", dir="/var/tmp"))
    try:
        status = run_test(lambda: test(arguments, place))
    finally:
        shutil.rmtree(place)
    sys.exit(status)
