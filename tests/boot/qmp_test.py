#!/usr/bin/python3
"""A program drives a guest's whole life by the machine protocol; others on the same sockets do their worst.

    qmp_test.py --emulator "PATH [options]" --test NAME
"""

import argparse
import json
import re
import shlex
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from guest_session import PATIENCE, Failure, Session, guest_file, run_test  # noqa: E402

PROMPT = r"^\S*# "


class Qmp:
    """A client: greeted, its capabilities negotiated."""

    def __init__(self, path: Path, negotiate: bool = True):
        deadline = time.monotonic() + PATIENCE
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Failure(f"nobody listens at {path}")
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE)
        self.lines = self.socket.makefile("rb")
        self.events = []
        self.greeting = self.read()
        if negotiate:
            self.ask("qmp_capabilities")

    def close(self):
        self.lines.close()  # It holds the socket open too.
        self.socket.close()

    def send(self, text: str):
        self.socket.sendall(text.encode())

    def read(self) -> dict:
        line = self.lines.readline()
        if not line:
            raise Failure("the emulator closed the connection")
        return json.loads(line)

    def reply(self) -> dict:
        """The next message that is no event."""
        while True:
            message = self.read()
            if "event" not in message:
                return message
            self.events.append(message)

    def raw(self, command: str, **arguments) -> dict:
        message = {"execute": command, "id": command}
        if arguments:
            message["arguments"] = {name.rstrip("_").replace("_", "-"): value for name, value in arguments.items()}
        self.send(json.dumps(message) + "\n")
        reply = self.reply()
        if reply.get("id") != command:
            raise Failure(f"{command} is answered by {reply}")
        return reply

    def ask(self, command: str, **arguments):
        reply = self.raw(command, **arguments)
        if "return" not in reply:
            raise Failure(f"{command}: {reply['error']}")
        return reply["return"]

    def refused(self, command: str, error_class: str, words: str, **arguments):
        error = self.raw(command, **arguments).get("error", {})
        if error.get("class") != error_class or not re.search(words, error["desc"]):
            raise Failure(f"{command} {arguments}: {error}, not a {error_class} with {words!r}")

    def wait_for(self, name: str) -> dict:
        """The event's data; those before it are forgotten."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    if abs(event["timestamp"]["seconds"] - time.time()) > PATIENCE:
                        raise Failure(f"{event} is of another time")
                    return event.get("data", {})
            message = self.read()
            if "event" in message:
                self.events.append(message)

    def human(self, line: str) -> str:
        return self.ask("human-monitor-command", command_line=line)


class SchemaCheck:
    """Whether what comes back is what the schema says."""

    def __init__(self, schema: list):
        self.entries = {entry["name"]: entry for entry in schema}

    def check(self, name: str, value, where: str):
        entry = self.entries[name]
        kind = entry["meta-type"]
        good = True
        if kind == "builtin":
            types = {"string": str, "int": int, "number": (int, float), "boolean": bool, "null": type(None), "value": object}
            good = isinstance(value, types[entry["json-type"]])
        elif kind == "enum":
            good = value in entry["values"]
        elif kind == "array":
            for element in value:
                self.check(entry["element-type"], element, where + "[]")
        elif kind == "object":
            members = {member["name"]: member for member in entry["members"]}
            good = set(value) <= set(members) and all(m in value for m in members if "default" not in members[m])
            if good:
                for member in value:
                    self.check(members[member]["type"], value[member], f"{where}.{member}")
        if not good:
            raise Failure(f"{where}: {value} is not what the schema says: {entry}")


class Guest:
    """The emulator with its serial console on the terminal and two places for clients."""

    def __init__(self, args, folder: Path, *options):
        self.paths = [folder / "first", folder / "second"]
        command = shlex.split(args.emulator) + ["-display", "none", "-serial", "stdio", "-monitor", "none", "-m", "512M", "-S", "-no-shutdown",
                                                *[str(option) for option in options]]
        for path in self.paths:
            command += ["-qmp", f"unix:{path},server=on,wait=off"]
        self.session = Session(command)

    def __enter__(self):
        return self.session

    def __exit__(self, *problem):
        self.session.__exit__(*problem)


def linux(folder: Path) -> list:
    """With a BIOS, so that there is a text mode."""
    return ["-bios", "bios-256k.bin", "-kernel", guest_file("vmlinuz"), "-initrd", guest_file("screen.cpio.gz"),
            "-append", "console=tty0 console=ttyS0 quiet"]


def shell(session: Session, line: str, pattern: str):
    session.type(line + "\r")
    session.wait_for(pattern)


def type_keys(client: Qmp, text: str):
    names = {" ": "spc", "\n": "ret", "/": "slash"}
    for character in text:
        client.ask("send-key", keys=[{"type": "qcode", "data": names.get(character, character)}], hold_time=10)
        time.sleep(0.05)  # As fingers do; a keyboard holds 16 codes.


def stands(client: Qmp) -> bool:
    """Whether the registers of a guest that computes stay as they are."""
    seen = set()
    for _ in range(5):
        seen.add(client.human("info registers"))
        time.sleep(0.1)
    return len(seen) == 1


def queries(client: Qmp):
    """Every command that asks and needs no arguments gives what the schema says, or refuses by name."""
    schema = client.ask("query-qmp-schema")
    check = SchemaCheck(schema)
    commands = {command["name"] for command in client.ask("query-commands")}
    described = {entry["name"] for entry in schema if entry["meta-type"] == "command"}
    if commands != described:
        raise Failure(f"the schema has other commands: {commands ^ described}")
    refusing = {"query-hotpluggable-cpus"}
    for name in sorted(commands):
        entry = check.entries[name]
        needed = [member for member in check.entries[entry["arg-type"]]["members"] if "default" not in member]
        if not name.startswith("query-") or needed:
            continue
        reply = client.raw(name)
        if name in refusing:
            if "error" not in reply:
                raise Failure(f"{name}: {reply}")
            continue
        if "return" not in reply:
            raise Failure(f"{name}: {reply}")
        check.check(entry["ret-type"], reply["return"], name)


def pictures(client: Qmp, folder: Path):
    png, ppm = folder / "screen.png", folder / "screen.ppm"
    client.ask("screendump", filename=str(png), format="png")
    client.ask("screendump", filename=str(ppm))
    if not png.read_bytes().startswith(b"\x89PNG\r\n"):
        raise Failure("the PNG is none")
    magic, width, height, _, pixels = ppm.read_bytes().split(maxsplit=4)
    if magic != b"P6" or len(pixels) != int(width) * int(height) * 3 or len(set(pixels)) < 2:
        raise Failure("the PPM shows nothing")


def life(args, folder: Path):
    """From -S to the guest's own power-off: every step by a command, every change heard of by an event."""
    disc = folder / "disc.iso"
    disc.write_bytes(b"\0" * 65536)
    with Guest(args, folder, *linux(folder), "-device", "virtio-balloon-pci,id=balloon", "-drive", "if=ide,index=2,media=cdrom,id=cd",
               "-name", "test") as session:
        client, other = Qmp(Path(folder / "first")), Qmp(Path(folder / "second"))
        if client.greeting["QMP"]["capabilities"] != [] or "Calque" not in client.greeting["QMP"]["version"]["package"]:
            raise Failure(f"greeted by {client.greeting}")
        if client.ask("query-status") != {"status": "prelaunch", "running": False, "singlestep": False}:
            raise Failure("it does not wait")
        client.ask("cont")
        for one in (client, other):
            one.wait_for("RESUME")
        session.wait_for("CALQUE-GUEST-READY")
        session.wait_for(PROMPT)
        queries(client)
        if client.ask("query-name") != {"name": "test"} or len(client.ask("query-cpus-fast")) != 1:
            raise Failure("it is another machine")

        # Stopped, the guest truly stands; then it goes on.
        shell(session, "while :; do :; done &", PROMPT)
        if stands(client):
            raise Failure("a busy guest's registers stay as they are")
        client.ask("stop")
        other.wait_for("STOP")
        if client.ask("query-status")["status"] != "paused" or not stands(client):
            raise Failure("a stopped guest goes on")
        client.ask("cont")
        other.wait_for("RESUME")
        shell(session, "kill $!; echo and on", "^and on")

        pictures(client, folder)
        type_keys(client, "touch /tmp/keyed\n")
        shell(session, "while ! ls /tmp/keyed; do sleep 1; done", "^/tmp/keyed")
        client.refused("send-key", "GenericError", "no key 'nokey'", keys=[{"type": "qcode", "data": "nokey"}])
        client.ask("input-send-event", events=[{"type": "rel", "data": {"axis": "x", "value": 5}}])

        memory = folder / "memory"
        client.ask("pmemsave", val=0xF0000, size=65536, filename=str(memory))
        if memory.stat().st_size != 65536 or b"SeaBIOS" not in memory.read_bytes():
            raise Failure("the BIOS is not in the memory that was saved")
        client.refused("pmemsave", "GenericError", "no memory at 0x[0-9a-f]+", val=0x100000000, size=4096, filename=str(memory))

        client.ask("blockdev-change-medium", id="cd", filename=str(disc), format="raw")
        if client.wait_for("DEVICE_TRAY_MOVED")["tray-open"] is not False or str(disc) not in json.dumps(client.ask("query-block")):
            raise Failure("the disc is not in the drive")
        client.ask("eject", id="cd", force=True)
        client.refused("eject", "DeviceNotFound", "no drive 'none'", id="none")
        client.refused("device_add", "GenericError", "needs netdev=", driver="virtio-net-pci", id="net9", mac="52:54:00:12:34:56")
        client.refused("device_del", "DeviceNotFound", "no device 'net9'", id="net9")

        shell(session, "date -s 2031-02-03; hwclock -u -w; echo s''et", "^set")
        if client.wait_for("RTC_CHANGE")["offset"] == 0:
            raise Failure("the guest's clock is not ahead")
        client.ask("balloon", value=256 << 20)
        while client.wait_for("BALLOON_CHANGE")["actual"] != 256 << 20:
            pass

        # The guest's own way out, and the way back.
        shell(session, "while ! ls -l /proc/[0-9]*/fd | grep input/event; do sleep 1; done", "dev/input/event")
        client.ask("system_powerdown")
        client.wait_for("POWERDOWN")
        if client.wait_for("SHUTDOWN") != {"guest": True, "reason": "guest-shutdown"}:
            raise Failure("somebody else ended it")
        client.wait_for("STOP")
        if client.ask("query-status")["status"] != "shutdown":
            raise Failure("it is not off")
        client.refused("cont", "GenericError", "powered off")
        client.ask("system_reset")
        if client.wait_for("RESET") != {"guest": False, "reason": "host-qmp-system-reset"}:
            raise Failure("somebody else reset it")
        client.ask("cont")
        session.wait_for("CALQUE-GUEST-READY")
        client.ask("quit")
        if client.wait_for("SHUTDOWN") != {"guest": False, "reason": "host-qmp-quit"}:
            raise Failure("quit is told as another end")
        session.expect_end(0)


