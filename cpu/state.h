// The architectural state of one logical processor: plain values, nothing derived but what is named as such.
#pragma once

#include "base/archive.h"
#include "base/types.h"

#include <array>

namespace calque::cpu {

// Register numbers as the encoding has them.
inline constexpr unsigned rax = 0, rcx = 1, rdx = 2, rbx = 3, rsp = 4, rbp = 5, rsi = 6, rdi = 7;
// Two slots past the GPRs let an effective address be computed without a branch: RIP, and one that is always zero.
inline constexpr unsigned rip_slot = 16, zero_slot = 17, gpr_slots = 18;
// A byte register AH, CH, DH, BH is its 64-bit register's number with this bit.
inline constexpr u8 high_byte = 0x40;

// RFLAGS (SDM volume 1, 3.4.3).
inline constexpr u64 flag_cf = 1u << 0, flag_one = 1u << 1, flag_pf = 1u << 2, flag_af = 1u << 4, flag_zf = 1u << 6,
                     flag_sf = 1u << 7, flag_tf = 1u << 8, flag_if = 1u << 9, flag_df = 1u << 10, flag_of = 1u << 11,
                     flag_iopl = 3u << 12, flag_nt = 1u << 14, flag_rf = 1u << 16, flag_vm = 1u << 17,
                     flag_ac = 1u << 18, flag_vif = 1u << 19, flag_vip = 1u << 20, flag_id = 1u << 21;
inline constexpr u64 arithmetic_flags = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_of;

inline constexpr u64 cr0_pe = 1u << 0, cr0_mp = 1u << 1, cr0_em = 1u << 2, cr0_ts = 1u << 3, cr0_et = 1u << 4,
                     cr0_ne = 1u << 5, cr0_wp = 1u << 16, cr0_am = 1u << 18, cr0_nw = 1u << 29, cr0_cd = 1u << 30,
                     cr0_pg = 1u << 31;
inline constexpr u64 cr4_vme = 1u << 0, cr4_pvi = 1u << 1, cr4_tsd = 1u << 2, cr4_de = 1u << 3, cr4_pse = 1u << 4,
                     cr4_pae = 1u << 5, cr4_mce = 1u << 6, cr4_pge = 1u << 7, cr4_pce = 1u << 8, cr4_osfxsr = 1u << 9,
                     cr4_osxmmexcpt = 1u << 10, cr4_umip = 1u << 11, cr4_fsgsbase = 1u << 16, cr4_pcide = 1u << 17,
                     cr4_osxsave = 1u << 18, cr4_smep = 1u << 20, cr4_smap = 1u << 21, cr4_pke = 1u << 22;
inline constexpr u64 efer_sce = 1u << 0, efer_lme = 1u << 8, efer_lma = 1u << 10, efer_nxe = 1u << 11;

// The arithmetic flags in the form that makes them cheap to produce: an ALU operation leaves its result and its
// carries, and the flags are computed when somebody reads them (cpu/flags.h has the formulas).
struct LazyFlags {
    u64 result = 1; // Sign-extended from the operand size to 64 bits. ZF: it is zero. SF: its bit 63. PF: its low byte.
    u64 carries =
        0; // Bit 63: CF. Bit 62: carry into the sign bit (OF = bit 63 xor bit 62). Bit 3: AF.
           // Bit 0: inverts SF. Bits 15:8: xored into the byte PF is computed of. (For flags set by POPF and the like.)
};

// Index of a segment register in CpuState::segment. The last two exist only in decoded instructions: in 64-bit mode ES,
// CS, SS and DS have no base and no limit; the stack one remembers that a non-canonical address raises #SS.
enum Segment : u8 { es = 0, cs = 1, ss = 2, ds = 3, fs = 4, gs = 5, flat = 6, flat_stack = 7, ldtr = 8, tr = 9 };

// A segment register with its hidden part (SDM volume 3, 3.4.3).
struct SegmentRegister {
    u16 selector = 0;
    u16 rights = 0; // As in the descriptor's bits 55:40: type 3:0, S 4, DPL 6:5, P 7, (limit 11:8 as zero), AVL 12, L
                    // 13, D/B 14, G 15. P clear: unusable.
    u32 limit = 0;  // In bytes, granularity applied.
    u64 base = 0;

