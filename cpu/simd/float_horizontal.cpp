// Floating-point operations whose lanes do not all do the same: ADDSUBPS, HADDPS, HSUBPS, DPPS.
#include "cpu/simd/float_forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

template <class T, class V> using Lanes = std::array<FloatBits<T>, V::bytes / sizeof(FloatBits<T>)>;

// What commit() does, for flags that are already only those to be reported.
[[nodiscard]] bool commit_stages(Cpu& cpu, const fp::Status& status) {
    cpu.state.mxcsr |= status.flags;
    if (!status.unmasked(status.flags)) [[likely]]
        return true;
    cpu.raise(cpu.state.cr4 & cr4_osxmmexcpt ? Vector::simd_floating_point : Vector::invalid_opcode);
    return false;
}

// An operation on whole vectors: apply(a, b, immediate, status) gives the lanes.
template <class Op, class T, class V, Encoding E, bool Memory> Flow float_whole(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    V second;
    if (!source<V, E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, second)) return Flow::fault;
    const V first = get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const auto r = Op::template apply<T, V>(lanes<FloatBits<T>>(first), lanes<FloatBits<T>>(second),
                                            static_cast<u8>(i.immediate), status);
    if constexpr (requires { Op::staged; }) {
        if (!commit_stages(cpu, status)) return Flow::fault;
    } else {
        if (!commit(cpu, status)) return Flow::fault;
    }
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}

template <class Op, class T> Handler whole(const Form& f) {
    return by_width<w_sse>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<float_whole<Op, T, V, E, Memory>>; });
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
    static constexpr bool staged = true;
    // Multiplications and additions are operations of their own: each reports all its exceptions, and an unmasked one
    // ends the instruction there.
    class Stages {
      public:
        explicit Stages(fp::Status& whole) : whole_(whole), stage(whole) { stage.flags = 0; }
        bool end() {
            u32 reported = 0;
            const bool stop = stage.commit_to_mxcsr(reported);
            whole_.flags |= static_cast<u8>(reported);
            stage.flags = 0;
            return stop;
        }

      private:
        fp::Status& whole_;

      public:
        fp::Status stage;
    };

    template <class T, class V>
    static Lanes<T, V> apply(const Lanes<T, V>& a, const Lanes<T, V>& b, u8 imm, fp::Status& s) {
        constexpr std::size_t per = 16 / sizeof(FloatBits<T>);
        Lanes<T, V> r{};
        std::array<T, r.size()> x{};
        Stages stages(s);
        for (std::size_t k = 0; k < x.size(); ++k)
            if (imm >> (4 + k % per) & 1) x[k] = fp::mul(T{a[k]}, T{b[k]}, stages.stage);
        for (std::size_t count = per; !stages.end() && count > 1; count /= 2)
            for (std::size_t base = 0; base < x.size(); base += per)
                for (std::size_t k = 0; k < count / 2; ++k)
                    x[base + k] = fp::add(x[base + 2 * k], x[base + 2 * k + 1], stages.stage);
        for (std::size_t k = 0; k < r.size(); ++k)
            r[k] = imm >> (k % per) & 1 ? x[k - k % per].bits : 0;
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
