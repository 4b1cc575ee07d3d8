// CMOVcc and SETcc.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

// The source is read whatever the condition, and a 32-bit destination loses its upper half.
template <unsigned Condition, class T, Where S> Flow cmov(Cpu& cpu, const Instruction& i) {
    T value;
    if (!load<S, T>(cpu, i, i.source, value)) return Flow::fault;
    const T kept = cpu.gpr<T>(i.dest);
    cpu.set_gpr<T>(i.dest, condition<Condition>(cpu.state.lazy) ? value : kept);
    return Flow::next;
}
template <unsigned Condition, Where D> Flow set(Cpu& cpu, const Instruction& i) {
    return store<D, u8>(cpu, i, i.dest, condition<Condition>(cpu.state.lazy)) ? Flow::next : Flow::fault;
}

template <unsigned Condition> Handler select_cmov(const Form& f) {
    return by_wide_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 1), [&]<Where S>() -> Handler {
            return handler_for<S, cmov<Condition, T, S>, cmov<Condition, T, general(S)>>();
        });
    });
}
template <unsigned Condition> Handler select_set(const Form& f) {
    return by_where(where(f, 0), [&]<Where D>() -> Handler {
        return handler_for<D, set<Condition, D>, set<Condition, general(D)>>();
    });
}

} // namespace

#define CONDITION(name, number)                                                                                        \
    Handler select_cmov##name(const Form& f) { return select_cmov<number>(f); }                                        \
    Handler select_set##name(const Form& f) { return select_set<number>(f); }
CALQUE_CONDITIONS(CONDITION)
#undef CONDITION

} // namespace calque::cpu
