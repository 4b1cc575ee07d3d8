#!/usr/bin/python3
"""Snapshots of a running machine, and machines that go from one process to another, under load.

    snapshot_test.py --emulator PATH --test vm [--times N]      savevm and loadvm by the monitor, N times
    snapshot_test.py --emulator PATH --test jobs                the same by QMP, and what is refused
    snapshot_test.py --emulator PATH --test damage              states that were cut or changed leave the guest alone
    snapshot_test.py --emulator PATH --test migrate [--times N] by sockets, files and commands, cancelled and failed

The guest computes, writes and reads its disk, and fetches a file from the host; each looks at its own results, and says so
when one is wrong. It must never notice.
"""

import argparse
import hashlib
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from devices_test import Host  # noqa: E402
from guest_session import PATIENCE, Failure, Session, guest_file, run_test_in_folder  # noqa: E402
from qmp_test import Qmp  # noqa: E402

# What each does again and again. A fetch may fail when its connection belongs to another time: only what it has got counts.
# A count is put in its place whole, for whoever reads it just then.
LOAD = r"""
said() { echo $2 >/tmp/$1.new; mv /tmp/$1.new /tmp/$1; }
udhcpc -i eth0 -n -q -s /etc/udhcpc >/dev/null
(n=0; while :; do s=$(seq 1 20000 | md5sum); [ "$s" = "@SEQ@  -" ] || echo LOAD''-WRONG cpu; n=$((n+1)); said cpu $n; done) &
(n=0; while :; do n=$((n+1)); at=$((n % 16 * 64)); (echo $n; seq $n $((n+99999))) | head -c 262144 >/tmp/block
 dd if=/tmp/block of=/dev/vda bs=4k seek=$at conv=notrunc,fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches
 dd if=/dev/vda bs=4k skip=$at count=64 2>/dev/null | cmp -s - /tmp/block || echo LOAD''-WRONG disk; said disk $n; done) &
(n=0; while :; do if wget -q -O /tmp/down http://10.0.2.2:@PORT@/; then s=$(md5sum </tmp/down); [ "$s" = "@FILE@  -" ] || echo LOAD''-WRONG net
 n=$((n+1)); said net $n; fi; done) 2>/dev/null &
"""

# What takes the place of the first of them with --compile: the tools' initramfs comes as a third disk.
COMPILE = r"""
mkdir /tools; (cd /tools; cpio -id </dev/vdc 2>/dev/null); chmod 1777 /tools/tmp
seq 20 | awk '{print "int f" $1 "(int a, int b) { int s = 0; for (int i = a; i < b; i++) s += i * " $1 " % (i + 1) ^ s >> 3; return s; }"}' >/tools/tmp/x.c
chroot /tools gcc -O2 -S -o - /tmp/x.c | md5sum >/tmp/right; [ $(chroot /tools gcc -O2 -S -o - /tmp/x.c | wc -l) -gt 200 ] || echo LOAD''-WRONG no compiler
(n=0; while :; do chroot /tools gcc -O2 -S -o - /tmp/x.c | md5sum | cmp -s - /tmp/right || echo LOAD''-WRONG compiler; n=$((n+1)); said cpu $n; done) &
"""


