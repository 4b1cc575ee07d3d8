#!/usr/bin/python3
"""Debian's gdb on a booting kernel, with symbols made from the guest's own list of them.

    gdb_test.py --emulator "PATH [options]" --test kernel|clients|types [--symbols VMLINUX]

kernel: breakpoints, steps, watchpoints, registers, threads. clients: debuggers that come and go, and what is none.
types: the same with Debian's own symbols (linux-image-...-dbg), which are fetched when they are not given.
"""

import argparse
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import kallsyms_elf  # noqa: E402
from guest_session import PATIENCE, Session, end_with_parent, guest_file, run_test  # noqa: E402

KERNEL = "vmlinuz-cloud"
PROMPT = r"calque# "
# Taken from the guest, by name: the whole list would be long on a serial line.
WANTED = ("start_kernel", "rest_init", "kernel_init", "system_state", "linux_banner", "init_task", "cpu_startup_entry",
          "do_idle", "vfs_caches_init", "calibrate_delay", "asm_exc_page_fault", "exc_page_fault", "kthreadd")


def guest(emulator: str, words: str, *options) -> list:
    return shlex.split(emulator) + [
        "-nographic", "-m", "256M", "-smp", "2", *options, "-kernel", guest_file(KERNEL), "-initrd",
        guest_file("mini.cpio.gz"), "-append", f"console=ttyS0 quiet nokaslr {words}",
    ]


def read_symbols(emulator: str) -> list:
    names = "+".join(f"-e+{name}" for name in WANTED)
    with Session(guest(emulator, f"calque.run=grep+-w+{names}+/proc/kallsyms")) as session:
        session.wait_for(r"^CALQUE-TEST \S+ PASS")
        session.expect_end(0)
        symbols = kallsyms_elf.parse(session.output.splitlines())
    missing = set(WANTED) - {name for _, _, _, name in symbols}
    if missing:
        session.fail(f"the guest's list has no {', '.join(sorted(missing))}")
    return symbols


class Debugger:
    """One run of gdb with a script. Each `echo` line that it prints is found again by its name."""

    def __init__(self, session: Session, symbols: Path, lines: list):
        command = ["gdb", "-nx", "-q", "-batch", "-ex", "set pagination off", "-ex", "set confirm off",
                   "-ex", f"file {symbols}"]
        for line in lines:
            command += ["-ex", line]
        self.session = session
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, preexec_fn=end_with_parent)

    def wait(self) -> str:
        try:
            self.output, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.output, _ = self.process.communicate()
            self.session.fail(f"gdb did not end within {PATIENCE:.0f} s\n--- gdb ---\n{self.output}\n")
        print("--- gdb ---\n" + self.output + "--- end of gdb ---", flush=True)
        return self.output

    def expect(self, *patterns):
        """All of them, in this order."""
        at = 0
        for pattern in patterns:
            match = re.compile(pattern, re.M).search(self.output, at)
            if not match:
                self.session.fail(f"gdb did not print {pattern!r} (in its place)\n--- gdb ---\n{self.output}\n")
            at = match.end()


def attach(folder: Path) -> list:
    return [f"target remote {folder}/gdb"]


