// Deterministic floating point operands, weighted towards the edges where rounding, denormals and NaNs are decided.
#pragma once

#include "cpu/fp/formats.h"

#include <array>

namespace calque::cpu::fp::test {

class Random {
  public:
    explicit Random(u64 seed) : state_(seed) {}

    u64 next() { // splitmix64
        u64 z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    unsigned below(unsigned bound) { return static_cast<unsigned>(next() % bound); }

    // A value of `bits` bits: random, or all ones or zeros at one end, or a few bits, so that ties and carries are
    // frequent.
    u64 pattern(int bits) {
        const u64 mask = bits == 64 ? ~u64{0} : (u64{1} << bits) - 1;
        const unsigned at = below(static_cast<unsigned>(bits));
        switch (below(8)) {
        case 0: return (~u64{0} << at) & mask;
        case 1: return ((u64{1} << at) - 1) & mask;
        case 2: return (u64{1} << at) & mask;
        case 3: return ((u64{1} << at) ^ (u64{1} << below(static_cast<unsigned>(bits)))) & mask;
        case 4: return (next() << at) & mask;
        case 5: return mask ^ below(4);
        default: return next() & mask;
        }
    }

    template <class Float> Float operand() {
        using F = Format<Float>;
        using Bits = typename F::Bits;
        const Bits sign = (next() & 1) ? F::kSign : Bits{0};
        const Bits fraction = static_cast<Bits>(pattern(F::kFractionBits));
        unsigned exponent;
        switch (below(16)) {
        case 0: return Float{sign};
        case 1: return Float{static_cast<Bits>(sign | F::kInfinity)};
        case 2: exponent = F::kMaxExponent; break; // NaN, mostly
        case 3:
        case 4: exponent = 0; break;
        case 5: exponent = 1 + below(3); break;
        case 6: exponent = F::kMaxExponent - 1 - below(3); break;
        case 7: exponent = below(F::kMaxExponent); break;
        case 8: exponent = F::kBias; break;
        case 9: exponent = F::kBias / 2 + below(8); break;
        case 10: exponent = F::kBias + F::kBias / 2 + below(8) - 4; break;
        default: exponent = F::kBias - 32 + below(96); break;
        }
        exponent %= F::kMaxExponent + 1;
        return Float{static_cast<Bits>(sign | static_cast<Bits>(Bits(exponent) << F::kFractionBits) | fraction)};
    }

    // An operand that has something to do with `other`: close to it, or at a distance that makes a sum hard to round.
    template <class Float> Float related(Float other) {
        using F = Format<Float>;
        using Bits = typename F::Bits;
        const Bits flip = (next() & 1) ? F::kSign : Bits{0};
        switch (below(4)) {
        case 0: return Float{static_cast<Bits>((other.bits ^ flip) + static_cast<Bits>(below(5)) - 2)};
        case 1: {
            const Bits distance = static_cast<Bits>(Bits(below(2 * F::kFractionBits + 4)) << F::kFractionBits);
            const Bits fraction = static_cast<Bits>(pattern(F::kFractionBits));
            return Float{static_cast<Bits>((((other.bits ^ flip) - distance) & ~F::kFraction) | fraction)};
        }
        default: return operand<Float>();
        }
    }

    // An F80, sometimes one of the encodings that the x87 does not support.
    F80 operand80() {
        const u16 sign = (next() & 1) ? 0x8000 : 0;
        const u64 fraction = pattern(63);
        unsigned exponent;
        switch (below(20)) {
        case 0: return F80{0, sign};
        case 1: return F80{F80::kIntegerBit, static_cast<u16>(sign | F80::kMaxExponent)};
        case 2: exponent = F80::kMaxExponent; break;
        case 3: return F80{fraction, static_cast<u16>(sign | below(0x8000))}; // unnormal, pseudo-NaN
        case 4: return F80{fraction, sign};                                   // denormal
        case 5: return F80{fraction | F80::kIntegerBit, sign};                // pseudo-denormal
        case 6: exponent = 1 + below(3); break;
        case 7: exponent = F80::kMaxExponent - 1 - below(3); break;
        case 8: exponent = below(F80::kMaxExponent); break;
        case 9: exponent = F80::kBias; break;
        case 10: exponent = F80::kBias / 2 + below(100); break;
        case 11: exponent = F80::kBias + F80::kBias / 2 + below(100) - 50; break;
        case 12: exponent = F80::kBias - 1022 - 60 + below(70); break; // about the end of F64
        case 13: exponent = F80::kBias - 126 - 40 + below(50); break;  // about the end of F32
        case 14:
            exponent = F80::kBias + (below(2) ? 1022 : 126);
            exponent += below(4);
            break;
        default: exponent = F80::kBias - 40 + below(110); break;
        }
        return F80{fraction | F80::kIntegerBit, static_cast<u16>(sign | exponent)};
    }

    F80 related80(F80 other) {
        const u16 flip = (next() & 1) ? 0x8000 : 0;
        switch (below(4)) {
        case 0: return F80{other.significand + below(5) - 2, static_cast<u16>(other.sign_exponent ^ flip)};
        case 1: {
            const u16 exponent = static_cast<u16>((other.exponent() + below(140) - 70) & 0x7fff);
            return F80{pattern(63) | F80::kIntegerBit,
                       static_cast<u16>(((other.sign_exponent ^ flip) & 0x8000) | exponent)};
        }
        default: return operand80();
        }
    }

    // An MXCSR with everything masked, or an x87 control word likewise.
    u32 mxcsr() {
        const u32 rounding = below(4) << 13;
        const u32 daz = below(2) << 6;
        const u32 ftz = below(2) << 15;
        return 0x1f80 | rounding | daz | ftz;
    }
    u16 x87_control() { return static_cast<u16>(0x3f | below(16) << 8); }

  private:
    u64 state_;
};

} // namespace calque::cpu::fp::test
