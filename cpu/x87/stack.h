// The x87 register stack, and what every x87 instruction does before and after its own work. SDM volume 1, chapter 8.
#pragma once

#include "cpu/cpu.h"
#include "cpu/fp/f80.h"
#include "cpu/threaded.h"

namespace calque::cpu::x87 {

// The status word (SDM volume 1, 8.1.3). Its low six bits are fp::Flag.
inline constexpr u16 fsw_sf = 0x40, fsw_es = 0x80, fsw_c0 = 0x100, fsw_c1 = 0x200, fsw_c2 = 0x400, fsw_c3 = 0x4000,
                     fsw_b = 0x8000;
inline constexpr u16 fsw_conditions = fsw_c0 | fsw_c1 | fsw_c2 | fsw_c3;

// The control word: bit 6 reads as one; 7 and 13 to 15 as zero.
inline constexpr u16 fcw_writable = 0x1F3F, fcw_fixed = 0x0040, fcw_initial = 0x037F;

inline unsigned physical(const X87State& x, unsigned i) { return (x.top() + i) & 7; }
inline bool empty(const X87State& x, unsigned i) { return !((x.valid >> physical(x, i)) & 1); }
inline fp::F80 get(const X87State& x, unsigned i) {
    const X87Register& r = x.reg[physical(x, i)];
    return fp::F80{r.significand, r.sign_exponent};
}
inline void put(X87State& x, unsigned i, fp::F80 value) {
    const unsigned n = physical(x, i);
    x.reg[n] = {value.significand, value.sign_exponent};
    x.valid = static_cast<u8>(x.valid | 1u << n);
}
inline void release(X87State& x, unsigned i) { x.valid = static_cast<u8>(x.valid & ~(1u << physical(x, i))); }
inline void pop(X87State& x) {
    release(x, 0);
    x.set_top(x.top() + 1);
}
inline void push(X87State& x, fp::F80 value) {
    x.set_top(x.top() - 1);
    put(x, 0, value);
}

inline fp::Status status_of(const X87State& x) { return fp::Status::from_x87_control(x.control); }
inline bool invalid_masked(const X87State& x) { return x.control & fp::kInvalid; }

// Takes an operation's exceptions into the status word.
inline void report_flags(X87State& x, const fp::Status& s) {
    x.status |= s.flags;
    if (s.flags & ~x.control & fp::kAllFlags) [[unlikely]]
        x.status |= fsw_es | fsw_b;
}
// And C1.
inline void report(X87State& x, const fp::Status& s) {
    x.status = static_cast<u16>((x.status & ~fsw_c1) | (s.rounded_up ? fsw_c1 : 0));
    report_flags(x, s);
}
// Stack faults: an empty operand, or no room for a push. True when masked: the instruction then delivers the default
// NaN.
bool underflow(X87State& x);
bool overflow(X87State& x);

// Recomputes ES and B from flags and masks, after either was loaded; FERR# follows.
void update_summary(Cpu& cpu);

// An unmasked exception of an earlier instruction is pending. True: the instruction does not go on, but as `flow` says.
bool stopped_by_error(Cpu& cpu, Flow& flow);

// The instruction's address and opcode, for handlers (SDM volume 1, 8.1.8). Records of x87 instructions have the 11
// opcode bits as their immediate.
inline void note_instruction(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    x.instruction_pointer = cpu.state.rip() - i.length;
    x.instruction_selector = cpu.state.segment[cs].selector;
    x.opcode = static_cast<u16>(i.immediate);
}
inline void note_operand(Cpu& cpu, const Instruction& i, u64 offset) {
    X87State& x = cpu.state.x87;
    const unsigned segment = i.segment() == flat         ? unsigned{ds}
                             : i.segment() == flat_stack ? unsigned{ss}
                                                         : i.segment();
    x.data_pointer = offset;
    x.data_selector = cpu.state.segment[segment].selector;
}

// Reads the memory operand, then notes the instruction and it. False: a fault is pending.
template <class T> [[nodiscard]] bool read_operand(Cpu& cpu, const Instruction& i, T& out) {
    const u64 offset = effective_address(cpu.state, i);
    if (!cpu.read(i.segment(), offset, out)) return false;
    note_instruction(cpu, i);
    note_operand(cpu, i, offset);
    return true;
}
template <class T> [[nodiscard]] bool write_operand(Cpu& cpu, const Instruction& i, const T& value) {
    return cpu.write(i.segment(), effective_address(cpu.state, i), value);
}
inline void note_written(Cpu& cpu, const Instruction& i) {
    note_instruction(cpu, i);
    note_operand(cpu, i, effective_address(cpu.state, i));
}

// An instruction that does not look at pending errors: the control instructions with N.
template <Operation body> Flow control(Cpu& cpu, const Instruction& i) {
    if (cpu.mode.x87_fault) [[unlikely]]
        return cpu.raise(static_cast<Vector>(cpu.mode.x87_fault));
    return body(cpu, i);
}
// One that does.
template <Operation body> Flow waiting(Cpu& cpu, const Instruction& i) {
    if (cpu.mode.x87_fault) [[unlikely]]
        return cpu.raise(static_cast<Vector>(cpu.mode.x87_fault));
    if (cpu.state.x87.status & fsw_es) [[unlikely]]
        if (Flow flow; stopped_by_error(cpu, flow)) return flow;
    return body(cpu, i);
}
// One that does, and that has no memory operand of its own to note.
template <Operation body> Flow numeric(Cpu& cpu, const Instruction& i) {
    if (cpu.mode.x87_fault) [[unlikely]]
        return cpu.raise(static_cast<Vector>(cpu.mode.x87_fault));
    if (cpu.state.x87.status & fsw_es) [[unlikely]]
        if (Flow flow; stopped_by_error(cpu, flow)) return flow;
    note_instruction(cpu, i);
    return body(cpu, i);
}

} // namespace calque::cpu::x87
