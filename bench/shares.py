#!/usr/bin/python3
"""Who runs the guest's instructions: translated code, the handlers that it calls, or the interpreter.

    bench/shares.py [--groups integer,fp,system,jit,programs,boot] [--workloads sort,crc] [--scale P] [--calque PATH]

Each workload of bench/run.py runs once in calque with -accel jit,count=on; the shares are from what the monitor's
`info stats` says after it, less what it said before. Prints a table for docs/, and which handlers ran where they had a share
of more than --least percent (0.1).
"""

import argparse
import re
import socket
import tempfile
import time
from pathlib import Path

import run
from emulators import PATIENCE, PROMPT, Emulators


class Monitor:
    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.answer()

    def answer(self) -> str:
        text = ""
        while not text.endswith("(calque) "):
            text += self.socket.recv(65536).decode()
        return text

    def counts(self) -> dict:
        """{name: number} of `info stats`; the rows of handlers as "handler NAME"."""
        self.socket.sendall(b"info stats\r")
        counts = {}
        for line in self.answer().replace("\r", "").splitlines():
            found = re.match(r"( +)(\S.*?)  *(\d+)( \(.*%\))?$", line)
            if found:
                row = len(found[1]) == 4 and not found[4]
                counts[f"handler {found[2]}" if row else found[2].strip()] = int(found[3])
        return counts


class Shares:
    def __init__(self, least: float):
        self.least, self.above = least, []
        print("| work | instructions, millions | units | their handlers | interpreter | units entered by links | by the target cache |"
              " accesses by shared checks | by TLB hits | refilled |\n|" + "---|" * 10)

    def add(self, name: str, before: dict, after: dict):
        n = {key: value - before.get(key, 0) for key, value in after.items()}
        share = lambda part, whole: f"{100 * n[part] / max(n[whole], 1):.3f}%"  # noqa: E731
        entered, accesses = "units entered", "memory accesses"
        # All rows, "handler" is also what the accesses' last line is called.
        print(f"| {name} | {n['instructions'] / 1e6:.0f} | {share('by units', 'instructions')} | {share('by their handlers', 'instructions')} |"
              f" {share('by interpreter', 'instructions')} | {share('by links', entered)} | {share('target cache', entered)} |"
              f" {share('shared checks', accesses)} | {share('TLB table', accesses)} | {share('refills', accesses)} |", flush=True)
        if 100 * n["by their handlers"] > self.least * n["instructions"]:
            rows = sorted(((value, key[8:]) for key, value in n.items() if key.startswith("handler ")), reverse=True)[:5]
            self.above.append(f"{name}: " + ", ".join(f"{row} {100 * value / n['instructions']:.3f}%" for value, row in rows if value))

    def finish(self):
        print(f"\nHandlers, where they ran more than {self.least}%:")
        for line in self.above or ["(nowhere)"]:
            print("-", line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--groups", type=words, default=["boot", "integer", "fp", "system", "jit", "programs"])
    parser.add_argument("--workloads", type=words)
    parser.add_argument("--scale", type=int, default=150)
    parser.add_argument("--least", type=float, default=0.1)
    parser.add_argument("--calque", type=Path, default=run.ROOT / "build/release/frontend/cli/calque")
    args = parser.parse_args()
    guest = run.guest_files("bench", "mini", "kernel", "cloud")
    if "programs" in args.groups:
        run.guest_files("programs")
    shares = Shares(args.least)
    folder = tempfile.TemporaryDirectory(prefix="calque-shares-")
    place = Path(folder.name) / "monitor"
    emulators = Emulators(guest, args.calque, {"calque": ["-accel", "jit,count=on", "-monitor", f"unix:{place},server,nowait"]})

    def with_guest(action, **how):
        started = emulators.start("calque", **how)
        try:
            monitor = Monitor(place)
            started.wait_for("CALQUE-GUEST-READY")
            action(started, monitor)
        finally:
            started.stop()

    if "boot" in args.groups:
        for kernel in ("cloud", "stock"):
            with_guest(lambda _, monitor: shares.add(f"boot {kernel}", {}, monitor.counts()), image="mini.cpio.gz", kernel=kernel, words=run.BOOT_WORDS)
    wanted = {name: group for name, (group, _) in run.list_workloads(guest).items()
              if group in args.groups and (not args.workloads or name in args.workloads)}
    for image, memory in dict.fromkeys(run.IMAGES.get(group, ("bench.cpio.gz", 512)) for group in wanted.values()):

        def all_of_image(started, monitor):
            started.wait_for(PROMPT)
            for name, group in wanted.items():
                if run.IMAGES.get(group, ("bench.cpio.gz", 512))[0] != image:
                    continue
                before = monitor.counts()
                if started.once(name, args.scale):
                    shares.add(name, before, monitor.counts())

        with_guest(all_of_image, image=image, memory=memory)
    shares.finish()


if __name__ == "__main__":
    main()
