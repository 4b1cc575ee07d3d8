#!/usr/bin/python3
"""Debian's binaries give in the guest the results that they give on this machine.

    results_test.py --emulator "PATH [options]" --tests busybox,coreutils [--initrd tools.cpio] [--memory 1G]

The initramfs' own tree is on this machine too: the same programs run in it, in a chroot, and print RESULT lines that the
guest's must equal.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import PATIENCE, Failure, Session, cache, guest_file, run_test  # noqa: E402


def results_of(text: str) -> dict:
    return dict(re.findall(r"^RESULT (\S+) ?(.*)$", text, re.M))


def on_this_machine(test: str) -> dict:
    tree = cache() / "guest" / "tools"
    chroot = ["chroot"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "chroot"]
    done = subprocess.run(
        [*chroot, str(tree), f"/tests/{test}"], env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    if done.returncode != 0:
        raise Failure(f"/tests/{test} fails on this machine:\n{done.stdout}")
    return results_of(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--tests", required=True)
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    parser.add_argument("--initrd", default="tools.cpio")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--smp", default="1")
    parser.add_argument("--cpu", default="max")
    args = parser.parse_args()
    command = shlex.split(args.emulator) + [
        "-nographic", "-m", args.memory, "-smp", args.smp, "-cpu", args.cpu, "-no-reboot",
        "-kernel", guest_file(args.kernel),
        "-initrd", guest_file(args.initrd), "-append", f"console=ttyS0 quiet calque.test={args.tests}",
    ]
    with Session(command, terminal=False) as session:
        session.wait_for(r"^CALQUE-GUEST-READY")
        for test in args.tests.split(","):
            verdict = session.wait_for(rf"^CALQUE-TEST {test} (PASS|FAIL)", 3 * PATIENCE).group(1)
            if verdict != "PASS":
                session.fail(f"/tests/{test} fails in the guest")
        session.expect_end(0)
        guest = results_of(session.output)
    host = {}
    for test in args.tests.split(","):
        host.update(on_this_machine(test))
    wrong = [f"{name}: {guest.get(name)!r} in the guest, {value!r} here" for name, value in host.items() if guest.get(name) != value]
    if wrong or not host:
        raise Failure("results differ:\n" + "\n".join(wrong))
    print(f"\n{len(host)} results are equal")


if __name__ == "__main__":
    sys.exit(run_test(main))
