#!/usr/bin/python3
"""diff_boot itself: guests that run alike by both engines, and wrong translations that it has to find.

    diff_boot_test.py --tool PATH --images FOLDER alike|wrong|boot|benches [--kernel vmlinuz] [--instructions N]

boot: a Debian kernel to its end; benches: every workload of bench/ but the programs, with a little work.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# tests/asm: what needs a second processor is left out.
ALIKE = ["call_gates", "code", "debug", "fast_calls", "interrupts", "long_mode", "paging64", "paging_legacy", "programs",
         "programs64", "real_mode", "segments", "tasks", "triple_fault", "vm86"]
# Additions of tests/asm/programs64.S that all matter, in the order of their translation.
WRONG = [3, 4, 6]
BIOS = "/usr/share/seabios/bios.bin"
NOT_THIS_HOST = 77


def diff_boot(tool: str, *words) -> subprocess.CompletedProcess:
    done = subprocess.run([tool, "--quiet", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == NOT_THIS_HOST:
        print(done.stdout)
        sys.exit(NOT_THIS_HOST)
    return done


def require(condition: bool, what: str, done: subprocess.CompletedProcess):
    if not condition:
        sys.exit(f"{what}\n{done.stdout}{done.stderr}")


def alike(options):
    guests = {name: ["-kernel", f"{options.images}/{name}.elf"] for name in ALIKE}
    guests["SeaBIOS"] = ["-bios", BIOS]  # Until it has found nothing to boot, and resets.
    for name, words in guests.items():
        done = diff_boot(options.tool, *words, "-m", 64, "--hot", 1, "--slice", 1000, "--memory-every", 300)
        require(done.returncode == 0 and "No difference; the guest" in done.stdout, f"{name} differs", done)
        found = re.search(r"(\d+) instructions, (\d+) of them by (\d+) units", done.stdout)
        require(found is not None and int(found[3]) > 0, f"nothing of {name} was translated", done)


def wrong(options):
    for which in WRONG:
        done = diff_boot(options.tool, "-kernel", f"{options.images}/programs64.elf", "-m", 64, "--hot", 1, "--spoil", which)
        what = f"wrong translation {which} was not found"
        require(done.returncode == 1, what, done)
        unit = re.search(r"First different after instruction.*\nunit [0-9a-f]+ .*\nguest code:\n(.*)\nintermediate form:\n(.*)\nhost code[^\n]*\n(.*)\nseldom run",
                         done.stdout, re.S)
        require(unit is not None, what, done)
        # The guest adds; what was made of it subtracts.
        guest, host = (len(re.findall(r"\bsub ", unit[n])) for n in (1, 3))
        require(re.search(r"\badd ", unit[1]) is not None and " ADD " in unit[2] and host > guest, what, done)


def guest_files(*items: str) -> Path:
    return Path(subprocess.run([ROOT / "scripts/guest.sh", *items], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0]).parent


def boot(options):
    folder = guest_files("kernel", "cloud", "mini")
    words = ["-kernel", folder / options.kernel, "-initrd", folder / "mini.cpio.gz", "-append", "console=ttyS0 calque.test=boot", "-m", 256]
    if options.instructions:
        words += ["--instructions", options.instructions]
    done = diff_boot(options.tool, *words, "--console")
    require(done.returncode == 0, "the boot differs", done)
    if not options.instructions:
        require("CALQUE-TEST boot PASS" in done.stdout, "the boot did not come to its end", done)
    print(done.stdout.splitlines()[-2])


def benches(options):
    folder = guest_files("cloud", "bench")
    listed = subprocess.run([folder / "bench", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    names = [line.split()[1] for line in listed.splitlines() if line.split()[0] != "programs"]
    command = f"for+w+in+{'+'.join(names)};do+bench+--scale+20+$w;done"
    done = diff_boot(options.tool, "-kernel", folder / "vmlinuz-cloud", "-initrd", folder / "bench.cpio.gz", "-append",
                     f"console=ttyS0 quiet mitigations=off calque.run={command}", "-m", 512, "--memory-every", 10000, "--console")
    require(done.returncode == 0, "a workload differs", done)
    ran = re.findall(r"^BENCH-SUM (\S+)", done.stdout, re.M)
    require(ran == names, f"of {len(names)} workloads {len(ran)} ran", done)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--images", default=".")
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    parser.add_argument("--instructions", type=int, default=0)
    parser.add_argument("what", choices=["alike", "wrong", "boot", "benches"])
    options = parser.parse_args()
    {"alike": alike, "wrong": wrong, "boot": boot, "benches": benches}[options.what](options)


if __name__ == "__main__":
    main()
