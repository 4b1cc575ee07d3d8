#include "frontend/machine/registers.h"

namespace calque::machine {

namespace {
constexpr const char* gpr_names[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                     "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
constexpr std::pair<const char*, cpu::Segment> segments[] = {{"ES", cpu::es},    {"CS", cpu::cs}, {"SS", cpu::ss},
                                                             {"DS", cpu::ds},    {"FS", cpu::fs}, {"GS", cpu::gs},
                                                             {"LDT", cpu::ldtr}, {"TR", cpu::tr}};
constexpr const char* mode_name(const cpu::Mode& mode) {
    if (mode.mode64) return "64-bit";
    if (mode.long_mode) return "compatibility";
    if (mode.vm86) return "virtual-8086";
    return mode.protected_mode ? "protected" : "real";
}
} // namespace

std::string describe_registers(const cpu::Cpu& cpu) {
    const auto& s = cpu.state;
    std::string text = fmt::format("CPU#{} {} mode, CPL {}\n", cpu.index, mode_name(cpu.mode), cpu.mode.cpl);
    for (unsigned i = 0; i < 16; ++i)
        text += fmt::format("{}={:016x}{}", gpr_names[i], s.gpr[i], i % 4 == 3 ? "\n" : " ");
    text += fmt::format("RIP={:016x} RFL={:08x} HLT={:d} SMM={:d}\n", s.rip(), cpu::read_rflags(s),
                        s.activity == cpu::Activity::halted, s.in_smm);
    for (const auto& [name, which] : segments) {
        const auto& seg = s.segment[which];
        text +=
            fmt::format("{:<3}={:04x} {:016x} {:08x} {:04x}\n", name, seg.selector, seg.base, seg.limit, seg.rights);
    }
    text +=
        fmt::format("GDT= {:016x} {:04x}\nIDT= {:016x} {:04x}\n", s.gdtr.base, s.gdtr.limit, s.idtr.base, s.idtr.limit);
    text +=
        fmt::format("CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x} EFER={:x}\n", s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
    text += fmt::format("DR6={:08x} DR7={:08x} MXCSR={:04x} FCW={:04x} FSW={:04x} XCR0={:x}\n", s.dr[6], s.dr[7],
                        s.mxcsr, s.x87.control, s.x87.status, s.xcr0);
    return text;
}

std::string describe_stats(Vcpu& vcpu) {
    const auto& c = vcpu.cpu().mmu.counters();
    return fmt::format(
               "vCPU {}\n"
               "  instructions      {}\n"
               "  TLB fills         {}\n  from leaf cache   {}\n  page walks        {}\n  page faults       {}\n  "
               "device accesses   {}\n"
               "  page crossings    {}\n  TLB flushes       {}\n  page flushes      {}\n  context switches  {}\n"
               "  writes to code    {}\n",
               vcpu.cpu().index, vcpu.cpu().instructions, c.fills, c.second_hits, c.walks, c.page_faults, c.io_accesses,
               c.crossings, c.flushes, c.page_flushes, c.context_switches, c.code_writes)
           + vcpu.describe_engine();
}

} // namespace calque::machine
