#!/usr/bin/python3
"""Remote viewers: one of our own speaks RFB (RFC 6143), so that pixels can be compared; Debian's vncsnapshot is a real one.

    vnc_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import re
import shlex
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import PATIENCE, Failure, Session, guest_file, run_test_in_folder  # noqa: E402
from screen_test import PROMPT, Screen  # noqa: E402

FIRST_PORT = 5900
ENTER, CONTROL, LEFT_BUTTON = 0xFF0D, 0xFFE3, 1
RAW, DESKTOP_SIZE = 0, -223
# The key that password files are scrambled with, its bits reversed as RFB reverses those of passwords.
FILE_KEY = "e84ad660c4721ae0"


def free_display() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return port - FIRST_PORT


class Viewer:
    """Takes the screen as it comes, uncompressed."""

    def __init__(self, display: int):
        self.socket = socket.create_connection(("127.0.0.1", FIRST_PORT + display), timeout=PATIENCE)
        if self.read(12) != b"RFB 003.008\n":
            raise Failure("the server does not greet by RFB 3.8")
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.read(self.read(1)[0])
        if 1 not in kinds:
            raise Failure(f"the server wants a password: {list(kinds)}")
        self.socket.sendall(b"\x01")
        if self.read(4) != bytes(4):
            raise Failure("the server refuses")
        self.socket.sendall(b"\x01")  # Shared.
        width, height = struct.unpack(">HH", self.read(4))
        pixels = struct.unpack(">BBB?HHHBBBxxx", self.read(16))
        if pixels != (32, 24, 0, True, 255, 255, 255, 16, 8, 0):
            raise Failure(f"the server's pixels are not 00RRGGBB, but {pixels}")
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()
        self.resize(width, height)
        # 00RRGGBB, as a test wants them.
        self.socket.sendall(struct.pack(">Bxxx BBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.socket.sendall(struct.pack(">BxHii", 2, 2, RAW, DESKTOP_SIZE))
        self.request(False)

    def close(self):
        self.socket.close()

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise Failure("the server has hung up")
            data += more
        return data

    def resize(self, width: int, height: int):
        self.width, self.height = width, height
        self.rows = [bytes(4 * width)] * height

    def request(self, incremental: bool):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def update(self):
        """Waits for the next change and takes it."""
        kind = self.read(1)[0]
        if kind == 0:
            for _ in range(struct.unpack(">xH", self.read(3))[0]):
                left, top, width, height, encoding = struct.unpack(">HHHHi", self.read(12))
                if encoding == DESKTOP_SIZE:
                    self.resize(width, height)
                    continue
                for y in range(top, top + height):
                    row = self.read(4 * width)
                    self.rows[y] = self.rows[y][:4 * left] + row + self.rows[y][4 * (left + width):]
            self.request(True)
        elif kind == 3:
            self.read(struct.unpack(">xxxI", self.read(7))[0])
        elif kind != 2:
            raise Failure(f"a message of kind {kind}")

    def key(self, keysym: int, pressed: bool):
        self.socket.sendall(struct.pack(">BBxxI", 4, pressed, keysym))

    def press(self, keysym: int):
        self.key(keysym, True)
        self.key(keysym, False)

    def point(self, x: int, y: int, buttons: int = 0):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def picture(self) -> bytes:
        """RGB bytes."""
        return b"".join(bytes(row[at + 2 - part] for at in range(0, len(row), 4) for part in range(3)) for row in self.rows)


class RemoteScreen(Screen):
    """The guest's screen by VNC, the monitor on the terminal."""

    def __init__(self, args, vnc: str, *options):
        Session.__init__(self, shlex.split(args.emulator) + ["-vnc", vnc, "-serial", "none", "-monitor", "stdio", "-name", "remote", "-no-reboot"]
                         + [str(option) for option in options], quiet=True)
        self.wait_for(PROMPT)

    def enter(self, viewer: Viewer, text: str):
        """Types a line that the guest echoes, a character at a time: a PS/2 keyboard holds but 16 bytes, and it is up to six for each. The
        viewer says which characters, and nothing of Shift."""
        for at, character in enumerate(text, 1):
            viewer.press(ord(character))
            self.wait_for_screen(re.escape(text[:at].rstrip()) + " *$")
        viewer.press(ENTER)

    def wait_for_same_picture(self, viewer: Viewer, folder: Path):
        deadline = time.monotonic() + PATIENCE
        while True:
            self.ask(f"screendump {folder / 'guest.ppm'}")
            _, size, _, pixels = (folder / "guest.ppm").read_bytes().split(b"\n", 3)
            if size == f"{viewer.width} {viewer.height}".encode() and viewer.picture() == pixels:
                return
            if time.monotonic() > deadline:
                self.fail(f"the viewer's {viewer.width} x {viewer.height} do not become the guest's {size.decode()}")
            viewer.update()


def disc(folder: Path) -> Path:
    iso = folder / "disc.iso"
    disk_image.make_isolinux(iso, folder, guest_file("vmlinuz"), guest_file("screen.cpio.gz"), "console=tty0 nomodeset quiet")
    return iso


def interrupt(viewer: Viewer):
    viewer.key(CONTROL, True)
    viewer.press(ord("c"))
    viewer.key(CONTROL, False)


