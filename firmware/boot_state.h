// The processor state that a boot protocol promises its kernel: a value that the machine applies to its vCPUs.
#pragma once

#include "base/types.h"

#include <string>
#include <vector>

namespace calque::firmware {

enum class BootMode : u8 {
    protected32, // CR0.PE, no paging, flat 32-bit segments.
    long64,      // EFER.LMA, paging on with an identity map, 64-bit code segment.
};

// A segment register, selector and hidden part. `rights` is laid out as in a VMCS (SDM Vol. 3, 24.4.1): type 3:0, S 4,
// DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15. `limit` is in bytes (already scaled by G).
struct BootSegment {
    u16 selector = 0;
    u64 base = 0;
    u32 limit = 0;
    u16 rights = 0; // 0: not usable.
};

struct BootTable {
    u64 base = 0;
    u16 limit = 0;
};

struct MsrSetting {
    u32 index;
    u64 value;
};

// Applied to vCPU 0 after its reset; the other vCPUs wait for a SIPI. Registers that are not named are as after reset.
struct BootState {
    BootMode mode = BootMode::protected32;
    u64 rip = 0, rflags = 0x2;
    u64 rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rbp = 0, rsp = 0;
    u64 cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
    BootSegment cs, ds, es, fs, gs, ss, ldtr, tr;
    BootTable gdtr, idtr;

    // What POST sets in *every* vCPU: the MTRRs, as far as the CPU has them.
    std::vector<MsrSetting> msrs;
    // The boot processor's local APIC in virtual wire mode (MP specification 1.4, 3.6.2.2): software-enabled, LINT0
    // ExtINT, LINT1 NMI.
    u32 apic_spurious = 0x1FF; // SVR
    u32 apic_lint0 = 0x700;
    u32 apic_lint1 = 0x400;

    // What the person should hear although the kernel starts; each one sentence.
    std::vector<std::string> notes;
};

} // namespace calque::firmware
