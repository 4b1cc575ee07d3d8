#!/usr/bin/python3
"""virsh drives a guest whose emulator is calque: libvirt's own daemon, in session mode, as a user without rights.

    libvirt_test.py --emulator PATH [--test life|saves|hotplug]
"""

import argparse
import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import PATIENCE, Failure, end_with_parent, guest_file, run_test  # noqa: E402

NOBODY = 65534
DOMAIN = """<domain type='qemu'>
  <name>calque</name>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{folder}/vmlinuz</kernel><initrd>{folder}/screen.cpio.gz</initrd>
    <cmdline>console=ttyS0 quiet</cmdline></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>{folder}/calque</emulator>
    <controller type='usb' model='{usb}'/>{disk}
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


DISK = """
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{folder}/disk.qcow2'/><target dev='vda' bus='virtio'/></disk>"""


class Libvirt:
    """A daemon of our own, with everything that it keeps in a folder. Root's would not be in session mode."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rights = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
        self.environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "XDG_CONFIG_HOME": str(folder / "config"),
                            "XDG_CACHE_HOME": str(folder / "cache"), "LC_ALL": "C"}
        (folder / "run").mkdir(mode=0o700)
        (folder / "config" / "libvirt").mkdir(parents=True)
        # The log goes to a file rather than to a daemon more.
        (folder / "config" / "libvirt" / "qemu.conf").write_text('stdio_handler = "file"\n')

    def __enter__(self):
        if os.getuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, NOBODY, NOBODY)
        self.daemon = subprocess.Popen([*self.rights, "libvirtd"], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, preexec_fn=end_with_parent)
        deadline = time.monotonic() + PATIENCE
        while self.virsh("version", check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise Failure("libvirtd does not answer")
            time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.virsh("destroy", "calque", check=False)
        self.daemon.terminate()
        self.daemon.wait()

    def virsh(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        done = subprocess.run([*self.rights, "virsh", "-c", "qemu:///session", *words], env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE)
        if check and done.returncode != 0:
            log = self.folder / "cache/libvirt/qemu/log/calque.log"
            raise Failure(f"virsh {' '.join(words)}: {done.stderr}{log.read_text()[-2000:] if log.exists() else ''}")
        return done

    def wait_for_state(self, state: str):
        deadline = time.monotonic() + PATIENCE
        while self.virsh("domstate", "calque").stdout.strip() != state:
            if time.monotonic() > deadline:
                raise Failure(f"the domain does not become {state}")
            time.sleep(0.5)


class Console:
    """virsh console, as on a terminal."""

    def __init__(self, libvirt: Libvirt):
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen([*libvirt.rights, "virsh", "-c", "qemu:///session", "console", "calque"], env=libvirt.environment,
                                        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=end_with_parent)
        os.close(theirs)
        self.output = ""

    def ask(self, line: str, pattern: str):
        """Types the line until the answer comes: what was said before the console was there nobody repeats."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.output, re.M):
            if time.monotonic() > deadline:
                raise Failure(f"no {pattern!r} on the console: {self.output[-2000:]}")
            os.write(self.terminal, line.encode() + b"\r")
            end = time.monotonic() + 2
            while select.select([self.terminal], [], [], max(end - time.monotonic(), 0))[0]:
                self.output += os.read(self.terminal, 4096).decode("utf-8", "replace").replace("\r", "")
        print(self.output)

    def leave(self):
        os.write(self.terminal, b"\x1d")
        self.process.wait(PATIENCE)
        os.close(self.terminal)


