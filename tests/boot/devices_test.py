#!/usr/bin/python3
"""Debian's drivers find calque's devices and use them.

    devices_test.py --emulator "PATH [options]" --test NAME [--kernel vmlinuz-cloud]
"""

import argparse
import hashlib
import http.server
import os
import random
import shlex
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import PATIENCE, Failure, Session, guest_file, run_test  # noqa: E402
from qmp_test import Qmp  # noqa: E402

PROMPT = r"calque# "


def boot(args, *options: str, initrd: str = "devices.cpio.gz") -> Session:
    return Session(
        shlex.split(args.emulator)
        + ["-nographic", "-m", "256M", "-no-reboot", "-kernel", guest_file(args.kernel), "-initrd", guest_file(initrd)]
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
        session.type("rm /tmp/down; nc -l -p 7777 >/tmp/forwarded & sleep 1; echo listening\r")
        session.wait_for(r"^listening")
        send_to(port, contents)
        command(session, "wait; md5sum /tmp/forwarded", rf"^{digest}  /tmp/forwarded")
        command(session, "ping -c 1 -W 5 10.0.2.2 | grep -c 'seq='", r"^1$")
        command(session, f"dmesg | grep -c -i 'NETDEV WATCHDOG\\|{card}.*hung'", r"^0$")
        end(session)
    host.close()


def net_virtio(args):
    transfers(args, "eth0", 64, "-nic", "user,FORWARD")


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
    transfers(args, "eth0", 64, "-nic", "user,model=e1000,FORWARD")


def net_rtl8139(args):
    """By its rings of descriptors, and by its four buffers and ring of bytes."""
    args.kernel = "vmlinuz"
    transfers(args, "eth0", 64, "-nic", "user,model=rtl8139,FORWARD", driver="8139cp")
    transfers(args, "eth0", 16, "-netdev", "user,id=n,FORWARD", "-device", "rtl8139,netdev=n,cplus=off", driver="8139too")


def copy_large(args):
    """A gigabyte each way on each card: by HTTP onto a disk, and from there to the host. `./test --full`."""
    args.kernel = "vmlinuz"
    size = 1 << 30
    generator = random.Random(6)
    contents = b"".join(generator.randbytes(1 << 26) for _ in range(size >> 26))
    digest = hashlib.md5(contents).hexdigest()
    for card in ("virtio-net-pci", "e1000", "rtl8139"):
        host = Host(contents)
        with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
            disk = Path(place) / "disk"
            with open(disk, "wb") as file:
                file.truncate(size)
            with boot(args, "-nic", f"user,model={card}", "-drive", f"file={disk},format=raw,if=virtio") as session:
                lease(session, "eth0")
                command(session, f"wget -q -O - http://10.0.2.2:{host.http_port}/ | dd of=/dev/vda bs=1M iflag=fullblock 2>/dev/null; sync; md5sum /dev/vda",
                        rf"^{digest}  /dev/vda")
                session.wait_for(PROMPT)
                session.type(f"nc 10.0.2.2 {host.sink_port} </dev/vda; echo sent\r")
                received = host.receive(size)
                if received != digest:
                    session.fail(f"what the guest sent has the hash {received}, not {digest}")
                session.wait_for("^sent")
                end(session)
            if hashlib.md5(disk.read_bytes()).hexdigest() != digest:
                raise Failure("the disk has other contents than the guest wrote")
        host.close()


def net_load(args):
    """A saved machine goes on on the network: new connections work, and one from before is not left to hang."""
    args.kernel = "vmlinuz"
    contents = random.Random(7).randbytes(4 << 20)
    digest = hashlib.md5(contents).hexdigest()
    host = Host(contents)
    for card in ("virtio-net-pci", "e1000", "rtl8139"):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
            monitor = Place(place, "monitor")
            options = ("-nic", f"user,model={card}", "-monitor", f"unix:{monitor.path},server=on,wait=off")
            with boot(args, *options) as session:
                lease(session, "eth0")
                session.wait_for(PROMPT)
                # A connection with nothing to say yet, and the words that it will be asked to carry.
                session.type(f"(sleep 5; seq 100000) | nc 10.0.2.2 {host.sink_port}; echo connection over\r")
                host.sink.settimeout(PATIENCE)
                before, _ = host.sink.accept()
                monitor.connect()
                monitor.read_until(b"(calque) ")
                if "saved" not in (answer := monitor.ask(f"savestate {place}/state")):
                    session.fail(answer)
            before.close()
            with boot(args, *options, "--load", f"{place}/state") as session:
                session.wait_for("^connection over")
                command(session, f"wget -q -O /tmp/down http://10.0.2.2:{host.http_port}/; md5sum /tmp/down", rf"^{digest}  /tmp/down")
                command(session, "ping -c 1 -W 5 10.0.2.2 | grep -c 'seq='", "^1$")
                end(session)
    host.close()


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


class Place:
    """A Unix socket at which the emulator listens: a monitor, or the far end of a serial port."""

    def __init__(self, folder: str, name: str):
        self.path = f"{folder}/{name}"
        self.socket = None

    def connect(self) -> socket.socket:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(self.path) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.socket.connect(self.path)
        return self.socket

    def read_until(self, text: bytes) -> bytes:
        have = b""
        while text not in have:
            more = self.socket.recv(65536)
            if not more:
                raise Failure(f"{self.path} ended before {text!r}: {have!r}")
            have += more
        return have

    def ask(self, command: str) -> str:
        """A monitor's answer."""
        self.socket.sendall(command.encode() + b"\r")
        return self.read_until(b"(calque) ").decode()


def balloon(args):
    """The guest gives memory back, which the host gets, and takes it again."""
    with tempfile.TemporaryDirectory() as folder:
        monitor = Place(folder, "monitor")
        with boot(args, "-nic", "none", "-device", "virtio-balloon-pci", "-monitor", f"unix:{monitor.path},server=on,wait=off") as session:
            command(session, "dd if=/dev/zero of=/tmp/fill bs=1M count=80 2>/dev/null; rm /tmp/fill; echo filled", "^filled")
            memory = [fd for fd in Path(f"/proc/{session.process.pid}/fd").iterdir() if "calque-ram" in os.readlink(fd)][0]
            held = os.stat(memory).st_blocks * 512
            monitor.connect()
            monitor.read_until(b"(calque) ")
            monitor.ask("balloon 128")
            less = "while [ $(sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) -gt 131072 ]; do sleep 1; done; echo given"
            command(session, less, "^given")
            while "actual=128" not in monitor.ask("info balloon"):
                time.sleep(0.2)
            now = os.stat(memory).st_blocks * 512
            if now > held - (50 << 20):
                session.fail(f"the host holds {now} bytes of the guest's memory, of {held} before")
            monitor.ask("balloon 256")
            more = "while [ $(sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) -lt 160000 ]; do sleep 1; done; echo taken"
            command(session, more, "^taken")
            zeros = hashlib.md5(bytes(60 << 20)).hexdigest()
            command(session, "dd if=/dev/zero of=/tmp/fill bs=1M count=60 2>/dev/null; md5sum /tmp/fill", f"^{zeros}")
            end(session)


def serial(args):
    """A console and a channel of bytes behind one device: text, 4 MiB each way, a client that leaves and another that comes."""
    contents = random.Random(3).randbytes(4 << 20)
    digest = hashlib.md5(contents).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        console, channel = Place(folder, "console"), Place(folder, "channel")
        options = ["-nic", "none", "-device", "virtio-serial-pci"]
        for name, place in (("console", console), ("channel", channel)):
            options += ["-chardev", f"socket,id={name},path={place.path},server=on,wait=off"]
        options += ["-device", "virtconsole,chardev=console", "-device", "virtserialport,chardev=channel,name=org.calque.test"]
        with boot(args, *options) as session:
            console.connect()
            command(session, "stty -F /dev/hvc0 raw -echo; echo to-the-host >/dev/hvc0; echo written", "^written")
            console.read_until(b"to-the-host")
            session.wait_for(PROMPT)
            session.type("head -n 1 /dev/hvc0\r")
            console.socket.sendall(b"to-the-guest\n")
            session.wait_for("^to-the-guest")
            command(session, "p=/dev/$(basename $(dirname $(grep -l org.calque.test /sys/class/virtio-ports/*/name))); echo port $p", r"^port /dev/vport\dp1")
            channel.connect()
            session.wait_for(PROMPT)
            session.type(f"head -c {len(contents)} $p | tee /tmp/in | md5sum; echo received\r")
            channel.socket.sendall(contents)
            session.wait_for(rf"^{digest}  -")
            session.wait_for("^received")
            session.wait_for(PROMPT)
            session.type("cat /tmp/in >$p; echo sent\r")
            got = hashlib.md5()
            left = len(contents)
            while left and (data := channel.socket.recv(65536)):
                got.update(data)
                left -= len(data)
            if got.hexdigest() != digest:
                session.fail(f"the channel gave {got.hexdigest()}, not {digest}")
            session.wait_for("^sent")
            channel.socket.close()
            channel.connect()
            channel.socket.sendall(b"new here\n")
            # A port without a client is at its end; the guest may not have been told yet that there is another.
            command(session, "until l=$(head -n 1 $p); [ -n \"$l\" ]; do sleep 1; done; echo $l", "^new here")
            command(session, "echo again >$p; echo written", "^written")
            channel.read_until(b"again\n")
            end(session)


MOUNT = "mkdir -p /mnt; mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /mnt; echo mounted $?"


def folder(args):
    """A shared folder: contents both ways, names, links that lead outside; read-only; owners kept in attributes."""
    args.kernel = "vmlinuz"  # The cloud kernel has no 9p.
    contents = random.Random(4).randbytes(16 << 20)
    digest = hashlib.md5(contents).hexdigest()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        shared = Path(place) / "shared"
        shared.mkdir()
        (Path(place) / "secret").write_text("secret\n")
        (shared / "large").write_bytes(contents)
        (shared / "way-out").symlink_to("../secret")
        virtfs = f"local,path={shared},mount_tag=host,security_model="
        with boot(args, "-nic", "none", "-virtfs", virtfs + "none") as session:
            command(session, MOUNT, "^mounted 0")
            command(session, "md5sum /mnt/large", rf"^{digest}  /mnt/large")
            command(session, "cp /mnt/large /mnt/copy; sync; echo copied $?", "^copied 0")
            if hashlib.md5((shared / "copy").read_bytes()).hexdigest() != digest:
                session.fail("what the guest wrote is not what the host has")
            command(session, "mkdir -p /mnt/a/b; for i in $(seq 300); do echo $i >/mnt/a/b/$i; done; ls /mnt/a/b | wc -l", "^300")
            command(session, "mv /mnt/a/b/7 /mnt/a/seven; ln -s seven /mnt/a/link; cat /mnt/a/link; ln /mnt/a/seven /mnt/a/hard; rm /mnt/a/seven; cat /mnt/a/hard",
                    "^7\n7\n")
            command(session, "chmod 640 /mnt/a/hard; stat -c %a /mnt/a/hard; rm -r /mnt/a/b; ls /mnt/a", r"^640\nhard +link")
            command(session, "echo x >>/mnt/large; tail -c 2 /mnt/large; truncate -s 3 /mnt/copy; wc -c </mnt/copy", "^x\n3\n")
            command(session, "readlink /mnt/way-out; cat /mnt/way-out /mnt/../secret /mnt/a/../../secret; echo end", r"^\.\./secret\n(.*No such file.*\n)+end")
            end(session)
        if (shared / "a" / "hard").read_text() != "7\n":
            raise Failure("a file's contents changed with its name")
        with boot(args, "-nic", "none", "-virtfs", virtfs + "none,readonly=on") as session:
            command(session, MOUNT, "^mounted 0")
            command(session, "cat /mnt/a/hard; echo new >/mnt/new; rm /mnt/large; echo end", r"^7\n(.*Read-only file system\n)+end")
            end(session)
        mapped = ("-fsdev", f"local,id=f,path={shared},security_model=mapped-xattr", "-device", "virtio-9p-pci,fsdev=f,mount_tag=host")
        with boot(args, "-nic", "none", *mapped) as session:
            command(session, MOUNT, "^mounted 0")
            command(session, "echo own >/mnt/own; chown 1000:1001 /mnt/own; chmod 4755 /mnt/own; stat -c '%a %u %g' /mnt/own", "^4755 1000 1001")
            command(session, "ln -s /etc/passwd /mnt/own-link; mknod /mnt/null c 1 3; stat -c %F /mnt/own-link /mnt/null; echo x >/mnt/null; cat /mnt/null",
                    "^symbolic link\ncharacter special file\n")
            end(session)
        if (shared / "own").stat().st_mode & 0o7777 != 0o600 or (shared / "own-link").is_symlink():
            raise Failure("the mapped model gave the host a mode or a link")


def link(args):
    """A cable that is pulled and plugged in again, at each card."""
    args.kernel = "vmlinuz"
    for card in ("virtio-net-pci", "e1000", "rtl8139"):
        with tempfile.TemporaryDirectory() as place:
            monitor = Place(place, "monitor")
            with boot(args, "-netdev", "user,id=n", "-device", f"{card},netdev=n,id=card", "-monitor", f"unix:{monitor.path},server=on,wait=off") as session:
                lease(session, "eth0")
                monitor.connect()
                monitor.read_until(b"(calque) ")
                carrier = "while [ $(cat /sys/class/net/eth0/carrier) != {0} ]; do sleep 1; done; echo carrier {0}"
                command(session, carrier.format(1), "^carrier 1")
                for name in ("n", "card"):
                    monitor.ask(f"set_link {name} off")
                    command(session, carrier.format(0), "^carrier 0")
                    command(session, "ping -c 1 -W 2 10.0.2.2 | grep -c 'seq='", "^0$")
                    monitor.ask(f"set_link {name} on")
                    command(session, carrier.format(1), "^carrier 1")
                    command(session, "ping -c 3 -W 5 10.0.2.2 | grep -c 'seq=[12]'", "^[12]$")
                end(session)


KEY, RELATIVE, ABSOLUTE = 1, 2, 3


def input_devices(args):
    """Linux's drivers of virtio's keyboard, mouse and tablet."""
    hands(args, "virtio", [f"virtio-{kind}-pci" for kind in ("keyboard", "mouse", "tablet")])


def usb(args):
    """Linux's drivers of USB controllers and of a keyboard, a mouse and a tablet on them."""
    for controller in ("qemu-xhci", "nec-usb-xhci,p2=6"):
        hands(args, "USB", [controller, "usb-kbd", "usb-mouse,port=4", "usb-tablet"])


def hands(args, family: str, devices: list):
    """What goes in by QMP and the monitor comes out of /dev/input."""
    args.kernel = "vmlinuz"  # The cloud kernel has no driver for them.
    with tempfile.TemporaryDirectory() as folder:
        options = [word for device in devices for word in ("-device", device)]
        with boot(args, "-nic", "none", *options, "-qmp", f"unix:{folder}/qmp,server=on,wait=off") as session:
            session.wait_for(PROMPT)
            qmp = Qmp(Path(folder) / "qmp")

            def event(kind: str, **data) -> dict:
                return {"type": kind, "data": data}

            def reads(device: str, events: list, *reports: list):
                """A reader of the device gets these reports of (type, code, value); what a driver adds to them is left out."""
                names = "/sys/class/input/event*/device/name"
                line = (f"until n=$(grep -l '{family} {device}' {names}); do sleep 1; done; d=/dev/input/$(basename $(dirname $(dirname $n))); "
                        "od -An -v -td2 -w24 $d & until ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q $d; do sleep 1; done; echo listening")
                session.type(line + "\r")
                session.wait_for("^listening")
                qmp.ask("input-send-event", events=events)
                for report in reports:
                    for kind, code, value in [*report, (0, 0, 0)]:
                        session.wait_for(rf"( +-?\d+){{8}} +{kind} +{code} +{value} +{-1 if value < 0 else 0}$")
                session.type("kill %1; echo over\r")
                session.wait_for("^over")
                session.wait_for(PROMPT)

            def current(name: str, absolute: bool) -> bool:
                return {"name": f"{family} {name}", "current": True, "absolute": absolute}.items() <= [
                    mouse for mouse in qmp.ask("query-mice") if mouse["current"]][0].items()

            deadline = time.monotonic() + PATIENCE
            while not current("tablet", True):
                if time.monotonic() > deadline:
                    session.fail(f"the pointers are {qmp.ask('query-mice')}")
                time.sleep(0.5)
            reads("tablet", [event("abs", axis="x", value=0x1234), event("abs", axis="y", value=0x4321), event("btn", button="left", down=True),
                             event("btn", button="left", down=False), event("btn", button="wheel-up", down=True)],
                  [(ABSOLUTE, 0, 0x1234), (ABSOLUTE, 1, 0x4321)], [(KEY, 0x110, 1)], [(KEY, 0x110, 0)], [(RELATIVE, 8, 1)])
            qmp.ask("human-monitor-command", command_line="mouse_set 1")
            while not current("mouse", False):
                time.sleep(0.5)
            reads("mouse", [event("rel", axis="x", value=5), event("rel", axis="y", value=-7), event("btn", button="right", down=True)],
                  [(RELATIVE, 0, 5), (RELATIVE, 1, -7)], [(KEY, 0x111, 1)])
            qmp.ask("input-send-event", events=[event("btn", button="right", down=False)])
            reads("keyboard", [event("key", key={"type": "qcode", "data": "a"}, down=True), event("key", key={"type": "qcode", "data": "a"}, down=False)],
                  [(KEY, 30, 1)], [(KEY, 30, 0)])
            qmp.close()
            session.type("poweroff\r")
            session.expect_end(0)


def gpu(args, device: str = "virtio-gpu-pci"):
    """Linux's console by its driver of virtio-gpu, as large as the monitor says; nothing else has a screen."""
    args.kernel = "vmlinuz"  # The cloud kernel has no driver for it.
    with tempfile.TemporaryDirectory() as folder:
        monitor = Place(folder, "monitor")
        picture = Path(folder) / "picture.ppm"
        options = ["-nic", "none", "-vga", "none", "-device", f"{device},xres=1024,yres=768", "-monitor", f"unix:{monitor.path},server=on,wait=off"]
        with boot(args, *options, initrd="screen.cpio.gz") as session:
            monitor.connect()
            monitor.read_until(b"(calque) ")
            command(session, "until [ -e /sys/class/graphics/fb0 ]; do sleep 1; done; cat /sys/class/graphics/fb0/name", "^virtio_gpudrmfb")
            command(session, "head -n 1 /sys/class/drm/card0-Virtual-1/modes", "^1024x768")
            for code, pixel in ((41, b"\xaa\x00\x00"), (44, b"\x00\x00\xaa")):
                command(session, rf"printf '\033[{code}m\033[2J' >/dev/tty1; echo drawn", "^drawn")
                deadline, whole = time.monotonic() + PATIENCE, 1024 * 768
                while True:
                    monitor.ask(f"screendump {picture}")
                    _, size, _, data = picture.read_bytes().split(b"\n", 3)
                    # All of it but the cursor.
                    if size == b"1024 768" and sum(data[at:at + 3] == pixel for at in range(0, len(data), 3)) > whole - 1024:
                        break
                    if time.monotonic() > deadline:
                        session.fail(f"the screen of {size.decode()} does not have the colour {pixel.hex()}")
                    time.sleep(0.5)
            end(session)


TESTS = {
    "rng": rng,
    "gpu": gpu,
    "vga": lambda args: gpu(args, "virtio-vga"),
    "input": input_devices,
    "usb": usb,
    "balloon": balloon,
    "serial": serial,
    "folder": folder,
    "net.link": link,
    "net.load": net_load,
    "net.copy": copy_large,
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
