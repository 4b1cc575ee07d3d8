// Packed integer multiplication, sums of products and of differences, horizontal addition.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

#define LANEWISE(name, T, expression)                                                                                  \
    struct name {                                                                                                      \
        template <class V> static V apply(const V& a, const V& b, u8) {                                                \
            return map<T>(a, b, [](T x, T y) { return expression; });                                                  \
        }                                                                                                              \
    };

LANEWISE(MulLW, i16, i32{x} * y)
LANEWISE(MulHW, i16, (i32{x} * y) >> 16)
LANEWISE(MulHUW, u16, (u32{x} * y) >> 16)
LANEWISE(MulLD, u32, x* y)
LANEWISE(MulUDQ, u64, u64{static_cast<u32>(x)} * static_cast<u32>(y))
LANEWISE(MulDQ, i64, i64{static_cast<i32>(x)} * static_cast<i32>(y))
LANEWISE(MulHRSW, i16, (((i32{x} * y) >> 14) + 1) >> 1)

// PMADDWD: pairs of signed words; the one sum that overflows (four times 8000h) wraps.
struct MaddWD {
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<i16>(a), y = lanes<i16>(b);
        std::array<u32, V::bytes / 4> r{};
        for (std::size_t i = 0; i < r.size(); ++i)
            r[i] = static_cast<u32>(i32{x[2 * i]} * y[2 * i]) + static_cast<u32>(i32{x[2 * i + 1]} * y[2 * i + 1]);
        return vec(r);
    }
};
// PMADDUBSW: unsigned bytes of the first by signed bytes of the second, pairs added with saturation.
struct MaddUBSW {
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<u8>(a);
        const auto y = lanes<i8>(b);
        std::array<i16, V::bytes / 2> r{};
        for (std::size_t i = 0; i < r.size(); ++i)
            r[i] = saturate<i16>(i32{x[2 * i]} * y[2 * i] + i32{x[2 * i + 1]} * y[2 * i + 1]);
        return vec(r);
    }
};
struct SadBW {
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<u8>(a), y = lanes<u8>(b);
        V r;
        for (std::size_t i = 0; i < x.size(); ++i)
            r.q[i / 8] += static_cast<u64>(x[i] > y[i] ? x[i] - y[i] : y[i] - x[i]);
        return r;
    }
};
// MPSADBW: eight sums over sliding windows of the first source against one block of four bytes of the second. The upper
// half of a 256-bit one takes its offsets from bits 5:3 of the immediate.
struct MpsadBW {
    static constexpr unsigned widths = w_sse;
    static Vec<16> half(const Vec<16>& a, const Vec<16>& b, unsigned imm) {
        const auto x = lanes<u8>(a), y = lanes<u8>(b);
        const unsigned block = (imm & 3) * 4, start = (imm >> 2 & 1) * 4;
        std::array<u16, 8> r{};
        for (unsigned i = 0; i < 8; ++i)
            for (unsigned k = 0; k < 4; ++k) {
                const int d = x[start + i + k] - y[block + k];
                r[i] = static_cast<u16>(r[i] + (d < 0 ? -d : d));
            }
        return vec(r);
    }
    template <class V> static V apply(const V& a, const V& b, u8 imm) {
        unsigned control = imm;
        return by_half(a, b, [&](const auto& x, const auto& y) {
            const auto r = half(x, y, control & 7);
            control >>= 3;
            return r;
        });
    }
};

// Horizontal: pairs of the first source, then pairs of the second, within each 128 bits.
template <class T, class F> struct Horizontal {
    template <class V> static V apply(const V& a, const V& b, u8) {
        return by_half(a, b, [](const auto& x, const auto& y) {
            const auto p = lanes<T>(x), q = lanes<T>(y);
            auto r = p;
            constexpr std::size_t n = r.size() / 2;
            for (std::size_t i = 0; i < n; ++i) {
                r[i] = static_cast<T>(F()(p[2 * i], p[2 * i + 1]));
                r[n + i] = static_cast<T>(F()(q[2 * i], q[2 * i + 1]));
            }
            return vec(r);
        });
    }
};
struct Sum {
    template <class T> u32 operator()(T x, T y) const { return static_cast<u32>(x) + static_cast<u32>(y); }
};
struct Difference {
    template <class T> u32 operator()(T x, T y) const { return static_cast<u32>(x) - static_cast<u32>(y); }
};
struct SaturatedSum {
    i16 operator()(i16 x, i16 y) const { return saturate<i16>(x + y); }
};
struct SaturatedDifference {
    i16 operator()(i16 x, i16 y) const { return saturate<i16>(x - y); }
};
struct HaddW : Horizontal<i16, Sum> {};
struct HaddD : Horizontal<i32, Sum> {};
struct HaddSW : Horizontal<i16, SaturatedSum> {};
struct HsubW : Horizontal<i16, Difference> {};
struct HsubD : Horizontal<i32, Difference> {};
struct HsubSW : Horizontal<i16, SaturatedDifference> {};

#define MAKE(op) template Handler binary<op>(const Form&);
CALQUE_SIMD_MULTIPLY(MAKE)

} // namespace calque::cpu::simd
