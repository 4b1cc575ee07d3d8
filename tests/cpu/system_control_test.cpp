// Control registers, mode changes, MSRs, CPUID, the time stamp, ports' kin.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

// MOV CRn, RAX (or EAX) with that value; the vector taken, or -1.
int write_cr(Board& b, u8 number, u64 value) {
    b.gpr(rax) = value;
    b.program({0x0F, 0x22, static_cast<u8>(0xC0 | number << 3), 0xF4});
    return b.run_to_handler();
}

TEST(SystemControl, Cr0Combinations) {
    Board b(Board::Mode::protected32);
    EXPECT_EQ(write_cr(b, 0, cr0_pg), gp);          // Paging without protection.
    EXPECT_EQ(write_cr(b, 0, cr0_pe | cr0_nw), gp); // Not write-through without cache disable.
    EXPECT_EQ(write_cr(b, 0, cr0_pe | cr0_nw | cr0_cd), -1);
    EXPECT_EQ(write_cr(b, 0, cr0_pe | 1u << 7), -1); // Reserved bits are ignored.
    EXPECT_EQ(b.state().cr0, cr0_pe | cr0_et);       // ET cannot be cleared.

    Board l(Board::Mode::long64);
    EXPECT_EQ(write_cr(l, 0, l.state().cr0 | u64{1} << 32), gp);
    EXPECT_EQ(write_cr(l, 0, l.state().cr0 & ~cr0_pg), gp); // Not from 64-bit code.
}

TEST(SystemControl, Cr3AndCr4Reserved) {
    Board l(Board::Mode::long64);
    EXPECT_EQ(write_cr(l, 3, u64{1} << 40 | page_tables), gp);
    EXPECT_EQ(write_cr(l, 3, u64{1} << 63 | page_tables), gp); // Bit 63 needs PCIDs.
    EXPECT_EQ(write_cr(l, 4, l.state().cr4 & ~cr4_pae), gp);
    EXPECT_EQ(write_cr(l, 4, l.state().cr4 | 1u << 13), gp); // VMXE: there is no VMX.
    l.state().cr3 = page_tables | 1;
    EXPECT_EQ(write_cr(l, 4, l.state().cr4 | cr4_pcide), gp); // A PCID is there already.
    l.state().cr3 = page_tables;
    EXPECT_EQ(write_cr(l, 4, l.state().cr4 | cr4_pcide), -1);
    EXPECT_EQ(write_cr(l, 3, u64{1} << 63 | page_tables | 5), -1);
    EXPECT_EQ(l.state().cr3, page_tables | 5);
    Board p(Board::Mode::protected32);
    EXPECT_EQ(write_cr(p, 4, cr4_pcide), gp); // Long mode only.

    CpuModel bare;
    bare.features.set(Feature::smep, false);
    Board without(Board::Mode::long64, bare);
    EXPECT_EQ(write_cr(without, 4, without.state().cr4 | cr4_smep), gp);
}

TEST(SystemControl, Cr8IsTheTaskPriority) {
    Board b(Board::Mode::long64);
    b.gpr(rax) = 5;
    b.program({0x44, 0x0F, 0x22, 0xC0, 0x44, 0x0F, 0x20, 0xC3, 0xF4}); // MOV CR8, RAX; MOV RBX, CR8
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.platform.priority, 5);
    EXPECT_EQ(b.gpr(rbx), 5u);
    b.gpr(rax) = 16;
    b.program({0x44, 0x0F, 0x22, 0xC0});
    EXPECT_EQ(b.run_to_handler(), gp);
}

TEST(SystemControl, PrivilegedInstructionsFaultForUsers) {
    const std::initializer_list<u8> codes[] = {{0x0F, 0x20, 0xC0},
                                               {0x0F, 0x22, 0xC0},
                                               {0x0F, 0x21, 0xC0},
                                               {0x0F, 0x06},
                                               {0x0F, 0x08},
                                               {0x0F, 0x09},
                                               {0x0F, 0x30},
                                               {0x0F, 0x32},
                                               {0xF4},
                                               {0x0F, 0x01, 0xF0},
                                               {0x0F, 0x01, 0x38},
                                               {0x0F, 0x01, 0x10},
                                               {0x0F, 0x00, 0xD0},
                                               {0x0F, 0x00, 0xD8},
                                               {0xFA},
                                               {0xFB},
                                               {0xE4, 0x10}};
    for (const auto& code : codes) {
        Board b(Board::Mode::protected32);
        b.enter_user();
        b.gpr(rax) = data_at;
        b.program(code);
        EXPECT_EQ(b.run_to_handler(), gp) << std::hex << unsigned{code.begin()[0]} << ' ' << unsigned{code.begin()[1]};
    }
}