def resident(session: Session) -> int:
    """MiB that the process has in memory."""
    status = Path(f"/proc/{session.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) // 1024


def abuse(args, folder: Path):
    """Clients that talk nonsense, never read, or leave in mid-sentence: the guest and the other client notice nothing."""
    with Guest(args, folder, "-kernel", guest_file("vmlinuz-cloud"), "-initrd", guest_file("mini.cpio.gz"), "-append", "console=ttyS0 quiet") as session:
        client = Qmp(folder / "second")
        client.ask("cont")
        session.wait_for("CALQUE-GUEST-READY")
        session.wait_for(PROMPT)
        before = resident(session)

        bad = Qmp(folder / "first", negotiate=False)
        for garbage in ("hello\n", "\xff\xfe\x00\n", "[" * 5000 + "\n", '{"execute": 1}', '{"execute": "stop", "execute": "stop"}\n',
                        '{"execute": "stop"}', '{"a": "' + "x" * (2 << 20) + '"}\n'):
            bad.send(garbage)
            if "error" not in bad.reply():
                raise Failure(f"{garbage[:40]!r} is no error")
        bad.send('{"execute": "qmp_capab')
        bad.close()  # In mid-sentence.

        # One that sends and never reads: it is not read from any more, whatever it does.
        deaf = Qmp(folder / "first")
        deaf.socket.setblocking(False)
        sent, quiet_since = 0, time.monotonic()
        request = b'{"execute": "query-qmp-schema"}\n' * 100
        while time.monotonic() - quiet_since < 2 and sent < 64 << 20:
            try:
                sent += deaf.socket.send(request)
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.05)
        if sent >= 64 << 20:
            raise Failure("a client that never reads may send without end")
        if resident(session) - before > 256:
            raise Failure(f"{resident(session) - before} MiB are kept for a client that never reads")

        shell(session, "echo st''ill here", "^still here")
        if not client.ask("query-status")["running"]:
            raise Failure("the guest was stopped")
        deaf.close()
        if not Qmp(folder / "first").ask("query-status")["running"]:
            raise Failure("the next client is not served")
        client.ask("quit")
        session.expect_end(0)


TESTS = {test.__name__: test for test in (life, abuse)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--test", required=True, choices=TESTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        TESTS[args.test](args, Path(folder))


if __name__ == "__main__":
    sys.exit(run_test(main))
