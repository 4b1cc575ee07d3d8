"""Starts emulators with the benches' guest, and talks to the shell on the guest's serial console."""

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

PROMPT = "calque# "
# How long a guest may take to do one thing before the run gives up on it.
PATIENCE = 1800


class Guest:
    """An emulator with its guest at the shell prompt, or on its way there."""

    def __init__(self, name: str, command: list, serial_apart: bool = False):
        """The serial console is the emulator's standard input and output, or, apart, a pseudo-terminal that the word
        {serial} in a file written by the caller names."""
        self.name, self.output, self.searched = name, "", 0
        self.serial, console = self.pair()
        self.monitor = None
        self.started = time.monotonic()
        stdio = console
        if serial_apart:
            self.monitor, stdio = self.pair()
            command = command(os.ttyname(console))
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=stdio, stdout=stdio, stderr=stdio, start_new_session=True,
            env={**os.environ, "TERM": "linux"},
        )
        os.close(stdio)

    @staticmethod
    def pair():
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        return ours, theirs

    def wait_for(self, pattern: str) -> float:
        """Waits for the pattern and returns the time when it had come."""
        expression, deadline = re.compile(pattern), time.monotonic() + PATIENCE
        while True:
            match = expression.search(self.output, self.searched)
            if match:
                self.searched = match.end()
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

    def run(self, workload: str) -> tuple[float, float, str]:
        """Has the guest run one workload; returns the seconds between its two lines, the emulator's CPU seconds in that
        time, and the checksum."""
        os.write(self.serial, f"bench {workload}\r".encode())
        begin = self.wait_for(rf"BENCH-BEGIN {workload}\n")
        used = self.cpu_seconds()
        end = self.wait_for(rf"BENCH-END {workload} [0-9a-f]{{16}}\n")
        used = self.cpu_seconds() - used
        checksum = self.output[: self.searched].split()[-1]
        self.wait_for(PROMPT)
        return end - begin, used, checksum

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """The host CPU time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Native:
    """The workloads on this machine itself."""

    name = "native"

    def __init__(self, program: Path):
        self.program = program

    def run(self, workload: str) -> tuple[float, float, str]:
        process = subprocess.Popen([str(self.program), workload], stdout=subprocess.PIPE, text=True)
        begin = end = 0.0
        checksum = ""
        for line in process.stdout:
            if line.startswith("BENCH-BEGIN"):
                begin = time.monotonic()
            elif line.startswith("BENCH-END"):
                end, checksum = time.monotonic(), line.split()[-1]
        _, _, usage = os.wait4(process.pid, 0)
        process.stdout.close()
        return end - begin, usage.ru_utime + usage.ru_stime, checksum

    def pause(self):
        pass

    resume = stop = pause


class Emulators:
    """How each emulator is given the same kernel, initramfs and memory."""

    WORDS = "console=ttyS0 quiet mitigations=off nowatchdog tsc=reliable"

    def __init__(self, guest: Path, calque: Path, memory: str = "512"):
        self.guest, self.calque, self.memory = guest, calque, memory
        self.folder = tempfile.TemporaryDirectory(prefix="calque-bench-")

    def direct(self) -> list:
        return [
            "-m", self.memory, "-kernel", self.guest / "vmlinuz-cloud", "-initrd", self.guest / "bench.cpio.gz",
            "-append", self.WORDS, "-nographic",
        ]

    def start(self, name: str):
        if name == "native":
            return Native(self.guest / "bench")
        if name == "calque":
            return Guest(name, [self.calque, *self.direct()])
        if name == "qemu":
            return Guest(name, ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-nic", "none", "-vga", "none", *self.direct()])
        if name == "bochs":
            return Guest(name, self.bochs, serial_apart=True)
        raise SystemExit(f"no emulator is called {name}: native, calque, qemu, bochs")

    def bochs(self, serial: str) -> list:
        folder = Path(self.folder.name)
        (folder / "bochsrc").write_text(
            f"megs: {self.memory}\n"
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
