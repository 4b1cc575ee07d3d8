#!/usr/bin/python3
"""OVMF boots: to its shell, to memtest86+, and Debian's kernel through GRUB from a GPT disk; its variables stay in their flash chip.

    uefi_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import re
import shlex
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402

CODE, VARIABLES = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
MEMTEST = Path("/boot/memtest86+x64.efi")
COMMON = ["-nographic", "-no-reboot", "-nic", "none"]


def start(args, *options) -> Session:
    return Session(shlex.split(args.emulator) + COMMON + [str(option) for option in options])


def flash(folder: Path) -> list:
    """The code chip, and one with this test's own variables."""
    variables = folder / "variables.fd"
    if not variables.exists():
        shutil.copy(VARIABLES, variables)
    return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={CODE}", "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]


def to_shell(session: Session):
    session.wait_for(r"in 5 seconds to skip")
    session.type("\x1b")
    session.wait_for(r"Shell>")


def shell(args, _folder: Path):
    """OVMF.fd as a ROM: its shell on the serial line, which ends the machine."""
    with start(args, "-m", "256M", "-bios", "OVMF.fd") as session:
        to_shell(session)
        session.type("ver\r")
        session.wait_for(r"UEFI Interactive Shell v2")
        session.type("pci\r")
        session.wait_for(r"Vendor 1234 Device 1111")
        session.wait_for(r"Shell>")
        session.type("reset -s\r")
        session.expect_end(0)


def variables(args, folder: Path):
    """What the shell keeps in a variable is there the next time, and the code chip is as it was."""
    before = CODE.read_bytes()
    with start(args, "-m", "256M", *flash(folder)) as session:
        to_shell(session)
        session.type("set calque kept-in-flash\r")
        session.wait_for(r"Shell>")
        session.type("reset -s\r")
        session.expect_end(0)
    with start(args, "-m", "256M", *flash(folder)) as session:
        to_shell(session)
        session.type("echo it is %calque%\r")
        session.wait_for(r"^it is kept-in-flash")
        session.type("reset -s\r")
        session.expect_end(0)
        if CODE.read_bytes() != before or "kept-in-flash".encode("utf-16le") not in (folder / "variables.fd").read_bytes():
            session.fail("the variable is not in the file")


def debian(args, folder: Path, *options):
    """GRUB for EFI and Debian's kernel from an EFI system partition; the kernel finds ACPI where UEFI says it is."""
    image = folder / "disk.img"
    disk_image.make_efi_system(image, folder, guest_file("vmlinuz"), guest_file("mini.cpio.gz"), "console=ttyS0 calque.test=boot")
    with start(args, "-m", "512M", "-smp", "2", *flash(folder), *[option.format(image=image) for option in options]) as session:
        session.wait_for(r"CALQUE-GRUB")
        session.wait_for(r"efi: .*EDK II")
        session.wait_for(r"ACPI: RSDP 0x")
        session.wait_for(r"smp: Brought up 1 node, 2 CPUs")
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.wait_for(r"CALQUE-TEST boot PASS")
        session.expect_end(0)
        if re.search(r"WARNING:|BUG:|firmware bug", session.output, re.I):
            session.fail("the kernel complains")


def memtest(args, folder: Path):
    """memtest86+ as an EFI program, which the shell starts: it leaves the boot services, finds the memory and tests it."""
    image, script = folder / "disk.img", folder / "startup.nsh"
    script.write_text("fs0:\r\nmemtest.efi console=ttyS0,115200\r\n")
    disk_image.make_efi_disk(image, [(MEMTEST, "memtest.efi"), (script, "startup.nsh")], 64)
    with start(args, "-m", "256M", *flash(folder), "-drive", f"file={image},format=raw") as session:
        session.wait_for(r"FS0:.* memtest\.efi console=ttyS0")
        session.wait_for(r"Memtest86\+ v6")
        session.wait_for(r"Memory *: +25\dMB")
        session.wait_for(r"#[3-9] +\[")
        session.wait_for(r"Pass: +\d+ +Errors: 0 ")
        session.type("\x01x")
        session.expect_end(0)
        if re.search(r"Errors: [1-9]", session.output):
            session.fail("memtest86+ found errors")


TESTS = {
    "shell": shell,
    "variables": variables,
    "ide": lambda args, folder: debian(args, folder, "-hda", "{image}"),
    "memtest": memtest,
    "virtio": lambda args, folder: debian(args, folder, "-drive", "file={image},if=virtio"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("uefi", lambda folder: TESTS[arguments.test](arguments, folder)))
