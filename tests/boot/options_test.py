#!/usr/bin/python3
"""Every wrong option, and every file that is no good, ends calque with status 1 and one clear sentence.

    options_test.py --calque PATH
"""

import argparse
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import guest_file  # noqa: E402

CALQUE = ""


def elf(machine: int, bits: int) -> bytes:
    """An ELF header with no segments, for another machine or class."""
    if bits == 64:
        return struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, machine, 1, 0x100000, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    return struct.pack("<4sBBBB8xHHIIIIIHHHHHH", b"\x7fELF", 1, 1, 1, 0, 2, machine, 1, 0x100000, 52, 0, 0, 52, 32, 0, 0, 0, 0)


class Options(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, contents: bytes) -> str:
        (self.folder / name).write_bytes(contents)
        return str(self.folder / name)

    def refused(self, *options: str, saying: tuple = ()):
        if "-kernel" not in options:  # So that the option is all that is wrong.
            options = ("-kernel", str(guest_file("vmlinuz")), *options)
        done = subprocess.run(
            [CALQUE, "-nographic", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        )
        text = done.stderr.decode("utf-8", "replace").strip()
        self.assertEqual(done.returncode, 1, f"{options}: status {done.returncode}, said {text!r}")
        self.assertEqual(done.stdout, b"", f"{options}: wrote to standard output")
        self.assertEqual(len(text.splitlines()), 1, f"{options}: not one sentence: {text!r}")
        for word in saying:
            self.assertIn(word, text, f"{options}")

    def test_unknown_options_are_named(self):
        self.refused("-frobnicate", saying=("frobnicate",))
        self.refused("--no-such-thing", saying=("no-such-thing",))

    def test_options_without_their_value(self):
        for option in ("-kernel", "-initrd", "-m", "-smp", "-append", "-cpu", "-device", "-serial"):
            self.refused(option, saying=(option.lstrip("-"),))

    def test_values_out_of_range(self):
        for value in ("0", "none", "-1", "1T5", "99999999T", "1M"):
            self.refused("-m", value, saying=("-m",))
        for value in ("0", "-2", "256", "two", "cpus=0"):
            self.refused("-smp", value, saying=("-smp",))
        self.refused("-rtc", "base=yesterday", saying=("yesterday",))

    def test_what_is_not_supported_is_refused_by_name(self):
        self.refused("-cpu", "pentium9", saying=("pentium9",))
        self.refused("-cpu", "max,+telepathy", saying=("telepathy",))
        self.refused("-device", "flux-capacitor", saying=("flux-capacitor",))
        self.refused("-device", "isa-debug-exit,colour=red", saying=("colour",))
        self.refused("-machine", "q35x", saying=("q35x",))
        self.refused("-accel", "kvm", saying=("kvm",))
        self.refused("-enable-kvm", saying=("enable-kvm",))
        self.refused("-serial", "carrier-pigeon", saying=("carrier-pigeon",))
        self.refused("--trace", "telepathy", saying=("telepathy",))

    def test_files_that_are_not_there(self):
        self.refused("-kernel", "/nonexistent/kernel", saying=("/nonexistent/kernel",))
        self.refused("-kernel", str(self.folder), saying=(str(self.folder),))
        self.refused("-kernel", str(guest_file("vmlinuz")), "-initrd", "/nonexistent/initrd", saying=("/nonexistent/initrd",))
        self.refused("-bios", "/nonexistent/bios", saying=("/nonexistent/bios",))

    def test_kernels_that_are_none(self):
        self.refused("-kernel", self.file("empty", b""), saying=("empty",))
        self.refused("-kernel", self.file("text", b"This is no kernel.\n" * 1000), saying=("text",))
        self.refused("-kernel", self.file("arm", elf(183, 64)), saying=("arm",))
        self.refused("-kernel", self.file("wrong-class", elf(62, 32)), saying=("wrong-class",))

    def test_truncated_kernels(self):
        kernel = guest_file("vmlinuz").read_bytes()
        for size in (100, 600, 1024, 5000, 20000, len(kernel) // 2, len(kernel) - 100_000):
            self.refused("-m", "1G", "-kernel", self.file("cut", kernel[:size]), saying=("cut",))

    def test_what_does_not_fit_in_memory(self):
        kernel = str(guest_file("vmlinuz"))
        self.refused("-m", "128M", "-kernel", kernel, "-initrd", self.file("large", bytes(110 << 20)), saying=("large",))
        self.refused("-m", "4M", "-kernel", kernel, saying=("vmlinuz",))
        self.refused("-m", "1G", "-kernel", kernel, "-append", "x" * 100_000, saying=("append",))

    def test_states_that_are_none(self):
        self.refused("--load", "/nonexistent/state", saying=("/nonexistent/state",))
        self.refused("--load", self.file("state", b"not a state" * 100), saying=("state",))

    def test_questions_are_answered_with_status_0(self):
        for option in (("-help",), ("-version",), ("-cpu", "help"), ("-device", "help"), ("--trace", "help")):
            done = subprocess.run([CALQUE, *option], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
            self.assertEqual(done.returncode, 0, option)
            self.assertGreater(len(done.stdout), 10, option)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calque", required=True)
    args, rest = parser.parse_known_args()
    CALQUE = args.calque
    unittest.main(argv=[sys.argv[0], *rest])