@contextlib.contextmanager
def domain_folder(args, usb: str = "none", disk: str = ""):
    """With what the domain needs, and its description."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(args.emulator, folder / "calque")
        for image in ("vmlinuz", "screen.cpio.gz"):
            shutil.copy(guest_file(image), folder)
        (folder / "domain.xml").write_text(DOMAIN.format(folder=folder, usb=usb, disk=disk.format(folder=folder)))
        yield folder


def make_disk(image: Path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)


def life(args):
    with domain_folder(args) as folder:
        with Libvirt(folder) as libvirt:
            libvirt.virsh("define", str(folder / "domain.xml"))
            libvirt.virsh("start", "calque")
            libvirt.wait_for_state("running")
            libvirt.virsh("suspend", "calque")
            libvirt.wait_for_state("paused")
            libvirt.virsh("resume", "calque")
            libvirt.wait_for_state("running")
            console = Console(libvirt)
            console.ask("ls -l /proc/[0-9]*/fd | grep input/event; echo a''live", r"dev/input/event[^$]*^alive")
            console.leave()
            libvirt.virsh("send-key", "calque", "KEY_A")
            libvirt.virsh("shutdown", "calque")
            libvirt.wait_for_state("shut off")
            libvirt.virsh("start", "calque")
            libvirt.virsh("reset", "calque")
            libvirt.virsh("destroy", "calque")
            libvirt.wait_for_state("shut off")
            libvirt.virsh("undefine", "calque")


def saves(args):
    """Snapshots in the disk, a domain saved to a file and restored, managedsave: the guest goes on where it was."""
    with domain_folder(args, disk=DISK) as folder:
        make_disk(folder / "disk.qcow2")

        def says(word: str):
            console = Console(libvirt)
            console.ask("cat /tmp/word", rf"^{word}$")
            console.leave()

        def write(word: str):
            console = Console(libvirt)
            console.ask(f"echo {word} >/tmp/word; cat /tmp/word", rf"^{word}$")
            console.leave()

        with Libvirt(folder) as libvirt:
            libvirt.virsh("define", str(folder / "domain.xml"))
            libvirt.virsh("start", "calque")
            write("first")
            libvirt.virsh("snapshot-create-as", "calque", "one")
            write("second")
            libvirt.virsh("snapshot-revert", "calque", "one")
            says("first")
            if "one" not in (listed := libvirt.virsh("snapshot-list", "calque").stdout):
                raise Failure(listed)
            libvirt.virsh("snapshot-delete", "calque", "one")
            libvirt.virsh("save", "calque", str(folder / "saved"))
            libvirt.wait_for_state("shut off")
            libvirt.virsh("restore", str(folder / "saved"))
            libvirt.wait_for_state("running")
            says("first")
            write("third")
            libvirt.virsh("managedsave", "calque")
            libvirt.wait_for_state("shut off")
            libvirt.virsh("start", "calque")
            libvirt.wait_for_state("running")
            says("third")
            libvirt.virsh("destroy", "calque")
            libvirt.virsh("undefine", "calque")
        subprocess.run(["qemu-img", "check", "-q", folder / "disk.qcow2"], check=True)


CARD = "<interface type='user'><mac address='52:54:00:11:22:33'/><model type='{model}'/></interface>"
KEYBOARD = "<input type='keyboard' bus='usb'/>"


def hotplug(args):
    """attach-disk, attach-device and their opposites: a disk, cards, a USB keyboard."""
    with domain_folder(args, usb="qemu-xhci") as folder:
        make_disk(folder / "plugged.qcow2")
        devices = {"e1000": CARD.format(model="e1000"), "virtio": CARD.format(model="virtio"), "keyboard": KEYBOARD}
        for device, text in devices.items():
            (folder / f"{device}.xml").write_text(text)

        def guest(line: str):
            """What it prints in the end is not what was typed. A device comes and goes some time after it was asked to."""
            console = Console(libvirt)
            console.ask(f"({line}) && echo do''ne", r"^done$")
            console.leave()

        def detached(words: tuple, listed: str):
            libvirt.virsh(*words, "--live")
            deadline = time.monotonic() + PATIENCE
            while listed in libvirt.virsh("dumpxml", "calque").stdout:
                if time.monotonic() > deadline:
                    raise Failure(f"{' '.join(words)}: {listed} stays")
                time.sleep(0.5)

        with Libvirt(folder) as libvirt:
            libvirt.virsh("define", str(folder / "domain.xml"))
            libvirt.virsh("start", "calque")
            guest("modprobe virtio_pci && modprobe virtio_blk && modprobe virtio_net && modprobe e1000")
            for _ in range(2):
                libvirt.virsh("attach-disk", "calque", str(folder / "plugged.qcow2"), "vdb", "--subdriver", "qcow2", "--live")
                guest("until test -b /dev/vda; do sleep 0.2; done; echo plugged | dd of=/dev/vda && sync")
                detached(("detach-disk", "calque", "vdb"), "plugged.qcow2")
                guest("while test -b /dev/vda; do sleep 0.2; done")
            for model in ("e1000", "virtio"):
                libvirt.virsh("attach-device", "calque", str(folder / f"{model}.xml"), "--live")
                guest("until test -e /sys/class/net/eth0; do sleep 0.2; done")
                detached(("detach-device", "calque", str(folder / f"{model}.xml")), "52:54:00:11:22:33")
                guest("while test -e /sys/class/net/eth0; do sleep 0.2; done")
            libvirt.virsh("attach-device", "calque", str(folder / "keyboard.xml"), "--live")
            guest("until grep -qi usb.*keyboard /proc/bus/input/devices; do sleep 0.2; done")
            detached(("detach-device", "calque", str(folder / "keyboard.xml")), "bus='usb'")
            guest("while grep -qi usb.*keyboard /proc/bus/input/devices; do sleep 0.2; done")
            libvirt.virsh("destroy", "calque")
            libvirt.virsh("undefine", "calque")
        subprocess.run(["qemu-img", "check", "-q", folder / "plugged.qcow2"], check=True)
        raw = folder / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", folder / "plugged.qcow2", raw], check=True)
        if not raw.read_bytes().startswith(b"plugged\n"):
            raise Failure("what the guest wrote is not on the disk")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", choices=("life", "saves", "hotplug"), default="life")
    args = parser.parse_args()
    if not shutil.which("libvirtd") or not shutil.which("virsh"):
        raise Failure("there is no libvirt; scripts/setup.sh test installs it")
    {"life": life, "saves": saves, "hotplug": hotplug}[args.test](args)


if __name__ == "__main__":
    sys.exit(run_test(main))