def kernel(emulator: str):
    """From the first instruction to the guest's own program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        symbols = folder / "kernel.sym"
        symbols.write_bytes(kallsyms_elf.make_elf(read_symbols(emulator)))
        command = guest(emulator, "calque.run=true", "-S", "-gdb", f"unix:{folder}/gdb")
        with Session(command) as session:
            while not (folder / "gdb").exists():
                session.wait_for("", 1)
            debugger = Debugger(session, symbols, attach(folder) + [
                "break start_kernel", "continue",
                "printf \"at start_kernel: %d\\n\", $pc == (unsigned long) &start_kernel",
                "printf \"long mode: %d\\n\", ($efer >> 10) & 1",
                "printf \"paging: %d\\n\", ($cr0 >> 31) & 1",
                "printf \"banner: %s\\n\", (char *) &linux_banner",
                "info registers cr0 efer lstar",
                # Steps.
                "x/3i $pc", "set $before = $pc", "stepi", "stepi", "stepi",
                "printf \"stepped: %d\\n\", $pc != $before",
                # A register is changed and changed back.
                "set $saved = $r15", "set $r15 = 0x123456789abcdef0", "printf \"r15: %#lx\\n\", $r15",
                "set $r15 = $saved", "printf \"r15 is back: %d\\n\", $r15 == $saved",
                # A variable is watched.
                "delete", "watch *(int *) &system_state", "continue",
                "printf \"state: %d\\n\", *(int *) &system_state", "continue",
                "printf \"state: %d\\n\", *(int *) &system_state", "delete",
                # The next page fault.
                "monitor gdb-catch pf", "continue",
                "printf \"at the handler: %d\\n\", $pc == (unsigned long) &asm_exc_page_fault",
                "monitor gdb-catch none",
                # Memory by its physical address, which follows from the linear one.
                "monitor gdb-memory physical",
                "printf \"physical: %s\\n\", (char *) ((unsigned long) &linux_banner - 0xffffffff80000000)",
                "monitor gdb-memory linear",
                # Both processors, at their idle loops or elsewhere in the kernel.
                "info threads", "thread 2", "printf \"thread 2: %d\\n\", $_thread",
                "printf \"in the kernel: %d\\n\", (unsigned long) $pc >> 63", "monitor info status", "detach",
            ])
            debugger.wait()
            session.wait_for(r"^CALQUE-TEST \S+ PASS")
            session.expect_end(0)
            debugger.expect(
                r"Breakpoint 1, .*start_kernel", r"at start_kernel: 1", r"long mode: 1", r"paging: 1",
                r"banner: Linux version \d", r"^cr0 .*\[.*PE.*PG.*\]", r"^efer .*LMA", r"stepped: 1",
                r"r15: 0x123456789abcdef0", r"r15 is back: 1",
                r"Hardware watchpoint 2", r"Old value = 0\nNew value = 1", r"state: 1",
                r"Old value = 1\nNew value = [23]", r"state: [23]",
                r"stops at: pf", r"exception 14, error code", r"at the handler: 1", r"addresses are physical",
                r"physical: Linux version \d", r"Thread 1 \(CPU#0 \[", r"Thread 2 \(CPU#1 \[",
                r"thread 2: 2", r"in the kernel: 1", r"VM status: paused", r"detached")


class Client:
    """A debugger by hand, on a TCP port."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, contents: str):
        self.socket.sendall(f"${contents}#{sum(contents.encode()) & 255:02x}".encode())

    def reply(self) -> str:
        """The contents of the next packet, which is acknowledged."""
        text = b""
        while not re.search(rb"\$[^#]*#..", text):
            piece = self.socket.recv(4096)
            if not piece:
                raise ConnectionError("the emulator closed the connection")
            text += piece
        self.socket.sendall(b"+")
        contents = re.search(rb"\$([^#]*)#..", text)[1].decode()
        return re.sub(r"(.)\*(.)", lambda run: run[1] * (ord(run[2]) - 28), contents)

    def ask(self, contents: str) -> str:
        self.send(contents)
        return self.reply()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clients(emulator: str):
    port = free_port()
    with Session(guest(emulator, "", "-gdb", f"tcp::{port}")) as session:
        numbers = iter(range(1, 100))

        def alive():
            number = next(numbers)
            session.type(f"echo alive $(({number} * 1000))\r")
            session.wait_for(rf"^alive {number}000")
            session.wait_for(PROMPT)

        session.wait_for(PROMPT)
        with Client(port) as noise:
            noise.socket.sendall(bytes(range(256)) * 64 + b"$g#00$m0,ffffffff#zz\x03" + b"$" + b"x" * 100000)
            alive()
        with Client(port):  # Says nothing.
            alive()
        for _ in range(3):
            with Client(port) as debugger:
                if not debugger.ask("?").startswith("T05"):
                    session.fail("no stop was reported")
                before = debugger.ask("p10")
                if debugger.ask("p10") != before:
                    session.fail("RIP changed while the guest was stopped")
                debugger.send("c")
                alive()
                debugger.socket.sendall(b"\x03")
                if not (stop := debugger.reply()).startswith("T02"):
                    session.fail(f"after Ctrl-C came {stop!r}")
                if debugger.ask("D") != "OK":
                    session.fail("detaching was refused")
                alive()
        with Client(port) as deaf:  # Asks and asks and reads nothing, then is gone.
            deaf.ask("?")
            deaf.socket.settimeout(1)
            try:
                for _ in range(20000):
                    deaf.send("g")
            except TimeoutError:
                pass
        alive()
        with Client(port) as gone:  # Leaves a breakpoint that every system call meets.
            gone.ask("?")
            registers = gone.ask("qRcmd," + b"rdmsr c0000082".hex())
            entry = re.search(r"is 0x(\w+)", bytes.fromhex(registers).decode())[1]
            if gone.ask(f"Z0,{entry},1") != "OK":
                session.fail("a breakpoint was refused")
            gone.send("c")
            session.type("echo\r")
            if not (stop := gone.reply()).startswith("T05"):
                session.fail(f"the breakpoint gave {stop!r}")
        alive()
        session.type("poweroff\r")
        session.expect_end(0)


