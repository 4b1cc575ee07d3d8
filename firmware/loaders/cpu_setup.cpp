#include "firmware/loaders/cpu_setup.h"

#include "firmware/bytes.h"
#include "firmware/layout.h"

namespace calque::firmware {

namespace {

constexpr u64 cr0_pe = 1u << 0;
constexpr u64 cr0_et = 1u << 4;
constexpr u64 cr0_pg = 1u << 31;
constexpr u64 cr4_pae = 1u << 5;
constexpr u64 efer_lme = 1u << 8;
constexpr u64 efer_lma = 1u << 10;

constexpr u16 rights_code32 = 0xC09B; // G, D, present, code, execute/read, accessed.
constexpr u16 rights_code64 = 0xA09B; // G, L, present, code, execute/read, accessed.
constexpr u16 rights_data = 0xC093;   // G, B, present, data, read/write, accessed.
constexpr u16 rights_tss = 0x008B;    // Present, busy 32-bit (in long mode: 64-bit) TSS.
constexpr u32 tss_limit = 0x67;

// A segment descriptor (SDM Vol. 3, figure 3-8) from VMCS-style rights.
constexpr u64 descriptor(u32 base, u32 limit, u16 rights) {
    const bool granular = rights & 0x8000;
    const u64 stored = granular ? limit >> 12 : limit;
    return (stored & 0xFFFF) | u64{base & 0xFFFFFF} << 16 | u64{rights & 0xFFu} << 40 | (stored >> 16 & 0xF) << 48
           | u64{rights >> 12u & 0xFu} << 52 | u64{base >> 24} << 56;
}

void set_segments(GuestMemory& memory, BootState& state, u16 code_rights) {
    std::vector<u8> gdt;
    append(gdt, 0, 8);
    append(gdt, 0, 8);
    append(gdt, descriptor(0, ~0u, code_rights), 8);
    append(gdt, descriptor(0, ~0u, rights_data), 8);
    append(gdt, descriptor(layout::tss, tss_limit, rights_tss), 8);
    append(gdt, 0, 8); // The upper half of the TSS descriptor in long mode.
    memory.write(PhysicalAddress(layout::gdt), gdt);
    memory.zero(PhysicalAddress(layout::tss), tss_limit + 1);

    state.gdtr = {layout::gdt, static_cast<u16>(gdt.size() - 1)};
    state.idtr = {0, 0};
    state.cs = {boot_cs, 0, ~0u, code_rights};
    state.ds = state.es = state.fs = state.gs = state.ss = {boot_ds, 0, ~0u, rights_data};
    state.tr = {boot_tss, layout::tss, tss_limit, rights_tss};
    state.rsp = layout::stack_top;
}

// 2 MiB pages (SDM Vol. 3, 4.5): PML4, PDPT, four page directories.
void write_identity_map(GuestMemory& memory) {
    constexpr u64 present_writable = 0x3;
    constexpr u64 large = 0x80;
    std::vector<u8> tables(6 * page_size);
    const std::span<u8> out(tables);
    store(out, 0, (layout::page_tables + page_size) | present_writable, 8);
    for (unsigned i = 0; i < 4; ++i)
        store(out, page_size + 8 * i, (layout::page_tables + (2 + i) * page_size) | present_writable, 8);
    for (unsigned i = 0; i < 4 * 512; ++i)
        store(out, 2 * page_size + 8 * i, u64{i} * 2 * MiB | large | present_writable, 8);
    memory.write(PhysicalAddress(layout::page_tables), tables);
}

} // namespace

BootState flat_protected_mode(GuestMemory& memory) {
    BootState state;
    state.mode = BootMode::protected32;
    set_segments(memory, state, rights_code32);
    state.cr0 = cr0_pe | cr0_et;
    return state;
}

BootState identity_mapped_long_mode(GuestMemory& memory) {
    BootState state;
    state.mode = BootMode::long64;
    set_segments(memory, state, rights_code64);
    write_identity_map(memory);
    state.cr0 = cr0_pg | cr0_pe | cr0_et;
    state.cr3 = layout::page_tables;
    state.cr4 = cr4_pae;
    state.efer = efer_lme | efer_lma;
    return state;
}

} // namespace calque::firmware