class Guest:
    """One process with the load's machine, its console on the terminal and a client of QMP."""

    def __init__(self, args, folder: Path, name: str, *options):
        self.socket = folder / f"qmp-{name}"
        disks = [word for i, disk in enumerate(sorted(folder.glob("*.qcow2")))
                 for word in ("-drive", f"file={disk},if=virtio,format=qcow2,id=disk{i}")]
        if args.compile:
            disks += ["-drive", f"file={guest_file('tools.cpio')},if=virtio,format=raw,readonly=on,id=tools"]
        self.session = Session(shlex.split(args.emulator) + [
            "-display", "none", "-serial", "stdio", "-monitor", "none", "-m", args.memory, "-smp", args.smp, "-no-reboot", "-kernel",
            guest_file("vmlinuz"), "-initrd", guest_file("devices.cpio.gz"), "-append", "console=ttyS0 quiet", "-nic", "user,model=virtio-net-pci",
            *disks, "-qmp", f"unix:{self.socket},server=on,wait=off", *map(str, options)])

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE
        while not self.socket.exists():
            if time.monotonic() > deadline or self.session.process.poll() is not None:
                self.session.fail("the emulator does not come up")
            time.sleep(0.05)
        self.qmp = Qmp(self.socket)
        return self

    def __exit__(self, *problem):
        self.session.__exit__(*problem)

    def shell(self, line: str, pattern: str):
        self.session.type(line + "\r")
        match = self.session.wait_for(pattern)
        if "LOAD-WRONG" in self.session.output:
            self.session.fail("the guest found something wrong")
        return match

    def counts(self) -> tuple:
        token = random.randrange(10 ** 9)
        found = self.shell(f"echo COU''NT{token}: $(cat /tmp/cpu /tmp/disk /tmp/net)", rf"COUNT{token}: (\d+) (\d+) (\d+)$")
        return tuple(map(int, found.groups()))

    def goes_on(self):
        """Each part of the load has done something since."""
        before, deadline = self.counts(), time.monotonic() + PATIENCE
        while any(now <= then for now, then in zip(self.counts(), before)):
            if time.monotonic() > deadline:
                self.session.fail("the load stands still")
            time.sleep(0.2)

    def human(self, line: str):
        said = self.qmp.human(line)
        if said:
            self.session.fail(f"{line}: {said}")

    def migration(self, *ends: str) -> dict:
        deadline = time.monotonic() + PATIENCE
        while (info := self.qmp.ask("query-migrate")).get("status") not in ends:
            if time.monotonic() > deadline or info.get("status") in ("failed", "completed", "cancelled"):
                self.session.fail(f"the migration is {info}, not {ends}")
            time.sleep(0.05)
        return info

    def end(self):
        self.qmp.ask("quit")
        self.session.expect_end(0)


def make_disks(folder: Path):
    for name in ("a", "b"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / f"{name}.qcow2", "64M"], check=True)


def check_disks(folder: Path):
    for disk in folder.glob("*.qcow2"):
        done = subprocess.run(["qemu-img", "check", disk], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"qemu-img check: {done.stdout}{done.stderr}")


def start_load(args, guest: Guest, host: Host, contents: bytes):
    guest.session.wait_for(r"calque# ")
    digest = hashlib.md5("".join(f"{n}\n" for n in range(1, 20001)).encode()).hexdigest()
    load = LOAD
    if args.compile:
        load = "\n".join(COMPILE.strip() if line.startswith("(n=0; while :; do s=$(seq") else line for line in LOAD.split("\n"))
    script = load.replace("@SEQ@", digest).replace("@PORT@", str(host.http_port)).replace("@FILE@", hashlib.md5(contents).hexdigest())
    guest.session.type("cat >/tmp/load <<'END'\r" + script.strip().replace("\n", "\r") + "\rEND\r")
    guest.shell("for n in cpu disk net; do echo 0 >/tmp/$n; done; . /tmp/load; echo load star''ted", "^load started")
    guest.goes_on()


def vm(args, folder: Path):
    make_disks(folder)
    contents = random.Random(3).randbytes(1 << 20)
    host = Host(contents)
    with Guest(args, folder, "first") as guest:
        start_load(args, guest, host, contents)
        for i in range(args.times):
            guest.human(f"savevm snap{i % 3}")
            guest.goes_on()
            if i % 3 == 2:
                guest.human("savevm again")
                guest.goes_on()
            guest.human(f"loadvm snap{i % 3}")
            guest.goes_on()
        if "snap0" not in (said := guest.qmp.human("info snapshots")):
            guest.session.fail(said)
        guest.end()
    listed = subprocess.run(["qemu-img", "snapshot", "-l", folder / "b.qcow2"], capture_output=True, text=True).stdout
    if "snap0" not in listed:
        raise Failure(f"the second disk has no snapshot: {listed}")
    check_disks(folder)
    with Guest(args, folder, "second", "-loadvm", "snap0") as guest:  # Another process goes on from it.
        guest.goes_on()
        guest.human("delvm snap0")
        guest.end()
    check_disks(folder)
    host.close()


