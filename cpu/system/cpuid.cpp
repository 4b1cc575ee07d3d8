// CPUID (SDM volume 2; the extended leaves also in APM volume 3, appendix E).
#include "cpu/system/canonical.h"
#include "cpu/system/control_registers.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"
#include "cpu/system/xsave_layout.h"
#include "mmu/walker.h"

#include <bit>

namespace calque::cpu {

namespace {

using Result = Cpu::CpuidResult;

constexpr u32 max_basic = 0x1F, max_extended = 0x80000008, max_hypervisor = 0x40000000;

u32& register_of(Result& r, CpuidRegister which) {
    switch (which) {
    case CpuidRegister::eax: return r.eax;
    case CpuidRegister::ebx: return r.ebx;
    case CpuidRegister::ecx: return r.ecx;
    case CpuidRegister::edx: break;
    }
    return r.edx;
}

u32 four_characters(std::string_view text, std::size_t at) {
    u32 value = 0;
    for (std::size_t n = 0; n < 4; ++n)
        if (at + n < text.size()) value |= u32{static_cast<u8>(text[at + n])} << (8 * n);
    return value;
}

// The width of the field of an APIC ID that numbers the logical processors of the package.
u32 core_id_bits(u32 cores) { return cores > 1 ? static_cast<u32>(std::bit_width(cores - 1)) : 0; }

Result vendor(const CpuModel& model, u32 highest) {
    return {highest, four_characters(model.vendor, 0), four_characters(model.vendor, 8),
            four_characters(model.vendor, 4)};
}

// Deterministic cache parameters: one level a row.
struct Cache {
    u32 type, level, ways, sets; // Type 1: data, 2: instructions, 3: both.
    bool shared;                 // By the package, else by one core.
    u32 kilobytes() const { return ways * sets * 64 / 1024; }
};
constexpr Cache caches[] = {
    {1, 1, 8, 64, false}, {2, 1, 8, 64, false}, {3, 2, 8, 1024, false}, {3, 3, 16, 16384, true}};

Result cache_leaf(const CpuModel& model, u32 subleaf) {
    if (subleaf >= std::size(caches)) return {};
    const Cache& c = caches[subleaf];
    constexpr u32 line = 64, self_initializing = 1u << 8;
    const u32 ids = 1u << core_id_bits(model.cores);
    Result r;
    r.eax =
        c.type | c.level << 5 | self_initializing | ((c.shared ? ids - 1 : 0) & 0xFFF) << 14 | ((ids - 1) & 0x3F) << 26;
    r.ebx = (line - 1) | (c.ways - 1) << 22;
    r.ecx = c.sets - 1;
    r.edx = c.shared ? 0 : 1; // WBINVD reaches lower levels of those that share only what is theirs.
    return r;
}

// Leaves 0Bh and 1Fh: a thread level of one, then the cores.
Result topology_leaf(const CpuModel& model, u32 subleaf, u32 apic_id) {
    Result r;
    r.ecx = subleaf & 0xFF;
    r.edx = apic_id;
    if (subleaf == 0) {
        r.ebx = 1;
        r.ecx |= 1u << 8; // SMT.
    } else if (subleaf == 1) {
        r.eax = core_id_bits(model.cores);
        r.ebx = model.cores;
        r.ecx |= 2u << 8; // Core.
    }
    return r;
}

Result xsave_leaf(const CpuModel& model, const CpuState& state, u32 subleaf) {
    const u64 supported = xcr0_supported(model.features);
    if (!model.features.has(Feature::xsave)) return {};
    Result r;
    switch (subleaf) {
    case 0:
        r.eax = static_cast<u32>(supported);
        r.ebx = xsave_standard_size(state.xcr0);
        r.ecx = xsave_standard_size(supported);
        r.edx = static_cast<u32>(supported >> 32);
        break;
    case 1: r.ebx = xsave_compacted_size(state.xcr0); break; // EAX: the features, from the table.
    default:
        for (const XsaveComponent& c : xsave_components) {
            if (c.number != subleaf || !(supported >> subleaf & 1)) continue;
            r.eax = c.size;
            r.ebx = c.offset;
        }
    }
    return r;
}

Result brand_leaf(const CpuModel& model, u32 leaf) {
    const std::size_t at = (leaf - 0x80000002) * 16;
    const std::string_view text = std::string_view(model.brand).substr(0, 47);
    return {four_characters(text, at), four_characters(text, at + 4), four_characters(text, at + 8),
            four_characters(text, at + 12)};
}

// Everything but the feature bits of the table.
Result plain_leaf(Cpu& cpu, u32 leaf, u32 subleaf) {
    const CpuModel& model = cpu.model;
    const u32 cores = model.cores;
    Result r;
    switch (leaf) {
    case 0: return vendor(model, max_basic);
    case 1:
        r.eax = model.signature();
        r.ebx = 8u << 8 | ((cores > 1 ? 1u << core_id_bits(cores) : 1) & 0xFF) << 16 | cpu.platform.apic_id() << 24;
        if (cores > 1) r.edx = 1u << 28; // HTT: the count in EBX is valid.
        if (cpu.state.cr4 & cr4_osxsave) r.ecx = 1u << 27;
        break;
    case 2: r.eax = 0x00FEFF01; break; // Caches: see leaf 4. TLBs: see leaf 18h, which says nothing.
    case 4: return cache_leaf(model, subleaf);
    case 7:
        if (subleaf == 0 && (cpu.state.cr4 & cr4_pke)) r.ecx = 1u << 4; // OSPKE.
        break;
    case 0xB:
    case 0x1F: return topology_leaf(model, subleaf, cpu.platform.apic_id());
    case 0xD: return xsave_leaf(model, cpu.state, subleaf);
    case 0x15: {
        // TSC frequency = crystal * EBX / EAX. Linux multiplies in 32 bits: the ratio has to be in small numbers.
        r.eax = 1;
        r.ebx = static_cast<u32>(cpu.platform.timestamp_frequency() / core_crystal_hz);
        r.ecx = core_crystal_hz;
        break;
    }
    case 0x16: {
        const u32 mhz = static_cast<u32>(cpu.platform.timestamp_frequency() / 1'000'000);
        r = {mhz, mhz, 100, 0};
        break;
    }
    case 0x40000000:
        // Our own name, and no leaves above: no other hypervisor's interface is offered.
        r = {max_hypervisor, four_characters("CalqueCalque", 0), four_characters("CalqueCalque", 4),
             four_characters("CalqueCalque", 8)};
        break;
    case 0x80000000:
        r.eax = max_extended;
        if (vendor_is_amd(cpu)) r = vendor(model, max_extended);
        break;
    case 0x80000001:
        if (vendor_is_amd(cpu)) r.eax = model.signature();
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: return brand_leaf(model, leaf);
    case 0x80000006: r.ecx = caches[2].kilobytes() << 16 | 6u << 12 | 64; break; // L2: 8 ways, lines of 64.
    case 0x80000008: r.eax = mmu::physical_address_bits | linear_address_bits << 8; break;
    default: break;
    }
    return r;
}

// Features whose bit depends on more than the model.
bool announced(const Cpu& cpu, Feature f) {
    if (!cpu.model.features.has(f)) return false;
    switch (f) {
    case Feature::apic:
    case Feature::x2apic:
    case Feature::tsc_deadline: return cpu.platform.apic_enabled();
    // Intel's SYSCALL bit is clear outside 64-bit mode.
    case Feature::syscall: return cpu.mode.mode64 || vendor_is_amd(cpu);
    default: return true;
    }
}

// AMD repeats most of leaf 1's EDX in 80000001h.
constexpr u32 amd_repeated_bits = 0x0183F3FF;

} // namespace

Cpu::CpuidResult Cpu::cpuid(u32 leaf, u32 subleaf) {
    const bool hypervisor = model.features.has(Feature::hypervisor);
    // Beyond the highest leaf, Intel's give the data of the highest basic one.
    const bool known = leaf <= max_basic || (leaf >= 0x80000000 && leaf <= max_extended)
                       || (hypervisor && leaf >= 0x40000000 && leaf <= max_hypervisor);
    if (!known) leaf = max_basic;
    CpuidResult result = plain_leaf(*this, leaf, subleaf);
    for (std::size_t n = 0; n < feature_table.size(); ++n) {
        const FeatureInfo& info = feature_table[n];
        if (info.leaf == leaf && (info.subleaf == subleaf || leaf == 1 || leaf >= 0x80000000 || leaf == 6)
            && announced(*this, static_cast<Feature>(n)))
            register_of(result, info.reg) |= 1u << info.bit;
    }
    if (leaf == 0x80000001 && vendor_is_amd(*this)) result.edx |= cpuid(1, 0).edx & amd_repeated_bits;
    return result;
}

namespace {

Flow cpuid_instruction(Cpu& cpu, const Instruction&) {
    const u32 leaf = cpu.gpr<u32>(rax), subleaf = cpu.gpr<u32>(rcx);
    const Cpu::CpuidResult r = cpu.cpuid(leaf, subleaf);
    cpu.log.trace(Channel::cpuid, "leaf {:#x} subleaf {:#x}: {:08x} {:08x} {:08x} {:08x}", leaf, subleaf, r.eax, r.ebx,
                  r.ecx, r.edx);
    cpu.set_gpr<u32>(rax, r.eax);
    cpu.set_gpr<u32>(rbx, r.ebx);
    cpu.set_gpr<u32>(rcx, r.ecx);
    cpu.set_gpr<u32>(rdx, r.edx);
    return Flow::next;
}

} // namespace

Handler select_cpuid(const Form&) { return threaded<cpuid_instruction>; }

} // namespace calque::cpu
