// The initial memory and processor state of a case, but for the program.
#pragma once

#include "cpu/decode/decoder.h"
#include "cpu/state.h"
#include "tests/diff/jit/layout.h"
#include "tests/diff/pools.h"

#include <span>
#include <vector>

namespace calque::diff {

// The code that programs are made of. Of 16 bits and of 32 in long mode's compatibility mode, with segments; in real
// mode, without paging; in protected mode without long mode and in its virtual-8086 mode, at level 3.
enum class CodeKind : u8 { long64, compatible32, compatible16, real, protected32, protected16, virtual86 };

// What programs know of the machine that they are made for.
struct Setting {
    u64 base = 0; // Linear address of the piece.
    u8 ring = 0;
    bool interrupts = false; // Stores to the device may raise an interrupt.
    CodeKind code = CodeKind::long64;
    // Of the segments CS, DS and ES, SS.
    u64 code_base = 0, data_base = 0, stack_base = 0;
    // Nothing stores into the program's code: a REP that overwrites itself, or a store to code that another thread has
    // dropped an instant before, shows when an interrupt came.
    bool constant_code = false;
    bool remaps = false; // The page table is mapped.
    bool more_pieces = false;
    bool legacy() const { return code != CodeKind::long64; }
    // Segments are paragraphs.
    bool real() const { return code == CodeKind::real || code == CodeKind::virtual86; }
    bool long_mode() const { return code <= CodeKind::compatible16; }
    bool code16() const { return code == CodeKind::compatible16 || real() || code == CodeKind::protected16; }
    cpu::DecodeMode decode() const {
        const auto size = code16() ? cpu::CodeSize::bits16 : legacy() ? cpu::CodeSize::bits32 : cpu::CodeSize::bits64;
        return {size, real(), false};
    }
    u64 linear(u64 page_number, u64 offset = 0) const {
        const u64 place = code == CodeKind::real ? frame_of(page_number) : page_number;
        return base + (place << page_shift) + offset;
    }

  private:
    // Without paging.
    static u64 frame_of(u64 page_number);
};

struct Image {
    Setting setting;
    cpu::CpuState state; // RIP is set when the program is placed.
    std::vector<u8> ram;

    std::span<u8> frame(u64 number) { return std::span(ram).subspan(number * page_size, page_size); }
};

struct Wanted {
    bool interrupts = false; // The program is to expect them at any time.
    CodeKind code = CodeKind::long64;
};
Image make_image(Random& random, const Pools& pools, const Wanted& wanted);

} // namespace calque::diff
