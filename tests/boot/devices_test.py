#!/usr/bin/python3
"""Debian's drivers find calque's devices and use them.

    devices_test.py --emulator "PATH [options]" --test NAME [--kernel vmlinuz-cloud]
"""

import argparse
import hashlib
import http.server
import random
import shlex
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import PATIENCE, Session, guest_file, run_test  # noqa: E402

PROMPT = r"calque# "


def boot(args, *options: str) -> Session:
    return Session(
        shlex.split(args.emulator)
        + ["-nographic", "-m", "256M", "-no-reboot", "-kernel", guest_file(args.kernel), "-initrd", guest_file("devices.cpio.gz")]
        + ["-append", "console=ttyS0 quiet", *options]
    )


def command(session: Session, line: str, pattern: str):
    """Types a command at the shell and waits for what it must print."""
    session.wait_for(PROMPT)
    session.type(line + "\r")
    return session.wait_for(pattern)


def end(session: Session):
    session.wait_for(PROMPT)
    session.type("poweroff\r")
    session.expect_end(0)


def rng(args):
    """/dev/hwrng gives the host's bytes: by messages, by the line, through the legacy interface, from a file."""
    for properties in ("", ",vectors=0", ",disable-modern=on", ",disable-legacy=on"):
        with boot(args, "-nic", "none", "-device", f"virtio-rng-pci{properties}") as session:
            command(session, "cat /sys/class/misc/hw_random/rng_current", r"^virtio_rng\.0")
            command(session, "dd if=/dev/hwrng bs=4096 count=16 2>/dev/null | wc -c", r"^65536")
            if properties == "":
                command(session, "grep -c 'MSI.*virtio0-input' /proc/interrupts", r"^1$")
            end(session)
    zeros = ("-nic", "none", "-object", "rng-random,id=zeros,filename=/dev/zero", "-device", "virtio-rng-pci,rng=zeros,addr=9")
    with boot(args, *zeros) as session:
        command(session, "dd if=/dev/hwrng bs=1024 count=4 2>/dev/null | md5sum", r"^620f0b67a91f7f74151bc5be745b7110")
        command(session, "ls -d /sys/bus/pci/devices/0000:00:09.0/virtio*", r"virtio0$")
        end(session)


