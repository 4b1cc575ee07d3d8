// From guest bytes to a unit in the intermediate form.
#pragma once

#include "cpu/decode/decoder.h"
#include "jit/ir/unit.h"
#include "jit/translate/patched.h"

#include <span>

namespace calque::jit {

// What, besides the bytes, shapes a unit.
struct UnitMode {
    cpu::DecodeMode decode;
    bool sse_off = false, avx_off = false; // These instructions raise #UD or #NM: they go to their handlers.
    bool float_traps = false;              // MXCSR unmasks an exception.
    bool x87_off = false, mmx_off = false, wait_off = false;
    bool x87_traps = false;           // FCW unmasks an exception, or one is pending.
    bool x87_transcendentals = false; // On the host's unit: Switches::x87_transcendentals, the same for all units.
    bool ring0 = false;               // CPL 0 in protected mode.
    bool alone = false;               // Each access has a check of its own (no ir::Window).
    bool timestamp_off = false;       // RDTSC is not allowed (CR4.TSD).

    u64 key() const {
        return decode.key() | (sse_off ? 0x100u : 0u) | (avx_off ? 0x200u : 0u) | (float_traps ? 0x400u : 0u)
               | (ring0 ? 0x800u : 0u) | (timestamp_off ? 0x1000u : 0u) | (alone ? 0x2000u : 0u)
               | (x87_off ? 0x10000u : 0u) | (mmx_off ? 0x20000u : 0u) | (wait_off ? 0x40000u : 0u)
               | (x87_traps ? 0x80000u : 0u);
    }
};

inline constexpr unsigned longest_unit = 64; // Guest instructions.

// The unit of the code at `bytes`, of at most `longest` instructions, which ends at the end of its page or of the code
// segment. A pure function of its arguments; an empty unit when the first instruction cannot be part of any (it goes on
// past the bytes, or depends on patched bytes in a way that has no operation). Only 64-bit code for now: other modes
// give an empty unit.
ir::Unit translate(const cpu::Decoder& decoder, std::span<const u8> bytes, u64 linear, PhysicalAddress physical,
                   const UnitMode& mode, unsigned longest = longest_unit, const PatchedCode& patched = {});

} // namespace calque::jit
