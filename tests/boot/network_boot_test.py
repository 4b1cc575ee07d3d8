#!/usr/bin/python3
"""A PC boots from the network: SeaBIOS, a card's iPXE, a script by TFTP, Debian's kernel by HTTP.

    network_boot_test.py --emulator "PATH [options]" --test CARD|iso

With `iso` it is iPXE's disc that brings the driver, and the script comes by HTTP as well.
"""

import argparse
import functools
import http.server
import shlex
import shutil
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import Session, guest_file, run_test_in_folder  # noqa: E402


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def boot(args, folder: Path):
    for name in ("vmlinuz-cloud", "mini.cpio.gz"):
        shutil.copy(guest_file(name), folder / name)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://10.0.2.2:{server.server_address[1]}"
    (folder / "boot.ipxe").write_text(
        "#!ipxe\n"
        "echo CALQUE-IPXE ${net0/ip} ${net0/mac}\n"
        f"kernel {place}/vmlinuz-cloud console=ttyS0 calque.test=boot initrd=mini.cpio.gz\n"
        f"initrd {place}/mini.cpio.gz\n"
        "boot\n"
    )
    options = ["-nographic", "-no-reboot", "-m", "512M"]
    if args.test == "iso":
        options += ["-boot", "d", "-cdrom", guest_file("ipxe.iso"), "-netdev", f"user,id=net,bootfile={place}/boot.ipxe",
                    "-device", "e1000,netdev=net,mac=52:54:00:ca:11:9e,romfile="]
    else:
        options += ["-boot", "n", "-netdev", f"user,id=net,tftp={folder},bootfile=boot.ipxe",
                    "-device", f"{args.test},netdev=net,mac=52:54:00:ca:11:9e"]
    with Session(shlex.split(args.emulator) + options) as session:
        session.wait_for(r"iPXE ISO boot image" if args.test == "iso" else r"iPXE")
        session.wait_for(r"CALQUE-IPXE 10\.0\.2\.15 52:54:00:ca:11:9e")
        session.wait_for(r"^CALQUE-GUEST-READY")
        session.wait_for(r"CALQUE-TEST boot PASS")
        session.expect_end(0)
    server.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=["e1000", "rtl8139", "virtio-net-pci", "iso"])
    arguments = parser.parse_args()
    sys.exit(run_test_in_folder("pxe", lambda folder: boot(arguments, folder)))
