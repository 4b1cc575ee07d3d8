#!/usr/bin/python3
"""GRUB starts Debian's Xen by multiboot2, and Xen a kernel of Debian's as its privileged, paravirtual guest.

    xen_test.py --emulator "PATH [options]" --test mini|debian [--smp N]

`mini` runs the small initramfs; `debian` the system of ./run debian (made when it is not there), to its login.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
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


def mini(args, folder: Path):
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


def debian(args, folder: Path):
    image = subprocess.run([ROOT / "scripts/debian.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    iso = folder / "xen.iso"
    disk_image.make_rescue(
        iso, folder, [(guest_file("xen.gz"), "xen.gz")],
        f"{XEN} dom0_mem=768M\nsearch --no-floppy --label calque-root --set=root\n"
        # A loaded machine's udev may find the disk and the console later than systemd's minute and a half.
        "module2 /vmlinuz placeholder console=hvc0 root=LABEL=calque-root ro net.ifnames=0 "
        "systemd.default_timeout_start_sec=900\nmodule2 --nounzip /initrd.img")
    with start(args, "-m", "1200M", "-boot", "d", "-cdrom", iso, "-snapshot", "-drive", f"file={image},format=raw,if=virtio") as session:
        wait_for_xen(args, session)
        session.wait_for(r"login: ")
        session.type("debian\r")
        session.wait_for(r"Password: ")
        session.type("debian\r")
        session.wait_for(r"debian@calque:~\$ ")
        session.type("cat /sys/hypervisor/type /sys/hypervisor/guest_type; nproc\r")
        session.wait_for(rf"^xen\nPV\n{args.smp}$")
        session.type("sudo poweroff\r")
        session.wait_for(r"\(XEN\) Entering ACPI S5 state")
        session.expect_end(0)
        judge(session)


TESTS = {"mini": mini, "debian": debian}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    parser.add_argument("--smp", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("xen", lambda folder: TESTS[arguments.test](arguments, folder)))
