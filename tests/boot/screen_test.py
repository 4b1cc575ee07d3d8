#!/usr/bin/python3
"""Systems boot that show themselves on the screen alone: read as text through the monitor, typed at by its sendkey.

    screen_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import re
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import PATIENCE, Session, guest_file, run_test  # noqa: E402

RESCUE = Path("/usr/lib/grub-rescue")
MEMTEST = Path("/usr/lib/memtest86+/memtest86+x64.iso")
PROMPT = r"^\(calque\) "
KEYS = {" ": "spc", "\n": "ret", "-": "minus", "=": "equal", ";": "semicolon", ".": "dot", "/": "slash", ",": "comma", ":": "shift-semicolon",
        "(": "shift-9", ")": "shift-0", "_": "shift-minus", "'": "apostrophe", "\\": "backslash"}


class Screen(Session):
    """The monitor on the terminal; the guest has a screen and a keyboard."""

    def __init__(self, args, *options):
        super().__init__(shlex.split(args.emulator) + ["-display", "none", "-serial", "none", "-monitor", "stdio", "-no-reboot"]
                         + [str(option) for option in options], quiet=True)
        self.wait_for(PROMPT)

    def ask(self, text: str) -> str:
        self.type(text + "\r")
        self.wait_for(re.escape(text) + "$")
        start = self.searched
        end = self.wait_for(PROMPT)
        return self.output[start:end.start()]

    def wait_for_screen(self, pattern: str) -> str:
        """Waits until the pattern is on the screen."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self.ask("screentext")
            if re.search(pattern, text, re.M):
                return text
            if time.monotonic() > deadline:
                self.fail(f"no {pattern!r} on the screen within {PATIENCE:.0f} s; it shows\n{text}")
            time.sleep(0.25)

    def keys(self, text: str):
        """A few keys: what a keyboard holds while the guest looks elsewhere."""
        for character in text:
            name = KEYS.get(character, f"shift-{character.lower()}" if character.isupper() else character)
            self.ask(f"sendkey {name}")

    def line(self, text: str):
        """Types a line that the guest echoes, no faster than it does, and Enter."""
        for end in range(4, len(text) + 4, 4):
            self.keys(text[end - 4:end])
            self.wait_for_screen(re.escape(text[:end].rstrip()) + " *$")
        self.keys("\n")

    def end(self):
        self.type("quit\r")
        self.expect_end(0)


def memtest(args, _folder: Path):
    """memtest86+ finds the memory and tests it."""
    with Screen(args, "-m", "64M", "-cdrom", MEMTEST) as screen:
        screen.wait_for_screen(r"Memtest86\+ v6")
        screen.wait_for_screen(r"Memory *: +64MB")
        text = screen.wait_for_screen(r"Test #[3-9]")
        if not re.search(r"Errors: 0$", text, re.M):
            screen.fail("memtest86+ found errors")
        screen.end()


def grub(screen: Screen, place: str):
    screen.wait_for_screen(r"GNU GRUB .*\n(.*\n)*.*highlighted entry will be")
    screen.keys("c")
    screen.wait_for_screen(r"^grub> *$")
    screen.line("ls")
    screen.wait_for_screen(place)
    screen.line("echo -n Calque; echo " + "4" * 20)
    screen.wait_for_screen("^Calque4{20}$")
    screen.end()


def rescue_cd(args, _folder: Path):
    """GRUB's rescue disc: its menu, its command line."""
    with Screen(args, "-cdrom", RESCUE / "grub-rescue-cdrom.iso") as screen:
        grub(screen, r"^\(cd\)")


def floppy(args, _folder: Path):
    """GRUB's rescue floppy."""
    with Screen(args, "-fda", RESCUE / "grub-rescue-floppy.img") as screen:
        grub(screen, r"^\(fd0\)")


def isolinux(args, folder: Path):
    """An isolinux disc: its prompt takes the keyboard, and the kernel's console is the screen."""
    iso = folder / "disc.iso"
    disk_image.make_isolinux(iso, folder, guest_file("vmlinuz-cloud"), guest_file("mini.cpio.gz"), "console=tty0 nomodeset")
    with Screen(args, "-m", "512M", "-cdrom", iso) as screen:
        screen.wait_for_screen(r"CALQUE-ISOLINUX(.*\n)+boot:")
        screen.line("linux")
        screen.wait_for_screen(r"Linux version|Run /init|CALQUE-GUEST-READY|calque#")
        screen.end()


TESTS = {"memtest": memtest, "rescue_cd": rescue_cd, "floppy": floppy, "isolinux": isolinux}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="calque-screen-"))
    try:
        status = run_test(lambda: TESTS[arguments.test](arguments, place))
    finally:
        shutil.rmtree(place)
    sys.exit(status)
