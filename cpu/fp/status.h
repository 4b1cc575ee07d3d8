// The floating point environment of one operation: what MXCSR or the x87 control word asks for, and what the
// operation reports back. Intel SDM volume 1, sections 4.9 (exceptions), 8.1.5 (x87 control word), 10.2.3 (MXCSR).
#pragma once

#include "base/types.h"

namespace calque::cpu::fp {

// The encoding of MXCSR.RC and of the x87 control word's RC.
enum class Rounding : u8 { NearestEven = 0, Down = 1, Up = 2, TowardZero = 3 };

// The encoding of the x87 control word's PC: significands of 24, 53 and 64 bits. Value 1 is reserved; it acts as
// Extended.
enum class Precision : u8 { Single = 0, Reserved = 1, Double = 2, Extended = 3 };

// Exception flags, in the bit order that MXCSR[5:0] and the x87 status word[5:0] share.
enum Flag : u8 {
    kInvalid = 0x01,
    kDenormal = 0x02,
    kDivideByZero = 0x04,
    kOverflow = 0x08,
    kUnderflow = 0x10,
    kPrecision = 0x20,
    kAllFlags = 0x3f,
    // Those that are found before a result is computed (SDM volume 1, section 4.9.2).
    kPreComputation = kInvalid | kDenormal | kDivideByZero,
};

// What an operation is given and what it reports. `flags` is only ever added to. Operations on F32 and F64 use all but
// `precision` and `rounded_up`; operations on F80 ignore `daz` and `ftz`.
struct Status {
    u8 flags = 0;         // exceptions raised so far
    u8 masks = kAllFlags; // a set bit masks that exception
    Rounding rounding = Rounding::NearestEven;
    bool daz = false; // denormal operands count as zeros (SSE)
    bool ftz = false; // masked underflow delivers zero (SSE)
    Precision precision = Precision::Extended;
    bool rounded_up = false;      // x87 C1: the last result is larger in magnitude than the exact one
    bool denormal_source = false; // x87: a memory operand was a denormal before it was widened to F80

    void raise(unsigned raised) { flags = static_cast<u8>(flags | raised); }
    bool unmasked(unsigned which) const { return (which & ~masks & kAllFlags) != 0; }

    // x87: whether a result reaches its register, or its memory operand. An unmasked pre-computation exception leaves
    // any destination as it was; overflow and underflow leave memory as it was, while a register gets the result with
    // its exponent wrapped by 24576 (SDM volume 1, sections 8.5.4 and 8.5.5).
    bool writes_register() const { return !unmasked(flags & kPreComputation); }
    bool writes_memory() const { return !unmasked(flags & (kPreComputation | kOverflow | kUnderflow)); }

    static Status from_mxcsr(u32 mxcsr) {
        Status status;
        status.masks = static_cast<u8>((mxcsr >> 7) & kAllFlags);
        status.rounding = static_cast<Rounding>((mxcsr >> 13) & 3);
        status.daz = (mxcsr & 0x40) != 0;
        status.ftz = (mxcsr & 0x8000) != 0;
        return status;
    }

    static Status from_x87_control(u16 control) {
        Status status;
        status.masks = static_cast<u8>(control & kAllFlags);
        status.rounding = static_cast<Rounding>((control >> 10) & 3);
        status.precision = static_cast<Precision>((control >> 8) & 3);
        return status;
    }

    // Ends an SSE instruction of one or many lanes, all of whose results were computed with this status: adds the flags
    // to `mxcsr` and returns true when #XM is due, in which case no result may be written. When an unmasked
    // pre-computation exception is found in any lane, no lane reports a post-computation one (SDM volume 1,
    // section 11.5.2).
    [[nodiscard]] bool commit_to_mxcsr(u32& mxcsr) const {
        u32 reported = flags;
        if (unmasked(reported & kPreComputation)) reported &= kPreComputation;
        mxcsr |= reported;
        return unmasked(reported);
    }
};

// How two numbers compare. The values are those of (ZF, PF, CF) as UCOMISS and FCOMI set them: ZF=4, PF=2, CF=1.
enum class Relation : u8 { Greater = 0, Less = 1, Equal = 4, Unordered = 7 };

} // namespace calque::cpu::fp
