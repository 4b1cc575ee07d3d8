// COMISS and the like: comparisons whose result is in RFLAGS.
#include "cpu/simd/float_forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {
template <class T, bool Signaling, Encoding E, bool Memory> Flow compare_to_flags(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    T b;
    if (!scalar_source<T, E, Memory>(cpu, i, i.source, b)) return Flow::fault;
    const T a{static_cast<FloatBits<T>>(get<Vec<16>, E>(cpu, i.dest).q[0])};
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const fp::Relation relation = Signaling ? fp::compare_signaling(a, b, status) : fp::compare_quiet(a, b, status);
    if (!commit(cpu, status)) return Flow::fault;
    const unsigned bits = static_cast<unsigned>(relation); // ZF, PF, CF; the others are cleared.
    cpu.state.lazy = lazy_from_bits((bits & 4 ? flag_zf : 0) | (bits & 2 ? flag_pf : 0) | (bits & 1 ? flag_cf : 0));
    return Flow::next;
}
template <class T, bool Signaling> Handler comparison(const Form& f) {
    if (is_vex(f))
        return f.memory(1) ? threaded<compare_to_flags<T, Signaling, Encoding::vex, true>>
                           : threaded<compare_to_flags<T, Signaling, Encoding::vex, false>>;
    return f.memory(1) ? threaded<compare_to_flags<T, Signaling, Encoding::sse, true>>
                       : threaded<compare_to_flags<T, Signaling, Encoding::sse, false>>;
}
} // namespace

Handler comiss(const Form& f) { return comparison<fp::F32, true>(f); }
Handler comisd(const Form& f) { return comparison<fp::F64, true>(f); }
Handler ucomiss(const Form& f) { return comparison<fp::F32, false>(f); }
Handler ucomisd(const Form& f) { return comparison<fp::F64, false>(f); }

} // namespace calque::cpu::simd
