#include "jit/emit/target_thunk.h"

#include "mmu/tlb_layout.h"

namespace calque::jit {

namespace {

x86::Mem entry_at(std::size_t offset, u32 size) { return x86::ptr(t1, static_cast<i32>(offset), size); }

// T1: code for T0, to be entered in the table's own cache. Changes RCX.
void remember(x86::Assembler& a, u64 table) {
    static_assert(sizeof(mmu::TlbTarget) == 16 && mmu::tlb_target_group == 64);
    a.rorx(x86::rcx, t0, page_shift);
    a.add(x86::ecx, t0d);
    a.and_(x86::ecx, static_cast<i32>(mmu::tlb_target_count - 1));
    a.shl(x86::ecx, 4);
    a.mov(table_at(x86::rcx, table + mmu::tlb_targets_offset, 8), t0);
    a.mov(table_at(x86::rcx, table + mmu::tlb_targets_offset + 8, 8), t1);
    a.shr(x86::ecx, 4 + 6);
    a.bts(table_at(table + mmu::tlb_targets_touched_offset, 8), x86::rcx);
    a.mov(table_at(table + mmu::tlb_any_target_offset, 1), 1);
    static_assert(mmu::tlb_target_chunk == 64);
    a.rorx(x86::rcx, t0, 6);
    a.and_(x86::ecx, static_cast<i32>(mmu::tlb_target_chunk_bits - 1));
    a.bts(table_at(table + mmu::tlb_target_chunks_offset, 8), x86::rcx);
}

} // namespace

void emit_target_lookup(x86::Assembler& a, const TargetIndex& index, mmu::RightsMode mode, asmjit::Label found,
                        asmjit::Label miss) {
    const u64 table = table_of(mode);
    const asmjit::Label none = a.newLabel();
    a.push(x86::rcx);
    a.rorx(t1, t0, TargetIndex::fold);
    a.xor_(t1, t0);
    a.and_(t1d, TargetIndex::count - 1);
    a.shl(t1d, 5);
    static_assert(sizeof(IndexedTarget) == 32);
    a.mov(x86::rcx, asmjit::Imm(reinterpret_cast<std::uintptr_t>(index.entries())));
    a.add(t1, x86::rcx);
    a.cmp(t0, entry_at(offsetof(IndexedTarget, linear), 8));
    a.jne(none);
    a.mov(x86::ecx, entry_at(offsetof(IndexedTarget, mode), 4));
    a.cmp(x86::ecx, table_at(table + mmu::tlb_code_key_offset, 4));
    a.jne(none);
    a.rorx(x86::rcx, t0, page_shift);
    a.and_(x86::ecx, static_cast<i32>(mmu::tlb_execute_id_count - 1));
    a.shl(x86::ecx, 3);
    static_assert(sizeof(mmu::ExecuteId) == 8);
    a.mov(x86::ecx, table_at(x86::rcx, table + mmu::tlb_execute_ids_offset, 4));
    a.and_(x86::ecx, (1 << mmu::execute_id_bits) - 1); // The address says the rest.
    a.jz(none);
    a.cmp(x86::ecx, entry_at(offsetof(IndexedTarget, page_id), 4));
    a.jne(none);
    a.mov(t1, entry_at(offsetof(IndexedTarget, code), 8));
    remember(a, table);
    a.pop(x86::rcx);
    a.jmp(found);
    a.bind(none);
    a.pop(x86::rcx);
    a.jmp(miss);
}

} // namespace calque::jit
