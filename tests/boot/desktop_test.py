#!/usr/bin/python3
"""The desktop of ./run desktop in the window under Xvfb: the pointer and the keyboard by X events, a terminal that answers, a window that is moved.

    desktop_test.py --emulator "PATH [options]" [--image desktop.img] [--seconds N] [--device virtio-tablet-pci] [--vga std|virtio]

How many pictures a moving window makes and what they cost is printed, and no test of its own: machines differ.
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import end_with_parent, run_test  # noqa: E402
from window_test import WindowScreen, Xvfb  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
WHITE, GREEN = (255, 255, 255), (0, 205, 0)
# Where .xinitrc puts the terminal, in the guest's pixels; its title; how large it is at least.
LEFT, TOP, TITLE, WIDTH, HEIGHT = 60, 60, (400, 74), 700, 400


class Desktop(WindowScreen):
    def __init__(self, args, folder: Path):
        image = args.image or subprocess.run([ROOT / "scripts/debian.sh", "desktop"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        devices = [word for device in args.device.split() for word in ("-device", device)]
        super().__init__(args, "--stats", "-m", "1G", "-smp", "2", "-snapshot", "-drive", f"file={image},format=raw,if=virtio", "-nic", "none", "-vga", args.vga, *devices)
        self.folder = folder

    def color(self, x: int, y: int) -> tuple:
        width, height, data = self.guest_pixels(self.folder)
        at = 3 * (y * width + x)
        return tuple(data[at:at + 3]) if x < width and y < height else ()

    def is_terminal(self, left: int, top: int, color: tuple) -> bool:
        """A terminal of that colour stands there: its inner corners have it, and what lies above has not."""
        width, height, data = self.guest_pixels(self.folder)
        if (width, height) != (1280, 800):
            return False
        inner = [(left + x, top + y) for x in (30, WIDTH) for y in (100, HEIGHT)]
        return all(tuple(data[3 * (y * width + x):][:3]) == color for x, y in inner)

    def point(self, x: int, y: int):
        """The window has the guest's size."""
        self.x("mousemove", "--window", self.window, str(x), str(y))

    def type_line(self, text: str):
        """By the clipboard, which keeps to the guest's pace, and a key."""
        with subprocess.Popen(["xclip", "-quiet", "-selection", "clipboard", "-in"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              preexec_fn=end_with_parent) as clipboard:
            clipboard.stdin.write(text.encode())
            clipboard.stdin.close()
            time.sleep(0.5)
            self.press("ctrl+alt+v")
            time.sleep(2)
            clipboard.terminate()
        self.press("Return")


def drag(screen: Desktop, seconds: float):
    """The terminal in circles for that long, then to a place to the right and below."""
    def moved() -> bool:
        return screen.is_terminal(LEFT + 200, TOP + 100, GREEN) and screen.color(LEFT + 30, TOP + 100) != GREEN

    screen.point(*TITLE)
    time.sleep(0.5)
    screen.x("mousedown", "1")
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        screen.point(int(TITLE[0] + 150 - 150 * math.cos(2 * now)), int(TITLE[1] + 60 + 60 * math.sin(2 * now)))
        time.sleep(0.01)
    screen.point(TITLE[0] + 200, TITLE[1] + 100)
    screen.wait_until("the terminal has moved", moved)
    screen.x("mouseup", "1")
    screen.point(TITLE[0], TITLE[1] + 500)
    time.sleep(1)
    if not moved():
        screen.fail("the terminal does not stay where it was put")


def test(args, folder: Path):
    with Desktop(args, folder) as screen:
        screen.wait_until("the desktop has a terminal", lambda: screen.is_terminal(LEFT, TOP, WHITE))
        screen.wait_until("the guest uses its tablet", lambda: re.search(r"^\* Mouse #\d+: .*tablet \(absolute\)$", screen.ask("info mice"), re.M))
        screen.x("windowmove", "--sync", screen.window, "0", "0")  # What is off the screen cannot be pointed at.
        screen.wait_until("the window has the guest's size", lambda: screen.size() == (1280, 816))
        screen.point(LEFT + 300, TOP + 200)
        screen.x("click", "1")
        screen.type_line("clear; printf '\\e[4%dm\\e[2J' $((1+1))")
        screen.wait_until("the terminal is green", lambda: screen.is_terminal(LEFT, TOP, GREEN))
        screen.wait_for_same_pixels(folder)
        drag(screen, args.seconds)
        screen.end()
        found = re.search(r"^window while a button was held: ([\d.]+) s, (\d+) pictures, (\d+) rows, ([\d.]+) ms of CPU time$", screen.output, re.M)
        if not found:
            screen.fail("--stats says nothing of the window")
        seconds, pictures, rows, busy = map(float, found.groups())
        if pictures == 0:
            screen.fail("a moving window makes no pictures")
        print(f"\na moving window: {pictures / seconds:.1f} pictures a second of {rows / pictures:.0f} rows; showing them took {busy / seconds / 10:.2f} % of a core")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--image")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--device", default="virtio-tablet-pci")
    parser.add_argument("--vga", default="std")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="calque-desktop-") as place, Xvfb():
        sys.exit(run_test(lambda: test(arguments, Path(place))))