def debian_symbols(folder: Path) -> Path:
    """vmlinux of the package that belongs to the guest's kernel."""
    release = subprocess.run(["strings", "-n", "20", str(guest_file(KERNEL))], capture_output=True, text=True,
                             check=True).stdout
    version = re.search(r"^(\d+\.\d+\.\S+-cloud-amd64) \(", release, re.M)[1]
    package = f"linux-image-{version}-dbg"
    subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
    name = f"usr/lib/debug/boot/vmlinux-{version}"
    archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(next(folder.glob("*.deb")))], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(folder), "./" + name], stdin=archive.stdout, check=True)
    return folder / name


def types(emulator: str, symbols: Path = None):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        symbols = symbols or debian_symbols(folder)
        command = guest(emulator, "calque.run=true", "-S", "-gdb", f"unix:{folder}/gdb")
        with Session(command) as session:
            while not (folder / "gdb").exists():
                session.wait_for("", 1)
            debugger = Debugger(session, symbols, attach(folder) + [
                "break start_kernel", "continue", "next", "next", "info symbol $pc",
                "tbreak kernel_init", "continue", "backtrace 2", "printf \"task: %s\\n\", init_task.comm",
                "watch -l system_state", "continue", "print system_state", "delete",
                "tbreak do_sys_openat2", "continue", "backtrace", "print *how", "finish", "info threads", "detach",
            ])
            debugger.wait()
            session.wait_for(r"^CALQUE-TEST \S+ PASS")
            session.expect_end(0)
            debugger.expect(
                r"Breakpoint 1, .*start_kernel \(\)", r"start_kernel", r"Temporary breakpoint 2, kernel_init",
                r"#0 +kernel_init .*", r"#1 .*ret_from_fork", r"task: swapper", r"Hardware watchpoint 3",
                r"New value = SYSTEM_FREEING_INITMEM", r"= SYSTEM_FREEING_INITMEM", r"Temporary breakpoint 4, ",
                r"#1 .*do_sys_open", r"flags = ", r"Value returned", r"Thread 2 \(CPU#1", r"detached")


TESTS = {"kernel": kernel, "clients": clients, "types": types}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", choices=sorted(TESTS), required=True)
    parser.add_argument("--symbols", type=Path)
    args = parser.parse_args()
    if args.test == "types":
        return types(args.emulator, args.symbols)
    TESTS[args.test](args.emulator)


if __name__ == "__main__":
    sys.exit(run_test(main))
