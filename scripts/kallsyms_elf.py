#!/usr/bin/python3
"""Makes a file of symbols for gdb from a guest kernel's own list.

    kallsyms_elf.py /proc/kallsyms kernel.sym       (the list as root sees it: with addresses; modules are left out)

gdb reads it with `file kernel.sym` or `symbol-file kernel.sym`. It has names and addresses, but no types and no lines. A
list is good for kernels that lie at the same addresses: boot the guest with nokaslr.
"""

import re
import struct
import sys

LINE = re.compile(r"^([0-9a-f]{16}) ([A-Za-z]) (\S+)\s*$")  # A module's symbols have its name behind them.
# ELF-64: sizes of its structures, and the values that are needed of them.
HEADER_SIZE, SECTION_SIZE, SYMBOL_SIZE = 64, 64, 24
ET_EXEC, EM_X86_64 = 2, 62
SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS = 2, 3, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STB_LOCAL, STB_GLOBAL = 0, 1
STT_OBJECT, STT_FUNC = 1, 2


def parse(lines):
    """(address, is text, is global, name), by address. Symbols of a processor's own area have small offsets."""
    found = []
    for line in lines:
        match = LINE.match(line)
        if not match or int(match[1], 16) < 1 << 47:
            continue
        kind = match[2]
        found.append((int(match[1], 16), kind in "tTwW", kind.isupper(), match[3]))
    return sorted(found)


class Strings:
    def __init__(self):
        self.bytes = bytearray(1)

    def add(self, text: str) -> int:
        at = len(self.bytes)
        self.bytes += text.encode() + b"\0"
        return at


def make_elf(symbols) -> bytes:
    names, section_names = Strings(), Strings()
    spans = {}  # By whether it is text: where it begins and ends.
    for address, text, _, _ in symbols:
        first, last = spans.get(text, (address, address))
        spans[text] = (min(first, address), max(last, address))
    sections = [(0,) * 10]

    def section(name, kind, flags, address, offset, size, link=0, info=0, align=1, entry=0):
        sections.append((section_names.add(name), kind, flags, address, offset, size, link, info, align, entry))
        return len(sections) - 1

    number = {}
    for text, name, flags in ((True, ".text", SHF_EXECINSTR), (False, ".data", SHF_WRITE)):
        if text in spans:
            first, last = spans[text]
            number[text] = section(name, SHT_NOBITS, SHF_ALLOC | flags, first, 0, last + 4096 - first)
    table = [bytes(SYMBOL_SIZE)]
    ordered = sorted(symbols, key=lambda symbol: symbol[2])  # Local ones come first.
    for index, (address, text, is_global, name) in enumerate(ordered):
        kind = (STB_GLOBAL if is_global else STB_LOCAL) << 4 | (STT_FUNC if text else STT_OBJECT)
        table.append(struct.pack("<IBBHQQ", names.add(name), kind, 0, number[text], address, 0))
    locals_ = sum(not symbol[2] for symbol in symbols)
    symbol_bytes = b"".join(table)
    offset = HEADER_SIZE
    section(".symtab", SHT_SYMTAB, 0, 0, offset, len(symbol_bytes), len(sections) + 1, locals_ + 1, 8, SYMBOL_SIZE)
    offset += len(symbol_bytes)
    section(".strtab", SHT_STRTAB, 0, 0, offset, len(names.bytes))
    offset += len(names.bytes)
    own_name = section_names.add(".shstrtab")
    sections.append((own_name, SHT_STRTAB, 0, 0, offset, len(section_names.bytes), 0, 0, 1, 0))
    offset += len(section_names.bytes)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", ET_EXEC, EM_X86_64, 1, 0, 0, offset, 0, HEADER_SIZE, 0, 0,
                                 SECTION_SIZE, len(sections), len(sections) - 1)
    table_of_sections = b"".join(struct.pack("<IIQQQQIIQQ", *fields) for fields in sections)
    return header + symbol_bytes + bytes(names.bytes) + bytes(section_names.bytes) + table_of_sections


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8", errors="replace") as source:
        symbols = parse(source)
    if not symbols:
        sys.exit(f"{sys.argv[1]} has no symbols with addresses; read /proc/kallsyms as root")
    with open(sys.argv[2], "wb") as target:
        target.write(make_elf(symbols))


if __name__ == "__main__":
    main()
