#!/usr/bin/python3
"""The system of ./run debian on the network: ssh from the host, apt from a repository on the host's loopback, iperf3.

    debian_test.py --emulator "PATH [options]" [--image debian.img] [--iperf]

The image is scripts/debian.sh's and stays as it is. The repository holds packages of this machine's own Debian archive.
"""

import argparse
import functools
import hashlib
import http.server
import random
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from devices_test import free_port  # noqa: E402
from guest_session import PATIENCE, Failure, Session, run_test  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["iperf3", "libiperf0", "libsctp1"]
PROMPT = r"debian@calque:~\$ "


def make_repository(folder: Path):
    """Packages as apt downloads them, with an index of their own."""
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    index = []
    for package in sorted(folder.glob("*.deb")):
        fields = subprocess.run(["dpkg-deb", "-f", package], check=True, stdout=subprocess.PIPE, text=True).stdout
        contents = package.read_bytes()
        index.append(f"{fields.strip()}\nFilename: ./{package.name}\nSize: {len(contents)}\nSHA256: {hashlib.sha256(contents).hexdigest()}\n")
    (folder / "Packages").write_text("\n".join(index))


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Shell:
    """ssh to the guest with a key of this test's own."""

    def __init__(self, folder: Path, port: int):
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.command = [
            "ssh", "-q", "-i", str(self.key), "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "BatchMode=yes", "-o", f"ConnectTimeout={int(PATIENCE)}", "debian@127.0.0.1",
        ]

    def run(self, command: str, data: bytes | None = None) -> bytes:
        done = subprocess.run([*self.command, command], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
        if done.returncode != 0:
            raise Failure(f"ssh {command}: status {done.returncode}\n{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}")
        return done.stdout


def log_in(session: Session, shell: Shell):
    session.wait_for(r"login: ")
    session.type("debian\r")
    session.wait_for(r"Password: ")
    session.type("debian\r")
    session.wait_for(PROMPT)
    key = shell.key.with_suffix(".pub").read_text().strip()
    session.type(f"mkdir -p -m 700 .ssh; echo '{key}' >.ssh/authorized_keys; chmod 600 .ssh/authorized_keys; echo KEY-'IS'-THERE\r")
    session.wait_for("^KEY-IS-THERE")


def copies(shell: Shell):
    """A file by ssh both ways."""
    contents = random.Random(5).randbytes(32 << 20)
    digest = hashlib.sha256(contents).hexdigest()
    if digest.encode() not in shell.run("cat >file; sha256sum file", contents):
        raise Failure("a file that was copied to the guest has another hash there")
    if hashlib.sha256(shell.run("cat file")).hexdigest() != digest:
        raise Failure("a file that was copied from the guest has another hash here")


def installs(shell: Shell, port: int):
    shell.run(f"echo 'deb [trusted=yes] http://10.0.2.2:{port} ./' | sudo tee /etc/apt/host.list")
    only = "-o Dir::Etc::sourcelist=/etc/apt/host.list -o Dir::Etc::sourceparts=-"
    shell.run(f"sudo apt-get {only} update")
    shell.run(f"sudo DEBIAN_FRONTEND=noninteractive apt-get {only} install -y --no-install-recommends iperf3")
    if b"iperf 3" not in shell.run("iperf3 --version"):
        raise Failure("apt installed an iperf3 that does not run")


def measures(shell: Shell):
    """Megabits in a second each way; what is judged is that bytes arrive."""
    port = free_port()
    server = subprocess.Popen(["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL)
    try:
        for way in ("", "-R"):
            report = shell.run(f"iperf3 -c 10.0.2.2 -p {port} -t 5 -f m {way}").decode()
            rates = re.findall(r"([\d.]+) Mbits/sec.*receiver", report)
            if not rates or float(rates[0]) <= 0:
                raise Failure(f"iperf3 {way} reports no bytes:\n{report}")
            print(f"\niperf3 {way or 'to the host'}: {rates[0]} Mbit/s", flush=True)
    finally:
        server.kill()
        server.wait()


def test(args):
    image = args.image or subprocess.run([ROOT / "scripts/debian.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    port = free_port()
    command = [
        *shlex.split(args.emulator), "-nographic", "-m", "1G", "-no-reboot", "-snapshot", "-drive", f"file={image},format=raw,if=virtio",
        "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22",
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        repository = folder / "repository"
        repository.mkdir()
        make_repository(repository)
        server = serve(repository)
        shell = Shell(folder, port)
        with Session(command) as session:
            log_in(session, shell)
            if shell.run("id -un").strip() != b"debian":
                raise Failure("ssh reaches somebody else")
            copies(shell)
            installs(shell, server.server_address[1])
            if args.iperf:
                measures(shell)
            session.type("sudo poweroff\r")
            session.expect_end(0)
        server.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--image")
    parser.add_argument("--iperf", action="store_true")
    arguments = parser.parse_args()
    sys.exit(run_test(lambda: test(arguments)))
