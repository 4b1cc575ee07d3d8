// Packed unpacking, packing, shuffling, blending and absolute values.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

// Interleaves the low or high halves of each 128 bits (all of 64).
template <class T, bool High> struct Unpack {
    template <class V> static V apply(const V& a, const V& b, u8) {
        return by_half(a, b, [](const auto& x, const auto& y) {
            const auto p = lanes<T>(x), q = lanes<T>(y);
            auto r = p;
            const std::size_t from = High ? r.size() / 2 : 0;
            for (std::size_t i = 0; i < r.size() / 2; ++i) {
                r[2 * i] = p[from + i];
                r[2 * i + 1] = q[from + i];
            }
            return vec(r);
        });
    }
};
struct UnpackLBW : Unpack<u8, false> {
    static constexpr bool mmx_low_half = true;
};
struct UnpackLWD : Unpack<u16, false> {
    static constexpr bool mmx_low_half = true;
};
struct UnpackLDQ : Unpack<u32, false> {
    static constexpr bool mmx_low_half = true;
};
struct UnpackLQDQ : Unpack<u64, false> {
    static constexpr unsigned widths = w_sse;
};
struct UnpackHBW : Unpack<u8, true> {};
struct UnpackHWD : Unpack<u16, true> {};
struct UnpackHDQ : Unpack<u32, true> {};
struct UnpackHQDQ : Unpack<u64, true> {
    static constexpr unsigned widths = w_sse;
};

// Narrows the lanes of the first source, then of the second, with saturation.
template <class Wide, class Narrow> struct Pack {
    template <class V> static V apply(const V& a, const V& b, u8) {
        return by_half(a, b, [](const auto& x, const auto& y) {
            const auto p = lanes<Wide>(x), q = lanes<Wide>(y);
            constexpr std::size_t n = p.size();
            std::array<Narrow, n * 2> r{};
            for (std::size_t i = 0; i < n; ++i) {
                r[i] = saturate<Narrow>(p[i]);
                r[n + i] = saturate<Narrow>(q[i]);
            }
            return vec(r);
        });
    }
};
struct PackSSWB : Pack<i16, i8> {};
struct PackSSDW : Pack<i32, i16> {};
struct PackUSWB : Pack<i16, u8> {};
struct PackUSDW : Pack<i32, u16> {
    static constexpr unsigned widths = w_sse;
};

struct ShufB {
    template <class V> static V apply(const V& a, const V& b, u8) {
        return by_half(a, b, [](const auto& x, const auto& y) {
            const auto p = lanes<u8>(x), control = lanes<u8>(y);
            auto r = p;
            for (std::size_t i = 0; i < r.size(); ++i)
                r[i] = control[i] & 0x80 ? u8{0} : p[control[i] & (p.size() - 1)];
            return vec(r);
        });
    }
};
// PALIGNR: the second source below the first, shifted right by bytes.
struct AlignR {
    template <class V> static V apply(const V& a, const V& b, u8 imm) {
        return by_half(a, b, [imm](const auto& x, const auto& y) {
            const auto high = lanes<u8>(x), low = lanes<u8>(y);
            auto r = low;
            const std::size_t n = r.size();
            for (std::size_t i = 0; i < n; ++i) {
                const std::size_t at = i + imm;
                r[i] = at < n ? low[at] : at < 2 * n ? high[at - n] : u8{0};
            }
            return vec(r);
        });
    }
};
// Lane i comes from the second source where bit i of the immediate (repeated every Period lanes) is set.
template <class T, unsigned Period> struct Blend {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& a, const V& b, u8 imm) {
        auto r = lanes<T>(a);
        const auto y = lanes<T>(b);
        for (std::size_t i = 0; i < r.size(); ++i)
            if (imm >> (i % Period) & 1) r[i] = y[i];
        return vec(r);
    }
};
struct BlendW : Blend<u16, 8> {};
struct BlendD : Blend<u32, 8> {}; // VPBLENDD, BLENDPS
struct BlendPD : Blend<u64, 8> {};

struct ShufPS {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& a, const V& b, u8 imm) {
        return by_half(a, b, [imm](const auto& x, const auto& y) {
            const auto p = lanes<u32>(x), q = lanes<u32>(y);
            auto r = p;
            r[0] = p[imm & 3];
            r[1] = p[imm >> 2 & 3];
            r[2] = q[imm >> 4 & 3];
            r[3] = q[imm >> 6 & 3];
            return vec(r);
        });
    }
};
struct ShufPD {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& a, const V& b, u8 imm) {
        V r;
        for (std::size_t i = 0; i < r.q.size(); i += 2) {
            r.q[i] = a.q[i + (imm >> i & 1)];
            r.q[i + 1] = b.q[i + (imm >> (i + 1) & 1)];
        }
        return r;
    }
};

template <class T> struct Absolute {
    template <class V> static V apply(const V& b, u8) {
        using U = std::make_unsigned_t<T>;
        return map<T>(b, [](T x) { return x < 0 ? static_cast<T>(U{0} - static_cast<U>(x)) : x; });
    }
};
struct AbsB : Absolute<i8> {};
struct AbsW : Absolute<i16> {};
struct AbsD : Absolute<i32> {};

// Four lanes from `First` on, in each group of Group lanes, are picked by the immediate; the others stay.
template <class T, unsigned Group, unsigned First> struct ShuffleImmediate {
    template <class V> static V apply(const V& b, u8 imm) {
        const auto x = lanes<T>(b);
        auto r = x;
        for (std::size_t base = First; base < r.size(); base += Group)
            for (unsigned i = 0; i < 4; ++i)
                r[base + i] = x[base + (imm >> (2 * i) & 3)];
        return vec(r);
    }
};
struct ShufD : ShuffleImmediate<u32, 4, 0> {
    static constexpr unsigned widths = w_sse;
};
struct ShufLW : ShuffleImmediate<u16, 8, 0> {
    static constexpr unsigned widths = w_sse;
};
struct ShufHW : ShuffleImmediate<u16, 8, 4> {
    static constexpr unsigned widths = w_sse;
};
struct ShufMW : ShuffleImmediate<u16, 4, 0> { // PSHUFW
    static constexpr unsigned widths = w64;
};
struct PhMinPosUW {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& b, u8) {
        const auto x = lanes<u16>(b);
        unsigned at = 0;
        for (unsigned i = 1; i < 8; ++i)
            if (x[i] < x[at]) at = i;
        return V{{x[at] | u64{at} << 16, 0}};
    }
};
struct DupLowD { // MOVSLDUP
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& b, u8) {
        return map<u64>(b, [](u64 x) { return (x & 0xFFFFFFFF) | x << 32; });
    }
};
struct DupHighD { // MOVSHDUP
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& b, u8) {
        return map<u64>(b, [](u64 x) { return x >> 32 | (x & ~u64{0xFFFFFFFF}); });
    }
};
struct DupLowQ { // VMOVDDUP, 256 bits: memory is a whole vector only there.
    static constexpr unsigned widths = w256;
    template <class V> static V apply(const V& b, u8) {
        V r = b;
        for (std::size_t i = 1; i < r.q.size(); i += 2)
            r.q[i] = r.q[i - 1];
        return r;
    }
};

Handler duplicate_low_256(const Form& f) { return unary<DupLowQ>(f); }

#define MAKE_BINARY(op) template Handler binary<op>(const Form&);
CALQUE_SIMD_SHUFFLE(MAKE_BINARY)
#define MAKE_UNARY(op) template Handler unary<op>(const Form&);
CALQUE_SIMD_UNARY(MAKE_UNARY)

} // namespace calque::cpu::simd
