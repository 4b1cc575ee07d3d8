// NOP and its kin, flag instructions, BOUND.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

#include <atomic>

namespace calque::cpu {

namespace {

Flow nop(Cpu&, const Instruction&) { return Flow::next; }
Flow fence(Cpu&, const Instruction&) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return Flow::next;
}

Flow lahf(Cpu& cpu, const Instruction&) {
    constexpr u64 low = flag_cf | flag_pf | flag_af | flag_zf | flag_sf;
    cpu.gpr<u8>(rax | high_byte) = static_cast<u8>((arithmetic_bits(cpu.state.lazy) & low) | flag_one);
    return Flow::next;
}
Flow sahf(Cpu& cpu, const Instruction&) {
    const u64 kept = of(cpu.state.lazy) ? flag_of : 0;
    cpu.state.lazy = lazy_from_bits(kept | cpu.gpr<u8>(rax | high_byte));
    return Flow::next;
}
Flow cmc(Cpu& cpu, const Instruction&) {
    cpu.state.lazy = with_cf(cpu.state.lazy, !cf(cpu.state.lazy));
    return Flow::next;
}
template <bool Value> Flow set_cf(Cpu& cpu, const Instruction&) {
    cpu.state.lazy = with_cf(cpu.state.lazy, Value);
    return Flow::next;
}
template <bool Value> Flow set_df(Cpu& cpu, const Instruction&) {
    cpu.state.rflags = Value ? cpu.state.rflags | flag_df : cpu.state.rflags & ~flag_df;
    return Flow::next;
}
Flow salc(Cpu& cpu, const Instruction&) {
    cpu.gpr<u8>(rax) = cf(cpu.state.lazy) ? 0xFF : 0;
    return Flow::next;
}

template <class T> Flow bound(Cpu& cpu, const Instruction& i) {
    using S = std::make_signed_t<T>;
    T lower, upper;
    const u64 offset = effective_address(cpu.state, i);
    if (!cpu.read(i.segment(), offset, lower)) return Flow::fault;
    if (!cpu.read(i.segment(), (offset + sizeof(T)) & address_mask(i.address_bytes()), upper)) return Flow::fault;
    const S index = static_cast<S>(cpu.gpr<T>(i.dest));
    if (index < static_cast<S>(lower) || index > static_cast<S>(upper)) return cpu.raise(Vector::bound_range);
    return Flow::next;
}

} // namespace

Handler select_nop(const Form&) { return threaded<nop>; }
Handler select_prefetch(const Form& f) { return f.any_memory() ? threaded<nop> : nullptr; }
Handler select_fence(const Form&) { return threaded<fence>; }
Handler select_lahf(const Form&) { return threaded<lahf>; }
Handler select_sahf(const Form&) { return threaded<sahf>; }
Handler select_cmc(const Form&) { return threaded<cmc>; }
Handler select_stc(const Form&) { return threaded<set_cf<true>>; }
Handler select_clc(const Form&) { return threaded<set_cf<false>>; }
Handler select_std(const Form&) { return threaded<set_df<true>>; }
Handler select_cld(const Form&) { return threaded<set_df<false>>; }
Handler select_salc(const Form&) { return threaded<salc>; }
Handler select_bound(const Form& f) { return f.operand_size == 2 ? threaded<bound<u16>> : threaded<bound<u32>>; }

} // namespace calque::cpu
