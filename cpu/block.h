// Decoded blocks as they lie in memory: a header, then records, then chain records.
//
//   Block | insn 0 | insn 1 | ... | insn n-1 | chain: falls through | chain: target of a jump | ...
//
// A block is a straight run of code with side exits: it goes on past conditional jumps that are not taken and ends at
// other control flow, at the end of its page, or when it is long enough. A chain record stands for leaving the block to
// a known place; once that place has been looked up it holds the block there, and control goes over without the
// interpreter's loop.
#pragma once

#include "cpu/cpu.h"

namespace calque::cpu {

inline constexpr unsigned longest_block = 32; // Instructions.

struct alignas(32) Block {
    PhysicalAddress address;     // Of its first byte.
    u64 key = 0;                 // DecodeMode::key() and more: what shaped it.
    const u8* host = nullptr;    // Its first byte in host memory.
    PhysicalAddress second_page; // Of an instruction that crosses a page: where it goes on.
    u32 incoming = 0;            // The first chain record that leads here, as an arena index; 0 is none.
    u16 bytes = 0;
    u8 count = 0; // Instructions.
    i32 heat = 0; // Times it may still be entered before the loop looks whether to translate it.
    u32 born = 0; // How many blocks there had been, modulo 2^32.
    bool dead = false;
    bool crosses = false; // One instruction that crosses into another page: checked each time, never chained to.

    Instruction* records() { return reinterpret_cast<Instruction*>(this + 1); }
    const Instruction* records() const { return reinterpret_cast<const Instruction*>(this + 1); }
    static Block& of(const Instruction* first) {
        return *(const_cast<Block*>(reinterpret_cast<const Block*>(first)) - 1);
    }
};

// What a chain record keeps in its fields, none of which means what it says:
//   immediate     the first record of the block it leads to, once linked
//   displacement  the arena index of the next chain record that leads to the same block
//   row           instructions of its block that are complete when it is reached
//   dest          chain_mark
//   source        1: its target is in its own page
//   third         1: it may be linked
inline constexpr u8 chain_mark = 0xCC;
inline bool is_chain(const Instruction& i) { return i.length == 0 && i.dest == chain_mark; }

// The handlers of chain records (cpu/chain.cpp).
void chain_unlinked(Cpu& cpu, const Instruction* i);
void chain_same_page(Cpu& cpu, const Instruction* i); // 64-bit mode, target in the block's own page.
void chain_checked64(Cpu& cpu, const Instruction* i); // 64-bit mode: the target's page is still where it was.
void chain_checked(Cpu& cpu, const Instruction* i);   // Other modes: as that, and the code segment's limit.
// What the records of a dead block get: leaves it before the record.
void stale(Cpu& cpu, const Instruction* i);

} // namespace calque::cpu
