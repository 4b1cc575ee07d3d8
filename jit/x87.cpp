#include "jit/x87.h"

#include <cstring>

namespace calque::jit {

namespace {

constexpr unsigned sign_extension = 64 - x87_opcode_shift;

void note_instruction(cpu::CpuState& state, u64 rip, u16 opcode) {
    state.x87.instruction_pointer = rip;
    state.x87.opcode = opcode;
    state.x87.instruction_selector = state.segment[cpu::cs].selector;
}
void note_data(cpu::CpuState& state, u64 offset, unsigned segment) {
    const unsigned named = segment == cpu::flat         ? unsigned{cpu::ds}
                           : segment == cpu::flat_stack ? unsigned{cpu::ss}
                                                        : segment;
    state.x87.data_pointer = offset;
    state.x87.data_selector = state.segment[named].selector;
}

// The legacy area of FXSAVE (SDM volume 1, 10.5.1).
constexpr std::size_t at_control = 0, at_status = 2, at_valid = 4, at_registers = 32, register_stride = 16;

} // namespace

void take_x87_notes(JitContext& context, cpu::CpuState& state) {
    if (const u64 packed = context.x87_instruction; packed != 0) {
        const u64 rip = static_cast<u64>(static_cast<i64>(packed << sign_extension) >> sign_extension);
        note_instruction(state, rip, static_cast<u16>(packed >> x87_opcode_shift & 0x7FF));
        context.x87_instruction = 0;
    }
    if (context.x87_data_segment != 0) {
        note_data(state, context.x87_data, context.x87_data_segment - 1u);
        context.x87_data_segment = 0;
    }
}

void take_x87_note(const X87Note& note, u64 shift, cpu::CpuState& state) {
    if (note.has_instruction) note_instruction(state, note.rip + shift, note.opcode);
    if (note.has_data)
        note_data(state,
                  (state.gpr[note.base] + (state.gpr[note.index] << note.scale_shift) + note.displacement
                   + (note.relative ? shift : 0))
                      & cpu::address_mask(note.address_bytes),
                  note.data_segment);
}

void store_x87(JitContext& context, cpu::CpuState& state) {
    if (context.x87_absent) return;
    context.x87_absent = 1;
#if defined(__x86_64__)
    alignas(16) std::byte area[512];
    asm volatile("fxsave64 %0\n\tfninit" : "=m"(area) : : "memory");
    cpu::X87State& x = state.x87;
    std::memcpy(&x.control, area + at_control, sizeof x.control);
    std::memcpy(&x.status, area + at_status, sizeof x.status);
    std::memcpy(&x.valid, area + at_valid, sizeof x.valid);
    for (unsigned n = 0; n < 8; ++n) {
        cpu::X87Register& r = x.reg[(x.top() + n) & 7];
        const std::byte* const from = area + at_registers + n * register_stride;
        std::memcpy(&r.significand, from, sizeof r.significand);
        std::memcpy(&r.sign_exponent, from + sizeof r.significand, sizeof r.sign_exponent);
    }
#endif
}

} // namespace calque::jit
