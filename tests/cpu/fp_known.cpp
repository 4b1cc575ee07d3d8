// Known answers of the soft floating point library, on any host: single cases with their reasons, transcendental
// functions against values of higher precision, and digests over many thousands of operands whose results were compared
// with an AMD Zen 4 when they were recorded.
#include "cpu/fp/approx.h"
#include "cpu/fp/arith.h"
#include "cpu/fp/convert.h"
#include "cpu/fp/f80.h"
#include "cpu/fp/transcendental.h"
#include "tests/cpu/fp_random.h"

#include <gtest/gtest.h>

namespace calque::cpu::fp::test {
namespace {

constexpr u32 kMasked = 0x1f80;
constexpr u32 kDaz = 0x40, kFtz = 0x8000;

struct Environment {
    Status status;
    explicit Environment(u32 mxcsr = kMasked) : status(Status::from_mxcsr(mxcsr)) {}
    operator Status&() { return status; }
    unsigned flags() const { return status.flags; }
};

TEST(FpKnown, TiesGoToEven) {
    Environment e;
    EXPECT_EQ(add(F64{0x3ff0000000000000}, F64{0x3ca0000000000000}, e).bits, 0x3ff0000000000000u); // 1 + 2^-53
    EXPECT_EQ(add(F64{0x3ff0000000000001}, F64{0x3ca0000000000000}, e).bits, 0x3ff0000000000002u);
    EXPECT_EQ(e.flags(), kPrecision);
}

TEST(FpKnown, TinyIsJudgedAfterRounding) {
    // Both products round to the least normal number. The first needs no rounding at 53 bits and is tiny; the second,
    // rounded to 53 bits with an unbounded exponent, is not.
    Environment e;
    EXPECT_EQ(mul(F64{0x001fffffffffffff}, F64{0x3fe0000000000000}, e).bits, 0x0010000000000000u);
    EXPECT_EQ(e.flags(), kPrecision | kUnderflow);
    Environment f;
    EXPECT_EQ(mul(F64{0x0018000000000001}, F64{0x3fe5555555555555}, f).bits, 0x0010000000000000u);
    EXPECT_EQ(f.flags(), kPrecision);
}

TEST(FpKnown, ExactDenormalsUnderflowOnlyWhenUnmasked) {
    Environment masked;
    EXPECT_EQ(mul(F64{0x0010000000000000}, F64{0x3fe0000000000000}, masked).bits, 0x0008000000000000u);
    EXPECT_EQ(masked.flags(), 0u);
    Environment unmasked(kMasked & ~0x800u);
    (void)mul(F64{0x0010000000000000}, F64{0x3fe0000000000000}, unmasked);
    EXPECT_EQ(unmasked.flags(), kUnderflow);
    Environment flush(kMasked | kFtz);
    EXPECT_EQ(mul(F64{0x8010000000000000}, F64{0x3fe0000000000000}, flush).bits, 0x8000000000000000u);
    EXPECT_EQ(flush.flags(), kUnderflow | kPrecision);
}

TEST(FpKnown, NansFollowTheFirstSource) {
    Environment e;
    EXPECT_EQ(add(F32{0x7fc00001}, F32{0xff800002}, e).bits, 0x7fc00001u);
    EXPECT_EQ(e.flags(), kInvalid);
    EXPECT_EQ(min(F32{0x7fc00001}, F32{0xff800002}, e).bits, 0xff800002u); // not even quieted
    EXPECT_EQ(fma(F32{0x3f800000}, F32{0x7fc00005}, F32{0x7fc00006}, FmaSign::NegMulSub, e).bits, 0x7fc00005u);
    Environment f;
    EXPECT_EQ(mul(F32{0x7f800000}, F32{0}, f).bits, 0xffc00000u); // the default NaN is negative
    EXPECT_EQ(f.flags(), kInvalid);
}

TEST(FpKnown, DenormalsAreZerosUnderDaz) {
    Environment e(kMasked | kDaz);
    EXPECT_EQ(div(F32{0x3f800000}, F32{0x80000001}, e).bits, 0xff800000u);
    EXPECT_EQ(e.flags(), kDivideByZero);
    EXPECT_EQ(max(F32{0x80000001}, F32{0x80000002}, e).bits, 0x80000000u);
}

TEST(FpKnown, UnmaskedPreComputationHidesTheRest) {
    // One lane is invalid and unmasked, another overflows: only the first is reported (SDM volume 1, section 11.5.2).
    Environment e(kMasked & ~0x80u);
    (void)add(F32{0x7f800001}, F32{0x3f800000}, e);
    (void)add(F32{0x7f7fffff}, F32{0x7f7fffff}, e);
    u32 mxcsr = kMasked & ~0x80u;
    EXPECT_TRUE(e.status.commit_to_mxcsr(mxcsr));
    EXPECT_EQ(mxcsr & 0x3f, kInvalid);
}

TEST(FpKnown, IntegerIndefinite) {
    Environment e;
    EXPECT_EQ(to_i32(F64{0x41e0000000000000}, Rounding::NearestEven, e), INT32_MIN); // 2^31
    EXPECT_EQ(e.flags(), kInvalid);
    Environment f;
    EXPECT_EQ(to_i32(F64{0x41dfffffffe00000}, Rounding::TowardZero, f), INT32_MAX); // 2^31 - 1/2
    EXPECT_EQ(f.flags(), kPrecision);
    Environment g;
    EXPECT_EQ(to_i32(F64{0x41dfffffffe00000}, Rounding::NearestEven, g), INT32_MIN);
    EXPECT_EQ(g.flags(), kInvalid);
}

TEST(FpKnown, HalfPrecision) {
    Environment e;
    EXPECT_EQ(to_f16(F32{0x477fefff}, Rounding::NearestEven, e).bits, 0x7bffu); // just below 65520
    EXPECT_EQ(e.flags(), kPrecision);
    EXPECT_EQ(to_f16(F32{0x477ff000}, Rounding::NearestEven, e).bits, 0x7c00u);
    EXPECT_EQ(e.flags(), kPrecision | kOverflow);
    EXPECT_EQ(to_f32(F16{0x0001}, e).bits, 0x33800000u); // 2^-24
}

TEST(FpKnown, PrecisionControlRoundsToFewerBits) {
    Status s = Status::from_x87_control(0x003f); // 24 bits
    const F80 third = div(F80{0x8000000000000000, 0x3fff}, F80{0xc000000000000000, 0x4000}, s);
    EXPECT_EQ(third, (F80{0xaaaaab0000000000, 0x3ffd}));
    EXPECT_TRUE(s.rounded_up);
}

TEST(FpKnown, UnmaskedUnderflowWrapsTheExponent) {
    Status s = Status::from_x87_control(0x032f);
    const F80 product = mul(F80{0x8000000000000000, 0x0001}, F80{0x8000000000000000, 0x3ffe}, s);
    EXPECT_EQ(product, (F80{0x8000000000000000, 24576}));
    EXPECT_EQ(s.flags, kUnderflow);
    EXPECT_TRUE(s.writes_register());
    EXPECT_FALSE(s.writes_memory());
}

TEST(FpKnown, UnsupportedEncodingsAreInvalid) {
    for (const F80 unsupported : {F80{1, 0x7fff}, F80{0, 0x7fff}, F80{0x7fffffffffffffff, 0x3fff}}) {
        Status s;
        EXPECT_EQ(classify(unsupported), F80Class::Unsupported);
        EXPECT_EQ(add(unsupported, F80{}, s), kDefaultNan80);
        EXPECT_EQ(s.flags, kInvalid);
    }
}

TEST(FpKnown, X87NansFollowTheLargerSignificand) {
    Status s;
    EXPECT_EQ(add(F80{0xc000000000000001, 0x7fff}, F80{0xc000000000000002, 0xffff}, s),
              (F80{0xc000000000000002, 0xffff}));
    EXPECT_EQ(s.flags, 0u);
    EXPECT_EQ(add(F80{0xbfffffffffffffff, 0x7fff}, F80{0xc000000000000000, 0xffff}, s),
              (F80{0xc000000000000000, 0xffff}));
    EXPECT_EQ(s.flags, kInvalid);
}

TEST(FpKnown, ConstantsFollowTheRounding) {
    EXPECT_EQ(constant(Constant::Pi, Rounding::NearestEven).significand, 0xc90fdaa22168c235u);
    EXPECT_EQ(constant(Constant::Pi, Rounding::TowardZero).significand, 0xc90fdaa22168c234u);
    EXPECT_EQ(constant(Constant::Log2Of10, Rounding::NearestEven).significand, 0xd49a784bcd1b8afeu);
    EXPECT_EQ(constant(Constant::Log2Of10, Rounding::Up).significand, 0xd49a784bcd1b8affu);
    EXPECT_EQ(constant(Constant::One, Rounding::Up), (F80{0x8000000000000000, 0x3fff}));
}

enum class Op { Sine, Cosine, Tangent, Arctangent, Exp2Minus1, YLog2X, YLog2XPlus1 };

struct Answer {
    Op op;
    F80 a, b, result;
};

constexpr Answer kAnswers[] = {
#include "tests/cpu/fp_transcendental_answers.inc"
};

F80 evaluate(const Answer& answer, Status& s) {
    switch (answer.op) {
    case Op::Sine: return sine(answer.a, s).value;
    case Op::Cosine: return cosine(answer.a, s).value;
    case Op::Tangent: return tangent(answer.a, s).value;
    case Op::Arctangent: return arctangent(answer.a, answer.b, s);
    case Op::Exp2Minus1: return exp2_minus_1(answer.a, s);
    case Op::YLog2X: return y_log2_x(answer.a, answer.b, s);
    case Op::YLog2XPlus1: break;
    }
    return y_log2_x_plus_1(answer.a, answer.b, s);
}

TEST(FpKnown, TranscendentalsAreCorrectlyRounded) {
    int row = 0;
    for (const Answer& answer : kAnswers) {
        Status s;
        EXPECT_EQ(evaluate(answer, s), answer.result) << "row " << row;
        EXPECT_EQ(s.flags, kPrecision) << "row " << row;
        ++row;
    }
}

TEST(FpKnown, ArgumentsOf2To63AreLeftAlone) {
    Status s;
    EXPECT_FALSE(sine(F80{0x8000000000000000, 0x3fff + 63}, s).complete);
    EXPECT_TRUE(sine(F80{0xffffffffffffffff, 0x3fff + 62}, s).complete);
}

// FNV-1a over results and flags.
class Digest {
  public:
    void add(u64 value) {
        for (int i = 0; i < 8; ++i, value >>= 8)
            hash_ = (hash_ ^ (value & 0xff)) * 0x100000001b3;
    }
    void add(F80 value) {
        add(value.significand);
        add(u64{value.sign_exponent});
    }
    u64 value() const { return hash_; }

