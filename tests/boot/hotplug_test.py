#!/usr/bin/python3
"""Devices come and go while Linux runs: disks, network cards, USB keyboards, by the machine protocol and the monitor.

    hotplug_test.py --emulator "PATH [options]" --test use|loop|state [--bios FILE]
"""

import argparse
import hashlib
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Failure, Session, guest_file, run_test  # noqa: E402
from qmp_test import Qmp  # noqa: E402

PROMPT = r"calque# "
DRIVERS = "virtio_pci virtio_blk virtio_net e1000 nvme xhci_pci usbhid hid_generic"


class Guest:
    """Linux at its shell, and a client of its machine protocol."""

    def __init__(self, args, folder: Path, *options: str):
        self.folder = folder
        self.socket = folder / "qmp"
        boot = ["-kernel", guest_file("vmlinuz"), "-initrd", guest_file("devices.cpio.gz"), "-append", "console=ttyS0 quiet"]
        self.session = Session(
            [*shlex.split(args.emulator), "-nographic", "-m", "256M", "-nic", "none", "-no-reboot", *boot]
            + [*(["-bios", args.bios] if args.bios else []), "-qmp", f"unix:{self.socket},server=on,wait=off", *options]
        )

    def __enter__(self):
        self.session.__enter__()
        self.qmp = Qmp(self.socket)
        return self

    def __exit__(self, *_):
        self.qmp.close()
        self.session.__exit__()

    def run(self, line: str, pattern: str = r"^done$") -> re.Match:
        """A command at the shell, and what it must print."""
        self.session.wait_for(PROMPT)
        self.session.type(line + (("" if line.endswith("&") else ";") + " echo do''ne" if pattern == r"^done$" else "") + "\r")
        return self.session.wait_for(pattern)

    def load_drivers(self):
        self.run(f"for m in {DRIVERS}; do modprobe $m; done")

    def unplug(self, device: str):
        self.qmp.ask("device_del", id=device)
        data = self.qmp.wait_for("DEVICE_DELETED")
        if data != {"device": device, "path": f"/machine/peripheral/{device}"}:
            raise Failure(f"DEVICE_DELETED says {data}")

    def add_disk(self, name: str, path: Path, driver: str = "qcow2"):
        """As libvirt does: the file, then its format over it."""
        self.qmp.ask("blockdev-add", driver="file", node_name=f"{name}-file", filename=str(path))
        self.qmp.ask("blockdev-add", driver=driver, node_name=name, file=f"{name}-file")

    def remove_disk(self, name: str):
        self.qmp.ask("blockdev-del", node_name=name)
        self.qmp.ask("blockdev-del", node_name=f"{name}-file")

    def end(self):
        self.session.wait_for(PROMPT)
        self.session.type("poweroff\r")
        self.session.expect_end(0)


def make_disk(path: Path, size: str = "64M", kind: str = "qcow2") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, path, size], check=True)
    return path


def disk(guest: Guest):
    """What is written to a disk that was plugged in is in its image when the guest has let go of it."""
    path = make_disk(guest.folder / "disk.qcow2")
    guest.add_disk("one", path)
    guest.qmp.refused("blockdev-del", "GenericError", "part of 'one'", node_name="one-file")
    guest.qmp.ask("device_add", driver="virtio-blk-pci", drive="one", id="vd", addr="7", serial="plugged")
    guest.run("while [ ! -b /dev/vda ]; do sleep 0.1; done; cat /sys/block/vda/serial; ls -d /sys/bus/pci/devices/0000:00:07.0/virtio*", r"^plugged[^$]*0000:00:07.0")
    written = (b"calque\n" * (8 << 20))[: 8 << 20]
    guest.run("yes calque | dd of=/dev/vda bs=1M count=8 iflag=fullblock 2>/dev/null; sync; dd if=/dev/vda bs=1M count=8 2>/dev/null | md5sum",
              rf"^{hashlib.md5(written).hexdigest()}")
    guest.qmp.refused("blockdev-del", "GenericError", "vd's", node_name="one")
    guest.qmp.refused("device_add", "GenericError", "vd's", driver="virtio-blk-pci", drive="one", id="again")
    guest.unplug("vd")
    guest.run("while [ -b /dev/vda ]; do sleep 0.1; done")
    guest.remove_disk("one")
    subprocess.run(["qemu-img", "check", "-q", path], check=True)
    raw = subprocess.run(["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=1M", "count=8", f"if={path}", f"of={guest.folder / 'raw'}"])
    if raw.returncode != 0 or (guest.folder / "raw").read_bytes() != written:
        raise Failure("what the guest wrote is not in the image")


