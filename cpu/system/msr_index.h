// Model-specific registers (SDM volume 4), by the manual's names.
#pragma once

#include "base/types.h"

namespace calque::cpu::msr {

inline constexpr u32 time_stamp_counter = 0x10, platform_id = 0x17, apic_base = 0x1B, feature_control = 0x3A,
                     tsc_adjust = 0x3B, bios_update_trigger = 0x79, bios_sign_id = 0x8B, smbase = 0x9E,
                     platform_info = 0xCE, mtrr_cap = 0xFE, arch_capabilities = 0x10A, sysenter_cs = 0x174,
                     sysenter_esp = 0x175, sysenter_eip = 0x176, mcg_cap = 0x179, mcg_status = 0x17A, mcg_ctl = 0x17B,
                     misc_enable = 0x1A0, debugctl = 0x1D9, mtrr_physbase0 = 0x200, mtrr_fix64k_00000 = 0x250,
                     mtrr_fix16k_80000 = 0x258, mtrr_fix16k_a0000 = 0x259, mtrr_fix4k_c0000 = 0x268, pat = 0x277,
                     mtrr_def_type = 0x2FF, mc0_ctl = 0x400, mc0_status = 0x401, mc0_addr = 0x402, mc0_misc = 0x403,
                     tsc_deadline = 0x6E0, x2apic_first = 0x800, x2apic_last = 0x8FF;
inline constexpr u32 efer = 0xC0000080, star = 0xC0000081, lstar = 0xC0000082, cstar = 0xC0000083, fmask = 0xC0000084,
                     fs_base = 0xC0000100, gs_base = 0xC0000101, kernel_gs_base = 0xC0000102, tsc_aux = 0xC0000103;

} // namespace calque::cpu::msr
