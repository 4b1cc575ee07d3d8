// AES (FIPS 197), carry-less multiplication, SHA-1 and SHA-256 (FIPS 180-4).
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

// Multiplication by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
constexpr u8 times_x(u8 a) { return static_cast<u8>((a << 1) ^ (a & 0x80 ? 0x1B : 0)); }
constexpr u8 times(u8 a, u8 b) {
    u8 r = 0;
    for (; b; b >>= 1, a = times_x(a))
        if (b & 1) r ^= a;
    return r;
}

// The S-box is made as FIPS 197, 5.1.1 defines it: the inverse in the field, then an affine map.
constexpr std::array<u8, 256> make_sbox() {
    std::array<u8, 256> box{};
    for (unsigned value = 0; value < 256; ++value) {
        u8 inverse = 0;
        for (unsigned candidate = 1; candidate < 256 && value; ++candidate)
            if (times(static_cast<u8>(value), static_cast<u8>(candidate)) == 1) inverse = static_cast<u8>(candidate);
        u8 r = 0x63;
        for (unsigned turn = 0; turn < 5; ++turn)
            r ^= static_cast<u8>((inverse << turn) | (inverse >> (8 - turn)));
        box[value] = r;
    }
    return box;
}
std::array<u8, 256> inverse_of(const std::array<u8, 256>& box) {
    std::array<u8, 256> inverse{};
    for (unsigned i = 0; i < 256; ++i)
        inverse[box[i]] = static_cast<u8>(i);
    return inverse;
}
const std::array<u8, 256> sbox = make_sbox();
const std::array<u8, 256> inverse_sbox = inverse_of(sbox);

using Block = std::array<u8, 16>; // The state, column by column.

template <bool Inverse> Block shift_and_substitute(const Block& s) {
    Block r;
    const auto& box = Inverse ? inverse_sbox : sbox;
    for (unsigned column = 0; column < 4; ++column)
        for (unsigned row = 0; row < 4; ++row) {
            const unsigned from = Inverse ? column - row : column + row;
            r[4 * column + row] = box[s[4 * (from & 3) + row]];
        }
    return r;
}
template <bool Inverse> Block mix_columns(const Block& s) {
    constexpr std::array<u8, 4> factors = Inverse ? std::array<u8, 4>{14, 11, 13, 9} : std::array<u8, 4>{2, 3, 1, 1};
    Block r{};
    for (unsigned column = 0; column < 4; ++column)
        for (unsigned row = 0; row < 4; ++row)
            for (unsigned k = 0; k < 4; ++k)
                r[4 * column + row] ^= times(s[4 * column + ((row + k) & 3)], factors[k]);
    return r;
}
Vec<16> xored(const Block& a, const Vec<16>& b) {
    const Vec<16> x = vec(a);
    return {{x.q[0] ^ b.q[0], x.q[1] ^ b.q[1]}};
}
u32 substitute_word(u32 w) {
    return static_cast<u32>(sbox[w & 0xFF]) | static_cast<u32>(sbox[w >> 8 & 0xFF]) << 8
           | static_cast<u32>(sbox[w >> 16 & 0xFF]) << 16 | static_cast<u32>(sbox[w >> 24]) << 24;
}

constexpr u32 rotate_left(u32 x, unsigned n) { return std::rotl(x, static_cast<int>(n)); }
constexpr u32 rotate_right(u32 x, unsigned n) { return std::rotr(x, static_cast<int>(n)); }

} // namespace

// The operations on 128-bit vectors; `a` is the state (legacy: the destination), `b` the round key.
struct AesEnc {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& a, const V& b, u8) {
        return xored(mix_columns<false>(shift_and_substitute<false>(lanes<u8>(a))), b);
    }
};
struct AesEncLast {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& a, const V& b, u8) {
        return xored(shift_and_substitute<false>(lanes<u8>(a)), b);
    }
};
struct AesDec {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& a, const V& b, u8) {
        return xored(mix_columns<true>(shift_and_substitute<true>(lanes<u8>(a))), b);
    }
};
struct AesDecLast {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& a, const V& b, u8) {
        return xored(shift_and_substitute<true>(lanes<u8>(a)), b);
    }
};
struct AesImc {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& b, u8) { return vec(mix_columns<true>(lanes<u8>(b))); }
};
struct AesKeygen {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& b, u8 imm) {
        const auto x = lanes<u32>(b);
        const u32 one = substitute_word(x[1]), three = substitute_word(x[3]);
        return vec(std::array<u32, 4>{one, rotate_right(one, 8) ^ imm, three, rotate_right(three, 8) ^ imm});
    }
};
// Immediate bits 0 and 4 pick the halves.
struct ClMul {
    static constexpr unsigned widths = w128;
    template <class V> static V apply(const V& a, const V& b, u8 imm) {
        const u64 x = a.q[imm & 1], y = b.q[imm >> 4 & 1];
        u128 r = 0;
        for (unsigned n = 0; n < 64; ++n)
            if (y >> n & 1) r ^= u128{x} << n;
        return V{{static_cast<u64>(r), static_cast<u64>(r >> 64)}};
    }
};

