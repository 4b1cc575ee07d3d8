// Regions: units of what a program did when it last came by a place that it is often at, instead of straight runs. The
// path goes along jumps, branches that were taken, calls and their returns, and from page to page; where the program
// does otherwise, the region is left. To the passes and the emitter it is a unit like others, most often a loop.
#pragma once

#include "jit/translate/translate.h"

#include <array>
#include <span>
#include <vector>

namespace calque::jit {

// An instruction that was executed.
struct PathStep {
    u64 linear = 0; // As units have it: in the page's place where that is movable.
    PhysicalAddress physical;
    u32 page_id = 0; // The execute number of its page.
    u8 count = 0;    // Of `bytes`: as many as there are on its page.
    std::array<u8, cpu::longest_instruction> bytes{};
};

struct Region {
    ir::Unit unit;                     // Without operations where nothing can be made of the path.
    std::vector<ir::CodePiece> pieces; // Of it, each within a page.
    std::vector<u8> bytes;             // Of them, one behind the other, as they were read.
    std::vector<u64> path;             // The linear addresses of its instructions.
};

inline constexpr std::size_t longest_path = 96;

// Of 64-bit code. Stops where the path goes somewhere for another reason than its instructions (faults, interrupts),
// where it goes round in an inner loop, and before instructions that handlers do. Any thread, with a decoder of its
// own.
Region make_region(const cpu::Decoder& decoder, std::span<const PathStep> path, const UnitMode& mode);

} // namespace calque::jit
