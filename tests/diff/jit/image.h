// The initial memory and processor state of a case, but for the program.
#pragma once

#include "cpu/decode/decoder.h"
#include "cpu/state.h"
#include "tests/diff/jit/layout.h"
#include "tests/diff/pools.h"

#include <span>
#include <vector>

namespace calque::diff {

// What programs know of the machine that they are made for.
struct Setting {
    u64 base = 0; // Linear address of the piece.
    u8 ring = 0;
    bool interrupts = false; // Stores to the device may raise an interrupt.
    bool code32 = false;     // Compatibility mode.
    // Nothing stores into the program's code: a REP that overwrites itself, or a store to code that another thread has
    // dropped an instant before, shows when an interrupt came.
    bool constant_code = false;
    bool remaps = false; // The page table is mapped.
    cpu::DecodeMode decode() const { return {code32 ? cpu::CodeSize::bits32 : cpu::CodeSize::bits64, false, false}; }
    u64 linear(u64 page_number, u64 offset = 0) const { return base + (page_number << page_shift) + offset; }
};

struct Image {
    Setting setting;
    cpu::CpuState state; // RIP is set when the program is placed.
    std::vector<u8> ram;

    std::span<u8> frame(u64 number) { return std::span(ram).subspan(number * page_size, page_size); }
};

struct Wanted {
    bool interrupts = false; // The program is to expect them at any time.
    bool code32 = false;
};
Image make_image(Random& random, const Pools& pools, const Wanted& wanted);

} // namespace calque::diff
