#!/usr/bin/python3
"""What firmware boots: the order of bootindex=, devices behind PCI bridges, kernels of -kernel with -bios.

    firmware_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import devices_test  # noqa: E402
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402

COMMON = ["-nographic", "-vga", "none", "-nic", "none", "-m", "256M", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]
# A disk's first sector tells its number by the machine's exit status.
KINDS = {
    "ide": "ide-hd,drive={id},bus=ide.0",
    "ahci": "ide-hd,drive={id},bus=sata.2",
    "scsi": "scsi-hd,drive={id},bus=scsi.0,scsi-id=3",
    "virtio": "virtio-blk-pci,drive={id}",
    "nvme": "nvme,drive={id},serial=CALQUE",
}
CONTROLLERS = ["-device", "ahci,id=sata", "-device", "virtio-scsi-pci,id=scsi"]


def start(args, *options) -> Session:
    return Session(shlex.split(args.emulator) + COMMON + [str(option) for option in options])


def make_disk(path: Path, number: int) -> Path:
    """A boot sector that says its number to the serial port and to isa-debug-exit."""
    code = bytes([0xBA, 0xF8, 0x03, 0xB0, 0x30 + number, 0xEE]) # mov dx, 3F8h; mov al, number; out dx, al
    code += bytes([0xB0, number, 0xE6, 0xF4, 0xF4, 0xEB, 0xFD]) # mov al, number; out F4h, al; hlt; jmp $-1
    sector = code.ljust(446, b"\0") + bytes([0x80, 0, 2, 0, 0x83, 0, 3, 0, 1, 0, 0, 0, 8, 0, 0, 0]).ljust(64, b"\0") + b"\x55\xaa"
    path.write_bytes(sector.ljust(1 << 20, b"\0"))
    return path


def disks(folder: Path, indexes: dict) -> list:
    """A disk on each controller; those in `indexes` have a bootindex."""
    words = list(CONTROLLERS)
    for number, (kind, device) in enumerate(KINDS.items(), 1):
        image = make_disk(folder / f"{kind}.img", number)
        words += ["-drive", f"file={image},format=raw,if=none,id=d{number}"]
        words += ["-device", device.format(id=f"d{number}") + (f",bootindex={indexes[kind]}" if kind in indexes else "")]
    return words


def expect_boot(args, kind: str, *options):
    with start(args, *options) as session:
        session.expect_end(2 * (list(KINDS).index(kind) + 1) + 1)


def order(args, folder: Path):
    """The least bootindex wins, on whatever controller; without any, the first IDE disk."""
    kinds = list(KINDS)
    for first, kind in enumerate(kinds):
        others = kinds[first + 1:] + kinds[:first]
        indexes = {kind: 2, **{other: 10 + 3 * place for place, other in enumerate(others)}}
        print(f"=== {kind} first", flush=True)
        expect_boot(args, kind, *disks(folder, indexes))
    expect_boot(args, "nvme", *disks(folder, {"nvme": 0}), "-boot", "order=dc,menu=on,splash-time=1")
    expect_boot(args, "ide", *disks(folder, {}))


def strict(args, folder: Path):
    """With strict=on nothing else is booted."""
    image = make_disk(folder / "disk.img", 1)
    words = ["-drive", f"file={image},format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d"]
    with start(args, *words, "-boot", "strict=on") as session:
        session.wait_for("No bootable device")
        session.process.terminate()
        session.expect_end(0)
    with start(args, *words[:-1], words[-1] + ",bootindex=1", "-boot", "strict=on") as session:
        session.expect_end(3)


# Two bridges, one behind the other.
BRIDGES = ["-device", "pci-bridge,id=outer,chassis_nr=1", "-device", "pci-bridge,id=inner,chassis_nr=2,bus=outer,addr=3"]


def bridge_boot(args, folder: Path):
    """SeaBIOS boots from a disk behind two bridges, on each kind of controller, before one on bus 0."""
    image, other = make_disk(folder / "disk.img", 4), make_disk(folder / "other.img", 1)
    words = [*BRIDGES, "-drive", f"file={image},format=raw,if=none,id=d", "-drive", f"file={other},if=virtio"]
    for devices in (["virtio-blk-pci,drive=d,bus=inner,addr=5,bootindex=1"], ["nvme,drive=d,serial=C,bus=inner,bootindex=1"],
                    ["virtio-scsi-pci,id=s,bus=inner,addr=1f", "scsi-hd,drive=d,bus=s.0,bootindex=1"],
                    ["ahci,id=a,bus=outer,addr=2.0", "ide-hd,drive=d,bus=a.0,bootindex=1"]):
        expect_boot(args, "virtio", *words, *[word for device in devices for word in ("-device", device)])


def bridge_devices(args, folder: Path):
    """Debian's drivers behind two bridges: interrupts by messages and by the line (e1000), a disk read and written;
    saved in between and loaded."""
    image = make_disk(folder / "disk.img", 1)
    words = ["-kernel", guest_file("vmlinuz"), "-initrd", guest_file("devices.cpio.gz"), "-append", "console=ttyS0 quiet", *BRIDGES,
             "-drive", f"file={image},format=raw,if=none,id=d", "-device", "nvme,drive=d,serial=C,bus=inner,addr=5",
             "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,bus=inner,addr=6",
             "-netdev", "user,id=m", "-device", "e1000,netdev=m,bus=outer,addr=7"]
    cards = "for d in /sys/class/net/eth*; do basename $(readlink $d/device/driver) > /tmp/$(basename $d); done; "
    with start(args, *words) as session:
        devices_test.command(session, "modprobe nvme; modprobe e1000; modprobe virtio_net; echo READY", "^READY")
        devices_test.command(session, "ls /sys/bus/pci/devices/ | grep -c '0000:0[12]:0[567]'", "^3$")
        devices_test.lease(session, "eth0")
        devices_test.lease(session, "eth1")
        devices_test.command(session, cards + "cat /tmp/eth?| sort | tr '\\n' +; echo", r"^e1000\+virtio_net\+")
        devices_test.command(session, "grep -c 'IO-APIC.*fasteoi.*eth' /proc/interrupts", "^1$")
        write = "dd if=/dev/urandom of=/tmp/r bs=64k count=8 2>/dev/null; dd if=/tmp/r of=/dev/nvme0n1 bs=64k seek=1 conv=fsync 2>/dev/null; "
        devices_test.command(session, write + "echo WROTE", "^WROTE")
        session.wait_for(devices_test.PROMPT)
        session.type("\x01c")
        session.wait_for(r"\(calque\) ")
        session.type("info pci\r")
        session.wait_for(r"bus 2, device  5, function 0: 1b36:0010")
        session.type(f"savestate {folder}/state\r")
        session.wait_for("saved to ")
        session.type("quit\r")
        session.expect_end(0)
    with start(args, *words, "--load", f"{folder}/state") as session:
        session.type("\r")
        same = "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/nvme0n1 bs=64k skip=1 count=8 2>/dev/null | cmp - /tmp/r && echo SAME"
        devices_test.command(session, same, "^SAME")
        devices_test.lease(session, "eth0")
        devices_test.lease(session, "eth1")
        devices_test.end(session)


def kernel(args, folder: Path, firmware: str):
    """-kernel with -bios: the firmware starts it, whatever disks there are; a disk's turn comes where there is no kernel."""
    image = make_disk(folder / "disk.img", 1)
    words = ["-bios", firmware, "-drive", f"file={image},format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d,bootindex=0"]
    linux = ["-kernel", guest_file("vmlinuz-cloud"), "-initrd", guest_file("mini.cpio.gz"), "-append", "console=ttyS0 calque.test=boot"]
    with start(args, *words, *linux) as session:
        session.wait_for("Linux version" if firmware == "bios-256k.bin" else "EFI v2")
        session.wait_for("^CALQUE-GUEST-READY")
        session.wait_for("CALQUE-TEST boot PASS")
        session.expect_end(0)


TESTS = {"kernel.bios": lambda args, folder: kernel(args, folder, "bios-256k.bin"), "kernel.uefi": lambda args, folder: kernel(args, folder, "OVMF.fd"), "order": order, "strict": strict, "bridge.boot": bridge_boot, "bridge.devices": bridge_devices}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("firmware", lambda folder: TESTS[arguments.test](arguments, folder)))