// SHA-1: four rounds; A is in the highest lane (SDM volume 2, SHA1RNDS4).
struct Sha1Rnds4 {
    static constexpr unsigned widths = w128;
    static constexpr bool memory_unaligned = true; // As in silicon, though the manuals ask for alignment.
    template <class V> static V apply(const V& first, const V& second, u8 imm) {
        const auto s = lanes<u32>(first), w = lanes<u32>(second);
        u32 a = s[3], b = s[2], c = s[1], d = s[0], e = 0;
        static constexpr std::array<u32, 4> constants{0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
        const unsigned kind = imm & 3;
        for (unsigned round = 0; round < 4; ++round) {
            const u32 f = kind == 0 ? (b & c) ^ (~b & d) : kind == 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d;
            const u32 next = f + rotate_left(a, 5) + w[3 - round] + e + constants[kind];
            e = d;
            d = c;
            c = rotate_left(b, 30);
            b = a;
            a = next;
        }
        return vec(std::array<u32, 4>{d, c, b, a});
    }
};
struct Sha1NextE {
    static constexpr unsigned widths = w128;
    static constexpr bool memory_unaligned = true;
    template <class V> static V apply(const V& a, const V& b, u8) {
        auto r = lanes<u32>(b);
        r[3] += rotate_left(lanes<u32>(a)[3], 30);
        return vec(r);
    }
};
struct Sha1Msg1 {
    static constexpr unsigned widths = w128;
    static constexpr bool memory_unaligned = true;
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<u32>(a), y = lanes<u32>(b);
        return vec(std::array<u32, 4>{y[2] ^ x[0], y[3] ^ x[1], x[0] ^ x[2], x[1] ^ x[3]});
    }
};
struct Sha1Msg2 {
    static constexpr unsigned widths = w128;
    static constexpr bool memory_unaligned = true;
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<u32>(a), y = lanes<u32>(b);
        const u32 w16 = rotate_left(x[3] ^ y[2], 1), w17 = rotate_left(x[2] ^ y[1], 1),
                  w18 = rotate_left(x[1] ^ y[0], 1);
        return vec(std::array<u32, 4>{rotate_left(x[0] ^ w16, 1), w18, w17, w16});
    }
};
struct Sha256Msg1 {
    static constexpr unsigned widths = w128;
    static constexpr bool memory_unaligned = true;
    static u32 sigma(u32 x) { return rotate_right(x, 7) ^ rotate_right(x, 18) ^ x >> 3; }
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<u32>(a), y = lanes<u32>(b);
        return vec(std::array<u32, 4>{x[0] + sigma(x[1]), x[1] + sigma(x[2]), x[2] + sigma(x[3]), x[3] + sigma(y[0])});
    }
};
struct Sha256Msg2 {
    static constexpr unsigned widths = w128;
    static constexpr bool memory_unaligned = true;
    static u32 sigma(u32 x) { return rotate_right(x, 17) ^ rotate_right(x, 19) ^ x >> 10; }
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<u32>(a), y = lanes<u32>(b);
        const u32 w16 = x[0] + sigma(y[2]), w17 = x[1] + sigma(y[3]);
        return vec(std::array<u32, 4>{w16, w17, x[2] + sigma(w16), x[3] + sigma(w17)});
    }
};

namespace {
// SHA256RNDS2: two rounds; the words with their constants are in the low half of XMM0.
template <bool Memory> Flow sha256_rounds(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::sse>(cpu)) return Flow::fault;
    Vec<16> second;
    if constexpr (Memory) {
        if (!load<false>(cpu, i, second)) return Flow::fault;
    } else {
        second = get<Vec<16>, Encoding::sse>(cpu, i.source);
    }
    const auto cdgh = lanes<u32>(get<Vec<16>, Encoding::sse>(cpu, i.dest)), abef = lanes<u32>(second);
    const auto wk = lanes<u32>(get<Vec<16>, Encoding::sse>(cpu, 0));
    u32 a = abef[3], b = abef[2], c = cdgh[3], d = cdgh[2], e = abef[1], f = abef[0], g = cdgh[1], h = cdgh[0];
    for (unsigned round = 0; round < 2; ++round) {
        const u32 t1 =
            h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) + ((e & f) ^ (~e & g)) + wk[round];
        const u32 t2 = (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    put<Encoding::sse>(cpu, i.dest, vec(std::array<u32, 4>{f, e, b, a}));
    return Flow::next;
}
} // namespace

Handler sha256rnds2(const Form& f) {
    return f.any_memory() ? threaded<sha256_rounds<true>> : threaded<sha256_rounds<false>>;
}

#define MAKE(op) template Handler binary<op>(const Form&);
CALQUE_SIMD_CRYPTO(MAKE)
template Handler unary<AesImc>(const Form&);
template Handler unary<AesKeygen>(const Form&);

} // namespace calque::cpu::simd