TEST(SystemControl, LmswSetsButNeverClearsProtection) {
    Board b(Board::Mode::protected32);
    b.program({0x31, 0xC0, 0x0F, 0x01, 0xF0, 0xB0, 0x0E, 0x0F, 0x01, 0xF0, 0xF4}); // LMSW 0; LMSW 0Eh
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().cr0 & 0xF, cr0_pe | cr0_mp | cr0_em | cr0_ts);
}

TEST(SystemControl, RealToProtectedToRealByProgram) {
    Board b(Board::Mode::real);
    b.set_gdt(0x08, descriptor(0, 0xFFFF, 0x009A));
    b.set_gdt(0x10, descriptor(0, 0xFFFFF, 0xC092));
    b.poke<u16>(data_at, 0x17);
    b.poke<u32>(data_at + 2, gdt_at);
    b.poke<u8>(0x50000, 0x77);
    b.program({0x0F, 0x01, 0x16, 0x00, 0x80,             // LGDT [8000h]
               0x0F, 0x20, 0xC0, 0x0C, 0x01,             // MOV EAX, CR0; OR AL, 1
               0x0F, 0x22, 0xC0,                         // MOV CR0, EAX
               0xEA, 0x12, 0x60, 0x08, 0x00,             // JMP 8:6012h
               0xB8, 0x10, 0x00, 0x8E, 0xD8,             // MOV AX, 10h; MOV DS, AX
               0x0F, 0x20, 0xC0, 0x24, 0xFE,             // MOV EAX, CR0; AND AL, FEh
               0x0F, 0x22, 0xC0,                         // MOV CR0, EAX
               0xEA, 0x24, 0x60, 0x00, 0x00,             // JMP 0:6024h
               0x67, 0x8A, 0x1D, 0x00, 0x00, 0x05, 0x00, // MOV BL, [50000h]: DS still has its 4 GiB limit
               0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 0x2C);
    EXPECT_EQ(b.gpr(rbx) & 0xFF, 0x77u);
    EXPECT_FALSE(b.cpu().mode.protected_mode);
}

TEST(SystemControl, ProtectedToLongModeByProgram) {
    Board b(Board::Mode::protected32);
    b.set_gdt(spare, descriptor(0, 0xFFFFF, 0xA09A));
    b.poke<u64>(page_tables, (page_tables + 0x1000) | 3);
    b.poke<u64>(page_tables + 0x1000, (page_tables + 0x2000) | 3);
    b.poke<u64>(page_tables + 0x2000, 0x83);
    b.bytes(second_code_at, {0x48, 0x31, 0xC0, 0x48, 0xFF, 0xC8, 0xF4});         // XOR RAX, RAX; DEC RAX; HLT
    b.program({0xB8, 0x20, 0,    0,    0,    0x0F, 0x22, 0xE0,                   // CR4.PAE
               0xB8, 0,    0,    2,    0,    0x0F, 0x22, 0xD8,                   // CR3
               0xB9, 0x80, 0,    0,    0xC0, 0x0F, 0x32, 0x80, 0xCC, 1,          // RDMSR EFER; OR AH, 1
               0x0F, 0x30,                                                       // WRMSR
               0x0F, 0x20, 0xC0, 0x0D, 0,    0,    0,    0x80, 0x0F, 0x22, 0xC0, // CR0.PG
               0xEA, 0,    0x70, 0,    0,    0xC8, 0});                          // JMP C8h:7000h
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), second_code_at + 7);
    EXPECT_EQ(b.gpr(rax), ~u64{0});
    EXPECT_TRUE(b.state().efer & efer_lma);
    EXPECT_TRUE(b.cpu().mode.mode64);
}

