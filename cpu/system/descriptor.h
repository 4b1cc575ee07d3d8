// Descriptors as the tables in memory hold them (SDM volume 3, 3.4.5, 5.8 and 6.11).
#pragma once

#include "cpu/cpu.h"

namespace calque::cpu {

// Types of system descriptors (SDM volume 3, table 3-2). In IA-32e mode only 2, 9, B, C, E and F exist, with 16 bytes
// (but for the gates of the legacy sizes).
enum SystemType : u8 {
    type_tss16 = 1,
    type_ldt = 2,
    type_tss16_busy = 3,
    type_call_gate16 = 4,
    type_task_gate = 5,
    type_interrupt_gate16 = 6,
    type_trap_gate16 = 7,
    type_tss32 = 9,
    type_tss32_busy = 0xB,
    type_call_gate32 = 0xC,
    type_interrupt_gate32 = 0xE,
    type_trap_gate32 = 0xF,
};

struct Descriptor {
    u16 selector = 0;
    u64 address = 0; // Linear: where it was read from.
    u64 low = 0;
    u64 high = 0; // The second half of a 16-byte descriptor.

    u16 rights() const { return static_cast<u16>(low >> 40) & 0xF0FF; }
    u8 type() const { return (low >> 40) & 0xF; }
    bool system() const { return !(low >> 44 & 1); }
    u8 dpl() const { return (low >> 45) & 3; }
    bool present() const { return low >> 47 & 1; }
    bool long_mode() const { return low >> 53 & 1; }
    bool big() const { return low >> 54 & 1; }
    bool is_code() const { return !system() && (type() & 8); }
    bool conforming() const { return (type() & 0xC) == 0xC; } // Of a code segment.
    bool writable() const { return !system() && (type() & 0xA) == 2; }
    bool readable() const { return !system() && (type() & 0xA) != 8; }
    bool is_tss() const { return system() && (type() & 5) == 1; }
    bool tss_busy() const { return type() & 2; }
    u32 limit() const {
        const u32 raw = static_cast<u32>((low & 0xFFFF) | (low >> 32 & 0xF0000));
        return low >> 55 & 1 ? raw << 12 | 0xFFF : raw;
    }
    u64 base() const { return (low >> 16 & 0xFFFFFF) | (low >> 32 & 0xFF000000) | high << 32; }
    u8 rpl() const { return selector & 3; }
    SegmentRegister segment() const { return {selector, rights(), limit(), base()}; }

    // As a gate.
    u16 gate_selector() const { return static_cast<u16>(low >> 16); }
    u64 gate_offset() const { return (low & 0xFFFF) | (low >> 32 & 0xFFFF0000) | high << 32; }
    unsigned gate_parameters() const { return (low >> 32) & 0x1F; }
    unsigned gate_ist() const { return (low >> 32) & 7; }
};

constexpr bool is_null(u16 selector) { return (selector & 0xFFFC) == 0; }
constexpr u32 selector_error(u16 selector, u32 ext) { return (selector & 0xFFFCu) | ext; }

// Linear addresses of the processor's own accesses wrap at 4 GiB outside IA-32e mode.
inline u64 system_address(const Cpu& cpu, u64 base, u64 offset) {
    const u64 sum = base + offset;
    return cpu.mode.long_mode ? sum : static_cast<u32>(sum);
}

enum class Lookup : u8 {
    found,
    outside, // Beyond the table's limit, or in an LDT that there is not.
    fault,   // Reading it faulted; the exception is pending.
};
// Reads eight bytes of the descriptor that the selector names (not null).
Lookup find_descriptor(Cpu& cpu, u16 selector, Descriptor& out);
// The same, raising `vector` with the selector as error code when it lies outside.
[[nodiscard]] bool read_descriptor(Cpu& cpu, u16 selector, Vector vector, u32 ext, Descriptor& out);
// The second half of a 16-byte descriptor.
Lookup find_upper_half(Cpu& cpu, Descriptor& descriptor);

// Sets or clears bits of the descriptor's type byte in memory, atomically; the copy follows.
[[nodiscard]] bool change_type_bits(Cpu& cpu, Descriptor& descriptor, u8 set, u8 clear);
[[nodiscard]] inline bool mark_accessed(Cpu& cpu, Descriptor& descriptor) {
    return (descriptor.type() & 1) || change_type_bits(cpu, descriptor, 1, 0);
}
[[nodiscard]] inline bool mark_busy(Cpu& cpu, Descriptor& descriptor, bool busy) {
    return change_type_bits(cpu, descriptor, busy ? 2 : 0, busy ? 0 : 2);
}

// Raises and answers false: for `return fail(cpu, Vector::..., code);`.
inline bool fail(Cpu& cpu, Vector vector, u32 error_code) {
    cpu.raise(vector, error_code);
    return false;
}

// A new SS for a stack of privilege `cpl`: the checks that MOV SS, far returns and stack switches have in common. The
// faults but not-present (#SS) carry `vector`. Not null.
[[nodiscard]] bool read_stack_segment(Cpu& cpu, u16 selector, u8 cpl, Vector vector, u32 ext, Descriptor& out);
// What SS holds after a null selector was loaded into it in 64-bit mode: unusable, but with the DPL that makes the CPL.
constexpr SegmentRegister null_stack_segment(u8 cpl) { return {cpl, static_cast<u16>(cpl << 5), 0, 0}; }

// Whether `size` bytes at `offset` lie within the segment.
inline bool within_limit(const SegmentRegister& s, u64 offset, u64 size) {
    const u64 last = offset + size - 1;
    if (s.expand_down()) return offset > s.limit && last <= (s.big() ? 0xFFFFFFFF : 0xFFFF);
    return last <= s.limit;
}

} // namespace calque::cpu
