"""What `bench/run.py io` measures: disks and networks of each emulator's guest, the same devices in all of them."""

import random
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

MIB = 1 << 20
DISK_MIB = 320
# Name -> (group, MiB moved, what the guest does). The words in capitals are the machine's own.
TRANSFERS = {
    "virtio-blk read": ("virtio", 192, "io read /dev/vda"),
    "virtio-blk 4k reads": ("virtio", 32, "io random /dev/vda"),
    "virtio-blk write": ("virtio", 96, "io write /dev/vda"),
    "virtio-net get": ("virtio", 128, "io get 10.0.2.2 PORT"),
    "virtio-net put": ("virtio", 128, "io put 10.0.2.2 PORT"),
    "ide read": ("chips", 128, "io read /dev/sda"),
    "ide 4k reads": ("chips", 16, "io random /dev/sda"),
    "ide write": ("chips", 64, "io write /dev/sda"),
    "e1000 get": ("chips", 64, "io get 10.0.3.2 PORT"),
    "e1000 put": ("chips", 64, "io put 10.0.3.2 PORT"),
}
SIZES = {name: (group, mebibytes) for name, (group, mebibytes, _) in TRANSFERS.items()}
# The cards are told apart by their addresses: which of them the guest calls eth0 is its drivers' affair.
CARDS = {"virtio-net-pci": ("52:54:00:00:00:0a", "10.0.2.0/24", "10.0.2.15/24"), "e1000": ("52:54:00:00:00:0b", "10.0.3.0/24", "10.0.3.15/24")}


class Server:
    """On the host's loopback: GET gives as many random bytes as the largest transfer, cut to what the path names; PUT answers
    with what came."""

    def __init__(self):
        self.contents = random.Random(2).randbytes(128 * MIB)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.wanted = 0  # Bytes of the transfer at hand.
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection:
                try:
                    self.answer(connection)
                except OSError:
                    pass  # The guest ended; its own message says why.

    def answer(self, connection: socket.socket):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        body = self.contents
        if head.startswith(b"PUT"):
            body = bytearray(self.wanted)
            begun = head.split(b"\r\n\r\n", 1)[1]
            body[: len(begun)] = begun
            view, have = memoryview(body), len(begun)
            while have < self.wanted:
                got = connection.recv_into(view[have:])
                if got == 0:
                    return
                have += got
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % self.wanted)
        connection.sendall(memoryview(body)[: self.wanted])


class Machine:
    """The disks and cards that are added to every emulator's command."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="calque-bench-io-", dir="/var/tmp")
        self.contents = Path(self.folder.name) / "contents"
        generator = random.Random(1)
        with open(self.contents, "wb") as file:
            for _ in range(DISK_MIB):
                file.write(generator.randbytes(MIB))

    def options(self, name: str) -> list:
        words = []
        for interface in ("virtio", "ide"):
            image = Path(self.folder.name) / f"{name}-{interface}.img"
            subprocess.run(["cp", "--reflink=auto", self.contents, image], check=True)
            words += ["-drive", f"file={image},format=raw,if={interface}"]
        for card, (mac, network, _) in CARDS.items():
            words += ["-netdev", f"user,id={card},net={network}", "-device", f"{card},netdev={card},mac={mac}"]
        return words


def prepare(guest, prompt: str):
    """Gives the cards their addresses: the guest is at its shell."""
    guest.resume()
    for mac, _, address in CARDS.values():
        card = f"$(basename $(dirname $(grep -l {mac} /sys/class/net/*/address)))"
        guest.type(f"c={card}; ip addr add {address} dev $c; ip link set $c up; echo CARD-''UP\r")
        guest.wait_for("^CARD-UP\n")
        guest.wait_for(prompt)
    guest.pause()


def run(guest, name: str, server: Server, prompt: str):
    """One transfer: seconds on the host's clock, seconds of the emulator's CPU time, and the checksum."""
    _, mebibytes, words = TRANSFERS[name]
    server.wanted = mebibytes * MIB
    guest.resume()
    guest.type(f"{words.replace('PORT', str(server.port))} {mebibytes * MIB}\r")
    begin, used = guest.wait_for(r"^BENCH-(BEGIN|FAIL.*)\n"), guest.cpu_seconds()
    end = guest.wait_for(r"^BENCH-(DONE|FAIL.*)\n") if guest.match.group(1) == "BEGIN" else begin
    used = guest.cpu_seconds() - used
    if guest.match.group(1) != "DONE":
        raise SystemExit(f"{guest.name}: {name}: {guest.match.group(1)}")
    guest.wait_for(r"^BENCH-SUM ([0-9a-f]{16})\n")
    checksum = guest.match.group(1)
    guest.wait_for(prompt)
    time.sleep(0.1)  # What is still on its way to the host.
    guest.pause()
    return end - begin, used, checksum
