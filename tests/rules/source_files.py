"""The C++ files of the project, as paths relative to its root."""

from pathlib import Path

ROOMS = ("base", "mmu", "cpu", "jit", "devices", "firmware", "frontend", "tests", "bench")
SUFFIXES = {".h", ".cpp", ".inc"}


def source_files(root: Path) -> list[Path]:
    found = []
    for room in ROOMS:
        found += [p.relative_to(root) for p in (root / room).rglob("*") if p.suffix in SUFFIXES and p.is_file()]
    return sorted(found)
