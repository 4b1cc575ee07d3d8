#!/usr/bin/python3
"""Every workload of the benches, with as little work as it can do, gives in calque the checksum that it gives on this machine.

    smoke.py --calque PATH [--calque-options "-accel interp"]
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from emulators import PROMPT, Emulators  # noqa: E402
from run import IMAGES, list_workloads  # noqa: E402

# Thousandths of the full work: one unit of a workload, and some kilobytes of input for a program.
SCALE = 1


def cache() -> Path:
    given = os.environ.get("CALQUE_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "calque"


def compare(emulators: Emulators, workloads: dict) -> list:
    """Names of the workloads whose checksums differ or that do not run. One guest runs all: the programs' has the others too."""
    wrong = []
    image, memory = IMAGES["programs"]
    guest = emulators.start("calque", image=image, memory=memory)
    try:
        guest.wait_for("CALQUE-GUEST-READY")
        guest.wait_for(PROMPT)
        for name, (group, _) in workloads.items():
            native = emulators.start("native", image=IMAGES[group][0] if group in IMAGES else "bench.cpio.gz")
            here, there = native.once(name, SCALE, 0), guest.once(name, SCALE)
            # What this machine's processor lacks cannot be compared, but has to run.
            equal = there is not None and (here is None or here.checksum == there.checksum)
            print(f"{name}: {there and there.checksum} in calque, {here and here.checksum} here", flush=True)
            if not equal:
                wrong.append(name)
    finally:
        guest.stop()
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calque", type=Path, required=True)
    parser.add_argument("--calque-options", type=shlex.split, default=[])
    args = parser.parse_args()
    guest = cache() / "guest"
    if not (guest / "programs.cpio").exists():
        sys.exit(f"{guest}/programs.cpio is missing; scripts/guest.sh all makes it")
    emulators = Emulators(guest, args.calque, {"calque": args.calque_options}, "cloud")
    workloads = list_workloads(guest)
    wrong = compare(emulators, workloads)
    if wrong or not workloads:
        sys.exit(f"another result in calque: {', '.join(wrong)}")
    print(f"{len(workloads)} workloads give the same in calque and here")


if __name__ == "__main__":
    main()
