#!/usr/bin/python3
"""Puts calque beside this machine, QEMU's translator and Bochs on the same guest work.

    bench/run.py work [--rounds 3] [--emulators native,calque,qemu,bochs] [--workloads sort,crc] [--clock cpu]
    bench/run.py boot [--rounds 3] [--emulators calque,qemu]
    bench/run.py idle [--emulators calque,qemu] [--seconds 30]

work  Each guest waits at its shell; the runner has one after the other do the same workload, the others stopped, and
      takes the time between the two lines that the workload prints. Checksums must be equal. On a machine that others
      use too, --clock cpu counts the CPU time that the emulator used between them, which they disturb less.
boot  From the emulator's start to the line that the guest's init prints.
idle  The share of one host core that a guest at its prompt takes.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from emulators import PROMPT, Emulators  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = ["sort", "hash", "sieve", "crc", "sha256", "bytecode", "chase", "memcpy", "nbody", "matrix", "syscalls", "fork"]


def log(text: str):
    print(text, file=sys.stderr, flush=True)


def start_all(emulators: Emulators, names: list) -> list:
    """Starts each, waits until its guest is at the prompt, and stops it there."""
    guests = []
    for name in names:
        log(f"starting {name}")
        guest = emulators.start(name)
        if name != "native":
            guest.wait_for("CALQUE-GUEST-READY")
            guest.wait_for(PROMPT)
        guest.pause()
        guests.append(guest)
    return guests


def measure_work(guests: list, workloads: list, rounds: int, clock: str) -> dict:
    """{workload: {emulator: median seconds}}, the emulators taking turns within every round."""
    times, checksums = {}, {}
    for round_number in range(rounds):
        for workload in workloads:
            for guest in guests:
                guest.resume()
                wall, cpu, checksum = guest.run(workload)
                seconds = max(cpu, 0.001) if clock == "cpu" else wall
                guest.pause()
                if checksums.setdefault(workload, checksum) != checksum:
                    raise SystemExit(f"{guest.name} computes {checksum} for {workload}, {guests[0].name} {checksums[workload]}")
                times.setdefault(workload, {}).setdefault(guest.name, []).append(seconds)
                log(f"round {round_number + 1}/{rounds}: {workload} on {guest.name}: {seconds:.3f} s")
    return {workload: {name: statistics.median(values) for name, values in row.items()} for workload, row in times.items()}


def geometric_mean(values) -> float:
    values = list(values)
    return math.exp(sum(math.log(value) for value in values) / len(values))


def print_work(times: dict, names: list):
    pairs = [(other, "calque") for other in names if other != "calque"] if "calque" in names else []
    print(f"{'workload':12}" + "".join(f"{name + ' s':>12}" for name in names) + "".join(f"{a + '/' + b:>16}" for a, b in pairs))
    for workload, row in times.items():
        print(f"{workload:12}" + "".join(f"{row[name]:12.3f}" for name in names) + "".join(f"{row[a] / row[b]:16.3f}" for a, b in pairs))
    means = [geometric_mean(row[a] / row[b] for row in times.values()) for a, b in pairs]
    print(f"{'mean ratio':12}" + " " * 12 * len(names) + "".join(f"{mean:16.3f}" for mean in means))
    for (other, ours), mean in zip(pairs, means):
        print(f"{ours} is {mean:.2f} times as fast as {other} (geometric mean)" if mean >= 1 else f"{other} is {1 / mean:.2f} times as fast as {ours} (geometric mean)")


def work(args, emulators: Emulators):
    names = args.emulators or ["native", "calque", "qemu", "bochs"]
    guests = start_all(emulators, names)
    try:
        print_work(measure_work(guests, args.workloads, args.rounds, args.clock), names)
    finally:
        for guest in guests:
            guest.stop()


def boot(args, emulators: Emulators):
    names = args.emulators or ["calque", "qemu"]
    times = {name: [] for name in names}
    for round_number in range(args.rounds):
        for name in names:
            guest = emulators.start(name)
            times[name].append(guest.wait_for("CALQUE-GUEST-READY") - guest.started)
            guest.stop()
            log(f"round {round_number + 1}/{args.rounds}: {name}: {times[name][-1]:.1f} s")
    for name, values in times.items():
        print(f"{name:12}{statistics.median(values):8.1f} s from start to init (median of {len(values)})")


def idle(args, emulators: Emulators):
    for name in args.emulators or ["calque", "qemu"]:
        guest = start_all(emulators, [name])[0]
        guest.resume()
        time.sleep(10)  # What the boot left to do.
        before, start = guest.cpu_seconds(), time.monotonic()
        time.sleep(args.seconds)
        share = (guest.cpu_seconds() - before) / (time.monotonic() - start)
        guest.stop()
        print(f"{name:12}{100 * share:8.2f} % of a host core while the guest idles")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["work", "boot", "idle"])
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--emulators", type=words)
    parser.add_argument("--workloads", type=words, default=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--calque", type=Path, default=ROOT / "build/release/frontend/cli/calque")
    args = parser.parse_args()
    subprocess.run([ROOT / "scripts/setup.sh", "build", "bench"], check=True)
    guest = Path(subprocess.run([ROOT / "scripts/guest.sh", "bench"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()).parent
    emulators = Emulators(guest, args.calque)
    log(f"{os.cpu_count()} host processors, load {os.getloadavg()[0]:.1f}: a busy machine makes every figure worse")
    {"work": work, "boot": boot, "idle": idle}[args.what](args, emulators)


if __name__ == "__main__":
    main()
