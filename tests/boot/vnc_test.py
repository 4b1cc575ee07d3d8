#!/usr/bin/python3
"""Remote viewers: one of our own speaks RFB (RFC 6143), so that pixels can be compared; Debian's vncsnapshot and TigerVNC are real ones.

    vnc_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import PATIENCE, Failure, Session, end_with_parent, guest_file, run_test_in_folder  # noqa: E402
from qmp_test import Qmp, SchemaCheck  # noqa: E402
from screen_test import PROMPT, Screen  # noqa: E402
from window_test import Xvfb  # noqa: E402

FIRST_PORT = 5900
ENTER, CONTROL, ALT = 0xFF0D, 0xFFE3, 0xFFE9
RAW, DESKTOP_SIZE, EXTENDED_CLIPBOARD = 0, -223, -1063131698
CLIPBOARD_TEXT, CLIPBOARD_CAPABILITIES, CLIPBOARD_PROVIDE = 1, 1 << 24, 1 << 28
# The key that password files are scrambled with, its bits reversed as RFB reverses those of passwords.
FILE_KEY = "e84ad660c4721ae0"


def free_display() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return port - FIRST_PORT


def des(key: bytes, data: bytes, mode: str = "ecb") -> bytes:
    return subprocess.run(["openssl", "enc", f"-des-{mode}", "-nopad", "-nosalt", "-K", key.hex()] + (["-iv", "0" * 16] if mode == "cbc" else [])
                          + ["-provider", "legacy", "-provider", "default"], input=data, capture_output=True, check=True).stdout


class Refused(Exception):
    """The server does not let the viewer in."""


class Viewer:
    """Takes the screen as it comes, uncompressed."""

    def __init__(self, display: int, password: str = ""):
        self.socket = socket.create_connection(("127.0.0.1", FIRST_PORT + display), timeout=PATIENCE)
        if self.read(12) != b"RFB 003.008\n":
            raise Failure("the server does not greet by RFB 3.8")
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.read(self.read(1)[0])
        kind = 2 if password else 1
        if kind not in kinds:
            raise Failure(f"the server does not {'want' if password else 'do without'} a password: {list(kinds)}")
        self.socket.sendall(bytes([kind]))
        if password:  # RFC 6143, 7.2.2; the key's bits are in the other order.
            key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0"))
            self.socket.sendall(des(key, self.read(16)))
        if self.read(4) != bytes(4):
            self.close()
            raise Refused
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
            length = struct.unpack(">xxxi", self.read(7))[0]
            self.cut_text = self.read(abs(length))
        elif kind != 2:
            raise Failure(f"a message of kind {kind}")

    def key(self, keysym: int, pressed: bool):
        self.socket.sendall(struct.pack(">BBxxI", 4, pressed, keysym))

    def press(self, keysym: int):
        self.key(keysym, True)
        self.key(keysym, False)

    def point(self, x: int, y: int, buttons: int = 0):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def cut(self, text: bytes):
        """The viewer's clipboard, in Latin 1."""
        self.socket.sendall(struct.pack(">BxxxI", 6, len(text)) + text)

    def cut_extended(self, text: str):
        """The same in UTF-8, by the extended clipboard that RealVNC and TigerVNC have."""
        self.cut_text = b""
        self.socket.sendall(struct.pack(">BxHiii", 2, 3, RAW, DESKTOP_SIZE, EXTENDED_CLIPBOARD))
        while not self.cut_text:
            self.update()
        if not struct.unpack(">I", self.cut_text[:4])[0] & CLIPBOARD_CAPABILITIES:
            raise Failure(f"the server does not say what it can: {self.cut_text.hex()}")
        data = text.encode() + b"\0"
        stream = zlib.compressobj()
        data = stream.compress(struct.pack(">I", len(data)) + data) + stream.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(struct.pack(">BxxxiI", 6, -(4 + len(data)), CLIPBOARD_PROVIDE | CLIPBOARD_TEXT) + data)

    def paste(self):
        """Ctrl-Alt-V."""
        for keysym in (CONTROL, ALT, ord("v")):
            self.key(keysym, True)
        for keysym in (ord("v"), ALT, CONTROL):
            self.key(keysym, False)

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
            scrambled = des(bytes.fromhex(FILE_KEY), word.encode(), "cbc")
            (folder / "passwd").write_bytes(scrambled)
            picture = folder / f"{word}.jpg"
            done = subprocess.run(["vncsnapshot", "-passwd", folder / "passwd", "-quiet", f"127.0.0.1:{display}", picture], capture_output=True,
                                  stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE)
            if picture.exists() != good:
                screen.fail(f"password {word}: status {done.returncode}: {done.stdout}{done.stderr}")
        if not (folder / "pass4vnc.jpg").read_bytes().startswith(b"\xff\xd8"):
            screen.fail("the picture is none")
        screen.end()


