#!/usr/bin/python3
"""Boots Linux unattended and compares what the guest sees, and its kernel's warnings, with the same boot in QEMU.

    boot_test.py --calque PATH --kernel vmlinuz --memory 1G --smp 2 [--append "nokaslr"] [--qemu qemu-system-x86_64]

The guest prints a marker, its processors, memory and clock source, then its kernel log, and ends the machine: by
power-off, or, where there is no ACPI, by a reset, which -no-reboot makes the end: status 0 both.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Failure, Session, guest_file, run_test  # noqa: E402
from kernel_log import between, new_warnings, only_timing  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calque", required=True)
    parser.add_argument("--qemu", help="the QEMU to compare with")
    parser.add_argument("--kernel", default="vmlinuz")
    parser.add_argument("--initrd", default="mini.cpio.gz")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--append", default="", help="more words for the kernel command line")
    parser.add_argument("--clocksource", help="the clock source that the guest must end up with")
    parser.add_argument("--option", action="append", default=[], help="one more option of the emulator, as one word")
    return parser.parse_args()


def boot(emulator: list, args, quiet: bool) -> tuple[str, dict]:
    """Boots once; returns the guest's kernel log and the facts that it printed."""
    acpi = "acpi=off" not in args.append.split()
    tests = "boot,clocksource" if args.clocksource else "boot"
    words = f"console=ttyS0 {args.append} calque.test={tests} calque.dmesg"
    command = emulator + [
        "-nographic", "-m", args.memory, "-smp", str(args.smp), "-no-reboot",
        "-kernel", guest_file(args.kernel), "-initrd", guest_file(args.initrd), "-append", words,
    ]
    if not acpi:
        command[-1] += " calque.end=reset"
    with Session(command, terminal=False, quiet=quiet) as session:
        session.wait_for(r"^CALQUE-GUEST-READY")
        if session.wait_for(r"CALQUE-TEST boot (PASS|FAIL)").group(1) != "PASS":
            session.fail("the guest's own test failed")
        if args.clocksource and session.wait_for(r"CALQUE-TEST clocksource (PASS|FAIL)").group(1) != "PASS":
            session.fail("the guest's clock source test failed")
        session.wait_for(r"CALQUE-DMESG-END")
        session.expect_end(0)
        facts = dict(re.findall(r"^CALQUE-(CPUS|MEMORY-KB|CLOCKSOURCE) (\S+)$", session.output, re.M))
        return between(session.output, "CALQUE-DMESG-BEGIN", "CALQUE-DMESG-END"), facts


def boot_qemu(args) -> tuple[str, dict]:
    """The reference: the same machine, with no window, no network card, nothing that was not asked for."""
    command = [args.qemu, "-accel", "tcg", "-cpu", "max", "-nodefaults", "-vga", "none", "-serial", "stdio", "-monitor", "none"]
    for attempt in range(3):
        try:
            return boot(command, args, quiet=True)
        except Failure as failure:
            # On a busy host its timer tests can fail, and its kernel then panics; that says nothing about calque.
            print(f"\nQEMU's boot {attempt + 1} of 3 failed: {str(failure).splitlines()[0]}")
    raise Failure("QEMU does not boot this guest either: there is nothing to compare with")


def compare(ours: dict, theirs: dict, args):
    # Without ACPI the other processors are found through tables that a machine may lack.
    if "acpi=off" not in args.append and int(ours["CPUS"]) != args.smp:
        raise Failure(f"the guest sees {ours['CPUS']} processors of {args.smp}")
    if args.clocksource and ours["CLOCKSOURCE"] != args.clocksource:
        raise Failure(f"the guest's clock source is {ours['CLOCKSOURCE']}, not {args.clocksource}")
    if not theirs:
        return
    # All of them by our MP table is better than QEMU's one.
    if int(ours["CPUS"]) not in (int(theirs["CPUS"]), args.smp):
        raise Failure(f"the guest sees {ours['CPUS']} processors, {theirs['CPUS']} in QEMU")
    memory, reference = int(ours["MEMORY-KB"]), int(theirs["MEMORY-KB"])
    if abs(memory - reference) > reference * 0.02 + 1024:
        raise Failure(f"the guest sees {memory} kB of memory, {reference} kB in QEMU")


def main():
    args = arguments()
    log, facts = boot([args.calque, *args.option], args, quiet=False)
    reference, their_facts = None, {}
    if args.qemu:
        reference, their_facts = boot_qemu(args)
    compare(facts, their_facts, args)
    print(f"\nthe guest sees {facts}")
    if reference is not None:
        worse = new_warnings(log, reference)
        if worse and only_timing(worse):
            print("\nthe kernel complains about time alone, which a busy host can cause: booting once more")
            worse = new_warnings(boot([args.calque, *args.option], args, quiet=True)[0], reference)
        if worse:
            raise Failure("the kernel warns of what it does not warn of in QEMU:\n" + "\n".join(worse))


if __name__ == "__main__":
    sys.exit(run_test(main))
