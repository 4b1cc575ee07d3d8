// From guest bytes to a unit in the intermediate form.
#pragma once

#include "cpu/decode/decoder.h"
#include "jit/code_segments.h"
#include "jit/ir/unit.h"
#include "jit/translate/op_memory.h"
#include "jit/translate/patched.h"
#include "mmu/address_spaces.h"

#include <bit>
#include <span>

namespace calque::jit {

// What, besides the bytes, shapes a unit.
struct UnitMode {
    cpu::DecodeMode decode;
    struct Bits {                             // One word: the key is computed at each entry to translated code.
        u32 sse_off : 1 = 0, avx_off : 1 = 0; // These instructions raise #UD or #NM.
        u32 float_traps : 1 = 0;              // MXCSR unmasks an exception.
        u32 x87_off : 1 = 0, mmx_off : 1 = 0, wait_off : 1 = 0;
        u32 x87_traps : 1 = 0;           // FCW unmasks an exception, or one is pending.
        u32 x87_transcendentals : 1 = 0; // On the host's unit: Switches::x87_transcendentals, the same for all units.
        u32 ring0 : 1 = 0;               // CPL 0; real mode too.
        u32 alone : 1 = 0;               // Each access has a check of its own (no ir::Window).
        u32 tsd : 1 = 0;                 // CR4.TSD.
        u32 smap : 1 = 0;                // CR4.SMAP: STAC and CLAC change the rights mode.
        u32 rights : 2 = 0;              // mmu::RightsMode, of memory accesses.
        // Outside 64-bit mode:
        u32 stack32 : 1 = 0;       // SS.B.
        u32 flat_segments : 6 = 0; // 1 << cpu::Segment of those that have no base, no limit, and all rights.
        u32 unlimited : 6 = 0;     // Of those that have a base, but no limit, and all rights.
        u32 paragraphs : 1 = 0;    // A segment load sets the base alone (real and virtual-8086 mode).
        u32 reserved : 4 = 0;
    } is;
    u32 code_base = 0, code_limit = ~u32{0}; // Of CS, outside 64-bit mode,
    u32 code_segment = CodeSegments::flat;   // and their number, which stands for them in the key.

    bool code64() const { return decode.code_size == cpu::CodeSize::bits64; }
    bool vm86() const { return decode.real && !is.ring0; }

    static constexpr unsigned segment_shift = 40; // In the key.
    static constexpr u64 kind_bits = (u64{1} << segment_shift) - 1;
    u64 key() const { return decode.key() | u64{std::bit_cast<u32>(is)} << 8 | u64{code_segment} << segment_shift; }

    mmu::RightsMode rights() const { return static_cast<mmu::RightsMode>(is.rights); }
    void set_rights(mmu::RightsMode rights) { is.rights = static_cast<u32>(rights) & 3; }
    bool timestamp_off() const { return is.tsd && !is.ring0; }
};
// The mode that SYSCALL goes to from a program, and back; that STAC goes to, and back.
UnitMode system_mode(UnitMode mode);
UnitMode program_mode(UnitMode mode);
UnitMode access_mode(UnitMode mode, bool allowed);

inline constexpr unsigned longest_unit = 64; // Guest instructions.

// The unit of the code at `bytes`, of at most `longest` instructions, which ends at the end of its page or of the code
// segment. `linear` is RIP plus the base of the code segment. A pure function of its arguments; an empty unit when the
// first instruction cannot be part of any (it goes on past the bytes, or depends on patched bytes in a way that has no
// operation). With a `memory` (of this decoder's instructions) it gives the same, sooner.
ir::Unit translate(const cpu::Decoder& decoder, std::span<const u8> bytes, u64 linear, PhysicalAddress physical,
                   const UnitMode& mode, unsigned longest = longest_unit, const PatchedCode& patched = {},
                   OpMemory* memory = nullptr);

} // namespace calque::jit
