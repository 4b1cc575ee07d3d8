// AVX and AVX2 data movement: broadcasts, permutations across and within 128 bits, halves in and out.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

constexpr Encoding vex = Encoding::vex;

// A lane of type T (or Vec<16>) repeated over the destination, from memory of its size or an XMM register.
template <class T, class V, bool Memory> Flow broadcast(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    T value;
    if constexpr (Memory) {
        if (!cpu.read_operand(i, value)) return Flow::fault;
    } else {
        value = lanes<T>(get<Vec<16>, vex>(cpu, i.source))[0];
    }
    std::array<T, V::bytes / sizeof(T)> r;
    r.fill(value);
    put<vex>(cpu, i.dest, std::bit_cast<V>(r));
    return Flow::next;
}
template <class T> Handler broadcasting(const Form& f) {
    const bool memory = f.any_memory();
    if (is_ymm(f)) return memory ? threaded<broadcast<T, Vec<32>, true>> : threaded<broadcast<T, Vec<32>, false>>;
    return memory ? threaded<broadcast<T, Vec<16>, true>> : threaded<broadcast<T, Vec<16>, false>>;
}

// VBROADCASTF128: from memory only.
Flow broadcast_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    Vec<16> v;
    if (!cpu.read_operand(i, v)) return Flow::fault;
    put<vex>(cpu, i.dest, Vec<32>{{v.q[0], v.q[1], v.q[0], v.q[1]}});
    return Flow::next;
}

// VPERM2F128: each half of the result is one of the four halves of the sources, or zero.
template <bool Memory> Flow permute_halves(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    Vec<32> b;
    if (!source<Vec<32>, vex, Memory>(cpu, i, i.third, b)) return Flow::fault;
    const Vec<32> a = get<Vec<32>, vex>(cpu, i.source);
    const auto half = [&](unsigned control) {
        if (control & 8) return Vec<16>{};
        const Vec<32>& from = control & 2 ? b : a;
        return control & 1 ? Vec<16>{{from.q[2], from.q[3]}} : Vec<16>{{from.q[0], from.q[1]}};
    };
    const Vec<16> low = half(i.immediate & 15), high = half(i.immediate >> 4 & 15);
    put<vex>(cpu, i.dest, Vec<32>{{low.q[0], low.q[1], high.q[0], high.q[1]}});
    return Flow::next;
}

// VPERMQ, VPERMPD by immediate.
template <bool Memory> Flow permute_q(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    Vec<32> a;
    if (!source<Vec<32>, vex, Memory>(cpu, i, i.source, a)) return Flow::fault;
    Vec<32> r;
    for (unsigned n = 0; n < 4; ++n)
        r.q[n] = a.q[i.immediate >> (2 * n) & 3];
    put<vex>(cpu, i.dest, r);
    return Flow::next;
}
// VPERMD, VPERMPS: operand 1 holds the indexes, operand 2 the data.
template <bool Memory> Flow permute_d(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    Vec<32> data;
    if (!source<Vec<32>, vex, Memory>(cpu, i, i.third, data)) return Flow::fault;
    const auto x = lanes<u32>(data), index = lanes<u32>(get<Vec<32>, vex>(cpu, i.source));
    auto r = x;
    for (unsigned n = 0; n < 8; ++n)
        r[n] = x[index[n] & 7];
    put<vex>(cpu, i.dest, vec(r));
    return Flow::next;
}

// VPERMILPS, VPERMILPD by a vector of controls.
template <class T> struct PermuteInLane {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& a, const V& b, u8) {
        const auto x = lanes<T>(a), control = lanes<T>(b);
        auto r = x;
        constexpr std::size_t per = 16 / sizeof(T);
        for (std::size_t n = 0; n < r.size(); ++n)
            r[n] = x[n / per * per + (sizeof(T) == 8 ? control[n] >> 1 & 1 : control[n] & 3)];
        return vec(r);
    }
};
// VPERMILPD by immediate: a bit a lane.
struct PermuteInLanePD {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& b, u8 imm) {
        V r;
        for (std::size_t n = 0; n < r.q.size(); ++n)
            r.q[n] = b.q[(n & 2) + (imm >> n & 1)];
        return r;
    }
};
struct PermuteInLanePS {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& b, u8 imm) {
        const auto x = lanes<u32>(b);
        auto r = x;
        for (std::size_t n = 0; n < r.size(); ++n)
            r[n] = x[(n & 4) + (imm >> (2 * (n & 3)) & 3)];
        return vec(r);
    }
};

// VINSERTF128, VEXTRACTF128.
template <bool Memory> Flow insert_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    Vec<16> half;
    if (!source<Vec<16>, vex, Memory>(cpu, i, i.third, half)) return Flow::fault;
    Vec<32> r = get<Vec<32>, vex>(cpu, i.source);
    r.q[2 * (i.immediate & 1)] = half.q[0];
    r.q[2 * (i.immediate & 1) + 1] = half.q[1];
    put<vex>(cpu, i.dest, r);
    return Flow::next;
}
template <bool Memory> Flow extract_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<vex>(cpu)) return Flow::fault;
    const Vec<32> a = get<Vec<32>, vex>(cpu, i.source);
    const Vec<16> half{{a.q[2 * (i.immediate & 1)], a.q[2 * (i.immediate & 1) + 1]}};
    if constexpr (Memory) return cpu.write_operand(i, half) ? Flow::next : Flow::fault;
    put<vex>(cpu, i.dest, half);
    return Flow::next;
}

} // namespace

Handler broadcast_b(const Form& f) { return broadcasting<u8>(f); }
Handler broadcast_w(const Form& f) { return broadcasting<u16>(f); }
Handler broadcast_d(const Form& f) { return broadcasting<u32>(f); }
Handler broadcast_q(const Form& f) { return broadcasting<u64>(f); }
Handler broadcast_128(const Form&) { return threaded<broadcast_half>; }
Handler perm_2x128(const Form& f) {
    return f.any_memory() ? threaded<permute_halves<true>> : threaded<permute_halves<false>>;
}
Handler perm_q(const Form& f) { return f.any_memory() ? threaded<permute_q<true>> : threaded<permute_q<false>>; }
Handler perm_d(const Form& f) { return f.any_memory() ? threaded<permute_d<true>> : threaded<permute_d<false>>; }
Handler permil_ps(const Form& f) {
    return f.is(2, OperandKind::immediate) ? unary<PermuteInLanePS>(f) : binary<PermuteInLane<u32>>(f);
}
Handler permil_pd(const Form& f) {
    return f.is(2, OperandKind::immediate) ? unary<PermuteInLanePD>(f) : binary<PermuteInLane<u64>>(f);
}
Handler insert_128(const Form& f) {
    return f.any_memory() ? threaded<insert_half<true>> : threaded<insert_half<false>>;
}
Handler extract_128(const Form& f) {
    return f.memory(0) ? threaded<extract_half<true>> : threaded<extract_half<false>>;
}

} // namespace calque::cpu::simd
