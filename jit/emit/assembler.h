// What all emitters share: asmjit's assembler, the registers by role, and memory operands of the context and the TLB.
#pragma once

#include "jit/context.h"
#include "jit/emit/registers.h"
#include "jit/emit/unit_assembler.h"
#include "mmu/address_spaces.h"
#include "mmu/tlb_layout.h"

#include <asmjit/asmjit.h>

namespace calque::jit {

inline constexpr x86::Gpq t0 = x86::rax, t1 = x86::r15;
inline constexpr x86::Gpd t0d = x86::eax, t1d = x86::r15d;

// `depth`: bytes pushed since translated code.
inline x86::Mem context_at(std::size_t offset, u32 size, i32 depth = 0) {
    return x86::ptr(x86::rsp, static_cast<i32>(offset) + depth, size);
}
#define CALQUE_CONTEXT(field)                                                                                          \
    calque::jit::context_at(offsetof(calque::jit::JitContext, field), sizeof(calque::jit::JitContext::field))
#define CALQUE_CONTEXT_BELOW(field, depth)                                                                             \
    calque::jit::context_at(offsetof(calque::jit::JitContext, field), sizeof(calque::jit::JitContext::field), depth)

inline x86::Mem spilled_slot(unsigned guest, u32 size = 8, i32 depth = 0) {
    return context_at(offsetof(JitContext, spilled) + spilled_index(guest) * sizeof(u64), size, depth);
}
inline x86::Gpq host_gpq(unsigned guest) { return x86::gpq(host_of_guest[guest]); }

// Of the table for a rights mode, relative to the first of the current address space.
constexpr u64 table_of(mmu::RightsMode mode) { return static_cast<u64>(mode) * mmu::tlb_table_size; }
// Relative to GS's base, which is where the mirror begins.
inline constexpr i64 from_table_base(u64 offset) {
    return static_cast<i64>(offset) - static_cast<i64>(mmu::tlb_mirror_distance);
}
inline x86::Mem table_at(u64 offset, u32 size) {
    x86::Mem m = x86::ptr_abs(static_cast<u64>(from_table_base(offset)), size);
    m.setSegment(x86::gs);
    return m;
}
inline x86::Mem table_at(const x86::Gp& index, u64 offset, u32 size) {
    x86::Mem m = x86::ptr(index, static_cast<i32>(from_table_base(offset)), size);
    m.setSegment(x86::gs);
    return m;
}
// With the index scaled by 8, or 1 << shift.
inline x86::Mem table_at_scaled(const x86::Gp& index, u64 offset, u32 size, u32 shift = 3) {
    x86::Mem m = x86::ptr(u64{0}, index, shift, size);
    m.setOffset(from_table_base(offset));
    m.setSegment(x86::gs);
    return m;
}

// EFLAGS to JitContext::flags; changes RAX.
void pack_flags(UnitAssembler& a);
// And back; changes RAX.
void unpack_flags(UnitAssembler& a);

} // namespace calque::jit
