// Comparison, minimum and maximum, rounding to integral of F32 and F64.
#include "cpu/fp/arith.h"
#include "cpu/fp/operands.h"

namespace calque::cpu::fp {

namespace {

// Neither is a NaN.
template <class Float> inline Relation order(Float a, Float b) {
    using F = Format<Float>;
    if (a == b || static_cast<typename F::Bits>((a.bits | b.bits) & ~F::kSign) == 0) return Relation::Equal;
    if (sign_of(a) != sign_of(b)) return sign_of(a) ? Relation::Less : Relation::Greater;
    return (a.bits < b.bits) != sign_of(a) ? Relation::Less : Relation::Greater;
}

template <class Float> inline Relation compare(Float a, Float b, bool signaling, Status& status) {
    if (is_nan(a) || is_nan(b)) [[unlikely]] {
        if (signaling || is_signaling_nan(a) || is_signaling_nan(b)) status.raise(kInvalid);
        return Relation::Unordered;
    }
    take_denormals(a, b, status);
    return order(a, b);
}

// Bits of a predicate's truth by relation.
constexpr unsigned kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8;

constexpr unsigned relation_bit(Relation relation) {
    switch (relation) {
    case Relation::Less: return kLess;
    case Relation::Equal: return kEqual;
    case Relation::Greater: return kGreater;
    case Relation::Unordered: break;
    }
    return kUnordered;
}

// SDM volume 2, CMPPD, table 3-1. Predicates 16..31 are 0..15 with quiet and signalling exchanged.
constexpr u8 kPredicateTruth[16] = {
    kEqual,                                 // EQ_OQ
    kLess,                                  // LT_OS
    kLess | kEqual,                         // LE_OS
    kUnordered,                             // UNORD_Q
    kLess | kGreater | kUnordered,          // NEQ_UQ
    kEqual | kGreater | kUnordered,         // NLT_US
    kGreater | kUnordered,                  // NLE_US
    kLess | kEqual | kGreater,              // ORD_Q
    kEqual | kUnordered,                    // EQ_UQ
    kLess | kUnordered,                     // NGE_US
    kLess | kEqual | kUnordered,            // NGT_US
    0,                                      // FALSE_OQ
    kLess | kGreater,                       // NEQ_OQ
    kEqual | kGreater,                      // GE_OS
    kGreater,                               // GT_OS
    kLess | kEqual | kGreater | kUnordered, // TRUE_UQ
};
constexpr unsigned kSignalingPredicates = 0x6666; // bit n: predicate n of the first 16 signals on quiet NaNs

template <class Float> inline bool predicate_holds(Float a, Float b, unsigned predicate, Status& status) {
    const bool signaling = (((kSignalingPredicates >> (predicate & 15)) ^ (predicate >> 4)) & 1) != 0;
    return (kPredicateTruth[predicate & 15] & relation_bit(compare(a, b, signaling, status))) != 0;
}

// The operand that MINPS or MAXPS delivers: a only when it is strictly on the `wanted` side of b.
template <class Float> inline Float select(Float a, Float b, Relation wanted, Status& status) {
    if (is_nan(a) || is_nan(b)) [[unlikely]] {
        status.raise(kInvalid);
        return denormal_as_zero(b, status);
    }
    take_denormals(a, b, status);
    return order(a, b) == wanted ? a : b;
}

template <class Float> inline Float to_integral(Float a, Rounding rounding, bool suppress_precision, Status& status) {
    using F = Format<Float>;
    using Bits = typename F::Bits;
    const int power = exponent_of(a) - F::kBias;
    if (power >= F::kFractionBits) {
        if (is_signaling_nan(a)) status.raise(kInvalid);
        return is_nan(a) ? quieted(a) : a;
    }
    a = denormal_as_zero(a, status);
    if (is_zero(a)) return a;
    const bool sign = sign_of(a);
    Bits result;
    if (power < 0) { // magnitude below 1: rounds to 0 or 1
        constexpr Bits kOne = static_cast<Bits>(Bits{F::kBias} << F::kFractionBits);
        const bool above_half = power == -1 && (a.bits & F::kFraction) != 0;
        const bool away =
            rounding == Rounding::NearestEven ? above_half : rounding == (sign ? Rounding::Down : Rounding::Up);
        result = static_cast<Bits>((sign ? F::kSign : Bits{0}) | (away ? kOne : Bits{0}));
    } else {
        const int shift = F::kFractionBits - power;
        const Bits mask = static_cast<Bits>((Bits{1} << shift) - 1);
        // A carry runs from the fraction into the exponent, as it should.
        result =
            static_cast<Bits>((a.bits + static_cast<Bits>(rounding_increment(a.bits, shift, sign, rounding))) & ~mask);
    }
    if (result != a.bits && !suppress_precision) status.raise(kPrecision);
    return Float{result};
}

} // namespace

F32 min(F32 a, F32 b, Status& status) { return select(a, b, Relation::Less, status); }
F64 min(F64 a, F64 b, Status& status) { return select(a, b, Relation::Less, status); }
F32 max(F32 a, F32 b, Status& status) { return select(a, b, Relation::Greater, status); }
F64 max(F64 a, F64 b, Status& status) { return select(a, b, Relation::Greater, status); }

Relation compare_quiet(F32 a, F32 b, Status& status) { return compare(a, b, false, status); }
Relation compare_quiet(F64 a, F64 b, Status& status) { return compare(a, b, false, status); }
Relation compare_signaling(F32 a, F32 b, Status& status) { return compare(a, b, true, status); }
Relation compare_signaling(F64 a, F64 b, Status& status) { return compare(a, b, true, status); }

bool compare_predicate(F32 a, F32 b, unsigned predicate, Status& status) {
    return predicate_holds(a, b, predicate, status);
}
bool compare_predicate(F64 a, F64 b, unsigned predicate, Status& status) {
    return predicate_holds(a, b, predicate, status);
}

F32 round_to_integral(F32 a, Rounding rounding, bool suppress_precision, Status& status) {
    return to_integral(a, rounding, suppress_precision, status);
}
F64 round_to_integral(F64 a, Rounding rounding, bool suppress_precision, Status& status) {
    return to_integral(a, rounding, suppress_precision, status);
}

} // namespace calque::cpu::fp
