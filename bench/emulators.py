"""Starts emulators with the benches' guest, and talks to the shell on the guest's serial console."""

import ctypes
import math
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import tty
from pathlib import Path
from typing import NamedTuple

PROMPT = "calque# "
# How long a guest may take to do one thing before the run gives up on it.
PATIENCE = 1800
# The low bits of a clock's number (clock_getcpuclockid(3)).
CPU_CLOCK_OF_PROCESS = 2


class Sample(NamedTuple):
    """One run of a workload: seconds on the host's clock and of the emulator's CPU time between the workload's two lines."""

    wall: float
    cpu: float
    units: int
    checksum: str


class Runner:
    """Something that runs workloads. Work that it does in less than SHORTEST seconds is repeated until it takes as long: the
    way of a line through an emulator's serial port is tens of milliseconds."""

    SHORTEST, MOST = 0.4, 400

    def __init__(self):
        self.repeats = {}

    def run(self, workload: str, scale: int = 1000, copies: int = 0, repeatable: bool = True) -> Sample | None:
        """Runs one workload; None when the CPU lacks what it needs. What is not repeatable has input of the scale's size."""
        sample = self.once(workload, scale * self.repeats.get(workload, 1), copies)
        while sample and repeatable and sample.wall < self.SHORTEST and self.repeats.get(workload, 1) < self.MOST:
            # A first measure can be far too small, so the way goes in steps.
            more = min(math.ceil(self.SHORTEST / max(sample.wall, 1e-3)) + 1, 20)
            self.repeats[workload] = min(self.repeats.get(workload, 1) * more, self.MOST)
            sample = self.once(workload, scale * self.repeats[workload], copies)
        return sample


def end_with_parent():
    """In the emulator's process before it starts: a run that is killed leaves none behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Guest(Runner):
    """An emulator with its guest at the shell prompt, or on its way there."""

    def __init__(self, name: str, command, ram: int, serial_apart: bool = False):
        """The serial console is the emulator's standard input and output, or, apart, a pseudo-terminal whose name the
        command, then a function, is called with. RAM in bytes."""
        super().__init__()
        self.name, self.output, self.searched, self.match = name, "", 0, None
        self.ram, self.beyond_ram = ram, 0
        self.serial, console = self.pair()
        self.monitor = None
        self.started = time.monotonic()
        stdio = console
        if serial_apart:
            self.monitor, stdio = self.pair()
            command = command(os.ttyname(console))
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=stdio, stdout=stdio, stderr=stdio, start_new_session=True,
            env={**os.environ, "TERM": "linux"}, preexec_fn=end_with_parent,
        )
        os.close(stdio)

    @staticmethod
    def pair():
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        return ours, theirs

    def wait_for(self, pattern: str) -> float:
        """Waits for the pattern and returns the time when it had come."""
        expression, deadline = re.compile(pattern, re.M), time.monotonic() + PATIENCE
        while True:
            match = expression.search(self.output, self.searched)
            if match:
                self.match, self.searched = match, match.end()
                return time.monotonic()
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: no {pattern!r} within {PATIENCE} s; last came: {self.output[-2000:]}")
            watched = [self.serial] + ([self.monitor] if self.monitor is not None else [])
            for source in select.select(watched, [], [], 1.0)[0]:
                try:
                    data = os.read(source, 65536)
                except OSError:
                    data = b""
                if source == self.serial:
                    self.output += data.decode("utf-8", "replace").replace("\r", "")
                if not data and self.process.poll() is not None:
                    raise SystemExit(f"{self.name} ended with status {self.process.returncode}; last came: {self.output[-2000:]}")

    def type(self, text: str):
        os.write(self.serial, text.encode())

    def once(self, workload: str, scale: int = 1000, copies: int = 0) -> Sample | None:
        self.type(f"bench --scale {scale} --copies {copies} {workload}\r")
        begin = self.wait_for(rf"^BENCH-(BEGIN {workload} (\d+)|SKIP .*|FAIL .*)\n")
        word = self.match.group(1)
        if word.startswith("SKIP"):
            self.wait_for(PROMPT)
            return None
        if word.startswith("FAIL"):
            raise SystemExit(f"{self.name}: {workload}: {word}")
        units, used = int(self.match.group(2)), self.cpu_seconds()
        end = self.wait_for(rf"^BENCH-(DONE {workload} \d+ \d+|FAIL .*)\n")
        used = self.cpu_seconds() - used
        if self.match.group(1).startswith("FAIL"):
            raise SystemExit(f"{self.name}: {workload}: {self.match.group(1)}")
        self.wait_for(rf"^BENCH-SUM {workload} ([0-9a-f]{{16}})\n")
        checksum = self.match.group(1)
        self.wait_for(PROMPT)
        self.beyond_ram = max(self.beyond_ram, self.memory_beyond_ram())
        return Sample(end - begin, used, units, checksum)

    def memory_beyond_ram(self) -> int:
        """Bytes of host memory that the emulator holds besides the guest's RAM, shared libraries included."""
        total = 0
        for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{self.process.pid}/smaps").read_text(), flags=re.M)[1:]:
            first, last, rights, rest = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) (.*)", block).groups()
            size = int(last, 16) - int(first, 16)
            # Calque's RAM is a memory file; QEMU's is a private mapping of that size, which a code buffer (executable) is not.
            if "memfd:calque-ram" in rest or ("x" not in rights and self.ram <= size < self.ram + (64 << 20)):
                continue
            # Calque maps its code twice, to write it and to run it: the same memory, which counts once.
            share = "Pss" if "memfd:" in rest else "Rss"
            total += 1024 * int(re.search(rf"^{share}: +(\d+)", block, re.M).group(1))
        return total

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """The host CPU time that the process's threads have used, those that have ended too."""
        return time.clock_gettime(~self.process.pid << 3 | CPU_CLOCK_OF_PROCESS)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def one_processor():
    """In the child before it starts: as many processors as the guests have."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class Native(Runner):
    """The workloads on this machine itself: the same static program, and the guest's own tree of programs by chroot."""

    name, beyond_ram = "native", 0
    def __init__(self, command: list):
        super().__init__()
        self.command = [str(word) for word in command]

    def once(self, workload: str, scale: int, copies: int) -> Sample | None:
        process = subprocess.Popen(
            [*self.command, "--scale", str(scale), "--copies", str(copies), workload], stdout=subprocess.PIPE, text=True,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}, preexec_fn=None if copies else one_processor,
        )
        wall = cpu = units = 0
        checksum = ""
        for line in process.stdout:
            words = line.split()
            if words[0] == "BENCH-BEGIN":
                units = int(words[2])
            elif words[0] == "BENCH-DONE":
                # The program's own clock: this process may be told of its lines late.
                cpu, wall = int(words[2]) / 1e6, int(words[3]) / 1e6
            elif words[0] == "BENCH-SUM":
                checksum = words[2]
            elif words[0] == "BENCH-FAIL":
                raise SystemExit(f"native: {workload}: {line}")
        process.stdout.close()
        if process.wait() != 0:
            raise SystemExit(f"native: {workload} ends with status {process.returncode}")
        return Sample(wall, cpu, units, checksum) if checksum else None

    def pause(self):
        pass

    resume = stop = pause