def conclude(guest: Guest, job: str, **arguments) -> dict:
    guest.qmp.ask(job, job_id="job", **arguments)
    while True:
        data = guest.qmp.wait_for("JOB_STATUS_CHANGE")
        if data == {"id": "job", "status": "concluded"}:
            break
    about = guest.qmp.ask("query-jobs")
    guest.qmp.ask("job-dismiss", id="job")
    return about[0]


def jobs(args, folder: Path):
    make_disks(folder)
    both = {"vmstate": "disk1", "devices": ["disk0", "disk1"]}
    with Guest(args, folder, "first") as guest:
        guest.session.wait_for("calque# ")
        guest.shell("echo before >/tmp/word; echo do''ne", "^done")
        if "error" in (saved := conclude(guest, "snapshot-save", tag="one", **both)):
            raise Failure(str(saved))
        guest.shell("echo after >/tmp/word; cat /tmp/word", "^after")
        again = conclude(guest, "snapshot-save", tag="one", **both)
        if "already" not in again.get("error", ""):
            raise Failure(f"a snapshot of the same name is taken: {again}")
        for tag, places, words in (("none", both, "no snapshot"), ("one", {**both, "devices": ["nowhere"]}, "no drive")):
            refused = conclude(guest, "snapshot-load", tag=tag, **places)
            if words not in refused.get("error", ""):
                raise Failure(f"{tag}: {refused}")
        guest.shell("cat /tmp/word", "^after")
        loaded = conclude(guest, "snapshot-load", tag="one", **both)
        if "error" in loaded:
            raise Failure(str(loaded))
        guest.shell("cat /tmp/word", "^before")
        if "error" in (gone := conclude(guest, "snapshot-delete", tag="one", devices=["disk0", "disk1"])):
            raise Failure(str(gone))
        if "no snapshot" not in (said := guest.qmp.human("info snapshots").lower()):
            raise Failure(said)
        if "Error: no drive" not in (said := guest.qmp.human("delvm one")):
            raise Failure(said)
        guest.end()
    check_disks(folder)
    raw = folder / "raw.img"
    raw.write_bytes(bytes(1 << 20))
    with Guest(args, folder, "raw", "-drive", f"file={raw},format=raw,if=virtio,id=plain") as guest:
        if "'plain'" not in (said := guest.qmp.human("savevm two")):
            raise Failure(f"a raw disk is not named: {said}")
        guest.end()


def damage(args, folder: Path):
    make_disks(folder)
    with Guest(args, folder, "first") as guest:
        guest.session.wait_for("calque# ")
        guest.shell("echo before >/tmp/word; echo do''ne", "^done")
        guest.human("savevm good")
        guest.shell("echo after >/tmp/word; cat /tmp/word", "^after")
        guest.end()
    disk = folder / "a.qcow2"
    whole = disk.read_bytes()
    starts = [i for i in range(0, len(whole), 65536) if whole[i:i + 13] == b"CALQUE-STATE-"]
    if len(starts) != 1:
        raise Failure(f"the state begins at {starts}")
    for name, at in (("magic", 3), ("version", 14), ("header", 20), ("machine", 60), ("ram", 200_000)):
        changed = bytearray(whole)
        changed[starts[0] + at] ^= 0x20
        disk.write_bytes(changed)
        with Guest(args, folder, name) as guest:
            guest.session.wait_for("calque# ")
            guest.shell(f"echo {name} >/tmp/word; cat /tmp/word", f"^{name}")
            said = guest.qmp.human("loadvm good")
            if not said.startswith("Error: ") or "state" not in said:
                guest.session.fail(f"{name}: {said!r}")
            guest.shell("cat /tmp/word", f"^{name}")
            guest.end()
    disk.write_bytes(whole)
    for options, words in ((("-m", "192M"), "-m"), (("-device", "isa-debug-exit"), "-device")):
        with Guest(args, folder, "other", *options) as guest:
            guest.session.wait_for("calque# ")
            said = guest.qmp.human("loadvm good")
            if f"start with the same {words}" not in said:
                guest.session.fail(f"{options}: {said!r}")
            guest.shell("echo still''here", "^stillhere")
            guest.end()
    check_disks(folder)