class Host:
    """What the guest finds at 10.0.2.2: a file by HTTP, and a port that takes whatever is sent."""

    def __init__(self, contents: bytes):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(contents)))
                self.end_headers()
                self.wfile.write(contents)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http_port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.sink = socket.create_server(("127.0.0.1", 0))
        self.sink_port = self.sink.getsockname()[1]

    def receive(self, size: int) -> str:
        """The hash of the first bytes that the next connection sends."""
        self.sink.settimeout(PATIENCE)
        connection, _ = self.sink.accept()
        digest = hashlib.md5()
        with connection:
            while size and (data := connection.recv(min(size, 1 << 16))):
                digest.update(data)
                size -= len(data)
        return digest.hexdigest()

    def close(self):
        self.server.shutdown()
        self.sink.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def send_to(port: int, contents: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(contents)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # The guest closes when it has all.


def lease(session: Session, card: str):
    command(session, f"udhcpc -i {card} -n -q -s /etc/udhcpc", r"^LEASE 10\.0\.2\.15/24 router 10\.0\.2\.2 dns 10\.0\.2\.3")


def transfers(args, card: str, megabytes: int, *options: str, driver: str = ""):
    """A lease by DHCP; a file by HTTP from the host's loopback, one to it, and one through a forwarded port, unchanged."""
    contents = random.Random(1).randbytes(megabytes << 20)
    digest = hashlib.md5(contents).hexdigest()
    host = Host(contents)
    port = free_port()
    with boot(args, *(option.replace("FORWARD", f"hostfwd=tcp:127.0.0.1:{port}-:7777") for option in options)) as session:
        lease(session, card)
        if driver:
            command(session, f"basename $(readlink /sys/class/net/{card}/device/driver)", rf"^{driver}$")
        command(session, f"wget -q -O /tmp/down http://10.0.2.2:{host.http_port}/; md5sum /tmp/down", rf"^{digest}  /tmp/down")
        session.wait_for(PROMPT)
        session.type(f"nc 10.0.2.2 {host.sink_port} </tmp/down; echo sent\r")
        received = host.receive(len(contents))
        if received != digest:
            session.fail(f"what the guest sent has the hash {received}, not {digest}")
        session.wait_for(r"^sent")
        session.wait_for(PROMPT)
        session.type("nc -l -p 7777 >/tmp/forwarded & sleep 1; echo listening\r")
        session.wait_for(r"^listening")
        send_to(port, contents)
        command(session, "wait; md5sum /tmp/forwarded", rf"^{digest}  /tmp/forwarded")
        command(session, "ping -c 1 -W 5 10.0.2.2 | grep -c 'seq='", r"^1$")
        command(session, f"dmesg | grep -c -i 'NETDEV WATCHDOG\\|{card}.*hung'", r"^0$")
        end(session)
    host.close()


def net_virtio(args):
    transfers(args, "eth0", 32, "-nic", "user,FORWARD")


def net_virtio_plain(args):
    """Without offloads, merged buffers and event indexes, by the line; and through the legacy interface."""
    plain = ",".join(f"{name}=off" for name in ("csum", "guest_csum", "host_tso4", "host_tso6", "guest_tso4", "guest_tso6", "mrg_rxbuf",
                                                "event_idx", "indirect_desc"))
    transfers(args, "eth0", 4, "-netdev", "user,id=n,FORWARD", "-device", f"virtio-net-pci,netdev=n,vectors=0,{plain}")
    transfers(args, "eth0", 4, "-netdev", "user,id=n,FORWARD", "-device", "virtio-net-pci,netdev=n,disable-modern=on,guest_csum=off,"
              "guest_tso4=off,guest_tso6=off")


def net_virtio_queues(args):
    """Four pairs of queues on two processors."""
    transfers(args, "eth0", 8, "-smp", "2", "-netdev", "user,id=n,FORWARD", "-device", "virtio-net-pci,netdev=n,mq=on,queues=4")


def net_e1000(args):
    args.kernel = "vmlinuz"  # The cloud kernel has no driver for it.
    transfers(args, "eth0", 16, "-nic", "user,model=e1000,FORWARD")


def net_rtl8139(args):
    """By its rings of descriptors, and by its four buffers and ring of bytes."""
    args.kernel = "vmlinuz"
    transfers(args, "eth0", 16, "-nic", "user,model=rtl8139,FORWARD", driver="8139cp")
    transfers(args, "eth0", 16, "-netdev", "user,id=n,FORWARD", "-device", "rtl8139,netdev=n,cplus=off", driver="8139too")


def net_joined(args):
    """Two machines joined by a socket."""
    port = free_port()
    with boot(args, "-nic", f"socket,listen=127.0.0.1:{port}", "-name", "first") as first:
        command(first, "ip addr add 192.168.7.1/24 dev eth0; ip link set eth0 up; echo up", r"^up")
        with boot(args, "-nic", f"socket,connect=127.0.0.1:{port},mac=52:54:00:00:00:02") as second:
            command(second, "ip addr add 192.168.7.2/24 dev eth0; ip link set eth0 up; ping -c 3 -W 5 192.168.7.1 | grep received",
                    r"^3 packets transmitted, 3 packets received")
            first.wait_for(PROMPT)
            first.type("nc -l -p 7777 | md5sum\r")
            command(second, "sleep 1; seq 1000000 | nc 192.168.7.1 7777; echo sent", r"^sent")
            digest = hashlib.md5("".join(f"{n}\n" for n in range(1, 1000001)).encode()).hexdigest()
            first.wait_for(rf"^{digest}  -")
            end(second)
        end(first)


TESTS = {
    "rng": rng,
    "net.virtio": net_virtio,
    "net.virtio.plain": net_virtio_plain,
    "net.virtio.queues": net_virtio_queues,
    "net.e1000": net_e1000,
    "net.rtl8139": net_rtl8139,
    "net.joined": net_joined,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=sorted(TESTS))
    parser.add_argument("--kernel", default="vmlinuz-cloud")
    arguments = parser.parse_args()
    sys.exit(run_test(lambda: TESTS[arguments.test](arguments)))
