#!/usr/bin/python3
"""Runs one image of tests/asm in an emulator and passes when the guest itself says that all its checks have passed.

    asm_test.py --suite NAME --image FILE [--smp N] [--end HOW] [--reboot] -- EMULATOR [OPTIONS]

--end exit (the usual): the guest counts its checks on the debug console and leaves by isa-debug-exit. --end reset: it says
that it is about to reset, and the emulator, with -no-reboot, ends with status 0. --reboot leaves out -no-reboot.
"""

import argparse
import re
import subprocess
import sys

PASSED = 0x10 << 1 | 1


def verdict(text: str, status: int, suite: str, end: str) -> str:
    """What is wrong, or nothing."""
    failed = [line for line in text.splitlines() if line.startswith("FAIL")]
    if failed:
        return f"{len(failed)} failed"
    if end == "reset":
        if not text.rstrip().endswith("about to reset"):
            return "the guest did not come to its reset, or went on after it"
        return "" if status == 0 else f"status {status}, not 0"
    last = re.search(r"^suite (\S+) checks (\d+) failed (\d+)$", text, re.MULTILINE)
    if not last:
        return "the guest did not come to its end"
    if last[1] != suite or int(last[2]) == 0 or int(last[3]) != 0:
        return "not the end of this suite without failures"
    return "" if status == PASSED else f"status {status}, not {PASSED}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--smp", default="1")
    parser.add_argument("--end", choices=("exit", "reset"), default="exit")
    parser.add_argument("--reboot", action="store_true")
    parser.add_argument("--timeout", type=int, default=100)
    parser.add_argument("emulator", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [word for word in options.emulator if word != "--"]
    command += ["-m", "64M", "-smp", options.smp, "-display", "none", "-serial", "none", "-monitor", "none"]
    command += ["-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4", "-kernel", options.image]
    if not options.reboot:
        command.append("-no-reboot")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=options.timeout
        )
        output, errors, status = done.stdout, done.stderr, done.returncode
        wrong = verdict(output.decode("utf-8", "replace"), status, options.suite, options.end)
    except subprocess.TimeoutExpired as late:
        output, errors = late.stdout or b"", late.stderr or b""
        wrong = f"nothing ended it within {options.timeout} seconds"
    print(output.decode("utf-8", "replace"))
    if wrong:
        print(errors.decode("utf-8", "replace"))
        print("ran:", " ".join(command))
        print(f"{options.suite}: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