def card(guest: Guest, driver: str):
    """A card gets its address by DHCP, and a new one has the same network afterwards."""
    guest.qmp.ask("netdev_add", type="user", id="net")
    guest.qmp.refused("netdev_add", "GenericError", "already", type="user", id="net")
    guest.qmp.ask("device_add", driver=driver, netdev="net", id="nic")
    guest.qmp.refused("netdev_del", "GenericError", "nic's", id="net")
    guest.run("while [ ! -e /sys/class/net/eth0 ]; do sleep 0.1; done; udhcpc -i eth0 -n -q -s /etc/udhcpc", r"^LEASE 10\.0\.2\.15/24")
    guest.unplug("nic")
    guest.run("while [ -e /sys/class/net/eth0 ]; do sleep 0.1; done")
    guest.qmp.ask("netdev_del", id="net")


def keyboard(guest: Guest):
    guest.qmp.ask("device_add", driver="qemu-xhci", id="usb")
    guest.qmp.ask("device_add", driver="usb-kbd", id="kbd", bus="usb.0", port="2")
    guest.run("until grep -q 'USB.*eyboard' /proc/bus/input/devices; do sleep 0.1; done")
    guest.qmp.refused("device_add", "GenericError", "free", driver="usb-mouse", id="mouse", bus="usb.0", port="2")
    guest.unplug("kbd")
    guest.run("while grep -qi 'usb.*keyboard' /proc/bus/input/devices; do sleep 0.1; done")
    # A controller takes with it what is plugged into it.
    guest.qmp.ask("device_add", driver="usb-mouse", id="mouse")
    guest.run("until grep -qi 'usb.*mouse' /proc/bus/input/devices; do sleep 0.1; done")
    guest.qmp.ask("device_del", id="usb")
    gone = [guest.qmp.wait_for("DEVICE_DELETED")["device"] for _ in range(2)]
    if gone != ["mouse", "usb"]:
        raise Failure(f"with the controller went {gone}")


def refusals(guest: Guest):
    """A sentence for each, and nothing half-done."""
    before = [entry["qdev_id"] for entry in guest.qmp.ask("query-pci")[0]["devices"]]
    q = guest.qmp
    q.refused("device_add", "GenericError", "does not exist", driver="virtio-bulk-pci")
    q.refused("device_add", "GenericError", "needs drive=", driver="virtio-blk-pci")
    q.refused("device_add", "GenericError", "no drive or node 'none'", driver="virtio-blk-pci", drive="none")
    q.refused("device_add", "GenericError", "no property", driver="virtio-rng-pci", rate=3)
    q.refused("device_add", "GenericError", "slot 1 is taken", driver="virtio-rng-pci", addr="1")
    q.refused("device_add", "GenericError", "function 0", driver="virtio-rng-pci", addr="9.1")
    q.refused("device_add", "GenericError", "not a PCI slot", driver="virtio-rng-pci", addr="40")
    q.refused("device_add", "GenericError", "no PCI bus", driver="virtio-rng-pci", bus="pci.7")
    q.refused("device_add", "GenericError", "from the start", driver="VGA")
    q.refused("device_add", "GenericError", "from the start", driver="ide-hd", drive="none")
    q.refused("device_add", "GenericError", "needs a USB controller", driver="usb-kbd")
    q.refused("device_add", "GenericError", "no -netdev", driver="e1000", netdev="none")
    q.refused("device_add", "GenericError", "neither a text", driver="virtio-rng-pci", addr=[4])
    q.refused("device_del", "DeviceNotFound", "no device", id="nobody")
    q.refused("blockdev-add", "GenericError", "nothing-here", driver="file", node_name="n", filename="/nothing-here")
    q.refused("blockdev-add", "GenericError", "no node 'm'", driver="raw", node_name="n", file="m")
    q.refused("blockdev-del", "GenericError", "no node", node_name="n")
    q.refused("netdev_add", "GenericError", "does not exist|no network", type="carrier-pigeon", id="n")
    q.refused("netdev_del", "GenericError", "no network", id="n")
    for number in range(40):
        reply = q.raw("device_add", driver="virtio-rng-pci", id=f"rng{number}")
        if "error" in reply:
            break
    if not re.search("full", reply["error"]["desc"]) or number < 20:
        raise Failure(f"{number} devices, then {reply}")
    q.refused("device_add", "GenericError", "called 'rng3'", driver="virtio-rng-pci", id="rng3", addr="5")
    for plugged in range(number):
        q.ask("device_del", id=f"rng{plugged}")
    for _ in range(number):
        q.wait_for("DEVICE_DELETED")
    after = [entry["qdev_id"] for entry in q.ask("query-pci")[0]["devices"]]
    if before != after:
        raise Failure(f"before: {before}, after: {after}")


