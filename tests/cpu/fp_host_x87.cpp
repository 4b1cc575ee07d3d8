// The F80 operations against the host's own x87 unit: results, exception flags, condition codes, under every rounding
// mode, precision control and mask setting. CALQUE_FP_CASES=n runs n cases of each operation.
#if defined(__x86_64__)

#include "cpu/fp/f80.h"
#include "cpu/fp/transcendental.h"
#include "tests/cpu/fp_random.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>

namespace calque::cpu::fp::test {
namespace {

int case_count() {
    const char* text = std::getenv("CALQUE_FP_CASES");
    return text ? std::atoi(text) : 20000;
}

struct HostX87 {
    u8 st0[16] = {}; // in: ST0
    u8 st1[16] = {}; // in: ST1
    u64 memory[2] = {};
    u16 control = 0;
    u16 status = 0;
    u8 saved[108] = {}; // FNSAVE's 32-bit protected-mode format

    static void put(u8* to, F80 from) {
        std::memcpy(to, &from.significand, 8);
        std::memcpy(to + 8, &from.sign_exponent, 2);
    }
    static F80 get(const u8* from) {
        F80 value;
        std::memcpy(&value.significand, from, 8);
        std::memcpy(&value.sign_exponent, from + 8, 2);
        return value;
    }
    F80 st(int i) const { return get(saved + 28 + 10 * i); }
};

using HostInstruction = void (*)(HostX87*);

// The text may use ST0 and ST1 and, by (%%rdx), `memory`. FNSTSW and FNSAVE do not wait, so an unmasked exception is
// never taken.
#define CALQUE_X87(text)                                                                                               \
    [](HostX87* x) {                                                                                                   \
        asm volatile("fninit\n fldt %[st1]\n fldt %[st0]\n fldcw %[control]\n" text "\n fnstsw %[status]\n"            \
                     "fnsave %[saved]\n"                                                                               \
                     : [status] "=m"(x->status), [saved] "=m"(x->saved), "+m"(x->memory)                               \
                     : [st0] "m"(x->st0), [st1] "m"(x->st1), [control] "m"(x->control), "d"(x->memory)                 \
                     : "memory");                                                                                      \
    }

// What one operation leaves that is to be compared.
struct Outcome {
    F80 first = {};
    F80 second = {};
    u64 memory[2] = {};
    u16 status = 0; // flags in bits 5:0, C0 C1 C2 C3 where they lie
    bool operator==(const Outcome& other) const {
        return first == other.first && second == other.second && memory[0] == other.memory[0]
               && memory[1] == other.memory[1] && status == other.status;
    }
};

constexpr u16 kC0 = 0x100, kC1 = 0x200, kC2 = 0x400, kC3 = 0x4000;

struct Case {
    F80 a; // ST0
    F80 b; // ST1
    u64 memory[2];
    u16 control;
};

std::string describe(const Outcome& o) {
    char text[160];
    std::snprintf(text, sizeof text, "%04x:%016llx %04x:%016llx mem %016llx:%016llx sw %04x", o.first.sign_exponent,
                  static_cast<unsigned long long>(o.first.significand), o.second.sign_exponent,
                  static_cast<unsigned long long>(o.second.significand), static_cast<unsigned long long>(o.memory[1]),
                  static_cast<unsigned long long>(o.memory[0]), o.status);
    return text;
}

enum class Exactness { Full, LastPlace };

bool one_apart(F80 a, F80 b) {
    if (a == b) return true;
    if (a.sign() != b.sign()) return false;
    const u128 x = u128{static_cast<u64>(a.exponent())} << 63 | (a.significand & ~F80::kIntegerBit);
    const u128 y = u128{static_cast<u64>(b.exponent())} << 63 | (b.significand & ~F80::kIntegerBit);
    return x + 1 == y || y + 1 == x;
}

// The same but for the last place of a result, and then also for C1.
bool agrees_nearly(const Outcome& a, const Outcome& b) {
    return one_apart(a.first, b.first) && one_apart(a.second, b.second) && ((a.status ^ b.status) & ~kC1) == 0
           && (a.status & kPrecision);
}

// `soft` fills an Outcome whose fields start as the untouched state. `status_mask` says which condition codes are
// defined.
template <class Soft> void compare_with_host(const char* name, HostInstruction host, u16 status_mask, Soft soft,
                                             void (*adjust)(Case&, Random&) = nullptr,
                                             Exactness exactness = Exactness::Full) {
    Random random(0x5eed87);
    int shown = 0;
    int near = 0; // results one unit in the last place apart
    const int cases = case_count();
    for (int i = 0; i < cases && shown < 8; ++i) {
        Case drawn;
        drawn.a = random.operand80();
        drawn.b = random.related80(drawn.a);
        drawn.memory[0] = random.next();
        drawn.memory[1] = random.next();
        drawn.control = random.x87_control();
        if (random.below(2)) drawn.control |= 0x300;
        if (random.below(4) == 0) drawn.control &= static_cast<u16>(~random.below(64));
        if (adjust) adjust(drawn, random);
        HostX87 x;
        HostX87::put(x.st0, drawn.a);
        HostX87::put(x.st1, drawn.b);
        std::memcpy(x.memory, drawn.memory, 16);
        x.control = drawn.control;
        host(&x);
        Outcome hard;
        hard.first = x.st(0);
        hard.second = x.st(1);
        std::memcpy(hard.memory, x.memory, 16);
        hard.status = x.status & (status_mask | 0x3f);

        Outcome own;
        own.first = drawn.a;
        own.second = drawn.b;
        std::memcpy(own.memory, drawn.memory, 16);
        Status status = Status::from_x87_control(drawn.control);
        soft(drawn, own, status);
        own.status |= status.flags | (status.rounded_up ? kC1 : 0);
        own.status &= status_mask | 0x3f;
        if (own == hard) continue;
        if (exactness == Exactness::LastPlace && agrees_nearly(own, hard)) {
            ++near;
            continue;
        }
        ++shown;
        char text[160];
        std::snprintf(text, sizeof text, "%s st0=%04x:%016llx st1=%04x:%016llx m=%016llx cw=%04x\n", name,
                      drawn.a.sign_exponent, static_cast<unsigned long long>(drawn.a.significand),
                      drawn.b.sign_exponent, static_cast<unsigned long long>(drawn.b.significand),
                      static_cast<unsigned long long>(drawn.memory[0]), drawn.control);
        ADD_FAILURE() << text << "    host " << describe(hard) << "\n    soft " << describe(own);
    }
    EXPECT_LE(near, cases / 8) << name;
}

// Where the manual leaves the x87 room, the library does as AMD's CPUs do.
#define CALQUE_NEED_AMD()                                                                                              \
    if (!__builtin_cpu_is("amd")) GTEST_SKIP() << "the host is not an AMD CPU"

// An operation that replaces ST0.
#define CHECK_ST0(text, ...)                                                                                           \
    compare_with_host(text, CALQUE_X87(text), kC1, [](const Case& d, Outcome& o, Status& s) {                          \
        const F80 result = __VA_ARGS__;                                                                                \
        if (s.writes_register()) o.first = result;                                                                     \
    })

TEST(FpHostX87, AddSubMulDivSqrt) {
    CHECK_ST0("fadd %%st(1), %%st", add(d.a, d.b, s));
    CHECK_ST0("fsub %%st(1), %%st", sub(d.a, d.b, s));
    CHECK_ST0("fmul %%st(1), %%st", mul(d.a, d.b, s));
    CHECK_ST0("fdiv %%st(1), %%st", div(d.a, d.b, s));
    CHECK_ST0("fsqrt", sqrt(d.a, s));
}

template <class Float> Float memory_float(const Case& d) {
    return Float{static_cast<typename Format<Float>::Bits>(d.memory[0])};
}

template <class Float> void weigh_memory(Case& d, Random& random) { d.memory[0] = random.operand<Float>().bits; }

#define CHECK_ST0_MEMORY(Float, text, ...)                                                                             \
    compare_with_host(                                                                                                 \
        text, CALQUE_X87(text), kC1,                                                                                   \
        [](const Case& d, Outcome& o, Status& s) {                                                                     \
            const Float m = memory_float<Float>(d);                                                                    \
            const F80 result = __VA_ARGS__;                                                                            \
            if (s.writes_register()) o.first = result;                                                                 \
        },                                                                                                             \
        weigh_memory<Float>)

TEST(FpHostX87, MemoryOperands) {
    CHECK_ST0_MEMORY(F32, "fadds (%%rdx)", add(d.a, widen_operand(m, s), s));
    CHECK_ST0_MEMORY(F64, "faddl (%%rdx)", add(d.a, widen_operand(m, s), s));
    CHECK_ST0_MEMORY(F32, "fmuls (%%rdx)", mul(d.a, widen_operand(m, s), s));
    CHECK_ST0_MEMORY(F64, "fdivl (%%rdx)", div(d.a, widen_operand(m, s), s));
    CHECK_ST0_MEMORY(F64, "fdivrl (%%rdx)", div(widen_operand(m, s), d.a, s));
    CHECK_ST0_MEMORY(F32, "fsubrs (%%rdx)", sub(widen_operand(m, s), d.a, s));
}

#define CHECK_LOAD(Float, text, ...)                                                                                   \
    compare_with_host(                                                                                                 \
        text, CALQUE_X87("fstp %%st(0)\n" text), kC1,                                                                  \
        [](const Case& d, Outcome& o, Status& s) {                                                                     \
            const Float m = memory_float<Float>(d);                                                                    \
            const F80 result = __VA_ARGS__;                                                                            \
            const bool loaded = !s.unmasked(s.flags & kInvalid);                                                       \
            o.first = loaded ? result : d.b;                                                                           \
            o.second = loaded ? d.b : F80{0, 0};                                                                       \
        },                                                                                                             \
        weigh_memory<Float>)

TEST(FpHostX87, Loads) {
    CALQUE_NEED_AMD();
    CHECK_LOAD(F32, "flds (%%rdx)", to_f80(m, s));
    CHECK_LOAD(F64, "fldl (%%rdx)", to_f80(m, s));
}

#define CHECK_STORE(type, text, ...)                                                                                   \
    compare_with_host(text, CALQUE_X87(text), kC1, [](const Case& d, Outcome& o, Status& s) {                          \
        const type result = __VA_ARGS__;                                                                               \
        if (s.writes_memory()) std::memcpy(o.memory, &result, sizeof result);                                          \
    })

TEST(FpHostX87, Stores) {
    CALQUE_NEED_AMD();
    CHECK_STORE(u32, "fsts (%%rdx)", to_f32(d.a, s).bits);
    CHECK_STORE(u64, "fstl (%%rdx)", to_f64(d.a, s).bits);
    CHECK_STORE(std::int16_t, "fists (%%rdx)", to_i16(d.a, s.rounding, s));
    CHECK_STORE(std::int32_t, "fistl (%%rdx)", to_i32(d.a, s.rounding, s));
}

#define CHECK_STORE_POP(type, text, ...)                                                                               \
    compare_with_host(text, CALQUE_X87("fld %%st(0)\n" text "\n"), kC1, [](const Case& d, Outcome& o, Status& s) {     \
        const type result = __VA_ARGS__;                                                                               \
        if (s.writes_memory())                                                                                         \
            std::memcpy(o.memory, &result, sizeof result);                                                             \
        else                                                                                                           \
            o.second = d.a;                                                                                            \
    })

TEST(FpHostX87, PoppingStores) {
    CALQUE_NEED_AMD();
    CHECK_STORE_POP(std::int64_t, "fistpll (%%rdx)", to_i64(d.a, s.rounding, s));
    CHECK_STORE_POP(std::int16_t, "fisttps (%%rdx)", to_i16(d.a, Rounding::TowardZero, s));
    CHECK_STORE_POP(std::int32_t, "fisttpl (%%rdx)", to_i32(d.a, Rounding::TowardZero, s));
    CHECK_STORE_POP(std::int64_t, "fisttpll (%%rdx)", to_i64(d.a, Rounding::TowardZero, s));
    CHECK_STORE_POP(PackedBcd, "fbstp (%%rdx)", to_bcd(d.a, s));
}

u16 condition_codes(Relation relation) {
    const unsigned bits = static_cast<unsigned>(relation);
    return static_cast<u16>((bits & 1 ? kC0 : 0) | (bits & 2 ? kC2 : 0) | (bits & 4 ? kC3 : 0));
}

#define CHECK_COMPARE(text, ...)                                                                                       \
    compare_with_host(text, CALQUE_X87(text), kC0 | kC1 | kC2 | kC3,                                                   \
                      [](const Case& d, Outcome& o, Status& s) { o.status |= condition_codes(__VA_ARGS__); })

TEST(FpHostX87, Compare) {
    CHECK_COMPARE("fcom %%st(1)", compare_signaling(d.a, d.b, s));
    CHECK_COMPARE("fucom %%st(1)", compare_quiet(d.a, d.b, s));
}

TEST(FpHostX87, RoundScaleExtract) {
    CALQUE_NEED_AMD();
    CHECK_ST0("frndint", round_to_integral(d.a, s));
    CHECK_ST0("fscale", scale(d.a, d.b, s));
    compare_with_host("fxtract", CALQUE_X87("fxtract"), kC1, [](const Case& d, Outcome& o, Status& s) {
        const Extracted result = extract(d.a, s);
        if (!s.writes_register()) return;
        o.first = result.significand;
        o.second = result.exponent;
    });
}

void put_quotient(Outcome& o, const Remainder& r) {
    o.status |= static_cast<u16>((r.quotient & 4 ? kC0 : 0) | (r.quotient & 2 ? kC3 : 0) | (r.quotient & 1 ? kC1 : 0)
                                 | (r.complete ? 0 : kC2));
}

TEST(FpHostX87, Remainder) {
    CALQUE_NEED_AMD();
    compare_with_host("fprem", CALQUE_X87("fprem"), kC0 | kC1 | kC2 | kC3, [](const Case& d, Outcome& o, Status& s) {
        const Remainder r = remainder_truncated(d.a, d.b, s);
        if (s.writes_register()) o.first = r.value;
        put_quotient(o, r);
    });
    compare_with_host("fprem1", CALQUE_X87("fprem1"), kC0 | kC1 | kC2 | kC3, [](const Case& d, Outcome& o, Status& s) {
        const Remainder r = remainder_nearest(d.a, d.b, s);
        if (s.writes_register()) o.first = r.value;
        put_quotient(o, r);
    });
}

TEST(FpHostX87, LoadBcd) {
    CALQUE_NEED_AMD();
    compare_with_host("fbld", CALQUE_X87("fstp %%st(0)\n fbld (%%rdx)"), kC1, [](const Case& d, Outcome& o, Status&) {
        PackedBcd bcd;
        std::memcpy(&bcd, d.memory, sizeof bcd);
        o.first = f80_from_bcd(bcd);
    });
}

u16 incomplete(bool complete) { return complete ? 0 : kC2; }

#define CHECK_TRANSCENDENTAL(text, bits, ...)                                                                          \
    compare_with_host(text, CALQUE_X87(text), kC1 | (bits), [](const Case& d, Outcome& o, Status& s) __VA_ARGS__,      \
                      transcendental_operands, Exactness::LastPlace)

#define CHECK_TRIGONOMETRIC(text, ...)                                                                                 \
    CHECK_TRANSCENDENTAL(text, kC2, {                                                                                  \
        const Trigonometric result = __VA_ARGS__;                                                                      \
        if (s.writes_register()) o.first = result.value;                                                               \
        o.status |= incomplete(result.complete);                                                                       \
    })

// Half of the operands near 1, where the functions are not trivial.
F80 near_one(Random& random) {
    const u16 sign = random.next() & 0x8000;
    const unsigned exponent = F80::kBias - 6 + random.below(9);
    return F80{random.next() | F80::kIntegerBit, static_cast<u16>(sign | exponent)};
}
void transcendental_operands(Case& d, Random& random) {
    if (random.below(2)) d.a = near_one(random);
    if (random.below(2)) d.b = near_one(random);
    if (random.below(16) == 0) d.a = F80{F80::kIntegerBit, static_cast<u16>((random.next() & 0x8000) | F80::kBias)};
}

TEST(FpHostX87, Trigonometry) {
    CALQUE_NEED_AMD();
    CHECK_TRIGONOMETRIC("fsin", sine(d.a, s));
    CHECK_TRIGONOMETRIC("fcos", cosine(d.a, s));
    CHECK_TRANSCENDENTAL("fptan", kC2, {
        const Trigonometric result = tangent(d.a, s);
        o.status |= incomplete(result.complete);
        if (!s.writes_register() || !result.complete) return;
        o.second = result.value;
        o.first = constant(Constant::One, s.rounding);
        if (classify(result.value) == F80Class::Nan) o.first = result.value; // pushed in place of 1
    });
    CHECK_TRANSCENDENTAL("fsincos", kC2, {
        const SineCosine result = sine_cosine(d.a, s);
        o.status |= incomplete(result.complete);
        if (!s.writes_register() || !result.complete) return;
        o.second = result.sine;
        o.first = result.cosine;
    });
}

#define CHECK_POPPING(text, ...)                                                                                       \
    compare_with_host(                                                                                                 \
        text, CALQUE_X87("fldz\n fxch %%st(2)\n fxch %%st(1)\n" text), kC1,                                            \
        [](const Case& d, Outcome& o, Status& s) {                                                                     \
            const F80 result = __VA_ARGS__;                                                                            \
            if (!s.writes_register()) return;                                                                          \
            o.first = result;                                                                                          \
            o.second = F80{};                                                                                          \
        },                                                                                                             \
        transcendental_operands, Exactness::LastPlace)

TEST(FpHostX87, ArctangentAndLogarithms) {
    CALQUE_NEED_AMD();
    CHECK_TRANSCENDENTAL("f2xm1", 0, {
        const F80 result = exp2_minus_1(d.a, s);
        if (s.writes_register()) o.first = result;
    });
    CHECK_POPPING("fpatan", arctangent(d.b, d.a, s));
    CHECK_POPPING("fyl2x", y_log2_x(d.b, d.a, s));
    CHECK_POPPING("fyl2xp1", y_log2_x_plus_1(d.b, d.a, s));
}

} // namespace
} // namespace calque::cpu::fp::test

#endif
