// The soft floating point library against the host's own SSE, AVX and F16C units: results and flags of random operands,
// weighted to the edges, under every rounding mode, DAZ, FTZ and mask setting. CALQUE_FP_CASES=n runs n cases of each
// operation.
#if defined(__x86_64__)

#include "tests/cpu/fp_host.h"

#include "cpu/fp/approx.h"
#include "cpu/fp/arith.h"
#include "cpu/fp/convert.h"
#include "tests/cpu/fp_random.h"

#include <cpuid.h>
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>

namespace calque::cpu::fp::test {
namespace {

int case_count() {
    const char* text = std::getenv("CALQUE_FP_CASES");
    return text ? std::atoi(text) : 20000;
}

template <class T> u64 bits_of(T value) {
    if constexpr (requires { value.bits; })
        return value.bits;
    else
        return static_cast<u64>(value);
}

// Three operands and an environment, drawn for one case.
template <class Float> struct Case {
    Float a, b, c;
    u32 mxcsr;
};

template <class Float> Case<Float> draw(Random& random, bool unmasked) {
    Case<Float> drawn;
    drawn.a = random.operand<Float>();
    drawn.b = random.related(drawn.a);
    drawn.c = random.related(random.below(2) ? drawn.a : drawn.b);
    drawn.mxcsr = random.mxcsr();
    if (random.below(2)) drawn.mxcsr &= ~0x8040u;
    if (unmasked) drawn.mxcsr &= ~(random.below(64) << 7);
    return drawn;
}

enum class Reach { All, Half };

// Brings the exponent of every second operand into the reach of F16.
template <class Float> Float half_range(Float a) {
    const u64 exponent = (a.bits >> 23) & 0xff;
    if (exponent == 0 || exponent == 0xff || (a.bits & 1)) return a;
    return Float{static_cast<typename Format<Float>::Bits>((a.bits & 0x807fffff) | ((95 + exponent % 52) << 23))};
}

template <class Float, class Soft> void compare_with_host(const char* name, HostInstruction host, u64 result_mask,
                                                          bool in_rax, Soft soft, Reach reach = Reach::All) {
    const HostFaults faults;
    Random random(0x5eed);
    int shown = 0;
    const int cases = case_count();
    for (int i = 0; i < cases && shown < 8; ++i) {
        const bool unmasked = i % 16 == 0;
        Case<Float> drawn = draw<Float>(random, unmasked);
        if (reach == Reach::Half) drawn.b = half_range(drawn.b);
        HostState state;
        state.xmm0[0] = drawn.a.bits;
        state.xmm1[0] = drawn.b.bits;
        state.xmm2[0] = drawn.c.bits;
        state.rax = drawn.a.bits;
        state.mxcsr = drawn.mxcsr;
        host(&state);

        Status status = Status::from_mxcsr(drawn.mxcsr);
        const u64 result = bits_of(soft(drawn, status)) & result_mask;
        u32 mxcsr = drawn.mxcsr;
        const bool fault = status.commit_to_mxcsr(mxcsr);
        const u64 expected = (in_rax ? state.rax : state.xmm0[0]) & result_mask;
        const bool same_flags = (mxcsr & 0x3f) == (state.mxcsr & 0x3f);
        if (fault == (state.faulted != 0) && same_flags && (fault || result == expected)) continue;
        ++shown;
        ADD_FAILURE() << name << [&] {
            char text[256];
            std::snprintf(
                text, sizeof text,
                " a=%llx b=%llx c=%llx mxcsr=%x: host %llx flags %02x fault %u, soft %llx flags %02x fault %d",
                static_cast<unsigned long long>(drawn.a.bits), static_cast<unsigned long long>(drawn.b.bits),
                static_cast<unsigned long long>(drawn.c.bits), drawn.mxcsr, static_cast<unsigned long long>(expected),
                state.mxcsr & 0x3f, state.faulted, static_cast<unsigned long long>(result), mxcsr & 0x3f, fault);
            return std::string(text);
        }();
    }
}

constexpr u64 k32 = 0xffffffff;
constexpr u64 k64 = ~u64{0};

#define CHECK32(text, ...)                                                                                             \
    compare_with_host<F32>(text, CALQUE_HOST(text), k32, false,                                                        \
                           [](const auto& d, [[maybe_unused]] Status& s) { return __VA_ARGS__; })
#define CHECK64(text, ...)                                                                                             \
    compare_with_host<F64>(text, CALQUE_HOST(text), k64, false,                                                        \
                           [](const auto& d, [[maybe_unused]] Status& s) { return __VA_ARGS__; })

TEST(FpHost, AddSubMulDivSqrt) {
    CHECK32("addss %%xmm1, %%xmm0", add(d.a, d.b, s));
    CHECK64("addsd %%xmm1, %%xmm0", add(d.a, d.b, s));
    CHECK32("subss %%xmm1, %%xmm0", sub(d.a, d.b, s));
    CHECK64("subsd %%xmm1, %%xmm0", sub(d.a, d.b, s));
    CHECK32("mulss %%xmm1, %%xmm0", mul(d.a, d.b, s));
    CHECK64("mulsd %%xmm1, %%xmm0", mul(d.a, d.b, s));
    CHECK32("divss %%xmm1, %%xmm0", div(d.a, d.b, s));
    CHECK64("divsd %%xmm1, %%xmm0", div(d.a, d.b, s));
    CHECK32("sqrtss %%xmm1, %%xmm0", sqrt(d.b, s));
    CHECK64("sqrtsd %%xmm1, %%xmm0", sqrt(d.b, s));
}

TEST(FpHost, FusedMultiplyAdd) {
    if (!__builtin_cpu_supports("fma")) GTEST_SKIP() << "the host has no FMA";
    CHECK32("vfmadd132ss %%xmm2, %%xmm1, %%xmm0", fma(d.a, d.c, d.b, FmaSign::MulAdd, s));
    CHECK32("vfmadd213ss %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::MulAdd, s));
    CHECK32("vfmadd231ss %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.c, d.a, FmaSign::MulAdd, s));
    CHECK32("vfmsub213ss %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::MulSub, s));
    CHECK32("vfnmadd213ss %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::NegMulAdd, s));
    CHECK32("vfnmsub213ss %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::NegMulSub, s));
    CHECK64("vfmadd132sd %%xmm2, %%xmm1, %%xmm0", fma(d.a, d.c, d.b, FmaSign::MulAdd, s));
    CHECK64("vfmadd213sd %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::MulAdd, s));
    CHECK64("vfmadd231sd %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.c, d.a, FmaSign::MulAdd, s));
    CHECK64("vfmsub213sd %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::MulSub, s));
    CHECK64("vfnmadd213sd %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::NegMulAdd, s));
    CHECK64("vfnmsub213sd %%xmm2, %%xmm1, %%xmm0", fma(d.b, d.a, d.c, FmaSign::NegMulSub, s));
}

TEST(FpHost, MinMax) {
    CHECK32("minss %%xmm1, %%xmm0", min(d.a, d.b, s));
    CHECK64("minsd %%xmm1, %%xmm0", min(d.a, d.b, s));
    CHECK32("maxss %%xmm1, %%xmm0", max(d.a, d.b, s));
    CHECK64("maxsd %%xmm1, %%xmm0", max(d.a, d.b, s));
}

#define CHECK_RELATION(Float, text, ...)                                                                               \
    compare_with_host<Float>(text,                                                                                     \
                             CALQUE_HOST(text "\n mov $0, %%eax\n mov $0, %%ecx\n setz %%al\n setp %%cl\n"             \
                                              "lea (%%rcx,%%rax,2), %%eax\n setc %%cl\n"                               \
                                              "lea (%%rcx,%%rax,2), %%eax\n"),                                         \
                             7, true, [](const auto& d, Status& s) { return static_cast<u64>(__VA_ARGS__); })

TEST(FpHost, Compare) {
    CHECK_RELATION(F32, "ucomiss %%xmm1, %%xmm0", compare_quiet(d.a, d.b, s));
    CHECK_RELATION(F64, "ucomisd %%xmm1, %%xmm0", compare_quiet(d.a, d.b, s));
    CHECK_RELATION(F32, "comiss %%xmm1, %%xmm0", compare_signaling(d.a, d.b, s));
    CHECK_RELATION(F64, "comisd %%xmm1, %%xmm0", compare_signaling(d.a, d.b, s));
}

#define CHECK_PREDICATE(n)                                                                                             \
    CHECK32("vcmpss $" #n ", %%xmm1, %%xmm0, %%xmm0", compare_predicate(d.a, d.b, n, s) ? ~u32{0} : 0);                \
    CHECK64("vcmpsd $" #n ", %%xmm1, %%xmm0, %%xmm0", compare_predicate(d.a, d.b, n, s) ? ~u64{0} : 0)

TEST(FpHost, ComparePredicates) {
    if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "the host has no AVX";
    CHECK_PREDICATE(0);
    CHECK_PREDICATE(1);
    CHECK_PREDICATE(2);
    CHECK_PREDICATE(3);
    CHECK_PREDICATE(4);
    CHECK_PREDICATE(5);
    CHECK_PREDICATE(6);
    CHECK_PREDICATE(7);
    CHECK_PREDICATE(8);
    CHECK_PREDICATE(9);
    CHECK_PREDICATE(10);
    CHECK_PREDICATE(11);
    CHECK_PREDICATE(12);
    CHECK_PREDICATE(13);
    CHECK_PREDICATE(14);
    CHECK_PREDICATE(15);
    CHECK_PREDICATE(16);
    CHECK_PREDICATE(17);
    CHECK_PREDICATE(18);
    CHECK_PREDICATE(19);
    CHECK_PREDICATE(20);
    CHECK_PREDICATE(21);
    CHECK_PREDICATE(22);
    CHECK_PREDICATE(23);
    CHECK_PREDICATE(24);
    CHECK_PREDICATE(25);
    CHECK_PREDICATE(26);
    CHECK_PREDICATE(27);
    CHECK_PREDICATE(28);
    CHECK_PREDICATE(29);
    CHECK_PREDICATE(30);
    CHECK_PREDICATE(31);
}

#define CHECK_ROUND(imm, rounding, suppress)                                                                           \
    CHECK32("roundss $" #imm ", %%xmm1, %%xmm0", round_to_integral(d.b, rounding, suppress, s));                       \
    CHECK64("roundsd $" #imm ", %%xmm1, %%xmm0", round_to_integral(d.b, rounding, suppress, s))

TEST(FpHost, RoundToIntegral) {
    if (!__builtin_cpu_supports("sse4.1")) GTEST_SKIP() << "the host has no SSE4.1";
    CHECK_ROUND(0, Rounding::NearestEven, false);
    CHECK_ROUND(1, Rounding::Down, false);
    CHECK_ROUND(2, Rounding::Up, false);
    CHECK_ROUND(3, Rounding::TowardZero, false);
    CHECK_ROUND(4, s.rounding, false);
    CHECK_ROUND(12, s.rounding, true);
}

#define CHECK_TO_INT(Float, text, mask, ...)                                                                           \
    compare_with_host<Float>(text, CALQUE_HOST(text), mask, true,                                                      \
                             [](const auto& d, [[maybe_unused]] Status& s) { return __VA_ARGS__; })

TEST(FpHost, ToInteger) {
    CHECK_TO_INT(F32, "cvtss2si %%xmm1, %%eax", k32, to_i32(d.b, s.rounding, s));
    CHECK_TO_INT(F32, "cvtss2si %%xmm1, %%rax", k64, to_i64(d.b, s.rounding, s));
    CHECK_TO_INT(F64, "cvtsd2si %%xmm1, %%eax", k32, to_i32(d.b, s.rounding, s));
    CHECK_TO_INT(F64, "cvtsd2si %%xmm1, %%rax", k64, to_i64(d.b, s.rounding, s));
    CHECK_TO_INT(F32, "cvttss2si %%xmm1, %%eax", k32, to_i32(d.b, Rounding::TowardZero, s));
    CHECK_TO_INT(F32, "cvttss2si %%xmm1, %%rax", k64, to_i64(d.b, Rounding::TowardZero, s));
    CHECK_TO_INT(F64, "cvttsd2si %%xmm1, %%eax", k32, to_i32(d.b, Rounding::TowardZero, s));
    CHECK_TO_INT(F64, "cvttsd2si %%xmm1, %%rax", k64, to_i64(d.b, Rounding::TowardZero, s));
}

TEST(FpHost, FromInteger) {
    CHECK32("cvtsi2ss %%eax, %%xmm0", f32_from_int(static_cast<std::int32_t>(d.a.bits), s));
    CHECK64("cvtsi2sd %%eax, %%xmm0", f64_from_int(static_cast<std::int32_t>(d.a.bits), s));
    CHECK64("cvtsi2sd %%rax, %%xmm0", f64_from_int(static_cast<std::int64_t>(d.a.bits), s));
    compare_with_host<F64>(
        "cvtsi2ss %rax", CALQUE_HOST("cvtsi2ss %%rax, %%xmm0"), k32, false,
        [](const auto& d, Status& s) { return f32_from_int(static_cast<std::int64_t>(d.a.bits), s); });
}

TEST(FpHost, BetweenFormats) {
    compare_with_host<F32>("cvtss2sd", CALQUE_HOST("cvtss2sd %%xmm1, %%xmm0"), k64, false,
                           [](const auto& d, Status& s) { return to_f64(d.b, s); });
    compare_with_host<F64>("cvtsd2ss", CALQUE_HOST("cvtsd2ss %%xmm1, %%xmm0"), k32, false,
                           [](const auto& d, Status& s) { return to_f32(d.b, s); });
}

// clang 14's __builtin_cpu_supports does not know F16C: CPUID.1:ECX[29].
bool host_has_f16c() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ((ecx >> 29) & 1);
}

#define CHECK_TO_HALF(imm, rounding)                                                                                   \
    compare_with_host<F32>(                                                                                            \
        "vcvtps2ph $" #imm, CALQUE_HOST("vcvtps2ph $" #imm ", %%xmm1, %%xmm0"), 0xffff, false,                         \
        [](const auto& d, Status& s) { return to_f16(d.b, rounding, s); }, Reach::Half)

TEST(FpHost, HalfPrecision) {
    if (!host_has_f16c()) GTEST_SKIP() << "the host has no F16C";
    compare_with_host<F16>("vcvtph2ps", CALQUE_HOST("vcvtph2ps %%xmm1, %%xmm0"), k32, false,
                           [](const auto& d, Status& s) { return to_f32(d.b, s); });
    CHECK_TO_HALF(0, Rounding::NearestEven);
    CHECK_TO_HALF(1, Rounding::Down);
    CHECK_TO_HALF(2, Rounding::Up);
    CHECK_TO_HALF(3, Rounding::TowardZero);
    CHECK_TO_HALF(4, s.rounding);
}

// The values are AMD's: on a CPU of another maker they differ within the architectural error bound.
TEST(FpHost, Approximations) {
    if (!__builtin_cpu_is("amd")) GTEST_SKIP() << "the host is not an AMD CPU";
    CHECK32("rcpss %%xmm1, %%xmm0", reciprocal_approximation(d.b));
    CHECK32("rsqrtss %%xmm1, %%xmm0", reciprocal_sqrt_approximation(d.b));
}

} // namespace
} // namespace calque::cpu::fp::test

#endif