TEST(SystemControl, LongModeNeedsPaeAndNoBusySmallTask) {
    Board pae(Board::Mode::protected32);
    pae.state().efer = efer_lme;
    EXPECT_EQ(write_cr(pae, 0, pae.state().cr0 | cr0_pg), gp);
    EXPECT_EQ(pae.state().efer & efer_lma, 0u);

    Board task(Board::Mode::protected32);
    task.state().efer = efer_lme;
    task.state().cr4 |= cr4_pae;
    task.segment(tr).rights = 0x83;
    EXPECT_EQ(write_cr(task, 0, task.state().cr0 | cr0_pg), gp);
}

TEST(SystemControl, PaePointersWithReservedBitsAreRefused) {
    Board b(Board::Mode::protected32);
    b.state().cr4 |= cr4_pae;
    b.state().cr3 = page_tables;
    b.poke<u64>(page_tables, (page_tables + 0x1000) | 1 | 1u << 5);
    EXPECT_EQ(write_cr(b, 0, b.state().cr0 | cr0_pg), gp);
    EXPECT_FALSE(b.state().cr0 & cr0_pg);
}

// RDMSR or WRMSR of RCX.
int msr(Board& b, u32 index, bool write, u64 value = 0) {
    b.gpr(rcx) = index;
    b.gpr(rax) = static_cast<u32>(value);
    b.gpr(rdx) = value >> 32;
    b.program({0x0F, static_cast<u8>(write ? 0x30 : 0x32), 0xF4});
    return b.run_to_handler();
}
u64 msr_value(Board& b, u32 index) {
    EXPECT_EQ(msr(b, index, false), -1) << std::hex << index;
    return b.gpr(rdx) << 32 | b.gpr(rax);
}

TEST(SystemControl, MsrsKeepWhatTheyAreGivenAndRefuseTheRest) {
    Board b(Board::Mode::long64);
    for (u32 index : {0x174u, 0x175u, 0x176u, 0xC0000081u, 0xC0000082u, 0xC0000083u, 0xC0000084u, 0xC0000100u,
                      0xC0000101u, 0xC0000102u, 0xC0000103u, 0x200u, 0x250u, 0x26Fu}) {
        const u64 value = index == 0x200 ? 0x12345006 : index == 0x250 || index == 0x26F ? 0x0606060600000101 : 0x1238;
        EXPECT_EQ(msr(b, index, true, value), -1) << std::hex << index;
        EXPECT_EQ(msr_value(b, index), value) << std::hex << index;
    }
    constexpr u64 bad_address = u64{1} << 60;
    for (u32 index : {0x175u, 0x176u, 0xC0000082u, 0xC0000083u, 0xC0000100u, 0xC0000101u, 0xC0000102u})
        EXPECT_EQ(msr(b, index, true, bad_address), gp) << std::hex << index;
    EXPECT_EQ(msr(b, 0x277, true, 0x0202020202020202), gp); // PAT type 2.
    EXPECT_EQ(msr(b, 0x2FF, true, 0x100), gp);
    EXPECT_EQ(msr(b, 0xC0000080, true, 1u << 12), gp);
    EXPECT_EQ(msr(b, 0xC0000080, true, efer_nxe | efer_sce), gp); // LME may not change under paging.
    EXPECT_EQ(msr(b, 0xFE, true, 0), gp);                         // MTRRCAP is read-only.
    EXPECT_EQ(msr(b, 0x3A, true, 5), gp);                         // Locked.
    EXPECT_EQ(msr(b, 0x12345, false), gp);
    EXPECT_EQ(b.log.unimplemented_counts().size(), 1u);
}

TEST(SystemControl, TimeStampAdjustFollowsWrites) {
    Board b(Board::Mode::long64);
    EXPECT_EQ(msr(b, 0x3B, true, 1'000'000), -1);
    EXPECT_GE(b.cpu().read_tsc(), 1'000'000u);
    EXPECT_LT(b.cpu().read_tsc(), 1'001'000u);
    EXPECT_EQ(msr(b, 0x10, true, 5), -1);
    EXPECT_LT(b.cpu().read_tsc(), 1000u);
    EXPECT_EQ(msr_value(b, 0x3B), b.state().tsc_offset); // Both moved by the same.
}