def hand_over(args, folder: Path, source: Guest, number: int, out: str, into: str) -> Guest:
    """The machine of one guest in another process. Sockets are waited at first; files are written first."""
    listens = into.startswith(("unix:", "tcp:"))
    if not listens:
        source.qmp.ask("migrate", uri=out)
        source.migration("completed")
    target = Guest(args, folder, str(number), "-incoming", into)
    target.__enter__()
    if listens:
        source.qmp.ask("migrate", uri=out)
        source.migration("completed")
    if source.qmp.ask("query-status")["status"] != "postmigrate":
        source.session.fail("the source goes on")
    deadline = time.monotonic() + PATIENCE
    while target.qmp.ask("query-status")["status"] != "running":
        if time.monotonic() > deadline:
            target.session.fail("the machine does not go on")
        time.sleep(0.05)
    source.end()
    return target


def migrate(args, folder: Path):
    make_disks(folder)
    contents = random.Random(3).randbytes(1 << 20)
    host = Host(contents)
    guest = Guest(args, folder, "0").__enter__()
    start_load(args, guest, host, contents)
    guest.qmp.ask("migrate-set-parameters", downtime_limit=2000, max_bandwidth=0)
    # Nobody there; a command that fails; one that never reads, which is cancelled: the guest goes on each time.
    guest.qmp.ask("migrate", uri=f"unix:{folder}/nobody")
    if "nobody" not in (info := guest.migration("failed")).get("error-desc", ""):
        raise Failure(str(info))
    guest.qmp.ask("migrate", uri="exec:cat >/dev/null; exit 3")
    guest.migration("failed")
    guest.goes_on()
    guest.qmp.ask("migrate", uri="exec:sleep 1000")
    guest.migration("active")
    guest.goes_on()
    guest.qmp.ask("migrate_cancel")
    guest.migration("cancelled")
    guest.goes_on()
    guest.qmp.refused("migrate", "GenericError", "no place", uri="nonsense")
    ways = [(f"unix:{folder}/way", f"unix:{folder}/way"), (f"exec:gzip -1 >{folder}/state.gz", f"exec:gunzip <{folder}/state.gz"),
            (f"file:{folder}/state", f"file:{folder}/state")]
    for number in range(args.times):
        guest = hand_over(args, folder, guest, number + 1, *ways[number % len(ways)])
        guest.qmp.ask("migrate-set-parameters", downtime_limit=2000, max_bandwidth=0)
        guest.goes_on()
    guest.end()
    guest.__exit__()
    check_disks(folder)
    # A state that was cut ends the one who waits for it, in a sentence.
    state = folder / "state"
    state.write_bytes(state.read_bytes()[:-100])
    with Guest(args, folder, "cut", "-incoming", "defer") as guest:
        guest.qmp.ask("migrate-incoming", uri=f"file:{state}")
        guest.session.wait_for("the machine that was to come has not: the saved state ends too early")
        guest.session.expect_end(1)
    check_disks(folder)
    host.close()


TESTS = {"vm": vm, "jobs": jobs, "damage": damage, "migrate": migrate}


def main(folder: Path):
    TESTS[ARGS.test](ARGS, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=TESTS)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--compile", action="store_true", help="the guest compiles with gcc instead of counting")
    parser.add_argument("--memory", default="256M")
    parser.add_argument("--smp", default="2")
    ARGS = parser.parse_args()
    sys.exit(run_test_in_folder("snapshot", main))
