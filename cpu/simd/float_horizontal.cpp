// Floating-point operations whose lanes do not all do the same: ADDSUBPS, HADDPS, HSUBPS, DPPS.
#include "cpu/simd/float_forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

template <class T, class V> using Lanes = std::array<FloatBits<T>, V::bytes / sizeof(FloatBits<T>)>;

// An operation on whole vectors: apply(a, b, immediate, status) gives the lanes.
template <class Op, class T, class V, Encoding E, bool Memory> Flow float_whole(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    V second;
    if (!source<V, E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, second)) return Flow::fault;
    const V first = get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const auto r = Op::template apply<T, V>(lanes<FloatBits<T>>(first), lanes<FloatBits<T>>(second),
                                            static_cast<u8>(i.immediate), status);
    if (!commit(cpu, status)) return Flow::fault;
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}

template <class Op, class T> Handler whole(const Form& f) {
    const bool memory = f.any_memory();
    if (is_ymm(f))
        return memory ? threaded<float_whole<Op, T, Vec<32>, Encoding::vex, true>>
                      : threaded<float_whole<Op, T, Vec<32>, Encoding::vex, false>>;
    if (is_vex(f))
        return memory ? threaded<float_whole<Op, T, Vec<16>, Encoding::vex, true>>
                      : threaded<float_whole<Op, T, Vec<16>, Encoding::vex, false>>;
    return memory ? threaded<float_whole<Op, T, Vec<16>, Encoding::sse, true>>
                  : threaded<float_whole<Op, T, Vec<16>, Encoding::sse, false>>;
}

// Even lanes subtract, odd ones add.
struct AddSub {
    template <class T, class V>
    static Lanes<T, V> apply(const Lanes<T, V>& a, const Lanes<T, V>& b, u8, fp::Status& s) {
        Lanes<T, V> r;
        for (std::size_t n = 0; n < r.size(); ++n)
            r[n] = (n & 1 ? fp::add(T{a[n]}, T{b[n]}, s) : fp::sub(T{a[n]}, T{b[n]}, s)).bits;
        return r;
    }
};

// Pairs within each 128 bits: of the first source, then of the second.
template <bool Subtract> struct Pairs {
    template <class T, class V>
    static Lanes<T, V> apply(const Lanes<T, V>& a, const Lanes<T, V>& b, u8, fp::Status& s) {
        constexpr std::size_t per = 16 / sizeof(FloatBits<T>), half = per / 2;
        Lanes<T, V> r;
        for (std::size_t n = 0; n < r.size(); ++n) {
            const std::size_t base = n / per * per, k = n % per;
            const auto& from = k < half ? a : b;
            const T x{from[base + 2 * (k % half)]}, y{from[base + 2 * (k % half) + 1]};
            r[n] = (Subtract ? fp::sub(x, y, s) : fp::add(x, y, s)).bits;
        }
        return r;
    }
};

// DPPS, DPPD: products where the high bits of the immediate say so, summed pairwise, to the lanes that the low bits
// name.
struct Dot {
    template <class T, class V>
    static Lanes<T, V> apply(const Lanes<T, V>& a, const Lanes<T, V>& b, u8 imm, fp::Status& s) {
        constexpr std::size_t per = 16 / sizeof(FloatBits<T>);
        Lanes<T, V> r;
        for (std::size_t base = 0; base < r.size(); base += per) {
            std::array<T, per> product{};
            for (std::size_t k = 0; k < per; ++k)
                if (imm >> (4 + k) & 1) product[k] = fp::mul(T{a[base + k]}, T{b[base + k]}, s);
            T sum = fp::add(product[0], product[1], s);
            if constexpr (per == 4) sum = fp::add(sum, fp::add(product[2], product[3], s), s);
            for (std::size_t k = 0; k < per; ++k)
                r[base + k] = imm >> k & 1 ? sum.bits : 0;
        }
        return r;
    }
};

} // namespace

Handler add_sub_ps(const Form& f) { return whole<AddSub, fp::F32>(f); }
Handler add_sub_pd(const Form& f) { return whole<AddSub, fp::F64>(f); }
Handler hadd_ps(const Form& f) { return whole<Pairs<false>, fp::F32>(f); }
Handler hadd_pd(const Form& f) { return whole<Pairs<false>, fp::F64>(f); }
Handler hsub_ps(const Form& f) { return whole<Pairs<true>, fp::F32>(f); }
Handler hsub_pd(const Form& f) { return whole<Pairs<true>, fp::F64>(f); }
Handler dot_ps(const Form& f) { return whole<Dot, fp::F32>(f); }
Handler dot_pd(const Form& f) { return whole<Dot, fp::F64>(f); }

} // namespace calque::cpu::simd
