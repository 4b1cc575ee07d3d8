// FMA3: 36 instructions from three operand orders, six kinds and four shapes.
#include "cpu/simd/float_forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

// Which operands are multiplied and added, as the mnemonic's digits say: dest = op(a) * op(b) + op(c). The order of the
// arguments is also the order in which a NaN is looked for (cpu/fp/arith.h).
template <unsigned Order, class T> T ordered(T one, T two, T three, fp::FmaSign sign, fp::Status& s) {
    if constexpr (Order == 132) return fp::fma(one, three, two, sign, s);
    if constexpr (Order == 213) return fp::fma(two, one, three, sign, s);
    return fp::fma(two, three, one, sign, s);
}

// The sign of lane n: the alternating kinds subtract in even (ADDSUB) or odd (SUBADD) lanes.
enum class Kind : u8 { add, sub, neg_add, neg_sub, add_sub, sub_add };
template <Kind K> constexpr fp::FmaSign sign_of_lane(std::size_t n) {
    if constexpr (K == Kind::add_sub) return n & 1 ? fp::FmaSign::MulAdd : fp::FmaSign::MulSub;
    if constexpr (K == Kind::sub_add) return n & 1 ? fp::FmaSign::MulSub : fp::FmaSign::MulAdd;
    return static_cast<fp::FmaSign>(K);
}

template <Kind K, unsigned Order, class T, class V, bool Memory> Flow fma_packed(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::vex>(cpu)) return Flow::fault;
    V third;
    if (!source<V, Encoding::vex, Memory>(cpu, i, i.third, third)) return Flow::fault;
    auto one = lanes<FloatBits<T>>(get<V, Encoding::vex>(cpu, i.dest));
    const auto two = lanes<FloatBits<T>>(get<V, Encoding::vex>(cpu, i.source));
    const auto three = lanes<FloatBits<T>>(third);
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    for (std::size_t n = 0; n < one.size(); ++n)
        one[n] = ordered<Order>(T{one[n]}, T{two[n]}, T{three[n]}, sign_of_lane<K>(n), status).bits;
    if (!commit(cpu, status)) return Flow::fault;
    put<Encoding::vex>(cpu, i.dest, vec(one));
    return Flow::next;
}

template <Kind K, unsigned Order, class T, bool Memory> Flow fma_scalar(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::vex>(cpu)) return Flow::fault;
    T three;
    if (!scalar_source<T, Encoding::vex, Memory>(cpu, i, i.third, three)) return Flow::fault;
    Vec<16> r = get<Vec<16>, Encoding::vex>(cpu, i.dest);
    const T one{static_cast<FloatBits<T>>(r.q[0])},
        two{static_cast<FloatBits<T>>(get<Vec<16>, Encoding::vex>(cpu, i.source).q[0])};
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const u64 result = ordered<Order>(one, two, three, sign_of_lane<K>(0), status).bits;
    if (!commit(cpu, status)) return Flow::fault;
    constexpr u64 mask = sizeof(FloatBits<T>) == 8 ? ~u64{0} : 0xFFFFFFFF;
    r.q[0] = (r.q[0] & ~mask) | result; // The rest of the destination stays; above 128 bits is zero.
    put<Encoding::vex>(cpu, i.dest, r);
    return Flow::next;
}

template <Kind K, unsigned Order, class T> Handler packed_form(const Form& f) {
    const bool memory = f.any_memory();
    if (is_ymm(f))
        return memory ? threaded<fma_packed<K, Order, T, Vec<32>, true>>
                      : threaded<fma_packed<K, Order, T, Vec<32>, false>>;
    return memory ? threaded<fma_packed<K, Order, T, Vec<16>, true>>
                  : threaded<fma_packed<K, Order, T, Vec<16>, false>>;
}
template <Kind K, unsigned Order, class T> Handler scalar_form(const Form& f) {
    return f.any_memory() ? threaded<fma_scalar<K, Order, T, true>> : threaded<fma_scalar<K, Order, T, false>>;
}

} // namespace

#define FMA_PACKED(name, kind)                                                                                         \
    Handler name##132ps(const Form& f) { return packed_form<kind, 132, fp::F32>(f); }                                  \
    Handler name##213ps(const Form& f) { return packed_form<kind, 213, fp::F32>(f); }                                  \
    Handler name##231ps(const Form& f) { return packed_form<kind, 231, fp::F32>(f); }                                  \
    Handler name##132pd(const Form& f) { return packed_form<kind, 132, fp::F64>(f); }                                  \
    Handler name##213pd(const Form& f) { return packed_form<kind, 213, fp::F64>(f); }                                  \
    Handler name##231pd(const Form& f) { return packed_form<kind, 231, fp::F64>(f); }
#define FMA_SCALAR(name, kind)                                                                                         \
    Handler name##132ss(const Form& f) { return scalar_form<kind, 132, fp::F32>(f); }                                  \
    Handler name##213ss(const Form& f) { return scalar_form<kind, 213, fp::F32>(f); }                                  \
    Handler name##231ss(const Form& f) { return scalar_form<kind, 231, fp::F32>(f); }                                  \
    Handler name##132sd(const Form& f) { return scalar_form<kind, 132, fp::F64>(f); }                                  \
    Handler name##213sd(const Form& f) { return scalar_form<kind, 213, fp::F64>(f); }                                  \
    Handler name##231sd(const Form& f) { return scalar_form<kind, 231, fp::F64>(f); }
FMA_PACKED(fmadd, Kind::add)
FMA_PACKED(fmsub, Kind::sub)
FMA_PACKED(fnmadd, Kind::neg_add)
FMA_PACKED(fnmsub, Kind::neg_sub)
FMA_PACKED(fmaddsub, Kind::add_sub)
FMA_PACKED(fmsubadd, Kind::sub_add)
FMA_SCALAR(fmadd, Kind::add)
FMA_SCALAR(fmsub, Kind::sub)
FMA_SCALAR(fnmadd, Kind::neg_add)
FMA_SCALAR(fnmsub, Kind::neg_sub)

} // namespace calque::cpu::simd