    u8 type() const { return rights & 0xF; }
    bool system() const { return !(rights & 0x10); }
    u8 dpl() const { return (rights >> 5) & 3; }
    bool present() const { return rights & 0x80; }
    bool long_mode() const { return rights & 0x2000; }
    bool big() const { return rights & 0x4000; } // D/B.
    bool is_code() const { return (rights & 0x18) == 0x18; }
    bool writable() const { return (rights & 0x1A) == 0x12; }                            // Data, W.
    bool readable() const { return (rights & 0x18) == 0x10 || (rights & 0x1A) == 0x1A; } // Data, or code with R.
    bool expand_down() const { return (rights & 0x1C) == 0x14; }
    void serialize(Archive& archive, std::string_view name);
};

struct DescriptorTable {
    u64 base = 0;
    u16 limit = 0;
};

struct X87Register {
    u64 significand = 0;
    u16 sign_exponent = 0;
};

struct X87State {
    std::array<X87Register, 8> reg{}; // Physical registers R0 to R7; MMn is reg[n].significand.
    u16 control = 0x0040;             // FCW after RESET (SDM volume 3, table 9-1); FNINIT makes it 037Fh.
    u16 status = 0;                   // FSW with TOP in bits 13:11.
    u8 valid = 0;   // Abridged tag word, a bit a physical register: 1 = not empty (as FXSAVE has it). RESET: all tags
                    // zero means "valid".
    u16 opcode = 0; // FOP, 11 bits.
    u64 instruction_pointer = 0;
    u64 data_pointer = 0;
    u16 instruction_selector = 0;
    u16 data_selector = 0;
    bool ferr = false; // FERR# is asserted: with CR0.NE clear an instruction has met a pending error.

    unsigned top() const { return (status >> 11) & 7; }
    void set_top(unsigned t) { status = static_cast<u16>((status & ~0x3800) | ((t & 7) << 11)); }
};

struct alignas(32) VectorRegister {
    u64 q[4] = {};
};

enum class Activity : u8 { running, halted, wait_for_sipi, shutdown };

struct CpuState {
    std::array<u64, gpr_slots> gpr{};
    u64 rflags =
        flag_one; // Everything but the arithmetic flags, whose bits are clear here. Use cpu/flags.h to read all.
    LazyFlags lazy;
    std::array<SegmentRegister, 10> segment{}; // By Segment; [flat] and [flat_stack] stay zero.
    DescriptorTable gdtr, idtr;
    u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
    std::array<u64, 4> pdpte{};
    std::array<u64, 8> dr{};
    u64 xcr0 = 1;
    u32 pkru = 0;

    u64 efer = 0;
    u64 star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0;
    u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
    u64 tsc_offset =
        0; // Added to the platform's time-stamp counter (writes to IA32_TIME_STAMP_COUNTER and IA32_TSC_ADJUST).
    u64 tsc_adjust = 0;
    u32 tsc_aux = 0;
    u64 pat = 0x0007040600070406;
    u64 misc_enable = 1;
    u64 debugctl = 0;
    u64 feature_control = 1;
    u64 smbase = 0x30000;
    u64 mtrr_def_type = 0;
    std::array<u64, 11> mtrr_fixed{};
    std::array<u64, 16> mtrr_variable{};
    std::array<u64, 5> mca{}; // MCG_CTL, MCG_STATUS and spares for bank 0.

    X87State x87;
    std::array<VectorRegister, 16> vector{};
    u32 mxcsr = 0x1F80;

    Activity activity = Activity::running;
    bool interrupt_shadow = false; // After MOV SS, POP SS and STI: the next instruction runs before any interrupt.
    bool debug_shadow = false;     // After MOV SS and POP SS: #DB is held back too.
    bool nmi_blocked = false;      // Between an NMI's delivery and IRET.
    bool in_smm = false;
    u64 pending_debug = 0; // DR6 bits collected for a #DB at the end of this instruction.

    u64& rip() { return gpr[rip_slot]; }
    u64 rip() const { return gpr[rip_slot]; }

    void serialize(Archive& archive);
};

} // namespace calque::cpu
