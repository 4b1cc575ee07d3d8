"""Tiny guests for tests of the program itself: multiboot 1 kernels of a few hand-assembled instructions."""

import struct

LOAD = 0x100000


def multiboot(code: bytes) -> bytes:
    """A 32-bit multiboot image that is loaded at 1 MiB and starts with `code`, in flat protected mode."""
    header_size = 32
    flags = 1 << 16  # The addresses below are used; there is no ELF header.
    magic = 0x1BADB002
    entry = LOAD + header_size
    header = struct.pack("<IIiIIIII", magic, flags, -(magic + flags), LOAD, LOAD, 0, 0, entry)
    return header + code


def out_byte(port: int, value: int) -> bytes:
    """mov dx, port; mov al, value; out dx, al"""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def say(text: str, port: int = 0x3F8) -> bytes:
    return b"".join(out_byte(port, ord(c)) for c in text)


# Load an IDT of no length, then raise #UD: fault, double fault, triple fault.
TRIPLE_FAULT = b"\x6a\x00\x6a\x00" + b"\x0f\x01\x1c\x24" + b"\x0f\x0b"
HALT = b"\xfa\xf4\xeb\xfd"  # cli; again: hlt; jmp again
SPIN = b"\xeb\xfe"
ECHO = out_byte(0x3FB, 0x03) + say("ready") + (  # Eight-bit characters, a greeting; waits for a byte on COM1 and sends it back, for ever.
    b"\x66\xba\xfd\x03"  # again: mov dx, 3fdh
    b"\xec\xa8\x01\x74\xf7"  # in al, dx; test al, 1; jz again
    b"\x66\xba\xf8\x03\xec\xee"  # mov dx, 3f8h; in al, dx; out dx, al
    b"\xeb\xef"  # jmp again
)
# ACPI power-off on this board: PM1a_CNT at 604h (PMBA 600h plus 4), SLP_TYP 0, SLP_EN.
POWER_OFF = b"\x66\xba\x04\x06\x66\xb8\x00\x20\x66\xef" + HALT


def unless_ff(width: int, load: bytes, then: bytes) -> bytes:
    """Runs `load`, which sets eax; runs `then` when eax is not all ones in `width` bytes."""
    mask = (1 << 8 * width) - 1
    compare = b"\x25" + struct.pack("<I", mask) + b"\x3d" + struct.pack("<I", mask)
    return load + compare + b"\x74" + bytes([len(then)]) + then
