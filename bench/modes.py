#!/usr/bin/python3
"""Speed of 16- and 32-bit code: the programs of tests/asm/runtime/programs.inc, in each mode, by each emulator.

    modes.py --calque FILE --objects BUILD/tests/asm [--rounds N] [--modes NAME,...] [--emulators NAME,...]

Prints seconds of CPU time, and whether all emulators agree about what the programs compute. `--objects` is where the build
has left the runtime of the assembly suites (ninja tests/asm/programs.elf).
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SUITES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "asm"

# Name: bits of the suite, what main does, and the program.
FLAT = "    mov ebx, SCRATCH\n    call program32\n"
SEGMENTS = """    SET_SEGMENT_AT SPARE, program32, (program32_end - program32 + 15), ACCESS_CODE, FLAGS_32
    SET_SEGMENT (SPARE + 8), 0x40000, 0xFFFF, ACCESS_DATA, FLAGS_32
    TRY
    push SPARE + 8
    pop ds
    push SPARE + 8
    pop es
    xor ebx, ebx
    call SPARE:(program32_far - program32)
    END_TRY
"""
REAL = "    TRY\n    REAL 0x4000\n    mov esp, 0xFFF0\n    call program16\n    END_TRY16\n"
VM86 = """    TRY
    VM86 FLAG_IOPL
    mov ax, 0x4000
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0xFFF0
    call program16
    END_TRY16
"""
PROGRAM32 = "PROGRAM32 program32\nprogram32_far:\n    call program32\n    retf\nprogram32_end:\n"
PROGRAM16 = '    .pushsection .low16, "ax"\n    PROGRAM16 program16\n    .popsection\n    MODE 32\n'
MODES = {
    "flat32": (32, FLAT, PROGRAM32),
    "segments32": (32, SEGMENTS, PROGRAM32),
    "compatible32": (64, f"    TRY\n    COMPATIBLE\n{FLAT}    END_COMPATIBLE\n", PROGRAM32),
    "real16": (32, REAL, PROGRAM16),
    "vm86": (32, VM86, PROGRAM16),
}


def build(name: str, rounds: int, objects: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    bits, body, program = MODES[name]
    report = "rax" if bits == 64 else "eax"
    source, image = folder / f"{name}.S", folder / f"{name}.elf"
    source.write_text(
        f'.include "runtime.inc"\nSUITE "{name}", {bits}\n.include "programs.inc"\n.text\nmain:\n{body}'
        f'    CHECK "sum", {report}, 0\n    ret\n{program}'
    )
    runtime = SUITES / "runtime"
    assemble = ["as", "--64", "-mmnemonic=intel", "-I", runtime, "--defsym", f"ROUNDS={rounds}"]
    subprocess.run([*assemble, "-o", folder / "main.o", source], check=True)
    parts = [objects / f"{part}.o" for part in ("boot", "events", "report")]
    link = ["ld", "--no-warn-rwx-segments", "-T", runtime / "image.ld", "-o", folder / "image64"]
    subprocess.run([*link, *parts, folder / "main.o"], check=True)
    subprocess.run(["objcopy", "-O", "elf32-i386", folder / "image64", image], check=True)
    return image


def measure(command: list, image: pathlib.Path) -> tuple:
    machine = ["-m", "64M", "-display", "none", "-serial", "none", "-monitor", "none", "-no-reboot"]
    machine += ["-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4", "-kernel", image]
    before = os.times()
    done = subprocess.run([*command, *machine], stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    after = os.times()
    found = re.search(r"^FAIL .*got (\w+)", done.stdout.decode("utf-8", "replace"), re.MULTILINE)
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, found[1] if found else "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calque", required=True)
    parser.add_argument("--objects", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=20000)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--emulators", default="calque,qemu-max")
    options = parser.parse_args()
    commands = {
        "calque": [options.calque, "-accel", "jit"],
        "interpreter": [options.calque, "-accel", "interp"],
        "qemu-max": ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"],
    }
    agreed = True
    for name in options.modes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            image = build(name, options.rounds, options.objects.resolve(), pathlib.Path(folder))
            results = {emulator: measure(commands[emulator], image) for emulator in options.emulators.split(",")}
        sums = {value for _, value in results.values()}
        agreed &= len(sums) == 1 and "nothing" not in sums
        line = "".join(f"  {emulator} {seconds:6.2f} s" for emulator, (seconds, _) in results.items())
        print(f"{name:14}{line}  {'' if len(sums) == 1 else sums}", flush=True)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
