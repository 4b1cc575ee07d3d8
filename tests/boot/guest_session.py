"""Runs an emulator with a guest on its serial console: waits for text, types, waits for the end.

Bounds are generous and only there to end a hung guest: no test's result depends on how fast the machine is.
"""

import ctypes
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import tty
from pathlib import Path

TAIL_LINES = 60
# What one step of a guest may take, in seconds, on the slowest machine that runs the tests.
PATIENCE = float(os.environ.get("CALQUE_TEST_PATIENCE", "600"))


def cache() -> Path:
    given = os.environ.get("CALQUE_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "calque"


def guest_file(name: str) -> Path:
    """A kernel or initramfs that scripts/guest.sh made."""
    path = cache() / "guest" / name
    if not path.exists():
        sys.exit(f"{path} is missing; scripts/guest.sh all makes it")
    return path

ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[@-~]|[^\[])")
CLEAR_SCREEN = re.compile(r"\x1b\[\d*J")
UNFINISHED_ESCAPE = re.compile(r"(\x1b(\[[0-9;?]*)?)?$")


PR_SET_PDEATHSIG = 1


def end_with_parent():
    """In the emulator's process before it starts: a test that is killed leaves none behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Failure(Exception):
    """A test's verdict, with what the guest printed last."""


PANIC = "Kernel panic - not syncing"


class Session:
    """One run of an emulator, its standard input and output on a pseudo-terminal (or a pipe for input from nowhere)."""

    def __init__(self, command: list, terminal: bool = True, quiet: bool = False):
        self.command = [str(word) for word in command]
        self.output = ""
        self.quiet = quiet
        self.searched = 0
        self.pending = ""  # The start of an escape sequence whose rest has not come yet.
        print("+ " + " ".join(self.command), flush=True)
        ours, theirs = pty.openpty()
        tty.setraw(theirs)  # No echo and no line editing on our side: what comes back comes from the guest.
        self.terminal = ours
        self.process = subprocess.Popen(
            self.command,
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.terminal)

    def _read(self, seconds: float) -> bool:
        """Takes what has come, waiting at most that long. False when the other end is closed."""
        ready, _, _ = select.select([self.terminal], [], [], max(seconds, 0))
        if not ready:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # EIO: the last holder of the other end is gone.
            return False
        text = self.pending + data.decode("utf-8", "replace").replace("\r", "")
        # Firmware and shells colour and move; a sequence can be cut in two by the read.
        cut = len(text) - len(UNFINISHED_ESCAPE.search(text).group(0))
        text, self.pending = ESCAPE.sub("", CLEAR_SCREEN.sub("\n", text[:cut])), text[cut:]
        self.output += text
        if not self.quiet:
            sys.stdout.write(text)
            sys.stdout.flush()
        return bool(data)

    def fail(self, sentence: str):
        raise Failure(f"{sentence}\n--- the last {TAIL_LINES} lines ---\n" + "\n".join(self.output.splitlines()[-TAIL_LINES:]))

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> re.Match:
        """Waits until the pattern appears in what was printed since the last match, and returns the match."""
        deadline = time.monotonic() + seconds
        expression = re.compile(pattern, re.M)
        open_end = True
        while True:
            match = expression.search(self.output, self.searched)
            if match:
                self.searched = match.end()
                return match
            if PANIC in self.output:
                self._read(2.0)  # The rest of the message.
                self.fail("the guest's kernel panicked")
            if not open_end:
                self.process.wait()
                self.fail(f"the emulator ended with status {self.process.returncode} before printing {pattern!r}")
            if time.monotonic() > deadline:
                self.fail(f"no {pattern!r} within {seconds:.0f} s")
            open_end = self._read(min(1.0, deadline - time.monotonic()))

    def type(self, text: str):
        os.write(self.terminal, text.encode())

    def wait_end(self, seconds: float = PATIENCE) -> int:
        """Reads until the emulator ends and returns its status."""
        deadline = time.monotonic() + seconds
        open_end = True
        while True:
            if open_end:
                open_end = self._read(1.0)
            if self.process.poll() is not None:
                while open_end and select.select([self.terminal], [], [], 0)[0]:
                    open_end = self._read(0)
                return self.process.returncode
            if not open_end:
                time.sleep(0.05)
            if time.monotonic() > deadline:
                self.fail(f"the emulator did not end within {seconds:.0f} s")

    def expect_end(self, status: int, seconds: float = PATIENCE):
        found = self.wait_end(seconds)
        if found != status:
            self.fail(f"the emulator ended with status {found}, not {status}")


def run_test(main) -> int:
    """Runs a test's main function and prints its verdict."""
    try:
        main()
    except Failure as failure:
        print(f"\nFAILED: {failure}", flush=True)
        return 1
    print("\nPASSED", flush=True)
    return 0


def run_test_in_folder(name: str, main) -> int:
    """The same for one that takes a folder, which goes when the test ends. /var/tmp is on a disk, as O_DIRECT needs."""
    with tempfile.TemporaryDirectory(prefix=f"calque-{name}-", dir="/var/tmp") as place:
        return run_test(lambda: main(Path(place)))
