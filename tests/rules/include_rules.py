#!/usr/bin/python3
"""Checks every #include, and a few words, against the arrows between the rooms (docs/architecture.md).

    include_rules.py <project root>

Prints one line per broken rule, with the file and line, and ends with status 1 when there is any.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from source_files import source_files  # noqa: E402

# What a part of the tree may include besides itself. The longest matching prefix of the including file decides.
ALLOWED = {
    "base": [],
    "mmu": ["base"],
    "cpu": ["base", "mmu"],
    "jit": ["base", "mmu", "cpu"],
    "devices": ["base"],
    "firmware": ["base"],
    "frontend/backends": ["base", "devices"],
    "frontend/machine": ["base", "mmu", "cpu", "jit", "devices", "firmware", "frontend/backends"],
    "frontend/console": ["base", "devices", "frontend/machine", "frontend/backends"],
    "frontend/monitor": ["base", "devices", "frontend/machine", "frontend/backends"],
    "frontend/qmp": ["base", "devices", "frontend/machine", "frontend/backends", "frontend/monitor"],
    "frontend/gdb": ["base", "devices", "frontend/machine", "frontend/monitor", "frontend/backends"],
    "frontend/cli": ["base", "devices", "firmware", "frontend"],
    "frontend/tools": ["base", "frontend/backends"],
    "tests": ["base", "mmu", "cpu", "jit", "devices", "firmware", "frontend", "tests", "bench"],
    "bench": ["base", "mmu", "cpu", "jit", "devices", "firmware", "frontend"],
}

# Arrows inside a room: prefix of the file -> prefixes that it must not include.
FORBIDDEN_INSIDE = {"jit/ir": ["jit/translate", "jit/emit"], "jit/translate": ["jit/emit"]}

# Third-party and system headers that belong to certain folders alone.
CONFINED = [
    (r"asmjit(/|\.h)", ["jit/emit", "jit/cache"]),
    (r"(?i)zydis(/|\.h)|(?i:zycore)/", ["cpu/decode"]),
    (r"(?i)capstone(/|\.h)", ["jit/debug"]),
    (r"(?i)SDL2?(_\w+)?(/|\.h)", ["frontend/console"]),
    (r"(slirp/)?libslirp|libnbd|png\.h", ["frontend/backends"]),
]

INTRINSICS = r"(\w*intrin|arm_neon|arm_acle|cpuid|fenv|cfenv)(\.h)?$"
# Headers that reach the host: files, sockets, clocks, processes.
HOST = (
    r"sys/.*|unistd\.h|fcntl\.h|time\.h|ctime|chrono|fstream|filesystem|c?stdio(\.h)?|netinet/.*|arpa/.*|netdb\.h|poll\.h"
    r"|termios\.h|pthread\.h|signal\.h|csignal|spawn\.h|dirent\.h"
)

# Per folder: headers that it must not include, and why.
BANNED_HEADERS = {
    "cpu": [(INTRINSICS, "guest results come from portable code, not from the host's units")],
    "mmu": [(INTRINSICS, "guest results come from portable code, not from the host's units")],
    "devices": [(HOST, "a device never touches the host: files, sockets and clocks come through its interfaces")],
}

# Words that would tie a room to one host; and what would compute in the x87 unit, where the guest's registers may be.
ASSEMBLY = (r"\b(asm|__asm__|__asm)\b\s*(volatile|\(|goto)", "inline assembly")
X87 = (r"\blong\s+double\b", "long double uses the x87 unit, which is the guest's while translated code runs")
BANNED_WORDS = {
    "cpu": [(r"\blong\s+double\b", "long double differs between hosts"), ASSEMBLY],
    "mmu": [(r"\blong\s+double\b", "long double differs between hosts"), ASSEMBLY],
    **{room: [X87] for room in ("base", "jit", "devices", "firmware", "frontend")},
}

# Folders of devices/ that are shared by all devices; any other folder there is one device (or one family of devices).
SHARED_DEVICE_FOLDERS = {"ata", "bus", "input", "irq", "monitor", "pci", "scsi", "virtio", "net", "backends", "interfaces"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def part_of(path: str, parts) -> str | None:
    """The longest of the given prefixes that the path is in."""
    inside = [p for p in parts if path == p or path.startswith(p + "/")]
    return max(inside, key=len, default=None)


def device_of(path: str) -> str | None:
    """The device that a path under devices/ belongs to, None for what all devices share."""
    pieces = path.split("/")
    if pieces[0] != "devices" or len(pieces) < 3 or pieces[1] in SHARED_DEVICE_FOLDERS:
        return None
    return pieces[1]


def strip_comments(text: str) -> str:
    """Blanks comments and string contents, keeping line numbers; include lines keep their quotes."""
    def blank(match):
        piece = match.group(0)
        return re.sub(r"[^\n]", " ", piece) if piece.startswith("/") else piece

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def check_project_include(path: str, target: str) -> str | None:
    room, wanted = part_of(path, ALLOWED), part_of(target, ALLOWED)
    if wanted is None:
        return f'"{target}" is not a path from the project\'s root'
    if wanted != room and part_of(target, ALLOWED[room]) is None:
        return f"{room} must not include {wanted}"
    for prefix, banned in FORBIDDEN_INSIDE.items():
        if part_of(path, [prefix]) and part_of(target, banned):
            return f"{prefix} must not include {part_of(target, banned)}"
    if room == "devices":
        mine, other = device_of(path), device_of(target)
        if other is not None and other != mine:
            return f"{'a shared part' if mine is None else 'device ' + mine} must not include device {other}"
    return None


def check_system_include(path: str, target: str) -> str | None:
    for pattern, folders in CONFINED:
        if re.match(pattern, target) and part_of(path, folders) is None:
            return f"<{target}> belongs to {' and '.join(folders)} alone"
    for folder, rules in BANNED_HEADERS.items():
        for pattern, why in rules:
            if part_of(path, [folder]) and re.fullmatch(pattern, target):
                return f"{folder} must not include <{target}>: {why}"
    return None


def check_text(path: str, text: str) -> list[str]:
    """The broken rules in one file, as "path:line: sentence"."""
    problems = []
    in_tests = path.startswith(("tests/", "bench/"))
    for number, line in enumerate(strip_comments(text).splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            kind, target = match.groups()
            # Tests may use any header, yet still by its path from the root.
            problem = check_project_include(path, target) if kind == '"' else None if in_tests else check_system_include(path, target)
            if problem:
                problems.append(f"{path}:{number}: {problem}")
            continue
        for folder, rules in BANNED_WORDS.items():
            for pattern, why in rules:
                if part_of(path, [folder]) and re.search(pattern, re.sub(r'"(?:\\.|[^"\\])*"', '""', line)):
                    problems.append(f"{path}:{number}: {folder} must not use this: {why}")
    return problems


def main() -> int:
    root = Path(sys.argv[1])
    files = source_files(root)
    problems = []
    for path in files:
        problems += check_text(path.as_posix(), (root / path).read_text(encoding="utf-8"))
    print("\n".join(problems))
    print(f"{len(files)} files read, {len(problems)} broken rules")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