class Emulators:
    """How each emulator is given the same kernel, initramfs and memory."""

    WORDS = "console=ttyS0 quiet mitigations=off nowatchdog tsc=reliable"
    QEMU_CPUS = {"qemu-max": "max", "qemu64": "qemu64"}

    def __init__(self, guest: Path, calque: Path, variants: dict, kernel: str = "stock"):
        """Variants: name of a calque -> its extra options."""
        self.guest, self.calque, self.variants, self.kernel = guest, calque, variants, kernel
        self.folder = tempfile.TemporaryDirectory(prefix="calque-bench-")

    def kernel_file(self, kernel: str) -> Path:
        return self.guest / {"stock": "vmlinuz", "cloud": "vmlinuz-cloud"}[kernel]

    def start(self, name: str, image: str = "bench.cpio.gz", memory: int = 512, smp: int = 1, kernel: str = "", words: str = WORDS, devices=None):
        """Memory in MiB. Devices: a function that gives the further words of the emulator of this name."""
        if name == "native":
            as_root = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
            in_tree = [*as_root, "chroot", self.guest / "programs", "bench"]
            return Native(in_tree) if image == "programs.cpio" else Native([self.guest / "bench"])
        if name == "bochs":
            if image != "bench.cpio.gz" or smp != 1 or (kernel or self.kernel) != "stock":
                raise SystemExit("Bochs boots the benches' CD alone: the stock kernel, one processor, no programs, no boots")
            return Guest(name, lambda serial: self.bochs(serial, memory), memory << 20, serial_apart=True)
        direct = ["-smp", str(smp), "-kernel", self.kernel_file(kernel or self.kernel), "-initrd", self.guest / image, "-append", words]
        return self.run(name, memory, [*direct, *(devices(name) if devices else [])], [*([] if devices else ["-nic", "none"]), "-vga", "none"])

    def start_disk(self, name: str, disk: Path, interface: str):
        """From the firmware on; what the guest writes is forgotten."""
        return self.run(name, 512, ["-snapshot", "-drive", f"file={disk},format=raw,if={interface}"], ["-nic", "none", "-vga", "none"])

    def run(self, name: str, memory: int, words: list, qemu_words: list):
        words = ["-m", str(memory), "-nographic", "-no-reboot", *words]
        if name in self.variants:
            return Guest(name, [self.calque, *words, *self.variants[name]], memory << 20)
        if name in self.QEMU_CPUS:
            return Guest(name, ["qemu-system-x86_64", "-accel", "tcg", "-cpu", self.QEMU_CPUS[name], *qemu_words, *words], memory << 20)
        raise SystemExit(f"no emulator is called {name}: native, {', '.join([*self.variants, *self.QEMU_CPUS])}, bochs")

    def bochs(self, serial: str, memory: int) -> list:
        folder = Path(self.folder.name)
        (folder / "bochsrc").write_text(
            f"megs: {memory}\n"
            "cpu: model=corei7_haswell_4770, ips=100000000\n"
            "romimage: file=/usr/share/bochs/BIOS-bochs-latest\n"
            "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n"
            "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\n"
            f"ata0-master: type=cdrom, path={self.guest / 'bench.iso'}, status=inserted\n"
            "boot: cdrom\n"
            f"com1: enabled=1, mode=term, dev={serial}\n"
            "display_library: term\n"
            "clock: sync=none\n"
            f"log: {folder / 'bochs.log'}\n"
        )
        # Debian builds Bochs with its debugger, which waits to be told to continue.
        (folder / "commands").write_text("c\n")
        return ["bochs", "-q", "-f", folder / "bochsrc", "-rc", folder / "commands"]
