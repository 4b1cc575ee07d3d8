#!/usr/bin/python3
"""Systems boot that show themselves on the screen alone: read as text through the monitor, typed at by its sendkey.

    screen_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import hashlib
import re
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import disk_image  # noqa: E402
from guest_session import PATIENCE, Failure, Session, guest_file, run_test_in_folder  # noqa: E402

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


def picture(screen: Screen, folder: Path) -> tuple:
    """Its size and RGB bytes."""
    screen.ask(f"screendump {folder / 'picture.ppm'}")
    _, size, _, data = (folder / "picture.ppm").read_bytes().split(b"\n", 3)
    return size, data


def virtio_vga(args, folder: Path):
    """-vga virtio: firmware and isolinux by the VGA, then Linux's driver of virtio-gpu, and the VGA again after a reset."""
    iso = folder / "disc.iso"
    disk_image.make_isolinux(iso, folder, guest_file("vmlinuz"), guest_file("screen.cpio.gz"), "console=tty0 quiet")
    with Screen(args, "-m", "512M", "-vga", "virtio", "-cdrom", iso) as screen:
        for _ in range(2):
            screen.wait_for_screen(r"CALQUE-ISOLINUX(.*\n)+boot:")
            screen.line("linux")
            deadline = time.monotonic() + PATIENCE
            while True:
                size, data = picture(screen, folder)
                if size == b"1280 800" and any(data):  # The driver's, with the shell's prompt.
                    break
                if time.monotonic() > deadline:
                    screen.fail(f"the screen of {size.decode()} is not that of the guest's driver")
                time.sleep(0.25)
            screen.ask("system_reset")
        screen.end()


# Of what tests/guest/vga_modes.asm draws in each mode: the sha256 of the picture, taken when it was that of another
# emulator, but for how few bits become eight. Modes 3 and 7 differ from that one in the ninth dot of B0-BF, which is
# background (IBM PS/2 Hardware Interface Technical Reference, attribute mode control register).
MODES = {
    0x1: "fb2dda096c3b6ff56eac2eccaabab5cd440fb56f33008ca28bc52a7a8d80caec",
    0x3: "e8f514c66c700a92bf7aca1cd5865faaf08f5d144b00e0b2a1e1a17e0b037b7d",
    0x4: "09a737c962163bf2776c23229050a68898a5bf2aa4cd97a97231cd040db1e022",
    0x6: "ef4af0d210d3c9b0bc40f5ee9960c0c37fb9e7f1c52f0f23766cb14416d7cbde",
    0x7: "31e47296c954c61ef02876769378370549a79121888ad7a55c6d2cca779824e9",
    0xd: "6aa64b155d1c47b34da2198a2dd45a4dc4c83e0ed052d31e5781e8cc6247c681",
    0xe: "83ddc5f9b545e3ea998292aea8479105c64d4a0bdf617f0d64f9a2630e67881f",
    0x10: "cd6b0315529c9d8ca97b6fd418f51a9a0f2af9949b3bf424b0c28a6f23511929",
    0x11: "aca074872700b95a01ccaa144e1c610b5a1c04bcbdd983dca3689be21483b49d",
    0x12: "f5b13317ec6d66f2aaacbcf91f89ca9730f57d74a7e1134e01978794d8f73f42",
    0x13: "f7a0cdf35ed4bc10733884ad4ea08be722b0260f8ee8b5710528a407504f1dfe",
    0x101: "a364afcb3020271ae03678784ecb88ffe9b8eb210035a49ac51a8c8317d5b407",
    0x103: "d82fcbe3f0664b733885539a99860f040770cc7fc865887de35444216b253c03",
    0x10d: "716d7e7f28c8a4fe0c046d344fa0d71048c08947ccd428ab3717f453e453a405",
    0x111: "e5dddbe52eebf8113c6a89e3cda546272dd7f270a97eda4d23af3d4d4dfe2e42",
    0x112: "c738d852f02a367f921b703ac5ad368166800cebbed53bfa1fb31b91501934d1",
    0x118: "01fc8c7094b929f28232af6e324c3e2eebf35515ed78a95666cea0ae01bdd736",
}


def modes(args, folder: Path):
    """The BIOS's video modes show what is drawn in them."""
    wrong = []
    for mode, expected in MODES.items():
        image, done, picture = folder / "mode.img", folder / "done", folder / "mode.ppm"
        disk_image.run("nasm", "-f", "bin", f"-DMODE={mode}", "-o", image, Path(__file__).parent.parent / "guest" / "vga_modes.asm")
        with open(image, "ab") as file:
            file.truncate(1 << 20)
        done.unlink(missing_ok=True)
        with Screen(args, "-snapshot", "-debugcon", f"file:{done}", image) as screen:
            deadline = time.monotonic() + PATIENCE
            while not (done.exists() and done.read_bytes().endswith(b"D")):
                if time.monotonic() > deadline:
                    screen.fail(f"mode {mode:#x} is not drawn within {PATIENCE:.0f} s")
                time.sleep(0.05)
            screen.ask(f"screendump {picture}")
            screen.end()
        found = hashlib.sha256(picture.read_bytes()).hexdigest()
        print(f"    {mode:#x}: \"{found}\",", flush=True)
        if found != expected:
            wrong.append(f"{mode:#x}")
    if wrong:
        raise Failure("these modes show something else: " + ", ".join(wrong))


TESTS = {"memtest": memtest, "rescue_cd": rescue_cd, "floppy": floppy, "isolinux": isolinux, "modes": modes, "virtio_vga": virtio_vga}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("screen", lambda folder: TESTS[arguments.test](arguments, folder)))
