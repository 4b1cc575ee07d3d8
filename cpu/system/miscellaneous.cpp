// HLT, MONITOR, cache and TLB management, time-stamp and random numbers, protection keys, undefined instructions.
#include "cpu/system/canonical.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

Flow hlt(Cpu& cpu, const Instruction&) {
    if (!privileged(cpu)) return cpu.general_protection();
    cpu.state.activity = Activity::halted;
    // The shadow of an STI before it ends here: whatever is pending wakes the processor.
    cpu.state.interrupt_shadow = cpu.state.debug_shadow = false;
    cpu.update_slow_flag();
    return Flow::exit;
}

// MONITOR checks its address as a load does; MWAIT may end its wait for any reason, and here does so at once.
Flow monitor(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.undefined_opcode();
    if (cpu.gpr<u32>(rcx) != 0) return cpu.general_protection();
    u8 ignored = 0;
    const u64 at = cpu.state.gpr[rax] & address_mask(i.address_bytes());
    return cpu.read(i.segment(), at, ignored) ? Flow::next : Flow::fault;
}
Flow mwait(Cpu& cpu, const Instruction&) {
    if (!privileged(cpu)) return cpu.undefined_opcode();
    if (cpu.gpr<u32>(rcx) & ~u32{1}) return cpu.general_protection();
    return Flow::exit;
}

Flow privileged_nothing(Cpu& cpu, const Instruction&) { // INVD, WBINVD: there is no cache to write back.
    return privileged(cpu) ? Flow::next : cpu.general_protection();
}

Flow invlpg(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.general_protection();
    const u64 offset = effective_address(cpu.state, i);
    const unsigned segment = i.segment();
    u64 address = segment >= flat ? offset : cpu.state.segment[segment].base + offset;
    if (!cpu.mode.mode64) address = static_cast<u32>(address);
    if (is_canonical(address)) cpu.mmu.flush_page(LinearAddress(address));
    return Flow::jump;
}

Flow invpcid(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.general_protection();
    const u64 type = cpu.mode.mode64 ? cpu.state.gpr[i.dest] : cpu.gpr<u32>(i.dest);
    const u64 at = effective_address(cpu.state, i), mask = address_mask(i.address_bytes());
    u64 pcid = 0, address = 0;
    if (!cpu.read(i.segment(), at, pcid) || !cpu.read(i.segment(), (at + 8) & mask, address)) return Flow::fault;
    const bool pcids = cpu.state.cr4 & cr4_pcide;
    if (type > 3 || pcid > 0xFFF || (type < 2 && !pcids && pcid != 0)) return cpu.general_protection();
    if (type == 0 && !is_canonical(address)) return cpu.general_protection();
    switch (type) {
    case 0: cpu.mmu.flush_pcid_page(static_cast<u16>(pcid), LinearAddress(address)); break;
    case 1: cpu.mmu.flush_pcid(static_cast<u16>(pcid)); break;
    default: cpu.mmu.flush_all(type == 2); break;
    }
    return Flow::jump;
}

// CLFLUSH and its kin fault as a load of a byte does, and otherwise do nothing: memory is coherent.
Flow flush_line(Cpu& cpu, const Instruction& i) {
    LinearAddress address;
    if (!cpu.linear(i.segment(), effective_address(cpu.state, i), 1, mmu::Access::read, address)) return Flow::fault;
    return cpu.mmu.probe_read(address, 1) ? Flow::next : cpu.raise_memory_fault(i.segment());
}

// RDTSC, RDTSCP: at CPL 0 only while CR4.TSD.
bool time_stamp_allowed(Cpu& cpu) {
    if (!(cpu.state.cr4 & cr4_tsd) || privileged(cpu) || !cpu.mode.protected_mode) return true;
    cpu.general_protection();
    return false;
}
void set_edx_eax(Cpu& cpu, u64 value) {
    cpu.set_gpr<u32>(rax, static_cast<u32>(value));
    cpu.set_gpr<u32>(rdx, static_cast<u32>(value >> 32));
}
Flow rdtsc(Cpu& cpu, const Instruction&) {
    if (!time_stamp_allowed(cpu)) return Flow::fault;
    set_edx_eax(cpu, cpu.read_tsc());
    return Flow::next;
}
Flow rdtscp(Cpu& cpu, const Instruction&) {
    if (!time_stamp_allowed(cpu)) return Flow::fault;
    set_edx_eax(cpu, cpu.read_tsc());
    cpu.set_gpr<u32>(rcx, cpu.state.tsc_aux);
    return Flow::next;
}
// There are no performance counters (CPUID leaf 0Ah), so no index is valid.
Flow rdpmc(Cpu& cpu, const Instruction&) { return cpu.general_protection(); }

Flow rdpid(Cpu& cpu, const Instruction& i) {
    set_gpr_sized(cpu, i.dest, cpu.state.tsc_aux, cpu.mode.mode64 ? 8 : 4);
    return Flow::next;
}

Flow rdpkru(Cpu& cpu, const Instruction&) {
    if (!(cpu.state.cr4 & cr4_pke)) return cpu.undefined_opcode();
    if (cpu.gpr<u32>(rcx) != 0) return cpu.general_protection();
    set_edx_eax(cpu, cpu.state.pkru);
    return Flow::next;
}
Flow wrpkru(Cpu& cpu, const Instruction&) {
    if (!(cpu.state.cr4 & cr4_pke)) return cpu.undefined_opcode();
    if (cpu.gpr<u32>(rcx) != 0 || cpu.gpr<u32>(rdx) != 0) return cpu.general_protection();
    cpu.state.pkru = cpu.gpr<u32>(rax);
    cpu.update_paging_context();
    return Flow::next;
}

// RDRAND, RDSEED: always a number, so CF is set and the other flags cleared.
Flow random_number(Cpu& cpu, const Instruction& i) {
    set_gpr_sized(cpu, i.dest, cpu.platform.random(), i.operand_size);
    cpu.state.lazy = lazy_from_bits(flag_cf);
    return Flow::next;
}

Flow undefined(Cpu& cpu, const Instruction&) { return cpu.undefined_opcode(); }

} // namespace

Handler select_hlt(const Form&) { return threaded<hlt>; }
Handler select_monitor(const Form&) { return threaded<monitor>; }
Handler select_mwait(const Form&) { return threaded<mwait>; }
Handler select_invd(const Form&) { return threaded<privileged_nothing>; }
Handler select_wbinvd(const Form&) { return threaded<privileged_nothing>; }
Handler select_invlpg(const Form& f) { return f.memory(0) ? threaded<invlpg> : nullptr; }
Handler select_invpcid(const Form& f) { return f.memory(1) ? threaded<invpcid> : nullptr; }
Handler select_clflush(const Form&) { return threaded<flush_line>; }
Handler select_clflushopt(const Form&) { return threaded<flush_line>; }
Handler select_clwb(const Form&) { return threaded<flush_line>; }
Handler select_rdtsc(const Form&) { return threaded<rdtsc>; }
Handler select_rdtscp(const Form&) { return threaded<rdtscp>; }
Handler select_rdpmc(const Form&) { return threaded<rdpmc>; }
Handler select_rdpid(const Form&) { return threaded<rdpid>; }
Handler select_rdpkru(const Form&) { return threaded<rdpkru>; }
Handler select_wrpkru(const Form&) { return threaded<wrpkru>; }
Handler select_rdrand(const Form&) { return threaded<random_number>; }
Handler select_rdseed(const Form&) { return threaded<random_number>; }
Handler select_undefined(const Form&) { return threaded<undefined>; }

} // namespace calque::cpu
