#include "tests/diff/pools.h"

namespace calque::diff {

namespace {

// A floating-point number of the given layout: zeros, denormals, infinities, NaNs, small integers, numbers close
// together, anything.
template <unsigned ExponentBits, unsigned FractionBits> u64 float_value(Random& random) {
    constexpr u64 fraction_mask = (u64{1} << FractionBits) - 1, exponent_max = (u64{1} << ExponentBits) - 1,
                  bias = exponent_max >> 1, quiet = u64{1} << (FractionBits - 1);
    u64 exponent = 0, fraction = 0;
    switch (random.below(20)) {
    case 0: break;
    case 1: fraction = random.next() >> random.below(64); break; // Denormal, perhaps tiny.
    case 2: fraction = fraction_mask - random.below(3); break;   // The largest denormals.
    case 3: exponent = 1, fraction = random.below(3); break;
    case 4: exponent = exponent_max - 1, fraction = fraction_mask - random.below(3); break;
    case 5: exponent = exponent_max; break;
    case 6: exponent = exponent_max, fraction = quiet | (random.next() >> random.below(64)); break;
    case 7: exponent = exponent_max, fraction = ((random.next() >> random.below(64)) & (quiet - 1)) | 1; break;
    case 8: exponent = bias, fraction = random.below(4); break;
    case 9: exponent = bias - 1, fraction = fraction_mask - random.below(4); break;
    case 10: exponent = bias + random.below(66), fraction = u64{random.byte()} << (FractionBits - 8); break;
    case 11: exponent = bias + random.below(66), fraction = fraction_mask - random.below(4); break; // Below 2^n.
    case 12: exponent = bias + random.below(66), fraction = random.below(4); break;
    case 13: exponent = random.below(exponent_max), fraction = random.next(); break;
    case 14: exponent = bias - 2 + random.below(4), fraction = u64{random.byte() & 7u} << (FractionBits - 3); break;
    case 15: exponent = random.below(FractionBits + 4), fraction = random.next(); break; // About to underflow.
    case 16: exponent = exponent_max - 1 - random.below(4), fraction = random.next(); break;
    default: exponent = bias - 4 + random.below(8), fraction = random.next(); break;
    }
    return (random.next() & (u64{1} << (ExponentBits + FractionBits))) | (exponent & exponent_max) << FractionBits
           | (fraction & fraction_mask);
}

} // namespace

u64 integer_value(Random& random) {
    const u64 r = random.next();
    switch (r & 15) {
    case 0: return 0;
    case 1: return ~u64{0};
    case 2: return u64{1} << (r >> 58);
    case 3: return (u64{1} << (r >> 58)) - 1;
    case 4: return ~u64{0} << (r >> 58);
    case 5: return (r >> 32) & 0xFF;
    case 6: return static_cast<u64>(static_cast<i64>(static_cast<i8>(r >> 32)));
    case 7: return r >> 32;
    case 8: return static_cast<u64>(static_cast<i64>(static_cast<i16>(r >> 32)));
    case 9: return static_cast<u64>(static_cast<i64>(static_cast<i32>(r >> 32)));
    case 10: return 0x8000000080008080 ^ (r & 0x100000000);
    case 11: return 0x7FFFFFFF7FFF7F7F;
    default: return random.next();
    }
}
u32 single_value(Random& random) { return static_cast<u32>(float_value<8, 23>(random)); }
u64 double_value(Random& random) { return float_value<11, 52>(random); }

Extended extended_value(Random& random) {
    constexpr u64 integer_bit = u64{1} << 63;
    constexpr unsigned bias = 0x3FFF;
    u64 significand = integer_bit;
    unsigned exponent = 0;
    switch (random.below(24)) {
    case 0: significand = 0; break;
    case 1: significand = (random.next() >> random.below(64)) & ~integer_bit; break;
    case 2: break; // Pseudo-denormal.
    case 3: exponent = 1, significand += random.below(3); break;
    case 4: exponent = 0x7FFE, significand = ~random.below(3); break;
    case 5: exponent = 0x7FFF; break;
    case 6: exponent = 0x7FFF, significand |= integer_bit >> 1 | random.next(); break;
    case 7: exponent = 0x7FFF, significand |= ((random.next() >> random.below(63)) & (~u64{0} >> 2)) | 1; break;
    case 8: // Unsupported: unnormals, pseudo-infinities, pseudo-NaNs.
        exponent = random.one_in(2) ? 0x7FFF : static_cast<unsigned>(1 + random.below(0x7FFE));
        significand = random.next() & ~integer_bit;
        break;
    case 9: exponent = bias, significand += random.below(4); break;
    case 10: exponent = bias - 1, significand = ~random.below(4); break;
    case 11: exponent = bias + random.below(66), significand |= u64{random.byte()} << 55; break;
    case 12: exponent = bias + random.below(66), significand = ~random.below(4); break;
    case 13: exponent = random.below(0x7FFF), significand |= random.next(); break;
    case 14: exponent = bias - 1023 - 54 + random.below(60), significand |= random.next(); break;
    case 15: exponent = bias - 127 - 25 + random.below(30), significand |= random.next(); break;
    case 16:
        exponent = bias + (random.one_in(2) ? 127 : 1023) - 2 + random.below(4), significand |= random.next();
        break;
    case 17: exponent = bias + random.below(64), significand |= random.next() << random.below(64); break; // Halves.
    case 18: exponent = random.below(70), significand |= random.next(); break;
    case 19: exponent = bias - 2 + random.below(4), significand |= u64{random.byte() & 7u} << 60; break;
    default: exponent = bias - 4 + random.below(8), significand |= random.next(); break;
    }
    return {significand, static_cast<u16>((random.next() & 0x8000) | exponent)};
}

Pools::Pools(u64 seed, u64 epoch) {
    Random random(~seed, epoch);
    for (std::size_t n = 0; n < words; ++n) {
        pools_[any][n] = random.next();
        pools_[integers][n] = integer_value(random);
        u64 bytes = 0;
        const u64 shape = random.next();
        const unsigned width = 8u << (shape & 3);
        for (unsigned at = 0; at < 64; at += width)
            bytes |= (width == 64 ? integer_value(random) : integer_value(random) & ((u64{1} << width) - 1)) << at;
        pools_[lanes][n] = bytes;
        pools_[singles][n] = u64{single_value(random)} << 32 | single_value(random);
        pools_[doubles][n] = double_value(random);
        u64 letters = 0;
        for (unsigned at = 0; at < 64; at += 8)
            letters |= u64{random.one_in(6) ? u8{0} : static_cast<u8>('a' + random.below(3))} << at;
        pools_[text][n] = random.one_in(3) ? letters & 0x00FF00FF00FF00FF : letters;
    }
    for (std::size_t n = 0; n < words; n += 2) {
        const Extended x = extended_value(random);
        pools_[extendeds][n] = x.significand;
        pools_[extendeds][n + 1] = x.sign_exponent | random.next() << 16;
    }
}

} // namespace calque::diff
