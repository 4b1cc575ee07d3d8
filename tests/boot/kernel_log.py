"""Compares the warnings and errors in two kernel logs, whatever their times, addresses and numbers."""

import re

# printk levels: 0 emergency .. 3 error, 4 warning.
WARNING = 4

# What a kernel says when the machine under the emulator gave it no time at a bad moment. QEMU's guests say it too, now
# and then: a boot that shows only these is repeated.
TIMING = re.compile(
    r"tsc: Unable to calibrate against PIT|Unstable clock detected|If you want to keep using the local clock|trace_clock=local"
    r"|on the kernel command line|timekeeping watchdog|clocksource: .*(skew|wd_nsec|cs_nsec|unstable)|TSC found unstable"
    r"|sched_clock: Marking unstable|hrtimer: interrupt took|rcu: .*(stall|starved)|Clocksource tsc unstable"
)

LINE = re.compile(r"^<(\d+)>\[ *\d+\.\d+\] ?(.*)$")


def messages(log: str) -> list[tuple[int, str]]:
    """(level, text) of each message of `dmesg -r`'s output; a line without a prefix continues the one before."""
    found = []
    for line in log.splitlines():
        match = LINE.match(line)
        if match:
            # The facility is in the bits above the level.
            found.append((int(match.group(1)) & 7, match.group(2).strip()))
        elif found and line.strip():
            found.append((found[-1][0], line.strip()))
    return found


def normalise(text: str) -> str:
    text = re.sub(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b", "#", text)
    return re.sub(r"\d+(\.\d+)?", "#", text)


def new_warnings(log: str, reference: str) -> list[str]:
    """The warnings and errors of `log` that `reference` has not, at any level, in the log's own words."""
    known = {normalise(text) for _, text in messages(reference)}
    return [f"<{level}> {text}" for level, text in messages(log) if level <= WARNING and normalise(text) not in known]


def only_timing(warnings: list[str]) -> bool:
    return all(TIMING.search(text) for text in warnings)


def between(output: str, begin: str, end: str) -> str | None:
    match = re.search(re.escape(begin) + r"\n(.*?)" + re.escape(end), output, re.S)
    return match.group(1) if match else None
