#!/usr/bin/python3
"""calque-img: what it makes QEMU's tools take, and the other way round.

    img_test.py --calque-img PATH [unittest's words]
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CALQUE_IMG = ""
MIB = 1 << 20


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)


class Img(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def img(self, *words, status=0):
        done = run(CALQUE_IMG, *words)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def qemu(self, *words, status=0):
        if not shutil.which("qemu-img"):
            self.skipTest("qemu-utils is not installed")
        done = run("qemu-img", *words)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def make_raw(self, name, size=5 * MIB):
        generator = random.Random(name)
        content = bytearray(generator.randbytes(size))
        for start in range(0, size, 300_000):  # Holes.
            content[start:start + 100_000] = bytes(min(100_000, size - start))
        path = self.folder / name
        path.write_bytes(content)
        return path

    def test_convert_goes_both_ways(self):
        raw = self.make_raw("raw")
        for options in ("compat=1.1", "compat=0.10", "cluster_size=4k,lazy_refcounts=on", "refcount_bits=1,cluster_size=2M"):
            image, back = self.folder / "image", self.folder / "back"
            self.img("convert", "-f", "raw", "-O", "qcow2", "-o", options, raw, image)
            self.qemu("check", image)
            self.qemu("compare", "-f", "raw", "-F", "qcow2", raw, image)
            self.img("convert", image, back)
            self.assertEqual(back.read_bytes(), raw.read_bytes())
            self.assertIn("No errors", self.img("check", image))

    def test_zeros_take_no_room(self):
        raw = self.folder / "raw"
        raw.write_bytes(bytes(20 * MIB))
        self.img("convert", "-f", "raw", "-O", "qcow2", raw, self.folder / "image")
        self.assertLess((self.folder / "image").stat().st_size, MIB)

    def test_overlays_take_the_size_of_their_backing_file(self):
        raw = self.make_raw("base")
        image = self.folder / "overlay"
        self.img("create", "-f", "qcow2", "-b", "base", "-F", "raw", image)
        self.qemu("compare", "-f", "raw", "-F", "qcow2", raw, image)
        self.assertIn("backing file: base", self.img("info", image))
        self.assertIn("format", self.img("create", "-f", "qcow2", "-b", "base", self.folder / "other", status=1))

    def test_info_says_what_qemu_img_says(self):
        image = self.folder / "image"
        self.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=8k", image, "3G")
        for line in ("file format: qcow2", "virtual size: 3 GiB (3221225472 bytes)", "cluster_size: 8192",
                     "compat: 1.1", "refcount bits: 16"):
            self.assertIn(line, self.img("info", image))
            self.assertIn(line, self.qemu("info", image))

    def test_snapshots(self):
        raw = self.make_raw("raw")
        image = self.folder / "image"
        self.img("convert", "-f", "raw", "-O", "qcow2", raw, image)
        self.img("snapshot", "-c", "before", image)
        self.assertIn("before", self.img("snapshot", "-l", image))
        self.assertIn("before", self.qemu("snapshot", "-l", image))
        self.qemu("convert", "-q", "-n", "-f", "raw", "-O", "qcow2", self.make_raw("other"), image)
        self.img("snapshot", "-a", "before", image)
        self.qemu("check", image)
        self.qemu("compare", "-f", "raw", "-F", "qcow2", raw, image)
        self.img("snapshot", "-d", "1", image)
        self.qemu("check", image)
        self.assertEqual(self.img("snapshot", "-l", image), "")
        self.assertIn("before", self.img("snapshot", "-a", "before", image, status=1))

    def test_resize(self):
        raw = self.make_raw("raw")
        self.img("convert", "-f", "raw", "-O", "qcow2", raw, self.folder / "image")
        for path in (raw, self.folder / "image"):
            form = "raw" if path == raw else "qcow2"
            self.img("resize", "-f", form, path, "+3M")
            self.img("resize", "-f", form, path, "-1M", status=1)
            self.img("resize", "--shrink", "-f", form, path, "7M")
        self.qemu("check", self.folder / "image")
        self.qemu("compare", "-f", "raw", "-F", "qcow2", raw, self.folder / "image")

    def test_damage_is_told_by_the_status(self):
        image = self.folder / "image"
        self.img("create", "-q", "-f", "qcow2", image, "1M")
        content = bytearray(image.read_bytes())
        content += bytes(65536)
        block = int.from_bytes(content[65536:65544], "big")
        content[block + 8:block + 10] = b"\0\1"  # The fifth cluster, which nobody uses.
        image.write_bytes(content)
        self.assertIn("not used", self.img("check", image, status=3))
        content[block + 2:block + 4] = b"\0\0"
        image.write_bytes(content)
        self.assertIn("damaged", self.img("check", image, status=2))
        self.img("check", "-f", "raw", image, status=63)

    def test_what_it_does_not_have_is_refused(self):
        self.assertIn("vmdk", self.img("create", "-f", "vmdk", self.folder / "x", "1M", status=1))
        self.assertIn("preallocation=full",
                      self.img("create", "-f", "qcow2", "-o", "preallocation=full", self.folder / "x", "1M", status=1))
        self.assertIn("rebase", self.img("rebase", "x", status=1))
        self.assertIn("size", self.img("create", self.folder / "x", "many", status=1))
        self.assertIn("--bogus", self.img("info", "--bogus", "x", status=1))
        self.img(status=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--calque-img", required=True)
    known, rest = parser.parse_known_args()
    CALQUE_IMG = known.calque_img
    unittest.main(argv=[sys.argv[0], *rest])