def monitor(guest: Guest):
    """The monitor's commands; a device that the guest does not let go of goes by force, or with a reset."""
    path = make_disk(guest.folder / "other.raw", "8M", "raw")
    for line in (f"drive_add 0 if=none,id=other,format=raw,file={path}", "device_add nvme,drive=other,serial=x,id=ssd"):
        if said := guest.qmp.human(line):
            raise Failure(f"{line}: {said}")
    guest.run("while [ ! -b /dev/nvme0n1 ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/nvme0n1 bs=1M count=8; sync")
    if "ssd's" not in guest.qmp.human("drive_del other"):
        raise Failure("a drive goes away under its device")
    if said := guest.qmp.human("device_del ssd"):
        raise Failure(said)
    guest.qmp.wait_for("DEVICE_DELETED")
    if "no drive" not in (said := guest.qmp.human("drive_del other")):
        raise Failure(f"the drive did not go with its device: {said}")
    guest.qmp.ask("device_add", driver="virtio-rng-pci", id="rng")
    guest.qmp.ask("stop")
    guest.qmp.ask("device_del", id="rng")
    guest.qmp.ask("device_del", id="rng", force=True)
    guest.qmp.wait_for("DEVICE_DELETED")
    guest.qmp.ask("cont")


def use(args):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, Guest(args, Path(name)) as guest:
        guest.load_drivers()
        disk(guest)
        card(guest, "e1000")
        card(guest, "virtio-net-pci")
        keyboard(guest)
        refusals(guest)
        monitor(guest)
        guest.end()


def loop(args):
    """Twenty times, with the disk and the other processor at work all along."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, Guest(args, Path(name), "-smp", "2") as guest:
        guest.load_drivers()
        path = make_disk(guest.folder / "disk.raw", "16M", "raw")
        stays = make_disk(guest.folder / "stays.raw", "16M", "raw")
        guest.add_disk("stays", stays, "raw")
        guest.qmp.ask("device_add", driver="virtio-blk-pci", drive="stays", id="stays", serial="stays")
        guest.run("while [ ! -b /dev/vda ]; do sleep 0.1; done; (while :; do dd if=/dev/zero of=/dev/vda bs=64k count=64; dd if=/dev/vda of=/dev/null bs=64k; done) >/dev/null 2>&1 &")
        guest.run("(while :; do dd if=/dev/vdb of=/dev/null bs=64k || sleep 0.02; done) >/dev/null 2>&1 &")
        for _ in range(20):
            guest.add_disk("one", path, "raw")
            guest.qmp.ask("device_add", driver="virtio-blk-pci", drive="one", id="vd")
            guest.run("while [ ! -b /dev/vdb ]; do sleep 0.05; done")
            guest.unplug("vd")
            guest.remove_disk("one")
        guest.run("dmesg | grep -c 'BUG\\|Oops\\|WARNING'", r"^0$")
        guest.run("kill %1 %2")
        guest.end()


def state(args):
    """A machine with a disk that was plugged in goes on where a command line has the same in the same slot, and nowhere else."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        path, saved = make_disk(folder / "disk.raw", "16M", "raw"), folder / "saved"
        with Guest(args, folder) as guest:
            guest.load_drivers()
            guest.add_disk("one", path, "raw")
            guest.qmp.ask("device_add", driver="virtio-blk-pci", drive="one", id="vd", addr="9")
            guest.run("while [ ! -b /dev/vda ]; do sleep 0.1; done; echo before | dd of=/dev/vda 2>/dev/null; sync")
            if "saved to" not in (said := guest.qmp.human(f"savestate {saved}")):
                raise Failure(said)
            guest.qmp.ask("quit")
            guest.session.expect_end(0)
        drive = ["-kernel", guest_file("vmlinuz"), "-drive", f"if=none,id=one,format=raw,file={path}"]
        for device, alone in (("virtio-blk-pci,drive=one,id=dv,addr=9", "there alone: vd; here alone: dv"),
                              ("virtio-blk-pci,drive=one,id=vd,addr=8", "there alone: vd@pci.0:09.0; here alone: vd@pci.0:08.0")):
            with Session([*shlex.split(args.emulator), "-nographic", "-m", "256M", "-nic", "none", *drive, "-device", device, "--load", saved]) as session:
                session.wait_for(f"other devices.*{alone}")
                session.expect_end(1)
        with Guest(args, folder, *drive[2:], "-device", "virtio-blk-pci,drive=one,id=vd,addr=9", "--load", str(saved)) as guest:
            guest.session.type("\r")
            guest.run("head -c 6 /dev/vda; echo", r"^before$")
            guest.unplug("vd")
            guest.run("while [ -b /dev/vda ]; do sleep 0.1; done")
            guest.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", choices=("use", "loop", "state"), default="use")
    parser.add_argument("--bios", help="firmware that boots the kernel; without it, it is booted directly")
    args = parser.parse_args()
    {"use": use, "loop": loop, "state": state}[args.test](args)


if __name__ == "__main__":
    sys.exit(run_test(main))
