// IN and OUT, and who may use which port (SDM volume 1, 19.5).
#include "base/bits.h"
#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

bool Cpu::io_allowed(u16 port, unsigned size) {
    if (!mode.protected_mode || (mode.cpl <= iopl(state) && !mode.vm86)) return true;
    // The permission bitmap of a 32-bit (or 64-bit) TSS; its address is the word at 102.
    constexpr u64 map_base_at = 102;
    const SegmentRegister& task = state.segment[tr];
    u16 map_base = 0, bits = 0;
    if (!task.present() || !(task.type() & 8) || task.limit < map_base_at + 1)
        return fail(*this, Vector::general_protection, 0);
    if (!read_system(system_address(*this, task.base, map_base_at), map_base)) return false;
    const u64 at = u64{map_base} + port / 8;
    // Two bytes are always read, so that an access over a byte boundary is covered.
    if (at + 1 > task.limit) return fail(*this, Vector::general_protection, 0);
    if (!read_system(system_address(*this, task.base, at), bits)) return false;
    if (bits >> (port & 7) & low_mask(size)) return fail(*this, Vector::general_protection, 0);
    return true;
}

namespace {

// `port_in_dx`: the port is DX, else the immediate.
template <class T, bool port_in_dx> Flow in(Cpu& cpu, const Instruction& i) {
    const u16 port = port_in_dx ? cpu.gpr<u16>(rdx) : static_cast<u8>(i.immediate);
    if (!cpu.io_allowed(port, sizeof(T))) return Flow::fault;
    cpu.set_gpr<T>(rax, static_cast<T>(cpu.platform.port_read(port, sizeof(T))));
    if (cpu.state.dr[7] & 0xFF) [[unlikely]]
        cpu.note_io_access(port, sizeof(T));
    return Flow::next;
}
// A write can change anything around the processor: the map of memory, A20, the interrupt lines.
template <class T, bool port_in_dx> Flow out(Cpu& cpu, const Instruction& i) {
    const u16 port = port_in_dx ? cpu.gpr<u16>(rdx) : static_cast<u8>(i.immediate);
    if (!cpu.io_allowed(port, sizeof(T))) return Flow::fault;
    cpu.platform.port_write(port, cpu.gpr<T>(rax), sizeof(T));
    if (cpu.state.dr[7] & 0xFF) [[unlikely]]
        cpu.note_io_access(port, sizeof(T));
    return Flow::exit;
}

template <class T> Handler select_in_of(bool port_in_dx) {
    return port_in_dx ? Handler{threaded<in<T, true>>} : Handler{threaded<in<T, false>>};
}
template <class T> Handler select_out_of(bool port_in_dx) {
    return port_in_dx ? Handler{threaded<out<T, true>>} : Handler{threaded<out<T, false>>};
}

} // namespace

// E4 to E7 have the port in the instruction, EC to EF in DX; the even ones are the byte forms. Port I/O has no 64-bit
// form.
Handler select_in(const Form& f) {
    const bool dx = f.opcode & 8;
    if (!(f.opcode & 1)) return select_in_of<u8>(dx);
    return f.operand_size == 2 ? select_in_of<u16>(dx) : select_in_of<u32>(dx);
}
Handler select_out(const Form& f) {
    const bool dx = f.opcode & 8;
    if (!(f.opcode & 1)) return select_out_of<u8>(dx);
    return f.operand_size == 2 ? select_out_of<u16>(dx) : select_out_of<u32>(dx);
}

} // namespace calque::cpu
