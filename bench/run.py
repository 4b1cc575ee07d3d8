#!/usr/bin/python3
"""Puts calque beside this machine, QEMU's translator and Bochs on the same guest work.

    bench/run.py work [--groups integer,fp,system,jit,programs] [--workloads sort,crc] [--emulators native,calque,qemu-max,qemu64,bochs]
    bench/run.py smp  [--workloads sha256,sort,dispatch]
    bench/run.py boot
    bench/run.py disk
    bench/run.py idle [--seconds 30]
    bench/run.py io   [--workloads "virtio-blk read,e1000 get"]
    bench/run.py all                        work, smp and boot, with the whole table of targets

work  Each guest waits at its shell; the runner has one after the other do the same workload, the others stopped, and
      takes the time between the two lines that the workload prints. Checksums must be equal.
smp   Guests with two processors: a program alone, and two of it at once, each on its own processor.
boot  From the emulator's start to the line that the guest's init prints, both kernels.
disk  From the emulator's start through SeaBIOS and GRUB to the first line of Debian's init, from a virtio and an IDE disk
      (the image of ./run debian, which is made when it is not there).
idle  The share of one host core that a guest at its prompt takes.
io    Reads and writes of a virtio and an IDE disk, HTTP by user networking on virtio-net and e1000; stock kernel.

--repeat N        rounds, the emulators taking turns within each (3); --take min|median is what counts of them (min)
--scale P         thousandths of the full work (1000, which takes one to three seconds in QEMU)
--clock cpu       CPU time of the emulator instead of wall time: on a machine that others use too they disturb it less
--calque PATH     the calque to measure; --calque-options "-accel interp" are added to its command
--variant N="O"   another column N: calque with the options O (may be repeated), to compare switches of its engine
--json FILE       every sample and what was measured besides; --markdown prints tables for docs/
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from emulators import PROMPT, Emulators  # noqa: E402
from report import Report  # noqa: E402
import transfers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
IMAGES = {"programs": ("programs.cpio", 1024)}
SMP_WORKLOADS = ["sha256", "sort", "dispatch"]
BOOT_WORDS = "console=ttyS0"


def log(text: str):
    print(text, file=sys.stderr, flush=True)


def start_all(emulators: Emulators, names: list, **how) -> list:
    """Starts each, waits until its guest is at the prompt, and stops it there."""
    guests = []
    for name in names:
        log(f"starting {name}")
        guest = emulators.start(name, **how)
        guests.append(guest)
        if name != "native":
            guest.wait_for("CALQUE-GUEST-READY")
            guest.wait_for(PROMPT)
        guest.pause()
    return guests


def measure(guests: list, workloads: list, args, report: Report, copies: int = 0, suffix: str = ""):
    """One run of every workload in every guest, the first guest of a round another than in the round before."""
    for round_number in range(args.repeat):
        for workload in workloads:
            turn = round_number % len(guests)
            for guest in guests[turn:] + guests[:turn]:
                guest.resume()
                sample = guest.run(workload, args.scale, copies, report.groups[workload] != "programs")
                guest.pause()
                if sample is None:
                    log(f"{workload} cannot run on {guest.name}")
                    continue
                # Copies share the CPU time that they take together, not the time that it takes.
                seconds = max(sample.cpu if args.clock == "cpu" and not copies else sample.wall, 1e-6) / sample.units
                report.add(workload + suffix, guest.name, seconds, sample.checksum)
                log(f"round {round_number + 1}/{args.repeat}: {workload}{suffix} on {guest.name}: {seconds * report.units[workload]:.3f} s")
    for guest in guests:
        report.beyond_ram[guest.name] = max(report.beyond_ram.get(guest.name, 0), guest.beyond_ram)


def with_guests(emulators: Emulators, names: list, action, **how):
    guests = []
    try:
        guests = start_all(emulators, names, **how)
        action(guests)
    finally:
        for guest in guests:
            guest.stop()


def work(args, emulators: Emulators, report: Report):
    wanted = {name: group for name, group in report.groups.items() if group in args.groups and (not args.workloads or name in args.workloads)}
    for image, memory in dict.fromkeys(IMAGES.get(group, ("bench.cpio.gz", 512)) for group in wanted.values()):
        of_image = [name for name, group in wanted.items() if IMAGES.get(group, ("bench.cpio.gz", 512))[0] == image]
        names = [name for name in args.emulators if name != "bochs" or image == "bench.cpio.gz"]
        with_guests(emulators, names, lambda guests: measure(guests, of_image, args, report), image=image, memory=memory)


def smp(args, emulators: Emulators, report: Report):
    workloads = args.workloads if args.what == "smp" and args.workloads else SMP_WORKLOADS

    def both(guests: list):
        rounds, args.repeat = args.repeat, 1
        for _ in range(rounds):
            measure(guests, workloads, args, report, 1, " x1")
            measure(guests, workloads, args, report, 2, " x2")
        args.repeat = rounds

    with_guests(emulators, [name for name in args.emulators if name not in ("bochs", "qemu64")], both, smp=2)


def measure_boots(args, report: Report, boots: dict, text: str):
    """Boots: what each is called, and a function that starts the emulator of a name."""
    names = [name for name in args.emulators if name not in ("native", "bochs")]
    for round_number in range(args.repeat):
        for what, start in boots.items():
            for name in names:
                guest = start(name)
                try:
                    seconds = guest.wait_for(text) - guest.started
                    if args.clock == "cpu":
                        seconds = guest.cpu_seconds()
                    report.add(f"boot {what}", name, seconds, "")
                    report.beyond_ram[name] = max(report.beyond_ram.get(name, 0), guest.memory_beyond_ram())
                finally:
                    guest.stop()
                log(f"round {round_number + 1}/{args.repeat}: boot {what} on {name}: {seconds:.1f} s")


def boot(args, emulators: Emulators, report: Report):
    start = lambda kernel: lambda name: emulators.start(name, image="mini.cpio.gz", kernel=kernel, words=BOOT_WORDS)  # noqa: E731
    measure_boots(args, report, {kernel: start(kernel) for kernel in ("cloud", "stock")}, "CALQUE-GUEST-READY")


def disk(args, emulators: Emulators, report: Report):
    made = subprocess.run([ROOT / "scripts/debian.sh"], check=True, stdout=subprocess.PIPE, text=True)
    image = Path(made.stdout.strip())
    start = lambda interface: lambda name: emulators.start_disk(name, image, interface)  # noqa: E731
    measure_boots(args, report, {f"from {interface}": start(interface) for interface in ("virtio", "ide")}, r"systemd\[1\]")


def idle(args, emulators: Emulators, report: Report):
    for name in args.emulators:
        if name == "native":
            continue
        guest = start_all(emulators, [name])[0]
        guest.resume()
        time.sleep(10)  # What the boot left to do.
        before, start = guest.cpu_seconds(), time.monotonic()
        time.sleep(args.seconds)
        share = (guest.cpu_seconds() - before) / (time.monotonic() - start)
        guest.stop()
        print(f"{name:12}{100 * share:8.2f} % of a host core while the guest idles")


def io(args, emulators: Emulators, report: Report):
    wanted = [name for name in transfers.TRANSFERS if not args.workloads or name in args.workloads]
    server, machine = transfers.Server(), transfers.Machine()

    def measure_transfers(guests: list):
        for guest in guests:
            transfers.prepare(guest, PROMPT)
        for round_number in range(args.repeat):
            for name in wanted:
                turn = round_number % len(guests)
                for guest in guests[turn:] + guests[:turn]:
                    wall, used, checksum = transfers.run(guest, name, server, PROMPT)
                    size = report.units[name]
                    # Each round leaves other disks to the next.
                    report.add(name, guest.name, (used if args.clock == "cpu" else wall) / size, checksum, state=round_number)
                    log(f"round {round_number + 1}/{args.repeat}: {name} on {guest.name}: {wall:.3f} s, {size / wall:.0f} MiB/s, CPU {used:.3f} s")

    names = [name for name in args.emulators if name not in ("native", "bochs")]
    with_guests(emulators, names, measure_transfers, image="io.cpio.gz", kernel="stock", devices=machine.options)


def guest_files(*items: str) -> Path:
    done = subprocess.run([ROOT / "scripts/guest.sh", *items], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.split()[0]).parent


def list_workloads(guest: Path) -> dict:
    """{name: (group, units)}, as the guest's own program says."""
    text = subprocess.run([guest / "bench", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: (group, int(units)) for group, name, units in (line.split() for line in text.splitlines())}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["work", "smp", "boot", "disk", "idle", "io", "all"])
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--emulators", type=words, default=["native", "calque", "qemu-max", "qemu64"])
    parser.add_argument("--groups", type=words, default=["integer", "fp", "system", "jit", "programs"])
    parser.add_argument("--workloads", type=words)
    parser.add_argument("--kernel", choices=["stock", "cloud"], default="stock")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--take", choices=["min", "median"], default="min")
    parser.add_argument("--scale", type=int, default=1000)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--calque", type=Path, default=ROOT / "build/release/frontend/cli/calque")
    parser.add_argument("--calque-options", type=shlex.split, default=[])
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=OPTIONS")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    args.variants = {"calque": args.calque_options}
    for variant in args.variant:
        name, _, options = variant.partition("=")
        args.variants[name] = shlex.split(options)
        args.emulators.append(name)
    if args.repeat < 1 or not 1 <= args.scale <= 1000:
        parser.error("--repeat must be 1 or more, --scale 1 to 1000")
    return parser, args


