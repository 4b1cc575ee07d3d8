// The registers of the system, which gdb has no features for: shown by `info registers` and by name.
#include "frontend/gdb/registers.h"

#include <fmt/core.h>

namespace calque::gdb {

namespace {

using cpu::Cpu;
constexpr char group[] = "system", msr_group[] = "msr";

bool read_only(Cpu&, u64) { return false; }

// The processor's own answer to MOV CRn and WRMSR; an exception that it raised is nobody's.
bool accepted(Cpu& cpu, bool done) {
    cpu.take_exception();
    return done;
}
bool write_control(Cpu& cpu, unsigned number, u64 value) {
    const cpu::Flow flow = cpu.write_control(number, value);
    return accepted(cpu, flow != cpu::Flow::fault);
}
std::optional<u64> read_msr(Cpu& cpu, u32 index) {
    u64 value = 0;
    if (accepted(cpu, cpu.read_msr(index, value))) return value;
    return std::nullopt;
}

constexpr struct {
    const char* name;
    u32 index;
} named_msrs[] = {
    {"star", 0xC000'0081},
    {"lstar", 0xC000'0082},
    {"cstar", 0xC000'0083},
    {"fmask", 0xC000'0084},
    {"kernel_gs_base", 0xC000'0102},
    {"tsc_aux", 0xC000'0103},
    {"sysenter_cs", 0x174},
    {"sysenter_esp", 0x175},
    {"sysenter_eip", 0x176},
    {"tsc", 0x10},
    {"tsc_adjust", 0x3B},
    {"tsc_deadline", 0x6E0},
    {"apic_base", 0x1B},
    {"feature_control", 0x3A},
    {"misc_enable", 0x1A0},
    {"debugctl", 0x1D9},
    {"pat", 0x277},
    {"mtrr_def_type", 0x2FF},
};

void add_msrs(std::vector<Register>& list, Cpu& cpu) {
    for (const auto& [name, index] : named_msrs) {
        if (!read_msr(cpu, index)) continue; // This model has none.
        list.push_back(number_register(
            name, features::model_specific, 64, "uint64", msr_group,
            [index = index](Cpu& c) { return read_msr(c, index).value_or(0); },
            [index = index](Cpu& c, u64 value) { return accepted(c, c.write_msr(index, value)); }));
    }
}

// The hidden parts of segment registers, and LDTR and TR whole.
void add_segments(std::vector<Register>& list) {
    constexpr std::pair<const char*, cpu::Segment> segments[] = {{"cs", cpu::cs},     {"ss", cpu::ss}, {"ds", cpu::ds},
                                                                 {"es", cpu::es},     {"fs", cpu::fs}, {"gs", cpu::gs},
                                                                 {"ldtr", cpu::ldtr}, {"tr", cpu::tr}};
    for (const auto& entry : segments) {
        const char* const name = entry.first; // Names of their own, which a lambda may capture.
        const cpu::Segment segment = entry.second;
        const auto field = [&](const char* suffix, unsigned bits, auto member, auto... read_only_too) {
            constexpr bool fixed = sizeof...(read_only_too) != 0;
            list.push_back(number_register(
                fmt::format("{}{}", name, suffix), features::system, bits, bits == 64 ? "data_ptr" : "uint32", group,
                [segment, member](Cpu& c) -> u64 { return c.state.segment[segment].*member; },
                [segment, member](Cpu& c, u64 value) {
                    if (fixed) return false;
                    auto& target = c.state.segment[segment].*member;
                    target = static_cast<std::remove_reference_t<decltype(target)>>(value);
                    c.update_mode();
                    return true;
                }));
        };
        const bool system = segment == cpu::ldtr || segment == cpu::tr;
        if (system) field("", 32, &cpu::SegmentRegister::selector, true);
        if (segment != cpu::fs && segment != cpu::gs) field("_base", 64, &cpu::SegmentRegister::base);
        field("_limit", 32, &cpu::SegmentRegister::limit);
        field("_rights", 32, &cpu::SegmentRegister::rights, true);
    }
}

void add_tables(std::vector<Register>& list) {
    for (const auto& [name, table] :
         {std::pair{"gdtr", &cpu::CpuState::gdtr}, std::pair{"idtr", &cpu::CpuState::idtr}}) {
        list.push_back(number_register(
            fmt::format("{}_base", name), features::system, 64, "data_ptr", group,
            [table = table](Cpu& c) { return (c.state.*table).base; },
            [table = table](Cpu& c, u64 value) {
                (c.state.*table).base = value;
                return true;
            }));
        list.push_back(number_register(
            fmt::format("{}_limit", name), features::system, 32, "uint32", group,
            [table = table](Cpu& c) -> u64 { return (c.state.*table).limit; },
            [table = table](Cpu& c, u64 value) {
                (c.state.*table).limit = static_cast<u16>(value);
                return value >> 16 == 0;
            }));
    }
}

void add_debug_registers(std::vector<Register>& list) {
    for (const unsigned n : {0u, 1u, 2u, 3u, 6u, 7u})
        list.push_back(number_register(
            fmt::format("dr{}", n), features::system, 64, "uint64", group, [n](Cpu& c) { return c.state.dr[n]; },
            [n](Cpu& c, u64 value) {
                if (n > 3 && value >> 32) return false;
                c.state.dr[n] = value;
                c.update_slow_flag();
                return true;
            }));
}

} // namespace

void add_system_registers(std::vector<Register>& list, Cpu& cpu) {
    const auto control = [&](const char* name, const char* type, u64 cpu::CpuState::*member, unsigned number) {
        list.push_back(number_register(
            name, features::system, 64, type, group, [member](Cpu& c) { return c.state.*member; },
            [number](Cpu& c, u64 value) { return write_control(c, number, value); }));
    };
    control("cr0", "cr0_bits", &cpu::CpuState::cr0, 0);
    list.push_back(number_register(
        "cr2", features::system, 64, "data_ptr", group, [](Cpu& c) { return c.state.cr2; },
        [](Cpu& c, u64 value) {
            c.state.cr2 = value;
            return true;
        }));
    control("cr3", "cr3_bits", &cpu::CpuState::cr3, 3);
    control("cr4", "cr4_bits", &cpu::CpuState::cr4, 4);
    list.push_back(number_register(
        "cr8", features::system, 64, "uint64", group, [](Cpu& c) -> u64 { return c.platform.task_priority(); },
        [](Cpu& c, u64 value) {
            if (value > 15) return false;
            c.platform.set_task_priority(static_cast<u8>(value));
            return true;
        }));
    list.push_back(number_register(
        "efer", features::system, 64, "efer_bits", group, [](Cpu& c) { return c.state.efer; },
        [](Cpu& c, u64 value) { return accepted(c, c.write_msr(0xC000'0080, value)); }));
    list.push_back(number_register(
        "xcr0", features::system, 64, "uint64", group, [](Cpu& c) { return c.state.xcr0; }, read_only));
    list.push_back(number_register(
        "cpl", features::system, 32, "uint32", group, [](Cpu& c) -> u64 { return c.mode.cpl; }, read_only));
    add_debug_registers(list);
    add_tables(list);
    add_segments(list);
    add_msrs(list, cpu);
}

} // namespace calque::gdb