def clipboard(args, folder: Path):
    """What a viewer has cut is typed by Ctrl-Alt-V, and never unasked; what the guest has no key for is told."""
    display = free_display()
    with RemoteScreen(args, f":{display}", "-m", "512M", "-cdrom", disc(folder)) as screen:
        screen.wait_for_screen("boot:")
        viewer = Viewer(display)
        screen.enter(viewer, "linux")
        screen.wait_for_screen(r"^calque# *$")
        viewer.cut(b"echo Nobody asked; reboot -f\n")
        screen.enter(viewer, "clear; echo First")
        screen.wait_for_screen("^First$")
        viewer.cut("echo \xe9'Cut: {}[]|~\"`^@ <>?' | tr a-z A-Z\r\n".encode("latin-1"))
        viewer.paste()
        text = screen.wait_for_screen(re.escape("CUT: {}[]|~\"`^@ <>?") + "$")
        if "Nobody" in text:
            screen.fail("text was typed that nobody asked for")
        if "1 of the 41 characters are on no key of the guest's keyboard (-k en-us)" not in screen.ask("info vnc"):
            screen.fail("it is not told that a character has no key")
        viewer.cut_extended("echo Ext-\u20ac\U0001f600$((6*7))\r\n")
        viewer.paste()
        screen.wait_for_screen("^Ext-42$")
        if "2 of the 20 characters" not in screen.ask("info vnc"):
            screen.fail("it is not told that two characters have no keys")

        # A person who types stops it, and others are as before.
        viewer.cut(b"# " + b"x" * 50_000)
        viewer.paste()
        screen.wait_for_screen("xxxx")
        interrupt(viewer)
        screen.enter(viewer, "clear; echo Last")
        screen.wait_for_screen("^Last$")
        second = Viewer(display)
        second.paste()
        while "has sent no text" not in screen.ask("info vnc"):
            time.sleep(0.1)
        second.close()
        viewer.close()
        screen.end()


