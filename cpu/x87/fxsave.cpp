// FXSAVE and FXRSTOR: SDM volume 1, section 10.5, and volume 2, FXSAVE, tables 3-43 to 3-46.
#include "cpu/x87/environment.h"
#include "cpu/x87/memory.h"
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

constexpr std::size_t saved_bytes = 416; // what lies beyond is the program's own

// AMD's processors save the pointers only while an exception is pending, else zeros (APM volume 3, CPUID 80000008h,
// RstrFpErrPtrs).
bool saves_pointers(const Cpu& cpu) { return cpu.model.vendor != "AuthenticAMD" || (cpu.state.x87.status & fsw_es); }

} // namespace

void save_x87(const Cpu& cpu, bool wide, LegacyArea& area) {
    const X87State& x = cpu.state.x87;
    set_field(area, 0, x.control);
    set_field(area, 2, x.status);
    set_field(area, 4, x.valid);
    set_field(area, 5, u8{0});
    const bool pointers = saves_pointers(cpu);
    set_field(area, 6, pointers ? x.opcode : u16{0});
    set_field(area, 8, pointers ? x.instruction_pointer : u64{0});
    set_field(area, 16, pointers ? x.data_pointer : u64{0});
    if (!wide) {
        set_field(area, 12, u32{pointers ? x.instruction_selector : u16{0}});
        set_field(area, 20, u32{pointers ? x.data_selector : u16{0}});
    }
    for (unsigned n = 0; n < 8; ++n) {
        set_register(area, legacy_registers + 16 * n, get(x, n));
        set_field(area, legacy_registers + 16 * n + 10, u16{0});
        set_field(area, legacy_registers + 16 * n + 12, u32{0});
    }
}

void load_x87(Cpu& cpu, bool wide, const LegacyArea& area) {
    X87State& x = cpu.state.x87;
    x.control = (get_field<u16>(area, 0) & fcw_writable) | fcw_fixed;
    x.status = get_field<u16>(area, 2);
    x.valid = get_field<u8>(area, 4);
    update_summary(cpu);
    x.opcode = get_field<u16>(area, 6) & 0x7FF;
    // The pointers' registers have 57 bits.
    const auto pointer = [&](std::size_t at) {
        return wide ? static_cast<u64>(static_cast<i64>(get_field<u64>(area, at) << 7) >> 7) : get_field<u32>(area, at);
    };
    x.instruction_pointer = pointer(8);
    x.data_pointer = pointer(16);
    x.instruction_selector = wide ? u16{0} : get_field<u16>(area, 12);
    x.data_selector = wide ? u16{0} : get_field<u16>(area, 20);
    for (unsigned n = 0; n < 8; ++n) {
        const fp::F80 value = get_register(area, legacy_registers + 16 * n);
        x.reg[physical(x, n)] = {value.significand, value.sign_exponent};
    }
}

void save_mxcsr(u32 mxcsr, LegacyArea& area) {
    set_field(area, legacy_mxcsr, mxcsr);
    set_field(area, legacy_mxcsr_mask, mxcsr_mask);
}

void save_xmm(const VectorRegisters& registers, unsigned count, LegacyArea& area) {
    for (unsigned n = 0; n < count; ++n) {
        set_field(area, legacy_xmm + 16 * n, registers[n].q[0]);
        set_field(area, legacy_xmm + 16 * n + 8, registers[n].q[1]);
    }
}

void load_xmm(VectorRegisters& registers, unsigned count, const LegacyArea& area) {
    for (unsigned n = 0; n < count; ++n) {
        registers[n].q[0] = get_field<u64>(area, legacy_xmm + 16 * n);
        registers[n].q[1] = get_field<u64>(area, legacy_xmm + 16 * n + 8);
    }
}

namespace {

unsigned xmm_count(const Cpu& cpu) { return cpu.mode.mode64 ? 16 : 8; }

// The operand's address, if the instruction may run: #NM, then #GP for an address that is not a multiple of 16, or #AC
// where alignment is checked and it is not even one of 4 (SDM volume 2, FXSAVE, leaves the choice to the processor).
bool begin(Cpu& cpu, const Instruction& i, LinearAddress& address, mmu::Access access) {
    if (cpu.mode.x87_fault) {
        cpu.raise(static_cast<Vector>(cpu.mode.x87_fault));
        return false;
    }
    if (!cpu.linear(i.segment(), effective_address(cpu.state, i), sizeof(LegacyArea), access, address)) return false;
    if (address.value & 15) {
        if (!cpu.mmu.probe_read(address, 1) && cpu.mmu.fault().kind == mmu::Fault::Kind::not_canonical) {
            cpu.raise_memory_fault(i.segment());
            return false;
        }
        const bool alignment_check =
            (address.value & 3) && (cpu.state.cr0 & cr0_am) && (cpu.state.rflags & flag_ac) && cpu.mode.cpl == 3;
        cpu.raise(alignment_check ? Vector::alignment_check : Vector::general_protection);
        return false;
    }
    return true;
}

template <bool Wide> Flow save(Cpu& cpu, const Instruction& i) {
    LinearAddress address;
    if (!begin(cpu, i, address, mmu::Access::write)) return Flow::fault;
    LegacyArea area{};
    save_x87(cpu, Wide, area);
    std::size_t bytes = legacy_xmm;
    if (cpu.state.cr4 & cr4_osfxsr) {
        save_mxcsr(cpu.state.mxcsr, area);
        save_xmm(cpu.state.vector, xmm_count(cpu), area);
        bytes = legacy_xmm + 16 * xmm_count(cpu);
    }
    std::array<u8, saved_bytes> whole;
    std::memcpy(whole.data(), area.data(), saved_bytes);
    if (bytes == saved_bytes)
        return cpu.write(i.segment(), effective_address(cpu.state, i), whole) ? Flow::next : Flow::fault;
    // Piece by piece what there is; bytes that have no register stay as they are.
    if (!cpu.mmu.probe_write(address, bytes)) return cpu.raise_memory_fault(i.segment());
    for (std::size_t at = 0; at < bytes; at += 16) {
        std::array<u8, 16> piece;
        std::memcpy(piece.data(), area.data() + at, 16);
        if (!cpu.write(i.segment(), effective_address(cpu.state, i) + at, piece)) return Flow::fault;
    }
    return Flow::next;
}

template <bool Wide> Flow restore(Cpu& cpu, const Instruction& i) {
    LinearAddress address;
    if (!begin(cpu, i, address, mmu::Access::read)) return Flow::fault;
    LegacyArea area;
    if (!cpu.read(i.segment(), effective_address(cpu.state, i), area)) return Flow::fault;
    const bool vectors = cpu.state.cr4 & cr4_osfxsr;
    const u32 mxcsr = get_field<u32>(area, legacy_mxcsr);
    if (vectors && (mxcsr & ~mxcsr_mask)) return cpu.general_protection();
    load_x87(cpu, Wide, area);
    if (!vectors) return Flow::next;
    cpu.state.mxcsr = mxcsr;
    load_xmm(cpu.state.vector, xmm_count(cpu), area);
    return Flow::next;
}

} // namespace

Handler fxsave(const Form&) { return threaded<save<false>>; }
Handler fxsave64(const Form&) { return threaded<save<true>>; }
Handler fxrstor(const Form&) { return threaded<restore<false>>; }
Handler fxrstor64(const Form&) { return threaded<restore<true>>; }

} // namespace calque::cpu::x87