TEST(SystemControl, TimeStampDisableStopsUsers) {
    Board b(Board::Mode::long64);
    b.state().cr4 |= cr4_tsd;
    b.program({0x0F, 0x31, 0xF4});
    EXPECT_EQ(b.run_to_handler(), -1);
    b.enter_user();
    b.program({0x0F, 0x31});
    EXPECT_EQ(b.run_to_handler(), gp);
    Board p(Board::Mode::long64);
    p.state().cr4 |= cr4_tsd;
    p.enter_user();
    p.program({0x0F, 0x01, 0xF9});
    EXPECT_EQ(p.run_to_handler(), gp);
}

TEST(SystemControl, ArchCapabilitiesSaysNotVulnerable) {
    Board b(Board::Mode::long64);
    const u64 value = msr_value(b, 0x10A);
    for (unsigned bit_number : {0u, 4u, 5u, 6u, 8u, 13u, 14u, 15u, 20u, 26u, 27u})
        EXPECT_TRUE(value >> bit_number & 1) << bit_number;
}

TEST(SystemControl, CpuidIsConsistent) {
    Board b(Board::Mode::long64);
    Cpu& cpu = b.cpu();
    const auto leaf0 = cpu.cpuid(0, 0);
    EXPECT_GE(leaf0.eax, 0x16u);
    EXPECT_EQ(leaf0.ebx, 0x756E6547u); // "Genu"
    EXPECT_EQ(cpu.cpuid(1, 0).eax, cpu.model.signature());
    EXPECT_FALSE(cpu.cpuid(1, 0).ecx >> 27 & 1); // OSXSAVE follows CR4.
    b.state().cr4 |= cr4_osxsave;
    EXPECT_TRUE(cpu.cpuid(1, 0).ecx >> 27 & 1);
    EXPECT_EQ(cpu.cpuid(0xA, 0).eax, 0u); // No performance counters.
    const auto tsc = cpu.cpuid(0x15, 0);
    EXPECT_EQ(u64{tsc.ecx} * tsc.ebx / tsc.eax, b.platform.timestamp_frequency());
    EXPECT_EQ(cpu.cpuid(0xD, 0).eax, 0x207u);
    EXPECT_EQ(cpu.cpuid(0xD, 0).ecx, 2696u);
    EXPECT_EQ(cpu.cpuid(0xD, 2).eax, 256u);
    EXPECT_EQ(cpu.cpuid(0xD, 2).ebx, 576u);
    EXPECT_EQ(cpu.cpuid(0x80000008, 0).eax & 0xFFFF, 0x3028u);
    EXPECT_NE(cpu.cpuid(0x40000000, 0).ebx, 0x4B4D564Bu); // Not KVM's.
    // A leaf beyond the last gives the last one's.
    EXPECT_EQ(cpu.cpuid(0x12345, 0).ecx, cpu.cpuid(leaf0.eax, 0).ecx);
    b.state().efer = 0;
    EXPECT_TRUE(cpu.cpuid(0x80000007, 0).edx & 1u << 8);
}

TEST(SystemControl, EveryFeatureHasItsBit) {
    Board b(Board::Mode::long64);
    for (std::size_t n = 0; n < feature_table.size(); ++n) {
        const FeatureInfo& f = feature_table[n];
        const auto r = b.cpu().cpuid(f.leaf, f.subleaf);
        const u32 values[] = {r.eax, r.ebx, r.ecx, r.edx};
        EXPECT_EQ(values[static_cast<unsigned>(f.reg)] >> f.bit & 1,
                  b.cpu().model.features.has(static_cast<Feature>(n)) ? 1u : 0u)
            << f.name;
    }
}

TEST(SystemControl, CpuidTopology) {
    CpuModel model;
    model.cores = 4;
    Board b(Board::Mode::long64, model);
    EXPECT_EQ(b.cpu().cpuid(1, 0).ebx >> 16 & 0xFF, 4u);
    EXPECT_TRUE(b.cpu().cpuid(1, 0).edx >> 28 & 1);
    EXPECT_EQ(b.cpu().cpuid(0xB, 1).eax, 2u);
    EXPECT_EQ(b.cpu().cpuid(0xB, 1).ebx, 4u);
    EXPECT_EQ(b.cpu().cpuid(4, 0).eax >> 26, 3u);
    EXPECT_EQ(b.cpu().cpuid(4, 4).eax, 0u);
}

