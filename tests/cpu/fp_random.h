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

  private:
    u64 state_;
};

} // namespace calque::cpu::fp::test
