#!/usr/bin/python3
"""The program from outside: how it ends, what it prints and leaves behind, the monitor, and each place for a console.

    program_test.py --calque PATH [unittest's words]
"""

import argparse
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "boot"))
sys.path.insert(0, str(Path(__file__).parent))
import guests  # noqa: E402
from guest_session import Session  # noqa: E402

CALQUE = ""
PATIENCE = int(os.environ.get("CALQUE_TEST_PATIENCE", "300"))


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="calque-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def kernel(self, code: bytes) -> str:
        path = self.folder / "kernel"
        path.write_bytes(guests.multiboot(code))
        return str(path)

    def command(self, code: bytes, *options) -> list:
        return [CALQUE, "-m", "16M", "-kernel", self.kernel(code), *map(str, options)]

    def run_guest(self, code: bytes, *options) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(code, *options), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)

    def session(self, code: bytes, *options) -> Session:
        return Session(self.command(code, *options), quiet=True)

    def refused(self, *options, saying: str):
        done = subprocess.run([CALQUE, *map(str, options)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        text = done.stderr.decode().strip()
        self.assertEqual(done.returncode, 1, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn(saying, text)

    def monitor(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + PATIENCE
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE)
            try:
                client.connect(str(path))
                self.addCleanup(client.close)
                return client
            except OSError:
                client.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def ask(self, client: socket.socket, line: str) -> str:
        """One command of the monitor; what it answers, up to the next prompt."""
        client.sendall(line.encode() + b"\r")
        text = ""
        while not text.endswith("(calque) ") or text.count("\n") < 1:
            data = client.recv(4096)
            if not data:
                break
            text += data.decode()
        return text.replace("\r", "")

    def with_monitor(self, code: bytes, *options):
        path = self.folder / "monitor"
        process = subprocess.Popen(
            self.command(code, "-display", "none", "-monitor", f"unix:{path},server,nowait", *options),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))
        client = self.monitor(path)
        greeting = b""
        while not greeting.endswith(b"(calque) "):
            greeting += client.recv(4096)
        self.assertIn(b"Calque", greeting)
        return process, client


class Endings(Program):
    def test_debug_exit_ends_with_the_value_doubled_plus_one(self):
        for value in (0, 1, 0x21, 0x7F):
            done = self.run_guest(guests.out_byte(0xF4, value) + guests.SPIN, "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
            self.assertEqual(done.returncode, (value << 1 | 1) & 0xFF)
            self.assertEqual(done.stderr, b"")

    def test_power_off_ends_with_status_0(self):
        done = self.run_guest(guests.POWER_OFF, "-display", "none")
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_each_way_to_reset_ends_a_machine_without_reboot(self):
        for port, value in ((0x64, 0xFE), (0x92, 0x01), (0xCF9, 0x06)):
            done = self.run_guest(guests.out_byte(0xCF9, 0x02) + guests.out_byte(port, value) + guests.SPIN, "-display", "none", "-no-reboot")
            self.assertEqual((done.returncode, done.stderr), (0, b""), hex(port))

    def test_a_reset_starts_the_kernel_again(self):
        for port, value in ((0x64, 0xFE), (0x92, 0x01), (0xCF9, 0x06)):
            code = guests.say("+") + guests.out_byte(0xCF9, 0x02) + guests.out_byte(port, value) + guests.HALT
            with self.session(code, "-nographic") as session:
                session.wait_for(r"\+\+\+\+")
                session.type("\x01x")
                session.expect_end(0)

    def test_a_triple_fault_without_reboot_shows_the_last_state(self):
        done = self.run_guest(guests.TRIPLE_FAULT, "-display", "none", "-no-reboot")
        self.assertEqual(done.returncode, 0)
        text = done.stderr.decode()
        for part in ("triple fault", "vCPU 0", "RIP=", "CR0="):
            self.assertIn(part, text)

    def test_a_triple_fault_resets(self):
        with self.session(guests.say("*") + guests.TRIPLE_FAULT, "-nographic") as session:
            session.wait_for(r"\*\*\*")
            session.type("\x01x")
            session.expect_end(0)

    def test_nothing_there_reads_as_ones(self):
        bad = guests.out_byte(0xF4, 1) + guests.SPIN
        code = b"\x66\xba\x34\x12"  # mov dx, 1234h
        code += guests.unless_ff(1, b"\xec", bad) + guests.unless_ff(2, b"\x66\xed", bad) + guests.unless_ff(4, b"\xed", bad)
        code += guests.unless_ff(4, b"\xa1\x00\x00\x00\xd0", bad)  # mov eax, [d0000000h]
        code += guests.unless_ff(4, b"\xc7\x05\x00\x00\x00\xd0\x00\x00\x00\x00\xa1\x00\x00\x00\xd0", bad)
        code += guests.out_byte(0xF4, 2) + guests.SPIN
        done = self.run_guest(code, "-display", "none", "-device", "isa-debug-exit,iobase=0xf4")
        self.assertEqual(done.returncode, 2 << 1 | 1)

    def test_signals_end_it_in_order(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            pid_file = self.folder / "pid"
            with self.session(guests.say("up") + guests.SPIN, "-serial", "stdio", "-monitor", "none", "-pidfile", pid_file) as session:
                session.wait_for("up")
                self.assertEqual(int(pid_file.read_text()), session.process.pid)
                session.process.send_signal(number)
                session.expect_end(0)
                self.assertFalse(pid_file.exists())

    def test_the_terminal_is_raw_while_it_runs_and_restored_after(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        before = termios.tcgetattr(theirs)
        self.assertTrue(before[3] & termios.ECHO)
        for end in ("keys", signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = subprocess.Popen(self.command(guests.say("up") + guests.HALT, "-nographic"), stdin=theirs, stdout=theirs, stderr=theirs)
            text = b""
            while b"up" not in text:
                text += os.read(ours, 100)
            self.assertFalse(termios.tcgetattr(theirs)[3] & (termios.ECHO | termios.ICANON | termios.ISIG))
            if end == "keys":
                os.write(ours, b"\x01x")
            else:
                process.send_signal(end)
            self.assertEqual(process.wait(PATIENCE), 0)
            self.assertEqual(termios.tcgetattr(theirs), before)


class Stopping(Program):
    def test_a_machine_that_starts_stopped_waits_for_cont(self):
        log = self.folder / "serial"
        process, monitor = self.with_monitor(guests.say("ran") + guests.POWER_OFF, "-S", "-serial", f"file:{log}")
        self.assertIn("paused", self.ask(monitor, "info status"))
        self.assertEqual(log.read_bytes(), b"")
        monitor.sendall(b"cont\r")
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(log.read_bytes(), b"ran")

    def test_no_shutdown_leaves_the_machine_stopped(self):
        process, monitor = self.with_monitor(guests.POWER_OFF, "-no-shutdown")
        while "paused" not in self.ask(monitor, "info status"):
            pass
        self.ask(monitor, "quit")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_a_reset_of_a_stopped_machine_leaves_it_stopped(self):
        log = self.folder / "serial"
        process, monitor = self.with_monitor(guests.say("ran") + guests.HALT, "-S", "-serial", f"file:{log}")
        self.ask(monitor, "info status")
        self.ask(monitor, "system_reset")
        self.ask(monitor, "info registers")  # Answered after the reset.
        self.assertIn("paused", self.ask(monitor, "info status"))
        self.assertEqual(log.read_bytes(), b"")
        self.ask(monitor, "quit")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_stop_and_cont_a_thousand_times(self):
        # A vCPU's thread that is asked to park before it has noticed that it may run must not be waited for for ever.
        process, monitor = self.with_monitor(guests.SPIN, "-smp", "2")
        monitor.sendall(b"stop\rcont\r" * 500)
        text = b""
        while text.count(b"(calque) ") < 1000:
            text += monitor.recv(65536)
        self.assertIn("CPU#1", self.ask(monitor, "info registers"))
        monitor.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)


class Monitor(Program):
    def test_each_client_is_greeted(self):
        path = self.folder / "monitor"
        process, first = self.with_monitor(guests.HALT)
        first.sendall(b"half a comm")
        first.close()
        second = self.monitor(path)
        text = b""
        while not text.endswith(b"(calque) "):
            text += second.recv(4096)
        self.assertIn(b"Calque", text)
        self.assertIn("VM status", self.ask(second, "info status"))
        second.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_tab_completes(self):
        process, monitor = self.with_monitor(guests.HALT)
        self.assertIn("VM status", self.ask(monitor, "inf\tst\tus"))  # As far as "info ", then "info stat".
        answer = self.ask(monitor, "info m\tem")
        self.assertIn("info mtree\n", answer)
        self.assertIn("paging is off", answer)
        monitor.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_info_commands(self):
        process, monitor = self.with_monitor(guests.HALT)
        self.assertIn("RIP=00000000001000", self.ask(monitor, "info registers"))
        self.assertIn("ioapic", self.ask(monitor, "info mtree"))
        self.assertIn("8086:1237", self.ask(monitor, "info pci"))
        for _ in range(50):  # Answered while the machine stands still for a moment, to be looked at.
            self.ask(monitor, "info pci")
            self.assertIn("running", self.ask(monitor, "info status"))
        self.assertIn("instructions", self.ask(monitor, "info stats"))
        self.assertIn("paging is off", self.ask(monitor, "info mem"))
        self.assertIn("paging is off", self.ask(monitor, "info tlb"))
        self.assertIn("pin 23", self.ask(monitor, "info irq"))
        self.assertIn("vCPU 0", self.ask(monitor, "info jit"))
        self.assertIn("0x0000000000000011", self.ask(monitor, "print $cr0 - $cr0 + 0x11"))
        self.assertIn("info shows", self.ask(monitor, "info weather"))
        self.assertIn("savestate", self.ask(monitor, "help"))
        self.assertIn("no command", self.ask(monitor, "dance"))
        monitor.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_xp_shows_memory_and_refuses_what_is_none(self):
        process, monitor = self.with_monitor(guests.HALT)
        for form in ("xp /2 0x100000", "xp /2xw 0x100000", "xp /2 1048576"):
            self.assertIn("0x1badb002 0x00010000", self.ask(monitor, form))
        self.assertIn("(no memory)", self.ask(monitor, "xp 0xd0000000"))
        self.assertIn("(no memory)", self.ask(monitor, "xp /2 0xffffffffffffffff"))
        for wrong in ("xp", "xp /", "xp /0 0", "xp /99999999 0", "xp /4 monkey", "xp 0x", "xp 0x10000000000000000"):
            self.assertIn("xp takes", self.ask(monitor, wrong))
        monitor.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_savestate_says_what_is_wrong_with_the_place(self):
        process, monitor = self.with_monitor(guests.HALT)
        self.assertIn("cannot be written", self.ask(monitor, "savestate /nonexistent/state"))
        self.assertIn("not a plain file", self.ask(monitor, "savestate /dev/null"))
        self.assertIn("not a plain file", self.ask(monitor, f"savestate {self.folder}"))
        self.assertIn("needs a file name", self.ask(monitor, "savestate"))
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["kernel", "monitor"])
        monitor.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_ctrl_a_c_goes_to_the_monitor_and_back(self):
        with self.session(guests.ECHO, "-nographic") as session:
            session.wait_for("ready")
            session.type("guest")
            session.wait_for("guest")
            session.type("\x01c")
            session.wait_for(r"\(calque\) ")
            session.type("info status\r")
            session.wait_for("VM status: running")
            session.type("\x01cback")
            session.wait_for("back")
            session.type("\x01c")
            session.wait_for(r"\(calque\) ")
            session.type("quit\r")
            session.expect_end(0)

    def test_a_saved_guest_goes_on_with_its_serial_port(self):
        state = self.folder / "state"
        with self.session(guests.ECHO, "-nographic") as session:
            session.wait_for("ready")
            session.type("one")
            session.wait_for("one")
            session.type("\x01c")
            session.wait_for(r"\(calque\) ")
            session.type(f"savestate {state}\r")
            session.wait_for("saved to")
            session.type("\x01x")
            session.expect_end(0)
        with self.session(guests.ECHO, "-nographic", "--load", state) as session:
            session.type("two")
            session.wait_for("two")
            session.type("\x01x")
            session.expect_end(0)


class Places(Program):
    def test_serial_to_a_file(self):
        log = self.folder / "log"
        self.assertEqual(self.run_guest(guests.say("hello") + guests.POWER_OFF, "-display", "none", "-serial", f"file:{log}").returncode, 0)
        self.assertEqual(log.read_bytes(), b"hello")

    def test_a_second_serial_port(self):
        first, second = self.folder / "first", self.folder / "second"
        code = guests.say("a") + guests.say("b", 0x2F8) + guests.POWER_OFF
        self.assertEqual(self.run_guest(code, "-display", "none", "-serial", f"file:{first}", "-serial", f"file:{second}").returncode, 0)
        self.assertEqual((first.read_bytes(), second.read_bytes()), (b"a", b"b"))

    def test_serial_on_a_socket(self):
        path = self.folder / "socket"
        process, monitor = self.with_monitor(guests.ECHO, "-S", "-serial", f"unix:{path},server,nowait")
        client = self.monitor(path)
        monitor.sendall(b"cont\r")
        client.setblocking(False)
        text = b""
        deadline = time.monotonic() + PATIENCE
        while b"x" not in text:  # Typed again and again: output for nobody is dropped, so a greeting proves nothing.
            self.assertLess(time.monotonic(), deadline)
            client.sendall(b"x")
            if select.select([client], [], [], 0.2)[0]:
                text += client.recv(4096)
        monitor.sendall(b"quit\r")
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertFalse(path.exists())

    def test_a_chardev_shared_by_serial_and_monitor(self):
        command = ("-display", "none", "-chardev", "stdio,id=term,mux=on,signal=off", "-serial", "chardev:term", "-mon", "chardev=term")
        with self.session(guests.ECHO, *command) as session:
            session.wait_for("ready")
            session.type("guest")
            session.wait_for("guest")
            session.type("\x01c")
            session.wait_for(r"\(calque\) ")
            session.type("quit\r")
            session.expect_end(0)

    def test_debug_console(self):
        log = self.folder / "log"
        code = guests.say("e9", 0xE9) + guests.POWER_OFF
        self.assertEqual(self.run_guest(code, "-display", "none", "-debugcon", f"file:{log}").returncode, 0)
        self.assertEqual(log.read_bytes(), b"e9")
        code = guests.say("402", 0x402) + guests.POWER_OFF
        self.assertEqual(self.run_guest(code, "-display", "none", "-chardev", f"file,id=d,path={log}", "-device", "isa-debugcon,iobase=0x402,chardev=d").returncode, 0)
        self.assertEqual(log.read_bytes(), b"402")

    def test_standard_output_that_is_a_pipe_gets_all_of_it(self):
        done = self.run_guest(guests.say("0123456789" * 20) + guests.POWER_OFF, "-nographic")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, b"0123456789" * 20)


class Seeing(Program):
    COUNTS = b"\xb9\x40\x42\x0f\x00" + b"\x49\x75\xfd" + guests.out_byte(0x501, 0)  # mov ecx, 1000000; again: dec ecx; jnz again
    OPTIONS = ("-device", "isa-debug-exit", "-display", "none", "-monitor", "none")

    def test_dump_shows_the_unit_at_an_address_when_made_and_at_the_end(self):
        at = guests.LOAD + 32 + 5
        done = self.run_guest(self.COUNTS, *self.OPTIONS, "--dump", f"guest,ir,host@{at:#x}")
        self.assertEqual(done.returncode, 1, done.stderr)
        text = done.stderr.decode()
        for part in (f"unit {at:x}", "guest code:", "dec ecx", "intermediate form:", "branch", "host code", "in use", f"units at {at:#x}: 1"):
            self.assertIn(part, text)
        self.assertLess(text.index("guest code:"), text.index("in use"))

    def test_stats_with_count_tell_who_ran_the_instructions(self):
        done = self.run_guest(self.COUNTS, *self.OPTIONS, "--stats", "-accel", "jit,count=on")
        line = next(line for line in done.stderr.decode().splitlines() if line.startswith("    by units "))
        self.assertGreater(int(line.split()[2]), 1_990_000, line)

    def test_a_dump_that_cannot_be(self):
        self.refused("--dump", "host", saying="address")
        self.refused("--dump", "host@here", saying="not an address")


class Refusals(Program):
    def test_places_that_cannot_be_used(self):
        kernel = self.kernel(guests.HALT)
        gone = "/nonexistent/file"
        self.refused("-display", "none", "-kernel", kernel, "-serial", f"file:{gone}", saying=gone)
        self.refused("-display", "none", "-kernel", kernel, "-pidfile", gone, saying=gone)
        self.refused("-display", "none", "-kernel", kernel, "-pidfile", "/dev/full", saying="/dev/full")
        self.refused("-display", "none", "-kernel", kernel, "-D", gone, saying=gone)
        self.refused("-display", "none", "-kernel", kernel, "-debugcon", "chardev:nobody", saying="nobody")
        self.assertTrue(os.path.exists("/dev/full"))

    def test_two_users_of_the_terminal(self):
        self.refused("-kernel", self.kernel(guests.HALT), "-serial", "stdio", "-monitor", "stdio", saying="taken")

    def test_more_serial_ports_than_a_pc_has(self):
        self.refused("-kernel", self.kernel(guests.HALT), *["-serial", "null"] * 5, saying="serial ports")

    def test_pipes_and_devices_are_no_images(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        self.refused("-display", "none", "-kernel", pipe, saying="not a plain file")
        self.refused("-display", "none", "-kernel", "/dev/zero", saying="not a plain file")

    def test_a_file_too_large_for_any_machine(self):
        sparse = self.folder / "sparse"
        with open(sparse, "wb") as file:
            file.truncate(1 << 40)
        for option in ("-kernel", "-bios"):
            self.refused("-display", "none", option, sparse, saying="the most that it can have")
        self.refused("-display", "none", "-kernel", self.kernel(guests.HALT), "--load", sparse, saying="this is not a saved machine state")

    def test_nothing_to_start(self):
        self.refused(saying="nothing to start")
        self.refused("-display", "none", "-initrd", self.kernel(b""), "-bios", self.kernel(b""), saying="-kernel")


class Firmware(Program):
    def test_seabios_looks_for_something_to_boot(self):
        bios = Path("/usr/share/seabios/bios.bin")
        self.assertTrue(bios.exists(), "the package seabios is missing")
        log = self.folder / "debug"
        process = subprocess.Popen([CALQUE, "-display", "none", "-m", "64M", "-smp", "2", "-bios", str(bios), "-chardev", f"file,id=d,path={log}",
                                    "-device", "isa-debugcon,iobase=0x402,chardev=d"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        try:
            while not log.exists() or "No bootable device" not in log.read_text():
                self.assertIsNone(process.poll())
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, b""))
        text = log.read_text()
        for part in ("Running on QEMU (i440fx)", "QEMU fw_cfg DMA interface supported", "len 0x0000000004000000 [RAM]",
                     "Found 2 cpu(s) max supported 2 cpu(s)", "Copying SMBIOS", "Copying MPTABLE", "All threads complete"):
            self.assertIn(part, text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calque", required=True)
    args, rest = parser.parse_known_args()
    CALQUE = args.calque
    unittest.main(argv=[sys.argv[0], *rest])