class TigerVnc:
    """Debian's viewer in a window of an X server, where events are made by xdotool."""

    def __init__(self, display: int, folder: Path):
        words = ["-SecurityTypes=None", "-RemoteResize=0", "-AlertOnFatalError=0", "-ReconnectOnError=0", f"127.0.0.1::{FIRST_PORT + display}"]
        self.process = subprocess.Popen(["xtigervncviewer", *words], env={**os.environ, "HOME": str(folder)}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        deadline = time.monotonic() + PATIENCE
        self.window = ""
        while not self.window:
            self.window = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", "Calque"], capture_output=True, text=True).stdout.strip()
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure("xtigervncviewer shows nothing")
            time.sleep(0.1)
        self.x("windowmove", "--sync", self.window, "0", "0")  # What is off the screen cannot be pointed at.
        self.x("windowfocus", "--sync", self.window)
        self.point(10, 10)
        self.x("click", "1")  # Without a window manager it passes no movement on before the first click.

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def x(self, *words):
        subprocess.run(["xdotool", *words], check=True, capture_output=True)

    def point(self, x: int, y: int):
        self.x("mousemove", "--window", self.window, str(x), str(y))

    def enter(self, screen: Screen, text: str):
        """A line that the guest echoes."""
        for at in range(0, len(text), 2):
            self.x("type", "--delay", "30", "--", text[at:at + 2])
            screen.wait_for_screen(re.escape(text[:at + 2].rstrip()) + " *$")
        self.x("key", "Return")


def viewer(args, folder: Path):
    """Debian's TigerVNC: keys, a pointer by places and by steps, the wheel and a button, its clipboard."""
    display = free_display()
    options = ["-m", "512M", "-device", "virtio-tablet-pci", "-cdrom", disc(folder)]
    with Xvfb(), RemoteScreen(args, f":{display}", *options) as screen:
        screen.wait_for_screen("boot:")
        with TigerVnc(display, folder) as tiger:
            tiger.enter(screen, "linux")
            screen.wait_for_screen(r"^calque# *$")
            tiger.enter(screen, "cd /sys/class/input; d=$(grep -l tablet event*/device/name)")
            tiger.enter(screen, "clear; od -An -v -tu2 -w24 /dev/input/${d%%/*}")

            def until(what: str, done):
                deadline = time.monotonic() + PATIENCE
                while not done():
                    if time.monotonic() > deadline:
                        screen.fail(f"not within {PATIENCE:.0f} s: {what}; the screen shows\n{screen.ask('screentext')}")
                    time.sleep(0.1)

            for x, y in ((100, 50), (719, 399), (0, 1)):
                places = [(2 * at + 1) * 0x8000 // (2 * size) for at, size in ((x, 720), (y, 400))]

                def pointed() -> bool:
                    tiger.point(x + (9 if x < 700 else -9), y + (9 if y < 300 else -9))  # The guest's reader may not have been there before.
                    tiger.point(x, y)
                    text = screen.ask("screentext")
                    return all(re.search(rf" 3 +{axis} +{place} +0 *$", text, re.M) for axis, place in enumerate(places))

                until(f"the guest's pointer is at {x}, {y}", pointed)
            tiger.x("click", "3")
            screen.wait_for_screen(rf" 1 +{0x111} +1 +0 *$")
            tiger.x("click", "4")
            screen.wait_for_screen(r" 2 +8 +1 +0 *$")
            tiger.x("key", "ctrl+c")
            screen.wait_for_screen(r"^calque# *$")

            screen.ask("mouse_set 0")  # The PS/2 one.
            tiger.enter(screen, "clear; while od -An -tx1 -N3 /dev/input/mice; do :; done")
            packet = r"^ (08|28) ([0-7][0-9a-f]) ([0-9a-f]{2})$"  # To the right; bit 5 is the sign of downwards.
            x = 0

            def moved() -> bool:
                nonlocal x
                x = (x + 30) % 600
                tiger.point(x, 100)
                return bool(re.search(packet, screen.ask("screentext"), re.M))

            until("the guest's mouse moves to the right", moved)
            tiger.x("key", "ctrl+c")
            screen.wait_for_screen(r"^calque# *$")

            with subprocess.Popen(["xclip", "-quiet", "-selection", "clipboard", "-in"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  preexec_fn=end_with_parent) as clip:
                clip.stdin.write("clear; echo \u20acClip-$((6*7))\n".encode())
                clip.stdin.close()
                until("the viewer sends its clipboard", lambda: "bytes of text" in screen.ask("info vnc"))
                tiger.x("key", "ctrl+alt+v")
                screen.wait_for_screen("^Clip-42$")
                clip.terminate()
            if "1 of the 27 characters" not in screen.ask("info vnc"):
                screen.fail("the viewer's text is another")
        screen.end()


def refused(display: int, password: str) -> bool:
    try:
        Viewer(display, password).close()
        return False
    except Refused:
        return True


def control(args, folder: Path):
    """Passwords set and changed by the machine protocol and the monitor, who watches, and who came and went."""
    display = free_display()
    with RemoteScreen(args, f"127.0.0.1:{display},password=on", "-cdrom", disc(folder), "-qmp", f"unix:{folder / 'q'},server=on,wait=off",
                      "-device", "virtio-vga,id=video0,vgamem_mb=16,edid=off") as screen:
        qmp = Qmp(folder / "q")
        # libvirt looks whether its adapter has the memory that it was to have, and takes no string for a number.
        found = {name: qmp.ask("qom-get", path="/machine/peripheral/video0", property=name) for name in ("type", "vgamem_mb", "edid")}
        if found != {"type": "virtio-vga", "vgamem_mb": 16, "edid": False}:
            screen.fail(f"the adapter's properties are {found}")
        schema = SchemaCheck(qmp.ask("query-qmp-schema"))

        def ask(command: str):
            answer = qmp.ask(command)
            schema.check(schema.entries[command]["ret-type"], answer, command)
            return answer

        def event(name: str) -> dict:
            data = qmp.wait_for(name)
            schema.check(schema.entries[name]["arg-type"], data, name)
            return data

        server = {"host": "127.0.0.1", "service": str(FIRST_PORT + display), "family": "ipv4"}
        if ask("query-vnc") != {"enabled": True, "auth": "vnc", "clients": [], **server}:
            screen.fail(f"query-vnc: {ask('query-vnc')}")
        if not refused(display, "anything"):
            screen.fail("a viewer was let in though no password was set")
        if "No password is set" not in screen.ask("info vnc"):
            screen.fail("info vnc does not say that there is no password")
        qmp.ask("set_password", protocol="vnc", password="first")
        if not refused(display, "second"):
            screen.fail("a viewer was let in with the wrong password")
        qmp.events.clear()
        viewer = Viewer(display, "first")
        client = {"host": "127.0.0.1", "service": str(viewer.socket.getsockname()[1]), "family": "ipv4", "websocket": False}
        for name in ("VNC_CONNECTED", "VNC_INITIALIZED"):
            found = event(name)
            while found["client"] != client:  # Those before it have still been told.
                found = event(name)
            if found["server"] != {"auth": "vnc", "websocket": False, **server}:
                screen.fail(f"{name}: {found}")
        if ask("query-vnc")["clients"] != [client] or ask("query-vnc-servers")[0]["clients"] != [client]:
            screen.fail(f"the viewer is not told of: {ask('query-vnc')}")

        qmp.ask("change-vnc-password", password="second")
        if not refused(display, "first") or refused(display, "second"):
            screen.fail("change-vnc-password does not change the password")
        viewer.request(False)
        viewer.update()  # Those who are there stay.
        for when, good in (("now", False), ("never", True), ("+1000", True), ("1000", False)):
            qmp.ask("expire_password", protocol="vnc", time=when)
            if refused(display, "second") == good:
                screen.fail(f"expire_password {when}: not {good}")
        if "has expired" not in screen.ask("info vnc"):
            screen.fail("info vnc does not say that the password has expired")
        for line, password in (("set_password vnc third", "third"), ("change vnc password fourth", "fourth"), ("set_password vnc fifth keep", "fifth")):
            screen.ask("expire_password vnc never")
            screen.ask(line)
            if refused(display, password):
                screen.fail(f"{line}: not let in")
        qmp.refused("set_password", "GenericError", "8 characters", protocol="vnc", password="123456789")
        qmp.refused("set_password", "GenericError", "spice", protocol="spice", password="sixth")
        qmp.refused("set_password", "GenericError", "keep", protocol="vnc", password="sixth", connected="disconnect")
        qmp.refused("set_password", "GenericError", "default", protocol="vnc", password="sixth", display="other")
        qmp.refused("expire_password", "GenericError", "tomorrow", protocol="vnc", time="tomorrow")
        if refused(display, "fifth"):
            screen.fail("a command that was refused has changed the password")
        qmp.ask("set_password", protocol="vnc", password="")
        if not refused(display, "fifth"):
            screen.fail("an empty password lets in")
        viewer.close()
        while event("VNC_DISCONNECTED")["client"] != client:
            pass
        qmp.close()
        screen.end()

    with RemoteScreen(args, f":{free_display()}", "-cdrom", folder / "disc.iso") as screen:
        if "password=on" not in screen.ask("set_password vnc first"):
            screen.fail("a password is set though none is asked for")
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


TESTS = {"use": use, "tablet": tablet, "password": password, "clipboard": clipboard, "control": control, "viewer": viewer, "abuse": abuse}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("vnc", lambda folder: TESTS[arguments.test](arguments, folder)))