  private:
    u64 hash_ = 0xcbf29ce484222325;
};

constexpr int kDigestCases = 20000;

template <class Float> u64 sse_digest() {
    Random random(1);
    Digest digest;
    for (int i = 0; i < kDigestCases; ++i) {
        const Float a = random.operand<Float>();
        const Float b = random.related(a);
        const Float c = random.related(b);
        Status s = Status::from_mxcsr(random.mxcsr());
        digest.add(add(a, b, s).bits);
        digest.add(sub(a, b, s).bits);
        digest.add(mul(a, b, s).bits);
        digest.add(u64{s.flags});
        digest.add(div(a, b, s).bits);
        digest.add(sqrt(b, s).bits);
        digest.add(fma(a, b, c, static_cast<FmaSign>(random.below(4)), s).bits);
        digest.add(u64{s.flags});
        digest.add(min(a, b, s).bits);
        digest.add(round_to_integral(b, s.rounding, false, s).bits);
        digest.add(u64{compare_predicate(a, b, random.below(32), s)});
        digest.add(static_cast<u64>(to_i32(b, s.rounding, s)));
        digest.add(static_cast<u64>(to_i64(b, s.rounding, s)));
        digest.add(u64{s.flags});
    }
    return digest.value();
}

TEST(FpKnown, DigestOfSse) {
    EXPECT_EQ(sse_digest<F32>(), 0x1165cf73d495632au);
    EXPECT_EQ(sse_digest<F64>(), 0xcbe1b6a61e4bdc8fu);
}

TEST(FpKnown, DigestOfConversionsAndApproximations) {
    Random random(2);
    Digest digest;
    for (int i = 0; i < kDigestCases; ++i) {
        Status s = Status::from_mxcsr(random.mxcsr());
        const F32 a = random.operand<F32>();
        const F64 b = random.operand<F64>();
        digest.add(to_f64(a, s).bits);
        digest.add(to_f32(b, s).bits);
        digest.add(to_f16(a, s.rounding, s).bits);
        digest.add(to_f32(random.operand<F16>(), s).bits);
        digest.add(f32_from_int(static_cast<std::int64_t>(random.next()), s).bits);
        digest.add(f64_from_int(static_cast<std::int64_t>(random.next()), s).bits);
        digest.add(reciprocal_approximation(a).bits);
        digest.add(reciprocal_sqrt_approximation(a).bits);
        digest.add(u64{s.flags});
    }
    EXPECT_EQ(digest.value(), 0x2b620368e5259e0au);
}

TEST(FpKnown, DigestOfX87) {
    Random random(3);
    Digest digest;
    for (int i = 0; i < kDigestCases; ++i) {
        const F80 a = random.operand80();
        const F80 b = random.related80(a);
        Status s = Status::from_x87_control(random.x87_control());
        digest.add(add(a, b, s));
        digest.add(sub(a, b, s));
        digest.add(mul(a, b, s));
        digest.add(div(a, b, s));
        digest.add(u64{s.flags});
        digest.add(u64{s.rounded_up});
        digest.add(sqrt(a, s));
        digest.add(round_to_integral(a, s));
        digest.add(scale(a, b, s));
        digest.add(remainder_truncated(a, b, s).value);
        digest.add(remainder_nearest(a, b, s).value);
        digest.add(u64{s.flags});
        digest.add(to_f32(a, s).bits);
        digest.add(to_f64(a, s).bits);
        digest.add(static_cast<u64>(to_i16(a, s.rounding, s)));
        digest.add(static_cast<u64>(to_i64(a, s.rounding, s)));
        digest.add(static_cast<u64>(compare_signaling(a, b, s)));
        digest.add(u64{to_bcd(a, s).bytes[0]});
        digest.add(u64{s.flags});
    }
    EXPECT_EQ(digest.value(), 0x28d1fe09a38a693fu);
}

} // namespace
} // namespace calque::cpu::fp::test