def use(args, folder: Path):
    """A shell on tty1 is typed at, seen and pointed at; two viewers see the same."""
    display = free_display()
    with RemoteScreen(args, f":{display}", "-m", "512M", "-cdrom", disc(folder)) as screen:
        screen.wait_for_screen(r"CALQUE-ISOLINUX(.*\n)+boot:")
        viewer = Viewer(display)
        if "remote" not in viewer.name:
            screen.fail(f"the screen is called {viewer.name!r}")
        screen.enter(viewer, "linux")
        screen.wait_for_screen(r"^calque# *$")
        screen.enter(viewer, "printf '\\033[?25l'; echo Answer_$((6*7))!")
        screen.wait_for_screen("^Answer_42!$")
        screen.wait_for_same_picture(viewer, folder)

        second = Viewer(display)
        screen.wait_for_same_picture(second, folder)
        second.close()

        screen.enter(viewer, "clear; while od -An -tx1 -N3 /dev/input/mice; do :; done")
        packet = r"^ (08|28) ([0-7][0-9a-f]) ([0-9a-f]{2})$"  # To the right; bit 5 is the sign of downwards.
        deadline, x = time.monotonic() + PATIENCE, 0
        while not re.search(packet, screen.ask("screentext"), re.M):
            if time.monotonic() > deadline:
                screen.fail("the guest's mouse does not move")
            x = (x + 30) % 600
            viewer.point(x, 100)
            time.sleep(0.1)
        interrupt(viewer)
        screen.wait_for_screen(r"^calque# *$")
        screen.enter(viewer, "clear; cat")
        interrupt(viewer)
        screen.wait_for_screen(r"^\^C")
        viewer.close()
        screen.end()


def tablet(args, folder: Path):
    """A viewer's pointer is where the guest's tablet says."""
    display = free_display()
    with RemoteScreen(args, f":{display}", "-m", "512M", "-device", "virtio-tablet-pci", "-cdrom", disc(folder)) as screen:
        screen.wait_for_screen("boot:")
        viewer = Viewer(display)
        screen.enter(viewer, "linux")
        screen.wait_for_screen(r"^calque# *$")
        screen.enter(viewer, "cd /sys/class/input; d=$(grep -l tablet event*/device/name)")
        screen.enter(viewer, "clear; od -An -v -tu2 -w24 /dev/input/${d%%/*}")
        screen.wait_for_same_picture(viewer, folder)  # The viewer knows how large the screen is.
        deadline = time.monotonic() + PATIENCE
        for x, y in ((100, 50), (0, 399), (719, 1)):
            while True:
                viewer.point(x + 9, y + 9)  # The guest's reader may not have been there before.
                viewer.point(x, y)
                text = screen.ask("screentext")
                places = [(2 * at + 1) * 0x8000 // (2 * size) for at, size in ((x, viewer.width), (y, viewer.height))]
                if all(re.search(rf" 3 +{axis} +{place} +0 *$", text, re.M) for axis, place in enumerate(places)):
                    break
                if time.monotonic() > deadline:
                    screen.fail(f"the guest's pointer does not come to {x}, {y}")
                time.sleep(0.1)
        viewer.close()
        screen.end()


def password(args, folder: Path):
    """Debian's vncsnapshot takes a picture with the password, and none with another; without one it is refused."""
    display, secret = free_display(), folder / "secret"
    secret.write_text("pass4vnc\n")
    with RemoteScreen(args, f"127.0.0.1:{display},password-secret=s", "-object", f"secret,id=s,file={secret}", "-cdrom", disc(folder)) as screen:
        screen.wait_for_screen("boot:")
        for word, good in (("pass4vnc", True), ("pass4vnx", False)):
            scrambled = subprocess.run(["openssl", "enc", "-des-cbc", "-nopad", "-nosalt", "-K", FILE_KEY, "-iv", "0" * 16, "-provider", "legacy",
                                        "-provider", "default"], input=word.encode(), capture_output=True, check=True).stdout
            (folder / "passwd").write_bytes(scrambled)
            picture = folder / f"{word}.jpg"
            done = subprocess.run(["vncsnapshot", "-passwd", folder / "passwd", "-quiet", f"127.0.0.1:{display}", picture], capture_output=True,
                                  stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE)
            if picture.exists() != good:
                screen.fail(f"password {word}: status {done.returncode}: {done.stdout}{done.stderr}")
        if not (folder / "pass4vnc.jpg").read_bytes().startswith(b"\xff\xd8"):
            screen.fail("the picture is none")
        screen.end()


def abuse(args, folder: Path):
    """Noise, half a greeting, a viewer that never reads: the guest goes on, and another viewer is served."""
    display = free_display()
    with RemoteScreen(args, f":{display}", "-m", "512M", "-cdrom", disc(folder)) as screen:
        screen.wait_for_screen("boot:")
        place = ("127.0.0.1", FIRST_PORT + display)
        for noise in (b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 64, b"RFB 999.999\n\xff\xff\xff"):
            with socket.create_connection(place) as other:
                other.sendall(noise)
        half = socket.create_connection(place)
        half.sendall(b"RFB ")
        deaf = Viewer(display)
        for _ in range(2000):
            deaf.request(False)
        hostile = Viewer(display)
        hostile.socket.sendall(struct.pack(">BxHi", 2, 65535, RAW))  # Encodings that do not come.
        hostile.socket.sendall(struct.pack(">BxxxI", 6, 0xFFFFFFF0) + b"x" * 1000)
        if "running" not in screen.ask("info status"):
            screen.fail("the guest does not run")
        viewer = Viewer(display)
        screen.enter(viewer, "linux")
        screen.wait_for_screen(r"^calque# *$")
        screen.wait_for_same_picture(viewer, folder)
        for each in (viewer, deaf, hostile):
            each.close()
        half.close()
        screen.end()


TESTS = {"use": use, "tablet": tablet, "password": password, "abuse": abuse}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("vnc", lambda folder: TESTS[arguments.test](arguments, folder)))
