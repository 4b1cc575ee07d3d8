// Code as text, for people: the guest's, and the host's that is made of it.
#pragma once

#include "cpu/cpu.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace calque::jit {

struct CodeLine {
    u64 address = 0;
    std::vector<u8> bytes; // 1 to 15.
    std::string text;      // Intel syntax; ".byte 0x.." where the bytes are not an instruction, or end inside one.

    // "0x0000000000001000:  48 89 c3    mov rbx, rax", the bytes filled up to ten.
    std::string line() const;
};

// The instructions that `code`, which lies at `address`, starts with: `most` at the most, as far as the bytes reach.
// Capstone and this project's decoder know each other nothing: where they differ, one of them is wrong.
std::vector<CodeLine> disassemble(std::span<const u8> code, cpu::CodeSize size, u64 address, std::size_t most);

} // namespace calque::jit