TEST(SystemControl, XsetbvChecks) {
    const auto xsetbv = [](u32 index, u64 value, bool enabled = true) {
        Board b(Board::Mode::long64);
        if (enabled) b.state().cr4 |= cr4_osxsave;
        b.cpu().update_mode();
        b.gpr(rcx) = index;
        b.gpr(rax) = static_cast<u32>(value);
        b.gpr(rdx) = value >> 32;
        b.program({0x0F, 0x01, 0xD1, 0xF4});
        return b.run_to_handler();
    };
    EXPECT_EQ(xsetbv(0, 7), -1);
    EXPECT_EQ(xsetbv(0, 7, false), ud);
    EXPECT_EQ(xsetbv(0, 6), gp);    // x87 must be on.
    EXPECT_EQ(xsetbv(0, 5), gp);    // AVX without SSE.
    EXPECT_EQ(xsetbv(0, 0x27), gp); // AVX-512.
    EXPECT_EQ(xsetbv(1, 7), gp);
    EXPECT_EQ(xsetbv(0, u64{1} << 32 | 7), gp);
}

TEST(SystemControl, InvpcidChecks) {
    const auto invpcid = [](u64 type, u64 pcid, u64 address, bool pcids) {
        Board b(Board::Mode::long64);
        if (pcids) b.state().cr4 |= cr4_pcide;
        b.cpu().update_mode();
        b.poke<u64>(data_at, pcid);
        b.poke<u64>(data_at + 8, address);
        b.gpr(rax) = type;
        b.gpr(rbx) = data_at;
        b.program({0x66, 0x0F, 0x38, 0x82, 0x03, 0xF4}); // INVPCID RAX, [RBX]
        return b.run_to_handler();
    };
    for (u64 type = 0; type < 4; ++type)
        EXPECT_EQ(invpcid(type, 0, 0x1000, false), -1) << type;
    EXPECT_EQ(invpcid(4, 0, 0, false), gp);
    EXPECT_EQ(invpcid(0, 5, 0, false), gp);
    EXPECT_EQ(invpcid(0, 5, 0, true), -1);
    EXPECT_EQ(invpcid(1, 0x1000, 0, true), gp);
    EXPECT_EQ(invpcid(0, 0, u64{1} << 60, true), gp);
}

TEST(SystemControl, ProtectionKeysRegister) {
    Board b(Board::Mode::long64);
    b.program({0x0F, 0x01, 0xEE}); // RDPKRU without CR4.PKE
    EXPECT_EQ(b.run_to_handler(), ud);
    b.state().cr4 |= cr4_pke;
    b.cpu().update_mode();
    b.gpr(rax) = 0x0C;
    b.gpr(rcx) = b.gpr(rdx) = 0;
    b.program({0x0F, 0x01, 0xEF, 0x31, 0xC0, 0x0F, 0x01, 0xEE, 0xF4}); // WRPKRU; XOR EAX, EAX; RDPKRU
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 0x0Cu);
    // What is there already, then something else: WRPKRU; ADD EAX, 4; WRPKRU; XOR EAX, EAX; RDPKRU; HLT
    b.gpr(rax) = 0x0C;
    b.program({0x0F, 0x01, 0xEF, 0x83, 0xC0, 0x04, 0x0F, 0x01, 0xEF, 0x31, 0xC0, 0x0F, 0x01, 0xEE, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 0x10u);
    EXPECT_EQ(b.state().pkru, 0x10u);
    for (const unsigned other : {rcx, rdx}) {
        b.gpr(rcx) = b.gpr(rdx) = 0;
        b.gpr(other) = 1;
        b.program({0x0F, 0x01, 0xEF});
        EXPECT_EQ(b.run_to_handler(), gp);
    }
}

TEST(SystemControl, RandomNumbersSetCarryOnly) {
    Board b(Board::Mode::long64);
    b.program({0x48, 0x0F, 0xC7, 0xF0, 0xF4}); // RDRAND RAX
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), b.platform.random_value);
    EXPECT_EQ(arithmetic_bits(b.state().lazy), flag_cf);
}

} // namespace
} // namespace calque::cpu::testing
