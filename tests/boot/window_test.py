#!/usr/bin/python3
"""The window under Xvfb: real X events go in by xdotool, pixels come out by ImageMagick.

    window_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import PATIENCE, Failure, Session, end_with_parent, guest_file, run_test  # noqa: E402
from screen_test import PROMPT, Screen  # noqa: E402

STATUS_LINE = 16


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent, in the room that an XEvent takes."""
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int), ("display", ctypes.c_void_p),
                ("window", ctypes.c_ulong), ("message_type", ctypes.c_ulong), ("format", ctypes.c_int), ("data", ctypes.c_long * 5),
                ("rest", ctypes.c_long * 24)]


def delete_window(window: int):
    """What a window manager does when its user closes a window (ICCCM, 4.2.8.1)."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    display = ctypes.c_void_p(x11.XOpenDisplay(None))
    atoms = [x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")]
    client_message = 33
    event = ClientMessage(type=client_message, window=window, message_type=atoms[0], format=32)
    event.data[0] = atoms[1]
    x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
    x11.XCloseDisplay(display)


class Xvfb:
    """A display of our own, with a number that nobody has."""

    def __enter__(self):
        ours, theirs = os.pipe()
        self.process = subprocess.Popen(["Xvfb", "-displayfd", str(theirs), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"],
                                        pass_fds=[theirs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            number = pipe.readline().strip()  # To the end of the line: Xvfb writes in two parts.
        if not number:
            sys.exit("Xvfb does not start; scripts/setup.sh test installs it")
        os.environ["DISPLAY"] = f":{number}"
        return self

    def __exit__(self, *_):
        del os.environ["DISPLAY"]
        self.process.terminate()
        self.process.wait()


class WindowManager:
    """Full screen is a window manager's to give."""

    def __enter__(self):
        self.process = subprocess.Popen(["openbox", "--sm-disable"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(["xdotool", "get_num_desktops"], capture_output=True).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure("openbox does not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Weston:
    """A Wayland display of two dots to a unit, in a window of the X server; all that it shows is the one window."""

    def __init__(self, folder: Path):
        self.folder = folder / "run"

    def __enter__(self):
        self.folder.mkdir(mode=0o700)
        self.before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")}
        os.environ["XDG_RUNTIME_DIR"] = str(self.folder)
        self.process = subprocess.Popen(["weston", "--backend=x11-backend.so", "--use-pixman", "--scale=2", "--width=790", "--height=550", "--socket=calque",
                                         "--no-config", "--shell=kiosk-shell.so"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=end_with_parent)
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / "calque").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure("weston does not start")
            time.sleep(0.1)
        os.environ.update(WAYLAND_DISPLAY="calque", SDL_VIDEODRIVER="wayland")
        return self

    def __exit__(self, *_):
        for name, value in self.before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        self.process.terminate()
        self.process.wait()


class WindowScreen(Screen):
    """The guest's screen in a window, its serial port on a console there, the monitor on our terminal."""

    SEARCHED = ["--name", "^Calque"]

    def __init__(self, args, *options):
        Session.__init__(self, shlex.split(args.emulator) + ["-display", "sdl,gl=off", "-serial", "vc", "-monitor", "stdio", "-name", "framed", "-no-reboot"]
                         + [str(option) for option in options], quiet=True)
        self.wait_for(PROMPT)
        self.window = ""
        self.wait_until("there is a window", self.find)
        self.x("windowfocus", "--sync", self.window)

    def find(self) -> bool:
        # Status 1: there is none yet.
        found = subprocess.run(["xdotool", "search", "--onlyvisible", *self.SEARCHED], capture_output=True, text=True).stdout.split()
        self.window = found[0] if found else ""
        return bool(found)

    def x(self, *words) -> str:
        return subprocess.run(["xdotool", *words], check=True, capture_output=True, text=True).stdout.strip()

    def press(self, chord: str):
        self.x("key", chord)

    def enter(self, text: str, *, seen: bool = True):
        """Types a line that the guest echoes, and Enter, by X key events."""
        for at in range(0, len(text), 4):
            self.x("type", "--delay", "30", "--", text[at:at + 4])
            if seen:
                self.wait_for_screen(re.escape(text[:at + 4].rstrip()) + " *$")
        self.press("Return")

    def wait_until(self, what: str, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                self.fail(f"the emulator ended while waiting until {what}")
            if time.monotonic() > deadline:
                self.fail(f"not within {PATIENCE:.0f} s: {what}")
            time.sleep(0.1)

    def title(self) -> str:
        return self.x("getwindowname", self.window)

    def wait_for_title(self, text: str):
        self.wait_until(f"the title says {text!r}", lambda: text in self.title())

    def size(self) -> tuple:
        found = dict(line.split("=") for line in self.x("getwindowgeometry", "--shell", self.window).splitlines())
        return int(found["WIDTH"]), int(found["HEIGHT"])

    def pixels(self) -> tuple:
        """Width, height and RGB bytes of the window as it is on the display."""
        width, height = self.size()
        shot = subprocess.run(["import", "-silent", "-window", self.window, "-depth", "8", "rgb:-"], check=True, capture_output=True).stdout
        return width, height, shot

    def shown(self) -> bytes:
        """The window above the status line."""
        width, height, shot = self.pixels()
        return shot[:width * (height - STATUS_LINE) * 3]

    def guest_pixels(self, folder: Path) -> tuple:
        self.ask(f"screendump {folder / 'guest.ppm'}")
        _, size, _, data = (folder / "guest.ppm").read_bytes().split(b"\n", 3)
        width, height = map(int, size.split())
        return width, height, data

    def wait_for_same_pixels(self, folder: Path, factor: int = 1, status_line: int = STATUS_LINE):
        """The window shows what the guest's screen is, `factor` times as large, in the middle above the status line."""
        def same() -> bool:
            width, height, shot = self.pixels()
            guest_width, guest_height, guest = self.guest_pixels(folder)
            left, top = (width - guest_width * factor) // 2, (height - status_line - guest_height * factor) // 2
            if left < 0 or top < 0 or len(shot) != width * height * 3:
                return False
            for y in range(guest_height):
                row = guest[y * guest_width * 3:(y + 1) * guest_width * 3]
                if factor > 1:
                    row = b"".join(row[x:x + 3] * factor for x in range(0, len(row), 3))
                for copy in range(factor):
                    at = ((top + y * factor + copy) * width + left) * 3
                    if shot[at:at + len(row)] != row:
                        return False
            return True

        self.wait_until(f"the window shows the guest's pixels {factor} times as large", same)

    def wait_for_smooth_pixels(self, folder: Path):
        """The guest's screen is as large as fits, each dot between the guest's that are next to it; black beside it."""
        def smooth() -> bool:
            width, height, shot = self.pixels()
            guest_width, guest_height, guest = self.guest_pixels(folder)
            room = height - STATUS_LINE
            if len(shot) != width * height * 3:
                return False
            wide, high = (room * guest_width // guest_height, room) if width * guest_height > room * guest_width else (width, width * guest_height // guest_width)
            left, top = (width - wide) // 2, (room - high) // 2
            lit = 0
            for y in range(0, room, 3):
                for x in range(0, width, 3):
                    dot = shot[(y * width + x) * 3:][:3]
                    if not (left <= x < left + wide and top <= y < top + high):
                        if any(dot):
                            return False
                        continue
                    across, down = (x - left + 0.5) * guest_width / wide - 0.5, (y - top + 0.5) * guest_height / high - 0.5
                    columns = {min(max(int(across // 1) + i, 0), guest_width - 1) for i in (0, 1)}
                    rows = {min(max(int(down // 1) + i, 0), guest_height - 1) for i in (0, 1)}
                    near = [guest[(row * guest_width + column) * 3:][:3] for row in rows for column in columns]
                    for part in range(3):
                        parts = [each[part] for each in near]
                        if not min(parts) - 2 <= dot[part] <= max(parts) + 2:  # Rounding.
                            return False
                    lit += any(dot)
            return lit > 10

        self.wait_until("the window shows the guest's screen scaled smoothly", smooth)

    def close(self):
        delete_window(int(self.window))


def started(args, folder: Path, *options) -> WindowScreen:
    iso = folder / "disc.iso"
    disk_image.make_isolinux(iso, folder, guest_file("vmlinuz"), guest_file("screen.cpio.gz"), "console=tty0 nomodeset quiet")  # The kernel says nothing after the prompt.
    return WindowScreen(args, "-m", "512M", "-cdrom", iso, *options)


def shell(screen: WindowScreen):
    screen.wait_for_screen(r"CALQUE-ISOLINUX(.*\n)+boot:")
    screen.enter("linux")
    screen.wait_for_screen(r"^calque# *$")


def use(args, folder: Path):
    """A shell on tty1 is typed at, seen, enlarged, stopped, pointed at; the serial console is another page."""
    with started(args, folder) as screen:
        shell(screen)
        screen.enter("printf '\\033[?25l'; echo Answer-$((6*7))")
        screen.wait_for_screen("^Answer-42$")
        screen.wait_for_same_pixels(folder)

        screen.x("windowmove", "--sync", screen.window, "0", "0")  # What is off the screen has no pixels.
        screen.x("windowsize", "--sync", screen.window, "1500", str(816 + STATUS_LINE))
        screen.press("ctrl+alt+i")  # Whole numbers.
        screen.wait_for_same_pixels(folder, 2)
        screen.press("ctrl+alt+u")  # Its own size again.
        screen.wait_until("the window has the guest's size", lambda: screen.size() == (720, 400 + STATUS_LINE))
        screen.wait_for_same_pixels(folder)

        screen.press("ctrl+alt+p")
        screen.wait_for_title("stopped")
        if "paused" not in screen.ask("info status"):
            screen.fail("Ctrl-Alt-P does not stop the guest")
        screen.press("ctrl+alt+p")
        screen.wait_until("it runs again", lambda: "running" in screen.ask("info status"))

        screen.press("ctrl+alt+2")
        screen.wait_for_title("serial")
        screen.press("Return")
        screen.enter("echo By-serial-$((5*5)) >/dev/tty1", seen=False)
        screen.press("ctrl+alt+1")
        screen.wait_for_screen("By-serial-25$")
        screen.wait_for_same_pixels(folder)

        guest = screen.shown()
        screen.press("ctrl+alt+h")
        screen.wait_until("the help is shown", lambda: screen.shown() != guest)
        screen.press("Escape")
        screen.wait_for_same_pixels(folder)
        screen.end()


def mouse(args, folder: Path):
    """A click takes the pointer; what moves is the guest's mouse until Ctrl-Alt-G."""
    with started(args, folder) as screen:
        shell(screen)
        screen.enter("clear; od -An -tx1 -N3 /dev/input/mice")
        screen.x("mousemove", "--window", screen.window, "300", "200")
        screen.x("click", "1")
        screen.wait_for_title("Ctrl-Alt-G releases")
        packet = r"^ (08|28) ([0-7][0-9a-f]) ([0-9a-f]{2})$"  # To the right; bit 5 is the sign of downwards.

        def moved() -> bool:
            screen.x("mousemove_relative", "30", "0")
            return bool(re.search(packet, screen.ask("screentext"), re.M))

        screen.wait_until("the guest's mouse moves to the right", moved)
        screen.press("ctrl+alt+g")
        screen.wait_for_title("Ctrl-Alt-H")
        screen.end()


def tablet(args, folder: Path):
    """With a tablet that the guest uses, the pointer is where it is in the window, without a click or a grab."""
    with started(args, folder, "-device", "virtio-tablet-pci") as screen:
        shell(screen)
        screen.wait_until("the guest uses its tablet", lambda: "* Mouse #1: virtio tablet" in screen.ask("info mice"))
        screen.enter("cd /sys/class/input; d=$(grep -l tablet event*/device/name)")
        screen.enter("clear; od -An -v -tu2 -w24 /dev/input/${d%%/*}")
        width, height = screen.size()
        height -= STATUS_LINE
        for x, y in ((width // 4, height // 2), (width // 2, height // 4), (width - 1, height - 1)):
            places = [(2 * at + 1) * 0x8000 // (2 * size) for at, size in ((x, width), (y, height))]

            def pointed() -> bool:
                for away in (9, 0):  # The guest's reader may not have been there before.
                    screen.x("mousemove", "--window", screen.window, str(x - away), str(y - away))
                text = screen.ask("screentext")
                return all(re.search(rf" 3 +{axis} +{place} +0 *$", text, re.M) for axis, place in enumerate(places))

            screen.wait_until(f"the guest's pointer is at {x}, {y}", pointed)
        screen.x("click", "3")
        screen.wait_for_screen(rf" 1 +{0x111} +1 +0 *$")
        if "releases" in screen.title():
            screen.fail("a click took the pointer")
        screen.end()


def paste(args, folder: Path):
    """The clipboard's text is typed."""
    with started(args, folder) as screen:
        shell(screen)
        text = "echo 'Pasted: {}[]|~\"`^@ <>?' | tr a-z A-Z; echo $((9*9))+\n"
        clipboard = subprocess.Popen(["xclip", "-quiet", "-selection", "clipboard", "-in"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                     preexec_fn=end_with_parent)
        clipboard.stdin.write(text.encode())
        clipboard.stdin.close()
        time.sleep(0.5)
        screen.press("ctrl+alt+v")
        screen.wait_for_screen(re.escape("PASTED: {}[]|~\"`^@ <>?") + "$")
        screen.wait_for_screen(r"^81\+$")
        clipboard.terminate()
        clipboard.wait()
        screen.end()


WHOLE = (1600, 1200)  # Xvfb's screen.
OWN = (720, 400 + STATUS_LINE)


def full_screen(args, folder: Path):
    """-full-screen, and Ctrl-Alt-F out and in again, with both ways of scaling."""
    with WindowManager(), started(args, folder, "-full-screen") as screen:
        shell(screen)
        screen.enter("clear; printf '\\033[?25l\\033[44m%s\\033[m-%d' Full $((6*7)); cat")
        screen.wait_for_screen("^Full-42")
        screen.wait_until("the window has the whole screen", lambda: screen.size() == WHOLE)
        screen.wait_for_smooth_pixels(folder)
        screen.press("ctrl+alt+i")
        screen.wait_for_same_pixels(folder, 2)
        screen.press("ctrl+alt+f")
        screen.wait_until("it is a window again", lambda: screen.size() == OWN)
        screen.wait_for_same_pixels(folder)
        screen.press("ctrl+alt+f")
        screen.wait_until("the window has the whole screen again", lambda: screen.size() == WHOLE)
        screen.wait_for_same_pixels(folder, 2)
        screen.press("ctrl+alt+b")
        screen.wait_for_same_pixels(folder, 2, status_line=0)
        screen.end()


def resize(args, folder: Path):
    """A window of any size: smooth and whole scaling, also of one that is smaller than the guest's screen; no status line."""
    with started(args, folder) as screen:
        shell(screen)
        screen.enter("clear; printf '\\033[?25l\\033[44m%s\\033[m-%d' Sized $((6*7)); cat")
        screen.wait_for_screen("^Sized-42")
        screen.x("windowmove", "--sync", screen.window, "0", "0")  # What is off the screen has no pixels.
        for size in ((1500, 816), (1001, 1111), (500, 300)):
            screen.x("windowsize", "--sync", screen.window, *map(str, size))
            screen.wait_for_smooth_pixels(folder)
        screen.press("ctrl+alt+i")  # Where once is too large, still smooth.
        screen.wait_for_smooth_pixels(folder)
        screen.x("windowsize", "--sync", screen.window, "1443", str(801 + STATUS_LINE))
        screen.wait_for_same_pixels(folder, 2)
        screen.press("ctrl+alt+u")
        screen.wait_until("the window has the guest's size", lambda: screen.size() == OWN)
        screen.wait_for_same_pixels(folder)
        screen.press("ctrl+alt+b")
        screen.wait_until("the status line's room is gone", lambda: screen.size() == (720, 400))
        screen.wait_for_same_pixels(folder, status_line=0)
        screen.press("ctrl+alt+b")
        screen.wait_until("the status line is back", lambda: screen.size() == OWN)
        screen.wait_for_same_pixels(folder)
        screen.end()


class WestonScreen(WindowScreen):
    SEARCHED = ["--class", "Weston"]


def high_dpi(args, folder: Path):
    """Where two dots are a unit, each dot is drawn, and the pointer is where it is seen."""
    iso = folder / "disc.iso"
    disk_image.make_isolinux(iso, folder, guest_file("vmlinuz"), guest_file("screen.cpio.gz"), "console=tty0 nomodeset quiet")
    with Weston(folder), WestonScreen(args, "-m", "512M", "-cdrom", iso, "-device", "virtio-tablet-pci") as screen:
        screen.x("windowmove", "--sync", screen.window, "0", "0")
        shell(screen)
        screen.wait_until("the guest uses its tablet", lambda: "* Mouse #1: virtio tablet" in screen.ask("info mice"))
        screen.enter("cd /sys/class/input; d=$(grep -l tablet event*/device/name)")
        screen.enter("clear; printf '\\033[?25l'; od -An -v -tu2 -w24 /dev/input/${d%%/*}")
        width, height = screen.size()
        if (width, height) != (1580, 1100):
            screen.fail(f"weston's window has {width} x {height} dots")
        wide, high = width, width * 400 // 720
        top = (height - STATUS_LINE - high) // 2
        for x, y in ((width // 4, height // 2), (width // 2, height // 4), (width - 40, top + high - 20)):
            places = [(2 * at + 1) * 0x8000 // (2 * size) for at, size in ((x & ~1, wide), ((y & ~1) - top, high))]

            def pointed() -> bool:
                for away in (20, 0):  # The guest's reader may not have been there before.
                    screen.x("mousemove", "--window", screen.window, str(x - away), str(y - away))
                text = screen.ask("screentext")
                return all(re.search(rf" 3 +{axis} +{place} +0 *$", text, re.M) for axis, place in enumerate(places))

            screen.wait_until(f"the guest's pointer is at {x}, {y}", pointed)
        screen.wait_for_smooth_pixels(folder)
        screen.press("ctrl+alt+i")
        screen.wait_for_same_pixels(folder, 2)
        screen.end()


def close(args, folder: Path):
    """Closing the window asks the guest to power down."""
    with started(args, folder) as screen:
        shell(screen)
        screen.enter("while ! ls -l /proc/[0-9]*/fd | grep input/event; do sleep 1; done")  # Somebody listens to the button.
        screen.wait_for_screen("dev/input/event")
        screen.close()
        screen.expect_end(0)


def close_twice(args, folder: Path):
    """A guest that does not listen is ended by closing again."""
    with started(args, folder) as screen:
        screen.wait_for_screen(r"CALQUE-ISOLINUX(.*\n)+boot:")
        screen.close()
        screen.wait_for_title("close again")
        if "running" not in screen.ask("info status"):
            screen.fail("the machine does not run after its window was closed once")
        screen.close()
        screen.expect_end(0)


def without(args, folder: Path):
    """-nographic opens no window and does not load SDL, whatever display there is."""
    command = shlex.split(args.emulator) + ["-nographic", "-m", "512M", "-kernel", guest_file("vmlinuz-cloud"), "-initrd", guest_file("mini.cpio.gz"),
                                            "-append", "console=ttyS0"]
    with Session(command, quiet=True) as session:
        session.wait_for("CALQUE-GUEST-READY")
        if "SDL" in Path(f"/proc/{session.process.pid}/maps").read_text():
            session.fail("SDL is loaded")
        found = subprocess.run(["xdotool", "search", "--name", "Calque"], capture_output=True, text=True).stdout
        if found.strip():
            session.fail("there is a window")
        session.type("\x01x")
        session.expect_end(0)


def nowhere(args, _folder: Path):
    """A display that does not answer is an error when a window was asked for, else no window."""
    display, os.environ["DISPLAY"] = os.environ["DISPLAY"], ":9999"
    try:
        command = [*shlex.split(args.emulator), "-kernel", str(guest_file("vmlinuz-cloud")), "-S", "-monitor", "stdio"]
        done = subprocess.run([*command, "-display", "sdl"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 1 or "does not answer" not in done.stderr:
            raise Failure(f"status {done.returncode}: {done.stderr}")
        with Session(command) as session:
            session.wait_for("no window: .*does not answer")
            session.wait_for(PROMPT)
            session.type("quit\r")
            session.expect_end(0)
    finally:
        os.environ["DISPLAY"] = display


TESTS = {"nowhere": nowhere, "use": use, "mouse": mouse, "tablet": tablet, "paste": paste, "full_screen": full_screen, "resize": resize, "high_dpi": high_dpi, "close": close, "close_twice": close_twice, "without": without}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="calque-window-"))
    try:
        with Xvfb():
            status = run_test(lambda: TESTS[arguments.test](arguments, place))
    finally:
        shutil.rmtree(place)
    sys.exit(status)
