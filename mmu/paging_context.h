// What of the processor's state decides how a linear address is translated.
#pragma once

#include "base/types.h"

namespace calque::mmu {

// Control register, EFER and RFLAGS bits that the walker reads (SDM volume 3, 2.5 and 4.1).
inline constexpr u64 cr0_wp = u64{1} << 16;
inline constexpr u64 cr0_pg = u64{1} << 31;
inline constexpr u64 cr4_pse = u64{1} << 4;
inline constexpr u64 cr4_pae = u64{1} << 5;
inline constexpr u64 cr4_pge = u64{1} << 7;
inline constexpr u64 cr4_pcide = u64{1} << 17;
inline constexpr u64 cr4_smep = u64{1} << 20;
inline constexpr u64 cr4_smap = u64{1} << 21;
inline constexpr u64 cr4_pke = u64{1} << 22;
inline constexpr u64 efer_lma = u64{1} << 10;
inline constexpr u64 efer_nxe = u64{1} << 11;

struct PagingContext {
    u64 cr0 = 0;
    u64 cr3 = 0;
    u64 cr4 = 0;
    u64 efer = 0;
    u32 pkru = 0;
    u8 cpl = 0;
    bool ac = false;              // RFLAGS.AC: with CR4.SMAP, lets explicit supervisor accesses reach user pages.
    bool smm = false;             // In system management mode: SMRAM is there (PhysicalMap's SmmMemory).
    bool alignment_check = false; // CR0.AM, RFLAGS.AC and CPL 3 together: unaligned data accesses raise #AC.
    // The PAE page-directory-pointer registers, loaded by MOV CR3 (SDM volume 3, 4.4.1); used only in PAE paging.
    u64 pdpte[4] = {};

    bool operator==(const PagingContext&) const = default;
    // Equal but for cpl, ac and alignment_check.
    bool same_tables(const PagingContext& other) const {
        u64 different = (cr0 ^ other.cr0) | (cr3 ^ other.cr3) | (cr4 ^ other.cr4) | (efer ^ other.efer)
                        | (pkru ^ other.pkru) | u64{smm != other.smm};
        for (unsigned n = 0; n < 4; ++n)
            different |= pdpte[n] ^ other.pdpte[n];
        return different == 0;
    }
};

enum class Access : u8 { read, write, execute };
// Who asks: the program at the current CPL, or the processor itself (descriptor tables, TSS), which is always
// supervisor.
enum class Privilege : u8 { current, system };

// #PF error code bits (SDM volume 3, 4.7).
inline constexpr u32 pf_present = 1u << 0;
inline constexpr u32 pf_write = 1u << 1;
inline constexpr u32 pf_user = 1u << 2;
inline constexpr u32 pf_reserved = 1u << 3;
inline constexpr u32 pf_fetch = 1u << 4;
inline constexpr u32 pf_protection_key = 1u << 5;

// Why an access did not happen. The mmu returns it; the cpu raises it.
struct Fault {
    enum class Kind : u8 { none, page_fault, not_canonical, alignment };
    Kind kind = Kind::none;
    u32 error_code = 0;    // Of a page fault.
    LinearAddress address; // The byte that faulted: what CR2 gets.
};

} // namespace calque::mmu