def main():
    parser, args = arguments()
    subprocess.run([ROOT / "scripts/setup.sh", "build", "bench"], check=True)
    guest = guest_files("bench", "mini", "kernel", "cloud")
    workloads = list_workloads(guest)
    if args.what == "io":
        guest_files("io")
        workloads = transfers.SIZES
        args.groups = ["virtio", "chips"]
    for kind, given, known in (("workload", args.workloads, workloads), ("group", args.groups, {group for group, _ in workloads.values()})):
        unknown = [name for name in given or [] if name not in known]
        if unknown:
            parser.error(f"there is no {kind} {unknown[0]}: {', '.join(sorted(known))}")
    if args.what in ("work", "all") and "programs" in args.groups and any(workloads[name][0] == "programs" for name in args.workloads or workloads):
        guest_files("programs")
    if "bochs" in args.emulators:
        guest_files("cd")
    emulators = Emulators(guest, args.calque, args.variants, args.kernel)
    report = Report(workloads, args.emulators, args.take)
    log(f"{os.cpu_count()} host processors, load {os.getloadavg()[0]:.1f}: a busy machine makes every figure worse")
    # Whatever ends the run, guests are ended too and what was measured is printed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("stopped: what follows is what was measured until then"))
    actions = {"all": [work, smp, boot]}.get(args.what) or [{"work": work, "smp": smp, "boot": boot, "disk": disk, "idle": idle, "io": io}[args.what]]
    try:
        for action in actions:
            action(args, emulators, report)
    finally:
        if args.json:
            args.json.write_text(json.dumps(report.as_json(vars(args)), indent=1, default=str) + "\n")
        report.print(args.markdown)


if __name__ == "__main__":
    main()
